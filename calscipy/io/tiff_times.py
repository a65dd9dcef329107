"""When the frames of TIFF files were taken, as far as their metadata say."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from calscipy.errors import CalscipyWarning, warn
from calscipy.io.movie_options import SAME_RATE, no_frame_rate
from calscipy.io.tiff_hints import Hints, Part

if TYPE_CHECKING:
    from calscipy.io.tiff_layout import Plan

_SAME_STEP = 1e-2  # the median of measured steps differs a little from the nominal one


def joined_times(
    path: Path, parts: Sequence[Part], first: Hints
) -> tuple[np.ndarray | None, np.ndarray]:
    """Join the times of all parts; None if they cannot be one clock.

    Returns
    -------
    times : ndarray of float64, shape (frames, planes), or None
    borders : ndarray of int
        Frames with which a stretch begins that the times before say nothing about.
    """
    stretches = [part.stretches for part in parts if part.stretches is not None]
    borders = np.zeros(0, int)
    if stretches and len(stretches) == len(parts):
        borders = np.flatnonzero(np.diff(np.concatenate(stretches))) + 1
    tables = [part.times for part in parts if part.times is not None]
    if len(tables) < len(parts):
        return None, borders
    times = np.concatenate(tables)
    known = np.isfinite(times)
    frames = np.where(known, times, np.inf).min(axis=1)
    unknown = int((~known.any(axis=1)).sum())
    if unknown:
        warn(
            f"{path}: the {first.source} do not give the time of {unknown} of {len(frames)} "
            "frames. All times are made from the frame rate.",
            CalscipyWarning,
        )
        return None, borders
    back = np.flatnonzero(np.diff(frames) <= 0) + 1
    if not back.size:
        return times, borders
    warn(
        f"{path}: the times in the {first.source} start again at frame {back[0]}"
        f"{f' and {back.size - 1} more' if back.size > 1 else ''}. All times are made from the "
        "frame rate, as if nothing lay between the stretches, which 'epoch' tells apart.",
        CalscipyWarning,
    )
    return None, np.union1d(back, borders)


@dataclass(frozen=True)
class Times:
    """When frames were taken, in s from the first."""

    frames: np.ndarray
    planes: np.ndarray | None  # (frames, planes)
    source: str  # where they come from, empty for a rate that was given


def frame_times(path: Path, plan: Plan, given: float | None) -> Times:
    """Return when each frame was taken.

    Raises
    ------
    ArgumentError
        If nothing tells the times.
    """
    count, rate, source = plan.table.shape[0], plan.hints.frame_rate, plan.hints.source
    if given is not None:
        return Times(np.arange(count) / given, None, "")
    measured = plan.measured
    if plan.times is not None and measured is not None:
        _compare_with_nominal(path, plan.hints, measured)
        planes = plan.times - measured[0] if plan.times.shape[1] > 1 else None
        return Times(measured - measured[0], planes, source)
    if rate is not None:
        return Times(np.arange(count) / rate, None, source)
    if count == 1:
        return Times(np.zeros(1), None, "")
    raise no_frame_rate(path, "the file does not say")


def _compare_with_nominal(path: Path, hints: Hints, measured: np.ndarray) -> None:
    """Warn if metadata state a rate and other times."""
    if hints.frame_rate is None or len(measured) < 2:
        return
    step = float(np.median(np.diff(measured)))
    if abs(hints.frame_rate * step - 1) > _SAME_STEP:
        warn(
            f"{path}: the {hints.source} state {hints.frame_rate:.6g} frames in a second and times "
            f"with a median step of {step:.6g} s ({1 / step:.6g} in a second). The times are used.",
            CalscipyWarning,
        )


def compare_microns(
    path: Path, given: tuple[float, float] | None, hints: Hints
) -> tuple[float, float] | None:
    """Return the size of a pixel, as it was given or stated; warn if these differ."""
    if given is None or hints.microns is None:
        return given or hints.microns
    if any(abs(a / b - 1) > SAME_RATE for a, b in zip(given, hints.microns, strict=True)):
        warn(
            f"{path}: the {hints.source} state pixels of {_pair(hints.microns)} um (y x x), but "
            f"microns_per_pixel={_pair(given)} was given and is used.",
            CalscipyWarning,
        )
    return given


def _pair(sizes: Any) -> str:
    return " x ".join(f"{size:.6g}" for size in sizes)
