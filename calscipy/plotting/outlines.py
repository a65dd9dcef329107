"""Outlines of ROIs on an image, and their names where there is room for them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import xarray as xr

from calscipy import model
from calscipy.errors import ArgumentError, RoiError, first_few
from calscipy.ops.rois import require_rois
from calscipy.plotting.parts import short_name, size_inches
from calscipy.plotting.style import FONT, ROI_COLOURS

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_FEW, _MANY = 40, 150  # ROIs: numbers are written large up to here, small from there on
_SMALL = 7.0  # points of the smallest numbers
_ALWAYS = 12  # ROIs: so few names are written even where they hide something
_NAME = 100.0  # where a name is written already
_SIDES = ((1, 0), (-1, 0), (0, -1), (0, 1), (1, -1), (-1, -1), (1, 1), (-1, 1))
_COVERED = 0.5  # share of a number that may lie on the pixels of ROIs before it is left out


class Footprints(NamedTuple):
    """Pixels of neurons, in the pixels of an image of which they may be finer."""

    neurons: list[Any]
    row: np.ndarray  # of every pixel: which neuron, counted from 0
    y: np.ndarray  # recorded pixels
    x: np.ndarray
    first: tuple[float, float]  # recorded pixel in the middle of the image's first one, y and x
    step: tuple[float, float]  # recorded pixels in one of the image

    def on_image(self, y: np.ndarray, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return places that are in recorded pixels in pixels of the image."""
        return (y - self.first[0]) / self.step[0], (x - self.first[1]) / self.step[1]


def footprints_on(
    image: xr.DataArray, rois: Any, verb: str, neurons: Sequence[Any] | None = None
) -> Footprints:
    """Place ROIs on an image, which may be a crop or binned.

    Raises
    ------
    RoiError
        If none of them lies on the image, or if a neuron that is asked for is not among them.
    """
    rois = require_rois(rois, verb)
    plane = image.coords.get(model.PLANE)
    if model.PLANE in rois.coords and plane is not None and not plane.dims:
        of_pixel = np.broadcast_to(rois[model.PLANE].values, rois.shape)
        rois = rois.isel({model.PIXEL: np.flatnonzero(of_pixel == plane.item())})
    rois = rois.isel({model.PIXEL: np.flatnonzero(rois.values != 0)})
    names, row = np.unique(rois[model.NEURON].values, return_inverse=True)
    whole = tuple(rois.attrs.get(model.IMAGE_SHAPE_ATTR, ()))
    same = whole == (image.sizes[model.Y], image.sizes[model.X])
    places = [(0.0, 1.0) if same else image_place(image, dim) for dim in (model.Y, model.X)]
    (first_y, step_y), (first_x, step_x) = places
    y, x = (rois[dim].values.astype(np.int64) for dim in (model.Y, model.X))
    found = Footprints(names.tolist(), row, y, x, (first_y, first_x), (step_y, step_x))
    down, across = found.on_image(y, x)
    inside = (down > -0.5) & (down < image.sizes[model.Y] - 0.5)
    inside &= (across > -0.5) & (across < image.sizes[model.X] - 0.5)
    if not inside.any():
        where = "" if plane is None or plane.dims else f" of plane {plane.item()}"
        raise RoiError(
            f"{verb}: no ROI lies on the image{where} of {image.sizes[model.Y]} x "
            f"{image.sizes[model.X]} pixels. Give ROIs of the same recording and plane."
        )
    return found if neurons is None else _only(found, neurons, verb)


def image_place(image: xr.DataArray, dim: str) -> tuple[float, float]:
    """Return the recorded pixel at the image's first one, and how many make one of its pixels."""
    if dim not in image.coords or model.PIXEL_SIZE_ATTR not in image[dim].attrs:
        return 0.0, 1.0
    recorded = float(image[dim].attrs[model.PIXEL_SIZE_ATTR])
    places = np.asarray(image[dim].values, dtype=float) / recorded
    step = float(np.median(np.diff(places))) if places.size > 1 else 1.0
    return float(places[0]), step or 1.0


def _only(found: Footprints, neurons: Sequence[Any], verb: str) -> Footprints:
    wanted = list(neurons)
    missing = [name for name in wanted if name not in found.neurons]
    if missing:
        raise RoiError(
            f"{verb}: there are no ROIs of the neurons {first_few(missing)} here; there are "
            f"{first_few(found.neurons, 5)}."
        )
    number = np.full(len(found.neurons), -1)
    number[[found.neurons.index(name) for name in wanted]] = range(len(wanted))
    row = number[found.row]
    keep = row >= 0
    return found._replace(neurons=wanted, row=row[keep], y=found.y[keep], x=found.x[keep])


def draw_rois(
    axis: Axes,
    image: xr.DataArray,
    found: Footprints,
    *,
    colours: Mapping[Any, str] | None = None,
    filled: np.ndarray | None = None,
    numbers: bool = True,
) -> None:
    """Outline the pixels of every neuron and write its name beside them.

    ``filled`` is what `covered` returns, where it is known already.
    Outlines are a collection of lines with the gid ``"rois"``, names are texts with the gid
    ``"name"``.
    """
    from matplotlib.collections import LineCollection

    if not found.neurons:
        raise ArgumentError("there is no neuron to outline.")
    shades = [
        ROI_COLOURS[at % len(ROI_COLOURS)] if colours is None else colours[name]
        for at, name in enumerate(found.neurons)
    ]
    lines, row = outlines(found.row, found.y, found.x)
    down, across = found.on_image(lines[..., 1], lines[..., 0])
    lines = np.stack([across, down], axis=-1)
    width = 1.6 if len(found.neurons) <= _MANY else 1.0
    for wide, colour, gid in (
        (width + 1.4, [(0, 0, 0, 0.45)], "rois, halo"),
        (width, [shades[at] for at in row], "rois"),
    ):
        drawn = LineCollection(list(lines), colors=colour, linewidths=wide, capstyle="round")
        drawn.set_gid(gid)
        axis.add_collection(drawn, autolim=False)
    axis.set_xlim(-0.5, image.sizes[model.X] - 0.5)
    axis.set_ylim(image.sizes[model.Y] - 0.5, -0.5)
    if numbers:
        there, boxes = _boxes(found)
        write_names(
            axis,
            [found.neurons[at] for at in there],
            boxes,
            [shades[at] for at in there],
            filled=covered(image, found) if filled is None else filled,
            word="ROIs",
        )


def _boxes(found: Footprints) -> tuple[list[int], list[tuple[float, float, float, float]]]:
    """Return the neurons that have pixels, and left, right, top and bottom of each."""
    order = np.argsort(found.row, kind="stable")
    there, first = np.unique(found.row[order], return_index=True)
    down, across = found.on_image(found.y[order], found.x[order])
    ends = [
        reduce.reduceat(along, first)
        for along in (across, down)
        for reduce in (np.minimum, np.maximum)
    ]
    return there.tolist(), list(zip(*(end.tolist() for end in ends), strict=True))


def outlines(row: np.ndarray, y: np.ndarray, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the borders between the pixels of a neuron and those that it does not have.

    Parameters
    ----------
    row, y, x : ndarray of int, shape (pixels,)
        Neuron and place of every pixel.

    Returns
    -------
    lines : ndarray, shape (lines, 2, 2)
        Straight pieces, x and y of both ends; pixel (0, 0) reaches from -0.5 to 0.5.
    row : ndarray of int, shape (lines,)
        Neuron of each of them.

    Examples
    --------
    >>> lines, row = outlines(np.array([0, 0]), np.array([2, 2]), np.array([5, 6]))
    >>> lines[0].tolist(), len(lines)
    ([[4.5, 1.5], [6.5, 1.5]], 4)
    """
    lines, rows = [], []
    for along, across in ((x, y), (y, x)):
        # Sorted by neuron, line and place on the line: what follows on each other makes a run.
        low, span = along.min() - 1, int(np.ptp(along)) + 3
        lowest, height = across.min() - 1, int(np.ptp(across)) + 3
        key = np.unique((row * height + (across - lowest)) * span + (along - low))
        for side in (-1, 1):
            open_ = key[~np.isin(key + side * span, key)]
            begin = np.flatnonzero(np.diff(open_, prepend=open_[0] - 2) != 1)
            end = np.append(begin[1:], open_.size) - 1
            line, start = np.divmod(open_[begin], span)
            owner, place = np.divmod(line, height)
            at = place + lowest + side * 0.5
            first, last = start + low - 0.5, open_[end] % span + low + 0.5
            ends = [np.stack([first, at], -1), np.stack([last, at], -1)]
            piece = np.stack(ends, axis=1)
            lines.append(piece if along is x else piece[..., ::-1])
            rows.append(owner)
    return np.concatenate(lines), np.concatenate(rows)


def write_names(
    axis: Axes,
    names: Sequence[Any],
    boxes: Sequence[tuple[float, float, float, float]],
    shades: Sequence[str],
    *,
    filled: np.ndarray,
    word: str,
) -> None:
    """Write names beside what lies on an image, in its order, none over another one.

    Of very many, those are left out that find no room, and the axis says how many are there.

    Parameters
    ----------
    axis : matplotlib.axes.Axes
        Axes of the image, with its limits set.
    names, boxes, shades : sequence
        Name, left, right, top and bottom in pixels, and colour of each.
    filled : ndarray, shape (y, x)
        Above 0 where names should not lie; it is changed.
    word : str
        What is named, such as ``"ROIs"``.
    """
    from matplotlib.patheffects import withStroke

    count = len(names)
    font = FONT if count <= _FEW else FONT - 1 if count <= _MANY else _SMALL
    wide, tall = size_inches(axis)
    point = filled.shape[1] / (wide * 72), filled.shape[0] / (tall * 72)  # pixels in a point
    dark = [withStroke(linewidth=2.0, foreground="black")]
    left_out = 0
    for name, box, shade in zip(names, boxes, shades, strict=True):
        text = short_name(name, 12)
        size = 0.7 * font * len(text) * point[0], 1.1 * font * point[1]
        gap = 3.0 * point[0], 2.0 * point[1]
        place = _best_place(box, size, filled, gap, most=np.inf if count <= _ALWAYS else _COVERED)
        if place is None:
            left_out += 1
            continue
        left, top, side = place
        cover(filled, left, top, size)
        written = axis.text(
            left + (1 - side) / 2 * size[0], top + size[1] / 2, text, va="center",
            ha={1: "left", 0: "center", -1: "right"}[side],
            fontsize=font, fontweight="bold", color=shade, path_effects=dark,
            clip_on=count > _ALWAYS,
        )  # fmt: skip
        written.set_gid("name")
    if left_out and not axis.get_xlabel():
        words = f"names of {count - left_out} of {count} {word}"
        axis.set_xlabel(words, fontsize=FONT - 1)


def covered(image: xr.DataArray, found: Footprints) -> np.ndarray:
    """Return an image ``(y, x)`` that is 1 on the pixels of ROIs."""
    down, across = found.on_image(found.y, found.x)
    shape = image.sizes[model.Y], image.sizes[model.X]
    taken = np.zeros(shape)
    y, x = np.round(down).astype(int), np.round(across).astype(int)
    inside = (y >= 0) & (y < shape[0]) & (x >= 0) & (x < shape[1])
    taken[y[inside], x[inside]] = 1
    return taken


def _best_place(
    box: tuple[float, float, float, float],
    size: tuple[float, float],
    filled: np.ndarray,
    gap: tuple[float, float],
    *,
    most: float,
) -> tuple[float, float, int] | None:
    """Return where a text beside a box hides least, if there is room: left, top, and its side."""
    left, right, top, bottom = box
    middle = (left + right) / 2, (top + bottom) / 2
    reach = (right - left) / 2 + gap[0] + size[0] / 2, (bottom - top) / 2 + gap[1] + size[1] / 2
    best, place = most, None
    for sign_x, sign_y in _SIDES:
        corner = (
            middle[0] + sign_x * reach[0] - size[0] / 2,
            middle[1] + sign_y * reach[1] - size[1] / 2,
        )
        under = _under(filled, *corner, size)
        if under < best - 0.02:  # the first sides are the usual ones
            best, place = under, (*corner, sign_x)
    return place


def box_pixels(left: float, top: float, size: tuple[float, float]) -> tuple[slice, slice]:
    """Return the pixels of an image that a box covers."""
    x, y = int(np.floor(left + 0.5)), int(np.floor(top + 0.5))
    stop_x, stop_y = int(np.ceil(left + size[0] + 0.5)), int(np.ceil(top + size[1] + 0.5))
    return slice(max(y, 0), max(stop_y, 0)), slice(max(x, 0), max(stop_x, 0))


def cover(filled: np.ndarray, left: float, top: float, size: tuple[float, float]) -> None:
    """Mark where no further name may be written."""
    filled[box_pixels(left, top, size)] = _NAME


def _under(filled: np.ndarray, left: float, top: float, size: tuple[float, float]) -> float:
    """Return which share of a text would lie on ROIs; 1 or more on names or outside."""
    height, width = filled.shape
    under = filled[box_pixels(left, top, size)]
    outside = left < -0.5 or top < -0.5
    outside |= left + size[0] > width - 0.5 or top + size[1] > height - 0.5
    return float(under.mean() if under.size else 0.0) + outside
