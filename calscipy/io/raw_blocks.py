"""Write lazy arrays into one run of bytes of a file, block by block and in any order."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

import dask
import dask.array as da
import numpy as np
import xarray as xr

from calscipy import model
from calscipy.errors import ArgumentError
from calscipy.io.output import progress_bar
from calscipy.options import get_option


class RawBlocks:
    """An array as it lies in a file, row after row from an offset on; blocks can be assigned.

    Holds a path and numbers only, so that it pickles to other processes. Several blocks may be
    written at once, and one block twice.

    Parameters
    ----------
    path : path
        A file that reaches to the end of the array already.
    offset : int
        Where the array starts, in bytes.
    shape : sequence of int
        Its shape.
    dtype : dtype
        Its type; blocks of others are converted by `fitted`.

    Examples
    --------
    >>> from pathlib import Path
    >>> _ = Path("a.bin").write_bytes(bytes(7))
    >>> target = RawBlocks("a.bin", 1, (2, 3), np.dtype("u1"))
    >>> target[:, 1:] = np.array([[1, 2], [3, 4]])
    >>> list(Path("a.bin").read_bytes())
    [0, 0, 1, 2, 0, 3, 4]
    """

    def __init__(
        self, path: str | os.PathLike[str], offset: int, shape: Sequence[int], dtype: np.dtype
    ) -> None:
        self.path = os.path.abspath(path)  # workers may run elsewhere
        self.offset = offset
        self.shape = tuple(shape)
        self.ndim = len(self.shape)
        self.dtype = np.dtype(dtype)

    def __setitem__(self, index: tuple[slice, ...], block: Any) -> None:
        """Write a block, in as few pieces as lie in one run of bytes."""
        values = np.ascontiguousarray(fitted(on_host(block), self.dtype))
        if not values.size:
            return
        starts = [part.start or 0 for part in index]
        lead = self.ndim  # dimensions that one run of bytes does not cross
        while lead and (lead == self.ndim or values.shape[lead] == self.shape[lead]):
            lead -= 1
        steps = np.cumprod([self.dtype.itemsize, *self.shape[:0:-1]], dtype=np.int64)[::-1]
        with open(self.path, "r+b", buffering=0) as stream:
            for position in np.ndindex(values.shape[:lead]):
                inside = (*position, *(0,) * (self.ndim - lead))
                places = zip(starts, inside, steps.tolist(), strict=True)
                at = self.offset + sum((start + own) * step for start, own, step in places)
                _write(stream, at, np.asarray(values[position]).data.cast("B"))


def _write(stream: Any, at: int, data: memoryview) -> None:
    """Write all of some bytes; a system takes two gigabytes at once."""
    stream.seek(at)
    while data:
        data = data[stream.write(data) :]


def fitted(values: np.ndarray, dtype: np.dtype) -> np.ndarray:
    """Convert values to another type, rounded for integers, and never to other values.

    Raises
    ------
    ArgumentError
        If some are NaN or beyond what the type can hold.

    Examples
    --------
    >>> fitted(np.array([1.4, 1.6]), np.dtype("u1")).tolist()
    [1, 2]
    """
    if values.dtype == dtype or not values.size or np.can_cast(values.dtype, dtype, "safe"):
        return values.astype(dtype, copy=False)
    if dtype.kind == "f":
        with np.errstate(over="ignore"):
            result = values.astype(dtype)
        fits = bool((np.isfinite(result) | ~np.isfinite(values)).all())
        least, most = -np.finfo(dtype).max, np.finfo(dtype).max
    else:
        values = np.rint(values) if values.dtype.kind == "f" else values
        least, most = np.iinfo(dtype).min, np.iinfo(dtype).max
        fits = bool(values.min() >= least and values.max() <= most)  # NaN is neither
        result = values.astype(dtype) if fits else values
    if not fits:
        raise ArgumentError(
            f"values from {values.min()} to {values.max()} do not fit into {dtype}, which holds "
            f"{least} to {most} and {'infinity' if dtype.kind == 'f' else 'no NaN'}. Choose "
            "another dtype, or change them first (data.clip(...), data.fillna(...))."
        )
    return result


def write_blocks(
    sources: Sequence[xr.Variable],
    targets: Sequence[Any],
    text: str,
    *,
    progress: bool | None = None,
) -> None:
    """Compute arrays and write each block where it belongs; lazy ones in one graph.

    Parameters
    ----------
    sources : sequence of Variable
        What to write. Arrays without dask are read along the first dimension in pieces of
        ``chunk_bytes``.
    targets : sequence of RawBlocks or alike
        Where, of the same shapes; several threads assign blocks to them.
    text : str
        What the progress bar says.
    progress : bool, optional
        Show a progress bar; the option ``progress`` by default.
    """
    pairs = list(zip(sources, targets, strict=True))
    arrays: list[Any] = [source.data for source, _ in pairs if source.chunks is not None]
    places: list[Any] = [target for source, target in pairs if source.chunks is not None]
    with progress_bar(text, show=progress):
        if arrays:
            dask.compute(da.store(arrays, places, lock=False, compute=False))
        for source, target in pairs:
            if source.chunks is None:
                _write_pieces(source, target)


def _write_pieces(source: xr.Variable, target: RawBlocks) -> None:
    first = source.dims[0]
    row_bytes = max(1, source.nbytes // max(1, source.sizes[first]))
    step = max(1, get_option("chunk_bytes") // row_bytes)
    for start in range(0, source.sizes[first], step):
        piece = source.isel({first: slice(start, start + step)})
        rest = (slice(None),) * (source.ndim - 1)
        target[(slice(start, start + step), *rest)] = piece.data


def on_host(block: Any) -> np.ndarray:
    """Return a block in the memory of the computer: CuPy arrays refuse an implicit copy."""
    return np.asarray(block.get() if hasattr(block, "get") else block)


def values_of(data: xr.DataArray) -> xr.Variable:
    """Return the values without labels, in the order of pages: frames, plane, channel, y, x."""
    order = (model.FRAMES, model.PLANE, model.CHANNEL, model.Y, model.X)
    return data.variable.transpose(*order, missing_dims="ignore")
