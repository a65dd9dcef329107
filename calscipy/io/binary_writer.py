"""Movies written as plain bytes, for CalSciPy and for programs in any language."""

from __future__ import annotations

import json
import math
import os
from pathlib import Path

import xarray as xr

from calscipy import model
from calscipy.errors import ArgumentError, DimensionError
from calscipy.io.binary import LEADING, SUFFIX, labels_file
from calscipy.io.binary_sizes import KEYS, Layout
from calscipy.io.labels import labels_text
from calscipy.io.output import new_file, require_free, require_space
from calscipy.io.paths import local_path
from calscipy.io.raw_blocks import RawBlocks, write_blocks


def to_binary(
    data: xr.DataArray, path: str | os.PathLike[str], *, progress: bool | None = None
) -> Path:
    """Write a movie as plain bytes, with its sizes in a JSON file beside it, as CalSciPy does.

    Three files are written: ``name.bin`` with the values in C order, little-endian; ``name.json``
    with ``frames``, ``y``, ``x`` and ``dtype``, which CalSciPy reads; and ``name.labels.json``
    with dimensions, coordinates, attributes and history, which ``ImagingSession.open`` restores.
    To CalSciPy the channels and planes of a movie are images in a row: ``frames`` counts them all.
    Lazy movies are computed block by block, each block once.

    Parameters
    ----------
    data : DataArray
        Movie ``(frames [, channel] [, plane], y, x)`` of bool, integers or floats of up to 64
        bits; other orders of the dimensions are brought into this one.
    path : path
        The file, ending in ``.bin``. None of the three may exist yet.
    progress : bool, optional
        Show a progress bar; the option ``progress`` by default.

    Returns
    -------
    Path
        The ``.bin`` file.

    Raises
    ------
    DimensionError
        If it is not a movie.
    ArgumentError
        If the name or the type does not fit.
    TargetExistsError
        If there is anything at one of the three names.
    StoreError
        If it cannot be written, for instance on a full disk. Nothing is left behind.

    Examples
    --------
    >>> import calscipy as cs
    >>> from calscipy.io.binary import open_binary
    >>> movie = cs.from_numpy(np.arange(24, dtype="u2").reshape(2, 3, 4), frame_rate=30)
    >>> file = to_binary(movie, "movie.bin", progress=False)
    >>> file.with_suffix(".json").read_text()
    '{"frames": 2, "y": 3, "x": 4, "dtype": "uint16"}'
    >>> open_binary(file)["movie/movie"].identical(movie)
    True
    """
    target = local_path(path)
    data = _writable(data, target)
    beside, labels = target.with_suffix(".json"), labels_file(target)
    for file in (target, beside, labels):
        require_free(file)
    layout = Layout(
        math.prod(data.sizes.get(dim, 1) for dim in LEADING),
        data.sizes[model.Y],
        data.sizes[model.X],
        data.dtype.newbyteorder("<"),
    )
    numbers = {key: getattr(layout, key) for key in KEYS[:3]} | {"dtype": data.dtype.name}
    require_space(target.parent, layout.bytes)
    # The first one that is entered gets its name last: who sees the .bin sees all three.
    with new_file(target) as binary, new_file(beside) as plain, new_file(labels) as rest:
        plain.write_text(json.dumps(numbers))
        rest.write_text(labels_text(data), "utf-8")
        with binary.open("wb") as stream:
            stream.truncate(layout.bytes)
        place = RawBlocks(binary, 0, data.shape, layout.dtype)
        write_blocks([data.variable], [place], f"writing {target.name}", progress=progress)
    return target


def _writable(data: xr.DataArray, target: Path) -> xr.DataArray:
    """Check what is to be written, and bring the dimensions into their order."""
    if target.suffix.lower() != SUFFIX:
        raise ArgumentError(
            f"to_binary needs a file name that ends in {SUFFIX}, got {str(target)!r}."
        )
    if model.kind(data) != "movie" or not set(data.dims) <= set(model.MOVIE_DIMS):
        raise DimensionError(
            f"to_binary writes movies {model.MOVIE_DIMS}, found {tuple(data.dims)}. Select one of "
            "what is more (data.isel(...)); traces and events go to to_zarr or to_csv."
        )
    if not data.size:
        raise DimensionError(f"to_binary needs images, found none: {dict(data.sizes)}.")
    if data.dtype.kind not in "biuf" or data.dtype.itemsize > 8:
        raise ArgumentError(
            f"to_binary writes bool, integers and floats of up to 64 bits, found {data.dtype}. "
            "Convert it, for instance with data.astype('float32')."
        )
    return data.transpose(*(dim for dim in model.MOVIE_DIMS if dim in data.dims))
