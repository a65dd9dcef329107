"""Rows cut into trials, and trials joined to rows."""

from __future__ import annotations

import math

import numpy as np


def cut_trials(
    rows: np.ndarray,
    *,
    starts: np.ndarray,
    stops: np.ndarray,
    before: np.ndarray,
    length: int,
    dtype: np.dtype,
) -> np.ndarray:
    """Cut trials out of rows.

    Parameters
    ----------
    rows : ndarray, shape (..., samples)
        Numbers or booleans.
    starts, stops : ndarray of int, shape (trials,)
        Samples ``[start, stop)`` that each trial has.
    before : ndarray of int, shape (trials,)
        Samples that each trial lacks at its beginning. They are NaN, as are those that it lacks
        at its end.
    length : int
        Samples of a trial.
    dtype : dtype
        Of the result; one of floats where samples are lacking.

    Returns
    -------
    ndarray, shape (..., trials, length)

    Examples
    --------
    >>> rows = np.array([1.0, 2.0, 3.0])
    >>> cut = {"starts": np.array([0, 1]), "stops": np.array([1, 3]), "before": np.array([1, 0])}
    >>> cut_trials(rows, **cut, length=2, dtype="f8").tolist()
    [[nan, 1.0], [2.0, 3.0]]
    """
    out = np.empty((*rows.shape[:-1], len(starts), length), dtype)
    places = zip(starts.tolist(), stops.tolist(), before.tolist(), strict=True)
    for trial, (start, stop, lacking) in enumerate(places):
        there = lacking + stop - start
        if there - lacking < length:
            out[..., trial, :lacking] = np.nan
            out[..., trial, there:] = np.nan
        out[..., trial, lacking:there] = rows[..., start:stop]
    return out


def join_trials(trials: np.ndarray, *, there: np.ndarray, dtype: np.dtype) -> np.ndarray:
    """Put trials one after the other.

    Parameters
    ----------
    trials : ndarray, shape (..., trials, length)
        Numbers or booleans.
    there : ndarray of bool, shape (trials, length)
        Samples that are taken.
    dtype : dtype
        Of the result.

    Returns
    -------
    ndarray, shape (..., samples)
    """
    joined = trials.reshape(*trials.shape[:-2], math.prod(there.shape))
    if not there.all():
        joined = joined[..., there.ravel()]
    return joined.astype(dtype, copy=False)
