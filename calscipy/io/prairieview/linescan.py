"""Line scans: lines scanned over and over, with the interval between them and their place."""

from __future__ import annotations

import os
from typing import Any

import numpy as np
import xarray as xr
from xarray.core import indexing

from calscipy import model
from calscipy.errors import CalscipyWarning, DamagedRecordingWarning, RecordingError, warn
from calscipy.io.prairieview import recording
from calscipy.io.prairieview.facts import scalar_attrs
from calscipy.io.prairieview.frames import FrameArray
from calscipy.io.prairieview.line_geometry import LinePath, line_path
from calscipy.io.prairieview.line_profiles import line_profiles
from calscipy.io.prairieview.line_sources import source_images
from calscipy.io.prairieview.lsd import Sections, number_of, read_lsd
from calscipy.io.prairieview.recording import Images
from calscipy.io.prairieview.scan_records import Scan
from calscipy.io.prairieview.validity import Check, find_valid

# Words of the data model that only line scans have.

_SAME = 0.01  # share by which two intervals that mean the same may differ


def line_scan_dataset(
    scan: Scan,
    images: Images,
    times: np.ndarray,
    check: Check,
    planned: int | None = None,
    lines_to_skip: int | None = None,
) -> xr.Dataset:
    """Label the line scans of a recording, which stay on the disk.

    Parameters
    ----------
    scan : Scan
        The recording.
    images : Images
        Which image is where: one for each cycle and channel.
    times : ndarray, shape (cycles, 1)
        When each line scan began, in s from the first image.
    check : {"sizes", "headers"}
        How closely the files are looked at.
    planned : int, optional
        Cycles that were to be acquired.
    lines_to_skip : int, optional
        Lines left out after each one that is kept; only needed where the XML does not give the
        interval.

    Returns
    -------
    Dataset
        ``linescan`` ``(cycle [, channel], line, pixel)`` in counts with ``time`` ``(cycle, line)``
        and ``line_interval`` ``(cycle)`` in s, ``valid``, and the place of every pixel on the
        source image (``line_y``, ``line_x``) and along the line (``distance``, in um). Where there
        are such files, ``source`` ``(cycle [, channel], y, x)`` and ``profile``.
    """
    folder = scan.path.parent
    lines, pixels = recording.frame_shape(scan, images, folder)
    valid = find_valid(scan, images, folder, (lines, pixels), check)
    one = images.names.shape[1] == 1
    dims = (model.CYCLE,) if one else (model.CYCLE, model.CHANNEL)
    shape = valid.shape[:1] if one else valid.shape[:2]
    names, pages, flags = (table.reshape(shape) for table in (images.names, images.pages, valid))
    array = FrameArray(
        folder,
        names,
        pages if pages.any() else None,
        flags,
        (lines, pixels),
        recording.identity(scan, names, flags),
    )
    files = _lsd_files(scan)
    interval, origin = _intervals(scan, images, files, lines, lines_to_skip)
    attrs: dict[str, Any] = {
        "units": "count",
        "long_name": "fluorescence of the line",
        model.SOURCE_ATTR: folder.name or str(folder),
        "line_interval_from": origin,
        "line_period_of_xml": _xml_period(scan, images),
        **scalar_attrs(scan, images),
    }
    attrs |= {} if planned is None else {"planned_cycles": planned}
    attrs |= {"lsd": files} if files else {}
    whole = {dim: 1 for dim in dims} | {model.LINE: lines, model.PIXEL: pixels}
    data = xr.Variable(
        (*dims, model.LINE, model.PIXEL),
        indexing.LazilyIndexedArray(array),
        attrs | _definition_attrs(images),
        encoding={"preferred_chunks": whole},
    )
    coords = _coords(scan, images, times, interval, (lines, pixels))
    coords[model.VALID] = xr.Variable(dims, flags, {"long_name": "image is present and whole"})
    coords[model.CHANNEL] = (
        xr.Variable((), images.channel_names[0])
        if one
        else xr.Variable(model.CHANNEL, list(images.channel_names))
    )
    found = xr.Dataset({model.LINESCAN: data}, coords)
    return found.assign(_extras(scan, images, times, dims))


def _extras(
    scan: Scan, images: Images, times: np.ndarray, dims: tuple[str, ...]
) -> dict[str, xr.DataArray]:
    """Return the source images and profiles, as far as there are such files."""
    found = {}
    source = source_images(scan, images, dims)
    if source is not None:
        found["source"] = source
    try:
        profile = line_profiles(scan, images, times)
    except (RecordingError, OSError) as error:
        warn(f"{error} The line scan is opened without its profiles.", DamagedRecordingWarning)
    else:
        if profile is not None:
            found["profile"] = profile
    return found


def _coords(
    scan: Scan,
    images: Images,
    times: np.ndarray,
    interval: np.ndarray,
    shape: tuple[int, int],
) -> dict[str, xr.Variable]:
    lines, pixels = shape
    time = times[:, :1] + interval[:, None] * np.arange(lines)
    coords = {
        model.CYCLE: xr.Variable(
            model.CYCLE, [s.cycle for s in images.sequences], {"long_name": "PrairieView cycle"}
        ),
        model.TIME: xr.Variable(
            (model.CYCLE, model.LINE),
            time,
            {"units": "s", "long_name": "time since the first image"},
        ),
        model.LINE_INTERVAL: xr.Variable(
            model.CYCLE, interval, {"units": "s", "long_name": "time from line to line"}
        ),
    }
    paths = [
        line_path(next(iter(s.elements("PVLinescanDefinition")), None), pixels)
        for s in images.sequences
    ]
    return coords | _path_coords(scan, paths)


def _path_coords(scan: Scan, paths: list[LinePath]) -> dict[str, xr.Variable]:
    sizes = [recording.pixel_size(scan, axis) for axis in ("YAxis", "XAxis")]
    tables = {
        model.LINE_Y: (np.array([p.y for p in paths]), sizes[0], "row on the source image"),
        model.LINE_X: (np.array([p.x for p in paths]), sizes[1], "column on the source image"),
        model.DISTANCE: (np.array([p.distance_um for p in paths]), 1.0, "distance along the line"),
    }
    coords = {}
    for name, (table, size, title) in tables.items():
        if not np.isfinite(table).any():
            continue
        attrs: dict[str, Any] = {"units": "um", "long_name": title}
        if name != model.DISTANCE:
            known = size > 0
            table, attrs["units"] = (table * size, "um") if known else (table, "1")
            attrs[model.PIXEL_SIZE_ATTR] = size if known else 1.0
        same = all(np.array_equal(row, table[0], equal_nan=True) for row in table)
        dims = model.PIXEL if same else (model.CYCLE, model.PIXEL)
        coords[name] = xr.Variable(dims, table[0] if same else table, attrs)
    return coords


def _definition_attrs(images: Images) -> dict[str, Any]:
    """Return how the lines of the first cycle were drawn."""
    definition = next(iter(images.sequences[0].elements("PVLinescanDefinition")), None)
    if definition is None:
        return {}
    attrs: dict[str, Any] = {"line_mode": definition.get("mode", "")}
    length = sum(recording.number(line.get("lineLength")) for line in definition.find("Line"))
    return attrs | ({"line_length_um": float(length)} if length > 0 else {})


def _intervals(
    scan: Scan, images: Images, files: dict[str, Sections], lines: int, skipped: int | None
) -> tuple[np.ndarray, str]:
    """Return the time from line to line in s, shape (cycles,), and where it comes from.

    ``scanLinePeriod`` of the frame's own state counts the lines that were left out;
    ``framePeriod``, the period of all lines, does not, nor does ``scanlinePeriod`` of version 4,
    where the ``.lsd`` file says it.
    """
    period, frame = (
        np.array(
            [recording.state_number(scan, images, at, key) for at in range(len(images.frames))]
        )
        for key in ("scanLinePeriod", "framePeriod")
    )
    between = {number_of(f, "Line Info", "Line1 Inter-Line Time") / 1e3 for f in files.values()}
    between = {value for value in between if value > 0}
    if len(between) == 1:
        measured = between.pop()
        ratio = measured / period[0]
        if abs(ratio - 1) > _SAME:
            warn(
                f"{scan.path}: the .lsd file gives {measured:.6g} s from line to line, "
                f"{ratio:.3g} times the scanlinePeriod of the XML ({period[0]:.6g} s), which does "
                "not count lines that are left out. The former is taken.",
                CalscipyWarning,
            )
        return np.full(period.size, measured), ".lsd"
    if (period > 0).all():
        return period, "scanLinePeriod"
    if (frame > 0).all() and skipped is not None:
        return frame / lines * (skipped + 1), "framePeriod and linesToSkip"
    warn(
        f"{scan.path}: the XML does not say how long a line takes; the times of the lines are NaN.",
        CalscipyWarning,
    )
    return np.full(period.size, np.nan), "unknown"


def _xml_period(scan: Scan, images: Images) -> float | None:
    """Return the first frame's ``scanLinePeriod`` in s, whether or not the times are made of it."""
    period = recording.state_number(scan, images, 0, "scanLinePeriod")
    return float(period) if period > 0 else None


def _lsd_files(scan: Scan) -> dict[str, Sections]:
    """Read the ``.lsd`` files of the recording by name; damaged ones are said and left out."""
    folder, found = scan.path.parent, {}
    for name in sorted(os.listdir(folder)):
        if not (name.startswith(scan.path.stem) and name.lower().endswith(".lsd")):
            continue
        try:
            found[name] = read_lsd(folder / name)
        except (RecordingError, OSError) as error:
            warn(f"{error} The line scan is opened without it.", DamagedRecordingWarning)
    return found


def chunk_line_scans(dataset: xr.Dataset, chunks: Any) -> xr.Dataset:
    """Make the images dask arrays, one chunk for each cycle and channel; None leaves them."""
    if chunks is None:
        return dataset
    parts = {}
    for name in (model.LINESCAN, "source"):
        if name in dataset:
            single = {dim: 1 for dim in (model.CYCLE, model.CHANNEL) if dim in dataset[name].dims}
            parts[name] = dataset[name].variable.chunk(single)
    return dataset.assign(parts)
