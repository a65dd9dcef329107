"""OME metadata of TIFF files, after the OME data model (2016-06 and earlier)."""

from __future__ import annotations

import math
import re
from array import array
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from lxml import etree

from calscipy.io.movie_options import is_positive
from calscipy.io.tiff_hints import (
    MICRONS,
    MOST_PLANES,
    SECONDS,
    Hints,
    LayoutError,
    evenly,
)

SOURCE = "OME metadata"
MAX_TEXT = 2**27  # characters of OME metadata; 100,000 pages with their times have 20 MB
MAX_SIZE = 2**31
_NAMED = 255
_ORDERS = re.compile("XY(?:ZCT|ZTC|CTZ|CZT|TCZ|TZC)")
_TIME_UNITS = SECONDS | {"min": 60.0, "h": 3600.0, "d": 86400.0, "µs": 1e-6, "us": 1e-6, "ns": 1e-9}
_LENGTH_UNITS = dict.fromkeys(MICRONS, 1.0) | {"nm": 1e-3, "mm": 1e3, "cm": 1e4, "m": 1e6}


@dataclass(frozen=True)
class Block:
    """Pages in a row of one file, and the first image of the movie that they hold."""

    file: str  # "" is the file that the metadata stand in
    page: int
    first: tuple[int, int, int]  # C, Z, T
    count: int | None  # None: as many as there are


@dataclass
class Image:
    """One image (movie) of OME metadata."""

    sizes: dict[str, int]
    order: str
    step: float | None  # s, from frame to frame
    microns: tuple[float, float] | None
    spacing: float | None  # um, from plane to plane
    names: list[str] = field(default_factory=list)
    blocks: list[Block] = field(default_factory=list)
    # of the planes that say when or where they were taken: C, Z, T; s; um
    places: array[int] = field(default_factory=lambda: array("q"))
    deltas: array[float] = field(default_factory=lambda: array("d"))
    heights: array[float] = field(default_factory=lambda: array("d"))
    date: str = ""

    @property
    def files(self) -> list[str]:
        """Files that hold pages of it, each once."""
        return list(dict.fromkeys(block.file for block in self.blocks))


@dataclass(frozen=True)
class Document:
    """What the metadata of one file hold."""

    images: tuple[Image, ...]
    elsewhere: str  # the file with the metadata, if this one has none


def is_ome(description: str) -> bool:
    """Tell whether a description looks like OME metadata."""
    return "<OME" in description[: 2**12] or "<ome:OME" in description[: 2**12]


def read_document(text: str) -> Document | None:
    """Read OME metadata, None if they are damaged.

    Raises
    ------
    LayoutError
        If they are too long, declare entities, or have sizes that no movie has.
    """
    if len(text) > MAX_TEXT:
        raise LayoutError(
            f"its OME metadata have {len(text)} characters, at most {MAX_TEXT} are read"
        )
    if "<!DOCTYPE" in text or "<!ENTITY" in text:
        raise LayoutError("its OME metadata declare a document type, which is not read")
    parser = etree.XMLPullParser(
        events=("start", "end"), resolve_entities=False, no_network=True, load_dtd=False
    )
    reader = _Reader()
    data = re.sub(r"^\s*<\?xml[^>]*\?>", "", text, count=1).encode()
    try:
        for start in range(0, len(data), 2**16):
            parser.feed(data[start : start + 2**16])
            for event, element in parser.read_events():
                reader.take(event, element)
        parser.close()
    except etree.XMLSyntaxError:
        return None
    return Document(tuple(reader.images), reader.elsewhere)


class _Reader:
    """Takes elements as they come and forgets them."""

    def __init__(self) -> None:
        self.images: list[Image] = []
        self.elsewhere = ""
        self._uuid = ""
        self._date = ""
        self._block: tuple[dict[str, str], str] | None = None

    def take(self, event: str, element: Any) -> None:
        """Look at the start or end of an element."""
        if not isinstance(element.tag, str):  # comments
            return
        name = element.tag.rpartition("}")[2]
        method = getattr(self, f"_{event}_{name}", None)
        if method is not None:
            method(element, {str(k): str(v) for k, v in element.items()})
        if event == "end" and name not in ("UUID", "AcquisitionDate"):
            element.clear()
            while element.getprevious() is not None:  # there may be one for every page
                del element.getparent()[0]

    def _start_OME(self, element: Any, said: dict[str, str]) -> None:
        self._uuid = said.get("UUID", "")

    def _start_BinaryOnly(self, element: Any, said: dict[str, str]) -> None:
        self.elsewhere = said.get("MetadataFile", "")

    def _start_Image(self, element: Any, said: dict[str, str]) -> None:
        self._date = said.get("AcquiredDate", "")

    def _end_AcquisitionDate(self, element: Any, said: dict[str, str]) -> None:
        self._date = str(element.text or "")

    def _start_Pixels(self, element: Any, said: dict[str, str]) -> None:
        order = said.get("DimensionOrder", "XYCZT")
        if not _ORDERS.fullmatch(order):
            raise LayoutError(f"its OME metadata state the order {order[:20]!r}")
        y, x = (_length(said, f"PhysicalSize{dim}") for dim in "YX")
        known = y is not None and x is not None and y > 0 and x > 0
        self.images.append(
            Image(
                sizes={dim: _size(said, f"Size{dim}") for dim in "CZT"},
                order=order[2:],
                step=_time(said, "TimeIncrement"),
                microns=(y, x) if known else None,  # type: ignore[arg-type]
                spacing=_length(said, "PhysicalSizeZ"),
                date=self._date[:_NAMED],
            )
        )

    def _start_Channel(self, element: Any, said: dict[str, str]) -> None:
        if self.images:
            self.images[-1].names.append(said.get("Name", "")[:_NAMED])

    def _start_TiffData(self, element: Any, said: dict[str, str]) -> None:
        self._block = said, ""

    def _end_UUID(self, element: Any, said: dict[str, str]) -> None:
        if self._block is None:
            return
        text = str(element.text or "").strip()
        # The file of the same identity is this one, whatever it is called now; one of another
        # identity cannot be found without a name.
        own = bool(text) and text == self._uuid
        self._block = self._block[0], "" if own else said.get("FileName", "?" if text else "")

    def _end_TiffData(self, element: Any, said: dict[str, str]) -> None:
        if self._block is None or not self.images:
            return
        (said, file), self._block = self._block, None
        first = tuple(_whole(said, f"First{dim}") for dim in "CZT")
        count = _whole(said, "PlaneCount") if "PlaneCount" in said else None
        if count is None and "IFD" in said:
            count = 1
        block = Block(file, _whole(said, "IFD"), (first[0], first[1], first[2]), count)
        self.images[-1].blocks.append(block)

    def _start_Plane(self, element: Any, said: dict[str, str]) -> None:
        if not self.images:
            return
        image = self.images[-1]
        delta, height = _time(said, "DeltaT"), _length(said, "PositionZ")
        if delta is not None or height is not None:
            image.places.extend(_whole(said, f"The{dim}") for dim in "CZT")
            image.deltas.append(math.nan if delta is None else delta)
            image.heights.append(math.nan if height is None else height)


def _size(said: Mapping[str, str], name: str) -> int:
    found = _whole(said, name, 1)
    if not 0 < found < MAX_SIZE:
        raise LayoutError(f"its OME metadata state {name}={said[name][:20]!r}")
    return found


def _whole(said: Mapping[str, str], name: str, default: int = 0) -> int:
    text = said.get(name, str(default)).strip()
    if not (text.isdecimal() and text.isascii() and len(text) < 11):
        raise LayoutError(f"its OME metadata state {name}={text[:20]!r}")
    return int(text)


def _time(said: Mapping[str, str], name: str) -> float | None:
    return _quantity(said.get(name), said.get(f"{name}Unit", "s"), _TIME_UNITS)


def _length(said: Mapping[str, str], name: str) -> float | None:
    return _quantity(said.get(name), said.get(f"{name}Unit", "µm"), _LENGTH_UNITS)


def _quantity(text: str | None, unit: str, units: Mapping[str, float]) -> float | None:
    try:
        value = float(text or "")
    except ValueError:
        return None
    factor = units.get(unit if unit in units else unit.lower())
    if factor is None or not math.isfinite(value):
        return None
    return value if factor == 1.0 else value * factor


# -- one file by itself ------------------------------------------------------------------


def ome_hints(document: Document) -> Hints:
    """Take what is plain without looking at the pages: sizes, names and rates."""
    if not document.images:
        return Hints(source=SOURCE)
    first = document.images[0]
    sizes, z = dict(first.sizes), z_positions(first)
    flat = sizes["T"] == 1
    if flat and sizes["Z"] > 1 and not z:  # many programs call the frames of a movie slices
        sizes |= {"Z": 1, "T": sizes["Z"]}
        flat = False
    if flat and sizes["Z"] == 1 and not any(first.names):  # or channels
        sizes |= {"C": 1, "T": sizes["C"]}
    return Hints(
        source=SOURCE,
        frame_rate=1.0 / first.step if is_positive(first.step) else None,  # type: ignore[operator]
        microns=first.microns,
        sizes=sizes,
        order=first.order,
        channels=channel_names(first) if sizes["C"] == first.sizes["C"] else None,
        z=z if sizes["Z"] == first.sizes["Z"] and sizes["Z"] > 1 else None,
        attrs={"date": first.date} if first.date else {},
        images=document.images,
        sure=sizes == first.sizes,
    )


def channel_names(image: Image) -> tuple[str, ...] | None:
    """Return one name for each channel, None if they have none or not different ones."""
    names = tuple(image.names)
    if len(names) != image.sizes["C"] or not all(names) or len(set(names)) < len(names):
        return None
    return names


def z_positions(image: Image) -> tuple[float, ...] | None:
    """Return the position of each plane in um, where it does not change with time."""
    planes = image.sizes["Z"]
    if planes > MOST_PLANES:
        return None
    found = np.full(planes, np.nan)
    for z, height in zip(image.places[1::3], image.heights, strict=True):
        if z >= planes or math.isnan(height):
            continue
        if not (math.isnan(found[z]) or abs(found[z] - height) < 1e-6):
            found[:] = np.nan  # the stage moved
            break
        found[z] = height
    if np.isfinite(found).all() and (planes == 1 or np.ptp(found) > 0):
        return tuple(found.tolist())
    if planes == 1 or image.spacing is None or not image.spacing > 0:
        return None
    return evenly(planes, image.spacing)
