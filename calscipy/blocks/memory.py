"""Memory of large blocks that is used again instead of going back to the system.

The system clears every page that it hands out, which takes as long as copying it. Blocks of a
movie come and go by the hundred and have few sizes, so what one leaves serves the next.
"""

from __future__ import annotations

import math
import os
import threading
from collections.abc import Sequence

import numpy as np
from numpy.typing import DTypeLike

SMALL_BYTES = 2**21  # below, the allocator keeps memory by itself
MOST_IDLE_BYTES = 2**28  # kept for the next blocks, altogether
STEP = 2**16  # sizes are rounded up to this; memory may be larger by SLACK than what is asked
SLACK = 1.25

_lock = threading.Lock()
_idle: list[np.ndarray] = []  # the one used last comes last


def empty_block(shape: Sequence[int], dtype: DTypeLike) -> np.ndarray:
    """Return an array whose values are not set yet, as ``numpy.empty`` does.

    Examples
    --------
    >>> empty_block((2, 3), "uint16").shape
    (2, 3)
    """
    kind = np.dtype(dtype)
    bytes_ = math.prod(shape) * kind.itemsize
    if bytes_ < SMALL_BYTES or kind.hasobject:
        return np.empty(shape, kind)
    lease = _Lease(_take(-(-bytes_ // STEP) * STEP))
    return np.asarray(lease)[:bytes_].view(kind).reshape(shape)


class _Lease:
    """Keeps memory for as long as any array lies in it."""

    def __init__(self, memory: np.ndarray) -> None:
        self.memory = memory
        self.__array_interface__ = memory.__array_interface__

    def __del__(self) -> None:
        _give_back(self.memory)


def _take(size: int) -> np.ndarray:
    with _lock:
        for at in reversed(range(len(_idle))):
            if size <= _idle[at].size <= SLACK * size:
                return _idle.pop(at)
    return np.empty(size, np.uint8)


def _give_back(memory: np.ndarray) -> None:
    # This may run while the same thread holds the lock, when garbage is collected.
    if memory.size > MOST_IDLE_BYTES or not _lock.acquire(blocking=False):
        return
    try:
        _idle.append(memory)
        while sum(one.size for one in _idle) > MOST_IDLE_BYTES:
            del _idle[0]
    finally:
        _lock.release()


def _after_fork() -> None:
    global _lock
    _lock = threading.Lock()  # another thread of the parent may have held it


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
