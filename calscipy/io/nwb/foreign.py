"""Movies, ROI responses and ROIs of NWB files that any program wrote.

After the NWB schema 2.x: what a group is stands in its attribute ``neurodata_type``.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from xarray.core import indexing

from calscipy import model
from calscipy.errors import CalscipyWarning, RecordingError, first_few, warn
from calscipy.io.hdf5 import StackedArray, attribute
from calscipy.io.nwb.neurons import read_neurons
from calscipy.io.nwb.series import CLOCK_ATTRS, scalar, series_attrs, text, times_of, values_of

VERSION_ATTR = "nwb_version"
IMAGES = ("TwoPhotonSeries", "OnePhotonSeries")
RESPONSES, SEGMENTATION = "RoiResponseSeries", "PlaneSegmentation"
_UM = {"meters": 1e6, "m": 1e6, "meter": 1e6, "millimeters": 1e3, "mm": 1e3, "micrometers": 1.0}
_UM |= {"micrometer": 1.0, "microns": 1.0, "micron": 1.0, "um": 1.0, "\u00b5m": 1.0}
_ABOUT = (
    "session_description", "identifier", "session_start_time", "timestamps_reference_time",
    "general/session_id", "general/institution", "general/lab", "general/experiment_description",
    "general/subject/subject_id", "general/subject/species", "general/subject/sex",
    "general/subject/age", "general/subject/genotype", "general/subject/description",
)  # fmt: skip


def read_foreign(
    file: Any, path: Path, movie: str | None = None, segmentation: str | None = None
) -> xr.DataTree:
    """Return what calscipy knows of an NWB file.

    Parameters
    ----------
    file : h5py.File
        The file, looked over.
    path : Path
        Its path.
    movie, segmentation : str, optional
        Names of a series of images, and of a table of ROIs.

    Raises
    ------
    RecordingError
        If there is nothing, or several things of which one is to be chosen.
    """
    found = list(_typed(file))
    images = [group for group, kind in found if kind in IMAGES]
    groups: dict[str, xr.Dataset] = {}
    chosen = _chosen_images(images, path, movie)
    if chosen:
        groups[model.MOVIE] = _movie(chosen, path)
    responses = [group for group, kind in found if kind == RESPONSES]
    tables = [group for group, kind in found if kind == SEGMENTATION]
    shape = None
    if chosen:
        shape = tuple(groups[model.MOVIE].sizes[dim] for dim in (model.Y, model.X))
    groups |= read_neurons(file, path, responses, tables, segmentation, shape)
    if not groups:
        raise RecordingError(
            f"{path}: NWB without a movie (TwoPhotonSeries), ROI responses or ROIs in it. Open it "
            "with pynwb."
        )
    for name, dataset in groups.items():
        main = name if name in dataset.data_vars else str(next(iter(dataset.data_vars)))
        dataset.attrs[model.LATEST_ATTR] = main
    root = {
        model.SCHEMA_ATTR: model.SCHEMA_VERSION,
        model.SOURCE_ATTR: path.name,
        "nwb": _about(file),
    }
    return xr.DataTree.from_dict({"/": xr.Dataset(attrs=root)} | groups)


def _typed(file: Any) -> Iterator[tuple[Any, str]]:
    """Walk through the groups that stand in the file itself, not through its links."""
    waiting = [file[name] for name in ("processing", "acquisition") if name in file]
    seen: set[str] = set()
    while waiting:
        group = waiting.pop()
        if not hasattr(group, "keys") or group.name in seen or len(seen) > 100_000:
            continue
        seen.add(group.name)
        kind = text(attribute(group, "neurodata_type"))
        yield group, kind
        if kind in (*IMAGES, RESPONSES, SEGMENTATION):
            continue
        links = {name: group.get(name, getlink=True, getclass=True) for name in group}
        inner = [group[name] for name, of in links.items() if of.__name__ == "HardLink"]
        waiting += reversed(inner)


def _about(file: Any) -> dict[str, Any]:
    """Return what the file says of the session."""
    values = {name: scalar(file, name) for name in _ABOUT}
    about = {name.rpartition("/")[2]: value for name, value in values.items() if value is not None}
    return {"version": text(attribute(file, VERSION_ATTR))} | about


# -- movies -------------------------------------------------------------------------------


def _chosen_images(images: list[Any], path: Path, name: str | None) -> list[Any]:
    """Return the series that make the movie: one, or one for each channel."""
    held = [of for of in images if "data" in of and of["data"].ndim in (3, 4) and of["data"].size]
    elsewhere = [of.name for of in images if of not in held]
    if name is not None:
        match = [of for of in held if name in (of.name, of.name.rpartition("/")[2])]
        if len(match) != 1:
            raise RecordingError(
                f"{path}: movie={name!r} names {len(match)} series of images; there are "
                f"{[of.name for of in held]}."
            )
        return match
    if elsewhere:
        warn(
            f"{path}: the images of {first_few(elsewhere)} are in other files or empty; they are "
            "left out.",
            CalscipyWarning,
        )
    if len(held) < 2:
        return held
    first = held[0]
    clock = times_of(first, path)
    alike = all(
        (of["data"].shape, of["data"].dtype) == (first["data"].shape, first["data"].dtype)
        and np.array_equal(times_of(of, path), clock)
        for of in held[1:]
    )
    planes = {of["imaging_plane"].id for of in held if "imaging_plane" in of}
    if not alike or len(planes) < len(held):
        raise RecordingError(
            f"{path}: several series of images that are no channels of one movie: "
            f"{[of.name for of in held]}. Choose one: open(path, movie=...)."
        )
    return held


def _movie(series: list[Any], path: Path) -> xr.Dataset:
    """Return the movie of one series, or of several that are its channels."""
    data = series[0]["data"]
    volume = data.ndim == 4
    arrays = [values_of(of, path, (0, 3, 2, 1) if volume else (0, 2, 1)) for of in series]
    dims = [model.FRAMES, *([model.PLANE] if volume else []), model.Y, model.X]
    lazy: Any = arrays[0]
    if len(arrays) > 1:
        lazy = StackedArray(arrays, 1)
        dims.insert(1, model.CHANNEL)
    attrs = series_attrs(series[0], path, "fluorescence")
    plane = series[0].get("imaging_plane", {})
    attrs |= _plane_attrs(plane)
    sizes = _pixel_sizes(plane)
    coords = {model.TIME: xr.Variable(model.FRAMES, times_of(series[0], path), CLOCK_ATTRS)}
    for dim, at, size in ((model.X, 1, sizes[0]), (model.Y, 2, sizes[1])):
        coords[dim] = model.pixel_coordinate(dim, data.shape[at], size)
    names = _channel_names(series)
    if len(arrays) > 1:
        coords[model.CHANNEL] = xr.Variable(model.CHANNEL, names)
    elif names[0]:
        coords[model.CHANNEL] = xr.Variable((), names[0])
    if volume:
        coords[model.PLANE] = xr.Variable(model.PLANE, np.arange(data.shape[3]))
        if sizes[2] is not None:
            heights = np.arange(data.shape[3]) * sizes[2]
            coords[model.Z] = xr.Variable(model.PLANE, heights, {"units": "um"})
    variable = xr.Variable(dims, indexing.LazilyIndexedArray(lazy), attrs)
    return xr.Dataset({model.MOVIE: variable}, coords)


def _optical_channel(series: Any) -> Any:
    """Return the optical channel of a series if it has just one."""
    plane = series.get("imaging_plane", {})
    channels = [
        plane[name]
        for name in plane
        if hasattr(plane[name], "attrs")
        and text(attribute(plane[name], "neurodata_type")) == "OpticalChannel"
    ]
    return channels[0] if len(channels) == 1 else None


def _channel_names(series: list[Any]) -> list[str]:
    channels = [_optical_channel(of) for of in series]
    names = ["" if of is None else of.name.rpartition("/")[2] for of in channels]
    if len(series) > 1 and (len(set(names)) < len(names) or "" in names):
        return [of.name.rpartition("/")[2] for of in series]
    return names


def _plane_attrs(plane: Any) -> dict[str, Any]:
    """Return what an imaging plane says, in calscipy's words."""
    known = {
        "indicator": scalar(plane, "indicator"),
        "location": scalar(plane, "location"),
        "laser_wavelength_nm": scalar(plane, "excitation_lambda"),
    }
    return {name: value for name, value in known.items() if value is not None}


def _pixel_sizes(plane: Any) -> tuple[float | None, float | None, float | None]:
    """Return the size of a pixel along x, y and z in um, None where it is not known."""
    if "grid_spacing" not in plane or plane["grid_spacing"].size not in (2, 3):
        return None, None, None
    spacing = plane["grid_spacing"]
    unit = text(attribute(spacing, "unit", "meters")).lower()
    values = np.asarray(spacing[...], dtype=float).ravel()
    if unit not in _UM or not (np.isfinite(values).all() and (values > 0).all()):
        return None, None, None
    sizes = [float(f"{value * _UM[unit]:.12g}") for value in values]  # 5e-07 m is 0.5 um
    return sizes[0], sizes[1], sizes[2] if len(sizes) > 2 else None
