"""Files in and out."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import xarray as xr

from calscipy import model
from calscipy.errors import ArgumentError, RecordingError
from calscipy.io import prairieview, store
from calscipy.io.binary import SUFFIX as BINARY
from calscipy.io.binary import is_binary_folder, open_binary
from calscipy.io.caiman import is_caiman, open_caiman
from calscipy.io.chunks import Chunks, chunk_movie
from calscipy.io.netcdf import is_netcdf, open_netcdf
from calscipy.io.nwb import is_nwb, open_nwb
from calscipy.io.paths import local_path
from calscipy.io.prairieview.linescan import chunk_line_scans
from calscipy.io.prairieview.voltage import chunk_voltage
from calscipy.io.store.remote_place import is_remote
from calscipy.io.suite2p import is_suite2p, open_suite2p
from calscipy.io.tiff import SUFFIXES, open_tiff


def open_path(
    path: str | os.PathLike[str], *, chunks: Chunks = "frames", **options: Any
) -> xr.DataTree:
    """Open whatever lies at a path as the tree of a session.

    Raises
    ------
    RecordingError
        If there is nothing that calscipy knows.
    ArgumentError
        For an option that this kind of recording does not take.
    """
    if is_remote(path):
        return store.open_store(path, chunks=chunks, **options)
    path = local_path(path)
    kind = _opener(path)
    unknown = sorted(set(options) - set(kind.options))
    if unknown:
        why = f" {kind.states}" if kind.states and STATED & set(unknown) else ""
        raise ArgumentError(
            f"{path}: open takes the options {('chunks', *kind.options)} for {kind.name}, got "
            f"{unknown}.{why}"
        )
    if kind.chunks:
        return kind.open(path, chunks=chunks, **options)
    tree = kind.open(path, **options)
    groups = {"/": xr.Dataset(attrs=tree.attrs)}
    for name, node in tree.children.items():
        chunk = _CHUNKERS.get(name)
        dataset = node.to_dataset()
        groups[name] = dataset if chunk is None else chunk(dataset, chunks)
    if model.MOVIE in groups:
        groups[model.MOVIE].attrs |= {model.LATEST_ATTR: model.MOVIE}
    return xr.DataTree.from_dict(groups)


_NPZ = ".npz"  # several arrays, each with a name

STATED = {"frame_rate", "channels", "planes", "microns_per_pixel"}  # options for what files lack

_CHUNKERS: dict[str, Callable[[xr.Dataset, Chunks], xr.Dataset]] = {
    model.MOVIE: chunk_movie,
    model.LINESCAN: chunk_line_scans,
    model.VOLTAGE: chunk_voltage,
}


@dataclass(frozen=True)
class Format:
    """A kind of recording: what it is called, how it is known, and who opens it."""

    name: str  # for messages
    fits: Callable[[Path], bool]
    open: Callable[..., xr.DataTree]
    options: tuple[str, ...] = ()
    chunks: bool = False  # the file has blocks of its own, which its opener knows
    states: str = ""  # why it takes none of STATED, a sentence


def _opener(path: Path) -> Format:
    if not path.exists():
        raise RecordingError(f"{path}: there is no such folder or file. Check the path.")
    for one in FORMATS:
        if one.fits(path):
            return one
    raise RecordingError(
        f"{path}: calscipy does not know this {'folder' if path.is_dir() else 'file'}. It opens "
        f"{', '.join(one.name for one in FORMATS)}. {_how_to_label(path)}"
    )


def _how_to_label(path: Path) -> str:
    """Say how numbers that another program wrote become a movie or traces."""
    file = _numpy_file(path)
    load = "array" if file is None else f"numpy.load({str(file)!r})"
    if file is not None and file.suffix.lower() == _NPZ:
        load += "['NAME']"
    return (
        "Arrays of other programs become a movie or traces with "
        f"calscipy.from_numpy({load}, frame_rate=...), in Hz."
    )


def _numpy_file(path: Path) -> Path | None:
    """Return a file of NumPy's, or the first in a folder; None if there is none."""
    files = sorted(path.iterdir()) if path.is_dir() else [path]
    return next((file for file in files if file.suffix.lower() in (".npy", _NPZ)), None)


def _is_tiff(path: Path) -> bool:
    """Tell whether it is a TIFF file, or a folder of them without PrairieView's master XML."""
    if not path.is_dir():
        return path.suffix.lower() in SUFFIXES
    files = [entry for entry in path.iterdir() if entry.is_file()]
    if any(prairieview.is_master(file) for file in files):
        return False
    return any(file.suffix.lower() in SUFFIXES for file in files)


def _is_binary(path: Path) -> bool:
    return is_binary_folder(path) if path.is_dir() else path.suffix.lower() == BINARY


def _is_prairieview(path: Path) -> bool:
    if not path.is_dir():
        return path.suffix.lower() == ".xml"
    # Any folder: it says what is missing. But arrays alone are no recording that lacks its XML.
    return any(path.glob("*.[xX][mM][lL]")) or _numpy_file(path) is None


def _open_prairieview(path: Path, **options: Any) -> xr.DataTree:
    return prairieview.open_tree(prairieview.find_master(path), **options)


# Looked through in this order; the first that fits opens the path. `chunks` is applied to all.
FORMATS = (
    Format(
        "calscipy's zarr stores",
        store.is_store,
        store.open_store,
        ("verify",),
        chunks=True,
        states="They hold times, channels, planes and the size of pixels.",
    ),
    Format("folders of suite2p", is_suite2p, open_suite2p, ("frame_rate", "movie")),
    Format(
        "binary files (.bin) of CalSciPy",
        _is_binary,
        open_binary,
        ("frame_rate", "frames", "y", "x", "dtype", "channels", "planes", "microns_per_pixel"),
    ),
    Format("results of CaImAn (HDF5)", is_caiman, open_caiman, ("frame_rate",)),
    Format(
        "NWB files",
        is_nwb,
        open_nwb,
        ("movie", "segmentation"),
        chunks=True,
        states="They state times, channels, planes and the size of pixels.",
    ),
    Format(
        "netCDF files of calscipy",
        is_netcdf,
        open_netcdf,
        chunks=True,
        states="They hold times, channels, planes and the size of pixels.",
    ),
    Format(
        "TIFF files and folders of them",
        _is_tiff,
        open_tiff,
        ("frame_rate", "channels", "planes", "microns_per_pixel"),
    ),
    Format(
        "PrairieView folders and their master XML",
        _is_prairieview,
        _open_prairieview,
        ("cycles", "check"),
        states="The XML states times, channels, planes and the size of pixels.",
    ),
)
