"""OME metadata of TIFF files: the pages of one movie, in one file or in several.

After the OME data model, 2016-06 and earlier. Names of files are untrusted: bare names in the
folder alone are looked at.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
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
    places: list[tuple[int, int, int]] = field(default_factory=list)  # C, Z, T of the next two
    deltas: list[float] = field(default_factory=list)  # s
    heights: list[float] = field(default_factory=list)  # um
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
            places = tuple(_whole(said, f"The{dim}") for dim in "CZT")
            image.places.append((places[0], places[1], places[2]))
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
    for (_, z, _), height in zip(image.places, image.heights, strict=True):
        if z >= planes or math.isnan(height):
            continue
        if not (math.isnan(found[z]) or abs(found[z] - height) < 1e-6):
            found[:] = np.nan  # the stage moved
            break
        found[z] = height
    if np.isfinite(found).all() and (planes == 1 or np.ptp(found) > 0):
        return tuple(found.tolist())
    if image.spacing is None or planes == 1:
        return None
    return evenly(planes, image.spacing)


# -- which page is which image -----------------------------------------------------------


def chosen_image(images: Sequence[Image], files: Sequence[str]) -> Image | None:
    """Return the image that the files hold.

    Raises
    ------
    LayoutError
        If they hold several.
    """
    here = set(files) | {""}
    held = [image for image in images if not image.blocks or here & set(image.files)]
    if len(held) > 1:
        raise LayoutError(
            f"its OME metadata describe {len(held)} images (positions, series) and a movie is one "
            "of them. Save them one by one"
        )
    return held[0] if held else None


def page_table(
    image: Image, files: Sequence[str], starts: np.ndarray, own: int | None
) -> tuple[np.ndarray, np.ndarray]:
    """Find the image of the movie that each page is.

    Parameters
    ----------
    image : Image
        The movie.
    files : sequence of str
        Names of the files at hand.
    starts : ndarray of int, shape (files + 1,)
        The first page of each file, and the number of all pages.
    own : int or None
        Which file the metadata stand in, None for one without pages.

    Returns
    -------
    places : ndarray of int, shape (images, 3)
        C, Z and T.
    pages : ndarray of int, shape (images,)
        The page of each.

    Raises
    ------
    LayoutError
        If an image lies outside of the movie, or a page is two images or none.
    """
    number: dict[str, int] = {name: at for at, name in enumerate(files)}
    if own is not None:
        number[""] = own
    sizes = tuple(image.sizes[dim] for dim in "CZT")
    total = math.prod(sizes)
    steps, step = dict.fromkeys("CZT", 0), 1
    for dim in image.order:
        steps[dim], step = step, step * image.sizes[dim]
    runs: list[tuple[int, int, int]] = []
    for block in image.blocks or [Block("", 0, (0, 0, 0), None)]:
        if any(at >= size for at, size in zip(block.first, sizes, strict=True)):
            raise LayoutError(
                f"its OME metadata place a page at C, Z, T = {block.first} of a movie of {sizes}"
            )
        file = number.get(block.file)
        if file is None:
            continue
        begin = int(starts[file]) + block.page
        start = sum(at * steps[dim] for at, dim in zip(block.first, "CZT", strict=True))
        most = min(int(starts[file + 1]) - begin, total - start)
        if most > 0:
            runs.append((start, begin, most if block.count is None else min(block.count, most)))
    lengths = np.array([length for _, _, length in runs], np.int64)
    if lengths.sum() > starts[-1]:
        raise LayoutError("its OME metadata name some pages more than once")
    within = np.arange(lengths.sum()) - np.repeat(np.cumsum(lengths) - lengths, lengths)
    linear = np.repeat([start for start, _, _ in runs], lengths).astype(np.int64) + within
    pages = np.repeat([begin for _, begin, _ in runs], lengths).astype(np.int64) + within
    if len(np.unique(linear)) < len(linear) or len(np.unique(pages)) < len(pages):
        raise LayoutError("its OME metadata name some pages or images more than once")
    places = np.stack(
        [linear // steps[dim] % size for dim, size in zip("CZT", sizes, strict=True)], axis=1
    )
    return places, pages


def plane_times(image: Image, frames: int) -> np.ndarray | None:
    """Return when each plane was taken, in s.

    Returns
    -------
    ndarray of float64, shape (frames, planes), or None
        The earliest time of its channels, NaN where none is stated; None if all are alike.
    """
    planes = image.sizes["Z"]
    if not image.places or frames * planes > 4 * len(image.places) + 1024:
        return None
    places = np.array(image.places, np.int64)
    deltas = np.array(image.deltas)
    keep = (places[:, 2] < frames) & (places[:, 1] < planes) & np.isfinite(deltas)
    table = np.full((frames, planes), np.inf)
    np.minimum.at(table, (places[keep, 2], places[keep, 1]), deltas[keep])
    table[np.isinf(table)] = np.nan
    known = table[np.isfinite(table)]
    if not known.size or (known.size > 1 and not np.ptp(known)):
        return None
    return table
