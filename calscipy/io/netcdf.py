"""Sessions as netCDF (HDF5) files: plain xarray opens them, calscipy gets back all of it."""

from __future__ import annotations

import os
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import xarray as xr

from calscipy import model
from calscipy._version import __version__
from calscipy.errors import ArgumentError, RecordingError
from calscipy.io.chunks import Chunks
from calscipy.io.groups import chosen_groups
from calscipy.io.hdf5 import opened, root_has
from calscipy.io.netcdf_form import decoded, decoded_attrs, encoded, encoded_attrs, in_order
from calscipy.io.optional import optional
from calscipy.io.output import new_file, progress_bar, require_space
from calscipy.io.paths import local_path

SUFFIXES = (".nc", ".h5", ".hdf5")
VERSION_ATTR = "calscipy_version"


def to_netcdf(
    session: Any,
    path: str | os.PathLike[str],
    *,
    groups: Sequence[str] | None = None,
    progress: bool | None = None,
) -> Path:
    """Write a session to a netCDF file (HDF5), which xarray and other programs read.

    Everything is computed block by block in one dask graph, so that each source frame is read
    once. The file appears under its name only when it is complete.

    Parameters
    ----------
    session : ImagingSession or DataTree
        What to write.
    path : path
        The file, ending in ``.nc`` or ``.h5``. It must not exist yet.
    groups : sequence of str, optional
        Groups to write; all of them by default.
    progress : bool, optional
        Show a progress bar; the option ``progress`` by default.

    Returns
    -------
    Path
        The file.

    Raises
    ------
    MissingPackageError
        Without h5netcdf; it says how to install it.
    TargetExistsError
        If there is anything at ``path``.
    StoreError
        If it cannot be written, or an attribute or a variable has no form in netCDF, which is
        named. Nothing is left behind.

    Notes
    -----
    Groups, dimensions, coordinates, units and history are those of the session, as netCDF has
    them. What netCDF lacks (nested attributes, None, flags, types such as float16) stands in the
    attribute ``calscipy_json`` of each variable and group.

    Examples
    --------
    >>> import calscipy as cs
    >>> traces = cs.from_numpy(np.ones((2, 3)), frame_rate=30)
    >>> session = cs.ImagingSession(xr.DataTree()).assign(traces=traces)
    >>> file = to_netcdf(session, "m12.nc", progress=False)
    >>> xr.open_datatree(file, engine="h5netcdf")["traces/traces"].values.tolist()
    [[1.0, 1.0, 1.0], [1.0, 1.0, 1.0]]
    """
    target = local_path(path)
    if target.suffix.lower() not in SUFFIXES:
        raise ArgumentError(f"to_netcdf needs a name that ends in .nc or .h5, got {str(path)!r}.")
    optional("h5netcdf", extra="hdf5", purpose="netCDF files")
    tree = chosen_groups(session, groups, "to_netcdf")
    datasets = {name: encoded(node.to_dataset()) for name, node in tree.children.items()}
    root = encoded_attrs(tree.attrs, "session", {"groups": list(datasets)})
    root |= {model.SCHEMA_ATTR: model.SCHEMA_VERSION, VERSION_ATTR: __version__}
    whole = xr.DataTree.from_dict({"/": xr.Dataset(attrs=root)} | datasets)
    encoding = {
        f"/{name}": {str(one): {"_FillValue": None} for one in dataset.variables}
        for name, dataset in datasets.items()
    }
    with new_file(target) as temporary:
        require_space(target.parent, sum(dataset.nbytes for dataset in datasets.values()))
        with progress_bar(f"writing {target.name}", show=progress), warnings.catch_warnings():
            # Names with spaces are no coordinates for other programs; for calscipy they are.
            warnings.simplefilter("ignore", xr.SerializationWarning)
            whole.to_netcdf(temporary, engine="h5netcdf", encoding=encoding)
    return target


def is_netcdf(path: Path) -> bool:
    """Tell whether a file is one that `to_netcdf` wrote, or claims to be netCDF."""
    return (path.suffix.lower() == ".nc" and path.is_file()) or root_has(path, model.SCHEMA_ATTR)


def open_netcdf(path: str | os.PathLike[str], *, chunks: Chunks = "frames") -> xr.DataTree:
    """Open a file that `to_netcdf` wrote, its arrays lazily.

    Parameters
    ----------
    path : path
        The file.
    chunks : {"frames", "time"}, mapping or None
        Chunks of the movie; ``"frames"`` are the blocks in which it was written.

    Returns
    -------
    DataTree
        The tree of the session.

    Raises
    ------
    RecordingError
        If it is not one of ours, is damaged, or points into other files.
    MissingPackageError
        Without h5py; it says how to install it.
    """
    path = local_path(path)
    with opened(path) as file:
        attrs, extra = decoded_attrs(file, path)
        schema = attrs.get(model.SCHEMA_ATTR)
        if not isinstance(schema, int):
            raise RecordingError(
                f"{path}: HDF5, but not a session of calscipy (no {model.SCHEMA_ATTR!r}). Open "
                "netCDF with xarray.open_datatree(path) and wrap it: ImagingSession(tree)."
            )
        if schema > model.SCHEMA_VERSION:
            raise RecordingError(
                f"{path}: written with schema {schema} by calscipy "
                f"{attrs.get(VERSION_ATTR, '?')}; this calscipy {__version__} reads schemas up "
                f"to {model.SCHEMA_VERSION}. Update calscipy."
            )
        found = {
            name: decoded(file[name], path, chunks) for name in in_order(file, extra, "groups")
        }
    root = {key: value for key, value in attrs.items() if key != VERSION_ATTR}
    return xr.DataTree.from_dict({"/": xr.Dataset(attrs=root)} | found)
