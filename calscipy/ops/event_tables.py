"""Numbers about events: how many, how often, how far apart, how high and how long."""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr

from calscipy import model
from calscipy.errors import ArgumentError
from calscipy.history import described, recorded
from calscipy.kernels.event_shapes import event_shapes
from calscipy.ops._event_lists import (
    computed_together,
    event_coords,
    list_events,
    require_events,
)
from calscipy.ops._frames import is_number
from calscipy.ops._time import float_dtype


@recorded
def event_table(data: xr.DataArray, events: xr.DataArray, *, window: float = 1.0) -> xr.Dataset:
    """Measure every event; lazy traces and events are computed.

    Parameters
    ----------
    data : DataArray
        Traces ``(neuron, time)``, best as ΔF/F. NaN samples are skipped.
    events : DataArray
        Onsets, boolean, of the same neurons and times (:func:`events`). Events without a neuron
        or a channel count for each one of the data.
    window : float, default 1.0
        How long after the onset the peak is looked for, in s: longer than a transient rises. It
        ends earlier at the next event of the neuron and at the end of the epoch.

    Returns
    -------
    Dataset
        One row per ``event``, in the order of the neurons and of their onsets:

        - ``onset``: time of the event, s;
        - ``peak_time``, ``peak``: time (s) and value of the highest sample from the onset on;
        - ``amplitude``: peak minus the value at the onset;
        - ``duration``: from the onset until the trace first falls to half of the amplitude after
          the peak, in s, interpolated linearly between samples. NaN if the next event or the end
          of the epoch comes first, or if the trace does not rise.

        ``peak`` and ``amplitude`` are in the units of ``data``. The coordinates are ``neuron``,
        ``frame`` (sample of the onset, from 0), and whatever else the data tell of the neuron and
        the time of an event, such as ``channel`` and ``epoch``.

    Raises
    ------
    ArgumentError
        If the events are no raster of these neurons and times.

    Examples
    --------
    >>> import calscipy as cs
    >>> f = np.array([[1.0, 1.0, 5.0, 4.0, 2.0, 1.0]])
    >>> traces = cs.from_numpy(f, frame_rate=10, units="1")
    >>> table = event_table(traces, traces.copy(data=np.arange(6)[None] == 1))
    >>> {name: float(column[0].round(3)) for name, column in table.items()}
    {'onset': 0.1, 'peak_time': 0.2, 'peak': 5.0, 'amplitude': 4.0, 'duration': 0.25}
    """
    if not (is_number(window) and np.isfinite(window) and window > 0):
        raise ArgumentError(f"event_table needs window > 0 in seconds, got {window!r}")
    times = model.seconds(data, "event_table")
    traces, raster = computed_together(data, events, "event_table")
    found = list_events(raster)
    rows = traces.values.reshape(-1, times.size)
    later = np.full(found.onset.size, times.size)
    later[:-1] = np.where(found.row[1:] == found.row[:-1], found.onset[1:], times.size)
    stop = np.minimum(later, found.epoch_stop)
    shapes = event_shapes(rows, times, found.row, found.onset, stop, window=window)
    kind, units = float_dtype(data), data.attrs.get("units", "1")
    columns = {
        "onset": (times[found.onset], "s", "time of the onset"),
        "peak_time": (shapes.peak_time, "s", "time of the peak"),
        "peak": (shapes.peak.astype(kind), units, "value at the peak"),
        "amplitude": (shapes.amplitude.astype(kind), units, "peak minus the value at the onset"),
        "duration": (shapes.duration, "s", "time from the onset to half of the amplitude"),
    }
    variables = {
        name: (model.EVENT, values, {"units": unit, "long_name": long_name})
        for name, (values, unit, long_name) in columns.items()
    }
    coords = event_coords(traces, found.places)
    del coords[model.TIME]  # the onset
    return xr.Dataset(variables, coords)


@recorded
def count(data: xr.DataArray) -> xr.DataArray:
    """Count the events of each neuron.

    Parameters
    ----------
    data : DataArray
        Events, boolean ``(neuron, time)``.

    Returns
    -------
    DataArray
        ``(neuron,)``, int64; lazy if the events are.

    Examples
    --------
    >>> raster = xr.DataArray([[True, False, True], [False] * 3], dims=("neuron", "time"))
    >>> count(raster).values.tolist()
    [2, 0]
    """
    require_events(data, "count")
    return described(_counted(data).rename("count"), units="1", long_name="number of events")


def _counted(events: xr.DataArray) -> xr.DataArray:
    return events.sum(model.TIME, dtype=np.int64)


@recorded
def rate(data: xr.DataArray) -> xr.DataArray:
    """Events of each neuron in a second of recording.

    The time that was recorded is the number of samples over the frame rate: gaps between epochs do
    not count.

    Parameters
    ----------
    data : DataArray
        Events, boolean ``(neuron, time)``, evenly sampled.

    Returns
    -------
    DataArray
        ``(neuron,)`` in Hz, float64; lazy if the events are.

    Examples
    --------
    >>> import calscipy as cs
    >>> raster = cs.from_numpy(np.arange(40).reshape(2, 20) % 5 == 0, frame_rate=10)
    >>> rate(raster).values.round(9).tolist()
    [2.0, 2.0]
    """
    require_events(data, "rate")
    recorded_time = data.sizes[model.TIME] / model.regular_rate(data, "rate")
    per_second = _counted(data) / recorded_time
    return described(per_second.rename("rate"), units="Hz", long_name="event rate")


@recorded
def intervals(data: xr.DataArray) -> xr.DataArray:
    """Measure the times between events of a neuron; lazy events are computed.

    Parameters
    ----------
    data : DataArray
        Events, boolean ``(neuron, time)``.

    Returns
    -------
    DataArray
        In s, one for each ``event`` that follows another one of the same neuron in the same
        epoch: what happened between epochs is not known. In the order of the neurons and times;
        ``neuron``, ``time`` and the other coordinates are those of the event that ends the
        interval.

    Examples
    --------
    >>> import calscipy as cs
    >>> raster = np.zeros((2, 9), bool)
    >>> raster[0, [1, 3, 8]] = raster[1, 5] = True
    >>> between = intervals(cs.from_numpy(raster, frame_rate=2))
    >>> between.values.tolist(), between.neuron.values.tolist()
    ([1.0, 2.5], [0, 0])
    """
    require_events(data, "intervals")
    times = model.seconds(data, "intervals")
    found = list_events(data)
    follows = np.flatnonzero(
        (found.row[1:] == found.row[:-1]) & (found.epoch[1:] == found.epoch[:-1])
    )
    values = times[found.onset[follows + 1]] - times[found.onset[follows]]
    index = {dim: place[follows + 1] for dim, place in found.places.items()}
    result = _flat(values, data, index, "intervals")
    return described(result, units="s", long_name="time since the event before")


@recorded
def onset_values(data: xr.DataArray, traces: xr.DataArray) -> xr.DataArray:
    """Values of traces at the onsets of events; lazy events and traces are computed.

    Parameters
    ----------
    data : DataArray
        Events, boolean ``(neuron, time)``. Those without a neuron or a channel count for each
        one of the traces.
    traces : DataArray
        Traces of the same neurons and times.

    Returns
    -------
    DataArray
        One value for each ``event``, in the order of the neurons and times, in the units and of
        the dtype of ``traces``; ``neuron``, ``time``, ``frame`` and whatever else the traces
        tell of an event are coordinates.

    Raises
    ------
    ArgumentError
        If the events are no raster of these neurons and times.

    Examples
    --------
    >>> import calscipy as cs
    >>> traces = cs.from_numpy(np.arange(6.0).reshape(2, 3), frame_rate=2)
    >>> onset_values(traces % 3 == 1, traces).values.tolist()
    [1.0, 4.0]
    """
    measured, raster = computed_together(traces, data, "onset_values")
    values = measured.values[raster.values]
    values = values.astype(values.dtype.newbyteorder("="), copy=False)
    result = _flat(values, measured, list_events(raster).places, "traces")
    name = traces.attrs.get("long_name", "fluorescence")
    return described(
        result.rename("onset_values"),
        units=traces.attrs.get("units", "1"),
        long_name=f"{name}, at the onsets of events",
    )


def _flat(values: np.ndarray, data: xr.DataArray, index: Any, name: str) -> xr.DataArray:
    """Label one value per event."""
    return xr.DataArray(values, event_coords(data, index), (model.EVENT,), name)
