"""Figures: a preview of any recording, and ROIs with their traces and events.

They are drawn without pyplot, so they need no screen and leave the user's figures alone.
"""

from __future__ import annotations

import io
import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import dask
import numpy as np
import xarray as xr

from calscipy import model, ops
from calscipy.errors import (
    ArgumentError,
    RecordingError,
    RoiError,
    TimeAxisError,
)
from calscipy.io.output import progress_bar, require_free
from calscipy.representation import session_facts
from calscipy.session import ImagingSession

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Okabe and Ito's colours, distinct to colour-blind readers, without black and with a darker yellow:
# they have to be seen on white paper as well as on a dark image.
COLOURS = ("#E69F00", "#56B4E9", "#009E73", "#CC79A7", "#0072B2", "#D55E00", "#BBA800")
_INK, _GREY, _ALERT = "#222222", "#767676", "#D55E00"
_LOW, _HIGH = 1.0, 99.7  # percentiles between which images are shown
_FLATTEST, _TALLEST = 0.25, 1.8  # height over width of images drawn in proportion
_MAX_CHANNELS, _MAX_TRACES = 3, 20
_NICE = (0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000)


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
    _require_png(target)
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


def overview_figure(
    image: xr.DataArray,
    rois: xr.DataArray,
    dfof: xr.DataArray,
    events: xr.DataArray,
    truth_events: xr.DataArray | None = None,
    *,
    title: str | None = None,
) -> Figure:
    """Draw ROIs on an image, and beside it their traces with the events found.

    Parameters
    ----------
    image : DataArray
        Image ``(y, x)``, for instance a projection of the movie.
    rois : DataArray
        ROIs in long form.
    dfof : DataArray
        Traces ``(neuron, time)``.
    events : DataArray
        Boolean raster ``(neuron, time)``, with the neurons of ``dfof``.
    truth_events : DataArray, optional
        True events ``(neuron, time)``, where they are known, with the neurons of ``dfof``.
    title : str, optional
        Title above everything.

    Returns
    -------
    matplotlib.figure.Figure
        Not known to pyplot: save it with ``figure.savefig(path)``.

    Examples
    --------
    >>> t = np.arange(20) / 10
    >>> coords = {"neuron": [1], "time": t}
    >>> traces = xr.DataArray(np.sin(t)[None], coords, ("neuron", "time"))
    >>> image = xr.DataArray(np.eye(4), dims=("y", "x"))
    >>> rois = cs.rois_from_labels(np.eye(4, dtype=int))
    >>> figure = overview_figure(image, rois, traces, traces > 0.9)
    >>> [axes.get_xlabel() for axes in figure.axes]
    ['', 'time (s)']
    """
    model.require_dims(image, (model.Y, model.X), "overview_figure")
    for data in (dfof, events, truth_events):
        if data is not None:
            model.require_dims(data, (model.NEURON, model.TIME), "overview_figure")
    image, rois, dfof, events = dask.compute(image, rois, dfof, events)
    rois = _rois_of_plane(image, rois)
    colours = _colours(dfof)
    ratio = _aspect(image)
    width = min(4.4, 6.0 / ratio)
    head = 0.75 if title else 0.4
    body = max(width * ratio, 0.45 * len(colours), 2.0)
    figure = _new_figure(12.2, head + body + 0.75)
    left = _add_axes(figure, 0.25, head, width, width * ratio)
    shown = _show_image(left, image)
    _colour_bar(figure, left, shown, image)
    _draw_scale_bar(left, image)
    _draw_rois(left, image, rois, colours)
    left.set_title(_capital(image.attrs.get("long_name", "image")), loc="left", fontsize=10)
    right = _add_axes(figure, width + 1.0, head, 12.2 - width - 1.65, body)
    _draw_traces(right, dfof, colours, events, truth_events)
    if title:
        _title(figure, title)
    return figure


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
    _require_png(target)
    drawn = io.BytesIO()
    # No software version in the file: the same data give the same bytes.
    figure.savefig(drawn, format="png", dpi=dpi, facecolor="white", metadata={"Software": None})
    require_free(target)
    with target.open("xb") as stream:
        stream.write(drawn.getvalue())
    return target


def _require_png(target: Path) -> None:
    if target.suffix.lower() != ".png":
        raise ArgumentError(f"{target}: figures are written as PNG; give a name ending in .png.")
    require_free(target)


# -- the preview ---------------------------------------------------------------------------------


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
    height = width * _aspect(movie)
    head, row, trace = 0.98, height + 0.85, 1.2
    figure = _new_figure(13, head + len(channels) * (row + trace) + 0.25)
    for number, (channel, summary) in enumerate(zip(channels, summaries, strict=True)):
        top = head + number * row
        axes = [_add_axes(figure, left + i * (width + gap), top, width, height) for i in range(5)]
        _draw_summary(figure, axes, channel, summary)
        top = head + len(channels) * row + number * trace
        axis = _add_axes(figure, left, top, 5 * width + 4 * gap, trace - 0.3)
        _draw_mean_trace(axis, channel, summary["trace"])
        axis.tick_params(labelbottom=channel is channels[-1])
    axis.set_xlabel("frame" if _times(movie) is None else "time (s)")
    if hidden > 0:
        subtitle += f" · {hidden} more channels not shown"
    _title(figure, name, subtitle)
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
        shown = _show_image(axis, summary[reduce])
        _colour_bar(figure, axis, shown, summary[reduce])
        axis.set_title({"mean": "mean", "max": "maximum"}[reduce], fontsize=9)
    _draw_scale_bar(axes[0], summary["mean"])
    axes[0].set_ylabel(_channel_name(movie) or "", fontsize=11, fontweight="bold")
    frames = summary["frames"]
    limits = _limits(np.stack([frame.values for frame in frames.values()]))
    times = _times(movie)
    word = "volume" if model.PLANE in movie.coords else "frame"
    for axis, (number, frame) in zip(axes[2:], frames.items(), strict=False):
        shown = _show_image(axis, frame, limits)
        _colour_bar(figure, axis, shown, frame)
        when = "" if times is None else f", {times[number]:.4g} s"
        axis.set_title(f"{word} {number}{when}", fontsize=9)
    for axis in axes[2 + len(frames) :]:
        axis.set_axis_off()


def _draw_mean_trace(axis: Axes, movie: xr.DataArray, trace: xr.DataArray) -> None:
    """Draw the mean of the image over time, with gaps and marks where frames are not valid."""
    times = _times(movie)
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
        spans = [(x[a] - step / 2, x[b - 1] - x[a] + step) for a, b in _runs(bad)]
        axis.broken_barh(
            spans, (0, 1), transform=axis.get_xaxis_transform(), color=_ALERT, alpha=0.15, lw=0
        )
        axis.plot(
            x[bad], np.zeros(bad.sum()), "|", color=_ALERT, markersize=9,
            transform=axis.get_xaxis_transform(), clip_on=False,
        )  # fmt: skip
        axis.text(
            1, 1.02, f"{bad.sum()} missing or damaged", transform=axis.transAxes, color=_ALERT,
            fontsize=8, ha="right",
        )  # fmt: skip
    name = _channel_name(movie)
    axis.set_ylabel(f"mean {name or ''}\n{_units(movie)}".replace("mean \n", "mean\n"), fontsize=9)
    if x.size > 1:
        axis.set_xlim(x[0], x[-1])
    _plain_axes(axis)


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
    figure = _new_figure(11.5, body + 1.75)
    axis = _add_axes(figure, 0.65, 1.15, 10.2, body)
    _draw_traces(axis, shown, _colours(shown), events, None)
    facts = session_facts(session.tree)
    of = traces.sizes.get(model.NEURON, 1)
    count = f"{of} neurons" if of <= _MAX_TRACES else f"first {_MAX_TRACES} of {of} neurons"
    rate = f"{session.frame_rate:.4g} samples/s"
    _title(figure, name, " · ".join([f"source {facts.get('source', 'unknown')}", count, rate]))
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
    pixel = _microns_per_pixel(movie)
    if pixel is not None:
        parts.append(f"{pixel[0]:.4g} × {pixel[1]:.4g} µm per pixel")
    if _aspect(movie) != _true_aspect(movie):
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


def _times(movie: xr.DataArray) -> np.ndarray | None:
    try:
        return model.seconds(movie, "preview")
    except TimeAxisError:
        return None


# -- parts of figures ----------------------------------------------------------------------------


def _new_figure(width: float, height: float) -> Figure:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height))
    FigureCanvasAgg(figure)
    return figure


def _add_axes(figure: Figure, left: float, top: float, width: float, height: float) -> Axes:
    """Add axes by their place in inches from the upper left corner."""
    across, up = figure.get_size_inches()
    return figure.add_axes((left / across, 1 - (top + height) / up, width / across, height / up))


def _title(figure: Figure, title: str, subtitle: str = "") -> None:
    across, up = figure.get_size_inches()
    lines: Any = ((title, 0.27, {"fontsize": 13, "fontweight": "bold"}),
             (subtitle, 0.52, {"fontsize": 9.5, "color": _GREY}))  # fmt: skip
    for text, top, style in lines:
        # Dollars mean formulas to matplotlib, but names of files may hold them.
        plain = text.replace("$", r"\$")
        figure.text(0.2 / across, 1 - top / up, plain, va="center", **style)


def _colours(traces: xr.DataArray) -> dict[Any, str]:
    neurons = traces[model.NEURON].values.tolist()
    return {neuron: COLOURS[i % len(COLOURS)] for i, neuron in enumerate(neurons)}


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]


def _plain_axes(axis: Axes) -> None:
    for side in ("top", "right"):
        axis.spines[side].set_visible(False)
    axis.tick_params(labelsize=8)


def _units(data: xr.DataArray) -> str:
    units = data.attrs.get("units", "1")
    return {"1": "", "count": "(counts)"}.get(units, f"({units})")


def _microns_per_pixel(data: xr.DataArray) -> tuple[float, float] | None:
    """Return the size of a pixel along y and x, from the coordinates as they are now."""
    sizes = []
    for dim in (model.Y, model.X):
        if dim not in data.coords or data[dim].attrs.get("units") != "um":
            return None
        steps = np.diff(np.asarray(data[dim].values, dtype=float))
        recorded = data[dim].attrs.get(model.PIXEL_SIZE_ATTR, 1.0)
        sizes.append(float(np.median(steps)) if steps.size else float(recorded))
    return sizes[0], sizes[1]


def _aspect(image: xr.DataArray) -> float:
    """Return the height to draw over the width: true to um, but for very tall or flat images."""
    return min(max(_true_aspect(image), _FLATTEST), _TALLEST)


def _true_aspect(image: xr.DataArray) -> float:
    height, width = _microns_per_pixel(image) or (1.0, 1.0)
    return image.sizes[model.Y] * height / (image.sizes[model.X] * width)


def _limits(values: np.ndarray) -> tuple[float, float]:
    """Return the values that are shown black and white."""
    finite = values[np.isfinite(values)]
    if not finite.size:
        return 0.0, 1.0
    low, high = (float(limit) for limit in np.percentile(finite, (_LOW, _HIGH)))
    return (low, high) if high > low else (low, low + 1.0)


def _show_image(axis: Axes, image: xr.DataArray, limits: tuple[float, float] | None = None) -> Any:
    """Show an image, axes in pixels, filling its axes."""
    values = np.asarray(image.transpose(model.Y, model.X).values, dtype=float)
    low, high = limits or _limits(values)
    shown = axis.imshow(
        values, cmap="gray", vmin=low, vmax=high, interpolation="antialiased", aspect="auto"
    )
    axis.set_xticks([])
    axis.set_yticks([])
    return shown


def _colour_bar(figure: Any, axis: Axes, shown: Any, image: xr.DataArray) -> None:
    """Put a bar right below the image, as wide as it."""
    tall = axis.get_position().height * figure.get_figheight()
    below = axis.inset_axes((0.0, -0.16 / tall, 1.0, 0.09 / tall))
    bar = figure.colorbar(shown, cax=below, orientation="horizontal", extend="both")
    bar.outline.set(linewidth=0.5, edgecolor=_GREY)
    below.tick_params(labelsize=7.5, length=2, pad=1.5)
    below.locator_params(nbins=5)
    bar.set_label(_units(image).strip("()"), fontsize=8, labelpad=1)


def _draw_scale_bar(axis: Axes, image: xr.DataArray) -> None:
    """Draw a bar of a round length, about a fifth of the width."""
    from matplotlib.patheffects import withStroke

    size = _microns_per_pixel(image)
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


def _rois_of_plane(image: xr.DataArray, rois: xr.DataArray) -> xr.DataArray:
    if model.kind(rois) != "rois":
        raise RoiError(
            f"overview_figure needs ROIs along 'pixel', found {tuple(rois.dims)}. Make them with "
            "rois_from_labels."
        )
    if model.PLANE in rois.coords and model.PLANE in image.coords and not image[model.PLANE].dims:
        return rois.isel({model.PIXEL: rois[model.PLANE].values == image[model.PLANE].item()})
    return rois


def _draw_rois(
    axis: Axes, image: xr.DataArray, rois: xr.DataArray, colours: dict[Any, str]
) -> None:
    """Outline the pixels of every neuron and write its number beside them."""
    from matplotlib.collections import LineCollection
    from matplotlib.patheffects import withStroke

    height, width = image.sizes[model.Y], image.sizes[model.X]
    middles = {}
    for neuron, colour in colours.items():
        mine = rois[model.NEURON].values == neuron
        if not mine.any():
            continue
        y, x = rois[model.Y].values[mine], rois[model.X].values[mine]
        middles[neuron] = (y.mean(), x.mean(), np.ptp(x) / 2 + 1)
        outline = LineCollection(_outline(y, x), colors=colour, linewidths=1.8, capstyle="round")
        axis.add_collection(outline)
    for neuron, (y, x, radius) in middles.items():
        # Beside the neuron, on the side where there is more room.
        reach = radius + 0.035 * width
        others = [middle[:2] for other, middle in middles.items() if other != neuron]
        room = {
            side: min(
                [np.hypot(y - oy, x + side * reach - ox) for oy, ox in others]
                + [2 * (width - 1 - x - reach if side > 0 else x - reach)]
            )
            for side in (1, -1)
        }
        side = 1 if room[1] >= min(room[-1], 2 * reach) else -1
        axis.annotate(
            str(neuron), (x + side * radius, y), (2 * side, 0), textcoords="offset points",
            ha="left" if side > 0 else "right", va="center", fontsize=10, fontweight="bold",
            color=colours[neuron], path_effects=[withStroke(linewidth=2.2, foreground="black")],
        )  # fmt: skip
    axis.set_xlim(-0.5, width - 0.5)
    axis.set_ylim(height - 0.5, -0.5)


def _outline(y: np.ndarray, x: np.ndarray) -> list[list[tuple[float, float]]]:
    """Return the edges of pixels that have no neighbour of the same neuron."""
    pixels = set(zip(y.tolist(), x.tolist(), strict=True))
    corners = {(-1, 0): ((0, 0), (0, 1)), (1, 0): ((1, 0), (1, 1))}
    corners |= {(0, -1): ((0, 0), (1, 0)), (0, 1): ((0, 1), (1, 1))}
    edges = []
    for row, column in sorted(pixels):
        for (down, across), ends in corners.items():
            if (row + down, column + across) not in pixels:
                edges.append([(column + b - 0.5, row + a - 0.5) for a, b in ends])
    return edges


def _draw_traces(
    axis: Axes,
    traces: xr.DataArray,
    colours: dict[Any, str],
    events: xr.DataArray | None,
    truth: xr.DataArray | None,
) -> None:
    """Draw traces one below the other, with the events below each."""
    traces = traces.transpose(model.NEURON, model.TIME)
    neurons = traces[model.NEURON].values.tolist()
    values = np.asarray(traces.values, dtype=float)
    levels = np.array([_median(row) for row in values])
    tops = [np.nanmax(row - level) for row, level in zip(values, levels, strict=True)
            if np.isfinite(row).any()]  # fmt: skip
    spacing = 1.3 * (float(np.median(tops)) if tops else 1.0) or 1.0
    times = traces[model.TIME].values
    gaps = [part.start for part in model.epochs(traces)[1:]]
    lane = 0.22 * spacing
    for i, neuron in enumerate(neurons):
        floor = -i * (spacing + lane)
        axis.plot(
            np.insert(times, gaps, np.nan),
            np.insert(values[i] - levels[i], gaps, np.nan) + floor,
            color=colours[neuron],
            linewidth=0.8,
        )
        y = floor - 1.2 * lane
        if truth is not None:
            at = _onsets(truth, neuron)
            axis.plot(at, np.full(at.size, y), "o", mfc="none", mec=_GREY, mew=1.1, ms=7)
        if events is not None:
            at = _onsets(events, neuron)
            axis.plot(at, np.full(at.size, y), "|", color=_INK, mew=1.6, ms=8)
    axis.set_yticks([-i * (spacing + lane) for i in range(len(neurons))], map(str, neurons))
    for label, neuron in zip(axis.get_yticklabels(), neurons, strict=True):
        label.set(color=colours[neuron], fontweight="bold")
    axis.set_ylabel("neuron")
    axis.set_xlabel("time (s)")
    if times.size > 1:
        axis.set_xlim(times[0], times[-1])
    axis.set_ylim(-(len(neurons) - 1) * (spacing + lane) - 2.2 * lane, None)
    _plain_axes(axis)
    axis.spines["left"].set_visible(False)
    axis.tick_params(axis="y", length=0, labelsize=10)
    _draw_height_bar(axis, traces, spacing)
    name = traces.attrs.get("long_name", "traces")
    axis.set_title(_capital(name), loc="left", fontsize=10)
    _event_legend(axis, events is not None, truth is not None)


def _draw_height_bar(axis: Axes, traces: xr.DataArray, spacing: float) -> None:
    """Say at the right how high the traces are."""
    length = max((n for n in _NICE if n <= 0.8 * spacing), default=0.8 * spacing)
    units = traces.attrs.get("units", "1")
    name = traces.attrs.get("long_name", "")
    text = f"{length:g} {name if units == '1' else units}"
    across = axis.get_yaxis_transform()
    axis.plot([1.012, 1.012], [0, length], color=_INK, lw=2, transform=across, clip_on=False,
              solid_capstyle="butt")  # fmt: skip
    axis.text(1.022, length / 2, text, rotation=90, va="center", fontsize=8, transform=across)


def _event_legend(axis: Axes, events: bool, truth: bool) -> None:
    from matplotlib.lines import Line2D

    marks = []
    if events:
        marks.append(Line2D([], [], color=_INK, marker="|", ls="", mew=1.6, ms=8))
    if truth:
        marks.append(Line2D([], [], mec=_GREY, mfc="none", marker="o", ls="", mew=1.1, ms=7))
    names = ["onset detected"] * events + ["true onset of a burst"] * truth
    if marks:
        axis.legend(
            marks,
            names,
            loc="lower right",
            bbox_to_anchor=(1, 1),
            ncols=2,
            frameon=False,
            fontsize=9,
            handletextpad=0.2,
            borderaxespad=0.1,
        )


def _onsets(events: xr.DataArray, neuron: Any) -> np.ndarray:
    """Return the times of a neuron's events; none if it is not among them."""
    rows = np.flatnonzero(events[model.NEURON].values == neuron)
    if not rows.size:
        return np.empty(0)
    found = events.isel({model.NEURON: rows[0]})
    return found[model.TIME].values[np.asarray(found.values, dtype=bool)]


def _median(row: np.ndarray) -> float:
    return float(np.nanmedian(row)) if np.isfinite(row).any() else 0.0


def _runs(mask: np.ndarray) -> Iterable[tuple[int, int]]:
    """Return the starts and stops of the stretches that are True."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], mask, [False]]).astype(np.int8)))
    return [(int(a), int(b)) for a, b in edges.reshape(-1, 2)]
