"""Means over stretches of samples against a slow loop."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from calscipy.kernels.segments import segment_means


@settings(deadline=None, derandomize=True, max_examples=60)
@given(
    edges=st.lists(st.tuples(st.integers(0, 12), st.integers(0, 12)), max_size=8),
    leading=st.sampled_from([(), (3,), (2, 2)]),
    dtype=st.sampled_from(["uint16", "float32", "float64", "bool"]),
)
def test_every_mean_is_that_of_its_samples(edges, leading, dtype):
    f = np.random.default_rng(0).uniform(0, 3, (*leading, 12)).astype(dtype)
    starts, stops = np.array(edges, int).reshape(-1, 2).T
    found = segment_means(f, starts=starts, stops=stops, dtype="float64")
    assert found.shape == (*leading, len(edges))
    for at, (start, stop) in enumerate(edges):
        expected = f[..., start:stop].mean(axis=-1, dtype=float) if stop > start else np.nan
        np.testing.assert_allclose(found[..., at], np.broadcast_to(expected, leading), rtol=1e-12)


def test_infinity_and_nan_stay_in_their_stretch():
    f = np.array([1.0, np.inf, 1.0, np.nan, 2.0, -np.inf, np.inf])
    starts, stops = np.array([0, 2, 4, 3, 5]), np.array([2, 3, 5, 5, 7])
    found = segment_means(f, starts=starts, stops=stops, dtype="float32")
    np.testing.assert_array_equal(found, [np.inf, 1, 2, np.nan, np.nan])
    assert found.dtype == np.float32
