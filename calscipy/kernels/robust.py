"""Fits to the resting level of traces, which transients stand above."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

__all__ = ["robust_curve"]

# Residuals, in standard deviations of the noise, from which on samples count no more. First from
# far above the curve towards 4.685 (Tukey's biweight, 95 % efficient on normal noise), with all
# samples below the curve counted in full: it must still come down to them. One-sided weights put
# the curve too low in the end (0.07 standard deviations at 4.685), so the last steps weigh both
# sides alike, and more narrowly, against the tails of the transients.
ONE_SIDED = (18.7, 13.2, 9.4, 6.6, 4.685, 4.685)
BOTH_SIDES = (4.0, 3.0, 2.0, 2.0)
PER_PARAMETER = 4  # samples at least
SIGMA_PER_MEDIAN = 1 / 0.6745  # of the absolute values of a Gaussian
LEAST_SIGMA = 1e-5  # of the largest sample: below it is rounding, not noise


def robust_curve(
    fit: Callable[[np.ndarray], np.ndarray],
    samples: np.ndarray,
    *,
    parameters: int,
    counts: np.ndarray | None = None,
) -> np.ndarray:
    """Fit a curve again and again, with less weight on the samples above it each time.

    Iteratively reweighted least squares with biweights; the noise is taken from the residuals below
    the curve, where no transients are.

    Parameters
    ----------
    fit : callable
        Makes of weights, shape ``(samples,)``, the curve at the samples.
    samples : ndarray, shape (samples,)
        What it is fitted to, without NaN.
    parameters : int
        How many numbers are fitted. With fewer than four samples for each, nobody can tell
        transients from noise, and the first fit stands.
    counts : ndarray, shape (samples,), optional
        Weights before any residual is known.

    Returns
    -------
    ndarray, shape (samples,)
        The last curve.

    Examples
    --------
    >>> samples = np.array([1.0, 3.0, 2.0, 1.0, 3.0, 2.0, 40.0, 50.0])
    >>> mean = lambda weights: np.full(8, np.average(samples, weights=weights))
    >>> bool(abs(robust_curve(mean, samples, parameters=1)[0] - 2.0) < 0.1)
    True
    """
    counts = np.ones(len(samples)) if counts is None else counts
    curve = fit(counts)
    if len(samples) < PER_PARAMETER * parameters:
        return curve
    least = LEAST_SIGMA * np.abs(samples).max(initial=0.0)
    for step, width in enumerate((*ONE_SIDED, *BOTH_SIDES)):
        residual = samples - curve
        below = -residual[residual < 0]
        sigma = SIGMA_PER_MEDIAN * np.median(below) if len(below) else 0.0
        if not sigma > least:
            break
        residual /= width * sigma
        weights = np.maximum(1 - residual * residual, 0) ** 2
        if step < len(ONE_SIDED):
            weights[residual < 0] = 1
        curve = fit(weights * counts)
    return curve
