"""The reference images beside a recording: listed when it is opened, read when asked for."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import tifffile
import xarray as xr

from calscipy import model
from calscipy.errors import RecordingError
from calscipy.io.chunks import MAX_PIXELS
from calscipy.io.prairieview.frames import quiet_tifffile

FOLDER = "References"
LISTED = 1000
_SUFFIXES = (".tif", ".tiff")


def list_references(folder: Path) -> list[str]:
    """Return the names of a recording's reference images, at most a thousand."""
    place = folder / FOLDER
    if not place.is_dir():
        return []
    names = sorted(p.name for p in place.iterdir() if p.suffix.lower() in _SUFFIXES)
    return names[:LISTED]


def read_reference(path: Path) -> xr.DataArray:
    """Read a reference image.

    Parameters
    ----------
    path : Path
        A file in ``References``, or a ``Source.tif`` of a line scan.

    Returns
    -------
    DataArray
        ``(y, x)`` counts; ``(y, x, colour)`` for the pictures of windows, in RGBA.

    Raises
    ------
    RecordingError
        If it cannot be read.
    """
    try:
        with quiet_tifffile(), tifffile.TiffFile(path, is_ome=False) as file:
            page = file.pages[0]
            if np.prod(page.shape, dtype=np.int64) > 4 * MAX_PIXELS:
                raise ValueError(f"it claims {page.shape} pixels")
            values = page.asarray()
    except Exception as error:  # tifffile raises many kinds on damaged files
        raise RecordingError(
            f"{path}: the image cannot be read ({error}). Copy it again."
        ) from error
    dims = (model.Y, model.X, "colour")[: values.ndim]
    units = "count" if values.dtype == np.uint16 else "1"
    return xr.DataArray(values, dims=dims, attrs={"units": units, "long_name": path.stem})
