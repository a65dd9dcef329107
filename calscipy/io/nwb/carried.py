"""What NWB has no place for, as JSON in the scratch space of the file.

Large arrays stand in series of NWB, to which the JSON refers; all else stands in it whole, so that
calscipy opens the session that was written.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from xarray.core import indexing

from calscipy import model
from calscipy.errors import RecordingError
from calscipy.io.hdf5 import Hdf5Array, StackedArray, load, require_whole
from calscipy.io.labels import (
    Budget,
    decode_array,
    decode_attrs,
    describe_labels,
    dtype_from,
    encode_array,
    encode_attrs,
    labels_from,
)

FORMAT = 1
SCRATCH = "calscipy"
MAX_TEXT = 2**28  # characters


@dataclass(frozen=True)
class Stored:
    """Where the values of a variable stand in the file.

    Parameters
    ----------
    series : tuple of str
        Series of NWB.
    dims : tuple of str
        Dimensions of the values of each.
    over : str, optional
        Dimension over which there are several series.
    """

    series: tuple[str, ...]
    dims: tuple[str, ...]
    over: str | None = None


def describe_session(
    tree: xr.DataTree, stored: Mapping[tuple[str, str], Stored], left_out: set[tuple[str, str]]
) -> str:
    """Write what the series of NWB do not hold of a session as JSON."""
    groups = {}
    for name, node in tree.children.items():
        dataset = node.to_dataset()
        present = [str(of) for of in dataset.data_vars if (name, str(of)) not in left_out]
        series = {of: stored[name, of] for of in present if (name, of) in stored}
        groups[name] = _describe_group(dataset, present, series)
    described = {"calscipy_nwb": FORMAT, "attrs": encode_attrs(tree.attrs, "/"), "groups": groups}
    return json.dumps(described, allow_nan=False, separators=(",", ":"))


def _describe_group(
    dataset: xr.Dataset, present: list[str], series: Mapping[str, Stored]
) -> dict[str, Any]:
    clock: dict[str, Any] | None = None
    time = dataset.coords.get(model.TIME)
    if series and time is not None and time.ndim == 1 and time.dtype == np.float64:
        clock = {
            "series": next(iter(series.values())).series[0],
            "dims": list(time.dims),
            "attrs": encode_attrs(time.attrs, model.TIME),
        }
    sizes = {str(dim): size for dim, size in dataset.sizes.items()}
    room = np.broadcast_to(np.uint8(0), tuple(sizes.values()))  # of the labels alone
    whole = xr.DataArray(room, dataset.coords, tuple(sizes), attrs=dataset.attrs)
    variables = {}
    for name in present:
        variable = dataset.variables[name]
        about: dict[str, Any] = {
            "dims": list(variable.dims),
            "attrs": encode_attrs(variable.attrs, name),
        }
        if name in series:
            at = series[name]
            about |= {"series": at.series, "file_dims": at.dims, "over": at.over}
            about["dtype"] = variable.dtype.newbyteorder("<").str
        else:
            about |= encode_array(np.asarray(variable.values), f"variable {name!r}")
        variables[name] = about
    without = (model.TIME,) if clock else ()
    labels = describe_labels(whole, without=without)
    return {"labels": labels, "clock": clock, "variables": variables}


def restored_session(file: Any, path: Path) -> xr.DataTree | None:
    """Return the session that calscipy wrote into a file of NWB, None if it wrote none.

    Raises
    ------
    RecordingError
        If what it wrote is damaged, or of a newer format.
    """
    if f"scratch/{SCRATCH}" not in file:
        return None
    dataset = file[f"scratch/{SCRATCH}"]
    try:
        text = str(load(dataset, path))
        if len(text) > MAX_TEXT:
            raise ValueError(f"over {MAX_TEXT} characters")
        found = json.loads(text)
        version = found["calscipy_nwb"]
        if not isinstance(version, int) or version > FORMAT:
            raise RecordingError(
                f"{path}: written by a newer calscipy (format {version!r}, this one reads up to "
                f"{FORMAT}). Update calscipy."
            )
        budget = Budget()
        groups = {
            str(name): _restored_group(file, path, of, budget)
            for name, of in found["groups"].items()
        }
        root = xr.Dataset(attrs=decode_attrs(found["attrs"], budget))
        return xr.DataTree.from_dict({"/": root} | groups)
    except RecordingError:
        raise
    except Exception as error:  # whatever a hostile text makes Python raise
        raise RecordingError(
            f"{path}: what calscipy wrote beside the series of NWB is damaged "
            f"({type(error).__name__}: {error}). Copy the file again from where it was written."
        ) from error


def _restored_group(file: Any, path: Path, of: Mapping[str, Any], budget: Budget) -> xr.Dataset:
    labels = labels_from(of["labels"], path, budget)
    coords = dict(labels.coords)
    clock = of["clock"]
    if clock is not None:
        times = load(file[clock["series"]]["timestamps"], path).astype(np.float64)
        coords[model.TIME] = xr.Variable(clock["dims"], times, decode_attrs(clock["attrs"], budget))
    variables = {
        name: _restored_variable(file, path, about, labels.sizes, budget)
        for name, about in of["variables"].items()
    }
    return xr.Dataset(variables, coords, labels.attrs)


def _restored_variable(
    file: Any, path: Path, about: Mapping[str, Any], sizes: Mapping[str, int], budget: Budget
) -> xr.Variable:
    dims, attrs = list(about["dims"]), decode_attrs(about["attrs"], budget)
    if "series" not in about:
        return xr.Variable(dims, decode_array(about, budget), attrs)
    dtype = dtype_from(about["dtype"])
    over = about["over"]
    inner = [dim for dim in dims if dim != over]
    order = [about["file_dims"].index(dim) for dim in inner]
    arrays = []
    for name in about["series"]:
        dataset = file[name]["data"]
        require_whole(dataset, path)
        arrays.append(Hdf5Array(path, dataset, dtype, order=order))
    lazy: Any = arrays[0]
    if over is not None:
        lazy = StackedArray(arrays, dims.index(over))
    if tuple(lazy.shape) != tuple(sizes[dim] for dim in dims):
        raise ValueError(f"{about['series']} have the shape {lazy.shape}")
    return xr.Variable(dims, indexing.LazilyIndexedArray(lazy), attrs)
