"""Regions of interest in long form: one entry for each pixel of each neuron."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import xarray as xr

from calscipy import model
from calscipy.errors import RoiError


def rois_from_labels(labels: xr.DataArray | np.ndarray) -> xr.DataArray:
    """Make ROIs from a label image, a neuron for every number above 0; lazy labels are computed.

    Parameters
    ----------
    labels : DataArray or ndarray of int, shape (y, x) or (plane, y, x)
        0 where there is no neuron, else the neuron's number. A DataArray may have its
        dimensions in any order; its ``plane`` and, where it was drawn on part of the recording,
        its ``y`` and ``x`` coordinates say where it lies.

    Returns
    -------
    DataArray
        Weights (all 1) along ``pixel``, with the coordinates ``neuron``, ``y`` and ``x`` in
        pixels of the recording, and ``plane`` for a stack.

    Raises
    ------
    RoiError
        If the image is not of integers, or holds no neuron.

    Examples
    --------
    >>> rois = rois_from_labels(np.array([[0, 1], [2, 2]]))
    >>> rois.neuron.values.tolist(), rois.y.values.tolist(), rois.x.values.tolist()
    ([1, 2, 2], [0, 1, 1], [1, 0, 1])
    """
    place = Placement()
    if isinstance(labels, xr.DataArray) and {model.Y, model.X} <= set(labels.dims):
        labels = labels.transpose(..., model.Y, model.X)
        if labels.ndim == 3 and labels.dims[0] != model.PLANE:
            raise RoiError(
                f"rois_from_labels needs labels (y, x) or (plane, y, x), got {labels.dims}. "
                f"Select one, for instance labels.isel({labels.dims[0]}=0)."
            )
        place = placement(labels, "rois_from_labels")
    values = np.asarray(labels)
    if values.ndim not in (2, 3) or values.dtype.kind not in "iu":
        raise RoiError(
            "rois_from_labels needs whole numbers of shape (y, x) or (plane, y, x), got "
            f"{values.dtype} of shape {values.shape}. Convert a mask with mask.astype(int)."
        )
    if values.min(initial=0) < 0:
        raise RoiError("rois_from_labels needs labels from 0 on, found negative ones.")
    where = np.nonzero(values)
    if not where[0].size:
        raise RoiError("rois_from_labels found no neuron: every label is 0.")
    neuron = values[where]
    order = np.argsort(neuron, kind="stable")
    where = tuple(axis[order] for axis in where)
    return place.long_form(
        neuron[order],
        where[0] if values.ndim == 3 else None,
        where[-2],
        where[-1],
        np.ones(order.size, np.float32),
        values.shape[-2:],
    )


class Placement(NamedTuple):
    """Where images lie in the recording."""

    y: int = 0
    x: int = 0
    # The names of the planes, of shape () for images of one plane; None for their positions.
    planes: np.ndarray | None = None
    placed: bool = False  # by coordinates: the images may be crops

    def long_form(
        self,
        neuron: np.ndarray,
        plane: np.ndarray | None,
        y: np.ndarray,
        x: np.ndarray,
        weight: np.ndarray,
        image_shape: tuple[int, ...],
    ) -> xr.DataArray:
        """Label pixels found in the images, at their places in the recording."""
        if self.planes is not None and self.planes.ndim == 0:
            plane = np.broadcast_to(self.planes, y.shape)
        elif self.planes is not None and plane is not None:
            plane = self.planes[plane]
        return model.rois_long_form(
            neuron,
            y + self.y,
            x + self.x,
            weight,
            # A placed image may be a crop: its shape says nothing about the recording's.
            image_shape=None if self.placed else image_shape,
            plane=plane,
        )


def placement(images: xr.DataArray, verb: str) -> Placement:
    """Read from the coordinates of images ``(..., y, x)`` where they lie.

    Raises
    ------
    RoiError
        If the coordinates do not count recorded pixels.
    """
    placed = all(
        dim in images.coords and model.PIXEL_SIZE_ATTR in images[dim].attrs
        for dim in (model.Y, model.X)
    )
    y, x = (first_pixel(images, dim, verb) for dim in (model.Y, model.X))
    named = model.PLANE in images.indexes
    named |= model.PLANE in images.coords and images[model.PLANE].ndim == 0
    planes = images[model.PLANE].values if named else None
    return Placement(y, x, planes, placed)


def first_pixel(data: xr.DataArray, dim: str, verb: str) -> int:
    """Return the first recorded pixel that a cropped array holds, from its coordinate.

    Raises
    ------
    RoiError
        If the coordinate does not count recorded pixels.
    """
    if dim not in data.coords:
        return 0
    if model.PIXEL_SIZE_ATTR not in data[dim].attrs:
        if np.array_equal(data[dim].values, np.arange(data.sizes[dim])):
            return 0
        raise RoiError(
            f"{verb}: the coordinate {dim!r} does not say how large a recorded pixel is, so the "
            "place of a cropped image is not known. Set it: "
            f"data[{dim!r}].attrs['{model.PIXEL_SIZE_ATTR}'] = size."
        )
    pixel = data[dim].attrs[model.PIXEL_SIZE_ATTR]
    places = np.asarray(data[dim].values) / pixel
    origin = round(float(places[0])) if places.size else 0
    binned = data[dim].attrs.get(model.BINNED_ATTR, 1) > 1
    if binned or not np.allclose(places, origin + np.arange(places.size), rtol=0, atol=0.1):
        raise RoiError(
            f"{verb}: the pixels along {dim!r} are not those recorded (binned or reordered), so "
            "ROIs in recorded pixels do not fit. Extract before binning."
        )
    return origin


def require_rois(rois: xr.DataArray | np.ndarray, verb: str) -> xr.DataArray:
    """Accept ROIs in long form or a label image, of one neuron or more."""
    if isinstance(rois, xr.DataArray) and model.kind(rois) == "rois":
        missing = {model.NEURON, model.Y, model.X} - set(rois.coords)
        if missing:
            raise RoiError(
                f"{verb} needs ROIs with the coordinates neuron, y and x along 'pixel'; "
                f"{sorted(missing)} are missing. Make them with rois_from_labels."
            )
        if not rois.size:
            raise RoiError(f"{verb} found no neuron: the ROIs hold no pixel. Select others.")
        return rois
    if isinstance(rois, xr.DataArray | np.ndarray):
        return rois_from_labels(rois)
    raise RoiError(
        f"{verb} needs ROIs or a label image, got {type(rois).__name__}. "
        "Make ROIs with rois_from_masks, rois_from_pixels, rois_from_suite2p or rois_from_imagej."
    )


def roi_names(rois: xr.DataArray, first: np.ndarray) -> np.ndarray | None:
    """Return the names that ROIs bring along, at the first pixel of every neuron."""
    if model.ROI_NAME not in rois.coords:
        return None
    return np.asarray(np.broadcast_to(rois[model.ROI_NAME].values, rois.shape)[first])
