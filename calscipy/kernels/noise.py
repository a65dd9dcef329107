"""Noise level of traces, with time as the last axis and NaN for missing samples."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from calscipy.kernels.baseline import as_float, rows_by_gaps

__all__ = ["noise_sigma"]

SIGMA_PER_MAD = 1 / 0.6745  # of a Gaussian
FEWEST = 3  # differences that make an estimate


def noise_sigma(f: ArrayLike) -> np.ndarray:
    """Estimate the white noise on each row from its first differences.

    Median absolute deviation of the differences between neighbours, over ``0.6745 * sqrt(2)``.
    Slow changes cancel and transients are outliers, but frequent ones still raise the estimate, and
    noise that is correlated between neighbours lowers it.

    Parameters
    ----------
    f : array_like, shape (..., samples)
        Fluorescence. Differences with a missing sample are left out.

    Returns
    -------
    ndarray, shape (...)
        σ in the units of ``f``; NaN with fewer than three differences. It is 0 if more than half
        of the differences are equal, as in coarsely quantised data.

    Examples
    --------
    >>> f = np.random.default_rng(0).normal(100.0, 2.0, 10_000)
    >>> float(noise_sigma(f).round(1))
    2.0
    """
    f = as_float(f)
    rows = f.reshape(int(np.prod(f.shape[:-1])), f.shape[-1])
    sigma = np.full(len(rows), np.nan)
    with np.errstate(invalid="ignore", over="ignore"):  # infinite samples
        steps = np.diff(rows.astype(np.float64, copy=False), axis=1)
        for members, valid, samples in rows_by_gaps(steps):
            if valid.sum() < FEWEST:
                continue
            spread = np.abs(samples - np.median(samples, axis=1, keepdims=True))
            sigma[members] = np.median(spread, axis=1) * SIGMA_PER_MAD / np.sqrt(2)
    return sigma.reshape(f.shape[:-1]).astype(f.dtype)
