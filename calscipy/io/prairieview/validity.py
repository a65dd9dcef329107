"""Which images of a recording are there and whole, from one listing of its folder."""

from __future__ import annotations

import os
from collections import Counter
from pathlib import Path
from typing import Literal, get_args

import numpy as np

from calscipy.errors import (
    ArgumentError,
    DamagedRecordingWarning,
    RecordingError,
    first_few,
    warn,
)
from calscipy.io.prairieview.frames import FrameLayout, complete_pages, is_plain
from calscipy.io.prairieview.recording import Images
from calscipy.io.prairieview.scan import Scan

Check = Literal["sizes", "headers"]

_LOOKED_INTO = 16  # files that differ in size from what the XML says before we stop looking


def find_valid(
    scan: Scan, images: Images, folder: Path, shape: tuple[int, int], check: Check
) -> np.ndarray:
    """Tell which images are there and whole, and warn about the others once.

    Works from one listing of the folder: a file is opened only if it is smaller than a plain
    frame of this shape, or with ``check="headers"``.
    """
    if check not in get_args(Check):
        raise ArgumentError(f"check must be one of {get_args(Check)}, got {check!r}")
    sizes = _listing(folder)
    wanted = images.names.ravel()
    pages = images.pages.ravel()
    faults: dict[int, str] = {}
    by_file: dict[bytes, list[int]] = {}
    for at, name in enumerate(wanted.tolist()):
        if not name:
            faults[at] = "not acquired"
        elif name not in sizes:
            faults[at] = "missing"
        else:
            by_file.setdefault(name, []).append(at)
    if not by_file and any(b"RAWDATA" in name for name in sizes):
        raise RecordingError(
            f"{folder}: the recording is still in Bruker's RAWDATA form and has no TIFF files. "
            "Convert it with the Image-Block Ripping Utility of the same PrairieView version "
            f"({scan.version}), then open it again."
        )
    faults |= _file_faults(by_file, pages, sizes, folder, shape, check)
    _refuse_other_shape(scan, shape, faults, sum(map(len, by_file.values())))
    valid = np.ones(wanted.size, dtype=bool)
    valid[list(faults)] = False
    _warn(scan, wanted, faults)
    return valid.reshape(images.names.shape)


def _listing(folder: Path) -> dict[bytes, int]:
    """Sizes of the files of a folder by name; one pass, opening nothing."""
    with os.scandir(os.fsencode(folder)) as entries:
        return {entry.name: entry.stat().st_size for entry in entries if entry.is_file()}


def _file_faults(
    by_file: dict[bytes, list[int]],
    pages: np.ndarray,
    sizes: dict[bytes, int],
    folder: Path,
    shape: tuple[int, int],
    check: Check,
) -> dict[int, str]:
    layout = FrameLayout(*shape)
    faults: dict[int, str] = {}
    several_pages = bool(pages.any())
    trust_sizes = True
    other_shape = 0
    for name, positions in by_file.items():
        last = int(pages[positions].max()) if several_pages else 0
        least = layout.file_bytes if last == 0 else layout.pixel_bytes * (last + 1)
        if sizes[name] == 0:
            faults |= dict.fromkeys(positions, "empty")
            continue
        suspect = trust_sizes and sizes[name] < least
        if not suspect and check == "sizes":
            continue
        path = folder / os.fsdecode(name)
        if last == 0 and is_plain(path, layout) and sizes[name] >= least:
            continue
        found = complete_pages(path, [int(pages[at]) for at in positions], shape)
        faults |= {at: fault for at, fault in zip(positions, found, strict=True) if fault}
        if suspect and not any(found):
            # A healthy file that is smaller than its pixels: compressed, so sizes tell nothing.
            trust_sizes = False
        other_shape += all(fault is not None and "pixels of" in fault for fault in found)
        if other_shape == _LOOKED_INTO and len(faults) == sum(
            len(by_file[key]) for key in list(by_file)[:_LOOKED_INTO]
        ):
            return dict.fromkeys(
                (at for places in by_file.values() for at in places), str(found[0])
            )
    return faults


def _refuse_other_shape(
    scan: Scan, shape: tuple[int, int], faults: dict[int, str], present: int
) -> None:
    kinds = Counter(fault for fault in faults.values() if "pixels of" in fault)
    if present and sum(kinds.values()) == present:
        raise RecordingError(
            f"{scan.path}: the XML says {shape[0]} x {shape[1]} pixels of uint16, but the files "
            f"hold {first_few(list(kinds))}. The XML and the files belong to different "
            "recordings, or the images were changed: put the original files back, or open the "
            "TIFF files alone."
        )


def _warn(scan: Scan, wanted: np.ndarray, faults: dict[int, str]) -> None:
    if not faults:
        return
    counts = Counter(faults.values())
    kinds = ", ".join(f"{count} {fault}" for fault, count in counts.most_common())
    names = [wanted[at].decode(errors="replace") for at in sorted(faults) if wanted[at]]
    example = f": {first_few(names)}" if names else ""
    warn(
        f"{scan.path.parent}: {len(faults)} of {wanted.size} images are missing or damaged "
        f"({kinds}){example}. They read as 0 and are False in the coordinate 'valid', which "
        "every operation honours. Copy these files again if they exist elsewhere.",
        DamagedRecordingWarning,
    )
