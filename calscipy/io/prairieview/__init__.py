"""PrairieView recordings as an xarray engine: a folder or its master XML becomes a DataTree."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import xarray as xr
from xarray.backends import BackendEntrypoint

from calscipy import model
from calscipy.errors import RecordingError, first_few
from calscipy.io.prairieview.dataset import open_tree
from calscipy.io.prairieview.environment import Environment, read_environment
from calscipy.io.prairieview.lsd import read_lsd
from calscipy.io.prairieview.metadata import Metadata
from calscipy.io.prairieview.references import read_reference
from calscipy.io.prairieview.scan import Scan, read_scan
from calscipy.io.prairieview.validity import Check

__all__ = [
    "Environment",
    "Metadata",
    "PrairieViewBackend",
    "Scan",
    "find_master",
    "is_master",
    "open_tree",
    "read_environment",
    "read_lsd",
    "read_reference",
    "read_scan",
]

_HEAD_BYTES = 4096


def is_master(path: Path) -> bool:
    """Tell from its first bytes whether a file is a PrairieView master XML."""
    if path.suffix.lower() != ".xml":
        return False
    try:
        with path.open("rb") as stream:
            head = stream.read(_HEAD_BYTES)
    except OSError:
        return False
    return b"<PVScan" in head.replace(b"\0", b"")  # UTF-16 has a NUL beside every letter


def find_master(path: Path) -> Path:
    """Return the master XML of a recording's folder, or the path itself if it is one.

    Raises
    ------
    RecordingError
        If there is none, or more than one.
    """
    if path.is_file():
        return path
    if not path.is_dir():
        raise RecordingError(f"{path}: there is no such folder or file.")
    with os.scandir(path) as entries:
        names = [entry.name for entry in entries]
    if not names:
        raise RecordingError(
            f"{path}: the folder is empty; a PrairieView recording (master XML and TIFF files) "
            "was expected. Copy the recording again, or check the path."
        )
    xmls = sorted(name for name in names if name.lower().endswith(".xml"))
    masters = [path / name for name in xmls if is_master(path / name)]
    if not masters:
        empty = [name for name in xmls if (path / name).stat().st_size == 0]
        found = f"its XML files are {first_few(xmls)}" if xmls else "there is no XML file in it"
        hint = f" {first_few(empty)} is empty (0 bytes)." if empty else ""
        raise RecordingError(
            f"{path}: no PrairieView master XML (root <PVScan>) in this folder; {found}.{hint} "
            "Copy the XML from the microscope, or give the folder that holds it."
        )
    if len(masters) > 1:
        raise RecordingError(
            f"{path}: {len(masters)} PrairieView recordings in one folder "
            f"({first_few([master.name for master in masters])}). Open one by the path of its XML."
        )
    return masters[0]


class PrairieViewBackend(BackendEntrypoint):
    """Open PrairieView recordings with ``xarray.open_datatree`` and ``xarray.open_dataset``.

    Takes the folder or its master XML; ``cycles`` selects cycles, ``check="headers"`` looks
    into every file instead of trusting file sizes.
    """

    description = "PrairieView (Bruker) two-photon recordings"
    supports_groups = True
    open_dataset_parameters = ("filename_or_obj", "drop_variables", "cycles", "check")

    def guess_can_open(self, filename_or_obj: Any) -> bool:
        """Tell whether a path is a PrairieView folder or master XML, opening no image."""
        if not isinstance(filename_or_obj, str | os.PathLike):
            return False
        path = Path(filename_or_obj)
        try:
            return is_master(find_master(path))
        except (RecordingError, OSError, ValueError):
            return False

    def open_datatree(
        self,
        filename_or_obj: Any,
        *,
        drop_variables: str | Iterable[str] | None = None,
        cycles: Sequence[int] | None = None,
        check: Check = "sizes",
    ) -> xr.DataTree:
        """Open a recording as a tree with the groups ``movie``, ``linescan`` and others."""
        tree = open_tree(find_master(Path(filename_or_obj)), cycles=cycles, check=check)
        if drop_variables is not None:
            tree = tree.map_over_datasets(
                lambda dataset: dataset.drop_vars(drop_variables, errors="ignore")
            )
        return tree

    def open_groups_as_dict(self, filename_or_obj: Any, **kwargs: Any) -> dict[str, xr.Dataset]:
        """Open a recording as datasets by path."""
        tree = self.open_datatree(filename_or_obj, **kwargs)
        return {node.path: node.to_dataset(inherit=False) for node in tree.subtree}

    def open_dataset(  # type: ignore[override]
        self, filename_or_obj: Any, **kwargs: Any
    ) -> xr.Dataset:
        """Open the movie of a recording as a dataset; its line scans if it has no movie."""
        tree = self.open_datatree(filename_or_obj, **kwargs)
        for name in (model.MOVIE, model.LINESCAN):
            if name in tree.children:
                return tree[name].to_dataset()
        raise RecordingError(
            f"{filename_or_obj}: the recording holds no images. Open its groups "
            f"{list(tree.children)} with xarray.open_datatree."
        )
