"""Series of an NWB file: times, values and attributes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from calscipy import model
from calscipy.errors import RecordingError
from calscipy.io.hdf5 import Hdf5Array, attribute, load, require_whole

CLOCK_ATTRS = {"units": "s", "long_name": "time on the clock of the session"}
_NO_UNITS = {"", "n.a.", "n.a", "n/a", "na", "a.u.", "au", "unknown", "arbitrary units"}


def text(value: Any) -> str:
    """Return an attribute of HDF5 as text, empty if it is none."""
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    return value if isinstance(value, str) else ""


def scalar(group: Any, name: str) -> Any:
    """Return a number or a text of a file, None if there is none."""
    if name not in group or getattr(group[name], "shape", None) != ():
        return None
    value = group[name][()]
    if isinstance(value, bytes | str):
        return text(value)[:10_000]
    return value.item() if isinstance(value, np.generic) else None


def times_of(series: Any, path: Path, axis: int = 0) -> np.ndarray:
    """Return when the samples along an axis were taken, in s on the clock of the file."""
    count = int(series["data"].shape[axis])
    if "timestamps" in series:
        times = load(series["timestamps"], path).astype(np.float64)
        if times.shape != (count,):
            raise RecordingError(
                f"{path}: {series.name!r} has {count} samples and {times.size} timestamps. Write "
                "the file again with the program that wrote it."
            )
        return times
    start = scalar(series, "starting_time")
    rate = attribute(series["starting_time"], "rate") if start is not None else None
    if start is None or rate is None or not float(rate) > 0:
        raise RecordingError(
            f"{path}: {series.name!r} has neither timestamps nor a rate, and calscipy assumes "
            "none. Write the file again with one of them."
        )
    return float(start) + np.arange(count) / float(rate)


def values_of(series: Any, path: Path, order: Sequence[int]) -> Hdf5Array:
    """Return the values of a series, converted as it says."""
    data = series["data"]
    require_whole(data, path)
    if data.dtype.kind not in "biuf":
        raise RecordingError(f"{path}: {series.name!r} holds {data.dtype}, not numbers.")
    factor = float(attribute(data, "conversion", 1.0))
    offset = float(attribute(data, "offset", 0.0))
    if factor == 1.0 and offset == 0.0:
        return Hdf5Array(path, data, order=order)
    dtype = data.dtype if data.dtype.kind == "f" else np.dtype("f4")
    return Hdf5Array(path, data, dtype.newbyteorder("="), order, (factor, offset))


def series_attrs(series: Any, path: Path, long_name: str) -> dict[str, Any]:
    """Return unit, meaning and source of the values of a series."""
    unit = text(attribute(series["data"], "unit"))
    described = text(attribute(series, "description"))
    given = described if described not in ("", "no description") else long_name
    attrs = {"long_name": given[:1000], model.SOURCE_ATTR: f"{path.name}{series.name}"}
    return attrs | ({} if unit.lower() in _NO_UNITS else {"units": unit})
