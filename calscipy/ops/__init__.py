"""Operations on labelled arrays: check, compute, describe."""

from calscipy.ops.align import align
from calscipy.ops.averages import average
from calscipy.ops.background import subtract_background
from calscipy.ops.baseline import baseline
from calscipy.ops.bin import bin
from calscipy.ops.components import join_components
from calscipy.ops.deconvolve import deconvolve, denoise, estimate_tau
from calscipy.ops.detrend import detrend
from calscipy.ops.dfof import dfof
from calscipy.ops.event_frames import events_from_frames, to_frames
from calscipy.ops.event_tables import count, event_table, intervals, onset_values, rate
from calscipy.ops.events import events
from calscipy.ops.extract import extract
from calscipy.ops.filters import gaussian_filter, mean_filter, median_filter
from calscipy.ops.motion import apply_shifts, estimate_shifts
from calscipy.ops.neuropil import extract_neuropil, neuropil_rois
from calscipy.ops.noise import noise
from calscipy.ops.onsets import onsets
from calscipy.ops.project import project
from calscipy.ops.quality import quality
from calscipy.ops.rates import convert_tau, firing_rates, mean_rates, normalize
from calscipy.ops.roi_builders import rois_from_masks, rois_from_pixels
from calscipy.ops.roi_images import labels_from_rois, masks_from_rois
from calscipy.ops.roi_statistics import roi_hulls, roi_statistics
from calscipy.ops.rois import rois_from_labels
from calscipy.ops.scale import scale
from calscipy.ops.scan_phase import correct_scan_phase, estimate_scan_phase
from calscipy.ops.smoothing import gaussian_smooth, perona_malik, savgol
from calscipy.ops.stimuli import stimulus_mask, stimulus_onsets
from calscipy.ops.subtract_neuropil import subtract_neuropil
from calscipy.ops.summary import summary
from calscipy.ops.time_offset import correct_time_offset
from calscipy.ops.trials import join_trials, to_trials
from calscipy.ops.triggered import event_triggered_average
from calscipy.ops.waveforms import waveforms

__all__ = [
    "align",
    "apply_shifts",
    "average",
    "baseline",
    "bin",
    "convert_tau",
    "correct_scan_phase",
    "correct_time_offset",
    "count",
    "deconvolve",
    "denoise",
    "detrend",
    "dfof",
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
    "gaussian_filter",
    "gaussian_smooth",
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
    "project",
    "quality",
    "rate",
    "roi_hulls",
    "roi_statistics",
    "rois_from_labels",
    "rois_from_masks",
    "rois_from_pixels",
    "savgol",
    "scale",
    "stimulus_mask",
    "stimulus_onsets",
    "subtract_background",
    "subtract_neuropil",
    "summary",
    "to_frames",
    "to_trials",
    "waveforms",
]
