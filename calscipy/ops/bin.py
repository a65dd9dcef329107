"""Movies of fewer, larger samples: bins of frames and of pixels."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Literal, NamedTuple, get_args

import numpy as np
import xarray as xr

from calscipy import model
from calscipy.blocks.bins import Bins, binned
from calscipy.errors import ArgumentError, first_few
from calscipy.history import described, recorded
from calscipy.ops._time import float_dtype
from calscipy.ops.project import with_cell_method

BinReduce = Literal["mean", "sum", "max", "min", "median", "std"]
Partial = Literal["error", "drop", "keep"]

_LABELS = (model.CYCLE, model.EPOCH)  # numbers that name, of which there is no mean
_POSITIONS = (model.TIME, model.Y, model.X)  # of all samples, valid or not


class _Edges(NamedTuple):
    """Samples ``[start, stop)`` of each bin along one dimension."""

    starts: np.ndarray
    stops: np.ndarray


@recorded
def bin(
    data: xr.DataArray,
    *,
    frames: int | None = None,
    y: int | None = None,
    x: int | None = None,
    reduce: BinReduce = "mean",
    partial: Partial = "error",
) -> xr.DataArray:
    """Reduce bins of neighbouring frames and pixels to one sample each.

    Parameters
    ----------
    data : DataArray
        Movie ``(frames [, channel] [, plane], y, x)``. Channels and planes are binned apart.
    frames, y, x : int, optional
        Samples in a bin along each dimension; those left out are not binned.
    reduce : {"mean", "sum", "max", "min", "median", "std"}, default "mean"
        What to take of the samples of a bin; ``"std"`` divides by their number. A NaN among them
        gives NaN. Frames that are not ``valid`` are left out. A sum of fewer samples would look
        like a dark image: with ``"sum"``, a bin with any frame that is not ``valid`` is not
        ``valid`` either.
    partial : {"error", "drop", "keep"}, default "error"
        What to do with a last bin that is not full: of the frames of an epoch, of the rows or of
        the columns. ``"drop"`` leaves its samples out, ``"keep"`` makes a bin of fewer samples,
        of which there is no sum.

    Returns
    -------
    DataArray
        Movie of the same dims and units, its bins in order; no bin holds frames of two epochs.
        Means, medians and standard deviations are float32 (float64 for float64 and for integers
        of over 16 bits), sums 64-bit integers (float64 for floats), maxima and minima of the
        same dtype. The same values whatever the chunks. A bin without any valid frame (a sum:
        with any that is not) holds 0 and is not ``valid``. Attributes of the scan, such as
        ``frame_period``, stay those of the recorded frames.

        ``time`` is the mean time of all frames of a bin, valid or not, so that a regular movie of
        full bins stays regular. ``plane_time`` is as long after it as in the mean of the valid
        frames. Other coordinates of frames are means of what the valid frames have, without NaN;
        NaN if there is nothing. A coordinate that does not change within any bin is kept as it
        is. Names, flags and integers without units that change within a bin (``cycle``, the
        number of a trial) are left out.

    Raises
    ------
    ArgumentError
        For bins that are no whole number of samples from 1 on, for none at all, where a last
        bin is not full, and for ``partial="keep"`` with sums.
    TimeAxisError
        If a sample is missing in the times of an epoch.

    Examples
    --------
    >>> import calscipy as cs
    >>> movie = cs.from_numpy(np.arange(8, dtype="uint16").reshape(4, 1, 2), frame_rate=4)
    >>> pairs = bin(movie, frames=2)
    >>> pairs.values.tolist(), cs.frame_rate(pairs)
    ([[[1.0, 2.0]], [[5.0, 6.0]]], 2.0)
    """
    sizes = {model.FRAMES: frames, model.Y: y, model.X: x}
    widths = _checked(data, sizes, reduce, partial)
    edges = _edges(data, widths, partial)
    ordered = data.transpose(model.FRAMES, ..., model.Y, model.X)
    everywhere = {dim: edges.get(dim) or _single(data.sizes[dim]) for dim in sizes}
    plan = Bins(
        *everywhere[model.FRAMES],
        width=(widths.get(model.Y, 1), widths.get(model.X, 1)),
        counts=(len(everywhere[model.Y].starts), len(everywhere[model.X].starts)),
        reduce=reduce,
        dtype=_result_dtype(data, reduce),
    )
    valid = model.valid_frames(ordered)
    if valid is not None and reduce == "sum":
        valid = _only_whole(valid, everywhere[model.FRAMES])
    values = binned(ordered.data, plan, valid=valid)
    coords = _coords(data, edges, widths, reduce)
    result = xr.DataArray(values, coords, ordered.dims, name=data.name)
    for name in data.indexes:
        if name in result.coords and name not in result.indexes and result[name].ndim == 1:
            result = result.set_xindex(name)
    name = data.attrs.get("long_name", "fluorescence")
    result = described(
        result.transpose(*data.dims),
        units=data.attrs.get("units", "1"),
        long_name=f"{name}, {reduce} of bins",
    )
    return with_cell_method(result, data, widths, reduce)


def _checked(
    data: xr.DataArray, sizes: dict[str, int | None], reduce: str, partial: str
) -> dict[str, int]:
    """Return the bins that were asked for, by dimension."""
    model.require_dims(data, tuple(sizes), "bin")
    if not isinstance(reduce, str) or reduce not in get_args(BinReduce):
        raise ArgumentError(f"bin(reduce=) must be one of {get_args(BinReduce)}, got {reduce!r}")
    if not isinstance(partial, str) or partial not in get_args(Partial):
        raise ArgumentError(f"bin(partial=) must be one of {get_args(Partial)}, got {partial!r}")
    if reduce == "sum" and partial == "keep":
        raise ArgumentError(
            "bin(partial='keep') would make a last sum of fewer samples, darker than the others. "
            "Take reduce='mean', or leave out what is over with partial='drop'."
        )
    if data.dtype.kind not in "biuf" or data.dtype.itemsize > 8:
        raise ArgumentError(
            f"bin needs booleans, integers or floats of up to 64 bits, got an array of {data.dtype}"
        )
    given = {dim: size for dim, size in sizes.items() if size is not None}
    if not given:
        raise ArgumentError("bin needs the samples of a bin, for instance bin(frames=10)")
    for dim, size in given.items():
        if not isinstance(size, int | np.integer) or isinstance(size, bool) or size < 1:
            raise ArgumentError(f"bin needs {dim} as a whole number from 1 on, got {size!r}")
    if not data.size:
        raise ArgumentError(f"bin needs at least one frame and pixel, found {dict(data.sizes)}")
    if given.get(model.FRAMES, 1) > 1:
        model.require_gapless(data, "bin")
    return {dim: int(size) for dim, size in given.items()}


def _edges(data: xr.DataArray, widths: dict[str, int], partial: str) -> dict[str, _Edges]:
    """Return the bins along every dimension that is binned."""
    edges, left = {}, []
    for dim, width in widths.items():
        parts = model.epochs(data) if dim == model.FRAMES else [slice(0, data.sizes[dim])]
        found = [_split(part, width, partial) for part in parts]
        starts, stops = (np.concatenate(ends) for ends in zip(*found, strict=True))
        edges[dim] = _Edges(starts, stops)
        where = "{0} {1}" if len(parts) == 1 else "{0} {1} of an epoch"
        left += [
            f"{where.format(length, dim)} into bins of {width} ({length % width} left over)"
            for length in dict.fromkeys(part.stop - part.start for part in parts)
            if length % width
        ]
        if not len(starts):
            longest = max(part.stop - part.start for part in parts)
            raise ArgumentError(
                f"bin(partial='drop') leaves nothing of {longest} {dim} in bins of {width}. "
                "Make the bins smaller, or keep those that are not full with partial='keep'."
            )
    if left and partial == "error":
        raise ArgumentError(
            f"bin cannot divide {first_few(left)}. Leave out what is over with partial='drop', "
            "or make a last bin of fewer samples with partial='keep'."
        )
    return edges


def _split(part: slice, width: int, partial: str) -> tuple[np.ndarray, np.ndarray]:
    starts = np.arange(part.start, part.stop, width)
    stops = np.minimum(starts + width, part.stop)
    full = (stops - starts == width) | (partial != "drop")
    return starts[full], stops[full]


def _single(size: int) -> _Edges:
    return _Edges(np.arange(size), np.arange(1, size + 1))


def _result_dtype(data: xr.DataArray, reduce: str) -> np.dtype:
    if reduce in ("max", "min"):
        return data.dtype.newbyteorder("=")
    if reduce != "sum":
        return float_dtype(data)
    whole = np.dtype("u8" if data.dtype == np.uint64 else "i8")
    return np.dtype("f8") if data.dtype.kind == "f" else whole


def _only_whole(valid: np.ndarray, edges: _Edges) -> np.ndarray:
    """Mark all frames of a bin as not valid where one of them is not."""
    whole = _reduced(np.logical_and, valid, edges)
    marked = valid.copy()
    marked[_inside(edges)] = np.repeat(whole, edges.stops - edges.starts, axis=0)
    return marked


def _coords(
    data: xr.DataArray, edges: dict[str, _Edges], widths: dict[str, int], reduce: str
) -> dict[Hashable, xr.Variable]:
    # Without a coordinate, nothing would say that these are not the pixels recorded.
    unplaced = {
        dim: model.pixel_coordinate(dim, data.sizes[dim], None)
        for dim in (model.Y, model.X)
        if dim in widths and dim not in data.coords
    }
    data = data.assign_coords(unplaced)
    coords: dict[Hashable, xr.Variable] = {}
    for name, coord in data.coords.items():
        if not set(edges) & set(coord.dims):
            coords[name] = coord.variable
            continue
        values = _labels(data, coord, edges, reduce)
        if values is not None:
            attrs = dict(coord.attrs)
            if name in (model.Y, model.X):
                attrs[model.BINNED_ATTR] = attrs.get(model.BINNED_ATTR, 1) * widths[str(name)]
            coords[name] = xr.Variable(coord.dims, values, attrs)
    return coords


def _labels(
    data: xr.DataArray, coord: xr.DataArray, edges: dict[str, _Edges], reduce: str
) -> np.ndarray | None:
    """Return the coordinate of the bins; None where there is no such thing."""
    values = model.coordinate(data, str(coord.name))
    use = None if coord.name in _POSITIONS else _used(data, coord)
    timed = model.TIME in data.coords and data[model.TIME].dims == (model.FRAMES,)
    delays = coord.name == model.PLANE_TIME and timed and model.FRAMES in set(edges) & {*coord.dims}
    if delays:  # what has to be right is how long it is after the time of a bin
        shape = [-1 if dim == model.FRAMES else 1 for dim in coord.dims]
        times = model.coordinate(data, model.TIME)
        values = values - times.reshape(shape)
    for axis, dim in enumerate(coord.dims):
        if dim not in edges:
            continue
        rows, ends = np.moveaxis(values, axis, 0), edges[str(dim)]
        if coord.name == model.VALID:
            made = _reduced(np.logical_and if reduce == "sum" else np.logical_or, rows, ends)
        elif _is_constant(rows, ends):
            made = rows[ends.starts]
        elif _is_quantity(coord):
            made = _mean(rows, ends, None if use is None else np.moveaxis(use, axis, 0))
        else:
            return None
        values, use = np.moveaxis(made, 0, axis), None
    if delays:
        values = values + _mean(times, edges[model.FRAMES]).reshape(shape)
    return values


def _used(data: xr.DataArray, coord: xr.DataArray) -> np.ndarray | None:
    """Return which values of a coordinate belong to valid frames; None for all."""
    if model.VALID not in data.coords or model.FRAMES not in coord.dims:
        return None
    valid = xr.Variable(data[model.VALID].dims, model.coordinate(data, model.VALID).astype(bool))
    valid = valid.any([dim for dim in valid.dims if dim not in coord.dims])
    return np.asarray(valid.set_dims(coord.sizes).transpose(*coord.dims).values)


def _is_quantity(coord: xr.DataArray) -> bool:
    """Tell numbers from labels, of which there is no mean."""
    if coord.name in _LABELS or coord.dtype.kind not in "iuf":
        return False
    return coord.name in _POSITIONS or coord.dtype.kind == "f" or "units" in coord.attrs


def _is_constant(values: np.ndarray, edges: _Edges) -> bool:
    first = np.repeat(values[edges.starts], edges.stops - edges.starts, axis=0)
    return np.array_equal(values[_inside(edges)], first)


def _mean(values: np.ndarray, edges: _Edges, use: np.ndarray | None = None) -> np.ndarray:
    """Return the mean of each bin of the first axis, without NaN and what is not used."""
    known = ~np.isnan(values) if use is None else ~np.isnan(values) & use
    total = _reduced(np.add, np.where(known, values, 0.0), edges)
    count = _reduced(np.add, known.astype(np.int64), edges)
    return np.where(count > 0, total, np.nan) / np.maximum(count, 1)


def _inside(edges: _Edges) -> np.ndarray:
    """Return the samples of all bins one after the other."""
    lengths = edges.stops - edges.starts
    before = np.cumsum(lengths) - lengths
    return np.repeat(edges.starts - before, lengths) + np.arange(lengths.sum())


def _reduced(function: np.ufunc, values: np.ndarray, edges: _Edges) -> np.ndarray:
    """Apply a function over each bin of the first axis."""
    borders = np.stack([edges.starts, edges.stops], axis=1).ravel()
    if borders[-1] == len(values):
        borders = borders[:-1]
    return np.asarray(function.reduceat(values, borders, axis=0)[::2])
