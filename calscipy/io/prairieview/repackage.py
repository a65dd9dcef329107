"""A PrairieView folder as one stack: a BigTIFF file with OME metadata."""

from __future__ import annotations

import contextlib
import os
import uuid
from collections.abc import Iterator
from collections.abc import Sequence as Listing
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
import xarray as xr

from calscipy import model
from calscipy._version import __version__
from calscipy.errors import (
    ArgumentError,
    RecordingError,
    StoreError,
    TargetExistsError,
    TimeAxisError,
    first_few,
)
from calscipy.io.chunks import frames_per_chunk
from calscipy.io.output import require_free
from calscipy.io.paths import local_path
from calscipy.io.prairieview import find_master
from calscipy.io.prairieview.dataset import open_tree
from calscipy.io.prairieview.validity import Check

_SUFFIXES = (".tif", ".tiff")
_AXES = {model.FRAMES: "T", model.PLANE: "Z", model.CHANNEL: "C", model.Y: "Y", model.X: "X"}
_NAMED = 20  # missing images that the description names


def repackage(
    path: str | os.PathLike[str],
    out: str | os.PathLike[str],
    *,
    channel: str | None = None,
    plane: int | None = None,
    cycles: Listing[int] | None = None,
    check: Check = "sizes",
) -> Path:
    """Write the images of a PrairieView recording into one BigTIFF stack.

    The values stay as they are. Pages run through the channels first, then the planes, then time.
    The file states the size of pixels in um, the names of the channels, the time step in s, and
    the time of every image where they are not evenly spaced. Missing images are 0 and listed in
    the description. Written chunk by chunk, beside its final name until it is complete.

    Parameters
    ----------
    path : path
        Folder of the recording, or its master XML.
    out : path
        New file, ending in ``.tif`` or ``.tiff``.
    channel : str, optional
        Name of the only channel to write; all by default.
    plane : int, optional
        Number of the only plane to write, from 0 on; all by default.
    cycles : sequence of int, optional
        Cycles to write; all by default.
    check : {"sizes", "headers"}
        Whether to trust the sizes of files or to look into every one.

    Returns
    -------
    Path
        The file.

    Raises
    ------
    TargetExistsError
        If there is something at ``out``.
    ArgumentError
        If ``out`` is no TIFF name, or there is no such channel, plane or cycle.
    RecordingError
        If the recording has no frames, or cannot be read.
    StoreError
        If the file cannot be written; nothing of it is left then.

    Examples
    --------
    >>> import tempfile
    >>> from calscipy.testing import write_recording
    >>> truth = write_recording(tempfile.mkdtemp(), frames=5, channels=("Ch1", "Ch2"), neurons=1)
    >>> stack = repackage(truth.folder, "mouse.tif", channel="Ch2")
    >>> written = cs.ImagingSession.open(stack, frame_rate=30).movie
    >>> np.array_equal(written, cs.ImagingSession.open(truth.folder).movie.sel(channel="Ch2"))
    True
    """
    target = local_path(out)
    if target.suffix.lower() not in _SUFFIXES:
        raise ArgumentError(
            f"repackage: out must be the name of one file ending in {' or '.join(_SUFFIXES)}, "
            f"got {str(out)!r}. Give one name for each channel or plane to write them apart."
        )
    require_free(target)
    movie = _selected(local_path(path), channel, plane, cycles, check)
    with _stage(target) as stream, tifffile.TiffWriter(stream, bigtiff=True, ome=True) as writer:
        writer.write(
            _pages(movie),
            shape=tuple(movie.sizes.get(dim, 1) for dim in _AXES),
            dtype=movie.dtype,
            photometric="minisblack",
            software=f"calscipy {__version__}",
            metadata=_metadata(movie),
        )
    return target


def _selected(
    path: Path,
    channel: str | None,
    plane: int | None,
    cycles: Listing[int] | None,
    check: Check,
) -> xr.DataArray:
    """Open the movie, lazily, with time first, then planes, then channels."""
    xml = find_master(path)
    tree = open_tree(xml, cycles=cycles, check=check)
    if model.MOVIE not in tree.children:
        raise RecordingError(
            f"{xml}: the recording has no frames to make a stack of, but "
            f"{first_few(list(tree.children)) or 'nothing'}."
        )
    movie = tree[model.MOVIE].to_dataset()[model.MOVIE]
    if channel is not None:
        names = _channel_names(movie)
        if channel not in names:
            raise ArgumentError(
                f"repackage: channel must be one of {tuple(names)}, got {channel!r}."
            )
        if model.CHANNEL in movie.dims:
            movie = movie.isel({model.CHANNEL: names.index(channel)})
    if plane is not None:
        planes = movie.sizes.get(model.PLANE, 1)
        whole = isinstance(plane, int | np.integer) and not isinstance(plane, bool)
        if not whole or not 0 <= plane < planes:
            raise ArgumentError(
                f"repackage: plane must be a whole number from 0 to {planes - 1}, got {plane!r}."
            )
        if model.PLANE in movie.dims:
            movie = movie.isel({model.PLANE: plane})
    return movie.transpose(*(dim for dim in _AXES if dim in movie.dims))


def _channel_names(movie: xr.DataArray) -> list[str]:
    return [str(name) for name in movie[model.CHANNEL].values.reshape(-1)]


def _pages(movie: xr.DataArray) -> Iterator[np.ndarray]:
    """Read the movie a few frames at a time and give it page by page."""
    frame_bytes = movie.dtype.itemsize * movie[:1].size
    step = frames_per_chunk(frame_bytes, movie.sizes[model.FRAMES])
    for start in range(0, movie.sizes[model.FRAMES], step):
        part = movie.isel({model.FRAMES: slice(start, start + step)}).values
        yield from part.reshape(-1, *part.shape[-2:])


# -- what the file says --------------------------------------------------------------------


def _metadata(movie: xr.DataArray) -> dict[str, Any]:
    attrs = movie.attrs
    metadata: dict[str, Any] = {
        "axes": "".join(_AXES.values()),
        "Name": _printable(str(attrs[model.SOURCE_ATTR])),
        "Description": _printable(_description(movie)),
        "Channel": {"Name": [_printable(name) for name in _channel_names(movie)]},
    }
    if len(date := str(attrs.get("date", ""))) == len("2023-03-02T16:25:40"):
        metadata["AcquisitionDate"] = date
    for dim in (model.Y, model.X):
        size = model.pixel_size_um(movie[dim])
        if size is not None:
            metadata |= {f"PhysicalSize{_AXES[dim]}": size, f"PhysicalSize{_AXES[dim]}Unit": "µm"}
    return metadata | _spacing(movie) | _timing(movie)


def _printable(text: str) -> str:
    """Replace what XML cannot hold, such as control characters."""
    return "".join(letter if letter.isprintable() else "?" for letter in text)


def _spacing(movie: xr.DataArray) -> dict[str, Any]:
    """Return the distance of planes that are evenly spaced."""
    if model.PLANE not in movie.dims or movie.coords.get(model.Z) is None:
        return {}
    z = movie[model.Z]
    if z.dims != (model.PLANE,):
        return {}
    steps = np.abs(np.diff(z.values))
    if not np.isfinite(steps).all() or not steps.size or not np.ptp(steps) <= 1e-6 < steps[0]:
        return {}
    return {"PhysicalSizeZ": float(steps[0]), "PhysicalSizeZUnit": "µm"}


def _timing(movie: xr.DataArray) -> dict[str, Any]:
    """Return the step in time, and the time of every page where the step does not tell it."""
    found: dict[str, Any] = {}
    with contextlib.suppress(TimeAxisError):  # a single frame has no step
        found = {"TimeIncrement": 1.0 / model.frame_rate(movie), "TimeIncrementUnit": "s"}
    times = movie.coords.get(model.PLANE_TIME)
    if times is None:
        times = movie[model.TIME]
        try:
            model.regular_rate(movie, "repackage")
            even = len(model.epochs(movie)) == 1
        except TimeAxisError:
            even = False
        if even:
            return found
    leading = [dim for dim in movie.dims if dim not in (model.Y, model.X)]
    variable = times.variable.set_dims({dim: movie.sizes[dim] for dim in leading})
    seconds = variable.transpose(*leading).values.ravel()
    # XML Schema writes what is not a number as NaN: a plane that was not acquired has no time.
    texts = [repr(float(t)) if np.isfinite(t) else "NaN" for t in seconds]
    return found | {"Plane": {"DeltaT": texts, "DeltaTUnit": ["s"] * len(texts)}}


def _description(movie: xr.DataArray) -> str:
    text = [
        f"Repackaged by calscipy {__version__} from {movie.attrs[model.SOURCE_ATTR]}",
        f"PrairieView {movie.attrs.get('prairieview_version') or 'of unknown version'}",
    ]
    if model.PLANE not in movie.dims and model.PLANE in movie.coords:
        text.append(f"plane {int(movie[model.PLANE])}")
    missing = model.valid_frames(movie)
    if missing is not None:
        places = np.argwhere(~missing)
        dims = [str(dim) for dim in movie.dims if dim not in (model.Y, model.X)]
        named = [
            " ".join(f"{dim} {at}" for dim, at in zip(dims, place, strict=True))
            for place in places[:_NAMED].tolist()
        ]
        more = len(places) - len(named)
        text.append(
            f"{len(places)} images are missing and 0: {', '.join(named)}"
            + (f" and {more} more" if more else "")
        )
    return "; ".join(text) + "."


# -- the file ------------------------------------------------------------------------------


@contextlib.contextmanager
def _stage(target: Path) -> Iterator[Any]:
    """Give an open file that gets the name of the target when it is complete."""
    stage = target.with_name(f".{target.name}.{uuid.uuid4().hex[:12]}.partial")
    try:
        with stage.open("x+b") as stream:
            yield stream
            stream.flush()
            os.fsync(stream.fileno())
        _publish(stage, target)
    except OSError as error:
        if isinstance(error, RecordingError | StoreError):
            raise
        raise StoreError(
            f"{target}: the file could not be written ({error}). Nothing was left behind; free "
            "some space or choose a folder that can be written to."
        ) from error
    finally:
        stage.unlink(missing_ok=True)


def _publish(stage: Path, target: Path) -> None:
    """Give a file its name, over nothing that has come in the meantime."""
    try:
        os.link(stage, target)
    except FileExistsError:
        raise TargetExistsError(
            f"{target} has appeared meanwhile. calscipy never writes over anything."
        ) from None
    except OSError:  # a file system without links
        require_free(target)
        stage.rename(target)
