"""Traces cut into trials, and trials joined to traces."""

from __future__ import annotations

import functools
import operator
from collections.abc import Hashable
from typing import Any, NamedTuple

import numpy as np
import xarray as xr
from numpy.typing import ArrayLike

from calscipy import model
from calscipy.blocks.rows import by_rows
from calscipy.errors import ArgumentError, TimeAxisError, first_few
from calscipy.history import described, recorded
from calscipy.kernels import trials as kernels
from calscipy.ops._bins import (
    Edges,
    Partial,
    bin_edges,
    is_constant,
    require_partial,
    whole_samples,
)
from calscipy.ops._time import float_dtype
from calscipy.ops._windows import nearest_samples, require_times, window_samples

_OF_TRIALS = (model.TRIAL, model.START, model.START_OFFSET, model.SAMPLE_TIME)


class _Cut(NamedTuple):
    """Which samples make a trial, and what is known of each."""

    starts: np.ndarray  # samples [start, stop) that it has
    stops: np.ndarray
    before: np.ndarray  # samples that it lacks at its beginning
    lags: np.ndarray  # of its samples, counted from its start
    numbers: np.ndarray  # of the trials that are left, from 0
    seconds: np.ndarray  # when it starts, as asked for
    offset: np.ndarray  # how much later the sample is that stands for the start

    def part(self, which: np.ndarray) -> _Cut:
        """Return some of the trials."""
        return _Cut(*(own if own is self.lags else own[which] for own in self))

    def plan(self) -> dict[str, Any]:
        """Return what the kernel needs."""
        places = {"starts": self.starts, "stops": self.stops, "before": self.before}
        return {**places, "length": len(self.lags)}


@recorded
def to_trials(
    data: xr.DataArray,
    *,
    length: float | None = None,
    starts: ArrayLike | xr.DataArray | None = None,
    window: tuple[float, float] | None = None,
    partial: Partial | None = None,
) -> xr.DataArray:
    """Cut traces or events into trials of one length, consecutive or around given starts.

    Parameters
    ----------
    data : DataArray
        Traces or events ``(neuron, time)``, evenly sampled.
    length : float, optional
        Consecutive trials of this length in s, which must be a whole number of samples within
        1 %. Trials are counted anew from the beginning of each epoch.
    starts : array_like or DataArray, shape (trials,), optional
        When trials start in s, counted as ``data.time``, in any order; a DataArray in memory
        brings its coordinates with it, such as the condition of each trial. The sample that is
        nearest stands for the start.
    window : (float, float), optional
        With ``starts``: how long before and after the start a trial reaches in s, both 0 or more,
        rounded to whole samples; the sample of the start comes on top.
    partial : {"error", "drop", "keep"}, optional
        What to do with a trial that is not complete: the last one of an epoch for ``length``, one
        whose window leaves the recording or its epoch for ``starts``. ``"drop"`` leaves it out,
        ``"keep"`` makes the samples that it lacks NaN, which booleans cannot be. By default
        ``"keep"`` for numbers with ``starts``, ``"error"`` otherwise.

    Returns
    -------
    DataArray
        ``(trial, ..., time)`` in the units of ``data``, of the same dtype, but float32 (float64
        for over 16 bits) for integers that may lack samples. ``time`` is in s from the start.
        Coordinates of each trial: ``trial``, its number (starts that are left out count),
        ``start`` in s, and ``start_offset``, how much later the sample at ``time`` 0 was taken.
        ``sample_time(trial, time)`` is when each sample was taken, NaN if it is lacking.
        Coordinates along time become coordinates of trials where they do not change within
        any, else of trials and time; those that cannot be NaN are left out where samples are
        lacking.

    Raises
    ------
    ArgumentError
        For starts outside of the recording or in a gap between epochs, named; for trials that are
        not complete; for coordinates of ``starts`` that the data have too.
    TimeAxisError
        If the samples are not evenly spaced.

    See Also
    --------
    join_trials : The way back.

    Examples
    --------
    >>> import calscipy as cs
    >>> traces = cs.from_numpy(np.arange(8.0)[None], frame_rate=2)
    >>> to_trials(traces, length=2)[:, 0].values.tolist()
    [[0.0, 1.0, 2.0, 3.0], [4.0, 5.0, 6.0, 7.0]]
    >>> around = to_trials(traces, starts=[0.1, 2.0], window=(0.5, 1))
    >>> around[:, 0].values.tolist(), around.start_offset.values.tolist()
    ([[nan, 0.0, 1.0, 2.0], [3.0, 4.0, 5.0, 6.0]], [-0.1, 0.0])
    """
    model.require_dims(data, (model.TIME,), "to_trials")
    if data.dtype.kind not in "biuf" or model.TRIAL in data.dims:
        raise ArgumentError(
            "to_trials needs traces of numbers or booleans that are not trials yet, got an array "
            f"of {data.dtype} with the dimensions {tuple(data.dims)}"
        )
    if (length is None) == (starts is None) or (starts is None) != (window is None):
        raise ArgumentError(
            "to_trials needs either length=, for consecutive trials, or starts= and window=, for "
            "trials around given times"
        )
    if partial is None:
        partial = "error" if starts is None or data.dtype.kind == "b" else "keep"
    require_partial(partial, "to_trials")
    if data.dtype.kind == "b" and partial == "keep":
        raise ArgumentError(
            "to_trials(partial='keep') makes samples NaN, which booleans cannot be. Leave such "
            "trials out with partial='drop', or count in floats: data.astype('float32')."
        )
    times = model.seconds(data, "to_trials")
    known: dict[Hashable, xr.Variable] = {}
    if starts is None:
        cut = _consecutive(data, times, length, partial)
    else:
        asked, known = _asked(data, starts)
        cut = _around(data, times, asked, window, partial)
    dtype = data.dtype.newbyteorder("=")
    if partial == "keep" and dtype.kind in "iu":
        dtype = float_dtype(data)
    others = [dim for dim in data.dims if dim != model.TIME]
    shape = (len(cut.starts), len(cut.lags))
    values = by_rows(
        data.transpose(*others, model.TIME).data,
        kernels.cut_trials,
        shape=shape,
        dtype=dtype,
        **cut.plan(),
    )
    coords = _coords(data, times, cut) | {name: own[cut.numbers] for name, own in known.items()}
    result = xr.DataArray(values, coords, (*others, model.TRIAL, model.TIME), name=data.name)
    result = result.transpose(model.TRIAL, *others, model.TIME)
    return _same_words(result, data, partial=partial)


def _same_words(result: xr.DataArray, data: xr.DataArray, **used: Any) -> xr.DataArray:
    name = data.attrs.get("long_name", "fluorescence")
    return described(result, units=data.attrs.get("units", "1"), long_name=name, **used)


def _consecutive(data: xr.DataArray, times: np.ndarray, length: Any, partial: str) -> _Cut:
    count = whole_samples(length, model.regular_rate(data, "to_trials"), "to_trials", "length")
    edges = bin_edges(data, {model.TIME: count}, partial, "to_trials", "trials")
    starts, stops = edges[model.TIME]
    none = np.zeros(len(starts), np.int64)
    numbers = np.arange(len(starts))
    return _Cut(starts, stops, none, np.arange(count), numbers, times[starts], none * 0.0)


def _around(
    data: xr.DataArray, times: np.ndarray, asked: np.ndarray, window: Any, partial: str
) -> _Cut:
    if not (isinstance(window, tuple | list) and len(window) == 2):
        raise ArgumentError(
            f"to_trials needs window as two lengths in s, (before, after), got {window!r}"
        )
    rate = model.regular_rate(data, "to_trials")
    sides = window[0], window[1]
    before, after = window_samples(*sides, rate, "to_trials", "window=(before, after)")
    nearest = nearest_samples(data, asked, "to_trials")
    parts = model.epochs(data)
    ends = np.array([part.stop for part in parts])
    epoch = np.searchsorted(ends, nearest, side="right")
    starts = np.maximum(nearest - before, np.array([part.start for part in parts])[epoch])
    stops = np.minimum(nearest + after + 1, ends[epoch])
    lags = np.arange(-before, after + 1)
    lacking = starts - (nearest - before)
    offset = times[nearest] - asked
    cut = _Cut(starts, stops, lacking, lags, np.arange(len(asked)), asked, offset)
    whole = stops - starts == len(lags)
    if partial == "keep" or whole.all():
        return cut
    if partial == "error" or not whole.any():
        named = first_few([f"{time:g} s" for time in asked[~whole]], 5)
        floats = "" if data.dtype.kind != "b" else " of floats (data.astype('float32'))"
        raise ArgumentError(
            f"to_trials: the windows around the starts at {named} leave the recording or their "
            "epoch. Make the window shorter, leave these trials out with partial='drop' if others "
            f"are left, or fill them with NaN by partial='keep'{floats}."
        )
    return cut.part(np.flatnonzero(whole))


def _asked(data: xr.DataArray, starts: Any) -> tuple[np.ndarray, dict[Hashable, xr.Variable]]:
    """Return the times at which trials start, and what else is known of them."""
    labelled = isinstance(starts, xr.DataArray)
    if labelled and starts.chunks is not None:
        raise ArgumentError("to_trials needs starts in memory: starts.compute()")
    asked = np.asarray(starts.values if labelled else starts)
    if asked.ndim != 1 or not len(asked) or asked.dtype.kind not in "iuf":
        raise ArgumentError(
            "to_trials needs starts as at least one number in a single dimension, got an array of "
            f"{asked.dtype} and the shape {asked.shape}"
        )
    require_times(data, starts, "to_trials", "starts")
    asked = asked.astype(np.float64)
    if not np.isfinite(asked).all():
        raise ArgumentError(
            f"to_trials: the starts {first_few(np.flatnonzero(~np.isfinite(asked)).tolist())} are "
            "not finite. Leave them out: starts[numpy.isfinite(starts)]."
        )
    if not labelled:
        return asked, {}
    coords: dict[Hashable, xr.Variable] = {}
    for name, coord in starts.coords.items():
        # Times that are labelled by themselves bring nothing new.
        if coord.dims != starts.dims or name in (model.TIME, *_OF_TRIALS[1:]):
            continue
        if name in {*data.coords, *data.dims}:
            raise ArgumentError(
                f"to_trials: both the data and the starts have a coordinate {name!r}. Drop or "
                f"rename it in one of them: starts.drop_vars({name!r})."
            )
        values = model.coordinate(starts, str(name))
        coords[name] = xr.Variable(model.TRIAL, values, coord.attrs)
    return asked, coords


def _coords(data: xr.DataArray, times: np.ndarray, cut: _Cut) -> dict[Hashable, xr.Variable]:
    """Return the coordinates that the data bring and those that tell where trials are."""
    found: dict[Hashable, xr.Variable] = {}
    for name, coord in data.coords.items():
        if name in (model.TIME, *_OF_TRIALS):
            continue
        variable = coord.variable
        if model.TIME in coord.dims:
            values = model.coordinate(data, str(name))
            variable = xr.Variable(coord.dims, values, coord.attrs).transpose(..., model.TIME)
            variable = _cut_variable(variable, cut)
        if variable is not None:
            found[name] = variable
    rate = model.regular_rate(data, "to_trials")
    when = kernels.cut_trials(times, dtype=times.dtype, **cut.plan())
    for name, dims, values, words in (
        (model.TIME, model.TIME, cut.lags / rate, "time from the start of the trial"),
        (model.START, model.TRIAL, cut.seconds, "start of the trial"),
        (model.START_OFFSET, model.TRIAL, cut.offset, "delay of the sample at the start"),
    ):
        found[name] = xr.Variable(dims, values, {"units": "s", "long_name": words})
    found[model.TRIAL] = xr.Variable(model.TRIAL, cut.numbers, {"long_name": "trial"})
    attrs = {"units": "s"} | data[model.TIME].attrs
    found[model.SAMPLE_TIME] = xr.Variable((model.TRIAL, model.TIME), when, attrs)
    return found


def _cut_variable(variable: xr.Variable, cut: _Cut) -> xr.Variable | None:
    """Return a coordinate along time for trials; None if it cannot tell what is lacking."""
    values = variable.values
    if values.ndim == 1 and is_constant(values, Edges(cut.starts, cut.stops)):
        return xr.Variable(model.TRIAL, values[cut.starts], variable.attrs)
    dtype = values.dtype
    if (cut.stops - cut.starts < len(cut.lags)).any():
        if dtype.kind not in "iuf":
            return None
        dtype = dtype if dtype.kind == "f" else np.dtype("f8")
    dims = (*variable.dims[:-1], model.TRIAL, model.TIME)
    return xr.Variable(dims, kernels.cut_trials(values, dtype=dtype, **cut.plan()), variable.attrs)


@recorded
def join_trials(data: xr.DataArray) -> xr.DataArray:
    """Join trials to traces: the way back from :func:`to_trials`.

    Parameters
    ----------
    data : DataArray
        Trials ``(trial, ..., time)``, in the order of their times and without overlap.

    Returns
    -------
    DataArray
        Traces ``(..., time)`` of the same units and dtype. ``time`` is exactly what
        ``sample_time`` says, and samples without such a time, which their trial lacks, are left
        out; in trials without this coordinate it is ``start + start_offset + time``. Coordinates
        along trials are repeated for each sample, but for those that :func:`to_trials` adds.
        Trials that do not follow each other within one and a half steps are epochs of their own.

    Raises
    ------
    TimeAxisError
        If it is not known when trials start, or if trials overlap or are not in order.

    Examples
    --------
    >>> import calscipy as cs
    >>> traces = cs.from_numpy(np.arange(8.0)[None], frame_rate=2)
    >>> join_trials(to_trials(traces, length=2)).equals(traces)
    True
    """
    model.require_dims(data, (model.TRIAL, model.TIME), "join_trials")
    times = _sample_times(data)
    there = ~np.isnan(times)
    if not there.any():
        raise ArgumentError("join_trials needs at least one sample, but these trials have none")
    others = [dim for dim in data.dims if dim not in (model.TRIAL, model.TIME)]
    values = by_rows(
        data.transpose(*others, model.TRIAL, model.TIME).data,
        kernels.join_trials,
        shape=(int(there.sum()),),
        dtype=data.dtype,
        core=2,
        there=there,
    )
    coords: dict[Hashable, xr.Variable] = {}
    shape = {model.TRIAL: len(times), model.TIME: times.shape[1]}
    for name, coord in data.coords.items():
        if name in (model.TIME, *_OF_TRIALS):
            continue
        if not {model.TRIAL, model.TIME} & set(coord.dims):
            coords[name] = coord.variable
            continue
        variable = xr.Variable(coord.dims, model.coordinate(data, str(name)), coord.attrs)
        kept = {dim: size for dim, size in variable.sizes.items() if dim not in shape}
        whole = variable.set_dims(kept | shape).transpose(*kept, *shape)
        joined = kernels.join_trials(whole.values, there=there, dtype=whole.dtype)
        coords[name] = xr.Variable((*kept, model.TIME), joined, coord.attrs)
    words = {"units": "s", "long_name": "time"}
    attrs = data[model.SAMPLE_TIME].attrs if model.SAMPLE_TIME in data.coords else words
    coords[model.TIME] = xr.Variable(model.TIME, times[there], attrs)
    result = xr.DataArray(values, coords, (*others, model.TIME), name=data.name)
    return _same_words(_with_epochs(result), data)


def _sample_times(data: xr.DataArray) -> np.ndarray:
    """Return when each sample was taken, shape ``(trials, samples)``."""
    if model.SAMPLE_TIME in data.coords:
        times = xr.Variable(data[model.SAMPLE_TIME].dims, model.coordinate(data, model.SAMPLE_TIME))
    else:
        lacking = sorted({model.START, model.TIME} - set(data.coords))
        if lacking:
            raise TimeAxisError(
                f"join_trials needs to know when trials start, but there is no coordinate "
                f"{lacking}. Add it, for instance "
                "trials.assign_coords(start=('trial', length * numpy.arange(n))), in s."
            )
        names = [model.START, model.TIME, *({model.START_OFFSET} & set(data.coords))]
        found = [xr.Variable(data[name].dims, model.coordinate(data, name)) for name in names]
        times = functools.reduce(operator.add, found)
    sizes = {dim: data.sizes[dim] for dim in (model.TRIAL, model.TIME)}
    return np.asarray(times.set_dims(sizes).transpose(*sizes).values, np.float64)


def _with_epochs(traces: xr.DataArray) -> xr.DataArray:
    """Mark where trials do not follow each other, unless epochs tell already.

    Raises
    ------
    TimeAxisError
        If times go back.
    """
    times = traces[model.TIME].values
    border = np.zeros(len(times), bool)
    border[[part.start for part in model.epochs(traces)]] = True
    steps = np.diff(times)
    usual = float(np.median(steps[steps > 0])) if (steps > 0).any() else 0.0
    back = ~border[1:] & (steps <= 0)
    if back.any():
        after, before = times[1:][back][0], times[:-1][back][0]
        raise TimeAxisError(
            f"join_trials needs trials one after the other, but a sample at {after:.6g} s follows "
            f"one at {before:.6g} s. Sort them (trials.sortby('start')), or cut them without "
            "overlap."
        )
    gap = np.concatenate([[False], steps > (1 + model.GAP) * usual])
    if not (gap & ~border).any():
        return traces
    number = np.cumsum(border | gap)
    return traces.assign_coords({model.EPOCH: (model.TIME, number, {"long_name": "epoch"})})
