"""Onsets of calcium transients."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

import numpy as np
import xarray as xr

from calscipy import model
from calscipy.errors import ArgumentError
from calscipy.history import described, of_another_kind, recorded
from calscipy.kernels import events as kernels
from calscipy.kernels.matched_filters import to_samples
from calscipy.ops._frames import LONGEST_WINDOW, is_number, require_flags, require_seconds
from calscipy.ops._time import along_time, chosen

EventMethod = Literal["matched", "derivative"]

LONGEST = 60.0  # s of a rise or decay; what is longer is in ms, and its filter slow to make

_FLAGS = {"smooth", "force_nonnegative"}
_ARGUMENTS: dict[str, dict[str, Any]] = {
    "matched": {"rise": 0.05, "decay": 0.5, "false_positives": 0.1},
    "derivative": {"timeout": 0.5, "smooth": True, "force_nonnegative": True},
}


@recorded
def events(
    data: xr.DataArray,
    *,
    method: EventMethod = "matched",
    rise: float | None = None,
    decay: float | None = None,
    false_positives: float | None = None,
    timeout: float | None = None,
    smooth: bool | None = None,
    force_nonnegative: bool | None = None,
) -> xr.DataArray:
    """Find the onsets of calcium transients.

    Parameters
    ----------
    data : DataArray
        Traces ``(neuron, time)``, best as ΔF/F. Evenly sampled; epochs are handled one by one.
    method : {"matched", "derivative"}, default "matched"
        ``"matched"``: a filter matched to the shape of a transient, with a threshold that
        follows from the noise and the false-positive rate; NaN samples are left out.
        ``"derivative"``: the rule of CalSciPy 0.3.5, peaks of the smoothed first derivative
        above half its standard deviation; it refuses NaN and reacts to noise.
    rise, decay : float, optional
        ``"matched"``: time constants of a transient in s; 0.05 and 0.5.
    false_positives : float, optional
        ``"matched"``: events that pure noise may give in a minute; 0.1.
    timeout : float, optional
        ``"derivative"``: smallest distance between events in s; 0.5.
    smooth, force_nonnegative : bool, optional
        ``"derivative"``: smooth the derivative, clip it at zero; both True.

    Returns
    -------
    DataArray
        Boolean ``(neuron, time)``, True at the sample where a rise begins.

    Examples
    --------
    >>> import calscipy as cs
    >>> t = np.arange(300) / 30 - 5
    >>> shape = np.where(t > 0, (1 - np.exp(-t / 0.05)) * np.exp(-t / 0.5), 0)
    >>> noise = np.random.default_rng(0).normal(0, 0.05, 300)
    >>> traces = cs.from_numpy((shape + noise)[None], frame_rate=30, units="1")
    >>> found = events(traces, method="matched")
    >>> found.time[found[0]].values.tolist()
    [5.0]
    """
    given = {
        "rise": rise,
        "decay": decay,
        "false_positives": false_positives,
        "timeout": timeout,
        "smooth": smooth,
        "force_nonnegative": force_nonnegative,
    }
    arguments = chosen("events", method, given, _ARGUMENTS)
    model.require_dims(data, (model.TIME,), "events")
    rate = model.regular_rate(data, "events")
    numbers = dict(arguments)
    for name in {"rise", "decay", "false_positives", "timeout"} & set(numbers):
        value = numbers[name]
        if not (is_number(value) and np.isfinite(value) and value > 0):
            raise ArgumentError(f"events needs {name} > 0 as one number, got {value!r}")
    require_flags("events", **{name: numbers[name] for name in _FLAGS & set(numbers)})
    if "timeout" in numbers:
        require_seconds(numbers["timeout"], LONGEST_WINDOW, "events", "timeout")
    for name in {"rise", "decay"} & set(numbers):
        require_seconds(numbers[name], LONGEST, "events", name)
    kernel: Callable[..., np.ndarray] = kernels.matched_events
    if method == "derivative":
        kernel = kernels.derivative_events
        numbers["timeout"] = max(1, to_samples(numbers["timeout"], rate))
    result = along_time(
        data, kernel, verb="events", dtype=np.bool_, frame_rate=rate, **numbers
    ).rename(model.EVENTS)
    result = described(result, units="1", long_name="event onsets", **arguments)
    return of_another_kind(result)
