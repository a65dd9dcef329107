"""Voltage recordings without the recording that they belong to."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import xarray as xr
from dask.system import CPU_COUNT

from calscipy import model
from calscipy.errors import RecordingError
from calscipy.io.prairieview.voltage import SIGNAL, UNITS, read_voltage
from calscipy.io.prairieview.voltage_rows import Table, parse_rows, pieces
from calscipy.io.prairieview.voltage_settings import read_settings
from calscipy.io.prairieview.voltage_table import read_table

_RATE_TOLERANCE = 0.01


def read_voltage_files(path: Path) -> xr.DataArray:
    """Read the table of a voltage recording, or the only one in a folder, on its own clock.

    Parameters
    ----------
    path : Path
        The CSV file, with its settings (XML) beside it, or the folder.

    Returns
    -------
    DataArray
        ``(signal, time)`` in physical units; ``time`` in s after the recording started.

    Raises
    ------
    RecordingError
        If there is none, or several: only the master XML of a recording tells when each started.

    Warns
    -----
    DamagedRecordingWarning
        As `read_voltage`.

    Examples
    --------
    >>> import tempfile
    >>> from calscipy.testing._voltage import write_voltage
    >>> written = write_voltage(tempfile.mkdtemp(), {"LFP": [0.0, 0.5]}, rate=1000)
    >>> read_voltage_files(written.table).time.values.tolist()
    [0.0, 0.001]
    """
    tables = sorted(path.glob("*_VoltageRecording_*.csv")) if path.is_dir() else [path]
    if len(tables) != 1:
        raise RecordingError(
            f"{path}: one voltage recording was expected, found {len(tables)}. Give the path of "
            "its CSV file, or the folder with the master XML of the recording."
        )
    (file,) = tables
    settings = file.with_suffix(".xml")
    plain = _read_plain(file, settings) if settings.is_file() else None
    if plain is not None:
        return plain
    link = {"dataFile": file.name, "configurationFile": settings.name, "absoluteTime": "0"}
    found = read_voltage(file.parent, [(1, link)])
    if found is None:
        raise RecordingError(f"{file}: the voltage recording cannot be read. Copy it again.")
    return found[model.VOLTAGE]


def _read_plain(file: Path, settings: Path) -> xr.DataArray | None:
    """Read a table that is as its settings say in one pass; None if anything is to be said."""
    try:
        known = read_settings(settings)
        table = read_table(file, expected=known.samples)
    except (RecordingError, OSError):  # `read_voltage` says what is wrong
        return None
    signals = [signal for signal in known.signals if signal.enabled]
    off = abs(table.step() * known.rate / 1000 - 1)
    if known.lost_data or table.dropped or not off <= _RATE_TOLERANCE:
        return None
    if table.names != tuple(signal.name for signal in signals) or len(signals) != table.signals:
        return None
    with ThreadPoolExecutor(CPU_COUNT) as pool:  # pandas reads numbers without holding the GIL
        parse = functools.partial(parse_rows, table, row=-1)
        rows = np.concatenate(list(pool.map(parse, _texts(table))))
    times = rows[:, 0] / 1000.0
    if len(rows) != table.rows or not (np.diff(times) >= 0).all():
        return None
    coords = {
        model.TIME: (model.TIME, times, {"units": "s"}),
        SIGNAL: (SIGNAL, [signal.name for signal in signals]),
        UNITS: (SIGNAL, [signal.units for signal in signals]),
    }
    scales = [signal.scale for signal in signals]
    values = rows[:, 1:] if set(scales) == {1.0} else rows[:, 1:] * scales
    return xr.DataArray(values.T, coords, (SIGNAL, model.TIME), name=model.VOLTAGE)


def _texts(table: Table) -> Iterator[bytes]:
    """Give the lines of a table some MiB at a time."""
    rest = b""
    with open(table.path, "rb") as stream:
        for piece in pieces(stream, table.start, table.stop):
            text = rest + piece
            cut = text.rfind(b"\n") + 1
            rest = text[cut:]
            if cut:
                yield text[:cut]
    if rest:
        yield rest
