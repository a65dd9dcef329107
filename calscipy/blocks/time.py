"""Kernels along the whole time axis, on rows whose last axis is time."""

from __future__ import annotations

import functools
import itertools
import math
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import dask.array as da
import numpy as np
from dask.base import normalize_token
from dask.system import CPU_COUNT

from calscipy.blocks.device import on_host
from calscipy.blocks.memory import empty_block
from calscipy.blocks.results import into
from calscipy.blocks.threads import WORTH_THREADS, share_out
from calscipy.errors import ArgumentError, ChunkError, RowError
from calscipy.options import get_option

PIECE = 2**18  # samples that a kernel works on at a time: 1 MiB of float32 stays in the cache
RESULT_BYTES = 4  # of a sample of float32
MOST_TASKS = 200_000  # of putting frames together to tiles; building them takes seconds
TURNED = 64  # frames turned at a time: all at once is four times slower, out of the cache
FLAG = ""  # in place of a reason: rows that a kernel worked on, but flagged

Names = Callable[[tuple[np.ndarray, ...]], str]


def along_time(
    data: Any,
    kernel: Callable[..., Any],
    *,
    parts: list[slice],
    dtype: np.dtype,
    work: np.dtype | None = None,
    valid: Any = None,
    others: tuple[Any, ...] = (),
    others_valid: tuple[Any, ...] = (),
    verb: str = "",
    names: Names | None = None,
    flagged: Callable[[str], None] | None = None,
    **arguments: Any,
) -> Any:
    """Apply a kernel to rows of the whole time axis, each epoch by itself.

    Rows are handed to the kernel a few at a time, contiguous and as ``work``, in arrays by several
    threads. A task then holds its input, its output and some small arrays, however many copies
    the kernel makes. What the kernel makes of a row must not depend on the rows that come with it.

    Parameters
    ----------
    data : ndarray or dask.array.Array, shape (..., samples)
        Rows; a dask array must have one chunk along time (see ``whole_time``).
    kernel : callable
        ``kernel(rows, *others, **arguments)``, shape of its result as that of ``rows``. It may
        take ``out`` and write there (see `into`). It may raise `RowError`; all pieces are tried,
        and one error names all rows that were refused.
    parts : list of slice
        Epochs.
    dtype : dtype
        Of the result.
    work : dtype, optional
        Of the rows that the kernel gets, and of other rows that are integers; that of ``data`` by
        default.
    valid : ndarray of bool, broadcastable to data, optional
        Samples that are False reach the kernel as NaN.
    others : tuple of arrays of the same shape
        Further rows for the kernel.
    others_valid : tuple of (ndarray of bool or None), optional
        The same as ``valid`` for each of the others.
    verb : str, optional
        What messages begin with.
    names : callable, optional
        ``names(at)``: what the rows at some places (one array of indices for each leading
        dimension) are called in messages.
    flagged : callable, optional
        Called once for the array, or once in a dask task, with the names of the rows that the
        kernel flagged. The kernel then gets the argument ``flag``, a function of row numbers.
    """
    operands = [data, *others]
    masks = [valid, *others_valid, *[None] * (len(others) - len(others_valid))]
    rows = _Rows(
        kernel,
        tuple(parts),
        np.dtype(dtype),
        np.dtype(work or data.dtype),
        arguments,
        tuple(mask is not None for mask in masks),
        verb,
        names,
        flagged,
    )
    given = [mask for mask in masks if mask is not None]
    if not any(isinstance(operand, da.Array) for operand in operands):
        return rows(*operands, *given, threads=CPU_COUNT)
    chunks = next(o.chunks for o in operands if isinstance(o, da.Array))
    lazy = [o if isinstance(o, da.Array) else da.from_array(o, chunks=chunks) for o in operands]
    lazy = [o if o.chunks == chunks else o.rechunk(chunks) for o in lazy]
    lazy += [_lazy_mask(mask, data.shape, chunks) for mask in given]
    # Without a token dask takes the text of `rows`, an address in it: names would never come again.
    return da.map_blocks(
        rows,
        *lazy,
        dtype=dtype,
        meta=np.empty((0,) * data.ndim, dtype),
        token="calscipy-rows",
    )


def _lazy_mask(mask: np.ndarray, shape: tuple[int, ...], chunks: Any) -> da.Array:
    """Broadcast a mask without making it larger than it is."""
    mask = np.reshape(mask, (1,) * (len(shape) - mask.ndim) + mask.shape)
    small = tuple(c if n > 1 else 1 for c, n in zip(chunks, mask.shape, strict=True))
    return da.broadcast_to(da.from_array(mask, small), shape, chunks=chunks)


@dataclass(frozen=True)
class _Rows:
    """The work of one task along time."""

    kernel: Callable[..., Any]
    parts: tuple[slice, ...]
    dtype: np.dtype
    work: np.dtype
    arguments: Mapping[str, Any]
    masked: tuple[bool, ...]  # which of the data and the others have a mask
    verb: str
    names: Names | None
    flagged: Callable[[str], None] | None

    def __dask_tokenize__(self) -> Any:
        name = f"{self.kernel.__module__}.{self.kernel.__qualname__}"
        parts = [(part.start, part.stop) for part in self.parts]
        kinds = (str(self.dtype), str(self.work))
        words = (self.verb, self.names, self.flagged)
        # Normalised, as dask takes the text of what it gets here: functions have addresses in it.
        return normalize_token((name, parts, kinds, dict(self.arguments), self.masked, words))

    def __call__(self, *given: Any, threads: int = 1, block_info: Any = None) -> np.ndarray:
        operands = [on_host(rows) for rows in given[: len(self.masked)]]
        left = iter(given[len(self.masked) :])
        shape = operands[0].shape
        masks = [np.broadcast_to(next(left), shape) if has else None for has in self.masked]
        corner = [start for start, _ in block_info[0]["array-location"]] if block_info else None
        reports = _Reports(corner or [0] * len(shape))
        out = empty_block(shape, self.dtype)
        put = into(self.kernel)

        def work(boxes: Iterator[tuple[slice, ...]]) -> None:
            rooms: list[np.ndarray | None] = [None] * len(operands)
            for box in boxes:
                work_on(box, rooms)

        def work_on(box: tuple[slice, ...], rooms: list[np.ndarray | None]) -> None:
            rows = [
                self._ready(operand[box], None if mask is None else mask[box], rooms, at)
                for at, (operand, mask) in enumerate(zip(operands, masks, strict=True))
            ]
            arguments = dict(self.arguments)
            if self.flagged is not None:
                arguments["flag"] = functools.partial(reports.add, FLAG, box, rows[0].shape[:-1])
            for part in self.parts:
                try:
                    put(out[(*box, part)], *(some[..., part] for some in rows), **arguments)
                except RowError as error:
                    reports.add(error.reason, box, rows[0].shape[:-1], error.rows)

        most = PIECE // max(1, shape[-1])
        if operands[0].size < WORTH_THREADS:
            threads = 1
        else:
            most = min(most, -(-math.prod(shape[:-1]) // threads))
        steps = _steps(shape[:-1], max(1, most))
        share_out(work, _boxes(shape[:-1], steps), threads)
        reports.hand_over(self.verb, self.names, self.flagged)
        return out

    def _ready(
        self, rows: np.ndarray, valid: np.ndarray | None, rooms: list[np.ndarray | None], at: int
    ) -> np.ndarray:
        """Return rows as the kernel takes them, in a room that is used again if they are copied."""
        kind = self.work if at == 0 or rows.dtype.kind != "f" else rows.dtype
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


class _Reports:
    """Rows that a kernel refused or flagged, from all pieces of an array."""

    def __init__(self, corner: Sequence[int]) -> None:
        self._corner = corner  # of this block in the whole array
        self._rows: dict[str, list[tuple[np.ndarray, ...]]] = defaultdict(list)

    def add(
        self, reason: str, box: tuple[slice, ...], shape: tuple[int, ...], rows: Sequence[int]
    ) -> None:
        """Note the rows of one piece, which are numbered over all of its leading dimensions."""
        if reason == FLAG and not len(rows):
            return
        at = np.unravel_index(np.asarray(rows, int), shape) if shape else ()
        starts = [a.start + b for a, b in zip(box, self._corner, strict=False)]
        self._rows[reason].append(tuple(a + b for a, b in zip(at, starts, strict=True)))

    def hand_over(
        self, verb: str, names: Names | None, flagged: Callable[[str], None] | None
    ) -> None:
        """Call ``flagged`` with the names of flagged rows, and raise if rows were refused."""

        def named(reason: str) -> str:
            places = [np.concatenate(at) for at in zip(*self._rows[reason], strict=True)]
            at = tuple(np.unique(places, axis=1)) if places else ()
            return names(at) if names else "some rows"

        refused = [reason for reason in self._rows if reason != FLAG]
        if refused:
            text = " ".join(f"{named(reason)} {reason}" for reason in refused)
            raise ArgumentError(f"{verb}: {text}" if verb else text)
        if flagged is not None and FLAG in self._rows:
            flagged(named(FLAG))


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
