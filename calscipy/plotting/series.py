"""What figures along time share: checked rows, chosen neurons, stimuli in the background."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import xarray as xr

from calscipy import model
from calscipy.errors import ArgumentError, DimensionError, first_few
from calscipy.plotting.decimate import gaps
from calscipy.plotting.parts import ink, plain, size_inches
from calscipy.plotting.style import FONT, STIMULUS_COLOUR, seconds_label

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_THINNEST = 0.0015  # of the time axis: shorter stimuli are drawn longer


class Rows(NamedTuple):
    """Traces in memory, ready to draw."""

    names: list[Any]
    values: np.ndarray  # (rows, samples)
    times: np.ndarray  # s
    breaks: np.ndarray  # samples that no line leads to


def require_rows(data: Any, verb: str, what: str, dim: str = model.NEURON) -> xr.DataArray:
    """Return an array of the dimensions ``(neuron, time)``, also if it is of one neuron.

    Raises
    ------
    DimensionError
        For other dimensions.
    """
    if not isinstance(data, xr.DataArray):
        raise ArgumentError(f"{verb} needs {what} as a DataArray, got {type(data).__name__}.")
    model.require_dims(data, (model.TIME,), verb)
    if dim not in data.dims:
        data = data.expand_dims(dim) if dim in data.coords else data.expand_dims({dim: [0]})
    others = [name for name in data.dims if name not in (dim, model.TIME)]
    if others:
        raise DimensionError(
            f"{verb} draws {what} ({dim}, time), found {dict(data.sizes)}. Select one, for "
            f"instance data.isel({others[0]}=0)."
        )
    if data.dtype.kind not in "biuf":
        raise ArgumentError(f"{verb} needs {what} as numbers, got an array of {data.dtype}.")
    if not data.sizes[dim] or not data.sizes[model.TIME]:
        raise ArgumentError(f"{verb} found nothing to draw: {what} of sizes {dict(data.sizes)}.")
    return data.transpose(dim, model.TIME)


def chosen(
    data: xr.DataArray, rows: Sequence[Any] | Any | None, verb: str, dim: str = model.NEURON
) -> xr.DataArray:
    """Return the neurons that are asked for, in their order.

    Raises
    ------
    ArgumentError
        For neurons that there are not.
    """
    if rows is None:
        return data
    wanted = np.atleast_1d(np.asarray(rows)).tolist() if not isinstance(rows, list) else rows
    known = row_names(data, dim)
    missing = [name for name in wanted if name not in known]
    if missing or not wanted:
        raise ArgumentError(
            f"{verb}: there is no {dim} {first_few(missing) or 'to draw'}; there are "
            f"{first_few(known, 5)}."
        )
    return data.isel({dim: [known.index(name) for name in wanted]})


def row_names(data: xr.DataArray, dim: str = model.NEURON) -> list[Any]:
    """Return the names of the rows; their numbers where they have none."""
    return data[dim].values.tolist() if dim in data.coords else list(range(data.sizes[dim]))


def rows_of(data: xr.DataArray, verb: str, dim: str = model.NEURON) -> Rows:
    """Take apart an array ``(neuron, time)`` that is in memory."""
    times = model.seconds(data, verb)
    return Rows(row_names(data, dim), np.asarray(data.values), times, gaps(data))


def refuse_static(verb: str, **arguments: Any) -> None:
    """Raise if a page is asked for with what only figures have.

    Raises
    ------
    ArgumentError
        Naming it.
    """
    given = [name for name, value in arguments.items() if value is not None]
    if given:
        raise ArgumentError(
            f"{verb}(interactive=True) ignores {', '.join(given)}. Leave this out, or draw a "
            "figure with interactive=False."
        )


def time_axis(axis: Axes, data: xr.DataArray, times: Sequence[np.ndarray]) -> None:
    """Label the time axis, and let it reach over all samples."""
    axis.set_xlabel(plain(seconds_label(data)), fontsize=FONT)
    low = min(float(own.min()) for own in times)
    high = max(float(own.max()) for own in times)
    if high > low:
        axis.set_xlim(low, high)


def stimulus_spans(stimuli: Any, verb: str) -> np.ndarray:
    """Return when something is stimulated: begin and end in s, merged, shape ``(spans, 2)``.

    Parameters
    ----------
    stimuli : Dataset or array_like
        A session's stimuli, with ``onset`` and ``duration`` in s, or onsets alone.
    verb : str
        Who asks.

    Raises
    ------
    ArgumentError
        If times are missing or not known.
    """
    if isinstance(stimuli, xr.Dataset):
        if model.ONSET not in stimuli:
            raise ArgumentError(
                f"{verb} needs stimuli with {model.ONSET!r} and 'duration' in s, found "
                f"{sorted(map(str, stimuli.variables))}. A session has them as session.stimulus."
            )
        onset = np.asarray(stimuli[model.ONSET].values, dtype=float).ravel()
        length = stimuli.get("duration")
        duration = np.zeros(onset.size) if length is None else np.asarray(length.values, float)
    else:
        onset = np.atleast_1d(np.asarray(stimuli, dtype=float)).ravel()
        duration = np.zeros(onset.size)
    unknown = np.flatnonzero(~(np.isfinite(onset) & np.isfinite(duration)))
    if unknown.size:
        raise ArgumentError(
            f"{verb}: the times of the stimuli {first_few(unknown.tolist())} are not known. Fill "
            "them in with stimulus_onsets(stimulus, triggers=...), or leave these stimuli out."
        )
    if not onset.size:
        return np.empty((0, 2))
    order = np.argsort(onset)
    begin, end = onset[order], np.maximum.accumulate((onset + duration)[order])
    first = np.flatnonzero(np.append(True, begin[1:] > end[:-1]))
    return np.stack([begin[first], end[np.append(first[1:], begin.size) - 1]], axis=1)


def shade_stimuli(axis: Axes, stimuli: Any, verb: str, *, above: bool = False) -> Any:
    """Shade the times of stimuli and return what a legend shows.

    They are shaded over the whole height, or ``above`` the axes, where an image would be hidden.
    Very short ones are drawn wider than they are, to be seen; their beginning is exact. The limits
    of the time axis, which are set before, stay.
    """
    from matplotlib.collections import PolyCollection

    spans = stimulus_spans(stimuli, verb)
    low, high = axis.get_xlim()
    begin, end = spans[:, 0], np.maximum(spans[:, 1], spans[:, 0] + _THINNEST * (high - low))
    point = 1 / (72 * size_inches(axis)[1]) if above else 0.0
    zero, one = np.full(len(spans), (1 + 2 * point) * above), np.full(len(spans), 1 + 9 * point)
    corners = np.array([[begin, zero], [end, zero], [end, one], [begin, one]])
    shades = PolyCollection(
        list(np.moveaxis(corners, 2, 0)), facecolors=STIMULUS_COLOUR,
        alpha=1 if above else 0.35, linewidths=0, transform=axis.get_xaxis_transform(),
        zorder=0.5, clip_on=not above,
    )  # fmt: skip
    shades.set_gid("stimuli")
    axis.add_collection(shades, autolim=False)
    axis.set_xlim(low, high)
    return shades


def event_points(
    events: xr.DataArray, names: Sequence[Any], verb: str
) -> tuple[np.ndarray, np.ndarray]:
    """Return the row and the time of every event of the neurons that are drawn.

    Raises
    ------
    ArgumentError
        If the raster is not boolean or has none of the neurons.
    """
    if events.dtype != bool:
        raise ArgumentError(
            f"{verb} needs events as a boolean array, got {events.dtype}. Make them with "
            "traces.cs.events(...), or compare: probabilities > 0.5."
        )
    known = row_names(events)
    number = {name: at for at, name in enumerate(names)}
    rows = np.array([number.get(name, -1) for name in known])
    if (rows < 0).all():
        raise ArgumentError(
            f"{verb}: the events are of the neurons {first_few(known)}, none of which is drawn."
        )
    row, sample = np.nonzero(np.asarray(events.values))
    keep = rows[row] >= 0
    return rows[row[keep]], model.seconds(events, verb)[sample[keep]]


def event_mark(**changes: Any) -> Any:
    """Return what a legend shows for events."""
    from matplotlib.lines import Line2D

    usual: dict[str, Any] = {"color": ink(), "marker": "|", "ls": "", "mew": 1.6, "ms": 8}
    return Line2D([], [], **(usual | changes))
