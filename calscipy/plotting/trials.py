"""Trials: a panel for each neuron and condition, with single trials, mean and confidence."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import dask
import numpy as np
import xarray as xr

from calscipy import model, ops
from calscipy.errors import ArgumentError, DimensionError
from calscipy.plotting.curves import COLUMNS
from calscipy.plotting.decimate import decimate
from calscipy.plotting.parts import (
    figure_or_new,
    plain,
    plain_axes,
    short_name,
)
from calscipy.plotting.series import chosen, refuse_static, row_names
from calscipy.plotting.style import (
    FONT,
    GREY,
    SINGLE_COLOUR,
    colour,
    label,
    name_of,
    seconds_label,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure, SubFigure

VERB = "plot_trials"
_MOST_NEURONS, _MOST_CONDITIONS = 6, 8
MOST_SINGLE = 200  # trials or waveforms drawn one by one in a panel


def plot_trials(
    trials: xr.DataArray,
    *,
    by: str | None = None,
    neurons: Sequence[Any] | None = None,
    single: bool = True,
    confidence: float = 0.95,
    rng: int = 0,
    interactive: bool = False,
    title: str | None = None,
    figure: Figure | SubFigure | None = None,
) -> Figure:
    """Draw trials by condition with mean and confidence band; those of the neurons are computed.

    Parameters
    ----------
    trials : DataArray
        Trials ``(trial, neuron, time)`` of numbers, or of booleans, whose mean is the share of
        trials with an event.
    by : str, optional
        Coordinate along trials, such as their condition: one column of panels for each value. One
        column by default.
    neurons : sequence, optional
        Labels of the neurons to draw, a row of panels for each. By default the first six; the
        title says how many there are.
    single : bool, default True
        Draw single trials behind the mean, at most 200 of each condition, evenly chosen.
    confidence : float, default 0.95
        Of the band around the mean, see :func:`calscipy.average`.
    rng : int, default 0
        Seed of the band: the same number gives the same figure.
    interactive : bool, default False
        Make a page that shows one neuron at a time instead, see
        :func:`calscipy.plotting.interactive.view_trials`.
    title : str, optional
        By default the ``long_name`` of the trials.
    figure : matplotlib.figure.Figure, optional
        Where to draw; by default a new figure, which pyplot does not know.

    Returns
    -------
    matplotlib.figure.Figure
        Save it with ``calscipy.plotting.save_figure(figure, path)``. With
        ``interactive=True``, what ``view_trials`` returns.

    Raises
    ------
    ArgumentError
        If ``by`` is no coordinate along trials, or has more than eight values.

    Examples
    --------
    >>> traces = cs.from_numpy(np.random.default_rng(0).normal(0, 1, (2, 120)), frame_rate=10)
    >>> trials = cs.to_trials(traces, length=2).assign_coords(cue=("trial", list("ababab")))
    >>> figure = plot_trials(trials, by="cue")
    >>> [axes.get_title() for axes in figure.axes]
    ['cue a, n = 3', 'cue b, n = 3', '', '']
    """
    trials = _checked(trials)
    total = trials.sizes[model.NEURON]
    trials = chosen(trials, neurons, VERB)
    if interactive:
        from calscipy.plotting.interactive import view_trials

        refuse_static(VERB, figure=figure)
        view: Any = view_trials(trials, by=by, confidence=confidence, rng=rng, title=title)
        return view
    if neurons is None:
        trials = trials.isel({model.NEURON: slice(_MOST_NEURONS)})
    table = ops.average(trials, by=by, confidence=confidence, rng=rng)
    if by is not None and table.sizes[by] > _MOST_CONDITIONS:
        raise ArgumentError(
            f"{VERB}: {by!r} has {table.sizes[by]} values, and at most {_MOST_CONDITIONS} columns "
            "can be read. Select trials, for instance "
            f"trials[trials.{by}.isin(values)]."
        )
    trials, table = dask.compute(trials, table)
    names = row_names(trials)
    conditions = [None] if by is None else table[by].values.tolist()
    columns = len(conditions)
    page = figure_or_new(
        figure, max(4.4, min(13.0, 0.9 + 3.0 * columns)), 1.2 + min(9.0, 1.5 * len(names) + 0.4)
    )
    grid = page.subplots(len(names), columns, sharex=True, sharey="row", squeeze=False)
    for row, axes in enumerate(grid):
        for column, (axis, condition) in enumerate(zip(axes, conditions, strict=True)):
            mine = trials.isel({model.NEURON: row}).transpose(model.TRIAL, model.TIME)
            means = table.isel({model.NEURON: row})
            if condition is not None:
                means = means.isel({by: column})
                mine = mine.isel({model.TRIAL: np.flatnonzero(mine[by].values == condition)})
            _draw_panel(axis, mine, means, colour(column), single)
            if row == 0:
                count = f"n = {mine.sizes[model.TRIAL]}"
                axis.set_title(
                    count if by is None else f"{plain(by)} {short_name(condition)}, {count}",
                    fontsize=FONT,
                )
        axes[0].set_ylabel(f"neuron {short_name(names[row], 12)}", fontsize=FONT)
    page.supxlabel(plain(seconds_label(trials)), fontsize=FONT)
    page.supylabel(_quantity(trials), fontsize=FONT)
    if title is None:
        title = f"Trials, their mean and its {100 * confidence:g} % interval"
        if len(names) < total and neurons is None:
            title += f" · first {len(names)} of {total} neurons"
    page.suptitle(plain(title), fontsize=FONT + 1, x=0.01, ha="left")
    return page


def _checked(trials: Any) -> xr.DataArray:
    if not isinstance(trials, xr.DataArray):
        raise ArgumentError(f"{VERB} needs trials as a DataArray, got {type(trials).__name__}.")
    model.require_dims(trials, (model.TRIAL, model.TIME), VERB)
    if model.NEURON not in trials.dims:
        named = model.NEURON in trials.coords
        trials = trials.expand_dims(model.NEURON if named else {model.NEURON: [0]})
    others = [dim for dim in trials.dims if dim not in (model.TRIAL, model.NEURON, model.TIME)]
    if others:
        raise DimensionError(
            f"{VERB} draws trials (trial, neuron, time), found {dict(trials.sizes)}. Select one, "
            f"for instance trials.isel({others[0]}=0)."
        )
    return trials


def _quantity(trials: xr.DataArray) -> str:
    if trials.dtype == bool:
        return plain(f"share of trials with {name_of(trials, 'an event')}")
    return plain(label(trials, "trials"))


def _draw_panel(
    axis: Axes, trials: xr.DataArray, means: xr.Dataset, shade: str, single: bool
) -> None:
    """Draw the trials of one neuron and condition."""
    times = np.asarray(trials[model.TIME].values, dtype=float)
    if single and trials.dtype != bool:
        draw_faint(axis, times, trials.values, "single trials")
    band = axis.fill_between(
        times, means["lower"].values, means["upper"].values, color=shade, alpha=0.4, linewidth=0
    )
    band.set_gid("confidence")
    (line,) = axis.plot(times, means["mean"].values, color=shade, lw=1.6)
    line.set_gid("mean")
    mark_zero(axis, times)
    plain_axes(axis)


def draw_faint(axis: Axes, times: np.ndarray, values: np.ndarray, gid: str) -> None:
    """Draw single trials or waveforms ``(rows, samples)`` in grey, some of very many."""
    from matplotlib.collections import LineCollection

    if len(values) > MOST_SINGLE:
        values = values[np.linspace(0, len(values) - 1, MOST_SINGLE).astype(int)]
    when, thin = decimate(values, times, COLUMNS)
    lines = np.stack([np.broadcast_to(when, thin.shape), thin], axis=-1)
    drawn = LineCollection(
        list(lines), colors=SINGLE_COLOUR, linewidths=0.5, alpha=0.7, joinstyle="bevel", zorder=0.8
    )
    drawn.set_gid(gid)
    axis.add_collection(drawn)


def mark_zero(axis: Axes, times: np.ndarray) -> None:
    """Let the time axis reach over all samples, and mark where trials or events begin."""
    if times.size > 1:
        axis.set_xlim(times[0], times[-1])
    if times[0] < 0 < times[-1]:
        axis.axvline(0, color=GREY, lw=0.8, ls="--", zorder=0.5)
