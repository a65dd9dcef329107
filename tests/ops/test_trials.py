"""Trials of traces: consecutive, around starts, joined again."""

import dask
import dask.array as da
import numpy as np
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st

import calscipy as cs
from calscipy import model
from calscipy.errors import ArgumentError, DimensionError, TimeAxisError
from calscipy.ops.bin import bin
from calscipy.ops.trials import join_trials, to_trials

KINDS = ["float32", "float64", "uint16", "bool"]


@pytest.fixture(autouse=True, scope="module")
def one_thread():
    """Threads cost more than these small arrays."""
    with dask.config.set(scheduler="sync"):
        yield


def traces(samples=24, dtype="float32", rate=10.0, neurons=3):
    values = np.random.default_rng(0).uniform(0, 200, (neurons, samples))
    data = cs.from_numpy(values > 100 if dtype == "bool" else values.astype(dtype), frame_rate=rate)
    jitter = np.random.default_rng(1).uniform(-0.008, 0.008, samples) / rate / 2
    return data.assign_coords(
        time=("time", data.time.values + jitter, data.time.attrs),
        y=("neuron", np.arange(neurons) + 0.5, {"units": "um"}),
        mouse="m12",
    )


def two_epochs(data, gap=100.0):
    """The second half later, and in another epoch."""
    half = data.sizes["time"] // 2
    late = np.where(np.arange(data.sizes["time"]) >= half, gap, 0)
    return data.assign_coords(
        time=("time", data.time.values + late, data.time.attrs),
        epoch=("time", np.where(late, 2, 1)),
        cycle=("time", np.where(late, 7, 5), {"long_name": "cycle"}),
    )


def chunked(data):
    yield data
    for chunks in ((1, 24), (2, 5), (3, 7)):
        yield data.copy(data=da.from_array(data.values, chunks=chunks))


def refuse(*args, **kwargs):
    raise AssertionError("building the graph computed something")


def bare(data):
    return data.drop_attrs(deep=False)


# -- consecutive trials --------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", KINDS)
def test_consecutive_trials_and_the_way_back(dtype):
    plain = two_epochs(traces(dtype=dtype))
    plain = plain.assign_coords(
        flag=("time", np.arange(24) % 2 == 0), drift=(("neuron", "time"), np.eye(3, 24))
    )
    for data in chunked(plain):
        with dask.config.set(scheduler=refuse):
            trials = to_trials(data, length=0.4)
            joined = join_trials(trials)
        assert (trials.chunks is None) == (joined.chunks is None) == (data.chunks is None)
        assert trials.dims == ("trial", "neuron", "time")
        assert trials.dtype == trials.compute().dtype == joined.compute().dtype == dtype
        expected = plain.values.reshape(3, 6, 4).transpose(1, 0, 2)
        np.testing.assert_array_equal(trials, expected)
        xr.testing.assert_identical(bare(joined.compute()), bare(plain))
    np.testing.assert_allclose(trials.time, [0, 0.1, 0.2, 0.3], rtol=0.01)
    assert trials.epoch.dims == trials.cycle.dims == ("trial",)
    np.testing.assert_array_equal(trials.start, plain.time[::4])
    np.testing.assert_array_equal(trials.sample_time, plain.time.values.reshape(6, 4))
    assert not trials.start_offset.any()
    assert trials.trial.values.tolist() == [0, 1, 2, 3, 4, 5]
    assert trials.attrs["units"] == plain.attrs.get("units", "1")
    assert trials.attrs["long_name"] == plain.attrs.get("long_name", "fluorescence")
    assert trials.attrs["history"].endswith('to_trials {"length": 0.4, "partial": "error"}')


def test_length_may_be_given_by_name_and_is_checked():
    """CalSciPy 0.3.5 read its arguments by position alone."""
    data = traces()
    assert to_trials(data=data, length=0.8).sizes["trial"] == 3
    with pytest.raises(ArgumentError, match=r"0\.45 s are 4\.\d+ of them.*Take 0\.4\d* s or 0\.5"):
        to_trials(data, length=0.45)
    with pytest.raises(ArgumentError, match=r"24 samples into trials of 10 \(4 left over\)"):
        to_trials(data, length=1)
    with pytest.raises(ArgumentError, match=r"leaves nothing of 24 samples in trials of 50"):
        to_trials(data, length=5, partial="drop")
    with pytest.raises(ArgumentError, match="length > 0 in seconds"):
        to_trials(data, length=-1)


@pytest.mark.parametrize("dtype", ["float32", "float64", "uint16"])
def test_a_last_trial_that_is_not_full(dtype):
    data = two_epochs(traces(dtype=dtype))
    dropped = to_trials(data, length=0.5, partial="drop")
    assert dropped.dtype == dtype
    assert dropped.shape == (4, 3, 5)
    np.testing.assert_array_equal(dropped[2, 0], data[0, 12:17])
    kept = to_trials(data, length=0.5, partial="keep")
    assert kept.dtype == ("float32" if dtype == "uint16" else dtype)
    assert kept.shape == (6, 3, 5)
    assert kept.isnull().sum() == kept.sample_time.isnull().sum() * 3 == 18
    back = join_trials(kept)
    xr.testing.assert_identical(bare(back), bare(data.astype(kept.dtype)))
    again = join_trials(dropped)
    np.testing.assert_array_equal(again.time, data.time[[*range(10), *range(12, 22)]])


@settings(deadline=None, derandomize=True, max_examples=30)
@given(st.integers(2, 40), st.integers(1, 12), st.integers(1, 9), st.booleans())
def test_every_length_comes_back(samples, width, chunk, split):
    data = traces(samples, rate=4.0)
    data = two_epochs(data) if split and samples > 3 else data
    lazy = data.copy(data=da.from_array(data.values, chunks=(2, chunk)))
    trials = to_trials(data, length=width / 4, partial="keep")
    xr.testing.assert_identical(bare(join_trials(trials)), bare(data))
    np.testing.assert_array_equal(to_trials(lazy, length=width / 4, partial="keep"), trials)


# -- trials around starts ------------------------------------------------------------------------


@settings(deadline=None, derandomize=True, max_examples=40)
@given(
    st.lists(st.integers(0, 23), min_size=1, max_size=5),
    st.integers(0, 8),
    st.integers(0, 8),
    st.floats(-0.04, 0.04),
    st.sampled_from(["float32", "uint16"]),
)
def test_windows_are_those_of_a_slow_loop(at, before, after, delay, dtype):
    data = two_epochs(traces(dtype=dtype))
    asked = data.time.values[at] - delay
    for given_data in chunked(data):
        trials = to_trials(given_data, starts=asked, window=(before / 10, after / 10))
        assert trials.dtype == trials.compute().dtype == np.float32
        assert trials.shape == (len(at), 3, before + 1 + after)
        values = trials.values
        for trial, sample in enumerate(at):
            for lag in range(-before, after + 1):
                there = 0 <= sample + lag < 24 and (sample + lag) // 12 == sample // 12
                wanted = data.values[:, sample + lag] if there else np.full(3, np.nan)
                np.testing.assert_array_equal(values[trial, :, before + lag], wanted)
    np.testing.assert_allclose(trials.start_offset, delay, atol=1e-9)
    np.testing.assert_array_equal(trials.start, asked)
    np.testing.assert_allclose(trials.time, np.arange(-before, after + 1) / 10, rtol=0.01)
    assert trials.epoch.values.tolist() == [1 + sample // 12 for sample in at]


def test_the_nearest_sample_stands_for_the_start():
    data = cs.from_numpy(np.arange(8.0)[None], frame_rate=10)
    trials = to_trials(data, starts=[0.14, 0.16, -0.04, 0.74], window=(0, 0))
    assert trials.values.ravel().tolist() == [1, 2, 0, 7]
    np.testing.assert_allclose(trials.start_offset, [-0.04, 0.04, 0.04, -0.04])


def test_starts_outside_of_the_recording_are_named():
    data = two_epochs(traces())
    with pytest.raises(ArgumentError, match=r"times -0.3 s, 50 s, 1e\+06 s lie outside"):
        to_trials(data, starts=[-0.3, 0.1, 50, 1e6], window=(0, 1))
    back = data.assign_coords(time=np.tile(np.arange(12) / 10, 2))
    with pytest.raises(TimeAxisError, match="increasing times"):
        to_trials(back, starts=[0.1], window=(0, 0.1))
    for wrong in ([], [[1.0]], ["a"], 1.0, [True]):
        with pytest.raises(ArgumentError, match="starts as at least one number"):
            to_trials(data, starts=wrong, window=(0, 1))
    with pytest.raises(ArgumentError, match="the starts 1 are not finite"):
        to_trials(data, starts=[0.1, np.nan], window=(0, 1))
    lazy = xr.DataArray(da.zeros(2), dims="trial")
    with pytest.raises(ArgumentError, match=r"starts in memory: starts.compute\(\)"):
        to_trials(data, starts=lazy, window=(0, 1))


def test_what_is_known_of_starts_is_kept():
    data = traces()
    starts = xr.DataArray(
        [0.5, 0.1, 1.2],
        {
            "stimulus": [10, 11, 12],
            "condition": ("stimulus", ["go", "stop", "go"], {"long_name": "cue"}),
            "session": "late",
        },
        "stimulus",
    )
    trials = to_trials(data, starts=starts, window=(0.2, 0.3), partial="drop")
    assert trials.start.values.tolist() == [0.5, 1.2]
    assert trials.trial.values.tolist() == [0, 2]
    assert trials.condition.values.tolist() == ["go", "go"]
    assert trials.condition.attrs == {"long_name": "cue"}
    assert trials.stimulus.values.tolist() == [10, 12]
    assert "session" not in trials.coords
    assert trials.mouse == "m12"
    named = starts.rename(stimulus="trial").assign_coords(trial=["a", "b", "c"])
    trials = to_trials(data, starts=named, window=(0, 0.3))
    assert trials.sel(trial="b").start == 0.1
    by_time = data.time[[3, 5]]
    np.testing.assert_array_equal(to_trials(data, starts=by_time, window=(0, 0)).start, by_time)
    clash = starts.assign_coords(y=("stimulus", [1.0, 2.0, 3.0]))
    with pytest.raises(ArgumentError, match=r"coordinate 'y'.*starts.drop_vars\('y'\)"):
        to_trials(data, starts=clash, window=(0, 0.3))


def test_windows_that_leave_the_recording():
    data = two_epochs(traces())
    at = data.time.values[[1, 5, 11]]
    around = {"starts": at, "window": (0.2, 0.2)}
    assert to_trials(data, **around).isnull().any("time").values.any(1).tolist() == [1, 0, 1]
    assert to_trials(data, **around, partial="drop").trial.values.tolist() == [1]
    with pytest.raises(ArgumentError, match=r"the starts at 0\.\d+ s, 1\.\d+ s leave the"):
        to_trials(data, **around, partial="error")
    with pytest.raises(ArgumentError, match="leave the recording"):
        to_trials(data, starts=at[:1], window=(0.2, 0), partial="drop")
    onsets = data > 100
    with pytest.raises(ArgumentError, match=r"leave the recording.*data\.astype\('float32'\)"):
        to_trials(onsets, **around)
    with pytest.raises(ArgumentError, match="which booleans cannot be"):
        to_trials(onsets, **around, partial="keep")
    dropped = to_trials(onsets, **around, partial="drop")
    assert dropped.dtype == bool
    np.testing.assert_array_equal(dropped[0], onsets[:, 3:8])
    # names cannot be NaN, numbers can
    named = data.assign_coords(
        word=("time", list("abcdefghijklmnopqrstuvwx")), count=("time", np.arange(24))
    )
    trials = to_trials(named, **around)
    assert "word" not in trials.coords
    assert trials["count"].dims == ("trial", "time")
    assert np.isnan(trials["count"].values[0, 0])
    assert to_trials(named, **around, partial="drop").word.values.tolist() == [list("defgh")]


@pytest.mark.parametrize("window", [None, 1, (1,), (-1, 1), (1, np.inf), ("a", 1)])
def test_windows_are_two_lengths(window):
    with pytest.raises(ArgumentError, match="window"):
        to_trials(traces(), starts=[1.0], window=window)


# -- both ----------------------------------------------------------------------------------------


def test_what_cannot_be_cut_is_refused():
    data = traces()
    for wrong in ({}, {"length": 1, "starts": [1]}, {"length": 1, "window": (1, 1)}):
        with pytest.raises(ArgumentError, match=r"either length=.*or starts= and window="):
            to_trials(data, **wrong)
    with pytest.raises(ArgumentError, match=r"to_trials\(partial=\) must be one of"):
        to_trials(data, length=0.4, partial="pad")
    with pytest.raises(ArgumentError, match="not trials yet"):
        to_trials(to_trials(data, length=0.4), length=0.2)
    with pytest.raises(ArgumentError, match="complex"):
        to_trials(data.astype(complex), length=0.4)
    with pytest.raises(DimensionError, match="to_trials needs the dimensions"):
        to_trials(data.rename(time="frames"), length=0.4)
    with pytest.raises(TimeAxisError, match="two samples"):
        to_trials(data[:, :1], length=0.1)
    with pytest.raises(TimeAxisError, match="differs from the usual"):
        to_trials(data.isel(time=[0, 1, 2, 5]), length=0.1)
    short = to_trials(traces(8, rate=2.0), length=4)
    assert short.shape == (1, 3, 8)


def test_nan_and_silent_neurons_pass_through():
    data = traces()
    data[0, 3], data[1] = np.nan, np.nan
    trials = to_trials(data, length=0.4)
    np.testing.assert_array_equal(trials, data.values.reshape(3, 6, 4).transpose(1, 0, 2))


def test_the_input_is_untouched_and_dimensions_come_in_any_order():
    data = two_epochs(traces())
    before = data.copy(deep=True)
    data.values.setflags(write=False)
    for how in ({"length": 0.4}, {"starts": [0.5], "window": (0.2, 0.2)}):
        trials = to_trials(data, **how)
        xr.testing.assert_identical(data, before)
        turned = to_trials(data.transpose(), **how)
        np.testing.assert_array_equal(turned, trials)
        xr.testing.assert_equal(join_trials(trials.transpose()), join_trials(trials))
    several = data.expand_dims(channel=["a", "b"])
    assert to_trials(several, length=0.4).dims == ("trial", "channel", "neuron", "time")
    assert to_trials(data[0], length=0.4).dims == ("trial", "time")


def test_the_same_task_has_the_same_name():
    lazy = traces().chunk(neuron=1)
    first = to_trials(lazy, length=0.4)
    assert first.data.name == to_trials(lazy, length=0.4).data.name
    assert first.data.name != to_trials(lazy, length=0.3).data.name
    assert join_trials(first).data.name == join_trials(first).data.name


def test_pieces_in_threads_are_the_whole(monkeypatch):
    from calscipy.blocks import rows

    data = traces(neurons=17)
    expected = to_trials(data, length=0.4)
    monkeypatch.setattr(rows, "PIECE", 60)
    monkeypatch.setattr(rows, "CPU_COUNT", 3)
    trials = to_trials(data, length=0.4)
    xr.testing.assert_equal(trials, expected)
    np.testing.assert_array_equal(join_trials(trials), data)


def test_trials_can_be_binned():
    trials = to_trials(traces(), length=0.8)
    assert model.TRIAL in bin(trials, samples=4).dims
    np.testing.assert_allclose(
        bin(trials, samples=4), trials.values.reshape(3, 3, 2, 4).mean(-1), rtol=1e-6
    )
    np.testing.assert_array_equal(join_trials(bin(trials, samples=4)), bin(traces(), samples=4))


# -- joining -------------------------------------------------------------------------------------


def test_trials_with_gaps_are_epochs_of_their_own():
    data = traces()
    at = data.time.values[[2, 6, 15]]
    trials = to_trials(data, starts=at, window=(0.1, 0.2))
    joined = join_trials(trials)
    assert joined.shape == (3, 12)
    np.testing.assert_array_equal(joined.time, data.time.values[[*range(1, 9), *range(14, 18)]])
    assert joined.epoch.values.tolist() == [1] * 8 + [2] * 4
    assert model.regular_rate(joined, "test") == pytest.approx(10, rel=0.02)
    assert "epoch" not in join_trials(to_trials(data, length=0.4)).coords


def test_conditions_are_repeated_for_each_sample():
    trials = to_trials(traces(), length=0.8).assign_coords(
        condition=("trial", ["go", "stop", "go"]), lag=("time", np.arange(8))
    )
    joined = join_trials(trials)
    assert joined.condition.values.tolist() == ["go"] * 8 + ["stop"] * 8 + ["go"] * 8
    assert joined.lag.values.tolist() == list(range(8)) * 3
    assert not {"trial", "start", "start_offset", "sample_time"} & set(joined.coords)


def test_trials_that_overlap_or_are_not_in_order_are_refused():
    data = traces()
    trials = to_trials(data, starts=data.time.values[[5, 7]], window=(0.2, 0.2))
    with pytest.raises(TimeAxisError, match=r"one after the other.*sortby\('start'\)"):
        join_trials(trials)
    consecutive = to_trials(data, length=0.8)
    with pytest.raises(TimeAxisError, match="one after the other"):
        join_trials(consecutive[::-1])
    xr.testing.assert_equal(join_trials(consecutive[::-1].sortby("start")), data)


def test_trials_made_elsewhere_need_starts():
    values = np.arange(24.0).reshape(2, 3, 4)
    trials = xr.DataArray(values, {"time": np.arange(4) / 10}, ("trial", "neuron", "time"))
    with pytest.raises(TimeAxisError, match=r"no coordinate \['start'\].*assign_coords"):
        join_trials(trials)
    joined = join_trials(trials.assign_coords(start=("trial", [0.0, 0.4])))
    np.testing.assert_allclose(joined.time, np.arange(8) / 10)
    np.testing.assert_array_equal(joined, np.concatenate(values, axis=1))
    assert joined.attrs["units"] == "1"
    offset = trials.assign_coords(start=("trial", [0, 1.0]), start_offset=("trial", [0.02, 0.0]))
    assert join_trials(offset).time.values[0] == 0.02
    empty = trials.assign_coords(sample_time=(("trial", "time"), np.full((2, 4), np.nan)))
    with pytest.raises(ArgumentError, match="at least one sample"):
        join_trials(empty)
    with pytest.raises(DimensionError, match="join_trials needs the dimensions"):
        join_trials(traces())
