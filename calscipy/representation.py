"""How a session shows itself: what a person asks first."""

from __future__ import annotations

import html
from typing import Any

import numpy as np
import xarray as xr

from calscipy import model
from calscipy.errors import TimeAxisError


def session_facts(tree: xr.DataTree) -> dict[str, str]:
    """Return size, rate, pixel size and the like, as text, by name."""
    facts: dict[str, str] = {}
    source = tree.attrs.get(model.SOURCE_ATTR)
    if source:
        facts["source"] = str(source)
    if model.MOVIE in tree.children and model.MOVIE in tree[model.MOVIE].data_vars:
        facts |= _movie_facts(tree[model.MOVIE].to_dataset()[model.MOVIE])
    for name, node in tree.children.items():
        if name != model.MOVIE:
            facts[name] = _group_fact(node.to_dataset())
    return facts


def _movie_facts(movie: xr.DataArray) -> dict[str, str]:
    sizes = ", ".join(f"{dim} {size}" for dim, size in movie.sizes.items())
    facts = {
        "movie": f"{sizes}; {movie.dtype}, {_bytes(movie.nbytes)}, {_laziness(movie)}",
        "recorded": _recorded(movie),
    }
    if model.CHANNEL in movie.coords:
        facts["channels"] = ", ".join(map(str, np.atleast_1d(movie[model.CHANNEL].values)))
    if model.PLANE in movie.dims:
        facts["planes"] = str(movie.sizes[model.PLANE])
    places = [movie[dim] for dim in (model.Y, model.X) if dim in movie.coords]
    sizes_um = [size for size in map(model.pixel_size_um, places) if size is not None]
    if len(sizes_um) == 2:
        facts["pixel size"] = " x ".join(f"{size:.4g}" for size in sizes_um) + " um (y x x)"
    for attr in ("date", "objective", "optical_zoom", "prairieview_version"):
        if attr in movie.attrs:
            facts[attr.replace("_", " ")] = str(movie.attrs[attr])
    facts["complete"] = _completeness(movie)
    return facts


def _recorded(movie: xr.DataArray) -> str:
    try:
        rate = model.frame_rate(movie)
        times = model.seconds(movie, "repr")
    except TimeAxisError:
        return "no frame rate"
    unit = "volumes" if model.PLANE in movie.dims else "frames"
    return f"{rate:.4g} {unit}/s for {times[-1] - times[0] + 1 / rate:.4g} s"


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
    """Return the facts as a table, with the tree folded below; every text escaped."""
    rows = "".join(
        f"<tr><th style='text-align:left'>{html.escape(name)}</th>"
        f"<td style='text-align:left'>{html.escape(value)}</td></tr>"
        for name, value in session_facts(tree).items()
    )
    inside: Any = tree._repr_html_()
    return (
        f"<div><strong>ImagingSession</strong><table>{rows}</table>"
        f"<details><summary>groups</summary>{inside}</details></div>"
    )
