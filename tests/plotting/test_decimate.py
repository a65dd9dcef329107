"""Thinned-out traces keep every peak, every gap and the times."""

import numpy as np
import pytest
import xarray as xr

import calscipy as cs
from calscipy.errors import ArgumentError
from calscipy.plotting.decimate import decimate, decimate_exactly, gaps


def noise(rows: int, samples: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    draw = np.random.default_rng(seed)
    values = draw.normal(0, 1, (rows, samples))
    values[draw.random(values.shape) < 0.05] = np.nan
    return values, np.cumsum(draw.uniform(0.5, 1.5, samples))


@pytest.mark.parametrize("dtype", ["f4", "f8", "i2", "u8", "?"])
@pytest.mark.parametrize(("samples", "columns"), [(1000, 50), (997, 31), (203, 100), (50, 1)])
def test_near_every_sample_one_is_kept_that_is_as_high_and_one_as_low(dtype, samples, columns):
    values, times = noise(3, samples)
    if np.dtype(dtype).kind != "f":
        values = np.nan_to_num(100 * np.abs(values)).astype(dtype)
    values = values.astype(dtype)
    when, kept = decimate_exactly(values, times, columns)
    reach = -(-samples // columns)
    assert kept.shape == when.shape == (3, 2 * columns)
    for row in range(3):
        own = np.searchsorted(times, when[row])
        np.testing.assert_array_equal(times[own], when[row])
        np.testing.assert_array_equal(kept[row], values[row, own])
        assert (np.diff(own) >= 0).all()
        for at in np.flatnonzero(np.isfinite(values[row])):
            near = kept[row][np.abs(own - at) <= reach]
            assert near.max() >= values[row, at]
            assert near.min() <= values[row, at]


def test_shared_times_lie_in_the_columns_of_the_samples():
    values, times = noise(5, 1003)
    exact, kept = decimate_exactly(values, times, 40)
    shared, same = decimate(values, times, 40)
    np.testing.assert_array_equal(same, kept)
    assert (np.diff(shared) > 0).all()
    assert np.abs(exact - shared).max() <= 1.5 * 1003 / 40


def test_values_that_are_not_finite_hide_no_peak_and_a_gap_stays_one():
    values = np.zeros((1, 1000))
    values[0, 200:300] = np.nan
    values[0, [510, 512]] = np.inf, -np.inf
    values[0, 511] = 3.0
    values[0, 600] = 1e38
    times, kept = decimate(values, np.arange(1000.0), 100)
    assert (times[np.isnan(kept[0])] > 195).all()
    assert (times[np.isnan(kept[0])] < 305).all()
    assert np.isnan(kept).sum() == 20
    assert sorted(kept[kept > 0].tolist()) == [3.0, 1e38]


@pytest.mark.parametrize("thin", [decimate, decimate_exactly])
@pytest.mark.parametrize("columns", [10, 1000])
def test_breaks_become_nan_between_the_stretches(thin, columns):
    values, times = noise(2, 300)
    values = np.nan_to_num(values)
    times[100:] += 50
    when, kept = thin(values, times, columns, breaks=[0, 100, 250, 300])
    when = np.broadcast_to(when, kept.shape)
    assert np.isnan(kept).sum(axis=1).tolist() == [2, 2]
    for row in range(2):
        at = when[row, np.isnan(kept[row])]
        assert times[99] < at[0] < times[100]
        assert times[249] < at[1] < times[250]
    # No column holds samples of both sides of a break.
    assert not ((when > times[99]) & (when < times[100]) & np.isfinite(kept)).any()


@pytest.mark.parametrize("thin", [decimate, decimate_exactly])
def test_short_traces_are_left_as_they_are(thin):
    values, times = noise(2, 100)
    when, kept = thin(values, times, 50)
    np.testing.assert_array_equal(kept, values)
    np.testing.assert_array_equal(np.broadcast_to(when, kept.shape)[1], times)


def test_traces_without_a_finite_sample_are_nan():
    _, kept = decimate(np.full((2, 500), np.nan, "f4"), np.arange(500), 20)
    assert kept.shape == (2, 40)
    assert np.isnan(kept).all()
    assert kept.dtype == np.float32


def test_single_samples_between_breaks_are_kept():
    values, times = noise(1, 100)
    values = np.nan_to_num(values)
    _, kept = decimate(values, times, 5, breaks=[50, 51])
    assert values[0, 50] in kept[0]
    assert np.isnan(kept).sum() == 2


def test_what_is_no_table_of_numbers_is_refused():
    for values, times in (
        (np.zeros(5), np.zeros(5)),
        (np.zeros((2, 5)), np.zeros(4)),
        (np.zeros((2, 5), complex), np.zeros(5)),
    ):
        with pytest.raises(ArgumentError, match="decimate needs numbers"):
            decimate(values, times, 10)


def test_gaps_are_epochs_and_missing_times():
    traces = cs.from_numpy(np.zeros((1, 60)), frame_rate=10)
    assert gaps(traces).tolist() == []
    holes = traces.isel(time=[*range(20), *range(25, 40), 41, *range(43, 60)])
    assert gaps(holes).tolist() == [20, 35, 36]
    epochs = traces.assign_coords(epoch=("time", np.repeat([1, 2, 3], 20)))
    assert gaps(epochs).tolist() == [20, 40]
    back = xr.concat([traces, traces], "time")
    assert gaps(back).tolist() == [60]
    assert gaps(traces.isel(time=[0])).tolist() == []
