import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from calscipy.kernels import neuropil


def distance_to(y, x, shape):
    """Distance of every pixel to the nearest of a list of pixels, one by one."""
    rows, columns = np.indices(shape)
    return np.sqrt(
        np.min([(rows - a) ** 2 + (columns - b) ** 2 for a, b in zip(y, x, strict=True)], axis=0)
    )


def slow_ring(y, x, free, min_pixels):
    distance = distance_to(y, x, free.shape)
    for width in range(1, 200):
        taken = free & (distance <= width)
        if taken.sum() >= min_pixels:
            return taken
    return None


@settings(max_examples=40, deadline=None, derandomize=True)
@given(
    seed=st.integers(0, 10**6),
    shape=st.tuples(st.integers(4, 45), st.integers(4, 45)),
    inner=st.sampled_from([0, 1, 1.5, 2, 4]),
    min_pixels=st.integers(1, 700),
)
def test_rings_are_those_of_a_slow_search(seed, shape, inner, min_pixels):
    rng = np.random.default_rng(seed)
    y, x = rng.integers(0, shape[0], 6), rng.integers(0, shape[1], 6)
    free = neuropil.free_pixels(y, x, shape, inner)
    np.testing.assert_array_equal(free, distance_to(y, x, shape) > inner)
    ring = neuropil.ring(y[:2], x[:2], free, min_pixels)
    expected = slow_ring(y[:2], x[:2], free, min_pixels)
    if expected is None:
        assert ring is None
        assert free.sum() < min_pixels
        return
    np.testing.assert_array_equal(np.transpose(ring), np.argwhere(expected))


@pytest.mark.parametrize("margin", [1, 3, 7])
def test_the_first_search_does_not_matter(margin, monkeypatch):
    free = neuropil.free_pixels(np.array([9]), np.array([2]), (30, 20), 2)
    expected = neuropil.ring(np.array([9]), np.array([2]), free, 200)
    monkeypatch.setattr(neuropil, "MARGIN", margin)
    found = neuropil.ring(np.array([9]), np.array([2]), free, 200)
    np.testing.assert_array_equal(found, expected)
