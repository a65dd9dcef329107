"""Sizes and type of the values of a binary file: given, stated beside it, or told by its size."""

from __future__ import annotations

import json
import math
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from calscipy import model
from calscipy.errors import ArgumentError, CalscipyWarning, RecordingError, warn
from calscipy.io.chunks import MAX_PIXELS
from calscipy.io.labels import Labels
from calscipy.io.movie_options import is_count

KEYS = ("frames", "y", "x", "dtype")  # of the JSON file
_TYPES = re.compile(r"[<>=|]?(bool|u?int(8|16|32|64)|float(16|32|64)|[bui]1|[uif][248]|\?)")
_BY_BYTES = {1: "uint8", 2: "uint16", 4: "float32", 8: "float64"}
_MOST_JSON = 2**16  # bytes


@dataclass(frozen=True)
class Layout:
    """Sizes and type of the values of a file."""

    frames: int  # images
    y: int
    x: int
    dtype: np.dtype

    @property
    def bytes(self) -> int:
        """Size of the file."""
        return self.frames * self.y * self.x * self.dtype.itemsize


def given_numbers(frames: Any, y: Any, x: Any, dtype: Any) -> dict[str, Any]:
    """Check the numbers that were given."""
    given = {key: n for key, n in (("frames", frames), ("y", y), ("x", x)) if n is not None}
    for key, number in given.items():
        if not is_count(number):
            raise ArgumentError(f"{key} must be a whole number from 1 on, got {number!r}.")
        given[key] = int(number)
    if dtype is not None:
        try:
            found = np.dtype(dtype)
        except TypeError:
            found = None
        if found is None or found.kind not in "biuf" or found.itemsize > 8:
            raise ArgumentError(
                f"dtype must be a type of integers or floats of up to 64 bits, got {dtype!r}."
            )
        given["dtype"] = _little(found)
    return given


def _little(dtype: np.dtype) -> np.dtype:
    """Take a type that does not say its byte order as little-endian."""
    return dtype.newbyteorder("<") if dtype.byteorder == "=" else dtype


def find_layout(path: Path, given: dict[str, Any], labels: Labels | None) -> Layout:
    """Find the four numbers, three of which are enough, and compare them with the file.

    Raises
    ------
    ArgumentError
        If too few are known.
    RecordingError
        If the file has other bytes than they need.
    """
    size = path.stat().st_size
    stated = _stated(path, given) or _labelled(labels)
    wrong = [key for key in given if key in stated and given[key] != stated[key]]
    if wrong:
        said = ", ".join(f"{key}={stated[key]}" for key in wrong)
        used = ", ".join(f"{key}={given[key]}" for key in wrong)
        warn(
            f"{path}: {path.with_suffix('.json').name} states {said}, but {used} was given and is "
            "used.",
            CalscipyWarning,
        )
    known = stated | given
    missing = [key for key in KEYS if key not in known]
    if len(missing) > 1:
        raise ArgumentError(
            f"{path}: {', '.join(missing)} are not known, as "
            f"{path.with_suffix('.json').name} is missing. Give three of frames=, y=, x= and "
            "dtype=; the fourth follows from the size of the file."
        )
    if missing:
        known |= _fourth(path, missing[0], known, size)
    layout = Layout(known["frames"], known["y"], known["x"], known["dtype"])
    if layout.bytes != size:
        raise RecordingError(
            f"{path}: {layout.frames} frames of {layout.y} x {layout.x} {layout.dtype.name} need "
            f"{layout.bytes} bytes, the file has {size}. Copy it again if it was cut short, or "
            "give the right frames=, y=, x= and dtype=."
        )
    if layout.y * layout.x > MAX_PIXELS:
        raise RecordingError(
            f"{path}: images of {layout.y} x {layout.x} pixels, at most {MAX_PIXELS} are opened."
        )
    return layout


def _fourth(path: Path, missing: str, known: dict[str, Any], size: int) -> dict[str, Any]:
    """Work out one number from the others and the size of the file."""
    rest = math.prod(
        n.itemsize if key == "dtype" else n for key, n in known.items() if key != missing
    )
    found, left = divmod(size, rest)
    if left or not found or (missing == "dtype" and found not in _BY_BYTES):
        wanted = f"{rest} values of 1, 2, 4 or 8 bytes"
        if missing != "dtype":
            wanted = f"a whole number of {missing}, each of {rest} bytes"
        raise RecordingError(
            f"{path}: expected {wanted}, the file has {size} bytes. Give the right numbers, or "
            "copy the file again."
        )
    if missing != "dtype":
        return {missing: found}
    dtype = np.dtype(_BY_BYTES[found])
    warn(
        f"{path}: nothing says the type of the values; {found} bytes each are taken as "
        f"{dtype.name}. Give dtype= to be sure.",
        CalscipyWarning,
    )
    return {"dtype": _little(dtype)}


def _stated(path: Path, given: dict[str, Any]) -> dict[str, Any]:
    """Read the four numbers from the JSON file, none if there is no such file."""
    beside = path.with_suffix(".json")
    if not beside.is_file():
        return {}
    try:
        if beside.stat().st_size > _MOST_JSON:
            raise ValueError(f"it has more than {_MOST_JSON} bytes")
        found = json.loads(beside.read_bytes())
        numbers = {key: found[key] for key in KEYS[:3]}
        if not all(type(n) is int and 0 < n < 2**48 for n in numbers.values()):
            raise ValueError(f"it has the sizes {numbers}")
        if not isinstance(found["dtype"], str) or not _TYPES.fullmatch(found["dtype"]):
            raise ValueError(f"it has the dtype {found['dtype']!r:.40}")
        return numbers | {"dtype": _little(np.dtype(found["dtype"]))}
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        problem = f"{beside}: expected frames, y, x and dtype, found none of them whole ({error})"
        if len(given) < 3:
            raise RecordingError(
                f"{problem}. Restore it, or give three of frames=, y=, x= and dtype=."
            ) from error
        warn(f"{problem}. The given numbers are used.", CalscipyWarning)
        return {}


def _labelled(labels: Labels | None) -> dict[str, Any]:
    """Take the four numbers from labels where there is nothing else."""
    if labels is None or not {model.FRAMES, model.Y, model.X} <= set(labels.dims):
        return {}
    y, x = labels.sizes[model.Y], labels.sizes[model.X]
    images = math.prod(labels.shape) // max(1, y * x)
    return {"frames": images, "y": y, "x": x, "dtype": _little(labels.dtype)}
