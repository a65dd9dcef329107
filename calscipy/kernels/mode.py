"""Baseline at the mode of each trace."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from calscipy.kernels.baseline import as_float
from calscipy.kernels.compiled import compiled

__all__ = ["mode_baseline"]

PIECE = 2**16  # samples sorted at a time


def mode_baseline(f: ArrayLike) -> np.ndarray:
    """Half-sample mode of the valid samples of each row.

    Of the half of the samples that lies closest together the closest half is taken, and so on until
    three or fewer are left. Transients, which lie far apart, do not move it, as they move mean
    and median.

    Parameters
    ----------
    f : array_like, shape (..., samples)
        Fluorescence, with time as its last axis. NaN and infinite samples are left out.

    Returns
    -------
    ndarray
        F₀, of the shape of ``f`` and constant in each row; NaN for a row without finite samples.
        float32, or float64 for float64.

    Notes
    -----
    Of several halves that lie equally close together, as in data of few different values, the one
    in the middle is taken.

    A mode is known less well than a median. With 10 minutes of pure noise at 30 Hz it scatters
    between neurons by 0.12 standard deviations of the noise, the median by 0.01. With activity it
    is less biased: by 0.05 against 0.13 standard deviations with a burst of 0.7 s every 20 s.

    References
    ----------
    Bickel, D. R. and Fruehwirth, R. (2006). On a fast, robust estimator of the mode: comparisons to
    other robust estimators with applications. Computational Statistics & Data Analysis 50,
    3500-3530. https://doi.org/10.1016/j.csda.2005.07.011

    Examples
    --------
    >>> mode_baseline([8.0, 5.0, 5.5, np.nan, 5.25, 11.0]).tolist()
    [5.25, 5.25, 5.25, 5.25, 5.25, 5.25]
    """
    f = as_float(f)
    out = np.empty(f.shape, f.dtype)
    if f.size == 0:
        return out
    rows, targets = f.reshape(-1, f.shape[-1]), out.reshape(-1, f.shape[-1])
    step = max(1, PIECE // f.shape[-1])
    for start in range(0, len(rows), step):
        piece = rows[start : start + step].astype(np.float64)
        piece.sort(axis=1)  # NaN come last
        first = np.count_nonzero(piece == -np.inf, axis=1)
        last = first + np.count_nonzero(np.isfinite(piece), axis=1)
        modes = np.empty(len(piece))
        _half_sample_modes(piece, first, last, modes)
        targets[start : start + step] = modes[:, None]
    return out


@compiled
def _half_sample_modes(rows: Any, first: Any, last: Any, modes: Any) -> None:
    """Take the mode of the samples from ``first`` to ``last`` of each row, which are in order."""
    for r in range(len(rows)):
        samples = rows[r, first[r] : last[r]]
        while len(samples) > 3:
            half = (len(samples) + 1) // 2
            start = _closest(samples, half)
            samples = samples[start : start + half]
        if len(samples) == 0:
            modes[r] = np.nan
        elif len(samples) == 1:
            modes[r] = samples[0]
        elif len(samples) == 2:
            modes[r] = samples[0] / 2 + samples[1] / 2
        else:
            below, above = samples[1] - samples[0], samples[2] - samples[1]
            if below == above:
                modes[r] = samples[1]
            elif below < above:
                modes[r] = samples[0] / 2 + samples[1] / 2
            else:
                modes[r] = samples[1] / 2 + samples[2] / 2


@compiled
def _closest(samples: Any, half: int) -> int:
    """Return where the half begins that lies closest together."""
    low, high = samples[: len(samples) - half + 1], samples[half - 1 :]
    closest, start, ties = np.inf, 0, 0
    for i in range(len(low)):
        width = high[i] - low[i]
        if width < closest:
            closest, start, ties = width, i, 1
        elif width == closest:
            ties += 1
    skip = (ties - 1) // 2
    while skip > 0:
        start += 1
        skip -= high[start] - low[start] == closest
    return start
