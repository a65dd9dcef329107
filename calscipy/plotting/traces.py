"""Stacked traces with event onsets."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr

from calscipy import model
from calscipy.plotting.parts import _NICE, GREY, INK, capitalised, finite_median, plain_axes

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# Okabe and Ito's colours, distinct to colour-blind readers, without black and with a darker yellow:
# they have to be seen on white paper as well as on a dark image.
COLOURS = ("#E69F00", "#56B4E9", "#009E73", "#CC79A7", "#0072B2", "#D55E00", "#BBA800")


def neuron_colours(traces: xr.DataArray) -> dict[Any, str]:
    """Return one colour for each neuron."""
    neurons = traces[model.NEURON].values.tolist()
    return {neuron: COLOURS[i % len(COLOURS)] for i, neuron in enumerate(neurons)}


def draw_traces(
    axis: Axes,
    traces: xr.DataArray,
    colours: dict[Any, str],
    events: xr.DataArray | None,
    truth: xr.DataArray | None,
) -> None:
    """Draw traces one below the other, with the events below each."""
    traces = traces.transpose(model.NEURON, model.TIME)
    neurons = traces[model.NEURON].values.tolist()
    values = np.asarray(traces.values, dtype=float)
    levels = np.array([finite_median(row) for row in values])
    tops = [np.nanmax(row - level) for row, level in zip(values, levels, strict=True)
            if np.isfinite(row).any()]  # fmt: skip
    spacing = 1.3 * (float(np.median(tops)) if tops else 1.0) or 1.0
    times = traces[model.TIME].values
    gaps = [part.start for part in model.epochs(traces)[1:]]
    lane = 0.22 * spacing
    for i, neuron in enumerate(neurons):
        floor = -i * (spacing + lane)
        axis.plot(
            np.insert(times, gaps, np.nan),
            np.insert(values[i] - levels[i], gaps, np.nan) + floor,
            color=colours[neuron],
            linewidth=0.8,
        )
        y = floor - 1.2 * lane
        if truth is not None:
            at = _onsets(truth, neuron)
            axis.plot(at, np.full(at.size, y), "o", mfc="none", mec=GREY, mew=1.1, ms=7)
        if events is not None:
            at = _onsets(events, neuron)
            axis.plot(at, np.full(at.size, y), "|", color=INK, mew=1.6, ms=8)
    axis.set_yticks([-i * (spacing + lane) for i in range(len(neurons))], map(str, neurons))
    for label, neuron in zip(axis.get_yticklabels(), neurons, strict=True):
        label.set(color=colours[neuron], fontweight="bold")
    axis.set_ylabel("neuron")
    axis.set_xlabel("time (s)")
    if times.size > 1:
        axis.set_xlim(times[0], times[-1])
    axis.set_ylim(-(len(neurons) - 1) * (spacing + lane) - 2.2 * lane, None)
    plain_axes(axis)
    axis.spines["left"].set_visible(False)
    axis.tick_params(axis="y", length=0, labelsize=10)
    _draw_height_bar(axis, traces, spacing)
    name = traces.attrs.get("long_name", "traces")
    axis.set_title(capitalised(name), loc="left", fontsize=10)
    _event_legend(axis, events is not None, truth is not None)


def _draw_height_bar(axis: Axes, traces: xr.DataArray, spacing: float) -> None:
    """Say at the right how high the traces are."""
    length = max((n for n in _NICE if n <= 0.8 * spacing), default=0.8 * spacing)
    units = traces.attrs.get("units", "1")
    name = traces.attrs.get("long_name", "")
    text = f"{length:g} {name if units == '1' else units}"
    across = axis.get_yaxis_transform()
    axis.plot([1.012, 1.012], [0, length], color=INK, lw=2, transform=across, clip_on=False,
              solid_capstyle="butt")  # fmt: skip
    axis.text(1.022, length / 2, text, rotation=90, va="center", fontsize=8, transform=across)


def _event_legend(axis: Axes, events: bool, truth: bool) -> None:
    from matplotlib.lines import Line2D

    marks = []
    if events:
        marks.append(Line2D([], [], color=INK, marker="|", ls="", mew=1.6, ms=8))
    if truth:
        marks.append(Line2D([], [], mec=GREY, mfc="none", marker="o", ls="", mew=1.1, ms=7))
    names = ["onset detected"] * events + ["true onset of a burst"] * truth
    if marks:
        axis.legend(
            marks,
            names,
            loc="lower right",
            bbox_to_anchor=(1, 1),
            ncols=2,
            frameon=False,
            fontsize=9,
            handletextpad=0.2,
            borderaxespad=0.1,
        )


def _onsets(events: xr.DataArray, neuron: Any) -> np.ndarray:
    """Return the times of a neuron's events; none if it is not among them."""
    rows = np.flatnonzero(events[model.NEURON].values == neuron)
    if not rows.size:
        return np.empty(0)
    found = events.isel({model.NEURON: rows[0]})
    return found[model.TIME].values[np.asarray(found.values, dtype=bool)]
