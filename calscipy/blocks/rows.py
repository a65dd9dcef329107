"""Kernels that make something of another shape of each row."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import dask.array as da
import numpy as np
from dask.base import normalize_token
from dask.system import CPU_COUNT

from calscipy.blocks.device import on_host
from calscipy.blocks.graphs import require_layers
from calscipy.blocks.memory import empty_block
from calscipy.blocks.results import into
from calscipy.blocks.threads import WORTH_THREADS, share_out

PIECE = 2**22  # samples that a kernel gets at a time


def by_rows(
    data: Any,
    kernel: Callable[..., np.ndarray],
    *,
    shape: tuple[int, ...],
    dtype: np.dtype,
    core: int = 1,
    **arguments: Any,
) -> Any:
    """Apply a kernel to rows, of which it makes arrays of another shape.

    Rows are handed to the kernel a few at a time, in several threads if they are in memory. What
    the kernel makes of a row must not depend on the rows that come with it.

    Parameters
    ----------
    data : ndarray or dask.array.Array, shape (..., *row)
        Lazy in, lazy out: the axes of a row are put into one chunk, the others keep theirs.
    kernel : callable
        ``kernel(rows, dtype=dtype, **arguments)``, its result of the shape ``(..., *shape)``. It
        may take ``out`` and write there (see `into`).
    shape : tuple of int
        What becomes of a row.
    dtype : dtype
        Of the result.
    core : int, default 1
        How many of the last axes make a row.
    """
    work = _Work(kernel, shape, np.dtype(dtype), core, arguments)
    if not isinstance(data, da.Array):
        return work(data, threads=CPU_COUNT)
    require_layers(data)
    leading = data.ndim - core
    data = data.rechunk(dict.fromkeys(range(leading, data.ndim), -1))
    kept = tuple(range(leading))
    made = tuple(range(data.ndim, data.ndim + len(shape)))
    return da.blockwise(
        work,
        (*kept, *made),
        data,
        tuple(range(data.ndim)),
        new_axes=dict(zip(made, shape, strict=True)),
        concatenate=True,
        dtype=dtype,
        meta=np.empty((0,) * (leading + len(shape)), dtype),
    )


@dataclass(frozen=True)
class _Work:
    """The work of one task."""

    kernel: Callable[..., np.ndarray]
    shape: tuple[int, ...]
    dtype: np.dtype
    core: int
    arguments: Mapping[str, Any]

    def __dask_tokenize__(self) -> Any:
        name = f"{self.kernel.__module__}.{self.kernel.__qualname__}"
        return normalize_token((name, self.shape, str(self.dtype), self.core, dict(self.arguments)))

    def __call__(self, data: Any, threads: int = 1) -> np.ndarray:
        data = on_host(data)
        leading = data.shape[: data.ndim - self.core]
        out = empty_block((*leading, *self.shape), self.dtype)
        size = max(math.prod(data.shape[len(leading) :]), math.prod(self.shape), 1)
        rows = max(1, PIECE // size)
        if data.size < WORTH_THREADS:
            threads = 1
        if leading:
            # As many pieces for each thread as for the others.
            turns = max(1, -(-leading[-1] // (rows * threads)))
            rows = max(1, -(-leading[-1] // (turns * threads)))
        pieces: list[tuple[Any, ...]] = [()]
        if leading:
            pieces = [
                (*outer, slice(start, start + rows))
                for outer in np.ndindex(*leading[:-1])
                for start in range(0, leading[-1], rows)
            ]

        put = into(self.kernel)

        def work(pieces: Iterator[tuple[Any, ...]]) -> None:
            for piece in pieces:
                put(out[piece], data[piece], dtype=self.dtype, **self.arguments)

        share_out(work, pieces, min(threads, len(pieces)) or 1)
        return out
