"""Find what interrupted saves have left in a folder, and remove it.

Only what is surely ours and surely nobody's any more is removed: an unfinished store may hold a
night of work, and its name alone is no proof.
"""

from __future__ import annotations

import os
import re
import socket
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from calscipy.errors import ArgumentError, StoreError
from calscipy.io.output import PARTIAL
from calscipy.io.paths import local_path
from calscipy.io.store.contents import read_contents
from calscipy.io.store.finish import OLD
from calscipy.io.store.journal import JOURNAL, Journal
from calscipy.io.store.places import Folder
from calscipy.io.store.stage import LOCK, Lock, discard, in_use, owner_of

_BEGINNING = 60.0  # seconds in which a save has locked its stage
State = Literal["abandoned", "in use", "needed", "unknown"]

_STAGE = re.compile(rf"\.(?P<target>.+)\.(?P<job>[0-9a-f]{{12}}){re.escape(PARTIAL)}", re.A)
_GONE = re.compile(rf"\.[0-9a-f]{{16}}\.gone{re.escape(PARTIAL)}", re.A)
_REPLACED = re.compile(rf"\.(?P<target>.+)\.[0-9a-f]{{8}}{re.escape(OLD)}", re.A)
_EXPORT = re.compile(rf"\.(?P<target>.+)\.[0-9a-f]{{8}}{re.escape(PARTIAL)}(\.[^.]+)?", re.A)


@dataclass(frozen=True)
class Leftover:
    """Something that a save or an export left behind.

    Parameters
    ----------
    path : Path
        Where it is.
    target : str
        Name that it was to get, or had; empty where that is not known any more.
    state : {"abandoned", "in use", "needed", "unknown"}
        Only what is ``"abandoned"`` is removed without being told so. What is ``"needed"`` never
        is.
    detail : str
        Why it is in this state.
    nbytes : int
        Bytes of all files in it.
    age : float
        Seconds since anything in it was last written.
    """

    path: Path
    target: str
    state: State
    detail: str
    nbytes: int
    age: float


def find_stages(folder: str | os.PathLike[str]) -> list[Leftover]:
    """List what interrupted saves and exports have left in a folder.

    Parameters
    ----------
    folder : path
        Where stores were saved. Folders in it are not looked into.

    Returns
    -------
    list of Leftover
        By name.

    Raises
    ------
    StoreError
        If there is no such folder.

    Examples
    --------
    >>> find_stages(".")
    []
    """
    folder = local_path(folder)
    if not folder.is_dir():
        raise StoreError(f"{folder}: there is no such folder.")
    with os.scandir(folder) as entries:
        names = sorted(entry.name for entry in entries if not entry.is_symlink())
    found = (_judged(folder / name) for name in names)
    return [leftover for leftover in found if leftover is not None]


def clean(
    folder: str | os.PathLike[str],
    *,
    older_than: float = 0.0,
    dry_run: bool = True,
    force: bool = False,
) -> list[Leftover]:
    """Remove what interrupted saves have left in a folder.

    Saving again goes on with an unfinished store; after this it starts from the beginning.

    Parameters
    ----------
    folder : path
        Where stores were saved.
    older_than : float, default 0
        Leave alone what was written to in this time, in s.
    dry_run : bool, default True
        Remove nothing, and return what would be removed.
    force : bool, default False
        Remove also what another computer may still be working on, and what bears no mark of ours
        but its name. Never what this computer works on.

    Returns
    -------
    list of Leftover
        What is, or would be, removed.

    Raises
    ------
    StoreError
        If there is no such folder, or something in it cannot be removed.

    Examples
    --------
    >>> clean(".", older_than=7 * 86400)
    []
    """
    if not older_than >= 0:
        raise ArgumentError(
            f"older_than must be a number of seconds, 0 or more, got {older_than!r}"
        )
    states = ("abandoned", "unknown") if force else ("abandoned",)
    chosen = [
        leftover
        for leftover in find_stages(folder)
        if leftover.state in states and leftover.age >= older_than
    ]
    return chosen if dry_run else [item for item in chosen if _removed(item)]


def _judged(path: Path) -> Leftover | None:
    """Tell what a file or folder is, or None if it has no name of ours."""
    name = path.name
    if _GONE.fullmatch(name) and path.is_dir():
        return _leftover(path, "", "abandoned", "was being removed")
    if (match := _REPLACED.fullmatch(name)) and path.is_dir():
        return _leftover(path, match["target"], *_replaced(path, match["target"]))
    if (match := _STAGE.fullmatch(name)) and path.is_dir() and _is_stage(path, match["job"]):
        return _leftover(path, match["target"], *_stage(path))
    if match := _EXPORT.fullmatch(name):
        return _leftover(
            path, match["target"], "unknown", "temporary file of an export, or not ours"
        )
    return None


def _is_stage(path: Path, job: str) -> bool:
    """Tell whether a folder bears the marks of a stage: its journal names the same job."""
    names = set(os.listdir(path))
    if names <= {LOCK, JOURNAL} and not any((path / name).is_symlink() for name in names):
        # Killed before the journal was begun; there is nothing in it yet.
        begun = path / JOURNAL
        if not begun.is_dir() or not os.listdir(begun):
            return LOCK in names or not names
    return not (path / JOURNAL).is_symlink() and Journal(path).facts().get("job") == job


def _stage(path: Path) -> tuple[State, str]:
    if not Journal(path).facts() and time.time() - path.stat().st_mtime < _BEGINNING:
        return "in use", "begun just now"
    if in_use(path):
        owner = owner_of(path)
        if owner is None or owner.host == socket.gethostname():
            return "in use", f"{owner or 'a process'} is saving it"
        return "unknown", f"{owner} may be saving it: another computer, which cannot be asked"
    return "abandoned", "an unfinished save; saving the same again goes on with it"


def _replaced(path: Path, target: str) -> tuple[State, str]:
    """Judge a store that another one was to replace: the only copy, if that did not happen."""
    try:
        read_contents(Folder(path))
    except (StoreError, OSError) as error:
        return "unknown", f"not a store of ours ({error})"
    try:
        read_contents(Folder(path.with_name(target)))
    except (StoreError, OSError):
        return "needed", f"the store that was to replace it is not there: rename it to {target!r}"
    return "abandoned", f"was replaced by {target!r}"


def _leftover(path: Path, target: str, state: State, detail: str) -> Leftover:
    nbytes, last = 0, 0.0
    for size, changed in _stats(path):
        nbytes, last = nbytes + size, max(last, changed)
    return Leftover(path, target, state, detail, nbytes, max(0.0, time.time() - last))


def _stats(path: Path) -> Sequence[tuple[int, float]]:
    """Return bytes and time of change of everything in a folder; links are not followed."""
    own = path.lstat()
    if not path.is_dir() or path.is_symlink():
        return [(own.st_size, own.st_mtime)]
    found = [(0, own.st_mtime)]
    for parent, folders, files in os.walk(path):
        for name in (*folders, *files):
            try:
                state = os.lstat(os.path.join(parent, name))
            except FileNotFoundError:  # a save that is going on
                continue
            found.append((state.st_size if name in files else 0, state.st_mtime))
    return found


def _removed(leftover: Leftover) -> bool:
    """Remove a leftover, unless somebody has begun to use it."""
    path = leftover.path
    if _judged(path) is None:
        return False
    if not path.is_dir():
        path.unlink(missing_ok=True)
        return True
    if (
        leftover.state == "abandoned"
        and _STAGE.fullmatch(path.name)
        and not _GONE.fullmatch(path.name)
    ):
        try:
            with Lock(path) as lock:
                if sys.platform == "win32":
                    lock.release()  # Windows renames no folder with an open file in it
                discard(path)
        except StoreError:
            return False
    else:
        discard(path)
    if path.exists():
        raise StoreError(f"{path}: cannot be removed. Look at who may write to its folder.")
    return True
