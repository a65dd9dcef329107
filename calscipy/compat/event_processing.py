"""Events, rates, bins and waveforms (``CalSciPy.event_processing``)."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import pandas as pd

from calscipy.compat._common import by_rows, given_back, note
from calscipy.kernels import event_lists, rates, waveforms
from calscipy.kernels.baseline import as_float
from calscipy.kernels.bin_samples import LastBin, bin_samples
from calscipy.kernels.events import derivative_events
from calscipy.kernels.scale import scale_rows


def bin_data(
    data: pd.DataFrame | np.ndarray | Iterable[Any],
    bin_length: int,
    fun: Callable[..., Any],
    *,
    last_bin: LastBin = "keep",
    axis: int | None = None,
) -> pd.DataFrame | np.ndarray:
    """Reduce bins of neighbouring samples to one number each.

    Now: ``traces.cs.bin(samples=3, reduce="max", partial="drop")``

    Parameters
    ----------
    data : DataFrame, Series, ndarray or iterable
        Samples along the index of a table, along the last axis of an array.
    bin_length : int
        Samples of a bin.
    fun : callable
        Makes one number of the samples of a bin, such as ``numpy.mean``. One with a parameter
        ``axis`` gets many bins at once.
    last_bin : {"keep", "drop", "join"}, default "keep"
        What becomes of samples left over at the end: a bin of their own, nothing, or, as in
        0.3.5, a part of the bin before.
    axis : int, optional
        Axis of an array along which its samples lie: 0 is the rule of 0.3.5.

    Returns
    -------
    DataFrame, Series or ndarray
        Of the kind that was given. The index of a table has the label of the first sample of each
        bin.

    Examples
    --------
    >>> bin_data(np.arange(6), 3, np.sum).tolist()
    [3, 12]
    >>> bin_data(np.arange(7), 3, np.sum, last_bin="join").tolist()
    [3, 18]
    """
    if isinstance(data, pd.Series):
        return bin_data(data.to_frame(), bin_length, fun, last_bin=last_bin).iloc[:, 0]  # type: ignore[union-attr, return-value]
    table = isinstance(data, pd.DataFrame)
    array = np.asarray(data if hasattr(data, "__len__") else list(data))
    if array.ndim > 1 and axis is None and not table:
        note("bin_data bins the last axis of arrays; 0.3.5 binned the first (axis=0)")
    along = 0 if table else -1 if axis is None else axis
    rows = np.moveaxis(array, along, -1)
    made, starts = bin_samples(rows, samples=bin_length, function=fun, last=last_bin)
    if last_bin == "keep" and rows.shape[-1] % bin_length:
        note("bin_data makes a bin of samples left over; 0.3.5 did not (last_bin='join')")
    binned = np.moveaxis(made, -1, along)
    return pd.DataFrame(binned, data.index[starts], data.columns) if table else binned  # type: ignore[union-attr]


def calculate_firing_rates(
    spike_probability_matrix: np.ndarray, frame_rate: float = 30.0, in_place: bool = False
) -> np.ndarray:
    """Turn the spikes expected in each frame into spikes per second.

    Now: ``probabilities.cs.firing_rates()``

    Parameters
    ----------
    spike_probability_matrix : ndarray, shape (neurons, frames)
        Spike probability, or expected spikes, of each frame.
    frame_rate : float, default 30
        Frames per second.
    in_place : bool, default False
        Write the result into the array, which must hold floating-point numbers.

    Returns
    -------
    ndarray, shape (neurons, frames)
        Rates in Hz: each value times the frame rate. The documentation of 0.3.5 called the result
        binary, which it was not.

    Examples
    --------
    >>> calculate_firing_rates(np.array([[0.0, 0.5]])).tolist()
    [[0.0, 15.0]]
    """
    f = given_back(as_float(spike_probability_matrix), spike_probability_matrix, in_place)
    return np.multiply(f, frame_rate, out=f if in_place else None)


def calculate_mean_firing_rates(firing_matrix: np.ndarray) -> np.ndarray:
    """Mean of the samples of each neuron that are not NaN.

    Now: ``rates.cs.mean_rates()``

    Parameters
    ----------
    firing_matrix : ndarray, shape (neurons, frames)
        Spikes or rates.

    Returns
    -------
    ndarray, shape (neurons,)

    Examples
    --------
    >>> calculate_mean_firing_rates(np.array([[1.0, np.nan, 2.0]])).tolist()
    [1.5]
    """
    return rates.mean_rates(firing_matrix)


def collect_waveforms(
    traces: np.ndarray, event_indices: Iterable[Iterable[int]], pre: int = 150, post: int = 450
) -> tuple[np.ndarray, ...]:
    """Cut out the trace around each event.

    Now: ``traces.cs.waveforms(events, pre=5, post=15)``

    Parameters
    ----------
    traces : ndarray, shape (neurons, frames)
        Fluorescence.
    event_indices : iterable of iterable of int
        Frames of the events of each neuron; there may be none.
    pre, post : int, default 150 and 450
        Frames before and after an event.

    Returns
    -------
    tuple of ndarray, shape (events, pre + 1 + post)
        One for each neuron, with the event in the column ``pre``. NaN where a waveform leaves the
        recording: 0.3.5 moved the waveforms of early events to the left instead.

    Raises
    ------
    ArgumentError
        Naming the neurons with events outside of the recording.

    Examples
    --------
    >>> [found.tolist() for found in collect_waveforms(np.arange(4.0)[None], [[1, 3]], 1, 1)]
    [[[0.0, 1.0, 2.0], [2.0, 3.0, nan]]]
    """
    f, events = as_float(traces), event_lists.as_events(event_indices)
    event_lists.require_inside(events, *f.shape)
    if events.frames.min(initial=pre) < pre:
        note("collect_waveforms does not shift waveforms of early events, as 0.3.5 did")
    ends = np.broadcast_to([[0], [f.shape[1]]], (2, events.frames.size))
    places = waveforms.Places(events.rows, events.frames, *ends)
    return events.split(waveforms.cut_windows(f, places, before=pre, after=post, dtype=f.dtype))


def convert_tau(tau: float, dt: float) -> float:
    """Turn the share that a decay leaves from sample to sample into a time constant.

    Now: ``cs.convert_tau(decay_factor=0.9, frame_rate=10.0)``

    Parameters
    ----------
    tau : float
        Share that is left after one time step; an array gives an array.
    dt : float
        Time step in s.

    Returns
    -------
    float
        Time constant in s, ``-dt / ln(tau)``: infinite from 1 on, NaN for 0 and less, where 0.3.5
        gave ``-inf`` and 0.

    Examples
    --------
    >>> round(convert_tau(0.9, 0.1), 3)
    0.949
    """
    found = rates.time_constant(tau, frame_rate=1 / dt)
    return found if found.ndim else found.item()  # type: ignore[return-value]


def get_event_onset_intensities(
    traces: np.ndarray, event_indices: Iterable[Iterable[int]]
) -> tuple[np.ndarray, ...]:
    """Look up the values of the traces in the frames of events.

    Now: ``events.cs.onset_values(traces)``

    Parameters
    ----------
    traces : ndarray, shape (neurons, frames)
        Fluorescence.
    event_indices : iterable of iterable of int
        Frames of the events of each neuron; there may be none.

    Returns
    -------
    tuple of ndarray
        Values of each neuron.

    Raises
    ------
    ArgumentError
        Naming the neurons with events outside of the recording; 0.3.5 counted negative ones from
        the end.

    Examples
    --------
    >>> get_event_onset_intensities(np.array([[5, 6, 7]]), [[0, 2]])
    (array([5, 7]),)
    """
    events = event_lists.as_events(event_indices)
    return event_lists.values_at_events(np.asarray(traces), events)


def get_inter_event_intervals(
    event_indices: Iterable[Iterable[int]], frame_rate: float = 30.0
) -> tuple[np.ndarray, ...]:
    """Measure the times from each event to the next one.

    Now: ``events.cs.intervals()``

    Parameters
    ----------
    event_indices : iterable of iterable of int
        Frames of the events of each neuron.
    frame_rate : float, default 30
        Frames per second.

    Returns
    -------
    tuple of ndarray
        In s; empty for neurons with fewer than two events.

    Examples
    --------
    >>> [some.tolist() for some in get_inter_event_intervals([[15, 30, 90], []])]
    [[0.5, 2.0], []]
    """
    events = event_lists.as_events(event_indices)
    return event_lists.event_intervals(events, frame_rate=frame_rate)


def get_num_events(event_indices: Iterable[Iterable[int]]) -> np.ndarray:
    """Count the events of each neuron.

    Now: ``events.cs.count()``

    Parameters
    ----------
    event_indices : iterable of iterable of int
        Frames of the events of each neuron.

    Returns
    -------
    ndarray of int, shape (neurons,)

    Examples
    --------
    >>> get_num_events([[15, 30, 90], []]).tolist()
    [3, 0]
    """
    return np.fromiter(map(len, event_indices), np.int64)  # type: ignore[arg-type]


def identify_events(
    traces: np.ndarray,
    timeout: int = 15,
    frame_rate: float = 30.0,
    smooth: bool = True,
    force_nonneg: bool = True,
) -> tuple[list[int], ...]:
    """Find peaks of the smoothed derivative that are above half of its standard deviation.

    Now: ``traces.cs.dfof().cs.events()``

    Parameters
    ----------
    traces : ndarray, shape (neurons, frames)
        Fluorescence. Integers are promoted, where 0.3.5 let differences of unsigned ones wrap.
    timeout : int, default 15
        Least distance of events in frames.
    frame_rate : float, default 30
        Frames per second. The Gaussian that smooths the derivative has a σ of 1 s.
    smooth, force_nonneg : bool, default True
        Whether to smooth the derivative, and to clip it at zero.

    Returns
    -------
    tuple of list of int
        Frames of the events of each neuron.

    Raises
    ------
    ArgumentError
        Naming the neurons that lack some of their samples.

    Notes
    -----
    This is the rule as documented. It finds about ten events in a minute of pure noise, joins
    events within a second, and reports them half a second early. ``events()`` has a stated rate
    of false positives and finds where a rise begins.

    Examples
    --------
    >>> trace = np.zeros(300)
    >>> trace[100:] = np.exp(-np.arange(200) / 20)
    >>> identify_events(trace[None], frame_rate=10.0)
    ([97],)
    """
    how = {"timeout": timeout, "frame_rate": frame_rate, "dtype": np.bool_}
    how |= {"smooth": smooth, "force_nonnegative": force_nonneg}
    raster = by_rows(traces, derivative_events, "identify_events", **how)
    return event_lists.raster_frames(np.atleast_2d(raster))


def normalize_firing_rates(
    firing_matrix: np.ndarray, in_place: bool = False, *, axis: int = -1
) -> np.ndarray:
    """Clip at zero and divide each neuron by its maximum.

    Now: ``rates.cs.normalize()``

    Parameters
    ----------
    firing_matrix : ndarray, shape (neurons, frames)
        Spikes or rates. NaN stay NaN.
    in_place : bool, default False
        Write the result into the array, which must hold floating-point numbers.
    axis : int, default -1
        Axis whose maximum becomes 1. 0.3.5 divided each frame by the maximum of all neurons: 0.

    Returns
    -------
    ndarray, shape (neurons, frames)
        From 0 to 1. Silent neurons (with ``axis=0``, silent frames) are 0.

    Examples
    --------
    >>> normalize_firing_rates(np.array([[1.0, -1.0, 4.0]])).tolist()
    [[0.25, 0.0, 1.0]]
    """
    matrix = np.asarray(firing_matrix)
    if axis == -1 and matrix.ndim > 1 and len(matrix) > 1:
        note("normalize_firing_rates works on each neuron; 0.3.5 did on each frame (axis=0)")
    found = np.moveaxis(rates.over_maximum(np.moveaxis(matrix, axis, -1)), -1, axis)
    return given_back(found, firing_matrix, in_place)


def StandardScaler(*args: Any, **kwargs: Any) -> Any:
    """Make a ``sklearn.preprocessing.StandardScaler``, importing scikit-learn at the first call."""
    from sklearn import preprocessing

    return preprocessing.StandardScaler(*args, **kwargs)


def scale_waveforms(
    waveforms: Iterable[np.ndarray], scaler: Callable[..., Any] = StandardScaler
) -> tuple[np.ndarray, ...]:
    """Bring waveforms to a common scale, each by itself, for comparisons across neurons.

    Now: ``traces.cs.waveforms(events, pre=5, post=15).cs.scale()``

    Parameters
    ----------
    waveforms : iterable of ndarray, shape (events, samples)
        Waveforms of each neuron. NaN stay NaN and do not count.
    scaler : callable, default sklearn.preprocessing.StandardScaler
        A class of scikit-learn's scalers, or a scaler.

    Returns
    -------
    tuple of ndarray, shape (events, samples)
        Of each neuron.

    Examples
    --------
    >>> from sklearn.preprocessing import MinMaxScaler
    >>> scale_waveforms([np.array([[1.0, 2.0, 3.0]])], MinMaxScaler)
    (array([[0. , 0.5, 1. ]]),)
    """
    made = scaler if hasattr(scaler, "fit_transform") and not isinstance(scaler, type) else scaler()
    return tuple(map(functools.partial(scale_rows, scaler=made), map(as_float, waveforms)))
