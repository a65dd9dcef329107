"""Photostimulation as objects (``CalSciPy.bruker.meta_objects``)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr

from calscipy.compat.bruker.xml_objects import MarkPointSeriesElements, Point
from calscipy.kernels.hulls import hull_points
from calscipy.photostimulation import Target, stimulus_table


@dataclass(frozen=True)
class GroupMeta:
    """Points that are stimulated together.

    Now: ``cs.photostimulation.GalvoPointGroup(indices=(0, 1), name="Group 1")``

    Parameters
    ----------
    name : str
        Name of the point or group.
    indices : tuple of int
        Places of the points in the point list, from 0.
    """

    name: str = ""
    indices: tuple[int, ...] = ()


class ROIObject:
    """A region that was stimulated.

    Now: ``cs.photostimulation.Target.from_point(point, (128, 256))``

    Parameters
    ----------
    *args
        A `Point`, or its x and y, as shares of the image.

    Examples
    --------
    >>> roi = ROIObject(Point(x=0.5, y=0.25, is_spiral=False))
    >>> roi.generate_coordinates(width=512, height=256)
    (256.0, 64.0)
    >>> roi.generate_mask(width=512, height=256)
    ((64, 256),)
    """

    def __init__(self, *args: Any) -> None:
        (point,) = args if len(args) == 1 else [Point(**dict(zip("xy", args, strict=True)))]
        self.point: Point = point
        self._size = (512, 512)

    def generate_coordinates(self, width: int, height: int) -> tuple[float, float]:
        """Return x and y of the middle in pixels of an image."""
        target = self._target(width, height)
        return target.x, target.y

    def generate_mask(self, width: int, height: int) -> tuple[tuple[int, int], ...]:
        """Return y and x of each pixel of an image that lies in the region."""
        self._size = (width, height)
        y, x = self._target(width, height).pixels((height, width))
        return tuple(zip(y.tolist(), x.tolist(), strict=True))

    def generate_hull_vertices(self) -> tuple[tuple[int, int], ...]:
        """Return y and x of the pixels at the corners of the convex hull of the mask.

        In the image of the last `generate_mask`; of 512 x 512 pixels before.
        """
        corners = hull_points(np.array(self.generate_mask(*self._size)))
        return tuple(map(tuple, corners.tolist()))  # type: ignore[arg-type]

    def _target(self, width: int, height: int) -> Target:
        return Target.from_point(self.point, (height, width))


class PhotostimulationMeta:
    """What a recording or a protocol says of photostimulation.

    Now: ``cs.ImagingSession.open(folder).stimulus``

    Parameters
    ----------
    root : ElementTree
        Root or tree of mark points, of ``xml.etree`` or lxml.
    factory : object
        A `BrukerElementFactory`.
    width, height : int, default 512
        Columns and rows of the image.

    Attributes
    ----------
    series : MarkPointSeriesElements
        All of it.
    rois : tuple of ROIObject
        The regions, each once. Files of protocols do not say where points are: empty.
    groups : tuple of GroupMeta
        What each step stimulates.
    """

    def __init__(self, root: Any, factory: Any, width: int = 512, height: int = 512) -> None:
        self.series: MarkPointSeriesElements = factory.constructor(root)
        self.width, self.height = width, height
        visits = [visit for mark in self.series.marks for visit in mark.points]
        places = {point.index: point for visit in visits for point in visit.targets}
        self.rois = tuple(map(ROIObject, places.values()))
        self.groups = tuple(GroupMeta(visit.points or "", visit.indices or ()) for visit in visits)

    @property
    def stimuli(self) -> xr.Dataset:
        """One row for each stimulus, see `calscipy.photostimulation.stimulus_table`."""
        return stimulus_table(self.series, image_shape=(self.height, self.width))

    @property
    def mask(self) -> np.ndarray:
        """Image of booleans, shape (height, width), True in every region."""
        shape = (self.height, self.width)
        targets = [Target.from_point(roi.point, shape) for roi in self.rois]
        return np.any([np.zeros(shape, bool), *(one.mask(shape) for one in targets)], axis=0)
