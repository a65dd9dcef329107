"""Brightness over time: mean brightness of regions, as PrairieView computed it."""

from __future__ import annotations

import numpy as np
import xarray as xr

from calscipy import model
from calscipy.errors import RecordingError
from calscipy.io.prairieview.frame_records import SAFE_NAME
from calscipy.io.prairieview.nodes import Node
from calscipy.io.prairieview.recording import number
from calscipy.io.prairieview.scan_records import Scan, Sequence
from calscipy.io.prairieview.tables import read_table

# Words of the data model that only these have.

_PLACE = {
    "x": "left edge on the image, pixels",
    "y": "upper edge on the image, pixels",
    "width": "width, pixels",
    "height": "height, pixels",
    "angle": "angle, degrees",
    "channel": "number of the channel",
    "shape": "shape, as PrairieView numbers it",
    "measurement": "measurement, as PrairieView numbers it",
}


def brightness_dataset(scan: Scan, sequences: list[Sequence], zero: float) -> xr.Dataset | None:
    """Return what the ``botData.csv`` files of a recording hold.

    Parameters
    ----------
    scan : Scan
        The recording.
    sequences : list of Sequence
        Its cycles.
    zero : float
        ``absoluteTime`` of the first image of the session, in s.

    Returns
    -------
    Dataset or None
        ``brightness`` ``(region, time)`` with the timestamp of every row as it was written, the
        cycle, and the place of every region. ``time`` is that of the frame of each row where there
        are as many rows as frames; else the timestamps count from the first frame of the cycle.
        None if the XML names no such file.

    Raises
    ------
    RecordingError
        If a file is missing or is not such a table.
    """
    parts = [
        _part(scan, sequence, element, zero)
        for sequence in sequences
        for element in sequence.elements("PVBOTs")
        if element.get("botData")
    ]
    if not parts:
        return None
    joined = parts[0] if len(parts) == 1 else _joined(parts)
    return joined.assign_coords(_regions(sequences, joined.sizes[model.REGION]))


def _part(scan: Scan, sequence: Sequence, element: Node, zero: float) -> xr.Dataset:
    name = element.get("botData") or ""
    if not SAFE_NAME.match(name):
        raise RecordingError(
            f"{scan.path}: the XML names the brightness table {name[:80]!r}; a bare file name in "
            "the recording's folder was expected."
        )
    path = scan.path.parent / name
    names, values = read_table(path)
    if len(names) < 2 or names[0].lower() != "timestamp":
        raise RecordingError(
            f"{path}: expected the columns 'Timestamp, Region 1, ...', found {names[:6]}."
        )
    stamps = values[:, 0]
    if not np.isfinite(stamps).all():
        raise RecordingError(f"{path}: some timestamps are no numbers. Copy it again.")
    attrs = {"units": "count", "long_name": "mean brightness of the region"}
    coords = {
        model.TIME: (
            model.TIME,
            _times(sequence, stamps) - zero,
            {"units": "s", "long_name": "time since the first image"},
        ),
        "timestamp": (model.TIME, stamps, {"units": "s", "long_name": "time as written"}),
        model.CYCLE: (model.TIME, np.full(stamps.size, sequence.cycle)),
    }
    return xr.Dataset(
        {model.BRIGHTNESS: ((model.REGION, model.TIME), values[:, 1:].T, attrs)}, coords
    )


def _times(sequence: Sequence, stamps: np.ndarray) -> np.ndarray:
    """Return the times of the rows on the clock of the frames."""
    frames = np.array([frame.absolute_time for frame in sequence.frames])
    if frames.size == stamps.size and np.isfinite(frames).all():
        return frames
    start = frames[0] if frames.size and np.isfinite(frames[0]) else 0.0
    return stamps - (stamps[0] if stamps.size else 0.0) + start


def _joined(parts: list[xr.Dataset]) -> xr.Dataset:
    """Put the cycles behind each other; NaN where a cycle has fewer regions."""
    most = max(part.sizes[model.REGION] for part in parts)
    padded = [part.pad({model.REGION: (0, most - part.sizes[model.REGION])}) for part in parts]
    return xr.concat(padded, model.TIME, join="exact", combine_attrs="override")


def _regions(sequences: list[Sequence], count: int) -> dict[str, tuple[str, np.ndarray, dict]]:
    """Return the place of every region, from the first cycle that has as many of them."""
    coords: dict[str, tuple[str, np.ndarray, dict]] = {
        model.REGION: (model.REGION, np.arange(1, count + 1), {"long_name": "region"})
    }
    elements = [e for s in sequences for e in s.elements("PVBOTs")]
    nodes = next((n for e in elements if len(n := list(e.find("Region"))) == count), [])
    for name, title in _PLACE.items() if nodes else ():
        values = np.array([number(node.get(name)) for node in nodes])
        coords[f"region_{name}"] = (model.REGION, values, {"units": "1", "long_name": title})
    return coords
