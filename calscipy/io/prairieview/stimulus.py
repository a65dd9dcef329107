"""The photostimulation of a recording on the clock of its images: the group ``stimulus``."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Mapping
from collections.abc import Sequence as Listing
from pathlib import Path

import numpy as np
import xarray as xr

from calscipy import model
from calscipy.errors import ArgumentError, DamagedRecordingWarning, RecordingError, warn
from calscipy.io.photostimulation import read_mark_points
from calscipy.io.photostimulation.stimuli import TRIGGER_NUMBER, stimulus_table
from calscipy.io.prairieview.recording import Images
from calscipy.io.prairieview.scan_records import Sequence
from calscipy.io.prairieview.side_xml import Link, side_file

TRIGGER_OVERRIDE = "trigger_override"
_DAY = 86400.0


def read_stimuli(
    folder: Path,
    links: Iterable[Link],
    starts: Mapping[int, float],
    *,
    image_shape: tuple[int, int] | None = None,
) -> xr.Dataset | None:
    """Read the mark points of a recording.

    Parameters
    ----------
    folder : Path
        Where the recording lies.
    links : iterable of (int, mapping)
        For every ``<MarkPoints>`` of the master XML the cycle of its Sequence and its attributes,
        of which ``filename`` and ``triggerModeOverride`` are used.
    starts : mapping of int to float
        When each cycle starts in s on the clock of the images, see `cycle_starts`. Mark points of
        other cycles are left out.
    image_shape : (int, int), optional
        Rows and columns of the images, for places in pixels.

    Returns
    -------
    Dataset or None
        The stimuli of all cycles along ``stimulus``, see
        `calscipy.io.photostimulation.stimuli.stimulus_table`; None if there are none.
        ``trigger_override`` is what the master says of the trigger that starts the whole series;
        it is taken to start together with the images of its cycle.

    Warns
    -----
    DamagedRecordingWarning
        For each file that is missing or cannot be used; the others are kept.
    """
    tables: list[xr.Dataset] = []
    triggers = 0
    for cycle, link in links:
        if cycle not in starts:
            continue
        try:
            series = read_mark_points(side_file(folder, link.get("filename", "")))
            table = stimulus_table(
                series,
                start=starts[cycle],
                cycle=cycle,
                image_shape=image_shape,
                first_trigger=triggers,
            )
        except (RecordingError, ArgumentError) as error:
            warn(
                f"{folder}: the mark points of cycle {cycle} are left out of the stimuli: {error}",
                DamagedRecordingWarning,
            )
            continue
        triggers = max(triggers, 1 + int(table[TRIGGER_NUMBER].values.max(initial=-1)))
        override = np.full(table.sizes[model.STIMULUS], link.get("triggerModeOverride", "None"))
        attrs = {"long_name": "input of the trigger that starts the series"}
        tables.append(table.assign({TRIGGER_OVERRIDE: (model.STIMULUS, override, attrs)}))
    if not tables:
        return None
    return xr.concat(tables, model.STIMULUS, combine_attrs="override", join="exact")


def first_image_times(images: Images, times: np.ndarray) -> dict[int, float]:
    """Return the time of the first image of each cycle in s.

    Parameters
    ----------
    images : Images
        The images.
    times : ndarray, shape (frames, plane)
        Their times in s, NaN where there is none.
    """
    first: dict[int, float] = {}
    for sequence, time in zip(images.sequences, np.fmin.reduce(times, axis=1), strict=True):
        first[sequence.cycle] = float(np.fmin(first.get(sequence.cycle, np.nan), time))
    return first


def cycle_starts(sequences: Listing[Sequence], images: Mapping[int, float]) -> dict[int, float]:
    """Tell when each cycle starts on the clock of the images.

    Parameters
    ----------
    sequences : sequence of Sequence
        The cycles.
    images : mapping of int to float
        The time of the first image of each cycle in s, see `first_image_times`.

    Returns
    -------
    dict of int to float
        In s, by cycle: its first image, or, for a cycle without images, where the wall clock puts
        it from the nearest cycle before (else after) that has some. This leaves out the delay of
        the shutter, a fraction of a second. In a scan without images the first cycle starts at 0.
    """
    clocks = [_wall_clock(sequence.time) for sequence in sequences]
    known = {at: images[s.cycle] for at, s in enumerate(sequences) if s.cycle in images}
    known = known or dict.fromkeys(range(len(sequences[:1])), 0.0)
    starts = {}
    for at, sequence in enumerate(sequences):
        near = max((other for other in known if other <= at), default=min(known))
        # Within half a day of each other, whichever side of midnight.
        apart = (clocks[at] - clocks[near] + _DAY / 2) % _DAY - _DAY / 2
        starts[sequence.cycle] = known[near] + (apart if near != at else 0.0)
    return starts


def _wall_clock(text: str) -> float:
    """Return a time of day in s, NaN if it is none."""
    try:
        clock = dt.time.fromisoformat(text[:15])
    except ValueError:
        return np.nan
    return clock.hour * 3600.0 + clock.minute * 60 + clock.second + clock.microsecond / 1e6
