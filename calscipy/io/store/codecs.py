"""Codecs of zarr that never decompress more than a chunk can hold.

A few kilobytes may claim to be gigabytes. The sizes stand in the first bytes of what is
compressed and are compared with the chunk before any memory is taken.
"""

from __future__ import annotations

import copy
import dataclasses
import math
from typing import Any

import zarr
from zarr.abc.codec import Codec
from zarr.codecs import BloscCodec, ShardingCodec, VLenUTF8Codec, ZstdCodec

MAX_TEXT_BYTES = 64 * 2**20  # of one chunk of texts
_ZSTD_MAGIC = b"\x28\xb5\x2f\xfd"


class _Bounded:
    """A codec that looks at the head of a chunk before it decodes it."""

    def require(self, head: bytes, chunk: Any) -> None:
        """Raise unless what is compressed is no larger than the chunk."""
        raise NotImplementedError

    async def _decode_single(self, chunk_bytes: Any, chunk_spec: Any) -> Any:
        self.require(chunk_bytes.as_numpy_array()[:18].tobytes(), chunk_spec)
        return await super()._decode_single(chunk_bytes, chunk_spec)  # type: ignore[misc]

    def _decode_sync(self, chunk_bytes: Any, chunk_spec: Any) -> Any:
        self.require(chunk_bytes.as_numpy_array()[:18].tobytes(), chunk_spec)
        return super()._decode_sync(chunk_bytes, chunk_spec)  # type: ignore[misc]


@dataclasses.dataclass(frozen=True, init=False)
class BoundedBlosc(_Bounded, BloscCodec):
    """Blosc: its header says how many bytes it holds (bytes 4 to 8)."""

    def require(self, head: bytes, chunk: Any) -> None:
        """Raise unless what is compressed is no larger than the chunk."""
        if len(head) < 16:
            raise ValueError("the chunk is shorter than a header")
        _require_size(int.from_bytes(head[4:8], "little"), _chunk_bytes(chunk))


@dataclasses.dataclass(frozen=True, init=False)
class BoundedZstd(_Bounded, ZstdCodec):
    """Zstandard: RFC 8878, section 3.1.1.1, says where the size of a frame stands."""

    def require(self, head: bytes, chunk: Any) -> None:
        """Raise unless what is compressed is no larger than the chunk."""
        _require_size(zstd_size(head), _chunk_bytes(chunk))


@dataclasses.dataclass(frozen=True)
class BoundedText(_Bounded, VLenUTF8Codec):
    """Texts: their number comes first."""

    def require(self, head: bytes, chunk: Any) -> None:
        """Raise unless there are as many texts as the chunk holds."""
        if len(head) < 4 or int.from_bytes(head[:4], "little") != math.prod(chunk.shape):
            raise ValueError("the chunk holds another number of texts than its shape")


def _chunk_bytes(chunk: Any) -> int:
    native = chunk.dtype.to_native_dtype()
    if native.kind in "TO":
        return MAX_TEXT_BYTES
    return math.prod(chunk.shape) * native.itemsize


def _require_size(claimed: int, most: int) -> None:
    if claimed > most:
        raise ValueError(f"the chunk claims {claimed} bytes, and at most {most} fit into it")


def zstd_size(head: bytes) -> int:
    """Return the decompressed size of a Zstandard frame, from its first 18 bytes.

    Raises
    ------
    ValueError
        If it does not say, or is no such frame.
    """
    if head[:4] != _ZSTD_MAGIC or len(head) < 6:
        raise ValueError("the chunk is no Zstandard frame")
    flags = head[4]
    single = flags >> 5 & 1
    width = (1 if single else 0, 2, 4, 8)[flags >> 6]
    start = 5 + (1 - single) + (0, 1, 2, 4)[flags & 3]
    if not width or len(head) < start + width:
        raise ValueError("the chunk does not say how large it is")
    return int.from_bytes(head[start : start + width], "little") + (256 if width == 2 else 0)


def bounded(array: zarr.Array) -> zarr.Array:
    """Return an array that is read with bounded codecs."""
    asynchronous = array._async_array
    codecs = tuple(map(_bounded_codec, asynchronous.metadata.codecs))
    metadata = copy.copy(asynchronous.metadata)
    object.__setattr__(metadata, "codecs", codecs)  # its own check wants classes of certain names
    return zarr.Array(zarr.AsyncArray(metadata, asynchronous.store_path, asynchronous.config))


def _bounded_codec(codec: Codec) -> Codec:
    if isinstance(codec, ShardingCodec):
        return dataclasses.replace(codec, codecs=tuple(map(_bounded_codec, codec.codecs)))
    if isinstance(codec, BloscCodec):
        return BoundedBlosc(
            typesize=codec.typesize, cname=codec.cname, clevel=codec.clevel,
            shuffle=codec.shuffle, blocksize=codec.blocksize,
        )  # fmt: skip
    if isinstance(codec, ZstdCodec):
        return BoundedZstd(level=codec.level, checksum=codec.checksum)
    if isinstance(codec, VLenUTF8Codec):
        return BoundedText()
    return codec
