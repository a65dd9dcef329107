"""Traces without the light of the neuropil around each neuron."""

from __future__ import annotations

from typing import Literal

import numpy as np
import xarray as xr

from calscipy import model
from calscipy.errors import ArgumentError, RowError
from calscipy.history import described, recorded
from calscipy.kernels import subtract_neuropil as kernels
from calscipy.ops._frames import is_number, require_flags
from calscipy.ops._matching import require_same_labels
from calscipy.ops._reductions import reduce_time
from calscipy.ops._time import along_time, float_dtype


@recorded
def subtract_neuropil(
    traces: xr.DataArray,
    neuropil: xr.DataArray,
    *,
    coefficient: float | xr.DataArray | Literal["fit"] = 0.7,
    keep_level: bool = True,
) -> xr.DataArray:
    """Subtract the share of the neuropil's light that is in each neuron's.

    ``traces - coefficient * (neuropil - its median)``, each epoch with its own median.

    Parameters
    ----------
    traces : DataArray
        Fluorescence ``(neuron, time)`` with its level, see :func:`extract`.
    neuropil : DataArray
        Neuropil of the same neurons, times and units, see :func:`extract_neuropil`.
    coefficient : float, DataArray or "fit", default 0.7
        Share of the neuropil's light, 0 or more; one number, numbers along ``neuron``, or
        ``"fit"``: a robust regression of each neuron by its neuropil, over all epochs, that leaves
        out slow changes and transients of the neuron and accounts for the noise of the
        neuropil. It lies between 0 and 1.5.
    keep_level : bool, default True
        Subtract only what the neuropil is above or below its median, so that F₀ keeps its level.
        Otherwise subtract all of it, which removes its light from F₀ too.

    Returns
    -------
    DataArray
        Same dims, coordinates and units, NaN where either is NaN; float32 (float64 if either is
        float64 or integers of over 16 bits). Unless ``coefficient`` is one number, it is kept as
        the coordinate ``neuropil_coefficient``, lazy if the arrays are. With ``"fit"`` it is NaN,
        and the trace too, where it cannot be told: with less than 10 s of samples, and where half
        or more of the variance of the neuropil is noise.

    Raises
    ------
    ArgumentError
        If dims, neurons, times or units differ, if a coefficient is negative or no number, and for
        traces whose level was removed.

    Notes
    -----
    A fitted coefficient holds for light that follows the neuropil in time. Activity that
    a neuron shares with its surroundings raises it.

    To put a number where the fit found none:
    ``fitted.neuropil_coefficient.fillna(0.7)`` as ``coefficient``.

    Examples
    --------
    >>> import calscipy as cs
    >>> traces = cs.from_numpy(np.array([[10.0, 12.0, 11.0]]), frame_rate=30)
    >>> neuropil = cs.from_numpy(np.array([[4.0, 6.0, 5.0]]), frame_rate=30)
    >>> subtract_neuropil(traces, neuropil, coefficient=0.5).values.tolist()
    [[10.5, 11.5, 11.0]]
    """
    _check(traces, neuropil)
    require_flags("subtract_neuropil", keep_level=keep_level)
    dtype = np.result_type(float_dtype(traces), float_dtype(neuropil))
    if isinstance(coefficient, str):
        if coefficient != "fit":
            raise ArgumentError(
                "subtract_neuropil(coefficient=) must be a number, an array or 'fit', got "
                f"{coefficient!r}"
            )
        shares: xr.DataArray | None = _fitted(traces, neuropil)
    else:
        shares = _given(traces, coefficient)
    others = (neuropil.transpose(*traces.dims),)
    if shares is None:
        result = along_time(
            traces,
            kernels.without_neuropil,
            verb="subtract_neuropil",
            dtype=dtype,
            others=others,
            coefficient=float(coefficient),  # type: ignore[arg-type]
            keep_level=bool(keep_level),
        )
    else:
        result = along_time(
            traces,
            _without_own_share,
            verb="subtract_neuropil",
            dtype=dtype,
            others=(*others, _spread(shares, traces)),
            keep_level=bool(keep_level),
        )
        attrs = {"units": "1", "long_name": "share of the neuropil that was subtracted"}
        kept = shares.variable.copy()
        kept.attrs = attrs
        result = result.assign_coords({model.NEUROPIL_COEFFICIENT: kept})
    name = traces.attrs.get("long_name", "fluorescence")
    units = traces.attrs.get("units", "1")
    return described(result, units=units, long_name=f"{name}, neuropil subtracted")


def _check(traces: xr.DataArray, neuropil: xr.DataArray) -> None:
    verb = "subtract_neuropil"
    model.require_dims(traces, (model.TIME,), verb)
    if not isinstance(neuropil, xr.DataArray):
        raise ArgumentError(
            f"{verb} needs the neuropil as a DataArray, got {type(neuropil).__name__}. "
            "extract_neuropil(movie, rois) makes it."
        )
    for data in (traces, neuropil):
        if data.dtype.kind not in "iuf":
            raise ArgumentError(f"{verb} needs numbers, got an array of {data.dtype}")
        if data.attrs.get(model.LEVEL_ATTR) == "removed":
            raise ArgumentError(
                f"{verb} needs traces and neuropil with their level, but it was removed: they are "
                "ΔF/F already, or come from detrend(keep_level=False). Subtract before that step."
            )
    require_same_labels(traces, neuropil, verb, "the neuropil")
    ours, theirs = (data.attrs.get("units") for data in (traces, neuropil))
    if None not in (ours, theirs) and ours != theirs:
        raise ArgumentError(
            f"{verb}: the neuropil is in {theirs!r}, the traces in {ours!r}. Take both from the "
            "same movie, before any step that changes one of them."
        )


def _given(traces: xr.DataArray, coefficient: object) -> xr.DataArray | None:
    """Return coefficients that come as an array, None for a number."""
    if isinstance(coefficient, xr.DataArray):
        require_same_labels(
            traces, coefficient, "subtract_neuropil", "the array of coefficients", along_time=False
        )
        if coefficient.dtype.kind in "iuf" and (
            coefficient.chunks is not None or not _impossible(coefficient.values).any()
        ):
            return coefficient
    elif is_number(coefficient) and 0 <= coefficient < np.inf:  # type: ignore[operator]
        return None
    raise ArgumentError(
        "subtract_neuropil needs coefficient as a number of 0 or more, an array of them along "
        f"{model.NEURON!r}, or 'fit', got {coefficient!r}"
    )


def _fitted(traces: xr.DataArray, neuropil: xr.DataArray) -> xr.DataArray:
    rate = model.regular_rate(traces, "subtract_neuropil")
    return reduce_time(
        traces,
        kernels.neuropil_coefficient,
        verb="subtract_neuropil",
        others=(neuropil.transpose(*traces.dims),),
        frame_rate=rate,
        parts=tuple((part.start, part.stop) for part in model.epochs(traces)),
    )


def _spread(shares: xr.DataArray, traces: xr.DataArray) -> xr.DataArray:
    """Repeat each neuron's number along time, without a copy."""
    alike = shares.variable.set_dims({dim: traces.sizes[dim] for dim in traces.dims})
    return traces.copy(data=alike.transpose(*traces.dims).data)


def _without_own_share(
    f: np.ndarray, neuropil: np.ndarray, shares: np.ndarray, *, keep_level: bool
) -> np.ndarray:
    own = shares[..., :1]
    impossible = _impossible(own)
    if impossible.any():  # they were not in memory when the arguments were checked
        raise RowError(
            np.flatnonzero(impossible).tolist(),
            "have a coefficient that is below 0 or infinite. Leave them out, or set it.",
        )
    return kernels.without_neuropil(f, neuropil, own, keep_level=keep_level)


def _impossible(coefficients: np.ndarray) -> np.ndarray:
    """Tell which are no shares of the neuropil; NaN is one that is not known."""
    return (coefficients < 0) | np.isinf(coefficients)
