"""When each point of a series of mark points is visited, and what triggers it."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from calscipy.errors import ArgumentError, CalscipyWarning, warn
from calscipy.io.photostimulation.mark_points import (
    GalvoPointElement,
    MarkPointElement,
    MarkPointSeriesElements,
)

MAX_STIMULI = 500_000  # "Repetitions" is one short number and would fill the memory
MAX_VISITS = 100_000
NO_TRIGGER = -1  # delays count from the start of the series

_ONCE, _EACH_REPETITION, _EACH_POINT = "firstrepetition", "everyrepetition", "everypoint"


class Visit(NamedTuple):
    """One visit to a point or a group."""

    mark: MarkPointElement
    visit: GalvoPointElement
    element: int
    repetition: int
    iteration: int
    delays: np.ndarray  # of the targets, in ms
    triggers: np.ndarray  # that the delays count from
    input: str  # where these came from
    pulses: int  # that each consists of


class _Clock:
    """Time in ms since the series began or since the last trigger that it waited for."""

    def __init__(self, first_trigger: int) -> None:
        self.next = first_trigger
        self.number, self.input, self.pulses = NO_TRIGGER, "None", 0
        self.now = 0.0

    def wait(self, mark: MarkPointElement, count: int = 1) -> np.ndarray:
        """Wait for triggers and return their numbers; time starts anew with the last one."""
        numbers = self.next + np.arange(count)
        self.next += count
        self.number, self.input = int(numbers[-1]), str(mark.trigger_selection)
        self.pulses = max(known_or(mark.trigger_count, 1), 1)
        self.now = 0.0
        return numbers


def play(series: MarkPointSeriesElements, first_trigger: int) -> list[Visit]:
    """Go through a series as PrairieView does.

    Parameters
    ----------
    series : MarkPointSeriesElements
        The series.
    first_trigger : int
        Number of the first trigger.

    Returns
    -------
    list of Visit
        In the order of their times.

    Raises
    ------
    ArgumentError
        For over half a million stimuli.
    """
    iterations = known_or(series.iterations, 1)
    _require_size(series, iterations)
    waits = [_waits(mark) for mark in series.marks]
    clock = _Clock(first_trigger)
    visits: list[Visit] = []
    for iteration in range(iterations):
        if iteration:
            clock.now += known_or(series.iteration_delay, 0.0)
        for element, (mark, wait) in enumerate(zip(series.marks, waits, strict=True)):
            for repetition in range(known_or(mark.repetitions, 1)):
                begins = repetition == 0
                if mark.points and (wait == _EACH_REPETITION or (begins and wait == _ONCE)):
                    clock.wait(mark)
                    begins = True
                for visit in mark.points:
                    delays, triggers = _go(clock, mark, visit, wait == _EACH_POINT, begins)
                    place = element, repetition, iteration
                    trigger = triggers, clock.input, clock.pulses
                    visits.append(Visit(mark, visit, *place, delays, *trigger))
    return visits


def _go(
    clock: _Clock, mark: MarkPointElement, visit: GalvoPointElement, waits: bool, begins: bool
) -> tuple[np.ndarray, np.ndarray]:
    """Return delays and triggers of the targets of one visit and move the clock past it.

    Parameters
    ----------
    clock : _Clock
        When it is.
    mark, visit
        The step and the visit.
    waits : bool
        Whether each point waits for a trigger of its own.
    begins : bool
        Whether the visit begins anew, with its initial delay.
    """
    count = target_count(visit)
    period = known_or(visit.duration, 0.0) + known_or(visit.inter_point_delay, 0.0)
    initial = known_or(visit.initial_delay, 0.0)
    at_once = bool(visit.all_points_at_once)
    stops = min(count, 1) if at_once else count
    if waits and stops:
        numbers = clock.wait(mark, stops)
        clock.now = initial + period
        return np.full(count, initial), np.broadcast_to(numbers, (count,))
    clock.now += initial if begins else 0.0
    delays = clock.now + period * (np.zeros(count) if at_once else np.arange(count))
    clock.now += period * stops
    return delays, np.full(count, clock.number)


def target_count(visit: GalvoPointElement) -> int:
    """Return the number of targets of a visit."""
    return len(visit.targets) or len(visit.indices or ())


def known_or(value: Any, default: Any) -> Any:
    """Return a value, or the default where the file does not say."""
    return default if value is None else value


def _require_size(series: MarkPointSeriesElements, iterations: int) -> None:
    visits = stimuli = 0
    for mark in series.marks:
        repetitions = iterations * known_or(mark.repetitions, 1)
        visits += repetitions * max(len(mark.points), 1)
        stimuli += repetitions * sum(map(target_count, mark.points))
    if max(visits, iterations) > MAX_VISITS or stimuli > MAX_STIMULI:
        raise ArgumentError(
            f"the series has {iterations} iterations, {visits} visits and {stimuli} stimuli; up "
            f"to {MAX_VISITS} visits and {MAX_STIMULI} stimuli are listed. Check its iterations "
            "and repetitions."
        )


def _waits(mark: MarkPointElement) -> str:
    """Tell when a step waits for its trigger; empty if it does not."""
    if known_or(mark.trigger_selection, "None").strip().lower() == "none":
        return ""
    frequency = "".join(known_or(mark.trigger_frequency, "None").lower().split())
    if frequency in (_ONCE, _EACH_REPETITION, _EACH_POINT):
        return frequency
    if frequency != "none":
        warn(
            f"mark points wait for the trigger {mark.trigger_selection} at "
            f"{mark.trigger_frequency!r}, which calscipy does not know; once is assumed. "
            "Check the onsets of these stimuli.",
            CalscipyWarning,
        )
    return _ONCE
