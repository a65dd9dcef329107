"""What was recorded in a voltage recording: the XML file beside its table."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from calscipy.errors import RecordingError
from calscipy.io.prairieview.side_xml import child_text, number_in, parse_side_file, tree_of

ROOT = "VRecSessionEntry"
# How PrairieView calls units, in the words of CF; others stay as they are written.
_UNITS = {"volt": "V", "volts": "V", "millivolt": "mV", "ampere": "A", "amp": "A"}


@dataclass(frozen=True)
class Signal:
    """One input of the voltage recording.

    Attributes
    ----------
    name : str
        As the user called it.
    units : str
        Of the physical values.
    scale : float
        Physical value of one volt in the table.
    enabled : bool
        Whether the table has a column for it.
    input : str
        Card and channel, such as ``AI(1,3)``.
    """

    name: str
    units: str
    scale: float
    enabled: bool
    input: str


@dataclass(frozen=True)
class Settings:
    """How a voltage recording was made.

    Attributes
    ----------
    signals : tuple of Signal
        All inputs in their order, those that were not recorded too.
    rate : float
        Samples in a second, as it was asked for; NaN if unknown. The times in the table count.
    samples : int or None
        How many were acquired.
    lost_data : bool
        Whether PrairieView says that samples were lost.
    lost_data_beyond : float
        From which sample on.
    date : str
        When it started, as written.
    trigger : str
        What started it.
    experiment : str
        Name of the set of signals.
    everything : dict
        The whole file as nested plain values, as written.
    """

    signals: tuple[Signal, ...]
    rate: float
    samples: int | None
    lost_data: bool
    lost_data_beyond: float
    date: str
    trigger: str
    experiment: str
    everything: dict[str, Any]


def read_settings(path: Path) -> Settings:
    """Read the XML file of a voltage recording.

    Parameters
    ----------
    path : Path
        ``<base>_Cycle00001_VoltageRecording_001.xml``.

    Raises
    ------
    RecordingError
        If it is no such file, or if a number in it is none.
    """
    root = parse_side_file(path, ROOT)
    experiment = root.find("Experiment")
    if experiment is None:
        raise RecordingError(
            f"{path}: there is no <Experiment> in the <{ROOT}>, which names the signals. "
            "Copy the file again."
        )
    samples = number_in(path, root, "SamplesAcquired", math.nan)
    plain = tree_of(root)
    return Settings(
        signals=tuple(_signal(path, one) for one in experiment.iterfind("SignalList/VRecSignal")),
        rate=number_in(path, experiment, "Rate", math.nan),
        samples=int(samples) if math.isfinite(samples) and samples > 0 else None,
        lost_data=child_text(root, "LostData").lower() == "true",
        lost_data_beyond=number_in(path, root, "LostDataBeyond", 0.0),
        date=child_text(root, "DateTime"),
        trigger=child_text(experiment, "Trigger"),
        experiment=child_text(experiment, "Name"),
        everything=plain if isinstance(plain, dict) else {},
    )


def _signal(path: Path, element: Any) -> Signal:
    unit = element.find("Unit")
    multiplier = divisor = 1.0
    name = "V"
    if unit is not None:
        multiplier = number_in(path, unit, "Multiplier", 1.0)
        divisor = number_in(path, unit, "Divisor", 1.0)
        name = child_text(unit, "UnitName", "V") or "V"
    scale = multiplier / divisor if divisor else math.nan
    if not math.isfinite(scale):
        raise RecordingError(
            f"{path}, line {element.sourceline}: the signal {child_text(element, 'Name')!r} has "
            f"the multiplier {multiplier:g} and the divisor {divisor:g}; finite numbers and a "
            "divisor other than 0 were expected. Correct the file, or copy it again."
        )
    card, channel = (child_text(element, tag, "?") for tag in ("Card", "Channel"))
    return Signal(
        name=child_text(element, "Name"),
        units=_UNITS.get(name.lower(), name),
        scale=scale,
        enabled=child_text(element, "Enabled", "true").lower() == "true",
        input=f"AI({card},{channel})",
    )
