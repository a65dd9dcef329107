"""Which job a save is: what identifies it over processes and days, and no more.

A save goes on with an interrupted one only if it is certain that it would write the same. That
rests on the tokens in dask's names, checksums of all arguments and arrays in memory, and on sizes
and times of the files that the graph reads. Where one of them is missing the job gets a name that
never comes again, and is not resumed.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import secrets
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import dask.array as da
import google_crc32c
import numpy as np

from calscipy import model
from calscipy._version import __version__
from calscipy.io.output import PARTIAL
from calscipy.io.store.layout import Plan
from calscipy.io.store.sources import Sources, UnknownSourceError, sources_of

_TOKEN = re.compile(r"[0-9a-f]{32}$")  # ends the names that dask makes from what goes in
_STAMP = re.compile(r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ ", re.MULTILINE)


@dataclass(frozen=True)
class Job:
    """A save, by what it would write."""

    name: str
    repeatable: bool  # whether the same name can only mean the same content

    @property
    def facts(self) -> dict[str, Any]:
        """What the stage says of it."""
        return {"job": self.name, "repeatable": self.repeatable, "calscipy_version": __version__}


def job_of(plan: Plan) -> Job:
    """Identify a save by its sources, variables, chunks, codecs, history and version."""
    tokens = [_token(array.source) for array in plan.arrays]
    try:
        facts = source_facts(sources_of(array.source for array in plan.arrays))
    except (UnknownSourceError, OSError):
        facts = None
    if facts is None or None in tokens:
        return Job(secrets.token_hex(6), repeatable=False)
    digest = hashlib.sha256()
    for part in (
        [__version__, model.SCHEMA_VERSION, without_stamps(plan.attrs)],
        [_described(plan, group) for group in sorted(plan.datasets)],
        [(array.path, token) for array, token in zip(plan.arrays, tokens, strict=True)],
        facts,
    ):
        digest.update(json.dumps(part, default=repr, sort_keys=True).encode())
    return Job(digest.hexdigest()[:12], repeatable=True)


def _token(array: da.Array) -> str | None:
    """Return the token in the name of an array; names in front of it may hold addresses."""
    found = _TOKEN.search(array.name)
    return None if found is None else found[0]


def _described(plan: Plan, group: str) -> list[Any]:
    dataset = plan.datasets[group]
    described: list[Any] = [group, without_stamps(dataset.attrs)]
    for name in sorted(dataset.variables, key=str):
        variable = dataset.variables[name]
        data = None if variable.chunks is not None else _digest(variable.values)
        encoding = {key: repr(value) for key, value in plan.encoding[group][str(name)].items()}
        kind = [name, variable.dims, variable.shape, str(variable.dtype)]
        described.append([kind, without_stamps(variable.attrs), encoding, data])
    return described


def _digest(values: np.ndarray) -> str:
    if values.dtype.kind in "OT":
        content = json.dumps(values.tolist()).encode()
    else:
        content = np.ascontiguousarray(values).tobytes()
    return hashlib.sha256(content).hexdigest()


def without_stamps(value: Any) -> Any:
    """Return attributes without the times at which steps of the history were made.

    Examples
    --------
    >>> without_stamps({"history": "2026-11-22T10:07:24Z calscipy 0.1.0 dfof {}"})
    {'history': 'calscipy 0.1.0 dfof {}'}
    """
    if isinstance(value, Mapping):
        return {str(key): without_stamps(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [without_stamps(item) for item in value]
    return _STAMP.sub("", value) if isinstance(value, str) else value


def source_facts(sources: Sources) -> list[list[Any]]:
    """Return path, bytes and time of change, in ns, of files, and checksums of arrays in memory.

    Of folders, all files count but those of unfinished stores, one of which may be this one.
    """
    found = {}
    for path in sources.paths:
        for file, stat in _stats(path):
            found[file] = (stat.st_size, stat.st_mtime_ns)
    files = [[file, *numbers] for file, numbers in sorted(found.items())]
    return files + [[a.shape, str(a.dtype), _checksum(a)] for a in sources.arrays]


def _checksum(array: np.ndarray) -> int:
    """Return the CRC-32C of an array that its name may not vouch for, as persisted ones."""
    if array.dtype.hasobject:
        return google_crc32c.value(repr(array.tolist()).encode())
    crc = 0
    for part in np.atleast_1d(array):
        crc = google_crc32c.extend(crc, np.ascontiguousarray(part).reshape(-1).view(np.uint8))
    return crc


def _stats(path: Path) -> Iterator[tuple[str, os.stat_result]]:
    try:
        if not path.is_dir():
            yield str(path), path.stat()
            return
    except FileNotFoundError:  # a frame that the recording lacks
        return
    with os.scandir(path) as entries:
        for entry in entries:
            if entry.name.endswith(PARTIAL):
                continue
            if entry.is_dir(follow_symlinks=False):
                yield from _stats(Path(entry.path))
            else:
                yield entry.path, entry.stat()
