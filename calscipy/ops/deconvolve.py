"""Spikes and calcium behind fluorescence traces."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

import numpy as np
import xarray as xr

from calscipy import model
from calscipy.errors import ArgumentError
from calscipy.history import described, of_another_kind, recorded
from calscipy.kernels import oasis
from calscipy.ops._frames import is_number
from calscipy.ops._reductions import epoch_starts, reduce_time
from calscipy.ops._time import along_time, chosen

DeconvolutionMethod = Literal["constrained", "l1", "l0"]

_ARGUMENTS: dict[str, dict[str, Any]] = {
    "constrained": {"noise": None, "baseline": None},
    "l1": {"penalty": 0.0, "noise": None, "baseline": None},
    "l0": {"min_spike": None, "noise": None, "baseline": None},
}


@recorded
def deconvolve(
    data: xr.DataArray,
    *,
    method: DeconvolutionMethod = "constrained",
    tau: float | None = None,
    penalty: float | None = None,
    min_spike: float | None = None,
    noise: float | None = None,
    baseline: float | None = None,
) -> xr.DataArray:
    """Deconvolve traces: what each frame adds to calcium that decays exponentially (OASIS).

    The result is in the units of the traces. It is an activity, **not a count of spikes**: how much
    one spike adds is not known from the trace.

    Parameters
    ----------
    data : DataArray
        Traces ``(neuron, time)``, best as ΔF/F without drift. Evenly sampled; epochs are handled
        one by one. Missing samples (NaN) have no weight; what happened during a gap is part of
        the activity at the next sample.
    method : {"constrained", "l1", "l0"}, default "constrained"
        What keeps noise from becoming activity. ``"constrained"``: the smallest sum of activity
        of which the residuals are as large as the noise. It makes all activity smaller.
        ``"l1"``: a penalty on the sum of activity that you give; 0 asks for the best fit.
        ``"l0"``: activity is 0 or at least ``min_spike``, and not made smaller.
    tau : float, optional
        Time constant of the decay in s. By default estimated from each trace, see
        :func:`estimate_tau`; one number for all neurons is less noisy.
    penalty : float, optional
        ``"l1"``: cost of a unit of activity, in the units of ``data``; 0.
    min_spike : float, optional
        ``"l0"``: smallest activity, in the units of ``data``; by default the largest for which the
        residuals are no larger than the noise.
    noise : float, optional
        Standard deviation of the noise in the units of ``data``, by default that of each trace.
        It is used where the baseline, the penalty or ``min_spike`` is to be found.
    baseline : float, optional
        Level without activity, in the units of ``data``; 0 if it was subtracted already. By
        default fitted to each trace, with ``"l1"`` as by ``"constrained"``.

    Returns
    -------
    DataArray
        ``spikes``, with the dims, coordinates and units of ``data``, never negative; float32
        (float64 for float64 and for integers of over 16 bits). NaN at missing samples, 0 at the
        first one: calcium that is there already is not activity. A trace that varies no more
        than the noise has none.

    Raises
    ------
    ArgumentError
        For an argument that the method ignores, and for neurons of which tau or the noise is needed
        but can not be estimated.

    Notes
    -----
    ``"constrained"`` and ``"l1"`` give the global optimum. ``"l0"`` merges greedily from the start
    of the trace on and gives a local one. Without ``min_spike``, chance in the residuals of a short
    trace decides what the smallest activity is: give it.

    References
    ----------
    Friedrich, J., Zhou, P. & Paninski, L. (2017). Fast online deconvolution of calcium imaging
    data. PLOS Computational Biology 13, e1005423. https://doi.org/10.1371/journal.pcbi.1005423

    Examples
    --------
    >>> import calscipy as cs
    >>> trace = np.random.default_rng(0).normal(0, 0.02, 300)
    >>> trace[100:] += np.exp(-np.arange(200) / 30 / 0.7)
    >>> traces = cs.from_numpy(trace[None], frame_rate=30, units="1")
    >>> found = deconvolve(traces, method="l0", tau=0.7, min_spike=0.2)
    >>> np.flatnonzero(found[0]).tolist(), round(found.sum().item(), 1)
    ([100], 1.0)
    """
    result, used = _deconvolved(
        data, oasis.spikes, "deconvolve", method, tau, penalty, min_spike, noise, baseline
    )
    units = data.attrs.get("units", "1")
    result = described(
        result.rename(model.SPIKES),
        units=units,
        long_name=f"deconvolved activity, in {units} per frame",
        **used,
    )
    return of_another_kind(result)


@recorded
def denoise(
    data: xr.DataArray,
    *,
    method: DeconvolutionMethod = "constrained",
    tau: float | None = None,
    penalty: float | None = None,
    min_spike: float | None = None,
    noise: float | None = None,
    baseline: float | None = None,
) -> xr.DataArray:
    """Fit traces by a baseline and calcium that rises at once and decays exponentially (OASIS).

    Parameters
    ----------
    data : DataArray
        Traces ``(neuron, time)``, best as ΔF/F without drift. Evenly sampled; epochs are handled
        one by one.
    method, tau, penalty, min_spike, noise, baseline
        See :func:`deconvolve`.

    Returns
    -------
    DataArray
        ``denoised``, baseline plus calcium, with the dims, coordinates and units of ``data``;
        float32 (float64 for float64 and for integers of over 16 bits). Missing samples are filled
        as if nothing had happened, but stay NaN before the first valid one.

    Raises
    ------
    ArgumentError
        For an argument that the method ignores, and for neurons of which tau or the noise is needed
        but can not be estimated.

    References
    ----------
    Friedrich, J., Zhou, P. & Paninski, L. (2017). Fast online deconvolution of calcium imaging
    data. PLOS Computational Biology 13, e1005423. https://doi.org/10.1371/journal.pcbi.1005423

    Examples
    --------
    >>> import calscipy as cs
    >>> traces = cs.from_numpy(np.array([[0, 0, 1, np.nan, 0.25, 0.125]]), frame_rate=1)
    >>> denoise(traces, method="l1", tau=1 / np.log(2), baseline=0).values.round(6).tolist()
    [[0.0, 0.0, 1.0, 0.5, 0.25, 0.125]]
    """
    result, used = _deconvolved(
        data, oasis.denoised, "denoise", method, tau, penalty, min_spike, noise, baseline
    )
    name = data.attrs.get("long_name", "fluorescence")
    return described(
        result.rename("denoised"),
        units=data.attrs.get("units", "1"),
        long_name=f"{name}, denoised",
        **used,
    )


def _deconvolved(
    data: xr.DataArray,
    kernel: Callable[..., np.ndarray],
    verb: str,
    method: str,
    tau: float | None,
    penalty: float | None,
    min_spike: float | None,
    noise: float | None,
    baseline: float | None,
) -> tuple[xr.DataArray, dict[str, Any]]:
    """Return what the kernel makes of the traces, and the arguments that the method filled in."""
    model.require_dims(data, (model.TIME,), verb)
    given = {"penalty": penalty, "min_spike": min_spike, "noise": noise, "baseline": baseline}
    used = {"tau": tau, **chosen(verb, method, given, _ARGUMENTS)}
    used = {name: _number(verb, name, value) for name, value in used.items()}
    if noise is not None and _needs_no_noise(method, used):
        raise ArgumentError(
            f"{verb}: with the baseline and all of method={method!r} given, nothing is found from "
            "the noise. Leave noise out."
        )
    numbers: dict[str, Any] = {
        "penalty": 0.0 if method == "l0" else None,
        "min_spike": None if method == "l0" else 0.0,
        **used,
    }
    rate = model.regular_rate(data, verb)
    result = along_time(data, kernel, verb=verb, frame_rate=rate, **numbers)
    return result, {name: value for name, value in used.items() if value is not None}


def _needs_no_noise(method: str, used: dict[str, Any]) -> bool:
    if used["baseline"] is None or method == "constrained":
        return False
    return method == "l1" or used["min_spike"] is not None


def _number(verb: str, name: str, value: Any) -> float | None:
    """Return an argument as a float; raise unless it is one finite number that makes sense."""
    if value is None:
        return None
    if isinstance(value, xr.DataArray) and value.ndim == 0:  # a median over neurons, for instance
        value = value.values.item()
    if not is_number(value):
        raise ArgumentError(
            f"{verb} needs {name} as one number for all neurons, got {type(value).__name__}. Take "
            f"for instance their median, {name}.compute().median(), or select neurons and give "
            "each group its own."
        )
    above = name in ("tau", "noise")
    least = "" if name == "baseline" else " > 0" if above else " >= 0"
    fits = name == "baseline" or value > 0 or (value == 0 and not above)
    if not (np.isfinite(value) and fits):
        raise ArgumentError(f"{verb} needs a finite {name}{least}, got {value!r}")
    return float(value)


@recorded
def estimate_tau(data: xr.DataArray) -> xr.DataArray:
    """Time constant with which the transients of each trace decay.

    Parameters
    ----------
    data : DataArray
        Traces ``(neuron, time)``, best as ΔF/F. Evenly sampled, with NaN left out. They must be
        free of drift, which makes the estimate too long: a slow wave of a tenth of F₀ by 1.6.

    Returns
    -------
    DataArray
        ``tau`` of each neuron in s, over all epochs. NaN where the trace shows no transients: its
        autocovariance at one frame is that of white noise, or has not fallen to half of that
        within 10 s or half of the longest epoch. The median over neurons is a good ``tau`` for
        :func:`deconvolve`, as the decay is mostly that of the indicator.

    Examples
    --------
    >>> import calscipy as cs
    >>> from calscipy.testing import synthetic_traces
    >>> traces = synthetic_traces(neurons=10, duration=300, decay=0.7).traces
    >>> round(estimate_tau(traces).median().item(), 1)
    0.7
    """
    rate = model.regular_rate(data, "estimate_tau")
    result = reduce_time(
        data,
        oasis.decay_time,
        verb="estimate_tau",
        frame_rate=rate,
        starts=epoch_starts(data),
    )
    result = described(result.rename("tau"), units="s", long_name="decay time of transients")
    return of_another_kind(result)
