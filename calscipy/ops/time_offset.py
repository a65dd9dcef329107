"""When each neuron is sampled: the delay of its line and plane after the time of the frame."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, get_args

import dask.array as da
import numpy as np
import xarray as xr

from calscipy import model
from calscipy.errors import ArgumentError, TimeAxisError
from calscipy.history import described, recorded
from calscipy.kernels.time_offset import at_times
from calscipy.ops._time import along_time
from calscipy.ops.rois import first_pixel

CORRECTED = "corrected"  # the attribute `time_offset` of traces that were resampled

OffsetMethod = Literal["linear"]

_WANTED = (
    "scan_mode",
    "scan_line_period",
    "frame_period",
    "lines_per_frame",
    "rasters_per_frame",
)
# Modes that scan one line after the other, each in `scan_line_period`.
_LINE_BY_LINE = ("Galvo", "ResonantGalvo")
_LINE_SCAN = "Linescan"
_TOLERANCE = 0.02  # by which the lines of a frame may seem to take longer than the frame


def sampling_offset(
    movie: xr.DataArray, row: np.ndarray, planes: np.ndarray | None
) -> xr.Variable | None:
    """Return how long after the time of the frame each neuron is sampled, in s.

    Parameters
    ----------
    movie : DataArray
        Movie whose attributes tell how it was scanned.
    row : ndarray, shape (neurons,)
        Row of each neuron's centre, counted in the movie.
    planes : ndarray of int, shape (neurons,), optional
        Place of each neuron along the movie's planes.

    Returns
    -------
    Variable or None
        ``(neuron,)``; ``(neuron, time)`` if the delay of a plane changes from volume to volume,
        as with planes scanned up and down in turn. None where the metadata do not tell.
    """
    first = _first_line(movie.attrs)
    delay = _plane_delay(movie, planes, row.size)
    if first is None or delay is None or model.Y not in movie.coords:
        return None
    start, line_period = first
    lines = start + (first_pixel(movie, model.Y, "extract") + row) * line_period
    attrs = {"units": "s", "long_name": "sampling time of the neuron after the time of the frame"}
    if delay.ndim == 1:
        return xr.Variable(model.NEURON, lines + delay, attrs)
    return xr.Variable((model.NEURON, model.TIME), lines[:, None] + delay, attrs)


def _first_line(attrs: Mapping[str, Any]) -> tuple[float, float] | None:
    """Return when, on average, a frame's first line is scanned and the time from line to line.

    A frame averaged over several rasters shows the mean of their times.
    """
    if any(name not in attrs for name in _WANTED):
        return None
    line, frame = float(attrs["scan_line_period"]), float(attrs["frame_period"])
    rasters, lines = int(attrs["rasters_per_frame"]), int(attrs["lines_per_frame"])
    one_by_one = attrs["scan_mode"] in _LINE_BY_LINE and not attrs.get("interlaced_scan", False)
    if not one_by_one or _LINE_SCAN in str(attrs.get("sequence_type", "")):
        return None
    # Where lines were skipped, or the values belong to other settings, they contradict each other.
    fits = line > 0 and rasters > 0 and rasters * lines * line <= (1 + _TOLERANCE) * frame
    return ((rasters - 1) / 2 * frame / rasters, line) if fits else None


def _plane_delay(movie: xr.DataArray, planes: np.ndarray | None, count: int) -> np.ndarray | None:
    """Return the delay of each neuron's plane after its volume, in s.

    Shape (neurons,), or (neurons, frames) if a plane's delay changes by more than 2 % of the time
    between volumes. None for a movie of planes that does not say when they were scanned.
    """
    if model.PLANE_TIME not in movie.coords:
        return None if model.PLANE in movie.coords else np.zeros(count)
    if planes is None and model.PLANE in movie[model.PLANE_TIME].dims:
        return None
    table = movie[model.PLANE_TIME].transpose(model.FRAMES, ...)
    times = model.coordinate(movie, model.TIME)
    delay = model.coordinate(table, model.PLANE_TIME).reshape(times.size, -1) - times[:, None]
    known = np.isfinite(delay)
    if not known.any(axis=0).all():
        return None
    usual = np.nanmedian(delay, axis=0)
    steps = np.diff(times)
    tolerance = model.REGULAR_TOLERANCE * (np.median(steps) if steps.size else np.inf)
    where = np.zeros(count, dtype=np.int64) if planes is None else planes
    if (np.abs(delay - usual)[known] <= tolerance).all():
        return np.asarray(usual[where])
    return np.asarray(delay.T[where])


@recorded
def correct_time_offset(data: xr.DataArray, *, method: OffsetMethod = "linear") -> xr.DataArray:
    """Resample traces so that all neurons have their values at the common ``time``.

    A frame is scanned line by line and a volume plane by plane, so neurons are sampled up to a
    frame or a volume later than ``time`` says. Each trace is interpolated between the times
    ``time + time_offset`` at which it was really sampled.

    Parameters
    ----------
    data : DataArray
        Traces ``(neuron, time)`` with the coordinate ``time_offset`` in s, as :func:`extract`
        makes it.
    method : {"linear"}, default "linear"
        How to interpolate between the two samples around a time.

    Returns
    -------
    DataArray
        Same dims, without ``time_offset``; float32 (float64 for float64 and for integers of over
        16 bits). NaN before the first and after the last sample of an epoch, which as a rule is
        the first sample of each, and where one of the two samples around a time is NaN: nothing
        is extrapolated or bridged.

    Raises
    ------
    ArgumentError
        If there is no ``time_offset``, if it is no number of seconds or longer than any epoch, or
        if the traces were corrected before.
    TimeAxisError
        If times go back, or samples are missing within an epoch.

    Examples
    --------
    >>> import calscipy as cs
    >>> traces = cs.from_numpy(np.array([[0.0, 1.0, 2.0]]), frame_rate=1)
    >>> late = traces.assign_coords(time_offset=("neuron", [0.25]))
    >>> correct_time_offset(late).values.tolist()
    [[nan, 0.75, 1.75]]
    """
    model.require_dims(data, (model.TIME,), "correct_time_offset")
    if not isinstance(method, str) or method not in get_args(OffsetMethod):
        raise ArgumentError(f"method must be one of {get_args(OffsetMethod)}, got {method!r}")
    if data.attrs.get(model.TIME_OFFSET) == CORRECTED:
        raise ArgumentError(
            "correct_time_offset: these traces were corrected before. Use them as they are."
        )
    if model.TIME_OFFSET not in data.coords or not set(data[model.TIME_OFFSET].dims) <= set(
        data.dims
    ):
        raise ArgumentError(
            "correct_time_offset needs the coordinate 'time_offset' in s, found "
            f"{sorted(map(str, data.coords))}. extract() gives it where the metadata of the "
            "microscope tell when lines and planes were scanned; else assign your own: "
            "traces.assign_coords(time_offset=('neuron', seconds))."
        )
    times = model.seconds(data, "correct_time_offset")
    model.require_gapless(data, "correct_time_offset")
    others = (_offsets(data, times), xr.Variable(model.TIME, times))
    result = along_time(
        data,
        _at_common_times,
        verb="correct_time_offset",
        others=tuple(_like(data, other) for other in others),
    )
    name = data.attrs.get("long_name", "fluorescence")
    result = described(
        result.drop_vars(model.TIME_OFFSET),
        units=data.attrs.get("units", "1"),
        long_name=f"{name}, at common times",
    )
    return result.assign_attrs({model.TIME_OFFSET: CORRECTED})


def _offsets(data: xr.DataArray, times: np.ndarray) -> xr.Variable:
    """Return the offsets in s, none of them NaN."""
    values = model.coordinate(data, model.TIME_OFFSET)
    if values.dtype.kind not in "iuf":
        raise ArgumentError(
            "correct_time_offset needs 'time_offset' as numbers of seconds, found an array of "
            f"{values.dtype}. Assign your own: "
            "traces.assign_coords(time_offset=('neuron', seconds))."
        )
    values = values.astype(np.float64)
    _require_within_epochs(data, values, times)
    offset = xr.Variable(data[model.TIME_OFFSET].dims, values)
    if model.TIME in offset.dims:
        # Where a plane was not scanned there is no value either: any time near will do.
        known = offset.notnull().sum(model.TIME)
        offset = offset.fillna(offset.sum(model.TIME) / known.clip(min=1))
        taken = (offset + xr.Variable(model.TIME, times)).transpose(..., model.TIME).values
        if any((np.diff(taken[..., part]) <= 0).any() for part in model.epochs(data)):
            raise TimeAxisError(
                "correct_time_offset: with 'time_offset' added, the times of a neuron's samples go "
                "back within an epoch. Offsets are seconds, and change by less than the step of "
                "'time'."
            )
    elif not np.isfinite(values).all():
        raise ArgumentError(
            "correct_time_offset needs finite offsets, found NaN or inf in 'time_offset'. Leave "
            "these neurons out: traces.sel(neuron=numpy.isfinite(traces.time_offset))."
        )
    return offset


def _require_within_epochs(data: xr.DataArray, values: np.ndarray, times: np.ndarray) -> None:
    """Raise if an offset is longer than every epoch, as those in ms are."""
    steps = np.concatenate([np.diff(times[part]) for part in model.epochs(data)])
    if not steps.size:
        return
    lasts = (times[part.stop - 1] - times[part.start] for part in model.epochs(data))
    length = max(lasts) + float(np.median(steps))
    largest = float(np.nanmax(np.abs(values), initial=0.0, where=np.isfinite(values)))
    if largest > length:
        raise ArgumentError(
            f"correct_time_offset needs offsets in s, found one of {largest:.6g} s, over the "
            f"length of the longest epoch of {length:.6g} s. Divide offsets in ms by 1000."
        )


def _like(data: xr.DataArray, small: xr.Variable) -> xr.DataArray:
    """Spread values over all dimensions of the data without a copy, lazily if it is lazy."""
    values = small.set_dims(
        {dim: small.sizes.get(dim, 1) for dim in data.dims}  # type: ignore[arg-type]
    ).transpose(*data.dims)
    if data.chunks is None:
        return data.copy(data=np.broadcast_to(values.values, data.shape))
    chunks = [
        size if length > 1 else 1 for size, length in zip(data.chunks, values.shape, strict=True)
    ]
    lazy = da.from_array(values.values, chunks=tuple(chunks))
    return data.copy(data=da.broadcast_to(lazy, data.shape, chunks=data.chunks))


def _at_common_times(f: np.ndarray, offset: np.ndarray, times: np.ndarray) -> np.ndarray:
    return at_times(f, times + offset, times[(0,) * (times.ndim - 1)])
