"""Traces whose F₀, activity and noise are known."""

from __future__ import annotations

import numpy as np
import xarray as xr

RESTING_COUNTS = 500.0
LEAST_PEAK = 0.5  # ΔF/F of a burst of one unit; larger bursts are multiples


def synthetic_traces(
    neurons: int = 40,
    duration: float = 600.0,
    frame_rate: float = 30.0,
    *,
    snr: float = 5.0,
    event_rate: float = 0.05,
    rise: float = 0.05,
    decay: float = 0.7,
    drift: float = 0.0,
    bleaching: float = 0.0,
    bleaching_time: float = 200.0,
    seed: int = 0,
) -> xr.Dataset:
    """Make traces with drift, bleaching, transients and white noise.

    Parameters
    ----------
    neurons : int
        Number of traces.
    duration : float
        Length in s.
    frame_rate : float
        In Hz.
    snr : float
        Peak of the smallest transient over the standard deviation of the noise, at the start.
    event_rate : float
        Transients of each neuron in a second, at times of a Poisson process; 0 for none.
    rise, decay : float
        Time constants of a transient in s, ``(1 - exp(-t / rise)) * exp(-t / decay)``.
    drift : float
        Amplitude of a slow wave of F₀ (one and a half periods), as a share of F₀.
    bleaching : float
        Share of F₀ that is lost exponentially in the end.
    bleaching_time : float
        Time constant of bleaching in s.
    seed : int
        Same seed, same traces.

    Returns
    -------
    Dataset
        ``traces`` (counts), ``f0``, ``dfof`` (without noise), ``events`` (bool, the last sample
        before the rise) and ``spikes`` (number of units of each burst), all ``(neuron, time)``;
        ``sigma(neuron)``, the noise in counts.

    Examples
    --------
    >>> truth = synthetic_traces(neurons=2, duration=10.0, seed=1)
    >>> dict(truth.sizes), bool((truth.f0 == 500).all())
    ({'neuron': 2, 'time': 300}, True)
    """
    draw = np.random.default_rng(seed)
    samples = round(duration * frame_rate)
    time = np.arange(samples) / frame_rate
    shape = (neurons, samples)

    phase = draw.uniform(0, 2 * np.pi, (neurons, 1))
    wave = 1 + drift * np.sin(3 * np.pi * time / duration + phase)
    bleached = 1 - bleaching * -np.expm1(-time / bleaching_time)
    f0 = RESTING_COUNTS * wave * bleached

    spikes = np.zeros(shape, dtype=np.int64)
    starts = draw.random(shape) < event_rate / frame_rate
    spikes[starts] = 1 + draw.poisson(0.5, np.count_nonzero(starts))
    lags = np.arange(round(10 * decay * frame_rate) + 2) / frame_rate
    transient = -np.expm1(-lags / rise) * np.exp(-lags / decay)
    transient *= LEAST_PEAK / transient.max()
    dfof = np.zeros(shape)
    for neuron, start in zip(*np.nonzero(spikes), strict=True):
        part = transient[: samples - start]
        dfof[neuron, start : start + len(part)] += spikes[neuron, start] * part

    sigma = RESTING_COUNTS * LEAST_PEAK / snr
    traces = f0 * (1 + dfof) + draw.normal(0, sigma, shape)
    dims = ("neuron", "time")
    counts = {"units": "count", "long_name": "fluorescence"}
    plain = {"units": "1"}
    return xr.Dataset(
        {
            "traces": (dims, traces.astype(np.float32), counts),
            "f0": (dims, f0, {"units": "count", "long_name": "baseline F₀"}),
            "dfof": (dims, dfof, {**plain, "long_name": "ΔF/F₀"}),
            "events": (dims, spikes > 0, {**plain, "long_name": "event onsets"}),
            "spikes": (dims, spikes, {**plain, "long_name": "units of each burst"}),
            "sigma": ("neuron", np.full(neurons, sigma), {"units": "count"}),
        },
        {
            "neuron": np.arange(neurons),
            "time": ("time", time, {"units": "s", "long_name": "time"}),
        },
    )
