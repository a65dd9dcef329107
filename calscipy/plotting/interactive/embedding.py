"""Frames of a movie that a page holds: fewer, coarser, and of 8 bits."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from calscipy.errors import ArgumentError
from calscipy.io.output import progress_bar
from calscipy.plotting.interactive.frames import FrameReader, Limits, limits_of
from calscipy.plotting.style import contrast_limits

_SIDES = (256, 192, 128, 96, 64)  # pixels of an image along its longer side
_ENOUGH = 120  # frames, for which images are made coarser
_LEVELS = 254  # steps of brightness; the code above them is for what is not finite
_HELD = (0.02, 99.98)  # percentiles between which values are told apart
_WIDER = 2  # ... or all values, if they reach no further than so many times that range


class Embedded(NamedTuple):
    """Frames as a page holds them.

    Attributes
    ----------
    codes : ndarray of uint8, shape (channels, planes, frames, y, x)
        Levels of brightness, 255 for what is not finite.
    ends : list of (float, float)
        Values of the levels 0 and 254 of each channel.
    limits : list of Limits
        Of contrast of each channel.
    numbers : ndarray of int, shape (frames,)
        Which frames of the movie.
    factor : int
        Pixels of the movie in one of the page, along y and x.
    note : str
        What was left out.
    """

    codes: np.ndarray
    ends: list[tuple[float, float]]
    limits: list[Limits]
    numbers: np.ndarray
    factor: int
    note: str

    def image(self, channel: int, plane: int, position: int) -> np.ndarray:
        """Return one image as the page's script does."""
        low, high = self.ends[channel]
        codes = self.codes[channel, plane, position]
        values = low + codes.astype(np.float32) * np.float32((high - low) / _LEVELS)
        return np.where(codes > _LEVELS, np.float32(np.nan), values).astype(np.float32)


def embed(reader: FrameReader, frames: int | slice | Sequence[int] | None, room: int) -> Embedded:
    """Read frames for a page.

    Parameters
    ----------
    reader : FrameReader
        Of the movie.
    frames : int, slice, sequence of int or None
        How many, or which; None for as many as fit.
    room : int
        Bytes that they may take.

    Raises
    ------
    ArgumentError
        If that many frames do not fit, or if one of them does not exist.
    """
    asked = None if frames is None else _asked(reader, frames)
    factor, count = _fitting(reader, None if asked is None else len(asked), room)
    numbers = _spread(reader.frames, count) if asked is None else asked
    shape = [-(-size // factor) for size in reader.shape]
    codes = np.empty((reader.channels, reader.planes, len(numbers), *shape), dtype=np.uint8)
    ends, limits = [], []
    for channel in range(reader.channels):
        with progress_bar("reading frames", delay=1):
            values = np.stack([reader.several(numbers.tolist(), channel, plane, factor)
                               for plane in range(reader.planes)]).astype(np.float32)  # fmt: skip
        for plane in range(reader.planes):
            damaged = [not reader.valid(int(at), channel, plane) for at in numbers]
            values[plane, damaged] = np.nan
        own = limits_of(values)
        low, high = _ends(values, own)
        with np.errstate(invalid="ignore"):
            levels = np.rint((values - low) * (_LEVELS / (high - low))).clip(0, _LEVELS)
        codes[channel] = np.where(np.isfinite(values), levels, _LEVELS + 1).astype(np.uint8)
        ends.append((low, high))
        limits.append(own._replace(floor=low, ceiling=high))
    note = _note(reader, numbers, factor, ends)
    return Embedded(codes, ends, limits, numbers, factor, note)


def _ends(values: np.ndarray, limits: Limits) -> tuple[float, float]:
    """Return the values between which brightness is told apart: all, but for a few far off."""
    low, high = contrast_limits(values, _HELD)
    low, high = min(low, limits.low), max(high, limits.high)
    finite = values[np.isfinite(values)]
    if finite.size and np.ptp(finite) <= _WIDER * (high - low):
        return min(low, float(finite.min())), max(high, float(finite.max()))
    return low, high


def _asked(reader: FrameReader, frames: Any) -> np.ndarray:
    """Return the numbers of the frames that were asked for."""
    every = np.arange(reader.frames)
    if isinstance(frames, slice):
        found = every[frames]
    elif isinstance(frames, int | np.integer) and not isinstance(frames, bool):
        if frames < 1:
            raise ArgumentError(f"save_html needs frames of 1 or more, got {frames}")
        return _spread(reader.frames, min(int(frames), reader.frames))
    else:
        wanted = np.asarray(frames)
        if wanted.ndim != 1 or wanted.dtype.kind not in "iu":
            raise ArgumentError(
                "save_html needs frames as a number, a slice, or a list of whole numbers, got "
                f"{frames!r}"
            )
        wrong = wanted[(wanted < 0) | (wanted >= reader.frames)]
        if wrong.size:
            raise ArgumentError(
                f"save_html: there is no frame {wrong[0]}; the movie has {reader.frames} frames, "
                "counted from 0."
            )
        found = np.unique(wanted)
    if not len(found):
        raise ArgumentError(f"save_html: {frames} selects none of {reader.frames} frames.")
    return found


def _fitting(reader: FrameReader, wanted: int | None, room: int) -> tuple[int, int]:
    """Return how much coarser images have to be, and how many frames there is room for."""
    series = reader.channels * reader.planes
    enough = min(reader.frames, _ENOUGH) if wanted is None else wanted
    for side in _SIDES:
        factor = -(-max(reader.shape) // side)
        pixels = int(np.prod([-(-size // factor) for size in reader.shape]))
        count = room // (pixels * series)
        if count >= enough:
            return factor, min(count, reader.frames)
    if wanted is not None:
        raise ArgumentError(
            f"{wanted} frames do not fit into a page, {count} do at most. Give frames={count}, or "
            "select channels, planes or a part of the image first."
        )
    return factor, min(max(1, count), reader.frames)


def _spread(frames: int, count: int) -> np.ndarray:
    """Return at most so many frames at even distances, the first one among them."""
    return np.arange(0, frames, -(-frames // count))


def _note(
    reader: FrameReader, numbers: np.ndarray, factor: int, ends: list[tuple[float, float]]
) -> str:
    """Say what the page leaves out."""
    parts = []
    if len(numbers) < reader.frames:
        steps = np.unique(np.diff(numbers))
        which = f"{len(numbers)} of {reader.frames} frames"
        if len(steps) == 1:
            every = "" if steps[0] == 1 else f"every {ordinal(int(steps[0]))} frame"
            whole = numbers[0] == 0 and numbers[-1] + steps[0] >= reader.frames
            reach = "" if whole else f"from {numbers[0]} to {numbers[-1]}"
            which = ", ".join(filter(None, [which, every, reach]))
        parts.append(which)
    if factor > 1:
        parts.append(f"means of {factor} × {factor} pixels")
    between = "; ".join(f"{low:.5g} to {high:.5g}" for low, high in ends)
    parts.append(f"255 levels of brightness from {between}")
    return f"This page holds {', '.join(parts)}."


def ordinal(number: int) -> str:
    """Return a number as it counts things.

    Examples
    --------
    >>> [ordinal(number) for number in (1, 2, 3, 4, 11, 22)]
    ['1st', '2nd', '3rd', '4th', '11th', '22nd']
    """
    ending = "th" if number % 100 in (11, 12, 13) else {1: "st", 2: "nd", 3: "rd"}.get(number % 10)
    return f"{number}{ending or 'th'}"
