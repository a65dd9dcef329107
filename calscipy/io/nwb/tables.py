"""ROIs, stimuli, epochs and damaged frames as tables of NWB."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import xarray as xr

from calscipy import model
from calscipy.errors import CalscipyWarning, warn
from calscipy.io.optional import optional

_INT32 = 2**31
_MASK = [("x", "<u4"), ("y", "<u4"), ("weight", "<f4")]
_VOXELS = [("x", "<u4"), ("y", "<u4"), ("z", "<u4"), ("weight", "<f4")]
# Names that a table of NWB has for itself.
_TAKEN = {
    "id", "name", "description", "columns", "colnames", "parent", "start_time", "stop_time", "tags",
    "tags_index", "timeseries", "timeseries_index", "fields", "children", "data", "modified",
}  # fmt: skip


def roi_table(
    rois: xr.DataArray, plane: Any, movie: xr.DataArray | None
) -> tuple[Any, dict[Any, int]]:
    """Make the table of all ROIs, with the pixels (or voxels) of each.

    Parameters
    ----------
    rois : DataArray
        In long form.
    plane : pynwb.ophys.ImagingPlane
        What they are ROIs of.
    movie : DataArray, optional
        The movie that is written beside them, whose first pixel is 0 in NWB.

    Returns
    -------
    table : pynwb.ophys.PlaneSegmentation
        One row for each neuron.
    rows : dict
        The row of each neuron.
    """
    pynwb = optional("pynwb.ophys", extra="nwb", purpose="NWB files")
    common = optional("hdmf.common", extra="nwb", purpose="NWB files")
    neuron = model.coordinate(rois, model.NEURON)
    labels, first, owner = np.unique(neuron, return_index=True, return_inverse=True)
    order = np.argsort(owner, kind="stable")
    volume = model.PLANE in rois.coords and rois[model.PLANE].dims == rois.dims
    pixels = np.zeros(rois.size, _VOXELS if volume else _MASK)
    for axis in (model.X, model.Y):
        pixels[axis] = _pixels(rois, axis, movie)[order]
    if volume:
        pixels["z"] = _planes(rois, movie)[order]
    pixels["weight"] = np.asarray(rois.values)[order]
    kind = "voxel_mask" if volume else "pixel_mask"
    mask = common.VectorData(name=kind, description="pixels and weights of each ROI", data=pixels)
    ends = common.VectorIndex(
        name=f"{kind}_index", target=mask, data=np.cumsum(np.bincount(owner)).astype(np.int64)
    )
    columns = [mask, ends]
    names = model.coordinate(rois, model.ROI_NAME)[first] if model.ROI_NAME in rois.coords else None
    for name, values, meaning in (
        (model.NEURON, None if _are_ids(labels) else labels.astype(str), "name of the neuron"),
        (model.ROI_NAME, None if names is None else names.astype(str), "name of the ROI"),
    ):
        if values is not None:
            column = common.VectorData(name=name, description=meaning, data=values.tolist())
            columns.append(column)
    table = pynwb.PlaneSegmentation(
        name="PlaneSegmentation",
        description=str(rois.attrs.get("history") or "ROIs and their weights"),
        imaging_plane=plane,
        columns=columns,
        colnames=[column.name for column in columns if column is not ends],
        id=labels.tolist() if _are_ids(labels) else list(range(labels.size)),
    )
    return table, {label: at for at, label in enumerate(labels.tolist())}


def _are_ids(labels: np.ndarray) -> bool:
    """Tell whether neurons have numbers that NWB takes."""
    return labels.dtype.kind in "iu" and labels.min() >= 0 and int(labels.max()) < _INT32


def _pixels(rois: xr.DataArray, axis: str, movie: xr.DataArray | None) -> np.ndarray:
    """Return the places of pixels in the images that are written."""
    places = model.coordinate(rois, axis).astype(np.int64)
    if movie is None or axis not in movie.dims or axis not in movie.coords:
        return places
    values, attrs = model.coordinate(movie, axis), movie[axis].attrs
    size = attrs.get(model.PIXEL_SIZE_ATTR, 1.0)
    first = round(float(values[0]) / size)
    inside = places - first
    if attrs.get(model.BINNED_ATTR, 1) > 1 or inside.min() < 0 or inside.max() >= values.size:
        warn(
            f"to_nwb: ROIs count recorded pixels along {axis!r}, and the movie is binned or cut "
            "so that they do not fit into it. They are written as recorded pixels.",
            CalscipyWarning,
        )
        return places
    return inside


def _planes(rois: xr.DataArray, movie: xr.DataArray | None) -> np.ndarray:
    """Return the place of each pixel's plane in the volume that is written."""
    planes = model.coordinate(rois, model.PLANE).astype(np.int64)
    if movie is None or model.PLANE not in movie.coords or movie[model.PLANE].ndim != 1:
        return planes
    known = {int(plane): at for at, plane in enumerate(model.coordinate(movie, model.PLANE))}
    return np.array([known.get(int(plane), int(plane)) for plane in planes], np.int64)


def add_stimuli(file: Any, stimuli: xr.Dataset) -> None:
    """Add stimuli as time intervals, with all that is known of each as columns.

    NWB's own optogenetic series wants power in W over time, which recordings do not tell.
    """
    if model.ONSET not in stimuli or stimuli[model.ONSET].dims != (model.STIMULUS,):
        return
    pynwb = optional("pynwb.epoch", extra="nwb", purpose="NWB files")
    common = optional("hdmf.common", extra="nwb", purpose="NWB files")
    start = np.asarray(stimuli[model.ONSET].values, dtype=np.float64)
    if not start.size:
        return
    length = np.zeros(start.size)
    if "duration" in stimuli:
        length = np.asarray(stimuli["duration"].values, dtype=np.float64)
    columns = [
        common.VectorData(name="start_time", description="onset, in seconds", data=start),
        common.VectorData(name="stop_time", description="end, in seconds", data=start + length),
    ]
    for name, variable in stimuli.variables.items():
        values = np.asarray(variable.values)
        if variable.dims != (model.STIMULUS,) or values.dtype.kind not in "biufU":
            continue
        units = variable.attrs.get("units")
        meaning = str(variable.attrs.get("long_name", name)) + (f" ({units})" if units else "")
        called = f"{name}_" if name in _TAKEN else str(name)
        data = values.tolist() if values.dtype.kind == "U" else values
        columns.append(common.VectorData(name=called, description=meaning, data=data))
    table = pynwb.TimeIntervals(
        name=model.STIMULUS,
        description="photostimulation, one row for each target and time",
        columns=columns,
        colnames=[column.name for column in columns],
    )
    file.add_time_intervals(table)


def add_epochs(file: Any, movie: xr.Dataset) -> None:
    """Add the stretches of frames between which the recording paused."""
    clock = movie[model.TIME]
    if clock.dims != (model.FRAMES,):
        return
    parts = model.epochs(clock)
    if len(parts) < 2:
        return
    times = model.coordinate(clock, model.TIME)
    labels = model.coordinate(movie[model.EPOCH], model.EPOCH)
    for part in parts:
        file.add_epoch(
            start_time=float(times[part.start]),
            stop_time=_end(times, part.stop - 1),
            tags=[f"{model.EPOCH} {labels[part.start]}"],
        )


def _end(times: np.ndarray, frame: int) -> float:
    """Return when a frame ends: a usual step after it began, and not after the next one began."""
    steps = np.diff(times)
    end = float(times[frame] + (np.median(steps) if steps.size else 0.0))
    return min(end, float(times[frame + 1])) if frame + 1 < times.size else end


def add_invalid_times(file: Any, movie: xr.Dataset) -> None:
    """Add the times of frames that are missing or damaged."""
    if model.VALID not in movie.coords or movie[model.TIME].dims != (model.FRAMES,):
        return
    valid = movie[model.VALID]
    if model.FRAMES not in valid.dims:
        return
    others = [dim for dim in valid.dims if dim != model.FRAMES]
    good = np.asarray(valid.all(others).values)
    times = model.coordinate(movie[model.TIME], model.TIME)
    for whole, frames in itertools.groupby(range(good.size), key=lambda at: bool(good[at])):
        run = list(frames)
        if not whole:
            file.add_invalid_time_interval(
                start_time=float(times[run[0]]),
                stop_time=_end(times, run[-1]),
                tags=["missing or damaged frames"],
            )
