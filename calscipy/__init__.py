"""Calcium imaging on labelled, lazy arrays: one object per recording, methods that chain."""

import importlib
from typing import TYPE_CHECKING, Any

from calscipy import accessors, errors, photostimulation, plotting, prairieview
from calscipy._version import __version__
from calscipy.attaching import attach
from calscipy.blocks import gpu_available
from calscipy.io.arrays import from_numpy
from calscipy.io.binary_writer import to_binary
from calscipy.io.csv import to_csv
from calscipy.io.imagej import rois_from_imagej
from calscipy.io.netcdf import to_netcdf
from calscipy.io.nwb import to_nwb
from calscipy.io.pynapple import to_pynapple
from calscipy.io.store import to_zarr, to_zip
from calscipy.io.store import verify_store as verify
from calscipy.io.suite2p import rois_from_suite2p, to_suite2p
from calscipy.io.tiff_writer import to_tiff
from calscipy.joining import concat
from calscipy.model import frame_rate
from calscipy.ops import (
    align,
    apply_shifts,
    average,
    baseline,
    bin,
    convert_tau,
    correct_scan_phase,
    correct_time_offset,
    count,
    deconvolve,
    denoise,
    detrend,
    dfof,
    estimate_scan_phase,
    estimate_shifts,
    estimate_tau,
    event_table,
    event_triggered_average,
    events,
    events_from_frames,
    extract,
    extract_neuropil,
    firing_rates,
    gaussian_filter,
    gaussian_smooth,
    intervals,
    join_components,
    join_trials,
    labels_from_rois,
    masks_from_rois,
    mean_filter,
    mean_rates,
    median_filter,
    neuropil_rois,
    noise,
    normalize,
    onset_values,
    onsets,
    perona_malik,
    project,
    quality,
    rate,
    roi_hulls,
    roi_statistics,
    rois_from_labels,
    rois_from_masks,
    rois_from_pixels,
    savgol,
    scale,
    stimulus_mask,
    stimulus_onsets,
    subtract_background,
    subtract_neuropil,
    summary,
    to_frames,
    to_trials,
    waveforms,
)
from calscipy.options import get_option, set_options
from calscipy.plotting import preview
from calscipy.prairielink import PrairieLink
from calscipy.session import ImagingSession

accessors.register()

__all__ = [
    "ImagingSession",
    "PrairieLink",
    "__version__",
    "align",
    "apply_shifts",
    "attach",
    "average",
    "baseline",
    "bin",
    "concat",
    "convert_tau",
    "correct_scan_phase",
    "correct_time_offset",
    "count",
    "deconvolve",
    "denoise",
    "detrend",
    "dfof",
    "errors",
    "estimate_scan_phase",
    "estimate_shifts",
    "estimate_tau",
    "event_table",
    "event_triggered_average",
    "events",
    "events_from_frames",
    "extract",
    "extract_neuropil",
    "firing_rates",
    "frame_rate",
    "from_numpy",
    "gaussian_filter",
    "gaussian_smooth",
    "get_option",
    "gpu_available",
    "intervals",
    "join_components",
    "join_trials",
    "labels_from_rois",
    "masks_from_rois",
    "mean_filter",
    "mean_rates",
    "median_filter",
    "neuropil_rois",
    "noise",
    "normalize",
    "onset_values",
    "onsets",
    "perona_malik",
    "photostimulation",
    "plotting",
    "prairieview",
    "preview",
    "project",
    "quality",
    "rate",
    "roi_hulls",
    "roi_statistics",
    "rois_from_imagej",
    "rois_from_labels",
    "rois_from_masks",
    "rois_from_pixels",
    "rois_from_suite2p",
    "savgol",
    "scale",
    "set_options",
    "stimulus_mask",
    "stimulus_onsets",
    "subtract_background",
    "subtract_neuropil",
    "summary",
    "to_binary",
    "to_csv",
    "to_frames",
    "to_netcdf",
    "to_nwb",
    "to_pynapple",
    "to_suite2p",
    "to_tiff",
    "to_trials",
    "to_zarr",
    "to_zip",
    "verify",
    "waveforms",
]

# Modules for users that are imported when they are first used.
_LATER = ("compat", "testing")

if not TYPE_CHECKING:  # which would take every misspelt name for a module

    def __getattr__(name: str) -> Any:
        if name in _LATER:
            return importlib.import_module(f"{__name__}.{name}")
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    """Name what is for users, for completion; inner modules and how they import stay out."""
    return sorted({*__all__, *_LATER, "__all__", "__doc__", "__file__", "__name__", "__path__"})
