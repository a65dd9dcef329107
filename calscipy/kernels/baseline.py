"""Baseline fluorescence F₀ of traces: constant per row, low-passed, or following slow changes.

Every function takes ``f`` with time as its last axis and any number of leading axes. NaN marks a
missing sample: it changes no other sample's value, and F₀ is finite wherever a row has any valid
sample, also at the missing ones. Integers become float32; a row that is all NaN has a NaN baseline.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Iterator

import numpy as np
from numpy.typing import ArrayLike
from scipy import ndimage

from calscipy.errors import ArgumentError

__all__ = [
    "as_float",
    "low_pass_baseline",
    "mean_baseline",
    "median_baseline",
    "percentile_baseline",
    "rolling_percentile_baseline",
    "rows_by_gaps",
]

MOST_TAPS = 30  # of the low-pass filter, as in CalSciPy 0.3.5 and FISSA
LEAST_WEIGHT = 0.5  # of the filter that must lie on valid samples
PIECE = 2**22  # samples worked on at a time where intermediates are larger than the input


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
    """One level per row, repeated over the samples of ``f``."""
    column = level.astype(f.dtype).reshape(*f.shape[:-1], 1)
    return np.broadcast_to(column, f.shape).copy()


def _check_percentile(percentile: float) -> None:
    if not 0 <= percentile <= 100:
        raise ArgumentError(f"percentile must lie between 0 and 100, not {percentile!r}.")


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
    _check_percentile(percentile)
    f = as_float(f)
    return _constant(_row_percentile(_as_rows(f), percentile), f)


def _row_percentile(rows: np.ndarray, percentile: float) -> np.ndarray:
    level = np.full(len(rows), np.nan)
    for members, valid, samples in rows_by_gaps(rows):
        if valid.any():
            exact = samples.astype(np.float64, copy=False)
            with np.errstate(invalid="ignore", over="ignore"):  # infinite samples
                level[members] = np.percentile(exact, percentile, axis=1)
    return level


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
        valid samples, or missing themselves, do not enter the percentile.
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
    _check_percentile(percentile)
    if not (frame_rate > 0 and cutoff > 0):
        raise ArgumentError(
            f"frame_rate and cutoff must be above 0 Hz, not {frame_rate!r} and {cutoff!r}."
        )
    f = as_float(f)
    rows = _as_rows(f)
    taps = _taps(rows.shape[1])
    if taps < 2 or cutoff >= frame_rate / 2:
        return _constant(_row_percentile(rows, percentile), f)
    from scipy import signal  # takes a second to import

    weights = signal.firwin(taps, cutoff, window="hamming", fs=frame_rate)
    level = np.full(len(rows), np.nan)
    gapped = np.isnan(rows).any(axis=1)
    complete = np.flatnonzero(~gapped)
    step = max(1, PIECE // rows.shape[1])
    for start in range(0, len(complete), step):
        piece = complete[start : start + step]
        with np.errstate(invalid="ignore", over="ignore"):  # infinite samples
            smooth = signal.filtfilt(
                weights, [1.0], rows[piece].astype(np.float64), axis=-1, padlen=3 * taps
            )
        level[piece] = _row_percentile(smooth, percentile)
    for row in np.flatnonzero(gapped):
        level[row] = _gapped_level(rows[row].astype(np.float64), weights, percentile)
    return _constant(level, f)


def _taps(samples: int) -> int:
    """Filter length of CalSciPy 0.3.5: mostly odd, and its padding shorter than the trace."""
    taps = min(MOST_TAPS, samples // 3)
    taps -= taps % 2 == 0
    return taps - (3 * taps == samples)


def _gapped_level(row: np.ndarray, weights: np.ndarray, percentile: float) -> float:
    """Percentile of a row with missing samples, low-passed by normalised convolution."""
    valid = ~np.isnan(row)
    if not valid.any():
        return np.nan
    kernel = np.convolve(weights, weights[::-1])  # forwards and backwards at once
    reach = len(weights) - 1
    # filtfilt's odd extension: a row that lacks its end sample has none on that side
    before = 2 * row[0] - row[reach:0:-1]
    after = 2 * row[-1] - row[-2 : -reach - 2 : -1]
    extended = np.concatenate([before, row, after])
    there = ~np.isnan(extended)
    weight = np.convolve(there.astype(np.float64), kernel, mode="valid")
    total = np.convolve(np.where(there, extended, 0.0), kernel, mode="valid")
    use = valid & (weight >= LEAST_WEIGHT)
    if not use.any():  # only scattered single samples
        return float(np.percentile(row[valid], percentile))
    return float(np.percentile(total[use] / weight[use], percentile))


def rolling_percentile_baseline(f: ArrayLike, *, window: int, percentile: float) -> np.ndarray:
    """Percentile of the samples around each sample.

    The sample at rank ``int(count * percentile / 100)`` of the sorted window is taken, without
    interpolation, and the trace is mirrored at its ends (``d c b a | a b c d | d c b a``), as
    `scipy.ndimage.percentile_filter` does.

    Parameters
    ----------
    f : array_like, shape (..., samples)
        Fluorescence. A window with missing samples takes the same rank among those it has. Where a
        gap is longer than the window, F₀ is interpolated linearly across it, and continued
        as a constant at the ends of the trace.
    window : int
        Length of the window in samples, odd. It may be longer than the trace, which is then
        mirrored repeatedly.
    percentile : float
        From 0 to 100.

    Returns
    -------
    ndarray
        F₀, of the shape of ``f``.

    Examples
    --------
    >>> f = np.array([1.0, 2.0, 9.0, 4.0, 5.0])
    >>> rolling_percentile_baseline(f, window=3, percentile=50).tolist()
    [1.0, 2.0, 4.0, 5.0, 5.0]
    """
    _check_percentile(percentile)
    if window != int(window) or window < 1 or window % 2 == 0:
        raise ArgumentError(f"window must be an odd number of samples, not {window!r}.")
    f = as_float(f)
    rows = _as_rows(f)
    baseline = np.full(rows.shape, np.nan, dtype=f.dtype)
    if rows.shape[1] == 0:
        return baseline.reshape(f.shape)
    for row, out in zip(rows, baseline, strict=True):
        missing = np.isnan(row)
        if missing.all():
            continue
        # A NaN would upset the order of the filter's running window for the rest of the row.
        whole = np.where(missing, row[~missing][0], row) if missing.any() else row
        # 1-D calls: the same filter over a 2-D array is hundreds of times slower.
        out[:] = ndimage.percentile_filter(whole, percentile, size=int(window), mode="reflect")
        if missing.any():
            _rank_around_gaps(row, missing, int(window), percentile, out)
    return baseline.reshape(f.shape)


def _rank_around_gaps(
    row: np.ndarray, missing: np.ndarray, window: int, percentile: float, out: np.ndarray
) -> None:
    """Replace the outputs whose window has missing samples.

    A sorted list slides along each run of such outputs: at 1801 samples it is six times faster
    than sorting every window, and needs the memory of one.
    """
    samples = len(row)
    place = np.arange(-(window // 2), samples + window // 2) % (2 * samples)
    place = np.where(place < samples, place, 2 * samples - 1 - place)
    lacking = np.concatenate([[0], np.cumsum(missing[place])])
    touched = lacking[window:] > lacking[:-window]
    extended = row[place].tolist()
    edges = np.flatnonzero(np.diff(np.concatenate([[False], touched, [False]])))
    for start, stop in edges.reshape(-1, 2).tolist():
        order = sorted(value for value in extended[start : start + window] if value == value)
        for at in range(start, stop):
            if at > start:
                gone, came = extended[at - 1], extended[at - 1 + window]
                if gone == gone:
                    del order[bisect_left(order, gone)]
                if came == came:
                    insort(order, came)
            count = len(order)
            rank = count - 1 if percentile == 100 else int(float(count) * percentile / 100.0)
            out[at] = order[rank] if count else np.nan
    empty = np.isnan(out)
    if empty.any():
        out[empty] = np.interp(np.flatnonzero(empty), np.flatnonzero(~empty), out[~empty])
