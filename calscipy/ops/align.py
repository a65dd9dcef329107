"""Signals on one clock: analog samples at the times of frames, and the other way round."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any, Literal, NamedTuple, get_args

import numpy as np
import xarray as xr
from numpy.typing import ArrayLike

from calscipy import model
from calscipy.blocks.segments import segment_means
from calscipy.errors import ArgumentError, CalscipyWarning, TimeAxisError, first_few, warn
from calscipy.history import recorded
from calscipy.ops._frames import is_number
from calscipy.ops._time import chosen, float_dtype
from calscipy.ops._windows import HALF_STEP

AlignMethod = Literal["nearest", "previous", "mean", "interpolate"]

SAMPLE, SAMPLE_OFFSET, SAMPLES = "sample", "sample_offset", "samples"
_OF_TARGET = (model.EPOCH, model.CYCLE, model.RECORDING, model.RECORDING_TIME)
_TAKES: dict[str, dict[str, Any]] = {
    "nearest": {"tolerance": None},
    "previous": {"tolerance": None},
    "mean": {"exposure": None},
    "interpolate": {},
}
_SLACK = 1e-6  # share of a step: times that are the same but for rounding


class _Target(NamedTuple):
    """The times at which values are wanted."""

    seconds: np.ndarray
    coords: dict[Hashable, xr.Variable]
    step: float | None  # usual step of a time axis; None for a list of times


@recorded
def align(
    data: xr.DataArray,
    to: xr.DataArray | ArrayLike,
    *,
    method: AlignMethod = "nearest",
    tolerance: float | None = None,
    exposure: float | None = None,
    delay: float = 0.0,
) -> xr.DataArray:
    """Give signals the times of another recording: analog to frames, or frames to analog.

    Parameters
    ----------
    data : DataArray
        Signals with a dimension ``time``, such as voltage ``(signal, time)`` or traces.
    to : DataArray or array_like
        The times: a coordinate such as ``movie.time`` or ``voltage.time``, or any times in s.
    method : {"nearest", "previous", "mean", "interpolate"}, default "nearest"
        ``"nearest"`` takes the sample that is nearest to each time, ``"previous"`` the last one
        up to it (the frame that is being taken then), ``"mean"`` the mean over the exposure that
        begins at each time, ``"interpolate"`` a straight line between the samples around it.
    tolerance : float, optional
        How far the sample may be for ``"nearest"`` (half its usual step by default) and
        ``"previous"`` (its usual step by default), in s.
    exposure : float, optional
        Length over which ``"mean"`` averages in s; by default the usual step of ``to``, the
        period of frames.
    delay : float, default 0.0
        Seconds after each time at which the value is wanted: half a frame period for the middle
        of a frame.

    Returns
    -------
    DataArray
        Same dims, with the times of ``to`` and its epochs and cycles, float32 (float64 for over
        32 bits). Every time has its column, those that are the same too. It is NaN
        where there is no sample near enough, where the exposure is not wholly recorded, and
        between samples of different epochs. ``"nearest"`` and ``"previous"`` add ``sample(time)``,
        the number of the sample (-1 for none), and ``sample_offset(time)``, how much later than
        wanted it was taken, in s; ``"mean"`` adds ``samples(time)``, how many were averaged.

    Raises
    ------
    ArgumentError
        If no time lies in the recording, or an exposure is shorter than a sample.
    TimeAxisError
        If the times of the data go back.

    Warns
    -----
    CalscipyWarning
        If some times lie outside of the recording.

    Examples
    --------
    >>> import calscipy as cs
    >>> voltage = cs.from_numpy(np.arange(8.0)[None], frame_rate=4)
    >>> aligned = align(voltage, [0.3, 1.1])
    >>> aligned.values.tolist(), aligned.sample_offset.round(2).values.tolist()
    ([[1.0, 4.0]], [-0.05, -0.1])
    >>> align(voltage, [0.5, 1.0], method="mean", exposure=0.5).values.tolist()
    [[2.5, 4.5]]
    """
    model.require_dims(data, (model.TIME,), "align")
    if data.dtype.kind not in "biuf":
        raise ArgumentError(f"align needs numbers or booleans, got an array of {data.dtype}")
    given = {"tolerance": tolerance, "exposure": exposure}
    if not isinstance(method, str):
        raise ArgumentError(f"align(method=) must be one of {get_args(AlignMethod)}")
    chosen("align", method, given, _TAKES)
    for name, value in (*given.items(), ("delay", delay)):
        if value is not None and not (is_number(value) and np.isfinite(value)):
            raise ArgumentError(f"align needs {name} as a finite number of seconds, got {value!r}")
        if value is not None and name != "delay" and value < 0:
            raise ArgumentError(f"align needs {name} from 0 s on, got {value!r}")
    times = model.seconds(data, "align")
    if not (np.diff(times) >= 0).all():
        raise TimeAxisError(
            "align needs times that do not go back, but those of the data do, or are not known. "
            "Sort them (data.sortby('time')), or select one of the recordings."
        )
    target = _target(to)
    wanted = target.seconds + delay
    step = 1.0 / model.frame_rate(data, "align")
    if method in ("nearest", "previous"):
        values, there, coords = _taken(data, times, wanted, step, method, tolerance)
    elif method == "mean":
        values, there, coords = _averaged(data, times, wanted, step, exposure or target.step)
    else:
        values, there, coords = _interpolated(data, times, wanted, step)
    _say_outside(wanted, there, times)
    return _labelled(data, values, target, coords)


def _target(to: Any) -> _Target:
    """Return the times that are wanted, with what is known of them."""
    if not isinstance(to, xr.DataArray):
        seconds = np.asarray(to)
        if seconds.ndim != 1 or seconds.dtype.kind not in "iuf" or not seconds.size:
            raise ArgumentError(
                "align needs to= as the times of another recording, such as movie.time, or as a "
                f"list of times in s, got an array of {seconds.dtype} and shape {seconds.shape}"
            )
        return _Target(_finite(seconds), {model.TIME: _time_variable(seconds)}, None)
    if to.ndim != 1 or not to.size:
        raise ArgumentError(
            f"align needs to= along one dimension, got {dict(to.sizes)}. Give its times, for "
            "instance align(voltage, movie.time)."
        )
    dim = to.dims[0]
    if model.TIME not in to.coords or to[model.TIME].dims != (dim,):
        seconds = _finite(np.asarray(to.values))
        return _Target(seconds, {model.TIME: _time_variable(seconds)}, None)
    seconds = _finite(model.coordinate(to, model.TIME))
    coords: dict[Hashable, xr.Variable] = {
        name: xr.Variable(model.TIME, model.coordinate(to, name), to[name].attrs)
        for name in _OF_TARGET
        if name in to.coords and to[name].dims == (dim,)
    }
    coords[model.TIME] = _time_variable(seconds, to[model.TIME].attrs)
    return _Target(seconds, coords, _usual_step(seconds, coords))


def _usual_step(seconds: np.ndarray, coords: dict[Hashable, xr.Variable]) -> float | None:
    axis = xr.DataArray(seconds, coords, (model.TIME,))
    try:
        return 1.0 / model.frame_rate(axis, "align")
    except TimeAxisError:
        return None


def _finite(seconds: np.ndarray) -> np.ndarray:
    values = seconds.astype(np.float64)
    if not np.isfinite(values).all():
        places = np.flatnonzero(~np.isfinite(values)).tolist()
        raise ArgumentError(
            f"align: the times {first_few(places)} are not finite. Leave them out: "
            "times[numpy.isfinite(times)]."
        )
    return values


def _time_variable(seconds: np.ndarray, attrs: Any = None) -> xr.Variable:
    words = {"units": "s", "long_name": "time"}
    return xr.Variable(model.TIME, seconds.astype(np.float64), words | dict(attrs or {}))


_Found = tuple[xr.Variable, np.ndarray, dict[Hashable, xr.Variable]]


def _taken(
    data: xr.DataArray,
    times: np.ndarray,
    wanted: np.ndarray,
    step: float,
    method: str,
    tolerance: float | None,
) -> _Found:
    """Take one sample for each time."""
    last = len(times) - 1
    before = np.searchsorted(times, wanted + _SLACK * step, side="right") - 1
    left, right = np.clip(before, 0, last), np.clip(before + 1, 0, last)
    nearer = np.abs(times[right] - wanted) < np.abs(wanted - times[left])
    place = np.where(nearer, right, left) if method == "nearest" else left
    offset = times[place] - wanted
    usual = HALF_STEP if method == "nearest" else 2 * HALF_STEP
    limit = usual * step if tolerance is None else tolerance
    there = np.abs(offset) <= limit + _SLACK * step
    if method == "previous":
        there &= before >= 0
    values = _floats(data).isel({model.TIME: place}).where(xr.Variable(model.TIME, there))
    words = {"units": "s", "long_name": "delay of the sample after the time that was wanted"}
    return (
        values,
        there,
        {
            SAMPLE: xr.Variable(
                model.TIME, np.where(there, place, -1), {"long_name": "number of the sample"}
            ),
            SAMPLE_OFFSET: xr.Variable(model.TIME, np.where(there, offset, np.nan), words),
        },
    )


def _averaged(
    data: xr.DataArray, times: np.ndarray, wanted: np.ndarray, step: float, exposure: float | None
) -> _Found:
    """Average over the exposures that begin at each time."""
    if exposure is None:
        raise ArgumentError(
            "align(method='mean') needs exposure=, the length to average over in s: only a time "
            "axis such as movie.time tells it by itself."
        )
    if exposure < (1 - model.REGULAR_TOLERANCE) * step:
        raise ArgumentError(
            f"align(method='mean') needs at least one sample in each exposure, but these last "
            f"{exposure:g} s and samples are {step:g} s apart. Take method='nearest' or "
            "'interpolate'."
        )
    order = np.argsort(wanted, kind="stable")
    begin = wanted[order] - _SLACK * step
    starts, stops = (np.searchsorted(times, begin + shift) for shift in (0.0, exposure))
    last = len(times) - 1
    reach = (1 + model.REGULAR_TOLERANCE) * step
    there = stops > starts
    there &= times[np.minimum(starts, last)] - begin <= reach
    there &= begin + exposure - times[np.maximum(stops - 1, 0)] <= reach
    # Jitter may move one sample over an edge; more of them are missing.
    there &= stops - starts >= (1 - model.REGULAR_TOLERANCE) * exposure / step - 1
    stops = np.where(there, stops, starts)
    ordered = data.variable.transpose(..., model.TIME)
    means = segment_means(ordered.data, starts, stops, float_dtype(data))
    values = xr.Variable(ordered.dims, means).transpose(*data.dims)
    if (np.diff(order) != 1).any():
        back = np.argsort(order)
        values, there = values.isel({model.TIME: back}), there[back]
        starts, stops = starts[back], stops[back]
    counts = xr.Variable(model.TIME, stops - starts, {"long_name": "samples averaged"})
    return values, there, {SAMPLES: counts}


def _interpolated(data: xr.DataArray, times: np.ndarray, wanted: np.ndarray, step: float) -> _Found:
    """Draw straight lines between neighbouring samples of an epoch."""
    last = len(times) - 1
    slack = _SLACK * step
    right = np.clip(np.searchsorted(times, wanted), 1, last)
    left = right - 1
    length = times[right] - times[left]
    inside = (wanted >= times[left] - slack) & (wanted <= times[right] + slack)
    epoch = np.repeat(
        np.arange(len(model.epochs(data))), [part.stop - part.start for part in model.epochs(data)]
    )
    joined = (epoch[left] == epoch[right]) & (length <= (1 + model.GAP) * step)
    share = np.where(length > 0, (wanted - times[left]) / np.where(length > 0, length, 1), 0.0)
    share = np.clip(share, 0.0, 1.0)
    # A time that is a sample's needs no other one, which may be NaN, inf or beyond a gap.
    exact = (share <= _SLACK) | (share >= 1 - _SLACK)
    there = inside & (joined | exact)
    left, right = (np.where(exact, np.where(share > 0.5, right, left), at) for at in (left, right))
    floats = _floats(data)
    weight = xr.Variable(model.TIME, np.where(exact, 0.5, share).astype(floats.dtype))
    values = floats.isel({model.TIME: left}) * (1 - weight)
    values = values + floats.isel({model.TIME: right}) * weight
    return values.where(xr.Variable(model.TIME, there)), there, {}


def _floats(data: xr.DataArray) -> xr.Variable:
    return data.variable.astype(float_dtype(data), copy=False)


def _say_outside(wanted: np.ndarray, there: np.ndarray, times: np.ndarray) -> None:
    if there.all():
        return
    recorded_from = f"which was recorded from {times[0]:g} to {times[-1]:g} s"
    if not there.any():
        raise ArgumentError(
            f"align: none of the times ({wanted.min():g} to {wanted.max():g} s) lies in the data, "
            f"{recorded_from}. Both count in seconds from the same zero, that of the session."
        )
    named = first_few([f"{time:g}" for time in wanted[~there]])
    warn(
        f"align: {int((~there).sum())} of {len(there)} times have no sample of the data, "
        f"{recorded_from}, and are NaN: {named} s.",
        CalscipyWarning,
    )


def _labelled(
    data: xr.DataArray, values: xr.Variable, target: _Target, coords: dict[Hashable, xr.Variable]
) -> xr.DataArray:
    replaced = {*target.coords, *coords}
    kept = {
        name: coord.variable
        for name, coord in data.coords.items()
        if model.TIME not in coord.dims and name not in replaced
    }
    result = xr.DataArray(values.data, kept | target.coords | coords, data.dims, name=data.name)
    words = {"long_name": data.attrs.get("long_name", "signal")}
    if "units" in data.attrs or "units" not in data.coords:  # units of each signal tell themselves
        words["units"] = data.attrs.get("units", "1")
    return result.assign_attrs(words)
