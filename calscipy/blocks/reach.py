"""What a block of a result takes from the blocks of its source."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Reach:
    """What one output block takes from the source along one axis."""

    first: int  # source blocks [first, last)
    last: int
    start: int  # samples [start, stop)
    stop: int
    before: int  # samples of halo before the core
    core: int
    offsets: tuple[int, ...]  # where each source block starts, counted from `start`


def reaches_of(sizes: tuple[int, ...], before: int, after: int) -> list[Reach]:
    """Tell for chunks of these sizes what each takes with so many samples before and after it."""
    edges = np.concatenate([[0], np.cumsum(sizes)])
    total = int(edges[-1])
    found = []
    for at, size in enumerate(sizes):
        start = max(0, int(edges[at]) - before)
        stop = min(total, int(edges[at + 1]) + after)
        # An empty block takes nothing, but still one source block, which says what array it is.
        first = min(int(np.searchsorted(edges, start, side="right")), len(sizes)) - 1
        last = max(int(np.searchsorted(edges, stop, side="left")), first + 1)
        offsets = tuple(int(edge) - start for edge in edges[first:last])
        found.append(Reach(first, last, start, stop, int(edges[at]) - start, size, offsets))
    return found
