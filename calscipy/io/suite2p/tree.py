"""Everything in a folder of suite2p as the tree of a session."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import dask.array as da
import numpy as np
import xarray as xr

from calscipy import model
from calscipy.errors import CalscipyWarning, RecordingError, first_few, warn
from calscipy.io.npy import FileArray, lazy, numbers_in
from calscipy.io.suite2p.classes import read_classes
from calscipy.io.suite2p.folders import STAT, Folder, find_folder, is_movie
from calscipy.io.suite2p.labels import Export, read_export
from calscipy.io.suite2p.movie import (
    movie_files,
    movie_in,
    open_suite2p_movie,
    plane_coord,
    rate_of,
    time_axis,
    version_of,
)
from calscipy.io.suite2p.rois import Stat, joined, one_shape, planes_of, read_stat
from calscipy.io.suite2p.settings import BAD_FRAMES, PlaneSettings
from calscipy.io.suite2p.statistics import Statistics, meaning, read_statistics

PROGRAM_ATTR = "program"  # on what another program made
SETTINGS_ATTR = "suite2p"  # on the root: its settings, by plane
_TRACES = {
    "F": (model.TRACES, "count", "fluorescence of ROIs"),
    "Fneu": (model.NEUROPIL, "count", "fluorescence of the neuropil around ROIs"),
    "spks": (model.SPIKES, "1", "spikes, deconvolved by suite2p (arbitrary units)"),
    "F_chan2": ("traces_chan2", "count", "fluorescence of ROIs, other channel"),
    "Fneu_chan2": ("neuropil_chan2", "count", "fluorescence of the neuropil, other channel"),
}


@dataclass(frozen=True)
class _Plane:
    """One plane: its settings, ROIs and traces."""

    number: int | None
    place: Path
    settings: PlaneSettings
    stat: Stat | None
    traces: dict[str, FileArray]  # by the name of the file, each (neuron, time)

    @property
    def neurons(self) -> int:
        if self.stat is not None:
            return len(self.stat.entries)
        return next((array.shape[0] for array in self.traces.values()), 0)


def open_suite2p(
    path: str | os.PathLike[str], *, frame_rate: float | None = None, movie: bool = True
) -> xr.DataTree:
    """Open a folder of suite2p as the tree of a session; traces and movie are lazy.

    Parameters
    ----------
    path : path
        The folder ``suite2p``, the one above it, the folder of one plane, or a movie in it.
    frame_rate : float, optional
        Frames (volumes) in a second; by default what the settings say (``fs``). If both are known
        and differ, this one is used, with a warning.
    movie : bool, default True
        Open the registered movie too, where every plane has a ``data.bin``.

    Returns
    -------
    DataTree
        ``traces``: the variables ``traces`` (``F.npy``), ``neuropil`` (``Fneu.npy``), ``spikes``
        (``spks.npy``) and those of a second channel, ``(neuron, time)``, of all ROIs, cells or not.
        Coordinates along ``neuron``: ``iscell`` and ``iscell_probability``, ``redcell``, ``plane``,
        ``y`` and ``x`` of the weighted centre, and what ``stat.npy`` says of each ROI. ``rois``:
        the pixels in long form, weights are ``lam``; ``overlap`` and ``soma_crop`` along ``pixel``.
        ``images``: ``meanImg``, ``max_proj`` and the like, ``([plane,] y, x)``. ``registration``:
        ``y_shift``, ``x_shift``, ``correlation`` and ``badframes``, ``(frames [, plane])``, as
        `calscipy.apply_shifts` takes them. ``movie``: see `open_suite2p_movie`. The root's
        attribute ``suite2p`` holds the settings of each plane.

    Raises
    ------
    RecordingError
        If a file is missing, damaged, of another size than the others, leads out of the folder or
        would run code.
    RoiError
        If ROIs make no sense.
    ArgumentError
        If the frame rate is unknown.

    Notes
    -----
    Neurons are numbered through over the planes, as in suite2p's ``combined``. Traces of a plane of
    fewer frames than others are NaN at their end. When planes are scanned is not in these files:
    ``session.attach`` takes it from the recording. suite2p halves uint16 values of TIFF files. A
    folder that `to_suite2p` wrote gives back times, pixels and planes of the recording.

    Examples
    --------
    >>> plane = Path("suite2p/plane0")
    >>> plane.mkdir(parents=True)
    >>> roi = {"ypix": np.array([1, 2]), "xpix": np.array([3, 3]), "lam": np.array([1.0, 1.0])}
    >>> np.save(plane / "stat.npy", np.array([roi], dtype=object), allow_pickle=True)
    >>> np.save(plane / "F.npy", np.array([[5.0, 6.0]], "float32"))
    >>> tree = open_suite2p("suite2p", frame_rate=30)
    >>> tree["traces/traces"].values.tolist(), tree["traces/plane"].values.tolist()
    ([[5.0, 6.0]], [0])
    """
    place = Path(path)
    if is_movie(place):
        dataset = open_suite2p_movie(place, frame_rate=frame_rate, chunks=None).to_dataset()
        return xr.DataTree.from_dict({"/": _root(place.parent), model.MOVIE: dataset})
    folder = find_folder(place)
    planes = [_read_plane(folder, number, place) for number, place in folder.planes.items()]
    export = read_export(folder.top)
    groups: dict[str, xr.Dataset] = {}
    shape = one_shape(folder.root, {p.settings.shape for p in planes if p.settings.shape})
    settings = {plane.number: plane.settings for plane in planes}
    files = movie_files(folder) if movie else []
    opened = movie_in(folder, settings, files, frame_rate=frame_rate)
    if opened is not None:
        groups[model.MOVIE] = opened
    times = _times(folder, planes, export, opened, frame_rate)
    program = {PROGRAM_ATTR: " ".join(filter(None, ("suite2p", version_of(planes[0].settings))))}
    stats = [plane.stat for plane in planes if plane.stat is not None]
    if sum(len(stat.entries) for stat in stats):
        known = read_statistics(stats)
        groups[model.ROIS] = _rois(folder, stats, known, shape, export, program)
        _warn_of(folder, known)
    else:
        known = Statistics()
    groups |= _traces(folder, planes, known, groups.get(model.ROIS), times, program)
    groups |= _images(planes, shape, export, program)
    groups |= _registration(planes, times, program)
    groups |= {name: _in_planes(groups[name], export) for name in groups if name != model.MOVIE}
    state = {f"plane{p.number or 0}": p.settings.attrs() for p in planes}
    root = _root(folder.root).assign_attrs({SETTINGS_ATTR: state})
    return xr.DataTree.from_dict({"/": root, **groups})


def _root(folder: Path) -> xr.Dataset:
    source = {model.SOURCE_ATTR: folder.absolute().name}
    return xr.Dataset(attrs={model.SCHEMA_ATTR: model.SCHEMA_VERSION, **source})


def _read_plane(folder: Folder, number: int | None, place: Path) -> _Plane:
    """Read one plane; its traces must all have one row for each ROI and one length."""
    stat = folder.file(place, STAT)
    rois = None if stat is None else read_stat(stat)
    files = {name: folder.file(place, f"{name}.npy") for name in _TRACES}
    traces = {name: numbers_in(file) for name, file in files.items() if file is not None}
    shapes = {name: array.shape for name, array in traces.items()}
    wrong = [name for name, found in shapes.items() if len(found) != 2]
    if wrong or len(set(shapes.values())) > 1:
        raise RecordingError(
            f"{place}: the traces {shapes} should all have one row for each ROI and one column for "
            "each frame. Files of several runs were mixed: take those of one."
        )
    plane = _Plane(number, place, PlaneSettings(folder, place), rois, traces)
    rows = next(iter(shapes.values()), (plane.neurons,))[0]
    if rows != plane.neurons:
        raise RecordingError(
            f"{place}: stat.npy has {plane.neurons} ROIs and the traces {rows} rows. Files of "
            "several runs were mixed: take those of one."
        )
    return plane


def _times(
    folder: Folder,
    planes: Sequence[_Plane],
    export: Export | None,
    movie: xr.Dataset | None,
    frame_rate: float | None,
) -> xr.Variable | None:
    """Return the times of all frames along ``time``; None without frames."""
    counts = [array.shape[1] for plane in planes for array in plane.traces.values()]
    counts += [n for n in (plane.settings.count("nframes") for plane in planes) if n is not None]
    frames = max(counts, default=0)
    attrs = {"units": "s", "long_name": "time since the first frame"}
    if not frames:
        return None
    if movie is not None and movie.sizes[model.FRAMES] == frames:
        return xr.Variable(model.TIME, movie[model.TIME].values, attrs)
    exact = None if export is None else export.labels.coords.get(model.TIME)
    if frame_rate is None and exact is not None and exact.shape == (frames,):
        return xr.Variable(model.TIME, exact.values, attrs)
    rate = rate_of(folder.root, frame_rate, planes[0].settings.number("fs"))
    return time_axis(model.TIME, frames, rate)


def _rois(
    folder: Folder,
    stats: Sequence[Stat],
    known: Statistics,
    shape: tuple[int, int] | None,
    export: Export | None,
    program: Mapping[str, str],
) -> xr.Dataset:
    rois = joined(folder.root, stats, image_shape=shape)
    coords = {name: (model.PIXEL, values) for name, values in known.by_pixel.items()}
    rois = rois.assign_coords(coords).assign_attrs(program)
    for name in coords:
        rois[name].attrs = meaning(name)
    corner = None if export is None else export.corner
    if corner is not None:  # pixels count from the corner of the recording
        for dim, first in zip((model.Y, model.X), corner, strict=True):
            values = rois[dim].values + first
            rois = rois.assign_coords({dim: (model.PIXEL, values, rois[dim].attrs)})
        rois.attrs.pop(model.IMAGE_SHAPE_ATTR, None)  # that of a crop says nothing about it
    found = rois.to_dataset(name=model.ROIS)
    if known.neuropil is not None and shape is not None:
        neuron, flat = known.neuropil
        if flat.size and (flat.min() < 0 or flat.max() >= math.prod(shape)):
            raise RecordingError(
                f"{folder.root}: neuropil masks reach out of images of {shape}. Take the stat.npy "
                "and the settings of one run."
            )
        rows, columns = np.unravel_index(flat, shape)
        above, left = corner or (0, 0)
        found[model.NEUROPIL_NEURON] = (model.NEUROPIL_PIXEL, neuron)
        found["neuropil_y"] = (model.NEUROPIL_PIXEL, rows + above)
        found["neuropil_x"] = (model.NEUROPIL_PIXEL, columns + left)
    return found


def _traces(
    folder: Folder,
    planes: Sequence[_Plane],
    known: Statistics,
    rois: xr.Dataset | None,
    times: xr.Variable | None,
    program: Mapping[str, str],
) -> dict[str, xr.Dataset]:
    """Join the traces of all planes, one neuron after the other."""
    with_rois = [plane for plane in planes if plane.neurons]
    names = {name: None for plane in with_rois for name in plane.traces}
    for name in names:
        missing = [str(plane.place) for plane in with_rois if name not in plane.traces]
        if missing:
            raise RecordingError(
                f"{folder.root}: other planes have {name}.npy, but not {first_few(missing)}. Copy "
                "it, or open the planes one by one."
            )
    if not names or times is None:
        return {}
    variables = {}
    for name in names:
        ours, units, long_name = _TRACES[name]
        joint = _joined_traces([plane.traces[name] for plane in with_rois], times.size)
        variables[ours] = joint.copy(deep=False)
        variables[ours].attrs = {"units": units, "long_name": long_name, **program}
    coords = _neuron_coords(folder, with_rois, known, rois)
    coords[model.TIME] = times
    return {model.TRACES: xr.Dataset(variables, coords)}


def _joined_traces(files: Sequence[FileArray], frames: int) -> xr.Variable:
    parts = [lazy(file, (model.NEURON, model.TIME)).data for file in files]
    for at, part in enumerate(parts):
        if part.shape[1] < frames:
            lacks = (part.shape[0], frames - part.shape[1])
            chunks = (part.chunks[0], (lacks[1],))
            rest = da.full(lacks, np.nan, np.result_type(part.dtype, np.float32), chunks=chunks)
            parts[at] = da.concatenate([part, rest], axis=1).rechunk({1: -1})
    return xr.Variable((model.NEURON, model.TIME), da.concatenate(parts))


def _neuron_coords(
    folder: Folder, planes: Sequence[_Plane], known: Statistics, rois: xr.Dataset | None
) -> dict[str, Any]:
    count = sum(plane.neurons for plane in planes)
    coords: dict[str, Any] = {
        model.NEURON: (model.NEURON, np.arange(count), {"long_name": "neuron"})
    }
    for name, values in known.by_neuron.items():
        coords[name] = (model.NEURON, values, meaning(name))
    of_rois = planes_of([plane.stat for plane in planes if plane.stat is not None])
    numbers = [plane.number for plane in planes if plane.number is not None]
    if of_rois is None and len(numbers) == len(planes):
        of_rois = np.repeat(numbers, [plane.neurons for plane in planes])
    if of_rois is not None:
        coords[model.PLANE] = (model.NEURON, of_rois)
    if rois is not None:
        weight = rois[model.ROIS].values
        total = np.bincount(rois[model.NEURON], weight, count)
        for dim in (model.Y, model.X):
            centre = np.bincount(rois[model.NEURON], weight * rois[dim].values, count) / total
            attrs = {"units": "1", "long_name": f"{dim} of the centre"}
            coords[dim] = (model.NEURON, centre, attrs)
    counts = {plane.place: plane.neurons for plane in planes}
    return coords | read_classes(folder, counts)


def _images(
    planes: Sequence[_Plane],
    shape: tuple[int, int] | None,
    export: Export | None,
    program: Mapping[str, str],
) -> dict[str, xr.Dataset]:
    if shape is None:
        return {}
    found = [plane.settings.images() for plane in planes]
    nothing = np.full(shape, np.nan, np.float32)
    variables = {}
    for name in {name: None for images in found for name in images}:
        stack = np.stack([images.get(name, nothing) for images in found])
        attrs = {"units": "1", "long_name": name, **program}
        dims = (model.PLANE, model.Y, model.X)
        variables[name] = xr.Variable(dims, stack, attrs)
        if len(planes) == 1:
            variables[name] = variables[name].isel({model.PLANE: 0})
    coords: dict[str, Any] = {}
    for dim, size in zip((model.Y, model.X), shape, strict=True):
        stated = None if export is None else export.labels.coords.get(dim)
        fits = stated is not None and stated.shape == (size,)
        coords[dim] = stated if fits else model.pixel_coordinate(dim, size, None)
    coords |= plane_coord({plane.number: plane.settings for plane in planes})
    return {model.IMAGES: xr.Dataset(variables, coords)} if variables else {}


def _registration(
    planes: Sequence[_Plane], times: xr.Variable | None, program: Mapping[str, str]
) -> dict[str, xr.Dataset]:
    """Collect what registration found for each frame, NaN or False where a plane lacks it."""
    if times is None:
        return {}
    found = [plane.settings.registration() for plane in planes]
    variables = {}
    for name in {name: None for values in found for name in values}:
        flags = name == BAD_FRAMES
        table = np.full((times.size, len(planes)), False if flags else np.nan)
        for at, values in enumerate(found):
            part = values.get(name, table[:0, at])[: times.size]
            table[: part.size, at] = part
        variables[name] = xr.Variable((model.FRAMES, model.PLANE), table, dict(program))
        if len(planes) == 1:
            variables[name] = variables[name].isel({model.PLANE: 0})
    coords: dict[str, Any] = {model.TIME: (model.FRAMES, times.values, times.attrs)}
    coords |= plane_coord({plane.number: plane.settings for plane in planes})
    return {model.REGISTRATION: xr.Dataset(variables, coords)} if variables else {}


def _in_planes(dataset: xr.Dataset, export: Export | None) -> xr.Dataset:
    """Give planes the names that they have in the movie that calscipy wrote."""
    if export is None or model.PLANE not in dataset.coords:
        return dataset
    plane = dataset[model.PLANE]
    numbers = plane.values.ravel().tolist()
    names = {number: export.name_of(model.PLANE, number) for number in set(numbers)}
    if None in names.values():
        return dataset
    named = np.array([names[number] for number in numbers]).reshape(plane.shape)
    return dataset.assign_coords({model.PLANE: (plane.dims, named)})


def _warn_of(folder: Folder, known: Statistics) -> None:
    if known.left_out:
        warn(
            f"{folder.root}: stat.npy has values that fit no table and were left out: "
            f"{first_few(sorted(known.left_out), 10)}.",
            CalscipyWarning,
        )
