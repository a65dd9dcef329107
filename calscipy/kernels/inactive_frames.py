"""Baseline of the frames in which a neuron is not active."""

from __future__ import annotations

from statistics import NormalDist

import numpy as np
from numpy.typing import ArrayLike

from calscipy.errors import ArgumentError
from calscipy.kernels.baseline import as_float
from calscipy.kernels.percentile import row_median
from calscipy.kernels.rolling import (
    interpolate_missing,
    rolling_mean_baseline,
    rolling_median_baseline,
    rolling_percentile_baseline,
)

__all__ = ["inactive_frames_baseline"]

PIECE = 2**16  # samples worked on at a time: there are several intermediates
LEAST_SHARE = 0.05  # of a window: the median of fewer frames is that of their noise
SMOOTHING = 7  # running means in a short window
SIGMA_PER_MAD = 1 / 0.6745  # of a Gaussian
SIGMA_PER_MEAN_DEVIATION = 1.2533  # of a Gaussian


def inactive_frames_baseline(
    f: ArrayLike,
    *,
    window: int,
    short_window: int,
    percentile: float = 10.0,
    threshold: float = 3.0,
) -> np.ndarray:
    """Median, in a rolling window, of the frames in which the neuron is inactive.

    Frames whose running mean is further from the level of the inactive trace than the noise
    explains are taken out; F₀ is the median of the others in the window around each sample.

    Parameters
    ----------
    f : array_like, shape (..., samples)
        Fluorescence, with time as its last axis. NaN is a missing sample, and taken as active.
    window : int
        Length of the window of F₀ in samples, odd.
    short_window : int
        Length of the window whose median is taken off to see the noise, in samples, odd. The
        running mean covers a seventh of it.
    percentile : float, default 10
        Rolling percentile, of the same window as F₀, from which the level of the inactive trace is
        reckoned; between 0 and 100.
    threshold : float, default 3
        Distance from this level, in standard deviations of the noise, beyond which a frame is taken
        as active.

    Returns
    -------
    ndarray
        F₀, of the shape of ``f``. Across windows of which less than a twentieth is inactive it is
        interpolated linearly, and continued as a constant at the ends of the trace; a row that is
        all NaN has a NaN baseline.

    Raises
    ------
    ArgumentError
        For windows that are not odd, and for a percentile or threshold out of range.

    Notes
    -----
    The method is that of the Allen Institute for Neural Dynamics, changed where it was biased.
    There, single frames are compared with the percentile itself, and those within three standard
    deviations of it are kept.

    - The 10th percentile of noise is 1.28 standard deviations below its level. A band around it
      cuts off more of the noise above the level than below, and so lowers F₀. Here the band lies
      around the level: 1.28 standard deviations above the percentile.
    - A transient decays into the noise of single frames while it still raises their median; the
      running mean, with less noise, shows it for longer.
    - The percentile of a window in which F₀ falls or rises is too low. What remains of the trace
      above it has no slope, and its percentile is added.

    Where the noise has no spread by the median absolute deviation, as in counts that are mostly
    the same number, the mean absolute deviation is taken instead.

    Examples
    --------
    >>> f = np.random.default_rng(0).normal(100.0, 5.0, 3000)
    >>> f[1000:1200] += 80.0
    >>> f0 = inactive_frames_baseline(f, window=901, short_window=101)
    >>> bool(abs(f0 - 100.0).max() < 1.0)
    True
    """
    if not 0 < percentile < 100:
        raise ArgumentError(f"percentile must lie between 0 and 100, not {percentile!r}.")
    if not threshold > 0:
        raise ArgumentError(f"threshold must be above 0, not {threshold!r}.")
    f = as_float(f)
    out = np.empty(f.shape, f.dtype)
    samples = max(1, f.shape[-1])
    rows, targets = f.reshape(-1, samples), out.reshape(-1, samples)
    step = max(1, PIECE // samples)
    for start in range(0, len(rows), step):
        piece = rows[start : start + step]
        with np.errstate(invalid="ignore"):  # infinite samples
            smooth, level, sigma = _inactive_level(piece, window, short_window, percentile)
            # running means of equal samples differ in the last digits
            spread = threshold * sigma + 8 * np.finfo(f.dtype).eps * np.abs(level)
            inactive = np.abs(smooth - level) <= spread
        kept = np.where(inactive, piece, np.nan)
        f0 = rolling_median_baseline(kept, window=window)
        share = rolling_mean_baseline(inactive.astype(np.float32), window=window)
        few = share < LEAST_SHARE
        f0[few & ~few.all(axis=1, keepdims=True)] = np.nan
        interpolate_missing(f0)
        targets[start : start + step] = np.where(np.isnan(f0), level, f0)
    return out


def _inactive_level(
    f: np.ndarray, window: int, short_window: int, percentile: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the running mean of rows, its level without activity, and the noise around it."""
    width = short_window // SMOOTHING
    width += width % 2 == 0
    smooth = np.where(np.isnan(f), np.nan, rolling_mean_baseline(f, window=width))
    residual = smooth - rolling_median_baseline(smooth, window=short_window)
    sigma = _sigma(residual)[:, None].astype(f.dtype)
    low = rolling_percentile_baseline(smooth, window=window, percentile=percentile)
    low += rolling_percentile_baseline(smooth - low, window=window, percentile=percentile)
    return smooth, low - sigma * f.dtype.type(NormalDist().inv_cdf(percentile / 100)), sigma


def _sigma(residual: np.ndarray) -> np.ndarray:
    """Return the standard deviation of the noise on rows, in spite of outliers."""
    off = np.abs(residual - row_median(residual)[:, None])
    sigma = SIGMA_PER_MAD * row_median(off)
    for row in np.flatnonzero(sigma == 0):
        finite = off[row][np.isfinite(off[row])]
        sigma[row] = SIGMA_PER_MEAN_DEVIATION * finite.mean(dtype=np.float64)
    return sigma
