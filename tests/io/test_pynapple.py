"""Objects of pynapple hold the same numbers, times and neurons."""

import warnings

import dask.array as da
import numpy as np
import pytest
import xarray as xr

import calscipy as cs
from calscipy.errors import CalscipyWarning, DimensionError, TimeAxisError
from calscipy.io import optional
from calscipy.io.pynapple import to_pynapple
from calscipy.testing import write_variant

nap = pytest.importorskip("pynapple")
TIMES = np.cumsum(np.random.default_rng(0).uniform(0.02, 0.04, 60))


def traces(neurons=3, names=None, dtype="f8", pause=20):
    values = np.random.default_rng(1).standard_normal((neurons, 60))
    times = TIMES + (np.arange(60) >= pause) * 5.0
    return xr.DataArray(
        values.astype(dtype) if dtype != "bool" else values > 1.2,
        {
            "neuron": list(range(neurons)) if names is None else names,
            "plane": ("neuron", np.arange(neurons) * 10),
            "rate": ("neuron", np.arange(neurons) * 0.5),
            "roi name": ("neuron", [f"n{at}" for at in range(neurons)]),
            "time": ("time", times, {"units": "s"}),
            "epoch": ("time", (np.arange(60) >= pause).astype(int)),
            "channel": "Ch2",
        },
        ("neuron", "time"),
        name="traces",
    )


def quiet(data):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        return to_pynapple(data)


@pytest.mark.parametrize("lazy", [False, True])
@pytest.mark.parametrize("names", [None, ["a", "b", "c"], [7, 3, 5]])
def test_traces(names, lazy):
    data = traces(names=names)
    frame = quiet(data.chunk({"time": 7}) if lazy else data)
    assert isinstance(frame, nap.TsdFrame)
    np.testing.assert_array_equal(frame.values, data.T)
    np.testing.assert_array_equal(frame.t, data.time)
    assert list(frame.columns) == data.neuron.values.tolist()
    for name in ("plane", "rate", "roi name"):
        assert list(frame.get_info(name)) == data[name].values.tolist()


def test_the_time_support_is_the_epochs():
    data = traces()
    support = quiet(data).time_support
    times = data.time.values
    np.testing.assert_array_equal(support.start, times[[0, 20]])
    np.testing.assert_array_equal(support.end, times[[19, 59]])


def test_one_trace():
    data = traces()[1]
    one = quiet(data)
    assert isinstance(one, nap.Tsd)
    np.testing.assert_array_equal(one.values, data)
    np.testing.assert_array_equal(one.t, data.time)


@pytest.mark.parametrize("names", [None, [7, 3, 5], ["b", "a", "c"]])
def test_events(names):
    data = traces(names=names, dtype="bool")
    group = quiet(data)
    assert isinstance(group, nap.TsGroup)
    labels = data.neuron.values.tolist()
    keys = labels if names is None or isinstance(names[0], int) else list(range(3))
    for at, key in enumerate(keys):
        np.testing.assert_array_equal(group[key].t, data.time.values[data.values[at]])
        assert group.get_info("plane")[key] == at * 10
        assert group.get_info("roi name")[key] == f"n{at}"
        assert group.get_info("rate_")[key] == at * 0.5
        if names and isinstance(names[0], str):
            assert group.get_info("neuron")[key] == names[at]
    np.testing.assert_array_equal(group.time_support.start, data.time.values[[0, 20]])


def test_events_of_one_neuron_and_none():
    data = traces(dtype="bool")
    one = quiet(data[0])
    assert isinstance(one, nap.Ts)
    np.testing.assert_array_equal(one.t, data.time.values[data.values[0]])
    none = quiet(data & False)
    assert [len(none[key]) for key in none.index] == [0, 0, 0]


def test_samples_without_epochs():
    data = traces().drop_vars("epoch")
    support = quiet(data).time_support
    assert (support.start[0], support.end[0]) == (data.time[0], data.time[-1])


def test_a_session(tmp_path):
    data = traces()
    two = xr.concat([data, data + 1], xr.Variable("channel", ["Red", "Green"]))
    session = cs.ImagingSession(xr.DataTree()).assign(
        traces=two.transpose("neuron", "channel", "time")
    )
    tree = session.tree.copy()
    stimulus = xr.Dataset({"onset": ("stimulus", [2.0, np.nan, 1.0])})
    tree = xr.DataTree.from_dict({**tree.to_dict(), "/stimulus": stimulus})
    with pytest.warns(CalscipyWarning, match="1 of 3 stimuli are not known"):
        found = to_pynapple(cs.ImagingSession(tree))
    assert set(found) == {"traces_Red", "traces_Green", "stimulus", "epochs"}
    np.testing.assert_array_equal(found["traces_Green"].values, data.T + 1)
    assert found["stimulus"].t.tolist() == [1.0, 2.0]
    assert isinstance(found["epochs"], nap.IntervalSet)
    np.testing.assert_array_equal(found["epochs"].start, data.time.values[[0, 20]])


def test_voltage_of_a_session(tmp_path):
    variant = write_variant(tmp_path / "r", "voltage recording alone")
    session = cs.ImagingSession.open(variant.path)
    found = to_pynapple(session)["voltage"]
    np.testing.assert_array_equal(found.values, session.voltage.T)
    assert list(found.columns) == session.voltage.signal.values.tolist()


def test_variables_of_a_session_are_computed_in_one_graph():
    calls = []

    def read(block, block_info=None):
        calls.append(block_info[0]["chunk-location"])
        return block

    source = da.ones((3, 60), chunks=(3, 20)).map_blocks(read, dtype="f8")
    raw = traces().copy(data=source)
    session = cs.ImagingSession(xr.DataTree()).assign(traces=raw, doubled=raw * 2)
    found = to_pynapple(session)
    assert len(calls) == 3
    assert (found["doubled"].values == 2).all()


def test_other_arrays_are_refused():
    movie = cs.from_numpy(np.zeros((4, 2, 3)), frame_rate=1)
    two = traces().expand_dims(channel=["a", "b"])
    for data in (movie, two, traces() * 1j):
        with pytest.raises(DimensionError, match="to_pynapple needs"):
            to_pynapple(data)


def test_times_that_pynapple_would_sort_are_refused():
    data = traces()
    with pytest.raises(TimeAxisError, match="increasing"):
        to_pynapple(data.isel(time=[0, 2, 1]))
    with pytest.raises(TimeAxisError, match="in seconds"):
        to_pynapple(data.drop_vars("time"))


def test_epochs_of_one_sample_never_lose_it():
    with (
        pytest.warns(UserWarning, match="no duration"),
        pytest.raises(TimeAxisError, match="kept 59 of 60"),
    ):
        to_pynapple(traces(pause=1))


def test_a_missing_package_is_named(monkeypatch):
    def missing(name):
        raise ImportError(name)

    monkeypatch.setattr(optional.importlib, "import_module", missing)
    with pytest.raises(optional.MissingPackageError, match=r'pip install "pynapple>=[\d.]+"'):
        to_pynapple(traces())
