from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import signal

from calscipy.kernels.noise import noise_sigma, spectral_sigma, standardized_noise


def reference(row):
    steps = [b - a for a, b in pairwise(row) if not np.isnan(a + b)]
    if len(steps) < 3:
        return np.nan
    return np.median(np.abs(np.array(steps) - np.median(steps))) / (0.6745 * np.sqrt(2))


@pytest.mark.parametrize("gaps", [0.0, 0.1, 0.6])
@pytest.mark.parametrize("length", [1, 2, 3, 4, 5, 30, 301])
def test_by_slow_loop(gaps, length):
    rng = np.random.default_rng(length)
    f = rng.normal(size=(3, 4, length)) * 3
    f[rng.random(f.shape) < gaps] = np.nan
    f[0, 0] = np.nan
    expected = np.apply_along_axis(reference, -1, f) if length > 1 else np.full((3, 4), np.nan)
    np.testing.assert_allclose(noise_sigma(f), expected, rtol=1e-12)


@pytest.mark.parametrize("sigma", [0.01, 4.0])
def test_is_sigma_under_drift_and_transients(sigma):
    rng = np.random.default_rng(0)
    f = rng.normal(0, sigma, size=(20, 9000)) + sigma * 30 * np.sin(np.arange(9000) / 500)
    f[:, ::300] += 100 * sigma
    # 2 %: 20 rows leave a standard error of 0.4 %, and the outliers add 0.8 %
    np.testing.assert_allclose(noise_sigma(f).mean(), sigma, rtol=0.02)


@pytest.mark.parametrize(
    ("given_dtype", "dtype"),
    [("uint16", "float32"), ("float32", "float32"), ("float64", "float64")],
)
def test_dtype_and_input(given_dtype, dtype):
    f = np.random.default_rng(0).normal(500, 20, size=(3, 400)).astype(given_dtype)
    f.setflags(write=False)
    out = noise_sigma(f)
    assert out.dtype == dtype
    assert out.shape == (3,)
    np.testing.assert_allclose(out, noise_sigma(f.astype("f8")), rtol=1e-6)
    assert noise_sigma(f[0]).shape == ()


def test_rows_are_independent():
    rng = np.random.default_rng(0)
    f = rng.normal(size=(4, 50))
    f[1, 5] = np.nan
    out = noise_sigma(f)
    assert [float(noise_sigma(row)) for row in f] == out.tolist()
    f[[0, 2, 3]] = np.inf
    assert noise_sigma(f)[1] == out[1]


def test_constant_and_empty():
    assert noise_sigma(np.full(9, 3.0)) == 0
    assert np.isnan(noise_sigma(np.zeros((2, 0)))).all()
    assert noise_sigma(np.zeros((0, 9))).shape == (0,)


def test_long_rows_by_sorting():
    f = np.random.default_rng(0).normal(1000, 5, (3, 40_000)).astype("f4")
    f[1, ::7] = np.nan
    f[2] = np.round(f[2])
    expected = np.apply_along_axis(reference, -1, f.astype("f8"))
    np.testing.assert_allclose(noise_sigma(f), expected, rtol=1e-6)


@settings(max_examples=60, deadline=None, derandomize=True)
@given(st.integers(0, 10**6), st.integers(1, 60), st.lists(st.integers(0, 60), max_size=4))
def test_steps_into_an_epoch_are_left_out(seed, length, starts):
    """As if a missing sample stood between the epochs."""
    rng = np.random.default_rng(seed)
    f = rng.normal(size=(2, length))
    f[rng.random(f.shape) < 0.1] = np.nan
    inner = sorted({start for start in starts if 0 < start < length})
    apart = np.insert(f, inner, np.nan, axis=1)
    np.testing.assert_array_equal(noise_sigma(f, starts=starts), noise_sigma(apart))
    both = (standardized_noise(x, frame_rate=9.0, starts=s) for x, s in ((f, starts), (apart, ())))
    np.testing.assert_array_equal(*both)


# -- standardised noise --------------------------------------------------------------------


def cascade(row, frame_rate):
    steps = [abs(b - a) for a, b in pairwise(row) if not np.isnan(a + b)]
    return 100 * np.median(steps) / np.sqrt(frame_rate) if len(steps) >= 3 else np.nan


@pytest.mark.parametrize("gaps", [0.0, 0.1, 0.6])
@pytest.mark.parametrize("length", [2, 4, 30, 301])
def test_standardized_by_slow_loop(gaps, length):
    rng = np.random.default_rng(length)
    f = rng.normal(size=(5, length)) * 0.1
    f[rng.random(f.shape) < gaps] = np.nan
    f[0] = np.nan
    expected = [cascade(row, 7.5) for row in f]
    np.testing.assert_allclose(standardized_noise(f, frame_rate=7.5), expected, rtol=1e-12)


def test_standardized_of_white_noise():
    """0.9539 σ 100 / sqrt(rate); not σ itself."""
    f = np.random.default_rng(0).normal(0, 0.05, (10, 20_000))
    for rate in (2.0, 30.0):
        found = standardized_noise(f, frame_rate=rate).mean()
        assert found == pytest.approx(0.9539 * 0.05 * 100 / np.sqrt(rate), rel=0.01)


# -- from the spectrum ---------------------------------------------------------------------


def welch(row, segment=256):
    frequency, power = signal.welch(row, fs=1.0, nperseg=min(segment, len(row)))
    upper = (frequency > 0.25) & (frequency < 0.5)
    return np.sqrt(np.mean(power[upper] / 2))


@pytest.mark.parametrize("length", [16, 17, 18, 100, 255, 256, 257, 1000])
@pytest.mark.parametrize("dtype", ["f4", "f8"])
def test_spectrum_is_welchs(length, dtype):
    f = np.random.default_rng(length).normal(500, 3, (2, 2, length)).astype(dtype)
    found = spectral_sigma(f)
    assert found.dtype == dtype
    expected = np.apply_along_axis(welch, -1, f.astype("f8"))
    np.testing.assert_allclose(found, expected, rtol=1e-5 if dtype == "f4" else 1e-12)


def test_spectrum_of_white_noise_under_slow_transients():
    rng = np.random.default_rng(0)
    f = rng.normal(0, 2, (10, 20_000))
    slow = np.convolve(rng.random(20_000) < 0.001, 40 * np.exp(-np.arange(200) / 20), "same")
    slow = np.convolve(slow, np.hanning(9) / np.hanning(9).sum(), "same")  # no sudden rise
    np.testing.assert_allclose(spectral_sigma(f).mean(), 2, rtol=0.01)
    np.testing.assert_allclose(spectral_sigma(f + slow).mean(), 2, rtol=0.02)


def test_spectrum_between_gaps_and_within_epochs():
    rng = np.random.default_rng(1)
    f = rng.normal(0, 1, 1000)
    gapped = f.copy()
    gapped[[300, 310, 700]] = np.nan, np.inf, np.nan
    # Segments of 256 that overlap by half, counted from the start of each stretch.
    firsts = [0, 311, 311 + 128, 701]
    parts = [welch(f[a : a + 256]) ** 2 for a in firsts]
    assert spectral_sigma(gapped) == pytest.approx(np.sqrt(np.mean(parts)), rel=1e-12)
    jump = np.where(np.arange(1000) < 500, f, f + 1e6)
    parts = [welch(part) ** 2 for part in (f[:500], f[500:])]
    assert spectral_sigma(jump, starts=[500]) == pytest.approx(np.sqrt(np.mean(parts)), rel=1e-8)
    assert spectral_sigma(jump) > 100
    short = f[:100].copy()
    short[[40, 70]] = np.nan  # the longest stretch has 40
    assert spectral_sigma(short) == pytest.approx(welch(short[:40]), rel=1e-12)


def test_spectrum_of_too_little():
    assert np.isnan(spectral_sigma(np.zeros((2, 15)))).all()
    assert spectral_sigma(np.full(300, 7.0)) == 0
    assert np.isnan(spectral_sigma(np.full((1, 300), np.nan))).all()
    assert spectral_sigma(np.zeros((0, 30))).shape == (0,)
    assert np.isnan(spectral_sigma(np.zeros((1, 0)))).all()
    assert np.isnan(spectral_sigma(np.zeros(40), starts=range(0, 40, 10)))


def test_spectra_of_rows_are_independent():
    f = np.random.default_rng(0).normal(1e3, 5, (9, 700)).astype("f4")
    f[4, 99] = np.nan
    assert [float(spectral_sigma(row)) for row in f] == spectral_sigma(f).tolist()
