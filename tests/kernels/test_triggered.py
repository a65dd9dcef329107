"""Sums of frames by lag: against a loop over hits."""

import numpy as np
import pytest

from calscipy.kernels.triggered import LagSums, combine, finish

LAGS, FRAMES, SHAPE = 4, 9, (2, 3, 2)  # two channels of 3 x 2 pixels


def hits(seed):
    rng = np.random.default_rng(seed)
    at = np.sort(rng.integers(0, FRAMES, 15))
    return at, rng.integers(0, LAGS - 1, 15)  # the last lag never occurs


def slow(frames, at, lag, valid):
    total, count = np.zeros((LAGS, *SHAPE)), np.zeros((LAGS, *SHAPE), int)
    for frame, to in zip(at, lag, strict=True):
        for channel in np.flatnonzero(valid[frame]):
            known = ~np.isnan(frames[frame, channel])
            total[to, channel][known] += frames[frame, channel][known]
            count[to, channel] += known
    return total, count


def counts(at, lag, valid):
    count = np.zeros((LAGS, 2), int)
    np.add.at(count, lag, valid[at])
    return count


@pytest.mark.parametrize("gaps", [0.0, 0.2])
@pytest.mark.parametrize("dtype", ["f4", "f8"])
@pytest.mark.parametrize("cut", [0, 1, 4, 9])
def test_blocks_add_up_to_a_slow_loop(gaps, dtype, cut):
    rng = np.random.default_rng(cut)
    frames = rng.normal(50, 20, (FRAMES, *SHAPE)).astype(dtype)
    frames[rng.random(frames.shape) < gaps] = np.nan
    valid = rng.random((FRAMES, 2)) > 0.2
    at, lag = hits(cut)
    parts = []
    for start, stop in ((0, cut), (cut, FRAMES)):
        here = (at >= start) & (at < stop)
        part = LagSums.empty(lag[here], SHAPE, frames.dtype)
        part.add(frames[start:stop], at[here] - start, lag[here], valid[start:stop])
        parts.append(part)
    before = [part.total.copy() for part in parts]
    total, count = slow(frames.astype("f8"), at, lag, valid)
    whole = counts(at, lag, valid)
    mean, known = finish(combine(*parts), whole, (LAGS, *SHAPE), "mean", "f8")
    np.testing.assert_array_equal(known, count)
    np.testing.assert_array_equal(np.isnan(mean), count == 0)
    np.testing.assert_allclose(mean[count > 0], total[count > 0] / count[count > 0], rtol=1e-12)
    made, _ = finish(combine(*parts), whole, (LAGS, *SHAPE), "sum", "f8")
    np.testing.assert_allclose(made, total, rtol=1e-12)
    for part, kept in zip(parts, before, strict=True):  # a task that is run again finds its input
        np.testing.assert_array_equal(part.total, kept)


def test_integers_are_added_exactly():
    frames = np.full((1, 1, 1), 65535, "u2")
    sums = LagSums.empty([0], (1, 1), frames.dtype)
    sums.add(frames, np.zeros(70_000, int), np.zeros(70_000, int))
    assert sums.total.dtype == np.int64
    assert sums.total.item() == 70_000 * 65535


def test_infinite_values_pass_in_silence():
    frames = np.array([np.inf, -np.inf, np.inf]).reshape(3, 1, 1)
    sums = LagSums.empty([0, 1], (1, 1), frames.dtype)
    sums.add(frames, np.array([0, 1, 2]), np.array([0, 0, 1]))
    mean, known = finish(sums, np.array([2, 1]), (2, 1, 1), "mean", "f4")
    np.testing.assert_array_equal(mean.ravel(), [np.nan, np.inf])
    assert known.ravel().tolist() == [2, 1]


def test_without_triggers_there_is_nothing():
    mean, known = finish(None, np.zeros(2, int), (2, 1, 1), "mean", "f4")
    assert np.isnan(mean).all()
    assert not known.any()
    assert finish(None, np.zeros(2, int), (2, 1, 1), "sum", "i8")[0].tolist() == [[[0]], [[0]]]
