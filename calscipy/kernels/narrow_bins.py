"""Sums of a few neighbouring samples of rows, four bins at once in vectors of the processor.

Compilers make no vectors of loops as short as such bins, so the instructions on vectors are written
here. This module imports numba.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
from llvmlite import ir
from numba.core import types
from numba.extending import intrinsic

from calscipy.kernels.compiled import compiled

LANES = 8  # numbers of a vector
WIDEST = 2 * LANES  # samples of a bin: it fills at most two vectors

# Indexes have no sign: numba would look whether one counts from the end.
_ZERO, _THREE, _FOUR, _WIDEST = (np.uint64(n) for n in (0, 3, 4, WIDEST))

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
        Contiguous along the bins. The first ``count`` of each row are written.
    """
    size = np.uint64(rows.shape[1])
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
            last[: left * wide] = row[first : first + left * wide]
            _add_four(last, _ZERO, wide, divisor, made, _ZERO)
            target[k : k + left] = made[:left]


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
                builder.select(mask, samples.load(builder.add(first, skip), LANES), nothing)
                for mask, skip in zip(inside, (_INDEX(0), _INDEX(LANES)), strict=True)
            ]
            bins.append(builder.fadd(*halves))
            first = builder.add(first, wide)
        sums = builder.fdiv(_added(builder, bins), _filled(builder, divisor, 4))
        results.store(sums, k)
        return context.get_dummy_value()

    return types.void(row, first, wide, divisor, out, k), write


_add_four: Any = intrinsic(_four_bins)


class _Numbers:
    """The numbers of an array of floats, from and to which vectors of float64 are copied."""

    def __init__(self, context: Any, builder: Any, kind: Any, array: Any) -> None:
        self._builder = builder
        self._data = context.make_array(kind)(context, builder, array).data
        self._single = kind.dtype == types.float32
        self._size = kind.dtype.bitwidth // 8

    def load(self, first: Any, count: int) -> Any:
        loaded = self._builder.load(self._place(first, count))
        loaded.align = self._size
        wide = ir.VectorType(_DOUBLE, count)
        return self._builder.fpext(loaded, wide) if self._single else loaded

    def store(self, vector: Any, first: Any) -> None:
        count = vector.type.count
        if self._single:
            vector = self._builder.fptrunc(vector, ir.VectorType(_SINGLE, count))
        self._builder.store(vector, self._place(first, count)).align = self._size

    def _place(self, first: Any, count: int) -> Any:
        kind = ir.VectorType(_SINGLE if self._single else _DOUBLE, count)
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
