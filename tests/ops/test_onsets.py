"""When pulses begin: known ones, noise, chunks, epochs, and trials made of them."""

import importlib

import dask
import dask.array as da
import numpy as np
import pytest
import xarray as xr

import calscipy as cs
from calscipy.errors import ArgumentError, DimensionError
from calscipy.ops.onsets import onsets
from calscipy.ops.trials import to_trials

module = importlib.import_module("calscipy.ops.onsets")  # calscipy.ops has the function

RATE = 1000


@pytest.fixture(autouse=True, scope="module")
def one_thread():
    """Threads cost more than these small arrays."""
    with dask.config.set(scheduler="sync"):
        yield


def voltage(begins, length=0.1, noise=0.0, duration=5.0):
    """Pulses of 5 V on the first signal, nothing on the second one."""
    times = np.arange(round(duration * RATE)) / RATE
    high = np.zeros(times.shape, bool)
    for begin in begins:
        high |= (times >= begin - 1e-9) & (times < begin + length - 1e-9)
    values = np.stack([5.0 * high, 0.0 * times])
    values += np.random.default_rng(0).normal(0, noise, values.shape)
    return xr.DataArray(
        values,
        {"signal": ["TTL", "other"], "time": ("time", times, {"units": "s"}), "cycle": 1},
        ("signal", "time"),
        "voltage",
        {"units": "V"},
    )


def test_pulses_are_found_where_they_are():
    begins = [0.5, 1.25, 3.0]
    data = voltage(begins)
    found = onsets(data, threshold=2.5, signal="TTL")
    np.testing.assert_allclose(found, begins)
    assert found.dims == ("event",)
    assert (found.attrs["units"], found.attrs["long_name"]) == ("s", "onsets of TTL")
    assert found.signal.item() == "TTL"
    assert '"threshold": 2.5' in found.attrs["history"]
    falling = onsets(data, threshold=2.5, signal="TTL", edge="falling")
    np.testing.assert_allclose(falling, np.add(begins, 0.1))
    both = onsets(data, threshold=2.5, signal="TTL", edge="both")
    assert both.edge.values.tolist() == ["rising", "falling"] * 3
    np.testing.assert_allclose(both[both.edge == "rising"], begins)


def test_noise_at_an_edge_is_one_onset_with_hysteresis():
    """A slow edge with noise crosses the threshold many times."""
    times = np.arange(3900) / RATE
    slow = 2.5 + 2.5 * np.sin(2 * np.pi * times)  # rises through 2.5 V at 0, 1, 2 and 3 s
    noisy = slow + np.random.default_rng(0).normal(0, 0.2, 3900)
    data = cs.from_numpy(noisy, dims=("time",), frame_rate=RATE)
    assert onsets(data, threshold=2.5).size > 10
    found = onsets(data, threshold=2.5, hysteresis=1.0)
    np.testing.assert_allclose(found[-3:], [1, 2, 3], atol=0.05)
    assert 3 <= found.size <= 4
    both = onsets(data, threshold=2.5, hysteresis=1.0, edge="both")
    assert (both.edge.values[:-1] != both.edge.values[1:]).all()
    spaced = onsets(data, threshold=2.5, minimum_interval=0.8)
    np.testing.assert_allclose(spaced[-3:], [1, 2, 3], atol=0.05)


def test_interpolation_is_within_half_a_sample():
    begins = np.random.default_rng(0).uniform(0.1, 0.9, 20) / RATE + np.arange(20) / 5
    data = voltage(begins)
    found = onsets(data, threshold=2.5, signal="TTL", interpolate=True)
    assert np.abs(found - begins).max() <= 0.5 / RATE + 1e-9
    late = onsets(data, threshold=2.5, signal="TTL") - begins
    assert 0 <= late.min() <= late.max() <= 1 / RATE + 1e-9


def test_lazy_data_are_computed_piece_by_piece(monkeypatch):
    data = voltage(np.arange(0.3, 4.5, 0.4), noise=0.3)
    arguments = {"threshold": 2.5, "signal": "TTL", "edge": "both", "interpolate": True}
    expected = onsets(data, hysteresis=1, **arguments)
    monkeypatch.setattr(module, "_PIECE", 512)
    largest = []

    def block(values):
        largest.append(values.shape)
        return values

    for chunks in ((2, 700), (1, 5000), (2, 37)):
        lazy = da.from_array(data.values, chunks=chunks)
        lazy = lazy.map_blocks(block, dtype=float, meta=np.empty((0, 0)))
        found = onsets(data.copy(data=lazy), hysteresis=1, **arguments)
        xr.testing.assert_identical(found.drop_attrs(), expected.drop_attrs())
    assert max(size for _, size in largest[:8]) == 700
    xr.testing.assert_identical(
        onsets(data, hysteresis=1, **arguments).drop_attrs(), expected.drop_attrs()
    )


def test_an_epoch_that_begins_high_has_no_onset_there():
    data = voltage([0.0, 1.0], length=0.5).assign_coords(
        epoch=("time", np.repeat([1, 2, 3], [1200, 100, 3700]))
    )
    np.testing.assert_allclose(onsets(data, threshold=1, signal="TTL"), [1.0])


def test_trials_begin_at_onsets():
    traces = cs.from_numpy(np.arange(150.0)[None], frame_rate=30)
    starts = onsets(voltage([1.0, 2.0]), threshold=2.5, signal="TTL", edge="both")
    trials = to_trials(traces, starts=starts, window=(0.1, 0.2))
    assert trials.sizes["trial"] == 4
    assert trials.edge.values.tolist() == ["rising", "falling"] * 2
    np.testing.assert_array_equal(trials.sel(time=0)[:, 0], [30, 33, 60, 63])


def test_no_pulse_is_no_onset():
    found = onsets(voltage([1.0]), threshold=2.5, signal="other", edge="both")
    assert found.shape == (0,)
    assert found.edge.shape == (0,)


def test_booleans_and_single_signals():
    one = voltage([1.0]).sel(signal="TTL")
    assert onsets(one > 2, threshold=0.5).values.tolist() == [1.0]
    assert onsets(one, threshold=2, signal="TTL").values.tolist() == [1.0]
    assert onsets(voltage([1.0]).isel(signal=[0]), threshold=2).values.tolist() == [1.0]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({}, "one of TTL, other, got None"),
        ({"signal": "tTL"}, "one of TTL, other, got 'tTL'"),
        ({"signal": "TTL", "edge": "up"}, "must be one of"),
        ({"signal": "TTL", "threshold": None}, "threshold as a number"),
        ({"signal": "TTL", "threshold": np.nan}, "threshold as a number"),
        ({"signal": "TTL", "hysteresis": -1}, "hysteresis as a number from 0"),
        ({"signal": "TTL", "minimum_interval": np.inf}, "minimum_interval as a number"),
    ],
)
def test_arguments_are_checked(arguments, words):
    with pytest.raises(ArgumentError, match=words):
        onsets(voltage([1.0]), **({"threshold": 2.5} | arguments))


def test_other_arrays_are_refused():
    with pytest.raises(ArgumentError, match=r"data.isel\(neuron=0\)"):
        onsets(cs.from_numpy(np.zeros((2, 5)), frame_rate=1), threshold=1)
    with pytest.raises(DimensionError, match="'time'"):
        onsets(xr.DataArray(np.zeros(3), dims="x"), threshold=1)
    with pytest.raises(ArgumentError, match="no signal 'x'"):
        onsets(voltage([1.0]).sel(signal="TTL"), threshold=1, signal="x")
