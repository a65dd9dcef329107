"""Mean, maximum, standard deviation and local correlation of a stack of frames, in one pass.

`Sums` grow stack by stack, `combine` puts those of several stacks together and `images` makes the
four images of them.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from calscipy.kernels.compiled import compiled, frozen

__all__ = ["Images", "Sums", "combine", "images", "is_exact"]

Array = Any

PAD = 8  # samples: sums of one row that lie 4 KiB apart wait for each other in the cache

# Products of each pixel with itself, the pixel to its right, below, and below to the right, and of
# the other diagonal. Seen from the pixel where the product is kept: rows down to the second pixel,
# columns to the first, columns to the second.
PAIRS = ((0, 0, 0), (0, 0, 1), (1, 0, 0), (1, 0, 1), (1, 1, 0))


class Images(NamedTuple):
    """What ``images`` makes, each of shape ``(batch, y, x)``."""

    mean: Array
    max: Array
    std: Array
    local_correlation: Array


@dataclass(frozen=True)
class Sums:
    """Running sums over the frames of a stack.

    Integers of up to 16 bits are summed exactly, in int64 (for up to 2**31 frames). All else is
    summed in float64 less a pivot, which must be one of the frames: as its own distance from the
    mean is part of the variance, rounding grows with the number of frames alone, and not with the
    distance of the values from 0.

    Attributes
    ----------
    count : tuple of int
        Frames of each member of the batch.
    total : ndarray of int64 or float64, shape (batch, y, x)
        Summed values, less the pivot.
    products : ndarray of the same dtype, shape (5, batch, y, x)
        Summed squares, then summed products with the pixel to the right, below, below to the
        right and, kept at the pixel to the left of both, of the other diagonal.
    peak : ndarray, shape (batch, y, x)
        Largest values.
    pivot : ndarray of float64, shape (batch, y, x), or None
        A frame of each member of the batch; None for exact sums.
    """

    count: tuple[int, ...]
    total: Array
    products: Array
    peak: Array
    pivot: Array | None

    @classmethod
    def empty(
        cls, like: Array, shape: tuple[int, ...], count: Sequence[int], pivot: Array | None = None
    ) -> Sums:
        """Start sums of ``count`` frames ``shape`` of the dtype and on the device of ``like``.

        Of a dtype that ``is_exact`` there is no pivot; else it is a frame of each member of the
        batch, the same one for all sums that are put together.
        """
        dtype = _working(like.dtype)
        kind = np.int64 if is_exact(dtype) else np.float64
        lowest = np.iinfo(dtype).min if dtype.kind in "iu" else -np.inf
        whole = (len(count), *shape)
        return cls(
            tuple(int(n) for n in count),
            np.zeros_like(like, kind, shape=whole),
            np.zeros_like(like, kind, shape=(len(PAIRS), *whole)),
            np.full_like(like, lowest, dtype, shape=whole),
            pivot,
        )

    def add(self, stack: Array, valid: np.ndarray, rows: tuple[int, int] | None = None) -> None:
        """Add frames to the sums, in place.

        Parameters
        ----------
        stack : ndarray or cupy.ndarray, shape (frames, ..., y, x)
            Numbers or booleans.
        valid : ndarray of bool, shape (frames, batch)
            Frames to add.
        rows : (int, int), optional
            Rows ``[first, last)`` of the image to do; threads may do different ones at once.
        """
        top, bottom = rows or (0, stack.shape[-2])
        if not stack.size or top == bottom:
            return
        if not isinstance(stack, np.ndarray):
            self._add_plainly(stack, valid)
            return
        dtype, start = _working(stack.dtype), 0
        if stack.dtype != dtype or not stack.flags.c_contiguous:
            start = top  # copy no more than these rows and the one below
            stack = stack[..., top : bottom + 1, :]
        flat = frozen(stack, dtype).reshape(stack.shape[0], -1, *stack.shape[-2:])
        nothing = frozen(np.zeros(stack.shape[-1], dtype))
        for at, chosen in enumerate(valid.T):
            where = at, np.flatnonzero(chosen), top, bottom, start
            sums = self.total, self.products, self.peak
            if self.pivot is None:
                _add_exact(flat, *where, *sums, nothing)
            else:
                _add_around(flat, *where, *sums, self.pivot)

    def _add_plainly(self, stack: Array, valid: np.ndarray) -> None:
        """Add frames by functions that arrays on a GPU have too."""
        for at, chosen in enumerate(valid.T):
            for frame in np.flatnonzero(chosen):
                values = stack[(int(frame), *_place(at, stack))].astype(self.peak.dtype)
                self.peak[at] = np.maximum(self.peak[at], values)
                values = values.astype(self.total.dtype)
                if self.pivot is not None:
                    values = values - self.pivot[at]
                self.total[at] += values
                for product, pair in zip(self.products, PAIRS, strict=True):
                    first, second, kept = _places(pair, values.shape)
                    product[at][kept] += values[first] * values[second]

    def merged(self, other: Sums) -> Sums:
        """Put the sums of two stacks together."""
        return Sums(
            tuple(a + b for a, b in zip(self.count, other.count, strict=True)),
            self.total + other.total,
            self.products + other.products,
            np.maximum(self.peak, other.peak),
            self.pivot,
        )


def is_exact(dtype: np.dtype) -> bool:
    """Tell whether sums of this dtype are exact; others need a pivot."""
    return _working(dtype).kind in "iu" and _working(dtype).itemsize <= 2


def combine(*parts: Sums) -> Sums:
    """Put the sums of several stacks together, in their order."""
    return functools.reduce(Sums.merged, parts)


def images(sums: Sums) -> Images:
    """Make the images: mean, maximum, standard deviation and local correlation.

    The local correlation of a pixel is the mean of the correlations of its time course with those
    of its up to eight neighbours (Smith & Häusser 2010, doi:10.1038/nn.2620). A constant pixel
    correlates with none: 0. In float stacks a pixel with a NaN or an infinite value is NaN in
    every image and nobody's neighbour. A pixel without neighbours is NaN in the local correlation.

    Parameters
    ----------
    sums : Sums
        Of at least one frame of every member of the batch, on the CPU.

    Returns
    -------
    Images
        float64; the maximum in the dtype of the stack, or one that holds all of its values.

    Examples
    --------
    >>> stack = np.array([[[1, 3]], [[2, 5]]], "uint16")  # two frames of 1 x 2 pixels
    >>> sums = Sums.empty(stack, (1, 2), [2])
    >>> sums.add(stack, np.ones((2, 1), bool))
    >>> [image.round(9).tolist() for image in images(sums)]
    [[[[1.5, 4.0]]], [[[2, 5]]], [[[0.5, 1.0]]], [[[1.0, 1.0]]]]
    """
    exact = sums.pivot is None
    mean = np.empty(sums.total.shape)
    std, correlation = np.zeros_like(mean), np.zeros_like(mean)
    for at, count in enumerate(sums.count):
        np.divide(sums.total[at], count, out=mean[at])
        if sums.pivot is not None:
            mean[at] += sums.pivot[at]
        _finish(exact, count, at, sums.total, sums.products, mean, std, correlation)
    if sums.peak.dtype.kind != "f":
        return Images(mean, sums.peak, std, correlation)
    bad = ~np.isfinite(mean)
    made = (np.where(bad, np.nan, image) for image in (mean, sums.peak, std, correlation))
    return Images(*made)


def _places(pair: tuple[int, int, int], shape: tuple[int, ...]) -> tuple[Any, Any, Any]:
    """Index the first pixels of a pair, the second ones and their products in an image."""
    (down, first, second), (height, width) = pair, shape
    upper = slice(0, height - down)
    return (
        (upper, slice(first, width - second)),
        (slice(down, height), slice(second, width - first)),
        (upper, slice(0, width - max(first, second))),
    )


# What compiled loops read: every further type takes seconds to compile. All values are kept.
_READ_AS = {"b1": "u1", "i1": "i2", "i4": "f8", "u4": "f8", "f2": "f4"}


def _working(dtype: np.dtype) -> np.dtype:
    return np.dtype(_READ_AS.get(f"{dtype.kind}{dtype.itemsize}", dtype)).newbyteorder("=")


def _place(at: int, stack: Array) -> tuple[int, ...]:
    """Return the indices of member ``at`` of the flat batch of a stack (frames, ..., y, x)."""
    return tuple(int(i) for i in np.unravel_index(at, stack.shape[1:-2]))


@compiled
def _add_exact(  # type: ignore[no-untyped-def]
    stack, at, frames, top, bottom, start, total, products, peak, nothing
):
    """Add frames of small integers; row ``start`` of the image is the first of the stack.

    The last row of the image stands in for the one below it: those products are never read.
    """
    sums = np.zeros((6, stack.shape[3] + PAD), np.int64)
    for row in range(top, bottom):
        here = row - start
        below = min(here + 1, stack.shape[2] - 1)
        for k in range(0, frames.size - 1, 2):
            one, two = stack[frames[k], at], stack[frames[k + 1], at]
            _add_two(one[here], one[below], two[here], two[below], sums)
        if frames.size % 2:
            one = stack[frames[frames.size - 1], at]
            _add_two(one[here], one[below], nothing, nothing, sums)
        for k in range(frames.size):
            _raise_to(peak[at, row], stack[frames[k], at, here])
        _move(sums, at, row, total, products)


@compiled
def _add_two(a, below_a, b, below_b, sums):  # type: ignore[no-untyped-def]
    """Add a row of two frames: half as many loads and stores of the sums as one by one."""
    total, square, right, down = sums[0], sums[1], sums[2], sums[3]
    falling, rising = sums[4], sums[5]
    next_a, next_b = a[1:], b[1:]
    beyond_a, beyond_b = below_a[1:], below_b[1:]
    for x in range(next_a.size):
        va, vb = np.int64(a[x]), np.int64(b[x])
        ra, rb = np.int64(next_a[x]), np.int64(next_b[x])
        da, db = np.int64(below_a[x]), np.int64(below_b[x])
        total[x] += va + vb
        square[x] += va * va + vb * vb
        right[x] += va * ra + vb * rb
        down[x] += va * da + vb * db
        falling[x] += va * np.int64(beyond_a[x]) + vb * np.int64(beyond_b[x])
        rising[x] += ra * da + rb * db
    x = a.size - 1
    va, vb = np.int64(a[x]), np.int64(b[x])
    total[x] += va + vb
    square[x] += va * va + vb * vb
    down[x] += va * np.int64(below_a[x]) + vb * np.int64(below_b[x])


@compiled
def _add_around(  # type: ignore[no-untyped-def]
    stack, at, frames, top, bottom, start, total, products, peak, pivot
):
    """Add frames of any numbers, less the pivot, in float64; rows as in ``_add_exact``."""
    width = stack.shape[3]
    sums = np.zeros((6, width + PAD))
    a, below_a = np.zeros(width), np.zeros(width)
    for row in range(top, bottom):
        here = row - start
        below = min(here + 1, stack.shape[2] - 1)
        base, base_below = pivot[at, row], pivot[at, below + start]
        for k in range(frames.size):
            values, values_below = stack[frames[k], at, here], stack[frames[k], at, below]
            for x in range(width):
                a[x] = np.float64(values[x]) - base[x]
                below_a[x] = np.float64(values_below[x]) - base_below[x]
            _add_one(a, below_a, sums)
            _raise_to(peak[at, row], values)
        _move(sums, at, row, total, products)


@compiled
def _add_one(a, below_a, sums):  # type: ignore[no-untyped-def]
    """Add a row of one frame."""
    total, square, right, down = sums[0], sums[1], sums[2], sums[3]
    falling, rising = sums[4], sums[5]
    next_a, beyond_a = a[1:], below_a[1:]
    for x in range(next_a.size):
        total[x] += a[x]
        square[x] += a[x] * a[x]
        right[x] += a[x] * next_a[x]
        down[x] += a[x] * below_a[x]
        falling[x] += a[x] * beyond_a[x]
        rising[x] += next_a[x] * below_a[x]
    x = a.size - 1
    total[x] += a[x]
    square[x] += a[x] * a[x]
    down[x] += a[x] * below_a[x]


@compiled
def _raise_to(peak, values):  # type: ignore[no-untyped-def]
    for x in range(peak.size):
        peak[x] = max(peak[x], values[x])


@compiled
def _move(sums, at, row, total, products):  # type: ignore[no-untyped-def]
    """Add the sums of one row to those of the image and begin anew."""
    for i in range(sums.shape[0]):
        into = total[at, row] if i == 0 else products[i - 1, at, row]
        for x in range(into.size):
            into[x] += sums[i, x]
    sums[:] = 0


@compiled
def _finish(exact, count, at, total, products, mean, std, correlation):  # type: ignore[no-untyped-def]
    """Make the standard deviation and the local correlation, which are 0 before, of sums."""
    height, width = mean.shape[1:]
    scale, number = np.zeros((height, width)), np.zeros((height, width))
    use = np.zeros((height, width), np.uint8)
    left, both = np.zeros(width), np.zeros(width)
    for y in range(height):
        here = total[at, y], mean[at, y]
        _without_means(exact, count, here, here, products[0, at, y], left)
        for x in range(width):
            square = max(left[x], 0.0)
            std[at, y, x] = np.sqrt(square / count)
            scale[y, x] = 1.0 / np.sqrt(square) if square > 0.0 else 0.0
            use[y, x] = np.isfinite(mean[at, y, x]) and np.isfinite(square)
    for y in range(height):
        for i in range(1, len(PAIRS)):
            down, first, second = PAIRS[i]
            if y + down == height:
                continue
            n = width - max(first, second)
            one = total[at, y, first:], mean[at, y, first:]
            two = total[at, y + down, second:], mean[at, y + down, second:]
            _without_means(exact, count, one, two, products[i, at, y, :n], left)
            scale_one, scale_two = scale[y, first:], scale[y + down, second:]
            use_one, use_two = use[y, first:], use[y + down, second:]
            for x in range(n):
                together = use_one[x] & use_two[x]
                both[x] = together
                left[x] = left[x] * scale_one[x] * scale_two[x] if together else 0.0
            _add(left, n, correlation[at, y, first:])
            _add(left, n, correlation[at, y + down, second:])
            _add(both, n, number[y, first:])
            _add(both, n, number[y + down, second:])
        for x in range(width):  # which no later pair reaches
            correlation[at, y, x] /= number[y, x]


@compiled
def _without_means(exact, count, one, two, products, left):  # type: ignore[no-untyped-def]
    """Take the means out of a row of summed products.

    Out of exact sums, whole numbers near the means are taken first, still exactly. At most about
    one half is left of the means, so that nothing cancels in floating point.
    """
    (total_one, mean_one), (total_two, mean_two) = one, two
    if not exact:
        for x in range(products.size):
            left[x] = products[x] - total_one[x] * (total_two[x] / count)
        return
    for x in range(products.size):
        near_one = np.int64(np.floor(mean_one[x] + 0.5))
        near_two = np.int64(np.floor(mean_two[x] + 0.5))
        rest_one = total_one[x] - count * near_one
        rest_two = total_two[x] - count * near_two
        rest = products[x] - near_one * total_two[x] - near_two * rest_one
        left[x] = rest - rest_one * (rest_two / count)


@compiled
def _add(values, count, into):  # type: ignore[no-untyped-def]
    for x in range(count):
        into[x] += values[x]
