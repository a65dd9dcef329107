"""Which frame belongs to which sample of another signal, and trials that are labelled by sample."""

from __future__ import annotations

import numpy as np

from calscipy.errors import ArgumentError


def frames_at_samples(
    samples: np.ndarray, frames: np.ndarray, numbers: np.ndarray
) -> tuple[np.ndarray, int, int]:
    """Mark each frame at the sample that is nearest to its time.

    Parameters
    ----------
    samples, frames : ndarray
        Times, increasing.
    numbers : ndarray, shape (frames,)
        What the frames are called.

    Returns
    -------
    marks : ndarray of float64, shape (samples,)
        Numbers of frames, NaN at the samples between them.
    outside, shared : int
        How many frames lie over half a step outside of the samples, and how many are not marked
        because a later one is nearest to the same sample.

    Examples
    --------
    >>> frames_at_samples(np.arange(5) * 10.0, np.array([9.6, 30.2]), np.arange(2))[0].tolist()
    [nan, 0.0, nan, 1.0, nan]
    """
    marks = np.full(len(samples), np.nan)
    nearest, there = _nearest(samples, frames)
    marks[nearest[there]] = numbers[there]
    marked = int(np.count_nonzero(~np.isnan(marks)))
    return marks, int(np.count_nonzero(~there)), int(np.count_nonzero(there)) - marked


def frame_of_samples(
    samples: np.ndarray, frames: np.ndarray, numbers: np.ndarray, *, method: str
) -> np.ndarray:
    """Tell for every sample which frame belongs to it.

    Parameters
    ----------
    samples, frames, numbers
        As for `frames_at_samples`.
    method : {"nearest", "previous"}
        The frame nearest in time, or the last one up to the sample.

    Returns
    -------
    ndarray of float64, shape (samples,)
        NaN for samples over half a usual step of the frames (``"previous"``: a whole one) away.

    Examples
    --------
    >>> times = np.array([0.0, 4.0, 8.0, 12.0]), np.array([1.0, 11.0])
    >>> frame_of_samples(*times, np.array([5, 6]), method="nearest").tolist()
    [5.0, 5.0, 6.0, 6.0]
    >>> frame_of_samples(*times, np.array([5, 6]), method="previous").tolist()
    [nan, 5.0, 5.0, 6.0]
    """
    if method == "nearest":
        at, there = _nearest(frames, samples)
    elif method == "previous":
        before = np.searchsorted(frames, samples, side="right") - 1
        at = np.maximum(before, 0)
        there = (before >= 0) & (samples - frames[at] <= _step(frames))
    else:
        raise ArgumentError(f"method must be 'nearest' or 'previous', got {method!r}.")
    return np.where(there, numbers[at], np.nan)


def _nearest(axis: np.ndarray, wanted: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the places on an axis nearest to some times, and which are within half a step."""
    if not len(axis) or (np.diff(axis) < 0).any():
        raise ArgumentError("times that increase are needed to tell which frame belongs to which.")
    right = np.clip(np.searchsorted(axis, wanted), 1 if len(axis) > 1 else 0, len(axis) - 1)
    left = np.maximum(right - 1, 0)
    at = np.where(np.abs(axis[right] - wanted) < np.abs(wanted - axis[left]), right, left)
    return at, np.abs(axis[at] - wanted) <= _step(axis) * 0.5000001  # rounded times


def _step(axis: np.ndarray) -> float:
    return float(np.median(np.diff(axis))) if len(axis) > 1 else 0.0


def trials_by_label(rows: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Cut rows into the trials that the label of every sample tells.

    Parameters
    ----------
    rows : ndarray, shape (rows, samples)
        Numbers.
    labels : ndarray, shape (samples,)
        Trial of each sample; all have as many samples.

    Returns
    -------
    trials : ndarray, shape (trials, rows, samples of a trial)
        Samples of a trial in their order.
    labels : ndarray, shape (trials,)
        Sorted.

    Raises
    ------
    ArgumentError
        If trials are of different lengths.

    Examples
    --------
    >>> trials, labels = trials_by_label(np.arange(4)[None], np.array([7, 3, 7, 3]))
    >>> trials.tolist(), labels.tolist()
    ([[[1, 3]], [[0, 2]]], [3, 7])
    """
    known, counts = np.unique(labels, return_counts=True)
    if len(labels) != rows.shape[-1] or not len(labels) or np.ptp(counts):
        raise ArgumentError(
            "the trial of every sample is needed, and as many samples in each trial, got "
            f"{len(labels)} labels for {rows.shape[-1]} samples, {counts.min(initial=0)} to "
            f"{counts.max(initial=0)} of each."
        )
    ordered = rows[:, np.argsort(labels, kind="stable")]
    trials = ordered.reshape(len(rows), len(known), int(counts[0]))
    return np.ascontiguousarray(trials.transpose(1, 0, 2)), known
