"""``calscipy info | preview | demo``: look at a recording, and see what calscipy does."""

from __future__ import annotations

import argparse
import functools
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr

from calscipy import model
from calscipy._version import __version__
from calscipy.cli.arguments import add_reading, reading
from calscipy.errors import TimeAxisError
from calscipy.io.paths import local_path
from calscipy.representation import session_facts
from calscipy.session import ImagingSession

if TYPE_CHECKING:
    from calscipy.demo import DemoResult


def add_commands(commands: Any) -> None:
    """Add the commands to a command line."""
    info = commands.add_parser(
        "info",
        help="tell what a recording holds",
        description="Tell what a recording or a store holds. No image is read.",
    )
    info.add_argument("--json", action="store_true", help="write JSON for programs")
    info.set_defaults(run=_info)

    preview = commands.add_parser(
        "preview",
        help="draw a recording into a PNG",
        description="Draw mean, maximum, three frames and the mean trace into a PNG.",
    )
    preview.add_argument(
        "--output",
        type=local_path,
        metavar="PNG",
        help="file to write, which must not exist (default: NAME-preview.png)",
    )
    preview.set_defaults(run=_preview)

    for command in (info, preview):
        command.add_argument(
            "path",
            type=local_path,
            metavar="PATH",
            help="PrairieView folder or XML, TIFF, zarr store, or whatever else calscipy opens",
        )
        add_reading(command)

    demo = commands.add_parser(
        "demo",
        help="run the first example on a synthetic recording",
        description=(
            "Write a small synthetic recording, filter it, extract traces, compute ΔF/F, detect "
            "events, save the session and draw it against the truth."
        ),
    )
    demo.add_argument(
        "--folder",
        type=local_path,
        default=Path("calscipy-demo"),
        help="new folder for everything (default: %(default)s)",
    )
    demo.set_defaults(run=_demo)


def _info(arguments: argparse.Namespace) -> None:
    session = ImagingSession.open(arguments.path, **reading(arguments))
    if arguments.json:
        facts = {"path": str(arguments.path.absolute()), **machine_facts(session)}
        print(json.dumps(facts, indent=2, ensure_ascii=False, allow_nan=False))
        return
    facts = session_facts(session.tree)
    width = max(map(len, facts), default=0)
    print(arguments.path)
    for name, value in facts.items():
        print(f"  {name:<{width}}  {' '.join(value.split())}")


def machine_facts(session: ImagingSession) -> dict[str, Any]:
    """Return what ``calscipy info --json`` writes: plain numbers with their units in the names.

    What a file does not say is null.
    """
    tree = session.tree
    facts: dict[str, Any] = {
        "calscipy_version": __version__,
        "source": tree.attrs.get(model.SOURCE_ATTR),
        **dict.fromkeys(("prairieview_version", "date", "frame_rate_hz", "duration_s", "movie")),
        "groups": {name: _group(node.to_dataset()) for name, node in tree.children.items()},
    }
    timed: xr.DataArray | None = None
    if model.MOVIE in tree.children:
        timed = movie = session.movie
        facts["prairieview_version"] = movie.attrs.get("prairieview_version")
        facts["date"] = movie.attrs.get("date")
        facts["movie"] = _movie(movie)
    elif model.TRACES in tree.children:
        timed = next(iter(tree[model.TRACES].to_dataset().data_vars.values()), None)
    if timed is not None:
        facts["frame_rate_hz"], facts["duration_s"] = _clock(timed)
    return facts


def _clock(data: xr.DataArray) -> tuple[float | None, float | None]:
    try:
        rate = model.frame_rate(data)
    except TimeAxisError:
        return None, None
    times = model.seconds(data, "info")
    return rate, float(times[-1] - times[0]) + 1 / rate


def _movie(movie: xr.DataArray) -> dict[str, Any]:
    valid = model.valid_frames(movie)
    images = int(np.prod([n for dim, n in movie.sizes.items() if dim not in (model.Y, model.X)]))
    channels = movie.coords.get(model.CHANNEL)
    return {
        "dims": list(movie.dims),
        "sizes": dict(movie.sizes),
        "dtype": str(movie.dtype),
        "bytes": int(movie.nbytes),
        "units": movie.attrs.get("units"),
        "channels": None if channels is None else np.atleast_1d(channels.values).tolist(),
        "planes": movie.sizes.get(model.PLANE, 1),
        "pixel_size_um": _pixel_size(movie),
        "z_um": _depths(movie),
        "images": images,
        "images_missing": 0 if valid is None else int((~valid).sum()),
    }


def _pixel_size(movie: xr.DataArray) -> dict[str, float] | None:
    places = [movie[dim] for dim in (model.Y, model.X) if dim in movie.coords]
    sizes = {str(place.dims[0]): model.pixel_size_um(place) for place in places}
    known = {dim: size for dim, size in sizes.items() if size is not None}
    return known if len(known) == 2 else None


def _depths(movie: xr.DataArray) -> list[float | None] | None:
    """Return the depth of every plane, the median where it changes over time."""
    if model.Z not in movie.coords:
        return None
    z = movie[model.Z]
    z = z.median(model.FRAMES) if model.FRAMES in z.dims else z
    return [float(depth) if np.isfinite(depth) else None for depth in np.atleast_1d(z.values)]


def _group(dataset: xr.Dataset) -> dict[str, Any]:
    return {
        str(name): {"dims": list(data.dims), "shape": list(data.shape), "dtype": str(data.dtype)}
        for name, data in dataset.data_vars.items()
    }


def _preview(arguments: argparse.Namespace) -> None:
    from calscipy.plotting import preview

    written = preview(arguments.path, arguments.output, **reading(arguments))
    print(f"preview written to {written}")


def _demo(arguments: argparse.Namespace) -> None:
    from calscipy.demo import run_demo

    said_at_once = functools.partial(print, flush=True)
    result = run_demo(arguments.folder, report=said_at_once, progress=sys.stderr.isatty())
    print(demo_summary(result))


def demo_summary(result: DemoResult) -> str:
    """Say in a few lines what the demonstration found and where it lies."""
    return "\n".join(
        [
            f"{sum(result.seconds.values()):6.2f} s  in all",
            "",
            f"{result.detected} onsets detected, {result.true} bursts in the recording: "
            f"precision {result.precision:.2f}, recall {result.recall:.2f}",
            "",
            f"recording  {result.recording}",
            f"session    {result.store}",
            f"figure     {result.figure}",
            "",
            f"Look inside:  calscipy info {result.store}",
            f"              calscipy preview {result.recording}",
        ]
    )
