"""``session.cs``: the operations on whole sessions, from one table."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

import xarray as xr

from calscipy import model, ops, trees
from calscipy.accessors import KINDS
from calscipy.errors import ArgumentError

if TYPE_CHECKING:
    from calscipy.session import ImagingSession


class Verb(NamedTuple):
    """Where an operation takes its input and where its result goes."""

    operation: Callable[..., xr.DataArray]
    takes: str
    group: str
    variable: str
    latest: bool = True  # the next verb of the group works on this result
    beside: str | None = None  # first argument: this variable of the input's group by default


VERBS: dict[str, Verb] = {
    "gaussian_filter": Verb(ops.gaussian_filter, model.MOVIE, model.MOVIE, model.MOVIE),
    "median_filter": Verb(ops.median_filter, model.MOVIE, model.MOVIE, model.MOVIE),
    "mean_filter": Verb(ops.mean_filter, model.MOVIE, model.MOVIE, model.MOVIE),
    "subtract_background": Verb(ops.subtract_background, model.MOVIE, model.MOVIE, model.MOVIE),
    "correct_scan_phase": Verb(ops.correct_scan_phase, model.MOVIE, model.MOVIE, model.MOVIE),
    "apply_shifts": Verb(ops.apply_shifts, model.MOVIE, model.MOVIE, model.MOVIE),
    "extract": Verb(ops.extract, model.MOVIE, model.TRACES, model.TRACES),
    "extract_neuropil": Verb(
        ops.extract_neuropil, model.MOVIE, model.TRACES, model.NEUROPIL, latest=False
    ),
    "baseline": Verb(ops.baseline, model.TRACES, model.TRACES, model.BASELINE, latest=False),
    "detrend": Verb(ops.detrend, model.TRACES, model.TRACES, "detrended"),
    "subtract_neuropil": Verb(
        ops.subtract_neuropil,
        model.TRACES,
        model.TRACES,
        "without_neuropil",
        beside=model.NEUROPIL,
    ),
    "dfof": Verb(ops.dfof, model.TRACES, model.TRACES, "dfof"),
    "perona_malik": Verb(ops.perona_malik, model.TRACES, model.TRACES, "smoothed"),
    "gaussian_smooth": Verb(ops.gaussian_smooth, model.TRACES, model.TRACES, "smoothed"),
    "savgol": Verb(ops.savgol, model.TRACES, model.TRACES, "smoothed"),
    "denoise": Verb(ops.denoise, model.TRACES, model.TRACES, "denoised"),
    "deconvolve": Verb(ops.deconvolve, model.TRACES, model.TRACES, model.SPIKES),
    "firing_rates": Verb(ops.firing_rates, model.TRACES, model.TRACES, "rates"),
    "normalize": Verb(ops.normalize, model.TRACES, model.TRACES, "normalized"),
    "events": Verb(ops.events, model.TRACES, model.EVENTS, model.EVENTS),
}
# These work on either; on traces unless on="movie".
ON_MOVIES = ("baseline", "detrend", "dfof", "perona_malik", "gaussian_smooth", "savgol")


class SessionMethods:
    """What ``session.cs`` offers; every method returns a new session."""

    __slots__ = ("_session",)

    def __init__(self, session: ImagingSession) -> None:
        self._session = session

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        hint = ""
        for kind in (model.MOVIE, model.TRACES):
            if hasattr(KINDS[kind], name):
                hint = f" That one works on arrays: session.{kind}.cs.{name}(...)."
        raise AttributeError(f"session.cs has no {name!r}; it offers {', '.join(VERBS)}.{hint}")

    def __dir__(self) -> list[str]:
        return sorted(VERBS)


def _bind(name: str, verb: Verb) -> Callable[..., ImagingSession]:
    @functools.wraps(verb.operation)
    def method(self: SessionMethods, *args: Any, **kwargs: Any) -> ImagingSession:
        session = self._session
        on = kwargs.pop("on", None) if name in ON_MOVIES else None
        if on not in (None, model.TRACES, model.MOVIE):
            raise ArgumentError(f"on must be 'traces' or 'movie', got {on!r}")
        takes, group, variable = verb.takes, verb.group, verb.variable
        if on == model.MOVIE:
            takes = group = model.MOVIE
        data = trees.latest(session.tree, takes)
        if variable == model.MOVIE:
            variable = str(data.name)  # a filter of the movie's ΔF/F is no new movie
        if verb.beside is not None and not args and verb.beside not in kwargs:
            kwargs[verb.beside] = trees.variable(session.tree, takes, verb.beside)
        result = verb.operation(data, *args, **kwargs)
        tree = trees.put(session.tree, group, variable, result, latest=verb.latest)
        if name == "extract":
            tree = _with_rois(tree, args[0] if args else kwargs["rois"])
        return type(session)(tree)

    method.__signature__ = _signature(name, verb)  # type: ignore[attr-defined]
    method.__name__ = name
    return method


def _signature(name: str, verb: Verb) -> inspect.Signature:
    this = inspect.Parameter("self", inspect.Parameter.POSITIONAL_OR_KEYWORD)
    parameters = list(inspect.signature(verb.operation).parameters.values())[1:]
    if name in ON_MOVIES:
        parameters.append(inspect.Parameter("on", inspect.Parameter.KEYWORD_ONLY, default=None))
    return inspect.Signature([this, *parameters])


def _with_rois(tree: xr.DataTree, rois: Any) -> xr.DataTree:
    """Keep the ROIs beside the traces that were made with them."""
    long_form = ops.rois.require_rois(rois, "extract").rename(model.ROIS)
    return trees.put(tree, model.ROIS, model.ROIS, long_form)


for _name, _verb in VERBS.items():
    setattr(SessionMethods, _name, _bind(_name, _verb))
