"""Frames that lie in several arrays, for kernels that need not have them in one."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Joined:
    """Arrays that follow each other along their first axis, never put together.

    Examples
    --------
    >>> stack = Joined((np.zeros((2, 1, 3)), np.ones((1, 1, 3))))
    >>> stack.shape, stack[1:].parts[1].sum()
    ((3, 1, 3), np.float64(3.0))
    """

    parts: tuple[np.ndarray, ...]

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of what they make together."""
        return (sum(len(part) for part in self.parts), *self.parts[0].shape[1:])

    @property
    def dtype(self) -> np.dtype:
        """Data type of all of them."""
        return self.parts[0].dtype

    def __getitem__(self, frames: slice) -> Joined:
        first, last, _ = frames.indices(self.shape[0])
        taken, start = [], 0
        for part in self.parts:
            taken.append(part[max(first - start, 0) : max(last - start, 0)])
            start += len(part)
        return Joined(tuple(taken))
