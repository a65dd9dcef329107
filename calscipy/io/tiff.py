"""TIFF and BigTIFF files as movies: one file, or the files of a folder joined along time."""

from __future__ import annotations

import hashlib
import math
import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from xarray.core import indexing

from calscipy import model
from calscipy.errors import (
    ArgumentError,
    RecordingError,
)
from calscipy.io.chunks import frames_per_chunk
from calscipy.io.prairieview import is_master
from calscipy.io.tiff_hints import Hints, is_positive
from calscipy.io.tiff_pages import PageStack, TiffArray, scan_files

SUFFIXES = (".tif", ".tiff")

_PRAIRIEVIEW = re.compile(r"_Cycle\d+_Ch(\d+)_\d+(\.ome)?\.tiff?$", re.IGNORECASE)


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
    microns = _pixel_sizes(microns_per_pixel)
    _require_numbers(frame_rate, planes)
    files = _find(path)
    named = _prairieview_channel(path, files, frame_rate)
    stack, hints = scan_files(path if path.is_dir() else path.parent, files)
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


def _require_numbers(frame_rate: float | None, planes: int | None) -> None:
    if planes is not None and not _is_count(planes):
        raise ArgumentError(f"planes must be a whole number from 1 on, got {planes!r}.")
    if frame_rate is not None and not is_positive(frame_rate):
        raise ArgumentError(f"frame_rate must be a positive number in Hz, got {frame_rate!r}.")


def _pixel_sizes(given: float | tuple[float, float] | None) -> tuple[float, float] | None:
    if given is None:
        return None
    sizes = given if isinstance(given, tuple | list) else (given, given)
    if len(sizes) == 2 and all(map(is_positive, sizes)):
        return float(sizes[0]), float(sizes[1])
    raise ArgumentError(
        f"microns_per_pixel must be one positive number in um, or two (y, x), got {given!r}."
    )


def _is_count(value: Any) -> bool:
    numeric = isinstance(value, int | np.integer) and not isinstance(value, bool)
    return numeric and bool(value >= 1)


def _frame_rate(path: Path, given: float | None, hints: Hints) -> float:
    rate = hints.frame_rate if given is None else given
    if rate is None:
        raise ArgumentError(
            f"{path}: the file does not say how fast it was recorded, and calscipy assumes no "
            "frame rate. Give it in Hz (volumes in a second if it has planes): "
            "open(path, frame_rate=...)."
        )
    return float(rate)


def _interleaving(path: Path, hints: Hints) -> tuple[tuple[str | None, ...], int]:
    """Return the channels and planes that the metadata state for the pages of a file."""
    sizes = {dim: hints.sizes.get(dim, 1) for dim in "CZT"}
    if sizes["T"] == 1:  # many programs call the frames of a movie slices
        sizes |= {"Z": 1, "T": sizes["Z"]}
    if sizes["T"] == 1 or sizes["C"] * sizes["Z"] == 1:
        return (None,), 1  # without time, "channels" are often frames, too
    if [dim for dim in hints.order if sizes.get(dim, 1) > 1] != [
        dim for dim in "CZT" if sizes[dim] > 1
    ]:
        raise RecordingError(
            f"{path}: the metadata say that pages run in the order {hints.order} with sizes "
            f"{sizes}; channels first, then planes, then frames were expected. Save it in that "
            "order (ImageJ: hyperstack xyczt), or give channels= and planes= to overrule them."
        )
    return _channel_names(sizes["C"]) or (None,), sizes["Z"]


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


def _movie(
    path: Path, stack: PageStack, token: str, names: Sequence[str | None], planes: int
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
    frame_bytes = math.prod(stack.shape) * stack.dtype.itemsize
    per_chunk = frames_per_chunk(frame_bytes, frames)
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


def _identity(stack: PageStack, files: dict[str, os.stat_result]) -> str:
    """Name the files, as they are now, for dask."""
    text = [str(Path(stack.folder).resolve()), str(stack.valid.size)]
    text += [f"{name}|{stat.st_size}|{stat.st_mtime_ns}" for name, stat in files.items()]
    return hashlib.sha256(os.fsencode("\n".join(text))).hexdigest()[:32]
