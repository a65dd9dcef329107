"""Operations on labelled arrays: check, compute, describe."""

from calscipy.ops.baseline import baseline
from calscipy.ops.detrend import detrend
from calscipy.ops.dfof import dfof
from calscipy.ops.events import events
from calscipy.ops.extract import extract
from calscipy.ops.filters import gaussian_filter, mean_filter, median_filter
from calscipy.ops.project import project
from calscipy.ops.roi_builders import rois_from_masks, rois_from_pixels
from calscipy.ops.roi_images import labels_from_rois, masks_from_rois
from calscipy.ops.roi_statistics import roi_hulls, roi_statistics
from calscipy.ops.rois import rois_from_labels

__all__ = [
    "baseline",
    "detrend",
    "dfof",
    "events",
    "extract",
    "gaussian_filter",
    "labels_from_rois",
    "masks_from_rois",
    "mean_filter",
    "median_filter",
    "project",
    "roi_hulls",
    "roi_statistics",
    "rois_from_labels",
    "rois_from_masks",
    "rois_from_pixels",
]
