"""Checks that the pixels of regions of interest make sense."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from calscipy.errors import RoiError, first_few


def require_image_shape(shape: Any, verb: str) -> tuple[int, int]:
    """Return the rows and columns of an image as two positive integers.

    Raises
    ------
    RoiError
        If they are anything else.
    """
    sizes = np.asarray(shape)
    if sizes.shape != (2,) or sizes.dtype.kind not in "iu" or (sizes < 1).any():
        raise RoiError(
            f"{verb} needs image_shape=(rows, columns), two whole numbers above 0, got {shape!r}. "
            "For a movie it is (movie.sizes['y'], movie.sizes['x'])."
        )
    return int(sizes[0]), int(sizes[1])


def require_pixels(
    where: str,
    neuron: np.ndarray,
    y: np.ndarray,
    x: np.ndarray,
    weight: np.ndarray,
    *,
    plane: np.ndarray | None = None,
    image_shape: Sequence[int] | None = None,
) -> None:
    """Raise unless every neuron has distinct pixels of an image with weights from 0 on.

    Parameters
    ----------
    where : str
        What the message begins with: the verb, or the file.
    neuron, y, x, weight, plane : ndarray, shape (pixels,)
        Regions in long form.
    image_shape : (int, int), optional
        Rows and columns of the image.

    Raises
    ------
    RoiError
        Naming the neurons and what is wrong with them.

    Examples
    --------
    >>> require_pixels("here", np.array(["a"]), np.array([-1]), np.array([0]), np.ones(1))
    Traceback (most recent call last):
    calscipy.errors.RoiError: here: neuron a has negative pixels. Count pixels from 0...
    """
    outside = np.zeros(np.shape(y), dtype=bool)
    size = ""
    if image_shape is not None:
        outside = (y >= image_shape[0]) | (x >= image_shape[1])
        size = f" of {image_shape[0]} x {image_shape[1]} pixels"
    _, row = np.unique(neuron, return_inverse=True)
    total = np.bincount(row, weight)
    with np.errstate(invalid="ignore"):
        fractions = (y != np.floor(y)) | (x != np.floor(x))  # true for NaN, not for infinity
    problems = (
        (
            fractions | ~np.isfinite(y) | ~np.isfinite(x),
            "pixels that are not whole numbers",
            "Round them, or count from the centre of pixel 0",
        ),
        ((y < 0) | (x < 0), "negative pixels", "Count pixels from 0, the corner of the recording"),
        (
            outside,
            f"pixels outside of the image{size}",
            "Give the shape (y, x) of the recording, and check that y and x are not swapped",
        ),
        (
            _repeated(row, plane, y, x),
            "the same pixel twice",
            "Give each pixel once, with the sum of its weights",
        ),
        (
            ~(np.isfinite(weight) & np.isfinite(total)[row]),
            "weights that are not finite",
            "Leave these pixels out",
        ),
        (weight < 0, "negative weights", "Clip them at 0, or leave these pixels out"),
        (~(total > 0)[row], "no pixel of positive weight", "Leave these neurons out"),
    )
    for bad, problem, remedy in problems:
        if bad.any():
            names = list(dict.fromkeys(neuron[bad].tolist()))
            have = "neuron {} has" if len(names) == 1 else "neurons {} have"
            raise RoiError(f"{where}: {have.format(first_few(names))} {problem}. {remedy}.")


def _repeated(
    row: np.ndarray, plane: np.ndarray | None, y: np.ndarray, x: np.ndarray
) -> np.ndarray:
    """Mark entries that another one of the same neuron repeats."""
    keys = (x, y, row) if plane is None else (x, y, plane, row)
    order = np.lexsort(keys)
    same = np.ones(max(order.size - 1, 0), dtype=bool)
    for key in keys:
        same &= key[order][1:] == key[order][:-1]
    repeated = np.zeros(order.size, dtype=bool)
    repeated[order[1:][same]] = True
    return repeated
