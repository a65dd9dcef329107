"""What the operations along time share."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr

from calscipy import blocks, model
from calscipy.errors import ArgumentError, first_few
from calscipy.ops._frames import LONGEST_WINDOW, is_number, require_seconds


def along_time(
    data: xr.DataArray,
    kernel: Callable[..., Any],
    *,
    verb: str,
    dtype: np.dtype | type | None = None,
    others: tuple[xr.DataArray, ...] = (),
    flagged: Callable[[str], None] | None = None,
    split_epochs: bool = True,
    **arguments: Any,
) -> xr.DataArray:
    """Apply a kernel to every trace or pixel over the whole time axis.

    Epochs are handled one by one and damaged frames reach the kernel as NaN, those of ``others``
    too. The result has the dims and coordinates of ``data``.

    A kernel that raises `RowError` gives an error that names the neurons. With ``flagged``, it is
    given ``flag``, a function of row numbers; at the end ``flagged`` is called with the names of
    all flagged rows.
    """
    if data.dtype.kind not in "iuf":
        raise ArgumentError(f"{verb} needs numbers, got an array of {data.dtype}")
    dim = model.time_dim(data, verb)
    ordered = data.transpose(..., dim)
    others = tuple(other.transpose(*data.dims) for other in others)
    result = blocks.along_time(
        _rows(data, dim, verb),
        kernel,
        parts=model.epochs(data) if split_epochs else [slice(0, data.sizes[dim])],
        dtype=np.dtype(dtype or float_dtype(data)),
        work=float_dtype(data),
        valid=_valid(data, ordered.dims),
        others=tuple(_rows(other, dim, verb) for other in others),
        others_valid=tuple(_valid(other, ordered.dims) for other in others),
        verb=verb,
        names=RowNames.of(ordered),
        flagged=flagged,
        **arguments,
    )
    return ordered.copy(data=result).transpose(*data.dims)


@dataclass(frozen=True)
class RowNames:
    """What the rows of an array are called in messages: neurons, or pixels of a movie."""

    dims: tuple[str, ...]
    labels: tuple[np.ndarray, ...]
    alone: str = "the traces"  # the name of a single row

    @classmethod
    def of(cls, ordered: xr.DataArray) -> RowNames:
        """Take the names of all rows of an array with time as its last dimension."""
        dims = tuple(str(dim) for dim in ordered.dims[:-1])
        labels = tuple(
            model.coordinate(ordered, dim) if dim in ordered.coords else np.arange(size)
            for dim, size in zip(dims, ordered.shape, strict=False)
        )
        if not dims and model.NEURON in ordered.coords:
            return cls(dims, labels, f"neurons {model.coordinate(ordered, model.NEURON)}")
        return cls(dims, labels)

    def __call__(self, at: tuple[np.ndarray, ...]) -> str:
        """Name the rows at some places, given as one array of indices for each dimension."""
        if not at:
            return self.alone
        kind = "neurons" if model.NEURON in self.dims else "pixels"
        if model.EVENT in self.dims:
            kind = "events"
        if not {model.NEURON, model.Y, model.X} & set(self.dims):
            kind = "traces"
        places = zip(*(label[i] for label, i in zip(self.labels, at, strict=True)), strict=True)
        return f"{kind} {first_few([self._place(place) for place in places], 10)}"

    def _place(self, values: tuple[Any, ...]) -> str:
        named = dict(zip(self.dims, values, strict=True))
        neuron = named.pop(model.NEURON, None)
        rest = ", ".join(f"{dim} {value}" for dim, value in named.items())
        if neuron is None:
            return f"({rest})"
        return f"{neuron} ({rest})" if rest else str(neuron)


def _rows(data: xr.DataArray, dim: str, verb: str) -> Any:
    """Return the array with the whole time axis last and in one chunk."""
    axis = data.get_axis_num(dim)
    whole = blocks.whole_time(data.data, axis, movie=dim == model.FRAMES, verb=verb)
    return data.copy(data=whole).transpose(..., dim).data


def _valid(movie: xr.DataArray, dims: tuple[Any, ...]) -> np.ndarray | None:
    mask = model.valid_frames(movie)
    if mask is None:
        return None
    leading = [dim for dim in movie.dims if dim not in (model.Y, model.X)]
    labelled = xr.DataArray(mask, dims=leading).expand_dims({model.Y: 1, model.X: 1})
    return np.asarray(labelled.transpose(*dims).values)


def float_dtype(data: xr.DataArray) -> np.dtype:
    """Return float64 where float32 would lose digits: float64, integers of over 16 bits."""
    wide = data.dtype.itemsize > (4 if data.dtype.kind == "f" else 2)
    return np.dtype("f8") if wide else np.dtype("f4")


def samples(window: Any, rate: float, verb: str) -> int:
    """Turn a window in s into an odd number of samples."""
    if not (is_number(window) and np.isfinite(window) and window > 0):
        raise ArgumentError(f"{verb} needs window > 0 in seconds, got {window!r}")
    require_seconds(window, LONGEST_WINDOW, verb, "window")
    count = max(1, round(window * rate))
    return count + (count % 2 == 0)


def chosen(
    verb: str, method: str, given: dict[str, Any], table: dict[str, dict[str, Any]]
) -> dict[str, Any]:
    """Return the arguments of a method, its own defaults filled in.

    Raises
    ------
    ArgumentError
        For an unknown method, or an argument that the method would ignore.
    """
    if not isinstance(method, str) or method not in table:
        raise ArgumentError(f"{verb}(method=) must be one of {list(table)}, got {method!r}")
    defaults = table[method]
    set_values = {name: value for name, value in given.items() if value is not None}
    ignored = sorted(set(set_values) - set(defaults))
    if ignored:
        takes = f"takes {sorted(defaults)}" if defaults else "takes no further arguments"
        raise ArgumentError(
            f"{verb}: method={method!r} ignores {', '.join(ignored)}; it {takes}. "
            "Leave them out or choose another method."
        )
    return {**defaults, **set_values}
