"""The end of a save: what describes the store, its manifest, and its name."""

from __future__ import annotations

import errno
import json
import os
import secrets
import sys
import warnings
from pathlib import Path

import xarray as xr
import zarr
from zarr.abc.store import Store

from calscipy import model
from calscipy.errors import StoreError, TargetExistsError, first_few
from calscipy.io.ome import multiscales
from calscipy.io.output import flush_folder, require_free
from calscipy.io.store.files import MANIFEST, METADATA, files_of
from calscipy.io.store.journal import Journal
from calscipy.io.store.layout import Plan
from calscipy.io.store.manifest import ShardEntry, write_manifest
from calscipy.io.store.sources import Sources, UnknownSourceError, sources_of
from calscipy.io.store.stage import Lock, discard
from calscipy.io.store.tasks import StagedStore

OLD = ".old"  # ends the name of a store that is being replaced


def describe(store: Store, plan: Plan) -> None:
    """Add what OME-Zarr viewers need, the mark of a whole store, and all metadata in one file."""
    root = zarr.open_group(store, mode="r+", zarr_format=3)
    if model.MOVIE in plan.datasets and model.MOVIE in plan.datasets[model.MOVIE]:
        movie = plan.datasets[model.MOVIE][model.MOVIE]
        root[model.MOVIE].attrs["ome"] = multiscales(movie, model.MOVIE)
        root.attrs["ome"] = multiscales(movie, f"{model.MOVIE}/{model.MOVIE}")
    root.attrs[model.COMPLETE_ATTR] = True
    consolidate(store)


def consolidate(store: Store) -> None:
    """Repeat all metadata in the root's, where readers look first."""
    with warnings.catch_warnings():
        # This is not part of the specification of zarr 3 yet; nor is our journal part of zarr.
        warnings.simplefilter("ignore")
        zarr.consolidate_metadata(store, zarr_format=3)


def require_entries(stage: Path, plan: Plan) -> dict[str, ShardEntry]:
    """Return what the journal says of all data files, none of which may be missing.

    Raises
    ------
    StoreError
        If a shard is missing, or has another size than when it was written.
    """
    entries = Journal(stage).entries()
    missing = [key for key in plan.shards if key not in entries]
    if missing:
        raise StoreError(
            f"{stage}: {first_few(missing)}: not as written. Did another program change the "
            "folder? Save again, which writes them anew."
        )
    return entries


def seal(stage: Path, plan: Plan) -> None:
    """Turn a stage in which all data lie into a whole store, which lacks only its name.

    Raises
    ------
    StoreError
        If a file is not as it was written.
    """
    entries = require_entries(stage, plan)
    describe(StagedStore(stage), plan)
    write_manifest(stage, entries)
    flush_folders(stage)


def flush_folders(stage: Path) -> None:
    """Wait until all names in a stage are on the disk; what is in its files is already."""
    for folder, _, _ in os.walk(stage, topdown=False):
        flush_folder(Path(folder))


def give_name(stage: Path, target: Path, lock: Lock, *, replace: bool) -> None:
    """Rename a whole store to its name, and only then forget how it was made.

    Raises
    ------
    TargetExistsError
        If something came to this name in the meantime.
    """
    if sys.platform == "win32":
        lock.release()  # Windows renames no folder with an open file in it
    old = target.with_name(f".{target.name}.{secrets.token_hex(4)}{OLD}")
    if replace and target.exists():
        target.rename(old)
    else:
        require_free(target)
        old = stage
    try:
        stage.rename(target)
    except OSError as error:
        if old != stage:
            old.rename(target)
        if error.errno in (errno.EEXIST, errno.ENOTEMPTY, errno.ENOTDIR):
            raise TargetExistsError(
                f"{target}: another program wrote to this name meanwhile. What was to be saved is "
                f"whole in {stage}: move the other one away and save again."
            ) from error
        raise
    flush_folder(target.parent)
    tidy(target)
    if old != stage:
        discard(old)


def tidy(store: Path) -> None:
    """Remove from a store, which has its name, what it was made with."""
    Journal(store).remove()
    Lock.file_in(store).unlink(missing_ok=True)


def is_marked(target: Path) -> bool:
    """Tell whether there is a store that bears the mark of calscipy, whole or damaged."""
    try:
        attrs = json.loads((target / METADATA).read_bytes())["attributes"]
        return type(attrs[model.SCHEMA_ATTR]) is int and not target.is_symlink()
    except (OSError, ValueError, KeyError, TypeError):
        return False


def lazy_sources(tree: xr.DataTree) -> Sources:
    """Return what the arrays of a tree read when they are computed."""
    lazy = []
    for node in tree.subtree:
        for variable in node.to_dataset().variables.values():
            if variable.chunks is not None:
                lazy.append(variable.data)
            elif not variable._in_memory:
                lazy.append(variable._data)  # `data` would read it
    return sources_of(lazy)


def require_replaceable(target: Path, tree: xr.DataTree) -> None:
    """Raise unless there is a store of ours at ``target`` that nothing of worth is lost with.

    Raises
    ------
    TargetExistsError
        If it is not a store of ours, holds files that are not, or is what the tree reads.
    """
    if not is_marked(target):
        raise TargetExistsError(
            f"{target} exists already and is no calscipy store. overwrite=True replaces only "
            "these: choose another name, or move it away first."
        )
    foreign = [name for name in files_of(target) if not _is_ours(name)]
    if foreign:
        raise TargetExistsError(
            f"{target} holds files that are not of the store ({first_few(foreign)}) and would be "
            "lost. Move them away first, or choose another name."
        )
    try:
        sources = lazy_sources(tree)
    except UnknownSourceError as error:
        raise TargetExistsError(
            f"{target} may be what this session reads from ({error}), and would be replaced. Save "
            "to another name."
        ) from None
    place = target.resolve()
    for path in (*sources.stores, *sources.paths):
        if place == path.resolve() or place in path.resolve().parents:
            raise TargetExistsError(
                f"{target} is what this session lazily reads from; replacing it would destroy the "
                "data. Save to another name."
            )


def _is_ours(name: str) -> bool:
    parts = name.split("/")
    return name == MANIFEST or parts[-1] == METADATA or (len(parts) >= 3 and parts[2] == "c")
