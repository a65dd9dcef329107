import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage, signal

from calscipy.kernels import smoothing
from calscipy.kernels.smoothing import gaussian_smooth, perona_malik, savgol


def traces(*shape, seed=0):
    return 1000 + np.random.default_rng(seed).normal(size=shape).cumsum(axis=-1)


# -- diffusion ---------------------------------------------------------------------------------


def diffused(row, iterations, kappa, gamma):
    """Sample by sample in float64; a neighbour that is missing or outside exchanges nothing."""
    u = [float(value) for value in row]
    for _ in range(iterations):
        flow = [0.0] * (len(u) + 1)
        for i in range(len(u) - 1):
            d = u[i + 1] - u[i]
            flow[i + 1] = d * np.exp(-((d / kappa) ** 2)) if np.isfinite(d) else 0.0
        u = [value + gamma * (flow[i + 1] - flow[i]) for i, value in enumerate(u)]
    return np.array(u)


@pytest.mark.parametrize(("dtype", "share"), [("float32", 1e-6), ("float64", 1e-14)])
@pytest.mark.parametrize("gamma", [0.1, 0.25, 0.5])
def test_diffusion_is_the_plain_loop(dtype, share, gamma):
    f = (traces(3, 300) - 1000).astype(dtype)
    f[1, [0, 50, 51, 299]] = np.nan
    f[2] *= 1e-3
    f.setflags(write=False)
    out = perona_malik(f, gamma=gamma)
    assert out.dtype == dtype
    for row, result in zip(f, out, strict=True):
        span = float(np.nanmax(row) - np.nanmin(row))
        expected = diffused(row, 25, 0.15 * span, gamma)
        np.testing.assert_allclose(result, expected, rtol=0, atol=share * span)


def test_a_high_level_costs_no_digits_but_its_own():
    f = (traces(1, 500) - 1000).astype("f4")
    raised = f + np.float32(2**14)
    expected = diffused(raised[0], 25, 0.15 * float(np.ptp(raised)), 0.25)
    np.testing.assert_array_max_ulp(perona_malik(raised)[0], expected.astype("f4"), 1)


@settings(max_examples=30, deadline=None, derandomize=True)
@given(
    st.integers(1, 90),
    st.integers(1, 9),
    st.floats(0.01, 2),
    st.floats(0.01, 0.5),
    st.lists(st.integers(0, 89), max_size=9),
    st.integers(8, 40),
)
def test_diffusion_in_tiles(samples, iterations, kappa, gamma, missing, tile):
    f = traces(2, samples)
    f[1, [at for at in missing if at < samples]] = np.nan
    arguments = {"iterations": iterations, "kappa": kappa, "gamma": gamma}
    usual = smoothing.TILE, smoothing.HALOS
    try:
        smoothing.TILE, smoothing.HALOS = tile, 1
        tiled = perona_malik(f, absolute=True, **arguments)
        narrow = perona_malik(f.astype("f4") - 1000, absolute=True, **arguments)
    finally:
        smoothing.TILE, smoothing.HALOS = usual
    expected = np.stack([diffused(row, iterations, kappa, gamma) for row in f])
    np.testing.assert_allclose(tiled, expected, rtol=1e-11)
    rounded = f.astype("f4") - 1000
    exact = np.stack([diffused(row, iterations, kappa, gamma) for row in rounded])
    # Where differences lie above kappa / sqrt(2), diffusion sharpens, and rounding grows with it.
    np.testing.assert_allclose(narrow, exact, atol=1e-4)


@pytest.mark.parametrize("dtype", ["float32", "float64", "uint16"])
@pytest.mark.parametrize("samples", [1, 2, 8, 5000])
@pytest.mark.parametrize("absolute", [False, True])
def test_constants_are_untouched_and_noise_does_not_grow(dtype, samples, absolute):
    constant = np.full((2, samples), 37, dtype)
    np.testing.assert_array_equal(perona_malik(constant, absolute=absolute), constant)
    noise = np.random.default_rng(0).normal(100, 5, samples).astype(dtype)
    out = perona_malik(noise, kappa=1.0, gamma=0.5, absolute=absolute)
    assert out.min() >= noise.min() - 1e-4
    assert out.max() <= noise.max() + 1e-4
    assert out.dtype == (dtype if dtype != "uint16" else "float32")


@pytest.mark.parametrize("sigma", [0.0, 1.5])
def test_the_sum_of_each_stretch_is_kept(sigma):
    f = traces(1, 400)[0]
    f[150:160] = np.nan
    out = perona_malik(f, sigma=sigma)
    np.testing.assert_array_equal(np.isnan(out), np.isnan(f))
    for part in (slice(0, 150), slice(160, 400)):
        assert out[part].sum() == pytest.approx(f[part].sum(), rel=1e-12)
        kappa = 0.15 * (np.nanmax(f) - np.nanmin(f))
        alone = perona_malik(f[part], kappa=kappa, absolute=True, sigma=sigma)
        np.testing.assert_allclose(out[part], alone, rtol=1e-6 if sigma else 1e-12)
    assert np.nanstd(np.diff(out)) < np.nanstd(np.diff(f))


def test_steps_stay_and_noise_goes():
    f = np.repeat([0.0, 100.0], 500) + np.random.default_rng(0).normal(0, 2, 1000)
    out = perona_malik(f)
    assert out[:495].std() < 0.6
    assert out[500] - out[499] > 95
    assert ndimage.gaussian_filter1d(f, 3)[500] - ndimage.gaussian_filter1d(f, 3)[499] < 20


def test_smoothed_differences():
    f = traces(2, 120)
    sigma, gamma, iterations = 1.2, 0.3, 6
    for row, out in zip(
        f, perona_malik(f, sigma=sigma, gamma=gamma, iterations=iterations), strict=True
    ):
        u, kappa = row.copy(), 0.15 * np.ptp(row)
        radius = int(4 * sigma + 0.5)
        for _ in range(iterations):
            d = u[1:] - u[:-1]
            smooth = np.empty_like(d)
            for i in range(len(d)):
                near = np.arange(max(0, i - radius), min(len(d), i + radius + 1))
                weight = np.exp(-0.5 * ((near - i) / sigma) ** 2)
                smooth[i] = (weight * d[near]).sum() / weight.sum()
            flow = np.concatenate([[0], smooth * np.exp(-((smooth / kappa) ** 2)), [0]])
            u += gamma * (flow[1:] - flow[:-1])
        np.testing.assert_allclose(out, u, rtol=1e-10)
    assert perona_malik(np.ones(1), sigma=1.0, absolute=True).tolist() == [1.0]


def test_samples_that_are_not_finite_stay():
    f = traces(3, 60).astype("f4")
    f[0, 20] = np.inf
    f[1, 30] = -np.inf
    f[2] = np.nan
    out = perona_malik(f)
    np.testing.assert_array_equal(np.isfinite(out), np.isfinite(f))
    np.testing.assert_array_equal(out[~np.isfinite(f)], f[~np.isfinite(f)])


@pytest.mark.parametrize(
    "arguments",
    [
        {"gamma": 0.51},
        {"gamma": 0.0},
        {"kappa": 0.0},
        {"kappa": np.nan},
        {"iterations": 0},
        {"iterations": 2.5},
        {"sigma": -1.0},
    ],
)
def test_diffusion_arguments(arguments):
    with pytest.raises(ValueError, match=next(iter(arguments))):
        perona_malik(np.ones(9), **arguments)


# -- Gaussian ----------------------------------------------------------------------------------


@pytest.mark.parametrize("sigma", [0.3, 2.0, 15.8, 16.1, 40.0, 3000.0])
@pytest.mark.parametrize("samples", [1, 2, 9, 400])
def test_gaussian_is_that_of_scipy(sigma, samples):
    f = traces(2, 2, samples)
    expected = ndimage.gaussian_filter1d(f, sigma, axis=-1, mode="reflect")
    atol = 1e-4 * np.ptp(f) if sigma > 4 * samples else 0  # as wide as that, it is the mean
    np.testing.assert_allclose(gaussian_smooth(f, sigma=sigma), expected, rtol=1e-10, atol=atol)
    narrow = gaussian_smooth(f.astype("f4"), sigma=sigma)
    assert narrow.dtype == np.float32
    np.testing.assert_allclose(narrow, expected, rtol=2e-7, atol=atol)


@pytest.mark.parametrize("sigma", [2.0, 20.0])
def test_gaussian_of_the_samples_that_are_there(sigma):
    f = traces(4, 200)
    f[0, [0, 7, 8, 199]] = np.nan
    f[1, 50:190] = np.nan
    f[2] = np.nan
    out = gaussian_smooth(f, sigma=sigma)
    for row, result in zip(f, out, strict=True):
        extended = np.concatenate([row[::-1], row, row[::-1]])
        for at in range(0, 200, 3):
            near = 200 + at + np.arange(-int(4 * sigma + 0.5), int(4 * sigma + 0.5) + 1)
            weight = np.exp(-0.5 * ((near - 200 - at) / sigma) ** 2) * ~np.isnan(extended[near])
            wanted = np.nan if np.isnan(row[at]) else np.nansum(weight * extended[near])
            np.testing.assert_allclose(result[at], wanted / max(weight.sum(), 1e-300), rtol=1e-9)
    np.testing.assert_array_equal(gaussian_smooth(f[1], sigma=sigma), out[1])


@pytest.mark.parametrize("sigma", [0.0, -1.0, np.inf])
def test_gaussian_arguments(sigma):
    with pytest.raises(ValueError, match="sigma"):
        gaussian_smooth(np.ones(9), sigma=sigma)


# -- Savitzky-Golay ----------------------------------------------------------------------------


@pytest.mark.parametrize(("window", "order"), [(1, 0), (3, 0), (5, 2), (11, 4), (31, 3), (31, 9)])
@pytest.mark.parametrize("dtype", ["float32", "float64", "uint16"])
def test_savgol_is_that_of_scipy(window, order, dtype):
    f = traces(2, 2, 120).astype(dtype)
    expected = signal.savgol_filter(f.astype("f8"), window, order, axis=-1)
    out = savgol(f, window=window, order=order)
    assert out.dtype == (dtype if dtype != "uint16" else "float32")
    # 1e-7: scipy makes the weights of order 9 of powers, which costs digits
    rtol = 1e-10 if dtype == "float64" and order < 9 else 1e-7
    np.testing.assert_allclose(out, expected, rtol=rtol)


def local_fit(row, window, order, at):
    """Value of the polynomial fitted to what the window has."""
    start = min(max(at - window // 2, 0), len(row) - window)
    places = start + np.flatnonzero(~np.isnan(row[start : start + window]))
    degree = min(order, len(places) - 1)
    return np.polynomial.Polynomial.fit(places - at, row[places], degree)(0)


@settings(max_examples=40, deadline=None, derandomize=True)
@given(
    st.integers(0, 5).flatmap(
        lambda half: st.tuples(st.just(2 * half + 1), st.integers(0, 2 * half))
    ),
    st.integers(11, 40),
    st.lists(st.integers(0, 39), max_size=30),
)
def test_savgol_of_the_samples_that_are_there(shape, samples, missing):
    window, order = shape[0], min(shape[1], 4)
    f = traces(2, samples)
    f[1, [at for at in missing if at < samples]] = np.nan
    out = savgol(f, window=window, order=order)
    np.testing.assert_array_equal(np.isnan(out), np.isnan(f))
    for row, result in zip(f, out, strict=True):
        for at in np.flatnonzero(~np.isnan(row)):
            wanted = local_fit(row, window, order, at)
            np.testing.assert_allclose(result[at], wanted, rtol=1e-9)
    np.testing.assert_array_equal(savgol(f[1], window=window, order=order), out[1])


@pytest.mark.parametrize(
    ("window", "order", "message"),
    [(4, 2, "odd"), (0, 0, "odd"), (3, 3, "below the window"), (3, -1, "below"), (11, 2, "longer")],
)
def test_savgol_arguments(window, order, message):
    with pytest.raises(ValueError, match=message):
        savgol(np.ones((2, 9)), window=window, order=order)


@pytest.mark.parametrize("shape", [(0,), (3, 0), (0, 9)])
def test_empty(shape):
    f = np.zeros(shape)
    for out in (perona_malik(f), gaussian_smooth(f, sigma=1), savgol(f, window=3, order=1)):
        assert out.shape == shape
