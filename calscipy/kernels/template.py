"""A template for alignment, from a sample of frames."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from scipy import ndimage

from calscipy.kernels.interpolation import shift_frames
from calscipy.kernels.registration import Reference, centred, reference, rigid_shifts

__all__ = ["make_template"]

SIMILAR = 20  # frames that the first template is the mean of, beside the one they resemble


def make_template(
    frames: np.ndarray,
    *,
    max_shift: int,
    sigma: float = 1.0,
    align: Callable[[np.ndarray, Reference], np.ndarray] | None = None,
) -> np.ndarray:
    """Make a template from a sample of frames.

    The frame that is most like its 20 nearest relatives is averaged with them. The sample is
    aligned to that mean, moved by the median shift so that shifts lie around zero, and the better
    half is averaged again; this is done twice.

    Parameters
    ----------
    frames : ndarray, shape (frames, y, x)
        The sample; at least one frame.
    max_shift : int
        Largest shift to look for, in pixels.
    sigma : float, default 1.0
        As in `calscipy.kernels.registration.reference`.
    align : callable, optional
        What finds the shifts of the sample, in several threads for instance; `rigid_shifts`.

    Returns
    -------
    ndarray of float32, shape (y, x)
        NaN where no frame of the sample reaches. Float64 for float64 and for integers of over
        16 bits.

    Raises
    ------
    ArgumentError
        If a frame holds NaN or infinite pixels, or there is no structure in the sample.
    """
    wide = frames.dtype.itemsize > (4 if frames.dtype.kind == "f" else 2)
    # Differences from one level, so that float32 holds them beside a large offset.
    around = np.stack([centred(frame) for frame in frames])
    levels = frames.mean(axis=(1, 2), dtype=np.float64)
    level = levels.mean()
    frames = around + (levels - level).astype(np.float32)[:, None, None]
    template = frames[_most_alike(frames)].mean(axis=0, dtype=np.float64)
    for _ in range(2):
        prepared = reference(template, max_shift=max_shift, sigma=sigma)
        found = (align or _align)(frames, prepared)
        score = np.nan_to_num(found[:, 2], nan=-1.0)
        best = np.sort(np.argsort(-score, kind="stable")[: max(1, (len(frames) + 1) // 2)])
        shifts = np.nan_to_num(found[best, :2] - np.nanmedian(found[:, :2], axis=0))
        total = np.zeros(template.shape)
        count = np.zeros(template.shape, np.int64)
        for frame, shift in zip(frames[best], shifts, strict=True):
            moved = shift_frames(frame[None], shift[None], dtype=np.dtype("f4"))[0]
            inside = ~np.isnan(moved)
            total[inside] += moved[inside]
            count += inside
        template = np.where(count > 0, total / np.maximum(count, 1), np.nan)
    return (template + level).astype(np.float64 if wide else np.float32)


def _align(frames: np.ndarray, prepared: Reference) -> np.ndarray:
    return rigid_shifts(frames, np.zeros(len(frames), np.int64), shared=[prepared])


def _most_alike(frames: np.ndarray) -> np.ndarray:
    """Return the frame with the most similar relatives, and these."""
    smooth = [ndimage.gaussian_filter(f, 2)[::2, ::2].ravel() for f in frames]
    rows = np.stack(smooth)
    rows -= rows.mean(axis=1, keepdims=True)
    rows /= np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), np.finfo(np.float32).tiny)
    alike = rows @ rows.T
    order = np.argsort(-alike, axis=1, kind="stable")[:, : SIMILAR + 1]
    centre = int(np.take_along_axis(alike, order, axis=1).mean(axis=1).argmax())
    return order[centre]
