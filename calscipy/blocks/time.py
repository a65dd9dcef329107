"""Kernels along the whole time axis, on rows whose last axis is time."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import dask.array as da
import numpy as np

from calscipy.blocks.device import on_host
from calscipy.errors import ChunkError
from calscipy.options import get_option


def along_time(
    data: Any,
    kernel: Callable[..., Any],
    *,
    parts: list[slice],
    dtype: np.dtype,
    valid: Any = None,
    others: tuple[Any, ...] = (),
    labels: np.ndarray | None = None,
    **arguments: Any,
) -> Any:
    """Apply a kernel to rows of the whole time axis, each epoch by itself.

    Parameters
    ----------
    data : ndarray or dask.array.Array, shape (..., samples)
        Rows; a dask array must have one chunk along time (see ``whole_time``).
    kernel : callable
        ``kernel(rows, *others, **arguments)``, shape of its result as that of ``rows``.
    parts : list of slice
        Epochs.
    dtype : dtype
        Of the result.
    valid : ndarray of bool, broadcastable to data, optional
        Samples that are False reach the kernel as NaN.
    others : tuple of arrays of the same shape
        Further rows for the kernel.
    labels : ndarray, shape of the first dimension, optional
        Names of the rows, handed to the kernel as ``labels``.
    """
    work = _Rows(kernel, tuple(parts), np.dtype(dtype), arguments, labels)
    operands = [data, *others]
    if not any(isinstance(operand, da.Array) for operand in operands):
        return work(*operands, valid=valid)
    chunks = next(o.chunks for o in operands if isinstance(o, da.Array))
    lazy = [o if isinstance(o, da.Array) else da.from_array(o, chunks=chunks) for o in operands]
    lazy = [o if o.chunks == chunks else o.rechunk(chunks) for o in lazy]
    if valid is not None:
        valid = np.reshape(valid, (1,) * (data.ndim - valid.ndim) + valid.shape)
        small = tuple(c if n > 1 else 1 for c, n in zip(chunks, valid.shape, strict=True))
        lazy.append(da.broadcast_to(da.from_array(valid, small), data.shape, chunks=chunks))
        work = _Rows(kernel, work.parts, work.dtype, arguments, labels, masked=True)
    return da.map_blocks(
        work, *lazy, dtype=dtype, meta=np.empty((0,) * data.ndim, dtype), name=None
    )


@dataclass(frozen=True)
class _Rows:
    """The work of one task along time."""

    kernel: Callable[..., Any]
    parts: tuple[slice, ...]
    dtype: np.dtype
    arguments: Mapping[str, Any]
    labels: np.ndarray | None = None
    masked: bool = False

    def __dask_tokenize__(self) -> tuple[Any, ...]:
        name = f"{self.kernel.__module__}.{self.kernel.__qualname__}"
        parts = [(part.start, part.stop) for part in self.parts]
        return name, parts, str(self.dtype), dict(self.arguments), self.labels, self.masked

    def __call__(self, *rows: Any, valid: Any = None, block_info: Any = None) -> Any:
        if self.masked:
            *rows, valid = rows  # type: ignore[assignment]
        data, *others = (on_host(r) for r in rows)
        if valid is not None:
            data = np.where(valid, data, np.nan).astype(_floating(data.dtype))
        arguments = dict(self.arguments)
        if self.labels is not None:
            names = self.labels
            if block_info:
                names = names[slice(*block_info[0]["array-location"][0])]
            arguments["labels"] = names
        out = np.empty(data.shape, self.dtype)
        for part in self.parts:
            out[..., part] = self.kernel(
                data[..., part], *(other[..., part] for other in others), **arguments
            )
        return out


def _floating(dtype: np.dtype) -> np.dtype:
    return dtype if dtype.kind == "f" else np.dtype("f4")


def whole_time(data: Any, axis: int, *, movie: bool, verb: str) -> Any:
    """Bring the whole time axis into one chunk where that fits into memory.

    Traces are small and always rechunked. A movie is rechunked into bands of pixels if it fits
    into ``memory_limit``.

    Raises
    ------
    ChunkError
        For a movie in chunks of frames that is larger than the limit.
    """
    if not isinstance(data, da.Array) or data.numblocks[axis] == 1:
        return data
    if not movie:
        return data.rechunk({axis: -1})
    limit = get_option("memory_limit")
    if data.nbytes > limit:
        raise ChunkError(
            f"{verb} needs the whole time axis of every pixel, but the movie of {data.nbytes} "
            f"bytes is in {data.numblocks[axis]} chunks of frames and does not fit into "
            f"memory_limit={limit}. Open it with ImagingSession.open(path, chunks='time'), or "
            "save it to zarr first (movie.cs.to_zarr(path)) and open that."
        )
    return data.rechunk({axis: -1, data.ndim - 2: "auto"} if axis == 0 else {axis: -1})
