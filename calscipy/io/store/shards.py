"""Shards as zarr 3 reads them, made by one thread: inner chunks one after the other, then an index.

zarr makes the same through an event loop and its own pool of threads. Beside dask's threads, which
are as many as there are cores, that takes twice the time.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import google_crc32c
import numpy as np
import zarr
from numcodecs.blosc import Blosc
from zarr.codecs import BloscCodec, BytesCodec, Crc32cCodec, ShardingCodec

_MISSING = 2**64 - 1  # stands in the index for a chunk outside of the array
_SHUFFLES = {"noshuffle": 0, "shuffle": 1, "bitshuffle": 2}


@dataclass(frozen=True)
class ShardEncoder:
    """Turns a block into the bytes of its shard.

    Attributes
    ----------
    shard, chunk : tuple of int
        Shapes of a shard and of its inner chunks, which divide it.
    dtype : dtype
        Of the array, little-endian.
    fill_value : scalar
        Beyond the end of the array.
    compressor : Blosc
        Of the chunks. A CRC-32C follows each.
    indexed : bool
        Whether an index follows the chunks; a shard without is one chunk.
    """

    shard: tuple[int, ...]
    chunk: tuple[int, ...]
    dtype: np.dtype
    fill_value: Any
    compressor: Blosc
    indexed: bool

    def parts(self, block: np.ndarray) -> list[bytes]:
        """Return the shard of a block, which is shorter than others only at the array's end.

        In parts that belong behind each other: joining them would take as long as the checksums.

        Raises
        ------
        ValueError
            If the block is larger than a shard.
        """
        if any(n > most for n, most in zip(block.shape, self.shard, strict=True)):
            raise ValueError(f"a block of {block.shape} does not fit into a shard of {self.shard}")
        counts = tuple(n // wide for n, wide in zip(self.shard, self.chunk, strict=True))
        index = np.full((*counts, 2), _MISSING, "<u8")
        parts: list[bytes] = []
        end = 0
        for at, chunk in self._chunks(block):
            compressed = self.compressor.encode(chunk)
            parts += (compressed, _checksum(compressed))
            index[at] = end, len(compressed) + 4
            end += len(compressed) + 4
        if self.indexed:
            parts += (index.tobytes(), _checksum(index))
        return parts

    def _chunks(self, block: np.ndarray) -> Iterator[tuple[tuple[int, ...], np.ndarray]]:
        """Yield the chunks that have samples of the block, whole and contiguous."""
        used = (-(-n // wide) for n, wide in zip(block.shape, self.chunk, strict=True))
        for at in itertools.product(*map(range, used)):
            part = block[
                tuple(
                    slice(i * wide, (i + 1) * wide) for i, wide in zip(at, self.chunk, strict=True)
                )
            ]
            if part.shape == self.chunk:
                yield at, np.ascontiguousarray(part, self.dtype)
                continue
            chunk = np.full(self.chunk, self.fill_value, self.dtype)
            chunk[tuple(map(slice, part.shape))] = part
            yield at, chunk


def shard_encoder(array: zarr.Array) -> ShardEncoder | None:
    """Return how the shards of an array are made; None if it has other codecs than ours."""
    metadata: Any = array.metadata
    shard = metadata.chunk_grid.chunk_shape
    codecs, chunk = metadata.codecs, shard
    indexed = len(codecs) == 1 and isinstance(codecs[0], ShardingCodec)
    if indexed:
        sharding = codecs[0]
        codecs, chunk = sharding.codecs, sharding.chunk_shape
        if sharding.index_location.value != "end" or not _kinds(
            sharding.index_codecs, BytesCodec, Crc32cCodec
        ):
            return None
    dtype = array.dtype.newbyteorder("<")
    if not _kinds(codecs, BytesCodec, BloscCodec, Crc32cCodec) or math.prod(shard) == 0:
        return None
    endian = codecs[0].endian
    if dtype.kind not in "biufc" or (endian is not None and endian.value != "little"):
        return None
    settings = codecs[1].to_dict()["configuration"]
    compressor = Blosc(**settings | {"shuffle": _SHUFFLES[settings["shuffle"]]})
    return ShardEncoder(shard, chunk, dtype, metadata.fill_value, compressor, indexed)


def _kinds(codecs: Any, *kinds: type) -> bool:
    return len(codecs) == len(kinds) and all(map(isinstance, codecs, kinds))


def _checksum(content: Any) -> bytes:
    """Return the CRC-32C as zarr puts it behind what it is of."""
    return int(google_crc32c.value(content)).to_bytes(4, "little")
