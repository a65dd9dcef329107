"""CSV files hold every number exactly, and the JSON beside them the rest."""

import json

import dask
import dask.array as da
import numpy as np
import pandas as pd
import pytest
import xarray as xr

import calscipy as cs
from calscipy.errors import (
    ArgumentError,
    CalscipyWarning,
    DimensionError,
    StoreError,
    TargetExistsError,
    TimeAxisError,
)
from calscipy.io import csv, output
from calscipy.io.csv import to_csv
from calscipy.io.labels import read_labels
from calscipy.options import set_options


@pytest.fixture(autouse=True)
def _one_thread():
    with dask.config.set(scheduler="sync"), set_options(progress=False):
        yield


def traces(neurons=3, samples=50, dtype="float64", names=None):
    values = np.random.default_rng(1).standard_normal((neurons, samples)) * 1e3
    data = cs.from_numpy(values.astype(dtype), frame_rate=29.97, units="1", name="dfof")
    data = data.assign_coords(
        neuron=list(range(neurons)) if names is None else names,
        plane=("neuron", np.arange(neurons)),
        epoch=("time", np.arange(samples) // 20),
        channel="Ch2",
    )
    return data.assign_attrs(history='a {"b": 1}\nc', nested={"x": [1, None]})


def side(path):
    return json.loads(path.with_suffix(".json").read_text())


def back(path, dims, dtype):
    """The array as pandas and the JSON file give it."""
    table = pd.read_csv(path)
    described = side(path)
    assert list(table.columns) == [column["column"] for column in described["columns"]]
    labels = read_labels(json.dumps(described["labels"]), path)
    values = table.iloc[:, 1:].to_numpy().astype(dtype).T
    data = labels.label(xr.Variable(dims, values.reshape(labels.shape)))
    attrs = described["columns"][0]["attrs"]
    return data.assign_coords(time=(dims[-1], table["time"].to_numpy(), attrs))


@pytest.mark.parametrize("lazy", [False, True])
@pytest.mark.parametrize("dtype", ["f8", "f4", "u2", "i8", "bool"])
def test_every_number_comes_back(tmp_path, dtype, lazy):
    data = traces(dtype=dtype)
    path = to_csv(data.chunk({"neuron": 2, "time": 7}) if lazy else data, tmp_path / "a.csv")
    found = back(path, ("neuron", "time"), dtype)
    xr.testing.assert_identical(found, data)
    assert found.dtype == data.dtype


def test_pandas_reads_it_at_once(tmp_path):
    data = traces(names=["a", "b", "c"])
    data[1, 4] = np.nan
    data[2, 5] = -np.inf
    table = pd.read_csv(to_csv(data, tmp_path / "a.csv"))
    assert list(table.columns) == ["time", "a", "b", "c"]
    np.testing.assert_array_equal(table["b"], data.sel(neuron="b"))
    np.testing.assert_array_equal(table["c"], data.sel(neuron="c"))
    np.testing.assert_array_equal(table["time"], data.time)


def test_events_are_zeros_and_ones(tmp_path):
    path = to_csv(traces(dtype="bool"), tmp_path / "a.csv")
    assert set(path.read_text().split("\n", 1)[1].replace("\n", ",").split(",")[1:4]) == {"1"}
    assert set(pd.read_csv(path)["0"]) <= {0, 1}


def test_one_trace_voltage_and_unnamed_neurons(tmp_path):
    data = traces()
    one = pd.read_csv(to_csv(data[0], tmp_path / "one.csv"))
    np.testing.assert_array_equal(one["dfof"], data[0])
    unnamed = pd.read_csv(to_csv(data.drop_vars("neuron"), tmp_path / "unnamed.csv"))
    assert list(unnamed.columns) == ["time", "0", "1", "2"]
    voltage = data.rename(neuron="signal").assign_coords(signal=["LFP", "lick, left", 'say "x"'])
    path = to_csv(voltage, tmp_path / "v.csv")
    assert list(pd.read_csv(path).columns) == ["time", "LFP", "lick, left", 'say "x"']
    assert [column.get("label") for column in side(path)["columns"]][2] == "lick, left"


def test_the_order_of_dimensions_does_not_matter(tmp_path):
    first, second = (tmp_path / name for name in ("a.csv", "b.csv"))
    to_csv(traces(), first)
    to_csv(traces().transpose("time", "neuron"), second)
    assert first.read_bytes() == second.read_bytes()


def test_names_that_spreadsheets_would_run(tmp_path):
    names = ["=1+1", "@SUM(A1)", "-5", "+cmd|' /C calc'!A0", "\tx"]
    with pytest.warns(CalscipyWarning, match="4 column names start with"):
        path = to_csv(traces(neurons=5, names=names), tmp_path / "a.csv")
    shown = list(pd.read_csv(path).columns)[1:]
    assert shown == ["'=1+1", "'@SUM(A1)", "-5", "'+cmd|' /C calc'!A0", "'\tx"]
    assert [column["label"] for column in side(path)["columns"][1:]] == names


def test_columns_of_the_same_name_are_refused(tmp_path):
    for names in (["a", "b", "a"], ["a", "time", "b"], [1, 2, 1]):
        with pytest.raises(ArgumentError, match="several columns would be called"):
            to_csv(traces(names=names), tmp_path / "a.csv")
    assert list(tmp_path.iterdir()) == []


def test_event_tables(tmp_path):
    f = np.array([[1.0, 1, 5, 4, 2, 1], [2.0, 2, 2, 2, 9, 1]])
    data = cs.from_numpy(f, frame_rate=10, units="1").assign_coords(
        neuron=["=a", "b,c"], channel="Ch2"
    )
    raster = data.copy(data=[np.arange(6) == 1, np.arange(6) == 3])
    table = cs.event_table(data, raster)
    with pytest.warns(CalscipyWarning, match="1 texts of 'neuron'"):
        path = to_csv(table, tmp_path / "events.csv")
    found = pd.read_csv(path)
    assert list(found["neuron"]) == ["'=a", "b,c"]
    for name in table.data_vars:
        np.testing.assert_array_equal(found[name], table[name])
    described = side(path)
    units = {column["label"]: column["attrs"].get("units") for column in described["columns"]}
    assert units["onset"] == "s"
    labels = read_labels(json.dumps(described["labels"]), path)
    assert labels.attrs["history"] == table.attrs["history"]
    assert labels.coords["channel"].item() == "Ch2"


def test_tables_with_flags_texts_and_objects(tmp_path):
    table = xr.Dataset(
        {
            "onset": ("stimulus", [1.5, np.nan]),
            "is_spiral": ("stimulus", [True, False]),
            "points": ("stimulus", np.array(["Group 1", ""], dtype=object)),
        }
    )
    found = pd.read_csv(to_csv(table, tmp_path / "a.csv"), keep_default_na=False)
    assert found["is_spiral"].tolist() == [True, False]
    assert found["points"].tolist() == ["Group 1", ""]
    when = table.assign(when=("stimulus", np.array(["2020-01-01", "2020-01-02"], "M8[ns]")))
    with pytest.raises(ArgumentError, match=r"columns when hold neither"):
        to_csv(when, tmp_path / "b.csv")


def test_other_arrays_are_refused(tmp_path):
    movie = cs.from_numpy(np.zeros((2, 3, 4)), frame_rate=1)
    trials = traces().expand_dims(trial=2)
    for data in (movie, movie[:, 0], trials, trials.to_dataset(name="a")):
        with pytest.raises(DimensionError, match="to_csv writes"):
            to_csv(data, tmp_path / "a.csv")
    with pytest.raises(ArgumentError, match="complex128"):
        to_csv(traces() * 1j, tmp_path / "a.csv")
    with pytest.raises(TimeAxisError):
        to_csv(traces().drop_vars("time"), tmp_path / "a.csv")
    with pytest.raises(ArgumentError, match=r"ends in \.csv"):
        to_csv(traces(), tmp_path / "a.txt")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["a.csv", "a.json"])
def test_neither_file_is_written_over(tmp_path, name):
    (tmp_path / name).write_text("mine")
    with pytest.raises(TargetExistsError, match=name):
        to_csv(traces(), tmp_path / "a.csv")
    assert [path.read_text() for path in tmp_path.iterdir()] == ["mine"]


def test_a_failure_leaves_nothing(tmp_path):
    def fail(block):
        raise OSError(28, "No space left on device")

    lazy = traces().chunk({"time": 10})
    lazy = lazy.copy(data=lazy.data.map_blocks(fail, meta=np.empty((0, 0))))
    with pytest.raises(StoreError, match="the disk is full"):
        to_csv(lazy, tmp_path / "a.csv")
    assert list(tmp_path.iterdir()) == []


def test_a_disk_that_fills_up_at_the_end_leaves_nothing(tmp_path, monkeypatch):
    def fsync(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(output.os, "fsync", fsync)
    with pytest.raises(StoreError, match="the disk is full"):
        to_csv(traces(), tmp_path / "a.csv")
    assert list(tmp_path.iterdir()) == []


def test_what_memory_cannot_hold_is_computed_once_through_a_file(tmp_path, monkeypatch):
    calls = []

    def counted(block, block_info=None):
        calls.append(block_info[0]["chunk-location"])
        return block

    monkeypatch.setattr(csv, "_NUMBERS", 40)
    data = traces(neurons=4, samples=101)
    lazy = da.from_array(data.values, chunks=(2, 30)).map_blocks(counted, dtype="f8")
    with set_options(memory_limit=1000):
        path = to_csv(data.copy(data=lazy), tmp_path / "a.csv")
    assert len(calls) == len(set(calls)) == 8
    np.testing.assert_array_equal(pd.read_csv(path).iloc[:, 1:].to_numpy().T, data)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.csv", "a.json"]


def test_no_neuron_at_all(tmp_path):
    table = pd.read_csv(to_csv(traces()[:0], tmp_path / "a.csv"))
    assert list(table.columns) == ["time"]
    assert len(table) == 50
