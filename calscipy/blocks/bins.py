"""Bins of neighbouring samples: in threads on arrays in memory, in one task per chunk on lazy ones.

Arrays come in the order ``(frames, ..., y, x)``.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import dask.array as da
import numpy as np
from dask._task_spec import Task, TaskRef
from dask.base import tokenize
from dask.highlevelgraph import HighLevelGraph
from dask.system import CPU_COUNT

from calscipy.blocks.device import is_cupy, namespace
from calscipy.blocks.graphs import require_layers
from calscipy.kernels.bin import bin_frames

PIECE_BYTES = 2**24  # of an array in memory worked on at a time
Chunks = tuple[tuple[int, ...], ...]


@dataclass(frozen=True)
class Bins:
    """Which samples make a bin, and what is taken of them.

    Parameters
    ----------
    starts, stops : ndarray of int, shape (bins,)
        Frames ``[start, stop)`` of each bin, in order and without overlap.
    width : (int, int)
        Rows and columns of a bin.
    counts : (int, int)
        Number of bins along y and x; the last ones may not be full.
    reduce : str
        See :func:`calscipy.kernels.bin.bin_frames`.
    dtype : dtype
        Of the result.
    """

    starts: np.ndarray
    stops: np.ndarray
    width: tuple[int, int]
    counts: tuple[int, int]
    reduce: str
    dtype: np.dtype

    def part(self, first: int, last: int, shift: int, counts: tuple[int, int]) -> Bins:
        """Return bins ``[first, last)``, counting frames from ``shift`` on."""
        starts, stops = (edges[first:last] - shift for edges in (self.starts, self.stops))
        return Bins(starts, stops, self.width, counts, self.reduce, self.dtype)


def binned(data: Any, bins: Bins, *, valid: np.ndarray | None = None) -> Any:
    """Reduce every bin of a movie ``(frames, ..., y, x)`` to one sample.

    Parameters
    ----------
    data : ndarray, cupy.ndarray or dask.array.Array
        The movie. Lazy in, lazy out: one task for each chunk in which a bin starts. An array on a
        GPU stays there.
    bins : Bins
        The bins.
    valid : ndarray of bool, shape of the dimensions before y and x, optional
        Frames that are False are left out; a bin of no other ones becomes 0.
    """
    if isinstance(data, da.Array):
        require_layers(data)
        return _lazy(_fitted(data, bins), bins, valid)
    out = namespace(data).empty((len(bins.starts), *data.shape[1:-2], *bins.counts), bins.dtype)
    if is_cupy(data):
        _Block(bins, (0,), valid).fill(out, (data,))
        return out
    frame_bytes = data.nbytes // max(1, data.shape[0])
    most = max(1, PIECE_BYTES // max(1, frame_bytes))

    def work(limits: tuple[int, int]) -> None:
        first, last = limits
        _Block(bins.part(first, last, 0, bins.counts), (0,), valid).fill(out[first:last], (data,))

    pieces = list(_pieces(bins, most))
    if len(pieces) == 1:
        work(pieces[0])
        return out
    with ThreadPoolExecutor(CPU_COUNT) as pool:
        list(pool.map(work, pieces))
    return out


def _pieces(bins: Bins, frames: int) -> Iterator[tuple[int, int]]:
    """Yield bins ``[first, last)`` that together reach over about so many frames."""
    first = 0
    while first < len(bins.starts):
        end = bins.starts[first] + frames
        last = max(first + 1, int(np.searchsorted(bins.stops, end, side="right")))
        yield first, last
        first = last


def _fitted(data: da.Array, bins: Bins) -> da.Array:
    """Leave out rows and columns that no bin takes, and let chunks of y and x end with a bin."""
    for axis, width, count in zip((-2, -1), bins.width, bins.counts, strict=True):
        if count * width < data.shape[axis]:
            cut = [slice(None)] * data.ndim
            cut[axis] = slice(0, count * width)
            data = data[tuple(cut)]
        sizes = np.array(data.chunks[axis])
        if (sizes[:-1] % width).any():
            edges = np.round(np.cumsum(sizes)[:-1] / width).astype(int) * width
            edges = np.unique(np.concatenate([[0], edges, [data.shape[axis]]]))
            edges = edges[edges <= data.shape[axis]]
            data = data.rechunk({data.ndim + axis: tuple(np.diff(edges).tolist())})
    return data


def _lazy(data: da.Array, bins: Bins, valid: np.ndarray | None) -> da.Array:
    """Build one task for each chunk of frames in which a bin starts; it reads on to its end."""
    edges = [np.concatenate([[0], np.cumsum(sizes)]) for sizes in data.chunks]
    owner = np.searchsorted(edges[0], bins.starts, side="right") - 1
    changes = np.flatnonzero(np.diff(owner)) + 1
    groups = list(itertools.pairwise([0, *changes.tolist(), len(owner)]))
    down, across = (
        tuple(-(-size // width) for size in sizes)
        for sizes, width in zip(data.chunks[-2:], bins.width, strict=True)
    )
    chunks = (tuple(b - a for a, b in groups), *data.chunks[1:-2], down, across)
    name = "calscipy-bin-" + tokenize(
        data.name, bins.starts, bins.stops, bins.width, bins.reduce, str(bins.dtype), valid
    )
    graph: dict[Any, Any] = {}
    for at, (first, last) in enumerate(groups):
        begin = int(owner[first])
        end = int(np.searchsorted(edges[0], bins.stops[last - 1], side="left"))
        start, stop = int(edges[0][begin]), int(edges[0][end])
        offsets = tuple((edges[0][begin:end] - start).tolist())
        for place in itertools.product(*(range(len(sizes)) for sizes in chunks[1:])):
            part = bins.part(first, last, start, (down[place[-2]], across[place[-1]]))
            batch = tuple(
                slice(int(e[p]), int(e[p + 1])) for e, p in zip(edges[1:-2], place, strict=False)
            )
            use = None if valid is None else valid[(slice(start, stop), *batch)]
            refs = [TaskRef((data.name, source, *place)) for source in range(begin, end)]
            key = (name, at, *place)
            graph[key] = Task(key, _Block(part, offsets, use), *refs)
    return da.Array(
        HighLevelGraph.from_collections(name, graph, dependencies=[data]),  # type: ignore[list-item]
        name,
        chunks,
        meta=data._meta.astype(bins.dtype),
    )


@dataclass(frozen=True)
class _Block:
    """The work of one task: reduce bins of the source blocks that follow each other in time."""

    bins: Bins
    offsets: tuple[int, ...]  # first frame of each source block
    valid: np.ndarray | None

    def __call__(self, *parts: Any) -> Any:
        bins, first = self.bins, parts[0]
        shape = (len(bins.starts), *first.shape[1:-2], *bins.counts)
        out = namespace(first).empty(shape, bins.dtype)
        self.fill(out, parts)
        return out

    def fill(self, out: Any, parts: tuple[Any, ...]) -> None:
        """Reduce bins where their frames lie; only those that a border cuts are put together."""
        bins = self.bins
        edges = np.array([*self.offsets, self.offsets[-1] + parts[-1].shape[0]])
        begin = np.searchsorted(edges, bins.starts, side="right") - 1
        end = np.searchsorted(edges, bins.stops, side="left") - 1
        changes = np.flatnonzero(np.diff(begin) | np.diff(end)) + 1
        for first, last in itertools.pairwise([0, *changes.tolist(), len(begin)]):
            start, stop = int(bins.starts[first]), int(bins.stops[last - 1])
            taken = [
                parts[at][max(0, start - int(edges[at])) : stop - int(edges[at])]
                for at in range(begin[first], end[first] + 1)
            ]
            here = bins.part(first, last, start, bins.counts)
            bin_frames(
                taken[0] if len(taken) == 1 else np.concatenate(taken),
                here.starts,
                here.stops,
                width=bins.width,
                reduce=bins.reduce,
                out=out[first:last],
                valid=None if self.valid is None else self.valid[start:stop],
            )
