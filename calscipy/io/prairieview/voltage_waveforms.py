"""The waveforms of voltage outputs, made from their parameters."""

from __future__ import annotations

import math
from typing import Literal, get_args

import dask.array as da
import numpy as np
import xarray as xr

from calscipy import model
from calscipy.errors import ArgumentError
from calscipy.io.prairieview.voltage import SIGNAL, UNITS
from calscipy.io.prairieview.voltage_output import OutputExperiment, UnknownComponent, Waveform
from calscipy.options import get_option

MAX_STEPS = 1_000_000  # changes of one waveform
MAX_SAMPLES = 2**27  # of each waveform

Unit = Literal["V", "user"]


def synthesize(
    experiment: OutputExperiment,
    duration: float | None = None,
    *,
    start: float = 0.0,
    units: Unit = "V",
) -> xr.DataArray:
    """Make the waveforms that an output experiment plays, lazily.

    Parameters
    ----------
    experiment : OutputExperiment
        As read by :func:`read_voltage_output`.
    duration : float, optional
        Length in s; by default that of the longest waveform. At its end a waveform stays at the
        potential that it has then, since the file does not say what follows.
    start : float, default 0.0
        Time of the first sample in s.
    units : {"V", "user"}, default "V"
        Volts at the output, or the units of the device behind it:
        ``(V + voltage_offset) * scale + scale_offset``.

    Returns
    -------
    DataArray
        ``(signal, time)``, float64 and lazy, of the waveforms that have components, those that
        were not played too: ``enabled(signal)`` tells. NaN from an unknown component on.
        ``units(signal)`` are those of the values, ``line(signal)`` is the analog output.

    Raises
    ------
    ArgumentError
        If there is nothing to play, or too much of it.

    Examples
    --------
    >>> from calscipy.io.prairieview.voltage_output import PulseTrain
    >>> train = PulseTrain("p", 2, 1.0, 2.0, 5.0, 0.0, 0.0, 1.0, 1, 0.0)
    >>> wave = Waveform("LED", True, 0, "V", 1.0, 0.0, 0.0, (train,))
    >>> played = synthesize(OutputExperiment("test", 1000.0, (wave,), {}))
    >>> played.values.tolist()
    [[0.0, 5.0, 0.0, 0.0, 5.0]]
    """
    if units not in get_args(Unit):
        raise ArgumentError(f"units must be one of {get_args(Unit)}, got {units!r}")
    waveforms = [waveform for waveform in experiment.waveforms if waveform.components]
    if not waveforms:
        raise ArgumentError(
            f"synthesize: no waveform of {experiment.name!r} has any component, so nothing is "
            "played."
        )
    steps = [_steps(waveform) for waveform in waveforms]
    seconds = max(float(ends[-1]) for ends, _ in steps) / 1000.0 if duration is None else duration
    if not (math.isfinite(seconds) and seconds >= 0):
        raise ArgumentError(f"synthesize needs duration in seconds, 0 or more, got {duration!r}")
    samples = round(seconds * experiment.rate)
    if not 0 < samples <= MAX_SAMPLES:
        raise ArgumentError(
            f"synthesize: {seconds:g} s at {experiment.rate:g} Hz are {samples} samples; 1 to "
            f"{MAX_SAMPLES} can be made. Give another duration= in seconds."
        )
    rows = []
    for waveform, (ends, values) in zip(waveforms, steps, strict=True):
        if units == "user":
            values = (values + waveform.voltage_offset) * waveform.scale + waveform.scale_offset
        rows.append(_lazy(np.rint(ends / 1000.0 * experiment.rate), values, samples))
    times = xr.Variable(
        model.TIME,
        start + np.arange(samples) / experiment.rate,
        {"units": "s", "long_name": "time"},
    )
    unit = [waveform.units if units == "user" else "V" for waveform in waveforms]
    coords = {
        SIGNAL: (SIGNAL, [waveform.name for waveform in waveforms]),
        UNITS: (SIGNAL, unit),
        "enabled": (SIGNAL, [waveform.enabled for waveform in waveforms]),
        "line": (SIGNAL, [waveform.line for waveform in waveforms]),
        model.TIME: (model.TIME, times, {"units": "s", "long_name": "time"}),
    }
    attrs = {"long_name": f"voltage output {experiment.name}".strip()}
    if len(set(unit)) == 1:
        attrs[UNITS] = unit[0]
    return xr.DataArray(da.stack(rows), coords, (SIGNAL, model.TIME), "voltage_output", attrs)


def _steps(waveform: Waveform) -> tuple[np.ndarray, np.ndarray]:
    """Return when each potential ends in ms, and the potentials; the last one stays."""
    ends, values = [0.0], [0.0]
    last = math.nan
    for part in waveform.components:
        if isinstance(part, UnknownComponent):
            last = math.nan
            break
        if len(values) + part.steps > MAX_STEPS:
            raise ArgumentError(
                f"synthesize: the waveform {waveform.name!r} has over {MAX_STEPS} pulses, which "
                "is taken for damage of its file."
            )
        for length, value in part.pieces():
            ends.append(ends[-1] + length)
            values.append(value)
        last = part.after
    return np.array(ends), np.array([*values, last])


def _lazy(ends: np.ndarray, values: np.ndarray, samples: int) -> da.Array:
    """Make one waveform: ``values[k]`` up to the sample ``ends[k]``."""
    places = da.arange(samples, chunks=max(1, get_option("chunk_bytes") // 8))
    return places.map_blocks(_stairs, ends, values, dtype=np.float64)


def _stairs(places: np.ndarray, ends: np.ndarray, values: np.ndarray) -> np.ndarray:
    return values[np.searchsorted(ends, places, side="right")]
