"""Page directories of TIFF files, read without trusting them.

The chain of directories is followed here, since tifffile ends it silently where a file is cut
short; and every tag is checked to lie in the file before tifffile makes room for its values.
"""

from __future__ import annotations

import os
import struct
from array import array
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import IO

import numpy as np

MAX_PAGES = 2**23
MAX_TAGS = 4096
MAX_STRIPS = 2**20
MAX_VALUES = 2**22  # numbers of one tag, which tifffile makes objects of
MAX_TEXT = 2**28  # bytes of one tag
_TYPE_BYTES = {
    1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4,
    16: 8, 17: 8, 18: 8,
}  # fmt: skip
_STRIP_TAGS = {273, 279, 324, 325}
DESCRIPTION, SOFTWARE, ARTIST = 270, 305, 315
_STRIP_OFFSETS = 273
# Description, resolution, software, date and artist, which change nothing about the pixels.
_WORDS = {DESCRIPTION, 282, 283, SOFTWARE, 306, ARTIST}


@dataclass(frozen=True)
class Form:
    """How numbers of a TIFF file are written."""

    order: str  # "<" or ">"
    big: bool
    size: int  # of the file
    first: int  # offset of the first directory
    head: bytes

    @cached_property
    def count(self) -> struct.Struct:
        """Number of tags of a directory."""
        return struct.Struct(self.order + ("Q" if self.big else "H"))

    @cached_property
    def link(self) -> struct.Struct:
        """Offset of the next directory."""
        return struct.Struct(self.order + ("Q" if self.big else "I"))

    @cached_property
    def entry(self) -> struct.Struct:
        """One tag: code, type, count and value or offset."""
        return struct.Struct(self.order + ("HHQ8s" if self.big else "HHI4s"))


@dataclass(frozen=True)
class Tag:
    """Where the values of a tag lie."""

    type: int
    count: int
    at: int
    bytes: int


class BeyondEnd(ValueError):
    """A directory speaks of bytes that the file does not have."""


def read_form(stream: IO[bytes]) -> Form:
    """Read the header of a file.

    Raises
    ------
    ValueError
        If it is not that of a TIFF file.
    """
    size = stream.seek(0, os.SEEK_END)
    stream.seek(0)
    head = stream.read(32)
    order = {b"II": "<", b"MM": ">"}.get(head[:2])
    if not head:
        raise ValueError("the file is empty")
    if order is None or len(head) < 8:
        raise ValueError(f"it starts with the bytes {head[:8]!r}")
    version = struct.unpack(order + "H", head[2:4])[0]
    if version not in (42, 43) or (version == 43 and len(head) < 16):
        raise ValueError(f"it starts with the bytes {head[:8]!r}")
    big = version == 43
    (first,) = struct.unpack_from(order + ("Q" if big else "I"), head, 8 if big else 4)
    return Form(order, big, size, first, head)


def follow(stream: IO[bytes], form: Form) -> tuple[np.ndarray, str]:
    """Follow the chain of page directories.

    Returns
    -------
    (ndarray, str)
        Their offsets, and what ends the chain too early (empty if nothing does).
    """
    offsets, offset, fault = array("q"), form.first, ""
    marked = 0  # a place of the chain; whoever comes back to it goes in a circle
    while offset and not fault:
        fault, following = _next(stream, form, offset, len(offsets) + 1)
        if offset == marked or len(offsets) >= MAX_PAGES:
            return _without_circle(np.array(offsets, np.int64), offset)
        if fault:
            break
        if not len(offsets) & (len(offsets) - 1):  # at powers of two
            marked = offset
        offsets.append(offset)
        offset = following
    return np.array(offsets, np.int64), fault if fault or offsets else "it has no pages"


def _next(stream: IO[bytes], form: Form, offset: int, number: int) -> tuple[str, int]:
    """Return what is wrong with a directory, and the offset of the next one."""
    where = f"the directory of page {number}"
    if offset >= form.size:
        return f"{where} is at byte {offset} of {form.size}", 0
    stream.seek(offset)
    head = stream.read(form.count.size)
    tags = form.count.unpack(head)[0] if len(head) == form.count.size else 0
    if tags > MAX_TAGS:
        return f"{where} is damaged", 0
    stream.seek(tags * form.entry.size, os.SEEK_CUR)
    tail = stream.read(form.link.size)
    if not tags or len(tail) < form.link.size:
        return f"{where} is at byte {offset} of {form.size}", 0
    return "", form.link.unpack(tail)[0]


def _without_circle(offsets: np.ndarray, offset: int) -> tuple[np.ndarray, str]:
    """Cut a chain off where it comes back to a directory for the first time."""
    _, firsts = np.unique(offsets, return_index=True)
    if len(firsts) == len(offsets) and offset not in offsets:
        return offsets, f"it has more than {MAX_PAGES} pages"
    seen_before = np.setdiff1d(np.arange(len(offsets) + 1), firsts)
    pages = int(seen_before[0])
    return offsets[:pages], f"the directory of page {pages + 1} is one that came before"


def read_tags(stream: IO[bytes], form: Form, offset: int) -> dict[int, Tag]:
    """Read where the tags of a directory have their values, and check that these can be.

    Raises
    ------
    BeyondEnd
        If a tag claims values that are not in the file.
    ValueError
        If it claims more than any image needs.
    """
    stream.seek(offset)
    (count,) = form.count.unpack(_exactly(stream, form.count.size))
    if not 0 < count <= MAX_TAGS:
        raise ValueError(f"its directory claims {count} tags")
    table = _exactly(stream, count * form.entry.size)
    found: dict[int, Tag] = {}
    for number, (code, kind, values, inside) in enumerate(form.entry.iter_unpack(table)):
        size = values * _TYPE_BYTES.get(kind, 1)
        if size <= len(inside):
            place = offset + form.count.size + (number + 1) * form.entry.size - len(inside)
        else:
            (place,) = form.link.unpack(inside)
        text = kind in (1, 2, 6, 7) or kind not in _TYPE_BYTES
        most = MAX_STRIPS if code in _STRIP_TAGS else MAX_TEXT if text else MAX_VALUES
        if values > most:
            raise ValueError(f"its tag {code} claims {values} values, at most {most} are accepted")
        if place + size > form.size:
            raise BeyondEnd(
                f"its tag {code} claims {size} bytes at byte {place}, the file ends at {form.size}"
            )
        found.setdefault(code, Tag(kind, values, place, size))
    return found


def one_strip(stream: IO[bytes], form: Form, offset: int) -> tuple[bytes, int] | None:
    """Read how a page with one strip of pixels is stored, and where its pixels are.

    Returns
    -------
    (bytes, int) or None
        All tags but those that change nothing about the pixels, and the offset of these. Pages of
        one file with the same tags are stored in the same way. None where there are several
        strips, or a closer look is needed.
    """
    stream.seek(offset)
    (count,) = form.count.unpack(_exactly(stream, form.count.size))
    if not 0 < count <= MAX_TAGS:
        return None
    table = _exactly(stream, count * form.entry.size)
    rest, place, step = [], 0, form.entry.size
    for number, (code, kind, values, inside) in enumerate(form.entry.iter_unpack(table)):
        if code == _STRIP_OFFSETS:
            size = _TYPE_BYTES.get(kind, 0)
            if values != 1 or place or kind not in (4, 16):
                return None
            place = int.from_bytes(inside[:size], "little" if form.order == "<" else "big")
        elif code in _WORDS:
            size = values * _TYPE_BYTES.get(kind, 1)
            if size > len(inside) and form.link.unpack(inside)[0] + size > form.size:
                return None
        else:
            rest.append(table[number * step : (number + 1) * step])
    return (b"".join(rest), place) if place else None


def read_text(stream: IO[bytes], tag: Tag | None, most: int | None = None) -> str:
    """Read a text of a directory, its first ``most`` bytes; empty if there is none."""
    if tag is None or tag.type not in (1, 2, 7):
        return ""
    stream.seek(tag.at)
    data = stream.read(tag.bytes if most is None else min(most, tag.bytes))
    data = data.split(b"\0", 1)[0]
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        return data.decode("cp1252", errors="replace")


def page_texts(stream: IO[bytes], form: Form, offsets: np.ndarray, most: int) -> Iterator[str]:
    """Read the beginning of the description of each page, empty where there is none."""
    for offset in offsets.tolist():
        stream.seek(offset)
        (count,) = form.count.unpack(stream.read(form.count.size))
        table = stream.read(min(count, MAX_TAGS) * form.entry.size)
        table = table[: len(table) // form.entry.size * form.entry.size]
        place = length = 0
        for code, _, values, inside in form.entry.iter_unpack(table):
            if code == DESCRIPTION and values > len(inside):
                (place,), length = form.link.unpack(inside), min(values, most)
            if code >= DESCRIPTION:  # tags are sorted
                break
        if not place or place >= form.size:
            yield ""  # whoever reads the page will be told what is wrong
            continue
        stream.seek(place)
        yield stream.read(length).decode("latin-1")


def _exactly(stream: IO[bytes], size: int) -> bytes:
    data = stream.read(size)
    if len(data) < size:
        raise ValueError("its directory is cut short")
    return data
