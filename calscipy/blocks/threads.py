"""Work on the pieces of an array in memory, shared out to threads."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

Piece = TypeVar("Piece")

WORTH_THREADS = 2**17  # samples from which on a pool of threads costs less than it gains


def share_out(
    work: Callable[[Iterator[Piece]], None], pieces: Iterable[Piece], threads: int
) -> None:
    """Call ``work(pieces)`` in several threads, one of them this one, which all take turns.

    Each thread takes the next piece when it is done with the last, so that none waits for others.

    Parameters
    ----------
    work : callable
        What a thread does, with all pieces that it gets.
    pieces : iterable
        After an error, or Ctrl-C, nothing of it is left to the other threads.
    threads : int
        How many.

    Examples
    --------
    >>> done = []
    >>> share_out(done.extend, range(5), threads=2)
    >>> sorted(done)
    [0, 1, 2, 3, 4]
    """
    if threads == 1:
        work(iter(pieces))
        return
    turns = _Turns(pieces)

    def take_turns() -> None:
        try:
            work(turns)
        finally:
            turns.end()

    with ThreadPoolExecutor(threads - 1) as pool:
        others = [pool.submit(take_turns) for _ in range(threads - 1)]
        take_turns()
    for other in others:
        other.result()


class _Turns(Iterator[Piece]):
    """An iterator that several threads take from."""

    def __init__(self, pieces: Iterable[Piece]) -> None:
        self._pieces = iter(pieces)
        self._taking = threading.Lock()

    def __next__(self) -> Piece:
        with self._taking:
            return next(self._pieces)

    def end(self) -> None:
        """Leave nothing to take."""
        with self._taking:
            self._pieces = iter(())
