"""Long traces thinned out for display so that every peak stays: the lowest and highest samples.

What is drawn has some thousand columns of pixels, and of all samples that fall into one of them
only the lowest and the highest can be seen. Taking every n-th sample instead hides peaks.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np
import xarray as xr

from calscipy import model
from calscipy.errors import ArgumentError
from calscipy.kernels.compiled import compiled, frozen, read_only

Breaks = Sequence[int] | np.ndarray


def decimate(
    values: np.ndarray, times: np.ndarray, columns: int, *, breaks: Breaks = ()
) -> tuple[np.ndarray, np.ndarray]:
    """Thin out traces for display; all rows share the times of the result.

    Parameters
    ----------
    values : ndarray, shape (rows, samples)
        Traces. What is not finite is passed over.
    times : ndarray, shape (samples,)
        When the samples were taken, in s.
    columns : int
        Columns to draw, such as the pixels across the axes. Traces with at most twice as many
        samples are returned whole.
    breaks : sequence of int, optional
        Samples, from 1 on, that no line may lead to from the one before, see :func:`gaps`.

    Returns
    -------
    times : ndarray, shape (points,)
        Each within its column; the one at a break lies between its neighbours.
    values : ndarray, shape (rows, points)
        Lowest and highest sample of each column, in their order, NaN where a column has no
        finite sample and at breaks. float32 or float64.

    Examples
    --------
    >>> peak = np.zeros((1, 1000))
    >>> peak[0, 503] = 7
    >>> times, values = decimate(peak, np.arange(1000) / 10, 10)
    >>> values.shape, values.max().item(), times[values[0] == 7].tolist()
    ((1, 20), 7.0, [57.5])
    """
    values, times, parts = _checked(values, times, breaks)
    if values.shape[1] <= 2 * columns:
        return _with_breaks(times, parts), _with_breaks(values, parts)
    edges = [_edges(part, columns, values.shape[1]) for part in parts]
    kept = [samples_at(values, extreme_samples(values, edge)) for edge in edges]
    when = [times[_nominal(edge)] for edge in edges]
    return _joined(when, _borders(times, parts)), _joined(kept, _gaps(parts))


def decimate_exactly(
    values: np.ndarray, times: np.ndarray, columns: int, *, breaks: Breaks = ()
) -> tuple[np.ndarray, np.ndarray]:
    """Thin out traces for display; every row has times of its own, those of the samples kept.

    Parameters
    ----------
    values, times, columns, breaks
        As in :func:`decimate`.

    Returns
    -------
    times, values : ndarray, shape (rows, points)
        As in :func:`decimate`, but that every point is a sample of its trace.

    Examples
    --------
    >>> peak = np.zeros((1, 1000))
    >>> peak[0, 503] = 7
    >>> times, values = decimate_exactly(peak, np.arange(1000) / 10, 10)
    >>> times[values == 7].tolist()
    [50.3]
    """
    values, times, parts = _checked(values, times, breaks)
    rows, samples = values.shape
    if samples <= 2 * columns:
        shared = np.broadcast_to(_with_breaks(times, parts), (rows, samples + len(parts) - 1))
        return shared, _with_breaks(values, parts)
    found, when = [], []
    for part in parts:
        edges = _edges(part, columns, samples)
        kept = extreme_samples(values, edges)
        found.append(samples_at(values, kept))
        when.append(times[np.where(kept < 0, _nominal(edges), kept)])
    return _joined(when, _borders(times, parts)), _joined(found, _gaps(parts))


def envelope(
    values: np.ndarray, times: np.ndarray, columns: int, *, breaks: Breaks = ()
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the lowest and the highest sample of every column, for bands.

    Parameters
    ----------
    values, times, columns, breaks
        As in :func:`decimate`.

    Returns
    -------
    times : ndarray, shape (points,)
        Middles of the columns.
    low, high : ndarray, shape (rows, points)
        NaN where a column has no finite sample and at breaks.

    Examples
    --------
    >>> peak = np.zeros((1, 1000))
    >>> peak[0, 503] = 7
    >>> times, low, high = envelope(peak, np.arange(1000) / 10, 10)
    >>> low.max().item(), high[0].tolist()[4:7], times[5].item()
    (0.0, [0.0, 7.0, 0.0], 54.95)
    """
    values, times, parts = _checked(values, times, breaks)
    edges = [_edges(part, columns, values.shape[1]) for part in parts]
    found = [samples_at(values, extreme_samples(values, edge)) for edge in edges]
    low, high = (
        _joined([pick(own[:, ::2], own[:, 1::2]) for own in found], _gaps(parts))
        for pick in (np.fmin, np.fmax)
    )
    middles = [(times[edge[:-1]] + times[edge[1:] - 1]) / 2 for edge in edges]
    return _joined(middles, _borders(times, parts)), low, high


def gaps(data: xr.DataArray) -> np.ndarray:
    """Return the samples that no line may lead to from the one before.

    These begin an epoch, or come later than one and a half usual steps after the one before.

    Parameters
    ----------
    data : DataArray
        Traces or a movie with times in s.

    Returns
    -------
    ndarray of int
        Numbers of the samples, increasing, without the first sample.

    Examples
    --------
    >>> traces = cs.from_numpy(np.ones((1, 6)), frame_rate=10)
    >>> gaps(traces.isel(time=[0, 1, 2, 5]))
    array([3])
    """
    starts = np.array([part.start for part in model.epochs(data)[1:]], dtype=np.int64)
    steps = np.diff(model.seconds(data, "plotting"))
    if not steps.size:
        return starts
    usual = float(np.median(steps))
    odd = np.flatnonzero((steps > (1 + model.GAP) * usual) | (steps < 0)) + 1
    return np.union1d(starts, odd)


def _checked(
    values: np.ndarray, times: np.ndarray, breaks: Breaks
) -> tuple[np.ndarray, np.ndarray, list[slice]]:
    """Return traces as floats, their times, and the stretches between breaks."""
    values, times = np.asarray(values), np.asarray(times, dtype=np.float64)
    if values.ndim != 2 or times.shape != values.shape[1:] or values.dtype.kind not in "biuf":
        raise ArgumentError(
            "decimate needs numbers (rows, samples) and a time for each sample, got "
            f"{values.dtype} of the shape {values.shape} and {times.shape} times"
        )
    if values.dtype not in (np.float32, np.float64):
        values = values.astype(np.float32 if values.dtype.itemsize <= 2 else np.float64)
    inner = [int(at) for at in breaks if 0 < at < times.size]
    return values, times, [slice(a, b) for a, b in itertools.pairwise([0, *inner, times.size])]


def _edges(part: slice, columns: int, samples: int) -> np.ndarray:
    """Return the borders of the columns of one stretch, of two samples or more if it has them."""
    size = part.stop - part.start
    share = max(1, min(-(-columns * size // samples), size // 2))
    return np.linspace(part.start, part.stop, share + 1).astype(np.int64)


def _nominal(edges: np.ndarray) -> np.ndarray:
    """Return the two samples whose times stand for a column's, a quarter from its ends."""
    size = np.diff(edges)
    return np.stack([edges[:-1] + size // 4, edges[:-1] + 3 * size // 4], axis=1).ravel()


def extreme_samples(values: np.ndarray, edges: np.ndarray) -> np.ndarray:
    """Return the lowest and highest sample of every column, in their order.

    Parameters
    ----------
    values : ndarray of float, shape (rows, samples)
        Traces.
    edges : ndarray of int, shape (columns + 1,)
        First sample of each column, and where the last one ends.

    Returns
    -------
    ndarray of int, shape (rows, 2 columns)
        Numbers of samples; -1 where none of the column is finite.
    """
    kept = np.empty((len(values), 2 * (edges.size - 1)), dtype=np.int64)
    _extremes(frozen(values), read_only(edges), kept)
    return kept


@compiled
def _extremes(values: np.ndarray, edges: np.ndarray, kept: np.ndarray) -> None:
    for row in range(values.shape[0]):
        for column in range(edges.size - 1):
            low = high = -1
            lowest, highest = np.inf, -np.inf
            for at in range(edges[column], edges[column + 1]):
                value = values[row, at]
                # Comparisons with NaN are false; the first finite sample passes both.
                if -np.inf < value < lowest:
                    lowest, low = value, at
                if highest < value < np.inf:
                    highest, high = value, at
            kept[row, 2 * column] = min(low, high)
            kept[row, 2 * column + 1] = max(low, high)


def samples_at(values: np.ndarray, kept: np.ndarray) -> np.ndarray:
    """Return the samples that `extreme_samples` found, NaN where there is none."""
    found = np.take_along_axis(values, np.maximum(kept, 0), axis=1)
    return np.where(kept < 0, values.dtype.type(np.nan), found)


def _with_breaks(values: np.ndarray, parts: list[slice]) -> np.ndarray:
    """Put a column between the stretches: NaN into values, a time in between into times."""
    between = _borders(values, parts) if values.ndim == 1 else _gaps(parts)
    return _joined([values[..., part] for part in parts], between)


def _borders(times: np.ndarray, parts: list[slice]) -> list[float]:
    """Return the times in the middle between the stretches."""
    return [(times[part.start - 1] + times[part.start]) / 2 for part in parts[1:]]


def _gaps(parts: list[slice]) -> list[float]:
    return [np.nan for _ in parts[1:]]


def _joined(parts: list[np.ndarray], between: list[float]) -> np.ndarray:
    """Join stretches along the last axis, with a column of one value between each two."""
    pieces = parts[:1]
    for value, part in zip(between, parts[1:], strict=True):
        pieces += [np.full_like(part[..., :1], value), part]
    return np.concatenate(pieces, axis=-1) if len(pieces) > 1 else pieces[0]
