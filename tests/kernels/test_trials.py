"""Trials cut out of rows and joined again."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from calscipy.kernels.trials import cut_trials, join_trials


@settings(deadline=None, derandomize=True, max_examples=50)
@given(st.lists(st.integers(-4, 12), min_size=1, max_size=6), st.integers(1, 5))
def test_trials_are_those_of_a_slow_loop(firsts, length):
    rows = np.random.default_rng(0).normal(size=(2, 3, 10))
    plan = [(max(0, min(f, 10)), max(0, min(f + length, 10))) for f in firsts]
    starts, stops = (np.array(ends) for ends in zip(*plan, strict=True))
    before = np.minimum(np.maximum(0, -np.array(firsts)), length - (stops - starts))
    out = cut_trials(
        rows, starts=starts, stops=stops, before=before, length=length, dtype=np.dtype("f4")
    )
    assert out.shape == (2, 3, len(firsts), length)
    assert out.dtype == np.float32
    for trial, first in enumerate(firsts):
        for sample in range(length):
            at = first + sample
            wanted = rows[..., at].astype("f4") if 0 <= at < 10 else np.nan
            np.testing.assert_array_equal(out[..., trial, sample], np.full((2, 3), wanted))


def test_joining_is_the_way_back():
    rows = np.arange(24, dtype="u2").reshape(2, 12)
    starts = np.array([0, 5, 10])
    stops = np.array([5, 10, 12])
    plan = {"starts": starts, "stops": stops, "before": np.zeros(3, int), "length": 5}
    trials = cut_trials(rows, **plan, dtype=np.dtype("f4"))
    there = np.arange(5) < (stops - starts)[:, None]
    joined = join_trials(trials, there=there, dtype=np.dtype("u2"))
    assert joined.dtype == np.uint16
    np.testing.assert_array_equal(joined, rows)
