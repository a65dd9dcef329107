"""Averages of trials."""

from __future__ import annotations

import contextlib
from typing import Any

import numpy as np
import xarray as xr

from calscipy import model
from calscipy.blocks.rows import by_rows
from calscipy.errors import ArgumentError, first_few
from calscipy.history import ARGUMENTS, described, recorded
from calscipy.kernels.averages import average_trials
from calscipy.ops._frames import is_number
from calscipy.ops._time import float_dtype
from calscipy.ops.project import with_cell_method

MEAN, LOWER, UPPER, COUNT = "mean", "lower", "upper", "count"


@recorded
def average(
    data: xr.DataArray,
    *,
    by: str | None = None,
    confidence: float = 0.95,
    resamples: int = 1000,
    rng: int | np.random.Generator | None = None,
) -> xr.Dataset:
    """Average trials, with a bootstrap interval of each mean.

    Parameters
    ----------
    data : DataArray
        Trials ``(trial, ..., time)``. NaN are left out.
    by : str, optional
        Coordinate along trials, such as their condition: those of one value are averaged. All
        trials by default.
    confidence : float, default 0.95
        Share of the resampled means that lie within the interval.
    resamples : int, default 1000
        How often trials are drawn with replacement, as many as there are of a condition.
    rng : int or numpy.random.Generator, optional
        Seed of the drawing. A generator gives one number, as does chance by default; the history
        tells which number it was, and the same number gives the same interval.

    Returns
    -------
    Dataset
        ``mean``, ``lower`` and ``upper``, of the dims ``([by,] ..., time)`` and in the units of
        the trials, float32 (float64 for float64 and for integers of over 16 bits), and ``count``,
        the number of trials that are not NaN. Values of ``by`` are sorted. Trials are drawn as a
        whole, the same ones for all neurons and samples, so that what neurons have in common
        stays in common; chunks do not matter. The interval is NaN where ``count`` is below 2. All
        four come from the same tasks: compute the Dataset as a whole.

    Raises
    ------
    ArgumentError
        If ``by`` is no coordinate along trials or not known for a trial, and for a number of
        resamples that does not reach to the ends of the interval.

    Notes
    -----
    The ends are percentiles of the resampled means (Efron 1979, doi:10.1214/aos/1176344552). For
    few trials this interval is narrow: of normally distributed trials, it holds the mean in 90 %
    of cases for 10 trials and in 94 % for 40 trials, where 95 % are asked for.

    Examples
    --------
    >>> trials = xr.DataArray(
    ...     [[[1.0]], [[3.0]], [[8.0]]],
    ...     {"condition": ("trial", ["go", "go", "stop"])},
    ...     ("trial", "neuron", "time"),
    ... )
    >>> found = average(trials, by="condition", rng=0)
    >>> found["mean"].sel(condition="go").values.tolist(), found["upper"].values.tolist()
    ([[2.0]], [[[3.0]], [[nan]]])
    """
    model.require_dims(data, (model.TRIAL, model.TIME), "average")
    if data.dtype.kind not in "biuf":
        raise ArgumentError(f"average needs numbers or booleans, got an array of {data.dtype}")
    if not data.sizes[model.TRIAL]:
        raise ArgumentError("average needs at least one trial, but there is none")
    _check(confidence, resamples)
    seed = _seed(rng)
    taken = sorted({MEAN, LOWER, UPPER, COUNT} & {str(name) for name in (*data.coords, by)})
    if taken:
        raise ArgumentError(
            f"average makes a variable {taken[0]!r}, which is a coordinate of these trials. Give "
            f"it another name: trials.rename({taken[0]}='other')."
        )
    labels, groups = _groups(data, by)
    others = [dim for dim in data.dims if dim not in (model.TRIAL, model.TIME)]
    values = by_rows(
        data.transpose(*others, model.TRIAL, model.TIME).data,
        average_trials,
        shape=(4, len(groups), data.sizes[model.TIME]),
        dtype=float_dtype(data),
        core=2,
        groups=tuple(groups),
        confidence=float(confidence),
        resamples=int(resamples),
        seed=seed,
    )
    found = {
        name: coord.variable
        for name, coord in data.coords.items()
        if model.TRIAL not in coord.dims and name != by
    }
    dims = [*others, model.TIME]
    if by is None:
        values = values[..., 0, :]
    else:
        found[by] = xr.Variable(by, labels, data[by].attrs)
        dims.insert(len(others), by)
    first = dims if by is None else [by, *others, model.TIME]
    axis = len(others)
    parts = [values[(*[slice(None)] * axis, at)] for at in range(4)]
    arrays = [xr.DataArray(part, found, dims).transpose(*first) for part in parts]
    return _described(arrays, data, confidence).assign_attrs({ARGUMENTS: {"rng": seed}})


def _described(arrays: list[xr.DataArray], data: xr.DataArray, confidence: float) -> xr.Dataset:
    """Name mean, lower and upper end of the interval and number of trials."""
    name, units = data.attrs.get("long_name", "fluorescence"), data.attrs.get("units", "1")
    interval = f"of the {100 * confidence:g} % interval of the mean"
    mean = described(arrays[0], units=units, long_name=f"{name}, mean of trials")
    lower, upper = (
        described(array, units=units, long_name=f"{name}, {end} end {interval}")
        for array, end in zip(arrays[1:3], (LOWER, UPPER), strict=True)
    )
    count = described(arrays[3].astype(np.int64), units="1", long_name="number of trials")
    mean = with_cell_method(mean, data, (model.TRIAL,), "mean")
    return xr.Dataset({MEAN: mean, LOWER: lower, UPPER: upper, COUNT: count})


def _check(confidence: Any, resamples: Any) -> None:
    if not (is_number(confidence) and 0 < confidence < 1):
        raise ArgumentError(
            f"average needs confidence between 0 and 1, such as 0.95, got {confidence!r}"
        )
    least = int(np.ceil(np.round(2 / (1 - confidence), 6)))
    whole = isinstance(resamples, int | np.integer) and not isinstance(resamples, bool)
    if not whole or resamples < least:
        raise ArgumentError(
            f"average needs resamples as a whole number of at least {least}, to reach to the ends "
            f"of an interval of {confidence:g}, got {resamples!r}"
        )


def _seed(rng: Any) -> int:
    """Return the one number that decides which trials are drawn."""
    if rng is None:
        rng = np.random.default_rng()
    if isinstance(rng, np.random.Generator):
        return int(rng.integers(2**32))
    if not isinstance(rng, int | np.integer) or isinstance(rng, bool) or rng < 0:
        raise ArgumentError(
            "average needs rng as a whole number from 0 on or a numpy.random.Generator, got "
            f"{rng!r}"
        )
    return int(rng)


def _groups(data: xr.DataArray, by: str | None) -> tuple[np.ndarray, list[np.ndarray]]:
    """Return the values of a coordinate, sorted, and the trials that have each."""
    if by is None:
        return np.zeros(1), [np.arange(data.sizes[model.TRIAL])]
    known = [str(name) for name, coord in data.coords.items() if coord.dims == (model.TRIAL,)]
    if by not in known:
        raise ArgumentError(
            f"average needs by as one of the coordinates along trials, {sorted(known)}, got "
            f"{by!r}. Add it: trials.assign_coords({by}=('trial', values))."
        )
    values = model.coordinate(data, by)
    unknown = np.flatnonzero(xr.DataArray(values).isnull().values)
    if len(unknown):
        raise ArgumentError(
            f"average: the {by} of trials {first_few(unknown.tolist(), 5)} is not known. Leave "
            f"them out: trials[trials.{by}.notnull().values]."
        )
    where: dict[Any, list[int]] = {}
    for trial, name in enumerate(values.tolist()):
        where.setdefault(name, []).append(trial)
    names = list(where)
    with contextlib.suppress(TypeError):  # names of several kinds stay in the order of the trials
        names.sort()
    groups = [np.array(where[name]) for name in names]
    return values[[group[0] for group in groups]], groups
