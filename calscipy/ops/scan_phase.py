"""Bidirectional scans: the offset between odd and even lines."""

from __future__ import annotations

import itertools
from typing import Any, Literal, get_args

import numpy as np
import xarray as xr

from calscipy import model
from calscipy.blocks.per_frame import per_frame
from calscipy.errors import ArgumentError, CalscipyWarning, RoiError, first_few, warn
from calscipy.history import described, recorded
from calscipy.kernels import scan_phase as kernels
from calscipy.ops._frames import add_known, is_number, require_movie, require_same_times
from calscipy.ops._time import float_dtype
from calscipy.ops.rois import first_pixel

Fill = Literal["edge", "nan"]
MAX_SHIFT = 10  # pixels; a scanner that is further off is broken
LINES = 3


@recorded
def estimate_scan_phase(
    data: xr.DataArray, *, window: float | None = None, max_shift: int | None = None
) -> xr.DataArray:
    """Measure how far odd lines lie beside the even ones; this reads the movie at once.

    Meant for bidirectional scans, whose odd lines (1, 3, 5, ..., counted from 0 in the recording)
    are scanned backwards. Each is compared with the mean of the even lines before and after it.

    Parameters
    ----------
    data : DataArray
        Movie ``(frames [, channel] [, plane], y, x)``, of lines as recorded; the coordinate ``y``
        tells where a cropped one begins. All channels and planes of a frame count together: the
        scanner is the same. Frames that are not ``valid`` are left out.
    window : float, optional
        Length in s of the stretches of each epoch that get an offset of their own; a last one of
        less than half of the frames belongs to the one before. One offset for the recording by
        default.
    max_shift : int, optional
        Largest offset to look for, in pixels; 10 by default, or an eighth of the width of the
        movie if that is less.

    Returns
    -------
    DataArray
        ``scan_phase`` in pixels: one number, or with ``window`` one for each frame. Positive
        where the odd lines lie too far towards larger x. NaN where there is nothing to compare: no
        valid frame, or flat ones.

    Raises
    ------
    ArgumentError
        If the movie is too small for ``max_shift`` or binned along y, or a valid frame holds NaN.

    Notes
    -----
    The products of odd and even lines are summed over frames at every lag, and their peak is
    sought in the sum, from their slope, so that neither the noise of a frame nor what enters and
    leaves at the edges shifts it.

    Examples
    --------
    >>> import calscipy as cs
    >>> scene = np.random.default_rng(0).normal(size=(8, 1, 64)).cumsum(axis=-1)
    >>> frames = np.repeat(scene, 9, axis=1)
    >>> frames[:, 1::2] = np.roll(frames[:, 1::2], 2, axis=-1)
    >>> float(estimate_scan_phase(cs.from_numpy(frames, frame_rate=30)).round(1))
    2.0
    """
    verb = "estimate_scan_phase"
    require_movie(data, verb)
    first = _first_line(data, verb)
    limit = _limit(data, max_shift, first)
    windows = _windows(data, window, verb)
    movie = data.transpose(model.FRAMES, ..., model.Y, model.X)
    valid = model.valid_frames(movie)
    use = np.ones(movie.shape[:-2], bool) if valid is None else valid
    lags = 2 * (limit + kernels.TAPS) + 1
    sums = per_frame(
        movie.data,
        kernels.lag_products,
        use,
        dtype=np.dtype("f8"),
        tail=(3, lags),
        arguments={"max_shift": limit, "first": first},
        verb=verb,
    )
    sums = np.asarray(sums).reshape(len(use), -1, 3, lags).sum(axis=1)
    offsets = [kernels.offset_from_products(sums[part].sum(axis=0)) for part in windows]
    _report(offsets, limit, window is not None)
    along = {model.FRAMES} if window is not None else set()
    coords = {
        name: coord.variable
        for name, coord in data.coords.items()
        if set(coord.dims) <= along and name != model.SCAN_PHASE
    }
    if window is None:
        result = xr.DataArray(offsets[0], coords, name=model.SCAN_PHASE)
    else:
        values = np.empty(len(use))
        for part, offset in zip(windows, offsets, strict=True):
            values[part] = offset
        result = xr.DataArray(values, coords, (model.FRAMES,), name=model.SCAN_PHASE)
    long_name = "offset of the odd lines in pixels"
    return described(result, units="1", long_name=long_name, max_shift=limit)


@recorded
def correct_scan_phase(
    data: xr.DataArray,
    *,
    shift: float | xr.DataArray | None = None,
    window: float | None = None,
    fill: Fill = "edge",
) -> xr.DataArray:
    """Move the odd lines of a bidirectional scan back; without ``shift`` this reads the movie once.

    Lines 1, 3, 5, ..., counted from 0 in the recording, are moved along x; the others are copies.

    Parameters
    ----------
    data : DataArray
        Movie ``(frames [, channel] [, plane], y, x)``, of lines as recorded; the coordinate ``y``
        tells where a cropped one begins.
    shift : float or DataArray, optional
        Offset in pixels, one or one for each frame: from `estimate_scan_phase`, which is called
        if this is left out. Frames with NaN here are passed on as they are, and so are those that
        are not ``valid``.
    window : float, optional
        As in `estimate_scan_phase`; without ``shift`` alone.
    fill : {"edge", "nan"}, default "edge"
        What to put where a line does not reach: its last pixel, or NaN.

    Returns
    -------
    DataArray
        Same dims and units, float32 (float64 for float64 and for integers of over 16 bits). Lazy
        if ``data`` is. The same values whatever the chunks. The coordinate ``scan_phase`` holds
        how far odd lines were moved, 0 for frames passed on, added to what it held before.

    Raises
    ------
    ArgumentError
        If ``shift`` is of other frames, or comes with ``window``, or the movie is binned along y.

    Examples
    --------
    >>> import calscipy as cs
    >>> frames = np.tile([0.0, 1.0, 5.0, 2.0], (1, 3, 1))
    >>> frames[:, 1] = [0.0, 0.0, 1.0, 5.0]
    >>> correct_scan_phase(cs.from_numpy(frames, frame_rate=30), shift=1).values[0].tolist()
    [[0.0, 1.0, 5.0, 2.0], [0.0, 1.0, 5.0, 5.0], [0.0, 1.0, 5.0, 2.0]]
    """
    verb = "correct_scan_phase"
    require_movie(data, verb)
    if fill not in get_args(Fill):
        raise ArgumentError(f"{verb}(fill=) must be one of {get_args(Fill)}, got {fill!r}")
    first = _first_line(data, verb)
    used: dict[str, Any] = {}
    if shift is None:
        shift = estimate_scan_phase(data, window=window)
        used = {"shift": shift.values.tolist(), "max_shift": _limit(data, None, first)}
        if window is not None:
            starts = [part.start for part in _windows(data, window, verb)]
            used["shift"] = shift.values[starts].tolist()
    elif window is not None:
        raise ArgumentError(
            f"{verb}: window is how shift is estimated, so give one of them. For a shift that "
            "varies in time: shift=estimate_scan_phase(movie, window=10)."
        )
    offset = _offset(data, shift, verb)
    if model.valid_frames(data) is not None:
        valid = xr.Variable(data[model.VALID].dims, model.coordinate(data, model.VALID))
        offset = offset.where(valid.astype(bool))
    movie = data.transpose(model.FRAMES, ..., model.Y, model.X)
    leading = {dim: movie.sizes[dim] for dim in movie.dims[:-2]}
    each = offset.set_dims(leading).transpose(*leading).values
    dtype = float_dtype(data)
    arguments = {"dtype": dtype, "fill": fill, "first": first}
    moved = per_frame(
        movie.data, kernels.shift_odd_lines, each, dtype=dtype, arguments=arguments, verb=verb
    )
    result = movie.copy(data=moved).transpose(*data.dims)
    result = result.assign_coords({model.SCAN_PHASE: _total(data, offset)})
    name = data.attrs.get("long_name", "fluorescence")
    units = data.attrs.get("units", "1")
    long_name = f"{name}, scan phase corrected"
    if isinstance(shift, xr.DataArray) and not shift.dims:
        shift = float(shift)
    return described(result, units=units, long_name=long_name, **{"shift": shift, **used})


def _first_line(data: xr.DataArray, verb: str) -> int:
    """Return the number of the first line in the recording."""
    try:
        return first_pixel(data, model.Y, verb)
    except RoiError as error:
        raise ArgumentError(
            f"{verb} needs the lines as they were recorded, odd and even ones in turn, but the "
            "coordinate 'y' tells of others, or not of lines. Correct the scan phase first, then "
            "bin or select lines; or drop the coordinate if all lines are there: "
            "movie.drop_vars('y')."
        ) from error


def _limit(data: xr.DataArray, max_shift: int | None, first: int) -> int:
    """Return the largest offset to look for."""
    rows, columns = data.sizes[model.Y], data.sizes[model.X]
    most = kernels.largest_offset(columns)
    wanted = min(MAX_SHIFT, max(1, columns // 8)) if max_shift is None else max_shift
    least = LINES + first % 2  # an odd line between two even ones
    whole = is_number(wanted) and 1 <= wanted <= most and wanted == int(wanted)
    if rows < least or not whole:
        raise ArgumentError(
            f"estimate_scan_phase needs at least {least} lines, and max_shift a whole number from "
            f"1 to {most} in lines of {columns} pixels; got {rows} lines and max_shift={wanted!r}. "
            "Give another max_shift, or the offset itself: correct_scan_phase(shift=0.5)."
        )
    return int(wanted)


def _windows(data: xr.DataArray, window: float | None, verb: str) -> list[slice]:
    """Return the stretches of frames that share an offset."""
    if window is None:
        return [slice(0, data.sizes[model.FRAMES])]
    if not (is_number(window) and np.isfinite(window) and window > 0):
        raise ArgumentError(f"{verb} needs window > 0 in seconds, got {window!r}")
    times = model.seconds(data, verb)
    parts = []
    for epoch in model.epochs(data):
        if epoch.stop == epoch.start:
            continue
        # A frame on the border belongs to the window that begins there, whatever the rounding.
        number = np.floor((times[epoch] - times[epoch.start]) / window + 1e-6)
        edges = epoch.start + np.flatnonzero(np.diff(number, prepend=-1, append=np.inf))
        if len(edges) > 2 and 2 * (edges[-1] - edges[-2]) < edges[-2] - edges[-3]:
            edges = np.delete(edges, -2)
        parts += [slice(int(a), int(b)) for a, b in itertools.pairwise(edges)]
    return parts


def _report(offsets: list[float], limit: int, windows: bool) -> None:
    def named(numbers: list[int]) -> str:
        return first_few([f"window {number}" for number in numbers]) if windows else "the movie"

    at_limit = [at for at, offset in enumerate(offsets) if abs(offset) > limit - 0.5]
    if at_limit:
        warn(
            f"the scan phase of {named(at_limit)} lies at "
            f"max_shift={limit} pixels or beyond. Give a larger max_shift, or look at the movie.",
            CalscipyWarning,
        )
    unknown = [at for at, offset in enumerate(offsets) if np.isnan(offset)]
    if unknown:
        warn(
            f"no scan phase was found in {named(unknown)}: no valid frame, or nothing to see "
            "there. It is NaN, and lines stay as they are.",
            CalscipyWarning,
        )


def _offset(data: xr.DataArray, shift: Any, verb: str) -> xr.Variable:
    """Return the offset of every frame."""
    frames = data.sizes[model.FRAMES]
    if isinstance(shift, xr.DataArray) and shift.dims:
        if shift.dims != (model.FRAMES,) or shift.sizes[model.FRAMES] != frames:
            raise ArgumentError(
                f"{verb} needs one shift, or one for each of the {frames} frames, got "
                f"{dict(shift.sizes)}. Estimate it on this movie: estimate_scan_phase(movie)."
            )
        require_same_times(data, shift, verb)
    if isinstance(shift, xr.DataArray):  # small, and needed to build a graph
        shift = shift.compute(scheduler="synchronous")
    values = np.asarray(shift)
    # An estimate may be NaN; a number that was typed should be one.
    typed = values.ndim == 0 and not isinstance(shift, xr.DataArray)
    fits = values.dtype.kind in "iuf" and values.ndim <= 1 and values.size in (1, frames)
    if not fits or np.isinf(values).any() or (typed and np.isnan(values)):
        raise ArgumentError(
            f"{verb} needs a finite shift in pixels, one or one for each of the {frames} frames, "
            f"got {shift!r}."
        )
    return xr.Variable((model.FRAMES,), np.broadcast_to(values.reshape(-1), (frames,)).astype("f8"))


def _total(data: xr.DataArray, offset: xr.Variable) -> xr.Variable:
    """Return the coordinate: one number if all frames have the same."""
    total = add_known(data, model.SCAN_PHASE, offset.fillna(0))
    values = total.values
    attrs = {"units": "1", "long_name": "offset of the odd lines in pixels"}
    if values.size and (values == values.flat[0]).all():
        return xr.Variable((), values.flat[0], attrs)
    return xr.Variable(total.dims, values, attrs)
