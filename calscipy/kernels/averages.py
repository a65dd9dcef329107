"""Averages over trials, with bootstrap intervals."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from calscipy.kernels.compiled import compiled, frozen


def average_trials(
    trials: np.ndarray,
    *,
    groups: Sequence[np.ndarray],
    confidence: float,
    resamples: int,
    seed: int,
    dtype: np.dtype,
) -> np.ndarray:
    """Average groups of trials and bound their means by the percentile bootstrap.

    Trials are drawn with replacement, the same ones for all rows and samples. NaN are left out of
    every mean.

    Parameters
    ----------
    trials : ndarray, shape (..., trials, samples)
        Numbers or booleans.
    groups : sequence of ndarray of int
        Trials of each group.
    confidence : float
        Share of the resampled means that lie within the interval, between 0 and 1.
    resamples : int
        How often trials are drawn.
    seed : int
        Same seed, same trials.
    dtype : dtype
        Of the result and of the resampled means: float32 or float64.

    Returns
    -------
    ndarray, shape (..., 4, groups, samples)
        Mean, lower and upper end of the interval, and the number of trials that are not NaN. The
        interval is NaN where this is below 2.

    References
    ----------
    Efron, B. (1979). Bootstrap methods: another look at the jackknife. Annals of Statistics 7, 1.
    https://doi.org/10.1214/aos/1176344552

    Examples
    --------
    >>> trials = np.array([[1.0], [3.0], [5.0]])
    >>> both = {"groups": [np.array([0, 1]), np.array([2])], "confidence": 0.9, "resamples": 99}
    >>> average_trials(trials, **both, seed=0, dtype=np.dtype("f8"))[..., 0].tolist()
    [[2.0, 5.0], [1.0, nan], [3.0, nan], [2.0, 1.0]]
    """
    drawn = [
        _drawn(len(group), resamples, [seed, at]).astype(dtype) for at, group in enumerate(groups)
    ]
    out = np.empty((*trials.shape[:-2], 4, len(groups), trials.shape[-1]), dtype)
    for row in np.ndindex(*trials.shape[:-2]):
        for at, (group, weights) in enumerate(zip(groups, drawn, strict=True)):
            values = trials[row][group].astype(dtype)
            out[(*row, slice(None), at)] = _mean_and_interval(values, weights, confidence)
    return out


def _drawn(count: int, resamples: int, seed: Sequence[int]) -> np.ndarray:
    """Return how often each trial is drawn in each resample, shape ``(resamples, count)``."""
    which = np.random.default_rng(seed).integers(count, size=(resamples, count))
    which += count * np.arange(resamples)[:, None]
    return np.bincount(which.ravel(), minlength=count * resamples).reshape(resamples, count)


def _mean_and_interval(values: np.ndarray, weights: np.ndarray, confidence: float) -> np.ndarray:
    """Return mean, lower, upper and count of trials of one row, shape ``(4, samples)``."""
    missing = np.isnan(values)
    count = (~missing).sum(axis=0)
    out = np.full((4, values.shape[1]), np.nan)
    out[3] = count
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):  # NaN and infinite samples
        out[0] = np.where(missing, 0, values).sum(axis=0, dtype=np.float64) / count
        # Deviations, because sums of float32 far from 0 would lose the digits that differ.
        off = np.where(missing, 0, values - out[0]).astype(values.dtype)
        means = _weighted_sums(weights, off)
        means /= _weighted_sums(weights, ~missing) if missing.any() else len(values)
        ends = _percentiles(means.T, (0.5 - confidence / 2, 0.5 + confidence / 2))
        out[1:3] = np.where(count > 1, out[0] + ends, np.nan)
    return out


def _weighted_sums(weights: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Multiply ``(resamples, trials)`` by ``(trials, samples)``.

    Not by BLAS: its own threads and those that rows are worked on in wait for each other, and its
    last bits depend on the shape.
    """
    sums = np.zeros((len(weights), values.shape[1]), weights.dtype)
    _add_weighted(frozen(weights), frozen(values, weights.dtype), sums)
    return sums


@compiled
def _add_weighted(weights: Any, values: Any, sums: Any) -> None:
    trials = len(values)
    for r in range(len(sums)):
        total, weight = sums[r], weights[r]
        k = 0
        while k + 4 <= trials:  # four at a time, so that the sums are read and written less often
            w, x, y, z = weight[k], weight[k + 1], weight[k + 2], weight[k + 3]
            a, b, c, d = values[k], values[k + 1], values[k + 2], values[k + 3]
            for i in range(len(total)):
                total[i] += w * a[i] + x * b[i] + y * c[i] + z * d[i]
            k += 4
        for last in range(k, trials):
            w, a = weight[last], values[last]
            for i in range(len(total)):
                total[i] += w * a[i]


def _percentiles(means: np.ndarray, shares: Sequence[float]) -> np.ndarray:
    """Return percentiles of each row without its NaN, shape ``(len(shares), rows)``."""
    ordered = np.sort(np.ascontiguousarray(means), axis=-1)  # NaN come last
    last = np.maximum(means.shape[-1] - np.isnan(ordered).sum(axis=-1) - 1, 0)
    ends = np.empty((len(shares), len(means)))
    for end, share in zip(ends, shares, strict=True):
        place = share * last
        low = np.floor(place).astype(np.int64)
        high = np.minimum(low + 1, last)
        below, above = (np.take_along_axis(ordered, at[:, None], -1)[:, 0] for at in (low, high))
        end[:] = below + (place - low) * (above.astype(np.float64) - below)
    return ends
