"""A photostimulation experiment: what the microscope records when a protocol is played."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from calscipy.photostimulation import Protocol, write_mark_points

from ._scan import write_recording
from ._truth import GroundTruth
from ._voltage import link_side_file, write_voltage
from ._xml import START

_AFTER = 4.0  # s that the recording goes on after the last stimulus
_BEFORE = 0.05  # s that the voltage recording starts before the first frame
_PULSE = 0.005  # s of a pulse of the frame trigger


def play_protocol(
    protocol: Protocol,
    folder: str | os.PathLike[str],
    *,
    answering: Iterable[int],
    latency: float = 0.02,
    voltage_rate: float = 5000.0,
    **recording: Any,
) -> GroundTruth:
    """Write the recording that a protocol makes: cells that answer, mark points and voltages.

    Cells that answer burst after each of their own stimuli, the others by chance. The voltage
    recording holds the frame trigger (5 V for 5 ms at the start of each frame), the power of the
    uncaging laser (1 V while a target is lit) and a running speed in cm/s.

    Parameters
    ----------
    protocol : Protocol
        With software timing, its targets labelled by the neurons of the recording, from 1.
    folder : path
        New or empty folder.
    answering : iterable of int
        Labels of the targets that answer.
    latency : float, default 0.02
        Time between a stimulus and the answer, in s.
    voltage_rate : float, default 5000
        Samples of the voltage recording in a second.
    **recording
        As for `write_recording`; its ``shape`` must be that of the protocol's images.

    Returns
    -------
    GroundTruth
        What the recording contains.
    """
    folder = Path(folder)
    stimuli = protocol.stimuli()
    rate = recording.get("frame_rate", 30.0)
    bursts = {
        label: (stimuli.onset.values[stimuli.target_label.values == label] + latency).tolist()
        for label in answering
    }
    frames = int(rate * (float(stimuli.onset.max()) + _AFTER))
    recording = {"frames": frames, "shape": protocol.calibration.image_shape, **recording}
    truth = write_recording(folder, bursts=bursts, **recording)
    name = f"{folder.name}_Cycle00001_MarkPoints.xml"
    write_mark_points(_acquired(protocol), folder / name)
    link_side_file(truth.xml, "MarkPoints", {"filename": name})

    starts = truth.times.values
    seconds = np.arange(-_BEFORE, starts[-1] + 1 / rate, 1 / voltage_rate)
    begun = np.searchsorted(starts, seconds + 1e-9, side="right")
    since = np.where(begun > 0, seconds - starts[np.maximum(begun, 1) - 1], np.inf)
    ends = stimuli.onset.values + stimuli.duration.values
    lit = np.searchsorted(stimuli.onset.values, seconds, side="right") > np.searchsorted(
        np.sort(ends), seconds, side="right"
    )
    signals = {
        "frame trigger": 5.0 * (since < _PULSE),
        "uncaging": 1.0 * lit,
        "running": 10 + 8 * np.sin(2 * np.pi * seconds / 20),
    }
    units = {"running": ("cm/s", 10.0, 1.0)}
    table = write_voltage(
        folder,
        signals,
        rate=voltage_rate,
        base=folder.name,
        units=units,
        start=START - _BEFORE,
    )
    link_side_file(truth.xml, "VoltageRecording", table.link)
    return truth


def _acquired(protocol: Protocol) -> Any:
    """Return the series as PrairieView writes it beside a recording: places in the image."""
    shape, spirals = protocol.calibration.image_shape, protocol.spirals()
    marks = []
    for mark in protocol.series.marks:
        visits = [
            visit.replace(
                targets=[spirals[at].to_point(shape, index=at) for at in visit.indices or ()]
            )
            for visit in mark.points
        ]
        marks.append(mark.replace(points=visits))
    return protocol.series.replace(marks=marks, saved=False)
