"""What calscipy notes beside a movie that it writes for suite2p: its labels, the channels."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from calscipy import model
from calscipy.errors import RecordingError
from calscipy.io.labels import Labels, labels_text, read_labels
from calscipy.io.suite2p.folders import find_folder, require_inside

NAME = "calscipy.json"
MAX_BYTES = 2**30
_FUNCTIONAL = "suite2p_functional_channel"  # in the file, beside the labels


@dataclass(frozen=True)
class Export:
    """A movie that calscipy wrote for suite2p."""

    labels: Labels
    functional: int  # place of the channel that is in data.bin; settings may be run over it

    def name_of(self, dim: str, place: int) -> Any:
        """Return the name of a plane or channel, None if it has none."""
        named = self.labels.coords.get(dim)
        if named is None:
            return None
        names = np.atleast_1d(named.values)
        return names[place] if place < names.size else None

    @property
    def corner(self) -> tuple[int, int] | None:
        """The first recorded row and column that the movie held; None where it was binned."""
        y, x = self._first(model.Y), self._first(model.X)
        return None if y is None or x is None else (y, x)

    def _first(self, dim: str) -> int | None:
        coordinate = self.labels.coords.get(dim)
        size = None if coordinate is None else coordinate.attrs.get(model.PIXEL_SIZE_ATTR)
        if coordinate is None or not isinstance(size, int | float) or not size > 0:
            return 0
        places = coordinate.values / size
        if not np.isfinite(places).all():
            return None
        first = round(float(places[0])) if places.size else 0
        straight = np.allclose(places, first + np.arange(places.size), rtol=0, atol=0.1)
        return first if straight else None


def export_text(data: xr.DataArray, functional: int) -> str:
    """Write what `read_export` reads."""
    known = json.loads(labels_text(data))
    return json.dumps(known | {_FUNCTIONAL: functional}, allow_nan=False, separators=(",", ":"))


def exported_from(path: Path) -> Export | None:
    """Return what calscipy noted of the movie in a folder of suite2p, None if it was another.

    Raises
    ------
    RecordingError
        If it is no folder of suite2p, or the notes are damaged.
    """
    return read_export(find_folder(path).top)


def read_export(top: Path) -> Export | None:
    """Read the notes beside the planes, None if there are none.

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
    except (ValueError, OSError) as error:
        raise RecordingError(f"{file}: damaged ({error}). Copy it again.") from error
    labels = read_labels(text, file)
    functional = json.loads(text).get(_FUNCTIONAL, 0)
    numbers = [labels.coords[dim] for dim in (model.TIME, model.Y, model.X) if dim in labels.coords]
    fits = {model.FRAMES, model.Y, model.X} <= set(labels.dims) <= set(model.MOVIE_DIMS)
    fits &= labels.dtype.kind in "biuf"
    fits &= all(one.dtype.kind in "iuf" and one.ndim == 1 for one in numbers)
    channels = labels.sizes.get(model.CHANNEL, 1)
    if not fits or type(functional) is not int or not 0 <= functional < channels:
        raise RecordingError(
            f"{file}: damaged, it does not describe a movie. Copy it again, or take it away to "
            "open the folder without its labels."
        )
    return Export(labels, functional)


def coords_of(labels: Labels, dims: tuple[str, ...], **places: int) -> dict[str, xr.Variable]:
    """Return the coordinates of some dimensions, others at one place."""
    found = {}
    for name, coordinate in labels.coords.items():
        chosen = coordinate.isel({dim: at for dim, at in places.items() if dim in coordinate.dims})
        if set(chosen.dims) <= set(dims):
            found[name] = chosen
    return found
