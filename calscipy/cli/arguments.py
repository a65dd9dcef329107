"""What is given on the command line, checked before anything is done."""

from __future__ import annotations

import argparse
import math
from typing import Any

# Options of `ImagingSession.open` by their names on the command line; it refuses those that do not
# fit what it opens.
READING = {
    "frame_rate": "--frame-rate",
    "channels": "--channels",
    "planes": "--planes",
    "microns_per_pixel": "--microns-per-pixel",
    "cycles": "--cycles",
    "frames": "--frames",
    "y": "--height",
    "x": "--width",
    "dtype": "--dtype",
}


def add_reading(command: argparse.ArgumentParser) -> Any:
    """Add the options on what is read, and return their group."""
    group = command.add_argument_group("what is read", "for what the files do not say")

    def add(name: str, **how: Any) -> None:
        group.add_argument(READING[name], dest=name, **how)

    add("frame_rate", type=rate, metavar="HZ", help="frames (volumes) per second, such as 15.49")
    add("channels", type=count_or_names, metavar="N", help="how many channels, or names A,B")
    add("planes", type=count, metavar="N", help="how many planes")
    add("microns_per_pixel", type=micrometers, nargs=2, metavar=("Y", "X"), help="size of a pixel")
    add("cycles", type=counts, metavar="N,N", help="only these cycles (PrairieView)")
    add("frames", type=count, metavar="N", help="images in a binary file without its JSON file")
    add("y", type=count, metavar="N", help="rows of an image in it")
    add("x", type=count, metavar="N", help="columns of an image in it")
    add("dtype", metavar="TYPE", help="type of a value in it, such as uint16")
    return group


def reading(arguments: argparse.Namespace) -> dict[str, Any]:
    """Return the options on what is read that were given, as `ImagingSession.open` takes them."""
    given = {name: getattr(arguments, name) for name in READING}
    return {name: value for name, value in given.items() if value is not None}


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
