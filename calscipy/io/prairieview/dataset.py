"""A recording as the session's tree: its movie and whatever else was written beside it."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator
from collections.abc import Sequence as Listing
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from calscipy import model
from calscipy.errors import CalscipyError, CalscipyWarning, DamagedRecordingWarning, warn
from calscipy.io.prairieview import recording
from calscipy.io.prairieview.acquisition_times import frame_times
from calscipy.io.prairieview.brightness import brightness_dataset
from calscipy.io.prairieview.environment import (
    Environment,
    find_environment,
    packed,
    read_environment,
)
from calscipy.io.prairieview.facts import state_attr
from calscipy.io.prairieview.kinds import choose, is_line_scan
from calscipy.io.prairieview.linescan import line_scan_dataset
from calscipy.io.prairieview.movie import movie_dataset
from calscipy.io.prairieview.recording import Images
from calscipy.io.prairieview.references import list_references
from calscipy.io.prairieview.scan import read_scan
from calscipy.io.prairieview.scan_records import Scan, Sequence
from calscipy.io.prairieview.side_xml import links_of
from calscipy.io.prairieview.stimulus import cycle_starts, first_image_times, read_stimuli
from calscipy.io.prairieview.validity import Check
from calscipy.io.prairieview.voltage import read_voltage
from calscipy.io.prairieview.voltage_output import read_voltage_outputs


def open_tree(
    xml: Path, *, cycles: Listing[int] | None = None, check: Check = "sizes"
) -> xr.DataTree:
    """Open the recording of a master XML: attributes at the root, lazy groups below.

    Parameters
    ----------
    xml : Path
        The master XML.
    cycles : sequence of int, optional
        Cycles to open; all of them by default.
    check : {"sizes", "headers"}
        Whether to trust the sizes of files or to look into every one.

    Returns
    -------
    DataTree
        The groups ``movie`` and ``linescan`` as far as there are such images, and what lies beside
        them. A recording without images has the other groups alone.
    """
    with _collector_paused():
        scan = read_scan(xml)
        groups = _groups(scan, choose(scan, cycles), check)
    return xr.DataTree.from_dict(groups)


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


def _groups(scan: Scan, chosen: list[Sequence], check: Check) -> dict[str, xr.Dataset]:
    listed = [sequence for sequence in chosen if sequence.frames]
    lines = [sequence for sequence in listed if is_line_scan(sequence)]
    others = [sequence for sequence in listed if not is_line_scan(sequence)]
    images = {}
    if others:
        images[model.MOVIE] = recording.arrange(scan, others)
    if lines:
        images[model.LINESCAN] = recording.arrange_single(lines)
    clocks = {name: frame_times(scan, table) for name, table in images.items()}
    zeros = _zeros(scan, clocks)
    times = {name: clocks[name][0] - zeros[name] for name in images}
    environment = _environment(scan)
    zero = _scan_zero(clocks, zeros)
    groups = {"/": xr.Dataset(attrs=_root_attrs(scan, chosen, environment, zero))}
    for name, table in images.items():
        types = {sequence.type for sequence in table.sequences}
        planned = None if environment is None else environment.planned(types)
        if name == model.MOVIE:
            groups[name] = movie_dataset(scan, table, times[name], check, planned)
        else:
            skipped = None if environment is None else environment.lines_to_skip
            groups[name] = line_scan_dataset(scan, table, times[name], check, planned, skipped)
    return groups | _side_groups(scan, chosen, images, times, zero)


def _zeros(scan: Scan, clocks: dict[str, tuple[np.ndarray, str]]) -> dict[str, float]:
    """Return the time of the first image on the clock of each group, one for all if it is one."""
    starts = {name: float(np.nanmin(times)) for name, (times, _) in clocks.items()}
    if len({clock for _, clock in clocks.values()}) > 1:
        warn(
            f"{scan.path}: the movie and the line scans share no clock; the times of each count "
            "from its own first image.",
            CalscipyWarning,
        )
        return starts
    return dict.fromkeys(starts, min(starts.values())) if starts else {}


def _scan_zero(clocks: dict[str, tuple[np.ndarray, str]], zeros: dict[str, float]) -> float:
    """Return ``absoluteTime`` of the first image, by which side files are dated.

    Zero, the start of the scan, where there is no image with a usable one.
    """
    absolute = [zeros[name] for name, (_, clock) in clocks.items() if clock == "absoluteTime"]
    return absolute[0] if absolute else 0.0


def _side_groups(
    scan: Scan,
    chosen: list[Sequence],
    images: dict[str, Images],
    times: dict[str, np.ndarray],
    zero: float,
) -> dict[str, xr.Dataset]:
    """Open what lies beside the images; a damaged file is said and leaves its group out."""
    folder = scan.path.parent
    voltage = links_of(chosen, "VoltageRecording")
    stimuli = links_of(chosen, "MarkPoints")

    def open_stimuli() -> xr.Dataset | None:
        first: dict[int, float] = {}
        for name, table in images.items():
            first |= first_image_times(table, times[name])
        starts = cycle_starts(chosen, first)
        return read_stimuli(folder, stimuli, starts, image_shape=recording.field_shape(scan))

    openers: dict[str, Callable[[], xr.Dataset | None]] = {
        model.BRIGHTNESS: lambda: brightness_dataset(scan, chosen, zero)
    }
    if voltage:
        openers[model.VOLTAGE] = lambda: read_voltage(folder, voltage, zero=zero)
    if stimuli:
        openers[model.STIMULUS] = open_stimuli
    groups = {}
    for name, open_group in openers.items():
        try:
            found = open_group()
        except (CalscipyError, OSError) as error:
            warn(
                f"{scan.path}: the group {name!r} is left out: {error}",
                DamagedRecordingWarning,
            )
            continue
        if found is not None:
            groups[name] = found
    return groups


def _environment(scan: Scan) -> Environment | None:
    path = find_environment(scan.path)
    if path is None:
        return None
    try:
        return read_environment(path)
    except (CalscipyError, OSError) as error:
        warn(f"{error} The recording is opened without its settings.", DamagedRecordingWarning)
        return None


def _root_attrs(
    scan: Scan, chosen: list[Sequence], environment: Environment | None, zero: float
) -> dict[str, Any]:
    state = state_attr(scan)
    outputs = read_voltage_outputs(scan.path.parent, links_of(chosen, "VoltageOutput"), zero=zero)
    if outputs:
        state["voltage_outputs"] = outputs
    if environment is not None:
        state["environment"] = environment.facts()
        kept = packed(environment.path)
        state |= {"environment_file": kept} if kept else {}
    references = list_references(scan.path.parent)
    if references:
        state["references"] = references
    return {
        model.SCHEMA_ATTR: model.SCHEMA_VERSION,
        model.SOURCE_ATTR: scan.path.parent.name or str(scan.path),
        model.STATE_ATTR: state,
    }
