"""The pages of TIFF files, found without trusting the files and read lazily.

The chain of page directories is followed here, since tifffile ends it silently where a file is cut
short; pages are decoded by tifffile. OME-XML never makes it open other files.
"""

from __future__ import annotations

import json
import math
import os
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
import tifffile
from xarray.backends import BackendArray
from xarray.core import indexing

from calscipy.blocks.memory import empty_block
from calscipy.errors import (
    DamagedRecordingWarning,
    FrameError,
    RecordingError,
    first_few,
    warn,
)
from calscipy.io.chunks import MAX_PIXELS
from calscipy.io.prairieview.frames import FILL_VALUE, quiet_tifffile
from calscipy.io.tiff_hints import Hints, count, read_hints

_TRIED = 16  # damaged files at the beginning of a folder before we give up
_MAX_TAGS = 4096
_AGAIN = "Copy the file again from where it was recorded"


@dataclass(frozen=True)
class FileFacts:
    """What is known of a file after opening it once."""

    shape: tuple[int, int]
    dtype: np.dtype
    offsets: np.ndarray  # of the page directories; of the pixels if raw
    raw: bool  # pages follow each other behind one directory (ImageJ stacks past 4 GB)
    least_bytes: int  # of a complete file of one page
    hints: Hints


@dataclass(frozen=True)
class PageStack:
    """The pages of all files in one row."""

    folder: str
    names: np.ndarray  # bytes, one for each file
    starts: np.ndarray  # number of the first page of each file, and of all pages
    offsets: np.ndarray | None  # of each page; None if no file but the first was opened
    raw: np.ndarray  # one for each file
    valid: np.ndarray  # one for each file
    shape: tuple[int, int]
    dtype: np.dtype

    def file_of(self, page: Any) -> Any:
        """Return the number of the file that holds a page."""
        return np.searchsorted(self.starts, page, side="right") - 1


def scan_files(folder: Path, files: dict[str, os.stat_result]) -> tuple[PageStack, Hints]:
    """Find out where the pages are, opening as few files as possible."""
    names = list(files)
    damaged: list[FrameError] = []
    for name in names[:_TRIED]:
        try:
            first = _inspect(folder / name)
            break
        except FrameError as error:
            damaged.append(error)
    else:
        raise damaged[0]
    one_each = len(names) > 1 and len(first.offsets) == 1
    valid = np.ones(len(names), dtype=bool)
    opened = [first]
    if one_each:
        valid[:] = [stat.st_size >= first.least_bytes for stat in files.values()]
        valid[: len(damaged)] = False
        _warn_of_damage(folder, names, valid)
    elif damaged:
        raise damaged[0]
    else:
        opened = [first if name == names[0] else _inspect(folder / name) for name in names]
    for name, file in zip(names, opened, strict=not one_each):
        if (file.shape, file.dtype) != (first.shape, first.dtype):
            raise RecordingError(
                f"{folder / name}: expected {_kind(first.shape, first.dtype)} as in {names[0]}, "
                f"found {_kind(file.shape, file.dtype)}. Move it into a folder of its own."
            )
    counts = [1] * len(names) if one_each else [len(file.offsets) for file in opened]
    stack = PageStack(
        folder=os.path.abspath(folder),  # workers may run elsewhere
        names=np.array([os.fsencode(name) for name in names]),
        starts=np.cumsum([0, *counts]),
        offsets=None if one_each else np.concatenate([file.offsets for file in opened]),
        raw=np.zeros(len(names), bool) if one_each else np.array([file.raw for file in opened]),
        valid=valid,
        shape=first.shape,
        dtype=first.dtype,
    )
    return stack, first.hints


def _warn_of_damage(folder: Path, names: list[str], valid: np.ndarray) -> None:
    bad = [name for name, good in zip(names, valid, strict=True) if not good]
    if bad:
        warn(
            f"{folder}: {len(bad)} of {len(names)} files are damaged or too small for one image "
            f"({first_few(bad)}). They read as {FILL_VALUE} and are False in 'valid'. "
            "Copy them again if the originals are whole.",
            DamagedRecordingWarning,
        )


def _inspect(path: Path) -> FileFacts:
    """Open a file and find its pages.

    Raises
    ------
    FrameError
        If it is damaged.
    RecordingError
        If its pages are not those of a movie.
    """
    try:
        with quiet_tifffile(), path.open("rb") as stream:
            offsets, fault = _directories(stream)
            if not offsets:
                raise ValueError(fault)
            stream.seek(0)  # where tifffile takes the file to begin
            tiff = tifffile.TiffFile(stream, name=path.name, is_ome=False)
            first = _page(tiff, offsets[0], 0)
            _require_grey(path, first)
            return _describe(path, tiff, first, offsets, fault)
    except RecordingError:
        raise
    except Exception as error:  # tifffile raises many kinds on damaged files
        raise FrameError(
            f"{path}: expected a TIFF file with at least one page, found none that can be read "
            f"({error}). {_AGAIN}."
        ) from error


def _require_grey(path: Path, page: Any) -> None:
    """Refuse pages that are not images of one real number for each pixel."""
    if len(page.shape) != 2 or page.samplesperpixel != 1 or page.photometric not in (0, 1):
        raise RecordingError(
            f"{path}: expected grey images, found colour or several samples for each pixel "
            f"({_kind(page.shape, page.dtype)}). Save it with one grey page for each channel "
            "(ImageJ: Image > Type > 16-bit, or Image > Color > Split Channels)."
        )
    if page.dtype is None or page.dtype.kind not in "iuf" or page.dtype.itemsize > 8:
        raise RecordingError(
            f"{path}: expected integers or floats of up to 64 bits, found {page.dtype}. "
            "Save it with such values."
        )
    if math.prod(page.shape) > MAX_PIXELS or not page.size:
        raise RecordingError(
            f"{path}: expected images of 1 to {MAX_PIXELS} pixels, found "
            f"{_kind(page.shape, page.dtype)}. Save it in tiles that fit."
        )


def _describe(path: Path, tiff: Any, first: Any, offsets: list[int], fault: str) -> FileFacts:
    """Check that all pages are there, and collect what is known of the file."""
    size = tiff.filehandle.size
    stated = _stated_pages(tiff, first)
    fitting = (size - first.dataoffsets[0]) // first.nbytes if first.is_final else 0
    raw = not fault and len(offsets) == 1 and 1 < stated <= fitting
    if fault or (stated > len(offsets) and not raw):
        whole = min(stated, fitting) if stated > len(offsets) and first.is_final else 0
        whole = max(whole, _whole_pages(tiff, offsets, size))
        wanted = str(stated) if stated > len(offsets) else f"more than {whole}"
        raise _cut_short(path, whole, wanted, fault or f"only {len(offsets)} have a directory")
    last = _page(tiff, offsets[-1], len(offsets) - 1)
    if (last.shape, last.dtype) != (first.shape, first.dtype):
        raise RecordingError(
            f"{path}: expected {_kind(first.shape, first.dtype)} on all pages, the last has "
            f"{_kind(last.shape, last.dtype)}. Save images of one size and type in a file."
        )
    if not (_is_whole(first, size) and _is_whole(last, size)):
        whole = _whole_pages(tiff, offsets, size)
        raise _cut_short(path, whole, str(len(offsets)), f"the file ends at byte {size}")
    at = np.array(offsets, dtype=np.int64)
    if raw:
        at = first.dataoffsets[0] + first.nbytes * np.arange(stated, dtype=np.int64)
    least = 8 + (sum(first.databytecounts) if first.compression == 1 else 0)
    dtype = first.dtype.newbyteorder("=")
    return FileFacts(first.shape, dtype, at, raw, least, read_hints(tiff, first, len(at)))


def _stated_pages(tiff: Any, page: Any) -> int:
    """Return how many images the file claims to hold, 1 if it does not say."""
    if tiff.is_imagej:
        return count(tiff.imagej_metadata or {}, "images")
    if 33629 in page.tags:  # MetaMorph stacks
        return int(page.tags[33629].count)
    if page.description.startswith('{"shape":'):  # tifffile
        return int(max(1, math.prod(json.loads(page.description)["shape"]) // page.size))
    return 1


def _cut_short(path: Path, whole: int, wanted: str, fault: str) -> FrameError:
    return FrameError(
        f"{path}: the file is cut short or damaged: expected {wanted} pages, {whole} are complete "
        f"({fault}). {_AGAIN}, or save the complete pages to a new file."
    )


def _is_whole(page: Any, size: int) -> bool:
    parts = list(zip(page.dataoffsets, page.databytecounts, strict=True))
    return bool(parts) and all(at and count and at + count <= size for at, count in parts)


def _whole_pages(tiff: Any, offsets: list[int], size: int) -> int:
    """Count the pages up to the last one whose pixels are all there."""
    for number in reversed(range(len(offsets))):
        if _is_whole(_page(tiff, offsets[number], number), size):
            return number + 1
    return 0


def _directories(stream: IO[bytes]) -> tuple[list[int], str]:
    """Follow the chain of page directories: their offsets, and what ends it too early."""
    size = stream.seek(0, os.SEEK_END)
    stream.seek(0)
    header = stream.read(16)
    order = {b"II": "<", b"MM": ">"}.get(header[:2])
    if not header:
        return [], "the file is empty"
    if order is None or len(header) < 8:
        return [], f"it starts with the bytes {header[:8]!r}"
    version = struct.unpack(order + "H", header[2:4])[0]
    if version not in (42, 43) or (version == 43 and len(header) < 16):
        return [], f"it starts with the bytes {header[:8]!r}"
    count, entry, link = ("Q", 20, "Q") if version == 43 else ("H", 12, "I")
    count_bytes, link_bytes = struct.calcsize(order + count), struct.calcsize(order + link)
    (offset,) = struct.unpack_from(order + link, header, 8 if version == 43 else 4)
    offsets: list[int] = []
    seen: set[int] = set()
    while offset:
        where = f"the directory of page {len(offsets) + 1}"
        if offset in seen:
            return offsets, f"{where} is one that came before"
        stream.seek(offset)
        head = stream.read(count_bytes)
        tags = struct.unpack(order + count, head)[0] if len(head) == count_bytes else 0
        if tags > _MAX_TAGS:
            return offsets, f"{where} is damaged"
        stream.seek(tags * entry, os.SEEK_CUR)
        tail = stream.read(link_bytes)
        if not tags or len(tail) < link_bytes:
            return offsets, f"{where} is at byte {offset} of {size}"
        offsets.append(offset)
        seen.add(offset)
        (offset,) = struct.unpack(order + link, tail)
    return offsets, "" if offsets else "it has no pages"


def _page(tiff: Any, offset: int, number: int) -> Any:
    if offset == tiff.pages.first.offset:
        return tiff.pages.first
    tiff.filehandle.seek(offset)
    return tifffile.TiffPage(tiff, index=number)


def _kind(shape: Sequence[int], dtype: Any) -> str:
    return f"{' x '.join(map(str, shape))} pixels of {dtype}"


class TiffArray(BackendArray):
    """Pages of TIFF files as a lazy array ``(frames [, channel] [, plane], y, x)``.

    Holds paths and numbers only, so that it pickles to other processes.

    Parameters
    ----------
    stack : PageStack
        The pages of all files in one row.
    leading : sequence of (int, int)
        Size of each dimension before y and x, and how many pages one step along it is.
    token : str
        Identity of the files, for dask.
    """

    def __init__(self, stack: PageStack, leading: Sequence[tuple[int, int]], token: str) -> None:
        self.stack = stack
        self.steps = tuple(step for _, step in leading)
        self.shape = (*(size for size, _ in leading), *stack.shape)
        self.dtype = stack.dtype
        self.token = token

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
        whole = all(
            np.array_equal(chosen, np.arange(size))
            for chosen, size in zip((rows, columns), self.stack.shape, strict=True)
        )
        out = empty_block([len(selection) for selection in selections], self.dtype)
        with _OpenFile(self.stack) as opened:
            for position in np.ndindex(*out.shape[:-2]) if out.size else ():
                at = zip(leading, position, self.steps, strict=True)
                page = sum(int(selection[i]) * step for selection, i, step in at)
                if not self.stack.valid[self.stack.file_of(page)]:
                    out[position] = FILL_VALUE
                    continue
                image = opened.image(page)
                out[position] = image if whole else image[np.ix_(rows, columns)]
        dropped = tuple(at for at, item in enumerate(key) if isinstance(item, int | np.integer))
        return out.squeeze(axis=dropped)


class _OpenFile:
    """Reads pages and keeps the file that was read last, since the next page is often in it."""

    def __init__(self, stack: PageStack) -> None:
        self._stack = stack
        self._number = -1
        self._stream: IO[bytes] | None = None
        self._tiff: Any = None

    def __enter__(self) -> _OpenFile:
        return self

    def __exit__(self, *error: object) -> None:
        if self._stream is not None:
            self._stream.close()

    def image(self, page: int) -> np.ndarray:
        """Read one page and check that it is what was expected."""
        stack = self._stack
        number = int(stack.file_of(page))
        path = Path(stack.folder, os.fsdecode(stack.names[number]))
        within = page - int(stack.starts[number])
        try:
            with quiet_tifffile():
                self._open(path, number)
                if stack.raw[number]:
                    assert stack.offsets is not None
                    return self._raw(int(stack.offsets[page]))
                offset = self._only_page() if stack.offsets is None else int(stack.offsets[page])
                found = _page(self._tiff, offset, within)
                if found.shape != stack.shape or found.dtype != stack.dtype:
                    raise ValueError(f"found {_kind(found.shape, found.dtype)}")
                if not found.databytecounts or 0 in found.databytecounts:
                    raise ValueError("its pixels were never written")
                if stack.offsets is None and _stated_pages(self._tiff, found) > 1:
                    raise ValueError("it says that it holds more images, the first file does not")
                # One thread: dask has its own.
                return np.asarray(found.asarray(maxworkers=1))
        except Exception as error:  # tifffile raises many kinds on damaged files
            raise FrameError(
                f"{path}: page {within + 1} cannot be read, expected "
                f"{_kind(stack.shape, stack.dtype)}: {error}. {_AGAIN}; images of another size or "
                "type go into a folder of their own."
            ) from error

    def _open(self, path: Path, number: int) -> None:
        if number != self._number:
            self.__exit__()
            self._number, self._stream = -1, path.open("rb")
            self._tiff = tifffile.TiffFile(self._stream, name=path.name, is_ome=False)
            self._number = number

    def _only_page(self) -> int:
        assert self._stream is not None
        offsets, fault = _directories(self._stream)
        if fault or len(offsets) != 1:
            raise ValueError(
                fault or f"it has {len(offsets)} pages, the first file of the folder has one"
            )
        return offsets[0]

    def _raw(self, offset: int) -> np.ndarray:
        assert self._stream is not None
        self._stream.seek(offset)
        data = self._stream.read(math.prod(self._stack.shape) * self._stack.dtype.itemsize)
        stored = self._stack.dtype.newbyteorder(self._tiff.byteorder)
        return np.frombuffer(data, stored).reshape(self._stack.shape)
