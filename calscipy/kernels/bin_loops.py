"""The compiled loops of `calscipy.kernels.bin`.

Each takes the bins of a block ``(frames, batch, y, x)`` one by one, row by row of bins and in
strips of columns that end with a bin; ``used`` counts the valid frames of each bin. What runs along
a row is a function of its own: within the nest of loops LLVM would not use vectors, which makes
them 2 to 20 times slower.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from calscipy.kernels.compiled import compiled


@compiled
def add(
    block: Any,
    starts: Any,
    stops: Any,
    valid: Any,
    used: Any,
    wide_y: int,
    wide_x: int,
    sums: Any,
    mean: bool,
    out: Any,
) -> None:
    """Add up the samples of each bin, and divide by their number if ``mean``."""
    _, _, height, width = block.shape
    bins, batch, down, across = out.shape
    step = max(1, len(sums) // wide_x)
    for k in range(bins):
        for b in range(batch):
            if used[k, b] == 0:
                continue
            for j in range(down):
                y_start, y_stop = j * wide_y, min((j + 1) * wide_y, height)
                for first in range(0, across, step):
                    last = min(first + step, across)
                    x_start, x_stop = first * wide_x, min(last * wide_x, width)
                    total = sums[: x_stop - x_start]
                    total[:] = 0
                    for f in range(starts[k], stops[k]):
                        if valid[f, b]:
                            for y in range(y_start, y_stop):
                                _add_row(block[f, b, y, x_start:x_stop], total)
                    rows = used[k, b] * (y_stop - y_start) if mean else 0
                    _fold(total, wide_x, rows, out[k, b, j, first:last])


@compiled
def _add_row(row: Any, total: Any) -> None:
    for i in range(len(total)):
        total[i] += row[i]


@compiled
def _fold(total: Any, wide_x: int, rows: int, target: Any) -> None:
    """Sum the columns of each bin; divide by the number of samples unless ``rows`` is 0."""
    _add_columns(total, wide_x)
    if not rows:
        for i in range(len(target)):
            target[i] = total[i]
        return
    for i in range(len(target)):
        target[i] = total[i] / (rows * min(wide_x, len(total) - i * wide_x))


@compiled
def _add_columns(total: Any, wide_x: int) -> None:
    """Put the sum of each bin's columns at the front of the row."""
    if wide_x > 1:
        for i in range((len(total) + wide_x - 1) // wide_x):
            value = total[i * wide_x]
            for c in range(i * wide_x + 1, min((i + 1) * wide_x, len(total))):
                value += total[c]
            total[i] = value


@compiled
def std(
    block: Any,
    starts: Any,
    stops: Any,
    valid: Any,
    used: Any,
    wide_y: int,
    wide_x: int,
    room: Any,
    out: Any,
) -> None:
    """Take the standard deviation of each bin."""
    _, _, height, width = block.shape
    bins, batch, down, across = out.shape
    step = max(1, room.shape[1] // wide_x)
    for k in range(bins):
        for b in range(batch):
            if used[k, b] == 0:
                continue
            for j in range(down):
                y_start, y_stop = j * wide_y, min((j + 1) * wide_y, height)
                for first in range(0, across, step):
                    last = min(first + step, across)
                    x_start, x_stop = first * wide_x, min(last * wide_x, width)
                    pivot = room[0, : x_stop - x_start]
                    total = room[1, : x_stop - x_start]
                    squares = room[2, : x_stop - x_start]
                    total[:] = 0
                    squares[:] = 0
                    seen = False
                    for f in range(starts[k], stops[k]):
                        if valid[f, b]:
                            for y in range(y_start, y_stop):
                                row = block[f, b, y, x_start:x_stop]
                                if not seen:
                                    seen = True
                                    _spread_first(row, wide_x, pivot)
                                _add_deviations(row, pivot, total, squares)
                    rows = used[k, b] * (y_stop - y_start)
                    _fold_std(total, squares, wide_x, rows, out[k, b, j, first:last])


@compiled
def _spread_first(row: Any, wide_x: int, pivot: Any) -> None:
    """Give all columns of a bin its first sample."""
    pivot[:] = row
    if wide_x > 1:
        for i in range(len(pivot)):
            pivot[i] = row[i - i % wide_x]


@compiled
def _add_deviations(row: Any, pivot: Any, total: Any, squares: Any) -> None:
    """Add up deviations from a sample of the bin itself.

    What cancels in the difference of the two sums is then at most the number of samples times the
    variance, however far the samples are from 0.
    """
    for i in range(len(pivot)):
        off = row[i] - pivot[i]
        total[i] += off
        squares[i] += off * off


@compiled
def _fold_std(total: Any, squares: Any, wide_x: int, rows: int, target: Any) -> None:
    _add_columns(total, wide_x)
    _add_columns(squares, wide_x)
    for i in range(len(target)):
        n = rows * min(wide_x, len(total) - i * wide_x)
        mean = total[i] / n
        target[i] = math.sqrt(max(squares[i] / n - mean * mean, 0.0))


@compiled
def extreme(
    block: Any,
    starts: Any,
    stops: Any,
    valid: Any,
    used: Any,
    wide_y: int,
    wide_x: int,
    room: Any,
    largest: bool,
    out: Any,
) -> None:
    """Take the largest or the smallest sample of each bin."""
    _, _, height, width = block.shape
    bins, batch, down, across = out.shape
    step = max(1, len(room) // wide_x)
    for k in range(bins):
        for b in range(batch):
            if used[k, b] == 0:
                continue
            for j in range(down):
                y_start, y_stop = j * wide_y, min((j + 1) * wide_y, height)
                for first in range(0, across, step):
                    last = min(first + step, across)
                    x_start, x_stop = first * wide_x, min(last * wide_x, width)
                    best = room[: x_stop - x_start]
                    seen = False
                    for f in range(starts[k], stops[k]):
                        if valid[f, b]:
                            for y in range(y_start, y_stop):
                                row = block[f, b, y, x_start:x_stop]
                                if not seen:
                                    seen = True
                                    best[:] = row
                                _better(row, largest, best)
                    target = out[k, b, j, first:last]
                    target[:] = best[::wide_x]
                    for c in range(1, wide_x):
                        columns = best[c::wide_x]
                        _better(columns, largest, target[: len(columns)])


@compiled
def _better(row: Any, largest: bool, best: Any) -> None:
    """Take what is better; a NaN is always taken, and nothing is better than it."""
    if largest:
        for i in range(len(best)):
            better = (row[i] > best[i]) | (row[i] != row[i])
            best[i] = row[i] if better else best[i]
    else:
        for i in range(len(best)):
            better = (row[i] < best[i]) | (row[i] != row[i])
            best[i] = row[i] if better else best[i]


@compiled
def median(
    block: Any,
    starts: Any,
    stops: Any,
    valid: Any,
    used: Any,
    wide_y: int,
    wide_x: int,
    room: Any,
    nan: Any,
    out: Any,
) -> None:
    """Sort the samples of each bin and take the middle."""
    _, _, height, width = block.shape
    bins, batch, down, across = out.shape
    full = min(width // wide_x, across)  # columns of bins that are full; at most one is not
    for k in range(bins):
        for b in range(batch):
            if used[k, b] == 0:
                continue
            for j in range(down):
                y_start, y_stop = j * wide_y, min((j + 1) * wide_y, height)
                first = 0
                while first < across:
                    last = min(first + room.shape[1], full) if first < full else across
                    wide = wide_x if first < full else width - full * wide_x
                    x_start, x_stop = first * wide_x, first * wide_x + (last - first) * wide
                    unknown = nan[: last - first]
                    unknown[:] = False
                    count = 0
                    for f in range(starts[k], stops[k]):
                        if valid[f, b]:
                            for y in range(y_start, y_stop):
                                for c in range(wide):
                                    new = room[count, : last - first]
                                    _take(block[f, b, y, x_start:x_stop], c, wide, new, unknown)
                                    for at in range(count - 1, -1, -1):
                                        low = room[at, : last - first]
                                        _exchange(low, room[at + 1, : last - first])
                                    count += 1
                    low, high = room[(count - 1) // 2], room[count // 2]
                    target = out[k, b, j, first:last]
                    for i in range(len(target)):
                        middle = 0.5 * low[i] + 0.5 * high[i]
                        target[i] = np.nan if unknown[i] else middle
                    first = last


@compiled
def _take(row: Any, first: int, step: int, new: Any, unknown: Any) -> None:
    if step == 1:
        new[:] = row
    else:
        for i in range(len(new)):
            new[i] = row[first + i * step]
    for i in range(len(new)):
        unknown[i] |= new[i] != new[i]


@compiled
def _exchange(low: Any, high: Any) -> None:
    """Sort two rows, column by column; in which order NaN come is no matter."""
    for i in range(len(low)):
        a, b = low[i], high[i]
        low[i] = min(a, b)
        high[i] = max(a, b)
