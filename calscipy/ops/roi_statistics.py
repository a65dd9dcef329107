"""How large, how round and where the footprints of neurons are."""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr

from calscipy import model
from calscipy.errors import ArgumentError, RoiError, first_few
from calscipy.history import append, history_line
from calscipy.kernels import roi_statistics as kernels
from calscipy.kernels.rois import require_pixels
from calscipy.ops.rois import require_rois, roi_names

Pixel = float | tuple[float, float]


def roi_statistics(
    rois: xr.DataArray | np.ndarray, *, microns_per_pixel: Pixel | None = None
) -> xr.Dataset:
    """Size, place and shape of every neuron's footprint.

    Parameters
    ----------
    rois : DataArray or ndarray
        ROIs in long form or a label image. Pixels of weight 0 are left out.
    microns_per_pixel : float or (float, float), optional
        Size of a pixel in um, one or ``(y, x)``. Without it, lengths and areas are in pixels.

    Returns
    -------
    Dataset
        Along ``neuron``, sorted as in traces; ``y`` and ``x``, the weighted centre (0 is the
        middle of the first pixel), are coordinates, and ``plane`` and ``roi_name`` where known.

        - ``pixel_count``: pixels with a weight;
        - ``area``: of these pixels;
        - ``radius``: of the disc of that area, sqrt(area / pi);
        - ``major_axis``, ``minor_axis``: full axes of the ellipse with the weighted second
          moments of the footprint, 4 times the roots of the eigenvalues of its covariance.
          Pixels are squares, not points, so a single one has axes of 4 / sqrt(12) pixels;
        - ``aspect_ratio``: ``major_axis / minor_axis``, from 1 on;
        - ``hull_area``: of the convex hull of the pixels as squares;
        - ``solidity``: ``area / hull_area``, at most 1.

    Raises
    ------
    RoiError
        If a neuron has pixels in several planes, a pixel twice, or no positive weight.

    Examples
    --------
    >>> found = roi_statistics(np.array([[1, 1, 0], [1, 0, 2]]), microns_per_pixel=2.0)
    >>> found.area.values.tolist(), found.area.units, found.solidity.values.round(3).tolist()
    ([12.0, 4.0], 'um^2', [0.857, 1.0])
    """
    neurons, row, y, x, weight, labels = _footprints(rois, "roi_statistics")
    (tall, wide), known = _pixel_size(microns_per_pixel, "roi_statistics")
    length, surface = ("um", "um^2") if known else ("1", "1")
    found = kernels.moments(row, y, x, weight, neurons.size)
    major, minor = kernels.ellipse_axes(
        found.yy * tall**2, found.xx * wide**2, found.yx * tall * wide
    )
    count = np.bincount(row, minlength=neurons.size)
    area = count * (tall * wide)
    hulls = _hulls(row, y, x, neurons.size)
    hull_area = np.array([kernels.polygon_area(hull) for hull in hulls]) * (tall * wide)
    columns = {
        "pixel_count": (count, "1", "pixels"),
        "area": (area, surface, "area"),
        "radius": (np.sqrt(area / np.pi), length, "radius of the disc of the same area"),
        "major_axis": (major, length, "long axis"),
        "minor_axis": (minor, length, "short axis"),
        "aspect_ratio": (major / minor, "1", "long axis over short axis"),
        "hull_area": (hull_area, surface, "area of the convex hull"),
        "solidity": (area / hull_area, "1", "area over that of the convex hull"),
    }
    coords: dict[str, Any] = {model.NEURON: (model.NEURON, neurons, {"long_name": "neuron"})}
    for dim, values in ((model.Y, found.y * tall), (model.X, found.x * wide)):
        coords[dim] = (model.NEURON, values, {"units": length, "long_name": f"{dim} of the centre"})
    variables = {
        name: (model.NEURON, values, {"units": units, "long_name": long_name})
        for name, (values, units, long_name) in columns.items()
    }
    coords |= {name: (model.NEURON, values) for name, values in labels.items()}
    return _noted(xr.Dataset(variables, coords), rois, "roi_statistics", microns_per_pixel)


def roi_hulls(
    rois: xr.DataArray | np.ndarray, *, microns_per_pixel: Pixel | None = None
) -> xr.Dataset:
    """Corners of the convex hull of every neuron's footprint.

    Parameters
    ----------
    rois : DataArray or ndarray
        ROIs in long form or a label image. Pixels of weight 0 are left out.
    microns_per_pixel : float or (float, float), optional
        Size of a pixel in um, one or ``(y, x)``. Without it, corners are in pixels.

    Returns
    -------
    Dataset
        ``y`` and ``x`` along ``vertex``, in order around each neuron's hull, with the coordinate
        ``neuron`` (and ``plane`` and ``roi_name`` where known). 0 is the middle of the first
        pixel, so that the hull of pixel (0, 0) reaches from -0.5 to 0.5.

    Raises
    ------
    RoiError
        If a neuron has pixels in several planes, a pixel twice, or no positive weight.

    Examples
    --------
    >>> hulls = roi_hulls(np.array([[3, 3]]))
    >>> hulls.neuron.values.tolist(), hulls.x.min().item(), hulls.x.max().item()
    ([3, 3, 3, 3], -0.5, 1.5)
    """
    neurons, row, y, x, _, labels = _footprints(rois, "roi_hulls")
    (tall, wide), known = _pixel_size(microns_per_pixel, "roi_hulls")
    hulls = _hulls(row, y, x, neurons.size)
    owner = np.repeat(np.arange(neurons.size), [len(hull) for hull in hulls])
    corners = np.concatenate(hulls) * (tall, wide)
    units = "um" if known else "1"
    variables = {
        dim: (model.VERTEX, corners[:, at], {"units": units, "long_name": f"{dim} of the corner"})
        for at, dim in enumerate((model.Y, model.X))
    }
    coords: dict[str, Any] = {
        name: (model.VERTEX, values[owner]) for name, values in labels.items()
    }
    coords[model.NEURON] = (model.VERTEX, neurons[owner], {"long_name": "neuron"})
    return _noted(xr.Dataset(variables, coords), rois, "roi_hulls", microns_per_pixel)


def _footprints(rois: xr.DataArray | np.ndarray, verb: str) -> tuple[Any, ...]:
    """Return neurons, then row, y, x and weight of each pixel, then what else names neurons."""
    rois = require_rois(rois, verb)
    names = rois[model.NEURON].values
    plane = None
    if model.PLANE in rois.coords:
        plane = np.broadcast_to(rois[model.PLANE].values, names.shape)
    y, x = rois[model.Y].values, rois[model.X].values
    require_pixels(verb, names, y, x, rois.values, plane=plane)
    neurons, first, row = np.unique(names, return_index=True, return_inverse=True)
    labels = {}
    if plane is not None:
        labels[model.PLANE] = plane[first]
        split = np.unique(row[plane != labels[model.PLANE][row]])
        if split.size:
            raise RoiError(
                f"{verb}: the neurons {first_few(neurons[split].tolist())} have pixels in several "
                "planes. Give every neuron one plane."
            )
    roi_name = roi_names(rois, first)
    if roi_name is not None:
        labels[model.ROI_NAME] = roi_name
    used = rois.values > 0
    return neurons, row[used], y[used], x[used], rois.values[used], labels


def _hulls(row: np.ndarray, y: np.ndarray, x: np.ndarray, count: int) -> list[np.ndarray]:
    order = np.argsort(row, kind="stable")
    ends = np.cumsum(np.bincount(row, minlength=count))[:-1]
    pixels = zip(np.split(y[order], ends), np.split(x[order], ends), strict=True)
    return [kernels.convex_hull(*mine) for mine in pixels]


def _pixel_size(microns_per_pixel: Any, verb: str) -> tuple[tuple[float, float], bool]:
    """Return the height and width of a pixel, and whether they are in um."""
    if microns_per_pixel is None:
        return (1.0, 1.0), False
    sizes = np.asarray(microns_per_pixel)
    numbers = sizes.dtype.kind in "iuf" and sizes.shape in ((), (2,))
    if not numbers or not np.isfinite(sizes).all() or not (sizes > 0).all():
        raise ArgumentError(
            f"{verb} needs microns_per_pixel > 0 in um, one or (y, x), got {microns_per_pixel!r}"
        )
    tall, wide = np.broadcast_to(sizes, (2,)).astype(float).tolist()
    return (tall, wide), True


def _noted(
    result: xr.Dataset, rois: xr.DataArray | np.ndarray, verb: str, microns_per_pixel: Pixel | None
) -> xr.Dataset:
    before = rois.attrs.get("history") if isinstance(rois, xr.DataArray) else None
    line = history_line(verb, {"microns_per_pixel": microns_per_pixel})
    return result.assign_attrs(history=append(before, line))
