"""What the figures share: axes, images, colour and scale bars, and how they are written."""

from __future__ import annotations

import io
import os
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr

from calscipy import model
from calscipy.errors import (
    ArgumentError,
    TimeAxisError,
)
from calscipy.io.output import require_free

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

INK, GREY, ALERT = "#222222", "#767676", "#D55E00"
_LOW, _HIGH = 1.0, 99.7  # percentiles between which images are shown
_FLATTEST, _TALLEST = 0.25, 1.8  # height over width of images drawn in proportion
_NICE = (0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000)


def save_figure(figure: Figure, path: str | os.PathLike[str], *, dpi: int = 150) -> Path:
    """Write a figure into a new PNG.

    Parameters
    ----------
    figure : matplotlib.figure.Figure
        The figure.
    path : path
        The PNG, which must not exist.
    dpi : int, default 150
        Pixels per inch.

    Returns
    -------
    Path
        The PNG.

    Raises
    ------
    TargetExistsError
        If there is anything at ``path``.

    Examples
    --------
    >>> from matplotlib.figure import Figure
    >>> save_figure(Figure(), "empty.png").name
    'empty.png'
    """
    target = Path(path)
    require_png(target)
    drawn = io.BytesIO()
    # No software version in the file: the same data give the same bytes.
    figure.savefig(drawn, format="png", dpi=dpi, facecolor="white", metadata={"Software": None})
    require_free(target)
    with target.open("xb") as stream:
        stream.write(drawn.getvalue())
    return target


def require_png(target: Path) -> None:
    """Raise unless a new PNG can be written at a path."""
    if target.suffix.lower() != ".png":
        raise ArgumentError(f"{target}: figures are written as PNG; give a name ending in .png.")
    require_free(target)


def frame_times(movie: xr.DataArray) -> np.ndarray | None:
    """Return the times of the frames in s, None if there are none."""
    try:
        return model.seconds(movie, "preview")
    except TimeAxisError:
        return None


def new_figure(width: float, height: float) -> Figure:
    """Make a figure of a size in inches, apart from pyplot."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height))
    FigureCanvasAgg(figure)
    return figure


def add_axes(figure: Figure, left: float, top: float, width: float, height: float) -> Axes:
    """Add axes by their place in inches from the upper left corner."""
    across, up = figure.get_size_inches()
    return figure.add_axes((left / across, 1 - (top + height) / up, width / across, height / up))


def add_title(figure: Figure, title: str, subtitle: str = "") -> None:
    """Write title and subtitle at the top."""
    across, up = figure.get_size_inches()
    lines: Any = ((title, 0.27, {"fontsize": 13, "fontweight": "bold"}),
             (subtitle, 0.52, {"fontsize": 9.5, "color": GREY}))  # fmt: skip
    for text, top, style in lines:
        # Dollars mean formulas to matplotlib, but names of files may hold them.
        plain = text.replace("$", r"\$")
        figure.text(0.2 / across, 1 - top / up, plain, va="center", **style)


def capitalised(text: str) -> str:
    """Return a text with its first letter in upper case."""
    return text[:1].upper() + text[1:]


def plain_axes(axis: Axes) -> None:
    """Take away the frame on top and right."""
    for side in ("top", "right"):
        axis.spines[side].set_visible(False)
    axis.tick_params(labelsize=8)


def units_label(data: xr.DataArray) -> str:
    """Return the units in brackets, as axes show them."""
    units = data.attrs.get("units", "1")
    return {"1": "", "count": "(counts)"}.get(units, f"({units})")


def microns_per_pixel(data: xr.DataArray) -> tuple[float, float] | None:
    """Return the size of a pixel along y and x, from the coordinates as they are now."""
    sizes = []
    for dim in (model.Y, model.X):
        if dim not in data.coords or data[dim].attrs.get("units") != "um":
            return None
        steps = np.diff(np.asarray(data[dim].values, dtype=float))
        recorded = data[dim].attrs.get(model.PIXEL_SIZE_ATTR, 1.0)
        sizes.append(float(np.median(steps)) if steps.size else float(recorded))
    return sizes[0], sizes[1]


def drawn_aspect(image: xr.DataArray) -> float:
    """Return the height to draw over the width: true to um, but for very tall or flat images."""
    return min(max(true_aspect(image), _FLATTEST), _TALLEST)


def true_aspect(image: xr.DataArray) -> float:
    """Return height over width of an image in space."""
    height, width = microns_per_pixel(image) or (1.0, 1.0)
    return image.sizes[model.Y] * height / (image.sizes[model.X] * width)


def contrast_limits(values: np.ndarray) -> tuple[float, float]:
    """Return the values that are shown black and white."""
    finite = values[np.isfinite(values)]
    if not finite.size:
        return 0.0, 1.0
    low, high = (float(limit) for limit in np.percentile(finite, (_LOW, _HIGH)))
    return (low, high) if high > low else (low, low + 1.0)


def show_image(axis: Axes, image: xr.DataArray, limits: tuple[float, float] | None = None) -> Any:
    """Show an image, axes in pixels, filling its axes."""
    values = np.asarray(image.transpose(model.Y, model.X).values, dtype=float)
    low, high = limits or contrast_limits(values)
    shown = axis.imshow(
        values, cmap="gray", vmin=low, vmax=high, interpolation="antialiased", aspect="auto"
    )
    axis.set_xticks([])
    axis.set_yticks([])
    return shown


def colour_bar(figure: Any, axis: Axes, shown: Any, image: xr.DataArray) -> None:
    """Put a bar right below the image, as wide as it."""
    tall = axis.get_position().height * figure.get_figheight()
    below = axis.inset_axes((0.0, -0.16 / tall, 1.0, 0.09 / tall))
    bar = figure.colorbar(shown, cax=below, orientation="horizontal", extend="both")
    bar.outline.set(linewidth=0.5, edgecolor=GREY)
    below.tick_params(labelsize=7.5, length=2, pad=1.5)
    below.locator_params(nbins=5)
    bar.set_label(units_label(image).strip("()"), fontsize=8, labelpad=1)


def draw_scale_bar(axis: Axes, image: xr.DataArray) -> None:
    """Draw a bar of a round length, about a fifth of the width."""
    from matplotlib.patheffects import withStroke

    size = microns_per_pixel(image)
    if size is None:
        return
    height, width = image.sizes[model.Y], image.sizes[model.X]
    length = max((n for n in _NICE if n <= 0.25 * width * size[1]), default=_NICE[0])
    pixels = length / size[1]
    # In the lower corner that is darker, where there are fewer neurons.
    values = np.asarray(image.transpose(model.Y, model.X).values, dtype=float)[-height // 6 :]
    reach = max(1, min(width, int(np.ceil(pixels * 1.3))))
    left = np.nanmean(values[:, :reach]) < np.nanmean(values[:, -reach:])
    start = width * 0.05 - 0.5 if left else width * 0.95 - 0.5 - pixels
    y = height * 0.94 - 0.5
    dark: dict[str, Any] = {"foreground": "black", "alpha": 0.6}
    axis.plot(
        [start, start + pixels], [y, y], color="white", lw=3, solid_capstyle="butt",
        path_effects=[withStroke(linewidth=4.5, **dark)],
    )  # fmt: skip
    axis.annotate(
        f"{length:g} µm", (start + pixels / 2, y), (0, 4), textcoords="offset points", ha="center",
        va="bottom", fontsize=8, color="white", path_effects=[withStroke(linewidth=2, **dark)],
    )  # fmt: skip


def finite_median(row: np.ndarray) -> float:
    """Return the median of the finite samples, 0 if there are none."""
    return float(np.nanmedian(row)) if np.isfinite(row).any() else 0.0


def runs_of(mask: np.ndarray) -> Iterable[tuple[int, int]]:
    """Return the starts and stops of the stretches that are True."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], mask, [False]]).astype(np.int8)))
    return [(int(a), int(b)) for a, b in edges.reshape(-1, 2)]
