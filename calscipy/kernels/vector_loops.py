"""Loops over rows that are written in vectors of the processor, where a compiler finds none.

It finds none in sums over a few neighbouring samples, and it would not keep the sums of a filter in
registers. Vectors are as long as those of the widest processors; LLVM splits them for others. This
module imports numba.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
from llvmlite import ir
from numba.core import types
from numba.extending import intrinsic

from calscipy.kernels.compiled import compiled

BYTES = 64  # of a vector
LANES = 8  # numbers of a vector of float64
WIDEST = 2 * LANES  # samples of a bin: it fills at most two vectors
DRAWN = 15  # samples of a row of which the middle one is its level
SUMS = 6  # vectors of a filter that are summed at a time

# Indexes have no sign: numba would look whether one counts from the end.
_ZERO, _ONE, _THREE, _FOUR, _WIDEST = (np.uint64(n) for n in (0, 1, 3, 4, WIDEST))

_INDEX = ir.IntType(64)
_PLACE = ir.IntType(32)
_SINGLE = ir.FloatType()
_DOUBLE = ir.DoubleType()


@compiled
def add_bins(rows: Any, start: Any, wide: Any, count: Any, divisor: float, out: Any) -> None:
    """Add up bins of one width that follow each other, in float64.

    What comes of a bin depends on its samples alone, not on where it is.

    Parameters
    ----------
    rows : ndarray of float32 or float64, shape (rows, samples)
        Contiguous.
    start, wide, count : uint64
        The first sample of the first bin; the samples of a bin, at most `WIDEST`; how many bins.
    divisor : float
        What the sums are divided by.
    out : ndarray of float32 or float64, shape (rows, at least ``count``)
        Contiguous. The first ``count`` of each row are written.
    """
    size = np.uint64(rows.shape[1])
    if wide > _WIDEST or start + count * wide > size or count > out.shape[1]:
        raise ValueError("the bins do not fit")
    whole = _ZERO  # bins of which four can be loaded from the row itself
    while whole + _FOUR <= count and start + (whole + _THREE) * wide + _WIDEST <= size:
        whole += _FOUR
    last, made = np.zeros(4 * WIDEST, rows.dtype), np.empty(4, out.dtype)
    for r in range(len(rows)):
        row, target = rows[r], out[r]
        for k in range(_ZERO, whole, _FOUR):
            _add_four(row, start + k * wide, wide, divisor, target, k)
        for k in range(whole, count, _FOUR):
            first, left = start + k * wide, min(_FOUR, count - k)
            for i in range(left * wide):  # a loop compiles faster than slices do
                last[i] = row[first + i]
            _add_four(last, _ZERO, wide, divisor, made, _ZERO)
            for i in range(left):
                target[k + i] = made[i]


@compiled
def filter_symmetric(padded: Any, half: Any, out: Any) -> None:
    """Filter a row by symmetric weights, each sum in the order of ``scipy.ndimage``.

    That is the centre, then pairs from the outermost inwards.

    Parameters
    ----------
    padded : ndarray of float32 or float64, shape (samples + 2 * reach,)
        The row and what is beyond its ends, contiguous.
    half : ndarray, shape (reach + 1,)
        Weights from the centre outwards, of the same dtype.
    out : ndarray, shape (samples,)
        Contiguous, of the same dtype.
    """
    reach = np.uint64(half.size) - _ONE
    size, step = np.uint64(out.size), np.uint64(SUMS * BYTES // out.itemsize)
    if padded.size != size + reach + reach:
        raise ValueError("the row and what is beyond its ends do not fit the result")
    if size >= step:
        for at in range(_ZERO, size - step, step):
            _filter_some(padded, half, reach, out, at)
        _filter_some(padded, half, reach, out, size - step)
        return
    for at in range(size):
        total = half[0] * padded[at + reach]
        for k in range(reach, _ZERO, -1):
            total += half[k] * (padded[at + reach - k] + padded[at + reach + k])
        out[at] = total


@compiled
def low_pass(rows: Any, half: Any, least: float, out: Any) -> None:
    """Filter rows, mirrored in their end samples, by symmetric weights.

    Missing samples, which are NaN or infinite, have no weight. The result is NaN there, and where
    less than a given share of the weight is on others.

    Parameters
    ----------
    rows : ndarray of float32 or float64, shape (rows, samples)
        Contiguous, of more samples than ``half``.
    half : ndarray, shape (reach + 1,)
        Weights from the centre outwards, of the same dtype. They add up to one.
    least : float
        Share of the weight.
    out : ndarray, shape (at least rows, samples)
        Contiguous, of the same dtype.
    """
    samples, reach = rows.shape[1], half.size - 1
    # Arrays of their own: with rows of one array the loops below are six times slower.
    values = np.empty(samples + 2 * reach, rows.dtype)
    there, weight = values[:0], values[:0]
    drawn = np.empty(DRAWN, rows.dtype)
    for r in range(rows.shape[0]):
        # Sums of differences from a usual sample lose fewer digits than sums of the level itself.
        level = _usual(rows[r], drawn)
        _extend(rows[r], level, reach, values)
        total = out[r]
        if _is_complete(values):
            filter_symmetric(values, half, total)
            _add_level(level, total)
            continue
        if there.size == 0:
            there, weight = np.empty_like(values), np.empty(samples, rows.dtype)
        _take_out(values, there)
        filter_symmetric(values, half, total)
        filter_symmetric(there, half, weight)
        for i in range(samples):
            usable = there[i + reach] == 1 and weight[i] >= least
            total[i] = total[i] / weight[i] + level if usable else np.nan


@compiled
def _usual(row: Any, drawn: Any) -> Any:
    """Return the middle one of some known samples: a single one may be an outlier."""
    known = 0
    for i in range(0, row.size, max(1, row.size // drawn.size)):
        if np.isfinite(row[i]) and known < drawn.size:
            place = known
            while place > 0 and drawn[place - 1] > row[i]:
                drawn[place] = drawn[place - 1]
                place -= 1
            drawn[place] = row[i]
            known += 1
    if known:
        return drawn[known // 2]
    for i in range(row.size):
        if np.isfinite(row[i]):
            return row[i]
    return row[0]


@compiled
def _extend(row: Any, level: Any, reach: int, values: Any) -> None:
    """Mirror a row in its end samples, as filtfilt does; without one there is nothing beyond it."""
    samples = row.size
    inside = values[reach : reach + samples]
    for i in range(samples):
        inside[i] = row[i] - level
    for i in range(1, reach + 1):
        values[reach - i] = 2 * inside[0] - inside[i]
        values[reach + samples - 1 + i] = 2 * inside[samples - 1] - inside[samples - 1 - i]


@compiled
def _is_complete(values: Any) -> bool:
    missing = 0
    for i in range(values.size):
        missing += values[i] - values[i] != 0  # NaN and infinite
    return missing == 0


@compiled
def _take_out(values: Any, there: Any) -> None:
    """Put zeros where values are missing, and tell where they are not."""
    for i in range(values.size):
        known = np.isfinite(values[i])
        there[i] = known
        if not known:
            values[i] = 0


@compiled
def _add_level(level: Any, total: Any) -> None:
    for i in range(total.size):
        total[i] += level


def _four_bins(typing: Any, row: Any, first: Any, wide: Any, divisor: Any, out: Any, k: Any) -> Any:
    """Write the sums of four bins to ``out[k:k + 4]``. Loads `WIDEST` samples for each."""
    if row.layout != "C" or out.layout != "C":
        return None  # no such function, says numba

    def write(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        row, first, wide, divisor, out, k = values
        samples = _Numbers(context, builder, signature.args[0], row)
        results = _Numbers(context, builder, signature.args[4], out)
        width = _filled(builder, wide, LANES)
        inside = [
            builder.icmp_unsigned("<", _constant(_INDEX, lanes), width)
            for lanes in (range(LANES), range(LANES, WIDEST))
        ]
        nothing = _constant(_DOUBLE, [-0.0] * LANES)  # 0.0 added to -0.0 would be 0.0
        bins = []
        for _ in range(4):
            halves = [
                builder.select(mask, samples.load_double(builder.add(first, skip)), nothing)
                for mask, skip in zip(inside, (_INDEX(0), _INDEX(LANES)), strict=True)
            ]
            bins.append(builder.fadd(*halves))
            first = builder.add(first, wide)
        sums = builder.fdiv(_added(builder, bins), _filled(builder, divisor, 4))
        if results.single:
            sums = builder.fptrunc(sums, ir.VectorType(_SINGLE, 4))
        results.store(sums, k)
        return context.get_dummy_value()

    return types.void(row, first, wide, divisor, out, k), write


_add_four: Any = intrinsic(_four_bins)


def _some_sums(typing: Any, padded: Any, half: Any, reach: Any, out: Any, first: Any) -> Any:
    """Write `SUMS` vectors of a filtered row from ``out[first]`` on."""
    arrays = (padded, half, out)
    if {a.layout for a in arrays} != {"C"} or len({a.dtype for a in arrays}) > 1:
        return None

    def write(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        padded, half, reach, out, first = values
        samples, weights, results = (
            _Numbers(context, builder, signature.args[n], array)
            for n, array in ((0, padded), (1, half), (3, out))
        )
        lanes = BYTES // samples.size
        centre = builder.add(first, reach)

        def loaded(at: Any) -> list[Any]:
            return [samples.load(builder.add(at, _INDEX(n * lanes)), lanes) for n in range(SUMS)]

        def weight(k: Any) -> Any:
            return _filled(builder, weights.load_one(k), lanes)

        by = weight(_INDEX(0))
        begun = [builder.fmul(vector, by) for vector in loaded(centre)]
        before = builder.block
        head, body, end = (builder.append_basic_block() for _ in range(3))
        builder.branch(head)

        builder.position_at_end(head)
        k = builder.phi(_INDEX)
        sums = [builder.phi(vector.type) for vector in begun]
        builder.cbranch(builder.icmp_unsigned(">", k, _INDEX(0)), body, end)

        builder.position_at_end(body)
        by = weight(k)
        pairs = zip(loaded(builder.sub(centre, k)), loaded(builder.add(centre, k)), strict=True)
        products = [builder.fmul(builder.fadd(left, right), by) for left, right in pairs]
        more = [builder.fadd(*both) for both in zip(sums, products, strict=True)]
        closer = builder.sub(k, _INDEX(1))
        builder.branch(head)

        for phi, start, later in ((k, reach, closer), *zip(sums, begun, more, strict=True)):
            phi.add_incoming(start, before)
            phi.add_incoming(later, body)
        builder.position_at_end(end)
        for n, vector in enumerate(sums):
            results.store(vector, builder.add(first, _INDEX(n * lanes)))
        return context.get_dummy_value()

    return types.void(padded, half, reach, out, first), write


_filter_some: Any = intrinsic(_some_sums)


class _Numbers:
    """The numbers of an array of floats, which are loaded and stored as vectors."""

    def __init__(self, context: Any, builder: Any, kind: Any, array: Any) -> None:
        self._builder = builder
        self._data = context.make_array(kind)(context, builder, array).data
        self.single = kind.dtype == types.float32
        self.size = 4 if self.single else 8

    def load(self, first: Any, count: int) -> Any:
        loaded = self._builder.load(self._place(first, count))
        loaded.align = self.size
        return loaded

    def load_double(self, first: Any) -> Any:
        """Load a vector of float64."""
        loaded = self.load(first, LANES)
        wide = ir.VectorType(_DOUBLE, LANES)
        return self._builder.fpext(loaded, wide) if self.single else loaded

    def load_one(self, place: Any) -> Any:
        return self._builder.load(self._builder.gep(self._data, [place]))

    def store(self, vector: Any, first: Any) -> None:
        place = self._place(first, vector.type.count)
        self._builder.store(vector, place).align = self.size

    def _place(self, first: Any, count: int) -> Any:
        kind = ir.VectorType(_SINGLE if self.single else _DOUBLE, count)
        return self._builder.bitcast(self._builder.gep(self._data, [first]), kind.as_pointer())


def _added(builder: Any, vectors: list[Any]) -> Any:
    """Return a vector of the sums of four vectors."""

    def add(a: Any, b: Any, some: tuple[int, ...], others: tuple[int, ...]) -> Any:
        """Add numbers of two vectors that follow each other to other numbers of theirs."""
        parts = (builder.shuffle_vector(a, b, _constant(_PLACE, p)) for p in (some, others))
        return builder.fadd(*parts)

    halves = [add(v, v, (0, 1, 2, 3), (4, 5, 6, 7)) for v in vectors]
    pairs = [add(a, b, (0, 4, 2, 6), (1, 5, 3, 7)) for a, b in (halves[:2], halves[2:])]
    return add(pairs[0], pairs[1], (0, 1, 4, 5), (2, 3, 6, 7))


def _constant(kind: Any, values: Iterable[float]) -> Any:
    numbers = [ir.Constant(kind, value) for value in values]
    return ir.Constant(ir.VectorType(kind, len(numbers)), numbers)


def _filled(builder: Any, number: Any, count: int) -> Any:
    """Return a vector of one number again and again."""
    one = ir.Constant(ir.VectorType(number.type, count), ir.Undefined)
    one = builder.insert_element(one, number, _PLACE(0))
    return builder.shuffle_vector(one, one, _constant(_PLACE, [0] * count))
