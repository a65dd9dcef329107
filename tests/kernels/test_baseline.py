import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import signal

from calscipy.kernels import baseline, vector_loops
from calscipy.kernels.compiled import frozen

LENGTHS = [*range(1, 51), 89, 90, 91, 300]
FRAME_RATES = [0.5, 1.0, 2.0, 2.1, 7.3, 30.0, 60.0]
KERNELS = {
    "mean": baseline.mean_baseline,
    "median": baseline.median_baseline,
    "percentile": lambda f: baseline.percentile_baseline(f, percentile=8.0),
    "low_pass": lambda f: baseline.low_pass_baseline(f, frame_rate=30.0),
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
    assert out.strides[-1] == 0  # one number for each row
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
def test_a_gap_out_of_reach_changes_nothing(length):
    """The two paths meet: normalised convolution without a gap in reach is the filter."""
    row = traces(length)
    taps = baseline._taps(length)
    longer = np.concatenate([row, traces(4 * taps, seed=1)])
    weights = baseline._weights(taps, 1.0, 30.0)
    gapped = longer.copy()
    gapped[length + taps] = np.nan
    smooth = np.empty((2, len(longer)))
    rows = frozen(np.stack([longer, gapped]))
    vector_loops.low_pass(rows, frozen(weights), baseline.LEAST_WEIGHT, smooth)
    same(smooth[1, : length + 1], smooth[0, : length + 1])
    assert np.isnan(smooth[1]).tolist() == np.isnan(gapped).tolist()


@pytest.mark.parametrize("dtype", ["f4", "f8"])
@pytest.mark.parametrize("place", [0, 700])
def test_an_outlier_costs_no_digits_elsewhere(dtype, place):
    row = np.random.default_rng(1).normal(200, 1, (1, 3000)).astype(dtype)
    row[0, place] = 1e10
    expected = baseline.low_pass_baseline(row.astype("f8"), frame_rate=30.0)[0, 0]
    assert expected == pytest.approx(199.68, abs=0.05)
    found = baseline.low_pass_baseline(row, frame_rate=30.0)[0, 0]
    assert found == pytest.approx(expected, rel=1e-6)


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


def test_infinite_samples_are_missing_to_the_filter():
    row = traces(200)
    gapped = row.copy()
    row[[20, 21, 120]] = np.inf, -np.inf, np.inf
    gapped[[20, 21, 120]] = np.nan
    for dtype in ("f4", "f8"):
        out = [baseline.low_pass_baseline(f.astype(dtype), frame_rate=30) for f in (row, gapped)]
        np.testing.assert_array_equal(*out)
    missing = np.where(np.arange(50) % 2, np.nan, -np.inf)
    assert (baseline.low_pass_baseline(missing, frame_rate=30) == -np.inf).all()


@pytest.mark.parametrize("level", [0.0, 1.0, 1e4, 1e7])
@pytest.mark.parametrize("gaps", [0.0, 0.05])
def test_low_pass_of_float32_is_that_of_float64(level, gaps):
    """Sums are of differences from a sample: a high level costs no digits."""
    f = (level + traces(5, 3000, gaps=gaps)).astype("f4")
    out = baseline.low_pass_baseline(f, frame_rate=30.0)[:, 0]
    exact = baseline.low_pass_baseline(f.astype("f8"), frame_rate=30.0)[:, 0]
    # the last digit of the level, and a millionth of how far the trace goes
    np.testing.assert_allclose(out, exact, rtol=1.2e-7, atol=1e-6 * np.nanstd(f))


@settings(max_examples=40, deadline=None, derandomize=True)
@given(
    length=st.integers(9, 5000),
    frame_rate=st.floats(2.1, 100),
    cutoff=st.floats(0.1, 1.0),
    percentile=st.sampled_from([0, 5, 50, 100]),
    seed=st.integers(0, 10**6),
)
def test_low_pass_of_any_trace(length, frame_rate, cutoff, percentile, seed):
    row = traces(length, seed=seed)
    arguments = {"frame_rate": frame_rate, "cutoff": cutoff, "percentile": percentile}
    expected = low_pass_reference(row, frame_rate, cutoff, percentile)
    same(baseline.low_pass_baseline(row, **arguments)[0], expected, rtol=1e-11)
    single = baseline.low_pass_baseline(row.astype("f4"), **arguments)[0]
    same(single, expected, rtol=1e-6)  # F4: what 0.3.5 defines, to the digits of float32


def test_low_pass_of_a_gapped_constant_is_the_constant():
    f = np.full(100, 50.0)
    f[[0, 1, 40, 41, 42, 99]] = np.nan
    same(baseline.low_pass_baseline(f, frame_rate=30.0), 50.0)


def test_low_pass_arguments():
    for wrong in ({"frame_rate": 0.0}, {"frame_rate": 30.0, "cutoff": -1.0}):
        with pytest.raises(ValueError, match="above 0 Hz"):
            baseline.low_pass_baseline(np.ones(50), **wrong)


# -- rows that lack the same samples -------------------------------------------------------


def test_rows_by_gaps_covers_every_row_once():
    f = traces(40, 5, gaps=0.4)
    seen = []
    for members, valid, samples in baseline.rows_by_gaps(f):
        np.testing.assert_array_equal(samples, f[members][:, valid])
        np.testing.assert_array_equal(~np.isnan(f[members]), np.tile(valid, (len(members), 1)))
        seen.extend(members)
    assert sorted(seen) == list(range(40))
