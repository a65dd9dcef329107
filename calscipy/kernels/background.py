"""Background of single images."""

from __future__ import annotations

from typing import Any

import numpy as np

Array = Any


def without_percentile(block: Array, *, percentile: float, out_dtype: np.dtype) -> Array:
    """Subtract from every image a percentile of its own pixels.

    Parameters
    ----------
    block : ndarray or cupy.ndarray, shape (..., y, x)
        Images. Pixels that are NaN are left out of the percentile and stay NaN.
    percentile : float
        In percent, interpolated linearly between pixels.
    out_dtype : dtype
        Of the result, a float.

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
    out = block.astype(out_dtype)
    for image in np.ndindex(*block.shape[:-2]):
        pixels = np.reshape(block[image], (-1,))
        if block.dtype.kind == "f":
            pixels = pixels[~np.isnan(pixels)].astype(out_dtype)
        if pixels.size:
            out[image] = out[image] - np.percentile(pixels, percentile).astype(out_dtype)
    return out
