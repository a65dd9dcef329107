"""Write line scans, in the syntax of any version."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from ._scene import Floats, Pixels, encode_value
from ._tiff import binary_only, tiff_frame

SKIPPED = 3  # lines left out after each one
_PERIOD = 0.002  # s for one line, kept or not
_STARTS = (4.345, 14.346, 24.339)  # s, absoluteTime of the cycles
_MICRONS = 0.25
_UUID = "00000000-0000-0000-0000-000000000000"


@dataclass(frozen=True)
class LineScanTruth:
    """What a synthetic line scan holds.

    Attributes
    ----------
    xml : Path
        The master XML.
    pixels : ndarray of uint16, shape (cycles, channels, lines, pixels)
        The images as written.
    times : ndarray, shape (cycles, lines)
        Seconds from the first line.
    interval : float
        Seconds from line to line.
    y, x, distance : ndarray, shape (pixels,)
        Place of the pixels on the source image and along the line, in um.
    """

    xml: Path
    pixels: Pixels
    times: Floats
    interval: float
    y: Floats
    x: Floats
    distance: Floats


def write_linescan(
    folder: Path,
    *,
    cycles: int = 3,
    shape: tuple[int, int] = (50, 12),
    freehand: bool = False,
    old: bool = False,
) -> LineScanTruth:
    """Write a line scan of two channels, with its source image in the first cycle.

    Parameters
    ----------
    folder : Path
        New or empty folder.
    cycles : int, default 3
        Repetitions, up to three.
    shape : tuple of int, default (50, 12)
        Lines and pixels.
    freehand : bool, default False
        A line drawn by hand, with a point for every pixel, instead of a straight one.
    old : bool, default False
        Version 4: the state as keys in every frame, ``.tif`` files without OME-XML, and an
        ``.lsd`` file that alone tells how many lines were left out.

    Returns
    -------
    LineScanTruth
        What was written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    lines, count = shape
    pixels = np.empty((cycles, 2, *shape), np.uint16)
    interval = _PERIOD * (SKIPPED + 1)
    points = _points(count, freehand)
    sequences = []
    for cycle in range(1, cycles + 1):
        files = ""
        for channel in (1, 2):
            image = encode_value(shape, frame=cycle, channel=channel)
            pixels[cycle - 1, channel - 1] = image
            files += _file(folder, cycle, channel, image, old)
        sequences.append(_sequence(cycle, files, shape, points, freehand, old))
    xml = folder / f"{folder.name}.xml"
    version = "4.3.2.13" if old else "5.6.64.400"
    xml.write_text(
        f'<?xml version="1.0" encoding="utf-8"?>\n<PVScan version="{version}" '
        f'date="11/18/2022 4:20:16 PM" notes="">{"" if old else _root_state()}'
        f"{''.join(sequences)}\n</PVScan>",
        encoding="utf-8-sig",
    )
    if old:
        milliseconds = f"Line1 Inter-Line Time={1e3 * interval:.6f}"
        (folder / f"{folder.name}_Ch1.lsd").write_text(
            f"[Main]\nAcquisition type=LINESCAN\n\n[Line Info]\nNumber Lines=1\n{milliseconds}\n"
        )
    starts = np.array(_STARTS[:cycles])
    return LineScanTruth(
        xml=xml,
        pixels=pixels,
        times=(starts - starts[0])[:, None] + interval * np.arange(lines),
        interval=interval,
        y=points[:, 0] * _MICRONS,
        x=points[:, 1] * _MICRONS,
        distance=np.arange(count, dtype=float) * _MICRONS,
    )


def _points(count: int, freehand: bool) -> npt.NDArray[np.float64]:
    """Row and column of every pixel on the source image."""
    at = np.arange(count, dtype=float)
    if freehand:
        return np.column_stack([5 + 3 * np.sin(at / 4), 2 + at / 2])
    return np.column_stack([np.full(count, 7.0), 3 + at])


def _file(folder: Path, cycle: int, channel: int, image: Pixels, old: bool) -> str:
    """Write the files of one image; returns the element that lists them."""
    base = f"{folder.name}_Cycle{cycle:05d}"
    setting, suffix = ("_CurrentSettings", ".tif") if old else ("", ".ome.tif")
    name = f"{base}{setting}_Ch{channel}_000001{suffix}"
    source = f"{folder.name}-Cycle{cycle:05d}_Ch{channel}Source.tif"
    description = b"This is frame #0000\0" + bytes(11)
    if not old:
        own = binary_only(uuid=_UUID, master=name, master_uuid=_UUID)
        (folder / name).write_bytes(tiff_frame(image, description=own))
        if cycle == 1:  # as PrairieView often does
            field = encode_value((16, 16), frame=0, channel=channel)
            (folder / source).write_bytes(tiff_frame(field, description=description))
        rest = f'source="{source}"'
    else:
        (folder / name).write_bytes(tiff_frame(image, description=description))
        rest = f'preAmpID="{channel - 1}"'
    return f'\n<File channel="{channel}" channelName="Ch{channel}" filename="{name}" {rest} />'


def _sequence(
    cycle: int,
    files: str,
    shape: tuple[int, int],
    points: npt.NDArray[np.float64],
    freehand: bool,
    old: bool,
) -> str:
    lines, count = shape
    length = f'lineLength="{count * _MICRONS}"'
    if freehand:
        drawn = "".join(f'\n<Freehand x="{x}" y="{y}" />' for y, x in points.tolist())
        drawn, mode = f"<Line {length} />{drawn}", "freeHand"
    else:
        (y, first), last = points[0], points[-1][1]
        ends = f'startPixelY="{y:g}" startPixelX="{first:g}" stopPixelX="{last:g}"'
        drawn, mode = f"<Line {ends} {length} />", "straightLine"
    values = {
        "framePeriod": _PERIOD * lines,
        "linesPerFrame": lines,
        "pixelsPerLine": count,
        "scanlinePeriod" if old else "scanLinePeriod": _PERIOD if old else _PERIOD * (SKIPPED + 1),
    }
    if old:
        values |= {"micronsPerPixel_XAxis": _MICRONS, "micronsPerPixel_YAxis": _MICRONS}
    tag = 'Key permissions="ReadWriteSave"' if old else "PVStateValue"
    state = "".join(f'\n<{tag} key="{key}" value="{value!r}" />' for key, value in values.items())
    start = _STARTS[cycle - 1]
    label = "label" if old else "parameterSet"
    return (
        f'\n<Sequence type="Linescan" cycle="{cycle}" time="16:20:{16 + cycle}.0000000">'
        f'\n<PVLinescanDefinition mode="{mode}">{drawn}</PVLinescanDefinition>'
        f'\n<Frame relativeTime="0" absoluteTime="{start}" index="1" {label}="CurrentSettings">'
        f"{files}\n<PVStateShard>{state}\n</PVStateShard>\n</Frame>\n</Sequence>"
    )


def _root_state() -> str:
    sizes = "".join(
        f'<IndexedValue index="{axis}" value="{_MICRONS}" />' for axis in ("XAxis", "YAxis")
    )
    return (
        "\n<PVStateShard>"
        '\n<PVStateValue key="linesPerFrame" value="16" />'
        '\n<PVStateValue key="pixelsPerLine" value="16" />'
        f'\n<PVStateValue key="micronsPerPixel">{sizes}</PVStateValue>'
        "\n</PVStateShard>"
    )
