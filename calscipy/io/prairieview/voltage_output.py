"""Voltage outputs: what was played, as parameters."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from calscipy.errors import (
    CalscipyWarning,
    DamagedRecordingWarning,
    RecordingError,
    first_few,
    warn,
)
from calscipy.io.paths import local_path
from calscipy.io.prairieview.side_xml import (
    Link,
    child_text,
    number_in,
    parse_side_file,
    side_file,
    tree_of,
)

ROOT = "Experiment"
COMPONENT = "WaveformComponent_"


@dataclass(frozen=True)
class PulseTrain:
    """Rectangular pulses. Times in ms, potentials in V.

    ``first_delay`` is waited once; ``spacing`` lies between the end of a pulse and the beginning
    of the next one, ``repetition_delay`` between the end of a train and the beginning of the next.
    """

    name: str
    pulses: int
    width: float
    spacing: float
    potential: float
    potential_step: float  # added from pulse to pulse of a train
    rest: float
    first_delay: float
    repetitions: int
    repetition_delay: float

    @property
    def steps(self) -> int:
        """How often the potential changes at most."""
        return 2 * self.pulses * self.repetitions + 1

    @property
    def after(self) -> float:
        """Potential that stays at its end."""
        return self.rest

    def pieces(self) -> Iterator[tuple[float, float]]:
        """Yield durations in ms with their potentials."""
        yield self.first_delay, self.rest
        for repetition in range(self.repetitions):
            for pulse in range(self.pulses):
                yield self.width, self.potential + pulse * self.potential_step
                if pulse < self.pulses - 1:
                    yield self.spacing, self.rest
            if repetition < self.repetitions - 1:
                yield self.repetition_delay, self.rest


@dataclass(frozen=True)
class FixedVoltage:
    """One potential for a time, in V and ms."""

    name: str
    potential: float
    hold: float
    change_at_end: bool
    ending_potential: float

    @property
    def steps(self) -> int:
        """How often the potential changes at most."""
        return 1

    @property
    def after(self) -> float:
        """Potential that stays at its end."""
        return self.ending_potential if self.change_at_end else self.potential

    def pieces(self) -> Iterator[tuple[float, float]]:
        """Yield durations in ms with their potentials."""
        yield self.hold, self.potential


@dataclass(frozen=True)
class UnknownComponent:
    """A component of a kind that calscipy cannot synthesise, with its fields as written."""

    tag: str
    fields: Any = field(hash=False)


Component = PulseTrain | FixedVoltage | UnknownComponent


@dataclass(frozen=True)
class Waveform:
    """One analog output.

    Attributes
    ----------
    name : str
        As the user called it.
    enabled : bool
        Whether it was played.
    line : int
        Analog output line.
    units : str
        Units of the device that it drives, such as ``pA``.
    scale, voltage_offset, scale_offset : float
        Device units for one volt, and the offsets of both.
    components : tuple
        Played one after the other.
    """

    name: str
    enabled: bool
    line: int
    units: str
    scale: float
    voltage_offset: float
    scale_offset: float
    components: tuple[Component, ...]


@dataclass(frozen=True)
class OutputExperiment:
    """All outputs of one voltage output file.

    Attributes
    ----------
    name : str
        Name of the experiment.
    rate : float
        Samples in a second.
    waveforms : tuple of Waveform
        In the order of the file.
    everything : dict
        The whole file as nested plain values, as written.
    """

    name: str
    rate: float
    waveforms: tuple[Waveform, ...]
    everything: Any = field(hash=False, repr=False)

    @property
    def unknown(self) -> list[str]:
        """Kinds of components that calscipy does not know."""
        parts = (part for waveform in self.waveforms for part in waveform.components)
        return sorted({part.tag for part in parts if isinstance(part, UnknownComponent)})


def read_voltage_output(path: Path) -> OutputExperiment:
    """Read a voltage output file.

    Parameters
    ----------
    path : Path
        ``<base>_Cycle00001_VoltageOutput_001.xml``.

    Raises
    ------
    RecordingError
        If it is no such file, or if a number in it is none or out of range.

    Warns
    -----
    CalscipyWarning
        For components of unknown kinds, which are kept as they are written.

    Examples
    --------
    >>> import tempfile
    >>> from calscipy.testing._voltage import write_voltage_output
    >>> path = Path(tempfile.mkdtemp()) / "VoltageOutput.xml"
    >>> write_voltage_output(path, {"LED": [("FixedVoltage", {"Potential": 5, "HoldTime": 1})]})
    >>> read_voltage_output(path).waveforms[0].components[0].potential
    5.0
    """
    path = local_path(path)
    root = parse_side_file(path, ROOT)
    rate = number_in(path, root, "UpdateRate", math.nan)
    if not (math.isfinite(rate) and rate > 0):
        raise RecordingError(
            f"{path}: the UpdateRate is {child_text(root, 'UpdateRate')!r}; samples in a second, "
            "above 0, were expected. Copy the file again."
        )
    waveforms = tuple(_waveform(path, element) for element in root.iterfind("Waveform"))
    found = OutputExperiment(child_text(root, "Name"), rate, waveforms, tree_of(root))
    if found.unknown:
        warn(
            f"{path}: calscipy does not know the waveform components {first_few(found.unknown)}. "
            "They are kept in the metadata; synthesised waveforms are NaN from there on.",
            CalscipyWarning,
        )
    return found


def _waveform(path: Path, element: Any) -> Waveform:
    parts = (child for child in element if str(child.tag).startswith(COMPONENT))
    return Waveform(
        name=child_text(element, "Name"),
        enabled=child_text(element, "Enabled", "true").lower() == "true",
        line=int(_finite(path, element, "AOLine")),
        units=child_text(element, "Units", "V") or "V",
        scale=_finite(path, element, "UnitScaleFactor", 1.0),
        voltage_offset=_finite(path, element, "UnitVoltageOffset"),
        scale_offset=_finite(path, element, "UnitScaleOffset"),
        components=tuple(_component(path, part) for part in parts),
    )


def _component(path: Path, element: Any) -> Component:
    name = child_text(element, "Name")
    kind = str(element.tag).removeprefix(COMPONENT)
    if kind == "PulseTrain":
        return PulseTrain(
            name,
            int(_finite(path, element, "PulseCount", least=0)),
            _finite(path, element, "PulseWidth", least=0),
            _finite(path, element, "PulseSpacing", least=0),
            _finite(path, element, "PulsePotentialStart"),
            _finite(path, element, "PulsePotentialDelta"),
            _finite(path, element, "RestPotential"),
            _finite(path, element, "FirstPulseDelay", least=0),
            int(_finite(path, element, "Repetitions", 1.0, least=0)),
            _finite(path, element, "DelayBetweenReps", least=0),
        )
    if kind == "FixedVoltage":
        return FixedVoltage(
            name,
            _finite(path, element, "Potential"),
            _finite(path, element, "HoldTime", least=0),
            child_text(element, "ChangeAtEnd").lower() == "true",
            _finite(path, element, "EndingPotential"),
        )
    return UnknownComponent(kind, tree_of(element))


def _finite(
    path: Path, element: Any, tag: str, default: float = 0.0, *, least: float = -math.inf
) -> float:
    value = number_in(path, element, tag, default)
    if not (math.isfinite(value) and value >= least):
        raise RecordingError(
            f"{path}, line {element.sourceline}: <{tag}> is {value:g}; a finite number"
            f"{'' if least == -math.inf else f' from {least:g} on'} was expected. Copy the file "
            "again."
        )
    return value


def read_voltage_outputs(
    folder: Path, links: Iterable[Link], *, zero: float = 0.0
) -> list[dict[str, Any]]:
    """Return what was played during a scan, as plain values for its metadata.

    Parameters
    ----------
    folder : Path
        Where the recording lies.
    links : iterable of (int, mapping)
        For every ``<VoltageOutput>`` of the master XML the cycle and its attributes.
    zero : float, default 0.0
        ``absoluteTime`` of the first frame in s.

    Returns
    -------
    list of dict
        ``name``, ``cycle``, ``start`` in s on the clock of the images (None if it is not told),
        ``file``, ``unknown`` components and all ``settings`` as written. Files that cannot be
        read are left out with a warning.
    """
    found = []
    for cycle, link in links:
        name = link.get("filename", "")
        try:
            experiment = read_voltage_output(side_file(folder, name))
        except (RecordingError, OSError) as error:
            warn(
                f"{error} This voltage output (cycle {cycle}) is left out.", DamagedRecordingWarning
            )
            continue
        found.append(
            {
                "name": link.get("name", experiment.name),
                "cycle": cycle,
                "start": _start(link, zero),
                "file": name,
                "unknown": experiment.unknown,
                "settings": experiment.everything,
            }
        )
    return found


def _start(link: Mapping[str, str], zero: float) -> float | None:
    try:
        start = float(link.get("absoluteTime", ""))
    except ValueError:
        return None
    return start - zero if math.isfinite(start) else None
