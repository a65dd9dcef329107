"""From objects back to XML: the old text wherever nothing has changed, a new one elsewhere."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator

from calscipy.io.photostimulation.elements import XmlElement, table_of
from calscipy.io.photostimulation.fields import Kind, Text
from calscipy.io.photostimulation.lossless import Attribute, Document, Element, escape

_BEFORE = '\ufeff<?xml version="1.0" encoding="utf-8"?>\n'
_INDENT = "  "
_TEXT = Text()


def document_of(item: XmlElement) -> Document:
    """Turn an object into a file.

    Parameters
    ----------
    item : XmlElement
        What the root of the file stands for.

    Returns
    -------
    Document
        The text that the object was read from with what has changed since; for an object made in
        Python, a text laid out as PrairieView does.
    """
    old = item.source
    if not isinstance(old, Document):
        return Document(_BEFORE, element_of(item, 0, "\n"))
    root = element_of(item, 0, old.newline)
    return Document(old.before, root, old.after, old.encoding)


def element_of(item: XmlElement, depth: int, newline: str) -> Element:
    """Turn an object, ``depth`` elements deep in a file, into an element."""
    old = item.element
    texts, inner = _content(item, old, depth, newline)
    if old is None:
        attributes_text = "".join(map(str, _fresh_attributes(item)))
        if not texts:
            attributes_text += " "
    else:
        attributes_text = _edited_attributes(item, old)
    if not texts:
        return Element(item.tag, attributes_text)
    same_tag = old is not None and old.texts and old.tag == item.tag
    end = old.end if old is not None and same_tag else f"</{item.tag}>"
    if old is not None and not old.texts:
        attributes_text = attributes_text.rstrip()  # the space of " />"
    return Element(item.tag, attributes_text, texts, inner, end)


def _wanted(item: XmlElement) -> dict[str, tuple[Kind, object]]:
    """Return kind and value of the attributes that an object has, in PrairieView's order."""
    wanted: dict[str, tuple[Kind, object]] = {}
    for name, xml, kind, _ in table_of(type(item)).attributes:
        value = getattr(item, name)
        if value is not None:
            wanted[xml] = (kind, value)
    return wanted | {name: (_TEXT, value) for name, value in item.extra}


def _fresh_attributes(item: XmlElement) -> Iterator[Attribute]:
    for name, (kind, value) in _wanted(item).items():
        yield _attribute(name, kind, value)


def _attribute(name: str, kind: Kind, value: object) -> Attribute:
    return Attribute(" ", name, "=", '"', escape(kind.write(value)))


def _edited_attributes(item: XmlElement, old: Element) -> str:
    """Return the attributes of an element with those changed, added and left out that must be."""
    wanted = _wanted(item)
    result: list[Attribute] = []
    there = list(old.attributes())
    end = old.attributes_text[sum(len(str(attribute)) for attribute in there) :]
    for attribute in there:
        if attribute.name not in wanted:
            continue
        kind, value = wanted[attribute.name]
        if not _means(attribute, kind, value):
            attribute = attribute._replace(raw=escape(kind.write(value), attribute.quote))
        result.append(attribute)
    names = {attribute.name for attribute in result}
    added: dict[str, list[Attribute]] = {}  # by the one that PrairieView writes before them
    behind = ""
    for name, (kind, value) in wanted.items():
        if name in names:
            behind = name
        else:
            added.setdefault(behind, []).append(_attribute(name, kind, value))
    pieces = [*added.get("", ())]
    for attribute in result:
        pieces += [attribute, *added.get(attribute.name, ())]
    return "".join(map(str, pieces)) + end


def _means(attribute: Attribute, kind: Kind, value: object) -> bool:
    """Tell whether the text of an attribute still stands for a value."""
    read = kind.check(kind.read(attribute.text))
    return read == value or (read != read and value != value)  # NaN differs from itself


def _content(
    item: XmlElement, old: Element | None, depth: int, newline: str
) -> tuple[tuple[str, ...], tuple[Element, ...]]:
    """Return the texts and elements inside an element."""
    new = {field.cls.TAG: getattr(item, field.name) for field in table_of(type(item)).children}
    lead, tail = newline + _INDENT * (depth + 1), newline + _INDENT * depth
    if old is not None and old.texts:
        return _merge(new, old, depth, newline, lead)
    inner = tuple(
        element_of(child, depth + 1, newline) for children in new.values() for child in children
    )
    return ((lead,) * len(inner) + (tail,) if inner else ()), inner


def _merge(
    new: dict[str, tuple[XmlElement, ...]], old: Element, depth: int, newline: str, lead: str
) -> tuple[tuple[str, ...], tuple[Element, ...]]:
    """Put objects where they stood, new ones beside their neighbours, unknown elements as is."""
    waiting = {tag: deque(children) for tag, children in new.items()}
    kept = {tag: _kept(children, old) for tag, children in new.items()}
    last = {child.tag: number for number, child in enumerate(old.children)}
    texts: list[str] = []
    inner: list[Element] = []
    carry = ""  # comments before elements that are gone

    def emit(text: str, element: Element) -> None:
        nonlocal carry
        texts.append(carry + text)
        inner.append(element)
        carry = ""

    def emit_waiting(tag: str, text: str, stop: XmlElement | None = None) -> None:
        while waiting[tag] and waiting[tag][0] is not stop:
            emit(text, element_of(waiting[tag].popleft(), depth + 1, newline))

    for number, (text, child) in enumerate(zip(old.texts, old.children, strict=False)):
        if child.tag not in new:
            emit(text, child)
            continue
        style = text if text.isspace() else lead
        for tag in new:  # kinds that come earlier and had no place yet
            if tag == child.tag:
                break
            if tag not in last:
                emit_waiting(tag, style)
        same = kept[child.tag].get(id(child))
        if same is not None:
            emit_waiting(child.tag, style, same)
            emit(text, element_of(waiting[child.tag].popleft(), depth + 1, newline))
        elif not text.isspace():
            carry += text
        if last[child.tag] == number:
            emit_waiting(child.tag, style)
    for tag in new:
        emit_waiting(tag, lead)
    end = old.texts[-1]
    if inner and not old.children and not end.strip():
        end = newline + _INDENT * depth
    return (*texts, carry + end), tuple(inner)


def _kept(children: tuple[XmlElement, ...], old: Element) -> dict[int, XmlElement]:
    """Return the objects that can stay in their places, by the identity of the old element."""
    order = {id(child): number for number, child in enumerate(old.children)}
    kept: dict[int, XmlElement] = {}
    behind = -1
    for child in children:
        number = order.get(id(child.element), -1)
        if number > behind:
            kept[id(child.element)] = child
            behind = number
    return kept
