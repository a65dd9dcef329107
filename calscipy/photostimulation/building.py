"""From chosen regions to a protocol."""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import numpy as np
import xarray as xr

from calscipy.errors import ArgumentError, CalscipyWarning, first_few, warn
from calscipy.io.photostimulation import (
    GalvoPoint,
    GalvoPointElement,
    GalvoPointGroup,
    GalvoPointList,
    MarkPointElement,
    MarkPointSeriesElements,
)
from calscipy.photostimulation.calibration import GalvoCalibration
from calscipy.photostimulation.plan import Plan, point_name
from calscipy.photostimulation.protocol import Protocol
from calscipy.photostimulation.rois import Target, targets_from_rois
from calscipy.photostimulation.steps import Step, is_amount, is_count

_PROBLEMS_SHOWN = 50
_OF_FIRST_POINT = (
    "uncaging_laser",
    "uncaging_laser_power",
    "duration",
    "is_spiral",
    "spiral_size",
    "spiral_revolutions",
    "z",
)


def build_protocol(
    regions: Sequence[Target] | xr.DataArray | np.ndarray,
    steps: Sequence[Step | Hashable] | None = None,
    *,
    calibration: GalvoCalibration,
    laser: str,
    power: float,
    max_power: float,
    duration: float,
    revolutions: float = 5.0,
    spiral_um: float | None = None,
    neurons: Sequence[Any] | None = None,
    z: Mapping[Any, float] | None = None,
    groups: Mapping[str, Sequence[Hashable]] | None = None,
    iterations: int = 1,
    iteration_delay: float = 0.0,
    category: str | None = None,
    name: str | None = None,
) -> Protocol:
    """Make a protocol that PrairieView can load from chosen regions.

    Parameters
    ----------
    regions : sequence of Target, or DataArray or ndarray
        What to stimulate: targets, or ROIs in long form or a label image.
    steps : sequence of Step or hashable, optional
        What happens, in order; a name of a group or the label of a target stands for a step with
        the settings of the protocol. By default each group, or without groups each target, once.
    calibration : GalvoCalibration
        How volts follow from pixels on the rig, at the zoom of the experiment.
    laser : str
        Name of the laser, as PrairieView knows it.
    power, max_power : float
        Power of the laser in the units of PrairieView, and the one that no step may exceed.
    duration : float
        Stimulation of each target in s.
    revolutions : float, default 5
        Turns of the spirals; 0 for points instead of spirals.
    spiral_um : float, optional
        Size of the spirals in um. By default each is as large as its target.
    neurons : sequence, optional
        With ROIs, the labels of the neurons to stimulate; all of them by default.
    z : mapping, optional
        With ROIs that have planes, the height of each plane in um.
    groups : mapping of str to sequence, optional
        Labels of the targets of each group, by its name.
    iterations : int, default 1
        How often everything is run.
    iteration_delay : float, default 0
        Wait between two runs in s.
    category, name : str, optional
        Under which PrairieView is to keep the series.

    Returns
    -------
    Protocol
        With its point list and its series. ``save`` writes both, ``plot`` shows them.

    Raises
    ------
    ArgumentError
        If points or spirals reach beyond the range of the galvos, powers are above ``max_power``,
        or anything else is wrong; all of it is named in one message.

    Warns
    -----
    CalscipyWarning
        If the calibration is only a proposal.

    Examples
    --------
    >>> labels = np.zeros((64, 64), int)
    >>> labels[10:20, 10:20], labels[40:50, 30:40] = 3, 7
    >>> calibration = GalvoCalibration.fit(
    ...     [(0, 0), (64, 0), (0, 64), (64, 64)],
    ...     [(-2, 2), (2, 2), (-2, -2), (2, -2)],
    ...     x_range=(-2, 2),
    ...     y_range=(-2, 2),
    ...     image_shape=(64, 64),
    ... )
    >>> protocol = build_protocol(
    ...     labels,
    ...     [3, Step(targets=7, repetitions=2, initial_delay=0.5)],
    ...     calibration=calibration,
    ...     laser="Uncaging",
    ...     power=20,
    ...     max_power=50,
    ...     duration=0.1,
    ... )
    >>> stimuli = protocol.stimuli()
    >>> stimuli.onset.values.round(5).tolist(), stimuli.target_label.values.tolist()
    ([0.0, 0.60012, 0.70024], [3, 7, 7])
    >>> files = protocol.save("protocol")
    """
    targets = _targets(regions, neurons, z)
    problems = _setting_problems(laser, max_power, spiral_um, iterations, iteration_delay)
    if is_amount(power) and is_amount(max_power) and power > max_power:
        problems.append(f"power={power:g} is above max_power={max_power:g}")
    plan = Plan(targets, groups or {})
    settings = {"duration": duration, "power": power, "revolutions": revolutions}
    visits = plan.visits(steps, settings, max_power if is_amount(max_power) else math.inf)
    spirals = is_amount(revolutions) and revolutions > 0
    sizes = _spiral_sizes(targets, calibration, spiral_um) if spirals else [0.0] * len(targets)
    problems += plan.problems + _out_of_reach(targets, sizes, calibration)
    if problems:
        shown = "; ".join(problems[:_PROBLEMS_SHOWN])
        rest = len(problems) - _PROBLEMS_SHOWN
        raise ArgumentError(
            f"build_protocol: {shown}{f'; and {rest} more' if rest > 0 else ''}. Nothing was made."
        )
    if calibration.proposed:
        warn(
            "build_protocol: the calibration is only a proposal from the state of a recording. "
            "Check it on the rig with known points, and use GalvoCalibration.fit on them, before "
            "a laser goes where these points are.",
            CalscipyWarning,
        )
    points = _galvo_points(targets, sizes, calibration, laser, settings)
    return Protocol(
        targets=tuple(targets),
        points=GalvoPointList(
            galvo_points=tuple(points), groups=tuple(_galvo_groups(points, plan))
        ),
        series=MarkPointSeriesElements(
            marks=tuple(_mark(step, which, plan, laser) for step, which in visits),
            iterations=iterations,
            iteration_delay=_ms(iteration_delay),
            category=category,
            name=name,
        ),
        calibration=calibration,
    )


def _targets(
    regions: Any, neurons: Sequence[Any] | None, z: Mapping[Any, float] | None
) -> list[Target]:
    if isinstance(regions, xr.DataArray | np.ndarray):
        return targets_from_rois(regions, neurons=neurons, z=z)
    targets = list(regions)
    if not targets or not all(isinstance(target, Target) for target in targets):
        raise ArgumentError(
            "build_protocol needs ROIs or at least one Target, got "
            f"{first_few([type(target).__name__ for target in targets]) or 'nothing'}."
        )
    if neurons is not None or z is not None:
        raise ArgumentError("build_protocol: neurons= and z= choose from ROIs, not from targets.")
    return targets


def _setting_problems(
    laser: Any, max_power: Any, spiral_um: Any, iterations: Any, iteration_delay: Any
) -> list[str]:
    """Name what is wrong with the settings that no step has."""
    checks = (
        ("laser", laser, "the name of a laser", isinstance(laser, str) and bool(laser.strip())),
        ("max_power", max_power, "a number from 0", is_amount(max_power)),
        (
            "spiral_um",
            spiral_um,
            "a size in um above 0",
            spiral_um is None or (is_amount(spiral_um) and spiral_um > 0),
        ),
        ("iterations", iterations, "a whole number from 1", is_count(iterations)),
        ("iteration_delay", iteration_delay, "a time in s from 0", is_amount(iteration_delay)),
    )
    return [
        f"{name}={value!r}, {wanted} was expected"
        for name, value, wanted, good in checks
        if not good
    ]


def _spiral_sizes(
    targets: list[Target], calibration: GalvoCalibration, spiral_um: Any
) -> list[float]:
    """Return the size of the spiral of each target in volts."""
    if is_amount(spiral_um):
        return [calibration.spiral_volts(spiral_um)] * len(targets)
    scale = math.sqrt(abs(np.linalg.det(calibration.matrix)))
    return [math.sqrt(target.width * target.height) * scale for target in targets]


def _out_of_reach(
    targets: list[Target], sizes: list[float], calibration: GalvoCalibration
) -> list[str]:
    """Name the targets to which the galvos cannot go."""
    problems = []
    (left, right), (low, high) = calibration.x_range, calibration.y_range
    middles = calibration.to_volts([(target.x, target.y) for target in targets]).tolist()
    for at, (target, (x, y), size) in enumerate(zip(targets, middles, sizes, strict=True)):
        reach = size / 2
        if calibration.in_range([(x - reach, y - reach), (x + reach, y + reach)]).all():
            continue
        with_spiral = f" with its spiral of {size:.4g} V" if size else ""
        problems.append(
            f"target {at if target.label is None else target.label} at ({x:.4g}, {y:.4g}) V"
            f"{with_spiral} is outside of the galvos' range ({left:g} to {right:g} V, "
            f"{low:g} to {high:g} V)"
        )
    return problems


def _galvo_points(
    targets: list[Target],
    sizes: list[float],
    calibration: GalvoCalibration,
    laser: str,
    settings: Mapping[str, float],
) -> list[GalvoPoint]:
    middles = calibration.to_volts([(target.x, target.y) for target in targets]).tolist()
    return [
        GalvoPoint(
            x=x,
            y=y,
            name=point_name(at),
            index=at,
            uncaging_laser=laser,
            uncaging_laser_power=settings["power"],
            duration=_ms(settings["duration"]),
            is_spiral=size > 0,
            spiral_size=size,
            spiral_revolutions=settings["revolutions"] if size else 0.0,
            z=0.0 if math.isnan(target.z) else target.z,
        )
        for at, (target, (x, y), size) in enumerate(zip(targets, middles, sizes, strict=True))
    ]


def _galvo_groups(points: list[GalvoPoint], plan: Plan) -> list[GalvoPointGroup]:
    """Return the groups, with the settings of their first points."""
    return [
        GalvoPointGroup(
            indices=members,
            name=name,
            index=len(points) + number,
            **{field: getattr(points[members[0]], field) for field in _OF_FIRST_POINT},
        )
        for number, (name, members) in enumerate(plan.groups.items())
    ]


def _mark(step: Step, name: str, plan: Plan, laser: str) -> MarkPointElement:
    visit = GalvoPointElement(
        initial_delay=_ms(step.initial_delay),
        inter_point_delay=_ms(step.interval),
        duration=_ms(step.duration or 0.0),
        spiral_revolutions=step.revolutions,
        all_points_at_once=step.at_once,
        use_3d=step.use_3d,
        points=name,
        indices=plan.indices(name),
    )
    return MarkPointElement(
        points=(visit,),
        repetitions=step.repetitions,
        uncaging_laser=laser,
        uncaging_laser_power=step.power,
        custom_laser_percent=None if step.weights is None else tuple(step.weights),
        trigger_frequency="None" if step.trigger is None else step.trigger_frequency,
        trigger_selection=step.trigger or "None",
        trigger_count=step.trigger_count,
        async_sync_frequency="None",
        voltage_rec_category_name="None",
    )


def _ms(seconds: float) -> float:
    """Return ms without the digits that only rounding has made: 0.00026 s are 0.26 ms."""
    return round(seconds * 1000, 9)
