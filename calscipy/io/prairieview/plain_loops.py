"""Plain frames read by a compiled loop, which takes no lock of Python's from file to file.

Threads that read, and the one that hands out their work, wait for that lock longer than the reading
of a small frame takes. The loop calls the C library, and is imported where numba is there anyway.
"""

from __future__ import annotations

import os
from typing import Any

import numpy as np
from numba import types

from calscipy.kernels.compiled import compiled

FLAGS = os.O_RDONLY | getattr(os, "O_CLOEXEC", 0)

_openat: Any = types.ExternalFunction("openat", types.intc(types.intc, types.uintp, types.intc))
_preadv: Any = types.ExternalFunction(
    "preadv", types.intp(types.intc, types.uintp, types.intc, types.int64)
)
_close: Any = types.ExternalFunction("close", types.intc(types.intc))


@compiled
def read_frames(
    folder: int,
    names: Any,
    wanted: Any,
    header: Any,
    places: Any,
    expected: Any,
    tail: Any,
    images: Any,
    done: Any,
) -> None:
    """Read whole plain frames, and tell which files were such.

    Parameters
    ----------
    folder : int
        Descriptor of the folder.
    names : ndarray of uint8, shape (images, bytes)
        Names of files in it, each with a zero behind it.
    wanted : ndarray of bool, shape (images,)
        Which to read.
    header : ndarray of uint8
        What each file begins with.
    places, expected : ndarrays of int64 and uint8, of one shape
        Bytes behind the pixels that tell a plain frame.
    tail : ndarray of uint8
        Room for what is behind the pixels.
    images : ndarray of uint16, shape (images, height, width)
        Where pixels go. Those of files that are no plain frames are unspecified.
    done : ndarray of bool, shape (images,)
        Set for plain frames. Of the others nothing is said: they may be missing, or others.
    """
    begin = np.empty_like(header)
    rooms = np.empty((3, 2), np.uintp)  # address and bytes, as C's iovec has them
    for n in range(len(names)):
        done[n] = False
        if not wanted[n] or not _is_text(names[n]):
            continue
        file = _openat(folder, names[n].ctypes.data, FLAGS)
        if file < 0:
            continue
        for i, room in enumerate((begin, images[n].reshape(-1).view(np.uint8), tail)):
            rooms[i, 0], rooms[i, 1] = room.ctypes.data, room.size
        count = _preadv(file, rooms.ctypes.data, 3, 0)
        _close(file)
        done[n] = count == rooms[:, 1].sum() and _matches(begin, header, tail, places, expected)


@compiled
def _is_text(name: Any) -> bool:
    """Whether nothing follows the first zero, where C would end the name."""
    ended = False
    for byte in name:
        if ended and byte != 0:
            return False
        ended |= byte == 0
    return ended and name[0] != 0


@compiled
def _matches(begin: Any, header: Any, tail: Any, places: Any, expected: Any) -> bool:
    wrong = 0
    for i in range(header.size):
        wrong += begin[i] != header[i]
    for i in range(places.size):
        wrong += tail[places[i]] != expected[i]
    return wrong == 0
