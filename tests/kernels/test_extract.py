import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from calscipy.kernels import extract


def long_form(weights):
    """Neuron, pixel and weight of a dense table (neurons, pixels)."""
    neuron, pixel = np.nonzero(weights)
    return extract.roi_weights(neuron, pixel, weights[neuron, pixel], weights.shape)


def example(*batch, seed=0, dtype="uint16", neurons=4, share=0.3, frames=6, shape=(5, 7)):
    rng = np.random.default_rng(seed)
    block = rng.integers(0, 60000, (frames, *batch, *shape)).astype(dtype)
    weights = rng.integers(1, 5, (neurons, shape[0] * shape[1])).astype(float)
    return block, np.where(rng.random(weights.shape) < share, weights, 0)


@settings(max_examples=60, deadline=None, derandomize=True)
@given(
    st.integers(0, 10**6),
    st.sampled_from([(), (2,), (2, 3)]),
    st.sampled_from(["uint8", "uint16", "int32", "float32", "float64"]),
    st.floats(0, 1),
)
def test_sums_of_whole_numbers_are_exact(seed, batch, dtype, share):
    block, weights = example(*batch, seed=seed, dtype=dtype, share=share)
    sums = extract.roi_sums(block, long_form(weights))
    flat = block.reshape(*block.shape[:-2], -1).astype(np.int64)
    expected = np.einsum("f...p,np->n...f", flat, weights.astype(np.int64))
    assert sums.dtype == np.float64
    np.testing.assert_array_equal(sums, expected)


def test_fractional_weights_and_overlap():
    block, weights = example(2)
    weights *= 0.37
    expected = np.einsum("fbp,np->nbf", block.reshape(6, 2, -1).astype(float), weights)
    np.testing.assert_allclose(extract.roi_sums(block, long_form(weights)), expected, rtol=1e-14)


def test_pixels_that_no_neuron_uses_are_left_out():
    block, weights = example(dtype="float32")
    unused = (weights == 0).all(axis=0).reshape(block.shape[-2:])
    assert unused.any()
    expected = extract.roi_sums(block, long_form(weights))
    block[:, unused] = np.nan
    np.testing.assert_array_equal(extract.roi_sums(block, long_form(weights)), expected)


def test_a_pixel_listed_twice_counts_twice():
    weights = extract.roi_weights(np.array([0, 0]), np.array([1, 1]), np.array([1.0, 2.0]), (1, 2))
    assert extract.roi_sums(np.array([[[5, 7]]]), weights).tolist() == [[21.0]]


@pytest.mark.parametrize("frames", [0, 1])
def test_few_frames_and_neurons_without_pixels(frames):
    block, weights = example(3, frames=frames, share=0)
    sums = extract.roi_sums(block, long_form(weights))
    assert sums.shape == (4, 3, frames)
    assert not sums.any()


def test_any_memory_order_and_untouched_input():
    block, weights = example(2)
    expected = extract.roi_sums(block, long_form(weights))
    strided = np.asfortranarray(block)[::-1][::-1]
    strided.setflags(write=False)
    np.testing.assert_array_equal(extract.roi_sums(strided, long_form(weights)), expected)
