"""Where the pixels of a scanned line lie on the image that it was drawn on."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from calscipy.io.prairieview.nodes import Node
from calscipy.io.prairieview.recording import number


@dataclass(frozen=True)
class LinePath:
    """One line: the places of its pixels and its length.

    Attributes
    ----------
    y, x : ndarray, shape (pixels,)
        Row and column on the source image, counted from 0; NaN where the XML does not say.
    length_um : float
        Length of the line in um, NaN where the XML does not say.
    """

    y: np.ndarray
    x: np.ndarray
    length_um: float

    @property
    def distance_um(self) -> np.ndarray:
        """Distance of every pixel from the first one along the line, shape (pixels,)."""
        return np.arange(self.x.size) * (self.length_um / self.x.size)


def line_path(definition: Node | None, pixels: int) -> LinePath:
    """Return where the pixels of a line lie, from its ``<PVLinescanDefinition>``.

    A straight line has a start and a stop; it is horizontal where no other row is given. A line
    drawn by hand has points, as many as pixels or fewer, between which the pixels are spread
    evenly.

    Examples
    --------
    >>> ends = (("startPixelY", "4"), ("startPixelX", "2"), ("stopPixelX", "5"))
    >>> line = Node("Line", (*ends, ("lineLength", "8")))
    >>> path = line_path(Node("PVLinescanDefinition", (), (line,)), 4)
    >>> path.x.tolist(), path.y.tolist(), path.distance_um.tolist()
    ([2.0, 3.0, 4.0, 5.0], [4.0, 4.0, 4.0, 4.0], [0.0, 2.0, 4.0, 6.0])
    """
    unknown = np.full(pixels, np.nan)
    if definition is None:
        return LinePath(unknown, unknown, float("nan"))
    lines = list(definition.find("Line"))
    lengths = [number(line.get("lineLength")) for line in lines]
    length = float(np.sum(lengths)) if lengths else float("nan")
    # Points in pixels; elements that start with PV repeat them as shares of the image.
    points = np.array(
        [
            (number(child.get("y")), number(child.get("x")))
            for child in definition.children
            if child.get("x") is not None and not child.tag.startswith("PV")
        ]
    ).reshape(-1, 2)
    if not len(points) and len(lines) == 1:
        points = _ends(lines[0])
    if not len(points) or not np.isfinite(points).all():
        return LinePath(unknown, unknown, length)
    y, x = points.T if len(points) == pixels else _spread(points, pixels).T
    return LinePath(y, x, length)


def _ends(line: Node) -> np.ndarray:
    y = number(line.get("startPixelY"))
    stop_y = number(line.get("stopPixelY")) if line.get("stopPixelY") is not None else y
    x = number(line.get("startPixelX"))
    stop_x = number(line.get("stopPixelX")) if line.get("stopPixelX") is not None else x
    return np.array([(y, x), (stop_y, stop_x)])


def _spread(points: np.ndarray, count: int) -> np.ndarray:
    """Spread ``count`` places evenly along a polyline."""
    steps = np.hypot(*np.diff(points, axis=0).T)
    along = np.concatenate([[0.0], np.cumsum(steps)])
    places = np.linspace(0.0, along[-1], count)
    return np.column_stack([np.interp(places, along, axis) for axis in points.T])
