"""Filters of movies: exact at every block edge, border of cycles and damaged frame."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal, get_args

import numpy as np
import xarray as xr
from numpy.typing import ArrayLike

from calscipy import blocks, model
from calscipy.errors import ArgumentError
from calscipy.history import described, recorded
from calscipy.kernels import filters as kernels
from calscipy.ops._time import float_dtype
from calscipy.options import Device

Mode = Literal["reflect", "nearest", "mirror", "constant", "wrap"]
FARTHEST = 100  # lengths of the movie that a filter may reach over
FILTER_DIMS = (model.FRAMES, model.Y, model.X)


@recorded
def gaussian_filter(
    data: xr.DataArray,
    *,
    sigma: float | Sequence[float] | Mapping[str, float],
    mode: Mode = "reflect",
    device: Device | None = None,
) -> xr.DataArray:
    """Smooth a movie with a Gaussian; a scalar ``sigma`` blurs frames, y and x alike.

    Parameters
    ----------
    data : DataArray
        Movie ``(frames [, channel] [, plane], y, x)``. Channels and planes are filtered apart.
    sigma : float, sequence of three floats or mapping
        Standard deviation in frames and pixels: one for all, ``(frames, y, x)``, or by
        dimension, where those left out are not filtered.
    mode : {"reflect", "nearest", "mirror", "constant", "wrap"}
        What continues the movie beyond its edges, as in ``scipy.ndimage``; zeros for
        ``"constant"``.
    device : {"cpu", "gpu", "auto"}, optional
        Where to run; the option ``device`` by default.

    Returns
    -------
    DataArray
        Same dims, coordinates and units, float32 (float64 for float64 and for integers of over
        16 bits). The same values whatever the chunks. Frames that are not ``valid`` are passed on
        and enter no other frame; the frames before and after them, and those of different epochs,
        are not mixed.

    Examples
    --------
    >>> import calscipy as cs
    >>> movie = cs.from_numpy(np.eye(4, dtype="uint16")[None] * 100, frame_rate=30)
    >>> smooth = gaussian_filter(movie, sigma={"y": 1, "x": 1})
    >>> smooth.dtype.name, smooth.attrs["units"]
    ('float32', 'count')
    """
    sigmas = _by_dim(sigma, "sigma", default=0.0)
    if any(value < 0 for value in sigmas):
        raise ArgumentError(f"gaussian_filter needs sigma >= 0, got {sigma!r}")
    step = _step(
        kernels.gaussian, kernels.gaussian_halo(sigmas), float_dtype(data), mode, sigma=sigmas
    )
    return _filter(data, step, device, "gaussian_filter", "Gaussian filtered")


@recorded
def median_filter(
    data: xr.DataArray,
    *,
    size: int | Sequence[int] | Mapping[str, int] | None = None,
    footprint: ArrayLike | None = None,
    mode: Mode = "reflect",
    device: Device | None = None,
) -> xr.DataArray:
    """Replace every sample by the median of a box; a scalar ``size`` spans frames, y and x alike.

    Parameters
    ----------
    data : DataArray
        Movie ``(frames [, channel] [, plane], y, x)``. Channels and planes are filtered apart.
    size : int, sequence of three ints or mapping, optional
        Extent of the box in frames and pixels: one for all, ``(frames, y, x)``, or by
        dimension, where those left out have extent 1. 3 by default.
    footprint : array_like of bool, shape (frames, y, x) or (y, x), optional
        In place of ``size``: which samples around each one are taken. The centre is at half of
        each extent, rounded down.
    mode : {"reflect", "nearest", "mirror", "constant", "wrap"}
        What continues the movie beyond its edges, as in ``scipy.ndimage``; zeros for
        ``"constant"``.
    device : {"cpu", "gpu", "auto"}, optional
        Where to run; the option ``device`` by default.

    Returns
    -------
    DataArray
        Same dims, coordinates, units and dtype; bit for bit the result of
        ``scipy.ndimage.median_filter`` on the whole movie (integers beyond 2**53 may differ by
        its rounding). NaN where the box or footprint holds a NaN. Frames that are not ``valid``
        and borders of epochs are treated as in :func:`gaussian_filter`.

    Examples
    --------
    >>> import calscipy as cs
    >>> movie = cs.from_numpy(np.arange(27, dtype="uint16").reshape(3, 3, 3), frame_rate=30)
    >>> int(median_filter(movie, size=3)[1, 1, 1])
    13
    """
    if size is not None and footprint is not None:
        raise ArgumentError("median_filter takes size or footprint, got both. Leave one out.")
    if footprint is not None:
        mask = _footprint(footprint)
        halo = kernels.box_halo(mask.shape, mode)
        step = _step(kernels.median, halo, data.dtype, mode, footprint=mask)
        return _filter(data, step, device, "median_filter", "median filtered")
    size = 3 if size is None else size
    step = _box_step(kernels.median, size, data.dtype, mode)
    return _filter(data, step, device, "median_filter", "median filtered", size=size)


@recorded
def mean_filter(
    data: xr.DataArray,
    *,
    size: int | Sequence[int] | Mapping[str, int] = 3,
    mode: Mode = "reflect",
    device: Device | None = None,
) -> xr.DataArray:
    """Replace every sample by the mean of a box; a scalar ``size`` spans frames, y and x alike.

    Every window is summed by itself, so that a NaN or an outlier stays within its window.

    Parameters
    ----------
    data : DataArray
        Movie ``(frames [, channel] [, plane], y, x)``. Channels and planes are filtered apart.
    size : int, sequence of three ints or mapping, default 3
        Extent of the box in frames and pixels: one for all, ``(frames, y, x)``, or by
        dimension, where those left out have extent 1.
    mode : {"reflect", "nearest", "mirror", "constant", "wrap"}
        What continues the movie beyond its edges, as in ``scipy.ndimage``; zeros for
        ``"constant"``.
    device : {"cpu", "gpu", "auto"}, optional
        Where to run; the option ``device`` by default.

    Returns
    -------
    DataArray
        Same dims, coordinates and units, float32 (float64 for float64 and for integers of over
        16 bits). Frames that are not ``valid`` and borders of epochs are treated as in
        :func:`gaussian_filter`.

    Examples
    --------
    >>> import calscipy as cs
    >>> movie = cs.from_numpy(np.ones((1, 4, 4), "uint16"), frame_rate=30)
    >>> float(mean_filter(movie, size={"y": 3})[0, 0, 0])
    1.0
    """
    step = _box_step(kernels.mean, size, float_dtype(data), mode)
    return _filter(data, step, device, "mean_filter", "mean filtered")


def _box_step(kernel: Any, size: Any, dtype: np.dtype, mode: Mode) -> blocks.Step:
    sizes = tuple(int(value) for value in _by_dim(size, "size", default=1))
    if any(value < 1 for value in sizes) or sizes != _by_dim(size, "size", default=1):
        raise ArgumentError(f"size must be whole numbers from 1 on, got {size!r}")
    return _step(kernel, kernels.box_halo(sizes, mode), dtype, mode, size=sizes)


def _step(
    kernel: Any, halo: blocks.Halo, dtype: np.dtype, mode: Mode, **arguments: Any
) -> blocks.Step:
    if mode not in get_args(Mode):
        raise ArgumentError(f"mode must be one of {get_args(Mode)}, got {mode!r}")
    wraps = mode == "wrap"
    # What lies beyond the ends that were put around the movie reaches no sample of it.
    arguments["mode"] = "nearest" if wraps else mode
    return blocks.Step(kernel, halo, dtype, arguments, wraps)


def _footprint(footprint: ArrayLike) -> np.ndarray:
    mask = np.asarray(footprint)
    if mask.ndim == 2:
        mask = mask[None]
    unclear = mask.dtype.kind not in "biuf" or (mask.dtype.kind == "f" and np.isnan(mask).any())
    if mask.ndim != 3 or unclear or not mask.any():
        raise ArgumentError(
            "footprint must be an array (frames, y, x) or (y, x) with at least one element that "
            f"is not 0 and no NaN, got {mask.dtype} of shape {np.shape(footprint)}"
        )
    return mask.astype(bool)


def _by_dim(value: Any, name: str, *, default: float) -> tuple[float, ...]:
    """Bring an argument into the order frames, y, x."""
    if isinstance(value, Mapping):
        unknown = sorted(set(map(str, value)) - set(FILTER_DIMS))
        if unknown:
            raise ArgumentError(f"{name} names the dimensions {unknown}; known: {FILTER_DIMS}")
        numbers = [value.get(dim, default) for dim in FILTER_DIMS]
    elif np.ndim(value) == 0:
        numbers = [value] * len(FILTER_DIMS)
    else:
        numbers = list(value)
    if len(numbers) != len(FILTER_DIMS) or not all(
        isinstance(n, int | float | np.number) and not isinstance(n, bool) and np.isfinite(n)
        for n in numbers
    ):
        raise ArgumentError(
            f"{name} must be a number, three numbers for {FILTER_DIMS}, or a mapping by "
            f"dimension such as {{'y': 1, 'x': 1}}; got {value!r}"
        )
    return tuple(n.item() if isinstance(n, np.number) else n for n in numbers)


def _filter(
    data: xr.DataArray,
    step: blocks.Step,
    device: Device | None,
    verb: str,
    suffix: str,
    **used: Any,
) -> xr.DataArray:
    model.require_dims(data, FILTER_DIMS, verb)
    if data.dtype.kind not in "iuf" or data.dtype.itemsize > 8:
        raise ArgumentError(
            f"{verb} needs integers or floats of up to 64 bits, got an array of {data.dtype}"
        )
    for dim, reach in zip(FILTER_DIMS, step.halo, strict=True):
        if max(reach) > FARTHEST * max(data.sizes[dim], 1):
            raise ArgumentError(
                f"{verb} would reach over {max(reach)} samples along {dim!r}, of which the movie "
                f"has {data.sizes[dim]}. Choose a smaller sigma or size; they count samples."
            )
    if any(step.halo[0]):
        model.require_gapless(data, verb)
    ordered = data.transpose(model.FRAMES, ..., model.Y, model.X)
    filtered = blocks.filtered(ordered.data, step, runs=_runs(ordered), device=device)
    result = ordered.copy(data=filtered).transpose(*data.dims)
    name = data.attrs.get("long_name", "fluorescence")
    units = data.attrs.get("units", "1")
    return described(result, units=units, long_name=f"{name}, {suffix}", **used)


def _runs(movie: xr.DataArray) -> np.ndarray | None:
    """Return the epoch of every frame, damaged ones marked; None for one whole epoch."""
    parts = model.epochs(movie)
    valid = model.valid_frames(movie)
    if len(parts) == 1 and valid is None:
        return None
    labels = np.repeat(np.arange(len(parts)), [part.stop - part.start for part in parts])
    shape = movie.shape[:-2]
    runs = np.broadcast_to(labels.reshape(-1, *[1] * (len(shape) - 1)), shape).copy()
    if valid is not None:
        runs[~valid] = blocks.INVALID
    return runs
