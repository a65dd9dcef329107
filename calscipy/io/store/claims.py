"""What ``zarr.json`` claims, believed only within bounds.

The shapes of a store say how much memory reading takes, and its codecs what runs then. Both come
from a file that anybody may have written.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from calscipy.errors import StoreError
from calscipy.io.store.manifest import BadFile

MAX_CHUNK_BYTES = 2**31  # blosc itself holds no more
MAX_BLOCK_BYTES = 2**34  # a shard was one dask block, which was in memory when it was saved
MAX_DEPTH = 64  # of objects and lists in one another
_MAX_NAMES = 10_000_000  # elements of one text array
_CODECS = {"bytes", "blosc", "crc32c", "zstd", "vlen-utf8", "sharding_indexed"}
_ITEMS = {
    **{f"{kind}{8 * size}": size for kind in ("int", "uint") for size in (1, 2, 4, 8)},
    **{"bool": 1, "float16": 2, "float32": 4, "float64": 8, "complex64": 8, "complex128": 16},
}
_TEXT = "string"


@dataclass(frozen=True)
class ArrayClaim:
    """An array of a store as its ``zarr.json`` describes it.

    Parameters
    ----------
    path : str
        Of the array in the store, such as ``movie/movie``.
    shape, chunks, shards : tuple of int
        Of the array, of what is compressed together, and of one file.
    itemsize : int
        Bytes of one element; of text, those of a pointer.
    checked : bool
        Whether every chunk carries a checksum of its own.
    """

    path: str
    shape: tuple[int, ...]
    chunks: tuple[int, ...]
    shards: tuple[int, ...]
    itemsize: int
    checked: bool

    @property
    def nbytes(self) -> int:
        """Bytes of the whole array in memory."""
        return math.prod(self.shape) * self.itemsize

    @property
    def grid(self) -> tuple[int, ...]:
        """Number of files along every dimension."""
        return tuple(-(-size // shard) for size, shard in zip(self.shape, self.shards, strict=True))

    def file(self, index: tuple[int, ...]) -> str:
        """Return the path of one file, by its place in the grid."""
        return "/".join([self.path, "c", *map(str, index)])

    def files(self) -> Iterator[str]:
        """Go through the paths of all files."""
        grid = self.grid
        for number in range(math.prod(grid)):  # product() would first list what may be billions
            index = []
            for count in reversed(grid):
                number, at = divmod(number, count)
                index.append(at)
            yield self.file(tuple(reversed(index)))


def array_claim(node: Mapping[str, Any], path: str, where: str) -> ArrayClaim | None:
    """Return what one ``zarr.json`` claims of an array, or None for a group.

    Parameters
    ----------
    node : mapping
        The content of the file.
    path : str
        Of the group or array in the store.
    where : str
        Name of the file, for messages.

    Raises
    ------
    StoreError
        If it is not what calscipy writes: other codecs, types of data or grids, or chunks larger
        than any that are written.
    """
    try:
        _require_depth(node)
        if node.get("zarr_format") != 3:
            raise ValueError(
                "it is of zarr 2, which calscipy never writes and whose filters may run code"
            )
        if node.get("node_type") == "group":
            return None
        return _claim(node, path)
    except (ValueError, KeyError, TypeError) as error:
        reason = f"it has no {error}" if isinstance(error, KeyError) else error
        raise StoreError(
            f"{where}: not metadata that calscipy writes ({reason}), so that it is not read. "
            "Restore the store from a copy."
        ) from error


def _claim(node: Mapping[str, Any], path: str) -> ArrayClaim:
    if node["node_type"] != "array":
        raise ValueError(f"a node of the type {node['node_type']!r:.80}")
    shape = _lengths(node["shape"], 0)
    shards = _grid(node, len(shape))
    if node.get("storage_transformers"):
        raise ValueError("it names storage transformers")
    kind = node["data_type"]
    if not isinstance(kind, str) or kind not in {*_ITEMS, _TEXT}:
        raise ValueError(f"data of the type {kind!r:.80}")
    chunks, checked = _chain(node["codecs"], shards, sharded=True)
    if (kind == _TEXT) != ("vlen-utf8" in _names(node["codecs"])):
        raise ValueError("codecs that do not fit its type of data")
    itemsize = _ITEMS.get(kind, 8)
    if math.prod(chunks) * itemsize > MAX_CHUNK_BYTES:
        raise ValueError(f"one chunk of {math.prod(chunks) * itemsize} bytes")
    block = math.prod(min(n, s) for n, s in zip(shards, shape, strict=True)) * itemsize
    if block > MAX_BLOCK_BYTES:
        raise ValueError(f"one shard of {block} bytes")
    if math.prod(shards) // math.prod(chunks) > _MAX_NAMES:
        raise ValueError(f"{math.prod(shards) // math.prod(chunks)} chunks in one shard")
    if kind == _TEXT and math.prod(shape) > _MAX_NAMES:
        raise ValueError(f"{math.prod(shape)} texts")
    return ArrayClaim(path, shape, chunks, shards, itemsize, checked)


def _grid(node: Mapping[str, Any], ndim: int) -> tuple[int, ...]:
    grid, encoding = node["chunk_grid"], node["chunk_key_encoding"]
    if grid["name"] != "regular" or encoding["name"] != "default":
        raise ValueError("another grid of chunks than the regular one")
    if encoding.get("configuration", {}).get("separator", "/") != "/":
        raise ValueError("chunks with other names")
    shards = _lengths(grid["configuration"]["chunk_shape"], 1)
    if len(shards) != ndim:
        raise ValueError(f"chunks of {len(shards)} dimensions in an array of {ndim}")
    return shards


def _lengths(value: Any, least: int) -> tuple[int, ...]:
    if not isinstance(value, list) or len(value) > 32:
        raise ValueError("a shape that is none")
    if not all(type(n) is int and least <= n < 2**48 for n in value):
        raise ValueError(f"the shape {value}")
    return tuple(value)


def _names(codecs: Any) -> list[str]:
    if not isinstance(codecs, list) or not 0 < len(codecs) <= 8:
        raise ValueError("a chain of codecs that is none")
    names = [codec if isinstance(codec, str) else codec["name"] for codec in codecs]
    unknown = [name for name in names if name not in _CODECS]
    if unknown:
        raise ValueError(f"the codec {unknown[0]!r:.80}, which calscipy never uses")
    return names


def _chain(codecs: Any, shards: tuple[int, ...], *, sharded: bool) -> tuple[tuple[int, ...], bool]:
    """Return the shape of a chunk, and whether it carries a checksum."""
    names = _names(codecs)
    if "sharding_indexed" not in names:
        return shards, "crc32c" in names
    if not sharded or len(codecs) != 1:
        raise ValueError("shards in shards")
    settings = codecs[0]["configuration"]
    chunks = _lengths(settings["chunk_shape"], 1)
    if len(chunks) != len(shards) or any(n % m for n, m in zip(shards, chunks, strict=True)):
        raise ValueError(f"chunks {chunks} that do not divide the shards {shards}")
    if not {"bytes", "crc32c"} >= set(_names(settings["index_codecs"])):
        raise ValueError("a compressed index")
    return _chain(settings["codecs"], chunks, sharded=False)


def _require_depth(value: Any) -> None:
    level = [value]
    for _ in range(MAX_DEPTH):
        if not level:
            return
        inner: list[Any] = []
        for item in level:
            if isinstance(item, dict):
                inner.extend(item.values())
            elif isinstance(item, list):
                inner.extend(item)
        level = [item for item in inner if isinstance(item, dict | list)]
    raise ValueError(f"objects in one another more than {MAX_DEPTH} times")


def compare_claims(claims: Iterable[ArrayClaim], found: Mapping[str, int]) -> list[BadFile]:
    """Compare the files that a store has with those that its arrays consist of.

    calscipy writes every chunk, also one of zeros: what is not there was lost.

    Parameters
    ----------
    claims : iterable of ArrayClaim
        All arrays of the store.
    found : mapping of str to int
        Sizes of the data files by path.

    Returns
    -------
    list of BadFile
        Missing, empty and further files. Of arrays that claim far more files than there are, only
        some of the missing ones.
    """
    known: set[str] = set()
    bad = []
    for claim in claims:
        # As many as could be there and a few more: a claim may be of billions.
        for path in itertools.islice(claim.files(), len(found) + 10):
            known.add(path)
            if path not in found:
                bad.append(BadFile(path, "missing", "missing"))
            elif not found[path]:
                bad.append(BadFile(path, "empty", "0 bytes"))
    bad += [BadFile(path, "extra", "not of this store") for path in found.keys() - known]
    return sorted(bad, key=lambda file: file.path)
