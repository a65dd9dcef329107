"""What everything that writes files shares: free names, whole files only, a progress bar."""

from __future__ import annotations

import errno
import os
import secrets
import shutil
import warnings
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import Any

from calscipy.errors import CalscipyError, StoreError, TargetExistsError
from calscipy.options import get_option

PARTIAL = ".partial"  # in the name of what is not whole yet
_LONGEST_NAME = 200  # bytes of the target's name kept in the temporary one; most systems allow 255
_CANNOT_WRITE = {
    errno.ENOSPC: "the disk is full",
    errno.EDQUOT: "the disk quota is used up",
    errno.EFBIG: "the file system takes no file of this size",
    errno.EROFS: "the file system is read-only",
    errno.EACCES: "there is no permission to write",
    errno.EPERM: "there is no permission to write",
}


def require_free(target: Path) -> None:
    """Raise unless something new can be written at ``target``.

    Raises
    ------
    TargetExistsError
        If there is anything, a broken link included.
    StoreError
        If its folder does not exist.
    """
    if target.exists() or target.is_symlink():
        raise TargetExistsError(
            f"{target} exists already. calscipy never writes over anything: choose another name, "
            "or move the old one away first."
        )
    if not target.parent.is_dir():
        raise StoreError(f"{target.parent}: there is no such folder to write into. Create it.")


def require_space(folder: Path, needed: int) -> None:
    """Raise if a disk has less free space than a file needs.

    Raises
    ------
    StoreError
        Naming both.
    """
    free = shutil.disk_usage(folder).free
    if needed > free:
        raise StoreError(
            f"{folder} has {free} bytes of free space, {needed} are needed. Free some or choose "
            "another disk."
        )


@contextmanager
def new_file(target: str | os.PathLike[str]) -> Iterator[Path]:
    """Hand out a temporary name for a new file, which becomes ``target`` when it is whole.

    The temporary file lies in the same folder and ends in the same suffix. When the block ends it
    is flushed to the disk and renamed; when the block fails it is removed. Whoever looks at
    ``target`` sees nothing or a whole file.

    Raises
    ------
    TargetExistsError
        If there is anything at ``target``, at the start or at the end.
    StoreError
        If its folder does not exist, or cannot be written to.

    Examples
    --------
    >>> with new_file("numbers.txt") as temporary:
    ...     _ = temporary.write_text("1 2 3")
    >>> Path("numbers.txt").read_text()
    '1 2 3'
    """
    target = Path(target)
    with _temporary(target, _remove_file) as temporary:
        yield temporary
        flush(temporary)
        require_free(target)
        _rename_file(temporary, target)
    flush_folder(target.parent)


@contextmanager
def new_folder(target: str | os.PathLike[str]) -> Iterator[Path]:
    """Hand out a new, empty folder, which becomes ``target`` when it is whole.

    As `new_file`: every file in it is flushed to the disk before the folder is renamed.

    Raises
    ------
    TargetExistsError
        If there is anything at ``target``, at the start or at the end.
    StoreError
        If its folder does not exist, or cannot be written to.

    Examples
    --------
    >>> with new_folder("results") as temporary:
    ...     _ = (temporary / "numbers.txt").write_text("1 2 3")
    >>> [file.name for file in Path("results").iterdir()]
    ['numbers.txt']
    """
    target = Path(target)
    with _temporary(target, _remove_folder) as temporary:
        temporary.mkdir()
        yield temporary
        flush_tree(temporary)
        require_free(target)
        temporary.rename(target)
    flush_folder(target.parent)


@contextmanager
def _temporary(target: Path, remove: Callable[[Path], None]) -> Iterator[Path]:
    """Choose a name beside ``target``; take away what is left there, and explain a failure."""
    require_free(target)
    temporary = target.with_name(_temporary_name(target.name))
    try:
        yield temporary
    except OSError as error:
        reason = _CANNOT_WRITE.get(error.errno or 0)
        if isinstance(error, CalscipyError) or reason is None:
            raise
        raise StoreError(
            f"{target} cannot be written: {reason} ({error}). Nothing is left there; free some "
            "space or choose another folder."
        ) from error
    finally:
        remove(temporary)  # after the rename there is nothing at this name


def _temporary_name(name: str) -> str:
    suffix = Path(name).suffix
    stem = os.fsdecode(os.fsencode(name.removesuffix(suffix))[:_LONGEST_NAME])
    stem = stem.encode(errors="ignore").decode()  # half a character at the cut
    return f".{stem}.{secrets.token_hex(4)}{PARTIAL}{suffix}"


def _remove_file(path: Path) -> None:
    path.unlink(missing_ok=True)


def _remove_folder(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)


def _rename_file(temporary: Path, target: Path) -> None:
    """Give a file its name, and never to the harm of one that another program just made."""
    try:
        os.link(temporary, target)  # refuses an existing name, unlike a rename
    except FileExistsError:
        require_free(target)
        raise
    except (OSError, NotImplementedError):  # a file system without links
        temporary.replace(target)


def flush(file: Path) -> None:
    """Wait until a file is on the disk."""
    with open(file, "r+b") as opened:
        os.fsync(opened.fileno())


def flush_folder(folder: Path) -> None:
    """Wait until the names in a folder are on the disk, where the system can do so."""
    if os.name == "nt":  # Windows cannot open folders
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):  # some network file systems
            raise
    finally:
        os.close(descriptor)


def flush_tree(folder: Path) -> None:
    """Wait until a folder and all files and folders in it are on the disk."""
    for place, _, files in os.walk(folder, topdown=False):
        for name in files:
            flush(Path(place, name))
        flush_folder(Path(place))


def progress_bar(
    text: str, *, show: bool | None = None, delay: float = 0.0
) -> AbstractContextManager[Any]:
    """Return a context that shows a bar for the dask work in it.

    Parameters
    ----------
    text : str
        What the bar says.
    show : bool, optional
        The option ``progress`` by default.
    delay : float
        Seconds before it appears.
    """
    if not (get_option("progress") if show is None else show):
        return nullcontext()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # tqdm complains in notebooks without ipywidgets
        from tqdm.dask import TqdmCallback

        return TqdmCallback(desc=text, leave=False, delay=delay)
