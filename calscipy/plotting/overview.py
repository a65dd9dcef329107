"""ROIs on an image, with their traces and events."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import dask
import numpy as np
import xarray as xr

from calscipy import model
from calscipy.errors import (
    RoiError,
)
from calscipy.plotting.parts import (
    add_axes,
    add_title,
    capitalised,
    colour_bar,
    draw_scale_bar,
    drawn_aspect,
    new_figure,
    show_image,
)
from calscipy.plotting.traces import draw_traces, neuron_colours

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def overview_figure(
    image: xr.DataArray,
    rois: xr.DataArray,
    dfof: xr.DataArray,
    events: xr.DataArray,
    truth_events: xr.DataArray | None = None,
    *,
    title: str | None = None,
) -> Figure:
    """Draw ROIs on an image, and beside it their traces with the events found.

    Parameters
    ----------
    image : DataArray
        Image ``(y, x)``, for instance a projection of the movie.
    rois : DataArray
        ROIs in long form.
    dfof : DataArray
        Traces ``(neuron, time)``.
    events : DataArray
        Boolean raster ``(neuron, time)``, with the neurons of ``dfof``.
    truth_events : DataArray, optional
        True events ``(neuron, time)``, where they are known, with the neurons of ``dfof``.
    title : str, optional
        Title above everything.

    Returns
    -------
    matplotlib.figure.Figure
        Not known to pyplot: save it with ``figure.savefig(path)``.

    Examples
    --------
    >>> t = np.arange(20) / 10
    >>> coords = {"neuron": [1], "time": t}
    >>> traces = xr.DataArray(np.sin(t)[None], coords, ("neuron", "time"))
    >>> image = xr.DataArray(np.eye(4), dims=("y", "x"))
    >>> rois = cs.rois_from_labels(np.eye(4, dtype=int))
    >>> figure = overview_figure(image, rois, traces, traces > 0.9)
    >>> [axes.get_xlabel() for axes in figure.axes]
    ['', 'time (s)']
    """
    model.require_dims(image, (model.Y, model.X), "overview_figure")
    for data in (dfof, events, truth_events):
        if data is not None:
            model.require_dims(data, (model.NEURON, model.TIME), "overview_figure")
    image, rois, dfof, events = dask.compute(image, rois, dfof, events)
    rois = _rois_of_plane(image, rois)
    colours = neuron_colours(dfof)
    ratio = drawn_aspect(image)
    width = min(4.4, 6.0 / ratio)
    head = 0.75 if title else 0.4
    body = max(width * ratio, 0.45 * len(colours), 2.0)
    figure = new_figure(12.2, head + body + 0.75)
    left = add_axes(figure, 0.25, head, width, width * ratio)
    shown = show_image(left, image)
    colour_bar(figure, left, shown, image)
    draw_scale_bar(left, image)
    _draw_rois(left, image, rois, colours)
    left.set_title(capitalised(image.attrs.get("long_name", "image")), loc="left", fontsize=10)
    right = add_axes(figure, width + 1.0, head, 12.2 - width - 1.65, body)
    draw_traces(right, dfof, colours, events, truth_events)
    if title:
        add_title(figure, title)
    return figure


def _rois_of_plane(image: xr.DataArray, rois: xr.DataArray) -> xr.DataArray:
    if model.kind(rois) != "rois":
        raise RoiError(
            f"overview_figure needs ROIs along 'pixel', found {tuple(rois.dims)}. Make them with "
            "rois_from_labels."
        )
    if model.PLANE in rois.coords and model.PLANE in image.coords and not image[model.PLANE].dims:
        return rois.isel({model.PIXEL: rois[model.PLANE].values == image[model.PLANE].item()})
    return rois


def _draw_rois(
    axis: Axes, image: xr.DataArray, rois: xr.DataArray, colours: dict[Any, str]
) -> None:
    """Outline the pixels of every neuron and write its number beside them."""
    from matplotlib.collections import LineCollection
    from matplotlib.patheffects import withStroke

    height, width = image.sizes[model.Y], image.sizes[model.X]
    middles = {}
    for neuron, colour in colours.items():
        mine = rois[model.NEURON].values == neuron
        if not mine.any():
            continue
        y, x = rois[model.Y].values[mine], rois[model.X].values[mine]
        middles[neuron] = (y.mean(), x.mean(), np.ptp(x) / 2 + 1)
        outline = LineCollection(_outline(y, x), colors=colour, linewidths=1.8, capstyle="round")
        axis.add_collection(outline)
    for neuron, (y, x, radius) in middles.items():
        # Beside the neuron, on the side where there is more room.
        reach = radius + 0.035 * width
        others = [middle[:2] for other, middle in middles.items() if other != neuron]
        room = {
            side: min(
                [np.hypot(y - oy, x + side * reach - ox) for oy, ox in others]
                + [2 * (width - 1 - x - reach if side > 0 else x - reach)]
            )
            for side in (1, -1)
        }
        side = 1 if room[1] >= min(room[-1], 2 * reach) else -1
        axis.annotate(
            str(neuron), (x + side * radius, y), (2 * side, 0), textcoords="offset points",
            ha="left" if side > 0 else "right", va="center", fontsize=10, fontweight="bold",
            color=colours[neuron], path_effects=[withStroke(linewidth=2.2, foreground="black")],
        )  # fmt: skip
    axis.set_xlim(-0.5, width - 0.5)
    axis.set_ylim(height - 0.5, -0.5)


def _outline(y: np.ndarray, x: np.ndarray) -> list[list[tuple[float, float]]]:
    """Return the edges of pixels that have no neighbour of the same neuron."""
    pixels = set(zip(y.tolist(), x.tolist(), strict=True))
    corners = {(-1, 0): ((0, 0), (0, 1)), (1, 0): ((1, 0), (1, 1))}
    corners |= {(0, -1): ((0, 0), (1, 0)), (0, 1): ((0, 1), (1, 1))}
    edges = []
    for row, column in sorted(pixels):
        for (down, across), ends in corners.items():
            if (row + down, column + across) not in pixels:
                edges.append([(column + b - 0.5, row + a - 0.5) for a, b in ends])
    return edges
