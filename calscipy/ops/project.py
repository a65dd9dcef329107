"""One image from a movie."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Literal, get_args

import dask.array as da
import numpy as np
import xarray as xr

from calscipy import model
from calscipy.errors import ArgumentError
from calscipy.history import described, recorded
from calscipy.ops._frames import require_some_valid

Reduce = Literal["mean", "max", "min", "std", "sum", "median"]
_BRANCHES = 4
_KEEP_DTYPE = ("max", "min")


@recorded
def project(data: xr.DataArray, *, reduce: Reduce = "mean") -> xr.DataArray:
    """Reduce a movie over its frames to one image for each channel and plane.

    Parameters
    ----------
    data : DataArray
        Movie ``(frames [, channel] [, plane], y, x)``.
    reduce : {"mean", "max", "min", "std", "sum", "median"}, default "mean"
        What to take over the frames; ``"std"`` divides by their number. Frames that are not
        ``valid`` are left out.

    Returns
    -------
    DataArray
        Image ``([channel] [plane] y, x)`` in the units of the movie: float64 for mean, std,
        median and sums of floats, 64-bit integers for sums of integers, the same dtype otherwise.

    Raises
    ------
    ArgumentError
        If there is no frame, or a channel or plane has no valid frame at all.

    Examples
    --------
    >>> import calscipy as cs
    >>> movie = cs.from_numpy(np.arange(8, dtype="uint16").reshape(2, 2, 2), frame_rate=30)
    >>> project(movie, reduce="mean").values.tolist()
    [[2.0, 3.0], [4.0, 5.0]]
    """
    model.require_dims(data, (model.FRAMES, model.Y, model.X), "project")
    if not isinstance(reduce, str) or reduce not in get_args(Reduce):
        raise ArgumentError(f"project(reduce=) must be one of {get_args(Reduce)}, got {reduce!r}")
    if data.dtype.kind not in "biuf":
        raise ArgumentError(f"project needs numbers, got an array of {data.dtype}")
    if not data.size:
        raise ArgumentError(f"project needs at least one frame and pixel, found {dict(data.sizes)}")
    ordered = data.transpose(model.FRAMES, ..., model.Y, model.X)
    image = _reduce_valid(ordered, reduce)
    dims = ordered.dims[1:]
    coords = {
        name: coord.variable
        for name, coord in ordered.coords.items()
        if model.FRAMES not in coord.dims
    }
    result = xr.DataArray(image, coords, dims, name=reduce).transpose(
        *(dim for dim in data.dims if dim != model.FRAMES)
    )
    name = data.attrs.get("long_name", "fluorescence")
    result = described(
        result,
        units=data.attrs.get("units", "1"),
        long_name=f"{reduce} over frames of {name}",
    )
    return with_cell_method(result, data, (model.FRAMES,), reduce)


def with_cell_method(
    result: xr.DataArray, data: xr.DataArray, dims: Iterable[str], method: str
) -> xr.DataArray:
    """Add what was done along dimensions to the CF ``cell_methods`` that the data came with."""
    added = " ".join(f"{dim}:" for dim in dims) + f" {method}"
    before = data.attrs.get("cell_methods")
    return result.assign_attrs(cell_methods=f"{before} {added}" if before else added)


def _reduce_valid(movie: xr.DataArray, reduce: str) -> Any:
    valid = model.valid_frames(movie)
    array = movie.data
    if valid is None:
        return _reduce(array, reduce)
    require_some_valid(valid, "project")
    columns = valid.reshape(valid.shape[0], -1)
    if (columns == columns[:, :1]).all():
        return _reduce(array[columns[:, 0]], reduce)
    # Channels and planes lost different frames: each is reduced by itself.
    images = np.empty(valid.shape[1:], dtype=object)
    for at in np.ndindex(*images.shape):
        images[at] = _reduce(array[(slice(None), *at)][valid[(slice(None), *at)]], reduce)
    return _stack(images)


def _stack(images: np.ndarray) -> Any:
    parts = list(images) if images.ndim == 1 else [_stack(part) for part in images]
    lazy = isinstance(parts[0], da.Array)
    return da.stack(parts) if lazy else np.stack(parts)


def _reduce(array: Any, reduce: str) -> Any:
    xp = da if isinstance(array, da.Array) else np
    if reduce == "median":
        if xp is da:
            array = array.rechunk({0: -1, array.ndim - 2: "auto"})
        return xp.median(array, axis=0).astype(np.float64)
    # In a tree of few branches dask holds fewer blocks that filters of neighbouring blocks share.
    how: dict[str, Any] = {"split_every": _BRANCHES} if xp is da else {}
    if reduce == "sum":
        whole = np.uint64 if array.dtype == np.uint64 else np.int64
        how["dtype"] = np.float64 if array.dtype.kind == "f" else whole
    elif reduce not in _KEEP_DTYPE:
        how["dtype"] = np.float64
    return getattr(array, reduce)(axis=0, **how)
