"""Scaled waveforms and traces: labels, chunks, scalers of every kind."""

import dask
import numpy as np
import pytest
import xarray as xr
from sklearn.preprocessing import MaxAbsScaler, Normalizer, RobustScaler, StandardScaler

import calscipy as cs
from calscipy.errors import ArgumentError, DimensionError
from calscipy.ops.scale import scale
from calscipy.ops.waveforms import waveforms


@pytest.fixture(autouse=True, scope="module")
def one_thread():
    with dask.config.set(scheduler="sync"):
        yield


def traces(dtype="f4"):
    values = np.random.default_rng(0).normal(500, 60, (5, 30))
    return cs.from_numpy(values.astype(dtype), frame_rate=10)


@pytest.mark.parametrize("dtype", ["f4", "f8", "u2", "i4"])
@pytest.mark.parametrize("chunks", [None, {"neuron": 2}, {"time": 7}])
@pytest.mark.parametrize("scaler", ["standard", "minmax", "robust"])
def test_traces_of_every_kind(dtype, chunks, scaler):
    data = traces(dtype)
    f = data.values.astype("f8")
    low, middle, high = np.percentile(f, [25, 50, 75], axis=1)[..., None]
    expected = {
        "standard": (f - f.mean(1, keepdims=True)) / f.std(1, keepdims=True),
        "minmax": (f - f.min(1, keepdims=True)) / np.ptp(f, axis=1, keepdims=True),
        "robust": (f - middle) / (high - low),
    }[scaler]
    given = data if chunks is None else data.chunk(chunks)
    made = scale(given, scaler=scaler)
    assert (made.chunks is None) == (chunks is None)
    wide = "f8" if dtype in ("f8", "i4") else "f4"
    assert made.dtype == made.compute().dtype == wide
    np.testing.assert_allclose(made, expected, rtol=1e-5, atol=1e-6)
    assert made.attrs["units"] == "1"
    xr.testing.assert_identical(made.coords.to_dataset(), data.coords.to_dataset())


def test_waveforms_are_scaled_event_by_event():
    data = traces()
    raster = data.copy(data=np.zeros(data.shape, bool))
    raster[0, 1] = raster[3, 12] = True
    found = waveforms(data, raster, pre=0.3, post=0.5)
    made = scale(found)
    np.testing.assert_array_equal(np.isnan(made), np.isnan(found))
    np.testing.assert_allclose(np.nanmean(made, axis=1), 0, atol=1e-6)
    np.testing.assert_allclose(np.nanstd(made, axis=1), 1, rtol=1e-6)
    assert made.dims == ("event", "lag")
    turned = scale(found.transpose())
    assert turned.dims == ("lag", "event")
    np.testing.assert_array_equal(turned.transpose(), made)


def test_silent_constant_and_short_rows():
    data = traces()
    data[1], data[2], data[3, 5:9] = np.nan, 7.0, np.nan
    for scaler in ("standard", "minmax", "robust"):
        made = scale(data, scaler=scaler)
        assert np.isnan(made[1]).all()
        assert (made[2] == 0).all()
        np.testing.assert_array_equal(np.isnan(made[3]), np.isnan(data[3]))
        np.testing.assert_array_equal(scale(data[:, :1], scaler=scaler)[2], [0.0])


def test_a_row_has_one_scale_over_all_epochs():
    data = traces().assign_coords(epoch=("time", np.repeat([1, 2], 15)))
    xr.testing.assert_equal(scale(data), scale(data.drop_vars("epoch")).assign_coords(data.coords))


def test_classes_and_instances_are_taken_and_left_alone():
    data = traces()
    mine = MaxAbsScaler()
    made = scale(data, scaler=mine)
    assert not hasattr(mine, "scale_")
    xr.testing.assert_equal(made, scale(data, scaler=MaxAbsScaler))
    np.testing.assert_allclose(made, data / np.abs(data).max("time"), rtol=1e-6)
    assert '"scaler": "MaxAbsScaler()"' in made.attrs["history"]
    lazy = data.chunk(neuron=2)
    assert scale(lazy, scaler=mine).data.name == scale(lazy, scaler=MaxAbsScaler()).data.name
    assert scale(lazy, scaler=mine).data.name != scale(lazy).data.name


@pytest.mark.parametrize(
    "scaler", [StandardScaler(with_std=False), RobustScaler(with_scaling=False)], ids=str
)
def test_units_stay_where_nothing_is_divided(scaler):
    made = scale(traces(), scaler=scaler)
    assert made.attrs["units"] == "count"
    np.testing.assert_allclose(made.std("time"), traces().std("time"), rtol=1e-5)


def test_scaled_traces_have_no_level():
    with pytest.raises(ArgumentError, match="level"):
        cs.dfof(scale(traces()))


@pytest.mark.parametrize("wrong", ["zscore", None, 3, np.log, int])
def test_other_things_are_no_scalers(wrong):
    with pytest.raises(ArgumentError, match="scal"):
        scale(traces(), scaler=wrong).compute()


def test_scalers_across_rows_are_refused():
    with pytest.raises(ArgumentError, match="Normalizer scales across"):
        scale(traces(), scaler=Normalizer())


def test_data_without_rows_is_refused():
    with pytest.raises(DimensionError, match="'lag' or 'time'"):
        scale(cs.from_numpy(np.ones((4, 2, 2)), frame_rate=1))
    with pytest.raises(ArgumentError, match="needs numbers"):
        scale(traces() > 3)
    bad = traces()
    bad[2, 3] = bad[4, 0] = -np.inf
    with pytest.raises(ArgumentError, match="scale: neurons 2, 4 have infinite samples"):
        scale(bad)
