"""Small XML files beside the master: untrusted input, parsed whole and without document types."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from lxml import etree

from calscipy.errors import RecordingError
from calscipy.io.prairieview.frame_records import SAFE_NAME
from calscipy.io.prairieview.scan_records import Sequence

MAX_SIDE_BYTES = 16 * 2**20
_INFINITY = {"∞": "inf", "-∞": "-inf"}  # as .NET writes them


Link = tuple[int, Mapping[str, str]]  # cycle and attributes of what names a side file


def links_of(sequences: Iterable[Sequence], tag: str) -> list[Link]:
    """Return the elements of one tag that name side files, such as ``VoltageRecording``."""
    return [(one.cycle, dict(node.attributes)) for one in sequences for node in one.elements(tag)]


def side_file(folder: Path, name: str) -> Path:
    """Return the path of a file that the master XML names, in the recording's folder.

    Raises
    ------
    RecordingError
        If the name is more than a bare file name, or if there is no such file.
    """
    if not SAFE_NAME.match(name):
        raise RecordingError(
            f"{folder}: the XML names the file {name[:80]!r}; a bare file name in the recording's "
            "folder was expected (no path, drive or reserved name). The XML is damaged or was "
            "tampered with: copy it again."
        )
    path = folder / name
    if not path.is_file():
        raise RecordingError(f"{path}: the file is missing. Copy it from the microscope.")
    return path


def parse_side_file(path: Path, root: str) -> Any:
    """Parse a small XML file and return its root element.

    Parameters
    ----------
    path : Path
        The file.
    root : str
        Tag that the root must have.

    Raises
    ------
    RecordingError
        If the file is empty or larger than 16 MiB, no XML, of another kind, or has a document
        type.
    """
    with path.open("rb") as stream:
        size = os.fstat(stream.fileno()).st_size
        if not 0 < size <= MAX_SIDE_BYTES:
            raise RecordingError(
                f"{path}: the file has {size} bytes; 1 to {MAX_SIDE_BYTES} were expected. "
                "Copy it again from the microscope."
            )
        text = stream.read(MAX_SIDE_BYTES)
    parser = etree.XMLParser(
        resolve_entities=False,
        no_network=True,
        load_dtd=False,
        attribute_defaults=False,
        huge_tree=False,
        remove_comments=True,
        remove_pis=True,
    )
    try:
        found = etree.fromstring(text, parser)
    except (etree.XMLSyntaxError, ValueError) as error:
        raise RecordingError(
            f"{path}: not a readable XML file ({str(error)[:200]}). Copy it again."
        ) from None
    tree: Any = found.getroottree()
    doctype = tree.docinfo.doctype
    if doctype:
        raise RecordingError(
            f"{path}: the XML declares a document type ({doctype[:60]!r}), which PrairieView never "
            "writes and which can pull in other files. Remove the DOCTYPE line if you trust it."
        )
    if found.tag != root:
        raise RecordingError(
            f"{path}: expected an XML file with the root <{root}>, found <{found.tag}>."
        )
    return found


def child_text(element: Any, tag: str, default: str = "") -> str:
    """Return the text of a child element, stripped; the default where there is none."""
    found = element.find(tag)
    return default if found is None or found.text is None else str(found.text).strip()


def number_in(path: Path, element: Any, tag: str, default: float) -> float:
    """Return the number in a child element; the default where it is absent or empty.

    Raises
    ------
    RecordingError
        If there is something else, naming the line.
    """
    text = child_text(element, tag)
    if not text:
        return default
    try:
        return float(_INFINITY.get(text, text))
    except ValueError:
        raise RecordingError(
            f"{path}, line {element.sourceline}: <{tag}>{text[:40]}</{tag}> in <{element.tag}>, "
            "a number was expected. Copy the file again."
        ) from None


def tree_of(element: Any) -> Any:
    """Return an element as plain values: its text, or its children by tag, lists if repeated."""
    if not len(element) and not element.attrib:
        return (element.text or "").strip()
    found: dict[str, Any] = {f"@{name}": value for name, value in element.attrib.items()}
    for child in element:
        value = tree_of(child)
        tag = str(child.tag)
        if tag not in found:
            found[tag] = value
        elif isinstance(found[tag], list):
            found[tag].append(value)
        else:
            found[tag] = [found[tag], value]
    return found
