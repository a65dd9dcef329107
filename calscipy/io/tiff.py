"""TIFF and BigTIFF files as movies: one file, or the files of a folder joined along time.

The chain of page directories is followed here, since tifffile ends it silently where a file is cut
short; pages are decoded by tifffile. OME-XML never makes it open other files.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import re
import struct
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

import numpy as np
import tifffile
import xarray as xr
from lxml import etree
from xarray.backends import BackendArray
from xarray.core import indexing

from calscipy import model
from calscipy.errors import (
    ArgumentError,
    DamagedRecordingWarning,
    FrameError,
    RecordingError,
    first_few,
    warn,
)
from calscipy.io.chunks import frames_per_chunk
from calscipy.io.prairieview import is_master
from calscipy.io.prairieview.frames import FILL_VALUE, _quiet_tifffile

SUFFIXES = (".tif", ".tiff")
MAX_PIXELS = 2**28

_PRAIRIEVIEW = re.compile(r"_Cycle\d+_Ch(\d+)_\d+(\.ome)?\.tiff?$", re.IGNORECASE)
_MICRONS = {"micron", "microns", "micrometer", "um", "µm", "\u03bcm", "\\u00b5m"}
_SECONDS = {"s": 1.0, "sec": 1.0, "second": 1.0, "seconds": 1.0, "ms": 1e-3, "msec": 1e-3}
_IMAGEJ_SIZES = ("channels", "slices", "frames")
_TRIED = 16  # damaged files at the beginning of a folder before we give up
_OME_HEAD = 2**16  # the Pixels element stands near the start of what may be 50 MB
_MAX_TAGS = 4096
_AGAIN = "Copy the file again from where it was recorded"


@dataclass(frozen=True)
class _Hints:
    """What ImageJ or OME metadata say about the pages of a file."""

    frame_rate: float | None = None
    microns: tuple[float, float] | None = None
    sizes: dict[str, int] = field(default_factory=dict)  # of C, Z and T
    order: str = "CZT"  # fastest first


@dataclass(frozen=True)
class _File:
    """What is known of a file after opening it once."""

    shape: tuple[int, int]
    dtype: np.dtype
    offsets: np.ndarray  # of the page directories; of the pixels if raw
    raw: bool  # pages follow each other behind one directory (ImageJ stacks past 4 GB)
    least_bytes: int  # of a complete file of one page
    hints: _Hints


@dataclass(frozen=True)
class _Stack:
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


def open_tiff(
    path: Path,
    *,
    frame_rate: float | None = None,
    channels: int | Sequence[str] | None = None,
    planes: int | None = None,
    microns_per_pixel: float | tuple[float, float] | None = None,
) -> xr.DataTree:
    """Open a TIFF file, or a folder of TIFF files, as a lazy movie.

    The files of a folder are joined along time in natural order (``img2`` before ``img10``); if
    they have one page each, only the first is opened. Pages run through the channels first, then
    the planes, then the frames, as ImageJ and ScanImage write them.

    Parameters
    ----------
    path : Path
        A file, or a folder.
    frame_rate : float
        Frames (volumes) in a second. Only ImageJ metadata that state it can replace it.
    channels : int or sequence of str, optional
        Number or names of the channels.
    planes : int, optional
        Planes of a volume. If neither it nor ``channels`` is given, they are what ImageJ or OME
        metadata say of the pages of a file, else 1.
    microns_per_pixel : float or (float, float), optional
        Size of a pixel in um, one or ``(y, x)``. Otherwise what the metadata state in um.

    Returns
    -------
    DataTree
        With the group ``movie``: ``(frames [, channel] [, plane], y, x)``.

    Raises
    ------
    ArgumentError
        If the frame rate is unknown, or an argument does not fit the pages.
    RecordingError
        If there are no TIFF files, or their pages are not those of one movie.
    FrameError
        If a file is damaged. Among one-page files, empty and too small ones are False in
        ``valid`` and read as 0 instead, with one warning.
    """
    path = Path(path)
    given = _channel_names(channels)
    if planes is not None and not _is_count(planes):
        raise ArgumentError(f"planes must be a whole number from 1 on, got {planes!r}.")
    if frame_rate is not None and not _is_positive(frame_rate):
        raise ArgumentError(f"frame_rate must be a positive number in Hz, got {frame_rate!r}.")
    microns = _pixel_sizes(microns_per_pixel)
    files = _find(path)
    named = _prairieview_channel(path, files, frame_rate)
    stack, hints = _scan(path if path.is_dir() else path.parent, files)
    rate = _frame_rate(path, frame_rate, hints)
    if given is None and planes is None:
        given, planes = _interleaving(path, hints)
    names = (named,) if given in (None, (None,)) else given
    movie = _movie(path, stack, _identity(stack, files), names, planes or 1)
    if frame_rate is None:
        movie[model.MOVIE].attrs["frame_rate_source"] = "ImageJ metadata"
    movie = movie.assign_coords(_axes(movie, rate, microns or hints.microns))
    source = {model.SOURCE_ATTR: movie[model.MOVIE].attrs[model.SOURCE_ATTR]}
    root = xr.Dataset(attrs={model.SCHEMA_ATTR: model.SCHEMA_VERSION, **source})
    return xr.DataTree.from_dict({"/": root, model.MOVIE: movie})


class TiffArray(BackendArray):
    """Pages of TIFF files as a lazy array ``(frames [, channel] [, plane], y, x)``.

    Holds paths and numbers only, so that it pickles to other processes.

    Parameters
    ----------
    stack : _Stack
        The pages of all files in one row.
    leading : sequence of (int, int)
        Size of each dimension before y and x, and how many pages one step along it is.
    token : str
        Identity of the files, for dask.
    """

    def __init__(self, stack: _Stack, leading: Sequence[tuple[int, int]], token: str) -> None:
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
        out = np.empty([len(selection) for selection in selections], self.dtype)
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

    def __init__(self, stack: _Stack) -> None:
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
            with _quiet_tifffile():
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


def _find(path: Path) -> dict[str, os.stat_result]:
    """List the TIFF files in natural order."""
    if path.is_dir():
        with os.scandir(path) as entries:
            files = {
                entry.name: entry.stat()
                for entry in entries
                if entry.name.lower().endswith(SUFFIXES)
                and not entry.name.startswith(".")  # "._img.tif" beside files copied by a Mac
                and entry.is_file()
            }
        if not files:
            raise RecordingError(
                f"{path}: the folder has no files ending in {' or '.join(SUFFIXES)}. "
                "Give the folder that holds the images."
            )
        return dict(sorted(files.items(), key=lambda item: _natural(item[0])))
    if not path.is_file():
        raise RecordingError(f"{path}: there is no such file or folder. Check the path.")
    return {path.name: path.stat()}


def _natural(name: str) -> tuple[list[Any], str]:
    parts = re.split("([0-9]+)", name.lower())
    return [int(part) if at % 2 else part for at, part in enumerate(parts)], name


def _prairieview_channel(
    path: Path, files: dict[str, os.stat_result], frame_rate: float | None
) -> str | None:
    """Return the channel that PrairieView's file names agree on, None for other names."""
    found = [match for match in map(_PRAIRIEVIEW.search, files) if match] if path.is_dir() else []
    if not found:
        return None
    channels = sorted({int(match[1]) for match in found})
    if len(channels) > 1:
        raise RecordingError(
            f"{path}: the files are named like frames of PrairieView, of the channels "
            f"{', '.join(f'Ch{number}' for number in channels)}; one channel was expected. Move "
            "the files of one channel into a folder of their own and open that, or copy the "
            "master XML of the recording into this folder."
        )
    if frame_rate is None and not any(map(is_master, path.glob("*.[xX][mM][lL]"))):
        raise RecordingError(
            f"{path}: the files are named like frames of PrairieView, but the master XML is not "
            "in this folder. Copy it here from the microscope; or give frame_rate= in Hz to open "
            "the images alone: their order and channel are then those of the file names."
        )
    return f"Ch{channels[0]}" if len(found) == len(files) else None


def _scan(folder: Path, files: dict[str, os.stat_result]) -> tuple[_Stack, _Hints]:
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
    stack = _Stack(
        folder=os.fspath(folder),
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


def _inspect(path: Path) -> _File:
    """Open a file and find its pages.

    Raises
    ------
    FrameError
        If it is damaged.
    RecordingError
        If its pages are not those of a movie.
    """
    try:
        with _quiet_tifffile(), path.open("rb") as stream:
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
    tiff.filehandle.seek(offset)
    return tifffile.TiffPage(tiff, index=number)


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


def _describe(path: Path, tiff: Any, first: Any, offsets: list[int], fault: str) -> _File:
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
    return _File(first.shape, dtype, at, raw, least, _read_hints(tiff, first, len(at)))


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


def _stated_pages(tiff: Any, page: Any) -> int:
    """Return how many images the file claims to hold, 1 if it does not say."""
    if tiff.is_imagej:
        return _count(tiff.imagej_metadata or {}, "images")
    if 33629 in page.tags:  # MetaMorph stacks
        return int(page.tags[33629].count)
    if page.description.startswith('{"shape":'):  # tifffile
        return int(max(1, math.prod(json.loads(page.description)["shape"]) // page.size))
    return 1


def _count(table: Any, key: str) -> int:
    """Return a number of images from metadata, 1 if it is not a sensible one."""
    text = str(table.get(key, 1))
    return max(1, int(text)) if text.isdecimal() else 1


def _read_hints(tiff: Any, page: Any, pages: int) -> _Hints:
    """Take from ImageJ or OME metadata what they state plainly."""
    meta = tiff.imagej_metadata if tiff.is_imagej else None
    if meta:
        sizes = {dim: _count(meta, key) for dim, key in zip("CZT", _IMAGEJ_SIZES, strict=True)}
        order = str(meta.get("order", "czt")).upper().replace("DEFAULT", "CZT")
        rate, microns = _imagej_rate(meta), _imagej_microns(meta, page)
    else:
        pixels = _ome_pixels(page.description)
        sizes = {dim: _count(pixels, f"Size{dim}") for dim in "CZT"}
        order = pixels.get("DimensionOrder", "XYCZT")[2:]
        rate, microns = None, _ome_microns(pixels)
    if pages == 1 or math.prod(sizes.values()) != pages:
        sizes = {}  # they speak of other files too
    return _Hints(rate, microns, sizes, order)


def _imagej_rate(meta: dict[str, Any]) -> float | None:
    step, rate = meta.get("finterval", 0.0), meta.get("fps", 0.0)
    unit = _SECONDS.get(str(meta.get("tunit", "s")).lower())
    if _is_positive(step) and unit:
        return 1.0 / (float(step) * unit)
    return float(rate) if _is_positive(rate) else None


def _imagej_microns(meta: dict[str, Any], page: Any) -> tuple[float, float] | None:
    if str(meta.get("unit", "")).lower() not in _MICRONS:
        return None
    ratios = [page.tags[code].value for code in (283, 282) if code in page.tags]
    if len(ratios) != 2 or not all(_is_positive(part) for ratio in ratios for part in ratio):
        return None
    y, x = (denominator / numerator for numerator, denominator in ratios)
    return float(y), float(x)


def _ome_pixels(description: str) -> dict[str, str]:
    """Return the attributes of the first Pixels element, empty if there is none."""
    if "<OME" not in description[:_OME_HEAD]:
        return {}
    parser = etree.XMLPullParser(
        events=("start",), tag="{*}Pixels", resolve_entities=False, no_network=True, load_dtd=False
    )
    try:
        parser.feed(description[:_OME_HEAD].encode())
    except etree.XMLSyntaxError:
        return {}
    found: Any = next(iter(parser.read_events()), None)
    return {} if found is None else {str(key): str(value) for key, value in found[1].items()}


def _ome_microns(pixels: dict[str, str]) -> tuple[float, float] | None:
    sizes = []
    for dim in "YX":
        try:
            size = float(pixels[f"PhysicalSize{dim}"])
        except (KeyError, ValueError):
            return None
        unit = pixels.get(f"PhysicalSize{dim}Unit", "µm").lower()
        if unit not in _MICRONS or not _is_positive(size):
            return None
        sizes.append(size)
    return sizes[0], sizes[1]


def _interleaving(path: Path, hints: _Hints) -> tuple[tuple[str | None, ...], int]:
    """Return the channels and planes that the metadata state for the pages of a file."""
    sizes = {dim: hints.sizes.get(dim, 1) for dim in "CZT"}
    if sizes["T"] == 1:  # many programs call the frames of a movie slices
        sizes |= {"Z": 1, "T": sizes["Z"]}
    if sizes["C"] * sizes["Z"] == 1:
        return (None,), 1
    if [dim for dim in hints.order if sizes.get(dim, 1) > 1] != [
        dim for dim in "CZT" if sizes[dim] > 1
    ]:
        raise RecordingError(
            f"{path}: the metadata say that pages run in the order {hints.order} with sizes "
            f"{sizes}; channels first, then planes, then frames were expected. Save it in that "
            "order (ImageJ: hyperstack xyczt), or give channels= and planes= to overrule them."
        )
    return _channel_names(sizes["C"]) or (None,), sizes["Z"]


def _movie(
    path: Path, stack: _Stack, token: str, names: Sequence[str | None], planes: int
) -> xr.Dataset:
    """Sort the pages into frames, channels and planes."""
    pages, channels = int(stack.starts[-1]), len(names)
    frames, rest = divmod(pages, channels * planes)
    if rest or not frames:
        raise ArgumentError(
            f"{path}: {pages} pages are not a multiple of channels={channels} x planes={planes}: "
            f"{rest} {'page is' if rest == 1 else 'pages are'} left over. Give the numbers that "
            "the recording was made with; if it stopped within a frame, save it without them."
        )
    table = {
        model.FRAMES: (frames, channels * planes),
        model.CHANNEL: (channels, 1),
        model.PLANE: (planes, channels),
    }
    leading = {dim: at for dim, at in table.items() if at[0] > 1 or dim == model.FRAMES}
    array = TiffArray(stack, tuple(leading.values()), token)
    dims = (*leading, model.Y, model.X)
    number = sum(np.ix_(*(np.arange(size) * step for size, step in leading.values())))
    valid = stack.valid[stack.file_of(number)]
    per_chunk = frames_per_chunk(math.prod(stack.shape) * stack.dtype.itemsize)
    chunks = dict.fromkeys(dims, 1) | dict(zip((model.Y, model.X), stack.shape, strict=True))
    movie = xr.Variable(
        dims,
        indexing.LazilyIndexedArray(array),
        attrs={
            "units": "count",
            "long_name": "fluorescence",
            model.SOURCE_ATTR: path.name or str(path),
        },
        encoding={"preferred_chunks": chunks | {model.FRAMES: min(frames, per_chunk)}},
    )
    coords = {
        model.VALID: xr.Variable(tuple(leading), valid, {"long_name": "frame is present and whole"})
    }
    if channels > 1:
        coords[model.CHANNEL] = xr.Variable(model.CHANNEL, list(names))
    elif names[0] is not None:
        coords[model.CHANNEL] = xr.Variable((), names[0])
    if planes > 1:
        attrs = {"long_name": "plane, in acquisition order"}
        coords[model.PLANE] = xr.Variable(model.PLANE, np.arange(planes), attrs)
    return xr.Dataset({model.MOVIE: movie}, coords)


def _axes(
    movie: xr.Dataset, frame_rate: float, microns: tuple[float, float] | None
) -> dict[str, xr.Variable]:
    """Make the coordinates of time, y and x."""
    times = np.arange(movie.sizes[model.FRAMES]) / frame_rate
    attrs = {"units": "s", "long_name": "time since the first frame"}
    return {model.TIME: xr.Variable(model.FRAMES, times, attrs)} | {
        dim: model.pixel_coordinate(dim, movie.sizes[dim], size)
        for dim, size in zip((model.Y, model.X), microns or (None, None), strict=True)
    }


def _identity(stack: _Stack, files: dict[str, os.stat_result]) -> str:
    """Name the files, as they are now, for dask."""
    text = [str(Path(stack.folder).resolve()), str(stack.valid.size)]
    text += [f"{name}|{stat.st_size}|{stat.st_mtime_ns}" for name, stat in files.items()]
    return hashlib.sha256(os.fsencode("\n".join(text))).hexdigest()[:32]


def _frame_rate(path: Path, given: float | None, hints: _Hints) -> float:
    rate = hints.frame_rate if given is None else given
    if rate is None:
        raise ArgumentError(
            f"{path}: the file does not say how fast it was recorded, and calscipy assumes no "
            "frame rate. Give it in Hz (volumes in a second if it has planes): "
            "open(path, frame_rate=...)."
        )
    return float(rate)


def _channel_names(channels: int | Sequence[str] | None) -> tuple[str | None, ...] | None:
    """Return one name for each channel, ``(None,)`` for a nameless one."""
    if channels is None:
        return None
    if not isinstance(channels, Sequence) and _is_count(channels):
        return (None,) if channels == 1 else tuple(f"Ch{at + 1}" for at in range(channels))
    names = (channels,) if isinstance(channels, str) else channels
    if isinstance(names, Sequence) and all(isinstance(name, str) and name for name in names):
        unique = tuple(dict.fromkeys(names))
        if unique and len(unique) == len(names):
            return unique
    raise ArgumentError(
        f"channels must be a whole number from 1 on, or different names, got {channels!r}."
    )


def _pixel_sizes(given: float | tuple[float, float] | None) -> tuple[float, float] | None:
    if given is None:
        return None
    sizes = given if isinstance(given, tuple | list) else (given, given)
    if len(sizes) == 2 and all(map(_is_positive, sizes)):
        return float(sizes[0]), float(sizes[1])
    raise ArgumentError(
        f"microns_per_pixel must be one positive number in um, or two (y, x), got {given!r}."
    )


def _is_count(value: Any) -> bool:
    numeric = isinstance(value, int | np.integer) and not isinstance(value, bool)
    return numeric and bool(value >= 1)


def _is_positive(value: Any) -> bool:
    numeric = isinstance(value, int | float | np.number) and not isinstance(value, bool)
    return numeric and bool(np.isfinite(value) and value > 0)


def _kind(shape: Sequence[int], dtype: Any) -> str:
    return f"{' x '.join(map(str, shape))} pixels of {dtype}"
