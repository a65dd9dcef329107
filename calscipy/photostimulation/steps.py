"""The steps of a protocol, and what can be wrong with them."""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np

TriggerFrequency = Literal["FirstRepetition", "EveryRepetition", "EveryPoint"]


@dataclass(frozen=True, kw_only=True)
class Step:
    """One step of a protocol: which targets, when and how.

    All times are in s. What is None is taken from the protocol.

    Parameters
    ----------
    targets : hashable or sequence
        The name of a group, the label of one target, or a list of labels, which then make a group.
    repetitions : int, default 1
        How often its targets are visited.
    initial_delay : float, default 0
        Wait before the first target.
    interval : float, default 0.00012
        Wait between the end of one target and the begin of the next.
    duration : float, optional
        Stimulation of each target.
    power : float, optional
        Power of the laser, in the units of PrairieView.
    weights : sequence of float, optional
        Weight of the power of each target. Those below 1 do not allow a higher power.
    revolutions : float, optional
        Turns of the spirals.
    at_once : bool, default False
        Whether a spatial light modulator stimulates all targets together.
    use_3d : bool, optional
        Whether it does so at the heights of the targets.
    trigger : str, optional
        Input for whose trigger the step waits, such as ``"PFI0"``; none by default.
    trigger_frequency : {"FirstRepetition", "EveryRepetition", "EveryPoint"}
        Before what it waits.
    trigger_count : int, default 1
        Pulses that it waits for.

    Examples
    --------
    >>> Step(targets=[3, 7], duration=0.02, repetitions=10).targets
    [3, 7]
    """

    targets: Hashable | Sequence[Hashable]
    repetitions: int = 1
    initial_delay: float = 0.0
    interval: float = 0.00012
    duration: float | None = None
    power: float | None = None
    weights: Sequence[float] | None = None
    revolutions: float | None = None
    at_once: bool = False
    use_3d: bool | None = None
    trigger: str | None = None
    trigger_frequency: TriggerFrequency = "FirstRepetition"
    trigger_count: int = 1


def step_problems(step: Step, count: int, heights: Sequence[float], max_power: float) -> list[str]:
    """Name what is wrong with a step.

    Parameters
    ----------
    step : Step
        With duration, power and revolutions filled in.
    count : int
        Number of its targets.
    heights : sequence of float
        Their heights in um, NaN where not known.
    max_power : float
        Power that must not be exceeded.
    """
    problems = []
    for name, wanted, good in _CHECKS:
        value = getattr(step, name)
        if not good(value):
            problems.append(f"{name}={value!r}, {wanted} was expected")
    if is_amount(step.power):
        problems += _power_problems(step, count, max_power)
    if step.use_3d and not np.isfinite(heights).all():
        problems.append("use_3d needs targets whose z is known")
    if step.trigger_frequency not in get_args(TriggerFrequency):
        known = ", ".join(get_args(TriggerFrequency))
        problems.append(f"trigger_frequency={step.trigger_frequency!r} is not one of {known}")
    return problems


def _power_problems(step: Step, count: int, max_power: float) -> list[str]:
    weights = [1.0] if step.weights is None else list(step.weights)
    if step.weights is not None and len(weights) != count:
        return [f"{len(weights)} weights for {count} targets"]
    if not all(is_amount(weight) for weight in weights):
        return [f"weights={weights}, numbers of at least 0 were expected"]
    highest = float(step.power or 0.0) * max(1.0, *weights)
    if highest > max_power:
        return [f"a power of {highest:g} is above max_power={max_power:g}"]
    return []


def is_amount(value: Any) -> bool:
    """Tell whether a value is a finite number from 0."""
    number = isinstance(value, int | float | np.integer | np.floating)
    return bool(number and not isinstance(value, bool) and math.isfinite(value) and value >= 0)


def is_count(value: Any) -> bool:
    """Tell whether a value is a whole number from 1."""
    whole = isinstance(value, int | np.integer) and not isinstance(value, bool)
    return bool(whole and value >= 1)


_CHECKS: tuple[tuple[str, str, Callable[[Any], bool]], ...] = (
    ("repetitions", "a whole number from 1", is_count),
    ("trigger_count", "a whole number from 1", is_count),
    ("initial_delay", "a time in s from 0", is_amount),
    ("interval", "a time in s from 0", is_amount),
    ("duration", "a time in s above 0", lambda value: is_amount(value) and value > 0),
    ("power", "a number from 0", is_amount),
    ("revolutions", "a number from 0", is_amount),
)
