"""Photostimulation: protocols and records of PrairieView as objects, files in and out."""

from calscipy.io.photostimulation import (
    GalvoPoint,
    GalvoPointElement,
    GalvoPointGroup,
    GalvoPointList,
    MarkPointElement,
    MarkPointSeriesElements,
    Point,
    read_galvo_points,
    read_mark_points,
    write_galvo_points,
    write_mark_points,
)
from calscipy.io.photostimulation.stimuli import stimulus_table
from calscipy.photostimulation.building import build_protocol
from calscipy.photostimulation.calibration import GalvoCalibration
from calscipy.photostimulation.protocol import Protocol, targets_from_galvo_points
from calscipy.photostimulation.rois import Target, rois_from_targets, targets_from_rois
from calscipy.photostimulation.steps import Step

__all__ = [
    "GalvoCalibration",
    "GalvoPoint",
    "GalvoPointElement",
    "GalvoPointGroup",
    "GalvoPointList",
    "MarkPointElement",
    "MarkPointSeriesElements",
    "Point",
    "Protocol",
    "Step",
    "Target",
    "build_protocol",
    "read_galvo_points",
    "read_mark_points",
    "rois_from_targets",
    "stimulus_table",
    "targets_from_galvo_points",
    "targets_from_rois",
    "write_galvo_points",
    "write_mark_points",
]
