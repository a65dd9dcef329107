"""Bins of traces and events: along time, epoch by epoch, with a rule for the last one."""

import functools
import itertools
import json

import dask
import dask.array as da
import numpy as np
import pandas as pd
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st

import calscipy as cs
from calscipy.errors import ArgumentError, TimeAxisError
from calscipy.ops.bin import bin
from calscipy.testing import synthetic_traces

REDUCES = ["mean", "sum", "max", "min", "median", "std"]
every_reduce = pytest.mark.parametrize("reduce", REDUCES)


@pytest.fixture(autouse=True, scope="module")
def one_thread():
    """Threads cost more than these small arrays."""
    with dask.config.set(scheduler="sync"):
        yield


def traces(shape=(3, 12), dtype="float32", rate=10.0, seed=0):
    values = np.random.default_rng(seed).uniform(0, 200, shape)
    return cs.from_numpy(values.astype(dtype), frame_rate=rate)


def halves(data):
    return data.assign_coords(epoch=("time", np.repeat([1, 2], data.sizes["time"] // 2)))


def refuse(*args, **kwargs):
    raise AssertionError("building the graph computed something")


# -- the flaws of CalSciPy 0.3.5's bin_data ------------------------------------------------------


def test_bins_are_along_time_not_over_neurons():
    data = cs.from_numpy(np.array([[1.0, 3, 5, 7], [10.0, 30, 50, 70]]), frame_rate=1)
    assert bin(data, samples=2).values.tolist() == [[2, 6], [20, 60]]


@pytest.mark.parametrize(("samples", "width"), [(7, 3), (6, 5), (9, 2)])
def test_the_last_bin_does_not_swallow_what_is_over(samples, width):
    data = cs.from_numpy(np.arange(samples, dtype="f4")[None], frame_rate=1)
    whole = np.arange(samples // width * width).reshape(-1, width).sum(axis=1)
    with pytest.raises(ArgumentError, match=rf"{samples} samples into bins of {width} \("):
        bin(data, samples=width, reduce="sum")
    dropped = bin(data, samples=width, reduce="sum", partial="drop")
    assert dropped.values[0].tolist() == whole.tolist()
    kept = bin(data, samples=width, partial="keep").values[0]
    assert kept[:-1].tolist() == (whole / width).tolist()
    assert kept[-1] == np.arange(samples // width * width, samples).mean()
    with pytest.raises(ArgumentError, match=r"fewer samples.*reduce='mean'.*partial='drop'"):
        bin(data, samples=width, reduce="sum", partial="keep")


def test_fractional_times_single_rows_and_functions_work():
    one = cs.from_numpy(np.arange(6.0), frame_rate=2.4, dims=("time",))
    assert bin(one, samples=3, reduce=np.ptp).values.tolist() == [2, 2]
    np.testing.assert_allclose(bin(one, samples=3).time, [1 / 2.4, 4 / 2.4])
    row = cs.from_numpy(np.arange(6.0)[None], frame_rate=2.4)
    np.testing.assert_array_equal(bin(row, samples=3)[0], bin(one, samples=3))


@every_reduce
def test_bins_are_those_of_pandas(reduce):
    data = traces((4, 60))
    frame = pd.DataFrame(data.values.T.astype("f8"), index=data.time.values)
    grouped = frame.groupby(np.arange(60) // 5)
    expected = grouped.std(ddof=0) if reduce == "std" else getattr(grouped, reduce)()
    result = bin(data, duration=0.5, reduce=reduce)
    np.testing.assert_allclose(result, expected.to_numpy().T, rtol=1e-6)


# -- kinds of data -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("reduce", "dtype"),
    [
        *itertools.product(REDUCES, ["bool", "float16", "float32", "float64", "uint16"]),
        *itertools.product(["sum", "mean"], ["int32"]),  # every further loop takes seconds
    ],
)
def test_what_comes_in_which_dtype(reduce, dtype):
    data = traces(dtype="f8") > 100 if dtype == "bool" else traces(dtype=dtype)
    wide = dtype in ("float64", "int32")
    sums = "int64" if np.dtype(dtype).kind in "biu" else "float64"
    made = {"sum": sums, "max": dtype, "min": dtype}.get(reduce, "float64" if wide else "float32")
    expected = data.values.reshape(3, 4, 3)
    expected = expected if reduce in ("max", "min") else expected.astype("f8")
    expected = getattr(np, reduce)(expected, axis=-1)
    for given_data in (
        data,
        data.chunk(neuron=2),
        data.chunk(time=5),
        data.chunk(neuron=1, time=4),
    ):
        with dask.config.set(scheduler=refuse):
            result = bin(given_data, samples=3, reduce=reduce)
        assert (result.chunks is None) == (given_data.chunks is None)
        assert result.dtype == result.compute().dtype == made
        np.testing.assert_allclose(result, expected, rtol=1e-6)


def test_events_are_counted():
    truth = synthetic_traces(3, duration=60, event_rate=0.5)
    counts = bin(truth.events, duration=2)
    assert counts.dtype == np.int64
    assert counts.shape == (3, 30)
    np.testing.assert_array_equal(counts.sum("time"), truth.events.sum("time"))
    assert counts.attrs["units"] == "1"
    assert counts.attrs["long_name"] == "event onsets, sum of bins"
    assert counts.attrs["cell_methods"] == "time: sum"
    assert '"reduce": "sum"' in counts.attrs["history"]
    assert bin(truth.events, duration=2, reduce="max").dtype == bool
    np.testing.assert_allclose(bin(truth.events, duration=2, reduce="mean") * 60, counts, rtol=1e-6)


@every_reduce
def test_a_nan_gives_nan_and_a_silent_neuron_stays_nan(reduce):
    data = traces((3, 200))
    data[0, 5], data[1], data[2] = np.nan, np.nan, 7.0
    for wide in (10, 100):  # medians of large bins are found in another way
        result = bin(data, samples=wide, reduce=reduce).values
        assert np.isnan(result[0]).tolist() == [True] + [False] * (200 // wide - 1)
        assert np.isnan(result[1]).all()
        assert set(result[2]) == {{"std": 0.0, "sum": 7.0 * wide}.get(reduce, 7.0)}


@every_reduce
def test_channels_and_any_order_of_dimensions(reduce):
    data = cs.from_numpy(
        traces((2, 3, 12)).values, frame_rate=10, dims=("channel", "neuron", "time")
    )
    expected = bin(data, samples=4, reduce=reduce)
    turned = bin(data.transpose("time", "neuron", "channel"), samples=4, reduce=reduce)
    assert turned.dims == ("time", "neuron", "channel")
    np.testing.assert_array_equal(turned.transpose(*expected.dims), expected)
    for channel in range(2):
        alone = bin(data.isel(channel=channel), samples=4, reduce=reduce)
        np.testing.assert_array_equal(alone, expected.isel(channel=channel))


@settings(deadline=None, derandomize=True, max_examples=30)
@given(
    st.integers(1, 40),
    st.integers(1, 9),
    st.integers(1, 12),
    st.sampled_from(["keep", "drop"]),
    st.sampled_from([r for r in REDUCES if r != "sum"]),
    st.booleans(),
)
def test_chunks_and_joining_change_nothing(samples, width, chunk, partial, reduce, floats):
    first, second = traces((3, samples)), traces((3, 2 * width), seed=1)
    second = second.assign_coords(time=second.time + 100)
    if partial == "drop" and samples < width:
        partial = "keep"
    both = xr.concat([first, second], "time").assign_coords(
        epoch=("time", np.repeat([1, 2], [samples, 2 * width]))
    )
    both = both if floats else both.round().astype("u2")
    result = bin(both, samples=width, reduce=reduce, partial=partial)
    apart = [
        bin(both.sel(time=part), samples=width, reduce=reduce, partial=partial)
        for part in (slice(0, 50), slice(50, None))
    ]
    np.testing.assert_array_equal(result, np.concatenate(apart, axis=1))
    np.testing.assert_allclose(result.time, np.concatenate([part.time for part in apart]))
    lazy = both.copy(data=da.from_array(both.values, chunks=(2, chunk)))
    np.testing.assert_array_equal(bin(lazy, samples=width, reduce=reduce, partial=partial), result)


# -- durations -----------------------------------------------------------------------------------


def test_durations_are_whole_samples_within_one_percent():
    data = traces((1, 90), rate=29.97)
    assert bin(data, duration=1).sizes["time"] == 3
    with pytest.raises(
        ArgumentError,
        match=r"duration as a whole number of samples, but 0.05 s are 1.498 of them at 29.97 Hz\. "
        r"Take 0.0333667 s or 0.0667334 s",
    ):
        bin(data, duration=0.05)
    with pytest.raises(ArgumentError, match=r"0.3 of them at 30 Hz. Take 0.0333333 s\."):
        bin(traces(rate=30), duration=0.01)
    assert bin(traces(rate=2), duration=1.009).sizes["time"] == 6
    for wrong in (0, -1, np.nan, np.inf, "1", True):
        with pytest.raises(ArgumentError, match="duration > 0 in seconds"):
            bin(data, duration=wrong)


def test_a_rate_is_needed_for_durations_alone():
    unknown = traces().drop_vars("time")
    assert bin(unknown, samples=6).shape == (3, 2)
    with pytest.raises(TimeAxisError, match="'time' coordinate"):
        bin(unknown, duration=1)
    single = traces()[:, :1]
    np.testing.assert_array_equal(bin(single, samples=1), single)
    with pytest.raises(TimeAxisError, match="two samples"):
        bin(single, duration=1)
    uneven = traces().isel(time=[0, 1, 2, 8, 9, 10])
    with pytest.raises(TimeAxisError, match="neighbouring samples"):
        bin(uneven, samples=3)


# -- functions -----------------------------------------------------------------------------------


def upper_quartile(values, axis):
    return np.percentile(values, 75, axis=axis)


def second(values):
    return sorted(values)[1]


@pytest.mark.parametrize("function", [upper_quartile, second, np.ptp, np.add.reduce, len])
@pytest.mark.parametrize("dtype", ["float32", "uint16", "bool"])
def test_any_function_reduces(function, dtype):
    data = traces((2, 14), "f8").astype(dtype)
    parts = [data.values[:, a : a + 4].astype("f4") for a in range(0, 14, 4)]
    expected = [
        [function(row, axis=-1) if function is upper_quartile else function(row) for row in part]
        for part in parts
    ]
    for given_data in (data, data.chunk(neuron=1, time=5)):
        result = bin(given_data, samples=4, reduce=function, partial="keep")
        assert result.dtype == result.compute().dtype == np.float32
        np.testing.assert_allclose(result.values.T, expected, rtol=1e-6)


def test_a_function_is_called_by_its_name():
    result = bin(traces(), samples=3, reduce=upper_quartile)
    assert result.attrs["long_name"] == "fluorescence, upper_quartile of bins"
    assert result.attrs["cell_methods"] == "time: upper_quartile"
    line = json.loads(result.attrs["history"].split(" ", 4)[4])
    assert line == {"samples": 3, "reduce": "upper_quartile", "partial": "error"}
    assert bin(traces(), samples=3).attrs["history"].endswith('"mean", "partial": "error"}')
    lazy = traces().chunk(neuron=1)
    names = [bin(lazy, samples=3, reduce=f).data.name for f in (upper_quartile, np.ptp, np.ptp)]
    assert names[0] != names[1] == names[2]
    with pytest.raises(ArgumentError, match=r"bin\(reduce=cumsum\) must make one real number"):
        bin(traces(), samples=3, reduce=np.cumsum)


# -- words and coordinates -----------------------------------------------------------------------


def test_coordinates_along_time():
    data = halves(traces()).assign_coords(
        cycle=("time", np.repeat([3, 4], 6)),
        piezo=("time", np.arange(12), {"units": "um"}),
        flag=("time", np.arange(12) % 2 == 0),
        delay=(("neuron", "time"), np.arange(36.0).reshape(3, 12)),
        y=("neuron", [1.0, 2.0, 3.0], {"units": "um"}),
        mouse="m12",
    )
    before = data.copy(deep=True)
    data.values.setflags(write=False)
    result = bin(data, samples=3)
    xr.testing.assert_identical(data, before)
    np.testing.assert_allclose(result.time, [0.1, 0.4, 0.7, 1.0])
    assert "time" in result.indexes
    assert result.time.attrs == data.time.attrs
    assert cs.frame_rate(result) == pytest.approx(10 / 3)
    assert result.epoch.values.tolist() == [1, 1, 2, 2]
    assert result.cycle.values.tolist() == [3, 3, 4, 4]
    assert result.piezo.values.tolist() == [1, 4, 7, 10]
    assert result.delay.values[1].tolist() == [13, 16, 19, 22]
    assert "flag" not in result.coords
    assert result.mouse == "m12"
    xr.testing.assert_identical(result.y.variable, data.y.variable)
    with pytest.raises(ArgumentError, match=r"6 samples of an epoch into bins of 4 \(2 left over"):
        bin(data, samples=4)
    with pytest.raises(ArgumentError, match=r"drop'\) leaves nothing of 6 samples in bins of 7"):
        bin(data, samples=7, partial="drop")


def test_pieces_in_threads_are_the_whole(monkeypatch):
    from calscipy.blocks import rows

    data = traces((17, 30))
    expected = bin(data, samples=3)
    monkeypatch.setattr(rows, "PIECE", 60)
    monkeypatch.setattr(rows, "CPU_COUNT", 3)
    np.testing.assert_array_equal(bin(data, samples=3), expected)


def test_what_cannot_be_binned_is_refused():
    data = traces()
    with pytest.raises(ArgumentError, match=r"bin\(duration=0.5\), in seconds, or bin\(samples"):
        bin(data)
    with pytest.raises(ArgumentError, match="either samples= or duration="):
        bin(data, samples=2, duration=0.2)
    for wrong in (0, -1, 2.0, True, "3"):
        with pytest.raises(ArgumentError, match="samples as a whole number from 1 on"):
            bin(data, samples=wrong)
    for wrong in ({"frames": 2}, {"samples": 2, "y": 2}):
        with pytest.raises(ArgumentError, match=r"cannot use (frames|y): traces take samples="):
            bin(data, **wrong)
    for wrong in ("mode", 3):
        with pytest.raises(ArgumentError, match=r"must be one of.*or a function, got"):
            bin(data, samples=2, reduce=wrong)
    with pytest.raises(ArgumentError, match=r"must be one of.*'keep'"):
        bin(data, samples=2, partial="pad")
    with pytest.raises(ArgumentError, match="complex"):
        bin(data.astype(complex), samples=2)
    with pytest.raises(ArgumentError, match="at least one sample along each dimension"):
        bin(data[:0], samples=2)


def test_a_function_with_fixed_arguments_has_the_same_words_in_every_process():
    class Widest:
        def __call__(self, values):
            return np.ptp(values)

    low = functools.partial(np.percentile, q=10)
    for function, word in [(low, "percentile(q=10)"), (Widest(), "Widest")]:
        found = bin(traces(), samples=4, reduce=function)
        assert found.attrs["long_name"] == f"fluorescence, {word} of bins"
        assert json.dumps({"reduce": word})[1:-1] in found.attrs["history"]
