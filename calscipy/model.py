"""The words of the data model: names of dimensions, groups and attributes, and the time axis."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
import xarray as xr

from calscipy.errors import DimensionError, TimeAxisError

FRAMES, TIME, CHANNEL, PLANE, Y, X = "frames", "time", "channel", "plane", "y", "x"
NEURON, PIXEL, TRIAL = "neuron", "pixel", "trial"
EVENT, LAG = "event", "lag"  # of tables of events, and of what lies around them
VERTEX, ROI_NAME = "vertex", "roi_name"
MOVIE_DIMS = (FRAMES, CHANNEL, PLANE, Y, X)

CYCLE, EPOCH, VALID, PLANE_TIME, Z = "cycle", "epoch", "valid", "plane_time", "z"

MOVIE, TRACES, EVENTS, ROIS = "movie", "traces", "events", "rois"
VOLTAGE, STIMULUS = "voltage", "stimulus"
LINESCAN, BRIGHTNESS = "linescan", "brightness"
GROUPS = (MOVIE, TRACES, EVENTS, ROIS, VOLTAGE, STIMULUS, LINESCAN, BRIGHTNESS)

IMAGES, REGISTRATION = "images", "registration"  # of other programs' results

SCHEMA_VERSION = 2  # 2: stores have a manifest
SCHEMA_ATTR = "calscipy_schema_version"
COMPLETE_ATTR = "calscipy_complete"
SOURCE_ATTR = "source"
STATE_ATTR = "prairieview"
LEVEL_ATTR = "level"  # "removed" once an operation has taken the mean level away
CLOCK_ATTR = "clock"  # on `time`: the signal that it comes from
LATEST_ATTR = "latest"  # on a group: the variable that the session's next verb works on
IMAGE_SHAPE_ATTR = "image_shape"  # on ROIs: the image they were made on
NEUROPIL, SPIKES, BASELINE = "neuropil", "spikes", "baseline"  # variables beside the traces
BESIDE = (NEUROPIL, BASELINE)  # what other traces are corrected by; the next verb takes the others
NEUROPIL_COEFFICIENT = "neuropil_coefficient"
NEUROPIL_PIXEL, NEUROPIL_NEURON = "neuropil_pixel", "neuropil_neuron"  # masks beside the ROIs
START, START_OFFSET, SAMPLE_TIME = "start", "start_offset", "sample_time"  # of trials
COMPONENT = "component"  # of factorised traces
SIGNAL = "signal"  # of a voltage recording
LINE, LINE_INTERVAL = "line", "line_interval"  # of line scans
DISTANCE, LINE_Y, LINE_X = "distance", "line_y", "line_x"  # where their pixels lie
REGION = "region"  # whose brightness was recorded over time
PROFILE, SAMPLE = "profile_number", "sample"  # of line profiles
RECORDING, RECORDING_TIME = "recording", "recording_time"  # of a sample of joined recordings
RECORDINGS_ATTR = "recordings"  # on the root: where joined recordings come from
ONSET = "onset"  # of a stimulus, in s
TIME_OFFSET = "time_offset"
Y_SHIFT, X_SHIFT, SCAN_PHASE = "y_shift", "x_shift", "scan_phase"
BINNED_ATTR = "binned"  # on the y and x coordinates: recorded pixels in one of these
PIXEL_SIZE_ATTR = "pixel_size"  # on the y and x coordinates: the step of one recorded pixel

SECONDS = ("s", "sec", "second", "seconds")  # what CF and UDUNITS call them
REGULAR_TOLERANCE = 0.02
GAP = 0.5  # share of a step by which a longer one means that samples are missing

Kind = Literal["movie", "image", "traces", "events", "trials", "waveforms", "voltage", "rois"]


def kind(data: xr.DataArray) -> Kind | None:
    """Tell from the names of its dimensions what an array is.

    Examples
    --------
    >>> kind(xr.DataArray(np.zeros((2, 3, 4)), dims=("frames", "y", "x")))
    'movie'
    """
    dims = set(data.dims)
    if {FRAMES, Y, X} <= dims:
        return "movie"
    if {Y, X} <= dims and TIME not in dims:
        return "image"
    if {TRIAL, TIME} <= dims:
        return "trials"
    if LAG in dims:  # of events one by one, or averaged
        return "waveforms"
    if {SIGNAL, TIME} <= dims:
        return "voltage"
    if {NEURON, TIME} <= dims or dims == {TIME}:
        return "events" if data.dtype == bool else "traces"
    if dims == {PIXEL}:
        return "rois"
    return None


def time_dim(data: xr.DataArray, verb: str) -> str:
    """Return the dimension along which time runs.

    Raises
    ------
    DimensionError
        If there is neither ``frames`` nor ``time``.
    """
    for dim in (TIME, FRAMES):
        if dim in data.dims:
            return dim
    raise DimensionError(
        f"{verb} needs a {FRAMES!r} or {TIME!r} dimension, found {tuple(data.dims)}. "
        f"Apply {verb} before averaging over time, or rename the dimension."
    )


def require_dims(data: xr.DataArray, dims: tuple[str, ...], verb: str) -> None:
    """Raise unless ``data`` has all of ``dims``."""
    missing = [dim for dim in dims if dim not in data.dims]
    if missing:
        raise DimensionError(
            f"{verb} needs the dimensions {dims}, found {tuple(data.dims)}. "
            f"Rename the dimensions that mean {missing}, for instance "
            f"data.rename(t={missing[0]!r})."
        )


def seconds(data: xr.DataArray, verb: str) -> np.ndarray:
    """Return the times of the samples in seconds, shape ``(samples,)``.

    Raises
    ------
    TimeAxisError
        If there is no ``time`` coordinate, as calscipy never assumes a frame rate, or if it holds
        dates, durations or words, or says that it is in another unit.
    """
    dim = time_dim(data, verb)
    if TIME not in data.coords or data[TIME].dims != (dim,):
        raise TimeAxisError(
            f"{verb} needs a 'time' coordinate along {dim!r} in seconds, found the coordinates "
            f"{sorted(map(str, data.coords))}. Add one, for instance "
            f"data.assign_coords(time=({dim!r}, numpy.arange(n) / frame_rate))."
        )
    times = coordinate(data, TIME)
    if times.dtype.kind not in "iuf":  # as numbers, dates would be in ns and the rate 1e9 off
        raise TimeAxisError(
            f"{verb} needs times in seconds as numbers, found {times.dtype}. Dates and durations "
            "become seconds by data.assign_coords(time=(data.time - data.time[0]) / "
            "numpy.timedelta64(1, 's'))."
        )
    units = data[TIME].attrs.get("units", "s")
    if units not in SECONDS:
        raise TimeAxisError(
            f"{verb} needs times in seconds, found units={units!r}. Convert them, for instance "
            f"data.assign_coords(time=({dim!r}, data.time.values / 1000)) from ms, or set their "
            "attribute units to 's' if they are in seconds."
        )
    return times.astype(np.float64)


def coordinate(data: xr.DataArray, name: str) -> np.ndarray:
    """Return the values of a coordinate.

    ``DataArray.chunk`` makes coordinates lazy. They are small and needed to build a graph, so they
    are computed at once and here, not by the scheduler that computes images.
    """
    known = data.coords.variables  # quicker than an array with all that goes with it
    values = known[name].data if name in known else data[name].data
    if hasattr(values, "dask"):
        values = values.compute(scheduler="synchronous")
    return np.asarray(values)


def epochs(data: xr.DataArray) -> list[slice]:
    """Return the stretches of samples that filters and baselines do not cross.

    A new epoch starts where the ``epoch`` coordinate changes: between the cycles of a plane
    series and between joined recordings. An array without it is one epoch.

    Examples
    --------
    >>> data = xr.DataArray(np.zeros(4), dims="time", coords={"epoch": ("time", [1, 1, 2, 2])})
    >>> epochs(data)
    [slice(0, 2, None), slice(2, 4, None)]
    """
    dim = time_dim(data, "epochs")
    size = data.sizes[dim]
    if EPOCH not in data.coords or data[EPOCH].dims != (dim,) or size == 0:
        return [slice(0, size)]
    labels = coordinate(data, EPOCH)
    starts = np.concatenate([[0], np.flatnonzero(labels[1:] != labels[:-1]) + 1, [size]])
    return [slice(int(a), int(b)) for a, b in itertools.pairwise(starts)]


def frame_rate(data: xr.DataArray, verb: str = "frame_rate") -> float:
    """Return the rate in Hz: 1 / the median step between samples of one epoch.

    Raises
    ------
    TimeAxisError
        If there is no time coordinate, or fewer than two samples in every epoch.
    """
    steps = _steps(data, verb)
    if not steps.size:
        raise TimeAxisError(
            f"{verb} needs at least two samples in one epoch to know the frame rate, "
            f"found {data.sizes[time_dim(data, verb)]}."
        )
    step = float(np.median(steps))
    if not step > 0:
        raise TimeAxisError(f"{verb} needs increasing times, found a median step of {step} s.")
    return 1.0 / step


def regular_rate(data: xr.DataArray, verb: str) -> float:
    """Return the frame rate of a regular time axis.

    Raises
    ------
    TimeAxisError
        If a step inside an epoch is off by more than 2 %, naming the worst one.
    """
    rate = frame_rate(data, verb)
    steps = _steps(data, verb)
    off = np.abs(steps * rate - 1.0)
    worst = int(np.argmax(off))
    if off[worst] > REGULAR_TOLERANCE:
        clock = data[TIME].attrs.get(CLOCK_ATTR)
        coarse = (
            f" Times are {clock}: if that signal was sampled too coarsely, take even ones with "
            "session.use_frame_clock(..., even=True)."
            if clock
            else ""
        )
        raise TimeAxisError(
            f"{verb} needs evenly spaced samples, but a step of {steps[worst]:.6g} s differs "
            f"from the usual {1 / rate:.6g} s by {off[worst]:.1%}. Select an even part "
            f"(data.sel(time=slice(a, b))) or resample it (data.interp(time=...)).{coarse}"
        )
    return rate


def require_gapless(data: xr.DataArray, verb: str) -> None:
    """Raise if times are known and, within an epoch, go back or leave out a sample.

    Raises
    ------
    TimeAxisError
        Naming the step.
    """
    if TIME not in data.coords or data[TIME].dims != (time_dim(data, verb),):
        return
    steps = _steps(data, verb)
    if steps.size == 0 or 0 < steps.max() <= (1 + GAP) * steps.min():
        return
    usual = float(np.median(steps))
    odd = (steps <= 0) | (steps > (1 + GAP) * usual)
    if odd.any():
        raise TimeAxisError(
            f"{verb} works on neighbouring samples, but a step of {steps[odd][0]:.6g} s stands "
            f"between two of them, where {usual:.6g} s is usual. Tell the stretches apart with an "
            f"'{EPOCH}' coordinate along {time_dim(data, verb)!r}, or select one of them."
        )


def _steps(data: xr.DataArray, verb: str) -> np.ndarray:
    times = seconds(data, verb)
    steps = [np.diff(times[part]) for part in epochs(data)]
    return steps[0] if len(steps) == 1 else np.concatenate(steps)


def valid_frames(data: xr.DataArray) -> np.ndarray | None:
    """Return ``valid`` in the order of the array's dimensions other than y and x.

    None if the array has no such coordinate or if every frame is valid.
    """
    if VALID not in data.coords or FRAMES not in data.dims:
        return None
    order = tuple(dim for dim in data.dims if dim not in (Y, X))
    mask = xr.Variable(data[VALID].dims, coordinate(data, VALID).astype(bool))
    values = mask.set_dims({dim: data.sizes[dim] for dim in order}).transpose(*order).values
    return None if values.all() else values


def pixel_coordinate(dim: str, count: int, size_um: float | None) -> xr.Variable:
    """Make the y or x coordinate: um from the first pixel, or pixels if the size is unknown."""
    word = "row" if dim == Y else "column"
    if size_um is None:
        attrs = {"units": "1", "long_name": word, PIXEL_SIZE_ATTR: 1.0}
        return xr.Variable(dim, np.arange(count, dtype=np.float64), attrs)
    attrs = {"units": "um", "long_name": f"{dim} position", PIXEL_SIZE_ATTR: float(size_um)}
    return xr.Variable(dim, np.arange(count) * float(size_um), attrs)


def pixel_size_um(coordinate: xr.DataArray) -> float | None:
    """Return the size of a pixel, binned or as recorded, from the y or x coordinate."""
    attrs = coordinate.attrs
    if attrs.get("units") != "um" or PIXEL_SIZE_ATTR not in attrs:
        return None
    return float(attrs[PIXEL_SIZE_ATTR]) * attrs.get(BINNED_ATTR, 1)


def rois_long_form(
    neuron: np.ndarray,
    y: np.ndarray,
    x: np.ndarray,
    weight: np.ndarray,
    *,
    image_shape: Sequence[int] | None = None,
    plane: np.ndarray | None = None,
    roi_name: np.ndarray | None = None,
) -> xr.DataArray:
    """Label the weights of ROI pixels."""
    coords = {
        NEURON: (PIXEL, np.asarray(neuron)),
        Y: (PIXEL, np.asarray(y, np.int64), {"units": "1", "long_name": "row"}),
        X: (PIXEL, np.asarray(x, np.int64), {"units": "1", "long_name": "column"}),
    }
    if plane is not None:
        coords[PLANE] = (PIXEL, np.asarray(plane, np.int64))
    if roi_name is not None:
        coords[ROI_NAME] = (PIXEL, np.asarray(roi_name))
    attrs: dict[str, Any] = {"units": "1", "long_name": "ROI weight"}
    if image_shape is not None:
        attrs[IMAGE_SHAPE_ATTR] = [int(n) for n in image_shape]
    return xr.DataArray(np.asarray(weight), coords, (PIXEL,), name=ROIS, attrs=attrs)
