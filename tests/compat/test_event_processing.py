"""Events, rates, bins and waveforms as documented in 0.3.5, and where it was wrong (F12 to F16)."""

import functools
import math
import warnings

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage
from sklearn.preprocessing import MaxAbsScaler, MinMaxScaler, StandardScaler

from calscipy.compat import CompatWarning
from calscipy.compat.event_processing import (
    bin_data,
    calculate_firing_rates,
    calculate_mean_firing_rates,
    collect_waveforms,
    convert_tau,
    get_event_onset_intensities,
    get_inter_event_intervals,
    get_num_events,
    identify_events,
    normalize_firing_rates,
    scale_waveforms,
)
from calscipy.errors import ArgumentError

from . import reference

pytestmark = pytest.mark.filterwarnings("ignore::calscipy.compat.CompatWarning")


@pytest.fixture
def traces():
    rng = np.random.default_rng(1)
    bursts = ndimage.gaussian_filter1d(rng.random((4, 600)) > 0.98, 5.0, output=float) * 300
    return 100 + bursts + rng.normal(0, 1, (4, 600))


FRAMES = [[3, 40, 300], [], [599], [0, 100, 101]]


def equal(found, expected, **how):
    assert isinstance(found, tuple)
    assert len(found) == len(expected)
    for one, other in zip(found, expected, strict=True):
        assert isinstance(one, np.ndarray)
        np.testing.assert_allclose(one, other, **how)


# -- bins ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "function", [np.mean, np.sum, np.median, np.std, np.max, np.min, sum, np.ptp, len]
)
@pytest.mark.parametrize("dtype", ["float32", "float64", "int64", "uint16"])
def test_bins_are_those_of_a_loop(traces, function, dtype):
    rows = traces[:, :52].astype(dtype)
    expected = reference.bin_data(rows, 7, function)
    found = bin_data(rows, 7, function)
    np.testing.assert_allclose(found, expected, rtol=2e-6)
    assert found.shape == (4, 8)
    assert (found.dtype.kind == "f") >= (expected.dtype.kind == "f")


@settings(deadline=None, derandomize=True, max_examples=60)
@given(samples=st.integers(0, 40), length=st.integers(1, 45))
def test_bins_of_any_length(samples, length):
    values = np.random.default_rng(samples).integers(0, 9, samples)
    assert (
        bin_data(values, length, np.sum).tolist()
        == reference.bin_data(values, length, np.sum).tolist()
    )
    dropped = bin_data(values, length, np.sum, last_bin="drop")
    assert (
        dropped.tolist() == bin_data(values[: samples // length * length], length, np.sum).tolist()
    )


def test_the_last_bin_has_what_is_left_over_unless_asked_for_the_old_rule():
    assert bin_data(np.arange(7), 3, np.sum).tolist() == [3, 12, 6]  # F16
    assert bin_data(np.arange(7), 3, np.sum, last_bin="join").tolist() == [3, 18]
    assert bin_data(np.arange(6), 5, np.sum).tolist() == [10, 5]
    assert bin_data(np.arange(6), 5, np.sum, last_bin="join").tolist() == [15]
    assert bin_data(np.arange(3), 5, np.sum, last_bin="join").tolist() == [3]
    assert bin_data(np.arange(7), 3, lambda v: v[-1], last_bin="join").tolist() == [2, 6]


def test_arrays_are_binned_along_time_unless_asked_for_the_old_rule():
    matrix = np.arange(12.0).reshape(2, 6)
    assert bin_data(matrix, 3, np.mean).tolist() == [[1, 4], [7, 10]]
    assert bin_data(matrix, 2, np.mean, axis=0).tolist() == [[3, 4, 5, 6, 7, 8]]


@pytest.mark.filterwarnings("error::calscipy.compat.CompatWarning")
def test_other_numbers_than_before_are_said_once():
    with pytest.warns(CompatWarning, match="last axis"):
        bin_data(np.zeros((2, 6)), 3, np.mean)
    bin_data(np.zeros((2, 6)), 3, np.mean)
    with pytest.warns(CompatWarning, match="last_bin='join'"):
        bin_data(np.zeros(7), 3, np.mean)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        bin_data(np.zeros(6), 3, np.mean)
        bin_data(np.zeros(7), 3, np.mean, last_bin="join")
        normalize_firing_rates(np.ones((1, 4)))
        collect_waveforms(np.zeros((1, 9)), [[5, 8]], 5, 1)
    with pytest.warns(CompatWarning, match="axis=0"):
        normalize_firing_rates(np.ones((2, 4)))
    with pytest.warns(CompatWarning, match="early events"):
        collect_waveforms(np.zeros((1, 9)), [[4]], 5, 1)


@pytest.mark.parametrize(
    "index", [None, pd.Index(np.arange(7) * 0.1, name="Time (ms)"), list("abcdefg")]
)
def test_tables_are_binned_along_their_index(index):
    table = pd.DataFrame({"a": range(7), "b": np.arange(7) * 2.0}, index=index)
    found = bin_data(table, 3, np.mean)  # F16: float and nameless indices failed
    assert found.columns.tolist() == ["a", "b"]
    assert found["a"].tolist() == [1, 4, 6]
    assert found["b"].tolist() == [2, 8, 12]
    assert found.index.tolist() == table.index[[0, 3, 6]].tolist()
    assert found.index.name == table.index.name


def test_series_lists_single_rows_and_generators():
    series = bin_data(pd.Series(range(7), name="lick"), 3, np.sum)  # F16: TypeError
    assert isinstance(series, pd.Series)
    assert (series.name, series.tolist()) == ("lick", [3, 12, 6])
    assert bin_data([1, 2, 3], 2, max).tolist() == [2, 3]
    assert bin_data((n for n in range(4)), 2, np.sum).tolist() == [1, 5]
    assert bin_data(pd.DataFrame({"a": [5.0]}), 3, np.mean)["a"].tolist() == [5.0]  # IndexError


def test_functions_without_names_and_with_fixed_arguments(traces):
    found = bin_data(traces, 100, functools.partial(np.percentile, q=90))
    expected = np.percentile(traces.reshape(4, 6, 100), 90, axis=-1)
    np.testing.assert_allclose(found, expected)


@pytest.mark.parametrize(
    ("length", "fun", "words"),
    [
        (0, np.mean, "bin_length must be a whole number from 1"),
        (2.5, np.mean, "bin_length must be a whole number from 1"),
        (2, "nonsense", "fun must be a function"),
        (2, lambda values: values, "one real number of each bin"),
    ],
)
def test_bins_that_cannot_be_are_explained(length, fun, words):
    with pytest.raises(ArgumentError, match=words):
        bin_data(np.zeros(6), length, fun)
    with pytest.raises(ArgumentError, match="last_bin must be one of"):
        bin_data(np.zeros(6), 2, np.mean, last_bin="half")


# -- rates -----------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_rates_are_probabilities_times_the_frame_rate(dtype):
    given_ = np.random.default_rng(0).random((3, 50)).astype(dtype)
    before = given_.copy()
    found = calculate_firing_rates(given_, 12.5)
    assert found.dtype == dtype
    np.testing.assert_allclose(found, reference.calculate_firing_rates(before, 12.5), rtol=1e-6)
    assert np.array_equal(given_, before)
    assert calculate_firing_rates(given_, 12.5, in_place=True) is given_
    assert np.array_equal(given_, found)


def test_rates_of_booleans_and_integers():
    assert calculate_firing_rates(np.array([[True, False]])).tolist() == [[30.0, 0.0]]
    with pytest.raises(ArgumentError, match="in_place"):
        calculate_firing_rates(np.array([[1, 0]]), in_place=True)


def test_mean_rates_leave_nan_out():
    rates = np.random.default_rng(0).random((3, 50))
    rates[0, 3] = np.nan
    found = calculate_mean_firing_rates(rates)
    assert found.shape == (3,)
    np.testing.assert_allclose(found, reference.calculate_mean_firing_rates(rates))


def test_each_neuron_is_divided_by_its_own_maximum():
    rates = np.random.default_rng(0).normal(1, 1, (5, 60))  # F14
    rates[3] = 0
    rates[4] = -1
    expected = reference.normalize_firing_rates(rates)
    before = rates.copy()
    np.testing.assert_allclose(normalize_firing_rates(rates), expected)
    assert np.array_equal(rates, before)
    assert normalize_firing_rates(rates).min() == 0
    assert normalize_firing_rates(rates, in_place=True) is rates
    np.testing.assert_allclose(rates, expected)


def test_the_old_axis_can_be_asked_for():
    rates = np.array([[1.0, 0.0, 4.0], [2.0, 0.0, 1.0]])
    assert normalize_firing_rates(rates, axis=0).tolist() == [[0.5, 0.0, 1.0], [1.0, 0.0, 0.25]]
    assert normalize_firing_rates(rates.astype(int)).tolist() == [[0.25, 0, 1], [1, 0, 0.5]]
    assert normalize_firing_rates(rates > 1).tolist() == [[0, 0, 1], [1, 0, 0]]


@pytest.mark.parametrize("tau", [0.01, 0.5, 0.9, 0.999])
def test_time_constants_are_numbers(tau):
    found = convert_tau(tau, 0.1)
    assert isinstance(found, float)  # F15
    assert found == pytest.approx(reference.convert_tau(tau, 0.1), rel=1e-12)


def test_time_constants_of_what_is_no_decay():
    assert convert_tau(1.0, 0.1) == math.inf
    assert convert_tau(1.5, 0.1) == math.inf
    assert math.isnan(convert_tau(0.0, 0.1))
    assert math.isnan(convert_tau(-0.5, 0.1))
    expected = reference.convert_tau(np.array([0.5, 0.9]), 0.1)
    np.testing.assert_allclose(convert_tau(np.array([0.5, 0.9]), 0.1), expected)


# -- lists of events -------------------------------------------------------------------------


@pytest.mark.parametrize("make", [list, tuple, np.array, lambda events: iter(list(events))])
def test_lists_of_events_of_any_kind(traces, make):
    frames = [make(events) for events in FRAMES]
    expected = [traces[row][np.array(events, int)] for row, events in enumerate(FRAMES)]
    equal(get_event_onset_intensities(traces, frames), expected)
    frames = [make(events) for events in FRAMES]
    equal(
        get_inter_event_intervals(frames, 15.0), reference.get_inter_event_intervals(FRAMES, 15.0)
    )


def test_counts_of_events():
    found = get_num_events(FRAMES)
    assert isinstance(found, np.ndarray)
    assert found.tolist() == reference.get_num_events(FRAMES).tolist() == [3, 0, 1, 3]
    assert get_num_events([]).tolist() == []


@settings(deadline=None, derandomize=True, max_examples=40)
@given(st.lists(st.lists(st.integers(0, 59), max_size=6), max_size=5))
def test_intervals_never_reach_over_neurons(lists):
    equal(get_inter_event_intervals(lists, 30.0), reference.get_inter_event_intervals(lists, 30.0))


def test_onset_values_keep_their_type(traces):
    found = get_event_onset_intensities(traces.astype("uint16"), FRAMES)
    assert [one.dtype for one in found] == ["uint16"] * 4
    assert found[1].size == 0


@pytest.mark.parametrize("function", [get_event_onset_intensities, collect_waveforms])
@pytest.mark.parametrize(
    ("frames", "words"),
    [
        ([[3], [], [600], [-1]], r"rows 2, 3 have events in frames such as 600.*from 0 to 599"),
        ([[3], [1.5], [], []], r"rows 1 have events in frames such as 1.5.*whole numbers"),
        ([[3], [np.nan], [], []], r"rows 1 have events in frames such as nan"),
        ([[3]], r"events of 1 neurons do not fit traces of 4"),
        ([["a"], [], [], []], r"one list of frames, as numbers, for each neuron"),
    ],
)
def test_events_that_do_not_fit_are_named(traces, function, frames, words):
    with pytest.raises(ArgumentError, match=words):
        function(traces, frames)


# -- waveforms -------------------------------------------------------------------------------


@pytest.mark.parametrize(("pre", "post"), [(5, 9), (0, 0), (150, 450), (700, 700)])
def test_waveforms_are_aligned_at_both_edges(traces, pre, post):
    found = collect_waveforms(traces, FRAMES, pre, post)  # F13
    equal(found, reference.collect_waveforms(traces, FRAMES, pre, post))
    for row, events in enumerate(FRAMES):
        assert found[row].shape == (len(events), pre + 1 + post)
        assert found[row][:, pre].tolist() == traces[row, np.array(events, int)].tolist()


def test_waveforms_have_the_documented_lengths_and_take_integers(traces):
    found = collect_waveforms(traces.astype("uint16"), FRAMES)
    assert found[0].shape == (3, 601)
    assert np.isnan(found[0][0, :147]).all()
    assert found[1].shape == (0, 601)
    assert found[0].dtype == "float32"


@pytest.mark.parametrize("scaler", [StandardScaler, MinMaxScaler, MaxAbsScaler])
def test_waveforms_are_scaled_one_by_one(traces, scaler):
    waveforms = [traces[:2, :50], traces[2:3, :50], traces[:0, :50]]
    equal(
        scale_waveforms(waveforms, scaler), reference.scale_waveforms(waveforms, scaler), atol=1e-9
    )
    equal(scale_waveforms(waveforms, scaler()), scale_waveforms(waveforms, scaler))


def test_the_standard_scaler_is_the_default(traces):
    (found,) = scale_waveforms([traces[:, :50]])
    np.testing.assert_allclose(found.mean(1), 0, atol=1e-9)
    np.testing.assert_allclose(found.std(1), 1)
    before = traces.copy()
    scale_waveforms([traces])
    assert np.array_equal(traces, before)


def test_scaled_waveforms_keep_nan():
    (found,) = scale_waveforms([np.array([[np.nan, 1.0, 3.0]])], MinMaxScaler)
    np.testing.assert_array_equal(found, [[np.nan, 0, 1]])


# -- detection -------------------------------------------------------------------------------


@pytest.mark.parametrize("smooth", [True, False])
@pytest.mark.parametrize("force_nonneg", [True, False])
@pytest.mark.parametrize(("timeout", "frame_rate"), [(15, 30.0), (1, 5.0), (40, 10.0)])
def test_events_are_found_by_the_documented_rule(traces, timeout, frame_rate, smooth, force_nonneg):
    how = {
        "timeout": timeout,
        "frame_rate": frame_rate,
        "smooth": smooth,
        "force_nonneg": force_nonneg,
    }
    found = identify_events(traces, **how)
    assert found == reference.identify_events(traces, **how)
    assert all(isinstance(events, list) for events in found)
    assert any(found)


def test_events_in_integers_do_not_wrap(traces):
    counts = traces.astype("uint16")
    assert identify_events(counts) == reference.identify_events(counts.astype(float))  # F12
    falling = np.linspace(60_000, 10, 300)[None].astype("uint16")
    assert identify_events(falling, smooth=False) == ([],)


def test_events_of_one_trace_of_constants_and_of_gaps(traces):
    assert identify_events(traces[0]) == identify_events(traces)[:1]
    assert identify_events(np.full((2, 100), 7.0)) == ([], [])
    traces[2, 5] = np.nan
    with pytest.raises(ArgumentError, match="neurons 2 have missing samples"):
        identify_events(traces)
