import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from calscipy.kernels import rolling, rolling_loops

LENGTHS = [*range(1, 31), 89, 90, 91, 300]
KERNELS = {
    "percentile": lambda f: rolling.rolling_percentile_baseline(f, window=7, percentile=20.0),
    "median": lambda f: rolling.rolling_median_baseline(f, window=7),
    "mean": lambda f: rolling.rolling_mean_baseline(f, window=7),
    "maximin": lambda f: rolling.maximin_baseline(f, sigma=2.0, window=7),
}
every_kernel = pytest.mark.parametrize("kernel", KERNELS.values(), ids=KERNELS.keys())


def traces(*shape, seed=0, gaps=0.0):
    rng = np.random.default_rng(seed)
    f = 100 + rng.normal(size=shape).cumsum(axis=-1) + rng.normal(size=shape)
    f[rng.random(shape) < gaps] = np.nan
    return f


def same(actual, expected, **tolerance):
    np.testing.assert_allclose(actual, expected, **({"rtol": 1e-12, "atol": 1e-10} | tolerance))


def mirrored(row, window):
    """Return the window around each sample, by a slow loop."""
    n = len(row)
    for i in range(n):
        at = np.arange(i - window // 2, i + window // 2 + 1) % (2 * n)
        values = row[np.where(at < n, at, 2 * n - 1 - at)]
        yield np.sort(values[~np.isnan(values)])


def by_slow_loop(row, window, reduce):
    out = np.array([reduce(values) if len(values) else np.nan for values in mirrored(row, window)])
    known = ~np.isnan(out)
    return np.interp(np.arange(len(row)), np.flatnonzero(known), out[known])


def scipy_percentile(f, window, percentile):
    return np.array([ndimage.percentile_filter(row, percentile, size=window) for row in f])


# -- what all share ------------------------------------------------------------------------


@every_kernel
@pytest.mark.parametrize(
    ("given_dtype", "dtype"),
    [
        ("uint16", "float32"),
        ("int64", "float32"),
        ("float16", "float32"),
        ("float32", "float32"),
        ("float64", "float64"),
        (">f4", "float32"),
    ],
)
def test_dtype_shape_and_input(kernel, given_dtype, dtype):
    f = traces(2, 3, 40).astype(given_dtype)
    before = f.copy()
    f.setflags(write=False)
    out = kernel(f)
    assert out.dtype == dtype
    assert out.shape == f.shape
    assert out.flags.writeable
    np.testing.assert_array_equal(f, before)
    same(out, kernel(f.astype("float64")), rtol=1e-6)


@every_kernel
def test_rows_are_independent(kernel, monkeypatch):
    f = traces(6, 60, seed=1)
    f[2, 10:15] = np.nan
    f[4] = np.nan
    together = kernel(f)
    for row, out in zip(f, together, strict=True):
        np.testing.assert_array_equal(kernel(row), out)
    other = f.copy()
    other[[0, 1, 3, 5]] = -5.0
    other[3, 7] = np.nan
    np.testing.assert_array_equal(kernel(other)[2], together[2])
    np.testing.assert_array_equal(kernel(np.asfortranarray(f)), together)
    np.testing.assert_array_equal(kernel(f.reshape(2, 3, 60)), together.reshape(2, 3, 60))
    monkeypatch.setattr(rolling, "PIECE", 130)
    np.testing.assert_array_equal(kernel(f), together)


@every_kernel
@pytest.mark.parametrize("length", LENGTHS)
def test_finite_wherever_a_row_has_a_valid_sample(kernel, length):
    f = traces(30, length, seed=length)
    rng = np.random.default_rng(length)
    f[rng.random(f.shape) < np.linspace(0, 1, 30)[:, None]] = np.nan
    f[-1] = np.nan
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        out = kernel(f)
    some = ~np.isnan(f).all(axis=-1)
    assert np.isfinite(out[some]).all()
    assert np.isnan(out[~some]).all()
    assert (out[some] >= np.nanmin(f[some], axis=1)[:, None] - 1e-9).all()
    assert (out[some] <= np.nanmax(f[some], axis=1)[:, None] + 1e-9).all()


@every_kernel
@pytest.mark.parametrize("shape", [(0,), (3, 0), (0, 5), (2, 0, 4)])
def test_empty(kernel, shape):
    assert kernel(np.zeros(shape)).shape == shape


@every_kernel
def test_a_constant_stays_as_it_is(kernel):
    f = np.full((2, 500), 0.1, dtype=np.float32)
    f[1, 3:30] = np.nan
    np.testing.assert_array_equal(kernel(f), np.float32(0.1))


@every_kernel
def test_infinite_samples_stay_where_they_are(kernel):
    f = traces(4, 400)
    expected = kernel(f)
    f[0, 5] = np.inf
    f[1, 6:9] = -np.inf
    f[2, 5], f[2, 6] = np.inf, -np.inf
    out = kernel(f)
    np.testing.assert_array_equal(out[3], expected[3])
    same(out[:, 50:], expected[:, 50:])


@every_kernel
def test_refuses_what_is_not_traces(kernel):
    with pytest.raises(TypeError, match="real numbers"):
        kernel(np.zeros(5, dtype=complex))
    with pytest.raises(ValueError, match="time axis"):
        kernel(np.float64(3))


@pytest.mark.parametrize("window", [0, 4, -3, 2.5])
def test_windows_are_odd(window):
    for call in (
        lambda: rolling.rolling_percentile_baseline(np.ones(9), window=window, percentile=8),
        lambda: rolling.rolling_median_baseline(np.ones(9), window=window),
        lambda: rolling.rolling_mean_baseline(np.ones(9), window=window),
        lambda: rolling.maximin_baseline(np.ones(9), sigma=1, window=window),
    ):
        with pytest.raises(ValueError, match="odd number"):
            call()


# -- percentile and median -------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("percentile", [0, 7, 10, 50, 99, 100])
@pytest.mark.parametrize("window", [1, 3, 9, 51, 101, 251])
def test_percentile_is_scipy(window, percentile, dtype):
    f = traces(3, 101).astype(dtype)
    out = rolling.rolling_percentile_baseline(f, window=window, percentile=percentile)
    np.testing.assert_array_equal(out, scipy_percentile(f, window, percentile))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("kind", ["noise", "walk", "steps", "signs", "counts", "infinite"])
def test_percentile_of_many_segments_is_scipy(kind, dtype):
    """Segments are sorted in part, and in whole where that does not do."""
    rng = np.random.default_rng(3)
    f = rng.normal(size=(2, 12_000)).astype(dtype)
    if kind == "walk":
        f = f.cumsum(axis=1)
    elif kind == "steps":
        f += 50 * (np.arange(12_000) // 700 % 3)
    elif kind == "signs":
        f *= np.float32(10) ** rng.integers(-30, 30, f.shape)
    elif kind == "counts":
        f = np.round(f * 3 + 5)
    elif kind == "infinite":
        f[rng.random(f.shape) < 0.1] = np.inf
        f[rng.random(f.shape) < 0.1] = -np.inf
    for window, percentile in [(3, 50), (31, 8), (301, 8), (301, 50), (999, 95)]:
        out = rolling.rolling_percentile_baseline(f, window=window, percentile=percentile)
        np.testing.assert_array_equal(out, scipy_percentile(f, window, percentile))


@settings(max_examples=150, deadline=None, derandomize=True)
@given(
    length=st.integers(1, 50),
    half=st.integers(0, 80),
    percentile=st.sampled_from([0, 8, 10, 33.3, 50, 90, 100]),
    gaps=st.sampled_from([0.0, 0.05, 0.5, 0.95]),
    ties=st.booleans(),
    seed=st.integers(0, 10**6),
)
def test_percentile_and_median_by_slow_loop(length, half, percentile, gaps, ties, seed):
    row = traces(length, seed=seed, gaps=gaps)
    if np.isnan(row).all():
        return
    row = np.round(row / 2) if ties else row
    window = 2 * half + 1

    def at_rank(values):
        count = len(values)
        return values[count - 1 if percentile == 100 else int(count * percentile / 100)]

    out = rolling.rolling_percentile_baseline(row, window=window, percentile=percentile)
    same(out, by_slow_loop(row, window, at_rank), rtol=1e-14, atol=0)
    out = rolling.rolling_median_baseline(row, window=window)
    same(out, by_slow_loop(row, window, np.median), rtol=1e-14, atol=0)


@settings(max_examples=120, deadline=None, derandomize=True)
@given(
    quantile=st.floats(0.0, 1.0),
    margin=st.floats(0.01, 1.0),
    step=st.integers(1, 90),
    share=st.sampled_from([0.0, 0.08, 0.5, 1.0]),
    gaps=st.sampled_from([0.0, 0.3]),
    seed=st.integers(0, 10**6),
)
def test_segments_and_guesses_change_nothing(quantile, margin, step, share, gaps, seed):
    """Wherever segments begin, and however wrong the guess of what needs sorting is."""
    rows = traces(2, 200, seed=seed, gaps=gaps)
    rows[0, 50:80] = np.nan  # longer than the window
    window, counts = 25, np.arange(26)
    lower = (share * np.maximum(counts - 1, 0)).astype(int)
    upper = np.minimum(lower + 1, np.maximum(counts - 1, 0))
    low, high = np.empty_like(rows), np.empty_like(rows)
    values = np.empty(200 + window - 1)
    rolling_loops.rolling_order(
        rows, values, values.view("u8"), lower, upper, step, quantile, margin, low, high
    )
    for row, *outs in zip(rows, low, high, strict=True):
        for ranks, out in zip((lower, upper), outs, strict=True):
            expected = [v[ranks[len(v)]] if len(v) else np.nan for v in mirrored(row, window)]
            np.testing.assert_array_equal(out, expected)


def test_percentile_is_scipy_away_from_gaps():
    f = traces(500)
    whole = rolling.rolling_percentile_baseline(f, window=21, percentile=30)
    f[[100, 101, 300]] = np.nan
    f[300] = -f[300]  # a NaN of the other sign
    out = rolling.rolling_percentile_baseline(f, window=21, percentile=30)
    far = ndimage.binary_dilation(np.isnan(f), iterations=10)
    np.testing.assert_array_equal(out[~far], whole[~far])


@pytest.mark.parametrize("kernel", ["percentile", "median", "mean"])
def test_across_a_gap_longer_than_the_window(kernel):
    f = np.r_[np.full(10, 1.0), np.full(13, np.nan), np.full(10, 11.0), np.full(8, np.nan)]
    out = KERNELS[kernel](f)
    # defined up to three samples inside the gap: from 12 (1.0) to 20 (11.0)
    same(out[12:21], np.linspace(1, 11, 9))
    same(out[-8:], 11.0)


@pytest.mark.parametrize("percentile", [-1, 100.5, np.nan])
def test_percentile_out_of_range(percentile):
    with pytest.raises(ValueError, match="between 0 and 100"):
        rolling.rolling_percentile_baseline(np.ones(20), window=3, percentile=percentile)


# -- mean --------------------------------------------------------------------------------------


@settings(max_examples=80, deadline=None, derandomize=True)
@given(
    length=st.integers(1, 50),
    half=st.integers(0, 80),
    gaps=st.sampled_from([0.0, 0.5, 0.95]),
    seed=st.integers(0, 10**6),
)
def test_mean_by_slow_loop(length, half, gaps, seed):
    row = traces(length, seed=seed, gaps=gaps)
    if np.isnan(row).all():
        return
    out = rolling.rolling_mean_baseline(row, window=2 * half + 1)
    same(out, by_slow_loop(row, 2 * half + 1, np.mean))


def test_mean_of_a_million_samples_is_exact_to_the_last():
    """A running sum would carry what is left of the large samples to the end."""
    f = np.tile([1.0, 2.0, 3.0], 400_000)
    f[:1000] = 1e15 + np.arange(1000) / 3
    out = rolling.rolling_mean_baseline(f, window=301)
    expected = [np.mean(f[at - 150 : at + 151]) for at in (1500, 1501, 1502)]
    same(out[1500:-150], np.resize(expected, len(out) - 1650), rtol=1e-14, atol=0)


# -- maximin -----------------------------------------------------------------------------------


@pytest.mark.parametrize("window", [1, 3, 21, 99, 301])
@pytest.mark.parametrize("sigma", [0, 0.5, 4.0])
def test_maximin_is_scipy(sigma, window):
    f = traces(3, 100)
    smooth = ndimage.gaussian_filter1d(f, sigma, axis=1) if sigma else f
    lowest = ndimage.minimum_filter1d(smooth, window, axis=1, mode="nearest")
    expected = ndimage.maximum_filter1d(lowest, window, axis=1, mode="nearest")
    same(rolling.maximin_baseline(f, sigma=sigma, window=window), expected)


def test_maximin_leaves_missing_samples_out():
    """Normalised convolution by its sum, then minimum and maximum of what is there."""
    row = traces(80, gaps=0.3)
    sigma, half = 1.5, 7
    there = np.flatnonzero(~np.isnan(row))
    smooth = np.full(80, np.nan)
    for i in there:
        distance = np.abs(np.r_[there - i, -1 - there - i, 159 - there - i])
        weight = np.exp(-(distance**2) / (2 * sigma**2)) * (distance <= 6)
        smooth[i] = np.average(np.tile(row[there], 3), weights=weight)
    for extreme in (np.nanmin, np.nanmax):
        smooth = [extreme(smooth[max(0, i - half) : i + half + 1]) for i in range(80)]
    out = rolling.maximin_baseline(row, sigma=sigma, window=2 * half + 1)
    same(out, smooth)


def test_maximin_lies_below_short_transients_and_follows_slow_changes():
    time = np.arange(3000) / 30
    slow = 100 - 20 * time / 100
    f = slow + 80 * (time % 20 > 18)
    f0 = rolling.maximin_baseline(f, sigma=10, window=301)
    assert abs(f0 / slow - 1).max() < 0.03  # the window of 10 s falls by 2 %


@pytest.mark.parametrize("sigma", [-1.0, np.nan, np.inf])
def test_maximin_arguments(sigma):
    with pytest.raises(ValueError, match="sigma must be 0 or a positive"):
        rolling.maximin_baseline(np.ones(9), sigma=sigma, window=3)
