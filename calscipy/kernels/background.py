"""Background of single images."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from calscipy.kernels.compiled import compiled, frozen

Array = Any

COUNTED = ("u1", "u2")  # of which every value is counted: 2 to 20 times faster than partitioning


def without_percentile(
    block: Array, *, percentile: float, out_dtype: np.dtype, out: Array | None = None
) -> Array:
    """Subtract from every image a percentile of its own pixels.

    Parameters
    ----------
    block : ndarray or cupy.ndarray, shape (..., y, x)
        Images. Pixels that are NaN are left out of the percentile and stay NaN.
    percentile : float
        In percent, interpolated linearly between pixels.
    out_dtype : dtype
        Of the result, a float.
    out : ndarray of out_dtype, shape (..., y, x), optional
        Where to put the result.

    Returns
    -------
    ndarray of out_dtype, shape (..., y, x)
        Differences, which may be negative.

    Examples
    --------
    >>> image = np.array([[1, 2, 3, 10]], "uint16")
    >>> without_percentile(image, percentile=50, out_dtype=np.dtype("f4")).tolist()
    [[-1.5, -0.5, 0.5, 7.5]]
    """
    if out is None:
        out = np.empty_like(block, out_dtype)
    counted = isinstance(block, np.ndarray) and block.dtype.newbyteorder("=") in COUNTED
    counts = np.empty(2 ** (8 * block.dtype.itemsize) if counted else 0, np.int64)
    for image in np.ndindex(*block.shape[:-2]):
        pixels = np.reshape(block[image], (-1,))
        out[image] = block[image]
        if block.dtype.kind == "f":
            pixels = pixels[~np.isnan(pixels)].astype(out_dtype)
        if not pixels.size:
            continue
        if counted:
            level = out_dtype.type(_counted_percentile(frozen(pixels), percentile, counts))
        else:
            level = np.percentile(pixels, percentile).astype(out_dtype)
        out[image] -= level
    return out


def _counted_percentile(pixels: np.ndarray, percentile: float, counts: np.ndarray) -> float:
    """Return the number that `numpy.percentile` gives, from how often each value occurs."""
    place = (pixels.size - 1) * (percentile / 100)
    below = math.floor(place)
    low, high = _order_statistics(pixels, below, min(below + 1, pixels.size - 1), counts)
    share = place - below
    # NumPy interpolates from the nearer side; the last digit depends on it.
    return low + (high - low) * share if share < 0.5 else high - (high - low) * (1 - share)


@compiled
def _order_statistics(pixels, first, second, counts):  # type: ignore[no-untyped-def]
    """Return the values that stand at two places, in this order, among the sorted pixels."""
    counts[:] = 0
    for i in range(pixels.size):
        counts[pixels[i]] += 1
    value = 0
    seen = counts[0]
    while seen <= first:
        value += 1
        seen += counts[value]
    low = value
    while seen <= second:
        value += 1
        seen += counts[value]
    return low, value
