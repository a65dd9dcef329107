"""From a movie to one trace for each neuron."""

from __future__ import annotations

from typing import Any

import dask.array as da
import numpy as np
import xarray as xr

from calscipy import blocks, model
from calscipy.errors import RoiError, first_few
from calscipy.history import described, recorded
from calscipy.kernels import extract as kernels
from calscipy.ops.rois import first_pixel, require_rois


@recorded
def extract(data: xr.DataArray, rois: xr.DataArray | np.ndarray) -> xr.DataArray:
    """Average a movie over each neuron's pixels, with their weights.

    Parameters
    ----------
    data : DataArray
        Movie ``(frames [, channel] [, plane], y, x)`` with a ``time`` coordinate.
    rois : DataArray or ndarray
        ROIs in long form (``rois_from_labels``, ``rois_from_suite2p``) or a label image
        ``(y, x)`` or ``(plane, y, x)``. Pixels count from the corner of the recording, also on
        a cropped movie. A pixel of two neurons counts for both.

    Returns
    -------
    DataArray
        Traces ``(neuron [, channel], time)`` in float32, in the units of the movie: the
        weighted mean of each neuron's pixels. NaN where its plane's frame is not ``valid``.
        ``y``, ``x`` (and ``plane``) of the neurons' centres are coordinates.

    Raises
    ------
    RoiError
        If ROIs lie outside of the movie or their planes do not fit.

    Examples
    --------
    >>> import calscipy as cs
    >>> movie = cs.from_numpy(np.arange(8, dtype="uint16").reshape(2, 2, 2), frame_rate=30)
    >>> extract(movie, np.array([[1, 1], [0, 2]])).values.tolist()
    [[0.5, 4.5], [3.0, 7.0]]
    """
    model.require_dims(data, (model.FRAMES, model.Y, model.X), "extract")
    times = model.seconds(data, "extract")
    _require_plane_names(data, rois)
    rois = require_rois(rois, "extract")
    neurons, row, y, x, plane = _pixels(data, rois)
    movie = data.transpose(model.FRAMES, ..., model.PLANE, model.Y, model.X, missing_dims="ignore")
    if plane is None:
        traces = _traces(movie, row, y, x, rois.values, len(neurons))
        planes = None
    else:
        planes = np.zeros(len(neurons), dtype=np.int64)
        planes[row] = plane
        traces = _by_plane(movie, row, y, x, rois.values, plane, planes)
    dims = [dim for dim in movie.dims if dim not in (model.FRAMES, model.PLANE, model.Y, model.X)]
    coords = _coords(data, times, neurons)
    coords |= _centres(data, rois, row, y, x, len(neurons))
    if planes is not None:
        coords[model.PLANE] = (model.NEURON, data[model.PLANE].values[planes])
    result = xr.DataArray(traces, coords, (model.NEURON, *dims, model.TIME), name=model.TRACES)
    return described(result, units=data.attrs.get("units", "1"), long_name="fluorescence of ROIs")


def _require_plane_names(data: xr.DataArray, rois: Any) -> None:
    """Refuse an unlabelled stack of labels for a selection of planes."""
    if not isinstance(rois, np.ndarray) or rois.ndim != 3 or model.PLANE not in data.coords:
        return
    planes = np.atleast_1d(data[model.PLANE].values)
    if not np.array_equal(planes, np.arange(len(rois))):
        raise RoiError(
            f"extract: labels of {len(rois)} planes, counted from 0, do not fit a movie of the "
            f"planes {first_few(list(planes))}. Give a DataArray with a 'plane' coordinate."
        )


def _pixels(data: xr.DataArray, rois: xr.DataArray) -> tuple[np.ndarray, ...]:
    """Return neuron labels and, for every ROI pixel, its row, y, x and plane in the movie."""
    neurons, row = np.unique(rois[model.NEURON].values, return_inverse=True)
    places = []
    image = rois.attrs.get(model.IMAGE_SHAPE_ATTR, (None, None))
    for dim, size in zip((model.Y, model.X), image, strict=True):
        origin = first_pixel(data, dim, "extract")
        if size is not None and origin + data.sizes[dim] > size:
            raise RoiError(
                f"extract: the ROIs were made on an image of {tuple(image)} pixels, the movie "
                f"reaches to {origin + data.sizes[dim]} along {dim!r}. Use ROIs of this recording."
            )
        places.append(rois[dim].values - origin)
    outside = (places[0] < 0) | (places[0] >= data.sizes[model.Y])
    outside |= (places[1] < 0) | (places[1] >= data.sizes[model.X])
    if outside.any():
        raise RoiError(
            f"extract: {np.unique(row[outside]).size} ROIs have pixels outside of the movie of "
            f"{data.sizes[model.Y]} x {data.sizes[model.X]} pixels (neurons "
            f"{first_few(list(np.unique(rois[model.NEURON].values[outside])))}). "
            "Use ROIs of this recording, or leave these neurons out."
        )
    return neurons, row, *places, _planes(data, rois)


def _planes(data: xr.DataArray, rois: xr.DataArray) -> Any:
    if model.PLANE not in data.dims:
        if model.PLANE not in rois.coords:
            return None
        known = data[model.PLANE].item() if model.PLANE in data.coords else 0
        if (rois[model.PLANE].values != known).any():
            raise RoiError(
                f"extract: the ROIs lie in planes {first_few(_distinct(rois))}, the movie is "
                f"plane {known} alone. Select the ROIs of that plane: "
                f"rois[rois.plane == {known}]."
            )
        return None
    if model.PLANE not in rois.coords:
        raise RoiError(
            f"extract: the movie has {data.sizes[model.PLANE]} planes, but the ROIs do not say "
            "in which they lie. Give labels of shape (plane, y, x), or select one plane: "
            "movie.sel(plane=0)."
        )
    index = data.get_index(model.PLANE)
    places = index.get_indexer(rois[model.PLANE].to_index())
    if (places < 0).any():
        raise RoiError(
            f"extract: the ROIs lie in planes {first_few(_distinct(rois))}, the movie has the "
            f"planes {first_few(list(index))}."
        )
    return places


def _distinct(rois: xr.DataArray) -> list[Any]:
    return list(np.unique(rois[model.PLANE].values))


def _by_plane(
    movie: xr.DataArray,
    row: np.ndarray,
    y: np.ndarray,
    x: np.ndarray,
    weight: np.ndarray,
    plane: np.ndarray,
    planes: np.ndarray,
) -> Any:
    split = np.unique(row[planes[row] != plane])
    if split.size:
        raise RoiError(
            f"extract: {split.size} neurons have pixels in several planes. "
            "Give every neuron one plane."
        )
    found = []
    order = []
    for place in np.unique(plane):
        mine = np.flatnonzero(planes == place)
        here = plane == place
        local = np.searchsorted(mine, row[here])
        layer = movie.isel({model.PLANE: int(place)})
        found.append(_traces(layer, local, y[here], x[here], weight[here], len(mine)))
        order.append(mine)
    xp = da if isinstance(found[0], da.Array) else np
    return xp.concatenate(found)[np.argsort(np.concatenate(order))]


def _traces(
    movie: xr.DataArray,
    row: np.ndarray,
    y: np.ndarray,
    x: np.ndarray,
    weight: np.ndarray,
    count: int,
) -> Any:
    """Weighted means of one plane, shape (neurons, ..., frames), NaN where frames are damaged."""
    total = np.bincount(row, weight, count)
    if not (total > 0).all():
        raise RoiError("extract: every neuron needs a positive sum of weights.")

    def pieces(rows: slice, columns: slice) -> Any:
        here = (y >= rows.start) & (y < rows.stop) & (x >= columns.start) & (x < columns.stop)
        across = columns.stop - columns.start
        pixel = (y[here] - rows.start) * across + (x[here] - columns.start)
        shape = (count, (rows.stop - rows.start) * across)
        return kernels.roi_weights(row[here], pixel, weight[here], shape)

    sums = blocks.roi_sums(movie.data, kernels.roi_sums, pieces, count)
    means = sums / total.reshape(-1, *[1] * (sums.ndim - 1))
    valid = model.valid_frames(movie)
    if valid is not None:
        keep = np.moveaxis(valid, 0, -1)[None]
        xp = da if isinstance(means, da.Array) else np
        means = xp.where(keep, means, np.nan)
    return means.astype(np.float32)


def _coords(data: xr.DataArray, times: np.ndarray, neurons: np.ndarray) -> dict[str, Any]:
    coords: dict[str, Any] = {
        model.NEURON: (model.NEURON, neurons, {"long_name": "neuron"}),
        model.TIME: (model.TIME, times, {"units": "s", "long_name": "time since the first frame"}),
    }
    for name in (model.CYCLE, model.EPOCH):
        if name in data.coords and data[name].dims == (model.FRAMES,):
            coords[name] = (model.TIME, data[name].values, data[name].attrs)
    if model.CHANNEL in data.coords:
        coords[model.CHANNEL] = data[model.CHANNEL].variable
    for name in (model.PLANE, model.Z):
        if name in data.coords and data[name].ndim == 0:
            coords[name] = data[name].variable
    return coords


def _centres(
    data: xr.DataArray,
    rois: xr.DataArray,
    row: np.ndarray,
    y: np.ndarray,
    x: np.ndarray,
    count: int,
) -> dict[str, Any]:
    """Weighted centres of the neurons, in the units of the movie's y and x."""
    weight = rois.values
    total = np.bincount(row, weight, count)
    centres = {}
    for dim, place in ((model.Y, y), (model.X, x)):
        middle = np.bincount(row, weight * place, count) / total
        attrs = {"units": "1", "long_name": f"{dim} of the centre"}
        if dim in data.coords and data[dim].dims == (dim,):
            middle = np.interp(middle, np.arange(data.sizes[dim]), data[dim].values)
            attrs["units"] = data[dim].attrs.get("units", "1")
        centres[dim] = (model.NEURON, middle, attrs)
    return centres
