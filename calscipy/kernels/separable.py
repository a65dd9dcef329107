"""Weighted sums along frames, y and x in one pass over memory.

Works on a strip of rows at a time. Every frame of the strip is converted and summed along y once,
into a ring of as many frames as the window is long; the ring is summed along frames, and its lines
along x. All of that stays in cache, so that a movie is read and written once. The order in which
the samples of one window are added depends on the window alone: the same bits come out whatever
the strips, blocks and threads.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from calscipy.kernels.compiled import compiled, frozen
from calscipy.kernels.edges import edge_indices
from calscipy.kernels.joined import Joined

# Samples on either side, and in a box, above which float32 may lose 1e-6 of a sum: float64 then.
WIDE, WIDE_BOX = 40, 4096
MOST_PARTS = 3  # arrays that the frames may lie in: a block and its neighbours
STRIP = 16  # rows: the ring of a Gaussian of sigma 1 on 512 columns then takes 300 kB


class Window(NamedTuple):
    """Weights of one axis from the centre outwards; ``back`` is 1 if it reaches back once more."""

    weights: np.ndarray
    back: int = 0


def separable(
    block: np.ndarray | Joined,
    windows: tuple[Window, Window, Window],
    *,
    norm: float,
    mode: str,
    frames: tuple[int, int] | None = None,
    out: np.ndarray | None = None,
) -> np.ndarray:
    """Sum over a window in frames, y and x and divide by ``norm``.

    Parameters
    ----------
    block : ndarray, shape (frames, y, x), or Joined
        Numbers of up to 64 bits; in one array or in up to three.
    windows : tuple of three Window
        For frames, y and x; the dtype of their weights, float32 or float64, is that of the result.
    norm : float
        Divisor of the sums.
    mode : {"reflect", "nearest", "mirror", "constant"}
        What continues the block beyond its edges.
    frames : (int, int), optional
        First and last (exclusive) frame of the result that are wanted; all by default.
    out : ndarray, shape (wanted frames, y, x), optional
        Where to put the result: contiguous, in the dtype of the weights.

    Returns
    -------
    ndarray, shape (wanted frames, y, x)
        In the dtype of the weights.
    """
    dtype = windows[0].weights.dtype
    widest = max(len(window.weights) for window in windows)
    if dtype == np.float32 and (widest > WIDE or norm > WIDE_BOX):
        doubled = tuple(w._replace(weights=w.weights.astype(np.float64)) for w in windows)
        exact = separable(block, doubled, norm=norm, mode=mode, frames=frames)  # type: ignore[arg-type]
        if out is None:
            return exact.astype(dtype)
        out[...] = exact
        return out
    first, last = frames or (0, block.shape[0])
    if out is None:
        out = np.empty((last - first, *block.shape[1:]), dtype)
    if not out.size:
        return out
    # Few types, so that little has to be compiled.
    as_read = block.dtype if block.dtype == np.uint16 else dtype
    parts = block.parts if isinstance(block, Joined) else (block,)
    one, two, three = (
        frozen(part, as_read) for part in (*parts, *[parts[0][:0]] * (MOST_PARTS - len(parts)))
    )
    reach = [len(window.weights) - 1 + window.back for window in windows]
    at = [edge_indices(size, r, r, mode) for size, r in zip(block.shape, reach, strict=True)]
    weights = [window.weights for window in windows]
    back = np.array([window.back for window in windows])
    _separable(one, two, three, first, at[0], at[1], at[2], *weights, back, norm, out)
    return out


@compiled
def _convert(out, row):  # type: ignore[no-untyped-def]
    real = out.dtype.type
    for x in range(out.size):
        out[x] = real(row[x])


@compiled
def _scale(total, row, weight):  # type: ignore[no-untyped-def]
    for x in range(total.size):
        total[x] = weight * row[x]


@compiled
def _add(total, row, weight):  # type: ignore[no-untyped-def]
    for x in range(total.size):
        total[x] += weight * row[x]


@compiled
def _add_pair(total, a, b, weight):  # type: ignore[no-untyped-def]
    for x in range(total.size):
        total[x] += weight * (a[x] + b[x])


@compiled
def _add_pairs(total, a, b, c, d, e, f, g, h, weights):  # type: ignore[no-untyped-def]
    """Four pairs at once: every pass over ``total`` costs as much as two pairs."""
    w0, w1, w2, w3 = weights[0], weights[1], weights[2], weights[3]
    for x in range(total.size):
        total[x] = (
            total[x]
            + w0 * (a[x] + b[x])
            + w1 * (c[x] + d[x])
            + w2 * (e[x] + f[x])
            + w3 * (g[x] + h[x])
        )


@compiled
def _start_pairs(total, o, a, b, c, d, e, f, g, h, weights):  # type: ignore[no-untyped-def]
    """Begin with the centre and four pairs at once."""
    w, w0, w1, w2, w3 = weights[0], weights[1], weights[2], weights[3], weights[4]
    for x in range(total.size):
        total[x] = (
            w * o[x]
            + w0 * (a[x] + b[x])
            + w1 * (c[x] + d[x])
            + w2 * (e[x] + f[x])
            + w3 * (g[x] + h[x])
        )


@compiled
def _sum_rows(total, rows, at, centre, weights, back):  # type: ignore[no-untyped-def]
    """Sum ``rows[at[centre + k]]`` over the window."""
    reach = weights.size - 1
    if reach >= 4:
        _start_pairs(
            total,
            rows[at[centre]],
            rows[at[centre - 1]],
            rows[at[centre + 1]],
            rows[at[centre - 2]],
            rows[at[centre + 2]],
            rows[at[centre - 3]],
            rows[at[centre + 3]],
            rows[at[centre - 4]],
            rows[at[centre + 4]],
            weights,
        )
        k = 5
    else:
        _scale(total, rows[at[centre]], weights[0])
        k = 1
    while k + 3 <= reach:
        _add_pairs(
            total,
            rows[at[centre - k]],
            rows[at[centre + k]],
            rows[at[centre - k - 1]],
            rows[at[centre + k + 1]],
            rows[at[centre - k - 2]],
            rows[at[centre + k + 2]],
            rows[at[centre - k - 3]],
            rows[at[centre + k + 3]],
            weights[k : k + 4],
        )
        k += 4
    while k <= reach:
        _add_pair(total, rows[at[centre - k]], rows[at[centre + k]], weights[k])
        k += 1
    if back:
        _add(total, rows[at[centre - reach - 1]], weights[reach])


@compiled
def _sum_along(total, line, weights, back):  # type: ignore[no-untyped-def]
    """Sum a line over the window; it is longer than ``total`` by the reach on either side."""
    n = total.size
    reach = weights.size - 1
    c = reach + back
    if reach >= 4:
        _start_pairs(
            total,
            line[c : c + n],
            line[c - 1 : c - 1 + n],
            line[c + 1 : c + 1 + n],
            line[c - 2 : c - 2 + n],
            line[c + 2 : c + 2 + n],
            line[c - 3 : c - 3 + n],
            line[c + 3 : c + 3 + n],
            line[c - 4 : c - 4 + n],
            line[c + 4 : c + 4 + n],
            weights,
        )
        k = 5
    else:
        _scale(total, line[c : c + n], weights[0])
        k = 1
    while k + 3 <= reach:
        _add_pairs(
            total,
            line[c - k : c - k + n],
            line[c + k : c + k + n],
            line[c - k - 1 : c - k - 1 + n],
            line[c + k + 1 : c + k + 1 + n],
            line[c - k - 2 : c - k - 2 + n],
            line[c + k + 2 : c + k + 2 + n],
            line[c - k - 3 : c - k - 3 + n],
            line[c + k + 3 : c + k + 3 + n],
            weights[k : k + 4],
        )
        k += 4
    while k <= reach:
        _add_pair(total, line[c - k : c - k + n], line[c + k : c + k + n], weights[k])
        k += 1
    if back:
        _add(total, line[:n], weights[reach])


@compiled
def _separable(  # type: ignore[no-untyped-def]
    one,
    two,
    three,
    first,
    frame_at,
    row_at,
    column_at,
    frame_weights,
    row_weights,
    column_weights,
    back,
    norm,
    out,
):
    second = one.shape[0]
    third = second + two.shape[0]
    frames, height, width = third + three.shape[0], one.shape[1], one.shape[2]
    ahead = frame_weights.size - 1 + back[0]
    around = row_weights.size - 1 + back[1]
    aside = column_weights.size - 1 + back[2]
    slots = min(2 * ahead + 1, frames)
    ring = np.zeros((STRIP, slots + 1, width), out.dtype)  # the last slot stays zero
    slot = np.where(frame_at < 0, slots, frame_at % slots)
    rows = np.zeros((STRIP + 2 * around, width), out.dtype)
    straight = np.arange(STRIP + 2 * around)
    line = np.zeros(width + 2 * aside, out.dtype)
    core = line[aside : aside + width]
    divisor = out.dtype.type(norm)
    for top in range(0, height, STRIP):
        count = min(STRIP, height - top)
        done = max(first - ahead, 0)  # no window reaches back further, reflected or not
        for frame in range(first, first + out.shape[0]):
            while done < min(frame + ahead + 1, frames):
                if done < second:
                    image = one[done]
                elif done < third:
                    image = two[done - second]
                else:
                    image = three[done - third]
                for j in range(count + 2 * around):
                    y = row_at[top + j]
                    if y < 0:
                        rows[j, :] = 0
                    else:
                        _convert(rows[j], image[y])
                for i in range(count):
                    summed = ring[i, done % slots]
                    _sum_rows(summed, rows, straight, around + i, row_weights, back[1])
                done += 1
            for i in range(count):
                _sum_rows(core, ring[i], slot, ahead + frame, frame_weights, back[0])
                for x in range(aside):
                    before, after = column_at[x], column_at[aside + width + x]
                    line[x] = core[before] if before >= 0 else 0
                    line[aside + width + x] = core[after] if after >= 0 else 0
                target = out[frame - first, top + i]
                _sum_along(target, line, column_weights, back[2])
                if norm != 1.0:
                    for x in range(width):
                        target[x] /= divisor
