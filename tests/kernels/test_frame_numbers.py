"""Frames at samples, samples of frames and trials by label against loops."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from calscipy.errors import ArgumentError
from calscipy.kernels.frame_numbers import frame_of_samples, frames_at_samples, trials_by_label


@settings(deadline=None, derandomize=True, max_examples=80)
@given(st.integers(0, 999), st.integers(2, 60), st.integers(1, 20))
def test_frames_are_marked_at_the_nearest_sample(seed, samples, frames):
    rng = np.random.default_rng(seed)
    axis = np.arange(samples) * 10.0
    times = np.sort(rng.uniform(-30, samples * 10 + 20, frames))
    marks, outside, shared = frames_at_samples(axis, times, np.arange(frames))
    expected = np.full(samples, np.nan)
    lost = 0
    for number, time in enumerate(times):
        near = int(np.argmin(np.abs(axis - time)))
        if abs(axis[near] - time) > 5 + 1e-5:
            lost += 1
        else:
            expected[near] = number
    np.testing.assert_array_equal(marks, expected)
    assert outside == lost
    assert shared == frames - lost - np.isfinite(expected).sum()


@pytest.mark.parametrize("method", ["nearest", "previous"])
def test_every_sample_gets_the_frame_that_belongs_to_it(method):
    rng = np.random.default_rng(0)
    frames = np.cumsum(rng.uniform(29, 31, 20))
    step = float(np.median(np.diff(frames)))
    samples = np.sort(rng.uniform(0, 700, 500))
    found = frame_of_samples(samples, frames, np.arange(20) + 7, method=method)
    for time, number in zip(samples, found, strict=True):
        if method == "nearest":
            at = int(np.argmin(np.abs(frames - time)))
            there = abs(frames[at] - time) <= step / 2 * 1.000001
        else:
            before = np.flatnonzero(frames <= time)
            at = before[-1] if before.size else 0
            there = bool(before.size) and time - frames[at] <= step
        assert number == at + 7 if there else np.isnan(number)


def test_a_single_sample_and_a_single_frame():
    assert frames_at_samples(np.array([5.0]), np.array([5.0]), np.array([3]))[0].tolist() == [3]
    one = frame_of_samples(np.array([4.0, 5.0]), np.array([5.0]), np.array([3]), method="nearest")
    np.testing.assert_array_equal(one, [np.nan, 3])


@pytest.mark.parametrize("axis", [[], [3.0, 2.0]])
def test_times_that_go_back_are_refused(axis):
    with pytest.raises(ArgumentError, match="times that increase"):
        frames_at_samples(np.array(axis), np.array([1.0]), np.array([0]))


@settings(deadline=None, derandomize=True, max_examples=40)
@given(st.integers(1, 5), st.integers(1, 6), st.integers(0, 99))
def test_trials_keep_the_order_of_their_samples(trials, length, seed):
    rng = np.random.default_rng(seed)
    labels = rng.permutation(np.repeat(rng.permutation(50)[:trials], length))
    rows = rng.random((3, labels.size))
    found, known = trials_by_label(rows, labels)
    assert known.tolist() == sorted(set(labels.tolist()))
    for trial, label in zip(found, known, strict=True):
        assert np.array_equal(trial, rows[:, labels == label])


@pytest.mark.parametrize("labels", [[0, 0, 1], [0, 1], []])
def test_trials_of_different_lengths_are_refused(labels):
    with pytest.raises(ArgumentError, match="as many samples in each trial"):
        trials_by_label(np.zeros((2, 3)), np.array(labels))
