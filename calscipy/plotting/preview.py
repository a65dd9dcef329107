"""A preview of any recording or store as one picture."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import dask

from calscipy import model
from calscipy.errors import RecordingError
from calscipy.io.output import progress_bar
from calscipy.io.paths import local_path
from calscipy.plotting.movies import movie_figure
from calscipy.plotting.parts import (
    add_axes,
    add_title,
    capitalised,
    head,
    new_figure,
    require_png,
    save_figure,
)
from calscipy.plotting.series import chosen, rows_of, time_axis
from calscipy.plotting.stacked import draw_stacked
from calscipy.plotting.style import name_of
from calscipy.representation import session_facts

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from calscipy.session import ImagingSession

_MAX_TRACES = 20


def preview(
    path: str | os.PathLike[str],
    output: str | os.PathLike[str] | None = None,
    *,
    frame_rate: float | None = None,
    **options: Any,
) -> Path:
    """Draw what a recording holds into a PNG: mean, maximum, three frames, the mean trace.

    The movie is read once, block by block. Of a volume the middle plane is shown, of many
    channels the first three; of a store without a movie, its traces.

    Parameters
    ----------
    path : path
        Anything that :meth:`ImagingSession.open` opens.
    output : path, optional
        The PNG; by default ``<name>-preview.png`` in the current directory.
    frame_rate : float, optional
        In Hz, for files that do not say it.
    **options
        Further options of :meth:`ImagingSession.open`.

    Returns
    -------
    Path
        The PNG.

    Raises
    ------
    TargetExistsError
        If there is anything at ``output``.
    RecordingError
        If there is nothing to show.

    Examples
    --------
    >>> from calscipy.testing import write_recording
    >>> truth = write_recording("TSeries-001", frames=20, shape=(16, 16), neurons=1)
    >>> preview("TSeries-001").name
    'TSeries-001-preview.png'
    """
    path = local_path(path)
    name = path.resolve().name
    stem = name if path.is_dir() and path.suffix != ".zarr" else path.resolve().stem
    target = local_path(f"{stem}-preview.png" if output is None else output)
    require_png(target)
    if frame_rate is not None:
        options["frame_rate"] = frame_rate
    from calscipy.session import ImagingSession  # which offers the figures as methods

    session = ImagingSession.open(path, **options)
    if model.MOVIE in session.tree.children:
        figure = movie_figure(session.movie, name)
    elif model.TRACES in session.tree.children:
        figure = _store_figure(session, name)
    else:
        raise RecordingError(f"{path}: there is neither a movie nor traces to show.")
    return save_figure(figure, target)


def _store_figure(session: ImagingSession, name: str) -> Figure:
    """Draw the traces of a session that has no movie."""
    traces = session.tree[model.TRACES].to_dataset()
    shown = traces["dfof" if "dfof" in traces else traces.attrs.get(model.LATEST_ATTR, "traces")]
    others = [dim for dim in shown.dims if dim not in (model.NEURON, model.TIME)]
    shown = shown.isel(dict.fromkeys(others, 0))
    if model.NEURON not in shown.dims:
        shown = shown.expand_dims(model.NEURON)
    shown = shown.isel({model.NEURON: slice(_MAX_TRACES)})
    events = None
    if model.EVENTS in session.tree.children:
        events = session.events.isel(dict.fromkeys(others, 0), missing_dims="ignore")
        events = chosen(events, shown[model.NEURON].values.tolist(), "preview")
    with progress_bar(f"reading {name}", delay=1):
        shown, events = dask.compute(shown, events)
    body = max(1.5, 0.5 * shown.sizes[model.NEURON])
    figure = new_figure(11.5, body + 1.75)
    axis = add_axes(figure, 0.65, 1.15, 10.2, body)
    shown = shown.transpose(model.NEURON, model.TIME)
    rows = rows_of(shown, "preview")
    time_axis(axis, shown, [rows.times])
    handles = draw_stacked(axis, shown, {"traces": rows}, events=events)
    head(axis, capitalised(name_of(shown, "traces")), handles)
    facts = session_facts(session.tree)
    of = traces.sizes.get(model.NEURON, 1)
    count = f"{of} neurons" if of <= _MAX_TRACES else f"first {_MAX_TRACES} of {of} neurons"
    rate = f"{session.frame_rate:.4g} samples/s"
    add_title(figure, name, " · ".join([f"source {facts.get('source', 'unknown')}", count, rate]))
    return figure
