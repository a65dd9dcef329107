"""What the operations share that make one row of each event."""

from __future__ import annotations

from collections.abc import Hashable
from typing import NamedTuple

import dask
import numpy as np
import xarray as xr

from calscipy import model
from calscipy.errors import ArgumentError
from calscipy.ops._windows import require_raster, require_same_times

FRAME = "frame"


class EventList(NamedTuple):
    """Events in the order of their neurons and times."""

    places: dict[Hashable, np.ndarray]  # place along each dimension, time last
    row: np.ndarray  # number of the trace, all dimensions but time as one
    onset: np.ndarray  # sample
    epoch: np.ndarray  # number of the epoch
    epoch_stop: np.ndarray  # first sample after the epoch


def require_events(events: xr.DataArray, verb: str) -> None:
    """Raise unless this is a boolean raster along time."""
    if events.dtype != bool:
        raise ArgumentError(
            f"{verb} needs events as a boolean array, got {events.dtype}. "
            f"Make them with traces.cs.events(...), or compare: (probabilities > 0.5).cs.{verb}()."
        )
    model.require_dims(events, (model.TIME,), verb)


def list_events(raster: xr.DataArray) -> EventList:
    """List the events of a raster, which is computed if it is lazy."""
    ordered = raster.transpose(..., model.TIME)
    places = np.nonzero(ordered.values)
    *leading, onset = places
    row = np.zeros(onset.size, dtype=np.int64)
    if leading:
        row = np.ravel_multi_index(leading, ordered.shape[:-1]).astype(np.int64)
    stops = np.array([part.stop for part in model.epochs(raster)])
    epoch = np.searchsorted(stops, onset, side="right")
    by_dim = dict(zip(ordered.dims, places, strict=True))
    return EventList(by_dim, row, onset, epoch, stops[epoch])


def computed_together(
    traces: xr.DataArray, events: xr.DataArray, verb: str
) -> tuple[xr.DataArray, xr.DataArray]:
    """Return traces and a raster of the same dimensions, time last, in memory.

    Lazy ones are computed at once: events usually come from the same traces. Events without a
    channel, for instance, count for every channel.
    """
    if not isinstance(traces, xr.DataArray) or traces.dtype.kind not in "iuf":
        raise ArgumentError(
            f"{verb} needs traces as a DataArray of numbers, got "
            f"{getattr(traces, 'dtype', type(traces).__name__)}."
        )
    model.require_dims(traces, (model.TIME,), verb)
    raster = require_raster(traces, events, verb)
    require_same_times(traces, raster, verb)
    traces, raster = dask.compute(traces.transpose(..., model.TIME), raster)
    values = raster.variable.set_dims(traces.sizes).transpose(*traces.dims)
    return traces, traces.copy(data=values.data)


def event_coords(
    data: xr.DataArray, index: dict[Hashable, np.ndarray]
) -> dict[Hashable, xr.Variable]:
    """Return what an array tells of the neuron and of the time of each event."""
    places = {dim: xr.Variable(model.EVENT, place) for dim, place in index.items()}
    coords: dict[Hashable, xr.Variable] = dict(places)
    for name, coord in data.coords.items():
        some = {dim: place for dim, place in places.items() if dim in coord.dims}
        coords[name] = coord.variable.to_base_variable().isel(some)  # type: ignore[arg-type]
    if model.TIME in data.coords:
        time = coords[model.TIME]
        coords[model.TIME] = time._replace(attrs={**time.attrs, "long_name": "time of the onset"})
    else:
        del coords[model.TIME]  # a place is not a time
    attrs = {"units": "1", "long_name": "sample of the onset"}
    coords[FRAME] = places[model.TIME]._replace(attrs=attrs)
    return coords
