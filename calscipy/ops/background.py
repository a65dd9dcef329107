"""Background taken away from movies."""

from __future__ import annotations

from typing import Any

import dask.array as da
import numpy as np
import xarray as xr

from calscipy import model
from calscipy.blocks.device import namespace
from calscipy.errors import ArgumentError, DimensionError
from calscipy.history import described, recorded
from calscipy.kernels.background import without_percentile
from calscipy.ops._time import float_dtype
from calscipy.options import get_option


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
        each channel or frame.
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
        Without exactly one of ``level`` and ``percentile``, or if it is not a finite number.
    DimensionError
        If ``level`` has dimensions that the movie has not.
    AlignmentError
        If ``level`` has other coordinates than the movie.

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
            f"got level={_shown(level)} and percentile={percentile!r}."
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
    return f"an array {level.dims}" if isinstance(level, xr.DataArray) else repr(level)


def _without_level(data: xr.DataArray, level: Any) -> Any:
    dtype = float_dtype(data)
    if not isinstance(level, xr.DataArray):
        if not _is_finite(level):
            raise ArgumentError(
                f"subtract_background needs a finite number or a DataArray as level, got {level!r}."
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
    _, level = xr.align(data, level, join="exact", copy=False)
    _require_same_times(data, level)
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


def _without_percentile(data: xr.DataArray, percentile: float) -> Any:
    if not (_is_finite(percentile) and 0 <= percentile <= 100):
        raise ArgumentError(
            f"subtract_background needs percentile between 0 and 100, got {percentile!r}"
        )
    ordered = data.transpose(..., model.Y, model.X)
    arguments: dict[str, Any] = {"percentile": float(percentile), "out_dtype": float_dtype(data)}
    images = ordered.data
    if isinstance(images, da.Array):
        if images.numblocks[-2:] != (1, 1):
            whole = {axis: "auto" for axis in range(images.ndim - 2)} | {
                images.ndim - 2: -1,
                images.ndim - 1: -1,
            }
            images = images.rechunk(whole, block_size_limit=get_option("chunk_bytes"))
        meta = images._meta.astype(arguments["out_dtype"])
        result = da.map_blocks(without_percentile, images, **arguments, meta=meta)
    else:
        result = without_percentile(images, **arguments)
    return ordered.copy(data=result).transpose(*data.dims).data


def _is_finite(value: Any) -> bool:
    number = isinstance(value, int | float | np.number) and not isinstance(value, bool)
    return number and bool(np.isfinite(value))
