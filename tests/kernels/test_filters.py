import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from calscipy.kernels import filters

SHAPE = (7, 9, 11)
DTYPES = ["uint8", "int16", "uint16", "int32", "float16", "float32", "float64", ">u2", ">f8"]
MODES = ["reflect", "nearest", "mirror", "constant"]
PAD = {"reflect": "symmetric", "nearest": "edge", "mirror": "reflect", "constant": "constant"}
KERNELS = {
    "gaussian": (filters.gaussian, {"sigma": (0.5, 1.0, 0.7)}),
    "median": (filters.median, {"size": (3, 2, 4)}),
    "mean": (filters.mean, {"size": (2, 3, 4)}),
}
every_kernel = pytest.mark.parametrize("kernel", KERNELS)


def block(dtype="float64", shape=SHAPE, seed=0):
    return (np.random.default_rng(seed).random(shape) * 250).astype(dtype)


def apply(kernel, data, mode="reflect", **arguments):
    function, defaults = KERNELS[kernel]
    return function(data, mode=mode, ndimage=ndimage, **{**defaults, **arguments})


def halo(kernel, mode="reflect", **arguments):
    (extent,) = {**KERNELS[kernel][1], **arguments}.values()
    return filters.gaussian_halo(extent) if kernel == "gaussian" else filters.box_halo(extent, mode)


def windows(data, size, mode):
    """Every box of ``size`` around every sample, by a slow loop."""
    around = [(n // 2, n - n // 2 - 1) for n in size]
    padded = np.pad(data, around, mode=PAD[mode])
    for at in np.ndindex(*data.shape):
        yield at, padded[tuple(slice(a, a + n) for a, n in zip(at, size, strict=True))]


@every_kernel
@pytest.mark.parametrize("dtype", DTYPES)
def test_dtype_and_input(kernel, dtype):
    data = block(dtype)
    before = data.copy()
    data.setflags(write=False)
    out = apply(kernel, data)
    double = dtype in ("float64", ">f8", "int32")
    assert out.dtype == (dtype if kernel == "median" else "float64" if double else "float32")
    assert out.shape == data.shape
    np.testing.assert_array_equal(data, before)
    as_double = apply(kernel, before.astype("float64"))
    np.testing.assert_allclose(out, as_double, rtol=2e-6)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("sigma", [(1, 1, 1), (0, 2.0, 0.3), (0.6, 0, 0)])
def test_gaussian_is_the_closed_form(sigma, mode):
    data = block()
    expected = data
    for axis, s in enumerate(sigma):
        radius = filters.gaussian_halo(sigma)[axis][0]
        weights = np.exp(-0.5 * (np.arange(-radius, radius + 1) / max(s, 1e-9)) ** 2)
        pad = [(radius, radius) if a == axis else (0, 0) for a in range(3)]
        padded = np.pad(expected, pad, mode=PAD[mode])
        moved = np.moveaxis(padded, axis, -1)
        lines = [
            np.convolve(line, weights / weights.sum(), "valid")
            for line in moved.reshape(-1, moved.shape[-1])
        ]
        shape = (*moved.shape[:-1], data.shape[axis])
        expected = np.moveaxis(np.reshape(lines, shape), -1, axis)
    np.testing.assert_allclose(apply("gaussian", data, mode, sigma=sigma), expected, rtol=1e-12)


def test_a_dim_movie_of_integers_is_not_truncated():
    data = np.random.default_rng(0).poisson(0.3, (20, 20, 20)).astype("uint16")
    smooth = apply("gaussian", data, sigma=(1, 1, 1))
    assert smooth.mean() == pytest.approx(data.mean(), rel=0.02)
    assert ndimage.gaussian_filter(data, 1).mean() < 0.2 * data.mean()  # what scipy alone does


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("size", [(1, 1, 1), (3, 3, 3), (2, 1, 4), (1, 5, 2), (5, 1, 1)])
@pytest.mark.parametrize("dtype", ["uint16", "float64"])
def test_boxes_against_a_slow_loop(size, mode, dtype):
    data = block(dtype, (5, 6, 7))
    mean = apply("mean", data, mode, size=size)
    median = apply("median", data, mode, size=size)
    for at, box in windows(data, size, mode):
        np.testing.assert_allclose(mean[at], box.mean(), rtol=1e-6)
        assert median[at] == np.sort(box, axis=None)[box.size // 2]


@settings(max_examples=100, deadline=None, derandomize=True)
@given(
    st.sampled_from(list(KERNELS)),
    st.sampled_from(MODES),
    st.tuples(*[st.integers(1, 5)] * 3),
    st.tuples(*[st.integers(0, n - 1) for n in SHAPE]),
)
def test_the_halo_holds_all_that_a_sample_needs_and_no_more(kernel, mode, size, at):
    name = "sigma" if kernel == "gaussian" else "size"
    arguments = {name: tuple(n / 4 for n in size) if name == "sigma" else size}
    around = halo(kernel, mode, **arguments)
    inside = np.zeros(SHAPE, bool)
    inside[tuple(slice(max(0, a - b), a + c + 1) for a, (b, c) in zip(at, around, strict=True))] = (
        True
    )
    data = block(seed=sum(at))
    out = apply(kernel, data, mode, **arguments)
    junk = np.where(inside, data, 1e6)
    assert apply(kernel, junk, mode, **arguments)[at] == out[at]
    # A median need not change with every sample, and a mirrored edge alone needs them all.
    if kernel != "median" and mode != "mirror":
        for corner in itertools.product(
            *[(a - b, a + c) for a, (b, c) in zip(at, around, strict=True)]
        ):
            if all(0 <= c < n for c, n in zip(corner, SHAPE, strict=True)):
                changed = data.copy()
                changed[corner] += 1e6
                assert apply(kernel, changed, mode, **arguments)[at] != out[at]


def test_a_chain_on_a_part_with_its_halo_gives_the_bits_of_the_whole():
    data = block("float32", (30, 31, 33))
    part = tuple(
        slice(a - b, a + 5 + c) for a, (b, c) in zip((9, 10, 11), halo("gaussian"), strict=True)
    )
    core = tuple(slice(b, b + 5) for b, _ in halo("gaussian"))
    whole = apply("gaussian", data)[9:14, 10:15, 11:16]
    np.testing.assert_array_equal(apply("gaussian", data[part])[core], whole)


@pytest.mark.parametrize("junk", [np.nan, np.inf, -np.inf, 1e30])
@pytest.mark.parametrize("size", [(3, 3, 3), (1, 4, 2)])
def test_mean_keeps_an_outlier_within_its_window(junk, size):
    data = block("float32")
    spoiled = data.copy()
    spoiled[3, 4, 5] = junk
    out, expected = (apply("mean", d, size=size) for d in (spoiled, data))
    reached = np.zeros(SHAPE, bool)
    for at, box in windows(spoiled, size, "reflect"):
        reached[at] = not (np.isfinite(box) & (box < 1e29)).all()
    assert 0 < reached.sum() == np.prod(size)
    np.testing.assert_array_equal(out[~reached], expected[~reached])
    assert not np.isclose(out[reached], expected[reached]).any()
    running = ndimage.uniform_filter(spoiled, size)  # what the running sum of scipy does
    assert (running[~reached] != expected[~reached]).any()
