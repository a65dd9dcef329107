"""Traces, one below the other or over each other, with events, spikes and stimuli."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, get_args

import dask
import numpy as np
import xarray as xr

from calscipy import model
from calscipy.errors import ArgumentError, first_few
from calscipy.plotting.curves import curves_of, draw_curves
from calscipy.plotting.parts import (
    axes_or_new,
    capitalised,
    head,
    ink,
    line_mark,
    plain,
    plain_axes,
    short_name,
)
from calscipy.plotting.series import (
    Rows,
    chosen,
    event_mark,
    event_points,
    refuse_static,
    require_rows,
    row_names,
    rows_of,
    shade_stimuli,
    time_axis,
)
from calscipy.plotting.stacked import VERB, draw_spikes, draw_stacked
from calscipy.plotting.style import FONT, colour, label, name_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Mode = Literal["stacked", "overlay"]
Traces = xr.DataArray | Mapping[str, xr.DataArray] | Sequence[xr.DataArray]

_OVERLAID = 200  # neurons at most that are drawn in one place
_NAMED = 8  # neurons that a legend names


def plot_traces(
    traces: xr.DataArray,
    *,
    neurons: Sequence[Any] | None = None,
    events: xr.DataArray | None = None,
    spikes: xr.DataArray | None = None,
    stimuli: xr.Dataset | None = None,
    others: Traces | None = None,
    mode: Mode | None = None,
    interactive: bool = False,
    title: str | None = None,
    ax: Axes | None = None,
) -> Axes:
    """Draw traces with their events, spikes and stimuli; what is drawn of lazy ones is computed.

    Long traces are thinned out for display in a way that keeps every peak. No line leads over the
    border of an epoch, over missing times or over NaN. Of several hundred
    neurons, :func:`plot_heatmap` shows more.

    Parameters
    ----------
    traces : DataArray
        Traces ``(neuron, time)``, or ``(time,)`` of one neuron.
    neurons : sequence, optional
        Labels of the neurons to draw, in this order; all by default.
    events : DataArray, optional
        Boolean onsets ``(neuron, time)``, drawn as ticks.
    spikes : DataArray, optional
        Inferred spikes or their probability ``(neuron, time)``, drawn below each trace, from 0 to
        the highest one of all neurons.
    stimuli : Dataset or array_like, optional
        A session's ``stimulus``, with ``onset`` and ``duration`` in s, or onsets; shaded.
    others : DataArray, mapping of str to DataArray, or sequence, optional
        Further traces of the same neurons in the same units, drawn over the first ones, such as a
        baseline. A mapping names them; their ``long_name`` does by default.
    mode : {"stacked", "overlay"}, optional
        One neuron below the other, each less its median, with a bar for the height: the default.
        Or all in one place, with an axis for the values.
    interactive : bool, default False
        Make a page that shows one neuron at a time instead, with all that is given but stimuli,
        see :func:`calscipy.plotting.interactive.view_traces` for this and for its ``mode``.
    title : str, optional
        By default the ``long_name`` of the traces.
    ax : matplotlib.axes.Axes, optional
        Where to draw; by default in a new figure, which pyplot does not know.

    Returns
    -------
    matplotlib.axes.Axes
        Save it with ``calscipy.plotting.save_figure(axes.figure, path)``. With
        ``interactive=True``, what ``view_traces`` returns.

    Raises
    ------
    DimensionError
        For traces with further dimensions, such as channels.
    ArgumentError
        For neurons that there are not, and for others in other units.

    Examples
    --------
    >>> from calscipy.testing import synthetic_traces
    >>> truth = synthetic_traces(neurons=3, duration=20.0)
    >>> axes = plot_traces(truth.dfof, events=truth.events)
    >>> axes.get_xlabel(), [text.get_text() for text in axes.get_yticklabels()]
    ('time [s]', ['0', '1', '2'])
    """
    if mode is not None and mode not in get_args(Mode):
        raise ArgumentError(f"{VERB}: mode must be one of {get_args(Mode)}, got {mode!r}")
    traces = chosen(_traces(traces), neurons, VERB)
    more = _named(others, traces)
    stacked = mode != "overlay"
    if not (stacked or interactive) and traces.sizes[model.NEURON] > _OVERLAID:
        raise ArgumentError(
            f"{VERB}(mode='overlay') draws up to {_OVERLAID} neurons, got "
            f"{traces.sizes[model.NEURON]}: more cannot be told apart. Name some with neurons=, or "
            "draw all with plot_heatmap."
        )
    beside = [None if own is None else _beside(own, traces) for own in (events, spikes)]
    if interactive:
        refuse_static(VERB, stimuli=stimuli, ax=ax)
        return _view(traces, more, beside, mode, title)
    traces, more, (events, spikes) = dask.compute(traces, more, beside)
    sets = {name_of(traces, "traces"): rows_of(traces, VERB)}
    sets |= {name: rows_of(own, VERB) for name, own in more.items()}
    count = traces.sizes[model.NEURON]
    lanes = sum(own is not None for own in (events, spikes))
    each = max(0.42, min(1.0, 4.0 / count)) * (1 + 0.25 * lanes)
    height = 0.9 + min(8.6, max(1.6, each * count)) if stacked else 4.2
    ax = axes_or_new(ax, 10.5, height)
    time_axis(ax, traces, [own.times for own in sets.values()])
    shaded = {} if stimuli is None else {"stimulus": shade_stimuli(ax, stimuli, VERB)}
    draw = draw_stacked if stacked else _draw_overlaid
    handles = draw(ax, traces, sets, events=events, spikes=spikes) | shaded
    words = capitalised(name_of(traces, "traces")) if stacked else ""
    head(ax, words if title is None else title, handles)
    return ax


def _view(
    traces: xr.DataArray,
    more: Mapping[str, xr.DataArray],
    beside: Sequence[xr.DataArray | None],
    mode: Mode | None,
    title: str | None,
) -> Any:
    """Make a page of all data sets, each in a panel of its own if their units differ."""
    from calscipy.plotting.interactive import view_traces

    sets = [(name_of(traces, "traces"), traces), *more.items()]
    sets += [(name_of(own, "events"), own) for own in beside if own is not None]
    units = {own.attrs.get("units", "1") for _, own in sets if own.dtype != bool}
    return view_traces(
        *(own for _, own in sets),
        names=[name for name, _ in sets],
        mode=mode or ("overlay" if len(units) == 1 else "stacked"),
        title=name_of(traces, "traces") if title is None else title,
    )


def _traces(traces: Any) -> xr.DataArray:
    traces = require_rows(traces, VERB, "traces")
    if traces.dtype == bool:
        raise ArgumentError(f"{VERB} needs numbers, got booleans. Draw events with plot_raster.")
    return traces


def _beside(data: Any, traces: xr.DataArray) -> xr.DataArray:
    """Return the rows of events or spikes that belong to the neurons drawn."""
    data = require_rows(data, VERB, "events and spikes")
    known, drawn = row_names(data), set(row_names(traces))
    keep = [at for at, name in enumerate(known) if name in drawn]
    if not keep:
        raise ArgumentError(
            f"{VERB}: the events or spikes are of the neurons {first_few(known)}, none of which "
            "is drawn."
        )
    return data.isel({model.NEURON: keep})


def _named(others: Traces | None, traces: xr.DataArray) -> dict[str, xr.DataArray]:
    """Return further traces by their names, of the neurons drawn."""
    if others is None:
        return {}
    if isinstance(others, xr.DataArray):
        others = [others]
    main = name_of(traces, "traces")
    if not isinstance(others, Mapping):
        others = dict(zip(_distinct(main, others), others, strict=True))
    units = traces.attrs.get("units", "1")
    found = {}
    for name, own in others.items():
        if own.attrs.get("units", "1") != units:
            raise ArgumentError(
                f"{VERB}: the traces are in {units!r}, but {name!r} of others= is in "
                f"{own.attrs.get('units', '1')!r}. Draw them in axes of their own (ax=)."
            )
        if name == main:
            raise ArgumentError(
                f"{VERB}: the traces and one of others= are both called {name!r}. Give the "
                "other one another name."
            )
        found[name] = chosen(_traces(own), row_names(traces), VERB)
    return found


def _distinct(main: str, others: Sequence[xr.DataArray]) -> list[str]:
    """Return what further traces are called, with a number where the name is taken."""
    names = [main]
    for own in others:
        name, number = name_of(own, "traces"), 2
        while name in names:
            name, number = f"{name_of(own, 'traces')} ({number})", number + 1
        names.append(name)
    return names[1:]


def _draw_overlaid(
    axis: Axes,
    traces: xr.DataArray,
    sets: Mapping[str, Rows],
    *,
    events: xr.DataArray | None = None,
    spikes: xr.DataArray | None = None,
) -> dict[str, Any]:
    """Draw all traces in one place, and return what a legend shows, by name."""
    names = next(iter(sets.values())).names
    count = len(names)
    drawn = [curves_of(axis, own) for own in sets.values()]
    low = min(float(np.nanmin(own.low, initial=np.inf)) for own in drawn)
    high = max(float(np.nanmax(own.high, initial=-np.inf)) for own in drawn)
    if high <= low:  # one value, or none at all
        low, high = (low - 0.5, low + 0.5) if high == low else (0.0, 1.0)
    lanes = (events is not None) + (spikes is not None)
    lane = 0.1 * (high - low)
    bottom = low - lanes * lane
    axis.set_ylim(bottom - 0.03 * (high - low), high + 0.03 * (high - low))
    handles: dict[str, Any] = {}
    for at, (name, own) in enumerate(zip(sets, drawn, strict=True)):
        shades = [colour(row if len(sets) == 1 else at) for row in range(count)]
        draw_curves(axis, own, shades, alpha=1 if count <= _NAMED else 0.6)
        if len(sets) > 1:
            handles[name] = line_mark(colour(at))
    if len(sets) == 1 and 1 < count <= _NAMED:
        handles = {
            f"neuron {short_name(name)}": line_mark(colour(at)) for at, name in enumerate(names)
        }
    if events is not None:
        row, when = event_points(events, names, VERB)
        axis.scatter(
            when, np.full(when.size, bottom + (lanes - 0.5) * lane), marker="|", s=40,
            color=[colour(own) if count > 1 else ink() for own in row],
        ).set_gid("events")  # fmt: skip
        handles["onset detected"] = event_mark()
    if spikes is not None:
        handles |= draw_spikes(axis, names, np.full(count, bottom), 0.85 * lane, spikes)
    axis.set_ylabel(plain(label(traces, "traces")), fontsize=FONT)
    plain_axes(axis)
    return handles
