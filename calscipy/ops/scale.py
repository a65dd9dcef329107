"""Waveforms and traces on a common scale."""

from __future__ import annotations

import inspect
from typing import Any

import xarray as xr

from calscipy import blocks, model
from calscipy.errors import ArgumentError, DimensionError
from calscipy.history import described, recorded
from calscipy.kernels.scale import scale_rows
from calscipy.ops._time import RowNames, float_dtype

SCALERS = {"standard": "StandardScaler", "minmax": "MinMaxScaler", "robust": "RobustScaler"}


@recorded
def scale(data: xr.DataArray, *, scaler: Any = "standard") -> xr.DataArray:
    """Bring every waveform or trace to a common scale, for comparisons across neurons.

    Parameters
    ----------
    data : DataArray
        Waveforms ``(event, lag)``, traces ``(neuron, time)`` or other rows along ``lag`` or
        ``time``. Every row is scaled by itself, over all of its samples and epochs at once.
    scaler : {"standard", "minmax", "robust"} or scikit-learn scaler, default "standard"
        ``"standard"``: less the mean, over the standard deviation; ``"minmax"``: from 0 to 1;
        ``"robust"``: less the median, over the interquartile range. Or a class or an instance
        from ``sklearn.preprocessing``, such as ``MaxAbsScaler``; the instance is not fitted, a
        copy of it is. The samples of a row are its one feature.

    Returns
    -------
    DataArray
        Dimensionless (in the units of ``data`` where a scaler is told not to divide), with the
        dims and coordinates of ``data``; float32 (float64 for float64 and for integers of over
        16 bits). NaN stay and do not count; a constant row has nothing to divide by and becomes
        0 by all three named scalers.

    Raises
    ------
    ArgumentError
        For a scaler that scikit-learn does not know or that works across rows, and for infinite
        samples.

    Examples
    --------
    >>> import calscipy as cs
    >>> traces = cs.from_numpy(np.array([[1, 2, 3], [10, 30, 20]], "uint16"), frame_rate=30)
    >>> scale(traces, scaler="minmax").values.tolist()
    [[0.0, 0.5, 1.0], [0.0, 1.0, 0.5]]
    """
    dim = next((dim for dim in (model.LAG, model.TIME) if dim in data.dims), None)
    if dim is None:
        raise DimensionError(
            f"scale needs a 'lag' or 'time' dimension, found {tuple(data.dims)}. Give it waveforms "
            "(event, lag) or traces (neuron, time)."
        )
    if data.dtype.kind not in "iuf":
        raise ArgumentError(f"scale needs numbers, got an array of {data.dtype}")
    estimator = _estimator(scaler)
    ordered = data.transpose(..., dim)
    whole = blocks.whole_time(ordered.data, data.ndim - 1, movie=False, verb="scale")
    values = blocks.along_time(
        whole,
        scale_rows,
        parts=[slice(0, data.sizes[dim])],
        dtype=float_dtype(data),
        work=float_dtype(data),
        verb="scale",
        names=RowNames.of(ordered),
        scaler=estimator,
    )
    divides = all(getattr(estimator, word, True) for word in ("with_std", "with_scaling"))
    name = data.attrs.get("long_name", "fluorescence")
    result = described(
        ordered.copy(data=values).transpose(*data.dims),
        units="1" if divides else data.attrs.get("units", "1"),
        long_name=f"{name}, scaled",
        scaler=scaler if isinstance(scaler, str) else repr(estimator),
    )
    return result.assign_attrs({model.LEVEL_ATTR: "removed"})


def _estimator(scaler: Any) -> Any:
    """Return a scikit-learn scaler that nobody else holds."""
    from sklearn import base, preprocessing  # takes a second to import

    made = scaler
    if isinstance(scaler, str) and scaler in SCALERS:
        made = getattr(preprocessing, SCALERS[scaler])
    if inspect.isclass(made):
        made = made()
    if not isinstance(made, base.TransformerMixin) or not isinstance(made, base.BaseEstimator):
        raise ArgumentError(
            f"scale(scaler=) must be one of {list(SCALERS)} or a scikit-learn scaler such as "
            f"sklearn.preprocessing.MaxAbsScaler(), got {scaler!r}"
        )
    if isinstance(made, preprocessing.Normalizer):
        raise ArgumentError(
            "scale works on every row by itself, but sklearn's Normalizer scales across them. "
            "Use 'standard', 'minmax' or 'robust'."
        )
    return base.clone(made)
