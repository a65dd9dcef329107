"""Rings of free pixels around regions."""

from __future__ import annotations

import numpy as np
from scipy.ndimage import distance_transform_edt

MARGIN = 10  # pixels around a region that are searched first


def free_pixels(y: np.ndarray, x: np.ndarray, shape: tuple[int, int], inner: float) -> np.ndarray:
    """Return the pixels farther than ``inner`` from every pixel ``(y, x)``, as a mask.

    Distances are Euclidean, from centre to centre, in pixels.
    """
    outside = np.ones(shape, dtype=bool)
    outside[y, x] = False
    return np.asarray(distance_transform_edt(outside) > inner)


def ring(
    y: np.ndarray, x: np.ndarray, free: np.ndarray, min_pixels: int
) -> tuple[np.ndarray, np.ndarray] | None:
    """Return the free pixels around one region.

    Parameters
    ----------
    y, x : ndarray of int, shape (pixels,)
        The region.
    free : ndarray of bool, shape (y, x)
        Pixels that may be taken.
    min_pixels : int
        The ring is as wide as the smallest whole number of pixels that makes it this large.

    Returns
    -------
    tuple of ndarray of int, or None
        Rows and columns, in the order of memory; None if the image has too few free pixels.
    """
    margin = MARGIN
    while True:
        # Beyond the margin a crop would miss pixels that are as near as some in its corners.
        top, left = max(int(y.min()) - margin, 0), max(int(x.min()) - margin, 0)
        bottom, right = int(y.max()) + margin + 1, int(x.max()) + margin + 1
        crop = free[top:bottom, left:right]
        outside = np.ones(crop.shape, dtype=bool)
        outside[y - top, x - left] = False
        distance = distance_transform_edt(outside)
        near = distance[crop & (distance <= margin)]
        if near.size >= min_pixels:
            width = np.ceil(np.partition(near, min_pixels - 1)[min_pixels - 1])
            rows, columns = np.nonzero(crop & (distance <= width))
            return rows + top, columns + left
        if margin > sum(free.shape):  # farther than any two pixels of the image
            return None
        margin *= 2
