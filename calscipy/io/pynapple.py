"""Traces, events and epochs as objects of pynapple."""

from __future__ import annotations

import warnings
from typing import Any

import dask
import numpy as np
import xarray as xr

from calscipy import model
from calscipy.errors import CalscipyWarning, DimensionError, TimeAxisError, warn
from calscipy.io.optional import optional

_GROUPS = (model.TRACES, model.EVENTS, model.VOLTAGE, model.BRIGHTNESS)
EPOCHS = "epochs"
_RATE = "rate"  # pynapple's own in groups of events


def to_pynapple(data: Any) -> Any:
    """Turn traces, events or a whole session into objects of pynapple; lazy data are computed.

    Parameters
    ----------
    data : DataArray, ImagingSession or DataTree
        Traces, voltage or events ``([neuron,] time)``; or a session, of which traces, events,
        voltage, onsets of stimuli and epochs are taken, not the movie.

    Returns
    -------
    object or dict of str to object
        Of traces ``(neuron, time)`` a ``TsdFrame`` with the neurons as columns and their
        coordinates as metadata, of one trace a ``Tsd``; of events a ``TsGroup``, of those of one
        neuron a ``Ts``. Of a session a dictionary by variable (``traces``, ``dfof``, ``events``
        ..., of several channels ``traces_Red`` ...), with ``stimulus`` (``Ts`` of onsets) and
        ``epochs`` (``IntervalSet``).

    Raises
    ------
    DimensionError
        For other dimensions.
    TimeAxisError
        If times are not in s or do not increase: pynapple would sort them.
    MissingPackageError
        Without pynapple; it says how to install it.

    Warns
    -----
    CalscipyWarning
        For stimuli whose onset is not known, which are left out.

    Notes
    -----
    A coordinate ``rate`` is ``rate_`` in a ``TsGroup``, which has a rate of its own. The time
    support is the stretches between pauses of the recording (``epoch``). pynapple has no place
    for units, history and coordinates along time other than ``epoch``.

    Examples
    --------
    >>> import calscipy as cs
    >>> traces = cs.from_numpy(np.ones((2, 3)), frame_rate=30)
    >>> to_pynapple(traces).shape
    (3, 2)
    """
    if isinstance(data, xr.DataArray):
        return _converted(data.compute())
    return _session(getattr(data, "tree", data))


def _session(tree: xr.DataTree) -> dict[str, Any]:
    chosen = {
        f"{group}/{name}": variable
        for group in _GROUPS
        if group in tree.children
        for name, variable in tree[group].to_dataset().data_vars.items()
        if model.TIME in variable.dims and variable.dtype.kind in "biuf"
    }
    (computed,) = dask.compute(chosen)  # in one graph: sources are read once
    found: dict[str, Any] = {}
    for path, variable in computed.items():
        name = path.partition("/")[2]
        if model.CHANNEL not in variable.dims:
            found[name] = _converted(variable)
            continue
        for at in range(variable.sizes[model.CHANNEL]):
            part = variable.isel({model.CHANNEL: at})
            channel = part[model.CHANNEL].item() if model.CHANNEL in part.coords else at
            found[f"{name}_{channel}"] = _converted(part)
    if model.STIMULUS in tree.children:
        found |= _stimuli(tree[model.STIMULUS].to_dataset())
    clocks = [tree[group].to_dataset() for group in (model.MOVIE, *_GROUPS) if group in tree]
    clocks = [of for of in clocks if model.TIME in of.coords and of[model.TIME].ndim == 1]
    if clocks and (epochs := _epochs(clocks[0][model.TIME])) is not None:
        found[EPOCHS] = epochs
    return found


def _converted(data: xr.DataArray) -> Any:
    """Return the object of an array along time, which is in memory."""
    nap = _nap()
    others = [str(dim) for dim in data.dims if dim != model.TIME]
    if model.TIME not in data.dims or len(others) > 1 or data.dtype.kind not in "biuf":
        raise DimensionError(
            f"to_pynapple needs real numbers along (neuron, time) or (time,), found "
            f"{tuple(data.dims)} of {data.dtype}. Select one of the other dimensions, for instance "
            "data.sel(channel=...)."
        )
    times = model.seconds(data, "to_pynapple")
    if not (np.diff(times) > 0).all():
        raise TimeAxisError(
            "to_pynapple needs increasing times, as pynapple sorts them. Select a part of the "
            "recording, or give the parts of joined recordings one after the other."
        )
    support = _epochs(data[model.TIME])
    values = data.transpose(model.TIME, ...).values
    if data.dtype == bool:
        return _events(values, times, support, data, others)
    if not others:
        result = nap.Tsd(t=times, d=values, time_support=support)
    else:
        labels = _labels(data, others[0])
        result = nap.TsdFrame(t=times, d=values, time_support=support, columns=labels)
        _add_metadata(result, data, others[0])
    if len(result) != times.size:
        raise TimeAxisError(
            f"to_pynapple: pynapple kept {len(result)} of {times.size} samples, as epochs of one "
            "sample have no duration for it. Leave these epochs out."
        )
    return result


def _events(
    values: np.ndarray, times: np.ndarray, support: Any, data: xr.DataArray, others: list[str]
) -> Any:
    """Return the times of events, of each neuron if there are several."""
    nap = _nap()
    if not others:
        return nap.Ts(t=times[values], time_support=support)
    labels = _labels(data, others[0])
    numbered = np.asarray(labels).dtype.kind in "iu" and len(set(labels)) == len(labels)
    keys = labels if numbered else range(len(labels))
    group = nap.TsGroup(
        {int(key): nap.Ts(t=times[column]) for key, column in zip(keys, values.T, strict=True)},
        time_support=support,
    )
    order = np.argsort(list(keys), kind="stable")  # pynapple sorts the neurons
    _add_metadata(group, data.isel({others[0]: order}), others[0], with_labels=not numbered)
    return group


def _labels(data: xr.DataArray, dim: str) -> list[Any]:
    if dim in data.coords:
        return list(data[dim].values.tolist())
    return list(range(data.sizes[dim]))


def _add_metadata(target: Any, data: xr.DataArray, dim: str, *, with_labels: bool = False) -> None:
    """Hand over the coordinates of the neurons."""
    known = {}
    for name, coordinate in data.coords.items():
        if coordinate.dims == (dim,) and (with_labels or name != dim):
            taken = name == _RATE and isinstance(target, _nap().TsGroup)
            known[f"{name}_" if taken else str(name)] = coordinate.values
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of names that are attributes: get_info() finds them
        if known:
            target.set_info(**known)


def _epochs(clock: xr.DataArray) -> Any:
    """Return the stretches of the recording, each from its first to its last sample."""
    times = np.asarray(clock.values, dtype=np.float64)
    if times.size < 2:
        return None
    parts = model.epochs(clock)
    starts = [times[part.start] for part in parts]
    return _nap().IntervalSet(starts, [times[part.stop - 1] for part in parts])


def _stimuli(stimuli: xr.Dataset) -> dict[str, Any]:
    if model.ONSET not in stimuli:
        return {}
    onsets = np.asarray(stimuli[model.ONSET].values, dtype=np.float64)
    known = np.sort(onsets[np.isfinite(onsets)])
    if known.size < onsets.size:
        warn(
            f"to_pynapple: the onsets of {onsets.size - known.size} of {onsets.size} stimuli are "
            "not known; they are left out. stimulus_onsets fills them in from recorded triggers.",
            CalscipyWarning,
        )
    return {model.STIMULUS: _nap().Ts(t=known)} if known.size else {}


def _nap() -> Any:
    return optional("pynapple", extra="pynapple", purpose="Objects of pynapple")
