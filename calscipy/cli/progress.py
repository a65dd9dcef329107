"""How far a conversion is: a bar on a terminal, a line now and then elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from dask.callbacks import Callback

EVERY = 10.0  # seconds between two lines


class Lines:
    """Writes how far something is, in bytes, at most every ten seconds."""

    def __init__(self, what: str) -> None:
        self.what = what
        self.started = self.said = time.monotonic()
        self.first: int | None = None

    def __call__(self, done: int, total: int) -> None:
        """Say that so many bytes of so many are done, if it is time to."""
        now = time.monotonic()
        self.first = done if self.first is None else self.first
        if now - self.said >= EVERY and total:
            self.said = now
            speed = (done - self.first) / (now - self.started)
            print(progress_line(self.what, done, total, speed), file=sys.stderr, flush=True)


def progress_line(what: str, done: int, total: int, speed: float) -> str:
    """Return one line on how far something is.

    Parameters
    ----------
    what : str
        What is done.
    done, total : int
        Bytes.
    speed : float
        Bytes per second.

    Examples
    --------
    >>> progress_line("m.zarr", 3_000_000_000, 6_000_000_000, 2e8)
    'm.zarr: 50 %, 3.00 of 6.00 GB, 200 MB/s, 15 s left'
    """
    left = f"{(total - done) / speed:.0f} s left" if speed > 0 else "time left unknown"
    return (
        f"{what}: {100 * done / total:.0f} %, {done / 1e9:.2f} of {total / 1e9:.2f} GB, "
        f"{speed / 1e6:.0f} MB/s, {left}"
    )


@contextmanager
def task_lines(what: str, nbytes: int) -> Iterator[None]:
    """Write lines for the dask work in a block that makes so many bytes, by its tasks."""
    with _Tasks(Lines(what), nbytes):
        yield


class _Tasks(Callback):
    def __init__(self, lines: Lines, nbytes: int) -> None:
        super().__init__()
        self.lines, self.nbytes = lines, nbytes

    def _posttask(self, key: Any, result: Any, dsk: Any, state: Any, worker: Any) -> None:
        finished = len(state["finished"])
        total = sum(len(state[part]) for part in ("finished", "ready", "waiting", "running"))
        self.lines(self.nbytes * finished // max(total, 1), self.nbytes)
