"""The table of a voltage recording: how many rows its CSV file has, and when they were taken.

A long file is opened by its first and last lines and not read.
"""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import BinaryIO

import numpy as np

from calscipy.errors import RecordingError
from calscipy.io.prairieview.voltage_rows import (
    LINE_BYTES,
    Table,
    all_rows,
    parse_rows,
    pieces,
    too_long,
)

TIME_HEADER = "time(ms)"
MAX_SIGNALS = 1024
_ON_GRID = 0.02  # share of a step by which a regular time may be off


def read_table(path: Path, *, expected: int | None = None, exact: bool = False) -> Table:
    """Find the rows of a CSV file and their times.

    Parameters
    ----------
    path : Path
        The file.
    expected : int, optional
        Rows that the settings of the recording say it has.
    exact : bool, default False
        Read the time of every row. Otherwise this is done only if the first and the last lines
        and ``expected`` do not agree on evenly spaced rows.

    Raises
    ------
    RecordingError
        If the file is empty, has no samples, is no such table, or its times go back.
    """
    with path.open("rb") as stream:
        table, first, last = _ends(path, stream)
        whole, ended = bool(np.isfinite(last[-1, 0])), _ended(stream, table.stop)
        if whole and not ended and expected is not None:
            # It may be cut within its last number. What tells is whether any row is missing.
            ended = round(_rows_by_time(first, last[-1:])) == expected
        if not (whole and ended):
            table, last = _without_last(table, stream, last)
        if not exact:
            rows = _trusted_rows(table, first, last, expected, stream)
            if rows is not None:
                begin, end = float(first[0, 0]), float(last[-1, 0])
                return replace(table, rows=rows, grid=(begin, (end - begin) / (rows - 1)))
    times = np.concatenate([piece[:, 0] for _, piece in all_rows(table)])
    return replace(table, rows=len(times), times=_plausible(table, times))


def _ends(path: Path, stream: BinaryIO) -> tuple[Table, np.ndarray, np.ndarray]:
    """Read the first and the last rows, each of shape ``(rows, columns)``."""
    status = os.fstat(stream.fileno())
    if status.st_size == 0:
        raise RecordingError(f"{path}: the file is empty (0 bytes). Copy it again.")
    head = stream.read(LINE_BYTES)
    start = head.find(b"\n") + 1
    if not start and len(head) == LINE_BYTES:
        raise RecordingError(
            f"{path}: its first line is longer than {LINE_BYTES} bytes; the names of the signals "
            "of a voltage recording were expected. Copy it again."
        )
    names = _header(path, head[:start] if start else head)
    stop = _end_of_text(stream, status.st_size, start or len(head))
    if stop <= (start or len(head)):
        raise RecordingError(f"{path}: there are no samples in the file. Copy it again.")
    line = head[start : min(stop, len(head))].split(b"\n", 1)[0]
    table = Table(
        os.fspath(path), status.st_size, status.st_mtime_ns, names, line.count(b","), start, stop
    )
    if table.signals > MAX_SIGNALS:
        raise RecordingError(
            f"{path}: its first row has {table.signals} signals; up to {MAX_SIGNALS} are read."
        )
    text = head[start:stop]
    if start + len(text) >= stop:
        text = text.rstrip(b"\r\n")  # the last line is looked at by itself
    elif b"\n" not in text:
        raise too_long(table)
    text = text[: text.rfind(b"\n") + 1]
    first = parse_rows(table, text, 0) if text else np.empty((0, table.signals + 1))
    return table, first, _last_rows(table, stream)


def _header(path: Path, line: bytes) -> tuple[str, ...]:
    try:
        text = line.decode("utf-8-sig")
    except UnicodeDecodeError:
        text = line.decode("windows-1252", errors="replace")
    first, *names = (name.strip().strip('"').strip() for name in text.split(","))
    if first.replace(" ", "").casefold() != TIME_HEADER:
        raise RecordingError(
            f"{path}: the first column is called {first[:40]!r}; the table of a voltage recording "
            "begins with 'Time(ms)'. Check that it is one, or copy it again."
        )
    return tuple(names)


def _end_of_text(stream: BinaryIO, size: int, start: int) -> int:
    """Return where the text ends: behind the last line end, or the last byte that is not NUL."""
    end = size
    while end > start:
        begin = max(start, end - LINE_BYTES)
        stream.seek(begin)
        text = stream.read(end - begin).rstrip(b"\0")
        if text:
            # Blank lines are no rows; one line end belongs to the last row.
            bare = text.rstrip(b" \t\r\n\0")
            if bare:
                rest = text[len(bare) :]
                return begin + len(bare) + (rest.find(b"\n") + 1)
        end = begin
    return end


def _last_rows(table: Table, stream: BinaryIO) -> np.ndarray:
    """Return the last rows; the very last one is NaN where it cannot be read."""
    begin = max(table.start, table.stop - LINE_BYTES)
    stream.seek(begin)
    text = stream.read(table.stop - begin)
    if begin > table.start:
        text = text[text.find(b"\n") + 1 :]
    before = text.rstrip(b"\r\n").rfind(b"\n") + 1
    if begin > table.start and not before:
        raise too_long(table)
    try:
        last = parse_rows(table, text[before:], -1)
    except RecordingError:
        last = np.full((1, table.signals + 1), np.nan)
    if not before:
        return last
    return np.concatenate([parse_rows(table, text[:before], -1), last])


def _ended(stream: BinaryIO, stop: int) -> bool:
    """Tell whether the byte before ``stop`` is a line end."""
    stream.seek(stop - 1)
    return stream.read(1) == b"\n"


def _without_last(table: Table, stream: BinaryIO, last: np.ndarray) -> tuple[Table, np.ndarray]:
    begin = max(table.start, table.stop - LINE_BYTES)
    stream.seek(begin)
    text = stream.read(table.stop - begin).rstrip(b"\r\n")
    if len(last) < 2:
        raise RecordingError(
            f"{table.path}: the only line of samples is cut off. Copy the file again."
        )
    return replace(table, stop=begin + text.rfind(b"\n") + 1, dropped=True), last[:-1]


def _rows_by_time(first: np.ndarray, last: np.ndarray) -> float:
    """Return how many evenly spaced rows there are between the first and the last one."""
    if len(first) < 2:
        return 1.0
    with np.errstate(all="ignore"):
        step = (first[-1, 0] - first[0, 0]) / (len(first) - 1)
        count = (last[-1, 0] - first[0, 0]) / step + 1
    return float(count) if np.isfinite(count) and count < 2**53 else 0.0


def _trusted_rows(
    table: Table, first: np.ndarray, last: np.ndarray, expected: int | None, stream: BinaryIO
) -> int | None:
    """Return the number of rows if the ends of the file say that all are evenly spaced.

    The number that the times give must be that of the settings, or else that of the line ends.
    """
    exact = _rows_by_time(first, last)
    rows = round(exact)
    if rows < len(last) or rows < 2 or abs(exact - rows) > 0.1:
        return None
    step = (last[-1, 0] - first[0, 0]) / (rows - 1)
    there = np.concatenate([first[:, 0], last[:, 0]])
    places = np.concatenate([np.arange(len(first)), np.arange(rows - len(last), rows)])
    off = np.abs(there - first[0, 0] - places * step)
    if not (step > 0 and (off <= _ON_GRID * step).all()):
        return None
    if rows == expected:
        return rows
    count = sum(piece.count(b"\n") for piece in pieces(stream, table.start, table.stop))
    return rows if count + (not _ended(stream, table.stop)) == rows else None


def _plausible(table: Table, times: np.ndarray) -> np.ndarray:
    """Return times that increase: as recorded, or evenly spaced if they were only rounded.

    Raises
    ------
    RecordingError
        If a time is missing, goes back or stands twice, naming the line.
    """
    steps = np.diff(times)
    with np.errstate(invalid="ignore"):
        wrong = ~(steps > 0)
    if not (wrong.any() or np.isnan(times).any()):
        return times
    if (steps >= 0).all() and np.isfinite(times).all() and (steps > 0).any():
        even = np.linspace(times[0], times[-1], len(times))
        if (np.abs(times - even) < steps[steps > 0].min()).all():
            return even
    at = int(np.argmax(wrong)) + 1 if wrong.any() else 0
    shown = [f"{t:g}" for t in times[max(0, at - 1) : at + 1]]
    raise RecordingError(
        f"{table.path}: the times do not increase in line {at + 2} ({' ms, '.join(shown)} ms), so "
        "there is no trustworthy clock. Copy the file again, or remove the lines that are wrong."
    )
