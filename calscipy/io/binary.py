"""Movies as plain bytes (``.bin``) with their sizes in a ``.json`` file, as CalSciPy has them.

``mouse.bin`` holds the values in C order and ``mouse.json`` the four numbers ``frames``, ``y``,
``x`` and ``dtype``. CalSciPy refuses a JSON file that says more, so everything else that calscipy
knows stands in a third file, ``mouse.labels.json``.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from xarray.core import indexing

from calscipy import model
from calscipy.errors import ArgumentError, CalscipyWarning, RecordingError, warn
from calscipy.io.binary_array import BinaryArray
from calscipy.io.binary_sizes import Layout, find_layout, given_numbers
from calscipy.io.chunks import frames_per_chunk
from calscipy.io.labels import Labels, read_labels
from calscipy.io.movie_options import (
    channel_coordinate,
    channel_names,
    contradicts,
    no_frame_rate,
    pixel_coordinates,
    pixel_sizes,
    plane_coordinate,
    require_numbers,
    time_coordinate,
)

SUFFIX = ".bin"
DEFAULT_NAME = "binary_video.bin"  # of CalSciPy, in a folder
_MOST_LABELS = 2**28
LEADING = (model.FRAMES, model.CHANNEL, model.PLANE)


def open_binary(
    path: Path,
    *,
    frame_rate: float | None = None,
    frames: int | None = None,
    y: int | None = None,
    x: int | None = None,
    dtype: Any = None,
    channels: int | Sequence[str] | None = None,
    planes: int | None = None,
    microns_per_pixel: float | tuple[float, float] | None = None,
) -> xr.DataTree:
    """Open a binary file of CalSciPy or calscipy as a lazy movie.

    Values are read through a read-only memory map; the file is never changed.

    Parameters
    ----------
    path : Path
        The file ``name.bin``, with ``name.json`` beside it; or a folder with ``binary_video.bin``.
    frame_rate : float
        Frames (volumes) in a second. Only the labels that `to_binary` writes can replace it.
    frames : int, optional
        Images in the file: all of them, of every channel and plane.
    y, x : int, optional
        Rows and columns of an image.
    dtype : dtype, optional
        Type of a value. Of the four, three are enough where ``name.json`` is lost: the size of
        the file tells the other one. Without ``dtype``, values of 1, 2, 4 and 8 bytes are taken
        as uint8, uint16, float32 and float64, with a warning.
    channels : int or sequence of str, optional
        Number or names of the channels; within a frame, channels come one after the other.
    planes : int, optional
        Planes of a volume, one after the other within a channel.
    microns_per_pixel : float or (float, float), optional
        Size of a pixel in um, one or ``(y, x)``.

    Returns
    -------
    DataTree
        With the group ``movie``: ``(frames [, channel] [, plane], y, x)``.

    Raises
    ------
    ArgumentError
        If the frame rate or the sizes are unknown, or an argument does not fit.
    RecordingError
        If the file has not the bytes that its sizes need, or what lies beside it is damaged.

    Examples
    --------
    >>> _ = np.arange(24, dtype="uint16").tofile("m.bin")
    >>> _ = Path("m.json").write_text('{"frames": 2, "y": 3, "x": 4, "dtype": "uint16"}')
    >>> movie = open_binary(Path("m.bin"), frame_rate=30)["movie/movie"]
    >>> movie.shape, int(movie[1, 2, 3])
    ((2, 3, 4), 23)
    """
    path = _file_of(Path(path))
    require_numbers(frame_rate, planes)
    names, microns = channel_names(channels), pixel_sizes(microns_per_pixel)
    labels = _labels(path)
    layout = find_layout(path, given_numbers(frames, y, x, dtype), labels)
    if labels is not None and not _fit(path, labels, layout, names, planes):
        labels = None
    sizes = labels.sizes if labels else _sizes(path, layout, names, planes)
    array = BinaryArray(path, tuple(sizes.values()), layout.dtype)
    dims = tuple(sizes)
    chunks = dict.fromkeys(dims, 1) | {model.Y: layout.y, model.X: layout.x}
    frame_bytes = layout.y * layout.x * layout.dtype.itemsize
    per_chunk = frames_per_chunk(frame_bytes, sizes[model.FRAMES])
    chunks |= {model.FRAMES: min(sizes[model.FRAMES], per_chunk)}
    attrs = {"units": "count", "long_name": "fluorescence", model.SOURCE_ATTR: path.name}
    lazy = indexing.LazilyIndexedArray(array)
    values = xr.Variable(dims, lazy, attrs)
    movie = xr.DataArray(values) if labels is None else labels.label(values)
    if labels is None or names is not None:
        movie = movie.assign_coords(
            channel_coordinate(names or (None,), model.CHANNEL in dims)
            | plane_coordinate(sizes.get(model.PLANE, 1))
        )
    if labels is None or microns is not None:
        movie = movie.assign_coords(pixel_coordinates(layout.y, layout.x, microns))
    movie = _with_time(path, movie, frame_rate, labels is not None)
    movie.encoding["preferred_chunks"] = chunks
    dataset = movie.rename(model.MOVIE).to_dataset()
    dataset.attrs = {}
    source = {model.SOURCE_ATTR: movie.attrs.get(model.SOURCE_ATTR, path.name)}
    root = xr.Dataset(attrs={model.SCHEMA_ATTR: model.SCHEMA_VERSION, **source})
    return xr.DataTree.from_dict({"/": root, model.MOVIE: dataset})


def is_binary_folder(path: Path) -> bool:
    """Tell whether a folder is one that CalSciPy wrote a movie into."""
    return (path / DEFAULT_NAME).is_file()


def _file_of(path: Path) -> Path:
    path = path / DEFAULT_NAME if path.is_dir() else path
    if not path.is_file():
        raise RecordingError(f"{path}: there is no such file. Check the path.")
    return path


def _sizes(
    path: Path, layout: Layout, names: Sequence[str | None] | None, planes: int | None
) -> dict[str, int]:
    """Return the length of each dimension without labels."""
    channels, planes = len(names or (None,)), planes or 1
    frames, rest = divmod(layout.frames, channels * planes)
    if rest or not frames:
        raise ArgumentError(
            f"{path}: {layout.frames} images are not a multiple of channels={channels} x "
            f"planes={planes}: {rest or layout.frames} are left over. Give the numbers that the "
            "file was written with."
        )
    sizes = {model.FRAMES: frames, model.CHANNEL: channels, model.PLANE: planes}
    kept = {dim: n for dim, n in sizes.items() if n > 1 or dim == model.FRAMES}
    return kept | {model.Y: layout.y, model.X: layout.x}


def labels_file(path: Path) -> Path:
    """Return where the labels of a binary file stand."""
    return path.with_suffix(".labels.json")


def _labels(path: Path) -> Labels | None:
    file = labels_file(path)
    if not file.is_file():
        return None
    if file.stat().st_size > _MOST_LABELS:
        raise RecordingError(f"{file}: more than {_MOST_LABELS} bytes of labels. Move it away.")
    return read_labels(file.read_text("utf-8", errors="replace"), file)


def _fit(
    path: Path,
    labels: Labels,
    layout: Layout,
    names: Sequence[str | None] | None,
    planes: int | None,
) -> bool:
    """Tell whether labels are those of the movie that is opened; warn if they are not."""
    sizes = labels.sizes
    order = tuple(dim for dim in model.MOVIE_DIMS if dim in labels.dims)
    images = math.prod(sizes.get(dim, 1) for dim in LEADING)
    wanted = {model.CHANNEL: None if names is None else len(names), model.PLANE: planes}
    same = (
        labels.dims == order
        and {model.FRAMES, model.Y, model.X} <= set(order)
        and (images, sizes[model.Y], sizes[model.X]) == (layout.frames, layout.y, layout.x)
        and labels.dtype == layout.dtype.newbyteorder("=")
        and all(n in (None, sizes.get(dim, 1)) for dim, n in wanted.items())
    )
    if not same:
        asked = {dim: n for dim, n in wanted.items() if n is not None}
        warn(
            f"{path}: {labels_file(path).name} describes a movie of {sizes} and {labels.dtype}, "
            f"opened were {layout.frames} images of {layout.y} x {layout.x} {layout.dtype.name}"
            f"{f' with {asked}' if asked else ''}. Its labels are left out.",
            CalscipyWarning,
        )
    return same


def _with_time(
    path: Path, movie: xr.DataArray, frame_rate: float | None, labelled: bool
) -> xr.DataArray:
    """Give the frames the times of a rate, unless they have them from labels that agree."""
    if frame_rate is None and labelled:
        return movie
    if frame_rate is None and movie.sizes[model.FRAMES] > 1:
        raise no_frame_rate(path, "a binary file does not say")
    rate = 1.0 if frame_rate is None else frame_rate
    if labelled and model.TIME in movie.coords:
        times, source = model.seconds(movie, "open"), f"the labels in {labels_file(path).name}"
        if not contradicts(path, source, rate, times, None):
            return movie
    movie = movie.drop_vars(model.PLANE_TIME, errors="ignore")
    return movie.assign_coords(
        {model.TIME: time_coordinate(np.arange(movie.sizes[model.FRAMES]) / rate)}
    )
