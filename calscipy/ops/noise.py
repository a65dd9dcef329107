"""How noisy each trace is."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal, get_args

import numpy as np
import xarray as xr

from calscipy import model
from calscipy.errors import ArgumentError
from calscipy.history import described, of_another_kind, recorded
from calscipy.kernels import noise as kernels
from calscipy.ops._reductions import epoch_starts, reduce_time

NoiseMethod = Literal["standardized", "differences", "spectrum"]

NOISE_UNITS = "percent Hz^-0.5"  # of the standardised noise
_KERNELS: dict[str, Callable[..., np.ndarray]] = {
    "standardized": kernels.standardized_noise,
    "differences": kernels.noise_sigma,
    "spectrum": kernels.spectral_sigma,
}
_DIMENSIONLESS = ("1", "", "dimensionless")


@recorded
def noise(data: xr.DataArray, *, method: NoiseMethod = "standardized") -> xr.DataArray:
    """Noise of each trace.

    Parameters
    ----------
    data : DataArray
        Traces ``(neuron, time)``, with ``"standardized"`` as ΔF/F₀. NaN samples are left out, and
        so are steps from one epoch into the next.
    method : {"standardized", "differences", "spectrum"}, default "standardized"
        ``"standardized"``: median absolute difference between neighbours in percent, over the
        root of the frame rate, which compares recordings of different frame rates. White noise of
        a standard deviation σ gives 95.39 σ / sqrt(frame rate). ``"differences"``: σ from the
        median absolute deviation of these differences. ``"spectrum"``: σ from the power above a
        quarter of the frame rate (Welch's method, segments of 256 samples).

    Returns
    -------
    DataArray
        ``(neuron,)``; in percent per root of Hz, or in the units of ``data``. float32 (float64 for
        float64 and for integers of over 16 bits). NaN with fewer than 3 differences or, with
        ``"spectrum"``, fewer than 16 samples without a gap.

    Raises
    ------
    ArgumentError
        For ``"standardized"`` of traces that are not dimensionless.
    TimeAxisError
        If samples are missing in the times of an epoch.

    Notes
    -----
    All three take what changes from sample to sample for noise: transients that rise within one
    raise it, most with ``"spectrum"``, and noise that was filtered away is not seen.

    References
    ----------
    Rupprecht, P. et al. (2021). A database and deep learning toolbox for noise-optimized,
    generalized spike inference from calcium imaging. Nature Neuroscience 24, 1324-1337.
    https://doi.org/10.1038/s41593-021-00895-5

    Examples
    --------
    >>> import calscipy as cs
    >>> values = np.random.default_rng(0).normal(0.0, 0.1, (1, 20_000))
    >>> traces = cs.from_numpy(values, frame_rate=25, units="1")
    >>> noise(traces).round(2).item(), noise(traces, method="spectrum").round(3).item()
    (1.91, 0.1)
    """
    if method not in get_args(NoiseMethod):
        raise ArgumentError(
            f"noise(method=) must be one of {get_args(NoiseMethod)}, got {method!r}"
        )
    model.require_dims(data, (model.TIME,), "noise")
    if method == "standardized" and not is_dimensionless(data):
        raise ArgumentError(
            "noise(method='standardized') is defined for ΔF/F₀ as a fraction, but the traces have "
            f"units={data.attrs.get('units')!r}. Apply dfof first, say so with "
            "traces.assign_attrs(units='1') if they are ΔF/F₀, or take method='differences', "
            "whose result has the units of the traces."
        )
    return of_another_kind(noise_of(data, method, "noise"))


def is_dimensionless(data: xr.DataArray) -> bool:
    """Whether the units of an array say that it is a ratio."""
    return str(data.attrs.get("units")) in _DIMENSIONLESS


def noise_of(data: xr.DataArray, method: NoiseMethod, verb: str) -> xr.DataArray:
    """Return the noise of each trace, labelled; the arguments are known to be right."""
    units, kernel = data.attrs.get("units", "1"), _KERNELS[method]
    arguments: dict[str, Any] = {"starts": epoch_starts(data)}
    long_name = "noise from differences"
    if method == "standardized":
        units, long_name = NOISE_UNITS, "standardised noise"
        arguments["frame_rate"] = model.regular_rate(data, verb)
    else:
        model.require_gapless(data, verb)
    if method == "spectrum":
        long_name = "noise from the spectrum"
    result = reduce_time(data, kernel, verb=verb, **arguments).rename("noise")
    return described(result, units=units, long_name=long_name)
