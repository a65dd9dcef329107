"""Rasters of events and heat maps of traces: neurons from top to bottom, time to the right."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal, get_args

import dask
import numpy as np
import xarray as xr

from calscipy import model
from calscipy.errors import ArgumentError
from calscipy.plotting.decimate import extreme_samples, samples_at
from calscipy.plotting.images import bar_beside, hatch_paper
from calscipy.plotting.parts import (
    axes_or_new,
    capitalised,
    head,
    ink,
    name_rows,
    plain_axes,
    size_inches,
)
from calscipy.plotting.series import (
    chosen,
    event_points,
    refuse_static,
    require_rows,
    row_names,
    rows_of,
    shade_stimuli,
    time_axis,
)
from calscipy.plotting.style import HEAT_MAP, contrast_limits, label, name_of, with_units

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Order = Literal["recorded", "peak", "activity"]
Reduce = Literal["max", "mean"]

_WIDE = 10.5  # inches
_COLUMNS = 2000  # of a raster at most
_PER_INCH = 100  # columns of a heat map: one for each pixel of the usual figure
_CROWDED = 100_000  # events: of more, only one in each column is drawn


def plot_raster(
    events: xr.DataArray,
    *,
    neurons: Sequence[Any] | None = None,
    stimuli: xr.Dataset | None = None,
    interactive: bool = False,
    title: str | None = None,
    ax: Axes | None = None,
) -> Axes:
    """Draw a tick for every event of every neuron; what is drawn of a lazy raster is computed.

    Parameters
    ----------
    events : DataArray
        Boolean raster ``(neuron, time)``, or ``(time,)`` of one neuron.
    neurons : sequence, optional
        Labels of the neurons to draw, from top to bottom; all by default.
    stimuli : Dataset or array_like, optional
        A session's ``stimulus``, with ``onset`` and ``duration`` in s, or onsets; shaded.
    interactive : bool, default False
        Make a page that shows one neuron at a time instead, see
        :func:`calscipy.plotting.interactive.view_spikes`.
    title : str, optional
        By default the ``long_name`` of the events.
    ax : matplotlib.axes.Axes, optional
        Where to draw; by default in a new figure, which pyplot does not know.

    Returns
    -------
    matplotlib.axes.Axes
        The first neuron is at the top, at 0 along y, the next one at 1. With
        ``interactive=True``, what ``view_spikes`` returns.

    Raises
    ------
    ArgumentError
        If the raster is not boolean.

    Examples
    --------
    >>> from calscipy.testing import synthetic_traces
    >>> axes = plot_raster(synthetic_traces(neurons=3, duration=60.0).events)
    >>> axes.get_xlabel(), axes.get_ylabel()
    ('time [s]', 'neuron')
    """
    events = chosen(require_rows(events, "plot_raster", "events"), neurons, "plot_raster")
    if events.dtype != bool:
        raise ArgumentError(
            f"plot_raster needs events as a boolean array, got {events.dtype}. Make them with "
            "traces.cs.events(), or draw numbers with plot_heatmap."
        )
    if interactive:
        from calscipy.plotting.interactive import view_spikes

        refuse_static("plot_raster", stimuli=stimuli, ax=ax)
        view: Any = view_spikes(spikes=events, title=title or name_of(events, "events"))
        return view
    (events,) = dask.compute(events)
    names, times = row_names(events), model.seconds(events, "plot_raster")
    ax = axes_or_new(ax, _WIDE, _height(len(names)))
    time_axis(ax, events, [times])
    row, at = event_points(events, names, "plot_raster")
    if row.size > _CROWDED:
        row, at = _one_per_column(row, at, ax.get_xlim())
    ax.set_ylim(len(names) - 0.5, -0.5)
    tall = size_inches(ax)[1] * 72 / len(names)  # points
    (drawn,) = ax.plot(
        at, row, "|", color=ink(), ms=float(np.clip(0.75 * tall, 0.9, 14)),
        mew=float(np.clip(0.3 * tall, 0.5, 1.3)),
    )  # fmt: skip
    drawn.set_gid("events")
    shaded = {} if stimuli is None else {"stimulus": shade_stimuli(ax, stimuli, "plot_raster")}
    name_rows(ax, np.arange(len(names)), names)
    plain_axes(ax)
    head(ax, capitalised(name_of(events, "events")) if title is None else title, shaded)
    return ax


def plot_heatmap(
    traces: xr.DataArray,
    *,
    neurons: Sequence[Any] | None = None,
    order: Order = "recorded",
    reduce: Reduce = "max",
    limits: tuple[float, float] | None = None,
    colormap: str = HEAT_MAP,
    stimuli: xr.Dataset | None = None,
    title: str | None = None,
    ax: Axes | None = None,
) -> Axes:
    """Draw the values of all neurons over time as colours; what is drawn of lazy ones is computed.

    Parameters
    ----------
    traces : DataArray
        Traces ``(neuron, time)``. Where there is no sample, or NaN, hatched paper shows.
    neurons : sequence, optional
        Labels of the neurons to draw, from top to bottom; all by default.
    order : {"recorded", "peak", "activity"}, default "recorded"
        Sort the neurons by the time of their highest value, the earliest at the top, or by their
        mean, the most active at the top. NaN come last.
    reduce : {"max", "mean"}, default "max"
        What to draw where several samples share a column, of which there are 100 in an inch. The
        highest hides no peak; the colour bar says how long columns are.
    limits : (float, float), optional
        Values that are shown darkest and brightest; by default the 1st and 99.7th percentile.
    colormap : str, default "viridis"
        Name of a matplotlib colour map.
    stimuli : Dataset or array_like, optional
        A session's ``stimulus``, with ``onset`` and ``duration`` in s, or onsets; marked above.
    title : str, optional
        By default the ``long_name`` of the traces.
    ax : matplotlib.axes.Axes, optional
        Where to draw; by default in a new figure, which pyplot does not know.

    Returns
    -------
    matplotlib.axes.Axes
        The first neuron is at the top, at 0 along y; samples reach from their time to the next.

    Examples
    --------
    >>> from calscipy.testing import synthetic_traces
    >>> truth = synthetic_traces(neurons=5, duration=10.0)
    >>> axes = plot_heatmap(truth.dfof, order="peak")
    >>> axes.images[0].get_array().shape, axes.get_xlabel()
    ((5, 300), 'time [s]')
    """
    verb = "plot_heatmap"
    for name, value, allowed in (("order", order, Order), ("reduce", reduce, Reduce)):
        if value not in get_args(allowed):
            raise ArgumentError(f"{verb}: {name} must be one of {get_args(allowed)}, got {value!r}")
    (traces,) = dask.compute(chosen(require_rows(traces, verb, "traces"), neurons, verb))
    rows = rows_of(traces, verb)
    ax = axes_or_new(ax, _WIDE, _height(len(rows.names)))
    wide, tall = size_inches(ax)
    columns = max(100, round(_PER_INCH * wide))
    values, edges, several = _binned(rows.values, rows.times, columns, reduce)
    if order != "recorded":
        sorted_rows = _order(values, order)
        values = values[sorted_rows]
        names = [rows.names[at] for at in sorted_rows]
    else:
        names = rows.names
    low, high = limits or contrast_limits(values)
    missing = ~np.isfinite(values)
    shown = ax.imshow(
        np.ma.masked_array(values, missing), cmap=colormap, vmin=low, vmax=high, aspect="auto",
        # As soon as rows are finer than pixels, some of them would be left out by "nearest".
        interpolation="nearest" if len(names) < _PER_INCH * tall / 1.5 else "antialiased",
        extent=(edges[0], edges[-1], len(names) - 0.5, -0.5),
    )  # fmt: skip
    if missing.any():
        hatch_paper(ax)
    time_axis(ax, traces, [edges])
    marked = {} if stimuli is None else {"stimulus": shade_stimuli(ax, stimuli, verb, above=True)}
    name_rows(ax, np.arange(len(names)), names)
    words = {"peak": ", by time of peak", "activity": ", most active first"}.get(order, "")
    ax.set_ylabel(ax.get_ylabel() + words)
    plain_axes(ax)
    bar_beside(ax, shown, label(traces) if not several else _reduced(traces, reduce, edges))
    head(ax, capitalised(name_of(traces, "traces")) if title is None else title, marked)
    return ax


def _height(rows: int) -> float:
    """Return how high a figure of so many rows is, in inches."""
    return 1.0 + min(6.5, max(1.2, 0.2 * rows))


def _one_per_column(
    row: np.ndarray, at: np.ndarray, limits: tuple[float, float]
) -> tuple[np.ndarray, np.ndarray]:
    """Leave out events that the one before them in the same column of pixels hides."""
    column = ((at - limits[0]) * (_COLUMNS / max(limits[1] - limits[0], 1e-12))).astype(np.int64)
    _, first = np.unique(row * (_COLUMNS + 1) + column, return_index=True)
    return row[first], at[first]


def _binned(
    values: np.ndarray, times: np.ndarray, columns: int, reduce: str
) -> tuple[np.ndarray, np.ndarray, bool]:
    """Put samples into columns of one length, which are NaN where there is no sample.

    Returns the columns, their borders in s, and whether several samples share a column.
    """
    order = np.argsort(times, kind="stable")
    if (np.diff(order) != 1).any():
        values, times = values[:, order], times[order]
    steps = np.diff(times)
    # Jitter shifts the median by more than the mean; gaps belong into neither.
    usual = steps[steps < (1 + model.GAP) * np.median(steps)] if steps.size else steps
    step = float(usual.mean()) if usual.size else 1.0
    span = float(times[-1] - times[0]) + step
    count = int(np.clip(round(span / step), 1, columns)) if step > 0 else 1
    edges = times[0] + np.arange(count + 1) * (span / count)
    # Half a step later: jitter must not carry a sample into the column before.
    column = ((times - times[0] + step / 2) * (count / span)).astype(np.int64)
    column = np.minimum(column, count - 1)
    starts = np.flatnonzero(np.diff(column, prepend=-1))
    binned = np.full((len(values), count), np.nan)
    binned[:, column[starts]] = _reduce(values, np.append(starts, times.size), reduce)
    return binned, edges, starts.size < times.size


def _reduce(values: np.ndarray, edges: np.ndarray, reduce: str) -> np.ndarray:
    """Return the highest or the mean finite sample of each column."""
    if values.dtype.kind != "f":
        values = values.astype(np.float64)
    if reduce == "max":
        found = samples_at(values, extreme_samples(values, edges))
        return np.fmax(found[:, ::2], found[:, 1::2])
    there = np.isfinite(values)
    total = np.add.reduceat(np.where(there, values, 0), edges[:-1], axis=1, dtype=np.float64)
    count = np.add.reduceat(there, edges[:-1], axis=1, dtype=np.int64)
    return np.where(count > 0, total / np.maximum(count, 1), np.nan)


def _order(values: np.ndarray, order: str) -> np.ndarray:
    """Return the rows in the order in which they are drawn, those without a sample last."""
    there = np.isfinite(values)
    if order == "peak":
        key = np.argmax(np.where(there, values, -np.inf), axis=1).astype(np.float64)
    else:
        total = np.where(there, values, 0).sum(axis=1)
        key = -total / np.maximum(there.sum(axis=1), 1)
    key[~there.any(axis=1)] = np.inf
    return np.argsort(key, kind="stable")


def _reduced(traces: xr.DataArray, reduce: str, edges: np.ndarray) -> str:
    """Return the label of a colour bar where columns hold several samples."""
    words = {"max": "highest", "mean": "mean"}[reduce]
    name = f"{name_of(traces, 'traces')}, {words} in {edges[1] - edges[0]:.2g} s"
    return with_units(name, traces.attrs.get("units"))
