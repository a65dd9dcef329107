"""Pages: how good traces are, and what the methods make of their baseline."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import dask
import numpy as np
import xarray as xr

from calscipy import model, ops
from calscipy.errors import ArgumentError
from calscipy.plotting.curves import COLUMNS, curves_of, draw_curves
from calscipy.plotting.decimate import decimate
from calscipy.plotting.parts import (
    capitalised,
    figure_or_new,
    head,
    ink,
    line_mark,
    plain,
    plain_axes,
    short_name,
)
from calscipy.plotting.series import chosen, require_rows, row_names, rows_of, time_axis
from calscipy.plotting.stacked import draw_stacked
from calscipy.plotting.style import (
    COLOURS,
    DASHES,
    FONT,
    SINGLE_COLOUR,
    colour,
    label,
    name_of,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure, SubFigure

METHODS = ("low_pass", "rolling_percentile", "inactive_frames")
Methods = Sequence[str] | Mapping[str, Mapping[str, Any]]

_COLUMNS = ("snr", "noise", "skewness", "drift", "event_rate", "missing", "saturated")
_MOST_NEURONS = 4


def plot_quality(
    traces: xr.DataArray,
    events: xr.DataArray | None = None,
    *,
    saturation: float | None = None,
    title: str | None = None,
    figure: Figure | SubFigure | None = None,
) -> Figure:
    r"""Draw the quality of every trace, and the best, a usual and the worst one; all is computed.

    Parameters
    ----------
    traces : DataArray
        Traces ``(neuron, time)`` in any units, evenly sampled.
    events : DataArray, optional
        Boolean event onsets ``(neuron, time)`` of the same neurons and times.
    saturation : float, optional
        Value at which the detector or the converter saturates, in the units of the traces.
    title : str, optional
        By default how many traces there are.
    figure : matplotlib.figure.Figure, optional
        Where to draw; by default a new figure, which pyplot does not know.

    Returns
    -------
    matplotlib.figure.Figure
        A panel for each column of :func:`calscipy.quality`, and one for the traces of the highest,
        the median and the lowest signal to noise. Save it with
        ``calscipy.plotting.save_figure(figure, path)``.

    Examples
    --------
    >>> from calscipy.testing import synthetic_traces
    >>> figure = plot_quality(synthetic_traces(neurons=5, duration=60.0).traces)
    >>> figure.axes[0].get_title(), figure.axes[-1].get_xlabel()
    ('peaks over noise\nmedian 6.76', 'time [s]')
    """
    traces = require_rows(traces, "plot_quality", "traces")
    if events is not None:
        events = require_rows(events, "plot_quality", "events")
    table = ops.quality(traces, events, saturation=saturation)
    traces, events, table = dask.compute(traces, events, table)
    columns = [name for name in _COLUMNS if name in table]
    names = row_names(traces)
    page = figure_or_new(figure, 11.0, 6.4)
    grid = page.add_gridspec(2, len(columns), height_ratios=(1.1, 1.0))
    for at, name in enumerate(columns):
        _draw_column(page.add_subplot(grid[0, at]), table[name])
    axis = page.add_subplot(grid[1, :])
    _draw_examples(axis, traces, events, table["snr"].values)
    if title is None:
        span = np.ptp(model.seconds(traces, "plot_quality")) + 1 / model.frame_rate(traces)
        count = "1 trace" if len(names) == 1 else f"{len(names)} traces"
        title = f"Quality of {count} of {span:.4g} s"
    page.suptitle(plain(title), fontsize=FONT + 2, x=0.01, ha="left")
    return page


def _draw_column(axis: Axes, column: xr.DataArray) -> None:
    """Draw the values of all neurons from the lowest to the highest, with their median."""
    from matplotlib.ticker import MaxNLocator

    values = np.asarray(column.values, dtype=float)
    known = np.sort(values[np.isfinite(values)])
    words = textwrap.fill(plain(label(column)), 20)
    axis.set_xlabel("neurons, sorted", fontsize=FONT)
    plain_axes(axis)
    if not known.size:
        axis.set_title(f"{words}\nnot known", fontsize=FONT)
        axis.set(xticks=[], yticks=[])
        return
    middle = float(np.median(known))
    axis.set_title(f"{words}\nmedian {middle:.3g}", fontsize=FONT)
    axis.axhline(middle, color=ink(), lw=0.8, ls="--", zorder=0.5)
    size = float(np.clip(400 / known.size, 4, 16))
    axis.scatter(np.arange(1, known.size + 1), known, s=size, color=COLOURS[0], linewidths=0)
    axis.set_xlim(0.5 - 0.04 * known.size, known.size + 0.5 + 0.04 * known.size)
    if known.size > 1:
        axis.xaxis.set_major_locator(MaxNLocator(nbins=4, integer=True))
    else:
        axis.set_xticks([1])
    if known[0] < known[-1]:
        axis.yaxis.set_major_locator(MaxNLocator(nbins=5))
    else:
        axis.set_yticks([middle], [f"{middle:.3g}"])
    if known.size < values.size:
        lacking = f"({values.size - known.size} not known)"
        axis.set_xlabel(f"neurons, sorted\n{lacking}", fontsize=FONT)


def _draw_examples(
    axis: Axes, traces: xr.DataArray, events: xr.DataArray | None, snr: np.ndarray
) -> None:
    """Draw the traces of the highest, the median and the lowest signal to noise."""
    order = np.argsort(-np.where(np.isfinite(snr), snr, -np.inf), kind="stable")
    places = dict.fromkeys([0, len(order) // 2, len(order) - 1])
    some = [int(order[at]) for at in places]
    shown = traces.isel({model.NEURON: some})
    rows = rows_of(shown, "plot_quality")
    time_axis(axis, shown, [rows.times])
    mine = None if events is None else events.isel({model.NEURON: some})
    handles = draw_stacked(axis, shown, {"traces": rows}, events=mine)
    named = [
        f"{short_name(name, 12)}: {snr[at]:.3g}" for name, at in zip(rows.names, some, strict=True)
    ]
    axis.set_yticks(axis.get_yticks(), named)
    axis.set_ylabel("neuron: peaks over noise", fontsize=FONT)
    words = ": highest, median and lowest peaks over noise" if len(some) > 2 else ""
    head(axis, capitalised(name_of(traces, "traces")) + words, handles)


def plot_baseline(
    traces: xr.DataArray,
    *,
    methods: Methods = METHODS,
    neurons: Sequence[Any] | None = None,
    title: str | None = None,
    figure: Figure | SubFigure | None = None,
) -> Figure:
    """Draw traces with F0 as several methods find it; those of the neurons drawn are computed.

    Parameters
    ----------
    traces : DataArray
        Traces ``(neuron, time)``, as they were extracted.
    methods : sequence of str or mapping, optional
        Methods of :func:`calscipy.baseline`. A mapping gives each line's name the arguments of
        its method: ``{"30 s": {"method": "rolling_percentile", "window": 30}}``.
    neurons : sequence, optional
        Labels of the neurons to draw, a panel each. By default the first four; the title says how
        many there are.
    title : str, optional
        Title at the top.
    figure : matplotlib.figure.Figure, optional
        Where to draw; by default a new figure, which pyplot does not know.

    Returns
    -------
    matplotlib.figure.Figure
        Save it with ``calscipy.plotting.save_figure(figure, path)``.

    Raises
    ------
    ArgumentError
        For methods that there are not, or more than seven.

    Examples
    --------
    >>> from calscipy.testing import synthetic_traces
    >>> traces = synthetic_traces(neurons=2, duration=60.0, drift=0.2).traces
    >>> figure = plot_baseline(traces, methods=["low_pass", "median"])
    >>> [text.get_text() for text in figure.axes[0].get_legend().get_texts()]
    ['fluorescence', 'low_pass', 'median']
    """
    verb = "plot_baseline"
    traces = require_rows(traces, verb, "traces")
    total = traces.sizes[model.NEURON]
    traces = chosen(traces, neurons, verb)
    if neurons is None:
        traces = traces.isel({model.NEURON: slice(_MOST_NEURONS)})
    if not isinstance(methods, Mapping):
        methods = {name: {"method": name} for name in methods}
    if not 0 < len(methods) <= len(COLOURS):
        raise ArgumentError(
            f"{verb} draws one to {len(COLOURS)} methods, got {len(methods)}: more lines "
            "cannot be told apart."
        )
    lazy = {name: ops.baseline(traces, **arguments) for name, arguments in methods.items()}
    traces, found = dask.compute(traces, lazy)
    count = traces.sizes[model.NEURON]
    page = figure_or_new(figure, 10.5, 1.2 + min(9.0, 2.0 * count))
    panels = page.subplots(count, sharex=True, squeeze=False)[:, 0]
    name = name_of(traces, "traces")
    handles = {name: line_mark(SINGLE_COLOUR)}
    for at, axis in enumerate(panels):
        part = {model.NEURON: slice(at, at + 1)}
        rows = rows_of(traces.isel(part), verb)
        time_axis(axis, traces, [rows.times])
        _reach_over(axis, [own.isel(part).values for own in (traces, *found.values())])
        draw_curves(axis, curves_of(axis, rows), [SINGLE_COLOUR])
        for number, (word, own) in enumerate(found.items()):
            shade, dashes = colour(number), DASHES[number % len(DASHES)]
            mine = rows_of(own.isel(part), verb)
            when, values = decimate(mine.values, mine.times, COLUMNS, breaks=mine.breaks)
            (line,) = axis.plot(when, values[0], color=shade, ls=dashes, lw=1.7)
            line.set_gid("baseline")
            handles[word] = line_mark(shade, dashes)
        axis.set_title(f"neuron {short_name(rows.names[0])}", fontsize=FONT, loc="left")
        plain_axes(axis)
        axis.label_outer()
    head(panels[0], f"neuron {short_name(row_names(traces)[0])}", handles)
    page.supylabel(plain(label(traces, "traces")), fontsize=FONT)
    if title is None and count < total and neurons is None:
        title = f"First {count} of {total} neurons"
    if title:
        page.suptitle(plain(title), fontsize=FONT + 1, x=0.01, ha="left")
    return page


def _reach_over(axis: Axes, data: Sequence[np.ndarray]) -> None:
    """Let the axis reach from the lowest to the highest sample."""
    finite = [own[np.isfinite(own)] for own in data]
    ends = [end for own in finite if own.size for end in (float(own.min()), float(own.max()))]
    if ends and min(ends) < max(ends):
        margin = 0.04 * (max(ends) - min(ends))
        axis.set_ylim(min(ends) - margin, max(ends) + margin)
