"""Figures of every kind, of usual and of odd data, each as a function without arguments."""

from __future__ import annotations

import functools

import numpy as np
import xarray as xr

import calscipy as cs
from calscipy import plotting
from calscipy.testing import synthetic_traces

LONG = "mouse12_session03_region_of_interest"
MOST = 60  # neurons in the largest of these


@functools.cache
def truth(neurons: int = 5, duration: float = 40.0) -> xr.Dataset:
    return synthetic_traces(neurons, duration, frame_rate=20.0, event_rate=0.1, drift=0.1, seed=2)


@functools.cache
def dfof(neurons: int = 5) -> xr.DataArray:
    return truth(neurons).traces.cs.dfof(method="percentile").compute()


@functools.cache
def stimuli() -> xr.Dataset:
    onset = 4.0 + 8.0 * np.arange(4)
    return xr.Dataset({"onset": ("stimulus", onset), "duration": ("stimulus", np.full(4, 1.5))})


@functools.cache
def labels(count: int = 9, size: int = 96) -> np.ndarray:
    drawn = np.zeros((size, size), int)
    draw = np.random.default_rng(3)
    y, x = np.mgrid[:size, :size]
    made = 0
    while made < count:
        disc = np.hypot(y - draw.uniform(6, size - 6), x - draw.uniform(6, size - 6)) < 4.5
        if not drawn[disc].any():
            made += 1
            drawn[disc] = made
    return drawn


def image(pixel: float | None = 1.5, count: int = 9, size: int = 96) -> xr.DataArray:
    draw = np.random.default_rng(0)
    values = draw.gamma(3, 30, (size, size)) + 200 * (labels(count, size) > 0)
    coords = {
        dim: cs.model.pixel_coordinate(dim, size, pixel) if pixel else np.arange(size)
        for dim in ("y", "x")
    }
    attrs = {"units": "count", "long_name": "mean over frames"}
    return xr.DataArray(values, coords if pixel else None, ("y", "x"), attrs=attrs)


def rois(count: int = 9, size: int = 96) -> xr.DataArray:
    return cs.rois_from_labels(labels(count, size))


@functools.cache
def trials(neurons: int = 2) -> xr.DataArray:
    starts = np.arange(3.0, 36.0, 2.0)
    cue = np.resize(["go", "no go", "catch"], starts.size)
    labelled = xr.DataArray(starts, {"cue": ("trial", cue)}, ("trial",))
    return dfof(neurons).cs.to_trials(starts=labelled, window=(1, 3))


@functools.cache
def voltage() -> xr.DataArray:
    time = np.arange(30_000) / 1000
    values = [5 * (time % 3 < 0.002), np.sin(time), 20 * (time // 10 % 3)]
    return xr.DataArray(
        np.array(values),
        {
            "signal": ["frame trigger", "LFP", "speed of the treadmill, measured"],
            "units": ("signal", ["V", "mV", "cm/s"]),
            "time": ("time", time, {"units": "s", "long_name": "time since the first frame"}),
        },
        ("signal", "time"),
        name="voltage",
    )


def protocol() -> xr.Dataset:
    target = np.tile(np.arange(4), 3)
    places = {"x": [0.2, 0.5, 0.8, 0.4], "y": [0.2, 0.7, 0.5, 0.9]}
    columns = {name: ("stimulus", np.array(where)[target]) for name, where in places.items()}
    size = ("stimulus", np.full(12, 0.08))
    return xr.Dataset(
        {
            "onset": ("stimulus", 2.0 + 3 * np.arange(12)),
            "duration": ("stimulus", np.full(12, 0.5)),
            "spiral_width": size,
            "spiral_height": size,
            "target": ("stimulus", target),
            **columns,
        }
    )


def movie() -> xr.DataArray:
    frames = np.random.default_rng(0).poisson(40, (30, 24, 32)).astype("u2")
    return cs.from_numpy(frames, frame_rate=30, microns_per_pixel=2.0)


def named(data: xr.DataArray) -> xr.DataArray:
    count = data.sizes["neuron"]
    return data.assign_coords(neuron=[f"{LONG}_{at:03d}" for at in range(count)])


def without_samples(data: xr.DataArray, *neurons: int) -> xr.DataArray:
    return data.where(~data.neuron.isin(list(neurons)))


def waveforms(neurons: int = 5) -> xr.DataArray:
    return dfof(neurons).cs.waveforms(truth(neurons).events, pre=0.5, post=2)


FIGURES = {
    "image": lambda: plotting.plot_image(image()),
    "image, ROIs": lambda: plotting.plot_image(image(), rois()),
    "image, 120 ROIs": lambda: plotting.plot_image(image(1.5, 120, 256), rois(120, 256)),
    "image, no pixel size": lambda: plotting.plot_image(image(None), rois()),
    "image, axes in um": lambda: plotting.plot_image(image(), scale_bar=False),
    "image, long title": lambda: plotting.plot_image(image(), title="a title of several words"),
    "image, part": lambda: plotting.plot_image(image()[30:70, 20:90], rois()),
    "image, flat": lambda: plotting.plot_image(image()[:20], colour_bar=False),
    "image, tall": lambda: plotting.plot_image(image()[:, :20]),
    "traces": lambda: plotting.plot_traces(dfof()),
    "traces, one": lambda: plotting.plot_traces(dfof(1)),
    "traces, 60": lambda: plotting.plot_traces(dfof(MOST)),
    "traces, long names": lambda: plotting.plot_traces(named(dfof())),
    "traces, all": lambda: plotting.plot_traces(
        dfof(), events=truth().events, spikes=dfof().cs.deconvolve(tau=0.7), stimuli=stimuli(),
        others={"twice the trace": (dfof() * 2).assign_attrs(dfof().attrs)},
    ),
    "traces, negative": lambda: plotting.plot_traces((-truth().traces).assign_attrs(units="uV")),
    "traces, NaN": lambda: plotting.plot_traces(without_samples(dfof(), 1, 3)),
    "traces, all NaN": lambda: plotting.plot_traces(without_samples(dfof(2), 0, 1)),
    "traces, overlaid": lambda: plotting.plot_traces(
        named(dfof()), mode="overlay", events=truth().events.assign_coords(named(dfof()).coords),
        stimuli=stimuli(),
    ),
    "traces, overlaid, 60": lambda: plotting.plot_traces(dfof(MOST), mode="overlay"),
    "raster": lambda: plotting.plot_raster(truth().events, stimuli=stimuli()),
    "raster, one": lambda: plotting.plot_raster(truth(1).events),
    "raster, 60": lambda: plotting.plot_raster(named(truth(MOST).events)),
    "heat map": lambda: plotting.plot_heatmap(dfof(), stimuli=stimuli(), order="peak"),
    "heat map, one": lambda: plotting.plot_heatmap(dfof(1)),
    "heat map, 60": lambda: plotting.plot_heatmap(named(dfof(MOST)), order="activity"),
    "trials": lambda: plotting.plot_trials(trials(), by="cue"),
    "trials, one": lambda: plotting.plot_trials(trials(1)),
    "trials, 60": lambda: plotting.plot_trials(named(trials(MOST)), by="cue"),
    "trials, NaN": lambda: plotting.plot_trials(without_samples(trials(), 0), by="cue"),
    "waveforms": lambda: plotting.plot_waveforms(waveforms()),
    "waveforms, by neuron": lambda: plotting.plot_waveforms(waveforms(), by="neuron"),
    "quality": lambda: plotting.plot_quality(truth().traces, truth().events, saturation=900),
    "quality, one": lambda: plotting.plot_quality(dfof(1)),
    "quality, NaN": lambda: plotting.plot_quality(named(without_samples(truth().traces, 2))),
    "baseline": lambda: plotting.plot_baseline(truth().traces),
    "baseline, one": lambda: plotting.plot_baseline(truth(1).traces, methods=["mode", "mean"]),
    "voltage": lambda: plotting.plot_voltage(voltage(), onsets=[3.0, 6.0], stimuli=stimuli()),
    "stimulus": lambda: plotting.plot_stimulus(protocol(), image(), title="a protocol"),
    "stimulus, no image": lambda: plotting.plot_stimulus(protocol()),
    "movie": lambda: plotting.plot_movie(movie()),
    "overview": lambda: plotting.overview_figure(
        image(), rois(), dfof(9).assign_coords(neuron=np.arange(1, 10)),
        truth(9).events.assign_coords(neuron=np.arange(1, 10)),
        truth(9).events.assign_coords(neuron=np.arange(1, 10)), title="an overview",
    ),
}  # fmt: skip
