"""How a session shows itself: what a person asks first."""

from __future__ import annotations

import base64
import html
from collections.abc import Callable
from typing import Any

import numpy as np
import xarray as xr

from calscipy import model
from calscipy.errors import TimeAxisError
from calscipy.thumbnail import thumbnail

_LONGEST = 400  # letters of one fact


def session_facts(tree: xr.DataTree) -> dict[str, str]:
    """Return size, rate, pixel size and the like, as text, by name.

    What cannot be told, as of a file that is gone, says so; nothing is raised.
    """
    facts: dict[str, str] = {}
    source = tree.attrs.get(model.SOURCE_ATTR)
    if source:
        facts["source"] = _told(lambda: str(source))
    if model.MOVIE in tree.children and model.MOVIE in tree[model.MOVIE].data_vars:
        facts |= _movie_facts(tree[model.MOVIE].to_dataset()[model.MOVIE])
    for name, node in tree.children.items():
        if name != model.MOVIE:
            facts[name] = _told(_group_fact, node.to_dataset())
    return facts


def _told(tell: Callable[..., str], *data: Any) -> str:
    """Return what a function tells of some data, or that it cannot."""
    try:
        text = tell(*data)
    except Exception as problem:  # a session that cannot be shown could not be looked into
        text = f"not known ({type(problem).__name__}: {problem})"
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]} …"


def _movie_facts(movie: xr.DataArray) -> dict[str, str]:
    facts = {"movie": _told(_movie_fact, movie), "recorded": _told(_recorded, movie)}
    if model.CHANNEL in movie.coords:
        facts["channels"] = _told(_channels, movie)
    if model.PLANE in movie.dims:
        facts["planes"] = str(movie.sizes[model.PLANE])
    pixel = _told(_pixel_size, movie)
    if pixel:
        facts["pixel size"] = pixel
    for attr in ("date", "objective", "optical_zoom", "prairieview_version"):
        if attr in movie.attrs:
            facts[attr.replace("_", " ")] = _told(str, movie.attrs[attr])
    facts["complete"] = _told(_completeness, movie)
    return facts


def _movie_fact(movie: xr.DataArray) -> str:
    sizes = ", ".join(f"{dim} {size}" for dim, size in movie.sizes.items())
    return f"{sizes}; {movie.dtype}, {_bytes(movie.nbytes)}, {_laziness(movie)}"


def _channels(movie: xr.DataArray) -> str:
    return ", ".join(map(str, np.atleast_1d(movie[model.CHANNEL].values)))


def _pixel_size(movie: xr.DataArray) -> str:
    places = [movie[dim] for dim in (model.Y, model.X) if dim in movie.coords]
    sizes = [size for size in map(model.pixel_size_um, places) if size is not None]
    return " x ".join(f"{size:.4g}" for size in sizes) + " um (y x x)" if len(sizes) == 2 else ""


def _recorded(movie: xr.DataArray) -> str:
    try:
        rate = model.frame_rate(movie)
        times = model.seconds(movie, "repr")
    except TimeAxisError:
        return "no frame rate"
    unit = "volumes" if model.PLANE in movie.dims else "frames"
    return f"{rate:.4g} {unit}/s for {_duration(float(times[-1] - times[0] + 1 / rate))}"


def _duration(seconds: float) -> str:
    """Return seconds, and how long that is where they are many."""
    text = f"{seconds:.4g} s"
    if not 120 <= seconds < np.inf:
        return text
    minutes = round(seconds / 60)
    hours = f"{minutes // 60} h " if minutes >= 60 else ""
    return f"{text} ({hours}{minutes % 60} min)"


def _completeness(movie: xr.DataArray) -> str:
    valid = movie.coords.get(model.VALID)
    if valid is None or bool(valid.all()):
        return "yes"
    return f"no: {int((~valid).sum())} of {valid.size} images are missing or damaged (see valid)"


def _group_fact(dataset: xr.Dataset) -> str:
    sizes = ", ".join(f"{dim} {size}" for dim, size in dataset.sizes.items())
    names = ", ".join(map(str, dataset.data_vars))
    first = next(iter(dataset.data_vars.values()), None)
    return f"{names} ({sizes}; {_laziness(first) if first is not None else 'empty'})"


def _laziness(data: xr.DataArray) -> str:
    if data.chunks is not None:
        return "lazy (dask)"
    return "in memory" if data.variable._in_memory else "lazy"


def _bytes(count: float) -> str:
    for unit in ("B", "kB", "MB", "GB"):
        if count < 1000:
            return f"{count:.3g} {unit}"
        count /= 1000
    return f"{count:.3g} TB"


def session_text(tree: xr.DataTree) -> str:
    """Return the facts as lines of text."""
    facts = session_facts(tree)
    if not facts:
        return "<ImagingSession> empty"
    width = max(map(len, facts))
    lines = [f"  {name:<{width}}  {value}" for name, value in facts.items()]
    return "\n".join(["<ImagingSession>", *lines])


def session_html(tree: xr.DataTree) -> str:
    """Return a card: a picture if there is one at once, the facts, and the groups folded below.

    Every text is escaped. Colours are those of the page or half transparent, so that the card can
    be read on dark pages too.
    """
    return (
        "<div style='display:flex;flex-wrap:wrap;gap:16px;align-items:flex-start;"
        "border:1px solid rgba(128,128,128,.4);border-radius:6px;padding:10px 14px;"
        "max-width:900px;font-size:13px;line-height:1.5'>"
        f"{_picture_html(tree)}<div style='flex:1;min-width:260px'>"
        f"<div style='font-weight:bold;font-size:14px'>ImagingSession</div>{_rows_html(tree)}"
        f"<details style='margin-top:6px'><summary>groups</summary>{_groups_html(tree)}"
        "</details></div></div>"
    )


def _rows_html(tree: xr.DataTree) -> str:
    facts = session_facts(tree) or {"empty": "no groups yet"}
    rows = "".join(
        f"<dt style='opacity:.65;font-weight:normal'>{html.escape(name)}</dt>"
        f"<dd style='margin:0;min-width:0;overflow-wrap:anywhere{_emphasis(name, value)}'>"
        f"{html.escape(value)}</dd>"
        for name, value in facts.items()
    )
    return (
        "<dl style='display:grid;grid-template-columns:max-content 1fr;gap:0 14px;margin:4px 0 0'>"
        f"{rows}</dl>"
    )


def _emphasis(name: str, value: str) -> str:
    incomplete = name == "complete" and value != "yes"
    return ";color:#D55E00;font-weight:bold" if incomplete else ""


def _picture_html(tree: xr.DataTree) -> str:
    picture = thumbnail(tree)
    if picture is None:
        return ""
    caption = html.escape(picture.caption)
    encoded = base64.b64encode(picture.png).decode()
    return (
        "<figure style='margin:0;text-align:center'>"
        f"<img alt='{caption}' src='data:image/png;base64,{encoded}' width='{picture.width}' "
        f"height='{picture.height}' style='display:block;margin:auto;border-radius:3px'>"
        f"<figcaption style='opacity:.65;font-size:11px'>{caption}</figcaption></figure>"
    )


def _groups_html(tree: xr.DataTree) -> str:
    try:
        inside: Any = tree._repr_html_()
    except Exception as problem:
        inside = html.escape(f"{', '.join(map(str, tree.children))} ({type(problem).__name__})")
    return str(inside)
