"""A typed view of the microscope's state."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator, Mapping
from typing import Any

from calscipy.errors import ArgumentError, first_few
from calscipy.io.prairieview.environment import Environment, unpacked

Value = int | float | bool | str


class Metadata(Mapping[str, Any]):
    """What the microscope wrote at the start of the recording, by name and typed.

    Parameters
    ----------
    attrs : Mapping
        The nested attribute ``prairieview`` of a session's root.

    Examples
    --------
    >>> state = {"laserPower": {"0": {"value": "79.5", "description": "Pockels"}}}
    >>> metadata = Metadata({"version": "5.6.64.400", "state": state})
    >>> metadata["laserPower"], metadata.laser_power
    ({'0': 79.5}, {'Pockels': 79.5})
    """

    __slots__ = ("_attrs",)

    def __init__(self, attrs: Mapping[str, Any]) -> None:
        self._attrs = attrs

    @property
    def _state(self) -> Mapping[str, Any]:
        return self._attrs.get("state", {})

    def __getitem__(self, key: str) -> Any:
        if key not in self._state:
            known = first_few(sorted(self._state), 60)
            raise KeyError(f"the recording has no state key {key!r}; it has {known}")
        return _typed(self._state[key])

    def __iter__(self) -> Iterator[str]:
        return iter(self._state)

    def __len__(self) -> int:
        return len(self._state)

    def raw(self, key: str, *indices: str) -> str:
        """Return a value as it was written."""
        value: Any = self._state[key]
        for index in indices:
            value = value[index]
        if not isinstance(value.get("value"), str):
            raise ArgumentError(f"{key!r} has further indices: {first_few(list(value))}")
        return value["value"]

    @property
    def version(self) -> str:
        """Version of PrairieView."""
        return str(self._attrs.get("version", ""))

    @property
    def date(self) -> dt.datetime | str:
        """Local time when the recording started; text if it is in another form."""
        text = str(self._attrs.get("date", ""))
        try:
            return dt.datetime.strptime(text, "%m/%d/%Y %I:%M:%S %p")
        except ValueError:
            return text

    @property
    def notes(self) -> str:
        """Notes of the recording; those of the settings where it has none."""
        own = str(self._attrs.get("notes", ""))
        return own or str(self.environment.get("notes", ""))

    @property
    def environment(self) -> Mapping[str, Any]:
        """What the settings beside the recording say: frame rate, active channels, plans.

        Empty where there is no ``.env`` or ``Config.cfg`` file. All of it is in `settings`.
        """
        return self._attrs.get("environment", {})

    @property
    def settings(self) -> Environment | None:
        """All settings beside the recording, which stores keep too; None where there are none.

        Raises
        ------
        RecordingError
            If what was kept is damaged.
        """
        kept = self._attrs.get("environment_file")
        return unpacked(kept) if kept else None

    @property
    def elements(self) -> list[Mapping[str, Any]]:
        """Elements of the master XML beside frames and state: equal ones once, with their cycles.

        Of elements inside frames that calscipy does not know the first hundred are kept.
        """
        return list(self._attrs.get("elements", []))

    @property
    def references(self) -> list[str]:
        """Names of the reference images, for `calscipy.io.prairieview.read_reference`."""
        return list(self._attrs.get("references", []))

    @property
    def objective(self) -> str | None:
        """Name of the objective."""
        return self.get("objectiveLens")

    @property
    def microns_per_pixel(self) -> dict[str, float]:
        """Size of a pixel in um by axis, and the step in z."""
        return {axis[0].lower(): _typed(size) for axis, size in self._indexed("micronsPerPixel")}

    @property
    def laser_power(self) -> dict[str, float]:
        """Power of every laser on the slider, in arbitrary units, by its name."""
        return self._named("laserPower")

    @property
    def pmt_gain(self) -> dict[str, float]:
        """High voltage of every detector, by its name."""
        return self._named("pmtGain")

    def _named(self, key: str) -> dict[str, float]:
        return {
            entry.get("description") or index: _typed(entry) for index, entry in self._indexed(key)
        }

    def _indexed(self, key: str) -> list[tuple[str, Mapping[str, Any]]]:
        """Return the entries of a key by index; none where it is absent or holds one value."""
        entries = self._state.get(key, {})
        return [] if isinstance(entries.get("value"), str) else list(entries.items())

    def __repr__(self) -> str:
        lines = [f"  {key}: {_typed(value)}" for key, value in self._state.items()]
        return "\n".join([f"<Metadata of PrairieView {self.version or '(unknown)'}>", *lines])


def _typed(value: Mapping[str, Any]) -> Any:
    if isinstance(value.get("value"), str):
        return _number_or_text(value["value"])
    return {index: _typed(item) for index, item in value.items()}


def _number_or_text(text: str) -> Value:
    if text in ("True", "False"):
        return text == "True"
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return {"∞": float("inf"), "-∞": float("-inf")}.get(text, text)
