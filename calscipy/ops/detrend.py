"""Slow drift and bleaching taken out of traces and movies."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

import numpy as np
import xarray as xr

from calscipy import model
from calscipy.errors import ArgumentError
from calscipy.history import described, recorded
from calscipy.kernels.detrend import detrend_exponential, detrend_polynomial
from calscipy.ops._frames import is_number, require_flags
from calscipy.ops._time import along_time, chosen

DetrendMethod = Literal["polynomial", "exponential"]
DetrendMode = Literal["subtract", "divide"]

DETREND_ARGUMENTS: dict[str, dict[str, Any]] = {
    "polynomial": {"order": 4, "robust": False, "keep_level": True},
    "exponential": {"terms": 2, "mode": "subtract", "keep_level": True},
}


@recorded
def detrend(
    data: xr.DataArray,
    *,
    method: DetrendMethod = "polynomial",
    order: int | None = None,
    keep_level: bool | None = None,
    robust: bool | None = None,
    terms: Literal[1, 2] | None = None,
    mode: DetrendMode | None = None,
) -> xr.DataArray:
    """Take a polynomial or a bleach curve, fitted to each, out of every trace or pixel.

    Parameters
    ----------
    data : DataArray
        Traces ``(neuron, time)`` or a movie. NaN samples and frames that are not ``valid`` are
        left out of the fit and stay NaN, infinite samples are left out and stay infinite. Every
        epoch has a fit of its own.
    method : {"polynomial", "exponential"}
        ``"polynomial"``: subtract the least-squares polynomial. ``"exponential"``: take out a curve
        of one or two falling exponentials and a constant that follows the level between
        transients [1]_; slower, tens of ms for a long trace.
    order : int, optional
        Order of the polynomial; 4.
    keep_level : bool, optional
        Keep the mean of what is subtracted, which ΔF/F needs; True. A division always keeps it.
    robust : bool, optional
        Fit the polynomial to the level between transients, which bend it otherwise; False. Slower.
    terms : {1, 2}, optional
        Exponentials of the bleach curve; 2.
    mode : {"subtract", "divide"}, optional
        Subtract the bleach curve (a bleaching background), or divide by it and multiply with
        its mean (a bleaching indicator, whose transients shrink with it); ``"subtract"``.

    Returns
    -------
    DataArray
        Same dims, coordinates and units, float32 (float64 for float64 and for integers of over
        16 bits).

    Raises
    ------
    ArgumentError
        For an argument that the method ignores; if an epoch has too few samples for the fit; if a
        curve to be divided by is not above zero.
    TimeAxisError
        If samples are left out within an epoch, or are not evenly spaced for a bleach curve.

    References
    ----------
    .. [1] Vicente et al., Photobleaching correction in fluorescence microscopy images. J Phys: Conf
       Ser 90, 012068 (2007). doi:10.1088/1742-6596/90/1/012068

    Examples
    --------
    >>> import calscipy as cs
    >>> traces = cs.from_numpy(np.arange(12.0)[None], frame_rate=10)
    >>> detrend(traces, order=1).values.round(6).tolist()[0][:3]
    [5.5, 5.5, 5.5]
    """
    given = {
        "order": order,
        "keep_level": keep_level,
        "robust": robust,
        "terms": terms,
        "mode": mode,
    }
    arguments = chosen("detrend", method, given, DETREND_ARGUMENTS)
    if arguments.get("mode") == "divide":
        if keep_level is not None:
            raise ArgumentError(
                "detrend: mode='divide' ignores keep_level, the level stays anyway. Leave it out."
            )
        del arguments["keep_level"]
    model.require_gapless(data, "detrend")
    kernel, numbers = _kernel(data, method, arguments)
    result = along_time(data, kernel, verb="detrend", **numbers)
    name = data.attrs.get("long_name", "fluorescence")
    result = described(
        result, units=data.attrs.get("units", "1"), long_name=f"{name}, detrended", **arguments
    )
    kept = arguments.get("keep_level", True)
    return result if kept else result.assign_attrs({model.LEVEL_ATTR: "removed"})


def _kernel(
    data: xr.DataArray, method: str, arguments: dict[str, Any]
) -> tuple[Callable[..., Any], dict[str, Any]]:
    """Return the kernel of a method and its checked arguments."""
    if method == "polynomial":
        order = arguments["order"]
        if not isinstance(order, int | np.integer) or isinstance(order, bool) or order < 0:
            raise ArgumentError(f"detrend needs a whole order from 0 on, got {order!r}")
        flags = {name: arguments[name] for name in ("robust", "keep_level")}
        require_flags("detrend", **flags)
        return detrend_polynomial, {"order": int(order), **flags}
    if not is_number(arguments["terms"]) or arguments["terms"] not in (1, 2):
        raise ArgumentError(f"detrend needs terms 1 or 2, got {arguments['terms']!r}")
    if arguments["mode"] not in ("subtract", "divide"):
        raise ArgumentError(
            f"detrend(mode=) must be 'subtract' or 'divide', got {arguments['mode']!r}"
        )
    if "keep_level" in arguments:
        require_flags("detrend", keep_level=arguments["keep_level"])
    rate = model.regular_rate(data, "detrend")
    return detrend_exponential, {"frame_rate": rate, **arguments, "terms": int(arguments["terms"])}
