"""ΔF/F₀ of traces and movies."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, Literal, get_args

import numpy as np
import xarray as xr

from calscipy import model
from calscipy.errors import ArgumentError, BaselineWarning, warn
from calscipy.history import described, recorded
from calscipy.kernels.dfof import fold_change, lowest_denominator
from calscipy.ops._frames import is_number
from calscipy.ops._matching import require_same_labels
from calscipy.ops._time import along_time, chosen
from calscipy.ops.baseline import BASELINE_ARGUMENTS, BaselineMethod, baseline_kernel

BelowFloor = Literal["nan", "floor"]


@recorded
def dfof(
    data: xr.DataArray,
    *,
    method: BaselineMethod = "low_pass",
    percentile: float | None = None,
    window: float | None = None,
    sigma: float | None = None,
    cutoff: float | None = None,
    terms: int | None = None,
    offset: float = 0.0,
    reference: xr.DataArray | None = None,
    floor: float = 1.0,
    below_floor: BelowFloor = "nan",
) -> xr.DataArray:
    """Fold change of fluorescence over its baseline, ΔF/F₀ = (F - F₀) / (F₀ + offset).

    Parameters
    ----------
    data : DataArray
        Traces ``(neuron, time)`` or a movie, as recorded or filtered: with their level. NaN
        samples and frames that are not ``valid`` stay NaN and enter no baseline.
    method, percentile, window, sigma, cutoff, terms
        How F₀ is estimated, see :func:`baseline`.
    offset : float, default 0
        Added to F₀ in the denominator, in the units of ``data``.
    reference : DataArray, optional
        Array of the same dims, labels and units from which F₀ is estimated instead. Its frames
        that are not ``valid`` are left out.
    floor : float, default 1
        Smallest denominator to divide by, in standard deviations of the noise of the trace in that
        epoch.
    below_floor : {"nan", "floor"}, default "nan"
        What to do where the denominator is not above the floor: NaN, or divide by the floor. A
        warning names the neurons when the values are computed.

    Returns
    -------
    DataArray
        Dimensionless, with the dims and coordinates of ``data``; float32 (float64 for float64
        and for integers of over 16 bits).

    Raises
    ------
    ArgumentError
        For an unknown method, for an argument that the method ignores, for traces or a reference
        whose level was removed, and for a reference of other dims, labels or units.

    Examples
    --------
    >>> import calscipy as cs
    >>> traces = cs.from_numpy(np.array([[10.0, 10.0, 10.0, 20.0]]), frame_rate=10)
    >>> dfof(traces, method="median").values.tolist()
    [[0.0, 0.0, 0.0, 1.0]]
    """
    if data.attrs.get(model.LEVEL_ATTR) == "removed":
        raise ArgumentError(
            "dfof needs traces with their level, but it was removed: they are ΔF/F already, or "
            "come from detrend(keep_level=False). Take the traces before that step; if you put "
            f"the level back yourself, drop the attribute {model.LEVEL_ATTR!r}."
        )
    if below_floor not in get_args(BelowFloor):
        raise ArgumentError(f"below_floor must be 'nan' or 'floor', got {below_floor!r}")
    if not (is_number(floor) and np.isfinite(floor) and floor >= 0):
        raise ArgumentError(f"floor must be 0 or a positive number, got {floor!r}")
    if not (is_number(offset) and np.isfinite(offset)):
        raise ArgumentError(f"dfof needs offset as one finite number, got {offset!r}")
    given = {
        "percentile": percentile,
        "window": window,
        "sigma": sigma,
        "cutoff": cutoff,
        "terms": terms,
    }
    arguments = chosen("dfof", method, given, BASELINE_ARGUMENTS)
    kernel, numbers = baseline_kernel(data, method, arguments, "dfof")
    others: tuple[xr.DataArray, ...] = ()
    if reference is not None:
        _check_reference(data, reference)
        others = (reference,)
    clip = below_floor == "floor"
    result = along_time(
        data,
        _dfof_rows,
        verb="dfof",
        others=others,
        flagged=functools.partial(
            _warn_low, floor=float(floor), clip=clip, pixels=model.FRAMES in data.dims
        ),
        baseline=kernel,
        numbers=numbers,
        offset=float(offset),
        floor=float(floor),
        clip=clip,
    )
    result = described(result.rename("dfof"), units="1", long_name="ΔF/F₀", **arguments)
    return result.assign_attrs({model.LEVEL_ATTR: "removed"})


def _check_reference(data: xr.DataArray, reference: xr.DataArray) -> None:
    if not isinstance(reference, xr.DataArray) or reference.dtype.kind not in "iuf":
        kind = getattr(reference, "dtype", type(reference).__name__)
        raise ArgumentError(f"dfof needs the reference as a DataArray of numbers, got {kind}")
    if reference.attrs.get(model.LEVEL_ATTR) == "removed":
        raise ArgumentError(
            "dfof needs a reference with its level, but it was removed: it is ΔF/F already, or "
            "comes from detrend(keep_level=False). Take the array before that step."
        )
    require_same_labels(data, reference, "dfof", "the reference")
    ours, theirs = (array.attrs.get("units") for array in (data, reference))
    if None not in (ours, theirs) and ours != theirs:
        raise ArgumentError(
            f"dfof: the reference is in {theirs!r}, the data are in {ours!r}. Take both before "
            "any step that changes one of them."
        )
    if model.TIME in data.coords and model.TIME in reference.coords:
        # on movies times are no index, and no coordinate of a dimension
        ours, theirs = (model.seconds(array, "dfof") for array in (data, reference))
        if not np.array_equal(ours, theirs):
            raise ArgumentError(
                "dfof: the reference has other times than the data. Select the same times in both."
            )


def _dfof_rows(
    f: np.ndarray,
    *reference: np.ndarray,
    baseline: Callable[..., np.ndarray],
    numbers: dict[str, Any],
    offset: float,
    floor: float,
    clip: bool,
    flag: Callable[[np.ndarray], None],
    out: np.ndarray | None = None,
) -> np.ndarray:
    """Divide rows of one epoch by their baseline; flag those where it is too low."""
    f0 = baseline(reference[0] if reference else f, **numbers)
    lowest = lowest_denominator(f, f0, offset=offset, floor=floor)
    ratio, low = fold_change(f, f0, offset=offset, lowest=lowest, clip=clip, out=out)
    flag(np.flatnonzero(low.any(axis=-1)))
    return ratio


def _warn_low(names: str, *, floor: float, clip: bool, pixels: bool) -> None:
    # Each chunk of a movie would give its own pixels, in a warning of its own.
    which = "some pixels" if pixels else names
    outcome = "divided by the floor" if clip else "NaN"
    warn(
        f"dfof: the baseline of {which} is not above {floor:g} standard deviations of the noise "
        f"at some samples, which are {outcome}. Check the background subtraction, or give an "
        "offset.",
        BaselineWarning,
    )
