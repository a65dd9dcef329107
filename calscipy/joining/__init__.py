"""Several recordings of the same cells, joined along time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal, get_args

import xarray as xr

from calscipy import model
from calscipy.errors import ArgumentError, first_few
from calscipy.history import history_line
from calscipy.joining.clocks import Clock, first_epochs, shifts_of
from calscipy.joining.groups import (
    Join,
    Recording,
    shared_names,
    the_same,
    time_dim,
    with_known_coordinates,
)
from calscipy.session import ImagingSession

__all__ = ["concat"]

Missing = Literal["error", "drop"]


def concat(
    sessions: Sequence[ImagingSession],
    *,
    names: Sequence[str] | None = None,
    missing: Missing = "error",
) -> ImagingSession:
    """Join recordings of the same cells along time, lazily.

    Parameters
    ----------
    sessions : sequence of ImagingSession
        In their order. Sizes, channels, planes, pixel sizes, neurons, ROIs and units must be the
        same, frame rates within 2 %.
    names : sequence of str, optional
        Names of the recordings; 0, 1, 2 ... by default.
    missing : {"error", "drop"}, default "error"
        What to do with a group, a variable or a coordinate that some of the sessions lack.

    Returns
    -------
    ImagingSession
        Every recording begins one sample after all groups of the one before have ended, and
        starts a new ``epoch``, so that filters, baselines and detrending do not cross its border.
        ``recording`` names the recording of a sample and ``recording_time`` is its time there, in
        s; ``session.sel(recording=...)`` takes one out. Damaged frames stay so in ``valid``.
        What is told of a recording as a whole and differs, such as its depth ``z`` or a fitted
        ``neuropil_coefficient``, becomes a coordinate along time. Attributes are those of the
        first session. The attribute ``recordings`` of the root has the name and the source of
        each, by how many s its times were moved (``shift``), and the attributes in which it
        differs from the first.

    Raises
    ------
    ArgumentError
        If sessions do not fit together, naming which and why.
    TimeAxisError
        If a frame rate differs by more than 2 %, or times do not increase.

    Examples
    --------
    >>> import calscipy as cs
    >>> traces = cs.from_numpy(np.arange(4.0).reshape(1, 4), frame_rate=2)
    >>> session = cs.ImagingSession(xr.DataTree()).assign(traces=traces)
    >>> joined = concat([session, session], names=["before", "after"])
    >>> joined.traces.time.values.tolist()
    [0.0, 0.5, 1.0, 1.5, 2.0, 2.5, 3.0, 3.5]
    >>> joined.sel(recording="after").traces.recording_time.values.tolist()
    [0.0, 0.5, 1.0, 1.5]
    """
    if not isinstance(missing, str) or missing not in get_args(Missing):
        raise ArgumentError(f"concat(missing=) must be 'error' or 'drop', got {missing!r}")
    recordings = _named(sessions, names)
    kept = shared_names("group", recordings, [r.groups for r in recordings], missing)
    timed = [group for group in kept if any(time_dim(r.groups[group]) for r in recordings)]
    if not timed:
        raise ArgumentError(
            "concat: the sessions share no group with a time axis; they have the groups "
            f"{[list(recording.groups) for recording in recordings]}. Assign a movie or traces."
        )
    clocks = {group: Clock(recordings, group) for group in timed}
    shifts = shifts_of(list(clocks.values()), len(recordings))
    epochs = first_epochs(list(clocks.values()), len(recordings))
    named = [recording.name for recording in recordings]
    line = history_line("concat", {model.RECORDINGS_ATTR: named})
    made: dict[str, xr.Dataset] = {}
    for group in kept:
        if group in clocks:
            join = Join(recordings, clocks[group], shifts, epochs, missing)
            made[f"/{group}"] = join.dataset(line)
        else:
            made[f"/{group}"] = the_same(recordings, group)
    attrs = {**recordings[0].attrs, model.RECORDINGS_ATTR: _sources(recordings, kept, shifts)}
    sources = [str(recording.attrs.get(model.SOURCE_ATTR, "?")) for recording in recordings]
    if set(sources) != {"?"}:
        attrs[model.SOURCE_ATTR] = first_few(sources)
    return ImagingSession(xr.DataTree.from_dict({"/": xr.Dataset(attrs=attrs), **made}))


def _named(sessions: Sequence[ImagingSession], names: Sequence[str] | None) -> list[Recording]:
    sessions = list(sessions)
    wrong = [type(one).__name__ for one in sessions if not isinstance(one, ImagingSession)]
    if wrong or not sessions:
        raise ArgumentError(
            f"concat needs a list of ImagingSessions, got {first_few(wrong) or 'an empty list'}"
        )
    labels: list[Any] = list(range(len(sessions)) if names is None else names)
    texts = names is None or all(isinstance(label, str) for label in labels)
    if not texts or len(labels) != len(sessions) or len(set(labels)) != len(labels):
        raise ArgumentError(
            f"concat needs {len(sessions)} different names, one text for each session, got "
            f"{first_few(labels, 10) or 'none'}"
        )
    found = []
    for label, session in zip(labels, sessions, strict=True):
        groups = {
            name: with_known_coordinates(node.to_dataset())
            for name, node in session.tree.children.items()
        }
        for dataset in groups.values():
            here = dataset.coords.get(model.RECORDING)
            if here is not None and len(set(here.values.tolist())) > 1:
                raise ArgumentError(
                    f"concat: session {label!r} is joined already. Join all recordings in one "
                    "call; session.sel(recording=...) takes one out of it."
                )
        found.append(Recording(label, groups, session.tree.attrs))
    return found


def _sources(
    recordings: list[Recording], groups: list[str], shifts: list[float]
) -> list[dict[str, Any]]:
    """Tell where each recording comes from, and in which attributes it is not as the first."""
    sources = []
    for recording, shift in zip(recordings, shifts, strict=True):
        entry = {
            "name": recording.name,
            model.SOURCE_ATTR: str(recording.attrs.get(model.SOURCE_ATTR, "")),
            "shift": shift,
        }
        if model.RECORDINGS_ATTR in recording.attrs:  # it was taken out of another joined session
            entry[model.RECORDINGS_ATTR] = recording.attrs[model.RECORDINGS_ATTR]
        mine, theirs = (_attributes(one, groups) for one in (recording, recordings[0]))
        differs = {
            where: different
            for where, attrs in mine.items()
            if (different := _different(attrs, theirs.get(where, {})))
        }
        sources.append(entry | ({"differs": differs} if differs else {}))
    return sources


def _attributes(recording: Recording, groups: list[str]) -> dict[str, Mapping[Any, Any]]:
    own = (model.SOURCE_ATTR, model.RECORDINGS_ATTR)
    found: dict[str, Mapping[Any, Any]] = {}
    found["/"] = {name: value for name, value in recording.attrs.items() if name not in own}
    for group in groups:
        for name, variable in recording.groups[group].data_vars.items():
            found[f"/{group}/{name}"] = variable.attrs
    return found


def _different(mine: Mapping[Any, Any], theirs: Mapping[Any, Any]) -> dict[str, Any]:
    """Return the attributes that are not the same; when a step was done does not matter."""
    return {
        str(name): value
        for name, value in mine.items()
        if name not in theirs or _timeless(value, name) != _timeless(theirs[name], name)
    }


def _timeless(value: Any, name: Any) -> Any:
    if name == "history":
        return [line.partition(" ")[2] for line in str(value).splitlines()]
    return repr(value)  # attributes may be arrays, and NaN is the same as NaN
