"""What a movie view shows: a movie, where its pixels lie, ROIs and traces. No models of Bokeh."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import xarray as xr

from calscipy import model
from calscipy.plotting.interactive.frames import FrameReader, Limits, coarser, times_of
from calscipy.plotting.interactive.layers import Layer
from calscipy.plotting.interactive.pages import plain
from calscipy.plotting.style import label, name_of, units_text, with_units


class Axis(NamedTuple):
    """Where the pixels of an image lie along y or x.

    Attributes
    ----------
    start : float
        Outer edge of the first pixel.
    step : float
        Size of a pixel.
    label : str
        With units.
    """

    start: float
    step: float
    label: str

    def middle(self, pixel: Any) -> Any:
        """Return where the middle of a pixel lies, or of several."""
        return self.start + (pixel + 0.5) * self.step


class Scene:
    """Everything that a movie view shows, read as it is needed.

    Parameters
    ----------
    movie : DataArray
        ``(frames [, channel] [, plane], y, x)``.
    rois : DataArray, optional
        In long form.
    neurons : list, optional
        Names of the neurons of the traces.
    layers : list of Layer
        The traces.
    """

    def __init__(
        self,
        movie: xr.DataArray,
        rois: xr.DataArray | None,
        neurons: list[Any] | None,
        layers: list[Layer],
    ) -> None:
        self.movie, self.rois, self.neurons, self.layers = movie, rois, neurons, layers
        self.reader = FrameReader(movie)
        times = times_of(movie)
        self.timed = times is not None
        self.times = np.arange(self.reader.frames, dtype=float) if times is None else times
        self.axes = axis_of(movie, model.Y), axis_of(movie, model.X)
        self.units = plain(units_text(movie.attrs.get("units")))
        self.value_label = plain(with_units(name_of(movie, "value"), movie.attrs.get("units")))
        self.channels = _names(movie, model.CHANNEL)
        self.planes = _names(movie, model.PLANE)
        self._limits: dict[int, Limits] = {}

    def look(self, frame: int, channel: int, plane: int, factor: int) -> tuple[np.ndarray, Limits]:
        """Return what is shown of a frame, and the limits of contrast of its channel."""
        if channel in self._limits:
            image = self.reader.frame(frame, channel, plane)
        else:
            image, self._limits[channel] = self.reader.look(frame, channel, plane)
        if not self.reader.valid(frame, channel, plane):
            image = np.full(image.shape, np.nan, dtype=np.float32)
        return coarser(image, factor), self._limits[channel]

    def title(self, frame: int, channel: int = 0, plane: int = 0) -> str:
        """Return what is written above a frame, as the script ``follow_frame`` does."""
        parts = [f"frame {frame}"]
        if self.timed:
            parts.append(f"{self.times[frame]:.3f} s")
        parts += [
            names[at]
            for names, at in ((self.channels, channel), (self.planes, plane))
            if len(names) > 1
        ]
        if not self.reader.valid(frame, channel, plane):
            parts.append("missing or damaged")
        return " · ".join(parts)

    def pixel_at(self, y: float, x: float) -> tuple[int, int]:
        """Return the pixel at a place, or the one at the edge that is nearest."""
        row, column = (
            min(max(int((at - axis.start) // axis.step), 0), size - 1)
            for at, axis, size in zip((y, x), self.axes, self.reader.shape, strict=True)
        )
        return row, column

    def where(self, row: int, column: int) -> str:
        """Return where a pixel lies, as text."""
        y, x = (axis.middle(at) for axis, at in zip(self.axes, (row, column), strict=True))
        return f"y {y:.4g}, x {x:.4g}"


def axis_of(movie: xr.DataArray, dim: str) -> Axis:
    """Return where pixels lie, in um if that is known and even, else in pixels."""
    count = movie.sizes[dim]
    if dim in movie.coords and movie[dim].dims == (dim,) and movie[dim].dtype.kind in "iuf":
        places = model.coordinate(movie, dim).astype(float)
        recorded = float(movie[dim].attrs.get(model.PIXEL_SIZE_ATTR, 1.0))
        step = float(np.median(np.diff(places))) if count > 1 else recorded
        even = step > 0 and np.allclose(np.diff(places), step, rtol=0.02)
        if even and np.isfinite(places).all():
            return Axis(float(places[0]) - step / 2, step, plain(label(movie[dim], dim)))
    return Axis(-0.5, 1.0, "row" if dim == model.Y else "column")


def _names(movie: xr.DataArray, dim: str) -> list[str]:
    """Return what channels or planes are called."""
    count = movie.sizes.get(dim, 1)
    known = dim in movie.coords and movie[dim].dims == (dim,)
    values = movie[dim].values.tolist() if known else list(range(count))
    if dim == model.CHANNEL:
        return [plain(value if known else f"channel {value}") for value in values]
    names = [f"plane {value}" for value in values]
    if model.Z in movie.coords and movie[model.Z].dims == (dim,):
        depths = model.coordinate(movie, model.Z)
        units = units_text(movie[model.Z].attrs.get("units"))
        pairs = zip(names, depths, strict=True)
        names = [f"{name}, z {depth:.4g} {units}" for name, depth in pairs]
    return [plain(name) for name in names]
