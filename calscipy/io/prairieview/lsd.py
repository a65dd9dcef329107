"""The ``.lsd`` files of line scans of version 4: plain text in sections."""

from __future__ import annotations

from pathlib import Path

from calscipy.errors import RecordingError

MAX_BYTES = 2**20

Sections = dict[str, dict[str, str]]


def read_lsd(path: Path) -> Sections:
    """Read an ``.lsd`` file as texts by section and name.

    Raises
    ------
    RecordingError
        If it is larger than 1 MiB or holds no section.
    """
    size = path.stat().st_size
    if size > MAX_BYTES:
        raise RecordingError(f"{path}: {size} bytes are more than the {MAX_BYTES} of an .lsd file.")
    sections: Sections = {}
    current: dict[str, str] | None = None
    for line in path.read_bytes().decode("utf-8-sig", errors="replace").splitlines():
        text = line.strip()
        if text.startswith("[") and text.endswith("]"):
            current = sections.setdefault(text[1:-1], {})
        elif current is not None and "=" in text:
            name, value = text.split("=", 1)
            current[name.strip()] = value.strip()
    if not sections:
        raise RecordingError(f"{path}: there is no [section] in it, as an .lsd file has.")
    return sections


def number_of(sections: Sections, section: str, name: str) -> float:
    """Return a number; NaN where it is absent or something else."""
    try:
        return float(sections.get(section, {}).get(name, "nan"))
    except ValueError:
        return float("nan")
