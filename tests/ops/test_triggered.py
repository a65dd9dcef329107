"""Event-triggered averages: against a slow loop, in one pass, whatever the chunks."""

import tracemalloc
from collections import Counter

import dask
import dask.array as da
import numpy as np
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st

import calscipy as cs
from calscipy.errors import ArgumentError, TimeAxisError
from calscipy.ops.triggered import event_triggered_average
from calscipy.ops.waveforms import waveforms
from calscipy.testing import synthetic_traces

RATE, FRAMES = 10.0, 40


@pytest.fixture(autouse=True, scope="module")
def one_thread():
    with dask.config.set(scheduler="sync"):
        yield


def movie(dtype="f4", *, gaps=False, channels=2):
    """Two epochs, damaged frames that hold a fill value, perhaps missing pixels."""
    rng = np.random.default_rng(0)
    values = rng.integers(0, 60000, (FRAMES, channels, 3, 2)).astype(dtype)
    if gaps:
        values[rng.random(values.shape) < 0.1] = np.nan
    valid = rng.random((FRAMES, channels)) > 0.1
    values[~valid] = 7
    times = np.arange(FRAMES) / RATE + np.where(np.arange(FRAMES) < 25, 0, 100)
    return cs.from_numpy(values, frame_rate=RATE).assign_coords(
        time=("frames", times, {"units": "s"}),
        epoch=("frames", np.repeat([1, 2], [25, 15])),
        valid=(("frames", "channel"), valid),
        mouse="m1",
    )


def slow(data, times, before, after):
    """Sum and count at each lag, trigger by trigger, pixel by pixel."""
    values, valid = data.values.astype("f8"), data.valid.values
    epoch = data.epoch.values
    total = np.zeros((before + 1 + after, *values.shape[1:]))
    count = np.zeros(total.shape, int)
    for time in times:
        onset = int(np.argmin(np.abs(data.time.values - time)))
        for lag in range(-before, after + 1):
            k = onset + lag
            if 0 <= k < len(values) and epoch[k] == epoch[onset]:
                known = ~np.isnan(values[k]) & valid[k][:, None, None]
                total[lag + before][known] += values[k][known]
                count[lag + before] += known
    return total, count


triggers_of_the_movie = st.lists(
    st.one_of(st.floats(0, 2.44), st.floats(102.46, 103.94)), max_size=12
)


@given(
    times=triggers_of_the_movie,
    before=st.integers(0, 30),
    after=st.integers(0, 30),
    chunks=st.none() | st.tuples(*(st.integers(1, n) for n in (FRAMES, 2, 3, 2))),
    kind=st.sampled_from([("f4", False), ("f4", True), ("f8", True), ("u2", False)]),
    small=st.booleans(),
)
@settings(max_examples=40, deadline=None, derandomize=True)
def test_movies_are_those_of_a_slow_loop(times, before, after, chunks, kind, small):
    dtype, gaps = kind
    data = movie(dtype, gaps=gaps)
    given = data
    if chunks is not None:
        given = data.copy(data=da.from_array(data.values, chunks=chunks))
    total, count = slow(data, times, before, after)
    window = (before / RATE, after / RATE)
    with cs.set_options(chunk_bytes=1 if small else 2**20):
        mean = event_triggered_average(given, times, window=window)
        sums = event_triggered_average(given, times, window=window, reduce="sum")
    assert (mean.chunks is None) == (chunks is None)
    assert mean.dims == ("lag", "channel", "y", "x")
    assert mean.dtype == mean.values.dtype == ("f8" if dtype == "f8" else "f4")
    assert sums.dtype == sums.values.dtype == ("i8" if dtype == "u2" else "f8")
    np.testing.assert_allclose(sums, total, rtol=0 if dtype == "u2" else 1e-12)
    counted = mean["count"].broadcast_like(mean).values
    np.testing.assert_array_equal(counted, count)
    np.testing.assert_array_equal(np.isnan(mean), count == 0)
    there = count > 0
    np.testing.assert_allclose(mean.values[there], total[there] / count[there], rtol=1e-6)
    np.testing.assert_allclose(mean.lag, np.arange(-before, after + 1) / RATE, rtol=1e-9)


def test_what_is_known_without_reading_is_told_at_once():
    data = movie("u2")
    lazy = data.copy(data=da.from_array(data.values, chunks=(8, 1, 3, 2)))
    made = event_triggered_average(lazy, [1.0, 2.0], window=(0.2, 0.3))
    assert made["count"].dims == ("lag", "channel")
    assert made["count"].chunks is None
    floats = event_triggered_average(lazy.astype("f4"), [1.0], window=(0.2, 0.3))
    assert floats["count"].dims == made.dims
    assert floats["count"].chunks is not None
    assert made.mouse == "m1"
    assert made.attrs["units"] == "count"
    assert made.attrs["long_name"] == "fluorescence, mean around triggers"
    assert made.coords.keys() == {"lag", "count", "channel", "y", "x", "mouse"}


def counting(frames, chunk, pixels=16):
    """A movie that counts how often each of its blocks is made."""
    made = Counter()

    def block(block_info):
        start, stop = block_info[None]["array-location"][0]
        made[start // chunk] += 1
        values = np.arange(start, stop, dtype="f4")[:, None, None]
        return np.broadcast_to(values, (stop - start, pixels, pixels)).copy()

    chunks = ((chunk,) * (frames // chunk), (pixels,), (pixels,))
    array = da.map_blocks(block, chunks=chunks, dtype="f4", meta=np.empty((0, 0, 0), "f4"))
    return cs.from_numpy(array, frame_rate=RATE), made


def test_every_block_is_read_once_and_none_for_nothing():
    data, made = counting(400, 20)
    times = [3.0, 3.05, 11.1, 12.0, 12.0, 30.0]  # windows in blocks 1, 5, 6, 14 and 15
    result = event_triggered_average(data, times, window=(0.5, 0.5))
    assert not made
    with dask.config.set(scheduler="sync"):
        computed = result.compute()
    frames = np.array([30, 30, 111, 120, 120, 300])
    np.testing.assert_allclose(
        computed[:, 0, 0], (frames + np.arange(-5, 6)[:, None]).mean(axis=1), rtol=1e-6
    )
    assert dict(made) == dict.fromkeys([1, 5, 6, 14, 15], 1)


def test_memory_does_not_grow_with_the_movie():
    def peak(frames):
        data, _ = counting(frames, 20, pixels=128)
        times = np.arange(2.0, frames / RATE - 2, 1.0)
        with cs.set_options(chunk_bytes=2**20):  # a block has 1.3 MB, its sums 1.4
            result = event_triggered_average(data, times, window=(0.5, 0.5)).data
            tracemalloc.start()
            result.compute(scheduler="sync", optimize_graph=False)
            found = tracemalloc.get_traced_memory()[1]
            tracemalloc.stop()
        return found

    peak(40)  # modules are imported
    short, long = peak(400), peak(1600)
    assert long < short + 3 * 11 * 128 * 128 * 8  # two more sums wait for others
    assert long < 1600 * 128 * 128 * 4 / 5


def test_neurons_around_their_own_events():
    truth = synthetic_traces(neurons=6, duration=60, event_rate=0.1, seed=3)
    data, events = truth.traces, truth.events.copy()
    data[1, 100:130] = np.nan
    events[2] = False
    around = waveforms(data, events, pre=0.5, post=1.0)
    for turned in (data, data.chunk(neuron=4, time=700), data.transpose()):
        made = event_triggered_average(turned, events, window=(0.5, 1.0)).transpose("neuron", "lag")
        for neuron in range(6):
            mine = around[around.neuron == neuron].values
            total, count = np.nansum(mine, axis=0), (~np.isnan(mine)).sum(axis=0)
            np.testing.assert_array_equal(made["count"].transpose(*made.dims)[neuron], count)
            some = count > 0
            np.testing.assert_allclose(made[neuron][some], total[some] / count[some], rtol=1e-6)
            assert np.isnan(made[neuron][~some]).all()
    assert np.isnan(made[2]).all()


@pytest.mark.parametrize("dtype", ["f4", "f8", "u2"])
def test_neurons_around_common_times(dtype):
    truth = synthetic_traces(neurons=3, duration=20)
    data = truth.traces.astype(dtype)
    seconds = [0.2, 5.01, 5.01, 19.9]
    onsets = np.round(np.array(seconds) * 30).astype(int)
    total, count = np.zeros((3, 31)), np.zeros(31)
    for onset in onsets:
        for at, k in enumerate(range(onset - 15, onset + 16)):
            if 0 <= k < 600:
                total[:, at] += data.values[:, k]
                count[at] += 1
    for turned in (data, data.chunk(neuron=2)):
        made = event_triggered_average(turned, seconds, window=(0.5, 0.5))
        np.testing.assert_allclose(made, total / count, rtol=1e-6)
        np.testing.assert_array_equal(made["count"].broadcast_like(made)[0], count)
        sums = event_triggered_average(turned, seconds, window=(0.5, 0.5), reduce="sum")
        assert sums.dtype == sums.values.dtype == ("i8" if dtype == "u2" else "f8")
    raster = xr.DataArray(np.isin(np.arange(600), onsets), {"time": data.time}, "time")
    by_raster = event_triggered_average(data, raster, window=(0.5, 0.5))
    by_times = event_triggered_average(data, [0.2, 5.01, 19.9], window=(0.5, 0.5))
    np.testing.assert_array_equal(by_raster, by_times)


def test_a_movie_around_the_events_of_one_neuron():
    data = movie()
    raster = xr.DataArray(
        np.zeros((2, FRAMES), bool), {"time": ("time", data.time.values)}, ("neuron", "time")
    ).assign_coords(neuron=[5, 6])
    raster[1, [3, 30]] = True
    expected = event_triggered_average(data, [0.3, 103.0], window=(0.2, 0.2))
    for one in (raster.sel(neuron=6), raster.sel(neuron=[6]), raster.any("neuron")):
        made = event_triggered_average(data, one, window=(0.2, 0.2))
        np.testing.assert_array_equal(made, expected)
    with pytest.raises(ArgumentError, match=r"events of one neuron, got {'neuron': 2}"):
        event_triggered_average(data, raster, window=(0.2, 0.2))


def test_traces_of_several_channels_and_of_none():
    one = synthetic_traces(neurons=2, duration=10, event_rate=0.3)
    two = xr.concat([one.traces, one.traces * 2], "channel")
    made = event_triggered_average(two, one.events, window=(0.1, 0.1))
    assert made.dims == ("channel", "neuron", "lag")
    np.testing.assert_allclose(made[1], 2 * made[0], rtol=1e-6)
    own = xr.concat([one.events, one.events], "channel")
    for turned in (two, two.chunk(channel=1, neuron=1)):
        np.testing.assert_array_equal(event_triggered_average(turned, own, window=(0.1, 0.1)), made)
    single = one.traces[0].drop_vars("neuron")
    alone = event_triggered_average(single, one.events[0].drop_vars("neuron"), window=(0.1, 0.1))
    np.testing.assert_array_equal(alone, made[0, 0])


def test_nothing_to_average():
    data = movie()
    made = event_triggered_average(data, [], window=(0.1, 0.1))
    assert np.isnan(made).all()
    lazy = data.copy(data=da.from_array(data.values, chunks=(8, 1, 3, 2)))
    assert np.isnan(event_triggered_average(lazy, [], window=(0.1, 0.1)).compute()).all()
    traces = synthetic_traces(neurons=2, duration=5, event_rate=0).traces
    assert np.isnan(event_triggered_average(traces, [], window=(0.1, 0.1))).all()


def test_the_nearest_frame_is_at_most_half_a_step_away():
    data = movie()
    first = event_triggered_average(data, [0.0], window=(0, 0))
    for time in (-0.05, 0.05):
        near = event_triggered_average(data, [time], window=(0, 0))
        np.testing.assert_array_equal(near, first)
    for time in (-0.06, 2.46, 60.0, 103.96):
        with pytest.raises(ArgumentError, match=f"times {time:g} s lie outside of the recording"):
            event_triggered_average(data, [1.0, time], window=(0.1, 0.1))


@pytest.mark.parametrize("wrong", [[np.nan], [[1.0]], ["1"], 3.0, np.array([True, False])])
def test_triggers_are_times(wrong):
    with pytest.raises(ArgumentError, match="list of finite times in s"):
        event_triggered_average(movie(), wrong, window=(0.1, 0.1))


@pytest.mark.parametrize("window", [(1,), 0.5, (-0.1, 1), (np.nan, 1), "ab", (1, 2, 3)])
def test_windows_are_two_numbers_of_seconds(window):
    with pytest.raises(ArgumentError, match="window"):
        event_triggered_average(movie(), [1.0], window=window)


def test_other_refusals():
    with pytest.raises(ArgumentError, match="reduce"):
        event_triggered_average(movie(), [1.0], window=(0, 0), reduce="median")
    back = movie().assign_coords(time=("frames", np.r_[np.arange(25), np.arange(15)] / RATE))
    with pytest.raises(TimeAxisError, match="go back"):
        event_triggered_average(back, [1.0], window=(0, 0))
    with pytest.raises(ArgumentError, match="needs numbers"):
        event_triggered_average(movie() > 3, [1.0], window=(0, 0))


def test_history_tells_of_triggers_by_their_checksum():
    made = event_triggered_average(movie(), list(np.linspace(0, 2, 100)), window=(0.1, 0.1))
    line = made.attrs["history"].splitlines()[-1]
    assert '"triggers": {"array": "unnamed", "shape": [100]' in line


@pytest.mark.parametrize("dtype", ["float32", "int8"])
def test_a_raster_of_numbers_is_no_list_of_times(dtype):
    truth = synthetic_traces(neurons=1, duration=10, frame_rate=RATE)
    events, traces = truth.events.isel(neuron=0), truth.traces
    images = cs.from_numpy(np.zeros((events.size, 1, 1), "f4"), frame_rate=RATE)
    for data in (images, traces):
        for array in (events.astype(dtype), events.astype(dtype).drop_vars("time")):
            with pytest.raises(ArgumentError, match="each of the 100 samples"):
                event_triggered_average(data, array, window=(0, 0.2))
    with pytest.raises(ArgumentError, match=r"needs starts as times in s.*time\[array > 0.5\]"):
        traces.cs.to_trials(starts=events.astype(dtype), window=(0, 0.2))
    later = traces.time[events.values] + 0.1  # times that are labelled by others
    found = event_triggered_average(traces, later, window=(0, 0.2))
    assert found["count"].values.max() == events.values.sum()
    every = event_triggered_average(traces, traces.time, window=(0, 0))
    np.testing.assert_allclose(every.values[:, 0], traces.mean("time").values, rtol=1e-5)
