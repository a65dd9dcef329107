"""Which targets and groups the steps of a protocol name."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from calscipy.errors import first_few
from calscipy.photostimulation.rois import Target
from calscipy.photostimulation.steps import Step, step_problems


class Plan:
    """Steps with the targets that they name; ``problems`` tells what is wrong with them.

    Parameters
    ----------
    targets : list of Target
        All targets, in the order of the point list.
    groups : mapping of str to sequence
        Labels of the targets of each group, by its name.
    """

    def __init__(self, targets: list[Target], groups: Mapping[str, Sequence[Hashable]]) -> None:
        self.targets = targets
        self.problems: list[str] = []
        labels = [at if one.label is None else one.label for at, one in enumerate(targets)]
        self.place = {label: at for at, label in enumerate(labels)}
        if len(self.place) < len(labels):
            twice = [label for label, count in Counter(labels).items() if count > 1]
            self.problems.append(f"the labels {first_few(twice, 10)} of targets come twice")
        self.names = [point_name(at) for at in range(len(targets))]
        self.groups: dict[str, tuple[int, ...]] = {}
        for name, members in groups.items():
            if name in self.names or name in self.place:
                self.problems.append(f"the group {name!r} has the name of a point or target")
            self.groups[name] = self.members(f"group {name!r}", members)

    def members(self, where: str, labels: Sequence[Hashable]) -> tuple[int, ...]:
        """Return the places of targets by their labels."""
        labels = list(labels)
        unknown = [label for label in labels if label not in self.place]
        if unknown:
            known = first_few(list(self.place), 10)
            self.problems.append(
                f"{where}: there are no targets {first_few(unknown, 10)} (there are {known})"
            )
        found = [self.place[label] for label in labels if label in self.place]
        if not labels or len(set(found)) < len(found):
            self.problems.append(f"{where} {'has targets twice' if labels else 'has no target'}")
        return tuple(found)

    def visits(
        self,
        steps: Sequence[Step | Hashable] | None,
        settings: Mapping[str, float],
        max_power: float,
    ) -> list[tuple[Step, str]]:
        """Return each step with its settings and the name of what it visits.

        Parameters
        ----------
        steps : sequence of Step or hashable, or None
            As for `build_protocol`.
        settings : mapping of str to float
            What steps take from the protocol.
        max_power : float
            Power that no step may exceed.
        """
        if steps is None:
            steps = list(self.groups) or list(self.place)
        found = []
        for number, given in enumerate(steps):
            step = given if isinstance(given, Step) else Step(targets=given)
            own: dict[str, Any] = {name: getattr(step, name) for name in settings}
            missing = {name: settings[name] for name, value in own.items() if value is None}
            step = replace(step, **(own | missing))
            name, members = self._visited(f"step {number}", step.targets)
            heights = [self.targets[at].z for at in members]
            self.problems += [
                f"step {number}: {problem}"
                for problem in step_problems(step, len(members), heights, max_power)
            ]
            found.append((step, name))
        if not found:
            self.problems.append("there is no step")
        return found

    def _visited(self, where: str, targets: Any) -> tuple[str, tuple[int, ...]]:
        """Return the name of the group or point that a step visits, and its members."""
        if isinstance(targets, Hashable) and targets in self.groups:
            return targets, self.groups[targets]  # type: ignore[return-value, index]
        if isinstance(targets, Hashable) and targets in self.place:
            at = self.place[targets]
            return self.names[at], (at,)
        if not isinstance(targets, list | tuple | np.ndarray):
            self.problems.append(f"{where}: there is no group or target {targets!r}")
            return "", ()
        members = self.members(where, list(targets))
        for name, known in self.groups.items():
            if known == members:
                return name, members
        number = len(self.groups) + 1
        while f"Group {number}" in self.groups:
            number += 1
        self.groups[f"Group {number}"] = members
        return f"Group {number}", members

    def indices(self, name: str) -> tuple[int, ...]:
        """Return the places in the point list of what a step visits."""
        return self.groups[name] if name in self.groups else (self.names.index(name),)


def point_name(at: int) -> str:
    """Return the name that a point of the list has, from its place counted from 0."""
    return f"Point {at + 1}"
