"""Values in HDF5 files of CaImAn: arrays, sparse matrices and settings, each checked first."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from calscipy.errors import RecordingError
from calscipy.io.hdf5 import load, require_whole
from calscipy.io.optional import optional

_MOST_VALUES = 4096  # of one setting
_MOST_SETTINGS = 10_000
_DEEPEST = 8
_NONE = ("NoneType", "None")  # how CaImAn writes that there is none
_AGAIN = "Save the results again with CaImAn."


@dataclass
class Results:
    """What was found, and what is left."""

    path: Path
    sizes: tuple[int, ...]  # dims of an image: y, x and planes
    neurons: int
    frames: int
    program: dict[str, str]
    left: list[str]  # names of what has no place


class Sparse(NamedTuple):
    """The values of a matrix other than zero, and where they stand."""

    rows: np.ndarray
    columns: np.ndarray
    values: np.ndarray
    height: int
    width: int


class Values:
    """The values of one group.

    Parameters
    ----------
    group : h5py.Group
        The group.
    path : Path
        The file, for messages.
    """

    def __init__(self, group: Any, path: Path) -> None:
        self.group, self.path = group, path
        h5py = optional("h5py", extra="hdf5", purpose="results of CaImAn")
        for name in group:
            if not isinstance(group.get(name, getlink=True), h5py.HardLink):
                raise RecordingError(
                    f"{path}: '{group.name}/{name}' is a link, which CaImAn never writes. {_AGAIN}"
                )

    def names(self) -> list[str]:
        """Name what is there and not None."""
        return [name for name in self.group if not self._is_none(name)]

    def array(self, name: str) -> Any:
        """Return an array of numbers, None if there is none."""
        if name not in self.group or self._is_none(name):
            return None
        found = self.group[name]
        if not hasattr(found, "shape") or found.dtype.kind not in "biuf" or found.shape == ():
            return None
        return found

    def loaded(self, name: str) -> np.ndarray | None:
        """Return the values of an array of numbers, None if there is none."""
        found = self.array(name)
        return None if found is None else load(found, self.path)

    def sparse(self, name: str) -> Sparse | None:
        """Return a sparse matrix that was written by columns, None if there is none.

        Raises
        ------
        RecordingError
            If it is none, or its parts contradict each other.
        """
        if name not in self.group or self._is_none(name):
            return None
        item = self.group[name]
        if not is_group(item):
            raise self._wrong(name, "a group with a sparse matrix was expected")
        parts = Values(item, self.path)
        data, rows, starts, shape = (
            parts.loaded(key) for key in ("data", "indices", "indptr", "shape")
        )
        if data is None or rows is None or starts is None or shape is None:
            raise self._wrong(name, "data, indices, indptr and shape were expected in it")
        columns = len(starts) - 1
        whole = all(part.dtype.kind in "iu" for part in (rows, starts, shape))
        if not whole or columns < 0 or shape.shape != (2,) or int(shape[1]) != columns:
            raise self._wrong(name, f"{columns} columns do not fit its shape {shape.tolist()}")
        lengths = np.diff(starts.astype(np.int64)).astype(np.int64)
        if (
            starts[0] != 0
            or (lengths < 0).any()
            or int(starts[-1]) != len(data)
            or len(data) != len(rows)
        ):
            raise self._wrong(name, f"{len(data)} values do not fit its columns")
        if len(rows) and (int(rows.min()) < 0 or int(rows.max()) >= int(shape[0])):
            raise self._wrong(name, f"rows reach from {rows.min()} to {rows.max()} of {shape[0]}")
        column = np.repeat(np.arange(columns), lengths)
        keep = data != 0
        return Sparse(rows[keep].astype(np.int64), column[keep], data[keep], int(shape[0]), columns)

    def _is_none(self, name: str) -> bool:
        item = self.group[name]
        if not hasattr(item, "shape"):
            return False
        if item.shape is None:
            return True
        text = _text(item)
        return text is not None and text in _NONE

    def _wrong(self, name: str, what: str) -> RecordingError:
        return RecordingError(
            f"{self.path}: '{self.group.name}/{name}' is damaged: {what}. {_AGAIN}"
        )


def is_group(item: Any) -> bool:
    """Tell whether something is a group of an HDF5 file."""
    return item is not None and hasattr(item, "keys") and not hasattr(item, "shape")


def read_settings(file: Any, path: Path) -> tuple[dict[str, Any], list[str]]:
    """Read the settings, and the single values beside them and among the results.

    Returns
    -------
    settings : dict
        In the form that stores take; ``params/data/fr`` is ``settings["data"]["fr"]``.
    left : list of str
        Names of what is too large for a setting.
    """
    left: list[str] = []
    budget = [_MOST_SETTINGS]
    settings: dict[str, Any] = {}
    if is_group(file.get("params")):
        settings = _collected(Values(file["params"], path), left, budget, 0)
    alone = {key: _plain(value) for key, value in file.attrs.items()}
    for name in file:
        if hasattr(file[name], "shape") and name != "dims":
            alone[name] = _plain_dataset(file[name], path)
    left += [name for name, value in alone.items() if value is _TOO_LARGE]
    settings |= {k: v for k, v in alone.items() if v is not _TOO_LARGE}
    results = file["estimates"]
    single = {key: _plain(value) for key, value in results.attrs.items()}
    single |= {
        name: _plain_dataset(results[name], path) for name in results if is_single(results[name])
    }
    single = {k: v for k, v in single.items() if v is not None and v is not _TOO_LARGE}
    return settings | ({"estimates": single} if single else {}), left


def is_single(item: Any) -> bool:
    """Tell whether something is one number or text."""
    return getattr(item, "shape", None) == ()


_TOO_LARGE = object()


def _collected(group: Values, left: list[str], budget: list[int], depth: int) -> dict[str, Any]:
    found: dict[str, Any] = {}
    items = {name: _plain(value) for name, value in group.group.attrs.items()}
    for name in group.group:
        item = group.group[name]
        if not is_group(item):
            items[name] = _plain_dataset(item, group.path)
        elif depth < _DEEPEST:
            items[name] = _collected(Values(item, group.path), left, budget, depth + 1)
        else:
            items[name] = _TOO_LARGE
    for name, value in items.items():
        budget[0] -= 1
        if value is _TOO_LARGE or budget[0] < 0:
            left.append(f"{group.group.name}/{name}".strip("/"))
        else:
            found[str(name)] = value
    return found


def _plain_dataset(item: Any, path: Path) -> Any:
    if item.shape is None:
        return None
    if math.prod(item.shape) > _MOST_VALUES or item.dtype.itemsize > _MOST_VALUES:
        return _TOO_LARGE
    require_whole(item, path)
    return _plain(item[()])


def _plain(value: Any) -> Any:
    """Bring a setting into numbers, texts and lists of them."""
    if isinstance(value, bytes):
        value = value.decode("utf-8", errors="replace")
    if isinstance(value, str):
        return None if value in _NONE else value if len(value) <= _MOST_VALUES else _TOO_LARGE
    if isinstance(value, np.generic):
        return _plain(value.item())
    if isinstance(value, np.ndarray):
        if value.size > _MOST_VALUES:
            return _TOO_LARGE
        return _plain(value.tolist())
    if isinstance(value, list):
        items = [_plain(item) for item in value]
        return _TOO_LARGE if any(item is _TOO_LARGE for item in items) else items
    return value if isinstance(value, bool | int | float) else _TOO_LARGE


def _text(item: Any) -> str | None:
    if item.shape != () or item.dtype.kind not in "SO" or item.dtype.itemsize > _MOST_VALUES:
        return None
    found = _plain(item[()])
    return "NoneType" if found is None else found if isinstance(found, str) else None


def setting(settings: Mapping[str, Any], *keys: str) -> Any:
    """Return a setting, None if there is none."""
    found: Any = settings
    for key in keys:
        found = found.get(key) if isinstance(found, Mapping) else None
    return found
