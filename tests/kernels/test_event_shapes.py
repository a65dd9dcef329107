import itertools

import numpy as np
import pytest

from calscipy.kernels.event_shapes import event_shapes


def slow(trace, times, onset, stop, window):
    """One event, sample by sample."""
    inside = [i for i in range(onset, stop) if times[i] <= times[onset] + window + 1e-9]
    inside = [i for i in inside if not np.isnan(trace[i])]
    if not inside:
        return [np.nan] * 4
    top = max(inside, key=lambda i: (trace[i], -i))
    amplitude = trace[top] - trace[onset]
    duration = np.nan
    there = [i for i in range(top, stop) if not np.isnan(trace[i])]
    half = trace[onset] + amplitude / 2
    if amplitude > 0:
        for before, at in itertools.pairwise(there):
            if trace[at] <= half:
                crossing = np.interp(half, trace[[at, before]], times[[at, before]])
                duration = crossing - times[onset]
                break
    return [times[top], trace[top], amplitude, duration]


@pytest.mark.parametrize("gaps", [0.0, 0.2])
@pytest.mark.parametrize("window", [0.1, 0.5, 30.0])
def test_by_slow_loop(gaps, window):
    rng = np.random.default_rng(3)
    f = rng.normal(size=(6, 300)).cumsum(axis=1).round(1)
    f[rng.random(f.shape) < gaps] = np.nan
    f[4] = np.nan
    times = np.arange(300) / 10 + rng.uniform(0, 1e-3, 300)
    row, onset = np.nonzero(rng.random(f.shape) < 0.05)
    stop = np.minimum(onset + rng.integers(1, 60, onset.size), 300)
    found = event_shapes(f, times, row, onset, stop, window=window)
    expected = [slow(f[r], times, o, s, window) for r, o, s in zip(row, onset, stop, strict=True)]
    np.testing.assert_allclose(np.stack(found, axis=1), expected, rtol=1e-12)


@pytest.mark.parametrize("dtype", ["uint16", "float32"])
def test_a_known_transient(dtype):
    f = np.array([[5, 5, 9, 13, 11, 9, 7, 5, 5]], dtype=dtype)
    times = np.arange(9) / 2
    one = np.array([1])
    shapes = event_shapes(f, times, one - 1, one, one + 8, window=1.0)
    assert [float(column[0]) for column in shapes] == [1.5, 13.0, 8.0, 2.0]


def test_no_events():
    none = np.zeros(0, dtype=np.int64)
    shapes = event_shapes(np.ones((3, 5)), np.arange(5.0), none, none, none, window=1.0)
    assert all(column.shape == (0,) for column in shapes)
