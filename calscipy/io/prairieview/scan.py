"""The master XML of a PrairieView recording, streamed into typed records.

The XML is the only authority on structure and order. It is untrusted input: document types are
refused, file names must be bare names, and nothing in it is evaluated.
"""

from __future__ import annotations

import codecs
import datetime as dt
import mmap
import os
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lxml import etree

from calscipy.errors import DamagedRecordingWarning, RecordingError, warn
from calscipy.io.prairieview.frame_records import (
    SAFE_NAME,
    Entry,
    File,
    Frame,
    State,
    pieces,
    raw_pieces,
)

MAX_XML_BYTES = 4 * 2**30
MAX_FRAMES = 50_000_000
FRAMES_KEPT = 512  # parsed elements of one sequence that stay in memory


@dataclass(frozen=True, slots=True)
class Sequence:
    """One cycle: frames of a plane series, or the planes of one volume."""

    type: str
    cycle: int
    time: str
    bidirectional_z: bool
    state: State
    frames: tuple[Frame, ...]


@dataclass(frozen=True, slots=True)
class Scan:
    """A whole recording as its master XML describes it."""

    path: Path
    version: str
    date: str
    notes: str
    systems: Mapping[str, str]
    state: State
    sequences: tuple[Sequence, ...]
    damage: str | None = None

    @property
    def started(self) -> dt.datetime | None:
        """Local start of the recording; None if the date is not in PrairieView's US form."""
        try:
            return dt.datetime.strptime(self.date, "%m/%d/%Y %I:%M:%S %p")
        except ValueError:
            return None

    def lookup(
        self, sequence: Sequence, frame: Frame, key: str, index: str, subindex: str | None = None
    ) -> str | None:
        """Resolve one value for one frame: its own state, its sequence's, the recording's."""
        for state in (frame.state, sequence.state, self.state):
            level: Any = state.get(key) if state else None
            if isinstance(level, dict):
                level = level.get(index)
            if subindex is not None and isinstance(level, dict):
                level = level.get(subindex)
            if isinstance(level, Entry):
                return level.value
        return None


def merge(base: State, delta: State | None) -> State:
    """Lay a delta over a state, key by key, index by index, subindex by subindex."""
    if not delta:
        return base
    merged = dict(base)
    for key, value in delta.items():
        below = merged.get(key)
        both = isinstance(below, dict) and isinstance(value, dict)
        merged[key] = merge(below, value) if both else value  # type: ignore[arg-type]
    return merged


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
        self.count = 0
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
            if self.root is None:
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
            element.getparent().remove(element)
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
                    state = _state(child)
            elif tag == "ExtraParameters":
                last_good = child.get("lastGoodFrame")
        get = element.get
        return Frame(
            self._integer(element, "index", len(self.frames) + 1),
            _seconds(get("relativeTime")),
            _seconds(get("absoluteTime")),
            tuple(files),
            state,
            last_good,
        )

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
        return File(channel, element.get("channelName") or f"Ch{channel}", name, page)

    def _integer(self, element: Any, name: str, default: int) -> int:
        text = element.get(name)
        if text is None:
            return default
        try:
            return int(text)
        except ValueError:
            raise RecordingError(
                f"{self.path}, line {element.sourceline}: <{element.tag} {name}={text!r}>, "
                "a whole number was expected. Copy the XML again."
            ) from None

    def _close_sequence(self, element: Any) -> None:
        text = element.get("cycle", str(len(self.sequences) + 1))
        if not text.isdecimal():
            raise RecordingError(
                f"{self.path}, line {element.sourceline}: <Sequence cycle={text!r}>, a whole "
                "number was expected. Copy the XML again."
            )
        self.sequences.append(
            Sequence(
                element.get("type", ""),
                int(text),
                element.get("time", ""),
                element.get("bidirectionalZ", "False") == "True",
                _shards(element),
                tuple(self.frames),
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
        return Scan(
            path=self.path,
            version=self.root.get("version", ""),
            date=self.root.get("date", ""),
            notes=self.root.get("notes", ""),
            systems={
                item.get("SystemID", ""): item.get("Description", "")
                for item in (systems if systems is not None else ())
            },
            state=_shards(self.root),
            sequences=tuple(self.sequences),
            damage=None if self.error is None else _reason(self.error),
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
        plain = encoding is None and not recover
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


def _damage(log: Any) -> Exception | None:
    """Return what recovery passed over, if it was more than a reference such as &#x1;."""
    for entry in log:
        if not entry.message.startswith("xmlParseCharRef: invalid xmlChar value"):
            return ValueError(f"{entry.message}, line {entry.line}")
    return None


def _shards(parent: Any) -> State:
    state: State = {}
    for shard in parent.iterchildren("PVStateShard"):
        state = merge(state, _state(shard))
    return state


def _state(shard: Any) -> State:
    state: dict[str, Any] = {}
    for value in shard:
        key = value.get("key")
        if value.tag != "PVStateValue" or key is None:
            continue
        state[key] = _children(value) if len(value) else _entry(value)
    return state


def _children(value: Any) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for child in value:
        if child.tag == "SubindexedValues":
            found[child.get("index", "")] = {
                item.get("subindex", ""): _entry(item) for item in child
            }
        else:
            found[child.get("index", "")] = _entry(child)
    return found


def _entry(element: Any) -> Entry:
    return Entry(element.get("value", ""), element.get("description"))


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
