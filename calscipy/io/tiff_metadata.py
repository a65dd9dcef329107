"""Whose metadata a TIFF file has, and what they say."""

from __future__ import annotations

import struct
from dataclasses import replace
from pathlib import Path
from typing import IO, Any

import numpy as np

from calscipy.io.ome_xml import LABELS_NAMESPACE
from calscipy.io.tiff_directories import (
    ARTIST,
    DESCRIPTION,
    SOFTWARE,
    Form,
    page_texts,
    read_tags,
    read_text,
)
from calscipy.io.tiff_hints import Hints, LayoutError, imagej_hints, is_bare
from calscipy.io.tiff_ome import MAX_TEXT, SOURCE, is_ome, ome_hints, read_document
from calscipy.io.tiff_scanimage import (
    DESCRIPTION_HEAD,
    Header,
    page_times,
    read_header,
    scanimage_hints,
)
from calscipy.io.tiff_scanimage import SOURCE as SCANIMAGE

_MAGIC = 0x07030301  # of the block that ScanImage writes behind the header of BigTIFF files
_MOST = 2**27  # bytes of that block


def read_hints(tiff: Any, form: Form, page: Any, offsets: np.ndarray, pages: int) -> Hints:
    """Take from the metadata of a file what they state plainly.

    Parameters
    ----------
    tiff : TiffFile
        The file.
    form : Form
        How its numbers are written.
    page : TiffPage
        Its first page.
    offsets : ndarray of int
        Where the directories are.
    pages : int
        How many pages it has; more than directories in some stacks of ImageJ.
    """
    if tiff.is_imagej and tiff.imagej_metadata:
        return imagej_hints(tiff.imagej_metadata, page, pages)
    stream = tiff.filehandle
    tags = read_tags(stream, form, int(offsets[0]))
    description = read_text(stream, tags.get(DESCRIPTION))
    if is_ome(description):
        return _ome(description)
    software = read_text(stream, tags.get(SOFTWARE))
    header = read_header(_block(stream, form), software, description)
    if header is None:
        return Hints()
    artist = read_text(stream, tags.get(ARTIST))
    return _scanimage(stream, form, header, artist, page.shape, offsets)


def hints_elsewhere(folder: Path, hints: Hints) -> Hints:
    """Read the metadata that a file says to be in one without images."""
    name = hints.elsewhere
    if not is_bare(name):
        return replace(
            hints, refusal=f"its OME metadata are said to be in {name!r}, outside of the folder"
        )
    path = folder / name
    if not path.is_file() or path.stat().st_size > MAX_TEXT:
        return hints
    text = path.read_text("utf-8", errors="replace")
    return replace(_ome(text), home=name) if is_ome(text) else hints


def _ome(description: str) -> Hints:
    try:
        document = read_document(description)
    except LayoutError as error:
        return Hints(SOURCE, refusal=str(error))
    if document is None:
        return Hints(notes=("its OME metadata are damaged and are not used",))
    ours = f'Namespace="{LABELS_NAMESPACE}"' in description
    return replace(
        ome_hints(document), elsewhere=document.elsewhere, text=description if ours else ""
    )


def _block(stream: IO[bytes], form: Form) -> str:
    """Return the text that ScanImage writes behind the header of a file."""
    if not form.big or form.order != "<" or len(form.head) < 32:
        return ""
    magic, version, size, _ = struct.unpack_from("<4I", form.head, 16)
    if magic != _MAGIC or version not in (3, 4) or not 0 < size <= min(_MOST, form.size - 32):
        return ""
    stream.seek(32)
    return stream.read(size).split(b"\0", 1)[0].decode("utf-8", errors="replace")


def _scanimage(
    stream: IO[bytes],
    form: Form,
    header: Header,
    artist: str,
    shape: tuple[int, int],
    offsets: np.ndarray,
) -> Hints:
    try:
        hints = scanimage_hints(header, artist, shape)
    except LayoutError as error:
        return Hints(SCANIMAGE, refusal=str(error))
    texts = page_texts(stream, form, offsets, DESCRIPTION_HEAD)
    times, stretches = page_times(texts, len(offsets))
    return replace(hints, times=times, stretches=stretches)
