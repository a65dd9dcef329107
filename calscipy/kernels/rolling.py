"""Baselines of a window that slides along traces: percentile, median, mean and maximin.

Every function takes ``f`` with time as its last axis and any number of leading axes. A window holds
``window`` samples, an odd number, around each sample; at its ends the trace is mirrored
(``d c b a | a b c d | d c b a``), repeatedly if the window is longer than the trace. NaN marks a
missing sample, which changes no other sample's value: a window takes the samples that it has. Where
it has none, because a gap is longer than the window, F₀ is interpolated linearly across the gap,
and continued as a constant at the ends of the trace. Integers become float32; a row that is all NaN
has a NaN baseline.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import ArrayLike
from scipy import ndimage

from calscipy.errors import ArgumentError
from calscipy.kernels.baseline import as_float
from calscipy.kernels.compiled import frozen
from calscipy.kernels.percentile import check_percentile
from calscipy.kernels.results import room_for
from calscipy.kernels.rolling_loops import rolling_order

__all__ = [
    "interpolate_missing",
    "maximin_baseline",
    "rolling_mean_baseline",
    "rolling_median_baseline",
    "rolling_percentile_baseline",
]

PIECE = 2**16  # samples worked on at a time where intermediates are larger than the input
SEGMENT = (2048, 3)  # samples and windows that are sorted at once, whichever is longer
MARGIN = 0.1  # of quantiles by which windows of a segment may differ, noise apart
TRUNCATE = 4.0  # standard deviations at which the Gaussian ends


def rolling_percentile_baseline(
    f: ArrayLike, *, window: int, percentile: float, out: np.ndarray | None = None
) -> np.ndarray:
    """Percentile of the samples around each sample.

    The sample at rank ``int(count * percentile / 100)`` of the sorted window is taken, without
    interpolation, as `scipy.ndimage.percentile_filter` does.

    Parameters
    ----------
    f : array_like, shape (..., samples)
        Fluorescence. A window with missing samples takes the same rank among those it has.
    window : int
        Length of the window in samples, odd. It costs the same whatever its length.
    percentile : float
        From 0 to 100.
    out : ndarray, optional
        Where to put the result, if it fits as it is.

    Returns
    -------
    ndarray
        F₀, of the shape of ``f``.

    Raises
    ------
    ArgumentError
        For a window that is not odd, and a percentile out of range.

    Examples
    --------
    >>> f = np.array([1.0, 2.0, 9.0, 4.0, 5.0])
    >>> rolling_percentile_baseline(f, window=3, percentile=50).tolist()
    [1.0, 2.0, 4.0, 5.0, 5.0]
    """
    check_percentile(percentile)
    window = _odd(window)
    counts = np.arange(window + 1, dtype=np.float64)
    ranks = (counts * percentile / 100.0).astype(np.int64)
    ranks = np.minimum(ranks, np.maximum(counts.astype(np.int64) - 1, 0))
    low, _ = _order_statistics(as_float(f), ranks, ranks, percentile / 100, out=out)
    return low


def rolling_median_baseline(
    f: ArrayLike, *, window: int, out: np.ndarray | None = None
) -> np.ndarray:
    """Median of the samples around each sample.

    Parameters
    ----------
    f : array_like, shape (..., samples)
        Fluorescence. Of an even number of samples, as missing ones may leave, the mean of the two
        in the middle is taken.
    window : int
        Length of the window in samples, odd. It costs the same whatever its length.
    out : ndarray, optional
        Where to put the result, if it fits as it is.

    Returns
    -------
    ndarray
        F₀, of the shape of ``f``.

    Raises
    ------
    ArgumentError
        For a window that is not odd.

    Examples
    --------
    >>> rolling_median_baseline([1.0, 2.0, 9.0, np.nan, 5.0], window=3).tolist()
    [1.0, 2.0, 5.5, 7.0, 5.0]
    """
    window = _odd(window)
    counts = np.arange(window + 1)
    f = as_float(f)
    gapped = bool(np.isnan(f).any())
    lower, upper = np.maximum(counts - 1, 0) // 2, counts // 2
    low, high = _order_statistics(f, lower, upper, 0.5, both=gapped, out=out)
    if not gapped:
        return low
    differ = low != high  # also where both are NaN, which stay so
    pairs = np.stack([low[differ], high[differ]]).astype(np.float64)
    with np.errstate(invalid="ignore"):  # infinite samples
        low[differ] = pairs[0] / 2 + pairs[1] / 2
    return low


def _odd(window: int) -> int:
    if window != int(window) or window < 1 or window % 2 == 0:
        raise ArgumentError(f"window must be an odd number of samples, not {window!r}.")
    return int(window)


def _order_statistics(
    f: np.ndarray,
    lower: np.ndarray,
    upper: np.ndarray,
    quantile: float,
    *,
    both: bool = False,
    out: np.ndarray | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Take the samples at two ranks of each window; the second one only if ``both``.

    The ranks are those for 0, 1, ... samples in the window, and lie about ``quantile``.
    """
    samples, window = f.shape[-1], len(lower) - 1
    low = room_for(out, f.shape, f.dtype)
    high = np.empty(f.shape if both else (0, samples), f.dtype)
    if f.size == 0:
        return low, high
    rows = frozen(f.reshape(-1, samples))
    # the quantiles of windows scatter about that of the segment, the more the shorter they are
    margin = MARGIN + 3 * np.sqrt(quantile * (1 - quantile) / window)
    values = np.empty(samples + window - 1, f.dtype)
    rolling_order(
        rows,
        values,
        values.view(f"u{values.itemsize}"),
        lower.astype(np.int64),
        upper.astype(np.int64),
        max(SEGMENT[0], SEGMENT[1] * window),
        quantile,
        float(margin),
        low.reshape(-1, samples),
        high.reshape(-1, samples),
    )
    for found in (low, high):
        interpolate_missing(found.reshape(-1, samples))
    return low, high


def _mirrored(samples: int, beyond: int) -> np.ndarray:
    """Return the samples of a trace that is mirrored so many samples beyond its ends."""
    place = np.arange(-beyond, samples + beyond) % (2 * samples)
    return np.where(place < samples, place, 2 * samples - 1 - place)


def interpolate_missing(rows: np.ndarray) -> None:
    """Interpolate linearly over the NaN of each row, in place.

    Ends are continued as constants, and a row that is all NaN stays so.

    Parameters
    ----------
    rows : ndarray of float, shape (rows, samples)

    Examples
    --------
    >>> rows = np.array([[1.0, np.nan, 3.0, np.nan]])
    >>> interpolate_missing(rows)
    >>> rows.tolist()
    [[1.0, 2.0, 3.0, 3.0]]
    """
    for row in rows:
        empty = np.isnan(row)
        if empty.any() and not empty.all():
            row[empty] = np.interp(np.flatnonzero(empty), np.flatnonzero(~empty), row[~empty])


def rolling_mean_baseline(f: ArrayLike, *, window: int) -> np.ndarray:
    """Mean of the samples around each sample.

    Parameters
    ----------
    f : array_like, shape (..., samples)
        Fluorescence.
    window : int
        Length of the window in samples, odd. It costs the same whatever its length.

    Returns
    -------
    ndarray
        F₀, of the shape of ``f``. No sum reaches beyond its window, so that the last sample is as
        accurate as the first, and an infinite one stays in the windows that hold it.

    Raises
    ------
    ArgumentError
        For a window that is not odd.

    Examples
    --------
    >>> rolling_mean_baseline([1.0, 2.0, 9.0, np.nan, 5.0], window=3).tolist()
    [1.3333333333333333, 4.0, 5.5, 7.0, 5.0]
    """
    window = _odd(window)
    f = as_float(f)
    out = np.empty(f.shape, f.dtype)
    place = _mirrored(max(1, f.shape[-1]), window // 2)
    for rows, target in _pieces(f, out, window):
        missing = np.isnan(rows)
        gapped = missing.any()
        values = rows[:, place].astype(np.float64)
        if gapped:
            values[missing[:, place]] = 0.0
        with np.errstate(invalid="ignore", over="ignore"):  # infinite samples
            mean = _over_windows(values, window, np.add, 0.0)
            if gapped:
                counts = _over_windows((~missing)[:, place].astype(np.float64), window, np.add, 0.0)
                counts[counts == 0] = np.nan
                mean /= counts
                interpolate_missing(mean)
            else:
                mean /= window
            target[:] = mean
    return out


def maximin_baseline(f: ArrayLike, *, sigma: float, window: int) -> np.ndarray:
    """Maximum of the minimum of the smoothed samples around each sample.

    A Gaussian filter, a rolling minimum and a rolling maximum follow the lower envelope of a
    trace, below every transient that is shorter than the window. What is left of the noise after
    the Gaussian lowers F₀ by two to three of its standard deviations.

    Parameters
    ----------
    f : array_like, shape (..., samples)
        Fluorescence. Missing samples have no weight in the Gaussian (normalised convolution), and
        are left out of minimum and maximum.
    sigma : float
        Standard deviation of the Gaussian in samples; 0 for none.
    window : int
        Length of the window of minimum and maximum in samples, odd.

    Returns
    -------
    ndarray
        F₀, of the shape of ``f``. Only the Gaussian needs the trace beyond its ends, where it is
        mirrored: a minimum or maximum is the same as that of the samples that are there.

    Raises
    ------
    ArgumentError
        For a window that is not odd, and a negative or infinite sigma.

    References
    ----------
    Pachitariu, M. et al. (2016). Suite2p: beyond 10,000 neurons with standard two-photon
    microscopy. bioRxiv 061507. https://doi.org/10.1101/061507

    Examples
    --------
    >>> f = [5.0, 6.0, 5.0, 9.0, 9.0, 4.0, 4.0, 5.0]
    >>> maximin_baseline(f, sigma=0, window=3).tolist()
    [5.0, 5.0, 5.0, 5.0, 5.0, 4.0, 4.0, 4.0]
    """
    window = _odd(window)
    if not (np.isfinite(sigma) and sigma >= 0):
        raise ArgumentError(f"sigma must be 0 or a positive number of samples, not {sigma!r}.")
    f = as_float(f)
    out = np.empty(f.shape, f.dtype)
    ends = ((0, 0), (window // 2, window // 2))
    for rows, target in _pieces(f, out, window):
        smooth = _smooth(rows, sigma)
        for extreme in (np.fmin, np.fmax):
            padded = np.pad(smooth, ends, constant_values=np.nan)
            smooth = _over_windows(padded, window, extreme, np.nan)
        interpolate_missing(smooth)
        target[:] = smooth
    return out


def _smooth(rows: np.ndarray, sigma: float) -> np.ndarray:
    """Filter rows by a Gaussian, as float64; missing samples stay so."""
    exact = rows.astype(np.float64)
    if sigma == 0:
        return exact

    def gaussian(values: np.ndarray) -> np.ndarray:
        filtered: np.ndarray = ndimage.gaussian_filter1d(
            values, sigma, axis=-1, mode="reflect", truncate=TRUNCATE
        )
        return filtered

    gapped = np.isnan(exact).any(axis=1)
    if not gapped.any():
        return gaussian(exact)
    out = np.empty_like(exact)
    out[~gapped] = gaussian(exact[~gapped])
    missing = np.isnan(exact[gapped])
    total = gaussian(np.where(missing, 0.0, exact[gapped]))
    weight = gaussian((~missing).astype(np.float64))
    weight[missing] = np.nan
    out[gapped] = total / weight
    return out


def _pieces(f: np.ndarray, out: np.ndarray, window: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Cut rows, and their results, into a few at a time."""
    if f.size == 0:
        return
    samples = f.shape[-1]
    rows, targets = f.reshape(-1, samples), out.reshape(-1, samples)
    step = max(1, PIECE // (samples + window))
    for start in range(0, len(rows), step):
        some = slice(start, start + step)
        yield np.ascontiguousarray(rows[some]), targets[some]


def _over_windows(padded: np.ndarray, window: int, ufunc: np.ufunc, empty: float) -> np.ndarray:
    """Reduce every window of rows by ``np.add``, ``np.fmin`` or ``np.fmax``.

    Rows are cut into blocks as long as the window, which then is the end of one block and the
    beginning of the next: two accumulations serve all windows (van Herk 1992,
    https://doi.org/10.1016/0167-8655(92)90069-C).

    Parameters
    ----------
    padded : ndarray, shape (rows, samples + window - 1)
    window : int
    ufunc : ufunc
    empty : float
        What leaves another number as it is.

    Returns
    -------
    ndarray, shape (rows, samples)
    """
    rows, length = padded.shape
    count = length // window + 1
    blocks = np.full((rows, count * window), empty)
    blocks[:, :length] = padded
    blocks = blocks.reshape(rows, count, window)
    before = np.full_like(blocks, empty)  # of a block, up to but without this sample
    ufunc.accumulate(blocks[..., :-1], axis=-1, out=before[..., 1:])
    onward = np.empty_like(blocks)  # from this sample to the end of its block
    ufunc.accumulate(blocks[..., ::-1], axis=-1, out=onward[..., ::-1])
    samples = length - window + 1
    first = onward.reshape(rows, -1)[:, :samples]
    rest = before.reshape(rows, -1)[:, window : window + samples]
    result: np.ndarray = ufunc(first, rest)
    return result
