"""Firing rates, with time as the last axis and NaN for missing samples."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from calscipy.errors import RowError
from calscipy.kernels.baseline import as_float, mean_baseline

__all__ = ["decay_factor", "expected_rates", "mean_rates", "over_maximum", "time_constant"]


def expected_rates(f: ArrayLike, *, frame_rate: float) -> np.ndarray:
    """Turn the spikes expected in each frame into spikes per second.

    Parameters
    ----------
    f : array_like, shape (..., samples)
        Expected spikes or spike probabilities of each frame.
    frame_rate : float
        Frames per second.

    Returns
    -------
    ndarray
        In Hz, of the shape of ``f``; NaN stays.

    Raises
    ------
    RowError
        If a row has negative values.

    Examples
    --------
    >>> expected_rates([0.0, 0.5, np.nan], frame_rate=30.0).tolist()
    [0.0, 15.0, nan]
    """
    f = as_float(f)
    negative = (f < 0).reshape(int(np.prod(f.shape[:-1])), f.shape[-1]).any(axis=1)
    if negative.any():
        raise RowError(
            np.flatnonzero(negative).tolist(),
            "have negative values, which are no probabilities and no numbers of spikes. Take the "
            "output of a spike inference, or clip it: data.clip(min=0).",
        )
    return f * f.dtype.type(frame_rate)


def mean_rates(f: ArrayLike) -> np.ndarray:
    """Mean of the samples of each row that are not missing, added in float64.

    Parameters
    ----------
    f : array_like, shape (..., samples)
        Rates.

    Returns
    -------
    ndarray, shape (...)
        NaN for rows without any sample.

    Examples
    --------
    >>> mean_rates([[1.0, np.nan, 2.0], [0.0, 0.0, 3.0]]).tolist()
    [1.5, 1.0]
    """
    f = as_float(f)
    if f.shape[-1] == 0:
        return np.full(f.shape[:-1], np.nan, f.dtype)
    return mean_baseline(f)[..., 0]


def over_maximum(f: ArrayLike) -> np.ndarray:
    """Clip each row at zero and divide it by its maximum.

    Parameters
    ----------
    f : array_like, shape (..., samples)
        Rates.

    Returns
    -------
    ndarray
        From 0 to 1, of the shape of ``f``. Rows without a positive sample are 0, NaN stays.

    Examples
    --------
    >>> over_maximum([[1.0, -1.0, np.nan, 4.0], [0.0, -2.0, 0.0, 0.0]]).tolist()
    [[0.25, 0.0, nan, 1.0], [0.0, 0.0, 0.0, 0.0]]
    """
    f = as_float(f)
    highest = np.fmax.reduce(f, axis=-1, keepdims=True, initial=0)
    out = np.maximum(f, 0)
    with np.errstate(invalid="ignore"):  # infinite samples
        return np.divide(out, np.where(highest > 0, highest, 1), out=out)


def time_constant(factor: ArrayLike, *, frame_rate: ArrayLike) -> np.ndarray:
    """Time constant of a decay to a share of itself from frame to frame, -1 / (rate * ln(factor)).

    Parameters
    ----------
    factor : array_like
        What is left of a value after one frame.
    frame_rate : array_like
        Frames per second.

    Returns
    -------
    ndarray of float64
        In s: inf for factors from 1 on, NaN for those of 0 or less, which are no decay.

    Examples
    --------
    >>> time_constant([np.exp(-0.1), 1.0, 0.0], frame_rate=10.0).round(9).tolist()
    [1.0, inf, nan]
    """
    factor, rate = np.asarray(factor, np.float64), np.asarray(frame_rate, np.float64)
    with np.errstate(divide="ignore", invalid="ignore"):
        decay = np.log(np.where(factor > 0, np.minimum(factor, 1), np.nan))
        return np.asarray(1 / np.abs(decay * rate))


def decay_factor(tau: ArrayLike, *, frame_rate: ArrayLike) -> np.ndarray:
    """Share that an exponential decay leaves from frame to frame, exp(-1 / (rate * tau)).

    Parameters
    ----------
    tau : array_like
        Time constants in s, above 0; inf for no decay.
    frame_rate : array_like
        Frames per second.

    Returns
    -------
    ndarray of float64
        From 0 to 1.

    Examples
    --------
    >>> decay_factor([0.1, np.inf], frame_rate=10.0).round(3).tolist()
    [0.368, 1.0]
    """
    frames = np.asarray(tau, np.float64) * np.asarray(frame_rate, np.float64)
    return np.asarray(np.exp(-1 / frames))
