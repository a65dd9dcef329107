"""Filters of one stack of frames ``(frames, y, x)``.

``ndimage`` is ``scipy.ndimage`` or, for arrays on a GPU, ``cupyx.scipy.ndimage``. Every output
sample depends on the samples within its halo alone, so blocks with a halo give the same bits as
the whole stack.
"""

from __future__ import annotations

from typing import Any

import numpy as np

TRUNCATE = 4.0

Array = Any


def gaussian(block: Array, *, sigma: tuple[float, ...], mode: str, ndimage: Any) -> Array:
    """Gaussian with standard deviations ``sigma`` in samples, in float32.

    Integers become float32 first: a Gaussian in uint16 truncates after every axis.
    """
    return ndimage.gaussian_filter(_floating(block), sigma, mode=mode, truncate=TRUNCATE)


def gaussian_halo(sigma: tuple[float, ...]) -> tuple[tuple[int, int], ...]:
    """Return the samples that the Gaussian needs before and after each one, by axis."""
    radius = (int(TRUNCATE * s + 0.5) for s in sigma)
    return tuple((r, r) for r in radius)


def median(block: Array, *, size: tuple[int, ...], mode: str, ndimage: Any) -> Array:
    """Median over a box of ``size`` samples, in the same dtype."""
    dtype = block.dtype
    if dtype.kind == "f" and dtype.itemsize == 2:  # which ndimage does not know
        block = block.astype("f4")
    return ndimage.median_filter(block, size=size, mode=mode).astype(dtype, copy=False)


def mean(block: Array, *, size: tuple[int, ...], mode: str, ndimage: Any) -> Array:
    """Mean over a box of ``size`` samples, in float32.

    Summed anew for every sample: a running sum would carry a NaN or the rounding of an outlier
    through the rest of the line.
    """
    out = _floating(block)
    for axis, length in enumerate(size):
        if length > 1:
            weights = np.full(length, 1.0 / length)
            out = ndimage.correlate1d(out, weights, axis=axis, mode=mode)
    return out


def box_halo(size: tuple[int, ...], mode: str) -> tuple[tuple[int, int], ...]:
    """Return the samples that a box needs before and after each one, by axis.

    A box of even size reaches further back than ahead; at a mirrored edge, what lies further
    back is as far ahead.
    """
    back = [length // 2 for length in size]
    if mode == "mirror":
        return tuple((reach, reach) for reach in back)
    return tuple((b, length - b - 1) for b, length in zip(back, size, strict=True))


def _floating(block: Array) -> Array:
    double = block.dtype.kind == "f" and block.dtype.itemsize == 8
    return block.astype("f8" if double else "f4", copy=False)
