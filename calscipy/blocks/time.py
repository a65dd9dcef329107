"""Kernels along the whole time axis, on rows whose last axis is time."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any

import dask.array as da
import numpy as np
from dask.system import CPU_COUNT

from calscipy.blocks.device import on_host
from calscipy.errors import ChunkError
from calscipy.options import get_option

PIECE = 2**19  # samples that a kernel works on at a time: 2 MiB of float32 stay in the cache
RESULT_BYTES = 4  # of a sample of float32
MOST_TASKS = 200_000  # of putting frames together to tiles; building them takes seconds
TURNED = 64  # frames turned at a time: all at once is four times slower, out of the cache


def along_time(
    data: Any,
    kernel: Callable[..., Any],
    *,
    parts: list[slice],
    dtype: np.dtype,
    work: np.dtype | None = None,
    valid: Any = None,
    others: tuple[Any, ...] = (),
    labels: np.ndarray | None = None,
    **arguments: Any,
) -> Any:
    """Apply a kernel to rows of the whole time axis, each epoch by itself.

    Rows without labels (pixels) are handed to the kernel a few at a time, contiguous and as
    ``work``. A task then holds its input, its output and some small arrays, however many copies
    the kernel makes. What the kernel makes of a row must not depend on the rows that come with it.

    Parameters
    ----------
    data : ndarray or dask.array.Array, shape (..., samples)
        Rows; a dask array must have one chunk along time (see ``whole_time``).
    kernel : callable
        ``kernel(rows, *others, **arguments)``, shape of its result as that of ``rows``.
    parts : list of slice
        Epochs.
    dtype : dtype
        Of the result.
    work : dtype, optional
        Of the rows that the kernel gets; that of ``data`` by default.
    valid : ndarray of bool, broadcastable to data, optional
        Samples that are False reach the kernel as NaN.
    others : tuple of arrays of the same shape
        Further rows for the kernel.
    labels : ndarray, shape of the first dimension, optional
        Names of the rows, handed to the kernel as ``labels``.
    """
    rows = _Rows(kernel, tuple(parts), np.dtype(dtype), work or data.dtype, arguments, labels)
    operands = [data, *others]
    if not any(isinstance(operand, da.Array) for operand in operands):
        return rows(*operands, valid=valid, threads=CPU_COUNT)
    chunks = next(o.chunks for o in operands if isinstance(o, da.Array))
    lazy = [o if isinstance(o, da.Array) else da.from_array(o, chunks=chunks) for o in operands]
    lazy = [o if o.chunks == chunks else o.rechunk(chunks) for o in lazy]
    if valid is not None:
        valid = np.reshape(valid, (1,) * (data.ndim - valid.ndim) + valid.shape)
        small = tuple(c if n > 1 else 1 for c, n in zip(chunks, valid.shape, strict=True))
        lazy.append(da.broadcast_to(da.from_array(valid, small), data.shape, chunks=chunks))
        rows = replace(rows, masked=True)
    return da.map_blocks(
        rows, *lazy, dtype=dtype, meta=np.empty((0,) * data.ndim, dtype), name=None
    )


@dataclass(frozen=True)
class _Rows:
    """The work of one task along time."""

    kernel: Callable[..., Any]
    parts: tuple[slice, ...]
    dtype: np.dtype
    work: np.dtype
    arguments: Mapping[str, Any]
    labels: np.ndarray | None = None
    masked: bool = False

    def __dask_tokenize__(self) -> tuple[Any, ...]:
        name = f"{self.kernel.__module__}.{self.kernel.__qualname__}"
        parts = [(part.start, part.stop) for part in self.parts]
        kinds = (str(self.dtype), str(self.work))
        return name, parts, kinds, dict(self.arguments), self.labels, self.masked

    def __call__(
        self, *rows: Any, valid: Any = None, threads: int = 1, block_info: Any = None
    ) -> np.ndarray:
        if self.masked:
            *rows, valid = rows  # type: ignore[assignment]
        data, *others = (on_host(r) for r in rows)
        if valid is not None:
            valid = np.broadcast_to(valid, data.shape)
        arguments = dict(self.arguments)
        if self.labels is not None:
            names = self.labels
            if block_info:
                names = names[slice(*block_info[0]["array-location"][0])]
            arguments["labels"] = names
        out = np.empty(data.shape, self.dtype)
        most = max(1, PIECE // max(1, data.shape[-1]))
        if self.labels is not None:  # a kernel that names some rows does so once
            most = data.size
        steps = _steps(data.shape[:-1], most)
        boxes = list(_boxes(data.shape[:-1], steps))

        def work(some: Sequence[tuple[slice, ...]]) -> None:
            rooms: list[np.ndarray | None] = [None] * (1 + len(others))
            for box in some:
                given = [self._ready(data[box], None if valid is None else valid[box], rooms, 0)]
                for at, other in enumerate(others, 1):
                    given.append(self._ready(other[box], None, rooms, at))
                for part in self.parts:
                    result = self.kernel(*(rows[..., part] for rows in given), **arguments)
                    out[(*box, part)] = result

        share = -(-len(boxes) // threads)
        if threads == 1 or share < 2:
            work(boxes)
        else:
            shares = [boxes[at : at + share] for at in range(0, len(boxes), share)]
            with ThreadPoolExecutor(threads) as pool:
                list(pool.map(work, shares))
        return out

    def _ready(
        self, rows: np.ndarray, valid: np.ndarray | None, rooms: list[np.ndarray | None], at: int
    ) -> np.ndarray:
        """Return rows as the kernel takes them, in a room that is used again if they are copied."""
        kind = self.work if at == 0 else rows.dtype
        if valid is not None and kind.kind != "f":
            kind = np.dtype("f4")
        if valid is None and rows.dtype == kind and rows.flags.c_contiguous:
            return rows
        room = rooms[at]
        if room is None or room.size < rows.size:
            room = rooms[at] = np.empty(rows.size, kind)
        ready = room[: rows.size].reshape(rows.shape)
        for start in range(0, rows.shape[-1], TURNED):
            some = (..., slice(start, start + TURNED))
            ready[some] = rows[some]
        if valid is not None:
            np.copyto(ready, np.nan, where=~valid)
        return ready


def _steps(shape: Sequence[int], most: int) -> tuple[int, ...]:
    """Return the edges of a box of at most ``most`` elements, long along the last axes."""
    steps: list[int] = []
    for size in reversed(shape):
        step = max(1, min(size, most))
        most = most // step if step == size else 1
        steps.append(step)
    return tuple(reversed(steps))


def _boxes(shape: Sequence[int], steps: Sequence[int]) -> Iterator[tuple[slice, ...]]:
    """Cut an array into boxes."""
    starts = (range(0, size, step) for size, step in zip(shape, steps, strict=True))
    for corner in itertools.product(*starts):
        yield tuple(slice(a, a + step) for a, step in zip(corner, steps, strict=True))


def whole_time(data: Any, axis: int, *, movie: bool, verb: str) -> Any:
    """Bring the whole time axis into one chunk where that fits into memory.

    Traces are small and always rechunked. A movie in chunks of frames is rechunked if it fits into
    ``memory_limit``: it is held as a whole once, until the last chunk is done, and a few chunks of
    the result for each thread come on top.

    Of a movie, chunks are cut along y and x until a float32 result of theirs is no larger than
    ``chunk_bytes``. Bands of rows are high so that files are read well; their results would be
    twice as large, and several of them wait for whatever comes next.

    Raises
    ------
    ChunkError
        For a movie in chunks of frames that is larger than the limit.
    """
    if not isinstance(data, da.Array):
        return data
    whole = data.numblocks[axis] == 1
    if not movie:
        return data if whole else data.rechunk({axis: -1})
    limit = get_option("memory_limit")
    remedy = (
        "Open it with ImagingSession.open(path, chunks='time'), or save it to zarr first "
        "(movie.cs.to_zarr(path)) and open that with chunks='time'."
    )
    if not whole and data.nbytes > limit:
        raise ChunkError(
            f"{verb} needs the whole time axis of every pixel, but the movie of {data.nbytes} "
            f"bytes is in {data.numblocks[axis]} chunks of frames and does not fit into "
            f"memory_limit={limit}. {remedy}"
        )
    pixels = [at for at in range(data.ndim) if at != axis]
    largest = [max(data.chunks[at], default=0) for at in pixels]
    most = max(1, get_option("chunk_bytes") // (RESULT_BYTES * max(1, data.shape[axis])))
    if whole and math.prod(largest) <= most:
        return data
    steps = _tile(largest, most)
    chunks: dict[int, Any] = {axis: -1}
    for at, step in zip(pixels, steps, strict=True):
        chunks[at] = tuple(part for size in data.chunks[at] for part in _evenly(size, step))
    tasks = data.npartitions * math.prod(len(chunks[at]) for at in pixels)
    if not whole and tasks > MOST_TASKS:
        raise ChunkError(
            f"{verb} needs the whole time axis of every pixel, which takes {tasks} pieces of the "
            f"{data.npartitions} chunks of this movie. {remedy}"
        )
    # In one step: dask's intermediate ones save tasks, but would hold the movie a second time.
    return data.rechunk(chunks, threshold=data.npartitions * math.prod(data.shape))


def _tile(shape: Sequence[int], most: int) -> list[int]:
    """Return the edges of a tile of at most ``most`` elements, about square in the last two."""
    *leading, height, width = shape
    if math.prod(shape) <= most:
        return list(shape)
    rows = min(height, max(1, math.isqrt(most)))
    columns = min(width, max(1, most // max(1, rows)))
    rows = min(height, max(1, most // max(1, columns)))
    return [*(1 for _ in leading), rows, columns]


def _evenly(size: int, most: int) -> list[int]:
    """Cut a length into equal parts, give or take one."""
    count = max(1, -(-size // max(1, most)))
    edges = [size * at // count for at in range(count + 1)]
    return [b - a for a, b in itertools.pairwise(edges)]
