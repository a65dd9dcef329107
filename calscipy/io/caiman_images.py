"""Images among the results of CaImAn: the background and what was measured of each pixel."""

from __future__ import annotations

import math

import numpy as np
import xarray as xr

from calscipy import model
from calscipy.io.caiman_values import Results, Values, is_group
from calscipy.io.hdf5 import load

BACKGROUND = "background"  # group, and its dimension
OF_PIXELS = {"Cn": "local correlation", "sn": "noise of the pixel", "b0": "constant background"}
_MOST_PIXELS = 2**27  # of all backgrounds


def background(results: Results, estimates: Values) -> dict[str, xr.Dataset]:
    """Return the background: images, and how bright each is in each frame."""
    times, shapes = estimates.loaded("f"), _shapes(results, estimates)
    variables: dict[str, xr.Variable] = {}
    if shapes is not None:
        attrs = {"units": "1", "long_name": "background", **results.program}
        dims = (BACKGROUND, *_dims(results))
        variables["spatial"] = xr.Variable(dims, _folded(results, shapes), attrs)
    if times is not None and times.shape[1:] == (results.frames,):
        attrs = {"units": "1", "long_name": "brightness of the background", **results.program}
        same = not variables or len(times) == len(variables["spatial"])
        if same:
            variables["temporal"] = xr.Variable((BACKGROUND, model.TIME), times, attrs)
            times = None
    results.left += ["estimates/f"] if times is not None else []
    return {BACKGROUND: xr.Dataset(variables)} if variables else {}


def _shapes(results: Results, estimates: Values) -> np.ndarray | None:
    """Return the background, shape (backgrounds, pixels), dense or sparse as CaImAn has left it."""
    pixels = math.prod(results.sizes) if results.sizes else 0
    array = estimates.array("b")
    if array is not None and array.ndim == 2 and array.shape[0] == pixels:
        return load(array, results.path).T
    if array is None and "b" in estimates.names() and is_group(estimates.group["b"]):
        matrix = estimates.sparse("b")
        if matrix is not None and matrix.height == pixels and matrix.width * pixels <= _MOST_PIXELS:
            found = np.zeros((matrix.width, pixels), matrix.values.dtype)
            found[matrix.columns, matrix.rows] = matrix.values
            return found
    if "b" in estimates.names():
        results.left.append("estimates/b")
    return None


def _dims(results: Results) -> tuple[str, ...]:
    return (model.Y, model.X) if len(results.sizes) == 2 else (model.PLANE, model.Y, model.X)


def _folded(results: Results, flat: np.ndarray) -> np.ndarray:
    """Fold pixels that are counted down the columns into images ``([plane,] y, x)``."""
    images = flat.reshape(*flat.shape[:-1], *results.sizes[::-1])  # (..., [plane,] x, y)
    return np.ascontiguousarray(np.swapaxes(images, -1, -2))


def images(results: Results, estimates: Values) -> dict[str, xr.Dataset]:
    """Return what was measured of each pixel."""
    variables = {}
    for name, long_name in OF_PIXELS.items():
        array = estimates.array(name)
        if array is None or not results.sizes or array.size != math.prod(results.sizes):
            continue
        found = load(array, results.path)
        if found.shape == results.sizes:
            image = found if len(results.sizes) == 2 else np.moveaxis(found, 2, 0)
        else:
            image = _folded(results, found.ravel())
        attrs = {"long_name": long_name, **results.program}
        variables[name] = xr.Variable(_dims(results), image, attrs)
    return {model.IMAGES: xr.Dataset(variables)} if variables else {}
