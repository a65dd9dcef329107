"""HDF5 files from anywhere: looked over before anything is read, and read lazily.

A file may point into other files (external links, external storage, virtual datasets) and claim
arrays that it does not hold. What does so is refused.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from xarray.backends import BackendArray
from xarray.backends.locks import HDF5_LOCK, combine_locks, get_write_lock
from xarray.core import indexing

from calscipy.errors import CalscipyError, RecordingError
from calscipy.io.optional import optional
from calscipy.io.raw_blocks import fitted, on_host

MAX_OBJECTS = 200_000
MAX_LOADED = 2**30  # bytes of one array that is read at once
MAX_CHUNK = 2**30  # bytes of one chunk, which HDF5 unpacks whole
MAX_ATTRIBUTE = 2**16  # values of one attribute
_SIGNATURE = b"\x89HDF\r\n\x1a\n"
_AGAIN = "Copy it again from where it was written."


def is_hdf5(path: Path) -> bool:
    """Tell from its first bytes whether a file is HDF5."""
    try:
        with path.open("rb") as stream:
            return stream.read(len(_SIGNATURE)) == _SIGNATURE
    except OSError:
        return False


def root_has(path: Path, name: str) -> bool:
    """Tell whether a file is HDF5 whose root has an attribute of this name.

    Raises
    ------
    MissingPackageError
        If it is HDF5, and nothing is there to read it.
    """
    if not is_hdf5(path):
        return False
    h5py = optional("h5py", extra="hdf5", purpose="HDF5 files")
    try:
        with h5py.File(path, "r", locking="best-effort") as file:
            return name in file.attrs
    except (OSError, RuntimeError, KeyError, ValueError):
        return False


@contextmanager
def opened(path: Path, *, extra: str = "hdf5") -> Iterator[Any]:
    """Open an HDF5 file for reading that has been looked over.

    Raises
    ------
    RecordingError
        If it is not HDF5, is damaged, or points into other files. Errors of HDF5 in the block
        become this one.
    """
    h5py = optional("h5py", extra=extra, purpose="HDF5 files")
    if not path.is_file():
        raise RecordingError(f"{path}: there is no such file. Check the path.")
    try:
        with h5py.File(path, "r", locking="best-effort") as file:
            require_own(file, path)
            yield file
    except CalscipyError:
        raise
    # h5py raises these and more on damaged files.
    except (OSError, RuntimeError, LookupError, ValueError, TypeError, AttributeError) as error:
        raise RecordingError(
            f"{path}: not an HDF5 file that can be read ({type(error).__name__}: {error}). {_AGAIN}"
        ) from error


def require_own(file: Any, path: Path) -> None:
    """Raise if anything in an HDF5 file lies in another file.

    Raises
    ------
    RecordingError
        Naming what does.
    """
    h5py = optional("h5py", extra="hdf5", purpose="HDF5 files")
    seen = set()
    waiting = [file["/"]]
    while waiting:
        group = waiting.pop()
        for name in group:
            link = group.get(name, getlink=True)
            if isinstance(link, h5py.SoftLink):  # to a place in this file
                continue
            if not isinstance(link, h5py.HardLink):
                raise _points_out(path, f"{group.name}/{name}", "is a link")
            item = group[name]
            identity = h5py.h5o.get_info(item.id).addr
            if identity in seen:
                continue
            seen.add(identity)
            if len(seen) > MAX_OBJECTS:
                raise RecordingError(f"{path}: over {MAX_OBJECTS} objects. Is it a recording?")
            if isinstance(item, h5py.Group):
                waiting.append(item)
            elif isinstance(item, h5py.Dataset) and (item.external or item.is_virtual):
                raise _points_out(path, item.name, "has its values")


def _points_out(path: Path, name: str, what: str) -> RecordingError:
    return RecordingError(
        f"{path}: {name!r} {what} in another file. calscipy reads single files alone: write "
        "everything into one, for instance with h5repack or the program that wrote it."
    )


def require_whole(dataset: Any, path: Path) -> None:
    """Raise if an HDF5 dataset claims values that the file does not hold.

    Raises
    ------
    RecordingError
        If parts were never written, or a chunk is too large to be unpacked.
    """
    size = int(np.prod(dataset.shape, dtype=object)) * dataset.dtype.itemsize
    if not size:
        return
    if dataset.chunks is None:
        stored = dataset.id.get_storage_size()
        compact = dataset.id.get_create_plist().get_layout() == 0
        if stored < size and not compact:
            raise _incomplete(path, dataset, f"{stored} of {size} bytes")
        return
    chunk = int(np.prod(dataset.chunks, dtype=object)) * dataset.dtype.itemsize
    if chunk > MAX_CHUNK:
        raise RecordingError(
            f"{path}: {dataset.name!r} has chunks of {chunk} bytes, up to {MAX_CHUNK} are read. "
            "Write it again in smaller chunks, for instance with h5repack."
        )
    counts = [-(-n // step) for n, step in zip(dataset.shape, dataset.chunks, strict=True)]
    wanted, stored = int(np.prod(counts, dtype=object)), dataset.id.get_num_chunks()
    if stored < wanted:
        raise _incomplete(path, dataset, f"{stored} of {wanted} chunks")


def _incomplete(path: Path, dataset: Any, found: str) -> RecordingError:
    return RecordingError(
        f"{path}: {dataset.name!r} of the shape {dataset.shape} is not complete, {found} are in "
        f"the file. {_AGAIN}"
    )


def load(dataset: Any, path: Path) -> np.ndarray:
    """Read an HDF5 dataset that fits into memory.

    Raises
    ------
    RecordingError
        If it is not complete, or too large.
    """
    require_whole(dataset, path)
    size = int(np.prod(dataset.shape, dtype=object)) * dataset.dtype.itemsize
    if size > MAX_LOADED:
        raise RecordingError(
            f"{path}: {dataset.name!r} needs {size} bytes, more than the {MAX_LOADED} that are "
            "read at once for labels. Is it what it says it is?"
        )
    h5py = optional("h5py", extra="hdf5", purpose="HDF5 files")
    if h5py.check_string_dtype(dataset.dtype) is None:
        return np.asarray(dataset[...])
    return _texts(dataset.asstr(), dataset.shape, path, str(dataset.name))


def _texts(dataset: Any, shape: tuple[int, ...], path: Path, name: str) -> np.ndarray:
    """Read texts a few at a time: many may be one long text that the file holds once."""
    if not shape:
        return np.array(dataset[()])
    step = min(2**16, max(1, MAX_LOADED // path.stat().st_size))
    found: list[str] = []
    longest = 0
    for rows in np.ndindex(shape[:-1]):
        for start in range(0, shape[-1], step):
            piece = dataset[(*rows, slice(start, start + step))].tolist()
            found += piece
            longest = max(longest, *map(len, piece))
            if 4 * len(found) * longest > MAX_LOADED:  # NumPy gives all the room of the longest
                raise RecordingError(f"{path}: the texts of {name!r} are too long ({longest}).")
    return np.array(found, dtype=np.str_).reshape(shape)


def attribute(item: Any, name: str, default: Any = None) -> Any:
    """Read an attribute of HDF5 that is not trusted: a text, a number or a few of them.

    Raises
    ------
    RecordingError
        If it has more values than any that calscipy reads.
    """
    if name not in item.attrs:
        return default
    shape = item.attrs.get_id(name).shape or ()
    if int(np.prod(shape, dtype=object)) > MAX_ATTRIBUTE:
        raise RecordingError(
            f"{item.file.filename}: the attribute {name!r} of {item.name!r} has the shape {shape}; "
            f"up to {MAX_ATTRIBUTE} values are read."
        )
    return item.attrs[name]


class Hdf5Array(BackendArray):
    """A dataset of an HDF5 file as a lazy array.

    Holds the path, a name and numbers only, so that it pickles to other processes.

    Parameters
    ----------
    path : path
        The file.
    dataset : h5py.Dataset
        A dataset of it, looked over by `require_whole`.
    dtype : dtype, optional
        Type of the values handed out, of which HDF5 may hold another form (bool).
    order : sequence of int, optional
        The dimensions of the dataset in the order in which they are handed out.
    scaling : (float, float), optional
        Factor and offset that make the values of the numbers in the file.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        dataset: Any,
        dtype: np.dtype | None = None,
        order: Sequence[int] | None = None,
        scaling: tuple[float, float] | None = None,
    ) -> None:
        self.path = os.path.abspath(path)  # workers may run elsewhere
        self.name = str(dataset.name)
        self.order = tuple(order or range(dataset.ndim))
        if sorted(self.order) != list(range(dataset.ndim)):
            raise ValueError(f"{self.name!r} has {dataset.ndim} dimensions, not {self.order}")
        self.shape = tuple(int(dataset.shape[at]) for at in self.order)
        self.stored = (dataset.shape, dataset.dtype)
        self.scaling = scaling
        self.dtype = np.dtype(dtype or dataset.dtype.newbyteorder("="))
        state = os.stat(path)
        facts = (self.path, state.st_size, state.st_mtime_ns, self.name, str(self.dtype))
        text = f"{facts}{self.order}{scaling}"
        self.token = hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:32]

    def __dask_tokenize__(self) -> str:
        return self.token

    def __getitem__(self, key: indexing.ExplicitIndexer) -> Any:
        """Read what an indexer asks for."""
        return indexing.explicit_indexing_adapter(
            key, self.shape, indexing.IndexingSupport.OUTER_1VECTOR, self._read
        )

    def _read(self, key: tuple[Any, ...]) -> np.ndarray:
        """Read a selection, at most one part of which is a list."""
        inside = tuple(key[self.order.index(at)] for at in range(len(key)))
        kept = [at for at, part in enumerate(inside) if not isinstance(part, int | np.integer)]
        turned = [kept.index(at) for at in self.order if at in kept]
        h5py = optional("h5py", extra="hdf5", purpose="HDF5 files")
        try:
            with h5py.File(self.path, "r", locking="best-effort") as file:
                dataset = file[self.name]
                if (dataset.shape, dataset.dtype) != self.stored:
                    raise ValueError("it has changed since it was opened")
                values = _selected(dataset, inside).transpose(turned)
        except (OSError, RuntimeError, KeyError, ValueError, TypeError) as error:
            raise RecordingError(
                f"{self.path}: {self.name!r} cannot be read ({error}). {_AGAIN}"
            ) from error
        if self.scaling is not None:
            factor, offset = self.scaling
            values = values.astype(self.dtype, copy=False) * self.dtype.type(factor) + offset
        return restored(values, self.dtype)


def _selected(dataset: Any, key: tuple[Any, ...]) -> np.ndarray:
    """Read a selection; h5py takes no empty list."""
    empty = [isinstance(part, np.ndarray) and not part.size for part in key]
    if not any(empty):
        return np.asarray(dataset[key])
    parts = (slice(0) if none else part for part, none in zip(key, empty, strict=True))
    return np.asarray(dataset[tuple(parts)])


class StackedArray(BackendArray):
    """Datasets of one shape as one lazy array with one more dimension.

    Parameters
    ----------
    arrays : sequence of Hdf5Array
        The datasets.
    axis : int
        Where the new dimension stands.
    """

    def __init__(self, arrays: Sequence[Hdf5Array], axis: int) -> None:
        self.arrays = tuple(arrays)
        self.axis = axis
        shape = self.arrays[0].shape
        if any((one.shape, one.dtype) != (shape, self.arrays[0].dtype) for one in self.arrays):
            raise ValueError(f"{[one.name for one in self.arrays]} are of several shapes or types")
        self.shape = (*shape[:axis], len(self.arrays), *shape[axis:])
        self.dtype = self.arrays[0].dtype

    def __dask_tokenize__(self) -> tuple[Any, ...]:
        return (self.axis, *(one.token for one in self.arrays))

    def __getitem__(self, key: indexing.ExplicitIndexer) -> Any:
        """Read what an indexer asks for."""
        return indexing.explicit_indexing_adapter(
            key, self.shape, indexing.IndexingSupport.OUTER_1VECTOR, self._read
        )

    def _read(self, key: tuple[Any, ...]) -> np.ndarray:
        inside = key[: self.axis] + key[self.axis + 1 :]
        chosen = key[self.axis]
        if isinstance(chosen, int | np.integer):
            return self.arrays[chosen]._read(inside)
        parts = [self.arrays[at]._read(inside) for at in np.arange(len(self.arrays))[chosen]]
        at = self.axis - sum(isinstance(part, int | np.integer) for part in key[: self.axis])
        if not parts:
            return np.stack([self.arrays[0]._read(inside)], at).take(np.arange(0), at)
        return np.stack(parts, at)


class Hdf5Blocks:
    """A dataset of an HDF5 file, to which blocks can be assigned from several threads.

    Holds a path and a name only, so that it pickles to other processes.

    Parameters
    ----------
    path : path
        The file.
    dataset : h5py.Dataset
        A dataset of it.
    """

    def __init__(self, path: str | os.PathLike[str], dataset: Any) -> None:
        self.path = os.path.abspath(path)
        self.name = str(dataset.name)
        self.shape = tuple(dataset.shape)
        self.ndim = len(self.shape)
        self.dtype = dataset.dtype
        self.lock = combine_locks([HDF5_LOCK, get_write_lock(self.path)])

    def __setitem__(self, index: tuple[slice, ...], block: Any) -> None:
        """Write a block."""
        h5py = optional("h5py", extra="hdf5", purpose="HDF5 files")
        values = fitted(on_host(block), self.dtype)
        with self.lock, h5py.File(self.path, "r+") as file:
            file[self.name][index] = values


def restored(values: np.ndarray, dtype: np.dtype) -> np.ndarray:
    """Return values in the type that HDF5 has another form for (flags, dates)."""
    if dtype.kind in "mM":
        return values.astype(np.int64).view(dtype)
    return values != 0 if dtype.kind == "b" else values.astype(dtype, copy=False)
