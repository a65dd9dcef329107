"""A series of mark points as a table: one row for each target that is stimulated."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import xarray as xr

from calscipy import model
from calscipy.errors import ArgumentError
from calscipy.io.photostimulation.galvo_points import GalvoPointList
from calscipy.io.photostimulation.mark_points import (
    GalvoPointElement,
    MarkPointElement,
    MarkPointSeriesElements,
)
from calscipy.io.photostimulation.playing import NO_TRIGGER, Visit, known_or, play

TRIGGER_NUMBER = "trigger_number"
MAX_TEXT_BYTES = 256 * 2**20  # of the names in a table, where each row has room for the longest

# Kind, units and meaning of the columns. What tells stimuli apart becomes coordinates, which go
# along with the onsets to `to_trials`.
_LABELS = {
    "target": ("i8", "1", "place of the point in the point list, from 0"),
    "target_name": ("U1", "", "name of the point, empty where the files do not tell"),
    "points": ("U1", "", "point or group that the step names"),
    "element": ("i8", "1", "step of the series, from 0"),
    "repetition": ("i8", "1", "repetition of the step, from 0"),
    "iteration": ("i8", "1", "iteration of the series, from 0"),
}
_COLUMNS = {
    model.ONSET: ("f8", "s", "onset, NaN where a trigger decides"),
    "duration": ("f8", "s", "duration"),
    "delay": ("f8", "s", "onset after the start of the series or after its last trigger"),
    TRIGGER_NUMBER: ("i8", "1", "trigger from which the delay counts, from 0; -1 is the start"),
    "trigger_count": ("i8", "1", "pulses that the trigger consists of"),
    "trigger": ("U1", "", "input of the trigger"),
    model.X: ("f8", "1", "place as a share of the width"),
    model.Y: ("f8", "1", "place as a share of the height, downwards"),
    model.Z: ("f8", "um", "height as the file has it"),
    "is_spiral": ("?", "", "whether the beam draws a spiral"),
    "spiral_size": ("f8", "um", "size of the spiral"),
    "spiral_width": ("f8", "1", "width of the spiral as a share of the width"),
    "spiral_height": ("f8", "1", "height of the spiral as a share of the height"),
    "spiral_revolutions": ("f8", "1", "turns of the spiral"),
    "power": ("f8", "1", "power of the laser, a.u. as in the file"),
    "power_weight": ("f8", "1", "weight of the power of this point"),
    "laser": ("U1", "", "laser"),
    model.CYCLE: ("i8", "1", "PrairieView cycle"),
}
_PLACES = {
    model.X: "x",
    model.Y: "y",
    "spiral_size": "spiral_size_in_microns",
    "spiral_width": "spiral_width",
    "spiral_height": "spiral_height",
}


def stimulus_table(
    series: MarkPointSeriesElements,
    *,
    start: float = 0.0,
    cycle: int = 1,
    points: GalvoPointList | None = None,
    image_shape: tuple[int, int] | None = None,
    first_trigger: int = 0,
) -> xr.Dataset:
    """List every stimulated target of a series of mark points, in the order of the times.

    Parameters
    ----------
    series : MarkPointSeriesElements
        What an acquisition played, or a protocol.
    start : float, default 0
        When the series starts, in s on the imaging clock.
    cycle : int, default 1
        PrairieView cycle.
    points : GalvoPointList, optional
        The point list from which names and heights are taken where the series has none.
    image_shape : (int, int), optional
        Rows and columns of the images. With it, ``x_pixel`` and ``y_pixel`` tell places in pixels.
    first_trigger : int, default 0
        Number of the first trigger.

    Returns
    -------
    Dataset
        Along ``stimulus``, one row for each target of each repetition and iteration: ``onset``
        and ``duration`` in s, ``x``, ``y``, ``z``, ``power`` and more, each with units and
        meaning. Targets stimulated at once share their onset. What tells stimuli apart (target,
        step, repetition, iteration) are coordinates, which ``to_trials(starts=table.onset)``
        hands on to the trials.

    Raises
    ------
    ArgumentError
        For a series of over half a million stimuli, or of very many with very long names.

    Warns
    -----
    CalscipyWarning
        If a step waits for its trigger in a way that calscipy does not know.

    Notes
    -----
    A step waits ``InitialDelay`` and then visits its points every ``Duration + InterPointDelay``,
    repetition after repetition. A step that names an input of a trigger waits for it: once, or
    before each repetition or point, as ``TriggerFrequency`` says; onsets from there on are NaN
    until ``stimulus_onsets`` is told when the triggers came. These rules are how PrairieView is
    understood to work, not documented by it: where it matters, record the laser's command voltage
    and compare.

    Fractions of the field become pixels as PrairieView does it for line scans, ``x * columns``.

    Examples
    --------
    >>> from calscipy.io.photostimulation import (
    ...     GalvoPointElement,
    ...     MarkPointElement,
    ...     MarkPointSeriesElements,
    ... )
    >>> visit = GalvoPointElement(
    ...     initial_delay=1000, duration=20, inter_point_delay=30, indices=(0, 4)
    ... )
    >>> step = MarkPointElement(points=[visit], repetitions=2, trigger_selection="None")
    >>> table = stimulus_table(MarkPointSeriesElements(marks=[step]), start=10)
    >>> table.onset.values.tolist(), table.target.values.tolist()
    ([11.0, 11.05, 11.1, 11.15], [0, 4, 0, 4])
    """
    columns = _columns(play(series, first_trigger), points, start, cycle)
    variables = {
        name: xr.Variable(
            model.STIMULUS,
            columns[name],
            {"units": units, "long_name": words} if units else {"long_name": words},
        )
        for name, (_, units, words) in (_LABELS | _COLUMNS).items()
    }
    if image_shape is not None:
        for axis, count in ((model.X, image_shape[1]), (model.Y, image_shape[0])):
            attrs = {"units": "1", "long_name": f"{axis} in pixels, 0 is the first one"}
            pixels = columns[axis] * count
            variables[f"{axis}_pixel"] = xr.Variable(model.STIMULUS, pixels, attrs)
    return xr.Dataset(variables).set_coords(list(_LABELS))


def _columns(
    visits: Sequence[Visit], points: GalvoPointList | None, start: float, cycle: int
) -> dict[str, np.ndarray]:
    """Return all columns: what a visit always is, from one row of each of its targets, and when."""
    _require_short_names(visits, points)
    keys = [(id(one.mark), id(one.visit)) for one in visits]
    distinct = dict(zip(keys, visits, strict=True))
    fixed = [_targets(one, points) for one in distinct.values()]
    counts = [len(one.delays) for one in distinct.values()]
    first = dict(zip(distinct, np.cumsum([0, *counts]).tolist(), strict=False))
    lengths = [len(one.delays) for one in visits]
    rows = [first[key] + np.arange(n) for key, n in zip(keys, lengths, strict=True)]
    row = _joined(rows, "i8")
    columns = {
        name: _joined([part[name] for part in fixed], kind)[row]
        for name, (kind, _, _) in (_LABELS | _COLUMNS).items()
        if all(name in part for part in fixed)
    }
    delay = _joined([one.delays for one in visits], "f8") / 1000
    triggers = _joined([one.triggers for one in visits], "i8")
    return columns | {
        "delay": delay,
        TRIGGER_NUMBER: triggers,
        model.ONSET: np.where(triggers == NO_TRIGGER, start + delay, np.nan),
        "element": np.repeat(np.array([one.element for one in visits], "i8"), lengths),
        "repetition": np.repeat(np.array([one.repetition for one in visits], "i8"), lengths),
        "iteration": np.repeat(np.array([one.iteration for one in visits], "i8"), lengths),
        "trigger": np.repeat(np.array([one.input for one in visits], str), lengths),
        "trigger_count": np.repeat(np.array([one.pulses for one in visits], "i8"), lengths),
        model.CYCLE: np.full(row.size, cycle),
    }


def _require_short_names(visits: Sequence[Visit], points: GalvoPointList | None) -> None:
    """Raise if names repeated in every row would fill the memory."""
    count = sum(len(one.delays) for one in visits)
    names = [point.name or "" for point in points.galvo_points] if points is not None else []
    texts = (
        [one.visit.points or "" for one in visits],  # in two columns: a lone point has this name
        [*names, *(one.visit.points or "" for one in visits)],
        [one.mark.uncaging_laser or "" for one in visits],
        [one.input for one in visits],
    )
    width = 4 * sum(max(map(len, column), default=0) for column in texts)
    if width * count > MAX_TEXT_BYTES:
        raise ArgumentError(
            f"the {count} stimuli of the series have names that would take {width * count} bytes; "
            f"up to {MAX_TEXT_BYTES} are listed. Give its points, groups and laser shorter names."
        )


def _targets(one: Visit, points: GalvoPointList | None) -> dict[str, np.ndarray]:
    """Return what a step says of each target that it visits."""
    mark, visit = one.mark, one.visit
    numbers = _target_numbers(visit)
    listed = points.galvo_points if points is not None else ()
    known = [listed[number] if number < len(listed) else None for number in numbers]
    own = visit.targets or (None,) * len(numbers)
    both = list(zip(own, known, strict=True))
    single = (visit.points or "") if len(numbers) == 1 else ""
    every = {
        "points": visit.points or "",
        "duration": known_or(visit.duration, np.nan) / 1000,
        "spiral_revolutions": known_or(visit.spiral_revolutions, np.nan),
        "power": known_or(mark.uncaging_laser_power, np.nan),
        "laser": mark.uncaging_laser or "",
    }
    return {name: np.full(len(numbers), value) for name, value in every.items()} | {
        "target": np.array(numbers, np.int64),
        "target_name": np.array([_first(single, point, "name") for point in known], str),
        "power_weight": _weights(mark, len(numbers)),
        "is_spiral": np.array([_first(True, *pair, "is_spiral") for pair in both], bool),
        model.Z: np.array([_first(np.nan, *pair, "z") for pair in both], float),
        **{
            name: np.array([_first(np.nan, point, field) for point in own], float)
            for name, field in _PLACES.items()
        },
    }


def _target_numbers(visit: GalvoPointElement) -> list[int]:
    """Return the places of the targets in the point list, which is what indices are."""
    indices = list(visit.indices or ())
    if not visit.targets or len(indices) == len(visit.targets):
        return indices
    return [known_or(point.index, at) for at, point in enumerate(visit.targets)]


def _weights(mark: MarkPointElement, count: int) -> np.ndarray:
    weights = mark.custom_laser_percent or ()
    if weights and len(weights) != count:
        return np.full(count, np.nan)  # which weight is whose is not known
    return np.array(weights or np.ones(count), np.float64)


def _first(default: Any, *where: Any) -> Any:
    """Return the first known value of a field, the last argument, of some elements."""
    *elements, field = where
    values = (getattr(element, field) for element in elements if element is not None)
    return next((value for value in values if value is not None), default)


def _joined(parts: list[np.ndarray], kind: str) -> np.ndarray:
    return np.concatenate(parts) if parts else np.zeros(0, kind)
