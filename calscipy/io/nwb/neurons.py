"""ROI responses and ROIs of NWB files that any program wrote."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from xarray.core import indexing

from calscipy import model
from calscipy.errors import CalscipyWarning, RecordingError, first_few, warn
from calscipy.io.hdf5 import attribute, load
from calscipy.io.netcdf_form import blocks_of
from calscipy.io.nwb.masks import Masks, read_masks
from calscipy.io.nwb.series import CLOCK_ATTRS, series_attrs, text, times_of, values_of

ROI_ID, SEGMENTATION = "roi_id", "segmentation"  # of neurons that several tables number alike
_KINDS = (
    (("neuropil",), model.NEUROPIL),
    (("deconv", "spike"), model.SPIKES),
    (("dfof", "dff", "df_over_f", "dfoverf"), "dfof"),
)


@dataclass(frozen=True)
class _Table:
    """One table of ROIs with its responses."""

    name: str
    ids: np.ndarray
    masks: Masks | None
    rows: np.ndarray  # of the responses
    times: np.ndarray
    variables: dict[str, xr.Variable]

    @property
    def signature(self) -> tuple[Any, ...]:
        """What tables that are read as one have in common."""
        planes = None if self.masks is None else self.masks.plane is None
        return sorted(self.variables), self.times.tobytes(), planes


def read_neurons(
    file: Any,
    path: Path,
    responses: Sequence[Any],
    tables: Sequence[Any],
    wanted: str | None,
    image_shape: tuple[int, ...] | None,
) -> dict[str, xr.Dataset]:
    """Return the groups ``traces`` and ``rois`` of an NWB file.

    Parameters
    ----------
    file : h5py.File
        The file.
    path : Path
        Its path.
    responses, tables : sequence of h5py.Group
        Its series of ROI responses, and its tables of ROIs.
    wanted : str, optional
        Name of the table to read; by default all.
    image_shape : (int, int), optional
        Rows and columns of the movie.

    Raises
    ------
    RecordingError
        If tables cannot be read as one, or do not fit their responses.
    """
    if wanted is not None:
        named = [of for of in tables if wanted in (of.name, of.name.rpartition("/")[2])]
        if len(named) != 1:
            raise RecordingError(
                f"{path}: segmentation={wanted!r} names {len(named)} tables of ROIs; there are "
                f"{[of.name for of in tables]}."
            )
        tables = named
    found = [_read_table(file, path, table, responses) for table in tables]
    if any(of.variables for of in found):
        without = [of.name for of in found if not of.variables]
        found = [of for of in found if of.variables]
        if without:
            warn(
                f"{path}: no responses of the ROIs in {first_few(without)}, which are left out. "
                "Open them alone with open(path, segmentation=...).",
                CalscipyWarning,
            )
    if len({repr(of.signature) for of in found}) > 1:
        raise RecordingError(
            f"{path}: several tables of ROIs whose responses are not alike: "
            f"{[of.name for of in found]}. Choose one: open(path, segmentation=...)."
        )
    return _groups(found, image_shape) if found else {}


def _read_table(file: Any, path: Path, table: Any, responses: Sequence[Any]) -> _Table:
    ids = load(table["id"], path)
    if ids.ndim != 1 or ids.dtype.kind not in "iu":
        raise RecordingError(f"{path}: the ROIs of {table.name!r} have no numbers.")
    if np.unique(ids).size < ids.size:
        ids = np.arange(ids.size)
    own = [of for of in responses if "rois" in of and _table_name(file, of["rois"]) == table.name]
    rows, times = np.zeros(0, np.int64), np.zeros(0)
    variables: dict[str, xr.Variable] = {}
    left_out = []
    # The first one sets neurons and times: raw fluorescence if there is any.
    for series in sorted(own, key=lambda of: _kind(of) != model.TRACES):
        region = load(series["rois"], path).astype(np.int64).ravel()
        if region.size and not 0 <= region.min() <= region.max() < ids.size:
            raise RecordingError(f"{path}: {series.name!r} refers to ROIs that are not there.")
        clock, variable = _responses(series, path, region.size)
        if not variables:
            rows, times = region, clock
        if not (np.array_equal(rows, region) and np.array_equal(times, clock)):
            left_out.append(series.name)
            continue
        name = _kind(series)
        own_name = series.name.rpartition("/")[2]
        variables[own_name if name in variables else name] = variable
    if left_out:
        warn(
            f"{path}: {first_few(left_out)} are of other ROIs or times than the first responses "
            "and are left out. Read them with pynwb.",
            CalscipyWarning,
        )
    return _Table(table.name, ids, read_masks(table, path, ids.size), rows, times, variables)


def _table_name(file: Any, region: Any) -> str:
    """Return the table that a region refers to."""
    reference = attribute(region, "table")
    return str(file[reference].name) if reference else ""


def _kind(series: Any) -> str:
    """Return what responses are, from their container and their name."""
    if text(attribute(series.parent, "neurodata_type")) == "DfOverF":
        return "dfof"
    name = series.name.rpartition("/")[2].lower()
    return next((kind for words, kind in _KINDS if any(w in name for w in words)), model.TRACES)


def _responses(series: Any, path: Path, rois: int) -> tuple[np.ndarray, xr.Variable]:
    """Return times and values of responses, which NWB has as (time, roi)."""
    shape = series["data"].shape
    dims = (model.NEURON, model.TIME)
    attrs = series_attrs(series, path, "responses of ROIs")
    if len(shape) == 1 and rois == 1:
        one = xr.Variable(model.TIME, indexing.LazilyIndexedArray(values_of(series, path, (0,))))
        return times_of(series, path), xr.Variable(dims, one.values[None], attrs)
    if len(shape) != 2 or rois not in shape:
        raise RecordingError(
            f"{path}: {series.name!r} has the shape {shape}, (time, {rois} ROIs) was expected. "
            "Write the file again with the program that wrote it."
        )
    turned = shape[1] != rois
    if turned:
        warn(
            f"{path}: {series.name!r} stands as (roi, time) in the file, not (time, roi) as NWB "
            "says; it is read so.",
            CalscipyWarning,
        )
    array = values_of(series, path, (0, 1) if turned else (1, 0))
    lazy = xr.Variable(dims, indexing.LazilyIndexedArray(array), attrs)
    return times_of(series, path, 1 if turned else 0), lazy


def _groups(tables: list[_Table], image_shape: tuple[int, ...] | None) -> dict[str, xr.Dataset]:
    """Put the tables one after the other."""
    labels = [of.ids for of in tables]
    joined = np.concatenate(labels)
    clash = np.unique(joined).size < joined.size
    if clash:
        ends = np.cumsum([0, *(of.size for of in labels)])
        labels = [np.arange(a, b) for a, b in itertools.pairwise(ends)]
    groups = {}
    if tables[0].variables:
        groups[model.TRACES] = _traces(tables, labels, clash)
    if all(of.masks is not None for of in tables):
        rois = _rois(tables, labels, image_shape)
        if rois is not None:
            groups[model.ROIS] = rois.to_dataset()
    return groups


def _traces(tables: list[_Table], labels: list[np.ndarray], clash: bool) -> xr.Dataset:
    neurons = [own[of.rows] for of, own in zip(tables, labels, strict=True)]
    coords: dict[str, Any] = {
        model.TIME: (model.TIME, tables[0].times, CLOCK_ATTRS),
        model.NEURON: (model.NEURON, np.concatenate(neurons)),
    }
    if clash:
        ids = np.concatenate([of.ids[of.rows] for of in tables])
        names = np.repeat([of.name.rpartition("/")[2] for of in tables], [len(n) for n in neurons])
        coords |= {ROI_ID: (model.NEURON, ids), SEGMENTATION: (model.NEURON, names)}
    variables = {}
    for name, first in tables[0].variables.items():
        parts = [of.variables[name] for of in tables]
        if len(parts) > 1:
            parts = [part.chunk(blocks_of(part)) for part in parts]
            first = xr.Variable.concat(parts, model.NEURON, combine_attrs="override")
        variables[name] = first
    return xr.Dataset(variables, coords)


def _rois(
    tables: list[_Table], labels: list[np.ndarray], image_shape: tuple[int, ...] | None
) -> xr.DataArray | None:
    """Return the pixels of all ROIs in long form, None if there is none."""
    masks = [of.masks for of in tables if of.masks is not None]
    rows = zip(masks, labels, strict=True)
    shape = image_shape or masks[0].image_shape
    planes = [of.plane for of in masks if of.plane is not None]
    weight = np.concatenate([of.weight for of in masks])
    if not weight.size:
        return None
    return model.rois_long_form(
        np.concatenate([own[of.row] for of, own in rows]),
        np.concatenate([of.y for of in masks]),
        np.concatenate([of.x for of in masks]),
        weight,
        image_shape=shape,
        plane=np.concatenate(planes) if planes else None,
    )
