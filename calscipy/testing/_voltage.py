"""Voltage recordings and outputs as PrairieView writes them, with known content."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from ._tiff import quoted
from ._xml import START, number

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class VoltageTruth:
    """What a voltage recording written by `write_voltage` contains.

    Attributes
    ----------
    table, settings : Path
        The CSV file and the XML file beside it.
    link : dict
        Attributes of the ``<VoltageRecording>`` that belongs into the master XML.
    cycle : int
        Sequence in which it stands.
    values : ndarray, shape (signals, samples)
        Physical values of the enabled signals, with the digits that were written.
    times : ndarray, shape (samples,)
        When they were taken, in s on the clock of ``absoluteTime``.
    """

    table: Path
    settings: Path
    link: dict[str, str]
    cycle: int
    values: Floats
    times: Floats


def write_voltage(
    folder: str | os.PathLike[str],
    signals: Mapping[str, npt.ArrayLike],
    *,
    rate: float,
    base: str = "mouse1",
    cycle: int = 1,
    start: float = START,
    units: Mapping[str, tuple[str, float, float]] | None = None,
    disabled: Sequence[str] = (),
    times: npt.ArrayLike | None = None,
    names: Sequence[str] | None = None,
    header: Sequence[str] | None = None,
    nominal_rate: float | None = None,
    samples: int | None = None,
    lost: bool = False,
    cut: int = 0,
    digits: int = 6,
    line_ending: str = "\r\n",
) -> VoltageTruth:
    r"""Write a voltage recording: a CSV file and its settings.

    Parameters
    ----------
    folder : path
        Folder of the recording, which is there already.
    signals : mapping of str to array_like
        Values of each signal in its own units.
    rate : float
        Samples in a second.
    base : str, default "mouse1"
        Name of the recording.
    cycle : int, default 1
        Cycle, which stands in the file names.
    start : float
        ``absoluteTime`` at which it starts in s; by default that of the first frame.
    units : mapping, optional
        Units, multiplier and divisor of signals; ``("Volt", 1, 1)`` by default. The table holds
        ``value * divisor / multiplier``.
    disabled : sequence of str, optional
        Signals that the settings list and the table does not have, placed after the second one.
    times : array_like, optional
        Times in ms to write, instead of evenly spaced ones.
    names : sequence of str, optional
        What the settings call the signals; the keys of ``signals`` by default.
    header : sequence of str, optional
        What the table calls them; the same by default.
    nominal_rate, samples : float and int, optional
        What the settings say; by default the truth.
    lost : bool, default False
        Whether the settings say that samples were lost.
    cut : int, default 0
        Bytes to leave out at the end of the table.
    digits : int, default 6
        Digits after the point.
    line_ending : {"\\r\\n", "\\n"}
        End of the lines of the table.

    Examples
    --------
    >>> import tempfile
    >>> truth = write_voltage(tempfile.mkdtemp(), {"Input 0": [0.0, 5.0]}, rate=1000)
    >>> truth.table.read_text().splitlines()
    ['Time(ms), Input 0', '0,0.000000', '1,5.000000']
    """
    folder = Path(folder)
    labels = list(signals) if names is None else list(names)
    known = {name: (units or {}).get(name, ("Volt", 1.0, 1.0)) for name in signals}
    raw = [
        np.asarray(values, float) * known[name][2] / known[name][1]
        for name, values in signals.items()
    ]
    count = len(raw[0])
    stamps = np.arange(count) * 1000.0 / rate if times is None else np.asarray(times, float)
    texts = [number(round(float(stamp), 9)) for stamp in stamps]
    columns = [[f"{value:.{digits}f}" for value in column] for column in raw]
    lines = ["Time(ms), " + ", ".join(labels if header is None else header)]
    lines += [",".join(row) for row in zip(texts, *columns, strict=True)]
    text = (line_ending.join(lines) + line_ending).encode()

    stem = f"{base}_Cycle{cycle:05d}_VoltageRecording_001"
    table, settings = folder / f"{stem}.csv", folder / f"{stem}.xml"
    table.write_bytes(text[: len(text) - cut])
    entries = [(label, *known[name], True) for label, name in zip(labels, signals, strict=True)]
    entries[2:2] = [(name, "Volt", 1.0, 1.0, False) for name in disabled]
    settings.write_text(
        "\n".join(
            _settings(
                entries,
                stem,
                rate if nominal_rate is None else nominal_rate,
                count if samples is None else samples,
                lost,
            )
        ),
        encoding="utf-8",
    )
    link = {
        "name": "Current",
        "triggerMode": "None",
        "cycle": str(cycle),
        "index": "1",
        "configurationFile": settings.name,
        "dataFile": table.name,
        "relativeTime": "0",
        "absoluteTime": number(start),
    }
    scale = np.array([[one[1] / one[2]] for one in (known[name] for name in signals)])
    written = np.array(columns, float) * scale
    return VoltageTruth(
        table, settings, link, cycle, written, start + np.array(texts, float) / 1000.0
    )


def _settings(
    entries: Sequence[tuple[str, str, float, float, bool]],
    stem: str,
    rate: float,
    samples: int,
    lost: bool,
) -> list[str]:
    """Lines of the settings, without a declaration, as PrairieView writes them."""
    lines = ["<VRecSessionEntry>", "  <Experiment>", "    <Name>Current</Name>", "    <SignalList>"]
    for channel, (name, unit, multiplier, divisor, enabled) in enumerate(entries):
        lines += [
            "      <VRecSignal>",
            "        <Type>Physical</Type>",
            f"        <Name>{quoted(name)[1:-1]}</Name>",
            "        <Gain>-1</Gain>",
            "        <Unit>",
            f"          <UnitName>{unit}</UnitName>",
            f"          <Multiplier>{number(multiplier)}</Multiplier>",
            f"          <Divisor>{number(divisor)}</Divisor>",
            "          <PatchclampDevice />",
            "        </Unit>",
            "        <Card>1</Card>",
            f"        <Channel>{channel}</Channel>",
            f"        <Enabled>{str(enabled).lower()}</Enabled>",
            "      </VRecSignal>",
        ]
    return [
        *lines,
        "    </SignalList>",
        f"    <Rate>{number(rate)}</Rate>",
        f"    <AcquisitionTime>{number(samples / rate * 1000)}</AcquisitionTime>",
        "    <Trigger>None</Trigger>",
        "  </Experiment>",
        f"  <SamplesAcquired>{samples}</SamplesAcquired>",
        f"  <DataFile>{stem}</DataFile>",
        "  <DateTime>2023-03-02T16:25:41.1378271-05:00</DateTime>",
        "  <IsCSV>false</IsCSV>",
        f"  <LostData>{str(lost).lower()}</LostData>",
        "  <LostDataBeyond>0</LostDataBeyond>",
        "</VRecSessionEntry>",
    ]


def link_side_file(
    xml: str | os.PathLike[str], tag: str, attributes: Mapping[str, str], *, cycle: int = 1
) -> None:
    r"""Name a side file in a master XML: an element at the beginning of a cycle's Sequence.

    Parameters
    ----------
    xml : path
        The master XML, which is changed.
    tag : str
        Of the element, such as ``VoltageRecording``.
    attributes : mapping
        Of the element.
    cycle : int, default 1
        The Sequence.

    Raises
    ------
    ValueError
        If there is no such cycle.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> xml = Path(tempfile.mkdtemp()) / "a.xml"
    >>> _ = xml.write_text('<PVScan>\n<Sequence type="Single" cycle="1">\n</Sequence>\n</PVScan>')
    >>> link_side_file(xml, "MarkPoints", {"filename": "a.xml"})
    >>> xml.read_text().splitlines()[2]
    '    <MarkPoints filename="a.xml" />'
    """
    path = Path(xml)
    head, opening, rest = path.read_bytes().partition(f' cycle="{cycle}"'.encode())
    if not opening:
        msg = f"{path} has no cycle {cycle}."
        raise ValueError(msg)
    inner, closing, rest = rest.partition(b">")
    words = " ".join(f"{name}={quoted(value)}" for name, value in attributes.items())
    line = f"\n    <{tag} {words} />".encode()
    path.write_bytes(head + opening + inner + closing + line + rest)


Component = tuple[str, Mapping[str, object]]


def write_voltage_output(
    path: str | os.PathLike[str],
    waveforms: Mapping[str, Sequence[Component]],
    *,
    rate: float = 10_000,
    disabled: Sequence[str] = (),
    units: Mapping[str, tuple[str, float]] | None = None,
    name: str = "Synthetic",
) -> None:
    """Write the settings of a voltage output.

    Parameters
    ----------
    path : path
        The XML file to write.
    waveforms : mapping of str to sequence of (str, mapping)
        The components of each output: the last part of the tag, such as ``"PulseTrain"``, and
        its fields.
    rate : float, default 10000
        Samples in a second.
    disabled : sequence of str, optional
        Outputs that are switched off.
    units : mapping of str to (str, float), optional
        Units and scale factor of outputs; ``("V", 1)`` by default.
    name : str, default "Synthetic"
        Name of the experiment.
    """
    lines = ['<?xml version="1.0" encoding="utf-8"?>', "<Experiment>", f"  <Name>{name}</Name>"]
    lines += [
        f"  <UpdateRate>{number(rate)}</UpdateRate>",
        "  <UpdateDivisor>2000</UpdateDivisor>",
    ]
    for line, (label, components) in enumerate(waveforms.items()):
        unit, factor = (units or {}).get(label, ("V", 1.0))
        lines += [
            "  <Waveform>",
            f"    <Name>{quoted(label)[1:-1]}</Name>",
            f"    <Enabled>{str(label not in disabled).lower()}</Enabled>",
            f"    <AOLine>{line}</AOLine>",
            f"    <Units>{unit}</Units>",
            f"    <UnitScaleFactor>{number(factor)}</UnitScaleFactor>",
            "    <UnitVoltageOffset>0</UnitVoltageOffset>",
            "    <UnitScaleOffset>0</UnitScaleOffset>",
            "    <PlotColor>-256</PlotColor>",
        ]
        for tag, fields in components:
            lines.append(f"    <WaveformComponent_{tag}>")
            lines += [f"      <{key}>{value}</{key}>" for key, value in fields.items()]
            lines.append(f"    </WaveformComponent_{tag}>")
        lines.append("  </Waveform>")
    text = "\n".join([*lines, "</Experiment>", ""])
    Path(path).write_bytes(b"\xef\xbb\xbf" + text.encode())
