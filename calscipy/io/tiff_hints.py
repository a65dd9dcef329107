"""What ImageJ and OME metadata of a TIFF file state plainly about its pages."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from lxml import etree

_MICRONS = {"micron", "microns", "micrometer", "um", "µm", "\u03bcm", "\\u00b5m"}
_SECONDS = {"s": 1.0, "sec": 1.0, "second": 1.0, "seconds": 1.0, "ms": 1e-3, "msec": 1e-3}
_IMAGEJ_SIZES = ("channels", "slices", "frames")
_OME_HEAD = 2**16  # the Pixels element stands near the start of what may be 50 MB


@dataclass(frozen=True)
class Hints:
    """What ImageJ or OME metadata say about the pages of a file."""

    frame_rate: float | None = None
    microns: tuple[float, float] | None = None
    sizes: dict[str, int] = field(default_factory=dict)  # of C, Z and T
    order: str = "CZT"  # fastest first


def read_hints(tiff: Any, page: Any, pages: int) -> Hints:
    """Take from ImageJ or OME metadata what they state plainly."""
    meta = tiff.imagej_metadata if tiff.is_imagej else None
    if meta:
        sizes = {dim: count(meta, key) for dim, key in zip("CZT", _IMAGEJ_SIZES, strict=True)}
        order = str(meta.get("order", "czt")).upper().replace("DEFAULT", "CZT")
        rate, microns = _imagej_rate(meta), _imagej_microns(meta, page)
    else:
        pixels = _ome_pixels(page.description)
        sizes = {dim: count(pixels, f"Size{dim}") for dim in "CZT"}
        order = pixels.get("DimensionOrder", "XYCZT")[2:]
        rate, microns = None, _ome_microns(pixels)
    if pages == 1 or math.prod(sizes.values()) != pages:
        sizes = {}  # they speak of other files too
    return Hints(rate, microns, sizes, order)


def _imagej_rate(meta: dict[str, Any]) -> float | None:
    step, rate = meta.get("finterval", 0.0), meta.get("fps", 0.0)
    unit = _SECONDS.get(str(meta.get("tunit", "s")).lower())
    if is_positive(step) and unit:
        return 1.0 / (float(step) * unit)
    return float(rate) if is_positive(rate) else None


def _imagej_microns(meta: dict[str, Any], page: Any) -> tuple[float, float] | None:
    if str(meta.get("unit", "")).lower() not in _MICRONS:
        return None
    ratios = [page.tags[code].value for code in (283, 282) if code in page.tags]
    if len(ratios) != 2 or not all(is_positive(part) for ratio in ratios for part in ratio):
        return None
    y, x = (denominator / numerator for numerator, denominator in ratios)
    return float(y), float(x)


def _ome_pixels(description: str) -> dict[str, str]:
    """Return the attributes of the first Pixels element, empty if there is none."""
    if "<OME" not in description[:_OME_HEAD]:
        return {}
    parser = etree.XMLPullParser(
        events=("start",), tag="{*}Pixels", resolve_entities=False, no_network=True, load_dtd=False
    )
    try:
        parser.feed(description[:_OME_HEAD].encode())
    except etree.XMLSyntaxError:
        return {}
    found: Any = next(iter(parser.read_events()), None)
    return {} if found is None else {str(key): str(value) for key, value in found[1].items()}


def _ome_microns(pixels: dict[str, str]) -> tuple[float, float] | None:
    sizes = []
    for dim in "YX":
        try:
            size = float(pixels[f"PhysicalSize{dim}"])
        except (KeyError, ValueError):
            return None
        unit = pixels.get(f"PhysicalSize{dim}Unit", "µm").lower()
        if unit not in _MICRONS or not is_positive(size):
            return None
        sizes.append(size)
    return sizes[0], sizes[1]


def is_positive(value: Any) -> bool:
    """Tell whether a value is a finite number above zero."""
    numeric = isinstance(value, int | float | np.number) and not isinstance(value, bool)
    return numeric and bool(np.isfinite(value) and value > 0)


def count(table: Any, key: str) -> int:
    """Return a number of images from metadata, 1 if it is not a sensible one."""
    text = str(table.get(key, 1))
    return max(1, int(text)) if text.isdecimal() else 1
