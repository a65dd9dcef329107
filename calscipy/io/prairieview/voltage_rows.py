"""Rows of the table of a voltage recording, read from its CSV file where they are wanted.

The first column is the time in ms, the others are the signals that were recorded. Where the rows
of a file lie is found when they are first read, once in each process.
"""

from __future__ import annotations

import functools
import io
import os
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any, BinaryIO

import numpy as np

from calscipy.errors import RecordingError
from calscipy.kernels.compiled import in_use
from calscipy.kernels.decimals import parse_decimals

INDEX_ROWS = 2**14  # rows from one known place in a file to the next
PIECE_ROWS = 2**17  # rows parsed at a time
LINE_BYTES = 2**16  # no line is longer
_PASS_BYTES = 2**20
_FIELD_BYTES = 64  # no number is longer
_INFINITY = "∞".encode()
_LARGE_BYTES = 2**26  # of a file; smaller ones are parsed in the time that importing numba takes


@dataclass(frozen=True)
class Table:
    """Where the rows of a CSV file lie and when they were taken.

    Attributes
    ----------
    path : str
        The file.
    size, modified : int
        Bytes and time of change, by which a file that was replaced is noticed.
    names : tuple of str
        What the header calls the signals; as many as it happens to name.
    signals : int
        Columns beside the time.
    start, stop : int
        Bytes ``[start, stop)`` hold the rows.
    rows : int
        How many there are.
    grid : (float, float) or None
        Time of the first row and the step in ms, where rows are known by these alone.
    times : ndarray, shape (rows,), or None
        Times in ms as recorded, where there is no grid.
    dropped : bool
        Whether a last line that was cut off is left out.
    """

    path: str
    size: int
    modified: int
    names: tuple[str, ...]
    signals: int
    start: int
    stop: int
    rows: int = 0
    grid: tuple[float, float] | None = None
    times: np.ndarray | None = field(default=None, repr=False)
    dropped: bool = False

    def milliseconds(self) -> np.ndarray:
        """Return the time of every row in ms, shape ``(rows,)``."""
        if self.times is not None:
            return self.times
        first, step = self.grid or (0.0, 0.0)
        return first + step * np.arange(self.rows)

    def span(self) -> tuple[float, float]:
        """Return the times of the first and of the last row in ms."""
        if self.times is not None:
            return float(self.times[0]), float(self.times[-1])
        first, step = self.grid or (0.0, 0.0)
        return first, first + step * (self.rows - 1)

    def step(self) -> float:
        """Return the usual time from row to row in ms; NaN if there is one row."""
        if self.grid is not None:
            return self.grid[1]
        return float(np.median(np.diff(self.milliseconds()))) if self.rows > 1 else float("nan")

    def bare(self) -> Table:
        """Return what reading needs, which is little to send to other processes."""
        return replace(self, times=None)


def read_rows(table: Table, first: int, last: int) -> np.ndarray:
    """Read rows ``[first, last)`` with their times.

    Returns
    -------
    ndarray, shape (rows, columns)
        The time in ms first.

    Raises
    ------
    RecordingError
        If the file is no longer the one that was opened, or is damaged there.
    """
    begin, end = first // INDEX_ROWS, -(-last // INDEX_ROWS)
    with open(table.path, "rb") as stream:
        status = os.fstat(stream.fileno())
        if (status.st_size, status.st_mtime_ns) != (table.size, table.modified):
            raise _changed(table)
        places = _row_places(table)
        stop = int(places[end]) if end < len(places) else table.stop
        stream.seek(int(places[begin]))
        text = stream.read(stop - int(places[begin]))
    rows = parse_rows(table, text, begin * INDEX_ROWS)[first - begin * INDEX_ROWS :]
    rows = rows[: last - first]
    if len(rows) != last - first:
        raise _changed(table)
    if table.grid is not None:
        _require_on_grid(table, rows[:, 0], first)
    return rows


def all_rows(table: Table) -> Iterator[tuple[int, np.ndarray]]:
    """Read a file from its first row to its last, a piece at a time."""
    rows, rest = 0, b""
    with open(table.path, "rb") as stream:
        for text in pieces(stream, table.start, table.stop):
            text = rest + text
            cut = text.rfind(b"\n") + 1
            rest = text[cut:]
            if len(rest) > LINE_BYTES:
                raise too_long(table)
            if cut:
                piece = parse_rows(table, text[:cut], rows)
                yield rows, piece
                rows += len(piece)
    if rest:
        yield rows, parse_rows(table, rest, rows)


def pieces(stream: BinaryIO, start: int, stop: int) -> Iterator[bytes]:
    """Read bytes ``[start, stop)`` some MiB at a time."""
    stream.seek(start)
    while start < stop:
        piece = stream.read(min(_PASS_BYTES, stop - start))
        if not piece:
            return
        start += len(piece)
        yield piece


_FINDING = threading.Lock()


def _row_places(table: Table) -> np.ndarray:
    """Return where every `INDEX_ROWS`-th row begins; found once in each process."""
    with _FINDING:  # threads that come at once wait for the first
        places, rows = _find_places(table.path, table.size, table.modified, table.start, table.stop)
    if rows != table.rows:
        raise RecordingError(
            f"{table.path}: there are {rows} rows of samples where its first and last times say "
            f"{table.rows}. Open the recording with check='headers', which reads all times."
        )
    return places


@functools.lru_cache(maxsize=256)
def _find_places(
    path: str, size: int, modified: int, start: int, stop: int
) -> tuple[np.ndarray, int]:
    found = [np.array([start])]
    rows, at, ended = 0, start, True
    with open(path, "rb") as stream:
        for piece in pieces(stream, start, stop):
            ends = np.flatnonzero(np.frombuffer(piece, np.uint8) == ord("\n"))
            found.append(ends[(-rows - 1) % INDEX_ROWS :: INDEX_ROWS] + at + 1)
            rows += len(ends)
            at += len(piece)
            ended = piece.endswith(b"\n")
    places = np.concatenate(found)
    return places[places < stop], rows + (not ended)


def parse_rows(table: Table, text: bytes, row: int) -> np.ndarray:
    """Turn lines into numbers, shape ``(rows, columns)``.

    Raises
    ------
    RecordingError
        If a line has another number of fields, or one that is no number.
    """
    import pandas as pd

    columns = table.signals + 1
    if len(text) > columns * _FIELD_BYTES * (_count(text, b"\n") + 1):
        raise too_long(table)
    if _INFINITY[:1] in text:
        text = text.replace(_INFINITY, b"inf")
    if in_use() or table.size > _LARGE_BYTES:
        rows = parse_decimals(text, columns)
        if rows is not None:
            return rows
    options: dict[str, Any] = {"header": None, "skip_blank_lines": False, "quoting": 3}
    if b" " in text:
        options["skipinitialspace"] = True  # takes a quarter more time
    reason = ""
    try:
        frame = pd.read_csv(io.BytesIO(text), dtype=np.float64, **options)
    except (ValueError, OverflowError) as error:  # pandas' own errors are ValueErrors too
        reason = str(error).replace("\n", " ")[:200]
    else:
        if frame.shape[1] == columns and _count(text, b",") == len(frame) * table.signals:
            return frame.to_numpy()
        reason = f"{columns} numbers were expected in each line"
    where = f"in or after line {row + 2}" if row >= 0 else "near its end"
    raise RecordingError(
        f"{table.path}: the table is damaged {where} ({reason}). Copy the file again."
    )


def _count(text: bytes, sign: bytes) -> int:
    """Count a frequent sign, several times faster than ``bytes.count``."""
    return int(np.count_nonzero(np.frombuffer(text, np.uint8) == ord(sign)))


def _require_on_grid(table: Table, times: np.ndarray, first: int) -> None:
    begin, step = table.grid or (0.0, 0.0)
    off = np.abs(times - begin - step * np.arange(first, first + len(times)))
    if not (off <= 0.5 * step).all():
        at = first + int(np.argmax(~(off <= 0.5 * step)))
        raise RecordingError(
            f"{table.path}: the rows are not evenly spaced, as its first and last lines suggest: "
            f"the time in line {at + 2} is {times[at - first]:g} ms where {begin + step * at:g} "
            "was expected. Open the recording with check='headers', which reads all times."
        )


def too_long(table: Table) -> RecordingError:
    """Make the error for lines that are no rows."""
    return RecordingError(
        f"{table.path}: a line is longer than {table.signals + 1} numbers can be. The file is no "
        "table of a voltage recording, or is damaged: copy it again."
    )


def _changed(table: Table) -> RecordingError:
    return RecordingError(
        f"{table.path}: the file was changed after the recording was opened. Open it again."
    )
