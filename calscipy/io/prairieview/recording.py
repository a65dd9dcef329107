"""Which image is where and when: a scan and a folder listing, sorted into tables."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

import numpy as np

from calscipy.errors import RecordingError, first_few
from calscipy.io.chunks import MAX_PIXELS
from calscipy.io.prairieview.frames import probe_shape
from calscipy.io.prairieview.kinds import is_volume, is_volumetric, z_devices
from calscipy.io.prairieview.scan_records import Entry, Frame, Scan, Sequence


class FileTable(NamedTuple):
    """Which file holds the image of a frame, a channel and a plane."""

    names: np.ndarray  # (frames, channel, plane), bytes
    pages: np.ndarray  # zero-based
    channels: tuple[int, ...]
    channel_names: tuple[str, ...]


@dataclass(frozen=True)
class Images:
    """The images of a recording by frame, channel and plane."""

    frames: tuple[tuple[Frame | None, ...], ...]  # [frames][plane]
    sequences: tuple[Sequence, ...]  # one for each frame

    @cached_property
    def files(self) -> FileTable:
        """The files, for those who want more than times."""
        return _tabulate(self.frames)

    @property
    def names(self) -> np.ndarray:
        """Names of files as bytes, shape (frames, channel, plane)."""
        return self.files.names

    @property
    def pages(self) -> np.ndarray:
        """Pages in these files, from 0, shape (frames, channel, plane)."""
        return self.files.pages

    @property
    def channels(self) -> tuple[int, ...]:
        """Numbers of the channels."""
        return self.files.channels

    @property
    def channel_names(self) -> tuple[str, ...]:
        """Names of the channels, each another one."""
        return self.files.channel_names

    @property
    def planes(self) -> int:
        """Planes of one volume; 1 for a plane series."""
        return len(self.frames[0])

    def each(self, value: Callable[[Sequence, Frame], float]) -> np.ndarray:
        """Evaluate a function of every acquired plane, shape (frames, plane); NaN elsewhere."""
        return np.array(
            [
                [np.nan if frame is None else value(sequence, frame) for frame in row]
                for sequence, row in zip(self.sequences, self.frames, strict=True)
            ],
            dtype=np.float64,
        )

    @cached_property
    def changed(self) -> frozenset[str]:
        """Keys of the state that some frame or sequence sets anew."""
        states = [sequence.state for sequence in {id(s): s for s in self.sequences}.values()]
        states += [f.state for row in self.frames for f in row if f is not None and f.state]
        return frozenset().union(*states)


def arrange(scan: Scan, sequences: list[Sequence]) -> Images:
    """Sort the frames of sequences of one kind into frames, channels and planes."""
    if not is_volumetric(scan, sequences):
        return arrange_single(sequences)
    planes = max(len(sequence.frames) for sequence in sequences)
    reverse = _reversed_cycles(scan)
    rows = []
    for sequence in sequences:
        row: tuple[Frame | None, ...] = sequence.frames
        row += (None,) * (planes - len(row))
        rows.append(row[::-1] if sequence.cycle in reverse else row)
    return Images(tuple(rows), tuple(sequences))


def arrange_single(sequences: list[Sequence]) -> Images:
    """Make a row of every frame: a frame of a plane series, or a cycle of a line scan."""
    return Images(
        tuple((frame,) for sequence in sequences for frame in sequence.frames),
        tuple(sequence for sequence in sequences for _ in sequence.frames),
    )


def _reversed_cycles(scan: Scan) -> set[int]:
    """Return the cycles of the volumes that were acquired in the other direction.

    From the Z positions where the frames carry them, else every second one. Counted from the
    first volume of the recording, so that a selection of cycles has the same planes.
    """
    volumes = [s for s in scan.sequences if s.frames and is_volume(scan, s)]
    if not any(volume.bidirectional_z for volume in volumes):
        return set()
    directions = [_direction(scan, volume) for volume in volumes]
    if all(directions):
        return {
            volume.cycle
            for volume, direction in zip(volumes, directions, strict=True)
            if direction != directions[0]
        }
    return {volume.cycle for volume in volumes[1::2]}


def _direction(scan: Scan, sequence: Sequence) -> int:
    """Sign of the Z device that moves most from the first to the last frame; 0 if none does."""
    ends = [
        [
            number(scan.lookup(sequence, frame, "positionCurrent", "ZAxis", device))
            for device in z_devices(scan)
        ]
        for frame in (sequence.frames[0], sequence.frames[-1])
    ]
    way = np.nan_to_num(np.diff(np.array(ends), axis=0)).ravel()
    return int(np.sign(way[np.argmax(np.abs(way))])) if way.size else 0


def _tabulate(rows: tuple[tuple[Frame | None, ...], ...]) -> FileTable:
    """Make the tables of rows of frames, one row for each time point or cycle."""
    labels: dict[int, str] = {}
    found: dict[tuple[int, int, int], tuple[str, int]] = {}
    for t, row in enumerate(rows):
        for p, frame in enumerate(row):
            for channel, label, name, page, _ in frame.files if frame else ():
                labels.setdefault(channel, label)
                found[t, channel, p] = name, page
    channels = sorted(labels)
    shape = (len(rows), len(channels), len(rows[0]))
    where = np.array(list(found), dtype=np.int64).reshape(-1, 3)
    where[:, 1] = np.searchsorted(channels, where[:, 1])
    encoded = np.array([name.encode() for name, _ in found.values()], dtype=np.bytes_)
    names = np.zeros(shape, dtype=encoded.dtype if found else "S1")
    pages = np.zeros(shape, dtype=np.int32)
    names[tuple(where.T)] = encoded
    pages[tuple(where.T)] = [page - 1 for _, page in found.values()]
    repeated = {name for name, count in Counter(labels.values()).items() if count > 1}
    return FileTable(
        names=names,
        pages=pages,
        channels=tuple(channels),
        channel_names=tuple(
            f"{labels[c]} ({c})" if labels[c] in repeated else labels[c] for c in channels
        ),
    )


def frame_shape(scan: Scan, images: Images, folder: Path) -> tuple[int, int]:
    """Return height and width, the same in every cycle.

    From the XML; from the first file that exists if the XML does not say.
    """
    found: dict[tuple[int, int], list[int]] = {}
    for at, sequence in enumerate(images.sequences):
        if at and sequence is images.sequences[at - 1]:
            continue
        first = next(frame for frame in images.frames[at] if frame is not None)
        texts = [_scalar(scan, sequence, first, key) for key in ("linesPerFrame", "pixelsPerLine")]
        if all(text is not None for text in texts):
            height, width = (_count(scan, text) for text in texts)
            found.setdefault((height, width), []).append(sequence.cycle)
    if len(found) > 1:
        text = "; ".join(
            f"{h} x {w} in cycles {first_few(cycles)}" for (h, w), cycles in found.items()
        )
        raise RecordingError(
            f"{scan.path}: the frames differ in size between cycles ({text}) and do not fit "
            "into one movie. Open cycles of one size with cycles=[...]."
        )
    if not found:
        return _probe_shape(scan, images, folder)
    shape = next(iter(found))
    if min(shape) < 1 or shape[0] * shape[1] > MAX_PIXELS:
        raise RecordingError(
            f"{scan.path}: the XML claims frames of {shape[0]} x {shape[1]} pixels; between 1 "
            f"and {MAX_PIXELS} pixels are accepted. The XML is damaged: copy it again."
        )
    return shape


def _probe_shape(scan: Scan, images: Images, folder: Path) -> tuple[int, int]:
    for name in images.names.ravel():
        path = folder / name.decode()
        if name and path.is_file():
            try:
                return probe_shape(path)
            except Exception as error:  # tifffile raises many kinds on damaged files
                raise RecordingError(
                    f"{path}: the XML does not give the size of the frames and this first file "
                    f"cannot be read ({error}). Copy it again."
                ) from error
    raise RecordingError(
        f"{scan.path}: the XML does not give the size of the frames and none of its files "
        "is here. Copy the TIFF files into the folder."
    )


def _scalar(scan: Scan, sequence: Sequence, frame: Frame, key: str) -> str | None:
    for state in (frame.state, sequence.state, scan.state):
        entry = state.get(key) if state else None
        if isinstance(entry, Entry):
            return entry.value
    return None


def _count(scan: Scan, text: str | None) -> int:
    try:
        return int(str(text))
    except ValueError:
        raise RecordingError(
            f"{scan.path}: the XML gives the size of the frames as {text!r}, a whole number of "
            "pixels was expected. Copy the XML again."
        ) from None


def identity(scan: Scan, names: np.ndarray, valid: np.ndarray) -> str:
    """Name images for dask: the XML as it is now, which of its files, which are masked."""
    stat = scan.path.stat()
    text = f"{scan.path.resolve()}|{stat.st_size}|{stat.st_mtime_ns}|{valid.shape}"
    identity = hashlib.sha256(text.encode())
    identity.update(names.tobytes())
    identity.update(np.packbits(valid).tobytes())
    return identity.hexdigest()[:32]


def resolve(
    scan: Scan, images: Images, key: str, index: str, subindex: str | None = None
) -> np.ndarray:
    """Return one number of the state for every image, shape (frames, plane).

    NaN where a plane was not acquired or the state does not say.
    """
    if not changes(images, key):
        text = scan.lookup(images.sequences[0], _NO_FRAME, key, index, subindex)
        return np.where((images.names != b"").any(axis=1), number(text), np.nan)
    return images.each(
        lambda sequence, frame: number(scan.lookup(sequence, frame, key, index, subindex))
    )


def state_number(scan: Scan, images: Images, at: int, key: str) -> float:
    """Return one number of the state for the first plane of a frame; NaN if it does not say."""
    frame = next(frame for frame in images.frames[at] if frame is not None)
    return number(_scalar(scan, images.sequences[at], frame, key))


def pixel_size(scan: Scan, axis: str) -> float:
    """Return the size of a pixel in um along ``XAxis`` or ``YAxis``; NaN if it is not known."""
    sizes = scan.state.get("micronsPerPixel")
    entry = sizes.get(axis) if isinstance(sizes, dict) else None
    return number(entry.value) if isinstance(entry, Entry) else float("nan")


def field_shape(scan: Scan) -> tuple[int, int] | None:
    """Return lines and pixels of the whole field by the recording's own state, None if unknown."""
    lines, pixels = (
        number(entry.value) if isinstance(entry := scan.state.get(key), Entry) else float("nan")
        for key in ("linesPerFrame", "pixelsPerLine")
    )
    return (int(lines), int(pixels)) if lines >= 1 and pixels >= 1 else None


_NO_FRAME = Frame(0, 0.0, 0.0, (), None, None)


def changes(images: Images, key: str) -> bool:
    """Tell whether any frame or sequence sets a key of the state anew."""
    return key in images.changed


def scalars(scan: Scan, images: Images, key: str) -> set[str | None]:
    """Return the values that a key of the state takes in the images, None where it has none."""
    if not changes(images, key):
        return {_scalar(scan, images.sequences[0], _NO_FRAME, key)}
    return {
        _scalar(scan, sequence, frame, key)
        for sequence, row in zip(images.sequences, images.frames, strict=True)
        for frame in row
        if frame is not None
    }


def stage_positions(scan: Scan, images: Images) -> dict[str, np.ndarray]:
    """Return the X and Y of the stage in um for every frame; empty where it stayed in place.

    Looked up once for each sequence: the stage moves between cycles.
    """
    if not changes(images, "positionCurrent"):
        return {}
    found = {}
    for axis in ("XAxis", "YAxis"):
        places: dict[int, float] = {}
        for sequence, row in zip(images.sequences, images.frames, strict=True):
            if id(sequence) not in places:
                first = next(frame for frame in row if frame is not None)
                text = scan.lookup(sequence, first, "positionCurrent", axis, "0")
                places[id(sequence)] = number(text)
        table = np.array([places[id(sequence)] for sequence in images.sequences])
        if np.isfinite(table).all() and (table != table[0]).any():
            found[f"stage_{axis[0].lower()}"] = table
    return found


def plane_positions(scan: Scan, images: Images) -> tuple[np.ndarray, str] | None:
    """Return the Z of every image in um, shape (frames, plane), and the device's description.

    The device whose position changes within a volume counts; if none or several do, the one
    that the key ``zDevice`` names. None if the XML has no Z positions.
    """
    devices = z_devices(scan)
    if not devices:
        return None
    tables = [resolve(scan, images, "positionCurrent", "ZAxis", device) for device in devices]
    moving = [at for at, table in enumerate(tables) if _moves_within_a_volume(table)]
    named = scan.state.get("zDevice")
    chosen = 0
    if len(moving) == 1:
        chosen = moving[0]
    elif isinstance(named, Entry) and named.value in devices:
        chosen = devices.index(named.value)
    entry = scan.state["positionCurrent"]["ZAxis"][devices[chosen]]
    return tables[chosen], entry.description or f"Z device {devices[chosen]}"


def _moves_within_a_volume(positions: np.ndarray) -> bool:
    steps = np.diff(positions, axis=1)
    return bool((np.abs(steps[np.isfinite(steps)]) > 0).any())


def number(text: str | None) -> float:
    """Parse a number as PrairieView writes it; NaN where there is none."""
    try:
        return float(text) if text is not None else float("nan")
    except ValueError:
        return float("nan")
