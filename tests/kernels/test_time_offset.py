from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from calscipy.kernels.time_offset import at_times


def one_value(f, taken, t):
    """The value at one time, from the definition."""
    for j, sampled in enumerate(taken):
        if sampled == t:
            return f[j]
    for j in range(len(f) - 1):
        if taken[j] < t < taken[j + 1]:
            share = (t - taken[j]) / (taken[j + 1] - taken[j])
            return (1 - share) * f[j] + share * f[j + 1]
    return np.nan


@settings(max_examples=60, deadline=None, derandomize=True)
@given(
    seed=st.integers(0, 10**6),
    samples=st.integers(1, 30),
    latest=st.sampled_from([0.0, 0.3, 0.999, 5.0]),
    dtype=st.sampled_from(["f4", "f8"]),
    changing=st.booleans(),
)
def test_values_are_those_of_the_definition(seed, samples, latest, dtype, changing):
    rng = np.random.default_rng(seed)
    f = rng.normal(size=(2, 3, samples)).astype(dtype)
    f[rng.random(f.shape) < 0.1] = np.nan
    times = np.cumsum(rng.uniform(0.5, 1.5, samples))
    late = rng.uniform(-latest, latest, (2, 3, samples if changing else 1))
    taken = np.sort(times + late, axis=-1)
    found = at_times(f, taken, times)
    expected = [
        [one_value(f[i, j].astype("f8"), taken[i, j], t) for t in times]
        for i in range(2)
        for j in range(3)
    ]
    assert found.dtype == dtype
    np.testing.assert_allclose(
        found.reshape(6, -1), expected, rtol=1e-6 if dtype == "f4" else 1e-12, atol=1e-7
    )


def test_samples_taken_in_time_are_returned_as_they_are():
    f = np.array([[1.0, np.nan, 0.1, 2.0]], "f4")
    times = np.array([0.0, 0.1, 0.2, 0.3])
    np.testing.assert_array_equal(at_times(f, times[None], times), f)


@pytest.mark.parametrize("late", [0.0, -0.25, 0.25, 2.5, -9.0])
def test_a_straight_line_stays_one_and_is_not_extrapolated(late):
    times = np.arange(6.0)
    taken = times[None] + late
    found = at_times(3 * taken - 1, taken, times)[0]
    inside = (times >= taken.min()) & (times <= taken.max())
    np.testing.assert_allclose(found, np.where(inside, 3 * times - 1, np.nan), atol=1e-12)


def test_a_broadcast_time_and_an_untouched_input():
    f = np.random.default_rng(0).normal(size=(4, 50))
    times = np.arange(50.0)
    taken = np.broadcast_to(times + 0.4, f.shape)
    before = f.copy()
    f.setflags(write=False)
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda _: at_times(f, taken, times), range(8)))
    for values in found:
        np.testing.assert_allclose(values[:, 1:], 0.4 * f[:, :-1] + 0.6 * f[:, 1:])
        assert np.isnan(values[:, 0]).all()
    np.testing.assert_array_equal(f, before)
