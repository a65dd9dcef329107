"""The master XML of a PrairieView recording as lines of text."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import chain
from typing import Literal

import numpy as np

from ._scene import Floats, Image, Plan
from ._tiff import quoted

RelativeTime = Literal["reset", "continuous"]

FOCUS = -75.925  # um
STAGE = (5.75, 319.25)  # um, X and Y
START = 0.148  # s from the start of the scan to the first image
_CLOCK = 59141_1378271  # 16:25:41.1378271 in units of 100 ns
_GRID = (
    'xYStageGridDefined="False" xYStageGridNumXPositions="3" xYStageGridNumYPositions="3" '
    'xYStageGridOverlapPercentage="0" xYStageGridXOverlap="0" xYStageGridYOverlap="0"'
)


@dataclass(frozen=True)
class Naming:
    """File and page of each image."""

    name: str
    pages_per_file: int | None

    def file(self, image: Image, channel: int) -> tuple[str, int | None]:
        """File name and page (from 1); the page is None where files have one page."""
        number, page = image.nth, None
        if self.pages_per_file is not None:
            number, page = divmod(image.nth - 1, self.pages_per_file)
            number, page = number + 1, page + 1
        return f"{self.name}_Cycle{image.cycle:05d}_Ch{channel}_{number:06d}.ome.tif", page


def as_written(times: Floats) -> Floats:
    """Return the times that a reader finds: rounded in the XML and counted from the first image."""
    found = np.array([float(number(time + START)) for time in times.ravel()])
    return found.reshape(times.shape) - found.min(initial=np.inf)


def number(value: float) -> str:
    """Write a number as .NET does: 15 digits, an upper-case exponent."""
    return f"{value:.15g}".replace("e", "E")


def clock(seconds: float) -> str:
    """Time of day at which a Sequence starts, with 7 digits, past midnight from zero."""
    ticks = (_CLOCK + round(seconds * 10_000_000)) % (86400 * 10_000_000)
    whole, fraction = divmod(ticks, 10_000_000)
    return f"{whole // 3600:02d}:{whole // 60 % 60:02d}:{whole % 60:02d}.{fraction:07d}"


Value = str | float | int
Entry = tuple[Value, str | None]  # value, description


def _tag(name: str, **attributes: Value | None) -> str:
    text = (
        f"{key}={quoted(value if isinstance(value, str) else number(value))}"
        for key, value in attributes.items()
        if value is not None
    )
    return f"<{name} {' '.join(text)}"


def _indexed(key: str, entries: Mapping[str, Entry]) -> Iterator[str]:
    yield _tag("PVStateValue", key=key) + ">"
    for index, (value, text) in entries.items():
        yield "  " + _tag("IndexedValue", index=index, value=value, description=text) + " />"
    yield "</PVStateValue>"


def _subindexed(key: str, entries: Mapping[str, Iterable[Entry]]) -> Iterator[str]:
    yield _tag("PVStateValue", key=key) + ">"
    for index, values in entries.items():
        yield "  " + _tag("SubindexedValues", index=index) + ">"
        for i, (value, text) in enumerate(values):
            tag = _tag("SubindexedValue", subindex=i, value=value, description=text)
            yield f"    {tag} />"
        yield "  </SubindexedValues>"
    yield "</PVStateValue>"


def _position(piezo: float) -> Iterator[str]:
    axes: dict[str, tuple[Entry, ...]] = {
        "XAxis": ((STAGE[0], None),),
        "YAxis": ((STAGE[1], None),),
        "ZAxis": ((FOCUS, "Z Focus"), (piezo, "Bruker 400 μm Piezo")),
    }
    return _subindexed("positionCurrent", axes)


def _shard(lines: Iterable[str]) -> Iterator[str]:
    body = ["  " + line for line in lines]
    yield from ("<PVStateShard>", *body, "</PVStateShard>") if body else ("<PVStateShard />",)


@dataclass(frozen=True)
class Master:
    """Text of the master XML."""

    plan: Plan
    naming: Naming
    channels: dict[int, str]
    shape: tuple[int, int]
    microns: tuple[float, float]
    z_step: float
    version: str
    relative_time: RelativeTime

    def piezo(self, plane: int) -> float:
        """Piezo position of a plane in µm."""
        return plane * self.z_step

    def lines(self) -> Iterator[str]:
        """Lines of the document without line ends."""
        yield '<?xml version="1.0" encoding="utf-8"?>'
        yield _tag("PVScan", version=self.version, date="3/2/2023 4:25:40 PM", notes="") + ">"
        yield '  <SystemIDs SystemID="0000-0000-0000-0000-0000-0000-0000-0000">'
        yield '    <SystemID SystemID="1" Description="Synthetic (calscipy.testing)" />'
        yield "  </SystemIDs>"
        yield from ("  " + line for line in _shard(self._state()))
        for cycle in range(1, self.plan.cycles + 1):
            yield from ("  " + line for line in self._sequence(cycle))
        yield "</PVScan>"

    def _state(self) -> Iterator[str]:
        period, (height, width), deep = self.plan.period, self.shape, self.plan.planes > 1
        volt = {"XAxis": (7.6, None), "YAxis": (7.6, None)}
        low = {"XAxis": (-7.6, None), "YAxis": (-7.6, None)}
        zero = {"XAxis": (0, None), "YAxis": (0, None)}
        # Between scans the piezo rests where no plane is, so a wrong fall-back to it shows.
        rest = -self.z_step / 2 if deep else 0.0
        step = self.z_step if deep else 1
        microns = {"XAxis": (self.microns[1], None), "YAxis": (self.microns[0], None)}
        preamp = {"0": [(0, "Ch1"), (0, "Ch2"), (0, "Ch 3")]}
        values: tuple[tuple[str, Value | Iterable[str]], ...] = (
            ("activeMode", "ResonantGalvo"),
            ("bitDepth", 13),
            ("currentScanAmplitude", _indexed("currentScanAmplitude", volt)),
            ("currentScanCenter", _indexed("currentScanCenter", zero)),
            ("dwellTime", 0.4),
            ("framePeriod", period),
            ("interlacedScanTrackCount", 0),
            ("laserPower", _indexed("laserPower", {"0": (120.5, "Pockels"), "1": (0, "1040nm")})),
            ("linesPerFrame", height),
            ("maxVoltage", _indexed("maxVoltage", volt)),
            ("micronsPerPixel", _indexed("micronsPerPixel", {**microns, "ZAxis": (step, None)})),
            ("minVoltage", _indexed("minVoltage", low)),
            ("objectiveLens", "Nikon 16X LWD"),
            ("objectiveLensMag", 16),
            ("objectiveLensNA", 0.8),
            ("opticalZoom", 2),
            ("pixelsPerLine", width),
            ("pmtGain", _indexed("pmtGain", {"0": (650, "PMT 1 HV"), "1": (825, "PMT 2 HV")})),
            ("positionCurrent", _position(rest)),
            ("preampFilter", "NoFilter"),
            ("preampGain", _subindexed("preampGain", preamp)),
            ("preampOffset", _subindexed("preampOffset", preamp)),
            ("rastersPerFrame", 1),
            ("resonantSamplesPerPixel", 2),
            ("rotation", 0),
            ("scanLinePeriod", period / height),
            ("useInterlacedScanPattern", "False"),
            ("xYStageGridIndex", -1),
            ("xYStageGridXIndex", -1),
            ("xYStageGridYIndex", -1),
            ("yAspectExpansion", 1),
            ("zDevice", int(deep)),
        )
        for key, value in values:
            if isinstance(value, str | float | int):
                yield _tag("PVStateValue", key=key, value=value) + " />"
            else:
                yield from value

    def _sequence(self, cycle: int) -> Iterator[str]:
        plan, deep = self.plan, self.plan.planes > 1
        images = plan.images(cycle)
        first = next(images)
        kind = "TSeries ZSeries Element" if deep else "TSeries Timed Element"
        both = str(plan.bidirectional) if deep else None
        head = _tag("Sequence", type=kind, cycle=cycle, time=clock(first.time), bidirectionalZ=both)
        yield f"{head} {_GRID}>"
        # Shards are deltas: a Sequence starts where the piezo stopped, and the Frame that is
        # taken there says nothing about its position.
        stopped = self.piezo(plan.order(cycle - 2)[-1]) if deep and cycle > 1 else None
        shard = () if stopped is None else _position(stopped)
        yield from ("  " + line for line in _shard(shard))
        origin = first.time if self.relative_time == "reset" else 0.0
        for image in chain((first,), images):
            yield from self._frame(image, origin, stopped)
        yield "</Sequence>"

    def _frame(self, image: Image, origin: float, stopped: float | None) -> Iterator[str]:
        relative, absolute = number(image.time - origin), number(image.time + START)
        yield (
            f'  <Frame relativeTime="{relative}" absoluteTime="{absolute}" '
            f'index="{image.nth}" parameterSet="CurrentSettings">'
        )
        for channel, label in self.channels.items():
            filename, page = self.naming.file(image, channel)
            tag = _tag("File", channel=channel, channelName=label, page=page, filename=filename)
            yield f"    {tag} />"
        yield '    <ExtraParameters lastGoodFrame="0" />'
        piezo = self.piezo(image.plane)
        moved = self.plan.planes > 1 and piezo != stopped
        yield from ("    " + line for line in _shard(_position(piezo) if moved else ()))
        yield "  </Frame>"
