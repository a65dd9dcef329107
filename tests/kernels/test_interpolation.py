import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from calscipy.kernels.interpolation import shift_frames

F4, F8 = np.dtype("f4"), np.dtype("f8")


def keys(distance):
    """Cubic convolution of Keys (1981), a = -1/2, as a function of distance."""
    d = abs(distance)
    if d <= 1:
        return 1.5 * d**3 - 2.5 * d**2 + 1
    return -0.5 * d**3 + 2.5 * d**2 - 4 * d + 2 if d < 2 else 0.0


def linear(distance):
    return max(0.0, 1 - abs(distance))


def by_a_slow_loop(image, shift, fill, kernel):
    """Every pixel by itself, in float64; neighbours beyond the edge repeat the edge."""
    out = np.full(image.shape, np.nan)
    rows, columns = image.shape
    for row, column in np.ndindex(*image.shape):
        y, x = row + shift[0], column + shift[1]
        if fill == "edge":
            y, x = np.clip(y, 0, rows - 1), np.clip(x, 0, columns - 1)
        if not (0 <= y <= rows - 1 and 0 <= x <= columns - 1):
            continue
        total = 0.0
        for i in range(int(np.floor(y)) - 1, int(np.floor(y)) + 3):
            for j in range(int(np.floor(x)) - 1, int(np.floor(x)) + 3):
                pixel = image[np.clip(i, 0, rows - 1), np.clip(j, 0, columns - 1)]
                total += kernel(y - i) * kernel(x - j) * pixel
        out[row, column] = total
    return out


@settings(max_examples=150, deadline=None, derandomize=True)
@given(
    st.tuples(st.integers(1, 7), st.integers(1, 8)),
    st.tuples(*[st.one_of(st.integers(-9, 9), st.integers(-72, 72).map(lambda n: n / 8))] * 2),
    st.sampled_from(["nan", "edge"]),
    st.sampled_from(["cubic", "linear"]),
    st.sampled_from(["uint8", "int16", ">u2", "float32", "float64", "int64"]),
)
def test_every_pixel_against_a_slow_loop(shape, shift, fill, interpolation, dtype):
    image = (np.random.default_rng(0).random(shape) * 200).astype(dtype)
    image.setflags(write=False)
    out = F8 if dtype in ("float64", "int64") else F4
    moved = shift_frames(
        image[None], np.array([shift], float), dtype=out, fill=fill, interpolation=interpolation
    )
    assert moved.dtype == out
    kernel = keys if interpolation == "cubic" else linear
    expected = by_a_slow_loop(image.astype("f8"), shift, fill, kernel)
    np.testing.assert_allclose(
        moved[0], expected, rtol=1e-5 if out == F4 else 1e-12, atol=2e-4 if out == F4 else 1e-11
    )


@pytest.mark.parametrize("interpolation", ["cubic", "linear"])
def test_whole_pixels_are_copied_bit_for_bit(interpolation):
    image = np.random.default_rng(0).normal(size=(9, 11)).astype("f4")
    image[4, 5] = np.inf  # 0 * inf would be NaN
    for y, x in ((2, -3), (-1, 0), (0, 10), (8, 0)):
        moved = shift_frames(
            image[None], np.array([[y, x]], float), dtype=F4, interpolation=interpolation
        )[0]
        expected = np.full(image.shape, np.nan, "f4")
        rows, columns = (slice(max(0, -s), min(n, n - s)) for s, n in zip((y, x), (9, 11)))  # noqa: B905
        expected[rows, columns] = image[max(0, y) : 9 + min(0, y), max(0, x) : 11 + min(0, x)]
        np.testing.assert_array_equal(moved, expected)


def test_linear_is_that_of_scipy():
    image = np.random.default_rng(0).random((20, 30))
    shift = (1.3, -2.6)
    moved = shift_frames(image[None], np.array([shift]), dtype=F8, interpolation="linear")[0]
    expected = ndimage.shift(image, (-shift[0], -shift[1]), order=1, cval=np.nan)
    inside = np.isfinite(moved)
    assert inside.sum() == 18 * 27
    np.testing.assert_allclose(moved[inside], expected[inside], rtol=1e-12)


def test_cubic_convolution_is_exact_for_parabolas():
    y, x = np.mgrid[:12, :14].astype(float)
    image = 3 + y - 2 * x + 0.5 * y**2 - 0.25 * x**2 + y * x
    moved = shift_frames(image[None], np.array([[0.4, -1.7]]), dtype=F8)[0]
    y, x = y + 0.4, x - 1.7
    expected = 3 + y - 2 * x + 0.5 * y**2 - 0.25 * x**2 + y * x
    np.testing.assert_allclose(moved[1:-2, 3:-1], expected[1:-2, 3:-1], rtol=1e-12)


def test_a_frame_without_a_shift_is_passed_on():
    frames = np.random.default_rng(0).integers(0, 65535, (3, 5, 6)).astype("u2")
    shifts = np.array([[np.nan, 1.0], [0.5, np.nan], [0.0, 0.0]])
    np.testing.assert_array_equal(shift_frames(frames, shifts, dtype=F4), frames.astype("f4"))


def test_a_nan_pixel_stays_within_reach_of_the_kernel():
    image = np.ones((1, 12, 12))
    image[0, 6, 6] = np.nan
    lost = np.isnan(shift_frames(image, np.array([[0.5, 0.0]]), dtype=F8, fill="edge")[0])
    assert np.argwhere(lost).tolist() == [[row, 6] for row in range(4, 8)]
    shifts = {"shifts": np.array([[0.5, 0.25]]), "dtype": F8, "fill": "edge"}
    lost = np.isnan(shift_frames(image, interpolation="linear", **shifts)[0])
    assert np.argwhere(lost).tolist() == [[5, 5], [5, 6], [6, 5], [6, 6]]
