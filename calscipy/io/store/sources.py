"""What lazy arrays are made from, found in their graphs: files, and arrays in memory."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path, PurePath
from types import FunctionType, MethodType
from typing import Any

import dask.array as da
import numpy as np
import pandas as pd
from dask._task_spec import Alias, DataNode, GraphNode, Task, TaskRef
from zarr.abc.store import Store
from zarr.storage import LocalStore, StorePath

from calscipy.io.store.reading import StoredArray

_PLAIN = (
    pd.Index,
    pd.DataFrame,
    pd.Series,
    int,
    float,
    complex,
    bytes,
    slice,
    range,
    np.generic,
    np.dtype,
    type,
    type(None),
    type(...),
)
_LONGEST_PATH = 4096


class UnknownSourceError(Exception):
    """A graph reads something that is no file, or holds what cannot be looked into."""


@dataclass
class Sources:
    """What goes into a graph."""

    paths: set[Path] = field(default_factory=set)  # files; folders stand for all that is in them
    stores: set[Path] = field(default_factory=set)  # of ours, whose arrays know their content
    arrays: list[np.ndarray] = field(default_factory=list)  # in memory


def sources_of(arrays: Iterable[Any]) -> Sources:
    """Return what lazy arrays read: files and folders that they name, and arrays in memory.

    Strings that name no file are passed over.

    Parameters
    ----------
    arrays : iterable
        dask arrays, and what xarray keeps of arrays that it reads itself.

    Raises
    ------
    UnknownSourceError
        If a graph holds an object that may read from elsewhere.
    """
    search = _Search()
    layers: dict[str, Any] = {}
    for array in arrays:
        if isinstance(array, da.Array):
            layers.update(array.dask.layers)
        else:
            search.visit(array)
    for layer in layers.values():
        search.visit_layer(layer)
    return search.sources


class _Search:
    """Walks through the objects of a graph, each once."""

    def __init__(self) -> None:
        self.sources = Sources()
        self._seen: dict[int, Any] = {}  # objects too, so that no id is used twice
        self._names: set[str] = set()

    def visit_layer(self, layer: Any) -> None:
        """Look at what the tasks of a layer are made with."""
        # A Blockwise layer has one task and its arguments; there is no need to make all of it.
        if hasattr(layer, "indices") and hasattr(layer, "task"):
            self.visit([layer.task, [array for array, index in layer.indices if index is None]])
            self.visit([getattr(deps, "mapping", None) for deps in layer.io_deps.values()])
        elif hasattr(layer, "steps"):  # filters of ours: the same in every task
            self.visit([step.kernel for step in layer.steps])
        else:
            self.visit(list(dict(layer).values())[::-1])

    def visit(self, start: Any) -> None:
        """Look at an object and all that is in it."""
        waiting = [start]
        while waiting:
            item = waiting.pop()
            if isinstance(item, _PLAIN) or id(item) in self._seen:
                continue
            if isinstance(item, str | PurePath):
                self._add_name(os.fspath(item))
                continue
            self._seen[id(item)] = item
            waiting.extend(self._parts(item))

    def _add_name(self, name: str) -> None:
        if name in self._names or not 0 < len(name) < _LONGEST_PATH:
            return
        self._names.add(name)
        try:
            if os.path.exists(name):
                self.sources.paths.add(Path(name).absolute())
        except ValueError:  # a zero byte: no name of a file
            return

    def _parts(self, item: Any) -> Iterable[Any]:
        """Return what is in an object, and note the files that it names."""
        if isinstance(item, np.ndarray):
            return self._parts_of_array(item)
        if isinstance(item, Mapping):
            return [*item.keys(), *item.values()]
        if isinstance(item, list | tuple | set | frozenset):
            return item
        if isinstance(item, Alias | TaskRef):
            return ()
        if isinstance(item, DataNode):
            return (item.value,)
        if isinstance(item, Task):
            return (item.func, item.args, item.kwargs)
        if isinstance(item, StorePath) and isinstance(item.store, LocalStore):
            self.sources.paths.add((item.store.root / item.path).absolute())
            return ()
        if isinstance(item, Store):
            raise UnknownSourceError(f"a zarr {type(item).__name__}")
        if isinstance(item, partial):
            return (item.func, item.args, item.keywords)
        if isinstance(item, MethodType):
            return (item.__self__, item.__func__)
        if isinstance(item, FunctionType):
            cells = [cell.cell_contents for cell in item.__closure__ or () if _is_set(cell)]
            return [*cells, *(item.__defaults__ or ()), *(item.__kwdefaults__ or {}).values()]
        return self._parts_of_object(item)

    def _parts_of_array(self, item: np.ndarray) -> Iterable[Any]:
        base: Any = item
        while base is not None and not isinstance(base, np.memmap):
            base = getattr(base, "base", None)
        if base is None:
            self.sources.arrays.append(item)
        elif base.filename is not None:
            self.sources.paths.add(Path(base.filename).absolute())
        return item.ravel().tolist() if item.dtype.hasobject else ()

    def _parts_of_object(self, item: Any) -> Iterable[Any]:
        if getattr(type(item), "__dask_future__", False) or type(item).__name__ == "Future":
            raise UnknownSourceError("a result that a cluster holds")
        if isinstance(item, StoredArray):
            self.sources.stores.add(item.place.path)
            return ()
        folder, names = getattr(item, "folder", None), getattr(item, "names", None)
        if isinstance(folder, str) and isinstance(names, np.ndarray):  # our lazy images
            listed = {name for name in names.ravel().tolist() if name}
            self.sources.paths.update(Path(folder, os.fsdecode(name)) for name in listed)
            return ()
        if type(item).__module__ in ("builtins", "_thread", "numpy"):  # functions in C, locks
            return ()
        kept = dict(getattr(item, "__dict__", {}))
        for kind in type(item).__mro__:
            slots = kind.__dict__.get("__slots__", ())
            for slot in (slots,) if isinstance(slots, str) else slots:
                if hasattr(item, slot):
                    kept[slot] = getattr(item, slot)
        if not kept and not isinstance(item, GraphNode) and not callable(item):
            raise UnknownSourceError(f"an object of {type(item).__module__}.{type(item).__name__}")
        return list(kept.values())


def _is_set(cell: Any) -> bool:
    try:
        cell.cell_contents  # noqa: B018
    except ValueError:
        return False
    return True
