"""Calcium imaging on labelled, lazy arrays: one object per recording, methods that chain."""

from calscipy import accessors, errors
from calscipy._version import __version__
from calscipy.blocks import gpu_available
from calscipy.io.arrays import from_numpy
from calscipy.io.imagej import rois_from_imagej
from calscipy.io.store import to_zarr
from calscipy.io.suite2p import rois_from_suite2p
from calscipy.model import frame_rate
from calscipy.ops import (
    apply_shifts,
    baseline,
    bin,
    correct_scan_phase,
    correct_time_offset,
    detrend,
    dfof,
    estimate_scan_phase,
    estimate_shifts,
    events,
    extract,
    extract_neuropil,
    gaussian_filter,
    labels_from_rois,
    masks_from_rois,
    mean_filter,
    median_filter,
    neuropil_rois,
    project,
    roi_hulls,
    roi_statistics,
    rois_from_labels,
    rois_from_masks,
    rois_from_pixels,
    subtract_background,
    summary,
)
from calscipy.options import get_option, set_options
from calscipy.plotting import preview
from calscipy.session import ImagingSession

accessors.register()

__all__ = [
    "ImagingSession",
    "__version__",
    "apply_shifts",
    "baseline",
    "bin",
    "correct_scan_phase",
    "correct_time_offset",
    "detrend",
    "dfof",
    "errors",
    "estimate_scan_phase",
    "estimate_shifts",
    "events",
    "extract",
    "extract_neuropil",
    "frame_rate",
    "from_numpy",
    "gaussian_filter",
    "get_option",
    "gpu_available",
    "labels_from_rois",
    "masks_from_rois",
    "mean_filter",
    "median_filter",
    "neuropil_rois",
    "preview",
    "project",
    "roi_hulls",
    "roi_statistics",
    "rois_from_imagej",
    "rois_from_labels",
    "rois_from_masks",
    "rois_from_pixels",
    "rois_from_suite2p",
    "set_options",
    "subtract_background",
    "summary",
    "to_zarr",
]
