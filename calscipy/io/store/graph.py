"""One graph for all arrays of a store, in which what is written already is read back."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Collection, Iterator, Mapping
from typing import Any

import dask
import dask.array as da
import numpy as np
from dask._task_spec import GraphNode, Task, TaskRef, convert_legacy_graph
from dask.array.optimization import optimize
from dask.base import get_scheduler
from dask.core import flatten
from dask.highlevelgraph import HighLevelGraph

from calscipy.io.store.layout import PlannedArray
from calscipy.io.store.tasks import read_region, write_shard

Graph = dict[Any, GraphNode]


def write_graph(
    arrays: Collection[PlannedArray],
    stage: str,
    done: Collection[str] = (),
    write: Callable[..., Any] = write_shard,
) -> tuple[Graph, dict[Any, int]]:
    """Build the graph that writes all shards that are not written yet.

    The graphs of all arrays are merged before they are optimised, so that what two of them need is
    computed once: a movie and the traces made from it read every frame once.

    Parameters
    ----------
    arrays : collection of PlannedArray
        What to write.
    stage : str
        Folder of the unfinished store.
    done : collection of str
        Keys of shards that an earlier run wrote. Whatever needs these blocks reads them from there.
    write : callable
        Called with a block, ``stage``, the path of the array and where the block begins.

    Returns
    -------
    graph : dict
        Tasks by key.
    todo : dict
        The tasks that write, with the bytes of their blocks.
    """
    wanted: set[Any] = set()
    for array in arrays:
        wanted.update(flatten(array.data.__dask_keys__()))
        if done:  # keep them from being fused away, so that they can be replaced
            wanted.update(flatten(array.source.__dask_keys__()))
    layers = [array.data.dask for array in arrays]
    graph: Graph = convert_legacy_graph(dict(optimize(HighLevelGraph.merge(*layers), list(wanted))))
    todo: dict[Any, int] = {}
    for array in arrays:
        if done:
            graph |= _read_back(array, stage, done)
        for block in array.blocks():
            if block.key in done:
                continue
            key = (f"write-{array.path}", *block.index)
            source = TaskRef((array.data.name, *block.index))
            graph[key] = Task(key, write, source, stage, array.path, block.start)
            todo[key] = block.nbytes
    return needed(graph, todo), todo


def _read_back(array: PlannedArray, stage: str, done: Collection[str]) -> Graph:
    """Return reads of what is written, by the keys of the blocks that they replace.

    Blocks are replaced both as they are stored and as they were computed: what derives from a
    movie uses the latter, which differ where the blocks had to be aligned.
    """
    written = {block.index for block in array.blocks() if block.key in done}
    replaced: Graph = {}
    for data in {array.data.name: array.data, array.source.name: array.source}.values():
        for index, region in regions_of(data):
            if set(array.covering(region)) <= written:
                key = (data.name, *index)
                replaced[key] = Task(key, read_region, stage, array.path, region, data.dtype)
    return replaced


def regions_of(data: da.Array) -> Iterator[tuple[tuple[int, ...], tuple[slice, ...]]]:
    """Yield index and place of every block."""
    stops = [np.cumsum(sizes).tolist() for sizes in data.chunks]
    places = [
        [slice(stop - size, stop) for stop, size in zip(axis, sizes, strict=True)]
        for axis, sizes in zip(stops, data.chunks, strict=True)
    ]
    for index in itertools.product(*(range(len(sizes)) for sizes in data.chunks)):
        yield index, tuple(axis[at] for axis, at in zip(places, index, strict=True))


def needed(graph: Mapping[Any, GraphNode], keys: Collection[Any]) -> Graph:
    """Return the tasks that ``keys`` depend on."""
    kept: Graph = {}
    waiting = list(keys)
    while waiting:
        key = waiting.pop()
        if key not in kept:
            kept[key] = graph[key]
            waiting.extend(graph[key].dependencies)
    return kept


def run_graph(graph: Graph, keys: Collection[Any]) -> list[Any]:
    """Compute keys with the scheduler that dask would take for arrays."""
    if not keys:
        return []
    schedule = get_scheduler(cls=da.Array) or dask.threaded.get
    return list(schedule(graph, list(keys)))
