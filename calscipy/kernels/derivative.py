"""The rule of CalSciPy 0.3.5 for events, kept so that old results can be repeated."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike
from scipy.ndimage import gaussian_filter1d

from calscipy.errors import ArgumentError, RowError
from calscipy.kernels.baseline import as_float
from calscipy.kernels.compiled import frozen
from calscipy.kernels.peaks import find_peaks
from calscipy.kernels.results import room_for

__all__ = ["derivative_events"]

TRUNCATE = 4.0  # σ of the Gaussian on each side, scipy's default


def derivative_events(
    f: ArrayLike,
    *,
    timeout: int,
    frame_rate: float,
    smooth: bool = True,
    force_nonnegative: bool = True,
    out: np.ndarray | None = None,
) -> np.ndarray:
    """Peaks of the smoothed, non-negative derivative, as CalSciPy 0.3.5 found them.

    The difference to the sample before is taken (0 at the first sample), smoothed, and clipped at
    zero. Peaks with a prominence of at least half its standard deviation that are at least
    ``timeout`` frames apart are events. For floating-point traces the result is that of
    ``identify_events``; integers are promoted first, where CalSciPy let uint16 differences wrap.
    It finds about ten events per minute of pure noise; the matched method controls that rate.

    Parameters
    ----------
    f : array_like, shape (..., samples)
        Traces. A row with some samples missing is refused: the standard deviation and
        the smoothing have no meaning across a gap. A row that is all NaN has no events.
    timeout : int
        Least distance of two events in frames, from 1 up; the higher peak wins. 0.3.5 used 15.
    frame_rate : float
        Frames per second, which is also the σ of the Gaussian in frames: it is 1 s wide.
    smooth : bool, default True
        Smooth the derivative.
    force_nonnegative : bool, default True
        Set negative derivatives to zero.
    out : ndarray, optional
        Where to put the result, if it fits as it is.

    Returns
    -------
    ndarray of bool
        Of the shape of ``f``. True at the sample after the steepest rise: at ``i`` where the
        difference between samples ``i - 1`` and ``i`` peaks. The wide Gaussian moves this to well
        before the onset of an isolated transient: 17 frames at 30 Hz and a decay of 0.7 s.

    Raises
    ------
    RowError
        Naming the rows that lack some of their samples.

    Examples
    --------
    >>> f = np.zeros(300)
    >>> f[100:] = np.exp(-np.arange(200) / 20)
    >>> np.flatnonzero(derivative_events(f, timeout=15, frame_rate=10.0)).tolist()
    [97]
    >>> np.flatnonzero(derivative_events(f, timeout=15, frame_rate=10.0, smooth=False)).tolist()
    [100]
    """
    if not 0 < frame_rate < np.inf:
        raise ArgumentError(f"frame_rate must be above 0 Hz, not {frame_rate!r}.")
    if not timeout >= 1:
        raise ArgumentError(f"timeout must be at least 1 frame, not {timeout!r}.")
    f = as_float(f)
    rows = f.reshape(int(np.prod(f.shape[:-1])), f.shape[-1])
    lacking = np.array([np.count_nonzero(np.isnan(row)) for row in rows], dtype=np.int64)
    gapped = np.flatnonzero((lacking > 0) & (lacking < rows.shape[1]))
    if gapped.size:
        raise RowError(
            gapped.tolist(),
            "have missing samples, across which the derivative rule is not defined. "
            'Use method="matched", or fill the gaps first.',
        )
    result = room_for(out, f.shape, np.bool_)
    events = result.reshape(rows.shape)
    events[...] = False
    if events.size == 0:
        return result
    half = _half_gaussian(frame_rate) if smooth else np.ones(1)
    reach = len(half) - 1
    padded = np.empty(rows.shape[1] + 2 * reach)  # used again for every row
    steps, change = padded[reach : reach + rows.shape[1]], np.empty(rows.shape[1])
    with np.errstate(invalid="ignore", over="ignore"):  # infinite samples
        for row in np.flatnonzero(lacking == 0):
            steps[0] = 0
            np.subtract(rows[row, 1:], rows[row, :-1], out=steps[1:], dtype=np.float64)
            _smooth(padded, half, change)
            if force_nonnegative:
                np.maximum(change, 0, out=change)
            least = _std(change, spare=steps) / 2
            events[row, find_peaks(change, distance=timeout, prominence=least)] = True
    return result


def _half_gaussian(sigma: float) -> np.ndarray:
    """Weights of scipy's Gaussian, from the centre outwards: its answer to an impulse."""
    radius = int(TRUNCATE * sigma + 0.5)
    impulse = np.zeros(2 * radius + 1)
    impulse[radius] = 1
    return gaussian_filter1d(impulse, sigma, truncate=TRUNCATE)[radius:]


def _smooth(padded: np.ndarray, half: np.ndarray, out: np.ndarray) -> None:
    """Filter what lies in the middle of ``padded``, to the last bit as ``scipy.ndimage`` does."""
    from calscipy.kernels import vector_loops  # imports numba

    reach, size = len(half) - 1, len(out)
    values = padded[reach : reach + size]
    if reach <= size:
        padded[:reach] = values[:reach][::-1]
        padded[reach + size :] = values[size - reach :][::-1]
    else:  # mirrored several times
        padded[:] = np.pad(values, reach, mode="symmetric")
    vector_loops.filter_symmetric(frozen(padded), frozen(half), out)


def _std(values: np.ndarray, spare: np.ndarray) -> float:
    """Return what ``values.std()`` is, to the last bit, without new arrays."""
    np.subtract(values, values.mean(), out=spare)
    np.multiply(spare, spare, out=spare)
    return float(np.sqrt(spare.mean()))
