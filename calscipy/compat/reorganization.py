"""Rasters, trials and factorised traces (``CalSciPy.reorganization``)."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from calscipy.errors import ArgumentError
from calscipy.kernels.event_lists import as_events, event_raster
from calscipy.kernels.factors import joined_component


def generate_raster(
    event_frames: Iterable[Iterable[int]], total_frames: int | None = None
) -> np.ndarray:
    """Make a raster from lists of frames.

    Now: ``cs.events_from_frames(event_frames, like=traces)``

    Parameters
    ----------
    event_frames : iterable of iterable of int
        Frames of the events of each neuron; there may be none.
    total_frames : int, optional
        Frames of the raster; up to the last event by default.

    Returns
    -------
    ndarray of int32, shape (neurons, total_frames)
        Events in each frame. 0.3.5 counted several in one frame as one.

    Raises
    ------
    ArgumentError
        Naming the neurons with events outside of the frames; 0.3.5 counted negative ones from the
        end.

    Examples
    --------
    >>> generate_raster([[1, 3], []], 5).tolist()
    [[0, 1, 0, 1, 0], [0, 0, 0, 0, 0]]
    """
    events = as_events(event_frames)
    last = events.frames.max(initial=-1) + 1
    return event_raster(events, samples=int(last) if total_frames is None else total_frames)


def generate_tensor(traces_as_matrix: np.ndarray, chunk_size: int) -> np.ndarray:
    """Cut traces into consecutive trials.

    Now: ``traces.cs.to_trials(length=1.0)``

    Parameters
    ----------
    traces_as_matrix : ndarray, shape (neurons, frames)
        Traces.
    chunk_size : int
        Frames of a trial, of which the traces hold a whole number.

    Returns
    -------
    ndarray, shape (trials, neurons, chunk_size)

    Raises
    ------
    ArgumentError
        If frames are left over.

    Examples
    --------
    >>> generate_tensor(np.arange(8).reshape(2, 4), chunk_size=2).tolist()
    [[[0, 1], [4, 5]], [[2, 3], [6, 7]]]
    """
    traces = np.asarray(traces_as_matrix)
    if traces.ndim != 2 or chunk_size < 1 or traces.shape[1] % chunk_size:
        raise ArgumentError(
            f"generate_tensor cannot cut traces of the shape {traces.shape} into trials of "
            f"{chunk_size} frames. Leave out the frames that are over."
        )
    trials = traces.reshape(len(traces), traces.shape[1] // chunk_size, chunk_size)
    return np.array(trials.transpose(1, 0, 2), order="C")


def merge_factorized_matrices(
    factorized_traces: np.ndarray, components: int | Iterable[int] = 0
) -> np.ndarray:
    """Join traces that were factorised trial by trial.

    Now: ``cs.join_components(factors, frame_rate=30, components=0)``

    Parameters
    ----------
    factorized_traces : ndarray of objects or nested sequence, shape (neurons, trials)
        Each an array ``(components, frames)``.
    components : int or iterable of int, default 0
        Which ones to join.

    Returns
    -------
    ndarray, shape (neurons, frames) or (components, neurons, frames)
        Numbers, where 0.3.5 returned objects. Where a trial has fewer frames in some neurons, what
        they lack is NaN.

    Raises
    ------
    ArgumentError
        Naming the neurons without the component, or with fewer trials than the first one.

    Examples
    --------
    >>> merge_factorized_matrices([[np.array([[1, 2], [5, 6]]), np.array([[3], [7]])]], 1).tolist()
    [[5, 6, 7]]
    """
    if isinstance(components, Iterable):
        return np.stack([joined_component(factorized_traces, one) for one in components])
    return joined_component(factorized_traces, components)


def merge_tensor(traces_as_tensor: np.ndarray) -> np.ndarray:
    """Join trials to traces.

    Now: ``trials.cs.join_trials()``

    Parameters
    ----------
    traces_as_tensor : ndarray, shape (trials, neurons, frames)
        Trials, one after the other.

    Returns
    -------
    ndarray, shape (neurons, trials * frames)

    Examples
    --------
    >>> merge_tensor(np.arange(8).reshape(2, 2, 2)).tolist()
    [[0, 1, 4, 5], [2, 3, 6, 7]]
    """
    tensor = np.asarray(traces_as_tensor)
    if tensor.ndim != 3 or not tensor.size:
        raise ArgumentError(
            "merge_tensor needs trials as an array (trials, neurons, frames), got the shape "
            f"{tensor.shape}."
        )
    return np.array(tensor.transpose(1, 0, 2), order="C").reshape(tensor.shape[1], -1)
