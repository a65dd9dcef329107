"""Trends of labelled, lazy, gapped and short data; the kernels have tests of their own."""

import itertools
import json

import dask
import dask.array as da
import numpy as np
import pytest
import xarray as xr

import calscipy as cs
from calscipy.errors import ArgumentError, TimeAxisError
from calscipy.kernels import detrend as kernels
from calscipy.ops.detrend import detrend
from calscipy.testing import synthetic_traces

METHODS = {
    "polynomial": {"order": 2},
    "robust": {"order": 2, "robust": True},
    "one term": {"method": "exponential", "terms": 1},
    "two terms": {"method": "exponential", "mode": "divide"},
}
every_method = pytest.mark.parametrize("arguments", METHODS.values(), ids=METHODS)


@pytest.fixture(autouse=True, scope="module")
def one_thread():
    """Threads cost more than these small arrays."""
    with dask.config.set(scheduler="sync"):
        yield


def traces(neurons=4, samples=120, rate=10.0, dtype="float32", epochs=1):
    rng = np.random.default_rng(0)
    f = rng.normal(1000, 20, (neurons, samples)) + 400 * np.exp(-np.arange(samples) / samples)
    data = cs.from_numpy(f.astype(dtype), frame_rate=rate)
    if epochs == 1:
        return data
    epoch = np.arange(samples) * epochs // samples
    time = data.time + 7.3 * xr.DataArray(epoch, dims="time")
    return data.assign_coords(time=time, epoch=("time", epoch))


@every_method
@pytest.mark.parametrize("dtype", ["float32", "float64", "uint16"])
def test_chunks_and_dtypes(arguments, dtype):
    data = traces(dtype=dtype, epochs=2)
    expected = detrend(data, **arguments)
    assert expected.dtype == ("float64" if dtype == "float64" else "float32")
    assert np.isfinite(expected).all()
    for chunks in ({"neuron": 2}, {"time": 50}, {"neuron": 1, "time": 7}):
        lazy = detrend(data.chunk(chunks), **arguments)
        assert isinstance(lazy.data, da.Array)
        assert lazy.dtype == expected.dtype
        np.testing.assert_array_equal(lazy.compute(), expected)


@every_method
def test_gaps_silent_neurons_and_constants(arguments):
    data = traces(dtype="float64")
    data[1, 40:60] = np.nan
    data[2] = np.nan
    data[3] = 37.0
    out = detrend(data, **arguments)
    np.testing.assert_array_equal(np.isnan(out), np.isnan(data))
    np.testing.assert_allclose(out[3], 37.0, rtol=1e-12)
    np.testing.assert_array_equal(out[0], detrend(data[:1], **arguments)[0])


@every_method
@pytest.mark.parametrize("rate", [2.0, 30.0])
def test_few_samples(arguments, rate):
    assert np.isfinite(detrend(traces(samples=8, rate=rate), **arguments)).all()
    with pytest.raises(ValueError, match=r"needs at least two samples|Lower the order"):
        detrend(traces(samples=1, rate=rate), **arguments)


def test_one_sample_has_a_polynomial_of_order_zero():
    data = traces(samples=1)
    for robust, keep in itertools.product((False, True), repeat=2):
        out = detrend(data, order=0, robust=robust, keep_level=keep)
        np.testing.assert_allclose(out, data if keep else 0 * data, atol=1e-4)


@every_method
def test_epochs_are_detrended_apart(arguments):
    data = traces(epochs=3)
    data = data + 500 * data.epoch
    out = detrend(data, **arguments)
    for part in (slice(0, 40), slice(40, 80), slice(80, 120)):
        # the median step of other times is the same but for rounding
        alone = detrend(data[:, part], **arguments)
        np.testing.assert_allclose(out[:, part], alone, rtol=1e-9)


@every_method
def test_integers_are_not_truncated(arguments):
    """The original fails on them."""
    data = traces(dtype="uint16")
    given = data.copy(deep=True)
    out = detrend(data, **arguments)
    np.testing.assert_allclose(out, detrend(data.astype("f8"), **arguments), rtol=1e-6)
    assert (out % 1 != 0).any()
    xr.testing.assert_identical(data, given)


def test_the_level_stays_and_transients_do_not_bend():
    """The original removes the mean, and a burst of 200 frames moves its trend."""
    data = traces(neurons=1, samples=3000, dtype="float64")
    burst = data.copy(deep=True)
    burst[0, 1400:1600] += 300
    moved = [
        np.abs((burst - detrend(burst, robust=r)) - (data - detrend(data, robust=r)))
        for r in (False, True)
    ]
    moved = [np.ptp(difference.values) for difference in moved]
    assert moved[0] > 40
    assert moved[1] < 9  # 3 % of the burst
    for robust in (False, True):
        assert detrend(data, robust=robust).mean() == pytest.approx(data.values.mean(), rel=1e-3)


def test_bleaching_of_active_neurons():
    truth = synthetic_traces(4, 300.0, bleaching=0.5, bleaching_time=80.0, seed=2)
    data, f0 = truth.traces, truth.f0
    out = detrend(data, method="exponential", mode="divide")
    wanted = data * f0.mean("time") / f0
    error = np.abs(out - wanted).mean("time") / f0.mean("time")
    assert error.max() < 0.02
    assert detrend(data, method="exponential").attrs["units"] == "count"


def test_movies_have_a_curve_for_every_pixel():
    f = traces(neurons=6, samples=60).values
    movie = cs.from_numpy(f.T.reshape(60, 2, 3), frame_rate=10)
    movie = movie.assign_coords(valid=("frames", np.arange(60) != 7))
    out = detrend(movie, method="exponential", terms=1)
    f[:, 7] = np.nan
    expected = kernels.detrend_exponential(f, frame_rate=10, terms=1)
    np.testing.assert_array_equal(out.values.reshape(60, 6).T, expected)
    lazy = detrend(movie.chunk(frames=20, y=1), method="exponential", terms=1)
    np.testing.assert_array_equal(lazy.compute(), out)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"method": "linear"}, r"one of \['polynomial', 'exponential'\], got 'linear'"),
        ({"terms": 1}, "'polynomial' ignores terms"),
        ({"mode": "divide"}, "'polynomial' ignores mode"),
        ({"method": "exponential", "order": 2}, "'exponential' ignores order"),
        ({"method": "exponential", "robust": True}, "'exponential' ignores robust"),
        (
            {"method": "exponential", "mode": "divide", "keep_level": False},
            "mode='divide' ignores keep_level",
        ),
        ({"method": "exponential", "mode": "ratio"}, "'subtract' or 'divide', got 'ratio'"),
        ({"method": "exponential", "terms": 3}, "terms 1 or 2, got 3"),
        ({"order": 1.5}, "whole order"),
        ({"order": True}, "whole order"),
        ({"order": -1}, "whole order"),
        ({"keep_level": "no"}, "keep_level as True or False, got 'no'"),
        ({"robust": 1}, "robust as True or False, got 1"),
        ({"method": "exponential", "terms": True}, "terms 1 or 2, got True"),
        ({"method": ["polynomial"]}, r"must be one of .*, got \['polynomial'\]"),
    ],
)
def test_arguments(arguments, message):
    with pytest.raises(ArgumentError, match=message):
        detrend(traces(), **arguments)


def test_a_whole_float_is_a_number_of_terms():
    data = traces()
    one = detrend(data, method="exponential", terms=1)
    np.testing.assert_array_equal(detrend(data, method="exponential", terms=1.0), one)


def test_uneven_times():
    data = traces()
    time = data.time.values.copy()
    time[50:] += 0.3
    gap = data.assign_coords(time=time)
    for arguments in METHODS.values():
        with pytest.raises(TimeAxisError, match="'epoch'"):
            detrend(gap, **arguments)
    time = data.time.values.copy()
    time[50:] += 0.005
    with pytest.raises(TimeAxisError, match="evenly spaced"):
        detrend(data.assign_coords(time=time), method="exponential")
    time = data.time.values + 0.0004 * np.sin(np.arange(120))
    assert np.isfinite(detrend(data.assign_coords(time=time), method="exponential")).all()


def test_history_holds_what_was_filled_in():
    def written(**arguments):
        return json.loads(detrend(traces(), **arguments).attrs["history"].split("detrend ")[-1])

    plain = {"method": "polynomial", "order": 4, "robust": False, "keep_level": True}
    assert written() == plain
    assert written(method="exponential", mode="divide") == {
        "method": "exponential",
        "terms": 2,
        "mode": "divide",
    }
    removed = detrend(traces(), method="exponential", keep_level=False)
    with pytest.raises(ArgumentError, match="level"):
        cs.dfof(removed)
