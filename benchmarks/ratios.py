"""What the benchmarks share: runs that take turns, and a table of their ratios."""

import math
import os
import statistics
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import dask
import numpy as np

THREADS = os.cpu_count() or 1
COPY = "parallel copy"
SHORT = 0.1  # s
Run = Callable[[], Any]


@dataclass(frozen=True)
class Row:
    """One line of the table: our run, the alternative, and how to see that they agree."""

    operation: str
    alternative: str
    ours: Run
    theirs: Run | None  # None: not installed
    agree: Callable[[Any, Any], None]
    faster: float | None = None  # goal: at least so many times faster than the alternative
    slower: float | None = None  # goal: at most so many times the time of the alternative
    share: float = 1.0  # of the frames that the alternative runs on

    def ratio(self, ours: float, theirs: float) -> float:
        whole = theirs / self.share
        return ours / whole if self.slower else whole / ours

    def goal(self) -> str:
        if self.slower:
            return f"<= {self.slower:g}"
        return f">= {self.faster:g}" if self.faster else "-"


def interleaved(runs: dict[str, Run], repeats: int, before: Run = lambda: None) -> dict[str, float]:
    """Seconds of each run: the median of several rounds, in each of which all take their turn.

    A turn of a short run is many of them, so that what ran before it does not count. ``before`` is
    called before each turn and takes no part in its time.
    """
    often = {name: max(1, math.ceil(SHORT / timed(run))) for name, run in runs.items()}
    seconds: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(repeats):
        for name, run in runs.items():
            before()
            seconds[name].append(timed(run, often[name]))
    return {name: statistics.median(values) for name, values in seconds.items()}


def timed(run: Run, often: int = 1) -> float:
    """Seconds that one of several runs took."""
    start = time.perf_counter()
    for _ in range(often):
        run()
    return (time.perf_counter() - start) / often


class Copy:
    """Copies an array in all threads: what no run over it can be faster than."""

    def __init__(self, array: np.ndarray) -> None:
        self.array, self.copied = array, np.empty_like(array)

    def __call__(self) -> None:
        edges = np.linspace(0, len(self.array), THREADS + 1).astype(int)

        def work(part: slice) -> None:
            np.copyto(self.copied[part], self.array[part])

        with ThreadPoolExecutor(THREADS) as pool:
            list(pool.map(work, map(slice, edges[:-1], edges[1:])))


def measured(
    rows: list[Row], copy: Copy, repeats: int, before: Run = lambda: None
) -> list[dict[str, Any]]:
    """Check that all variants agree, time them in turns and return the lines of the table."""
    with dask.config.set(scheduler="threads", num_workers=THREADS):
        for row in rows:  # also warms up: loops are compiled at their first call
            row.agree(row.ours(), row.theirs() if row.theirs else None)
        runs: dict[str, Run] = {COPY: copy}
        for row in rows:
            runs[row.operation] = row.ours
            if row.theirs:
                runs[f"{row.operation}: {row.alternative}"] = row.theirs
        seconds = interleaved(runs, repeats, before)
    return [_line(row, seconds) for row in rows]


def _line(row: Row, seconds: dict[str, float]) -> dict[str, Any]:
    ours = seconds[row.operation]
    theirs = seconds.get(f"{row.operation}: {row.alternative}")
    return {
        "operation": row.operation,
        "alternative": row.alternative + (" *" if row.share < 1 else ""),
        "ratio": None if theirs is None else row.ratio(ours, theirs),
        "goal": row.goal(),
        "copies": ours / seconds[COPY],
        "ms": 1e3 * ours,
    }


def show(table: list[dict[str, Any]], title: str, part: str | None = None) -> None:
    """Print the table; ``part`` says what the alternatives marked with * ran on."""
    print(f"{title}\n")
    names = ("operation", "user's alternative", "ratio", "goal", "of a copy", "ms")
    print("{:34} {:47} {:>13} {:>7} {:>10} {:>9}".format(*names))
    for line in table:
        ratio = "not installed" if line["ratio"] is None else f"{line['ratio']:.2f}"
        print(
            f"{line['operation']:34} {line['alternative']:47} {ratio:>13} {line['goal']:>7} "
            f"{line['copies']:>10.1f} {line['ms']:>9.1f}"
        )
    print("\nGoals '>=': how many times faster; '<=': share of the alternative's time.")
    print(f"Of a copy: time over that of a copy of the input by {THREADS} threads.")
    if part:
        print(f"* The alternative ran on {part}; its time is scaled.")
