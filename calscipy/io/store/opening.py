"""Open a store: only whole ones of ours, their arrays lazily."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from typing import Literal

import numpy as np
import xarray as xr
from dask.base import tokenize

from calscipy import model
from calscipy.errors import ArgumentError, StoreError, first_few
from calscipy.io.chunks import Chunks, chunk_movie
from calscipy.io.store.contents import Contents, is_store, place_of, read_contents, wrong_files
from calscipy.io.store.files import METADATA
from calscipy.io.store.places import Place
from calscipy.io.store.reading import read_group
from calscipy.io.store.remote_place import Remote
from calscipy.io.store.verify import wrong_checksums
from calscipy.options import get_option

__all__ = ["Verify", "is_store", "open_store"]

Verify = Literal["sizes", "full"] | None


def open_store(
    path: str | os.PathLike[str] | Remote,
    *,
    chunks: Chunks = "frames",
    verify: Verify = "sizes",
) -> xr.DataTree:
    """Open a store, its arrays lazily in the blocks in which they were saved.

    Parameters
    ----------
    path : path
        The store: a folder, a zip file, a URL or a zarr Store.
    chunks : {"frames", "time"}, mapping or None
        For the movie: ``"frames"`` are its saved blocks.
    verify : {"sizes", "full"} or None
        ``"sizes"`` compares names and sizes of all files with the manifest, and the content of
        the metadata; ``"full"`` also reads every file and compares its checksum. None opens what
        is there: lost chunks read as zeros.

    Raises
    ------
    StoreError
        If it is not one of ours, is incomplete or damaged, or was written by a newer schema.
    """
    if verify not in ("sizes", "full", None):
        raise ArgumentError(f"verify must be 'sizes', 'full' or None, got {verify!r}")
    contents = read_contents(place_of(path))
    if verify is not None:
        require_whole(contents, full=verify == "full")
    tokens = _tokens(contents)
    lines = {path: claim.nbytes for path, claim in contents.arrays.items() if len(claim.shape) == 1}
    _require_memory(lines, contents.place)  # xarray reads those that are indexes as it opens
    found: dict[str, xr.Dataset] = {}
    for group in contents.groups:
        claims = {
            p.partition("/")[2]: c for p, c in contents.arrays.items() if p.startswith(f"{group}/")
        }
        try:
            dataset = read_group(
                contents.place, group, claims, {n: tokens[f"{group}/{n}"] for n in claims},
                cache=chunks is None,
            )  # fmt: skip
        except StoreError:
            raise
        except Exception as error:  # attributes that do not fit raise many kinds
            raise StoreError(
                f"{path}: the group {group!r} cannot be read ({error}). Restore the store from a "
                "copy."
            ) from error
        found[group] = _opened(dataset, group, contents, tokens, chunks)
    root = {k: v for k, v in contents.attrs.items() if k not in _OWN_ATTRS}
    return xr.DataTree.from_dict({"/": xr.Dataset(attrs=root)} | found)


_OWN_ATTRS = {model.COMPLETE_ATTR, "calscipy_version", "ome"}


def require_whole(contents: Contents, *, full: bool = False) -> None:
    """Raise unless all files are those that were written.

    Parameters
    ----------
    contents : Contents
        The store.
    full : bool
        Read every file and compare its checksum.

    Raises
    ------
    StoreError
        Naming the first few that are not, or that there are no checksums to compare.
    """
    bad = wrong_files(contents)
    if full and contents.manifest is None:
        raise StoreError(
            f"{contents.place.path}: saved before calscipy kept checksums; it cannot be verified. "
            "Open it without verify='full', and save it again to have them."
        )
    if contents.manifest is not None and not bad:
        bad = wrong_checksums(contents, None if full else _unchecked(contents))
    if bad:
        raise StoreError(
            f"{contents.place.path}: {first_few(bad)}: the store is damaged, and what is lost "
            "would read as zeros. Restore these files from a copy, or save the session again. "
            "verify=None opens what is left."
        )


def _tokens(contents: Contents) -> dict[str, str]:
    """Return an identity of every array: of its content, where the manifest tells it."""
    place, manifest = contents.place, contents.manifest
    hashes = {
        path: hashlib.sha256(contents.metadata[f"{path}/{METADATA}"]) for path in contents.arrays
    }
    if manifest is None:
        stat = os.stat(place.path)
        state = f"{place.path} {stat.st_mtime_ns} {stat.st_size} {sorted(contents.sizes.items())}"
        for found in hashes.values():
            found.update(state.encode())
    else:
        for name, entry in manifest.data.items():
            path = "/".join(name.split("/")[:2])
            if path in hashes:
                hashes[path].update(f"{name} {entry.size} {entry.crc32c}".encode())
    return {path: f"{path}-{found.hexdigest()}" for path, found in hashes.items()}


def _unchecked(contents: Contents) -> list[str]:
    """Return the files whose chunks carry no checksum that zarr compares: those of texts."""
    arrays = contents.arrays.values()
    return [file for claim in arrays if not claim.checked for file in claim.files()]


def _require_memory(needed: Mapping[str, int], place: Place) -> None:
    """Raise if what is not lazy, coordinates and ROIs, would take all memory."""
    limit = get_option("memory_limit")
    if sum(needed.values()) > limit:
        largest = max(needed, key=lambda path: needed[path])
        raise StoreError(
            f"{place.path}: coordinates of {sum(needed.values())} bytes, of {largest} "
            f"{needed[largest]}, are more than memory_limit={limit}. If you trust the store, raise "
            "it with calscipy.set_options(memory_limit=...)."
        )


def _opened(
    dataset: xr.Dataset, group: str, contents: Contents, tokens: Mapping[str, str], chunks: Chunks
) -> xr.Dataset:
    by_blocks = chunks == "frames" or model.MOVIE not in dataset.data_vars
    at_once = {
        name: variable
        for name, variable in dataset.variables.items()
        if name in dataset.coords or variable.dims == (model.PIXEL,)  # ROIs
    }
    needed = {f"{group}/{name}": variable.nbytes for name, variable in at_once.items()}
    _require_memory(needed, contents.place)
    ready = {name: _plain_strings(variable.load()) for name, variable in at_once.items()}
    for name, variable in dataset.variables.items():
        path = f"{group}/{name}"
        if name not in ready:
            shards = contents.arrays[path].shards
            ready[name] = _in_blocks(variable, shards, tokens[path]) if by_blocks else variable
    attrs = {k: v for k, v in dataset.attrs.items() if k != "ome"}
    coords = {name: ready.pop(name) for name in dataset.coords}
    opened = xr.Dataset(ready, coords, attrs).drop_encoding()
    return opened if by_blocks else chunk_movie(opened, chunks)


def _in_blocks(variable: xr.Variable, shards: tuple[int, ...], token: str) -> xr.Variable:
    """Make a variable lazy in the blocks in which it was saved, under a name for its content."""
    blocks = {d: min(n, variable.sizes[d]) for d, n in zip(variable.dims, shards, strict=True)}
    # By itself dask would pickle the array for its name, with the path of the store in it.
    name = f"stored-{tokenize(token, blocks, variable.dtype)}"
    return variable.chunk(blocks, name=name)


def _plain_strings(variable: xr.Variable) -> xr.Variable:
    if variable.dtype.kind not in "TO":
        return variable
    texts = np.asarray(variable.values.tolist(), dtype=np.str_)
    return xr.Variable(variable.dims, texts, variable.attrs)
