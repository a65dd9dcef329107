"""The folder beside the target in which a store is made, and who works in it.

It is named ``.<name>.<job>.partial`` and becomes the store by a rename. What is in it survives a
crash: the same job goes on with it, and ``calscipy clean`` removes it.
"""

from __future__ import annotations

import errno
import os
import secrets
import shutil
import socket
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from calscipy.errors import StoreError, StoreWarning, UnfinishedError, warn
from calscipy.io.output import PARTIAL

LOCK = ".lock"
CLEAN = "`calscipy clean`"
_LOCKED_BYTE = 2**20  # Windows keeps others from reading what is locked, so not the text itself
_LEAST_SHARE, _USUAL_SHARE = 0.04, 0.7  # of the bytes of images, in a store: at best, usually


def stage_path(target: Path, job: str) -> Path:
    """Return where a job makes the store that becomes ``target``.

    Examples
    --------
    >>> stage_path(Path("movie.zarr"), "0123").name
    '.movie.zarr.0123.partial'
    """
    return target.with_name(f".{target.name}.{job}{PARTIAL}")


def stages_of(target: Path) -> list[Path]:
    """Return the stages of all jobs that were to become ``target``."""
    start = f".{target.name}."
    found = []
    for path in target.parent.iterdir():
        job = path.name[len(start) : -len(PARTIAL)]
        ours = path.name == f"{start}{job}{PARTIAL}" and job.isalnum()
        if ours and path.is_dir() and not path.is_symlink():
            found.append(path)
    return sorted(found)


def require_no_other(target: Path, own: Path) -> None:
    """Raise if another job has begun to make ``target``.

    Raises
    ------
    UnfinishedError
        Naming the other stage, and who works in it if anyone does.
    """
    for stage in stages_of(target):
        if stage == own:
            continue
        if in_use(stage):
            raise UnfinishedError(
                f"{target}: {owner_of(stage)} is saving something else under this name just now. "
                "Wait for it, or choose another name."
            )
        raise UnfinishedError(
            f"{target}: another save to this name was interrupted and left {stage.name}. What is "
            "to be saved now differs from it (data, sources, parameters, chunks or version), so "
            "that it cannot go on there. Save that one again to finish it, remove it with "
            f"{CLEAN}, or choose another name."
        )


@dataclass(frozen=True)
class Owner:
    """A process that works, or worked, in a stage."""

    host: str
    pid: int

    def __str__(self) -> str:
        return f"process {self.pid} on {self.host}"

    @property
    def may_live(self) -> bool:
        """Whether it is running, as far as can be told; yes on another computer."""
        if self.host != socket.gethostname():
            return True
        if self.pid == os.getpid():
            return True
        try:
            os.kill(self.pid, 0)  # asks only; not called on Windows, where it would end it
        except ProcessLookupError:
            return False
        except OSError:
            return True
        return True


def owner_of(stage: Path) -> Owner | None:
    """Return who last worked in a stage and did not leave it in order; None if nobody."""
    try:
        host, pid = (stage / LOCK).read_text(encoding="utf-8").split()
        return Owner(host, int(pid))
    except (OSError, ValueError):
        return None


class Lock:
    """Holds a stage for this process, in a ``with`` block.

    The system's lock ends with the process that holds it. Some network file systems have none, or
    one that other computers do not see: the file also names computer and process.

    Raises
    ------
    UnfinishedError
        If another process holds it, or may.
    """

    def __init__(self, stage: Path) -> None:
        self.stage = stage
        self._file: IO[str] | None = None

    @staticmethod
    def file_in(stage: Path) -> Path:
        """Return the file that is locked."""
        return stage / LOCK

    def __enter__(self) -> Lock:
        before = owner_of(self.stage)
        file = open(self.stage / LOCK, "a+", encoding="utf-8")
        try:
            supported = _system_lock(file)
            stale = before is None or (supported and before.host == socket.gethostname())
            if not stale and before is not None and before.may_live:
                raise BlockingIOError
            if owner_of(self.stage) != before:  # another one was faster where there are no locks
                raise BlockingIOError
            file.seek(0)
            file.truncate()
            file.write(f"{socket.gethostname()} {os.getpid()}")
            file.flush()
        except BlockingIOError:
            file.close()
            owner = owner_of(self.stage)
            raise UnfinishedError(
                f"{self.stage}: {owner or 'another process'} is saving the same just now. Wait for "
                "it. If it is certain that it no longer runs, remove "
                f"{LOCK} in that folder and save again."
            ) from None
        except BaseException:
            file.close()
            raise
        self._file = file
        return self

    def __exit__(self, *error: object) -> None:
        self.release()

    def release(self) -> None:
        """Let others have the stage."""
        if self._file is not None:
            file, self._file = self._file, None
            try:
                file.truncate(0)  # whoever comes next need not ask whether we live
            finally:
                file.close()


def _system_lock(file: IO[Any]) -> bool:
    """Lock an open file for this process; False where the system has no locks.

    Raises
    ------
    BlockingIOError
        If it is locked.
    """
    try:
        if sys.platform == "win32":
            import msvcrt

            file.seek(_LOCKED_BYTE)
            try:
                msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
            except OSError as error:
                raise BlockingIOError from error
        else:
            import fcntl

            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except ImportError:
        return False
    except BlockingIOError:
        raise
    except OSError as error:
        if error.errno in (errno.ENOLCK, errno.ENOTSUP, errno.ENOSYS, errno.EINVAL):
            return False
        raise
    return True


def in_use(stage: Path) -> bool:
    """Tell whether a process holds a stage now."""
    owner = owner_of(stage)
    try:
        with open(stage / LOCK, "r+", encoding="utf-8") as file:
            supported = _system_lock(file)
    except FileNotFoundError:
        return False
    except BlockingIOError:
        return True
    if owner is None or (supported and owner.host == socket.gethostname()):
        return False
    return owner.may_live


def discard(folder: Path) -> None:
    """Remove a stage or a replaced store, however late a task of ours still writes there.

    It gets another name first, at which no task can find it.
    """
    gone = folder.with_name(f".{secrets.token_hex(8)}.gone{PARTIAL}")
    try:
        folder.rename(gone)
    except OSError:
        gone = folder
    shutil.rmtree(gone, ignore_errors=True)


def require_space(folder: Path, raw_bytes: int) -> None:
    """Refuse to begin where the disk is surely too small, and warn where it probably is.

    Parameters
    ----------
    folder : Path
        Where the store is going to be.
    raw_bytes : int
        Bytes of the arrays that are still to be written, before they are compressed.

    Raises
    ------
    StoreError
        If there is less room than for the twenty-fifth part: no recording shrinks by more.
    """
    free = shutil.disk_usage(folder).free
    if free < _LEAST_SHARE * raw_bytes:
        raise StoreError(
            f"{folder}: {free / 1e9:.3g} GB are free, and {raw_bytes / 1e9:.3g} GB are to be "
            "compressed into it, which cannot fit. Free some space or choose another disk."
        )
    if free < _USUAL_SHARE * raw_bytes:
        warn(
            f"{folder}: {free / 1e9:.3g} GB are free, and {raw_bytes / 1e9:.3g} GB are to be "
            "compressed into it, which may not fit. If the disk gets full, free some space and "
            "save again: what is written is kept.",
            StoreWarning,
        )
