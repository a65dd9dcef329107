"""Functions of CuPy called with arrays of NumPy."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np

from calscipy.blocks.device import INSTALL_CUPY, is_cupy, on_host
from calscipy.errors import DeviceError


def taking_numpy(function: Callable[..., Any]) -> Callable[..., Any]:
    """Make a function of CuPy take and return arrays of NumPy.

    Parameters
    ----------
    function : callable
        Its arguments that are arrays of NumPy reach it as arrays on the GPU.

    Returns
    -------
    callable
        Raises `DeviceError` when it is called where CuPy is not installed.

    Examples
    --------
    >>> def doubled(array):
    ...     return 2 * array
    >>> taking_numpy(doubled).__name__
    'doubled'
    """

    @functools.wraps(function)
    def on_gpu(*args: Any, **kwargs: Any) -> Any:
        try:
            import cupy
        except ImportError as error:
            raise DeviceError(
                f"functions of CuPy need CuPy, which is not installed. {INSTALL_CUPY}"
            ) from error

        def sent(value: Any) -> Any:
            return cupy.asarray(value) if isinstance(value, np.ndarray) else value

        named = {name: sent(value) for name, value in kwargs.items()}
        return _fetched(function(*map(sent, args), **named))

    return on_gpu


def _fetched(value: Any) -> Any:
    """Bring arrays back, those in tuples and lists too."""
    if isinstance(value, tuple | list) and type(value) in (tuple, list):
        return type(value)(map(_fetched, value))
    return on_host(value) if is_cupy(value) else value
