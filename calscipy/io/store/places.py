"""Where a store lies: a folder, or a zip file with the same names in it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from zarr.abc.store import Store
from zarr.storage import LocalStore

from calscipy.io.store.files import checksum, files_of, read_small
from calscipy.io.store.manifest import Manifest, read_manifest, unlisted_yet


class Place(Protocol):
    """What opening and verifying ask of a place. It pickles as a path."""

    @property
    def path(self) -> Path:
        """The folder or file."""

    def sizes(self) -> dict[str, int]:
        """Return the size of every file by its path in the store, as `files_of`."""

    def read(self, name: str) -> bytes:
        """Return the bytes of a small file."""

    def checksum(self, name: str) -> int:
        """Return the CRC-32C of a file."""

    def manifest(self) -> Manifest | None:
        """Return the manifest, or None where there is none."""

    def zarr(self) -> Store:
        """Return the place as zarr reads it."""


@dataclass(frozen=True)
class Folder:
    """A store in a folder."""

    path: Path

    def sizes(self) -> dict[str, int]:
        """Return the size of every file by its path in the store, as `files_of`."""
        hidden = unlisted_yet(self.path)
        return {name: size for name, size in files_of(self.path).items() if name not in hidden}

    def read(self, name: str) -> bytes:
        """Return the bytes of a small file."""
        return read_small(self.path / name)

    def checksum(self, name: str) -> int:
        """Return the CRC-32C of a file."""
        return checksum(self.path / name)

    def manifest(self) -> Manifest | None:
        """Return the manifest, or None where there is none."""
        return read_manifest(self.path)

    def zarr(self) -> Store:
        """Return the place as zarr reads it."""
        return LocalStore(self.path, read_only=True)
