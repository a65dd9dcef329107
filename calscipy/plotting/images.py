"""Images with scale bar, contrast and colour bar, and the ROIs on them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import dask
import numpy as np
import xarray as xr

from calscipy import model
from calscipy.errors import ArgumentError, DimensionError
from calscipy.plotting.outlines import box_pixels, cover, covered, draw_rois, footprints_on
from calscipy.plotting.parts import (
    axes_or_new,
    capitalised,
    head,
    nice_length,
    plain,
    settle,
    size_inches,
)
from calscipy.plotting.style import (
    FONT,
    GREY,
    IMAGE_MAP,
    MISSING_COLOUR,
    amount,
    contrast_limits,
    label,
    name_of,
    units_text,
    with_units,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_FLATTEST, _TALLEST = 0.25, 1.8  # height over width of images drawn in proportion
_WIDEST, _HIGHEST = 5.6, 6.4  # inches of an image in a figure of its own


def plot_image(
    image: xr.DataArray,
    rois: xr.DataArray | None = None,
    *,
    neurons: Sequence[Any] | None = None,
    numbers: bool = True,
    limits: tuple[float, float] | None = None,
    colormap: str = IMAGE_MAP,
    scale_bar: bool = True,
    colour_bar: bool = True,
    title: str | None = None,
    ax: Axes | None = None,
) -> Axes:
    """Draw an image, with the outlines of ROIs on it; a lazy image or lazy ROIs are computed.

    Parameters
    ----------
    image : DataArray
        Image ``(y, x)``. Where it is NaN, its paper shows, hatched.
    rois : DataArray, optional
        ROIs in long form, made on the image or on the recording that it is a part of. Of those
        with planes, the ones in the image's ``plane`` are drawn.
    neurons : sequence, optional
        Neurons to draw; all by default.
    numbers : bool, default True
        Write the names of the ROIs beside them, where there is room.
    limits : (float, float), optional
        Values that are shown darkest and brightest; by default the 1st and 99.7th percentile.
    colormap : str, default "gray"
        Name of a matplotlib colour map.
    scale_bar : bool, default True
        Draw a bar of a round length in µm instead of axes. Without it, or where the size of
        pixels is not known, the axes are labelled.
    colour_bar : bool, default True
        Draw the scale of the values, with their units.
    title : str, optional
        By default the ``long_name`` of the image.
    ax : matplotlib.axes.Axes, optional
        Where to draw; by default in a new figure, which pyplot does not know.

    Returns
    -------
    matplotlib.axes.Axes
        Its coordinates are pixels of the image, 0 being the middle of the first one. Save it with
        ``calscipy.plotting.save_figure(axes.figure, path)``.

    Raises
    ------
    DimensionError
        For an image with further dimensions, such as channels.
    RoiError
        If no ROI lies on the image.

    Examples
    --------
    >>> image = xr.DataArray(np.eye(16), dims=("y", "x"), attrs={"long_name": "mean"})
    >>> axes = plot_image(image, cs.rois_from_labels(np.eye(16, dtype=int)))
    >>> axes.get_title("left"), axes.get_xlabel(), axes.images[0].get_array().shape
    ('Mean', 'column [pixels]', (16, 16))
    """
    require_image(image, "plot_image")
    if neurons is not None and rois is None:
        raise ArgumentError("plot_image needs rois= to draw the given neurons.")
    image, rois = dask.compute(image, rois)
    found = None if rois is None else footprints_on(image, rois, "plot_image", neurons)
    ratio = drawn_aspect(image)
    wide = min(_WIDEST, _HIGHEST / ratio)
    own = ax is None
    ax = axes_or_new(ax, wide + (1.0 if colour_bar else 0.3), wide * ratio + 0.6)
    shown = show_image(ax, image, limits, colormap)
    ax.set_aspect(ratio * image.sizes[model.X] / image.sizes[model.Y])
    if colour_bar:
        bar_beside(
            ax, shown, units_text(image.attrs.get("units")) if title is None else label(image)
        )
    filled = None if found is None else covered(image, found)
    if scale_bar and microns_per_pixel(image) is not None:
        draw_scale_bar(ax, image, filled)
    else:
        _label_pixels(ax, image)
    if found is not None:
        draw_rois(ax, image, found, filled=filled, numbers=numbers)
    head(ax, capitalised(name_of(image, "image")) if title is None else title, {})
    if own:
        settle(ax)
    return ax


def require_image(image: Any, verb: str) -> None:
    """Raise unless this is an image ``(y, x)`` of numbers."""
    if not isinstance(image, xr.DataArray):
        raise ArgumentError(f"{verb} needs an image as a DataArray, got {type(image).__name__}.")
    model.require_dims(image, (model.Y, model.X), verb)
    others = [dim for dim in image.dims if dim not in (model.Y, model.X)]
    if others:
        first = others[0]
        raise DimensionError(
            f"{verb} draws one image (y, x), found {dict(image.sizes)}. Select one, for instance "
            f"image.isel({first}=0), or reduce it: image.max({first!r})."
        )
    if image.dtype.kind not in "biuf" or not image.size:
        raise ArgumentError(
            f"{verb} needs an image of numbers, got {image.dtype} of the shape {image.shape}."
        )


def microns_per_pixel(data: xr.DataArray) -> tuple[float, float] | None:
    """Return the size of a pixel along y and x, from the coordinates as they are now."""
    sizes = []
    for dim in (model.Y, model.X):
        if dim not in data.coords or data[dim].attrs.get("units") != "um":
            return None
        steps = np.diff(np.asarray(data[dim].values, dtype=float))
        recorded = data[dim].attrs.get(model.PIXEL_SIZE_ATTR, 1.0)
        size = float(np.median(np.abs(steps))) if steps.size else float(recorded)
        if not (np.isfinite(size) and size > 0):
            return None
        sizes.append(size)
    return sizes[0], sizes[1]


def drawn_aspect(image: xr.DataArray) -> float:
    """Return the height to draw over the width: true to um, but for very tall or flat images."""
    return min(max(true_aspect(image), _FLATTEST), _TALLEST)


def true_aspect(image: xr.DataArray) -> float:
    """Return height over width of an image in space."""
    height, width = microns_per_pixel(image) or (1.0, 1.0)
    return image.sizes[model.Y] * height / (image.sizes[model.X] * width)


def show_image(
    axis: Axes,
    image: xr.DataArray,
    limits: tuple[float, float] | None = None,
    colormap: str = IMAGE_MAP,
) -> Any:
    """Show an image, axes in pixels, filling its axes; its paper, hatched, where it is NaN."""
    values = np.asarray(image.transpose(model.Y, model.X).values, dtype=float)
    low, high = limits or contrast_limits(values)
    missing = ~np.isfinite(values)
    shown = axis.imshow(
        np.ma.masked_array(values, missing), cmap=colormap, vmin=low, vmax=high,
        interpolation="antialiased", aspect="auto",
    )  # fmt: skip
    if missing.any():
        hatch_paper(axis)
    axis.set_xticks([])
    axis.set_yticks([])
    return shown


def hatch_paper(axis: Axes) -> None:
    """Make what lies behind an image look like nothing that an image holds, also in grey."""
    axis.patch.set(facecolor=MISSING_COLOUR, edgecolor=GREY, hatch="////", linewidth=0)


def colour_bar_below(figure: Any, axis: Axes, shown: Any, image: xr.DataArray) -> None:
    """Put a bar right below an image in axes of a fixed place, as wide as it."""
    tall = axis.get_position().height * figure.get_figheight()
    below = axis.inset_axes((0.0, -0.16 / tall, 1.0, 0.09 / tall))
    bar = figure.colorbar(shown, cax=below, orientation="horizontal", extend="both")
    bar.outline.set(linewidth=0.5, edgecolor=GREY)
    below.tick_params(labelsize=7.5, length=2, pad=1.5)
    below.locator_params(nbins=5)
    bar.set_label(plain(units_text(image.attrs.get("units"))), fontsize=FONT - 1, labelpad=1)


def bar_beside(axis: Axes, shown: Any, text: str, *, extend: str = "both") -> Any:
    """Put a bar at the right of axes, as high as they are."""
    wide = size_inches(axis)[0]
    beside = axis.inset_axes((1 + 0.08 / wide, 0.0, 0.13 / wide, 1.0))
    bar = axis.figure.colorbar(shown, cax=beside, extend=extend, extendfrac=0.02)
    bar.outline.set(linewidth=0.5, edgecolor=GREY)
    beside.tick_params(labelsize=FONT - 1, length=2.5, pad=2)
    bar.set_label(plain(text), fontsize=FONT)
    return bar


def _label_pixels(axis: Axes, image: xr.DataArray) -> None:
    """Label the axes: in µm from the recording's first pixel, or in pixels."""
    from matplotlib.ticker import FuncFormatter, MaxNLocator

    size = microns_per_pixel(image)
    for number, (dim, word) in enumerate(((model.Y, "row"), (model.X, "column"))):
        along = axis.yaxis if dim == model.Y else axis.xaxis
        along.set_major_locator(MaxNLocator(nbins=6, integer=size is None))
        if size is None:
            along.set_label_text(f"{word} [pixels]", fontsize=FONT)
        else:
            first, step = float(image[dim].values[0]), size[number]
            along.set_major_formatter(
                FuncFormatter(lambda at, _, first=first, step=step: f"{first + at * step:g}")
            )
            along.set_label_text(with_units(f"{dim} position", "um"), fontsize=FONT)
    axis.tick_params(labelsize=FONT - 1)


def draw_scale_bar(axis: Axes, image: xr.DataArray, filled: np.ndarray | None = None) -> None:
    """Draw a bar of a round length, about a fifth of the width, if the size of pixels is known.

    Parameters
    ----------
    axis : matplotlib.axes.Axes
        Axes of the image.
    image : DataArray
        Image ``(y, x)``.
    filled : ndarray, shape (y, x), optional
        Above 0 on ROIs; the bar goes where there are fewer, and is marked as a place where no
        name may be written.
    """
    from matplotlib.collections import PolyCollection

    size = microns_per_pixel(image)
    if size is None:
        return
    height, width = image.sizes[model.Y], image.sizes[model.X]
    length = nice_length(0.25 * width * size[1])
    pixels, text = length / size[1], amount(length, "um")
    wide, tall = size_inches(axis)
    point = width / (72 * wide), height / (72 * tall)  # pixels in a point
    reach = max(pixels, 0.62 * FONT * len(text) * point[0]) + 8 * point[0]
    high = (FONT + 10) * point[1]
    left, top = _free_corner(image, filled, (reach, high))
    middle = left + reach / 2
    corners = [(left, top), (left + reach, top), (left + reach, top + high), (left, top + high)]
    ground = PolyCollection([corners], facecolors="black", alpha=0.55, linewidths=0, zorder=5)
    ground.set_gid("scale bar, ground")
    axis.add_collection(ground, autolim=False)
    (bar,) = axis.plot(
        [middle - pixels / 2, middle + pixels / 2], [top + (FONT + 5.5) * point[1]] * 2,
        color="white", lw=2.5, solid_capstyle="butt", zorder=6,
    )  # fmt: skip
    bar.set_gid("scale bar")
    axis.text(
        middle, top + 1.5 * point[1], text, ha="center", va="top", fontsize=FONT, color="white",
        zorder=6,
    )  # fmt: skip
    if filled is not None:
        cover(filled, left, top, (reach, high))
    axis.set_xlim(-0.5, width - 0.5)
    axis.set_ylim(height - 0.5, -0.5)


def _free_corner(
    image: xr.DataArray, filled: np.ndarray | None, size: tuple[float, float]
) -> tuple[float, float]:
    """Return left and top of a box in the corner with the fewest ROIs, then below, then dark."""
    values = np.asarray(image.transpose(model.Y, model.X).values, dtype=float)
    height, width = values.shape
    lefts = 0.04 * width - 0.5, 0.96 * width - 0.5 - size[0]
    tops = 0.95 * height - 0.5 - size[1], 0.05 * height - 0.5

    def busy(place: tuple[float, float]) -> tuple[float, bool, float]:
        window = box_pixels(*place, size)
        under = values[window]
        under = under[np.isfinite(under)]
        covered = 0.0 if filled is None else float(filled[window].sum())
        return covered, place[1] < height / 2, float(under.mean()) if under.size else 0.0

    return min(((left, top) for top in tops for left in lefts), key=busy)
