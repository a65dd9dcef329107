from itertools import pairwise

import numpy as np
import pytest

from calscipy.kernels.noise import noise_sigma


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
