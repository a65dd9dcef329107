"""Fewer, larger samples: bins of frames and of pixels of movies, of samples of traces."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import xarray as xr

from calscipy import model
from calscipy.blocks.bins import Bins, binned
from calscipy.errors import ArgumentError
from calscipy.history import described, recorded
from calscipy.ops._bins import (
    BinReduce,
    Edges,
    Partial,
    bin_coords,
    bin_edges,
    inside,
    reduced,
    require_bins,
    result_dtype,
    whole_number,
)
from calscipy.ops.bin_traces import bin_traces, reduce_name
from calscipy.ops.project import with_cell_method


@recorded
def bin(
    data: xr.DataArray,
    *,
    frames: int | None = None,
    y: int | None = None,
    x: int | None = None,
    samples: int | None = None,
    duration: float | None = None,
    reduce: BinReduce | Callable[..., Any] | None = None,
    partial: Partial = "error",
) -> xr.DataArray:
    """Reduce bins of neighbouring frames and pixels, or of samples of traces, to one sample each.

    Parameters
    ----------
    data : DataArray
        Movie ``(frames [, channel] [, plane], y, x)``, or traces, events or trials along
        ``time``. Channels, planes, neurons and trials are binned apart.
    frames, y, x : int, optional
        Movies: samples in a bin along each dimension; those left out are not binned.
    samples : int, optional
        Traces: samples in a bin.
    duration : float, optional
        Traces: length of a bin in s, instead of ``samples``. It must be a whole number of samples
        within 1 %, because bins never resample.
    reduce : {"mean", "sum", "max", "min", "median", "std"} or callable, optional
        What to take of the samples of a bin: their mean by default, of booleans along time
        their sum, which is the number of events. ``"std"`` divides by the number of samples. A
        NaN among them gives NaN. Frames that are not ``valid`` are left out. A sum of fewer
        samples would look like a dark image: with ``"sum"``, a bin with any frame that is not
        ``valid`` is not ``valid`` either.

        Traces: also any function. If it has a parameter ``axis``, it is called as
        ``function(values, axis=-1)`` with many bins, else with the samples of one bin, and returns
        one number for each. It gets floats and stands in the history by its name.
    partial : {"error", "drop", "keep"}, default "error"
        What to do with a last bin that is not full: of the frames or samples of an epoch, of the
        rows or of the columns. ``"drop"`` leaves its samples out, ``"keep"`` makes a bin of fewer
        samples, of which there is no sum.

    Returns
    -------
    DataArray
        The same dims and units, its bins in order; no bin holds frames of two epochs.
        Means, medians and standard deviations are float32 (float64 for float64 and for integers
        of over 16 bits), as is what a function returns; sums are 64-bit integers (float64 for
        floats), maxima and minima of the same dtype. The same values whatever the chunks. A bin
        without any valid frame (a sum: with any that is not) holds 0 and is not ``valid``.
        Attributes of the scan, such as ``frame_period``, stay those of the recorded frames.

        ``time`` is the mean time of all samples of a bin, valid or not, so that regular data of
        full bins stay regular. ``plane_time`` is as long after it as in the mean of the valid
        frames. Other coordinates of frames are means of what the valid frames have, without NaN;
        NaN if there is nothing. A coordinate that does not change within any bin is kept as it
        is. Names, flags and integers without units that change within a bin (``cycle``, the
        number of a trial) are left out.

    Raises
    ------
    ArgumentError
        For bins that are no whole number of samples from 1 on, for none at all, where a last
        bin is not full, for ``partial="keep"`` with sums, and for arguments of the other kind of
        data.
    TimeAxisError
        If a sample is missing in the times of an epoch.

    Examples
    --------
    >>> import calscipy as cs
    >>> movie = cs.from_numpy(np.arange(8, dtype="uint16").reshape(4, 1, 2), frame_rate=4)
    >>> pairs = bin(movie, frames=2)
    >>> pairs.values.tolist(), cs.frame_rate(pairs)
    ([[[1.0, 2.0]], [[5.0, 6.0]]], 2.0)
    >>> traces = cs.from_numpy(np.array([[1.0, 2.0, 3.0, 6.0]]), frame_rate=4)
    >>> bin(traces, duration=0.5, reduce="max").values.tolist()
    [[2.0, 6.0]]
    >>> bin(traces > 1.5, samples=2).values.tolist()
    [[1, 2]]
    """
    movie = model.FRAMES in data.dims or model.TIME not in data.dims
    _require_own_arguments(
        movie, {"frames": frames, "y": y, "x": x}, {"samples": samples, "duration": duration}
    )
    counted = data.dtype.kind == "b" and not movie
    how = reduce if reduce is not None else "sum" if counted else "mean"
    if movie:
        sizes = {model.FRAMES: frames, model.Y: y, model.X: x}
        result, dims = _bin_movie(data, sizes, how, partial)  # type: ignore[arg-type]
    else:
        result = bin_traces(data, samples=samples, duration=duration, reduce=how, partial=partial)
        dims = (model.TIME,)
    for name in data.indexes:
        if name in result.coords and name not in result.indexes and result[name].ndim == 1:
            result = result.set_xindex(name)
    word = reduce_name(how)
    result = described(
        result,
        units=data.attrs.get("units", "1"),
        long_name=f"{data.attrs.get('long_name', 'fluorescence')}, {word} of bins",
        reduce=word,
    )
    return with_cell_method(result, data, dims, word)


def _require_own_arguments(
    movie: bool, of_movies: dict[str, Any], of_traces: dict[str, Any]
) -> None:
    """Raise for arguments of the other kind of data."""
    foreign = of_traces if movie else of_movies
    wrong = [name for name, value in foreign.items() if value is not None]
    if wrong:
        takes = "movies take frames=, y= and x=" if movie else "traces take samples= or duration="
        raise ArgumentError(f"bin of this array cannot use {', '.join(wrong)}: {takes}")


def _bin_movie(
    data: xr.DataArray, sizes: dict[str, int | None], reduce: str, partial: str
) -> tuple[xr.DataArray, tuple[str, ...]]:
    """Return a movie of bins, without words, and the dimensions that were binned."""
    widths = _checked(data, sizes, reduce, partial)
    edges = bin_edges(data, widths, partial)
    ordered = data.transpose(model.FRAMES, ..., model.Y, model.X)
    everywhere = {dim: edges.get(dim) or _single(data.sizes[dim]) for dim in sizes}
    plan = Bins(
        *everywhere[model.FRAMES],
        width=(widths.get(model.Y, 1), widths.get(model.X, 1)),
        counts=(len(everywhere[model.Y].starts), len(everywhere[model.X].starts)),
        reduce=reduce,
        dtype=result_dtype(data, reduce),
    )
    valid = model.valid_frames(ordered)
    if valid is not None and reduce == "sum":
        valid = _only_whole(valid, everywhere[model.FRAMES])
    values = binned(ordered.data, plan, valid=valid)
    coords = bin_coords(data, edges, widths, reduce)
    result = xr.DataArray(values, coords, ordered.dims, name=data.name)
    return result.transpose(*data.dims), tuple(widths)


def _checked(
    data: xr.DataArray, sizes: dict[str, int | None], reduce: str, partial: str
) -> dict[str, int]:
    """Return the bins that were asked for, by dimension."""
    model.require_dims(data, tuple(sizes), "bin")
    require_bins(data, reduce, partial)
    given = {dim: size for dim, size in sizes.items() if size is not None}
    if not given:
        raise ArgumentError("bin needs the samples of a bin, for instance bin(frames=10)")
    widths = {dim: whole_number(size, dim) for dim, size in given.items()}
    if widths.get(model.FRAMES, 1) > 1:
        model.require_gapless(data, "bin")
    return widths


def _single(size: int) -> Edges:
    return Edges(np.arange(size), np.arange(1, size + 1))


def _only_whole(valid: np.ndarray, edges: Edges) -> np.ndarray:
    """Mark all frames of a bin as not valid where one of them is not."""
    whole = reduced(np.logical_and, valid, edges)
    marked = valid.copy()
    marked[inside(edges)] = np.repeat(whole, edges.stops - edges.starts, axis=0)
    return marked
