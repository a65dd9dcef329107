"""The networks against SciPy, bit for bit: shapes around the width of a tile, ties, extremes."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from calscipy.kernels import filters, median

MODES = ["reflect", "nearest", "mirror", "constant"]
DTYPES = ["uint8", "int16", "uint16", "float32"]


def compare(block, size, mode):
    out = median.small_median(block, size=size, mode=mode)
    assert out.dtype == block.dtype.newbyteorder("=")
    np.testing.assert_array_equal(out, ndimage.median_filter(block, size=size, mode=mode))


@settings(max_examples=150, deadline=None, derandomize=True)
@given(
    st.tuples(*[st.integers(1, 6)] * 3),
    st.sampled_from(median.SIZES),
    st.sampled_from(MODES),
    st.sampled_from(DTYPES),
    st.integers(1, 300),
    st.integers(0, 99),
)
def test_small_blocks_and_many_ties(shape, size, mode, dtype, top, seed):
    compare(np.random.default_rng(seed).integers(0, top, shape).astype(dtype), size, mode)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("width", [median.TILE + k for k in (-2, -1, 0, 1, 2, 3)] + [1027])
def test_widths_around_a_tile(width, mode):
    block = np.random.default_rng(width).integers(0, 60000, (2, 3, width)).astype("uint16")
    for size in median.SIZES:
        compare(block, size, mode)


@pytest.mark.parametrize("size", median.SIZES)
def test_extremes(size):
    rng = np.random.default_rng(0)
    compare(rng.choice(np.array([0, 1, 65534, 65535], "uint16"), (5, 6, 7)), size, "reflect")
    compare(rng.choice(np.array([-32768, -1, 0, 32767], "int16"), (5, 6, 7)), size, "constant")
    infinite = rng.choice(np.array([-np.inf, -1, 0, np.inf], "float32"), (5, 6, 7))
    compare(infinite, size, "constant")


def test_the_network_of_27_sorts_zeros_and_ones():
    """A network that finds the median of all columns of zeros and ones finds every median.

    All 3 x 9 sorted columns are tried: the number of ones in each column decides the rest.
    """
    for ones in itertools.product(range(10), repeat=3):
        column = np.zeros((3, 3, 3), "uint16")
        for x, count in enumerate(ones):
            column[:, :, x].flat[:count] = 1
        out = median.small_median(column, size=(3, 3, 3), mode="nearest")
        assert out[1, 1, 1] == (sum(ones) > 13)


def test_the_network_of_9_sorts_every_column_of_zeros_and_ones():
    patterns = np.array(list(itertools.product((0, 1), repeat=9)), "uint16")
    block = np.zeros((512, 3, 3), "uint16")
    block[:, :, 1] = patterns[:, :3]
    block[:, :, 0] = patterns[:, 3:6]
    block[:, :, 2] = patterns[:, 6:]
    out = median.small_median(block, size=(1, 3, 3), mode="nearest")
    np.testing.assert_array_equal(out[:, 1, 1], patterns.sum(axis=1) > 4)


def test_nine_samples_of_a_column_are_sorted():
    """By the 0-1 principle, all 512 columns of zeros and ones suffice for the merge of triples."""
    patterns = np.array(list(itertools.product((0, 1), repeat=9)), "uint16").reshape(512, 3, 3)
    triples = np.zeros((3, 3 * median.ROW), "uint16")
    ranks = np.zeros(9 * median.ROW, "uint16")
    for triple, rows in zip(triples, np.sort(patterns, axis=2).transpose(1, 2, 0), strict=True):
        for rank, row in enumerate(rows):
            triple[rank * median.ROW : rank * median.ROW + 512] = row
    median._sort_triples(triples[0], triples[1], triples[2], ranks, 512)
    found = ranks.reshape(9, median.ROW)[:, :512].T
    np.testing.assert_array_equal(found, np.sort(patterns.reshape(512, 9), axis=1))


@pytest.mark.parametrize(
    "layout", ["transposed", "every second", "reversed", "big endian", "frozen"]
)
def test_any_layout(layout):
    block = np.random.default_rng(0).integers(0, 60000, (6, 8, 10)).astype("uint16")
    block = {
        "transposed": block.T,
        "every second": block[::2, :, ::2],
        "reversed": block[:, ::-1],
        "big endian": block.astype(">u2"),
        "frozen": np.broadcast_to(block[0], (4, 8, 10)),
    }[layout]
    compare(block, (3, 3, 3), "reflect")


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("shape", [(3, 3, 3), (1, 3, 3), (2, 4, 1), "footprint"])
def test_a_window_with_nan_is_nan_and_no_other(shape, mode):
    rng = np.random.default_rng(0)
    block = rng.random((6, 7, 8)).astype("float32")
    spoiled = np.where(rng.random(block.shape) < 0.03, np.float32(np.nan), block)
    mask = rng.random((3, 2, 3)) < 0.6 if shape == "footprint" else np.ones(shape, bool)
    arguments = {"footprint": mask} if shape == "footprint" else {"size": shape}
    out = filters.median(spoiled, mode=mode, ndimage=ndimage, **arguments)
    clean = filters.median(block, mode=mode, ndimage=ndimage, **arguments)
    pad = {"reflect": "symmetric", "nearest": "edge", "mirror": "reflect", "constant": "constant"}
    around = [(n // 2, n - n // 2 - 1) for n in mask.shape]
    padded = np.pad(spoiled, around, mode=pad[mode])
    for at in np.ndindex(*block.shape):
        box = padded[tuple(slice(a, a + n) for a, n in zip(at, mask.shape, strict=True))][mask]
        expected = np.nan if np.isnan(box).any() else clean[at]
        np.testing.assert_equal(out[at], np.float32(expected))
    assert 0 < np.isnan(out).sum() < out.size


def test_nothing():
    for shape in ((0, 4, 4), (3, 0, 4), (3, 4, 0)):
        block = np.zeros(shape, "uint16")
        assert median.small_median(block, size=(3, 3, 3), mode="reflect").shape == shape
