"""Means over stretches of samples, which may overlap or leave samples out."""

from __future__ import annotations

import numpy as np
from numpy.typing import DTypeLike


def segment_means(
    f: np.ndarray, *, starts: np.ndarray, stops: np.ndarray, dtype: DTypeLike
) -> np.ndarray:
    """Average samples ``[start, stop)`` of each row, for every pair of them.

    Parameters
    ----------
    f : ndarray, shape (..., samples)
        Rows of numbers or booleans, summed in float64.
    starts, stops : ndarray of int, shape (segments,)
        In any order.
    dtype : dtype
        Of the result, a float.

    Returns
    -------
    ndarray, shape (..., segments)
        NaN where a stretch has no samples.
    """
    out = np.full((*f.shape[:-1], len(starts)), np.nan, dtype)
    some = stops > starts
    if not some.any():
        return out
    edges = np.stack([starts[some], stops[some]], axis=1).ravel()
    # `reduceat` sums from each edge to the next one, which must lie inside: a zero follows.
    padded = np.zeros((*f.shape[:-1], f.shape[-1] + 1))
    padded[..., :-1] = f
    with np.errstate(invalid="ignore"):  # of inf and -inf
        sums = np.add.reduceat(padded, edges, axis=-1)[..., ::2]
    out[..., some] = sums / (stops - starts)[some]
    return out
