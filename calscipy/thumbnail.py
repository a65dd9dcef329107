"""A small picture of a recording, if it costs nothing to speak of."""

from __future__ import annotations

import struct
import threading
import zlib
from typing import NamedTuple

import dask
import numpy as np
import xarray as xr

from calscipy import model

SIDE = 144  # pixels of the picture along its longer side
WAIT = 0.1  # s until a picture is given up
_MOST_BYTES = 2**27  # of the blocks that hold the image
_MOST_TASKS = 64  # that dask has to do for it

_busy = threading.Lock()  # held while a picture is made, also one that was given up


class Thumbnail(NamedTuple):
    """A picture.

    Attributes
    ----------
    png : bytes
        The file.
    width, height : int
        To be shown at, in pixels of the screen: the longer side is ``SIDE``.
    caption : str
        What it shows.
    """

    png: bytes
    width: int
    height: int
    caption: str


def thumbnail(tree: xr.DataTree, *, wait: float | None = None) -> Thumbnail | None:
    """Return a picture of a session, None if there is none to be had at once.

    An image that lies in the tree, such as a mean, is preferred, else the frame in the middle of
    the movie is shown. It is read in a thread that is not waited for longer than ``wait``: a file
    on a slow disk, a frame behind long computations or a file that is gone give no picture, and
    no error either.

    Parameters
    ----------
    tree : DataTree
        Of the session.
    wait : float, optional
        In s; ``WAIT`` by default.
    """
    # A picture that was given up is still being read: a second one would only take longer.
    if not _busy.acquire(blocking=False):
        return None
    made: list[Thumbnail] = []

    def make() -> None:
        try:
            found = _image(tree)
            if found is not None:
                made.append(_picture(*found))
        except Exception:
            # Whatever is wrong with the data, those who work with them will be told. A session
            # that cannot be shown at all would hide what can be said about it.
            made.clear()
        finally:
            _busy.release()

    thread = threading.Thread(target=make, name="calscipy thumbnail", daemon=True)
    thread.start()
    thread.join(WAIT if wait is None else wait)
    return made[0] if made else None


def _image(tree: xr.DataTree) -> tuple[xr.DataArray, str] | None:
    """Return an image that is cheap, and what it is; it is not read yet."""
    for found in (_stored(tree), _frame(tree)):
        if found is not None:
            whole, image, caption = found
            if _is_cheap(whole, image):
                return image, caption
    return None


def _stored(tree: xr.DataTree) -> tuple[xr.DataArray, xr.DataArray, str] | None:
    """Return an image that lies in the tree, a mean before others, as it is and of one plane."""
    images = [
        array
        for group in tree.children.values()
        for array in group.data_vars.values()
        if {model.Y, model.X} <= set(array.dims)
        and not {model.FRAMES, model.TIME, model.NEURON} & set(array.dims)
        and array.dtype.kind in "biuf"
    ]
    if not images:
        return None
    image = min(images, key=lambda array: "mean" not in str(array.name))
    one = _one(image)
    return image, one, f"{image.name}{_which(image, one)}"


def _frame(tree: xr.DataTree) -> tuple[xr.DataArray, xr.DataArray, str] | None:
    """Return the movie, its whole frame in the middle, and what that is."""
    if model.MOVIE not in tree.children or model.MOVIE not in tree[model.MOVIE].data_vars:
        return None
    movie = tree[model.MOVIE].to_dataset()[model.MOVIE]
    one = _one(movie)
    valid = model.valid_frames(one)
    whole = np.arange(one.sizes[model.FRAMES]) if valid is None else np.flatnonzero(valid)
    if not whole.size:
        return None
    number = int(whole[whole.size // 2])
    return movie, one.isel({model.FRAMES: number}), f"frame {number}{_which(movie, one)}"


def _one(data: xr.DataArray) -> xr.DataArray:
    """Select one channel and the middle plane."""
    others = {dim: 0 for dim in data.dims if dim not in (model.FRAMES, model.Y, model.X)}
    if model.PLANE in others:
        others[model.PLANE] = data.sizes[model.PLANE] // 2
    return data.isel(others)


def _which(whole: xr.DataArray, one: xr.DataArray) -> str:
    """Say which of several channels and planes is shown."""
    named = {model.CHANNEL: "", model.PLANE: "plane "}
    return "".join(
        f", {word}{one[dim].item() if dim in one.coords else 0}"
        for dim, word in named.items()
        if whole.sizes.get(dim, 1) > 1
    )


def _is_cheap(whole: xr.DataArray, image: xr.DataArray) -> bool:
    """Whether little has to be read and computed for an image, which is a part of an array."""
    if whole.chunks is None:
        return image.nbytes <= _MOST_BYTES
    held = whole.dtype.itemsize
    for dim, lengths in zip(whole.dims, whole.chunks, strict=True):
        held *= sum(lengths) if dim in (model.Y, model.X) else max(lengths)
    if held > _MOST_BYTES:
        return False
    (data,) = dask.optimize(image.data)
    return len(dict(data.__dask_graph__())) <= _MOST_TASKS


def _picture(image: xr.DataArray, caption: str) -> Thumbnail:
    """Read an image and draw it small and in grey."""
    # Here, as the figures import what shows sessions.
    from calscipy.plotting.interactive.frames import coarser
    from calscipy.plotting.style import contrast_limits

    # The scheduler is named in the call: dask's configuration is that of all threads.
    image = image.transpose(model.Y, model.X).compute(scheduler="synchronous")
    values = np.asarray(image.values)
    values = np.where(np.isfinite(values), values, np.nan)  # no inf - inf
    small = coarser(values, -(-max(values.shape) // SIDE)).astype(np.float64)
    low, high = contrast_limits(small)
    levels = np.where(np.isfinite(small), (small - low) * (255 / (high - low)), 0).clip(0, 255)
    steps = [model.pixel_size_um(image[dim]) if dim in image.coords else None
             for dim in (model.Y, model.X)]  # fmt: skip
    known = all(step is not None and 0 < step < np.inf for step in steps)
    tall, wide = np.array(values.shape) * (steps if known else (1.0, 1.0))
    share = SIDE / max(tall, wide)
    height, width = (max(1, round(side * share)) for side in (tall, wide))
    return Thumbnail(grey_png(np.rint(levels).astype(np.uint8)), width, height, caption)


def grey_png(image: np.ndarray) -> bytes:
    r"""Return a PNG of an image.

    Parameters
    ----------
    image : ndarray of uint8, shape (y, x)
        Brightness, 255 is white.

    Returns
    -------
    bytes
        The file (ISO/IEC 15948), of 8 bits without interlacing; no row is filtered.

    Examples
    --------
    >>> grey_png(np.zeros((2, 3), np.uint8))[:8]
    b'\x89PNG\r\n\x1a\n'
    """
    height, width = image.shape
    rows = np.zeros((height, width + 1), np.uint8)  # each begins with 0: not filtered
    rows[:, 1:] = image
    parts: dict[bytes, bytes] = {
        b"IHDR": struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0),
        b"IDAT": zlib.compress(rows.tobytes(), 9),
        b"IEND": b"",
    }
    return b"\x89PNG\r\n\x1a\n" + b"".join(_chunk(name, data) for name, data in parts.items())


def _chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
