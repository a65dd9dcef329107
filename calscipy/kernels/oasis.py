"""Spikes and calcium behind a trace: non-negative deconvolution by pooling (OASIS).

The calcium of a sample is that of the sample before, decayed by ``exp(-1 / (tau * frame_rate))``,
plus a spike that is not negative; a trace is a baseline plus calcium plus white noise. Calcium
that was there at the first sample is no spike.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

import numpy as np
from numpy.typing import ArrayLike

from calscipy.errors import ArgumentError, RowError
from calscipy.kernels import oasis_loops
from calscipy.kernels.noise import as_rows, noise_sigma
from calscipy.kernels.results import room_for

__all__ = ["decay_time", "denoised", "spikes"]

MOST_DECAY = 1 - 1e-9  # of a factor below 1 that leaves digits to the difference from 1
LONGEST = 10.0  # seconds up to which the autocovariance is looked at
LEAST = 3.0  # standard errors of white noise that the autocovariance at one sample must exceed


def spikes(
    f: ArrayLike,
    *,
    frame_rate: float,
    tau: float | None = None,
    penalty: float | None = None,
    min_spike: float | None = 0.0,
    noise: float | None = None,
    baseline: float | None = None,
    out: np.ndarray | None = None,
) -> np.ndarray:
    """Deconvolve traces: what each sample adds to the decaying calcium.

    Of all sums of a baseline and of calcium, the one with the least
    ``sum(residual**2) / 2 + penalty * sum(spikes)`` is taken. It is the global optimum where
    ``min_spike`` is 0. Otherwise every spike is 0 or at least ``min_spike``, and the pools are
    merged greedily from the start of the trace: a local optimum.

    Parameters
    ----------
    f : array_like, shape (..., samples)
        Fluorescence or ΔF/F. Missing samples (NaN; infinite ones count as such) have no weight:
        calcium decays across them, and spikes among them add to the one at the next sample.
    frame_rate : float
        Frames per second.
    tau : float, optional
        Time constant of the decay in s; by default that of each row, see `decay_time`.
    penalty : float, optional
        Cost of a unit of spikes (λ). By default the one for which the sum of squared residuals is
        ``noise**2`` times the number of samples, or 0 where no fit is as good as that.
    min_spike : float or None, default 0
        Smallest spike. None takes the largest for which the residuals are as small as the noise.
    noise : float, optional
        Standard deviation of white noise; by default that of each row, see `noise_sigma`.
    baseline : float, optional
        Level without calcium. By default it is fitted between the least sample and the mean: along
        with the penalty that the noise asks for, or to the pools that ``min_spike`` leaves.
    out : ndarray, optional
        Where to put the result, if it fits as it is.

    Returns
    -------
    ndarray, shape (..., samples)
        In the units of ``f``; NaN at missing samples. It is 0 at the first valid sample. A row
        that varies no more than the noise, or not at all, has no spikes.

    Raises
    ------
    RowError
        For rows of which tau or the noise is needed and can not be estimated.

    References
    ----------
    Friedrich, J., Zhou, P. & Paninski, L. (2017). Fast online deconvolution of calcium imaging
    data. PLOS Computational Biology 13, e1005423. https://doi.org/10.1371/journal.pcbi.1005423

    Examples
    --------
    >>> f = np.zeros(60)
    >>> f[20:] = 0.9 ** np.arange(40)
    >>> tau = -1 / np.log(0.9) / 10
    >>> found = spikes(f, frame_rate=10, tau=tau, penalty=0, baseline=0)
    >>> np.flatnonzero(found > 1e-9).tolist(), float(found.sum().round(6))
    ([20], 1.0)
    """
    return _deconvolve(f, frame_rate, tau, penalty, min_spike, noise, baseline, True, out)


def denoised(
    f: ArrayLike,
    *,
    frame_rate: float,
    tau: float | None = None,
    penalty: float | None = None,
    min_spike: float | None = 0.0,
    noise: float | None = None,
    baseline: float | None = None,
    out: np.ndarray | None = None,
) -> np.ndarray:
    """Fit traces by a baseline and calcium that only spikes increase.

    Parameters
    ----------
    f, frame_rate, tau, penalty, min_spike, noise, baseline, out
        See `spikes`.

    Returns
    -------
    ndarray, shape (..., samples)
        Baseline plus calcium, in the units of ``f``. Missing samples have values too, as if there
        were no spikes, but NaN before the first valid sample.

    Examples
    --------
    >>> f = np.array([0.0, 0.0, 1.0, np.nan, 0.25, 0.125])
    >>> tau = 1 / np.log(2)
    >>> denoised(f, frame_rate=1, tau=tau, penalty=0, baseline=0).round(6).tolist()
    [0.0, 0.0, 1.0, 0.5, 0.25, 0.125]
    """
    return _deconvolve(f, frame_rate, tau, penalty, min_spike, noise, baseline, False, out)


def _deconvolve(
    f: ArrayLike,
    frame_rate: float,
    tau: float | None,
    penalty: float | None,
    min_spike: float | None,
    noise: float | None,
    baseline: float | None,
    want_spikes: bool,
    out: np.ndarray | None,
) -> np.ndarray:
    rows, leading = as_rows(f)
    count, samples = rows.shape
    result = room_for(out, (*leading, samples), rows.dtype)
    if rows.size == 0:
        return result
    decay = _decays(rows, frame_rate, tau)
    sigma = np.zeros(count)
    if baseline is None or penalty is None or min_spike is None:
        sigma = _sigmas(rows, noise)
    wanted = [math.nan if v is None else float(v) for v in (baseline, penalty, min_spike)]
    y = np.empty(samples)
    powers, pools = np.empty(samples + 1), np.empty((2, samples))
    lengths = np.empty(samples, np.int32)
    for row, found in enumerate(result.reshape(count, samples)):
        if row == 0 or decay[row] != decay[row - 1]:
            oasis_loops.fill_powers(decay[row], powers)
        y[:] = rows[row]
        oasis_loops.deconvolve_row(
            y, sigma[row], *wanted, want_spikes, powers, pools, lengths, found
        )
    return result


def _decays(rows: np.ndarray, frame_rate: float, tau: float | None) -> np.ndarray:
    """Factor by which the calcium of each row falls from a sample to the next."""
    if tau is not None:
        taus = np.full(len(rows), float(tau))
    else:
        taus = decay_time(rows, frame_rate=frame_rate).astype(np.float64)
        unknown = np.isnan(taus) & _varies(rows)
        if unknown.any():
            raise RowError(
                np.flatnonzero(unknown).tolist(),
                "show no decay of transients, from which tau could be estimated. Give tau in s: "
                "that of the indicator, or the median over the neurons that show one.",
            )
        taus[np.isnan(taus)] = 1.0  # rows without spikes, whatever it is
    return np.minimum(np.exp(-1 / (taus * frame_rate)), MOST_DECAY)


def _sigmas(rows: np.ndarray, noise: float | None) -> np.ndarray:
    if noise is not None:
        return np.full(len(rows), float(noise))
    sigma = noise_sigma(rows).astype(np.float64)
    unknown = ~(sigma > 0) & _varies(rows)
    if unknown.any():
        raise RowError(
            np.flatnonzero(unknown).tolist(),
            "show no noise in the differences between neighbours: there are fewer than three of "
            "them, or most are equal. Give noise, its standard deviation.",
        )
    return np.nan_to_num(sigma)


def _varies(rows: np.ndarray) -> np.ndarray:
    """Whether the valid samples of a row differ."""
    valid = np.isfinite(rows)
    low = np.min(rows, axis=1, where=valid, initial=np.inf)
    return low < np.max(rows, axis=1, where=valid, initial=-np.inf)


def decay_time(f: ArrayLike, *, frame_rate: float, starts: Sequence[int] = ()) -> np.ndarray:
    """Estimate the time constant of the decay of transients from their autocovariance.

    Spikes that come at random times give an autocovariance that decays as their transients do.
    From one sample on, where white noise no longer adds to it, it is compared with itself half a
    half-life later: ``tau = -lag / log(ratio)``, with the ratio that fits best until it has fallen
    to half. Its rate of change from one sample to the next would depend on the frame rate, as
    the rise of a transient makes the autocovariance flat at short lags.

    Parameters
    ----------
    f : array_like, shape (..., samples)
        Fluorescence or ΔF/F, without drift: a slow wave of a tenth of the baseline made τ 1.6 times
        too long. NaN and infinite samples are left out.
    frame_rate : float
        Frames per second.
    starts : sequence of int
        First samples of epochs: products across these borders are left out.

    Returns
    -------
    ndarray, shape (...)
        In s. NaN where the autocovariance at one sample is within three standard errors of white
        noise, or has not fallen to half within 10 s or half of the longest epoch.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> kicks = (rng.random(20_000) < 0.01) * 1.0
    >>> f = np.convolve(kicks, np.exp(-np.arange(300) / 30 / 0.7))[:20_000]
    >>> float(decay_time(f + rng.normal(0, 0.2, f.size), frame_rate=30.0).round(1))
    0.7
    """
    if not 0 < frame_rate < np.inf:
        raise ArgumentError(f"frame_rate must be above 0 Hz, not {frame_rate!r}.")
    rows, leading = as_rows(f)
    edges = np.unique([0, *starts, rows.shape[1]])
    longest = min(LONGEST * frame_rate, np.diff(edges).max(initial=0) / 2)
    taus = np.array([_decay_samples(row, edges, longest) for row in rows]) / frame_rate
    return taus.reshape(leading).astype(rows.dtype)


def _decay_samples(row: np.ndarray, edges: np.ndarray, longest: float) -> float:
    """Time constant in samples of one row, from an autocovariance of up to ``longest`` samples."""
    x, there = np.zeros((2, len(row)))
    for start, stop in pairwise(edges.tolist()):
        part = row[start:stop].astype(np.float64)
        valid = np.isfinite(part)
        if valid.any():
            there[start:stop] = valid
            x[start:stop][valid] = part[valid] - part[valid].mean()
    covariance = [_autocovariance(x, there, edges, lag) for lag in (0, 1)]
    if not covariance[1] > LEAST * covariance[0] / math.sqrt(max(there.sum(), 1.0)):
        return math.nan
    fallen, step, last = 0, 0, 1
    while fallen == 0 or last < fallen + step:
        last += 1
        if last > longest:
            return math.nan
        covariance.append(_autocovariance(x, there, edges, last))
        if fallen == 0 and covariance[last] < covariance[1] / 2:
            fallen, step = last, -(-last // 2)
    near = np.array(covariance[1 : fallen + 1])
    far = np.array(covariance[1 + step : fallen + step + 1])
    ratio = (near @ far) / (near @ near)
    return -step / math.log(ratio) if 0 < ratio < 1 else math.nan


def _autocovariance(x: np.ndarray, there: np.ndarray, edges: np.ndarray, lag: int) -> float:
    """Mean product of samples ``lag`` apart within an epoch."""
    total, count = 0.0, 0.0
    for start, stop in pairwise(edges.tolist()):
        if stop - start > lag:
            early, late = slice(start, stop - lag), slice(start + lag, stop)
            total += oasis_loops.dot(x[early], x[late])
            count += oasis_loops.dot(there[early], there[late])
    return total / count if count else math.nan
