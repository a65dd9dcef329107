"""A preview of any recording or store as one picture."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import dask
import numpy as np
import xarray as xr

from calscipy import model, ops
from calscipy.errors import (
    RecordingError,
    TimeAxisError,
)
from calscipy.io.output import progress_bar
from calscipy.plotting.parts import (
    ALERT,
    add_axes,
    add_title,
    colour_bar,
    contrast_limits,
    draw_scale_bar,
    drawn_aspect,
    frame_times,
    microns_per_pixel,
    new_figure,
    plain_axes,
    require_png,
    runs_of,
    save_figure,
    show_image,
    true_aspect,
    units_label,
)
from calscipy.plotting.traces import draw_traces, neuron_colours
from calscipy.representation import session_facts
from calscipy.session import ImagingSession

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_MAX_CHANNELS, _MAX_TRACES = 3, 20


def preview(
    path: str | os.PathLike[str],
    output: str | os.PathLike[str] | None = None,
    *,
    frame_rate: float | None = None,
    **options: Any,
) -> Path:
    """Draw what a recording holds into a PNG: mean, maximum, three frames, the mean trace.

    The movie is read once, block by block. Of a volume the middle plane is shown, of many
    channels the first three; of a store without a movie, its traces.

    Parameters
    ----------
    path : path
        Anything that :meth:`ImagingSession.open` opens.
    output : path, optional
        The PNG; by default ``<name>-preview.png`` in the current directory.
    frame_rate : float, optional
        In Hz, for files that do not say it.
    **options
        Further options of :meth:`ImagingSession.open`.

    Returns
    -------
    Path
        The PNG.

    Raises
    ------
    TargetExistsError
        If there is anything at ``output``.
    RecordingError
        If there is nothing to show.

    Examples
    --------
    >>> from calscipy.testing import write_recording
    >>> truth = write_recording("TSeries-001", frames=20, shape=(16, 16), neurons=1)
    >>> preview("TSeries-001").name
    'TSeries-001-preview.png'
    """
    path = Path(path)
    name = path.resolve().name
    stem = name if path.is_dir() and path.suffix != ".zarr" else path.resolve().stem
    target = Path(f"{stem}-preview.png" if output is None else output)
    require_png(target)
    if frame_rate is not None:
        options["frame_rate"] = frame_rate
    session = ImagingSession.open(path, **options)
    if model.MOVIE in session.tree.children:
        figure = _movie_figure(session.movie, name)
    elif model.TRACES in session.tree.children:
        figure = _store_figure(session, name)
    else:
        raise RecordingError(f"{path}: there is neither a movie nor traces to show.")
    return save_figure(figure, target)


def _movie_figure(movie: xr.DataArray, name: str) -> Figure:
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
    axis.set_xlabel("frame" if frame_times(movie) is None else "time (s)")
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
        colour_bar(figure, axis, shown, summary[reduce])
        axis.set_title({"mean": "mean", "max": "maximum"}[reduce], fontsize=9)
    draw_scale_bar(axes[0], summary["mean"])
    axes[0].set_ylabel(_channel_name(movie) or "", fontsize=11, fontweight="bold")
    frames = summary["frames"]
    limits = contrast_limits(np.stack([frame.values for frame in frames.values()]))
    times = frame_times(movie)
    word = "volume" if model.PLANE in movie.coords else "frame"
    for axis, (number, frame) in zip(axes[2:], frames.items(), strict=False):
        shown = show_image(axis, frame, limits)
        colour_bar(figure, axis, shown, frame)
        when = "" if times is None else f", {times[number]:.4g} s"
        axis.set_title(f"{word} {number}{when}", fontsize=9)
    for axis in axes[2 + len(frames) :]:
        axis.set_axis_off()


def _draw_mean_trace(axis: Axes, movie: xr.DataArray, trace: xr.DataArray) -> None:
    """Draw the mean of the image over time, with gaps and marks where frames are not valid."""
    times = frame_times(movie)
    x = np.arange(trace.size, dtype=float) if times is None else times
    values = np.asarray(trace.values, dtype=float)
    gaps = [part.start for part in model.epochs(movie)[1:]]
    axis.plot(
        np.insert(x, gaps, np.nan),
        np.insert(values, gaps, np.nan),
        color="#0072B2",
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
            fontsize=8, ha="right",
        )  # fmt: skip
    name = _channel_name(movie)
    axis.set_ylabel(
        f"mean {name or ''}\n{units_label(movie)}".replace("mean \n", "mean\n"), fontsize=9
    )
    if x.size > 1:
        axis.set_xlim(x[0], x[-1])
    plain_axes(axis)


def _store_figure(session: ImagingSession, name: str) -> Figure:
    """Draw the traces of a session that has no movie."""
    traces = session.tree[model.TRACES].to_dataset()
    shown = traces["dfof" if "dfof" in traces else traces.attrs.get(model.LATEST_ATTR, "traces")]
    others = [dim for dim in shown.dims if dim not in (model.NEURON, model.TIME)]
    shown = shown.isel(dict.fromkeys(others, 0))
    if model.NEURON not in shown.dims:
        shown = shown.expand_dims(model.NEURON)
    shown = shown.isel({model.NEURON: slice(_MAX_TRACES)})
    events = None
    if model.EVENTS in session.tree.children:
        events = session.events.isel(dict.fromkeys(others, 0), missing_dims="ignore")
        events = events.sel({model.NEURON: shown[model.NEURON].values})
    with progress_bar(f"reading {name}", delay=1):
        shown, events = dask.compute(shown, events)
    body = max(1.5, 0.5 * shown.sizes[model.NEURON])
    figure = new_figure(11.5, body + 1.75)
    axis = add_axes(figure, 0.65, 1.15, 10.2, body)
    draw_traces(axis, shown, neuron_colours(shown), events, None)
    facts = session_facts(session.tree)
    of = traces.sizes.get(model.NEURON, 1)
    count = f"{of} neurons" if of <= _MAX_TRACES else f"first {_MAX_TRACES} of {of} neurons"
    rate = f"{session.frame_rate:.4g} samples/s"
    add_title(figure, name, " · ".join([f"source {facts.get('source', 'unknown')}", count, rate]))
    return figure


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
