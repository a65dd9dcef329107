"""Means over stretches of long rows, of which only the chunks that a stretch needs are read."""

from __future__ import annotations

from typing import Any

import dask.array as da
import numpy as np

from calscipy.blocks.rows import by_rows
from calscipy.kernels import segments as kernels


def segment_means(data: Any, starts: np.ndarray, stops: np.ndarray, dtype: np.dtype) -> Any:
    """Average stretches of the last axis: lazily, chunk by chunk, where the data are lazy.

    Parameters
    ----------
    data : ndarray or dask.array.Array, shape (..., samples)
        Rows.
    starts, stops : ndarray of int, shape (segments,)
        Samples ``[start, stop)``, starts in increasing order.
    dtype : dtype
        Of the result.
    """
    if not isinstance(data, da.Array):
        return _means(data, starts, stops, dtype)
    ends = np.cumsum(data.chunks[-1])
    borders = np.searchsorted(starts, ends[:-1], side="left")
    parts = []
    for own_starts, own_stops in zip(
        np.split(starts, borders), np.split(stops, borders), strict=True
    ):
        if own_starts.size:
            first = min(int(own_starts[0]), data.shape[-1] - 1)
            last = max(int(own_stops.max()), first + 1)
            parts.append(
                _means(data[..., first:last], own_starts - first, own_stops - first, dtype)
            )
    return da.concatenate(parts, axis=-1)


def _means(data: Any, starts: np.ndarray, stops: np.ndarray, dtype: np.dtype) -> Any:
    return by_rows(
        data,
        kernels.segment_means,
        shape=(len(starts),),
        dtype=dtype,
        starts=starts,
        stops=stops,
    )
