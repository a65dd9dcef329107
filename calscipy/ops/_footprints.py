"""What the extractions share: ROIs in the pixels of a movie, means over them, their labels."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import xarray as xr

from calscipy import blocks, model
from calscipy.errors import ArgumentError, RoiError, first_few
from calscipy.kernels.rois import require_pixels
from calscipy.ops.rois import first_pixel, require_rois, roi_names
from calscipy.ops.time_offset import sampling_offset


@dataclass(frozen=True)
class Footprints:
    """Pixels of neurons, counted in a movie."""

    neurons: np.ndarray  # labels, sorted
    row: np.ndarray  # of every pixel: which neuron, counted from 0
    y: np.ndarray
    x: np.ndarray
    weight: np.ndarray
    plane: np.ndarray | None = None  # place along the movie's planes; None without that dimension
    roi_name: np.ndarray | None = None  # of every neuron, where it has one

    @property
    def planes(self) -> np.ndarray | None:
        """Place of every neuron along the movie's planes."""
        if self.plane is None:
            return None
        planes = np.zeros(len(self.neurons), dtype=np.int64)
        planes[self.row] = self.plane
        return planes

    def centres(self) -> tuple[np.ndarray, np.ndarray]:
        """Weighted centres of the neurons, y and x in pixels."""
        count = len(self.neurons)
        total = np.bincount(self.row, self.weight, count)
        y, x = (np.bincount(self.row, self.weight * p, count) / total for p in (self.y, self.x))
        return y, x

    def only(self, keep: np.ndarray) -> Footprints:
        """Return some of the pixels of the same neurons."""
        plane = None if self.plane is None else self.plane[keep]
        row, y, x, weight = (part[keep] for part in (self.row, self.y, self.x, self.weight))
        return replace(self, row=row, y=y, x=x, weight=weight, plane=plane)


def footprints(data: xr.DataArray, rois: xr.DataArray | np.ndarray, verb: str) -> Footprints:
    """Check that ROIs fit a movie and place them on its pixels.

    Raises
    ------
    ArgumentError
        If the movie does not hold numbers.
    RoiError
        If they do not fit, naming the neurons.
    """
    model.require_dims(data, (model.FRAMES, model.Y, model.X), verb)
    if data.dtype.kind not in "biuf":
        raise ArgumentError(f"{verb} needs numbers, got an array of {data.dtype}")
    _require_plane_names(data, rois, verb)
    rois = require_rois(rois, verb)
    neurons, first, row = np.unique(
        rois[model.NEURON].values, return_index=True, return_inverse=True
    )
    y, x = _on_the_movie(data, rois, neurons, row, verb)
    names = roi_names(rois, first)
    found = Footprints(neurons, row, y, x, rois.values, _planes(data, rois, verb), names)
    return usable(found, verb)


def usable(found: Footprints, verb: str) -> Footprints:
    """Check pixels, weights and planes, and leave out pixels of weight 0.

    Raises
    ------
    RoiError
        Naming the neurons.
    """
    if found.plane is not None:
        found = replace(found, plane=np.broadcast_to(found.plane, found.row.shape))
    names = found.neurons[found.row]
    require_pixels(verb, names, found.y, found.x, found.weight, plane=found.plane)
    found = replace(found, y=found.y.astype(np.int64), x=found.x.astype(np.int64))
    planes = found.planes
    if planes is not None:
        split = np.unique(found.row[planes[found.row] != found.plane])
        if split.size:
            raise RoiError(
                f"{verb}: {split.size} neurons have pixels in several planes (neurons "
                f"{first_few(list(found.neurons[split]))}). Give every neuron one plane."
            )
    # A pixel of weight 0 is no part of the neuron: its NaN must not reach the trace.
    return found.only(found.weight != 0)


def _require_plane_names(data: xr.DataArray, rois: Any, verb: str) -> None:
    """Refuse an unlabelled stack of labels for a selection of planes."""
    if not isinstance(rois, np.ndarray | xr.DataArray) or rois.ndim != 3:
        return
    if model.PLANE not in data.coords or model.PLANE in getattr(rois, "coords", ()):
        return
    count = len(rois)
    if isinstance(rois, xr.DataArray):
        count = rois.sizes.get(model.PLANE, count)
    planes = np.atleast_1d(data[model.PLANE].values)
    if not np.array_equal(planes, np.arange(count)):
        raise RoiError(
            f"{verb}: labels of {count} planes, counted from 0, do not fit a movie of the "
            f"planes {first_few(list(planes))}. Give a DataArray with a 'plane' coordinate."
        )


def _on_the_movie(
    data: xr.DataArray, rois: xr.DataArray, neurons: np.ndarray, row: np.ndarray, verb: str
) -> list[np.ndarray]:
    """Return rows and columns of the ROI pixels, counted in a movie that may be a crop."""
    places = []
    image = rois.attrs.get(model.IMAGE_SHAPE_ATTR, (None, None))
    for dim, size in zip((model.Y, model.X), image, strict=True):
        origin = first_pixel(data, dim, verb)
        if size is not None and origin + data.sizes[dim] > size:
            raise RoiError(
                f"{verb}: the ROIs were made on an image of {tuple(image)} pixels, the movie "
                f"reaches to {origin + data.sizes[dim]} along {dim!r}. Use ROIs of this recording."
            )
        lines = data.attrs.get("lines_per_frame") if dim == model.Y else None
        if size is not None and lines == data.sizes[dim] < size:  # no crop, by its metadata
            raise RoiError(
                f"{verb}: the ROIs were made on an image of {tuple(image)} pixels, the recording "
                f"has {lines} lines. Use ROIs of this recording."
            )
        places.append(rois[dim].values - np.int64(origin))  # unsigned pixels would wrap
    outside = (places[0] < 0) | (places[0] >= data.sizes[model.Y])
    outside |= (places[1] < 0) | (places[1] >= data.sizes[model.X])
    if outside.any():
        raise RoiError(
            f"{verb}: {np.unique(row[outside]).size} ROIs have pixels outside of the movie of "
            f"{data.sizes[model.Y]} x {data.sizes[model.X]} pixels (neurons "
            f"{first_few(list(neurons[np.unique(row[outside])]))}). "
            "Use ROIs of this recording, or leave these neurons out."
        )
    return places


def _planes(data: xr.DataArray, rois: xr.DataArray, verb: str) -> np.ndarray | None:
    """Return the place of every ROI pixel along the movie's planes."""
    if model.PLANE not in data.dims:
        if model.PLANE not in rois.coords:
            return None
        known = data[model.PLANE].item() if model.PLANE in data.coords else 0
        if (rois[model.PLANE].values != known).any():
            raise RoiError(
                f"{verb}: the ROIs lie in planes {first_few(_distinct(rois))}, the movie is "
                f"plane {known} alone. Select the ROIs of that plane: "
                f"rois[rois.plane == {known}]."
            )
        return None
    if model.PLANE not in rois.coords:
        raise RoiError(
            f"{verb}: the movie has {data.sizes[model.PLANE]} planes, but the ROIs do not say "
            "in which they lie. Give labels of shape (plane, y, x), or select one plane: "
            "movie.sel(plane=0)."
        )
    index = data.get_index(model.PLANE)
    places = index.get_indexer(rois[model.PLANE].broadcast_like(rois).to_index())
    if (places < 0).any():
        raise RoiError(
            f"{verb}: the ROIs lie in planes {first_few(_distinct(rois))}, the movie has the "
            f"planes {first_few(list(index))}."
        )
    return np.asarray(places)


def _distinct(rois: xr.DataArray) -> list[Any]:
    return list(np.unique(rois[model.PLANE].values))


def averaged(
    data: xr.DataArray,
    neurons: Footprints,
    pixels: Footprints,
    *,
    name: str,
    verb: str,
    skip_missing: bool = False,
) -> xr.DataArray:
    """Average a movie over the pixels, labelled by the neurons that they belong to.

    With ``skip_missing`` over those that are not NaN.
    """
    times = model.seconds(data, verb)
    movie = data.transpose(model.FRAMES, ..., model.PLANE, model.Y, model.X, missing_dims="ignore")
    place = (pixels.y, pixels.x) if pixels.plane is None else (pixels.plane, pixels.y, pixels.x)
    regions = blocks.Regions(len(neurons.neurons), pixels.row, place, pixels.weight)
    valid = model.valid_frames(movie)
    means = blocks.roi_means(movie.data, regions, valid, skip_missing=skip_missing)
    dims = [dim for dim in movie.dims if dim not in (model.FRAMES, model.PLANE, model.Y, model.X)]
    coords = roi_coords(data, times, neurons)
    return xr.DataArray(means, coords, (model.NEURON, *dims, model.TIME), name=name)


def roi_coords(data: xr.DataArray, times: np.ndarray, neurons: Footprints) -> dict[str, Any]:
    """Label traces of ROIs: neurons, times, centres, planes and sampling delays."""
    coords: dict[str, Any] = {
        model.NEURON: (model.NEURON, neurons.neurons, {"long_name": "neuron"}),
        model.TIME: (model.TIME, times, {"units": "s", "long_name": "time since the first frame"}),
    }
    for name in (model.CYCLE, model.EPOCH, model.RECORDING, model.RECORDING_TIME):
        if name in data.coords and data[name].dims == (model.FRAMES,):
            coords[name] = (model.TIME, data[name].values, data[name].attrs)
    if model.CHANNEL in data.coords:
        coords[model.CHANNEL] = data[model.CHANNEL].variable
    for name in (model.PLANE, model.Z):
        if name in data.coords and data[name].ndim == 0:
            coords[name] = data[name].variable
    planes = neurons.planes
    if planes is not None:
        coords[model.PLANE] = (model.NEURON, data[model.PLANE].values[planes])
    if neurons.roi_name is not None:
        coords[model.ROI_NAME] = (model.NEURON, neurons.roi_name)
    centres = neurons.centres()
    offset = sampling_offset(data, centres[0], planes)
    if offset is not None:
        coords[model.TIME_OFFSET] = offset
    return coords | _centre_coords(data, centres)


def _centre_coords(data: xr.DataArray, centres: tuple[np.ndarray, np.ndarray]) -> dict[str, Any]:
    """Label the centres of the neurons, in the units of the movie's y and x."""
    coords = {}
    for dim, middle in zip((model.Y, model.X), centres, strict=True):
        attrs = {"units": "1", "long_name": f"{dim} of the centre"}
        if dim in data.coords and data[dim].dims == (dim,):
            middle = np.interp(middle, np.arange(data.sizes[dim]), data[dim].values)
            attrs["units"] = data[dim].attrs.get("units", "1")
        coords[dim] = (model.NEURON, middle, attrs)
    return coords
