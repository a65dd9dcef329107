"""Kernels that make one number of the whole time axis of each row."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import dask.array as da
import numpy as np
from dask.base import normalize_token
from dask.system import CPU_COUNT

from calscipy.blocks.device import on_host
from calscipy.blocks.threads import WORTH_THREADS
from calscipy.blocks.time import PIECE


def reduce_time(
    data: Any,
    kernel: Callable[..., np.ndarray],
    *,
    dtype: np.dtype,
    work: np.dtype | None = None,
    others: tuple[Any, ...] = (),
    **arguments: Any,
) -> Any:
    """Apply a kernel that makes one number of each row.

    Rows are handed to the kernel a few at a time, contiguous and as ``work``, in several threads
    if they are in memory. What the kernel makes of a row must not depend on the rows that come
    with it.

    Parameters
    ----------
    data : ndarray or dask.array.Array, shape (..., samples)
        Rows; a dask array must have one chunk along time (see ``whole_time``).
    kernel : callable
        ``kernel(rows, *others, **arguments)``, its result without the last dimension of ``rows``.
    dtype : dtype
        Of the result.
    work : dtype, optional
        Of the rows that the kernel gets; that of ``data`` by default.
    others : tuple of arrays of the same shape
        Further rows for the kernel, in their own dtypes.

    Returns
    -------
    ndarray or dask.array.Array, shape (...)
        Lazy if any of the arrays is.
    """
    reduction = _Reduction(kernel, np.dtype(dtype), np.dtype(work or data.dtype), arguments)
    operands = [data, *others]
    if not any(isinstance(operand, da.Array) for operand in operands):
        return reduction(*operands, threads=CPU_COUNT)
    chunks = next(o.chunks for o in operands if isinstance(o, da.Array))
    lazy = [o if isinstance(o, da.Array) else da.from_array(o, chunks=chunks) for o in operands]
    lazy = [o if o.chunks == chunks else o.rechunk(chunks) for o in lazy]
    return da.map_blocks(
        reduction,
        *lazy,
        drop_axis=data.ndim - 1,
        dtype=dtype,
        meta=np.empty((0,) * (data.ndim - 1), dtype),
        token="calscipy-reduction",  # else dask takes the text of `reduction`, an address in it
    )


@dataclass(frozen=True)
class _Reduction:
    """The work of one task."""

    kernel: Callable[..., np.ndarray]
    dtype: np.dtype
    work: np.dtype
    arguments: Mapping[str, Any]

    def __dask_tokenize__(self) -> Any:
        name = f"{self.kernel.__module__}.{self.kernel.__qualname__}"
        return normalize_token((name, str(self.dtype), str(self.work), dict(self.arguments)))

    def __call__(self, *rows: Any, threads: int = 1) -> np.ndarray:
        data, *others = (on_host(r) for r in rows)
        *leading, samples = data.shape
        out = np.empty(leading, self.dtype)
        most = max(1, PIECE // max(1, samples))
        if data.size < WORTH_THREADS:
            threads = 1
        if leading:
            most = max(1, min(most, -(-leading[-1] // threads)))

        def work(piece: tuple[Any, ...]) -> None:
            given = [np.ascontiguousarray(data[piece], self.work)]
            given += [np.ascontiguousarray(other[piece]) for other in others]
            out[piece] = self.kernel(*given, **self.arguments)

        pieces = list(_pieces(leading, most))
        if threads == 1 or len(pieces) < 2:
            for piece in pieces:
                work(piece)
        else:
            with ThreadPoolExecutor(threads) as pool:
                list(pool.map(work, pieces))
        return out


def _pieces(leading: list[int], most: int) -> Iterator[tuple[Any, ...]]:
    """Cut all dimensions but time into pieces of so many rows."""
    if not leading:
        yield ()
        return
    for outer in np.ndindex(*leading[:-1]):
        for start in range(0, leading[-1], most):
            yield (*outer, slice(start, start + most))
