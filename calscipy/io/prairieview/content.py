"""What images a recording holds: from its master XML, or from file names where that is lost."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import tifffile

from calscipy import model
from calscipy.errors import ArgumentError, CalscipyWarning, RecordingError, first_few, warn
from calscipy.io.paths import local_path
from calscipy.io.prairieview import find_master, is_master
from calscipy.io.prairieview.dataset import open_tree
from calscipy.io.prairieview.frames import quiet_tifffile
from calscipy.io.prairieview.naming import FileName, list_images

_PROBES = 16  # files tried for the size of the images


@dataclass(frozen=True)
class Content:
    """The images of a recording.

    Attributes
    ----------
    channels : tuple of str
        Names.
    planes, frames : int
        Planes of a volume (1 for a plane series), and images or volumes in time.
    height, width : int
        Pixels.
    missing : int
        Images that belong to these frames, planes and channels and are not there or damaged.
    source : {"xml", "names"}
        Where this is from.
    """

    channels: tuple[str, ...]
    planes: int
    frames: int
    height: int
    width: int
    missing: int
    source: Literal["xml", "names"]


def imaging_content(path: str | os.PathLike[str], *, volumes: bool | None = None) -> Content:
    """Say what images a recording holds, as facts from its master XML.

    If the XML is lost, the names of the files stand in, with a warning.

    Parameters
    ----------
    path : path
        Folder of the recording, or its master XML.
    volumes : bool, optional
        Only for `content_from_names`.

    Returns
    -------
    Content
        Channels, planes, frames, height and width.

    Raises
    ------
    RecordingError
        If there are no images, or the XML cannot be read.

    Examples
    --------
    >>> import tempfile
    >>> from calscipy.testing import write_recording
    >>> truth = write_recording(tempfile.mkdtemp(), frames=5, shape=(8, 12), planes=2, neurons=1)
    >>> found = imaging_content(truth.folder)
    >>> found.channels, found.planes, found.frames, found.height, found.width
    (('Ch2',), 2, 5, 8, 12)
    """
    path = local_path(path)
    if path.is_dir() and not any(map(is_master, path.iterdir())):
        content = content_from_names(path, volumes=volumes)
        warn(
            f"{path}: the master XML is not in this folder; what it holds was taken from the names "
            "of its files. Copy the XML from the microscope for times, sizes and settings.",
            CalscipyWarning,
        )
        return content
    if volumes is not None:
        raise ArgumentError(
            f"{path}: volumes={volumes} was given, but the master XML is there and says so itself. "
            "Leave it out."
        )
    tree = open_tree(find_master(path))
    if model.MOVIE not in tree.children:
        found = first_few(list(tree.children)) or "nothing"
        raise RecordingError(
            f"{path}: the recording has no frames, but {found}. Open it with ImagingSession.open."
        )
    movie = tree[model.MOVIE].dataset[model.MOVIE]
    sizes = movie.sizes
    return Content(
        channels=tuple(str(name) for name in movie[model.CHANNEL].values.reshape(-1)),
        planes=sizes.get(model.PLANE, 1),
        frames=sizes[model.FRAMES],
        height=sizes[model.Y],
        width=sizes[model.X],
        missing=int((~movie[model.VALID].values).sum()),
        source="xml",
    )


def content_from_names(folder: str | os.PathLike[str], *, volumes: bool | None = None) -> Content:
    """Say what images a folder holds, from the names of its files alone.

    The size of the images, and of files with several pages how many, are read from the files.
    Numbers count up to the highest: images with lower ones that are not there are missing.

    Parameters
    ----------
    folder : path
        Where the images lie.
    volumes : bool, optional
        Whether the images of a cycle are planes of a volume or follow each other in time. Names do
        not tell: needed if there are several cycles of several images. One cycle is a plane series
        unless this is True. In a plane series, cycles without any file are not counted.

    Returns
    -------
    Content
        With channels named ``Ch1``, ``Ch2`` and so on.

    Raises
    ------
    RecordingError
        If there are no images, those of several recordings, or none that can be read.
    ArgumentError
        If ``volumes`` is needed.

    Examples
    --------
    >>> import tempfile
    >>> from calscipy.testing import write_recording
    >>> truth = write_recording(tempfile.mkdtemp(), frames=5, shape=(8, 12), planes=2, neurons=1)
    >>> truth.xml.unlink()
    >>> found = content_from_names(truth.folder, volumes=True)
    >>> found.channels, found.planes, found.frames, found.missing
    (('Ch2',), 2, 5, 0)
    """
    folder = Path(folder)
    images = list_images(folder)
    height, width, pages = _sizes(folder, images)
    lengths = _lengths(images, pages)
    longest = max(lengths.values())
    if volumes is None and len(lengths) > 1 and longest > 1:
        raise ArgumentError(
            f"{folder}: {len(lengths)} cycles of up to {longest} images; names do not tell whether "
            "those of a cycle are the planes of a volume. Give volumes=True or volumes=False."
        )
    channels = sorted({said.channel or 0 for said in images.values()})
    if volumes or (volumes is None and longest == 1):
        planes, frames = longest, max(lengths)
    else:
        planes, frames = 1, sum(lengths.values())
    return Content(
        channels=tuple(f"Ch{number}" for number in channels),
        planes=planes,
        frames=frames,
        height=height,
        width=width,
        missing=frames * planes * len(channels) - sum(pages.values()),
        source="names",
    )


def _lengths(images: Mapping[str, FileName], pages: Mapping[str, int]) -> dict[int, int]:
    """Return the images in one channel of each cycle, up to the last that is there."""
    several = any(count > 1 for count in pages.values())
    found: dict[tuple[int, int], int] = {}
    for name, said in images.items():
        key = said.cycle or 0, said.channel or 0
        before = found.get(key, 0)
        found[key] = before + pages[name] if several else max(before, said.index or 0)
    lengths: dict[int, int] = {}
    for (cycle, _), length in found.items():
        lengths[cycle] = max(length, lengths.get(cycle, 0))
    return lengths


def _sizes(folder: Path, images: Mapping[str, FileName]) -> tuple[int, int, dict[str, int]]:
    """Return height, width and the pages of each file, opening as few files as will do.

    A folder has either one page in every file or several in most; the largest file tells.
    """
    sizes = {name: (folder / name).stat().st_size for name in images}
    largest = sorted(sizes, key=lambda name: sizes[name], reverse=True)
    for name in largest[:_PROBES]:
        probed = _probe(folder / name)
        if probed is not None:
            break
    else:
        raise RecordingError(
            f"{folder}: none of its {len(images)} images can be read "
            f"({first_few(largest[:_PROBES])}). Copy them again."
        )
    height, width, count = probed
    least = 2 * height * width  # bytes: a smaller file was cut short
    if count == 1:
        return height, width, {name: int(sizes[name] >= least) for name in images}
    found = {name: _probe(folder / name) for name in images}
    return height, width, {name: 0 if one is None else one[2] for name, one in found.items()}


def _probe(path: Path) -> tuple[int, int, int] | None:
    """Return height, width and number of the pages of a file; None if it cannot be read."""
    try:
        with quiet_tifffile(), tifffile.TiffFile(path, is_ome=False) as file:
            height, width = file.pages[0].shape
            return int(height), int(width), len(file.pages)
    except Exception:  # tifffile raises many kinds on damaged files
        return None
