"""XML that is written back as it was read: every space, quote and digit is kept.

A general parser forgets how a file was laid out. This one cuts a text into elements that together
hold all of it. It knows the XML that microscopes write and nothing that could do harm: document
types, entities of their own and very large files are refused.
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from calscipy.errors import DamagedRecordingWarning, RecordingError, warn

MAX_BYTES = 32 * 2**20
MAX_ELEMENTS = 200_000
MAX_DEPTH = 32
MAX_TAG_CHARACTERS = 2**20  # the indices of a group of 100,000 points fit

_SPACE = r"[ \t\r\n]"
_NAME = r"[^\W\d][\w:.\-]*+"
_VALUE = r"""(?:"[^"<]*+"|'[^'<]*+')"""
# Possessive: what has matched is never tried again, so that no text takes more than linear time.
_START = re.compile(
    rf"<({_NAME})((?:{_SPACE}++{_NAME}{_SPACE}*+={_SPACE}*+{_VALUE})*+{_SPACE}*+)(/?)>"
)
_END = re.compile(rf"</({_NAME}){_SPACE}*+>")
_ATTRIBUTE = re.compile(
    rf"""({_SPACE}++)({_NAME})({_SPACE}*+={_SPACE}*+)(?:"([^"<]*+)"|'([^'<]*+)')"""
)
_REFERENCE = re.compile(r"&(?:(amp|lt|gt|quot|apos)|#([0-9]{1,7})|#x([0-9A-Fa-f]{1,6}));")
_OTHER_REFERENCE = re.compile(
    r"&(?!(?:amp|lt|gt|quot|apos|#[0-9]{1,7}|#x[0-9A-Fa-f]{1,6});).{0,20}", re.DOTALL
)
_NOT_TEXT = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\ufffe\uffff]")
_NOT_WRITABLE = re.compile(r"[\x00\ud800-\udfff\ufffe\uffff]")
_TO_ESCAPE = re.compile("[\x01-\x1f&<>\"']")
_NAMED = {"amp": "&", "lt": "<", "gt": ">", "quot": '"', "apos": "'"}
_NAME_OF = {character: name for name, character in _NAMED.items()}
_BLANK = str.maketrans("\t\r\n", "   ")
_MARKUP = (("<!--", "-->"), ("<![CDATA[", "]]>"), ("<?", "?>"))
_LATIN = re.compile(rb"""<\?xml[^>]{0,80}encoding=["'](iso-8859-1|windows-1252)["']""", re.I)


class Attribute(NamedTuple):
    """One attribute as written: ``before + name + equals + quote + raw + quote``."""

    before: str
    name: str
    equals: str
    quote: str
    raw: str

    @property
    def text(self) -> str:
        """The value, references resolved.

        Raises
        ------
        ValueError
            If a reference names no character.
        """
        return unescape(self.raw)

    def __str__(self) -> str:
        return f"{self.before}{self.name}{self.equals}{self.quote}{self.raw}{self.quote}"


@dataclass(frozen=True, slots=True, eq=False)
class Element:
    """One element as written.

    ``attributes_text`` is all between the tag and ``>`` or ``/>``. ``texts`` are what lies before,
    between and after the ``children``, comments included: one more than there are children, or
    none at all in an element without an end tag.
    """

    tag: str
    attributes_text: str = ""
    texts: tuple[str, ...] = ()
    children: tuple[Element, ...] = ()
    end: str = ""
    line: int = 0

    def attributes(self) -> Iterator[Attribute]:
        """Give the attributes, in order."""
        for match in _ATTRIBUTE.finditer(self.attributes_text):
            before, name, equals, double, single = match.groups()
            quote, raw = ('"', double) if single is None else ("'", single)
            yield Attribute(before, name, equals, quote, raw)

    def pieces(self) -> Iterator[str]:
        """Give the text of the element, piece by piece."""
        yield f"<{self.tag}{self.attributes_text}{'>' if self.texts else '/>'}"
        for text, child in zip(self.texts, self.children, strict=False):
            yield text
            yield from child.pieces()
        if self.texts:
            yield self.texts[-1]
        yield self.end

    def __str__(self) -> str:
        return "".join(self.pieces())


@dataclass(frozen=True, slots=True, eq=False)
class Document:
    """A whole file: what stands before its root, the root, what follows, and the encoding."""

    before: str
    root: Element
    after: str = ""
    encoding: str = "utf-8"

    @property
    def newline(self) -> str:
        """How its lines end."""
        return "\r\n" if "\r\n" in "".join((self.before, *self.root.texts)) else "\n"

    def encode(self) -> bytes:
        """Return the bytes of the file."""
        text = f"{self.before}{self.root}{self.after}"
        return text.encode(self.encoding, "xmlcharrefreplace")


@dataclass(slots=True)
class _Open:
    """An element whose end tag has not come yet."""

    tag: str
    attributes_text: str
    line: int
    texts: list[str] = field(default_factory=list)
    children: list[Element] = field(default_factory=list)


def read_document(path: Path) -> Document:
    """Read a small XML file without losing anything of it.

    Parameters
    ----------
    path : Path
        The file, of at most 32 MiB.

    Returns
    -------
    Document
        Its ``encode()`` gives the bytes of the file.

    Raises
    ------
    RecordingError
        If there is no such file, or it cannot be read, is empty, too large, no complete XML, or
        has a document type.
    """
    if not path.is_file():
        raise RecordingError(f"{path}: there is no such file. Check the path.")
    try:
        with path.open("rb") as stream:
            data = stream.read(MAX_BYTES + 1)
    except OSError as error:
        raise RecordingError(f"{path}: the file cannot be read ({error}).") from error
    if not data:
        raise RecordingError(f"{path}: the file is empty (0 bytes). Copy it again.")
    if len(data) > MAX_BYTES:
        raise RecordingError(
            f"{path}: the file has more than the {MAX_BYTES} bytes accepted. Split it."
        )
    text, encoding = _decode(data, path)
    before, root, after = _Parser(text, path).parse()
    return Document(before, root, after, encoding)


class _Parser:
    """Cuts one text into elements."""

    def __init__(self, text: str, path: Path) -> None:
        self.text = text
        self.path = path
        self.open: list[_Open] = []
        self.root: Element | None = None
        self.span = (0, 0)  # of the root
        self.count = 0
        self.begin = 0  # of the text since the last tag
        self.line, self.counted = 1, 0

    def parse(self) -> tuple[str, Element, str]:
        """Return what stands before the root, the root, and what follows."""
        if found := _NOT_TEXT.search(self.text):
            raise self.error(found.start(), f"the character {found[0]!r} is not text")
        position = 0
        while (at := self.text.find("<", position)) >= 0:
            self.check_text(position, at)
            position = self.skip_markup(at) or self.tag(at)
        self.check_text(position, len(self.text))
        if self.open:
            last = self.open[-1]
            where = f"in the <{shorten(last.tag)}> of line {last.line}"
            raise self.error(len(self.text), f"the file breaks off {where}")
        if self.root is None:
            raise self.error(0, "there is no XML element in it")
        start, stop = self.span
        return self.text[:start], self.root, self.text[stop:]

    def check_text(self, start: int, stop: int) -> None:
        """Refuse text outside of the root, and references to entities."""
        piece = self.text[start:stop]
        if not self.open and piece.strip(" \t\r\n\ufeff"):
            raise self.error(start, f"text outside of the root element: {shorten(piece.strip())!r}")
        self.check_references(piece, start)

    def check_references(self, piece: str, at: int) -> None:
        if found := _OTHER_REFERENCE.search(piece):
            raise self.error(
                at + found.start(),
                f"{found[0]!r} is none of the references that XML knows without a document type",
            )

    def skip_markup(self, at: int) -> int | None:
        """Return the place after a comment, an instruction or CDATA; None at a tag."""
        for opening, closing in _MARKUP:
            if self.text.startswith(opening, at):
                end = self.text.find(closing, at + len(opening))
                if end < 0:
                    raise self.error(at, f"the file breaks off after {opening!r}")
                return end + len(closing)
        if self.text.startswith("<!", at):
            raise self.error(
                at,
                "it declares a document type, which PrairieView never writes and which can pull "
                "in other files",
                "Remove the declaration if you trust the file.",
            )
        return None

    def tag(self, at: int) -> int:
        """Take in a start or an end tag; return the place after it."""
        if match := _START.match(self.text, at):
            self.start(match)
        elif match := _END.match(self.text, at):
            self.close(match)
        else:
            raise self.error(at, f"this is no XML: {self.text[at : at + 60]!r}")
        self.begin = match.end()
        return match.end()

    def start(self, match: re.Match[str]) -> None:
        at = match.start()
        tag, attributes_text, closed = match.groups()
        self.count += 1
        if self.count > MAX_ELEMENTS or len(self.open) >= MAX_DEPTH:
            raise self.error(
                at, f"more than {MAX_ELEMENTS} elements, or more than {MAX_DEPTH} in one another"
            )
        if len(attributes_text) > MAX_TAG_CHARACTERS:
            raise self.error(at, f"a tag of more than {MAX_TAG_CHARACTERS} characters")
        if self.root is not None:
            raise self.error(at, f"a second root element, <{shorten(tag)}>")
        self.check_references(attributes_text, at)
        if self.open:
            self.open[-1].texts.append(self.text[self.begin : at])
        else:
            self.span = (at, at)
        line = self.line_of(at)
        if closed:
            self.add(Element(tag, attributes_text, line=line), match.end())
        else:
            self.open.append(_Open(tag, attributes_text, line))

    def close(self, match: re.Match[str]) -> None:
        if not self.open or self.open[-1].tag != match[1]:
            wanted = f"</{shorten(self.open[-1].tag)}>" if self.open else "no end tag"
            found = shorten(match[0])
            raise self.error(match.start(), f"{wanted} was expected, found {found!r}")
        item = self.open.pop()
        texts = (*item.texts, self.text[self.begin : match.start()])
        element = Element(
            item.tag, item.attributes_text, texts, tuple(item.children), match[0], item.line
        )
        self.add(element, match.end())

    def add(self, element: Element, stop: int) -> None:
        if self.open:
            self.open[-1].children.append(element)
        else:
            self.root, self.span = element, (self.span[0], stop)

    def line_of(self, at: int) -> int:
        """Count lines up to a place at or behind the last one asked for."""
        self.line += self.text.count("\n", self.counted, at)
        self.counted = at
        return self.line

    def error(self, at: int, reason: str, remedy: str = "Copy it again.") -> RecordingError:
        line = self.text.count("\n", 0, at) + 1
        return RecordingError(f"{self.path}, line {line}: {reason}. {remedy}")


def _decode(data: bytes, path: Path) -> tuple[str, str]:
    """Return the text of a file, its byte order mark included, and the encoding."""
    if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        encoding = "utf-16-le" if data.startswith(codecs.BOM_UTF16_LE) else "utf-16-be"
    else:
        declared = _LATIN.match(data)
        encoding = declared[1].decode().lower() if declared else "utf-8"
    try:
        return data.decode(encoding), encoding
    except UnicodeDecodeError as error:
        if encoding != "utf-8":
            raise RecordingError(f"{path}: not valid {encoding} ({error}).") from None
    try:
        text = data.decode("windows-1252")
    except UnicodeDecodeError:
        raise RecordingError(
            f"{path}: neither UTF-8 nor Windows-1252 text. Copy the file again."
        ) from None
    warn(
        f"{path}: not valid UTF-8 and read as Windows-1252; names with other letters may be "
        "wrong. Save the file as UTF-8 if so.",
        DamagedRecordingWarning,
    )
    return text, "windows-1252"


def escape(text: str, quote: str = '"') -> str:
    """Write a text so that it can stand in an attribute.

    Raises
    ------
    ValueError
        If it has characters that no XML can hold.

    Examples
    --------
    >>> escape('A & "B" < é')
    'A &amp; &quot;B&quot; &lt; é'
    """
    check_writable(text)

    def reference(match: re.Match[str]) -> str:
        character = match[0]
        if character in "\"'" and character != quote:
            return character
        name = _NAME_OF.get(character)
        return f"&{name};" if name else f"&#x{ord(character):X};"

    return _TO_ESCAPE.sub(reference, text)


def check_writable(text: str) -> None:
    """Raise ValueError for characters that no XML can hold, not even as a reference."""
    if found := _NOT_WRITABLE.search(text):
        raise ValueError(f"the character {found[0]!r} cannot be written to XML")


def unescape(raw: str) -> str:
    """Return the value that the raw text of an attribute stands for.

    Raises
    ------
    ValueError
        If a reference names no character.

    Examples
    --------
    >>> unescape("a &amp; &#x3BC;&#8734;")
    'a & μ∞'
    """

    def character(match: re.Match[str]) -> str:
        name, decimal, hexadecimal = match.groups()
        if name:
            return _NAMED[name]
        code = int(decimal) if decimal else int(hexadecimal, 16)
        if code > 0x10FFFF or _NOT_WRITABLE.match(chr(code)):
            raise ValueError(f"{match[0]} names no character")
        return chr(code)

    if raw.isprintable() and "&" not in raw:
        return raw
    plain = raw.replace("\r\n", "\n").translate(_BLANK)
    return _REFERENCE.sub(character, plain)


def is_name(text: str) -> bool:
    """Tell whether an attribute can have this name."""
    return re.fullmatch(_NAME, text) is not None


def shorten(text: str, length: int = 60) -> str:
    """Cut a text from a file so that it fits into a message.

    Examples
    --------
    >>> shorten("Insight X3", 7)
    'Insight...'
    """
    return text if len(text) <= length else f"{text[:length]}..."
