"""What every layer of ours needs of a dask array."""

from __future__ import annotations

import math

import dask.array as da
from dask.highlevelgraph import HighLevelGraph

from calscipy.errors import ArgumentError


def require_layers(data: da.Array) -> None:
    """Raise if the array is not one whose graph consists of layers."""
    if not isinstance(data.dask, HighLevelGraph):
        raise ArgumentError(
            "calscipy builds dask graphs itself, which dask's experimental array.query-planning "
            "does not allow. Switch it off before dask is imported: "
            "dask.config.set({'array.query-planning': False})."
        )
    if any(math.isnan(size) for size in data.shape):
        raise ArgumentError(
            "the sizes of this dask array are not known, as after selecting by a lazy mask. Find "
            "them first: array.compute_chunk_sizes()."
        )
