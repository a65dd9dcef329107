"""Averages of trials and their bootstrap intervals against a slow loop."""

import numpy as np
import pytest

from calscipy.kernels.averages import average_trials


def reference(values, group, at, confidence, resamples, seed):
    """Resample the trials of one row by a slow loop, shape (4, samples)."""
    values = values[group].astype("f8")
    drawn = np.random.default_rng([seed, at]).integers(len(group), size=(resamples, len(group)))
    out = np.full((4, values.shape[1]), np.nan)
    for sample in range(values.shape[1]):
        column = values[:, sample]
        known = column[~np.isnan(column)]
        out[3, sample] = len(known)
        if len(known):
            out[0, sample] = known.mean()
        if len(known) > 1:
            means = [column[which][~np.isnan(column[which])] for which in drawn]
            means = [some.mean() for some in means if len(some)]
            ends = 50 - 50 * confidence, 50 + 50 * confidence
            out[1:3, sample] = np.percentile(means, ends)
    return out


@pytest.mark.parametrize(("dtype", "rtol"), [("f4", 2e-5), ("f8", 1e-11)])
@pytest.mark.parametrize("level", [0.0, 1e4])
def test_intervals_are_those_of_a_slow_loop(dtype, rtol, level):
    rng = np.random.default_rng(1)
    trials = rng.normal(level, 1, (2, 3, 12, 5)).astype(dtype)
    trials[0, 1, 3:9, 2] = np.nan
    trials[0, 2, :, 4] = np.nan
    trials[1, 0, 1:7, 0] = np.nan
    trials[1, 1] = np.nan
    trials[1, 2, :, 3] = 7.0
    groups = [np.array([0, 3, 5, 7, 9, 11]), np.array([1]), np.array([2, 4, 6, 8, 10])]
    how = {"confidence": 0.9, "resamples": 200, "seed": 3}
    out = average_trials(trials, groups=groups, **how, dtype=np.dtype(dtype))
    assert out.shape == (2, 3, 4, 3, 5)
    assert out.dtype == dtype
    scale = rtol * max(1.0, level / 1e3)  # the ends are rounded to float32
    for row in np.ndindex(2, 3):
        for at, group in enumerate(groups):
            expected = reference(trials[row], group, at, **how)
            np.testing.assert_allclose(
                out[(*row, slice(None), at)], expected, rtol=rtol, atol=scale
            )
    assert np.isnan(out[..., 1:3, 1, :]).all()


def test_rows_do_not_depend_on_those_beside_them():
    trials = np.random.default_rng(0).normal(size=(7, 20, 33)).astype("f4")
    how = {"groups": [np.arange(20)], "confidence": 0.95, "resamples": 100, "seed": 0}
    whole = average_trials(trials, **how, dtype=np.dtype("f4"))
    for row in range(7):
        alone = average_trials(trials[row], **how, dtype=np.dtype("f4"))
        np.testing.assert_array_equal(alone, whole[row])


def test_infinite_samples_do_not_warn():
    trials = np.ones((1, 4, 2))
    trials[0, 1, 0] = np.inf
    how = {"groups": [np.arange(4)], "confidence": 0.9, "resamples": 40, "seed": 0}
    out = average_trials(trials, **how, dtype=np.dtype("f8"))[0, :, 0]
    assert out[0, 0] == np.inf
    assert out[:, 1].tolist() == [1, 1, 1, 4]
