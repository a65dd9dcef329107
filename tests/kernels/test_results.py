"""Kernels that write their result to an array that is given."""

import numpy as np
import pytest

from calscipy.kernels.bin_rows import bin_rows
from calscipy.kernels.derivative import derivative_events
from calscipy.kernels.detrend import detrend_polynomial, polynomial_trend
from calscipy.kernels.dfof import fold_change
from calscipy.kernels.oasis import denoised, spikes
from calscipy.kernels.rolling import rolling_median_baseline, rolling_percentile_baseline
from calscipy.kernels.smoothing import perona_malik

ROWS = np.random.default_rng(0).normal(100, 5, (2, 3, 400)).astype("float32")
EDGES = np.arange(0, 401, 8)

KERNELS = {
    "bins, mean": lambda f, out: bin_rows(
        f, starts=EDGES[:-1], stops=EDGES[1:], reduce="mean", dtype=np.dtype("f4"), out=out
    ),
    "bins, median": lambda f, out: bin_rows(
        f, starts=EDGES[:-1], stops=EDGES[1:], reduce="median", dtype=np.dtype("f4"), out=out
    ),
    "events": lambda f, out: derivative_events(f, timeout=5, frame_rate=10.0, out=out),
    "trend": lambda f, out: polynomial_trend(f, order=2, out=out),
    "detrend": lambda f, out: detrend_polynomial(f, order=2, out=out),
    "robust detrend": lambda f, out: detrend_polynomial(f, order=2, robust=True, out=out),
    "fold change": lambda f, out: fold_change(f, f * 0 + 100, out=out)[0],
    "fold change of levels": lambda f, out: fold_change(f, f[..., :1], out=out)[0],
    "spikes": lambda f, out: spikes(f, frame_rate=30, tau=0.5, out=out),
    "denoised": lambda f, out: denoised(f, frame_rate=30, tau=0.5, out=out),
    "rolling median": lambda f, out: rolling_median_baseline(f, window=31, out=out),
    "rolling percentile": lambda f, out: rolling_percentile_baseline(
        f, window=31, percentile=8, out=out
    ),
    "Perona-Malik": lambda f, out: perona_malik(f, out=out),
    "Perona-Malik, smoothed": lambda f, out: perona_malik(f, sigma=1.0, iterations=3, out=out),
}


@pytest.mark.parametrize("missing", [False, True])
@pytest.mark.parametrize("name", KERNELS)
def test_the_result_is_the_same_where_it_is_wanted(name, missing):
    rows = ROWS.copy()
    if missing and name != "events":
        rows[1, 2, 50:60] = np.nan
    whole = KERNELS[name](rows, None)
    out = np.full(whole.shape, 7, whole.dtype)
    assert KERNELS[name](rows, out) is out
    np.testing.assert_array_equal(out, whole)


@pytest.mark.parametrize("name", KERNELS)
def test_an_array_that_does_not_fit_is_left_as_it_is(name):
    whole = KERNELS[name](ROWS, None)
    shape, dtype = whole.shape, whole.dtype
    for out in (
        np.full(shape[1:], 7, dtype),
        np.full(shape, 7, "i2"),
        np.full((*shape[:-1], 2 * shape[-1]), 7, dtype)[..., ::2],
    ):
        before = out.copy()
        result = KERNELS[name](ROWS, out)
        np.testing.assert_array_equal(result, whole)
        np.testing.assert_array_equal(out, before)
