"""What each ROI is taken for: ``iscell.npy`` and ``redcell.npy``."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from calscipy import model
from calscipy.errors import CalscipyWarning, RecordingError, warn
from calscipy.io.npy import numbers_in
from calscipy.io.suite2p.folders import COMBINED, Folder

_CLASSES = {"iscell": "suite2p takes it for a cell", "redcell": "seen in the other channel too"}


def read_classes(folder: Folder, counts: Mapping[Path, int]) -> dict[str, Any]:
    """Return coordinates along ``neuron``: what ROIs are taken for, and how probable that is.

    Parameters
    ----------
    folder : Folder
        All planes.
    counts : mapping of Path to int
        Number of ROIs in the folder of each plane that has any.

    Raises
    ------
    RecordingError
        If a file is damaged or has another number of rows.
    """
    coords: dict[str, Any] = {}
    for name, long_name in _CLASSES.items():
        coords |= _classes(folder, counts, name, long_name)
    return coords


def _classes(
    folder: Folder, counts: Mapping[Path, int], name: str, long_name: str
) -> dict[str, Any]:
    """Return what every ROI is taken for, and how probable that is."""
    parts = []
    for place, count in counts.items():
        file = folder.file(place, f"{name}.npy")
        if file is None:
            return {}
        array = numbers_in(file)
        if array.shape not in ((count,), (count, 1), (count, 2)):
            raise RecordingError(
                f"{file}: one row for each of {count} ROIs was expected, found an array "
                f"of shape {array.shape}. Take the files of one run."
            )
        values = array.read((slice(None),) * len(array.shape)).reshape(count, -1)
        parts.append(values.astype(np.float64))
    table = np.concatenate([part[:, :1] for part in parts])[:, 0]
    coords: dict[str, Any] = {name: (model.NEURON, table != 0, {"long_name": long_name})}
    if all(part.shape[1] > 1 for part in parts):
        probability = np.concatenate([part[:, 1] for part in parts])
        attrs = {"units": "1", "long_name": f"probability that {name} is right"}
        coords[f"{name}_probability"] = (model.NEURON, probability, attrs)
    _warn_of_combined(folder, name, table != 0)
    return coords


def _warn_of_combined(folder: Folder, name: str, here: np.ndarray) -> None:
    """Say where the file for all planes together was edited, and those of the planes were not."""
    file = folder.file(folder.root / COMBINED, f"{name}.npy") if folder.whole else None
    if file is None:
        return
    array = numbers_in(file)
    if array.shape[:1] != here.shape or len(array.shape) != 2:
        return
    there = array.read((slice(None), slice(0, 1)))[:, 0] != 0
    if (there != here).any():
        warn(
            f"{file} differs from those of the planes for {(there != here).sum()} ROIs; those of "
            "the planes are used. Curate the planes one by one, or take the others with "
            f"traces.assign_coords({name}=('neuron', numpy.load(file)[:, 0] != 0)).",
            CalscipyWarning,
        )
