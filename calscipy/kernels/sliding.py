"""Windows that slide over a sequence, blocks that overlap, and any function of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from calscipy.errors import ArgumentError
from calscipy.kernels.bin_samples import takes_axis

PIECE = 2**18  # samples of windows that a function gets at a time: 2 MiB of float64


def sliding_windows(values: np.ndarray, length: int, step: int = 1) -> np.ndarray:
    """View all whole windows of the last axis, ``step`` samples apart.

    Returns
    -------
    ndarray, shape (..., windows, length)
        Not writeable.

    Raises
    ------
    ArgumentError
        If a window is longer than the sequence, or a number is below 1.

    Examples
    --------
    >>> sliding_windows(np.arange(6), 3, step=2).tolist()
    [[0, 1, 2], [2, 3, 4]]
    """
    _require_count("step_size", step)
    _require_count("window_length", length)
    if values.ndim == 0 or length > values.shape[-1]:
        raise ArgumentError(
            f"a window of {length} samples does not fit into a sequence of the shape "
            f"{values.shape}. Make it shorter."
        )
    windows = np.lib.stride_tricks.sliding_window_view(values, int(length), axis=-1)
    return windows[..., :: int(step), :]


def apply_sliding(
    values: np.ndarray,
    length: int,
    function: Callable[..., Any],
    args: Sequence[Any] = (),
    options: Mapping[str, Any] | None = None,
) -> np.ndarray:
    """Apply a function to every window of the last axis.

    A function with a parameter ``axis`` gets many windows at once, others one at a time.

    Parameters
    ----------
    values : ndarray, shape (..., samples)
        Numbers.
    length : int
        Samples of a window.
    function : callable
        Called as ``function(window, *args, **options)``.
    args, options
        Further arguments.

    Returns
    -------
    ndarray, shape (..., windows) or (..., windows, *what the function returns)

    Examples
    --------
    >>> apply_sliding(np.array([1.0, 2.0, 6.0]), 2, np.mean).tolist()
    [1.5, 4.0]
    >>> apply_sliding(np.array([1.0, 2.0, 6.0]), 2, lambda window: window[0]).tolist()
    [1.0, 2.0]
    """
    windows = sliding_windows(values, length)
    options = dict(options or {})
    if not args and "axis" not in options and takes_axis(function):
        made = _along_axis(windows, function, options)
        if made is not None:
            return made
    each = [
        function(one, *args, **options)
        for row in np.ndindex(*windows.shape[:-2])
        for one in windows[row]
    ]
    try:
        made = np.array(each)
    except ValueError:
        raise ArgumentError(
            "the function of sliding windows must return as many numbers for each of them."
        ) from None
    return made.reshape(*windows.shape[:-1], *made.shape[1:])


def _along_axis(
    windows: np.ndarray, function: Callable[..., Any], options: Mapping[str, Any]
) -> np.ndarray | None:
    """Apply a function to many windows at a time; None if it does not make one number of each."""
    flat = max(1, PIECE // (windows.shape[-1] * max(1, int(np.prod(windows.shape[:-2])))))
    parts = []
    for start in range(0, windows.shape[-2], flat):
        some = windows[..., start : start + flat, :]
        made = np.asarray(function(some, axis=-1, **options))
        if made.shape != some.shape[:-1]:
            return None
        parts.append(made)
    return np.concatenate(parts, axis=-1)


def block_slices(length: int, size: int, overlap: int = 0) -> list[slice]:
    """Cut a sequence into blocks, of which neighbours share ``overlap`` elements.

    Returns
    -------
    list of slice
        The last block may be shorter; every element is in one block at least.

    Raises
    ------
    ArgumentError
        If the blocks are empty, or overlap wholly.

    Examples
    --------
    >>> block_slices(7, 3, 1)
    [slice(0, 3, None), slice(2, 5, None), slice(4, 7, None)]
    >>> block_slices(2, 5)
    [slice(0, 2, None)]
    """
    _require_count("block_size", size)
    whole = isinstance(overlap, int | np.integer) and not isinstance(overlap, bool)
    if not whole or not 0 <= overlap < size:
        raise ArgumentError(
            f"block_buffer must be a whole number from 0 to block_size - 1 = {size - 1}, got "
            f"{overlap!r}."
        )
    starts = range(0, max(length - overlap, min(length, 1)), size - overlap)
    return [slice(start, min(start + size, length)) for start in starts]


def apply_to_blocks(
    values: np.ndarray, function: Callable[[np.ndarray], np.ndarray], *, size: int, overlap: int
) -> np.ndarray:
    """Apply a function to one block of the first axis after the other, in place of each.

    Where blocks overlap, the later one gets what the function has made of the earlier one. This is
    how CalSciPy 0.3.5 filtered movies; it leaves seams, and is here to repeat old results.

    Examples
    --------
    >>> apply_to_blocks(np.ones(5), lambda block: 2 * block, size=3, overlap=1).tolist()
    [2.0, 2.0, 4.0, 2.0, 2.0]
    """
    made = np.array(values)
    for block in block_slices(len(made), size, overlap):
        made[block] = function(made[block])
    return made


def _require_count(name: str, value: Any) -> None:
    whole = isinstance(value, int | np.integer) and not isinstance(value, bool)
    if not whole or value < 1:
        raise ArgumentError(f"{name} must be a whole number from 1 on, got {value!r}.")
