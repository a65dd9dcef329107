"""ΔF/F₀, never divided by a baseline that is lost in the noise."""

from __future__ import annotations

import math

import numpy as np

from calscipy.kernels.compiled import compiled, compiled_fast, frozen
from calscipy.kernels.noise import noise_sigma
from calscipy.kernels.results import room_for

__all__ = ["fold_change", "lowest_denominator"]

# Of the noise, over the mean difference between neighbours; a little more for rounded sums.
MOST_PER_STEP = 1.01 * 2 / (0.6745 * math.sqrt(2))
TILE = 2048  # differences that are summed in single precision


def fold_change(
    f: np.ndarray,
    f0: np.ndarray,
    *,
    offset: float = 0.0,
    lowest: np.ndarray | float = 0.0,
    clip: bool = False,
    out: np.ndarray | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Divide the change of fluorescence by its baseline.

    Parameters
    ----------
    f, f0 : ndarray, shape (..., samples)
        Fluorescence and its baseline.
    offset : float
        Added to the baseline in the denominator.
    lowest : ndarray, shape (..., 1), or float
        The denominator must be above this and above zero.
    clip : bool
        Divide by ``lowest`` where the denominator is not above it; NaN otherwise.
    out : ndarray, optional
        Where to put the ratio, if it fits as it is.

    Returns
    -------
    ratio : ndarray, shape (..., samples)
        ``(f - f0) / (f0 + offset)``.
    low : ndarray of bool, shape (..., samples)
        Where the denominator was too low; a read-only view if ``f0`` is one number in each row.

    Examples
    --------
    >>> fold_change(np.array([10.0, 20.0]), np.array([10.0, 10.0]))[0].tolist()
    [0.0, 1.0]
    """
    lead, samples = f.shape[:-1], f.shape[-1]
    rows = frozen(f.reshape(math.prod(lead), samples))
    least = np.broadcast_to(np.maximum(lowest, 0.0), (*lead, 1)).reshape(len(rows))
    least, shift = frozen(least, rows.dtype), rows.dtype.type(offset)
    result = room_for(out, f.shape, rows.dtype)
    ratio = result.reshape(rows.shape)
    if _is_constant(f0):
        levels = frozen(f0[..., 0].reshape(len(rows)), rows.dtype)
        lows = np.empty(len(rows), np.bool_)
        _divide_by_levels(rows, levels, shift, least, clip, ratio, lows)
        return result, np.broadcast_to(lows.reshape(*lead, 1), f.shape)
    curves = frozen(np.broadcast_to(f0, f.shape).reshape(rows.shape), rows.dtype)
    low = np.empty(rows.shape, np.bool_)
    _divide_by_curves(rows, curves, shift, least, clip, ratio, low)
    return result, low.reshape(f.shape)


def lowest_denominator(
    f: np.ndarray, f0: np.ndarray, *, offset: float = 0.0, floor: float = 1.0
) -> np.ndarray:
    """Return what the denominator must be above: a multiple of the noise of each row.

    The noise is measured only where it matters. It is at most twice the mean difference between
    neighbours over ``0.6745 * sqrt(2)``, because no more than half of the differences are larger
    than twice their mean, and their median is what they are closest to in the mean. For a
    denominator above this bound, which is found in one pass, the bound serves as well.

    Parameters
    ----------
    f, f0 : ndarray, shape (..., samples)
        Fluorescence and its baseline.
    offset : float
        Added to the baseline in the denominator.
    floor : float
        In standard deviations of the noise.

    Returns
    -------
    ndarray of float64, shape (..., 1)
        For `fold_change`. A row too short to show its noise has 0.

    Examples
    --------
    >>> f = np.random.default_rng(0).normal(0.0, 2.0, (2, 10_000))
    >>> lowest_denominator(f, np.array([[1.0], [9.0]])).round(1).tolist()
    [[2.0], [4.8]]
    """
    lead, samples = f.shape[:-1], f.shape[-1]
    rows = frozen(f.reshape(math.prod(lead), samples))
    lowest = np.zeros(len(rows))
    if floor > 0 and rows.size:
        levels = f0[..., :1] if _is_constant(f0) else f0
        below = np.fmin.reduce(levels, axis=-1).reshape(len(rows)).astype(rows.dtype)
        _mean_steps(rows, lowest)
        lowest *= floor * MOST_PER_STEP
        # Rounded as in `fold_change`, so that nothing above the bound is flagged there.
        close = ~(below + rows.dtype.type(offset) > lowest.astype(rows.dtype))
        if close.any():
            lowest[close] = floor * np.nan_to_num(noise_sigma(rows[close]))
    return lowest.reshape(*lead, 1)


def _is_constant(f0: np.ndarray) -> bool:
    """Tell whether every row is one number, seen as many."""
    return f0.shape[-1] > 0 and (f0.strides[-1] == 0 or f0.shape[-1] == 1)


@compiled
def _divide_by_levels(f, f0, offset, lowest, clip, ratio, low):  # type: ignore[no-untyped-def]
    for r in range(f.shape[0]):
        below, least = f0[r] + offset, lowest[r]
        low[r] = not below > least and np.isfinite(f0[r])
        if low[r]:
            below = least if clip and least > 0 else f0.dtype.type(np.nan)
        _divide_row(f[r], f0[r], below, ratio[r])


@compiled
def _divide_row(f, level, below, ratio):  # type: ignore[no-untyped-def]
    for i in range(f.size):
        ratio[i] = (f[i] - level) / below


@compiled
def _divide_by_curves(f, f0, offset, lowest, clip, ratio, low):  # type: ignore[no-untyped-def]
    for r in range(f.shape[0]):
        least = lowest[r]
        instead = least if clip and least > 0 else f0.dtype.type(np.nan)
        _divide_by_curve(f[r], f0[r], offset, least, instead, ratio[r], low[r])


@compiled
def _divide_by_curve(f, f0, offset, least, instead, ratio, low):  # type: ignore[no-untyped-def]
    for i in range(f.size):
        below = f0[i] + offset
        low[i] = not below > least and np.isfinite(f0[i])
        ratio[i] = (f[i] - f0[i]) / (instead if low[i] else below)


@compiled
def _mean_steps(rows, means):  # type: ignore[no-untyped-def]
    """Mean absolute difference between valid neighbours of each row."""
    for r in range(rows.shape[0]):
        total, count = 0.0, 0
        for start in range(0, rows.shape[1] - 1, TILE):
            some, known = _sum_of_steps(rows[r, start : start + TILE + 1])
            total += some
            count += known
        means[r] = total / count if count else 0.0


@compiled_fast("reassoc")  # so that the sum is made in vector registers
def _sum_of_steps(row):  # type: ignore[no-untyped-def]
    before, after = row[:-1], row[1:]
    total, count = row.dtype.type(0), 0
    for i in range(before.size):
        step = abs(after[i] - before[i])
        count += step == step
        total += step if step == step else 0
    return np.float64(total), count
