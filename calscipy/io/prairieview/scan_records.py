"""A recording as its master XML describes it, in typed records."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from calscipy.io.prairieview.frame_records import Entry, Frame, State
from calscipy.io.prairieview.nodes import Node


@dataclass(frozen=True, slots=True)
class Sequence:
    """One cycle: frames of a plane series, or the planes of one volume."""

    type: str
    cycle: int
    time: str
    bidirectional_z: bool
    state: State
    frames: tuple[Frame, ...]
    nodes: tuple[Node, ...] = ()  # its own tag first, then what is neither frame nor state

    def elements(self, *tags: str) -> list[Node]:
        """Return the elements with one of these tags that stand beside the frames."""
        return [node for node in self.nodes[1:] if node.tag in tags]


@dataclass(frozen=True, slots=True)
class Scan:
    """A whole recording as its master XML describes it."""

    path: Path
    version: str
    date: str
    notes: str
    systems: Mapping[str, str]
    state: State
    sequences: tuple[Sequence, ...]
    damage: str | None = None
    nodes: tuple[Node, ...] = ()  # what stands beside the sequences
    channels: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    unknown: tuple[tuple[int, Node], ...] = ()  # found inside frames, with their cycles

    @property
    def started(self) -> dt.datetime | None:
        """Local start of the recording; None if the date is not in PrairieView's US form."""
        try:
            return dt.datetime.strptime(self.date, "%m/%d/%Y %I:%M:%S %p")
        except ValueError:
            return None

    def lookup(
        self, sequence: Sequence, frame: Frame, key: str, index: str, subindex: str | None = None
    ) -> str | None:
        """Resolve one value for one frame: its own state, its sequence's, the recording's."""
        for state in (frame.state, sequence.state, self.state):
            level: Any = state.get(key) if state else None
            if isinstance(level, dict):
                level = level.get(index)
            if subindex is not None and isinstance(level, dict):
                level = level.get(subindex)
            if isinstance(level, Entry):
                return level.value
        return None
