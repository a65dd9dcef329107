"""F0, the fluorescence at rest."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

import xarray as xr

from calscipy import model
from calscipy.errors import ArgumentError
from calscipy.history import described, recorded
from calscipy.kernels import baseline as kernels
from calscipy.ops._time import along_time, chosen, samples

BaselineMethod = Literal["low_pass", "mean", "median", "percentile", "rolling_percentile"]

BASELINE_ARGUMENTS: dict[str, dict[str, Any]] = {
    "low_pass": {"percentile": 5.0, "cutoff": 1.0},
    "mean": {},
    "median": {},
    "percentile": {"percentile": 8.0},
    "rolling_percentile": {"percentile": 8.0, "window": 60.0},
}


@recorded
def baseline(
    data: xr.DataArray,
    *,
    method: BaselineMethod = "low_pass",
    percentile: float | None = None,
    window: float | None = None,
    cutoff: float | None = None,
) -> xr.DataArray:
    """Estimate F0, the fluorescence at rest, of every trace or pixel.

    Parameters
    ----------
    data : DataArray
        Traces ``(neuron, time)`` or a movie. NaN samples and frames that are not ``valid`` are
        left out; epochs are handled one by one.
    method : {"low_pass", "mean", "median", "percentile", "rolling_percentile"}
        ``"low_pass"``: percentile of the trace after a zero-phase low-pass [1]_, one number for
        each epoch. ``"mean"``, ``"median"``, ``"percentile"``: of each epoch.
        ``"rolling_percentile"``: of a window around every sample, which follows bleaching.
    percentile : float, optional
        In percent; 5 for ``"low_pass"``, else 8.
    window : float, optional
        Length of the rolling window in s; 60.
    cutoff : float, optional
        Cut-off of the low-pass in Hz; 1.

    Returns
    -------
    DataArray
        F0 with the dims, coordinates and units of ``data``, float32 (float64 for float64
        and for integers of over 16 bits).

    Raises
    ------
    ArgumentError
        For an argument that the method ignores.
    TimeAxisError
        If a method in Hz or s meets an irregular time axis.
    ChunkError
        If a movie in chunks of frames does not fit into memory.

    References
    ----------
    .. [1] Keemink et al., FISSA: a neuropil decontamination toolbox for calcium imaging
       signals. Sci Rep 8, 3493 (2018). doi:10.1038/s41598-018-21640-2

    Examples
    --------
    >>> import calscipy as cs
    >>> traces = cs.from_numpy(np.array([[10.0, 10.0, 30.0]]), frame_rate=10)
    >>> baseline(traces, method="median").values.tolist()
    [[10.0, 10.0, 10.0]]
    """
    given = {"percentile": percentile, "window": window, "cutoff": cutoff}
    arguments = chosen("baseline", method, given, BASELINE_ARGUMENTS)
    kernel, numbers = baseline_kernel(data, method, arguments, "baseline")
    result = along_time(data, kernel, verb="baseline", **numbers)
    return described(
        result.rename("baseline"),
        units=data.attrs.get("units", "1"),
        long_name="baseline F₀",
        **arguments,
    )


def baseline_kernel(
    data: xr.DataArray, method: str, arguments: dict[str, Any], verb: str
) -> tuple[Callable[..., Any], dict[str, Any]]:
    """Return the kernel of a method and its arguments in samples and Hz."""
    percentile = arguments.get("percentile")
    if percentile is not None and not 0 <= percentile <= 100:
        raise ArgumentError(f"{verb} needs percentile between 0 and 100, got {percentile!r}")
    if method == "mean":
        return kernels.mean_baseline, {}
    if method == "median":
        return kernels.median_baseline, {}
    if method == "percentile":
        return kernels.percentile_baseline, {"percentile": percentile}
    rate = model.regular_rate(data, verb)
    if method == "rolling_percentile":
        window = samples(arguments["window"], rate, verb)
        return kernels.rolling_percentile_baseline, {"percentile": percentile, "window": window}
    cutoff = arguments["cutoff"]
    if not cutoff > 0:
        raise ArgumentError(f"{verb} needs cutoff > 0 in Hz, got {cutoff!r}")
    return kernels.low_pass_baseline, {
        "percentile": percentile,
        "cutoff": cutoff,
        "frame_rate": rate,
    }
