"""Blocks, windows, file names and time vectors (``CalSciPy.misc``)."""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import DTypeLike

from calscipy.blocks.cupy_functions import taking_numpy
from calscipy.compat._common import note
from calscipy.errors import ArgumentError
from calscipy.kernels.sliding import apply_sliding, block_slices, sliding_windows

_SIGNS = {"==": "eq", "!=": "ne", "<": "lt", "<=": "le", ">": "gt", ">=": "ge"}


class PatternMatching:
    """Compare a value with cases, one after the other.

    Now: ``number < 2 and suffix == "tif"``

    Parameters
    ----------
    value : object
        What is compared: one value, or a sequence with one for each comparison.
    comparison_expressions : iterable
        For each value ``"=="``, ``"!="``, ``"<"``, ``"<="``, ``">"``, ``">="`` or a function of
        value and case. Texts are never evaluated.

    Examples
    --------
    >>> with PatternMatching((3, "tif"), ("<", "==")) as case:
    ...     case((2, "tif")), case((5, "tif"))
    (False, True)
    """

    def __init__(self, value: Any, comparison_expressions: Iterable[Any]) -> None:
        self.value, self.comparison_expressions = value, tuple(comparison_expressions)
        self._comparisons = tuple(map(_comparison, self.comparison_expressions))

    def __call__(self, case: Any) -> bool:
        """Tell whether all comparisons with a case hold."""
        several = len(self._comparisons) > 1
        values, cases = (self.value, case) if several else ((self.value,), (case,))
        pairs = zip(self._comparisons, values, cases, strict=True)
        return all(bool(compare(value, one)) for compare, value, one in pairs)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        pass


def _comparison(expression: Any) -> Callable[[Any, Any], Any]:
    found = _SIGNS.get(expression) if isinstance(expression, str) else expression
    function = getattr(operator, found) if isinstance(found, str) else found
    if not callable(function):
        raise ArgumentError(f"{expression!r} is neither one of {list(_SIGNS)} nor a function.")
    return function  # type: ignore[no-any-return]


def calculate_frames_per_file(
    y_pixels: int,
    x_pixels: int,
    bit_depth: DTypeLike = np.uint16,
    size_cap: float = 3.9,
) -> int:
    """Count the frames that fit into a file.

    Now: ``int(3.9e9) // (512 * 512 * 2)``

    Parameters
    ----------
    y_pixels, x_pixels : int
        Rows and columns of a frame.
    bit_depth : dtype, default uint16
        Of the pixels.
    size_cap : float, default 3.9
        Largest size of a file, in 1e9 bytes.

    Returns
    -------
    int
        At least 1: a frame larger than the cap has a file of its own.

    Examples
    --------
    >>> calculate_frames_per_file(512, 512)
    7438
    """
    frame_bytes = y_pixels * x_pixels * np.dtype(bit_depth).itemsize
    return max(1, int(size_cap * 1e9 // frame_bytes))


def generate_blocks(
    sequence: Iterable[Any], block_size: int, block_buffer: int = 0
) -> Iterator[Any]:
    """Cut a sequence into blocks, of which neighbours share ``block_buffer`` elements.

    Now: ``movie.chunk(frames=8)``

    Parameters
    ----------
    sequence : iterable
        What is cut; it is read whole if it has no length.
    block_size : int
        Elements of a block. The last one may have fewer.
    block_buffer : int, default 0
        Elements that a block shares with the one before.

    Returns
    -------
    iterator
        Of parts of the sequence, of its kind; of tuples if it has no length.

    Examples
    --------
    >>> list(generate_blocks([0, 1, 2, 3, 4, 5, 6], 3, 1))
    [[0, 1, 2], [2, 3, 4], [4, 5, 6]]
    """
    whole: Any = sequence if hasattr(sequence, "__getitem__") else tuple(sequence)
    return map(whole.__getitem__, block_slices(len(whole), block_size, block_buffer))


def generate_overlapping_blocks(
    sequence: Iterable[Any], block_size: int, block_buffer: int
) -> Iterator[Any]:
    """Cut a sequence into overlapping blocks, as `generate_blocks`.

    Now: ``movie.chunk(frames=8)``

    Parameters
    ----------
    sequence, block_size, block_buffer
        As for `generate_blocks`.

    Returns
    -------
    iterator
        Of parts of the sequence. 0.3.5 filled blocks at the ends up with the number 0, which as
        an index is the first frame; here they hold elements of the sequence alone.
    """
    note("generate_overlapping_blocks fills no block up with zeros, as 0.3.5 did")
    return generate_blocks(sequence, block_size, block_buffer)


def generate_padded_filename(
    output_folder: Path, index: int, base: str = "images", digits: int = 2, ext: str = ".tif"
) -> Path:
    """Name a file of a series, ``{base}_{index}{ext}``.

    Now: ``Path(out) / f"images_{7:02d}.tif"``

    Parameters
    ----------
    output_folder : Path
        Its folder.
    index : int
        Its number.
    base, ext : str
        What comes before and after.
    digits : int, default 2
        Digits of the number. Longer numbers keep all of theirs; calscipy reads files in the order
        of their numbers.

    Returns
    -------
    Path

    Examples
    --------
    >>> generate_padded_filename(Path("out"), 7).name
    'images_07.tif'
    """
    return Path(output_folder) / f"{base}_{zero_pad_num_to_string(index, digits)}{ext}"


def generate_sliding_window(
    sequence: Iterable[Any], window_length: int, step_size: int = 1
) -> np.ndarray:
    """Return all whole windows of a sequence.

    Now: ``traces.rolling(time=3).construct("window")``

    Parameters
    ----------
    sequence : iterable
        Numbers; windows are along the last axis of an array.
    window_length : int
        Samples of a window.
    step_size : int, default 1
        Samples from one window to the next. 0.3.5 lost the last windows for steps above 1.

    Returns
    -------
    ndarray, shape (windows, window_length)

    Raises
    ------
    ArgumentError
        If the window is longer than the sequence.

    Examples
    --------
    >>> generate_sliding_window(range(4), 3).tolist()
    [[0, 1, 2], [1, 2, 3]]
    """
    array = np.asarray(sequence if hasattr(sequence, "__len__") else list(sequence))
    if step_size > 1:
        note("generate_sliding_window returns the last windows too, which 0.3.5 left out")
    return sliding_windows(array, window_length, step_size).copy()


def generate_time_vector(
    num_samples: int,
    sampling_frequency: float = 30.0,
    start: float = 0.0,
    step: float | None = None,
) -> np.ndarray:
    """Return the times of samples, at a frequency or at a step.

    Now: ``cs.from_numpy(array, frame_rate=30).time``

    Parameters
    ----------
    num_samples : int
        How many.
    sampling_frequency : float, default 30
        In Hz.
    start : float, default 0
        The first time in s.
    step : float, optional
        Time from one sample to the next in s, in place of the frequency.

    Returns
    -------
    ndarray of float64, shape (num_samples,)

    Raises
    ------
    ArgumentError
        For a step or a frequency of 0; 0.3.5 passed over such a step.

    Examples
    --------
    >>> generate_time_vector(3, 10.0).tolist(), generate_time_vector(3, start=1, step=2).tolist()
    ([0.0, 0.1, 0.2], [1.0, 3.0, 5.0])
    """
    if (sampling_frequency if step is None else step) == 0:
        raise ArgumentError("generate_time_vector needs a frequency or a step other than 0.")
    times = np.arange(num_samples, dtype=np.float64)
    scaled = times / sampling_frequency if step is None else times * step
    return np.add(scaled, start, out=scaled)


def sliding_window(
    sequence: np.ndarray,
    window_length: int,
    function: Callable[..., Any],
    *args: Any,
    **kwargs: Any,
) -> np.ndarray:
    """Apply a function to every window of a sequence.

    Now: ``traces.rolling(time=3).reduce(np.mean)``

    Parameters
    ----------
    sequence : ndarray, shape (..., samples)
        Numbers; windows are along the last axis.
    window_length : int
        Samples of a window.
    function : callable
        Called as ``function(window, *args, **kwargs)``. One with a parameter ``axis`` gets many
        windows at once.

    Returns
    -------
    ndarray, shape (..., samples - window_length + 1)

    Examples
    --------
    >>> sliding_window(np.array([1.0, 2.0, 6.0]), 2, np.mean).tolist()
    [1.5, 4.0]
    """
    return apply_sliding(np.asarray(sequence), window_length, function, args, kwargs)


def wrap_cupy_block(copy_function: Callable[..., Any]) -> Callable[..., Any]:
    """Make a function of CuPy take and return arrays of NumPy.

    Now: ``movie.cs.gaussian_filter(sigma=1, device="auto")``

    Parameters
    ----------
    copy_function : callable
        Any function of CuPy that takes arrays; the name of the argument is that of 0.3.5.

    Returns
    -------
    callable

    Examples
    --------
    >>> def doubled(array):
    ...     return 2 * array
    >>> wrap_cupy_block(doubled).__name__
    'doubled'
    """
    return taking_numpy(copy_function)


def zero_pad_num_to_string(idx: int, num_zeros: int) -> str:
    """Write a number with zeros in front.

    Now: ``f"{7:03d}"``

    Parameters
    ----------
    idx : int
        A whole number from 0 on.
    num_zeros : int
        Digits of the text. Longer numbers keep all of theirs.

    Examples
    --------
    >>> zero_pad_num_to_string(7, 3)
    '007'
    """
    if idx < 0:
        raise ArgumentError(f"a number from 0 on was expected, got {idx!r}.")
    return str(idx).zfill(num_zeros)
