"""Samples taken late, brought to common times."""

from __future__ import annotations

import numpy as np

from calscipy.kernels.compiled import compiled


def at_times(f: np.ndarray, taken: np.ndarray, times: np.ndarray) -> np.ndarray:
    """Interpolate rows linearly between the times at which their samples were taken.

    Parameters
    ----------
    f : ndarray of float, shape (..., samples)
        Rows.
    taken : ndarray of float64, shape (..., samples)
        When each sample was taken in s, increasing along each row.
    times : ndarray of float64, shape (samples,)
        Increasing times in s for which values are wanted.

    Returns
    -------
    ndarray, shape (..., samples)
        Values, of the type of ``f``, interpolated in float64. NaN before the first and after the
        last sample of a row, and beside samples that are NaN.
    """
    out = np.empty_like(f)
    for row in np.ndindex(*f.shape[:-1]):
        _row_at_times(f[row], taken[row], times, out[row])
    return out


@compiled
def _row_at_times(f, taken, times, out):  # type: ignore[no-untyped-def]
    last = f.size - 1
    j = 0  # taken[j] <= t < taken[j + 1]
    for i in range(times.size):
        t = times[i]
        if not (taken[0] <= t <= taken[last]):
            out[i] = np.nan
            continue
        while j < last and taken[j + 1] <= t:
            j += 1
        if taken[j] == t:  # on a sample: its neighbour does not matter
            out[i] = f[j]
        else:
            share = (t - taken[j]) / (taken[j + 1] - taken[j])
            out[i] = f[j] + share * (np.float64(f[j + 1]) - f[j])
