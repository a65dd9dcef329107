"""The microscope's state as nested mappings, in the syntax of any version."""

from __future__ import annotations

from typing import Any

from calscipy.io.prairieview.frame_records import Entry, State
from calscipy.io.prairieview.keys4 import put_key


def merge(base: State, delta: State | None) -> State:
    """Lay a delta over a state, key by key, index by index, subindex by subindex."""
    if not delta:
        return base
    merged = dict(base)
    for key, value in delta.items():
        below = merged.get(key)
        both = isinstance(below, dict) and isinstance(value, dict)
        merged[key] = merge(below, value) if both else value  # type: ignore[arg-type]
    return merged


def difference(base: State, full: State) -> State:
    """Return what a full state changes against another one, for `merge` to lay over it.

    Examples
    --------
    >>> base = {"opticalZoom": Entry("1"), "pmtGain": {"0": Entry("650"), "1": Entry("0")}}
    >>> full = {"opticalZoom": Entry("1"), "pmtGain": {"0": Entry("700"), "1": Entry("0")}}
    >>> difference(base, full)
    {'pmtGain': {'0': Entry(value='700', description=None)}}
    """
    found: dict[str, Any] = {}
    for key, value in full.items():
        below = base.get(key)
        if isinstance(below, dict) and isinstance(value, dict):
            inner = difference(below, value)
            if inner:
                found[key] = inner
        elif value != below:
            found[key] = value
    return found


def shards(parent: Any) -> State:
    """Return the state that an element's own shards set."""
    state: State = {}
    for shard in parent.iterchildren("PVStateShard"):
        state = merge(state, state_of(shard))
    return state


def is_full(shard: Any) -> bool:
    """Tell whether a shard is the whole state of a frame, as 4.x writes it, and no delta."""
    return len(shard) > 0 and shard[0].tag == "Key"


def state_of(shard: Any) -> State:
    """Return the state that one shard sets."""
    state: dict[str, Any] = {}
    for value in shard:
        key = value.get("key")
        if key is None:
            continue
        if value.tag == "PVStateValue":
            state[key] = _children(value) if len(value) else _entry(value)
        elif value.tag == "Key":
            put_key(state, key, value.get("value", ""), value.get("description"))
    return state


def _children(value: Any) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for child in value:
        if child.tag == "SubindexedValues":
            found[child.get("index", "")] = {
                item.get("subindex", ""): _entry(item) for item in child
            }
        else:
            found[child.get("index", "")] = _entry(child)
    return found


def _entry(element: Any) -> Entry:
    return Entry(element.get("value", ""), element.get("description"))
