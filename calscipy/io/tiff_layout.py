"""Which page of TIFF files is which image of the movie."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from calscipy.errors import (
    ArgumentError,
    CalscipyWarning,
    DamagedRecordingWarning,
    RecordingError,
    warn,
)
from calscipy.io.tiff_hints import Hints, LayoutError, Part, counted, product
from calscipy.io.tiff_ome_pages import chosen_image, of_image, ome_files, ome_set
from calscipy.io.tiff_scanimage import SOURCE as SCANIMAGE
from calscipy.io.tiff_times import joined_times


@dataclass(frozen=True)
class Plan:
    """All pages with what the metadata say of them."""

    table: np.ndarray  # (frames, channels, planes), -1 where a page is missing
    hints: Hints
    channels: tuple[str | None, ...]
    times: np.ndarray | None  # s, (frames, planes)
    borders: np.ndarray  # frames with which another stretch of time begins

    @property
    def measured(self) -> np.ndarray | None:
        """When each frame began, in s."""
        return None if self.times is None else np.nanmin(self.times, axis=1)


def plan_pages(
    path: Path,
    files: Sequence[str],
    starts: np.ndarray,
    hints: Sequence[Hints],
    channels: tuple[str | None, ...] | None,
    planes: int | None,
    named_by_microscope: bool,
) -> Plan:
    """Sort the pages of all files.

    Parameters
    ----------
    path : Path
        What errors name.
    files : sequence of str
        Names of the files.
    starts : ndarray of int, shape (files + 1,)
        The first page of each, and the number of all pages.
    hints : sequence of Hints
        What is known of the files that were opened: all, or the first alone.
    channels : tuple of (str or None), optional
        Given names.
    planes : int, optional
        Given number.
    named_by_microscope : bool
        The names of the files are their order, whatever metadata say.

    Raises
    ------
    ArgumentError
        If the given numbers do not fit the pages.
    RecordingError
        If metadata contradict the pages.
    """
    first = hints[0]
    given = channels is not None or planes is not None
    try:
        parts, first = _stated(path, files, starts, hints, named_by_microscope)
    except LayoutError as error:
        if not given:
            raise RecordingError(
                f"{path}: {error}. Or give channels= and planes= to open the pages in the order of "
                "the files."
            ) from error
        warn(f"{path}: {error}. The given channels= and planes= are used.", CalscipyWarning)
        parts = None
    if parts and given and not _agree(path, first, parts[0].table.shape, channels, planes):
        parts = None
    if parts is None:
        names = channels or (None,)
        table = _plain(path, int(starts[-1]), len(names), planes or 1)
        if given and first.sizes and _slots(first) != len(names) * (planes or 1):
            first = replace(first, frame_rate=None)  # it is that of other frames
        return Plan(table, replace(first, flyback=0), names, None, np.zeros(0, int))
    shape = parts[0].table.shape[1:]
    other = next((part for part in parts if part.table.shape[1:] != shape), None)
    if other is not None:
        raise RecordingError(
            f"{path}: the {first.source} state {shape[0]} channels and {shape[1]} planes in one "
            f"file, {other.table.shape[1]} and {other.table.shape[2]} in another. Move them into "
            "folders of their own."
        )
    table = np.concatenate([part.table for part in parts])
    _warn_of_missing(path, table, first)
    times, borders = joined_times(path, parts, first)
    return Plan(table, first, _names(channels, first, shape[0]), times, borders)


def _slots(hints: Hints) -> int:
    """Return how many pages make one volume."""
    return hints.sizes.get("C", 1) * (hints.planes * hints.repeats + hints.flyback)


def _names(
    given: tuple[str | None, ...] | None, first: Hints, count: int
) -> tuple[str | None, ...]:
    if given is not None and any(name is not None for name in given):
        plain = tuple(f"Ch{at + 1}" for at in range(count))
        if given != plain or first.channels is None:
            return given
    if first.channels is not None and len(first.channels) == count:
        return first.channels
    return (None,) if count == 1 else tuple(f"Ch{at + 1}" for at in range(count))


def _agree(
    path: Path,
    first: Hints,
    shape: tuple[int, ...],
    channels: tuple[str | None, ...] | None,
    planes: int | None,
) -> bool:
    """Tell whether given numbers are those of the metadata; warn if they are not."""
    stated = {"channels": shape[1], "planes": shape[2]}
    asked = {"channels": None if channels is None else len(channels), "planes": planes}
    wrong = [key for key, value in asked.items() if value not in (None, stated[key])]
    if wrong and first.sure:
        said = " and ".join(f"{key}={value}" for key, value in stated.items())
        wanted = " and ".join(f"{key}={asked[key]}" for key in wrong)
        warn(
            f"{path}: the {first.source} state {said}, but {wanted} was given and is used. Pages "
            "then run through the channels first, then the planes, then the frames.",
            CalscipyWarning,
        )
    return not wrong


def _plain(path: Path, pages: int, channels: int, planes: int) -> np.ndarray:
    """Sort pages by given numbers: channels first, then planes, then frames."""
    frames, rest = divmod(pages, channels * planes)
    if rest or not frames:
        raise ArgumentError(
            f"{path}: {pages} pages are not a multiple of channels={channels} x planes={planes}: "
            f"{rest} {'page is' if rest == 1 else 'pages are'} left over. Give the numbers that "
            "the recording was made with; if it stopped within a frame, save it without them."
        )
    return np.arange(pages).reshape(frames, planes, channels).swapaxes(1, 2)


def _stated(
    path: Path,
    files: Sequence[str],
    starts: np.ndarray,
    hints: Sequence[Hints],
    named_by_microscope: bool,
) -> tuple[list[Part] | None, Hints]:
    """Sort pages by what metadata state; None if they state nothing."""
    first = hints[0]
    if named_by_microscope:
        return None, replace(first, sizes={}, channels=None)
    refusal = next((one.refusal for one in hints if one.refusal), "")
    if refusal:
        raise LayoutError(refusal)
    if first.source == SCANIMAGE:
        return [_scanimage(hints, int(starts[-1]))], first
    if first.images:
        home = first.home or files[0]
        image = chosen_image(first.images, files)
        others = [] if image is None else [n for n in image.files if n not in ("", home)]
        if len(files) > 1 and image is not None and others:
            return [ome_set(path, image, files, starts, home)], of_image(first, image)
        if image is not None and len(hints) == len(files):
            return ome_files(path, files, starts, hints)
        if image is None or product(image.sizes) > 1:
            described = "other files" if image is None else f"{product(image.sizes)} images"
            warn(
                f"{path}: the OME metadata of {home} describe {described}. The pages are opened "
                "in the order of the files.",
                CalscipyWarning,
            )
        return None, replace(first, sizes={}, channels=None)
    if not first.sizes or len(hints) < len(files):
        return None, first
    parts = []
    for at, of_file in enumerate(hints):
        count = int(starts[at + 1] - starts[at])
        if of_file.sizes and product(of_file.sizes) != count:
            raise LayoutError(
                f"the {of_file.source} of {files[at]} state {counted(of_file.sizes)}, the file "
                f"holds {count} pages. Copy it again"
            )
        sizes = of_file.sizes or {"C": 1, "Z": 1, "T": count}
        table = _in_order(sizes, of_file.order) + int(starts[at])
        parts.append(Part(table))
    return parts, first


def _in_order(sizes: dict[str, int], order: str) -> np.ndarray:
    """Return the number of each image, which run through the dimensions, the fastest first."""
    slowest_first = order[::-1]
    numbers = np.arange(product(sizes)).reshape([sizes[dim] for dim in slowest_first])
    return numbers.transpose([slowest_first.index(dim) for dim in "TCZ"])


# -- ScanImage ----------------------------------------------------------------------------


def _scanimage(hints: Sequence[Hints], pages: int) -> Part:
    """Sort pages by volume; the last one may be incomplete."""
    first = hints[0]
    channels, planes = first.sizes["C"], first.planes
    slots = planes * first.repeats + first.flyback  # images of one channel in a volume
    volumes = -(-pages // (slots * channels))
    if volumes * slots * channels > 4 * pages + 1024:
        raise LayoutError(
            f"the {first.source} state {channels} channels and {slots} images in a volume, the "
            f"recording has {pages} pages"
        )
    if any(
        (one.sizes, one.repeats, one.flyback) != (first.sizes, first.repeats, first.flyback)
        for one in hints
    ):
        raise LayoutError(
            "these are files of recordings with different numbers of channels or planes. Move "
            "those of one recording into a folder of their own"
        )
    slot = np.arange(planes)[:, None] * first.repeats + np.arange(first.repeats)
    number = np.arange(volumes)[:, None, None] * slots + slot  # (volumes, planes, repeats)
    number = number.swapaxes(1, 2).reshape(-1, 1, planes)
    table = number * channels + np.arange(channels)[:, None]
    table[table >= pages] = -1
    used = (table >= 0).any(axis=(1, 2))
    table, number = table[used], number[used]
    times, stretches = None, None
    stamps = [one.times for one in hints if one.times is not None]
    if sum(map(len, stamps)) == pages:  # every file was opened
        of_page = np.concatenate([*stamps, [np.nan]])[table]  # -1 is the last one
        known = np.isfinite(of_page)
        times = np.where(known, of_page, np.inf).min(axis=1)
        times[~known.any(axis=1)] = np.nan
        numbered = [one.stretches for one in hints if one.stretches is not None]
        stretches = np.concatenate(numbered)[table.reshape(len(table), -1).max(axis=1)]
    if times is None or not np.isfinite(times).any():
        times = number[:, 0, :] / first.page_rate if first.page_rate else None
    return Part(table, times, stretches)


def _warn_of_missing(path: Path, table: np.ndarray, first: Hints) -> None:
    missing = int((table < 0).sum())
    if missing:
        warn(
            f"{path}: {missing} of {table.size} images that the {first.source} state are not in "
            "the files. They read as 0 and are False in 'valid'.",
            DamagedRecordingWarning,
        )
