"""Pages of TIFF files as a lazy array."""

from __future__ import annotations

import math
import os
from pathlib import Path
from typing import IO, Any

import numpy as np
from xarray.backends import BackendArray
from xarray.core import indexing

from calscipy.blocks.memory import empty_block
from calscipy.errors import FrameError
from calscipy.io.prairieview.frames import FILL_VALUE
from calscipy.io.tiff_directories import Form, follow, one_strip, read_form
from calscipy.io.tiff_pages import AGAIN, PageStack, is_whole, require_plausible, stated_pages
from calscipy.io.tiff_strict import kind_of, open_page, open_tifffile, strict_tifffile


class TiffArray(BackendArray):
    """Pages of TIFF files as a lazy array ``(frames [, channel] [, plane], y, x)``.

    Holds paths and numbers only, so that it pickles to other processes.

    Parameters
    ----------
    stack : PageStack
        The pages of all files in one row.
    table : ndarray of int
        The page of each image, by the dimensions before y and x; -1 where there is none.
    token : str
        Identity of the files, for dask.
    dtype : dtype, optional
        Type of the values where it is not that of the files.
    """

    def __init__(
        self, stack: PageStack, table: np.ndarray, token: str, dtype: np.dtype | None = None
    ) -> None:
        self.stack = stack
        self.table = table
        self.shape = (*table.shape, *stack.shape)
        self.dtype = stack.dtype if dtype is None else dtype
        self.token = token

    def __dask_tokenize__(self) -> str:
        return self.token

    def __getitem__(self, key: indexing.ExplicitIndexer) -> Any:
        """Read what an indexer asks for."""
        return indexing.explicit_indexing_adapter(
            key, self.shape, indexing.IndexingSupport.OUTER, self._read
        )

    def _read(self, key: tuple[Any, ...]) -> np.ndarray:
        selections = [
            np.atleast_1d(np.arange(size)[item]) for size, item in zip(self.shape, key, strict=True)
        ]
        *leading, rows, columns = selections
        whole = all(
            np.array_equal(chosen, np.arange(size))
            for chosen, size in zip((rows, columns), self.stack.shape, strict=True)
        )
        out = empty_block([len(selection) for selection in selections], self.dtype)
        pages = self.table[np.ix_(*leading)]
        present = (pages >= 0) & self.stack.valid[self.stack.file_of(np.maximum(pages, 0))]
        with _OpenFile(self.stack) as opened:
            for position in np.ndindex(*out.shape[:-2]) if out.size else ():
                if not present[position]:
                    out[position] = FILL_VALUE
                    continue
                image = opened.image(int(pages[position]))
                out[position] = image if whole else image[np.ix_(rows, columns)]
        dropped = tuple(at for at, item in enumerate(key) if isinstance(item, int | np.integer))
        return out.squeeze(axis=dropped)


class _OpenFile:
    """Reads pages and keeps the file that was read last, since the next page is often in it."""

    def __init__(self, stack: PageStack) -> None:
        self._stack = stack
        self._number = -1
        self._stream: IO[bytes] | None = None
        self._form: Form | None = None
        self._tiff: Any = None
        self._plain = b""  # how a page is stored whose pixels can be taken as they are

    def __enter__(self) -> _OpenFile:
        return self

    def __exit__(self, *error: object) -> None:
        if self._stream is not None:
            self._stream.close()

    def image(self, page: int) -> np.ndarray:
        """Read one page and check that it is what was expected."""
        stack = self._stack
        number = int(stack.file_of(page))
        path = Path(stack.folder, os.fsdecode(stack.names[number]))
        within = page - int(stack.starts[number])
        try:
            with strict_tifffile():
                form = self._open(path, number)
                if stack.raw[number]:
                    assert stack.offsets is not None
                    return self._raw(int(stack.offsets[page]))
                offset = self._only_page() if stack.offsets is None else int(stack.offsets[page])
                place = self._like_the_last(form, offset)
                if place is not None:
                    return self._raw(place)
                found = open_page(self._tiff, form, offset, within)
                if found.shape != stack.shape or found.dtype != stack.dtype:
                    raise ValueError(f"found {kind_of(found.shape, found.dtype)}")
                if not found.databytecounts or 0 in found.databytecounts:
                    raise ValueError("its pixels were never written")
                if not is_whole(found, form.size):
                    raise ValueError(f"its pixels lie behind the end of the file at {form.size}")
                require_plausible(found, form.size)
                if stack.offsets is None and stated_pages(self._tiff, found) > 1:
                    raise ValueError("it says that it holds more images, the first file does not")
                self._remember(found, form, offset)
                # One thread: dask has its own.
                return np.asarray(found.asarray(maxworkers=1))
        except Exception as error:  # tifffile raises many kinds on damaged files
            raise FrameError(
                f"{path}: page {within + 1} cannot be read, expected "
                f"{kind_of(stack.shape, stack.dtype)}: {error}. {AGAIN}; images of another size or "
                "type go into a folder of their own."
            ) from error

    def _open(self, path: Path, number: int) -> Form:
        if number != self._number or self._form is None:
            self.__exit__()
            self._number, self._stream = -1, path.open("rb")
            self._form = read_form(self._stream)
            self._tiff = open_tifffile(self._stream, path.name, self._form)
            self._number, self._plain = number, b""
        return self._form

    def _remember(self, page: Any, form: Form, offset: int) -> None:
        """Note how a page is stored if its pixels are bytes in one place."""
        self._plain = b""
        if page.is_final and page.compression == 1 and page.databytecounts == (self._image_bytes,):
            assert self._stream is not None
            found = one_strip(self._stream, form, offset)
            if found is not None and found[1] == page.dataoffsets[0]:
                self._plain = found[0]

    def _like_the_last(self, form: Form, offset: int) -> int | None:
        """Return where the pixels are of a page that is stored as the one before it."""
        if not self._plain:
            return None
        assert self._stream is not None
        found = one_strip(self._stream, form, offset)
        if found is None or found[0] != self._plain or found[1] + self._image_bytes > form.size:
            return None
        return found[1]

    @property
    def _image_bytes(self) -> int:
        return math.prod(self._stack.shape) * self._stack.dtype.itemsize

    def _only_page(self) -> int:
        assert self._stream is not None
        assert self._form is not None
        offsets, fault = follow(self._stream, self._form)
        if fault or len(offsets) != 1:
            raise ValueError(
                fault or f"it has {len(offsets)} pages, the first file of the folder has one"
            )
        return int(offsets[0])

    def _raw(self, offset: int) -> np.ndarray:
        assert self._stream is not None
        self._stream.seek(offset)
        data = self._stream.read(self._image_bytes)
        stored = self._stack.dtype.newbyteorder(self._tiff.byteorder)
        return np.frombuffer(data, stored).reshape(self._stack.shape)
