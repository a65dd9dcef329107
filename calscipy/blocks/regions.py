"""Means over regions of interest."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, NamedTuple

import dask.array as da
import numpy as np
from dask._task_spec import DataNode, Task, TaskRef
from dask.base import tokenize
from dask.highlevelgraph import HighLevelGraph, MaterializedLayer
from dask.system import CPU_COUNT

from calscipy.blocks.device import is_cupy
from calscipy.blocks.graphs import require_layers
from calscipy.kernels.extract import RoiRuns, roi_runs, roi_sums, used_pixels

PIECE_BYTES = 2**24  # of a movie in memory, for one thread at a time
SMALL_BYTES = 2**20  # arrays that are not worth several threads


@dataclass(frozen=True)
class Regions:
    """Pixels and weights of regions.

    Parameters
    ----------
    count : int
        Number of regions; each has a positive sum of weights.
    region : ndarray of int, shape (pixels,)
        Which region each pixel belongs to, from 0 on.
    place : tuple of ndarray of int, shape (pixels,)
        Row and column of each pixel, or plane, row and column. A region lies in one plane.
    weight : ndarray, shape (pixels,)
        Weight of each pixel.
    """

    count: int
    region: np.ndarray
    place: tuple[np.ndarray, ...]
    weight: np.ndarray


def roi_means(
    data: Any, regions: Regions, valid: np.ndarray | None = None, *, skip_missing: bool = False
) -> Any:
    """Average a movie over regions.

    Parameters
    ----------
    data : ndarray, cupy.ndarray or dask.array.Array, shape (frames, ..., [plane,] y, x)
        The movie. Lazy in, lazy out; chunks in which no region has a pixel are not computed. From
        a GPU only pixels of regions are copied.
    regions : Regions
        The regions.
    valid : ndarray of bool, shape (frames, ..., [plane]), optional
        Where it is False, the regions of that frame (and plane) are NaN.
    skip_missing : bool, default False
        Average the pixels of a region that are not NaN. By default, one that is makes the mean of
        its region NaN.

    Returns
    -------
    ndarray or dask.array.Array of float32, shape (regions, ..., frames)
        Weighted means, summed in float64.
    """
    if isinstance(data, da.Array):
        return _lazy(data, regions, valid, skip_missing)
    return _eager(data, regions, valid, skip_missing)


def _eager(data: Any, regions: Regions, valid: np.ndarray | None, skip_missing: bool) -> np.ndarray:
    """Average an array in memory: pieces of its frames, on several threads."""
    lead = data.ndim - len(regions.place)
    [(_, parts)] = _parts(regions, tuple((n,) for n in data.shape[lead:]))
    sums, finish = _Sums(parts, skip_missing), _finish(regions, valid)
    frames, *batch = data.shape[:lead]
    out = np.empty((regions.count, *batch, frames), np.float32)
    workers = 1 if is_cupy(data) or data.nbytes < SMALL_BYTES else CPU_COUNT
    longest = PIECE_BYTES * frames // max(data.nbytes, 1)
    length = max(1, min(longest, -(-frames // workers)))

    def work(start: int) -> None:
        piece = slice(start, min(start + length, frames))
        end = finish.part((piece, *(slice(0, n) for n in batch)))
        out[..., piece] = end(sums(data[piece]))

    starts = range(0, frames, length)
    if workers == 1:
        for start in starts:
            work(start)
    else:
        with ThreadPoolExecutor(workers) as pool:
            list(pool.map(work, starts))
    return out


def _lazy(
    data: da.Array, regions: Regions, valid: np.ndarray | None, skip_missing: bool
) -> da.Array:
    """Build one task for each source block with pixels, and one that adds those of a frame.

    A single layer of ours: a chain of dask's sums over many small blocks takes seconds to build.
    """
    require_layers(data)
    spatial = len(regions.place)
    lead, inner = data.chunks[:-spatial], data.chunks[-spatial:]
    parts = _parts(regions, inner)
    finish = _finish(regions, valid)
    token = tokenize(data.name, regions, valid, skip_missing)
    name, partial = f"calscipy-extract-{token}", f"calscipy-extract-part-{token}"
    # The weights are nodes of their own, so that a cluster sends them once and not in every task.
    graph: dict[Any, Any] = {}
    weights: dict[tuple[int, ...], Any] = {}
    for block, found in parts:
        weights[block] = (f"calscipy-extract-weights-{token}", *block)
        graph[weights[block]] = DataNode(weights[block], _Sums(found, skip_missing))
    edges = [list(_slices(sizes)) for sizes in lead]
    for at in itertools.product(*(range(len(sizes)) for sizes in lead)):
        key: Any = (name, 0, *at[1:], at[0])
        end = finish.part(tuple(edges[axis][i] for axis, i in enumerate(at)))
        refs = []
        for block, node in weights.items():
            source: Any = (data.name, *at, *block)
            part: Any = (partial, *block, *at)
            if len(parts) == 1:
                graph[key] = Task(key, _means, TaskRef(node), end, TaskRef(source))
                break
            graph[part] = Task(part, _sums, TaskRef(node), TaskRef(source))
            refs.append(TaskRef(part))
        else:
            graph[key] = Task(key, end, *refs)
    layer = MaterializedLayer(graph)
    return da.Array(
        HighLevelGraph.from_collections(name, layer, dependencies=[data]),  # type: ignore[list-item]
        name,
        ((regions.count,), *lead[1:], lead[0]),
        meta=np.empty((0,) * (len(lead) + 1), np.float32),
    )


def _slices(sizes: tuple[int, ...]) -> Iterator[slice]:
    edges = np.concatenate([[0], np.cumsum(sizes)])
    return (slice(int(a), int(b)) for a, b in itertools.pairwise(edges))


@dataclass(frozen=True)
class _Part:
    """The pixels of one block, or of one plane of it."""

    plane: tuple[int, ...]  # place in the block; empty for a movie without planes
    regions: np.ndarray  # which of all regions the runs count
    runs: RoiRuns


def _parts(
    regions: Regions, chunks: tuple[tuple[int, ...], ...]
) -> list[tuple[tuple[int, ...], tuple[_Part, ...]]]:
    """Sort the pixels by block: pairs of the block's place and its parts."""
    blocks, inside = [], []
    for place, sizes in zip(regions.place, chunks, strict=True):
        edges = np.concatenate([[0], np.cumsum(sizes)])
        block = np.searchsorted(edges, place, side="right") - 1
        blocks.append(block)
        inside.append(place - edges[block])
    # A part is a block, and a plane of it where there are planes.
    shape = (*(len(sizes) for sizes in chunks), *(max(sizes) for sizes in chunks[:-2]))
    keys, which = np.unique(
        np.ravel_multi_index((*blocks, *inside[:-2]), shape), return_inverse=True
    )
    order = np.argsort(which, kind="stable")
    ends = np.cumsum(np.bincount(which, minlength=keys.size))
    found: dict[tuple[int, ...], list[_Part]] = {}
    rows = np.stack(np.unravel_index(keys, shape), axis=1).tolist()
    for row, pixels in zip(rows, np.split(order, ends[:-1]), strict=True):
        own, local = np.unique(regions.region[pixels], return_inverse=True)
        y, x = (axis[pixels] for axis in inside[-2:])
        runs = roi_runs(local, y, x, regions.weight[pixels], own.size)
        key, plane = tuple(row[: len(chunks)]), tuple(row[len(chunks) :])
        found.setdefault(key, []).append(_Part(plane, own, runs))
    return [(block, tuple(parts)) for block, parts in found.items()]


class _Summed(NamedTuple):
    """Sums over the pixels of a part, shape (its regions, ..., frames)."""

    regions: np.ndarray
    values: np.ndarray
    missing: np.ndarray | None = None  # sums of the weights that were left out


@dataclass(frozen=True)
class _Sums:
    """The work on one source block: the sums of its regions."""

    parts: tuple[_Part, ...]
    skip_missing: bool

    def __call__(self, block: Any) -> list[_Summed]:
        found = []
        for part in self.parts:
            images = block[(..., *part.plane, slice(None), slice(None))]
            runs = part.runs
            if is_cupy(images):
                rows, columns, runs = used_pixels(runs)
                images = images[..., rows, columns].get()[..., None, :]
            images = np.asarray(images)
            sums = roi_sums(images, runs)
            if self.skip_missing and np.isnan(sums).any():
                missing = np.isnan(images)
                sums = roi_sums(np.where(missing, 0, images), runs)
                found.append(_Summed(part.regions, sums, roi_sums(missing, runs)))
            else:
                found.append(_Summed(part.regions, sums))
        return found


@dataclass(frozen=True)
class _Finish:
    """The end of the work: the sums of all blocks added, divided, damaged frames left out."""

    total: np.ndarray  # (regions,) sums of the weights
    plane: np.ndarray | None  # (regions,)
    valid: np.ndarray | None

    def part(self, where: tuple[slice, ...]) -> _Finish:
        """Return the same for some of the frames and of the dimensions up to the planes."""
        valid = None if self.valid is None else self.valid[where]
        if valid is not None and valid.all():
            valid = None
        return _Finish(self.total, self.plane, valid)

    def __call__(self, *blocks: list[_Summed]) -> np.ndarray:
        found = list(itertools.chain.from_iterable(blocks))
        sums = np.zeros((self.total.size, *found[0].values.shape[1:]))
        whole = self.total.reshape(-1, *[1] * (sums.ndim - 1))
        total = whole
        if any(part.missing is not None for part in found):
            total = np.broadcast_to(whole, sums.shape).copy()
        for part in found:
            sums[part.regions] += part.values
            if part.missing is not None:
                total[part.regions] -= part.missing
        # Weights that are no whole numbers do not quite cancel where all pixels are missing.
        sums /= np.where(total <= 1e-9 * whole, np.nan, total)
        if self.valid is not None:
            sums[~self._usable()] = np.nan
        return sums.astype(np.float32)

    def _usable(self) -> np.ndarray:
        """Return ``valid`` in the order of the sums: regions first, frames last."""
        assert self.valid is not None
        valid = np.moveaxis(self.valid, 0, -1)
        if self.plane is None:
            return np.broadcast_to(valid, (self.total.size, *valid.shape))
        return np.moveaxis(valid[..., self.plane, :], -2, 0)


def _finish(regions: Regions, valid: np.ndarray | None) -> _Finish:
    total = np.bincount(regions.region, regions.weight, regions.count)
    plane = None
    if len(regions.place) == 3:
        plane = np.zeros(regions.count, dtype=np.int64)
        plane[regions.region] = regions.place[0]
    return _Finish(total, plane, valid)


def _sums(sums: _Sums, block: Any) -> list[_Summed]:
    return sums(block)


def _means(sums: _Sums, finish: _Finish, block: Any) -> np.ndarray:
    return finish(sums(block))
