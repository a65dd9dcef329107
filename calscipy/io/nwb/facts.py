"""What NWB needs to know and no microscope writes: collected, and asked for all at once."""

from __future__ import annotations

import datetime as dt
import uuid
import zoneinfo
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import xarray as xr

from calscipy import model
from calscipy.errors import ArgumentError

OfChannels = Any  # one value, or a mapping from the name of a channel to its value

SUBJECT = (
    "subject_id", "species", "sex", "age", "date_of_birth", "description", "genotype", "strain",
    "weight",
)  # fmt: skip
_WAVELENGTH = "laser_wavelength_nm"  # of the recording


@dataclass(frozen=True)
class Channel:
    """What NWB says of one channel."""

    name: str  # "" if it has none
    indicator: str
    excitation_nm: float
    emission_nm: float


@dataclass(frozen=True)
class Facts:
    """What NWB says of a session beside its data."""

    description: str
    identifier: str
    start: dt.datetime
    subject: dict[str, Any]
    location: str
    channels: tuple[Channel, ...]  # none if nothing was imaged
    further: dict[str, Any]  # fields of the file that were given


@dataclass
class _Needs:
    """What is missing so far."""

    missing: list[str] = field(default_factory=list)

    def text(self, name: str, value: Any, meaning: str) -> str:
        """Return a text, or note that it is missing."""
        if value is not None and not isinstance(value, str):
            raise ArgumentError(f"to_nwb needs {name} as text, got {value!r}.")
        if not (value or "").strip():
            self.missing.append(f"{name}: {meaning}")
        return value or ""


def collect(
    tree: xr.DataTree,
    *,
    imaging: bool,
    session_description: str | None,
    identifier: str | None,
    session_start_time: dt.datetime | str | None,
    timezone: str | dt.tzinfo | None,
    subject: Mapping[str, Any] | None,
    indicator: OfChannels,
    location: str | None,
    excitation_nm: OfChannels,
    emission_nm: OfChannels,
    further: Mapping[str, Any],
    missing: Sequence[str],
) -> Facts:
    """Put together what was given and what the recording tells.

    Parameters
    ----------
    tree : DataTree
        The session.
    imaging : bool
        There is a movie, or there are traces.
    session_description, identifier, session_start_time, timezone, subject, indicator, location, \
excitation_nm, emission_nm
        As `calscipy.io.nwb.to_nwb` takes them.
    further : mapping
        Further fields of the file; those that are None are left out.
    missing : sequence of str
        What is known to be missing already.

    Raises
    ------
    ArgumentError
        One error that lists everything that is missing, each with its meaning.
    """
    needs = _Needs()
    description = needs.text(
        "session_description", session_description, "what was done in the session, in a sentence"
    )
    start = _start(tree, session_start_time, timezone, needs)
    about = _subject(subject, needs)
    channels: tuple[Channel, ...] = ()
    place = ""
    if imaging:
        place = needs.text(
            "location", location, 'where was imaged, such as location="V1, layer 2/3"'
        )
        channels = _channels(tree, indicator, excitation_nm, emission_nm, needs)
    needs.missing += missing
    if needs.missing:
        listed = "\n".join(f"- {item}" for item in needs.missing)
        raise ArgumentError(
            f"NWB demands what neither the recording nor the call tells:\n{listed}\n"
            "Give these as arguments of to_nwb; calscipy does not make them up."
        )
    assert start is not None
    birth = about.get("date_of_birth")
    if isinstance(birth, dt.datetime) and birth.tzinfo is None:
        about["date_of_birth"] = birth.replace(tzinfo=start.tzinfo)
    return Facts(
        description=description,
        identifier=identifier or str(uuid.uuid4()),
        start=start,
        subject=about,
        location=place,
        channels=channels,
        further={name: value for name, value in further.items() if value is not None},
    )


def _start(
    tree: xr.DataTree, given: dt.datetime | str | None, timezone: Any, needs: _Needs
) -> dt.datetime | None:
    """Return when the session started, with its time zone."""
    recorded = None
    if given is None:
        recorded = next(_dates(tree), None)
        given = recorded
    if given is None:
        needs.missing.append(
            "session_start_time: when it started, a datetime or ISO text, with its time zone "
            '(session_start_time="2026-03-02T16:25:40+01:00", or timezone="Europe/Zurich")'
        )
        return None
    start = _moment(given, "session_start_time") if isinstance(given, str) else given
    if not isinstance(start, dt.datetime):
        raise ArgumentError(f"to_nwb needs session_start_time as a datetime, got {given!r}.")
    zone = _zone(timezone)
    if start.tzinfo is None and zone is None:
        said = f" (the recording says {recorded})" if recorded else ""
        needs.missing.append(
            f"timezone: that of the clock of session_start_time{said}, such as "
            'timezone="Europe/Zurich"'
        )
        return None
    if start.tzinfo is not None and zone is not None:
        raise ArgumentError("to_nwb: session_start_time has a time zone already; omit timezone.")
    return start if start.tzinfo is not None else start.replace(tzinfo=zone)


def _moment(text: str, name: str) -> dt.datetime:
    try:
        return dt.datetime.fromisoformat(text)
    except ValueError as error:
        raise ArgumentError(
            f"to_nwb needs {name} as a datetime or ISO text, got {text!r}."
        ) from error


def _zone(timezone: Any) -> dt.tzinfo | None:
    if timezone is None or isinstance(timezone, dt.tzinfo):
        return timezone
    try:
        return zoneinfo.ZoneInfo(timezone)
    except (zoneinfo.ZoneInfoNotFoundError, ValueError, TypeError, OSError) as error:
        raise ArgumentError(
            f"to_nwb does not know the time zone {timezone!r}. Give a name such as "
            "'Europe/Zurich', or a datetime.timezone."
        ) from error


def _dates(tree: xr.DataTree) -> Iterator[str]:
    """Find the dates that a recording tells in a form that is clear."""
    for node in tree.children.values():
        for variable in node.data_vars.values():
            date = variable.attrs.get("date")
            if isinstance(date, str):
                try:
                    dt.datetime.fromisoformat(date)
                except ValueError:
                    continue
                yield date


def _subject(given: Mapping[str, Any] | None, needs: _Needs) -> dict[str, Any]:
    about = dict(given or {})
    unknown = sorted(map(str, set(about) - set(SUBJECT)))
    if unknown:
        raise ArgumentError(f"to_nwb: subject takes {', '.join(SUBJECT)}, got {unknown}.")
    if not about.get("subject_id"):
        needs.missing.append(
            'subject: who was recorded, for instance subject={"subject_id": "m12", "species": '
            '"Mus musculus", "sex": "F", "age": "P90D"}; subject_id at least'
        )
    if isinstance(about.get("date_of_birth"), str):
        about["date_of_birth"] = _moment(about["date_of_birth"], "date_of_birth")
    if isinstance(about.get("weight"), int | np.number):
        about["weight"] = float(about["weight"])
    return about


def channel_names(tree: xr.DataTree) -> list[str]:
    """Return the names of the channels that were imaged; ``""`` for one without a name."""
    for group in (model.MOVIE, model.TRACES, model.EVENTS):
        if group in tree.children:
            dataset = tree[group].to_dataset()
            if model.CHANNEL in dataset.coords:
                return [str(n) for n in np.atleast_1d(dataset[model.CHANNEL].values).tolist()]
            if model.CHANNEL in dataset.dims:
                return [f"channel {at}" for at in range(dataset.sizes[model.CHANNEL])]
    return [""]


def _channels(
    tree: xr.DataTree, indicator: Any, excitation: Any, emission: Any, needs: _Needs
) -> tuple[Channel, ...]:
    names = channel_names(tree)
    if excitation is None:
        excitation = _wavelength(tree)
    indicators = _by_channel("indicator", indicator, names, 'what glows, such as "GCaMP6s"', needs)
    lasers = _by_channel(
        "excitation_nm", excitation, names, "wavelength of the laser in nm", needs, shared=True
    )
    filters = _by_channel(
        "emission_nm", emission, names, "wavelength of the emitted light in nm", needs
    )
    if needs.missing:
        return ()
    return tuple(
        Channel(name, str(indicators[name]), float(lasers[name]), float(filters[name]))
        for name in names
    )


def _by_channel(
    name: str, given: Any, channels: list[str], meaning: str, needs: _Needs, *, shared: bool = False
) -> dict[str, Any]:
    """Return the value of each channel; note those that have none."""
    if isinstance(given, Mapping):
        values = {str(key): value for key, value in given.items()}
        unknown = sorted(set(values) - set(channels))
        if unknown:
            raise ArgumentError(f"to_nwb: {name} names {unknown}; the channels are {channels}.")
    elif given is not None and (len(channels) == 1 or shared):
        values = dict.fromkeys(channels, given)
    else:
        values = {}
    for value in values.values():
        _require_kind(name, value)
    lacking = [channel for channel in channels if values.get(channel) is None]
    if lacking:
        form = name
        if len(channels) > 1:
            form = f"{name}={{{', '.join(f'{channel!r}: ...' for channel in lacking)}}}"
        needs.missing.append(f"{form}: {meaning}")
    return values


def _require_kind(name: str, value: Any) -> None:
    if name == "indicator":
        good = isinstance(value, str) and bool(value.strip())
    else:
        numeric = isinstance(value, int | float | np.number) and not isinstance(value, bool)
        good = numeric and 100 < value < 10_000
    if not good:
        wanted = "a name" if name == "indicator" else "a wavelength in nm"
        raise ArgumentError(f"to_nwb needs {name} as {wanted}, got {value!r}.")


def _wavelength(tree: xr.DataTree) -> float | None:
    """Return the wavelength of the laser if the recording tells one."""
    if model.MOVIE not in tree.children:
        return None
    for variable in tree[model.MOVIE].data_vars.values():
        value = variable.attrs.get(_WAVELENGTH)
        if isinstance(value, int | float) and 100 < value < 10_000:
            return float(value)
    return None
