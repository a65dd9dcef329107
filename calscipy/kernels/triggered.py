"""Sums of the frames at each lag after triggers, built from one block of frames after the other."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, DTypeLike

from calscipy.kernels.waveforms import sum_dtype


@dataclass
class LagSums:
    """What some frames add to the lags at which they are.

    Parameters
    ----------
    lags : ndarray of int, shape (k,)
        Those that occur, ascending.
    total : ndarray, shape (k, ..., y, x)
        Sums without NaN: 64-bit integers of integers, float64 of floats.
    missing : ndarray of int32, same shape, optional
        How many NaN were left out, once there are any.

    Examples
    --------
    >>> sums = LagSums.empty([5, 5, 6], (1, 1), np.dtype("u2"))
    >>> sums.add(np.array([[[1]], [[2]], [[4]]]), np.array([0, 2, 2]), np.array([5, 5, 6]))
    >>> sums.lags.tolist(), sums.total.ravel().tolist()
    ([5, 6], [5, 4])
    """

    lags: np.ndarray
    total: np.ndarray
    missing: np.ndarray | None = None

    @classmethod
    def empty(cls, lags: ArrayLike, shape: tuple[int, ...], dtype: np.dtype) -> LagSums:
        """Return sums of no frame yet, at the lags that will occur, for images of a shape."""
        unique = np.unique(np.asarray(lags, dtype=np.intp))
        return cls(unique, np.zeros((unique.size, *shape), sum_dtype(dtype)))

    def add(
        self, frames: np.ndarray, at: np.ndarray, lag: np.ndarray, valid: np.ndarray | None = None
    ) -> None:
        """Add frames at the lags that they have; every frame is looked at once.

        Parameters
        ----------
        frames : ndarray, shape (frames, ..., y, x)
            A block of a movie.
        at, lag : ndarray of int, shape (hits,)
            Frames, ascending, and a lag of each. A frame has as many hits as it has lags.
        valid : ndarray of bool, shape (frames, ...), optional
            Images that are False are left out.
        """
        used, starts = np.unique(at, return_index=True)
        places = np.split(np.searchsorted(self.lags, lag), starts[1:])
        for frame, some in zip(used.tolist(), places, strict=False):
            image = frames[frame]
            if valid is not None and not valid[frame].all():
                image = np.where(valid[frame][..., None, None], image, image.dtype.type(0))
            gaps = np.isnan(image) if image.dtype.kind == "f" else None
            if gaps is not None and gaps.any():
                image = np.where(gaps, image.dtype.type(0), image)
                if self.missing is None:
                    self.missing = np.zeros(self.total.shape, np.int32)
                for to in some.tolist():
                    self.missing[to] += gaps
            if some.size > 1:
                image = image.astype(self.total.dtype)  # once, not once for each lag
            with np.errstate(invalid="ignore"):  # infinite values of both signs
                for to in some.tolist():
                    self.total[to] += image


def combine(*parts: LagSums) -> LagSums:
    """Put sums of several blocks together, in their order; none of them is changed.

    Examples
    --------
    >>> one = LagSums(np.array([1, 2]), np.array([10, 20]))
    >>> both = combine(one, LagSums(np.array([2, 7]), np.array([3, 4])))
    >>> both.lags.tolist(), both.total.tolist()
    ([1, 2, 7], [10, 23, 4])
    """
    return functools.reduce(_combined, parts)


def _combined(left: LagSums, right: LagSums) -> LagSums:
    lags = np.union1d(left.lags, right.lags)
    missing = None
    if left.missing is not None or right.missing is not None:
        missing = _summed(lags, [(left.lags, left.missing), (right.lags, right.missing)])
    with np.errstate(invalid="ignore"):
        total = _summed(lags, [(left.lags, left.total), (right.lags, right.total)])
    return LagSums(lags, total, missing)


def _summed(lags: np.ndarray, parts: list[tuple[np.ndarray, Any]]) -> np.ndarray:
    """Add images of the same lags."""
    (first, images), (second, others) = parts
    if np.array_equal(first, second) and images is not None and others is not None:
        whole: np.ndarray = images + others
        return whole
    like = images if images is not None else others
    whole = np.zeros((lags.size, *like.shape[1:]), like.dtype)
    for own, some in parts:
        if some is not None:
            for image, to in zip(some, np.searchsorted(lags, own).tolist(), strict=True):
                whole[to] += image
    return whole


def finish(
    sums: LagSums | None, count: np.ndarray, shape: tuple[int, ...], reduce: str, dtype: DTypeLike
) -> tuple[np.ndarray, np.ndarray]:
    """Make the mean, or the sum, at every lag.

    Parameters
    ----------
    sums : LagSums
        Of all frames; None if there are none.
    count : ndarray of int, shape (lags, ...)
        Images at each lag, those with NaN as well.
    shape : tuple of int
        Of the result, ``(lags, ..., y, x)``.
    reduce : {"mean", "sum"}
        The mean of no value is NaN, the sum 0.
    dtype : dtype
        Of the result.

    Returns
    -------
    values : ndarray
        The result.
    known : ndarray of int64, same shape
        How many values are in it; a view that takes no memory where none is missing.

    Examples
    --------
    >>> sums = LagSums(np.array([1]), np.array([[[6]]]))
    >>> values, known = finish(sums, np.array([0, 4]), (2, 1, 1), "mean", np.float32)
    >>> values.ravel().tolist(), known.ravel().tolist()
    ([nan, 1.5], [0, 4])
    """
    known = np.broadcast_to(count[..., None, None], shape)
    values = np.full(shape, np.nan if reduce == "mean" else 0, dtype)
    if sums is None:
        return values, known
    if sums.missing is not None:
        known = known.copy()
        known[sums.lags] -= sums.missing
    for image, lag in zip(sums.total, sums.lags.tolist(), strict=True):
        with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
            values[lag] = image / known[lag] if reduce == "mean" else image
    return values, known
