"""Results of kernels that are written where they belong, without a copy of them in between."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import DTypeLike

__all__ = ["room_for"]


def room_for(out: np.ndarray | None, shape: Sequence[int], dtype: DTypeLike) -> np.ndarray:
    """Return the array that was given for a result if it fits there as it is, else a new one.

    Parameters
    ----------
    out : ndarray or None
        What the caller of a kernel gave for its result. The kernel returns what it has used, so
        that the caller copies a result that lies elsewhere.
    shape : sequence of int
        Of the result.
    dtype : dtype
        Of the result.

    Examples
    --------
    >>> out = np.zeros((2, 3), "f4")
    >>> room_for(out, (2, 3), "f4") is out, room_for(out, (2, 3), "f8") is out
    (True, False)
    """
    if (
        out is not None
        and out.shape == tuple(shape)
        and out.dtype == dtype
        and out.flags.c_contiguous
    ):
        return out
    return np.empty(shape, dtype)
