"""Open a store: only whole ones of ours, their arrays lazily."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import xarray as xr
import zarr

from calscipy import model
from calscipy._version import __version__
from calscipy.errors import StoreError, first_few
from calscipy.io.chunks import Chunks, chunk_movie


def is_store(path: Path) -> bool:
    """Tell whether a folder is a zarr 3 group."""
    return (path / "zarr.json").is_file()


def open_store(path: Path, *, chunks: Chunks = "frames") -> xr.DataTree:
    """Open a store, its arrays lazily in the blocks in which they were saved.

    ``chunks`` is for the movie: ``"frames"`` are its saved blocks.

    Raises
    ------
    StoreError
        If it is not one of ours, is incomplete, or was written by a newer schema.
    """
    try:
        group = zarr.open_group(path, mode="r", zarr_format=3)
        attrs = group.attrs.asdict()
        older = [name for name, node in group.members(None) if node.metadata.zarr_format != 3]
    except Exception as error:  # a damaged zarr.json raises many kinds
        raise StoreError(
            f"{path}: not a readable zarr 3 group ({error}). Restore the store from a copy."
        ) from error
    if older:
        raise StoreError(
            f"{path}: {first_few(older)} are zarr 2 arrays, which calscipy never writes and whose "
            "filters may run code. Restore the store from a copy."
        )
    schema = attrs.get(model.SCHEMA_ATTR)
    if not isinstance(schema, int):
        raise StoreError(
            f"{path}: a zarr group, but not a calscipy store (no {model.SCHEMA_ATTR!r}). "
            "Open it with xarray.open_datatree(path, engine='zarr') and wrap it: "
            "ImagingSession(tree)."
        )
    if schema > model.SCHEMA_VERSION:
        raise StoreError(
            f"{path}: written with schema {schema} by calscipy "
            f"{attrs.get('calscipy_version', '?')}; this calscipy {__version__} reads schemas up "
            f"to {model.SCHEMA_VERSION}. Update calscipy."
        )
    if attrs.get(model.COMPLETE_ATTR) is not True:
        raise StoreError(
            f"{path}: the store is not complete; its writing was interrupted. Save it again."
        )
    tree = xr.open_datatree(path, engine="zarr", chunks=None, decode_timedelta=False)
    found = {name: _opened(node.to_dataset(), chunks) for name, node in tree.children.items()}
    root = {k: v for k, v in tree.attrs.items() if k not in _OWN_ATTRS}
    return xr.DataTree.from_dict({"/": xr.Dataset(attrs=root)} | found)


_OWN_ATTRS = {model.COMPLETE_ATTR, "calscipy_version", "ome"}


def _opened(dataset: xr.Dataset, chunks: Chunks) -> xr.Dataset:
    chunked = {}
    by_blocks = chunks == "frames" or model.MOVIE not in dataset.data_vars
    for name, variable in dataset.variables.items():
        if name in dataset.coords or variable.dims == (model.PIXEL,):  # ROIs
            chunked[name] = _plain_strings(variable.load())
            continue
        if not by_blocks:
            chunked[name] = variable
            continue
        shards = variable.encoding.get("shards") or variable.encoding.get("chunks")
        sizes = dict(zip(variable.dims, shards or variable.shape, strict=True))
        chunked[name] = variable.chunk({d: min(n, variable.sizes[d]) for d, n in sizes.items()})
    attrs = {k: v for k, v in dataset.attrs.items() if k != "ome"}
    coords = {name: chunked.pop(name) for name in dataset.coords}
    opened = xr.Dataset(chunked, coords, attrs).drop_encoding()
    return opened if by_blocks else chunk_movie(opened, chunks)


def _plain_strings(variable: xr.Variable) -> xr.Variable:
    if variable.dtype.kind not in "TO":
        return variable
    texts = np.asarray(variable.values.tolist(), dtype=np.str_)
    return xr.Variable(variable.dims, texts, variable.attrs)
