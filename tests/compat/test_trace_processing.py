"""Traces as documented in 0.3.5, and where it was wrong (flaws F1 to F11)."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from calscipy.compat import CompatWarning
from calscipy.compat.trace_processing import (
    calculate_dfof,
    calculate_standardized_noise,
    detrend_polynomial,
    perona_malik_diffusion,
)
from calscipy.errors import ArgumentError, BaselineWarning

from . import reference

pytestmark = pytest.mark.filterwarnings("ignore::calscipy.compat.CompatWarning")


@pytest.fixture
def traces():
    rng = np.random.default_rng(1)
    bursts = ndimage.gaussian_filter1d(rng.random((4, 600)) > 0.98, 5.0, output=float) * 300
    return 100 + bursts + rng.normal(0, 5, (4, 600))


# -- ΔF/F ------------------------------------------------------------------------------------


def test_the_default_method_is_the_documented_filter(traces):
    expected = reference.calculate_dfof(traces)
    np.testing.assert_allclose(calculate_dfof(traces), expected, rtol=1e-6, atol=1e-9)
    for method in ("baseline", "filter", "low_pass"):
        assert np.array_equal(calculate_dfof(traces, method=method), calculate_dfof(traces))


@settings(deadline=None, derandomize=True, max_examples=60)
@given(samples=st.integers(9, 130), frame_rate=st.floats(2.5, 120), seed=st.integers(0, 99))
def test_taps_and_padding_follow_the_old_rules(samples, frame_rate, seed):
    traces = np.random.default_rng(seed).gamma(9.0, 20.0, (2, samples))
    expected = reference.calculate_dfof(traces, frame_rate)
    # of F: what is left of ΔF/F near zero has fewer digits
    np.testing.assert_allclose(calculate_dfof(traces, frame_rate), expected, rtol=1e-6, atol=1e-6)


def test_offset_and_reference_enter_as_documented(traces):
    other = traces[::-1] + 50
    expected = reference.calculate_dfof(traces, 15.0, 7.0, other)
    found = calculate_dfof(traces, 15.0, False, 7.0, other)
    np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-9)


def test_unknown_methods_are_named_with_the_known_ones(traces):
    with pytest.raises(ArgumentError, match=r"one of .*low_pass.*percentile.*'nonsense'"):
        calculate_dfof(traces, method="nonsense")  # F1


@pytest.mark.parametrize("method", ["mean", "median", "percentile"])
def test_other_methods_are_offered(traces, method):
    found = calculate_dfof(traces, method=method)
    function = {"mean": np.mean, "median": np.median}.get(
        method, lambda f, **k: np.percentile(f, 8, **k)
    )
    f0 = function(traces, axis=1, keepdims=True)
    np.testing.assert_allclose(found, (traces - f0) / f0, rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("dtype", ["uint16", "int64", "int16"])
def test_integers_are_not_cut_off(traces, dtype):
    counts = traces.astype(dtype)
    found = calculate_dfof(counts)  # F2
    assert found.dtype.kind == "f"
    expected = reference.calculate_dfof(counts.astype(float))
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=2e-5)  # float32 for 16 bits
    with pytest.raises(ArgumentError, match=r"in_place=True needs .* floating-point.*astype"):
        calculate_dfof(counts, in_place=True)


@pytest.mark.parametrize("frame_rate", [0.5, 1.0, 2.0])
def test_slow_recordings_are_not_filtered(traces, frame_rate):
    f0 = np.percentile(traces, 5, axis=1, keepdims=True)  # F3
    np.testing.assert_allclose(
        calculate_dfof(traces, frame_rate), traces / f0 - 1, rtol=1e-6, atol=1e-9
    )


@pytest.mark.parametrize("samples", range(2, 9))
def test_traces_of_fewer_than_nine_frames(traces, samples):
    short = traces[:, :samples]  # F4
    f0 = np.percentile(short, 5, axis=1, keepdims=True)
    np.testing.assert_allclose(calculate_dfof(short), short / f0 - 1, rtol=1e-6, atol=1e-9)


def test_a_nan_spoils_itself_alone(traces):
    complete = calculate_dfof(traces)
    traces[1, 300] = np.nan
    found = calculate_dfof(traces)  # F5
    assert np.isnan(found).sum() == 1
    assert np.isnan(found[1, 300])
    assert np.array_equal(found[[0, 2, 3]], complete[[0, 2, 3]])
    rest = np.arange(600) != 300
    np.testing.assert_allclose(found[1, rest], complete[1, rest], atol=0.01)


def test_a_baseline_that_is_not_above_zero_gives_nan_and_a_warning(traces):
    traces[2] -= 500  # F6: 0.3.5 turned the sign of its transients
    with pytest.warns(BaselineWarning, match=r"neurons 2 "):
        found = calculate_dfof(traces)
    assert np.isnan(found[2]).all()
    assert np.isfinite(found[[0, 1, 3]]).all()
    assert np.isfinite(calculate_dfof(traces, offset=1000.0)).all()


def test_low_baselines_above_zero_are_divided_by_as_in_0_3_5(traces):
    traces -= 95  # below the noise
    np.testing.assert_allclose(
        calculate_dfof(traces, offset=20.0),
        reference.calculate_dfof(traces, offset=20.0),
        rtol=1e-5,
        atol=1e-6,
    )


@pytest.mark.parametrize("function", [calculate_dfof, perona_malik_diffusion, detrend_polynomial])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_results_in_place_and_inputs_left_alone(traces, function, dtype):
    given_ = traces.astype(dtype)
    before = given_.copy()
    result = function(given_)
    assert np.array_equal(given_, before)
    assert result.dtype == dtype
    assert not np.shares_memory(result, given_)
    assert function(given_, in_place=True) is given_
    assert np.array_equal(given_, result)


def test_arrays_that_are_not_contiguous_are_written_in_place(traces):
    wide = np.zeros((4, 1200))
    wide[:, ::2] = traces
    view = wide[:, ::2]
    assert calculate_dfof(view, in_place=True) is view
    assert np.array_equal(wide[:, ::2], calculate_dfof(traces))
    assert not wide[:, 1::2].any()


def test_one_trace_alone(traces):
    np.testing.assert_allclose(calculate_dfof(traces[0]), calculate_dfof(traces)[0])
    np.testing.assert_allclose(perona_malik_diffusion(traces[0]), perona_malik_diffusion(traces)[0])
    np.testing.assert_allclose(detrend_polynomial(traces[0]), detrend_polynomial(traces)[0])
    assert calculate_standardized_noise(traces[0]) == calculate_standardized_noise(traces)[0]


# -- noise -----------------------------------------------------------------------------------


def test_noise_is_the_documented_one(traces):
    dfof = traces / 100 - 1
    found = calculate_standardized_noise(dfof, 12.5)
    assert found.shape == (4,)
    np.testing.assert_allclose(found, reference.calculate_standardized_noise(dfof, 12.5), rtol=1e-9)


def test_noise_of_traces_with_a_nan(traces):
    complete = calculate_standardized_noise(traces)
    traces[0, 5] = np.nan  # F5
    found = calculate_standardized_noise(traces)
    assert np.array_equal(found[1:], complete[1:])
    assert found[0] == pytest.approx(complete[0], rel=0.05)


def test_noise_of_white_noise():
    white = np.random.default_rng(0).normal(0, 0.1, (1, 200_000))
    expected = 0.6745 * np.sqrt(2) * 100 * 0.1 / np.sqrt(30)  # F9
    assert calculate_standardized_noise(white)[0] == pytest.approx(expected, rel=0.01)


# -- detrending ------------------------------------------------------------------------------


@pytest.mark.parametrize("keep_level", [True, False])
def test_detrending_is_a_quartic_fit(traces, keep_level):
    traces = traces + 50 * np.sin(np.linspace(0, 3, 600))
    expected = reference.detrend_polynomial(traces, keep_level)
    found = detrend_polynomial(traces, keep_level=keep_level)
    np.testing.assert_allclose(found, expected, atol=1e-9)


def test_the_level_is_kept_unless_it_is_not_wanted(traces):
    np.testing.assert_allclose(detrend_polynomial(traces).mean(1), traces.mean(1))  # F10
    np.testing.assert_allclose(detrend_polynomial(traces, keep_level=False).mean(1), 0, atol=1e-9)


@pytest.mark.filterwarnings("error::calscipy.compat.CompatWarning")
def test_the_kept_level_is_said_once(traces):
    with pytest.warns(CompatWarning, match="keep_level=False"):
        detrend_polynomial(traces)
    detrend_polynomial(traces)
    detrend_polynomial(traces, keep_level=False)
    calculate_dfof(traces)


def test_long_traces_are_fitted_exactly():
    at = np.linspace(-1, 1, 100_000)
    curve = 5 + at - 2 * at**2 + at**4
    np.testing.assert_allclose(detrend_polynomial(curve[None], keep_level=False), 0, atol=1e-9)


def test_detrending_with_nan_and_of_integers(traces):
    counts = traces.astype("uint16")
    np.testing.assert_allclose(
        detrend_polynomial(counts), reference.detrend_polynomial(counts.astype(float)), atol=1e-3
    )
    traces[0, 7] = np.nan
    found = detrend_polynomial(traces)
    assert np.isnan(found).sum() == 1
    with pytest.raises(ArgumentError, match=r"neurons 0, 1, 2, 3 have fewer than the 5"):
        detrend_polynomial(traces[:, 20:24])


# -- diffusion -------------------------------------------------------------------------------


@pytest.mark.parametrize("how", [{}, {"iters": 3, "kappa": 0.4, "gamma": 0.5}, {"kappa": 1.0}])
def test_diffusion_is_the_documented_one(traces, how):
    expected = reference.perona_malik_diffusion(traces, **how)
    np.testing.assert_allclose(perona_malik_diffusion(traces, **how), expected, rtol=1e-9)


def test_diffusion_keeps_constants_sums_and_nan(traces):
    constant = np.full((2, 50), 7.0)
    assert np.array_equal(perona_malik_diffusion(constant), constant)  # F11
    np.testing.assert_allclose(perona_malik_diffusion(traces).sum(1), traces.sum(1))
    traces[0, 5] = np.nan
    assert np.isnan(perona_malik_diffusion(traces)).sum() == 1


@pytest.mark.parametrize("how", [{"kappa": 0}, {"iters": 0}])
def test_no_diffusion_changes_nothing(traces, how):
    found = perona_malik_diffusion(traces, **how)
    assert np.array_equal(found, traces)
    assert not np.shares_memory(found, traces)
    assert perona_malik_diffusion(traces, **how, in_place=True) is traces


def test_diffusion_that_would_make_noise_grow_is_refused(traces):
    with pytest.raises(ArgumentError, match=r"gamma must be .* at most 0.5"):
        perona_malik_diffusion(traces, gamma=0.6)


def test_diffusion_of_integers(traces):
    counts = traces.astype("uint16")
    expected = reference.perona_malik_diffusion(counts.astype(float))
    np.testing.assert_allclose(perona_malik_diffusion(counts), expected, rtol=1e-4)


def test_sigma_smooths_the_differences_first(traces):
    plain, smooth = perona_malik_diffusion(traces), perona_malik_diffusion(traces, sigma=2)
    assert np.abs(np.diff(smooth)).sum() != pytest.approx(np.abs(np.diff(plain)).sum(), rel=1e-3)
    np.testing.assert_allclose(smooth.sum(1), traces.sum(1))
