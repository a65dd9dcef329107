"""Deconvolution: conditions of optimality, other solvers, closed forms, gaps and odd traces."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import optimize

from calscipy.errors import RowError
from calscipy.kernels import oasis
from calscipy.kernels.baseline import as_float
from calscipy.kernels.noise import noise_sigma
from calscipy.testing import synthetic_traces

RATE = 10.0


def tau_of(decay):
    return -1 / np.log(decay) / RATE


def simulated(rng, samples, decay, noise=0.3, rate=0.1, level=0.0):
    kicks = (rng.random(samples) < rate) * rng.uniform(0.5, 2, samples)
    calcium = np.zeros(samples)
    for t in range(samples):
        calcium[t] = decay * calcium[t - 1] * (t > 0) + kicks[t]
    return level + calcium + rng.normal(0, noise, samples)


def both(f, **arguments):
    """Spikes and baseline plus calcium of the same problem."""
    return oasis.spikes(f, **arguments), oasis.denoised(f, **arguments)


def suffix_sums(residual, decay):
    """Slope of half the squared residual by a spike at each sample, negated."""
    out = np.zeros(len(residual) + 1)
    for t in reversed(range(len(residual))):
        out[t] = residual[t] + decay * out[t + 1]
    return out[:-1]


def assert_optimal(f, spikes, fit, decay, baseline, penalty=None):
    """Karush-Kuhn-Tucker conditions, sufficient as the problem is convex; return the penalty."""
    valid = ~np.isnan(f)
    first = int(np.argmax(valid))
    f, spikes, fit, valid = (a[first:] for a in (f, spikes, fit, valid))
    scale = np.abs(f[valid] - baseline).max() + 1e-12
    calcium = fit - baseline
    steps = np.append(calcium[0], calcium[1:] - decay * calcium[:-1])
    np.testing.assert_allclose(spikes[1:][valid[1:]], steps[1:][valid[1:]], atol=1e-9 * scale)
    assert np.isnan(spikes[~valid]).all()
    assert (np.abs(steps[~valid]) <= 1e-9 * scale).all()
    assert spikes[0] == 0
    assert (spikes[valid] >= 0).all()
    assert (calcium >= -1e-9 * scale).all()
    slopes = suffix_sums(np.where(valid, f - fit, 0.0), decay)
    active = steps > 1e-7 * scale
    if penalty is None:
        penalty = slopes[active].mean() if active.any() else max(slopes.max(), 0.0)
    tolerance = 1e-5 * scale / (1 - decay)
    assert (slopes <= penalty + tolerance).all()
    assert (np.abs(slopes - penalty)[active] <= tolerance).all()
    return penalty


def baseline_of(spikes, fit, decay):
    at = np.flatnonzero(~np.isnan(spikes) & (np.arange(len(fit)) > 0))
    at = at[~np.isnan(fit[at - 1])]
    return np.median((fit[at] - decay * fit[at - 1] - spikes[at]) / (1 - decay))


traces = st.tuples(
    st.integers(0, 10_000), st.integers(2, 120), st.floats(0.2, 0.98), st.sampled_from([0, 0.2])
)


def drawn(case):
    seed, samples, decay, gaps = case
    rng = np.random.default_rng(seed)
    f = simulated(rng, samples, decay, noise=rng.choice([0.05, 0.5]), level=rng.uniform(-2, 2))
    f[rng.random(samples) < gaps] = np.nan
    return f, decay


@settings(deadline=None, derandomize=True, max_examples=100)
@given(traces, st.sampled_from([0.0, 0.3, 3.0]), st.floats(-2, 2))
def test_a_given_penalty_is_solved_to_the_optimum(case, penalty, baseline):
    f, decay = drawn(case)
    if np.isnan(f).all():
        return
    arguments = {"penalty": penalty, "baseline": baseline, "frame_rate": RATE}
    spikes, fit = both(f, tau=tau_of(decay), **arguments)
    assert_optimal(f, spikes, fit, decay, baseline, penalty)


@settings(deadline=None, derandomize=True, max_examples=150)
@given(traces, st.sampled_from([0.05, 0.3, 0.7, 0.95]), st.booleans())
def test_the_noise_constraint_is_met_at_the_optimum(case, share, free):
    f, decay = drawn(case)
    valid = ~np.isnan(f)
    if np.unique(f[valid]).size < 3:
        return
    noise = share * float(np.std(f[valid]))
    given_baseline = None if free else float(np.percentile(f[valid], 20))
    arguments = {"noise": noise, "baseline": given_baseline, "frame_rate": RATE}
    spikes, fit = both(f, tau=tau_of(decay), **arguments)
    baseline = baseline_of(spikes, fit, decay) if free else given_baseline
    penalty = assert_optimal(f, spikes, fit, decay, baseline)
    residual = (f - fit)[valid]
    mean_square = np.mean(residual**2)
    if penalty > 1e-6 * noise and mean_square < np.mean((f[valid] - baseline) ** 2) - 1e-9:
        np.testing.assert_allclose(mean_square, noise**2, rtol=1e-4)
    elif (spikes[valid] > 0).any():  # the noise is smaller than any fit leaves
        assert mean_square >= noise**2 * (1 - 1e-4)
    if free:
        assert f[valid].min() - 1e-6 <= baseline <= f[valid].mean() + 1e-6
        # at the lower bound a lower baseline would still fit better
        bound = baseline < f[valid].min() + 1e-5 * noise
        assert residual.mean() < 1e-5 * noise
        assert bound or residual.mean() > -1e-5 * noise


def test_constrained_by_a_general_solver():
    rng = np.random.default_rng(3)
    decay, samples, noise = 0.8, 40, 0.3
    f = simulated(rng, samples, decay, noise, level=1.0)
    lags = np.subtract.outer(np.arange(samples), np.arange(samples))
    calcium = np.where(lags >= 0, decay ** np.maximum(lags, 0), 0.0)
    matrix = np.column_stack([calcium, np.ones(samples)])
    weights = np.append(np.ones(samples), 0.0)
    found = optimize.minimize(
        lambda x: weights @ x,
        np.append(np.full(samples, 0.1), f.mean()),
        jac=lambda x: weights,
        bounds=[(0, None)] * samples + [(None, None)],
        constraints={
            "type": "ineq",
            "fun": lambda x: noise**2 * samples - np.sum((matrix @ x - f) ** 2),
            "jac": lambda x: -2 * matrix.T @ (matrix @ x - f),
        },
        method="SLSQP",
        options={"maxiter": 2000, "ftol": 1e-12},
    )
    assert found.success
    spikes, fit = both(f, frame_rate=RATE, tau=tau_of(decay), noise=noise)
    # SLSQP stops within 1e-5 of the optimum, which is flat
    np.testing.assert_allclose(fit, matrix @ found.x, atol=1e-3)
    np.testing.assert_allclose(spikes[1:], found.x[1:-1], atol=1e-3)


def test_without_penalty_by_nnls():
    rng = np.random.default_rng(4)
    decay, samples = 0.9, 60
    f = simulated(rng, samples, decay)
    missing = rng.random(samples) < 0.2
    missing[0] = False
    lags = np.subtract.outer(np.arange(samples), np.arange(samples))
    calcium = np.where(lags >= 0, decay ** np.maximum(lags, 0), 0.0)
    kept = calcium[np.ix_(~missing, ~missing)]  # no spike is told from one at a missing sample
    expected, _ = optimize.nnls(kept, f[~missing])
    f[missing] = np.nan
    spikes, fit = both(f, frame_rate=RATE, tau=tau_of(decay), penalty=0, baseline=0)
    np.testing.assert_allclose(spikes[~missing][1:], expected[1:], atol=1e-9)
    np.testing.assert_allclose(fit, calcium[:, ~missing] @ expected, atol=1e-9)


def least_of_all_patterns(f, decay, min_spike):
    """Solve by trying which samples have spikes: least squares of calcium that starts freely."""
    samples = len(f)
    lags = np.subtract.outer(np.arange(samples), np.arange(samples))
    calcium = np.where(lags >= 0, decay ** np.maximum(lags, 0), 0.0)
    best = np.inf, np.zeros(samples)
    for pattern in itertools.product([False, True], repeat=samples - 1):
        columns = np.append(0, 1 + np.flatnonzero(pattern))
        least = np.append(0.0, np.full(len(columns) - 1, min_spike))
        matrix = calcium[:, columns]
        extra, _ = optimize.nnls(matrix, f - matrix @ least)
        fit = matrix @ (extra + least)
        best = min(best, (np.sum((f - fit) ** 2), tuple(fit)))
    return best[0], np.array(best[1])


@pytest.mark.parametrize("seed", range(8))
def test_smallest_spikes_against_all_patterns(seed):
    rng = np.random.default_rng(seed)
    decay, min_spike = 0.7, 0.8
    f = np.zeros(9)
    for t in rng.choice(np.arange(1, 9), 2, replace=False):
        f[t:] += rng.uniform(1.0, 2.0) * decay ** np.arange(9 - t)
    f += rng.normal(0, 0.05, 9)
    arguments = {"penalty": 0.0, "min_spike": min_spike, "baseline": 0.0}
    spikes, fit = both(f, frame_rate=RATE, tau=tau_of(decay), **arguments)
    least, expected = least_of_all_patterns(f, decay, min_spike)
    np.testing.assert_allclose(np.sum((f - fit) ** 2), least, rtol=1e-9)
    np.testing.assert_allclose(fit, expected, atol=1e-9)
    assert (spikes > 0).sum() == 2


@settings(deadline=None, derandomize=True, max_examples=100)
@given(traces, st.floats(0.1, 2), st.booleans())
def test_spikes_are_none_or_at_least_the_smallest(case, min_spike, free):
    f, decay = drawn(case)
    if np.isnan(f).all():
        return
    arguments = {"penalty": 0.0, "min_spike": min_spike, "baseline": None if free else 0.0}
    spikes, fit = both(f, frame_rate=RATE, tau=tau_of(decay), noise=0.2, **arguments)
    some = spikes[spikes > 0]
    assert (some >= min_spike * (1 - 1e-9)).all()
    assert np.isfinite(fit[np.argmax(~np.isnan(f)) :]).all()


@pytest.mark.parametrize("seed", range(5))
def test_the_smallest_spike_found_keeps_the_residuals_within_the_noise(seed):
    rng = np.random.default_rng(seed)
    f = simulated(rng, 400, 0.9, noise=0.2, rate=0.03, level=5.0)
    arguments = {"frame_rate": RATE, "tau": tau_of(0.9), "penalty": 0.0, "noise": 0.21}
    spikes, fit = both(f, min_spike=None, **arguments)
    assert np.mean((f - fit) ** 2) <= 0.21**2 * (1 + 1e-9)
    more = oasis.denoised(f, min_spike=2 * spikes[spikes > 0].min(), **arguments)
    assert np.mean((f - more) ** 2) > 0.21**2


def test_closed_form_of_one_transient():
    f = np.zeros(50)
    f[10:] = 2 * 0.9 ** np.arange(40)
    spikes, fit = both(f + 7, frame_rate=RATE, tau=tau_of(0.9), penalty=0, baseline=7.0)
    expected = np.zeros(50)
    expected[10] = 2
    np.testing.assert_allclose(spikes, expected, atol=1e-12)
    np.testing.assert_allclose(fit, f + 7, atol=1e-12)


@pytest.mark.parametrize("tau", [1e-6, 1e-3, 1e6, 1e30])
def test_extreme_decay_times(tau):
    f = simulated(np.random.default_rng(0), 300, 0.9)
    for arguments in METHODS.values():
        spikes, fit = both(f, frame_rate=RATE, tau=tau, **arguments)
        assert np.isfinite(spikes).all()
        assert (spikes >= 0).all()
        assert np.isfinite(fit).all()
    spikes, fit = both(f, frame_rate=RATE, tau=1e-6, penalty=0, baseline=0)
    np.testing.assert_allclose(fit, np.maximum(f, 0), atol=1e-12)  # nothing is left of a spike
    np.testing.assert_allclose(spikes[1:], np.maximum(f, 0)[1:], atol=1e-12)


def test_a_gap_decays_and_adds_no_weight():
    decay = 0.8
    f = 3 * decay ** np.arange(30.0)
    f[4:20] = np.nan
    f[2] = np.inf  # counts as missing
    spikes, fit = both(f, frame_rate=RATE, tau=tau_of(decay), penalty=0, baseline=0)
    np.testing.assert_allclose(fit, 3 * decay ** np.arange(30.0), rtol=1e-12)
    np.testing.assert_array_equal(np.isnan(spikes), ~np.isfinite(f))
    # what rose during the gap is a spike at its end
    f[20:] += 1.5 * decay ** np.arange(10.0)
    spikes = oasis.spikes(f, frame_rate=RATE, tau=tau_of(decay), penalty=0, baseline=0)
    assert np.flatnonzero(spikes > 1e-9).tolist() == [20]
    np.testing.assert_allclose(spikes[20], 1.5, rtol=1e-9)


def test_before_the_first_valid_sample_nothing_is_known():
    f = np.array([np.nan, np.nan, 4.0, 2.0, 1.0, 3.0])
    spikes, fit = both(f, frame_rate=RATE, tau=tau_of(0.5), penalty=0, baseline=0)
    np.testing.assert_allclose(spikes, [np.nan, np.nan, 0, 0, 0, 2.5], atol=1e-12)
    np.testing.assert_allclose(fit, f, atol=1e-12)


METHODS = {
    "constrained": {},
    "l1": {"penalty": 0.2},
    "l1 with baseline": {"penalty": 0.2, "baseline": 0.0},
    "l0": {"penalty": 0.0, "min_spike": None},
    "smallest given": {"penalty": 0.0, "min_spike": 0.5},
}
every_method = pytest.mark.parametrize("arguments", METHODS.values(), ids=METHODS)


@every_method
@pytest.mark.parametrize("dtype", ["float32", "float64", "uint16"])
def test_rows_stand_alone(arguments, dtype):
    rng = np.random.default_rng(0)
    f = np.stack([simulated(rng, 200, 0.9, noise=0.3, level=5.0) for _ in range(5)])
    f = (f * 100).astype(dtype)
    if f.dtype.kind == "f":
        f[1, 50:60] = np.nan
        f[3] = np.nan
    f[4] = 700
    before = f.copy()
    f.flags.writeable = False
    arguments = {"frame_rate": RATE, "tau": 1.0, **arguments}
    for kernel in (oasis.spikes, oasis.denoised):
        together = kernel(f, **arguments)
        assert together.dtype == ("float64" if dtype == "float64" else "float32")
        assert together.shape == f.shape
        for at, row in enumerate(f):
            np.testing.assert_array_equal(kernel(row, **arguments), together[at])
        np.testing.assert_array_equal(kernel(f[:, None], **arguments)[:, 0], together)
        assert np.isnan(together[3]).all() == (f.dtype.kind == "f")
        if "baseline" not in arguments:
            expected = 700 if kernel is oasis.denoised else 0
            np.testing.assert_array_equal(together[4], expected)
    np.testing.assert_array_equal(f, before)


@every_method
@pytest.mark.parametrize("samples", [0, 1, 2, 8])
@pytest.mark.parametrize("rate", [2.0, 30.0])
def test_short_and_constant_traces(arguments, samples, rate):
    f = np.full((2, samples), 0.0)
    for tau in (None, 0.5):
        spikes, fit = both(f, frame_rate=rate, tau=tau, **arguments)
        np.testing.assert_array_equal(spikes, f)
        np.testing.assert_array_equal(fit, f)


@every_method
def test_a_trace_of_noise_alone_has_few_spikes(arguments):
    f = np.random.default_rng(0).normal(0, 0.1, (4, 3000))
    spikes = oasis.spikes(f, frame_rate=RATE, tau=0.7, noise=0.105, **arguments)
    assert np.isfinite(spikes).all()
    if "penalty" not in arguments or arguments.get("min_spike", 0) is None:
        assert not spikes.any()


def test_what_can_not_be_estimated_is_refused_with_the_rows():
    rng = np.random.default_rng(0)
    f = rng.normal(0, 1, (4, 300))
    f[1] = simulated(rng, 300, 0.95, noise=0.1)
    f[3] = np.nan
    with pytest.raises(RowError, match=r"rows 0, 2 show no decay .* Give tau in s") as caught:
        oasis.spikes(f, frame_rate=RATE)
    assert caught.value.rows == [0, 2]
    steps = np.repeat([[0.0, 1.0]], 50, axis=1)
    with pytest.raises(RowError, match=r"rows 0 show no noise .* Give noise") as caught:
        oasis.spikes(steps, frame_rate=RATE, tau=1.0)
    assert caught.value.rows == [0]
    with pytest.raises(RowError, match="fewer than three"):
        oasis.spikes([0.0, 1.0, 0.5], frame_rate=RATE, tau=1.0)
    # neither is needed here
    oasis.spikes(steps, frame_rate=RATE, tau=1.0, penalty=0.1, baseline=0.0)


# -- the decay time --------------------------------------------------------------------------


def slow_covariance(row, lag, edges):
    products = []
    for start, stop in itertools.pairwise(edges):
        part = row[start:stop] - np.nanmean(row[start:stop])
        products += [part[t] * part[t + lag] for t in range(len(part) - lag)]
    return np.nanmean(products)


@pytest.mark.parametrize("gaps", [0, 0.3])
def test_decay_time_by_slow_loop(gaps):
    rng = np.random.default_rng(5)
    f = simulated(rng, 900, 0.9, level=3.0)
    f[500:] += 40  # an epoch of another level
    f[rng.random(900) < gaps] = np.nan
    edges = [0, 500, 900]
    covariance = np.array([slow_covariance(f, lag, edges) for lag in range(60)])
    fallen = next(lag for lag in range(2, 60) if covariance[lag] < covariance[1] / 2)
    step = int(np.ceil(fallen / 2))
    near, far = covariance[1 : fallen + 1], covariance[1 + step : fallen + 1 + step]
    slope = optimize.minimize_scalar(lambda r: np.sum((far - r * near) ** 2), bounds=(0, 1)).x
    found = oasis.decay_time(f, frame_rate=RATE, starts=[500])
    np.testing.assert_allclose(found, -step / np.log(slope) / RATE, rtol=1e-4)


@pytest.mark.parametrize("rate", [10.0, 30.0, 60.0])
def test_decay_time_of_synthetic_traces_at_every_frame_rate(rate):
    made = synthetic_traces(neurons=20, duration=600, frame_rate=rate, snr=5, decay=0.7)
    error = oasis.decay_time(made.traces.values, frame_rate=rate) / 0.7 - 1
    assert abs(np.median(error)) < 0.06
    assert np.mean(np.abs(error) < 0.2) >= 0.95  # transients may by chance come in pairs


def test_decay_time_of_noise_is_unknown():
    f = np.random.default_rng(1).normal(0, 1, (30, 2000)).astype("float32")
    f[0] = 5.0
    f[1] = np.nan
    found = oasis.decay_time(f, frame_rate=RATE)
    assert found.dtype == np.float32
    assert np.isnan(found).all()
    for samples in (0, 1, 2, 8):
        assert np.isnan(oasis.decay_time(f[:, :samples], frame_rate=RATE)).all()
    # a ramp does not decay within half of the trace
    assert np.isnan(oasis.decay_time(np.arange(500.0), frame_rate=RATE))


# -- known spikes ------------------------------------------------------------------------------


@pytest.mark.parametrize("arguments", [{}, {"penalty": 0.0, "min_spike": None}], ids=["l1", "l0"])
def test_spikes_of_synthetic_traces(arguments):
    made = synthetic_traces(neurons=6, duration=300, frame_rate=30, snr=5, event_rate=0.1, seed=2)
    f = as_float(made.traces.values) / 500 - 1
    spikes, fit = both(f, frame_rate=30, tau=0.7, **arguments)
    kernel = np.exp(-((np.arange(-12, 13) / 3) ** 2) / 2)  # of 0.1 s: the rise takes 0.05 s
    for found, true in zip(spikes, made.spikes.values, strict=True):
        smooth = [np.convolve(x, kernel, mode="same") for x in (found, true)]
        assert np.corrcoef(*smooth)[0, 1] > 0.9
    sigma = noise_sigma(f)
    error = np.sqrt(np.mean((fit - made.dfof.values) ** 2, axis=1))
    assert (error < 0.6 * sigma).all()
    # a burst of one unit peaks at 0.5; without its slow rise it would reach 0.64
    total = spikes.sum(axis=1) / made.spikes.values.sum(axis=1)
    assert ((total > 0.3) & (total < 0.9)).all()
