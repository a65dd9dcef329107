"""How variables lie in a store: blocks of one length, shards, inner chunks, codecs."""

from __future__ import annotations

import itertools
import math
from collections.abc import Hashable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal, get_args

import dask.array as da
import numpy as np
import xarray as xr
from zarr.codecs import BloscCodec, Crc32cCodec

from calscipy import model
from calscipy.errors import ArgumentError, StoreError
from calscipy.io.chunks import frames_per_chunk
from calscipy.io.store.attrs import ready_attrs
from calscipy.io.store.files import METADATA, require_inside

StoreChunks = Literal["hybrid", "frames", "time"]
# The largest inner chunk along frames, y and x; None: as long as the shard. Hybrid chunks serve
# both a few pixels over all frames and a few whole frames: 1 MiB of uint16. Of half the size they
# give whole frames a fifth slower, and of twice the size pixels over time a third slower.
_INNER: dict[str, tuple[int | None, int | None, int | None]] = {
    "hybrid": (64, 64, 128),
    "frames": (8, None, None),
    "time": (None, 16, 16),
}
_ALIGNED = {model.FRAMES: 64, model.Y: 64, model.X: 128}  # blocks shorter than these stay
SMALL_BYTES = 16 * 2**20  # larger variables are written in blocks


@dataclass(frozen=True)
class Block:
    """One shard of an array and the block that goes into it."""

    index: tuple[int, ...]
    start: tuple[int, ...]
    shape: tuple[int, ...]
    key: str  # of the shard in the store
    nbytes: int


@dataclass(frozen=True)
class PlannedArray:
    """A lazy array of a store, which is written shard by shard."""

    path: str  # in the store
    source: da.Array  # as it came
    data: da.Array  # in blocks of one length, each of them a shard

    def blocks(self) -> Iterator[Block]:
        """Yield the blocks in order."""
        lengths = self.data.chunksize
        for index in itertools.product(*map(range, self.data.numblocks)):
            start = tuple(int(at * n) for at, n in zip(index, lengths, strict=True))
            shape = tuple(int(sizes[at]) for at, sizes in zip(index, self.data.chunks, strict=True))
            key = "/".join([self.path, "c", *map(str, index)])
            yield Block(index, start, shape, key, math.prod(shape) * self.data.dtype.itemsize)

    def covering(self, region: tuple[slice, ...]) -> Iterator[tuple[int, ...]]:
        """Yield the indices of the blocks in which a region lies."""
        axes = [
            range(place.start // n, -(-place.stop // n))
            for place, n in zip(region, self.data.chunksize, strict=True)
        ]
        yield from itertools.product(*axes)


@dataclass(frozen=True)
class Plan:
    """What a store is going to hold, checked before anything is written."""

    attrs: dict[str, Any]
    datasets: dict[str, xr.Dataset]  # by group, in the form that zarr takes
    encoding: dict[str, dict[str, Any]]
    arrays: list[PlannedArray]  # what is written shard by shard; xarray writes the rest

    @property
    def shards(self) -> dict[str, int]:
        """Bytes of the block of every shard, by its key."""
        return {block.key: block.nbytes for array in self.arrays for block in array.blocks()}


def plan_store(
    datasets: Mapping[str, xr.Dataset], attrs: Mapping[Any, Any], chunks: StoreChunks
) -> Plan:
    """Bring groups into a form that zarr takes and choose how each variable lies in the store.

    Parameters
    ----------
    datasets : mapping of str to Dataset
        The groups.
    attrs : mapping
        Attributes of the root.
    chunks : {"hybrid", "frames", "time"}
        What reading is to be fast.

    Raises
    ------
    ArgumentError
        For other chunks.
    StoreError
        Naming the variable or attribute that cannot be stored.
    """
    if chunks not in get_args(StoreChunks):
        raise ArgumentError(f"chunks must be one of {get_args(StoreChunks)}, got {chunks!r}")
    plan = Plan(ready_attrs(attrs, "/"), {}, {}, [])
    for group, dataset in datasets.items():
        for name in dataset.variables:
            _require_name(group, str(name))
        _add_group(plan, group, dataset, chunks)
    return plan


def _require_name(group: str, name: str) -> None:
    try:
        if "/" in name or METADATA in (group, name):
            raise ValueError
        require_inside(f"{group}/{name}")
    except ValueError:
        raise StoreError(
            f"the variable {name!r} of {group!r} has a name that no file may have. Rename it: no "
            "dot at the start, no slash, backslash or colon."
        ) from None


def _add_group(plan: Plan, group: str, dataset: xr.Dataset, chunks: StoreChunks) -> None:
    ready = dataset.drop_encoding()
    extra = [name for name in ready.xindexes if name not in ready.dims]
    ready = ready.reset_index(extra)
    encoding: dict[str, Any] = {}
    changed = {}
    for name, variable in ready.variables.items():
        stored = _stored(variable, name in ready.coords, str(name))
        encoding[str(name)] = _codecs(stored)
        if stored.chunks is None:
            if stored.size and stored.ndim:
                whole = stored.sizes if stored.nbytes <= SMALL_BYTES else _blocks_of(stored)
                encoding[str(name)]["chunks"] = tuple(whole.values())
        else:
            source = stored.data
            stored, inner, shards = _aligned(stored, chunks)
            encoding[str(name)] |= {"chunks": inner, "shards": shards}
            plan.arrays.append(PlannedArray(f"{group}/{name}", source, stored.data))
        changed[name] = stored.copy(deep=False)
        changed[name].attrs = ready_attrs(variable.attrs, str(name))
    coords = {name: changed.pop(name) for name in ready.coords}
    plan.datasets[group] = xr.Dataset(changed, coords, ready_attrs(ready.attrs, "group"))
    plan.encoding[group] = encoding


def _stored(variable: xr.Variable, coordinate: bool, name: str) -> xr.Variable:
    """Return a variable as numbers or texts: small ones in memory, the others as a dask array."""
    if variable.dtype.kind in "UTO":
        return _texts(variable, name)
    if coordinate or variable.dtype.kind not in "biufc" or not variable.size:
        return variable.compute() if variable.chunks is not None else variable
    large = _is_movie(variable.dims) or variable.nbytes > SMALL_BYTES
    if variable.chunks is None and large:
        return variable.chunk(_blocks_of(variable))
    return variable


def _texts(variable: xr.Variable, name: str) -> xr.Variable:
    """Store texts with variable length; fixed-length texts have no zarr 3 specification."""
    values = np.asarray(variable.values, dtype=object)
    if not all(isinstance(value, str) for value in values.ravel()):
        raise StoreError(
            f"the variable {name!r} holds objects that are not text and cannot be saved. "
            "Convert it to numbers or text, or drop it."
        )
    return xr.Variable(variable.dims, values.astype(np.dtypes.StringDType()), variable.attrs)


def _codecs(variable: xr.Variable) -> dict[str, Any]:
    if variable.dtype.kind == "T":
        return {}
    # Of the noise of images, lz4 leaves as much as zstd (1.42 and 1.43 times smaller) in a third of
    # the time, and at level 9 hardly less in half as much time again. Of masks and tables zstd
    # leaves half.
    images = _is_movie(variable.dims) and variable.dtype.itemsize > 1
    cname: Literal["lz4", "zstd"] = "lz4" if images else "zstd"
    level = 5 if images else 3
    blosc = BloscCodec(
        cname=cname, clevel=level, shuffle="bitshuffle", typesize=variable.dtype.itemsize
    )
    return {"compressors": (blosc, Crc32cCodec())}


def _aligned(
    variable: xr.Variable, chunks: StoreChunks
) -> tuple[xr.Variable, tuple[int, ...], tuple[int, ...] | None]:
    """Bring dask blocks to one length by axis and choose the chunks and shards for them."""
    sizes = {str(dim): size for dim, size in variable.sizes.items()}
    lengths = dict(zip(sizes, (max(c) for c in variable.chunks or ()), strict=True))
    blocks = {dim: _block_length(dim, n, sizes[dim]) for dim, n in lengths.items()}
    variable = variable.chunk(blocks)
    if not _is_movie(variable.dims):
        return variable, tuple(blocks.values()), None
    largest = dict(zip((model.FRAMES, model.Y, model.X), _INNER[chunks], strict=True))
    inner, outer = {}, {}
    for dim, length in blocks.items():
        most = min(largest.get(dim, 1) or length, length)
        inner[dim] = _inner_length(dim, length, most, alone=length == sizes[dim])
        outer[dim] = math.ceil(length / inner[dim]) * inner[dim]
    return variable, tuple(inner.values()), tuple(outer.values())


def _is_movie(dims: tuple[Hashable, ...]) -> bool:
    return {model.FRAMES, model.Y, model.X} <= set(dims)


def _block_length(dim: str, length: int, size: int) -> int:
    """Return a block length that inner chunks divide."""
    step = _ALIGNED.get(dim, 1)
    if length >= size or length <= step:
        return min(length, size)
    return length // step * step


def _inner_length(dim: str, length: int, most: int, *, alone: bool) -> int:
    """Return the length of the inner chunks of a block, about ``most``.

    A shard that is alone along its dimension may be longer than the array, others must be as long
    as their block.
    """
    if alone:
        return most if dim != model.FRAMES else math.ceil(length / math.ceil(length / most))
    divisors = [n for n in range(1, length + 1) if length % n == 0]
    if dim == model.FRAMES:
        return max(n for n in divisors if n <= most)
    return min(n for n in divisors if n >= most)


def _blocks_of(variable: xr.Variable) -> dict[Any, int]:
    """Cut an array in memory: a movie into runs of frames, others along their first dimension."""
    whole = {dim: size for dim, size in variable.sizes.items()}
    first = model.FRAMES if model.FRAMES in whole else next(iter(whole))
    row = variable.nbytes // max(1, whole[first])
    if first == model.FRAMES:
        return whole | {first: frames_per_chunk(max(1, row), whole[first])}
    return whole | {first: max(1, min(whole[first], SMALL_BYTES // max(row, 1)))}
