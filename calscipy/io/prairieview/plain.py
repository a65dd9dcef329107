"""Where the bytes of a plain one-page frame lie, and how they are read.

Below Python's stream objects, which take longer to open than a file.
"""

from __future__ import annotations

import functools
import os
import struct
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from calscipy.kernels.compiled import frozen

PIXELS_OFFSET = 8
_ROWS_PER_STRIP = 8
_SCRATCH_BYTES = 348  # software, date, resolutions and MetaMorph tables before the directory
_TAGS = 19
_SHORT, _LONG = 3, 4
# What the compiled loop calls is there, and takes 64 bits for addresses and places in files.
CAN_READ_ALL = hasattr(os, "preadv") and os.open in os.supports_dir_fd and sys.maxsize > 2**32
OPEN_FLAGS = os.O_RDONLY | getattr(os, "O_BINARY", 0)


@dataclass(frozen=True)
class FrameLayout:
    """Where everything lies in a plain one-page frame of one shape."""

    height: int
    width: int

    @functools.cached_property
    def pixel_bytes(self) -> int:
        """Bytes of the pixels."""
        return 2 * self.height * self.width

    @functools.cached_property
    def tail_bytes(self) -> int:
        """Bytes from the end of the pixels to the end of the directory."""
        directory = 2 + 12 * _TAGS + 4
        return self.padding + 8 * self.strips + _SCRATCH_BYTES + directory

    @property
    def padding(self) -> int:
        """Bytes that bring the strip tables to a multiple of four."""
        return -(PIXELS_OFFSET + self.pixel_bytes) % 4

    @property
    def strips(self) -> int:
        """Strips of eight rows."""
        return -(-self.height // _ROWS_PER_STRIP)

    @property
    def file_bytes(self) -> int:
        """Bytes of the smallest complete file."""
        return PIXELS_OFFSET + self.pixel_bytes + self.tail_bytes

    @functools.cached_property
    def header(self) -> bytes:
        """The first eight bytes."""
        return b"II*\0" + struct.pack("<I", self.file_bytes - (2 + 12 * _TAGS + 4))

    @functools.cached_property
    def _expected(self) -> tuple[tuple[int, bytes], ...]:
        """Bytes that must stand in the tail, with their offsets: strips, shape, type."""
        strip = 2 * _ROWS_PER_STRIP * self.width
        offsets = np.arange(self.strips, dtype="<u4") * strip + PIXELS_OFFSET
        counts = np.full(self.strips, strip, "<u4")
        counts[-1] = self.pixel_bytes - strip * (self.strips - 1)
        tables = self.padding
        table_at = PIXELS_OFFSET + self.pixel_bytes + self.padding
        inline = self.strips == 1
        directory = self.padding + 8 * self.strips + _SCRATCH_BYTES
        fields = {
            0: struct.pack("<HHII", 254, _LONG, 1, 0),
            1: struct.pack("<HHII", 256, _LONG, 1, self.width),
            2: struct.pack("<HHII", 257, _LONG, 1, self.height),
            3: struct.pack("<HHII", 258, _SHORT, 1, 16),
            4: struct.pack("<HHII", 259, _SHORT, 1, 1),
            7: struct.pack("<HHII", 273, _LONG, self.strips, PIXELS_OFFSET if inline else table_at),
            9: struct.pack(
                "<HHII",
                279,
                _LONG,
                self.strips,
                self.pixel_bytes if inline else table_at + 4 * self.strips,
            ),
        }
        expected = {directory: struct.pack("<H", _TAGS)}
        for number, entry in fields.items():
            expected[directory + 2 + 12 * number] = entry
        if not inline:
            expected[tables] = offsets.tobytes() + counts.tobytes()
        # Neighbours are joined, since every comparison costs some 100 ns of each frame.
        joined: dict[int, bytes] = {}
        for at, wanted in expected.items():
            before = next((a for a, piece in joined.items() if a + len(piece) == at), at)
            joined[before] = joined.get(before, b"") + wanted
        return tuple(joined.items())

    @functools.cached_property
    def expected_bytes(self) -> tuple[np.ndarray, np.ndarray]:
        """Places in the tail, and the bytes that must stand there."""
        places = [np.arange(at, at + len(wanted)) for at, wanted in self._expected]
        wanted = b"".join(wanted for _, wanted in self._expected)
        return np.concatenate(places), np.frombuffer(wanted, np.uint8)

    def buffers(self) -> tuple[bytearray, bytearray]:
        """Return room for the header and the tail of one file."""
        return bytearray(PIXELS_OFFSET), bytearray(self.tail_bytes)

    def matches(self, header: bytearray, tail: bytearray) -> bool:
        """Tell whether header and tail are those of a plain frame of this shape."""
        return header == self.header and all(
            tail.startswith(wanted, at) for at, wanted in self._expected
        )


def read_plain(
    path: str | os.PathLike[str],
    target: np.ndarray,
    layout: FrameLayout,
    buffers: tuple[bytearray, bytearray],
) -> bool:
    """Read one whole plain frame with one positional read; False if it is not one.

    ``target`` is then unspecified. ``buffers`` are those of the layout and can be used again.
    """
    header, tail = buffers
    file = os.open(path, OPEN_FLAGS)
    try:
        count = read_at(file, (header, target, tail), 0)
    finally:
        os.close(file)
    return count == layout.file_bytes and layout.matches(header, tail)


def read_all_plain(
    folder: str, names: np.ndarray, wanted: np.ndarray, images: np.ndarray, layout: FrameLayout
) -> np.ndarray:
    """Read whole plain frames in one go; returns for which of them that was done.

    Whatever kept another one from being read is left to be found when it is read by itself.

    Parameters
    ----------
    folder : str
        Where the files lie.
    names : ndarray of bytes, shape (images,)
        Their names in UTF-8.
    wanted : ndarray of bool, shape (images,)
        Which to read.
    images : ndarray of uint16, shape (images, height, width)
        Where to, contiguous.
    layout : FrameLayout
        Of these files.
    """
    from calscipy.io.prairieview import plain_loops  # imports numba

    done = np.zeros(len(names), np.bool_)
    ended = names.astype(f"S{names.dtype.itemsize + 1}").view(np.uint8).reshape(len(names), -1)
    places, expected = layout.expected_bytes
    try:
        descriptor = os.open(folder, plain_loops.FLAGS)
    except OSError:
        return done
    try:
        plain_loops.read_frames(
            descriptor,
            frozen(ended),
            frozen(wanted),
            frozen(np.frombuffer(layout.header, np.uint8)),
            frozen(places, np.dtype("i8")),
            frozen(expected),
            np.empty(layout.tail_bytes, np.uint8),
            images,
            done,
        )
    finally:
        os.close(descriptor)
    return done


def check_plain(file: int, layout: FrameLayout) -> bool:
    """Tell from header and directory of an open file whether it is a plain frame."""
    header, tail = layout.buffers()
    count = read_at(file, (header,), 0)
    count += read_at(file, (tail,), PIXELS_OFFSET + layout.pixel_bytes)
    return count == len(header) + len(tail) and layout.matches(header, tail)


def read_at(file: int, buffers: Sequence[Any], offset: int) -> int:
    """Fill buffers from one place in a file; fewer bytes come back at its end."""
    if hasattr(os, "preadv"):
        return os.preadv(file, buffers, offset)
    total = 0
    with open(file, "rb", buffering=0, closefd=False) as stream:
        stream.seek(offset)
        for buffer in buffers:
            view = memoryview(buffer).cast("B")
            count = stream.readinto(view) or 0
            total += count
            if count < len(view):
                break
    return total
