"""The labels of a movie that calscipy wrote for suite2p, in a file beside the planes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import xarray as xr

from calscipy import model
from calscipy.errors import RecordingError
from calscipy.io.labels import Labels, read_labels
from calscipy.io.suite2p.folders import find_folder, require_inside

NAME = "calscipy.json"
MAX_BYTES = 2**30


def exported_from(path: Path) -> Labels | None:
    """Return the labels of the movie that calscipy wrote for suite2p, None if it was another.

    Raises
    ------
    RecordingError
        If it is no folder of suite2p, or the labels are damaged.
    """
    return exported_labels(find_folder(path).top)


def exported_labels(top: Path) -> Labels | None:
    """Read the labels beside the planes, None if there are none.

    Raises
    ------
    RecordingError
        If they are damaged.
    """
    file = top / NAME
    require_inside(file, top, RecordingError)
    if not file.is_file():
        return None
    if file.stat().st_size > MAX_BYTES:
        raise RecordingError(f"{file}: more than the {MAX_BYTES} bytes that labels may have.")
    try:
        text = file.read_text(encoding="utf-8")
    except ValueError as error:
        raise RecordingError(f"{file}: damaged ({error}). Copy it again.") from error
    return read_labels(text, file)


def origin(labels: Labels, dim: str) -> int | None:
    """Return the first recorded pixel that the movie held, None where pixels were binned."""
    coordinate = labels.coords.get(dim)
    if coordinate is None or coordinate.dims != (dim,):
        return 0
    size = coordinate.attrs.get(model.PIXEL_SIZE_ATTR)
    if not isinstance(size, int | float) or not size > 0:
        return 0
    places = np.asarray(coordinate.values, np.float64) / size
    first = round(float(places[0])) if places.size else 0
    straight = np.allclose(places, first + np.arange(places.size), rtol=0, atol=0.1)
    return first if straight else None


def coords_of(labels: Labels, dims: tuple[str, ...], **places: int) -> dict[str, xr.Variable]:
    """Return the coordinates of some dimensions, others at one place."""
    found = {}
    for name, coordinate in labels.coords.items():
        chosen = coordinate.isel({dim: at for dim, at in places.items() if dim in coordinate.dims})
        if set(chosen.dims) <= set(dims):
            found[name] = chosen
    return found
