"""Smoothing of traces, with time as the last axis and NaN for missing samples, which stay NaN."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike
from scipy import fft, ndimage

from calscipy.errors import ArgumentError
from calscipy.kernels.baseline import as_float, rows_by_gaps
from calscipy.kernels.compiled import frozen
from calscipy.kernels.detrend import orthonormal_polynomials
from calscipy.kernels.results import room_for
from calscipy.kernels.smoothing_loops import diffuse

__all__ = ["check_diffusion", "gaussian_smooth", "perona_malik", "savgol"]

TILE = 4096  # samples that are diffused at a time, in the first-level cache
HALOS = 8  # a tile is at least as long as so many of the samples that reach into it
TRUNCATE = 4.0  # standard deviations of a Gaussian, as in scipy
MOST_ITERATIONS = 100_000  # of diffusion; minutes for long traces, which Ctrl-C cannot end
WIDEST_SIGMA = 100_000  # samples that links are smoothed by
WIDE = 64  # samples on either side from which on a cosine transform is faster
WIDEST = 4  # standard deviation in rows, from which on every output is the mean, but for 1e-4


def perona_malik(
    f: ArrayLike,
    *,
    iterations: int = 25,
    kappa: float = 0.15,
    gamma: float = 0.25,
    absolute: bool = False,
    sigma: float = 0.0,
    out: np.ndarray | None = None,
) -> np.ndarray:
    """Smooth each row by diffusion that steps well above ``kappa`` stop.

    With d the differences between neighbours, each iteration adds to every sample ``gamma`` times
    what flows in less what flows out, the flow being ``d exp(-(d / kappa)²)``. None passes the ends
    of the row or a missing sample, so that the sum of each stretch is kept.

    Parameters
    ----------
    f : array_like, shape (..., samples)
        Fluorescence. Samples that are not finite stay as they are.
    iterations : int, default 25
        Number of iterations.
    kappa : float, default 0.15
        Scale of the differences that are smoothed, as a share of the range of each row.
    gamma : float, default 0.25
        Share of the flow that is moved at a time; above 0.5 noise would grow.
    absolute : bool, default False
        Take ``kappa`` in the units of ``f``.
    sigma : float, default 0
        Standard deviation in samples of a Gaussian that the differences are smoothed with first.
    out : ndarray, optional
        Where to put the result, if it fits as it is.

    Returns
    -------
    ndarray
        Smoothed rows, of the shape of ``f``.

    Notes
    -----
    In float32 for float32 (the error is below 1e-6 of the range of a row at the default ``kappa``)
    and float64 for float64.

    References
    ----------
    Perona, P. & Malik, J. (1990). Scale-space and edge detection using anisotropic diffusion.
    IEEE Transactions on Pattern Analysis and Machine Intelligence 12, 629-639.
    https://doi.org/10.1109/34.56205

    Examples
    --------
    >>> perona_malik([0.0, 1.0, 0.0, 50.0, 50.0], iterations=1, kappa=0.1).round(2).tolist()
    [0.24, 0.52, 0.24, 50.0, 50.0]
    """
    check_diffusion(iterations, kappa, gamma, sigma)
    f = as_float(f)
    rows = frozen(f.reshape(int(np.prod(f.shape[:-1])), f.shape[-1]))
    low, high = np.empty((2, len(rows)), rows.dtype)
    for number, row in enumerate(rows):  # one by one: a mask of all is as large as a trace
        finite = np.isfinite(row)
        low[number] = np.min(row, where=finite, initial=np.inf)
        high[number] = np.max(row, where=finite, initial=-np.inf)
    empty = ~(low <= high)
    low[empty] = high[empty] = 0
    width = np.full(len(rows), kappa) if absolute else kappa * (high.astype("f8") - low)
    with np.errstate(divide="ignore", over="ignore"):
        scale = (1 / width).astype(f.dtype)
    # A constant row has no range, and a single sample no neighbour.
    scale[~np.isfinite(scale) | empty | (rows.shape[1] < 2)] = 0
    level = low + (high - low) / 2
    result = room_for(out, f.shape, f.dtype)
    smooth = result.reshape(rows.shape)
    if sigma:
        _diffuse_smoothed(rows, level, scale, int(iterations), gamma, sigma, smooth)
    else:
        tile = max(TILE, HALOS * int(iterations))
        diffuse(rows, level, scale, int(iterations), np.full(1, gamma, f.dtype), tile, smooth)
    return result


def check_diffusion(iterations: int, kappa: float, gamma: float, sigma: float) -> None:
    """Raise for arguments of ``perona_malik`` that are out of range."""
    if not 1 <= iterations <= MOST_ITERATIONS or iterations != int(iterations):
        raise ArgumentError(
            f"iterations must be a whole number from 1 to {MOST_ITERATIONS}, not {iterations!r}."
        )
    if not (np.isfinite(kappa) and kappa > 0):
        raise ArgumentError(f"kappa must be above 0, not {kappa!r}.")
    if not 0 < gamma <= 0.5:
        raise ArgumentError(
            f"gamma must be above 0 and at most 0.5, not {gamma!r}: beyond that noise grows."
        )
    if not 0 <= sigma <= WIDEST_SIGMA:
        raise ArgumentError(
            f"sigma must be a number of samples from 0 to {WIDEST_SIGMA}, not {sigma!r}."
        )


def _diffuse_smoothed(
    rows: np.ndarray,
    level: np.ndarray,
    scale: np.ndarray,
    iterations: int,
    gamma: float,
    sigma: float,
    out: np.ndarray,
) -> None:
    """Diffuse with differences smoothed by the mean of those that exist around each."""
    out[...] = rows
    for row in np.flatnonzero(scale):
        finite = np.isfinite(rows[row])
        link = (finite[1:] & finite[:-1]).astype(np.float64)
        weight = _gaussian(link, sigma, "constant")
        share = np.divide(link, weight, out=np.zeros_like(link), where=link > 0)
        u = np.where(finite, rows[row].astype(np.float64) - level[row], 0.0)
        for _ in range(iterations):
            d = share * _gaussian(link * np.diff(u), sigma, "constant")
            flow = d * np.exp(-((d * scale[row]) ** 2))
            u += gamma * np.diff(flow, prepend=0.0, append=0.0)
        out[row, finite] = u[finite] + level[row]


def _gaussian(rows: np.ndarray, sigma: float, mode: str) -> np.ndarray:
    return np.asarray(ndimage.gaussian_filter1d(rows, sigma, axis=-1, mode=mode, truncate=TRUNCATE))


def gaussian_smooth(f: ArrayLike, *, sigma: float) -> np.ndarray:
    """Smooth each row with a Gaussian that is cut off at four standard deviations.

    Beyond its ends a row is mirrored (``d c b a | a b c d | d c b a``), which keeps its sum.

    Parameters
    ----------
    f : array_like, shape (..., samples)
        Fluorescence. Every output is the weighted mean of the samples that are not missing;
        infinite ones count as such.
    sigma : float
        Standard deviation in samples.

    Returns
    -------
    ndarray
        Smoothed rows, of the shape of ``f``; NaN where ``f`` is missing.

    Examples
    --------
    >>> gaussian_smooth([0.0, 0.0, 4.0, 0.0, np.nan], sigma=0.5).round(2).tolist()
    [0.0, 0.43, 3.15, 0.48, nan]
    """
    if not (np.isfinite(sigma) and sigma > 0):
        raise ArgumentError(f"sigma must be a number of samples above 0, not {sigma!r}.")
    f = as_float(f)
    rows = f.reshape(int(np.prod(f.shape[:-1])), f.shape[-1])
    out = np.full(rows.shape, np.nan, f.dtype)
    if not out.size:
        return out.reshape(f.shape)
    infinite = np.isinf(rows)
    if infinite.any():
        rows = np.where(infinite, rows.dtype.type(np.nan), rows)
    for members, valid, samples in rows_by_gaps(rows):
        if valid.all():
            out[members] = _mirrored_gaussian(samples, sigma)
        elif valid.any():
            weight = _mirrored_gaussian(valid[None].astype(np.float64), sigma)
            with np.errstate(invalid="ignore", divide="ignore"):  # where nothing is in reach
                smooth = _mirrored_gaussian(_spread(samples, valid), sigma) / weight
            smooth[:, ~valid] = np.nan
            out[members] = smooth
    return out.reshape(f.shape)


def _mirrored_gaussian(rows: np.ndarray, sigma: float) -> np.ndarray:
    """Convolve complete rows, mirrored at their ends, with a Gaussian."""
    samples = rows.shape[1]
    sigma = min(sigma, float(WIDEST * samples))
    radius = int(TRUNCATE * sigma + 0.5)
    if radius < WIDE:
        return _gaussian(rows, sigma, "reflect")
    # The cosine transform turns a symmetric convolution of mirrored rows into a product.
    weights = np.exp(-0.5 * (np.arange(-radius, radius + 1) / sigma) ** 2)
    folded = np.zeros(2 * samples)
    np.add.at(folded, np.arange(-radius, radius + 1) % (2 * samples), weights / weights.sum())
    gain = fft.rfft(folded).real[:samples]
    exact = rows.astype(np.float64, copy=False)
    return np.asarray(fft.idct(fft.dct(exact, axis=-1) * gain, axis=-1))


def _spread(samples: np.ndarray, valid: np.ndarray) -> np.ndarray:
    """Put samples where they belong, as float64, and zeros where none are."""
    whole = np.zeros((len(samples), len(valid)))
    whole[:, valid] = samples
    return whole


def savgol(f: ArrayLike, *, window: int, order: int) -> np.ndarray:
    """Smooth each row with the polynomial that fits the samples around each best.

    Parameters
    ----------
    f : array_like, shape (..., samples)
        Fluorescence. Missing samples are left out of the fits; where a window has too few
        others, the order is lowered until they suffice.
    window : int
        Length of the window in samples, odd. In the first and last half of a window, the polynomial
        of the first and last whole window is taken (as ``mode="interp"`` of scipy).
    order : int
        Order of the polynomials, below ``window``.

    Returns
    -------
    ndarray
        Smoothed rows, of the shape of ``f``; NaN where ``f`` is missing.

    References
    ----------
    Savitzky, A. & Golay, M. J. E. (1964). Smoothing and differentiation of data by simplified
    least squares procedures. Analytical Chemistry 36, 1627-1639.
    https://doi.org/10.1021/ac60214a047

    Examples
    --------
    >>> savgol([0.0, 1.0, 4.0, 9.0, 16.0], window=3, order=2).round(6).tolist()
    [0.0, 1.0, 4.0, 9.0, 16.0]
    """
    if window != int(window) or window < 1 or window % 2 == 0:
        raise ArgumentError(f"window must be an odd number of samples, not {window!r}.")
    if order != int(order) or not 0 <= order < window:
        raise ArgumentError(
            f"order must be a whole number from 0 up and below the window of {window} samples, "
            f"not {order!r}. Take a longer window or a lower order."
        )
    f = as_float(f)
    rows = f.reshape(int(np.prod(f.shape[:-1])), f.shape[-1])
    samples, window, order = rows.shape[1], int(window), int(order)
    if window > samples > 0:
        raise ArgumentError(
            f"The window of {window} samples is longer than a row of {samples}. Shorten it."
        )
    out = np.full(rows.shape, np.nan, f.dtype)
    if not out.size:
        return out.reshape(f.shape)
    central = _local_weights(np.arange(window), order, np.array([window // 2]))[:, 0]
    for members, valid, some in rows_by_gaps(rows):
        if not valid.any():
            continue
        whole = _spread(some, valid)
        smooth = ndimage.correlate1d(whole, central, axis=-1)
        for places, targets in _odd_windows(valid, window):
            weights = _local_weights(places, order, np.searchsorted(places, targets))
            # One product per row, so that no digit of a row depends on which others came with it.
            with np.errstate(invalid="ignore"):  # infinite samples
                smooth[:, targets] = (np.take(whole, places, axis=1)[:, None] @ weights)[:, 0]
        smooth[:, ~valid] = np.nan
        out[members] = smooth
    return out.reshape(f.shape)


def _odd_windows(valid: np.ndarray, window: int) -> list[tuple[np.ndarray, np.ndarray]]:
    """Find the valid samples of windows at the ends and over gaps, and what they are fitted for.

    Windows at both ends serve half of their samples, others the one in the middle.
    """
    samples, half = len(valid), window // 2
    starts = np.clip(np.arange(samples) - half, 0, samples - window)
    lacking = np.concatenate([[0], np.cumsum(~valid)])
    odd = (lacking[starts + window] > lacking[starts]) | (starts != np.arange(samples) - half)
    odd &= valid
    found = []
    for start in np.unique(starts[odd]):
        first, last = np.searchsorted(starts, [start, start + 1])
        places = start + np.flatnonzero(valid[start : start + window])
        found.append((places, first + np.flatnonzero(odd[first:last])))
    return found


def _local_weights(places: np.ndarray, order: int, at: np.ndarray) -> np.ndarray:
    """Weights of samples in the polynomial fitted to them, at some of these, (samples, at)."""
    basis = orthonormal_polynomials(places, min(order, len(places) - 1))
    return basis.T @ basis[:, at]
