"""Small files of names and texts, as JSON."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from calscipy.errors import ArgumentError, RecordingError
from calscipy.io.output import new_file

MOST_BYTES = 2**20


def read_texts(path: Path) -> dict[str, str]:
    """Read a mapping of texts to texts.

    Raises
    ------
    RecordingError
        If the file is none, or has over a million bytes.

    Examples
    --------
    >>> write_texts(Path("names.json"), {"a": "b"})
    >>> read_texts(Path("names.json"))
    {'a': 'b'}
    """
    with path.open("rb") as stream:
        data = stream.read(MOST_BYTES + 1)
    try:
        if len(data) > MOST_BYTES:
            raise ArgumentError(f"it has more than {MOST_BYTES} bytes")
        return _texts(json.loads(data))
    except (ValueError, RecursionError) as error:  # ArgumentError is a ValueError
        raise RecordingError(
            f"{path}: a mapping of texts to texts as JSON was expected ({error}). Remove the file, "
            "or restore it."
        ) from error


def write_texts(path: Path, texts: Mapping[str, str]) -> None:
    """Write a mapping of texts to texts into a new file, making its folder if that is missing.

    Raises
    ------
    ArgumentError
        If there is anything else in it.
    TargetExistsError
        If there is such a file.
    """
    checked = _texts(texts)
    path.parent.mkdir(parents=True, exist_ok=True)
    with new_file(path) as temporary:
        temporary.write_text(json.dumps(checked, indent=2), encoding="utf-8")


def _texts(mapping: Any) -> dict[str, str]:
    pairs = mapping.items() if isinstance(mapping, Mapping) else [(None, None)]
    if not all(isinstance(text, str) for pair in pairs for text in pair):
        raise ArgumentError(f"a mapping of texts to texts was expected, got {str(mapping)[:80]!r}")
    return dict(mapping)
