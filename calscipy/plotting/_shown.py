"""Figures and axes that notebooks show, though pyplot does not know them.

This module imports matplotlib: import it inside functions.
"""

from __future__ import annotations

import io

from matplotlib.axes import Axes
from matplotlib.figure import Figure


class ShownFigure(Figure):
    """A figure that a notebook shows when it is the last line of a cell."""

    def _repr_png_(self) -> bytes:
        return png_of(self)


class ShownAxes(Axes):
    """Axes that a notebook shows, with their figure, when they are the last line of a cell."""

    def _repr_png_(self) -> bytes:
        return png_of(self.figure.canvas.figure)


def png_of(figure: Figure) -> bytes:
    """Draw a figure."""
    drawn = io.BytesIO()
    figure.savefig(drawn, format="png")
    return drawn.getvalue()
