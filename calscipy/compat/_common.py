"""What the functions of this package share: labels, results in place, notes on other numbers."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import ArrayLike

from calscipy import model
from calscipy.errors import ArgumentError, CalscipyWarning, warn
from calscipy.io.arrays import from_numpy
from calscipy.ops._time import along_time


class CompatWarning(CalscipyWarning):
    """A function of `calscipy.compat` gives other numbers than CalSciPy 0.3.5 did."""


@functools.cache
def note(difference: str) -> None:
    """Warn of a difference from CalSciPy 0.3.5, once in a process."""
    warn(f"{difference}. See the page 'Coming from CalSciPy 0.3.5'.", CompatWarning)


def labelled(traces: ArrayLike, frame_rate: float = 1.0) -> xr.DataArray:
    """Label traces ``(neurons, frames)``, or a single one."""
    array = np.asarray(traces)
    return from_numpy(array, frame_rate=frame_rate, dims=(model.NEURON, model.TIME)[-array.ndim :])


def by_rows(traces: ArrayLike, kernel: Callable[..., Any], verb: str, **how: Any) -> np.ndarray:
    """Apply a kernel to the rows of an array, in several threads if there are many."""
    array = np.asarray(traces)
    numbers = array.astype(np.float32) if array.dtype == bool else array
    return np.asarray(along_time(labelled(numbers), kernel, verb=verb, **how).values)


def given_back(result: np.ndarray, original: Any, in_place: bool) -> np.ndarray:
    """Return a result, in the array that was given if it is asked for.

    Raises
    ------
    ArgumentError
        If the array cannot hold it: integers would cut off its decimals.
    """
    if not in_place:
        return result
    if not isinstance(original, np.ndarray) or original.dtype.kind != "f":
        raise ArgumentError(
            "in_place=True needs an array of floating-point numbers, got "
            f"{getattr(original, 'dtype', type(original))}. Convert it: array.astype('float32')."
        )
    np.copyto(original, result, casting="same_kind")
    return original
