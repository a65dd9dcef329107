"""What people read of the microscope's state, and the complete state, as attributes."""

from __future__ import annotations

from itertools import islice
from typing import Any

import numpy as np

from calscipy.io.prairieview import recording
from calscipy.io.prairieview.frame_records import Entry, State
from calscipy.io.prairieview.nodes import Node, collapsed
from calscipy.io.prairieview.recording import Images
from calscipy.io.prairieview.scan_records import Scan

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

# Read into groups of their own point by point; kept here without the points.
_POINTS = {"Freehand", "PVFreehand"}


def scalar_attrs(scan: Scan, images: Images) -> dict[str, Any]:
    """Return what people read of the state: scalars and short lists."""
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
            values = [recording.number(entry.value) for entry in entries.values()]
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


def state_attr(scan: Scan) -> dict[str, Any]:
    """Return the complete state as nested plain attributes, values as written."""
    nodes = [(0, node) for node in scan.nodes]
    nodes += [(s.cycle, _without_points(node)) for s in scan.sequences for node in s.nodes]
    return {
        "version": scan.version,
        "date": scan.date,
        "notes": scan.notes,
        "systems": dict(scan.systems),
        "sequence_types": sorted({sequence.type for sequence in scan.sequences}),
        "xml": scan.path.name,
        "xml_damage": scan.damage or "",
        "state": _plain(scan.state),
        "files": {channel: dict(rest) for channel, rest in scan.channels.items()},
        "elements": collapsed([*nodes, *scan.unknown]),
        "flagged_frames": _flagged(scan),
    }


def _without_points(node: Node) -> Node:
    if node.tag != "PVLinescanDefinition":
        return node
    return node._replace(children=tuple(c for c in node.children if c.tag not in _POINTS))


def _flagged(scan: Scan) -> list[dict[str, Any]]:
    """Frames that the microscope marked, the first hundred: what its marks mean is not known."""
    unmarked = (None, "0", "True")
    marked = (
        {"cycle": sequence.cycle, "frame": frame.number, "mark": frame.last_good_frame}
        for sequence in scan.sequences
        for frame in sequence.frames
        if frame.last_good_frame not in unmarked
    )
    return list(islice(marked, 100))


def _plain(value: State | Entry) -> dict[str, Any]:
    if isinstance(value, Entry):
        entry = {"value": value.value}
        return entry if value.description is None else entry | {"description": value.description}
    return {key: _plain(item) for key, item in value.items()}
