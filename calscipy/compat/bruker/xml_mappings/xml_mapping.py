"""XML tags of PrairieView and the objects that stand for them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

from calscipy.compat.bruker import xml_objects
from calscipy.errors import ArgumentError
from calscipy.io.photostimulation.mark_points import ACQUIRED_TAG, SAVED_TAG
from calscipy.io.texts import read_texts, write_texts

KNOWN_VERSIONS = ["4.3", "5.2", "5.3", "5.4", "5.5", "5.6", "5.7", "5.8"]
_OBJECTS = vars(xml_objects).values()
_DEFAULTS = {cls.TAG: cls.__name__ for cls in _OBJECTS if hasattr(cls, "TAG")}
_SERIES = dict.fromkeys((ACQUIRED_TAG, SAVED_TAG), "MarkPointSeriesElements")
_VERSION = re.compile(r"[0-9]{1,4}(\.[0-9]{1,4}){0,4}")


def load_mapping(version: str) -> MappingProxyType[str, str]:
    """Tell which object stands for which XML element of a version of PrairieView.

    Now: ``cs.photostimulation.read_mark_points(mark_points)``

    Parameters
    ----------
    version : str
        Such as ``"5.6.64.400"``.

    Returns
    -------
    mappingproxy
        Names in `calscipy.compat.bruker.xml_objects` by tag: those that calscipy knows, and over
        them what `write_mapping` has written for this version.

    Raises
    ------
    ArgumentError
        For an unknown version; the known ones are named.

    Examples
    --------
    >>> load_mapping("5.6.64.400")["PVGalvoPoint"]
    'GalvoPoint'
    """
    path = _path(version)
    own = read_texts(path) if path.is_file() else None
    if own is None and ".".join(version.split(".")[:2]) not in KNOWN_VERSIONS:
        known = [*KNOWN_VERSIONS, *sorted(file.stem for file in path.parent.glob("*.json"))]
        raise ArgumentError(
            f"load_mapping knows the versions {', '.join(known)}, got {version!r}. Write a mapping "
            "for it with write_mapping."
        )
    return MappingProxyType({**_DEFAULTS, **_SERIES, **(own or {})})


def write_mapping(mapping: Mapping[str, str], version: str) -> None:
    """Keep a mapping for a version of PrairieView, in ``.calscipy`` of the user's home folder.

    Now: ``cs.photostimulation.read_mark_points(mark_points)``

    Parameters
    ----------
    mapping : dict
        Names of objects by XML tag.
    version : str
        Such as ``"5.9"``.

    Raises
    ------
    TargetExistsError
        If there is a mapping for this version. Its path is named.
    ArgumentError
        If the mapping holds other than texts, or the version is none.
    """
    write_texts(_path(version), mapping)


def _path(version: str) -> Path:
    if not isinstance(version, str) or not _VERSION.fullmatch(version):
        raise ArgumentError(f"a version such as '5.6.64.400' was expected, got {version!r}.")
    return Path.home() / ".calscipy" / "xml_mappings" / f"{version}.json"
