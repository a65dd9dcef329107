"""Decimal numbers in text against Python's own conversion."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from calscipy.kernels.decimals import parse_decimals

NUMBER = st.from_regex(r"-?[0-9]{1,9}(\.[0-9]{0,6})?|-?\.[0-9]{1,9}", fullmatch=True)


@settings(deadline=None, derandomize=True, max_examples=200)
@given(st.data(), st.integers(1, 4), st.integers(1, 5), st.booleans(), st.booleans())
def test_every_number_is_that_of_python(data, columns, lines, spaced, ended):
    rows = [data.draw(st.lists(NUMBER, min_size=columns, max_size=columns)) for _ in range(lines)]
    comma, end = (", ", "\r\n") if spaced else (",", "\n")
    text = end.join(comma.join(row) for row in rows) + (end if ended else "")
    found = parse_decimals(text.encode(), columns)
    expected = np.array([[float(number) for number in row] for row in rows])
    np.testing.assert_array_equal(found, expected)
    np.testing.assert_array_equal(np.signbit(found), np.signbit(expected))


@pytest.mark.parametrize("digits", ["9007199254740993", "0.1234567890123456789", "1" * 30])
def test_numbers_that_might_be_rounded_twice_are_left_to_others(digits):
    assert parse_decimals(f"1,{digits}\n".encode(), 2) is None


@pytest.mark.parametrize(
    "text",
    ["", "\n", "1\n", "1,\n", ",1\n", "1,2,3\n", "1,2\n\n3,4\n", "1,2\n3\n", "1,2\n3,4,5\n",
     "1,a\n", "1,2e3\n", "1,nan\n", "1,inf\n", "1,--2\n", "1,-\n", "1,.\n", "1,1.2.3\n", "1 ,2\n",
     "+1,2\n", "1,2\0\n", "1;2\n", "1,2\n3,4\n5"],
)  # fmt: skip
def test_whatever_is_not_plain_is_left_to_others(text):
    assert parse_decimals(text.encode(), 2) is None
