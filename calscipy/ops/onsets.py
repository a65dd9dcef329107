"""When pulses of an analog signal begin."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Literal, get_args

import numpy as np
import xarray as xr

from calscipy import model
from calscipy.errors import ArgumentError, first_few
from calscipy.history import described, recorded
from calscipy.kernels.onsets import rising_crossings, spaced
from calscipy.ops._frames import is_number

Edge = Literal["rising", "falling", "both"]

EDGE = "edge"
_PIECE = 2**20  # samples that are looked at at a time


@recorded
def onsets(
    data: xr.DataArray,
    *,
    threshold: float,
    edge: Edge = "rising",
    signal: str | None = None,
    minimum_interval: float | None = None,
    hysteresis: float | None = None,
    interpolate: bool = False,
) -> xr.DataArray:
    """Find when a signal crosses a threshold, in seconds; lazy data are computed piece by piece.

    Parameters
    ----------
    data : DataArray
        Voltage ``(signal, time)``, or one signal ``(time)``.
    threshold : float
        In the units of the signal.
    edge : {"rising", "falling", "both"}, default "rising"
        Whether to take the times at which the signal comes up to the threshold, goes down to it,
        or both.
    signal : str, optional
        Name of the signal; needed if there are several.
    minimum_interval : float, optional
        Leave out onsets that come less than this many s after one that is left, of the same edge.
    hysteresis : float, optional
        How far beyond the threshold the signal must come back before it counts as crossing it
        again, in its units; 0 by default. Give more than the noise, so that it does not cross the
        threshold several times at one edge.
    interpolate : bool, default False
        Draw a straight line between the samples on both sides of the threshold, instead of taking
        the time of the first sample beyond it, which is up to one step late.

    Returns
    -------
    DataArray
        ``(event)`` in s, in the order of time, on the clock of the data: what
        ``to_trials(starts=)`` accepts. ``edge(event)`` tells rising from falling ones if both were
        asked for. An epoch that begins beyond the threshold has no onset there; NaN is on
        neither side of it.

    Raises
    ------
    ArgumentError
        If it is not clear which signal is meant, or for arguments that are no numbers.
    TimeAxisError
        If there are no times.

    Examples
    --------
    >>> import calscipy as cs
    >>> volts = np.array([0.0, 5.0, 5.0, 0.0, 0.0, 5.0])
    >>> pulses = cs.from_numpy(volts, dims=("time",), frame_rate=10)
    >>> onsets(pulses, threshold=2.5).values.tolist()
    [0.1, 0.5]
    >>> onsets(pulses, threshold=2.5, edge="falling", interpolate=True).values.round(2).tolist()
    [0.25]
    """
    one = _one_signal(data, signal)
    if not isinstance(edge, str) or edge not in get_args(Edge):
        raise ArgumentError(f"onsets(edge=) must be one of {get_args(Edge)}, got {edge!r}")
    if not (is_number(threshold) and np.isfinite(threshold)):
        raise ArgumentError(
            f"onsets needs threshold as a number in the units of the signal, got {threshold!r}"
        )
    for name, value in {"hysteresis": hysteresis, "minimum_interval": minimum_interval}.items():
        if value is not None and not (is_number(value) and np.isfinite(value) and value >= 0):
            raise ArgumentError(f"onsets needs {name} as a number from 0 on, got {value!r}")
    times = model.seconds(one, "onsets")
    edges = ("rising", "falling") if edge == "both" else (edge,)
    found = _crossings(one, times, edges, threshold, hysteresis or 0.0, interpolate)
    if minimum_interval is not None:
        found = {name: own[spaced(own, minimum_interval)] for name, own in found.items()}
    seconds = np.concatenate(list(found.values()))
    order = np.argsort(seconds, kind="stable")
    coords: dict[Any, Any] = {}
    if edge == "both":
        names = np.repeat(edges, [own.size for own in found.values()])
        coords[EDGE] = (model.EVENT, names[order])
    if model.SIGNAL in one.coords:
        coords[model.SIGNAL] = one[model.SIGNAL].variable
    result = xr.DataArray(seconds[order], coords, (model.EVENT,), name="onsets")
    words = f"onsets of {one[model.SIGNAL].item()}" if model.SIGNAL in one.coords else "onsets"
    return described(result, units="s", long_name=words)


def _one_signal(data: xr.DataArray, signal: str | None) -> xr.DataArray:
    model.require_dims(data, (model.TIME,), "onsets")
    if data.dtype.kind not in "biuf":
        raise ArgumentError(f"onsets needs numbers or booleans, got an array of {data.dtype}")
    if model.SIGNAL in data.dims:
        names = data[model.SIGNAL].values.tolist() if model.SIGNAL in data.coords else []
        if signal is None and data.sizes[model.SIGNAL] == 1:
            data = data.isel({model.SIGNAL: 0})
        elif names.count(signal) == 1:
            data = data.isel({model.SIGNAL: names.index(signal)})
        else:
            raise ArgumentError(
                f"onsets needs signal= as one of {first_few(names, 20) or 'the signals'}, got "
                f"{signal!r}"
            )
    elif signal is not None and not _is_signal(data, signal):
        raise ArgumentError(f"onsets: these data are no signal {signal!r}; leave signal= out.")
    if data.dims != (model.TIME,):
        raise ArgumentError(
            f"onsets needs one signal along 'time', got {dict(data.sizes)}. Select one, for "
            f"instance data.isel({data.dims[0]}=0)."
        )
    return data


def _crossings(
    one: xr.DataArray,
    times: np.ndarray,
    edges: tuple[str, ...],
    threshold: float,
    hysteresis: float,
    interpolate: bool,
) -> dict[str, np.ndarray]:
    """Return the times of the crossings of each edge."""
    found: dict[str, list[np.ndarray]] = {name: [np.empty(0)] for name in edges}
    for epoch in model.epochs(one):
        known: dict[str, dict[str, Any]] = {name: {} for name in edges}
        for part, values in _pieces(one, epoch):
            for name in edges:
                sign = 1.0 if name == "rising" else -1.0
                crossing = rising_crossings(
                    sign * values, sign * threshold, hysteresis=hysteresis, **known[name]
                )
                known[name] = {"armed": crossing.armed, "last": crossing.last}
                place = crossing.place + part.start
                seconds = times[place]
                if interpolate:
                    seconds = seconds - crossing.back * (seconds - times[place - 1])
                found[name].append(seconds)
    return {name: np.concatenate(parts) for name, parts in found.items()}


def _pieces(one: xr.DataArray, epoch: slice) -> Iterator[tuple[slice, np.ndarray]]:
    """Compute the samples of an epoch piece by piece; chunks of lazy data are not divided."""
    stops = np.arange(epoch.start + _PIECE, epoch.stop + _PIECE, _PIECE)
    if one.chunks is not None:
        ends = np.cumsum(one.chunks[0])
        # The first end of a chunk from each wanted stop on.
        stops = np.unique(ends[np.minimum(np.searchsorted(ends, stops), ends.size - 1)])
    start = epoch.start
    for stop in np.minimum(stops, epoch.stop).tolist():
        if stop > start:
            part = slice(start, stop)
            yield part, one.variable.isel({model.TIME: part}).values.astype(np.float64)
            start = stop


def _is_signal(data: xr.DataArray, name: str) -> bool:
    """Tell whether the data are one signal of this name."""
    label = data.coords.get(model.SIGNAL)
    return label is not None and label.ndim == 0 and bool(label.item() == name)
