"""How traces are thinned out and packed for pages, without a browser."""

import numpy as np
import pytest
import xarray as xr

import calscipy as cs
from calscipy.errors import ArgumentError, ChunkError
from calscipy.plotting.interactive.layers import layers_of, pack


def traces(values, rate=30.0, **attrs):
    return cs.from_numpy(np.asarray(values), frame_rate=rate).assign_attrs(attrs)


def one_layer(data):
    return layers_of([(None, data)], "test")[1][0]


def unpacked(args, row):
    """Times and values of a row as the page's script makes them, by a slow loop."""
    points = args["values"].shape[1]
    numbers = np.cumsum(args["steps"][row].astype(int)) if "steps" in args else args["numbers"]
    codes = args["values"][row].astype(float)
    if "scale" in args:
        values = np.where(
            codes == -(2**15), np.nan, codes * args["scale"][row] + args["offset"][row]
        )
    else:
        values = codes
    clock, times = args["clock"], np.empty(points)
    for i, number in enumerate(numbers):
        if "times" in clock:
            times[i] = clock["times"][number]
            continue
        part = max(p for p, first in enumerate(clock["first"]) if number >= first)
        times[i] = clock["start"][part] + (number - clock["first"][part]) * clock["step"][part]
    return times, values


def test_short_traces_are_packed_whole():
    values = np.random.default_rng(0).normal(size=(3, 500)).astype("float32")
    layer = one_layer(traces(values))
    (packed,) = pack([layer], 10**6)
    assert packed.note == ""
    for row in range(3):
        times, found = unpacked(packed.args, row)
        np.testing.assert_allclose(times, np.arange(500) / 30, atol=1e-9)
        np.testing.assert_allclose(found, values[row], atol=np.ptp(values[row]) / 2**16)


@pytest.mark.parametrize("samples", [5_000, 60_000])  # steps of one and of two bytes
def test_long_traces_keep_their_extremes_at_their_times(samples):
    values = np.random.default_rng(0).normal(size=(4, samples))
    values[2, samples // 3] = 30
    layer = one_layer(traces(values, rate=10))
    budget = 6000
    (packed,) = pack([layer], budget)
    used = sum(packed.args[name].nbytes for name in ("values", "steps"))
    assert budget / 2 < used <= budget
    columns = packed.columns
    edges = np.linspace(0, samples, columns + 1).astype(int)
    for row in range(4):
        times, found = unpacked(packed.args, row)
        assert len(times) == 2 * columns
        step = np.ptp(values[row]) / (2**16 - 2)
        for column in range(columns):
            part = values[row, edges[column] : edges[column + 1]]
            pair = found[2 * column : 2 * column + 2]
            np.testing.assert_allclose(sorted(pair), [part.min(), part.max()], atol=step)
        at = np.rint(times * 10).astype(int)
        np.testing.assert_allclose(found, values[row, at], atol=step)
    assert f"every {samples / columns:.3g} samples" in packed.note


def test_a_large_artefact_does_not_make_the_rest_coarse():
    values = np.random.default_rng(0).normal(size=(1, 300)).astype("float32")
    values[0, 7] = 1e7
    (packed,) = pack([one_layer(traces(values))], 10**6)
    np.testing.assert_array_equal(unpacked(packed.args, 0)[1].astype("float32"), values[0])


def test_missing_samples_and_constant_rows():
    values = np.random.default_rng(0).normal(size=(3, 100))
    values[0, 10:20] = np.nan
    values[1] = 5
    values[2] = np.nan
    (packed,) = pack([one_layer(traces(values))], 10**6)
    for row in range(3):
        found = unpacked(packed.args, row)[1]
        np.testing.assert_allclose(found, values[row], atol=1e-4)


def test_lines_break_at_gaps_and_times_go_on():
    data = traces(np.arange(40.0)[None], rate=10).assign_coords(
        epoch=("time", np.repeat([1, 2], 20))
    )
    data = data.assign_coords(time=data.time.values + np.repeat([0, 100.0], 20))
    (packed,) = pack([one_layer(data)], 10**6)
    times, found = unpacked(packed.args, 0)
    (gap,) = np.flatnonzero(np.isnan(found))
    assert gap == 20
    np.testing.assert_allclose(np.delete(times, gap), data.time.values)
    np.testing.assert_allclose(np.delete(found, gap), np.arange(40), atol=1e-3)


def test_uneven_times_are_written_one_by_one():
    rng = np.random.default_rng(0)
    data = traces(rng.normal(size=(1, 50)))
    data = data.assign_coords(time=np.cumsum(rng.uniform(0.02, 0.04, 50)))
    (packed,) = pack([one_layer(data)], 10**6)
    np.testing.assert_array_equal(unpacked(packed.args, 0)[0], data.time.values)


def test_marks_are_numbers_of_samples_and_thinned_out_when_they_are_many():
    values = np.random.default_rng(0).random((3, 2000)) > 0.5
    layer = one_layer(traces(values))
    (packed,) = pack([layer], 10**6)
    first, marks = packed.args["first"], packed.args["marks"]
    for row in range(3):
        mine = marks[first[row] : first[row + 1]]
        np.testing.assert_array_equal(mine, np.flatnonzero(values[row]))
    (packed,) = pack([layer], 2400)  # bytes, half of them for marks of four bytes
    first, marks = packed.args["first"], packed.args["marks"]
    assert marks.size == 300
    assert "at most one mark in every 20 samples" in packed.note
    for row in range(3):
        mine = marks[first[row] : first[row + 1]]
        assert values[row, mine].all()
        np.testing.assert_array_equal(mine // 20, np.arange(100))


def test_what_is_drawn_of_a_stretch_reaches_one_sample_further():
    values = np.random.default_rng(0).normal(size=(2, 1000))
    layer = one_layer(traces(values, rate=10))
    drawn = layer.drawn(1, 500, 20.05, 30.05)
    np.testing.assert_allclose(drawn["time"], np.arange(200, 302) / 10)
    np.testing.assert_array_equal(drawn["value"], values[1, 200:302])
    thin = layer.drawn(1, 20)
    assert thin["time"].size == 40
    assert thin["value"].max() == values[1].max()


def test_lazy_traces_are_computed_once_and_not_beyond_the_limit():
    values = np.random.default_rng(0).normal(size=(4, 100))
    data = traces(values).chunk(time=10)
    np.testing.assert_array_equal(one_layer(data).values, values)
    with (
        cs.set_options(memory_limit=100),
        pytest.raises(ChunkError, match="more than memory_limit=100"),
    ):
        one_layer(data)


def test_data_sets_that_do_not_fit_are_refused():
    data = traces(np.zeros((3, 10)))
    for wrong, message in (
        (np.zeros((3, 10)), "needs xarray.DataArrays"),
        (data.isel(neuron=[0, 2]), "the same neurons"),
        (data.expand_dims(channel=2), "neuron, time"),
        (data.isel(time=slice(0)), "nothing to show"),
        (data.isel(time=slice(None, None, -1)), "do not go back"),
        (data.astype(str), "needs numbers or booleans"),
    ):
        with pytest.raises(ArgumentError, match=message):
            layers_of([(None, data), (None, wrong)], "test")


def test_one_trace_without_neurons_and_names_that_are_the_same():
    data = traces(np.zeros((2, 10)), long_name="F", units="count")
    neurons, layers = layers_of([(None, data[0]), ("F", data[0])], "test")
    assert neurons == [0]
    assert [layer.name for layer in layers] == ["F", "F (2)"]
    assert layers[0].label == "F [counts]"
    names = layers_of([(None, xr.DataArray(np.zeros((1, 3), bool), {"time": range(3)},
                                           ("neuron", "time")))], "test")[1]  # fmt: skip
    assert names[0].name == "events"
