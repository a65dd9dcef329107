"""Regions of interest from stacks of masks and from lists of pixels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import xarray as xr

from calscipy import model
from calscipy.errors import RoiError, first_few
from calscipy.kernels.rois import require_image_shape, require_pixels
from calscipy.ops.rois import Placement, placement

_MASK_DIMS = (model.NEURON, model.PLANE, model.Y, model.X)


def rois_from_masks(masks: xr.DataArray | np.ndarray) -> xr.DataArray:
    """Make ROIs from one mask for each neuron; lazy masks are computed.

    Parameters
    ----------
    masks : DataArray or ndarray, shape (neuron, y, x) or (neuron, plane, y, x)
        Booleans, or weights from 0 on; pixels of weight 0 are left out. Masks may overlap. A
        DataArray may have its dimensions in any order; its ``neuron`` (``roi_name``) and ``plane``
        coordinates name neurons and planes and, where the masks were drawn on part of the
        recording, its ``y`` and ``x`` coordinates say where they lie. Without names, neurons
        count from 0.

    Returns
    -------
    DataArray
        Weights along ``pixel``, with the coordinates ``neuron``, ``y`` and ``x`` in pixels of the
        recording, and ``plane`` for masks with planes. Booleans give weights of 1 in float32.

    Raises
    ------
    RoiError
        If a mask is empty, weights are negative or not finite, or the shape does not fit.

    Examples
    --------
    >>> rois = rois_from_masks(np.array([[[0.5, 1.0]], [[0.0, 2.0]]]))
    >>> rois.neuron.values.tolist(), rois.x.values.tolist(), rois.values.tolist()
    ([0, 0, 1], [0, 1, 1], [0.5, 1.0, 2.0])
    """
    values, names, place = _mask_values(masks)
    where = np.nonzero(values)
    empty = np.bincount(where[0], minlength=len(names)) == 0
    if empty.any() or not len(names):
        found = f"these are empty: {first_few(names[empty].tolist())}" if len(names) else "none"
        raise RoiError(
            f"rois_from_masks needs a pixel in the mask of every neuron, found {found}. "
            "Leave empty masks out, for instance numpy.delete(masks, [...], axis=0)."
        )
    weight = values[where].astype(np.result_type(values.dtype, np.float32), copy=False)
    neuron = names[where[0]]
    plane = where[1] if values.ndim == 4 else _of_neurons(masks, model.PLANE, where[0])
    require_pixels("rois_from_masks", neuron, where[-2], where[-1], weight, plane=plane)
    rois = place.long_form(neuron, plane, where[-2], where[-1], weight, values.shape[-2:])
    roi_name = _of_neurons(masks, model.ROI_NAME, where[0])
    if roi_name is None:
        return rois
    return rois.assign_coords({model.ROI_NAME: (model.PIXEL, roi_name)})


def _of_neurons(masks: Any, name: str, row: np.ndarray) -> np.ndarray | None:
    """Return a coordinate of the neurons for each of their pixels, None without it."""
    if not isinstance(masks, xr.DataArray) or name not in masks.coords:
        return None
    coord = masks[name]
    return np.asarray(coord.values[row]) if coord.dims == (model.NEURON,) else None


def _mask_values(masks: Any) -> tuple[np.ndarray, np.ndarray, Placement]:
    """Return masks ``(neuron, [plane,] y, x)``, the neurons' names and where the masks lie."""
    names, place = None, Placement()
    if isinstance(masks, xr.DataArray):
        wanted = [dim for dim in _MASK_DIMS if dim in masks.dims or dim != model.PLANE]
        if set(masks.dims) != set(wanted):
            raise RoiError(
                "rois_from_masks needs the dimensions (neuron, y, x) or (neuron, plane, y, x), "
                f"got {masks.dims}. Rename them, for instance masks.rename(roi='neuron')."
            )
        masks = masks.transpose(*wanted)
        place = placement(masks, "rois_from_masks")
        if model.NEURON in masks.coords:
            names = masks[model.NEURON].values
    values = np.asarray(masks)
    if values.ndim not in (3, 4) or values.dtype.kind not in "biuf":
        raise RoiError(
            "rois_from_masks needs booleans or weights of shape (neuron, y, x) or "
            f"(neuron, plane, y, x), got {values.dtype} of shape {values.shape}. One mask of "
            "one neuron is mask[None]; a label image goes to rois_from_labels."
        )
    if names is None:
        names = np.arange(len(values))
    if len(set(names.tolist())) < len(names):
        raise RoiError(
            "rois_from_masks needs a name of its own for every mask; the neuron coordinate "
            f"repeats some of {first_few(names.tolist())}. Number them: "
            "masks.assign_coords(neuron=range(masks.sizes['neuron']))."
        )
    return values, names, place


def rois_from_pixels(
    pixels: Mapping[Any, Any] | Sequence[Any],
    *,
    image_shape: tuple[int, int] | None = None,
    plane: int | Sequence[int] | None = None,
) -> xr.DataArray:
    """Make ROIs from lists of pixels.

    Parameters
    ----------
    pixels : mapping or sequence
        The pixels of each neuron by its name, or in a sequence, which counts neurons from 0: a
        tuple ``(y, x)`` or ``(y, x, weight)`` of three sequences, or an array (or list of
        rows) of shape ``(pixels, 2)`` or ``(pixels, 3)`` with the same columns. Without
        weights, every pixel has a weight of 1. Neurons may share pixels.
    image_shape : (int, int), optional
        Rows and columns of the recording; pixels outside of it are an error.
    plane : int or sequence of int, optional
        Plane of all neurons, or one for each neuron.

    Returns
    -------
    DataArray
        Weights along ``pixel`` in the order given, with the coordinates ``neuron``, ``y``, ``x``
        and, where given, ``plane``.

    Raises
    ------
    RoiError
        If a neuron has no pixel, one twice, pixels that are negative, outside of the image or no
        whole numbers, or weights that are negative or not finite.

    Examples
    --------
    >>> rois = rois_from_pixels({"a": ([1, 2], [3, 3], [1.0, 0.5]), "b": [(1, 3)]})
    >>> rois.neuron.values.tolist(), rois.y.values.tolist(), rois.values.tolist()
    (['a', 'a', 'b'], [1, 2, 1], [1.0, 0.5, 1.0])
    """
    by_name = pixels if isinstance(pixels, Mapping) else dict(enumerate(pixels))
    if not by_name:
        raise RoiError("rois_from_pixels needs at least one neuron, got none.")
    names = _names(list(by_name))
    columns = [_columns(name, given) for name, given in by_name.items()]
    size = [len(y) for y, _, _ in columns]
    if 0 in size:
        empty = [name for name, count in zip(by_name, size, strict=True) if not count]
        raise RoiError(
            f"rois_from_pixels: {first_few(empty)} of {len(size)} neurons have no pixel. "
            "Leave these neurons out."
        )
    neuron = np.repeat(names, size)
    y, x, weight = (np.concatenate(column) for column in zip(*columns, strict=True))
    planes = None if plane is None else np.repeat(_planes(plane, len(names)), size)
    shape = None if image_shape is None else require_image_shape(image_shape, "rois_from_pixels")
    require_pixels("rois_from_pixels", neuron, y, x, weight, image_shape=shape)
    return model.rois_long_form(neuron, y, x, weight, image_shape=shape, plane=planes)


def _names(names: list[Any]) -> np.ndarray:
    array = np.asarray(names)
    texts = sum(isinstance(name, str) for name in names)
    if array.shape != (len(names),) or array.dtype.kind not in "iufU" or texts % len(names):
        raise RoiError(
            "rois_from_pixels needs numbers or texts as names of neurons, all of one kind, got "
            f"{first_few([repr(name) for name in names])}."
        )
    return array


def _columns(name: Any, given: Any) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return y, x and weight of one neuron, whichever way they were given."""
    try:
        if isinstance(given, tuple):
            columns = [np.atleast_1d(np.asarray(column)) for column in given]
        else:
            rows = np.asarray(given)
            columns = list(rows.T) if rows.ndim == 2 else []
            if not rows.size:
                columns = [rows.ravel()] * 2
    except ValueError:  # rows of different lengths
        columns = []
    if len(columns) == 2:
        columns.append(np.ones(len(columns[0]), np.float32))
    numbers = all(column.ndim == 1 and column.dtype.kind in "biuf" for column in columns)
    if len(columns) != 3 or not numbers or len({len(column) for column in columns}) > 1:
        raise RoiError(
            f"rois_from_pixels: neuron {name} needs a tuple (y, x) or (y, x, weight) of "
            "sequences of one length, or an array of shape (pixels, 2) or (pixels, 3), got "
            f"{type(given).__name__} of the shape {[np.shape(c) for c in columns] or 'unknown'}."
        )
    y, x, weight = columns
    return y, x, weight.astype(np.result_type(weight.dtype, np.float32), copy=False)


def _planes(plane: Any, count: int) -> np.ndarray:
    planes = np.asarray(plane)
    if planes.dtype.kind not in "iu" or planes.shape not in ((), (count,)):
        raise RoiError(
            f"rois_from_pixels needs plane= as one whole number or one for each of the {count} "
            f"neurons, got {plane!r}."
        )
    return np.broadcast_to(planes, (count,))
