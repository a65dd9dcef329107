"""Every operation on every odd kind of trace: a defined result, or an error that says what to do.

A method that cannot do it is listed in `REFUSED`, so that a new refusal fails here.
"""

from collections.abc import Callable
from functools import partial

import dask
import dask.array as da
import numpy as np
import pytest
import xarray as xr

import calscipy as cs
from calscipy.errors import CalscipyError
from calscipy.ops.baseline import BASELINE_ARGUMENTS

ODD_NEURON = "odd one"
SAMPLES = 400


@pytest.fixture(autouse=True, scope="module")
def one_thread():
    with dask.config.set(scheduler="sync"):
        yield


def traces(samples=SAMPLES, frame_rate=30.0):
    """Two ordinary neurons with transients, and one that a case makes odd."""
    draw = np.random.default_rng(0)
    values = draw.normal(1000, 10, (3, samples))
    shape = 200 * np.exp(-np.arange(samples) / (0.5 * frame_rate))
    for start in (samples // 5, samples // 2, 3 * samples // 4):
        values[:, start:] += shape[: samples - start]
    data = cs.from_numpy(values, frame_rate=frame_rate)
    return data.assign_coords(neuron=["first", ODD_NEURON, "last"])


def with_odd(values):
    data = traces()
    data.loc[{"neuron": ODD_NEURON}] = values(data.sel(neuron=ODD_NEURON).values)
    return data


def missing_in_the_middle(row):
    return np.where((np.arange(row.size) > 130) & (np.arange(row.size) < 150), np.nan, row)


def in_two_cycles():
    data = traces()
    later = np.arange(SAMPLES) >= SAMPLES // 2
    times = data.time.values + np.where(later, 7.3, 0)
    return data.assign_coords(
        time=("time", times, data.time.attrs), epoch=("time", np.where(later, 2, 1))
    )


CASES: dict[str, Callable[[], xr.DataArray]] = {
    "ordinary": traces,
    "NaN in the middle": lambda: with_odd(missing_in_the_middle),
    "all NaN": lambda: with_odd(lambda row: np.full_like(row, np.nan)),
    "constant": lambda: with_odd(lambda row: np.full_like(row, 1000.0)),
    "one sample": lambda: traces(1).assign_coords(time=[0.0]),
    "eight samples": lambda: traces(8),
    "2 Hz": lambda: traces(frame_rate=2.0),
    "two cycles": in_two_cycles,
}


def dimensionless(op, **arguments):
    return lambda data: op((data / 1000 - 1).assign_attrs(units="1"), **arguments)


METHODS: dict[str, Callable[[xr.DataArray], xr.DataArray]] = {
    **{f"baseline {m}": partial(cs.baseline, method=m) for m in BASELINE_ARGUMENTS},
    **{f"dfof {m}": partial(cs.dfof, method=m) for m in BASELINE_ARGUMENTS},
    "detrend": cs.detrend,
    "detrend robust": partial(cs.detrend, order=1, robust=True),
    "detrend exponential": partial(cs.detrend, method="exponential", terms=1),
    "detrend divide": partial(cs.detrend, method="exponential", terms=1, mode="divide"),
    "perona_malik": cs.perona_malik,
    "gaussian_smooth": partial(cs.gaussian_smooth, sigma=0.6),
    "savgol": partial(cs.savgol, window=2.6, order=2),
    "noise": dimensionless(cs.noise),
    "noise differences": partial(cs.noise, method="differences"),
    "noise spectrum": partial(cs.noise, method="spectrum"),
    "events matched": cs.events,
    "events derivative": partial(cs.events, method="derivative"),
    "deconvolve": partial(cs.deconvolve, tau=0.5),
    "deconvolve l1": partial(cs.deconvolve, method="l1", tau=0.5, penalty=5.0, baseline=1000.0),
    "deconvolve l0": partial(cs.deconvolve, method="l0", tau=0.5, min_spike=50.0, baseline=1000.0),
    "denoise": partial(cs.denoise, tau=0.5),
    "estimate_tau": cs.estimate_tau,
    "firing_rates": lambda data: cs.firing_rates((data / 1000).assign_attrs(units="1")),
    "mean_rates": lambda data: cs.mean_rates(data.assign_attrs(units="Hz")),
    "normalize": cs.normalize,
    "scale": cs.scale,
    "bin": partial(cs.bin, samples=4, partial="keep"),
    "to_trials": lambda data: cs.to_trials(data, starts=data.time.values[:1], window=(0, 1)),
    "subtract_neuropil": lambda data: cs.subtract_neuropil(data, data * 0.1),
}
NEEDS_A_RATE = {
    "baseline low_pass",
    "baseline rolling_mean",
    "baseline rolling_median",
    "baseline rolling_percentile",
    "baseline maximin",
    "baseline inactive_frames",
    "baseline exponential",
    "gaussian_smooth",
    "savgol",
    "detrend exponential",
    "detrend divide",
    "events matched",
    "events derivative",
    "deconvolve",
    "deconvolve l1",
    "deconvolve l0",
    "denoise",
    "estimate_tau",
    "noise",
    "firing_rates",
    "to_trials",
}
NEEDS_A_RATE |= {f"dfof {name.split()[1]}" for name in NEEDS_A_RATE if name.startswith("baseline")}
REFUSED = {(name, "one sample") for name in (*NEEDS_A_RATE, "detrend", "detrend robust")}
REFUSED |= {("savgol", "eight samples"), ("events derivative", "NaN in the middle")}


def cast(data, dtype):
    if dtype == "uint16":
        return data.round().astype(dtype)
    return data.astype(dtype)


def outcome(method, case, data):
    """Return the result; None for an error, whose message is checked."""
    try:
        return METHODS[method](data).compute()
    except CalscipyError as error:
        message = str(error)
        assert method.split()[0] in message or "neurons" in message
        assert case != "NaN in the middle" or f"neurons {ODD_NEURON}" in message
        return None


@pytest.mark.parametrize("dtype", ["float32", "float64", "uint16"])
@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("method", METHODS)
def test_a_defined_result_or_an_error_that_says_what_to_do(method, case, dtype):
    made = CASES[case]()
    if dtype == "uint16" and made.isnull().any():
        pytest.skip("integers have no NaN")
    data = cast(made, dtype)
    found = outcome(method, case, data)
    for chunks in ({"neuron": 2}, {"time": 50}) if dtype == "float32" else ():
        lazy = data.copy(data=da.from_array(data.values, chunks=tuple(data.chunk(chunks).chunks)))
        again = outcome(method, case, lazy)
        assert (again is None) == (found is None)
        if found is not None:
            assert again.dtype == found.dtype
            np.testing.assert_allclose(again, found, rtol=1e-6, atol=1e-9)
    assert (found is None) == ((method, case) in REFUSED), f"{method} on {case}"
    if found is None:
        return
    others = found.drop_sel(neuron=ODD_NEURON)
    if found.dtype.kind == "f" and case not in ("one sample", "eight samples"):
        assert np.isfinite(others).all()
    alone = METHODS[method](data.drop_sel(neuron=ODD_NEURON))
    np.testing.assert_array_equal(others, alone)  # a neuron does not depend on its neighbours
    if case == "all NaN" and found.dtype.kind == "f":
        assert found.sel(neuron=ODD_NEURON).isnull().all()
    if dtype == "uint16" and found.dtype.kind == "f" and not method.startswith("scale"):
        exact = METHODS[method](data.astype("float32"))
        np.testing.assert_allclose(found, exact, rtol=1e-5, atol=1e-9)


@pytest.mark.parametrize("method", METHODS)
def test_joined_cycles_equal_those_processed_alone(method):
    data = in_two_cycles().astype("float32")
    if "time" not in METHODS[method](data).dims or method in ("normalize", "scale", "to_trials"):
        pytest.skip("one number of all samples")
    joined = METHODS[method](data)
    parts = [METHODS[method](part) for _, part in data.groupby("epoch")]
    if method.startswith("dfof"):  # the noise that guards the denominator is that of all samples
        np.testing.assert_allclose(joined, np.concatenate(parts, axis=-1), rtol=1e-6, atol=1e-9)
    else:
        np.testing.assert_array_equal(joined, np.concatenate(parts, axis=-1))


@pytest.mark.parametrize("factor", [1e-3, 7.0, 1e3])
@pytest.mark.parametrize("method", BASELINE_ARGUMENTS)
def test_dfof_does_not_depend_on_the_gain(method, factor):
    data = traces().astype("float32")
    ratio = cs.dfof(data, method=method)
    scaled = cs.dfof(data * np.float32(factor), method=method)
    # ΔF/F is a difference of numbers near one: their rounding to float32 counts a hundredfold.
    np.testing.assert_allclose(scaled, ratio, rtol=1e-4, atol=1e-5)


def test_one_step_that_is_off_by_five_percent_is_refused_naming_it():
    data = traces()
    times = data.time.values + np.where(np.arange(SAMPLES) > 200, 0.05 / 30, 0)
    data = data.assign_coords(time=("time", times, data.time.attrs))
    for name in sorted(NEEDS_A_RATE):
        with pytest.raises(CalscipyError, match=r"0\.035 s differs .* by 5\.0%"):
            METHODS[name](data)


def test_jitter_and_gaps_between_cycles_are_no_matter():
    data = in_two_cycles()
    jitter = np.random.default_rng(1).uniform(-0.004, 0.004, SAMPLES) / 30
    jittered = data.assign_coords(time=("time", data.time.values + jitter, data.time.attrs))
    for name in sorted(NEEDS_A_RATE):
        METHODS[name](jittered).compute()
