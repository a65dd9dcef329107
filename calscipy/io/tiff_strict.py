"""tifffile on files that nobody trusts: it raises what it would log, and room is checked first."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import IO, Any

import numpy as np
import tifffile

from calscipy.io.tiff_directories import Form, read_tags

_reading = threading.local()


class _ErrorsAreKept(logging.Filter):
    def filter(self, record: logging.LogRecord) -> bool:
        errors: list[str] | None = getattr(_reading, "errors", None)
        if errors is not None and record.levelno >= logging.ERROR:
            errors.append(record.getMessage())
        return errors is None


logging.getLogger("tifffile").addFilter(_ErrorsAreKept())


@contextmanager
def strict_tifffile() -> Iterator[None]:
    """Raise what tifffile only logs as an error, and keep quiet about the rest.

    Raises
    ------
    ValueError
        At the end, with the first error.
    """
    before = getattr(_reading, "errors", None)
    errors: list[str] = []
    _reading.errors = errors
    try:
        with np.errstate(all="ignore"):  # of tags that nobody reads
            yield
    finally:
        _reading.errors = before
    if errors:
        raise ValueError(errors[0])


def open_tifffile(stream: IO[bytes], name: str, form: Form) -> tifffile.TiffFile:
    """Let tifffile read the first page, and nothing that would make it read others."""
    read_tags(stream, form, form.first)  # tifffile makes room for whatever a tag claims
    stream.seek(0)  # where tifffile takes the file to begin
    never: dict[str, Any] = dict.fromkeys(("is_ome", "is_scanimage", "is_lsm", "is_ndpi"), False)
    return tifffile.TiffFile(stream, name=name, **never)


def open_page(tiff: Any, form: Form, offset: int, number: int) -> Any:
    """Let tifffile read the directory of one page, once its tags are checked."""
    if offset == tiff.pages.first.offset:
        return tiff.pages.first
    read_tags(tiff.filehandle, form, offset)
    tiff.filehandle.seek(offset)
    return tifffile.TiffPage(tiff, index=number)


def kind_of(shape: Sequence[int], dtype: Any) -> str:
    """Describe images of some size and type."""
    return f"{' x '.join(map(str, shape))} pixels of {dtype}"
