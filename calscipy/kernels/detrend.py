"""Polynomial trends of traces, with time as the last axis and NaN for missing samples."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from calscipy.errors import ArgumentError
from calscipy.kernels.baseline import as_float, rows_by_gaps

__all__ = ["detrend_polynomial", "polynomial_trend"]


def polynomial_trend(f: ArrayLike, *, order: int) -> np.ndarray:
    """Least-squares polynomial of each row, at the samples it was fitted to.

    Parameters
    ----------
    f : array_like, shape (..., samples)
        Fluorescence, sampled at regular times.
    order : int
        Order of the polynomial; 0 is the mean. A row needs more valid samples than this.

    Returns
    -------
    ndarray
        Trend, of the shape of ``f``; NaN where ``f`` is missing.

    Notes
    -----
    Legendre polynomials on [-1, 1], made orthonormal over the valid samples of the row, keep the
    fit accurate for long traces, where powers of the frame number lose every digit.

    Examples
    --------
    >>> polynomial_trend([0.0, 2.0, 4.0, 7.0], order=1).round(6).tolist()
    [-0.2, 2.1, 4.4, 6.7]
    """
    f = as_float(f)
    return _trend(f, order).astype(f.dtype, copy=False)


def detrend_polynomial(f: ArrayLike, *, order: int = 4, keep_level: bool = True) -> np.ndarray:
    """Subtract the least-squares polynomial of each row.

    Parameters
    ----------
    f : array_like, shape (..., samples)
        Fluorescence, sampled at regular times.
    order : int, default 4
        Order of the polynomial; CalSciPy 0.3.5 used 4. A row needs more valid samples than this.
    keep_level : bool, default True
        Add the mean of the trend, so that ΔF/F₀ can still be computed. CalSciPy 0.3.5 did not.

    Returns
    -------
    ndarray
        Detrended traces, of the shape of ``f``; NaN where ``f`` is missing.

    Examples
    --------
    >>> detrend_polynomial([10.0, 11.0, 15.0, 13.0, 14.0], order=1).round(6).tolist()
    [12.0, 12.0, 15.0, 12.0, 12.0]
    """
    f = as_float(f)
    trend = _trend(f, order)
    if keep_level and f.shape[-1]:
        count = np.maximum((~np.isnan(trend)).sum(axis=-1, keepdims=True), 1)
        trend -= np.nansum(trend, axis=-1, keepdims=True) / count
    return (f - trend).astype(f.dtype, copy=False)


def _trend(f: np.ndarray, order: int) -> np.ndarray:
    if order != int(order) or order < 0:
        raise ArgumentError(f"order must be a whole number from 0 up, not {order!r}.")
    rows = np.ascontiguousarray(
        f.reshape(int(np.prod(f.shape[:-1])), f.shape[-1]), dtype=np.float64
    )
    trend = np.full(rows.shape, np.nan)
    for members, valid, samples in rows_by_gaps(rows):
        count = int(valid.sum())
        if count == 0:
            continue
        if count <= order:
            raise ArgumentError(
                f"A polynomial of order {order} needs at least {order + 1} valid samples in every "
                f"row, found {count}. Lower the order, or leave such rows out."
            )
        # The span of the valid samples: the same polynomials, but independent to rounding even
        # if those are a small part of the row.
        at = np.flatnonzero(valid)
        x = 2 * (at - at[0]) / max(at[-1] - at[0], 1) - 1
        basis, _ = np.linalg.qr(np.polynomial.legendre.legvander(x, int(order)))
        with np.errstate(invalid="ignore"):  # infinite samples
            # One product per row, so that no digit of a row depends on which others came with it.
            fitted = ((samples[:, None] @ basis) @ basis.T)[:, 0]
        whole = np.full((len(samples), len(valid)), np.nan)
        whole[:, valid] = fitted
        trend[members] = whole
    return trend.reshape(f.shape)
