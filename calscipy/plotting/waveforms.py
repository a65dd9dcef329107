"""Waveforms of events, with their mean."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import dask
import numpy as np
import xarray as xr

from calscipy import model
from calscipy.errors import ArgumentError, DimensionError
from calscipy.plotting.parts import (
    axes_or_new,
    head,
    line_mark,
    plain,
    plain_axes,
    short_name,
)
from calscipy.plotting.style import COLOURS, DASHES, FONT, SINGLE_COLOUR, colour, label, with_units
from calscipy.plotting.trials import MOST_SINGLE, draw_faint, mark_zero

if TYPE_CHECKING:
    from matplotlib.axes import Axes

VERB = "plot_waveforms"
_MOST_GROUPS = 12


def plot_waveforms(
    waveforms: xr.DataArray,
    *,
    by: str | None = None,
    single: bool = True,
    title: str | None = None,
    ax: Axes | None = None,
) -> Axes:
    """Draw the traces around events and their mean; lazy ones are computed.

    Parameters
    ----------
    waveforms : DataArray
        ``(event, lag)``, as :func:`calscipy.waveforms` makes them; or means ``(neuron, lag)``, as
        :func:`calscipy.event_triggered_average` does, one line each. NaN are left out.
    by : str, optional
        Coordinate along events, such as ``"neuron"``: one mean for each value, at most twelve.
    single : bool, default True
        Draw single waveforms behind the mean, at most 200, evenly chosen.
    title : str, optional
        By default how many events there are.
    ax : matplotlib.axes.Axes, optional
        Where to draw; by default in a new figure, which pyplot does not know.

    Returns
    -------
    matplotlib.axes.Axes
        Save it with ``calscipy.plotting.save_figure(axes.figure, path)``.

    Raises
    ------
    DimensionError
        For waveforms with further dimensions.
    ArgumentError
        If ``by`` is no coordinate along events, or if there is no event.

    Examples
    --------
    >>> from calscipy.testing import synthetic_traces
    >>> truth = synthetic_traces(neurons=3, duration=60.0)
    >>> found = cs.waveforms(truth.dfof, truth.events, pre=0.5, post=2)
    >>> axes = plot_waveforms(found)
    >>> axes.get_xlabel(), axes.get_ylabel(), axes.get_title("left")
    ('time after the onset [s]', 'ΔF/F₀, around events', '12 events')
    """
    rows = _rows(waveforms)
    (waveforms,) = dask.compute(waveforms.transpose(rows, model.LAG))
    values = np.asarray(waveforms.values, dtype=float)
    lags = np.asarray(waveforms[model.LAG].values, dtype=float)
    ax = axes_or_new(ax, 5.4, 4.0)
    handles: dict[str, Any] = {}
    if rows != model.EVENT:
        by, single = rows, False
    groups = _groups(waveforms, by, rows)
    if single:
        draw_faint(ax, lags, values, "single waveforms")
    for at, (name, which) in enumerate(groups.items()):
        shade = colour(at)
        dashes = DASHES[(at // len(COLOURS)) % len(DASHES)]  # where colours repeat
        (line,) = ax.plot(
            lags, _mean(values[which]), color=shade, ls=dashes, lw=2 if len(groups) < 5 else 1.4
        )
        line.set_gid("mean")
        handles[name] = line_mark(shade, dashes)
    if by is None:
        handles = {"mean": handles[""]}
    if single:
        shown = min(len(values), MOST_SINGLE)
        word = "single events" if shown == len(values) else f"{shown} of the single events"
        handles[word] = line_mark(SINGLE_COLOUR)
    mark_zero(ax, lags)
    words = waveforms[model.LAG].attrs.get("long_name", "time after the event")
    ax.set_xlabel(plain(with_units(words, "s")), fontsize=FONT)
    ax.set_ylabel(plain(label(waveforms, "waveforms")), fontsize=FONT)
    plain_axes(ax)
    count = f"{len(values)} {'events' if rows == model.EVENT else 'averages'}"
    head(ax, count if title is None else title, handles)
    return ax


def _rows(waveforms: Any) -> str:
    """Return the dimension whose entries are drawn."""
    if not isinstance(waveforms, xr.DataArray):
        raise ArgumentError(
            f"{VERB} needs waveforms as a DataArray, got {type(waveforms).__name__}."
        )
    model.require_dims(waveforms, (model.LAG,), VERB)
    others = [str(dim) for dim in waveforms.dims if dim != model.LAG]
    if len(others) != 1 or waveforms.dtype.kind not in "biuf":
        raise DimensionError(
            f"{VERB} draws numbers (event, lag) or (neuron, lag), found {waveforms.dtype} of the "
            f"sizes {dict(waveforms.sizes)}. Select one of each further dimension, for instance "
            "waveforms.isel(channel=0); an average of a movie is drawn lag by lag with plot_image."
        )
    if not waveforms.size:
        raise ArgumentError(f"{VERB} found nothing to draw: sizes {dict(waveforms.sizes)}.")
    return others[0]


def _groups(waveforms: xr.DataArray, by: str | None, rows: str) -> dict[str, np.ndarray]:
    """Return which waveforms share a mean, by its name."""
    if by is None:
        return {"": np.arange(waveforms.sizes[rows])}
    known = [str(name) for name, coord in waveforms.coords.items() if coord.dims == (rows,)]
    if by not in known and by == rows:
        values = list(range(waveforms.sizes[rows]))
    elif by in known:
        values = waveforms[by].values.tolist()
    else:
        raise ArgumentError(
            f"{VERB} needs by as one of the coordinates along {rows!r}, {sorted(known)}, got {by!r}"
        )
    groups: dict[Any, list[int]] = {}
    for at, value in enumerate(values):
        groups.setdefault(value, []).append(at)
    if len(groups) > _MOST_GROUPS:
        raise ArgumentError(
            f"{VERB}: {by!r} has {len(groups)} values, and at most {_MOST_GROUPS} lines can be "
            f"told apart. Select some, for instance waveforms[waveforms.{by}.isin(values)]."
        )
    return {f"{by} {short_name(name)}": np.array(which) for name, which in groups.items()}


def _mean(values: np.ndarray) -> np.ndarray:
    """Return the mean of what is finite, NaN where nothing is."""
    there = np.isfinite(values)
    count = there.sum(axis=0)
    total = np.where(there, values, 0).sum(axis=0)
    return np.where(count > 0, total / np.maximum(count, 1), np.nan)
