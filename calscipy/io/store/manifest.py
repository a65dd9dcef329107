"""The manifest of a store: every file in it, with its size and its checksum.

A missing chunk of a zarr array reads as its fill value, and a wrong number in ``zarr.json`` reads
as another array; only a list of what was written tells them from data.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal

from calscipy._version import __version__
from calscipy.errors import StoreError, first_few
from calscipy.io.store.files import (
    MANIFEST,
    MAX_JSON_BYTES,
    METADATA,
    NEXT_MANIFEST,
    checksum,
    files_of,
    is_metadata,
    parse_json,
    read_small,
    require_inside,
    write_whole,
)

FORMAT = 1
MANIFEST_SINCE = 2  # the store's schema from which on there is always a manifest
_HEX = {"crc32c": re.compile(r"[0-9a-f]{8}", re.A), "sha256": re.compile(r"[0-9a-f]{64}", re.A)}

Flaw = Literal["missing", "empty", "size", "extra", "link", "checksum", "metadata", "manifest"]


@dataclass(frozen=True)
class ShardEntry:
    """A data file: its size in bytes and the CRC-32C of its bytes."""

    size: int
    crc32c: int


@dataclass(frozen=True)
class MetadataEntry:
    """A ``zarr.json``: its size in bytes and the SHA-256 of its bytes, in hexadecimal."""

    size: int
    sha256: str


@dataclass(frozen=True)
class Manifest:
    """The files of a store by their path from its root, with ``/`` between the parts."""

    data: Mapping[str, ShardEntry]
    metadata: Mapping[str, MetadataEntry]

    @property
    def sizes(self) -> dict[str, int]:
        """Bytes of every file, the manifest itself left out."""
        metadata = {path: entry.size for path, entry in self.metadata.items()}
        return metadata | {path: entry.size for path, entry in self.data.items()}


@dataclass(frozen=True)
class BadFile:
    """A file that is not as it was written, and why."""

    path: str
    flaw: Flaw
    detail: str

    def __str__(self) -> str:
        return f"{self.path} ({self.detail})"


def shard_entry(path: str | os.PathLike[str]) -> ShardEntry:
    """Return what the manifest says of a data file that was just written."""
    return ShardEntry(os.stat(path).st_size, checksum(path))


# -- writing -------------------------------------------------------------------------------------


def write_manifest(root: str | os.PathLike[str], shards: Mapping[str, ShardEntry]) -> Manifest:
    """Write the manifest of a store, as its last file.

    Parameters
    ----------
    root : path
        The folder of the store, everything in it on the disk.
    shards : mapping of str to ShardEntry
        Every data file by its path from the root (``movie/movie/c/0/0/0``). Names of variables
        that cannot be in it are better refused before any work is done: `require_inside`.

    Returns
    -------
    Manifest
        With the SHA-256 of every ``zarr.json``, computed here.

    Raises
    ------
    StoreError
        If the folder holds other data files than these, or files of another size.
    """
    root = Path(root)
    found = files_of(root)
    metadata = {path: _metadata_entry(root, path) for path in found if is_metadata(path)}
    manifest = Manifest(dict(sorted(shards.items())), dict(sorted(metadata.items())))
    try:
        _validate(manifest)
    except ValueError as error:
        raise StoreError(
            f"{root}: {error}. Rename the variable: no dot at the start, no slash, "
            "backslash or colon."
        ) from error
    bad = compare_sizes(manifest, found)
    if bad:
        raise StoreError(
            f"{root}: {first_few(bad)}: not as they were when written. The store is left "
            "unfinished; save it again."
        )
    described = sum(entry.size for entry in metadata.values())
    if described > MAX_JSON_BYTES:
        raise StoreError(
            f"{root}: {described} bytes of attributes and other metadata are more than the "
            f"{MAX_JSON_BYTES} that are read. Move long lists from attributes into variables."
        )
    content = encode(manifest)
    if len(content) > MAX_JSON_BYTES:
        raise StoreError(
            f"{root}: a manifest of {len(manifest.data)} files is larger than the {MAX_JSON_BYTES} "
            "bytes that are read. Save in larger chunks."
        )
    write_whole(root / MANIFEST, content)
    return manifest


def _metadata_entry(root: Path, path: str) -> MetadataEntry:
    content = read_small(root / path)
    return MetadataEntry(len(content), hashlib.sha256(content).hexdigest())


def encode(manifest: Manifest) -> bytes:
    """Return the bytes of a manifest's file: the only ones that stand for it."""
    content = {
        "calscipy_manifest": FORMAT,
        "calscipy_version": __version__,
        "data": {
            path: {"size": entry.size, "crc32c": f"{entry.crc32c:08x}"}
            for path, entry in manifest.data.items()
        },
        "metadata": {
            path: {"size": entry.size, "sha256": entry.sha256}
            for path, entry in manifest.metadata.items()
        },
    }
    body = json.dumps(content, separators=(",", ":"), ensure_ascii=False).encode()
    return body[:-1] + _TAIL % hashlib.sha256(body).hexdigest().encode()


# -- reading -------------------------------------------------------------------------------------


def read_manifest(root: str | os.PathLike[str]) -> Manifest | None:
    """Read the manifest of a store, or return None where there is none.

    While groups are added there are two. The content of the store's own ``zarr.json``, whose
    replacement makes the groups part of it, tells which one holds.

    Raises
    ------
    StoreError
        If one is damaged, of a newer format, or names files that could not be in the store.
    """
    return _manifests(Path(root))[0]


def next_manifest(root: str | os.PathLike[str]) -> Manifest | None:
    """Read the manifest that is to come, or return None if no groups are being added."""
    return _read_file(Path(root) / NEXT_MANIFEST)


def unlisted_yet(root: str | os.PathLike[str]) -> set[str]:
    """Return the files of groups that are being added, or were when the process ended.

    They are not part of the store before its ``zarr.json`` is replaced.
    """
    current, other = _manifests(Path(root))
    if current is None or other is None:
        return set()
    return other.sizes.keys() - current.sizes.keys()


def _manifests(root: Path) -> tuple[Manifest | None, Manifest | None]:
    """Return the manifest that holds, and the other one if there are two."""
    present, following = _read_file(root / MANIFEST), next_manifest(root)
    if following is None or not (root / METADATA).is_file():
        return present, following
    if _metadata_entry(root, METADATA) == following.metadata[METADATA]:
        return following, present
    return present, following


def _read_file(path: Path) -> Manifest | None:
    try:
        content = read_small(path)
    except FileNotFoundError:
        return None
    return decode(content, str(path))


def decode(content: bytes, where: str) -> Manifest:
    """Make a manifest from the bytes of its file, every number and path checked.

    Parameters
    ----------
    content : bytes
        The file.
    where : str
        Its name, for messages.

    Raises
    ------
    StoreError
        If they are not exactly what `encode` writes.
    """
    loaded = parse_json(content, where)
    found = loaded.get("calscipy_manifest")
    if type(found) is int and found > FORMAT:
        raise StoreError(
            f"{where}: a manifest of format {found}, written by calscipy "
            f"{loaded.get('calscipy_version', '?')}; this calscipy {__version__} reads formats up "
            f"to {FORMAT}. Update calscipy."
        )
    body = content[: -len(_TAIL % bytes(64))] + b"}"
    try:
        if content != body[:-1] + _TAIL % hashlib.sha256(body).hexdigest().encode():
            raise ValueError("its own checksum is not that of its content")
        if type(found) is not int or found != FORMAT or set(loaded) != _KEYS:
            raise ValueError("it does not hold the entries of a manifest")
        data = {
            path: ShardEntry(size, int(text, 16))
            for path, (size, text) in _entries(loaded["data"], "crc32c")
        }
        metadata = {
            path: MetadataEntry(size, text)
            for path, (size, text) in _entries(loaded["metadata"], "sha256")
        }
        manifest = Manifest(MappingProxyType(data), MappingProxyType(metadata))
        _validate(manifest)
    except ValueError as error:
        raise StoreError(
            f"{where}: the manifest is damaged ({error}), so that nothing in the store can be "
            "verified. Restore it from a copy."
        ) from error
    return manifest


_TAIL = b',"sha256":"%s"}'  # at the end of the file: the checksum of all before it
_KEYS = {"calscipy_manifest", "calscipy_version", "data", "metadata", "sha256"}


def _entries(section: Any, name: str) -> Iterator[tuple[str, tuple[int, str]]]:
    if not isinstance(section, dict):
        raise ValueError("a list of files is no JSON object")
    for path, entry in section.items():
        if not isinstance(entry, dict) or set(entry) != {"size", name}:
            raise ValueError(f"the entry of {path[:80]!r} has not a size and a {name}")
        size, text = entry["size"], entry[name]
        if not isinstance(text, str) or not _HEX[name].fullmatch(text):
            raise ValueError(f"the {name} of {path[:80]!r} is none")
        yield path, (size, text)


def _validate(manifest: Manifest) -> None:
    for path, size in manifest.sizes.items():
        require_inside(path)
        if type(size) is not int or size < 0:
            raise ValueError(f"the size of {path!r} is none")
    misplaced = [path for path in manifest.data if is_metadata(path)]
    misplaced += [path for path in manifest.metadata if not is_metadata(path)]
    if misplaced or MANIFEST in manifest.data:
        raise ValueError("data and metadata are mixed up in it")
    if METADATA not in manifest.metadata:
        raise ValueError(f"the store's own {METADATA} is not in it")


# -- comparing -----------------------------------------------------------------------------------


def compare_sizes(manifest: Manifest, found: Mapping[str, int]) -> list[BadFile]:
    """Compare the files that a store has with those that it should have.

    Parameters
    ----------
    manifest : Manifest
        What was written.
    found : mapping of str to int
        Sizes of the files by path, as `files_of` returns them.

    Returns
    -------
    list of BadFile
        In the order of their paths, empty where all is well.

    Examples
    --------
    >>> manifest = Manifest({"m/c/0": ShardEntry(7, 0)}, {})
    >>> print(*compare_sizes(manifest, {"m/c/0": 5}))
    m/c/0 (5 bytes instead of 7)
    """
    wanted = manifest.sizes
    bad = [BadFile(path, "missing", "missing") for path in wanted.keys() - found.keys()]
    bad += [BadFile(path, "extra", "not of this store") for path in found.keys() - wanted.keys()]
    for path in wanted.keys() & found.keys():
        if found[path] != wanted[path]:
            detail = f"{found[path]} bytes instead of {wanted[path]}"
            bad.append(BadFile(path, "size" if found[path] else "empty", detail))
    return sorted(bad, key=lambda file: file.path)


def compare_metadata(entry: MetadataEntry, content: bytes, path: str) -> BadFile | None:
    """Tell whether the bytes of a ``zarr.json`` are those that were written."""
    if hashlib.sha256(content).hexdigest() == entry.sha256:
        return None
    return BadFile(path, "metadata", "edited or damaged after it was written")
