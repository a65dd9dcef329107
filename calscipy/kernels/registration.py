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
from calscipy.kernels.compiled import compiled, compiled_fast, frozen
from calscipy.kernels.interpolation import interpolation_weights

__all__ = ["Reference", "largest_shift", "reference", "require_finite", "rigid_shifts"]

# Pixels beyond the integer search that the refinement and the cubic kernel reach.
MARGIN = 4
REFINED = 2  # pixels from the integer peak that the refinement may go
LEAST_CORE = 8  # pixels along y and x that have to stay between the margins
ROUNDS = 10
PRECISE = 1e-3  # pixels; the noise of a shift is ten times larger
ILLUMINATION = ((0, 0), (0, 1), (0, 2), (1, 0), (1, 1), (2, 0))  # powers of y and x


@dataclass(frozen=True)
class Reference:
    """A template made ready for many frames.

    Attributes
    ----------
    spectrum : ndarray of complex64, shape (ky, kx)
        Conjugate of the transform of the search filter; the image is padded to the size of it.
    filters : ndarray of float32, shape (4, y, x)
        For the core of the image: gain, y shift, x shift, and the search filter.
    norm : float
        Length of the search filter.
    limit : int
        Largest shift of the search.
    padded : tuple of int
        Shape of the image that is transformed.
    """

    spectrum: np.ndarray
    filters: np.ndarray
    norm: float
    limit: int
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
        Largest shift to look for, in pixels. The pixels of a margin of ``max_shift + 4`` are not
        compared, so that all others lie inside of every frame.
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
    filters, norm = _filters(
        [part[core] for part in (image, *np.gradient(image))],
        [part[core] for part in (smooth, *np.gradient(smooth))],
        weight[core],
    )
    fft = _fft()
    padded = (fft.next_fast_len(shape[0], real=False), fft.next_fast_len(shape[1], real=True))
    whole = np.zeros(padded, np.float32)
    whole[edge : shape[0] - edge, edge : shape[1] - edge] = filters[3]
    spectrum = np.conj(fft.rfft2(whole))
    return Reference(spectrum, filters.astype(np.float32), norm, max_shift, padded)


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
    The integer shift is the peak of the normalised cross-correlation, by real FFTs. No taper is
    needed: the filter is zero in the margin, the frame is used up to its edges. Gain and shift are
    then refined together by Gauss-Newton steps on the frame, interpolated by cubic convolution.
    Phase correlation (Guizar-Sicairos et al. 2008, doi:10.1364/OL.33.000156) gives every frequency
    the same weight, although shot noise is white and cells are smooth, and compares the edges,
    which hold different content: its errors are several times larger.
    """
    found = np.full((len(frames), 3), np.nan)
    for number, (frame, index) in enumerate(zip(frames, which, strict=True)):
        if index < 0:
            continue
        image = frame.astype(np.float32)
        require_finite(image)
        found[number] = _one_shift(image, shared[index])
    return found


def _one_shift(image: np.ndarray, template: Reference) -> tuple[float, float, float]:
    """Align one frame to one template."""
    fft, limit = _fft(), template.limit
    image -= image.mean()
    spectrum = fft.rfft2(image, s=template.padded)
    spectrum *= template.spectrum
    lags = np.arange(-limit, limit + 1)
    near = fft.irfft(fft.ifft(spectrum, axis=0)[lags], n=template.padded[1], axis=1)[:, lags]
    variance = np.empty(near.shape)
    _window_variance(image, MARGIN, limit, variance)
    floor = 1e-10 * float(np.square(image, dtype=np.float64).sum())
    if not variance.max() > floor:
        return np.nan, np.nan, np.nan
    correlation = np.where(variance > floor, near, 0) / np.sqrt(np.maximum(variance, floor))
    row, column = np.unravel_index(int(correlation.argmax()), correlation.shape)
    start = np.array([lags[row], lags[column]], np.float64)
    place = start.copy()
    filters, totals = frozen(template.filters), np.empty(4)
    for _ in range(ROUNDS):
        _filter_at(image, place[0], place[1], filters, MARGIN + limit, totals)
        if not totals[0] > 0:  # no trace of the template: only the search can be trusted
            break
        step = np.clip(totals[1:3] / totals[0], -1, 1)
        before = place
        place = np.clip(place - step, start - REFINED, start + REFINED)
        if np.abs(place - before).max() < PRECISE:
            break
    _filter_at(image, place[0], place[1], filters, MARGIN + limit, totals)
    peak = totals[3] / (template.norm * np.sqrt(variance[row, column]))
    return float(place[0]), float(place[1]), float(np.clip(peak, -1, 1))


def _filters(
    exact: list[np.ndarray], smooth: list[np.ndarray], weight: np.ndarray
) -> tuple[np.ndarray, float]:
    """Return the filters for gain, y and x shift, the search filter, and the length of that.

    ``exact`` and ``smooth`` are the template and its gradients.
    """
    light = (_illumination(weight.shape) * weight).reshape(len(ILLUMINATION), -1)
    instruments = np.concatenate([light, [(part * weight).ravel() for part in smooth]])
    terms = np.stack([(part * weight).ravel() for part in exact])
    normal = np.concatenate([instruments @ light.T, instruments @ terms.T], axis=1)
    # Scaled to a diagonal of ones: brightness and gradients have different units.
    scale = 1 / np.sqrt(np.maximum(np.abs(np.diag(normal)), np.finfo(float).tiny))
    scaled = normal * scale[:, None] * scale
    basis, _ = np.linalg.qr(light.T)
    known = instruments[len(light)]
    search = known - basis @ (known @ basis)
    norm = float(np.linalg.norm(search))
    if norm <= 1e-6 * np.linalg.norm(known) or not np.linalg.cond(scaled) < 1e12:
        raise ArgumentError(
            "The template has no structure that frames could be aligned to along y and x. Give "
            "another template, or another channel."
        )
    three = (np.linalg.inv(scaled)[-3:] * scale) @ instruments * scale[-3:, None]
    return np.concatenate([three, search[None]]).reshape(4, *weight.shape), norm


def require_finite(image: np.ndarray) -> None:
    """Raise if a frame has pixels that are no numbers."""
    if not np.isfinite(image).all():
        raise ArgumentError(
            "Shifts cannot be found in frames with NaN or infinite pixels, but "
            f"{int((~np.isfinite(image)).sum())} of {image.size} are in one of them. Fill them "
            "(data.fillna(data.mean())), crop them away, or mark the frame in 'valid'."
        )


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


def _illumination(shape: tuple[int, ...]) -> np.ndarray:
    """Return the polynomials of an uneven illumination, which does not move with the brain."""
    y = np.linspace(-1, 1, shape[0])[:, None]
    x = np.linspace(-1, 1, shape[1])[None, :]
    return np.stack([y**i * x**j for i, j in ILLUMINATION])


@compiled_fast("contract", "reassoc")
def _filter_at(
    image: np.ndarray, y: float, x: float, filters: np.ndarray, edge: int, totals: np.ndarray
) -> None:
    """Sum the filters times the frame moved back by ``(y, x)``, over the core of the image."""
    _, rows, columns = filters.shape
    up, left = int(np.floor(y)), int(np.floor(x))
    across, down = np.empty(4, np.float32), np.empty(4, np.float32)
    interpolation_weights(y - up, True, down)
    interpolation_weights(x - left, True, across)
    line = np.empty(columns + 3, np.float32)
    totals[:] = 0
    for row in range(rows):
        top, start = edge + up - 1 + row, edge + left - 1
        one, two = image[top, start:], image[top + 1, start:]
        three, four = image[top + 2, start:], image[top + 3, start:]
        for at in range(columns + 3):
            line[at] = (
                down[0] * one[at] + down[1] * two[at] + down[2] * three[at] + down[3] * four[at]
            )
        line1, line2, line3 = line[1:], line[2:], line[3:]
        gain, along = filters[0, row], filters[1, row]
        aside, search = filters[2, row], filters[3, row]
        sum0, sum1, sum2, sum3 = np.float32(0), np.float32(0), np.float32(0), np.float32(0)
        for at in range(columns):
            value = (
                across[0] * line[at]
                + across[1] * line1[at]
                + across[2] * line2[at]
                + across[3] * line3[at]
            )
            sum0 += value * gain[at]
            sum1 += value * along[at]
            sum2 += value * aside[at]
            sum3 += value * search[at]
        totals[0] += sum0
        totals[1] += sum1
        totals[2] += sum2
        totals[3] += sum3


@compiled
def _window_variance(image: np.ndarray, margin: int, limit: int, out: np.ndarray) -> None:
    """Variance times size of the core of the image, moved by every shift up to ``limit``."""
    rows, columns = image.shape
    tall, wide = rows - 2 * (margin + limit), columns - 2 * (margin + limit)
    count = 2 * limit + 1
    sums, squares = np.zeros((rows, count)), np.zeros((rows, count))
    for row in range(rows):
        line = image[row, margin:]
        total, square = 0.0, 0.0
        for at in range(wide):
            value = np.float64(line[at])
            total += value
            square += value * value
        for lag in range(count):
            sums[row, lag], squares[row, lag] = total, square
            old, new = np.float64(line[lag]), np.float64(line[min(lag + wide, line.shape[0] - 1)])
            total += new - old
            square += new * new - old * old
    for lag in range(count):
        total, square = 0.0, 0.0
        for row in range(margin, margin + tall):
            total += sums[row, lag]
            square += squares[row, lag]
        for move in range(count):
            out[move, lag] = square - total * total / (tall * wide)
            first, after = margin + move, min(margin + move + tall, rows - 1)
            total += sums[after, lag] - sums[first, lag]
            square += squares[after, lag] - squares[first, lag]
