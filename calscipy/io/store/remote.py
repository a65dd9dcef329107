"""Save to object stores (``s3://`` ...) and to any zarr Store, where nothing can be renamed.

Data come first, then metadata, then the manifest, and last the root's ``zarr.json``, which alone
says that the store is complete: until then readers refuse it. There is no journal, and an
interrupted save starts again in an empty place.
"""

from __future__ import annotations

import hashlib
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import google_crc32c
import numpy as np
import zarr
from zarr.abc.store import Store
from zarr.core.buffer import Buffer, default_buffer_prototype
from zarr.core.sync import sync
from zarr.storage import WrapperStore

from calscipy.errors import TargetExistsError
from calscipy.io.store.files import MANIFEST, METADATA, files_of, is_metadata
from calscipy.io.store.filling import begin
from calscipy.io.store.finish import describe
from calscipy.io.store.graph import run_graph, write_graph
from calscipy.io.store.job import Job
from calscipy.io.store.journal import Journal
from calscipy.io.store.layout import Plan
from calscipy.io.store.manifest import Manifest, MetadataEntry, ShardEntry, encode
from calscipy.io.store.progress import Progress, shard_progress
from calscipy.io.store.remote_place import Remote, store_at
from calscipy.io.store.tasks import StagedStore


def save_remote(plan: Plan, job: Job, target: Remote, progress: Progress) -> Remote:
    """Save to a URL or a zarr Store that holds nothing yet.

    Parameters
    ----------
    plan : Plan
        What the store is going to hold.
    job : Job
        Identity of the save.
    target : str or Store
        Where; shards are written by the tasks themselves, so that on a cluster it must be a URL,
        or a Store that pickles as its address.
    progress : bool, callable or None
        As for `save_tree`.

    Returns
    -------
    str or Store
        ``target``.

    Raises
    ------
    TargetExistsError
        If there is anything.
    """
    store = store_at(target)
    if not sync(store.is_empty("")):
        raise TargetExistsError(
            f"{target} holds something already: a store, or what an interrupted save left. Choose "
            "another name, or remove it first."
        )
    with tempfile.TemporaryDirectory() as name:
        local = Path(name)
        begin(local, plan, job)  # metadata and small variables
        describe(StagedStore(local), plan)
        contents = {key: (local / key).read_bytes() for key in files_of(local)}
        entries = Journal(local).entries()
    for key in sorted(contents.keys() - {METADATA}):
        _put(store, key, contents[key])
    graph, todo = write_graph(plan.arrays, "", write=WriteRemote(target))
    with shard_progress(f"saving {target}", todo, 0, progress):
        for written in run_graph(graph, todo):
            entries |= written
    metadata = {
        key: MetadataEntry(len(content), hashlib.sha256(content).hexdigest())
        for key, content in sorted(contents.items())
        if is_metadata(key)
    }
    _put(store, MANIFEST, encode(Manifest(dict(sorted(entries.items())), metadata)))
    _put(store, METADATA, contents[METADATA])
    return target


def _put(store: Store, key: str, content: bytes) -> None:
    sync(store.set(key, default_buffer_prototype().buffer.from_bytes(content)))


class _Noting(WrapperStore):
    """Notes size and checksum of what is written through it."""

    def __init__(self, store: Store) -> None:
        super().__init__(store)
        self.entries: dict[str, ShardEntry] = {}

    async def set(self, key: str, value: Buffer) -> None:
        """Write a file."""
        data = np.frombuffer(np.ascontiguousarray(value.as_numpy_array()), np.uint8)
        await super().set(key, value)
        self.entries[key] = ShardEntry(data.size, google_crc32c.value(data))


@dataclass(frozen=True)
class WriteRemote:
    """The task of one shard."""

    target: Remote

    def __call__(
        self, block: Any, stage: str, array: str, start: tuple[int, ...]
    ) -> dict[str, ShardEntry]:
        """Write a block and return what the manifest says of its shard; ``stage`` is not used."""
        store = _Noting(store_at(self.target))
        opened = zarr.open_array(store, path=array, mode="r+", zarr_format=3)
        opened = opened.with_config({"write_empty_chunks": True})
        region = tuple(slice(a, a + n) for a, n in zip(start, block.shape, strict=True))
        opened[region] = np.asarray(block).astype(opened.dtype, casting="safe", copy=False)
        return store.entries
