"""How attributes of photostimulation files read and write: texts, flags, numbers, indices.

Each kind turns the text of an attribute into a value (``read``), a value into text (``write``),
and brings what a user gives into its one form (``check``). All raise ValueError saying what was
expected.
"""

from __future__ import annotations

import math
import operator
import re
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import islice
from typing import Any, Protocol

import numpy as np

from calscipy.io.photostimulation.lossless import check_writable

MAX_WHOLE = 2**31 - 1
MAX_INDICES = 100_000  # in one attribute: "1-2000000000" is short and would fill the memory

_NUMBER = re.compile(r"[+-]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]{1,5})?")
_WHOLE = re.compile(r"[+-]?[0-9]{1,10}(?:\.0*)?")
_RANGE = re.compile(r"([0-9]{1,10})(?:[ \t]*-[ \t]*([0-9]{1,10}))?")
_SPECIAL = {
    "∞": math.inf,
    "+∞": math.inf,
    "-∞": -math.inf,
    "Infinity": math.inf,
    "-Infinity": -math.inf,
    "NaN": math.nan,
}
_SPACE = " \t\r\n"
_LONGEST_NUMBER = 64


class Kind(Protocol):
    """What every kind of attribute can do."""

    def read(self, text: str) -> Any:
        """Return the value that a text stands for."""

    def write(self, value: Any) -> str:
        """Return the text of a value that ``check`` has passed."""

    def check(self, value: Any) -> Any:
        """Return a value in its one form."""


class Text:
    """Any text that XML can hold."""

    def read(self, text: str) -> str:
        """Return the text itself."""
        return text

    def write(self, value: str) -> str:
        """Return the text itself."""
        return value

    def check(self, value: Any) -> str:
        """Require a text."""
        if not isinstance(value, str):
            raise ValueError("a text was expected")
        check_writable(value)
        return str(value)


class Flag:
    """True or False."""

    def read(self, text: str) -> bool:
        """Return True or False."""
        word = text.strip(_SPACE).lower()
        if word not in ("true", "false"):
            raise ValueError("True or False was expected")
        return word == "true"

    def write(self, value: bool) -> str:
        """Return the word."""
        return "True" if value else "False"

    def check(self, value: Any) -> bool:
        """Require a bool of Python or NumPy."""
        if not isinstance(value, bool | np.bool_):
            raise ValueError("True or False was expected")
        return bool(value)


@dataclass(frozen=True)
class Whole:
    """A whole number of at least zero; files count it from ``first``."""

    first: int = 0

    def read(self, text: str) -> int:
        """Return the number, counted from 0."""
        word = text.strip(_SPACE)
        value = int(word.partition(".")[0]) if _WHOLE.fullmatch(word) else -1
        if not self.first <= value <= MAX_WHOLE:
            raise ValueError(f"a whole number of at least {self.first} was expected")
        return value - self.first

    def write(self, value: int) -> str:
        """Return the number, counted from ``first``."""
        return str(value + self.first)

    def check(self, value: Any) -> int:
        """Require a whole number that PrairieView can hold."""
        if not _is_whole(value) or not 0 <= (number := operator.index(value)) < MAX_WHOLE:
            raise ValueError("a whole number of at least 0 was expected")
        return number


@dataclass(frozen=True)
class Number:
    """A number; an ``amount`` is neither negative, infinite nor NaN.

    ``decimals`` are the fewest that are written.
    """

    amount: bool = False
    decimals: int = 0

    def read(self, text: str) -> float:
        """Return the number."""
        return read_number(text)

    def write(self, value: float) -> str:
        """Return the shortest text that reads back as the same number."""
        return number_text(value, self.decimals)

    def check(self, value: Any) -> float:
        """Require a real number and return it as a float."""
        number = _as_float(value)
        if self.amount and not (math.isfinite(number) and number >= 0):
            raise ValueError("a finite number of at least 0 was expected")
        return number


class Numbers:
    """Several finite numbers, separated by commas."""

    def read(self, text: str) -> tuple[float, ...]:
        """Return the numbers; a comma may follow the last one."""
        return tuple(read_number(word) for word in text.split(",") if word.strip(_SPACE))

    def write(self, value: tuple[float, ...]) -> str:
        """Return the numbers, separated by commas."""
        return ",".join(number_text(number) for number in value)

    def check(self, value: Any) -> tuple[float, ...]:
        """Require finite numbers."""
        if isinstance(value, str) or not isinstance(value, Iterable):
            raise ValueError("several numbers were expected")
        numbers = tuple(_as_float(number) for number in value)
        if not all(map(math.isfinite, numbers)):
            raise ValueError("finite numbers were expected")
        return numbers


@dataclass(frozen=True)
class Indices:
    """Indices from 0, which a file counts from ``first`` and may join into ranges."""

    first: int
    ranges: bool

    def read(self, text: str) -> tuple[int, ...]:
        """Return the indices, counted from 0; a comma may follow the last one."""
        found: list[int] = []
        for item in text.split(","):
            word = item.strip(_SPACE)
            if not word:
                continue
            match = _RANGE.fullmatch(word)
            low = int(match[1]) if match else -1
            high = int(match[2]) if match and match[2] else low
            if not self.first <= low <= high <= MAX_WHOLE:
                raise ValueError(
                    f"indices from {self.first} such as '1, 3' or '1-30' were expected"
                )
            if len(found) + high - low >= MAX_INDICES:
                raise ValueError(f"at most {MAX_INDICES} indices were expected")
            found.extend(range(low - self.first, high - self.first + 1))
        return tuple(found)

    def write(self, value: tuple[int, ...]) -> str:
        """Return the indices as PrairieView separates them, in their order."""
        if not self.ranges:
            return ",".join(str(index + self.first) for index in value)
        runs: list[list[int]] = []
        for index in value:
            if runs and index == runs[-1][1] + 1:
                runs[-1][1] = index
            else:
                runs.append([index, index])
        return ", ".join(
            str(low + self.first) if low == high else f"{low + self.first}-{high + self.first}"
            for low, high in runs
        )

    def check(self, value: Any) -> tuple[int, ...]:
        """Require indices; a single one may stand for itself."""
        if _is_whole(value):
            value = (value,)
        if isinstance(value, str) or not isinstance(value, Iterable):
            raise ValueError("indices from 0 were expected")
        items = tuple(islice(value, MAX_INDICES + 1))
        if not set(map(type, items)) <= {int}:  # those that a file gives are
            if not all(map(_is_whole, items)):
                raise ValueError("indices from 0 were expected")
            items = tuple(map(operator.index, items))
        if items and not 0 <= min(items) <= max(items) < MAX_WHOLE:
            raise ValueError("indices from 0 were expected")
        if len(items) > MAX_INDICES:
            raise ValueError(f"at most {MAX_INDICES} indices were expected")
        return items


def read_number(text: str) -> float:
    """Return the number that a text of PrairieView stands for.

    Raises
    ------
    ValueError
        If it is not a number.

    Examples
    --------
    >>> read_number("-1.5E-05"), read_number("-∞")
    (-1.5e-05, -inf)
    """
    word = text.strip(_SPACE)
    if word in _SPECIAL:
        return _SPECIAL[word]
    if len(word) > _LONGEST_NUMBER or not _NUMBER.fullmatch(word):
        raise ValueError("a number such as -0.5 or 1E-07 was expected")
    number = float(word)
    if math.isinf(number):
        raise ValueError("a number of at most 1.8E+308 was expected")
    return number


def number_text(value: float, decimals: int = 0) -> str:
    """Return the shortest text that reads back as the same number, with ``decimals`` or more.

    Examples
    --------
    >>> number_text(100.0), number_text(1e-07), number_text(0.0, 2), number_text(float("inf"))
    ('100', '1E-07', '0.00', '∞')
    """
    if math.isnan(value):
        return "NaN"
    if math.isinf(value):
        return "∞" if value > 0 else "-∞"
    text = repr(value).upper().removesuffix(".0")
    if "E" in text or not decimals:
        return text
    whole, _, fraction = text.partition(".")
    return f"{whole}.{fraction.ljust(decimals, '0')}"


def _is_whole(value: Any) -> bool:
    """Tell integers of Python and NumPy from bools, which are integers to Python."""
    return isinstance(value, int | np.integer) and not isinstance(value, bool)


def _as_float(value: Any) -> float:
    if type(value) is float:  # as files give them
        return value
    if isinstance(value, bool) or not isinstance(value, int | float | np.integer | np.floating):
        raise ValueError("a number was expected")
    try:
        return float(value)
    except OverflowError:
        raise ValueError("a number of at most 1.8E+308 was expected") from None
