"""What of a store is on the disk already: one small file for each data file, written after it.

There is no file that several processes add to, so that any worker may write. An entry is not
flushed to the disk: one that a power failure leaves torn or empty counts as none, and its shard is
computed again.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import secrets
import shutil
from pathlib import Path
from typing import Any

import google_crc32c
import numpy as np

from calscipy.io.store.files import is_metadata, write_whole
from calscipy.io.store.manifest import ShardEntry

JOURNAL = ".journal"  # in the stage; zarr and the manifest do not see names with a dot
_ENTRIES, _TEMPORARY = "entries", "temporary"
_JOB, _READY = "job.json", "ready"


class Journal:
    """The journal of a stage. It holds a path only, so that it pickles to other processes."""

    def __init__(self, stage: Path) -> None:
        self.stage = stage
        self.folder = stage / JOURNAL

    def begin(self, facts: dict[str, Any]) -> None:
        """Make an empty journal that says what the job is."""
        (self.folder / _ENTRIES).mkdir(parents=True, exist_ok=True)
        (self.folder / _TEMPORARY).mkdir(exist_ok=True)
        write_whole(self.folder / _JOB, json.dumps(facts, indent=1).encode())

    def facts(self) -> dict[str, Any]:
        """Return what the job is, empty if that is not known."""
        try:
            found = json.loads((self.folder / _JOB).read_bytes())
        except (OSError, ValueError):
            return {}
        return found if isinstance(found, dict) else {}

    def set_ready(self) -> None:
        """Note that metadata and small variables are written: only shards are missing."""
        write_whole(self.folder / _READY, b"")

    @property
    def ready(self) -> bool:
        """Whether metadata and small variables are written."""
        return (self.folder / _READY).is_file()

    def add(self, key: str, entry: ShardEntry) -> None:
        """Note that a data file is whole and on the disk."""
        content = {"key": key, "size": entry.size, "crc32c": entry.crc32c}
        temporary = self._temporary()
        temporary.write_text(json.dumps(content), encoding="utf-8")
        os.replace(temporary, self.folder / _ENTRIES / _entry_name(key))

    def entries(self) -> dict[str, ShardEntry]:
        """Return all data files that were noted and have their size, by key."""
        found = {}
        for file in (self.folder / _ENTRIES).iterdir():
            try:
                content = json.loads(file.read_bytes())
                key, size, crc32c = (content[name] for name in ("key", "size", "crc32c"))
                if file.name != _entry_name(key) or type(size) is not int:
                    continue
                if (self.stage / key).stat().st_size == size:
                    found[key] = ShardEntry(size, crc32c)
            except (OSError, ValueError, KeyError, TypeError):
                continue
        return found

    def write(self, key: str, *parts: Any) -> None:
        """Write one file of the store for good: seen whole or not at all, then noted.

        ``parts`` are anything that has bytes one after the other, such as arrays.
        A task may be retried and run beside its ghost: each has a temporary file of its own, and
        what they rename to the key is the same.
        """
        temporary = self._temporary()
        size = crc32c = 0
        try:
            with open(temporary, "xb", buffering=0) as file:
                for part in parts:
                    data = np.frombuffer(part, np.uint8)
                    written = 0
                    while written < data.size:
                        written += file.write(data.data[written:])
                    size += data.size
                    crc32c = google_crc32c.extend(crc32c, data)
                os.fsync(file.fileno())
            self._make_folders(key)
            os.replace(temporary, self.stage / key)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise
        if not is_metadata(key):
            self.add(key, ShardEntry(size, crc32c))

    def clear_temporary(self) -> None:
        """Remove what interrupted tasks left half-written."""
        for file in (self.folder / _TEMPORARY).iterdir():
            file.unlink(missing_ok=True)

    def remove(self) -> None:
        """Remove the journal: the store has its name."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def _temporary(self) -> Path:
        # In the journal, not beside the file: what a ghost leaves is removed with the journal.
        return self.folder / _TEMPORARY / secrets.token_hex(8)

    def _make_folders(self, key: str) -> None:
        """Make the folders of a file below the stage, but never the stage, once it is renamed."""
        folder = self.stage
        for part in key.split("/")[:-1]:
            folder = folder / part
            try:
                folder.mkdir()
            except FileExistsError:
                if not folder.is_dir():
                    raise NotADirectoryError(errno.ENOTDIR, "not a folder", str(folder)) from None


def _entry_name(key: str) -> str:
    # Keys are deeper and longer than names of files may be.
    return hashlib.sha256(key.encode()).hexdigest()[:40] + ".json"
