"""Regions of interest in long form: one entry for each pixel of each neuron."""

from __future__ import annotations

import numpy as np
import xarray as xr

from calscipy import model
from calscipy.errors import RoiError


def rois_from_labels(labels: xr.DataArray | np.ndarray) -> xr.DataArray:
    """Make ROIs from a label image; every positive number is a neuron.

    Parameters
    ----------
    labels : DataArray or ndarray of int, shape (y, x) or (plane, y, x)
        0 where there is no neuron, else the neuron's number.

    Returns
    -------
    DataArray
        Weights (all 1) along ``pixel``, with the coordinates ``neuron``, ``y`` and ``x`` in
        pixels of the image, and ``plane`` for a stack.

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
    return model.rois_long_form(
        neuron[order],
        where[-2],
        where[-1],
        np.ones(order.size, np.float32),
        image_shape=values.shape[-2:],
        plane=where[0] if values.ndim == 3 else None,
    )


def require_rois(rois: xr.DataArray | np.ndarray, verb: str) -> xr.DataArray:
    """Accept ROIs in long form or a label image."""
    if isinstance(rois, xr.DataArray) and model.kind(rois) == "rois":
        missing = {model.NEURON, model.Y, model.X} - set(rois.coords)
        if missing:
            raise RoiError(
                f"{verb} needs ROIs with the coordinates neuron, y and x along 'pixel'; "
                f"{sorted(missing)} are missing. Make them with rois_from_labels."
            )
        return rois
    if isinstance(rois, xr.DataArray | np.ndarray):
        return rois_from_labels(rois)
    raise RoiError(
        f"{verb} needs ROIs or a label image, got {type(rois).__name__}. "
        "Make ROIs with rois_from_labels or rois_from_suite2p."
    )
