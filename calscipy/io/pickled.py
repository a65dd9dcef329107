"""Pickled arrays of suite2p, restored without running anything that the file might hold."""

from __future__ import annotations

import datetime as dt
import math
import pickle
import re
from pathlib import Path
from typing import Any, BinaryIO, ClassVar, Literal

import numpy as np

from calscipy.errors import CalscipyError, RoiError
from calscipy.io.npy import read_layout

MAX_BYTES = 4 * 2**30  # of a file
# A byte or two may make an object of 100 bytes: 2 GB of them, those of 200 000 ROIs, are accepted.
MAX_PARTS = 2 * 10**7
MAX_STEPS = 10**8  # each makes 8 bytes at least, and takes half a microsecond
MAX_ODD_KEYS = 1000  # numbers in place of names; many can be made to have one hash
_LONGEST_NAME = 200

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

    @property
    def kind(self) -> str:
        """Kind of its dtype, as in ``numpy.dtype.kind``; empty if it has none."""
        dtype = self.state[2] if type(self.state) is tuple and len(self.state) == 5 else None
        return dtype.dtype.kind if isinstance(dtype, _Dtype) else ""

    @property
    def is_scalar(self) -> bool:
        """Whether it has no dimensions."""
        return type(self.state) is tuple and len(self.state) == 5 and self.state[1] == ()

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


def _no_bytes() -> bytes:
    return b""


def _dictionary() -> dict[Any, Any]:
    return {}


def _timedelta(days: Any, seconds: Any, microseconds: Any) -> dt.timedelta:
    if not all(type(n) is int and abs(n) < 10**9 for n in (days, seconds, microseconds)):
        raise pickle.UnpicklingError("it holds a duration that is none")
    return dt.timedelta(days, seconds, microseconds)


def _timezone(offset: Any, name: Any = None) -> dt.timezone:
    if type(offset) is not dt.timedelta:
        raise pickle.UnpicklingError("it holds a time zone that is none")
    return dt.timezone(offset)


def _date(data: Any, zone: Any = None) -> str:
    """Turn a date, or a date and a time, into ISO 8601; Python packs them into bytes."""
    known = type(data) is bytes and len(data) in (4, 10) and isinstance(zone, dt.timezone | None)
    if not known:
        raise pickle.UnpicklingError("it holds a date that is none")
    year, month, day = data[0] * 256 + data[1], data[2], data[3]
    if len(data) == 4:
        return dt.date(year, month, day).isoformat()
    month &= 127  # the highest bit tells the second of two equal hours
    hour, minute, second = data[4:7]
    fraction = int.from_bytes(data[7:], "big")
    return dt.datetime(year, month, day, hour, minute, second, fraction, zone).isoformat()


class _Makers:
    """What makes texts and numbers of parts, no more of them than the file has bytes."""

    def __init__(self, left: int) -> None:
        self.left = left

    def _take(self, count: int) -> None:
        self.left -= count  # one part may be used again and again
        if self.left < 0:
            raise pickle.UnpicklingError("it repeats itself to fill the memory")

    def scalar(self, dtype: Any, data: Any) -> Any:
        """Make a number or text of NumPy."""
        if not isinstance(dtype, _Dtype) or dtype.dtype.kind == "O":
            raise pickle.UnpicklingError("it holds a number that is none")
        if not data:
            return dtype.dtype.type()
        self._take(len(data))
        return dtype.array(data, (), "C")[()]

    def encode(self, text: Any, encoding: Any) -> bytes:
        """Make bytes as protocols before 3 write them."""
        if type(text) is not str or encoding != "latin1":
            raise pickle.UnpicklingError("it holds bytes that are none")
        self._take(len(text))
        return text.encode("latin1")

    def path(self, *parts: Any) -> str:
        """Turn the paths that settings may hold into words, whatever system they are of."""
        words = [part for part in parts if type(part) is str]
        self._take(sum(map(len, words)) + len(words))
        return "/".join(words)


# Names of the methods of _Makers are texts.
_STAND_INS: dict[tuple[str, str], Any] = {
    **{
        (module, name): function
        for module in ("numpy.core.multiarray", "numpy._core.multiarray")  # NumPy 1 and 2
        for name, function in (("_reconstruct", _reconstruct), ("scalar", "scalar"))
    },
    **{
        (module, kind + system + "Path"): "path"
        for module in ("pathlib", "pathlib._local")
        for kind in ("", "Pure")
        for system in ("Posix", "Windows")
    },
    ("numpy", "ndarray"): StoredArray,
    ("numpy", "dtype"): _Dtype,
    ("_codecs", "encode"): "encode",
    ("__builtin__", "bytes"): _no_bytes,
    ("collections", "OrderedDict"): _dictionary,
    ("datetime", "datetime"): _date,
    ("datetime", "date"): _date,
    ("datetime", "timedelta"): _timedelta,
    ("datetime", "timezone"): _timezone,
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
    odd = not all(type(key) is str for key in keys)
    if odd and len(target) + len(keys) > MAX_ODD_KEYS:
        raise pickle.UnpicklingError(f"it holds a dictionary of over {MAX_ODD_KEYS} numbers")
    target.update(zip(keys, values, strict=True))


def _skip_frame(unpickler: Any) -> None:
    # Frames only say how much to read at once; the steps of one would not be counted.
    unpickler.read(8)


class _Measured:
    """A file that is read to its end at most, in a limited number of steps."""

    def __init__(self, stream: BinaryIO, left: int) -> None:
        self._stream = stream
        self._left = left
        self._steps = MAX_STEPS

    def read(self, count: int) -> bytes:
        """Read bytes; nothing is allocated for more than the file has."""
        self._steps -= 1
        if self._steps < 0:
            raise pickle.UnpicklingError(f"it consists of over {MAX_STEPS} steps")
        if count > self._left:
            raise pickle.UnpicklingError("it is cut short")
        self._left -= count
        return self._stream.read(count)

    def readline(self) -> bytes:
        """Read a line."""
        line = self._stream.readline(_LONGEST_NAME + 1)
        self._left -= len(line)
        if len(line) > _LONGEST_NAME:
            raise pickle.UnpicklingError("it holds a name that is none")
        return line


def _counted(step: Any) -> Any:
    def counted(unpickler: Any) -> None:
        unpickler.parts += 1
        if unpickler.parts > MAX_PARTS:
            raise pickle.UnpicklingError(f"it consists of over {MAX_PARTS} parts")
        step(unpickler)

    return counted


_PURE: Any = pickle._Unpickler  # type: ignore[attr-defined]
_KEPT = """
    PROTO STOP POP POP_MARK DUP NONE NEWTRUE NEWFALSE BININT BININT1 BININT2 LONG1 LONG4
    BINFLOAT BINUNICODE SHORT_BINUNICODE BINUNICODE8 BINBYTES SHORT_BINBYTES BINBYTES8
    EMPTY_TUPLE APPEND APPENDS GET BINGET LONG_BINGET GLOBAL STACK_GLOBAL
"""
_COUNTED = """
    MARK EMPTY_LIST LIST EMPTY_DICT TUPLE TUPLE1 TUPLE2 TUPLE3 PUT BINPUT LONG_BINPUT MEMOIZE REDUCE
"""  # these make much more than they take in the file


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
        **{
            getattr(pickle, name)[0]: _counted(_PURE.dispatch[getattr(pickle, name)[0]])
            for name in _COUNTED.split()
        },
        pickle.FRAME[0]: _skip_frame,
        pickle.BUILD[0]: _build,
        pickle.SETITEM[0]: _set_item,
        pickle.SETITEMS[0]: _set_items,
    }

    def __init__(self, stream: BinaryIO, left: int) -> None:
        super().__init__(_Measured(stream, left))
        self.parts = 0
        makers = _Makers(left)
        self._stand_ins = {
            name: getattr(makers, thing) if isinstance(thing, str) else thing
            for name, thing in _STAND_INS.items()
        }

    def find_class(self, module: str, name: str) -> Any:
        """Return what stands in for a name."""
        if (module, name) not in self._stand_ins:
            asked = f"{module}.{name}"[:_LONGEST_NAME]
            raise pickle.UnpicklingError(f"it asks for {asked}, which is not array data")
        return self._stand_ins[module, name]


def read_object_array(path: Path, error_type: type[CalscipyError] = RoiError) -> np.ndarray:
    """Read a ``.npy`` file that may hold pickled dictionaries and arrays, and nothing else.

    Parameters
    ----------
    path : Path
        The file.
    error_type : type
        What to raise.

    Raises
    ------
    CalscipyError
        Of that type, if the file holds anything else, such as code to run, or is damaged.
    """
    try:
        size = path.stat().st_size
        if size > MAX_BYTES:
            raise ValueError(f"it has {size} bytes, {MAX_BYTES} are accepted")
        with path.open("rb") as stream:
            layout = read_layout(stream)
            left = size - layout.offset
            if layout.dtype.hasobject:
                return _unpickled(stream, left)
            if layout.nbytes != left:
                raise ValueError(f"it claims {layout.nbytes} bytes of data and has {left}")
            flat = np.fromfile(stream, layout.dtype)
            return flat.reshape(layout.shape, order="F" if layout.fortran else "C")
    except Exception as error:  # a damaged or hostile pickle raises anything
        raise error_type(
            f"{path}: not a suite2p file that can be trusted ({error}). stat.npy and ops.npy hold "
            "dictionaries of arrays; write it again with suite2p."
        ) from error


def _unpickled(stream: BinaryIO, left: int) -> np.ndarray:
    loaded = _ArraysOnly(stream, left).load()
    if not isinstance(loaded, StoredArray):
        raise ValueError("it holds no array")
    return loaded.array()
