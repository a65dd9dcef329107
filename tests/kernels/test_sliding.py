"""Windows and blocks against loops."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from calscipy.errors import ArgumentError
from calscipy.kernels import sliding
from calscipy.kernels.sliding import apply_sliding, apply_to_blocks, block_slices, sliding_windows


@settings(deadline=None, derandomize=True, max_examples=80)
@given(st.integers(0, 50), st.integers(1, 20), st.data())
def test_blocks_cover_everything_once_but_for_their_overlap(length, size, data):
    overlap = data.draw(st.integers(0, size - 1))
    blocks = block_slices(length, size, overlap)
    covered = [at for block in blocks for at in range(block.start, block.stop)]
    assert sorted(set(covered)) == list(range(length))
    assert len(covered) == length + overlap * max(0, len(blocks) - 1)
    for one, other in itertools.pairwise(blocks):
        assert one.stop - one.start == size
        assert one.stop - other.start == overlap


def test_functions_of_blocks_get_what_the_ones_before_have_made():
    made = apply_to_blocks(np.zeros(6), lambda block: block + 1, size=4, overlap=2)
    assert made.tolist() == [1, 1, 2, 2, 1, 1]
    given_ = np.zeros(3)
    apply_to_blocks(given_, lambda block: block + 1, size=2, overlap=0)
    assert not given_.any()


@pytest.mark.parametrize("shape", [(30,), (2, 30), (2, 3, 30)])
@pytest.mark.parametrize("piece", [1, 40, 10**6])
def test_functions_of_windows_are_those_of_a_loop(shape, piece, monkeypatch):
    monkeypatch.setattr(sliding, "PIECE", piece)
    values = np.random.default_rng(0).random(shape)
    expected = [values[..., a : a + 4].std(axis=-1) for a in range(27)]
    np.testing.assert_allclose(apply_sliding(values, 4, np.std), np.stack(expected, axis=-1))
    found = apply_sliding(values, 4, lambda window: window.std())
    np.testing.assert_allclose(found, np.stack(expected, axis=-1))


def test_a_function_that_makes_more_than_one_number_of_a_window():
    values = np.arange(5.0)
    assert apply_sliding(values, 2, np.cumsum).tolist() == [[0, 1], [1, 3], [2, 5], [3, 7]]
    assert apply_sliding(values, 4, np.quantile, ([0, 1],)).tolist() == [[0, 3], [1, 4]]


def test_windows_are_views_that_cannot_be_written():
    values = np.arange(6.0)
    windows = sliding_windows(values, 3, 2)
    assert np.shares_memory(windows, values)
    assert not windows.flags.writeable
    with pytest.raises(ArgumentError, match="does not fit"):
        sliding_windows(np.array(3.0), 1)
