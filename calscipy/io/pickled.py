"""Pickled arrays of suite2p, restored without running anything that the file might hold."""

from __future__ import annotations

import math
import pickle
import re
from pathlib import Path
from typing import Any, BinaryIO, ClassVar, Literal

import numpy as np

from calscipy.errors import RoiError

MAX_BYTES = 4 * 2**30

# Nothing of NumPy is called by a file: its own way to restore arrays trusts what it is given, and a
# dtype that hides an object overwrites memory. Each name that a file may ask for is one of these.


class _Dtype:
    """The dtype of numbers, text or objects, without fields."""

    def __init__(self, code: str, align: bool = False, copy: bool = False) -> None:
        if not isinstance(code, str) or not re.fullmatch(r"[biufcSU]\d{1,9}|O[48]?", code, re.A):
            raise pickle.UnpicklingError("it holds an array of neither numbers, text nor objects")
        self.dtype = np.dtype("O" if code[0] == "O" else code)

    def restore(self, state: Any) -> None:
        _, order, subarray, names, fields, *_ = state
        if not (subarray is None and names is None and fields is None) or order not in tuple(
            "<>|="
        ):
            raise pickle.UnpicklingError("it holds an array of records")
        self.dtype = self.dtype.newbyteorder(order)

    def array(self, data: Any, shape: tuple[int, ...], order: Literal["C", "F"]) -> np.ndarray:
        size = math.prod(shape) * self.dtype.itemsize
        if type(data) is not bytes or not self.dtype.itemsize or len(data) != size:
            raise pickle.UnpicklingError(f"an array has not the {size:g} bytes of its shape")
        if self.dtype.kind == "b":  # bytes other than 0 and 1 would be neither True nor False
            return np.ndarray(shape, np.uint8, data, order=order) != 0
        return np.ndarray(shape, self.dtype, data, order=order).copy()


class StoredArray:
    """An array as the file describes it, which becomes one of NumPy when it is needed."""

    state: Any = None

    def restore(self, state: Any) -> None:
        """Take what the file says of the array."""
        self.state = state

    def array(self) -> np.ndarray:
        """Make the array."""
        _, shape, dtype, fortran, data = self.state
        if type(shape) is not tuple or not all(type(n) is int and n >= 0 for n in shape):
            raise pickle.UnpicklingError("an array has no shape")
        if not isinstance(dtype, _Dtype):
            raise pickle.UnpicklingError("an array has no dtype")
        if dtype.dtype.kind != "O":
            return dtype.array(data, shape, "F" if fortran is True else "C")
        if type(data) is not list or len(data) != math.prod(shape):
            raise pickle.UnpicklingError("an array has not the objects of its shape")
        flat = np.empty(len(data), dtype=object)
        for at, item in enumerate(data):  # at once, nested lists would become dimensions
            flat[at] = item
        return flat.reshape(shape)  # objects are listed in C order, whatever the array's


def _reconstruct(kind: Any, shape: Any, code: Any) -> StoredArray:
    if kind is not StoredArray:
        raise pickle.UnpicklingError("it holds a subclass of arrays")
    return StoredArray()


def _scalar(dtype: Any, data: Any) -> Any:
    if not isinstance(dtype, _Dtype) or dtype.dtype.kind == "O":
        raise pickle.UnpicklingError("it holds a number that is none")
    return dtype.array(data, (), "C")[()] if data else dtype.dtype.type()


def _encode(text: Any, encoding: Any) -> bytes:
    """Bytes of protocols before 3."""
    if type(text) is not str or encoding != "latin1":
        raise pickle.UnpicklingError("it holds bytes that are none")
    return text.encode("latin1")


def _no_bytes() -> bytes:
    return b""


def _path(*parts: Any) -> str:
    """Turn the paths that settings may hold into words, whatever system they are of."""
    return "/".join(part for part in parts if type(part) is str)


def _dictionary() -> dict[Any, Any]:
    return {}


_STAND_INS: dict[tuple[str, str], Any] = {
    **{
        (module, name): function
        for module in ("numpy.core.multiarray", "numpy._core.multiarray")  # NumPy 1 and 2
        for name, function in (("_reconstruct", _reconstruct), ("scalar", _scalar))
    },
    **{
        (module, kind + system + "Path"): _path
        for module in ("pathlib", "pathlib._local")
        for kind in ("", "Pure")
        for system in ("Posix", "Windows")
    },
    ("numpy", "ndarray"): StoredArray,
    ("numpy", "dtype"): _Dtype,
    ("_codecs", "encode"): _encode,
    ("__builtin__", "bytes"): _no_bytes,
    ("collections", "OrderedDict"): _dictionary,
}


def _refuse(unpickler: Any) -> None:
    raise pickle.UnpicklingError(
        "it holds what is neither array, dictionary, list, text nor number"
    )


def _build(unpickler: Any) -> None:
    state = unpickler.stack.pop()
    if not isinstance(unpickler.stack[-1], StoredArray | _Dtype):
        _refuse(unpickler)
    unpickler.stack[-1].restore(state)


def _set_items(unpickler: Any) -> None:
    items = unpickler.pop_mark()
    _fill(unpickler.stack[-1], items[::2], items[1::2])


def _set_item(unpickler: Any) -> None:
    value, key = unpickler.stack.pop(), unpickler.stack.pop()
    _fill(unpickler.stack[-1], [key], [value])


def _fill(target: Any, keys: list[Any], values: list[Any]) -> None:
    # The hash of a tuple in a tuple, and so on, would overflow the stack.
    plain = all(type(key) in (str, bytes, int, float, bool, type(None)) for key in keys)
    if type(target) is not dict or not plain:
        raise pickle.UnpicklingError(
            "it holds a dictionary whose keys are neither text nor numbers"
        )
    target.update(zip(keys, values, strict=True))


_PURE: Any = pickle._Unpickler  # type: ignore[attr-defined]
_KEPT = """
    PROTO FRAME STOP MARK POP POP_MARK DUP NONE NEWTRUE NEWFALSE BININT BININT1 BININT2 LONG1 LONG4
    BINFLOAT BINUNICODE SHORT_BINUNICODE BINUNICODE8 BINBYTES SHORT_BINBYTES BINBYTES8 TUPLE
    EMPTY_TUPLE TUPLE1 TUPLE2 TUPLE3 EMPTY_LIST LIST APPEND APPENDS EMPTY_DICT PUT BINPUT
    LONG_BINPUT GET BINGET LONG_BINGET MEMOIZE GLOBAL STACK_GLOBAL REDUCE
"""


class _ArraysOnly(_PURE):  # type: ignore[misc]
    """Python's own unpickler in Python, of which only what arrays need is kept.

    The one in C sizes a list by a number in the file, and sets attributes of whatever it is told.
    """

    dispatch: ClassVar = {
        **dict.fromkeys(range(256), _refuse),
        **{
            getattr(pickle, name)[0]: _PURE.dispatch[getattr(pickle, name)[0]]
            for name in _KEPT.split()
        },
        pickle.BUILD[0]: _build,
        pickle.SETITEM[0]: _set_item,
        pickle.SETITEMS[0]: _set_items,
    }

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in _STAND_INS:
            raise pickle.UnpicklingError(f"it asks for {module}.{name}, which is not array data")
        return _STAND_INS[module, name]


def read_object_array(path: Path) -> np.ndarray:
    """Read a ``.npy`` file that may hold pickled dictionaries and arrays, and nothing else.

    Raises
    ------
    RoiError
        If it holds anything else, such as code to run, or is damaged.
    """
    size = path.stat().st_size
    if size > MAX_BYTES:
        raise RoiError(f"{path}: {size} bytes, more than the {MAX_BYTES} accepted.")
    try:
        with path.open("rb") as stream:
            shape, fortran, dtype = _header(stream)
            if dtype.hasobject:
                loaded = _ArraysOnly(stream).load()
                if not isinstance(loaded, StoredArray):
                    raise ValueError("it holds no array")
                return loaded.array()
            needed = int(np.prod(shape, dtype=np.float64)) * dtype.itemsize
            if needed > size:
                raise ValueError(f"it claims {needed} bytes of data and has {size}")
            flat = np.fromfile(stream, dtype)
            return flat.reshape(shape, order="F" if fortran else "C")
    except Exception as error:  # a damaged or hostile pickle raises anything
        raise RoiError(
            f"{path}: not a suite2p file that can be trusted ({error}). stat.npy and ops.npy hold "
            "dictionaries of arrays; write it again with suite2p."
        ) from error


def _header(stream: BinaryIO) -> tuple[tuple[int, ...], bool, np.dtype]:
    version = np.lib.format.read_magic(stream)
    if version == (1, 0):
        return np.lib.format.read_array_header_1_0(stream)
    return np.lib.format.read_array_header_2_0(stream)
