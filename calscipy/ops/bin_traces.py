"""Fewer, larger samples of traces and events: the part of `bin` that works along time."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Any

import numpy as np
import xarray as xr

from calscipy import model
from calscipy.blocks.rows import by_rows
from calscipy.errors import ArgumentError
from calscipy.kernels.bin_rows import bin_rows, bin_rows_by
from calscipy.ops._bins import (
    bin_coords,
    bin_edges,
    require_bins,
    result_dtype,
    whole_number,
    whole_samples,
)
from calscipy.ops._time import float_dtype


def bin_traces(
    data: xr.DataArray,
    *,
    samples: int | None,
    duration: float | None,
    reduce: str | Callable[..., Any],
    partial: str,
) -> xr.DataArray:
    """Reduce bins of neighbouring samples, without words: see :func:`calscipy.bin`."""
    width = _width(data, samples, duration)
    require_bins(data, reduce, partial, callables=True)
    if width > 1:
        model.require_gapless(data, "bin")
    edges = bin_edges(data, {model.TIME: width}, partial)
    starts, stops = edges[model.TIME]
    ordered = data.variable.transpose(..., model.TIME)  # without labels, which cost more time
    if callable(reduce):
        dtype = float_dtype(data)
        kernel: Callable[..., np.ndarray] = bin_rows_by
        how: dict[str, Any] = {"function": reduce, "along_axis": _takes_axis(reduce)}
    else:
        dtype = result_dtype(data, reduce)
        kernel, how = bin_rows, {"reduce": reduce}
    values = by_rows(
        ordered.data,
        kernel,
        shape=(len(starts),),
        dtype=dtype,
        starts=starts,
        stops=stops,
        **how,
    )
    coords = bin_coords(data, edges, {model.TIME: width}, str(reduce))
    result = xr.DataArray(values, coords, ordered.dims, name=data.name)
    return result if result.dims == data.dims else result.transpose(*data.dims)


def reduce_name(reduce: str | Callable[..., Any]) -> str:
    """Return the word for what is taken of a bin."""
    if isinstance(reduce, str):
        return reduce
    if isinstance(reduce, functools.partial):
        given = [*map(repr, reduce.args), *(f"{n}={v!r}" for n, v in reduce.keywords.items())]
        return f"{reduce_name(reduce.func)}({', '.join(given)})"
    return getattr(reduce, "__name__", type(reduce).__name__)  # a repr may tell where it lies


def _width(data: xr.DataArray, samples: int | None, duration: float | None) -> int:
    """Return the samples of a bin."""
    if samples is not None and duration is not None:
        raise ArgumentError("bin takes either samples= or duration=, got both")
    if samples is not None:
        return whole_number(samples, "samples")
    if duration is None:
        raise ArgumentError(
            "bin needs the length of a bin of traces, for instance bin(duration=0.5), in seconds, "
            "or bin(samples=10)"
        )
    return whole_samples(duration, model.regular_rate(data, "bin"), "bin", "duration")


def _takes_axis(function: Callable[..., Any]) -> bool:
    try:
        parameters = inspect.signature(function).parameters
    except ValueError:  # some built-in functions have no signature
        return False
    return "axis" in parameters
