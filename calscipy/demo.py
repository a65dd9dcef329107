"""The first example, from a recording to events, on a recording whose truth is known."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import xarray as xr

from calscipy import model, ops
from calscipy.errors import ArgumentError, TargetExistsError
from calscipy.io.paths import local_path
from calscipy.plotting import overview_figure, save_figure
from calscipy.session import ImagingSession
from calscipy.testing import GroundTruth, write_recording

TOLERANCE = 0.2  # s between a detected onset and the true one that it stands for
FUNCTIONAL = "Ch2"

# Whether numba has the loops in its cache is for numba to know: true of both, said always.
COMPILING = (
    "The first run after installing compiles calscipy's loops, for a minute or so; later ones take "
    "seconds."
)

Report = Callable[[str], None]


@dataclass(frozen=True)
class DemoResult:
    """What the demonstration wrote and found.

    Attributes
    ----------
    recording, store, figure : Path
        The PrairieView recording, the session in zarr, and the PNG.
    seconds : dict of str to float
        How long each step took.
    detected, true : int
        Onsets found, and bursts that there are.
    precision, recall : float
        Share of the detected onsets that are true, and of the true ones that were found.
    """

    recording: Path
    store: Path
    figure: Path
    seconds: dict[str, float] = field(repr=False)
    detected: int
    true: int
    precision: float
    recall: float


def run_demo(
    folder: Path,
    *,
    frames: int = 1800,
    shape: tuple[int, int] = (80, 80),
    neurons: int = 7,
    seed: int = 349,
    report: Report | None = None,
    progress: bool = False,
) -> DemoResult:
    """Write a two-channel recording, analyse it lazily, save the session, draw what was found.

    Parameters
    ----------
    folder : path
        New folder for the recording, the store and the figure.
    frames : int, default 1800
        Frames at 30 Hz, at least 300.
    shape : tuple of int, default (80, 80)
        Lines and columns.
    neurons : int, default 7
        Neurons.
    seed : int, default 349
        Seed of the recording; by default one whose neurons are well spread.
    report : callable, optional
        Takes one line of text at the start and after each step, for instance ``print``.
    progress : bool, default False
        Show a progress bar while saving.

    Returns
    -------
    DemoResult
        Paths, seconds of every step, precision and recall.

    Raises
    ------
    TargetExistsError
        If there is anything at ``folder``.
    """
    folder = local_path(folder)
    if frames < 300:
        raise ArgumentError(f"run_demo needs at least 300 frames to see bursts, got {frames}.")
    if folder.exists() or folder.is_symlink():
        raise TargetExistsError(
            f"{folder} exists already. The demonstration needs a new folder: choose another name "
            "(calscipy demo --folder NAME), or move the old one away first."
        )
    steps = _Steps(report)
    if report is not None:
        report(COMPILING)
    recording, store, figure = (
        folder / name for name in ("TSeries-001", "session.zarr", "demo.png")
    )
    with steps("write", f"two-channel recording of {frames} frames, {shape[0]} × {shape[1]} px"):
        folder.mkdir(parents=True)
        truth = write_recording(
            recording,
            frames=frames,
            shape=shape,
            channels=("Ch1", FUNCTIONAL),
            neurons=neurons,
            burst_rate=0.15,
            microns_per_pixel=1.2,
            seed=seed,
        )
    with steps("open", "its XML alone, no image"):
        # Pieces smaller than usual: the movie fits into one, which would keep one core busy.
        session = ImagingSession.open(recording)
    with steps("describe", "filters, traces, ΔF/F and events, all lazy"):
        session = analyse(session, truth)
    with steps("compute and save", "movie, traces, events and ROIs in one pass"):
        session = session.save(store, progress=progress)
    with steps("draw", "mean image, ΔF/F, onsets against the truth"):
        events = session.events.compute()
        expected = truth.events
        hits = matches(events, expected)
        detected, true = int(events.sum()), int(expected.sum())
        precision, recall = hits / max(detected, 1), hits / max(true, 1)
        image = ops.project(session.movie.sel({model.CHANNEL: FUNCTIONAL}))
        image.attrs["long_name"] = f"mean image of {FUNCTIONAL} with ROIs"
        drawn = overview_figure(image, session.rois, session.dfof, events, expected)
        save_figure(drawn, figure)
    return DemoResult(recording, store, figure, steps.seconds, detected, true, precision, recall)


def analyse(session: ImagingSession, truth: GroundTruth) -> ImagingSession:
    """Add traces, ΔF/F, events and ROIs to a session; nothing is computed."""
    rois = ops.rois_from_labels(truth.labels)
    clean = (
        session.movie.sel({model.CHANNEL: FUNCTIONAL})
        .cs.median_filter(size=3)
        .cs.gaussian_filter(sigma={"y": 1, "x": 1})
    )
    traces = clean.cs.extract(rois)
    dff = traces.cs.dfof(method="inactive_frames", window=60)
    events = dff.cs.events(method="matched")
    return session.assign(traces=traces, dfof=dff, events=events, rois=rois)


def matches(found: xr.DataArray, true: xr.DataArray, tolerance: float = TOLERANCE) -> int:
    """Count detected onsets that stand for a true one, each for one and within the tolerance."""
    count = 0
    for neuron in true[model.NEURON].values:
        detected = _onsets(found, neuron)
        for onset in _onsets(true, neuron):
            near = np.flatnonzero(np.abs(detected - onset) <= tolerance)
            if near.size:
                nearest = near[np.argmin(np.abs(detected[near] - onset))]
                detected = np.delete(detected, nearest)
                count += 1
    return count


def _onsets(events: xr.DataArray, neuron: int) -> np.ndarray:
    row = events.sel({model.NEURON: neuron})
    return row[model.TIME].values[row.values]


class _Steps:
    """Times steps and reports each when it is done."""

    def __init__(self, report: Report | None) -> None:
        self.seconds: dict[str, float] = {}
        self._report = report

    @contextmanager
    def __call__(self, name: str, text: str) -> Iterator[None]:
        started = time.perf_counter()
        yield
        self.seconds[name] = time.perf_counter() - started
        if self._report is not None:
            self._report(f"{self.seconds[name]:6.2f} s  {name}: {text}")
