"""Which pixels lie inside an outline.

Pixel (0, 0) covers the square from (0, 0) to (1, 1), and a pixel lies inside an outline if its
centre does. Masks cover a window of the image, given by the ranges of its rows and columns.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

Box = tuple[float, float, float, float]

# A centre on an outline must fall on the same side of it whatever the rounding of the crossing.
_TIE = 1e-8
_CROSSINGS = 2**20  # at once, which bounds the memory for outlines of very many points


def pixel_window(box: Box) -> tuple[range, range]:
    """Return the rows and columns whose centres lie in a box ``(left, top, right, bottom)``.

    Examples
    --------
    >>> pixel_window((0.0, 2.4, 3.0, 4.6))
    (range(2, 5), range(0, 3))
    """
    left, top, right, bottom = box
    rows = range(math.ceil(top - 0.5), math.ceil(bottom - 0.5))
    return rows, range(_column(left), _column(right))


def _column(x: float) -> int:
    return math.floor(x + 0.5 + _TIE)


def polygon_mask(paths: Sequence[np.ndarray], rows: range, columns: range) -> np.ndarray:
    """Fill closed paths by the even-odd rule.

    Parameters
    ----------
    paths : sequence of ndarray, shape (points, 2)
        The x and y of the corners of each path; the last point joins the first.
    rows, columns : range
        The window to fill.

    Returns
    -------
    ndarray of bool, shape (rows, columns)
        A centre on an outline is inside below an upper and left of a right edge, as in ImageJ, so
        that polygons which share edges share no pixel.

    Examples
    --------
    >>> triangle = np.array([[0, 0], [3, 0], [0, 3]])
    >>> polygon_mask([triangle], range(3), range(3)).astype(int).tolist()
    [[1, 1, 1], [1, 1, 0], [1, 0, 0]]
    """
    wide = len(columns) + 1
    crossed = np.zeros(len(rows) * wide, dtype=np.int64)
    for path in paths:
        ends = np.asarray(path, dtype=np.float64)
        starts = np.roll(ends, 1, axis=0)
        # From the upper to the lower end: both neighbours of an edge then get the same crossings.
        down = (starts[:, 1] <= ends[:, 1])[:, None]
        edges = np.hstack([np.where(down, starts, ends), np.where(down, ends, starts)])
        for piece in np.array_split(edges, max(1, len(edges) * len(rows) // _CROSSINGS)):
            row, column = _crossings(piece, rows, columns)
            crossed += np.bincount(row * wide + column, minlength=crossed.size)
    inside = np.cumsum(crossed.reshape(len(rows), wide), axis=1)[:, :-1] % 2
    return inside.astype(bool)


def _crossings(edges: np.ndarray, rows: range, columns: range) -> tuple[np.ndarray, np.ndarray]:
    """Where edges cross the middle lines of rows: row and first column to the right, both from 0.

    Columns are cut at the ends of the window: what lies left of it counts from its first column.
    """
    left, top, right, bottom = edges.T
    first, last = (
        np.clip(np.ceil(end - 0.5), rows.start, rows.stop).astype(np.int64) for end in (top, bottom)
    )
    count = last - first
    edge = np.repeat(np.arange(len(edges)), count)
    row = np.arange(edge.size) - np.repeat(np.cumsum(count) - count, count) + first[edge]
    height = np.where(count > 0, bottom - top, 1.0)
    crossing = left[edge] + (row + 0.5 - top[edge]) * ((right - left) / height)[edge]
    column = np.clip(np.floor(crossing + 0.5 + _TIE), columns.start, columns.stop)
    return row - rows.start, column.astype(np.int64) - columns.start


def oval_mask(box: Box, rows: range, columns: range) -> np.ndarray:
    """Fill the ellipse in a box ``(left, top, right, bottom)``; centres on it are inside.

    Examples
    --------
    >>> oval_mask((0, 0, 4, 4), range(4), range(4)).sum(axis=1).tolist()
    [2, 4, 4, 2]
    """
    y, x = _from_middle(box, rows, columns)
    width, height = box[2] - box[0], box[3] - box[1]
    return (2 * x / width) ** 2 + (2 * y / height) ** 2 <= 1.0


def rectangle_mask(box: Box, rows: range, columns: range, *, arc: float = 0.0) -> np.ndarray:
    """Fill a box ``(left, top, right, bottom)`` whose corners are quarters of ellipses.

    Parameters
    ----------
    box : (float, float, float, float)
        Left, top, right and bottom.
    rows, columns : range
        The window to fill, inside of the box.
    arc : float, default 0
        Width and height of the ellipses at the corners, at most those of the box.

    Returns
    -------
    ndarray of bool, shape (rows, columns)

    Examples
    --------
    >>> rectangle_mask((0, 0, 6, 4), range(4), range(6), arc=4).sum(axis=1).tolist()
    [4, 6, 6, 4]
    """
    if not arc > 0:
        return np.ones((len(rows), len(columns)), dtype=bool)
    width, height = box[2] - box[0], box[3] - box[1]
    wide, tall = min(arc, width), min(arc, height)
    y, x = _from_middle(box, rows, columns)
    # Beyond the straight part of each side, in radii of the corner.
    beyond_y = np.maximum(np.abs(y) - (height - tall) / 2, 0) / (tall / 2)
    beyond_x = np.maximum(np.abs(x) - (width - wide) / 2, 0) / (wide / 2)
    return beyond_y**2 + beyond_x**2 <= 1.0


def _from_middle(box: Box, rows: range, columns: range) -> tuple[np.ndarray, np.ndarray]:
    left, top, right, bottom = box
    y = np.asarray(rows, dtype=np.float64) + 0.5 - (top + bottom) / 2
    x = np.asarray(columns, dtype=np.float64) + 0.5 - (left + right) / 2
    return y[:, None], x[None, :]
