"""The images on which the lines of line scans were drawn."""

from __future__ import annotations

import numpy as np
import xarray as xr
from xarray.core import indexing

from calscipy import model
from calscipy.io.chunks import MAX_PIXELS
from calscipy.io.prairieview import recording
from calscipy.io.prairieview.frame_records import SAFE_NAME
from calscipy.io.prairieview.frames import FrameArray, complete_pages, probe_shape
from calscipy.io.prairieview.movie import pixel_coords
from calscipy.io.prairieview.recording import Images
from calscipy.io.prairieview.scan_records import Scan


def source_images(scan: Scan, images: Images, dims: tuple[str, ...]) -> xr.DataArray | None:
    """Return the source images of line scans, which stay on the disk.

    Parameters
    ----------
    scan : Scan
        The recording.
    images : Images
        Which image is where.
    dims : tuple of str
        Dimensions of the cycles and channels.

    Returns
    -------
    DataArray or None
        ``(cycle [, channel], y, x)`` in counts, with ``source_valid`` False and 0 in the image
        where there is none; PrairieView often keeps those of one cycle alone. None if there is
        none at all.
    """
    folder = scan.path.parent
    names = _names(images)
    present = [name for name in names.ravel() if name and (folder / name.decode()).is_file()]
    if not present:
        return None
    try:
        shape = probe_shape(folder / present[0].decode())
    except Exception:  # tifffile raises many kinds on damaged files
        return None
    if shape[0] * shape[1] > MAX_PIXELS:
        return None
    whole = {name: complete_pages(folder / name.decode(), [0], shape) == [None] for name in present}
    flags = np.array([whole.get(name, False) for name in names.ravel()]).reshape(names.shape)
    if not flags.any():
        return None
    if len(dims) == 1:
        names, flags = names[:, 0], flags[:, 0]
    token = recording.identity(scan, names, flags)
    array = FrameArray(folder, names, None, flags, shape, token)
    coords = pixel_coords(scan, shape)
    attrs = {"units": "count", "long_name": "image that the line was drawn on"}
    variable = xr.Variable((*dims, model.Y, model.X), indexing.LazilyIndexedArray(array), attrs)
    coords["source_valid"] = xr.Variable(dims, flags, {"long_name": "source image is present"})
    return xr.DataArray(variable, coords)


def _names(images: Images) -> np.ndarray:
    """Return the names of the source files, shape (cycles, channels); empty where none is named."""
    found = [
        [_source_of(row[0].files if row[0] else (), channel) for channel in images.channels]
        for row in images.frames
    ]
    return np.array(found, dtype=np.bytes_).reshape(len(found), len(images.channels))


def _source_of(files: tuple, channel: int) -> bytes:
    for file in files:
        if file.channel == channel and file.source and SAFE_NAME.match(file.source):
            return file.source.encode()
    return b""
