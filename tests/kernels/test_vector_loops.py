"""Loops in vectors against loops over samples. Bins are tested with `bin_rows`."""

import numpy as np
import pytest
from numba.core.errors import TypingError

from calscipy.kernels.compiled import frozen
from calscipy.kernels.vector_loops import BYTES, SUMS, add_bins, filter_symmetric


def reference(padded, half, size):
    reach = len(half) - 1
    made = half[0] * padded[reach : reach + size]
    for k in range(reach, 0, -1):
        left, right = padded[reach - k :][:size], padded[reach + k :][:size]
        made = made + half[k] * (left + right)
    return made


@pytest.mark.parametrize("dtype", ["f4", "f8"])
@pytest.mark.parametrize("reach", [0, 1, 7, 28])
def test_filters_are_those_of_a_loop_to_the_last_bit(dtype, reach):
    rng = np.random.default_rng(reach)
    half = rng.normal(size=reach + 1).astype(dtype)
    step = SUMS * BYTES // half.itemsize
    for size in (1, 7, step - 1, step, step + 1, 2 * step - 1, 2 * step, 5 * step + 3):
        padded = rng.normal(size=size + 2 * reach).astype(dtype)
        around = np.full(size + 20, 7, dtype)
        out = around[10:-10]
        filter_symmetric(frozen(padded), frozen(half), out)
        np.testing.assert_array_equal(out, reference(padded, half, size))
        assert (np.delete(around, np.s_[10:-10]) == 7).all()


def test_a_nan_or_an_infinity_reaches_as_far_as_the_weights():
    padded, half = np.ones(306), np.array([0.5, 0.25, 0.0, 0.125])
    padded[103], padded[203] = np.nan, np.inf
    out = np.empty(300)
    filter_symmetric(frozen(padded), frozen(half), out)
    np.testing.assert_array_equal(np.flatnonzero(np.isnan(out)), [*range(97, 104), 198, 202])
    np.testing.assert_array_equal(np.flatnonzero(np.isinf(out)), [197, 199, 200, 201, 203])


def test_what_is_too_short_is_refused():
    numbers, one = np.ones(400), np.uint64(1)
    with pytest.raises(ValueError, match="beyond its ends"):
        filter_symmetric(frozen(numbers), frozen(np.ones(2)), np.empty(399))
    rows, out = frozen(np.ones((2, 40))), np.empty((2, 4))
    for start, wide, count in ((1, 10, 4), (0, 17, 2), (0, 8, 5), (0, 1, 5)):
        place = (np.uint64(number) for number in (start, wide, count))
        with pytest.raises(ValueError, match="do not fit"):
            add_bins(rows, *place, 1.0, out)
    add_bins(rows, 0 * one, 10 * one, 4 * one, 1.0, out)
    assert (out == 10).all()


def test_memory_that_vectors_would_not_fit_is_refused():
    numbers = np.ones(400)
    with pytest.raises(TypingError):
        filter_symmetric(frozen(numbers), frozen(np.ones(1)), np.empty(800)[::2])
    with pytest.raises(TypingError):
        filter_symmetric(frozen(numbers), frozen(np.ones(1, "f4")), np.empty(400))
    one = np.uint64(1)
    with pytest.raises(TypingError):
        add_bins(np.ones((4, 800))[:, ::2], one, one, one, 1.0, np.empty((4, 400)))
