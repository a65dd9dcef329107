"""What traces viewers draw: data sets of the same neurons, and how they are thinned out."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr

from calscipy import model
from calscipy.errors import ArgumentError, ChunkError
from calscipy.io.output import progress_bar
from calscipy.options import get_option
from calscipy.plotting.decimate import decimate_exactly, gaps
from calscipy.plotting.interactive.pages import plain
from calscipy.plotting.style import name_of, with_units

GAP_CODE = -(2**15)  # of a sample that is not finite
_CODES = 2**16 - 2  # steps between the lowest and the highest sample of a neuron
_COARSE = 0.02  # largest step, as a share of how far samples of a column usually lie apart
_MOST_POINTS = 200_000  # of one line: a browser draws more of them too slowly


@dataclass(frozen=True, eq=False)
class Layer:
    """One data set: traces, or marks where it is boolean.

    Attributes
    ----------
    name : str
        What it is called in legends.
    label : str
        The same with units, for axes and tooltips.
    values : ndarray, shape (neurons, samples)
        Numbers or booleans.
    times : ndarray, shape (samples,)
        In s, increasing.
    breaks : ndarray of int
        Samples that no line leads to from the one before.
    """

    name: str
    label: str
    values: np.ndarray
    times: np.ndarray
    breaks: np.ndarray

    @property
    def marks(self) -> bool:
        """Whether it says when something happens rather than how much there is of it."""
        return self.values.dtype == bool

    def drawn(
        self, row: int, columns: int, start: float = -np.inf, stop: float = np.inf
    ) -> dict[str, np.ndarray]:
        """Return what is drawn of a neuron between two times, thinned out.

        Returns
        -------
        dict of str to ndarray, shape (points,)
            ``time`` in s and ``value``, of the lowest and the highest sample of each column; times
            alone for marks.
        """
        first, last = np.searchsorted(self.times, (start, stop))
        # One sample more on either side: lines then reach the edges.
        part = slice(max(first - 1, 0), min(last + 1, self.times.size))
        values, times = self.values[row, part], self.times[part]
        if self.marks:
            return {"time": times[_thinned(np.flatnonzero(values), times.size, columns)]}
        breaks = self.breaks - part.start
        when, found = decimate_exactly(values[None], times, columns, breaks=breaks)
        return {"time": np.array(when[0]), "value": found[0]}


def layers_of(data: Sequence[tuple[str | None, Any]], verb: str) -> tuple[list[Any], list[Layer]]:
    """Check data sets of the same neurons and read them into memory.

    Parameters
    ----------
    data : sequence of (str or None, DataArray)
        Names, where they are given, and traces or events ``([neuron,] time)``.
    verb : str
        Who asks, for messages.

    Returns
    -------
    neurons : list
        Their names.
    layers : list of Layer

    Raises
    ------
    ArgumentError
        If an array is not of traces or events, or if the neurons differ.
    ChunkError
        If they need more memory than ``memory_limit``.
    """
    arrays = [_checked(array, verb) for _, array in data]
    neurons = arrays[0][model.NEURON].values
    for array in arrays[1:]:
        if not np.array_equal(array[model.NEURON].values, neurons):
            raise ArgumentError(
                f"{verb} needs data sets of the same neurons, got {neurons.size} and "
                f"{array.sizes[model.NEURON]} that differ. Select those that they share, for "
                "instance with xarray.align(a, b, join='inner', exclude=['time'])."
            )
    names = _distinct(
        [
            name or name_of(array, "events" if array.dtype == bool else "traces")
            for (name, _), array in zip(data, arrays, strict=True)
        ]
    )
    needed = sum(array.nbytes for array in arrays if not array.variable._in_memory)
    if needed > get_option("memory_limit"):
        raise ChunkError(
            f"{verb} reads the traces into memory, which takes {needed} bytes, more than "
            f"memory_limit={get_option('memory_limit')}. Select neurons or times first "
            "(traces.isel(neuron=slice(100))), or raise the limit with calscipy.set_options."
        )
    with progress_bar("reading traces", delay=1):
        loaded = xr.Dataset(dict(enumerate(a.variable for a in _apart(arrays)))).compute()
    layers = []
    for at, (name, array) in enumerate(zip(names, arrays, strict=True)):
        values = loaded[at].values
        if values.dtype.kind in "iu" or values.dtype == np.float16:
            values = values.astype(np.float32 if values.dtype.itemsize <= 2 else np.float64)
        label = with_units(name, array.attrs.get("units"))
        times = model.seconds(array, verb)
        layers.append(Layer(plain(name), plain(label), values, times, gaps(array)))
    return neurons.tolist(), layers


def _apart(arrays: list[xr.DataArray]) -> list[xr.DataArray]:
    """Give every array a time dimension of its own: their lengths may differ."""
    return [array.rename({model.TIME: f"time{at}"}) for at, array in enumerate(arrays)]


def _checked(array: Any, verb: str) -> xr.DataArray:
    if not isinstance(array, xr.DataArray):
        raise ArgumentError(
            f"{verb} needs xarray.DataArrays, got {type(array).__name__}. Wrap it first, for "
            "instance calscipy.from_numpy(array, frame_rate=30)."
        )
    if model.TIME in array.dims and model.NEURON not in array.dims:
        name = array.coords[model.NEURON].item() if model.NEURON in array.coords else 0
        array = array.drop_vars(model.NEURON, errors="ignore").expand_dims({model.NEURON: [name]})
    if set(array.dims) != {model.NEURON, model.TIME} or array.dtype.kind not in "biuf":
        raise ArgumentError(
            f"{verb} needs numbers or booleans along (neuron, time), got {array.dtype} along "
            f"{tuple(array.dims)}. Select one of each further dimension, for instance "
            "traces.sel(channel='Ch2')."
        )
    array = array.transpose(model.NEURON, model.TIME)
    if 0 in array.shape:
        raise ArgumentError(f"{verb}: there is nothing to show in an array of {array.shape}")
    times = model.seconds(array, verb)
    if not (np.isfinite(times).all() and (np.diff(times) >= 0).all()):
        raise ArgumentError(
            f"{verb} needs times that do not go back. Sort them (traces.sortby('time')) or "
            "select one recording."
        )
    if model.NEURON not in array.coords:
        array = array.assign_coords({model.NEURON: np.arange(array.sizes[model.NEURON])})
    return array


def _distinct(names: list[str]) -> list[str]:
    """Tell names apart that are the same: the second one gets a number."""
    found: list[str] = []
    for name in names:
        same = sum(before == name for before in names[: len(found)])
        found.append(f"{name} ({same + 1})" if same else name)
    return found


@dataclass(frozen=True, eq=False)
class Packed:
    """A layer as a page holds it.

    Attributes
    ----------
    args : dict
        What the page's script reads: ``values`` as codes of 16 bits with ``scale`` and ``offset``
        of each row, or as they are; ``steps``, how many samples lie between the points of a row,
        if these are not all samples; ``marks`` and ``first``, numbers of samples and where those
        of each row begin; ``clock``, the times.
    columns : int
        Into how many columns the samples of a row were put at most.
    note : str
        What was left out, if anything was.
    """

    args: dict[str, Any]
    columns: int
    note: str


def pack(layers: Sequence[Layer], budget: int) -> list[Packed]:
    """Thin out all rows of some layers until they fit into some bytes.

    Parameters
    ----------
    layers : sequence of Layer
        Which share the bytes.
    budget : int
        Bytes. Marks take at most half of them.
    """
    most = budget // (2 * 4 * len(layers))
    found = {at: _packed_marks(own, most) for at, own in enumerate(layers) if own.marks}
    left = budget - sum(own.args["marks"].nbytes for own in found.values())
    for at, layer in enumerate(layers):
        if not layer.marks:
            found[at] = _packed_lines(layer, _columns(layer, layers, left))
    return [found[at] for at in range(len(layers))]


def _columns(layer: Layer, layers: Sequence[Layer], budget: int) -> int:
    """Return how many columns each row of a layer may have."""
    lines = [other for other in layers if not other.marks]
    rows, samples = layer.values.shape
    share = budget // (len(lines) * rows)  # bytes of a row
    if 2 * samples <= share:
        return max(1, min(samples, _MOST_POINTS) // 2 + 1)
    columns = max(1, share // (2 * 3))
    if samples / columns > 127:  # steps between points then take two bytes
        columns = max(1, share // (2 * 4))
    return min(columns, _MOST_POINTS // 2)


def _packed_lines(layer: Layer, columns: int) -> Packed:
    samples = layer.times.size
    numbers, values = decimate_exactly(
        layer.values, np.arange(samples, dtype=np.float64), columns, breaks=layer.breaks
    )
    args: dict[str, Any] = {"clock": _clock(layer), "rows": len(layer.values)}
    note = ""
    # The point at a break lies between two samples; it is not drawn, either one will do.
    numbers = np.rint(numbers).astype(np.int64)
    if values.shape[1] == samples + sum(0 < at < samples for at in layer.breaks):
        args["numbers"] = numbers[0].astype(np.int32)
    else:
        steps = np.diff(numbers, axis=1, prepend=0)
        args["steps"] = steps.astype(np.min_scalar_type(max(1, steps.max())))
        width = samples / columns
        seconds = width * float(np.median(np.diff(layer.times)))
        note = (
            f"{layer.name}: lowest and highest of every {width:.3g} samples "
            f"({seconds:.3g} s) shown."
        )
    args |= coded(values)
    return Packed(args, columns, note)


def coded(values: np.ndarray) -> dict[str, Any]:
    """Write values as whole numbers of 16 bits where these are fine enough for every row."""
    finite = np.isfinite(values)
    low = np.where(finite, values, np.inf).min(axis=1)
    high = np.where(finite, values, -np.inf).max(axis=1)
    empty = ~finite.any(axis=1)
    low[empty] = high[empty] = 0
    offset = low.astype(np.float64)
    scale = (high.astype(np.float64) - offset) / _CODES
    apart = np.abs(np.diff(np.where(finite, values, np.nan), axis=1))
    usual = np.array([np.median(row[row > 0]) if (row > 0).any() else np.inf for row in apart])
    if not (np.isfinite(scale).all() and (scale <= _COARSE * usual).all()):
        return {"values": values.astype(np.float32)}
    scale[scale == 0] = 1
    codes = np.full(values.shape, GAP_CODE, dtype=np.int16)
    rounded = np.rint((values - offset[:, None]) / scale[:, None]) - _CODES // 2
    codes[finite] = rounded[finite].astype(np.int16)
    offset = offset + _CODES // 2 * scale
    return {"values": codes, "scale": scale, "offset": offset}


def _packed_marks(layer: Layer, most: int) -> Packed:
    samples = layer.times.size
    rows = [np.flatnonzero(row) for row in layer.values]
    note, columns = "", samples
    if sum(map(len, rows)) > most:
        columns = max(1, most // len(rows))
        rows = [_thinned(row, samples, columns) for row in rows]
        width = samples / columns
        note = f"{layer.name}: at most one mark in every {width:.3g} samples shown."
    first = np.cumsum([0, *map(len, rows)])
    args = {
        "clock": _clock(layer),
        "marks": np.concatenate(rows).astype(np.int32),
        "first": first.astype(np.int32),
    }
    return Packed(args, columns, note)


def _thinned(numbers: np.ndarray, samples: int, columns: int) -> np.ndarray:
    """Keep the first mark of every column, all of them if there are few."""
    if numbers.size <= columns:
        return numbers
    _, first = np.unique(numbers * columns // samples, return_index=True)
    return numbers[first]


def _clock(layer: Layer) -> dict[str, Any]:
    """Write times as even stretches where they are even within 1 %, else one by one."""
    edges = [0, *(int(at) for at in layer.breaks if 0 < at < layer.times.size), layer.times.size]
    first, start, step = [], [], []
    for a, b in itertools.pairwise(edges):
        times = layer.times[a:b]
        even = (times[-1] - times[0]) / max(1, b - a - 1)
        if np.abs(times - times[0] - even * np.arange(b - a)).max() > 0.01 * even:
            return {"times": layer.times}
        first.append(a)
        start.append(float(times[0]))
        step.append(float(even))
    return {"first": first, "start": start, "step": step}
