"""What the operations share that make one number of each trace."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import xarray as xr

from calscipy import blocks, model
from calscipy.errors import ArgumentError
from calscipy.ops._time import float_dtype


def reduce_time(
    data: xr.DataArray,
    kernel: Callable[..., np.ndarray],
    *,
    verb: str,
    others: tuple[xr.DataArray, ...] = (),
    **arguments: Any,
) -> xr.DataArray:
    """Apply a kernel that makes one number of each trace.

    The result has the dims, coordinates and attributes of ``data`` that do not run along time; it
    is float32 (float64 for float64 and for integers of over 16 bits).
    """
    model.require_dims(data, (model.TIME,), verb)
    if data.dtype.kind not in "iuf":
        raise ArgumentError(f"{verb} needs numbers, got an array of {data.dtype}")
    dims = tuple(dim for dim in data.dims if dim != model.TIME)
    dtype = float_dtype(data)
    result = blocks.reduce_time(
        _rows(data, dims, verb),
        kernel,
        dtype=dtype,
        work=dtype,
        others=tuple(_rows(other, dims, verb) for other in others),
        **arguments,
    )
    along = [name for name, coord in data.coords.items() if model.TIME in coord.dims]
    coords = data.coords.to_dataset().drop_vars(along).coords
    return xr.DataArray(result, coords, dims, data.name, data.attrs)


def epoch_starts(data: xr.DataArray) -> tuple[int, ...]:
    """Return the first sample of every epoch but the first."""
    return tuple(part.start for part in model.epochs(data)[1:])


def _rows(data: xr.DataArray, dims: tuple[Any, ...], verb: str) -> Any:
    """Return the array with the whole time axis last and in one chunk."""
    ordered = data.transpose(*dims, model.TIME).data
    return blocks.whole_time(ordered, len(dims), movie=False, verb=verb)
