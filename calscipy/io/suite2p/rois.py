"""ROIs of suite2p, read without running any code that the file might hold."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from calscipy import model
from calscipy.errors import RecordingError, RoiError, first_few
from calscipy.io.paths import local_path
from calscipy.io.pickled import StoredArray, read_object_array
from calscipy.io.suite2p.folders import COMBINED, OPS, STAT, TOP, Folder, number_of, require_inside
from calscipy.io.suite2p.settings import PlaneSettings
from calscipy.kernels.rois import require_image_shape, require_pixels


def _restored(file: Path, value: Any, what: str) -> Any:
    """Return a value of a dictionary, an array if the file describes one."""
    if not isinstance(value, StoredArray):
        return value
    try:
        return value.array()
    except Exception as error:  # a damaged or hostile description raises anything
        raise RoiError(
            f"{file}: {what} is damaged ({error}). Write the file again with suite2p."
        ) from error


def _numbers(file: Path, at: int, entry: Mapping[str, Any], key: str) -> np.ndarray:
    """Return numbers of one ROI, of an array or a list."""
    value = _restored(file, entry[key], f"{key} of ROI {at}")
    if type(value) in (list, tuple) and all(type(n) in (bool, int, float) for n in value):
        value = np.array(value)  # a nested list could take forever
    if not isinstance(value, np.ndarray) or value.dtype.kind not in "biuf":
        raise RoiError(
            f"{file}: ROI {at} has {key} that are no array of numbers. Write the file again with "
            "suite2p."
        )
    return value.ravel()


def rois_from_suite2p(
    path: str | os.PathLike[str],
    *,
    overlap: bool = True,
    plane: int | None = None,
    neurons: Sequence[int] | np.ndarray | None = None,
    image_shape: tuple[int, int] | None = None,
) -> xr.DataArray:
    """Read ROIs from suite2p's ``stat.npy``.

    Parameters
    ----------
    path : path
        The file ``stat.npy``, its folder (``suite2p/plane0``), or the folder of all planes
        (``suite2p``). A plane without a ``stat.npy`` (such as a flyback plane) has no ROIs. The
        folder ``combined`` is refused: its pixels count in an image of all planes side by side.
    overlap : bool, default True
        Keep pixels that suite2p marks as shared between ROIs.
    plane : int, optional
        Plane of all ROIs of a ``stat.npy``; by default each ROI's ``iplane`` where the file has
        it, else the number in the name of its folder ``plane0``, ``plane1`` ...
    neurons : sequence of int, optional
        Take these ROIs only, for instance ``numpy.flatnonzero(iscell[:, 0])``.
    image_shape : (int, int), optional
        Rows and columns of the recording; by default from the ``ops.npy`` beside ``stat.npy``.

    Returns
    -------
    DataArray
        Weights (suite2p's ``lam``) along ``pixel``, with the coordinates ``neuron`` (the position
        in the file; over several planes the row in ``combined/F.npy``), ``y``, ``x`` and, where
        known, ``plane``.

    Raises
    ------
    RoiError
        If a file is not suite2p's, would run code, or has ROIs that are empty, outside of the
        image, or of negative weight.

    Examples
    --------
    >>> stat = [{"ypix": np.array([1, 2]), "xpix": np.array([3, 3]), "lam": np.array([1.0, 0.5])}]
    >>> np.save("stat.npy", np.array(stat, dtype=object), allow_pickle=True)
    >>> rois_from_suite2p("stat.npy").values.tolist()
    [1.0, 0.5]
    """
    if plane is not None and not _is_count(plane):
        raise RoiError(
            f"rois_from_suite2p: plane must be a whole number from 0 on, got {plane!r}. Leave it "
            "out to take the planes that the files name."
        )
    files = _stat_files(local_path(path))
    if plane is not None and len(files) > 1:
        raise RoiError(
            f"{path}: plane={plane} cannot be the plane of {len(files)} folders. Leave it out, or "
            "give the folder of one plane."
        )
    stats = [read_stat(file, overlap=overlap, plane=plane) for file in files]
    if image_shape is None:
        image_shape = _recorded_shape(files)
    else:
        image_shape = require_image_shape(image_shape, "rois_from_suite2p")
    return joined(path, stats, image_shape=image_shape, neurons=neurons, overlap=overlap)


@dataclass(frozen=True)
class Stat:
    """The ROIs of one plane."""

    file: Path
    entries: np.ndarray  # a dictionary for each ROI, as the file describes it
    pixels: list[tuple[np.ndarray, np.ndarray, np.ndarray]]  # y, x and weight of each ROI
    planes: np.ndarray | None  # plane of each ROI, None if nothing says which

    def numbers(self, at: int, key: str) -> np.ndarray:
        """Return numbers of one ROI, of an array or a list.

        Raises
        ------
        RoiError
            If they are none.
        """
        return _numbers(self.file, at, self.entries[at], key)


def read_stat(file: Path, *, overlap: bool = True, plane: int | None = None) -> Stat:
    """Read a ``stat.npy``.

    Raises
    ------
    RoiError
        If it is none.
    """
    entries = np.atleast_1d(read_object_array(file))
    most = file.stat().st_size  # an array that many ROIs share would fill the memory
    pixels = []
    for at, entry in enumerate(entries):
        pixels.append(_pixels(file, at, entry, overlap))
        most -= pixels[-1][0].size
        if most < 0:
            raise RoiError(f"{file}: more pixels than bytes. Write it again with suite2p.")
    return Stat(file, entries, pixels, _planes(file, entries, plane))


def joined(
    path: Any,
    stats: Sequence[Stat],
    *,
    image_shape: tuple[int, int] | None,
    neurons: Sequence[int] | np.ndarray | None = None,
    overlap: bool = True,
) -> xr.DataArray:
    """Join the ROIs of several planes in long form, numbered through.

    Raises
    ------
    RoiError
        If there are none, if some are empty, or their pixels make no sense.
    """
    parts = [part for stat in stats for part in stat.pixels]
    chosen = _chosen(path, len(parts), neurons)
    empty = [at for at in chosen if not parts[at][0].size]
    if empty:
        reason = "no pixel" if overlap else "no pixel without overlap"
        raise RoiError(
            f"{path}: {len(empty)} of {len(chosen)} ROIs have {reason} ({first_few(empty)}). Leave "
            f"them out with neurons={'' if overlap else ', or keep shared pixels: overlap=True'}."
        )
    neuron = np.repeat(chosen, [parts[at][0].size for at in chosen])
    y, x, weight = (np.concatenate([parts[at][i] for at in chosen]) for i in range(3))
    require_pixels(str(path), neuron, y, x, weight, image_shape=image_shape)
    planes = planes_of(stats)
    return model.rois_long_form(
        neuron,
        y,
        x,
        weight,
        image_shape=image_shape,
        plane=None if planes is None else planes[neuron],
    )


def planes_of(stats: Sequence[Stat]) -> np.ndarray | None:
    """Return the plane of every ROI, None unless all are known."""
    known = [stat.planes for stat in stats if stat.planes is not None]
    return np.concatenate(known) if known and len(known) == len(stats) else None


def _stat_files(path: Path) -> list[Path]:
    """Return the ``stat.npy`` of one plane, or of every plane in their order."""
    if path.is_dir() and not (path / STAT).is_file():
        folders = {number: f for f in path.iterdir() if (number := number_of(f)) is not None}
        files = [folders[number] / STAT for number in sorted(folders)]
        files = [file for file in files if file.is_file()]
        if not files and (path / TOP).is_dir():
            return _stat_files(path / TOP)
    else:
        files = [path / STAT if path.is_dir() else path]
    if not files or not files[0].is_file():
        raise RoiError(f"{path}: there is no such file; suite2p's stat.npy was expected.")
    if files[0].parent.name == COMBINED:
        raise RoiError(
            f"{path}: the ROIs in 'combined' count pixels in an image of all planes side by side, "
            f"not in the recording. Give the folder of the planes: {files[0].parent.parent}."
        )
    for file in files if path.is_dir() else ():
        require_inside(file, path, RoiError)
    return files


def _is_count(number: Any) -> bool:
    whole = isinstance(number, int | np.integer) and not isinstance(number, bool)
    return whole and 0 <= number < 2**31


def _planes(file: Path, stat: np.ndarray, plane: int | None) -> np.ndarray | None:
    """Return the plane of each ROI of one file, None if nothing says which."""
    if plane is None:
        planes = [entry.get("iplane") for entry in stat]
        known = sum(p is not None for p in planes)
        if 0 < known < len(planes):
            raise RoiError(
                f"{file}: some ROIs have an iplane and some have none. Give the plane of all with "
                "plane=, or write the file again with suite2p."
            )
        if known:
            wrong = [at for at, p in enumerate(planes) if not _is_count(p)]
            if wrong:
                raise RoiError(
                    f"{file}: {len(wrong)} ROIs have an iplane that is no whole number from 0 on "
                    f"({first_few(wrong)}). Give the plane of all with plane=."
                )
            return np.array(planes, np.int64)
        plane = number_of(file.absolute().parent)
    return None if plane is None else np.full(len(stat), plane)


def _recorded_shape(files: list[Path]) -> tuple[int, int] | None:
    """Return the rows and columns of the recording from the settings beside the ROIs."""
    shapes = set()
    for place in (file.parent for file in files):
        try:
            settings = PlaneSettings(Folder(place, {None: place}), place)
        except RecordingError as error:
            raise RoiError(str(error)) from error
        if settings.shape is not None:
            shapes.add(settings.shape)
        elif settings.values:
            raise RoiError(
                f"{place / OPS}: no size of the recording in it (Ly and Lx were expected). Give "
                "image_shape=(rows, columns)."
            )
    return one_shape(files[0].parent.parent, shapes)


def one_shape(where: Path, shapes: set[tuple[int, int]]) -> tuple[int, int] | None:
    """Return the size of the images of all planes, None if unknown.

    Raises
    ------
    RoiError
        If they differ.
    """
    if len(shapes) > 1:
        raise RoiError(
            f"{where}: planes of different sizes {sorted(shapes)}, which one movie cannot hold. "
            "Give the folder of one plane."
        )
    return next(iter(shapes), None)


def _chosen(path: Any, count: int, neurons: Any) -> list[int]:
    """Return the positions of the ROIs to take."""
    if not count:
        raise RoiError(f"{path}: there is no ROI in it.")
    if neurons is None:
        return list(range(count))
    wanted = np.asarray(neurons)
    fits = wanted.ndim == 1 and wanted.size and wanted.dtype.kind in "iu"
    if not fits or wanted.min() < 0 or wanted.max() >= count or len(set(wanted)) < wanted.size:
        raise RoiError(
            f"{path}: neurons= must name some of {count} ROIs by their positions from 0 on, each "
            f"once, got {neurons!r}. Positions of True are numpy.flatnonzero(mask)."
        )
    return [int(at) for at in wanted]


def _pixels(
    file: Path, at: int, entry: Any, overlap: bool
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    wanted = ("ypix", "xpix", "lam")
    if not isinstance(entry, Mapping) or any(key not in entry for key in wanted):
        raise RoiError(
            f"{file}: entry {at} is not a suite2p ROI (a dictionary with {', '.join(wanted)} was "
            "expected). Give the stat.npy of suite2p."
        )
    y, x, weight = (_numbers(file, at, entry, key) for key in wanted)
    if not y.size == x.size == weight.size:
        raise RoiError(f"{file}: ROI {at} has {y.size} ypix, {x.size} xpix and {weight.size} lam.")
    if y.dtype.kind not in "iu" or x.dtype.kind not in "iu" or not np.isfinite(weight).all():
        raise RoiError(
            f"{file}: ROI {at} has {y.dtype} ypix and {x.dtype} xpix, whole numbers and finite "
            "lam were expected. Write the file again with suite2p."
        )
    keep = np.ones(y.size, dtype=bool)
    if not overlap and "overlap" in entry:
        keep = ~_numbers(file, at, entry, "overlap").astype(bool)
        if keep.size != y.size:
            raise RoiError(f"{file}: ROI {at} has {y.size} ypix and {keep.size} overlap.")
    return y[keep], x[keep], weight[keep]
