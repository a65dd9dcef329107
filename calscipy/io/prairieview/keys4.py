"""The state as PrairieView 3 to 5.1 writes it: flat keys with the indices in their names."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from calscipy.io.prairieview.frame_records import Entry, State
from calscipy.io.prairieview.nodes import Node

# Names that later versions spell in another way.
_LATER_NAMES = {"scanlinePeriod": "scanLinePeriod"}
_ALWAYS_SUBINDEXED = {"positionCurrent"}


def put_key(state: dict[str, Any], key: str, value: str, description: str | None) -> None:
    """Add one flat key to a state, under the name and indices that later versions use.

    What stands behind the first underscore is the index; a list of numbers with commas holds one
    value for each subindex. ``activeMode`` is a number with its name as the description: here,
    as later, the name is the value.

    Examples
    --------
    >>> state = {}
    >>> put_key(state, "positionCurrent_ZAxis", "-9,62.45", None)
    >>> put_key(state, "scanlinePeriod", "0.002", None)
    >>> [entry.value for entry in state["positionCurrent"]["ZAxis"].values()]
    ['-9', '62.45']
    >>> state["scanLinePeriod"].value
    '0.002'
    """
    name, _, index = key.partition("_")
    name = _LATER_NAMES.get(name, name)
    if name == "activeMode" and description:
        value, description = description, value
    if not index:
        state[name] = Entry(value, description)
        return
    below = state.setdefault(name, {})
    if not isinstance(below, dict):  # the same name with and without an index
        below = state[name] = {"": below}
    parts = value.split(",")
    if name in _ALWAYS_SUBINDEXED or (len(parts) > 1 and all(map(_is_number, parts))):
        below[index] = {str(n): Entry(part, description) for n, part in enumerate(parts)}
    else:
        below[index] = Entry(value, description)


def with_laser_names(state: State, nodes: Sequence[Node]) -> State:
    """Return a state whose laser powers have the names that ``<SystemConfiguration>`` lists.

    Later versions write the name beside every power.
    """
    names = {
        laser.get("index"): laser.get("name")
        for configuration in nodes
        if configuration.tag == "SystemConfiguration"
        for lasers in configuration.find("Lasers")
        for laser in lasers.find("Laser")
    }
    powers = state.get("laserPower")
    if not names or not isinstance(powers, dict):
        return state
    named = {
        index: entry._replace(description=entry.description or names.get(index))
        if isinstance(entry, Entry)
        else entry
        for index, entry in powers.items()
    }
    return {**state, "laserPower": named}


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
