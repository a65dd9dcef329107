"""The files of a store, none of which is trusted: their names, sizes, checksums and JSON."""

from __future__ import annotations

import json
import os
import re
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import google_crc32c

from calscipy.errors import StoreError
from calscipy.io.output import PARTIAL, flush_folder

MANIFEST = "manifest.json"  # at the store's root
NEXT_MANIFEST = f".next.{MANIFEST}"  # beside it while groups are added
METADATA = "zarr.json"  # of the store, of every group and of every array
MAX_JSON_BYTES = 64 * 2**20  # of one file: a manifest of 700 000 shards
_BLOCK = 4 * 2**20  # bytes read at once for a checksum
_LONGEST_PATH, _DEEPEST_PATH = 1024, 32
_PART = r"(?!\.)[^\\/:\x00-\x1f\x7f]+"  # of a path: a name that every system takes, not hidden
_INSIDE = re.compile(f"{_PART}(?:/{_PART})*").fullmatch
# What systems leave behind in folders that people look into; names with a dot are ours or theirs.
_NOT_OURS = ("Thumbs.db", "desktop.ini")


def files_of(root: str | os.PathLike[str]) -> dict[str, int]:
    """Return the size of every file in a store, by its path from the root.

    One walk that asks for names and sizes alone. The manifest itself and names that begin with a
    dot (journals, locks, what file managers leave) are left out: zarr reads none of them.

    Raises
    ------
    StoreError
        If there is a link or a device among them: it could lead out of the store.
    """
    return dict(_walk(os.fspath(root), "", 0))


def _walk(folder: str, prefix: str, depth: int) -> Iterator[tuple[str, int]]:
    if depth > _DEEPEST_PATH:
        raise StoreError(f"{folder}: folders in folders too deep for a store.")
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.name.startswith(".") or entry.name in _NOT_OURS:
                continue
            path = prefix + entry.name
            if entry.is_symlink() or _is_junction(entry):
                raise StoreError(
                    f"{entry.path}: a link inside a store, which calscipy never writes and "
                    "never follows. Replace it by the file itself, if you trust it."
                )
            if entry.is_dir(follow_symlinks=False):
                yield from _walk(entry.path, path + "/", depth + 1)
            elif not entry.is_file(follow_symlinks=False):
                raise StoreError(f"{entry.path}: neither a file nor a folder. Remove it.")
            elif path != MANIFEST:
                yield path, entry.stat(follow_symlinks=False).st_size


def _is_junction(entry: os.DirEntry[str]) -> bool:
    """Tell whether an entry is a junction of Windows, a link between folders (Python 3.12)."""
    test = getattr(entry, "is_junction", None)
    return bool(test is not None and test())


def is_metadata(path: str) -> bool:
    """Tell whether a path in a store is that of a ``zarr.json``."""
    return path == METADATA or path.endswith(f"/{METADATA}")


def require_inside(path: str) -> None:
    """Raise unless a path can only be that of a file inside the store, on every system.

    Raises
    ------
    ValueError
        For absolute paths, drives, ``..``, backslashes, hidden names and control characters.

    Examples
    --------
    >>> require_inside("movie/movie/c/0/0/0")
    >>> require_inside("../thesis.txt")
    Traceback (most recent call last):
    ...
    ValueError: '../thesis.txt' is not the path of a file in a store
    """
    if not (len(path) <= _LONGEST_PATH and path.count("/") < _DEEPEST_PATH and _INSIDE(path)):
        raise ValueError(f"{path[:80]!r} is not the path of a file in a store")


def read_small(path: str | os.PathLike[str]) -> bytes:
    """Return the bytes of a JSON file of a store.

    Raises
    ------
    StoreError
        If it is a link or too large.
    """
    path = Path(path)
    if path.is_symlink():
        raise StoreError(
            f"{path}: a link inside a store, which calscipy never writes and never follows."
        )
    with path.open("rb") as file:
        size = os.fstat(file.fileno()).st_size
        if size > MAX_JSON_BYTES:
            raise StoreError(f"{path}: more than the {MAX_JSON_BYTES} bytes that it may have.")
        return file.read(size)  # a larger number would take as much memory


def checksum(path: str | os.PathLike[str]) -> int:
    """Return the CRC-32C of a file.

    Examples
    --------
    >>> _ = Path("numbers.txt").write_bytes(b"123456789")
    >>> hex(checksum("numbers.txt"))
    '0xe3069283'
    """
    crc = 0
    with open(path, "rb", buffering=0) as file:
        while block := file.read(_BLOCK):
            crc = google_crc32c.extend(crc, block)
    return crc


def write_whole(path: Path, content: bytes) -> None:
    """Write a small file so that its name shows the old content or the new, never a part."""
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}{PARTIAL}")
    try:
        with open(temporary, "xb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
    flush_folder(path.parent)


def parse_json(content: bytes, where: str) -> dict[str, Any]:
    """Parse an untrusted JSON file that holds an object.

    Raises
    ------
    StoreError
        If it is too large, no JSON, or names one thing twice.
    """
    if len(content) > MAX_JSON_BYTES:
        raise StoreError(
            f"{where}: more than the {MAX_JSON_BYTES} bytes that such a file may have."
        )
    try:
        loaded = json.loads(content, object_pairs_hook=_unique)
        if not isinstance(loaded, dict):
            raise ValueError("it is no JSON object")
    except (ValueError, RecursionError) as error:
        raise StoreError(f"{where}: damaged ({error}). Restore the store from a copy.") from error
    return loaded


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a name stands in it twice")
    return found
