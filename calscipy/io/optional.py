"""Packages that calscipy uses for some formats and does not install by itself."""

from __future__ import annotations

import importlib
from typing import Any

from calscipy.errors import CalscipyError


class MissingPackageError(CalscipyError, ImportError):
    """A package is needed that calscipy does not install by itself."""


def optional(name: str, *, extra: str, purpose: str) -> Any:
    """Import a package that one format needs.

    Raises
    ------
    MissingPackageError
        Naming the extra that brings it.

    Examples
    --------
    >>> optional("json", extra="hdf5", purpose="netCDF files").__name__
    'json'
    """
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise MissingPackageError(
            f"{purpose} need {name}, which is not installed or does not work ({error}). Install "
            f'it with: pip install "calscipy[{extra}]"'
        ) from error
