"""Stores on object stores and in any zarr Store, as places that are read."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import TypeGuard

import google_crc32c
from zarr.abc.store import Store
from zarr.core.buffer import default_buffer_prototype
from zarr.core.sync import sync

from calscipy.errors import StoreError
from calscipy.io.store.files import MANIFEST, MAX_JSON_BYTES, require_inside
from calscipy.io.store.manifest import Manifest, decode

_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+://")
Remote = str | Store


def is_remote(path: object) -> TypeGuard[Remote]:
    """Tell whether this is a URL or a zarr Store, and not the path of a folder.

    Examples
    --------
    >>> is_remote("s3://bucket/m12.zarr"), is_remote("m12.zarr")
    (True, False)
    """
    return isinstance(path, Store) or (isinstance(path, str) and bool(_URL.match(path)))


def store_at(path: Remote) -> Store:
    """Return the zarr Store of a URL, through fsspec, or the Store itself.

    Raises
    ------
    StoreError
        If fsspec, or what it needs for this kind of URL, is not installed.
    """
    if isinstance(path, Store):
        return path
    try:
        from zarr.storage import FsspecStore

        return FsspecStore.from_url(path)
    except (ImportError, ValueError) as error:
        raise StoreError(
            f"{path}: it cannot be reached ({error}). Install fsspec and its package for such "
            "URLs, for instance s3fs, or hand over a zarr Store."
        ) from error


@dataclass(frozen=True)
class RemotePlace:
    """A store at a URL or in a zarr Store. It pickles as that."""

    target: Remote

    @property
    def path(self) -> Path:
        """The URL, for messages."""
        return Path(str(self.target))

    def sizes(self) -> dict[str, int]:
        """Return the size of every file by its path in the store, as `files_of`."""
        store = store_at(self.target)

        async def collect() -> dict[str, int]:
            found = {}
            async for key in store.list():
                if key != MANIFEST and not any(part.startswith(".") for part in key.split("/")):
                    require_inside(key)
                    found[key] = await store.getsize(key)
            return found

        return sync(collect())

    def read(self, name: str) -> bytes:
        """Return the bytes of a small file."""
        content = self._get(name)
        if content is None:
            raise FileNotFoundError(f"{self.path}: no {name}")
        if len(content) > MAX_JSON_BYTES:
            raise StoreError(f"{self.path}: {name} has more than {MAX_JSON_BYTES} bytes.")
        return content

    def checksum(self, name: str) -> int:
        """Return the CRC-32C of a file."""
        content = self._get(name)
        if content is None:
            raise FileNotFoundError(f"{self.path}: no {name}")
        return google_crc32c.value(content)

    def manifest(self) -> Manifest | None:
        """Return the manifest, or None where there is none."""
        content = self._get(MANIFEST)
        return None if content is None else decode(content, f"{self.path}: {MANIFEST}")

    def zarr(self) -> Store:
        """Return the place as zarr reads it."""
        return store_at(self.target)

    def _get(self, name: str) -> bytes | None:
        found = sync(store_at(self.target).get(name, prototype=default_buffer_prototype()))
        return None if found is None else found.to_bytes()
