"""The names of the files that PrairieView writes, for folders whose master XML is lost.

Names say less than the XML, which stays the authority wherever it is there.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from calscipy.errors import ArgumentError, RecordingError, first_few
from calscipy.io.prairieview.frame_records import SAFE_NAME

Kind = Literal[
    "image",
    "voltage recording",
    "voltage output",
    "mark points",
    "brightness over time",
    "line profiles",
    "line scan source",
    "reference",
]

_BASE = r"(?P<base>.+)"
_CYCLE = r"Cycle(?P<cycle>[0-9]{3,9})"
_CHANNEL = r"Ch(?P<channel>[0-9]{1,2})"
_GRAMMAR: dict[Kind, str] = {
    "image": (
        rf"{_BASE}_{_CYCLE}(?:_(?P<parameters>[^_]+))?_{_CHANNEL}_(?P<index>[0-9]{{6,9}})"
        r"(?P<ome>\.ome)?\.tiff?"
    ),
    "voltage recording": rf"{_BASE}_{_CYCLE}_VoltageRecording_(?P<index>[0-9]{{3,9}})\.(?:csv|xml)",
    "voltage output": rf"{_BASE}_{_CYCLE}_VoltageOutput_(?P<index>[0-9]{{3,9}})\.xml",
    "mark points": rf"{_BASE}_{_CYCLE}_MarkPoints\.xml",
    "brightness over time": rf"{_BASE}_{_CYCLE}-botData\.csv",
    "line profiles": rf"{_BASE}_{_CYCLE}_LineProfileData\.csv",
    "line scan source": rf"{_BASE}-{_CYCLE}_{_CHANNEL}Source\.tif",
    "reference": (
        rf"(?P<base>.+?)(?:-{_CYCLE})?(?:-Window(?P<index>[0-9]{{1,3}}))?"
        r"-(?P<label>[^-]+)-(?:8|16)bit-Reference\.tif"
    ),
}
_PATTERNS = {kind: re.compile(text, re.IGNORECASE) for kind, text in _GRAMMAR.items()}
_LABELLED_CHANNEL = re.compile(r"Ch([0-9]{1,2})")
MAX_NAME = 255

_CYCLE_DIGITS, _INDEX_DIGITS = 5, 6  # since PrairieView 4.3
_WORD = re.compile(r"[^_\x00-\x1f/\\:*?\"<>|]+\Z")


@dataclass(frozen=True, slots=True)
class FileName:
    """What the name of one file says.

    Attributes
    ----------
    kind : str
        What the file is: ``"image"``, ``"voltage recording"``, ``"mark points"`` and so on.
    base : str
        Name of the recording.
    cycle : int or None
        Cycle, from 1 on; that of references is not reliable.
    channel : int or None
        Number of the channel, from 1 on; None where the name has another word for it.
    index : int or None
        Number of an image in its cycle (of a file, if files have several pages), of a recording, or
        of the window of a reference; from 1 on.
    parameters : str or None
        Name of the parameter set, in files of PrairieView 4.
    ome : bool
        Whether the name of an image ends in ``.ome.tif``.
    """

    kind: Kind
    base: str
    cycle: int | None = None
    channel: int | None = None
    index: int | None = None
    parameters: str | None = None
    ome: bool = False


def parse_name(name: str) -> FileName | None:
    """Read the name of a file; None if PrairieView does not name files like that.

    Parameters
    ----------
    name : str
        Bare name, without a folder.

    Returns
    -------
    FileName or None
        What it says.

    Examples
    --------
    >>> found = parse_name("mouse-007_Cycle00003_Ch2_000010.ome.tif")
    >>> found.base, found.cycle, found.channel, found.index
    ('mouse-007', 3, 2, 10)
    >>> parse_name("mouse-007_Cycle00003_VoltageRecording_001.csv").kind
    'voltage recording'
    >>> parse_name("mouse.tif") is None
    True
    """
    if len(name) > MAX_NAME or not SAFE_NAME.match(name):
        return None
    for kind, pattern in _PATTERNS.items():
        if match := pattern.fullmatch(name):
            return _said(kind, match.groupdict())
    return None


def _said(kind: Kind, found: dict[str, str | None]) -> FileName:
    """Make the record of the groups of a pattern."""
    if label := found.get("label"):
        labelled = _LABELLED_CHANNEL.fullmatch(label)
        found["channel"] = labelled[1] if labelled else None
    cycle, channel, index = (_number(found.get(key)) for key in ("cycle", "channel", "index"))
    base, parameters = found["base"] or "", found.get("parameters")
    return FileName(kind, base, cycle, channel, index, parameters, found.get("ome") is not None)


def frame_name(
    base: str,
    *,
    cycle: int,
    channel: int,
    index: int,
    parameters: str | None = None,
    ome: bool = True,
) -> str:
    """Name the file of an image as PrairieView does, from version 4.3 on.

    Parameters
    ----------
    base : str
        Name of the recording.
    cycle, channel, index : int
        Numbers from 1 on, of 5, 2 and 6 digits at most.
    parameters : str, optional
        Name of the parameter set, which PrairieView 4 puts in.
    ome : bool, default True
        Whether it ends in ``.ome.tif``, as from version 5.1 on.

    Returns
    -------
    str
        Bare name.

    Raises
    ------
    ArgumentError
        If a number is out of range, or the result is no valid name.

    Examples
    --------
    >>> frame_name("mouse-007", cycle=3, channel=2, index=10)
    'mouse-007_Cycle00003_Ch2_000010.ome.tif'
    """
    cycle_text = _padded("cycle", cycle, _CYCLE_DIGITS)
    index_text = _padded("index", index, _INDEX_DIGITS)
    channel_text = _padded("channel", channel, 2).lstrip("0")
    if parameters is not None and not _WORD.match(parameters):
        raise ArgumentError(
            f"frame_name: parameters must be a word without '_' or signs that file names cannot "
            f"have, got {parameters!r}."
        )
    middle = f"_{parameters}" if parameters is not None else ""
    suffix = ".ome.tif" if ome else ".tif"
    name = f"{base}_Cycle{cycle_text}{middle}_Ch{channel_text}_{index_text}{suffix}"
    said = FileName("image", base, cycle, channel, index, parameters, ome)
    if parse_name(name) != said:
        raise ArgumentError(
            f"frame_name: {name[:80]!r} would not be read as it is meant: base must have letters, "
            "no path, no sign that file names cannot have, and leave the name within "
            f"{MAX_NAME} characters."
        )
    return name


def list_images(folder: Path) -> dict[str, FileName]:
    """List the images in a folder by their names: by cycle, then number, then channel.

    Parameters
    ----------
    folder : Path
        Looked into itself, not the folders in it.

    Returns
    -------
    dict of str to FileName
        File names and what they say. Files with other names are passed over.

    Raises
    ------
    RecordingError
        If there are none, or those of several recordings.
    """
    if not folder.is_dir():
        raise RecordingError(f"{folder}: there is no such folder.")
    with os.scandir(folder) as entries:
        # "._mouse..." lie beside files that a Mac copied, and are no images.
        names = [e.name for e in entries if not e.name.startswith(".") and e.is_file()]
    found = {name: said for name in names if (said := parse_name(name)) and said.kind == "image"}
    if not found:
        raise RecordingError(
            f"{folder}: no file is named as PrairieView names images "
            f"({frame_name('name', cycle=1, channel=1, index=1)}). Give the folder that holds them."
        )
    bases = sorted({said.base for said in found.values()})
    if len(bases) > 1:
        raise RecordingError(
            f"{folder}: images of {len(bases)} recordings in one folder ({first_few(bases)}). Move "
            "each into a folder of its own."
        )
    return dict(sorted(found.items(), key=_order))


def _order(item: tuple[str, FileName]) -> tuple[int, int, int, str]:
    name, said = item
    return said.cycle or 0, said.index or 0, said.channel or 0, name


def _number(text: str | None) -> int | None:
    return None if text is None else int(text)


def _padded(name: str, value: int, digits: int) -> str:
    whole = isinstance(value, int) and not isinstance(value, bool)
    if not whole or not 1 <= value < 10**digits:
        raise ArgumentError(
            f"frame_name: {name} must be a whole number from 1 to {10**digits - 1}, got {value!r}."
        )
    return str(value).zfill(digits)
