"""Numbers in ``.npy`` and raw files as lazy arrays; what a header claims is checked first."""

from __future__ import annotations

import io
import math
import os
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Literal

import numpy as np
import xarray as xr
from xarray.backends import BackendArray
from xarray.core import indexing

from calscipy.errors import RecordingError
from calscipy.options import get_option

MAX_HEADER = 10_000  # bytes; those of numbers have 128
_LENGTHS = {(1, 0): "<H", (2, 0): "<I", (3, 0): "<I"}  # how each version writes a header's length
_READERS = {
    (1, 0): np.lib.format.read_array_header_1_0,
    (2, 0): np.lib.format.read_array_header_2_0,
    (3, 0): np.lib.format.read_array_header_2_0,  # differs in the names of fields alone
}


@dataclass(frozen=True)
class Layout:
    """What the header of a ``.npy`` file claims."""

    shape: tuple[int, ...]
    dtype: np.dtype
    fortran: bool
    offset: int  # of the data, in bytes

    @property
    def nbytes(self) -> int:
        """Bytes of the data."""
        return math.prod(self.shape) * self.dtype.itemsize


def read_layout(stream: BinaryIO) -> Layout:
    """Read the header of a ``.npy`` file and no more; what it claims is not believed yet.

    Raises
    ------
    ValueError
        If it is none.
    """
    version = np.lib.format.read_magic(stream)
    if version not in _LENGTHS:
        raise ValueError(f"a .npy file of the unknown version {version}")
    code = _LENGTHS[version]
    raw = stream.read(struct.calcsize(code))
    if len(raw) < struct.calcsize(code):
        raise ValueError("the header is cut short")
    (length,) = struct.unpack(code, raw)
    if length > MAX_HEADER:  # before any of it is read
        raise ValueError(f"a header of {length} bytes, more than {MAX_HEADER}")
    header = stream.read(length)
    if len(header) < length:
        raise ValueError("the header is cut short")
    shape, fortran, dtype = _READERS[version](io.BytesIO(raw + header))
    if not all(type(n) is int and n >= 0 for n in shape):
        raise ValueError("a shape that is none")
    return Layout(shape, dtype, fortran, stream.tell())


class FileArray(BackendArray):
    """Numbers in one run of bytes of a file as a lazy array, mapped into memory read-only.

    Holds a path and numbers only, so that it pickles to other processes.

    Parameters
    ----------
    path : Path
        The file.
    layout : Layout
        Where the numbers lie in it and how.
    """

    def __init__(self, path: Path, layout: Layout) -> None:
        self.path = os.path.abspath(path)
        self.layout = layout
        self.shape = layout.shape
        self.dtype = layout.dtype.newbyteorder("=")
        state = os.stat(self.path)
        self.token = (self.path, state.st_size, state.st_mtime_ns, layout)

    def __dask_tokenize__(self) -> tuple[Any, ...]:
        return self.token

    def __getitem__(self, key: indexing.ExplicitIndexer) -> Any:
        """Read what an indexer asks for."""
        return indexing.explicit_indexing_adapter(
            key, self.shape, indexing.IndexingSupport.OUTER, self.read
        )

    def read(self, key: tuple[Any, ...]) -> np.ndarray:
        """Read slices, places or lists of places, one for each dimension."""
        empty = math.prod(self.shape) == 0  # an empty file cannot be mapped
        values = np.empty(self.shape, self.dtype) if empty else self._mapped()
        # Views first: the first list of places copies.
        values = values[tuple(item if isinstance(item, slice) else slice(None) for item in key)]
        for axis, item in reversed(list(enumerate(key))):
            if not isinstance(item, slice):
                values = values[(slice(None),) * axis + (item,)]
        if self.dtype.kind == "b":  # bytes other than 0 and 1 would be neither True nor False
            return values != 0
        return np.array(values, dtype=self.dtype)

    def _mapped(self) -> np.ndarray:
        layout = self.layout
        dtype = np.dtype(np.uint8) if layout.dtype.kind == "b" else layout.dtype
        order: Literal["C", "F"] = "F" if layout.fortran else "C"
        try:
            return np.memmap(self.path, dtype, "r", layout.offset, layout.shape, order)
        except (OSError, ValueError) as error:
            raise RecordingError(
                f"{self.path}: the file was changed or moved since it was opened ({error}). Open "
                "it again."
            ) from error


def numbers_in(path: Path) -> FileArray:
    """Open a ``.npy`` file of numbers lazily.

    Raises
    ------
    RecordingError
        If it is damaged, holds anything but real numbers, or has not the size that it claims.
    """
    try:
        size = path.stat().st_size
        with path.open("rb") as stream:
            layout = read_layout(stream)
        if layout.dtype.kind not in "biuf" or layout.dtype.shape:
            raise ValueError(f"it holds {layout.dtype}, real numbers were expected")
        if layout.offset + layout.nbytes != size:
            raise ValueError(
                f"its header claims {layout.nbytes} bytes of data of shape {layout.shape}, it has "
                f"{size - layout.offset}"
            )
    except Exception as error:  # a damaged or hostile header raises anything
        raise RecordingError(
            f"{path}: not a whole .npy file of numbers ({error}). Copy it again, or write it "
            "again with the program that made it."
        ) from error
    return FileArray(path, layout)


def raw_numbers(path: Path, shape: tuple[int, ...], dtype: str) -> FileArray:
    """Open a file without a header, C order, lazily.

    Raises
    ------
    RecordingError
        If its size is not that of the shape, naming both.
    """
    layout = Layout(shape, np.dtype(dtype), fortran=False, offset=0)
    try:
        size = path.stat().st_size
    except OSError as error:
        raise RecordingError(f"{path}: the file cannot be read ({error}). Check it.") from error
    if size != layout.nbytes:
        raise RecordingError(
            f"{path}: {size} bytes, but {' x '.join(map(str, shape))} numbers of {dtype} need "
            f"{layout.nbytes}. The file is cut short, or belongs to other settings: copy it again "
            "or give the right shape."
        )
    return FileArray(path, layout)


def lazy(array: FileArray, dims: tuple[str, ...]) -> xr.Variable:
    """Return a file's numbers as a dask array in blocks along the first dimension."""
    variable = xr.Variable(dims, indexing.LazilyIndexedArray(array))
    row = max(1, variable.nbytes // max(1, array.shape[0]))
    rows = max(1, get_option("chunk_bytes") // row)
    return variable.chunk({dims[0]: min(rows, max(1, array.shape[0]))})
