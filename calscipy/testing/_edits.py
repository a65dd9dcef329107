"""Changes to a synthetic master XML that make it another kind of recording."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np

from ._voltage import link_side_file

_MARK_POINTS = """<?xml version="1.0" encoding="utf-8"?>
<PVMarkPointSeriesElements Iterations="1" IterationDelay="0.00" CalcFunctMap="False">
  <PVMarkPointElement Repetitions="1" UncagingLaser="Pockels" UncagingLaserPower="400" \
TriggerFrequency="None" TriggerSelection="None" TriggerCount="1" \
AsyncSyncFrequency="EveryRepetition" VoltageOutputCategoryName="None" \
VoltageRecCategoryName="None" parameterSet="CurrentSettings">
    <PVGalvoPointElement InitialDelay="1000" InterPointDelay="0.26" Duration="100" \
SpiralRevolutions="5" AllPointsAtOnce="False" Points="Point 1" Indices="1">
      <Point Index="1" X="0.5" Y="0.25" IsSpiral="True" SpiralWidth="0.02" SpiralHeight="0.02" \
SpiralSizeInMicrons="2" />
    </PVGalvoPointElement>
  </PVMarkPointElement>
</PVMarkPointSeriesElements>
"""


@contextmanager
def editing(xml: Path) -> Iterator[ElementTree.Element]:
    """Change the elements of a master XML."""
    tree = ElementTree.parse(xml)
    yield tree.getroot()
    tree.write(xml, encoding="utf-8", xml_declaration=True)


def retype(xml: Path, kind: str) -> None:
    """Give every Sequence another type."""
    with editing(xml) as root:
        for sequence in root.iter("Sequence"):
            sequence.set("type", kind)


def insert_sequence(xml: Path, kind: str, cycle: int) -> None:
    """Add a Sequence without frames behind the others."""
    with editing(xml) as root:
        clock = "16:26:00.0000000"
        sequence = ElementTree.SubElement(root, "Sequence", type=kind, cycle=str(cycle), time=clock)
        sequence.text = "\n"


def each_frame_state(xml: Path, key: str, index: str, values: Sequence[float]) -> None:
    """Set one indexed value of the state in every frame, in the order of the XML."""
    with editing(xml) as root:
        for frame, value in zip(root.iter("Frame"), values, strict=True):
            shard = frame.find("PVStateShard")
            assert shard is not None
            entry = ElementTree.SubElement(shard, "PVStateValue", key=key)
            ElementTree.SubElement(entry, "IndexedValue", index=index, value=repr(value))


def add_mark_points(xml: Path, cycle: int) -> None:
    """Write mark points, of 0.1 s at one place, and name them in a cycle."""
    name = f"{xml.stem}_Cycle{cycle:05d}_MarkPoints.xml"
    xml.with_name(name).write_text(_MARK_POINTS, encoding="utf-8-sig")
    link_side_file(xml, "MarkPoints", {"filename": name}, cycle=cycle)


def add_brightness(xml: Path, times: np.ndarray, values: np.ndarray) -> None:
    """Write the brightness of regions (regions, frames) and name it in the first cycle."""
    name = f"{xml.stem}_Cycle00001-botData.csv"
    rows = [", ".join(["Timestamp", *(f"Region {n + 1}" for n in range(len(values)))])]
    rows += [", ".join(map(repr, row)) for row in np.column_stack([times, values.T]).tolist()]
    xml.with_name(name).write_text("\n".join(rows) + "\n")
    with editing(xml) as root:
        sequence = root.find("Sequence")
        assert sequence is not None
        regions = ElementTree.SubElement(sequence, "PVBOTs", botData=name)
        for n in range(len(values)):
            place = {"x": n, "y": 2, "width": 3, "height": 4, "angle": 0, "channel": 1}
            ElementTree.SubElement(regions, "Region", {k: str(v) for k, v in place.items()})


def old_syntax(xml: Path) -> None:
    """Turn a plane series into one of version 4: the full state as keys in every frame."""
    with editing(xml) as root:
        root.set("version", "4.3.2.13")
        shard = root.find("PVStateShard")
        assert shard is not None
        root.remove(shard)
        systems = root.find("SystemIDs")
        assert systems is not None
        root.remove(systems)
        keys = list(_keys(shard))
        for frame in root.iter("Frame"):
            frame.set("label", frame.attrib.pop("parameterSet"))
            for file in frame.iter("File"):
                _rename(xml.parent, file)
            own = frame.find("PVStateShard")
            assert own is not None
            own.extend(ElementTree.Element("Key", attributes) for attributes in keys)


def _rename(folder: Path, file: ElementTree.Element) -> None:
    name = file.get("filename", "")
    new = name.replace("_Ch", "_CurrentSettings_Ch").replace(".ome.tif", ".tif")
    (folder / name).rename(folder / new)
    file.set("filename", new)
    file.set("preAmpID", str(int(file.get("channel", "1")) - 1))


def _keys(shard: ElementTree.Element) -> Iterator[dict[str, str]]:
    """Flatten the state as version 4 has it."""
    for value in shard:
        key = value.get("key", "")
        if key == "activeMode":
            yield _key(key, "3", value.get("value"))
        elif not len(value):
            yield _key("scanlinePeriod" if key == "scanLinePeriod" else key, value.get("value"))
        for child in value:
            parts: Any = [item.get("value", "") for item in child] or [child.get("value", "")]
            yield _key(f"{key}_{child.get('index')}", ",".join(parts))


def _key(key: str, value: str | None, description: str | None = None) -> dict[str, str]:
    found = {"key": key, "permissions": "ReadWriteSave", "value": value or ""}
    return found | ({} if description is None else {"description": description})
