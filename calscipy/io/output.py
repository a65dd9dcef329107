"""What everything that writes files shares."""

from __future__ import annotations

import warnings
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

from calscipy.errors import StoreError, TargetExistsError
from calscipy.options import get_option


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
