"""When the frames of a recording were acquired: which clock can be trusted, and what it says."""

from __future__ import annotations

import datetime as dt
from operator import attrgetter

import numpy as np

from calscipy.errors import RecordingError
from calscipy.io.prairieview.recording import Images
from calscipy.io.prairieview.scan_records import Scan


def frame_times(scan: Scan, images: Images) -> tuple[np.ndarray, str]:
    """Return acquisition times in s, shape (frames, plane), and the name of their clock.

    From ``absoluteTime``; else from ``relativeTime``, which runs on in some recordings and in
    others restarts in each sequence, whose start is added then. NaN where a plane was not acquired.
    """
    clock = "absoluteTime"
    times = _times(images, "absolute_time")
    if not _increasing(times):
        clock = "relativeTime"
        times = _times(images, "relative_time")
    if not _increasing(times):
        clock = "time of the sequences and relativeTime"
        times += _sequence_starts(images)[:, None]
    if not _increasing(times):
        starts = _starts(times)
        bad = int(np.argmin(np.r_[np.isfinite(starts[:1]), np.diff(starts) > 0]))
        raise RecordingError(
            f"{scan.path}: neither absoluteTime nor relativeTime increases from frame to frame "
            f"(first at frame {bad} of the movie, in cycle {images.sequences[bad].cycle}), so "
            "there is no trustworthy clock. Open the cycles before it with cycles=[...]."
        )
    return times, clock


def _starts(times: np.ndarray) -> np.ndarray:
    """Time of the first acquired plane of every frame; NaN where there is none."""
    first = np.where(np.isfinite(times), times, np.inf).min(axis=1)
    return np.where(np.isfinite(first), first, np.nan)


def _increasing(times: np.ndarray) -> bool:
    starts = _starts(times)
    return bool(np.isfinite(starts).all() and (np.diff(starts) > 0).all())


def _sequence_starts(images: Images) -> np.ndarray:
    """Wall-clock start of every frame's sequence in s, carried past midnight."""
    starts = np.empty(len(images.sequences))
    days = 0.0
    for at, sequence in enumerate(images.sequences):
        if at and sequence is images.sequences[at - 1]:
            starts[at] = starts[at - 1]
            continue
        try:
            clock = dt.time.fromisoformat(sequence.time[:15])
        except ValueError:
            starts[at] = np.nan if at else 0.0
            continue
        start = clock.hour * 3600 + clock.minute * 60 + clock.second + clock.microsecond / 1e6
        if at and start + days < starts[at - 1]:
            days += 86400.0
        starts[at] = start + days
    return starts


def _times(images: Images, field: str) -> np.ndarray:
    """Take one number of every acquired plane, NaN elsewhere."""
    value = attrgetter(field)
    if images.planes == 1:
        numbers = [value(frame) for (frame,) in images.frames]
        return np.array(numbers, np.float64)[:, None]
    return images.each(lambda _, frame: value(frame))
