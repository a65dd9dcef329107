"""Save sessions in zarr 3: staged beside the target, one graph for all, renamed when complete."""

from __future__ import annotations

import os
import shutil
import uuid
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import dask
import xarray as xr
import zarr

from calscipy import model
from calscipy._version import __version__
from calscipy.errors import ArgumentError, StoreError, first_few
from calscipy.io.ome import multiscales
from calscipy.io.output import progress_bar, require_free
from calscipy.io.store.attrs import ready_attrs
from calscipy.io.store.layout import prepare


def save_tree(
    tree: xr.DataTree,
    path: str | os.PathLike[str],
    *,
    groups: Sequence[str] | None = None,
    progress: bool | None = None,
) -> Path:
    """Save groups of a session's tree to a new zarr store.

    Everything is computed in one dask graph, so that each source frame is read once. The store
    appears under its name only when it is complete.

    Parameters
    ----------
    tree : DataTree
        The session's tree.
    path : path
        The store, a folder that does not exist yet.
    groups : sequence of str, optional
        Groups to save; all of them by default.
    progress : bool, optional
        Show a progress bar; the option ``progress`` by default.

    Raises
    ------
    TargetExistsError
        If there is anything at ``path``.
    StoreError
        If it cannot be written, for instance on a full disk. Nothing is left behind.
    """
    target = Path(path).absolute()
    datasets = _select(tree, groups)
    require_free(target)
    prepared = {name: prepare(dataset) for name, dataset in datasets.items()}
    attrs = ready_attrs(tree.attrs, "/") | {
        model.SCHEMA_ATTR: model.SCHEMA_VERSION,
        "calscipy_version": __version__,
    }
    with _stage(target) as stage:
        _write(stage, prepared, attrs, progress)
        require_free(target)
    return target


def to_zarr(
    data: xr.DataArray, path: str | os.PathLike[str], *, progress: bool | None = None
) -> Path:
    """Save one array to a new zarr store that ``ImagingSession.open`` reads.

    Parameters
    ----------
    data : DataArray
        Movie, traces or events.
    path : path
        The store, a folder that does not exist yet.
    progress : bool, optional
        Show a progress bar; the option ``progress`` by default.

    Returns
    -------
    Path
        The store.

    Examples
    --------
    >>> import calscipy as cs
    >>> movie = cs.from_numpy(np.zeros((2, 4, 4), "uint16"), frame_rate=30)
    >>> to_zarr(movie, "movie.zarr", progress=False).name
    'movie.zarr'
    """
    groups = {"movie": model.MOVIE, "events": model.EVENTS, "traces": model.TRACES}
    group = groups.get(str(model.kind(data)))
    if group is None:
        raise ArgumentError(
            f"to_zarr saves movies, traces and events, not an array with the dimensions "
            f"{tuple(data.dims)}. Put it into a session, or use xarray's own to_zarr."
        )
    name = group if group != model.TRACES else str(data.name or model.TRACES)
    dataset = data.rename(name).to_dataset()
    dataset.attrs = {model.LATEST_ATTR: name}
    tree = xr.DataTree.from_dict({f"/{group}": dataset})
    return save_tree(tree, path, progress=progress)


def _select(tree: xr.DataTree, groups: Sequence[str] | None) -> dict[str, xr.Dataset]:
    present = list(tree.children)
    if isinstance(groups, str):
        groups = (groups,)
    missing = sorted(set(groups or ()) - set(present))
    if missing:
        raise ArgumentError(
            f"save: no group {first_few(missing)} in this session; it has {present}"
        )
    names = present if groups is None else [name for name in present if name in groups]
    if not names:
        raise ArgumentError(
            "save: the session has no group to save. Open a recording or assign arrays first."
        )
    return {name: tree[name].to_dataset() for name in names}


@contextmanager
def _stage(target: Path) -> Iterator[Path]:
    """Give a folder beside the target that becomes the target, or is removed on any failure."""
    stage = target.with_name(f".{target.name}.{uuid.uuid4().hex[:12]}.partial")
    try:
        stage.mkdir()
        yield stage
        _sync(stage)
        stage.rename(target)
    except BaseException as error:
        shutil.rmtree(stage, ignore_errors=True)
        if isinstance(error, OSError) and not isinstance(error, StoreError):
            raise StoreError(
                f"{target}: the store could not be written ({error}). Nothing was left behind; "
                "free some space or choose a folder that can be written to, then save again."
            ) from error
        raise


def _sync(folder: Path) -> None:
    """Bring files and folder entries to the disk before the store gets its name."""
    for parent, _, names in os.walk(folder, topdown=False):
        for name in names:
            with open(os.path.join(parent, name), "rb+") as stream:
                os.fsync(stream.fileno())
        if hasattr(os, "O_DIRECTORY"):
            handle = os.open(parent, os.O_RDONLY | os.O_DIRECTORY)
            try:
                os.fsync(handle)
            finally:
                os.close(handle)


def _write(
    stage: Path,
    prepared: Mapping[str, tuple[xr.Dataset, dict[str, Any]]],
    attrs: dict[str, Any],
    progress: bool | None,
) -> None:
    datasets = {"/": xr.Dataset(attrs=attrs)}
    datasets |= {name: dataset for name, (dataset, _) in prepared.items()}
    # One call for all groups: xarray then stores them in one graph, which reads sources once.
    pending = xr.DataTree.from_dict(datasets).to_zarr(
        stage,
        mode="w-",
        encoding={f"/{name}": encoding for name, (_, encoding) in prepared.items()},
        compute=False,
        consolidated=False,
        zarr_format=3,
        write_empty_chunks=True,
    )
    name = stage.name.lstrip(".").rsplit(".", 2)[0]
    with progress_bar(f"saving {name}", show=progress):
        dask.compute(pending)
    root = zarr.open_group(stage, mode="r+", zarr_format=3)
    if model.MOVIE in prepared:
        dataset = prepared[model.MOVIE][0]
        if model.MOVIE in dataset:
            movie = dataset[model.MOVIE]
            root[model.MOVIE].attrs["ome"] = multiscales(movie, model.MOVIE)
            root.attrs["ome"] = multiscales(movie, f"{model.MOVIE}/{model.MOVIE}")
    root.attrs[model.COMPLETE_ATTR] = True
    with warnings.catch_warnings():
        # Consolidated metadata is not part of zarr 3 yet, but readers look for it first.
        warnings.simplefilter("ignore")
        zarr.consolidate_metadata(stage, zarr_format=3)
