"""Bins with a rule for the last one, against loops."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from calscipy.errors import ArgumentError
from calscipy.kernels.bin_samples import bin_samples, takes_axis


def edges(count, samples, last):
    bins = [[a, min(a + samples, count)] for a in range(0, count, samples)]
    if bins and bins[-1][1] - bins[-1][0] < samples:
        if last == "drop":
            del bins[-1]
        elif last == "join" and len(bins) > 1:
            stop = bins.pop()[1]
            bins[-1][1] = stop
    return bins


@settings(deadline=None, derandomize=True, max_examples=80)
@given(
    st.integers(0, 30),
    st.integers(1, 12),
    st.sampled_from(["keep", "drop", "join"]),
    st.sampled_from([np.sum, np.mean, np.median, np.std, np.max, np.ptp, "mean"]),
)
def test_bins_are_those_of_a_loop(count, samples, last, function):
    rows = np.random.default_rng(count).normal(size=(2, count))
    found, starts = bin_samples(rows, samples=samples, function=function, last=last)
    plain = np.mean if function == "mean" else function
    expected = [[plain(row[a:b]) for a, b in edges(count, samples, last)] for row in rows]
    np.testing.assert_allclose(found, np.array(expected).reshape(2, -1), atol=1e-12)
    assert starts.tolist() == [a for a, _ in edges(count, samples, last)]


@pytest.mark.parametrize("dtype", ["bool", "uint8", "int64", "uint64", "float32", "float64"])
@pytest.mark.parametrize("function", [np.sum, np.mean, np.max])
def test_results_have_the_dtype_of_numpys(dtype, function):
    rows = np.arange(6).astype(dtype)[None]
    found, _ = bin_samples(rows, samples=2, function=function)
    expected = function(rows.reshape(1, 3, 2), axis=-1)
    assert np.array_equal(found, expected)
    if dtype != "bool":  # whose maximum is a number here
        assert found.dtype == expected.dtype


def test_what_a_function_takes_is_looked_up():
    assert takes_axis(np.percentile)
    assert not takes_axis(max)
    assert not takes_axis(lambda values: 1)


@pytest.mark.parametrize(
    ("how", "words"),
    [
        ({"samples": 0}, "whole number from 1"),
        ({"samples": True}, "whole number from 1"),
        ({"function": "nonsense"}, "must be a function"),
        ({"function": {}}, "must be a function"),
        ({"last": "half"}, "must be one of"),
    ],
)
def test_arguments_that_cannot_be_are_named(how, words):
    with pytest.raises(ArgumentError, match=words):
        bin_samples(np.zeros(6), **{"samples": 2, "function": np.mean, **how})
    with pytest.raises(ArgumentError, match="real numbers"):
        bin_samples(np.array(["a"]), samples=1, function=np.mean)
