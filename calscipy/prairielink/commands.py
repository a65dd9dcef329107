"""The script commands of PrairieView that are offered, and the checks of their parameters.

A parameter goes over the wire as text, and a stray separator in it would become a command of its
own. So every parameter is checked here before anything is sent.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import PureWindowsPath
from typing import Any

import numpy as np

from calscipy.errors import ArgumentError

SEPARATOR = "\x01"
MAX_CHARACTERS = 4096  # of one parameter

ACQUISITION_TYPES = (
    "AtlasVolume",
    "BrightnessOverTime",
    "LineScan",
    "MarkPoints",
    "PointScan",
    "SingleImage",
    "TSeries",
    "VoltageRecording",
    "WSeries",
    "XZYZ",
    "ZSeries",
)

Check = Callable[[Any], str | None]


@dataclass(frozen=True, slots=True)
class Parameter:
    """One parameter: its name, what it has to be, and how it becomes text."""

    name: str
    wanted: str
    text: Check  # None for a value that is not what is wanted
    optional: bool = False


@dataclass(frozen=True, slots=True)
class Command:
    """One command with the lists of parameters that it takes, one after the other or none."""

    name: str
    short: str
    forms: tuple[tuple[Parameter, ...], ...] = ((),)
    returns: bool = False  # a line with a value; such commands change nothing

    @property
    def usage(self) -> str:
        """What the command takes, as in ``-GetState key [index] [subindex]``."""
        forms = (
            " ".join(f"[{one.name}]" if one.optional else one.name for one in form)
            for form in self.forms
        )
        return " or ".join(f"-{self.name} {form}".rstrip() for form in forms)

    def encode(self, values: tuple[Any, ...]) -> str:
        """Return the command with its parameters as they go over the wire.

        Raises
        ------
        ArgumentError
            If there are too few or too many parameters, or one is not what is wanted.
        """
        form = next((form for form in self.forms if _fits(form, len(values))), None)
        if form is None:
            raise ArgumentError(
                f"PrairieLink: {self.usage} was expected, got {len(values)} parameters "
                f"{values!r}. Give those in brackets or leave them out from the last one on."
            )
        return SEPARATOR.join(["-" + self.short, *self._texts(form, values)])

    def _texts(self, form: tuple[Parameter, ...], values: tuple[Any, ...]) -> Iterator[str]:
        for parameter, value in zip(form, values, strict=False):  # optional ones may be left out
            text = parameter.text(value)
            if text is None:
                raise ArgumentError(
                    f"PrairieLink: {parameter.name} of -{self.name} must be {parameter.wanted}, "
                    f"got {value!r}."
                )
            yield text


def find_command(name: str) -> Command:
    """Find a command by its long or short name, with or without ``-``, in any case.

    Raises
    ------
    ArgumentError
        If it is unknown, or not offered.

    Examples
    --------
    >>> find_command("-tseries").short, find_command("gts").usage
    ('ts', '-GetState key [index] [subindex]')
    """
    key = str(name).removeprefix("-").lower()
    if key in _REFUSED:
        raise ArgumentError(f"PrairieLink does not offer -{key}: {_REFUSED[key]}")
    if key not in _BY_NAME:
        known = ", ".join(f"-{command.name} (-{command.short})" for command in COMMANDS)
        raise ArgumentError(f"PrairieLink: there is no command {name!r}. It knows {known}.")
    return _BY_NAME[key]


def _fits(form: tuple[Parameter, ...], count: int) -> bool:
    return sum(not one.optional for one in form) <= count <= len(form)


# -- what parameters can be ----------------------------------------------------------------


def _plain(value: Any) -> str | None:
    """Text that cannot be taken for a separator, the end of the line or another command.

    How PrairieView decodes other than ASCII is not documented, so such text is refused: it would
    load another file than the one that was meant.
    """
    fits = isinstance(value, str) and 0 < len(value) <= MAX_CHARACTERS
    if not fits or value != value.strip() or value.startswith("-"):
        return None
    return value if value.isascii() and value.isprintable() else None


def _number(value: Any, low: float, high: float) -> str | None:
    numeric = isinstance(value, int | float | np.number) and not isinstance(value, bool)
    if not numeric or not math.isfinite(value) or not low <= value <= high:
        return None
    # Never an exponent, which not every reader of numbers takes.
    return np.format_float_positional(np.float64(value), trim="-")


def _file(value: Any, suffixes: tuple[str, ...]) -> str | None:
    text = _plain(os.fspath(value)) if isinstance(value, str | os.PathLike) else None
    if text is None or PureWindowsPath(text).suffix.lower() not in suffixes:
        return None
    return text


def _whole(value: Any, low: int) -> str | None:
    whole = isinstance(value, int | np.integer) and not isinstance(value, bool)
    return str(int(value)) if whole and value >= low else None


def text(name: str, *, optional: bool = False) -> Parameter:
    """Take plain text."""
    wanted = "plain ASCII text without control characters, spaces around it or a leading '-'"
    return Parameter(name, wanted, _plain, optional)


def number(
    name: str, low: float = -math.inf, high: float = math.inf, *, optional: bool = False
) -> Parameter:
    """Take a finite number between two others."""
    limits = "" if low == -math.inf and high == math.inf else f" from {low:g} to {high:g}"
    wanted = f"a finite number{limits}"
    return Parameter(name, wanted, lambda value: _number(value, low, high), optional)


def whole(name: str, low: int, *, optional: bool = False) -> Parameter:
    """Take a whole number from ``low`` on."""
    wanted = f"a whole number from {low} on"
    return Parameter(name, wanted, lambda value: _whole(value, low), optional)


def choice(name: str, *words: str, optional: bool = False) -> Parameter:
    """Take one of some words, in any case."""
    known = {word.lower(): word for word in words}
    wanted = f"one of {', '.join(words)}"

    def find(value: Any) -> str | None:
        return known.get(value.lower()) if isinstance(value, str) else None

    return Parameter(name, wanted, find, optional)


def switch(name: str, on: str, off: str, *, optional: bool = False) -> Parameter:
    """Take True or False, or the word for it."""
    words = choice(name, on, off)

    def find(value: Any) -> str | None:
        return (on if value else off) if isinstance(value, bool) else words.text(value)

    return Parameter(name, f"True, False, {on!r} or {off!r}", find, optional)


def file(name: str, *suffixes: str) -> Parameter:
    """Take a path on the acquisition PC."""
    wanted = f"a path on the acquisition PC, in ASCII, ending in {' or '.join(suffixes)}"
    return Parameter(name, wanted, lambda value: _file(value, suffixes))


def name_or_index(name: str) -> Parameter:
    """Take the name of something or its number, counted from 1."""

    def find(value: Any) -> str | None:
        return _plain(value) if isinstance(value, str) else _whole(value, 1)

    return Parameter(name, "a name, or a number counted from 1", find)


# -- the commands --------------------------------------------------------------------------


def _takes(name: str, short: str, *parameters: Parameter, returns: bool = False) -> Command:
    return Command(name, short, (parameters,), returns)


_AXIS = choice("axis", "X", "Y", "Z")
_DEVICE = whole("device", 0, optional=True)
_TYPE = choice("type", *ACQUISITION_TYPES)
_DATED = switch("add_date_time", "True", "False", optional=True)
_FAR = 1e6  # um: no stage is that long
_MAX_POWER = 1000  # of the slider, in its arbitrary units

COMMANDS = (
    # What they tell
    _takes("DroppedData", "dd", returns=True),
    _takes(
        "GetState",
        "gts",
        text("key"),
        Parameter(
            "index",
            "text or a whole number from 0 on",
            lambda value: _plain(value) if isinstance(value, str) else _whole(value, 0),
            optional=True,
        ),
        whole("subindex", 0, optional=True),
        returns=True,
    ),
    _takes("SamplesPerPixel", "spp", returns=True),
    _takes("GetETLValue", "ge", number("um", -_FAR, _FAR), returns=True),
    _takes("GetMotorPosition", "gmp", _AXIS, _DEVICE, returns=True),
    # Acquisition
    _takes("Abort", "stop"),
    _takes("TSeries", "ts"),
    _takes("TSeriesLoad", "tsl", file("file", ".env")),
    _takes("ZSeries", "zs"),
    _takes("SingleScan", "ss"),
    _takes("LineScan", "ls"),
    _takes("LiveScan", "lv", switch("on", "on", "off")),
    Command(
        "MarkPoints",
        "mp",
        (
            (),
            (text("category"), text("experiment")),
            # One point: how the optional parts of several are told apart is not documented.
            (
                number("x", 0, 1),
                number("y", 0, 1),
                number("duration_ms", 0),
                text("laser"),
                number("power", 0, _MAX_POWER),
            ),
        ),
    ),
    _takes("MarkAllPoints", "slm"),
    _takes("WaitForScan", "w"),
    _takes("Wait", "wt", number("ms", 0)),
    _takes("WaitForInputTrigger", "wfit"),
    _takes("SetAcquisitionMode", "sam", text("mode")),
    # Files
    _takes("SetSavePath", "p", text("path"), _DATED),
    _takes("SetFileName", "fn", _TYPE, text("name"), _DATED),
    _takes("SetFileIteration", "fi", _TYPE, whole("iteration", 0)),
    Command(
        "LoadMarkPoints",
        "lmp",
        (
            (file("file", ".xml", ".gpl"),),
            (file("file", ".gpl"), switch("clear", "True", "False")),
        ),
    ),
    _takes("LoadVoltageOutput", "lvo", file("file", ".xml")),
    _takes("LoadEnvironment", "le", file("file", ".env")),
    _takes("SaveEnvironment", "se", file("file", ".env")),
    # Settings
    _takes("SetLaserPower", "lp", name_or_index("laser"), number("power", 0, _MAX_POWER)),
    _takes("SetPMTGain", "pg", whole("index", 1), number("gain", 0)),
    _takes(
        "SetMultiPhotonWavelength",
        "mpw",
        number("nm", 100, 10000),
        whole("index", 1, optional=True),
    ),
    _takes("SetOpticalZoom", "oz", number("zoom", 0.01, 1000)),
    _takes("SetImageSize", "is", whole("width", 1), whole("height", 1, optional=True)),
    _takes("SetDwellTime", "dt", number("us", 0)),
    _takes("SetFrameAveraging", "fa", whole("frames", 1)),
    _takes("SetScanRotation", "sr", number("degrees", -360, 360)),
    _takes("SetChannel", "c", whole("channel", 1), switch("on", "On", "Off")),
    _takes(
        "MoveMotor",
        "mr",
        _AXIS,
        number("um", -_FAR, _FAR),
        _DEVICE,
        choice("Wait", "Wait", optional=True),
    ),
    _takes("SetMotorPosition", "ma", _AXIS, number("um", -_FAR, _FAR), _DEVICE),
)

_BY_NAME = {key.lower(): command for command in COMMANDS for key in (command.name, command.short)}

_NO_IMAGES = (
    "PrairieView writes it into the memory of a process on the acquisition PC, so images and raw "
    "samples cannot be fetched over the network. Save the scan and open its folder."
)
_REFUSED = {
    **dict.fromkeys(("setstate", "sts"), "it can damage hardware. Use the command of the setting."),
    **dict.fromkeys(
        ("getimage", "gi", "readrawdatastream", "rrd", "streamrawdata", "srd"), _NO_IMAGES
    ),
    **dict.fromkeys(("exit", "x"), "disconnect() sends it."),
    **dict.fromkeys(("nowait", "nw"), "wait=None of command() and of the scans sends it."),
}
