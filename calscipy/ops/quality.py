"""How good each trace is, in one table."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import numpy as np
import xarray as xr

from calscipy import model
from calscipy.errors import ArgumentError
from calscipy.history import described, of_another_kind, recorded
from calscipy.kernels import quality as kernels
from calscipy.ops._frames import is_number
from calscipy.ops._matching import require_same_labels
from calscipy.ops._reductions import epoch_starts, reduce_time
from calscipy.ops.noise import is_dimensionless, noise_of

DRIFT_PIECE = 30.0  # s of the pieces whose medians are compared


@recorded
def quality(
    data: xr.DataArray, events: xr.DataArray | None = None, *, saturation: float | None = None
) -> xr.Dataset:
    """Noise, signal, drift, saturation and event rate of each trace, in one table.

    Parameters
    ----------
    data : DataArray
        Traces ``(neuron, time)`` in any units, evenly sampled. NaN samples are left out.
    events : DataArray, optional
        Boolean event onsets ``(neuron, time)`` of the same neurons and times.
    saturation : float, optional
        Value at which the detector or the converter saturates, in the units of ``data``.

    Returns
    -------
    Dataset
        Along ``neuron``, lazy if ``data`` is:

        ``noise``
            σ from differences, in the units of ``data``, see :func:`noise`.
        ``noise_spectrum``
            σ from the power spectrum, in the units of ``data``.
        ``noise_standardized``
            In percent per root of Hz; only for traces whose units are ``"1"``.
        ``snr``
            99th percentile less the median, over ``noise``. Pure white noise gives 2.3. NaN where
            the noise is 0.
        ``skewness``
            0 for symmetric noise, above 0 with transients. NaN for constant traces.
        ``drift``
            Highest less lowest of the medians of pieces of 30 s (each epoch is cut into equal
            pieces, at least two), in the units of ``data``: drift, bleaching and jumps
            between epochs. Pieces that lack more than half of their samples are left out.
        ``saturated``
            Share of samples at or above ``saturation``; only where that is given. It tells nothing
            of traces that were averaged over pixels unless all of these saturate.
        ``event_rate``
            Events in a second of the samples that are not NaN, in Hz; only with ``events``.
        ``missing``
            Share of samples that are NaN.

        A neuron without any sample has ``missing`` 1 and NaN elsewhere.

    Raises
    ------
    ArgumentError
        If events are not boolean or of other neurons or times, or if ``saturation`` is no number.

    Examples
    --------
    >>> from calscipy.testing import synthetic_traces
    >>> truth = synthetic_traces(neurons=2, duration=60.0, snr=5.0)
    >>> table = quality(truth.traces, truth.events, saturation=4095)
    >>> table.noise.values.round(-1).tolist(), table.noise.units
    ([50.0, 50.0], 'count')
    >>> (60 * table.event_rate).round(1).values.tolist(), table.saturated.values.tolist()
    ([3.0, 2.0], [0.0, 0.0])
    """
    model.require_dims(data, (model.TIME,), "quality")
    rate = model.regular_rate(data, "quality")
    _check(data, events, saturation)
    units = data.attrs.get("units", "1")
    starts = epoch_starts(data)
    table = {
        "noise": noise_of(data, "differences", "quality"),
        "noise_spectrum": noise_of(data, "spectrum", "quality"),
    }
    if is_dimensionless(data):
        table["noise_standardized"] = noise_of(data, "standardized", "quality")
    columns: list[tuple[str, Callable[..., np.ndarray], str, str, dict[str, Any]]] = [
        ("snr", kernels.signal_to_noise, "1", "peaks over noise", {"starts": starts}),
        ("skewness", kernels.skewness, "1", "skewness", {}),
        ("drift", kernels.drift, units, "drift", {"pieces": _pieces(data, rate)}),
        ("missing", kernels.share_missing, "1", "share of samples missing", {}),
    ]
    if saturation is not None:
        level = {"level": float(saturation)}
        columns.append(
            ("saturated", kernels.share_at_least, "1", "share of samples saturated", level)
        )
    for name, kernel, unit, long_name, arguments in columns:
        found = reduce_time(data, kernel, verb="quality", **arguments)
        table[name] = described(found, units=unit, long_name=long_name)
    if events is not None:
        found = reduce_time(
            data, kernels.event_rate, verb="quality", others=(events,), frame_rate=rate
        )
        table["event_rate"] = described(found, units="Hz", long_name="event rate")
    return xr.Dataset({name: of_another_kind(column) for name, column in table.items()})


def _check(data: xr.DataArray, events: xr.DataArray | None, saturation: float | None) -> None:
    if events is not None:
        if not isinstance(events, xr.DataArray) or events.dtype != bool:
            kind = events.dtype if isinstance(events, xr.DataArray) else type(events).__name__
            raise ArgumentError(
                f"quality needs events as a boolean DataArray, got {kind}. "
                "Make them with traces.cs.events()."
            )
        require_same_labels(data, events, "quality", "the raster of events")
    number = is_number(saturation) and np.isfinite(saturation)  # type: ignore[arg-type]
    if saturation is not None and not number:
        raise ArgumentError(f"quality needs saturation as a number, got {saturation!r}")


def _pieces(data: xr.DataArray, rate: float) -> tuple[tuple[int, int], ...]:
    """Cut every epoch into equal pieces of about 30 s, at least two."""
    pieces: list[tuple[int, int]] = []
    for part in model.epochs(data):
        size = part.stop - part.start
        count = max(2, round(size / rate / DRIFT_PIECE))
        edges = [part.start + size * at // count for at in range(count + 1)]
        pieces += [(a, b) for a, b in itertools.pairwise(edges) if b > a]
    return tuple(pieces)
