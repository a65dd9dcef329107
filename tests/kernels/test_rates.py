import numpy as np
import pytest

from calscipy.errors import RowError
from calscipy.kernels import rates


@pytest.mark.parametrize(
    ("given_dtype", "dtype"), [("uint16", "f4"), ("int32", "f4"), ("f4", "f4"), ("f8", "f8")]
)
def test_dtypes(given_dtype, dtype):
    f = np.arange(12).reshape(3, 4).astype(given_dtype)
    f.setflags(write=False)
    assert rates.expected_rates(f, frame_rate=30.0).dtype == dtype
    assert rates.over_maximum(f).dtype == dtype
    assert rates.mean_rates(f).dtype == dtype
    np.testing.assert_array_equal(rates.expected_rates(f, frame_rate=30.0), f * 30.0)
    np.testing.assert_allclose(rates.mean_rates(f), [1.5, 5.5, 9.5])
    expected = f / f.max(axis=1, keepdims=True)
    np.testing.assert_allclose(rates.over_maximum(f), expected, rtol=1e-6)


def test_negative_rows_are_named():
    f = np.zeros((2, 3, 5))
    f[0, 2, 1] = f[1, 1, 4] = -0.1
    f[0, 0, 0] = np.nan
    with pytest.raises(RowError, match="negative values") as error:
        rates.expected_rates(f, frame_rate=10.0)
    assert error.value.rows == [2, 4]


def test_mean_rates_leave_out_what_is_missing():
    f = np.random.default_rng(0).random((4, 30))
    f[1, 3:9] = np.nan
    f[2] = np.nan
    expected = [np.nan if np.isnan(row).all() else np.nanmean(row) for row in f]
    np.testing.assert_allclose(rates.mean_rates(f), expected, rtol=1e-12)
    assert np.isnan(rates.mean_rates(np.zeros((2, 0)))).all()


def test_over_the_maximum_of_each_row():
    """Not of each sample over the rows, and negative values do not survive (F14)."""
    f = np.array([[1.0, 2.0, -3.0], [10.0, 0.0, 5.0], [0.0, 0.0, 0.0], [-1.0, -2.0, np.nan]])
    expected = [[0.5, 1, 0], [1, 0, 0.5], [0, 0, 0], [0, 0, np.nan]]
    np.testing.assert_array_equal(rates.over_maximum(f), expected)
    assert np.isnan(rates.over_maximum(np.full((1, 3), np.nan))).all()
    assert rates.over_maximum(np.zeros((2, 0))).shape == (2, 0)
    assert f[0, 2] == -3


def test_decay_there_and_back():
    tau = np.array([0.01, 0.5, 2.0, 1e4, np.inf])
    factor = rates.decay_factor(tau, frame_rate=30.0)
    np.testing.assert_allclose(factor[1], np.exp(-1 / 15))
    np.testing.assert_allclose(rates.time_constant(factor, frame_rate=30.0), tau, rtol=1e-9)
    odd = rates.time_constant([-0.5, 0.0, 1.0, 1.5, np.nan], frame_rate=30.0)
    np.testing.assert_array_equal(odd, [np.nan, np.nan, np.inf, np.inf, np.nan])
