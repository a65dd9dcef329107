"""Baseline fluorescence F₀ of traces: one level for each row.

Every function takes ``f`` with time as its last axis and any number of leading axes. NaN marks a
missing sample: it changes no other sample's value, and F₀ is finite wherever a row has any valid
sample, also at the missing ones. Integers become float32; a row that is all NaN has a NaN baseline.
The results have the shape of ``f``, but are read-only views of one number for each row.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator

import numpy as np
from numpy.typing import ArrayLike

from calscipy.errors import ArgumentError
from calscipy.kernels.compiled import frozen
from calscipy.kernels.percentile import check_percentile, row_percentile

__all__ = [
    "as_float",
    "low_pass_baseline",
    "mean_baseline",
    "median_baseline",
    "percentile_baseline",
    "rows_by_gaps",
]

MOST_TAPS = 30  # of the low-pass filter, as in CalSciPy 0.3.5 and FISSA
LEAST_WEIGHT = 0.5  # of the filter that must lie on valid samples
PIECE = 2**16  # samples filtered at a time, which stay in the cache for the percentile


def as_float(f: ArrayLike) -> np.ndarray:
    """Promote real data to float32 or float64; uint16 arithmetic would wrap.

    Examples
    --------
    >>> as_float(np.array([3, 5], dtype=np.uint16)).dtype
    dtype('float32')
    """
    array = np.asarray(f)
    if array.dtype.kind not in "biuf":
        raise TypeError(f"Traces must be real numbers, not {array.dtype}.")
    if array.ndim == 0:
        raise ArgumentError("Traces need a time axis, the last one; a single number came.")
    if array.dtype.kind != "f" or array.dtype.itemsize < 4:
        return array.astype(np.float32)
    return array.astype(np.float32 if array.dtype.itemsize == 4 else np.float64, copy=False)


def rows_by_gaps(
    rows: np.ndarray,
) -> Iterator[tuple[np.ndarray | slice, np.ndarray, np.ndarray]]:
    """Group the rows of a 2-D array that lack the same samples.

    Yields the members of each group, which samples they have, and these samples. Dropped frames are
    the same for every neuron, so there are few groups and each is handled as one array.

    Examples
    --------
    >>> rows = np.array([[1.0, np.nan], [2.0, 3.0], [4.0, np.nan]])
    >>> for members, valid, samples in rows_by_gaps(rows):
    ...     print(members, valid, samples.tolist())
    [0 2] [ True False] [[1.0], [4.0]]
    [1] [ True  True] [[2.0, 3.0]]
    """
    missing = np.isnan(rows)
    if not missing.any():
        yield slice(None), np.ones(rows.shape[1], dtype=bool), rows
        return
    groups: dict[bytes, list[int]] = {}
    for row, key in enumerate(np.packbits(missing, axis=1)):
        groups.setdefault(key.tobytes(), []).append(row)
    for group in groups.values():
        members, valid = np.array(group), ~missing[group[0]]
        # compress, because an index would transpose the memory and so reorder sums
        yield members, valid, np.compress(valid, rows[members], axis=1)


def _as_rows(f: np.ndarray) -> np.ndarray:
    """All leading axes as one; contiguous, so that sums do not depend on the memory order."""
    return np.ascontiguousarray(f.reshape(int(np.prod(f.shape[:-1])), f.shape[-1]))


def _constant(level: np.ndarray, f: np.ndarray) -> np.ndarray:
    """One level per row, seen as often as ``f`` has samples, but held once."""
    column = level.astype(f.dtype).reshape(*f.shape[:-1], 1)
    return np.broadcast_to(column, f.shape)


def mean_baseline(f: ArrayLike) -> np.ndarray:
    """Mean of the valid samples of each row.

    Parameters
    ----------
    f : array_like, shape (..., samples)
        Fluorescence.

    Returns
    -------
    ndarray
        F₀, of the shape of ``f``.

    Examples
    --------
    >>> mean_baseline([1.0, np.nan, 2.0]).tolist()
    [1.5, 1.5, 1.5]
    """
    f = as_float(f)
    rows = _as_rows(f)
    level = np.full(len(rows), np.nan)
    for members, valid, samples in rows_by_gaps(rows):
        if valid.any():
            with np.errstate(invalid="ignore", over="ignore"):  # infinite samples
                level[members] = np.mean(samples, axis=1, dtype=np.float64)
    return _constant(level, f)


def median_baseline(f: ArrayLike) -> np.ndarray:
    """Median of the valid samples of each row.

    Parameters
    ----------
    f : array_like, shape (..., samples)
        Fluorescence.

    Returns
    -------
    ndarray
        F₀, of the shape of ``f``.

    Examples
    --------
    >>> median_baseline([1.0, 2.0, np.nan, 9.0]).tolist()
    [2.0, 2.0, 2.0, 2.0]
    """
    return percentile_baseline(f, percentile=50.0)


def percentile_baseline(f: ArrayLike, *, percentile: float) -> np.ndarray:
    """Percentile of the valid samples of each row, interpolated linearly between samples.

    Parameters
    ----------
    f : array_like, shape (..., samples)
        Fluorescence.
    percentile : float
        From 0, the lowest sample, to 100.

    Returns
    -------
    ndarray
        F₀, of the shape of ``f``.

    Examples
    --------
    >>> percentile_baseline([0.0, 1.0, 2.0, 3.0, 40.0], percentile=25).tolist()
    [1.0, 1.0, 1.0, 1.0, 1.0]
    """
    f = as_float(f)
    return _constant(row_percentile(_as_rows(f), percentile), f)


def low_pass_baseline(
    f: ArrayLike, *, frame_rate: float, cutoff: float = 1.0, percentile: float = 5.0
) -> np.ndarray:
    """Percentile of the low-passed trace, as CalSciPy 0.3.5 and FISSA define it.

    The trace is filtered forwards and backwards with a Hamming-windowed FIR filter, so that the
    percentile is not that of the noise. Where the filter does not apply, the percentile of
    the unfiltered trace is taken: ``cutoff`` at or above half the frame rate, or fewer than nine
    samples.

    Parameters
    ----------
    f : array_like, shape (..., samples)
        Fluorescence. Rows with NaN are filtered by normalised convolution: every output is the
        weighted mean of the valid samples in reach, and those with less than half of the weight on
        valid samples, or missing themselves, do not enter the percentile. Infinite samples
        count as missing.
    frame_rate : float
        Frames per second.
    cutoff : float, default 1.0
        Cut-off frequency in Hz.
    percentile : float, default 5.0
        From 0 to 100.

    Returns
    -------
    ndarray
        F₀, of the shape of ``f`` and constant in each row.

    References
    ----------
    Keemink, S. W. et al. (2018). FISSA: a neuropil decontamination toolbox for calcium imaging
    signals. Scientific Reports 8, 3493. https://doi.org/10.1038/s41598-018-21640-2

    Examples
    --------
    >>> f = np.full(60, 100.0)
    >>> low_pass_baseline(f, frame_rate=30.0).round(6)[:3].tolist()
    [100.0, 100.0, 100.0]
    """
    check_percentile(percentile)
    if not (frame_rate > 0 and cutoff > 0):
        raise ArgumentError(
            f"frame_rate and cutoff must be above 0 Hz, not {frame_rate!r} and {cutoff!r}."
        )
    f = as_float(f)
    rows = frozen(_as_rows(f))
    taps = _taps(rows.shape[1])
    if taps < 2 or cutoff >= frame_rate / 2:
        return _constant(row_percentile(rows, percentile), f)
    from calscipy.kernels import vector_loops  # imports numba

    weights = frozen(_weights(taps, cutoff, frame_rate), rows.dtype)
    step = max(1, PIECE // rows.shape[1])
    smooth = np.empty((min(step, len(rows)), rows.shape[1]), rows.dtype)
    level = np.empty(len(rows))
    for start in range(0, len(rows), step):
        piece = rows[start : start + step]
        vector_loops.low_pass(piece, weights, LEAST_WEIGHT, smooth)
        level[start : start + step] = row_percentile(smooth[: len(piece)], percentile)
    scattered = np.isnan(level)  # single samples here and there, or none
    if scattered.any():
        level[scattered] = row_percentile(rows[scattered], percentile)
    return _constant(level, f)


@functools.lru_cache(maxsize=16)  # pixels come in many pieces
def _weights(taps: int, cutoff: float, frame_rate: float) -> np.ndarray:
    """Weights of the filter, forwards and backwards at once, from the centre on."""
    from scipy import signal  # takes a second to import

    once = signal.firwin(taps, cutoff, window="hamming", fs=frame_rate)
    return np.convolve(once, once[::-1])[taps - 1 :]


def _taps(samples: int) -> int:
    """Filter length of CalSciPy 0.3.5: mostly odd, and its padding shorter than the trace."""
    taps = min(MOST_TAPS, samples // 3)
    taps -= taps % 2 == 0
    return taps - (3 * taps == samples)
