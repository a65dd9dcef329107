"""The tables of a recording with labels: the dataset of the movie and the session's tree."""

from __future__ import annotations

import gc
import hashlib
from collections.abc import Iterator
from collections.abc import Sequence as Listing
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from xarray.core import indexing

from calscipy import model
from calscipy.errors import RecordingError
from calscipy.io.chunks import frames_per_chunk
from calscipy.io.prairieview import recording
from calscipy.io.prairieview.frames import FrameArray
from calscipy.io.prairieview.recording import Images
from calscipy.io.prairieview.scan import Entry, Scan, State, read_scan
from calscipy.io.prairieview.validity import Check, find_valid

OLDEST_VERSION = (5, 2)

_SCALARS = {
    "framePeriod": ("frame_period", float),
    "opticalZoom": ("optical_zoom", float),
    "objectiveLens": ("objective", str),
    "objectiveLensMag": ("objective_magnification", float),
    "objectiveLensNA": ("objective_na", float),
    "activeMode": ("scan_mode", str),
    "dwellTime": ("dwell_time_us", float),
    "scanLinePeriod": ("scan_line_period", float),
    "bitDepth": ("bit_depth", int),
    "rastersPerFrame": ("rasters_per_frame", int),
    "linesPerFrame": ("lines_per_frame", int),
    "useInterlacedScanPattern": ("interlaced_scan", bool),
}
_STEADY = 0.01  # share by which a value may change from frame to frame
_INDEXED = {
    "laserPower": "laser_power",
    "twophotonLaserPower": "laser_power_mw",
    "laserWavelength": "laser_wavelength_nm",
    "pmtGain": "pmt_gain",
}


def open_tree(
    xml: Path, *, cycles: Listing[int] | None = None, check: Check = "sizes"
) -> xr.DataTree:
    """Open the recording of a master XML: attributes at the root, the lazy movie below."""
    with _collector_paused():
        scan = read_scan(xml)
        movie = _movie(scan, cycles, check)
    attrs = {
        model.SCHEMA_ATTR: model.SCHEMA_VERSION,
        model.SOURCE_ATTR: xml.parent.name or str(xml),
        model.STATE_ATTR: _state_attr(scan),
    }
    return xr.DataTree.from_dict({"/": xr.Dataset(attrs=attrs), model.MOVIE: movie})


@contextmanager
def _collector_paused() -> Iterator[None]:
    """Pause the garbage collector: 100 000 frames make it run often and find nothing.

    It took a quarter of the time of opening such a recording.
    """
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


def _movie(scan: Scan, cycles: Listing[int] | None, check: Check) -> xr.Dataset:
    _require_version(scan)
    folder = scan.path.parent
    images = recording.arrange(scan, cycles)
    shape = recording.frame_shape(scan, images, folder)
    valid = find_valid(scan, images, folder, shape, check)
    times = recording.frame_times(scan, images)

    squeezed = tuple(axis for axis in (1, 2) if valid.shape[axis] == 1)
    names, pages, flags = (
        np.squeeze(table, axis=squeezed) for table in (images.names, images.pages, valid)
    )
    dims = tuple(
        dim
        for axis, dim in enumerate((model.FRAMES, model.CHANNEL, model.PLANE))
        if axis not in squeezed
    )
    array = FrameArray(
        folder, names, pages if pages.any() else None, flags, shape, _identity(scan, names, flags)
    )
    movie = xr.Variable(
        (*dims, model.Y, model.X),
        indexing.LazilyIndexedArray(array),
        attrs={
            "units": "count",
            "long_name": "fluorescence",
            model.SOURCE_ATTR: folder.name or str(folder),
            **_scalar_attrs(scan, images),
        },
        encoding={"preferred_chunks": _preferred_chunks((*dims, model.Y, model.X), array.shape)},
    )
    coords = _frame_coords(scan, images, times) | _pixel_coords(scan, shape)
    coords[model.VALID] = xr.Variable(dims, flags, {"long_name": "frame is present and whole"})
    if len(images.channel_names) == 1:
        coords[model.CHANNEL] = xr.Variable((), images.channel_names[0])
    else:
        coords[model.CHANNEL] = xr.Variable((model.CHANNEL,), list(images.channel_names))
    return xr.Dataset({model.MOVIE: movie}, coords)


def _require_version(scan: Scan) -> None:
    numbers = tuple(int(part) for part in scan.version.split(".")[:2] if part.isdecimal())
    if numbers and numbers < OLDEST_VERSION:
        raise RecordingError(
            f"{scan.path}: written by PrairieView {scan.version}; versions from 5.2 on are "
            "read. Open the TIFF files alone, giving their frame rate: "
            "ImagingSession.open(folder_of_tiffs, frame_rate=...)."
        )


def _identity(scan: Scan, names: np.ndarray, valid: np.ndarray) -> str:
    """Name the images for dask: the XML as it is now, which of its files, which are masked."""
    stat = scan.path.stat()
    text = f"{scan.path.resolve()}|{stat.st_size}|{stat.st_mtime_ns}|{valid.shape}"
    identity = hashlib.sha256(text.encode())
    identity.update(names.tobytes())
    identity.update(np.packbits(valid).tobytes())
    return identity.hexdigest()[:32]


def _preferred_chunks(dims: tuple[str, ...], shape: tuple[int, ...]) -> dict[str, int]:
    sizes = dict(zip(dims, shape, strict=True))
    chunks = dict.fromkeys(dims, 1) | {dim: sizes[dim] for dim in (model.Y, model.X)}
    per_chunk = frames_per_chunk(2 * sizes[model.Y] * sizes[model.X], sizes[model.FRAMES])
    return chunks | {model.FRAMES: min(sizes[model.FRAMES], per_chunk)}


def _frame_coords(scan: Scan, images: Images, times: np.ndarray) -> dict[str, xr.Variable]:
    cycles = np.array([sequence.cycle for sequence in images.sequences])
    volumes = images.planes > 1
    coords = {
        model.TIME: xr.Variable(
            model.FRAMES,
            np.nanmin(times, axis=1),
            {"units": "s", "long_name": "time since the first frame"},
        ),
        model.CYCLE: xr.Variable(model.FRAMES, cycles, {"long_name": "PrairieView cycle"}),
        # A volume series has one cycle for every volume and is still one stretch of time.
        model.EPOCH: xr.Variable(
            model.FRAMES,
            np.ones_like(cycles) if volumes else cycles,
            {"long_name": "stretch that filters and baselines do not cross"},
        ),
    }
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


def _pixel_coords(scan: Scan, shape: tuple[int, int]) -> dict[str, xr.Variable]:
    sizes = scan.state.get("micronsPerPixel")
    coords = {}
    for dim, axis, count in ((model.Y, "YAxis", shape[0]), (model.X, "XAxis", shape[1])):
        entry = sizes.get(axis) if isinstance(sizes, dict) else None
        size = recording.number(entry.value) if isinstance(entry, Entry) else float("nan")
        if dim == model.Y and any(sequence.type == "Linescan" for sequence in scan.sequences):
            size = float("nan")  # the lines of a line scan follow each other in time, not space
        coords[dim] = model.pixel_coordinate(dim, count, size if size > 0 else None)
    return coords


def _scalar_attrs(scan: Scan, images: Images) -> dict[str, Any]:
    attrs: dict[str, Any] = {"prairieview_version": scan.version}
    attrs["sequence_type"] = ", ".join(sorted({sequence.type for sequence in images.sequences}))
    started = scan.started
    attrs["date"] = started.isoformat() if started else scan.date
    if scan.notes:
        attrs["notes"] = scan.notes
    for key, (name, kind) in _SCALARS.items():
        value = _shared(recording.scalars(scan, images, key), kind)
        if value is not None:
            attrs[name] = value
    for key, name in _INDEXED.items():
        entries = scan.state.get(key)
        if isinstance(entries, dict) and all(isinstance(e, Entry) for e in entries.values()):
            values = [_typed(entry.value, float) for entry in entries.values()]
            attrs[name] = values[0] if len(values) == 1 else values
            names = [entry.description or index for index, entry in entries.items()]
            attrs[f"{name}_names"] = names[0] if len(names) == 1 else names
    return attrs


def _shared(texts: set[str | None], kind: type) -> Any:
    """Return the one value of all images; None if it changes, is unknown or not there.

    Periods are measured anew for every frame by some versions: their median counts.
    """
    values = {None if text is None else _typed(text, kind) for text in texts}
    if len(values) == 1:
        return values.pop()
    if kind is not float or None in values:
        return None
    numbers = np.array(list(values))
    steady = np.ptp(numbers) <= _STEADY * np.abs(numbers).min()
    return float(np.median(numbers)) if steady else None


def _typed(text: str, kind: type) -> Any:
    if kind is bool:
        return {"True": True, "False": False}.get(text)
    try:
        return kind(text)
    except ValueError:
        return None


def _state_attr(scan: Scan) -> dict[str, Any]:
    """Return the complete state as nested plain attributes, values as written."""
    return {
        "version": scan.version,
        "date": scan.date,
        "notes": scan.notes,
        "systems": dict(scan.systems),
        "sequence_types": sorted({sequence.type for sequence in scan.sequences}),
        "xml": scan.path.name,
        "xml_damage": scan.damage or "",
        "state": _plain(scan.state),
    }


def _plain(value: State | Entry) -> dict[str, Any]:
    if isinstance(value, Entry):
        entry = {"value": value.value}
        return entry if value.description is None else entry | {"description": value.description}
    return {key: _plain(item) for key, item in value.items()}
