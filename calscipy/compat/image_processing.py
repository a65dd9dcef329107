"""Filters of movies (``CalSciPy.image_processing``)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import xarray as xr

from calscipy import model, ops
from calscipy.compat._common import given_back, note
from calscipy.kernels.sliding import apply_to_blocks, block_slices

_BOX = np.ones((3, 3, 3))
_BOX.setflags(write=False)


def gaussian_filter(
    images: np.ndarray,
    sigma: float | np.ndarray = 1.0,
    block_size: int | None = None,
    block_buffer: int = 0,
    in_place: bool = False,
    *,
    seams: bool = False,
) -> np.ndarray:
    """Smooth a movie with a Gaussian; a scalar ``sigma`` blurs frames, y and x alike.

    Now: ``movie.cs.gaussian_filter(sigma=1)``

    Parameters
    ----------
    images : ndarray, shape (frames, y, x)
        Movie.
    sigma : float or array of three, default 1
        Standard deviation in frames and pixels.
    block_size, block_buffer : int, optional
        Taken for the sake of old scripts: blocks are chosen for you, and change no sample.
    in_place : bool, default False
        Write the result into ``images``; into integers rounded to the nearest.
    seams : bool, default False
        Filter blocks of ``block_size`` frames that overlap by ``block_buffer`` one after the other,
        as 0.3.5 did: frames near the ends of blocks are wrong, and integers cut off.

    Returns
    -------
    ndarray, shape (frames, y, x)
        float32 (float64 for float64 and for integers of over 16 bits), where 0.3.5 cut off the
        decimals of integers. Computed where the option ``device`` says, on the CPU by default.

    Examples
    --------
    >>> gaussian_filter(np.ones((5, 4, 4), "float32")).dtype
    dtype('float32')
    """
    if np.asarray(images).dtype.kind in "iu":
        note("gaussian_filter does not cut off decimals of integers, as 0.3.5 did")
    how = {"sigma": sigma if np.ndim(sigma) == 0 else np.asarray(sigma).tolist()}
    blocks = block_size, block_buffer
    return _filtered(images, ops.gaussian_filter, how, blocks, in_place, seams)


def median_filter(
    images: np.ndarray,
    mask: np.ndarray = _BOX,
    block_size: int | None = None,
    block_buffer: int = 0,
    in_place: bool = False,
    *,
    seams: bool = False,
) -> np.ndarray:
    """Replace every sample of a movie by the median of those around it.

    Now: ``movie.cs.median_filter(size=3)``

    Parameters
    ----------
    images : ndarray, shape (frames, y, x)
        Movie.
    mask : ndarray, shape (frames, y, x) or (y, x), default ones of the shape (3, 3, 3)
        Which samples around each one are taken: those where it is not 0. The printed documentation
        of 0.3.5 shows one plane of the default.
    block_size, block_buffer : int, optional
        Taken for the sake of old scripts: blocks are chosen for you, and change no sample.
    in_place : bool, default False
        Write the result into ``images``.
    seams : bool, default False
        Filter blocks of ``block_size`` frames that overlap by ``block_buffer`` one after the other,
        as 0.3.5 did. Frames near the ends of blocks are then wrong.

    Returns
    -------
    ndarray, shape (frames, y, x)
        Of the dtype of ``images``. Computed where the option ``device`` says, on the CPU by
        default.

    Examples
    --------
    >>> int(median_filter(np.arange(27, dtype="uint16").reshape(3, 3, 3))[1, 1, 1])
    13
    """
    mask = np.asarray(mask)
    how = {"size": (1, *mask.shape)[-3:]} if mask.all() else {"footprint": mask}
    return _filtered(images, ops.median_filter, how, (block_size, block_buffer), in_place, seams)


def _filtered(
    images: np.ndarray,
    op: Callable[..., xr.DataArray],
    how: dict[str, Any],
    blocks: tuple[int | None, int],
    in_place: bool,
    seams: bool,
) -> np.ndarray:
    def work(some: np.ndarray) -> np.ndarray:
        return op(xr.DataArray(some, dims=(model.FRAMES, model.Y, model.X)), **how).values

    size, overlap = blocks
    if size is not None:
        block_slices(len(images), size, overlap)  # refuses what cannot be
        if size < len(images) and not seams:
            note("Filters leave no seams between blocks, as 0.3.5 did (seams=True)")
    if size is not None and seams:
        result = apply_to_blocks(images, work, size=size, overlap=overlap)
    else:
        result = work(np.asarray(images))
    if in_place and images.dtype.kind in "iu":
        whole = np.rint(result) if result.dtype.kind == "f" else result
        np.copyto(images, whole, casting="unsafe")
        return images
    return given_back(result, images, in_place)
