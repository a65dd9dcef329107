"""Galvo points and groups of them: what PrairieView keeps in ``.gpl`` files."""

from __future__ import annotations

import dataclasses
from typing import ClassVar

from calscipy.errors import first_few
from calscipy.io.photostimulation.elements import XmlElement, attribute, children
from calscipy.io.photostimulation.fields import Flag, Indices, Number, Text, Whole

_TEXT, _FLAG, _NUMBER, _AMOUNT = Text(), Flag(), Number(), Number(amount=True)
_COMMAS = Indices(first=0, ranges=False)


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False, repr=False, slots=True)
class GalvoPoint(XmlElement):
    """One point that the galvos can go to.

    A value of None means that the file does not say; it is then not written.

    Parameters
    ----------
    x, y : float
        Place, in volts of the galvos; negative ones are common.
    name : str
        Its name, by which mark points refer to it.
    index : int
        Its place in the list, from 0.
    activity_type : str
        What it is for.
    uncaging_laser : str
        Name of the laser.
    uncaging_laser_power : float
        Power in the units of PrairieView's slider or of the laser's calibration.
    duration : float
        Duration in ms.
    is_spiral : bool
        Whether the beam draws a spiral.
    spiral_size : float
        Size of the spiral, in volts.
    spiral_revolutions : float
        Turns of the spiral.
    z : float
        Height in um: of the stage, or relative to it, as the file has it.
    extra, source
        See `XmlElement`.

    Raises
    ------
    ArgumentError
        For values that a point cannot have; all of them are named.

    Examples
    --------
    >>> from calscipy.io.photostimulation import GalvoPoint
    >>> point = GalvoPoint(x=-4.75, y=1e-07, name="Point 1", uncaging_laser_power=0.025)
    >>> point.replace(x=5).x
    5.0
    >>> GalvoPoint(x="left", duration=-1)
    Traceback (most recent call last):
    ...
    calscipy.io.photostimulation.elements.ElementError: GalvoPoint: x='left' (X): a number was
    expected; duration=-1 (Duration): a finite number of at least 0 was expected.
    """

    TAG: ClassVar[str] = "PVGalvoPoint"

    x: float = attribute("X", _NUMBER, 0.0, required=True)
    y: float = attribute("Y", _NUMBER, 0.0, required=True)
    name: str | None = attribute("Name", _TEXT, "Point 0")
    index: int | None = attribute("Index", Whole(), 0)
    activity_type: str | None = attribute("ActivityType", _TEXT, "MarkPoints")
    uncaging_laser: str | None = attribute("UncagingLaser", _TEXT, "Uncaging")
    uncaging_laser_power: float | None = attribute("UncagingLaserPower", _AMOUNT, 0.0)
    duration: float | None = attribute("Duration", _AMOUNT, 100.0)
    is_spiral: bool | None = attribute("IsSpiral", _FLAG, True)
    spiral_size: float | None = attribute("SpiralSize", _NUMBER, 0.0)
    spiral_revolutions: float | None = attribute("SpiralRevolutions", _NUMBER, 0.0)
    z: float | None = attribute("Z", _NUMBER, 0.0)


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False, repr=False, slots=True)
class GalvoPointGroup(XmlElement):
    """Several points of a list that are stimulated together.

    Parameters
    ----------
    indices : tuple of int
        Places of the points in the list, from 0 as in the file.
    name : str
        Its name, by which mark points refer to it.
    index : int, optional
        Number that the file gives it. Several groups can have the same one: use ``name``.
    activity_type : str
        What it is for.
    order, custom_order : str, optional
        Order of the points as the file has it, such as ``"Custom"`` and ``"2,1,3"``.
    uncaging_laser, uncaging_laser_power, duration, is_spiral, spiral_size, spiral_revolutions, z
        As for `GalvoPoint`.
    extra, source
        See `XmlElement`.

    Raises
    ------
    ArgumentError
        For values that a group cannot have; all of them are named.

    Examples
    --------
    >>> from calscipy.io.photostimulation import GalvoPointGroup
    >>> GalvoPointGroup(indices=[0, 2, 4], name="Group 1").indices
    (0, 2, 4)
    """

    TAG: ClassVar[str] = "PVGalvoPointGroup"

    indices: tuple[int, ...] = attribute("Indices", _COMMAS, (), required=True)
    name: str | None = attribute("Name", _TEXT, "Group 1")
    index: int | None = attribute("Index", Whole())
    activity_type: str | None = attribute("ActivityType", _TEXT, "MarkPoints")
    order: str | None = attribute("Order", _TEXT)
    custom_order: str | None = attribute("CustomOrder", _TEXT)
    uncaging_laser: str | None = attribute("UncagingLaser", _TEXT, "Uncaging")
    uncaging_laser_power: float | None = attribute("UncagingLaserPower", _AMOUNT, 0.0)
    duration: float | None = attribute("Duration", _AMOUNT, 100.0)
    is_spiral: bool | None = attribute("IsSpiral", _FLAG, True)
    spiral_size: float | None = attribute("SpiralSize", _NUMBER, 0.0)
    spiral_revolutions: float | None = attribute("SpiralRevolutions", _NUMBER, 0.0)
    z: float | None = attribute("Z", _NUMBER, 0.0)


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False, repr=False, slots=True)
class GalvoPointList(XmlElement):
    """A list of galvo points and groups of them, as in a ``.gpl`` file.

    Parameters
    ----------
    galvo_points : tuple of GalvoPoint
        The points, in order.
    groups : tuple of GalvoPointGroup
        Groups of them; several groups may share points.
    extra, source
        See `XmlElement`.

    Raises
    ------
    ArgumentError
        If a group names points that are not in the list.

    Examples
    --------
    >>> from calscipy.io.photostimulation import GalvoPoint, GalvoPointGroup, GalvoPointList
    >>> GalvoPointList(
    ...     galvo_points=[
    ...         GalvoPoint(x=-1.5, y=2.0),
    ...         GalvoPoint(x=3, y=-4, name="Point 1", index=1),
    ...     ],
    ...     groups=[GalvoPointGroup(indices=(0, 1))],
    ... ).galvo_points[1].x
    3.0
    """

    TAG: ClassVar[str] = "PVGalvoPointList"

    galvo_points: tuple[GalvoPoint, ...] = children(GalvoPoint)
    groups: tuple[GalvoPointGroup, ...] = children(GalvoPointGroup, ())

    def _contradictions(self) -> list[str]:
        count = len(self.galvo_points)
        problems = []
        for number, group in enumerate(self.groups):
            beyond = [index for index in group.indices if index >= count]
            if beyond:
                problems.append(
                    f"groups[{number}] ({group.name}) names the points {first_few(beyond, 10)} "
                    f"(counted from 0), but the list has {count}"
                )
        return problems
