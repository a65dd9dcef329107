"""Small tables that PrairieView writes as CSV: untrusted input, read into float64."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from calscipy.errors import RecordingError

MAX_BYTES = 256 * 2**20


def read_table(path: Path) -> tuple[list[str], np.ndarray]:
    """Read a CSV file of numbers under one line of names.

    Parameters
    ----------
    path : Path
        The file.

    Returns
    -------
    names : list of str
        Of the columns, without the blanks around them.
    values : ndarray, shape (rows, columns)
        NaN where a cell is empty or no number.

    Raises
    ------
    RecordingError
        If it is missing, empty, larger than 256 MiB or no table.
    """
    if not path.is_file():
        raise RecordingError(f"{path}: the file is missing. Copy it from the microscope.")
    size = path.stat().st_size
    if not 0 < size <= MAX_BYTES:
        raise RecordingError(
            f"{path}: the table has {size} bytes; 1 to {MAX_BYTES} were expected. Copy it again."
        )
    try:
        table = pd.read_csv(path, skipinitialspace=True, encoding_errors="replace")
    except (ValueError, UnicodeError, pd.errors.ParserError) as error:
        raise RecordingError(f"{path}: not a readable table ({error}). Copy it again.") from error
    values = table.apply(pd.to_numeric, errors="coerce").to_numpy(np.float64)
    return [str(name).strip() for name in table.columns], values
