"""Deconvolution of labelled traces: epochs, chunks, gaps, arguments, and what can not be done."""

import dask
import numpy as np
import pytest
import xarray as xr

import calscipy as cs
from calscipy.errors import ArgumentError, DimensionError, TimeAxisError
from calscipy.kernels import oasis
from calscipy.ops.deconvolve import deconvolve, denoise, estimate_tau
from calscipy.testing import synthetic_traces

METHODS = {
    "constrained": {"tau": 0.7},
    "estimated": {},
    "l1": {"method": "l1", "tau": 0.7, "penalty": 0.05},
    "l1-baseline": {"method": "l1", "tau": 0.7, "baseline": 0.0},
    "l0": {"method": "l0", "tau": 0.7},
    "l0-given": {"method": "l0", "tau": 0.7, "min_spike": 0.2, "baseline": 0.0},
}
every_method = pytest.mark.parametrize("arguments", METHODS.values(), ids=METHODS)
both_ops = pytest.mark.parametrize("op", [deconvolve, denoise])


@pytest.fixture(autouse=True, scope="module")
def one_thread():
    """Threads cost more than these small arrays."""
    with dask.config.set(scheduler="sync"):
        yield


@pytest.fixture(scope="module")
def made():
    return synthetic_traces(neurons=4, duration=60, frame_rate=20, event_rate=0.3, seed=3)


@pytest.fixture(scope="module")
def dff(made):
    ratio = (made.traces / made.f0 - 1).astype("float32")
    return ratio.assign_attrs(units="1", long_name="ΔF/F₀")


def test_spikes_and_words(made, dff):
    spikes = deconvolve(dff, tau=0.7)
    assert spikes.name == "spikes"
    assert spikes.attrs["units"] == "1"
    assert spikes.attrs["long_name"] == "deconvolved activity, in 1 per frame"
    assert spikes.dtype == "float32"
    assert (spikes >= 0).all()
    smooth = [x.rolling(time=9, center=True).mean().dropna("time") for x in (spikes, made.spikes)]
    assert (xr.corr(*smooth, dim="time") > 0.85).all()
    fit = denoise(dff, tau=0.7)
    assert fit.name == "denoised"
    assert fit.attrs["long_name"] == "ΔF/F₀, denoised"
    error = (fit - made.dfof).std("time")
    assert (error < 0.6 * (dff - made.dfof).std("time")).all()


@both_ops
def test_units_are_those_of_the_data(made, op):
    result = op(made.traces, tau=0.7)
    assert result.attrs["units"] == "count"
    larger = op((made.traces * 4).assign_attrs(made.traces.attrs), tau=0.7)
    np.testing.assert_allclose(larger, 4 * result, rtol=1e-5, atol=1e-3)


@every_method
@both_ops
@pytest.mark.parametrize("chunks", [{"neuron": 1}, {"time": 100}, {"neuron": 3, "time": 601}])
def test_chunks_change_nothing(dff, op, arguments, chunks):
    expected = op(dff, **arguments)
    lazy = op(dff.chunk(chunks), **arguments)
    assert lazy.chunks is not None
    assert lazy.dtype == expected.dtype
    np.testing.assert_array_equal(lazy.compute(), expected)


@every_method
@both_ops
def test_epochs_are_deconvolved_apart(dff, op, arguments):
    first, second = dff.isel(time=slice(0, 700)), dff.isel(time=slice(700, None)) + 3
    late = second.assign_coords(time=second.time + 100)
    joined = xr.concat([first, late], "time").assign_coords(
        epoch=("time", np.repeat([0, 1], [700, 500]))
    )
    together = op(joined, **arguments)
    np.testing.assert_array_equal(together[:, :700], op(first, **arguments))
    np.testing.assert_array_equal(together[:, 700:], op(second, **arguments))


@every_method
@both_ops
@pytest.mark.parametrize("dtype", ["float32", "float64", "uint16"])
@pytest.mark.parametrize("lazy", [False, True])
def test_odd_traces(made, op, arguments, dtype, lazy):
    data = made.traces.astype(dtype).copy()
    data[2] = 500
    if data.dtype.kind == "f":
        data[0, 300:310] = np.nan
        data[1] = np.nan
    arguments = {name: v for name, v in arguments.items() if name != "baseline"}
    result = op(data.chunk(neuron=1) if lazy else data, **arguments).compute()
    assert result.dtype == ("float64" if dtype == "float64" else "float32")
    assert (result[2] == (0 if op is deconvolve else 500)).all()
    assert np.isfinite(result[3]).all()
    if data.dtype.kind == "f":
        assert result[1].isnull().all()
        gap = result[0].isnull().values
        assert gap.sum() == (10 if op is deconvolve else 0)
        assert gap[300:310].all() == (op is deconvolve)


@both_ops
def test_any_dims(dff, op):
    expected = op(dff, tau=0.7)
    two = xr.concat([dff, dff * 2], "channel")
    np.testing.assert_array_equal(op(two, tau=0.7).isel(channel=0), expected)
    turned = op(dff.transpose("time", "neuron"), tau=0.7)
    assert turned.dims == ("time", "neuron")
    np.testing.assert_array_equal(turned.T, expected)
    np.testing.assert_array_equal(op(dff[1], tau=0.7), expected[1])


@every_method
@both_ops
def test_slow_and_short_recordings(op, arguments):
    slow = synthetic_traces(neurons=3, duration=600, frame_rate=2, event_rate=0.1, decay=2.0)
    result = op(slow.traces, **arguments)
    assert np.isfinite(result).all()
    short = slow.traces.isel(time=slice(0, 8))
    if "tau" in arguments:
        assert np.isfinite(op(short, **arguments)).all()
    else:
        with pytest.raises(ArgumentError, match=f"{op.__name__}: neurons .*Give tau in s"):
            op(short, **arguments)
    with pytest.raises(TimeAxisError, match="at least two samples"):
        op(short.isel(time=[0]), **arguments)


def test_neurons_that_can_not_be_estimated_are_named(dff):
    noise = xr.full_like(dff, 0) + np.random.default_rng(0).normal(0, 0.1, dff.shape)
    mixed = xr.where(dff.neuron == 2, noise, dff).transpose(*dff.dims)
    mixed = mixed.assign_coords(neuron=[10, 20, 30, 40])
    for data in (mixed, mixed.chunk(neuron=1)):
        with pytest.raises(ArgumentError, match=r"deconvolve: neurons 30 show no decay"):
            deconvolve(data).compute()
    assert np.isfinite(deconvolve(mixed, tau=0.7)).all()
    steps = xr.full_like(dff, 0)
    steps[:, 700:] = 1
    with pytest.raises(ArgumentError, match=r"denoise: neurons 0, 1, 2, 3 show no noise .*noise"):
        denoise(steps, tau=0.7)
    np.testing.assert_allclose(denoise(steps, tau=0.7, noise=1.0), 500 / 1200, rtol=1e-6)


@both_ops
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"method": "best"}, "must be one of"),
        ({"penalty": 1.0}, "ignores penalty"),
        ({"method": "l1", "min_spike": 1.0}, "ignores min_spike"),
        ({"method": "l0", "penalty": 1.0}, "ignores penalty"),
        ({"method": "l1", "baseline": 0, "noise": 1.0}, "Leave noise out"),
        ({"method": "l0", "min_spike": 1.0, "baseline": 0, "noise": 1.0}, "Leave noise out"),
        ({"tau": 0.0}, "finite tau > 0, got 0.0"),
        ({"tau": np.inf}, "finite tau > 0"),
        ({"noise": -1}, "finite noise > 0, got -1"),
        ({"baseline": np.nan}, "finite baseline, got nan"),
        ({"method": "l1", "penalty": -0.1}, "finite penalty >= 0"),
        ({"method": "l0", "min_spike": -0.1}, "finite min_spike >= 0"),
    ],
)
def test_arguments_that_make_no_sense(dff, op, arguments, message):
    with pytest.raises(ArgumentError, match=f"{op.__name__}.*{message}"):
        op(dff, **arguments)


def test_other_arrays_are_refused(dff):
    with pytest.raises(DimensionError, match="time"):
        deconvolve(dff.rename(time="frames"))
    with pytest.raises(TimeAxisError, match="evenly spaced"):
        deconvolve(dff.isel(time=[*range(50), *range(51, 400)]), tau=0.7)
    with pytest.raises(ArgumentError, match="needs numbers"):
        deconvolve(dff > 0, tau=0.7)


# -- the decay time ------------------------------------------------------------------------


def test_decay_time_of_each_neuron(dff):
    found = estimate_tau(dff)
    assert found.dims == ("neuron",)
    assert found.attrs["units"] == "s"
    assert found.name == "tau"
    np.testing.assert_array_equal(found, oasis.decay_time(dff.values, frame_rate=20.0))
    lazy = estimate_tau(dff.chunk(neuron=1, time=100))
    assert lazy.chunks is not None
    np.testing.assert_array_equal(lazy.compute(), found)
    silent = estimate_tau(xr.zeros_like(dff))
    assert silent.isnull().all()


def test_decay_time_does_not_cross_epochs(dff):
    data = xr.concat([dff, dff + 50], "time").assign_coords(
        time=np.arange(2400) / 20, epoch=("time", np.repeat([0, 1], 1200))
    )
    np.testing.assert_allclose(estimate_tau(data), estimate_tau(dff), rtol=1e-4)


def test_estimated_decay_time_is_the_one_that_is_used(dff):
    one = dff[:1]
    tau = estimate_tau(one).item()
    np.testing.assert_array_equal(deconvolve(one), deconvolve(one, tau=tau))


def test_pipeline_from_a_recording(made):
    traces = cs.from_numpy(made.traces.values, frame_rate=20)
    spikes = deconvolve(cs.dfof(traces), tau=0.7)
    assert spikes.attrs["history"].count("\n") == 1
    assert '"method": "constrained"' in spikes.attrs["history"]


@both_ops
def test_one_number_for_all_neurons(dff, op):
    tau = estimate_tau(dff)
    with pytest.raises(ArgumentError, match=r"tau as one number for all neurons.*median"):
        op(dff, tau=tau)
    with pytest.raises(ArgumentError, match="noise as one number"):
        op(dff, tau=0.7, noise="low")
    result = op(dff, tau=tau.median())
    np.testing.assert_array_equal(result, op(dff, tau=float(tau.median())))
    assert f'"tau": {float(tau.median())}' in result.attrs["history"]
    lazy = op(dff, tau=estimate_tau(dff.chunk(neuron=2)).max())
    assert f'"tau": {float(tau.max())}' in lazy.attrs["history"]
