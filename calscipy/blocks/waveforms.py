"""Windows around events, in one task for each block of rows."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import dask.array as da
import numpy as np
from dask._task_spec import Task, TaskRef
from dask.base import tokenize
from dask.highlevelgraph import HighLevelGraph

from calscipy.blocks.graphs import require_layers
from calscipy.kernels.waveforms import Places


def around_events(
    data: Any,
    kernel: Callable[..., np.ndarray],
    places: Places,
    *,
    lags: int,
    dtype: np.dtype,
    per_event: bool,
    **arguments: Any,
) -> Any:
    """Apply a kernel to rows and the events in them.

    Parameters
    ----------
    data : ndarray or dask.array.Array, shape (..., rows, samples)
        Lazy in, lazy out; blocks are put together along time.
    kernel : callable
        ``kernel(rows, places, dtype=dtype, **arguments)``; its result has the shape
        ``(..., events, lags)`` if ``per_event``, else ``(..., rows, lags)``.
    places : Places
        The events, in the order of their rows.
    lags : int
        Length of a window.
    dtype : dtype
        Of the result.
    per_event : bool
        Whether every event has a window of its own in the result.
    """
    arguments["dtype"] = dtype
    if not isinstance(data, da.Array):
        return kernel(data, places, **arguments)
    require_layers(data)
    data = data.rechunk({data.ndim - 1: -1})
    word = kernel.__name__.replace("_", "-")
    name = f"calscipy-{word}-" + tokenize(data.name, list(places), lags, arguments)
    edges = np.concatenate([[0], np.cumsum(data.chunks[-2])]).tolist()
    borders = np.searchsorted(places.row, edges).tolist()
    graph: dict[Any, Any] = {}
    sizes: list[int] = []
    for block, (start, stop) in enumerate(itertools.pairwise(borders)):
        if per_event and start == stop:
            continue
        work = _Windows(kernel, places.part(start, stop, edges[block]), arguments)
        for place in itertools.product(*(range(n) for n in data.numblocks[:-2])):
            key = (name, *place, len(sizes), 0)
            graph[key] = Task(key, work, TaskRef((data.name, *place, block, 0)))
        sizes.append(stop - start if per_event else data.chunks[-2][block])
    if not graph:
        return da.zeros((*data.shape[:-2], 0, lags), chunks=-1, dtype=dtype)
    return da.Array(
        HighLevelGraph.from_collections(name, graph, dependencies=[data]),  # type: ignore[list-item]
        name,
        (*data.chunks[:-2], tuple(sizes), (lags,)),
        meta=np.empty((0,) * data.ndim, dtype),
    )


@dataclass(frozen=True)
class _Windows:
    """The work of one task."""

    kernel: Callable[..., np.ndarray]
    places: Places
    arguments: Mapping[str, Any]

    def __call__(self, rows: np.ndarray) -> np.ndarray:
        return self.kernel(rows, self.places, **self.arguments)
