"""Every operation adds one line to the CF attribute ``history``."""

from __future__ import annotations

import datetime as dt
import functools
import hashlib
import inspect
import json
from collections.abc import Callable, Mapping
from pathlib import PurePath
from typing import Any, Concatenate, ParamSpec, TypeVar

import dask
import numpy as np
import xarray as xr

from calscipy._version import __version__
from calscipy.model import LEVEL_ATTR

P = ParamSpec("P")
Result = TypeVar("Result", xr.DataArray, xr.Dataset)
Operation = Callable[Concatenate[xr.DataArray, P], Result]

_OF_SAMPLES = ("cell_methods", LEVEL_ATTR)  # how they were averaged, and what became of their level
OF_ONE_ARRAY = ("units", "long_name", *_OF_SAMPLES)  # mean nothing on a Dataset


def recorded(operation: Operation[P, Result]) -> Operation[P, Result]:
    """Keep the attributes of the input and add a line to its history.

    The result has the attributes of the input, changed by those that the operation sets
    (whatever ``xr.set_options(keep_attrs=)`` says), and a history with one more line.
    Arguments left at None are not written. In a Dataset every variable has the history too.
    """
    signature = inspect.signature(operation)
    first = next(iter(signature.parameters))

    @functools.wraps(operation)
    def wrapper(*args: Any, **kwargs: Any) -> Result:
        data: Any = args[0] if args else kwargs.get(first)
        if (args or first in kwargs) and not isinstance(data, xr.DataArray):
            raise TypeError(
                f"{operation.__name__} needs an xarray.DataArray, got {type(data).__name__}. "
                "Wrap it first, for instance calscipy.from_numpy(array, frame_rate=30)."
            )
        result = operation(*args, **kwargs)
        bound = signature.bind(*args, **kwargs)
        bound.apply_defaults()
        arguments = {name: value for name, value in list(bound.arguments.items())[1:]}
        resolved = result.attrs.pop(ARGUMENTS, {})
        line = history_line(operation.__name__, {**arguments, **resolved})
        history = {"history": append(data.attrs.get("history"), line)}
        kept = dict(data.attrs)
        if isinstance(result, xr.Dataset):
            kept = {name: value for name, value in kept.items() if name not in OF_ONE_ARRAY}
            # variables, not arrays: these bring an index of several levels, which xarray warns of
            columns = {name: result.variables[name].copy(deep=False) for name in result.data_vars}
            for column in columns.values():
                column.attrs = _said({**column.attrs, **history})
            result = result.assign(columns)
        attrs = _said({**kept, **result.attrs, **history})
        result = result.copy(deep=False)
        result.attrs = attrs
        return result

    return wrapper  # type: ignore[return-value]


def described(result: xr.DataArray, *, units: str, long_name: str, **used: Any) -> xr.DataArray:
    """Label a result; ``used`` are the arguments that its method filled in."""
    attrs = {"units": units, "long_name": long_name}
    return result.assign_attrs(attrs | ({ARGUMENTS: used} if used else {}))


def _said(attrs: Mapping[str, Any]) -> dict[str, Any]:
    """Return attributes without those that mean nothing."""
    return {
        name: value for name, value in attrs.items() if name not in _OF_SAMPLES or value is not None
    }


def of_another_kind(result: xr.DataArray) -> xr.DataArray:
    """Leave out what is said of the samples of the data: the result is something else."""
    return result.assign_attrs(dict.fromkeys(_OF_SAMPLES))


# An operation whose method fills in defaults leaves the values that it used under this key.
ARGUMENTS = "_calscipy_arguments"


def append(history: str | None, line: str) -> str:
    """Add a line to a history that may be empty."""
    return f"{history}\n{line}" if history else line


def history_line(name: str, arguments: Mapping[str, Any]) -> str:
    """Write one step: when, by which version, what, with which arguments."""
    stamp = dt.datetime.now(dt.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    given = {key: describe(value) for key, value in arguments.items() if value is not None}
    text = json.dumps(given, ensure_ascii=False)
    return f"{stamp} calscipy {__version__} {name} {text}"


def describe(value: Any) -> Any:
    """Describe an argument: numbers and words as they are, arrays by name, shape and checksum.

    A lazy array has a token in place of the checksum, so that describing computes nothing. A single
    number in an array is written as a number.
    """
    if isinstance(value, xr.DataArray | np.ndarray) and value.ndim == 0 and _is_known(value):
        return value.item()
    if isinstance(value, xr.DataArray | np.ndarray):
        name = value.name if isinstance(value, xr.DataArray) else None
        return {
            "array": name or "unnamed",
            "shape": list(value.shape),
            "dtype": str(value.dtype),
            **_identity(value),
        }
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, Mapping):
        return {str(key): describe(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [describe(item) for item in value]
    if isinstance(value, PurePath):
        return value.name
    if value is None or isinstance(value, str | int | float | bool):
        return value
    return repr(value)


def _is_known(value: xr.DataArray | np.ndarray) -> bool:
    lazy = isinstance(value, xr.DataArray) and dask.is_dask_collection(value.data)
    return not lazy and value.dtype.kind in "biufU"


def _identity(value: xr.DataArray | np.ndarray) -> dict[str, str]:
    data: list[Any] = [value]
    if isinstance(value, xr.DataArray):
        data = [value.data, *(value[name].data for name in sorted(value.coords, key=str))]
    if any(dask.is_dask_collection(item) for item in data):
        return {"token": dask.base.tokenize(*data)}
    digest = hashlib.sha256()
    for item in data:
        array = np.ascontiguousarray(item)
        digest.update(f"{array.dtype}{array.shape}".encode())
        text = array.dtype.kind in "OT"
        flat = array.reshape(-1)
        digest.update(repr(array.tolist()).encode() if text else flat.view(np.uint8).data)
    return {"sha256": digest.hexdigest()[:16]}
