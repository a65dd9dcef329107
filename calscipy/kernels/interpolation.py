"""Frames and lines moved by fractions of a pixel."""

from __future__ import annotations

import numpy as np

from calscipy.kernels.compiled import frozen
from calscipy.kernels.moving_loops import move_frame


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
            move_frame(image, shift[0], shift[1], fill == "nan", interpolation == "cubic", moved)
    return out
