"""Every baseline on every kind of trace: defined, or an error that says what to do."""

import warnings

import dask
import dask.array as da
import numpy as np
import pytest
import xarray as xr
from scipy import signal

import calscipy as cs
from calscipy.errors import ArgumentError, TimeAxisError
from calscipy.ops.baseline import BASELINE_ARGUMENTS
from calscipy.testing import synthetic_traces

METHODS = tuple(BASELINE_ARGUMENTS)
WITHOUT_TIME = ("mean", "median", "percentile", "mode")
every_method = pytest.mark.parametrize("method", METHODS)


@pytest.fixture(autouse=True, scope="module")
def one_thread():
    """Threads cost more than these small arrays."""
    with dask.config.set(scheduler="sync"):
        yield


def traces(samples=200, dtype="float32", rate=10.0, epochs=1):
    """Three neurons: plain, constant, and one that lacks samples in the middle or all of them."""
    values = np.random.default_rng(0).normal(500, 10, (4, samples))
    values[1] = 300
    if np.dtype(dtype).kind == "f":
        values[2, samples // 3 : samples // 2] = np.nan
        values[3] = np.nan
    data = cs.from_numpy(values.astype(dtype), frame_rate=rate)
    if epochs == 2:
        half = samples // 2
        late = data.time.values + np.where(np.arange(samples) < half, 0, 33.3)
        data = data.assign_coords(epoch=("time", np.arange(samples) // half), time=late)
    return data


def lazily(data, chunks):
    return data.copy(data=da.from_array(data.values, chunks=chunks))


@every_method
@pytest.mark.parametrize("dtype", ["float32", "float64", "uint16", "int32"])
@pytest.mark.parametrize(
    ("samples", "rate", "epochs"), [(200, 10.0, 1), (200, 2.0, 2), (8, 30.0, 1), (6, 30.0, 2)]
)
def test_defined_on_every_kind_of_trace(method, dtype, samples, rate, epochs):
    data = traces(samples, dtype, rate, epochs)
    if method == "exponential" and samples // epochs < 5:
        with pytest.raises(ArgumentError, match=r"baseline: neurons 0, 1, 2.* Use fewer terms or"):
            cs.baseline(data, method=method)
        return
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        f0 = cs.baseline(data, method=method)
    assert f0.dtype == ("float64" if dtype in ("float64", "int32") else "float32")
    missing = np.isnan(data).all("time").values if np.dtype(dtype).kind == "f" else [False] * 4
    parts = (
        [slice(0, samples)] if epochs == 1 else [slice(0, samples // 2), slice(samples // 2, None)]
    )
    for part in parts:
        some = data[:, part]
        gone = np.isnan(some).all("time").values if np.dtype(dtype).kind == "f" else missing
        assert np.isfinite(f0.values[:, part][~np.asarray(gone)]).all()
        assert np.isnan(f0.values[:, part][np.asarray(gone)]).all()
    np.testing.assert_allclose(f0[1], 300, rtol=1e-6)
    assert f0[0].min() > 450
    assert f0[0].max() < 550
    for chunks in ((2, -1), (-1, 3), (1, 5)):
        lazy = cs.baseline(lazily(data, chunks), method=method)
        assert lazy.chunks is not None
        xr.testing.assert_equal(lazy.compute(), f0)


@every_method
def test_one_sample(method):
    data = traces(1)
    if method in WITHOUT_TIME:
        np.testing.assert_array_equal(cs.baseline(data, method=method), data)
        return
    with pytest.raises(TimeAxisError, match="at least two samples"):
        cs.baseline(data, method=method)


@every_method
def test_epochs_are_recordings_of_their_own(method):
    data = traces(400, "float64", epochs=2)
    together = cs.baseline(data, method=method)
    for part in (slice(0, 200), slice(200, 400)):
        alone = cs.baseline(data[:, part].drop_vars("epoch"), method=method)
        np.testing.assert_allclose(together[:, part], alone, rtol=1e-12)


@every_method
def test_any_dims(method):
    data = traces(60)
    expected = cs.baseline(data, method=method)
    stacked = xr.concat([data, data], "channel")
    np.testing.assert_array_equal(cs.baseline(stacked, method=method)[1], expected)
    np.testing.assert_array_equal(cs.baseline(data.T, method=method).T, expected)
    one = cs.baseline(data[2], method=method)
    assert one.dims == ("time",)
    np.testing.assert_array_equal(one, expected[2])


@every_method
def test_scales_with_the_trace(method):
    data = traces(300, "float64")
    f0 = cs.baseline(data, method=method)
    np.testing.assert_allclose(cs.baseline(data * 3, method=method), f0 * 3, rtol=1e-5)


def test_low_pass_is_that_of_0_3_5():
    """F4: firwin, filtfilt and a percentile, on what they are defined for."""
    data = traces(200, "float64", rate=30.0)[:2]
    weights = signal.firwin(29, 1.0, window="hamming", fs=30.0)
    smooth = signal.filtfilt(weights, [1.0], data.values, padlen=87)
    expected = np.percentile(smooth, 5, axis=1)
    np.testing.assert_allclose(cs.baseline(data)[:, 0], expected, rtol=1e-10)
    np.testing.assert_allclose(cs.baseline(data.astype("f4"))[:, 0], expected, rtol=1e-6)


@pytest.mark.parametrize("rate", [0.5, 1.0, 2.0])
def test_slow_recordings_are_not_filtered(rate):
    """F3: a cut-off at or above half the frame rate."""
    data = traces(200, rate=rate)[:2]
    expected = cs.baseline(data, method="percentile", percentile=5.0)
    np.testing.assert_array_equal(cs.baseline(data), expected)


@pytest.mark.parametrize(
    "method", ["rolling_mean", "rolling_median", "maximin", "inactive_frames", "exponential"]
)
def test_curves_follow_bleaching(method):
    """F7: one level for a trace that bleaches is far too low at its start."""
    truth = synthetic_traces(6, 200, 15, snr=10, event_rate=0.01, bleaching=0.4, seed=2)
    f0 = cs.baseline(
        truth.traces, method=method, **({} if method == "exponential" else {"window": 40})
    )
    error = (f0 / truth.f0 - 1).median("time")
    assert np.abs(error).max() < 0.05
    assert np.abs(cs.baseline(truth.traces, method="median") / truth.f0 - 1).max() > 0.1


@pytest.mark.parametrize("method", ["mode", "median"])
def test_levels_of_traces_that_rest_most_of_the_time(method):
    truth = synthetic_traces(6, 200, 15, snr=5, event_rate=0.03, seed=3)
    error = cs.baseline(truth.traces, method=method) / truth.f0 - 1
    assert np.abs(error.mean("time")).max() < 0.1


def test_arguments():
    data = traces()
    with pytest.raises(
        ArgumentError, match=r"must be one of \['low_pass'.*'exponential'\], got 'b"
    ):
        cs.baseline(data, method="baseline")  # F1
    for method, defaults in BASELINE_ARGUMENTS.items():
        for name in {"percentile", "window", "sigma", "cutoff", "terms"} - set(defaults):
            with pytest.raises(ArgumentError, match=f"method='{method}' ignores {name}"):
                cs.baseline(data, method=method, **{name: 1})
    for method, wrong, message in (
        ("maximin", {"sigma": -1.0}, "sigma >= 0 in s"),
        ("maximin", {"window": 0.0}, "window > 0 in seconds"),
        ("maximin", {"sigma": 1e9}, "sigma in seconds, up to 86400"),
        ("rolling_mean", {"window": 2e9}, r"seconds, up to 86400.* in ms\? Then it is 2e\+06 s"),
        ("low_pass", {"cutoff": 0.0}, "cutoff > 0 in Hz"),
        ("exponential", {"terms": 3}, "terms=1 or terms=2"),
        ("rolling_percentile", {"percentile": 101}, "between 0 and 100"),
    ):
        with pytest.raises(ArgumentError, match=message):
            cs.baseline(data, method=method, **wrong)


def test_windows_are_in_seconds():
    data = traces(600, rate=20.0)[:1]
    wide = cs.baseline(data, method="rolling_median", window=3.0)
    rows = np.pad(data.values[0], 30, mode="symmetric")
    expected = [np.median(rows[at : at + 61]) for at in range(600)]
    np.testing.assert_array_equal(wide[0], np.array(expected, "f4"))


@every_method
def test_history_has_the_arguments_that_were_used(method):
    line = cs.baseline(traces(), method=method).attrs["history"]
    for name, value in BASELINE_ARGUMENTS[method].items():
        assert f'"{name}": {value}' in line
