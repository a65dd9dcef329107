"""Traces that were factorised piece by piece."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence

import numpy as np

from calscipy.errors import RowError


def joined_component(pieces: Iterable[Sequence[np.ndarray]], component: int) -> np.ndarray:
    """Join one component of traces that were factorised piece by piece.

    Parameters
    ----------
    pieces : iterable of sequence of ndarray
        For each row its pieces, each of the shape ``(components, samples)``.
    component : int
        Which one, from 0.

    Returns
    -------
    ndarray, shape (rows, samples)
        Of the dtype that holds all values. Where a piece has fewer samples in some rows than in
        others, those that it lacks are NaN.

    Raises
    ------
    RowError
        Naming rows of another number of pieces than the first one, and those without the component.

    Examples
    --------
    >>> first, second = np.array([[1, 2], [5, 6]]), np.array([[3], [7]])
    >>> joined_component([[first, second]], 1).tolist()
    [[5, 6, 7]]
    """
    table = list(pieces)
    try:
        cut = [[piece[component] for piece in row] for row in table]
        lengths = {tuple(map(len, row)) for row in cut}
        flat = np.concatenate(list(itertools.chain.from_iterable(cut)))
    except (IndexError, TypeError, ValueError):
        raise _without_component(table, component) from None
    if component < 0 or flat.ndim > 1 or len(set(map(len, lengths))) > 1:
        raise _without_component(table, component)
    if len(lengths) == 1:
        return flat.reshape(len(cut), -1)
    longest = np.max(list(lengths), axis=0)
    dtype = np.result_type(np.float32, *{piece.dtype for row in cut for piece in row})
    joined = np.full((len(cut), int(longest.sum())), np.nan, dtype)
    starts = (np.cumsum(longest) - longest).tolist()
    for row, target in zip(cut, joined, strict=True):
        for start, piece in zip(starts, row, strict=True):
            target[start : start + len(piece)] = piece
    return joined


def _without_component(table: Sequence[Sequence[np.ndarray]], component: int) -> RowError:
    count = len(table[0]) if table else 0
    shapes = [{np.shape(piece)[:-1] for piece in row} for row in table]
    lacking = [
        row
        for row, (some, known) in enumerate(zip(table, shapes, strict=True))
        if len(some) != count
        or not all(len(shape) == 1 and 0 <= component < shape[0] for shape in known)
    ]
    return RowError(
        lacking or [0],
        f"do not have {max(count, 1)} pieces (components, samples) with the component "
        f"{component}, counted from 0.",
    )
