"""Numbers that tell how good traces are, with time as the last axis and NaN for missing samples."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike

from calscipy.kernels.noise import as_rows, noise_sigma, row_pieces
from calscipy.kernels.percentile import row_median, row_percentile

__all__ = ["drift", "event_rate", "share_at_least", "share_missing", "signal_to_noise", "skewness"]

PEAK = 99.0  # percentile that stands for the height of transients


def signal_to_noise(f: ArrayLike, *, starts: Sequence[int] = ()) -> np.ndarray:
    """Height of transients over the noise: 99th percentile less the median, over σ.

    The percentile, unlike the maximum, does not grow with the length of a recording. White noise
    alone gives 2.3.

    Parameters
    ----------
    f : array_like, shape (..., samples)
        Fluorescence or ΔF/F₀.
    starts : sequence of int
        First samples of epochs, see :func:`calscipy.kernels.noise.noise_sigma`.

    Returns
    -------
    ndarray, shape (...)
        Dimensionless; NaN where σ is NaN or 0.

    Examples
    --------
    >>> f = np.random.default_rng(0).normal(100.0, 2.0, 100_000)
    >>> float(signal_to_noise(f).round(1))
    2.3
    """
    rows, shape = as_rows(f)
    sigma = noise_sigma(rows, starts=starts).astype(np.float64)
    with np.errstate(invalid="ignore"):  # infinite samples
        height = row_percentile(rows, PEAK) - row_median(rows)
    ratio = np.divide(height, sigma, out=np.full(len(rows), np.nan), where=sigma > 0)
    return ratio.reshape(shape).astype(rows.dtype)


def skewness(f: ArrayLike) -> np.ndarray:
    """Third central moment over the cube of the standard deviation.

    Parameters
    ----------
    f : array_like, shape (..., samples)
        Fluorescence or ΔF/F₀; missing samples are left out.

    Returns
    -------
    ndarray, shape (...)
        0 for symmetric noise, above 0 for traces with transients; NaN for constant rows.

    Examples
    --------
    >>> skewness([[0.0, 0.0, 0.0, 1.0], [5.0, 5.0, 5.0, 5.0]]).round(3).tolist()
    [1.155, nan]
    """
    rows, shape = as_rows(f)
    skew = np.full(len(rows), np.nan)
    for some in row_pieces(rows):
        part = rows[some].astype(np.float64)
        missing = np.isnan(part)
        count = part.shape[1] - np.count_nonzero(missing, axis=1)
        part[missing] = 0.0
        with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
            mean = part.sum(axis=1) / count
            part -= mean[:, None]
            part[missing] = 0.0
            square = part * part
            variance = square.sum(axis=1) / count
            third = np.multiply(square, part, out=square).sum(axis=1) / count
            varies = variance > (np.finfo(np.float64).eps * mean) ** 2  # more than rounding does
            skew[some] = np.where(varies, third / variance**1.5, np.nan)
    return skew.reshape(shape).astype(rows.dtype)


def drift(f: ArrayLike, *, pieces: Sequence[tuple[int, int]]) -> np.ndarray:
    """Highest less lowest of the medians of pieces of each row.

    Parameters
    ----------
    f : array_like, shape (..., samples)
        Fluorescence. Pieces that lack more than half of their samples are left out.
    pieces : sequence of (int, int)
        First sample of each piece and the one after its last.

    Returns
    -------
    ndarray, shape (...)
        In the units of ``f``; NaN with fewer than two pieces.

    Examples
    --------
    >>> float(drift(np.arange(12.0), pieces=[(0, 3), (3, 6), (6, 9), (9, 12)]))
    9.0
    """
    rows, shape = as_rows(f)
    medians = np.full((len(rows), len(pieces)), np.nan)
    for at, (start, stop) in enumerate(pieces):
        part = np.ascontiguousarray(rows[:, start:stop])
        enough = 2 * np.count_nonzero(np.isnan(part), axis=1) <= stop - start
        medians[:, at] = np.where(enough, row_median(part), np.nan)
    known = ~np.isnan(medians)
    highest = np.max(medians, axis=1, where=known, initial=-np.inf)
    lowest = np.min(medians, axis=1, where=known, initial=np.inf)
    with np.errstate(invalid="ignore"):  # infinite samples
        spread = np.where(known.sum(axis=1) > 1, highest - lowest, np.nan)
    return spread.reshape(shape).astype(rows.dtype)


def share_at_least(f: ArrayLike, *, level: float) -> np.ndarray:
    """Share of the samples of each row that are at or above a level, of those not missing.

    Examples
    --------
    >>> share_at_least([1.0, 5.0, np.nan, 7.0, 4.0], level=5).tolist()
    0.5
    """
    rows, shape = as_rows(f)
    with np.errstate(invalid="ignore"):
        count = np.count_nonzero(rows >= level, axis=1) / _present(rows)
    return count.reshape(shape).astype(rows.dtype)


def share_missing(f: ArrayLike) -> np.ndarray:
    """Share of the samples of each row that are missing.

    Examples
    --------
    >>> share_missing([1.0, np.nan]).tolist()
    0.5
    """
    rows, shape = as_rows(f)
    with np.errstate(invalid="ignore"):  # rows without samples
        share = 1 - np.divide(_present(rows), rows.shape[1])
    return share.reshape(shape).astype(rows.dtype)


def event_rate(f: ArrayLike, events: np.ndarray, *, frame_rate: float) -> np.ndarray:
    """Events of each row in a second of the samples that are not missing.

    Parameters
    ----------
    f : array_like, shape (..., samples)
        Fluorescence or ΔF/F₀.
    events : ndarray of bool, shape (..., samples)
        True at onsets.
    frame_rate : float
        Frames per second.

    Returns
    -------
    ndarray, shape (...)
        In Hz; NaN for rows without any sample.

    Examples
    --------
    >>> found = np.array([True, False, False, False])
    >>> event_rate([1.0, 5.0, np.nan, np.nan], found, frame_rate=4.0).tolist()
    2.0
    """
    rows, shape = as_rows(f)
    count = np.count_nonzero(np.reshape(events, rows.shape), axis=1)
    with np.errstate(invalid="ignore", divide="ignore"):
        rate = frame_rate * (count / _present(rows))
    rate[_present(rows) == 0] = np.nan
    return rate.reshape(shape).astype(rows.dtype)


def _present(rows: np.ndarray) -> np.ndarray:
    return rows.shape[1] - np.count_nonzero(np.isnan(rows), axis=1)
