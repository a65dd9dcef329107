import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import signal

from calscipy.kernels.peaks import find_peaks


def check(x, **conditions):
    expected = signal.find_peaks(x, **conditions)[0]
    assert find_peaks(x, **conditions).tolist() == expected.tolist()


@settings(deadline=None, derandomize=True, max_examples=200)
@given(
    st.lists(st.integers(-3, 3) | st.floats(-3, 3, width=32), max_size=60),
    st.integers(1, 20),
    st.sampled_from([0.0, 0.5, 1.0, 2.0, 5.0]),
    st.sampled_from([-np.inf, -1.0, 0.0, 2.0]),
)
def test_any_values_as_scipy(values, distance, prominence, height):
    x = np.array(values, dtype="f8")
    check(x, distance=distance, prominence=prominence, height=height)


def test_10_000_traces_with_plateaus_and_ties_as_scipy():
    """Peaks of equal height nearer than the distance: which one stays is up to numpy's sort."""
    rng = np.random.default_rng(0)
    for _ in range(10_000):
        x = rng.integers(0, rng.integers(2, 6), rng.integers(0, 150)).astype("f8")
        check(x, distance=int(rng.integers(1, 25)), prominence=float(rng.integers(0, 4)))


@pytest.mark.parametrize("length", [2000, 20_000])
def test_long_traces_as_scipy(length):
    x = np.random.default_rng(1).normal(size=length).cumsum()
    for distance, prominence in ((1, 0.0), (15, 1.0), (400, 5.0)):
        check(x, distance=distance, prominence=prominence)
        check(np.round(x), distance=distance, prominence=prominence)


def test_nothing_is_found_beside_nan_nor_above_nan():
    x = np.array([0.0, 2.0, 1.0, 3.0, np.nan, 4.0, 0.0, 5.0, 1.0])
    assert find_peaks(x).tolist() == signal.find_peaks(x)[0].tolist() == [1, 7]
    assert find_peaks(x, prominence=np.nan).tolist() == []


def test_input_is_untouched():
    x = np.random.default_rng(2).normal(size=100)
    before = x.copy()
    x.setflags(write=False)
    find_peaks(x, distance=5)
    np.testing.assert_array_equal(x, before)
