"""What bins of movies and of traces share: their edges, and the coordinates of their samples."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Any, Literal, NamedTuple, get_args

import numpy as np
import xarray as xr

from calscipy import model
from calscipy.errors import ArgumentError, first_few
from calscipy.ops._frames import is_number
from calscipy.ops._time import float_dtype

BinReduce = Literal["mean", "sum", "max", "min", "median", "std"]
Partial = Literal["error", "drop", "keep"]

_LABELS = (
    model.CYCLE,
    model.EPOCH,
    model.RECORDING,
)  # numbers that name, of which there is no mean
_POSITIONS = (model.TIME, model.Y, model.X)  # of all samples, valid or not
_WHOLE = 0.01  # share by which a duration may differ from a whole number of samples


class Edges(NamedTuple):
    """Samples ``[start, stop)`` of each bin along one dimension."""

    starts: np.ndarray
    stops: np.ndarray


def require_bins(
    data: xr.DataArray, reduce: str | Callable[..., Any], partial: str, *, callables: bool = False
) -> None:
    """Raise unless there are numbers that can be binned in this way."""
    known = isinstance(reduce, str) and reduce in get_args(BinReduce)
    if not (known or (callables and callable(reduce))):
        also = " or a function" if callables else ""
        raise ArgumentError(
            f"bin(reduce=) must be one of {get_args(BinReduce)}{also}, got {reduce!r}"
        )
    require_partial(partial, "bin")
    if reduce == "sum" and partial == "keep":
        raise ArgumentError(
            "bin(partial='keep') would make a last sum of fewer samples, lower than the others. "
            "Take reduce='mean', or leave out what is over with partial='drop'."
        )
    if data.dtype.kind not in "biuf" or data.dtype.itemsize > 8:
        raise ArgumentError(
            f"bin needs booleans, integers or floats of up to 64 bits, got an array of {data.dtype}"
        )
    if not data.size:
        raise ArgumentError(
            f"bin needs at least one sample along each dimension, found {dict(data.sizes)}"
        )


def require_partial(partial: object, verb: str) -> None:
    """Raise unless this is one of the rules for what is left over at the end."""
    if not isinstance(partial, str) or partial not in get_args(Partial):
        raise ArgumentError(f"{verb}(partial=) must be one of {get_args(Partial)}, got {partial!r}")


def whole_number(size: object, name: str) -> int:
    """Return the samples of a bin, which must be a whole number from 1 on."""
    if not isinstance(size, int | np.integer) or isinstance(size, bool) or size < 1:
        raise ArgumentError(f"bin needs {name} as a whole number from 1 on, got {size!r}")
    return int(size)


def result_dtype(data: xr.DataArray, reduce: str) -> np.dtype:
    """Return in which dtype a reduction of bins comes."""
    if reduce in ("max", "min"):
        return data.dtype.newbyteorder("=")
    if reduce != "sum":
        return float_dtype(data)
    whole = np.dtype("u8" if data.dtype == np.uint64 else "i8")
    return np.dtype("f8") if data.dtype.kind == "f" else whole


def bin_edges(
    data: xr.DataArray, widths: dict[str, int], partial: str, verb: str = "bin", what: str = "bins"
) -> dict[str, Edges]:
    """Return the bins along every dimension that is divided; those of time end with an epoch."""
    edges, left = {}, []
    for dim, width in widths.items():
        timed = dim in (model.FRAMES, model.TIME)
        parts = model.epochs(data) if timed else [slice(0, data.sizes[dim])]
        found = [_split(part, width, partial) for part in parts]
        starts, stops = (np.concatenate(ends) for ends in zip(*found, strict=True))
        edges[dim] = Edges(starts, stops)
        noun = "samples" if dim == model.TIME else dim
        where = "{0} {1}" if len(parts) == 1 else "{0} {1} of an epoch"
        left += [
            f"{where.format(length, noun)} into {what} of {width} ({length % width} left over)"
            for length in dict.fromkeys(part.stop - part.start for part in parts)
            if length % width
        ]
        if not len(starts):
            longest = max(part.stop - part.start for part in parts)
            raise ArgumentError(
                f"{verb}(partial='drop') leaves nothing of {longest} {noun} in {what} of {width}. "
                f"Make the {what} smaller, or keep those that are not full with partial='keep'."
            )
    if left and partial == "error":
        raise ArgumentError(
            f"{verb} cannot divide {first_few(left)}. Leave out what is over with partial='drop', "
            "or make a last one of fewer samples with partial='keep'."
        )
    return edges


def _split(part: slice, width: int, partial: str) -> tuple[np.ndarray, np.ndarray]:
    starts = np.arange(part.start, part.stop, width)
    stops = np.minimum(starts + width, part.stop)
    full = (stops - starts == width) | (partial != "drop")
    return starts[full], stops[full]


def whole_samples(duration: object, rate: float, verb: str, name: str) -> int:
    """Turn a duration in s into a number of samples, which it must be within 1 %.

    Raises
    ------
    ArgumentError
        Naming the nearest durations that are.
    """
    if not (is_number(duration) and np.isfinite(duration) and duration > 0):  # type: ignore[call-overload,operator]
        raise ArgumentError(f"{verb} needs {name} > 0 in seconds, got {duration!r}")
    exact = float(duration) * rate  # type: ignore[arg-type]
    count = round(exact)
    if abs(count - exact) <= _WHOLE * exact:
        return count
    near = [int(exact), int(exact) + 1] if exact > 1 else [1]
    raise ArgumentError(
        f"{verb} needs {name} as a whole number of samples, but {duration:g} s are {exact:.4g} "
        f"of them at {rate:g} Hz. Take {' or '.join(f'{n / rate:.6g} s' for n in near)}."
    )


def bin_coords(
    data: xr.DataArray, edges: dict[str, Edges], widths: dict[str, int], reduce: str
) -> dict[Hashable, xr.Variable]:
    """Return the coordinates of the bins, without those that have no meaning for a bin."""
    # Without a coordinate, nothing would say that these are not the pixels recorded.
    unplaced = {
        dim: model.pixel_coordinate(dim, data.sizes[dim], None)
        for dim in (model.Y, model.X)
        if dim in widths and dim not in data.coords
    }
    if unplaced:
        data = data.assign_coords(unplaced)
    coords: dict[Hashable, xr.Variable] = {}
    for name, coord in data.coords.variables.items():  # as arrays they would take longer to make
        if not set(edges) & set(coord.dims):
            coords[name] = coord
            continue
        values = _labels(data, str(name), coord, edges, reduce)
        if values is not None:
            attrs = dict(coord.attrs)
            if name in (model.Y, model.X) and name in widths:
                attrs[model.BINNED_ATTR] = attrs.get(model.BINNED_ATTR, 1) * widths[str(name)]
            coords[name] = xr.Variable(coord.dims, values, attrs)
    return coords


def _labels(
    data: xr.DataArray, name: str, coord: xr.Variable, edges: dict[str, Edges], reduce: str
) -> np.ndarray | None:
    """Return a coordinate of the bins; None where there is no such thing."""
    values = model.coordinate(data, name)
    use = None if name in _POSITIONS else _used(data, coord)
    delays = (  # what has to be right is how long it is after the time of a bin
        name == model.PLANE_TIME
        and model.FRAMES in set(edges) & {*coord.dims}
        and model.TIME in data.coords
        and data[model.TIME].dims == (model.FRAMES,)
    )
    if delays:
        shape = [-1 if dim == model.FRAMES else 1 for dim in coord.dims]
        times = model.coordinate(data, model.TIME)
        values = values - times.reshape(shape)
    for axis, dim in enumerate(coord.dims):
        if dim not in edges:
            continue
        rows, ends = np.moveaxis(values, axis, 0), edges[str(dim)]
        if name == model.VALID:
            made = reduced(np.logical_and if reduce == "sum" else np.logical_or, rows, ends)
        elif is_constant(rows, ends):
            made = rows[ends.starts]
        elif _is_quantity(name, coord):
            made = _mean(rows, ends, None if use is None else np.moveaxis(use, axis, 0))
        else:
            return None
        values, use = np.moveaxis(made, 0, axis), None
    if delays:
        values = values + _mean(times, edges[model.FRAMES]).reshape(shape)
    return values


def _used(data: xr.DataArray, coord: xr.Variable) -> np.ndarray | None:
    """Return which values of a coordinate belong to valid frames; None for all."""
    if model.VALID not in data.coords or model.FRAMES not in coord.dims:
        return None
    valid = xr.Variable(data[model.VALID].dims, model.coordinate(data, model.VALID).astype(bool))
    valid = valid.any([dim for dim in valid.dims if dim not in coord.dims])
    return np.asarray(valid.set_dims(coord.sizes).transpose(*coord.dims).values)


def _is_quantity(name: str, coord: xr.Variable) -> bool:
    """Tell numbers from labels, of which there is no mean."""
    if name in _LABELS or coord.dtype.kind not in "iuf":
        return False
    return name in _POSITIONS or coord.dtype.kind == "f" or "units" in coord.attrs


def is_constant(values: np.ndarray, edges: Edges) -> bool:
    """Tell whether no value changes within a bin of the first axis."""
    if len(edges.starts) and not np.array_equal(
        values[edges.starts[0]], values[edges.stops[0] - 1]
    ):
        return False  # as times, at once
    first = np.repeat(values[edges.starts], edges.stops - edges.starts, axis=0)
    return np.array_equal(values[inside(edges)], first)


def _mean(values: np.ndarray, edges: Edges, use: np.ndarray | None = None) -> np.ndarray:
    """Return the mean of each bin of the first axis, without NaN and what is not used."""
    known = ~np.isnan(values) if use is None else ~np.isnan(values) & use
    if known.all():
        lengths = (edges.stops - edges.starts).reshape(-1, *(1,) * (values.ndim - 1))
        return reduced(np.add, values.astype(np.float64, copy=False), edges) / lengths
    total = reduced(np.add, np.where(known, values, 0.0), edges)
    count = reduced(np.add, known.astype(np.int64), edges)
    return np.where(count > 0, total, np.nan) / np.maximum(count, 1)


def inside(edges: Edges) -> np.ndarray:
    """Return the samples of all bins one after the other."""
    lengths = edges.stops - edges.starts
    before = np.cumsum(lengths) - lengths
    return np.repeat(edges.starts - before, lengths) + np.arange(lengths.sum())


def reduced(function: np.ufunc, values: np.ndarray, edges: Edges) -> np.ndarray:
    """Apply a function over each bin of the first axis."""
    borders = np.stack([edges.starts, edges.stops], axis=1).ravel()
    if borders[-1] == len(values):
        borders = borders[:-1]
    return np.asarray(function.reduceat(values, borders, axis=0)[::2])
