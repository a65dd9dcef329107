"""What traces and movies look like around an event, on average."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any, Literal, NamedTuple, get_args

import numpy as np
import xarray as xr

from calscipy import model
from calscipy.blocks.triggered import Hits, triggered
from calscipy.blocks.waveforms import around_events
from calscipy.errors import ArgumentError
from calscipy.history import described, recorded
from calscipy.kernels.waveforms import averaged_windows, counted_windows, sum_dtype
from calscipy.ops._frames import require_movie
from calscipy.ops._time import float_dtype
from calscipy.ops._windows import (
    as_rows,
    lag_coordinate,
    nearest_samples,
    places_of,
    require_raster,
    require_times,
    row_numbers,
    window_samples,
)

TriggeredReduce = Literal["mean", "sum"]
COUNT = "count"
VERB = "event_triggered_average"


class _Triggers(NamedTuple):
    """Samples of triggers; ``rows`` are those of the neurons whose own they are."""

    onset: np.ndarray
    dims: tuple[Hashable, ...] = ()
    rows: tuple[np.ndarray, ...] = ()


@recorded
def event_triggered_average(
    data: xr.DataArray,
    triggers: Any,
    *,
    window: tuple[float, float],
    reduce: TriggeredReduce = "mean",
) -> xr.DataArray:
    """Average what surrounds each trigger; only the triggers, if they are lazy, are computed.

    A movie is worked on out of core, in one pass: every block of frames that a window touches is
    read once, however many triggers there are, and blocks that none touches are not read.

    Parameters
    ----------
    data : DataArray
        Traces ``(neuron, time)`` or a movie ``(frames [, channel] [, plane], y, x)``, evenly
        sampled. NaN and frames that are not ``valid`` are left out.
    triggers : array_like or DataArray
        Times in s, of the clock of ``data.time``, each taken at the nearest sample (at most half
        a step away). Or a boolean raster of events: of one neuron, ``(time,)``, for movies and
        traces alike; of every neuron, ``(neuron, time)``, for traces, which are averaged around
        their own events each.
    window : (float, float)
        How long before and after the trigger to look, in s, rounded to whole samples. Samples
        outside of the recording and of the epoch of the trigger are left out.
    reduce : {"mean", "sum"}, default "mean"
        What to take of the samples at each lag.

    Returns
    -------
    DataArray
        ``(neuron, lag)`` or ``(lag [, channel] [, plane], y, x)`` in the units of ``data``:
        means are float32 (float64 for float64 and for integers of over 16 bits) and NaN where
        there is no sample, sums 64-bit integers (float64 for floats) and 0 there. ``lag`` is the
        time after the trigger in s. The coordinate ``count`` tells how many samples went into
        each value; for movies of integers, into each image.

    Raises
    ------
    ArgumentError
        If a trigger lies outside of the recording or between its epochs, or is not finite, and
        for a raster of numbers.

    Notes
    -----
    Integers are added up exactly, so that the chunks do not matter to the last bit; floats in
    float64. For trials one by one, and confidence, see ``to_trials`` and ``average``.

    Examples
    --------
    >>> import calscipy as cs
    >>> movie = cs.from_numpy(np.arange(10, dtype="uint16").reshape(10, 1, 1), frame_rate=2)
    >>> around = event_triggered_average(movie, [1.0, 4.5], window=(0.5, 1.0))
    >>> around[:, 0, 0].values.tolist(), around["count"].values.tolist()
    ([4.5, 5.5, 3.0, 4.0], [2, 2, 1, 1])
    """
    movie = model.time_dim(data, VERB) == model.FRAMES
    if movie:
        require_movie(data, VERB)
    elif data.dtype.kind not in "iuf":
        raise ArgumentError(f"{VERB} needs numbers, got an array of {data.dtype}")
    if not isinstance(reduce, str) or reduce not in get_args(TriggeredReduce):
        raise ArgumentError(
            f"{VERB}(reduce=) must be one of {get_args(TriggeredReduce)}, got {reduce!r}"
        )
    rate = model.regular_rate(data, VERB)
    if not (isinstance(window, tuple | list) and len(window) == 2):
        raise ArgumentError(f"{VERB} needs window=(before, after) in seconds, got {window!r}")
    before, after = window_samples(*window, rate, VERB, "window=(before, after)")
    found = _found(data, triggers)
    dtype = float_dtype(data) if reduce == "mean" else sum_dtype(data.dtype)
    lags = lag_coordinate(before, after, rate)
    work = _of_movie if movie else _of_traces
    values, count = work(data, found, (before, after), reduce, dtype)
    dim = model.FRAMES if movie else model.TIME
    coords = {name: c.variable for name, c in data.coords.items() if dim not in c.dims}
    coords |= {model.LAG: lags, COUNT: count}
    dims = [model.LAG if d == dim else d for d in data.dims]
    name = data.attrs.get("long_name", "fluorescence")
    seconds = {} if isinstance(triggers, xr.DataArray) else {"triggers": np.asarray(triggers)}
    return described(
        xr.DataArray(values, coords, name=data.name).transpose(*dims),
        units=data.attrs.get("units", "1"),
        long_name=f"{name}, {reduce} around triggers",
        **seconds,
    )


def _found(data: xr.DataArray, triggers: Any) -> _Triggers:
    """Return the samples of all triggers."""
    if not isinstance(triggers, xr.DataArray) or triggers.dtype != bool:
        times = np.asarray(triggers)
        if times.dtype.kind not in "iuf" or times.ndim != 1 or not np.isfinite(times).all():
            raise ArgumentError(
                f"{VERB} needs triggers as a list of finite times in s, or as a boolean DataArray "
                f"along 'time', got an array of {times.dtype} with the shape {times.shape}."
            )
        require_times(data, triggers, VERB, "triggers")
        return _Triggers(nearest_samples(data, times.astype(np.float64), VERB))
    if model.FRAMES in data.dims:
        triggers = _of_one_neuron(triggers)
    raster = require_raster(data, triggers, VERB)
    *rows, sample = np.nonzero(raster.values)
    times = model.seconds(raster, VERB)[sample]
    return _Triggers(nearest_samples(data, times, VERB), raster.dims[:-1], tuple(rows))


def _of_one_neuron(events: xr.DataArray) -> xr.DataArray:
    others = [dim for dim in events.dims if dim != model.TIME]
    several = {dim: size for dim, size in events.sizes.items() if dim in others and size != 1}
    if several:
        raise ArgumentError(
            f"{VERB} of a movie needs the events of one neuron, got {several}. Select one, for "
            "instance events.sel(neuron=3), or take those of all: events.any('neuron')."
        )
    return events.squeeze(others, drop=True)


def _of_movie(
    data: xr.DataArray, found: _Triggers, sides: tuple[int, int], reduce: str, dtype: np.dtype
) -> tuple[xr.Variable, xr.Variable]:
    ordered = data.transpose(model.FRAMES, ..., model.Y, model.X)
    values, count = triggered(
        ordered.data,
        _hits(data, found.onset, sides),
        valid=model.valid_frames(ordered),
        reduce=reduce,
        dtype=dtype,
    )
    dims = (model.LAG, *ordered.dims[1:])
    return xr.Variable(dims, values), _count(dims[: count.ndim], count)


def _hits(data: xr.DataArray, onset: np.ndarray, sides: tuple[int, int]) -> Hits:
    """Return every frame in a window, with its lag."""
    before, after = sides
    places = places_of(data, np.zeros(onset.size, np.intp), onset)
    lag = np.arange(before + 1 + after)
    at = places.onset[:, None] + lag - before
    inside = (at >= places.first[:, None]) & (at < places.stop[:, None])
    at, lag = at[inside], np.broadcast_to(lag, at.shape)[inside]
    order = np.argsort(at, kind="stable")
    return Hits(at[order], lag[order], before + 1 + after)


def _of_traces(
    data: xr.DataArray, found: _Triggers, sides: tuple[int, int], reduce: str, dtype: np.dtype
) -> tuple[xr.Variable, xr.Variable]:
    before, after = sides
    ordered = data.transpose(..., *found.dims, model.TIME)
    shape = tuple(data.sizes[dim] for dim in found.dims)
    places = places_of(data, row_numbers([*found.rows], shape, found.onset.size), found.onset)
    rows = as_rows(ordered.data, len(shape))
    lags = before + 1 + after
    whole: dict[str, Any] = {"lags": lags, "per_event": False, "before": before, "after": after}
    values = around_events(rows, averaged_windows, places, dtype=dtype, reduce=reduce, **whole)
    dims = (*ordered.dims[:-1], model.LAG)
    values = xr.Variable(dims, values.reshape(*ordered.shape[:-1], lags))
    if data.dtype.kind == "f":
        count = around_events(rows, counted_windows, places, dtype=np.dtype("i8"), **whole)
        return values, _count(dims, count.reshape(values.shape))
    # Integers lack no sample: one row tells the counts of all.
    none = np.broadcast_to(np.int8(0), rows.shape[-2:])
    count = counted_windows(none, places, dtype="i8", before=before, after=after)
    return values, _count((*found.dims, model.LAG), count.reshape(*shape, lags))


def _count(dims: tuple[Hashable, ...], count: Any) -> xr.Variable:
    return xr.Variable(dims, count, {"units": "1", "long_name": "samples in the average"})
