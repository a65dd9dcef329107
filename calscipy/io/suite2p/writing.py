"""Movies for suite2p: ``data.bin`` for each plane, with the settings that suite2p looks for."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import dask
import numpy as np
import xarray as xr

from calscipy import model
from calscipy.errors import ArgumentError, StoreError
from calscipy.history import append, history_line
from calscipy.io.chunks import frames_per_chunk
from calscipy.io.output import new_folder, progress_bar, require_space
from calscipy.io.paths import local_path
from calscipy.io.raw_blocks import RawBlocks
from calscipy.io.suite2p.folders import DATABASE, MOVIE, OPS, OTHER_MOVIE, SETTINGS, TOP
from calscipy.io.suite2p.labels import NAME as LABELS
from calscipy.io.suite2p.labels import export_text
from calscipy.io.suite2p.movie import DTYPE

BAD_FRAMES = "bad_frames.npy"  # frames that suite2p's registration and detection leave out
_LIMITS = np.iinfo(np.int16)
_CHANNELS = 2  # that suite2p can hold


def to_suite2p(
    data: xr.DataArray,
    folder: str | os.PathLike[str],
    *,
    functional_channel: Any = None,
    halve: bool = False,
    scale: float | None = None,
    settings: dict[str, Any] | None = None,
    progress: bool | None = None,
) -> Path:
    """Write a movie as suite2p's own binary files, ready for suite2p 0.14 and 1.x.

    Lazy movies are computed block by block, each block once. The folder appears under its name only
    when it is complete.

    Parameters
    ----------
    data : DataArray
        Movie ``(frames [, channel] [, plane], y, x)`` with a ``time`` coordinate and one or two
        channels.
    folder : path
        The folder that suite2p calls ``save_path0``. A new folder ``suite2p`` is made in it;
        it is made itself if need be.
    functional_channel : str or number, optional
        Name of the channel in which suite2p looks for ROIs; needed if there are two.
    halve : bool, default False
        Divide by two, rounded down, as suite2p itself does when it converts TIFF files of uint16.
    scale : float, optional
        Multiply by this and round to whole numbers; 1 only rounds.
    settings : dict, optional
        Settings of suite2p to store beside ``fs``, by its own names, such as ``{"tau": 0.7}``.
    progress : bool, optional
        Show a progress bar; the option ``progress`` by default.

    Returns
    -------
    Path
        The new folder ``suite2p``.

    Raises
    ------
    ArgumentError
        If values do not fit into int16, with their number and the largest one in the first such
        block; if there are more than two channels, or fractions and no ``scale``.
    TargetExistsError
        If there is a folder ``suite2p`` already.
    StoreError
        If it cannot be written, for instance on a full disk. Nothing is left behind.

    Notes
    -----
    suite2p takes one frame rate (the usual one) and no labels: times, names, um per pixel, history
    and further attributes lie beside the planes in ``calscipy.json``, from which
    `open_suite2p_movie` and ``session.attach`` take them. Frames that are not ``valid`` in any
    channel or plane are listed in ``bad_frames.npy``, which suite2p leaves out. suite2p overwrites
    ``data.bin`` with the registered movie.

    Run suite2p 1.x with ``suite2p.run_s2p(db={"save_path0": folder}, settings=settings)``, where
    ``settings["fs"]`` is the frame rate; 0.14 with
    ``suite2p.run_s2p(ops, {"save_path0": folder, "data_path": [str(folder) + "/suite2p"]})``, where
    ``ops`` has ``fs``, ``nplanes`` and ``nchannels``.

    Examples
    --------
    >>> import calscipy as cs
    >>> movie = cs.from_numpy(np.ones((3, 4, 5), "uint16"), frame_rate=30)
    >>> made = to_suite2p(movie, "mouse7", progress=False)
    >>> sorted(file.name for file in (made / "plane0").iterdir())
    ['data.bin', 'db.npy', 'ops.npy', 'settings.npy']
    """
    _require_movie(data)
    functional = _functional(data, functional_channel)
    _require_values(data, halve, scale)
    rate = model.frame_rate(data, "to_suite2p")
    target = _target(local_path(folder).absolute())
    movie = data.transpose(model.FRAMES, model.CHANNEL, model.PLANE, ..., missing_dims="ignore")
    made = not target.parent.exists()
    parent = target.parent.parent if made else target.parent
    if not parent.is_dir():
        raise StoreError(f"{parent}: there is no such folder to write into. Create it.")
    require_space(parent, data.size * np.dtype(DTYPE).itemsize)
    target.parent.mkdir(exist_ok=True)
    try:
        with new_folder(target) as temporary:
            means = _write_movie(movie, temporary, functional, halve, scale, progress)
            bad = _bad_frames(movie)
            if bad is not None:
                np.save(temporary / BAD_FRAMES, bad)
            _write_settings(movie, temporary, target, means, functional, rate, settings or {})
            text = export_text(_as_written(data, halve, scale), functional)
            (temporary / LABELS).write_text(text, encoding="utf-8")
    finally:
        if made and not target.exists():
            _remove_empty(target.parent)
    return target


def _require_movie(data: xr.DataArray) -> None:
    model.require_dims(data, (model.FRAMES, model.Y, model.X), "to_suite2p")
    others = set(data.dims) - set(model.MOVIE_DIMS)
    if others or not data.size:
        raise ArgumentError(
            f"to_suite2p writes movies {model.MOVIE_DIMS} with frames, found "
            f"{dict(data.sizes)}. Select what is to be written: data.isel(...)."
        )


def _functional(data: xr.DataArray, wanted: Any) -> int:
    """Return the place of the channel in which suite2p looks for ROIs."""
    count = data.sizes.get(model.CHANNEL, 1)
    if count > _CHANNELS:
        raise ArgumentError(
            f"to_suite2p: suite2p holds up to {_CHANNELS} channels, the movie has {count}. Select "
            "some: data.sel(channel=[...])."
        )
    named = model.CHANNEL in data.coords
    names = np.atleast_1d(data[model.CHANNEL].values).tolist() if named else []
    if wanted is None:
        if count == 1:
            return 0
        raise ArgumentError(
            f"to_suite2p: the movie has the channels {names or count}. Say in which suite2p is to "
            f"look for ROIs: functional_channel={names[0] if names else 0!r}."
        )
    if not names and model.CHANNEL in data.dims:
        names = list(range(count))
    if wanted not in names:
        raise ArgumentError(f"to_suite2p: no channel {wanted!r}; there are {names}.")
    return names.index(wanted)


def _require_values(data: xr.DataArray, halve: bool, scale: float | None) -> None:
    if data.dtype.kind not in "biuf":
        raise ArgumentError(f"to_suite2p needs real numbers, got an array of {data.dtype}.")
    if halve and scale is not None:
        raise ArgumentError("to_suite2p takes halve=True or scale=, not both.")
    if scale is not None and not (isinstance(scale, int | float) and 0 < scale < np.inf):
        raise ArgumentError(f"to_suite2p needs scale > 0, got {scale!r}.")
    if data.dtype.kind == "f" and scale is None:
        raise ArgumentError(
            f"to_suite2p: suite2p holds whole numbers (int16), the movie is of {data.dtype}. Round "
            "it on purpose: scale=1, or another factor that keeps enough of its fractions."
        )


def _target(folder: Path) -> Path:
    """Return the new folder ``suite2p``, in a folder whose own parent exists."""
    if folder.name == TOP:
        return folder
    if folder.exists() and not folder.is_dir():
        raise ArgumentError(f"{folder} is a file; to_suite2p needs the name of a folder.")
    return folder / TOP


def _remove_empty(folder: Path) -> None:
    try:
        folder.rmdir()
    except OSError:
        return  # somebody else has put something into it


def _write_movie(
    movie: xr.DataArray,
    folder: Path,
    functional: int,
    halve: bool,
    scale: float | None,
    progress: bool | None,
) -> np.ndarray:
    """Write the files; return the mean image of every channel and plane, in one pass."""
    variable: Any = movie.variable
    for dim in (model.CHANNEL, model.PLANE):
        if dim not in variable.dims:
            variable = variable.expand_dims(dim)
    variable = variable.transpose(*model.MOVIE_DIMS)
    frames, channels, planes, *image = variable.shape
    files = [[_path(folder, p, c == functional) for p in range(planes)] for c in range(channels)]
    for plane in range(planes):
        files[0][plane].parent.mkdir()
    shape = (frames, *image)
    targets = [[_allocated(file, shape) for file in row] for row in files]
    if variable.chunks is None:
        pixels = variable.nbytes // max(1, frames)
        variable = variable.chunk({model.FRAMES: frames_per_chunk(max(1, pixels), frames)})
    sums = variable.data.map_blocks(
        _write_block,
        targets=targets,
        halve=halve,
        scale=scale,
        dtype=np.float64,
        chunks=((1,) * len(variable.data.chunks[0]), *variable.data.chunks[1:]),
        meta=np.empty((0,) * 5),
    )
    with progress_bar(f"writing {folder.name}", show=progress):
        (total,) = dask.compute(sums.sum(axis=0))
    return np.asarray(total) / frames


def _path(folder: Path, plane: int, functional: bool) -> Path:
    return folder / f"plane{plane}" / (MOVIE if functional else OTHER_MOVIE)


def _allocated(file: Path, shape: tuple[int, ...]) -> RawBlocks:
    """Make a file of the right size, to be written in any order."""
    target = RawBlocks(file, 0, shape, np.dtype(DTYPE))
    with file.open("wb") as stream:
        stream.truncate(int(np.prod(shape, dtype=np.int64)) * np.dtype(DTYPE).itemsize)
    return target


def _write_block(
    block: np.ndarray,
    targets: Sequence[Sequence[RawBlocks]],
    halve: bool,
    scale: float | None,
    block_info: Any = None,
) -> np.ndarray:
    """Write one block where it belongs; return the sum of its frames."""
    places = block_info[0]["array-location"]
    values = _as_int16(_on_host(block), halve, scale, places[0])
    frames, channels, planes, rows, columns = (slice(*place) for place in places)
    for at, channel in enumerate(range(channels.start, channels.stop)):
        for to, plane in enumerate(range(planes.start, planes.stop)):
            targets[channel][plane][frames, rows, columns] = values[:, at, to]
    return values.sum(axis=0, keepdims=True, dtype=np.float64)


def _on_host(block: Any) -> np.ndarray:
    return np.asarray(block.get() if hasattr(block, "get") else block)


def _as_int16(
    values: np.ndarray, halve: bool, scale: float | None, frames: Sequence[int]
) -> np.ndarray:
    """Convert values; none of them changes but as it was asked for."""
    if halve:
        values = values // 2
    elif scale is not None:
        if not np.isfinite(values).all():
            count = values.size - np.isfinite(values).sum()
            raise ArgumentError(
                f"to_suite2p: {count} values in the frames {frames[0]} to {frames[1] - 1} are NaN "
                "or infinite, which int16 cannot hold. Fill them first: data.fillna(0)."
            )
        values = np.rint(values * np.float64(scale))
    fits = np.can_cast(values.dtype, np.int16) or not values.size
    if not fits and (values.max() > _LIMITS.max or values.min() < _LIMITS.min):
        odd = values[(values > _LIMITS.max) | (values < _LIMITS.min)]
        high = odd.max() > _LIMITS.max
        raise ArgumentError(
            f"to_suite2p: {odd.size} of {values.size} values in the frames {frames[0]} to "
            f"{frames[1] - 1} are beyond the {_LIMITS.min} to {_LIMITS.max} that suite2p's int16 "
            f"holds, the {'largest' if high else 'smallest'} is "
            f"{odd.max() if high else odd.min():g}. Give halve=True, as suite2p itself does with "
            "uint16, or scale=, or clip them first: data.clip(max=32767)."
        )
    return values.astype(np.int16)


def _bad_frames(movie: xr.DataArray) -> np.ndarray | None:
    """Return the frames that are not valid in some channel or plane, None if all are."""
    valid = model.valid_frames(movie)
    if valid is None:
        return None
    axis = [dim for dim in movie.dims if dim not in (model.Y, model.X)].index(model.FRAMES)
    return np.flatnonzero(~np.moveaxis(valid, axis, 0).reshape(valid.shape[axis], -1).all(axis=1))


def _write_settings(
    movie: xr.DataArray,
    temporary: Path,
    target: Path,
    means: np.ndarray,
    functional: int,
    rate: float,
    given: dict[str, Any],
) -> None:
    """Write what suite2p must know of each plane: 1.x reads db and settings, before that ops."""
    channels, planes = means.shape[:2]
    frames = movie.sizes[model.FRAMES]
    settings = {"fs": rate, **given}
    for plane in range(planes):
        place = target / f"plane{plane}"
        database: dict[str, Any] = {
            "data_path": [str(target)],  # where bad_frames.npy lies
            "save_path0": str(target.parent),
            "save_folder": target.name,
            "save_path": str(place),
            "fast_disk": str(place),
            "db_path": str(place / DATABASE),
            "settings_path": str(place / SETTINGS),
            "ops_path": str(place / OPS),
            "reg_file": str(place / MOVIE),
            "input_format": "binary",
            "file_list": [],
            "keep_movie_raw": False,
            "nplanes": planes,
            "nrois": 1,
            "nchannels": channels,
            "functional_chan": functional + 1,
            "iplane": plane,
            "ignore_flyback": None,
            "batch_size": 500,
            "dx": None,
            "dy": None,
            "Ly": movie.sizes[model.Y],
            "Lx": movie.sizes[model.X],
            "nframes": frames,
            "frames_per_file": np.array([frames]),
            "frames_per_folder": np.array([frames]),
            "first_files": np.array([True]),
            "meanImg": means[functional, plane].astype(np.float32),
        }
        if channels > 1:
            database["reg_file_chan2"] = str(place / OTHER_MOVIE)
            database["meanImg_chan2"] = means[1 - functional, plane].astype(np.float32)
        folder = temporary / place.name
        _save(folder / DATABASE, database)
        _save(folder / SETTINGS, settings)
        known = {name: value for name, value in database.items() if value is not None}
        _save(folder / OPS, known | settings)  # before 1.0, dx and dy are arrays or absent


def _save(file: Path, values: dict[str, Any]) -> None:
    np.save(file, np.array(values, dtype=object), allow_pickle=True)


def _as_written(data: xr.DataArray, halve: bool, scale: float | None) -> xr.DataArray:
    """Return an array with the labels of the files: other values are of int16 and say why."""
    if not halve and scale is None:
        return data
    changed = xr.DataArray(
        xr.Variable(data.dims, np.broadcast_to(np.int16(0), data.shape), data.attrs),
        data.coords,
        name=data.name,
    )
    arguments = {"halve": halve or None, "scale": scale}
    line = history_line("to_suite2p", arguments)
    return changed.assign_attrs(history=append(data.attrs.get("history"), line))
