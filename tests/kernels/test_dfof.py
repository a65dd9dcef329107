import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from calscipy.kernels.dfof import fold_change, lowest_denominator
from calscipy.kernels.noise import noise_sigma

F = np.array([[10.0, 12.0, 20.0], [5.0, 6.0, 2.0]])
F0 = np.array([[10.0, 10.0, 10.0], [4.0, 4.0, 4.0]])


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("offset", [0.0, 2.5, -1.0])
@pytest.mark.parametrize("clip", [False, True])
def test_closed_form(dtype, offset, clip):
    ratio, low = fold_change(F.astype(dtype), F0.astype(dtype), offset=offset, clip=clip)
    assert ratio.dtype == dtype
    np.testing.assert_allclose(ratio, (F - F0) / (F0 + offset), rtol=1e-6)
    assert not low.any()


@pytest.mark.parametrize(
    ("f0", "lowest", "clip", "expected"),
    [
        (2.0, 1.0, False, 4.0),
        (1.0, 1.0, False, np.nan),  # the floor itself is too low
        (1.0, 1.0, True, 9.0),
        (0.5, 2.0, True, 4.75),
        (0.0, 0.0, False, np.nan),
        (0.0, 0.0, True, np.nan),  # there is no floor to divide by
        (-3.0, 0.0, False, np.nan),
        (-3.0, 0.5, True, 26.0),
        (-3.0, -10.0, True, np.nan),  # a floor below zero counts as zero
    ],
)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_baseline_that_is_too_low(f0, lowest, clip, expected, dtype):
    ratio, low = fold_change(
        np.array([10.0], dtype), np.array([f0], dtype), lowest=np.array([lowest]), clip=clip
    )
    np.testing.assert_allclose(ratio, [expected], rtol=1e-6)
    assert low.tolist() == [f0 <= max(lowest, 0)]
    assert ratio.dtype == dtype


def test_each_row_has_its_floor():
    _, low = fold_change(F, F0, lowest=np.array([[5.0], [5.0]]))
    assert low.tolist() == [[False] * 3, [True] * 3]


def test_missing_samples_stay_missing_and_are_not_called_low():
    f = np.where([[False, True, False]] * 2, np.nan, F)
    f0 = np.where([[False, False, True]] * 2, np.nan, F0)
    ratio, low = fold_change(f, f0)
    assert np.isnan(ratio).tolist() == [[False, True, True]] * 2
    assert not low.any()


@settings(max_examples=200, deadline=None, derandomize=True)
@given(
    st.floats(-1e6, 1e6, width=32),
    st.floats(-1e6, 1e6, width=32),
    st.floats(-1e3, 1e3, width=32),
    st.floats(0, 1e3, width=32),
    st.booleans(),
)
def test_division_is_guarded(f, f0, offset, lowest, clip):
    ratio, low = fold_change(
        np.array([f]), np.array([f0]), offset=offset, lowest=np.array([lowest]), clip=clip
    )
    below = f0 + offset
    assert low[0] == (below <= lowest)
    divisor = below if not low[0] else lowest if clip and lowest > 0 else np.nan
    np.testing.assert_equal(ratio[0], (np.float64(f) - f0) / divisor)


def test_input_is_untouched():
    f, f0 = F.copy(), F0.copy()
    for array in (f, f0):
        array.setflags(write=False)
    fold_change(f, f0, offset=1.0, lowest=np.full((2, 1), 100.0), clip=True)
    np.testing.assert_array_equal(f, F)


@pytest.mark.parametrize("clip", [False, True])
@pytest.mark.parametrize("dtype", ["f4", "f8"])
def test_a_level_is_as_good_as_a_curve(clip, dtype):
    f = np.random.default_rng(0).normal(5, 1, (3, 40)).astype(dtype)
    f[0, 3] = np.nan
    level = np.array([[5.0], [-1.0], [np.nan]], dtype)
    lowest = np.array([[1.0], [0.5], [0.0]])
    seen = np.broadcast_to(level, f.shape)
    options = {"offset": 0.25, "lowest": lowest, "clip": clip}
    expected = fold_change(f, seen.copy(), **options)
    for f0 in (level, seen):
        for one, other in zip(fold_change(f, f0, **options), expected, strict=True):
            assert one.shape == f.shape
            np.testing.assert_array_equal(one, other)


@settings(max_examples=300, deadline=None, derandomize=True)
@given(
    st.integers(1, 5000),
    st.sampled_from(["normal", "exponential", "counts", "rare", "constant", "infinite"]),
    st.sampled_from([0.0, 0.3, 0.99, 1.0]),
    st.floats(-2, 8),
    st.sampled_from([0.0, 1.0, 2.5]),
    st.sampled_from(["f4", "f8"]),
    st.integers(0, 10**6),
)
def test_the_bound_of_the_noise_flags_what_the_noise_flags(
    samples, kind, gaps, level, floor, dtype, seed
):
    draw = np.random.default_rng(seed)
    f = draw.normal(0, 1, (2, samples)).astype(dtype)
    if kind == "exponential":
        f = draw.exponential(1, f.shape).astype(dtype) ** 3
    elif kind == "counts":
        f = f.round()
    elif kind == "rare":
        f = (draw.random(f.shape) < 0.26).astype(dtype)  # half of the differences are as large
    elif kind == "constant":
        f[:] = 3
    elif kind == "infinite":
        f[0, 0] = np.inf
    f[draw.random(f.shape) < gaps] = np.nan
    exact = floor * np.nan_to_num(noise_sigma(f).astype("f8"))[:, None]
    for f0 in (np.full((2, 1), level, dtype), np.full(f.shape, level, dtype)):
        lowest = lowest_denominator(f, f0, offset=0.5, floor=floor)
        assert (lowest >= exact * (1 - 1e-6)).all()
        below = f0 + f0.dtype.type(0.5)
        np.testing.assert_array_equal(below > lowest, below > exact)


def test_no_floor_without_samples():
    assert lowest_denominator(np.zeros((2, 0)), np.zeros((2, 0))).tolist() == [[0.0], [0.0]]
    assert lowest_denominator(np.ones((2, 9)), np.zeros((2, 1)), floor=0).tolist() == [[0.0]] * 2
