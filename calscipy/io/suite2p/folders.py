"""Where the files of suite2p lie: a folder ``suite2p`` with a folder for every plane."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from calscipy.errors import CalscipyError, RecordingError

STAT, OPS, DATABASE, SETTINGS = "stat.npy", "ops.npy", "db.npy", "settings.npy"
MOVIE, OTHER_MOVIE = "data.bin", "data_chan2.bin"
TOP, COMBINED = "suite2p", "combined"
_OF_PLANES = (STAT, OPS, DATABASE, "F.npy", MOVIE)  # a folder of a plane has one of these


@dataclass(frozen=True)
class Folder:
    """A folder of planes, or of one plane.

    ``root`` is what nothing may lead out of; ``planes`` are the folders of the planes, by number
    (None for a folder that is not named after one), in their order.
    """

    root: Path
    planes: dict[int | None, Path]

    @property
    def top(self) -> Path:
        """The folder of all planes."""
        first = next(iter(self.planes.values()))
        return first.parent if first == self.root else self.root

    @property
    def whole(self) -> bool:
        """Whether this is the folder of all planes, not that of one."""
        return self.root not in self.planes.values()

    def file(self, place: Path, name: str) -> Path | None:
        """Return a file in one of the folders, None if there is none.

        Raises
        ------
        RecordingError
            If it leads out of the folder that was named.
        """
        path = place / name
        require_inside(path, self.root, RecordingError)
        return path if path.is_file() else None


def is_suite2p(path: Path) -> bool:
    """Tell whether a path is one of suite2p's, by the files there.

    It is the folder of a plane, or of all planes, or it has one named ``suite2p`` and nothing else:
    a recording beside which suite2p has written its results is still a recording. Or it is a movie
    (``data.bin``, ``data_raw.bin``) in the folder of a plane.
    """
    if not path.is_dir():
        settings = [path.with_name(name) for name in (OPS, DATABASE)]
        return is_movie(path) and any(file.is_file() for file in settings)
    if _plane_folders(path) or (path / COMBINED / STAT).is_file() or _is_plane(path):
        return True
    others = [entry for entry in path.iterdir() if not entry.name.startswith(".")]
    return [entry.name for entry in others] == [TOP] and bool(_plane_folders(path / TOP))


def is_movie(path: Path) -> bool:
    """Tell whether a file is named as suite2p names movies."""
    return path.suffix == ".bin" and path.name.startswith("data") and path.is_file()


def find_folder(path: Path) -> Folder:
    """Return the planes that a folder holds.

    Raises
    ------
    RecordingError
        If it is none of suite2p's.
    """
    if not path.is_dir():
        raise RecordingError(f"{path}: there is no such folder; suite2p's was expected.")
    place = path.absolute()
    if place.name == COMBINED:
        raise RecordingError(
            f"{path}: 'combined' shows all planes side by side, not as they were recorded. Give "
            f"the folder of the planes: {place.parent}."
        )
    planes = _plane_folders(place) or _plane_folders(place / TOP)
    if planes:
        top = next(iter(planes.values())).parent
        return Folder(top, planes)
    if not _is_plane(place):
        raise RecordingError(
            f"{path}: no folder of suite2p, which has a folder 'plane0' with files such as "
            f"{', '.join(_OF_PLANES)}. Give the folder 'suite2p' or that of one plane."
        )
    return Folder(place, {number_of(place): place})


def _plane_folders(path: Path) -> dict[int | None, Path]:
    """Return the folders ``plane0``, ``plane1`` ... that hold something, by number."""
    if not path.is_dir():
        return {}
    found = {number: place for place in path.iterdir() if (number := number_of(place)) is not None}
    return {number: found[number] for number in sorted(found) if _is_plane(found[number])}


def _is_plane(path: Path) -> bool:
    return path.is_dir() and any((path / name).is_file() for name in _OF_PLANES)


def number_of(folder: Path) -> int | None:
    """Return the plane that a folder is named after."""
    found = re.fullmatch(r"plane(\d{1,9})", folder.name, re.ASCII)
    return int(found.group(1)) if found else None


def require_inside(path: Path, root: Path, error_type: type[CalscipyError]) -> None:
    """Raise if a path leads out of a folder, by links.

    Raises
    ------
    CalscipyError
        Of the given type.
    """
    if not path.resolve().is_relative_to(root.resolve()):
        raise error_type(
            f"{path} is a link that leads out of {root}, to {path.resolve()}. Files of others are "
            "not read by accident: copy it into the folder, or name it by its own path."
        )
