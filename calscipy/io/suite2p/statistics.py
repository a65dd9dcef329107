"""What suite2p says of each ROI beside its pixels: shape, activity, neuropil."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from calscipy.errors import RoiError
from calscipy.io.pickled import StoredArray
from calscipy.io.suite2p.rois import Stat
from calscipy.io.suite2p.settings import is_text, plain_number

_KNOWN = ("ypix", "xpix", "lam", "iplane")  # of the ROIs themselves
_NEUROPIL = ("neuropil_mask", "ipix_neuropil")  # pixels counted row after row
_CENTRE = "med"
_MOST_KEYS = 256
_LONGEST_TEXT = 200  # every text of an array takes the room of the longest
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,63}", re.ASCII)
_TAKEN = ("neuron", "time", "y", "x", "plane", "channel", "pixel", "weight", "rois")
_MEANING = {
    "med_y": "median row of the pixels",
    "med_x": "median column of the pixels",
    "npix": "number of pixels",
    "npix_soma": "number of pixels of the soma",
    "npix_norm": "number of pixels over the mean of all ROIs",
    "npix_norm_no_crop": "number of pixels over the mean of all ROIs, before the soma was cut out",
    "radius": "radius in pixels of a Gaussian fitted to the mask",
    "aspect_ratio": "longer over shorter axis of a Gaussian fitted to the mask",
    "compact": "spread of the pixels over that of a disk",
    "footprint": "spatial extent of the signal, including pixels outside of the ROI",
    "skew": "skewness of the trace without neuropil",
    "std": "standard deviation of the trace without neuropil",
    "overlap": "pixel that several ROIs share",
    "soma_crop": "pixel of the soma",
}


@dataclass
class Statistics:
    """What is known of the ROIs of all planes."""

    by_neuron: dict[str, np.ndarray] = field(default_factory=dict)  # (neurons,)
    by_pixel: dict[str, np.ndarray] = field(default_factory=dict)  # (pixels,) as in the ROIs
    neuropil: tuple[np.ndarray, np.ndarray] | None = None  # neuron, pixel row after row
    left_out: list[str] = field(default_factory=list)  # names of what fits nowhere


def read_statistics(stats: Sequence[Stat]) -> Statistics:
    """Sort everything in ``stat.npy`` by what it belongs to.

    Raises
    ------
    RoiError
        If an array in it is damaged, or there are too many names.
    """
    found = Statistics()
    counts = [part[0].size for stat in stats for part in stat.pixels]
    for key in _keys(stats):
        values = _values(stats, key)
        if key == _CENTRE and _put_centre(found, values):
            continue
        if key in _NEUROPIL and found.neuropil is None and _put_neuropil(found, values):
            continue
        fits = _NAME.fullmatch(key) is not None and key not in _TAKEN
        if not (fits and (_put_pixels(found, key, values, counts) or _put(found, key, values))):
            found.left_out.append(key if _NAME.fullmatch(key) else ascii(key[:64]))
    return found


def meaning(name: str) -> dict[str, str]:
    """Return the attributes of a coordinate."""
    return {"long_name": _MEANING[name]} if name in _MEANING else {}


def _keys(stats: Sequence[Stat]) -> list[str]:
    keys: dict[str, None] = {}
    for stat in stats:
        for entry in stat.entries:
            keys |= {key: None for key in entry if type(key) is str and key not in _KNOWN}
            if len(keys) > _MOST_KEYS:
                raise RoiError(
                    f"{stat.file}: its ROIs have over {_MOST_KEYS} different names of values. "
                    "Write it again with suite2p."
                )
    return list(keys)


def _values(stats: Sequence[Stat], key: str) -> list[Any]:
    """Return the values of all ROIs: numbers and texts of Python, arrays, None for others."""
    values = []
    for stat in stats:
        most = stat.file.stat().st_size  # an array that many ROIs share would fill the memory
        for at, entry in enumerate(stat.entries):
            value = entry.get(key)
            if isinstance(value, StoredArray) or type(value) in (list, tuple):
                value = _array(stat, at, entry, key)
                most -= 0 if value is None else value.size
                if most < 0:
                    raise RoiError(
                        f"{stat.file}: more values than bytes. Write it again with suite2p."
                    )
            elif type(value) is not str or not is_text(value):
                value = plain_number(value)
            values.append(value)
    return values


def _array(stat: Stat, at: int, entry: Mapping[str, Any], key: str) -> Any:
    """Return an array of numbers, a number for an array of one, None for others."""
    value = entry[key]
    if type(value) in (list, tuple):
        items = [plain_number(item) for item in value]
        if any(item is None for item in items):
            return None
        return np.array(items)
    if value.kind not in "biuf":
        return None
    values = stat.numbers(at, key)
    return plain_number(values.ravel()[0]) if value.is_scalar else values


def _put_centre(found: Statistics, values: Sequence[Any]) -> bool:
    if not all(isinstance(value, np.ndarray) and value.size == 2 for value in values):
        return False
    found.by_neuron["med_y"], found.by_neuron["med_x"] = np.array(values, np.float64).T
    return True


def _put_neuropil(found: Statistics, values: Sequence[Any]) -> bool:
    arrays = [np.zeros(0, np.int64) if value is None else value for value in values]
    if not all(isinstance(value, np.ndarray) and value.dtype.kind in "iu" for value in arrays):
        return False
    neuron = np.repeat(np.arange(len(arrays)), [value.size for value in arrays])
    found.neuropil = neuron, np.concatenate(arrays).astype(np.int64)
    return True


def _put_pixels(found: Statistics, key: str, values: Sequence[Any], counts: Sequence[int]) -> bool:
    """Take values that come one for each pixel."""
    arrays = [value for value in values if isinstance(value, np.ndarray)]
    if len(arrays) < len(values) or [value.size for value in arrays] != list(counts):
        return False
    found.by_pixel[key] = np.concatenate(arrays)
    return True


def _put(found: Statistics, key: str, values: Sequence[Any]) -> bool:
    """Take numbers or texts that come one for each ROI; NaN or "" where a ROI has none."""
    values = [
        value.item() if isinstance(value, np.ndarray) and value.size == 1 else value
        for value in values
    ]
    present = [value for value in values if value is not None]
    if present and all(type(value) is str and len(value) <= _LONGEST_TEXT for value in present):
        found.by_neuron[key] = np.array(["" if value is None else value for value in values])
        return True
    if not present or any(isinstance(value, str | np.ndarray) for value in present):
        return False
    whole = len(present) == len(values)
    kinds = {type(value) for value in present}
    dtype = {bool: np.bool_, int: np.int64}.get(*kinds) if whole and len(kinds) == 1 else None
    filled = [np.nan if value is None else value for value in values]
    found.by_neuron[key] = np.array(filled, np.float64 if dtype is None else dtype)
    return True
