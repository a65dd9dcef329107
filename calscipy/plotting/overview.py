"""ROIs on an image, with their traces and events."""

from __future__ import annotations

from typing import TYPE_CHECKING

import dask
import xarray as xr

from calscipy import model
from calscipy.errors import RoiError
from calscipy.plotting.images import (
    colour_bar_below,
    draw_scale_bar,
    drawn_aspect,
    require_image,
    show_image,
)
from calscipy.plotting.outlines import covered, draw_rois, footprints_on
from calscipy.plotting.parts import add_axes, add_title, capitalised, head, new_figure, plain
from calscipy.plotting.series import row_names, rows_of, time_axis
from calscipy.plotting.stacked import draw_stacked
from calscipy.plotting.style import FONT, ROI_COLOURS, name_of

if TYPE_CHECKING:
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
        Not known to pyplot: save it with ``calscipy.plotting.save_figure(figure, path)``.

    Examples
    --------
    >>> t = np.arange(20) / 10
    >>> coords = {"neuron": [1], "time": t}
    >>> traces = xr.DataArray(np.sin(t)[None], coords, ("neuron", "time"))
    >>> image = xr.DataArray(np.eye(4), dims=("y", "x"))
    >>> rois = cs.rois_from_labels(np.eye(4, dtype=int))
    >>> figure = overview_figure(image, rois, traces, traces > 0.9)
    >>> [axes.get_xlabel() for axes in figure.axes]
    ['', 'time [s]']
    """
    require_image(image, "overview_figure")
    if model.kind(rois) != "rois":
        raise RoiError(
            f"overview_figure needs ROIs along 'pixel', found {tuple(rois.dims)}. Make them with "
            "rois_from_labels."
        )
    for data in (dfof, events, truth_events):
        if data is not None:
            model.require_dims(data, (model.NEURON, model.TIME), "overview_figure")
    image, rois, dfof, events, truth_events = dask.compute(image, rois, dfof, events, truth_events)
    dfof = dfof.transpose(model.NEURON, model.TIME)
    names = row_names(dfof)
    colours = [ROI_COLOURS[at % len(ROI_COLOURS)] for at in range(len(names))]
    ratio = drawn_aspect(image)
    width = min(4.4, 6.0 / ratio)
    above = 0.95 if title else 0.6
    body = max(width * ratio, min(9.0, 0.45 * len(colours)), 2.0)
    figure = new_figure(12.2, above + body + 0.75)
    left = add_axes(figure, 0.25, above, width, width * ratio)
    shown = show_image(left, image)
    colour_bar_below(figure, left, shown, image)
    found = footprints_on(image, rois, "overview_figure")
    filled = covered(image, found)
    draw_scale_bar(left, image, filled)
    here = [name for name in names if name in set(found.neurons)]
    if here:
        found = footprints_on(image, rois, "overview_figure", here)
        shades = dict(zip(names, colours, strict=True))
        draw_rois(left, image, found, colours=shades, filled=filled)
    left.set_title(plain(capitalised(name_of(image, "image"))), loc="left", fontsize=FONT + 1)
    right = add_axes(figure, width + 1.25, above, 12.2 - width - 1.9, body)
    rows = rows_of(dfof, "overview_figure")
    time_axis(right, dfof, [rows.times])
    handles = draw_stacked(
        right, dfof, {"traces": rows}, colours=colours, events=events.transpose(*dfof.dims),
        truth=None if truth_events is None else truth_events.transpose(*dfof.dims),
    )  # fmt: skip
    head(right, capitalised(name_of(dfof, "traces")), handles)
    if title:
        add_title(figure, title)
    return figure
