"""Results of other programs in the recording they came from: ``session.attach``."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import xarray as xr

from calscipy import model, trees
from calscipy.attaching.fitting import VERB, Fitted
from calscipy.attaching.results import (
    Program,
    open_results,
    require_same_frames,
    warn_of_another_source,
)
from calscipy.errors import ArgumentError
from calscipy.history import append, history_line
from calscipy.io.paths import local_path

if TYPE_CHECKING:
    from calscipy.session import ImagingSession

__all__ = ["attach"]


def attach(
    session: ImagingSession,
    path: str | os.PathLike[str],
    *,
    program: Program | None = None,
    replace: bool = False,
) -> ImagingSession:
    """Return a session with the results that another program has of its recording.

    Parameters
    ----------
    session : ImagingSession
        With the movie as the other program saw it: the same frames, planes and rows and columns,
        or a part of those rows and columns.
    path : path
        The folder ``suite2p``, the one above it or that of one plane; or a file of CaImAn.
    program : {"suite2p", "caiman"}, optional
        Whose they are; by default a folder is suite2p's and a file CaImAn's.
    replace : bool, default False
        Put them in the place of traces, ROIs and events that the session has already.

    Returns
    -------
    ImagingSession
        With all groups of the results, see `calscipy.io.suite2p.open_suite2p` and
        `calscipy.io.caiman.open_caiman`: ``traces`` and ``rois`` (cells or not), ``images`` and
        others. Times, epochs and
        ``time_offset`` (line and plane delay) are those of the recording, as `extract` gives them;
        ROIs count recorded pixels. Where a neuron's frame is not ``valid``, its traces are NaN: the
        program has worked on whatever the file held there. History says where they came from.

    Raises
    ------
    ArgumentError
        If frames or planes are not those of the movie, naming both numbers; if the session has
        results already.
    RoiError
        If the images have another size, or ROIs lie outside of the movie.
    RecordingError
        If the results cannot be read.

    Notes
    -----
    Folders that `to_suite2p` wrote say which part of the recording they hold. In others, a movie
    of the size of the images is taken for what suite2p saw; if the movie is a crop and the images
    are larger, they are taken for those of the whole recording. The shifts that registration found
    are in ``registration``: ``session.movie.cs.apply_shifts(shifts)`` with
    ``shifts = session.tree["registration"].to_dataset()`` moves the frames to where the ROIs are.

    Examples
    --------
    >>> import calscipy as cs
    >>> from calscipy.io.suite2p import to_suite2p
    >>> movie = cs.from_numpy(np.ones((3, 4, 5), "uint16"), frame_rate=30)
    >>> session = cs.ImagingSession(xr.DataTree()).assign(movie=movie)
    >>> folder = to_suite2p(session.movie, "mouse9", progress=False)
    >>> roi = {"ypix": np.array([1, 2]), "xpix": np.array([3, 3]), "lam": np.array([1.0, 1.0])}
    >>> np.save(folder / "plane0/stat.npy", np.array([roi], dtype=object), allow_pickle=True)
    >>> np.save(folder / "plane0/F.npy", np.ones((1, 3), "float32"))
    >>> attach(session, folder).traces.time.values.round(3).tolist()
    [0.0, 0.033, 0.067]
    """
    tree = session.tree
    movie = trees.variable(tree, model.MOVIE, model.MOVIE)
    results = open_results(local_path(path), program, model.frame_rate(movie, VERB))
    require_same_frames(results, movie)
    warn_of_another_source(results, movie)
    here = [name for name in (*results.tree.children, model.EVENTS) if name in tree.children]
    if here and not replace:
        raise ArgumentError(
            f"attach: this session has {sorted(here)} already. Attach to the recording alone, or "
            "give replace=True to put the results in their place."
        )
    fitted = Fitted(results, movie)
    groups = fitted.groups()
    arguments = {"path": results.path, "program": results.stated_program}
    line = history_line(VERB, {**arguments, "masked": fitted.masked or None})
    before = None if results.export is None else results.export.labels.attrs.get("history")
    groups = {name: _with_history(dataset, before, line) for name, dataset in groups.items()}
    changed = trees.rebuilt(tree, groups, without=tuple(here))
    known = (model.SCHEMA_ATTR, model.SOURCE_ATTR)  # of the recording
    more = {name: value for name, value in results.tree.attrs.items() if name not in known}
    changed.attrs = changed.attrs | more
    return type(session)(changed)


def _with_history(dataset: xr.Dataset, before: str | None, line: str) -> xr.Dataset:
    """Say on every variable what its movie had been through and where it came from."""
    for name in dataset.data_vars:
        told = dataset[name].attrs.get("history", before)
        attrs = {**dataset[name].attrs, "history": append(told, line)}
        dataset[name] = dataset[name].assign_attrs(attrs)
    return dataset
