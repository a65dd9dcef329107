"""Add groups to a store without touching those that are in it."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Sequence
from pathlib import Path

import xarray as xr

from calscipy.errors import TargetExistsError, first_few
from calscipy.io.output import flush_folder
from calscipy.io.store.files import METADATA, files_of, is_metadata, parse_json, write_whole
from calscipy.io.store.filling import fill, open_stage
from calscipy.io.store.finish import (
    describe,
    flush_folders,
    is_marked,
    lazy_sources,
    require_entries,
)
from calscipy.io.store.job import job_of
from calscipy.io.store.journal import Journal
from calscipy.io.store.layout import StoreChunks, plan_store
from calscipy.io.store.manifest import (
    MANIFEST,
    NEXT_MANIFEST,
    Manifest,
    MetadataEntry,
    encode,
    next_manifest,
    read_manifest,
)
from calscipy.io.store.opening import open_store
from calscipy.io.store.progress import Progress
from calscipy.io.store.sources import UnknownSourceError
from calscipy.io.store.stage import discard
from calscipy.io.store.tasks import StagedStore, writing


def is_own(target: Path, tree: xr.DataTree) -> bool:
    """Tell whether a tree lazily reads from the store at ``target``."""
    if not is_marked(target):
        return False
    try:
        stores = lazy_sources(tree).stores
    except UnknownSourceError:
        return False
    return target.resolve() in {path.resolve() for path in stores}


def append(
    tree: xr.DataTree,
    target: Path,
    *,
    groups: Sequence[str] | None,
    chunks: StoreChunks,
    resume: bool,
    progress: Progress,
) -> Path:
    """Add groups to the store that a tree was opened from.

    They are made beside the store. What makes them part of it is the replacement of one file, its
    ``zarr.json``: whenever the process ends, the store is the old one or the new one, and whole.

    Parameters
    ----------
    tree : DataTree
        The session's tree.
    target : Path
        The store.
    groups : sequence of str, optional
        Groups to add, none of which it has; by default those that it lacks, if all others are as
        they lie in the store.
    chunks, resume, progress
        As for `save_tree`.

    Raises
    ------
    TargetExistsError
        If it has one of the groups, or if there is nothing to add.
    """
    names = _new_groups(tree, target, groups)
    datasets = {name: tree[name].to_dataset() for name in names}
    plan = plan_store(datasets, {"appended_to": target.name}, chunks)
    job = job_of(plan)
    with open_stage(target, plan, job, resume=resume) as (stage, _):
        with writing():
            settle(target, stage)
        fill(stage, plan, job, target.name, progress)
        with writing():
            require_entries(stage, plan)
            describe(StagedStore(stage), plan)
            flush_folders(stage)
            commit(target, stage, names)
    return target


def _new_groups(tree: xr.DataTree, target: Path, groups: Sequence[str] | None) -> list[str]:
    stored = open_store(target)
    there = set(stored.children)
    wanted = [groups] if isinstance(groups, str) else list(groups or tree.children)
    if groups is None:
        changed = [
            n
            for n in wanted
            if n in there and not _same(tree[n].to_dataset(), stored[n].to_dataset())
        ]
        if changed:
            raise TargetExistsError(
                f"{target} exists already: this session was opened from it and may differ from it "
                f"in {first_few(changed)}. Groups of a store are never changed: choose another "
                "name, or name only groups that it lacks, groups=(...)."
            )
        wanted = [name for name in wanted if name not in there]
        if not wanted:
            raise TargetExistsError(
                f"{target} exists already and has all groups of this session. Choose another name."
            )
    taken = [name for name in wanted if name in there]
    if taken:
        raise TargetExistsError(
            f"{target} exists already and has {first_few(taken)}. Groups of a store are never "
            "changed: choose another name, or name only groups that it lacks."
        )
    return wanted


def _same(ours: xr.Dataset, theirs: xr.Dataset) -> bool:
    """Tell whether a group is as it was opened: the same variables, read from the store."""
    if set(ours.variables) != set(theirs.variables) or ours.attrs != theirs.attrs:
        return False
    for name, variable in ours.variables.items():
        other = theirs.variables[name]
        if variable.dims != other.dims or variable.attrs != other.attrs:
            return False
        lazy = variable.chunks is not None, other.chunks is not None
        if lazy == (True, True):
            same = variable.data.name == other.data.name
        else:
            same = not any(lazy) and variable.equals(other)
        if not same:
            return False
    return True


def commit(target: Path, stage: Path, names: Sequence[str]) -> None:
    """Make staged groups part of a store.

    Until its ``zarr.json`` is replaced, readers go by the old manifest and do not see what only the
    next one lists; from then on they go by the next one.
    """
    root = _joined_root(target, stage)
    old = read_manifest(target)
    if old is not None:
        added = [name for name in files_of(stage) if is_metadata(name) and name != METADATA]
        metadata = dict(old.metadata) | {METADATA: _described(root)}
        metadata |= {name: _described((stage / name).read_bytes()) for name in added}
        data = dict(old.data) | Journal(stage).entries()
        following = Manifest(dict(sorted(data.items())), dict(sorted(metadata.items())))
        write_whole(target / NEXT_MANIFEST, encode(following))
    for name in names:
        (stage / name).rename(target / name)
    flush_folder(target)
    write_whole(target / METADATA, root)
    if old is not None:
        os.replace(target / NEXT_MANIFEST, target / MANIFEST)
        flush_folder(target)
    discard(stage)


def settle(target: Path, stage: Path) -> None:
    """Finish or undo what an earlier commit of a killed process left.

    Groups that were moved into the store before it was the new one go back into their stage, or
    away if that is gone.
    """
    following = next_manifest(target)
    if following is None:
        return
    current = read_manifest(target)
    if current == following:
        os.replace(target / NEXT_MANIFEST, target / MANIFEST)
    else:
        assert current is not None
        known = {name.partition("/")[0] for name in current.metadata}
        moved = {name.partition("/")[0] for name in following.metadata} - known
        for name in moved:
            if (stage / name).exists() or not Journal(stage).ready:
                discard(target / name)
            elif (target / name).exists():
                (target / name).rename(stage / name)
        (target / NEXT_MANIFEST).unlink()
    flush_folder(target)


def _described(content: bytes) -> MetadataEntry:
    return MetadataEntry(len(content), hashlib.sha256(content).hexdigest())


def _joined_root(target: Path, stage: Path) -> bytes:
    """Return the ``zarr.json`` of a store once it has the groups of a stage."""
    root = parse_json((target / METADATA).read_bytes(), METADATA)
    added = parse_json((stage / METADATA).read_bytes(), METADATA)
    nested = root.setdefault("consolidated_metadata", {"kind": "inline", "must_understand": False})
    nodes = nested.get("metadata", {}) | added["consolidated_metadata"]["metadata"]
    nested["metadata"] = dict(sorted(nodes.items()))
    if "ome" in added["attributes"]:
        root["attributes"]["ome"] = added["attributes"]["ome"]
    return json.dumps(root, indent=2).encode()
