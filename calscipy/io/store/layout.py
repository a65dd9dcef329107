"""How variables lie in a store: blocks of one length, shards, inner chunks, codecs."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import xarray as xr
from zarr.codecs import BloscCodec, Crc32cCodec

from calscipy import model
from calscipy.errors import StoreError
from calscipy.io.store.attrs import ready_attrs

INNER_FRAMES, INNER_PIXELS = 64, 128
SMALL_CHUNK_BYTES = 16 * 2**20


def prepare(dataset: xr.Dataset) -> tuple[xr.Dataset, dict[str, Any]]:
    """Bring a dataset into a form that zarr takes, with the encoding of every variable."""
    ready = dataset.drop_encoding()
    extra = [name for name in ready.xindexes if name not in ready.dims]
    ready = ready.reset_index(extra)
    encoding: dict[str, Any] = {}
    changed = {}
    for name, variable in ready.variables.items():
        chunks, shards = None, None
        if variable.dtype.kind in "UTO":
            variable = _objects(variable, str(name))
        elif variable.ndim and variable.size:
            variable, chunks, shards = _aligned(variable)
        variable = variable.copy(deep=False)
        variable.attrs = ready_attrs(variable.attrs, str(name))
        encoding[str(name)] = _codecs(variable) | (
            {} if chunks is None else {"chunks": chunks, "shards": shards}
        )
        changed[name] = variable
    coords = {name: changed.pop(name) for name in ready.coords}
    result = xr.Dataset(changed, coords, ready_attrs(ready.attrs, "group"))
    return result, encoding


def _objects(variable: xr.Variable, name: str) -> xr.Variable:
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
    blosc = BloscCodec(
        cname="zstd", clevel=3, shuffle="bitshuffle", typesize=variable.dtype.itemsize
    )
    return {"compressors": (blosc, Crc32cCodec())}


def _aligned(
    variable: xr.Variable,
) -> tuple[xr.Variable, tuple[int, ...], tuple[int, ...] | None]:
    """Bring dask blocks to one length by axis and choose the chunks and shards for them."""
    sizes = {str(dim): size for dim, size in variable.sizes.items()}
    if variable.chunks is None:
        blocks = _small_blocks(sizes, variable.dtype.itemsize)
    else:
        lengths = dict(zip(sizes, (max(c) for c in variable.chunks), strict=True))
        blocks = {dim: _block_length(dim, n, sizes[dim]) for dim, n in lengths.items()}
        variable = variable.chunk(blocks)
    if not {model.FRAMES, model.Y, model.X} <= set(sizes):
        return variable, tuple(blocks.values()), None
    inner, outer = {}, {}
    for dim, length in blocks.items():
        if dim in (model.Y, model.X):
            inner[dim] = min(INNER_PIXELS, length)
            outer[dim] = math.ceil(length / inner[dim]) * inner[dim]
        else:
            inner[dim] = _divisor(length) if dim == model.FRAMES else 1
            outer[dim] = length
    return variable, tuple(inner.values()), tuple(outer.values())


def _block_length(dim: str, length: int, size: int) -> int:
    """Return a block length that has a divisor close to the inner chunk."""
    step = {model.FRAMES: INNER_FRAMES, model.Y: INNER_PIXELS, model.X: INNER_PIXELS}.get(dim, 1)
    if length >= size or length <= step:
        return min(length, size)
    return length // step * step


def _divisor(length: int) -> int:
    """Return the largest divisor of a block's frames up to the inner chunk."""
    if length <= INNER_FRAMES:
        return length
    found = next(n for n in range(INNER_FRAMES, 0, -1) if length % n == 0)
    return found


def _small_blocks(sizes: dict[str, int], itemsize: int) -> dict[str, int]:
    """Cut an array in memory along its first dimension into chunks of at most 16 MiB."""
    row = itemsize * math.prod(list(sizes.values())[1:])
    first = next(iter(sizes))
    return sizes | {first: max(1, min(sizes[first], SMALL_CHUNK_BYTES // max(row, 1)))}
