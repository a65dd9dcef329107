"""The microscope's settings beside a recording: ``.env``, or ``Config.cfg`` up to version 5.1."""

from __future__ import annotations

import base64
import zlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lxml import etree

from calscipy.errors import CalscipyWarning, DamagedRecordingWarning, RecordingError, warn
from calscipy.io.prairieview.frame_records import Entry, State
from calscipy.io.prairieview.nodes import MAX_NODES, Node, node_of
from calscipy.io.prairieview.states import shards

MAX_BYTES = 64 * 2**20
MAX_KEPT_BYTES = 4 * 2**20
_ROOTS = ("Environment", "PVConfig")
_CONTROL = "xmlParseCharRef: invalid xmlChar value"  # what &#x1; is to the parser
_LINE_SCAN, _Z_SERIES = "LineScanController", "PVZSeriesController"


@dataclass(frozen=True)
class Environment:
    """All settings at the start of a recording.

    Attributes
    ----------
    path : Path
        The file.
    root : Node
        Everything in it but the state.
    state : Mapping
        The complete state, some 160 keys, as `Scan.state`.
    damage : str or None
        What the parser passed over.
    """

    path: Path
    root: Node = field(repr=False)
    state: State = field(repr=False)
    damage: str | None = None

    def section(self, tag: str) -> Node | None:
        """Return the first section of a name."""
        return next(self.root.find(tag), None)

    @property
    def frame_rate(self) -> float | None:
        """Frames in a second at these settings."""
        entry = self.state.get("framerate")
        return _number(entry.value, float) if isinstance(entry, Entry) else None

    @property
    def active_channels(self) -> list[int]:
        """Numbers of the channels that are on, from 1."""
        entries = self.state.get("channel")
        if not isinstance(entries, dict):
            return []
        return sorted(
            int(index) + 1
            for index, entry in entries.items()
            if index.isdecimal() and isinstance(entry, Entry) and entry.value == "True"
        )

    @property
    def lines_to_skip(self) -> int | None:
        """Lines that a line scan leaves out after each one that it keeps."""
        return self._whole(_LINE_SCAN, "linesToSkip")

    def planned(self, types: Iterable[str]) -> int | None:
        """Return how many time points, or cycles of a line scan, were to be acquired.

        None for types of recording whose plan the settings do not hold. The plan of the last
        T-series stays in the settings of every other recording, so it counts for T-series alone.
        """
        kinds = set(types)
        if kinds == {"Linescan"}:
            return self._whole(_LINE_SCAN, "repetitions")
        series = self.section("TSeries")
        if series is None or not kinds or not all(kind.startswith("TSeries ") for kind in kinds):
            return None
        counts = [
            _number(element.get("repetitions"), int)
            for element in series.children
            if element.tag.startswith(("PVTSeriesElementSequence", "PVTSeriesElementZSeries"))
        ]
        iterations = _number(series.get("iterations", "1"), int)
        if not counts or iterations is None or None in counts:
            return None
        return iterations * sum(count for count in counts if count is not None)

    def facts(self) -> dict[str, Any]:
        """Return what people ask for, as plain values; the rest is read on demand."""
        notes = self.section("Notes")
        series = self.section("TSeries")
        found: dict[str, Any] = {
            "file": self.path.name,
            "version": self.root.get("version", ""),
            "date": self.root.get("date", ""),
            "frame_rate": self.frame_rate,
            "active_channels": self.active_channels,
            "lines_to_skip": self.lines_to_skip,
            "notes": "" if notes is None else notes.get("text", ""),
            "t_series": None if series is None else series.plain(),
            "line_scan": self._attributes(_LINE_SCAN),
            "z_series": self._attributes(_Z_SERIES),
            "sections": [child.tag for child in self.root.children],
        }
        return {name: value for name, value in found.items() if value not in (None, {})}

    def _attributes(self, tag: str) -> dict[str, str]:
        section = self.section(tag)
        return {} if section is None else dict(section.attributes)

    def _whole(self, tag: str, name: str) -> int | None:
        return _number(self._attributes(tag).get(name), int)


def find_environment(xml: Path) -> Path | None:
    """Return the settings beside a master XML, None where there are none."""
    names = (f"{xml.stem}.env", f"{xml.stem}Config.cfg")
    return next((path for path in map(xml.with_name, names) if path.is_file()), None)


def read_environment(path: Path) -> Environment:
    """Read an ``.env`` or ``Config.cfg`` file.

    References such as ``&#x1;``, with which PrairieView separates entries and which XML forbids,
    are read; after any other damage what stands before it is, with a warning.

    Parameters
    ----------
    path : Path
        The file.

    Raises
    ------
    RecordingError
        If it is empty, larger than 64 MiB, of another kind, or has a document type.
    """
    size = path.stat().st_size
    if not 0 < size <= MAX_BYTES:
        raise RecordingError(
            f"{path}: the settings file has {size} bytes; 1 to {MAX_BYTES} were expected. "
            "Copy it again from the microscope."
        )
    return parse_environment(path.read_bytes(), path)


def parse_environment(content: bytes, path: Path) -> Environment:
    """Read the content of such a file; ``path`` is for messages.

    Raises
    ------
    RecordingError
        If it is of another kind or has a document type.
    """
    root, damage = _parse(path, content)
    if damage:
        warn(
            f"{path}: the settings file is damaged ({damage}); what stands before that was read. "
            "Copy it again.",
            DamagedRecordingWarning,
        )
    state = shards(root)
    for shard in root.findall("PVStateShard"):
        root.remove(shard)
    count = iter(range(MAX_NODES))

    def one_more() -> None:
        if next(count, None) is None:
            raise RecordingError(f"{path}: the settings hold more than {MAX_NODES} elements.")

    return Environment(path, node_of(root, one_more), state, damage)


def packed(path: Path) -> dict[str, str]:
    """Return the whole file as text that an attribute holds, a fifth of its size.

    Empty for files beyond 4 MiB, with a warning: no microscope has so many settings.
    """
    content = path.read_bytes()
    if len(content) > MAX_KEPT_BYTES:
        warn(
            f"{path}: {len(content)} bytes of settings are not kept in the session, which takes "
            f"up to {MAX_KEPT_BYTES}. Keep the file.",
            CalscipyWarning,
        )
        return {}
    text = base64.b64encode(zlib.compress(content, 9)).decode("ascii")
    return {"name": path.name, "encoding": "zlib, base64", "content": text}


def unpacked(kept: Mapping[str, str]) -> Environment:
    """Read what `packed` kept.

    Raises
    ------
    RecordingError
        If it is damaged or larger than `packed` makes it.
    """
    path = Path(kept.get("name", "settings"))
    try:
        inflate = zlib.decompressobj()
        content = inflate.decompress(
            base64.b64decode(kept["content"], validate=True), MAX_KEPT_BYTES
        )
        whole = inflate.eof
    except (KeyError, TypeError, ValueError, zlib.error):
        content, whole = b"", False
    if not whole:
        raise RecordingError(
            f"{path}: the settings kept in the session's metadata are damaged. Read them from the "
            "recording: calscipy.prairieview.read_environment."
        )
    return parse_environment(content, path)


def _parse(path: Path, text: bytes) -> tuple[Any, str | None]:
    parser = _parser(recover=False)
    damage = None
    try:
        root = etree.fromstring(text, parser)
    except (etree.XMLSyntaxError, ValueError):
        parser = _parser(recover=True)
        try:
            root = etree.fromstring(text, parser)
        except (etree.XMLSyntaxError, ValueError):  # nothing to recover
            root = None
        others = [e for e in parser.error_log if not e.message.startswith(_CONTROL)]
        damage = f"{others[0].message}, line {others[0].line}" if others else None
    if root is None or root.tag not in _ROOTS:
        found = "no XML" if root is None else f"<{root.tag}>"
        raise RecordingError(
            f"{path}: expected PrairieView's settings with the root <Environment> or <PVConfig>, "
            f"found {found}."
        )
    if root.getroottree().docinfo.doctype:
        raise RecordingError(
            f"{path}: the XML declares a document type, which PrairieView never writes and which "
            "can pull in other files. Remove the DOCTYPE line if you trust the file."
        )
    return root, damage


def _parser(*, recover: bool) -> Any:
    return etree.XMLParser(
        recover=recover,
        resolve_entities=False,
        no_network=True,
        load_dtd=False,
        attribute_defaults=False,
        huge_tree=False,
        remove_comments=True,
        remove_pis=True,
    )


def _number(text: str | None, kind: type) -> Any:
    try:
        return None if text is None else kind(text)
    except ValueError:
        return None
