"""Movies of fewer, larger samples: bins of frames and of pixels."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any, Literal, NamedTuple, get_args

import numpy as np
import xarray as xr

from calscipy import model
from calscipy.blocks.bins import Bins, binned
from calscipy.errors import ArgumentError, first_few
from calscipy.history import described, recorded
from calscipy.ops._time import float_dtype

BinReduce = Literal["mean", "sum", "max", "min", "median", "std"]
Partial = Literal["error", "drop", "keep"]

FRAME_PERIOD_ATTR = "frame_period"  # s, on recorded movies
_LABELS = (model.CYCLE, model.EPOCH)  # numbers that name, of which there is no mean


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
        gives NaN. Frames that are not ``valid`` are left out.
    partial : {"error", "drop", "keep"}, default "error"
        What to do with a last bin that is not full: of the frames of an epoch, of the rows or of
        the columns. ``"drop"`` leaves its samples out, ``"keep"`` makes a bin of fewer samples.

    Returns
    -------
    DataArray
        Movie of the same dims and units, its bins in order; no bin holds frames of two epochs.
        Means, medians and standard deviations are float32 (float64 for float64 and for integers
        of over 16 bits), sums 64-bit integers (float64 for floats), maxima and minima of the
        same dtype. The same values whatever the chunks. A bin without any valid frame holds 0
        and is not ``valid``.

        ``time`` is the mean time of all frames of a bin, valid or not, so that a regular movie of
        full bins stays regular; so is every other coordinate of numbers. A coordinate that does
        not change within any bin is kept as it is. Others (names, flags, ``cycle``) are left out.

    Raises
    ------
    ArgumentError
        For bins that are no whole number of samples from 1 on, for none at all, and where a last
        bin is not full.
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
    values = binned(ordered.data, plan, valid=model.valid_frames(ordered))
    result = xr.DataArray(values, _coords(data, edges, widths), ordered.dims, name=data.name)
    for name in data.indexes:
        if name in result.coords and name not in result.indexes and result[name].ndim == 1:
            result = result.set_xindex(name)
    name = data.attrs.get("long_name", "fluorescence")
    result = described(
        result.transpose(*data.dims),
        units=data.attrs.get("units", "1"),
        long_name=f"{name}, {reduce} of bins",
    )
    return result.assign_attrs(_attrs(data, widths, reduce))


def _checked(
    data: xr.DataArray, sizes: dict[str, int | None], reduce: str, partial: str
) -> dict[str, int]:
    """Return the bins that were asked for, by dimension."""
    model.require_dims(data, tuple(sizes), "bin")
    if reduce not in get_args(BinReduce):
        raise ArgumentError(f"bin(reduce=) must be one of {get_args(BinReduce)}, got {reduce!r}")
    if partial not in get_args(Partial):
        raise ArgumentError(f"bin(partial=) must be one of {get_args(Partial)}, got {partial!r}")
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


def _coords(
    data: xr.DataArray, edges: dict[str, _Edges], widths: dict[str, int]
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
        dims = [dim for dim in edges if dim in coord.dims]
        if not dims:
            coords[name] = coord.variable
            continue
        values = model.coordinate(data, str(name))
        for dim in dims:
            axis = coord.dims.index(dim)
            values = _binned_labels(str(name), values, axis, edges[dim])
            if values is None:
                break
        else:
            attrs = dict(coord.attrs)
            if name in (model.Y, model.X):
                attrs[model.BINNED_ATTR] = attrs.get(model.BINNED_ATTR, 1) * widths[str(name)]
            coords[name] = xr.Variable(coord.dims, values, attrs)
    return coords


def _binned_labels(name: str, values: np.ndarray, axis: int, edges: _Edges) -> Any:
    """Return one label for each bin; None where there is no such thing."""
    values = np.moveaxis(values, axis, 0)
    lengths = edges.stops - edges.starts
    first = values[edges.starts]
    inside = np.repeat(edges.starts - np.cumsum(lengths) + lengths, lengths) + np.arange(
        lengths.sum()
    )
    if name == model.VALID:
        new = _reduced(np.logical_or, values, edges)
    elif np.array_equal(values[inside], np.repeat(first, lengths, axis=0)):
        new = first
    elif values.dtype.kind in "iuf" and name not in _LABELS:
        total = _reduced(np.add, values.astype(np.float64), edges)
        new = total / lengths.reshape(-1, *[1] * (values.ndim - 1))
    else:
        return None
    return np.moveaxis(new, 0, axis)


def _reduced(function: np.ufunc, values: np.ndarray, edges: _Edges) -> np.ndarray:
    """Apply a function over each bin of the first axis."""
    borders = np.stack([edges.starts, edges.stops], axis=1).ravel()
    if borders[-1] == len(values):
        borders = borders[:-1]
    return np.asarray(function.reduceat(values, borders, axis=0)[::2])


def _attrs(data: xr.DataArray, widths: dict[str, int], reduce: str) -> dict[str, Any]:
    """Return what is no longer as it was recorded."""
    methods = " ".join(f"{dim}:" for dim in widths) + f" {reduce}"
    before = data.attrs.get("cell_methods")
    attrs: dict[str, Any] = {"cell_methods": f"{before} {methods}" if before else methods}
    period = data.attrs.get(FRAME_PERIOD_ATTR)
    if model.FRAMES in widths and isinstance(period, int | float | np.number):
        attrs[FRAME_PERIOD_ATTR] = float(period) * widths[model.FRAMES]
    return attrs
