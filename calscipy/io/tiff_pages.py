"""The pages of TIFF files, found without trusting the files.

OME metadata never make it open other files than those of the folder.
"""

from __future__ import annotations

import json
import math
import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import tifffile

from calscipy.errors import (
    DamagedRecordingWarning,
    FrameError,
    RecordingError,
    first_few,
    warn,
)
from calscipy.io.chunks import MAX_PIXELS
from calscipy.io.prairieview.frames import FILL_VALUE
from calscipy.io.tiff_directories import BeyondEnd, Form, follow, read_form
from calscipy.io.tiff_hints import Hints, count
from calscipy.io.tiff_metadata import hints_elsewhere, read_hints
from calscipy.io.tiff_strict import kind_of, open_page, open_tifffile, strict_tifffile

_TRIED = 16  # damaged files at the beginning of a folder before we give up
_MOST_PACKED = 5000  # times that zeros may shrink when they are compressed
_SURELY_FITS = 2**26  # bytes of a page
_USUAL_TILE = 2**20  # pixels, also of an image that is smaller
AGAIN = "Copy the file again from where it was recorded"


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


def scan_files(
    folder: Path, files: dict[str, os.stat_result], *, together: bool = False
) -> tuple[PageStack, list[Hints]]:
    """Find out where the pages are, opening as few files as possible.

    Parameters
    ----------
    folder : Path
        Where the files are.
    files : dict of str to stat_result
        The files in their order.
    together : bool
        Metadata of the first file may refer to others of the folder.

    Returns
    -------
    stack : PageStack
    hints : list of Hints
        Of every file that was opened: all of them, or the first one alone.
    """
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
                f"{folder / name}: expected {kind_of(first.shape, first.dtype)} as in {names[0]}, "
                f"found {kind_of(file.shape, file.dtype)}. Move it into a folder of its own."
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
    hints = [file.hints for file in opened]
    name = hints[0].elsewhere if together else ""
    if name in files:
        hints[0] = replace(_inspect(folder / name).hints, home=name)
    elif name:
        hints[0] = hints_elsewhere(folder, hints[0])
    return stack, hints


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
        with strict_tifffile(), path.open("rb") as stream:
            form = read_form(stream)
            offsets, fault = follow(stream, form)
            if not len(offsets):
                raise ValueError(fault)
            tiff = open_tifffile(stream, path.name, form)
            first = open_page(tiff, form, int(offsets[0]), 0)
            _require_grey(path, first, form.size)
            return _describe(path, tiff, form, first, offsets, fault)
    except RecordingError:
        raise
    except BeyondEnd as error:
        raise FrameError(f"{path}: the file is cut short or damaged: {error}. {AGAIN}.") from error
    except Exception as error:  # tifffile raises many kinds on damaged files
        raise FrameError(
            f"{path}: expected a TIFF file with at least one page, found none that can be read "
            f"({error}). {AGAIN}."
        ) from error


def _require_grey(path: Path, page: Any, size: int) -> None:
    """Refuse pages that are not images of one real number for each pixel."""
    if len(page.shape) != 2 or page.samplesperpixel != 1 or page.photometric not in (0, 1):
        raise RecordingError(
            f"{path}: expected grey images, found colour or several samples for each pixel "
            f"({kind_of(page.shape, page.dtype)}). Save it with one grey page for each channel "
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
            f"{kind_of(page.shape, page.dtype)}. Save it in tiles that fit."
        )
    try:
        require_plausible(page, size)
    except ValueError as error:
        raise RecordingError(f"{path}: {error}. {AGAIN}.") from error


def require_plausible(page: Any, size: int) -> None:
    """Refuse a page that would take far more memory than it has pixels or bytes in the file.

    Raises
    ------
    ValueError
        Saying what it claims.
    """
    most = max(_USUAL_TILE, 4 * math.prod(page.shape))
    if math.prod(page.chunks) > most:
        raise ValueError(
            f"expected strips or tiles of up to {most} pixels, found "
            f"{' x '.join(map(str, page.chunks))}"
        )
    stored = min(sum(page.databytecounts), size)  # of the file, which they may claim to exceed
    if page.nbytes > max(_SURELY_FITS, _MOST_PACKED * stored):
        raise ValueError(
            f"{page.nbytes} bytes of pixels are said to come from {stored} bytes in the file, "
            "which no image does"
        )


def _describe(
    path: Path, tiff: Any, form: Form, first: Any, offsets: np.ndarray, fault: str
) -> FileFacts:
    """Check that all pages are there, and collect what is known of the file."""
    size = form.size
    stated = stated_pages(tiff, first)
    fitting = (size - first.dataoffsets[0]) // first.nbytes if first.is_final else 0
    raw = not fault and len(offsets) == 1 and 1 < stated <= fitting
    if fault or (stated > len(offsets) and not raw):
        whole = min(stated, fitting) if stated > len(offsets) and first.is_final else 0
        whole = max(whole, _whole_pages(tiff, form, offsets))
        wanted = str(stated) if stated > len(offsets) else f"more than {whole}"
        raise _cut_short(path, whole, wanted, fault or f"only {len(offsets)} have a directory")
    try:
        last = open_page(tiff, form, int(offsets[-1]), len(offsets) - 1)
    except ValueError as error:
        whole = _whole_pages(tiff, form, offsets)
        raise _cut_short(path, whole, str(len(offsets)), str(error)) from error
    if (last.shape, last.dtype) != (first.shape, first.dtype):
        raise RecordingError(
            f"{path}: expected {kind_of(first.shape, first.dtype)} on all pages, the last has "
            f"{kind_of(last.shape, last.dtype)}. Save images of one size and type in a file."
        )
    if not (is_whole(first, size) and is_whole(last, size)):
        whole = _whole_pages(tiff, form, offsets)
        raise _cut_short(path, whole, str(len(offsets)), f"the file ends at byte {size}")
    at = offsets
    if raw:
        at = first.dataoffsets[0] + first.nbytes * np.arange(stated, dtype=np.int64)
    least = 8 + (sum(first.databytecounts) if first.compression == 1 else 0)
    hints = read_hints(tiff, form, first, offsets, len(at))
    return FileFacts(first.shape, first.dtype.newbyteorder("="), at, raw, least, hints)


def stated_pages(tiff: Any, page: Any) -> int:
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
        f"({fault}). {AGAIN}, or save the complete pages to a new file."
    )


def is_whole(page: Any, size: int) -> bool:
    """Tell whether all pixels of a page lie in a file of some size."""
    parts = list(zip(page.dataoffsets, page.databytecounts, strict=True))
    return bool(parts) and all(at and count and at + count <= size for at, count in parts)


def _whole_pages(tiff: Any, form: Form, offsets: np.ndarray) -> int:
    """Count the pages up to the last one whose pixels are all there."""
    for number in reversed(range(len(offsets))):
        try:
            page = open_page(tiff, form, int(offsets[number]), number)
        except (ValueError, tifffile.TiffFileError):
            continue
        if is_whole(page, form.size):
            return number + 1
    return 0
