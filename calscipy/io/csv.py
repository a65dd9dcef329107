"""Traces, events and tables as CSV files that every program reads, their labels in JSON beside."""

from __future__ import annotations

import csv
import json
import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, TextIO

import numpy as np
import xarray as xr

from calscipy import model
from calscipy.errors import ArgumentError, CalscipyWarning, DimensionError, first_few, warn
from calscipy.io.labels import describe_labels, encode_attrs
from calscipy.io.output import flush, new_file, progress_bar, require_free
from calscipy.io.paths import local_path
from calscipy.io.raw_blocks import RawBlocks, write_blocks
from calscipy.options import get_option

FORMULAS = ("=", "+", "-", "@", "\t", "\r")  # what spreadsheets take a text for that starts so
_NUMBERS = 2**20  # made into text at once


def to_csv(
    data: xr.DataArray | xr.Dataset, path: str | os.PathLike[str], *, progress: bool | None = None
) -> Path:
    """Write traces, events, voltage or a table to a CSV file, with a JSON file beside it.

    Parameters
    ----------
    data : DataArray or Dataset
        Traces or events ``([neuron,] time)`` or voltage ``(signal, time)``, one column for each
        neuron or signal behind the column ``time`` in s; events are 0 and 1. Or a table with one
        dimension (``event_table``, stimuli): one row for each event, one column for each
        coordinate and variable.
    path : path
        The file, ending in ``.csv``. Neither it nor the ``.json`` beside it may exist.
    progress : bool, optional
        Show a progress bar; the option ``progress`` by default.

    Returns
    -------
    Path
        The CSV file. The JSON file has the same name and ends in ``.json``.

    Raises
    ------
    DimensionError
        If it has more dimensions.
    ArgumentError
        If columns would have the same name, or hold neither numbers nor text.
    TimeAxisError
        If samples have no times in s.
    TargetExistsError
        If there is anything at one of the two paths.
    StoreError
        If it cannot be written. Nothing is left behind.

    Warns
    -----
    CalscipyWarning
        If names or texts start with a character that makes spreadsheets run them as formulas: an
        apostrophe stands before these. The JSON file has the names as they were.

    Notes
    -----
    The CSV holds the header and numbers alone (UTF-8, commas, line feeds), every float with the
    digits that give back the same number. The JSON file has ``columns`` (the label of each column,
    and its attributes in tables), and ``labels`` with units, history and all other coordinates
    and attributes as `calscipy.io.labels.labels_text` writes them.

    Examples
    --------
    >>> import calscipy as cs
    >>> traces = cs.from_numpy(np.array([[1.0, 0.1], [2.0, 0.2]]), frame_rate=4)
    >>> print(to_csv(traces, "traces.csv", progress=False).read_text())
    time,0,1
    0.0,1.0,2.0
    0.25,0.1,0.2
    """
    target = local_path(path)
    if target.suffix.lower() != ".csv":
        raise ArgumentError(f"to_csv needs a file name that ends in .csv, got {str(path)!r}.")
    side = target.with_suffix(".json")
    require_free(side)
    if isinstance(data, xr.Dataset):
        names, described = _describe_table(data)
    else:
        names, described = _describe_samples(data)
    header = _safe(names)
    columns = [{"column": shown} | of for shown, of in zip(header, described, strict=True)]
    labels = _labels(data)
    with new_file(target) as table, new_file(side) as beside:
        with open(table, "w", encoding="utf-8", newline="") as stream:
            if isinstance(data, xr.Dataset):
                _write(stream, header, _table_rows(data, names))
            else:
                _write_samples(stream, header, data, target, progress)
        text = json.dumps({"file": target.name, "columns": columns, "labels": labels}, indent=1)
        beside.write_text(text + "\n", encoding="utf-8")
        flush(table)  # a full disk shows before either of them gets its name
    return target


def _describe_samples(data: xr.DataArray) -> tuple[list[str], list[dict[str, Any]]]:
    """Return the names of the columns of an array along time, and what they are."""
    dim = model.time_dim(data, "to_csv")
    others = [str(other) for other in data.dims if other != dim]
    if len(others) > 1 or model.Y in others or model.X in others:
        raise DimensionError(
            f"to_csv writes one column for each neuron, found {tuple(data.dims)}. Select one of "
            "the other dimensions (data.sel(channel=...)); movies go to to_tiff."
        )
    if data.dtype.kind not in "biuf":
        raise ArgumentError(f"to_csv writes real numbers, got {data.dtype}.")
    model.seconds(data, "to_csv")
    if not others:
        values: list[Any] = [str(data.name) if data.name is not None else "value"]
    elif others[0] in data.coords:
        values = model.coordinate(data, others[0]).tolist()
    else:
        values = list(range(data.sizes[others[0]]))
    about = {"dim": others[0]} if others else {}
    names = [model.TIME, *map(str, values)]
    attrs = encode_attrs(data[model.TIME].attrs, model.TIME)
    return names, [
        {"label": model.TIME, "attrs": {"units": "s"} | attrs},
        *({"label": value} | about for value in values),
    ]


def _describe_table(table: xr.Dataset) -> tuple[list[str], list[dict[str, Any]]]:
    """Return the names of the columns of a table, and what they are."""
    if len(table.sizes) != 1:
        raise DimensionError(
            f"to_csv writes tables of one dimension, found {dict(table.sizes)}. Give one variable "
            "of the dataset, for instance session.traces."
        )
    names = [str(name) for name in (*table.coords, *table.data_vars) if table[name].ndim == 1]
    wrong = [name for name in names if _column(table, name).dtype.kind not in "biufU"]
    if wrong:
        raise ArgumentError(
            f"to_csv: the columns {first_few(wrong)} hold neither numbers nor text. Convert them, "
            "for instance times with table[name].astype(str), or drop them."
        )
    return names, [
        {"label": name, "attrs": encode_attrs(table[name].attrs, name)} for name in names
    ]


def _column(table: xr.Dataset, name: str) -> np.ndarray:
    values = np.asarray(table[name].values)
    if values.dtype.kind in "OT" and all(isinstance(item, str) for item in values.tolist()):
        return values.astype(np.str_)
    return values


def _labels(data: xr.DataArray | xr.Dataset) -> Any:
    """Return what the columns do not hold."""
    if isinstance(data, xr.Dataset):  # the attributes of the table, and what is one value for all
        scalars = {name: value for name, value in data.variables.items() if not value.ndim}
        data = xr.DataArray(0, scalars, attrs=data.attrs)
    return describe_labels(data, without=(model.TIME,))


def _safe(names: Sequence[str]) -> list[str]:
    """Return names that no spreadsheet runs as formulas, each once."""
    repeated = sorted({name for name in names if names.count(name) > 1})
    if repeated:
        raise ArgumentError(
            f"to_csv: several columns would be called {first_few(repeated)}. Give them different "
            "names first, for instance data.assign_coords(neuron=...)."
        )
    shown = [_harmless(name) for name in names]
    _say_changed(sum(new != old for new, old in zip(shown, names, strict=True)), "column names")
    return shown


def _harmless(text: str) -> str:
    return f"'{text}" if text.startswith(FORMULAS) and not _is_number(text) else text


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _say_changed(count: int, what: str) -> None:
    if count:
        warn(
            f"to_csv: {count} {what} start with one of = + - @, which spreadsheets run as "
            "formulas; they are written with an apostrophe before them.",
            CalscipyWarning,
        )


def _write(stream: TextIO, header: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(header)
    writer.writerows(rows)


def _table_rows(table: xr.Dataset, names: Sequence[str]) -> Iterator[tuple[Any, ...]]:
    columns = []
    for name in names:
        values = _column(table, name).tolist()
        if values and isinstance(values[0], str):
            shown = [_harmless(text) for text in values]
            changed = sum(new != old for new, old in zip(shown, values, strict=True))
            _say_changed(changed, f"texts of {name!r}")
            values = shown
        columns.append(values)
    return zip(*columns, strict=True)


def _write_samples(
    stream: TextIO, header: Sequence[str], data: xr.DataArray, target: Path, progress: bool | None
) -> None:
    dim = model.time_dim(data, "to_csv")
    times = model.seconds(data, "to_csv").tolist()
    with _computed(data.variable.transpose(dim, ...), target, progress) as values:
        step = max(1, _NUMBERS // max(1, values[:1].size))
        _write(stream, header, ())
        for start in range(0, len(times), step):
            piece = np.asarray(values[start : start + step].values)
            numbers = piece.astype(np.uint8) if piece.dtype == bool else piece
            columns = numbers.reshape(len(piece), -1).T.tolist()
            rows = zip(times[start : start + step], *columns, strict=True)
            csv.writer(stream, lineterminator="\n").writerows(rows)


@contextmanager
def _computed(values: xr.Variable, target: Path, progress: bool | None) -> Iterator[xr.Variable]:
    """Compute everything at once; what is too large for memory goes through a file."""
    text = f"writing {target.name}"
    if values.chunks is None:
        yield values
    elif values.nbytes <= get_option("memory_limit") // 2:
        with progress_bar(text, show=progress):
            computed = values.compute()
        yield computed
    else:
        with TemporaryDirectory(dir=target.parent, prefix=f".{target.stem[:50]}.") as folder:
            place = Path(folder, "values")
            with open(place, "wb") as stream:
                stream.truncate(values.nbytes)
            blocks = RawBlocks(place, 0, values.shape, values.dtype)
            write_blocks([values], [blocks], text, progress=progress)
            yield xr.Variable(values.dims, np.memmap(place, values.dtype, "r", 0, values.shape))
