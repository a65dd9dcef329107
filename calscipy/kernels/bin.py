"""Bins of neighbouring samples, each reduced to one number.

Every bin is reduced by itself and in one order, so that the result does not depend on the part of
a movie that a call is given.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from calscipy.kernels import bin_loops

Array = Any

STRIP_BYTES = 2**14  # of each row of sums: they stay in the first cache
SORTED_BYTES = 2**14  # of the samples that are sorted at a time
LOOPS = {
    "mean": bin_loops.add,
    "sum": bin_loops.add,
    "max": bin_loops.extreme,
    "min": bin_loops.extreme,
    "median": bin_loops.median,
    "std": bin_loops.std,
}
MOST_SORTED = 80  # samples of a bin; above, selecting by NumPy is faster than sorting


def bin_frames(
    block: Array,
    starts: np.ndarray,
    stops: np.ndarray,
    *,
    width: tuple[int, int],
    reduce: str,
    out: Array,
    valid: np.ndarray | None = None,
) -> None:
    """Reduce bins of frames, rows and columns.

    Parameters
    ----------
    block : ndarray or cupy.ndarray, shape (frames, ..., y, x)
        Numbers or booleans.
    starts, stops : ndarray of int, shape (bins,)
        Frames ``[start, stop)`` of each bin.
    width : (int, int)
        Rows and columns of a bin. Those of the last ones end with the block.
    reduce : {"mean", "sum", "max", "min", "median", "std"}
        What to take of the samples of a bin; ``"std"`` divides by their number. A NaN gives NaN.
    out : ndarray, shape (bins, ..., rows of bins, columns of bins)
        Where the result goes; rows and columns of the block beyond it are not read.
    valid : ndarray of bool, shape (frames, ...), optional
        Frames that are False are left out; a bin of no other ones becomes 0.
    """
    frames, *batch, height, across = block.shape
    if valid is None:
        valid = np.ones((frames, *batch), bool)
    upto = np.concatenate([np.zeros((1, *batch), int), np.cumsum(valid, axis=0)])
    used = upto[stops] - upto[starts]
    samples = int((stops - starts).max(initial=0)) * math.prod(width)
    if not isinstance(block, np.ndarray) or (reduce == "median" and samples > MOST_SORTED):
        _by_array_functions(block, starts, stops, valid, used, width, reduce, out)
        return
    dtype = working_dtype(block.dtype)
    made = dtype if reduce in ("max", "min") else out.dtype
    target = out if out.dtype == made else np.empty(out.shape, made)
    target[used == 0] = 0
    apart = math.prod(batch)  # spelled out, because -1 fails where there is nothing
    LOOPS[reduce](
        np.ascontiguousarray(block, dtype).reshape(frames, apart, height, across),
        starts,
        stops,
        np.ascontiguousarray(valid).reshape(frames, apart),
        used.reshape(len(starts), apart),
        *width,
        *_room(dtype, reduce, width[1], samples),
        target.reshape(len(starts), apart, *out.shape[-2:]),
    )
    if target is not out:
        out[...] = target


def working_dtype(dtype: np.dtype) -> np.dtype:
    """Return one of the few native dtypes that loops are compiled for, which holds all values."""
    if dtype.kind == "f":
        return np.dtype("f8" if dtype.itemsize == 8 else "f4")
    if dtype.kind == "i":
        return np.dtype("i8" if dtype.itemsize == 8 else "i4")
    return np.dtype({4: "i8", 8: "u8"}.get(dtype.itemsize, "u2"))


def _room(dtype: np.dtype, reduce: str, across: int, samples: int) -> tuple[Any, ...]:
    """Return what a loop works in, and its last argument."""
    if reduce == "median":
        columns = max(64, SORTED_BYTES // (samples * dtype.itemsize))
        return np.empty((samples, columns), dtype), np.empty(columns, bool)
    if reduce == "std":
        return (np.empty((3, max(STRIP_BYTES // 16, across))),)
    kept = dtype if reduce in ("max", "min") else sum_dtype(dtype, reduce)
    room = np.empty(max(STRIP_BYTES // kept.itemsize, across), kept)
    return room, reduce in ("max", "mean")


def sum_dtype(dtype: np.dtype, reduce: str) -> np.dtype:
    """Return in what samples are added up: exact for integers of up to 32 bits."""
    if dtype.kind == "f" or (reduce == "mean" and dtype.itemsize == 8):
        return np.dtype("f8")
    return np.dtype("u8" if dtype == np.uint64 else "i8")


def _by_array_functions(
    block: Array,
    starts: np.ndarray,
    stops: np.ndarray,
    valid: np.ndarray,
    used: np.ndarray,
    width: tuple[int, int],
    reduce: str,
    out: Array,
) -> None:
    """Reduce bins with the functions that NumPy and CuPy share."""
    reduction = _reduction(block.dtype, reduce)
    rows = _tiles(block.shape[-2], width[0], out.shape[-2])
    columns = _tiles(block.shape[-1], width[1], out.shape[-1])
    for at, *batch in np.ndindex(*used.shape):
        start, stop = int(starts[at]), int(stops[at])
        count = int(used[(at, *batch)])
        if not count:
            out[(at, *batch)] = 0
            continue
        frames = block[(slice(start, stop), *batch)]
        if count < stop - start:
            frames = frames[np.flatnonzero(valid[(slice(start, stop), *batch)]).tolist()]
        for y, bins_y in rows:
            for x, bins_x in columns:
                down, across = bins_y.stop - bins_y.start, bins_x.stop - bins_x.start
                shape = (count, down, (y.stop - y.start) // down, across, -1)
                tile = np.reshape(frames[:, y, x], shape)
                out[(at, *batch, bins_y, bins_x)] = reduction(tile)


def _reduction(dtype: np.dtype, reduce: str) -> Callable[[Array], Array]:
    axes = (0, 2, 4)
    if reduce == "median":
        return lambda tile: np.median(tile.astype("f8", copy=False), axis=axes)
    if reduce in ("max", "min"):
        return lambda tile: getattr(np, reduce)(tile, axis=axes)
    working = sum_dtype(dtype, "sum") if reduce == "sum" else np.dtype("f8")
    return lambda tile: getattr(np, reduce)(tile, axis=axes, dtype=working)


def _tiles(size: int, width: int, bins: int) -> list[tuple[slice, slice]]:
    """Return the samples of all full bins, and those of one that is not full."""
    full = min(size // width, bins)
    found = [(slice(0, full * width), slice(0, full))] if full else []
    if bins > full:
        found.append((slice(full * width, size), slice(full, bins)))
    return found
