"""What the metadata of a TIFF file state plainly about its pages."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from calscipy.io.movie_options import is_positive

MICRONS = {"micron", "microns", "micrometer", "um", "µm", "\u03bcm", "\\u00b5m"}
SECONDS = {"s": 1.0, "sec": 1.0, "second": 1.0, "seconds": 1.0, "ms": 1e-3, "msec": 1e-3}
MOST_PLANES = 2**16
_IMAGEJ_SIZES = ("channels", "slices", "frames")


class LayoutError(ValueError):
    """Metadata contradict themselves or the pages."""


@dataclass(frozen=True)
class Hints:
    """What the metadata of one file say about its pages.

    Pages run through the dimensions in ``order``, the fastest first. A volume may have more pages
    than planes: ``repeats`` of each plane in a row, and ``flyback`` behind all of them.
    """

    source: str = ""  # whose metadata they are
    frame_rate: float | None = None  # volumes in a second
    page_rate: float | None = None  # images of one channel in a second
    microns: tuple[float, float] | None = None
    sizes: dict[str, int] = field(default_factory=dict)  # of C, Z and T; without T as many as fit
    order: str = "CZT"
    repeats: int = 1
    flyback: int = 0
    channels: tuple[str, ...] | None = None
    z: tuple[float, ...] | None = None  # um, of each plane
    times: np.ndarray | None = None  # s, of each page; NaN where it is not known
    stretches: np.ndarray | None = None  # of each page: a number for each acquisition
    attrs: dict[str, Any] = field(default_factory=dict)  # of the movie
    images: tuple[Any, ...] = ()  # of OME metadata, see `calscipy.io.tiff_ome`
    home: str = ""  # the file that the metadata stand in, if it is not the first
    elsewhere: str = ""  # the file that holds the metadata of this one
    refusal: str = ""  # why the pages cannot be told apart by them
    text: str = ""  # the description with calscipy's own labels
    sure: bool = True  # the sizes are as they are written, not as many programs mean them
    notes: tuple[str, ...] = ()  # what the reader of the file is to know

    @property
    def planes(self) -> int:
        """Planes of a volume."""
        return self.sizes.get("Z", 1)


def imagej_hints(meta: dict[str, Any], page: Any, pages: int) -> Hints:
    """Take what ImageJ's metadata of a file with some pages state."""
    stated = any(key in meta for key in _IMAGEJ_SIZES)
    sizes = {dim: count(meta, key) for dim, key in zip("CZT", _IMAGEJ_SIZES, strict=True)}
    order = str(meta.get("order", "czt")).upper().replace("DEFAULT", "CZT")
    if sorted(order) != sorted("CZT"):
        order = "CZT"
    written = dict(sizes)
    if sizes["T"] == 1:  # many programs call the frames of a movie slices
        sizes |= {"Z": 1, "T": sizes["Z"]}
    if sizes["T"] == 1:  # or channels
        sizes |= {"C": 1, "T": sizes["C"]}
    spacing = meta.get("spacing")
    unit = str(meta.get("zunit", meta.get("unit", ""))).lower()
    z = None
    if sizes["Z"] > 1 and is_positive(spacing) and unit in MICRONS:
        z = evenly(sizes["Z"], float(spacing))  # type: ignore[arg-type]
    return Hints(
        source="ImageJ metadata",
        frame_rate=_imagej_rate(meta),
        microns=_imagej_microns(meta, page),
        sizes=sizes if stated and pages > 1 else {},  # one page of many is a file by itself
        order=order,
        z=z,
        sure=sizes == written,
    )


def evenly(count: int, step: float) -> tuple[float, ...]:
    """Return positions from 0 on; none for a number that no recording has."""
    return tuple(np.arange(count) * step) if count <= MOST_PLANES else ()


def _imagej_rate(meta: dict[str, Any]) -> float | None:
    step, rate = meta.get("finterval", 0.0), meta.get("fps", 0.0)
    unit = SECONDS.get(str(meta.get("tunit", "s")).lower())
    if is_positive(step) and unit:
        return 1.0 / (float(step) * unit)
    return float(rate) if is_positive(rate) else None


def _imagej_microns(meta: dict[str, Any], page: Any) -> tuple[float, float] | None:
    if str(meta.get("unit", "")).lower() not in MICRONS:
        return None
    ratios = [page.tags[code].value for code in (283, 282) if code in page.tags]
    if len(ratios) != 2 or not all(is_positive(part) for ratio in ratios for part in ratio):
        return None
    y, x = (denominator / numerator for numerator, denominator in ratios)
    return float(y), float(x)


def count(table: Any, key: str) -> int:
    """Return a number of images from metadata, 1 if it is not a sensible one."""
    text = str(table.get(key, 1))
    return max(1, int(text)) if text.isdecimal() and len(text) < 10 else 1


def product(sizes: dict[str, int]) -> int:
    """Return how many images sizes of C, Z and T make."""
    return math.prod(sizes.values())


def is_bare(name: str) -> bool:
    """Tell whether a name cannot lead out of a folder."""
    return bool(name) and name not in (".", "..", "?") and not set(name) & set("/\\:\0")


def counted(sizes: dict[str, int]) -> str:
    """Say sizes of C, Z and T in words.

    Examples
    --------
    >>> counted({"C": 2, "Z": 1, "T": 50})
    '2 channels x 1 planes x 50 frames'
    """
    return f"{sizes['C']} channels x {sizes['Z']} planes x {sizes['T']} frames"


@dataclass(frozen=True)
class Part:
    """Pages of one file, or of a set of files, by frame, channel and plane."""

    table: np.ndarray  # (frames, channels, planes), -1 where a page is missing
    times: np.ndarray | None = None  # s, (frames, planes)
    stretches: np.ndarray | None = None  # of each frame: a number for each acquisition
