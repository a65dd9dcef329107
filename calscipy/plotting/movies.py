"""Movies as figures: mean, maximum and frames of each channel, and what the mean does over time."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import dask
import numpy as np
import xarray as xr

from calscipy import model, ops
from calscipy.errors import RecordingError, TimeAxisError
from calscipy.io.output import progress_bar
from calscipy.plotting.decimate import gaps
from calscipy.plotting.images import (
    colour_bar_below,
    draw_scale_bar,
    drawn_aspect,
    microns_per_pixel,
    show_image,
    true_aspect,
)
from calscipy.plotting.parts import (
    add_axes,
    add_title,
    new_figure,
    plain,
    plain_axes,
    runs_of,
)
from calscipy.plotting.style import (
    ALERT,
    COLOURS,
    FONT,
    contrast_limits,
    name_of,
    seconds_label,
    with_units,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_MAX_CHANNELS = 3


def plot_movie(movie: xr.DataArray, *, title: str | None = None) -> Figure:
    """Draw mean, maximum, three frames and the mean over time; a lazy movie is read once for it.

    Of a volume the middle plane is shown, of many channels the first three. To look at every
    frame, see :func:`calscipy.plotting.interactive.view_movie`.

    Parameters
    ----------
    movie : DataArray
        Movie ``(frames [, channel] [, plane], y, x)``. Frames that are not ``valid`` are left out
        and marked.
    title : str, optional
        Title above everything; by default the ``long_name`` of the movie.

    Returns
    -------
    matplotlib.figure.Figure
        Not known to pyplot: save it with ``calscipy.plotting.save_figure(figure, path)``.

    Raises
    ------
    RecordingError
        If no frame is there and whole.

    Examples
    --------
    >>> frames = np.random.default_rng(0).poisson(9, (20, 16, 16)).astype("uint16")
    >>> figure = plot_movie(cs.from_numpy(frames, frame_rate=10, microns_per_pixel=1.0))
    >>> [axes.get_title() for axes in figure.axes if axes.get_title()][:3]
    ['mean', 'maximum', 'frame 0, 0 s']
    """
    model.require_dims(movie, (model.FRAMES, model.Y, model.X), "plot_movie")
    return movie_figure(movie, name_of(movie, "movie") if title is None else title)


def movie_figure(movie: xr.DataArray, name: str) -> Figure:
    """Draw one row of images for each channel, and their mean traces below."""
    subtitle = _subtitle(movie)
    movie = _middle_plane(movie)
    channels = [channel for channel in _channels(movie) if _valid(channel).any()]
    if not channels:
        raise RecordingError(f"{name}: no frame is present and whole, so there is nothing to show.")
    hidden = len(_channels(movie)) - _MAX_CHANNELS
    channels = channels[:_MAX_CHANNELS]
    with progress_bar(f"reading {name}", delay=1):
        summaries = dask.compute([_summary(channel) for channel in channels])[0]

    width, gap, left = 2.25, 0.15, 0.9
    height = width * drawn_aspect(movie)
    head, row, trace = 0.98, height + 0.85, 1.2
    figure = new_figure(13, head + len(channels) * (row + trace) + 0.25)
    for number, (channel, summary) in enumerate(zip(channels, summaries, strict=True)):
        top = head + number * row
        axes = [add_axes(figure, left + i * (width + gap), top, width, height) for i in range(5)]
        _draw_summary(figure, axes, channel, summary)
        top = head + len(channels) * row + number * trace
        axis = add_axes(figure, left, top, 5 * width + 4 * gap, trace - 0.3)
        _draw_mean_trace(axis, channel, summary["trace"])
        axis.tick_params(labelbottom=channel is channels[-1])
    timed = _frame_times(movie) is not None
    axis.set_xlabel(plain(seconds_label(movie)) if timed else "frame", fontsize=FONT)
    if hidden > 0:
        subtitle += f" · {hidden} more channels not shown"
    add_title(figure, name, subtitle)
    return figure


def _summary(movie: xr.DataArray) -> dict[str, Any]:
    """Return the lazy images and the mean trace of one channel."""
    valid = np.flatnonzero(_valid(movie))
    chosen = sorted({int(valid[0]), int(valid[valid.size // 2]), int(valid[-1])})
    return {
        "mean": ops.project(movie, reduce="mean"),
        "max": ops.project(movie, reduce="max"),
        "frames": {frame: movie.isel({model.FRAMES: frame}) for frame in chosen},
        "trace": movie.mean((model.Y, model.X), dtype=np.float64).where(_valid(movie)),
    }


def _draw_summary(
    figure: Any, axes: Sequence[Axes], movie: xr.DataArray, summary: dict[str, Any]
) -> None:
    """Draw mean, maximum and frames; the frames share one scale."""
    for axis, reduce in zip(axes[:2], ("mean", "max"), strict=True):
        shown = show_image(axis, summary[reduce])
        colour_bar_below(figure, axis, shown, summary[reduce])
        axis.set_title({"mean": "mean", "max": "maximum"}[reduce], fontsize=FONT)
    draw_scale_bar(axes[0], summary["mean"])
    axes[0].set_ylabel(plain(_channel_name(movie) or ""), fontsize=FONT + 2, fontweight="bold")
    frames = summary["frames"]
    limits = contrast_limits(np.stack([frame.values for frame in frames.values()]))
    times = _frame_times(movie)
    word = "volume" if model.PLANE in movie.coords else "frame"
    for axis, (number, frame) in zip(axes[2:], frames.items(), strict=False):
        shown = show_image(axis, frame, limits)
        colour_bar_below(figure, axis, shown, frame)
        when = "" if times is None else f", {times[number]:.4g} s"
        axis.set_title(f"{word} {number}{when}", fontsize=FONT)
    for axis in axes[2 + len(frames) :]:
        axis.set_axis_off()


def _draw_mean_trace(axis: Axes, movie: xr.DataArray, trace: xr.DataArray) -> None:
    """Draw the mean of the image over time, with gaps and marks where frames are not valid."""
    times = _frame_times(movie)
    x = np.arange(trace.size, dtype=float) if times is None else times
    values = np.asarray(trace.values, dtype=float)
    starts = [part.start for part in model.epochs(movie)[1:]] if times is None else gaps(movie)
    axis.plot(
        np.insert(x, starts, np.nan),
        np.insert(values, starts, np.nan),
        color=COLOURS[0],
        linewidth=0.8,
        marker="." if trace.size < 50 else None,
    )
    bad = ~_valid(movie)
    if bad.any():
        step = float(np.median(np.diff(x))) if x.size > 1 else 1.0
        spans = [(x[a] - step / 2, x[b - 1] - x[a] + step) for a, b in runs_of(bad)]
        axis.broken_barh(
            spans, (0, 1), transform=axis.get_xaxis_transform(), color=ALERT, alpha=0.15, lw=0
        )
        axis.plot(
            x[bad], np.zeros(bad.sum()), "|", color=ALERT, markersize=9,
            transform=axis.get_xaxis_transform(), clip_on=False,
        )  # fmt: skip
        axis.text(
            1, 1.02, f"{bad.sum()} missing or damaged", transform=axis.transAxes, color=ALERT,
            fontsize=FONT - 1, ha="right",
        )  # fmt: skip
    name = _channel_name(movie)
    words = with_units(f"mean {name}" if name else "mean", movie.attrs.get("units"), "\n")
    axis.set_ylabel(plain(words), fontsize=FONT)
    if x.size > 1:
        axis.set_xlim(x[0], x[-1])
    plain_axes(axis)


def _subtitle(movie: xr.DataArray) -> str:
    """Write sizes, rate and pixel size on one line."""
    sizes = movie.sizes
    volumes = model.PLANE in sizes
    parts = [f"{sizes[model.FRAMES]} {'volumes' if volumes else 'frames'}"]
    if volumes:
        parts[0] += f" of {sizes[model.PLANE]} planes (plane {sizes[model.PLANE] // 2} shown)"
    parts.append(f"{sizes[model.Y]} × {sizes[model.X]} px")
    try:
        rate = model.frame_rate(movie)
        times = model.seconds(movie, "preview")
        unit = "volumes" if volumes else "frames"
        parts.append(f"{rate:.4g} {unit}/s for {times[-1] - times[0] + 1 / rate:.4g} s")
    except TimeAxisError:
        parts.append("frame rate unknown")
    pixel = microns_per_pixel(movie)
    if pixel is not None:
        parts.append(f"{pixel[0]:.4g} × {pixel[1]:.4g} µm per pixel")
    if drawn_aspect(movie) != true_aspect(movie):
        parts[-1] += " (drawn out of proportion)"
    parts.append(str(movie.dtype))
    valid = model.valid_frames(movie)
    if valid is not None:
        parts.append(f"{(~valid).sum()} of {valid.size} images missing or damaged")
    return " · ".join(parts)


def _middle_plane(movie: xr.DataArray) -> xr.DataArray:
    if model.PLANE not in movie.dims:
        return movie
    return movie.isel({model.PLANE: movie.sizes[model.PLANE] // 2})


def _channels(movie: xr.DataArray) -> list[xr.DataArray]:
    if model.CHANNEL not in movie.dims:
        return [movie]
    return [movie.isel({model.CHANNEL: i}) for i in range(movie.sizes[model.CHANNEL])]


def _channel_name(movie: xr.DataArray) -> str | None:
    return str(movie[model.CHANNEL].item()) if model.CHANNEL in movie.coords else None


def _valid(movie: xr.DataArray) -> np.ndarray:
    valid = model.valid_frames(movie)
    return np.ones(movie.sizes[model.FRAMES], dtype=bool) if valid is None else valid


def _frame_times(movie: xr.DataArray) -> np.ndarray | None:
    """Return the times of the frames in s, None if there are none."""
    try:
        return model.seconds(movie, "preview")
    except TimeAxisError:
        return None
