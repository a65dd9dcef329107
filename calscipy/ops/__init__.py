"""Operations on labelled arrays: check, compute, describe."""

from calscipy.ops.baseline import baseline
from calscipy.ops.detrend import detrend
from calscipy.ops.dfof import dfof
from calscipy.ops.events import events
from calscipy.ops.extract import extract
from calscipy.ops.filters import gaussian_filter, mean_filter, median_filter
from calscipy.ops.project import project
from calscipy.ops.rois import rois_from_labels

__all__ = [
    "baseline",
    "detrend",
    "dfof",
    "events",
    "extract",
    "gaussian_filter",
    "mean_filter",
    "median_filter",
    "project",
    "rois_from_labels",
]
