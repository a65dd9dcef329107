"""From XML elements to objects, with every error of a file in one message."""

from __future__ import annotations

from collections import Counter
from itertools import islice
from pathlib import Path
from typing import Any, TypeVar

from calscipy.errors import CalscipyWarning, RecordingError, first_few, warn
from calscipy.io.photostimulation.elements import ElementError, XmlElement, table_of
from calscipy.io.photostimulation.fields import Indices
from calscipy.io.photostimulation.lossless import Attribute, Document, Element, shorten

MAX_FILE_INDICES = 2_000_000
_PROBLEMS_SHOWN = 50
_ATTRIBUTES_SEARCHED = 50

Object = TypeVar("Object", bound=XmlElement)


def object_of(document: Document, cls: type[Object], path: Path, **values: Any) -> Object:
    """Turn a file into an object.

    Parameters
    ----------
    document : Document
        The file.
    cls : type
        What its root stands for.
    path : Path
        For messages.
    **values
        Fields of the root that no attribute holds.

    Returns
    -------
    XmlElement
        An object of the class, with everything in it.

    Raises
    ------
    RecordingError
        If values cannot be used: all are named, each with its line, element and attribute.

    Warns
    -----
    CalscipyWarning
        Once, if there are attributes or elements that calscipy does not know. They are kept.
    """
    reader = _Reader()
    made = reader.take(cls, document.root, document, values)
    if reader.problems or made is None:
        shown = "; ".join(
            f"{_name(element)}: {text}" for element, text in reader.problems[:_PROBLEMS_SHOWN]
        )
        count = len(reader.problems)
        rest = count - _PROBLEMS_SHOWN
        raise RecordingError(
            f"{path}: {count} {'value' if count == 1 else 'values'} cannot be used: {shown}"
            f"{f'; and {rest} more' if rest > 0 else ''}. Correct them, or save the file again "
            "with PrairieView."
        )
    if reader.unknown:
        names = [f"{name} ({count} times)" for name, count in reader.unknown.items()]
        warn(
            f"{path}: calscipy does not know {first_few(names, 20)}. They are kept: see `extra` "
            "and `unknown_elements`.",
            CalscipyWarning,
        )
    return made


class _Reader:
    """Collects what is wrong or unknown in one file."""

    def __init__(self) -> None:
        self.problems: list[tuple[Element, str]] = []
        self.unknown: Counter[str] = Counter()
        self.indices = 0

    def take(
        self,
        cls: type[Object],
        element: Element,
        source: Element | Document,
        values: dict[str, Any],
    ) -> Object | None:
        """Turn an element and those in it into an object; None if that is not possible."""
        before = len(self.problems)
        values = values | self.attributes(cls, element) | self.children(cls, element)
        if len(self.problems) > before:
            return None
        try:
            return cls(**values, source=source)
        except ElementError as error:
            self.problems += [(element, problem) for problem in error.problems]
            return None

    def attributes(self, cls: type[XmlElement], element: Element) -> dict[str, Any]:
        values: dict[str, Any] = {}
        found: dict[str, Attribute] = {}
        for item in element.attributes():
            if item.name in found:
                self.problem(element, item, "it is there twice")
            found[item.name] = item
        for name, xml, kind, required in table_of(cls).attributes:
            values[name] = None
            if xml not in found:
                if required:
                    self.problems.append((element, f"{xml} is missing"))
                continue
            item = found.pop(xml)
            try:
                values[name] = kind.check(kind.read(item.text))
            except ValueError as error:
                self.problem(element, item, str(error))
            if isinstance(kind, Indices):
                self.count_indices(element, item, values, name)
        values["extra"] = self.extra(element, found)
        return values

    def count_indices(
        self, element: Element, item: Attribute, values: dict[str, Any], name: str
    ) -> None:
        """Bound what the ranges of a small file can grow to."""
        self.indices += len(values[name] or ())
        if self.indices > MAX_FILE_INDICES:
            values[name] = None
            self.problem(element, item, f"more than {MAX_FILE_INDICES} indices in one file")

    def extra(self, element: Element, found: dict[str, Attribute]) -> tuple[tuple[str, str], ...]:
        """Take the attributes that no field stands for."""
        pairs = []
        for name, item in found.items():
            self.unknown[f"the attribute {shorten(name)} of <{element.tag}>"] += 1
            try:
                pairs.append((name, item.text))
            except ValueError as error:
                self.problem(element, item, str(error))
        return tuple(pairs)

    def children(self, cls: type[XmlElement], element: Element) -> dict[str, Any]:
        fields = {item.cls.TAG: item for item in table_of(cls).children}
        values: dict[str, list[XmlElement]] = {item.name: [] for item in fields.values()}
        for child in element.children:
            item = fields.get(child.tag)
            if item is None:
                self.unknown[f"the element <{shorten(child.tag)}> in <{element.tag}>"] += 1
                continue
            made: XmlElement | None = self.take(item.cls, child, child, {})
            if made is not None:
                values[item.name].append(made)
        return {name: tuple(items) for name, items in values.items()}

    def problem(self, element: Element, item: Attribute, reason: str) -> None:
        text = f"{shorten(item.name)}={shorten(item.raw)!r}: {reason}"
        self.problems.append((element, text))


def _name(element: Element) -> str:
    """Name an element for messages."""
    first = islice(element.attributes(), _ATTRIBUTES_SEARCHED)
    named = next((item.raw for item in first if item.name == "Name"), "")
    shown = f" {shorten(named)!r}" if named else ""
    return f"line {element.line}, <{element.tag}>{shown}"
