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
    baseline,
    detrend,
    dfof,
    events,
    extract,
    gaussian_filter,
    labels_from_rois,
    masks_from_rois,
    mean_filter,
    median_filter,
    project,
    roi_hulls,
    roi_statistics,
    rois_from_labels,
    rois_from_masks,
    rois_from_pixels,
)
from calscipy.options import get_option, set_options
from calscipy.plotting import preview
from calscipy.session import ImagingSession

accessors.register()

__all__ = [
    "ImagingSession",
    "__version__",
    "baseline",
    "detrend",
    "dfof",
    "errors",
    "events",
    "extract",
    "frame_rate",
    "from_numpy",
    "gaussian_filter",
    "get_option",
    "gpu_available",
    "labels_from_rois",
    "masks_from_rois",
    "mean_filter",
    "median_filter",
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
    "to_zarr",
]
