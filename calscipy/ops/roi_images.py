"""Regions of interest drawn into images: label images and masks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, get_args

import numpy as np
import xarray as xr

from calscipy import model
from calscipy.errors import ArgumentError, RoiError, first_few
from calscipy.history import described, recorded
from calscipy.kernels.rois import require_image_shape, require_pixels
from calscipy.ops.rois import require_rois, roi_names

Overlap = Literal["error", "first"]


@recorded
def labels_from_rois(
    rois: xr.DataArray,
    *,
    image_shape: tuple[int, int] | None = None,
    overlap: Overlap = "error",
    planes: Sequence[int] | None = None,
) -> xr.DataArray:
    """Draw ROIs into a label image; weights above 0 are not told apart.

    Parameters
    ----------
    rois : DataArray
        ROIs in long form; their neurons are whole numbers from 1 on.
    image_shape : (int, int), optional
        Rows and columns; by default those of the image that the ROIs were made on.
    overlap : {"error", "first"}
        What happens to a pixel of several neurons: an error, or it goes to the neuron that
        comes first in ``rois``. A neuron that would lose all of its pixels is an error.
    planes : sequence of int, optional
        Planes to draw; by default those that ROIs lie in.

    Returns
    -------
    DataArray
        Labels ``(y, x)``, or ``(plane, y, x)`` where ROIs have planes: 0 where there is no
        neuron, else its number. A single ``plane`` of all ROIs stays a coordinate.

    Raises
    ------
    RoiError
        If ROIs overlap, do not fit into the image, or have other names.

    Examples
    --------
    >>> from calscipy import rois_from_labels
    >>> labels_from_rois(rois_from_labels(np.array([[0, 1], [2, 2]]))).values.tolist()
    [[0, 1], [2, 2]]
    """
    if overlap not in get_args(Overlap):
        raise ArgumentError(
            f"labels_from_rois: overlap must be one of {get_args(Overlap)}, got {overlap!r}"
        )
    rois = require_rois(rois, "labels_from_rois")
    numbers = rois[model.NEURON].values
    if numbers.dtype.kind not in "iu" or (numbers < 1).any():
        raise RoiError(
            "labels_from_rois needs neurons numbered from 1 on, because 0 is the background, found "
            f"{first_few(list(dict.fromkeys(numbers.tolist())))}. Number them: rois.assign_coords("
            "neuron=('pixel', numpy.unique(rois.neuron, return_inverse=True)[1] + 1))."
        )
    coords, shape, where = _canvas(rois, image_shape, planes, "labels_from_rois")
    keep = rois.values > 0
    where = tuple(axis[keep] for axis in where)
    numbers = numbers[keep]
    flat = np.ravel_multi_index(where, shape)
    _, first = np.unique(flat, return_index=True)
    kept = np.zeros(flat.size, dtype=bool)
    kept[first] = True
    if overlap == "error" and not kept.all():
        shared = numbers[np.isin(flat, flat[~kept])]
        raise RoiError(
            f"labels_from_rois: neurons {first_few(list(dict.fromkeys(shared.tolist())))} share "
            "pixels, and a label image holds one neuron for each pixel. Give overlap='first', or "
            "keep masks of every neuron: masks_from_rois."
        )
    lost = np.setdiff1d(numbers, numbers[kept])
    if lost.size:
        raise RoiError(
            f"labels_from_rois: overlap='first' leaves no pixel of the neurons "
            f"{first_few(lost.tolist())}, which lie inside of others. Put them first in rois, or "
            "leave them out."
        )
    labels = np.zeros(shape, dtype=numbers.dtype)
    labels[tuple(axis[kept] for axis in where)] = numbers[kept]
    dims = (*coords, model.Y, model.X)
    result = xr.DataArray(labels, coords | _one_plane(rois), dims, name="labels")
    return described(result, units="1", long_name="neuron, 0 for none")


@recorded
def masks_from_rois(
    rois: xr.DataArray,
    *,
    image_shape: tuple[int, int] | None = None,
    planes: Sequence[int] | None = None,
) -> xr.DataArray:
    """Draw the weights of every neuron's ROI into an image of its own.

    Parameters
    ----------
    rois : DataArray
        ROIs in long form.
    image_shape : (int, int), optional
        Rows and columns; by default those of the image that the ROIs were made on.
    planes : sequence of int, optional
        Planes to draw; by default those that ROIs lie in.

    Returns
    -------
    DataArray
        Weights ``(neuron, y, x)``, or ``(neuron, plane, y, x)`` where ROIs have planes, 0
        elsewhere. Neurons are sorted as in traces; their ``roi_name``, where known, and a
        single ``plane`` of all ROIs are coordinates.

    Raises
    ------
    RoiError
        If ROIs do not fit into the image.

    Examples
    --------
    >>> from calscipy import rois_from_labels
    >>> masks_from_rois(rois_from_labels(np.array([[0, 1], [2, 2]]))).values.tolist()
    [[[0.0, 1.0], [0.0, 0.0]], [[0.0, 0.0], [1.0, 1.0]]]
    """
    rois = require_rois(rois, "masks_from_rois")
    names, first, row = np.unique(rois[model.NEURON].values, return_index=True, return_inverse=True)
    coords, shape, where = _canvas(rois, image_shape, planes, "masks_from_rois")
    masks = np.zeros((names.size, *shape), dtype=rois.dtype)
    masks[(row, *where)] = rois.values
    dims = (model.NEURON, *coords, model.Y, model.X)
    coords = {model.NEURON: names, **coords, **_one_plane(rois)}
    roi_name = roi_names(rois, first)
    if roi_name is not None:
        coords[model.ROI_NAME] = (model.NEURON, roi_name)
    result = xr.DataArray(masks, coords, dims, name="masks")
    return described(result, units="1", long_name="ROI weight")


def _canvas(
    rois: xr.DataArray, image_shape: Any, planes: Any, verb: str
) -> tuple[dict[str, Any], tuple[int, ...], tuple[np.ndarray, ...]]:
    """Return the plane coordinate, if any, the shape of the image and the places of the pixels."""
    if image_shape is None:
        image_shape = rois.attrs.get(model.IMAGE_SHAPE_ATTR)
    if image_shape is None:
        raise RoiError(
            f"{verb}: these ROIs do not say how large the image is. Give "
            "image_shape=(movie.sizes['y'], movie.sizes['x'])."
        )
    rows, columns = require_image_shape(image_shape, verb)
    y, x = rois[model.Y].values, rois[model.X].values
    plane = rois[model.PLANE].values if model.PLANE in rois.coords else None
    require_pixels(
        verb,
        rois[model.NEURON].values,
        y,
        x,
        rois.values,
        image_shape=(rows, columns),
        plane=plane if plane is None else np.broadcast_to(plane, y.shape),
    )
    if plane is None or plane.ndim == 0:
        if planes is not None:
            raise RoiError(
                f"{verb}: planes= was given, but these ROIs have no planes of their own."
            )
        return {}, (rows, columns), (y, x)
    drawn = np.unique(plane) if planes is None else np.asarray(planes)
    missing = np.setdiff1d(plane, drawn)
    if missing.size:
        raise RoiError(
            f"{verb}: ROIs lie in the planes {first_few(missing.tolist())}, which are not among "
            f"planes={drawn.tolist()}. Select ROIs first, for instance rois[rois.plane == 0]."
        )
    order = np.argsort(drawn)
    index = order[np.searchsorted(drawn, plane, sorter=order)]
    return {model.PLANE: drawn}, (drawn.size, rows, columns), (index, y, x)


def _one_plane(rois: xr.DataArray) -> dict[str, Any]:
    """Return the plane that all ROIs share, as a coordinate without a dimension."""
    alone = model.PLANE in rois.coords and rois[model.PLANE].ndim == 0
    return {model.PLANE: rois[model.PLANE].variable} if alone else {}
