"""Noise and quality of traces."""

import dask
import dask.array as da
import numpy as np
import pytest
import xarray as xr

import calscipy as cs
from calscipy.errors import ArgumentError, DimensionError, TimeAxisError
from calscipy.kernels import noise as kernels
from calscipy.ops.noise import noise
from calscipy.testing import synthetic_traces

METHODS = ("standardized", "differences", "spectrum")


@pytest.fixture(autouse=True, scope="module")
def one_thread():
    with dask.config.set(scheduler="sync"):
        yield


def traces(dtype="f4", samples=200, rate=10.0, units="1"):
    """Row 1 has gaps, row 2 has nothing, row 3 is constant."""
    rng = np.random.default_rng(0)
    values = rng.normal(1000, 20, (5, samples))
    if np.dtype(dtype).kind == "f":
        values[1, samples // 3 : samples // 2] = np.nan
        values[2] = np.nan
    values[3] = 7
    data = cs.from_numpy(values.astype(dtype), frame_rate=rate, units=units)
    return data.assign_coords(y=("neuron", np.arange(5.0)), mouse="m12")


def lazy(data, **chunks):
    sizes = tuple(chunks.get(dim, size) for dim, size in data.sizes.items())
    return data.copy(data=da.from_array(data.values, chunks=sizes))


def placed(data, place):
    return data if place is None else lazy(data, **place)


PLACES = [None, {"neuron": 2}, {"neuron": 3, "time": 16}]


@pytest.mark.parametrize("place", PLACES, ids=str)
@pytest.mark.parametrize("dtype", ["f4", "f8", "u2"])
@pytest.mark.parametrize("method", METHODS)
def test_is_that_of_the_kernel(method, dtype, place):
    data = traces(dtype)
    kernel, extra = {
        "standardized": (kernels.standardized_noise, {"frame_rate": 10.0}),
        "differences": (kernels.noise_sigma, {}),
        "spectrum": (kernels.spectral_sigma, {}),
    }[method]
    found = noise(placed(data, place), method=method)
    assert (found.chunks is not None) == (place is not None)
    assert found.dtype == found.compute().dtype == ("f8" if dtype == "f8" else "f4")
    np.testing.assert_allclose(found, kernel(data.values, **extra), rtol=1e-12)
    assert found.dims == ("neuron",)
    assert set(found.coords) == {"neuron", "y", "mouse"}
    if dtype != "u2":
        assert np.isfinite(found[[0, 1, 3, 4]]).all()
        assert np.isnan(found[2])
    assert found[3] == 0


@pytest.mark.parametrize("place", PLACES, ids=str)
@pytest.mark.parametrize("samples", [2, 8])
@pytest.mark.parametrize("method", METHODS)
def test_short_and_slow(method, samples, place):
    found = noise(placed(traces(samples=samples, rate=2.0), place), method=method)
    known = samples == 8 and method != "spectrum"
    assert np.isfinite(found[[0, 1, 3, 4]]).all() if known else np.isnan(found).all()


def test_one_sample():
    one = traces(samples=1)
    for method in METHODS[1:]:
        assert np.isnan(noise(one, method=method)).all()
    with pytest.raises(TimeAxisError, match="at least two samples"):
        noise(one)


@pytest.mark.parametrize("method", METHODS)
def test_epochs_are_apart(method):
    data = traces(samples=600).assign_coords(epoch=("time", np.repeat([1, 2, 3], 200)))
    later = data.time.values + np.repeat([0.0, 50.0, 90.0], 200)
    data = data.assign_coords(time=later)
    jumps = data + xr.DataArray(np.repeat([0.0, 1e4, -1e4], 200), dims="time")
    jumps.attrs = data.attrs
    found = noise(jumps, method=method)
    np.testing.assert_allclose(found[[0, 4]], noise(data, method=method)[[0, 4]], rtol=1e-4)
    with pytest.raises(TimeAxisError):
        noise(data.drop_vars("epoch"), method=method)


def test_words():
    data = traces(units="mV")
    for method, name in (("differences", "from differences"), ("spectrum", "from the spectrum")):
        found = noise(data, method=method)
        assert found.attrs["units"] == "mV"
        assert found.attrs["long_name"] == f"noise {name}"
        assert found.name == "noise"
    found = noise(traces())
    assert found.attrs["units"] == "percent Hz^-0.5"
    assert found.attrs["long_name"] == "standardised noise"
    assert 'noise {"method": "standardized"}' in found.attrs["history"]


def test_what_is_no_ratio_is_refused():
    for wrong in (traces(units="count"), traces().drop_attrs()):
        with pytest.raises(ArgumentError, match=r"ΔF/F₀ as a fraction.*Apply dfof first.*differen"):
            noise(wrong)
    with pytest.raises(ArgumentError, match=r"must be one of \('standardized'"):
        noise(traces(), method="sigma")
    with pytest.raises(DimensionError, match="noise needs the dimensions"):
        noise(cs.from_numpy(np.zeros((9, 4, 4)), frame_rate=3, units="1"))
    with pytest.raises(ArgumentError, match="needs numbers"):
        noise(traces() > 3, method="differences")


def test_more_dimensions_in_any_order_and_one_trace():
    data = xr.concat([traces(), 2 * traces().assign_attrs()], "channel", combine_attrs="override")
    found = noise(data)
    assert found.dims == ("channel", "neuron")
    np.testing.assert_allclose(found[1], 2 * found[0], rtol=1e-5)
    for order in (("time", "neuron", "channel"), ("neuron", "time", "channel")):
        for turned in (data.transpose(*order), lazy(data.transpose(*order), neuron=3, time=7)):
            np.testing.assert_array_equal(noise(turned).transpose(*found.dims), found)
    np.testing.assert_array_equal(noise(data.isel(channel=1, neuron=4)), found[1, 4])
    assert noise(lazy(data).isel(channel=1, neuron=4)).compute() == found[1, 4]
    assert noise(data.isel(neuron=[])).shape == (2, 0)


def test_nothing_is_computed_while_building_and_nothing_changes():
    def refuse(*args, **kwargs):
        raise AssertionError("building the graph computed something")

    data = traces()
    before = data.copy(deep=True)
    data.values.setflags(write=False)
    with dask.config.set(scheduler=refuse):
        built = [noise(lazy(data, neuron=2, time=7), method=method) for method in METHODS]
        with pytest.raises(AssertionError):
            built[0].compute()
    for method, result in zip(METHODS, built, strict=True):
        np.testing.assert_array_equal(result, noise(data, method=method))
        assert result.data.name == noise(lazy(data, neuron=2, time=7), method=method).data.name
    assert len({result.data.name for result in built}) == 3
    xr.testing.assert_identical(data, before)


def test_does_not_depend_on_the_frame_rate_at_equal_light():
    """Half as many frames, each with twice the light: σ falls by sqrt(2), the noise stays."""
    fast = synthetic_traces(4, 200.0, 40.0, event_rate=0.0).dfof
    white = fast + np.random.default_rng(0).normal(0, 0.1, fast.shape)
    white = white.assign_attrs(units="1")
    slow = white.coarsen(time=2).mean().assign_attrs(units="1")
    assert noise(slow).mean().item() == pytest.approx(noise(white).mean().item(), rel=0.03)
