"""The table of the quality of traces."""

import dask
import dask.array as da
import numpy as np
import pytest
import xarray as xr

import calscipy as cs
from calscipy.errors import ArgumentError, DimensionError, TimeAxisError
from calscipy.ops.noise import noise
from calscipy.ops.quality import quality
from calscipy.testing import synthetic_traces

ALWAYS = {"noise", "noise_spectrum", "snr", "skewness", "drift", "missing"}


@pytest.fixture(autouse=True, scope="module")
def one_thread():
    with dask.config.set(scheduler="sync"):
        yield


@pytest.fixture(scope="module")
def truth():
    return synthetic_traces(4, 120.0, 10.0, snr=5.0, event_rate=0.1, bleaching=0.5, seed=3)


def chunked(data):
    return data.copy(data=da.from_array(data.values, chunks=(3, 500)))


def test_variables_and_words(truth):
    table = quality(truth.traces, truth.events, saturation=700)
    assert set(table.data_vars) == ALWAYS | {"event_rate", "saturated"}
    units = {name: array.attrs["units"] for name, array in table.data_vars.items()}
    assert units == {
        **dict.fromkeys(("noise", "noise_spectrum", "drift"), "count"),
        **dict.fromkeys(("snr", "skewness", "saturated", "missing"), "1"),
        "event_rate": "Hz",
    }
    for array in table.data_vars.values():
        assert array.dims == ("neuron",)
        assert array.dtype == np.float32
        assert array.attrs["long_name"]
        assert 'quality {"events": {"array": "events"' in array.attrs["history"]
    assert "units" not in table.attrs
    assert set(table.coords) == {"neuron"}


def test_against_truth(truth):
    f = truth.traces
    table = quality(f, truth.events, saturation=700)
    sigma = truth.sigma.values
    np.testing.assert_allclose(table.noise, sigma, rtol=0.15)  # 1200 samples, activity
    np.testing.assert_array_equal(table.noise, noise(f, method="differences"))
    np.testing.assert_array_equal(table.noise_spectrum, noise(f, method="spectrum"))
    np.testing.assert_allclose(table.event_rate, truth.events.sum("time") / 120.0, rtol=1e-6)
    np.testing.assert_allclose(table.saturated, (f >= 700).mean("time"), rtol=1e-6)
    height = f.quantile(0.99, "time") - f.median("time")
    np.testing.assert_allclose(table.snr, height / table.noise, rtol=1e-5)
    assert (table.missing == 0).all()
    assert (table.snr > 2.5).all()
    pieces = [f.isel(time=slice(at, at + 300)).median("time") for at in range(0, 1200, 300)]
    expected = np.ptp(np.stack(pieces), axis=0)
    np.testing.assert_allclose(table.drift, expected, rtol=1e-5)
    assert (table.drift > 50).all()  # 500 counts lose 22 % in two minutes


def test_ratios_have_standardized_noise(truth):
    ratio = truth.dfof + 0.1 * np.random.default_rng(0).normal(size=truth.dfof.shape)
    ratio = ratio.assign_attrs(units="1")
    table = quality(ratio)
    assert set(table.data_vars) == ALWAYS | {"noise_standardized"}
    np.testing.assert_array_equal(table.noise_standardized, noise(ratio))
    assert table.noise_standardized.attrs["units"] == "percent Hz^-0.5"


def test_pure_noise_has_the_figures_that_are_said():
    silent = synthetic_traces(6, 600.0, 10.0, event_rate=0.0).traces
    table = quality(silent)
    assert table.snr.mean().item() == pytest.approx(2.33, rel=0.03)
    assert abs(table.skewness.mean().item()) < 0.05
    assert (table.drift < 0.6 * table.noise).all()


@pytest.mark.parametrize("dtype", ["f4", "f8", "u2"])
def test_numpy_and_dask_agree_and_nothing_is_computed(truth, dtype):
    def refuse(*args, **kwargs):
        raise AssertionError("building the graph computed something")

    data = truth.traces.astype(dtype)
    expected = quality(data, truth.events, saturation=600)
    with dask.config.set(scheduler=refuse):
        tables = [
            quality(chunked(data), truth.events, saturation=600),
            quality(data, chunked(truth.events), saturation=600).drop_vars(expected.data_vars),
            quality(chunked(data), chunked(truth.events), saturation=600),
        ]
    for table in (tables[0], tables[2]):
        assert all(array.chunks for array in table.data_vars.values())
        for name, array in table.compute().data_vars.items():
            np.testing.assert_array_equal(array, expected[name])
            assert array.dtype == table[name].dtype == ("f8" if dtype == "f8" else "f4")


def test_missing_samples_and_epochs(truth):
    f = truth.traces.copy(deep=True)
    f[0, 100:400] = np.nan
    f[1] = np.nan
    f[2] = 5
    f = f.assign_coords(epoch=("time", np.repeat([1, 2], 600)))
    table = quality(f, truth.events, saturation=700)
    np.testing.assert_allclose(table.missing, [0.25, 1, 0, 0])
    rest = table.drop_vars("missing")
    assert all(np.isnan(array[1]) for array in rest.data_vars.values())
    assert all(np.isfinite(array[0]) for array in rest.data_vars.values())
    assert np.isfinite(table.noise[2])
    assert table.drift[2] == 0
    assert np.isnan([table.snr[2], table.skewness[2]]).all()
    seen = f[0].notnull().sum() / 10.0
    assert table.event_rate[0] == pytest.approx((truth.events[0].sum() / seen).item())
    jump = quality(f + xr.DataArray(np.repeat([0.0, 1e3], 600), dims="time"))
    np.testing.assert_allclose(jump.noise, table.noise, rtol=1e-3)
    assert jump.drift[2] == 1000


def test_short_and_slow():
    eight = cs.from_numpy(np.random.default_rng(0).normal(9, 1, (2, 8)), frame_rate=2)
    table = quality(eight)
    assert np.isnan(table.noise_spectrum).all()
    assert all(np.isfinite(table[name]).all() for name in ALWAYS - {"noise_spectrum"})
    with pytest.raises(TimeAxisError, match="quality needs at least two samples"):
        quality(eight.isel(time=[0]))


def test_errors(truth):
    f, events = truth.traces, truth.events
    with pytest.raises(ArgumentError, match=r"boolean DataArray, got int64.*events\(\)"):
        quality(f, events.astype(int))
    with pytest.raises(ArgumentError, match="boolean DataArray, got ndarray"):
        quality(f, events.values)
    with pytest.raises(ArgumentError, match="the raster of events has 1199 along 'time' where"):
        quality(f, events.isel(time=slice(1, None)))
    other = events.assign_coords(neuron=[0, 1, 9, 3])
    with pytest.raises(ArgumentError, match=r"'neuron': 9 where .* 2 at place 2; it lacks 2\. Sel"):
        quality(f, other)
    late = events.assign_coords(time=events.time + 0.01)
    with pytest.raises(ArgumentError, match="other values of 'time'"):
        quality(f, late)
    with pytest.raises(ArgumentError, match="with the dimensions"):
        quality(f, events[0])
    for wrong in (np.nan, "4095"):
        with pytest.raises(ArgumentError, match="saturation as a number"):
            quality(f, saturation=wrong)
    with pytest.raises(DimensionError):
        quality(f.mean("time"))
    with pytest.raises(TimeAxisError, match="evenly spaced"):
        quality(f.isel(time=np.r_[0:50, 51:100]))
    turned = quality(f.T, events)
    np.testing.assert_array_equal(turned.event_rate, quality(f, events).event_rate)
