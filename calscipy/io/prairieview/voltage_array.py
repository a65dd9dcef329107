"""Voltage recordings on disk as one lazy array."""

from __future__ import annotations

import hashlib
from typing import Any, NamedTuple

import numpy as np
from xarray.backends import BackendArray
from xarray.core import indexing

from calscipy.io.prairieview.voltage_rows import PIECE_ROWS, Table, read_rows


class Take(NamedTuple):
    """One signal: its column in each table (0 where a table lacks it) and what scales it."""

    columns: tuple[int, ...]
    scales: tuple[float, ...]


class VoltageArray(BackendArray):
    """Tables on disk, one after the other, as a lazy array ``(signal, time)`` of float64.

    Holds paths and numbers only, so that it pickles to other processes.

    Parameters
    ----------
    tables : list of Table
        In the order of their times.
    takes : list of Take
        The signals.
    """

    def __init__(self, tables: list[Table], takes: list[Take]) -> None:
        self.tables = tables
        self.takes = takes
        self.begins = np.cumsum([0, *(table.rows for table in tables)])
        self.shape = (len(takes), int(self.begins[-1]))
        self.dtype = np.dtype(np.float64)
        what = [(t.path, t.size, t.modified, t.start, t.stop, t.rows, t.grid) for t in tables]
        self.token = hashlib.sha256(repr((what, takes)).encode()).hexdigest()[:32]

    def __dask_tokenize__(self) -> str:
        return self.token

    def __getitem__(self, key: indexing.ExplicitIndexer) -> Any:
        """Read what an indexer asks for."""
        return indexing.explicit_indexing_adapter(
            key, self.shape, indexing.IndexingSupport.OUTER, self._read
        )

    def _read(self, key: tuple[Any, ...]) -> np.ndarray:
        which, wanted = (
            np.atleast_1d(np.arange(size)[item]) for size, item in zip(self.shape, key, strict=True)
        )
        out = np.full((len(which), len(wanted)), np.nan)
        number = np.searchsorted(self.begins, wanted, side="right") - 1
        rows = wanted - self.begins[number]
        # Pieces never reach from one table into the next; each is read once, in any order.
        piece = number * (self.shape[1] // PIECE_ROWS + 1) + rows // PIECE_ROWS
        order = np.argsort(piece, kind="stable")
        borders = np.flatnonzero(np.diff(piece[order])) + 1
        for places in np.split(order, borders) if order.size else ():
            self._fill(out, places, which, int(number[places[0]]), rows[places])
        dropped = tuple(at for at, item in enumerate(key) if isinstance(item, int | np.integer))
        return out.squeeze(axis=dropped)

    def _fill(
        self, out: np.ndarray, places: np.ndarray, which: np.ndarray, at: int, rows: np.ndarray
    ) -> None:
        """Read some rows of one table into their places."""
        first = int(rows.min())
        values = read_rows(self.tables[at], first, int(rows.max()) + 1)
        where: np.ndarray | slice = places
        run = np.arange(len(rows))
        if np.array_equal(rows - first, run) and np.array_equal(places - places[0], run):
            where = slice(int(places[0]), int(places[0]) + len(places))
        else:
            values = values[rows - first]
        for target, signal in zip(out, which, strict=True):
            take = self.takes[signal]
            if take.columns[at]:
                target[where] = values[:, take.columns[at]] * take.scales[at]
