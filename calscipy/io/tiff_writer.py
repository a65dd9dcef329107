"""Movies and images as BigTIFF files with OME metadata, written block by block."""

from __future__ import annotations

import math
import os
import uuid
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
import xarray as xr
from dask.base import tokenize

from calscipy import history, model
from calscipy._version import __version__
from calscipy.errors import ArgumentError, DimensionError
from calscipy.io.ome_xml import TYPES, File, ome_xml
from calscipy.io.output import new_file, new_folder, require_space
from calscipy.io.paths import local_path
from calscipy.io.raw_blocks import RawBlocks, values_of, write_blocks

SUFFIXES = (".tif", ".tiff")
_WIDER = {"bool": "uint8", "float16": "float32"}  # types that OME lacks, stored without loss
_PAGE_BYTES = 512  # of the directory of a page, at most
_HEAD_BYTES = 2**11  # of the header and the first directory, without its description
_FILE_XML_BYTES = 500  # that one more file adds to the description
_UM_IN_CM = 1e4
_NAMESPACE = uuid.UUID("8f0a3a0e-55a7-5a0b-9c69-2b7a6f3d5c11")


def to_tiff(
    data: xr.DataArray,
    path: str | os.PathLike[str],
    *,
    max_file_bytes: int | None = None,
    dtype: Any = None,
    progress: bool | None = None,
) -> Path:
    """Write a movie or an image to a BigTIFF file with OME metadata.

    Lazy movies are computed block by block, each block once. The file appears under its name only
    when it is complete.

    Parameters
    ----------
    data : DataArray
        Movie ``(frames [, channel] [, plane], y, x)`` or image ``([channel] [, plane], y, x)``.
    path : path
        The file, ending in ``.tif`` or ``.tiff``; with ``max_file_bytes`` a folder. It must not
        exist yet.
    max_file_bytes : int, optional
        Write a set of files of at most so many bytes each, of whole frames, into a new folder.
    dtype : dtype, optional
        Store values as this type: they are rounded for an integer type, and refused where they do
        not fit. By default the type stays; bool is stored as uint8 and float16 as float32.
    progress : bool, optional
        Show a progress bar; the option ``progress`` by default.

    Returns
    -------
    Path
        The file, or the folder.

    Raises
    ------
    DimensionError
        If it is neither a movie nor an image.
    ArgumentError
        If TIFF has no such type or values, or a frame does not fit into a file.
    TargetExistsError
        If there is anything at ``path``.
    StoreError
        If it cannot be written, for instance on a full disk. Nothing is left behind.

    Notes
    -----
    The OME-XML in the description of the first page tells sizes, type, channels, um per pixel, the
    distance of planes (``PhysicalSizeZ``), the usual step between frames (``TimeIncrement``) and
    the time of each page (``DeltaT``); what is not known is left out. All coordinates, attributes
    and the history stand in it as JSON, see `calscipy.io.ome_xml.restore`. Every file of a set
    names all of them; times of pages and labels are in the first one. Over a million pages, times
    are in the labels alone.

    Examples
    --------
    >>> import calscipy as cs
    >>> movie = cs.from_numpy(np.arange(24, dtype="u2").reshape(2, 3, 4), frame_rate=30)
    >>> file = to_tiff(movie, "movie.ome.tif", progress=False)
    >>> tifffile.imread(file).shape
    (2, 3, 4)
    """
    target = local_path(path)
    _require_images(data)
    _require_name(target, max_file_bytes)
    stored = _stored_type(data.dtype, dtype)
    kept = data.dtype
    if dtype is not None and stored != kept:
        kept = stored
        line = history.history_line("to_tiff", {"dtype": stored.name})
        data = data.assign_attrs(history=history.append(data.attrs.get("history"), line))
    needed = data.size * stored.itemsize
    if max_file_bytes is None:
        with new_file(target) as temporary:
            require_space(target.parent, needed)
            place = _create(temporary, data, stored, ome_xml(data, stored, kept))
            write_blocks([values_of(data)], [place], f"writing {target.name}", progress=progress)
        return target
    files = _split(data, stored, kept, target.name, max_file_bytes)
    with new_folder(target) as folder:
        require_space(target.parent, needed)
        parts = [data.isel({model.FRAMES: file.frames}) for file in files]
        places = [
            _create(folder / file.name, part, stored, ome_xml(data, stored, kept, files, file))
            for file, part in zip(files, parts, strict=True)
        ]
        values = [values_of(part) for part in parts]
        write_blocks(values, places, f"writing {target.name}", progress=progress)
    return target


def _require_images(data: xr.DataArray) -> None:
    dims = set(data.dims)
    if not {model.Y, model.X} <= dims or dims - set(model.MOVIE_DIMS):
        raise DimensionError(
            f"to_tiff writes movies {model.MOVIE_DIMS} and images, found {tuple(data.dims)}. "
            "Select one of what is more (data.isel(...)); traces and events go to to_csv."
        )
    if not data.size:
        raise DimensionError(f"to_tiff needs images, found none: {dict(data.sizes)}.")


def _require_name(target: Path, max_file_bytes: int | None) -> None:
    if (max_file_bytes is None) == (target.suffix.lower() in SUFFIXES):
        return
    wanted = "a file name that ends in .tif or .tiff"
    if max_file_bytes is not None:
        wanted = "the name of a folder, without .tif at its end, for several files"
    raise ArgumentError(f"to_tiff needs {wanted}, got {str(target)!r}.")


def _stored_type(given: np.dtype, wanted: Any) -> np.dtype:
    """Return the type of the values in the file."""
    stored = np.dtype(_WIDER.get(given.name, given) if wanted is None else wanted)
    if given.kind not in "biuf" or stored.name not in TYPES:
        raise ArgumentError(
            f"OME-TIFF holds {', '.join(TYPES)}; {given if wanted is None else stored} is none of "
            "these. Give one that holds the values, for instance dtype='float32'; complex numbers "
            "as two movies."
        )
    return stored.newbyteorder("<")


def _split(
    data: xr.DataArray, stored: np.dtype, kept: np.dtype, name: str, max_file_bytes: int
) -> list[File]:
    """Distribute the frames among files."""
    if model.FRAMES not in data.dims:
        raise ArgumentError("to_tiff splits movies by frames; an image takes no max_file_bytes.")
    frames = data.sizes[model.FRAMES]
    pages = math.prod(data.sizes.get(dim, 1) for dim in (model.PLANE, model.CHANNEL))
    frame_bytes = data.size // frames * stored.itemsize + pages * _PAGE_BYTES
    head = _HEAD_BYTES + len(ome_xml(data, stored, kept).encode())
    count, before = 1, 0
    while count != before:
        before = count
        each = (max_file_bytes - head - count * _FILE_XML_BYTES) // frame_bytes
        if each < 1:
            least = head + count * _FILE_XML_BYTES + frame_bytes
            raise ArgumentError(
                f"to_tiff: one frame and the description of all need {least} bytes, more than "
                f"max_file_bytes={max_file_bytes}. Allow larger files."
            )
        count = -(-frames // each)
    identity = tokenize(data)  # two writes of one movie give the same files
    names = [f"{name}_{at:0{len(str(count))}d}.ome.tif" for at in range(1, count + 1)]
    return [
        File(
            one,
            uuid.uuid5(_NAMESPACE, f"{identity} {one}").urn,
            slice(at * each, min(frames, (at + 1) * each)),
        )
        for at, one in enumerate(names)
    ]


def _create(path: Path, data: xr.DataArray, stored: np.dtype, description: str) -> RawBlocks:
    """Write a file without pixels, and return where these belong."""
    shape = values_of(data).shape
    size: Any = [model.pixel_size_um(data[dim]) for dim in (model.X, model.Y) if dim in data.coords]
    known = len(size) == 2 and all(size)
    with tifffile.TiffWriter(path, bigtiff=True, byteorder="<") as tiff:
        offset: int = tiff.write(  # type: ignore[index]
            shape=(math.prod(shape[:-2]), *shape[-2:]),
            dtype=stored,
            photometric="minisblack",
            description=description.encode(),
            metadata=None,
            software=f"calscipy {__version__}",
            resolution=(_UM_IN_CM / size[0], _UM_IN_CM / size[1]) if known else None,
            resolutionunit="CENTIMETER" if known else None,
            returnoffset=True,
        )[0]
    return RawBlocks(path, offset, shape, stored)
