"""``.cs``: the operations as methods of DataArrays, chosen by the names of their dimensions."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Any, Concatenate, ParamSpec, TypeVar

import xarray as xr

from calscipy import model, ops, plotting
from calscipy.io import binary_writer, csv, pynapple, store, suite2p, tiff_writer
from calscipy.plotting import interactive

P = ParamSpec("P")
R = TypeVar("R")


def as_method(
    operation: Callable[Concatenate[xr.DataArray, P], R],
) -> Callable[Concatenate[Any, P], R]:
    """Turn an operation into a method that hands over the array it is called on."""

    @functools.wraps(operation)
    def method(self: Any, *args: P.args, **kwargs: P.kwargs) -> R:
        return operation(self._data, *args, **kwargs)

    parameters = list(inspect.signature(operation).parameters.values())[1:]
    this = inspect.Parameter("self", inspect.Parameter.POSITIONAL_OR_KEYWORD)
    method.__signature__ = inspect.Signature([this, *parameters])  # type: ignore[attr-defined]
    return method  # type: ignore[return-value]


class Methods:
    """What ``.cs`` offers on an array; the classes below add the operations that fit it."""

    __slots__ = ("_data",)

    def __init__(self, data: xr.DataArray) -> None:
        self._data = data

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        owners = [NAMES[kind] for kind, owner in KINDS.items() if hasattr(owner, name)]
        if owners:
            raise AttributeError(
                f".cs.{name} works on {' and '.join(owners)}; this array with the dimensions "
                f"{tuple(self._data.dims)} is {NAMES.get(model.kind(self._data), NAMES[None])}."
            )
        offers = ", ".join(dir(self)) or "nothing"
        raise AttributeError(f".cs has no {name!r}; it offers {offers} here.")

    def __dir__(self) -> list[str]:
        return sorted(name for name in object.__dir__(self) if not name.startswith("_"))

    def __repr__(self) -> str:
        kind = NAMES.get(model.kind(self._data), NAMES[None])
        return f"<calscipy methods of {kind}: {', '.join(dir(self)) or 'none'}>"


class StorableMethods(Methods):
    """What works on every array that a session holds."""

    __slots__ = ()

    to_zarr = as_method(store.to_zarr)
    bin = as_method(ops.bin)


class TemporalMethods(StorableMethods):
    """What works on movies and traces alike."""

    __slots__ = ()

    baseline = as_method(ops.baseline)
    dfof = as_method(ops.dfof)
    detrend = as_method(ops.detrend)
    perona_malik = as_method(ops.perona_malik)
    gaussian_smooth = as_method(ops.gaussian_smooth)
    savgol = as_method(ops.savgol)
    event_triggered_average = as_method(ops.event_triggered_average)


class MovieMethods(TemporalMethods):
    """Methods of movies ``(frames, y, x)``."""

    __slots__ = ()

    gaussian_filter = as_method(ops.gaussian_filter)
    median_filter = as_method(ops.median_filter)
    mean_filter = as_method(ops.mean_filter)
    subtract_background = as_method(ops.subtract_background)
    estimate_scan_phase = as_method(ops.estimate_scan_phase)
    correct_scan_phase = as_method(ops.correct_scan_phase)
    estimate_shifts = as_method(ops.estimate_shifts)
    apply_shifts = as_method(ops.apply_shifts)
    project = as_method(ops.project)
    summary = as_method(ops.summary)
    extract = as_method(ops.extract)
    extract_neuropil = as_method(ops.extract_neuropil)
    to_tiff = as_method(tiff_writer.to_tiff)
    to_binary = as_method(binary_writer.to_binary)
    to_suite2p = as_method(suite2p.to_suite2p)
    plot = as_method(plotting.plot_movie)
    view = as_method(interactive.view_movie)


class ImageMethods(Methods):
    """Methods of images ``(y, x)``."""

    __slots__ = ()

    to_tiff = as_method(tiff_writer.to_tiff)
    plot = as_method(plotting.plot_image)


class TracesMethods(TemporalMethods):
    """Methods of traces ``(neuron, time)``."""

    __slots__ = ()

    correct_time_offset = as_method(ops.correct_time_offset)
    subtract_neuropil = as_method(ops.subtract_neuropil)
    noise = as_method(ops.noise)
    quality = as_method(ops.quality)
    events = as_method(ops.events)
    event_table = as_method(ops.event_table)
    deconvolve = as_method(ops.deconvolve)
    denoise = as_method(ops.denoise)
    estimate_tau = as_method(ops.estimate_tau)
    firing_rates = as_method(ops.firing_rates)
    mean_rates = as_method(ops.mean_rates)
    normalize = as_method(ops.normalize)
    scale = as_method(ops.scale)
    waveforms = as_method(ops.waveforms)
    align = as_method(ops.align)
    to_trials = as_method(ops.to_trials)
    to_csv = as_method(csv.to_csv)
    to_pynapple = as_method(pynapple.to_pynapple)
    plot = as_method(plotting.plot_traces)
    plot_heatmap = as_method(plotting.plot_heatmap)
    plot_baseline = as_method(plotting.plot_baseline)
    plot_quality = as_method(plotting.plot_quality)


class EventsMethods(StorableMethods):
    """Methods of boolean event rasters ``(neuron, time)``."""

    __slots__ = ()

    count = as_method(ops.count)
    rate = as_method(ops.rate)
    intervals = as_method(ops.intervals)
    onset_values = as_method(ops.onset_values)
    to_frames = as_method(ops.to_frames)
    to_trials = as_method(ops.to_trials)
    to_csv = as_method(csv.to_csv)
    to_pynapple = as_method(pynapple.to_pynapple)
    plot = as_method(plotting.plot_raster)


class VoltageMethods(StorableMethods):
    """Methods of voltage recordings ``(signal, time)``."""

    __slots__ = ()

    align = as_method(ops.align)
    onsets = as_method(ops.onsets)
    to_csv = as_method(csv.to_csv)
    to_pynapple = as_method(pynapple.to_pynapple)
    plot = as_method(plotting.plot_voltage)


class TrialsMethods(Methods):
    """Methods of trials ``(trial, neuron, time)``."""

    __slots__ = ()

    average = as_method(ops.average)
    bin = as_method(ops.bin)
    join_trials = as_method(ops.join_trials)
    plot = as_method(plotting.plot_trials)


class WaveformsMethods(Methods):
    """Methods of waveforms ``(event, lag)``."""

    __slots__ = ()

    scale = as_method(ops.scale)
    plot = as_method(plotting.plot_waveforms)


KINDS: dict[str | None, type[Methods]] = {
    "movie": MovieMethods,
    "image": ImageMethods,
    "traces": TracesMethods,
    "events": EventsMethods,
    "voltage": VoltageMethods,
    "trials": TrialsMethods,
    "waveforms": WaveformsMethods,
}
NAMES: dict[str | None, str] = {
    "movie": "a movie",
    "image": "an image",
    "traces": "an array of traces",
    "events": "an array of events",
    "voltage": "a voltage recording",
    "trials": "an array of trials",
    "waveforms": "an array of waveforms",
    "rois": "an array of ROIs",
    None: "an array of no kind that calscipy knows",
}


class _Accessor:
    """Hands out methods anew each time: a cached accessor keeps big arrays alive."""

    def __get__(self, data: xr.DataArray | None, owner: type | None = None) -> Any:
        if data is None:
            return Methods
        return KINDS.get(model.kind(data), Methods)(data)


def register() -> None:
    """Put ``.cs`` on DataArrays; refuse if another library has taken the name."""
    present = xr.DataArray.__dict__.get("cs")
    if present is not None and type(present).__qualname__ != _Accessor.__qualname__:
        raise ImportError(
            "another library has already registered the accessor xarray.DataArray.cs; "
            "import only one of the two."
        )
    xr.DataArray.cs = _Accessor()  # type: ignore[attr-defined]
