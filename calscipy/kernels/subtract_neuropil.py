"""Neuropil taken out of traces, with time as the last axis and NaN for missing samples."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike

from calscipy.kernels.baseline import as_float
from calscipy.kernels.noise import as_rows, noise_sigma
from calscipy.kernels.percentile import row_median

__all__ = ["neuropil_coefficient", "without_neuropil"]

LARGEST = 1.5  # coefficient; the neuropil inside of a neuron cannot be much brighter than around it
BIN = 0.5  # s over which samples are averaged before the fit, against their noise
TREND = 60.0  # s for each further order of the polynomial that stands for slow changes
FEWEST = 20  # bins that make a fit
LEAST_SIGNAL = 0.5  # share of the neuropil's variance that must not be noise
OUTLIER = 4.7  # standard deviations above the fit at which a bin counts no more (Tukey's biweight)
ROUNDS = 30
CLOSE = 1e-4  # change of the coefficient at which the fit ends


def without_neuropil(
    f: ArrayLike, neuropil: ArrayLike, coefficient: ArrayLike, *, keep_level: bool
) -> np.ndarray:
    """Subtract a share of the neuropil, f - r * neuropil.

    Parameters
    ----------
    f, neuropil : array_like, shape (..., samples)
        Fluorescence of neurons and of what is around them.
    coefficient : array_like, shape () or (..., 1)
        r, the share of the neuropil's light that is in a neuron's.
    keep_level : bool
        Subtract only what the neuropil is above or below its median of each row.

    Returns
    -------
    ndarray, shape (..., samples)
        NaN where either is NaN.

    Examples
    --------
    >>> f, neuropil = np.array([10.0, 12.0, 11.0]), np.array([4.0, 6.0, 5.0])
    >>> without_neuropil(f, neuropil, 1.0, keep_level=True).tolist()
    [11.0, 11.0, 11.0]
    """
    f, neuropil = as_float(f), as_float(neuropil)
    dtype = np.result_type(f, neuropil)
    share = np.asarray(coefficient, dtype)
    around = neuropil - row_median(neuropil)[..., None].astype(dtype) if keep_level else neuropil
    return f - share * around


def neuropil_coefficient(
    f: ArrayLike,
    neuropil: ArrayLike,
    *,
    frame_rate: float,
    parts: Sequence[tuple[int, int]] | None = None,
) -> np.ndarray:
    """Fit the share of the neuropil's light that is in each neuron's.

    Both are averaged over bins of half a second. The neuron is fitted by the neuropil and by a
    polynomial of each epoch, of one order a minute, because bleaching and drift are common to
    both but no contamination. Bins above the fit, as those of transients, lose their weight
    (Tukey's biweight on one side). The noise of the neuropil, which would make the coefficient
    too small, is estimated from its differences and taken out of its variance.

    Parameters
    ----------
    f, neuropil : array_like, shape (..., samples)
        Fluorescence of neurons and of what is around them. Samples that are missing in either are
        left out.
    frame_rate : float
        Frames per second.
    parts : sequence of (int, int), optional
        First sample of each epoch and the one after its last.

    Returns
    -------
    ndarray, shape (...)
        Between 0 and 1.5. NaN with fewer than 20 bins, and where half of the variance of the
        neuropil or more is noise: then nothing tells how much of it is in the neuron.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> neuropil = 300 + 20 * np.sin(np.arange(3000) / 40)
    >>> f = 500 + 0.6 * neuropil + rng.normal(0, 1, 3000)
    >>> float(neuropil_coefficient(f, neuropil, frame_rate=30.0).round(2))
    0.6
    """
    rows, shape = as_rows(f)
    around = as_rows(neuropil)[0]
    parts = [(0, rows.shape[1])] if parts is None else parts
    starts = [start for start, _ in parts]
    width = max(1, round(BIN * frame_rate))
    sigma = noise_sigma(around, starts=starts).astype(np.float64)
    found = np.full(len(rows), np.nan)
    for at in range(len(rows)):
        y, x, trend, count = _binned(rows[at], around[at], parts, width, frame_rate)
        if len(y) >= FEWEST + trend.shape[1]:
            found[at] = _fit(y, x, trend, sigma[at] ** 2 / count)
    return np.clip(found, 0, LARGEST).reshape(shape).astype(rows.dtype)


def _binned(
    f: np.ndarray,
    neuropil: np.ndarray,
    parts: Sequence[tuple[int, int]],
    width: int,
    frame_rate: float,
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Means of bins, polynomials that follow slow changes, and the samples of each bin.

    Bins that lack more than half of their samples are left out.
    """
    there = np.isfinite(f) & np.isfinite(neuropil)
    ys: list[np.ndarray] = []
    xs: list[np.ndarray] = []
    counts: list[np.ndarray] = []
    trends: list[np.ndarray] = []
    for start, stop in parts:
        bins = (stop - start) // width
        box = slice(start, start + bins * width)
        valid = there[box].reshape(bins, width)
        count = valid.sum(axis=1)
        use = 2 * count >= width
        if not use.any():
            continue
        for values, means in ((f, ys), (neuropil, xs)):
            total = np.where(valid, values[box].reshape(bins, width), 0).sum(axis=1, dtype="f8")
            means.append(total[use] / count[use])
        order = min(int((stop - start) / frame_rate / TREND), int(use.sum()) - 1)
        trends.append(np.polynomial.legendre.legvander(np.linspace(-1, 1, bins)[use], order))
        counts.append(count[use])
    trend = np.zeros((sum(len(t) for t in trends), sum(t.shape[1] for t in trends)))
    row = column = 0
    for part in trends:
        trend[row : row + len(part), column : column + part.shape[1]] = part
        row, column = row + len(part), column + part.shape[1]
    empty = [np.empty(0)]
    y, x, samples = (np.concatenate(c + empty) for c in (ys, xs, counts))
    return y, x, trend, samples


def _fit(y: np.ndarray, x: np.ndarray, trend: np.ndarray, noise: np.ndarray) -> float:
    """Slope of y over x beside a trend, x with a variance of noise; points far above count less."""
    columns = np.column_stack([trend, x - x.mean(), y - y.mean()])
    weight, slope, last = np.ones(len(y)), np.nan, trend.shape[1]
    for _ in range(ROUNDS):
        products = columns.T @ (weight[:, None] * columns)
        # Legendre polynomials are about orthogonal, so that normal equations lose few digits.
        followed = np.linalg.lstsq(products[:last, :last], products[:last, last:], rcond=None)[0]
        rest = products[last:, last:] - products[last:, :last] @ followed
        known = rest[0, 0] - weight @ noise
        if not known > LEAST_SIGNAL * rest[0, 0]:
            return np.nan
        before, slope = slope, rest[0, 1] / known
        gain = np.concatenate([slope * followed[:, 0] - followed[:, 1], [-slope, 1]])
        above = columns @ gain
        below = above <= 0
        scale = 1.4826 * np.median(-above[below]) if below.any() else 0.0
        if abs(slope - before) < CLOSE or scale == 0:
            break
        share = np.clip(1 - (above / (OUTLIER * scale)) ** 2, 0, None) ** 2
        weight = np.where(below, 1.0, share)
    return float(slope)
