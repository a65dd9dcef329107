"""Bins of a number of samples, reduced by any function, with a rule for the last bin."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any, Literal, get_args

import numpy as np

from calscipy.errors import ArgumentError
from calscipy.kernels.bin_rows import bin_rows, bin_rows_by

LastBin = Literal["keep", "drop", "join"]

# What compiled loops do faster, with the same result.
_NAMED: dict[Any, str] = {
    np.mean: "mean",
    np.median: "median",
    np.sum: "sum",
    sum: "sum",
    np.std: "std",
    np.max: "max",
    np.min: "min",
}
_WORDS: dict[Any, str] = {word: word for word in _NAMED.values()}


def bin_samples(
    rows: np.ndarray, *, samples: int, function: Callable[..., Any] | str, last: LastBin = "keep"
) -> tuple[np.ndarray, np.ndarray]:
    """Reduce bins of neighbouring samples to one number each.

    Parameters
    ----------
    rows : ndarray, shape (..., samples)
        Real numbers.
    samples : int
        Samples of a bin.
    function : callable or str
        ``function(values)`` makes one number of a bin; one with a parameter ``axis`` gets many
        bins at once. Or the name of a reduction of NumPy, such as ``"mean"``.
    last : {"keep", "drop", "join"}
        What becomes of the samples left over at the end: a bin of their own, nothing, or a part
        of the bin before.

    Returns
    -------
    values : ndarray, shape (..., bins)
        Of the dtype that NumPy's reductions give; float32 or float64 for other functions.
    starts : ndarray of int, shape (bins,)
        First sample of each bin.

    Raises
    ------
    ArgumentError
        For an argument that is out of range, and a function that does not make one number.

    Examples
    --------
    >>> bin_samples(np.arange(7), samples=3, function=np.sum)[0].tolist()
    [3, 12, 6]
    >>> bin_samples(np.arange(7), samples=3, function=np.sum, last="join")[0].tolist()
    [3, 18]
    """
    if rows.dtype.kind not in "biuf" or rows.ndim == 0:
        raise ArgumentError(f"bins need an array of real numbers, got {rows.dtype}.")
    starts, stops = _edges(rows.shape[-1], samples, last)
    values = rows.astype(np.int64) if rows.dtype.kind == "b" else rows
    name = _name(function)
    if name is not None:
        dtype = _dtype(values.dtype, name)
        made = bin_rows(values, starts=starts, stops=stops, reduce=name, dtype=dtype)
        return made, starts
    assert callable(function)
    made = bin_rows_by(
        values,
        starts=starts,
        stops=stops,
        function=function,
        along_axis=takes_axis(function),
        dtype=_dtype(values.dtype, "mean"),
    )
    return made, starts


def takes_axis(function: Callable[..., Any]) -> bool:
    """Tell whether a function has a parameter ``axis``.

    Examples
    --------
    >>> takes_axis(np.mean), takes_axis(len)
    (True, False)
    """
    try:
        return "axis" in inspect.signature(function).parameters
    except (TypeError, ValueError):  # some built-in functions have no signature
        return False


def _edges(count: int, samples: int, last: str) -> tuple[np.ndarray, np.ndarray]:
    whole = isinstance(samples, int | np.integer) and not isinstance(samples, bool)
    if not whole or samples < 1:
        raise ArgumentError(f"bin_length must be a whole number from 1 on, got {samples!r}.")
    if last not in get_args(LastBin):
        raise ArgumentError(f"last_bin must be one of {get_args(LastBin)}, got {last!r}.")
    edges = np.append(np.arange(0, count, samples), count) if count else np.zeros(1, np.int64)
    if count % samples and (last == "drop" or (last == "join" and edges.size > 2)):
        edges = np.delete(edges, -1 if last == "drop" else -2)
    return edges[:-1], edges[1:]


def _name(function: Callable[..., Any] | str) -> str | None:
    known = _WORDS if isinstance(function, str) else _NAMED
    try:
        name = known.get(function)
    except TypeError:  # not hashable
        name = None
    if name is None and not callable(function):
        raise ArgumentError(
            f"fun must be a function such as numpy.mean, or one of {list(_WORDS)}, got "
            f"{function!r}."
        )
    return name


def _dtype(dtype: np.dtype, name: str) -> np.dtype:
    """Return the dtype that NumPy's reduction has."""
    if name in ("max", "min"):
        return dtype.newbyteorder("=")
    if dtype.kind == "f":
        return np.dtype("f8" if dtype.itemsize == 8 else "f4")
    if name == "sum":
        return np.dtype("u8" if dtype.kind == "u" else "i8")
    return np.dtype("f8")
