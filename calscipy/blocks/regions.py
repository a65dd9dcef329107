"""Sums over regions of interest."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import dask.array as da
import numpy as np

from calscipy.blocks.device import on_host


def roi_sums(
    data: Any,
    kernel: Callable[..., Any],
    pieces: Callable[[slice, slice], Any],
    neurons: int,
) -> Any:
    """Reduce a movie ``(frames, ..., y, x)`` to rows ``(neurons, ..., frames)`` in float64.

    ``pieces(rows, columns)`` gives the weights of a rectangle of pixels; rectangles without
    weights are never read.
    """
    if not isinstance(data, da.Array):
        whole = pieces(slice(0, data.shape[-2]), slice(0, data.shape[-1]))
        return kernel(on_host(data), whole)
    sums = []
    for at, rows in enumerate(_slices(data.chunks[-2])):
        for across, columns in enumerate(_slices(data.chunks[-1])):
            weights = pieces(rows, columns)
            if weights.nnz == 0:
                continue
            part = data.blocks[(..., at, across)]
            frames, *batch, y, x = range(data.ndim)
            neuron = data.ndim
            sums.append(
                da.blockwise(
                    kernel,
                    (neuron, *batch, frames),
                    part,
                    (frames, *batch, y, x),
                    weights=weights,
                    new_axes={neuron: neurons},
                    concatenate=True,
                    dtype=np.float64,
                    meta=np.empty((0,) * (data.ndim - 1)),
                )
            )
    if not sums:
        shape = (neurons, *data.shape[1:-2], data.shape[0])
        return da.zeros(shape, chunks=(neurons, *data.chunks[1:-2], data.chunks[0]))
    return sums[0] if len(sums) == 1 else sum(sums[1:], sums[0])


def _slices(sizes: tuple[int, ...]) -> list[slice]:
    edges = np.concatenate([[0], np.cumsum(sizes)])
    return [slice(int(a), int(b)) for a, b in itertools.pairwise(edges)]
