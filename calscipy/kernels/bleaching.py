"""Robust bleach curves of traces, with time as the last axis and NaN for missing samples."""

from __future__ import annotations

import functools
import itertools

import numpy as np
from numpy.typing import ArrayLike

from calscipy.errors import ArgumentError, RowError
from calscipy.kernels.baseline import as_float
from calscipy.kernels.robust import robust_curve

__all__ = ["exponential_baseline", "exponential_trend"]

BLOCK_S = 0.5  # a row is averaged over this: short against transients, so that many hold none
MOST_BLOCKS = 2000
FEWEST_BLOCKS = 8  # for each term
SHORTEST_S, SHORTEST = 1.0, 0.02  # time constant in s and in rows: shorter ones fit transients
LONGEST = 10.0  # in rows: longer ones are straight lines
GRID = 12  # time constants of the first search
# The search ends where neither a step of the logarithm of a time constant nor its effect on the sum
# of squares matter any more; noise changes that by more than this share of it.
LEAST_STEP, WORTHWHILE = 1e-3, 1e-3
ROUNDING = 1e-12  # of the sum of squares
RIDGE = 1e-13  # of the mean square of a column, against columns that are all but the same


def exponential_trend(f: ArrayLike, *, frame_rate: float, terms: int = 2) -> np.ndarray:
    """Bleach curve ``b + b1 exp(-t / τ1) [+ b2 exp(-t / τ2)]`` at the resting level of each row.

    The amounts are not negative (``b`` may be if the row is), the time constants lie between 1 s or
    2 % of the row and ten times the row.

    Parameters
    ----------
    f : array_like, shape (..., samples)
        Fluorescence, sampled at regular times.
    frame_rate : float
        Frames per second.
    terms : {1, 2}, default 2
        Number of exponentials.

    Returns
    -------
    ndarray
        Curve, of the shape of ``f``; NaN where ``f`` is missing.

    Raises
    ------
    RowError
        Naming the rows with some valid samples, but fewer than the curve has parameters.

    Notes
    -----
    Means of short blocks are fitted by reweighted least squares that leave out transients [1]_
    (see ``robust_curve``). For given time constants the amounts are a small non-negative
    problem, so that only the time constants are searched: on a grid, which is then refined.

    References
    ----------
    .. [1] Vicente, N. B. et al. (2007). Photobleaching correction in fluorescence microscopy
       images. J. Phys.: Conf. Ser. 90, 012068. doi:10.1088/1742-6596/90/1/012068

    Examples
    --------
    >>> t = np.arange(300.0)
    >>> curve = exponential_trend(50 * (1 + np.exp(-t / 60)), frame_rate=1.0, terms=1)
    >>> bool(np.allclose(curve, 50 * (1 + np.exp(-t / 60)), rtol=1e-4))
    True
    """
    f = as_float(f)
    curve = exponential_baseline(f, frame_rate=frame_rate, terms=terms)
    curve[np.isnan(f)] = np.nan
    return curve


def exponential_baseline(f: ArrayLike, *, frame_rate: float, terms: int = 2) -> np.ndarray:
    """F₀ as the bleach curve of each row, also at its missing samples.

    Parameters
    ----------
    f : array_like, shape (..., samples)
        Fluorescence, sampled at regular times.
    frame_rate : float
        Frames per second.
    terms : {1, 2}, default 2
        Number of exponentials, see ``exponential_trend``.

    Returns
    -------
    ndarray
        F₀, of the shape of ``f``; NaN in rows that are all NaN.

    Raises
    ------
    RowError
        Naming the rows with some valid samples, but fewer than the curve has parameters.

    Examples
    --------
    >>> exponential_baseline([5.0, 5.0, np.nan, 5.0], frame_rate=1.0, terms=1).tolist()
    [5.0, 5.0, 5.0, 5.0]
    """
    if terms not in (1, 2):
        raise ArgumentError(f"terms must be 1 or 2, not {terms!r}.")
    if not (np.isfinite(frame_rate) and frame_rate > 0):
        raise ArgumentError(f"frame_rate must be above 0 Hz, not {frame_rate!r}.")
    f = as_float(f)
    rows = f.reshape(int(np.prod(f.shape[:-1])), f.shape[-1])
    valid = np.isfinite(rows).sum(axis=1)
    short = (valid > 0) & (valid < 1 + 2 * terms)
    if short.any():
        raise RowError(
            np.flatnonzero(short).tolist(),
            f"have fewer than the {1 + 2 * terms} valid samples that a curve of {terms} "
            "exponential terms needs. Use fewer terms or another method, or leave them out.",
        )
    curve = np.full(rows.shape, np.nan, f.dtype)
    search = _Search(f.shape[-1], frame_rate, terms) if valid.any() else None
    for at in np.flatnonzero(valid):
        curve[at] = search.curve(rows[at].astype(np.float64))  # type: ignore[union-attr]
    return curve.reshape(f.shape)


class _Search:
    """Bleach curves of rows of the same length."""

    def __init__(self, samples: int, frame_rate: float, terms: int) -> None:
        block = max(1, round(BLOCK_S * frame_rate), -(-samples // MOST_BLOCKS))
        self.block = min(block, max(1, samples // (FEWEST_BLOCKS * terms)))
        self.time = np.arange(samples) / frame_rate
        self.middles = self._sums(self.time) / self._sums(np.ones(samples))
        whole = samples / frame_rate
        shortest = min(max(SHORTEST_S, SHORTEST * whole), whole)
        self.grid = np.linspace(np.log(shortest), np.log(LONGEST * whole), GRID)
        self.step = self.grid[1] - self.grid[0]
        self.all = np.array(list(itertools.combinations(range(GRID), terms)))
        around = itertools.product(range(3), repeat=terms)
        self.around = np.array(list(around)) + 3 * np.arange(terms)
        self.centre = len(self.around) // 2

    def curve(self, row: np.ndarray) -> np.ndarray:
        """Curve at every sample of a row with some finite ones."""
        there = np.isfinite(row)
        known = row[there]
        if known.min() == known.max():
            return np.full(len(row), known[0])
        counts = self._sums(there.astype(np.float64))
        used = counts > 0
        counts = counts[used]
        means = self._sums(np.where(there, row, 0.0))[used] / counts
        # Amounts are not negative. Of rows that reach below zero, the constant may lie lower still.
        floor = min(0.0, means.min())
        floor -= np.ptp(means) * (floor < 0)
        scale = np.abs(means - floor).max()
        if scale == 0:
            return np.full(len(row), floor)
        target, middles = (means - floor) / scale, self.middles[used]
        logs = amounts = np.empty(0)

        def fit(weights: np.ndarray) -> np.ndarray:
            nonlocal logs, amounts
            logs, amounts = self._refined(logs, middles, target, weights)
            return amounts @ _columns(logs, middles)

        parameters = 1 + 2 * self.all.shape[1]
        robust_curve(fit, target, parameters=parameters, counts=counts / counts.max())
        return floor + scale * (amounts @ _columns(logs, self.time))

    def _refined(
        self, logs: np.ndarray, time: np.ndarray, target: np.ndarray, weights: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Walk from time constants, or from the best of the grid, to the best, and its amounts."""
        if not len(logs):
            at = _best(self.grid, self.all, time, target, weights)[0]
            logs = self.grid[self.all[at]]
        total = (weights * target * target).sum()
        step, reached = self.step / 2, -np.inf
        while True:
            lines = logs[:, None] + step * np.array([-1.0, 0.0, 1.0])
            lines = np.clip(lines, self.grid[0], self.grid[-1]).ravel()
            at, amounts, gains = _best(lines, self.around, time, target, weights)
            logs = lines[self.around[at]]
            little = WORTHWHILE * max(total - gains[at], ROUNDING * total)
            if gains[at] - gains.min() <= little or step < LEAST_STEP:
                return logs, amounts
            if at == self.centre or not gains[at] - reached > little:
                step /= 3
            reached = gains[at]

    def _sums(self, row: np.ndarray) -> np.ndarray:
        """Sum over blocks, the last of which may be shorter."""
        return np.add.reduceat(row, np.arange(0, len(row), self.block))


def _columns(logs: np.ndarray, time: np.ndarray) -> np.ndarray:
    """One, and an exponential for each logarithm of a time constant, (1 + constants, samples)."""
    return np.exp(np.multiply.outer(np.append(0.0, -np.exp(-logs)), time))


@functools.cache
def _sets(size: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Every set of columns but the empty one, its products, and ones for the rest."""
    sets = np.array(list(itertools.product((0.0, 1.0), repeat=size)))[1:, None]
    products = sets[..., :, None] * sets[..., None, :]
    return sets, products, (1 - sets)[..., None] * np.eye(size)


def _best(
    logs: np.ndarray, choices: np.ndarray, time: np.ndarray, target: np.ndarray, weights: np.ndarray
) -> tuple[int, np.ndarray, np.ndarray]:
    """Find the best of some choices of time constants, (choices, terms).

    Returns which it is, its amounts, and the sum of squares that each choice explains.

    The amounts of each choice are those of weighted non-negative least squares. With three columns
    at most, the solution is the best of the ordinary ones of each set of columns that has no
    negative amount.
    """
    columns = _columns(logs, time)
    weighted = columns * weights
    place = np.concatenate([np.zeros((len(choices), 1), int), choices + 1], axis=1)
    products = (weighted @ columns.T)[place[:, :, None], place[:, None, :]]
    aims = (weighted @ target)[place]
    sets, inside, outside = _sets(place.shape[1])
    ridge = RIDGE * weights.sum() * np.eye(place.shape[1])
    amounts = np.linalg.solve(inside * products + outside + ridge, (sets * aims)[..., None])[..., 0]
    gain = (amounts * (2 * aims - (products @ amounts[..., None])[..., 0])).sum(axis=-1)
    gain[(amounts < 0).any(axis=-1)] = -np.inf
    best = gain.max(axis=0)
    at = int(np.argmax(best))
    return at, amounts[np.argmax(gain[:, at]), at], best
