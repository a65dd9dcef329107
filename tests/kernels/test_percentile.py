import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from calscipy.kernels import percentile as module
from calscipy.kernels.percentile import row_median, row_percentile

KINDS = {
    "noise": lambda draw, n: draw.normal(500, 10, n),
    "walk": lambda draw, n: draw.normal(size=n).cumsum(),
    "counts": lambda draw, n: draw.integers(0, 9, n),
    "constant": lambda draw, n: np.full(n, 7.5),
    "pyramid": lambda draw, n: -np.abs(np.arange(n) - n // 2),
    "sawtooth": lambda draw, n: np.arange(n) % (n // module.DRAWN + 1),  # the draw sees one value
    "bursts": lambda draw, n: draw.exponential(size=n) ** 4,
}


def expected(rows, percentile):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of rows that are all NaN
        return np.nanpercentile(rows.astype("f8"), percentile, axis=-1)


@settings(max_examples=150, deadline=None, derandomize=True)
@given(
    st.sampled_from(sorted(KINDS)),
    st.one_of(st.integers(1, 30), st.integers(2040, 9000)),
    st.one_of(st.sampled_from([0, 5, 50, 100]), st.floats(0, 100)),
    st.sampled_from([0.0, 0.3, 0.999]),
    st.sampled_from(["f4", "f8"]),
    st.integers(0, 10**6),
)
def test_is_that_of_numpy(kind, samples, percentile, gaps, dtype, seed):
    draw = np.random.default_rng(seed)
    rows = np.stack([KINDS[kind](draw, samples) for _ in range(2)]).astype(dtype)
    rows[draw.random(rows.shape) < gaps] = np.nan
    out = row_percentile(rows, percentile)
    assert out.dtype == np.float64
    np.testing.assert_array_equal(out, expected(rows, percentile))


@pytest.mark.parametrize("drawn", [1, 4, 40])
def test_a_bad_draw_is_noticed(monkeypatch, drawn):
    """With so few the bracket misses often; the loops read the constants when they are compiled."""
    loops = {}
    for name in ("_draw", "_bracket", "_neighbours", "_percentiles"):
        loop = getattr(module, name)
        loops[name] = loop._function
    monkeypatch.setattr(module, "DRAWN", drawn)
    monkeypatch.setattr(module, "MANY", 2 * drawn)
    monkeypatch.setattr(module, "WIDE", 0.0)
    for name, function in loops.items():
        monkeypatch.setattr(module, name, function)
    draw = np.random.default_rng(0)
    rows = draw.normal(size=(3, 200))
    missed = 0
    collect = module._collect

    def counted(row, low, high, room):
        nonlocal missed
        missed += np.isneginf(low) and np.isposinf(high)
        return collect(row, low, high, room)

    monkeypatch.setattr(module, "_collect", counted)
    for percentile in (0, 8, 50, 77.7, 100):
        np.testing.assert_array_equal(
            module.row_percentile(rows, percentile), expected(rows, percentile)
        )
    assert missed


@pytest.mark.parametrize("samples", [5, 5000])
def test_infinite_samples(samples):
    row = np.arange(float(samples))
    row[0], row[-1] = -np.inf, np.inf
    found = [float(row_percentile(row, p)) for p in (0, 100, 1 / samples, 100 - 1 / samples)]
    assert found == [-np.inf, np.inf, -np.inf, np.inf]
    assert row_percentile(row, 50) == (samples - 1) / 2
    assert row_median([np.inf, np.inf]) == np.inf
    assert np.isnan(row_median([np.nan, np.nan]))


@pytest.mark.parametrize("dtype", ["uint16", "int64", "float16", "float32", ">f4", "float64"])
def test_any_dtype_shape_and_order(dtype):
    rows = np.random.default_rng(0).integers(0, 2000, (2, 3, 50)).astype(dtype)
    rows.setflags(write=False)
    before = rows.copy()
    out = row_percentile(rows, 30)
    np.testing.assert_array_equal(out, expected(rows, 30))
    np.testing.assert_array_equal(row_percentile(np.asfortranarray(rows), 30), out)
    np.testing.assert_array_equal(rows, before)
    assert row_median(rows[0, 0]).shape == ()


def test_empty():
    assert np.isnan(row_median(np.zeros((3, 0)))).tolist() == [True] * 3
    assert row_median(np.zeros((0, 5))).shape == (0,)


@pytest.mark.parametrize("percentile", [-1, 100.5, np.nan])
def test_out_of_range(percentile):
    with pytest.raises(ValueError, match="between 0 and 100"):
        row_percentile([1.0], percentile)
