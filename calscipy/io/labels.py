"""Names, coordinates and attributes of an array as JSON text that gives back what went in.

Formats that hold numbers alone (TIFF, CSV, NWB) carry the rest as this text.
"""

from __future__ import annotations

import base64
import json
import math
import re
import zlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr

from calscipy import model
from calscipy.errors import RecordingError, StoreError

FORMAT = 1
MAX_BYTES = 2**30  # that the arrays of one text may need; a coordinate of 10^8 frames
_LISTED = 64  # longer arrays are compressed
_TAG = "$"  # marks what JSON has no form for
NUMBERS = re.compile(r"[<>|=]?([bui]1|[fui][248]|[mM]8(\[\d{0,3}[a-zA-Zμ]{1,2}\])?)")


@dataclass(frozen=True)
class Labels:
    """What an array carries beside its values."""

    name: str | None
    dims: tuple[str, ...]
    shape: tuple[int, ...]
    dtype: np.dtype
    attrs: dict[str, Any]
    coords: dict[str, xr.Variable]

    @property
    def sizes(self) -> dict[str, int]:
        """Length of each dimension."""
        return dict(zip(self.dims, self.shape, strict=True))

    def label(self, values: xr.Variable) -> xr.DataArray:
        """Put name, attributes and coordinates on the values of such an array."""
        values = values.transpose(*self.dims)
        if values.dtype != self.dtype:  # the file's type holds all values of the original one
            values = values.astype(self.dtype)
        values = values.copy(deep=False)
        values.attrs = dict(self.attrs)
        return xr.DataArray(values, self.coords, name=self.name)


def labels_text(
    data: xr.DataArray, *, without: Iterable[str] = (), dtype: np.dtype | None = None
) -> str:
    """Write what an array carries beside its values as JSON.

    Parameters
    ----------
    data : DataArray
        Its values are not computed; lazy coordinates are.
    without : iterable of str
        Coordinates that the file holds in its own way.
    dtype : dtype, optional
        Type of the values as they are to be read, where it is another one than that of ``data``.

    Returns
    -------
    str
        One object with ``calscipy_labels`` (version of the format), ``name``, ``dims``, ``shape``,
        ``dtype``, ``attrs`` and ``coords``; each coordinate has ``dims``, ``attrs`` and the
        values: ``values`` (a flat list) or ``zlib`` (base64 of the deflated little-endian bytes).
        What JSON lacks is an object with ``$``: ``{"$": "float", "value": "nan"}``.

    Raises
    ------
    StoreError
        Naming the attribute or coordinate that no file can hold.
    """
    described = describe_labels(data, without=without, dtype=dtype)
    return json.dumps(described, allow_nan=False, separators=(",", ":"))


def describe_labels(
    data: xr.DataArray, *, without: Iterable[str] = (), dtype: np.dtype | None = None
) -> dict[str, Any]:
    """Return the object that `labels_text` writes."""
    left_out = set(without)
    coords = {
        _text(name, "coordinate"): {
            "dims": [_text(dim, "dimension") for dim in coordinate.dims],
            "attrs": encode_attrs(coordinate.attrs, str(name)),
            **encode_array(model.coordinate(data, str(name)), f"coordinate {name!r}"),
        }
        for name, coordinate in data.coords.items()
        if name not in left_out
    }
    return {
        "calscipy_labels": FORMAT,
        "name": None if data.name is None else _text(data.name, "name"),
        "dims": [_text(dim, "dimension") for dim in data.dims],
        "shape": list(data.shape),
        "dtype": (dtype or data.dtype).newbyteorder("<").str,
        "attrs": encode_attrs(data.attrs, str(data.name)),
        "coords": coords,
    }


def read_labels(text: str, where: Any) -> Labels:
    """Read what `labels_text` wrote; the text is not trusted.

    Raises
    ------
    RecordingError
        If it is damaged, claims arrays that do not fit, or is of a newer format.
    """
    try:
        found = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise _damaged(where, error) from error
    return labels_from(found, where)


def labels_from(found: Any, where: Any, budget: Budget | None = None) -> Labels:
    """Read the object that `describe_labels` returned; it is not trusted."""
    budget = budget or Budget()
    try:
        version = found["calscipy_labels"]
    except (TypeError, KeyError) as error:
        raise _damaged(where, error) from error
    if not isinstance(version, int) or version > FORMAT:
        raise RecordingError(
            f"{where}: the labels are of format {version!r}, this calscipy reads up to {FORMAT}. "
            "Update calscipy."
        )
    try:
        shape = _shape(found["shape"])
        dims = tuple(_text(dim, "dimension") for dim in found["dims"])
        sizes = dict(zip(dims, shape, strict=True))
        coords = {name: _coordinate(of, sizes, budget) for name, of in found["coords"].items()}
        attrs = decode_attrs(found["attrs"], budget)
        name = None if found["name"] is None else _text(found["name"], "name")
        return Labels(name, dims, shape, dtype_from(found["dtype"]), attrs, coords)
    except Exception as error:  # whatever a hostile text makes Python raise
        raise _damaged(where, error) from error


class Budget:
    """Memory that the arrays of one text may still take."""

    def __init__(self) -> None:
        self.left = MAX_BYTES

    def take(self, count: int) -> None:
        """Reserve bytes; raise if there are none left."""
        self.left -= count
        if self.left < 0:
            raise ValueError(f"its arrays need over {MAX_BYTES} bytes")


def encode_attrs(attrs: Mapping[Any, Any], where: str) -> dict[str, Any]:
    """Bring attributes into a form for JSON from which `decode_attrs` gets them back.

    Tuples become lists and numbers of NumPy those of Python, as in a store.

    Raises
    ------
    StoreError
        Naming the attribute that has no such form.
    """
    ready = {str(key): _encode(value, f"{where}.{key}") for key, value in attrs.items()}
    if len(ready) < len(attrs):
        raise StoreError(f"attributes of {where!r} differ in the type of their names alone.")
    return ready


def decode_attrs(attrs: Any, budget: Budget) -> dict[str, Any]:
    """Return attributes that `encode_attrs` encoded."""
    if not isinstance(attrs, dict):
        raise ValueError("attributes were expected")
    return {key: _decode(value, budget) for key, value in attrs.items()}


def _encode(value: Any, where: str) -> Any:
    if isinstance(value, np.generic) and value.dtype.kind in "biufU":
        value = value.item()
    if isinstance(value, float) and not math.isfinite(value):
        return {_TAG: "float", "value": repr(value)}
    if value is None or isinstance(value, str | int | float | bool):
        return value
    if isinstance(value, Mapping):
        items = encode_attrs(value, where)
        return {_TAG: "dict", "value": items} if _TAG in items else items
    if isinstance(value, list | tuple):
        return [_encode(item, where) for item in value]
    if isinstance(value, np.ndarray):
        return {_TAG: "array", **encode_array(value, f"attribute {where!r}")}
    raise StoreError(
        f"the attribute {where!r} is a {type(value).__name__}, which a file cannot hold. "
        "Convert it to text or numbers, or drop it."
    )


def _decode(value: Any, budget: Budget) -> Any:
    if isinstance(value, list):
        return [_decode(item, budget) for item in value]
    if not isinstance(value, dict):
        return value
    tag = value.get(_TAG)
    if tag is None:
        return decode_attrs(value, budget)
    if tag == "float":
        return float({"nan": "nan", "inf": "inf", "-inf": "-inf"}[value["value"]])
    if tag == "dict":
        return decode_attrs(value["value"], budget)
    if tag == "array":
        return decode_array(value, budget)
    raise ValueError(f"it holds a {tag!r}")


def encode_array(values: np.ndarray, where: str) -> dict[str, Any]:
    """Describe numbers or texts by shape, type and values, for `decode_array`."""
    head: dict[str, Any] = {"shape": list(values.shape)}
    if values.dtype.kind in "UTO":
        flat = values.ravel().tolist()
        if not all(isinstance(item, str) for item in flat):
            raise StoreError(
                f"{where} holds objects that are not text, or an index of several levels. "
                "Convert it to text or numbers (an index with reset_index), or drop it."
            )
        return head | {"dtype": "U", "values": flat}
    little = values.astype(values.dtype.newbyteorder("<"), copy=False)
    if not NUMBERS.fullmatch(little.dtype.str):
        raise StoreError(
            f"{where} is of the type {values.dtype}, which a file cannot hold. Convert it to text "
            "or numbers, or drop it."
        )
    head["dtype"] = little.dtype.str
    plain = values.dtype.kind in "biuf" and values.size <= _LISTED
    if plain and (values.dtype.kind != "f" or np.isfinite(values).all()):
        return head | {"values": values.ravel().tolist()}
    packed = zlib.compress(np.ascontiguousarray(little).tobytes(), 6)
    return head | {"zlib": base64.b64encode(packed).decode("ascii")}


def decode_array(described: Mapping[str, Any], budget: Budget) -> np.ndarray:
    """Return the array that `encode_array` described."""
    shape = _shape(described["shape"])
    count = math.prod(shape)
    if described["dtype"] == "U":
        texts = described["values"]
        if len(texts) != count or not all(isinstance(text, str) for text in texts):
            raise ValueError("a list of texts is damaged")
        # NumPy gives every text the room of the longest one.
        budget.take(4 * count * max(map(len, texts), default=0))
        return np.array(texts, dtype=np.str_).reshape(shape)
    dtype = dtype_from(described["dtype"])
    size = count * dtype.itemsize
    budget.take(size)
    if "values" in described:
        values = described["values"]
        if len(values) != count or not all(isinstance(item, int | float) for item in values):
            raise ValueError("a list of numbers is damaged")
        return np.array(values, dtype=dtype).reshape(shape)
    opener = zlib.decompressobj()
    data = opener.decompress(base64.b64decode(described["zlib"], validate=True), size + 1)
    if len(data) != size:
        raise ValueError("an array has not the bytes of its shape")
    if dtype.kind == "b":  # bytes other than 0 and 1 would be neither True nor False
        return np.frombuffer(data, np.uint8).reshape(shape) != 0
    return np.frombuffer(data, dtype).reshape(shape).astype(dtype.newbyteorder("="))


def _coordinate(described: Any, sizes: Mapping[str, int], budget: Budget) -> xr.Variable:
    dims = [_text(dim, "dimension") for dim in described["dims"]]
    if _shape(described["shape"]) != tuple(sizes[dim] for dim in dims):
        raise ValueError("a coordinate does not fit its dimensions")
    values = decode_array(described, budget)
    return xr.Variable(dims, values, decode_attrs(described["attrs"], budget))


def dtype_from(code: Any) -> np.dtype:
    """Return the type of numbers that a code such as ``<f4`` names."""
    if not isinstance(code, str) or not NUMBERS.fullmatch(code):
        raise ValueError(f"the type {code!r} is none of numbers")
    return np.dtype(code)


def _shape(lengths: Any) -> tuple[int, ...]:
    sizes = tuple(lengths)
    if len(sizes) > 32 or not all(type(n) is int and 0 <= n < 2**48 for n in sizes):
        raise ValueError("a shape is none")
    return sizes


def _text(name: Any, what: str) -> str:
    if not isinstance(name, str):
        raise StoreError(
            f"the {what} {name!r} is a {type(name).__name__}; files name by text. Rename it."
        )
    return name


def _damaged(where: Any, error: BaseException) -> RecordingError:
    return RecordingError(
        f"{where}: the labels that calscipy wrote into the file are damaged "
        f"({type(error).__name__}: {error}). Copy the file again from where it was written."
    )
