"""Write synthetic recordings."""

from __future__ import annotations

import math
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import get_args

import numpy as np

from calscipy.io.paths import local_path

from ._files import FileWriter
from ._scene import Dynamics, Plan, make_scene
from ._truth import GroundTruth, describe
from ._xml import FOCUS, Master, Naming, RelativeTime

_ONE_PAGE, _MULTI_PAGE = "5.6.64.400", "5.8.64.800"


def write_recording(
    folder: str | os.PathLike[str],
    *,
    frames: int = 300,
    shape: tuple[int, int] = (64, 64),
    channels: Sequence[str] | Mapping[int, str] = ("Ch2",),
    planes: int = 1,
    bidirectional: bool = False,
    cycles: int = 1,
    neurons: int = 6,
    seed: int = 0,
    frame_rate: float = 30.0,
    microns_per_pixel: float | tuple[float, float] = 1.0,
    z_step: float = 20.0,
    snr: float = 5.0,
    peak: float = 0.4,
    bleaching: float = 0.2,
    decay: float = 0.5,
    rise: float = 0.05,
    burst_rate: float = 0.1,
    bursts: Mapping[int, Sequence[float]] | None = None,
    pages_per_file: int | None = None,
    relative_time: RelativeTime = "reset",
    version: str | None = None,
    encode: bool = False,
    missing: Iterable[int | tuple[int, int]] = (),
    truncated: Iterable[int | tuple[int, int]] = (),
    abort_after: int | None = None,
    name: str | None = None,
    line_ending: str = "\n",
) -> GroundTruth:
    r"""Write a PrairieView recording of bursting neurons and return what it contains.

    One image after the other is made and written, so memory does not grow with the number of
    pixels. The same arguments give the same bytes.

    Parameters
    ----------
    folder : path
        New or empty folder.
    frames : int, default 300
        Time points: images of a plane series, volumes if there are several planes.
    shape : tuple of int, default (64, 64)
        Lines and columns.
    channels : sequence of str or dict of int to str, default ("Ch2",)
        Names, or names by number. A sequence is numbered from 1, but for a lone "Ch2", which is
        number 2. The last channel is functional; in the others neurons bleach but do not burst.
    planes : int, default 1
        Several make one Sequence per volume, with one flyback image between volumes.
    bidirectional : bool, default False
        Acquire and list every second volume in reverse order of planes.
    cycles : int, default 1
        Sequences of a plane series, as equal as possible, with 1 s between them.
    neurons : int, default 6
        Discs, which do not touch, spread over the planes in turn.
    seed : int, default 0
        Seed of everything random.
    frame_rate : float, default 30.0
        Plane images per second; the rate of volumes is ``frame_rate / (planes + 1)``.
    microns_per_pixel : float or tuple of float, default 1.0
        Size of a pixel, in µm, or that along y and along x.
    z_step : float, default 20.0
        Distance of planes, in µm.
    snr : float, default 5.0
        Peak ΔF/F of the weakest burst over the standard deviation, due to shot noise, of one sample
        of ΔF/F averaged over the pixels of the resting neuron, before bleaching.
    peak : float, default 0.4
        Peak ΔF/F of the weakest burst.
    bleaching : float, default 0.2
        Fraction of the fluorescence, background included, that is lost by the end.
    decay, rise : float, default 0.5 and 0.05
        Time constants of the response to a spike, in seconds:
        ``(1 - exp(-t / rise)) * exp(-t / decay)``.
    burst_rate : float, default 0.1
        Bursts per second and neuron, of 3 to 5 spikes within 0.1 s. Poisson, but no onset within
        ``4 * (decay + rise) + 0.1`` seconds of another, nor in the first or last second, nor in
        the second before a pause between cycles; so there are somewhat fewer.
    bursts : dict of int to sequence of float, optional
        Seconds at which bursts of neurons begin, by label from 1: of these neurons only, and of
        them no others. For instance the answers to a stimulus.
    pages_per_file : int, optional
        Write multi-page files as PrairieView 5.7 and later does, one per cycle and channel and
        this many pages, and a ``.companion.ome``. Needs tifffile.
    relative_time : {"reset", "continuous"}, default "reset"
        Whether relativeTime starts anew in each Sequence.
    version : str, optional
        Version of PrairieView; by default 5.6.64.400, or 5.8.64.800 with multi-page files.
    encode : bool, default False
        Write `encode_value` images instead of neurons, of which there are none then.
    missing, truncated : iterable of int or of (int, int), default ()
        Time points, or pairs of time point and plane in order of depth, whose files of all channels
        are not written, or end in the middle of the pixels. One-page files only.
    abort_after : int, optional
        Planes acquired and listed in the last volume.
    name : str, optional
        Name of the recording; by default that of the folder.
    line_ending : {"\\n", "\\r\\n"}, default "\\n"
        End of the lines of the XML.

    Returns
    -------
    GroundTruth
        Activity, neurons, times and a way to make each image again.

    Raises
    ------
    FileExistsError
        If the folder is not empty.
    ValueError
        If arguments are out of range or do not go together.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> folder = Path(tempfile.mkdtemp()) / "mouse1"
    >>> truth = write_recording(folder, frames=20, neurons=3, seed=1)
    >>> truth.xml.name, len(list(folder.glob("*_Ch2_*.ome.tif")))
    ('mouse1.xml', 20)
    >>> float(truth.times[-1]), truth.dfof.dims
    (0.633333333333333, ('neuron', 'time'))
    """
    folder = local_path(folder)
    height, width = shape
    microns = np.broadcast_to(np.asarray(microns_per_pixel, float), (2,)).tolist()
    positive = {
        "frames": frames,
        "lines": height,
        "columns": width,
        "planes": planes,
        "cycles": cycles,
        "pages_per_file": 1 if pages_per_file is None else pages_per_file,
        "frame_rate": frame_rate,
        "microns_per_pixel": min(microns),
        "distance of planes": abs(z_step),
        "snr": snr,
        "peak": peak,
        "decay": decay,
        "rise": rise,
    }
    _check_numbers(positive, neurons=neurons, seed=seed, burst_rate=burst_rate, bleaching=bleaching)
    _check_choices(relative_time, line_ending)
    plan = _plan(frames, planes, 1 / frame_rate, cycles, bidirectional, abort_after)
    absent = _select("missing", missing, plan, pages_per_file)
    cut = _select("truncated", truncated, plan, pages_per_file)
    numbered = _number(channels)
    naming = Naming(_bare(name if name is not None else folder.resolve().name), pages_per_file)
    scene = make_scene(
        seed=seed,
        shape=(height, width),
        channels=numbered,
        plan=plan,
        neurons=neurons,
        dynamics=Dynamics(snr, peak, bleaching, decay, rise, burst_rate),
        bursts=_bursts(bursts or {}, neurons, plan),
        encode=encode,
    )
    master = Master(
        plan=plan,
        naming=naming,
        channels=numbered,
        shape=(height, width),
        microns=(microns[0], microns[1]),
        z_step=z_step,
        version=version or (_ONE_PAGE if pages_per_file is None else _MULTI_PAGE),
        relative_time=relative_time,
    )
    _make_empty(folder)
    FileWriter(folder, scene, master, absent, cut).write(line_ending)
    written = np.ones((frames, planes), bool)
    for key in absent | cut:
        written[key] = False
    return describe(
        scene,
        folder=folder,
        xml=folder / f"{naming.name}.xml",
        z=np.array([master.piezo(plane) for plane in range(planes)]),
        focus=FOCUS,
        written=written,
    )


def _check_numbers(
    positive: Mapping[str, float], *, bleaching: float, **zero_or_more: float
) -> None:
    for key, value in positive.items():
        if not (value > 0 and math.isfinite(value)):
            msg = f"{key} must be above zero, got {value}. Pass a positive number."
            raise ValueError(msg)
    for key, value in zero_or_more.items():
        if not (value >= 0 and math.isfinite(value)):
            msg = f"{key} must not be negative, got {value}. Pass zero or more."
            raise ValueError(msg)
    if not 0 <= bleaching < 1:
        msg = f"bleaching is a fraction, got {bleaching}. Pass 0 (none) up to, not including, 1."
        raise ValueError(msg)


def _bursts(
    bursts: Mapping[int, Sequence[float]], neurons: int, plan: Plan
) -> dict[int, list[float]]:
    """Onsets by row of the neuron, from 0."""
    stop = float(plan.times[-1])
    for label, onsets in bursts.items():
        if not 1 <= label <= neurons:
            msg = f"bursts names neuron {label}, but neurons count from 1 to {neurons}."
            raise ValueError(msg)
        if not all(0 <= onset <= stop for onset in onsets):
            msg = f"bursts of neuron {label} must lie within 0 to {stop:.6g} s, got {onsets}."
            raise ValueError(msg)
    return {label - 1: sorted(map(float, onsets)) for label, onsets in bursts.items()}


def _check_choices(relative_time: str, line_ending: str) -> None:
    if relative_time not in get_args(RelativeTime):
        msg = f"unknown relative_time {relative_time!r}. Choose 'reset' or 'continuous'."
        raise ValueError(msg)
    if line_ending not in ("\n", "\r\n"):
        msg = f"unknown line_ending {line_ending!r}. Choose '\\n' or '\\r\\n'."
        raise ValueError(msg)


def _plan(
    frames: int,
    planes: int,
    period: float,
    cycles: int,
    bidirectional: bool,
    abort_after: int | None,
) -> Plan:
    if planes > 1 and cycles > 1:
        msg = f"each volume is a cycle, so cycles={cycles} means nothing here. Leave it out."
        raise ValueError(msg)
    if planes == 1 and (bidirectional or abort_after is not None):
        msg = "bidirectional and abort_after are for volumes. Leave them out, or raise planes."
        raise ValueError(msg)
    if cycles > frames:
        msg = f"{frames} frames do not fill {cycles} cycles. Lower cycles or raise frames."
        raise ValueError(msg)
    if abort_after is not None and not 1 <= abort_after <= planes:
        msg = f"abort_after counts planes, got {abort_after}. Pass 1 to {planes}."
        raise ValueError(msg)
    sizes = tuple(frames // cycles + (i < frames % cycles) for i in range(cycles))
    return Plan(frames, planes, period, () if planes > 1 else sizes, bidirectional, abort_after)


def _select(
    what: str, chosen: Iterable[int | tuple[int, int]], plan: Plan, pages_per_file: int | None
) -> set[tuple[int, int]]:
    """Pairs of frame and plane."""
    pairs: set[tuple[int, int]] = set()
    for item in chosen:
        if isinstance(item, tuple):
            pairs.add(item)
        else:
            pairs.update((int(item), plane) for plane in range(plan.planes))
    if pairs and pages_per_file is not None:
        msg = f"{what} is about one-page files. Leave out pages_per_file, or delete whole files."
        raise ValueError(msg)
    for frame, plane in pairs:
        if not (0 <= frame < plan.frames and 0 <= plane < plan.planes):
            msg = (
                f"{what} names frame {frame} of plane {plane}, which the recording lacks. Count "
                f"from 0: there are {plan.frames} frames and {plan.planes} planes."
            )
            raise ValueError(msg)
    return pairs


def _number(channels: Sequence[str] | Mapping[int, str]) -> dict[int, str]:
    if isinstance(channels, str) or not channels:
        msg = f"channels needs names, got {channels!r}. Pass a tuple such as ('Ch1', 'Ch2')."
        raise ValueError(msg)
    if isinstance(channels, Mapping):
        numbered = dict(channels)
    else:
        first = 2 if tuple(channels) == ("Ch2",) else 1
        numbered = dict(enumerate(channels, first))
    if not all(name.isprintable() for name in numbered.values()):
        msg = f"channel names must be printable, got {list(numbered.values())}. Rename them."
        raise ValueError(msg)
    if not all(1 <= number <= 9 for number in numbered):
        msg = f"channel numbers have one digit, got {list(numbered)}. Number them from 1 to 9."
        raise ValueError(msg)
    return numbered


def _bare(name: str) -> str:
    if not name or name != name.strip() or any(c in "/\\" or ord(c) < 32 for c in name):
        msg = f"name must be a bare file name, got {name!r}. Leave out folders and line ends."
        raise ValueError(msg)
    return name


def _make_empty(folder: Path) -> None:
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        msg = f"{folder} exists and is not an empty folder. Choose a new folder or delete it."
        raise FileExistsError(msg)
    folder.mkdir(parents=True, exist_ok=True)
