"""Analog samples at the times of frames, frames at the times of analog samples."""

import dask
import dask.array as da
import numpy as np
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st

import calscipy as cs
from calscipy.errors import ArgumentError, CalscipyWarning, TimeAxisError
from calscipy.ops.align import align
from calscipy.testing import write_recording

PERIOD = 1 / 30


@pytest.fixture(autouse=True, scope="module")
def one_thread():
    """Threads cost more than these small arrays."""
    with dask.config.set(scheduler="sync"):
        yield


def voltage(start=-0.3, stop=5.0, rate=10_000, offset=0.0, chunks=None):
    """Signals whose values tell when they were taken, and squares of it."""
    times = start + np.arange(round((stop - start) * rate)) / rate
    values = np.stack([times + offset, (times + offset) ** 2])
    data = da.from_array(values, chunks=chunks) if chunks else values
    return xr.DataArray(
        data,
        {
            "signal": ["clock", "square"],
            "time": ("time", times, {"units": "s"}),
            "units": ("signal", ["V", "mV"]),
            "cycle": 1,
        },
        ("signal", "time"),
        "voltage",
        {"long_name": "recorded signals"},
    )


def frames(count=100, jitter=0.0, seed=0):
    """Times of frames with jitter, in two cycles that are one second apart."""
    rng = np.random.default_rng(seed)
    cycle = np.repeat([1, 2], [count // 2, count - count // 2])
    times = np.arange(count) * PERIOD + (cycle - 1.0)
    times += rng.uniform(-jitter, jitter, count)
    return xr.DataArray(
        times,
        {
            "time": ("frames", times, {"units": "s", "long_name": "time since the first frame"}),
            "cycle": ("frames", cycle, {"long_name": "PrairieView cycle"}),
            "epoch": ("frames", cycle),
        },
        "frames",
    )


@settings(deadline=None, derandomize=True, max_examples=25)
@given(
    offset=st.floats(-0.01, 0.01),
    jitter=st.floats(0, 0.01),
    start=st.floats(-2, -0.1),
    rate=st.sampled_from([1000, 7919.3, 10_000]),
)
def test_every_frame_gets_the_sample_within_half_a_step(offset, jitter, start, rate):
    """10 kHz against 30 Hz with jitter: half a sample is 50 us."""
    recorded, to = voltage(start, 5.0, rate, offset), frames(jitter=jitter)
    found = align(recorded, to)
    assert found.dims == ("signal", "time")
    assert found.sizes["time"] == 100
    taken = found.sel(signal="clock").values - offset
    assert np.abs(taken - to.values).max() <= 0.5 / rate * 1.001
    np.testing.assert_allclose(found.sample_offset, taken - to.values, atol=1e-9)
    np.testing.assert_allclose(recorded.time.values[found["sample"].values], taken, atol=1e-9)
    np.testing.assert_array_equal(found.time, to)


@pytest.mark.parametrize("method", ["nearest", "previous", "mean", "interpolate"])
def test_a_recording_that_starts_late_and_ends_early(method):
    """No frame vanishes: those outside are NaN, and how many is said."""
    to = frames()
    recorded = voltage(0.5, 2.99)
    with pytest.warns(CalscipyWarning, match=r"\d+ of 100 times have no sample.*0.5 to 2.9899 s"):
        found = align(recorded, to, method=method)
    assert found.sizes["time"] == 100
    inside = (to.values >= 0.5 - 5e-5) & (to.values < 2.99)
    if method == "mean":
        inside &= to.values + PERIOD <= 2.99 + 1e-4
    np.testing.assert_array_equal(np.isfinite(found.sel(signal="clock")), inside)


def test_labels_are_those_of_the_frames():
    found = align(voltage(), frames())
    assert found.cycle.values.tolist() == [1] * 50 + [2] * 50
    assert found.epoch.dims == ("time",)
    assert found.cycle.attrs["long_name"] == "PrairieView cycle"
    assert found.units.values.tolist() == ["V", "mV"]
    assert "units" not in found.attrs
    assert found.time.attrs["units"] == "s"
    assert found.name == "voltage"
    assert '"method": "nearest"' in found.attrs["history"]
    one = align(voltage().sel(signal="clock", drop=True).assign_attrs(units="V"), frames())
    assert one.attrs["units"] == "V"
    assert one.dims == ("time",)


def test_frames_that_share_a_time_stay_both():
    """The original rounded to ms and kept one of frames 0.4 ms apart."""
    times = np.array([0.1, 0.1, 0.1004, 0.1008, 0.2])
    found = align(voltage(), times)
    np.testing.assert_allclose(found[0], times, atol=5e-5)
    assert found.sizes["time"] == 5


def test_frames_between_whole_milliseconds_stay_all():
    """The original lost frames whose ms stamp is not that of a sample (2 of 3 were left)."""
    recorded = voltage(0, 1, rate=400)
    found = align(recorded, [0.0, 0.0333333, 0.0666667])
    np.testing.assert_allclose(found[0], [0.0, 0.0325, 0.0675])


@pytest.mark.parametrize("exposure", [None, 0.01, 0.05])
def test_the_mean_is_that_of_the_exposure(exposure):
    recorded, to = voltage(), frames(jitter=0.002)
    found = align(recorded, to, method="mean", exposure=exposure)
    length = PERIOD if exposure is None else exposure
    times, values = recorded.time.values, recorded.values
    for at, time in enumerate(to.values):
        inside = (times >= time) & (times < time + length)
        # An edge may fall together with a sample.
        assert abs(int(inside.sum()) - int(found.samples.values[at])) <= 1
        np.testing.assert_allclose(found.values[0, at], time + length / 2, atol=1.5e-4)
        np.testing.assert_allclose(found.values[1, at], values[1, inside].mean(), rtol=0.01)


def test_the_mean_needs_the_whole_exposure():
    data = cs.from_numpy(np.ones((1, 100)), frame_rate=100)
    gap = data.isel(time=np.r_[0:40, 60:100]).assign_coords(epoch=("time", np.repeat([1, 2], 40)))
    with pytest.warns(CalscipyWarning, match="3 of 5 times"):
        found = align(gap, [0.0, 0.35, 0.45, 0.61, 0.95], method="mean", exposure=0.1)
    np.testing.assert_array_equal(np.isfinite(found[0]), [True, False, False, True, False])
    assert found.samples.values.tolist() == [10, 0, 0, 10, 0]


@settings(deadline=None, derandomize=True, max_examples=25)
@given(times=st.lists(st.floats(0, 0.9), min_size=1, max_size=20))
def test_interpolation_is_that_of_numpy(times):
    values = np.random.default_rng(0).normal(0, 1, (2, 10))
    data = cs.from_numpy(values, frame_rate=10)
    found = align(data, times, method="interpolate")
    for row, own in zip(found.values, values, strict=True):
        np.testing.assert_allclose(row, np.interp(times, data.time, own), rtol=1e-9, atol=1e-5)


def test_interpolation_does_not_cross_epochs_or_gaps():
    data = cs.from_numpy(np.arange(8.0)[None], frame_rate=1)
    data = data.assign_coords(epoch=("time", np.repeat([1, 2], 4)))
    with pytest.warns(CalscipyWarning, match="2 of 4 times have no sample.*: 3.5, 7.2 s"):
        found = align(data, [3.0, 3.5, 4.0, 7.2], method="interpolate")
    np.testing.assert_array_equal(found[0], [3, np.nan, 4, np.nan])
    gap = data.drop_vars("epoch").isel(time=[0, 1, 2, 5, 6, 7])
    with pytest.warns(CalscipyWarning, match="1 of 3"):
        found = align(gap, [2.0, 3.5, 5.0], method="interpolate")
    np.testing.assert_array_equal(found[0], [2, np.nan, 5])


def test_infinity_and_nan_reach_their_neighbours_alone():
    data = cs.from_numpy(np.array([[0.0, np.inf, 2.0, np.nan, 4.0, 5.0]]), frame_rate=1)
    times = [0.0, 0.5, 1.0, 2.0, 2.5, 4.0, 4.5]
    found = align(data, times, method="interpolate")
    np.testing.assert_array_equal(found[0], [0, np.inf, np.inf, 2, np.nan, 4, 4.5])


def test_traces_on_the_clock_of_the_samples():
    """Which frame was being taken at each analog sample, and its value."""
    values = np.arange(10.0)[None]
    traces = cs.from_numpy(values, frame_rate=30)
    recorded = voltage(-0.05, 0.5)
    inside = (recorded.time >= -1e-9) & (recorded.time < 10 * PERIOD - 1e-9)
    expected = np.floor(recorded.time.values / PERIOD + 1e-7)
    with pytest.warns(CalscipyWarning, match="times have no sample"):
        found = align(traces, recorded.time, method="previous")
    assert found.dims == ("neuron", "time")
    np.testing.assert_array_equal(found["sample"][inside.values], expected[inside.values])
    np.testing.assert_array_equal(found[0, inside.values], expected[inside.values])
    assert np.isnan(found[0, recorded.time < -1e-9]).all()
    assert np.isnan(found[0, recorded.time > 10.5 * PERIOD]).all()
    with pytest.warns(CalscipyWarning):
        nearest = align(traces, recorded.time)
    middle = (recorded.time > 0.2 * PERIOD) & (recorded.time < 8.9 * PERIOD)
    away = np.abs(recorded.time / PERIOD % 1 - 0.5) > 0.01  # from ties
    both = (middle & away).values
    np.testing.assert_array_equal(nearest[0, both], np.rint(recorded.time[both] / PERIOD))


def test_there_and_back():
    traces = cs.from_numpy(np.random.default_rng(0).normal(0, 1, (3, 90)), frame_rate=30)
    fine = xr.DataArray(np.arange(29_500) / 10_000, dims="time")
    back = align(align(traces, fine), traces.time.isel(time=slice(88)))
    np.testing.assert_array_equal(back, traces.isel(time=slice(88)))


def test_the_middle_of_the_exposure():
    found = align(voltage(), frames(), delay=PERIOD / 2)
    np.testing.assert_allclose(found[0], frames() + PERIOD / 2, atol=5.1e-5)
    np.testing.assert_array_equal(found.time, frames())


def test_any_order_of_times():
    recorded, to = voltage(), np.random.default_rng(0).uniform(0, 3, 40)
    for method, more in {"nearest": {}, "mean": {"exposure": 0.1}, "interpolate": {}}.items():
        found = align(recorded, to, method=method, **more)
        order = np.argsort(to)
        sorted_ = align(recorded, to[order], method=method, **more)
        np.testing.assert_array_equal(found.isel(time=order), sorted_)


@pytest.mark.parametrize("method", ["nearest", "previous", "mean", "interpolate"])
@pytest.mark.parametrize("chunks", [(2, 1000), (1, 53_000), (2, (7, 20_000, 32_993))])
def test_lazy_in_lazy_out(method, chunks):
    to = frames(jitter=0.001)
    expected = align(voltage(), to, method=method)

    def refuse(*args, **kwargs):
        raise AssertionError("building the graph computed something")

    lazy = voltage(chunks=chunks)
    with dask.config.set(scheduler=refuse):
        found = align(lazy, to, method=method)
    assert found.chunks is not None
    xr.testing.assert_allclose(found.compute(), expected, rtol=1e-12)


def test_the_mean_reads_what_it_needs_at_a_time():
    """No task holds much more than a chunk and the frames at its borders."""
    largest = []

    def block(values):
        largest.append(values.shape)
        return values

    lazy = voltage(chunks=(2, 1000))
    lazy = lazy.copy(data=lazy.data.map_blocks(block, dtype=float, meta=np.empty((0, 0))))
    found = align(lazy, frames(count=10), method="mean")
    found.isel(time=slice(0, 2)).compute()
    assert len(largest) <= 4


def test_booleans_become_numbers():
    events = cs.from_numpy(np.array([[0.0, 1.0, 0.0]]), frame_rate=1) > 0.5
    found = align(events, [0.1, 0.9, 1.1])
    assert found.values.tolist() == [[0, 1, 1]]
    assert found.dtype == np.float32


def test_the_input_stays():
    data = voltage()
    before = data.copy(deep=True)
    align(data, frames())
    xr.testing.assert_identical(data, before)


def test_movies_of_a_recording(tmp_path):
    """Frames of all cycles, not those of the first Sequence alone."""
    truth = write_recording(tmp_path / "a", frames=20, cycles=2, shape=(4, 4), neurons=0)
    movie = cs.ImagingSession.open(tmp_path / "a").movie
    found = align(voltage(), movie.time)
    np.testing.assert_allclose(found[0], truth.times, atol=5.1e-5)
    assert found.cycle.values.tolist() == [1] * 10 + [2] * 10


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"method": "linear"}, "must be one of"),
        ({"method": 3}, "must be one of"),
        ({"exposure": 0.1}, "method='nearest' ignores exposure"),
        ({"method": "interpolate", "tolerance": 1}, "ignores tolerance"),
        ({"tolerance": -1}, "from 0 s on"),
        ({"delay": np.nan}, "finite number of seconds"),
        ({"method": "mean", "exposure": 5e-5}, "apart. Take method='nearest'"),
        ({"method": "mean"}, "needs exposure="),
    ],
)
def test_arguments_are_checked(arguments, words):
    with pytest.raises(ArgumentError, match=words):
        align(voltage(), [0.0, 1.0], **arguments)


@pytest.mark.parametrize(
    ("to", "words"),
    [
        ([100.0, 200.0], "none of the times .100 to 200 s. lies in the data"),
        ([[0.0]], "list of times"),
        ([], "list of times"),
        (["a"], "list of times"),
        ([0.0, np.nan], "times 1 are not finite"),
        (xr.DataArray(np.zeros((2, 2)), dims=("y", "x")), "align.voltage, movie.time"),
    ],
)
def test_times_are_checked(to, words):
    with pytest.raises(ArgumentError, match=words):
        align(voltage(), to)


def test_times_that_go_back_are_refused():
    data = voltage()
    with pytest.raises(TimeAxisError, match="sortby"):
        align(data.isel(time=slice(None, None, -1)), [0.0])


def test_tolerance():
    data = cs.from_numpy(np.arange(10.0)[None], frame_rate=1)
    with pytest.warns(CalscipyWarning, match="1 of 2"):
        found = align(data, [1.3, 2.1], tolerance=0.2)
    np.testing.assert_array_equal(found[0], [np.nan, 2])
    assert found["sample"].values.tolist() == [-1, 2]
    assert align(data, [12.0, 2.0], tolerance=5)[0].values.tolist() == [9, 2]
