"""Arguments that readers of movies share, and how they are compared with what files say."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from calscipy import model
from calscipy.errors import ArgumentError, CalscipyWarning, warn

SAME_RATE = 1e-3  # a rate rounded to three digits is no contradiction


def is_positive(value: Any) -> bool:
    """Tell whether a value is a finite number above zero."""
    numeric = isinstance(value, int | float | np.number) and not isinstance(value, bool)
    return numeric and bool(np.isfinite(value) and value > 0)


def is_count(value: Any) -> bool:
    """Tell whether a value is a whole number from 1 on."""
    numeric = isinstance(value, int | np.integer) and not isinstance(value, bool)
    return numeric and bool(value >= 1)


def channel_names(channels: int | Sequence[str] | None) -> tuple[str | None, ...] | None:
    """Return one name for each channel, ``(None,)`` for a nameless one.

    Examples
    --------
    >>> channel_names(2)
    ('Ch1', 'Ch2')
    """
    if channels is None:
        return None
    if not isinstance(channels, Sequence) and is_count(channels):
        return (None,) if channels == 1 else tuple(f"Ch{at + 1}" for at in range(channels))
    names = (channels,) if isinstance(channels, str) else channels
    if isinstance(names, Sequence) and all(isinstance(name, str) and name for name in names):
        unique = tuple(dict.fromkeys(names))
        if unique and len(unique) == len(names):
            return unique
    raise ArgumentError(
        f"channels must be a whole number from 1 on, or different names, got {channels!r}."
    )


def require_numbers(frame_rate: float | None, planes: int | None) -> None:
    """Raise unless what is given is a rate and a number of planes."""
    if planes is not None and not is_count(planes):
        raise ArgumentError(f"planes must be a whole number from 1 on, got {planes!r}.")
    if frame_rate is not None and not is_positive(frame_rate):
        raise ArgumentError(f"frame_rate must be a positive number in Hz, got {frame_rate!r}.")


def pixel_sizes(given: float | tuple[float, float] | None) -> tuple[float, float] | None:
    """Return the size of a pixel in um as ``(y, x)``."""
    if given is None:
        return None
    sizes = given if isinstance(given, tuple | list) else (given, given)
    if len(sizes) == 2 and all(map(is_positive, sizes)):
        return float(sizes[0]), float(sizes[1])
    raise ArgumentError(
        f"microns_per_pixel must be one positive number in um, or two (y, x), got {given!r}."
    )


def no_frame_rate(path: Path, what: str) -> ArgumentError:
    """Say that nothing tells the times of frames."""
    return ArgumentError(
        f"{path}: {what} how fast it was recorded, and calscipy assumes no frame rate. Give it in "
        "Hz (volumes in a second if it has planes): open(path, frame_rate=...)."
    )


def contradicts(
    path: Path, source: str, given: float, times: np.ndarray | None, rate: float | None
) -> bool:
    """Tell whether a given frame rate is not the one that a file states; warn if so.

    Parameters
    ----------
    path : Path
        What the warning names.
    source : str
        What states it, in the plural.
    given : float
        In Hz.
    times : ndarray of float64, shape (frames,), optional
        Stated times in s.
    rate : float, optional
        Stated rate, for a file without times.
    """
    uneven, detail = False, ""
    if times is not None and len(times) > 1:
        steps = np.diff(times)
        rate = 1 / float(np.median(steps))
        uneven = bool((np.abs(steps * rate - 1) > model.REGULAR_TOLERANCE).any())
        detail = f" with steps from {steps.min():.6g} to {steps.max():.6g} s" if uneven else ""
    if rate is None or not (uneven or abs(given / rate - 1) > SAME_RATE):
        return False
    warn(
        f"{path}: {source} state {rate:.6g} frames in a second{detail}, but "
        f"frame_rate={given:.6g} was given and is used.",
        CalscipyWarning,
    )
    return True


def time_coordinate(seconds: np.ndarray) -> xr.Variable:
    """Label the times of frames."""
    attrs = {"units": "s", "long_name": "time since the first frame"}
    return xr.Variable(model.FRAMES, seconds, attrs)


def channel_coordinate(names: Sequence[str | None], dim: bool) -> dict[str, xr.Variable]:
    """Label channels: along their dimension, or the only one if it has a name."""
    if dim:
        return {model.CHANNEL: xr.Variable(model.CHANNEL, list(names))}
    return {} if names[0] is None else {model.CHANNEL: xr.Variable((), names[0])}


def plane_coordinate(planes: int) -> dict[str, xr.Variable]:
    """Label planes by their numbers, if there are several."""
    if planes == 1:
        return {}
    attrs = {"long_name": "plane, in acquisition order"}
    return {model.PLANE: xr.Variable(model.PLANE, np.arange(planes), attrs)}


def pixel_coordinates(
    y: int, x: int, microns: tuple[float, float] | None
) -> dict[str, xr.Variable]:
    """Make the y and x coordinates."""
    sizes = microns or (None, None)
    return {
        model.Y: model.pixel_coordinate(model.Y, y, sizes[0]),
        model.X: model.pixel_coordinate(model.X, x, sizes[1]),
    }
