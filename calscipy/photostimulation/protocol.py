"""Protocols: what is stimulated when, as the files that PrairieView loads."""

from __future__ import annotations

import math
import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import xarray as xr

from calscipy import model
from calscipy.errors import ArgumentError, first_few
from calscipy.io.output import require_free
from calscipy.io.paths import local_path
from calscipy.io.photostimulation import (
    GalvoPointList,
    MarkPointSeriesElements,
    write_galvo_points,
    write_mark_points,
)
from calscipy.io.photostimulation.stimuli import stimulus_table
from calscipy.photostimulation.calibration import GalvoCalibration
from calscipy.photostimulation.rois import Target

if TYPE_CHECKING:
    from matplotlib.figure import Figure

TARGET_LABEL = "target_label"


@dataclass(frozen=True, kw_only=True)
class Protocol:
    """A point list and a series of mark points that belong together. Make it with `build_protocol`.

    Parameters
    ----------
    targets : tuple of Target
        What the points are, in the order of the list.
    points : GalvoPointList
        Points and groups, in volts.
    series : MarkPointSeriesElements
        Which of them are stimulated when.
    calibration : GalvoCalibration
        How volts follow from pixels.
    """

    targets: tuple[Target, ...]
    points: GalvoPointList
    series: MarkPointSeriesElements
    calibration: GalvoCalibration

    @property
    def labels(self) -> np.ndarray:
        """Label of each target, by its place in the point list; its place where it has none."""
        return np.array(
            [at if target.label is None else target.label for at, target in enumerate(self.targets)]
        )

    def save(self, path: str | os.PathLike[str]) -> tuple[Path, Path]:
        """Write the point list and the series into new files.

        Parameters
        ----------
        path : path
            Where, without ending: ``.gpl`` and ``.xml`` are added.

        Returns
        -------
        tuple of Path
            The point list and the series.

        Raises
        ------
        TargetExistsError
            If one of them exists. Neither is written then.
        """
        stem = local_path(path)
        files = stem.with_name(f"{stem.name}.gpl"), stem.with_name(f"{stem.name}.xml")
        for file in files:
            require_free(file)
        write_galvo_points(self.points, files[0])
        write_mark_points(self.series, files[1])
        return files

    def stimuli(self, start: float = 0.0) -> xr.Dataset:
        """List every stimulus of the protocol.

        Parameters
        ----------
        start : float, default 0
            When the protocol starts, in s.

        Returns
        -------
        Dataset
            As a session's ``stimulus`` group, with the places of the targets and the coordinate
            ``target_label``. Onsets that wait for a trigger are NaN.
        """
        shape = self.calibration.image_shape
        table = stimulus_table(self.series, start=start, points=self.points, image_shape=shape)
        rows, columns = shape
        at = table["target"].values
        places = {model.X: (0, columns), model.Y: (1, rows)}
        middles = np.array([(target.x, target.y) for target in self.targets])
        for name, (axis, count) in places.items():
            pixels = middles[at, axis]
            table[name] = table[name].copy(data=pixels / count)
            table[f"{name}_pixel"] = table[f"{name}_pixel"].copy(data=pixels)
        return self.label(table)

    def label(self, stimulus: xr.Dataset) -> xr.Dataset:
        """Say whose target each stimulus of a recording was, if this protocol was played.

        Parameters
        ----------
        stimulus : Dataset
            A session's ``stimulus`` group.

        Returns
        -------
        Dataset
            With the coordinate ``target_label``, such as the label of the neuron.

        Raises
        ------
        ArgumentError
            If there are targets that the protocol does not have.
        """
        at = stimulus["target"].values
        unknown = sorted(set(at[at >= len(self.targets)].tolist()))
        if unknown:
            raise ArgumentError(
                f"Protocol.label: the stimuli are of the targets {first_few(unknown, 10)} (from "
                f"0), but the protocol has {len(self.targets)}. Give the protocol that was played."
            )
        attrs = {"long_name": "whose target it is"}
        labels = xr.Variable(model.STIMULUS, self.labels[at], attrs)
        return stimulus.assign_coords({TARGET_LABEL: labels})

    def spirals(self) -> list[Target]:
        """Return where the beam goes, as ellipses in pixels of the size of the spirals."""
        found = targets_from_galvo_points(self.points, self.calibration)
        return [
            replace(target, width=spiral.width, height=spiral.height, theta=spiral.theta)
            for target, spiral in zip(self.targets, found, strict=True)
        ]

    def plot(self, image: xr.DataArray, *, title: str | None = None) -> Figure:
        """Draw the targets on an image, and when each of them is stimulated.

        Parameters
        ----------
        image : DataArray
            Image ``(y, x)`` of the size that the calibration is for.
        title : str, optional
            Title above everything.

        Returns
        -------
        matplotlib.figure.Figure
            Not known to pyplot: save it with ``calscipy.plotting.save_figure``.

        Raises
        ------
        ArgumentError
            If the image has another size: its pixels would be other places.
        """
        from calscipy.plotting.photostimulation import protocol_figure

        model.require_dims(image, (model.Y, model.X), "Protocol.plot")
        size = image.sizes[model.Y], image.sizes[model.X]
        if size != tuple(self.calibration.image_shape):
            raise ArgumentError(
                f"Protocol.plot: the image has {size[0]} x {size[1]} pixels, but the calibration "
                f"is for {self.calibration.image_shape}. Give an image as it was recorded."
            )
        groups = {group.name or "": group.indices for group in self.points.groups}
        return protocol_figure(
            image, self.spirals(), self.stimuli(), groups=groups, labels=self.labels, title=title
        )


def targets_from_galvo_points(
    points: GalvoPointList, calibration: GalvoCalibration
) -> list[Target]:
    """Find on an image where the points of a list are: the way back from `build_protocol`.

    Parameters
    ----------
    points : GalvoPointList
        Points in volts.
    calibration : GalvoCalibration
        How volts follow from pixels.

    Returns
    -------
    list of Target
        Ellipses of the size of the spirals, with the names of the points as labels.

    Examples
    --------
    >>> from calscipy.photostimulation import GalvoPoint
    >>> limits = {"x_range": (-5, 5), "y_range": (-5, 5), "image_shape": (100, 100)}
    >>> calibration = GalvoCalibration(matrix=np.eye(2) / 10, offset=[-5, -5], **limits)
    >>> point = GalvoPoint(x=1.0, y=-2.0, spiral_size=0.5, name="Point 1")
    >>> targets_from_galvo_points(GalvoPointList(galvo_points=(point,)), calibration)
    [Target(x=60.0, y=30.0, width=5.0, height=5.0, theta=0.0, z=0.0, label='Point 1')]
    """
    volts = np.array([(point.x, point.y) for point in points.galvo_points], float).reshape(-1, 2)
    # A circle in volts is an ellipse in pixels.
    axes, sizes, _ = np.linalg.svd(np.linalg.inv(calibration.matrix))
    round_ = math.isclose(*sizes, rel_tol=1e-9)
    turn = 0.0 if round_ else math.degrees(math.atan2(axes[1, 0], axes[0, 0]))
    found = []
    for point, (x, y) in zip(points.galvo_points, calibration.to_pixels(volts), strict=True):
        size = (point.spiral_size or 0.0) if point.is_spiral else 0.0
        width, height = (sizes * size).round(9).tolist()
        z = math.nan if point.z is None else point.z
        found.append(
            Target(x=x, y=y, width=width, height=height, theta=turn, z=z, label=point.name)
        )
    return found
