"""Targets of photostimulation on an image, and when each of them is stimulated."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr

from calscipy import model
from calscipy.errors import ArgumentError
from calscipy.plotting.images import (
    draw_scale_bar,
    drawn_aspect,
    require_image,
    show_image,
)
from calscipy.plotting.outlines import image_place, write_names
from calscipy.plotting.parts import (
    add_axes,
    add_title,
    capitalised,
    name_rows,
    new_figure,
    plain,
    plain_axes,
    short_name,
)
from calscipy.plotting.style import FONT, GREY, ROI_COLOURS, name_of, with_units

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from calscipy.photostimulation.rois import Target

_IMAGE_WIDTH, _SIDE_WIDTH = 5.0, 5.2  # inches
_LEAST_DRAWN = 0.004  # of the width of the figure's time axis: shorter stimuli are drawn longer


def plot_stimulus(
    stimulus: xr.Dataset,
    image: xr.DataArray | None = None,
    *,
    labels: Sequence[Any] | np.ndarray | None = None,
    title: str | None = None,
) -> Figure:
    """Draw when each target is stimulated, and where on an image; a lazy image is computed.

    Parameters
    ----------
    stimulus : Dataset
        A session's ``stimulus``. Stimuli whose onset a trigger decides are drawn at their delay
        after it.
    image : DataArray, optional
        Image ``(y, x)`` of the recording, such as the mean of the movie or a reference image, or
        a part of it.
    labels : sequence, optional
        What to write beside the targets. By default what the stimuli call them
        (``target_label``, ``target_name``), else their numbers, from 1.
    title : str, optional
        Title above everything.

    Returns
    -------
    matplotlib.figure.Figure
        Spirals are outlined in their size, points are crosses. Save it with
        ``calscipy.plotting.save_figure(figure, path)``.

    Raises
    ------
    ArgumentError
        If the stimuli have no times, or no places for the image.

    Examples
    --------
    >>> stimuli = xr.Dataset(
    ...     {
    ...         "onset": ("stimulus", [1.0, 2.0]),
    ...         "duration": ("stimulus", [0.1, 0.1]),
    ...         "target": ("stimulus", [0, 1]),
    ...         "x": ("stimulus", [0.2, 0.7]),
    ...         "y": ("stimulus", [0.5, 0.5]),
    ...     }
    ... )
    >>> image = xr.DataArray(np.eye(32), dims=("y", "x"))
    >>> figure = plot_stimulus(stimuli, image)
    >>> [axes.get_xlabel() for axes in figure.axes]
    ['', 'time [s]']
    """
    if not isinstance(stimulus, xr.Dataset) or not {model.ONSET, "duration"} <= set(stimulus):
        found = sorted(map(str, stimulus)) if isinstance(stimulus, xr.Dataset) else type(stimulus)
        raise ArgumentError(
            f"plot_stimulus needs a Dataset of stimuli with 'onset' and 'duration' in s, got "
            f"{found}. A session has it as session.stimulus."
        )
    stimulus = stimulus.compute()
    target = np.zeros(stimulus[model.ONSET].shape, dtype=np.int64)
    if "target" in stimulus.variables:
        target = stimulus["target"].values
    numbers, first, row = np.unique(target, return_index=True, return_inverse=True)
    names = _target_names(stimulus, numbers, first) if labels is None else list(labels)
    if len(names) != numbers.size:
        raise ArgumentError(
            f"plot_stimulus needs a label for each of the {numbers.size} targets, got {len(names)}."
        )
    targets = None
    if image is not None:
        require_image(image, "plot_stimulus")
        targets = _targets(stimulus.isel({model.STIMULUS: first}), image)
    shown = stimulus.assign(target=(model.STIMULUS, row))
    colours = [ROI_COLOURS[0]] * numbers.size
    return _figure(image, targets, shown, names, colours, {}, title)


def _target_names(stimulus: xr.Dataset, numbers: np.ndarray, first: np.ndarray) -> list[Any]:
    """Return what the stimuli call their targets, if they tell them apart."""
    for name in ("target_label", "target_name"):
        if name in stimulus.variables:
            found = stimulus[name].values[first].tolist()
            if all(str(one) for one in found) and len(set(found)) == len(found):
                return found
    return (numbers + 1).tolist()


def _targets(rows: xr.Dataset, image: xr.DataArray) -> list[Target]:
    """Return targets in pixels of an image, which may be a part of the recorded one."""
    from calscipy.photostimulation.rois import Target

    places, sizes = [], []
    for dim in (model.Y, model.X):
        count = float(image.sizes[dim])
        if f"{dim}_pixel" in rows:
            recorded = rows[f"{dim}_pixel"].values
            first, step = image_place(image, dim)
            places.append((recorded - first) / step)
            share = rows[dim].values if dim in rows else np.zeros(0)
            there = share[: recorded.size] > 0
            if there.any():  # how many pixels the recorded image has
                count = float(np.median(recorded[there] / share[there])) / step
        elif dim in rows:
            places.append(rows[dim].values * count)
        else:
            raise ArgumentError(
                f"plot_stimulus: the stimuli do not say where they are, {dim!r} is missing. Draw "
                "them without an image."
            )
        name = f"spiral_{'height' if dim == model.Y else 'width'}"
        size = rows[name].values if name in rows else np.zeros(rows.sizes[model.STIMULUS])
        sizes.append(np.nan_to_num(size) * count)
    columns = (*places[::-1], *sizes[::-1])
    return [
        Target(x=float(x), y=float(y), width=float(width), height=float(height))
        for x, y, width, height in zip(*columns, strict=True)
    ]


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

    require_image(image, "draw_targets")
    height, width = image.sizes[model.Y], image.sizes[model.X]
    show_image(axes, image)
    names = range(1, len(targets) + 1) if labels is None else labels
    shades = [ROI_COLOURS[0]] * len(targets) if colours is None else colours
    for target, shade in zip(targets, shades, strict=True):
        middle = target.x, target.y
        axes.add_patch(
            Ellipse(
                middle, target.width, target.height, angle=target.theta,
                fill=False, edgecolor=shade, linewidth=1.6,
            )
        )  # fmt: skip
        axes.plot(*middle, "+", color=shade, markersize=4, markeredgewidth=1.0)
    axes.set_xlim(-0.5, width - 0.5)
    axes.set_ylim(height - 0.5, -0.5)
    reach = [max(target.width, target.height) / 2 for target in targets]
    boxes = [
        (target.x - r, target.x + r, target.y - r, target.y + r)
        for target, r in zip(targets, reach, strict=True)
    ]
    filled = np.zeros((height, width))
    for left, right, top, bottom in boxes:
        rows = slice(max(round(top), 0), max(round(bottom) + 1, 0))
        filled[rows, max(round(left), 0) : max(round(right) + 1, 0)] = 1
    draw_scale_bar(axes, image, filled)
    write_names(axes, list(names), boxes, list(shades), filled=filled, word="targets")


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
    'time [s]'
    """
    from matplotlib.collections import PolyCollection

    onset = stimulus[model.ONSET].values
    waiting = ~np.isfinite(onset)
    delay = stimulus["delay"].values if "delay" in stimulus else np.zeros(onset.shape)
    begin = np.where(waiting, delay, onset)
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
    name_rows(axes, np.arange(len(labels)), list(labels), word="target")
    after = " after the last trigger" if waiting.any() else ""
    axes.set_xlabel(with_units(f"time{after}", "s"), fontsize=FONT)
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
    ['', 'time [s]']
    """
    require_image(image, "protocol_figure")
    names = list(range(1, len(targets) + 1)) if labels is None else list(labels)
    colours, legend = _colours(len(targets), groups or {})
    return _figure(image, targets, stimulus, names, colours, legend, title)


def _figure(
    image: xr.DataArray | None,
    targets: Sequence[Target] | None,
    stimulus: xr.Dataset,
    names: Sequence[Any],
    colours: Sequence[str],
    legend: Mapping[str, str],
    title: str | None,
) -> Figure:
    """Draw targets on an image, if there is one, and when they are stimulated."""
    above = 0.85 if title else 0.45
    body, width = max(2.0, min(8.0, 0.22 * len(names))), 0.0
    if image is not None and targets is not None:
        image = image.compute()
        ratio = drawn_aspect(image)
        width = min(_IMAGE_WIDTH, 7.0 / ratio)
        body = max(width * ratio, 2.0)
    figure = new_figure(width + _SIDE_WIDTH + 1.9, above + body + 0.75)
    if image is not None and targets is not None:
        left = add_axes(figure, 0.25, above, width, width * ratio)
        draw_targets(left, image, targets, labels=names, colours=colours)
        left.set_title(plain(capitalised(name_of(image, "image"))), loc="left", fontsize=FONT + 1)
    right = add_axes(figure, width + 1.55, above, _SIDE_WIDTH, body)
    draw_stimuli(right, stimulus, labels=names, colours=colours)
    if legend:
        _draw_legend(right, legend)
    if title:
        add_title(figure, title)
    return figure


def _draw_legend(axes: Axes, legend: Mapping[str, str]) -> None:
    """Name the colours below the time axis."""
    from matplotlib.patches import Patch

    patches = [
        Patch(color=colour, label=plain(short_name(name))) for name, colour in legend.items()
    ]
    axes.legend(
        handles=patches, loc="upper right", bbox_to_anchor=(1.0, -0.35 / _SIDE_WIDTH),
        ncols=4, fontsize=FONT - 1, frameon=False, handlelength=1.0,
    )  # fmt: skip


def _colours(count: int, groups: Mapping[str, Sequence[int]]) -> tuple[list[str], dict[str, str]]:
    """Return the colour of each target and of each group."""
    legend = {name: ROI_COLOURS[at % len(ROI_COLOURS)] for at, name in enumerate(groups)}
    colours = [ROI_COLOURS[len(groups) % len(ROI_COLOURS)]] * count
    for name, members in reversed(list(groups.items())):
        for at in members:
            colours[at] = legend[name]
    return colours, legend
