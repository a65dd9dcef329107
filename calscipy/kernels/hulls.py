"""Convex hulls of points, of those on one line too."""

from __future__ import annotations

import numpy as np


def hull_points(points: np.ndarray) -> np.ndarray:
    """Return the points at the corners of the convex hull.

    Parameters
    ----------
    points : ndarray, shape (points, 2)
        At least one.

    Returns
    -------
    ndarray, shape (corners, 2)
        Some of the points, in order around the hull; the two ends of points on one line.

    Examples
    --------
    >>> sorted(hull_points(np.array([[0, 0], [0, 2], [2, 0], [2, 2], [1, 1]])).tolist())
    [[0, 0], [0, 2], [2, 0], [2, 2]]
    >>> hull_points(np.array([[1, 1], [3, 3], [2, 2]])).tolist()
    [[1, 1], [3, 3]]
    """
    from scipy.spatial import ConvexHull

    distinct = np.unique(points, axis=0)
    apart = (distinct - distinct[0]).astype(np.float64)
    if np.linalg.matrix_rank(apart) < 2:
        return distinct[[0, -1]] if len(distinct) > 1 else distinct  # sorted, so along the line
    return np.asarray(distinct[ConvexHull(distinct).vertices])
