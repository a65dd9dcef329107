"""TIFF and BigTIFF files as movies: one file, or the files of a folder joined along time."""

from __future__ import annotations

import hashlib
import math
import os
import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from xarray.core import indexing

from calscipy import model
from calscipy.errors import CalscipyWarning, RecordingError, warn
from calscipy.io.chunks import frames_per_chunk
from calscipy.io.labels import Labels
from calscipy.io.movie_options import (
    channel_coordinate,
    channel_names,
    contradicts,
    pixel_coordinates,
    pixel_sizes,
    plane_coordinate,
    require_numbers,
    time_coordinate,
)
from calscipy.io.ome_xml import restore
from calscipy.io.prairieview import is_master
from calscipy.io.tiff_array import TiffArray
from calscipy.io.tiff_layout import Plan, plan_pages
from calscipy.io.tiff_pages import PageStack, scan_files
from calscipy.io.tiff_times import Times, compare_microns, frame_times

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

    Rate, times, channels, planes and sizes come from OME metadata, from those of ScanImage (3 and
    later) and ImageJ where the file has them. What is given as an argument is used instead, with
    a warning where it contradicts them.

    The files of a folder are joined along time in natural order (``img2`` before ``img10``), or as
    the OME metadata of the first one say; if they have one page each, only the first is opened.
    Without metadata, pages run through the channels first, then the planes, then the frames.

    Parameters
    ----------
    path : Path
        A file, or a folder.
    frame_rate : float, optional
        Frames (volumes) in a second. Required where metadata state neither it nor times, and
        there is more than one frame.
    channels : int or sequence of str, optional
        Number or names of the channels.
    planes : int, optional
        Planes of a volume.
    microns_per_pixel : float or (float, float), optional
        Size of a pixel in um, one or ``(y, x)``.

    Returns
    -------
    DataTree
        With the group ``movie``: ``(frames [, channel] [, plane], y, x)``. ``time`` are the times
        that OME metadata (``DeltaT``) or ScanImage (``frameTimestamps_sec``) give, else made from
        the rate. Images that metadata promise and the files lack are False in ``valid`` and read
        as 0, with one warning. A file of `to_tiff` has all labels that were written.

    Raises
    ------
    ArgumentError
        If the frame rate is unknown, or an argument does not fit the pages.
    RecordingError
        If there are no TIFF files, their pages are not those of one movie, or metadata contradict
        the pages.
    FrameError
        If a file is damaged. Among one-page files, empty and too small ones are False in
        ``valid`` and read as 0 instead, with one warning.

    Notes
    -----
    Where ImageJ's or OME's metadata state one frame with several "slices", or with several
    channels without names, these are taken for the frames, as many programs write them. Images
    that ScanImage takes while the focus flies back are left out; several images of one plane in a
    row become frames of their own.

    Examples
    --------
    >>> import tifffile
    >>> data = np.zeros((6, 2, 8, 8), "uint16")
    >>> names = {"Channel": {"Name": ["green", "red"]}}
    >>> timing = {"axes": "TCYX", "TimeIncrement": 0.05, "TimeIncrementUnit": "s"}
    >>> tifffile.imwrite("m.ome.tif", data, photometric="minisblack", metadata=timing | names)
    >>> movie = open_tiff(Path("m.ome.tif"))["movie/movie"]
    >>> movie.shape, movie.channel.values.tolist(), float(movie.time[2])
    ((6, 2, 8, 8), ['green', 'red'], 0.1)
    """
    path = Path(path)
    given = channel_names(channels)
    microns = pixel_sizes(microns_per_pixel)
    require_numbers(frame_rate, planes)
    files = _find(path)
    named = _prairieview_channel(path, files, frame_rate)
    folder = path if path.is_dir() else path.parent
    stack, hints = scan_files(folder, files, together=path.is_dir() and named is None)
    plan = plan_pages(path, list(files), stack.starts, hints, given, planes, named is not None)
    if plan.channels == (None,) and named:
        plan = replace(plan, channels=(named,))
    for note in hints[0].notes:
        warn(f"{path}: {note}.", CalscipyWarning)
    clash = frame_rate is not None and contradicts(
        path, f"the {plan.hints.source}", frame_rate, plan.measured, plan.hints.frame_rate
    )
    labels = _labels(path, plan, stack.dtype)
    movie = _movie(path, stack, _identity(stack, files), plan, labels)
    untimed = labels is not None and model.TIME not in labels.coords and frame_rate is not None
    if labels is None or clash or untimed:
        times = frame_times(path, plan, frame_rate)
        movie = movie.drop_vars(model.PLANE_TIME, errors="ignore").assign_coords(
            _time_coords(times, plan.borders)
        )
        if times.source:
            movie[model.MOVIE].attrs["frame_rate_source"] = times.source
    if labels is None or microns is not None:
        microns = compare_microns(path, microns, plan.hints)
        movie = movie.assign_coords(pixel_coordinates(*stack.shape, microns))
    if labels is not None and given is not None:
        movie = movie.assign_coords(channel_coordinate(plan.channels, model.CHANNEL in movie.dims))
    source = {model.SOURCE_ATTR: movie[model.MOVIE].attrs.get(model.SOURCE_ATTR, path.name)}
    root = xr.Dataset(attrs={model.SCHEMA_ATTR: model.SCHEMA_VERSION, **source})
    return xr.DataTree.from_dict({"/": root, model.MOVIE: movie})


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


def _labels(path: Path, plan: Plan, dtype: np.dtype) -> Labels | None:
    """Return what calscipy wrote beside the pixels, if these are still the ones described."""
    labels = restore(plan.hints.text, path) if plan.hints.text else None
    if labels is None:
        return None
    sizes = dict(zip(_LEADING, plan.table.shape, strict=True))
    same = all(labels.sizes.get(dim, 1) == size for dim, size in sizes.items())
    stored = {"bool": "uint8", "float16": "float32"}.get(labels.dtype.name, labels.dtype.name)
    if same and stored == dtype.name and set(labels.dims) <= set(model.MOVIE_DIMS):
        return labels
    warn(
        f"{path}: the labels in the file are those of a movie of {labels.sizes} and "
        f"{labels.dtype}, opened were {sizes} and {dtype}. They are left out.",
        CalscipyWarning,
    )
    return None


_LEADING = (model.FRAMES, model.CHANNEL, model.PLANE)


def _movie(
    path: Path, stack: PageStack, token: str, plan: Plan, labels: Labels | None
) -> xr.Dataset:
    """Label the pages, but for times and sizes of pixels."""
    kept = [
        axis
        for axis, dim in enumerate(_LEADING)
        if dim == model.FRAMES
        or (plan.table.shape[axis] > 1 if labels is None else dim in labels.dims)
    ]
    table = plan.table.reshape([plan.table.shape[axis] for axis in kept])
    leading = tuple(_LEADING[axis] for axis in kept)
    dims = (*leading, model.Y, model.X)
    array = TiffArray(stack, table, token, None if labels is None else labels.dtype)
    frame_bytes = math.prod(stack.shape) * array.dtype.itemsize
    chunks = dict.fromkeys(dims, 1) | dict(zip((model.Y, model.X), stack.shape, strict=True))
    chunks |= {model.FRAMES: min(len(table), frames_per_chunk(frame_bytes, len(table)))}
    attrs: dict[str, Any] = {"units": "count", "long_name": "fluorescence"}
    attrs |= {model.SOURCE_ATTR: path.name or str(path)} | plan.hints.attrs
    if plan.hints.flyback:
        attrs |= {"flyback_images_left_out": plan.hints.flyback}
    movie = xr.Variable(
        dims,
        indexing.LazilyIndexedArray(array),
        attrs=attrs if labels is None else labels.attrs,
        encoding={"preferred_chunks": chunks},
    )
    valid = (table >= 0) & stack.valid[stack.file_of(np.maximum(table, 0))]
    flags = xr.Variable(leading, valid, {"long_name": "frame is present and whole"})
    coords = {model.VALID: flags}
    if labels is not None:
        coords = _restored(labels, flags)
    else:
        coords |= channel_coordinate(plan.channels, model.CHANNEL in leading)
        coords |= plane_coordinate(plan.table.shape[2]) | _z_coord(plan)
    return xr.Dataset({model.MOVIE: movie}, coords)


def _restored(labels: Labels, flags: xr.Variable) -> dict[str, xr.Variable]:
    """Return the coordinates that were written, and ``valid`` where images are missing."""
    coords = dict(labels.coords)
    if model.FRAMES not in labels.dims:  # an image is one frame
        coords[model.TIME] = xr.Variable(
            model.FRAMES, np.atleast_1d(coords.get(model.TIME, xr.Variable((), 0.0)).values)
        )
    if not flags.all():
        coords[model.VALID] = flags & coords[model.VALID] if model.VALID in coords else flags
    return coords


def _z_coord(plan: Plan) -> dict[str, xr.Variable]:
    z = plan.hints.z
    if z is None or plan.table.shape[2] != len(z) or len(z) == 1:
        return {}
    attrs = {"units": "um", "long_name": f"Z position ({plan.hints.source})"}
    return {model.Z: xr.Variable(model.PLANE, np.array(z), attrs)}


def _time_coords(times: Times, borders: np.ndarray) -> dict[str, xr.Variable]:
    coords = {model.TIME: time_coordinate(times.frames)}
    if times.planes is not None:
        attrs = {"units": "s", "long_name": "time of the plane since the first frame"}
        dims = (model.FRAMES, model.PLANE)
        coords[model.PLANE_TIME] = xr.Variable(dims, times.planes, attrs)
    if borders.size:
        epoch = np.zeros(len(times.frames), np.int64)
        epoch[borders] = 1
        attrs = {"long_name": "stretch that filters and baselines do not cross"}
        coords[model.EPOCH] = xr.Variable(model.FRAMES, 1 + np.cumsum(epoch), attrs)
    return coords


def _identity(stack: PageStack, files: dict[str, os.stat_result]) -> str:
    """Name the files, as they are now, for dask."""
    text = [str(Path(stack.folder).resolve()), str(stack.valid.size)]
    text += [f"{name}|{stat.st_size}|{stat.st_mtime_ns}" for name, stat in files.items()]
    return hashlib.sha256(os.fsencode("\n".join(text))).hexdigest()[:32]
