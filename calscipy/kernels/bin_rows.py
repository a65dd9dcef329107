"""Bins of neighbouring samples of rows, such as traces, each reduced to one number."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from calscipy.errors import ArgumentError
from calscipy.kernels.bin import bin_frames
from calscipy.kernels.compiled import compiled, compiled_fast, frozen, read_only
from calscipy.kernels.results import room_for


def bin_rows(
    rows: np.ndarray,
    *,
    starts: np.ndarray,
    stops: np.ndarray,
    reduce: str,
    dtype: np.dtype,
    out: np.ndarray | None = None,
) -> np.ndarray:
    """Reduce bins of samples.

    Parameters
    ----------
    rows : ndarray, shape (..., samples)
        Numbers or booleans.
    starts, stops : ndarray of int, shape (bins,)
        Samples ``[start, stop)`` of each bin, in order and without overlap.
    reduce : {"mean", "sum", "max", "min", "median", "std"}
        What to take of the samples of a bin; ``"std"`` divides by their number. A NaN gives NaN.
    dtype : dtype
        Of the result.
    out : ndarray, optional
        Where to put the result, if it fits as it is.

    Returns
    -------
    ndarray, shape (..., bins)

    Examples
    --------
    >>> rows = np.array([[1.0, 2.0, 3.0, 6.0]])
    >>> edges = np.array([0, 2, 4])
    >>> bin_rows(rows, starts=edges[:-1], stops=edges[1:], reduce="mean", dtype="f8").tolist()
    [[1.5, 4.5]]
    """
    result = room_for(out, (*rows.shape[:-1], len(starts)), dtype)
    flat = rows.reshape(math.prod(rows.shape[:-1]), rows.shape[-1])
    made = result.reshape(len(flat), len(starts))
    if rows.dtype.kind == "f" and reduce in ("mean", "sum", "std"):
        samples = frozen(flat, np.dtype("f8" if rows.dtype.itemsize == 8 else "f4"))
        even = 0 if reduce == "std" else _add_narrow(samples, starts, stops, reduce, made)
        if even < len(starts):
            first, last = (frozen(edges[even:], np.dtype("u8")) for edges in (starts, stops))
            if reduce == "std":
                _std(samples, first, last, made)
            else:
                _add(samples, first, last, even, reduce == "mean", made)
        return result
    frames = np.arange(len(flat))
    for bins, width in _runs(starts, stops):
        block = flat[:, None, starts[bins.start] : stops[bins.stop - 1]]
        # Contiguous: every further memory layout would be compiled anew.
        place = made[:, None, bins]
        some = room_for(place, place.shape, dtype)
        bin_frames(block, frames, frames + 1, width=(1, width), reduce=reduce, out=some)
        if some is not place:
            place[...] = some
    return result


def bin_rows_by(
    rows: np.ndarray,
    *,
    starts: np.ndarray,
    stops: np.ndarray,
    function: Callable[..., Any],
    along_axis: bool,
    dtype: np.dtype,
) -> np.ndarray:
    """Reduce bins of samples by any function.

    Parameters
    ----------
    rows : ndarray, shape (..., samples)
        Real numbers or booleans.
    starts, stops : ndarray of int, shape (bins,)
        Samples ``[start, stop)`` of each bin, in order and without overlap.
    function : callable
        ``function(values, axis=-1)``, or ``function(values)`` of the samples of one bin. Values
        are of ``dtype`` and not writeable.
    along_axis : bool
        Whether it takes ``axis``.
    dtype : dtype
        Of the values and of the result.

    Returns
    -------
    ndarray, shape (..., bins)

    Raises
    ------
    ArgumentError
        If the function does not make one number of each bin.
    """
    out = np.empty((*rows.shape[:-1], len(starts)), dtype)
    for bins, width in _runs(starts, stops):
        used = rows[..., starts[bins.start] : stops[bins.stop - 1]]
        whole = used.shape[-1] // width
        pieces = [(slice(0, whole), width)] if whole else []
        if used.shape[-1] % width:
            pieces.append((slice(whole, whole + 1), used.shape[-1] % width))
        for which, wide in pieces:
            first = which.start * width
            values = used[..., first : first + (which.stop - which.start) * wide]
            values = np.ascontiguousarray(values, dtype).reshape(*rows.shape[:-1], -1, wide)
            at = slice(bins.start + which.start, bins.start + which.stop)
            out[..., at] = _applied(function, read_only(values), along_axis)
    return out


def _applied(function: Callable[..., Any], values: np.ndarray, along_axis: bool) -> np.ndarray:
    if along_axis:
        made = np.asarray(function(values, axis=-1))
    else:
        each = [np.asarray(function(one)) for one in values.reshape(-1, values.shape[-1])]
        alike = {one.shape for one in each} == {()}
        made = np.array(each).reshape(values.shape[:-1]) if alike else np.asarray(each[0])
    if made.shape != values.shape[:-1] or made.dtype.kind not in "biuf":
        name = getattr(function, "__name__", "the function")
        raise ArgumentError(
            f"bin(reduce={name}) must make one real number of each bin, but of an array of the "
            f"shape {values.shape if along_axis else values.shape[-1:]} it made {made.dtype} of "
            f"the shape {made.shape}. Bins are along the last axis."
        )
    return made


def _runs(starts: np.ndarray, stops: np.ndarray) -> Iterator[tuple[slice, int]]:
    """Yield bins that follow each other and are of one width, but for the last one."""
    widths = stops - starts
    new = (starts[1:] != stops[:-1]) | (widths[1:] > widths[:-1])
    new[1:] |= widths[1:-1] < widths[:-2]  # what follows a shorter bin
    borders = [0, *(np.flatnonzero(new) + 1).tolist(), len(starts)]
    for first, last in itertools.pairwise(borders):
        if last > first:
            yield slice(first, last), int(widths[first])


def _add_narrow(
    rows: np.ndarray, starts: np.ndarray, stops: np.ndarray, reduce: str, out: np.ndarray
) -> int:
    """Add up the narrow bins at the beginning that follow each other and are alike; count them."""
    from calscipy.kernels import vector_loops  # imports numba

    wide = int(stops[0] - starts[0]) if len(starts) else 0
    if not 0 < wide <= vector_loops.WIDEST:
        return 0
    edges = starts[0] + wide * np.arange(len(starts) + 1)
    odd = (starts != edges[:-1]) | (stops != edges[1:])
    count = int(np.argmax(odd)) if odd.any() else len(starts)
    place = (np.uint64(number) for number in (starts[0], wide, count))
    vector_loops.add_bins(rows, *place, float(wide) if reduce == "mean" else 1.0, out)
    return count


@compiled_fast("reassoc", "contract")
def _add(rows: Any, starts: Any, stops: Any, first: int, mean: bool, out: Any) -> None:
    """Add up each bin, for the results from the ``first`` on.

    The additions of a bin may be done in any order, several at once.
    """
    for r in range(len(rows)):
        row, target = rows[r], out[r, first:]
        for k in range(np.uint64(len(starts))):
            start, wide = starts[k], stops[k] - starts[k]
            total = 0.0
            for i in range(wide):
                total += row[start + i]
            # A number without a sign takes several steps to become a float.
            target[k] = total / np.float64(np.int64(wide)) if mean else total


@compiled_fast("reassoc", "contract")
def _std(rows: Any, starts: Any, stops: Any, out: Any) -> None:
    """Take the standard deviation of each bin, of deviations from its first sample.

    What cancels in the difference of the two sums is then at most the number of samples times the
    variance, however far the samples are from 0.
    """
    for r in range(len(rows)):
        row, target = rows[r], out[r]
        for k in range(np.uint64(len(starts))):
            start, wide = starts[k], stops[k] - starts[k]
            pivot = np.float64(row[start])
            total, squares = pivot - pivot, 0.0  # NaN where that sample is not finite
            for i in range(np.uint64(1), wide):
                off = row[start + i] - pivot
                total += off
                squares += off * off
            count = np.float64(np.int64(wide))
            target[k] = _spread(total / count, squares / count)


@compiled
def _spread(mean: float, square: float) -> float:
    variance = square - mean * mean
    return 0.0 if variance < 0 else math.sqrt(variance)  # NaN stays NaN
