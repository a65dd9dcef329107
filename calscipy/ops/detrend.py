"""Slow drift and bleaching taken out of traces and movies."""

from __future__ import annotations

import numpy as np
import xarray as xr

from calscipy import model
from calscipy.errors import ArgumentError
from calscipy.history import described, recorded
from calscipy.kernels.detrend import detrend_polynomial
from calscipy.ops._time import along_time


@recorded
def detrend(data: xr.DataArray, *, order: int = 4, keep_level: bool = True) -> xr.DataArray:
    """Subtract a polynomial fitted to every trace or pixel.

    Parameters
    ----------
    data : DataArray
        Traces ``(neuron, time)`` or a movie. NaN samples and frames that are not ``valid`` are
        left out of the fit and stay NaN; every epoch has a fit of its own.
    order : int, default 4
        Order of the polynomial.
    keep_level : bool, default True
        Keep the mean level, which ΔF/F needs.

    Returns
    -------
    DataArray
        Same dims, coordinates and units, float32 (float64 for float64 and for integers of over
        16 bits).

    Raises
    ------
    ValueError
        If an epoch has no more samples than ``order``.

    Examples
    --------
    >>> import calscipy as cs
    >>> traces = cs.from_numpy(np.arange(12.0)[None], frame_rate=10)
    >>> detrend(traces, order=1).values.round(6).tolist()[0][:3]
    [5.5, 5.5, 5.5]
    """
    if not isinstance(order, int | np.integer) or isinstance(order, bool) or order < 0:
        raise ArgumentError(f"detrend needs a whole order from 0 on, got {order!r}")
    model.require_gapless(data, "detrend")
    result = along_time(
        data, detrend_polynomial, verb="detrend", order=int(order), keep_level=bool(keep_level)
    )
    name = data.attrs.get("long_name", "fluorescence")
    result = described(result, units=data.attrs.get("units", "1"), long_name=f"{name}, detrended")
    return result if keep_level else result.assign_attrs({model.LEVEL_ATTR: "removed"})
