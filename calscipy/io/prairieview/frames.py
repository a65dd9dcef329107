"""The images of a PrairieView recording, read lazily from one file per frame.

A frame of PrairieView 5.3 to 5.6 is one contiguous run of little-endian uint16 behind an 8-byte
header, followed by a directory at a known place. One positional read takes header, pixels (straight
into their destination) and directory; whatever does not look exactly like that goes to tifffile.
"""

from __future__ import annotations

import itertools
import logging
import math
import os
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
from dask.system import CPU_COUNT
from xarray.backends import BackendArray
from xarray.core import indexing

from calscipy.blocks.memory import empty_block
from calscipy.errors import FrameError
from calscipy.io.prairieview.plain import (
    CAN_READ_ALL,
    OPEN_FLAGS,
    PIXELS_OFFSET,
    FrameLayout,
    check_plain,
    read_all_plain,
    read_at,
    read_plain,
)
from calscipy.kernels.compiled import in_use

FILL_VALUE = 0
_UNKNOWN, _PLAIN, _OTHER = range(3)  # what is known of a file
_LOCKS = 64  # files that can be checked at once
_THREADS = min(8, CPU_COUNT)
_SMALL_BYTES = 2**24  # reads that are not worth several threads
_LARGE_BYTES = 2**27  # of a movie, from which on loading a compiled loop is soon made up for


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
        self._forget()

    def _forget(self) -> None:
        """Start without knowledge of the files, as every process does."""
        self._known = bytearray([_UNKNOWN]) * self.names.size
        self._locks = tuple(threading.Lock() for _ in range(_LOCKS))

    def __dask_tokenize__(self) -> str:
        return self.token

    def __getitem__(self, key: indexing.ExplicitIndexer) -> Any:
        """Read what an indexer asks for."""
        return indexing.explicit_indexing_adapter(
            key, self.shape, indexing.IndexingSupport.OUTER, self._read
        )

    def _read(self, key: tuple[Any, ...]) -> np.ndarray:
        selections = [
            np.atleast_1d(np.arange(size)[item]) for size, item in zip(self.shape, key, strict=True)
        ]
        *leading, rows, columns = selections
        out = empty_block([len(selection) for selection in selections], self.dtype)
        if out.size:
            table = np.ix_(*leading)
            part = _Part(
                numbers=np.ravel_multi_index(table, self.names.shape).ravel(),
                names=self.names[table].ravel(),
                valid=self.valid[table].ravel(),
                pages=None if self.pages is None else self.pages[table].ravel(),
            )
            images = out.reshape(-1, *out.shape[-2:])
            # Only the main thread reads in several threads: others are those of dask, which has
            # as many of them as the user wants.
            threads = _THREADS if threading.current_thread() is threading.main_thread() else 1
            if threads == 1 or out.nbytes < _SMALL_BYTES:
                self._read_images(part, images, rows, columns)
            else:
                edges = np.linspace(0, len(images), 4 * threads + 1).astype(int)
                with ThreadPoolExecutor(threads) as pool:
                    jobs = [
                        pool.submit(self._read_images, part[a:b], images[a:b], rows, columns)
                        for a, b in itertools.pairwise(edges)
                    ]
                    for job in jobs:
                        job.result()
        dropped = tuple(at for at, item in enumerate(key) if isinstance(item, int | np.integer))
        return out.squeeze(axis=dropped)

    def _read_images(
        self, part: _Part, out: np.ndarray, rows: np.ndarray, columns: np.ndarray
    ) -> None:
        """Read rows and columns of some images, of shape (images, rows, columns)."""
        first, last = int(rows.min()), int(rows.max()) + 1
        straight = np.array_equal(rows, np.arange(first, last)) and np.array_equal(
            columns, np.arange(self.shape[-1])
        )
        band = None if straight else np.empty((last - first, self.shape[-1]), self.dtype)
        done = np.zeros(len(out), bool)
        if straight and out.shape[1:] == self.shape[-2:] and self._worth_compiling(part):
            done = read_all_plain(self.folder, part.names, part.valid, out, self.layout)
        buffers = self.layout.buffers()
        pages = [0] * len(out) if part.pages is None else part.pages.tolist()
        # Strings, not Paths, which take longer to make than a file to open.
        paths = [f"{self.folder}{os.sep}{name.decode()}" for name in part.names.tolist()]
        facts = (part.numbers, part.valid, done)
        files = zip(paths, pages, out, *(fact.tolist() for fact in facts), strict=True)
        with _OpenFile() as slow:
            for path, page, image, number, valid, is_done in files:
                if is_done:
                    continue
                if not valid:
                    image[...] = FILL_VALUE
                    continue
                target = image if band is None else band
                if part.pages is not None or not self._read_plain(
                    path, number, target, first, buffers
                ):
                    whole = slow.page(Path(path), page, self.shape[-2:])
                    target[...] = whole[first:last]
                if band is not None:
                    image[...] = band[np.ix_(rows - first, columns)]

    def _worth_compiling(self, part: _Part) -> bool:
        """Tell whether a compiled loop reads faster, and at no cost to those who do without."""
        large = math.prod(self.shape) * self.dtype.itemsize >= _LARGE_BYTES
        return large and part.pages is None and CAN_READ_ALL and in_use()

    def _read_plain(
        self,
        path: str,
        number: int,
        target: np.ndarray,
        first: int,
        buffers: tuple[bytearray, bytearray],
    ) -> bool:
        """Read rows of a plain frame from ``first`` on; False if the file is of another kind."""
        try:
            if len(target) == self.layout.height:
                return read_plain(path, target, self.layout, buffers)
            return self._read_band(path, number, target, first)
        except OSError as error:
            raise _unreadable(path, error) from error

    def _read_band(self, path: str, number: int, target: np.ndarray, first: int) -> bool:
        known = self._known
        if known[number] == _OTHER:
            return False
        file = os.open(path, OPEN_FLAGS)
        try:
            if known[number] == _UNKNOWN:
                # Threads that come to the same file at once wait: it is checked by the first.
                with self._locks[number % _LOCKS]:
                    if known[number] == _UNKNOWN:
                        known[number] = _PLAIN if check_plain(file, self.layout) else _OTHER
            if known[number] == _OTHER:
                return False
            start = PIXELS_OFFSET + 2 * self.layout.width * first
            return read_at(file, (target,), start) == target.nbytes
        finally:
            os.close(file)

    def __getstate__(self) -> dict[str, Any]:
        return {k: v for k, v in self.__dict__.items() if k not in ("_known", "_locks")}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._forget()


@dataclass(frozen=True)
class _Part:
    """Some images in the order in which they are read."""

    numbers: np.ndarray  # in the table of all images
    names: np.ndarray
    valid: np.ndarray
    pages: np.ndarray | None

    def __getitem__(self, item: slice) -> _Part:
        pages = None if self.pages is None else self.pages[item]
        return _Part(self.numbers[item], self.names[item], self.valid[item], pages)


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


def is_plain(path: Path, layout: FrameLayout) -> bool:
    """Tell from header and directory whether a file is a plain frame of this shape."""
    file = os.open(path, OPEN_FLAGS)
    try:
        return check_plain(file, layout)
    finally:
        os.close(file)


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


def _unreadable(path: str | Path, error: Exception) -> FrameError:
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
