"""Curves of many neurons: lines, or bands from the lowest to the highest sample of each column.

A line that goes up and down within a column of pixels is a vertical stroke there. Strokes are slow
to draw: a second for some ten million pixels of their length. Bands whose columns are as wide as a
line look much the same, and are several times faster.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from calscipy.plotting.decimate import decimate, decimate_exactly, envelope
from calscipy.plotting.parts import runs_of, size_inches
from calscipy.plotting.series import Rows

if TYPE_CHECKING:
    from matplotlib.axes import Axes

COLUMNS = 2000  # into which lines are thinned out
_POINTS = 400_000  # of all lines; of more rows than _LINES, bands are drawn instead
_LINES = 12
_PER_INCH = 80  # columns of bands: each as wide as a line


class Curves(NamedTuple):
    """Rows to draw: samples, or the lowest and the highest one of each column."""

    times: np.ndarray  # (points,), or (rows, points) of lines, in s
    low: np.ndarray  # (rows, points)
    high: np.ndarray  # the same where nothing was thinned out
    step: float  # s that a column lasts; 0 for samples

    def moved(self, by: np.ndarray, scale: float = 1.0) -> Curves:
        """Return curves whose rows are scaled, then shifted."""
        low = scale * self.low + by[:, None]
        high = low if self.high is self.low else scale * self.high + by[:, None]
        return self._replace(low=low, high=high)


def curves_of(axis: Axes, rows: Rows) -> Curves:
    """Prepare rows for axes: all samples, or thinned out so that peaks stay."""
    count, samples = rows.values.shape
    short = samples <= 2 * COLUMNS
    if count > _LINES and not (short and count * samples <= _POINTS):
        columns = max(100, round(_PER_INCH * size_inches(axis)[0]))
        times, low, high = envelope(rows.values, rows.times, columns, breaks=rows.breaks)
        step = float(np.median(np.diff(times))) if times.size > 1 else 0.0
        return Curves(times, low.astype(np.float64), high.astype(np.float64), step)
    thin = decimate if short else decimate_exactly
    times, values = thin(rows.values, rows.times, COLUMNS, breaks=rows.breaks)
    values = values.astype(np.float64)
    return Curves(times, values, values, 0.0)


def draw_curves(
    axis: Axes,
    curves: Curves,
    colours: Sequence[str],
    *,
    width: float = 0.9,
    gid: str = "traces",
    **style: Any,
) -> Any:
    """Draw the rows as one collection and return it; what is missing interrupts them.

    Parameters
    ----------
    axis : matplotlib.axes.Axes
        Whose limits along y are set, so that bands are at least as high as lines are wide.
    curves : Curves
        What to draw.
    colours : sequence of str
        Of each row.
    width : float, default 0.9
        Of the lines in points.
    gid : str, default "traces"
        Name of the collection.
    **style
        Of matplotlib's collections.
    """
    from matplotlib.collections import LineCollection, PolyCollection

    if curves.step:
        low, high = axis.get_ylim()
        half = 0.5 * width * abs(high - low) / (72 * size_inches(axis)[1])
        shapes, owner = _bands(curves, half)
        fill = [colours[row] for row in owner]
        drawn: Any = PolyCollection(shapes, facecolors=fill, linewidths=0, **style)
    else:
        points = list(np.stack([_times(curves), curves.low], axis=-1))
        drawn = LineCollection(
            points, colors=list(colours), linewidths=width, joinstyle="bevel", **style
        )
        _draw_lone(axis, curves, colours)
    drawn.set_gid(gid)
    axis.add_collection(drawn, autolim=False)
    return drawn


def _times(curves: Curves) -> np.ndarray:
    return np.broadcast_to(curves.times, curves.low.shape)


def _bands(curves: Curves, half: float) -> tuple[list[np.ndarray], list[int]]:
    """Return the corners of the bands, one for each stretch without gaps, and their rows."""
    shapes, owner = [], []
    edge = curves.step / 2
    for row, (low, high) in enumerate(zip(curves.low, curves.high, strict=True)):
        for start, stop in runs_of(np.isfinite(low)):
            # Half a column further at both ends: a lone column has to be seen.
            own = curves.times[start:stop]
            times = np.concatenate([[own[0] - edge], own, [own[-1] + edge]])
            under, over = (np.pad(part[start:stop], 1, mode="edge") for part in (low, high))
            upper = np.stack([times, over + half], axis=-1)
            lower = np.stack([times, under - half], axis=-1)
            shapes.append(np.concatenate([upper, lower[::-1]]))
            owner.append(row)
    return shapes, owner


def _draw_lone(axis: Axes, curves: Curves, colours: Sequence[str]) -> None:
    """Draw dots for samples that have no neighbour to be joined with by a line."""
    there = np.pad(np.isfinite(curves.low), ((0, 0), (1, 1)))
    row, at = np.nonzero(there[:, 1:-1] & ~there[:, :-2] & ~there[:, 2:])
    if row.size:
        dots = axis.scatter(
            _times(curves)[row, at], curves.low[row, at], s=3, linewidths=0,
            color=[colours[int(own)] for own in row],
        )  # fmt: skip
        dots.set_gid("lone samples")
