"""The images of a PrairieView recording, read lazily from one file per frame.

A frame of PrairieView 5.3 to 5.6 is one contiguous run of little-endian uint16 behind an 8-byte
header, followed by a directory at a known place. One positional read takes header, pixels (straight
into their destination) and directory; whatever does not look exactly like that goes to tifffile.
"""

from __future__ import annotations

import functools
import io
import logging
import os
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
from xarray.backends import BackendArray
from xarray.core import indexing

from calscipy.errors import FrameError

FILL_VALUE = 0
PIXELS_OFFSET = 8
_ROWS_PER_STRIP = 8
_SCRATCH_BYTES = 348  # software, date, resolutions and MetaMorph tables before the directory
_TAGS = 19
_SHORT, _LONG = 3, 4


class _NotPlain(Exception):
    """The bytes are not those of a plain one-page frame."""


@dataclass(frozen=True)
class FrameLayout:
    """Where everything lies in a plain one-page frame of one shape."""

    height: int
    width: int

    @functools.cached_property
    def pixel_bytes(self) -> int:
        """Bytes of the pixels."""
        return 2 * self.height * self.width

    @functools.cached_property
    def tail_bytes(self) -> int:
        """Bytes from the end of the pixels to the end of the directory."""
        directory = 2 + 12 * _TAGS + 4
        return self.padding + 8 * self.strips + _SCRATCH_BYTES + directory

    @property
    def padding(self) -> int:
        """Bytes that bring the strip tables to a multiple of four."""
        return -(PIXELS_OFFSET + self.pixel_bytes) % 4

    @property
    def strips(self) -> int:
        """Strips of eight rows."""
        return -(-self.height // _ROWS_PER_STRIP)

    @property
    def file_bytes(self) -> int:
        """Bytes of the smallest complete file."""
        return PIXELS_OFFSET + self.pixel_bytes + self.tail_bytes

    @functools.cached_property
    def header(self) -> bytes:
        """The first eight bytes."""
        return b"II*\0" + struct.pack("<I", self.file_bytes - (2 + 12 * _TAGS + 4))

    @functools.cached_property
    def _expected(self) -> tuple[tuple[int, bytes], ...]:
        """Bytes that must stand in the tail, with their offsets: strips, shape, type."""
        strip = 2 * _ROWS_PER_STRIP * self.width
        offsets = np.arange(self.strips, dtype="<u4") * strip + PIXELS_OFFSET
        counts = np.full(self.strips, strip, "<u4")
        counts[-1] = self.pixel_bytes - strip * (self.strips - 1)
        tables = self.padding
        table_at = PIXELS_OFFSET + self.pixel_bytes + self.padding
        inline = self.strips == 1
        directory = self.padding + 8 * self.strips + _SCRATCH_BYTES
        fields = {
            0: struct.pack("<HHII", 254, _LONG, 1, 0),
            1: struct.pack("<HHII", 256, _LONG, 1, self.width),
            2: struct.pack("<HHII", 257, _LONG, 1, self.height),
            3: struct.pack("<HHII", 258, _SHORT, 1, 16),
            4: struct.pack("<HHII", 259, _SHORT, 1, 1),
            7: struct.pack("<HHII", 273, _LONG, self.strips, PIXELS_OFFSET if inline else table_at),
            9: struct.pack(
                "<HHII",
                279,
                _LONG,
                self.strips,
                self.pixel_bytes if inline else table_at + 4 * self.strips,
            ),
        }
        expected = [(directory, struct.pack("<H", _TAGS))]
        expected += [(directory + 2 + 12 * at, entry) for at, entry in fields.items()]
        if not inline:
            expected.append((tables, offsets.tobytes() + counts.tobytes()))
        return tuple(expected)

    def matches(self, header: bytes, tail: bytes) -> bool:
        """Tell whether header and tail are those of a plain frame of this shape."""
        return header == self.header and all(
            tail[at : at + len(wanted)] == wanted for at, wanted in self._expected
        )


class FrameArray(BackendArray):
    """Frames on disk as a lazy array ``(frames [, channel] [, plane], y, x)``.

    Holds paths and numbers only, so that it pickles to other processes.

    Parameters
    ----------
    folder : Path
        Where the files lie.
    names : ndarray of bytes, shape (frames [, channel] [, plane])
        File names in UTF-8; empty where the recording lists none.
    pages : ndarray of int or None
        Zero-based page of each image in its file; None if every file has one page.
    valid : ndarray of bool
        False for images that are missing or damaged: they read as the fill value.
    shape : tuple of int
        Height and width.
    token : str
        Identity of the recording, for dask.
    """

    def __init__(
        self,
        folder: Path,
        names: np.ndarray,
        pages: np.ndarray | None,
        valid: np.ndarray,
        shape: tuple[int, int],
        token: str,
    ) -> None:
        self.folder = os.fspath(folder)
        self.names = names
        self.pages = pages
        self.valid = valid
        self.layout = FrameLayout(*shape)
        self.shape = (*names.shape, *shape)
        self.dtype = np.dtype("<u2").newbyteorder("=")
        self.token = token
        self._checked = np.zeros(names.shape, dtype=bool)

    def __dask_tokenize__(self) -> str:
        return self.token

    def __getitem__(self, key: indexing.ExplicitIndexer) -> Any:
        """Read what an indexer asks for."""
        return indexing.explicit_indexing_adapter(
            key, self.shape, indexing.IndexingSupport.OUTER, self._read
        )

    def path(self, index: tuple[int, ...]) -> Path:
        """Return the path of one image's file."""
        return Path(self.folder, self.names[index].decode())

    def _read(self, key: tuple[Any, ...]) -> np.ndarray:
        selections = [
            np.atleast_1d(np.arange(size)[item]) for size, item in zip(self.shape, key, strict=True)
        ]
        *leading, rows, columns = selections
        out = np.empty([len(selection) for selection in selections], self.dtype)
        first, last = (int(rows.min()), int(rows.max()) + 1) if rows.size else (0, 0)
        straight = np.array_equal(rows, np.arange(first, last)) and np.array_equal(
            columns, np.arange(self.shape[-1])
        )
        band = None if straight else np.empty((last - first, self.shape[-1]), self.dtype)
        with _OpenFile() as opened:
            for position in np.ndindex(*out.shape[:-2]):
                index = tuple(
                    int(selection[at]) for selection, at in zip(leading, position, strict=True)
                )
                target = out[position] if band is None else band
                if out.size:
                    self._read_image(index, target, first, opened)
                if band is not None:
                    out[position] = band[np.ix_(rows - first, columns)]
        dropped = tuple(at for at, item in enumerate(key) if isinstance(item, int | np.integer))
        return out.squeeze(axis=dropped)

    def _read_image(
        self, index: tuple[int, ...], target: np.ndarray, first: int, opened: _OpenFile
    ) -> None:
        """Read rows from ``first`` on of one image into ``target``."""
        if not self.valid[index]:
            target[...] = FILL_VALUE
            return
        path = self.path(index)
        page = 0 if self.pages is None else int(self.pages[index])
        if self.pages is None and self._read_plain(path, index, target, first):
            return
        image = opened.page(path, page, (self.layout.height, self.layout.width))
        target[...] = image[first : first + len(target)]

    def _read_plain(
        self, path: Path, index: tuple[int, ...], target: np.ndarray, first: int
    ) -> bool:
        """Read rows of a plain frame; False if the file is of another kind."""
        try:
            if len(target) == self.layout.height:
                read_plain(path, target, self.layout)
            else:
                self._read_band(path, index, target, first)
        except _NotPlain:
            return False
        except OSError as error:
            raise _unreadable(path, error) from error
        return True

    def _read_band(
        self, path: Path, index: tuple[int, ...], target: np.ndarray, first: int
    ) -> None:
        start = PIXELS_OFFSET + 2 * self.layout.width * first
        with path.open("rb", buffering=0) as stream:
            if not self._checked[index]:
                check_plain(stream, self.layout)
                self._checked[index] = True
            if _read_at(stream, [target], start) != target.nbytes:
                raise _NotPlain

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_checked": np.zeros(self.names.shape, dtype=bool)}


def read_plain(path: Path, target: np.ndarray, layout: FrameLayout) -> None:
    """Read one whole plain frame into ``target`` with one positional read."""
    header, tail = bytearray(PIXELS_OFFSET), bytearray(layout.tail_bytes)
    with path.open("rb", buffering=0) as stream:
        count = _read_at(stream, [header, target, tail], 0)
    if count != layout.file_bytes or not layout.matches(bytes(header), bytes(tail)):
        raise _NotPlain


def check_plain(stream: io.FileIO, layout: FrameLayout) -> None:
    """Check header and directory of a plain frame without reading its pixels."""
    header, tail = bytearray(PIXELS_OFFSET), bytearray(layout.tail_bytes)
    count = _read_at(stream, [header], 0)
    count += _read_at(stream, [tail], PIXELS_OFFSET + layout.pixel_bytes)
    if count != len(header) + len(tail) or not layout.matches(bytes(header), bytes(tail)):
        raise _NotPlain


def is_plain(path: Path, layout: FrameLayout) -> bool:
    """Tell from header and directory whether a file is a plain frame of this shape."""
    try:
        with path.open("rb", buffering=0) as stream:
            check_plain(stream, layout)
    except _NotPlain:
        return False
    return True


def _read_at(stream: io.FileIO, buffers: list[Any], offset: int) -> int:
    """Fill buffers from one place in a file; fewer bytes come back at its end."""
    views = [memoryview(buffer).cast("B") for buffer in buffers]
    if hasattr(os, "preadv"):
        return os.preadv(stream.fileno(), views, offset)
    stream.seek(offset)
    total = 0
    for view in views:
        count = stream.readinto(view) or 0
        total += count
        if count < len(view):
            break
    return total


class _OpenFile:
    """Keeps the TIFF file that was read last, since the next page is often in it."""

    def __init__(self) -> None:
        self._path: Path | None = None
        self._file: tifffile.TiffFile | None = None

    def __enter__(self) -> _OpenFile:
        return self

    def __exit__(self, *error: object) -> None:
        if self._file is not None:
            self._file.close()

    def page(self, path: Path, page: int, shape: tuple[int, int]) -> np.ndarray:
        """Read one page with tifffile and check that it is what was expected."""
        try:
            with quiet_tifffile():
                if path != self._path:
                    self.__exit__()
                    self._file, self._path = tifffile.TiffFile(path, is_ome=False), path
                pages = self._file.pages  # type: ignore[union-attr]
                if page >= len(pages):
                    raise ValueError(f"it has {len(pages)} pages, page {page + 1} was asked for")
                found = pages[page]
                if found.shape != shape or found.dtype != np.uint16:
                    raise ValueError(
                        f"expected {shape[0]} x {shape[1]} pixels of uint16, found "
                        f"{' x '.join(map(str, found.shape))} of {found.dtype}"
                    )
                return found.asarray()
        except Exception as error:  # tifffile raises many kinds on damaged files
            raise _unreadable(path, error) from error


def probe_shape(path: Path) -> tuple[int, int]:
    """Return height and width of the first page of a file."""
    with quiet_tifffile(), tifffile.TiffFile(path, is_ome=False) as file:
        height, width = file.pages[0].shape
    return int(height), int(width)


def complete_pages(path: Path, pages: list[int], shape: tuple[int, int]) -> list[str | None]:
    """Say for each page of a file what is wrong with it, None where nothing is."""
    try:
        with quiet_tifffile(), tifffile.TiffFile(path, is_ome=False) as file:
            size = path.stat().st_size
            return [_page_fault(file, page, shape, size) for page in pages]
    except Exception:  # tifffile raises many kinds on damaged files
        return ["not a readable TIFF"] * len(pages)


def _page_fault(
    file: tifffile.TiffFile, page: int, shape: tuple[int, int], size: int
) -> str | None:
    if page >= len(file.pages):
        return "cut short"
    found = file.pages[page]
    if found.shape != shape or found.dtype != np.uint16:
        return f"{' x '.join(map(str, found.shape))} pixels of {found.dtype}"
    ends = [at + n for at, n in zip(found.dataoffsets, found.databytecounts, strict=True)]
    return None if ends and max(ends) <= size else "cut short"


def _unreadable(path: Path, error: Exception) -> FrameError:
    return FrameError(
        f"{path}: the frame cannot be read ({error}). Copy it again, or open the recording with "
        "check='headers', which looks into every file and masks the damaged ones in 'valid'."
    )


_reading = threading.local()


class _QuietFilter(logging.Filter):
    """PrairieView's MetaMorph tags make tifffile log several warnings for every file."""

    def filter(self, record: logging.LogRecord) -> bool:
        return not getattr(_reading, "quiet", False)


logging.getLogger("tifffile").addFilter(_QuietFilter())


@contextmanager
def quiet_tifffile() -> Iterator[None]:
    """Keep tifffile from logging and NumPy from warning about tags that nobody reads."""
    before = getattr(_reading, "quiet", False)
    _reading.quiet = True
    try:
        with np.errstate(all="ignore"):
            yield
    finally:
        _reading.quiet = before
