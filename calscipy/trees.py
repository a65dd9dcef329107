"""Work on the tree of a session: put a variable in, take one out, select in every group."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import xarray as xr

from calscipy import model
from calscipy.errors import ArgumentError, CalscipyWarning, first_few, warn
from calscipy.ops.rois import first_pixel

# How what is missing is made, for messages.
_MADE_BY = {
    model.TRACES: "session.cs.extract(rois)",
    model.NEUROPIL: "session.cs.extract_neuropil(rois)",
    "dfof": "session.cs.dfof()",
    model.EVENTS: "session.cs.events()",
}


def group_of(name: str, data: xr.DataArray) -> str:
    """Return the group where a variable belongs, from its dimensions."""
    if not isinstance(data, xr.DataArray):
        raise ArgumentError(f"assign: {name!r} must be a DataArray, got {type(data).__name__}")
    kind = model.kind(data)
    groups = {
        "movie": model.MOVIE,
        "rois": model.ROIS,
        "events": model.EVENTS,
        "voltage": model.VOLTAGE,
        "traces": model.EVENTS if name == model.EVENTS else model.TRACES,
    }
    if kind in groups and name in model.GROUPS and name != groups[kind]:
        raise ArgumentError(
            f"assign: {name!r} is the name of a group, but an array with the dimensions "
            f"{tuple(data.dims)} belongs to {groups[kind]!r}. Give it another name."
        )
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

    A variable of the group's own name (the movie, the raw traces) starts the group anew: what was
    made from the old one would be stale. New traces also end the events. Every other variable
    comes beside what is there and must share its coordinates.
    """
    dataset = data.rename(name).to_dataset()
    dataset.attrs = {}
    if name in (model.TRACES, model.EVENTS) and model.MOVIE in tree.children:
        _compare_clocks(tree[model.MOVIE].to_dataset(), data, name)
    if group in tree.children and name != group:
        present = tree[group].to_dataset()
        others = present.drop_vars(name, errors="ignore")
        different = _different_coordinates(others, dataset)
        if different:
            raise ArgumentError(
                f"{name!r} of sizes {dict(data.sizes)} does not share the coordinates "
                f"{different} of the group {group!r} ({dict(others.sizes)}). Select the same "
                "neurons and times with session.sel first, or assign it together with new "
                f"{group}."
            )
        _require_same_corrections(others, dataset, name, group)
        dataset = others.assign({name: dataset[name]})
    if latest:
        dataset.attrs = dataset.attrs | {model.LATEST_ATTR: name}
    elif model.LATEST_ATTR not in dataset.attrs:  # a tree that was made elsewhere
        main = group if group in dataset.data_vars else name
        dataset.attrs = dataset.attrs | {model.LATEST_ATTR: main}
    stale = (model.EVENTS,) if name == model.TRACES else ()
    return rebuilt(tree, {group: dataset}, without=stale)


def _compare_clocks(movie: xr.Dataset, data: xr.DataArray, name: str) -> None:
    """Warn of one sample for each frame at other times than the frames'."""
    if model.TIME not in movie.coords or model.TIME not in data.coords:
        return
    frames, samples = model.coordinate(movie[model.MOVIE], model.TIME), data[model.TIME].values
    if frames.shape != samples.shape or frames.size < 2 or samples.dtype.kind != "f":
        return
    if not np.allclose(frames, samples, rtol=0, atol=np.median(np.diff(frames)) / 2):
        warn(
            f"assign: {name!r} has one sample for each frame of the movie, but lasts from "
            f"{samples[0]:.6g} to {samples[-1]:.6g} s and the movie from {frames[0]:.6g} to "
            f"{frames[-1]:.6g} s. If they are of the same frames, give them their times: "
            "traces.assign_coords(time=session.movie.time.values).",
            CalscipyWarning,
        )


def rebuilt(
    tree: xr.DataTree, changed: Mapping[str, xr.Dataset], without: tuple[str, ...] = ()
) -> xr.DataTree:
    """Return a tree with some groups replaced; the arrays are shared, not copied."""
    datasets = {"/": xr.Dataset(attrs=dict(tree.attrs))}
    datasets |= {
        name: node.to_dataset() for name, node in tree.children.items() if name not in without
    }
    return xr.DataTree.from_dict(datasets | dict(changed))


def variable(tree: xr.DataTree, group: str, name: str) -> xr.DataArray:
    """Return a variable of a group.

    Raises
    ------
    AttributeError
        Naming what the session has.
    """
    if group not in tree.children or name not in tree[group].data_vars:
        how = f" Make it first: {_MADE_BY[name]}." if name in _MADE_BY else ""
        raise AttributeError(
            f"this session has no {name!r}; it has {inventory(tree) or 'nothing yet'}.{how}"
        )
    return tree[group].to_dataset()[name]


def anywhere(tree: xr.DataTree, name: str) -> xr.DataArray:
    """Return the variable of this name, in whichever group it is.

    Raises
    ------
    AttributeError
        Naming what the session has, and the groups if it is in several.
    """
    groups = [str(group) for group, node in tree.children.items() if name in node.data_vars]
    if len(groups) > 1:
        raise AttributeError(
            f"{name!r} is in several groups of this session, {groups}: take it from "
            f"session.tree[{groups[0]!r}][{name!r}]."
        )
    return variable(tree, groups[0] if groups else "", name)


def latest(tree: xr.DataTree, group: str) -> xr.DataArray:
    """Return the variable of a group that the next verb works on."""
    name = tree[group].attrs.get(model.LATEST_ATTR, group) if group in tree.children else group
    return variable(tree, group, name)


def group(tree: xr.DataTree, name: str) -> xr.Dataset:
    """Return a group.

    Raises
    ------
    AttributeError
        Naming what the session has.
    """
    if name not in tree.children:
        raise AttributeError(
            f"this session has no {name!r}; it has {inventory(tree) or 'nothing yet'}."
        )
    return tree[name].to_dataset()


def inventory(tree: xr.DataTree) -> str:
    """List the variables of every group."""
    return ", ".join(
        f"{name} ({', '.join(map(str, node.data_vars))})" for name, node in tree.children.items()
    )


def select(tree: xr.DataTree, selection: Mapping[str, Any]) -> xr.DataTree:
    """Select by coordinate in every group that has it; stimuli by their onset for a time.

    Raises
    ------
    ArgumentError
        If no group has a coordinate of that name, or nothing of it is selected in any.
    """
    changed = {name: node.to_dataset() for name, node in tree.children.items()}
    for name, wanted in selection.items():
        looked = {group: _place(dataset, group, name) for group, dataset in changed.items()}
        places = {group: place for group, place in looked.items() if place is not None}
        if not places:
            raise ArgumentError(
                f"sel: no group of this session has the coordinate {name!r}; there are "
                f"{sorted({str(c) for d in changed.values() for c in d.coords})}."
            )
        labels = {group: changed[group][place].variable for group, place in places.items()}
        wanted = _labels(wanted, name, labels)
        chosen = {group: _select(changed[group], place, wanted) for group, place in places.items()}
        nowhere = all(dataset is None for dataset in chosen.values())
        for group, dataset in chosen.items():
            here = changed[group][places[group]]
            if dataset is None and (nowhere or here.ndim == 0):
                there = first_few(np.atleast_1d(here.values).tolist(), 5)
                raise ArgumentError(
                    f"sel: {name}={wanted!r} selects nothing of {group!r}; there are {there}."
                )
            # A voltage recording, for instance, may lack a cycle that the movie has.
            changed[group] = (
                changed[group].isel({here.dims[0]: slice(0)}) if dataset is None else dataset
            )
        _drop_neurons(changed, _lost_neurons(tree, changed, places), places)
    if model.ROIS in changed and {model.Y, model.X} & set(selection):
        changed[model.ROIS] = _rois_inside(changed)
    if model.ROIS in changed and model.NEUROPIL_NEURON in changed[model.ROIS]:
        changed[model.ROIS] = _own_neuropil(changed[model.ROIS])
    return rebuilt(tree, changed)


def _labels(wanted: Any, name: str, coordinates: Mapping[str, xr.Variable]) -> Any:
    """Turn a mask of booleans into the labels that it selects: ROIs list a neuron many times."""
    if isinstance(wanted, slice | str) or np.ndim(wanted) == 0:
        return wanted
    mask = np.asarray(wanted)
    if mask.dtype != bool or all(c.dtype == bool for c in coordinates.values()):
        return wanted.values if isinstance(wanted, xr.DataArray) else wanted
    if isinstance(wanted, xr.DataArray) and name in wanted.coords and wanted.dims == (name,):
        return wanted[name].values[mask]
    fits = [c for c in coordinates.values() if c.dims == (name,) and c.size == mask.size]
    if mask.ndim != 1 or not fits or any(not c.equals(fits[0]) for c in fits):
        sizes = {group: c.sizes[name] for group, c in coordinates.items() if c.dims == (name,)}
        raise ArgumentError(
            f"sel: a mask for {name!r} needs one boolean for each label of one of {sizes}, got "
            f"{mask.shape}. Give a DataArray with the coordinate {name!r}, such as "
            f"session.traces.iscell, or the labels themselves."
        )
    return fits[0].values[mask]


def _lost_neurons(
    tree: xr.DataTree, changed: Mapping[str, xr.Dataset], places: Mapping[str, str]
) -> np.ndarray:
    """Return the neurons that a selection by one of their coordinates left out."""
    lost: list[Any] = []
    for group, place in places.items():
        before, after = tree[group].to_dataset(), changed[group]
        if model.NEURON in after.indexes and before[place].dims == (model.NEURON,):
            lost += np.setdiff1d(before[model.NEURON].values, after[model.NEURON].values).tolist()
    return np.unique(lost)


def _drop_neurons(
    changed: dict[str, xr.Dataset], lost: np.ndarray, places: Mapping[str, str]
) -> None:
    """Leave neurons out of the groups that do not have the coordinate they were selected by."""
    for group, dataset in changed.items():
        if lost.size and group not in places and model.NEURON in dataset.coords:
            neurons = dataset[model.NEURON]
            if neurons.ndim == 1:
                keep = np.flatnonzero(~np.isin(neurons.values, lost))
                changed[group] = dataset.isel({neurons.dims[0]: keep})


def _own_neuropil(rois: xr.Dataset) -> xr.Dataset:
    """Leave out the neuropil masks of ROIs that are gone."""
    masks = rois[model.NEUROPIL_NEURON]
    keep = np.isin(masks.values, rois[model.NEURON].values)
    return rois.isel({masks.dims[0]: np.flatnonzero(keep)})


def _rois_inside(groups: Mapping[str, xr.Dataset]) -> xr.Dataset:
    """Return the ROIs of the traces that are left; without traces those whole in the movie."""
    rois = groups[model.ROIS]
    neurons = rois[model.NEURON].values
    if model.TRACES in groups:
        keep = np.isin(neurons, groups[model.TRACES][model.NEURON].values)
    else:
        outside = np.zeros(neurons.size, dtype=bool)
        for dim in (model.Y, model.X):
            movie = groups[model.MOVIE][model.MOVIE]
            first = first_pixel(movie, dim, "sel")
            places = rois[dim].values
            outside |= (places < first) | (places >= first + movie.sizes[dim])
        keep = ~np.isin(neurons, neurons[outside])
    return rois.isel({model.PIXEL: np.flatnonzero(keep)})


def _place(dataset: xr.Dataset, group: str, name: str) -> str | None:
    """Return what a group is selected by: the coordinate of this name, of stimuli their onset."""
    # The pixels of ROIs are counted, not measured; whole ROIs are kept or left afterwards.
    if group == model.ROIS and name in (model.Y, model.X):
        return None
    if group == model.STIMULUS and name == model.TIME:
        return model.ONSET if model.ONSET in dataset else None
    return name if name in dataset.coords and dataset[name].ndim <= 1 else None


def _select(dataset: xr.Dataset, name: str, wanted: Any) -> xr.Dataset | None:
    """Select in one group; None if nothing is there."""
    coordinate = dataset[name]
    if name in dataset.indexes:
        return dataset.sel({name: wanted})
    values = np.atleast_1d(coordinate.values)
    keep = _matches(values, wanted)
    if not keep.any():
        return None
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


def _require_same_corrections(
    present: xr.Dataset, added: xr.Dataset, name: str, group: str
) -> None:
    """Refuse what was moved beside what was not: the coordinates of a group hold for all of it."""
    for word in (model.Y_SHIFT, model.X_SHIFT, model.SCAN_PHASE, model.TIME_OFFSET):
        if present.data_vars and (word in present.coords) != (word in added.coords):
            raise ArgumentError(
                f"{name!r} cannot stand beside the other variables of the group {group!r}: only "
                f"one of them has the coordinate {word!r}. Correct {group!r} first and make "
                f"{name!r} from it: session.assign({group}=...)."
            )


def _different_coordinates(left: xr.Dataset, right: xr.Dataset) -> list[str]:
    """Return dimensions of other sizes, and coordinates of other values, that both have."""
    found = [str(d) for d, n in right.sizes.items() if left.sizes.get(d, n) != n]
    return found + [
        str(name)
        for name in right.coords
        if name in left.coords and not left[name].variable.equals(right[name].variable)
    ]
