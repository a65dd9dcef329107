"""The master XML of a PrairieView recording, streamed into typed records.

The XML is the only authority on structure and order. It is untrusted input: document types are
refused, file names must be bare names, and nothing in it is evaluated.
"""

from __future__ import annotations

import codecs
import mmap
import os
import uuid
from functools import partial
from pathlib import Path
from typing import Any

from lxml import etree

from calscipy.errors import DamagedRecordingWarning, RecordingError, warn
from calscipy.io.prairieview.frame_records import (
    SAFE_NAME,
    File,
    Frame,
    State,
    pieces,
    raw_pieces,
)
from calscipy.io.prairieview.keys4 import with_laser_names
from calscipy.io.prairieview.nodes import (
    KNOWN_IN_SCAN,
    KNOWN_IN_SEQUENCE,
    MAX_NODES,
    Node,
    UnknownNodes,
    node_of,
)
from calscipy.io.prairieview.scan_records import Scan, Sequence
from calscipy.io.prairieview.states import difference, is_full, merge, shards, state_of

MAX_XML_BYTES = 4 * 2**30
MAX_FRAMES = 50_000_000
MAX_NUMBER = 2**31 - 1  # of cycles, frames, channels and pages
FRAMES_KEPT = 512  # parsed elements of one sequence that stay in memory

_FILE_ATTRIBUTES = {"channel", "channelName", "filename", "page", "source"}
_SEARCHED = 2**20  # bytes at a time
_PLAIN_ATTRIBUTES = 3  # that every file has
_READ_APART = {"PVStateShard", "SystemIDs", "Sequence"}


def read_scan(path: Path) -> Scan:
    """Read a master XML.

    Parameters
    ----------
    path : Path
        The master XML, root element ``PVScan``.

    Returns
    -------
    Scan
        Complete, or the complete frames before the damage, with ``damage`` set and a warning.

    Raises
    ------
    RecordingError
        If the file is empty, is not a ``PVScan``, has a document type, names files outside its
        folder, or breaks off before the first frame.
    """
    size = path.stat().st_size
    if size == 0:
        raise RecordingError(
            f"{path}: the master XML is empty (0 bytes), a <PVScan> was expected. "
            "Copy it again from the microscope."
        )
    if size > MAX_XML_BYTES:
        raise RecordingError(
            f"{path}: the master XML has {size} bytes, more than the {MAX_XML_BYTES} accepted."
        )
    reader = _parse(path)
    encoding = None
    if reader.broke_off and not _is_utf8(path):
        encoding = "windows-1252"
        reader = _parse(path, encoding=encoding)
        warn(
            f"{path}: the master XML is not valid UTF-8 and was read as Windows-1252; "
            "names and descriptions with other letters may be wrong. Save it as UTF-8 if so.",
            DamagedRecordingWarning,
        )
    if reader.broke_off and _has_closing_tag(path):
        # Characters that XML 1.0 forbids, such as &#x1;, which PrairieView does write.
        reader = _parse(path, encoding=encoding, recover=True)
    return reader.scan()


class _Reader:
    """Collects what the parser streams, so that a broken file leaves what came before."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.root: Any = None
        self.sequence: Any = None
        self.frames: list[Frame] = []
        self.plain_frames: list[Frame] = []  # those that the next placeholder stands for
        self.sequences: list[Sequence] = []
        self.count = self.nodes = 0
        self.first_state: State | None = None  # the full state of the first frame of 4.x
        self.channels: dict[str, dict[str, str]] = {}
        self.unknown = UnknownNodes()
        self.finished = False
        self.error: Exception | None = None

    @property
    def broke_off(self) -> bool:
        """Whether parsing ended before the root element did."""
        return self.error is not None and not self.finished

    def feed(self, parser: Any, piece: bytes) -> bool:
        """Hand a piece to the parser and take in what it completes; False once it is broken."""
        try:
            parser.feed(piece)
        except etree.XMLSyntaxError as error:
            self.error = error
        for _, element in parser.read_events():
            if self.root is None:
                self.check_root(element.getroottree().getroot())
            self.end(element)
        return self.error is None

    def close(self, parser: Any) -> None:
        """Tell the parser that nothing follows."""
        try:
            root = parser.close()
        except etree.XMLSyntaxError as error:
            self.error = error
        else:
            if self.root is None and root is not None:  # recovery may find nothing at all
                self.check_root(root)

    def check_root(self, root: Any) -> None:
        doctype = root.getroottree().docinfo.doctype
        if doctype:
            raise RecordingError(
                f"{self.path}: the XML declares a document type ({doctype[:60]!r}), which "
                "PrairieView never writes and which can pull in other files. "
                "Remove the DOCTYPE line if you trust the file."
            )
        if root.tag != "PVScan":
            raise RecordingError(
                f"{self.path}: expected a PrairieView master XML with the root <PVScan>, "
                f"found <{root.tag}>. Give the folder, or its master XML."
            )
        self.root = root

    def end(self, element: Any) -> None:
        tag = element.tag
        if tag == "Frame":
            if self.sequence is None:
                self._open_sequence(element)
            self.frames.append(self._frame(element))
            element.clear()
            if len(self.frames) % FRAMES_KEPT == 0:
                self._forget_frames()
        elif tag == "Sequence":
            self._close_sequence(element)
        elif tag == "PVScan":
            self.finished = True
        else:
            if self.sequence is None:
                self._open_sequence(element)
            self.frames += self.plain_frames
            parent = element.getparent()
            if parent is not None:  # none where the XML broke off just before
                parent.remove(element)
            self._count(len(self.plain_frames))

    def _open_sequence(self, frame: Any) -> None:
        self.sequence = frame.getparent()
        if self.sequence is None or self.sequence.tag != "Sequence":
            raise RecordingError(
                f"{self.path}, line {frame.sourceline}: a <Frame> stands outside of every "
                "<Sequence>. Copy the XML again."
            )

    def _forget_frames(self) -> None:
        for child in self.sequence.findall("Frame")[:-1]:
            self.sequence.remove(child)
        self._count(FRAMES_KEPT)

    def _count(self, more: int) -> None:
        self.count += more
        if self.count > MAX_FRAMES:
            raise RecordingError(f"{self.path}: the XML lists more than {MAX_FRAMES} frames.")

    def _frame(self, element: Any) -> Frame:
        files = []
        state = last_good = None
        for child in element:
            tag = child.tag
            if tag == "File":
                files.append(self._file(child))
            elif tag == "PVStateShard":
                if len(child):
                    state = self._state(child)
            elif tag == "ExtraParameters":
                last_good = child.get("lastGoodFrame", child.get("validData"))
            else:
                self.unknown.add(
                    f"<{tag}> in <Frame>",
                    self._integer(self.sequence, "cycle", 1),
                    partial(self._node, child),
                )
        get = element.get
        return Frame(
            self._integer(element, "index", len(self.frames) + 1),
            _seconds(get("relativeTime")),
            _seconds(get("absoluteTime")),
            tuple(files),
            state,
            last_good,
        )

    def _state(self, shard: Any) -> State | None:
        """Return what a frame's shard changes; 4.x writes the full state into every frame."""
        state = state_of(shard)
        if not is_full(shard):
            return state
        if self.first_state is None:
            self.first_state = state
        return difference(self.first_state, state) or None

    def _node(self, element: Any) -> Node:
        return node_of(element, self._count_node)

    def _count_node(self) -> None:
        self.nodes += 1
        if self.nodes > MAX_NODES:
            raise RecordingError(
                f"{self.path}: the XML holds more than {MAX_NODES} elements beside its frames. "
                "It is damaged: copy it again."
            )

    def _beside(self, parent: Any, known: set[str], apart: set[str]) -> tuple[Node, ...]:
        """Keep the children of an element other than those that are read apart."""
        found = []
        for child in parent:
            if child.tag in apart:
                continue
            found.append(self._node(child))
            if child.tag not in known:
                self.unknown.note(f"<{child.tag}> in <{parent.tag}>")
        return tuple(found)

    def _file(self, element: Any) -> File:
        name = element.get("filename", "")
        if not SAFE_NAME.match(name):
            raise RecordingError(
                f"{self.path}, line {element.sourceline}: the XML names the file {name[:80]!r}; a "
                "bare file name in the recording's folder was expected (no path, drive or "
                "reserved name). The XML is damaged or was tampered with: copy it again."
            )
        channel = self._integer(element, "channel", 1)
        page = self._integer(element, "page", 1)
        if page < 1:
            raise RecordingError(
                f"{self.path}, line {element.sourceline}: page={page} of {name}; pages count "
                "from 1."
            )
        source = None
        if len(element.attrib) > _PLAIN_ATTRIBUTES:
            source = element.get("source")
            rest = {str(k): str(v) for k, v in element.attrib.items() if k not in _FILE_ATTRIBUTES}
            if rest:
                self.channels.setdefault(str(channel), rest)
        label = element.get("channelName") or f"Ch{channel}"
        return File(channel, label, name, page, source)

    def _integer(self, element: Any, name: str, default: int) -> int:
        text = element.get(name)
        if text is None:
            return default
        try:
            number = int(text)
        except ValueError:
            number = MAX_NUMBER + 1
        if abs(number) > MAX_NUMBER:
            raise RecordingError(
                f"{self.path}, line {element.sourceline}: <{element.tag} {name}={text[:40]!r}>, "
                "a whole number was expected. Copy the XML again."
            )
        return number

    def _close_sequence(self, element: Any) -> None:
        cycle = self._integer(element, "cycle", len(self.sequences) + 1)
        if cycle < 0:
            raise RecordingError(
                f"{self.path}, line {element.sourceline}: <Sequence cycle={cycle}>, cycles count "
                "from 1. Copy the XML again."
            )
        self.sequences.append(
            Sequence(
                element.get("type", ""),
                cycle,
                element.get("time", ""),
                element.get("bidirectionalZ", "False") == "True",
                shards(element),
                tuple(self.frames),
                (
                    Node("Sequence", _attributes(element, apart={"cycle", "time"})),
                    *self._beside(element, KNOWN_IN_SEQUENCE, {"Frame", "PVStateShard"}),
                ),
            )
        )
        element.clear(keep_tail=True)
        self.sequence, self.frames = None, []

    def scan(self) -> Scan:
        if self.sequence is not None:
            self._close_sequence(self.sequence)
        frames = sum(len(sequence.frames) for sequence in self.sequences)
        if self.root is None or (self.error is not None and not frames):
            raise RecordingError(
                f"{self.path}: not a readable PrairieView master XML "
                f"({_reason(self.error)}). Copy it again from the microscope."
            )
        if self.error is not None:
            warn(
                f"{self.path}: the master XML is damaged or breaks off ({_reason(self.error)}); "
                f"{frames} complete frames were found in it and are kept. Copy the XML again if "
                "the recording was longer.",
                DamagedRecordingWarning,
            )
        systems = self.root.find("SystemIDs")
        nodes = self._beside(self.root, KNOWN_IN_SCAN, _READ_APART)
        self.unknown.say(self.path)
        return Scan(
            path=self.path,
            version=self.root.get("version", ""),
            date=self.root.get("date", ""),
            notes=self.root.get("notes", ""),
            systems={
                item.get("SystemID", ""): item.get("Description", "")
                for item in (systems if systems is not None else ())
            },
            state=with_laser_names(merge(shards(self.root), self.first_state), nodes),
            sequences=tuple(self.sequences),
            damage=None if self.error is None else _reason(self.error),
            nodes=nodes,
            channels=self.channels,
            unknown=tuple(self.unknown.kept),
        )


def _parse(path: Path, *, encoding: str | None = None, recover: bool = False) -> _Reader:
    reader = _Reader(path)
    cut = f"Plain-{uuid.uuid4().hex}"  # stands for frames cut out; no document can hold it
    parser = etree.XMLPullParser(
        events=("end",),
        tag=("PVScan", "Sequence", "Frame", cut),
        encoding=encoding,
        recover=recover,
        resolve_entities=False,
        no_network=True,
        load_dtd=False,
        attribute_defaults=False,
        huge_tree=False,
        remove_comments=True,
        remove_pis=True,
    )
    with path.open("rb") as stream, mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as text:
        start = 3 if encoding is not None and text[:3] == codecs.BOM_UTF8 else 0
        # Frames in a CDATA section are text and must stay there.
        plain = encoding is None and not recover and not _holds(text, b"<![CDATA[")
        for piece in pieces(text, start) if plain else raw_pieces(text, start, len(text)):
            if not isinstance(piece, bytes):
                reader.plain_frames = piece.frames
                piece = b"<%s/>" % cut.encode() + b"\n" * piece.lines
            if not reader.feed(parser, piece):
                break
        else:
            reader.close(parser)
    if recover:
        reader.error = _damage(parser.feed_error_log)
    return reader


def _holds(text: Any, wanted: bytes) -> bool:
    """Tell whether bytes stand in a file; a mapped file's own search is ten times slower."""
    starts = range(0, len(text), _SEARCHED)
    return any(wanted in text[at : at + _SEARCHED + len(wanted)] for at in starts)


def _damage(log: Any) -> Exception | None:
    """Return what recovery passed over, if it was more than a reference such as &#x1;."""
    for entry in log:
        if not entry.message.startswith("xmlParseCharRef: invalid xmlChar value"):
            return ValueError(f"{entry.message}, line {entry.line}")
    return None


def _attributes(element: Any, apart: set[str]) -> tuple[tuple[str, str], ...]:
    return tuple((str(k), str(v)) for k, v in element.attrib.items() if k not in apart)


def _seconds(text: str | None) -> float:
    """Return a time in seconds; NaN where it is missing or not a number."""
    try:
        return float(text) if text is not None else float("nan")
    except ValueError:
        return float("nan")


def _reason(error: Exception | None) -> str:
    return str(error).replace("\n", " ") if error is not None else "no <PVScan> in it"


def _is_utf8(path: Path) -> bool:
    decoder = codecs.getincrementaldecoder("utf-8")()
    with path.open("rb") as stream:
        head = stream.read(4)
        if head.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
            return True
        stream.seek(0)
        try:
            while block := stream.read(1 << 20):
                decoder.decode(block)
        except UnicodeDecodeError:
            return False
    return True


def _has_closing_tag(path: Path) -> bool:
    with path.open("rb") as stream:
        stream.seek(max(0, os.fstat(stream.fileno()).st_size - 4096))
        return b"</PVScan>" in stream.read()
