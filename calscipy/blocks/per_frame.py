"""Kernels on whole frames, each with numbers of its own."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import dask
import dask.array as da
import numpy as np
from dask.base import normalize_token
from dask.system import CPU_COUNT

from calscipy.blocks.device import is_cupy
from calscipy.errors import ChunkError, DeviceError
from calscipy.options import get_option


def require_host(data: Any, verb: str) -> None:
    """Raise if an array, or what a lazy one would hold, lives on a GPU.

    Raises
    ------
    DeviceError
        Naming the way out.
    """
    if is_cupy(data) or is_cupy(getattr(data, "_meta", None)):
        raise DeviceError(
            f"{verb} runs on the CPU, but the movie lives on a GPU. Bring it to the host first: "
            "movie.cupy.as_numpy()."
        )


def per_frame(
    data: Any,
    kernel: Callable[..., np.ndarray],
    numbers: np.ndarray,
    *,
    dtype: np.dtype,
    tail: tuple[int, ...] | None = None,
    arguments: Mapping[str, Any] | None = None,
    shared: Any = None,
    verb: str = "this operation",
) -> Any:
    """Apply a kernel to the frames of a movie, in one task for each of its blocks.

    Parameters
    ----------
    data : ndarray or dask.array.Array, shape (frames, ..., y, x)
        The movie. Where y or x are in several chunks, they are put together first.
    kernel : callable
        ``kernel(frames, numbers, **arguments)`` for frames ``(n, y, x)`` and numbers
        ``(n, ...)``; its result is ``(n, y, x)`` or ``(n, *tail)``.
    numbers : ndarray, shape (frames, ..., *own)
        What each frame has of its own; the dimensions of ``data`` other than y and x come first.
    dtype : dtype
        Of the result.
    tail : tuple of int, optional
        What stands in place of y and x in the result.
    arguments : mapping, optional
        Further arguments of the kernel.
    shared : object, optional
        An argument ``shared`` of the kernel that is too large to be copied into every task.
    verb : str, optional
        What messages call this.

    Returns
    -------
    ndarray or dask.array.Array
        Lazy in, lazy out.

    Raises
    ------
    ChunkError
        See :func:`whole_frames`.
    """
    work = _Frames(kernel, np.dtype(dtype), dict(arguments or {}), tail)
    if not isinstance(data, da.Array):
        return _eager(data, work, numbers, shared)
    data = whole_frames(data, verb)
    frames, *batch, y, x = range(data.ndim)
    own = tuple(range(data.ndim, numbers.ndim + 2))
    end = (y, x) if tail is None else tuple(numbers.ndim + 2 + axis for axis in range(len(tail)))
    chunks = (*data.chunks[:-2], *((n,) for n in numbers.shape[data.ndim - 2 :]))
    return da.blockwise(
        work,
        (frames, *batch, *end),
        data,
        (frames, *batch, y, x),
        da.from_array(numbers, chunks),
        (frames, *batch, *own),
        shared=None if shared is None else dask.delayed(shared, pure=True),
        new_axes=None if tail is None else dict(zip(end, tail, strict=True)),
        concatenate=True,
        token=f"calscipy-{kernel.__name__}",
        dtype=dtype,
        meta=np.empty((0,) * (data.ndim - 2 + len(end)), dtype),
    )


@dataclass(frozen=True)
class _Frames:
    """The work of one task."""

    kernel: Callable[..., np.ndarray]
    dtype: np.dtype
    arguments: Mapping[str, Any]
    tail: tuple[int, ...] | None

    def __dask_tokenize__(self) -> Any:
        name = f"{self.kernel.__module__}.{self.kernel.__qualname__}"
        return normalize_token((name, str(self.dtype), dict(self.arguments), self.tail))

    def __call__(self, block: np.ndarray, numbers: np.ndarray, shared: Any = None) -> np.ndarray:
        arguments = dict(self.arguments) | ({} if shared is None else {"shared": shared})
        leading = block.shape[:-2]
        count = int(np.prod(leading))
        flat = block.reshape(count, *block.shape[-2:])
        result = self.kernel(
            flat, numbers.reshape(count, *numbers.shape[len(leading) :]), **arguments
        )
        return result.reshape(*leading, *result.shape[1:]).astype(self.dtype, copy=False)


def _eager(data: np.ndarray, work: _Frames, numbers: np.ndarray, shared: Any) -> np.ndarray:
    """Work on an array in memory, in one piece of its frames for each thread."""
    end = data.shape[-2:] if work.tail is None else work.tail
    out = np.empty((*data.shape[:-2], *end), work.dtype)
    length = max(1, -(-len(data) // CPU_COUNT))

    def piece(start: int) -> None:
        part = slice(start, start + length)
        out[part] = work(data[part], numbers[part], shared)

    with ThreadPoolExecutor(CPU_COUNT) as pool:
        list(pool.map(piece, range(0, len(data), length)))
    return out


def whole_frames(data: da.Array, verb: str) -> da.Array:
    """Put y and x into one chunk each; bands of many frames become blocks of usual size.

    Raises
    ------
    ChunkError
        If whole frames are only to be had by holding more than ``memory_limit``: the bands of a
        movie that was opened with ``chunks="time"`` reach over all frames.
    """
    if data.numblocks[-2] == 1 and data.numblocks[-1] == 1:
        return data
    longest = max(data.chunks[0], default=0)
    together = data.nbytes // max(data.shape[0], 1) * longest
    if together > get_option("memory_limit"):
        raise ChunkError(
            f"{verb} needs whole frames, but the movie is in chunks of parts of {longest} frames: "
            f"{together} bytes would have to be held at once, more than memory_limit="
            f"{get_option('memory_limit')}. Open it with ImagingSession.open(path), whose chunks "
            "are whole frames, or raise the limit with calscipy.set_options(memory_limit=...)."
        )
    return data.rechunk(
        {0: "auto", data.ndim - 2: -1, data.ndim - 1: -1},
        block_size_limit=get_option("chunk_bytes"),
    )
