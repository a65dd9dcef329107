"""Results of kernels that go where they belong in one large array."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import numpy as np


def into(kernel: Callable[..., Any]) -> Callable[..., None]:
    """Return a function ``put(target, *rows, **arguments)`` that puts a kernel's result in place.

    A kernel with a parameter ``out`` may write its result there and return that array; what others
    make is copied. It is converted to the dtype of the target.

    Examples
    --------
    >>> target = np.zeros(2)
    >>> into(lambda rows: -rows)(target, np.array([1.0, 2.0]))
    >>> target.tolist()
    [-1.0, -2.0]
    """
    writes = "out" in inspect.signature(kernel).parameters

    def put(target: np.ndarray, *rows: np.ndarray, **arguments: Any) -> None:
        result = kernel(*rows, out=target, **arguments) if writes else kernel(*rows, **arguments)
        if result is not target:
            target[...] = result

    return put
