"""Photostimulation protocols and records of PrairieView, read and written exactly."""

from calscipy.io.photostimulation.elements import XmlElement
from calscipy.io.photostimulation.files import (
    read_galvo_points,
    read_mark_points,
    write_galvo_points,
    write_mark_points,
)
from calscipy.io.photostimulation.galvo_points import GalvoPoint, GalvoPointGroup, GalvoPointList
from calscipy.io.photostimulation.mark_points import (
    GalvoPointElement,
    MarkPointElement,
    MarkPointSeriesElements,
    Point,
)

__all__ = [
    "GalvoPoint",
    "GalvoPointElement",
    "GalvoPointGroup",
    "GalvoPointList",
    "MarkPointElement",
    "MarkPointSeriesElements",
    "Point",
    "XmlElement",
    "read_galvo_points",
    "read_mark_points",
    "write_galvo_points",
    "write_mark_points",
]
