"""Noise smoothed out of traces and movies along time."""

from __future__ import annotations

import numpy as np
import xarray as xr

from calscipy import model
from calscipy.errors import ArgumentError
from calscipy.history import described, recorded
from calscipy.kernels import smoothing as kernels
from calscipy.ops._frames import is_number, require_flags
from calscipy.ops._time import along_time, samples


@recorded
def perona_malik(
    data: xr.DataArray,
    *,
    iterations: int = 25,
    kappa: float = 0.15,
    gamma: float = 0.25,
    absolute: bool = False,
    sigma: float = 0.0,
) -> xr.DataArray:
    """Smooth every trace or pixel along time, but not across steps well above ``kappa``.

    Anisotropic diffusion [1]_: each iteration moves ``gamma * d * exp(-(d / kappa)²)`` between
    neighbours that differ by d. Nothing passes the ends of an epoch or a missing sample, so that
    sums are kept, and a constant trace stays as it is.

    Parameters
    ----------
    data : DataArray
        Traces ``(neuron, time)`` or a movie. NaN samples and frames that are not ``valid`` stay
        NaN; epochs are handled one by one.
    iterations : int, default 25
        More smooth more.
    kappa : float, default 0.15
        Differences between neighbours well below it are smoothed, those above are kept; as
        a share of the range (highest less lowest sample) of each trace in each epoch.
    gamma : float, default 0.25
        Share of the flow that is moved at a time, at most 0.5: beyond that noise grows.
    absolute : bool, default False
        Take ``kappa`` in the units of ``data``. One artefact changes the range of a whole trace.
    sigma : float, default 0
        Standard deviation of a Gaussian, in samples, that smooths the differences first.

    Returns
    -------
    DataArray
        Same dims, coordinates and units, float32 (float64 for float64 and for integers of over
        16 bits).

    Raises
    ------
    ArgumentError
        If ``gamma`` or another argument is out of range.
    TimeAxisError
        If samples are left out within an epoch.

    References
    ----------
    .. [1] Perona & Malik, Scale-space and edge detection using anisotropic diffusion. IEEE Trans
       Pattern Anal Mach Intell 12, 629-639 (1990). doi:10.1109/34.56205

    Examples
    --------
    >>> import calscipy as cs
    >>> traces = cs.from_numpy(np.array([[0.0, 1.0, 0.0, 50.0, 50.0]]), frame_rate=10)
    >>> perona_malik(traces, iterations=1, kappa=0.1).values.round(2).tolist()
    [[0.24, 0.52, 0.24, 50.0, 50.0]]
    """
    given = {"iterations": iterations, "kappa": kappa, "gamma": gamma, "sigma": sigma}
    for name, value in given.items():
        if not is_number(value):
            raise ArgumentError(f"perona_malik needs {name} as a number, got {value!r}")
    require_flags("perona_malik", absolute=absolute)
    kernels.check_diffusion(iterations, kappa, gamma, sigma)
    model.require_gapless(data, "perona_malik")
    result = along_time(
        data,
        kernels.perona_malik,
        verb="perona_malik",
        iterations=int(iterations),
        kappa=float(kappa),
        gamma=float(gamma),
        absolute=bool(absolute),
        sigma=float(sigma),
    )
    return _smoothed(data, result, "diffused")


@recorded
def gaussian_smooth(data: xr.DataArray, *, sigma: float) -> xr.DataArray:
    """Smooth every trace or pixel along time with a Gaussian.

    Parameters
    ----------
    data : DataArray
        Traces ``(neuron, time)`` or a movie. NaN samples and frames that are not ``valid`` enter
        no mean and stay NaN, and infinite samples become NaN; epochs are handled one by one,
        mirrored at their ends (``c b a | a b c | c b a``).
    sigma : float
        Standard deviation in s. The Gaussian is cut off at four of them.

    Returns
    -------
    DataArray
        Same dims, coordinates and units, float32 (float64 for float64 and for integers of over
        16 bits).

    Raises
    ------
    ArgumentError
        If ``sigma`` is not above 0.
    TimeAxisError
        If the samples of an epoch are not evenly spaced.

    Examples
    --------
    >>> import calscipy as cs
    >>> traces = cs.from_numpy(np.array([[0.0, 0.0, 4.0, 0.0, 0.0]]), frame_rate=10)
    >>> gaussian_smooth(traces, sigma=0.05).values.round(2).tolist()
    [[0.0, 0.43, 3.15, 0.43, 0.0]]
    """
    if not (is_number(sigma) and np.isfinite(sigma) and sigma > 0):
        raise ArgumentError(f"gaussian_smooth needs sigma > 0 in seconds, got {sigma!r}")
    rate = model.regular_rate(data, "gaussian_smooth")
    result = along_time(
        data, kernels.gaussian_smooth, verb="gaussian_smooth", sigma=float(sigma) * rate
    )
    return _smoothed(data, result, "smoothed")


@recorded
def savgol(data: xr.DataArray, *, window: float, order: int) -> xr.DataArray:
    """Smooth every trace or pixel along time with polynomials fitted around each sample.

    The filter of Savitzky and Golay [1]_.

    Parameters
    ----------
    data : DataArray
        Traces ``(neuron, time)`` or a movie. NaN samples and frames that are not ``valid`` enter
        no fit and stay NaN; epochs are handled one by one. At the ends of an epoch the polynomial
        of the first and last whole window is taken.
    window : float
        Length of the window in s, rounded up to an odd number of samples.
    order : int
        Order of the polynomials, below the samples of the window.

    Returns
    -------
    DataArray
        Same dims, coordinates and units, float32 (float64 for float64 and for integers of over
        16 bits).

    Raises
    ------
    ArgumentError
        If the window has no more samples than ``order``, or more than the shortest epoch.
    TimeAxisError
        If the samples of an epoch are not evenly spaced.

    References
    ----------
    .. [1] Savitzky & Golay, Smoothing and differentiation of data by simplified least squares
       procedures. Anal Chem 36, 1627-1639 (1964). doi:10.1021/ac60214a047

    Examples
    --------
    >>> import calscipy as cs
    >>> traces = cs.from_numpy(np.array([[0.0, 0.0, 3.0, 0.0, 0.0]]), frame_rate=10)
    >>> savgol(traces, window=0.3, order=0).values.round(2).tolist()
    [[1.0, 1.0, 1.0, 1.0, 1.0]]
    """
    rate = model.regular_rate(data, "savgol")
    count = samples(window, rate, "savgol")
    if not isinstance(order, int | np.integer) or isinstance(order, bool) or order < 0:
        raise ArgumentError(f"savgol needs a whole order from 0 on, got {order!r}")
    if order >= count:
        raise ArgumentError(
            f"savgol needs an order below the {count} samples of window={window!r} s, got {order}. "
            "Take a longer window or a lower order."
        )
    shortest = min(part.stop - part.start for part in model.epochs(data))
    if count > shortest:
        raise ArgumentError(
            f"savgol needs epochs of at least the {count} samples of window={window!r} s, but one "
            f"has {shortest}. Take a shorter window, or leave that epoch out."
        )
    result = along_time(data, kernels.savgol, verb="savgol", window=count, order=int(order))
    return _smoothed(data, result, "smoothed")


def _smoothed(data: xr.DataArray, result: xr.DataArray, how: str) -> xr.DataArray:
    name = data.attrs.get("long_name", "fluorescence")
    return described(result, units=data.attrs.get("units", "1"), long_name=f"{name}, {how}")
