"""Which page is which image by OME metadata, in one file or in a set of files."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from calscipy.errors import (
    CalscipyWarning,
    DamagedRecordingWarning,
    first_few,
    warn,
)
from calscipy.io.tiff_hints import Hints, LayoutError, Part, counted, is_bare
from calscipy.io.tiff_ome import Block, Image, channel_names, z_positions


def of_image(first: Hints, image: Image) -> Hints:
    """Take names and sizes from the image that is opened, not from the first one described."""
    return replace(
        first,
        frame_rate=1.0 / image.step if image.step and image.step > 0 else None,
        microns=image.microns,
        channels=channel_names(image),
        z=z_positions(image) if image.sizes["Z"] > 1 else None,
        sizes=dict(image.sizes),
        order=image.order,
        sure=True,
    )


def ome_set(path: Path, image: Image, files: Sequence[str], starts: np.ndarray, home: str) -> Part:
    """Sort the pages of several files that describe each other."""
    named = {name for name in image.files if name}
    unsafe = [name for name in sorted(named) if not is_bare(name)]
    if unsafe:
        raise LayoutError(
            f"the OME metadata name the file {first_few(unsafe)!r}; bare names in the folder alone "
            "are looked at. Put the files into one folder"
        )
    extra = [name for name in files if name not in named and name != home]
    if extra:
        raise LayoutError(
            f"the folder holds files that the OME metadata of {home} do not name "
            f"({first_few(extra)}), and lacks {len(named - set(files))} that they do. Give the "
            "files the names that they were written with, move others into a folder of their own"
        )
    own = files.index(home) if home in files else None
    return _ome_part(path, image, files, starts, own, dict(image.sizes))


def ome_files(
    path: Path, files: Sequence[str], starts: np.ndarray, hints: Sequence[Hints]
) -> tuple[list[Part] | None, Hints]:
    """Sort the pages of files that describe themselves, one after the other."""
    parts = []
    chosen = hints[0]
    for at, (file, of_file) in enumerate(zip(files, hints, strict=True)):
        image = chosen_image(of_file.images, [file])
        if image is None:
            raise LayoutError(f"the OME metadata of {file} do not describe it")
        if image is not of_file.images[0] or (chosen.sure and not of_file.sure):
            of_file = of_image(of_file, image)
        elsewhere = [name for name in image.files if name not in ("", file)]
        if elsewhere:
            warn(
                f"{path}: {file} is one of {len(elsewhere) + 1} files of a recording. Open a "
                "folder that holds all of them to have all of it.",
                CalscipyWarning,
            )
        piece = starts[at : at + 2] - starts[at]
        if elsewhere:
            part, of_file = _ome_piece(image, file, piece, of_file)
        else:
            part = _ome_part(path, image, [file], piece, 0, of_file.sizes)
        parts.append(replace(part, table=np.where(part.table < 0, -1, part.table + starts[at])))
        chosen = chosen if at else of_file
    return parts, chosen


def _ome_piece(image: Image, file: str, starts: np.ndarray, hints: Hints) -> tuple[Part, Hints]:
    """Sort the pages of one file of several: the channels, planes and frames that it holds."""
    places, pages = _placed(image, [file], starts, 0)
    deltas = _plane_times(image, int(places[:, 2].max()) + 1)
    kept = [np.unique(places[:, axis], return_inverse=True) for axis in range(3)]
    (channels, c), (planes, z), (frames, t) = kept
    table = _table((len(frames), len(channels), len(planes)), (t, c, z), pages)
    names, heights = hints.channels, hints.z
    hints = replace(
        hints,
        sizes={"C": len(channels), "Z": len(planes), "T": len(frames)},
        channels=names and tuple(names[n] for n in channels.tolist()),
        z=heights and tuple(heights[n] for n in planes.tolist()),
    )
    return Part(table, None if deltas is None else deltas[np.ix_(frames, planes)]), hints


def _ome_part(
    path: Path,
    image: Image,
    files: Sequence[str],
    starts: np.ndarray,
    own: int | None,
    sizes: dict[str, int],
) -> Part:
    """Sort the pages of one image that the files hold as a whole."""
    places, pages = _placed(image, files, starts, own)
    channels, planes, stated = (image.sizes[dim] for dim in "CZT")
    deltas = _plane_times(image, min(stated, int(places[:, 2].max()) + 1))
    if sizes["T"] == planes != stated:  # what is called planes are frames
        places, planes, stated = places[:, [0, 2, 1]], 1, planes
        deltas = None if deltas is None else deltas.T
    elif sizes["T"] == channels != stated:
        places, channels, stated, deltas = places[:, [2, 1, 0]], 1, channels, None
    frames = int(places[:, 2].max()) + 1
    table = _table((frames, channels, planes), places[:, [2, 0, 1]].T, pages)
    if frames < stated:
        warn(
            f"{path}: the OME metadata state {stated} frames, the files hold {frames}. The others "
            "were not recorded, or are lost.",
            DamagedRecordingWarning,
        )
    return Part(table, None if deltas is None else deltas[:frames])


def _placed(
    image: Image, files: Sequence[str], starts: np.ndarray, own: int | None
) -> tuple[np.ndarray, np.ndarray]:
    """Return C, Z and T of each page, all of which must be in the image."""
    places, pages = _page_table(image, files, starts, own)
    count = int(starts[-1])
    if len(pages) < count:
        raise LayoutError(
            f"its OME metadata place {len(pages)} of {count} pages in a movie of "
            f"{counted(image.sizes)}"
        )
    return places, pages


def _table(shape: tuple[int, int, int], places: Any, pages: np.ndarray) -> np.ndarray:
    """Put pages where they belong, -1 where there is none."""
    frames, channels, planes = shape
    if frames * channels * planes > 4 * len(pages) + 1024:
        raise LayoutError(
            f"its OME metadata state {frames} frames x {channels} channels x {planes} planes, "
            f"there are {len(pages)} pages"
        )
    table = np.full(shape, -1, np.int64)
    table[tuple(places)] = pages
    return table


def chosen_image(images: Sequence[Image], files: Sequence[str]) -> Image | None:
    """Return the image that the files hold.

    Raises
    ------
    LayoutError
        If they hold several.
    """
    here = set(files) | {""}
    held = [image for image in images if not image.blocks or here & set(image.files)]
    if len(held) > 1:
        raise LayoutError(
            f"its OME metadata describe {len(held)} images (positions, series) and a movie is one "
            "of them. Save them one by one"
        )
    return held[0] if held else None


def _page_table(
    image: Image, files: Sequence[str], starts: np.ndarray, own: int | None
) -> tuple[np.ndarray, np.ndarray]:
    """Find the image of the movie that each page is.

    Parameters
    ----------
    image : Image
        The movie.
    files : sequence of str
        Names of the files at hand.
    starts : ndarray of int, shape (files + 1,)
        The first page of each file, and the number of all pages.
    own : int or None
        Which file the metadata stand in, None for one without pages.

    Returns
    -------
    places : ndarray of int, shape (images, 3)
        C, Z and T.
    pages : ndarray of int, shape (images,)
        The page of each.

    Raises
    ------
    LayoutError
        If an image lies outside of the movie, or a page is two images or none.
    """
    number: dict[str, int] = {name: at for at, name in enumerate(files)}
    if own is not None:
        number[""] = own
    sizes = tuple(image.sizes[dim] for dim in "CZT")
    total = math.prod(sizes)
    if total >= 2**62:
        raise LayoutError(f"its OME metadata state a movie of {counted(image.sizes)}")
    steps, step = dict.fromkeys("CZT", 0), 1
    for dim in image.order:
        steps[dim], step = step, step * image.sizes[dim]
    runs: list[tuple[int, int, int]] = []
    for block in image.blocks or [Block("", 0, (0, 0, 0), None)]:
        if any(at >= size for at, size in zip(block.first, sizes, strict=True)):
            raise LayoutError(
                f"its OME metadata place a page at C, Z, T = {block.first} of a movie of {sizes}"
            )
        file = number.get(block.file)
        if file is None:
            continue
        begin = int(starts[file]) + block.page
        start = sum(at * steps[dim] for at, dim in zip(block.first, "CZT", strict=True))
        most = min(int(starts[file + 1]) - begin, total - start)
        if most > 0:
            runs.append((start, begin, most if block.count is None else min(block.count, most)))
    lengths = np.array([length for _, _, length in runs], np.int64)
    if lengths.sum() > starts[-1]:
        raise LayoutError("its OME metadata name some pages more than once")
    within = np.arange(lengths.sum()) - np.repeat(np.cumsum(lengths) - lengths, lengths)
    linear = np.repeat([start for start, _, _ in runs], lengths).astype(np.int64) + within
    pages = np.repeat([begin for _, begin, _ in runs], lengths).astype(np.int64) + within
    if len(np.unique(linear)) < len(linear) or len(np.unique(pages)) < len(pages):
        raise LayoutError("its OME metadata name some pages or images more than once")
    places = np.stack(
        [linear // steps[dim] % size for dim, size in zip("CZT", sizes, strict=True)], axis=1
    )
    return places, pages


def _plane_times(image: Image, frames: int) -> np.ndarray | None:
    """Return when each plane was taken, in s.

    Returns
    -------
    ndarray of float64, shape (frames, planes), or None
        The earliest time of its channels, NaN where none is stated; None if all are alike.
    """
    planes = image.sizes["Z"]
    if not image.deltas or frames * planes > 4 * len(image.deltas) + 1024:
        return None
    places = np.reshape(image.places, (-1, 3))
    deltas = np.array(image.deltas)
    keep = (places[:, 2] < frames) & (places[:, 1] < planes) & np.isfinite(deltas)
    table = np.full((frames, planes), np.inf)
    np.minimum.at(table, (places[keep, 2], places[keep, 1]), deltas[keep])
    table[np.isinf(table)] = np.nan
    known = table[np.isfinite(table)]
    if not known.size or (known.size > 1 and not np.ptp(known)):
        return None
    return table
