"""Traces: ΔF/F₀, noise, detrending and smoothing (``CalSciPy.trace_processing``)."""

from __future__ import annotations

import numpy as np

from calscipy import ops
from calscipy.compat._common import by_rows, given_back, labelled, note
from calscipy.kernels.detrend import detrend_polynomial as _detrended
from calscipy.kernels.noise import standardized_noise
from calscipy.kernels.smoothing import perona_malik

_METHODS = {"baseline": "low_pass", "filter": "low_pass", "lowpass": "low_pass"}


def calculate_dfof(
    traces: np.ndarray,
    frame_rate: float = 30.0,
    in_place: bool = False,
    offset: float = 0.0,
    external_reference: np.ndarray | None = None,
    method: str = "baseline",
) -> np.ndarray:
    """Fold change of fluorescence over its baseline, ``(F - F0) / (F0 + offset)``.

    Now: ``cs.from_numpy(traces, frame_rate=30).cs.dfof()``

    Parameters
    ----------
    traces : ndarray, shape (neurons, frames)
        Fluorescence. NaN samples enter no baseline and stay NaN.
    frame_rate : float, default 30
        Frames per second.
    in_place : bool, default False
        Write the result into ``traces``, which must hold floating-point numbers.
    offset : float, default 0
        Added to F0 in the denominator.
    external_reference : ndarray, shape (neurons, frames), optional
        Fluorescence from which F0 is estimated instead.
    method : str, default "baseline"
        ``"baseline"`` (also ``"filter"``, ``"low_pass"``): the 5th percentile of each trace after a
        low-pass filter of 1 Hz. Or another method of ``dfof``, with its default arguments, such as
        ``"percentile"``, ``"median"`` or ``"inactive_frames"``.

    Returns
    -------
    ndarray, shape (neurons, frames)
        As a fraction. float32 for float32 and integers of up to 16 bits, else float64.

    Raises
    ------
    ArgumentError
        For an unknown method; all are named.

    Warns
    -----
    BaselineWarning
        Where ``F0 + offset`` is not above zero. The result is NaN there.

    Notes
    -----
    In 0.3.5 the default method did not exist, unknown ones stood for the filter, integers were cut
    off, a NaN made the whole trace NaN, and a baseline below zero turned the sign. Traces of fewer
    than 9 frames, and frame rates up to 2 Hz, are taken without the filter, where 0.3.5 failed.

    Examples
    --------
    >>> traces = np.full((1, 90), 50.0)
    >>> traces[0, 40] = 100
    >>> calculate_dfof(traces).round(2)[0, 38:42].tolist()
    [0.0, 0.0, 1.0, 0.0]
    """
    reference = None if external_reference is None else labelled(external_reference, frame_rate)
    result = ops.dfof(
        labelled(traces, frame_rate),
        method=_METHODS.get(method, method),  # type: ignore[arg-type]
        offset=offset,
        reference=reference,
        floor=0.0,
    )
    return given_back(result.values, traces, in_place)


def calculate_standardized_noise(
    fold_fluorescence_over_baseline: np.ndarray, frame_rate: float = 30.0
) -> np.ndarray:
    """Median absolute difference between frames per root of the frame rate, in % Hz^-1/2.

    Now: ``traces.cs.dfof().cs.noise()``

    Parameters
    ----------
    fold_fluorescence_over_baseline : ndarray, shape (neurons, frames)
        ΔF/F0 as a fraction. Differences with a NaN are left out, where 0.3.5 returned NaN.
    frame_rate : float, default 30
        Frames per second.

    Returns
    -------
    ndarray, shape (neurons,)

    Notes
    -----
    White noise of the standard deviation σ gives ``0.954 * 100 * σ / sqrt(frame_rate)``; activity
    raises it.

    Examples
    --------
    >>> calculate_standardized_noise(np.tile([[0.0, 0.1]], 50), frame_rate=25.0).tolist()
    [2.0]
    """
    return standardized_noise(fold_fluorescence_over_baseline, frame_rate=frame_rate)


def detrend_polynomial(
    traces: np.ndarray, in_place: bool = False, *, keep_level: bool = True
) -> np.ndarray:
    """Subtract a fourth-order polynomial that is fitted to each trace.

    Now: ``traces.cs.detrend()``

    Parameters
    ----------
    traces : ndarray, shape (neurons, frames)
        Fluorescence. NaN samples are left out of the fit and stay NaN.
    in_place : bool, default False
        Write the result into ``traces``, which must hold floating-point numbers.
    keep_level : bool, default True
        Keep the mean of the polynomial, so that ΔF/F0 can be computed. False: subtract it too, as
        0.3.5 did.

    Returns
    -------
    ndarray, shape (neurons, frames)

    Raises
    ------
    ArgumentError
        Naming the neurons with fewer than 5 samples.

    Examples
    --------
    >>> traces = 100 + np.linspace(-1, 1, 50)[None] ** 3
    >>> bool(np.allclose(detrend_polynomial(traces, keep_level=False), 0))
    True
    """
    if keep_level:
        note("detrend_polynomial keeps the level, which 0.3.5 removed (keep_level=False)")
    found = by_rows(traces, _detrended, "detrend_polynomial", order=4, keep_level=keep_level)
    return given_back(found, traces, in_place)


def perona_malik_diffusion(
    traces: np.ndarray,
    iters: int = 25,
    kappa: float = 0.15,
    gamma: float = 0.25,
    sigma: float = 0,
    in_place: bool = False,
) -> np.ndarray:
    """Smooth each trace along time, but not across steps well above ``kappa`` of its range.

    Now: ``traces.cs.perona_malik()``

    Parameters
    ----------
    traces : ndarray, shape (neurons, frames)
        Fluorescence. NaN samples stay NaN, and nothing passes them.
    iters : int, default 25
        Iterations.
    kappa : float, default 0.15
        Scale of the differences that are smoothed, as a share of the range of each trace.
    gamma : float, default 0.25
        Rate of diffusion, at most 0.5: beyond that noise grows, and 0.3.5 let it.
    sigma : float, default 0
        Standard deviation, in frames, of a Gaussian that smooths the differences first.
    in_place : bool, default False
        Write the result into ``traces``, which must hold floating-point numbers.

    Returns
    -------
    ndarray, shape (neurons, frames)
        Constant traces, and all of them with ``kappa=0`` or ``iters=0``, are returned as they are.

    Examples
    --------
    >>> perona_malik_diffusion(np.array([[0.0, 1.0, 0.0, 50.0, 50.0]]), iters=1, kappa=0.1).round(2)
    array([[ 0.24,  0.52,  0.24, 50.  , 50.  ]])
    """
    if kappa == 0 or iters == 0:
        return given_back(np.array(traces), traces, in_place)
    how = {"iterations": iters, "kappa": kappa, "gamma": gamma, "sigma": sigma}
    found = by_rows(traces, perona_malik, "perona_malik_diffusion", **how)
    return given_back(found, traces, in_place)
