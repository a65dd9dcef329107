"""Analog signals, each in a panel of its own with its own units."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import dask
import numpy as np
import xarray as xr

from calscipy import model
from calscipy.errors import ArgumentError
from calscipy.plotting.curves import COLUMNS
from calscipy.plotting.decimate import decimate_exactly
from calscipy.plotting.parts import figure_or_new, head, plain, plain_axes, short_name
from calscipy.plotting.series import (
    chosen,
    require_rows,
    rows_of,
    shade_stimuli,
    time_axis,
)
from calscipy.plotting.style import FONT, colour, with_units

if TYPE_CHECKING:
    from matplotlib.figure import Figure, SubFigure

VERB = "plot_voltage"
_MOST_SIGNALS = 24


def plot_voltage(
    voltage: xr.DataArray,
    *,
    signals: Sequence[Any] | None = None,
    onsets: Any = None,
    stimuli: xr.Dataset | None = None,
    title: str | None = None,
    figure: Figure | SubFigure | None = None,
) -> Figure:
    r"""Draw analog signals below each other; what is drawn of a lazy recording is computed.

    Long signals are thinned out for display in a way that keeps every pulse.

    Parameters
    ----------
    voltage : DataArray
        Signals ``(signal, time)``; the coordinate ``units(signal)`` tells their units.
    signals : sequence, optional
        Names of the signals to draw, in this order; all by default, at most 24.
    onsets : array_like, optional
        Times in s, such as those that ``voltage.cs.onsets()`` finds, marked in every panel.
    stimuli : Dataset or array_like, optional
        A session's ``stimulus``, with ``onset`` and ``duration`` in s, or onsets; shaded.
    title : str, optional
        Title at the top.
    figure : matplotlib.figure.Figure, optional
        Where to draw; by default a new figure, which pyplot does not know.

    Returns
    -------
    matplotlib.figure.Figure
        One Axes for each signal. Save it with ``calscipy.plotting.save_figure(figure, path)``.

    Raises
    ------
    ArgumentError
        For signals that there are not, or too many.

    Examples
    --------
    >>> voltage = xr.DataArray(
    ...     [[0.0, 5.0, 0.0]],
    ...     {"signal": ["trigger"], "units": ("signal", ["V"]), "time": [0.0, 0.001, 0.002]},
    ...     ("signal", "time"),
    ... )
    >>> [axes.get_ylabel() for axes in plot_voltage(voltage).axes]
    ['trigger\n[V]']
    """
    voltage = chosen(require_rows(voltage, VERB, "signals", model.SIGNAL), signals, VERB,
                     model.SIGNAL)  # fmt: skip
    count = voltage.sizes[model.SIGNAL]
    if count > _MOST_SIGNALS:
        raise ArgumentError(
            f"{VERB}: {count} signals do not fit into one figure. Name up to {_MOST_SIGNALS} of "
            f"them: signals={voltage[model.SIGNAL].values[:3].tolist()}."
        )
    (voltage,) = dask.compute(voltage)
    rows = rows_of(voltage, VERB, model.SIGNAL)
    values = rows.values if rows.values.dtype.kind == "f" else rows.values.astype(np.float64)
    when, thin = decimate_exactly(values, rows.times, COLUMNS, breaks=rows.breaks)
    page = figure_or_new(figure, 10.5, 0.9 + min(11.0, 1.25 * count))
    panels = page.subplots(count, sharex=True, squeeze=False)[:, 0]
    times = None if onsets is None else np.atleast_1d(np.asarray(onsets, dtype=float))
    handles: dict[str, Any] = {}
    for at, (axis, unit) in enumerate(zip(panels, _units(voltage), strict=True)):
        (line,) = axis.plot(when[at], thin[at], color=colour(0), lw=0.9, solid_joinstyle="bevel")
        line.set_gid("signal")
        time_axis(axis, voltage, [rows.times])
        if times is not None:
            (mark,) = axis.plot(
                times, np.full(times.size, 1.0), "v", color=colour(5), ms=5, clip_on=False,
                transform=axis.get_xaxis_transform(),
            )  # fmt: skip
            handles[f"{times.size} onsets"] = mark
        if stimuli is not None:
            handles["stimulus"] = shade_stimuli(axis, stimuli, VERB)
        words = with_units(short_name(rows.names[at], 16), unit, "\n")
        axis.set_ylabel(plain(words), fontsize=FONT)
        plain_axes(axis)
        axis.label_outer()
    head(panels[0], "" if title is None else title, handles)
    page.align_ylabels(panels)
    return page


def _units(voltage: xr.DataArray) -> list[str]:
    """Return the units of each signal."""
    own = voltage.coords.get("units")
    if own is not None and own.dims == (model.SIGNAL,):
        return [str(unit) for unit in own.values]
    return [str(voltage.attrs.get("units", ""))] * voltage.sizes[model.SIGNAL]
