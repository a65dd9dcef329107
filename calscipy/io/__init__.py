"""Files in and out."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import xarray as xr

from calscipy import model
from calscipy.errors import ArgumentError, RecordingError
from calscipy.io import prairieview, store
from calscipy.io.chunks import Chunks, chunk_movie
from calscipy.io.prairieview.linescan import chunk_line_scans
from calscipy.io.prairieview.voltage import chunk_voltage
from calscipy.io.tiff import SUFFIXES, open_tiff


def open_path(path: Path, *, chunks: Chunks = "frames", **options: Any) -> xr.DataTree:
    """Open whatever lies at a path as the tree of a session.

    Raises
    ------
    RecordingError
        If there is nothing that calscipy knows.
    ArgumentError
        For an option that this kind of recording does not take.
    """
    opener, accepted = _opener(path)
    unknown = sorted(set(options) - set(accepted))
    if unknown:
        raise ArgumentError(
            f"{path}: open takes the options {('chunks', *accepted)} here, got {unknown}."
        )
    if opener is store.open_store:
        return store.open_store(path, chunks=chunks)
    tree = opener(path, **options)
    groups = {"/": xr.Dataset(attrs=tree.attrs)}
    for name, node in tree.children.items():
        chunk = _CHUNKERS.get(name)
        dataset = node.to_dataset()
        groups[name] = dataset if chunk is None else chunk(dataset, chunks)
    if model.MOVIE in groups:
        groups[model.MOVIE].attrs |= {model.LATEST_ATTR: model.MOVIE}
    return xr.DataTree.from_dict(groups)


_CHUNKERS: dict[str, Callable[[xr.Dataset, Chunks], xr.Dataset]] = {
    model.MOVIE: chunk_movie,
    model.LINESCAN: chunk_line_scans,
    model.VOLTAGE: chunk_voltage,
}


def _opener(path: Path) -> tuple[Callable[..., xr.DataTree], tuple[str, ...]]:
    tiff_options = ("frame_rate", "channels", "planes", "microns_per_pixel")
    if path.is_dir():
        if store.is_store(path):
            return store.open_store, ()
        if _is_tiff_folder(path):
            return open_tiff, tiff_options
        return _open_prairieview, ("cycles", "check")
    if not path.exists():
        raise RecordingError(f"{path}: there is no such folder or file. Check the path.")
    if path.suffix.lower() in SUFFIXES:
        return open_tiff, tiff_options
    if path.suffix.lower() == ".xml":
        return _open_prairieview, ("cycles", "check")
    raise RecordingError(
        f"{path}: calscipy opens PrairieView folders and their master XML, TIFF files and "
        "folders of them, and its own zarr stores; it does not know this file."
    )


def _is_tiff_folder(path: Path) -> bool:
    """Tell whether a folder has TIFF files and no PrairieView master XML."""
    files = [entry for entry in path.iterdir() if entry.is_file()]
    if any(prairieview.is_master(file) for file in files):
        return False
    return any(file.suffix.lower() in SUFFIXES for file in files)


def _open_prairieview(path: Path, **options: Any) -> xr.DataTree:
    return prairieview.open_tree(prairieview.find_master(path), **options)
