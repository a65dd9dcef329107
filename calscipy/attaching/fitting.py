"""Results of another program in the times, pixels, planes and channels of a recording."""

from __future__ import annotations

from typing import Any

import dask.array as da
import numpy as np
import xarray as xr

from calscipy import model
from calscipy.attaching.results import Results
from calscipy.errors import RoiError
from calscipy.ops._footprints import Footprints, footprints, roi_coords
from calscipy.ops.rois import first_pixel

VERB = "attach"


class Fitted:
    """Results in the times, pixels, planes and channels of a movie."""

    def __init__(self, results: Results, movie: xr.DataArray) -> None:
        self.results = results
        self.movie = movie
        self.masked = 0  # values that were set to NaN
        self.corner = self._corner()  # what to add to the rows and columns of the results
        self.rois = self._placed_rois() if model.ROIS in results.tree.children else None

    def groups(self) -> dict[str, xr.Dataset]:
        """Return all groups of the results, by name."""
        special = {model.TRACES: self._traces, model.ROIS: self._rois}
        return {
            name: special[name]() if name in special else self._placed(node.to_dataset())
            for name, node in self.results.tree.children.items()
        }

    def _corner(self) -> tuple[int, int]:
        """Return the recorded pixel that the first one of the results is."""
        shape = self._image_shape()
        if shape is None:  # ROIs count recorded pixels
            return 0, 0
        ours = tuple(self.movie.sizes[dim] for dim in (model.Y, model.X))
        first = tuple(first_pixel(self.movie, dim, VERB) for dim in (model.Y, model.X))
        if shape == ours:
            return first[0], first[1]
        lines = self.movie.attrs.get("lines_per_frame")
        inside = all(a + n <= size for a, n, size in zip(first, ours, shape, strict=True))
        if inside and (any(first) if lines is None else lines == shape[0]):
            return 0, 0
        raise RoiError(
            f"attach: {self.results.program} worked on images of {shape[0]} x {shape[1]} pixels "
            f"({self.results.path}), the movie of this session has {ours[0]} x {ours[1]}. Attach "
            "the results to the recording, or the part of it, that they came from."
        )

    def _image_shape(self) -> tuple[int, int] | None:
        tree = self.results.tree
        if model.ROIS not in tree.children:
            return None
        stated = tree[model.ROIS][model.ROIS].attrs.get(model.IMAGE_SHAPE_ATTR)
        return None if stated is None else (int(stated[0]), int(stated[1]))

    def _plane_names(self, numbers: Any) -> np.ndarray:
        """Return the names that the recording has for the planes of the results."""
        numbers = np.asarray(numbers)
        named = self.movie.coords.get(model.PLANE)
        # What calscipy wrote has these names; a selected plane is known by its number.
        if named is None or self.results.export is not None:
            return numbers
        if self.results.planes > 1 and not named.ndim:
            return numbers
        names = np.atleast_1d(named.values)
        if numbers.size and numbers.max() >= names.size:
            raise RoiError(
                f"attach: ROIs of plane {numbers.max()}, counted from 0, but the movie has "
                f"{names.size} planes ({self.results.path})."
            )
        return names[numbers.astype(np.int64)]

    def _placed_rois(self) -> xr.DataArray:
        """Return the ROIs in recorded pixels and planes."""
        rois = self.results.tree[model.ROIS].to_dataset()[model.ROIS]
        for dim, first in zip((model.Y, model.X), self.corner, strict=True):
            attrs = rois[dim].attrs
            rois = rois.assign_coords({dim: (model.PIXEL, rois[dim].values + first, attrs)})
        if model.PLANE in rois.coords:
            names = self._plane_names(rois[model.PLANE].values)
            rois = rois.assign_coords({model.PLANE: (model.PIXEL, names)})
        rois.attrs.pop(model.IMAGE_SHAPE_ATTR, None)
        return rois

    def _rois(self) -> xr.Dataset:
        assert self.rois is not None
        dataset = self.results.tree[model.ROIS].to_dataset()
        dataset = dataset.assign_coords(self.rois.coords).assign({model.ROIS: self.rois})
        for dim, first in zip((model.Y, model.X), self.corner, strict=True):
            name = f"neuropil_{dim}"
            if name in dataset:
                dataset[name] = dataset[name] + first
        return dataset

    def _traces(self) -> xr.Dataset:
        dataset = self.results.tree[model.TRACES].to_dataset()
        plane = dataset.coords.get(model.PLANE)
        dataset = dataset.drop_vars(
            [model.TIME, model.Y, model.X, model.PLANE, model.TIME_OFFSET], errors="ignore"
        )
        coords, places = self._coords(dataset[model.NEURON].values)
        if self.rois is None and plane is not None and model.PLANE in self.movie.dims:
            names = self._plane_names(plane.values)
            index = list(self.movie.get_index(model.PLANE))
            places = np.array([index.index(name) for name in names], np.int64)
            coords[model.PLANE] = (model.NEURON, names)
        dataset = self._without_damage(dataset.assign_coords(coords), places)
        latest = dataset.attrs.get(model.LATEST_ATTR, model.TRACES)
        dataset.attrs = {model.LATEST_ATTR: latest}
        return dataset

    def _without_damage(self, dataset: xr.Dataset, places: np.ndarray | None) -> xr.Dataset:
        """Set traces to NaN where the frame of their plane, -1 for any of them, is not valid."""
        valid = self._valid(places)
        if valid is None:
            return dataset
        if valid.ndim == 1 or places is None:
            valid = np.atleast_2d(valid)
            places = np.zeros(dataset.sizes[model.NEURON], np.int64)
        table = np.vstack([valid, valid.all(axis=0)])
        self.masked = int((~table).sum(axis=1)[places].sum())
        changed = {
            name: _masked(data, table, places)
            for name, data in dataset.data_vars.items()
            if data.dtype.kind == "f" and {model.NEURON, model.TIME} <= set(data.dims)
        }
        return dataset.assign(changed)

    def _coords(self, neurons: np.ndarray) -> tuple[dict[str, Any], np.ndarray | None]:
        """Return the coordinates that `extract` gives, and the place of each neuron's plane."""
        times = model.seconds(self.movie, VERB)
        nothing = np.zeros(0, np.int64)
        found = Footprints(nothing, nothing, nothing, nothing, np.zeros(0))
        if self.rois is not None:
            found = footprints(self.movie, self.rois, VERB)
            if not np.isin(found.neurons, neurons).all():
                raise RoiError(
                    f"{self.results.path}: ROIs of {found.neurons.size} neurons, but traces of "
                    f"{neurons.size} others. Take the files of one run."
                )
        coords = roi_coords(self.movie, times, found)
        coords.pop(model.CHANNEL, None)
        channel = self._channel()
        if channel is not None:
            coords[model.CHANNEL] = channel
        places = found.planes
        if self.rois is None:
            coords = {name: value for name, value in coords.items() if not _is_of_neurons(value)}
        elif not np.array_equal(found.neurons, neurons):  # some neurons have no pixel
            labels = xr.Dataset(coords=coords).reindex({model.NEURON: neurons})
            coords = {str(name): of for name, of in labels.coords.items()}
            at = np.searchsorted(found.neurons, neurons).clip(max=found.neurons.size - 1)
            known = found.neurons[at] == neurons
            places = None if places is None else np.where(known, places[at], -1)
        return coords, places

    def _channel(self) -> Any:
        """Return the name of the channel that the traces are of, None if unknown."""
        place, export = self.results.channel, self.results.export
        if export is not None and place is not None:
            name = export.name_of(model.CHANNEL, place)
            if name is not None:
                return name
        named = self.movie.coords.get(model.CHANNEL)
        if named is None or named.ndim == 0:
            return None if named is None else named.values[()]
        return named.values[place] if place is not None and place < named.size else None

    def _valid(self, places: np.ndarray | None) -> np.ndarray | None:
        """Return which frames are valid, ``(frames,)`` or ``(plane, frames)``; None if all are."""
        flags = model.valid_frames(self.movie)
        if flags is None:
            return None
        order = [dim for dim in self.movie.dims if dim not in (model.Y, model.X)]
        valid = xr.Variable(order, flags)
        if model.CHANNEL in order:
            names = list(np.atleast_1d(self.movie.get_index(model.CHANNEL)))
            channel = self._channel()
            here = [names.index(channel)] if channel in names else list(range(len(names)))
            valid = valid.isel({model.CHANNEL: here}).all(model.CHANNEL)
        if model.PLANE in valid.dims and places is None:
            valid = valid.all(model.PLANE)
        return valid.transpose(..., model.FRAMES).values

    def _placed(self, dataset: xr.Dataset) -> xr.Dataset:
        """Return images, shifts and the like in the planes, pixels and times of the recording."""
        dataset = self._in_planes(dataset)
        coords: dict[str, Any] = {}
        if model.TIME in dataset.coords:
            times = self.movie[model.TIME].variable
            coords[model.TIME] = (dataset[model.TIME].dims, times.values, times.attrs)
        labelled = self._image_shape() is None and self.results.export is not None
        for dim, first in zip((model.Y, model.X), self.corner, strict=True):
            ours = self.movie.coords.get(dim)
            if labelled or ours is None or dim not in dataset.dims:
                continue
            if dataset.sizes[dim] == ours.size:
                coords[dim] = ours.variable
            elif not first:  # all of the recording, the movie is a part of it
                size = model.pixel_size_um(ours)
                coords[dim] = model.pixel_coordinate(dim, dataset.sizes[dim], size)
        return dataset.assign_coords(coords)

    def _in_planes(self, dataset: xr.Dataset) -> xr.Dataset:
        if model.PLANE not in dataset.coords:
            return dataset
        plane = dataset[model.PLANE]
        names = self._plane_names(plane.values)
        return dataset.assign_coords({model.PLANE: (plane.dims, names)})


def _is_of_neurons(coordinate: Any) -> bool:
    dims = coordinate.dims if isinstance(coordinate, xr.Variable) else coordinate[0]
    return dims == model.NEURON or (isinstance(dims, tuple) and model.NEURON in dims)


def _masked(data: xr.DataArray, valid: np.ndarray, places: np.ndarray) -> xr.DataArray:
    """Set traces to NaN where the frame of their plane is not valid; lazy ones stay lazy.

    ``valid`` is of shape ``(planes, frames)``, ``places`` names one of its rows for each neuron.
    """
    if data.chunks is None:
        return data.where(xr.DataArray(valid[places], dims=(model.NEURON, model.TIME)))
    rows = da.from_array(places, chunks=(data.variable.chunksizes[model.NEURON],))
    table = rows.map_blocks(
        _rows_of, valid, dtype=bool, new_axis=1, chunks=(*rows.chunks, (valid.shape[1],))
    )
    return data.where(xr.DataArray(table, dims=(model.NEURON, model.TIME)))


def _rows_of(places: np.ndarray, table: np.ndarray) -> np.ndarray:
    return table[places]
