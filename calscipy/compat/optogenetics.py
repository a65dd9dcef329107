"""Regions to stimulate (``CalSciPy.optogenetics``)."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import ArrayLike

from calscipy import model, ops
from calscipy.errors import RoiError
from calscipy.io.suite2p import rois_from_suite2p
from calscipy.kernels.ellipses import Ellipse, ellipse_pixels, polygon_centroid
from calscipy.kernels.hulls import hull_points
from calscipy.photostimulation import Target, targets_from_rois

Shape = tuple[int, int]


def calculate_centroid(vertices: ArrayLike) -> tuple[float, float]:
    """Return the middle (y, x) of the area of a polygon, whichever way around it is given.

    Now: ``cs.roi_statistics(square)``

    Parameters
    ----------
    vertices : array_like, shape (corners, 2)
        Corners (y, x), in order around it. Of a polygon without area, the mean of its corners.

    Examples
    --------
    >>> calculate_centroid([[0, 0], [0, 2], [2, 2], [2, 0]])
    (1.0, 1.0)
    """
    return tuple(polygon_centroid(np.asarray(vertices)).tolist())  # type: ignore[return-value]


def calculate_mask(
    center: Sequence[float],
    radii: float | Sequence[float],
    reference_shape: Shape = (512, 512),
    theta: float = 0.0,
) -> np.ndarray:
    """Return the pixels whose middles lie in an ellipse.

    Now: ``cs.photostimulation.Target(x=5, y=4, width=4, height=4).pixels((9, 9))``

    Parameters
    ----------
    center : (float, float)
        Its middle, y and x. It is not changed, as 0.3.5 did.
    radii : float or (float, float)
        Half of its axes along y and x before it is turned.
    reference_shape : (int, int), default (512, 512)
        Rows and columns of the image.
    theta : float, default 0
        Angle in degrees by which it is turned from +x towards +y, which 0.3.5 passed over.

    Returns
    -------
    ndarray of int, shape (pixels, 2)
        y and x; at least the pixel nearest to the middle.

    Examples
    --------
    >>> calculate_mask((1, 2), (1, 2), (4, 6))[:, 1].tolist()
    [2, 0, 1, 2, 3, 4, 2]
    """
    high, wide = np.broadcast_to(radii, (2,)).tolist()
    y, x = map(float, center)
    ellipse = Ellipse(y, x, 2 * high, 2 * wide, math.radians(theta))
    return np.column_stack(ellipse_pixels(ellipse, reference_shape))


def calculate_vertices(pixels: ArrayLike) -> np.ndarray:
    """Return the pixels at the corners of the convex hull of a region.

    Now: ``cs.roi_hulls(rois)``

    Parameters
    ----------
    pixels : array_like, shape (pixels, 2)
        y and x.

    Returns
    -------
    ndarray, shape (corners, 2)
        In order around it. Single pixels and lines have one and two corners, where 0.3.5 failed.

    Examples
    --------
    >>> sorted(calculate_vertices([[0, 0], [0, 1], [0, 2], [1, 1]]).tolist())
    [[0, 0], [0, 2], [1, 1]]
    """
    return hull_points(np.asarray(pixels))


def calculate_bounding_radius(centroid: Sequence[float], vertices: ArrayLike) -> float:
    """Return the radius of the circle around a centroid that holds all corners.

    Now: ``cs.roi_statistics(rois)``

    Parameters
    ----------
    centroid : (float, float)
        y and x.
    vertices : array_like, shape (corners, 2)
        y and x.

    Examples
    --------
    >>> calculate_bounding_radius((0, 0), [[3, 4], [1, 0]])
    5.0
    """
    return float(np.hypot(*(np.asarray(vertices) - np.asarray(centroid)).T).max())


class ROI:
    """A region of an image.

    Now: ``cs.roi_statistics(rois)``

    Parameters
    ----------
    pixels : array_like, shape (pixels, 2)
        y and x.
    reference_shape : (int, int), default (512, 512)
        Rows and columns of the image.
    name : int or str, optional
        Its name, such as the label of a neuron.

    Examples
    --------
    >>> ROI([[0, 0], [0, 2], [2, 0], [2, 2]]).centroid
    (1.0, 1.0)
    """

    def __init__(
        self, pixels: ArrayLike, reference_shape: Shape = (512, 512), name: int | str | None = None
    ) -> None:
        self.pixels, self.reference_shape, self.name = np.asarray(pixels), reference_shape, name
        if self.pixels.ndim != 2 or self.pixels.shape[1] != 2 or not len(self.pixels):
            raise RoiError(f"ROI needs pixels of the shape (pixels, 2), got {self.pixels.shape}.")

    @property
    def vertices(self) -> np.ndarray:
        """Pixels at the corners of the convex hull."""
        return calculate_vertices(self.pixels)

    @property
    def centroid(self) -> tuple[float, float]:
        """Middle of the area of the hull, y and x."""
        return calculate_centroid(self.vertices)

    @property
    def bounding_radius(self) -> float:
        """Radius of the circle around the centroid that holds all of it."""
        return calculate_bounding_radius(self.centroid, self.vertices)

    @property
    def mask(self) -> np.ndarray:
        """Image of booleans, True in the region."""
        mask = np.zeros(self.reference_shape, bool)
        mask[tuple(self.pixels.T)] = True
        return mask


class Mask(ROI):
    """An ellipse on an image.

    Now: ``cs.photostimulation.Target(x=5, y=4, width=4, height=4).mask((9, 9))``

    Parameters
    ----------
    center, radii, reference_shape, theta
        See `calculate_mask`.
    name : int or str, optional
        Its name.

    Examples
    --------
    >>> len(Mask((5, 5), 2, (11, 11)).pixels)
    13
    """

    def __init__(
        self,
        center: Sequence[float],
        radii: float | Sequence[float],
        reference_shape: Shape = (512, 512),
        theta: float = 0.0,
        name: int | str | None = None,
    ) -> None:
        pixels = calculate_mask(center, radii, reference_shape, theta)
        super().__init__(pixels, reference_shape, name)


@dataclass(frozen=True)
class Group:
    """Regions that are stimulated together.

    Now: ``cs.photostimulation.GalvoPointGroup(indices=(3, 7), name="Group 1")``

    Parameters
    ----------
    targets : sequence of int or str
        Names of the regions.
    name : str
        Its name.
    """

    targets: Sequence[int | str] = ()
    name: str = "Group 1"


@dataclass(frozen=True, eq=False)
class Photostimulation:
    """Regions to choose targets from.

    Now: ``cs.photostimulation.targets_from_rois(rois)``

    Parameters
    ----------
    rois : sequence of ROI
        Regions.
    reference_image : ndarray, shape (y, x), optional
        What they are drawn on.
    groups : sequence of Group
        Those stimulated together.

    Examples
    --------
    >>> rois = [Mask((4, 5), 2, (9, 9), name=3)]
    >>> Photostimulation(rois).targets[0].label
    3
    """

    rois: Sequence[ROI]
    reference_image: np.ndarray | None = None
    groups: Sequence[Group] = ()

    @classmethod
    def import_suite2p(
        cls, folder: str | os.PathLike[str], reference_image: np.ndarray | None = None
    ) -> Self:
        """Take the regions of a suite2p folder; all of them, by their numbers."""
        found = rois_from_suite2p(folder)
        pixels = np.column_stack([found[model.Y].values, found[model.X].values])
        shape = tuple(found.attrs.get(model.IMAGE_SHAPE_ATTR, pixels.max(axis=0) + 1))
        names, first = np.unique(found[model.NEURON].values, return_index=True)
        parts = zip(np.split(pixels, first[1:]), names.tolist(), strict=True)
        return cls([ROI(part, shape, name) for part, name in parts], reference_image)

    @property
    def targets(self) -> list[Target]:
        """Ellipses of the places and sizes of the regions, for `build_protocol`."""
        named = {at if r.name is None else r.name: r.pixels for at, r in enumerate(self.rois)}
        shape = self.rois[0].reference_shape
        return targets_from_rois(ops.rois_from_pixels(named, image_shape=shape))
