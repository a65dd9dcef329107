"""Trends taken out of traces, with time as the last axis and NaN for missing samples."""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import ArrayLike

from calscipy.errors import ArgumentError, RowError
from calscipy.kernels.baseline import as_float, rows_by_gaps
from calscipy.kernels.bleaching import exponential_trend
from calscipy.kernels.compiled import compiled_fast, frozen
from calscipy.kernels.results import room_for
from calscipy.kernels.robust import robust_curve

__all__ = [
    "detrend_exponential",
    "detrend_polynomial",
    "orthonormal_polynomials",
    "polynomial_trend",
]

STEP = 512  # samples at which polynomials are evaluated at a time: they stay in the cache
MOST_BLOCKS = 2000  # of a robust fit
PER_ORDER = 8  # samples times (order + 1)² from which on the three-term recurrence is stable


def polynomial_trend(
    f: ArrayLike, *, order: int, robust: bool = False, out: np.ndarray | None = None
) -> np.ndarray:
    """Least-squares polynomial of each row, at the samples it was fitted to.

    Parameters
    ----------
    f : array_like, shape (..., samples)
        Fluorescence, sampled at regular times.
    order : int
        Order of the polynomial; 0 is the mean. A row needs more valid samples than this.
    robust : bool, default False
        Follow the resting level, not the transients above it (see ``robust_curve``).
    out : ndarray, optional
        Where to put the result, if it fits as it is.

    Returns
    -------
    ndarray
        Trend, of the shape of ``f``; NaN where ``f`` is missing.

    Raises
    ------
    RowError
        Naming the rows with some valid samples, but too few.

    Notes
    -----
    The row is projected on polynomials that are orthonormal over its valid samples, which keeps the
    fit accurate for long traces, where powers of the frame number lose every digit.

    Examples
    --------
    >>> polynomial_trend([0.0, 2.0, 4.0, 7.0], order=1).round(6).tolist()
    [-0.2, 2.1, 4.4, 6.7]
    """
    return _polynomials_removed(f, order, robust=robust, subtract=False, first=0, out=out)


def detrend_polynomial(
    f: ArrayLike,
    *,
    order: int = 4,
    keep_level: bool = True,
    robust: bool = False,
    out: np.ndarray | None = None,
) -> np.ndarray:
    """Subtract the least-squares polynomial of each row.

    Parameters
    ----------
    f : array_like, shape (..., samples)
        Fluorescence, sampled at regular times.
    order : int, default 4
        Order of the polynomial; CalSciPy 0.3.5 used 4. A row needs more valid samples than this.
    keep_level : bool, default True
        Add the mean of the trend, so that ΔF/F₀ can still be computed. CalSciPy 0.3.5 did not.
    robust : bool, default False
        Follow the resting level, not the transients above it (see ``robust_curve``).
    out : ndarray, optional
        Where to put the result, if it fits as it is.

    Returns
    -------
    ndarray
        Detrended traces, of the shape of ``f``; NaN where ``f`` is missing. Infinite samples are
        left out of the fit, and as they are.

    Raises
    ------
    RowError
        Naming the rows with some valid samples, but too few.

    Examples
    --------
    >>> detrend_polynomial([10.0, 11.0, 15.0, 13.0, 14.0], order=1).round(6).tolist()
    [12.0, 12.0, 15.0, 12.0, 12.0]
    """
    return _polynomials_removed(
        f, order, robust=robust, subtract=True, first=int(keep_level), out=out
    )


def detrend_exponential(
    f: ArrayLike,
    *,
    frame_rate: float,
    terms: int = 2,
    mode: Literal["subtract", "divide"] = "subtract",
    keep_level: bool = True,
) -> np.ndarray:
    """Take the robust bleach curve out of each row.

    Parameters
    ----------
    f : array_like, shape (..., samples)
        Fluorescence, sampled at regular times.
    frame_rate : float
        Frames per second.
    terms : {1, 2}, default 2
        Exponentials of the curve.
    mode : {"subtract", "divide"}
        Whether bleaching took away a background or scaled the signal.
    keep_level : bool, default True
        Add the mean of a curve that is subtracted. A divided row is scaled to it always.

    Returns
    -------
    ndarray
        Traces without bleaching, of the shape of ``f``; NaN where ``f`` is missing.

    Raises
    ------
    RowError
        Naming the rows with some valid samples, but too few, and those to be divided by a curve
        that is not above zero.

    Examples
    --------
    >>> t = np.arange(300.0)
    >>> bleached = 50 * (1 + np.exp(-t / 60))
    >>> out = detrend_exponential(bleached, frame_rate=1.0, terms=1, mode="divide")
    >>> bool(np.allclose(out, bleached.mean(), rtol=1e-4))
    True
    """
    if mode not in ("subtract", "divide"):
        raise ArgumentError(f"mode must be 'subtract' or 'divide', not {mode!r}.")
    f = as_float(f)
    curve = exponential_trend(f.astype(np.float64), frame_rate=frame_rate, terms=terms)
    count = np.maximum((~np.isnan(curve)).sum(axis=-1, keepdims=True), 1)
    level = np.nansum(curve, axis=-1, keepdims=True) / count
    if mode == "divide":
        flat = np.where(curve == level, 1.0, curve)  # nothing to correct, also if it is zero
        low = np.flatnonzero((flat <= 0).any(axis=-1))
        if len(low):
            raise RowError(
                low.tolist(),
                "have a bleach curve that is not above zero, which nothing can be divided by. "
                "Use mode='subtract', or subtract less background.",
            )
        result = f * np.where(curve == level, 1.0, level / flat)
    else:
        result = f - curve + (level if keep_level else 0.0)
    return np.where(np.isnan(curve), np.nan, result).astype(f.dtype, copy=False)


def _polynomials_removed(
    f: ArrayLike,
    order: int,
    *,
    robust: bool,
    subtract: bool,
    first: int,
    out: np.ndarray | None,
) -> np.ndarray:
    """Subtract the trend, or return it; polynomials below ``first`` are no part of it."""
    if order != int(order) or order < 0:
        raise ArgumentError(f"order must be a whole number from 0 up, not {order!r}.")
    f, order = as_float(f), int(order)
    rows = frozen(f.reshape(int(np.prod(f.shape[:-1])), f.shape[-1]))
    result = room_for(out, f.shape, f.dtype)
    made = result.reshape(rows.shape)
    rest = np.arange(len(rows))
    if not robust and rows.shape[1] >= PER_ORDER * (order + 1) ** 2:
        amounts = np.zeros((len(rows), order + 1))
        _remove(rows, _recurrence(rows.shape[1], order), subtract, first, amounts, made)
        # Those with missing samples have none.
        rest = np.flatnonzero(~np.isfinite(amounts).all(axis=1))
    if len(rest) and rows.shape[1]:
        some = rows[rest].astype(np.float64, copy=False)
        trend = _trend(some, rest, order, robust=robust, first=first)
        made[rest] = np.where(np.isinf(some), some, some - trend) if subtract else trend
    return result


def _trend(
    rows: np.ndarray, names: np.ndarray, order: int, *, robust: bool, first: int
) -> np.ndarray:
    """Trend of float64 rows with gaps, of few samples, or with transients."""
    rows = np.where(np.isinf(rows), np.nan, rows)
    count = (~np.isnan(rows)).sum(axis=1)
    short = (count > 0) & (count <= order)
    if short.any():
        raise RowError(
            names[short].tolist(),
            f"have fewer than the {order + 1} valid samples that a polynomial of order {order} "
            "needs. Lower the order, or leave them out.",
        )
    trend = np.full(rows.shape, np.nan)
    for members, valid, samples in rows_by_gaps(rows):
        if not valid.any():
            continue
        basis = orthonormal_polynomials(np.flatnonzero(valid), order)
        # One product per row, so that no digit of a row depends on which others came with it.
        amounts = (samples[:, None] @ basis.T)[:, 0]
        if robust:
            amounts = np.stack([_robust_amounts(row, basis) for row in samples])
        whole = np.full((len(samples), len(valid)), np.nan)
        whole[:, valid] = (amounts[:, None, first:] @ basis[first:])[:, 0]
        trend[members] = whole
    return trend


def _robust_amounts(samples: np.ndarray, basis: np.ndarray) -> np.ndarray:
    """Amounts of orthonormal polynomials that follow the resting level of one row.

    Means of blocks are fitted by the means of the polynomials: quicker, and a faint transient
    stands out from the noise of a mean where it does not from that of a sample.
    """
    amounts = np.empty(len(basis))
    starts = np.arange(0, len(samples), max(1, len(samples) // MOST_BLOCKS))
    counts = np.diff(starts, append=len(samples))
    means = np.add.reduceat(samples, starts) / counts
    columns = np.add.reduceat(basis, starts, axis=1) / counts

    def fit(weights: np.ndarray) -> np.ndarray:
        weighted = columns * weights
        amounts[:] = np.linalg.lstsq(weighted @ columns.T, weighted @ means, rcond=None)[0]
        return amounts @ columns

    robust_curve(fit, means, parameters=len(basis), counts=counts)
    return amounts


def orthonormal_polynomials(at: np.ndarray, order: int) -> np.ndarray:
    """Polynomials that are orthonormal over some samples, shape (order + 1, samples).

    Each is the one before times x, made orthogonal to all before, twice against rounding. x spans
    the samples, so that these are independent also if they are a small part of the row.
    """
    x = 2 * (at - at[0]) / max(at[-1] - at[0], 1) - 1
    basis = np.empty((order + 1, len(at)))
    basis[0] = 1 / np.sqrt(len(at))
    for k in range(order):
        new = x * basis[k]
        for _ in range(2):
            new -= (basis[: k + 1] @ new) @ basis[: k + 1]
        basis[k + 1] = new / np.linalg.norm(new)
    return basis


def _recurrence(samples: int, order: int) -> np.ndarray:
    """Coefficients of the three-term recurrence of polynomials orthonormal over regular samples.

    With x from -1 to 1, ``c[k + 1] q[k + 1] = x q[k] - c[k] q[k - 1]`` (Gram's polynomials).
    """
    k = np.arange(1, order + 1)
    beta = k**2 * (samples**2 - k**2) / (4 * (4 * k**2 - 1))
    return np.concatenate([[0.0], np.sqrt(beta) * 2 / max(samples - 1, 1)])


@compiled_fast("contract", "reassoc")
def _evaluate(x: np.ndarray, recurrence: np.ndarray, basis: np.ndarray) -> None:
    """Evaluate all polynomials but the first, which is a constant."""
    for k in range(1, recurrence.shape[0]):
        new, last, before = basis[k], basis[k - 1], basis[max(k - 2, 0)]
        back, scale = recurrence[k - 1], 1 / recurrence[k]
        for i in range(STEP):
            new[i] = (x[i] * last[i] - back * before[i]) * scale


@compiled_fast("contract", "reassoc")
def _remove(
    rows: np.ndarray,
    recurrence: np.ndarray,
    subtract: bool,
    first: int,
    amounts: np.ndarray,
    out: np.ndarray,
) -> None:
    """Project each row on the polynomials and take away, or return, those from ``first`` on.

    Sums of a stretch are in the dtype of the rows, those of all stretches in float64. The
    polynomials are evaluated anew for every stretch of all rows: keeping them would take more
    memory than many a row.
    """
    number, samples = rows.shape
    orders = recurrence.shape[0]
    basis = np.full((orders, STEP), 1 / np.sqrt(samples))
    lines = np.empty((orders, STEP), rows.dtype)
    real = rows.dtype.type
    ramp = np.linspace(0, 2 * STEP / (samples - 1), STEP + 1)[:STEP] - 1
    values = np.zeros(STEP, rows.dtype)  # loops of constant length are compiled to faster code
    for start in range(0, samples, STEP):
        size = min(STEP, samples - start)
        _evaluate(ramp + 2 * start / (samples - 1), recurrence, basis)
        lines[:] = basis
        values[size:] = 0
        for row in range(number):
            some = rows[row, start : start + size]
            for i in range(size):
                values[i] = some[i]
            for k in range(orders):
                line = lines[k]
                total = real(0)
                for i in range(STEP):
                    total += values[i] * line[i]
                amounts[row, k] += total
    for start in range(0, samples, STEP):
        size = min(STEP, samples - start)
        _evaluate(ramp + 2 * start / (samples - 1), recurrence, basis)
        lines[:] = basis
        for row in range(number):
            some, target = rows[row, start : start + size], out[row, start : start + size]
            values[:] = 0
            for k in range(first, orders):
                line, amount = lines[k], real(amounts[row, k])
                for i in range(STEP):
                    values[i] += amount * line[i]
            if subtract:
                for i in range(size):
                    target[i] = some[i] - values[i]
            else:
                for i in range(size):
                    target[i] = values[i]
