"""ΔF/F₀, never divided by a baseline that is lost in the noise."""

from __future__ import annotations

import numpy as np


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
    below = f0 + f0.dtype.type(offset)
    least = np.maximum(lowest, 0.0).astype(f0.dtype)
    low = ~(below > least) & np.isfinite(f0)
    safe = np.where(low, np.where(clip & (least > 0), least, np.nan), below)
    return (f - f0) / safe, low
