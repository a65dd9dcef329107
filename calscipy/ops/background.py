"""Background taken away from movies."""

from __future__ import annotations

import reprlib
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import dask.array as da
import numpy as np
import xarray as xr
from dask.system import CPU_COUNT

from calscipy import model
from calscipy.blocks.device import is_cupy, namespace
from calscipy.blocks.per_frame import whole_frames
from calscipy.errors import ArgumentError, DimensionError
from calscipy.history import described, recorded
from calscipy.kernels.background import without_percentile
from calscipy.ops._frames import is_number, require_same_place
from calscipy.ops._time import float_dtype

PIECE_BYTES = 2**24  # of a movie in memory, worked on by one thread at a time


@recorded
def subtract_background(
    data: xr.DataArray,
    level: float | xr.DataArray | None = None,
    *,
    percentile: float | None = None,
) -> xr.DataArray:
    """Subtract a known level, or a percentile of every image's pixels.

    Parameters
    ----------
    data : DataArray
        Movie ``(frames [, channel] [, plane], y, x)``.
    level : float or DataArray, optional
        What to subtract, in the units of the movie: a number, or an array along some of the
        movie's dimensions and with its coordinates, such as an image ``(y, x)`` or a number for
        each channel or frame. Its numbers have to be finite; those of a lazy level, which are not
        looked at, else give NaN or infinite values.
    percentile : float, optional
        In percent; subtracted is this percentile of all pixels of each frame, channel and plane
        by itself. Pixels that are NaN do not count. Either this or ``level`` is needed.

    Returns
    -------
    DataArray
        Same dims, coordinates and units, float32 (float64 for float64 and for integers of over
        16 bits). Differences may be negative: nothing is clipped. Frames that are not ``valid``
        are passed on.

    Raises
    ------
    ArgumentError
        Without exactly one of ``level`` and ``percentile``, if it is not a finite number, or if
        ``level`` is of other times or of another plane or channel than the movie.
    DimensionError
        If ``level`` has dimensions that the movie has not.
    AlignmentError
        If ``level`` has other coordinates than the movie.
    ChunkError
        If a movie in chunks of parts of frames, of which a percentile is wanted, does not fit into
        memory.

    Examples
    --------
    >>> import calscipy as cs
    >>> movie = cs.from_numpy(np.array([[[90, 100, 130]]], "uint16"), frame_rate=30)
    >>> subtract_background(movie, 100).values.tolist()
    [[[-10.0, 0.0, 30.0]]]
    >>> subtract_background(movie, percentile=0).values.tolist()
    [[[0.0, 10.0, 40.0]]]
    """
    model.require_dims(data, (model.FRAMES, model.Y, model.X), "subtract_background")
    if data.dtype.kind not in "iuf" or data.dtype.itemsize > 8:
        raise ArgumentError(
            "subtract_background needs integers or floats of up to 64 bits, got an array of "
            f"{data.dtype}"
        )
    if (level is None) == (percentile is None):
        raise ArgumentError(
            "subtract_background needs either a level or a percentile, "
            f"got level={_shown(level)} and percentile={_shown(percentile)}."
        )
    if percentile is None:
        result = _without_level(data, level)
    else:
        result = _without_percentile(data, percentile)
    valid = model.valid_frames(data)
    if valid is not None:
        shape = [1 if dim in (model.Y, model.X) else data.sizes[dim] for dim in data.dims]
        keep = namespace(data.data).asarray(valid.reshape(shape))
        result = np.where(keep, result, data.data.astype(result.dtype))  # dask's, CuPy's or its own
    name = data.attrs.get("long_name", "fluorescence")
    return described(
        data.copy(data=result),
        units=data.attrs.get("units", "1"),
        long_name=f"{name}, background subtracted",
    )


def _shown(level: Any) -> str:
    """Show what came in one line: of arrays the shape, not the numbers."""
    if isinstance(level, xr.DataArray):
        return f"an array {level.dims}"
    if hasattr(level, "shape") and hasattr(level, "dtype") and np.ndim(level):
        return f"an array of shape {level.shape} and dtype {level.dtype}"
    return reprlib.repr(level)


def _without_level(data: xr.DataArray, level: Any) -> Any:
    dtype = float_dtype(data)
    if not isinstance(level, xr.DataArray):
        if not _is_finite(level):
            raise ArgumentError(
                "subtract_background needs a finite number or a DataArray as level, got "
                f"{_shown(level)}. An array needs the names of its dimensions, for instance "
                "xarray.DataArray(image, dims=('y', 'x'))."
            )
        return data.data.astype(dtype) - dtype.type(level)
    unknown = [dim for dim in level.dims if dim not in data.dims]
    if unknown:
        raise DimensionError(
            f"subtract_background needs a level along dimensions of the movie {data.dims}, found "
            f"{level.dims}. Select or average over {unknown} first."
        )
    if level.dtype.kind not in "iuf":
        raise ArgumentError(f"subtract_background needs a level of numbers, got {level.dtype}")
    require_same_place(data, level, "subtract_background")
    _, level = xr.align(data, level, join="exact", copy=False)
    _require_same_times(data, level)
    _require_finite(level)
    values = level.variable.astype(dtype)
    if not isinstance(values.data, da.Array):
        values = values.copy(data=namespace(data.data).asarray(values.data))
    return (data.variable.astype(dtype) - values).transpose(*data.dims).data


def _require_same_times(data: xr.DataArray, level: xr.DataArray) -> None:
    """Compare times, which are no index of movies, so that aligning does not look at them."""
    if model.FRAMES not in level.dims or not all(model.TIME in a.coords for a in (data, level)):
        return
    ours, theirs = (model.seconds(array, "subtract_background") for array in (data, level))
    if not np.array_equal(ours, theirs):
        raise ArgumentError(
            "subtract_background: the level has other times than the movie. Select the same "
            "frames in both."
        )


def _require_finite(level: xr.DataArray) -> None:
    lazy = isinstance(level.data, da.Array)
    if lazy or level.dtype.kind != "f":
        return
    strange = int((~namespace(level.data).isfinite(level.data)).sum())
    if strange:
        raise ArgumentError(
            f"subtract_background needs a level of finite numbers, found {strange} of {level.size} "
            "that are NaN or infinite. Fill them first, for instance with level.fillna(0)."
        )


def _without_percentile(data: xr.DataArray, percentile: float) -> Any:
    if not (_is_finite(percentile) and 0 <= percentile <= 100):
        raise ArgumentError(
            f"subtract_background needs percentile between 0 and 100, got {_shown(percentile)}"
        )
    ordered = data.transpose(model.FRAMES, ..., model.Y, model.X)
    arguments: dict[str, Any] = {"percentile": float(percentile), "out_dtype": float_dtype(data)}
    images = ordered.data
    if isinstance(images, da.Array):
        images = whole_frames(images, "subtract_background")
        meta = images._meta.astype(arguments["out_dtype"])
        result = da.map_blocks(without_percentile, images, **arguments, meta=meta)
    elif is_cupy(images):
        result = without_percentile(images, **arguments)
    else:
        result = _in_threads(images, **arguments)
    return ordered.copy(data=result).transpose(*data.dims).data


def _in_threads(images: np.ndarray, *, percentile: float, out_dtype: np.dtype) -> np.ndarray:
    out = np.empty(images.shape, out_dtype)
    length = max(1, PIECE_BYTES // max(1, images.nbytes // max(1, len(images))))

    def work(start: int) -> None:
        part = slice(start, start + length)
        without_percentile(images[part], percentile=percentile, out_dtype=out_dtype, out=out[part])

    with ThreadPoolExecutor(CPU_COUNT) as pool:
        list(pool.map(work, range(0, len(images), length)))
    return out


def _is_finite(value: Any) -> bool:
    return is_number(value) and bool(np.isfinite(value))
