"""Events as one list of frames for each row."""

from __future__ import annotations

import itertools
from array import array
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np

from calscipy.errors import ArgumentError, RowError

_NONE = np.zeros(0, np.int64)
_SIZED = (list, np.ndarray, tuple)


class Events(NamedTuple):
    """Events of all rows behind each other: frames, and how many each row has."""

    frames: np.ndarray
    counts: np.ndarray

    @property
    def rows(self) -> np.ndarray:
        """Row of each event."""
        return np.repeat(np.arange(self.counts.size), self.counts)

    def split(self, values: np.ndarray) -> tuple[np.ndarray, ...]:
        """Cut values, one for each event, into one array for each row.

        Examples
        --------
        >>> [part.tolist() for part in as_events([[4, 9], [], [7]]).split(np.arange(3))]
        [[0, 1], [], [2]]
        """
        stops = np.cumsum(self.counts).tolist()
        return tuple(values[a:b] for a, b in itertools.pairwise([0, *stops]))


def as_events(lists: Iterable[Iterable[int]]) -> Events:
    """Put lists of frames behind each other.

    Parameters
    ----------
    lists : iterable of iterable of int
        Frames of the events of each row; lists may be empty. Whole numbers of any type.

    Raises
    ------
    ArgumentError
        If there are no lists of numbers.
    RowError
        Naming the rows with frames that are no whole numbers.

    Examples
    --------
    >>> as_events([[4, 9], []])[:2]
    (array([4, 9]), array([2, 0]))
    """
    try:
        each = [some if isinstance(some, _SIZED) else list(some) for some in lists]
        flat = _whole_numbers(each)
        if flat is None:
            arrays = [np.asarray(some) for some in each]
            # Empty lists are arrays of floats, which would make all frames floats.
            flat = np.concatenate([_NONE, *(some for some in arrays if some.size)])
    except ValueError:  # more than one dimension
        flat, each = np.empty(0, object), []
    if flat.dtype.kind not in "iuf":
        raise ArgumentError("events must be one list of frames, as numbers, for each neuron.")
    counts = np.array([len(some) for some in each], dtype=np.int64)
    if flat.dtype.kind != "f":
        return Events(flat.astype(np.int64, copy=False), counts)
    frames = np.where(np.isfinite(flat), flat, 0.5).astype(np.int64)
    wrong = frames != flat
    if wrong.any():
        raise RowError(
            np.unique(Events(frames, counts).rows[wrong]).tolist(),
            f"have events in frames such as {flat[wrong][0]}. Give frames as whole numbers.",
        )
    return Events(frames, counts)


def _whole_numbers(lists: Sequence[Sequence[int] | np.ndarray]) -> np.ndarray | None:
    """Put lists of whole numbers behind each other; None if there is anything else in them."""
    if not all(type(some) is list for some in lists):
        return None
    numbers = array("q")  # takes over lists in half the time of one NumPy array for each
    try:
        for some in lists:
            numbers.fromlist(some)  # type: ignore[arg-type]
    except (TypeError, OverflowError):
        return None
    return np.array(numbers, np.int64)


def require_inside(events: Events, rows: int, samples: int) -> None:
    """Raise unless there are as many lists as rows and all events lie in them.

    Raises
    ------
    ArgumentError
        If there are more or fewer lists than rows.
    RowError
        Naming the rows with events before the first or behind the last sample.
    """
    if events.counts.size != rows:
        raise ArgumentError(
            f"events of {events.counts.size} neurons do not fit traces of {rows}. Give one list "
            "of frames for each neuron, empty ones too."
        )
    frames = events.frames
    if frames.min(initial=0) < 0 or frames.max(initial=-1) >= samples:
        outside = (frames < 0) | (frames >= samples)
        raise RowError(
            np.unique(events.rows[outside]).tolist(),
            f"have events in frames such as {frames[outside][0]}, but there are frames from 0 to "
            f"{samples - 1}. Leave these events out.",
        )


def values_at_events(f: np.ndarray, events: Events) -> tuple[np.ndarray, ...]:
    """Values of each row in the frames of its events.

    Raises
    ------
    ArgumentError
        As `require_inside`.

    Examples
    --------
    >>> [some.tolist() for some in values_at_events(np.eye(2), as_events([[1, 0], []]))]
    [[0.0, 1.0], []]
    """
    rows, samples = f.shape
    require_inside(events, rows, samples)
    return events.split(f.reshape(-1)[events.rows * samples + events.frames])


def event_intervals(events: Events, *, frame_rate: float) -> tuple[np.ndarray, ...]:
    """Seconds from each event of a row to the next one.

    Examples
    --------
    >>> lists = as_events([[4, 9, 10], [], [7]])
    >>> [between.tolist() for between in event_intervals(lists, frame_rate=2.0)]
    [[2.5, 0.5], [], []]
    """
    steps = np.diff(events.frames) / frame_rate
    stops = np.cumsum(events.counts)
    # The steps of a row begin where its events do; the last of these is the way to the next row.
    places = zip((stops - events.counts).tolist(), (stops - 1).tolist(), strict=True)
    return tuple(steps[start : max(start, last)] for start, last in places)


def event_raster(events: Events, *, samples: int, dtype: np.dtype | type = np.int32) -> np.ndarray:
    """Count the events in each frame.

    Returns
    -------
    ndarray, shape (rows, samples)

    Raises
    ------
    RowError
        Naming the rows with events outside of the frames.

    Examples
    --------
    >>> event_raster(as_events([[0, 2, 2], []]), samples=3).tolist()
    [[1, 0, 2], [0, 0, 0]]
    """
    rows = events.counts.size
    require_inside(events, rows, samples)
    raster = np.zeros(rows * samples, dtype)
    at = events.rows * samples + events.frames
    if (np.diff(at) > 0).all():
        raster[at] = 1
    else:  # several events may share a frame
        np.add.at(raster, at, 1)
    return raster.reshape(rows, samples)


def raster_frames(raster: np.ndarray) -> tuple[list[int], ...]:
    """List the frames of the events of each row of a raster.

    Examples
    --------
    >>> raster_frames(np.array([[True, False, True], [False, False, False]]))
    ([0, 2], [])
    """
    rows, frames = np.nonzero(raster)
    counts = np.bincount(rows, minlength=len(raster))
    return tuple(part.tolist() for part in Events(frames, counts).split(frames))
