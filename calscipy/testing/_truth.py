"""What a synthetic recording contains, as labelled arrays."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import xarray as xr

from ._scene import Floats, Pixels, Scene
from ._xml import as_written


@dataclass(frozen=True, eq=False)
class GroundTruth:
    """What a recording written by `write_recording` contains.

    Attributes
    ----------
    folder, xml : Path
        The recording and its master XML.
    channels : dict
        Name of each channel by its number, in the order of the files; the last one is functional.
    spikes : DataArray (neuron, time) of int
        Spikes since the previous sample of the neuron's plane.
    events : DataArray (neuron, time) of bool
        First sample at or after the onset of each burst.
    dfof : DataArray (neuron, time)
        ΔF/F without noise at the times when the neuron's plane is acquired. Every burst reaches
        ``dfof.attrs["peak"]``, the weakest one exactly.
    f0 : DataArray (neuron, time)
        Expected counts of the neuron's pixels without activity, bleaching included. The pixels
        of neuron ``k`` have the expectation ``f0[k] * (1 + dfof[k])``.
    labels : DataArray (y, x) or (plane, y, x) of int
        0 is background, ``k + 1`` is neuron ``k``.
    times : DataArray (time,)
        Seconds from the first image to the first image of each time point.
    plane_times : DataArray (time, plane) or None
        Seconds from the first image to each plane, in order of depth; NaN where the recording was
        aborted before. None if there is one plane.
    z : DataArray (plane,) or None
        Position of the piezo in µm, subindex 1 of positionCurrent; that of the focus, which is
        constant, is ``z.attrs["focus"]``. None if there is one plane.
    written : DataArray (time,) or (time, plane) of bool
        False where the files are missing, truncated or not listed.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> from calscipy.testing import write_recording
    >>> folder = Path(tempfile.mkdtemp()) / "mouse1"
    >>> truth = write_recording(folder, frames=4, neurons=2, missing=[3])
    >>> dict(truth.labels.sizes), truth.written.values.tolist()
    ({'y': 64, 'x': 64}, [True, True, True, False])
    """

    folder: Path
    xml: Path
    channels: dict[int, str]
    spikes: xr.DataArray
    events: xr.DataArray
    dfof: xr.DataArray
    f0: xr.DataArray
    labels: xr.DataArray
    times: xr.DataArray
    plane_times: xr.DataArray | None
    z: xr.DataArray | None
    written: xr.DataArray
    _scene: Scene = field(repr=False)

    def frame(
        self, frame: int, channel: int | str | None = None, plane: int | None = None
    ) -> Pixels:
        """Pixels of one image, exactly as written (or as they would be, where missing).

        Parameters
        ----------
        frame : int
            Time point, from 0.
        channel : int or str, optional
            Number or name of the channel; by default the functional one, which is the last.
        plane : int, optional
            Plane in order of depth, from 0; needed if there are several.

        Returns
        -------
        ndarray of uint16
            The image, lines by columns.

        Examples
        --------
        >>> import tempfile
        >>> from pathlib import Path
        >>> from calscipy.testing import write_recording
        >>> folder = Path(tempfile.mkdtemp()) / "mouse1"
        >>> truth = write_recording(folder, frames=3, shape=(2, 3), encode=True)
        >>> truth.frame(1).tolist()
        [[20007, 20008, 20009], [20010, 20011, 20012]]
        """
        if channel is None:
            channel = list(self.channels)[-1]
        numbers = {key: number for number, name in self.channels.items() for key in (number, name)}
        if channel not in numbers:
            msg = f"there is no channel {channel!r}. Choose one of {self.channels}."
            raise KeyError(msg)
        plan = self._scene.plan
        if plane is None and plan.planes > 1:
            msg = f"the recording has {plan.planes} planes. Pass plane=0 to {plan.planes - 1}."
            raise ValueError(msg)
        plane = plane or 0
        if not (0 <= frame < plan.frames and 0 <= plane < plan.planes):
            msg = (
                f"there is no frame {frame} of plane {plane}. The recording has "
                f"{plan.frames} frames and {plan.planes} planes, counted from 0."
            )
            raise IndexError(msg)
        return self._scene.pixels(frame, plane, numbers[channel])


def describe(
    scene: Scene,
    *,
    folder: Path,
    xml: Path,
    z: Floats,
    focus: float,
    written: npt.NDArray[np.bool_],
) -> GroundTruth:
    """Label the arrays of a scene."""
    plan = scene.plan
    deep = plan.planes > 1
    seconds = {"units": "s", "long_name": "time since the first image"}
    time = xr.DataArray(as_written(plan.times), dims="time", attrs=seconds)
    time = time.assign_coords(time=time.variable)
    neuron = np.arange(1, scene.dfof.shape[0] + 1)

    def traces(values: npt.NDArray[Any], units: str, name: str, **attrs: Any) -> xr.DataArray:
        coords = {"neuron": neuron, "time": time.variable}
        attrs = {"units": units, "long_name": name, **attrs}
        return xr.DataArray(values, coords, ("neuron", "time"), attrs=attrs)

    def over_planes(values: npt.NDArray[Any], attrs: dict[str, Any]) -> xr.DataArray:
        dims = ("time", "plane") if deep else ("time",)
        values = values if deep else values[:, 0]
        return xr.DataArray(values, {"time": time.variable}, dims, attrs=attrs)

    listed = plan.acquired()
    plane_times = np.where(listed, as_written(plan.plane_times()), np.nan)
    return GroundTruth(
        folder=folder,
        xml=xml,
        channels=dict(scene.channels),
        spikes=traces(scene.spikes, "1", "spikes per sample"),
        events=traces(scene.events, "1", "burst onsets"),
        dfof=traces(scene.dfof, "1", "ΔF/F₀ without noise", peak=scene.peak),
        f0=traces(scene.f0, "count", "baseline fluorescence"),
        labels=xr.DataArray(
            scene.labels if deep else scene.labels[0],
            dims=("plane", "y", "x") if deep else ("y", "x"),
            attrs={"units": "1", "long_name": "neuron, 0 is background"},
        ),
        times=time,
        plane_times=over_planes(plane_times, seconds) if deep else None,
        z=xr.DataArray(z, dims="plane", attrs={"units": "um", "focus": focus}) if deep else None,
        written=over_planes(written & listed, {"long_name": "files are complete"}),
        _scene=scene,
    )
