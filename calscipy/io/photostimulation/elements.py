"""What all elements of photostimulation files have in common.

An element is a frozen dataclass. Fields that stand for an XML attribute say so with ``attribute``,
fields that hold other elements with ``children``; checking, comparing, reading and writing follow
from these two.
"""

from __future__ import annotations

import dataclasses
import math
import reprlib
from collections.abc import Iterable
from typing import Any, ClassVar, NamedTuple, Self

from calscipy.errors import ArgumentError
from calscipy.io.photostimulation.fields import Kind, Text
from calscipy.io.photostimulation.lossless import Document, Element, is_name, shorten

_XML, _KIND, _REQUIRED, _CLASS = "xml", "kind", "required", "class"
_TEXT = Text()
_SHORT = reprlib.Repr()
_SHORT.maxother = _SHORT.maxstring = 60
_CHILDREN_SHOWN = 3


class ElementError(ArgumentError):
    """Values that an element cannot have; ``problems`` has one text for each.

    Parameters
    ----------
    name : str
        Which element.
    problems : list of str
        What is wrong with it.
    """

    def __init__(self, name: str, problems: list[str]) -> None:
        super().__init__(name, problems)
        self.name = name
        self.problems = problems

    def __str__(self) -> str:
        return f"{self.name}: {'; '.join(self.problems)}."


class AttributeField(NamedTuple):
    """A field that stands for an XML attribute."""

    name: str
    xml: str
    kind: Kind
    required: bool


class ChildrenField(NamedTuple):
    """A field that holds other elements."""

    name: str
    cls: type[XmlElement]


class Table(NamedTuple):
    """What the fields of a class stand for."""

    attributes: tuple[AttributeField, ...]
    children: tuple[ChildrenField, ...]
    compared: tuple[str, ...]


_TABLES: dict[type[XmlElement], Table] = {}


def attribute(xml: str, kind: Kind, default: Any = None, *, required: bool = False) -> Any:
    """Declare a field that stands for the XML attribute ``xml``."""
    metadata = {_XML: xml, _KIND: kind, _REQUIRED: required}
    return dataclasses.field(default=default, metadata=metadata)


def children(cls: type[XmlElement], default: Any = dataclasses.MISSING) -> Any:
    """Declare a field that holds elements of one class."""
    return dataclasses.field(default=default, metadata={_CLASS: cls})


def table_of(cls: type[XmlElement]) -> Table:
    """Return the fields of a class, in the order in which they are written."""
    if cls not in _TABLES:
        fields = dataclasses.fields(cls)
        attributes = tuple(
            AttributeField(item.name, *(item.metadata[key] for key in (_XML, _KIND, _REQUIRED)))
            for item in fields
            if _XML in item.metadata
        )
        inner = tuple(
            ChildrenField(item.name, item.metadata[_CLASS])
            for item in fields
            if _CLASS in item.metadata
        )
        compared = tuple(item.name for item in fields if item.compare)
        _TABLES[cls] = Table(attributes, inner, compared)
    return _TABLES[cls]


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False, repr=False, slots=True)
class XmlElement:
    """Base of the elements of photostimulation files.

    Parameters
    ----------
    extra : tuple of (str, str)
        Attributes that calscipy does not know, as pairs of name and value. They are kept.
    source : Element or Document, optional
        Where the element was read. It gives an edited element its old text wherever nothing has
        changed, and holds elements that calscipy does not know. It does not count when elements
        are compared.
    """

    TAG: ClassVar[str]

    extra: tuple[tuple[str, str], ...] = ()
    source: Element | Document | None = dataclasses.field(default=None, compare=False)

    def __post_init__(self) -> None:
        problems: list[str] = []
        for name, xml, kind, required in table_of(type(self)).attributes:
            value = getattr(self, name)
            if value is None and not required:
                continue
            try:
                object.__setattr__(self, name, kind.check(value))
            except ValueError as error:
                problems.append(f"{name}={_SHORT.repr(value)} ({xml}): {error}")
        for name, cls in table_of(type(self)).children:
            problems += self._take_children(name, cls)
        problems += self._check_extra()
        if not problems:
            problems += self._contradictions()
        if problems:
            raise ElementError(type(self).__name__, problems)

    def _take_children(self, name: str, cls: type[XmlElement]) -> list[str]:
        value = getattr(self, name)
        items = tuple(value) if isinstance(value, Iterable) else (value,)
        wrong = [item for item in items if not isinstance(item, cls)]
        if wrong:
            return [f"{name} holds {_SHORT.repr(wrong[0])}: each must be a {cls.__name__}"]
        object.__setattr__(self, name, items)
        return []

    def _check_extra(self) -> list[str]:
        known = {item.xml for item in table_of(type(self)).attributes}
        try:
            pairs = tuple((str(name), _TEXT.check(value)) for name, value in self.extra)
        except (TypeError, ValueError):
            return ["extra: pairs of name and text were expected"]
        for name, _ in pairs:
            if name in known or not is_name(name):
                return [f"extra has the name {shorten(name)!r}: a new XML name was expected"]
            known.add(name)
        object.__setattr__(self, "extra", pairs)
        return []

    def _contradictions(self) -> list[str]:
        """Name values that are fine by themselves and do not fit together."""
        return []

    @property
    def tag(self) -> str:
        """The name of the XML element."""
        return self.TAG

    @property
    def element(self) -> Element | None:
        """The element as it was read; None for one made in Python."""
        return self.source.root if isinstance(self.source, Document) else self.source

    @property
    def unknown_elements(self) -> tuple[str, ...]:
        """Elements inside this one that calscipy does not know, as XML. They are kept."""
        known = {item.cls.TAG for item in table_of(type(self)).children}
        read = self.element.children if self.element is not None else ()
        return tuple(str(child) for child in read if child.tag not in known)

    def replace(self, **changes: Any) -> Self:
        """Return a copy with other values; written to a file, only these change.

        Parameters
        ----------
        **changes
            New values by field.

        Returns
        -------
        XmlElement
            Of the same class.

        Raises
        ------
        ArgumentError
            For values that the element cannot have; all of them are named.
        """
        unknown = sorted(set(changes) - {item.name for item in dataclasses.fields(self)})
        if unknown:
            raise ArgumentError(f"{type(self).__name__} has no fields {unknown}.")
        return dataclasses.replace(self, **changes)

    def _key(self) -> tuple[Any, ...]:
        """Return what is compared; NaN, which files have, equals itself here."""
        values = (getattr(self, name) for name in table_of(type(self)).compared)
        return tuple("NaN" if _is_nan(value) else value for value in values)

    def __eq__(self, other: object) -> bool:
        if type(other) is not type(self):
            return NotImplemented
        return self._key() == other._key()  # type: ignore[attr-defined]

    def __hash__(self) -> int:
        return hash((type(self), self._key()))

    def __repr__(self) -> str:
        table = table_of(type(self))
        names = [*(item.name for item in table.attributes), *(item.name for item in table.children)]
        values = [(name, getattr(self, name)) for name in names]
        values += [("extra", self.extra)] if self.extra else []
        shown = (f"{name}={_show(value)}" for name, value in values if value is not None)
        return f"{type(self).__name__}({', '.join(shown)})"


def _is_nan(value: Any) -> bool:
    return isinstance(value, float) and math.isnan(value)


def _show(value: Any) -> str:
    if isinstance(value, tuple) and len(value) > _CHILDREN_SHOWN:
        if isinstance(value[0], XmlElement):
            return f"<{len(value)} {type(value[0]).__name__}>"
        if isinstance(value[0], int | float):
            return _SHORT.repr(value)
    return repr(value)
