import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage, signal

from calscipy.kernels import baseline

LENGTHS = [*range(1, 51), 89, 90, 91, 300]
FRAME_RATES = [0.5, 1.0, 2.0, 2.1, 7.3, 30.0, 60.0]
KERNELS = {
    "mean": baseline.mean_baseline,
    "median": baseline.median_baseline,
    "percentile": lambda f: baseline.percentile_baseline(f, percentile=8.0),
    "low_pass": lambda f: baseline.low_pass_baseline(f, frame_rate=30.0),
    "rolling": lambda f: baseline.rolling_percentile_baseline(f, window=7, percentile=20.0),
}
every_kernel = pytest.mark.parametrize("kernel", KERNELS.values(), ids=KERNELS.keys())


def traces(*shape, seed=0, gaps=0.0):
    rng = np.random.default_rng(seed)
    f = 100 + rng.normal(size=shape).cumsum(axis=-1) + rng.normal(size=shape)
    f[rng.random(shape) < gaps] = np.nan
    return f


def same(actual, expected, **tolerance):
    np.testing.assert_allclose(actual, expected, **({"rtol": 1e-12, "atol": 1e-10} | tolerance))


# -- what all share ------------------------------------------------------------------------


@every_kernel
@pytest.mark.parametrize(
    ("given_dtype", "dtype"),
    [
        ("uint16", "float32"),
        ("int64", "float32"),
        ("bool", "float32"),
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
def test_rows_are_independent(kernel):
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
    assert (out[some] >= np.nanmin(f[some], axis=1)[:, None] - 5).all()


@every_kernel
@pytest.mark.parametrize("shape", [(0,), (3, 0), (0, 5), (2, 0, 4)])
def test_empty(kernel, shape):
    assert kernel(np.zeros(shape)).shape == shape


@every_kernel
def test_infinite_samples_do_not_warn(kernel):
    f = traces(3, 40)
    f[0, 5] = np.inf
    f[1, 6:9] = -np.inf
    expected = kernel(f[2])
    np.testing.assert_array_equal(kernel(f)[2], expected)


@every_kernel
def test_refuses_what_is_not_traces(kernel):
    with pytest.raises(TypeError, match="real numbers"):
        kernel(np.zeros(5, dtype=complex))
    with pytest.raises(ValueError, match="time axis"):
        kernel(np.float64(3))


# -- one constant per row ------------------------------------------------------------------


@pytest.mark.parametrize("gaps", [0.0, 0.3])
def test_constants(gaps):
    f = traces(5, 40, gaps=gaps)
    ones = np.ones((1, 40))
    same(baseline.mean_baseline(f), np.nanmean(f, axis=1, keepdims=True) * ones)
    same(baseline.median_baseline(f), np.nanmedian(f, axis=1, keepdims=True) * ones)
    for percentile in (0, 8, 50, 99.5, 100):
        expected = np.nanpercentile(f, percentile, axis=1, keepdims=True) * ones
        same(baseline.percentile_baseline(f, percentile=percentile), expected)


def test_mean_of_float32_is_summed_in_float64():
    f = np.full(3_000_001, 16_777.217, dtype=np.float32)
    same(baseline.mean_baseline(f)[0], f[0], rtol=1e-7)


@pytest.mark.parametrize("percentile", [-1, 100.5, np.nan])
def test_percentile_out_of_range(percentile):
    for call in (
        lambda: baseline.percentile_baseline(np.ones(20), percentile=percentile),
        lambda: baseline.low_pass_baseline(np.ones(20), frame_rate=30, percentile=percentile),
        lambda: baseline.rolling_percentile_baseline(np.ones(20), window=3, percentile=percentile),
    ):
        with pytest.raises(ValueError, match="between 0 and 100"):
            call()


# -- low pass --------------------------------------------------------------------------------


def low_pass_reference(row, frame_rate, cutoff, percentile):
    """CalSciPy 0.3.5 on its valid inputs: no NaN, n >= 9, cutoff below Nyquist."""
    taps = min(30, len(row) // 3)
    if taps % 2 == 0:
        taps -= 1
    if 3 * taps == len(row):
        taps -= 1
    b = signal.firwin(taps, cutoff, window="hamming", fs=frame_rate)
    return np.percentile(signal.filtfilt(b, [1.0], row, padlen=3 * taps), percentile)


@pytest.mark.parametrize("frame_rate", FRAME_RATES)
@pytest.mark.parametrize("length", LENGTHS)
def test_low_pass_is_filtfilt_on_its_valid_inputs(frame_rate, length):
    f = traces(3, length, seed=length)
    out = baseline.low_pass_baseline(f, frame_rate=frame_rate)
    assert (out == out[:, :1]).all()
    if length >= 9 and frame_rate > 2:
        expected = [low_pass_reference(row, frame_rate, 1.0, 5.0) for row in f]
    else:
        expected = np.percentile(f, 5.0, axis=1)
    same(out[:, 0], expected)
    single = baseline.low_pass_baseline(f.astype("f4"), frame_rate=frame_rate)
    same(single[:, 0], expected, rtol=3e-7)


def test_low_pass_in_pieces(monkeypatch):
    f = traces(7, 50)
    whole = baseline.low_pass_baseline(f, frame_rate=30.0)
    monkeypatch.setattr(baseline, "PIECE", 100)
    np.testing.assert_array_equal(baseline.low_pass_baseline(f, frame_rate=30.0), whole)


@pytest.mark.parametrize("length", [9, 10, 33, 39, 90, 300])
def test_gapped_low_pass_without_gaps_is_the_filter(length):
    """The two paths meet: normalised convolution of a whole row is filtfilt."""
    row = traces(length)
    weights = signal.firwin(baseline._taps(length), 1.0, window="hamming", fs=30.0)
    for percentile in (0, 5, 100):
        expected = low_pass_reference(row, 30.0, 1.0, percentile)
        same(baseline._gapped_level(row, weights, percentile), expected)


def gapped_reference(row, frame_rate, percentile):
    """Slow loop over the definition."""
    n = len(row)
    taps = baseline._taps(n)
    b = signal.firwin(taps, 1.0, window="hamming", fs=frame_rate)
    kernel = np.convolve(b, b[::-1])
    smooth = []
    for i in range(n):
        total = weight = 0.0
        for offset in range(1 - taps, taps):
            at = i + offset
            if at < 0:
                value = 2 * row[0] - row[-at]
            elif at >= n:
                value = 2 * row[-1] - row[2 * (n - 1) - at]
            else:
                value = row[at]
            if not np.isnan(value):
                total += kernel[offset + taps - 1] * value
                weight += kernel[offset + taps - 1]
        if weight >= 0.5 and not np.isnan(row[i]):
            smooth.append(total / weight)
    return np.percentile(smooth if smooth else row[~np.isnan(row)], percentile)


@settings(max_examples=60, deadline=None)
@given(
    length=st.integers(9, 50),
    frame_rate=st.floats(2.1, 60),
    seed=st.integers(0, 10**6),
    gaps=st.floats(0.01, 0.95),
)
def test_low_pass_with_gaps(length, frame_rate, seed, gaps):
    row = traces(length, seed=seed, gaps=gaps)
    if np.isnan(row).all() or not np.isnan(row).any():
        return
    out = baseline.low_pass_baseline(row, frame_rate=frame_rate, percentile=20.0)
    # 1e-9: the weight, down to 0.5, divides a sum of terms around 100
    same(out, gapped_reference(row, frame_rate, 20.0), rtol=1e-9)


def test_low_pass_of_a_gapped_constant_is_the_constant():
    f = np.full(100, 50.0)
    f[[0, 1, 40, 41, 42, 99]] = np.nan
    same(baseline.low_pass_baseline(f, frame_rate=30.0), 50.0)


def test_low_pass_arguments():
    for wrong in ({"frame_rate": 0.0}, {"frame_rate": 30.0, "cutoff": -1.0}):
        with pytest.raises(ValueError, match="above 0 Hz"):
            baseline.low_pass_baseline(np.ones(50), **wrong)


# -- rolling percentile ----------------------------------------------------------------------


def rolling_reference(row, window, percentile):
    """Slow loop over the definition; gaps longer than the window interpolated."""
    n = len(row)
    out = np.full(n, np.nan)
    for i in range(n):
        values = []
        for at in range(i - window // 2, i + window // 2 + 1):
            folded = at % (2 * n)
            values.append(row[folded if folded < n else 2 * n - 1 - folded])
        values = sorted(v for v in values if not np.isnan(v))
        if values:
            size = len(values)
            rank = size - 1 if percentile == 100 else int(size * percentile / 100)
            out[i] = values[rank]
    known = ~np.isnan(out)
    return np.interp(np.arange(n), np.flatnonzero(known), out[known])


@pytest.mark.parametrize("percentile", [0, 7, 10, 50, 99, 100])
@pytest.mark.parametrize("window", [1, 3, 9, 51, 101])
def test_rolling_is_scipy_without_gaps(window, percentile):
    f = traces(3, 101)
    out = baseline.rolling_percentile_baseline(f, window=window, percentile=percentile)
    expected = [ndimage.percentile_filter(row, percentile, size=window) for row in f]
    np.testing.assert_array_equal(out, expected)
    same(out[0], rolling_reference(f[0], window, percentile), rtol=0, atol=0)


@settings(max_examples=150, deadline=None)
@given(
    length=st.integers(1, 50),
    half=st.integers(0, 80),
    percentile=st.sampled_from([0, 8, 10, 33.3, 50, 90, 100]),
    gaps=st.sampled_from([0.0, 0.05, 0.5, 0.95]),
    ties=st.booleans(),
    seed=st.integers(0, 10**6),
)
def test_rolling_by_slow_loop(length, half, percentile, gaps, ties, seed):
    row = traces(length, seed=seed, gaps=gaps)
    if np.isnan(row).all():
        return
    row = np.round(row / 2) if ties else row
    window = 2 * half + 1
    out = baseline.rolling_percentile_baseline(row, window=window, percentile=percentile)
    np.testing.assert_allclose(out, rolling_reference(row, window, percentile), rtol=1e-14)


def test_rolling_is_scipy_away_from_gaps():
    f = traces(500)
    whole = baseline.rolling_percentile_baseline(f, window=21, percentile=30)
    f[[100, 101, 300]] = np.nan
    out = baseline.rolling_percentile_baseline(f, window=21, percentile=30)
    far = ndimage.binary_dilation(np.isnan(f), iterations=10)
    np.testing.assert_array_equal(out[~far], whole[~far])


def test_rolling_across_a_gap_longer_than_the_window():
    f = np.r_[np.full(10, 1.0), np.full(9, np.nan), np.full(10, 11.0), np.full(8, np.nan)]
    out = baseline.rolling_percentile_baseline(f, window=3, percentile=50)
    # defined up to one sample inside the gap: from 10 (1.0) to 18 (11.0)
    same(out[10:19], np.linspace(1, 11, 9))
    same(out[-8:], 11.0)


@pytest.mark.parametrize("window", [0, 4, -3, 2.5])
def test_rolling_window(window):
    with pytest.raises(ValueError, match="odd number"):
        baseline.rolling_percentile_baseline(np.ones(9), window=window, percentile=8)


def test_rows_by_gaps_covers_every_row_once():
    f = traces(40, 5, gaps=0.4)
    seen = []
    for members, valid, samples in baseline.rows_by_gaps(f):
        np.testing.assert_array_equal(samples, f[members][:, valid])
        np.testing.assert_array_equal(~np.isnan(f[members]), np.tile(valid, (len(members), 1)))
        seen.extend(members)
    assert sorted(seen) == list(range(40))
