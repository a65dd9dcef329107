"""What the documentation of CalSciPy 0.3.5 says of its names: modules, signatures, methods.

The text was made from a PDF file: emphasis stands in asterisks, some of which belong to the code.
"""

import ast
import re
from dataclasses import dataclass
from pathlib import Path

TEXT = Path(__file__).parents[3] / "shared" / "reference" / "CalSciPy-0.3.5-api.txt"
EMPTY = object()  # no default

_STAR = "\x00"
_MODULE = re.compile(r"(CalSciPy(?:\.\w+)+)\s+(?:module|package)\b")
_INDEX = re.compile(r"^- (CalSciPy(?:\.\w+)+), \?\?", re.MULTILINE)
_QUALIFIED = re.compile(r"(?:(class|exception)\s+)?(CalSciPy(?:\.\w+)+)\(")
_BARE_CLASS = re.compile(r"class\s+(CalSciPy(?:\.\w+)+)\s")
_METHOD = re.compile(r"\*\*([\w\\]+)\*\*\(")
_OPEN, _CLOSE = "([{<", ")]}>"


@dataclass(frozen=True)
class Parameter:
    """One parameter as documented."""

    name: str
    default: object = EMPTY
    keyword_only: bool = False
    variadic: bool = False


@dataclass(frozen=True)
class Documented:
    """One name as documented; no parameters are known of a class without parentheses."""

    name: str  # without "CalSciPy."
    kind: str  # class, exception, function or method
    parameters: tuple[Parameter, ...] | None


def modules(text: str) -> set[str]:
    """Return the modules and packages that headings and the index name."""
    clean = _clean(text)
    found = {*_MODULE.findall(clean), *_INDEX.findall(clean)}
    return {name.removeprefix("CalSciPy.") for name in found}


def names(text: str) -> dict[str, Documented]:
    """Return classes, functions and methods by their names."""
    clean = _clean(text)
    found = {}
    for match in _QUALIFIED.finditer(clean):
        kind, name = match[1] or "function", match[2].removeprefix("CalSciPy.")
        found[name] = Documented(name, kind, _parameters(_inside(clean, match.end() - 1)))
    for match in _BARE_CLASS.finditer(clean):
        name = match[1].removeprefix("CalSciPy.")
        found.setdefault(name, Documented(name, "class", None))
    return found | _methods(text)


def _methods(text: str) -> dict[str, Documented]:
    """Find names in bold print before parentheses that no dot precedes."""
    found = {}
    for match in _METHOD.finditer(text):
        if text[: match.start()].endswith((".", "\\_")):
            continue
        before = _clean(text[: match.start()])
        owner = re.findall(r"(?:class|exception)\s+CalSciPy\.([\w.]+)", before)[-1]
        name = f"{owner}.{_clean(match[1])}"
        inside = _inside(_clean(text[match.end() - 1 :]), 0)
        found[name] = Documented(name, "method", _parameters(inside))
    return found


def _clean(text: str) -> str:
    """Take emphasis away and leave the asterisks that belong to signatures."""
    pieces = re.split(r"^```$", text, flags=re.MULTILINE)
    kept = [
        piece.replace("*", _STAR) if at % 2 else piece.replace(r"\*", _STAR)
        for at, piece in enumerate(pieces)
    ]
    return re.sub(r"[*`\\]", "", "\n".join(kept)).replace(_STAR, "*")


def _inside(text: str, opening: int) -> str:
    """Return what stands in the parentheses that open at a place."""
    depth = 0
    for at in range(opening, len(text)):
        depth += (text[at] == "(") - (text[at] == ")")
        if depth == 0:
            return text[opening + 1 : at]
    raise ValueError(f"the parenthesis is not closed: {text[opening : opening + 80]!r}")


def _parameters(inside: str) -> tuple[Parameter, ...]:
    found: list[Parameter] = []
    keyword_only = False
    for part in _split(" ".join(inside.split())):
        name, _, rest = part.partition(":")
        name, default = name.strip(), EMPTY
        if "=" in rest:
            default = _value(rest.partition("=")[2].strip())
        if name == "*":
            keyword_only = True
        elif name.lstrip("*") in ("args", "kwargs"):  # their asterisks are taken for emphasis
            found.append(Parameter(name.lstrip("*"), variadic=True))
        else:
            found.append(Parameter(name, default, keyword_only))
    return tuple(found)


def _split(text: str) -> list[str]:
    """Split at the commas that stand in no bracket."""
    parts, depth, begin = [], 0, 0
    for at, sign in enumerate(text):
        if text[at : at + 2] == "->":
            continue
        depth += (sign in _OPEN) - (sign in _CLOSE)
        if sign == "," and depth == 0:
            parts.append(text[begin:at])
            begin = at + 1
    return [part.strip() for part in [*parts, text[begin:]] if part.strip()]


def _value(text: str) -> object:
    """Return a default as a value; a class as its name, an array as nested lists."""
    if match := re.fullmatch(r"<class '[\w.]*?(\w+)'>", text):
        return match[1]
    if match := re.fullmatch(r"array\((.*), dtype=float\)", text):
        return ast.literal_eval(match[1])
    return ast.literal_eval(text)
