import numpy as np
import pytest
from scipy import stats

from calscipy.kernels import quality
from calscipy.kernels.noise import noise_sigma


def rows(dtype="f8", length=400):
    rng = np.random.default_rng(0)
    f = 100 + rng.gamma(2.0, 5.0, (5, length))
    f[1, 20:50] = np.nan
    f[2] = np.nan
    f[3] = 42
    return f.astype(dtype)


@pytest.mark.parametrize("dtype", ["f4", "f8"])
def test_skewness_is_scipys(dtype):
    f = rows(dtype)
    found = quality.skewness(f)
    assert found.dtype == dtype
    for row in (0, 1, 4):
        expected = stats.skew(f[row].astype("f8"), nan_policy="omit")
        assert found[row] == pytest.approx(expected, rel=1e-6 if dtype == "f4" else 1e-10)
    assert np.isnan(found[2:4]).all()


def test_skewness_of_a_constant_is_not_rounding():
    assert np.isnan(quality.skewness(np.full((1, 1001), 0.1))).all()
    assert quality.skewness(np.array([1.0, 2.0])) == 0


def test_signal_to_noise():
    f = rows()
    expected = np.full(5, np.nan)
    for row in (0, 1, 4):
        height = np.nanpercentile(f[row], 99) - np.nanmedian(f[row])
        expected[row] = height / noise_sigma(f[row])
    np.testing.assert_allclose(quality.signal_to_noise(f), expected, rtol=1e-12)
    bright = np.zeros(99)
    bright[:10] = 5  # half of the steps are 0: no noise to compare with
    assert np.isnan(quality.signal_to_noise(bright))
    parted = np.random.default_rng(1).normal(0, 1, 200)
    parted[100:] += 1e3
    sigma = noise_sigma(parted, starts=[100])
    height = np.percentile(parted, 99) - np.median(parted)
    assert quality.signal_to_noise(parted, starts=[100]) == pytest.approx(height / sigma)


def test_drift_is_the_range_of_medians():
    f = rows()
    f[0] += np.linspace(0, 50, 400)
    f[4, 200:310] = np.nan  # pieces 5 and 6 have none, piece 7 has 40 of 50
    pieces = [(at, at + 50) for at in range(0, 400, 50)]
    medians = [[np.nanmedian(f[row, a:b]) for a, b in pieces] for row in (0, 3)]
    found = quality.drift(f, pieces=pieces)
    np.testing.assert_allclose(found[[0, 3]], np.ptp(medians, axis=1), rtol=1e-12)
    use = [pieces[k] for k in (0, 1, 2, 3, 6, 7)]
    assert found[4] == pytest.approx(np.ptp([np.nanmedian(f[4, a:b]) for a, b in use]))
    assert np.isnan(found[2])
    assert np.isnan(quality.drift(f, pieces=[(0, 400)])).all()
    assert np.isnan(quality.drift(f, pieces=[])).all()
    half = f[:1].copy()
    half[0, 1:399] = np.nan
    assert np.isnan(quality.drift(half, pieces=[(0, 200), (200, 400)])).all()


def test_shares():
    f = rows()
    assert quality.share_missing(f).tolist() == pytest.approx([0, 0.075, 1, 0, 0])
    level = 110.0
    expected = [np.mean(f[0] >= level), np.nanmean(np.where(np.isnan(f[1]), np.nan, f[1] >= level))]
    np.testing.assert_allclose(quality.share_at_least(f, level=level)[:2], expected)
    assert np.isnan(quality.share_at_least(f, level=level)[2])
    assert quality.share_at_least(np.array([4095, 4094], "u2"), level=4095) == 0.5


def test_event_rate_counts_the_time_that_was_seen():
    f = rows()
    events = np.random.default_rng(0).random(f.shape) < 0.05
    found = quality.event_rate(f, events, frame_rate=20.0)
    for row, seconds in ((0, 20.0), (1, 18.5), (3, 20.0)):
        assert found[row] == pytest.approx(events[row].sum() / seconds)
    assert np.isnan(found[2])


@pytest.mark.parametrize("samples", [0, 1, 8])
def test_short_rows(samples):
    f = np.ones((2, samples), "f4")
    events = np.zeros(f.shape, bool)
    results = [
        quality.signal_to_noise(f),
        quality.skewness(f),
        quality.drift(f, pieces=[(0, samples)]),
        quality.share_at_least(f, level=1),
        quality.share_missing(f),
        quality.event_rate(f, events, frame_rate=2.0),
    ]
    for result in results:
        assert result.shape == (2,)
        assert result.dtype == np.float32
    assert np.isnan(results[:3]).all()
