"""NWB files as sessions: those that calscipy wrote, and those of any program."""

from __future__ import annotations

import os
from pathlib import Path

import xarray as xr

from calscipy import model
from calscipy.errors import RecordingError
from calscipy.io.chunks import Chunks, chunk_movie
from calscipy.io.hdf5 import opened, root_has
from calscipy.io.netcdf_form import blocks_of
from calscipy.io.nwb.carried import restored_session
from calscipy.io.nwb.foreign import VERSION_ATTR, read_foreign
from calscipy.io.paths import local_path

SUFFIX = ".nwb"


def is_nwb(path: Path) -> bool:
    """Tell whether a file is NWB, by its suffix or its content."""
    return (path.suffix.lower() == SUFFIX and path.is_file()) or root_has(path, VERSION_ATTR)


def open_nwb(
    path: str | os.PathLike[str],
    *,
    chunks: Chunks = "frames",
    movie: str | None = None,
    segmentation: str | None = None,
) -> xr.DataTree:
    """Open an NWB file as the tree of a session, its arrays lazily.

    What `to_nwb` wrote comes back as it was. Of other files the movie, the ROI responses and the
    ROIs are read; ``movie`` and ``segmentation`` choose where there are several.

    Parameters
    ----------
    path : path
        The file, in HDF5.
    chunks : {"frames", "time"}, mapping or None
        Chunks of the movie.
    movie : str, optional
        Name of the series of images to open. By default all of one shape and one clock, as the
        channels of a movie.
    segmentation : str, optional
        Name of the table of ROIs. By default all whose responses are alike, one after the other.

    Returns
    -------
    DataTree
        With the groups ``movie``, ``traces`` and ``rois`` where the file has them.

    Raises
    ------
    RecordingError
        If it is not NWB, is damaged, points into other files, or holds nothing of these.
    MissingPackageError
        Without h5py; it says how to install it.

    Notes
    -----
    As NWB says, images are ``(frames, x, y [, z])``, responses ``(time, roi)`` and masks ``x, y``.
    Times stay on the clock of the file, whose zero its ``timestamps_reference_time`` tells; it is
    with all else about the session in the attribute ``nwb``. Values that NWB converts
    (``conversion``, ``offset``) are converted.
    """
    path = local_path(path)
    with opened(path, extra="nwb") as file:
        if VERSION_ATTR not in file.attrs:
            raise RecordingError(
                f"{path}: HDF5, but not NWB (no {VERSION_ATTR!r}). Open it with the program that "
                "wrote it."
            )
        tree = restored_session(file, path) if movie is None and segmentation is None else None
        if tree is None:
            tree = read_foreign(file, path, movie, segmentation)
    groups = {"/": xr.Dataset(attrs=tree.attrs)}
    for name, node in tree.children.items():
        groups[name] = _in_blocks(node.to_dataset(), chunks)
    return xr.DataTree.from_dict(groups)


def _in_blocks(dataset: xr.Dataset, chunks: Chunks) -> xr.Dataset:
    """Cut what stays in the file into blocks."""
    if chunks is None:
        return dataset
    if model.MOVIE in dataset and dataset[model.MOVIE].chunks is None:
        dataset = chunk_movie(dataset, chunks)
    variables = ((name, data.variable) for name, data in dataset.data_vars.items())
    return dataset.assign(
        {
            name: variable.chunk(blocks_of(variable))
            for name, variable in variables
            if variable.chunks is None and not variable._in_memory
        }
    )
