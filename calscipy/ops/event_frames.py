"""Events as lists of frames, and back."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import ArrayLike

from calscipy import model
from calscipy.errors import ArgumentError, DimensionError, first_few
from calscipy.history import append, described, history_line, recorded
from calscipy.ops._event_lists import FRAME, event_coords, list_events, require_events
from calscipy.ops._frames import is_number

VERB = "events_from_frames"


@recorded
def to_frames(data: xr.DataArray) -> xr.DataArray:
    """List the frames of all events; lazy events are computed.

    Parameters
    ----------
    data : DataArray
        Events, boolean ``(neuron, time)``.

    Returns
    -------
    DataArray
        Sample of each ``event``, from 0, int64, in the order of the neurons and times; with the
        coordinates ``neuron``, ``time`` (s) and whatever else the events tell of these. All
        frames of one neuron: ``frames[frames.neuron == 3]``. :func:`events_from_frames` is the
        way back.

    Examples
    --------
    >>> import calscipy as cs
    >>> raster = cs.from_numpy(np.arange(10).reshape(2, 5) % 4 == 0, frame_rate=2)
    >>> frames = to_frames(raster)
    >>> frames.values.tolist(), frames.neuron.values.tolist(), frames.time.values.tolist()
    ([0, 4, 3], [0, 0, 1], [0.0, 2.0, 1.5])
    """
    require_events(data, "to_frames")
    found = list_events(data)
    coords = event_coords(data, found.places)
    del coords[FRAME]  # the values
    frames = xr.DataArray(found.onset.astype(np.int64), coords, (model.EVENT,), "frames")
    return described(frames, units="1", long_name="sample of the onset")


def events_from_frames(
    frames: xr.DataArray | Sequence[ArrayLike],
    *,
    like: xr.DataArray | None = None,
    samples: int | None = None,
    frame_rate: float | None = None,
) -> xr.DataArray:
    """Make a raster of events from the frames in which they happen.

    Parameters
    ----------
    frames : DataArray or sequence
        Samples, from 0: an array along ``event`` with a coordinate ``neuron``, as
        :func:`to_frames` makes it, or for each neuron one list, which may be empty.
    like : DataArray, optional
        Traces or events whose neurons and times the raster is to have. Their values are not used.
    samples, frame_rate : int, float, optional
        Without ``like``: length of the raster, and samples in a second. Its neurons are then
        those of ``frames``, sorted, or those of the sequence, from 0.

    Returns
    -------
    DataArray
        Boolean ``(neuron, time)``, in the order of the dims of ``like``.

    Raises
    ------
    ArgumentError
        Naming the neurons, for frames that are no whole numbers, lie outside of the recording or
        come twice, and for neurons that ``like`` does not have.

    Examples
    --------
    >>> raster = events_from_frames([[1, 3], []], samples=4, frame_rate=2)
    >>> raster.values.astype(int).tolist(), raster.time.values.tolist()
    ([[0, 1, 0, 1], [0, 0, 0, 0]], [0.0, 0.5, 1.0, 1.5])
    >>> bool((events_from_frames(to_frames(raster), like=raster) == raster).all())
    True
    """
    if like is not None and not isinstance(like, xr.DataArray):
        raise ArgumentError(f"{VERB} needs like as a DataArray, got {type(like).__name__}")
    noted: dict[str, Any] = {"like": like, "samples": samples, "frame_rate": frame_rate}
    attrs: dict[Any, Any] = {}
    neurons = None
    if isinstance(frames, xr.DataArray):
        listed, attrs = frames, dict(frames.attrs)
        if listed.dims != (model.EVENT,):
            raise DimensionError(
                f"{VERB} needs frames along {model.EVENT!r}, as to_frames makes them, found "
                f"{listed.dims}. Give one list of frames for each neuron instead."
            )
    else:
        if not isinstance(frames, Sequence | np.ndarray) or isinstance(frames, str):
            raise ArgumentError(
                f"{VERB} needs frames as an array along {model.EVENT!r} or as one list for each "
                f"neuron, got {frames!r}"
            )
        listed = _joined(frames, like)
        neurons = np.arange(len(frames)) if like is None else _labels(like, model.NEURON)
        noted["frames"] = listed
    target = _target(listed, neurons, like, samples, frame_rate)
    leading = tuple(str(dim) for dim in target.dims if dim != model.TIME)
    at = _inside(listed, target.sizes[model.TIME])
    index = (*(_places(listed, target, dim) for dim in leading), at)
    shape = tuple(target.sizes[dim] for dim in (*leading, model.TIME))
    _require_once(listed, np.ravel_multi_index(index, shape))
    values = np.zeros(shape, dtype=bool)
    values[index] = True
    raster = xr.DataArray(values, target.coords, (*leading, model.TIME), model.EVENTS, attrs)
    history = append(attrs.get("history"), history_line(VERB, noted))
    raster = described(raster.transpose(*target.dims), units="1", long_name="event onsets")
    return raster.assign_attrs(history=history)


def _joined(frames: Sequence[ArrayLike], like: xr.DataArray | None) -> xr.DataArray:
    """Put the lists of all neurons behind each other."""
    lists = [np.asarray(some) for some in frames]
    flawed = [at for at, some in enumerate(lists) if some.ndim != 1]
    if flawed:
        raise ArgumentError(
            f"{VERB} needs one list of frames for each neuron, but those at places "
            f"{first_few(flawed, 10)} are none."
        )
    neurons = np.arange(len(lists))
    if like is not None:
        if set(like.dims) != {model.NEURON, model.TIME} or like.sizes[model.NEURON] != len(lists):
            raise ArgumentError(
                f"{VERB} was given {len(lists)} lists of frames, one for each neuron, but like= "
                f"has the sizes {dict(like.sizes)}. Give as many lists, empty ones too."
            )
        neurons = _labels(like, model.NEURON)
    filled = [some for some in lists if some.size] or [np.zeros(0, dtype=np.int64)]
    names = np.repeat(neurons, [some.size for some in lists])
    coords = {model.NEURON: (model.EVENT, names)}
    return xr.DataArray(np.concatenate(filled), coords, (model.EVENT,), "frames")


def _target(
    listed: xr.DataArray,
    neurons: np.ndarray | None,
    like: xr.DataArray | None,
    samples: int | None,
    frame_rate: float | None,
) -> xr.DataArray:
    """Return an array with the neurons and times of the result."""
    if like is not None:
        if samples is not None or frame_rate is not None:
            raise ArgumentError(
                f"{VERB} takes the times of like=; leave samples and frame_rate out, or like."
            )
        model.require_dims(like, (model.TIME,), VERB)
        return like
    if not (
        isinstance(samples, int | np.integer)
        and samples >= 0
        and is_number(frame_rate)
        and 0 < frame_rate < np.inf  # type: ignore[operator]
    ):
        raise ArgumentError(
            f"{VERB} needs like=, an array with the times of the raster, or samples= (a whole "
            f"number) and frame_rate= (in Hz), got {samples!r} and {frame_rate!r}"
        )
    if neurons is None:
        neurons = np.unique(_coordinate(listed, model.NEURON))
    attrs = {"units": "s", "long_name": "time since the first frame"}
    times = np.arange(samples) / float(frame_rate)  # type: ignore[arg-type]
    coords = {model.NEURON: neurons, model.TIME: (model.TIME, times, attrs)}
    shape = (len(neurons), int(samples))
    return xr.DataArray(np.broadcast_to(False, shape), coords, (model.NEURON, model.TIME))


def _labels(array: xr.DataArray, dim: str) -> np.ndarray:
    if dim in array.coords:
        return model.coordinate(array, dim)
    return np.arange(array.sizes[dim])


def _coordinate(listed: xr.DataArray, dim: str) -> np.ndarray:
    if dim not in listed.coords or listed[dim].dims != (model.EVENT,):
        raise ArgumentError(
            f"{VERB} needs a coordinate {dim!r} that tells whose events these are, found "
            f"{sorted(map(str, listed.coords))}. Add it, or give one list for each neuron."
        )
    return model.coordinate(listed, dim)


def _places(listed: xr.DataArray, target: xr.DataArray, dim: str) -> np.ndarray:
    """Return where along a dimension of the result each event goes."""
    labels, wanted = _labels(target, dim), _coordinate(listed, dim)
    if len(np.unique(labels)) < len(labels):
        raise ArgumentError(f"{VERB} cannot tell equal labels of {dim!r} in like= apart.")
    unknown = ~np.isin(wanted, labels)
    if unknown.any():
        raise ArgumentError(
            f"{VERB}: like= has no {dim} {first_few(np.unique(wanted[unknown]).tolist(), 10)}. "
            f"Leave their events out, or give an array that has them."
        )
    order = np.argsort(labels)
    return order[np.searchsorted(labels, wanted, sorter=order)]


def _inside(listed: xr.DataArray, samples: int) -> np.ndarray:
    """Return the frames as int64; whole numbers of any type are taken, and nothing else."""
    values = np.asarray(listed.values)
    if values.dtype.kind not in "iuf" and values.size:
        raise ArgumentError(f"{VERB} needs frames as whole numbers, got {values.dtype}")
    if values.dtype.kind == "f":
        flawed = ~np.isfinite(values) | (values != np.round(values))
        if flawed.any():
            raise ArgumentError(
                f"{VERB} needs whole numbers, but {_whose(listed, flawed)} have the frames "
                f"{first_few(values[flawed].tolist(), 5)}. For times in s, look up their samples "
                "first: numpy.searchsorted(data.time, times)."
            )
    outside = (values < 0) | (values >= samples)
    if outside.any():
        raise ArgumentError(
            f"{VERB}: {_whose(listed, outside)} have the frames "
            f"{first_few(values[outside].tolist(), 5)}, but the raster has frames from 0 to "
            f"{samples - 1}. Leave them out, or give a longer raster."
        )
    return values.astype(np.int64)


def _require_once(listed: xr.DataArray, place: np.ndarray) -> None:
    _, inverse, number = np.unique(place, return_inverse=True, return_counts=True)
    several = number[inverse] > 1
    if several.any():
        raise ArgumentError(
            f"{VERB}: {_whose(listed, several)} have several events in one frame "
            f"({first_few(np.unique(listed.values[several]).tolist(), 5)}), of which a raster "
            "would keep one. Drop them (numpy.unique of each neuron's frames)."
        )


def _whose(listed: xr.DataArray, events: np.ndarray) -> str:
    """Name the neurons of some events."""
    if model.NEURON not in listed.coords:
        return "events"
    return f"neurons {first_few(np.unique(listed[model.NEURON].values[events]).tolist(), 10)}"
