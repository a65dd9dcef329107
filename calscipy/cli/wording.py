"""The library's messages, in the words of the command line."""

from __future__ import annotations

import re

from calscipy.cli.arguments import READING

_EXAMPLES = {
    "frame_rate": "15.49",
    "channels": "2",
    "planes": "5",
    "microns_per_pixel": "1.2 1.2",
    "cycles": "1,2",
    "dtype": "uint16",
}
# Places for a value, `frame_rate=...` or `planes=`, not values that were given. What is to be done
# in Python stays as it is.
_PLACES = re.compile(
    r"(?P<python>calscipy\.\w+\(.*?=\.\.\.\))"
    r"|(?P<open>open\(path, )?"
    rf"(?<![\w/\\])(?P<name>{'|'.join(READING)})=(?P<value>\.\.\.|\[\.\.\.\]|(?=[\s,;.)]|$))"
    r"(?(open)\))"
)
_NWB = "Give these as arguments of to_nwb"
_NWB_HERE = (
    'Write them by these names into a JSON file, such as {"location": "V1, layer 2/3"}, and give '
    "it with --metadata FILE"
)


def for_shells(message: str) -> str:
    """Say with options of the command line what a message says with arguments of functions.

    Examples
    --------
    >>> for_shells("Give it in Hz: open(path, frame_rate=...).")
    'Give it in Hz: --frame-rate 15.49.'
    >>> for_shells("Give three of frames=, y=, x= and dtype=.")
    'Give three of --frames, --height, --width and --dtype.'
    >>> for_shells("frame_rate=30 was given. Label it with calscipy.from_numpy(a, frame_rate=...).")
    'frame_rate=30 was given. Label it with calscipy.from_numpy(a, frame_rate=...).'
    """
    return _PLACES.sub(_option, message).replace(_NWB, _NWB_HERE)


def _option(found: re.Match[str]) -> str:
    if found["python"]:
        return found[0]
    example = _EXAMPLES.get(found["name"], "") if found["value"] else ""
    return f"{READING[found['name']]} {example}".rstrip()


def one_line(message: str) -> str:
    r"""Write a message in one line; every item of a list in it in its own.

    Examples
    --------
    >>> print(one_line("These are\nmissing:\n- a\n- b\nGive them."))
    These are missing:
    - a
    - b
    Give them.
    """
    lines: list[str] = []
    for row in message.splitlines():
        words = " ".join(row.split())
        if lines and not (words.startswith("- ") or lines[-1].startswith("- ")):
            lines[-1] += f" {words}"
        else:
            lines.append(words)
    return "\n".join(lines)
