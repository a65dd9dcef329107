"""Regions to stimulate: ellipses in pixels, from records and to regions of interest."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr

from calscipy import model
from calscipy.errors import ArgumentError, RoiError, first_few
from calscipy.io.photostimulation import Point
from calscipy.kernels.ellipses import (
    Ellipse,
    ellipse_outline,
    ellipse_pixels,
    polygon_centroid,
)
from calscipy.kernels.roi_statistics import convex_hull, ellipse_axes, moments
from calscipy.kernels.rois import require_image_shape, require_pixels
from calscipy.ops.rois import require_rois

Shape = tuple[int, int]

_SAME_ANGLE = 1e-6  # degrees


@dataclass(frozen=True, kw_only=True)
class Target:
    """A place to stimulate: an ellipse on the image, in pixels.

    Parameters
    ----------
    x, y : float
        Its middle, to the right and downwards; the middle of the first pixel is 0.
    width, height : float, default 0
        Its full axes before it is turned.
    theta : float, default 0
        Angle in degrees by which it is turned from +x towards +y: clockwise on the screen.
    z : float, optional
        Height in um. NaN where it does not matter.
    label : int or str, optional
        Whose target it is, such as the label of a neuron.

    Raises
    ------
    RoiError
        For a place or size that is no finite number; all of them are named.

    Examples
    --------
    >>> target = Target(x=3, y=2, width=4, height=2, theta=90)
    >>> target.mask((5, 6)).astype(int).sum(axis=1).tolist()
    [1, 1, 3, 1, 1]
    """

    x: float
    y: float
    width: float = 0.0
    height: float = 0.0
    theta: float = 0.0
    z: float = math.nan
    label: int | str | None = None

    def __post_init__(self) -> None:
        wrong = []
        for name in ("x", "y", "width", "height", "theta", "z"):
            value = getattr(self, name)
            number = isinstance(value, int | float | np.integer | np.floating)
            if isinstance(value, bool) or not number:
                wrong.append(f"{name}={value!r} is no number")
            elif math.isinf(value) or (math.isnan(value) and name != "z"):
                wrong.append(f"{name}={value} is not finite")
            elif name in ("width", "height") and value < 0:
                wrong.append(f"{name}={value} is negative")
            else:
                object.__setattr__(self, name, float(value))
        label = _plain(self.label)
        if isinstance(label, bool) or not isinstance(label, int | str | None):
            wrong.append("its label is neither a whole number nor a text")
        object.__setattr__(self, "label", label)
        if wrong:
            which = "" if self.label is None else f" {self.label}"
            raise RoiError(f"target{which}: {'; '.join(wrong)}. Give places and sizes in pixels.")

    @classmethod
    def from_point(
        cls, point: Point, image_shape: Shape, *, label: int | str | None = None
    ) -> Target:
        """Make a target of a point that an acquisition recorded.

        Parameters
        ----------
        point : Point
            Its place and spiral as shares of the field.
        image_shape : (int, int)
            Rows and columns of the image.
        label : int or str, optional
            Whose target it is.

        Raises
        ------
        RoiError
            If the place is not finite, which is what rigs without a calibrated Y write.

        Examples
        --------
        >>> Target.from_point(Point(x=0.5, y=0.25, is_spiral=False), (512, 256)).y
        128.0
        """
        rows, columns = require_image_shape(image_shape, "Target.from_point")
        size = (point.spiral_width or 0.0, point.spiral_height or 0.0)
        width, height = size if point.is_spiral else (0.0, 0.0)
        return cls(
            x=point.x * columns,
            y=point.y * rows,
            width=width * columns,
            height=height * rows,
            z=math.nan if point.z is None else point.z,
            label=label,
        )

    def to_point(self, image_shape: Shape, *, index: int = 0) -> Point:
        """Return the target as acquisitions record points: in shares of the field.

        Parameters
        ----------
        image_shape : (int, int)
            Rows and columns of the image.
        index : int, default 0
            Place in the point list.

        Raises
        ------
        RoiError
            If the ellipse is turned by other than right angles, which a point cannot tell.

        Examples
        --------
        >>> Target(x=128, y=64, width=8, height=8).to_point((128, 256)).spiral_width
        0.03125
        """
        rows, columns = require_image_shape(image_shape, "Target.to_point")
        width, height = self.width, self.height
        quarters = round(self.theta / 90)
        turned = abs(self.theta - 90 * quarters) > _SAME_ANGLE
        if turned and not math.isclose(width, height):
            raise RoiError(
                f"target {self.label}: points have no angle, but this one is turned by "
                f"{self.theta:g} degrees. Give it theta=0."
            )
        if quarters % 2:
            width, height = height, width
        return Point(
            index=index,
            x=self.x / columns,
            y=self.y / rows,
            z=None if math.isnan(self.z) else self.z,
            is_spiral=width > 0 or height > 0,
            spiral_width=width / columns,
            spiral_height=height / rows,
        )

    @property
    def ellipse(self) -> Ellipse:
        """The target as the kernels take it."""
        return Ellipse(self.y, self.x, self.height, self.width, math.radians(self.theta))

    def pixels(self, image_shape: Shape) -> tuple[np.ndarray, np.ndarray]:
        """Return y and x of the pixels whose middles lie in it, at least the nearest one.

        Examples
        --------
        >>> Target(x=1.3, y=2.0).pixels((4, 4))
        (array([2]), array([1]))
        """
        return ellipse_pixels(self.ellipse, require_image_shape(image_shape, "Target.pixels"))

    def mask(self, image_shape: Shape) -> np.ndarray:
        """Return an image of booleans, True in the target.

        Examples
        --------
        >>> Target(x=1, y=1, width=2, height=2).mask((3, 3)).astype(int).tolist()
        [[0, 1, 0], [1, 1, 1], [0, 1, 0]]
        """
        mask = np.zeros(require_image_shape(image_shape, "Target.mask"), dtype=bool)
        mask[self.pixels(image_shape)] = True
        return mask

    def outline(self, points: int = 64) -> np.ndarray:
        """Return points (y, x) around it, shape ``(points, 2)``."""
        return ellipse_outline(self.ellipse, points)

    def hull_vertices(self, image_shape: Shape) -> np.ndarray:
        """Return the corners (y, x) of the convex hull of its pixels, as squares.

        Raises
        ------
        RoiError
            If no pixel of it is in the image.

        Examples
        --------
        >>> Target(x=1, y=1).hull_vertices((3, 3)).tolist()
        [[0.5, 0.5], [0.5, 1.5], [1.5, 1.5], [1.5, 0.5]]
        """
        y, x = self.pixels(image_shape)
        if not y.size:
            raise RoiError(f"target {self.label}: no pixel of it is in the image {image_shape}.")
        corners = convex_hull(y, x)
        # The same direction and first corner whatever the library gives.
        around = np.arctan2(*(corners - polygon_centroid(corners)).T)
        return corners[np.argsort(around)]


def targets_from_rois(
    rois: xr.DataArray | np.ndarray,
    *,
    neurons: Sequence[Any] | None = None,
    z: Mapping[Any, float] | None = None,
) -> list[Target]:
    """Make a target of the footprint of each neuron.

    Parameters
    ----------
    rois : DataArray or ndarray
        ROIs in long form or a label image.
    neurons : sequence, optional
        Labels of the neurons to take, in this order; all of them by default.
    z : mapping, optional
        Height in um of each plane, for ROIs with planes.

    Returns
    -------
    list of Target
        Ellipses with the weighted middle and second moments of the footprints.

    Raises
    ------
    RoiError
        For neurons that there are not, that come twice or lie in several planes.

    Examples
    --------
    >>> labels = np.zeros((9, 9), int)
    >>> labels[2:5, 1:8] = 7
    >>> (target,) = targets_from_rois(labels)
    >>> target.label, target.x, target.y, target.width > target.height
    (7, 4.0, 3.0, True)
    """
    rois = require_rois(rois, "targets_from_rois")
    names = rois[model.NEURON].values
    y, x, weight = rois[model.Y].values, rois[model.X].values, rois.values
    require_pixels("targets_from_rois", names, y, x, weight, plane=_planes(rois))
    known, first, row = np.unique(names, return_index=True, return_inverse=True)
    chosen = known.tolist() if neurons is None else [_plain(name) for name in neurons]
    _require_known(chosen, known.tolist())
    found = moments(row, y, x, weight, known.size)
    long, short = ellipse_axes(found.yy, found.xx, found.yx)
    angle = np.degrees(np.arctan2(2 * found.yx, found.xx - found.yy) / 2)
    heights = _heights(rois, row, first, known, z)
    place = {name: at for at, name in enumerate(known.tolist())}
    return [
        Target(
            x=found.x[at],
            y=found.y[at],
            width=long[at],
            height=short[at],
            theta=angle[at],
            z=heights[at],
            label=name,
        )
        for name, at in ((name, place[name]) for name in chosen)
    ]


def _plain(name: Any) -> Any:
    return name.item() if isinstance(name, np.generic) else name


def _planes(rois: xr.DataArray) -> np.ndarray | None:
    if model.PLANE not in rois.coords:
        return None
    return np.broadcast_to(rois[model.PLANE].values, rois.shape)


def _require_known(chosen: list[Any], known: list[Any]) -> None:
    there = set(known)
    unknown = [name for name in chosen if name not in there]
    twice = [name for name, count in Counter(chosen).items() if count > 1]
    if unknown or twice or not chosen:
        problem = f"{first_few(unknown, 10)} are not among the ROIs" if unknown else ""
        problem = problem or (f"{first_few(twice, 10)} come twice" if twice else "there are none")
        raise RoiError(
            f"targets_from_rois: of the neurons asked for, {problem}. The ROIs are of the neurons "
            f"{first_few(known, 10)}."
        )


def _heights(
    rois: xr.DataArray,
    row: np.ndarray,
    first: np.ndarray,
    known: np.ndarray,
    z: Mapping[Any, float] | None,
) -> np.ndarray:
    """Return the height of each neuron in um, NaN where it is not known."""
    planes = _planes(rois)
    if planes is None:
        if z is not None:
            raise ArgumentError("targets_from_rois: z= is of planes, but these ROIs have none.")
        return np.full(known.size, np.nan)
    split = np.unique(row[planes != planes[first][row]])
    if split.size:
        raise RoiError(
            f"targets_from_rois: the neurons {first_few(known[split].tolist())} have pixels in "
            "several planes. Give every neuron one plane."
        )
    if z is None:
        return np.full(known.size, np.nan)
    missing = sorted(set(planes.tolist()) - set(z))
    if missing:
        raise ArgumentError(f"targets_from_rois: z= has no height for the planes {missing}.")
    return np.array([float(z[plane]) for plane in planes[first].tolist()])


def rois_from_targets(targets: Iterable[Target], image_shape: Shape) -> xr.DataArray:
    """Make ROIs of targets, to extract traces from what was stimulated.

    Parameters
    ----------
    targets : iterable of Target
        Those without a label are numbered from 0, if none has one.
    image_shape : (int, int)
        Rows and columns of the recording.

    Returns
    -------
    DataArray
        ROIs in long form, with weights of 1.

    Raises
    ------
    RoiError
        For targets outside of the image and labels that are missing or come twice.

    Examples
    --------
    >>> rois = rois_from_targets([Target(x=2, y=1), Target(x=0, y=0)], (3, 4))
    >>> rois.neuron.values.tolist(), rois.y.values.tolist(), rois.x.values.tolist()
    ([0, 1], [1, 0], [2, 0])
    """
    rows, columns = require_image_shape(image_shape, "rois_from_targets")
    listed = list(targets)
    if not listed:
        raise RoiError("rois_from_targets needs at least one target, got none.")
    labels = [target.label for target in listed]
    if all(label is None for label in labels):
        labels = list(range(len(listed)))
    if None in labels or len(set(labels)) < len(labels):
        raise RoiError(
            f"rois_from_targets needs a label of its own for each target, got "
            f"{first_few(labels, 10)}."
        )
    pixels = [target.pixels((rows, columns)) for target in listed]
    outside = [label for label, (y, _) in zip(labels, pixels, strict=True) if not y.size]
    if outside:
        raise RoiError(
            f"rois_from_targets: the targets {first_few(outside, 10)} lie outside of the image of "
            f"{rows} x {columns} pixels."
        )
    counts = [y.size for y, _ in pixels]
    return model.rois_long_form(
        np.repeat(np.array(labels), counts),
        np.concatenate([y for y, _ in pixels]),
        np.concatenate([x for _, x in pixels]),
        np.ones(sum(counts), np.float32),
        image_shape=(rows, columns),
    )
