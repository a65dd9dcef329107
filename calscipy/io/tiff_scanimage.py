"""What ScanImage writes into its TIFF files about channels, planes, rates and times.

Properties of the microscope stand in the header of the file (ScanImage 2016 and later, as text or
as JSON) or in the description of every page (ScanImage 3 to 2015), times of pages always in their
descriptions. Only the lines that are needed are looked at: the whole text may have 20 MB.

Pages run through the channels, then the images of one plane, then the planes of a volume and the
images taken while the focus flies back, then the volumes.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from calscipy.io.movie_options import is_positive
from calscipy.io.tiff_hints import Hints, LayoutError, evenly

SOURCE = "ScanImage metadata"
DESCRIPTION_HEAD = 1024  # bytes of a page's description that hold its times, in 2016 and later
_PREFIXES = ("SI.", "scanimage.SI.", "scanimage.SI5.", "scanimage.SI4.", "state.")
_MOST = 2**27  # characters of a header
_NUMBER = re.compile(r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?|[+-]?Inf|NaN")
_TIMES = re.compile(
    r'(?:frameTimestamps_sec"?|Frame Timestamp\(s\))\s*[=:]\s*([+-]?[0-9.]+(?:[eE][+-]?[0-9]+)?)'
)
_ACQUISITIONS = re.compile(r'(?:acquisitionNumbers"?|Acquisition Number)\s*[=:]\s*(\d{1,9})')
_NAMED = 255  # characters of a channel's name


@dataclass(frozen=True)
class Header:
    """The properties of the microscope, as text by name."""

    text: str
    prefix: str

    def get(self, name: str) -> str | None:
        """Return a property as it stands there."""
        key = re.escape(self.prefix + name)
        found = re.search(rf"^{key}[ \t]*=[ \t]*([^\r\n]*)", self.text, re.MULTILINE)
        return found[1].strip() if found else None

    def numbers(self, name: str) -> list[float]:
        """Return the numbers of a property, none if it has none."""
        text = (self.get(name) or "").strip("[]{}")
        parts = re.split(r"[\s,;]+", text.strip()) if text.strip() else []
        return [float(part) for part in parts if _NUMBER.fullmatch(part)]

    def number(self, name: str) -> float | None:
        """Return a property that is one finite number."""
        found = self.numbers(name)
        return found[0] if len(found) == 1 and math.isfinite(found[0]) else None

    def whole(self, name: str) -> int | None:
        """Return a property that is one whole number."""
        found = self.number(name)
        return int(found) if found is not None and found == int(found) else None

    def flag(self, name: str) -> bool:
        """Tell whether a property is set."""
        return (self.get(name) or "").lower() in ("true", "1")

    def words(self, name: str) -> list[str]:
        """Return the texts of a property."""
        return re.findall(r"'([^']*)'", self.get(name) or "")


def read_header(head: str, software: str, description: str) -> Header | None:
    """Find the properties of the microscope, None if ScanImage did not write the file."""
    for text in (head, software, description):
        start = text[:4096].lstrip()
        if start.startswith("{"):
            text = _from_json(text)
            start = text[:4096]
        for prefix in _PREFIXES:
            if start.startswith(prefix) or (prefix != "SI." and f"\n{prefix}" in text[:_MOST]):
                return Header(text[:_MOST].replace("\r", "\n"), prefix)
    return None


def _from_json(text: str) -> str:
    """Bring a header in JSON into the form of the others."""
    if len(text) > _MOST or '"SI' not in text:
        return ""
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        return ""
    lines: list[str] = []

    def collect(name: str, value: Any) -> None:
        if isinstance(value, Mapping):
            for key, item in value.items():
                collect(f"{name}.{key}" if name else str(key), item)
        else:
            lines.append(f"{name} = {_as_matlab(value)}".replace("\n", " "))

    collect("", found)
    lines.sort(key=lambda line: not line.startswith("SI."))
    return "\n".join(lines)


def _as_matlab(value: Any) -> str:
    if isinstance(value, list):
        return "[" + " ".join(_as_matlab(item) for item in value) + "]"
    if isinstance(value, bool):
        return str(value).lower()
    return "'" + value.replace("'", "") + "'" if isinstance(value, str) else str(value)


def scanimage_hints(header: Header, artist: str, shape: tuple[int, int]) -> Hints:
    """Take what the header states about the pages.

    Raises
    ------
    LayoutError
        If the pages cannot be told apart: averages that reach over volumes.
    """
    read = {"SI.": _modern, "scanimage.SI.": _modern, "state.": _version3}.get(
        header.prefix, _version4
    )
    channels, scan = read(header)
    planes, repeats, flyback = scan.planes, scan.repeats, scan.flyback
    average = max(1, scan.average)
    if planes * repeats + flyback > 1 and average > 1:
        if repeats % average or flyback % average:
            raise LayoutError(
                f"ScanImage averaged {average} images at a time, which fit neither into the "
                f"{repeats} images of a plane nor the {flyback} of the fly-back: a page may "
                "blend two planes"
            )
        repeats, flyback = repeats // average, flyback // average
    page_rate = scan.rate / average if scan.rate else None
    per_volume = planes * repeats + flyback
    volume_rate = page_rate / per_volume if page_rate else scan.volume_rate
    notes: tuple[str, ...] = ()
    regions = _regions(artist)
    if regions > 1:
        notes = (
            f"every page holds {regions} regions of interest of the microscope, one below the "
            "other; they are not taken apart, and pixels between them have no meaning",
        )
    return Hints(
        source=SOURCE,
        frame_rate=volume_rate if repeats == 1 else None,  # they do not come evenly
        page_rate=page_rate,
        microns=_microns(header, shape) if regions <= 1 else None,
        sizes={"C": len(channels), "Z": planes},
        repeats=repeats,
        flyback=flyback,
        channels=channels,
        z=scan.z if scan.z and len(scan.z) == planes and planes > 1 else None,
        attrs=_attrs(header),
        notes=notes,
    )


@dataclass(frozen=True)
class _Scan:
    """Images of a volume before averaging."""

    planes: int = 1
    repeats: int = 1
    flyback: int = 0
    average: int = 1
    rate: float | None = None  # images of one channel in a second
    volume_rate: float | None = None
    z: tuple[float, ...] | None = None


def _modern(header: Header) -> tuple[tuple[str, ...], _Scan]:
    """ScanImage 2015 and later."""
    saved = [int(n) for n in header.numbers("hChannels.channelSave") if n >= 1] or [1]
    names = header.words("hChannels.channelName")
    channels = _named(saved, names)
    rate = _positive(header, "hRoiManager.scanFrameRate") or _inverse(
        header, "hRoiManager.scanFramePeriod"
    )
    scan = _Scan(
        average=header.whole("hScan2D.logAverageFactor") or 1,
        rate=rate,
        volume_rate=_positive(header, "hRoiManager.scanVolumeRate"),
    )
    stack = header.flag("hStackManager.enable") or header.flag("hFastZ.enable")
    per_plane = max(1, header.whole("hStackManager.framesPerSlice") or 1)
    recorded = header.whole("hStackManager.numFramesPerVolume")
    with_flyback = header.whole("hStackManager.numFramesPerVolumeWithFlyback")
    if not stack:
        return channels, scan
    if recorded is None and header.flag("hFastZ.enable"):  # before 2018
        with_flyback = header.whole("hFastZ.numFramesPerVolume")
        unused = header.whole("hFastZ.numDiscardFlybackFrames") or 0
        if not header.flag("hFastZ.discardFlybackFrames"):
            unused = 0
        slices = header.whole("hStackManager.numSlices")
        recorded = with_flyback - unused if with_flyback else slices
        per_plane = 1
    elif recorded is None:  # a slow stack, which has no fly-back
        recorded = per_plane * (header.whole("hStackManager.numSlices") or 1)
    recorded = max(1, recorded or 1)
    per_plane = per_plane if recorded % per_plane == 0 else 1
    positions = header.numbers("hStackManager.zs") or header.numbers("hFastZ.userZs")
    return channels, _Scan(
        planes=recorded // per_plane,
        repeats=per_plane,
        flyback=max(0, (with_flyback or recorded) - recorded),
        average=scan.average,
        rate=rate,
        volume_rate=scan.volume_rate,
        z=tuple(positions[::per_plane]) if len(positions) == recorded else tuple(positions),
    )


def _version4(header: Header) -> tuple[tuple[str, ...], _Scan]:
    """ScanImage 4 and 5.0."""
    saved = [int(n) for n in header.numbers("channelsSave") if n >= 1] or [1]
    rate = _positive(header, "scanFrameRate") or _inverse(header, "scanFramePeriod")
    planes = max(1, header.whole("stackNumSlices") or 1)
    average = header.whole("acqNumAveragedFrames") or 1
    step = header.number("stackZStepSize")
    z = evenly(planes, step) if step else None
    if header.flag("fastZEnable"):
        unused = header.whole("fastZNumDiscardFrames")
        if unused is None or not header.flag("fastZDiscardFlybackFrames"):
            unused = int(header.flag("fastZDiscardFlybackFrames"))
        volume = _inverse(header, "fastZPeriod")
        return _named(saved, []), _Scan(planes, 1, unused, average, rate, volume, z)
    repeats = max(1, header.whole("acqNumFrames") or 1) if planes > 1 else 1
    return _named(saved, []), _Scan(planes, repeats, 0, average, rate, None, z)


def _version3(header: Header) -> tuple[tuple[str, ...], _Scan]:
    """ScanImage 3."""
    saved = [n for n in range(1, 5) if header.flag(f"acq.savingChannel{n}")]
    count = header.whole("acq.numberOfChannelsSave") or len(saved) or 1
    if len(saved) != count:
        saved = list(range(1, min(count, 64) + 1))
    planes = max(1, header.whole("acq.numberOfZSlices") or 1)
    repeats = max(1, header.whole("acq.numberOfFrames") or 1) if planes > 1 else 1
    averaged = header.flag("acq.averaging")
    average = (header.whole("acq.numberOfFrames") or 1) if averaged else 1
    step = header.number("acq.zStepSize")
    rate = _positive(header, "acq.frameRate")
    z = evenly(planes, step) if step else None
    return _named(saved, []), _Scan(planes, repeats, 0, average, rate, None, z)


def _positive(header: Header, name: str) -> float | None:
    found = header.number(name)
    return found if is_positive(found) else None


def _inverse(header: Header, name: str) -> float | None:
    found = _positive(header, name)
    return None if found is None else 1.0 / found


def _named(saved: list[int], names: list[str]) -> tuple[str, ...]:
    """Name the saved channels, which count from 1."""
    chosen = [names[n - 1][:_NAMED] if n <= len(names) else "" for n in saved]
    if not all(chosen) or len(set(chosen)) < len(chosen):
        chosen = [f"Ch{n}" for n in saved]
    if len(set(chosen)) < len(chosen):
        chosen = [f"Ch{at + 1}" for at in range(len(saved))]
    return tuple(chosen)


def _microns(header: Header, shape: tuple[int, int]) -> tuple[float, float] | None:
    """Return the size of a pixel from the corners of the field of view."""
    numbers = header.numbers("hRoiManager.imagingFovUm")
    if len(numbers) != 8 or not np.isfinite(numbers).all():
        return None
    corners = np.reshape(numbers, (4, 2))  # around the field, from its upper left
    width = float(np.hypot(*(corners[1] - corners[0])))
    height = float(np.hypot(*(corners[3] - corners[0])))
    if not (is_positive(width) and is_positive(height)):
        return None
    return height / shape[0], width / shape[1]


def _regions(artist: str) -> int:
    """Count the regions that are imaged one after the other and stand in every page."""
    if len(artist) > _MOST or '"imagingRoiGroup"' not in artist:
        return 1
    try:
        found = json.loads(artist)["RoiGroups"]["imagingRoiGroup"]["rois"]
    except (ValueError, KeyError, TypeError, RecursionError):
        return 1
    rois = found if isinstance(found, list) else [found]  # one is written without a list
    return sum(1 for roi in rois if not isinstance(roi, Mapping) or roi.get("enable", True))


def _attrs(header: Header) -> dict[str, Any]:
    attrs: dict[str, Any] = {}
    zoom = header.number("hRoiManager.scanZoomFactor")
    zoom = header.number("scanZoomFactor") if zoom is None else zoom
    zoom = header.number("acq.zoomFactor") if zoom is None else zoom
    if zoom is not None:
        attrs["optical_zoom"] = zoom
    version = (header.get("VERSION_MAJOR") or header.get("software.version") or "").strip("'")
    if version and len(version) <= _NAMED:
        attrs["scanimage_version"] = version
    return attrs


def page_times(texts: Iterable[str], pages: int) -> tuple[np.ndarray, np.ndarray]:
    """Read the time of each page in s, NaN where it has none, and the number of its acquisition."""
    times, stretches = np.full(pages, np.nan), np.zeros(pages, np.int64)
    for at, text in enumerate(texts):
        found = _TIMES.search(text)
        if found:
            times[at] = _float(found[1])
        numbered = _ACQUISITIONS.search(text)
        stretches[at] = int(numbered[1]) if numbered else 0
    return times, stretches


def _float(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return math.nan
