"""The values of a binary file as a lazy array."""

from __future__ import annotations

import hashlib
import math
import os
from collections.abc import Sequence
from typing import Any

import numpy as np
from xarray.backends import BackendArray
from xarray.core import indexing

from calscipy.blocks.memory import empty_block
from calscipy.errors import RecordingError


class BinaryArray(BackendArray):
    """The values of a binary file as a lazy array.

    Holds the path and numbers only, so that it pickles to other processes; every read maps the
    file anew and copies what is asked for.

    Parameters
    ----------
    path : path
        The file.
    shape : sequence of int
        Shape of the values, in C order.
    stored : dtype
        Type of the values in the file.
    """

    def __init__(
        self, path: str | os.PathLike[str], shape: Sequence[int], stored: np.dtype
    ) -> None:
        self.path = os.path.abspath(path)  # workers may run elsewhere
        self.shape = tuple(shape)
        self.stored = stored
        self.dtype = stored.newbyteorder("=")
        state = os.stat(path)
        text = f"{self.path}|{state.st_size}|{state.st_mtime_ns}|{self.shape}|{stored.str}"
        self.token = hashlib.sha256(os.fsencode(text)).hexdigest()[:32]

    def __dask_tokenize__(self) -> str:
        return self.token

    def __getitem__(self, key: indexing.ExplicitIndexer) -> Any:
        """Read what an indexer asks for."""
        return indexing.explicit_indexing_adapter(
            key, self.shape, indexing.IndexingSupport.OUTER, self._read
        )

    def _read(self, key: tuple[Any, ...]) -> np.ndarray:
        wanted = math.prod(self.shape) * self.stored.itemsize
        try:
            size = os.stat(self.path).st_size
            if size != wanted:  # a map beyond the end of a file would end the process
                raise OSError(f"it has {size} bytes now, {wanted} when it was opened")
            # Bytes other than 0 and 1 would be neither True nor False.
            stored = np.dtype(np.uint8) if self.stored.kind == "b" else self.stored
            values: np.ndarray = np.memmap(self.path, stored, "r", shape=self.shape)
        except (OSError, ValueError) as error:
            raise RecordingError(
                f"{self.path}: the file cannot be read any more ({error}). Open it again."
            ) from error
        listed = [at for at, item in enumerate(key) if isinstance(item, np.ndarray)]
        values = values[tuple(slice(None) if at in listed else i for at, i in enumerate(key))]
        dropped = np.cumsum([isinstance(item, int | np.integer) for item in key])
        for at in listed:
            values = values[(slice(None),) * (at - int(dropped[at])) + (key[at],)]
        if self.stored.kind == "b":
            return np.asarray(values != 0)
        out = empty_block(values.shape, self.dtype)
        out[...] = values
        return out
