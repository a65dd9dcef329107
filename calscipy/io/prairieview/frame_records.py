"""What a master XML says of one frame, and plain frames read without an XML parser.

Nearly every frame of a fast recording is the same few lines without any state of its own. They
are cut out of the text by a pattern that nothing but such a frame matches, and the XML parser
reads what is left, with a placeholder where they stood. That is three times as fast.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

RUN_LENGTH = 4096  # plain frames cut out at a time
PIECE_BYTES = 2**16

# Bare names only: no separators, drives, control characters or names that Windows reserves, and
# no longer than a file system takes (the table of names is as wide as the longest one).
_NOT_RESERVED = r"""(?!\.{1,2}(?:"|$))(?!(?i:CON|PRN|AUX|NUL|COM\d|LPT\d)(?:[."]|$))"""
SAFE_NAME = re.compile(_NOT_RESERVED + r"""[^\x00-\x1f/\\:*?"<>|]{1,255}\Z""")


class Entry(NamedTuple):
    """One value of the microscope's state, as written."""

    value: str
    description: str | None = None


# A key holds an entry, entries by index, or entries by index and subindex.
State = Mapping[str, Any]


class File(NamedTuple):
    """The image of one channel of one frame."""

    channel: int
    channel_name: str
    filename: str
    page: int
    source: str | None = None  # of a line scan: the image that the line was drawn on


class Frame(NamedTuple):
    """One acquired plane, with what its state changes against its sequence's."""

    number: int
    relative_time: float
    absolute_time: float
    files: tuple[File, ...]
    state: State | None
    last_good_frame: str | None


_TEXT = rb'[^\x00-\x1f\x7f-\xff"<&]'  # ASCII that stands for itself in an attribute
_NAME = rb"""[^\x00-\x1f\x7f-\xff/\\:*?"<>|&]"""  # the same, of a file
_NUMBER = rb"[0-9.E+-]{1,32}"
_FRAMES = re.compile(
    rb'<Frame relativeTime="(%s)" absoluteTime="(%s)" index="([0-9]{1,9})" parameterSet="%s*">\s*'
    rb"((?:<File [^<>]*/>\s*)+)"
    rb'<ExtraParameters lastGoodFrame="(%s*)" />\s*<PVStateShard />\s*</Frame>'
    % (_NUMBER, _NUMBER, _TEXT, _TEXT)
)
_FILES = re.compile(
    rb'<File channel="([0-9]{1,9})" channelName="(%s+)" filename="(%s%s{1,255})"'
    rb'(?: page="([1-9][0-9]{0,8})")? />' % (_TEXT, _NOT_RESERVED.encode(), _NAME)
)


class PlainFrames(NamedTuple):
    """A run of plain frames, and how many lines of text they took."""

    frames: list[Frame]
    lines: int


def pieces(text: Any, start: int) -> Iterator[bytes | PlainFrames]:
    """Cut a text into runs of plain frames and what lies between them."""
    frames: list[Frame] = []
    begin = end = start  # of the run
    for match in _FRAMES.finditer(text, start):
        frame = _plain_frame(match)
        if frame is None:
            continue
        gap = text[end : match.start()]
        if frames and (len(frames) == RUN_LENGTH or not gap.isspace()):
            yield PlainFrames(frames, text[begin:end].count(b"\n"))
            frames = []
        if not frames:
            yield from raw_pieces(text, end, match.start())
            begin = match.start()
        frames.append(frame)
        end = match.end()
    if frames:
        yield PlainFrames(frames, text[begin:end].count(b"\n"))
    yield from raw_pieces(text, end, len(text))


def raw_pieces(text: Any, start: int, stop: int) -> Iterator[bytes]:
    """Cut a stretch of text into pieces for the parser."""
    for at in range(start, stop, PIECE_BYTES):
        yield text[at : min(at + PIECE_BYTES, stop)]


def _plain_frame(match: re.Match[bytes]) -> Frame | None:
    """Make a frame of a match; None if anything in it wants a closer look."""
    relative, absolute, index, block, last_good = match.groups()
    files = tuple(
        [
            File(int(channel), label.decode(), name.decode(), int(page or 1))
            for channel, label, name, page in _FILES.findall(block)
        ]
    )
    if len(files) != block.count(b"<"):
        return None
    try:
        times = float(relative), float(absolute)
    except ValueError:
        return None
    return Frame(int(index), *times, files, None, last_good.decode())
