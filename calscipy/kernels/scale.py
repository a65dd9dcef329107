"""Rows brought to a common scale by scikit-learn's scalers, each row by itself."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from calscipy.errors import ArgumentError, RowError

# These scale one column after the other; what others do may depend on all of them.
COLUMN_BY_COLUMN = ("StandardScaler", "MinMaxScaler", "MaxAbsScaler", "RobustScaler")


def scale_rows(f: np.ndarray, *, scaler: Any) -> np.ndarray:
    """Fit a scaler to every row and transform it.

    Parameters
    ----------
    f : ndarray, shape (..., samples)
        Rows. A NaN stays one and does not enter the fit; a row without any number stays as it is.
    scaler : scikit-learn estimator
        With ``fit_transform``; a copy of it is fitted.

    Returns
    -------
    ndarray
        Of the shape and dtype of ``f``.

    Raises
    ------
    RowError
        If a sample is infinite.
    ArgumentError
        If the scaler changes the number of samples.

    Examples
    --------
    >>> from sklearn.preprocessing import MinMaxScaler
    >>> scale_rows(np.array([[1.0, np.nan, 3.0], [5.0, 6.0, 9.0]]), scaler=MinMaxScaler()).tolist()
    [[0.0, nan, 1.0], [0.0, 0.25, 1.0]]
    """
    from sklearn.base import clone  # takes a second to import

    rows = f.reshape(math.prod(f.shape[:-1]), f.shape[-1])
    infinite = np.isinf(rows).any(axis=1)
    if infinite.any():
        raise RowError(
            np.flatnonzero(infinite).tolist(),
            "have infinite samples, which cannot be scaled. Replace them, for instance "
            "data.where(numpy.isfinite(data)).",
        )
    out = np.full(rows.shape, np.nan, rows.dtype)
    known = np.flatnonzero(~np.isnan(rows).all(axis=1))
    if rows.shape[1] == 0 or known.size == 0:
        return out.reshape(f.shape)
    together = type(scaler).__name__ in COLUMN_BY_COLUMN
    for some in [known] if together else known[:, None]:
        columns = rows[some].T.astype(np.float64)
        made = np.asarray(clone(scaler).fit_transform(columns))
        if made.shape != columns.shape:
            raise ArgumentError(
                f"scale needs a scaler that keeps the samples, but {scaler!r} made {made.shape} "
                f"of {columns.shape}. Use one such as StandardScaler."
            )
        out[some] = made.T
    return out.reshape(f.shape)
