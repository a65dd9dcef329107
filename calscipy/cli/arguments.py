"""Numbers on the command line, checked before anything is done."""

from __future__ import annotations

import argparse
import math


def rate(text: str) -> float:
    """Read a frame rate in Hz."""
    return _positive(text, "a frame rate in Hz above 0")


def gigabytes(text: str) -> int:
    """Read a size in GB and return it in bytes."""
    return int(_positive(text, "a size in GB above 0") * 1e9)


def days(text: str) -> float:
    """Read a number of days and return it in seconds."""
    return _positive(text, "a number of days, 0 or more", zero=True) * 86400


def micrometers(text: str) -> float:
    """Read a length in um."""
    return _positive(text, "a length in um above 0")


def count(text: str) -> int:
    """Read a whole number from 1 on."""
    if not (text.isascii() and text.isdecimal() and int(text) > 0):
        raise argparse.ArgumentTypeError(f"a whole number above 0 is needed, not {text!r}")
    return int(text)


def factor(text: str) -> float:
    """Read a factor."""
    return _positive(text, "a number above 0")


def count_or_names(text: str) -> int | list[str]:
    """Read a number of channels, or their names with commas between them."""
    if text.isascii() and text.isdecimal():
        return count(text)
    return [name.strip() for name in text.split(",")]


def counts(text: str) -> list[int]:
    """Read whole numbers from 1 on, with commas between them."""
    return [count(part.strip()) for part in text.split(",")]


def _positive(text: str, wanted: str, *, zero: bool = False) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not (math.isfinite(value) and (value > 0 or (zero and value == 0))):
        raise argparse.ArgumentTypeError(f"{wanted} is needed, not {text!r}")
    return value
