"""Four images of a movie in one pass over its blocks."""

from __future__ import annotations

import bisect
import itertools
import math
import operator
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import dask.array as da
import numpy as np
from dask._task_spec import Task, TaskRef
from dask.base import tokenize
from dask.highlevelgraph import HighLevelGraph
from dask.system import CPU_COUNT

from calscipy.blocks.device import namespace, on_host
from calscipy.blocks.filters import SMALL_BYTES
from calscipy.blocks.graphs import require_layers
from calscipy.blocks.reach import Reach, reaches_of
from calscipy.kernels.summary import Images, Sums, combine, images, is_exact
from calscipy.options import get_option

PIECE_BYTES = 2**25  # frames worked on at a time, which bounds what is copied


def summary_images(data: Any, valid: np.ndarray | None = None) -> Images:
    """Mean, maximum, standard deviation and local correlation of a movie over its frames.

    Every block is read once, for all four images. A task takes as many blocks of frames as fit
    into ``chunk_bytes``, at least one; where y or x are in several chunks, also the pixels next
    to its own from the neighbouring blocks.

    Parameters
    ----------
    data : ndarray, cupy.ndarray or dask.array.Array, shape (frames, ..., y, x)
        The movie. Lazy in, lazy out; an array on a GPU stays there.
    valid : ndarray of bool, shape (frames, ...), optional
        Frames to use, at least one at each place of the dimensions between frames and y.

    Returns
    -------
    Images
        Of shape ``(..., y, x)``; the maximum has the dtype of the movie, the others are float64.
    """
    if valid is None:
        valid = np.ones(data.shape[:-2], bool)
    if isinstance(data, da.Array):
        return _lazy(data, valid)
    return _eager(np.asarray(data) if isinstance(data, np.ndarray) else data, valid)


def _eager(data: Any, valid: np.ndarray) -> Images:
    """Summarise an array in memory, on the CPU with one band of rows for each thread."""
    height, width = data.shape[-2:]
    chosen = valid.reshape(len(valid), -1)
    pivot = None
    if not is_exact(data.dtype):
        pivot = _pivot(data[int(first)] for first in chosen.argmax(axis=0))
    sums = Sums.empty(data, (height, width), chosen.sum(axis=0), pivot)
    pieces = list(_pieces(len(data), data[:1].nbytes))

    def work(rows: tuple[int, int]) -> None:
        for piece in pieces:
            sums.add(data[piece], chosen[piece], rows)

    if not isinstance(data, np.ndarray) or data.nbytes < SMALL_BYTES:
        work((0, height))
    else:
        edges = np.linspace(0, height, min(CPU_COUNT, height) + 1).astype(int).tolist()
        with ThreadPoolExecutor(CPU_COUNT) as pool:
            list(pool.map(work, itertools.pairwise(edges)))
    shape = (*data.shape[1:-2], height, width)
    return Images(*_Finish(shape, (slice(None), slice(None)), data.dtype)(sums))


def _lazy(data: da.Array, valid: np.ndarray) -> Images:
    require_layers(data)
    name = "calscipy-summary-" + tokenize(data.name, valid, get_option("chunk_bytes"))
    graph: dict[Any, Any] = {}
    reaches = [reaches_of(sizes, 0, 0) for sizes in data.chunks[1:-2]]
    reaches += [reaches_of(sizes, 1, 1) for sizes in data.chunks[-2:]]
    for place in itertools.product(*(range(n) for n in data.numblocks[1:])):
        around = [reach[at] for reach, at in zip(reaches, place, strict=True)]
        _build(graph, name, place, data, around, valid)
    layers = {**data.dask.layers, name: graph}
    needs = {**data.dask.dependencies, name: set(data.__dask_layers__())}
    made = []
    for index, field in enumerate(Images._fields):
        own = name.replace("summary", f"summary-{field}")
        taken: dict[Any, Any] = {}
        for key in graph:
            if key[0] == name:
                to = (own, *key[1:])
                taken[to] = Task(to, operator.getitem, TaskRef(key), index)
        whole = HighLevelGraph({**layers, own: taken}, {**needs, own: {name}})
        dtype = data.dtype if field == "max" else np.dtype(np.float64)
        meta = np.empty_like(data._meta, dtype, shape=(0,) * (data.ndim - 1))
        made.append(da.Array(whole, own, data.chunks[1:], meta=meta))
    return Images(*made)


def _build(
    graph: dict[Any, Any],
    name: str,
    place: tuple[int, ...],
    data: da.Array,
    around: list[Reach],
    valid: np.ndarray,
) -> None:
    """Add the tasks of one block of the images: its sums, what puts them together, the end."""
    *batch, rows, columns = around
    chosen = valid[(slice(None), *(slice(r.start, r.start + r.core) for r in batch))]
    chosen = chosen.reshape(len(valid), math.prod(chosen.shape[1:]))
    view = _View(tuple(r.stop - r.start for r in (rows, columns)), _taken(rows), _taken(columns))
    pairs = itertools.product(range(rows.first, rows.last), range(columns.first, columns.last))
    beside = [(*place[:-2], *pair) for pair in pairs]

    def refs(block: int) -> list[Any]:
        return [TaskRef((data.name, block, *at)) for at in beside]

    edges = np.concatenate([[0], np.cumsum(data.chunks[0])]).tolist()
    key: Any
    pivot: list[Any] = []
    if chosen.size and not is_exact(data.dtype):
        firsts = chosen.argmax(axis=0).tolist()
        holders = [bisect.bisect_right(edges, first) - 1 for first in firsts]
        needed = sorted(set(holders))
        frames = [(needed.index(h), f - edges[h]) for h, f in zip(holders, firsts, strict=True)]
        key = (f"{name}-pivot", *place)
        inputs = itertools.chain.from_iterable(map(refs, needed))
        graph[key] = Task(key, _Pivot(view, tuple(frames)), *inputs)
        pivot = [TaskRef(key)]
    before: list[Any] = []
    image_bytes = chosen.shape[1] * math.prod(view.shape) * data.dtype.itemsize
    # One after the other, so that dask takes the blocks in their order. With a tree it begins its
    # branches here and there, and holds the source blocks that the filters at their ends share.
    for number, some in enumerate(_groups(data.chunks[0], image_bytes)):
        task = _Part(view, chosen[edges[some[0]] : edges[some[-1] + 1]], bool(pivot))
        key = (f"{name}-part", number, *place)
        inputs = itertools.chain.from_iterable(map(refs, some))
        graph[key] = Task(key, task, *pivot, *inputs)
        if before:
            part, key = key, (f"{name}-merge", number, *place)
            graph[key] = Task(key, combine, *before, TaskRef(part))
        before = [TaskRef(key)]
    core = tuple(slice(r.before, r.before + r.core) for r in (rows, columns))
    out = tuple(r.core for r in around)
    key = (name, *place)
    graph[key] = Task(key, _Finish(out, core, data.dtype), *before)


def _taken(reach: Reach) -> tuple[slice, ...]:
    """Tell what every block of a reach gives to it."""
    size = reach.stop - reach.start
    return tuple(slice(max(0, -offset), size - offset) for offset in reach.offsets)


def _groups(sizes: tuple[int, ...], image_bytes: int) -> Iterator[list[int]]:
    """Put adjacent blocks of frames together until they fill ``chunk_bytes``."""
    limit, filled = get_option("chunk_bytes"), 0
    group: list[int] = []
    for block, frames in enumerate(sizes):
        if group and filled + frames * image_bytes > limit:
            yield group
            group, filled = [], 0
        group.append(block)
        filled += frames * image_bytes
    yield group


def _pieces(frames: int, frame_bytes: int) -> Iterator[slice]:
    step = max(1, PIECE_BYTES // max(1, frame_bytes))
    return (slice(start, start + step) for start in range(0, frames, step))


def _pivot(frames: Iterable[Any]) -> Any:
    """Put the pivots together, given the frame that holds the one of each member of the batch."""
    images = []
    for at, frame in enumerate(frames):
        place = np.unravel_index(at, frame.shape[:-2])
        images.append(frame[tuple(int(i) for i in place)].astype(np.float64))
    return np.stack(images)


@dataclass(frozen=True)
class _View:
    """A block of the image with the pixels around it, out of the blocks side by side."""

    shape: tuple[int, ...]
    rows: tuple[slice, ...]  # that each of the blocks gives
    columns: tuple[slice, ...]

    @property
    def beside(self) -> int:
        return len(self.rows) * len(self.columns)

    def __call__(self, blocks: Sequence[Any], frames: slice) -> Any:
        left = iter(blocks)
        rows = [[next(left)[frames, ..., r, c] for c in self.columns] for r in self.rows]
        return _joined([_joined(row, -1) for row in rows], -2)


@dataclass(frozen=True)
class _Pivot:
    """The work of one task: the first frame of each member of the batch."""

    view: _View
    frames: tuple[tuple[int, int], ...]  # which of the blocks, and which frame of it

    def __call__(self, *blocks: Any) -> Any:
        some = list(_batched(blocks, self.view.beside))
        return _pivot(self.view(some[at], slice(k, k + 1))[0] for at, k in self.frames)


@dataclass(frozen=True)
class _Part:
    """The work of one task: sums over some blocks of frames."""

    view: _View
    valid: np.ndarray  # (frames, batch)
    pivoted: bool  # the first argument is the pivot

    def __call__(self, *blocks: Any) -> Sums:
        pivot, blocks = (blocks[0], blocks[1:]) if self.pivoted else (None, blocks)
        sums = Sums.empty(blocks[0], self.view.shape, self.valid.sum(axis=0), pivot)
        start = 0
        for together in _batched(blocks, self.view.beside):
            frames = len(together[0])
            valid = self.valid[start : start + frames]
            for piece in _pieces(frames, sum(block[:1].nbytes for block in together)):
                sums.add(self.view(together, piece), valid[piece])
            start += frames
        return sums


def _batched(blocks: Sequence[Any], size: int) -> Iterator[Sequence[Any]]:
    return (blocks[start : start + size] for start in range(0, len(blocks), size))


def _joined(parts: list[Any], axis: int) -> Any:
    return parts[0] if len(parts) == 1 else np.concatenate(parts, axis=axis)


@dataclass(frozen=True)
class _Finish:
    """The last task: put sums together and make the images of them."""

    shape: tuple[int, ...]
    core: tuple[slice, ...]
    dtype: np.dtype  # of the maximum

    def __call__(self, *parts: Sums) -> tuple[Any, ...]:
        whole = combine(*parts)
        xp = namespace(whole.peak)
        total, products, peak = map(on_host, (whole.total, whole.products, whole.peak))
        pivot = None if whole.pivot is None else on_host(whole.pivot)
        made = images(Sums(whole.count, total, products, peak, pivot))
        made = made._replace(max=made.max.astype(self.dtype, copy=False))
        return tuple(
            xp.asarray(image[(slice(None), *self.core)].reshape(self.shape)) for image in made
        )
