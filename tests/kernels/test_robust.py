import numpy as np
import pytest

from calscipy.kernels.robust import robust_curve


def level(samples, counts=None):
    def fit(weights):
        return np.full(len(samples), np.average(samples, weights=weights))

    return robust_curve(fit, samples, parameters=1, counts=counts)[0]


@pytest.mark.parametrize("seed", range(3))
def test_the_level_of_noise_is_its_mean(seed):
    samples = np.random.default_rng(seed).normal(100, 5, 20_000)
    # 0.06: biweights cost some of the precision of the mean, 0.035
    assert level(samples) == pytest.approx(samples.mean(), abs=0.06)


@pytest.mark.parametrize("share", [0.1, 0.3])
def test_samples_far_above_do_not_count(share):
    rng = np.random.default_rng(0)
    samples = rng.normal(100, 5, 20_000)
    clean = level(samples)
    above = rng.random(len(samples)) < share
    samples[above] += rng.uniform(40, 400, above.sum())
    assert samples.mean() > 115
    assert level(samples) == pytest.approx(clean, abs=0.5)


def test_counts_weigh_the_samples():
    rng = np.random.default_rng(0)
    samples = rng.normal(100, 5, 3000)
    counts = np.where(samples > 100, 1, rng.integers(1, 5, 3000))
    repeated = np.repeat(samples, counts)
    assert samples.mean() - repeated.mean() > 1
    # 0.2: the noise is taken from the samples, however often each counts
    assert level(samples, counts) == pytest.approx(level(repeated), abs=0.2)


def test_few_samples_are_all_counted():
    assert level(np.array([5.0, 5.5, 90.0])) == pytest.approx(33.5)
    assert level(np.array([5.0, 5.5, 6.0, 5.2, 5.7, 90.0])) == pytest.approx(5.5, abs=0.5)


@pytest.mark.parametrize("samples", [[5.0], [5.0, 5.0, 5.0], [0.0, 0.0]])
def test_without_noise_the_first_fit_stands(samples):
    assert level(np.array(samples)) == samples[0]
