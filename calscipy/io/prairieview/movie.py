"""The movie of a recording with its labels."""

from __future__ import annotations

import numpy as np
import xarray as xr
from xarray.core import indexing

from calscipy import model
from calscipy.io.chunks import frames_per_chunk
from calscipy.io.prairieview import recording
from calscipy.io.prairieview.facts import scalar_attrs
from calscipy.io.prairieview.frames import FrameArray
from calscipy.io.prairieview.recording import Images
from calscipy.io.prairieview.scan_records import Entry, Scan
from calscipy.io.prairieview.validity import Check, find_valid


def movie_dataset(
    scan: Scan, images: Images, times: np.ndarray, check: Check, planned: int | None = None
) -> xr.Dataset:
    """Label the movie of a recording, which stays on the disk.

    Parameters
    ----------
    scan : Scan
        The recording.
    images : Images
        Which image is where.
    times : ndarray, shape (frames, plane)
        When each plane was acquired, in s from the first frame.
    check : {"sizes", "headers"}
        How closely the files are looked at.
    planned : int, optional
        Frames that were to be acquired.
    """
    folder = scan.path.parent
    shape = recording.frame_shape(scan, images, folder)
    valid = find_valid(scan, images, folder, shape, check)
    squeezed = tuple(axis for axis in (1, 2) if valid.shape[axis] == 1)
    names, pages, flags = (
        np.squeeze(table, axis=squeezed) for table in (images.names, images.pages, valid)
    )
    dims = tuple(
        dim
        for axis, dim in enumerate((model.FRAMES, model.CHANNEL, model.PLANE))
        if axis not in squeezed
    )
    token = recording.identity(scan, names, flags)
    array = FrameArray(folder, names, pages if pages.any() else None, flags, shape, token)
    movie = xr.Variable(
        (*dims, model.Y, model.X),
        indexing.LazilyIndexedArray(array),
        attrs={
            "units": "count",
            "long_name": "fluorescence",
            model.SOURCE_ATTR: folder.name or str(folder),
            **scalar_attrs(scan, images),
            **({} if planned is None else {"planned_frames": planned}),
        },
        encoding={"preferred_chunks": _preferred_chunks((*dims, model.Y, model.X), array.shape)},
    )
    coords = _frame_coords(scan, images, times) | pixel_coords(scan, shape)
    coords[model.VALID] = xr.Variable(dims, flags, {"long_name": "frame is present and whole"})
    if len(images.channel_names) == 1:
        coords[model.CHANNEL] = xr.Variable((), images.channel_names[0])
    else:
        coords[model.CHANNEL] = xr.Variable((model.CHANNEL,), list(images.channel_names))
    return xr.Dataset({model.MOVIE: movie}, coords)


def _preferred_chunks(dims: tuple[str, ...], shape: tuple[int, ...]) -> dict[str, int]:
    sizes = dict(zip(dims, shape, strict=True))
    chunks = dict.fromkeys(dims, 1) | {dim: sizes[dim] for dim in (model.Y, model.X)}
    per_chunk = frames_per_chunk(2 * sizes[model.Y] * sizes[model.X], sizes[model.FRAMES])
    return chunks | {model.FRAMES: min(sizes[model.FRAMES], per_chunk)}


def _frame_coords(scan: Scan, images: Images, times: np.ndarray) -> dict[str, xr.Variable]:
    cycles = np.array([sequence.cycle for sequence in images.sequences])
    volumes = images.planes > 1
    stage = recording.stage_positions(scan, images)
    coords = {
        model.TIME: xr.Variable(
            model.FRAMES,
            np.nanmin(times, axis=1),
            {"units": "s", "long_name": "time since the first frame"},
        ),
        model.CYCLE: xr.Variable(model.FRAMES, cycles, {"long_name": "PrairieView cycle"}),
        # A volume series has one cycle for every volume and is still one stretch of time, unless
        # the stage was moved between them.
        model.EPOCH: xr.Variable(
            model.FRAMES,
            _places(stage, cycles.size) if volumes else cycles,
            {"long_name": "stretch that filters and baselines do not cross"},
        ),
    }
    for name, places in stage.items():
        attrs = {"units": "um", "long_name": f"position of the stage, {name[-1].upper()}"}
        coords[name] = xr.Variable(model.FRAMES, places, attrs)
    if volumes:
        coords[model.PLANE] = xr.Variable(
            model.PLANE, np.arange(images.planes), {"long_name": "plane, in acquisition order"}
        )
        coords[model.PLANE_TIME] = xr.Variable(
            (model.FRAMES, model.PLANE),
            times,
            {"units": "s", "long_name": "time of the plane since the first frame"},
        )
    return coords | _z_coord(scan, images) | _power_coords(scan, images)


def _places(stage: dict[str, np.ndarray], frames: int) -> np.ndarray:
    """Count the stretches of frames between moves of the stage, from 1."""
    moved = np.zeros(frames, dtype=bool)
    for places in stage.values():
        moved[1:] |= places[1:] != places[:-1]
    return 1 + np.cumsum(moved)


def _z_coord(scan: Scan, images: Images) -> dict[str, xr.Variable]:
    found = recording.plane_positions(scan, images)
    if found is None:
        return {}
    z, device = found
    attrs = {"units": "um", "long_name": f"Z position ({device})"}
    return {model.Z: _smallest(z, attrs, constant=images.planes == 1)}


def _power_coords(scan: Scan, images: Images) -> dict[str, xr.Variable]:
    """Laser powers that change during the recording, one coordinate for each such laser."""
    coords: dict[str, xr.Variable] = {}
    if not recording.changes(images, "laserPower"):
        return coords
    powers = scan.state.get("laserPower")
    for index, entry in powers.items() if isinstance(powers, dict) else ():
        table = recording.resolve(scan, images, "laserPower", index)
        known = table[np.isfinite(table)]
        if known.size and np.ptp(known) > 0:
            name = entry.description if isinstance(entry, Entry) else None
            attrs = {"long_name": f"power of {name or index}, a.u. of the slider", "units": "1"}
            coords[f"laser_power_{index}"] = _smallest(table, attrs)
    return coords


def _smallest(table: np.ndarray, attrs: dict[str, str], *, constant: bool = True) -> xr.Variable:
    """Label a (frames, plane) table by the dimensions along which it varies."""
    planes = table.shape[1]
    known = np.isfinite(table)
    first = np.array(
        [table[known[:, p], p][0] if known[:, p].any() else np.nan for p in range(planes)]
    )
    if not (np.abs(table - first)[known] > 0).any():
        if planes == 1 and constant:
            return xr.Variable((), first[0], attrs)
        return xr.Variable(model.PLANE, first, attrs)
    if planes == 1:
        return xr.Variable(model.FRAMES, table[:, 0], attrs)
    return xr.Variable((model.FRAMES, model.PLANE), table, attrs)


def pixel_coords(scan: Scan, shape: tuple[int, int]) -> dict[str, xr.Variable]:
    """Return the y and x coordinates of the pixels of an image."""
    coords = {}
    for dim, axis, count in ((model.Y, "YAxis", shape[0]), (model.X, "XAxis", shape[1])):
        size = recording.pixel_size(scan, axis)
        coords[dim] = model.pixel_coordinate(dim, count, size if size > 0 else None)
    return coords
