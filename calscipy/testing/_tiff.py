"""The TIFF files of PrairieView 5.3-5.6, byte for byte, and their OME-XML descriptions."""

from __future__ import annotations

import re
import struct
from collections.abc import Callable, Iterable, Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple
from xml.sax.saxutils import escape

import numpy as np
import numpy.typing as npt

SOFTWARE = "Prairie View 5.6.64.400"
DATE = "2023:03:02 16:25:40"

_ROWS_PER_STRIP = 8
_SHORT, _LONG, _ASCII, _RATIONAL = 3, 4, 2, 5

# Between strip tables and IFD lie 348 bytes: software (32), date (32), scratch (116), UIC1 (168).
# PrairieView leaves a MetaMorph STK record in every file; only its offsets depend on the frame.
_SCRATCH = (
    struct.pack("<8I", 72, 1, 72, 1, 99, 1, 99, 1)  # X/YResolution, UIC1 X/YCalibration
    + struct.pack("<I8s", 8, b"microns")  # UIC1 CalibrationUnits
    + struct.pack("<I8s", 8, b"Gattaca")  # UIC1 Name
    + struct.pack("<3I", 0, 0, 1)
    + bytes(40)
    + struct.pack("<2I", 77, 43)  # UIC3
)
_UIC1 = (  # (tag, value), (tag, bytes from IFD back to the value) where negative
    *((0, 0), (1, 0), (2, 65535), (3, 1), (4, -268), (5, -260), (6, -252), (7, -240), (8, 0)),
    *((9, 255), (11, 0), (12, 0), (13, 0), (14, 65535), (15, 100), (16, -216), (17, -208)),
    *((18, 0), (26, 0), (40, -228), (41, -216)),
)
_OME = (
    '<?xml version="1.0"?><OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2012-06" '
    'xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance" '
    'xsi:schemaLocation="http://www.openmicroscopy.org/Schemas/OME/2012-06 '
    'http://www.openmicroscopy.org/Schemas/OME/2012-06/ome.xsd" UUID="urn:uuid:{uuid}">'
)


def tiff_frame(
    pixels: npt.NDArray[np.uint16],
    *,
    description: bytes,
    software: str = SOFTWARE,
    date: str = DATE,
) -> bytes:
    r"""Bytes of a one-page TIFF file laid out exactly as PrairieView 5.3-5.6 lays it out.

    Real frames are reproduced byte for byte, but for the bytes that PrairieView leaves
    uninitialised behind the software name and the date; those are zero here. Frames of up to
    8 lines keep the room of both strip tables, so the offset of the IFD follows one rule:
    ``align4(8 + 2 * height * width) + 8 * ceil(height / 8) + 348``.

    Parameters
    ----------
    pixels : ndarray of uint16, 2-D
        The image, lines by columns.
    description : bytes
        ImageDescription, an OME-XML document; the closing NUL is added.
    software : str, default "Prairie View 5.6.64.400"
        Program and version, up to 31 ASCII characters. As in real files the tag counts only 22 of
        them, so TIFF readers see a truncated version.
    date : str, default "2023:03:02 16:25:40"
        ``YYYY:MM:DD HH:MM:SS``.

    Returns
    -------
    bytes
        The file.

    Examples
    --------
    >>> import numpy as np
    >>> data = tiff_frame(np.arange(35, dtype="uint16").reshape(5, 7), description=b"<OME/>")
    >>> data[:8], np.frombuffer(data, "<u2", 7, offset=8).tolist()
    (b'II*\x00\xb4\x01\x00\x00', [0, 1, 2, 3, 4, 5, 6])
    """
    pixels = np.asarray(pixels)
    if pixels.ndim != 2 or pixels.dtype.newbyteorder("=") != np.uint16 or pixels.size == 0:
        msg = (
            f"tiff_frame needs a two-dimensional uint16 image, got {pixels.dtype} with shape "
            f"{pixels.shape}. Pass one plane, converted with .astype('uint16')."
        )
        raise ValueError(msg)
    height, width = pixels.shape
    head, tail = envelope(height, width, len(description) + 1, software, date)
    return b"".join((head, pixels.astype("<u2", copy=False).tobytes(), tail, description, b"\0"))


@lru_cache(maxsize=64)
def envelope(height: int, width: int, length: int, software: str, date: str) -> tuple[bytes, bytes]:
    """Bytes before the pixels, and between the pixels and a description of ``length`` bytes."""
    if not software.isascii() or len(software) > 31:
        msg = f"software must be at most 31 ASCII characters, got {software!r}. Shorten it."
        raise ValueError(msg)
    if not re.fullmatch(r"\d{4}:\d\d:\d\d \d\d:\d\d:\d\d", date, re.ASCII):
        msg = f"date must read 'YYYY:MM:DD HH:MM:SS', got {date!r}. Use strftime."
        raise ValueError(msg)
    strips = -(-height // _ROWS_PER_STRIP)
    step = _ROWS_PER_STRIP * width * 2
    end = 8 + height * width * 2
    tables = -(-end // 4) * 4
    ifd = tables + 8 * strips + 348
    offsets = np.arange(8, end, step, dtype="<u4")
    counts = np.diff(offsets, append=end).astype("<u4")
    names = struct.pack("<32s32s", software.encode(), date.encode())
    uic1 = struct.pack("<42I", *(n + ifd * (n < 0) for pair in _UIC1 for n in pair))
    if strips == 1:  # TIFF keeps a single value inside the IFD entry
        where, size = int(offsets[0]), int(counts[0])
    else:
        where, size = tables, tables + 4 * strips
    entries = (
        *((254, _LONG, 1, 0), (256, _LONG, 1, width), (257, _LONG, 1, height)),
        *((258, _SHORT, 1, 16), (259, _SHORT, 1, 1), (262, _SHORT, 1, 1)),
        *((270, _ASCII, length, ifd + 235), (273, _LONG, strips, where)),
        *((278, _LONG, 1, _ROWS_PER_STRIP), (279, _LONG, strips, size)),
        *((282, _RATIONAL, 1, ifd - 284), (283, _RATIONAL, 1, ifd - 276), (296, _SHORT, 1, 2)),
        *((305, _ASCII, 22, ifd - 348), (306, _ASCII, 20, ifd - 316), (317, _SHORT, 1, 1)),
        *((33628, _LONG, 21, ifd - 168), (33629, _RATIONAL, 1, ifd - 200)),
        (33630, _RATIONAL, 1, ifd - 176),
    )
    table = b"".join(struct.pack("<HHII", *entry) for entry in entries)
    directory = struct.pack("<H", len(entries)) + table + bytes(4)
    parts = (bytes(tables - end), offsets.tobytes(), counts.tobytes(), names, _SCRATCH, uic1)
    # An odd pad byte follows the directory, so the description starts at an odd offset.
    return struct.pack("<4sI", b"II*\0", ifd), b"".join((*parts, directory, b"\0"))


def quoted(text: str) -> str:
    """Text as an XML attribute value, always in double quotes as PrairieView writes it."""
    return '"' + escape(text, {'"': "&quot;", "\t": "&#9;", "\n": "&#10;", "\r": "&#13;"}) + '"'


def binary_only(*, uuid: str, master: str, master_uuid: str) -> bytes:
    """OME-XML of every file but the first one: a pointer to the file with the metadata."""
    pointer = f'<BinaryOnly MetadataFile={quoted(master)} UUID="urn:uuid:{master_uuid}"/></OME>'
    return (_OME.format(uuid=uuid) + pointer).encode()


class OmePlane(NamedTuple):
    """One page of a recording as its OME-XML lists it."""

    c: int
    t: int
    z: int
    filename: str
    ifd: int
    uuid: str
    time: float
    position: tuple[float, float, float]


class OmeImage(NamedTuple):
    """One Sequence of a recording as its OME-XML lists it."""

    number: int
    date: str
    size: dict[str, int]
    microns: dict[str, float]
    channels: Iterable[str]
    planes: Callable[[], Iterator[OmePlane]]  # a huge Sequence is listed twice, never held


def ome_master(uuid: str, images: Iterable[OmeImage]) -> Iterator[bytes]:
    """OME-XML of the first file, piece by piece: it lists every page of the recording."""
    yield _OME.format(uuid=uuid).encode()
    for image in images:
        yield from (piece.encode() for piece in _ome_image(image))
    yield b"</OME>"


def _ome_image(image: OmeImage) -> Iterator[str]:
    n = image.number
    sizes = " ".join(f'Size{axis}="{size}"' for axis, size in image.size.items())
    physical = " ".join(f'PhysicalSize{axis}="{um:.17g}"' for axis, um in image.microns.items())
    yield (
        f'<Image ID="Image:{n}" Name="Sequence:{n}"><AcquisitionDate>{image.date}'
        f'</AcquisitionDate><Pixels DimensionOrder="XYZCT" ID="Pixels:{n}" {physical} {sizes} '
        'Type="uint16">'
    )
    for c, channel in enumerate(image.channels):
        yield f'<Channel ID="Channel:{n}:{c}" Name={quoted(channel)} SamplesPerPixel="1"/>'
    for p in image.planes():
        yield (
            f'<TiffData FirstC="{p.c}" FirstT="{p.t}" FirstZ="{p.z}" PlaneCount="1" '
            f'IFD="{p.ifd}"><UUID FileName={quoted(p.filename)}>urn:uuid:{p.uuid}'
            "</UUID></TiffData>"
        )
    for p in image.planes():
        x, y, z = p.position
        yield (
            f'<Plane DeltaT="{p.time:.17g}" PositionX="{x:.17g}" PositionY="{y:.17g}" '
            f'PositionZ="{z:.17g}" TheC="{p.c}" TheT="{p.t}" TheZ="{p.z}"/>'
        )
    yield "</Pixels></Image>"


def write_streamed(
    path: Path,
    pixels: npt.NDArray[Any],
    pieces: Iterable[bytes],
    length: int,
    *,
    software: str,
    date: str,
) -> None:
    """Write a frame whose description is too long to hold; ``length`` is its number of bytes."""
    head, tail = envelope(*pixels.shape, length + 1, software, date)
    with path.open("wb") as file:
        file.writelines((head, pixels.astype("<u2", copy=False).tobytes(), tail))
        file.writelines(pieces)
        file.write(b"\0")
