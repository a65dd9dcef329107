"""Files of photostimulation: read whole, written whole or not at all."""

from __future__ import annotations

import dataclasses
import os
import uuid
from pathlib import Path
from typing import Any

from calscipy.errors import ArgumentError, RecordingError, StoreError
from calscipy.io.output import require_free
from calscipy.io.photostimulation.elements import XmlElement
from calscipy.io.photostimulation.galvo_points import GalvoPointList
from calscipy.io.photostimulation.lossless import Document, read_document, shorten
from calscipy.io.photostimulation.mark_points import (
    ACQUIRED_TAG,
    SAVED_TAG,
    MarkPointSeriesElements,
)
from calscipy.io.photostimulation.reading import object_of
from calscipy.io.photostimulation.writing import document_of

_SETTINGS, _IN_SETTINGS = "Environment", "PVMarkPoints"
_CURRENT_TAG = "PVCurrentMarkPointSeriesElements"  # of the series that the settings hold
_DECLARATION = '<?xml version="1.0" encoding="utf-8"?>\n'


def read_mark_points(path: str | os.PathLike[str]) -> MarkPointSeriesElements:
    """Read a series of mark points: a protocol saved by PrairieView, or what was played.

    Parameters
    ----------
    path : path-like
        A saved series, the ``_MarkPoints.xml`` of a recording, or an ``.env`` file, for the series
        that was set then, whether or not it was played.

    Returns
    -------
    MarkPointSeriesElements
        Delays and durations in ms, indices from 0. What the file does not say is None.

    Raises
    ------
    RecordingError
        If it is no such file, or values in it cannot be used: all are named in one message.

    Warns
    -----
    CalscipyWarning
        If there are attributes or elements that calscipy does not know. They are kept.

    Examples
    --------
    >>> from calscipy.io.photostimulation import (
    ...     GalvoPointElement,
    ...     MarkPointElement,
    ...     MarkPointSeriesElements,
    ...     read_mark_points,
    ...     write_mark_points,
    ... )
    >>> step = MarkPointElement(points=[GalvoPointElement(duration=12, indices=(0, 2))])
    >>> write_mark_points(MarkPointSeriesElements(marks=[step]), "series.xml")
    >>> read_mark_points("series.xml").marks[0].points[0].indices
    (0, 2)
    """
    path = Path(path)
    document = _of_settings(read_document(path), path, _CURRENT_TAG, SAVED_TAG)
    _require_root(document, path, (ACQUIRED_TAG, SAVED_TAG))
    saved = document.root.tag == SAVED_TAG
    return object_of(document, MarkPointSeriesElements, path, saved=saved)


def write_mark_points(
    series: MarkPointSeriesElements, path: str | os.PathLike[str], *, overwrite: bool = False
) -> None:
    """Write a series of mark points that PrairieView can load.

    Parameters
    ----------
    series : MarkPointSeriesElements
        Unchanged since it was read, it is written byte for byte as it was; after edits, only what
        has changed differs.
    path : path-like
        Where to write.
    overwrite : bool, default False
        Whether an existing file may be replaced.

    Raises
    ------
    TargetExistsError
        If there is something at ``path``.
    StoreError
        If it cannot be written there.
    ArgumentError
        If it is no series.

    Examples
    --------
    >>> from pathlib import Path
    >>> from calscipy.io.photostimulation import MarkPointSeriesElements, write_mark_points
    >>> write_mark_points(MarkPointSeriesElements(marks=[]), "empty.xml")
    >>> print(Path("empty.xml").read_text(encoding="utf-8-sig"))
    <?xml version="1.0" encoding="utf-8"?>
    <PVSavedMarkPointSeriesElements Iterations="1" IterationDelay="0.00" CalcFunctMap="False" />
    """
    _require(series, MarkPointSeriesElements, "write_mark_points")
    _write(Path(path), document_of(series).encode(), overwrite=overwrite)


def read_galvo_points(path: str | os.PathLike[str]) -> GalvoPointList:
    """Read a list of galvo points (``.gpl``).

    Parameters
    ----------
    path : path-like
        The file, or an ``.env`` file, for the points that were set then.

    Returns
    -------
    GalvoPointList
        Places and spiral sizes in volts, durations in ms. What the file does not say is None.

    Raises
    ------
    RecordingError
        If it is no such file, or values in it cannot be used: all are named in one message.

    Warns
    -----
    CalscipyWarning
        If there are attributes or elements that calscipy does not know. They are kept.

    Examples
    --------
    >>> from calscipy.io.photostimulation import (
    ...     GalvoPoint,
    ...     GalvoPointList,
    ...     read_galvo_points,
    ...     write_galvo_points,
    ... )
    >>> write_galvo_points(GalvoPointList(galvo_points=[GalvoPoint(x=-5.5, y=1e-07)]), "a.gpl")
    >>> points = read_galvo_points("a.gpl")
    >>> points.galvo_points[0].y
    1e-07
    >>> moved = points.galvo_points[0].replace(x=-5.25)
    >>> write_galvo_points(points.replace(galvo_points=[moved]), "b.gpl")
    """
    path = Path(path)
    document = _of_settings(read_document(path), path, GalvoPointList.TAG, GalvoPointList.TAG)
    _require_root(document, path, (GalvoPointList.TAG,))
    return object_of(document, GalvoPointList, path)


def write_galvo_points(
    points: GalvoPointList, path: str | os.PathLike[str], *, overwrite: bool = False
) -> None:
    """Write a list of galvo points (``.gpl``) that PrairieView can load.

    Parameters
    ----------
    points : GalvoPointList
        Unchanged since it was read, it is written byte for byte as it was; after edits, only what
        has changed differs.
    path : path-like
        Where to write.
    overwrite : bool, default False
        Whether an existing file may be replaced.

    Raises
    ------
    TargetExistsError
        If there is something at ``path``.
    StoreError
        If it cannot be written there.
    ArgumentError
        If it is no list of galvo points.

    Examples
    --------
    >>> from calscipy.io.photostimulation import GalvoPoint, GalvoPointList, write_galvo_points
    >>> write_galvo_points(GalvoPointList(galvo_points=[GalvoPoint(x=-8.3, y=7.6)]), "new.gpl")
    """
    _require(points, GalvoPointList, "write_galvo_points")
    _write(Path(path), document_of(points).encode(), overwrite=overwrite)


def _of_settings(document: Document, path: Path, tag: str, alone: str) -> Document:
    """Take one element out of the microscope's settings, as if it were a file of its own."""
    if document.root.tag != _SETTINGS:
        return document
    marks = [child for child in document.root.children if child.tag == _IN_SETTINGS]
    found = [child for mark in marks for child in mark.children if child.tag == tag]
    if not found:
        raise RecordingError(
            f"{path}: these settings hold no <{tag}> in <{_IN_SETTINGS}>. Read the file of the "
            "protocol itself."
        )
    end = f"</{alone}>" if found[0].end else ""
    return Document(_DECLARATION, dataclasses.replace(found[0], tag=alone, end=end))


def _require(value: Any, cls: type[XmlElement], verb: str) -> None:
    if not isinstance(value, cls):
        raise ArgumentError(f"{verb} needs a {cls.__name__}, got a {type(value).__name__}.")


def _require_root(document: Document, path: Path, tags: tuple[str, ...]) -> None:
    """Raise unless the root is one of these, saying what reads the other files."""
    tag = document.root.tag
    if tag in tags:
        return
    readers = {
        GalvoPointList.TAG: "Read it with read_galvo_points.",
        ACQUIRED_TAG: "Read it with read_mark_points.",
        SAVED_TAG: "Read it with read_mark_points.",
        "PVScan": "This is a recording: open it with ImagingSession.open.",
    }
    raise RecordingError(
        f"{path}: the root <{' or '.join(tags)}> was expected, found <{shorten(tag)}>. "
        f"{readers.get(tag, 'Check the path.')}"
    )


def _write(path: Path, data: bytes, *, overwrite: bool) -> None:
    """Write a file under another name first, so that a crash leaves the old one or none."""
    if not overwrite or not path.is_file():
        require_free(path)
    stage = path.with_name(f".{uuid.uuid4().hex}.part")
    try:
        with stage.open("xb") as stream:
            stream.write(data)
            stream.flush()
            os.fsync(stream.fileno())
        stage.replace(path)
    except OSError as error:
        raise StoreError(f"{path} cannot be written ({error}).") from error
    finally:
        stage.unlink(missing_ok=True)
