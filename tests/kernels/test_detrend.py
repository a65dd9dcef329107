import numpy as np
import pytest
from numpy.polynomial import Legendre

from calscipy.kernels.detrend import detrend_polynomial, polynomial_trend


def traces(*shape, seed=0):
    rng = np.random.default_rng(seed)
    return 1000 + rng.normal(size=shape).cumsum(axis=-1)


def reference(row, order):
    valid = ~np.isnan(row)
    x = np.arange(len(row))
    out = np.full(len(row), np.nan)
    out[valid] = Legendre.fit(x[valid], row[valid], order)(x[valid])
    return out


@pytest.mark.parametrize("order", [0, 1, 4, 9])
@pytest.mark.parametrize("length", [10, 11, 50, 1000])
def test_trend_is_the_least_squares_polynomial(order, length):
    f = traces(2, 2, length)
    f[0, 1, ::7] = np.nan if length > 11 else f[0, 1, ::7]
    out = polynomial_trend(f, order=order)
    expected = np.apply_along_axis(reference, -1, f, order)
    # 1e-9: an interpolation by ten samples is the worst conditioned
    np.testing.assert_allclose(out, expected, rtol=1e-9)


def test_level_is_kept_or_removed():
    f = traces(3, 200)
    f[1, 20:60] = np.nan
    expected = f - np.stack([reference(row, 4) for row in f])
    mean = np.nanmean(f, axis=1, keepdims=True)
    removed = detrend_polynomial(f, keep_level=False)
    np.testing.assert_allclose(removed, expected, atol=1e-8)
    np.testing.assert_allclose(detrend_polynomial(f), expected + mean, rtol=1e-11)
    np.testing.assert_allclose(np.nanmean(detrend_polynomial(f), axis=1), mean[:, 0], rtol=1e-12)


def test_a_polynomial_leaves_nothing_after_a_hundred_thousand_frames():
    x = np.linspace(-1, 1, 100_000)
    f = 1e4 + 30 * x - 200 * x**3 + 80 * x**4
    np.testing.assert_allclose(detrend_polynomial(f, keep_level=False), 0, atol=1e-8)


@pytest.mark.parametrize(
    ("given_dtype", "dtype"),
    [("uint16", "float32"), ("float32", "float32"), ("float64", "float64")],
)
def test_dtype_and_input(given_dtype, dtype):
    f = traces(2, 60).astype(given_dtype)
    f.setflags(write=False)
    for out in (detrend_polynomial(f), polynomial_trend(f, order=2)):
        assert out.dtype == dtype
        assert out.shape == f.shape
    exact = detrend_polynomial(f.astype("f8"))
    np.testing.assert_allclose(detrend_polynomial(f), exact, rtol=1e-7)


def test_missing_samples_change_only_themselves():
    f = traces(6, 100)
    f[[1, 3], 40:50] = np.nan
    f[4] = np.nan
    f[5, ::2] = np.nan
    out = detrend_polynomial(f)
    np.testing.assert_array_equal(np.isnan(out), np.isnan(f))
    for row, expected in zip(f, out, strict=True):
        np.testing.assert_array_equal(detrend_polynomial(row), expected)
    other = f.copy()
    other[[0, 2, 3]] = 7.0
    np.testing.assert_array_equal(detrend_polynomial(other)[[1, 4, 5]], out[[1, 4, 5]])


def test_few_samples_at_one_end_of_a_long_row():
    f = np.full(100_000, np.nan)
    f[-8:] = [3.0, 1.0, 4.0, 1.0, 5.0, 9.0, 2.0, 6.0]
    expected = reference(f[-8:], 4)
    np.testing.assert_allclose(polynomial_trend(f, order=4)[-8:], expected, rtol=1e-9)


def test_too_few_samples():
    f = traces(2, 20)
    f[1, 4:] = np.nan
    with pytest.raises(ValueError, match=r"at least 5 valid samples.*found 4"):
        detrend_polynomial(f, order=4)
    assert np.isfinite(detrend_polynomial(f, order=3)[1, :4]).all()
    with pytest.raises(ValueError, match=r"at least 21 .*found 20"):
        polynomial_trend(f[0], order=20)


@pytest.mark.parametrize("order", [-1, 1.5])
def test_order(order):
    with pytest.raises(ValueError, match="whole number"):
        polynomial_trend(np.ones(9), order=order)


@pytest.mark.parametrize("shape", [(0,), (3, 0), (0, 9)])
def test_empty(shape):
    assert detrend_polynomial(np.zeros(shape)).shape == shape
