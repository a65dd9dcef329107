"""Frames and lines moved by fractions of a pixel."""

from __future__ import annotations

import numpy as np

from calscipy.kernels.compiled import compiled, frozen

__all__ = ["interpolation_weights", "move_line", "shift_frames"]


def shift_frames(
    frames: np.ndarray,
    shifts: np.ndarray,
    *,
    dtype: np.dtype,
    fill: str = "nan",
    interpolation: str = "cubic",
) -> np.ndarray:
    """Move frames back by their shifts.

    Parameters
    ----------
    frames : ndarray, shape (frames, y, x)
        Frames, in any units.
    shifts : ndarray, shape (frames, 2)
        Shift of each along y and x in pixels. A frame with NaN here is passed on as it is.
    dtype : dtype
        Of the result and of the arithmetic: float32 or float64.
    fill : {"nan", "edge"}
        What to put where the frame does not reach: NaN, or the nearest pixel of its edge.
    interpolation : {"cubic", "linear"}
        Cubic convolution (Keys 1981, doi:10.1109/TASSP.1981.1163711) or linear. Neighbours
        beyond the edge repeat the edge. Whole pixels are copied exactly.

    Returns
    -------
    ndarray, shape (frames, y, x)
        ``out(p) = frame(p + shift)``.
    """
    out = np.empty(frames.shape, dtype)
    for frame, shift, moved in zip(frames, shifts, out, strict=True):
        if np.isnan(shift).any():
            moved[...] = frame
        else:
            image = frozen(frame, dtype)
            _move(image, shift[0], shift[1], fill == "nan", interpolation == "cubic", moved)
    return out


@compiled
def interpolation_weights(share: float, cubic: bool, weights: np.ndarray) -> None:
    """Weights of the samples at -1, 0, 1, 2 for a point ``share`` of the way from 0 to 1."""
    rest = 1 - share
    if cubic:
        weights[0] = -0.5 * share * rest * rest
        weights[1] = 1 + share * share * (1.5 * share - 2.5)
        weights[2] = 1 + rest * rest * (1.5 * rest - 2.5)
        weights[3] = -0.5 * rest * share * share
    else:
        weights[0], weights[1], weights[2], weights[3] = 0, rest, share, 0


@compiled
def move_line(
    line: np.ndarray, shift: float, empty: bool, cubic: bool, padded: np.ndarray, out: np.ndarray
) -> None:
    """Move one line by ``shift`` samples to the left; ``padded`` is 3 samples longer than it."""
    size = line.shape[0]
    whole = int(np.floor(shift))
    share = shift - whole
    first = min(max(0, -whole), size)  # [first, last) is what lies inside of the line
    last = max(min(size, size - whole - (share > 0)), first)
    if share == 0:
        out[first:last] = line[first + whole : last + whole]
    else:
        weights = np.empty(4, line.dtype)
        interpolation_weights(share, cubic, weights)
        padded[0] = line[0]
        padded[1 : size + 1] = line
        padded[size + 1 :] = line[size - 1]
        near, target = padded[first + whole :], out[first:last]
        one, two, three = near[1:], near[2:], near[3:]
        for at in range(last - first):
            target[at] = (
                weights[0] * near[at]
                + weights[1] * one[at]
                + weights[2] * two[at]
                + weights[3] * three[at]
            )
    out[:first] = np.nan if empty else line[0]
    out[last:] = np.nan if empty else line[size - 1]


@compiled
def _move(image: np.ndarray, y: float, x: float, empty: bool, cubic: bool, out: np.ndarray) -> None:
    """Move one frame: along y into a line, then along x."""
    rows, columns = image.shape
    whole = int(np.floor(y))
    share = y - whole
    weights = np.empty(4, image.dtype)
    interpolation_weights(share, cubic, weights)
    line = np.empty(columns, image.dtype)
    padded = np.empty(columns + 3, image.dtype)
    for row in range(rows):
        low = row + whole
        inside = low >= 0 and (low < rows - 1 or (low == rows - 1 and share == 0))
        if empty and not inside:
            out[row] = np.nan
            continue
        if not inside or share == 0:
            line[:] = image[min(max(low, 0), rows - 1)]
        else:
            before, one = image[max(low - 1, 0)], image[low]
            two, after = image[low + 1], image[min(low + 2, rows - 1)]
            for at in range(columns):
                line[at] = (
                    weights[0] * before[at]
                    + weights[1] * one[at]
                    + weights[2] * two[at]
                    + weights[3] * after[at]
                )
        move_line(line, x, empty, cubic, padded, out[row])
