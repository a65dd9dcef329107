"""Write frames for a real master XML, whose files are too large to share."""

from __future__ import annotations

import gzip
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, NamedTuple, cast
from uuid import NAMESPACE_URL, uuid5
from xml.etree import ElementTree

from ._scene import Pixels, encode_value
from ._tiff import binary_only, tiff_frame

_Element = ElementTree.Element


class _Listed(NamedTuple):
    cycle: int
    nth: int
    channel: int
    filename: str
    page: int
    shape: tuple[int, int] | None


def write_frames(
    xml: str | os.PathLike[str],
    folder: str | os.PathLike[str] | None = None,
    *,
    shape: tuple[int, int] | None = None,
    value: Callable[[int, int, int], Pixels] | None = None,
    only: Callable[[int, int, int], bool] | None = None,
) -> int:
    """Write a TIFF file for every ``File`` that a PrairieView master XML lists.

    The XML is read with the standard library alone, so a reader can be tested against it. All
    descriptions are OME BinaryOnly documents that point to the first file listed.

    Parameters
    ----------
    xml : path
        Master XML with one-page files, plain or packed (``.xml.gz``).
    folder : path, optional
        Where to write; created if needed, and the XML is copied there, unpacked. By default the
        folder of the XML.
    shape : tuple of int, optional
        Lines and columns. By default linesPerFrame and pixelsPerLine as the Frame, else its
        Sequence, else the root says.
    value : callable, optional
        Makes an image of uint16 from cycle, Frame index and channel number, all counted from 1.
        By default ``encode_value(shape, frame=index, plane=cycle, channel=channel)``.
    only : callable, optional
        Says from cycle, Frame index and channel number whether to write this file; by default all
        are written.

    Returns
    -------
    int
        Number of files written.

    Raises
    ------
    FileExistsError
        If a file exists already; nothing is overwritten.
    ValueError
        If the XML lists paths instead of bare names, pages of multi-page files, or no shape.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> from calscipy.testing import write_recording
    >>> here = Path(tempfile.mkdtemp())
    >>> truth = write_recording(here / "mouse1", frames=9, shape=(8, 6), neurons=0)
    >>> write_frames(truth.xml, here / "copy", only=lambda cycle, index, channel: index <= 3)
    3
    >>> sorted(path.name for path in (here / "copy").iterdir())[-1]
    'mouse1_Cycle00001_Ch2_000003.ome.tif'
    """
    source = Path(xml)
    target = source.parent if folder is None else Path(folder)
    target.mkdir(parents=True, exist_ok=True)
    if folder is not None:
        _copy(source, target / source.name.removesuffix(".gz"))
    first, written = "", 0
    for item in _files(source):
        where = (item.cycle, item.nth, item.channel)
        first = first or item.filename
        if only is not None and not only(*where):
            continue
        size = shape or item.shape
        if value is not None:
            pixels = value(*where)
        elif size is not None:
            pixels = encode_value(size, frame=item.nth, plane=item.cycle, channel=item.channel)
        else:
            msg = f"{source} lacks linesPerFrame or pixelsPerLine. Pass shape=(lines, columns)."
            raise ValueError(msg)
        if value is not None and size is not None and pixels.shape != tuple(size):
            msg = f"value made an image of shape {pixels.shape}, not {size}. Pass shape to match."
            raise ValueError(msg)
        description = binary_only(uuid=_uuid(item.filename), master=first, master_uuid=_uuid(first))
        _write_new(target / item.filename, tiff_frame(pixels, description=description))
        written += 1
    return written


def _uuid(filename: str) -> str:
    return str(uuid5(NAMESPACE_URL, f"calscipy.testing:{filename}"))


def _open(xml: Path) -> IO[bytes]:
    return cast(IO[bytes], gzip.open(xml)) if xml.suffix == ".gz" else xml.open("rb")


def _copy(source: Path, target: Path) -> None:
    if target.exists() and target.samefile(source):
        return
    with _open(source) as packed, target.open("wb") as plain:
        shutil.copyfileobj(packed, plain)


def _write_new(path: Path, data: bytes) -> None:
    try:
        with path.open("xb") as file:
            file.write(data)
    except FileExistsError as error:
        msg = f"{path} exists and may be real data. Choose another folder or use only=."
        raise FileExistsError(msg) from error


def _files(xml: Path) -> Iterator[_Listed]:
    """Files in order of the XML, without holding more than one Frame."""
    with _open(xml) as file:
        events = ElementTree.iterparse(file, events=("start", "end"))
        _, root = next(events)
        sequence = root
        for event, element in events:
            if element.tag == "Sequence":
                sequence = element
                if event == "end":
                    root.remove(element)
            elif element.tag == "Frame" and event == "end":
                for child in element.iterfind("File"):
                    yield _listed(child, element, sequence, root)
                sequence.remove(element)


def _listed(file: _Element, frame: _Element, sequence: _Element, root: _Element) -> _Listed:
    filename, page = file.get("filename", ""), int(file.get("page", 1))
    if filename in ("", ".", "..") or any(c in filename for c in "/\\\0"):
        msg = f"the XML lists {filename!r}, which is not a bare file name. Correct the XML."
        raise ValueError(msg)
    if page != 1:
        msg = f"{filename} has several pages, write_frames writes one. Use write_recording."
        raise ValueError(msg)
    levels = (frame, sequence, root)
    height, width = _state("linesPerFrame", levels), _state("pixelsPerLine", levels)
    return _Listed(
        cycle=int(sequence.get("cycle", 1)),
        nth=int(frame.get("index", 1)),
        channel=int(file.get("channel", 1)),
        filename=filename,
        page=page,
        shape=None if height is None or width is None else (int(height), int(width)),
    )


def _state(key: str, levels: tuple[_Element, ...]) -> str | None:
    """Value of the innermost shard that has the key."""
    for level in levels:
        for child in level.iterfind("PVStateShard/*"):
            if child.get("key") == key:
                return child.get("value")
    return None
