"""Onsets of calcium transients, with time as the last axis.

`derivative_events` is the rule of CalSciPy 0.3.5, kept so that old results can be repeated: it
reports about ten events per minute of pure noise. `matched_events` controls that rate.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import ArrayLike
from scipy.ndimage import correlate1d, gaussian_filter1d
from scipy.optimize import brentq

from calscipy.errors import ArgumentError
from calscipy.kernels.baseline import as_float, rows_by_gaps
from calscipy.kernels.noise import noise_sigma

__all__ = ["derivative_events", "matched_events", "matched_score"]

# Windows of the matched filter in decay times. The long one finds the weakest isolated transient,
# the short one tells dense ones apart: at 10 Hz and SNR 5, with a decay of 0.5 s and one transient
# every 2 s, a single window of 2 decay times found 95 % and the pair found 99.9 %.
BEFORE = 1.0
AFTER = (1.5, 3.0)
FEWEST = 3  # samples on each side of the onset
MOST_SPREAD = 3.0  # times the spread of the full window that a window with gaps may have
SINGULAR = 1e-8  # least eigenvalue of a window's normal equations; 1 for the full window
PROMINENCE = 2.0  # in σ: between two events the score must fall this far below the lower one
TAIL = 8.0  # decay times after which a transient is over
CLEAR = 2.7  # in standard errors: transients taken out before the noise is measured again
ROUNDS = 4
LEAST_OF_THREE = 1.05  # times the least of three quantiles is σ, in minutes of smoothed noise
NORMAL_BELOW = {1: 0.158655, 2: 0.022750, 3: 0.001350}  # share of a normal distribution below -z σ
PIECE = 2**20  # samples of windows with gaps worked on at a time
ANGLE, ANGLE_WEIGHT = np.polynomial.legendre.leggauss(64)


class _Window(NamedTuple):
    """Matched filter for a window of samples around the onset."""

    basis: np.ndarray  # (window, 3), orthonormal; the last column is the filter
    onset: int  # where in the window the transient begins
    gain: float  # of the filter, for a transient of peak 1


def _signal() -> Any:
    """Import scipy.signal when it is needed: it takes a second."""
    from scipy import signal as module

    return module


def derivative_events(
    f: ArrayLike,
    *,
    timeout: int,
    frame_rate: float,
    smooth: bool = True,
    force_nonnegative: bool = True,
) -> np.ndarray:
    """Peaks of the smoothed, non-negative derivative, as CalSciPy 0.3.5 found them.

    The difference to the sample before is taken (0 at the first sample), smoothed, and clipped at
    zero. Peaks with a prominence of at least half its standard deviation that are at least
    ``timeout`` frames apart are events. For floating-point traces the result is that of
    ``identify_events``; integers are promoted first, where CalSciPy let uint16 differences wrap.

    Parameters
    ----------
    f : array_like, shape (..., samples)
        Traces. A row with some samples missing is refused: the standard deviation and
        the smoothing have no meaning across a gap. A row that is all NaN has no events.
    timeout : int
        Least distance of two events in frames, from 1 up; the higher peak wins. 0.3.5 used 15.
    frame_rate : float
        Frames per second, which is also the σ of the Gaussian in frames: it is 1 s wide.
    smooth : bool, default True
        Smooth the derivative.
    force_nonnegative : bool, default True
        Set negative derivatives to zero.

    Returns
    -------
    ndarray of bool
        Of the shape of ``f``. True at the sample after the steepest rise: at ``i`` where the
        difference between samples ``i - 1`` and ``i`` peaks. The wide Gaussian moves this to well
        before the onset of an isolated transient: 17 frames at 30 Hz and a decay of 0.7 s.

    Examples
    --------
    >>> f = np.zeros(300)
    >>> f[100:] = np.exp(-np.arange(200) / 20)
    >>> np.flatnonzero(derivative_events(f, timeout=15, frame_rate=10.0)).tolist()
    [97]
    >>> np.flatnonzero(derivative_events(f, timeout=15, frame_rate=10.0, smooth=False)).tolist()
    [100]
    """
    if not frame_rate > 0:
        raise ArgumentError(f"frame_rate must be above 0 Hz, not {frame_rate!r}.")
    if not timeout >= 1:
        raise ArgumentError(f"timeout must be at least 1 frame, not {timeout!r}.")
    f = as_float(f)
    rows = f.reshape(int(np.prod(f.shape[:-1])), f.shape[-1])
    missing = np.isnan(rows)
    empty = missing.all(axis=1)
    if missing[~empty].any():
        raise ArgumentError(
            f"{int(missing[~empty].any(axis=1).sum())} rows have missing samples, across which "
            "the derivative rule is not defined. Use the matched method, or fill the gaps first."
        )
    events = np.zeros(rows.shape, dtype=bool)
    for row in np.flatnonzero(~empty):
        trace = rows[row].astype(np.float64)
        change = np.diff(trace, prepend=trace[:1])
        if smooth:
            change = gaussian_filter1d(change, sigma=frame_rate)
        if force_nonnegative:
            change = np.maximum(change, 0)
        peaks, _ = _signal().find_peaks(change, prominence=change.std() / 2, distance=timeout)
        events[row, peaks] = True
    return events.reshape(f.shape)


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
    score, threshold = _score(f, frame_rate, rise, decay, false_positives, noise)
    apart = max(1, round(2 * rise * frame_rate))
    events = np.zeros(score.shape, dtype=bool)
    for row, out in zip(score, events, strict=True):
        out[_peaks(row, threshold, apart)] = True
    return events.reshape(f.shape)


def _peaks(score: np.ndarray, threshold: float, apart: int) -> np.ndarray:
    """Peaks of one row whose place is known: the score beside them is defined, or nearly beside.

    A score that still rises where it ends, at a gap or an end of the trace, is not a peak.
    """
    defined = np.flatnonzero(np.isfinite(score))
    if len(defined) < 3:
        return defined[:0]
    bridged = np.interp(np.arange(len(score)), defined, score[defined])
    peaks, _ = _signal().find_peaks(
        bridged, height=threshold, prominence=PROMINENCE, distance=apart
    )
    peaks = np.intersect1d(peaks, defined[1:-1])
    place = np.searchsorted(defined, peaks)
    widest = np.maximum(defined[place + 1] - peaks, peaks - defined[place - 1])
    return peaks[widest <= max(2, apart)]


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
    both windows are added up, so that the rate is a little below the one asked for.

    Examples
    --------
    >>> f = np.random.default_rng(0).normal(size=3000)
    >>> score, threshold = matched_score(f, frame_rate=30.0, rise=0.05, decay=0.7)
    >>> bool(abs(np.nanstd(score) - 1) < 0.1), round(threshold, 2)
    (True, 3.87)
    """
    f = as_float(f)
    score, threshold = _score(f, frame_rate, rise, decay, false_positives, noise)
    return score.reshape(f.shape).astype(f.dtype, copy=False), threshold


def _score(
    f: np.ndarray,
    frame_rate: float,
    rise: float,
    decay: float,
    false_positives: float,
    noise: ArrayLike | None,
) -> tuple[np.ndarray, float]:
    """Score of every row in float64, and the threshold."""
    for name, value in (
        ("frame_rate", frame_rate),
        ("decay", decay),
        ("false_positives", false_positives),
    ):
        if not 0 < value < np.inf:
            raise ArgumentError(f"{name} must be above 0, not {value!r}.")
    if not 0 <= rise < np.inf:
        raise ArgumentError(f"rise must be 0 or more, not {rise!r}.")
    rows = f.reshape(int(np.prod(f.shape[:-1])), f.shape[-1]).astype(np.float64, copy=False)
    sigma = noise_sigma(rows) if noise is None else np.asarray(noise, dtype=np.float64)
    sigma = np.broadcast_to(sigma, len(rows) if noise is None else f.shape[:-1]).reshape(-1, 1)
    sigma = np.where(sigma > 0, sigma, np.nan)
    windows = _windows(frame_rate, rise, decay)
    shape = _shape(np.arange(round(TAIL * decay * frame_rate) + 2) / frame_rate, rise, decay)
    threshold = _threshold(windows, false_positives / (60 * frame_rate))
    score = np.full(rows.shape, np.nan)
    if score.size == 0:
        return score, threshold
    with np.errstate(invalid="ignore", over="ignore"):  # infinite samples
        for members, valid, _ in rows_by_gaps(rows):
            group = np.where(valid, rows[members], 0.0)
            errors = [sigma[members]] * len(windows)
            if noise is None:
                apart = max(1, round(2 * rise * frame_rate))
                errors = _errors(group, valid, sigma[members], windows, shape, apart)
            found = [_amplitude(group, valid, window) for window in windows]
            best = np.fmax.reduce([a / e for a, e in zip(found, errors, strict=True)])
            score[members] = best
    return score, threshold


def _errors(
    group: np.ndarray,
    valid: np.ndarray,
    sigma: np.ndarray,
    windows: list[_Window],
    shape: np.ndarray,
    apart: int,
) -> list[np.ndarray]:
    """Return the standard error of the amplitude in each window, for rows with the same gaps.

    At least that of white noise. Noise that was smoothed along time varies more over a window than
    from one sample to the next, so the spread of the amplitudes counts where it is larger, once
    the transients that stand out of it are taken away.
    """
    rest = group
    onsets = np.zeros(group.shape, dtype=bool)
    for _ in range(ROUNDS):
        amplitudes = [_amplitude(rest, valid, window) for window in windows]
        errors = [np.maximum(sigma, _lower_spread(a)) for a in amplitudes]
        best = np.fmax.reduce([a / e for a, e in zip(amplitudes, errors, strict=True)])
        for row, out in zip(best, onsets, strict=True):
            out[_peaks(row, CLEAR, apart)] = True
        if not onsets.any():
            break
        # Heights are fitted on what is left, so that earlier rounds are corrected by later ones.
        heights = np.where(onsets, np.nan_to_num(amplitudes[0]) / windows[0].gain, 0.0)
        fitted = _signal().oaconvolve(heights, shape[None], axes=-1)[:, : group.shape[1]]
        rest = np.where(valid, rest - fitted, 0.0)
    return errors


def _lower_spread(amplitude: np.ndarray) -> np.ndarray:
    """Return σ of the amplitudes in each row, from those below zero: transients are above.

    The least of what three quantiles of a normal distribution say, corrected for being the least.
    Dense transients push many amplitudes somewhat below zero but few far below, unlike noise.
    """
    known = np.isfinite(amplitude)
    below = np.where(known.any(axis=-1, keepdims=True), np.where(known, amplitude, np.nan), 0.0)
    levels = np.nanquantile(below, list(NORMAL_BELOW.values()), axis=-1, keepdims=True)
    return LEAST_OF_THREE * np.min(
        [-q / z for z, q in zip(NORMAL_BELOW, levels, strict=True)], axis=0
    )


def _windows(frame_rate: float, rise: float, decay: float) -> list[_Window]:
    """Build the matched filters, one for each distinct window."""
    before = max(FEWEST, round(BEFORE * decay * frame_rate))
    windows = []
    for after in sorted({max(FEWEST, round(times * decay * frame_rate)) for times in AFTER}):
        t = np.arange(-before, after + 1) / frame_rate
        transient = _shape(t, rise, decay)
        ongoing = np.exp((t[0] - t) / decay)
        terms = np.stack([np.ones_like(t), ongoing, transient], axis=1)
        basis, r = np.linalg.qr(terms)
        windows.append(_Window(basis * [1, 1, np.sign(r[2, 2])], before, abs(r[2, 2])))
    return windows


def _shape(t: np.ndarray, rise: float, decay: float) -> np.ndarray:
    """Return a transient that begins at time zero, with peak 1 among the samples."""
    since = np.maximum(t, 0)
    risen = (t > 0) * (-np.expm1(-since / rise) if rise > 0 else 1.0)
    transient = risen * np.exp(-since / decay)
    if transient.max() < 1e-100:
        raise ArgumentError(
            f"A transient with a decay of {decay!r} s is over within one frame at "
            f"{1 / (t[1] - t[0]):g} Hz."
        )
    return transient / transient.max()


def _threshold(windows: list[_Window], per_sample: float) -> float:
    """Level that the scores of all windows together cross upwards ``per_sample`` times."""
    angles = [np.arccos(np.clip(w.basis[1:, 2] @ w.basis[:-1, 2], -1, 1)) for w in windows]

    def excess(level: float) -> float:
        rate = 0.0
        for angle in angles:
            theta = angle * (ANGLE + 1) / 2
            crossing = np.exp(-(level**2) / (1 + np.cos(theta)))
            rate += float(ANGLE_WEIGHT @ crossing) * angle / (4 * np.pi)
        return rate - per_sample

    return 0.0 if excess(0.0) <= 0 else float(brentq(excess, 0.0, 50.0))


def _amplitude(group: np.ndarray, valid: np.ndarray, window: _Window) -> np.ndarray:
    """Amplitude of the transient over its standard error at σ = 1, for rows with the same gaps.

    Whole windows are filtered; the others are fitted to the samples they have, so that what lies in
    a gap can never change a score.
    """
    kernel, onset = window.basis[:, 2], window.onset
    size = len(kernel)
    there = sliding_window_view(np.pad(valid, (onset, size - 1 - onset)), size)
    whole = there.all(axis=1)
    score = np.full(group.shape, np.nan)
    if whole.any():
        filtered = correlate1d(group, kernel, axis=-1, mode="constant", origin=onset - size // 2)
        score[:, whole] = filtered[:, whole]
    after = there[:, onset + 1 :].sum(axis=1)
    partial = np.flatnonzero(~whole & valid & (after >= 2))
    samples = sliding_window_view(np.pad(group, ((0, 0), (onset, size - 1 - onset))), size, axis=1)
    step = max(1, PIECE // size)
    for start in range(0, len(partial), step):
        at = partial[start : start + step]
        weights = _partial_filters(there[at], window)
        for row, out in zip(samples, score, strict=True):
            # One product per window, so that no digit of it depends on how many there are.
            out[at] = (row[at][:, None, :] @ weights[:, :, None])[:, 0, 0]
    return score


def _partial_filters(there: np.ndarray, window: _Window) -> np.ndarray:
    """Unit-norm filters for windows with gaps; NaN where the transient is not determined."""
    basis = window.basis
    products = (basis[:, :, None] * basis[:, None, :]).reshape(len(basis), 9)
    normal = (there[:, None, :].astype(np.float64) @ products).reshape(-1, 3, 3)
    solvable = np.linalg.eigvalsh(normal)[:, 0] > SINGULAR
    weights = np.full(there.shape, np.nan)
    inverse = np.linalg.inv(normal[solvable])
    variance = inverse[:, 2, 2]  # 1 for the whole window
    found = there[solvable] * (inverse[:, None, 2] @ basis.T)[:, 0]
    found /= np.sqrt(variance)[:, None]
    found[variance > MOST_SPREAD**2] = np.nan
    weights[solvable] = found
    return weights
