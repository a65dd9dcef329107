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

    # The ends of each row are enough: what lies between them is inside of the hull.
    ordered = points[np.lexsort(points.T[::-1])]
    new = np.flatnonzero(np.diff(ordered[:, 0], prepend=np.nan))
    ends = np.sort(np.concatenate([new, np.append(new[1:], len(ordered)) - 1]))
    distinct = ordered[ends[np.diff(ends, prepend=-1) > 0]]
    if (distinct[1:] == distinct[:-1]).all():
        return distinct[:1]
    apart = (distinct - distinct[0]).astype(np.float64)
    across = apart[:, 0] * apart[-1, 1] - apart[:, 1] * apart[-1, 0]
    if not np.any(np.abs(across) > 1e-12 * np.abs(apart).max() ** 2):
        return distinct[[0, -1]]  # sorted, so these are the ends of the line
    return np.asarray(distinct[ConvexHull(distinct).vertices])
