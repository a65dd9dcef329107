import numpy as np
import pytest
from scipy import ndimage

from calscipy.kernels.subtract_neuropil import neuropil_coefficient, without_neuropil
from calscipy.testing import synthetic_traces


def mixture(share, *, snr=5.0, duration=300.0, rate=30.0, noise=3.0, neurons=8, seed=0):
    """Active neurons with drift and bleaching, and a share of a neuropil that has both too."""
    truth = synthetic_traces(neurons, duration, rate, snr=snr, drift=0.1, bleaching=0.2, seed=seed)
    rng = np.random.default_rng(seed)
    wave = ndimage.gaussian_filter1d(rng.normal(size=truth.traces.shape), rate, axis=1)
    neuropil = 0.6 * truth.f0.values + 60 * wave / wave.std(axis=1, keepdims=True)
    f = truth.traces.values + share * neuropil
    return f.astype("f4"), (neuropil + rng.normal(0, noise, f.shape)).astype("f4")


@pytest.mark.parametrize("snr", [3.0, 5.0, 10.0])
@pytest.mark.parametrize("share", [0.0, 0.4, 0.7, 1.1])
def test_the_share_of_a_mixture_is_found(share, snr):
    f, neuropil = mixture(share, snr=snr)
    found = neuropil_coefficient(f, neuropil, frame_rate=30.0)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, share, atol=0.1)
    assert abs(found.mean() - share) < 0.03


def test_noise_of_the_neuropil_does_not_lower_the_share():
    f, neuropil = mixture(0.7, noise=100.0, duration=600.0)
    found = neuropil_coefficient(f, neuropil, frame_rate=30.0).mean()
    assert found == pytest.approx(0.7, abs=0.04)
    averaged = [x.reshape(8, -1, 15).mean(axis=2) for x in (f, neuropil)]
    plain = np.mean([np.polyfit(n, y, 1)[0] for y, n in zip(*averaged, strict=True)])
    assert abs(plain - 0.7) > 0.05  # bleaching that both have, and noise


def test_gaps_and_epochs():
    f, neuropil = mixture(0.7)
    f[:, 1000:1400] = np.nan
    neuropil[:, 5000:5100] = np.nan
    f[:, 4500:] += 1000  # another level in the second epoch
    parts = [(0, 4500), (4500, 9000)]
    found = neuropil_coefficient(f, neuropil, frame_rate=30.0, parts=parts)
    np.testing.assert_allclose(found, 0.7, atol=0.1)
    rows = [
        neuropil_coefficient(y, n, frame_rate=30.0, parts=parts)
        for y, n in zip(f, neuropil, strict=True)
    ]
    assert [float(row) for row in rows] == found.tolist()


def test_nothing_to_tell_is_nan():
    f, neuropil = mixture(0.7)
    rng = np.random.default_rng(0)
    white = rng.normal(300, 5, f.shape)
    assert np.isnan(neuropil_coefficient(f, white, frame_rate=30.0)).all()
    assert np.isnan(neuropil_coefficient(f, np.full_like(f, 9), frame_rate=30.0)).all()
    assert np.isnan(neuropil_coefficient(f * np.nan, neuropil, frame_rate=30.0)).all()
    for samples in (0, 1, 8, 290):
        short = neuropil_coefficient(f[:, :samples], neuropil[:, :samples], frame_rate=30.0)
        assert np.isnan(short).all()
    assert np.isfinite(neuropil_coefficient(f[:, ::15], neuropil[:, ::15], frame_rate=2.0)).all()


def test_the_share_stays_within_its_bounds():
    f, neuropil = mixture(0.7)
    assert (neuropil_coefficient(f - 2 * neuropil, neuropil, frame_rate=30.0) == 0).all()
    assert (neuropil_coefficient(f + 2 * neuropil, neuropil, frame_rate=30.0) == 1.5).all()
    flat = np.full_like(f, 100)
    assert (neuropil_coefficient(flat, neuropil, frame_rate=30.0) < 1e-5).all()


def test_subtraction():
    rng = np.random.default_rng(0)
    f, neuropil = rng.normal(100, 5, (3, 50)), rng.normal(60, 5, (3, 50))
    neuropil[1, 7] = np.nan
    middle = np.nanmedian(neuropil, axis=1, keepdims=True)
    kept = without_neuropil(f, neuropil, 0.7, keep_level=True)
    np.testing.assert_allclose(kept, f - 0.7 * (neuropil - middle), rtol=1e-12)
    removed = without_neuropil(f, neuropil, [[0.1], [0.2], [0.3]], keep_level=False)
    np.testing.assert_allclose(removed, f - [[0.1], [0.2], [0.3]] * neuropil, rtol=1e-12)
    empty = without_neuropil(f, np.full_like(f, np.nan), 0.7, keep_level=True)
    assert np.isnan(empty).all()


def test_integers_do_not_wrap():
    f, neuropil = np.full((1, 4), 10, "u2"), np.full((1, 4), 100, "u2")
    out = without_neuropil(f, neuropil, 0.5, keep_level=False)
    assert out.dtype == np.float32
    assert out.tolist() == [[-40.0] * 4]
    mixed = without_neuropil(f, neuropil.astype("f8"), 0.5, keep_level=False)
    assert mixed.dtype == np.float64
