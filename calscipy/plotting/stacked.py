"""Traces one below the other, with lanes of events and spikes under each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import xarray as xr

from calscipy.plotting.curves import Curves, curves_of, draw_curves
from calscipy.plotting.parts import (
    ink,
    line_mark,
    name_rows,
    nice_length,
    plain,
    plain_axes,
    short_name,
    size_inches,
)
from calscipy.plotting.series import Rows, event_mark, event_points, rows_of
from calscipy.plotting.style import FONT, GREY, amount, colour, name_of, units_text

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_COLOURED = 100  # neurons: more of them are drawn in one colour
_LONGEST_NAME = 24  # letters of what a legend calls spikes
_THICK, _THIN = 0.9, 0.12  # width of lines: in points, and at most as a share of a row's height
_LANE = 0.22  # height of the lane for events or spikes, as a share of a trace's
_SAMPLED = 2001  # samples at most that the level of a trace is taken from
VERB = "plot_traces"


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
    levels = _levels(next(iter(sets.values())).values)
    drawn = [curves_of(axis, own).moved(-levels) for own in sets.values()]
    cell = _cell(drawn[0], (events is not None or truth is not None) + (spikes is not None))
    floors = -np.arange(count) * cell.height
    drawn = [own.moved(floors) for own in drawn]
    top = np.nanmax(drawn[0].high, initial=cell.up)
    low = floors[-1] - cell.down - cell.lanes * cell.lane
    margin = 0.02 * (top - low)
    axis.set_ylim(low - margin, top + margin)
    row = size_inches(axis)[1] * 72 * cell.height / (top - low)  # points
    width = min(_THICK, _THIN * row)
    handles: dict[str, Any] = {}
    for at, (name, own) in enumerate(zip(sets, drawn, strict=True)):
        shades = [colour(at)] * count if len(sets) > 1 else list(colours or [])
        draw_curves(axis, own, shades, width=width)
        if len(sets) > 1:
            handles[name] = line_mark(colour(at))
    lane = floors - cell.down - 0.5 * cell.lane
    handles |= _draw_events(axis, names, lane, cell.lane, events, truth)
    if spikes is not None:
        below = floors - cell.down - cell.lanes * cell.lane
        handles |= draw_spikes(axis, names, below, 0.8 * cell.lane, spikes)
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


def _cell(curves: Curves, lanes: int) -> _Cell:
    """Make room for the usual trace; only what is higher than usual reaches into others."""
    there = np.isfinite(curves.low).any(axis=1)
    if not there.any():
        return _Cell(1.0, 0.0, _LANE, lanes)
    up = float(np.median(np.nanmax(curves.high[there], axis=1)))
    down = -float(np.median(np.nanmin(curves.low[there], axis=1)))
    if not up + down > 0:
        up = 1.0
    up, down = 1.05 * up, 1.05 * down
    return _Cell(up, down, _LANE * (up + down), lanes)


def _levels(values: np.ndarray) -> np.ndarray:
    """Return the medians of traces, of some thousand samples of long ones; 0 without any."""
    some = values[:, :: max(1, values.shape[1] // _SAMPLED)]
    there = np.isfinite(some)
    if there.all():
        return np.median(some, axis=1).astype(np.float64)
    # Rows whose few samples are all missing are looked at as a whole.
    chosen_rows = (
        own if known.any() else row for own, known, row in zip(some, there, values, strict=True)
    )
    return np.array([_finite_median(row) for row in chosen_rows])


def _finite_median(row: np.ndarray) -> float:
    """Return the median of the finite samples, 0 if there are none."""
    row = row[np.isfinite(row)]
    return float(np.median(row)) if row.size else 0.0


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


def draw_spikes(
    axis: Axes, names: Sequence[Any], below: np.ndarray, height: float, spikes: xr.DataArray
) -> dict[str, Any]:
    """Draw spikes upwards from the bottom of each lane, all on one scale."""
    rows = rows_of(spikes, VERB)
    curves = curves_of(axis, rows)
    highest = float(np.nanmax(curves.high, initial=0.0))
    place = {name: at for at, name in enumerate(names)}
    where = [place[name] for name in rows.names]
    lanes = curves.moved(below[where], height / (highest or 1.0))
    draw_curves(axis, lanes, [ink()] * len(where), width=0.7, gid="spikes")
    most = amount(float(f"{highest:.3g}"), spikes.attrs.get("units"))
    name = name_of(spikes, "spikes")
    return {f"{name if len(name) <= _LONGEST_NAME else 'spikes'}, 0 to {most}": line_mark(ink())}


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
    axis.text(1.02, middle, plain(text), rotation=90, va="center", fontsize=FONT, transform=across)
    axis.set_ylim(low, high)
