"""Windows around events, cut out of rows whose last axis is time."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import DTypeLike


class Places(NamedTuple):
    """Where events lie, each array of shape ``(events,)``.

    ``row`` and ``onset`` are the row and the sample of an event; a window around it holds samples
    of ``[first, stop)``, its epoch, alone.
    """

    row: np.ndarray
    onset: np.ndarray
    first: np.ndarray
    stop: np.ndarray

    def part(self, start: int, stop: int, shift: int) -> Places:
        """Return events ``[start, stop)``, counting rows from ``shift`` on."""
        row, *others = (values[start:stop] for values in self)
        return Places(row - shift, *others)


def cut_windows(
    f: np.ndarray, places: Places, *, before: int, after: int, dtype: DTypeLike
) -> np.ndarray:
    """Cut out the samples around every event.

    Parameters
    ----------
    f : ndarray, shape (..., rows, samples)
        Fluorescence.
    places : Places
        The events.
    before, after : int
        Samples before and after the onset.
    dtype : dtype
        Of the result, one of floats.

    Returns
    -------
    ndarray, shape (..., events, before + 1 + after)
        The onset is at ``before`` in every window; samples outside of the epoch are NaN.

    Examples
    --------
    >>> places = Places(*np.array([[0, 1], [0, 2], [0, 0], [3, 3]]))
    >>> cut_windows(np.arange(6.0).reshape(2, 3), places, before=1, after=1, dtype="f4").tolist()
    [[nan, 0.0, 1.0], [4.0, 5.0, nan]]
    """
    length = before + 1 + after
    out = np.full((*f.shape[:-2], len(places.row), length), np.nan, dtype)
    starts, begins, ends = _reaches(places, before, after)
    for at, row in enumerate(places.row.tolist()):
        a, b = begins[at], ends[at]
        out[..., at, a - starts[at] : b - starts[at]] = f[..., row, a:b]
    return out


def window_sums(
    f: np.ndarray, places: Places, *, before: int, after: int
) -> tuple[np.ndarray, np.ndarray]:
    """Add up the samples at each lag around the events of every row.

    Parameters
    ----------
    f : ndarray, shape (..., rows, samples)
        Fluorescence; a NaN is no sample.
    places : Places
        The events.
    before, after : int
        Samples before and after the onset.

    Returns
    -------
    total : ndarray, shape (..., rows, before + 1 + after)
        64-bit integers for integers, float64 for floats.
    count : ndarray of int64, same shape
        Samples that were added up.

    Examples
    --------
    >>> places = Places(*np.array([[0, 0], [0, 1], [0, 0], [3, 3]]))
    >>> total, count = window_sums(np.array([[5, 7, 9]]), places, before=1, after=1)
    >>> total.tolist(), count.tolist()
    ([[5, 12, 16]], [[1, 2, 2]])
    """
    shape = (*f.shape[:-1], before + 1 + after)
    total = np.zeros(shape, sum_dtype(f.dtype))
    count = np.zeros(shape, np.int64)
    floats = f.dtype.kind == "f"
    starts, begins, ends = _reaches(places, before, after)
    for at, row in enumerate(places.row.tolist()):
        a, b = begins[at], ends[at]
        here = (..., row, slice(a - starts[at], b - starts[at]))
        values = f[..., row, a:b]
        if floats:
            known = ~np.isnan(values)
            with np.errstate(invalid="ignore"):  # infinite samples of both signs
                np.add(total[here], values, out=total[here], where=known)
            count[here] += known
        else:
            total[here] += values
            count[here] += 1
    return total, count


def averaged_windows(
    f: np.ndarray, places: Places, *, before: int, after: int, reduce: str, dtype: DTypeLike
) -> np.ndarray:
    """Return the mean or the sum at each lag around the events of every row.

    As `window_sums`; the mean of no sample is NaN.
    """
    total, count = window_sums(f, places, before=before, after=after)
    if reduce == "mean":
        with np.errstate(invalid="ignore"):
            total = total / count
    with np.errstate(over="ignore"):
        return total.astype(dtype, copy=False)


def counted_windows(
    f: np.ndarray, places: Places, *, before: int, after: int, dtype: DTypeLike
) -> np.ndarray:
    """Return how many samples there are at each lag around the events of every row."""
    return window_sums(f, places, before=before, after=after)[1].astype(dtype, copy=False)


def sum_dtype(dtype: np.dtype) -> np.dtype:
    """Return the dtype in which numbers are added up: exactly, if they are integers."""
    if dtype.kind == "f":
        return np.dtype(np.float64)
    return np.dtype(np.uint64 if dtype == np.uint64 else np.int64)


def _reaches(places: Places, before: int, after: int) -> tuple[list[int], list[int], list[int]]:
    """Return where each window starts, and the samples ``[begin, end)`` of it that there are."""
    starts = places.onset - before
    begins = np.maximum(starts, places.first)
    ends = np.minimum(places.onset + after + 1, places.stop)
    return starts.tolist(), begins.tolist(), ends.tolist()
