"""Results of another program, and what is known of the movie that it worked on."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

import numpy as np
import xarray as xr

from calscipy import model
from calscipy.errors import ArgumentError, CalscipyWarning, warn
from calscipy.io.suite2p import open_suite2p
from calscipy.io.suite2p.folders import MOVIE, STAT, find_folder
from calscipy.io.suite2p.labels import Export, exported_from
from calscipy.io.suite2p.tree import PROGRAM_ATTR, SETTINGS_ATTR

Program = Literal["suite2p", "caiman"]


@dataclass(frozen=True)
class Results:
    """What another program found, and what is known of the movie that it worked on."""

    path: Path
    program: Program
    tree: xr.DataTree
    planes: int  # of the movie that it worked on
    alone: bool = False  # of one of these planes
    channel: int | None = None  # the place of the channel that the traces are of, from 0 on
    export: Export | None = None  # if calscipy wrote the movie for it

    @property
    def frames(self) -> int:
        """Frames that the program worked on, 0 if it is not known."""
        for group, dim in ((model.TRACES, model.TIME), (model.REGISTRATION, model.FRAMES)):
            if group in self.tree.children:
                return self.tree[group].sizes[dim]
        return 0

    @property
    def stated_program(self) -> str:
        """Name and version of the program, where the files say it."""
        for node in self.tree.children.values():
            for data in node.data_vars.values():
                if PROGRAM_ATTR in data.attrs:
                    return str(data.attrs[PROGRAM_ATTR])
        return self.program


def open_results(path: Path, program: Program | None, rate: float) -> Results:
    """Open results whose frame rate is that of the recording.

    Raises
    ------
    ArgumentError
        If the program is unknown.
    RecordingError
        If they cannot be read.
    """
    if program is not None and program not in get_args(Program):
        raise ArgumentError(f"program must be one of {get_args(Program)}, got {program!r}")
    if program is None:
        program = "suite2p" if path.is_dir() or path.name in (STAT, MOVIE) else "caiman"
    if program == "caiman":
        from calscipy.io.caiman import open_caiman

        tree = open_caiman(path, frame_rate=rate)
        return Results(path, program, tree, planes=_planes_of(tree))
    folder = path if path.is_dir() else path.parent
    tree = open_suite2p(folder, frame_rate=rate, movie=False)
    states = list(tree.attrs[SETTINGS_ATTR].values())
    planes = states[0].get("nplanes")
    planes = planes if isinstance(planes, int) and planes >= len(states) else len(states)
    export = exported_from(folder)
    channel = states[0].get("functional_chan")
    if export is not None:
        place: int | None = export.functional
    else:
        place = channel - 1 if channel in (1, 2) and states[0].get("nchannels") == 2 else None
    return Results(path, program, tree, planes, not find_folder(folder).whole, place, export)


def _planes_of(tree: xr.DataTree) -> int:
    for group in (model.ROIS, model.TRACES):
        if group in tree.children and model.PLANE in tree[group].coords:
            return int(tree[group][model.PLANE].max()) + 1
    return 1


def require_same_frames(results: Results, movie: xr.DataArray) -> None:
    """Raise unless the results are of the frames and planes of a movie, naming both numbers.

    Raises
    ------
    ArgumentError
        Saying what to do.
    """
    frames, ours = results.frames, movie.sizes[model.FRAMES]
    if not frames:
        raise ArgumentError(
            f"{results.path}: no traces in it. Run {results.program} to its end first."
        )
    if frames != ours:
        planes = movie.sizes.get(model.PLANE, 1)
        channels = movie.sizes.get(model.CHANNEL, 1)
        hint = "Select those it saw with session.sel(time=...), or join them with calscipy.concat."
        if frames == ours * planes * channels:
            hint = (
                f"It took {planes} planes and {channels} channels for frames: run it again with "
                "nplanes and nchannels."
            )
        raise ArgumentError(
            f"attach: {results.program} worked on {frames} frames ({results.path}), the movie of "
            f"this session has {ours}. {hint}"
        )
    ours = movie.sizes.get(model.PLANE, 1)
    if results.planes != ours and not (results.alone and ours == 1):
        raise ArgumentError(
            f"attach: {results.program} worked on {results.planes} planes ({results.path}), the "
            f"movie of this session has {ours}. Attach to the planes that it saw: "
            "session.sel(plane=...)."
        )


def warn_of_another_source(results: Results, movie: xr.DataArray) -> None:
    """Warn if calscipy wrote the movie for the program from another recording, or part of it."""
    if results.export is None:
        return
    labels = results.export.labels
    theirs, ours = (one.get(model.SOURCE_ATTR) for one in (labels.attrs, movie.attrs))
    if theirs is not None and ours is not None and theirs != ours:
        warn(
            f"{results.path}: written from the recording {theirs!r}, this one is {ours!r}. Attach "
            "results to the recording they came from.",
            CalscipyWarning,
        )
    here = model.seconds(movie, "attach")
    there = labels.coords.get(model.TIME)
    step = float(np.median(np.diff(here))) if here.size > 1 else 0.0
    if there is not None and there.size and abs(there.values[0] - here[0]) > step / 2:
        warn(
            f"{results.path}: its first frame was taken at {there.values[0]:.6g} s, that of the "
            f"movie at {here[0]:.6g} s. Attach results to the frames they came from: "
            "session.sel(time=...).",
            CalscipyWarning,
        )
