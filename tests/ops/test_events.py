"""Events of labelled traces, and what is counted and measured of them."""

import json

import dask
import dask.array as da
import numpy as np
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st

import calscipy as cs
from calscipy.errors import ArgumentError, DimensionError, TimeAxisError
from calscipy.kernels.events import derivative_events, matched_events
from calscipy.ops.event_frames import events_from_frames, to_frames
from calscipy.ops.event_tables import count, event_table, intervals, onset_values, rate
from calscipy.ops.events import events
from calscipy.testing import synthetic_traces


@pytest.fixture(autouse=True, scope="module")
def one_thread():
    """Threads cost more than these small arrays."""
    with dask.config.set(scheduler="sync"):
        yield


def refuse(*args, **kwargs):
    raise AssertionError("building the graph computed something")


def two_epochs(samples=400, frame_rate=10.0, neurons=4):
    """Traces with transients in two epochs, 100 s between them."""
    rng = np.random.default_rng(4)
    truth = synthetic_traces(neurons, samples / frame_rate, frame_rate, snr=20.0, event_rate=0.3)
    half = samples // 2
    time = truth.time.values + np.where(np.arange(samples) < half, 0.0, 100.0)
    traces = truth.traces.assign_coords(
        time=("time", time, {"units": "s"}),
        epoch=("time", np.repeat([0, 1], [half, samples - half])),
        neuron=[f"m{n}" for n in range(neurons)],
        y=("neuron", rng.normal(size=neurons), {"units": "um"}),
        mouse="m12",
    )
    return traces.assign_attrs(history="earlier")


def raster_of(rows, *, frame_rate=2.0, epoch=None):
    data = cs.from_numpy(np.array(rows, dtype=bool), frame_rate=frame_rate)
    data = data.assign_coords(neuron=[f"m{n}" for n in range(len(rows))])
    return data if epoch is None else data.assign_coords(epoch=("time", epoch))


def in_chunks(data, **chunks):
    sizes = tuple(chunks.get(dim, size) for dim, size in data.sizes.items())
    return data.copy(data=da.from_array(data.values, chunks=sizes))


# -- finding them ----------------------------------------------------------------------------


def test_the_matched_filter_is_the_default():
    traces = two_epochs()
    found = events(traces)
    xr.testing.assert_equal(found, events(traces, method="matched"))
    assert not found.equals(events(traces, method="derivative"))
    line = found.attrs["history"].split("\n")[-1]
    assert json.loads(line[line.index("{") :]) == {
        "method": "matched",
        "rise": 0.05,
        "decay": 0.5,
        "false_positives": 0.1,
    }


@pytest.mark.parametrize("method", ["matched", "derivative"])
def test_epochs_are_handled_one_by_one(method):
    traces = two_epochs()
    whole = events(traces, method=method)
    parts = [events(traces.isel(time=part), method=method) for part in cs.model.epochs(traces)]
    assert whole.any()
    np.testing.assert_array_equal(whole, np.concatenate(parts, axis=1))


@pytest.mark.parametrize("method", ["matched", "derivative"])
@pytest.mark.parametrize("dtype", ["float32", "float64", "uint16"])
@pytest.mark.parametrize("chunks", [{}, {"neuron": 1}, {"time": 70}], ids=str)
def test_any_dtype_and_chunks(method, dtype, chunks):
    traces = two_epochs().round().astype(dtype)
    expected = events(two_epochs().round(), method=method)
    assert expected.any()
    data = in_chunks(traces, **chunks)
    with dask.config.set(scheduler=refuse):
        found = events(data, method=method)
    xr.testing.assert_equal(found.compute(), expected)
    xr.testing.assert_equal(events(traces, method=method), expected)


@pytest.mark.parametrize("method", ["matched", "derivative"])
@pytest.mark.parametrize(("samples", "frame_rate"), [(2, 10.0), (8, 10.0), (60, 2.0)])
def test_short_and_slow_traces(method, samples, frame_rate):
    traces = synthetic_traces(3, samples / frame_rate, frame_rate, event_rate=0.0).traces
    traces[1] = 7.0
    traces[2] = np.nan
    found = events(traces, method=method, **({"decay": 2.0} if method == "matched" else {}))
    assert found.dtype == bool
    assert found.sizes == traces.sizes
    assert not found[1:].any()


def test_one_sample_has_no_frame_rate():
    traces = two_epochs().isel(time=[0])
    with pytest.raises(TimeAxisError, match="at least two samples"):
        events(traces)


def test_gaps_are_left_out_by_the_filter_and_refused_by_the_derivative_rule():
    traces = two_epochs()
    expected = events(traces)
    traces[2, 50:60] = np.nan
    traces[3] = np.nan
    found = events(traces)
    np.testing.assert_array_equal(found[:2], expected[:2])
    assert not found[3].any()
    assert not found[2, 50:60].any()
    assert found[2].any()
    with pytest.raises(ArgumentError, match=r"m2 .*missing samples.*matched"):
        events(traces, method="derivative")
    rest = events(traces.sel(neuron=["m0", "m3"]), method="derivative")
    assert rest[0].any()
    assert not rest[1].any()


def test_arguments_of_the_other_method_are_refused():
    traces = two_epochs()
    for wrong in ({"timeout": 1.0}, {"method": "derivative", "decay": 0.5}):
        with pytest.raises(ArgumentError, match="ignores"):
            events(traces, **wrong)
    for wrong in ({"decay": -1.0}, {"rise": np.inf}, {"false_positives": 0.0}):
        with pytest.raises(ArgumentError, match="> 0"):
            events(traces, **wrong)


def test_seconds_become_frames():
    """1.5 * 0.7 s are 10.5 samples: the last digit of the frame rate must not decide."""
    traces = two_epochs()
    found = events(traces, rise=0.1, decay=0.7, false_positives=2.0)
    first = cs.model.epochs(traces)[0]
    how = {"frame_rate": 10.0, "rise": 0.1, "decay": 0.7, "false_positives": 2.0}
    np.testing.assert_array_equal(found[:, first], matched_events(traces[:, first], **how))
    found = events(traces, method="derivative", timeout=0.25)
    how = {"frame_rate": 10.0, "timeout": 3}
    np.testing.assert_array_equal(found[:, first], derivative_events(traces[:, first], **how))


# -- the table -------------------------------------------------------------------------------


def test_a_table_of_known_transients():
    f = [
        [1, 1, 3, 5, 4, 2, 1, 1, 4, 4, 4, 4],  # the second one has not fallen at the end
        [0, 0, 4, 3, 5, 1, 0, 0, 0, 0, 0, 0],  # the next event comes before the fall
        [0, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0],
    ]
    traces = cs.from_numpy(np.array(f, "uint16"), frame_rate=2.0)
    raster = cs.from_numpy(np.zeros((3, 12), bool), frame_rate=2.0)
    raster[0, [1, 7]] = raster[1, [1, 3]] = True
    table = event_table(traces, raster, window=1.5)
    expected = {
        "onset": [0.5, 3.5, 0.5, 1.5],
        "peak_time": [1.5, 4.0, 1.0, 2.0],
        "peak": [5.0, 4.0, 4.0, 5.0],
        "amplitude": [4.0, 3.0, 4.0, 2.0],
        # from 4 at 2.0 s to 2 at 2.5 s: half of the amplitude, 3, is passed at 2.25 s
        "duration": [1.75, np.nan, np.nan, 0.625],
    }
    for name, values in expected.items():
        np.testing.assert_allclose(table[name], values)
    assert table.neuron.values.tolist() == [0, 0, 1, 1]
    assert table.frame.values.tolist() == [1, 7, 1, 3]
    assert [table[name].units for name in expected] == ["s", "s", "count", "count", "s"]
    assert table.peak.dtype == table.amplitude.dtype == "float32"
    assert "event_table" in table.attrs["history"]
    short = event_table(traces, raster, window=0.5)
    assert short.peak.values.tolist() == [3.0, 4.0, 4.0, 5.0]


def test_measures_of_an_event_end_with_its_epoch():
    traces = cs.from_numpy(np.array([[0.0, 0, 2, 2, 0, 9]]), frame_rate=2.0)
    traces = traces.assign_coords(epoch=("time", [0, 0, 0, 0, 1, 1]))
    raster = traces.copy(data=np.arange(6)[None] == 1)
    table = event_table(traces, raster, window=10.0)
    assert table.peak.item() == 2
    assert np.isnan(table.duration.item())
    assert table.epoch.values.tolist() == [0]


def test_the_table_of_synthetic_transients():
    truth = synthetic_traces(5, 300.0, snr=1e6, event_rate=0.02, seed=2)
    table = event_table(truth.dfof, truth.events)
    apart = np.ones(table.sizes["event"], bool)
    apart[1:] = (np.diff(table.onset) > 4) | (np.diff(table.neuron) != 0)
    apart[:-1] &= (np.diff(table.onset) > 2) | (np.diff(table.neuron) != 0)
    late = table.onset.values < 297
    units = truth.spikes.values[truth.events.values]
    some = table.isel(event=apart & late)
    assert some.sizes["event"] > 10
    # what is left of earlier transients after 4 s: exp(-4 / 0.7) = 0.3 %
    np.testing.assert_allclose(some.amplitude, 0.5 * units[apart & late], rtol=0.03)
    rise, decay = 0.05, 0.7
    t = np.arange(0, 5, 1e-4)
    shape = (1 - np.exp(-t / rise)) * np.exp(-t / decay)
    half = t[np.flatnonzero(shape > shape.max() / 2)[-1]]
    np.testing.assert_allclose(some.duration, half, atol=0.03)


def test_tables_of_lazy_arrays_and_of_channels():
    traces = two_epochs()
    raster = events(traces)
    expected = event_table(traces, raster)
    assert expected.sizes["event"] > 10
    lazy = event_table(in_chunks(traces, neuron=1), in_chunks(raster, time=30))
    xr.testing.assert_equal(lazy, expected)
    xr.testing.assert_equal(event_table(traces.T, raster), expected)
    both = xr.concat([traces, 2 * traces], "channel").assign_coords(channel=["Ch1", "Ch2"])
    table = event_table(both, raster)
    for channel, factor in (("Ch1", 1), ("Ch2", 2)):
        part = table.isel(event=table.channel.values == channel)
        np.testing.assert_allclose(part.peak, factor * expected.peak, rtol=1e-6)
        np.testing.assert_array_equal(part.neuron, expected.neuron)
    assert expected.neuron.values.tolist() == sorted(expected.neuron.values.tolist())


def test_missing_samples_in_tables():
    traces = cs.from_numpy(np.array([[0, 0, np.nan, 4, 3, np.nan, 1, 0.0]] * 3), frame_rate=2.0)
    traces[1] = np.nan
    traces[2, 1] = np.nan
    table = event_table(traces, traces.copy(data=np.tile(np.arange(8) == 1, (3, 1))))
    np.testing.assert_allclose(table.peak, [4, np.nan, 4])
    np.testing.assert_allclose(table.amplitude, [4, np.nan, np.nan])
    # from 3 at 2.0 s to 1 at 3.0 s
    np.testing.assert_allclose(table.duration, [2.0, np.nan, np.nan])


def test_tables_of_nothing():
    traces = two_epochs()
    nothing = traces.copy(data=np.zeros(traces.shape, bool))
    table = event_table(traces, nothing)
    assert dict(table.sizes) == {"event": 0}
    assert intervals(nothing).sizes == to_frames(nothing).sizes == {"event": 0}
    assert onset_values(nothing, traces).sizes == {"event": 0}
    assert count(nothing).values.tolist() == [0, 0, 0, 0]


@pytest.mark.parametrize(
    "measure", [event_table, lambda traces, raster: onset_values(raster, traces)]
)
def test_other_neurons_or_times_are_refused(measure):
    traces = two_epochs()
    raster = events(traces)
    for other in (
        raster.isel(time=slice(1, None)),
        raster.isel(neuron=[1, 0, 2, 3]),
        raster.assign_coords(time=raster.time + 1e-3),
        raster.astype(float),
    ):
        with pytest.raises(ArgumentError, match="events"):
            measure(traces, other)
    with pytest.raises(ArgumentError, match="window"):
        event_table(traces, raster, window=0.0)


# -- numbers ---------------------------------------------------------------------------------


def test_count_and_rate():
    raster = raster_of([[1, 0, 1, 1, 0], [0, 0, 0, 0, 0]], epoch=[0, 0, 0, 1, 1])
    raster = raster.assign_coords(time=("time", [0.0, 0.5, 1.0, 50.0, 50.5]), y=("neuron", [1, 2]))
    assert count(raster).values.tolist() == [3, 0]
    assert count(raster).dtype == np.int64
    np.testing.assert_allclose(rate(raster), [3 / 2.5, 0])  # 5 samples at 2 Hz
    assert rate(raster).units == "Hz"
    assert count(raster).y.values.tolist() == [1, 2]
    lazy = in_chunks(raster, neuron=1, time=2)
    for op in (count, rate):
        with dask.config.set(scheduler=refuse):
            found = op(lazy)
        xr.testing.assert_identical(found.compute().drop_attrs(), op(raster).drop_attrs())
        assert found.dtype == op(raster).dtype
        np.testing.assert_array_equal(op(raster.T), op(raster))


def test_intervals_end_at_the_borders_of_epochs():
    raster = raster_of(
        [[1, 0, 1, 1, 0, 0, 1, 1], [0, 1, 0, 0, 0, 0, 1, 0]], epoch=[0, 0, 0, 0, 1, 1, 1, 1]
    )
    between = intervals(raster)
    assert between.values.tolist() == [1.0, 0.5, 0.5]
    assert between.neuron.values.tolist() == ["m0", "m0", "m0"]
    assert between.time.values.tolist() == [1.0, 1.5, 3.5]
    assert between.epoch.values.tolist() == [0, 0, 1]
    assert between.attrs["units"] == "s"
    joined = intervals(raster.drop_vars("epoch"))
    assert joined.values.tolist() == [1.0, 0.5, 1.5, 0.5, 2.5]
    xr.testing.assert_equal(intervals(in_chunks(raster, time=3)), between)


def test_onset_values_keep_dtype_and_units():
    traces = two_epochs().astype("uint16")
    raster = events(traces)
    found = onset_values(raster, traces)
    assert found.dtype == "uint16"
    assert found.units == "count"
    np.testing.assert_array_equal(found, traces.values[raster.values])
    row, at = np.nonzero(raster.values)
    np.testing.assert_array_equal(found.time, traces.time.values[at])
    np.testing.assert_array_equal(found.neuron, traces.neuron.values[row])
    np.testing.assert_array_equal(found.y, traces.y.values[row])
    assert found.mouse == "m12"
    lazy = onset_values(in_chunks(raster, time=50), in_chunks(traces, neuron=1))
    xr.testing.assert_equal(lazy, found)


def test_numbers_of_one_trace():
    raster = raster_of([[1, 0, 1, 0]])[0].drop_vars("neuron")
    assert count(raster).item() == 2
    assert rate(raster).item() == pytest.approx(1.0)
    assert intervals(raster).values.tolist() == [1.0]
    frames = to_frames(raster)
    assert frames.values.tolist() == [0, 2]
    xr.testing.assert_equal(events_from_frames(frames, like=raster), raster)


@pytest.mark.parametrize("op", [count, rate, intervals, to_frames])
def test_only_rasters_are_counted(op):
    raster = raster_of([[1, 0, 1, 0]])
    with pytest.raises(ArgumentError, match="boolean"):
        op(raster.astype("int8"))
    with pytest.raises(DimensionError, match="time"):
        op(raster.isel(time=0))


# -- frames ----------------------------------------------------------------------------------


@settings(deadline=None, derandomize=True, max_examples=60)
@given(
    st.integers(0, 4).flatmap(
        lambda neurons: st.lists(
            st.lists(st.booleans(), min_size=5, max_size=5), min_size=neurons, max_size=neurons
        )
    )
)
def test_frames_there_and_back(rows):
    raster = raster_of(np.array(rows, dtype=bool).reshape(len(rows), 5))
    frames = to_frames(raster)
    xr.testing.assert_equal(events_from_frames(frames, like=raster), raster)
    lists = [np.flatnonzero(row).tolist() for row in rows]
    again = events_from_frames(lists, samples=5, frame_rate=2.0)
    np.testing.assert_array_equal(again, raster)
    np.testing.assert_array_equal(again.time, raster.time)
    xr.testing.assert_equal(events_from_frames(lists, like=raster), raster)


def test_frames_of_channels_in_any_order_of_dims():
    rng = np.random.default_rng(0)
    raster = xr.DataArray(
        rng.random((7, 2, 3)) < 0.3,
        {"channel": ["a", "b"], "neuron": [9, 3, 5], "time": np.arange(7) / 2},
        ("time", "channel", "neuron"),
    )
    frames = to_frames(raster)
    assert {"channel", "neuron", "time"} <= set(frames.coords)
    xr.testing.assert_equal(events_from_frames(frames, like=raster), raster)
    shuffled = frames.isel(event=rng.permutation(frames.size))
    xr.testing.assert_equal(events_from_frames(shuffled, like=raster), raster)


def test_without_like_the_neurons_are_those_with_events():
    raster = raster_of([[1, 0, 1], [0, 0, 0], [0, 1, 0]])
    again = events_from_frames(to_frames(raster), samples=3, frame_rate=2.0)
    xr.testing.assert_equal(again, raster.isel(neuron=[0, 2]))
    assert again.dtype == bool


def test_no_events_at_all():
    """CalSciPy's ``generate_raster`` raised a ValueError."""
    for frames in ([[], []], [np.array([]), np.zeros(0, int)]):
        raster = events_from_frames(frames, samples=4, frame_rate=2)
        assert raster.shape == (2, 4)
        assert not raster.any()
    assert events_from_frames([], samples=4, frame_rate=2).shape == (0, 4)


@pytest.mark.parametrize("dtype", ["uint8", "uint64", "int32", "float32"])
def test_whole_numbers_of_any_type_are_frames(dtype):
    raster = raster_of([[1, 0, 1, 0], [0, 0, 0, 1]])
    xr.testing.assert_equal(
        events_from_frames(to_frames(raster).astype(dtype), like=raster), raster
    )


@pytest.mark.parametrize(
    ("frames", "message"),
    [
        ([[0], [4]], r"neurons 1 have the frames 4, but .* 0 to 3"),
        ([[-1], [2]], r"neurons 0 have the frames -1"),  # it wrapped to the last frame
        ([[0], [2, 1, 2]], r"neurons 1 have several events in one frame \(2\)"),  # it lost one
        ([[0.5], [2]], r"whole numbers, but neurons 0"),
        ([[np.nan], [2]], r"whole numbers, but neurons 0"),
        ([[True], [False]], r"whole numbers, got bool"),
        ([0, 1], r"one list of frames for each neuron"),
    ],
)
def test_frames_that_fit_no_raster(frames, message):
    with pytest.raises(ArgumentError, match=message):
        events_from_frames(frames, samples=4, frame_rate=2)


def test_what_the_raster_is_like_must_be_clear():
    raster = raster_of([[1, 0, 1], [0, 1, 0]])
    frames = to_frames(raster)
    for given_too in ({}, {"samples": 3}, {"frame_rate": 2.0}, {"samples": 3.0, "frame_rate": 2}):
        with pytest.raises(ArgumentError, match="needs like="):
            events_from_frames(frames, **given_too)
    with pytest.raises(ArgumentError, match="leave samples"):
        events_from_frames(frames, like=raster, samples=3)
    for wrong in (5, None, "12"):
        with pytest.raises(ArgumentError, match="one list for each neuron"):
            events_from_frames(wrong, samples=3, frame_rate=2)
    with pytest.raises(ArgumentError, match="like as a DataArray, got ndarray"):
        events_from_frames([[1]], like=raster.values)
    with pytest.raises(ArgumentError, match="no neuron m1"):
        events_from_frames(frames, like=raster.isel(neuron=[0]))
    with pytest.raises(ArgumentError, match="3 lists of frames"):
        events_from_frames([[], [], []], like=raster)
    with pytest.raises(ArgumentError, match="coordinate 'neuron'"):
        events_from_frames(frames.drop_vars("neuron"), like=raster)
    with pytest.raises(DimensionError, match="event"):
        events_from_frames(raster, like=raster)
    twice = raster.assign_coords(neuron=["m0", "m0"])
    with pytest.raises(ArgumentError, match="equal labels"):
        events_from_frames(frames, like=twice)


def test_history_of_frames():
    raster = raster_of([[1, 0, 1]]).assign_attrs(history="earlier")
    again = events_from_frames(to_frames(raster), like=raster)
    steps = again.attrs["history"].split("\n")
    assert steps[0] == "earlier"
    assert " to_frames " in steps[1]
    assert " events_from_frames " in steps[2]
    made = events_from_frames([[0, 2]], samples=3, frame_rate=2)
    assert '"shape": [2]' in made.attrs["history"]
    assert made.attrs["long_name"] == "event onsets"


def test_a_decay_in_ms_is_refused():
    data = cs.from_numpy(np.zeros((1, 100)), frame_rate=10)
    with pytest.raises(ArgumentError, match=r"decay in seconds, up to 60, got 500.*it is 0\.5 s"):
        events(data, decay=500)
    with pytest.raises(ArgumentError, match="rise > 0 as one number"):
        events(data, rise="fast")
    with pytest.raises(ArgumentError, match="timeout in seconds, up to 86400"):
        events(data, method="derivative", timeout=1e300)
    with pytest.raises(ArgumentError, match="smooth as True or False, got 'no'"):
        events(data, method="derivative", smooth="no")
