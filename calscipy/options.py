"""Settings that hold for a process or for a ``with`` block."""

from __future__ import annotations

from types import TracebackType
from typing import Any, Literal, get_args

from calscipy.errors import ArgumentError

Device = Literal["cpu", "gpu", "auto"]

MEBIBYTE = 2**20


def _is_size(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value > 0


_CHECKS = {
    "device": (lambda value: value in get_args(Device), f"one of {get_args(Device)}"),
    "memory_limit": (_is_size, "a positive whole number of bytes, such as 4 * 2**30"),
    "chunk_bytes": (_is_size, "a positive whole number of bytes, such as 4 * 2**30"),
    "progress": (lambda value: isinstance(value, bool), "True or False"),
}

_OPTIONS: dict[str, Any] = {
    "device": "cpu",
    "memory_limit": 2048 * MEBIBYTE,
    "chunk_bytes": 32 * MEBIBYTE,
    "progress": True,
}


def get_option(name: str) -> Any:
    """Return the current value of an option.

    Examples
    --------
    >>> get_option("device")
    'cpu'
    """
    return _OPTIONS[name]


class set_options:
    """Set options, for good or for the length of a ``with`` block.

    Parameters
    ----------
    device : {"cpu", "gpu", "auto"}
        Where filters run unless they are told otherwise. ``"auto"`` takes the GPU where one
        is usable and falls back to the CPU with a warning.
    memory_limit : int
        Bytes that one operation may hold when it needs the whole time axis at once,
        2 GiB at first.
    chunk_bytes : int
        Bytes of one dask chunk of a movie opened in whole frames, and of one tile of a result
        along time, 32 MiB at first.
    progress : bool
        Show a progress bar on long work.

    Raises
    ------
    ArgumentError
        For an unknown option or a value that it cannot take.

    Examples
    --------
    >>> with set_options(device="auto"):
    ...     get_option("device")
    'auto'
    >>> get_option("device")
    'cpu'
    """

    def __init__(self, **options: Any) -> None:
        for name, value in options.items():
            if name not in _CHECKS:
                raise ArgumentError(f"unknown option {name!r}; there are {sorted(_CHECKS)}")
            accepts, wanted = _CHECKS[name]
            if not accepts(value):
                raise ArgumentError(f"option {name!r} needs {wanted}, got {value!r}")
        self._before = {name: _OPTIONS[name] for name in options}
        _OPTIONS.update(options)

    def __enter__(self) -> set_options:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        _OPTIONS.update(self._before)
