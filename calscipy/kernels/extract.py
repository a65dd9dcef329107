"""Weighted sums of pixels over regions of interest."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from calscipy.kernels.compiled import compiled, read_only

# A loop is compiled for each of these types of movies; pixels in use of others become float64.
_COMPILED = tuple(np.dtype(name) for name in ("u1", "u2", "i2", "f4", "f8"))


@dataclass(frozen=True)
class RoiRuns:
    """Weights of regions as runs of neighbouring pixels of one row, in the order of memory.

    Parameters
    ----------
    neurons : int
        Number of regions.
    neuron, y, x : ndarray of int64, shape (runs,)
        Region and first pixel of each run.
    first : ndarray of int64, shape (runs + 1,)
        Where the weights of each run begin.
    weight : ndarray of float64, shape (pixels,)
        Weights, run after run.
    """

    neurons: int
    neuron: np.ndarray
    y: np.ndarray
    x: np.ndarray
    first: np.ndarray
    weight: np.ndarray

    @property
    def lengths(self) -> np.ndarray:
        """Pixels of each run."""
        return np.diff(self.first)


def roi_runs(
    neuron: np.ndarray, y: np.ndarray, x: np.ndarray, weight: np.ndarray, neurons: int
) -> RoiRuns:
    """Sort the pixels of regions into runs.

    Parameters
    ----------
    neuron, y, x : ndarray of int, shape (pixels,)
        Region, from 0 on, row and column of each pixel. A pixel listed twice counts twice.
    weight : ndarray, shape (pixels,)
        Weights; pixels of weight 0 are left out.
    neurons : int
        Number of regions.
    """
    order = np.flatnonzero(weight)
    height, width = int(y.max(initial=0)) + 1, int(x.max(initial=0)) + 1
    # One number to sort by: pixels that are sorted already take no time then.
    rank = (neuron[order].astype(np.int64) * height + y[order]) * width + x[order]
    order = order[np.argsort(rank, kind="stable")]
    neuron, y, x, weight = (part[order] for part in (neuron, y, x, weight))
    apart = (np.diff(neuron) != 0) | (np.diff(y) != 0) | (np.diff(x) != 1)
    starts = np.flatnonzero(np.concatenate([[True], apart])) if order.size else order
    lengths = np.diff(np.concatenate([starts, [order.size]]))
    # Row by row whatever the region, so that memory is read forwards.
    by_place = np.lexsort((neuron[starts], x[starts], y[starts]))
    starts, lengths = starts[by_place], lengths[by_place]
    first = np.concatenate([[0], np.cumsum(lengths)])
    pixel = np.repeat(starts - first[:-1], lengths) + np.arange(order.size)
    return RoiRuns(
        neurons,
        neuron[starts].astype(np.int64),
        y[starts].astype(np.int64),
        x[starts].astype(np.int64),
        first.astype(np.int64),
        weight[pixel].astype(np.float64),
    )


def used_pixels(runs: RoiRuns) -> tuple[np.ndarray, np.ndarray, RoiRuns]:
    """Return rows and columns of the pixels in use, and the same runs over these in one row."""
    pixel = np.arange(runs.weight.size) - np.repeat(runs.first[:-1], runs.lengths)
    rows = np.repeat(runs.y, runs.lengths)
    columns = np.repeat(runs.x, runs.lengths) + pixel
    width = int(columns.max(initial=0)) + 1
    used = np.unique(rows * width + columns)
    x = np.searchsorted(used, runs.y * width + runs.x)
    return used // width, used % width, replace(runs, y=np.zeros_like(runs.y), x=x)


def roi_sums(images: np.ndarray, runs: RoiRuns) -> np.ndarray:
    """Weighted sums of the pixels of each region.

    Parameters
    ----------
    images : ndarray, shape (frames, ..., y, x)
        Numbers of any type, byte order and memory order.
    runs : RoiRuns
        The regions.

    Returns
    -------
    ndarray of float64, shape (neurons, ..., frames)
        Sums; only pixels of the regions are read. Integer images and integer weights are summed
        exactly (up to 2**53), and the order of additions does not depend on the number of
        frames. A NaN makes the sums of the regions that hold this pixel NaN, in this frame.

    Raises
    ------
    IndexError
        If a region reaches beyond the images.
    """
    height, width = images.shape[-2:]
    rows_fit = (runs.y >= 0) & (runs.y < height)
    if not (rows_fit & (runs.x >= 0) & (runs.x + runs.lengths <= width)).all():
        raise IndexError(f"regions reach beyond images of {height} x {width} pixels")
    if images.dtype == bool:
        images = images.view(np.uint8)
    if images.dtype not in _COMPILED:
        rows, columns, runs = used_pixels(runs)
        images = images[..., rows, columns][..., None, :].astype(np.float64)
    frames, *batch = images.shape[:-2]
    sums = np.empty((runs.neurons, *batch, frames))
    for at in np.ndindex(*batch):
        _sum_runs(
            read_only(images[(slice(None), *at)]),
            *(
                read_only(part.view(np.uint64))
                for part in (runs.neuron, runs.y, runs.x, runs.first)
            ),
            read_only(runs.weight),
            sums[(slice(None), *at)],
        )
    return sums


@compiled
def _sum_runs(images, neuron, y, x, first, weight, out):  # type: ignore[no-untyped-def]
    # Four frames at once: four chains of additions run side by side in the processor, every
    # weight is loaded once for the four, and several cache lines are under way at any time.
    # Unsigned indices spare the test for negative ones. The sums of four frames stay in L1.
    frames = images.shape[0]
    total = np.zeros((out.shape[0], 4))
    f = 0
    while f + 4 <= frames:
        a, b, c, d = images[f], images[f + 1], images[f + 2], images[f + 3]
        total[:] = 0.0
        for run in range(neuron.size):
            a_row, b_row, c_row, d_row = a[y[run]], b[y[run]], c[y[run]], d[y[run]]
            at = x[run]
            a_sum, b_sum, c_sum, d_sum = 0.0, 0.0, 0.0, 0.0
            for pixel in range(first[run], first[run + 1]):
                w = weight[pixel]
                a_sum += w * a_row[at]
                b_sum += w * b_row[at]
                c_sum += w * c_row[at]
                d_sum += w * d_row[at]
                at += np.uint64(1)
            k = neuron[run]
            total[k, 0] += a_sum
            total[k, 1] += b_sum
            total[k, 2] += c_sum
            total[k, 3] += d_sum
        for k in range(out.shape[0]):
            for i in range(4):
                out[k, f + i] = total[k, i]
        f += 4
    while f < frames:  # the rest one by one, added in the same order
        a = images[f]
        total[:] = 0.0
        for run in range(neuron.size):
            a_row = a[y[run]]
            at = x[run]
            a_sum = 0.0
            for pixel in range(first[run], first[run + 1]):
                a_sum += weight[pixel] * a_row[at]
                at += np.uint64(1)
            total[neuron[run], 0] += a_sum
        for k in range(out.shape[0]):
            out[k, f] = total[k, 0]
        f += 1
