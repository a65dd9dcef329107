"""The neuropil around each neuron."""

from __future__ import annotations

import numbers
from collections.abc import Sequence

import numpy as np
import xarray as xr

from calscipy import model
from calscipy.errors import ArgumentError, RoiError, first_few
from calscipy.history import described, recorded
from calscipy.kernels import neuropil as kernels
from calscipy.ops._footprints import Footprints, averaged, footprints, usable
from calscipy.ops.rois import require_rois


@recorded
def extract_neuropil(
    data: xr.DataArray,
    rois: xr.DataArray | np.ndarray,
    *,
    inner: float = 2.0,
    min_pixels: int = 350,
) -> xr.DataArray:
    """Average a movie over a ring of free pixels around each neuron.

    The rings are those of :func:`neuropil_rois`, within the movie. Computed together with
    :func:`extract` (``dask.compute``, ``session.save``), each block of the movie is read once.

    Parameters
    ----------
    data : DataArray
        Movie ``(frames [, channel] [, plane], y, x)`` with a ``time`` coordinate.
    rois : DataArray or ndarray
        All ROIs of the recording, as for :func:`extract`: those that are missing are taken for
        neuropil.
    inner : float, default 2
        Pixels as near as this to a ROI belong to no ring, in pixels.
    min_pixels : int, default 350
        Pixels that a ring has at least.

    Returns
    -------
    DataArray
        Neuropil ``(neuron [, channel], time)`` in float32, in the units of the movie, with the
        coordinates of the traces of :func:`extract`. NaN where its plane's frame is not
        ``valid``. Pixels that are NaN, as :func:`apply_shifts` leaves them along the edges, are
        left out of the mean of that frame; it is NaN where all of the ring are.

    Raises
    ------
    RoiError
        If ROIs do not fit the movie, or if it has too few free pixels for a ring.

    Examples
    --------
    >>> import calscipy as cs
    >>> movie = cs.from_numpy(np.full((2, 9, 9), 7, dtype="uint16"), frame_rate=30)
    >>> labels = np.zeros((9, 9), dtype=int)
    >>> labels[4, 4] = 1
    >>> extract_neuropil(movie, labels, inner=1, min_pixels=20).values.tolist()
    [[7.0, 7.0]]
    """
    _check(inner, min_pixels, "extract_neuropil")
    neurons = footprints(data, rois, "extract_neuropil")
    shape = (data.sizes[model.Y], data.sizes[model.X])
    pixels = _rings(neurons, shape, inner, min_pixels, "extract_neuropil")
    result = averaged(
        data, neurons, pixels, name=model.NEUROPIL, verb="extract_neuropil", skip_missing=True
    )
    units = data.attrs.get("units", "1")
    return described(result, units=units, long_name="neuropil fluorescence around ROIs")


def neuropil_rois(
    rois: xr.DataArray | np.ndarray,
    *,
    image_shape: Sequence[int] | None = None,
    inner: float = 2.0,
    min_pixels: int = 350,
) -> xr.DataArray:
    """Make a ring of free pixels around each ROI, where its neuropil is measured.

    A pixel is free if it is farther than ``inner`` from every ROI of the plane. The ring of a
    neuron holds all free pixels within a distance of r from its nearest pixel, where r is the
    smallest whole number that gives at least ``min_pixels``. Distances are Euclidean, from pixel
    centre to pixel centre; rings of neighbours may share pixels. That such a surround avoids all
    ROIs and grows to a set number of pixels follows Pachitariu et al. (2017), bioRxiv 061507.

    Parameters
    ----------
    rois : DataArray or ndarray
        ROIs in long form or a label image ``(y, x)`` or ``(plane, y, x)``.
    image_shape : sequence of int, optional
        Height and width of the recording in pixels. By default those of the image on which the
        ROIs were made, where they know it.
    inner : float, default 2
        Pixels as near as this to a ROI belong to no ring, in pixels; 0 leaves out the ROIs alone.
    min_pixels : int, default 350
        Pixels that a ring has at least.

    Returns
    -------
    DataArray
        The rings in long form, with the neurons and planes of the ROIs and weights of 1.

    Raises
    ------
    RoiError
        If ROIs lie outside of the image, or if it has too few free pixels for a ring.

    Examples
    --------
    >>> labels = np.zeros((9, 9), dtype=int)
    >>> labels[4, 4] = 1
    >>> rings = neuropil_rois(labels, inner=1, min_pixels=6)
    >>> sorted(zip((rings.y - 4).values.tolist(), (rings.x - 4).values.tolist()))
    [(-2, 0), (-1, -1), (-1, 1), (0, -2), (0, 2), (1, -1), (1, 1), (2, 0)]
    """
    _check(inner, min_pixels, "neuropil_rois")
    rois = require_rois(rois, "neuropil_rois")
    shape = image_shape if image_shape is not None else rois.attrs.get(model.IMAGE_SHAPE_ATTR)
    if shape is None:
        raise ArgumentError(
            "neuropil_rois needs image_shape=(height, width): these ROIs do not know the size of "
            "the image that they were made on."
        )
    if len(shape) != 2 or min(shape) < 1:
        raise ArgumentError(f"image_shape must be the height and width, got {tuple(shape)!r}")
    height, width = (int(n) for n in shape)
    neurons, row = np.unique(rois[model.NEURON].values, return_inverse=True)
    y, x = (rois[dim].values for dim in (model.Y, model.X))
    outside = (y < 0) | (y >= height) | (x < 0) | (x >= width)
    if outside.any():
        raise RoiError(
            f"neuropil_rois: the neurons {first_few(list(neurons[np.unique(row[outside])]))} have "
            f"pixels outside of the image of {height} x {width}. Give the shape of the recording."
        )
    plane = rois[model.PLANE].values if model.PLANE in rois.coords else None
    found = usable(Footprints(neurons, row, y, x, rois.values, plane), "neuropil_rois")
    rings = _rings(found, (height, width), inner, min_pixels, "neuropil_rois")
    return model.rois_long_form(
        neurons[rings.row],
        rings.y,
        rings.x,
        rings.weight,
        image_shape=(height, width),
        plane=rings.plane,
    ).assign_attrs(long_name="neuropil weight")


def _check(inner: float, min_pixels: int, verb: str) -> None:
    if not (isinstance(inner, numbers.Real) and np.isfinite(inner) and inner >= 0):
        raise ArgumentError(f"{verb} needs inner >= 0 in pixels, got {inner!r}")
    whole = isinstance(min_pixels, numbers.Integral) and not isinstance(min_pixels, bool)
    if not (whole and min_pixels > 0):
        raise ArgumentError(f"{verb} needs min_pixels as a whole number > 0, got {min_pixels!r}")


def _rings(
    found: Footprints, shape: tuple[int, int], inner: float, min_pixels: int, verb: str
) -> Footprints:
    """Return the rings of all neurons, in the order of the neurons."""
    planes = found.planes
    free: dict[int, np.ndarray] = {}
    for plane in [0] if planes is None else np.unique(planes):
        here = slice(None) if found.plane is None else found.plane == plane
        free[int(plane)] = kernels.free_pixels(found.y[here], found.x[here], shape, inner)
    order = np.argsort(found.row, kind="stable")
    ends = np.cumsum(np.bincount(found.row, minlength=len(found.neurons)))
    rings, too_small = [], []
    for neuron, pixels in enumerate(np.split(order, ends[:-1])):
        around = free[0 if planes is None else int(planes[neuron])]
        ring = kernels.ring(found.y[pixels], found.x[pixels], around, min_pixels)
        if ring is None:
            too_small.append(found.neurons[neuron])
        else:
            rings.append(ring)
    if too_small:
        fewest = min(int(mask.sum()) for mask in free.values())
        raise RoiError(
            f"{verb}: the image of {shape[0]} x {shape[1]} pixels has too few that are farther "
            f"than inner={inner:g} from every ROI ({fewest}, wanted min_pixels={min_pixels}) for a "
            f"ring around {len(too_small)} neurons ({first_few(too_small)}). Choose a smaller "
            "min_pixels or inner, or a larger part of the recording."
        )
    row = np.repeat(np.arange(len(rings)), [ring[0].size for ring in rings])
    y, x = (np.concatenate([ring[axis] for ring in rings]) for axis in (0, 1))
    plane = None if planes is None else planes[row]
    return Footprints(found.neurons, row, y, x, np.ones(row.size, np.float32), plane)
