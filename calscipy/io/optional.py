"""Packages that calscipy uses for some formats and does not install by itself."""

from __future__ import annotations

import importlib
from typing import Any

from calscipy.errors import CalscipyError

# The packages of pyproject.toml's extras with their bounds, which a test compares.
# They are named instead of the extra: it can be asked for in a folder with calscipy's source alone.
PACKAGES = {
    "hdf5": ("h5py>=3.11", "h5netcdf>=1.4"),
    "nwb": ("pynwb>=4.2",),
    "plot": ("bokeh>=3.8", "panel>=1.8.1"),
    "pynapple": ("pynapple>=0.11",),
}


class MissingPackageError(CalscipyError, ImportError):
    """A package is needed that calscipy does not install by itself."""


def optional(name: str, *, extra: str, purpose: str) -> Any:
    """Import a package that one format needs.

    Parameters
    ----------
    name : str
        The module to import.
    extra : str
        The extra that brings it.
    purpose : str
        What needs it, in the plural, to begin the message with.

    Raises
    ------
    MissingPackageError
        With the command that installs it.

    Examples
    --------
    >>> optional("json", extra="hdf5", purpose="netCDF files").__name__
    'json'
    """
    listed = " ".join(f'"{package}"' for package in PACKAGES[extra])
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise MissingPackageError(
            f"{purpose} need {name}, which is not installed or does not work ({error}). Install "
            f"it with: pip install {listed}"
        ) from error
