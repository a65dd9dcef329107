"""Rigid motion: how far each frame moved against a template.

A shift ``(y, x)`` in pixels says where the content of a frame went: the pixel ``p`` of the template
is found at ``p + shift`` of the frame.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import ndimage

from calscipy.errors import ArgumentError
from calscipy.kernels.compiled import frozen
from calscipy.kernels.moving_loops import filter_at, window_variance
from calscipy.kernels.refinement import MARGIN, Window, refined, window, window_limits

__all__ = ["Reference", "centred", "largest_shift", "reference", "rigid_shifts"]

LEAST_CORE = 8  # pixels along y and x that have to stay between the margins
BLOCK = 4  # pixels along y and x that are averaged where brightness is compared
QUANTILES = np.linspace(0.1, 0.7, 13)  # of these; active cells lie above
KEPT = 0.9  # correlation of the clipped template with itself


@dataclass(frozen=True)
class Reference:
    """A template made ready for many frames.

    Attributes
    ----------
    spectrum : ndarray of complex64, shape (ky, kx)
        Conjugate of the transform of the search filter; the image is padded to the size of it.
    windows : tuple of Window
        What is compared: first the core of the image, which all frames hold, then larger parts
        for frames that moved less.
    quantiles : ndarray of float64
        ``QUANTILES`` of blocks of the template.
    top : float
        Brightness of the template at which frames are clipped.
    padded : tuple of int
        Shape of the image that is transformed.
    """

    spectrum: np.ndarray
    windows: tuple[Window, ...]
    quantiles: np.ndarray
    top: float
    padded: tuple[int, int]


def largest_shift(shape: tuple[int, int]) -> int:
    """Return the largest shift that can be searched in an image of this shape; below 1 is none."""
    return (min(shape) - 2 * MARGIN - LEAST_CORE) // 2


def reference(template: np.ndarray, *, max_shift: int, sigma: float = 1.0) -> Reference:
    """Prepare a template.

    Parameters
    ----------
    template : ndarray, shape (y, x)
        NaN pixels, and those close to them, are left out.
    max_shift : int
        Largest shift to look for, in pixels. The search leaves out a margin of ``max_shift + 4``
        pixels of the template, so that all others lie inside of every frame; the refinement of a
        frame that moved less leaves out less, see `Window`.
    sigma : float, default 1.0
        Standard deviation in pixels of the Gaussian that takes noise out of the template.

    Raises
    ------
    ArgumentError
        If the image is too small for ``max_shift``, or has no structure.

    Notes
    -----
    A frame is modelled as ``gain * template(p - shift)`` and a quadratic illumination. The three
    filters give gain and shift by linear least squares near the right place. Their normal equations
    hold the smoothed template on one side alone (instrumental variables), so that smoothing biases
    nothing: the template itself is found at shift 0 exactly.
    """
    shape = (int(template.shape[0]), int(template.shape[1]))
    if not 1 <= max_shift <= largest_shift(shape):
        raise ArgumentError(
            f"max_shift={max_shift} does not fit an image of {shape[0]} x {shape[1]} pixels: it "
            f"must be from 1 to {largest_shift(shape)}. Images of fewer than "
            f"{2 * (MARGIN + 1) + LEAST_CORE} pixels along y or x cannot be aligned."
        )
    edge = max_shift + MARGIN
    core = (slice(edge, -edge), slice(edge, -edge))
    image, weight = _filled(template, sigma)
    smooth = ndimage.gaussian_filter(image, sigma) if sigma > 0 else image
    limits = window_limits(shape, max_shift)
    windows = tuple(window(image, smooth, weight, limit) for limit in limits)
    search = windows[0].filters[3]
    fft = _fft()
    padded = (fft.next_fast_len(shape[0], real=False), fft.next_fast_len(shape[1], real=True))
    whole = np.zeros(padded, np.float32)
    whole[edge : shape[0] - edge, edge : shape[1] - edge] = search
    spectrum = np.conj(fft.rfft2(whole))
    return Reference(
        spectrum=spectrum,
        windows=windows,
        quantiles=np.quantile(_blocks(np.where(np.isfinite(template), image, np.nan)), QUANTILES),
        top=_top(smooth[core], search, weight[core]),
        padded=padded,
    )


def rigid_shifts(
    frames: np.ndarray, which: np.ndarray, *, shared: Sequence[Reference]
) -> np.ndarray:
    """Find how far each frame is from its template.

    Parameters
    ----------
    frames : ndarray, shape (frames, y, x)
        Frames, in any units.
    which : ndarray of int, shape (frames,)
        Index of each frame's reference; -1 for frames to leave out.
    shared : sequence of Reference
        Templates, see `reference`.

    Returns
    -------
    ndarray of float64, shape (frames, 3)
        Shift along y and x in pixels, and the correlation with the template. NaN for frames that
        are left out or flat.

    Raises
    ------
    ArgumentError
        If a frame holds NaN or infinite pixels.

    Notes
    -----
    Active cells are brighter than the template, and a shift by least squares goes to where they
    are explained best. So the integer shift is the peak of the normalised cross-correlation of
    the frame clipped to the range of the template. No taper is needed: the filter is zero in the
    margin, the frame is used up to its edges. Gain and shift are then refined together, in the
    largest window of the template that lies inside of a frame that moved by so much, by
    Gauss-Newton steps on the frame, interpolated by cubic convolution, in which residuals are
    weighted by Tukey's biweight: those of 5 x 5 pixels together against their noise at the
    brightness of the template, from the median of absolute values. What is left out at one step is
    filled in by the fit, so that the filters of the template remain.
    """
    found = np.full((len(frames), 3), np.nan)
    for number, (frame, index) in enumerate(zip(frames, which, strict=True)):
        if index < 0:
            continue
        found[number] = _one_shift(centred(frame), shared[index])
    return found


def centred(frame: np.ndarray, wanted: str = "Shifts") -> np.ndarray:
    """Return a frame without its mean as float32; digits of a large offset are not lost.

    ``wanted`` is what errors say cannot be found.

    Raises
    ------
    ArgumentError
        If the frame holds NaN or infinite pixels.
    """
    wide = frame.dtype.itemsize > (4 if frame.dtype.kind == "f" else 2)
    image: np.ndarray = frame.astype(np.float64 if wide else np.float32)
    if not np.isfinite(image).all():
        raise ArgumentError(
            f"{wanted} cannot be found in frames with NaN or infinite pixels, but "
            f"{int((~np.isfinite(image)).sum())} of {image.size} are in one of them. Fill them "
            "(data.fillna(data.mean()), or apply_shifts(..., fill='edge') if they come from "
            "there), crop them away, or mark the frame in 'valid'."
        )
    np.subtract(image, image.mean(dtype=np.float64), out=image, casting="same_kind")
    return image.astype(np.float32, copy=False)


def _one_shift(image: np.ndarray, template: Reference) -> tuple[float, float, float]:
    """Align one frame to one template."""
    core = template.windows[0]
    edge = MARGIN + core.limit
    calm = _clipped(image, template)
    start = _search(calm, template)
    if start is None:
        return np.nan, np.nan, np.nan
    place = refined(image, calm, start, _widest(template, start))
    filters, totals = frozen(core.filters), np.empty(4)
    filter_at(image, place[0], place[1], filters, edge, totals)
    top, left = edge + np.rint(place).astype(int)
    part = image[top : top + filters.shape[1], left : left + filters.shape[2]]
    spread = np.sqrt(part.var(dtype=np.float64) * part.size)
    peak = np.clip(totals[3] / (core.norm * spread), -1, 1) if spread > 0 else np.nan
    return float(place[0]), float(place[1]), float(peak)


def _widest(template: Reference, start: np.ndarray) -> Window:
    """Return the largest window that lies inside of a frame that moved by so much."""
    far = np.abs(start).max()
    return next(part for part in reversed(template.windows) if part.limit >= far)


def _clipped(image: np.ndarray, template: Reference) -> np.ndarray:
    """Clip a frame at the top of the template, by gain and offset of its darker parts."""
    spread = template.quantiles - template.quantiles.mean()
    blocks = np.quantile(_blocks(image), [*QUANTILES, 0.9])
    dark, bright = blocks[:-1], blocks[-1]
    square = spread @ spread
    gain = spread @ dark / square if square > 0 else np.inf
    top = dark.mean() + gain * (template.top - template.quantiles.mean())
    return np.minimum(image, np.float32(max(top, bright))) if np.isfinite(top) else image


def _search(image: np.ndarray, template: Reference) -> np.ndarray | None:
    """Return the integer shift of the highest correlation; None for a flat frame."""
    fft, limit = _fft(), template.windows[0].limit
    spectrum = fft.rfft2(image, s=template.padded)
    spectrum *= template.spectrum
    lags = np.arange(-limit, limit + 1)
    near = fft.irfft(fft.ifft(spectrum, axis=0)[lags], n=template.padded[1], axis=1)[:, lags]
    variance = np.empty(near.shape)
    window_variance(image, MARGIN, limit, variance)
    floor = 1e-10 * float(np.square(image, dtype=np.float64).sum())
    if not variance.max() > floor:
        return None
    correlation = np.where(variance > floor, near, 0) / np.sqrt(np.maximum(variance, floor))
    row, column = np.unravel_index(int(correlation.argmax()), correlation.shape)
    return np.array([lags[row], lags[column]], np.float64)


def _blocks(image: np.ndarray) -> np.ndarray:
    """Average small blocks, so that noise counts less; those with NaN are left out."""
    rows, columns = (size // BLOCK for size in image.shape)
    parts = image[: rows * BLOCK, : columns * BLOCK].reshape(rows, BLOCK, columns, BLOCK)
    means = parts.mean(axis=3).mean(axis=1).ravel()
    known = means[~np.isnan(means)]
    return known if known.size else np.zeros(1)


def _top(smooth: np.ndarray, search: np.ndarray, weight: np.ndarray) -> float:
    """Return the least percentile that the template can be clipped at and resemble itself."""
    known = smooth[weight > 0]
    for percent in (99, 99.5, 99.9):
        top = float(np.percentile(known, percent))
        low = np.minimum(smooth, top)
        centre = low - low[weight > 0].mean()
        length = np.linalg.norm(centre * weight) * np.linalg.norm(search)
        if length > 0 and (centre * search).sum() > KEPT * length:
            return top
    return float(known.max())


def _fft() -> Any:
    from scipy import fft

    return fft


def _filled(template: np.ndarray, sigma: float) -> tuple[np.ndarray, np.ndarray]:
    """Return the template without NaN, its mean taken away, and weights of 0 near those pixels."""
    image = np.asarray(template, np.float64)
    known = np.isfinite(image)
    if not known.any():
        raise ArgumentError("The template has no finite pixel. Give another template.")
    level = image[known].mean()
    image = np.where(known, image, level) - level
    if known.all():
        return image, np.ones(image.shape)
    reach = 1 + int(np.ceil(2 * sigma))
    known = ndimage.binary_erosion(known, np.ones((3, 3)), iterations=reach, border_value=1)
    return image, known.astype(np.float64)
