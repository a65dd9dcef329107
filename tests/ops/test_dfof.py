"""ΔF/F₀ by every method: invariant, never divided by a lost baseline, with little memory."""

import tracemalloc
import warnings

import dask
import dask.array as da
import numpy as np
import pytest
import xarray as xr

import calscipy as cs
from calscipy.blocks import time
from calscipy.errors import ArgumentError, BaselineWarning
from calscipy.ops.baseline import BASELINE_ARGUMENTS
from calscipy.testing import synthetic_traces

every_method = pytest.mark.parametrize("method", BASELINE_ARGUMENTS)


@pytest.fixture(autouse=True, scope="module")
def one_thread():
    """Threads cost more than these small arrays."""
    with dask.config.set(scheduler="sync"):
        yield


@pytest.fixture(scope="module")
def truth():
    return synthetic_traces(4, 40, 15, snr=10, drift=0.05, seed=1)


@every_method
def test_is_the_change_over_the_baseline(method, truth):
    f0 = cs.baseline(truth.traces, method=method)
    expected = (truth.traces - f0) / (f0 + 7)
    result = cs.dfof(truth.traces, method=method, offset=7)
    np.testing.assert_allclose(result, expected, rtol=1e-5, atol=1e-6)


@every_method
@pytest.mark.parametrize("factor", [1e-3, 0.3, 1e3])
def test_a_factor_changes_nothing(method, factor, truth):
    data = truth.traces
    for dtype, digits in (("f4", 2e-5), ("f8", 1e-6)):
        result = cs.dfof(data.astype(dtype), method=method)
        scaled = cs.dfof((data.astype(dtype) * np.dtype(dtype).type(factor)), method=method)
        # the exponential is fitted by steps that end at a tolerance
        loose = 50 if method == "exponential" else 1
        np.testing.assert_allclose(scaled, result, rtol=0, atol=digits * loose)


@every_method
def test_integers_are_not_truncated(method, truth):
    """F2: counts give the fractions that the same floats give."""
    counts = truth.traces.round().astype("uint16")
    result = cs.dfof(counts, method=method)
    assert result.dtype == np.float32
    expected = cs.dfof(counts.astype("f8"), method=method)
    np.testing.assert_allclose(result, expected, rtol=1e-4, atol=1e-4)
    assert len(np.unique(result)) > 50


@every_method
def test_missing_samples_stay_alone(method):
    """F5: one lost frame is one NaN; a neuron without samples gives no warning."""
    data = synthetic_traces(3, 20, 15, seed=4).traces.copy()
    data[0, 100] = np.nan
    data[2] = np.nan
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        result = cs.dfof(data, method=method)
    np.testing.assert_array_equal(np.isnan(result), np.isnan(data))


@every_method
@pytest.mark.parametrize("chunks", [(2, -1), (-1, 100), (1, 37)])
def test_chunks_change_nothing(method, chunks, truth):
    data = truth.traces
    lazy = data.copy(data=da.from_array(data.values, chunks=chunks))
    xr.testing.assert_equal(cs.dfof(lazy, method=method).compute(), cs.dfof(data, method=method))


def test_joined_recordings_are_as_separate_ones():
    """Also the floor: the noise of one epoch says nothing about another."""
    draw = np.random.default_rng(0)
    quiet, noisy = draw.normal(50, 1, (2, 300)), draw.normal(50, 60, (2, 300))
    data = cs.from_numpy(np.concatenate([quiet, noisy], axis=1), frame_rate=10)
    data = data.assign_coords(epoch=("time", np.repeat([0, 1], 300)))
    with pytest.warns(BaselineWarning):
        together = cs.dfof(data, method="median")
    assert np.isfinite(together[:, :300]).all()
    assert np.isnan(together[:, 300:]).all()
    alone = cs.dfof(data[:, :300].drop_vars("epoch"), method="median")
    np.testing.assert_array_equal(together[:, :300], alone)


# -- a baseline that is too low ------------------------------------------------------------


def low(channels=False):
    values = np.random.default_rng(0).normal(0, 1, (6, 200))
    values[[0, 2, 3, 5]] += 100
    data = cs.from_numpy(values, frame_rate=30).assign_coords(neuron=list("abcdef"))
    if not channels:
        return data
    both = xr.concat([data + 200, data], xr.Variable("channel", ["Ch1", "Ch2"]))
    return both.transpose("neuron", "time", "channel")


@pytest.mark.parametrize("piece", [1, 10**6])
def test_one_warning_names_all_neurons(monkeypatch, piece):
    """F6: a baseline at or below zero would turn the sign of ΔF/F."""
    monkeypatch.setattr(time, "PIECE", piece)
    monkeypatch.setattr(time, "WORTH_THREADS", 1)
    with pytest.warns(BaselineWarning) as caught:
        result = cs.dfof(low(), method="median")
    (warning,) = caught
    assert "dfof: the baseline of neurons b, e is not above 1 standard" in str(warning.message)
    assert warning.filename == __file__
    assert np.isnan(result).any("time").values.tolist() == [False, True, False, False, True, False]
    with pytest.warns(BaselineWarning, match=r"neurons b \(channel Ch2\), e \(channel Ch2\) is"):
        cs.dfof(low(channels=True), method="median")
    with pytest.warns(BaselineWarning, match="the baseline of neurons b is not above"):
        cs.dfof(low()[1], method="median")
    with pytest.warns(BaselineWarning, match="the baseline of the traces is not above"):
        cs.dfof(low()[1].drop_vars("neuron"), method="median")
    with pytest.warns(BaselineWarning, match=r"the baseline of traces \(trial 1\) is not above"):
        cs.dfof(low()[:3].drop_vars("neuron").rename(neuron="trial"), method="median")


def test_one_warning_for_each_task():
    data = low()
    lazy = data.copy(data=da.from_array(data.values, chunks=(2, 50)))
    with pytest.warns(BaselineWarning) as caught:
        cs.dfof(lazy, method="median").compute()
    named = sorted(str(w.message).split(" is ")[0] for w in caught)
    assert named == ["dfof: the baseline of neurons b", "dfof: the baseline of neurons e"]


def test_the_floor_in_place_of_a_low_baseline():
    data = low()
    with pytest.warns(BaselineWarning, match="divided by the floor"):
        result = cs.dfof(data, method="median", below_floor="floor", floor=2.0)
    assert np.isfinite(result).all()
    assert np.corrcoef(data[1], result[1])[0, 1] == pytest.approx(1)
    high = cs.dfof(data + 50, method="median", floor=0)
    assert np.isfinite(high).all()


def test_pixels_are_not_named_one_by_one():
    movie = cs.from_numpy(np.random.default_rng(0).normal(0, 1, (50, 3, 4)), frame_rate=30)
    with pytest.warns(BaselineWarning, match="the baseline of some pixels is not") as caught:
        cs.dfof(movie, method="median")
    assert len(caught) == 1


# -- another array for F0 ------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["uint16", "float32"])
@pytest.mark.parametrize("lazy", [False, True])
def test_damaged_frames_of_a_reference_enter_no_baseline(dtype, lazy):
    draw = np.random.default_rng(0)
    movie = cs.from_numpy(draw.integers(900, 1100, (40, 3, 4)).astype("uint16"), frame_rate=10)
    reference = (movie + 5).astype(dtype)
    valid = np.arange(40) % 7 != 0
    reference[~valid] = 0
    reference = reference.assign_coords(valid=("frames", valid))
    if lazy:
        reference = reference.chunk(y=1)
    result = cs.dfof(movie, method="percentile", reference=reference)
    f0 = np.percentile(movie.values[valid] + 5.0, 8, axis=0)
    np.testing.assert_allclose(result, (movie - f0) / f0, rtol=1e-4, atol=1e-6)
    assert (result.chunks is not None) == lazy


def test_what_is_said_of_samples_is_said_of_traces_alone(truth):
    dfof = cs.dfof(truth.traces)
    events = cs.events(dfof)
    for same in (dfof, cs.denoise(dfof, tau=0.7), cs.savgol(dfof, window=1, order=2)):
        assert same.attrs["level"] == "removed"
    table = cs.event_table(dfof, events)
    quality = cs.quality(dfof, events=events)
    others = [events, cs.count(events), cs.rate(events), cs.bin(events, samples=30, reduce="sum")]
    others += [cs.deconvolve(dfof, tau=0.7), cs.noise(dfof), cs.estimate_tau(dfof)]
    others += [table, *table.values(), quality, *quality.values()]
    binned = cs.bin(dfof, samples=2)
    assert binned.attrs["cell_methods"] == "time: mean"
    others += [cs.events(binned), cs.count(cs.events(binned)), cs.noise(binned)]
    for other in others:
        assert "level" not in other.attrs
    for other in others[-3:]:
        assert "cell_methods" not in other.attrs


def test_a_level_that_was_removed(truth):
    """F10: ΔF/F of a trace around zero means nothing."""
    with pytest.raises(ArgumentError, match=r"their level, but it was removed.*keep_level"):
        cs.dfof(cs.dfof(truth.traces))
    with pytest.raises(ArgumentError, match=r"must be one of \['low_pass'.*got 'baseline'"):
        cs.dfof(truth.traces, method="baseline")


def test_references_that_do_not_fit(truth):
    data = truth.traces
    flawed = {
        "its level, but it was removed": cs.dfof(data),
        "dimensions": data.isel(neuron=0, drop=True),
        "has 100 along 'time'": data.isel(time=slice(100)),
        "other values of 'neuron'": data.isel(neuron=[1, 0, 2, 3]),
        "is in 'V', the data are in 'count'": data.assign_attrs(units="V"),
        "DataArray of numbers, got bool": data > 0,
        "DataArray of numbers, got float32": data.values.astype("f4"),
    }
    for message, reference in flawed.items():
        with pytest.raises(ArgumentError, match=f"dfof.*{message}"):
            cs.dfof(data, reference=reference)
    turned = cs.dfof(data, reference=data.transpose())
    np.testing.assert_array_equal(turned, cs.dfof(data))


@pytest.mark.parametrize(
    "arguments",
    [
        {"offset": np.nan},
        {"offset": "1"},
        {"floor": None},
        {"cutoff": "1"},
        {"method": "percentile", "percentile": "8"},
        {"method": "rolling_mean", "window": "60"},
    ],
)
def test_arguments_that_are_no_numbers(truth, arguments):
    with pytest.raises(ArgumentError, match=r"dfof|floor"):
        cs.dfof(truth.traces, **arguments)


# -- memory --------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["uint16", "float32"])
@pytest.mark.parametrize("method", ["low_pass", "percentile"])
@pytest.mark.parametrize("turned", [False, True])
def test_an_eager_array_is_not_copied(monkeypatch, method, dtype, turned):
    monkeypatch.setattr(time, "PIECE", 2**13)
    monkeypatch.setattr("calscipy.history._identity", lambda value: {})  # it reads the bytes
    data = cs.from_numpy(
        np.random.default_rng(0).integers(900, 1100, (200, 4096)).astype(dtype), frame_rate=30
    )
    if turned:
        data = data.T.copy()
    reference = data + 1

    def work(some, other):
        return cs.dfof(some, method=method, reference=other)

    work(data[:3, :50], reference[:3, :50])  # imports and caches
    tracemalloc.start()
    try:
        result = work(data, reference)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < result.nbytes + 2**20
