import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from calscipy.kernels import mode
from calscipy.kernels.mode import mode_baseline
from calscipy.testing import synthetic_traces


def reference(values):
    """Half-sample mode of sorted values, by recursion; the middle one of tied halves."""
    n = len(values)
    if n <= 2:
        return sum(values) / n
    if n == 3:
        below, above = values[1] - values[0], values[2] - values[1]
        if below == above:
            return values[1]
        return sum(values[:2] if below < above else values[1:]) / 2
    half = -(-n // 2)
    widths = [values[i + half - 1] - values[i] for i in range(n - half + 1)]
    tied = [i for i, width in enumerate(widths) if width == min(widths)]
    start = tied[(len(tied) - 1) // 2]
    return reference(values[start : start + half])


values = st.one_of(st.integers(-8, 8).map(float), st.floats(-100, 100, width=32))


@settings(max_examples=200, deadline=None, derandomize=True)
@given(st.lists(values, min_size=1, max_size=60), st.randoms(use_true_random=False))
def test_by_recursion(samples, random):
    expected = reference(sorted(samples))
    random.shuffle(samples)
    out = mode_baseline(np.array(samples))
    np.testing.assert_allclose(out, expected, rtol=1e-14, atol=1e-14)


@settings(max_examples=60, deadline=None, derandomize=True)
@given(st.integers(1, 200), st.integers(-5, 5), st.integers(-1000, 1000), st.integers(0, 10**6))
def test_follows_scale_and_shift(length, power, shift, seed):
    f = np.random.default_rng(seed).integers(0, 500, length).astype(float)
    scale = 2.0**power  # exact, so that ties stay ties
    np.testing.assert_array_equal(
        mode_baseline(scale * f + shift), scale * mode_baseline(f) + shift
    )


def test_follows_a_change_of_sign_where_no_halves_tie():
    f = np.random.default_rng(0).normal(size=(5, 501))
    np.testing.assert_array_equal(mode_baseline(-f), -mode_baseline(f))


@pytest.mark.parametrize("dtype", ["uint16", "float32", "float64", ">f4"])
def test_few_samples_gaps_and_constants(dtype):
    f = np.array([[5, 5, 5, 5], [1, 9, 9, 9], [7, 7, 1, 2]]).astype(dtype)
    f.setflags(write=False)
    out = mode_baseline(f)
    assert out.dtype == ("float64" if dtype == "float64" else "float32")
    np.testing.assert_array_equal(out, np.array([[5.0], [9.0], [7.0]]) * np.ones(4))
    np.testing.assert_array_equal(mode_baseline(f[:, :1]), f[:, :1])
    np.testing.assert_array_equal(mode_baseline(f[1, :2]), [5, 5])


def test_missing_and_infinite_samples_are_left_out():
    f = np.random.default_rng(1).normal(size=(4, 50))
    expected = mode_baseline(f[:, 10:])[:, :1]
    f[0, :10] = np.nan
    f[1, :10] = np.inf
    f[2, :10] = -np.inf
    f[3] = np.nan
    out = mode_baseline(f)
    np.testing.assert_array_equal(out[:3], expected[:3] * np.ones(50))
    assert np.isnan(out[3]).all()


def test_rows_are_independent(monkeypatch):
    f = np.random.default_rng(2).normal(size=(6, 40))
    f[2, 10:20] = np.nan
    together = mode_baseline(f)
    for row, out in zip(f, together, strict=True):
        np.testing.assert_array_equal(mode_baseline(row), out)
    np.testing.assert_array_equal(mode_baseline(f.reshape(2, 3, 40)), together.reshape(2, 3, 40))
    monkeypatch.setattr(mode, "PIECE", 90)
    np.testing.assert_array_equal(mode_baseline(np.asfortranarray(f)), together)


@pytest.mark.parametrize("shape", [(0,), (3, 0), (0, 5)])
def test_empty(shape):
    assert mode_baseline(np.zeros(shape)).shape == shape


def test_activity_moves_it_less_than_the_median():
    truth = synthetic_traces(neurons=20, duration=300.0, snr=5.0, event_rate=0.1, seed=2)
    f = truth.traces.values
    error = mode_baseline(f)[:, 0] / 500 - 1
    assert abs(error.mean()) < 0.5 * (np.median(f, axis=1) / 500 - 1).mean()
