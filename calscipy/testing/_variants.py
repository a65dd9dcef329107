"""Small recordings of every kind that PrairieView writes, with what a reader must find in them."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from ._edits import (
    add_brightness,
    add_mark_points,
    each_frame_state,
    insert_sequence,
    old_syntax,
    retype,
)
from ._linescan import write_linescan
from ._scan import write_recording
from ._truth import GroundTruth
from ._voltage import link_side_file, write_voltage

_DAMAGED, _UNKNOWN = "missing or damaged", "does not know"


@dataclass(frozen=True)
class Variant:
    """One recording and what a reader must find in it.

    Attributes
    ----------
    path : Path
        What to open: the folder.
    images : dict of str to ndarray of uint16
        Every pixel by group, ``movie`` or ``linescan``, 0 where an image is missing or damaged;
        axes of length one other than the first, y and x are left out.
    times : dict of str to ndarray
        Seconds from the first image by group: of every frame, or of every line of every cycle.
    valid : dict of str to ndarray of bool
        Which images are whole, by group, in the shape of the images without y and x.
    warnings : tuple of str
        A part of every warning.
    error : str or None
        A part of the error, for a recording that cannot be opened.
    facts : dict of str to object
        Further facts: names and values of coordinates (``"movie.z"``) or of attributes
        (``"movie@laser_power"``).
    """

    path: Path
    images: dict[str, np.ndarray] = field(default_factory=dict)
    times: dict[str, np.ndarray] = field(default_factory=dict)
    valid: dict[str, np.ndarray] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()
    error: str | None = None
    facts: dict[str, Any] = field(default_factory=dict)


def write_variant(folder: str | os.PathLike[str], name: str) -> Variant:
    """Write one of the recordings that `VARIANTS` names.

    Parameters
    ----------
    folder : path
        New or empty folder.
    name : str
        One of `VARIANTS`.

    Returns
    -------
    Variant
        What a reader must find.

    Raises
    ------
    ValueError
        If there is no such variant.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> variant = write_variant(Path(tempfile.mkdtemp()) / "r", "single image")
    >>> variant.images["movie"].shape, variant.times["movie"].tolist()
    ((1, 8, 12), [0.0])
    """
    if name not in _WRITERS:
        raise ValueError(f"there is no variant {name!r}. Choose one of {', '.join(_WRITERS)}.")
    return _WRITERS[name](Path(folder))


def _plain(**options: Any) -> Callable[[Path], Variant]:
    """Return a writer of a recording that `write_recording` makes as it is."""
    return lambda folder: _found(_write(folder, **options))


def _write(folder: Path, **options: Any) -> GroundTruth:
    defaults: dict[str, Any] = {"frames": 4, "shape": (8, 12), "encode": True}
    return write_recording(folder, **(defaults | options))


def _found(truth: GroundTruth, **changes: Any) -> Variant:
    """Return what a reader must find in a recording."""
    planes = 1 if truth.z is None else truth.z.size
    written = truth.written.values.reshape(truth.times.size, 1, planes)
    shape = (truth.times.size, len(truth.channels), planes)
    valid = np.broadcast_to(written, shape)
    images = np.array(
        [
            truth.frame(frame, channel, plane if planes > 1 else None) * valid[frame, 0, plane]
            for frame in range(shape[0])
            for channel in truth.channels
            for plane in range(planes)
        ],
        np.uint16,
    )
    images = images.reshape(*shape, *images.shape[1:])
    single = tuple(axis for axis in (1, 2) if shape[axis] == 1)
    found = Variant(
        truth.folder,
        {"movie": images.squeeze(single)},
        {"movie": truth.times.values},
        {"movie": valid.squeeze(single)},
        () if valid.all() else (_DAMAGED,),
    )
    return Variant(**(vars(found) | changes))


def _line_scan(**options: Any) -> Callable[[Path], Variant]:
    def write(folder: Path) -> Variant:
        truth = write_linescan(folder, **options)
        old = options.get("old", False)
        return Variant(
            folder,
            {"linescan": truth.pixels},
            {"linescan": truth.times},
            {"linescan": np.ones(truth.pixels.shape[:2], bool)},
            ("from line to line",) if old else (),
            facts={
                "linescan.line_interval": truth.interval,
                "linescan.line_y": truth.y,
                "linescan.line_x": truth.x,
                "linescan.distance": truth.distance,
            },
        )

    return write


def _retyped(new: str, warnings: tuple[str, ...] = (), **options: Any) -> Callable[[Path], Variant]:
    def write(folder: Path) -> Variant:
        truth = _write(folder, **options)
        retype(truth.xml, new)
        return _found(truth, warnings=warnings, facts={"movie@sequence_type": new})

    return write


def _laser_gradient(folder: Path) -> Variant:
    truth = _write(folder, planes=3, frames=2)
    powers = np.array([[10.0, 20.0, 30.0]] * 2)
    each_frame_state(truth.xml, "laserPower", "0", powers.ravel().tolist())
    return _found(truth, facts={"movie.laser_power_0": powers[0]})


def _version_4(folder: Path) -> Variant:
    truth = _write(folder, channels=("Ch1", "Ch2"))
    old_syntax(truth.xml)
    facts = {
        "movie@prairieview_version": "4.3.2.13",
        "movie@scan_mode": "ResonantGalvo",
        "movie@pmt_gain": [650.0, 825.0],
        "movie@scan_line_period": 1 / 30 / 8,
    }
    return _found(truth, facts=facts)


def _brightness(folder: Path) -> Variant:
    truth = _write(folder)
    retype(truth.xml, "BrightnessOverTime")
    values = np.arange(8.0).reshape(2, 4)
    add_brightness(truth.xml, truth.times.values, values)
    return _found(truth, facts={"brightness:brightness": values})


def _mixed(folder: Path) -> Variant:
    """Brightness, mark points and voltage elements of one T-series; only the first has frames."""
    truth = _write(folder)
    retype(truth.xml, "TSeries Brightness Over Time Element")
    values = np.arange(4.0).reshape(1, 4)
    add_brightness(truth.xml, truth.times.values, values)
    insert_sequence(truth.xml, "MarkPoints", 2)
    add_mark_points(truth.xml, 2)
    facts = {"brightness:brightness": values, "stimulus:duration": np.array([0.1])}
    return _found(truth, facts=facts)


def _only_voltage(folder: Path) -> Variant:
    truth = _write(folder, name="r", frames=1)
    _remove_images(truth)
    retype(truth.xml, "VoltageRecording")
    signal = np.array([0.5, -0.25, 1.0, 0.125])
    voltage = write_voltage(folder, {"Input 0": signal}, rate=1000.0, base="r", start=0.0)
    link_side_file(truth.xml, "VoltageRecording", voltage.link)
    return Variant(folder, facts={"voltage:voltage": signal[None]})


def _only_mark_points(folder: Path) -> Variant:
    truth = _write(folder, frames=1)
    _remove_images(truth)
    retype(truth.xml, "MarkPoints")
    add_mark_points(truth.xml, 1)
    return Variant(folder, facts={"stimulus:duration": np.array([0.1])})


def _remove_images(truth: GroundTruth) -> None:
    for path in truth.folder.glob("*.tif"):
        path.unlink()
    text = truth.xml.read_text("utf-8-sig")
    truth.xml.write_text(re.sub(r"<Frame .*</Frame>", "", text, flags=re.DOTALL), "utf-8-sig")


def _cut_xml(folder: Path) -> Variant:
    truth = _write(folder, frames=6)
    data = truth.xml.read_bytes()
    truth.xml.write_bytes(data[: data.index(b'index="5"')])
    whole = _found(truth)
    return Variant(
        folder,
        {"movie": whole.images["movie"][:4]},
        {"movie": whole.times["movie"][:4]},
        {"movie": whole.valid["movie"][:4]},
        ("breaks off",),
    )


def _settings(folder: Path) -> Variant:
    truth = _write(folder)
    plan = '<PVTSeriesElementSequence repetitions="5" />'
    truth.xml.with_suffix(".env").write_text(
        '<?xml version="1.0" encoding="utf-8"?>\n<Environment>\n'
        f'<TSeries iterations="2">{plan}</TSeries>\n<Notes text="deep" />\n<PVStateShard>\n'
        '<PVStateValue key="framerate" value="29.75" />\n'
        '<PVStateValue key="recentAcquisitions" value="a.xml&#x1;b.xml" />\n'
        "</PVStateShard>\n</Environment>",
        encoding="utf-8-sig",
    )
    return _found(truth, facts={"movie@planned_frames": 10})


def _raw_data(folder: Path) -> Variant:
    truth = _write(folder)
    for path in folder.glob("*.tif"):
        path.unlink()
    (folder / "CYCLE_000001_RAWDATA_000001").write_bytes(b"\0" * 64)
    return Variant(truth.folder, error="RAWDATA")


def _renamed(folder: Path) -> Variant:
    truth = _write(folder, name="before")
    return _found(truth)


def _unknown_element(folder: Path) -> Variant:
    truth = _write(folder)
    text = truth.xml.read_text("utf-8-sig")
    text = text.replace("</Sequence>", '<PVNovelty answer="42" /></Sequence>')
    truth.xml.write_text(text, "utf-8-sig")
    return _found(truth, warnings=(_UNKNOWN,))


def _no_page(folder: Path) -> Variant:
    """Multi-page files, with the page left out where it is the first."""
    truth = _write(folder, frames=6, pages_per_file=4)
    text = truth.xml.read_text("utf-8-sig")
    truth.xml.write_text(text.replace(' page="1"', ""), "utf-8-sig")
    return _found(truth)


_TWO = {1: "Red", 2: "Green"}
_WRITERS: dict[str, Callable[[Path], Variant]] = {
    "plane series": _plain(),
    "one channel, the second": _plain(channels={2: "Ch2"}),
    "two channels": _plain(channels=_TWO),
    "several timed elements": _plain(frames=7, cycles=3),
    "running relative times": _plain(frames=7, cycles=3, relative_time="continuous"),
    "volumes": _plain(planes=3),
    "volumes in both directions": _plain(planes=3, bidirectional=True),
    "volumes of two channels": _plain(planes=3, channels=_TWO),
    "aborted volumes": _plain(planes=3, abort_after=2),
    "missing files": _plain(missing=[1]),
    "truncated files": _plain(truncated=[2]),
    "missing first file": _plain(missing=[0]),
    "odd shape": _plain(shape=(13, 5)),
    "Windows line ends": _plain(line_ending="\r\n"),
    "multi-page files in chunks": _plain(frames=7, pages_per_file=3),
    "multi-page volumes": _plain(planes=3, pages_per_file=3, channels=_TWO),
    "first page without a number": _no_page,
    "power of every plane": _laser_gradient,
    "single image": _retyped("Single", frames=1),
    "single stack": _retyped("ZSeries", frames=1, planes=3),
    "atlas volume": _retyped("AtlasVolume", planes=3),
    "unknown planes": _retyped("Spiral", ("unknown Sequence types Spiral",)),
    "unknown volumes": _retyped("XZYZ", ("unknown Sequence types XZYZ",), planes=3),
    "brightness over time": _brightness,
    "mixed elements": _mixed,
    "voltage recording alone": _only_voltage,
    "mark points alone": _only_mark_points,
    "line scan": _line_scan(),
    "line scan by hand": _line_scan(freehand=True),
    "line scan of version 4": _line_scan(old=True, cycles=1),
    "version 4": _version_4,
    "truncated XML": _cut_xml,
    "settings with control characters": _settings,
    "renamed folder": _renamed,
    "unknown element": _unknown_element,
    "raw data": _raw_data,
}
VARIANTS = tuple(_WRITERS)
