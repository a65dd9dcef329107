"""Windows around events: against loops over events and samples."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from calscipy.kernels.waveforms import (
    Places,
    averaged_windows,
    counted_windows,
    cut_windows,
    window_sums,
)

SAMPLES = 12


@st.composite
def cases(draw):
    """Rows with gaps, events in order of their rows, in two epochs."""
    rows = draw(st.integers(1, 3))
    border = draw(st.integers(1, SAMPLES))
    raster = draw(
        st.lists(st.booleans(), min_size=rows * SAMPLES, max_size=rows * SAMPLES).map(np.array)
    ).reshape(rows, SAMPLES)
    f = np.random.default_rng(draw(st.integers(0, 9))).normal(100, 10, (2, rows, SAMPLES))
    f[f > 112] = np.nan
    row, onset = np.nonzero(raster)
    first = np.where(onset < border, 0, border)
    stop = np.where(onset < border, border, SAMPLES)
    before, after = draw(st.integers(0, SAMPLES + 2)), draw(st.integers(0, SAMPLES + 2))
    return f, Places(row, onset, first, stop), before, after


def slow_windows(f, places, before, after):
    """A window sample by sample."""
    out = np.full((len(f), len(places.row), before + 1 + after), np.nan)
    for event, (row, onset, first, stop) in enumerate(zip(*places, strict=True)):
        for lag in range(-before, after + 1):
            if first <= onset + lag < stop:
                out[:, event, lag + before] = f[:, row, onset + lag]
    return out


@given(cases())
@settings(max_examples=60, deadline=None, derandomize=True)
def test_windows_are_those_of_a_slow_loop(case):
    f, places, before, after = case
    windows = cut_windows(f, places, before=before, after=after, dtype="f8")
    np.testing.assert_array_equal(windows, slow_windows(f, places, before, after))


@given(cases())
@settings(max_examples=60, deadline=None, derandomize=True)
def test_sums_are_those_of_the_windows(case):
    f, places, before, after = case
    windows = slow_windows(f, places, before, after)
    total, count = window_sums(f, places, before=before, after=after)
    for row in range(f.shape[1]):
        some = windows[:, places.row == row]
        np.testing.assert_allclose(total[:, row], np.nansum(some, axis=1), rtol=1e-12)
        np.testing.assert_array_equal(count[:, row], (~np.isnan(some)).sum(axis=1))
    number = {"before": before, "after": after}
    mean = averaged_windows(f, places, reduce="mean", dtype="f8", **number)
    np.testing.assert_array_equal(np.isnan(mean), count == 0)
    np.testing.assert_array_equal(mean[count > 0], total[count > 0] / count[count > 0])
    np.testing.assert_array_equal(counted_windows(f, places, dtype="i8", **number), count)


def test_integers_are_added_exactly():
    top = np.iinfo("i4").max
    f = np.full((1, 3), top, "i4")
    places = Places(*np.array([[0] * 5, [1] * 5, [0] * 5, [3] * 5]))
    total, _ = window_sums(f, places, before=0, after=0)
    assert total.dtype == np.int64
    assert total.tolist() == [[5 * top]]


@pytest.mark.parametrize("values", [(np.inf, -np.inf), (np.inf, 1.0)])
def test_infinite_samples_pass_in_silence(values):
    places = Places(*np.array([[0, 0], [0, 1], [0, 0], [2, 2]]))
    total, _ = window_sums(np.array([values]), places, before=0, after=0)
    np.testing.assert_array_equal(total, [[sum(values)]])


def test_parts_count_rows_anew():
    places = Places(*np.array([[0, 2, 3], [4, 5, 6], [0, 0, 0], [9, 9, 9]]))
    part = places.part(1, 3, 2)
    assert part.row.tolist() == [0, 1]
    assert part.onset.tolist() == [5, 6]
