"""Onsets of calcium transients by a matched filter, at a chosen rate of false positives.

Time is the last axis. NaN and infinite samples are missing ones.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from calscipy.errors import ArgumentError
from calscipy.kernels.baseline import as_float, rows_by_gaps
from calscipy.kernels.matched_filters import (
    Gaps,
    Window,
    amplitude_over_error,
    crossing_level,
    find_gaps,
    fit_partial,
    make_windows,
    subtract_copies,
    tail_times,
    to_samples,
    transient_shape,
)
from calscipy.kernels.noise import noise_sigma
from calscipy.kernels.peaks import find_peaks

__all__ = ["matched_events", "matched_score"]

PROMINENCE = 2.0  # in σ: between two events the score must fall this far below the lower one
CLEAR = 2.7  # in standard errors: transients taken out before the noise is measured again
ROUNDS = 4
LARGER_OF_TWO = 0.022  # by which the larger of two estimates of σ is too high in white noise ...
SURELY_LARGER = 0.15  # ... and by which one must exceed the other to be the larger one for sure
LEAST_OF_THREE = 1.05  # times the least of three quantiles is σ, in minutes of smoothed noise
NORMAL_BELOW = {1: 0.158655, 2: 0.022750, 3: 0.001350}  # share of a normal distribution below -z σ
PROBED = 1024  # samples that tell about where a quantile lies


class _Plan(NamedTuple):
    """What is the same for all rows."""

    windows: list[Window]
    threshold: float
    shape: np.ndarray  # of a whole transient
    apart: int  # least distance of two events in samples


def matched_events(
    f: ArrayLike,
    *,
    frame_rate: float,
    rise: float,
    decay: float,
    false_positives: float = 0.1,
    noise: ArrayLike | None = None,
) -> np.ndarray:
    """Onsets of transients of known shape, at a chosen rate of false positives.

    Around every sample the trace is fitted by a constant, a decay that is already going on, and a
    transient that begins there, so that neither the level of the trace nor the tail of an earlier
    transient counts. Events are the peaks of the transient's amplitude in units of its standard
    error (see `matched_score`) above the threshold that white Gaussian noise exceeds
    ``false_positives`` times per minute.

    Parameters
    ----------
    f : array_like, shape (..., samples)
        Traces, raw or ΔF/F: neither their scale nor their offset matters. Missing samples are left
        out of the fits. There is no event where the samples that are left do not tell a transient
        from the other two terms, as at the very ends of the trace, nor for a transient that begins
        within a gap longer than twice the rise time (but one missing frame never matters).
    frame_rate : float
        Frames per second.
    rise, decay : float
        Time constants in seconds of a transient: ``(1 - exp(-t/rise)) * exp(-t/decay)``. With a
        decay that is 50 % off, about one transient of 30 σ in eight brings a false event.
    false_positives : float, default 0.1
        False events per minute to expect from white noise.
    noise : array_like, shape (...), optional
        σ of white noise on each row. If not given, `noise_sigma` of the trace, or the spread of
        the fitted amplitudes below zero where that is larger: noise that was smoothed along time
        is underestimated by its differences.

    Returns
    -------
    ndarray of bool
        Of the shape of ``f``. True at the sample nearest to the moment at which the trace
        begins to rise: the last sample that is not raised yet, if a sample was taken at this
        moment. A row whose σ is 0 or unknown has no events.

    References
    ----------
    Turin, G. L. (1960). An introduction to matched filters. IRE Transactions on Information
    Theory 6, 311-329. https://doi.org/10.1109/TIT.1960.1057571

    Rice, S. O. (1944). Mathematical analysis of random noise. Bell System Technical Journal 23,
    282-332.

    Examples
    --------
    >>> t = np.arange(600) / 30
    >>> f = np.random.default_rng(0).normal(100.0, 1.0, 600)
    >>> f[300:] += 10 * (1 - np.exp(-t[:300] / 0.05)) * np.exp(-t[:300] / 0.7)
    >>> np.flatnonzero(matched_events(f, frame_rate=30.0, rise=0.05, decay=0.7)).tolist()
    [300]
    """
    f = as_float(f)
    plan = _plan(frame_rate, rise, decay, false_positives)
    events = np.zeros((int(np.prod(f.shape[:-1])), f.shape[-1]), dtype=bool)
    for row, score in _scores(f, plan, noise):
        events[row, _peaks(score, plan.threshold, plan.apart)] = True
    return events.reshape(f.shape)


def matched_score(
    f: ArrayLike,
    *,
    frame_rate: float,
    rise: float,
    decay: float,
    false_positives: float = 0.1,
    noise: ArrayLike | None = None,
) -> tuple[np.ndarray, float]:
    """Amplitude of a transient beginning at each sample, in units of its standard error.

    Parameters
    ----------
    f, frame_rate, rise, decay, false_positives, noise
        As in `matched_events`.

    Returns
    -------
    score : ndarray
        Of the shape of ``f``: the larger of the scores for a short and a long window, each of
        variance one in white noise. NaN where ``f`` is missing and where the amplitude is
        not defined.
    threshold : float
        What the score must exceed in `matched_events`.

    Notes
    -----
    For neighbouring samples of a Gaussian process with correlation ρ₁ the probability of an upward
    crossing of level k is the integral of ``exp(-k² / (1 + cos θ)) / 2π`` over θ from 0 to
    arccos(ρ₁). It tends to Rice's ``arccos(ρ₁) / 2π · exp(-k² / 2)`` as ρ₁ tends to 1, and also
    holds at low frame rates, where Rice's formula is several times too high. The crossings of
    both windows are added up, those at which the other score lies above the level left out.

    Examples
    --------
    >>> f = np.random.default_rng(0).normal(size=3000)
    >>> score, threshold = matched_score(f, frame_rate=30.0, rise=0.05, decay=0.7)
    >>> bool(abs(np.nanstd(score) - 1) < 0.1), round(threshold, 2)
    (True, 3.85)
    """
    f = as_float(f)
    plan = _plan(frame_rate, rise, decay, false_positives)
    score = np.full((int(np.prod(f.shape[:-1])), f.shape[-1]), np.nan, dtype=f.dtype)
    for row, values in _scores(f, plan, noise):
        score[row] = values
    return score.reshape(f.shape), plan.threshold


def _plan(frame_rate: float, rise: float, decay: float, false_positives: float) -> _Plan:
    """Check the arguments; make the filters and the threshold."""
    for name, value in (
        ("frame_rate", frame_rate),
        ("decay", decay),
        ("false_positives", false_positives),
    ):
        if not 0 < value < np.inf:
            raise ArgumentError(f"{name} must be above 0, not {value!r}.")
    if not 0 <= rise < np.inf:
        raise ArgumentError(f"rise must be 0 or more, not {rise!r}.")
    windows = make_windows(frame_rate, rise, decay)
    return _Plan(
        windows,
        crossing_level(windows, false_positives / (60 * frame_rate)),
        transient_shape(tail_times(frame_rate, decay), rise, decay),
        max(1, to_samples(2 * rise, frame_rate)),
    )


def _scores(
    f: np.ndarray, plan: _Plan, noise: ArrayLike | None
) -> Iterator[tuple[int, np.ndarray]]:
    """Yield the number and the score in float64 of every row that has one."""
    rows = f.reshape(int(np.prod(f.shape[:-1])), f.shape[-1])
    if rows.size == 0:
        return
    if np.isinf(rows).any():
        rows = np.where(np.isinf(rows), np.nan, rows)
    sigma = noise_sigma(rows) if noise is None else np.asarray(noise, dtype=np.float64)
    sigma = np.broadcast_to(sigma, len(rows) if noise is None else f.shape[:-1]).reshape(-1)
    windows = plan.windows
    for members, valid, _ in rows_by_gaps(rows):
        gaps = [find_gaps(valid, window) for window in windows]
        for row in np.arange(len(rows))[members]:
            if not sigma[row] > 0:
                continue
            trace = np.where(valid, rows[row], 0.0).astype(np.float64, copy=False)
            found = [amplitude_over_error(trace, *pair) for pair in zip(windows, gaps, strict=True)]
            errors = [float(sigma[row])] * len(windows)
            if noise is None:
                errors = _errors(trace, valid, found, errors[0], gaps, plan)
            yield int(row), _best(found, errors)


def _best(amplitudes: list[np.ndarray], errors: list[float]) -> np.ndarray:
    """Return the larger of the scores of all windows."""
    best = amplitudes[0] / errors[0]
    for amplitude, error in zip(amplitudes[1:], errors[1:], strict=True):
        np.fmax(best, amplitude / error, out=best)
    return best


def _errors(
    trace: np.ndarray,
    valid: np.ndarray,
    found: list[np.ndarray],
    sigma: float,
    gaps: list[Gaps],
    plan: _Plan,
) -> list[float]:
    """Return the standard error of the amplitude in each window.

    At least that of white noise. Noise that was smoothed along time varies more over a window than
    from one sample to the next, so the spread of the amplitudes counts where it is larger, once
    the transients that stand out of it are taken away.
    """
    missing = np.flatnonzero(~valid)
    rest = trace.copy()
    amplitudes = [amplitude.copy() for amplitude in found]
    onsets = np.zeros(len(trace), dtype=bool)
    for left in reversed(range(ROUNDS)):
        spreads = [_lower_spread(amplitude) for amplitude in amplitudes]
        errors = [max(sigma, spread) for spread in spreads]
        if not left:
            break  # the last round measures the noise alone
        onsets[_peaks(_best(amplitudes, errors), CLEAR, plan.apart)] = True
        places = np.flatnonzero(onsets)
        if not places.size:
            break
        # Heights are fitted on what is left, so that earlier rounds are corrected by later ones.
        heights = np.nan_to_num(amplitudes[0][places]) / plan.windows[0].gain
        subtract_copies(rest, places, heights, plan.shape, 0)
        rest[missing] = 0.0
        for amplitude, window, gap in zip(amplitudes, plan.windows, gaps, strict=True):
            # Only the neighbourhood of the onsets changes: ten times faster than filtering again.
            first = window.onset + 1 - len(window.basis)
            subtract_copies(amplitude, places, heights, window.answer, first)
            fit_partial(rest, window.basis, window.onset, gap.partial, gap.weights, amplitude)
    return [_larger(sigma, spread) for spread in spreads]


def _larger(sigma: float, spread: float) -> float:
    """Return the larger of two estimates of σ, less what choosing it adds in white noise.

    2 % of the threshold are a third of the false positives.
    """
    excess = max(0.0, spread / sigma - 1)
    return max(sigma, spread) * (1 - LARGER_OF_TWO * max(0.0, 1 - excess / SURELY_LARGER))


def _peaks(score: np.ndarray, threshold: float, apart: int) -> np.ndarray:
    """Peaks of one row whose place is known: the score beside them is defined, or nearly beside.

    A score that still rises where it ends, at a gap or an end of the trace, is not a peak.
    """
    lacking = np.isnan(score)
    defined = np.flatnonzero(~lacking)
    if len(defined) < 3:
        return defined[:0]
    bridged = score
    if len(defined) < len(score):
        bridged = score.copy()
        bridged[lacking] = np.interp(np.flatnonzero(lacking), defined, score[defined])
    peaks = find_peaks(bridged, height=threshold, prominence=PROMINENCE, distance=apart)
    peaks = peaks[~lacking[peaks] & (peaks > defined[0]) & (peaks < defined[-1])]
    place = np.searchsorted(defined, peaks)
    widest = np.maximum(defined[place + 1] - peaks, peaks - defined[place - 1])
    return peaks[widest <= max(2, apart)]


def _lower_spread(amplitude: np.ndarray) -> float:
    """Return σ of the amplitudes of a row, from those below zero: transients are above.

    The least of what three quantiles of a normal distribution say, corrected for being the least.
    Dense transients push many amplitudes somewhat below zero but few far below, unlike noise.
    """
    known = amplitude[~np.isnan(amplitude)]
    if not known.size:
        return 0.0
    low = _low_quantiles(known, list(NORMAL_BELOW.values()))
    return LEAST_OF_THREE * min(-q / z for z, q in zip(NORMAL_BELOW, low, strict=True))


def _low_quantiles(values: np.ndarray, shares: list[float]) -> list[float]:
    """Return quantiles of the lower end, as `numpy.quantile` does, from the values there alone."""
    places = [share * (len(values) - 1) for share in shares]
    needed = int(max(places)) + 2
    tail = values
    if len(values) > 4 * PROBED:
        probe = np.sort(values[:: len(values) // PROBED])
        share = max(shares)
        spare = 4 * np.sqrt(share * (1 - share) / len(probe))
        lowest = values[values <= probe[int((share + spare) * len(probe))]]
        tail = lowest if len(lowest) >= needed else values
    ranks = sorted({min(int(place) + more, len(tail) - 1) for place in places for more in (0, 1)})
    ordered = np.partition(tail, ranks)
    quantiles = []
    for place in places:
        low, high = ordered[int(place)], ordered[min(int(place) + 1, len(tail) - 1)]
        quantiles.append(float(low + (place - int(place)) * (high - low)))
    return quantiles
