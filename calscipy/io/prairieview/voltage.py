"""Voltage recordings on the clock of the images: the group ``voltage`` of a session."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from xarray.core import indexing

from calscipy import model
from calscipy.errors import CalscipyWarning, DamagedRecordingWarning, RecordingError, warn
from calscipy.io.prairieview.side_xml import Link, side_file
from calscipy.io.prairieview.voltage_array import Take, VoltageArray
from calscipy.io.prairieview.voltage_rows import INDEX_ROWS, Table
from calscipy.io.prairieview.voltage_settings import Settings, Signal, read_settings
from calscipy.io.prairieview.voltage_table import read_table
from calscipy.options import get_option

SIGNAL, UNITS, INPUT = "signal", "units", "input"
SETTINGS_ATTR = "recordings"
LOADED_BYTES = 4 * 2**20  # of tables, which are read at once; longer ones stay on disk
_RATE_TOLERANCE = 0.01


@dataclass(frozen=True)
class _Recording:
    """One voltage recording, opened."""

    cycle: int
    name: str
    start: float  # on the clock of the images, in s
    table: Table
    signals: tuple[Signal, ...]  # one for each column of the table
    settings: Settings | None

    @property
    def times(self) -> np.ndarray:
        """When each sample was taken, in s."""
        return self.start + self.table.milliseconds() / 1000.0

    @property
    def span(self) -> tuple[float, float]:
        """When the first and the last sample were taken, in s."""
        first, last = self.table.span()
        return self.start + first / 1000.0, self.start + last / 1000.0


def read_voltage(
    folder: Path, links: Iterable[Link], *, zero: float = 0.0, exact: bool = False
) -> xr.Dataset | None:
    """Open the voltage recordings of a scan on the clock of its images.

    What is wrong with one recording never stands in the way of the others, nor of the images: it
    is left out with a warning that names its file.

    Parameters
    ----------
    folder : Path
        Where the recording lies.
    links : iterable of (int, mapping)
        For every ``<VoltageRecording>`` of the master XML the cycle of its Sequence and its
        attributes, of which ``configurationFile``, ``dataFile``, ``absoluteTime``, ``name`` and
        ``triggerMode`` are used.
    zero : float, default 0.0
        ``absoluteTime`` of the first frame in s: time 0 of the session.
    exact : bool, default False
        Read the times of long tables too, instead of trusting their first and last lines.

    Returns
    -------
    Dataset or None
        ``voltage`` ``(signal, time)`` in float64, lazy if the tables have over 4 MiB together;
        None if there is nothing to open. ``time`` is in s, ``units(signal)`` and
        ``input(signal)`` tell units and DAQ input. Several recordings follow each other along
        time, with ``cycle`` and ``epoch``; a signal that one of them lacks is NaN there. The
        attribute ``units`` is there if all signals share it.

    Warns
    -----
    DamagedRecordingWarning
        For files that are missing, empty, damaged or cut off, for lost samples, and for
        recordings that overlap.
    CalscipyWarning
        Where names in the table are others than in the settings, or the rate is another one.

    Examples
    --------
    >>> import tempfile
    >>> from calscipy.testing._voltage import write_voltage
    >>> folder = Path(tempfile.mkdtemp())
    >>> written = write_voltage(folder, {"LFP": [0.0, 0.5]}, rate=1000, start=1.5)
    >>> voltage = read_voltage(folder, [(1, written.link)], zero=1.0)["voltage"]
    >>> voltage.sel(signal="LFP").values.tolist(), voltage.time.values.tolist()
    ([0.0, 0.5], [0.5, 0.501])
    """
    found: list[_Recording] = []
    seen: set[str] = set()
    for cycle, link in links:
        name = link.get("dataFile", "")
        if name in seen:  # a recording over several cycles
            continue
        seen.add(name)
        try:
            found.append(_open(folder, cycle, link, zero, exact))
        except (RecordingError, OSError) as error:
            warn(
                f"{error} This voltage recording (cycle {cycle}) is left out.",
                DamagedRecordingWarning,
            )
    found = _in_order(found)
    return _dataset(found) if found else None


def _open(
    folder: Path, cycle: int, link: Mapping[str, str], zero: float, exact: bool
) -> _Recording:
    path = side_file(folder, link.get("dataFile", ""))
    if path.suffix.lower() != ".csv":
        raise RecordingError(
            f"{path}: a CSV file was expected. Raw data are made into CSV by the Image-Block "
            "Ripping Utility of the same PrairieView version."
        )
    settings = _settings(folder, link.get("configurationFile", ""))
    exact = exact or path.stat().st_size <= LOADED_BYTES
    exact = exact or (settings is not None and settings.lost_data)
    table = read_table(path, expected=settings.samples if settings else None, exact=exact)
    signals = _columns(table, settings)
    start = _start(path, link, zero)
    _say(table, settings)
    return _Recording(cycle, link.get("name", ""), start, table, signals, settings)


def _settings(folder: Path, name: str) -> Settings | None:
    """Read the settings; without them the table tells names, and its values are volts."""
    try:
        return read_settings(side_file(folder, name))
    except (RecordingError, OSError) as error:
        warn(
            f"{error} The signals are called as in the header of the table and taken as volts.",
            DamagedRecordingWarning,
        )
        return None


def _start(path: Path, link: Mapping[str, str], zero: float) -> float:
    try:
        start = float(link.get("absoluteTime", ""))
    except ValueError:
        start = math.nan
    if not math.isfinite(start):
        warn(
            f"{path}: the master XML does not say when this voltage recording started "
            f"(absoluteTime={link.get('absoluteTime')!r}); it is put at the start of the scan.",
            DamagedRecordingWarning,
        )
        start = 0.0
    return start - zero


def _columns(table: Table, settings: Settings | None) -> tuple[Signal, ...]:
    """Return the signal of each column: by position, with the header as a check, else by name."""
    if not table.signals:
        raise RecordingError(f"{table.path}: the table has times but no signals.")
    names = table.names
    if settings is None:
        if len(names) != table.signals:
            names = tuple(f"Input {number}" for number in range(table.signals))
        return tuple(Signal(name, "V", 1.0, True, "?") for name in names)
    enabled = [signal for signal in settings.signals if signal.enabled]
    if len(enabled) == table.signals:
        expected = tuple(signal.name for signal in enabled)
        if names != expected:
            warn(
                f"{table.path}: the header names the signals {list(names)}, the settings "
                f"{list(expected)}. There are as many of both, so the settings count.",
                CalscipyWarning,
            )
        return tuple(enabled)
    by_name = {signal.name: signal for signal in settings.signals}
    unique = len(by_name) == len(settings.signals) and len(set(names)) == len(names)
    if unique and len(names) == table.signals and set(names) <= set(by_name):
        return tuple(by_name[name] for name in names)
    raise RecordingError(
        f"{table.path}: the table has {table.signals} signals, which its header calls "
        f"{list(names)}, but the settings enable {len(enabled)} "
        f"({[signal.name for signal in enabled]}). The two files belong to different recordings: "
        "put the right ones back."
    )


def _say(table: Table, settings: Settings | None) -> None:
    """Warn of what is wrong with a table that can be read."""
    if table.dropped:
        warn(
            f"{table.path}: the last line is cut off and is left out. Copy the file again if it "
            "is longer elsewhere.",
            DamagedRecordingWarning,
        )
    if settings is None:
        return
    if settings.lost_data:
        warn(
            f"{table.path}: PrairieView says that samples were lost (LostData, beyond "
            f"{settings.lost_data_beyond:g}): times after that may be wrong.",
            DamagedRecordingWarning,
        )
    step = table.step() / 1000.0
    if abs(step * settings.rate - 1) > _RATE_TOLERANCE:  # False for NaN
        warn(
            f"{table.path}: the settings say {settings.rate:g} samples a second, the times in the "
            f"table {1 / step:g}. The times count.",
            CalscipyWarning,
        )


def _in_order(found: list[_Recording]) -> list[_Recording]:
    """Sort recordings by their start and leave out those that begin before the last one ends."""
    kept: list[_Recording] = []
    for one in sorted(found, key=lambda one: one.span[0]):
        if kept and one.span[0] <= kept[-1].span[1]:
            warn(
                f"{one.table.path}: this voltage recording (cycle {one.cycle}) begins at "
                f"{one.span[0]:g} s, before {kept[-1].table.path} ends at {kept[-1].span[1]:g} s, "
                f"and is left out. Open its cycle alone: cycles=[{one.cycle}].",
                DamagedRecordingWarning,
            )
        else:
            kept.append(one)
    return kept


def _dataset(found: list[_Recording]) -> xr.Dataset:
    takes, names, signals = _joined_signals(found)
    array = VoltageArray([one.table.bare() for one in found], takes)
    times = np.concatenate([one.times for one in found])
    coords: dict[str, xr.Variable] = {
        model.TIME: xr.Variable(
            model.TIME, times, {"units": "s", "long_name": "time since the first frame"}
        ),
        SIGNAL: xr.Variable(SIGNAL, names, {"long_name": "name of the input"}),
        UNITS: xr.Variable(SIGNAL, [one.units for one in signals]),
        INPUT: xr.Variable(SIGNAL, [one.input for one in signals], {"long_name": "card, channel"}),
    }
    coords |= _along_time(found)
    attrs: dict[str, Any] = {"long_name": "recorded signals", **_attrs(found)}
    if len({one.units for one in signals}) == 1:
        attrs[UNITS] = signals[0].units
    rows = max(1, get_option("chunk_bytes") // (8 * len(names) * INDEX_ROWS)) * INDEX_ROWS
    voltage = xr.Variable(
        (SIGNAL, model.TIME),
        indexing.LazilyIndexedArray(array),
        attrs,
        encoding={"preferred_chunks": {SIGNAL: len(names), model.TIME: min(rows, len(times))}},
    )
    if sum(one.table.stop - one.table.start for one in found) <= LOADED_BYTES:
        voltage = voltage.copy(data=voltage.values)
    return xr.Dataset({model.VOLTAGE: voltage}, coords)


def chunk_voltage(dataset: xr.Dataset, chunks: Any) -> xr.Dataset:
    """Make long recordings dask arrays of some million samples; None leaves them as they are.

    Short ones are in memory already and stay there.
    """
    voltage = dataset[model.VOLTAGE]
    if chunks is None or voltage.variable._in_memory:
        return dataset
    wanted = voltage.encoding["preferred_chunks"]
    return dataset.assign({model.VOLTAGE: voltage.variable.chunk(wanted)})


def _joined_signals(found: list[_Recording]) -> tuple[list[Take], list[str], list[Signal]]:
    """Return the signals of all recordings: what to take for each, its name, what it is.

    Signals of several recordings are the same if they have the same name, units and input; names
    that occur more than once are told apart by their units, else by a number.
    """
    keys: dict[tuple[str, str, str, int], dict[int, tuple[int, Signal]]] = {}
    for number, one in enumerate(found):
        count: dict[tuple[str, str, str], int] = {}
        for column, signal in enumerate(one.signals, start=1):
            key = (signal.name, signal.units, signal.input)
            count[key] = count.get(key, 0) + 1
            keys.setdefault((*key, count[key]), {})[number] = column, signal
    takes, signals = [], []
    for places in keys.values():
        none = (0, Signal("", "", 1.0, True, ""))
        there = [places.get(number, none) for number in range(len(found))]
        takes.append(Take(tuple(c for c, _ in there), tuple(s.scale for _, s in there)))
        signals.append(next(iter(places.values()))[1])
    return takes, _unique_names(signals), signals


def _unique_names(signals: list[Signal]) -> list[str]:
    counts = Counter(signal.name for signal in signals)
    spelled = [f"{s.name} ({s.units})" if counts[s.name] > 1 else s.name for s in signals]
    units_tell = len(set(spelled)) == len(spelled)
    found: dict[str, None] = {}  # in their order
    for signal, longer in zip(signals, spelled, strict=True):
        wanted, number = longer if units_tell else signal.name, 2
        while wanted in found:
            wanted, number = f"{signal.name} ({number})", number + 1
        found[wanted] = None
    return list(found)


def _along_time(found: list[_Recording]) -> dict[str, xr.Variable]:
    """Return ``cycle``, and ``epoch`` where samples are missing or another recording begins."""
    words = {"long_name": "PrairieView cycle"}
    lengths = [one.table.rows for one in found]
    begins = np.cumsum([0, *lengths])
    starts = [
        int(begin) + at
        for one, begin in zip(found, begins[:-1], strict=True)
        for at in (0, *_after_gaps(one.table))
    ]
    coords = {model.CYCLE: xr.Variable((), found[0].cycle, words)}
    if len(found) > 1:
        cycles = np.repeat([one.cycle for one in found], lengths)
        coords[model.CYCLE] = xr.Variable(model.TIME, cycles, words)
    if len(starts) > 1:
        epochs = np.repeat(np.arange(1, len(starts) + 1), np.diff([*starts, begins[-1]]))
        words = {"long_name": "stretch that filters and baselines do not cross"}
        coords[model.EPOCH] = xr.Variable(model.TIME, epochs, words)
    return coords


def _after_gaps(table: Table) -> list[int]:
    """Return the rows that follow on missing samples, and warn of them."""
    if table.times is None or table.rows < 3:
        return []
    steps = np.diff(table.times)
    rows = np.flatnonzero(steps > (1 + model.GAP) * np.median(steps)) + 1
    if rows.size:
        warn(
            f"{table.path}: samples are missing at {rows.size} places, first before line "
            f"{rows[0] + 2} ({steps[rows[0] - 1]:g} ms after the one before, where "
            f"{np.median(steps):g} ms are usual). The stretches between are epochs.",
            DamagedRecordingWarning,
        )
    return rows.tolist()


def _attrs(found: list[_Recording]) -> dict[str, Any]:
    """Return what is known of the recordings: flat for people, nested and complete."""
    first = found[0]
    attrs: dict[str, Any] = {model.SOURCE_ATTR: Path(first.table.path).parent.name}
    if first.settings is not None:
        attrs |= {"date": first.settings.date, "trigger": first.settings.trigger}
        if math.isfinite(first.settings.rate):
            attrs["nominal_rate"] = first.settings.rate
    attrs["lost_data"] = any(one.settings and one.settings.lost_data for one in found)
    attrs[SETTINGS_ATTR] = [
        {
            "name": one.name,
            "cycle": one.cycle,
            "table": Path(one.table.path).name,
            "settings": one.settings.everything if one.settings else {},
        }
        for one in found
    ]
    return attrs
