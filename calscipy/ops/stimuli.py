"""Stimuli on the time axis: onsets from recorded triggers, and the samples that they spoil."""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import ArrayLike

from calscipy import model
from calscipy.errors import ArgumentError, first_few
from calscipy.history import append, described, history_line
from calscipy.ops._frames import is_number

_DURATION, _DELAY = "duration", "delay"
_TRIGGER, _PULSES = "trigger_number", "trigger_count"
_NO_TRIGGER = -1


def stimulus_onsets(
    stimulus: xr.Dataset, *, triggers: ArrayLike | xr.DataArray, selection: str | None = None
) -> xr.Dataset:
    """Fill in the onsets of stimuli that waited for a trigger.

    Parameters
    ----------
    stimulus : Dataset
        Stimuli, as a session's ``stimulus`` group has them.
    triggers : array_like or DataArray, shape (triggers,)
        When the triggers came in s, on the clock of the stimuli and increasing: for instance
        ``onsets`` of the voltage signal that recorded them. One for each start of the stimuli; or,
        where a start consists of several pulses (``trigger_count``), every pulse, of which the
        last one of each start counts.
    selection : str, optional
        The input of the trigger, such as ``"PFI0"``, whose stimuli are filled in. All by default.

    Returns
    -------
    Dataset
        The stimuli with the onsets that their triggers give, ``onset = trigger + delay``. Others
        are unchanged.

    Raises
    ------
    ArgumentError
        If no stimulus waits for such a trigger, or if their number is another one.

    Examples
    --------
    >>> from calscipy.io.photostimulation import (
    ...     GalvoPointElement,
    ...     MarkPointElement,
    ...     MarkPointSeriesElements,
    ... )
    >>> from calscipy.io.photostimulation.stimuli import stimulus_table
    >>> visit = GalvoPointElement(initial_delay=10, duration=20)
    >>> step = MarkPointElement(points=[visit], repetitions=2, trigger_frequency="EveryRepetition")
    >>> table = stimulus_table(MarkPointSeriesElements(marks=[step]))
    >>> stimulus_onsets(table, triggers=[3.0, 7.5]).onset.values.tolist()
    [3.01, 7.51]
    """
    _require_stimuli(stimulus, (_DELAY, _TRIGGER, _PULSES), "stimulus_onsets")
    times = _trigger_times(triggers)
    number = stimulus[_TRIGGER].values
    waiting = number != _NO_TRIGGER
    if selection is not None:
        waiting &= stimulus["trigger"].values == selection
    if not waiting.any():
        inputs = sorted(set(stimulus["trigger"].values[number != _NO_TRIGGER].tolist()))
        raise ArgumentError(
            f"stimulus_onsets: no stimulus waits for the trigger {selection or 'of any input'}; "
            f"there are stimuli that wait for {inputs or 'none'}. Their onsets are known without "
            "it, or selection= names another input."
        )
    starts, first, which = np.unique(number[waiting], return_index=True, return_inverse=True)
    pulses = stimulus[_PULSES].values[waiting][first]
    if times.size == pulses.sum():
        times = times[np.cumsum(pulses) - 1]
    elif times.size != starts.size:
        of_pulses = "" if pulses.sum() == starts.size else f" (of {pulses.sum()} pulses in all)"
        raise ArgumentError(
            f"stimulus_onsets: the stimuli wait for {starts.size} triggers{of_pulses}, but "
            f"{times.size} times are given. Take the triggers of these stimuli alone, check the "
            "threshold that found them, or leave out the stimuli that were not played."
        )
    onset = stimulus[model.ONSET].values.astype(np.float64)
    onset[waiting] = times[which] + stimulus[_DELAY].values[waiting]
    filled = stimulus[model.ONSET].copy(data=onset)
    line = history_line("stimulus_onsets", {"triggers": triggers, "selection": selection})
    result = stimulus.assign({model.ONSET: filled})
    return result.assign_attrs(history=append(stimulus.attrs.get("history"), line))


def stimulus_mask(
    data: xr.DataArray, stimulus: xr.Dataset, *, before: float = 0.0, after: float = 0.0
) -> xr.DataArray:
    """Mark the samples during which something was stimulated, where artefacts are.

    Parameters
    ----------
    data : DataArray
        Traces, events or a movie, whose times are the starts of the samples.
    stimulus : Dataset
        Stimuli with ``onset`` and ``duration`` in s, on the clock of the data.
    before, after : float, default 0
        How long before its onset and after its end a stimulus spoils samples, in s.

    Returns
    -------
    DataArray
        Boolean, along the time axis of the data with its coordinates: True where a sample, which
        lasts until the next one, but one usual step at most, overlaps with a stimulus.
        ``traces.where(~mask)`` takes these samples out, and ``dfof`` and ``baseline`` pass over
        what is NaN; for a movie, ``movie.assign_coords(valid=...)`` says so of whole frames.

    Raises
    ------
    ArgumentError
        If onsets or durations are not known, or a length is negative.
    TimeAxisError
        If the data have no times.

    Examples
    --------
    >>> traces = cs.from_numpy(np.ones((1, 6)), frame_rate=10)
    >>> stimuli = xr.Dataset({"onset": ("stimulus", [0.25]), "duration": ("stimulus", [0.1])})
    >>> stimulus_mask(traces, stimuli).values.astype(int).tolist()
    [0, 0, 1, 1, 0, 0]
    """
    _require_stimuli(stimulus, (_DURATION,), "stimulus_mask")
    for name, value in (("before", before), ("after", after)):
        if not (is_number(value) and np.isfinite(value) and value >= 0):
            raise ArgumentError(f"stimulus_mask needs {name} in seconds, 0 or more, got {value!r}")
    onset, duration = (stimulus[name].values for name in (model.ONSET, _DURATION))
    unknown = ~(np.isfinite(onset) & np.isfinite(duration))
    if unknown.any():
        raise ArgumentError(
            f"stimulus_mask: the times of the stimuli {first_few(np.flatnonzero(unknown).tolist())}"
            " are not known. Fill them in with stimulus_onsets(stimulus, triggers=...), or leave "
            "these stimuli out."
        )
    times = model.seconds(data, "stimulus_mask")
    ends = _ends(data, times)
    order = np.argsort(onset)
    firsts = onset[order] - before
    # When the last of all stimuli ends that begin no later than this one.
    lasts = np.maximum.accumulate((onset + duration)[order] + after)
    lasts = np.maximum(lasts, np.nextafter(firsts, np.inf))  # one without length has its sample
    begun = np.searchsorted(firsts, ends, side="left")
    spoiled = (begun > 0) & (np.append(lasts, -np.inf)[begun - 1] > times)
    dim = model.time_dim(data, "stimulus_mask")
    coords = {
        name: xr.Variable(dim, model.coordinate(data, str(name)), coord.attrs)
        for name, coord in data.coords.items()
        if coord.dims == (dim,)
    }
    mask = described(
        xr.DataArray(spoiled, coords, (dim,), name="stimulus_mask"),
        units="1",
        long_name="sample during a stimulus",
    )
    line = history_line("stimulus_mask", {"before": before, "after": after})
    return mask.assign_attrs(history=line)


def _ends(data: xr.DataArray, times: np.ndarray) -> np.ndarray:
    """Return the ends of samples: the starts of the next ones, but one usual step at most."""
    if times.size < 2:
        return times
    step = 1 / model.frame_rate(data, "stimulus_mask")
    following = np.append(times[1:], np.inf)
    later = np.where(following > times, following, np.inf)  # times can go back at a new epoch
    return np.minimum(later, times + step)


def _require_stimuli(stimulus: Any, names: tuple[str, ...], verb: str) -> None:
    wanted = (model.ONSET, *names)
    found = sorted(map(str, stimulus.variables)) if isinstance(stimulus, xr.Dataset) else None
    if found is None or not all(
        name in found and stimulus[name].dims == (model.STIMULUS,) for name in wanted
    ):
        raise ArgumentError(
            f"{verb} needs a Dataset of stimuli with {list(wanted)} along {model.STIMULUS!r}, got "
            f"{type(stimulus).__name__ if found is None else found}. It is the group "
            f"{model.STIMULUS!r} of a session."
        )


def _trigger_times(triggers: Any) -> np.ndarray:
    times = np.asarray(triggers)
    if times.ndim != 1 or times.dtype.kind not in "iuf" or not np.isfinite(times).all():
        raise ArgumentError(
            "stimulus_onsets needs triggers as finite numbers in s along one dimension, got an "
            f"array of {times.dtype} and the shape {times.shape}"
        )
    if (np.diff(times) <= 0).any():
        raise ArgumentError("stimulus_onsets needs triggers in increasing order: sort them.")
    return times.astype(np.float64)
