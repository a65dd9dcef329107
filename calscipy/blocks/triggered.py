"""Event-triggered averages of movies, in one pass over the blocks that they need."""

from __future__ import annotations

import itertools
import math
import operator
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any

import dask.array as da
import numpy as np
from dask._task_spec import Task, TaskRef
from dask.base import tokenize
from dask.highlevelgraph import HighLevelGraph
from dask.system import CPU_COUNT

from calscipy.blocks.filters import SMALL_BYTES
from calscipy.blocks.graphs import require_layers
from calscipy.kernels.triggered import LagSums, combine, finish
from calscipy.options import get_option

# Sums put together at a time. Each may be as large as the result: of pairs, those that wait for
# others are as few as can be, and grow with the logarithm of the number of blocks alone.
SPLIT = 2
SUM_BYTES = 8


@dataclass(frozen=True)
class Hits:
    """Which frame is at which lag after a trigger.

    Parameters
    ----------
    at, lag : ndarray of int, shape (hits,)
        Frames, ascending, and the lag of each, from 0 to ``lags - 1``.
    lags : int
        Length of a window.
    """

    at: np.ndarray
    lag: np.ndarray
    lags: int

    def counts(self, valid: np.ndarray | None, batch: tuple[int, ...]) -> np.ndarray:
        """Return how many images there are at each lag, shape ``(lags, *batch)``."""
        count = np.zeros((self.lags, *batch), np.int64)
        np.add.at(count, self.lag, 1 if valid is None else valid[self.at])
        return count


def triggered(
    data: Any, hits: Hits, *, valid: np.ndarray | None, reduce: str, dtype: np.dtype
) -> tuple[Any, Any]:
    """Average, or sum, the frames of a movie at each lag.

    Blocks without a hit are not read, every other one once, however many triggers there are. A
    task holds the sums of the lags that occur in its blocks, and no more bytes of blocks than
    these sums or ``chunk_bytes`` take.

    Parameters
    ----------
    data : ndarray or dask.array.Array, shape (frames, ..., y, x)
        Lazy in, lazy out.
    hits : Hits
        Frames and lags.
    valid : ndarray of bool, shape (frames, ...), optional
        Images that are False are left out.
    reduce : {"mean", "sum"}
        What to take.
    dtype : dtype
        Of the result.

    Returns
    -------
    values : array, shape (lags, ..., y, x)
        The result.
    known : array of int64
        How many values are in it, of the same shape; of integers, known at once and without y
        and x.
    """
    count = hits.counts(valid, data.shape[1:-2])
    end = _Finish(count, data.shape[1:], reduce, np.dtype(dtype))
    work: Any = _eager
    if isinstance(data, da.Array):
        require_layers(data)
        work = _lazy
    values, known = work(data, hits, valid, end)
    return values, (known if data.dtype.kind == "f" else count)


def _eager(
    data: np.ndarray, hits: Hits, valid: np.ndarray | None, end: _Finish
) -> tuple[np.ndarray, np.ndarray]:
    """Work on an array in memory, with one band of rows for each thread."""
    threads = CPU_COUNT if data.nbytes >= SMALL_BYTES else 1
    bands = max(1, min(threads, data.shape[-2]))
    edges = np.linspace(0, data.shape[-2], bands + 1).astype(int).tolist()
    part = _Part((hits.at,), (hits.lag,), (valid,))

    def work(rows: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
        band = data[..., slice(*rows), :]
        return replace(end, shape=band.shape[1:])(part(band))

    with ThreadPoolExecutor(threads) as pool:
        made = list(pool.map(work, itertools.pairwise(edges)))
    if len(made) == 1:
        return made[0]
    values, known = (np.concatenate(parts, axis=-2) for parts in zip(*made, strict=True))
    return values, known


def _lazy(
    data: da.Array, hits: Hits, valid: np.ndarray | None, end: _Finish
) -> tuple[da.Array, da.Array]:
    name = "calscipy-triggered-" + tokenize(
        data.name, hits.at, hits.lag, end, valid, get_option("chunk_bytes")
    )
    graph: dict[Any, Any] = {}
    places = list(itertools.product(*(range(n) for n in data.numblocks[1:])))
    for place in places:
        _build(graph, name, place, data, hits, valid, end)
    layers = {**data.dask.layers, name: graph}
    needs = {**data.dask.dependencies, name: set(data.__dask_layers__())}
    made = []
    for index, (word, dtype) in enumerate((("values", end.dtype), ("count", np.dtype("i8")))):
        own = name.replace("triggered", f"triggered-{word}")
        taken: dict[Any, Any] = {}
        for place in places:
            to = (own, 0, *place)
            taken[to] = Task(to, operator.getitem, TaskRef((name, 0, *place)), index)
        whole = HighLevelGraph({**layers, own: taken}, {**needs, own: {name}})
        meta = np.empty((0,) * data.ndim, dtype)
        made.append(da.Array(whole, own, ((hits.lags,), *data.chunks[1:]), meta=meta))
    return made[0], made[1]


def _build(
    graph: dict[Any, Any],
    name: str,
    place: tuple[int, ...],
    data: da.Array,
    hits: Hits,
    valid: np.ndarray | None,
    end: _Finish,
) -> None:
    """Add the tasks of one block of the result: its sums, what puts them together, the end."""
    edges = [np.concatenate([[0], np.cumsum(sizes)]).tolist() for sizes in data.chunks]
    around = [slice(e[p], e[p + 1]) for e, p in zip(edges[1:], place, strict=True)]
    shape = tuple(part.stop - part.start for part in around)
    batch = around[:-2]
    borders = np.searchsorted(hits.at, edges[0]).tolist()
    keys: list[Any] = []
    key: Any
    for some in _groups(data, hits, borders, math.prod(shape)):
        at, lag, use = [], [], []
        for block in some:
            here, frames = slice(*borders[block : block + 2]), slice(*edges[0][block : block + 2])
            at.append(hits.at[here] - frames.start)
            lag.append(hits.lag[here])
            use.append(None if valid is None else valid[(frames, *batch)])
        key = (f"{name}-part", some[0], *place)
        refs = [TaskRef((data.name, block, *place)) for block in some]
        graph[key] = Task(key, _Part(tuple(at), tuple(lag), tuple(use)), *refs)
        keys.append(key)
    for level in itertools.count():
        if len(keys) <= SPLIT:
            break
        pairs = [keys[start : start + SPLIT] for start in range(0, len(keys), SPLIT)]
        keys = [(f"{name}-merge", level, at, *place) for at in range(len(pairs))]
        for key, pair in zip(keys, pairs, strict=True):
            graph[key] = Task(key, combine, *map(TaskRef, pair))
    key = (name, 0, *place)
    task = replace(end, count=end.count[(slice(None), *batch)], shape=shape)
    graph[key] = Task(key, task, *map(TaskRef, keys))


def _groups(data: da.Array, hits: Hits, borders: list[int], pixels: int) -> Iterator[list[int]]:
    """Put blocks with hits together, so that fewer large sums have to be added up."""
    limit = max(get_option("chunk_bytes"), SUM_BYTES * hits.lags * pixels)
    group: list[int] = []
    filled = 0
    for block, frames in enumerate(data.chunks[0]):
        if borders[block] == borders[block + 1]:
            continue
        size = frames * pixels * data.dtype.itemsize
        if group and filled + size > limit:
            yield group
            group, filled = [], 0
        group.append(block)
        filled += size
    if group:
        yield group


@dataclass(frozen=True)
class _Part:
    """The work of one task: the sums of some blocks of frames."""

    at: tuple[np.ndarray, ...]  # of each block
    lag: tuple[np.ndarray, ...]
    valid: tuple[np.ndarray | None, ...]

    def __call__(self, *blocks: np.ndarray) -> LagSums:
        lags = np.concatenate(self.lag)
        sums = LagSums.empty(lags, blocks[0].shape[1:], blocks[0].dtype)
        for block, at, lag, valid in zip(blocks, self.at, self.lag, self.valid, strict=True):
            sums.add(block, at, lag, valid)
        return sums


@dataclass(frozen=True)
class _Finish:
    """The last task: put sums together and divide them."""

    count: np.ndarray
    shape: tuple[int, ...]  # of a block of the result, without lags
    reduce: str
    dtype: np.dtype

    def __call__(self, *parts: LagSums) -> tuple[np.ndarray, np.ndarray]:
        sums = combine(*parts) if parts else None
        return finish(sums, self.count, (len(self.count), *self.shape), self.reduce, self.dtype)
