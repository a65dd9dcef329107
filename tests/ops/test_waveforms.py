"""Waveforms around events: aligned exactly, at both edges, with their labels."""

import dask
import dask.array as da
import numpy as np
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st

import calscipy as cs
from calscipy.errors import ArgumentError, DimensionError, TimeAxisError
from calscipy.ops.waveforms import waveforms
from calscipy.testing import synthetic_traces

RATE = 10.0


@pytest.fixture(autouse=True, scope="module")
def one_thread():
    with dask.config.set(scheduler="sync"):
        yield


def traces(neurons=3, samples=20, dtype="f4"):
    values = np.arange(neurons * samples).reshape(neurons, samples).astype(dtype)
    return cs.from_numpy(values, frame_rate=RATE).assign_coords(
        neuron=np.arange(neurons) + 10, y=("neuron", np.arange(neurons) / 2)
    )


def at(data, *places):
    raster = np.zeros((data.sizes["neuron"], data.sizes["time"]), bool)
    for neuron, sample in places:
        raster[neuron, sample] = True
    return xr.DataArray(raster, {d: data[d] for d in ("neuron", "time")}, ("neuron", "time"))


def slow(data, events, before, after):
    """The original's waveforms, event by event and sample by sample, padded with NaN."""
    rows, samples = data.shape
    made = []
    for row in range(rows):
        for onset in range(samples):
            if events.values[row, onset]:
                window = [
                    float(data.values[row, k]) if 0 <= k < samples else np.nan
                    for k in range(onset - before, onset + after + 1)
                ]
                made.append(window)
    return np.array(made).reshape(-1, before + 1 + after)


@given(
    places=st.lists(st.tuples(st.integers(0, 2), st.integers(0, 19)), max_size=12),
    before=st.integers(0, 25),
    after=st.integers(0, 25),
    chunks=st.none() | st.tuples(st.integers(1, 3), st.integers(1, 20)),
    dtype=st.sampled_from(["f4", "f8", "u2"]),
)
@settings(max_examples=40, deadline=None, derandomize=True)
def test_windows_are_those_of_a_slow_loop(places, before, after, chunks, dtype):
    data = traces(dtype=dtype)
    events = at(data, *places)
    expected = slow(data, events, before, after)
    given = data if chunks is None else data.chunk(dict(zip(data.dims, chunks, strict=True)))
    made = waveforms(given, events, pre=before / RATE, post=after / RATE)
    assert (made.chunks is None) == (chunks is None)
    assert made.dtype == ("f8" if dtype == "f8" else "f4") == made.compute().dtype
    np.testing.assert_array_equal(made.values, expected)
    row, sample = np.nonzero(events.values)
    np.testing.assert_array_equal(made.neuron, data.neuron.values[row])
    np.testing.assert_array_equal(made.time, data.time.values[sample])
    np.testing.assert_array_equal(made.frame, sample)


def test_events_near_the_edges_are_aligned():
    """F13: an event nearer than ``pre`` to the start came late, with its last samples cut."""
    data = traces(1, 20)
    made = waveforms(data, at(data, (0, 1), (0, 10), (0, 19)), pre=0.3, post=0.4)
    onset = made.sel(lag=0)
    np.testing.assert_array_equal(onset, [1, 10, 19])
    np.testing.assert_array_equal(made[0], [np.nan, np.nan, 0, 1, 2, 3, 4, 5])
    np.testing.assert_array_equal(made[2], [16, 17, 18, 19, *[np.nan] * 4])


def test_neurons_without_events_and_integers():
    """F13: a neuron without events and traces of integers failed."""
    data = traces(3, 20, "u2")
    made = waveforms(data, at(data, (2, 0)), pre=0.1, post=0.1)
    np.testing.assert_array_equal(made, [[np.nan, 40, 41]])
    assert made.neuron.values.tolist() == [12]
    none = waveforms(data, at(data), pre=0.1, post=0.1)
    assert none.shape == (0, 3)
    lazy = waveforms(data.chunk(neuron=1), at(data), pre=0.1, post=0.1)
    assert lazy.chunks is not None
    assert lazy.compute().shape == (0, 3)


def test_lags_are_whole_steps_and_zero_at_the_onset():
    truth = synthetic_traces(neurons=2, duration=20, frame_rate=29.97, event_rate=0.2)
    made = waveforms(truth.traces, truth.events, pre=0.5, post=1.0)
    assert made.lag.values[15] == 0.0
    np.testing.assert_allclose(made.lag, np.arange(-15, 31) / 29.97, rtol=1e-9)
    assert made.lag.attrs["units"] == "s"
    np.testing.assert_array_equal(
        made.sel(lag=0), truth.traces.values[np.nonzero(truth.events.values)]
    )


def test_windows_do_not_cross_epochs_and_labels_come_along():
    data = traces(2, 8).assign_coords(epoch=("time", [1] * 4 + [2] * 4))
    data = data.assign_coords(time=data.time + 60.0 * (data.epoch - 1))
    made = waveforms(data, at(data, (1, 3), (1, 4)), pre=0.2, post=0.2)
    np.testing.assert_array_equal(made, [[9, 10, 11, np.nan, np.nan], [np.nan, np.nan, 12, 13, 14]])
    assert made.epoch.values.tolist() == [1, 2]
    assert made.y.values.tolist() == [0.5, 0.5]
    np.testing.assert_allclose(made.time, [0.3, 60.4])


def test_dimensions_in_any_order_and_channels():
    one = traces(2, 12)
    two = xr.concat([one, one + 1000], "channel").assign_coords(channel=["red", "green"])
    events = at(one, (0, 3), (1, 5))
    made = waveforms(two.transpose("time", "channel", "neuron"), events, pre=0.1, post=0.1)
    assert made.dims == ("channel", "event", "lag")
    np.testing.assert_array_equal(made[1], made[0] + 1000)
    of_green = xr.concat([events & False, events], "channel").assign_coords(channel=two.channel)
    for data in (two, two.chunk(channel=1, neuron=1)):
        own = waveforms(data, of_green.transpose(), pre=0.1, post=0.1)
        assert own.dims == ("event", "lag")
        assert own.channel.values.tolist() == ["green", "green"]
        np.testing.assert_array_equal(own.values, made[1])


def test_a_single_trace():
    data = traces(1, 12)[0].drop_vars(("neuron", "y"))
    made = waveforms(data, data == 4, pre=0.1, post=0.2)
    np.testing.assert_array_equal(made, [[3, 4, 5, 6]])
    assert "neuron" not in made.coords


def test_missing_samples_stay_missing():
    data = traces(2, 10)
    data[0, 4] = np.nan
    data[1] = np.nan
    made = waveforms(data, at(data, (0, 5), (1, 5)), pre=0.1, post=0.1)
    np.testing.assert_array_equal(made, [[np.nan, 5, 6], [np.nan] * 3])


def test_only_what_is_needed_is_computed():
    data = traces(4, 20)
    read = []

    def block(rows, block_info=None):
        read.append(block_info[0]["chunk-location"][0])
        return rows

    given = data.copy(data=da.from_array(data.values, chunks=(1, 20)).map_blocks(block, dtype="f4"))
    read.clear()  # dask tries the function on nothing first
    made = waveforms(given, at(data, (1, 5), (3, 5)), pre=0.1, post=0.1)
    assert read == []
    made.compute()
    assert sorted(read) == [1, 3]
    lazy_events = at(data, (1, 5)).chunk(neuron=1)
    assert waveforms(data, lazy_events, pre=0.1, post=0.1).chunks is None


@pytest.mark.parametrize(
    ("events", "match"),
    [
        (lambda d: at(d).astype(int), "boolean DataArray along 'time', got int64"),
        (lambda d: at(d).values, "got ndarray"),
        (lambda d: at(d).isel(time=slice(5)), r"other labels along 'time' .* \(5 and 20"),
        (lambda d: at(d).assign_coords(neuron=[1, 2, 3]), "other labels along 'neuron'"),
        (lambda d: at(d).assign_coords(time=d.time + 1), "other labels along 'time'"),
        (lambda d: at(d).rename(neuron="cell"), r"dimensions \['cell'\], which"),
    ],
)
def test_events_of_something_else_are_refused(events, match):
    data = traces()
    with pytest.raises(ArgumentError, match=match):
        waveforms(data, events(data), pre=0.1, post=0.1)


@pytest.mark.parametrize(("pre", "post"), [(-1, 1), (np.nan, 1), (1, np.inf), (1, "1"), (True, 1)])
def test_windows_are_seconds(pre, post):
    data = traces()
    with pytest.raises(ArgumentError, match="pre and post in seconds, 0 or more"):
        waveforms(data, at(data), pre=pre, post=post)
    with pytest.raises(ArgumentError, match=r"pre and post in seconds, up to .* in ms"):
        waveforms(data, at(data), pre=1, post=500_000)


def test_what_has_no_frame_rate_is_refused():
    data = traces(1, 1)
    with pytest.raises(TimeAxisError, match="at least two samples"):
        waveforms(data, at(data, (0, 0)), pre=0, post=0)
    late = traces(1, 5).assign_coords(time=[0, 0.1, 0.2, 0.4, 0.5])
    with pytest.raises(TimeAxisError, match="evenly spaced"):
        waveforms(late, at(late, (0, 0)), pre=0, post=0)
    with pytest.raises(DimensionError):
        waveforms(cs.from_numpy(np.ones((4, 2, 2)), frame_rate=1), at(data), pre=0, post=0)
    with pytest.raises(ArgumentError, match="needs numbers"):
        waveforms(at(traces()), at(traces()), pre=0, post=0)


def test_the_input_is_untouched():
    data = traces()
    before = data.copy(deep=True)
    waveforms(data, at(data, (0, 5)), pre=0.1, post=0.1)
    xr.testing.assert_identical(data, before)
    assert data.time.attrs == before.time.attrs
