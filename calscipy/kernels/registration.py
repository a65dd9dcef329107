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
from calscipy.kernels.moving_loops import (
    filter_at,
    residuals,
    smooth_residuals,
    weighted_sums,
    window_variance,
)

__all__ = ["Reference", "centred", "largest_shift", "reference", "rigid_shifts"]

# Pixels beyond the integer search that the refinement and the cubic kernel reach.
MARGIN = 4
REFINED = 2  # pixels from the integer peak that the refinement may go
LEAST_CORE = 8  # pixels along y and x that have to stay between the margins
ROUNDS = 10
LEAST_SQUARES = 3  # rounds of them before the residuals are weighted
NOISE_ROUNDS = 3  # of the weighted ones; then the noise is known
PRECISE = 1e-3  # pixels; the noise of a shift is ten times larger
ILLUMINATION = ((0, 0), (0, 1), (0, 2), (1, 0), (1, 1), (2, 0))  # powers of y and x
BLOCK = 4  # pixels along y and x that are averaged where brightness is compared
QUANTILES = np.linspace(0.1, 0.7, 13)  # of these; active cells lie above
KEPT = 0.9  # correlation of the clipped template with itself
LEVELS = 8  # of brightness, each with a noise of its own
LARGE, SPARSE = 200**2, 4  # pixels of a core in which every fourth tells the noise
MISFIT = 0.02  # of the template's standard deviation: residuals as small are no outliers


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
    exact, weight : ndarray of float32, shape (y + 2, x + 2) and (y, x)
        The template in the core and one pixel around it, and 0 where pixels are left out.
    light : ndarray of float64, shape (6, 7)
        What gives the illumination: the inverse of its normal equations, and that of the template.
    order : ndarray of int, shape (levels, pixels)
        Every second or fourth pixel of the core along y and x that counts, in order of brightness.
    brightness : ndarray of float64, shape (levels,)
        Of the template in these.
    quantiles : ndarray of float64
        ``QUANTILES`` of blocks of the template.
    top : float
        Brightness of the template at which frames are clipped.
    limit : int
        Largest shift of the search.
    padded : tuple of int
        Shape of the image that is transformed.
    """

    spectrum: np.ndarray
    filters: np.ndarray
    norm: float
    exact: np.ndarray
    weight: np.ndarray
    light: np.ndarray
    order: np.ndarray
    brightness: np.ndarray
    quantiles: np.ndarray
    top: float
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
    around = slice(edge - 1, 1 - edge)
    order = _by_brightness(smooth[core], weight[core])
    return Reference(
        spectrum=spectrum,
        filters=filters.astype(np.float32),
        norm=norm,
        exact=image[around, around].astype(np.float32),
        weight=weight[core].astype(np.float32),
        light=_illumination_filter(image[core], weight[core]),
        order=order,
        brightness=smooth[core].ravel()[order].mean(axis=1),
        quantiles=np.quantile(_blocks(np.where(np.isfinite(template), image, np.nan)), QUANTILES),
        top=_top(smooth[core], filters[3], weight[core]),
        limit=max_shift,
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
    margin, the frame is used up to its edges. Gain and shift are then refined together by
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
    edge = MARGIN + template.limit
    calm = _clipped(image, template)
    start = _search(calm, template)
    if start is None:
        return np.nan, np.nan, np.nan
    filters, totals = frozen(template.filters), np.empty(4)
    place, moves = start.copy(), True
    for _ in range(LEAST_SQUARES):
        filter_at(calm, place[0], place[1], filters, edge, totals)
        moves = totals[0] > 0  # else no trace of the template: only the search can be trusted
        if not moves:
            break
        place, step = _stepped(place, totals[1:3] / totals[0], start)
        if step < PRECISE:
            break
    if moves:
        place = _robust(image, calm, place, start, template)
    filter_at(image, place[0], place[1], filters, edge, totals)
    top, left = edge + np.rint(place).astype(int)
    window = image[top : top + filters.shape[1], left : left + filters.shape[2]]
    spread = np.sqrt(window.var(dtype=np.float64) * window.size)
    peak = np.clip(totals[3] / (template.norm * spread), -1, 1) if spread > 0 else np.nan
    return float(place[0]), float(place[1]), float(peak)


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
    fft, limit = _fft(), template.limit
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


def _stepped(place: np.ndarray, step: np.ndarray, start: np.ndarray) -> tuple[np.ndarray, float]:
    """Make a step that does not lead too far from the start, and return its length as well."""
    after = np.clip(place - np.clip(step, -1, 1), start - REFINED, start + REFINED)
    return after, float(np.abs(after - place).max())


def _robust(
    image: np.ndarray, calm: np.ndarray, place: np.ndarray, start: np.ndarray, template: Reference
) -> np.ndarray:
    """Refine a shift by weighted least squares; ``calm`` is the frame to begin with."""
    edge, filters = MARGIN + template.limit, frozen(template.filters)
    exact, weight = frozen(template.exact), frozen(template.weight)
    residual, smooth = np.empty(weight.shape, np.float32), np.empty(weight.shape, np.float32)
    sums, matrix, light = np.empty(9), np.empty((3, 3)), np.zeros(len(ILLUMINATION))
    spread = np.sqrt((template.brightness**2).mean())
    gain, noise = 0.0, np.full(3, np.inf)
    for number in range(ROUNDS + 1):
        first = number == 0
        where = (place[0], place[1], exact, weight, gain, light, edge)
        residuals(calm if first else image, *where, residual)
        smooth_residuals(residual, smooth)
        if 1 <= number <= NOISE_ROUNDS:
            noise = _noise(smooth, template)
            noise[2] = max(noise[2], (MISFIT * gain * spread) ** 2)
        weighted_sums(residual, smooth, filters, exact, weight, noise, sums, matrix)
        # Nothing but outliers: what the weights leave does not tell the shift.
        if not np.linalg.det(matrix) > 0.01:
            break
        change, *step = np.linalg.solve(matrix, sums[:3])
        light += template.light[:, :-1] @ sums[3:] - change * template.light[:, -1]
        gain += change
        if not gain > 0:
            break
        if first:
            continue
        place, length = _stepped(place, np.array(step) / gain, start)
        if length < PRECISE:
            break
    return place


def _noise(smooth: np.ndarray, template: Reference) -> np.ndarray:
    """Return the variance of smoothed residuals: at brightness 0, its slope, and its least."""
    deviation = np.median(np.abs(smooth.ravel()[template.order]), axis=1) / 0.6745
    variance, level = np.square(deviation, dtype=np.float64), template.brightness
    # The median slope between levels, as few of which have many active cells.
    one, other = np.triu_indices(len(level), 1)
    apart = level[other] > level[one]
    slopes = (variance[other] - variance[one])[apart] / (level[other] - level[one])[apart]
    slope = max(0.0, float(np.median(slopes))) if slopes.size else 0.0
    least = float(np.median(variance - slope * level))
    return np.array([least, slope, 0.25 * variance.min()])


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


def _by_brightness(smooth: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """Return places of pixels in order of brightness, one row for each level."""
    step = SPARSE if smooth.size > LARGE else 2
    places = np.arange(smooth.size).reshape(smooth.shape)[::step, ::step]
    places = places[weight[::step, ::step] > 0]
    order = places[np.argsort(smooth.ravel()[places], kind="stable")]
    levels = min(LEVELS, max(1, len(order) // LEVELS))
    return order[: len(order) // levels * levels].reshape(levels, -1)


def _illumination_filter(image: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """Return what turns sums over the polynomials into an illumination."""
    light = _illumination(weight.shape).reshape(len(ILLUMINATION), -1)
    counted = light * weight.ravel()
    inverse = np.linalg.pinv(counted @ light.T)
    return np.concatenate([inverse, (inverse @ (counted @ image.ravel()))[:, None]], axis=1)


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


def _illumination(shape: tuple[int, ...]) -> np.ndarray:
    """Return the polynomials of an uneven illumination, which does not move with the brain."""
    y = np.linspace(-1, 1, shape[0])[:, None]
    x = np.linspace(-1, 1, shape[1])[None, :]
    return np.stack([y**i * x**j for i, j in ILLUMINATION])
