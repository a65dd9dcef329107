"""Filters that continue a movie by its own other end."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import dask.array as da
import numpy as np

from calscipy.blocks.device import namespace

if TYPE_CHECKING:
    from calscipy.blocks.filters import Step

INVALID = -1  # the run of frames that are damaged

Filter = Callable[[Any, "Step", np.ndarray | None, str], Any]


def wrapped(data: Any, step: Step, runs: np.ndarray | None, place: str, apply: Filter) -> Any:
    """Filter a movie ``(frames, ..., y, x)``, each run of its frames continued by itself.

    The ends are put around the movie as samples and cut away afterwards, so that nothing else has
    to know about them.
    """
    xp = da if isinstance(data, da.Array) else namespace(data)
    if runs is None or not any(step.halo[0]):
        around = [step.halo[0], *[(0, 0)] * (data.ndim - 3), *step.halo[1:]]
        longer = data
        for axis, (before, after) in enumerate(around):
            longer = _continued(longer, axis, before, after, xp)
        out = apply(longer, step, runs, place)
        core = (slice(b, b + n) for (b, _), n in zip(around, data.shape, strict=True))
        return out[tuple(core)]
    if data.ndim > 3:
        parts = [
            wrapped(data[:, at], step, runs[:, at], place, apply) for at in range(data.shape[1])
        ]
        return xp.stack(parts, axis=1)
    edges = [0, *(np.flatnonzero(np.diff(runs)) + 1).tolist(), len(runs)]
    parts = []
    for start, stop in itertools.pairwise(edges):
        part = data[start:stop]
        if runs[start] == INVALID:
            parts.append(part.astype(step.dtype))
        else:
            parts.append(wrapped(part, step, None, place, apply))
    return xp.concatenate(parts, axis=0)


def _continued(data: Any, axis: int, before: int, after: int, xp: Any) -> Any:
    """Put the last samples before the first ones and the first after the last ones."""
    size = data.shape[axis]
    if not size or not (before or after):
        return data

    def take(start: int, stop: int) -> Any:
        return data[(*[slice(None)] * axis, slice(start, stop))]

    parts = [take(size - before % size, size)] if before % size else []
    parts += [data] * (before // size + 1 + after // size)
    parts += [take(0, after % size)] if after % size else []
    longer = xp.concatenate(parts, axis=axis)
    if not isinstance(data, da.Array):
        return longer
    sizes = list(data.chunks[axis])
    sizes[0] += before
    sizes[-1] += after
    return longer.rechunk({axis: tuple(sizes)})
