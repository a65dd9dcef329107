"""What the operations on frames share."""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr

from calscipy import model
from calscipy.blocks.per_frame import require_host
from calscipy.errors import ArgumentError

LONGEST_WINDOW = 86_400.0  # s, a day: what is longer is in ms, and may not fit into memory


def is_number(value: Any) -> bool:
    """Tell whether a value is a number; True and False are none, and neither are time spans."""
    if isinstance(value, bool | np.timedelta64):
        return False
    return isinstance(value, int | float | np.integer | np.floating)


def require_flags(verb: str, **flags: Any) -> None:
    """Raise unless all are True or False: "no" would count as True."""
    for name, value in flags.items():
        if not isinstance(value, bool | np.bool_):
            raise ArgumentError(f"{verb} needs {name} as True or False, got {value!r}")


def require_seconds(value: Any, longest: float, verb: str, name: str) -> None:
    """Raise for a length of time that is so long that it must be in ms."""
    if value > longest:
        raise ArgumentError(
            f"{verb} needs {name} in seconds, up to {longest:g}, got {value!r}. Is that in ms? "
            f"Then it is {value / 1000:g} s."
        )


def require_movie(data: xr.DataArray, verb: str) -> None:
    """Raise unless this is a movie of numbers in the memory of the host."""
    model.require_dims(data, (model.FRAMES, model.Y, model.X), verb)
    if data.dtype.kind not in "iuf":
        raise ArgumentError(f"{verb} needs numbers, got an array of {data.dtype}")
    require_host(data.data, verb)


def require_some_valid(valid: np.ndarray, verb: str) -> None:
    """Raise if a channel or plane has no valid frame; ``valid`` has frames first."""
    if not valid.any(axis=0).all():
        raise ArgumentError(
            f"{verb} needs at least one valid frame of every channel and plane, but some have "
            "none. Select those that were recorded, for instance movie.isel(plane=slice(0, 5))."
        )


def require_same_times(data: xr.DataArray, other: Any, verb: str) -> None:
    """Raise if both have times along frames and these are not exactly the same."""
    both = model.TIME in data.coords and model.TIME in other.coords
    if both and not np.array_equal(
        model.coordinate(data, model.TIME), model.coordinate(other, model.TIME)
    ):
        raise ArgumentError(
            f"{verb}: the shifts are of other times than the movie. Select the same frames of "
            "both, for instance shifts.isel(frames=slice(0, 100))."
        )


def require_same_place(
    data: xr.DataArray,
    other: xr.DataArray | xr.Dataset,
    verb: str,
    *,
    ignore: tuple[str, ...] = (),
) -> None:
    """Raise if both were selected from a recording and the planes or channels differ.

    Aligning looks at dimensions alone; what ``sel(plane=2)`` leaves is a scalar coordinate.
    """
    for name in (model.PLANE, model.CHANNEL):
        if name in ignore or name not in data.coords or name not in other.coords:
            continue
        mine, theirs = data[name], other[name]
        if mine.ndim == 0 and theirs.ndim == 0 and mine.item() != theirs.item():
            raise ArgumentError(
                f"{verb}: the movie is {name} {mine.item()}, what it is to be used with was made "
                f"of {name} {theirs.item()}. Use what belongs to it; if you mean it, drop the "
                f"coordinate: other.drop_vars({name!r})."
            )


def add_known(data: xr.DataArray, name: str, moved: xr.Variable) -> xr.Variable:
    """Add a movement to the one that a coordinate already tells of; NaN is no movement."""
    if name not in data.coords:
        return moved
    before = xr.Variable(data[name].dims, model.coordinate(data, name))
    total = before.fillna(0) + moved.fillna(0)
    return total.where(before.notnull() | moved.notnull())
