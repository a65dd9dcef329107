"""The shift of one frame against a template, from whole pixels to fractions of a pixel.

Light that was not compared is precision lost: a margin wide enough for the largest shift is most of
a small image. So a template is prepared for several windows, and a frame is compared in the largest
one that it holds. Residuals are not weighted by their shot noise: on synthetic frames that lowered
the error by a seventh at rest, but raised it several times where cells were active.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from calscipy.errors import ArgumentError
from calscipy.kernels.compiled import frozen
from calscipy.kernels.moving_loops import filter_at, residuals, smooth_residuals, weighted_sums

__all__ = ["MARGIN", "Window", "refined", "window", "window_limits"]

MARGIN = 4  # pixels beyond the integer search that the refinement and the cubic kernel reach
REFINED = 2  # pixels from the integer peak that the refinement may go
WIDER = 1.2  # pixels of a window over those of the next smaller one
ROUNDS = 10
LEAST_SQUARES = 3  # rounds of them before the residuals are weighted
NOISE_ROUNDS = 3  # of the weighted ones; then the noise is known
PRECISE = 1e-3  # pixels; the noise of a shift is ten times larger
ILLUMINATION = ((0, 0), (0, 1), (0, 2), (1, 0), (1, 1), (2, 0))  # powers of y and x
LEVELS = 8  # of brightness, each with a noise of its own
LARGE, SPARSE = 200**2, 4  # pixels of a window in which every fourth tells the noise
MISFIT = 0.02  # of the template's standard deviation: residuals as small are no outliers


@dataclass(frozen=True)
class Window:
    """The part of a template that lies inside of every frame that moved by ``limit`` or less.

    Attributes
    ----------
    limit : int
        Largest integer shift. The part begins ``limit + MARGIN`` pixels from the edges of the
        image.
    filters : ndarray of float32, shape (4, y, x)
        Gain, y shift, x shift, and the search filter.
    norm : float
        Length of the search filter.
    exact : ndarray of float32, shape (y + 2, x + 2)
        The template, and one pixel around it.
    weight : ndarray of float32, shape (y, x)
        0 where pixels are left out.
    light : ndarray of float64, shape (6, 7)
        What gives the illumination: the inverse of its normal equations, and that of the template.
    order : ndarray of int, shape (levels, pixels)
        Every second or fourth pixel along y and x that counts, in order of brightness.
    brightness : ndarray of float64, shape (levels,)
        Of the template in these.
    """

    limit: int
    filters: np.ndarray
    norm: float
    exact: np.ndarray
    weight: np.ndarray
    light: np.ndarray
    order: np.ndarray
    brightness: np.ndarray


def window_limits(shape: tuple[int, int], largest: int) -> list[int]:
    """Return the limits of windows, from the largest down, each of a fifth more pixels at least."""
    found = [largest]
    for limit in range(largest - 1, -1, -1):
        if _pixels(shape, limit) >= WIDER * _pixels(shape, found[-1]):
            found.append(limit)
    return found


def window(image: np.ndarray, smooth: np.ndarray, weight: np.ndarray, limit: int) -> Window:
    """Prepare a window of a template.

    Parameters
    ----------
    image, smooth, weight : ndarray of float64, shape (y, x)
        The template, the smoothed one, and 0 where pixels are left out, of the whole image.
    limit : int
        See `Window`.

    Raises
    ------
    ArgumentError
        If the window has no structure.
    """
    edge = limit + MARGIN
    core, around = (slice(edge, -edge),) * 2, (slice(edge - 1, 1 - edge),) * 2
    filters, norm = _filters(
        [part[core] for part in (image, *np.gradient(image))],
        [part[core] for part in (smooth, *np.gradient(smooth))],
        weight[core],
    )
    order = _by_brightness(smooth[core], weight[core])
    return Window(
        limit=limit,
        filters=filters.astype(np.float32),
        norm=norm,
        exact=image[around].astype(np.float32),
        weight=weight[core].astype(np.float32),
        light=_illumination_filter(image[core], weight[core]),
        order=order,
        brightness=smooth[core].ravel()[order].mean(axis=1),
    )


def refined(image: np.ndarray, calm: np.ndarray, start: np.ndarray, template: Window) -> np.ndarray:
    """Refine an integer shift, see `calscipy.kernels.registration.rigid_shifts`.

    Parameters
    ----------
    image, calm : ndarray of float32, shape (y, x)
        The frame, and what to begin with: the frame without what is brighter than the template.
    start : ndarray of float64, shape (2,)
        Shift along y and x, of at most ``template.limit``; the refined one is at most 2 pixels off.
    template : Window
        What to compare.

    Returns
    -------
    ndarray of float64, shape (2,)
        Shift along y and x in pixels.
    """
    filters, totals = frozen(template.filters), np.empty(4)
    place = start.copy()
    for _ in range(LEAST_SQUARES):
        filter_at(calm, place[0], place[1], filters, MARGIN + template.limit, totals)
        if not totals[0] > 0:  # no trace of the template: only the search can be trusted
            return place
        place, step = _stepped(place, totals[1:3] / totals[0], start)
        if step < PRECISE:
            break
    return _robust(image, calm, place, start, template)


def _pixels(shape: tuple[int, int], limit: int) -> int:
    return (shape[0] - 2 * (limit + MARGIN)) * (shape[1] - 2 * (limit + MARGIN))


def _stepped(place: np.ndarray, step: np.ndarray, start: np.ndarray) -> tuple[np.ndarray, float]:
    """Make a step that does not lead too far from the start, and return its length as well."""
    after = np.clip(place - np.clip(step, -1, 1), start - REFINED, start + REFINED)
    return after, float(np.abs(after - place).max())


def _robust(
    image: np.ndarray, calm: np.ndarray, place: np.ndarray, start: np.ndarray, template: Window
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


def _noise(smooth: np.ndarray, template: Window) -> np.ndarray:
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


def _illumination(shape: tuple[int, ...]) -> np.ndarray:
    """Return the polynomials of an uneven illumination, which does not move with the brain."""
    y = np.linspace(-1, 1, shape[0])[:, None]
    x = np.linspace(-1, 1, shape[1])[None, :]
    return np.stack([y**i * x**j for i, j in ILLUMINATION])
