"""Where each recording lies on the common time axis."""

from __future__ import annotations

import numpy as np
import xarray as xr

from calscipy import model
from calscipy.errors import ArgumentError, TimeAxisError
from calscipy.joining.groups import Recording, time_dim


class Clock:
    """The times of one group in every recording.

    Parameters
    ----------
    recordings : list of Recording
        The recordings.
    group : str
        A group that has a time axis.

    Raises
    ------
    TimeAxisError
        If times are missing or do not increase, or if a frame rate is another one.
    """

    def __init__(self, recordings: list[Recording], group: str) -> None:
        dims = [time_dim(recording.groups[group]) for recording in recordings]
        if len(set(dims)) > 1:
            raise ArgumentError(
                f"concat: the group {group!r} has the time axes {dims} in the recordings "
                f"{[recording.name for recording in recordings]}; one was expected."
            )
        self.group, self.dim = group, str(dims[0])
        tables = [_times(recording, group, self.dim) for recording in recordings]
        self.seconds = [table[model.TIME].values for table in tables]
        self.epochs = [_numbered(table) for table in tables]
        self.steps = [0.0] * len(recordings)
        if self.dim == model.STIMULUS:  # a list of events, not samples
            return
        for recording, times in zip(recordings, self.seconds, strict=True):
            if not (np.diff(times) > 0).all():
                raise TimeAxisError(
                    f"concat: the times of {group!r} in {recording} do not increase. Sort them, "
                    "or give the stretches times that follow each other."
                )
        self.steps = _steps(recordings, group, tables)

    def span(self, at: int) -> tuple[float, float]:
        """Return when a recording begins and when it ends, NaN if it is empty."""
        times = self.seconds[at]
        if not times.size:
            return np.nan, np.nan
        return float(times.min()), float(times.max()) + self.steps[at]


def shifts_of(clocks: list[Clock], count: int) -> list[float]:
    """Return by how much the times of each recording move: to where all before have ended."""
    shifts, end = [], np.nan
    for at in range(count):
        spans = np.array([clock.span(at) for clock in clocks])
        there = spans[~np.isnan(spans[:, 0])]
        shift = 0.0
        if there.size and not np.isnan(end):
            shift = end - float(there[:, 0].min())
        if there.size:
            end = float(there[:, 1].max()) + shift
        shifts.append(shift)
    return shifts


def first_epochs(clocks: list[Clock], count: int) -> list[int]:
    """Return the number of the first epoch of each recording, the same in every group."""
    lengths = [max(clock.epochs[at].max(initial=0) + 1 for clock in clocks) for at in range(count)]
    return [1 + int(sum(lengths[:at])) for at in range(count)]


def _times(recording: Recording, group: str, dim: str) -> xr.DataArray:
    """Return an array with the times and the epochs of a group along ``time``."""
    dataset = recording.groups[group]
    word = model.ONSET if dim == model.STIMULUS else model.TIME
    if word not in dataset or dataset[word].dims != (dim,):
        raise TimeAxisError(
            f"concat needs {word!r} in s along {dim!r}, but the group {group!r} of {recording} "
            f"has {sorted(map(str, dataset.variables))}. Add it, for instance "
            f"data.assign_coords({word}=({dim!r}, numpy.arange(n) / frame_rate))."
        )
    times = np.asarray(dataset[word].values, np.float64)
    coords = {model.TIME: (model.TIME, times)}
    if model.EPOCH in dataset.coords and dataset[model.EPOCH].dims == (dim,):
        coords[model.EPOCH] = (model.TIME, dataset[model.EPOCH].values)
    return xr.DataArray(times, coords, (model.TIME,))


def _numbered(table: xr.DataArray) -> np.ndarray:
    """Return the number of its epoch, from 0, for every sample."""
    lengths = [part.stop - part.start for part in model.epochs(table)]
    return np.repeat(np.arange(len(lengths)), lengths)


def _steps(recordings: list[Recording], group: str, tables: list[xr.DataArray]) -> list[float]:
    """Return the step between samples of every recording; where it has none, that of others."""
    known = [
        1 / model.frame_rate(table, "concat")
        if (np.bincount(_numbered(table)) > 1).any()
        else np.nan
        for table in tables
    ]
    at = next((at for at, step in enumerate(known) if not np.isnan(step)), None)
    if at is None:
        raise TimeAxisError(
            f"concat: {group!r} has no epoch of two samples in any recording, so that its frame "
            "rate is not known. Join longer recordings."
        )
    usual = known[at]
    for recording, step in zip(recordings, known, strict=True):
        if abs(usual / step - 1) > model.REGULAR_TOLERANCE:  # False for NaN
            raise TimeAxisError(
                f"concat: {group!r} has {1 / step:.6g} samples a second in {recording}, but "
                f"{1 / usual:.6g} in {recordings[at]}; up to {model.REGULAR_TOLERANCE:.0%} are "
                "taken for the same. Bring them to one rate first, for instance with "
                "traces.interp(time=...)."
            )
    return [usual if np.isnan(step) else step for step in known]
