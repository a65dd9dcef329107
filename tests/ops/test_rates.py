"""Firing rates, normalised traces and the two ways to write a decay."""

import dask
import dask.array as da
import numpy as np
import pytest
import xarray as xr

import calscipy as cs
from calscipy.errors import ArgumentError, DimensionError, TimeAxisError
from calscipy.ops.rates import convert_tau, firing_rates, mean_rates, normalize


@pytest.fixture(autouse=True, scope="module")
def one_thread():
    with dask.config.set(scheduler="sync"):
        yield


def probabilities(dtype="f4", samples=40, rate=10.0, units="1"):
    """Row 1 has a gap, row 2 has nothing, row 3 is silent."""
    values = np.random.default_rng(0).poisson(2.0, (5, samples)).astype("f8")
    if np.dtype(dtype).kind == "f":
        values /= 4
        values[1, samples // 2] = np.nan
        values[2] = np.nan
    values[3] = 0
    data = cs.from_numpy(values.astype(dtype), frame_rate=rate, units=units)
    half = samples // 2
    epoch = np.repeat([1, 2], [half, samples - half])
    times = data.time.values + 7 * (epoch - 1)
    return data.assign_coords(time=times, epoch=("time", epoch), y=("neuron", np.arange(5.0)))


def lazy(data, **chunks):
    sizes = tuple(chunks.get(dim, size) for dim, size in data.sizes.items())
    return data.copy(data=da.from_array(data.values, chunks=sizes))


PLACES = [None, {"neuron": 2}, {"neuron": 3, "time": 16}]
everywhere = pytest.mark.parametrize("place", PLACES, ids=str)
every_dtype = pytest.mark.parametrize("dtype", ["f4", "f8", "u2"])


@everywhere
@every_dtype
@pytest.mark.parametrize("samples", [4, 8, 40])
def test_firing_rates(samples, dtype, place):
    data = probabilities(dtype, samples, rate=2.0)
    found = firing_rates(data if place is None else lazy(data, **place))
    assert (found.chunks is None) == (place is None)
    assert found.dtype == found.compute().dtype == ("f8" if dtype == "f8" else "f4")
    np.testing.assert_array_equal(found, 2.0 * data.values)
    assert found.coords.keys() == data.coords.keys()
    assert (found.name, found.attrs["units"]) == ("rates", "Hz")
    assert found.attrs["long_name"] == "firing rate"
    xr.testing.assert_equal(firing_rates(probabilities=data), found)


@everywhere
def test_negative_probabilities_are_refused_when_computed(place):
    data = probabilities()
    data[4, 3] = -0.01
    with pytest.raises(ArgumentError, match=r"firing_rates: neurons? 4 have negative values.*clip"):
        firing_rates(data if place is None else lazy(data, **place)).compute()


def test_what_is_no_number_of_spikes():
    with pytest.raises(ArgumentError, match="numbers of spikes in each frame, got units='Hz'"):
        firing_rates(firing_rates(probabilities()))
    with pytest.raises(TimeAxisError, match="at least two samples"):
        firing_rates(probabilities().isel(time=[0]))
    with pytest.raises(DimensionError):
        firing_rates(probabilities()[0, 0])
    assert firing_rates(probabilities(units="count")).attrs["units"] == "Hz"


@everywhere
@every_dtype
def test_mean_rates(dtype, place):
    rates = firing_rates(probabilities(dtype))
    found = mean_rates(rates if place is None else lazy(rates, **place))
    assert found.dtype == found.compute().dtype == ("f8" if dtype == "f8" else "f4")
    assert found.dims == ("neuron",)
    assert set(found.coords) == {"neuron", "y"}
    assert (found.name, found.attrs["units"]) == ("mean_rates", "Hz")
    values = rates.values.astype("f8")
    expected = [np.nan if np.isnan(row).all() else np.nanmean(row) for row in values]
    np.testing.assert_allclose(found, expected, rtol=1e-6)
    np.testing.assert_array_equal(found, mean_rates(rates.T))
    np.testing.assert_array_equal(mean_rates(rates.isel(time=[1])), rates[:, 1])


def test_mean_rates_of_what_are_no_rates():
    with pytest.raises(ArgumentError, match=r"rates in Hz, got units='1'.*firing_rates"):
        mean_rates(probabilities())
    with pytest.raises(DimensionError):
        mean_rates(mean_rates(firing_rates(probabilities())))


@everywhere
@every_dtype
def test_normalize(dtype, place):
    data = probabilities(dtype, units="Hz")
    found = normalize(data if place is None else lazy(data, **place))
    assert found.dtype == found.compute().dtype == ("f8" if dtype == "f8" else "f4")
    for row in (0, 1, 4):
        expected = data.values[row] / np.nanmax(data.values[row])
        np.testing.assert_allclose(found[row], expected, rtol=1e-6)
    assert np.isnan(found[2]).all() if dtype != "u2" else found[2].max() == 1
    assert (found[3] == 0).all()
    assert found.attrs["units"] == "1"
    assert found.attrs["long_name"] == "fluorescence, over the neuron's maximum"
    np.testing.assert_array_equal(normalize(data.T).T, found)
    one = normalize(data.isel(time=[0]))
    assert set(np.unique(one.values[~np.isnan(one)])) <= {0.0, 1.0}


def test_normalize_clips_what_is_below_zero():
    data = probabilities() - 0.5
    found = normalize(data)
    assert found.min() == 0
    np.testing.assert_array_equal(np.isnan(found), np.isnan(data))
    assert (found.max("time")[[0, 1, 4]] == 1).all()
    assert (found[3] == 0).all()


def test_nothing_is_computed_while_building():
    def refuse(*args, **kwargs):
        raise AssertionError("building the graph computed something")

    data = lazy(probabilities(), neuron=2, time=9)
    with dask.config.set(scheduler=refuse):
        rates = firing_rates(data)
        assert mean_rates(rates).chunks is not None
        assert normalize(rates).chunks is not None


# -- convert_tau ---------------------------------------------------------------------------


def test_kinds_of_tau():
    assert isinstance(convert_tau(tau=0.5, frame_rate=30), float)
    assert convert_tau(tau=0.5, frame_rate=30) == pytest.approx(np.exp(-1 / 15))
    assert isinstance(convert_tau(decay_factor=np.float32(0.9), frame_rate=30), float)
    assert convert_tau(decay_factor=0.9, frame_rate=10) == pytest.approx(-0.1 / np.log(0.9))
    found = convert_tau(tau=[0.1, 0.2], frame_rate=np.array([10.0, 30.0]))
    np.testing.assert_allclose(found, np.exp([-1, -1 / 6]))
    labelled = xr.DataArray([0.5, np.inf], {"neuron": [3, 4]}, "neuron", attrs={"units": "s"})
    factor = convert_tau(tau=labelled, frame_rate=30)
    assert factor.neuron.values.tolist() == [3, 4]
    assert factor.attrs["units"] == "1"
    back = convert_tau(decay_factor=factor, frame_rate=30)
    np.testing.assert_allclose(back, labelled)
    assert back.attrs == {"units": "s", "long_name": "time constant of the decay"}
    assert labelled.attrs == {"units": "s"}


def test_factors_that_do_not_decay():
    found = convert_tau(decay_factor=np.array([-1.0, 0.0, 1.0, 2.0]), frame_rate=30)
    np.testing.assert_array_equal(found, [np.nan, np.nan, np.inf, np.inf])
    assert convert_tau(decay_factor=1.0, frame_rate=30) == np.inf
    assert np.isnan(convert_tau(decay_factor=-0.5, frame_rate=30))


def test_errors_of_tau():
    for both in ({}, {"tau": 1.0, "decay_factor": 0.9}):
        with pytest.raises(ArgumentError, match=r"either .* got (neither|both)"):
            convert_tau(**both, frame_rate=30)
    for tau in (0, -1.0, [0.5, 0.0]):
        with pytest.raises(ArgumentError, match="tau > 0 in s"):
            convert_tau(tau=tau, frame_rate=30)
    for rate in (0, -1, np.nan, np.inf):
        with pytest.raises(ArgumentError, match="frame_rate > 0"):
            convert_tau(tau=1.0, frame_rate=rate)
    with pytest.raises(ArgumentError, match="tau as a number"):
        convert_tau(tau="fast", frame_rate=30)


def test_labels_of_tau_and_of_frame_rates():
    tau = xr.DataArray([0.5, 0.7], {"neuron": [3, 4]}, "neuron")
    rates = xr.DataArray([10.0, 30.0, 60.0], {"recording": list("abc")}, "recording")
    factor = convert_tau(tau=tau.chunk(), frame_rate=rates)
    assert factor.dims == ("neuron", "recording")
    np.testing.assert_allclose(factor, np.exp(-1 / np.outer(tau, rates)))
    assert convert_tau(tau=0.5, frame_rate=rates).recording.values.tolist() == ["a", "b", "c"]
