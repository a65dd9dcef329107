"""The movie that suite2p keeps: int16, one file for each plane and channel, registered in place."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from xarray.backends import BackendArray
from xarray.core import indexing

from calscipy import model
from calscipy.blocks.memory import empty_block
from calscipy.errors import ArgumentError, CalscipyWarning, RecordingError, warn
from calscipy.history import append, history_line
from calscipy.io.chunks import MAX_PIXELS, Chunks, chunk_movie
from calscipy.io.npy import FileArray, raw_numbers
from calscipy.io.raw_blocks import fitted
from calscipy.io.suite2p.folders import MOVIE, OTHER_MOVIE, Folder, find_folder, number_of
from calscipy.io.suite2p.labels import Export, coords_of, read_export
from calscipy.io.suite2p.settings import PlaneSettings
from calscipy.kernels.rois import require_image_shape

DTYPE = "<i2"
FILL_VALUE = 0
RATE_TOLERANCE = 0.01


def open_suite2p_movie(
    path: str | os.PathLike[str],
    *,
    frame_rate: float | None = None,
    image_shape: tuple[int, int] | None = None,
    chunks: Chunks = "frames",
) -> xr.DataArray:
    """Open the movie in a folder of suite2p lazily and read-only.

    Parameters
    ----------
    path : path
        The folder ``suite2p``, the folder of one plane, or one file such as ``data.bin`` or
        ``data_raw.bin``. Once suite2p has run, ``data.bin`` holds the registered movie.
    frame_rate : float, optional
        Frames (volumes) in a second; by default what the settings of suite2p say.
    image_shape : (int, int), optional
        Rows and columns; by default what the settings beside the file say.
    chunks : {"frames", "time"}, mapping or None
        As in `ImagingSession.open`.

    Returns
    -------
    DataArray
        Movie ``(frames [, channel] [, plane], y, x)`` of int16. The channel in which suite2p looks
        for ROIs is in ``data.bin``, the other one in ``data_chan2.bin``. Planes of fewer frames
        than others are 0 and not ``valid`` at their end. A folder that `to_suite2p` wrote gives
        back names, times and all other labels; its movie is of the former type until suite2p
        has registered it.

    Raises
    ------
    RecordingError
        If a file has not the size that its settings say, naming both.
    ArgumentError
        If frame rate or image size are unknown.

    Notes
    -----
    suite2p halves uint16 values when it converts TIFF files, as int16 ends at 32767.

    Examples
    --------
    >>> import calscipy as cs
    >>> from calscipy.io.suite2p import to_suite2p
    >>> movie = cs.from_numpy(np.ones((3, 4, 5), "uint16"), frame_rate=30)
    >>> folder = to_suite2p(movie, "mouse12", progress=False)
    >>> open_suite2p_movie(folder).identical(movie.chunk())
    True
    """
    place = Path(path)
    if image_shape is not None:
        image_shape = require_image_shape(image_shape, "open_suite2p_movie")
    if place.is_file():
        root = place.absolute().parent
        folder = Folder(root, {number_of(root): root})
        table = [[place]]
    else:
        folder = find_folder(place)
        table = movie_files(folder)
    settings = {number: PlaneSettings(folder, at) for number, at in folder.planes.items()}
    found = movie_in(folder, settings, table, frame_rate=frame_rate, image_shape=image_shape)
    if found is None:
        raise RecordingError(
            f"{path}: there is no {MOVIE} in every plane. suite2p deletes it where it is told to "
            "(delete_bin) and leaves it elsewhere where it is told to (fast_disk)."
        )
    return chunk_movie(found, chunks)[model.MOVIE]


def movie_files(folder: Folder) -> list[list[Path]]:
    """Return the files of each channel that every plane has."""
    table = []
    for name in (MOVIE, OTHER_MOVIE):
        files = [folder.file(place, name) for place in folder.planes.values()]
        present = [file for file in files if file is not None]
        if len(present) == len(files):
            table.append(present)
    return table


def movie_in(
    folder: Folder,
    settings: Mapping[int | None, PlaneSettings],
    table: Sequence[Sequence[Path]],
    *,
    frame_rate: float | None,
    image_shape: tuple[int, int] | None = None,
) -> xr.Dataset | None:
    """Open a movie of files by channel and plane, without dask; None if there are none."""
    if not table:
        return None
    arrays = [
        [_numbers(file, of, image_shape) for file, of in zip(row, settings.values(), strict=True)]
        for row in table
    ]
    shapes = sorted({array.shape[1:] for row in arrays for array in row})
    if len(shapes) > 1:
        raise RecordingError(
            f"{folder.root}: planes of different sizes {shapes}, which one movie cannot hold. "
            "Open the folder of one plane."
        )
    names = [row[0].name for row in table]
    return _labelled(_Files(folder, settings, arrays, names, read_export(folder.top)), frame_rate)


@dataclass(frozen=True)
class _Files:
    """The files of a movie."""

    folder: Folder
    settings: Mapping[int | None, PlaneSettings]
    arrays: list[list[FileArray]]  # by channel and plane
    names: list[str]  # of the files of each channel
    export: Export | None  # if calscipy wrote them

    @property
    def first(self) -> PlaneSettings:
        return next(iter(self.settings.values()))

    @property
    def channels(self) -> list[int]:
        """Number of each channel in the recording, from 1 on, in the order of the files."""
        functional = self.first.count("functional_chan") or 1
        if self.export is not None:
            functional = self.export.functional + 1
        other = 1 if functional == 2 else 2
        return [other if "chan2" in name else functional for name in self.names]


def _numbers(file: Path, settings: PlaneSettings, shape: tuple[int, int] | None) -> FileArray:
    """Open one file, whose size is checked against the settings."""
    shape = settings.shape if shape is None else shape
    if shape is None:
        raise ArgumentError(
            f"{file}: nothing beside it says how large its images are. Give "
            "image_shape=(rows, columns)."
        )
    if math.prod(shape) > MAX_PIXELS:
        raise RecordingError(f"{file}: images of {shape} pixels, more than {MAX_PIXELS} in all.")
    frames = settings.count("nframes")
    if frames is None:
        try:
            size = file.stat().st_size
        except OSError as error:
            raise RecordingError(f"{file}: the file cannot be read ({error}).") from error
        frames = size // (math.prod(shape) * np.dtype(DTYPE).itemsize)
    return raw_numbers(file, (frames, *shape), DTYPE)


class StackedFiles(BackendArray):
    """Files of frames as one lazy array ``(frames, channel, plane, y, x)``.

    Parameters
    ----------
    files : list of list of FileArray
        By channel and plane, each ``(frames, y, x)``. Frames that one lacks are 0.
    dtype : dtype
        Of the result.
    """

    def __init__(self, files: list[list[FileArray]], dtype: np.dtype) -> None:
        self.files = files
        frames = max(file.shape[0] for row in files for file in row)
        self.shape = (frames, len(files), len(files[0]), *files[0][0].shape[1:])
        self.dtype = dtype

    def __dask_tokenize__(self) -> tuple[Any, ...]:
        return (*(file.token for row in self.files for file in row), self.dtype)

    def __getitem__(self, key: indexing.ExplicitIndexer) -> Any:
        """Read what an indexer asks for."""
        return indexing.explicit_indexing_adapter(
            key, self.shape, indexing.IndexingSupport.OUTER, self._read
        )

    def _read(self, key: tuple[Any, ...]) -> np.ndarray:
        places = [
            np.atleast_1d(np.arange(size)[item]) for size, item in zip(self.shape, key, strict=True)
        ]
        frames, channels, planes, rows, columns = places
        out = empty_block([len(part) for part in places], self.dtype)
        for at, channel in enumerate(channels):
            for to, plane in enumerate(planes):
                file = self.files[channel][plane]
                there = frames < file.shape[0]
                part = tuple(_run(list_) for list_ in (frames[there], rows, columns))
                out[~there, at, to] = FILL_VALUE
                out[there if not there.all() else slice(None), at, to] = fitted(
                    file.read(part), self.dtype
                )
        dropped = tuple(at for at, item in enumerate(key) if isinstance(item, int | np.integer))
        return out.squeeze(axis=dropped)


def _run(places: np.ndarray) -> np.ndarray | slice:
    """Return neighbouring places as a slice, which reads without a copy."""
    if places.size and np.array_equal(places, np.arange(places[0], places[0] + places.size)):
        return slice(int(places[0]), int(places[0]) + places.size)
    return places


def _labelled(files: _Files, frame_rate: float | None) -> xr.Dataset:
    order = np.argsort(files.channels, kind="stable")
    rows = [files.arrays[at] for at in order]
    fitting = _fitting(files)
    dtype = np.dtype(np.int16)
    dims: tuple[str, ...] = (model.FRAMES, model.Y, model.X)
    if fitting is None or files.export is None:
        coords, attrs = _own_labels(files, frame_rate, np.array(files.channels)[order])
    else:
        coords, attrs, dims = fitting
        coords |= _given_times(files, frame_rate, coords)
        dtype = dtype if _is_registered(files) else files.export.labels.dtype
    stack = StackedFiles(rows, dtype)
    variable = xr.Variable(model.MOVIE_DIMS, indexing.LazilyIndexedArray(stack), attrs)
    single = [dim for dim in model.MOVIE_DIMS if variable.sizes[dim] == 1 and dim not in dims]
    variable = variable.isel(dict.fromkeys(single, 0))
    counts = np.array([[file.shape[0] for file in row] for row in rows])
    if (counts < stack.shape[0]).any():
        coords[model.VALID] = _present(counts, stack.shape[0], single)
    if _is_registered(files):
        line = history_line("suite2p registration", {"version": version_of(files.first)})
        variable.attrs["history"] = append(attrs.get("history"), line)
    if fitting is not None:
        variable = variable.transpose(*dims)
    return xr.Dataset({model.MOVIE: variable}, coords)


def _fitting(
    files: _Files,
) -> tuple[dict[str, xr.Variable], dict[str, Any], tuple[str, ...]] | None:
    """Return coordinates, attributes and dimensions of the movie that calscipy wrote here.

    None if it was another program, or the labels are those of other files.
    """
    if files.export is None:
        return None
    labels = files.export.labels
    sizes = labels.sizes
    wanted = [sizes.get(dim, 1) for dim in model.MOVIE_DIMS]
    _, rows, columns = files.arrays[0][0].shape
    counts = {file.shape[0] for row in files.arrays for file in row}
    planes = list(files.settings)
    known = all(number is not None and number < wanted[2] for number in planes)
    if counts != {wanted[0]} or [rows, columns] != wanted[3:] or not known:
        return None
    if len(planes) not in (1, wanted[2]) or len(files.arrays) not in (1, wanted[1]):
        return None
    places = {}
    if len(planes) < wanted[2]:
        places[model.PLANE] = int(planes[0] or 0)
    if len(files.arrays) < wanted[1]:
        places[model.CHANNEL] = files.channels[0] - 1
    dims = tuple(dim for dim in labels.dims if dim not in places)
    return coords_of(labels, dims, **places), dict(labels.attrs), dims


def _own_labels(
    files: _Files, frame_rate: float | None, channels: np.ndarray
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return what suite2p itself says."""
    _, rows, columns = files.arrays[0][0].shape
    frames = max(file.shape[0] for row in files.arrays for file in row)
    rate = rate_of(files.folder.root, frame_rate, files.first.number("fs"))
    coords: dict[str, Any] = {model.TIME: time_axis(model.FRAMES, frames, rate)}
    for dim, size in ((model.Y, rows), (model.X, columns)):
        coords[dim] = model.pixel_coordinate(dim, size, None)
    if len(channels) > 1:
        coords[model.CHANNEL] = (model.CHANNEL, [f"Ch{number}" for number in channels])
    coords |= plane_coord(files.settings)
    attrs = {"units": "count", "long_name": "fluorescence"}
    return coords, attrs | {model.SOURCE_ATTR: files.folder.root.name}


def _given_times(
    files: _Files, frame_rate: float | None, coords: Mapping[str, xr.Variable]
) -> dict[str, xr.Variable]:
    """Return times for a frame rate that was given and is not that of the labels."""
    times = np.asarray(coords[model.TIME].values) if model.TIME in coords else np.zeros(0)
    usual = float(np.median(np.diff(times))) if times.size > 1 else 0.0
    stated = 1 / usual if usual > 0 else files.first.number("fs")
    if frame_rate is None and times.size:
        return {}
    rate = rate_of(files.folder.root, frame_rate, stated)
    if stated is not None and abs(rate / stated - 1) <= RATE_TOLERANCE and times.size:
        return {}
    return {model.TIME: time_axis(model.FRAMES, files.arrays[0][0].shape[0], rate)}


def _is_registered(files: _Files) -> bool:
    return files.names[0] in (MOVIE, OTHER_MOVIE) and "yoff" in files.first.values


def plane_coord(settings: Mapping[int | None, PlaneSettings]) -> dict[str, xr.Variable]:
    """Return the numbers of the planes; none for the only plane of a recording."""
    numbers = list(settings)
    if len(numbers) > 1:
        return {model.PLANE: xr.Variable(model.PLANE, np.array(numbers))}
    (number,) = numbers
    if number is None or (number == 0 and (settings[number].count("nplanes") or 1) == 1):
        return {}
    return {model.PLANE: xr.Variable((), number)}


def version_of(settings: PlaneSettings) -> str | None:
    """Return the version of suite2p that wrote a folder, None if it did not say."""
    for name in ("version", "suite2p_version"):
        value = settings.values.get(name)
        if isinstance(value, str) and len(value) < 40:
            return value
    return None


def _present(counts: np.ndarray, frames: int, single: list[str]) -> xr.Variable:
    there = np.arange(frames)[:, None, None] < counts
    dims = (model.FRAMES, model.CHANNEL, model.PLANE)
    attrs = {"long_name": "frame is present and whole"}
    return xr.Variable(dims, there, attrs).isel(dict.fromkeys(single, 0))


def time_axis(dim: str, count: int, rate: float) -> xr.Variable:
    """Make evenly spaced times in s from 0 on."""
    attrs = {"units": "s", "long_name": "time since the first frame"}
    return xr.Variable(dim, np.arange(count) / rate, attrs)


def rate_of(where: Path, given: float | None, stated: float | None) -> float:
    """Return the frame rate that was given, else what the files say; warn where they disagree.

    Raises
    ------
    ArgumentError
        If there is none.
    """
    if given is not None:
        numeric = isinstance(given, int | float | np.number) and not isinstance(given, bool)
        if not numeric or not 0 < given < np.inf:
            raise ArgumentError(f"frame_rate must be a positive number in Hz, got {given!r}.")
    if given is not None and stated and abs(given / stated - 1) > RATE_TOLERANCE:
        warn(
            f"{where}: suite2p worked with {stated:.6g} frames/s, but the rate is "
            f"{given:.6g}, which is used. Spikes and baselines of suite2p depend on it: run "
            "suite2p again with the right one.",
            CalscipyWarning,
        )
    rate = given if given is not None else stated
    if rate is None or not rate > 0:
        raise ArgumentError(
            f"{where}: the settings of suite2p do not say how fast it was recorded (fs), and "
            "calscipy assumes no frame rate. Give it in Hz: frame_rate=..."
        )
    return float(rate)
