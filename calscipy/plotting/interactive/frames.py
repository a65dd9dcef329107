"""Frames of a movie, one at a time, and no more of it than is looked at."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any, NamedTuple

import dask
import dask.array as da
import numpy as np
import xarray as xr

from calscipy import model
from calscipy.errors import TimeAxisError
from calscipy.plotting.style import contrast_limits

SLOW = 0.03  # s for one frame, from which on its block is kept for the next ones
CACHE_BYTES = 2**26  # of the block that is kept
LOOK_BYTES = 2**27  # of blocks that are read for the time course of a pixel
MOST_FRAMES = 20_000  # of the time course of a pixel


class Course(NamedTuple):
    """What happens at a pixel around the frame that is shown.

    Attributes
    ----------
    values : ndarray, shape (frames,)
        Mean of the pixels; NaN for damaged frames.
    frames : slice
        Which frames.
    rows, columns : slice
        Which pixels.
    """

    values: np.ndarray
    frames: slice
    rows: slice
    columns: slice


class Limits(NamedTuple):
    """Limits of contrast.

    Attributes
    ----------
    low, high : float
        Values that are shown darkest and brightest.
    floor, ceiling : float
        Lowest and highest value that these may become.
    """

    low: float
    high: float
    floor: float
    ceiling: float


def limits_of(values: np.ndarray) -> Limits:
    """Return robust limits of contrast for some frames."""
    low, high = contrast_limits(values)
    finite = values[np.isfinite(values)]
    if not finite.size:
        return Limits(low, high, low, high)
    # Other frames may be brighter: the slider reaches further than what was looked at.
    ceiling = max(2 * high - low, float(finite.max()))
    return Limits(low, high, min(low, float(finite.min())), ceiling)


class FrameReader:
    """Reads frames of a movie when they are shown.

    Where one frame takes long, as after filters that work on whole blocks of frames, its block is
    kept: the frames beside it then come at once.

    Parameters
    ----------
    movie : DataArray
        ``(frames [, channel] [, plane], y, x)``, lazy or not.

    Attributes
    ----------
    frames, channels, planes : int
        How many there are.
    shape : (int, int)
        Of a frame.
    validity : ndarray of bool, shape (frames, channels, planes), or None
        Whether frames are there and whole; None if all of them are.
    """

    def __init__(self, movie: xr.DataArray) -> None:
        # A Variable that reads from a file must not be reshaped: xarray would load it.
        self._data = movie.variable
        self._sizes = {dim: movie.sizes.get(dim, 1) for dim in model.MOVIE_DIMS}
        self._chunks = dict(zip(movie.dims, self._data.chunks or (), strict=False))
        valid = model.valid_frames(movie)
        self.validity = None
        if valid is not None:
            dims = [dim for dim in movie.dims if dim not in (model.Y, model.X)]
            shape = {dim: self._sizes[dim] for dim in model.MOVIE_DIMS[:3]}
            expanded = xr.Variable(dims, valid).set_dims(shape)
            self.validity = expanded.transpose(*model.MOVIE_DIMS[:3]).values
        self.frames, self.channels, self.planes, *shape_yx = self._sizes.values()
        self.shape = tuple(shape_yx)
        self._from_source = bool(self._chunks) and _reads_slices(movie.data)
        lengths = self._chunks.get(model.FRAMES, (1,) * self.frames)
        self._starts = np.cumsum([0, *lengths])
        self._slow: int | None = None  # block of the last frame, if reading it took long
        self._block: tuple[tuple[int, int, int], np.ndarray] | None = None

    def valid(self, frame: int, channel: int, plane: int) -> bool:
        """Whether a frame is there and whole."""
        return self.validity is None or bool(self.validity[frame, channel, plane])

    def frame(self, frame: int, channel: int = 0, plane: int = 0) -> np.ndarray:
        """Return one frame ``(y, x)``."""
        number = self._number(frame)
        start, stop = self._starts[number], self._starts[number + 1]
        place = (number, channel, plane)
        if self._block is not None and self._block[0] == place:
            return self._block[1][frame - start]
        if self._slow == number and self._frame_bytes() * (stop - start) <= CACHE_BYTES:
            block = self._part(slice(int(start), int(stop)), channel, plane).values
            self._block = place, block
            return np.asarray(block[frame - start])
        began = time.perf_counter()
        found = self._part(frame, channel, plane).values
        slow = bool(self._chunks) and time.perf_counter() - began > SLOW
        self._slow = number if slow else None
        return np.asarray(found)

    def several(
        self, frames: Sequence[int], channel: int, plane: int, factor: int = 1
    ) -> np.ndarray:
        """Return frames ``(frames, y, x)``, made coarser by a factor, from one graph."""
        parts = [self._part(int(at), channel, plane).data for at in frames]
        if not self._chunks:
            return np.stack([coarser(part, factor) for part in parts])
        if self._from_source:
            return np.stack(dask.compute(*(dask.delayed(coarser)(part, factor) for part in parts)))
        # In one array, as blocks that several frames lie in are computed once then.
        whole = da.stack([part.rechunk(-1) for part in parts])
        if factor > 1:
            sizes = ((1,) * len(parts), *((-(-size // factor),) for size in self.shape))
            whole = whole.map_blocks(_coarser_block, factor, chunks=sizes, dtype=np.float32)
        return np.asarray(whole.compute())

    def look(self, frame: int, channel: int, plane: int) -> tuple[np.ndarray, Limits]:
        """Return one frame, and limits of contrast for its channel.

        For the limits two more frames are looked at: of the same block, so that no more is
        computed, or of the middle and the end where the movie is not cut into blocks.
        """
        first, last = 0, self.frames
        if self._chunks:
            number = self._number(frame)
            first, last = self._starts[number], self._starts[number + 1]
        spread = (frame, int(first + last) // 2, int(last) - 1)
        wanted = [at for at in dict.fromkeys(spread) if self.valid(at, channel, plane)] or [frame]
        values = self.several(wanted, channel, plane)
        image = values[0] if wanted[0] == frame else self.frame(frame, channel, plane)
        return image, limits_of(values)

    def course(
        self, frame: int, channel: int, plane: int, y: int, x: int, reach: int = 1
    ) -> Course:
        """Return the mean of the pixels around one, in the frames around one.

        The frames are those of as many blocks as ``LOOK_BYTES`` and ``MOST_FRAMES`` allow, of one
        at least.
        """
        rows = slice(max(0, y - reach), min(self.shape[0], y + reach + 1))
        columns = slice(max(0, x - reach), min(self.shape[1], x + reach + 1))
        start, stop = self._window(frame, self._block_bytes(rows, columns))
        part = self._part(slice(start, stop), channel, plane, rows, columns)
        values = np.asarray(part.values, dtype=np.float64).mean(axis=(1, 2))
        if self.validity is not None:
            values[~self.validity[start:stop, channel, plane]] = np.nan
        return Course(values, slice(start, stop), rows, columns)

    def _window(self, frame: int, block_bytes: int) -> tuple[int, int]:
        """Return the first and last of some whole blocks around a frame."""
        if not self._chunks and self._data._in_memory:
            half = MOST_FRAMES // 2
            start = max(0, min(frame - half, self.frames - MOST_FRAMES))
            return start, min(self.frames, start + MOST_FRAMES)
        blocks = len(self._starts) - 1
        longest = int(np.diff(self._starts).max())
        count = min(LOOK_BYTES // max(1, block_bytes), MOST_FRAMES // longest)
        count = max(1, min(count, blocks))
        number = self._number(frame)
        first = max(0, min(number - count // 2, blocks - count))
        return int(self._starts[first]), int(self._starts[first + count])

    def _number(self, frame: int) -> int:
        """Return the block along frames that holds a frame."""
        return int(np.searchsorted(self._starts, frame, side="right")) - 1

    def _part(
        self,
        frames: int | slice,
        channel: int,
        plane: int,
        rows: slice = slice(None),
        columns: slice = slice(None),
    ) -> xr.Variable:
        """Return a part of one channel and plane, ``([frames,] y, x)``, without reading it."""
        wanted: dict[Any, Any] = {
            model.FRAMES: frames, model.CHANNEL: channel, model.PLANE: plane,
            model.Y: rows, model.X: columns,
        }  # fmt: skip
        part = self._data.isel({dim: wanted[dim] for dim in self._data.dims})
        order = [dim for dim in (model.FRAMES, model.Y, model.X) if dim in part.dims]
        return part.transpose(*order)

    def _frame_bytes(self) -> int:
        return int(np.prod(self.shape)) * self._data.dtype.itemsize

    def _block_bytes(self, rows: slice, columns: slice) -> int:
        """Return the size of the largest blocks that hold some pixels of a frame."""
        if not self._chunks:
            return self._frame_bytes()
        held: float = self._data.dtype.itemsize
        for dim in model.MOVIE_DIMS[:3]:
            held *= max(self._chunks.get(dim, (1,)))
        for dim, wanted in ((model.Y, rows), (model.X, columns)):
            lengths = self._chunks[dim]
            edges = np.cumsum([0, *lengths])
            start, stop, _ = wanted.indices(int(edges[-1]))
            touched = (edges[:-1] < stop) & (edges[1:] > start)
            held *= float(np.sum(np.asarray(lengths)[touched]))
        return int(held)


def coarser(image: Any, factor: int) -> np.ndarray:
    """Return means of ``factor`` x ``factor`` pixels; at the edges, of those that are left.

    Examples
    --------
    >>> coarser(np.arange(6).reshape(2, 3), 2).tolist()
    [[2.0, 3.5]]
    """
    image = np.asarray(image)
    if factor == 1:
        return image
    image = image.astype(np.float32)
    starts = [np.arange(0, size, factor) for size in image.shape]
    total = np.add.reduceat(np.add.reduceat(image, starts[0], axis=0), starts[1], axis=1)
    counts = [np.diff(np.append(at, size)) for at, size in zip(starts, image.shape, strict=True)]
    return np.asarray(total / np.outer(*counts), dtype=np.float32)


def _coarser_block(block: np.ndarray, factor: int) -> np.ndarray:
    return coarser(block[0], factor)[None]


def _reads_slices(array: Any) -> bool:
    """Whether blocks come from one source, of which dask then reads only what is asked for."""
    try:
        sources = array.dask.dependencies[array.name]
        return len(sources) == 1 and len(array.dask.layers[next(iter(sources))]) == 1
    except (AttributeError, KeyError):  # graphs without layers
        return False


def times_of(movie: xr.DataArray) -> np.ndarray | None:
    """Return the times of the frames in s, None if there are none."""
    try:
        return model.seconds(movie, "view_movie")
    except TimeAxisError:
        return None
