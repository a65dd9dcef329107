"""Save sessions in zarr 3: staged beside the target, resumable, one graph, renamed when whole."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import xarray as xr
from zarr.abc.store import Store

from calscipy import model
from calscipy._version import __version__
from calscipy.errors import ArgumentError, first_few
from calscipy.io.output import require_free
from calscipy.io.paths import local_path
from calscipy.io.store.append import append, is_own
from calscipy.io.store.filling import fill, open_stage
from calscipy.io.store.finish import give_name, require_replaceable, seal, tidy
from calscipy.io.store.job import job_of
from calscipy.io.store.journal import Journal
from calscipy.io.store.layout import StoreChunks, plan_store
from calscipy.io.store.progress import Progress
from calscipy.io.store.remote import save_remote
from calscipy.io.store.remote_place import Remote, is_remote
from calscipy.io.store.tasks import writing

Target = Remote | os.PathLike[str]
Saved = Path | Remote


def save_tree(
    tree: xr.DataTree,
    path: Target,
    *,
    groups: Sequence[str] | None = None,
    chunks: StoreChunks = "hybrid",
    resume: bool = True,
    overwrite: bool = False,
    progress: Progress = None,
) -> Saved:
    """Save groups of a session's tree to a zarr store.

    Everything is computed in one dask graph, so that each source frame is read once. The store is
    made in a folder beside it and appears under its name only when it is whole. A save that was
    interrupted, by Ctrl-C, a full disk or a crash, leaves that folder; the same save goes on there
    and computes only what is missing.

    Parameters
    ----------
    tree : DataTree
        The session's tree.
    path : path, URL or zarr Store
        The store: a folder that does not exist yet, or the store that the tree was opened from,
        to which new groups are added. At a URL such as ``s3://...``, and in a zarr Store, which
        must be empty, an interrupted save cannot go on.
    groups : sequence of str, optional
        Groups to save; all of them by default.
    chunks : {"hybrid", "frames", "time"}
        What is to be read fast from the store: whole frames, pixels over time, or both (the
        default). Shards are the dask blocks.
    resume : bool, default True
        Go on with the same save if it was interrupted. If False, what an interrupted save left
        is an error.
    overwrite : bool, default False
        Replace a calscipy store, once the new one is whole.
    progress : bool or callable, optional
        Show a progress bar; the option ``progress`` by default. A callable is called with the bytes
        that are done and with those that there are.

    Returns
    -------
    Path, or URL or Store as given
        The store.

    Raises
    ------
    TargetExistsError
        If there is anything else at ``path``.
    UnfinishedError
        If another save to this name was interrupted, or is under way.
    StoreError
        If it cannot be written. What is done is kept.
    """
    datasets = _select(tree, groups)
    attrs = dict(tree.attrs) | {
        model.SCHEMA_ATTR: model.SCHEMA_VERSION,
        "calscipy_version": __version__,
    }
    if is_remote(path):
        if overwrite:
            raise ArgumentError(
                f"overwrite=True needs a folder, got {path}: elsewhere a store cannot be replaced "
                "at once. Choose another name."
            )
        plan = plan_store(datasets, attrs, chunks)
        return save_remote(plan, job_of(plan), path, progress)
    assert not isinstance(path, Store)
    target = local_path(path).absolute()
    replace = overwrite and os.path.lexists(target)
    if replace:
        require_replaceable(target, tree)
    elif is_own(target, tree):
        return append(tree, target, groups=groups, chunks=chunks, resume=resume, progress=progress)
    if not replace and not Journal(target).folder.exists():
        require_free(target)
    plan = plan_store(datasets, attrs, chunks)
    job = job_of(plan)
    if resume and Journal(target).facts().get("job") == job.name:
        tidy(target)  # a run that was killed after the store had its name
        return target
    if not replace:
        require_free(target)
    with open_stage(target, plan, job, resume=resume) as (stage, lock):
        fill(stage, plan, job, target.name, progress)
        with writing():
            seal(stage, plan)
            give_name(stage, target, lock, replace=replace)
    return target


def to_zarr(
    data: xr.DataArray,
    path: Target,
    *,
    chunks: StoreChunks = "hybrid",
    resume: bool = True,
    overwrite: bool = False,
    progress: Progress = None,
) -> Saved:
    """Save one array to a zarr store that ``ImagingSession.open`` reads.

    Parameters
    ----------
    data : DataArray
        Movie, traces or events.
    path : path, URL or zarr Store
        The store, a folder that does not exist yet.
    chunks : {"hybrid", "frames", "time"}
        What is to be read fast from the store: whole frames, pixels over time, or both (the
        default). Shards are the dask blocks.
    resume : bool, default True
        Go on with the same save if it was interrupted. If False, what an interrupted save left
        is an error.
    overwrite : bool, default False
        Replace a calscipy store, once the new one is whole.
    progress : bool or callable, optional
        Show a progress bar; the option ``progress`` by default. A callable is called with the bytes
        that are done and with those that there are.

    Returns
    -------
    Path, or URL or Store as given
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
    return save_tree(
        tree, path, chunks=chunks, resume=resume, overwrite=overwrite, progress=progress
    )


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
