"""Interactive figures (``CalSciPy.interactive_visuals``).

They need the extra ``plot``. Where 0.3.5 opened a window of Qt, a notebook shows what these
functions return; ``.serve(open_browser=True)`` shows it in a browser, and ``.save_html(path)``
writes a page that needs no network.
"""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
import xarray as xr

from calscipy import model
from calscipy.compat._common import labelled
from calscipy.kernels.event_lists import as_events, event_raster
from calscipy.kernels.frame_numbers import trials_by_label


def plot_spikes(
    spike_prob: np.ndarray | None = None,
    spike_times: np.ndarray | None = None,
    traces: np.ndarray | None = None,
    frame_rate: float | None = None,
    y_label: str = "f/f0",
) -> Any:
    """Compare inferred spikes with the traces, neuron by neuron.

    Now: ``cs.plotting.interactive.view_spikes(spikes=events, traces=traces)``

    Parameters
    ----------
    spike_prob : ndarray, shape (neurons, frames), optional
        Spike probability of each frame.
    spike_times : ndarray, shape (neurons, frames), or one list of frames for each neuron, optional
        Spikes: a raster in which they are not 0, or their frames.
    traces : ndarray, shape (neurons, frames), optional
        Traces.
    frame_rate : float, optional
        Frames per second; times count frames without it.
    y_label : str, default "f/f0"
        What the traces are called.

    Returns
    -------
    View
        See `calscipy.plotting.interactive.view_spikes`. 0.3.5 returned nothing.
    """
    from calscipy.plotting.interactive import view_spikes

    named = {"probability": (spike_prob, "spike probability"), "traces": (traces, y_label)}
    given = {
        key: _named(array, frame_rate, name)
        for key, (array, name) in named.items()
        if array is not None
    }
    if spike_times is not None:
        raster = spike_times
        if not (isinstance(raster, np.ndarray) and raster.ndim == 2):
            events = as_events(spike_times)
            last = int(events.frames.max(initial=-1)) + 1
            samples = max([last, *(array.sizes[model.TIME] for array in given.values())])
            raster = event_raster(events, samples=samples)
        given["spikes"] = _named(raster != 0, frame_rate, "spikes")
    return view_spikes(**given)  # type: ignore[arg-type]


def plot_traces(
    traces: np.ndarray,
    frame_rate: float | None = None,
    y_label: str = "f/f0",
    mode: Literal["overlay", "stacked"] = "overlay",
) -> Any:
    """Flip through neurons with a slider or the keys.

    Now: ``traces.cs.plot(interactive=True)``

    Parameters
    ----------
    traces : ndarray, shape (neurons, frames), or a list of them
        Traces; several data sets of the same neurons are drawn together.
    frame_rate : float, optional
        Frames per second; times count frames without it.
    y_label : str, default "f/f0"
        What the traces are called.
    mode : {"overlay", "stacked"}, default "overlay"
        Several data sets in one panel, or in panels below each other.

    Returns
    -------
    View
        See `calscipy.plotting.interactive.view_traces`. 0.3.5 returned nothing.
    """
    from calscipy.plotting.interactive import view_traces

    sets = traces if isinstance(traces, list | tuple) else [traces]
    return view_traces(*(_named(one, frame_rate, y_label) for one in sets), mode=mode)


def plot_trials(
    data: np.ndarray,
    trials: np.ndarray,
    trial_conditions: Any,
    bin_duration: float | None = None,
    y_label: str = "Firing Rate (Hz)",
) -> Any:
    """Flip through the trials of neurons by condition.

    Now: ``trials.cs.plot(interactive=True)``

    Parameters
    ----------
    data : ndarray, shape (trials, neurons, bins) or (neurons, bins)
        Trials, or rates of the whole recording.
    trials : ndarray
        Numbers of the trials; for rates of the whole recording that of every bin, with as many
        bins for each trial.
    trial_conditions : sequence or None
        Condition of each trial.
    bin_duration : float, optional
        Length of a bin in s; times count bins without it.
    y_label : str, default "Firing Rate (Hz)"
        What the data are called.

    Returns
    -------
    View
        See `calscipy.plotting.interactive.view_trials`. 0.3.5 returned nothing.
    """
    from calscipy.plotting.interactive import view_trials

    tensor, numbers = np.asarray(data), np.asarray(trials)
    if tensor.ndim == 2:
        tensor, numbers = trials_by_label(tensor, numbers)
    times = np.arange(tensor.shape[-1]) * (bin_duration or 1.0)
    coords: dict[str, Any] = {model.TRIAL: numbers, model.TIME: times}
    if trial_conditions is not None:
        coords["condition"] = (model.TRIAL, np.asarray(trial_conditions))
    words = {"long_name": y_label, "units": "1"}
    shown = xr.DataArray(tensor, coords, (model.TRIAL, model.NEURON, model.TIME), attrs=words)
    return view_trials(shown, by=None if trial_conditions is None else "condition")


def _named(array: np.ndarray, frame_rate: float | None, name: str) -> xr.DataArray:
    return labelled(array, frame_rate or 1.0).assign_attrs(long_name=name, units="1")
