"""What suite2p noted about a plane: settings, sizes, images and shifts, in either layout.

Versions before 1.0 write one ``ops.npy``. From 1.0 on there are ``db.npy`` (the recording),
``settings.npy``, ``reg_outputs.npy`` and ``detect_outputs.npy``, and an ``ops.npy`` on request.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from calscipy import model
from calscipy.errors import RecordingError
from calscipy.io.pickled import StoredArray, read_object_array
from calscipy.io.suite2p.folders import DATABASE, OPS, SETTINGS, Folder

# Later ones win: db.npy has the mean of the movie before registration, reg_outputs.npy after it.
_PARTS = (DATABASE, OPS, SETTINGS, "reg_outputs.npy", "detect_outputs.npy")
IMAGES = "meanImg, meanImgE, refImg, max_proj, Vcorr, meanImg_chan2, meanImg_chan2_corrected"
BAD_FRAMES = "badframes"
_PER_FRAME = {
    "yoff": model.Y_SHIFT,
    "xoff": model.X_SHIFT,
    "corrXY": "correlation",
    "badframes": BAD_FRAMES,
}
_MOST_ITEMS = 2000  # of one plane's settings that become attributes
_LONGEST_LIST = 16
_LONGEST_TEXT = 10_000
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_ .-]{0,63}")


class PlaneSettings:
    """The settings of one plane, read once.

    Parameters
    ----------
    folder : Folder
        All planes.
    place : Path
        The folder of this one.
    """

    def __init__(self, folder: Folder, place: Path) -> None:
        self.place = place
        self.values: dict[str, Any] = {}
        for name in _PARTS:
            file = folder.file(place, name)
            if file is not None:
                self.values |= _dictionary(file)

    def number(self, name: str) -> float | None:
        """Return a finite number, None if there is none of this name."""
        value = plain_number(self.values.get(name))
        if value is None or isinstance(value, bool) or not math.isfinite(value):
            return None
        return float(value)

    def count(self, name: str) -> int | None:
        """Return a whole number from 0 on, None if there is none of this name."""
        value = self.number(name)
        return int(value) if value is not None and value == int(value) >= 0 else None

    def numbers(self, name: str) -> np.ndarray | None:
        """Return an array of real numbers, None if there is none of this name."""
        value: Any = self.values.get(name)
        if isinstance(value, StoredArray):
            try:
                value = value.array()
            except Exception as error:  # a damaged or hostile description raises anything
                raise RecordingError(
                    f"{self.place}: {name} is damaged ({error}). Write the files again with "
                    "suite2p."
                ) from error
        elif type(value) in (list, tuple) and len(value) <= _LONGEST_LIST:
            value = np.array([plain_number(n) for n in value], dtype=object)
            value = value.astype(float) if all(n is not None for n in value) else None
        known = isinstance(value, np.ndarray) and value.dtype.kind in "biuf"
        return value if known else None

    @property
    def shape(self) -> tuple[int, int] | None:
        """Rows and columns of the images, None if unknown."""
        sizes = self.count("Ly"), self.count("Lx")
        return (sizes[0], sizes[1]) if sizes[0] and sizes[1] else None

    def images(self) -> dict[str, np.ndarray]:
        """Return all images as float32 of the full size, NaN around those that are crops.

        suite2p looks for ROIs in the part of the image that registration left in view
        (``yrange``, ``xrange``); what it computes there is of that size.
        """
        if self.shape is None:
            return {}
        crop = self._crop()
        inner = tuple(part.stop - part.start for part in crop)
        found = {}
        for name in IMAGES.split(", "):
            image = self.numbers(name)
            if image is None or image.shape not in (self.shape, inner):
                continue
            whole = np.full(self.shape, np.nan, np.float32)
            whole[crop if image.shape != self.shape else ...] = image
            found[name] = whole
        return found

    def _crop(self) -> tuple[slice, slice]:
        """Return the part of the image in which suite2p looked for ROIs."""
        parts = []
        for name, size in zip(("yrange", "xrange"), self.shape or (0, 0), strict=True):
            ends = self.numbers(name)
            part = slice(0, size)
            if ends is not None and ends.shape == (2,) and 0 <= ends[0] <= ends[1] <= size:
                part = slice(int(ends[0]), int(ends[1]))
            parts.append(part)
        return parts[0], parts[1]

    def registration(self) -> dict[str, np.ndarray]:
        """Return what registration found for each frame, each of shape ``(frames,)``.

        The content of a frame is that of the reference image moved by
        ``(+y_shift, +x_shift)``, as calscipy counts shifts.
        """
        found = {}
        for name, ours in _PER_FRAME.items():
            values = self.numbers(name)
            if values is not None and values.ndim == 1:
                found[ours] = values.astype(bool if ours == BAD_FRAMES else np.float64)
        return found

    def attrs(self) -> dict[str, Any]:
        """Return numbers, texts and short lists, nested as in the file, for attributes."""
        return _plain(self.values, [_MOST_ITEMS], depth=0)


def _dictionary(file: Path) -> Mapping[str, Any]:
    """Read a file that holds one dictionary."""
    stored = read_object_array(file, RecordingError)
    entry = stored.item() if stored.size == 1 else None
    if not isinstance(entry, Mapping):
        raise RecordingError(
            f"{file}: one dictionary of settings was expected, found an array of {stored.dtype} of "
            f"shape {stored.shape}. Write the file again with suite2p, or take it away."
        )
    return {name: value for name, value in entry.items() if type(name) is str}


def plain_number(value: Any) -> bool | int | float | None:
    """Return a number of Python, None for anything else."""
    if isinstance(value, np.generic) and value.dtype.kind in "biuf":
        value = value.item()
    if type(value) is int and not -(2**63) <= value < 2**63:
        return None
    return value if type(value) in (bool, int, float) else None


def _plain(values: Mapping[Any, Any], left: list[int], depth: int) -> dict[str, Any]:
    """Return what attributes can hold; ``left`` counts down, as a file may nest without end."""
    found: dict[str, Any] = {}
    for name, value in values.items():
        if left[0] <= 0:
            break
        if type(name) is not str or not _NAME.fullmatch(name):
            continue
        if isinstance(value, Mapping):
            item: Any = _plain(value, left, depth + 1) if depth < 4 else None
        elif type(value) in (list, tuple):
            item = _plain_list(value)
        else:
            item = _plain_item(value)
        left[0] -= 1
        if item is not None:
            found[name] = item
    return found


def _plain_list(values: Any) -> list[Any] | None:
    if len(values) > _LONGEST_LIST:
        return None
    items = [_plain_item(value) for value in values]
    return None if any(item is None for item in items) else items


def _plain_item(value: Any) -> Any:
    if type(value) is str:
        return value if len(value) <= _LONGEST_TEXT and is_text(value) else None
    return plain_number(value)


def is_text(value: str) -> bool:
    """Tell whether every character can be written; a pickle may hold halves of characters."""
    return not any("\ud800" <= character <= "\udfff" for character in value)
