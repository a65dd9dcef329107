"""Arrays that are worked on together have the same samples of the same neurons."""

from __future__ import annotations

import numpy as np
import xarray as xr

from calscipy import model
from calscipy.errors import ArgumentError, first_few


def require_same_labels(
    data: xr.DataArray, other: xr.DataArray, verb: str, word: str, *, along_time: bool = True
) -> None:
    """Raise unless two arrays have the same dims, sizes and coordinates of their dims.

    Parameters
    ----------
    data, other : DataArray
        Arrays that are to be worked on together; the order of dims does not matter.
    verb : str
        Operation that asks.
    word : str
        What messages call ``other``.
    along_time : bool, default True
        Whether ``other`` runs along time as well; otherwise its dims may be any of the others.

    Raises
    ------
    ArgumentError
        Naming the first difference.
    """
    rest = {dim for dim in data.dims if dim != model.TIME}
    fits = set(other.dims) == set(data.dims) if along_time else set(other.dims) <= rest
    if not fits:
        raise ArgumentError(
            f"{verb} needs {word} with the dimensions {data.dims if along_time else tuple(rest)}, "
            f"found {other.dims}."
        )
    for dim in map(str, other.dims):
        if data.sizes[dim] != other.sizes[dim]:
            raise ArgumentError(
                f"{verb}: {word} has {other.sizes[dim]} along {dim!r} where the data have "
                f"{data.sizes[dim]}. Select the same {dim} in both."
            )
        if dim in data.coords and dim in other.coords:
            ours, theirs = model.coordinate(data, dim), model.coordinate(other, dim)
            _require_same(ours, theirs, verb, word, dim)


def _require_same(ours: np.ndarray, theirs: np.ndarray, verb: str, word: str, dim: str) -> None:
    if np.array_equal(ours, theirs):
        return
    at = int(np.flatnonzero(ours != theirs)[0])
    absent = first_few([name for name in ours.tolist() if name not in set(theirs.tolist())])
    hint = f"; it lacks {absent}" if absent and dim != model.TIME else ""
    raise ArgumentError(
        f"{verb}: {word} has other values of {dim!r}: {theirs[at]!s} where the data have "
        f"{ours[at]!s} at place {at}{hint}. Select the same {dim} in both, in the same order."
    )
