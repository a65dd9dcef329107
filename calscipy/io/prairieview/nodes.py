"""Elements of a master XML that are no frames, kept as plain values."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple

from calscipy.errors import CalscipyWarning, warn

MAX_NODES = 1_000_000
UNKNOWN_KEPT = 100  # of the unknown elements inside frames, of which there can be very many

KNOWN_IN_SCAN = {"PVStateShard", "SystemIDs", "SystemConfiguration", "Sequence"}
KNOWN_IN_SEQUENCE = {
    "Frame",
    "PVStateShard",
    "PVLinescanSynchZ",
    "PVLinescanDefinition",
    "LineScanProfiles",
    "PVBOTs",
    "MarkPoints",
    "VoltageRecording",
    "VoltageOutput",
}


class Node(NamedTuple):
    """One element with everything below it."""

    tag: str
    attributes: tuple[tuple[str, str], ...]
    children: tuple[Node, ...] = ()
    text: str = ""

    def get(self, name: str, default: str | None = None) -> str | None:
        """Return an attribute."""
        return dict(self.attributes).get(name, default)

    def find(self, *tags: str) -> Iterator[Node]:
        """Yield the children with one of these tags, in the order of the XML."""
        return (child for child in self.children if child.tag in tags)

    def plain(self) -> dict[str, Any]:
        """Return nested values that a store accepts."""
        found: dict[str, Any] = {"tag": self.tag, "attributes": dict(self.attributes)}
        if self.children:
            found["children"] = [child.plain() for child in self.children]
        return found | {"text": self.text} if self.text else found


def node_of(element: Any, count: Callable[[], None]) -> Node:
    """Copy an element; ``count`` is called for each one and raises when there are too many.

    Frames inside it are read apart.
    """
    count()
    return Node(
        str(element.tag),
        tuple((str(name), str(value)) for name, value in element.attrib.items()),
        tuple(node_of(child, count) for child in element if child.tag != "Frame"),
        (element.text or "").strip(),
    )


def collapsed(nodes: Iterable[tuple[int, Node]]) -> list[dict[str, Any]]:
    """Return nodes as plain values; equal ones of several cycles once, with the cycles named.

    Cycle 0 stands for the recording itself and is not named.

    Examples
    --------
    >>> collapsed([(1, Node("A", ())), (2, Node("A", ()))])
    [{'tag': 'A', 'attributes': {}, 'cycles': '1-2'}]
    """
    cycles: dict[Node, list[int]] = {}
    for cycle, node in nodes:
        cycles.setdefault(node, []).append(cycle)
    return [
        node.plain() | ({"cycles": _ranges(found)} if any(found) else {})
        for node, found in cycles.items()
    ]


def _ranges(numbers: list[int]) -> str:
    """Write numbers as text, those in a row as a range: there can be thousands of cycles."""
    ranges: list[list[int]] = []
    for number in sorted(set(numbers)):
        if ranges and number == ranges[-1][1] + 1:
            ranges[-1][1] = number
        else:
            ranges.append([number, number])
    return ", ".join(str(a) if a == b else f"{a}-{b}" for a, b in ranges)


class UnknownNodes:
    """What a master XML holds that calscipy does not know: counted, and the first ones kept."""

    def __init__(self) -> None:
        self.counts: dict[str, int] = {}
        self.kept: list[tuple[int, Node]] = []

    def add(self, where: str, cycle: int, make: Callable[[], Node]) -> None:
        """Take in one element of a frame."""
        self.note(where)
        if self.counts[where] <= UNKNOWN_KEPT:
            self.kept.append((cycle, make()))

    def note(self, where: str) -> None:
        """Count one element that is kept elsewhere."""
        self.counts[where] = self.counts.get(where, 0) + 1

    def say(self, path: Any) -> None:
        """Warn once, naming every kind and where to find it."""
        if not self.counts:
            return
        kinds = ", ".join(f"{where} ({count})" for where, count in self.counts.items())
        warn(
            f"{path}: the XML holds elements that calscipy does not know: {kinds}. They are kept "
            "in session.metadata.elements and change nothing else.",
            CalscipyWarning,
        )
