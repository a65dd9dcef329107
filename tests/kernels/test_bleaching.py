import numpy as np
import pytest
from scipy import optimize

from calscipy.errors import RowError
from calscipy.kernels.bleaching import exponential_baseline, exponential_trend
from calscipy.testing import synthetic_traces

CURVES = {
    "one": (1, lambda t: 50 + 50 * np.exp(-t / 60)),
    "one, fast": (1, lambda t: 200 + 80 * np.exp(-t / 8)),
    "one, as slow as the row": (1, lambda t: 100 * np.exp(-t / 300)),
    "two": (2, lambda t: 50 + 50 * np.exp(-t / 10) + 25 * np.exp(-t / 80)),
    "one by two": (2, lambda t: 50 + 50 * np.exp(-t / 60)),
    "line": (1, lambda t: 1000 - 0.1 * t),
    "flat": (2, lambda t: np.full_like(t, 30.0)),
    "below zero": (1, lambda t: -80 + 50 * np.exp(-t / 60)),
}


@pytest.mark.parametrize("name", CURVES)
@pytest.mark.parametrize("rate", [2.0, 10.0])
def test_exact_curves(name, rate):
    terms, curve = CURVES[name]
    expected = curve(np.arange(300 * rate) / rate)
    found = exponential_trend(expected, frame_rate=rate, terms=terms)
    # 1e-3 of the curve: means of blocks lie above a curve by as much within its first 0.5 s
    np.testing.assert_allclose(found, expected, atol=1e-3 * np.abs(expected).max())


@pytest.mark.parametrize("seed", [0, 1])
def test_of_noise_alone_it_is_the_least_squares_curve(seed):
    time = np.arange(3000) / 10
    f = 500 + 300 * np.exp(-time / 60) + np.random.default_rng(seed).normal(0, 10, 3000)

    def model(t, level, amount, tau):
        return level + amount * np.exp(-t / tau)

    wanted = model(time, *optimize.curve_fit(model, time, f, (400, 200, 100))[0])
    found = exponential_trend(f, frame_rate=10, terms=1)
    # both have errors of about 0.5 counts at the ends
    np.testing.assert_allclose(found, wanted, atol=1.5)


@pytest.mark.parametrize("terms", [1, 2])
def test_f0_of_active_neurons(terms):
    truth = synthetic_traces(5, 600.0, snr=5.0, bleaching=0.4, bleaching_time=200.0, seed=1)
    found = exponential_baseline(truth.traces.values, frame_rate=30.0, terms=terms)
    error = found / truth.f0.values - 1
    assert np.abs(error.mean(axis=1)).max() < 0.005
    assert np.sqrt((error**2).mean(axis=1)).max() < 0.01
    plain = np.polynomial.Polynomial.fit(np.arange(18000), truth.traces.values.mean(axis=0), 4)
    assert (plain(np.arange(18000)) / truth.f0.values.mean(axis=0) - 1).mean() > 0.02


def test_missing_samples():
    time = np.arange(1000) / 10
    f = np.stack([50 + 50 * np.exp(-time / 20)] * 3)
    whole = exponential_baseline(f, frame_rate=10, terms=1)
    f[1, 300:420] = np.nan
    f[1, 7] = np.nan
    f[2] = np.nan
    filled = exponential_baseline(f, frame_rate=10, terms=1)
    np.testing.assert_array_equal(filled[0], whole[0])
    np.testing.assert_allclose(filled[1], whole[1], rtol=1e-3)
    assert np.isnan(filled[2]).all()
    trend = exponential_trend(f, frame_rate=10, terms=1)
    np.testing.assert_array_equal(trend, np.where(np.isnan(f), np.nan, filled))


def test_a_row_does_not_depend_on_the_others():
    rng = np.random.default_rng(0)
    f = (100 + rng.normal(0, 5, (4, 400))).astype("f4")
    f[2, 9] = np.nan
    whole = exponential_trend(f.reshape(2, 2, 400), frame_rate=10)
    assert whole.dtype == np.float32
    for at in range(4):
        row = exponential_trend(f[at], frame_rate=10)
        np.testing.assert_array_equal(row, whole.reshape(4, 400)[at])


def test_scaled_rows_have_scaled_curves():
    rng = np.random.default_rng(0)
    f = 100 + 50 * np.exp(-np.arange(900) / 200) + rng.normal(0, 5, 900)
    curve = exponential_trend(f, frame_rate=10)
    np.testing.assert_allclose(exponential_trend(1024 * f, frame_rate=10), 1024 * curve, rtol=1e-9)


@pytest.mark.parametrize("terms", [1, 2])
@pytest.mark.parametrize("samples", [5, 6, 8, 30])
@pytest.mark.parametrize("rate", [0.5, 30.0])
def test_short_rows(terms, samples, rate):
    f = np.random.default_rng(0).integers(90, 110, (3, samples)).astype("u2")
    curve = exponential_baseline(f, frame_rate=rate, terms=terms)
    assert curve.dtype == np.float32
    assert (curve > 0).all()
    assert (curve < 130).all()
    constant = exponential_baseline(np.full(samples, 0.1), frame_rate=rate, terms=terms)
    np.testing.assert_array_equal(constant, 0.1)


@pytest.mark.parametrize("level", [0.0, -5.0, 5.0])
def test_blocks_of_equal_means(level):
    f = level + np.tile([1.0, -1.0], 100)
    np.testing.assert_allclose(exponential_baseline(f, frame_rate=20.0), level, atol=1e-9)


def test_too_short_rows():
    f = np.full((3, 12), np.nan)
    f[1, 3:7] = 5
    f[2] = 6
    with pytest.raises(RowError, match=r"fewer than the 5 valid samples.*2 exp.*fewer") as error:
        exponential_trend(f, frame_rate=1.0)
    assert error.value.rows == [1]
    np.testing.assert_array_equal(exponential_trend(f, frame_rate=1.0, terms=1), f)


@pytest.mark.parametrize("arguments", [{"terms": 3}, {"frame_rate": 0.0}, {"frame_rate": np.nan}])
def test_arguments(arguments):
    with pytest.raises(ValueError, match=next(iter(arguments))):
        exponential_trend(np.ones(9), **{"frame_rate": 1.0, **arguments})


@pytest.mark.parametrize("shape", [(0,), (3, 0), (0, 9)])
def test_empty(shape):
    assert exponential_trend(np.zeros(shape), frame_rate=1.0).shape == shape
