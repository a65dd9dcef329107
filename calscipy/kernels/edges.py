"""What continues an image beyond its edges."""

from __future__ import annotations

import numpy as np

OUTSIDE = -1  # where mode "constant" has its zeros


def edge_indices(size: int, before: int, after: int, mode: str) -> np.ndarray:
    """Return which sample stands at each place from ``-before`` to ``size + after``.

    Parameters
    ----------
    size : int
        Samples along the axis, at least one.
    before, after : int
        Places wanted before the first and after the last sample.
    mode : {"reflect", "nearest", "mirror", "constant"}
        As in ``scipy.ndimage``.

    Returns
    -------
    ndarray of int64, shape (before + size + after,)
        Indices; ``OUTSIDE`` where mode "constant" has zeros.
    """
    places = np.arange(-before, size + after)
    if mode == "constant":
        return np.where((places >= 0) & (places < size), places, OUTSIDE)
    if mode == "nearest":
        return np.clip(places, 0, size - 1)
    if mode == "reflect":
        places %= 2 * size
        return np.where(places < size, places, 2 * size - 1 - places)
    if mode == "mirror":
        period = max(2 * (size - 1), 1)
        places %= period
        return np.minimum(np.where(places < size, places, period - places), size - 1)
    raise ValueError(f"unknown mode {mode!r}")
