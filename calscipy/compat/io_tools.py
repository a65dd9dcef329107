"""Images as TIFF and as plain bytes (``CalSciPy.io_tools``)."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import numpy as np
import xarray as xr

from calscipy import model
from calscipy.blocks.memory import empty_block
from calscipy.errors import ArgumentError, RecordingError
from calscipy.io.binary_sizes import KEYS, find_layout, given_numbers
from calscipy.io.binary_writer import to_binary
from calscipy.io.tiff import SUFFIXES, open_tiff
from calscipy.io.tiff_writer import to_tiff

PathLike = str | os.PathLike[str]


def load_binary(
    path: PathLike,
    mapped: bool = False,
    mode: Literal["r", "r+", "c"] = "r+",
    missing_metadata: Mapping[str, Any] | None = None,
) -> np.ndarray | np.memmap:
    """Load images that `save_binary` has written.

    Now: ``cs.ImagingSession.open("mouse.bin", frame_rate=30).movie``

    Parameters
    ----------
    path : path
        The file, or the folder of ``binary_video.bin``, or of one file of another name.
    mapped : bool, default False
        Map the file instead of reading it.
    mode : {"r+", "r", "c"}, default "r+"
        Of a mapped file: what is written to the array goes to the file (``"r+"``, as in 0.3.5:
        take ``"r"`` for raw data), is refused, or stays in memory.
    missing_metadata : mapping, optional
        ``frames``, ``y``, ``x`` and ``dtype``, if the JSON file is lost: three of them are enough.

    Returns
    -------
    ndarray or memmap, shape (frames, y, x)

    Raises
    ------
    RecordingError
        If the file has other bytes than the numbers need. It is never made longer.
    ArgumentError
        If too few numbers are known.
    """
    given = dict(missing_metadata or {})
    if mode not in ("r", "r+", "c") or set(given) - set(KEYS):
        raise ArgumentError(
            f"load_binary takes the modes 'r', 'r+' and 'c', and {', '.join(KEYS)} as metadata; "
            f"got {mode!r} and {sorted(given)}."
        )
    file = Path(path)
    if file.is_dir():
        found = sorted(file.glob("*.bin"))
        file = found[0] if len(found) == 1 else file / "binary_video.bin"
    file = file if file.suffix == ".bin" else file.with_name(f"{file.name}.bin")
    if not file.is_file():
        raise RecordingError(f"{file}: there is no such file. Check the path.")
    layout = find_layout(file, given_numbers(**(dict.fromkeys(KEYS) | given)), None)
    shape = layout.frames, layout.y, layout.x
    if mapped:
        return np.memmap(file, layout.dtype, mode, shape=shape)
    images = empty_block(shape, layout.dtype)
    with file.open("rb") as stream:
        stream.readinto(images.data)
    return images


def load_images(path: PathLike) -> np.ndarray:
    """Load the images of a TIFF file, or of all TIFF files in a folder.

    Now: ``cs.ImagingSession.open("mouse.tif", frame_rate=30).movie``

    Parameters
    ----------
    path : path
        A file, or a folder whose files are joined in the order of their numbers (``img2`` before
        ``img10``).

    Returns
    -------
    ndarray, shape (frames, y, x)
        Of the dtype of the files.

    Raises
    ------
    RecordingError
        If there is no such file, no image, or images of different sizes.
    """
    try:
        tree = open_tiff(Path(path))
    except ArgumentError:  # the file states no rate, and nobody asks for times
        tree = open_tiff(Path(path), frame_rate=1.0)
    pages = (model.FRAMES, model.PLANE, model.CHANNEL, ...)
    values = tree[model.MOVIE][model.MOVIE].transpose(*pages, missing_dims="ignore").values
    return np.reshape(values, (-1, *values.shape[-2:]))


def save_binary(path: PathLike, images: np.ndarray, name: str = "binary_video") -> int:
    """Save images as plain bytes, with their sizes in a JSON file.

    Now: ``movie.cs.to_binary("new.bin")``

    Parameters
    ----------
    path : path
        The file, to which ``.bin`` is added if it is missing; or a folder that exists.
    images : ndarray, shape (frames, y, x)
        Images.
    name : str, default "binary_video"
        Name of the file in a folder.

    Returns
    -------
    int
        0, once everything is on the disk.

    Raises
    ------
    TargetExistsError
        If there is such a file; 0.3.5 wrote over it.
    """
    to_binary(_movie(images), _target(path, name, (".bin",)), progress=False)
    return 0


def save_images(
    path: PathLike, images: np.ndarray, name: str = "images", size_cap: float = 3.9
) -> int:
    """Save images as one TIFF file, or as several if they are too large.

    Now: ``movie.cs.to_tiff("new.tif")``

    Parameters
    ----------
    path : path
        The file, to which ``.tif`` is added if it is missing; or a folder that exists.
    images : ndarray, shape (frames, y, x)
        Images; values keep their type.
    name : str, default "images"
        Name of the file in a folder.
    size_cap : float, default 3.9
        Largest size of a file, in 1e9 bytes. Several files are put into a new folder, which is
        called like the file without its ending; `load_images` joins them.

    Returns
    -------
    int
        0, once everything is on the disk.

    Raises
    ------
    TargetExistsError
        If there is such a file or folder; 0.3.5 wrote over it.
    ArgumentError
        If a single image is larger than a file may be.
    """
    movie, target = _movie(images), _target(path, name, SUFFIXES)
    if movie.nbytes <= size_cap * 1e9:
        to_tiff(movie, target, progress=False)
    else:
        cap = int(size_cap * 1e9)
        to_tiff(movie, target.with_suffix(""), max_file_bytes=cap, progress=False)
    return 0


def _movie(images: np.ndarray) -> xr.DataArray:
    return xr.DataArray(np.asarray(images), dims=(model.FRAMES, model.Y, model.X))


def _target(path: PathLike, name: str, suffixes: tuple[str, ...]) -> Path:
    file = Path(path) / name if Path(path).is_dir() else Path(path)
    file = file if file.suffix.lower() in suffixes else file.with_name(f"{file.name}{suffixes[0]}")
    file.parent.mkdir(parents=True, exist_ok=True)
    return file
