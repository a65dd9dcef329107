"""Loops compiled with numba when they are first called, never at import."""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable
from typing import Any

import numpy as np

_importing = threading.Lock()
_in_use = False


def in_use() -> bool:
    """Tell whether numba was asked to compile something already, in this process.

    The first loop costs half a second, even if it was compiled before; each further one hundredths.
    """
    return _in_use


class Compiled:
    """A function that numba compiles at its first call, for the types that it is called with.

    Compiled code releases the GIL, runs in the one thread that calls it and is cached on disk
    where that is possible. ``parallel=True`` is not offered: dask calls kernels from several
    threads at once, which aborts the process under numba's own thread pool and hangs forked
    children under OpenMP.
    """

    def __init__(self, function: Callable[..., Any], *, fastmath: bool | set[str] = False) -> None:
        functools.update_wrapper(self, function)
        self._function = function
        self._fastmath = fastmath

    @functools.cached_property
    def dispatcher(self) -> Any:
        """What numba makes of the function."""
        global _in_use
        with _importing:
            import numba

            _in_use = True

            options: dict[str, Any] = {
                "nogil": True,
                "fastmath": self._fastmath,
                "error_model": "numpy",
            }
            try:
                return numba.njit(cache=True, **options)(self._function)
            except RuntimeError:  # no folder that the cache could be written to
                return numba.njit(**options)(self._function)

    @property
    def _numba_type_(self) -> Any:
        """Let compiled functions call each other."""
        return self.dispatcher._numba_type_

    def __call__(self, *args: Any) -> Any:
        """Run the compiled loop."""
        return self.dispatcher(*args)

    def __reduce__(self) -> str:
        return self.__qualname__  # type: ignore[attr-defined, no-any-return]


def compiled(function: Callable[..., Any]) -> Compiled:
    """Compile a plain loop with numba, exactly as it is written."""
    return Compiled(function)


def compiled_fast(*flags: str) -> Callable[[Callable[..., Any]], Compiled]:
    """Compile a loop with LLVM's named fast-math flags, such as ``"contract"`` or ``"reassoc"``."""
    return functools.partial(Compiled, fastmath=set(flags))


def read_only(array: np.ndarray) -> np.ndarray:
    """View an array, contiguous or not, so that it is not writeable.

    Whether an array may be written to is part of its type for numba. Blocks come both ways, and
    every further type costs seconds to compile.
    """
    view = array.view()
    view.flags.writeable = False
    return view


def frozen(array: np.ndarray, dtype: np.dtype | None = None) -> np.ndarray:
    """Return an array as most compiled loops read it: contiguous, native bytes, not writeable."""
    dtype = (dtype or array.dtype).newbyteorder("=")
    return read_only(np.ascontiguousarray(array, dtype))
