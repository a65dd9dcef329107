"""What a cycle holds: planes, volumes, line scans, or no images at all."""

from __future__ import annotations

import itertools
from collections.abc import Sequence as Listing

from calscipy.errors import ArgumentError, CalscipyWarning, RecordingError, first_few, warn
from calscipy.io.prairieview.scan_records import Scan, Sequence

PLANE_TYPES = {
    "TSeries Timed Element",
    "TSeries Brightness Over Time Element",
    "BrightnessOverTime",
    "Single",
}
VOLUME_WORDS = ("ZSeries", "AtlasVolume")
LINE_TYPE = "Linescan"
# Cycles of these types have no images of their own.
SIDE_TYPES = {"VoltageRecording", "TSeries Voltage Recording", "MarkPoints", "TSeries MarkPoints"}
SIDE_ELEMENTS = ("VoltageRecording", "VoltageOutput", "MarkPoints")


def choose(scan: Scan, cycles: Listing[int] | None) -> list[Sequence]:
    """Return the sequences of some cycles, all by default.

    Raises
    ------
    ArgumentError
        If there are no images in one of the cycles.
    RecordingError
        If the recording holds nothing.
    """
    if cycles is not None:
        known = [sequence.cycle for sequence in scan.sequences if sequence.frames]
        unknown = sorted(set(cycles) - set(known))
        if unknown:
            raise ArgumentError(
                f"{scan.path}: no images in cycles {first_few(unknown)}; "
                f"cycles with images: {first_few(known, 20)}."
            )
        return [sequence for sequence in scan.sequences if sequence.cycle in set(cycles)]
    if not any(sequence.frames or is_side(sequence) for sequence in scan.sequences):
        raise RecordingError(
            f"{scan.path}: the XML lists no images (Sequence types: "
            f"{sorted({s.type for s in scan.sequences}) or 'none'}). "
            "calscipy opens recordings that hold images, analog signals or photostimulation."
        )
    return list(scan.sequences)


def is_side(sequence: Sequence) -> bool:
    """Tell whether a cycle is about analog signals or photostimulation."""
    return sequence.type in SIDE_TYPES or bool(sequence.elements(*SIDE_ELEMENTS))


def is_line_scan(sequence: Sequence) -> bool:
    """Tell whether the images of a cycle are lines scanned over and over."""
    return sequence.type == LINE_TYPE or bool(sequence.elements("PVLinescanDefinition"))


def is_volume(scan: Scan, sequence: Sequence) -> bool:
    """Tell whether the frames of a cycle are the planes of one volume.

    By its type; where that is unknown, by a Z device that moves at every frame.
    """
    if any(word in sequence.type for word in VOLUME_WORDS):
        return True
    known = sequence.type in PLANE_TYPES or is_line_scan(sequence)
    return not known and _moves_at_every_frame(scan, sequence)


def _moves_at_every_frame(scan: Scan, sequence: Sequence) -> bool:
    if len(sequence.frames) < 2:
        return False
    places = [
        tuple(
            scan.lookup(sequence, frame, "positionCurrent", "ZAxis", device)
            for device in z_devices(scan)
        )
        for frame in sequence.frames
    ]
    return all(a != b for a, b in itertools.pairwise(places))


def z_devices(scan: Scan) -> list[str]:
    """Return the subindices of the Z devices, from the recording's state."""
    position = scan.state.get("positionCurrent")
    axis = position.get("ZAxis") if isinstance(position, dict) else None
    return list(axis) if isinstance(axis, dict) else []


def is_volumetric(scan: Scan, sequences: list[Sequence]) -> bool:
    """Tell whether sequences with frames are volumes, and warn of unknown types.

    Raises
    ------
    RecordingError
        If some are volumes and some are not.
    """
    volumes = [s for s in sequences if is_volume(scan, s)]
    if 0 < len(volumes) < len(sequences):
        kinds = ", ".join(f"{s.cycle} {s.type!r}" for s in sequences[:6])
        raise RecordingError(
            f"{scan.path}: the recording mixes volumes and plane series (cycles {kinds}), which "
            "do not fit into one movie. Open them one kind at a time with cycles=[...]."
        )
    unknown = sorted(
        {s.type for s in sequences if not any(word in s.type for word in VOLUME_WORDS)}
        - PLANE_TYPES
    )
    if unknown:
        reason = "volumes, since Z moves at every frame" if volumes else "a plane series"
        warn(
            f"{scan.path}: unknown Sequence types {first_few(unknown)}; their images are read "
            f"as {reason}, in the order of the XML.",
            CalscipyWarning,
        )
    return bool(volumes)
