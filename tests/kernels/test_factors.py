"""Factorised traces against a loop."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from calscipy.errors import RowError
from calscipy.kernels.factors import joined_component


@settings(deadline=None, derandomize=True, max_examples=60)
@given(st.integers(1, 4), st.lists(st.integers(0, 5), min_size=1, max_size=4), st.booleans())
def test_pieces_begin_at_the_same_sample_in_all_rows(rows, lengths, ragged):
    rng = np.random.default_rng(0)
    table = [
        [rng.random((2, max(0, n - (ragged and row % 2)))) for n in lengths] for row in range(rows)
    ]
    found = joined_component(table, 1)
    longest = [max(row[at].shape[1] for row in table) for at in range(len(lengths))]
    expected = np.full((rows, sum(longest)), np.nan)
    for row, pieces in enumerate(table):
        start = 0
        for piece, width in zip(pieces, longest, strict=True):
            expected[row, start : start + piece.shape[1]] = piece[1]
            start += width
    np.testing.assert_array_equal(found, expected)


def test_pieces_of_the_same_sum_but_other_lengths_are_not_mixed_up():
    table = [[np.ones((1, 3)), np.ones((1, 1))], [np.ones((1, 1)), np.ones((1, 3))]]
    assert np.isnan(joined_component(table, 0)).tolist() == [
        [False, False, False, False, True, True],
        [False, True, True, False, False, False],
    ]


def test_the_dtype_holds_all_values():
    table = [[np.ones((1, 2), "uint8"), np.ones((1, 1), "int32")]]
    assert joined_component(table, 0).dtype == "int32"
    table.append([np.ones((1, 1), "uint8"), np.ones((1, 1), "int32")])
    assert joined_component(table, 0).dtype == "float64"


@pytest.mark.parametrize(
    ("table", "rows"),
    [
        ([], [0]),
        ([[]], [0]),
        ([[np.ones((2, 3))], [np.ones((1, 3))]], [1]),
        ([[np.ones((2, 3))], [np.ones(3)]], [1]),
        ([[np.ones((2, 3))], [np.ones((2, 3))] * 2], [1]),
        ([[np.ones((2, 3))], [3]], [1]),
    ],
)
def test_rows_without_the_component_are_named(table, rows):
    with pytest.raises(RowError) as caught:
        joined_component(table, 1)
    assert caught.value.rows == rows
