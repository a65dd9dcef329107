"""Bins of rows against NumPy's reductions of their samples."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from calscipy.errors import ArgumentError
from calscipy.kernels.bin_rows import bin_rows, bin_rows_by

REDUCES = ["mean", "sum", "max", "min", "median", "std"]


def reference(rows, starts, stops, reduce):
    """Reduce every bin by a slow loop."""
    exact = rows if reduce in ("max", "min") else rows.astype("f8")
    parts = [exact[..., a:b] for a, b in zip(starts, stops, strict=True)]
    return np.stack([getattr(np, reduce)(part, axis=-1) for part in parts], axis=-1)


@st.composite
def bins(draw):
    """Bins of one width but for the last ones of epochs, or of any width, with and without gaps."""
    nominal = draw(st.integers(1, 100))
    some = st.one_of(st.just(nominal), st.integers(1, nominal))
    widths = draw(st.lists(some, min_size=1, max_size=12))
    gaps = draw(st.lists(st.integers(0, 2), min_size=len(widths), max_size=len(widths)))
    stops = np.cumsum(np.add(widths, gaps))
    return stops - widths, stops, int(stops[-1]) + draw(st.integers(0, 3))


@settings(deadline=None, derandomize=True, max_examples=60)
@given(bins(), st.sampled_from(REDUCES), st.sampled_from(["f4", "f8", "u2", ">f4"]))
def test_bins_of_any_width_are_those_of_a_slow_loop(some, reduce, dtype):
    starts, stops, samples = some
    rows = (1000 + 30 * np.random.default_rng(samples).normal(size=(2, 3, samples))).astype(dtype)
    made = np.dtype(dtype).newbyteorder("=") if reduce in ("max", "min") else np.dtype("f8")
    result = bin_rows(rows, starts=starts, stops=stops, reduce=reduce, dtype=made)
    assert result.dtype == made
    expected = reference(rows, starts, stops, reduce)
    np.testing.assert_allclose(result, expected, rtol=1e-12, atol=1e-10)
    for along, function in ((True, getattr(np, reduce)), (False, lambda part: part.max())):
        how = {"function": function, "along_axis": along, "dtype": np.dtype("f8")}
        by = bin_rows_by(rows, starts=starts, stops=stops, **how)
        wanted = expected if along else reference(rows, starts, stops, "max")
        np.testing.assert_allclose(by, wanted, rtol=1e-12, atol=1e-10)


@pytest.mark.parametrize("reduce", REDUCES)
@pytest.mark.parametrize("wide", [6, 90])
def test_a_nan_stays_in_its_bin_and_an_infinity_is_one(reduce, wide):
    rows = np.random.default_rng(0).normal(size=(2, 8 * wide)).astype("f4")
    rows[0, 3], rows[1, 4 * wide], rows[1, 6 * wide + 2] = np.nan, np.nan, np.inf
    starts = np.arange(0, 8 * wide, wide)
    result = bin_rows(rows, starts=starts, stops=starts + wide, reduce=reduce, dtype=np.dtype("f8"))
    with np.errstate(invalid="ignore"):
        expected = reference(rows, starts, starts + wide, reduce)
    np.testing.assert_allclose(result, expected, rtol=1e-12)
    assert np.isnan(result[0, 0])
    assert np.isfinite(np.delete(result[0], 0)).all()


@pytest.mark.parametrize("reduce", ["mean", "sum"])
@pytest.mark.parametrize("wide", [1, 2, 7, 8, 9, 10, 15, 16])
@pytest.mark.parametrize("dtype", ["f4", "f8"])
def test_narrow_bins_are_the_same_wherever_they_are(reduce, wide, dtype):
    part = (0.1 + np.random.default_rng(wide).normal(size=wide)).astype(dtype)
    expected = reference(part, [0], [wide], reduce)
    for count in range(1, 24):
        rows = np.full((2, 3 + count * wide), np.nan, dtype)
        rows[:, 3:] = np.tile(part, count)
        starts = 3 + wide * np.arange(count)
        result = bin_rows(rows, starts=starts, stops=starts + wide, reduce=reduce, dtype=dtype)
        assert (result == result[0, 0]).all()
        np.testing.assert_allclose(result[0, :1], expected, rtol=1e-6 if dtype == "f4" else 1e-14)


def test_negative_zeros_add_up_to_one():
    rows = np.full((1, 40), -0.0, "f4")
    starts = np.arange(0, 40, 10)
    result = bin_rows(rows, starts=starts, stops=starts + 10, reduce="sum", dtype=np.dtype("f4"))
    assert np.signbit(result).all()


@pytest.mark.parametrize("reduce", REDUCES)
def test_bins_of_one_sample(reduce):
    rows = np.array([[1.0, np.nan, -np.inf, 0.0, 5.0]])
    starts = np.arange(5)
    result = bin_rows(rows, starts=starts, stops=starts + 1, reduce=reduce, dtype=np.dtype("f8"))
    with np.errstate(invalid="ignore"):
        np.testing.assert_array_equal(result, reference(rows, starts, starts + 1, reduce))


def test_a_spread_far_from_zero_keeps_its_digits():
    rows = 1e9 + np.random.default_rng(0).normal(size=(1, 300))
    edges = np.array([0, 100, 200, 300])
    result = bin_rows(rows, starts=edges[:-1], stops=edges[1:], reduce="std", dtype=np.dtype("f8"))
    np.testing.assert_allclose(result[0], rows.reshape(3, 100).std(axis=1), rtol=1e-9)
    flat = np.full((1, 9), np.float32(0.1))
    ends = {"starts": np.array([0, 4]), "stops": np.array([4, 9])}
    assert not bin_rows(flat, **ends, reduce="std", dtype=np.dtype("f4")).any()


@pytest.mark.parametrize(
    ("function", "along"),
    [
        (np.cumsum, True),
        (lambda part: part[:2], False),
        (lambda part: part[: int(part[0])], False),
        (lambda part: "a", False),
        (lambda part: 1j, False),
    ],
)
def test_functions_that_do_not_make_one_number_are_refused(function, along):
    edges = np.array([0, 2, 4])
    how = {"function": function, "along_axis": along, "dtype": np.dtype("f4")}
    with pytest.raises(ArgumentError, match="must make one real number of each bin"):
        bin_rows_by(np.array([[1.0, 2, 2, 4]]), starts=edges[:-1], stops=edges[1:], **how)


def test_functions_cannot_change_the_data():
    rows = np.array([[3.0, 1.0, 2.0, 4.0]])
    edges = np.array([0, 2, 4])

    def sorting(part):
        part.sort()
        return part[0]

    how = {"function": sorting, "along_axis": False, "dtype": rows.dtype}
    with pytest.raises(ValueError, match="read-only"):
        bin_rows_by(rows, starts=edges[:-1], stops=edges[1:], **how)
    assert rows[0, 0] == 3
