"""One group of several recordings as one dataset."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr

from calscipy import model
from calscipy.errors import ArgumentError, first_few
from calscipy.history import append
from calscipy.io.chunks import chunk_movie

if TYPE_CHECKING:
    from calscipy.joining.clocks import Clock


_CLOCKS = (model.TIME, model.PLANE_TIME, model.ONSET)  # move to where the recording begins
_MADE = (model.EPOCH, model.RECORDING, model.RECORDING_TIME)  # anew
_CORRECTIONS = (model.Y_SHIFT, model.X_SHIFT, model.SCAN_PHASE, model.TIME_OFFSET)
_SHARED_ATTRS = ("units", model.LEVEL_ATTR, model.IMAGE_SHAPE_ATTR)
_SAME = 1e-6  # share by which positions that mean the same may differ


@dataclass(frozen=True)
class Recording:
    """One of the sessions: its name, its groups as datasets, the attributes of its root."""

    name: str | int
    groups: Mapping[str, xr.Dataset]
    attrs: Mapping[Any, Any]

    def __str__(self) -> str:
        source = self.attrs.get(model.SOURCE_ATTR)
        return f"{self.name!r} ({source})" if source else repr(self.name)


def shared_names(
    what: str, recordings: list[Recording], tables: Sequence[Mapping[Any, Any]], missing: str
) -> list[Any]:
    """Return the names that all have, in the order of the first.

    Raises
    ------
    ArgumentError
        If one lacks a name and ``missing`` is not ``"drop"``.
    """
    kept = []
    for name in dict.fromkeys(name for table in tables for name in table):
        lacking = [r for r, table in zip(recordings, tables, strict=True) if name not in table]
        if not lacking:
            kept.append(name)
        elif missing == "error":
            raise ArgumentError(
                f"concat: the {what} {name!r} is missing in {first_few(lacking)}. Make it there "
                "as in the other recordings, or leave it out of all with missing='drop'."
            )
    return kept


def time_dim(dataset: xr.Dataset) -> str | None:
    """Return the dimension along which a group is joined; None if it has no time."""
    dims = (model.FRAMES, model.TIME, model.STIMULUS)
    return next((dim for dim in dims if dim in dataset.sizes), None)


def the_same(recordings: list[Recording], group: str) -> xr.Dataset:
    """Return a group without time, which must be the same in every recording.

    Raises
    ------
    ArgumentError
        Naming the recording in which it is not.
    """
    first = recordings[0].groups[group]
    for recording in recordings[1:]:
        other = recording.groups[group]
        names = sorted(map(str, {*first.variables, *other.variables}))
        different = [
            name
            for name in names
            if not (
                name in first.variables
                and name in other.variables
                and _same(first.variables[name], other.variables[name])
            )
        ]
        if different:
            raise ArgumentError(
                f"concat: {group!r} of {recording} differs from that of {recordings[0]} in "
                f"{first_few(different, 5)}. Only recordings of the same {group} can be joined."
            )
    return first


class Join:
    """The work of joining one group along its time axis.

    Parameters
    ----------
    recordings : list of Recording
        All of them have the group.
    clock : Clock
        The times of the group.
    shifts : list of float
        By how much the times of each recording move, in s.
    epochs : list of int
        The number of the first epoch of each recording.
    missing : {"error", "drop"}
        What to do with what some recordings lack.
    """

    def __init__(
        self,
        recordings: list[Recording],
        clock: Clock,
        shifts: list[float],
        epochs: list[int],
        missing: str,
    ) -> None:
        self.recordings, self.clock, self.missing = recordings, clock, missing
        self.shifts, self.epochs = shifts, epochs
        self.group, self.dim = clock.group, clock.dim
        self.datasets = [recording.groups[self.group] for recording in recordings]

    def dataset(self, line: str) -> xr.Dataset:
        """Return the joined group; ``line`` goes to the history of its variables."""
        sizes = [{str(d): n for d, n in s.sizes.items() if d != self.dim} for s in self.datasets]
        for recording, mine in zip(self.recordings, sizes, strict=True):
            if mine != sizes[0]:
                self._differ(recording, "sizes", mine, sizes[0])
        tables = [dataset.data_vars for dataset in self.datasets]
        what = f"variable of {self.group!r}"
        variables = {
            name: self._variable(name)
            for name in shared_names(what, self.recordings, tables, self.missing)
        }
        for variable in variables.values():
            variable.attrs = variable.attrs | {
                "history": append(variable.attrs.get("history"), line)
            }
        attrs = dict(self.datasets[0].attrs)
        if variables and attrs.get(model.LATEST_ATTR, "") not in variables:
            attrs[model.LATEST_ATTR] = next(iter(variables))
        return xr.Dataset(variables, self._coords(), attrs)

    def _differ(self, recording: Recording, what: str, mine: Any, theirs: Any) -> None:
        raise ArgumentError(
            f"concat: {self.group!r} of {recording} has other {what} than that of "
            f"{self.recordings[0]}: {mine}, not {theirs}. Only recordings of the same field, "
            "channels, planes, neurons and units can be joined; select what is common to them."
        )

    def _variable(self, name: Any) -> xr.Variable:
        variables = [_lazy(dataset, name) for dataset in self.datasets]
        self._require_same_attrs(name, variables)
        for recording, variable in zip(self.recordings, variables, strict=True):
            if (variable.dtype == bool) != (variables[0].dtype == bool):
                self._differ(recording, f"values in {name!r}", variable.dtype, variables[0].dtype)
        if any(self.dim in variable.dims for variable in variables):
            return self._along_time(name, variables)
        return self._unchanged(name, variables)

    def _coords(self) -> dict[Any, xr.Variable]:
        tables = [
            {n: c.variable.to_base_variable() for n, c in dataset.coords.items() if n not in _MADE}
            for dataset in self.datasets
        ]
        if any(model.VALID in table for table in tables):  # without it, every frame is
            for table, times in zip(tables, self.clock.seconds, strict=True):
                table.setdefault(model.VALID, xr.Variable(self.dim, np.ones(times.size, bool)))
        for word in _CORRECTIONS:
            having = [word in table for table in tables]
            if len(set(having)) > 1:
                which = [r for r, there in zip(self.recordings, having, strict=True) if not there]
                raise ArgumentError(
                    f"concat: some recordings of {self.group!r} were corrected and have {word!r}, "
                    f"but not {first_few(which)}. Correct all of them, or none."
                )
        what = f"coordinate of {self.group!r}"
        names = shared_names(what, self.recordings, tables, self.missing)
        coords = {name: self._coordinate(name, [t[name] for t in tables]) for name in names}
        return coords | self._made()

    def _require_same_attrs(self, name: Any, variables: list[xr.Variable]) -> None:
        for recording, variable in zip(self.recordings, variables, strict=True):
            for word in _SHARED_ATTRS:
                mine, theirs = (v.attrs.get(word) for v in (variable, variables[0]))
                if mine != theirs:
                    self._differ(recording, f"{word} of {name!r}", mine, theirs)

    def _coordinate(self, name: Any, variables: list[xr.Variable]) -> xr.Variable:
        self._require_same_attrs(name, variables)
        if any(self.dim in variable.dims for variable in variables):
            return self._along_time(name, variables)
        places = {model.CHANNEL, model.PLANE}
        may_change = name == model.NEUROPIL_COEFFICIENT or (
            name not in (*places, *_CORRECTIONS) and set(variables[0].dims) <= places
        )
        if may_change and not all(_same(variable, variables[0]) for variable in variables):
            return self._along_time(name, variables)
        return self._unchanged(name, variables)

    def _unchanged(self, name: Any, variables: list[xr.Variable]) -> xr.Variable:
        for recording, variable in zip(self.recordings, variables, strict=True):
            if not _same(variable, variables[0]):
                shown = (_shown(one) for one in (variable, variables[0]))
                self._differ(recording, f"values of {name!r}", *shown)
        return variables[0].copy(deep=False)

    def _along_time(self, name: Any, variables: list[xr.Variable]) -> xr.Variable:
        """Put values one after the other; what has no time counts for the whole recording."""
        lengths = [times.size for times in self.clock.seconds]
        sizes = {dim: size for variable in variables for dim, size in variable.sizes.items()}
        dims = list(sizes) if self.dim in sizes else [self.dim, *sizes]
        parts = []
        for variable, length, shift in zip(variables, lengths, self.shifts, strict=True):
            if name in _CLOCKS:
                variable = variable.copy(data=np.asarray(variable.values, np.float64) + shift)
            parts.append(variable.set_dims(sizes | {self.dim: length}).transpose(*dims))
        if any(part.chunks is not None for part in parts):
            parts = [part if part.chunks is not None else part.chunk() for part in parts]
        result = xr.Variable.concat(parts, self.dim)
        result.attrs = dict(variables[0].attrs)
        return result

    def _made(self) -> dict[Any, xr.Variable]:
        """Return the coordinates that tell recordings and epochs apart."""
        lengths = [times.size for times in self.clock.seconds]
        names = np.repeat([recording.name for recording in self.recordings], lengths)
        own = []
        for dataset, times in zip(self.datasets, self.clock.seconds, strict=True):
            part = model.RECORDING_TIME in dataset.coords  # taken out of another joined session
            own.append(dataset[model.RECORDING_TIME].values if part else times)
        made = {
            model.RECORDING: xr.Variable(self.dim, names, {"long_name": "recording"}),
            model.RECORDING_TIME: xr.Variable(
                self.dim, np.concatenate(own), {"units": "s", "long_name": "time in the recording"}
            ),
        }
        if self.dim != model.STIMULUS:
            numbers = zip(self.clock.epochs, self.epochs, strict=True)
            made[model.EPOCH] = xr.Variable(
                self.dim,
                np.concatenate([epochs + first for epochs, first in numbers]),
                {"long_name": "stretch that filters and baselines do not cross"},
            )
        return made


def with_known_coordinates(dataset: xr.Dataset) -> xr.Dataset:
    """Compute the coordinates that ``Dataset.chunk`` made lazy: they are small and compared."""
    lazy = [name for name, coord in dataset.coords.items() if coord.chunks is not None]
    known = {n: dataset[n].variable.copy(data=model.coordinate(dataset[n], str(n))) for n in lazy}
    return dataset.assign_coords(known)


def _shown(variable: xr.Variable) -> str:
    if variable.chunks is not None:
        return "lazy values"
    return first_few(np.ravel(variable.values)[:100].tolist(), 5)


def _lazy(dataset: xr.Dataset, name: Any) -> xr.Variable:
    """Return a variable that joining does not read from its file."""
    variable = dataset[name].variable
    if variable.chunks is not None or variable._in_memory:
        return variable
    if name == model.MOVIE:
        return chunk_movie(dataset, "frames")[name].variable
    return variable.chunk()


def _same(left: xr.Variable, right: xr.Variable) -> bool:
    """Tell whether values mean the same; lazy ones are not computed."""
    if left.dims != right.dims or left.shape != right.shape:
        return False
    if any(left.attrs.get(word) != right.attrs.get(word) for word in _SHARED_ATTRS):
        return False
    if left.chunks is not None or right.chunks is not None:
        return getattr(left.data, "name", None) == getattr(right.data, "name", 0)
    mine, theirs = left.values, right.values
    if mine.dtype.kind == "f" and theirs.dtype.kind == "f":
        return bool(np.allclose(mine, theirs, rtol=_SAME, atol=0, equal_nan=True))
    return np.array_equal(mine, theirs)
