"""What runs in a dask graph while a store is made: one task for each shard.

Tasks hold paths and numbers only. Each may run again, even beside itself: it writes the same.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from zarr.core.buffer import Buffer
from zarr.storage import LocalStore

from calscipy.errors import CalscipyError, StoreError
from calscipy.io.store.journal import Journal
from calscipy.io.store.shards import ShardEncoder, shard_encoder


class WriteError(StoreError):
    """A file of a store cannot be written; its `errno` says why."""


@contextmanager
def writing() -> Iterator[None]:
    """Tell errors of writing from those of reading what is to be saved."""
    try:
        yield
    except OSError as error:
        if isinstance(error, CalscipyError):
            raise
        raise WriteError(error.errno, error.strerror or str(error), error.filename) from error


class StagedStore(LocalStore):
    """A zarr store in a stage: every file is flushed, renamed into place and noted in the journal.

    zarr's own local store renames as well, but does not flush: after a power failure, a shard may
    be there and empty, which reads as zeros.
    """

    async def set(self, key: str, value: Buffer) -> None:
        """Write a file and note it in the journal."""
        await asyncio.to_thread(self._write, key, value)

    async def set_if_not_exists(self, key: str, value: Buffer) -> None:
        """Write a file unless it is there."""
        if not await self.exists(key):
            await self.set(key, value)

    def set_sync(self, key: str, value: Buffer) -> None:
        """Write a file and note it in the journal."""
        self._write(key, value)

    async def list_dir(self, prefix: str) -> AsyncIterator[str]:
        """Yield names in a folder, but not the journal, which zarr would warn of."""
        async for name in super().list_dir(prefix):
            if not name.startswith("."):
                yield name

    def _write(self, key: str, value: Buffer) -> None:
        with writing():
            Journal(self.root).write(key, np.ascontiguousarray(value.as_numpy_array()))


def write_shard(block: Any, stage: str, array: str, start: tuple[int, ...]) -> int:
    """Write one block, which is one shard of an array, and return its bytes before compression.

    A block that is not one whole shard, or has codecs of others, goes through zarr.

    Parameters
    ----------
    block : ndarray
        The samples.
    stage : str
        Folder of the unfinished store.
    array : str
        Path of the array in it.
    start : tuple of int
        Where in the array the block begins.
    """
    block = np.asarray(block)
    target, encoder = staged_array(stage, array)
    samples = block.astype(target.dtype, casting="safe", copy=False)
    if encoder is None or not _is_one_shard(start, block.shape, encoder.shard, target.shape):
        region = tuple(slice(a, a + n) for a, n in zip(start, block.shape, strict=True))
        target[region] = samples
        return int(block.nbytes)
    at = (str(a // n) for a, n in zip(start, encoder.shard, strict=True))
    with writing():
        Journal(Path(stage)).write("/".join([array, "c", *at]), *encoder.parts(samples))
    return int(block.nbytes)


def _is_one_shard(
    start: tuple[int, ...], size: tuple[int, ...], shard: tuple[int, ...], whole: tuple[int, ...]
) -> bool:
    return all(
        a % wide == 0 and a + n == min(a + wide, end)
        for a, n, wide, end in zip(start, size, shard, whole, strict=True)
    )


def read_region(stage: str, array: str, region: tuple[slice, ...], dtype: np.dtype) -> np.ndarray:
    """Read back what was written in an earlier run."""
    source, _ = staged_array(stage, array)
    return np.asarray(source[region]).astype(dtype, copy=False)


@lru_cache(maxsize=64)
def staged_array(stage: str, array: str) -> tuple[Any, ShardEncoder | None]:
    """Open an array of an unfinished store, and tell how its shards are made."""
    opened = zarr.open_array(StagedStore(stage), path=array, mode="r+", zarr_format=3)
    # A missing chunk reads as the fill value: only if all are written, a missing one is a lost one.
    return opened.with_config({"write_empty_chunks": True}), shard_encoder(opened)
