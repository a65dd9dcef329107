"""Timing, neurons, activity and pixels of a synthetic recording."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from scipy.ndimage import distance_transform_edt, gaussian_filter

Floats = npt.NDArray[np.float64]
Pixels = npt.NDArray[np.uint16]

_BURST = 0.1  # s, length of a burst
_BACKGROUND = 0.25  # photons of the background relative to those of a neuron
_GAP = 1.0  # s between two cycles
_BRIGHT = 8191.0  # counts that the brightest pixel may reach: 13 bits, like the real thing


class Image(NamedTuple):
    """One acquired plane image: where it is listed, what it shows and when."""

    cycle: int  # 1-based, as in the XML
    nth: int  # 1-based within the cycle, in order of acquisition
    frame: int  # 0-based time point
    plane: int  # 0-based, in order of depth
    time: float  # s from the first image


@dataclass(frozen=True)
class Plan:
    """When each plane image is acquired and in which Sequence it is listed."""

    frames: int
    planes: int
    period: float
    sizes: tuple[int, ...]  # time points of each cycle; plane series only
    bidirectional: bool
    abort_after: int | None

    @cached_property
    def times(self) -> Floats:
        """Seconds at which each time point begins."""
        if self.planes > 1:  # the piezo flies back for one image after each volume
            return np.arange(self.frames, dtype=float) * ((self.planes + 1) * self.period)
        cycle = np.repeat(np.arange(len(self.sizes)), self.sizes)
        return np.arange(self.frames, dtype=float) * self.period + cycle * _GAP

    @cached_property
    def breaks(self) -> list[tuple[float, float]]:
        """Pauses between cycles: seconds of the last image before and the first image after."""
        ends = np.cumsum(self.sizes)[:-1]
        return [(float(self.times[e - 1]), float(self.times[e])) for e in ends]

    @property
    def cycles(self) -> int:
        """Number of Sequences."""
        return self.frames if self.planes > 1 else len(self.sizes)

    def order(self, frame: int) -> range:
        """Planes in order of acquisition."""
        order = range(self.planes)
        return order[::-1] if self.bidirectional and frame % 2 else order

    def plane_times(self) -> Floats:
        """Seconds, (frames, planes), as planned, whether or not the recording was aborted."""
        rank = np.array([self.order(0), self.order(1)])  # a reversed order is its own inverse
        return self.times[:, None] + rank[np.arange(self.frames) % 2] * self.period

    def acquired(self) -> npt.NDArray[np.bool_]:
        """Which (frame, plane) the recording lists."""
        listed = np.ones((self.frames, self.planes), bool)
        if self.abort_after is not None:
            last = self.frames - 1
            listed[last, list(self.order(last)[self.abort_after :])] = False
        return listed

    def images(self, cycle: int) -> Iterator[Image]:
        """Images of a 1-based cycle in order of acquisition."""
        if self.planes == 1:
            first = sum(self.sizes[: cycle - 1])
            for i in range(self.sizes[cycle - 1]):
                yield Image(cycle, i + 1, first + i, 0, float(self.times[first + i]))
            return
        frame = cycle - 1
        stop = self.abort_after if cycle == self.frames else None
        for i, plane in enumerate(self.order(frame)[:stop]):
            yield Image(cycle, i + 1, frame, plane, float(self.times[frame]) + i * self.period)


@dataclass(frozen=True)
class Dynamics:
    """How neurons fire and how bright and noisy they are."""

    snr: float
    peak: float  # ΔF/F that every burst reaches
    bleaching: float
    decay: float
    rise: float
    burst_rate: float

    def transient(self, t: Floats) -> Floats:
        """Response to one spike at time zero, peak 1."""
        top = self.rise * math.log1p(self.decay / self.rise)
        peak = -math.expm1(-top / self.rise) * math.exp(-top / self.decay)
        return -np.expm1(-t / self.rise) * np.exp(-t / self.decay) / peak

    @property
    def gap(self) -> float:
        """Seconds between onsets of bursts, so that each stands alone."""
        return 4 * self.decay + 4 * self.rise + _BURST

    def onsets(
        self, rng: np.random.Generator, stop: float, breaks: list[tuple[float, float]]
    ) -> list[float]:
        """Burst onsets: none in the first or last second, nor in the second before a pause."""
        found: list[float] = []
        if self.burst_rate == 0:
            return found
        t = 1 + rng.exponential(1 / self.burst_rate)
        while t < stop - 1:
            if not any(end - 1 <= t <= start for end, start in breaks):
                found.append(t)
                t += self.gap
            t += rng.exponential(1 / self.burst_rate)
        return found

    def fire(
        self, rng: np.random.Generator, times: Floats, onsets: list[float]
    ) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.bool_], Floats, list[float]]:
        """Spikes, burst onsets, unscaled ΔF/F and the peak of each burst for one neuron."""
        spikes = np.zeros(times.size, np.int64)
        events = np.zeros(times.size, bool)
        trace = np.zeros(times.size)
        for onset in onsets:
            events[np.searchsorted(times, onset)] = True
            for spike in (onset, *(onset + rng.uniform(0, _BURST, rng.integers(2, 5)))):
                first, last = np.searchsorted(times, (spike, spike + 16 * self.decay))
                spikes[first] += 1
                trace[first:last] += self.transient(times[first:last] - spike)
        spans = [np.searchsorted(times, (onset, onset + self.gap)) for onset in onsets]
        return spikes, events, trace, [float(trace[a:b].max(initial=0)) for a, b in spans]


@dataclass(frozen=True, eq=False)
class Scene:
    """Everything needed to make any image of a recording, in any order."""

    seed: int
    shape: tuple[int, int]
    channels: dict[int, str]
    plan: Plan
    encode: bool
    labels: npt.NDArray[np.int32]  # (plane, y, x)
    photons: Floats  # (plane, y, x), expected per pixel before bleaching and activity
    dfof: Floats  # (neuron, frame)
    peak: float  # of the weakest burst in dfof
    bleach: Floats  # (frame, plane)
    gain: int  # counts per photon
    spikes: npt.NDArray[np.int64]
    events: npt.NDArray[np.bool_]
    f0: Floats

    def pixels(self, frame: int, plane: int, channel: int) -> Pixels:
        """Image of a channel, always the same for the same seed."""
        if self.encode:
            return encode_value(self.shape, frame=frame, plane=plane, channel=channel)
        expected = self.photons[plane] * self.bleach[frame, plane]
        if channel == list(self.channels)[-1]:
            brightness = np.concatenate(([1.0], 1 + self.dfof[:, frame]))
            expected = expected * brightness[self.labels[plane]]
        rng = np.random.default_rng((self.seed, frame, channel, plane))
        counts: npt.NDArray[np.int64] = rng.poisson(expected) * self.gain
        if counts.max() > 65535:  # uint16 would wrap silently; the gain leaves ten sigma
            msg = f"image {frame} of plane {plane} exceeds 16 bit. Report this as a bug."
            raise OverflowError(msg)
        return counts.astype(np.uint16)


def make_scene(
    *,
    seed: int,
    shape: tuple[int, int],
    channels: dict[int, str],
    plan: Plan,
    neurons: int,
    dynamics: Dynamics,
    bursts: dict[int, list[float]],
    encode: bool,
) -> Scene:
    """Place neurons, let them fire and choose photon rates for the wanted signal to noise."""
    neurons = 0 if encode else neurons
    rng = np.random.default_rng((seed, 20231))
    labels = _place(rng, neurons, plan.planes, shape)
    planes = np.arange(neurons) % plan.planes
    times = plan.plane_times()
    duration = max(float(times[-1].max()), plan.period)
    bleach = (1 - dynamics.bleaching) ** (times / duration)
    spikes, events, dfof = _activity(rng, dynamics, times[:, planes].T, plan.breaks, bursts)
    area = np.bincount(labels.ravel(), minlength=neurons + 1)[1:]
    rate = (dynamics.snr / dynamics.peak) ** 2 / area  # photons per pixel: the ROI sum has snr**2
    background = _BACKGROUND * float(rate.mean()) if neurons else 1.0
    photons = np.concatenate(([background], rate))
    expected = photons[labels] * _texture(rng, labels)
    brightest = float(expected.max(initial=0)) * (1 + float(np.max(dfof, initial=0)))
    bound = brightest + 10 * math.sqrt(brightest) + 30
    gain = max(1, int(_BRIGHT / bound))
    if bound > 65535:
        msg = (
            f"snr {dynamics.snr} needs {brightest:.0f} photons in one pixel, more than 16 bit "
            f"hold. Lower snr to about {dynamics.snr * math.sqrt(5e4 / brightest):.0f}."
        )
        raise ValueError(msg)
    return Scene(
        seed=seed,
        shape=shape,
        channels=channels,
        plan=plan,
        encode=encode,
        labels=labels,
        photons=expected,
        dfof=dfof,
        peak=dynamics.peak,
        bleach=bleach,
        gain=gain,
        spikes=spikes,
        events=events,
        f0=gain * rate[:, None] * bleach[:, planes].T,
    )


def _texture(rng: np.random.Generator, labels: npt.NDArray[np.int32]) -> Floats:
    """Uneven brightness of cells and background, of mean 1 over each of them in each plane."""
    texture = np.empty(labels.shape)
    for plane, found in zip(labels, texture, strict=True):
        cloud = gaussian_filter(rng.normal(size=plane.shape), 2.5, mode="wrap")
        cloud /= max(cloud.std(), np.abs(cloud).max(initial=1e-300))
        depth = np.minimum(distance_transform_edt(plane), 3)
        found[:] = np.exp(0.6 * cloud) * (1 + 0.3 * depth)
        sums = np.bincount(plane.ravel(), found.ravel())
        found /= (sums / np.maximum(np.bincount(plane.ravel()), 1))[plane]
    return texture


def _place(
    rng: np.random.Generator, neurons: int, planes: int, shape: tuple[int, int]
) -> npt.NDArray[np.int32]:
    """Discs that do not touch, neuron k on plane k % planes, in random cells of a grid."""
    labels = np.zeros((planes, *shape), np.int32)
    wanted = -(-neurons // planes)
    height, width = shape
    for radius in range(min(max(min(shape) // 20, 1), 6), -1, -1):
        cell = 2 * radius + 2
        rows, columns = height // cell, width // cell
        if rows * columns >= wanted:
            break
    else:
        msg = (
            f"{wanted} neurons do not fit into a plane of shape {shape}. "
            "Lower neurons, or raise shape or planes."
        )
        raise ValueError(msg)
    y, x = np.ogrid[:height, :width]
    slack = np.array([height // max(rows, 1) - cell, width // max(columns, 1) - cell])
    for plane in range(planes):
        cells = rng.permutation(rows * columns)
        for k, place in zip(range(plane, neurons, planes), cells, strict=False):
            step = cell + slack
            corner = np.array(divmod(int(place), columns)) * step + rng.integers(0, slack + 1)
            cy, cx = corner + radius
            labels[plane, (y - cy) ** 2 + (x - cx) ** 2 <= (radius + 0.3) ** 2] = k + 1
    return labels


def _activity(
    rng: np.random.Generator,
    dynamics: Dynamics,
    times: Floats,
    breaks: list[tuple[float, float]],
    bursts: dict[int, list[float]],
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.bool_], Floats]:
    """Spikes, burst onsets and ΔF/F, (neuron, time); the weakest burst has the peak.

    Rows of ``bursts`` begin there, the others by chance.
    """
    if times.shape[0] == 0:
        empty = np.zeros(times.shape)
        return empty.astype(np.int64), empty.astype(bool), empty
    fired = []
    for at, row in enumerate(times):
        by_chance = dynamics.onsets(rng, float(row[-1]), breaks)
        fired.append(dynamics.fire(rng, row, bursts.get(at, by_chance)))
    peaks = [peak for one in fired for peak in one[3]]
    least = min(peaks, default=1.0)
    if least < 0.2:
        msg = (
            f"images come too rarely to see bursts that decay within {dynamics.decay} s. "
            "Raise frame_rate or decay, or set burst_rate=0."
        )
        raise ValueError(msg)
    spikes, events, traces, _ = zip(*fired, strict=True)
    return np.stack(spikes), np.stack(events), np.stack(traces) * (dynamics.peak / least)


def encode_value(
    shape: tuple[int, int], *, frame: int = 0, plane: int = 0, channel: int = 0
) -> Pixels:
    """Image whose pixels say which frame, plane, channel and position they belong to.

    The value is ``(frame * 7 + plane * 1000 + channel * 10000 + y * 3 + x) % 65536``, so an image
    that is swapped, flipped, transposed or cropped differs from the expected one.

    Parameters
    ----------
    shape : tuple of int
        Lines and columns.
    frame : int, default 0
        Time point, from 0.
    plane : int, default 0
        Plane in order of depth, from 0.
    channel : int, default 0
        Channel number as in the file name, from 1 in real recordings.

    Returns
    -------
    ndarray of uint16
        The image, ``shape``.

    Examples
    --------
    >>> encode_value((2, 3), frame=1, channel=2).tolist()
    [[20007, 20008, 20009], [20010, 20011, 20012]]
    """
    offset = (frame * 7 + plane * 1000 + channel * 10000) % 65536
    return np.add(_grid(*shape), np.uint16(offset), dtype=np.uint16)  # wraps, as documented


@lru_cache(maxsize=8)
def _grid(height: int, width: int) -> Pixels:
    grid: Pixels = (np.arange(height)[:, None] * 3 + np.arange(width)).astype(np.uint16)
    grid.flags.writeable = False
    return grid
