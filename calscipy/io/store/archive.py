"""Stores in one zip file: written from a finished folder, read where they lie."""

from __future__ import annotations

import asyncio
import os
import stat
import struct
import zipfile
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any, BinaryIO

import google_crc32c
from zarr.abc.store import ByteRequest, RangeByteRequest, Store, SuffixByteRequest
from zarr.storage import ZipStore

from calscipy.errors import StoreError
from calscipy.io.store.files import MANIFEST, MAX_JSON_BYTES, require_inside
from calscipy.io.store.manifest import Manifest, decode

SUFFIX = ".zip"
BLOCK = 4 * 2**20  # bytes read at once
_MAX_DIRECTORY_BYTES = 2**28
_END = struct.Struct("<4s4H2LH")  # of a zip: signature, disks, entries, size and place of the list
_END_64 = struct.Struct("<4sQ2H2L4Q")
_LOCATOR_64 = struct.Struct("<4sLQL")
_LOCAL_HEADER = struct.Struct("<4s22xHH")  # signature, lengths of the name and of the extra field


def is_archive(path: Path) -> bool:
    """Tell whether a path is that of a zip file, by its name."""
    return path.suffix.lower() == SUFFIX and path.is_file()


@dataclass(frozen=True)
class Archive:
    """A store in a zip file."""

    path: Path

    def sizes(self) -> dict[str, int]:
        """Return the size of every file by its path in the store, as `files_of`."""
        members = self.members.infos
        return {name: info.file_size for name, info in members.items() if name != MANIFEST}

    def read(self, name: str) -> bytes:
        """Return the bytes of a small file."""
        info = self.members.infos.get(name)
        if info is None:
            raise FileNotFoundError(2, "no such file in the zip", f"{self.path}/{name}")
        if info.file_size > MAX_JSON_BYTES:
            raise StoreError(f"{self.path}: {name}: more than the {MAX_JSON_BYTES} bytes accepted.")
        with open(self.path, "rb", buffering=0) as file:
            return self.members.read(file, name)

    def checksum(self, name: str) -> int:
        """Return the CRC-32C of a file."""
        crc = 0
        with open(self.path, "rb", buffering=0) as file:
            for block in self.members.blocks(file, name):
                crc = google_crc32c.extend(crc, block)
        return crc

    def manifest(self) -> Manifest | None:
        """Return the manifest, or None where there is none."""
        if MANIFEST not in self.members.infos:
            return None
        return decode(self.read(MANIFEST), f"{self.path}: {MANIFEST}")

    def zarr(self) -> Store:
        """Return the place as zarr reads it."""
        return _StoredZip(self.path, self.members)

    @property
    def members(self) -> Members:
        """The files in the zip, looked up once for every state of the file."""
        state = os.stat(self.path)
        return _members(os.fspath(self.path), state.st_mtime_ns, state.st_size)


@dataclass(frozen=True)
class Members:
    """The files in a zip by name, all of them stored as they are."""

    path: str
    size: int
    infos: dict[str, zipfile.ZipInfo]
    starts: dict[str, int] = field(default_factory=dict)

    def start(self, file: BinaryIO | Any, name: str) -> int:
        """Return where the bytes of a member begin: behind a header of its own."""
        if name not in self.starts:
            info = self.infos[name]
            file.seek(info.header_offset)
            head = file.read(_LOCAL_HEADER.size)
            if len(head) < _LOCAL_HEADER.size or head[:4] != b"PK\x03\x04":
                raise StoreError(f"{self.path}: {name}: no such file where the zip says.")
            _, name_length, extra_length = _LOCAL_HEADER.unpack(head)
            start = info.header_offset + _LOCAL_HEADER.size + name_length + extra_length
            if start + info.file_size > self.size:
                raise StoreError(f"{self.path}: {name}: the zip ends before the file does.")
            self.starts[name] = start
        return self.starts[name]

    def read(
        self, file: BinaryIO | Any, name: str, first: int = 0, last: int | None = None
    ) -> bytes:
        """Return the bytes of a member from ``first`` up to ``last``."""
        size = self.infos[name].file_size
        first = min(first, size)
        length = (size if last is None else min(last, size)) - first
        file.seek(self.start(file, name) + first)
        return file.read(max(length, 0))

    def blocks(self, file: BinaryIO | Any, name: str) -> Iterable[bytes]:
        """Go through the bytes of a member."""
        for first in range(0, self.infos[name].file_size, BLOCK):
            yield self.read(file, name, first, first + BLOCK)


@lru_cache(maxsize=16)
def _members(path: str, mtime_ns: int, size: int) -> Members:
    """List the files in a zip, after a look at each entry.

    Raises
    ------
    StoreError
        If it is none, or holds anything that calscipy does not write into one.
    """
    try:
        with open(path, "rb") as file:
            _require_small_directory(file, size)
            with zipfile.ZipFile(file) as archive:
                entries = archive.infolist()
        infos: dict[str, zipfile.ZipInfo] = {}
        for info in entries:
            if info.is_dir() and not info.file_size:
                continue
            _require_plain(info)
            if info.filename in infos:
                raise ValueError(f"{info.filename!r} is in it twice")
            infos[info.filename] = info
        if sum(info.file_size for info in infos.values()) > size:
            raise ValueError("its files lie over one another")
    except (ValueError, NotImplementedError, zipfile.BadZipFile, struct.error) as error:
        raise StoreError(
            f"{path}: not a zip file of a store ({error}). calscipy reads stores that were zipped "
            "without compression, such as those of to_zip; unpack it and open the folder."
        ) from error
    return Members(path, size, infos)


def _require_plain(info: zipfile.ZipInfo) -> None:
    require_inside(info.filename)
    if info.flag_bits & 0x1:
        raise ValueError(f"{info.filename!r} is encrypted")
    if info.compress_type != zipfile.ZIP_STORED or info.file_size != info.compress_size:
        raise ValueError(f"{info.filename!r} is compressed")
    if stat.S_ISLNK(info.external_attr >> 16):
        raise ValueError(f"{info.filename!r} is a link")


def _require_small_directory(file: BinaryIO, size: int) -> None:
    """Raise if the list of files would take much memory: Python's zipfile reads all of it."""
    file.seek(max(0, size - _END.size - 2**16))
    end = file.read()
    at = end.rfind(b"PK\x05\x06")
    if at < 0:
        raise ValueError("it does not end as a zip file does; part of it may be missing")
    length = _END.unpack_from(end, at)[5]
    if at >= _LOCATOR_64.size and end[at - _LOCATOR_64.size :].startswith(b"PK\x06\x07"):
        file.seek(_LOCATOR_64.unpack_from(end, at - _LOCATOR_64.size)[2])
        length = _END_64.unpack(file.read(_END_64.size))[8]
    if length > _MAX_DIRECTORY_BYTES:
        raise ValueError(f"a list of files of {length} bytes")


class _StoredZip(ZipStore):
    """A zip as zarr reads it; unlike its parent, several threads at once and parts of files."""

    def __init__(self, path: Path, members: Members) -> None:
        super().__init__(path, mode="r")
        self.members = members

    async def get(
        self, key: str, prototype: Any, byte_range: ByteRequest | None = None
    ) -> Any | None:
        return await asyncio.to_thread(self._part, key, prototype, byte_range)

    async def get_partial_values(self, prototype: Any, key_ranges: Iterable[Any]) -> list[Any]:
        return [await self.get(key, prototype, part) for key, part in key_ranges]

    async def exists(self, key: str) -> bool:
        return key in self.members.infos

    def _part(self, key: str, prototype: Any, part: ByteRequest | None) -> Any | None:
        info = self.members.infos.get(key)
        if info is None:
            return None
        if part is None:
            first, last = 0, None
        elif isinstance(part, RangeByteRequest):
            first, last = part.start, part.end
        elif isinstance(part, SuffixByteRequest):
            first, last = max(0, info.file_size - part.suffix), None
        else:
            first, last = part.offset, None
        with open(self.path, "rb", buffering=0) as file:
            return prototype.buffer.from_bytes(self.members.read(file, key, first, last))
