"""Profiles of line scans: brightness of stretches of the line, as PrairieView computed it."""

from __future__ import annotations

import re

import numpy as np
import xarray as xr

from calscipy import model
from calscipy.errors import RecordingError
from calscipy.io.prairieview.frame_records import SAFE_NAME
from calscipy.io.prairieview.nodes import Node
from calscipy.io.prairieview.recording import Images, number
from calscipy.io.prairieview.scan_records import Scan, Sequence
from calscipy.io.prairieview.tables import read_table

_TIME = re.compile(r"Prof\s*(\d+)\s*Time\s*\(ms\)", re.IGNORECASE)
_VALUE = re.compile(r"Prof\s*(\d+)", re.IGNORECASE)

# Of one cycle: times in s and values by the number of the profile.
Profiles = dict[int, tuple[np.ndarray, np.ndarray]]


def line_profiles(scan: Scan, images: Images, times: np.ndarray) -> xr.DataArray | None:
    """Return the profiles that ``LineProfileData.csv`` files hold.

    Parameters
    ----------
    scan : Scan
        The recording.
    images : Images
        Which image is where.
    times : ndarray, shape (cycles, 1)
        When each line scan began, in s from the first image.

    Returns
    -------
    DataArray or None
        ``(cycle, profile_number, sample)``, NaN behind the last sample, with ``profile_time`` in
        s from the first image. None if the XML names no such file.

    Raises
    ------
    RecordingError
        If a file is missing or is not such a table.
    """
    found = [_read(scan, sequence) for sequence in images.sequences]
    if not any(found):
        return None
    numbers = sorted({n for profiles in found for n in profiles})
    length = max(values.size for profiles in found for _, values in profiles.values())
    table = np.full((2, len(found), len(numbers), length), np.nan)
    for at, profiles in enumerate(found):
        for n, (seconds, values) in profiles.items():
            row = numbers.index(n)
            table[0, at, row, : seconds.size] = seconds + times[at, 0]
            table[1, at, row, : values.size] = values
    dims = (model.CYCLE, model.PROFILE, model.SAMPLE)
    attrs = {"units": "s", "long_name": "time since the first image"}
    coords: dict[str, xr.Variable] = {
        model.PROFILE: xr.Variable(model.PROFILE, numbers),
        "profile_time": xr.Variable(dims, table[0], attrs),
    }
    coords |= _places(images, numbers)
    return xr.DataArray(
        table[1], coords, dims, attrs={"units": "count", "long_name": "profile of the line"}
    )


def _read(scan: Scan, sequence: Sequence) -> Profiles:
    found: Profiles = {}
    for element in sequence.elements("LineScanProfiles"):
        name = element.get("DataFile") or ""
        if not SAFE_NAME.match(name):
            raise RecordingError(
                f"{scan.path}: the XML names the profiles {name[:80]!r}; a bare file name in the "
                "recording's folder was expected."
            )
        names, values = read_table(scan.path.parent / name)
        times = {int(m[1]): at for at, n in enumerate(names) if (m := _TIME.fullmatch(n))}
        columns = {int(m[1]): at for at, n in enumerate(names) if (m := _VALUE.fullmatch(n))}
        if not columns or set(times) != set(columns):
            raise RecordingError(
                f"{scan.path.parent / name}: expected the columns 'Prof 1 Time(ms), Prof 1, ...', "
                f"found {names[:6]}."
            )
        for n, at in columns.items():
            seconds = values[:, times[n]] / 1e3
            last = np.flatnonzero(np.isfinite(seconds))
            size = int(last[-1]) + 1 if last.size else 0
            found[n] = seconds[:size], values[:size, at]
    return found


def _places(images: Images, numbers: list[int]) -> dict[str, xr.Variable]:
    """Return channel and stretch of every profile, from the first cycle that has it."""
    nodes: dict[int, Node] = {}
    for sequence in images.sequences:
        for element in sequence.elements("LineScanProfiles"):
            for at, node in enumerate(element.find("Profile")):
                n = number(node.get("number"))
                nodes.setdefault(int(n) if np.isfinite(n) else at + 1, node)
    titles = {
        "channel": "number of the channel",
        "x0": "first pixel of the stretch",
        "x1": "last pixel of the stretch",
    }
    coords = {}
    for name, title in titles.items():
        values = [number(nodes[n].get(name)) if n in nodes else np.nan for n in numbers]
        attrs = {"units": "1", "long_name": title}
        coords[f"profile_{name}"] = xr.Variable(model.PROFILE, values, attrs)
    return coords
