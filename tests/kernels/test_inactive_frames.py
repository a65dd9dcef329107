import warnings

import numpy as np
import pytest

from calscipy.kernels import inactive_frames
from calscipy.kernels.inactive_frames import inactive_frames_baseline
from calscipy.testing import synthetic_traces


def f0_of(f, frame_rate=30.0, **arguments):
    window, short = round(60 * frame_rate) | 1, round(3.333 * frame_rate) | 1
    return inactive_frames_baseline(f, window=window, short_window=short, **arguments)


def errors(frame_rate=30.0, **arguments):
    truth = synthetic_traces(neurons=8, frame_rate=frame_rate, seed=3, **arguments)
    return f0_of(truth.traces.values, frame_rate) / truth.f0.values - 1


@pytest.mark.parametrize("snr", [3, 5, 10])
def test_noise_around_a_constant_level(snr):
    error = errors(duration=600.0, snr=snr, event_rate=0.0)
    assert abs(error.mean()) < 0.002
    # a median of 1801 samples scatters by 0.03 sigma
    assert abs(error.mean(axis=1)).max() < 0.005
    assert np.abs(error).mean() < 0.05 / (2 * snr)


@pytest.mark.parametrize("snr", [3, 5, 10])
@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"drift": 0.1, "bleaching": 0.3},
        {"drift": 0.3, "bleaching": 0.6, "bleaching_time": 60.0},
    ],
    ids=["constant", "bleaching", "strong"],
)
def test_activity_and_slow_changes(snr, changes):
    error = errors(duration=600.0, snr=snr, **changes)
    assert abs(error.mean()) < 0.02


@pytest.mark.parametrize("snr", [5, 10])
def test_frequent_activity(snr):
    assert abs(errors(duration=300.0, snr=snr, event_rate=0.2).mean()) < 0.02


@pytest.mark.parametrize("snr", [3, 5, 10])
def test_slow_frames(snr):
    assert abs(errors(frame_rate=2.0, duration=1800.0, snr=snr).mean()) < 0.02


def test_noise_that_is_correlated():
    truth = synthetic_traces(neurons=8, duration=300.0, snr=5.0, seed=4)
    f = truth.traces.values
    f = (f[:, 2:] + f[:, 1:-1] + f[:, :-2]) / 3
    assert abs((f0_of(f) / truth.f0.values[:, 1:-1] - 1).mean()) < 0.01


def test_long_activity_and_gaps_longer_than_the_window():
    """Few frames at the border are not enough to say what F0 is in between."""
    level = 100 + np.arange(6000) / 1000
    f = level + np.random.default_rng(0).normal(0.0, 1.0, 6000)
    f[1000:1400] += 50.0
    f[2000:3800] = np.nan
    f0 = inactive_frames_baseline(f, window=601, short_window=101)
    assert abs(f0 - level)[300:-300].max() < 0.8  # 30 frames, at the border


@pytest.mark.parametrize("dtype", ["uint16", "float32", "float64"])
def test_hard_rows(dtype):
    """Constant, quantised, missing and tiny traces; no warning."""
    rng = np.random.default_rng(1)
    f = np.empty((4, 400), dtype=dtype)
    f[0] = 7
    f[1] = rng.random(400) < 0.1
    f[2] = rng.integers(90, 110, 400)
    f[3] = rng.integers(0, 2, 400) * 50
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        out = inactive_frames_baseline(f, window=61, short_window=15)
        np.testing.assert_array_equal(out[0], 7)
        np.testing.assert_array_equal(out[1], 0)
        assert abs(out[2] - 99.5).max() < 8
        assert np.isfinite(out).all()
        assert out.dtype == ("float64" if dtype == "float64" else "float32")
        for length in (1, 2, 8):
            short = inactive_frames_baseline(f[:, :length], window=61, short_window=15)
            assert np.isfinite(short).all()
            np.testing.assert_array_equal(short[0], 7)


def test_gaps():
    f = np.random.default_rng(2).normal(100.0, 2.0, (4, 2000))
    whole = inactive_frames_baseline(f, window=201, short_window=31)
    f[0, 500:520] = np.nan
    f[1, :900] = np.nan
    f[2] = np.nan
    f[3, 100], f[3, 900] = np.inf, -np.inf
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        out = inactive_frames_baseline(f, window=201, short_window=31)
    assert np.isnan(out[2]).all()
    assert np.isfinite(out[[0, 1, 3]]).all()
    assert abs(out[[0, 1, 3]] - 100).max() < 2.0  # the median of 11 frames, at the border
    assert abs(out[0] - whole[0]).max() < 0.5


def test_scales_with_the_trace():
    f = synthetic_traces(neurons=2, duration=120.0).traces.values
    expected = f0_of(f)
    for scale in (2.0**-10, 2.0**10):
        np.testing.assert_array_equal(f0_of(scale * f), scale * expected)


def test_rows_are_independent(monkeypatch):
    f = synthetic_traces(neurons=6, duration=30.0).traces.values.copy()
    f[2, 10:150] = np.nan
    before = f.copy()
    together = inactive_frames_baseline(f, window=301, short_window=31)
    np.testing.assert_array_equal(f, before)
    for row, out in zip(f, together, strict=True):
        alone = inactive_frames_baseline(row, window=301, short_window=31)
        np.testing.assert_array_equal(alone, out)
    monkeypatch.setattr(inactive_frames, "PIECE", 2000)
    other = inactive_frames_baseline(f.reshape(2, 3, -1), window=301, short_window=31)
    np.testing.assert_array_equal(other.reshape(6, -1), together)


@pytest.mark.parametrize("shape", [(0,), (3, 0), (0, 5)])
def test_empty(shape):
    out = inactive_frames_baseline(np.zeros(shape), window=3, short_window=3)
    assert out.shape == shape


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"percentile": 0}, "percentile must lie between"),
        ({"percentile": 100}, "percentile must lie between"),
        ({"threshold": 0}, "threshold must be above 0"),
        ({"threshold": np.nan}, "threshold must be above 0"),
        ({"window": 4}, "odd number"),
        ({"short_window": 4}, "odd number"),
    ],
)
def test_arguments(wrong, message):
    with pytest.raises(ValueError, match=message):
        inactive_frames_baseline(np.ones(9), **({"window": 5, "short_window": 3} | wrong))
