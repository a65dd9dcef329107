"""The trace around each event."""

from __future__ import annotations

import numpy as np
import xarray as xr

from calscipy import model
from calscipy.blocks.waveforms import around_events
from calscipy.errors import ArgumentError
from calscipy.history import described, recorded
from calscipy.kernels.waveforms import cut_windows
from calscipy.ops._event_lists import event_coords
from calscipy.ops._time import float_dtype
from calscipy.ops._windows import (
    as_rows,
    lag_coordinate,
    places_of,
    require_raster,
    require_same_times,
    row_numbers,
    window_samples,
)

WAVEFORMS = "waveforms"


@recorded
def waveforms(data: xr.DataArray, events: xr.DataArray, *, pre: float, post: float) -> xr.DataArray:
    """Cut out the trace around each event; a lazy raster of events is computed to count them.

    Parameters
    ----------
    data : DataArray
        Traces ``(neuron, time)``, evenly sampled. They stay lazy.
    events : DataArray
        Onsets, boolean, of the same neurons and times (:func:`events`). Events without a neuron
        or a channel count for each one of the data.
    pre, post : float
        How long before and after the onset a waveform reaches, in s, rounded to whole samples.

    Returns
    -------
    DataArray
        Waveforms ``(event, lag)`` in the units of ``data``, in the order of the neurons and of
        their onsets; float32 (float64 for float64 and for integers of over 16 bits). ``lag`` is
        the time after the onset in s, exactly 0 at the onset. Each event has the coordinates
        ``neuron``, ``time`` (of the onset, in s), ``frame`` (its sample, from 0) and whatever
        else the data tell of its neuron and its time. NaN where a waveform leaves the recording
        or the epoch of its event.

    Raises
    ------
    ArgumentError
        If the events are no raster of these neurons and times.

    Examples
    --------
    >>> import calscipy as cs
    >>> traces = cs.from_numpy(np.arange(8, dtype="uint16").reshape(2, 4), frame_rate=2)
    >>> onsets = (traces == 0) | (traces == 6)
    >>> found = waveforms(traces, onsets, pre=0.5, post=0.5)
    >>> found.values.tolist(), found.lag.values.tolist()
    ([[nan, 0.0, 1.0], [5.0, 6.0, 7.0]], [-0.5, 0.0, 0.5])
    >>> found.neuron.values.tolist(), found.time.values.tolist()
    ([0, 1], [0.0, 1.0])
    """
    model.require_dims(data, (model.TIME,), "waveforms")
    if data.dtype.kind not in "iuf":
        raise ArgumentError(f"waveforms needs numbers, got an array of {data.dtype}")
    rate = model.regular_rate(data, "waveforms")
    before, after = window_samples(pre, post, rate, "waveforms", "pre and post")
    raster = require_raster(data, events, "waveforms")
    require_same_times(data, raster, "waveforms")
    leading = raster.dims[:-1]
    found = dict(zip(raster.dims, np.nonzero(raster.values), strict=True))
    onset = found[model.TIME]
    row = row_numbers([found[dim] for dim in leading], raster.shape[:-1], onset.size)
    ordered = data.transpose(..., *raster.dims)
    lags = lag_coordinate(before, after, rate)
    values = around_events(
        as_rows(ordered.data, len(leading)),
        cut_windows,
        places_of(data, row, onset),
        lags=lags.size,
        dtype=float_dtype(data),
        per_event=True,
        before=before,
        after=after,
    )
    dims = (*ordered.dims[: -len(raster.dims)], model.EVENT, model.LAG)
    coords = event_coords(data, found) | {model.LAG: lags}
    name = data.attrs.get("long_name", "fluorescence")
    return described(
        xr.DataArray(values, coords, dims, name=WAVEFORMS),
        units=data.attrs.get("units", "1"),
        long_name=f"{name}, around events",
    )
