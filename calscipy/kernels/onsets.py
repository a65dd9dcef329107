"""Where a signal crosses a threshold, once for each pulse."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np


class Crossings(NamedTuple):
    """Crossings of one stretch, and what the next one needs to know.

    ``place`` are the samples at which the threshold is reached, ``back`` how far before each of
    them a straight line from the sample before reaches it, as a share of the step. ``armed`` tells
    whether the signal was last seen below the threshold (None: on neither side yet), ``last`` is
    the last sample.
    """

    place: np.ndarray
    back: np.ndarray
    armed: bool | None
    last: float


def rising_crossings(
    f: np.ndarray,
    threshold: float,
    *,
    hysteresis: float = 0.0,
    armed: bool | None = None,
    last: float = np.nan,
) -> Crossings:
    """Find where a signal comes up to a threshold.

    Parameters
    ----------
    f : ndarray, shape (samples,)
        The signal. NaN is on neither side of the threshold.
    threshold : float
        Reached by samples from this value on.
    hysteresis : float, default 0
        How far below the threshold the signal must have been before it counts as reaching it
        again, from 0 on.
    armed, last : bool or None and float
        Of the stretch before, if this one follows on it. A signal that begins above the threshold
        does not cross it.
    """
    side = np.full(f.shape, -1, np.int8)
    side[f >= threshold] = 1
    side[f < threshold - hysteresis] = 0
    known = np.flatnonzero(side >= 0)
    there = side[known]
    if not known.size:
        return Crossings(known, np.empty(0), armed, float(f[-1]) if f.size else last)
    first = -1 if armed is None else int(not armed)
    below = np.concatenate([[first], there[:-1]]) == 0
    place = known[below & (there == 1)]
    before = np.concatenate([[last], f[:-1]])[place]
    with np.errstate(invalid="ignore"):
        back = (f[place] - threshold) / (f[place] - before)
    back = np.where(np.isfinite(back), np.clip(back, 0.0, 1.0), 0.0)
    return Crossings(place, back, bool(there[-1] == 0), float(f[-1]))


def spaced(times: np.ndarray, interval: float) -> np.ndarray:
    """Return which times are left when those less than an interval after one that is left go.

    Parameters
    ----------
    times : ndarray, shape (events,)
        In increasing order.
    interval : float
        In the units of the times.
    """
    kept = np.zeros(times.shape, bool)
    at = 0
    while at < times.size:
        kept[at] = True
        at = max(at + 1, int(np.searchsorted(times, times[at] + interval)))
    return kept
