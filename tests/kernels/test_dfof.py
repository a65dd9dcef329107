import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from calscipy.kernels.dfof import fold_change

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
