"""What ``calscipy convert`` writes: one entry for each format, its writer imported when used."""

from __future__ import annotations

import importlib
import inspect
import json
import shutil
import sys
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import xarray as xr

from calscipy import model
from calscipy.cli.progress import Lines, task_lines
from calscipy.errors import ArgumentError, first_few
from calscipy.io.output import require_free
from calscipy.session import ImagingSession
from calscipy.trees import group, latest, variable


@dataclass
class Conversion:
    """What is to be written, where and how.

    Parameters
    ----------
    session : ImagingSession
        With what was selected.
    source, target : Path
        Where it comes from and goes to.
    whole : bool
        Whether all of the source is in it, as it was opened.
    settings : dict
        What was asked for beside that, by the names of the options.
    array : str, optional
        The one array that a writer has chosen, ``group/name``; set by the writer.
    notes : list of str
        What a writer wants to be said beside the file and its size.
    """

    session: ImagingSession
    source: Path
    target: Path
    whole: bool
    settings: dict[str, Any]
    array: str | None = None
    notes: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Format:
    """A format to write.

    Parameters
    ----------
    name : str
        For ``--format``.
    suffixes : tuple of str
        Of the names of its files, in lower case.
    what : str
        What it holds, for the help.
    write : callable
        Writes a conversion.
    options : tuple of str
        Options that it takes, beside those on what is read.
    """

    name: str
    suffixes: tuple[str, ...]
    what: str
    write: Callable[[Conversion], object]
    options: tuple[str, ...] = ()


def _zarr(job: Conversion, target: Path | None = None) -> object:
    target = job.target if target is None else target
    names = ("chunks", "resume", "overwrite", "groups")
    options = {name: job.settings[name] for name in names if name in job.settings}
    progress = True if sys.stderr.isatty() else Lines(target.name)
    return _function("calscipy.io.store:save_tree")(
        job.session.tree, target, progress=progress, **{"resume": False} | options
    )


def _zip(job: Conversion) -> object:
    """Zip a store as it is; anything else is saved beside the zip first."""
    from calscipy.io.store import is_store
    from calscipy.io.store.zipping import to_zip

    require_free(job.target)
    if job.whole and job.source.is_dir() and is_store(job.source):
        return to_zip(job.source, job.target)
    folder = job.target.with_suffix("")
    folder = folder if folder.suffix == ".zarr" else folder.with_name(f"{folder.name}.zarr")
    require_free(folder)
    _zarr(job, folder)
    made = to_zip(folder, job.target)
    shutil.rmtree(folder)
    return made


def _function(path: str) -> Callable[..., Any]:
    module, _, name = path.partition(":")
    return getattr(importlib.import_module(module), name)


def _movie(job: Conversion) -> xr.DataArray:
    if model.MOVIE not in job.session.tree.children:
        raise ArgumentError(
            f"{job.source}: there is no movie in it to write; it has "
            f"{sorted(job.session.tree.children)}."
        )
    return job.session.movie


def _images(function: str) -> Callable[[Conversion], object]:
    """Return what writes the movie with a function."""
    return lambda job: _written(job, function, _movie(job), job.settings)


def _netcdf(job: Conversion) -> object:
    return _written(job, "calscipy.io.netcdf:to_netcdf", job.session.tree, job.settings)


def _nwb(job: Conversion) -> object:
    """Write everything, with the facts that stand in a JSON file by the names of `to_nwb`."""
    function = "calscipy.io.nwb.writing:to_nwb"
    settings = dict(job.settings)
    file = settings.pop("metadata", None)
    given = {} if file is None else _json_object(Path(file))
    known = set(inspect.signature(_function(function)).parameters)
    known -= {"session", "path", "groups", "progress"}
    if given.keys() - known:
        raise ArgumentError(
            f"{file}: {first_few(sorted(given.keys() - known))}: not among the facts that to_nwb "
            f"takes, which are {', '.join(sorted(known))}."
        )
    return _written(job, function, job.session.tree, settings | given)


def _json_object(file: Path) -> dict[str, Any]:
    try:
        found = json.loads(file.read_text("utf-8"))
    except (ValueError, RecursionError) as error:
        raise ArgumentError(f"{file}: not a JSON file ({error}).") from error
    if not isinstance(found, dict):
        raise ArgumentError(f"{file}: a JSON object with names and values is needed.")
    return found


TABLES = (model.TRACES, model.EVENTS, model.VOLTAGE, model.STIMULUS)


def _csv(job: Conversion) -> object:
    """Write what was asked for, or the latest of the first group that a table can hold."""
    place, name = _table(job)
    tree = job.session.tree
    data = group(tree, place) if name is None else variable(tree, place, name)
    written = _written(job, "calscipy.io.csv:to_csv", data, {})
    job.array = place if name is None else f"{place}/{name}"
    sizes = " x ".join(f"{size} {dim}" for dim, size in data.sizes.items())
    beside = Path(str(written)).with_suffix(".json").name
    job.notes.append(f"{name or place} ({sizes}); labels and units in {beside}")
    others = [other for other in _arrays(tree) if other != job.array]
    if others:
        job.notes.append(f"not written: {', '.join(others)}; choose one with --array NAME")
    return written


def _arrays(tree: xr.DataTree) -> list[str]:
    """Name what a table can hold, ``group/name``; stimuli are one table."""
    return [
        place if place == model.STIMULUS else f"{place}/{name}"
        for place in TABLES
        if place in tree.children
        for name in (
            [place] if place == model.STIMULUS else sorted(map(str, tree[place].data_vars))
        )
    ]


def _table(job: Conversion) -> tuple[str, str | None]:
    """Return the group and the name of the array to write; no name for a whole group."""
    tree, groups = job.session.tree, job.settings.get("groups")
    if groups is not None and len(groups) != 1:
        raise ArgumentError(f"a CSV file holds one group, not {first_few(groups)}. Write one each.")
    asked = job.settings.get("array")
    there = [place for place in groups or TABLES if place in tree.children]
    if not there:
        raise ArgumentError(
            f"{job.source}: no {' or '.join(groups or TABLES)} in it to write as a table; it has "
            f"{sorted(tree.children)}."
        )
    if asked is not None:
        found = [one.partition("/")[::2] for one in _arrays(tree)]
        for place, name in found:
            if place in there and asked in (name or place, f"{place}/{name}"):
                return place, name or None
        raise ArgumentError(
            f"{job.source}: no array {asked!r} in it to write as a table; there are "
            f"{', '.join(_arrays(tree))}."
        )
    place = there[0]
    return place, None if place == model.STIMULUS else str(latest(tree, place).name)


def _written(job: Conversion, function: str, data: Any, settings: dict[str, Any]) -> object:
    """Call a writer that shows its own bar on a terminal; elsewhere, lines on its tasks."""
    shown = sys.stderr.isatty()
    with nullcontext() if shown else task_lines(job.target.name, int(data.nbytes)):
        return _function(function)(data, job.target, progress=shown, **settings)


FORMATS = (
    Format("zarr", (".zarr",), "everything, crash-safe", _zarr,
           ("chunks", "resume", "overwrite", "groups")),
    Format("zip", (".zip",), "everything, a zarr store in one file", _zip,
           ("chunks", "resume", "groups")),
    Format("tiff", (".tif", ".tiff"), "the movie, BigTIFF with OME metadata",
           _images("calscipy.io.tiff_writer:to_tiff"), ("max_file_bytes",)),
    Format("binary", (".bin",), "the movie as plain bytes, for CalSciPy",
           _images("calscipy.io.binary_writer:to_binary")),
    Format("netcdf", (".nc", ".h5", ".hdf5"), "everything, netCDF in HDF5", _netcdf, ("groups",)),
    Format("nwb", (".nwb",), "everything that NWB has a place for", _nwb, ("groups", "metadata")),
    Format("csv", (".csv",), "traces, events, voltage or stimuli as a table", _csv,
           ("groups", "array")),
    Format("suite2p", (), "the movie, in a folder ready for suite2p",
           _images("calscipy.io.suite2p.writing:to_suite2p"),
           ("functional_channel", "halve", "scale")),
)  # fmt: skip


def format_of(target: Path, name: str | None) -> Format:
    """Return the format of a given name, or the one that the name of a file stands for.

    Raises
    ------
    ArgumentError
        If none is given and the name stands for none.
    """
    for known in FORMATS:
        if known.name == name or (name is None and target.suffix.lower() in known.suffixes):
            return known
    raise ArgumentError(
        f"{target}: its name does not say in which format to write. Give it one of the endings "
        f"{', '.join(suffix for known in FORMATS for suffix in known.suffixes)}, or --format with "
        f"one of {', '.join(names())}."
    )


def names() -> Sequence[str]:
    """Return the names of all formats."""
    return [known.name for known in FORMATS]
