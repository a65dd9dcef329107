"""Filters that find transients of one shape: how they are made, how often noise exceeds them.

They work on single traces in float64, of which missing samples are 0.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from scipy.optimize import brentq
from scipy.special import ndtr

from calscipy.errors import ArgumentError
from calscipy.kernels.compiled import compiled

# Windows of the matched filter in decay times. The long one finds the weakest isolated transient,
# the short one tells dense ones apart: at 10 Hz and SNR 5, with a decay of 0.5 s and one transient
# every 2 s, a single window of 2 decay times found 95 % and the pair found 99.9 %.
BEFORE = 1.0
AFTER = (1.5, 3.0)
FEWEST = 3  # samples on each side of the onset
MOST_SPREAD = 3.0  # times the spread of the full window that a window with gaps may have
SINGULAR = 1e-8  # least eigenvalue of a window's normal equations; 1 for the full window
TAIL = 8.0  # decay times after which a transient is over
PIECE = 2**20  # samples of windows with gaps worked on at a time
ANGLE, ANGLE_WEIGHT = np.polynomial.legendre.leggauss(64)
BLOCK = 1024  # samples that are filtered at a time: they stay in the cache


class Window(NamedTuple):
    """Matched filter for a window of samples around the onset."""

    basis: np.ndarray  # (window, 3), orthonormal; the last column is the filter
    onset: int  # where in the window the transient begins
    gain: float  # of the filter, for a transient of peak 1
    answer: np.ndarray  # of the filter to a transient, from the first sample that it changes


class Gaps(NamedTuple):
    """What a filter does where its window has gaps or reaches beyond the trace."""

    broken: np.ndarray  # samples whose window is not whole
    partial: np.ndarray  # those of them at which the transient is fitted to the samples there
    weights: np.ndarray  # (partial, 3), of the columns of the basis


def to_samples(seconds: float, frame_rate: float) -> int:
    """Round a time to samples, halves up.

    Frame rates come from times and are off in their last digits, which must not decide.
    """
    return int(np.floor(seconds * frame_rate * (1 + 1e-9) + 0.5))


def tail_times(frame_rate: float, decay: float) -> np.ndarray:
    """Return the times of the samples of a whole transient."""
    return np.arange(to_samples(TAIL * decay, frame_rate) + 2) / frame_rate


def make_windows(frame_rate: float, rise: float, decay: float) -> list[Window]:
    """Build the matched filters, one for each distinct window."""
    before = max(FEWEST, to_samples(BEFORE * decay, frame_rate))
    whole = transient_shape(tail_times(frame_rate, decay), rise, decay)
    windows = []
    for after in sorted({max(FEWEST, to_samples(times * decay, frame_rate)) for times in AFTER}):
        t = np.arange(-before, after + 1) / frame_rate
        transient = transient_shape(t, rise, decay)
        ongoing = np.exp((t[0] - t) / decay)
        terms = np.stack([np.ones_like(t), ongoing, transient], axis=1)
        basis, r = np.linalg.qr(terms)
        basis = np.ascontiguousarray(basis * [1, 1, np.sign(r[2, 2])])
        answer = np.convolve(whole, basis[::-1, 2])
        windows.append(Window(basis, before, float(abs(r[2, 2])), answer))
    return windows


def transient_shape(t: np.ndarray, rise: float, decay: float) -> np.ndarray:
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


def crossing_level(windows: list[Window], per_sample: float) -> float:
    """Level that the larger of the scores of all windows crosses upwards ``per_sample`` times."""
    angles = [np.arccos(np.clip(w.basis[1:, 2] @ w.basis[:-1, 2], -1, 1)) for w in windows]
    apart = 0.0  # of two Gaussians with correlation r: sqrt((1 - r) / (1 + r))
    if len(windows) > 1:
        short, long = (window.basis[:, 2] for window in windows)
        together = short @ long[: len(short)]
        apart = np.sqrt((1 - together) / (1 + together))

    def excess(level: float) -> float:
        rate = 0.0
        for angle in angles:
            theta = angle * (ANGLE + 1) / 2
            crossing = np.exp(-(level**2) / (1 + np.cos(theta)))
            rate += float(ANGLE_WEIGHT @ crossing) * angle / (4 * np.pi)
        if len(windows) > 1:
            rate *= float(ndtr(level * apart))  # the other score is below at that moment
        return rate - per_sample

    return 0.0 if excess(0.0) <= 0 else float(brentq(excess, 0.0, 50.0))


def amplitude_over_error(trace: np.ndarray, window: Window, gaps: Gaps) -> np.ndarray:
    """Amplitude of the transient over its standard error at σ = 1, for a row without its gaps.

    Whole windows are filtered; the others are fitted to the samples they have, so that what lies in
    a gap can never change a score.
    """
    size, onset = len(window.basis), window.onset
    out = np.full(len(trace), np.nan)
    if len(trace) >= size:
        _correlate(trace, window.basis, out[onset : len(trace) - size + 1 + onset])
    out[gaps.broken] = np.nan
    fit_partial(trace, window.basis, onset, gaps.partial, gaps.weights, out)
    return out


def find_gaps(valid: np.ndarray, window: Window) -> Gaps:
    """Find the incomplete windows, and how a transient is fitted in those where it can be."""
    size, onset = len(window.basis), window.onset
    padded = np.pad(valid, (onset, size - 1 - onset))
    total = np.concatenate([[0], np.cumsum(padded)])
    broken = total[size:] - total[:-size] < size
    after = total[size:] - total[onset + 1 : onset + 1 + len(valid)]
    partial = np.flatnonzero(broken & valid & (after >= 2))
    weights = np.full((len(partial), 3), np.nan)
    there = np.lib.stride_tricks.sliding_window_view(padded, size)
    step = max(1, PIECE // size)
    for start in range(0, len(partial), step):
        part = slice(start, start + step)
        weights[part] = _partial_filters(there[partial[part]], window)
    return Gaps(np.flatnonzero(broken), partial, weights)


def _partial_filters(there: np.ndarray, window: Window) -> np.ndarray:
    """Return filters of unit norm for windows with gaps, NaN where they are not determined."""
    basis = window.basis
    products = (basis[:, :, None] * basis[:, None, :]).reshape(len(basis), 9)
    normal = (there[:, None, :].astype(np.float64) @ products).reshape(-1, 3, 3)
    solvable = np.linalg.eigvalsh(normal)[:, 0] > SINGULAR
    weights = np.full((len(there), 3), np.nan)
    inverse = np.linalg.inv(normal[solvable])
    variance = inverse[:, 2, 2]  # 1 for the whole window
    found = inverse[:, 2] / np.sqrt(variance)[:, None]
    found[variance > MOST_SPREAD**2] = np.nan
    weights[solvable] = found
    return weights


@compiled
def _correlate(trace: np.ndarray, basis: np.ndarray, out: np.ndarray) -> None:
    """Correlate with the last column of the basis wherever it fits into the trace.

    The inner loop runs over samples, so that it vectorises without changing the order of a sum.
    """
    size = basis.shape[0]
    for start in range(0, out.shape[0], BLOCK):
        block = out[start : start + BLOCK]
        count = block.shape[0]
        line = trace[start : start + count + size - 1]
        for at in range(count):
            block[at] = 0.0
        tap = 0
        while tap + 4 <= size:
            one, two, three, four = line[tap:], line[tap + 1 :], line[tap + 2 :], line[tap + 3 :]
            first, second = basis[tap, 2], basis[tap + 1, 2]
            third, fourth = basis[tap + 2, 2], basis[tap + 3, 2]
            for at in range(count):
                block[at] += (first * one[at] + second * two[at]) + (
                    third * three[at] + fourth * four[at]
                )
            tap += 4
        while tap < size:
            one, first = line[tap:], basis[tap, 2]
            for at in range(count):
                block[at] += first * one[at]
            tap += 1


@compiled
def fit_partial(
    trace: np.ndarray,
    basis: np.ndarray,
    onset: int,
    places: np.ndarray,
    weights: np.ndarray,
    out: np.ndarray,
) -> None:
    """Write the amplitude at the places whose window is not whole; missing samples are 0."""
    size = basis.shape[0]
    for which in range(places.shape[0]):
        first = places[which] - onset
        begin = max(0, -first)
        end = min(size, trace.shape[0] - first)
        line, terms = trace[first + begin :], basis[begin:]
        level = ongoing = transient = 0.0
        for at in range(end - begin):
            level += line[at] * terms[at, 0]
            ongoing += line[at] * terms[at, 1]
            transient += line[at] * terms[at, 2]
        weight = weights[which]
        out[places[which]] = weight[0] * level + weight[1] * ongoing + weight[2] * transient


@compiled
def subtract_copies(
    target: np.ndarray, places: np.ndarray, heights: np.ndarray, pattern: np.ndarray, shift: int
) -> None:
    """Subtract the pattern times a height, its first sample ``shift`` after each of the places."""
    for which in range(places.shape[0]):
        first = places[which] + shift
        begin = max(0, -first)
        end = min(pattern.shape[0], target.shape[0] - first)
        line, values = target[first + begin :], pattern[begin:]
        height = heights[which]
        for at in range(end - begin):
            line[at] -= height * values[at]
