"""Targets of photostimulation on an image, and when each of them is stimulated."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr

from calscipy import model
from calscipy.plotting.parts import (
    GREY,
    add_axes,
    add_title,
    draw_scale_bar,
    drawn_aspect,
    new_figure,
    plain_axes,
    show_image,
)
from calscipy.plotting.traces import COLOURS

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from calscipy.photostimulation.rois import Target

_IMAGE_WIDTH, _SIDE_WIDTH = 5.0, 5.2  # inches
_LEAST_DRAWN = 0.004  # of the width of the figure's time axis: shorter stimuli are drawn longer


def draw_targets(
    axes: Axes,
    image: xr.DataArray,
    targets: Sequence[Target],
    *,
    labels: Sequence[Any] | np.ndarray | None = None,
    colours: Sequence[str] | None = None,
) -> None:
    """Draw an image, and on it the outline of each target in its true size, with its number.

    Parameters
    ----------
    axes : matplotlib.axes.Axes
        Where to draw. Its coordinates are pixels of the image.
    image : DataArray
        Image ``(y, x)``.
    targets : sequence of Target
        In pixels of this image.
    labels : sequence, optional
        What to write beside the targets; their numbers, from 1, by default.
    colours : sequence of str, optional
        Colour of each target.

    Examples
    --------
    >>> from matplotlib.figure import Figure
    >>> from calscipy.photostimulation import Target
    >>> axes = Figure().subplots()
    >>> image = xr.DataArray(np.eye(32), dims=("y", "x"))
    >>> draw_targets(axes, image, [Target(x=10, y=20, width=6, height=6)], labels=["a"])
    >>> [text.get_text() for text in axes.texts]
    ['a']
    """
    from matplotlib.patches import Ellipse
    from matplotlib.patheffects import withStroke

    model.require_dims(image, (model.Y, model.X), "draw_targets")
    height, width = image.sizes[model.Y], image.sizes[model.X]
    show_image(axes, image)
    draw_scale_bar(axes, image)
    shown = range(1, len(targets) + 1) if labels is None else labels
    colours = [COLOURS[0]] * len(targets) if colours is None else colours
    dark = [withStroke(linewidth=2.2, foreground="black")]
    for target, label, colour in zip(targets, shown, colours, strict=True):
        middle = target.x, target.y
        axes.add_patch(
            Ellipse(
                middle, target.width, target.height, angle=target.theta,
                fill=False, edgecolor=colour, linewidth=1.6,
            )
        )  # fmt: skip
        axes.plot(*middle, "+", color=colour, markersize=4, markeredgewidth=1.0)
        left = target.x > 0.9 * width
        reach = max(target.width, target.height) / 2
        axes.annotate(
            str(label), (target.x + (-reach if left else reach), target.y),
            (-2 if left else 2, 0), textcoords="offset points", va="center",
            ha="right" if left else "left", fontsize=9, fontweight="bold", color=colour,
            path_effects=dark,
        )  # fmt: skip
    axes.set_xlim(-0.5, width - 0.5)
    axes.set_ylim(height - 0.5, -0.5)


def draw_stimuli(
    axes: Axes, stimulus: xr.Dataset, *, labels: Sequence[Any] | np.ndarray, colours: Sequence[str]
) -> None:
    """Draw when each target is stimulated, a row for each of them.

    Parameters
    ----------
    axes : matplotlib.axes.Axes
        Where to draw.
    stimulus : Dataset
        Stimuli. Those whose onset a trigger decides are drawn at their delay after it.
    labels : sequence
        What to write beside the rows, by target.
    colours : sequence of str
        Colour of each target.

    Examples
    --------
    >>> from matplotlib.figure import Figure
    >>> from calscipy.photostimulation import MarkPointSeriesElements, stimulus_table
    >>> axes = Figure().subplots()
    >>> table = stimulus_table(MarkPointSeriesElements(marks=[]))
    >>> draw_stimuli(axes, table, labels=["a"], colours=["red"])
    >>> axes.get_xlabel()
    'time (s)'
    """
    from matplotlib.collections import PolyCollection

    onset = stimulus[model.ONSET].values
    waiting = ~np.isfinite(onset)
    begin = np.where(waiting, stimulus["delay"].values, onset)
    end = begin + stimulus["duration"].values
    target = stimulus["target"].values
    first = float(np.nanmin(begin, initial=0.0))
    span = float(np.nanmax(end, initial=0.0)) - first or 1.0
    end = np.maximum(end, begin + _LEAST_DRAWN * span)
    corners = np.array(
        [[begin, target - 0.38], [end, target - 0.38], [end, target + 0.38], [begin, target + 0.38]]
    )
    bars = PolyCollection(
        list(np.moveaxis(corners, 2, 0)), facecolors=[colours[at] for at in target.tolist()]
    )
    axes.add_collection(bars)
    axes.set_xlim(first - 0.02 * span, first + 1.02 * span)
    axes.set_ylim(len(labels) - 0.4, -0.6)
    axes.set_yticks(range(len(labels)), [str(label) for label in labels])
    axes.set_ylabel("target", fontsize=9)
    after = " after the last trigger" if waiting.any() else ""
    axes.set_xlabel(f"time{after} (s)", fontsize=9)
    axes.set_axisbelow(True)
    axes.grid(axis="y", color=GREY, alpha=0.25, linewidth=0.6)
    plain_axes(axes)


def protocol_figure(
    image: xr.DataArray,
    targets: Sequence[Target],
    stimulus: xr.Dataset,
    *,
    groups: Mapping[str, Sequence[int]] | None = None,
    labels: Sequence[Any] | np.ndarray | None = None,
    title: str | None = None,
) -> Figure:
    """Draw the targets of a protocol on an image, and when each of them is stimulated.

    Parameters
    ----------
    image : DataArray
        Image ``(y, x)``.
    targets : sequence of Target
        Where the beam goes, in pixels.
    stimulus : Dataset
        The stimuli of the protocol.
    groups : mapping of str to sequence of int, optional
        Targets of each group, from 0. A target has the colour of the first group that has
        it; those of none share one.
    labels : sequence, optional
        What to write beside the targets; their numbers, from 1, by default.
    title : str, optional
        Title above everything.

    Returns
    -------
    matplotlib.figure.Figure
        Not known to pyplot: save it with ``calscipy.plotting.save_figure``.

    Examples
    --------
    >>> from calscipy.photostimulation import MarkPointSeriesElements, Target, stimulus_table
    >>> image = xr.DataArray(np.eye(32), dims=("y", "x"))
    >>> table = stimulus_table(MarkPointSeriesElements(marks=[]))
    >>> figure = protocol_figure(image, [Target(x=10, y=20)], table)
    >>> [axes.get_xlabel() for axes in figure.axes]
    ['', 'time (s)']
    """
    model.require_dims(image, (model.Y, model.X), "protocol_figure")
    image = image.compute()
    names = list(range(1, len(targets) + 1)) if labels is None else list(labels)
    colours, legend = _colours(len(targets), groups or {})
    ratio = drawn_aspect(image)
    width = min(_IMAGE_WIDTH, 7.0 / ratio)
    head = 0.75 if title else 0.3
    body = max(width * ratio, 2.0)
    figure = new_figure(width + _SIDE_WIDTH + 1.4, head + body + 0.75)
    left = add_axes(figure, 0.25, head, width, width * ratio)
    draw_targets(left, image, targets, labels=names, colours=colours)
    right = add_axes(figure, width + 1.05, head, _SIDE_WIDTH, body)
    draw_stimuli(right, stimulus, labels=names, colours=colours)
    if legend:
        _draw_legend(right, legend)
    if title:
        add_title(figure, title)
    return figure


def _draw_legend(axes: Axes, legend: Mapping[str, str]) -> None:
    """Name the colours below the time axis."""
    from matplotlib.patches import Patch

    patches = [Patch(color=colour, label=name) for name, colour in legend.items()]
    axes.legend(
        handles=patches, loc="upper right", bbox_to_anchor=(1.0, -0.35 / _SIDE_WIDTH),
        ncols=4, fontsize=8, frameon=False, handlelength=1.0,
    )  # fmt: skip


def _colours(count: int, groups: Mapping[str, Sequence[int]]) -> tuple[list[str], dict[str, str]]:
    """Return the colour of each target and of each group."""
    legend = {name: COLOURS[at % len(COLOURS)] for at, name in enumerate(groups)}
    colours = [COLOURS[len(groups) % len(COLOURS)]] * count
    for name, members in reversed(list(groups.items())):
        for at in members:
            colours[at] = legend[name]
    return colours, legend
