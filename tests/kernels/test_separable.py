"""Weighted sums against SciPy in float64, and the same bits whatever surrounds a sample."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from calscipy.kernels import filters, separable
from calscipy.kernels.edges import OUTSIDE, edge_indices

MODES = ["reflect", "nearest", "mirror", "constant"]


def gaussian(block, sigma, mode="reflect"):
    return filters.gaussian(block, sigma=sigma, mode=mode, ndimage=ndimage)


@settings(max_examples=100, deadline=None, derandomize=True)
@given(
    st.tuples(st.integers(1, 9), st.integers(1, 40), st.integers(1, 20)),
    st.tuples(*[st.sampled_from([0, 0.2, 0.6, 1.0, 1.4, 3.1])] * 3),
    st.sampled_from(MODES),
    st.sampled_from(["uint16", "float32", "float64"]),
    st.integers(0, 99),
)
def test_gaussian_of_any_shape(shape, sigma, mode, dtype, seed):
    block = np.random.default_rng(seed).integers(1, 65536, shape).astype(dtype)
    expected = ndimage.gaussian_filter(block.astype(np.float64), sigma, mode=mode)
    tolerance = 1e-12 if dtype == "float64" else 1e-6
    np.testing.assert_allclose(gaussian(block, sigma, mode), expected, rtol=tolerance)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("sigma", [7.3, 9.7, 10.3, 20.0, 60.0])
def test_a_wide_gaussian_loses_no_digits(sigma, seed):
    """Up to 481 terms for each axis."""
    block = np.random.default_rng(seed).integers(0, 65536, (30, 50, 60)).astype("uint16")
    expected = ndimage.gaussian_filter(block.astype(np.float64), sigma)
    np.testing.assert_allclose(gaussian(block, (sigma,) * 3), expected, rtol=1e-6)


@pytest.mark.parametrize("height", [separable.STRIP + k for k in (-1, 0, 1)] + [50])
def test_strips_do_not_show(height):
    """Rows cut out with their halo, so that they lie elsewhere in a strip, have the same bits."""
    block = np.random.default_rng(0).integers(0, 65536, (9, 60, 11)).astype("uint16")
    whole = gaussian(block, (1, 1, 1))
    for top in range(0, 60 - height - 8, 3):
        part = gaussian(block[:, top : top + height + 8], (1, 1, 1))
        np.testing.assert_array_equal(part[:, 4:-4], whole[:, top + 4 : top + 4 + height])


@settings(max_examples=60, deadline=None, derandomize=True)
@given(
    st.integers(1, 14),
    st.integers(0, 13),
    st.integers(0, 13),
    st.sampled_from(["gaussian", "mean", "even mean", "median"]),
    st.sampled_from(MODES),
    st.booleans(),
)
def test_some_frames_have_the_bits_of_the_whole(total, first, count, kernel, mode, given_out):
    first, last = min(first, total), min(first + count, total)
    block = np.random.default_rng(total).integers(0, 65536, (total, 5, 6)).astype("uint16")
    function, arguments = {
        "gaussian": (filters.gaussian, {"sigma": (1, 0.5, 0)}),
        "mean": (filters.mean, {"size": (5, 1, 3)}),
        "even mean": (filters.mean, {"size": (4, 2, 1)}),
        "median": (filters.median, {"size": (3, 3, 3)}),
    }[kernel]
    arguments |= {"mode": mode, "ndimage": ndimage}
    whole = function(block, **arguments)
    out = np.empty((last - first, 5, 6), whole.dtype) if given_out else None
    part = function(block, frames=(first, last), out=out, **arguments)
    np.testing.assert_array_equal(part, whole[first:last])
    assert out is None or part is out


@pytest.mark.parametrize("sizes", [(2, 1, 1), (1, 4, 3), (5, 2, 6), (8, 9, 10)])
@pytest.mark.parametrize("mode", MODES)
def test_boxes(sizes, mode):
    block = np.random.default_rng(0).integers(0, 65536, (9, 20, 21)).astype("uint16")
    expected = block.astype(np.float64)
    for axis, length in enumerate(sizes):
        expected = ndimage.correlate1d(expected, np.full(length, 1 / length), axis, mode=mode)
    out = filters.mean(block, size=sizes, mode=mode, ndimage=ndimage)
    np.testing.assert_allclose(out, expected, rtol=1e-6, atol=1e-9)


def test_the_mean_of_a_constant_is_that_constant():
    block = np.full((8, 9, 10), 1001, "uint16")
    for size in ((3, 3, 3), (7, 1, 5), (2, 6, 4), (1001, 1, 1), (17, 17, 17)):
        out = filters.mean(block, size=size, mode="reflect", ndimage=ndimage)
        assert (out == 1001).all()


@pytest.mark.parametrize("junk", [np.nan, np.inf])
def test_what_is_not_finite_stays_within_the_window(junk):
    block = np.random.default_rng(0).random((9, 11, 13)).astype("float32")
    spoiled = block.copy()
    spoiled[4, 5, 6] = junk
    out, clean = gaussian(spoiled, (0.5, 0.5, 0.5)), gaussian(block, (0.5, 0.5, 0.5))
    reach = np.zeros(block.shape, bool)
    reach[2:7, 3:8, 4:9] = True
    assert not np.isfinite(out[reach]).any()
    np.testing.assert_array_equal(out[~reach], clean[~reach])


PAD = {"reflect": "symmetric", "nearest": "edge", "mirror": "reflect"}


@settings(max_examples=100, deadline=None, derandomize=True)
@given(st.integers(1, 7), st.integers(0, 20), st.integers(0, 20), st.sampled_from(list(PAD)))
def test_edges_are_those_of_numpy(size, before, after, mode):
    expected = np.pad(np.arange(size), (before, after), mode=PAD[mode])
    np.testing.assert_array_equal(edge_indices(size, before, after, mode), expected)


def test_constant_edges():
    assert edge_indices(2, 1, 2, "constant").tolist() == [OUTSIDE, 0, 1, OUTSIDE, OUTSIDE]
    with pytest.raises(ValueError, match="unknown mode 'wrap'"):
        edge_indices(2, 1, 2, "wrap")
