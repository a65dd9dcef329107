"""Rigid motion: the shift of every frame, and moving frames back."""

from __future__ import annotations

from typing import Any, Literal, get_args

import dask
import numpy as np
import xarray as xr

from calscipy import model
from calscipy.blocks.per_frame import per_frame
from calscipy.errors import ArgumentError, CalscipyWarning, first_few, warn
from calscipy.history import ARGUMENTS, described, recorded
from calscipy.kernels import registration as kernels
from calscipy.kernels.interpolation import shift_frames
from calscipy.kernels.template import make_template
from calscipy.ops._frames import (
    add_known,
    is_number,
    require_movie,
    require_same_place,
    require_same_times,
)
from calscipy.ops._time import float_dtype

Fill = Literal["nan", "edge"]
Interpolation = Literal["cubic", "linear"]
CORRELATION, TEMPLATE = "correlation", "template"
MAX_SHIFT = 15
SAMPLE_RUNS, SAMPLE_LENGTH = 12, 8
LEAST_CORRELATION = 0.2  # shifts of pure noise have 0.1
SHIFT_ATTRS = {
    model.Y_SHIFT: {"units": "1", "long_name": "shift along y in pixels"},
    model.X_SHIFT: {"units": "1", "long_name": "shift along x in pixels"},
}


@recorded
def estimate_shifts(
    data: xr.DataArray,
    *,
    template: xr.DataArray | np.ndarray | None = None,
    channel: Any = None,
    max_shift: int | None = None,
    sigma: float = 1.0,
) -> xr.Dataset:
    """Measure how far every frame is from a template; this reads the movie at once.

    Parameters
    ----------
    data : DataArray
        Movie ``(frames [, channel] [, plane], y, x)``. Planes are aligned apart.
    template : DataArray or ndarray, optional
        Image ``([plane,] y, x)``; NaN pixels are left out. By default it is made from up to 12
        runs of 8 frames, spread evenly over the valid ones: the frame that is most like 20
        others is averaged with them, the sample is aligned to that, and its better half is
        averaged; this is done twice, and shifts are counted from their median.
    channel : str or number, optional
        Name of the channel to align by; needed if there are several.
    max_shift : int, optional
        Largest shift to look for, in pixels. 15 by default, or a sixth of the shorter side of the
        image if that is less. The search does not compare a margin of this and 4 more pixels of
        the template; the refinement of a frame that moved less compares more of it.
    sigma : float, default 1.0
        Standard deviation in pixels of the Gaussian that takes noise out of the template.

    Returns
    -------
    Dataset
        ``y_shift``, ``x_shift`` (pixels) and ``correlation`` with the template, each
        ``(frames [, plane])``, and ``template`` ``([plane,] y, x)``. The content of a frame is that
        of the template moved by ``(+y_shift, +x_shift)``; `apply_shifts` moves it back. NaN for
        frames that are not ``valid`` and for flat ones.

    Raises
    ------
    ArgumentError
        If the image is too small, the template does not fit or is flat, a valid frame holds NaN,
        or a plane has no valid frame.

    Notes
    -----
    The integer shift is the peak of the normalised cross-correlation of the frame clipped to the
    range of the template. Shift and brightness are then refined together, beside an uneven
    illumination that stays in place, by least squares in which pixels that fit badly, those of
    active cells above all, lose their weight (Tukey's biweight). With cells of 10 pixels on
    synthetic frames of 96 x 160 and 128 x 80, moved by up to 8 pixels, and their true template the
    error is about 0.02 pixels at 30 photons a pixel, and 0.05 to 0.07 at 3 (0.095 in the worst of
    20 scenes), 1.5 times the least that shot noise allows (Cramér-Rao) where frame and template
    overlap; cells that are active, 5 in 100 at a time and up to ten times brighter, add 0.01. At
    512 x 512 pixels and 3 photons it is 0.01. Stronger activity of a larger part of the image adds
    more, and so does a template from few frames with strong activity.

    Phase correlation with up-sampling (Guizar-Sicairos et al. 2008, doi:10.1364/OL.33.000156)
    gives all frequencies the same weight. Without a taper and smoothing its error on such frames
    is several times larger; with them it is about the same on images of much detail, several times
    larger on smooth ones, and 1.5 pixels where few cells were active at ten times their brightness.

    Examples
    --------
    >>> import calscipy as cs
    >>> y, x = np.mgrid[:48, :48]
    >>> still = np.exp(-((y - 20) ** 2 + (x - 26) ** 2) / 40)
    >>> frames = np.stack([still, np.roll(still, (2, -3), axis=(0, 1))])
    >>> shifts = estimate_shifts(cs.from_numpy(frames, frame_rate=30), template=still)
    >>> (shifts.y_shift.round(2) + 0.0).values.tolist(), shifts.x_shift.round(2).values[1].item()
    ([0.0, 2.0], -3.0)
    """
    verb = "estimate_shifts"
    require_movie(data, verb)
    movie = _one_channel(data, channel, verb).transpose(model.FRAMES, ..., model.Y, model.X)
    limit = _limit(movie, max_shift)
    if not (is_number(sigma) and np.isfinite(sigma) and sigma >= 0):
        raise ArgumentError(f"{verb} needs sigma >= 0 in pixels, got {sigma!r}")
    valid = model.valid_frames(movie)
    use = np.ones(movie.shape[:-2], bool) if valid is None else valid
    if template is None:
        images = _own_templates(movie, use, limit, sigma)
    else:
        images = _given_template(movie, template, verb)
    planes = images.reshape(-1, *images.shape[-2:])
    references = [kernels.reference(image, max_shift=limit, sigma=sigma) for image in planes]
    which = np.where(use, np.arange(len(planes)).reshape(use.shape[1:]), -1)
    found = _found(movie.data, which, references)
    _report(found, use, limit)
    return _dataset(movie, found, images, limit)


@recorded
def apply_shifts(
    data: xr.DataArray,
    shifts: xr.Dataset,
    *,
    fill: Fill = "nan",
    interpolation: Interpolation = "cubic",
) -> xr.DataArray:
    """Move every frame back by its shift.

    Parameters
    ----------
    data : DataArray
        Movie ``(frames [, channel] [, plane], y, x)``; all channels are moved.
    shifts : Dataset
        ``y_shift`` and ``x_shift`` in pixels along ``frames`` (and ``plane``, ``channel``), from
        `estimate_shifts`. Frames with NaN in one of them, in which there was nothing to align, are
        passed on as they are, and so are those that are not ``valid``.
    fill : {"nan", "edge"}, default "nan"
        What to put where a frame does not reach: NaN, or the nearest pixel of its edge.
    interpolation : {"cubic", "linear"}, default "cubic"
        Cubic convolution (Keys 1981, doi:10.1109/TASSP.1981.1163711) or linear. Shifts by whole
        pixels are exact copies either way.

    Returns
    -------
    DataArray
        Same dims and units, float32 (float64 for float64 and for integers of over 16 bits). Lazy
        if ``data`` is. The same values whatever the chunks. The coordinates ``y_shift`` and
        ``x_shift`` hold how far frames were moved, 0 for those passed on, added to what they
        held before.

    Raises
    ------
    ArgumentError
        If the shifts are of other frames or planes, or infinite.

    Examples
    --------
    >>> import calscipy as cs
    >>> movie = cs.from_numpy(np.arange(9.0).reshape(1, 3, 3), frame_rate=30)
    >>> y = xr.DataArray([1.0], dims="frames")
    >>> apply_shifts(movie, xr.Dataset({"y_shift": y, "x_shift": y - 1})).values[0].tolist()
    [[3.0, 4.0, 5.0], [6.0, 7.0, 8.0], [nan, nan, nan]]
    """
    verb = "apply_shifts"
    require_movie(data, verb)
    for name, value, known in (
        ("fill", fill, get_args(Fill)),
        ("interpolation", interpolation, get_args(Interpolation)),
    ):
        if value not in known:
            raise ArgumentError(f"{verb}({name}=) must be one of {known}, got {value!r}")
    moves = _moves(data, shifts, verb)
    movie = data.transpose(model.FRAMES, ..., model.Y, model.X)
    leading = {dim: movie.sizes[dim] for dim in movie.dims[:-2]}
    each = np.stack(
        [move.set_dims(leading).transpose(*leading).values for move in moves.values()], axis=-1
    )
    dtype = float_dtype(data)
    arguments = {"dtype": dtype, "fill": fill, "interpolation": interpolation}
    moved = per_frame(movie.data, shift_frames, each, dtype=dtype, arguments=arguments, verb=verb)
    result = movie.copy(data=moved).transpose(*data.dims)
    totals = {name: add_known(data, name, move.fillna(0)) for name, move in moves.items()}
    result = result.assign_coords(
        {name: (total.dims, total.values, SHIFT_ATTRS[name]) for name, total in totals.items()}
    )
    name = data.attrs.get("long_name", "fluorescence")
    units = data.attrs.get("units", "1")
    used: dict[str, Any] = {name: shifts[name] for name in moves}  # a Dataset by its arrays
    told = str(data.attrs.get("history", "")).split("\n")
    lines = [n for n in str(shifts.attrs.get("history", "")).split("\n") if n and n not in told]
    if lines:  # template, channel, max_shift and sigma are in these
        used["history"] = lines
    return described(result, units=units, long_name=f"{name}, motion corrected", shifts=used)


def _one_channel(data: xr.DataArray, channel: Any, verb: str) -> xr.DataArray:
    """Select the channel to align by."""
    names = (
        np.atleast_1d(data[model.CHANNEL].values).tolist() if model.CHANNEL in data.coords else []
    )
    if model.CHANNEL not in data.dims:
        if channel is not None and channel not in names:
            raise ArgumentError(
                f"{verb}: there is no channel {channel!r} in this movie of "
                f"{first_few(names) if names else 'one channel without a name'}. Leave it out."
            )
        return data
    names = names or list(range(data.sizes[model.CHANNEL]))
    if channel is None and len(names) == 1:
        return data.isel({model.CHANNEL: 0})
    if channel not in names:
        raise ArgumentError(
            f"{verb} needs the channel to align by, one of {names}, got {channel!r}. The shifts "
            f"fit all channels: {verb}(movie, channel={names[0]!r})."
        )
    return data.isel({model.CHANNEL: names.index(channel)})


def _limit(movie: xr.DataArray, max_shift: int | None) -> int:
    """Return the largest shift to look for."""
    shape = (movie.sizes[model.Y], movie.sizes[model.X])
    most = kernels.largest_shift(shape)
    wanted = min(MAX_SHIFT, max(1, min(shape) // 6), most) if max_shift is None else max_shift
    if not (is_number(wanted) and 1 <= wanted <= most and wanted == int(wanted)):
        raise ArgumentError(
            f"estimate_shifts needs max_shift as a whole number from 1 to {most} for an image of "
            f"{shape[0]} x {shape[1]} pixels, got {wanted!r}. Give another one, or a larger image."
        )
    return int(wanted)


def _own_templates(movie: xr.DataArray, use: np.ndarray, limit: int, sigma: float) -> np.ndarray:
    """Make the template of every plane from a sample of its valid frames."""
    if not use.any(axis=0).all() or not use.size:
        raise ArgumentError(
            "estimate_shifts needs at least one valid frame of every plane to make a template. "
            "Select the planes that were recorded, or give a template."
        )
    samples = []
    for plane in np.ndindex(*use.shape[1:]):
        frames = _spread(np.flatnonzero(use[(slice(None), *plane)]))
        samples.append(movie.data[(slice(None), *plane)][frames])
    images = [
        make_template(sample, max_shift=limit, sigma=sigma, align=_align)
        for sample in dask.compute(*samples)
    ]
    return np.reshape(images, (*use.shape[1:], *movie.shape[-2:]))


def _align(sample: np.ndarray, reference: kernels.Reference) -> np.ndarray:
    """Find the shifts of a sample in several threads."""
    return _found(sample, np.zeros(len(sample), np.int64), [reference])


def _found(data: Any, which: np.ndarray, references: list[kernels.Reference]) -> np.ndarray:
    """Find shifts and correlations, shape ``(frames, ..., 3)``."""
    found = per_frame(
        data,
        kernels.rigid_shifts,
        which,
        dtype=np.dtype("f8"),
        tail=(3,),
        shared=references,
        verb="estimate_shifts",
    )
    return np.asarray(found)


def _spread(frames: np.ndarray) -> np.ndarray:
    """Choose runs of neighbouring frames: few chunks are read for them."""
    if len(frames) <= SAMPLE_RUNS * SAMPLE_LENGTH:
        return frames
    starts = np.linspace(0, len(frames) - SAMPLE_LENGTH, SAMPLE_RUNS).round().astype(int)
    return frames[(starts[:, None] + np.arange(SAMPLE_LENGTH)).ravel()]


def _given_template(movie: xr.DataArray, template: Any, verb: str) -> np.ndarray:
    """Check a template and bring it into the order of the movie's planes."""
    dims, sizes = movie.dims[1:], movie.shape[1:]
    if isinstance(template, xr.DataArray):
        require_same_place(movie, template, verb)
        fits = set(template.dims) == set(dims)
        values = template.transpose(*dims).values if fits else template.values
        places = [str(dim) for dim in dims if dim in template.coords and dim in movie.coords]
        same = not fits or all(
            np.array_equal(model.coordinate(template, dim), model.coordinate(movie, dim))
            for dim in places
        )
    else:
        values, same, fits = np.asarray(template), True, True
    if not fits or values.shape != sizes or not same or values.dtype.kind not in "iuf":
        detail = (
            "has other coordinates"
            if fits and values.shape == sizes and not same
            else (f"is of shape {values.shape} and {values.dtype}")
        )
        raise ArgumentError(
            f"{verb} needs a template of numbers with the dimensions {dims} of sizes {sizes}, as "
            f"the movie has them; this one {detail}. Make it from the movie, for instance "
            "project(movie, reduce='mean')."
        )
    return values.astype(np.float64)


def _report(found: np.ndarray, use: np.ndarray, limit: int) -> None:
    at_limit = (np.abs(found[..., :2]) > limit - 0.5).any(axis=-1)
    if at_limit.any():
        frames = np.unique(np.nonzero(at_limit)[0])
        warn(
            f"the shifts of {len(frames)} frames lie at max_shift={limit} pixels or beyond (frames "
            f"{first_few(list(frames))}). Give a larger max_shift, or mask these frames.",
            CalscipyWarning,
        )
    unknown = np.isnan(found[..., 2]) & use
    if unknown.any():
        frames = np.unique(np.nonzero(unknown)[0])
        warn(
            f"{len(frames)} valid frames are flat, so they have no shift (frames "
            f"{first_few(list(frames))}). apply_shifts passes them on as they are.",
            CalscipyWarning,
        )
    known = found[..., 2][~np.isnan(found[..., 2])]
    if known.size and np.median(known) < LEAST_CORRELATION:
        warn(
            f"the frames resemble the template little (median correlation {np.median(known):.2f}), "
            "so the shifts may be noise. Look at them before they are applied, choose another "
            "channel, or average frames first: bin(movie, frames=4).",
            CalscipyWarning,
        )


def _dataset(movie: xr.DataArray, found: np.ndarray, images: np.ndarray, limit: int) -> xr.Dataset:
    """Label the results."""
    leading = movie.dims[:-2]
    variables = {
        model.Y_SHIFT: (leading, found[..., 0], SHIFT_ATTRS[model.Y_SHIFT]),
        model.X_SHIFT: (leading, found[..., 1], SHIFT_ATTRS[model.X_SHIFT]),
        CORRELATION: (
            leading,
            found[..., 2],
            {"units": "1", "long_name": "correlation with the template"},
        ),
        TEMPLATE: (
            movie.dims[1:],
            images,
            {"units": movie.attrs.get("units", "1"), "long_name": "template"},
        ),
    }
    coords = {name: coord.variable for name, coord in movie.coords.items() if name not in variables}
    return xr.Dataset(variables, coords, {ARGUMENTS: {"max_shift": limit}})


def _moves(data: xr.DataArray, shifts: xr.Dataset, verb: str) -> dict[str, xr.Variable]:
    """Check shifts against the movie and return them without labels.

    Both are NaN for the frames that are passed on.
    """
    wanted = {model.Y_SHIFT, model.X_SHIFT}
    if not isinstance(shifts, xr.Dataset) or not wanted <= set(shifts.variables):
        raise ArgumentError(
            f"{verb} needs a Dataset with {model.Y_SHIFT!r} and {model.X_SHIFT!r}, as "
            f"estimate_shifts returns it, got {type(shifts).__name__}."
        )
    require_same_times(data, shifts, verb)
    require_same_place(data, shifts, verb, ignore=(model.CHANNEL,))
    moves = {}
    for name in (model.Y_SHIFT, model.X_SHIFT):
        array = shifts[name]
        wrong = [dim for dim in array.dims if array.sizes[dim] != data.sizes.get(dim)]
        if wrong or model.FRAMES not in array.dims or {model.Y, model.X} & set(array.dims):
            raise ArgumentError(
                f"{verb} needs {name!r} along 'frames' (and planes or channels) of the movie of "
                f"{dict(data.sizes)}, got {dict(array.sizes)}. Estimate the shifts on this movie, "
                "or select the same frames of both."
            )
        for dim in array.dims:
            both = dim in array.coords and dim in data.coords
            if both and not np.array_equal(array[dim].values, data[dim].values):
                raise ArgumentError(
                    f"{verb}: the shifts have the {dim} {first_few(list(array[dim].values))}, the "
                    f"movie {first_few(list(data[dim].values))}. Select the same of both."
                )
        values = array.variable.compute(scheduler="synchronous").astype(np.float64)
        if np.isinf(values).any():
            raise ArgumentError(f"{verb} needs finite shifts, or NaN for none, got {name}=inf.")
        moves[name] = values
    known = moves[model.Y_SHIFT].notnull() & moves[model.X_SHIFT].notnull()
    if model.valid_frames(data) is not None:
        valid = xr.Variable(data[model.VALID].dims, model.coordinate(data, model.VALID))
        known = known & valid.astype(bool)
    return {name: move.where(known) for name, move in moves.items()}
