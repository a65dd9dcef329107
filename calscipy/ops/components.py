"""Traces that were factorised piece by piece, joined."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Literal, get_args

import numpy as np
import xarray as xr

from calscipy import model
from calscipy.errors import ArgumentError
from calscipy.history import history_line
from calscipy.ops._frames import is_number

Unequal = Literal["error", "pad"]


def join_components(
    factors: Sequence[Sequence[np.ndarray]] | np.ndarray,
    *,
    frame_rate: float,
    components: int | Iterable[int] | None = None,
    unequal: Unequal = "error",
) -> xr.DataArray:
    """Join traces that were factorised piece by piece: trial by trial or file by file.

    Parameters
    ----------
    factors : nested sequence or ndarray of objects, shape (neurons, pieces)
        For each neuron and piece an array ``(component, samples)``, whose sum over components is
        that piece of the trace. Pieces may differ in length.
    frame_rate : float
        In Hz.
    components : int or iterable of int, optional
        Which ones to join, counted from 0 and in this order; all by default.
    unequal : {"error", "pad"}, default "error"
        What to do where one piece has more samples in some neurons than in others: nothing, or
        fill the shorter ones with NaN, so that all pieces begin at the same time in all neurons.

    Returns
    -------
    DataArray
        ``(component, neuron, time)``, of the dtype that holds all values; ``time`` in s from the
        first sample.

    Raises
    ------
    ArgumentError
        Naming the neuron and the piece that is not such an array, lacks a component or is of
        another length than in the first neuron.

    Examples
    --------
    >>> first = [np.array([[1, 2], [10, 20]]), np.array([[3], [30]])]
    >>> second = [np.array([[4, 5], [40, 50]]), np.array([[6], [60]])]
    >>> join_components([first, second], frame_rate=10, components=1).values.tolist()
    [[[10, 20, 30], [40, 50, 60]]]
    """
    if not (is_number(frame_rate) and np.isfinite(frame_rate) and frame_rate > 0):
        raise ArgumentError(f"join_components needs frame_rate > 0 in Hz, got {frame_rate!r}")
    if not isinstance(unequal, str) or unequal not in get_args(Unequal):
        raise ArgumentError(
            f"join_components(unequal=) must be one of {get_args(Unequal)}, got {unequal!r}"
        )
    pieces = _pieces(factors)
    chosen = _chosen(components, pieces)
    lengths = np.array([[piece.shape[1] for piece in row] for row in pieces])
    longest = lengths.max(axis=0)
    dtype = np.result_type(*(piece.dtype for row in pieces for piece in row))
    different = np.argwhere(lengths != lengths[0])
    if len(different) and unequal == "error":
        neuron, piece = different[0].tolist()
        raise ArgumentError(
            f"join_components: piece {piece} has {lengths[neuron, piece]} samples in neuron "
            f"{neuron}, but {lengths[0, piece]} in neuron 0. Cut the longer ones, or fill the "
            "shorter ones with NaN by unequal='pad'."
        )
    if len(different):
        dtype = np.result_type(dtype, np.float32)  # which leaves float64 for wide integers
    starts = np.cumsum(longest) - longest
    shape = (len(chosen), len(pieces), int(longest.sum()))
    values = np.full(shape, np.nan if len(different) else 0, dtype)
    for neuron, row in enumerate(pieces):
        for start, piece in zip(starts.tolist(), row, strict=True):
            values[:, neuron, start : start + piece.shape[1]] = piece[chosen]
    given = {"frame_rate": frame_rate, "components": chosen, "unequal": unequal}
    return xr.DataArray(
        values,
        {
            model.COMPONENT: chosen,
            model.TIME: (
                model.TIME,
                np.arange(values.shape[-1]) / frame_rate,
                {"units": "s", "long_name": "time"},
            ),
        },
        (model.COMPONENT, model.NEURON, model.TIME),
        name=model.TRACES,
        attrs={
            "units": "1",
            "long_name": "components of traces",
            "history": history_line("join_components", given),
        },
    )


def _pieces(factors: Any) -> list[list[np.ndarray]]:
    """Return the array of each neuron and piece."""
    found: list[list[np.ndarray]] = []
    for neuron, row in enumerate(factors):
        arrays = [np.asarray(piece) for piece in row]
        for piece, array in enumerate(arrays):
            if array.ndim != 2 or array.dtype.kind not in "biuf":
                raise ArgumentError(
                    "join_components needs an array (component, samples) of numbers for each "
                    f"neuron and piece, but that of neuron {neuron} and piece {piece} is of "
                    f"{array.dtype} and the shape {array.shape}"
                )
        if found and len(arrays) != len(found[0]):
            raise ArgumentError(
                f"join_components needs as many pieces of each neuron, but there are {len(arrays)} "
                f"of neuron {neuron} and {len(found[0])} of neuron 0"
            )
        found.append(arrays)
    if not found or not found[0]:
        raise ArgumentError("join_components needs at least one neuron and one piece")
    return found


def _chosen(components: int | Iterable[int] | None, pieces: list[list[np.ndarray]]) -> list[int]:
    """Return which components to join: all that the largest piece has, unless some are named."""
    wanted: list[Any]
    if components is None:
        wanted = list(range(max(len(piece) for row in pieces for piece in row)))
    else:
        wanted = list(components) if isinstance(components, Iterable) else [components]
    whole = (isinstance(each, int | np.integer) and not isinstance(each, bool) for each in wanted)
    if not wanted or not all(whole) or min(wanted) < 0:
        raise ArgumentError(
            "join_components needs components as one or more whole numbers from 0 on, got "
            f"{components!r}"
        )
    for neuron, row in enumerate(pieces):
        for number, piece in enumerate(row):
            if max(wanted) >= len(piece):
                raise ArgumentError(
                    f"join_components: neuron {neuron} has no component {max(wanted)} in piece "
                    f"{number}, only {len(piece)} of them. Choose others, such as components=0."
                )
    return [int(each) for each in wanted]
