"""Ellipses and polygons in pixels: which pixels they cover, and where their middle is.

Centres of pixels have whole coordinates. An angle turns an ellipse from +x towards +y, which is
clockwise on an image whose rows go down.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np


class Ellipse(NamedTuple):
    """An ellipse: its middle, its full axes before it is turned, and the angle in radians."""

    y: float
    x: float
    height: float
    width: float
    angle: float = 0.0


def ellipse_reach(ellipse: Ellipse) -> tuple[float, float]:
    """Return how far an ellipse reaches from its middle along y and x.

    Examples
    --------
    >>> up, across = ellipse_reach(Ellipse(0, 0, height=2, width=6, angle=np.pi / 2))
    >>> round(up, 6), round(across, 6)
    (3.0, 1.0)
    """
    sine, cosine = np.sin(ellipse.angle), np.cos(ellipse.angle)
    up = np.hypot(ellipse.width * sine, ellipse.height * cosine) / 2
    across = np.hypot(ellipse.width * cosine, ellipse.height * sine) / 2
    return float(up), float(across)


def ellipse_pixels(ellipse: Ellipse, shape: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """Return the pixels of an image whose centres lie in or on an ellipse.

    Parameters
    ----------
    ellipse : Ellipse
        In pixels. It may reach beyond the image.
    shape : (int, int)
        Rows and columns of the image.

    Returns
    -------
    y, x : ndarray of int, shape (pixels,)
        In the order of an image. Where no centre lies in it, the pixel nearest to its middle, if
        the image has that one.

    Examples
    --------
    >>> y, x = ellipse_pixels(Ellipse(1, 1, height=2, width=2), (4, 4))
    >>> list(zip(y.tolist(), x.tolist()))
    [(0, 1), (1, 0), (1, 1), (1, 2), (2, 1)]
    >>> ellipse_pixels(Ellipse(1.2, 0.4, height=0, width=0), (4, 4))
    (array([1]), array([0]))
    """
    up, across = ellipse_reach(ellipse)
    rows = np.arange(*_span(ellipse.y, up, shape[0]))
    columns = np.arange(*_span(ellipse.x, across, shape[1]))
    dy, dx = (rows - ellipse.y)[:, None], (columns - ellipse.x)[None, :]
    along = dx * np.cos(ellipse.angle) + dy * np.sin(ellipse.angle)
    beside = dy * np.cos(ellipse.angle) - dx * np.sin(ellipse.angle)
    # Without a division: an axis of 0 leaves the points on a line.
    wide, tall = ellipse.width / 2, ellipse.height / 2
    inside = (along * tall) ** 2 + (beside * wide) ** 2 <= (wide * tall) ** 2 * (1 + 1e-12)
    inside &= (np.abs(along) <= wide * (1 + 1e-12)) & (np.abs(beside) <= tall * (1 + 1e-12))
    y, x = np.nonzero(inside)
    if y.size:
        return y + rows[0], x + columns[0]
    nearest = np.array([[round(ellipse.y)], [round(ellipse.x)]])
    there = ((nearest >= 0) & (nearest < np.array(shape)[:, None])).all()
    return tuple(nearest if there else nearest[:, :0])  # type: ignore[return-value]


def _span(middle: float, reach: float, size: int) -> tuple[int, int]:
    """Return the first pixel of an image that is within reach and the one after the last."""
    low, high = (float(np.clip(middle + side * reach, -1, size)) for side in (-1, 1))
    return max(int(np.ceil(low - 1e-9)), 0), min(int(np.floor(high + 1e-9)) + 1, size)


def ellipse_outline(ellipse: Ellipse, points: int) -> np.ndarray:
    """Return points on an ellipse, once around.

    Returns
    -------
    ndarray, shape (points, 2)
        y and x.

    Examples
    --------
    >>> ellipse_outline(Ellipse(10, 20, height=2, width=4), 4).round(6).tolist()
    [[10.0, 22.0], [11.0, 20.0], [10.0, 18.0], [9.0, 20.0]]
    """
    turn = 2 * np.pi * np.arange(points) / points
    along, beside = np.cos(turn) * ellipse.width / 2, np.sin(turn) * ellipse.height / 2
    sine, cosine = np.sin(ellipse.angle), np.cos(ellipse.angle)
    y = ellipse.y + along * sine + beside * cosine
    x = ellipse.x + along * cosine - beside * sine
    return np.column_stack([y, x])


def polygon_centroid(corners: np.ndarray) -> np.ndarray:
    """Return the middle of the area of a polygon.

    Parameters
    ----------
    corners : ndarray, shape (corners, 2)
        In order around it, in either direction; the last one joins the first.

    Returns
    -------
    ndarray, shape (2,)
        Of a polygon without area, the mean of its corners.

    Examples
    --------
    >>> square = np.array([[0, 0], [0, 2], [2, 2], [2, 0]])
    >>> polygon_centroid(square).tolist(), polygon_centroid(square[::-1]).tolist()
    ([1.0, 1.0], [1.0, 1.0])
    """
    corners = np.asarray(corners, np.float64)
    middle = corners.mean(axis=0)
    here = corners - middle  # small numbers: areas far from the origin lose digits
    there = np.roll(here, -1, axis=0)
    # Signed: whichever way around, the sign is in the sum and in the area alike.
    area = here[:, 0] * there[:, 1] - there[:, 0] * here[:, 1]
    size = float(np.square(here).sum())
    if abs(area.sum()) <= 1e-12 * size:
        return np.asarray(middle)
    return np.asarray(middle + ((here + there) * area[:, None]).sum(axis=0) / (3 * area.sum()))
