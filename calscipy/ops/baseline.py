"""F0, the fluorescence at rest."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

import numpy as np
import xarray as xr

from calscipy import model
from calscipy.errors import ArgumentError
from calscipy.history import described, recorded
from calscipy.kernels.baseline import (
    low_pass_baseline,
    mean_baseline,
    median_baseline,
    percentile_baseline,
)
from calscipy.kernels.bleaching import exponential_baseline
from calscipy.kernels.inactive_frames import inactive_frames_baseline
from calscipy.kernels.mode import mode_baseline
from calscipy.kernels.rolling import (
    maximin_baseline,
    rolling_mean_baseline,
    rolling_median_baseline,
    rolling_percentile_baseline,
)
from calscipy.ops._frames import LONGEST_WINDOW, is_number, require_seconds
from calscipy.ops._time import along_time, chosen, samples

BaselineMethod = Literal[
    "low_pass",
    "mean",
    "median",
    "percentile",
    "rolling_mean",
    "rolling_median",
    "rolling_percentile",
    "maximin",
    "mode",
    "inactive_frames",
    "exponential",
]

BASELINE_ARGUMENTS: dict[str, dict[str, Any]] = {
    "low_pass": {"percentile": 5.0, "cutoff": 1.0},
    "mean": {},
    "median": {},
    "percentile": {"percentile": 8.0},
    "rolling_mean": {"window": 60.0},
    "rolling_median": {"window": 60.0},
    "rolling_percentile": {"percentile": 8.0, "window": 60.0},
    "maximin": {"window": 60.0, "sigma": 1.0},
    "mode": {},
    "inactive_frames": {"percentile": 10.0, "window": 60.0},
    "exponential": {"terms": 2},
}

_KERNELS: dict[str, Callable[..., Any]] = {
    "low_pass": low_pass_baseline,
    "mean": mean_baseline,
    "median": median_baseline,
    "percentile": percentile_baseline,
    "rolling_mean": rolling_mean_baseline,
    "rolling_median": rolling_median_baseline,
    "rolling_percentile": rolling_percentile_baseline,
    "maximin": maximin_baseline,
    "mode": mode_baseline,
    "inactive_frames": inactive_frames_baseline,
    "exponential": exponential_baseline,
}

# Of inactive frames: the window in s that the noise is measured in, and how many standard
# deviations of it from the level at rest a frame counts as active.
SHORT_WINDOW, THRESHOLD = 10 / 3, 3.0


@recorded
def baseline(
    data: xr.DataArray,
    *,
    method: BaselineMethod = "low_pass",
    percentile: float | None = None,
    window: float | None = None,
    sigma: float | None = None,
    cutoff: float | None = None,
    terms: int | None = None,
) -> xr.DataArray:
    """Estimate F0, the fluorescence at rest, of every trace or pixel.

    Parameters
    ----------
    data : DataArray
        Traces ``(neuron, time)`` or a movie. NaN samples and frames that are not ``valid`` are
        left out; epochs are handled one by one.
    method : str, default "low_pass"
        One number for each epoch:

        - ``"low_pass"``: percentile of the trace after a zero-phase low-pass [1]_.
        - ``"mean"``, ``"median"``, ``"percentile"``.
        - ``"mode"``: the half-sample mode, the level around which samples are densest [2]_.

        A curve that follows drift and bleaching; beyond its ends an epoch is mirrored:

        - ``"rolling_mean"``, ``"rolling_median"``, ``"rolling_percentile"``: of a window around
          every sample. The percentile is one of the samples, not between two of them.
        - ``"maximin"``: the highest of the lowest samples around every sample, after a Gaussian
          filter [3]_.
        - ``"inactive_frames"``: the rolling median of the frames in which the neuron is not active,
          reckoned from a rolling percentile and the noise.
        - ``"exponential"``: a bleach curve of one or two terms at the resting level.
    percentile : float, optional
        In percent; 5 for ``"low_pass"``, 10 for ``"inactive_frames"``, else 8.
    window : float, optional
        Length of the rolling window in s; 60.
    sigma : float, optional
        Of the Gaussian of ``"maximin"`` in s; 1.
    cutoff : float, optional
        Cut-off of the low-pass in Hz; 1. There is no low-pass if it is half the frame rate or
        more, or if an epoch has fewer than nine samples.
    terms : {1, 2}, optional
        Exponentials of the bleach curve; 2.

    Returns
    -------
    DataArray
        F0 with the dims, coordinates and units of ``data``, float32 (float64 for float64
        and for integers of over 16 bits).

    Raises
    ------
    ArgumentError
        For an unknown method, and for an argument that the method ignores.
    TimeAxisError
        If a method in Hz or s meets an irregular time axis.
    ChunkError
        If a movie in chunks of frames does not fit into memory.

    References
    ----------
    .. [1] Keemink et al., FISSA: a neuropil decontamination toolbox for calcium imaging
       signals. Sci Rep 8, 3493 (2018). doi:10.1038/s41598-018-21640-2
    .. [2] Bickel and Frühwirth, On a fast, robust estimator of the mode. Comput Stat Data Anal 50,
       3500 (2006). doi:10.1016/j.csda.2005.07.011
    .. [3] Pachitariu et al., Suite2p: beyond 10,000 neurons with standard two-photon
       microscopy. bioRxiv 061507 (2017). doi:10.1101/061507

    Examples
    --------
    >>> import calscipy as cs
    >>> traces = cs.from_numpy(np.array([[10.0, 10.0, 30.0]]), frame_rate=10)
    >>> baseline(traces, method="median").values.tolist()
    [[10.0, 10.0, 10.0]]
    """
    given = {
        "percentile": percentile,
        "window": window,
        "sigma": sigma,
        "cutoff": cutoff,
        "terms": terms,
    }
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
    _check(arguments, verb)
    numbers = dict(arguments)
    if "terms" in numbers:
        numbers["terms"] = int(numbers["terms"])
    if {"window", "sigma", "cutoff", "terms"} & set(arguments):  # in s or Hz
        rate = model.regular_rate(data, verb)
        if "window" in numbers:
            numbers["window"] = samples(numbers["window"], rate, verb)
        if "sigma" in numbers:
            numbers["sigma"] *= rate
        if method in ("low_pass", "exponential"):
            numbers["frame_rate"] = rate
        if method == "inactive_frames":
            numbers["short_window"] = samples(SHORT_WINDOW, rate, verb)
            numbers["threshold"] = THRESHOLD
    return _KERNELS[method], numbers


def _check(arguments: dict[str, Any], verb: str) -> None:
    for name, value in arguments.items():
        if not is_number(value):
            raise ArgumentError(f"{verb} needs {name} as a number, got {value!r}")
    percentile, sigma = arguments.get("percentile", 0), arguments.get("sigma", 0)
    if not 0 <= percentile <= 100:
        raise ArgumentError(f"{verb} needs percentile between 0 and 100, got {percentile!r}")
    if not (np.isfinite(sigma) and sigma >= 0):
        raise ArgumentError(f"{verb} needs sigma >= 0 in s, got {sigma!r}")
    require_seconds(sigma, LONGEST_WINDOW, verb, "sigma")
    if not arguments.get("cutoff", 1) > 0:
        raise ArgumentError(f"{verb} needs cutoff > 0 in Hz, got {arguments['cutoff']!r}")
    if arguments.get("terms", 1) not in (1, 2):
        raise ArgumentError(f"{verb} needs terms=1 or terms=2, got {arguments['terms']!r}")
