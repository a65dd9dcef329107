"""``calscipy convert IN OUT``: from any format that calscipy reads to any that it writes."""

from __future__ import annotations

import argparse
import json
import os
import time
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from calscipy import model
from calscipy.cli.arguments import add_reading, factor, gigabytes, reading
from calscipy.cli.formats import FORMATS, Conversion, Format, format_of, names
from calscipy.errors import ArgumentError, CalscipyError, first_few
from calscipy.io.output import require_free
from calscipy.io.paths import local_path
from calscipy.session import ImagingSession

_SELECTING = {"channel": model.CHANNEL, "plane": model.PLANE}
_WRITING = {
    "resume": "--resume",
    "overwrite": "--overwrite",
    "chunks": "--chunks",
    "groups": "--group",
    "max_file_bytes": "--max-file-size",
    "metadata": "--metadata",
    "functional_channel": "--functional-channel",
    "halve": "--halve",
    "scale": "--scale",
    "array": "--array",
}


def add_command(commands: Any) -> None:
    """Add the command to a command line."""
    convert = commands.add_parser(
        "convert",
        help="write a recording or store in another format",
        description=(
            "Write a recording or a store in another format. Nothing is overwritten, but for "
            "stores with --overwrite."
        ),
        epilog="Formats: "
        + "; ".join(f"{f.name} ({', '.join(f.suffixes) or 'a folder'}): {f.what}" for f in FORMATS),
    )
    convert.add_argument("source", type=local_path, metavar="IN", help="whatever calscipy opens")
    convert.add_argument("target", type=local_path, metavar="OUT", help="what does not exist yet")
    convert.add_argument(
        "--format", choices=names(), help="by default what the ending of OUT stands for"
    )
    convert.add_argument("--json", action="store_true", help="write the result as JSON")
    _add_reading(convert)
    _add_writing(convert.add_argument_group("how it is written"))
    convert.set_defaults(run=_convert, wrong_usage=convert.error)


def _add_reading(command: argparse.ArgumentParser) -> None:
    add = add_reading(command).add_argument
    many = "(may be repeated)"
    add("--channel", action="append", metavar="NAME", help=f"only this channel {many}")
    add("--plane", action="append", type=int, metavar="N", help=f"only this plane {many}")


def _add_writing(group: Any) -> None:
    add = group.add_argument
    add(
        "--resume", action="store_true", help="zarr: go on with the same save if it was interrupted"
    )
    add("--overwrite", action="store_true", help="zarr: replace a store, once the new one is whole")
    add(
        "--chunks",
        choices=("hybrid", "frames", "time"),
        help="zarr: what is to be read fast: whole frames, pixels over time, or both (hybrid)",
    )
    add(
        "--group",
        dest="groups",
        action="append",
        metavar="NAME",
        help="zarr, netcdf, nwb, csv: only this group, such as movie or traces (may be repeated)",
    )
    add("--array", metavar="NAME", help="csv: this array, such as traces or dfof")
    add(
        "--max-file-size",
        dest="max_file_bytes",
        type=gigabytes,
        metavar="GB",
        help="tiff: several files of at most this size, in a folder",
    )
    add(
        "--metadata",
        type=local_path,
        metavar="JSON",
        help="nwb: file with what the standard needs, by the names of the arguments of to_nwb",
    )
    add("--functional-channel", metavar="NAME", help="suite2p: the channel in which it finds ROIs")
    add("--halve", action="store_true", help="suite2p: divide by two, as it does itself")
    add("--scale", type=factor, metavar="X", help="suite2p: multiply by this and round")


def _convert(arguments: argparse.Namespace) -> None:
    chosen = _chosen(arguments)
    settings = _settings(arguments, chosen)
    said: list[str] = []
    show = warnings.showwarning

    def keep(message: Warning | str, *rest: Any, **options: Any) -> None:
        said.append(str(message))
        show(message, *rest, **options)

    warnings.showwarning = keep  # main puts the first one back
    started = time.perf_counter()
    if chosen.suffixes and not (arguments.resume or arguments.overwrite):
        require_free(arguments.target)  # before anything is read
    session, whole = _selected(arguments)
    try:
        job = Conversion(session, arguments.source, arguments.target, whole, settings)
        written = Path(str(chosen.write(job)))
    except (CalscipyError, OSError, KeyboardInterrupt) as error:
        if "resume" in chosen.options and not arguments.resume and _is_unfinished(arguments.target):
            error.add_note("The same command with --resume goes on with it.")
        raise
    seconds = time.perf_counter() - started
    nbytes = _bytes_at(written)
    if arguments.json:
        facts = {
            "input": str(arguments.source.absolute()),
            "output": str(written.absolute()),
            "format": chosen.name,
            "groups": list(session.tree.children),
            "array": job.array,
            "bytes_in_memory": int(session.tree.nbytes),
            "bytes": nbytes,
            "seconds": round(seconds, 6),
            "warnings": said,
        }
        print(json.dumps(facts, indent=2, ensure_ascii=False))
    else:
        speed = session.tree.nbytes / max(seconds, 1e-9) / 1e6
        print(f"{written}  {chosen.name}, {nbytes / 1e6:.1f} MB, {seconds:.1f} s "
              f"({speed:.0f} MB/s)")  # fmt: skip
        for line in job.notes:
            print(f"  {line}")


def _is_unfinished(target: Path) -> bool:
    from calscipy.io.store.stage import stages_of

    return target.parent.is_dir() and bool(stages_of(target))


def _chosen(arguments: argparse.Namespace) -> Format:
    try:
        return format_of(arguments.target, arguments.format)
    except ArgumentError as error:
        arguments.wrong_usage(str(error))
        raise


def _settings(arguments: argparse.Namespace, chosen: Format) -> dict[str, Any]:
    """Return what was asked of the writer; what it does not take is wrong usage."""
    given = {name: getattr(arguments, name) for name in _WRITING}
    given = {name: value for name, value in given.items() if value not in (None, False)}
    ignored = [_WRITING[name] for name in given if name not in chosen.options]
    if ignored:
        arguments.wrong_usage(f"{' and '.join(ignored)}: not for the format {chosen.name}")
    return given


def _selected(arguments: argparse.Namespace) -> tuple[ImagingSession, bool]:
    """Open what is to be converted and select from it; tell whether that is all of it."""
    options = reading(arguments)
    session = ImagingSession.open(arguments.source, **options)
    selection = {
        dim: _one_or_many(getattr(arguments, name))
        for name, dim in _SELECTING.items()
        if getattr(arguments, name)
    }
    for dim, wanted in selection.items():
        try:
            session = session.sel(**{dim: wanted})
        except KeyError as error:
            coords = [node.coords[dim] for node in session.tree.subtree if dim in node.coords]
            there = sorted({label for c in coords for label in np.atleast_1d(c.values).tolist()})
            raise ArgumentError(
                f"{arguments.source}: no {dim} {wanted!r} in it; there are {first_few(there, 10)}."
            ) from error
    return session, not (options or selection or arguments.groups or arguments.chunks)


def _one_or_many(values: Sequence[Any]) -> Any:
    return values[0] if len(values) == 1 else list(values)


def _bytes_at(path: Path) -> int:
    """Return the bytes of a file, or of all files in a folder."""
    if path.is_file():
        return path.stat().st_size
    return sum(
        os.lstat(os.path.join(parent, name)).st_size
        for parent, _, files in os.walk(path)
        for name in files
    )
