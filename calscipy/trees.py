"""Work on the tree of a session: put a variable in, take one out, select in every group."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import xarray as xr

from calscipy import model
from calscipy.errors import ArgumentError


def group_of(name: str, data: xr.DataArray) -> str:
    """Return the group where a variable belongs, from its dimensions."""
    if not isinstance(data, xr.DataArray):
        raise ArgumentError(f"assign: {name!r} must be a DataArray, got {type(data).__name__}")
    kind = model.kind(data)
    if kind == "traces" and name == model.EVENTS:
        return model.EVENTS
    groups = {"movie": model.MOVIE, "rois": model.ROIS, "events": model.EVENTS}
    if kind == "traces":
        return model.TRACES
    if kind not in groups:
        raise ArgumentError(
            f"assign: {name!r} with the dimensions {tuple(data.dims)} fits no group of a session; "
            "movies have (frames, y, x), traces and events (neuron, time), ROIs (pixel)."
        )
    return groups[kind]


def put(
    tree: xr.DataTree, group: str, name: str, data: xr.DataArray, *, latest: bool = True
) -> xr.DataTree:
    """Return a tree with one more variable.

    A variable of the group's own name (the movie, the raw traces) starts the group anew unless
    it shares the axes of what is there; then, and for every other name, it comes beside it.
    """
    dataset = data.rename(name).to_dataset()
    dataset.attrs = {}
    if group in tree.children:
        present = tree[group].to_dataset().drop_vars(name, errors="ignore")
        if _same_axes(present, dataset):
            dataset = present.assign({name: dataset[name]})
        elif name != group:
            raise ArgumentError(
                f"{name!r} of sizes {dict(data.sizes)} does not share the coordinates of the "
                f"group {group!r} ({dict(present.sizes)}). Select the same neurons and times "
                "with session.sel first, or assign it together with new traces."
            )
    if latest or model.LATEST_ATTR not in dataset.attrs:
        dataset.attrs = dataset.attrs | {model.LATEST_ATTR: name}
    return rebuilt(tree, {group: dataset})


def rebuilt(tree: xr.DataTree, changed: Mapping[str, xr.Dataset]) -> xr.DataTree:
    """Return a tree with some groups replaced; the arrays are shared, not copied."""
    datasets = {"/": xr.Dataset(attrs=dict(tree.attrs))}
    datasets |= {name: node.to_dataset() for name, node in tree.children.items()}
    return xr.DataTree.from_dict(datasets | dict(changed))


def variable(tree: xr.DataTree, group: str, name: str) -> xr.DataArray:
    """Return a variable of a group.

    Raises
    ------
    AttributeError
        Naming what the session has.
    """
    if group not in tree.children or name not in tree[group].data_vars:
        raise AttributeError(
            f"this session has no {name!r}; it has {inventory(tree) or 'nothing yet'}."
        )
    return tree[group].to_dataset()[name]


def latest(tree: xr.DataTree, group: str) -> xr.DataArray:
    """Return the variable of a group that the next verb works on."""
    name = tree[group].attrs.get(model.LATEST_ATTR, group) if group in tree.children else group
    return variable(tree, group, name)


def inventory(tree: xr.DataTree) -> str:
    """List the variables of every group."""
    return ", ".join(
        f"{name} ({', '.join(map(str, node.data_vars))})" for name, node in tree.children.items()
    )


def select(tree: xr.DataTree, selection: Mapping[str, Any]) -> xr.DataTree:
    """Select by coordinate in every group that has it.

    Raises
    ------
    ArgumentError
        If no group has a coordinate of that name.
    """
    changed = {name: node.to_dataset() for name, node in tree.children.items()}
    for name, wanted in selection.items():
        found = False
        for group, dataset in changed.items():
            if name in dataset.coords and dataset[name].ndim <= 1:
                changed[group] = _select(dataset, name, wanted)
                found = True
        if not found:
            raise ArgumentError(
                f"sel: no group of this session has the coordinate {name!r}; there are "
                f"{sorted({str(c) for d in changed.values() for c in d.coords})}."
            )
    return rebuilt(tree, changed)


def _select(dataset: xr.Dataset, name: str, wanted: Any) -> xr.Dataset:
    coordinate = dataset[name]
    if name in dataset.indexes:
        return dataset.sel({name: wanted})
    values = np.atleast_1d(coordinate.values)
    keep = _matches(values, wanted)
    if not keep.any():
        raise KeyError(f"sel: {name}={wanted!r} selects nothing; there are {values[:5].tolist()}…")
    if coordinate.ndim == 0:
        return dataset
    return dataset.isel({coordinate.dims[0]: np.flatnonzero(keep)})


def _matches(values: np.ndarray, wanted: Any) -> np.ndarray:
    """Tell which values a label, a list of labels or a closed interval names."""
    if isinstance(wanted, slice):
        if wanted.step is not None:
            raise ArgumentError("sel: a slice of a coordinate takes no step.")
        keep = np.ones(values.shape, dtype=bool)
        if wanted.start is not None:
            keep &= values >= wanted.start
        if wanted.stop is not None:
            keep &= values <= wanted.stop
        return keep
    return np.isin(values, wanted)


def _same_axes(left: xr.Dataset, right: xr.Dataset) -> bool:
    try:
        xr.align(left, right, join="exact", copy=False)
    except ValueError:
        return False
    return True
