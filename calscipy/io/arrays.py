"""Arrays in memory as labelled movies and traces."""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr

from calscipy import model
from calscipy.errors import ArgumentError, CalscipyWarning, warn
from calscipy.io.movie_options import is_positive, pixel_coordinates, pixel_sizes

_MOVIE_DIMS = {
    3: (model.FRAMES, model.Y, model.X),
    4: (model.FRAMES, model.CHANNEL, model.Y, model.X),
    5: model.MOVIE_DIMS,
}

_MANY_NEURONS = 500
_NEURONS_PER_SAMPLE = 10  # more than that are samples by all odds


def from_numpy(
    array: Any,
    *,
    frame_rate: float,
    dims: tuple[str, ...] | None = None,
    microns_per_pixel: float | tuple[float, float] | None = None,
    units: str = "count",
    name: str | None = None,
) -> xr.DataArray:
    """Label an array as a movie or as traces.

    Parameters
    ----------
    array : ndarray or dask.array.Array
        Traces ``(neuron, time)`` or a movie ``(frames, y, x)``, ``(frames, channel, y, x)`` or
        ``(frames, channel, plane, y, x)``. It is not copied.
    frame_rate : float
        Frames (volumes) in a second. There is no default.
    dims : tuple of str, optional
        Names of the dimensions where they differ from the above.
    microns_per_pixel : float or (float, float), optional
        Size of a pixel in um, one or ``(y, x)``. Without it, ``y`` and ``x`` count pixels.
    units : str, default "count"
        Units of the values.
    name : str, optional
        Name; ``"movie"`` or ``"traces"`` by default.

    Returns
    -------
    DataArray
        With a ``time`` coordinate in s that starts at 0.

    Raises
    ------
    ArgumentError
        If the frame rate or the size of a pixel is not positive, or the dimensions do not fit.

    Warns
    -----
    CalscipyWarning
        If traces have so many more neurons than samples that they seem to be ``(time, neuron)``;
        not where ``dims`` names the dimensions.

    Examples
    --------
    >>> movie = from_numpy(np.zeros((4, 2, 3), "uint16"), frame_rate=2)
    >>> movie.dims, movie.time.values.tolist()
    (('frames', 'y', 'x'), [0.0, 0.5, 1.0, 1.5])
    """
    taken = dims is None
    array = array if hasattr(array, "dtype") else np.asarray(array)
    if not is_positive(frame_rate):
        raise ArgumentError(f"from_numpy needs frame_rate > 0 in Hz, got {frame_rate!r}")
    if dims is None:
        dims = (model.NEURON, model.TIME) if array.ndim == 2 else _MOVIE_DIMS.get(array.ndim)
    if dims is None or len(dims) != array.ndim:
        raise ArgumentError(
            f"from_numpy needs one name for each of the {array.ndim} dimensions, got {dims}. "
            "Give them, for instance dims=('frames', 'plane', 'y', 'x')."
        )
    if taken and array.ndim == 2:
        _warn_if_transposed(array.shape)
    attrs = {"units": units, "long_name": "fluorescence"}
    if array.dtype == bool:
        attrs = {"units": "1", "long_name": "event onsets"}
    data = xr.DataArray(array, dims=dims, attrs=attrs)
    along = model.time_dim(data, "from_numpy")
    times = np.arange(data.sizes[along]) / float(frame_rate)
    attrs = {"units": "s", "long_name": "time since the first frame"}
    coords: dict[str, Any] = {model.TIME: (along, times, attrs)}
    if model.kind(data) == "movie":
        y, x = data.sizes[model.Y], data.sizes[model.X]
        coords |= pixel_coordinates(y, x, pixel_sizes(microns_per_pixel))
    elif model.NEURON in dims:
        coords[model.NEURON] = (model.NEURON, np.arange(data.sizes[model.NEURON]))
    for dim in (model.CHANNEL, model.PLANE):
        if dim in dims:
            count = np.arange(data.sizes[dim])
            coords[dim] = (dim, [f"Ch{c + 1}" for c in count] if dim == model.CHANNEL else count)
    usual = {"movie": model.MOVIE, "events": model.EVENTS}
    kind = str(model.kind(data))
    return data.assign_coords(coords).rename(name or usual.get(kind, model.TRACES))


def _warn_if_transposed(shape: tuple[int, int]) -> None:
    """Warn of traces that seem to be ``(time, neuron)``."""
    neurons, samples = shape
    if neurons > _MANY_NEURONS and neurons > _NEURONS_PER_SAMPLE * samples:
        warn(
            f"from_numpy: the array of {neurons} x {samples} was taken for {neurons} neurons with "
            f"{samples} samples each. If it has {samples} neurons, give array.T; if it is right, "
            "dims=('neuron', 'time') says so.",
            CalscipyWarning,
        )
