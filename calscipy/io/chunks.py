"""How movies are cut into dask chunks."""

from __future__ import annotations

from typing import Any

import dask
import dask.system
import xarray as xr

from calscipy import model
from calscipy.errors import ArgumentError, ChunkError
from calscipy.options import get_option

MAX_PIXELS = 2**28  # of one frame; more is taken for damage
MIN_FRAMES = 64
MIN_CHUNKS = 8
MIN_ROWS = 16

Chunks = str | dict[str, int] | None


def frames_per_chunk(frame_bytes: int, frames: int) -> int:
    """Return how many whole frames one chunk holds.

    As many as ``chunk_bytes`` allows, but eight chunks for a movie so that several threads have
    work, and at least 64: with fewer, the frames that neighbouring blocks share cost more than
    16 %. Eight chunks always fit into the memory limit.
    """
    affordable = get_option("memory_limit") // (8 * frame_bytes)
    wanted = min(get_option("chunk_bytes") // frame_bytes, -(-frames // MIN_CHUNKS))
    count = max(1, min(max(wanted, MIN_FRAMES), affordable))
    return count // MIN_FRAMES * MIN_FRAMES if count > MIN_FRAMES else count


def rows_per_band(movie: xr.DataArray) -> int:
    """Return the height of a band of rows over all frames that fits into memory.

    Every thread holds a band as it was read, and the next one is read before the last piece of
    this one is done: two bands for each thread are to fit into ``memory_limit``, or one of 16 rows
    where that is all that fits. What operations along time make of a band comes in pieces of
    ``chunk_bytes`` (see `calscipy.blocks.whole_time`), a few for each thread, on top of the limit.
    There are eight bands so that several threads have work, fewer if those were under 16 rows.

    Raises
    ------
    ChunkError
        If not even 16 rows of all frames fit.
    """
    sizes = movie.sizes
    row_bytes = max(1, sizes[model.FRAMES] * sizes[model.X] * movie.dtype.itemsize)
    workers = dask.config.get("num_workers", None) or dask.system.CPU_COUNT
    share = get_option("memory_limit") // workers
    least = min(MIN_ROWS, sizes[model.Y])
    if share < least * row_bytes:
        raise ChunkError(
            f"{least} rows of all {sizes[model.FRAMES]} frames need {least * row_bytes} "
            f"bytes for each of {workers} threads, more than memory_limit="
            f"{get_option('memory_limit')}. Save the movie first (movie.cs.to_zarr(path) or "
            "session.save(path)) and open the store in tiles, "
            "chunks={'frames': -1, 'y': 16, 'x': 16}, or raise the limit with "
            "calscipy.set_options(memory_limit=...)."
        )
    wanted = -(-sizes[model.Y] // MIN_CHUNKS)
    return int(max(least, min(wanted, share // (2 * row_bytes))))


def chunk_movie(movie: xr.Dataset, chunks: Chunks) -> xr.Dataset:
    """Chunk a dataset that holds a movie: ``"frames"``, ``"time"``, explicit, or not at all."""
    if chunks is None:
        return movie
    data = movie[model.MOVIE]
    if isinstance(chunks, dict):
        return _chunked(movie, chunks)
    whole = {dim: data.sizes[dim] for dim in data.dims}
    single = {dim: 1 for dim in (model.CHANNEL, model.PLANE) if dim in data.dims}
    if chunks == "frames":
        frame_bytes = data.sizes[model.Y] * data.sizes[model.X] * data.dtype.itemsize
        frames = frames_per_chunk(frame_bytes, data.sizes[model.FRAMES])
        return _chunked(movie, whole | single | {model.FRAMES: frames})
    if chunks == "time":
        return _chunked(movie, whole | single | {model.Y: rows_per_band(data)})
    raise ArgumentError(
        f"chunks must be 'frames', 'time', a mapping by dimension, or None; got {chunks!r}"
    )


def _chunked(movie: xr.Dataset, chunks: dict[Any, int]) -> xr.Dataset:
    """Chunk the movie alone: ``Dataset.chunk`` would make times and masks lazy as well."""
    return movie.assign({model.MOVIE: movie[model.MOVIE].variable.chunk(chunks)})
