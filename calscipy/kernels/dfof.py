"""ΔF/F₀, never divided by a baseline that is lost in the noise."""

from __future__ import annotations

import math

import numpy as np

from calscipy.kernels.compiled import compiled, frozen


def fold_change(
    f: np.ndarray,
    f0: np.ndarray,
    *,
    offset: float = 0.0,
    lowest: np.ndarray | float = 0.0,
    clip: bool = False,
) -> tuple[np.ndarray, np.ndarray]:
    """Divide the change of fluorescence by its baseline.

    Parameters
    ----------
    f, f0 : ndarray, shape (..., samples)
        Fluorescence and its baseline.
    offset : float
        Added to the baseline in the denominator.
    lowest : ndarray, shape (..., 1), or float
        The denominator must be above this and above zero.
    clip : bool
        Divide by ``lowest`` where the denominator is not above it; NaN otherwise.

    Returns
    -------
    ratio : ndarray, shape (..., samples)
        ``(f - f0) / (f0 + offset)``.
    low : ndarray of bool, shape (..., samples)
        Where the denominator was too low.

    Examples
    --------
    >>> fold_change(np.array([10.0, 20.0]), np.array([10.0, 10.0]))[0].tolist()
    [0.0, 1.0]
    """
    lead, samples = f.shape[:-1], f.shape[-1]
    rows = frozen(f.reshape(math.prod(lead), samples))
    levels = frozen(np.broadcast_to(f0, f.shape).reshape(rows.shape), rows.dtype)
    least = np.broadcast_to(np.maximum(lowest, 0.0), (*lead, 1)).reshape(len(rows))
    ratio, low = np.empty_like(rows, subok=False), np.empty(rows.shape, np.bool_)
    _divide(rows, levels, rows.dtype.type(offset), frozen(least, rows.dtype), clip, ratio, low)
    return ratio.reshape(f.shape), low.reshape(f.shape)


@compiled
def _divide(f, f0, offset, lowest, clip, ratio, low):  # type: ignore[no-untyped-def]
    for r in range(f.shape[0]):
        least = lowest[r]
        instead = least if clip and least > 0 else np.nan
        _divide_row(f[r], f0[r], offset, least, f0.dtype.type(instead), ratio[r], low[r])


@compiled
def _divide_row(f, f0, offset, least, instead, ratio, low):  # type: ignore[no-untyped-def]
    for i in range(f.size):
        below = f0[i] + offset
        low[i] = not below > least and np.isfinite(f0[i])
        ratio[i] = (f[i] - f0[i]) / (instead if low[i] else below)
