"""Noise level of traces, with time as the last axis and NaN for missing samples."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import ArrayLike

from calscipy.kernels.baseline import as_float
from calscipy.kernels.percentile import row_median

__all__ = ["as_rows", "noise_sigma", "row_pieces", "spectral_sigma", "standardized_noise"]

SIGMA_PER_MAD = 1 / 0.6745  # of a Gaussian
FEWEST = 3  # differences that make an estimate
PEEK = 64  # differences looked at first, for whether there are so many
PIECE = 2**16  # samples worked on at a time: what is made of them stays in the cache
SEGMENT = 256  # samples of the segments whose spectra are averaged
SHORTEST = 16  # samples of a segment, of which 3 frequencies lie in the upper half


def noise_sigma(f: ArrayLike, *, starts: Sequence[int] = ()) -> np.ndarray:
    """Estimate the white noise on each row from its first differences.

    Median absolute deviation of the differences between neighbours, over ``0.6745 * sqrt(2)``.
    Slow changes cancel and transients are outliers, but frequent ones still raise the estimate, and
    noise that is correlated between neighbours lowers it.

    Parameters
    ----------
    f : array_like, shape (..., samples)
        Fluorescence. Differences with a missing sample are left out.
    starts : sequence of int
        First samples of epochs: the step from the sample before is left out.

    Returns
    -------
    ndarray, shape (...)
        σ in the units of ``f``; NaN with fewer than three differences. It is 0 if more than half
        of the differences are equal, as in coarsely quantised data.

    Examples
    --------
    >>> f = np.random.default_rng(0).normal(100.0, 2.0, 10_000)
    >>> float(noise_sigma(f).round(1))
    2.0
    """
    rows, shape = as_rows(f)
    sigma = np.empty(len(rows))
    for some, steps in _steps(rows, starts):
        few = _fewer_than(steps, FEWEST)
        middle = row_median(steps).astype(steps.dtype)
        with np.errstate(invalid="ignore", over="ignore"):  # infinite samples
            np.abs(np.subtract(steps, middle[:, None], out=steps), out=steps)
        sigma[some] = row_median(steps) * (SIGMA_PER_MAD / np.sqrt(2))
        sigma[some][few] = np.nan
    return sigma.reshape(shape).astype(rows.dtype)


def standardized_noise(
    f: ArrayLike, *, frame_rate: float, starts: Sequence[int] = ()
) -> np.ndarray:
    """Median absolute difference between neighbours, per root of the frame rate.

    It is comparable between recordings of different frame rates. White noise of a standard
    deviation σ gives ``0.6745 * sqrt(2) * 100 * σ / sqrt(frame_rate)``.

    Parameters
    ----------
    f : array_like, shape (..., samples)
        ΔF/F₀ as a fraction. Differences with a missing sample are left out.
    frame_rate : float
        Frames per second.
    starts : sequence of int
        First samples of epochs: the step from the sample before is left out.

    Returns
    -------
    ndarray, shape (...)
        In % Hz^-1/2; NaN with fewer than three differences.

    References
    ----------
    Rupprecht, P. et al. (2021). A database and deep learning toolbox for noise-optimized,
    generalized spike inference from calcium imaging. Nature Neuroscience 24, 1324-1337.
    https://doi.org/10.1038/s41593-021-00895-5

    Examples
    --------
    >>> f = np.tile([0.0, 0.1], 50)
    >>> float(standardized_noise(f, frame_rate=25.0))
    2.0
    """
    rows, shape = as_rows(f)
    noise = np.empty(len(rows))
    for some, steps in _steps(rows, starts):
        few = _fewer_than(steps, FEWEST)
        noise[some] = row_median(np.abs(steps, out=steps)) * (100 / np.sqrt(frame_rate))
        noise[some][few] = np.nan
    return noise.reshape(shape).astype(rows.dtype)


def spectral_sigma(f: ArrayLike, *, starts: Sequence[int] = ()) -> np.ndarray:
    """Estimate the noise on each row from its power above a quarter of the frame rate.

    Transients are slow and have little power there. The power of white noise at these frequencies
    is that of all, so the root of its mean is σ. The spectrum is Welch's: Hann windows of 256
    samples that overlap by half, each less its mean.

    Parameters
    ----------
    f : array_like, shape (..., samples)
        Fluorescence. Segments lie between missing or infinite samples. Where no stretch without
        them has 256 samples, segments are as long as the longest stretch.
    starts : sequence of int
        First samples of epochs, which no segment crosses.

    Returns
    -------
    ndarray, shape (...)
        σ in the units of ``f``; NaN where no stretch has 16 samples.

    References
    ----------
    Welch, P. D. (1967). The use of fast Fourier transform for the estimation of power spectra.
    IEEE Transactions on Audio and Electroacoustics 15, 70-73.
    https://doi.org/10.1109/TAU.1967.1161901

    Examples
    --------
    >>> f = np.random.default_rng(0).normal(100.0, 2.0, 10_000)
    >>> float(spectral_sigma(f).round(1))
    2.0
    """
    rows, shape = as_rows(f)
    sigma = np.full(len(rows), np.nan)
    whole = _segments(np.ones(rows.shape[1], dtype=bool), starts)
    for at, row in enumerate(rows):  # by itself, so that other rows change no digit of it
        there = np.isfinite(row)
        first, length = whole if there.all() else _segments(there, starts)
        if length >= SHORTEST:
            sigma[at] = np.sqrt(_upper_power(row, first, length))
    return sigma.reshape(shape).astype(rows.dtype)


def as_rows(f: ArrayLike) -> tuple[np.ndarray, tuple[int, ...]]:
    """Return all leading axes as one, and what they were.

    Examples
    --------
    >>> rows, shape = as_rows(np.zeros((2, 3, 5), "uint16"))
    >>> rows.shape, rows.dtype, shape
    ((6, 5), dtype('float32'), (2, 3))
    """
    f = as_float(f)
    leading = f.shape[:-1]
    return f.reshape(int(np.prod(leading)), f.shape[-1]), leading


def row_pieces(rows: np.ndarray) -> Iterator[slice]:
    """Cut rows into pieces that fit into the cache, of one row at least.

    Examples
    --------
    >>> list(row_pieces(np.zeros((3, 100_000))))
    [slice(0, 1, None), slice(1, 2, None), slice(2, 3, None)]
    """
    count = max(1, PIECE // max(1, rows.shape[1]))
    for start in range(0, len(rows), count):
        yield slice(start, min(start + count, len(rows)))


def _steps(rows: np.ndarray, starts: Sequence[int]) -> Iterator[tuple[slice, np.ndarray]]:
    """Yield some rows at a time and the steps between their samples, in an array used again."""
    borders = [start - 1 for start in starts if 0 < start < rows.shape[1]]
    room = np.empty(0, rows.dtype)
    for some in row_pieces(rows):
        part = rows[some]
        shape = (len(part), max(0, rows.shape[1] - 1))
        if room.shape[:1] < shape[:1]:
            room = np.empty(shape, rows.dtype)
        steps = room[: len(part)]
        with np.errstate(invalid="ignore", over="ignore"):  # infinite samples
            np.subtract(part[:, 1:], part[:, :-1], out=steps)
        steps[:, borders] = np.nan
        yield some, steps


def _fewer_than(steps: np.ndarray, count: int) -> np.ndarray:
    """Which rows have fewer numbers than that; most are told by their first steps."""
    few = np.count_nonzero(~np.isnan(steps[:, :PEEK]), axis=1) < count
    few[few] = np.count_nonzero(~np.isnan(steps[few]), axis=1) < count
    return few


def _segments(there: np.ndarray, starts: Sequence[int]) -> tuple[np.ndarray, int]:
    """Return the first samples of half overlapping segments without gaps, and their length."""
    edges = np.diff(there.astype(np.int8), prepend=0, append=0)
    opens, closes = edges == 1, edges == -1
    inner = [start for start in starts if 0 < start < len(there)]
    cut = np.zeros_like(opens)
    cut[inner] = True
    cut[1:-1] &= there[:-1] & there[1:]  # an epoch that begins in a gap cuts nothing
    first = np.flatnonzero(opens | cut)
    last = np.flatnonzero(closes | cut)
    longest = int((last - first).max(initial=0))
    length = min(SEGMENT, longest)
    step = max(1, length // 2)
    found = [
        np.arange(a, b - length + 1, step)
        for a, b in zip(first, last, strict=True)
        if b - a >= length > 0
    ]
    return np.concatenate([*found, np.empty(0, dtype=np.int64)]).astype(np.int64), length


def _upper_power(row: np.ndarray, first: np.ndarray, length: int) -> float:
    """Mean power per sample between a quarter and half of the frame rate."""
    window = 0.5 - 0.5 * np.cos(2 * np.pi / length * np.arange(length))
    segments = np.lib.stride_tricks.sliding_window_view(row, length)[first]
    segments -= segments.mean(axis=1, dtype=np.float64)[:, None].astype(row.dtype)
    spectra = np.fft.rfft(segments * window.astype(row.dtype), axis=1)
    upper = spectra[:, length // 4 + 1 : (length + 1) // 2]
    power = np.mean(upper.real.astype(np.float64) ** 2 + upper.imag.astype(np.float64) ** 2)
    return float(power / np.sum(window**2))
