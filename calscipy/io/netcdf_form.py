"""Groups of a session in the form that netCDF has, and back.

What netCDF lacks stands as JSON in one attribute of each variable and group.
"""

from __future__ import annotations

import json
import math
import uuid
from collections.abc import Mapping, Set
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from xarray.core import indexing

from calscipy import model
from calscipy.errors import RecordingError, StoreError
from calscipy.io.chunks import Chunks, chunk_movie
from calscipy.io.hdf5 import Hdf5Array, attribute, load, require_whole, restored
from calscipy.io.labels import NUMBERS, Budget, decode_attrs, encode_attrs

JSON_ATTR = "calscipy_json"
MAX_JSON = 2**28  # characters
_BLOCK_BYTES = 16 * 2**20
_MOST_BLOCKS = 2**20  # of one variable, each a task
# Attributes that xarray, netCDF or HDF5 take for their own.
_RESERVED = {
    "CLASS", "NAME", "REFERENCE_LIST", "DIMENSION_LIST", "_NCProperties", "_nc3_strict",
    "_Netcdf4Dimid", "_Netcdf4Coordinates", "_FillValue", "missing_value", "scale_factor",
    "add_offset", "coordinates", "dtype", "grid_mapping", "calendar", "_Unsigned", "_Encoding",
}  # fmt: skip
_UNITS = {"s": "seconds", "ms": "milliseconds", "us": "microseconds", "ns": "nanoseconds"}
_LARGE = 2**63


def encoded(dataset: xr.Dataset) -> xr.Dataset:
    """Bring a group into a form that netCDF has."""
    ready = dataset.drop_encoding()
    levels = [n for n, i in ready.xindexes.items() if isinstance(i, xr.indexes.PandasMultiIndex)]
    if levels:
        raise StoreError(
            f"netCDF has no form for the index of several levels {sorted(map(str, levels))}. Make "
            "them coordinates: data.reset_index(...)."
        )
    ready = ready.reset_index([name for name in ready.xindexes if name not in ready.dims])
    for name in (*ready.variables, *ready.dims):
        if not isinstance(name, str) or not name.strip(". ") or {"/", "\0"} & set(name):
            raise StoreError(f"netCDF has no form for the name {name!r}. Rename it.")
    extra = {"order": list(ready.variables), "coords": list(ready.coords)}
    variables = {name: _encoded_variable(str(name), of) for name, of in ready.variables.items()}
    coords = {name: variables.pop(name) for name in ready.coords}
    return xr.Dataset(variables, coords, encoded_attrs(ready.attrs, "group", extra))


def _encoded_variable(name: str, variable: xr.Variable) -> xr.Variable:
    attrs, dtype = variable.attrs, variable.dtype
    extra: dict[str, Any] = {}
    if variable.chunks is not None:
        extra["blocks"] = [max(lengths) for lengths in variable.chunks]
    elif variable.nbytes > _BLOCK_BYTES:  # piece by piece, whether it is in memory or not
        rows = {variable.dims[0]: _rows(variable.shape, dtype)}
        variable = variable.chunk(rows, name=f"{name}-{uuid.uuid4()}")
    if dtype.kind in "UTO":
        extra["dtype"] = "U"
        variable = _texts(variable, name)
    elif dtype.kind in "mM":
        extra["dtype"] = dtype.str
        variable = variable.astype(np.int64)
        unit = _UNITS.get(np.datetime_data(dtype)[0], "")
        since = " since 1970-01-01" if dtype.kind == "M" else ""
        encoded = encoded_attrs(attrs, name, extra, reserved=_RESERVED | {"units"})
        return xr.Variable(variable.dims, variable.data, encoded | {"units": f"{unit}{since}"})
    elif dtype == np.float16:
        extra["dtype"] = dtype.str
        variable = variable.astype(np.float32)
    elif dtype.kind == "b":
        extra["dtype"] = dtype.str
    elif dtype.kind not in "iuf" or dtype.itemsize > 8:
        raise StoreError(
            f"the variable {name!r} is of the type {dtype}, which netCDF has no form for. Convert "
            "it to real numbers or text, or drop it."
        )
    return xr.Variable(variable.dims, variable.data, encoded_attrs(attrs, name, extra))


def _texts(variable: xr.Variable, name: str) -> xr.Variable:
    """Return texts of any length; where there are none, numbers of none."""
    values = np.asarray(variable.values, dtype=object)
    if not all(isinstance(text, str) and "\0" not in text for text in values.ravel().tolist()):
        raise StoreError(
            f"the variable {name!r} holds objects that are not text. Convert it to numbers or "
            "text, or drop it."
        )
    return xr.Variable(variable.dims, values if values.size else np.zeros(values.shape))


def encoded_attrs(
    attrs: Mapping[Any, Any], where: str, extra: dict[str, Any], reserved: Set[str] = _RESERVED
) -> dict[str, Any]:
    """Return what netCDF has a form for, and all else as JSON in one attribute."""
    plain = {
        key: value
        for key, value in attrs.items()
        if isinstance(key, str) and key and key not in reserved and _is_plain(value)
    }
    other = encode_attrs({key: of for key, of in attrs.items() if key not in plain}, where)
    described = extra | ({"attrs": other} if other else {})
    return plain | ({JSON_ATTR: json.dumps(described)} if described else {})


def _is_plain(value: Any) -> bool:
    """Tell whether an attribute of netCDF gives back the same."""
    if type(value) is str:
        return "\0" not in value and value == value.encode("utf-8", "ignore").decode()
    return type(value) is float or (type(value) is int and -_LARGE <= value < _LARGE)


def in_order(group: Any, extra: Mapping[str, Any], key: str) -> list[str]:
    """Return the names in a group of HDF5 in the order in which they were written."""
    listed = [name for name in extra.get(key, []) if isinstance(name, str) and name in group]
    return list(dict.fromkeys([*listed, *group]))


def decoded(group: Any, path: Path, chunks: Chunks) -> xr.Dataset:
    """Return a group of a session from a group of HDF5."""
    attrs, extra = decoded_attrs(group, path)
    marked = extra.get("coords", [])
    variables: dict[str, xr.Variable] = {}
    blocks: dict[str, dict[Any, int]] = {}
    for name in in_order(group, extra, "order"):
        if not hasattr(group[name], "dims"):
            raise RecordingError(
                f"{path}: {name!r} in {group.name!r} is a group, not an array; sessions are one "
                "level deep. Open it with xarray.open_datatree."
            )
        if _is_bare_dimension(group[name]):
            continue
        variables[name], of = _variable(group[name], path, name in marked)
        if of is not None:
            blocks[name] = of
    coords = {name: variables.pop(name) for name in marked if name in variables}
    dataset = xr.Dataset(variables, coords, attrs)
    if chunks is None:
        return dataset
    if chunks != "frames" and model.MOVIE in blocks:
        dataset = chunk_movie(dataset, chunks)
        del blocks[model.MOVIE]
    return dataset.assign({name: dataset.variables[name].chunk(of) for name, of in blocks.items()})


def _variable(dataset: Any, path: Path, loaded: bool) -> tuple[xr.Variable, dict[Any, int] | None]:
    """Return a variable, and its blocks if it stays in the file."""
    attrs, extra = decoded_attrs(dataset, path)
    dims = _dims(dataset, path)
    code = extra.get("dtype")
    if code == "U":
        empty = not math.prod(dataset.shape)
        texts = np.zeros(dataset.shape, "U1") if empty else load(dataset, path)
        return xr.Variable(dims, texts, attrs), None
    if code is not None and not (isinstance(code, str) and NUMBERS.fullmatch(code)):
        raise RecordingError(f"{path}: {dataset.name!r} is said to be of the type {code!r}.")
    dtype = dataset.dtype.newbyteorder("=") if code is None else np.dtype(code)
    if dataset.dtype.kind not in "biuf":
        raise RecordingError(
            f"{path}: {dataset.name!r} is of the type {dataset.dtype}, numbers or text were "
            "expected. Copy the file again from where it was written."
        )
    if dtype.kind in "mM" and "units" not in extra.get("attrs", {}):
        del attrs["units"]  # those of the numbers that stand for dates
    if loaded or dims == (model.PIXEL,):
        return xr.Variable(dims, restored(load(dataset, path), dtype), attrs), None
    require_whole(dataset, path)
    lazy = indexing.LazilyIndexedArray(Hdf5Array(path, dataset, dtype))
    variable = xr.Variable(dims, lazy, attrs)
    return variable, blocks_of(variable, extra.get("blocks"))


def blocks_of(variable: xr.Variable, stated: Any = None) -> dict[Any, int]:
    """Return the length of blocks: as they were written, or rows of 16 MiB."""
    good = isinstance(stated, list) and len(stated) == variable.ndim
    if good and all(type(n) is int and n > 0 for n in stated):
        counts = [-(-size // n) for size, n in zip(variable.shape, stated, strict=True)]
        if math.prod(counts) <= _MOST_BLOCKS:
            return dict(zip(variable.dims, stated, strict=True))
    whole = dict(variable.sizes)
    return whole | {dim: _rows(variable.shape, variable.dtype) for dim in variable.dims[:1]}


def _rows(shape: tuple[int, ...], dtype: np.dtype) -> int:
    row = dtype.itemsize * math.prod(shape[1:])
    return max(1, min(shape[0], _BLOCK_BYTES // max(row, 1)))


def _is_bare_dimension(dataset: Any) -> bool:
    """Tell whether HDF5 has a dataset only because netCDF has a dimension."""
    name = attribute(dataset, "NAME", b"")
    text = name if isinstance(name, bytes) else str(name).encode()
    return text.startswith(b"This is a netCDF dimension but not a netCDF variable")


def _dims(dataset: Any, path: Path) -> tuple[str, ...]:
    """Return the names of the dimensions, which are those of the scales attached to them."""
    own = str(dataset.name).rpartition("/")[2]
    if dataset.ndim == 1 and dataset.is_scale and not len(dataset.dims[0]):
        return (own,)
    if not all(len(dim) for dim in dataset.dims):
        raise RecordingError(f"{path}: {dataset.name!r} does not name its dimensions.")
    return tuple(str(dim[0].name).rpartition("/")[2] for dim in dataset.dims)


def decoded_attrs(item: Any, path: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the attributes of a variable or a group, and what else is known of it."""
    values = {key: attribute(item, key) for key in item.attrs if key not in _RESERVED}
    attrs = {
        key: value.ravel()[0].item() if getattr(value, "size", 0) == 1 else value
        for key, value in values.items()
    }
    text = attrs.pop(JSON_ATTR, "{}")
    try:
        if not isinstance(text, str) or len(text) > MAX_JSON:
            raise ValueError(f"a text of up to {MAX_JSON} characters was expected")
        extra = json.loads(text)
        return attrs | decode_attrs(extra.get("attrs", {}), Budget()), extra
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise RecordingError(
            f"{path}: the attribute {JSON_ATTR!r} of {item.name!r} is damaged ({error}). Copy the "
            "file again from where it was written."
        ) from error
