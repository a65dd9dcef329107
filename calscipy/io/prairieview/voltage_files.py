"""Voltage recordings without the recording that they belong to."""

from __future__ import annotations

from pathlib import Path

import xarray as xr

from calscipy import model
from calscipy.errors import RecordingError
from calscipy.io.prairieview.voltage import read_voltage


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
    (table,) = tables
    settings = table.with_suffix(".xml").name
    link = {"dataFile": table.name, "configurationFile": settings, "absoluteTime": "0"}
    found = read_voltage(table.parent, [(1, link)])
    if found is None:
        raise RecordingError(f"{table}: the voltage recording cannot be read. Copy it again.")
    return found[model.VOLTAGE]
