"""Bidirectional scans: how far the odd lines lie from where the even lines put them.

Lines count from 0 in the recording. An offset in pixels is that of the odd lines towards larger x.
"""

from __future__ import annotations

import numpy as np

from calscipy.kernels.compiled import compiled_fast
from calscipy.kernels.moving_loops import move_odd_lines
from calscipy.kernels.registration import centred

__all__ = ["lag_products", "largest_offset", "offset_from_products", "shift_odd_lines"]

TAPS = 4  # lags on each side that a value between two lags is made of
LEAST_CORE = 8  # pixels along x that have to stay between the margins
STEPS = 64  # between two lags


def largest_offset(columns: int) -> int:
    """Return the largest offset that can be searched in lines of so many pixels."""
    return (columns - LEAST_CORE) // 2 - TAPS


def lag_products(
    frames: np.ndarray, use: np.ndarray, *, max_shift: int, first: int = 0
) -> np.ndarray:
    """Sum products of odd lines and their even neighbours, at every lag.

    Products of many frames may be added up before the offset is sought, so that the noise of one
    frame does not matter.

    Parameters
    ----------
    frames : ndarray, shape (frames, y, x)
        At least 3 lines, from an even one on.
    use : ndarray of bool, shape (frames,)
        Frames that are False give zeros.
    max_shift : int
        Largest offset to look for, in pixels, from 1 to `largest_offset`.
    first : int, default 0
        Number of the first line in the recording; odd lines are those of the recording.

    Returns
    -------
    ndarray of float64, shape (frames, 3, lags)
        At lags from ``-max_shift - 4`` to ``max_shift + 4``: the products, their slopes, and the
        squares of the odd lines.

    Raises
    ------
    ArgumentError
        If a frame holds NaN or infinite pixels.

    Notes
    -----
    The core of the even lines, tapered, is compared with a moved piece of the odd line, so that
    nothing wraps around. The slope is what the derivative of two even lines gives with each other,
    which are not offset, less what it gives with the odd line. It is zero at the offset whatever
    the edges of the core hold, and with noise as well, because no pixel meets itself. The peak of
    the products lacks this: in lines of 80 pixels with cells of 10 it is off by 0.06 pixels, the
    zero of the slopes by 0.01.
    """
    reach = max_shift + TAPS
    found = np.zeros((len(frames), 3, 2 * reach + 1))
    taper = np.hanning(frames.shape[-1] - 2 * reach + 2)[1:-1].astype(np.float32)
    for frame, used, sums in zip(frames, use, found, strict=True):
        if not used:
            continue
        _products(centred(frame, "The scan phase"), taper, 1 + first % 2, sums)
    return found


def offset_from_products(sums: np.ndarray) -> float:
    """Return the offset at which odd and even lines fit.

    Parameters
    ----------
    sums : ndarray, shape (3, lags)
        Sums from `lag_products`.

    Returns
    -------
    float
        The offset in pixels; NaN if there is nothing to compare.

    Notes
    -----
    The highest correlation says between which lags, the zero of the slopes says where.
    Between the lags, slopes are interpolated by a windowed sinc: they have no finer detail than
    the lines.
    """
    inner = slice(TAPS, sums.shape[1] - TAPS)
    products, squares = sums[0, inner], sums[2, inner]
    if not (np.ptp(products) > 0 and squares.max() > 0):
        return np.nan
    peak = TAPS + int((products / np.sqrt(np.maximum(squares, 1e-6 * squares.max()))).argmax())
    places = np.linspace(peak - 1, peak + 1, 2 * STEPS + 1)
    values = _between(sums[1], places)
    falling = np.flatnonzero((values[:-1] > 0) & (values[1:] <= 0))
    if falling.size:
        at = falling[np.abs(places[falling] - peak).argmin()]
        place = places[at] - values[at] / (values[at + 1] - values[at]) / STEPS
    else:
        place = places[np.abs(values).argmin()]
    return float(place - (sums.shape[1] - 1) / 2)


def shift_odd_lines(
    frames: np.ndarray,
    offsets: np.ndarray,
    *,
    dtype: np.dtype,
    fill: str = "edge",
    first: int = 0,
) -> np.ndarray:
    """Move the odd lines of frames back by their offsets, by cubic convolution.

    Parameters
    ----------
    frames : ndarray, shape (frames, y, x)
        Frames, in any units.
    offsets : ndarray, shape (frames,)
        Offset of each frame in pixels; one with NaN is passed on as it is.
    dtype : dtype
        Of the result and of the arithmetic: float32 or float64.
    fill : {"edge", "nan"}
        What to put where a line does not reach: its last pixel, or NaN.
    first : int, default 0
        Number of the first line in the recording; odd lines are those of the recording.

    Returns
    -------
    ndarray, shape (frames, y, x)
        Even lines are copies.
    """
    out = frames.astype(dtype)
    for moved, offset in zip(out, offsets, strict=True):
        if not np.isnan(offset) and offset != 0:
            move_odd_lines(moved, float(offset), fill == "nan", 1 - first % 2)
    return out


def _between(products: np.ndarray, places: np.ndarray) -> np.ndarray:
    """Interpolate products at fractions of lags, counted from the first."""
    start = np.floor(places).astype(int)
    near = start[:, None] + np.arange(1 - TAPS, TAPS + 1)
    inside = (near >= 0) & (near < len(products))
    away = places[:, None] - near
    weights = np.sinc(away) * np.sinc(away / TAPS) * inside
    values = products[np.clip(near, 0, len(products) - 1)]
    return (weights * values).sum(axis=1) / weights.sum(axis=1)


@compiled_fast("contract", "reassoc")
def _products(image: np.ndarray, taper: np.ndarray, first: int, out: np.ndarray) -> None:
    """Add products and slopes of the odd lines of one frame, from ``first`` on.

    These are the lines that have two neighbours.
    """
    rows, columns = image.shape
    wide = taper.shape[0]
    reach = (columns - wide) // 2
    level = np.float32(1 / taper.sum())
    even, slope = np.empty(wide, np.float32), np.empty(wide, np.float32)
    products, slopes, squares = out[0], out[1], out[2]
    for row in range(first, rows - 1, 2):
        above, below = image[row - 1, reach - 1 :], image[row + 1, reach - 1 :]
        above1, below1, above2, below2 = above[1:], below[1:], above[2:], below[2:]
        sum_above, sum_below = np.float32(0), np.float32(0)
        rise_above, rise_below = np.float32(0), np.float32(0)
        alike = np.float32(0)
        for at in range(wide):
            weight = taper[at]
            up, down = above2[at] - above[at], below2[at] - below[at]
            even[at] = weight * (above1[at] + below1[at])
            slope[at] = weight * (up + down)
            sum_above += weight * above1[at]
            sum_below += weight * below1[at]
            rise_above += weight * up
            rise_below += weight * down
            alike += weight * (up * below1[at] + down * above1[at])
        # Filters that sum to zero: the level of the odd line does not count.
        mean = (sum_above + sum_below) * level
        rise = (rise_above + rise_below) * level
        alike -= (rise_above * sum_below + rise_below * sum_above) * level
        for at in range(wide):
            even[at] -= taper[at] * mean
            slope[at] -= taper[at] * rise
        for lag in range(2 * reach + 1):
            odd = image[row, lag:]
            product, change = np.float32(0), np.float32(0)
            total, square = np.float32(0), np.float32(0)
            for at in range(wide):
                product += even[at] * odd[at]
                change += slope[at] * odd[at]
                weighted = taper[at] * odd[at]
                total += weighted
                square += weighted * odd[at]
            products[lag] += product
            slopes[lag] += alike - change
            squares[lag] += square - total * total * level
