"""How high and how long transients are whose onsets are known."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from calscipy.kernels.compiled import compiled, frozen

__all__ = ["EventShapes", "event_shapes"]


class EventShapes(NamedTuple):
    """What was measured of each event, all of shape ``(events,)`` and float64."""

    peak_time: np.ndarray
    peak: np.ndarray
    amplitude: np.ndarray
    duration: np.ndarray


def event_shapes(
    f: np.ndarray,
    times: np.ndarray,
    row: np.ndarray,
    onset: np.ndarray,
    stop: np.ndarray,
    *,
    window: float,
) -> EventShapes:
    """Measure transients between their onset and the sample at which they must end.

    Parameters
    ----------
    f : ndarray, shape (rows, samples)
        Traces; NaN samples are skipped.
    times : ndarray, shape (samples,)
        Times of the samples in s.
    row, onset, stop : ndarray of int, shape (events,)
        Row of each event, in ascending order, the sample of its onset, and the first sample that
        belongs to it no more.
    window : float
        How long after the onset the peak is looked for, in s.

    Returns
    -------
    EventShapes
        Time (s) and value of the highest sample of the window, the first of equal ones; how far
        it lies above the value at the onset; time from the onset until the trace first falls to
        half of that after the peak, interpolated linearly between samples (s). NaN where there is
        no sample, no rise or no such fall.

    Examples
    --------
    >>> f = np.array([[1.0, 1.0, 5.0, 4.0, 2.0, 1.0]])
    >>> one = np.array([1])
    >>> shapes = event_shapes(f, np.arange(6.0), one - 1, one, one + 5, window=2.0)
    >>> [float(column[0]) for column in shapes]
    [2.0, 5.0, 4.0, 2.5]
    """
    found = np.full((4, len(onset)), np.nan)
    # a sample right at the end of the window counts, whatever the last digit of its time
    reach = np.searchsorted(times, times[onset] + window * (1 + 1e-9), side="right")
    reach = np.minimum(reach, stop)
    clock = frozen(times, np.dtype("f8"))
    edges = np.searchsorted(row, np.arange(f.shape[0] + 1))
    for at in np.flatnonzero(np.diff(edges)):
        some = slice(edges[at], edges[at + 1])
        trace = frozen(f[at], np.dtype("f8"))
        _measure(
            trace,
            clock,
            frozen(onset[some]),
            frozen(reach[some]),
            frozen(stop[some]),
            found[:, some],
        )
    return EventShapes(*found)


@compiled
def _measure(
    trace: np.ndarray,
    times: np.ndarray,
    onsets: np.ndarray,
    reaches: np.ndarray,
    stops: np.ndarray,
    found: np.ndarray,
) -> None:
    """Measure the events of one trace, in the order of `EventShapes`."""
    for event in range(onsets.shape[0]):
        onset, stop = onsets[event], stops[event]
        top = -1
        for at in range(onset, reaches[event]):
            if trace[at] == trace[at] and (top < 0 or trace[at] > trace[top]):
                top = at
        if top < 0:
            continue
        base, peak = trace[onset], trace[top]
        found[0, event] = times[top]
        found[1, event] = peak
        found[2, event] = peak - base
        if not peak > base:
            continue
        half = base + (peak - base) / 2
        before = top
        for at in range(top + 1, stop):
            if trace[at] <= half:
                share = (trace[before] - half) / (trace[before] - trace[at])
                crossing = times[before] + share * (times[at] - times[before])
                found[3, event] = crossing - times[onset]
                break
            if trace[at] == trace[at]:
                before = at
