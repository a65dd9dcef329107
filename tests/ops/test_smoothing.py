"""Smoothing of labelled, lazy, gapped and short data; the kernels have tests of their own."""

import dask
import dask.array as da
import numpy as np
import pytest
import xarray as xr

import calscipy as cs
from calscipy.errors import ArgumentError, TimeAxisError
from calscipy.kernels import smoothing as kernels
from calscipy.ops.smoothing import gaussian_smooth, perona_malik, savgol

WORK = {
    "diffusion": lambda data: perona_malik(data),
    "absolute": lambda data: perona_malik(data, kappa=30.0, absolute=True, iterations=5),
    "differences": lambda data: perona_malik(data, sigma=1.0, iterations=3),
    "gaussian": lambda data: gaussian_smooth(data, sigma=0.5),
    "savgol": lambda data: savgol(data, window=0.5, order=2),
}
every_way = pytest.mark.parametrize("work", WORK.values(), ids=WORK)


@pytest.fixture(autouse=True, scope="module")
def one_thread():
    """Threads cost more than these small arrays."""
    with dask.config.set(scheduler="sync"):
        yield


def traces(neurons=4, samples=120, rate=10.0, dtype="float32", epochs=1):
    f = np.random.default_rng(0).normal(1000, 20, (neurons, samples))
    data = cs.from_numpy(f.astype(dtype), frame_rate=rate)
    epoch = np.arange(samples) * epochs // samples
    time = data.time + 7.3 * xr.DataArray(epoch, dims="time")
    return data.assign_coords(time=time, epoch=("time", epoch))


@every_way
@pytest.mark.parametrize("dtype", ["float32", "float64", "uint16"])
def test_chunks_dtypes_and_epochs(work, dtype):
    data = traces(dtype=dtype, epochs=2)
    given = data.copy(deep=True)
    expected = work(data)
    assert expected.dtype == ("float64" if dtype == "float64" else "float32")
    assert expected.std() < data.std()
    for part in (slice(0, 60), slice(60, 120)):
        # the median step of other times is the same but for rounding
        np.testing.assert_allclose(work(data[:, part]), expected[:, part], rtol=1e-12)
    for chunks in ({"neuron": 2}, {"time": 50}, {"neuron": 1, "time": 7}):
        lazy = work(data.chunk(chunks))
        assert isinstance(lazy.data, da.Array)
        np.testing.assert_array_equal(lazy.compute(), expected)
    np.testing.assert_allclose(expected, work(data.astype("f8")), rtol=1e-6)
    xr.testing.assert_identical(data, given)


@every_way
def test_gaps_silent_neurons_and_constants(work):
    """One missing frame makes the original's whole trace NaN, and so does a constant trace."""
    data = traces(dtype="float64")
    data[1, 40:60] = np.nan
    data[2] = np.nan
    data[3] = 37.0
    out = work(data)
    np.testing.assert_array_equal(np.isnan(out), np.isnan(data))
    np.testing.assert_allclose(out[3], 37.0, rtol=1e-12)
    np.testing.assert_array_equal(out[0], work(data[:1])[0])


@every_way
@pytest.mark.parametrize(("samples", "rate"), [(8, 10.0), (8, 2.0), (2, 2.0)])
def test_few_samples(work, samples, rate):
    if work is WORK["savgol"] and rate == 2.0:
        with pytest.raises(ArgumentError, match=r"order below the 1 samples.*longer window"):
            work(traces(samples=samples, rate=rate))
        return
    out = work(traces(samples=samples, rate=rate, dtype="uint16"))
    assert np.isfinite(out).all()


def test_one_sample():
    data = traces(samples=1)
    np.testing.assert_array_equal(perona_malik(data), data)
    np.testing.assert_array_equal(perona_malik(data, absolute=True, sigma=2.0), data)
    for work in (WORK["gaussian"], WORK["savgol"]):
        with pytest.raises(TimeAxisError, match="at least two samples"):
            work(data)


@every_way
def test_movies_are_pixels(work):
    f = traces(neurons=6, samples=60).values
    movie = cs.from_numpy(f.T.reshape(60, 2, 3), frame_rate=10)
    movie = movie.assign_coords(valid=("frames", np.arange(60) != 7))
    out = work(movie)
    f[:, 7] = np.nan
    expected = work(cs.from_numpy(f, frame_rate=10))
    np.testing.assert_array_equal(out.values.reshape(60, 6).T, expected)
    np.testing.assert_array_equal(work(movie.chunk(frames=20, y=1)).compute(), out)


def test_seconds_become_samples():
    for rate in (2.0, 30.0):
        data = traces(rate=rate)
        np.testing.assert_array_equal(
            gaussian_smooth(data, sigma=1.5), kernels.gaussian_smooth(data, sigma=1.5 * rate)
        )
    window = savgol(traces(rate=30.0), window=1.0, order=3)
    np.testing.assert_array_equal(window, kernels.savgol(traces(rate=30.0), window=31, order=3))


@pytest.mark.parametrize(
    ("op", "arguments", "message"),
    [
        (perona_malik, {"gamma": 0.6}, "at most 0.5"),
        (perona_malik, {"kappa": 0}, "kappa"),
        (perona_malik, {"iterations": 0}, "iterations"),
        (perona_malik, {"iterations": 10**9}, "from 1 to 100000, not 1000000000"),
        (perona_malik, {"sigma": 1e9}, "from 0 to 100000"),
        (perona_malik, {"absolute": "yes"}, "absolute as True or False"),
        (perona_malik, {"kappa": np.timedelta64(1)}, "kappa as a number"),
        (perona_malik, {"iterations": "5"}, "iterations as a number, got '5'"),
        (perona_malik, {"kappa": "1"}, "kappa as a number, got '1'"),
        (gaussian_smooth, {"sigma": 0.0}, r"sigma > 0 in seconds"),
        (gaussian_smooth, {"sigma": "1"}, r"sigma > 0 in seconds, got '1'"),
        (savgol, {"window": 0.0, "order": 1}, "window > 0 in seconds"),
        (savgol, {"window": 0.3, "order": 3}, r"below the 3 samples of window=0.3 s, got 3"),
        (savgol, {"window": 0.3, "order": 1.5}, "whole order"),
        (savgol, {"window": 7.0, "order": 2}, r"at least the 71 samples.*one has 60"),
    ],
)
def test_arguments(op, arguments, message):
    with pytest.raises(ArgumentError, match=message):
        op(traces(epochs=2), **arguments)


@pytest.mark.parametrize("sigma", [0.5, 1.5, 1.7, 5.0])
def test_an_infinite_sample_is_a_missing_one(sigma):
    rows = np.random.default_rng(0).normal(size=(2, 1000)).astype("f4")
    missing = rows.copy()
    rows[0, 500], rows[1, 20], missing[0, 500], missing[1, 20] = np.inf, -np.inf, np.nan, np.nan
    infinite, lacking = (cs.from_numpy(f, frame_rate=10) for f in (rows, missing))
    smooth = gaussian_smooth(infinite, sigma=sigma)
    np.testing.assert_array_equal(smooth, gaussian_smooth(lacking, sigma=sigma))
    assert np.isnan(smooth).sum() == 2


@every_way
def test_left_out_samples(work):
    data = traces()
    time = data.time.values.copy()
    time[50:] += 0.3
    with pytest.raises(TimeAxisError, match=r"'epoch'|even part"):
        work(data.assign_coords(time=time))
