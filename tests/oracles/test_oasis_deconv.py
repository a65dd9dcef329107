"""Deconvolution against `oasis-deconv`; run with it installed, for it is not a dependency."""

import warnings

import numpy as np
import pytest

from calscipy.kernels import oasis

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    oracle = pytest.importorskip("oasis.functions")

RATE = 10.0


def trace(rng, samples, decay):
    f = rng.normal(0, rng.choice([0.1, 0.5, 2.0]), samples)
    for t in np.flatnonzero(rng.random(samples) < 0.05):
        f[t:] += rng.uniform(0.5, 2) * decay ** np.arange(samples - t)
    return f


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize(("penalty", "min_spike"), [(0, 0), (0.7, 0), (0, 0.4), (0.2, 0.4)])
def test_same_calcium_and_spikes(penalty, min_spike, dtype):
    rng = np.random.default_rng(0)
    for _ in range(100):
        samples, decay = int(rng.integers(2, 2000)), rng.uniform(0.3, 0.99)
        f = trace(rng, samples, decay).astype(dtype)
        calcium, spikes = oracle.oasisAR1(f.astype("f8"), decay, lam=penalty, s_min=min_spike)
        arguments = {"tau": -1 / np.log(decay) / RATE, "penalty": penalty, "min_spike": min_spike}
        arguments |= {"frame_rate": RATE, "baseline": 0.0}
        # float32 rounds the result alone; it is solved as float64
        tolerance = 1e-6 if dtype == "float32" else 1e-9
        tolerance *= max(1.0, np.abs(f).max())
        np.testing.assert_allclose(oasis.denoised(f, **arguments), calcium, atol=tolerance)
        np.testing.assert_allclose(oasis.spikes(f, **arguments), spikes, atol=tolerance)


def test_constrained_with_no_more_activity_for_the_same_residual():
    rng = np.random.default_rng(1)
    decay, noise = 0.9, 0.3
    for _ in range(10):
        f = rng.normal(0, noise, 3000)
        for t in np.flatnonzero(rng.random(3000) < 0.02):
            f[t:] += rng.uniform(0.5, 2) * decay ** np.arange(3000 - t)
        calcium, theirs, baseline, *_ = oracle.constrained_oasisAR1(f, decay, noise, True)
        reached = np.sqrt(np.mean((f - baseline - calcium) ** 2))
        arguments = {"frame_rate": RATE, "tau": -1 / np.log(decay) / RATE, "noise": reached}
        ours = oasis.spikes(f, **arguments)
        fit = oasis.denoised(f, **arguments)
        np.testing.assert_allclose(np.sqrt(np.mean((f - fit) ** 2)), reached, rtol=1e-6)
        assert ours.sum() <= theirs.sum() + calcium[0] + 1e-9
        np.testing.assert_allclose(ours.sum(), theirs.sum(), rtol=0.05)
