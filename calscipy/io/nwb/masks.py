"""The pixels of ROIs in the three forms that NWB has: pixel, voxel and image masks."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from calscipy.errors import RecordingError
from calscipy.io.chunks import MAX_PIXELS
from calscipy.io.hdf5 import load, require_whole

_SLAB_BYTES = 64 * 2**20
_MOST_PIXELS = 2**28


class Masks(NamedTuple):
    """The pixels of the ROIs of one table."""

    row: np.ndarray  # of the table, of each pixel
    y: np.ndarray
    x: np.ndarray
    plane: np.ndarray | None
    weight: np.ndarray
    image_shape: tuple[int, int] | None


def read_masks(table: Any, path: Path, count: int) -> Masks | None:
    """Return the pixels of the ROIs of a table of ``count`` rows, None if it has none.

    Raises
    ------
    RecordingError
        If they do not fit the table, or are too many.
    """
    for name in ("pixel_mask", "voxel_mask"):
        if name in table and f"{name}_index" in table:
            return _listed(table, path, name, count)
    if "image_mask" in table:
        return _images(table["image_mask"], path, count)
    return None


def _listed(table: Any, path: Path, name: str, count: int) -> Masks:
    """Read lists of pixels and weights."""
    pixels, ends = load(table[name], path), load(table[f"{name}_index"], path).astype(np.int64)
    axes = ("x", "y", "z", "weight") if name == "voxel_mask" else ("x", "y", "weight")
    fits = (
        ends.shape == (count,) and pixels.ndim == 1 and set(axes) <= set(pixels.dtype.names or ())
    )
    if not fits or (np.diff(ends, prepend=0) < 0).any() or (count and ends[-1] > pixels.size):
        raise RecordingError(
            f"{path}: {name!r} of {table.name!r} does not fit its {count} ROIs. Write the file "
            "again with the program that wrote it."
        )
    used = pixels[: int(ends[-1]) if count else 0]
    row = np.repeat(np.arange(count), np.diff(ends, prepend=0))
    plane = used["z"].astype(np.int64) if name == "voxel_mask" else None
    y, x = used["y"].astype(np.int64), used["x"].astype(np.int64)
    return Masks(row, y, x, plane, np.asarray(used["weight"]), None)


def _images(masks: Any, path: Path, count: int) -> Masks:
    """Read one image for each ROI, (roi, x, y [, z]), a few at a time."""
    shape = masks.shape
    if masks.ndim not in (3, 4) or shape[0] != count or math.prod(shape[1:]) > MAX_PIXELS:
        raise RecordingError(
            f"{path}: 'image_mask' has the shape {shape}, images of {count} ROIs were expected. "
            "Write the file again with the program that wrote it."
        )
    require_whole(masks, path)
    step = max(1, _SLAB_BYTES // max(1, masks.dtype.itemsize * math.prod(shape[1:])))
    parts, weights, found = [], [], 0
    for start in range(0, count, step):
        slab = np.asarray(masks[start : start + step])
        places = np.array(np.nonzero(slab))
        weights.append(slab[tuple(places)].astype(np.float32))
        places[0] += start
        parts.append(places)
        found += places.shape[1]
        if found > _MOST_PIXELS:
            raise RecordingError(f"{path}: the image masks have over {_MOST_PIXELS} pixels.")
    row, x, y, *z = np.concatenate(parts, axis=1) if parts else np.zeros((masks.ndim, 0), np.int64)
    weight = np.concatenate(weights) if weights else np.zeros(0, np.float32)
    return Masks(row, y, x, z[0] if z else None, weight, (int(shape[2]), int(shape[1])))
