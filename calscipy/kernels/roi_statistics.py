"""Centres, second moments and convex hulls of footprints."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

PIXEL_MOMENT = 1 / 12  # second moment of a square of side 1 about its middle


class Moments(NamedTuple):
    """Centres and central second moments of footprints, each of shape (neurons,)."""

    y: np.ndarray
    x: np.ndarray
    yy: np.ndarray
    xx: np.ndarray
    yx: np.ndarray


def moments(
    row: np.ndarray, y: np.ndarray, x: np.ndarray, weight: np.ndarray, count: int
) -> Moments:
    """Weighted centres and second moments of pixels as squares, not as points.

    Parameters
    ----------
    row : ndarray of int, shape (pixels,)
        Neuron of each pixel, from 0 to ``count - 1``.
    y, x, weight : ndarray, shape (pixels,)
        Pixels and their weights, which have a positive sum for each neuron.
    count : int
        Number of neurons.

    Returns
    -------
    Moments
        In pixels and square pixels. A pixel alone has moments of 1/12.

    Examples
    --------
    >>> found = moments(np.zeros(2, int), np.array([4, 4]), np.array([1, 2]), np.ones(2), 1)
    >>> found.x.item(), round(12 * found.xx.item(), 3)
    (1.5, 4.0)
    """
    weight = weight.astype(np.float64)
    total = np.bincount(row, weight, count)

    def mean(values: np.ndarray) -> np.ndarray:
        return np.bincount(row, weight * values, count) / total

    middle_y, middle_x = mean(y), mean(x)
    dy, dx = y - middle_y[row], x - middle_x[row]
    yy, xx = mean(dy * dy) + PIXEL_MOMENT, mean(dx * dx) + PIXEL_MOMENT
    return Moments(middle_y, middle_x, yy, xx, mean(dy * dx))


def ellipse_axes(yy: np.ndarray, xx: np.ndarray, yx: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Full axes, long and short, of the ellipses that have these second moments.

    Examples
    --------
    >>> long, short = ellipse_axes(np.array(1.0), np.array(4.0), np.array(0.0))
    >>> float(long), float(short)
    (8.0, 4.0)
    """
    middle = (yy + xx) / 2
    spread = np.hypot((yy - xx) / 2, yx)
    return 4 * np.sqrt(middle + spread), 4 * np.sqrt(middle - spread)


def convex_hull(y: np.ndarray, x: np.ndarray) -> np.ndarray:
    """Corners of the convex hull of pixels as squares.

    Parameters
    ----------
    y, x : ndarray of int, shape (pixels,)
        Pixels; their centres have whole coordinates. There is at least one.

    Returns
    -------
    ndarray, shape (corners, 2)
        The y and x of the corners in order around the hull. It has an area of at least 1.

    Examples
    --------
    >>> sorted(convex_hull(np.array([0]), np.array([0])).tolist())
    [[-0.5, -0.5], [-0.5, 0.5], [0.5, -0.5], [0.5, 0.5]]
    """
    from scipy.spatial import ConvexHull

    # The ends of each row are enough: what lies between them is inside of the hull.
    rows, row = np.unique(y, return_inverse=True)
    first = np.full(rows.size, np.iinfo(np.int64).max)
    last = np.full(rows.size, np.iinfo(np.int64).min)
    np.minimum.at(first, row, x)
    np.maximum.at(last, row, x)
    tall = np.concatenate([rows - 0.5, rows + 0.5])
    points = np.column_stack(
        [np.tile(tall, 2), np.concatenate([np.tile(first - 0.5, 2), np.tile(last + 0.5, 2)])]
    )
    return points[ConvexHull(points).vertices]


def polygon_area(corners: np.ndarray) -> float:
    """Area inside corners ``(y, x)`` in order, shape (corners, 2)."""
    y, x = (corners - corners[0]).T
    return 0.5 * abs(float(y @ np.roll(x, -1) - x @ np.roll(y, -1)))
