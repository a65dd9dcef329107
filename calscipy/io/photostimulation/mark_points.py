"""Series of mark points: which galvo points are stimulated when, and how."""

from __future__ import annotations

import dataclasses
from typing import ClassVar

from calscipy.io.photostimulation.elements import XmlElement, attribute, children
from calscipy.io.photostimulation.fields import Flag, Indices, Number, Numbers, Text, Whole

_TEXT, _FLAG, _COUNT = Text(), Flag(), Whole()
_NUMBER, _AMOUNT = Number(), Number(amount=True)
_RANGES = Indices(first=1, ranges=True)
ACQUIRED_TAG = "PVMarkPointSeriesElements"
SAVED_TAG = "PVSavedMarkPointSeriesElements"


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False, repr=False, slots=True)
class Point(XmlElement):
    """One target as an acquisition records it, in fractions of the field of view.

    Parameters
    ----------
    index : int
        Which point of the list or group, from 0. Files count from 1.
    x, y : float
        Place as a fraction of the width, to the right, and of the height, downwards. Rigs whose
        Y is not calibrated record an infinite one.
    z : float, optional
        Height in um.
    is_spiral : bool
        Whether the beam drew a spiral.
    spiral_width, spiral_height : float
        Its size as fractions of the field; NaN where Y is not calibrated.
    spiral_size_in_microns : float
        Its size in um.
    extra, source
        See `XmlElement`.

    Raises
    ------
    ArgumentError
        For values that a target cannot have; all of them are named.

    Examples
    --------
    >>> from calscipy.io.photostimulation import Point
    >>> Point(index=0, x=0.55, y=float("-inf"), spiral_height=float("nan")).y
    -inf
    """

    TAG: ClassVar[str] = "Point"

    index: int | None = attribute("Index", Whole(first=1), 0)
    x: float = attribute("X", _NUMBER, 0.0, required=True)
    y: float = attribute("Y", _NUMBER, 0.0, required=True)
    z: float | None = attribute("Z", _NUMBER)
    is_spiral: bool | None = attribute("IsSpiral", _FLAG, True)
    spiral_width: float | None = attribute("SpiralWidth", _NUMBER, 0.0)
    spiral_height: float | None = attribute("SpiralHeight", _NUMBER, 0.0)
    spiral_size_in_microns: float | None = attribute("SpiralSizeInMicrons", _NUMBER, 0.0)


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False, repr=False, slots=True)
class GalvoPointElement(XmlElement):
    """One visit to a point or a group of points.

    A value of None means that the file does not say; it is then not written.

    Parameters
    ----------
    initial_delay : float
        Wait before the first point, in ms.
    inter_point_delay : float
        Wait between points, in ms.
    duration : float
        Stimulation of each point, in ms.
    spiral_revolutions : float
        Turns of the spiral.
    all_points_at_once : bool
        Whether a spatial light modulator stimulates all of them together.
    use_3d : bool, optional
        Whether it does so at several depths.
    points : str
        Name of the point or group in the point list.
    indices : tuple of int
        Which points, from 0; a single int stands for one. Files count from 1 and write ranges.
    targets : tuple of Point
        The points as they were stimulated; only acquisitions record them.
    extra, source
        See `XmlElement`.

    Raises
    ------
    ArgumentError
        For values that it cannot have; all of them are named.

    Examples
    --------
    >>> from calscipy.io.photostimulation import GalvoPointElement
    >>> GalvoPointElement(duration=5.0, points="Group 1", indices=range(30)).indices[-1]
    29
    """

    TAG: ClassVar[str] = "PVGalvoPointElement"

    initial_delay: float | None = attribute("InitialDelay", _AMOUNT, 0.0)
    inter_point_delay: float | None = attribute("InterPointDelay", _AMOUNT, 0.0)
    duration: float | None = attribute("Duration", _AMOUNT, 0.0)
    spiral_revolutions: float | None = attribute("SpiralRevolutions", _NUMBER, 0.0)
    all_points_at_once: bool | None = attribute("AllPointsAtOnce", _FLAG, False)
    use_3d: bool | None = attribute("Use3D", _FLAG)
    points: str | None = attribute("Points", _TEXT, "Point 0")
    indices: tuple[int, ...] | None = attribute("Indices", _RANGES, (0,))
    targets: tuple[Point, ...] = children(Point, ())


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False, repr=False, slots=True)
class MarkPointElement(XmlElement):
    """One step of a series: a laser, its trigger and the points it visits.

    A value of None means that the file does not say; it is then not written.

    Parameters
    ----------
    points : tuple of GalvoPointElement
        What it visits.
    repetitions : int
        How often.
    uncaging_laser : str
        Name of the laser.
    uncaging_laser_power : float
        Power in the units of PrairieView's slider or of the laser's calibration.
    custom_laser_percent : tuple of float, optional
        Weight of the power of each point.
    trigger_frequency : str
        When it waits for a trigger, such as ``"None"`` or ``"FirstRepetition"``.
    trigger_selection : str
        Input of the trigger, such as ``"PFI0"``, or ``"None"``.
    trigger_count : int
        Number of triggers.
    async_sync_frequency : str
        How often the start is synchronised.
    voltage_output_category_name, voltage_output_experiment_name : str
        Voltage output that goes with it.
    voltage_rec_category_name : str
        Voltage recording that goes with it.
    parameter_set : str
        Set of parameters of the scan.
    extra, source
        See `XmlElement`.

    Raises
    ------
    ArgumentError
        For values that it cannot have; all of them are named.

    Examples
    --------
    >>> from calscipy.io.photostimulation import GalvoPointElement, MarkPointElement
    >>> step = MarkPointElement(points=[GalvoPointElement()], uncaging_laser_power=0.025)
    >>> step.trigger_selection
    'PFI0'
    """

    TAG: ClassVar[str] = "PVMarkPointElement"

    points: tuple[GalvoPointElement, ...] = children(GalvoPointElement)
    repetitions: int | None = attribute("Repetitions", _COUNT, 1)
    uncaging_laser: str | None = attribute("UncagingLaser", _TEXT, "Uncaging")
    uncaging_laser_power: float | None = attribute("UncagingLaserPower", _AMOUNT, 0.0)
    custom_laser_percent: tuple[float, ...] | None = attribute("CustomLaserPercent", Numbers())
    trigger_frequency: str | None = attribute("TriggerFrequency", _TEXT, "None")
    trigger_selection: str | None = attribute("TriggerSelection", _TEXT, "PFI0")
    trigger_count: int | None = attribute("TriggerCount", _COUNT, 0)
    async_sync_frequency: str | None = attribute("AsyncSyncFrequency", _TEXT, "FirstRepetition")
    voltage_output_category_name: str | None = attribute("VoltageOutputCategoryName", _TEXT, "None")
    voltage_output_experiment_name: str | None = attribute("VoltageOutputExperimentName", _TEXT)
    voltage_rec_category_name: str | None = attribute("VoltageRecCategoryName", _TEXT, "Current")
    parameter_set: str | None = attribute("parameterSet", _TEXT, "CurrentSettings")


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False, repr=False, slots=True)
class MarkPointSeriesElements(XmlElement):
    """A series of mark points: a protocol, or what an acquisition played.

    Parameters
    ----------
    marks : tuple of MarkPointElement
        The steps, in order.
    iterations : int
        How often the series runs.
    iteration_delay : float
        Wait between two runs, in ms.
    calc_funcnt_map : bool
        Whether PrairieView computes a functional map. The name is that of CalSciPy.
    category, name : str, optional
        Where PrairieView keeps a saved series.
    use_3d, all_points_at_once : bool, optional
        As for `GalvoPointElement`.
    saved : bool
        Whether it is a protocol that PrairieView saves and loads, or the record of an acquisition.
        They have different root elements.
    extra, source
        See `XmlElement`.

    Raises
    ------
    ArgumentError
        For values that it cannot have; all of them are named.

    Examples
    --------
    >>> from calscipy.io.photostimulation import (
    ...     GalvoPointElement,
    ...     MarkPointElement,
    ...     MarkPointSeriesElements,
    ... )
    >>> visit = GalvoPointElement(duration=12, points="Group 1", indices=(0, 2))
    >>> step = MarkPointElement(points=[visit], repetitions=5, trigger_selection="None")
    >>> MarkPointSeriesElements(marks=[step], iteration_delay=1000).marks[0].repetitions
    5
    """

    marks: tuple[MarkPointElement, ...] = children(MarkPointElement)
    iterations: int | None = attribute("Iterations", _COUNT, 1)
    iteration_delay: float | None = attribute(
        "IterationDelay", Number(amount=True, decimals=2), 0.0
    )
    calc_funcnt_map: bool | None = attribute("CalcFunctMap", _FLAG, False)
    category: str | None = attribute("Category", _TEXT)
    name: str | None = attribute("Name", _TEXT)
    use_3d: bool | None = attribute("Use3D", _FLAG)
    all_points_at_once: bool | None = attribute("AllPointsAtOnce", _FLAG)
    saved: bool = True

    def _contradictions(self) -> list[str]:
        return [] if isinstance(self.saved, bool) else ["saved: True or False was expected"]

    @property
    def tag(self) -> str:
        """The name of the root element."""
        return SAVED_TAG if self.saved else ACQUIRED_TAG
