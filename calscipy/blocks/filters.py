"""Filters in blocks: halos, fusion of consecutive filters, runs of frames.

Arrays come in the order ``(frames, ..., y, x)``.
"""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from typing import Any

import dask.array as da
import numpy as np
from dask._task_spec import Task, TaskRef
from dask.base import normalize_token, tokenize
from dask.highlevelgraph import HighLevelGraph, MaterializedLayer
from dask.system import CPU_COUNT

from calscipy.blocks.device import (
    free_gpu_memory,
    is_cupy,
    namespace,
    ndimage_of,
    resolve_device,
)
from calscipy.blocks.graphs import require_layers
from calscipy.blocks.memory import empty_block
from calscipy.blocks.reach import Reach, reaches_of
from calscipy.blocks.wrap import INVALID, wrapped
from calscipy.errors import DeviceError, DeviceWarning, warn
from calscipy.kernels.filters import TAKE_JOINED
from calscipy.kernels.joined import Joined
from calscipy.kernels.separable import MOST_PARTS
from calscipy.options import Device

Halo = tuple[tuple[int, int], ...]  # (before, after) for frames, y and x
SMALL_BYTES = 2**20  # arrays that are not worth several threads


@dataclass(frozen=True)
class Step:
    """One filter: a kernel on ``(frames, y, x)`` and the samples that it needs around each.

    The kernel is called as ``kernel(stack, frames=(first, last), out=None or array, ndimage=...,
    **arguments)`` and returns the frames ``first`` to ``last`` of its result, in ``out`` if given.

    With ``wraps`` the movie is continued by its own other end, which the kernel need not know of:
    it is given the ends as samples, and what its own ``mode`` makes beyond them is cut away.
    """

    kernel: Callable[..., Any]
    halo: Halo
    dtype: np.dtype
    arguments: Mapping[str, Any] = field(default_factory=dict)
    wraps: bool = False

    def __dask_tokenize__(self) -> Any:
        name = f"{self.kernel.__module__}.{self.kernel.__qualname__}"
        return normalize_token((name, self.halo, str(self.dtype), dict(self.arguments), self.wraps))


class FilterLayer(MaterializedLayer):
    """A graph layer of ours that remembers what it filters, so that the next filter extends it."""

    def __init__(
        self,
        mapping: Mapping[Any, Any],
        source: da.Array | None = None,
        steps: tuple[Step, ...] = (),
        runs: np.ndarray | None = None,
        device: str = "cpu",
        **kwargs: Any,
    ) -> None:
        super().__init__(mapping, **kwargs)
        self.source, self.steps, self.runs, self.device = source, steps, runs, device

    def __reduce__(self) -> tuple[Any, ...]:
        return MaterializedLayer, (dict(self.mapping),)


def filtered(
    data: Any, step: Step, *, runs: np.ndarray | None = None, device: Device | None = None
) -> Any:
    """Filter a movie ``(frames, ..., y, x)``.

    Parameters
    ----------
    data : ndarray, cupy.ndarray or dask.array.Array
        The movie. Lazy in, lazy out; an array on a GPU stays there.
    step : Step
        The filter.
    runs : ndarray of int, shape of the dimensions before y and x, optional
        Equal and adjacent frames are filtered together; frames of ``INVALID`` are passed on.
    device : {"cpu", "gpu", "auto"}, optional
        Where to run; the option ``device`` by default.
    """
    place = resolve_device(device)
    if step.wraps:
        result = wrapped(data, replace(step, wraps=False), runs, place, _filtered)
        return result.rechunk(data.chunks) if isinstance(data, da.Array) else result
    return _filtered(data, step, runs, place)


def _filtered(data: Any, step: Step, runs: np.ndarray | None, place: str) -> Any:
    if not isinstance(data, da.Array):
        return _eager(data, step, runs, place)
    require_layers(data)
    source: da.Array = data
    steps: tuple[Step, ...] = (step,)
    layer = data.dask.layers.get(data.name)
    if isinstance(layer, FilterLayer) and layer.source is not None:
        same_runs = (layer.runs is None and runs is None) or (
            layer.runs is not None and runs is not None and np.array_equal(layer.runs, runs)
        )
        if same_runs and layer.device == place:
            source, steps = layer.source, (*layer.steps, step)
    return _fused(source, steps, runs, place)


def _eager(data: Any, step: Step, runs: np.ndarray | None, device: str) -> Any:
    """Filter an array in memory, on the CPU in one piece of its frames for each thread."""
    frames = data.shape[0]
    workers = CPU_COUNT if device == "cpu" and not is_cupy(data) else 1
    length = max(1, -(-frames // workers))
    if workers == 1 or data.nbytes < SMALL_BYTES or length <= sum(step.halo[0]):
        return _Block((step,), runs, device, data.shape, ())(data)
    sizes = tuple(min(length, frames - start) for start in range(0, frames, length))
    out = empty_block(data.shape, step.dtype)

    def work(reach: Reach) -> None:
        task = _Block(
            (step,),
            runs if runs is None else runs[reach.start : reach.stop],
            device,
            (reach.stop - reach.start, *data.shape[1:]),
            ((reach.before, reach.before + reach.core), *((0, n) for n in data.shape[1:])),
            ((-reach.start,), *((0,) for _ in data.shape[1:])),
        )
        first = reach.start + reach.before
        task.fill(out[first : first + reach.core], data)

    with ThreadPoolExecutor(workers) as pool:
        list(pool.map(work, reaches_of(sizes, *step.halo[0])))
    return out


def _fused(
    source: da.Array, steps: tuple[Step, ...], runs: np.ndarray | None, device: str
) -> da.Array:
    """Build one task for each block: its own and its neighbours' source blocks, all steps."""
    name = "calscipy-filter-" + tokenize(source.name, steps, runs, device)
    axes = (0, source.ndim - 2, source.ndim - 1)
    halo = [(0, 0)] * source.ndim
    for axis, total in zip(axes, total_halo(steps), strict=True):
        halo[axis] = total
    reaches = [
        reaches_of(sizes, *around) for sizes, around in zip(source.chunks, halo, strict=True)
    ]
    graph = {}
    for block in itertools.product(*(range(len(sizes)) for sizes in source.chunks)):
        reach = [reaches[axis][at] for axis, at in enumerate(block)]
        places = itertools.product(*(range(r.first, r.last) for r in reach))
        refs = [TaskRef((source.name, *place)) for place in places]
        around = tuple(slice(r.start, r.stop) for r in reach)
        local = runs if runs is None else runs[around[:-2]]
        task = _Block(
            steps,
            local,
            device,
            tuple(r.stop - r.start for r in reach),
            tuple((r.before, r.before + r.core) for r in reach),
            tuple(r.offsets for r in reach),
        )
        key = (name, *block)
        graph[key] = Task(key, task, *refs)
    layer = FilterLayer(graph, source, steps, runs, device)
    return da.Array(
        HighLevelGraph.from_collections(name, layer, dependencies=[source]),  # type: ignore[list-item]
        name,
        source.chunks,
        meta=source._meta.astype(steps[-1].dtype),
    )


def total_halo(steps: tuple[Step, ...]) -> Halo:
    """Sum the halos of a chain of filters."""
    return tuple(
        (sum(s.halo[axis][0] for s in steps), sum(s.halo[axis][1] for s in steps))
        for axis in range(3)
    )


@dataclass(frozen=True)
class _Block:
    """The work of one task: put the source blocks together, filter, cut out the core."""

    steps: tuple[Step, ...]
    runs: np.ndarray | None
    device: str
    shape: tuple[int, ...]
    core: tuple[Any, ...]
    offsets: tuple[tuple[int, ...], ...] = ()

    def __call__(self, *parts: Any) -> Any:
        core = self.core or tuple((0, n) for n in self.shape)
        out = _empty(parts[0], [b - a for a, b in core], self.steps[-1].dtype)
        self.fill(out, *parts)
        return out

    def fill(self, out: Any, *parts: Any) -> None:
        """Do the work, its result in ``out``."""
        whole = self._joined(parts) or self._assemble(parts)
        core = self.core or tuple((0, n) for n in self.shape)
        frames, keep = core[0], tuple(slice(*limits) for limits in core[-2:])
        for position, batch in zip(
            np.ndindex(*out.shape[1:-2]),
            itertools.product(*(range(*limits) for limits in core[1:-2])),
            strict=True,
        ):
            stack = _stack(whole, batch)
            for run, valid in self._runs(batch, stack.shape[0]):
                low, high = max(run.start, frames[0]), min(run.stop, frames[1])
                if low >= high:
                    continue
                target = (slice(low - frames[0], high - frames[0]), *position)
                if not valid:
                    kept = _together(stack[low:high])
                    out[target] = kept[(slice(None), *keep)].astype(out.dtype)
                    continue
                place = out[target] if out.shape[-2:] == whole.shape[-2:] else None
                if not _can_take(place):
                    place = None
                result = self._filter(stack[run], low - run.start, high - run.start, place)
                if place is None:
                    out[target] = result[(slice(None), *keep)]

    def _joined(self, parts: tuple[Any, ...]) -> Joined | None:
        """Trim the parts and leave them where they are, if the first kernel takes them so."""
        frames, *others = self.offsets or ((),)
        if (
            self.device != "cpu"
            or self.steps[0].kernel not in TAKE_JOINED
            or not 1 < len(frames) <= MOST_PARTS
            or any(offsets != (0,) for offsets in others)
            or any(type(part) is not np.ndarray for part in parts)
            or any(part.shape[1:] != self.shape[1:] for part in parts)
        ):
            return None
        return Joined(
            tuple(
                part[max(0, -offset) : max(0, self.shape[0] - offset)]
                for part, offset in zip(parts, frames, strict=True)
            )
        )

    def _assemble(self, parts: tuple[Any, ...]) -> Any:
        if len(parts) == 1:
            starts = [-o[0] if o else 0 for o in self.offsets] or [0] * len(self.shape)
            return parts[0][tuple(slice(a, a + n) for a, n in zip(starts, self.shape, strict=True))]
        whole = _empty(parts[0], self.shape, parts[0].dtype)
        places = itertools.product(*self.offsets)
        for part, place in zip(parts, places, strict=True):
            into, taken = [], []
            for offset, length, size in zip(place, part.shape, self.shape, strict=True):
                low, high = max(0, offset), min(size, offset + length)
                into.append(slice(low, high))
                taken.append(slice(low - offset, high - offset))
            whole[tuple(into)] = part[tuple(taken)]
        return whole

    def _runs(self, batch: tuple[int, ...], frames: int) -> Iterator[tuple[slice, bool]]:
        if self.runs is None:
            yield slice(0, frames), True
            return
        here: tuple[Any, ...] = (slice(None), *batch)
        labels = self.runs[here]
        edges = np.concatenate([[0], np.flatnonzero(np.diff(labels)) + 1, [frames]])
        for start, stop in itertools.pairwise(edges):
            yield slice(int(start), int(stop)), bool(labels[start] != INVALID)

    def _filter(self, stack: Any, low: int, high: int, out: np.ndarray | None) -> Any:
        """Filter frames ``low`` to ``high`` of a stack that holds their halo."""
        if is_cupy(stack) or self.device == "cpu":
            return _chain(stack, self.steps, low, high, out)
        try:
            result = self._filter_on_gpu(stack, low, high)
        except _DoesNotFitError as failure:
            message = (
                f"a block of shape {stack.shape} ({stack.dtype}) does not fit into the memory of "
                f"the GPU even one frame at a time ({failure})."
            )
            if self.device != "auto":
                raise DeviceError(
                    f"{message} Use smaller chunks of y and x, or device='auto'."
                ) from None
            warn(f"{message} It ran on the CPU.", DeviceWarning)
            return _chain(stack, self.steps, low, high, out)
        if out is not None:
            out[...] = result
        return result

    def _filter_on_gpu(self, stack: np.ndarray, low: int, high: int) -> np.ndarray:
        """Filter on the GPU, in as few pieces of frames as its free memory allows."""
        import cupy

        pieces = -(-(high - low) // self._frames_on_gpu(stack))
        if pieces <= 1:
            try:
                with _GPU_SLOTS:
                    return cupy.asnumpy(_chain(cupy.asarray(stack), self.steps, low, high))
            except cupy.cuda.memory.OutOfMemoryError as error:
                failure = str(error)  # the error itself would keep the arrays on the GPU alive
            pieces = 2
        if high - low > 1:
            # Fewer frames with their halo: the edges cut anew lie outside of the core.
            before, after = total_halo(self.steps)[0]
            edges = np.linspace(low, high, pieces + 1).astype(int)
            found = []
            for a, b in itertools.pairwise(edges.tolist()):
                start, stop = max(0, a - before), min(stack.shape[0], b + after)
                found.append(self._filter_on_gpu(stack[start:stop], a - start, b - start))
            return np.concatenate(found)
        raise _DoesNotFitError(failure)

    def _frames_on_gpu(self, stack: np.ndarray) -> int:
        """Return how many frames of a result fit beside what else they need; at least one."""
        widest = max(stack.dtype.itemsize, *(step.dtype.itemsize for step in self.steps))
        frame = stack.shape[-2] * stack.shape[-1] * widest * _GPU_COPIES
        halo = sum(total_halo(self.steps)[0])
        return max(1, int(free_gpu_memory() / _GPU_BLOCKS / max(frame, 1)) - halo)


class _DoesNotFitError(Exception):
    """Not even one frame fits into the memory of the GPU."""


_GPU_BLOCKS = 2  # in flight; more fill the card's memory
_GPU_COPIES = 4  # of a block at once: input, result and the temporaries of a separable filter
_GPU_SLOTS = threading.BoundedSemaphore(_GPU_BLOCKS)


def _chain(
    stack: Any, steps: tuple[Step, ...], low: int, high: int, out: np.ndarray | None = None
) -> Any:
    """Apply the steps and return frames ``low`` to ``high``, in ``out`` if given.

    Every step makes the frames that the following ones need, and no others.
    """
    ndimage = ndimage_of(stack)
    for at, step in enumerate(steps):
        frames = stack.shape[0]
        before, after = total_halo(steps[at:])[0]
        start, stop = max(0, low - before), min(frames, high + after)
        before, after = total_halo(steps[at + 1 :])[0]
        first, last = max(0, low - before), min(frames, high + after)
        room = out
        if at < len(steps) - 1 and isinstance(stack, np.ndarray | Joined):
            room = empty_block((last - first, *stack.shape[1:]), step.dtype)
        stack = step.kernel(
            stack[start:stop],
            frames=(first - start, last - start),
            out=room,
            ndimage=ndimage,
            **step.arguments,
        )
        low, high = low - first, high - first
        if stack.dtype != step.dtype:
            stack = stack.astype(step.dtype)
    return stack


def _stack(whole: Any, batch: tuple[int, ...]) -> Any:
    """Take the frames of one channel and plane."""
    here: tuple[Any, ...] = (slice(None), *batch)
    if isinstance(whole, Joined):
        return Joined(tuple(part[here] for part in whole.parts)) if batch else whole
    return whole[here]


def _together(stack: Any) -> Any:
    return np.concatenate(stack.parts) if isinstance(stack, Joined) else stack


def _empty(like: Any, shape: Sequence[int], dtype: np.dtype) -> Any:
    """Return room for a result where the array is."""
    return namespace(like).empty(shape, dtype) if is_cupy(like) else empty_block(shape, dtype)


def _can_take(place: Any) -> bool:
    """Tell whether a kernel can write its result there."""
    return isinstance(place, np.ndarray) and place.flags.c_contiguous and place.dtype.isnative
