"""What the operations on windows around events share."""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr

from calscipy import model
from calscipy.errors import ArgumentError, TimeAxisError, first_few
from calscipy.kernels.waveforms import Places
from calscipy.ops._frames import LONGEST_WINDOW, is_number, require_seconds

HALF_STEP = 0.5 * (1 + model.REGULAR_TOLERANCE)  # steps may be that much longer than usual


def window_samples(before: Any, after: Any, rate: float, verb: str, words: str) -> tuple[int, int]:
    """Turn the two sides of a window in s into samples, rounded."""
    for value in (before, after):
        if not (is_number(value) and np.isfinite(value) and value >= 0):
            raise ArgumentError(
                f"{verb} needs {words} in seconds, 0 or more, got {before!r} and {after!r}"
            )
        require_seconds(value, LONGEST_WINDOW, verb, words)
    return round(before * rate), round(after * rate)


def lag_coordinate(before: int, after: int, rate: float) -> xr.Variable:
    """Label the samples of a window: seconds after the onset, 0 there."""
    attrs = {"units": "s", "long_name": "time after the onset"}
    return xr.Variable(model.LAG, np.arange(-before, after + 1) / rate, attrs)


def places_of(data: xr.DataArray, row: np.ndarray, onset: np.ndarray) -> Places:
    """Return events with the borders of the epochs in which they lie."""
    parts = model.epochs(data)
    firsts = np.array([part.start for part in parts])
    stops = np.array([part.stop for part in parts])
    which = np.searchsorted(stops, onset, side="right")
    return Places(row, onset, firsts[which], stops[which])


def as_rows(values: Any, leading: int) -> Any:
    """Merge the last ``leading`` axes before time into one, or put in one of length 1."""
    if leading == 0:
        return values[..., None, :]
    if leading == 1:
        return values
    return values.reshape(*values.shape[: -leading - 1], -1, values.shape[-1])


def row_numbers(index: list[np.ndarray], shape: tuple[int, ...], count: int) -> np.ndarray:
    """Return the row, along the axis that `as_rows` makes, of each of ``count`` events."""
    return np.asarray(np.ravel_multi_index(index, shape)) if index else np.zeros(count, np.intp)


def require_raster(data: xr.DataArray, events: Any, verb: str) -> xr.DataArray:
    """Return events in the order of the dimensions of the data, time last.

    Raises
    ------
    ArgumentError
        Unless this is a boolean raster of the same neurons as the data.
    """
    if not isinstance(events, xr.DataArray) or events.dtype != bool:
        kind = events.dtype if isinstance(events, xr.DataArray) else type(events).__name__
        raise ArgumentError(
            f"{verb} needs events as a boolean DataArray along 'time', got {kind}. "
            "Make them with traces.cs.events(...), or compare: probabilities > 0.5."
        )
    model.require_dims(events, (model.TIME,), verb)
    unknown = [str(dim) for dim in events.dims if dim not in {*data.dims, model.TIME}]
    if unknown:
        raise ArgumentError(
            f"{verb}: the events have the dimensions {unknown}, which {tuple(data.dims)} of the "
            f"data lack. Select one of them: events.isel({unknown[0]}=0)."
        )
    leading = [dim for dim in data.dims if dim in events.dims and dim != model.TIME]
    for dim in leading:
        _require_same(data, events, str(dim), verb)
    return events.transpose(*leading, model.TIME)


def require_same_times(data: xr.DataArray, events: xr.DataArray, verb: str) -> None:
    """Raise unless events are at exactly the times of the data."""
    _require_same(data, events, model.TIME, verb)


def _require_same(data: xr.DataArray, events: xr.DataArray, dim: str, verb: str) -> None:
    sizes = data.sizes[dim], events.sizes[dim]
    same = sizes[0] == sizes[1]
    if same and dim in data.coords and dim in events.coords:
        mine, theirs = (model.coordinate(array, dim) for array in (data, events))
        same = np.array_equal(mine, theirs)
    if not same:
        raise ArgumentError(
            f"{verb}: the events are of other labels along {dim!r} than the data ({sizes[1]} and "
            f"{sizes[0]} of them). Select the same in both, for instance "
            f"events.sel({dim}=data.{dim})."
        )


def require_times(data: xr.DataArray, times: Any, verb: str, name: str) -> None:
    """Raise for a raster or a trace of numbers in the place of a list of times.

    Raises
    ------
    ArgumentError
        If the array has a value for each sample of the data, and these are not their times.
    """
    if not isinstance(times, xr.DataArray) or times.ndim != 1:
        return
    dim = model.time_dim(data, verb)
    along = times.dims[0] in (model.TIME, model.FRAMES) and times.size == data.sizes[dim]
    if along and not np.array_equal(times.values, model.seconds(data, verb)):
        raise ArgumentError(
            f"{verb} needs {name} as times in s, but this array has a value of {times.dtype} for "
            f"each of the {times.size} samples. Select the times of events by it, for instance "
            "data.time[array > 0.5]."
        )


def nearest_samples(data: xr.DataArray, times: np.ndarray, verb: str) -> np.ndarray:
    """Return the sample that is nearest to each time, at most half a step away.

    Raises
    ------
    ArgumentError
        Naming times outside of the recording or between its epochs.
    TimeAxisError
        If the times of the data do not increase.
    """
    rate = model.regular_rate(data, verb)
    seconds = model.seconds(data, verb)
    if not (np.diff(seconds) > 0).all():
        raise TimeAxisError(
            f"{verb} needs increasing times to find samples by them, but those of this array go "
            "back. Select one of its epochs, or sort it: data.sortby('time')."
        )
    right = np.clip(np.searchsorted(seconds, times), 1, len(seconds) - 1)
    left = right - 1
    nearest = np.where(times - seconds[left] <= seconds[right] - times, left, right)
    outside = np.abs(times - seconds[nearest]) * rate > HALF_STEP
    if outside.any():
        named = first_few([f"{time:g} s" for time in times[outside]], 5)
        raise ArgumentError(
            f"{verb}: the times {named} lie outside of the recording, which goes from "
            f"{seconds[0]:g} to {seconds[-1]:g} s, or between its epochs. Leave them out; times "
            "count from the same zero as data.time."
        )
    return nearest
