"""Sums of frames give the images that two passes over the whole stack give."""

import itertools
import multiprocessing
import warnings
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from calscipy.kernels import summary as kernels

DTYPES = ["bool", "uint8", "int8", "uint16", "int16", "int32", "uint32", "int64", "uint64"]
DTYPES += ["float16", "float32", "float64"]


def reference(stack):
    """Two passes over one stack (frames, y, x), pixel by pixel."""
    values = stack.astype(np.longdouble)
    away = values - values.mean(axis=0)
    std = np.sqrt((away**2).mean(axis=0))
    height, width = std.shape
    correlation = np.full(std.shape, np.nan)
    for y, x in np.ndindex(*std.shape):
        found = []
        for dy, dx in itertools.product((-1, 0, 1), repeat=2):
            v, u = y + dy, x + dx
            if (dy, dx) == (0, 0) or not (0 <= v < height and 0 <= u < width):
                continue
            both = std[y, x] * std[v, u]
            found.append((away[:, y, x] * away[:, v, u]).mean() / both if both else 0.0)
        if found:
            correlation[y, x] = np.mean(found)
    return kernels.Images(values.mean(axis=0), stack.max(axis=0), std, correlation)


def sums(stack, valid=None, rows=None, like=None):
    """Sums of a stack (frames, ..., y, x), around the first valid frames of the stack ``like``."""
    frames = stack.shape[0]
    valid = np.ones((frames, int(np.prod(stack.shape[1:-2]))), bool) if valid is None else valid
    pivot = None
    if not kernels.is_exact(stack.dtype):
        pivot = (pivots(stack, valid) if like is None else pivots(*like)).astype(float)
    made = kernels.Sums.empty(stack, stack.shape[-2:], valid.sum(axis=0), pivot)
    for part in rows or [None]:
        made.add(stack, valid, part)
    return made


def pivots(stack, valid):
    flat = stack.reshape(len(stack), -1, *stack.shape[-2:])
    return flat[valid.argmax(axis=0), np.arange(flat.shape[1])]


def in_parts(stack, length, valid=None):
    valid = np.ones((len(stack), int(np.prod(stack.shape[1:-2]))), bool) if valid is None else valid
    parts = [slice(at, at + length) for at in range(0, len(stack), length)]
    return [sums(stack[part], valid[part], like=(stack, valid)) for part in parts]


def random_stack(dtype, shape, seed=0):
    rng = np.random.default_rng(seed)
    dtype = np.dtype(dtype)
    if dtype.kind == "f":
        return (rng.normal(size=shape) * 50 + 300).astype(dtype)
    if dtype.kind == "b":
        return rng.random(shape) > 0.5
    limits = np.iinfo(dtype)
    return rng.integers(max(limits.min, -(2**40)), min(limits.max, 2**40), shape, dtype, True)


def check(images, expected, atol=1e-11):
    np.testing.assert_array_equal(images.max[0], expected.max)
    for image, want in zip(images, expected, strict=True):
        np.testing.assert_allclose(image[0].astype(float), want.astype(float), 1e-11, atol)


@settings(max_examples=80, deadline=None, derandomize=True)
@given(
    st.sampled_from(DTYPES),
    st.tuples(st.integers(1, 9), st.integers(1, 5), st.integers(1, 6)),
    st.integers(1, 9),
    st.integers(0, 10**6),
)
def test_the_images_are_those_of_two_passes(dtype, shape, length, seed):
    stack = random_stack(dtype, shape, seed)
    expected = reference(stack)
    check(kernels.images(sums(stack)), expected)
    check(kernels.images(kernels.combine(*in_parts(stack, length))), expected)


@pytest.mark.parametrize("width", [1, 2, 7, 8, 9, 33, 513])
@pytest.mark.parametrize("dtype", ["uint16", "int16", "float32"])
def test_any_width(width, dtype):
    stack = random_stack(dtype, (5, 3, width))
    check(kernels.images(sums(stack)), reference(stack))


@pytest.mark.parametrize(
    ("dtype", "offset"),
    [
        ("uint16", 65534),
        ("int16", -32768),
        ("int32", 2**31 - 4),
        ("float32", 1e7),
        ("float64", 1e9),
    ],
)
@pytest.mark.parametrize("length", [1, 6, 40])
def test_a_large_offset_does_not_cancel(dtype, offset, length):
    rng = np.random.default_rng(0)
    stack = (rng.integers(0, 2, (40, 4, 5)) + int(offset)).astype(dtype)
    still = stack - np.array(int(offset)).astype(dtype)
    expected = reference(still)
    images = kernels.images(kernels.combine(*in_parts(stack, length)))
    np.testing.assert_allclose(images.std[0], expected.std.astype(float), rtol=1e-9)
    np.testing.assert_allclose(
        images.local_correlation[0], expected.local_correlation.astype(float), atol=1e-9
    )


def test_an_outlier_as_the_first_frame():
    stack = random_stack("float32", (50, 3, 4))
    stack[0] = 1e9
    check(kernels.images(sums(stack)), reference(stack))


def test_a_constant_pixel_correlates_with_none():
    for dtype in ("uint16", "float32"):
        stack = random_stack(dtype, (9, 4, 4))
        stack[:, 1, 2] = 7
        for length in (2, 9):
            images = kernels.images(kernels.combine(*in_parts(stack, length)))
            check(images, reference(stack))
            assert images.local_correlation[0, 1, 2] == 0
            assert images.std[0, 1, 2] == 0


@pytest.mark.parametrize("odd", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("frame", [0, 3, 8])
@pytest.mark.parametrize("length", [1, 4, 9])
def test_pixels_that_are_not_finite(odd, frame, length):
    stack = random_stack("float32", (9, 4, 5))
    expected = [image.astype(float) for image in reference(stack)]
    stack[frame, 1, 2] = odd
    images = kernels.images(kernels.combine(*in_parts(stack, length)))
    away = np.ones((4, 5), bool)
    away[1, 2] = False
    for image, want in zip(images, expected, strict=True):
        assert np.isnan(image[0, 1, 2])
        if image is not images.local_correlation:
            np.testing.assert_allclose(image[0][away], want[away], rtol=1e-9)
    # A neighbour in a corner: the mean of two correlations where there were three.
    others = [
        np.corrcoef(stack[:, 0, 1], stack[:, y, x])[0, 1]
        for y, x in ((0, 0), (0, 2), (1, 0), (1, 1))
    ]
    assert images.local_correlation[0, 0, 1] == pytest.approx(np.mean(others))
    far = images.local_correlation[0][:, 4]
    np.testing.assert_allclose(far, expected[3][:, 4], rtol=1e-9)


def test_a_pixel_without_neighbours_is_nan():
    images = kernels.images(sums(random_stack("uint16", (6, 1, 1))))
    assert np.isnan(images.local_correlation).all()
    assert np.isfinite(images.std).all()
    stack = random_stack("float64", (6, 1, 2))
    stack[2, 0, 0] = np.nan
    assert np.isnan(kernels.images(sums(stack)).local_correlation).all()


@pytest.mark.parametrize("dtype", ["uint16", "float32"])
def test_batches_with_frames_left_out(dtype):
    stack = random_stack(dtype, (11, 2, 3, 4, 5))
    valid = np.random.default_rng(1).random((11, 6)) > 0.4
    valid[:4, 1] = False
    images = kernels.images(sums(stack, valid))
    merged = kernels.images(kernels.combine(*in_parts(stack, 4, valid)))
    flat = stack.reshape(11, 6, 4, 5)
    for at in range(6):
        expected = reference(flat[valid[:, at], at])
        for made in (images, merged):
            check(kernels.Images(*(image[at : at + 1] for image in made)), expected)


@pytest.mark.parametrize("dtype", ["uint16", "int16", "float32", "float64", ">u2", "bool"])
def test_bands_and_memory_order_give_the_same_bits(dtype):
    stack = random_stack(np.dtype(dtype).newbyteorder("="), (7, 2, 9, 6)).astype(dtype)
    expected = kernels.images(sums(stack))
    bands = [(5, 9), (0, 1), (1, 5)]
    readonly = stack.copy()
    readonly.setflags(write=False)
    strided = np.asfortranarray(stack)
    for turned, rows in ((stack, bands), (readonly, None), (strided, None), (strided, bands)):
        for image, want in zip(kernels.images(sums(turned, rows=rows)), expected, strict=True):
            np.testing.assert_array_equal(image, want)


def test_exact_sums_do_not_depend_on_their_parts():
    stack = random_stack("uint16", (30, 5, 6))
    expected = kernels.images(sums(stack))
    for length in (1, 7, 16):
        images = kernels.images(kernels.combine(*in_parts(stack, length)))
        for image, want in zip(images, expected, strict=True):
            np.testing.assert_array_equal(image, want)


def test_the_largest_sums_fit():
    stack = np.zeros((2**16, 1, 2), "uint16")
    stack[::2] = 65535
    for dtype in ("uint16", "int16"):
        images = kernels.images(sums(stack.view(dtype)))
        assert images.std.tolist() == [[[(65535 if dtype == "uint16" else 1) / 2] * 2]]
        assert images.local_correlation.tolist() == [[[1.0, 1.0]]]


def means(stack):
    return [image.tolist() for image in kernels.images(sums(stack))]


def test_four_threads_and_a_fork():
    for dtype in ("uint16", "float32"):
        stack = random_stack(dtype, (8, 16, 17))
        expected = means(stack)
        with ThreadPoolExecutor(4) as pool:
            assert list(pool.map(means, [stack] * 16)) == [expected] * 16
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # of forking beside threads
            with multiprocessing.get_context("fork").Pool(1) as pool:
                assert pool.map(means, [stack]) == [expected]
