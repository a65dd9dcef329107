"""Firing rates, and the two ways to write down a decay."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import xarray as xr

from calscipy import model
from calscipy.errors import ArgumentError
from calscipy.history import described, recorded
from calscipy.kernels import rates as kernels
from calscipy.ops._reductions import reduce_time
from calscipy.ops._time import along_time

_PER_FRAME = ("1", "", "dimensionless", "count")  # units that numbers of spikes may have


@recorded
def firing_rates(probabilities: xr.DataArray) -> xr.DataArray:
    """Turn spike probabilities, or expected spikes, of each frame into rates in Hz.

    Each value is multiplied by the frame rate, which follows from ``time``.

    Parameters
    ----------
    probabilities : DataArray
        ``(neuron, time)``, evenly sampled: spikes expected in each frame.

    Returns
    -------
    DataArray
        Rates in Hz with the same dims and coordinates; float32 (float64 for float64 and for
        integers of over 16 bits). NaN stays NaN.

    Raises
    ------
    ArgumentError
        If the data have units other than those of a number. When computed, for negative values,
        naming the neurons.

    Examples
    --------
    >>> import calscipy as cs
    >>> spikes = cs.from_numpy(np.array([[0.0, 0.5, 1.2]]), frame_rate=30, units="1")
    >>> firing_rates(spikes).values.tolist()
    [[0.0, 15.0, 36.0]]
    """
    model.require_dims(probabilities, (model.TIME,), "firing_rates")
    units = probabilities.attrs.get("units", "1")
    if units not in _PER_FRAME:
        raise ArgumentError(
            f"firing_rates needs numbers of spikes in each frame, got units={units!r}. "
            "Rates in Hz are what it makes; give it the output of a spike inference, with "
            "assign_attrs(units='1') if its units are wrong."
        )
    rate = model.regular_rate(probabilities, "firing_rates")
    result = along_time(probabilities, kernels.expected_rates, verb="firing_rates", frame_rate=rate)
    return described(result.rename("rates"), units="Hz", long_name="firing rate")


@recorded
def mean_rates(rates: xr.DataArray) -> xr.DataArray:
    """Mean firing rate of each neuron.

    Parameters
    ----------
    rates : DataArray
        Rates ``(neuron, time)`` in Hz, see :func:`firing_rates`. NaN samples are left out.

    Returns
    -------
    DataArray
        ``(neuron,)`` in Hz; NaN for neurons without any sample. float32 (float64 for float64 and
        for integers of over 16 bits).

    Raises
    ------
    ArgumentError
        If the units are not Hz.

    Examples
    --------
    >>> import calscipy as cs
    >>> rates = cs.from_numpy(np.array([[0.0, 15.0, np.nan]]), frame_rate=30, units="Hz")
    >>> mean_rates(rates).values.tolist()
    [7.5]
    """
    units = rates.attrs.get("units", "Hz")
    if units != "Hz":
        raise ArgumentError(
            f"mean_rates needs rates in Hz, got units={units!r}. Make them with firing_rates, or "
            "say so with assign_attrs(units='Hz') if they are."
        )
    result = reduce_time(rates, kernels.mean_rates, verb="mean_rates")
    return described(result.rename("mean_rates"), units="Hz", long_name="mean firing rate")


@recorded
def normalize(data: xr.DataArray) -> xr.DataArray:
    """Clip at zero and divide each neuron by its maximum.

    Parameters
    ----------
    data : DataArray
        Rates or traces ``(neuron, time)``. The maximum is that of the whole time, all epochs.

    Returns
    -------
    DataArray
        From 0 to 1, with the same dims and coordinates; float32 (float64 for float64 and for
        integers of over 16 bits). Silent neurons, without a value above 0, are 0. NaN stays NaN.

    Examples
    --------
    >>> import calscipy as cs
    >>> rates = cs.from_numpy(np.array([[1.0, -1.0, 4.0], [0.0, 0.0, 0.0]]), frame_rate=30)
    >>> normalize(rates).values.tolist()
    [[0.25, 0.0, 1.0], [0.0, 0.0, 0.0]]
    """
    model.require_dims(data, (model.TIME,), "normalize")
    result = along_time(data, kernels.over_maximum, verb="normalize", split_epochs=False)
    name = data.attrs.get("long_name", "values")
    return described(result, units="1", long_name=f"{name}, over the neuron's maximum")


def convert_tau(*, decay_factor: Any = None, tau: Any = None, frame_rate: Any) -> Any:
    """Convert the decay from frame to frame into a time constant, or back; lazy ones are computed.

    A decay with the time constant τ leaves the share g = exp(-1 / (frame_rate * τ)) of a value
    after one frame.

    Parameters
    ----------
    decay_factor : float or array, optional
        g, the share that is left after one frame. Gives τ.
    tau : float or array, optional
        τ in s, above 0; ``inf`` for no decay. Gives g.
    frame_rate : float or array
        Frames in a second.

    Returns
    -------
    float, ndarray or DataArray
        τ in s or g, of the kind that was given. τ is ``inf`` for g from 1 on, which does not decay,
        and NaN for g of 0 or less, which is no exponential decay.

    Raises
    ------
    ArgumentError
        If not exactly one of ``decay_factor`` and ``tau`` is given, or ``tau`` or ``frame_rate`` is
        not above 0.

    Examples
    --------
    >>> round(convert_tau(tau=0.7, frame_rate=30), 4)
    0.9535
    >>> convert_tau(decay_factor=np.array([0.9535, 1.0, 0.0]), frame_rate=30).round(2).tolist()
    [0.7, inf, nan]
    """
    if (decay_factor is None) == (tau is None):
        raise ArgumentError(
            "convert_tau needs either decay_factor or tau, got "
            f"{'neither' if tau is None else 'both'}"
        )
    rate = _numbers(frame_rate, "frame_rate")
    if not ((rate > 0) & np.isfinite(rate)).all():
        raise ArgumentError(f"convert_tau needs frame_rate > 0 in Hz, got {frame_rate!r}")
    given, name = (tau, "tau") if decay_factor is None else (decay_factor, "decay_factor")
    values = _numbers(given, name)
    if name == "tau":
        if (values <= 0).any():
            raise ArgumentError(f"convert_tau needs tau > 0 in s, got {tau!r}")
        units, long_name = "1", "decay from frame to frame"
        kernel: Callable[..., np.ndarray] = kernels.decay_factor
    else:
        kernel, units, long_name = kernels.time_constant, "s", "time constant of the decay"
    if isinstance(given, xr.DataArray) or isinstance(frame_rate, xr.DataArray):
        labelled = [
            array.copy(data=numbers) if isinstance(array, xr.DataArray) else numbers
            for array, numbers in ((given, values), (frame_rate, rate))
        ]
        result = xr.apply_ufunc(lambda g, rate: kernel(g, frame_rate=rate), *labelled)
        attrs = getattr(given, "attrs", {})
        return described(result.assign_attrs(attrs), units=units, long_name=long_name)
    result = kernel(values, frame_rate=rate)
    return result if result.ndim else result.item()


def _numbers(value: Any, name: str) -> np.ndarray:
    array = np.asarray(value)
    if array.dtype.kind not in "iuf":
        raise ArgumentError(f"convert_tau needs {name} as a number or an array, got {value!r}")
    return array.astype(np.float64)
