import numpy as np
import pytest
from numpy.polynomial import Legendre

from calscipy.errors import RowError
from calscipy.kernels.detrend import (
    detrend_exponential,
    detrend_polynomial,
    orthonormal_polynomials,
    polynomial_trend,
)


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
@pytest.mark.parametrize("length", [10, 11, 50, 799, 800, 1024, 1500])
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
    with pytest.raises(RowError, match=r"fewer than the 5 valid samples.*order 4.*Lower") as error:
        detrend_polynomial(f, order=4)
    assert error.value.rows == [1]
    assert np.isfinite(detrend_polynomial(f, order=3)[1, :4]).all()
    with pytest.raises(RowError, match=r"fewer than the 21 valid"):
        polynomial_trend(f[0], order=20)


@pytest.mark.parametrize("order", [-1, 1.5])
def test_order(order):
    with pytest.raises(ValueError, match="whole number"):
        polynomial_trend(np.ones(9), order=order)


@pytest.mark.parametrize("shape", [(0,), (3, 0), (0, 9)])
def test_empty(shape):
    assert detrend_polynomial(np.zeros(shape)).shape == shape


def test_all_paths_give_the_same_digits_for_a_row_alone_or_among_others():
    f = traces(7, 1300).astype("f4")
    f[2, 5] = np.nan
    f[4] = np.nan
    whole = detrend_polynomial(f)
    for rows in ([0], [3, 1], [2, 0], [5, 6, 2, 4]):
        np.testing.assert_array_equal(detrend_polynomial(f[rows]), whole[rows])
    np.testing.assert_array_equal(detrend_polynomial(f[:, ::-1][:, ::-1]), whole)


@pytest.mark.parametrize("robust", [False, True])
def test_infinite_samples_are_left_out_and_stay(robust):
    f = traces(3, 900)
    lacking = f.copy()
    f[1, 7], f[1, 500], lacking[1, [7, 500]] = np.inf, -np.inf, np.nan
    found = detrend_polynomial(f, robust=robust)
    expected = detrend_polynomial(lacking, robust=robust)
    expected[1, 7], expected[1, 500] = np.inf, -np.inf
    np.testing.assert_array_equal(found, expected)
    lacking_trend = polynomial_trend(lacking, order=4, robust=robust)
    np.testing.assert_array_equal(polynomial_trend(f, order=4, robust=robust), lacking_trend)


@pytest.mark.parametrize("order", [0, 1, 6])
def test_polynomials_are_orthonormal_over_any_samples(order):
    at = np.sort(np.random.default_rng(0).permutation(500)[:40])
    basis = orthonormal_polynomials(at, order)
    np.testing.assert_allclose(basis @ basis.T, np.eye(order + 1), atol=1e-12)
    np.testing.assert_allclose(np.polyfit(at, basis[order], order + 1)[0], 0, atol=1e-9)


# -- robust ----------------------------------------------------------------------------------


@pytest.mark.parametrize("start", [0, 1400, 2800])
@pytest.mark.parametrize("sigma", [0.0, 5.0])
def test_a_burst_does_not_bend_a_robust_trend(start, sigma):
    x = np.linspace(-1, 1, 3000)
    trend = 1000 + 30 * x - 40 * x**2 + 10 * x**4
    f = trend + np.random.default_rng(0).normal(0, sigma, 3000)
    f[start : start + 200] += 100
    bent = polynomial_trend(f, order=4) - trend
    straight = polynomial_trend(f, order=4, robust=True) - trend
    assert np.abs(bent).max() > 15
    # a few % of the burst, at its noisy ends; without noise the fit ends within 1e-5 of the level
    assert np.abs(straight).max() < (3 if sigma else 0.1)
    level = detrend_polynomial(f, robust=True)[: start or None]
    assert np.median(level[-1000:]) == pytest.approx(trend.mean(), abs=1)


def test_robust_trends_of_noise_are_those_of_least_squares():
    f = 1000 + np.random.default_rng(0).normal(0, 10, (3, 9000))
    f[0, 100:400] = np.nan
    plain, robust = (polynomial_trend(f, order=3, robust=flag) for flag in (False, True))
    np.testing.assert_array_equal(np.isnan(robust), np.isnan(f))
    np.testing.assert_allclose(robust, plain, atol=1)  # noise / 10, twice the error of either
    np.testing.assert_array_equal(polynomial_trend(f[1], order=3, robust=True), robust[1])


@pytest.mark.parametrize("length", [1, 2, 8])
def test_robust_trends_of_a_few_samples(length):
    f = traces(2, length)
    out = detrend_polynomial(f, order=min(3, length - 1), robust=True)
    assert np.isfinite(out).all()
    constant = np.full((1, length), 7.0)
    np.testing.assert_allclose(detrend_polynomial(constant, order=0, robust=True), 7.0)


# -- exponential -------------------------------------------------------------------------------


def bleaching(time):
    return 400 + 300 * np.exp(-time / 15) + 200 * np.exp(-time / 90)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_dividing_and_subtracting_a_bleach_curve(dtype):
    time = np.arange(1200) / 10
    curve = bleaching(time)
    f = np.stack([curve, 2 * curve]).astype(dtype)
    f[1, 50:60] = np.nan
    given = f.copy()
    divided = detrend_exponential(f, frame_rate=10, mode="divide")
    subtracted = detrend_exponential(f, frame_rate=10)
    removed = detrend_exponential(f, frame_rate=10, keep_level=False)
    np.testing.assert_array_equal(f, given)
    mean = np.nanmean(f, axis=1, keepdims=True)
    for out, level in ((divided, mean), (subtracted, mean), (removed, 0)):
        assert out.dtype == dtype
        np.testing.assert_array_equal(np.isnan(out), np.isnan(f))
        np.testing.assert_allclose(out - level + 0 * f, 0 * f, atol=0.5)  # 1e-3 of the curve


def test_transients_keep_their_share_or_their_height():
    time = np.arange(3000) / 10
    curve = bleaching(time)
    pulse = (np.arange(3000) % 300 < 10).astype(float)
    share = detrend_exponential(curve * (1 + pulse), frame_rate=10, mode="divide")
    height = detrend_exponential(curve + 100 * pulse, frame_rate=10, mode="subtract")
    for out in (share / curve.mean(), 1 + (height - curve.mean()) / 100):
        np.testing.assert_allclose(out, 1 + pulse, atol=0.02)


def test_what_cannot_be_divided_by():
    f = np.stack([np.ones(60), np.zeros(60), np.full(60, np.nan), np.linspace(-9, -20, 60)])
    with pytest.raises(RowError, match=r"not above zero.*mode='subtract'") as error:
        detrend_exponential(f, frame_rate=1, mode="divide")
    assert error.value.rows == [3]
    flat = detrend_exponential(f[:3], frame_rate=1, mode="divide")
    np.testing.assert_array_equal(flat, f[:3])
    with pytest.raises(ValueError, match="'subtract' or 'divide'"):
        detrend_exponential(f, frame_rate=1, mode="multiply")
