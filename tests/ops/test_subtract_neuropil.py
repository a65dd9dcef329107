"""Neuropil subtraction."""

import dask
import dask.array as da
import numpy as np
import pytest
import xarray as xr
from scipy import ndimage

import calscipy as cs
from calscipy.errors import ArgumentError, DimensionError
from calscipy.ops.subtract_neuropil import subtract_neuropil
from calscipy.testing import synthetic_traces


@pytest.fixture(autouse=True, scope="module")
def one_thread():
    with dask.config.set(scheduler="sync"):
        yield


def pair(dtype="f4", samples=40, rate=10.0, seed=0):
    """Two epochs with a gap in time; row 1 has a missing sample, row 2 no neuropil."""
    rng = np.random.default_rng(seed)
    arrays = []
    for name, level in (("traces", 1000), ("neuropil", 600)):
        values = rng.normal(level, 20, (5, samples))
        if np.dtype(dtype).kind == "f":
            values[1, 5 if name == "traces" else 6] = np.nan
            if name == "neuropil":
                values[2] = np.nan
        values[3] = level
        data = cs.from_numpy(values.astype(dtype), frame_rate=rate, name=name)
        epoch = np.arange(samples) >= samples // 2
        times = data.time.values + 5 * epoch
        arrays.append(data.assign_coords(time=times, epoch=("time", epoch.astype(int))))
    return arrays


def lazy(data, **chunks):
    sizes = tuple(chunks.get(dim, size) for dim, size in data.sizes.items())
    return data.copy(data=da.from_array(data.values, chunks=sizes))


PLACES = [None, {"neuron": 2}, {"neuron": 3, "time": 16}]


@pytest.mark.parametrize("place", PLACES, ids=str)
@pytest.mark.parametrize("dtype", ["f4", "f8", "u2"])
@pytest.mark.parametrize("samples", [8, 40])
@pytest.mark.parametrize("keep_level", [True, False])
def test_by_formula(keep_level, samples, dtype, place):
    traces, neuropil = pair(dtype, samples, rate=2.0)
    f, around = traces.values.astype("f8"), neuropil.values.astype("f8")
    half = samples // 2
    if keep_level:
        for part in (slice(0, half), slice(half, None)):
            for row in around[:, part]:
                row -= np.median(row[~np.isnan(row)]) if not np.isnan(row).all() else 0
    expected = f - 0.6 * around
    given = [x if place is None else lazy(x, **place) for x in (traces, neuropil)]
    found = subtract_neuropil(*given, coefficient=0.6, keep_level=keep_level)
    assert (found.chunks is None) == (place is None)
    assert found.dtype == found.compute().dtype == ("f8" if dtype == "f8" else "f4")
    np.testing.assert_allclose(found, expected, rtol=1e-5)
    assert found.coords.keys() == traces.coords.keys()
    assert found.attrs["units"] == "count"
    assert found.attrs["long_name"] == "fluorescence, neuropil subtracted"
    assert found.name == "traces"


def test_level_is_kept_or_not():
    traces, neuropil = pair()
    kept = subtract_neuropil(traces, neuropil)
    there = [0, 1, 3, 4]
    np.testing.assert_allclose(kept[there].median("time"), traces[there].median("time"), rtol=0.03)
    less = subtract_neuropil(traces, neuropil, keep_level=False)
    assert (less[there].median("time") < 620).all()


def test_one_sample_and_mixed_places():
    traces, neuropil = pair()
    first = [x.isel(time=[0]) for x in (traces, neuropil)]
    expected = np.where(np.isnan(first[1]), np.nan, first[0])
    np.testing.assert_array_equal(subtract_neuropil(*first), expected)
    expected = subtract_neuropil(traces, neuropil)
    for given in ((lazy(traces, neuron=2), neuropil), (traces, lazy(neuropil, time=9))):
        found = subtract_neuropil(*given)
        assert found.chunks is not None
        np.testing.assert_array_equal(found, expected)
    np.testing.assert_array_equal(subtract_neuropil(traces.T, neuropil).T, expected)
    wide = subtract_neuropil(traces, neuropil.astype("f8"))
    assert wide.dtype == wide.compute().dtype == np.float64


def test_channels():
    both = [xr.concat(pair_, "channel") for pair_ in zip(pair(), pair(seed=1), strict=True)]
    found = subtract_neuropil(*both)
    for channel in (0, 1):
        expected = subtract_neuropil(*pair(seed=channel))
        np.testing.assert_array_equal(found[channel], expected)
    turned = subtract_neuropil(both[0].transpose("time", "neuron", "channel"), both[1])
    np.testing.assert_array_equal(turned.transpose(*found.dims), found)


def test_coefficients_along_neurons():
    traces, neuropil = pair()
    shares = xr.DataArray([0.0, 0.2, 0.4, 0.6, np.nan], {"neuron": traces.neuron}, "neuron")
    found = subtract_neuropil(traces, neuropil, coefficient=shares)
    for at in (0, 1, 3):
        expected = subtract_neuropil(traces, neuropil, coefficient=shares[at].item())
        np.testing.assert_allclose(found[at], expected[at], rtol=1e-6)
    assert np.isnan(found[4]).all()
    np.testing.assert_array_equal(found.neuropil_coefficient, shares)
    named = subtract_neuropil(traces=traces, neuropil=neuropil, coefficient=shares)
    xr.testing.assert_equal(named, found)
    built = subtract_neuropil(lazy(traces, neuron=2), lazy(neuropil, time=9), coefficient=shares)
    np.testing.assert_array_equal(built, found)


# -- fitted --------------------------------------------------------------------------------


def mixture(share):
    truth = synthetic_traces(6, 300.0, 10.0, snr=5.0, drift=0.1, bleaching=0.2)
    wave = np.random.default_rng(0).normal(size=truth.traces.shape)
    wave = ndimage.gaussian_filter1d(wave, 8, axis=1)
    neuropil = truth.f0 * 0.6 + 60 * wave / wave.std()
    f = truth.traces + share * (neuropil - neuropil.median("time"))
    return f.assign_attrs(units="count"), neuropil.astype("f4").assign_attrs(units="count"), truth


def test_fitted_coefficients_bring_back_the_truth():
    f, neuropil, truth = mixture(0.8)
    found = subtract_neuropil(f, neuropil, coefficient="fit")
    shares = found.neuropil_coefficient
    assert shares.dims == ("neuron",)
    assert shares.attrs["units"] == "1"
    np.testing.assert_allclose(shares, 0.8, atol=0.1)
    rest = (found - truth.traces).std("time")
    before = (f - truth.traces).std("time")
    assert (rest < 0.15 * before).all()
    again = subtract_neuropil(f, neuropil, coefficient=shares)
    np.testing.assert_array_equal(again, found)


def test_fitting_is_lazy():
    def refuse(*args, **kwargs):
        raise AssertionError("building the graph computed something")

    f, neuropil, _ = mixture(0.8)
    expected = subtract_neuropil(f, neuropil, coefficient="fit")
    with dask.config.set(scheduler=refuse):
        found = subtract_neuropil(
            lazy(f, neuron=4, time=999), lazy(neuropil, neuron=2), coefficient="fit"
        )
        repr(found)
        assert found.neuropil_coefficient.chunks is not None
        chained = cs.dfof(found, method="median")
        assert chained.neuropil_coefficient.chunks is not None
    computed = found.compute()
    np.testing.assert_array_equal(computed, expected)
    np.testing.assert_array_equal(computed.neuropil_coefficient, expected.neuropil_coefficient)


def test_a_lazy_coefficient_is_saved(tmp_path):
    f, neuropil, _ = mixture(0.8)
    found = subtract_neuropil(lazy(f, neuron=4), lazy(neuropil), coefficient="fit")
    found.rename("traces").cs.to_zarr(tmp_path / "s.zarr", progress=False)
    saved = cs.ImagingSession.open(tmp_path / "s.zarr").traces
    np.testing.assert_array_equal(saved, found)
    np.testing.assert_array_equal(saved.neuropil_coefficient, found.neuropil_coefficient)


def test_what_cannot_be_fitted_is_nan_and_has_a_remedy():
    traces, neuropil = pair()
    found = subtract_neuropil(traces, neuropil, coefficient="fit")  # 4 s
    assert np.isnan(found).all()
    numbers = found.neuropil_coefficient.fillna(0.7)
    np.testing.assert_allclose(
        subtract_neuropil(traces, neuropil, coefficient=numbers),
        subtract_neuropil(traces, neuropil),
        rtol=1e-6,
    )


# -- errors --------------------------------------------------------------------------------


def test_what_does_not_match():
    traces, neuropil = pair()
    with pytest.raises(ArgumentError, match="the neuropil has 4 along 'neuron' where the data ha"):
        subtract_neuropil(traces, neuropil[1:])
    other = neuropil.assign_coords(neuron=[0, 1, 2, 4, 3])
    with pytest.raises(ArgumentError, match="'neuron': 4 where the data have 3 at place 3"):
        subtract_neuropil(traces, other)
    late = neuropil.assign_coords(time=neuropil.time + 1e-6)
    with pytest.raises(ArgumentError, match=r"other values of 'time'.*Select the same time"):
        subtract_neuropil(traces, late)
    with pytest.raises(ArgumentError, match="with the dimensions"):
        subtract_neuropil(traces, neuropil[0])
    with pytest.raises(ArgumentError, match=r"the neuropil is in 'mV', the traces in 'count'"):
        subtract_neuropil(traces, neuropil.assign_attrs(units="mV"))
    with pytest.raises(ArgumentError, match="with their level"):
        subtract_neuropil(cs.dfof(traces, method="median"), neuropil)
    with pytest.raises(ArgumentError, match="neuropil as a DataArray"):
        subtract_neuropil(traces, neuropil.values)
    with pytest.raises(DimensionError):
        subtract_neuropil(traces.mean("time"), neuropil)
    with pytest.raises(ArgumentError, match="needs numbers"):
        subtract_neuropil(traces > 5, neuropil)


def test_coefficients_that_are_none():
    traces, neuropil = pair()
    for wrong in (-0.1, np.nan, np.inf, None, [0.7], True):
        with pytest.raises(ArgumentError, match="a number of 0 or more"):
            subtract_neuropil(traces, neuropil, coefficient=wrong)
    with pytest.raises(ArgumentError, match="or 'fit', got 'robust'"):
        subtract_neuropil(traces, neuropil, coefficient="robust")
    shares = xr.DataArray(np.full(5, -0.5), {"neuron": traces.neuron}, "neuron")
    with pytest.raises(ArgumentError, match="a number of 0 or more"):
        subtract_neuropil(traces, neuropil, coefficient=shares)
    for wrong in (-0.5, np.inf):
        one = abs(shares)
        one[3] = wrong
        with pytest.raises(ArgumentError, match="a number of 0 or more"):
            subtract_neuropil(traces, neuropil, coefficient=one)
        built = subtract_neuropil(traces, neuropil, coefficient=one.chunk())
        with pytest.raises(ArgumentError, match=rf"neurons {traces.neuron[3].item()} ha.* below 0"):
            built.compute()
    with pytest.raises(ArgumentError, match="keep_level as True or False"):
        subtract_neuropil(traces, neuropil, coefficient=0.5, keep_level="no")
    with pytest.raises(ArgumentError, match="the array of coefficients has 4 along 'neuron'"):
        subtract_neuropil(traces, neuropil, coefficient=abs(shares[1:]))
    with pytest.raises(ArgumentError, match="the array of coefficients with the dimensions"):
        subtract_neuropil(traces, neuropil, coefficient=traces)
