"""Traces, one below the other or over each other, with events, spikes and stimuli."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, get_args

import dask
import numpy as np
import xarray as xr

from calscipy import model
from calscipy.errors import ArgumentError, first_few
from calscipy.plotting.decimate import decimate_exactly
from calscipy.plotting.parts import (
    axes_or_new,
    capitalised,
    finite_median,
    head,
    ink,
    line_mark,
    name_rows,
    nice_length,
    plain_axes,
    short_name,
    size_inches,
)
from calscipy.plotting.series import (
    Rows,
    chosen,
    columns_for,
    event_mark,
    event_points,
    refuse_static,
    require_rows,
    row_names,
    rows_of,
    shade_stimuli,
    time_axis,
)
from calscipy.plotting.style import DASHES, FONT, GREY, amount, colour, label, name_of, units_text

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Mode = Literal["stacked", "overlay"]
Traces = xr.DataArray | Mapping[str, xr.DataArray] | Sequence[xr.DataArray]

_COLOURED = 100  # neurons: more of them have thin lines and names in one colour
_LONGEST_NAME = 24  # letters of what a legend calls spikes
_TALL = 9.0  # points that the usual trace is high at least; those of many neurons overlap
_NAMED = 8  # neurons that a legend names
_LANE = 0.22  # height of the lane for events or spikes, as a share of a trace's
_SAMPLED = 2001  # samples at most that the level of a trace is taken from
VERB = "plot_traces"


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
    border of an epoch, over missing times or over NaN. Traces of several hundred neurons overlap:
    :func:`plot_heatmap` shows more of them.

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
        Save it with ``save_figure(axes.figure, path)``. With ``interactive=True``, what
        ``view_traces`` returns.

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
    beside = [None if own is None else _beside(own, traces) for own in (events, spikes)]
    if interactive:
        refuse_static(VERB, stimuli=stimuli, ax=ax)
        return _view(traces, more, beside, mode, title)
    traces, more, (events, spikes) = dask.compute(traces, more, beside)
    sets = {name_of(traces, "traces"): rows_of(traces, VERB)}
    sets |= {name: rows_of(own, VERB) for name, own in more.items()}
    count = traces.sizes[model.NEURON]
    stacked = mode != "overlay"
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

    sets = {name_of(traces, "traces"): traces, **more}
    sets |= {name_of(own, "events and spikes"): own for own in beside if own is not None}
    units = {own.attrs.get("units", "1") for own in sets.values() if own.dtype != bool}
    return view_traces(
        *sets.values(),
        names=list(sets),
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
    if not isinstance(others, Mapping):
        others = {name_of(own, f"traces {at}"): own for at, own in enumerate(others, 2)}
    units = traces.attrs.get("units", "1")
    found = {}
    for name, own in others.items():
        if own.attrs.get("units", "1") != units:
            raise ArgumentError(
                f"{VERB}: the traces are in {units!r}, but {name!r} of others= is in "
                f"{own.attrs.get('units', '1')!r}. Draw them in axes of their own (ax=)."
            )
        if name == name_of(traces, "traces") or name in found:
            raise ArgumentError(
                f"{VERB}: several traces are called {name!r}. Name them: others={{'raw': ...}}."
            )
        found[name] = chosen(_traces(own), row_names(traces), VERB)
    return found


def draw_stacked(
    axis: Axes,
    traces: xr.DataArray,
    sets: Mapping[str, Rows],
    *,
    colours: Sequence[str] | None = None,
    events: xr.DataArray | None = None,
    truth: xr.DataArray | None = None,
    spikes: xr.DataArray | None = None,
) -> dict[str, Any]:
    """Draw traces one below the other, and return what a legend shows, by name.

    Parameters
    ----------
    axis : matplotlib.axes.Axes
        Whose limits along time are set.
    traces : DataArray
        The first of the sets, for its names and units.
    sets : mapping of str to Rows
        Traces of the same neurons, each drawn over those before.
    colours : sequence of str, optional
        Colour of each neuron, for a single set.
    events, truth : DataArray, optional
        Onsets found, and the true ones, where they are known.
    spikes : DataArray, optional
        Spikes, drawn in a lane below each trace.
    """
    names = next(iter(sets.values())).names
    count = len(names)
    many = count > _COLOURED
    if colours is None and len(sets) == 1:
        colours = [ink() if many else colour(at) for at in range(count)]
    thin = [thinned(own, count) for own in sets.values()]
    levels = _levels(next(iter(sets.values())).values)
    cell = _cell(
        thin[0][1], levels, (events is not None or truth is not None) + (spikes is not None)
    )
    floors = -np.arange(count) * _apart(axis, cell, count)
    handles: dict[str, Any] = {}
    for at, (name, (times, values)) in enumerate(zip(sets, thin, strict=True)):
        shades = [colour(at)] * count if len(sets) > 1 else list(colours or [])
        drawn = draw_lines(axis, times, values - levels[:, None] + floors[:, None], shades, name)
        if len(sets) > 1:
            handles[name] = drawn
    top = np.nanmax(thin[0][1] - levels[:, None] + floors[:, None], initial=cell.up)
    low = floors[-1] - cell.down - cell.lanes * cell.lane
    margin = 0.02 * (top - low)
    axis.set_ylim(low - margin, top + margin)
    lane = floors - cell.down - 0.5 * cell.lane
    handles |= _draw_events(axis, names, lane, cell.lane, events, truth)
    if spikes is not None:
        below = floors - cell.down - cell.lanes * cell.lane
        handles |= _draw_spikes(axis, names, below, 0.8 * cell.lane, spikes)
    name_rows(axis, floors, names, colours=None if many else colours)
    plain_axes(axis)
    axis.spines["left"].set_visible(False)
    axis.tick_params(axis="y", length=0, labelsize=FONT)
    _height_bar(axis, traces, cell.up + cell.down)
    return handles


class _Cell(NamedTuple):
    """Room for one trace: above and below its level, and for lanes of marks under it."""

    up: float
    down: float
    lane: float
    lanes: int

    @property
    def height(self) -> float:
        return self.up + self.down + self.lanes * self.lane


def _cell(values: np.ndarray, levels: np.ndarray, lanes: int) -> _Cell:
    """Make room for the usual trace; only what is higher than usual reaches into others."""
    there = np.isfinite(values).any(axis=1)
    if not there.any():
        return _Cell(1.0, 0.0, _LANE, lanes)
    apart = values[there] - levels[there, None]
    up = float(np.median(np.nanmax(apart, axis=1)))
    down = -float(np.median(np.nanmin(apart, axis=1)))
    if not up + down > 0:
        up = 1.0
    up, down = 1.05 * up, 1.05 * down
    return _Cell(up, down, _LANE * (up + down), lanes)


def _apart(axis: Axes, cell: _Cell, count: int) -> float:
    """Return how far one trace is drawn below the other: less than it is high for very many."""
    room = size_inches(axis)[1] * 72
    # With n traces, each a share s below the one before, the figure is ((n - 1) s + 1) high.
    share = (room / _TALL - 1) / max(count - 1, 1)
    return cell.height * float(np.clip(share, 0.05, 1.0))


def _levels(values: np.ndarray) -> np.ndarray:
    """Return the medians of traces, of some thousand samples of long ones; 0 without any."""
    step = max(1, values.shape[1] // _SAMPLED)
    levels = [finite_median(row[::step]) for row in values]
    # Those whose few samples were all missing are looked at as a whole.
    return np.array(
        [level or finite_median(row) for level, row in zip(levels, values, strict=True)]
    )


def thinned(rows: Rows, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Thin out traces for a figure of so many rows: times and values ``(rows, points)``."""
    values = rows.values if rows.values.dtype.kind == "f" else rows.values.astype(np.float64)
    times, found = decimate_exactly(values, rows.times, columns_for(count), breaks=rows.breaks)
    return times, found.astype(np.float64)


def draw_lines(
    axis: Axes, times: np.ndarray, values: np.ndarray, colours: Sequence[str], name: str
) -> Any:
    """Draw one line for each row; missing samples interrupt it, lone ones are dots."""
    from matplotlib.collections import LineCollection

    drawn = LineCollection(
        list(np.stack([times, values], axis=-1)), colors=list(colours), label=name,
        linewidths=0.9 if len(values) <= _COLOURED else 0.25, joinstyle="bevel",
    )  # fmt: skip
    drawn.set_gid("traces")
    axis.add_collection(drawn, autolim=False)
    row, at = np.nonzero(_lone(values))
    if row.size:
        axis.scatter(
            times[row, at],
            values[row, at],
            s=3,
            color=[colours[int(own)] for own in row],
            linewidths=0,
        ).set_gid("lone samples")
    return drawn


def _lone(values: np.ndarray) -> np.ndarray:
    """Tell which samples have no neighbour to be joined with by a line."""
    there = np.pad(np.isfinite(values), ((0, 0), (1, 1)))
    return there[:, 1:-1] & ~there[:, :-2] & ~there[:, 2:]


def _draw_events(
    axis: Axes,
    names: Sequence[Any],
    lane: np.ndarray,
    height: float,
    events: xr.DataArray | None,
    truth: xr.DataArray | None,
) -> dict[str, Any]:
    """Draw onsets as ticks in lanes, true ones as circles around them."""
    low, high = axis.get_ylim()
    points = size_inches(axis)[1] * 72 * height / (high - low)
    tick: dict[str, Any] = {
        "marker": "|", "ls": "", "color": ink(), "mew": 1.6 if points > 4 else 0.8,
        "ms": float(np.clip(0.9 * points, 2, 8)),
    }  # fmt: skip
    ring: dict[str, Any] = {
        "marker": "o", "ls": "", "mfc": "none", "mec": GREY, "mew": 1.1,
        "ms": float(np.clip(0.8 * points, 2, 7)),
    }  # fmt: skip
    handles = {}
    for data, style, word in (
        (truth, ring, "true onset of a burst"),
        (events, tick, "onset detected"),
    ):
        if data is not None:
            row, at = event_points(data, names, VERB)
            (drawn,) = axis.plot(at, lane[row], **style)
            drawn.set_gid("events" if data is events else "true events")
            handles[word] = event_mark(**{**style, "ms": 7})
    return dict(reversed(handles.items()))


def _draw_spikes(
    axis: Axes, names: Sequence[Any], below: np.ndarray, height: float, spikes: xr.DataArray
) -> dict[str, Any]:
    """Draw spikes upwards from the bottom of each lane, all on one scale."""
    rows = rows_of(spikes, VERB)
    times, values = thinned(rows, len(names))
    highest = float(np.nanmax(values, initial=0.0))
    where = [list(names).index(name) for name in rows.names]
    scaled = values * (height / (highest or 1.0)) + below[where, None]
    drawn = draw_lines(axis, times, scaled, [ink()] * len(scaled), "spikes")
    drawn.set_gid("spikes")
    drawn.set_linewidth(0.7)
    most = amount(float(f"{highest:.3g}"), spikes.attrs.get("units"))
    name = name_of(spikes, "spikes")
    return {f"{name if len(name) <= _LONGEST_NAME else 'spikes'}, 0 to {most}": drawn}


def _height_bar(axis: Axes, traces: xr.DataArray, height: float) -> None:
    """Say at the right how high the traces are."""
    low, high = axis.get_ylim()
    length = nice_length(max(0.8 * height, 0.08 * (high - low)))
    units = traces.attrs.get("units", "1")
    text = amount(length, units)
    if not units_text(units):
        text = f"{text} {short_name(name_of(traces), 18)}".strip()
    across, middle = axis.get_yaxis_transform(), (low + high) / 2
    ends = [middle - length / 2, middle + length / 2]
    (bar,) = axis.plot([1.012, 1.012], ends, color=ink(), lw=2, transform=across, clip_on=False,
                       solid_capstyle="butt")  # fmt: skip
    bar.set_gid("height bar")
    axis.text(1.02, middle, text, rotation=90, va="center", fontsize=FONT, transform=across)
    axis.set_ylim(low, high)


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
    thin = [thinned(own, count) for own in sets.values()]
    by_set = len(sets) > 1 and count == 1
    handles: dict[str, Any] = {}
    for at, (name, (times, values)) in enumerate(zip(sets, thin, strict=True)):
        shades = [colour(at if by_set else row) for row in range(count)]
        drawn = draw_lines(axis, times, values, shades, name)
        drawn.set(linestyle=DASHES[0 if by_set else at % len(DASHES)])
        drawn.set(alpha=1 if count <= _COLOURED else 0.5)
        if len(sets) > 1:
            handles[name] = line_mark(shades[0] if by_set else ink(), drawn.get_linestyle()[0])
    low = min(float(np.nanmin(own, initial=np.inf)) for _, own in thin)
    high = max(float(np.nanmax(own, initial=-np.inf)) for _, own in thin)
    if high <= low:  # one value, or none at all
        low, high = (low - 0.5, low + 0.5) if high == low else (0.0, 1.0)
    lanes = (events is not None) + (spikes is not None)
    lane = 0.1 * (high - low)
    bottom = low - lanes * lane
    axis.set_ylim(bottom - 0.03 * (high - low), high + 0.03 * (high - low))
    if 1 < count <= _NAMED:
        handles |= {
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
        handles |= _draw_spikes(axis, names, np.full(count, bottom), 0.85 * lane, spikes)
    axis.set_ylabel(label(traces, "traces"), fontsize=FONT)
    plain_axes(axis)
    return handles
