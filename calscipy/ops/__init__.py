"""Operations on labelled arrays: check, compute, describe."""

from calscipy.ops.background import subtract_background
from calscipy.ops.baseline import baseline
from calscipy.ops.bin import bin
from calscipy.ops.detrend import detrend
from calscipy.ops.dfof import dfof
from calscipy.ops.events import events
from calscipy.ops.extract import extract
from calscipy.ops.filters import gaussian_filter, mean_filter, median_filter
from calscipy.ops.motion import apply_shifts, estimate_shifts
from calscipy.ops.neuropil import extract_neuropil, neuropil_rois
from calscipy.ops.project import project
from calscipy.ops.roi_builders import rois_from_masks, rois_from_pixels
from calscipy.ops.roi_images import labels_from_rois, masks_from_rois
from calscipy.ops.roi_statistics import roi_hulls, roi_statistics
from calscipy.ops.rois import rois_from_labels
from calscipy.ops.scan_phase import correct_scan_phase, estimate_scan_phase
from calscipy.ops.summary import summary
from calscipy.ops.time_offset import correct_time_offset

__all__ = [
    "apply_shifts",
    "baseline",
    "bin",
    "correct_scan_phase",
    "correct_time_offset",
    "detrend",
    "dfof",
    "estimate_scan_phase",
    "estimate_shifts",
    "events",
    "extract",
    "extract_neuropil",
    "gaussian_filter",
    "labels_from_rois",
    "masks_from_rois",
    "mean_filter",
    "median_filter",
    "neuropil_rois",
    "project",
    "roi_hulls",
    "roi_statistics",
    "rois_from_labels",
    "rois_from_masks",
    "rois_from_pixels",
    "subtract_background",
    "summary",
]
