"""Medians of 3 x 3 x 3, 3 x 3 and 3 samples by networks of minima and maxima.

The nine samples (frames and rows) of every column are sorted, rank by rank in vector registers;
sorting three neighbouring columns against each other leaves 13 samples of 27 that can be the
median, and of these the seventh is found by merging. All columns of a row take the same steps,
which is what makes it fast: no branch depends on the data.
"""

from __future__ import annotations

import numpy as np

from calscipy.kernels.compiled import compiled, frozen
from calscipy.kernels.edges import edge_indices

# Columns at a time, and the distance between ranks in the buffers. A constant distance lets the
# compiler see that the rows of a buffer do not overlap; with separate arrays it does not vectorise.
TILE = 512
ROW = TILE + 2

SIZES = ((3, 3, 3), (1, 3, 3), (3, 1, 1))


def small_median(
    block: np.ndarray,
    *,
    size: tuple[int, ...],
    mode: str,
    frames: tuple[int, int] | None = None,
    out: np.ndarray | None = None,
) -> np.ndarray:
    """Median over a box of one of ``SIZES``; bit for bit that of ``scipy.ndimage``.

    Parameters
    ----------
    block : ndarray, shape (frames, y, x)
        Integers, or floats without NaN.
    size : tuple of three ints
        One of ``SIZES``.
    mode : {"reflect", "nearest", "mirror", "constant"}
        What continues the block beyond its edges.
    frames : (int, int), optional
        First and last (exclusive) frame of the result that are wanted; all by default.
    out : ndarray, shape (wanted frames, y, x), optional
        Where to put the result: contiguous, in the dtype of the block.
    """
    block = frozen(block)
    first, last = frames or (0, block.shape[0])
    if out is None:
        out = np.empty((last - first, *block.shape[1:]), block.dtype)
    if not out.size:
        return out
    at = [edge_indices(n, s // 2, s // 2, mode) for n, s in zip(block.shape, size, strict=True)]
    if size == (3, 3, 3):
        _median_27(block, first, at[0], at[1], at[2], out)
    elif size == (1, 3, 3):
        _median_9(block[first:last], at[1], at[2], out)
    else:
        _median_3(block, first, at[0], out)
    return out


@compiled
def _sort_3(a, b, c, low, middle, high):  # type: ignore[no-untyped-def]
    for x in range(low.size):
        p, q, r = a[x], b[x], c[x]
        p, q = min(p, q), max(p, q)
        q, r = min(q, r), max(q, r)
        p, q = min(p, q), max(p, q)
        low[x], middle[x], high[x] = p, q, r


@compiled
def _sort_triples(a, b, c, ranks, count):  # type: ignore[no-untyped-def]
    """Merge three sorted triples: the last 16 comparisons of Floyd's network for nine."""
    for i in range(count):
        x = np.uintp(i)  # unsigned: an index that might be negative is not vectorised
        p0, p1, p2 = a[x], a[x + np.uintp(ROW)], a[x + np.uintp(2 * ROW)]
        p3, p4, p5 = b[x], b[x + np.uintp(ROW)], b[x + np.uintp(2 * ROW)]
        p6, p7, p8 = c[x], c[x + np.uintp(ROW)], c[x + np.uintp(2 * ROW)]
        p2, p5 = min(p2, p5), max(p2, p5)
        p0, p3 = min(p0, p3), max(p0, p3)
        p1, p4 = min(p1, p4), max(p1, p4)
        p5, p8 = min(p5, p8), max(p5, p8)
        p3, p6 = min(p3, p6), max(p3, p6)
        p4, p7 = min(p4, p7), max(p4, p7)
        p2, p5 = min(p2, p5), max(p2, p5)
        p0, p3 = min(p0, p3), max(p0, p3)
        p1, p4 = min(p1, p4), max(p1, p4)
        p5, p7 = min(p5, p7), max(p5, p7)
        p2, p6 = min(p2, p6), max(p2, p6)
        p1, p3 = min(p1, p3), max(p1, p3)
        p4, p6 = min(p4, p6), max(p4, p6)
        p2, p4 = min(p2, p4), max(p2, p4)
        p5, p6 = min(p5, p6), max(p5, p6)
        p2, p3 = min(p2, p3), max(p2, p3)
        ranks[x] = p0
        ranks[x + np.uintp(ROW)] = p1
        ranks[x + np.uintp(2 * ROW)] = p2
        ranks[x + np.uintp(3 * ROW)] = p3
        ranks[x + np.uintp(4 * ROW)] = p4
        ranks[x + np.uintp(5 * ROW)] = p5
        ranks[x + np.uintp(6 * ROW)] = p6
        ranks[x + np.uintp(7 * ROW)] = p7
        ranks[x + np.uintp(8 * ROW)] = p8


@compiled
def _neighbours(ranks, rank, x):  # type: ignore[no-untyped-def]
    at = np.uintp(rank) * np.uintp(ROW) + x
    return ranks[at], ranks[at + np.uintp(1)], ranks[at + np.uintp(2)]


@compiled
def _lowest(ranks, rank, x):  # type: ignore[no-untyped-def]
    a, b, c = _neighbours(ranks, rank, x)
    return min(min(a, b), c)


@compiled
def _middle(ranks, rank, x):  # type: ignore[no-untyped-def]
    a, b, c = _neighbours(ranks, rank, x)
    return max(min(a, b), min(max(a, b), c))


@compiled
def _highest(ranks, rank, x):  # type: ignore[no-untyped-def]
    a, b, c = _neighbours(ranks, rank, x)
    return max(max(a, b), c)


@compiled
def _choose_of_27(ranks, out):  # type: ignore[no-untyped-def]
    """Find the median from the nine ranks of every column and its two neighbours."""
    for i in range(out.size):
        x = np.uintp(i)
        # Of each rank's lowest, middle and highest column, those that 13 others can lie below
        # and above.
        a0, a1 = _lowest(ranks, 5, x), _lowest(ranks, 6, x)
        a2, a3 = _lowest(ranks, 7, x), _lowest(ranks, 8, x)
        m0, m1, m2 = _middle(ranks, 2, x), _middle(ranks, 3, x), _middle(ranks, 4, x)
        m3, m4 = _middle(ranks, 5, x), _middle(ranks, 6, x)
        b0, b1 = _highest(ranks, 0, x), _highest(ranks, 1, x)
        b2, b3 = _highest(ranks, 2, x), _highest(ranks, 3, x)
        # Batcher's odd-even merge of a and b, without its first and last.
        e1, e2, e3 = max(a0, b0), min(a2, b2), max(a2, b2)
        e1, e2 = min(e1, e2), max(e1, e2)
        o0, o1, o2 = min(a1, b1), max(a1, b1), min(a3, b3)
        o1, o2 = min(o1, o2), max(o1, o2)
        s1, s2 = min(o0, e1), max(o0, e1)
        s3, s4 = min(o1, e2), max(o1, e2)
        s5, s6 = min(o2, e3), max(o2, e3)
        # The seventh of the sorted s0..s7 and m0..m4 together.
        upper = min(s6, max(s5, m0))
        centre = min(max(s4, m1), max(s3, m2))
        lower = min(max(s2, m3), max(s1, m4))
        out[i] = min(min(upper, centre), lower)


@compiled
def _choose_of_9(ranks, out):  # type: ignore[no-untyped-def]
    """Find the median from the three ranks of every column and its two neighbours."""
    for i in range(out.size):
        x = np.uintp(i)
        a, b, c = _highest(ranks, 0, x), _middle(ranks, 1, x), _lowest(ranks, 2, x)
        out[i] = max(min(a, b), min(max(a, b), c))


@compiled
def _complete(ranks, count, start, columns, width, column_at):  # type: ignore[no-untyped-def]
    """Put the columns beyond the left and right edge of the image beside a tile."""
    for rank in range(count):
        row = ranks[rank * ROW : (rank + 1) * ROW]
        if start == 0:
            row[0] = row[1 + column_at[0]] if column_at[0] >= 0 else 0
        if start + columns == width:
            last = column_at[width + 1]
            row[columns + 1] = row[1 + last - start] if last >= 0 else 0


@compiled
def _median_27(block, first_frame, frame_at, row_at, column_at, out):  # type: ignore[no-untyped-def]
    height, width = out.shape[1:]
    triples = np.empty((3, 3 * ROW), block.dtype)
    ranks = np.empty(9 * ROW, block.dtype)
    zeros = np.zeros(ROW, block.dtype)
    for start in range(0, width, TILE):
        columns = min(TILE, width - start)
        first, last = max(start - 1, 0), min(start + columns + 1, width)
        here = ranks[first - start + 1 :]
        for frame in range(first_frame, first_frame + out.shape[0]):
            for j in range(height + 2):
                a = b = c = zeros[: last - first]
                y = row_at[j]
                if y >= 0:
                    b = block[frame, y, first:last]
                    if frame_at[frame] >= 0:
                        a = block[frame_at[frame], y, first:last]
                    if frame_at[frame + 2] >= 0:
                        c = block[frame_at[frame + 2], y, first:last]
                triple = triples[j % 3]
                n = last - first
                _sort_3(a, b, c, triple[:n], triple[ROW : ROW + n], triple[2 * ROW : 2 * ROW + n])
                if j >= 2:
                    _sort_triples(triples[0], triples[1], triples[2], here, n)
                    _complete(ranks, 9, start, columns, width, column_at)
                    target = out[frame - first_frame, j - 2, start : start + columns]
                    _choose_of_27(ranks, target)


@compiled
def _median_9(block, row_at, column_at, out):  # type: ignore[no-untyped-def]
    frames, height, width = out.shape
    ranks = np.empty(3 * ROW, block.dtype)
    zeros = np.zeros(ROW, block.dtype)
    for start in range(0, width, TILE):
        columns = min(TILE, width - start)
        first, last = max(start - 1, 0), min(start + columns + 1, width)
        n = last - first
        here = ranks[first - start + 1 :]
        for frame in range(frames):
            for y in range(height):
                a = c = zeros[:n]
                b = block[frame, y, first:last]
                if row_at[y] >= 0:
                    a = block[frame, row_at[y], first:last]
                if row_at[y + 2] >= 0:
                    c = block[frame, row_at[y + 2], first:last]
                _sort_3(a, b, c, here[:n], here[ROW : ROW + n], here[2 * ROW : 2 * ROW + n])
                _complete(ranks, 3, start, columns, width, column_at)
                _choose_of_9(ranks, out[frame, y, start : start + columns])


@compiled
def _median_3(block, first, frame_at, out):  # type: ignore[no-untyped-def]
    height, width = out.shape[1:]
    low, high = np.empty(width, block.dtype), np.empty(width, block.dtype)
    zeros = np.zeros(width, block.dtype)
    for frame in range(first, first + out.shape[0]):
        for y in range(height):
            a = c = zeros
            if frame_at[frame] >= 0:
                a = block[frame_at[frame], y]
            if frame_at[frame + 2] >= 0:
                c = block[frame_at[frame + 2], y]
            _sort_3(a, block[frame, y], c, low, out[frame - first, y], high)
