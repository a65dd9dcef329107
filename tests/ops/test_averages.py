"""Averages of trials by condition: words, laziness, coverage."""

import json

import dask
import dask.array as da
import numpy as np
import pytest
import xarray as xr

import calscipy as cs
from calscipy.errors import ArgumentError, DimensionError
from calscipy.ops.averages import average
from calscipy.ops.trials import to_trials

CONDITIONS = ["stop", "go", "go", "stop", "go", "catch"]


@pytest.fixture(autouse=True, scope="module")
def one_thread():
    """Threads cost more than these small arrays."""
    with dask.config.set(scheduler="sync"):
        yield


def trials(dtype="float32", neurons=3):
    values = np.random.default_rng(0).uniform(0, 200, (neurons, 24))
    data = cs.from_numpy(values > 100 if dtype == "bool" else values.astype(dtype), frame_rate=10)
    data = data.assign_coords(y=("neuron", np.arange(neurons) / 2, {"units": "um"}), mouse="m12")
    found = to_trials(data.assign_attrs(units="mV", history="earlier"), length=0.4)
    return found.assign_coords(condition=("trial", CONDITIONS, {"long_name": "cue"}))


def refuse(*args, **kwargs):
    raise AssertionError("building the graph computed something")


def lines(dataset):
    return [line.split(" ", 4) for line in dataset.attrs["history"].split("\n")]


@pytest.mark.parametrize("dtype", ["float32", "float64", "uint16", "bool"])
def test_means_by_condition(dtype):
    data = trials(dtype)
    made = "float64" if dtype == "float64" else "float32"
    whole = average(data, by="condition", rng=1)
    for chunks in ((6, 3, 4), (2, 1, 4), (4, 2, 3)):
        lazy = data.copy(data=da.from_array(data.values, chunks=chunks))
        with dask.config.set(scheduler=refuse):
            found = average(lazy, by="condition", rng=1)
        assert all(part.chunks is not None for part in found.values())
        xr.testing.assert_equal(found.compute(), whole)
        assert {name: part.dtype for name, part in found.compute().items()} == {
            "mean": made, "lower": made, "upper": made, "count": np.int64
        }  # fmt: skip
    assert whole.condition.values.tolist() == ["catch", "go", "stop"]
    assert whole.condition.attrs == {"long_name": "cue"}
    for name in ("mean", "lower", "upper", "count"):
        assert whole[name].dims == ("condition", "neuron", "time")
    for condition in whole.condition.values:
        chosen = data.values[np.array(CONDITIONS) == condition].astype("f8")
        here = whole.sel(condition=condition)
        np.testing.assert_allclose(here["mean"], chosen.mean(axis=0), rtol=1e-6)
        assert (here["count"] == len(chosen)).all()
        if len(chosen) > 1:
            assert (here["lower"] <= here["mean"] + 1e-6).all()
            assert (here["mean"] <= here["upper"] + 1e-6).all()
            assert (here["upper"] <= chosen.max(axis=0) + 1e-4).all()
        else:
            assert here["lower"].isnull().all()
            assert here["upper"].isnull().all()


def test_all_trials_are_one_group_by_default():
    data = trials()
    found = average(data, rng=0)
    assert found["mean"].dims == ("neuron", "time")
    np.testing.assert_allclose(found["mean"], data.mean("trial"), rtol=1e-6)
    assert set(found.coords) == {"neuron", "time", "y", "mouse"}
    alone = average(data.isel(neuron=0), rng=0)
    xr.testing.assert_equal(alone, found.isel(neuron=0))
    turned = average(data.transpose(), by="condition", rng=0)
    assert turned["lower"].dims == ("condition", "neuron", "time")


def test_words():
    found = average(trials(), by="condition", confidence=0.9, resamples=200, rng=5)
    assert {name: part.attrs["units"] for name, part in found.items()} == {
        "mean": "mV", "lower": "mV", "upper": "mV", "count": "1"
    }  # fmt: skip
    assert found["mean"].attrs["long_name"] == "fluorescence, mean of trials"
    assert found["upper"].attrs["long_name"].endswith("upper end of the 90 % interval of the mean")
    assert found["mean"].attrs["cell_methods"] == "trial: mean"
    assert "cell_methods" not in found["lower"].attrs
    assert "units" not in found.attrs
    assert json.loads(lines(found)[-1][4]) == {
        "by": "condition", "confidence": 0.9, "resamples": 200, "rng": 5
    }  # fmt: skip
    assert found["count"].attrs["history"] == found.attrs["history"]


def test_the_history_tells_the_number_that_repeats_an_interval():
    data = trials()
    by_chance = [average(data) for _ in range(2)]
    assert not by_chance[0]["lower"].equals(by_chance[1]["lower"])
    for found in (*by_chance, average(data, rng=np.random.default_rng(4))):
        seed = json.loads(lines(found)[-1][4])["rng"]
        xr.testing.assert_equal(average(data, rng=seed), found)
    rng = np.random.default_rng(4)
    first, second = average(data, rng=rng), average(data, rng=rng)
    assert not first["lower"].equals(second["lower"])
    xr.testing.assert_equal(first, average(data, rng=np.random.default_rng(4)))


def test_missing_samples_are_left_out():
    data = trials("float64")
    data[1, 0, 2], data[:, 1], data[[1, 2], 2, 3] = np.nan, np.nan, np.nan
    found = average(data, by="condition", rng=0).sel(condition="go")
    assert found["count"].values.tolist() == [[3, 3, 2, 3], [0, 0, 0, 0], [3, 3, 3, 1]]
    np.testing.assert_allclose(found["mean"][0, 2], data.values[[2, 4], 0, 2].mean())
    assert found["mean"][1].isnull().all()
    assert found["mean"][2, 3] == data[4, 2, 3]
    unknown = found["lower"].isnull()
    assert unknown.sum() == 5
    assert (unknown == found["upper"].isnull()).all()


def test_an_interval_holds_the_mean_as_often_as_it_says():
    rng = np.random.default_rng(7)
    normal = xr.DataArray(rng.normal(3, 2, (40, 30, 100)), dims=("trial", "neuron", "time"))
    for confidence, expected in ((0.95, 0.940), (0.8, 0.79)):
        found = average(normal, rng=0, confidence=confidence)
        holds = (found["lower"] < 3) & (found["upper"] > 3)
        assert abs(float(holds.mean()) - expected) < 0.012


def test_neurons_share_the_trials_that_are_drawn():
    data = trials("float64")
    same = xr.concat([data[:, 0], data[:, 0] + 5], "neuron")
    found = average(same, rng=0)
    np.testing.assert_allclose(found["lower"][1] - found["lower"][0], 5)
    np.testing.assert_allclose(found["upper"][1] - found["upper"][0], 5)


def test_labels_of_any_kind():
    data = trials()
    numbers = data.assign_coords(power=("trial", [0.5, 2, 2, 0.5, 2, 1], {"units": "mW"}))
    found = average(numbers, by="power", rng=0)
    assert found.power.values.tolist() == [0.5, 1, 2]
    assert found.power.attrs == {"units": "mW"}
    mixed = data.assign_coords(cue=("trial", np.array(["b", 1, "b", 1, "b", 1], dtype=object)))
    assert average(mixed, by="cue", rng=0).cue.values.tolist() == ["b", 1]
    each = average(data, by="trial", rng=0)
    np.testing.assert_array_equal(each["mean"], data)


def test_the_input_is_untouched():
    data = trials()
    before = data.copy(deep=True)
    data.values.setflags(write=False)
    average(data, by="condition", rng=0)
    xr.testing.assert_identical(data, before)
    lazy = data.chunk(neuron=1)
    names = [average(lazy, rng=rng)["mean"].data.name for rng in (0, 0, 1)]
    assert names[0] == names[1] != names[2]


def test_what_cannot_be_averaged_is_refused():
    data = trials()
    with pytest.raises(DimensionError, match="average needs the dimensions"):
        average(data[0])
    with pytest.raises(ArgumentError, match=r"\['condition', 'start', .*got 'cue'.*assign_coords"):
        average(data, by="cue")
    with pytest.raises(ArgumentError, match="coordinates along trials"):
        average(data, by="y")
    unknown = data.assign_coords(power=("trial", [1, np.nan, 2, 1, np.nan, 2]))
    with pytest.raises(ArgumentError, match=r"the power of trials 1, 4 is not known.*notnull"):
        average(unknown, by="power")
    assert average(unknown[unknown.power.notnull().values], by="power").sizes["power"] == 2
    for wrong in (0, 1, 95, "0.9", True):
        with pytest.raises(ArgumentError, match="confidence between 0 and 1"):
            average(data, confidence=wrong)
    for wrong in (39, 0, 1000.0, True):
        with pytest.raises(ArgumentError, match="whole number of at least 40"):
            average(data, resamples=wrong)
    assert average(data, confidence=0.9, resamples=20, rng=0).sizes["time"] == 4
    for wrong in (-1, 1.5, "a", True):
        with pytest.raises(ArgumentError, match=r"rng as a whole number.*Generator"):
            average(data, rng=wrong)
    with pytest.raises(ArgumentError, match="at least one trial"):
        average(data[:0])
    with pytest.raises(ArgumentError, match="complex"):
        average(data.astype(complex))


@pytest.mark.parametrize("name", ["mean", "lower", "upper", "count"])
def test_coordinates_with_the_names_of_the_results_are_refused(name):
    for coords in ({name: 1.0}, {name: ("trial", [0, 0, 1, 1, 0, 1])}):
        with pytest.raises(ArgumentError, match=rf"variable '{name}'.*rename\({name}='other'\)"):
            average(trials().assign_coords(coords), rng=0)
