"""Peaks of a trace, by the rules of ``scipy.signal.find_peaks``, several times as fast."""

from __future__ import annotations

import numpy as np

from calscipy.kernels.compiled import compiled, read_only

__all__ = ["find_peaks"]


def find_peaks(
    x: np.ndarray, *, height: float = -np.inf, distance: int = 1, prominence: float = 0.0
) -> np.ndarray:
    """Local maxima that are high, far enough apart and prominent, in this order of selection.

    The result is that of ``scipy.signal.find_peaks`` with the same arguments, also for plateaus
    (their middle, rounded down) and for peaks of equal height.

    Parameters
    ----------
    x : ndarray of float64, shape (samples,)
        Values. Beside a NaN there is no peak.
    height : float, optional
        Least value of a peak.
    distance : int, default 1
        Least number of samples between two peaks; the higher one stays. Of equal ones it is that
        which numpy's default sort puts last, as in scipy.
    prominence : float, default 0
        Least height of a peak above the higher of its two feet, the lowest values between it and
        the next higher value (or the end) on either side. With NaN there are no peaks.

    Returns
    -------
    ndarray of int64
        Positions of the peaks, in order.

    Examples
    --------
    >>> x = np.array([0.0, 2.0, 1.0, 3.0, 3.0, 3.0, 0.0])
    >>> find_peaks(x).tolist(), find_peaks(x, prominence=2).tolist()
    ([1, 4], [4])
    """
    x = read_only(x)
    found = np.empty(len(x) // 2 + 1, dtype=np.int64)
    peaks = found[: _maxima(x, height, found)]
    # Not a stable sort: scipy leaves ties to numpy as well, and which peak stays depends on it.
    order = np.argsort(x[peaks]) if distance > 1 else peaks[:0]
    keep = np.ones(len(peaks), dtype=np.bool_)
    _select(x, peaks, order, distance, prominence, keep)
    return peaks[keep]


@compiled
def _maxima(x: np.ndarray, height: float, peaks: np.ndarray) -> int:
    """Write the middles of all maxima from ``height`` up; return how many they are."""
    before, here, after = x[:-2], x[1:-1], x[2:]
    count = 0
    for at in range(x.shape[0] - 2):
        # without a branch: in noise half of the guesses about it are wrong
        peaks[count] = at + 1
        count += (before[at] < here[at]) & (after[at] <= here[at]) & (here[at] >= height)
    last = x.shape[0] - 1
    found = 0
    for which in range(count):
        first = peaks[which]
        ahead = first + 1
        while ahead < last and x[ahead] == x[first]:
            ahead += 1
        if x[ahead] < x[first]:
            peaks[found] = (first + ahead - 1) // 2
            found += 1
    return found


@compiled
def _select(
    x: np.ndarray,
    peaks: np.ndarray,
    order: np.ndarray,
    distance: int,
    prominence: float,
    keep: np.ndarray,
) -> None:
    """Drop peaks near a higher one, given their order by height, then the less prominent."""
    count = peaks.shape[0]
    for rank in range(order.shape[0] - 1, -1, -1):
        peak = order[rank]
        if not keep[peak]:
            continue
        other = peak - 1
        while other >= 0 and peaks[peak] - peaks[other] < distance:
            keep[other] = False
            other -= 1
        other = peak + 1
        while other < count and peaks[other] - peaks[peak] < distance:
            keep[other] = False
            other += 1
    for peak in range(count):
        if not keep[peak]:
            continue
        top = x[peaks[peak]]
        # A foot that is low enough settles its side: how much lower it gets does not matter.
        at = peaks[peak]
        while at >= 0 and x[at] <= top and not top - x[at] >= prominence:
            at -= 1
        low_before = at >= 0 and x[at] <= top
        at = peaks[peak]
        while at < x.shape[0] and x[at] <= top and not top - x[at] >= prominence:
            at += 1
        keep[peak] = low_before and at < x.shape[0] and x[at] <= top
