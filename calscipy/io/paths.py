"""Paths as users write them."""

from __future__ import annotations

import os
from pathlib import Path


def local_path(path: str | os.PathLike[str]) -> Path:
    """Return a path whose ``~`` at the start is the user's home, as in a shell.

    Examples
    --------
    >>> local_path("~/data/m12.zarr") == Path.home() / "data" / "m12.zarr"
    True
    >>> local_path("data~1.tif").name
    'data~1.tif'
    """
    return Path(os.path.expanduser(path))  # Path.expanduser raises where there is no such home
