"""ROIs of suite2p, read without running any code that the file might hold."""

from __future__ import annotations

import os
import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import xarray as xr

from calscipy import model
from calscipy.errors import RoiError

MAX_BYTES = 4 * 2**30

# What NumPy itself needs to restore arrays, under its old and new module names.
_ALLOWED = {
    (module, name)
    for module in ("numpy.core.multiarray", "numpy._core.multiarray")
    for name in ("_reconstruct", "scalar")
} | {("numpy", "ndarray"), ("numpy", "dtype"), ("_codecs", "encode")}


class _ArraysOnly(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        # A dotted name would be resolved attribute by attribute, to anything at all.
        is_dtype = module == "numpy.dtypes" and name.isidentifier() and name.endswith("DType")
        if (module, name) not in _ALLOWED and not is_dtype:
            raise pickle.UnpicklingError(f"it asks for {module}.{name}, which is not array data")
        return super().find_class(module, name)


def read_object_array(path: Path) -> np.ndarray:
    """Read a ``.npy`` file that may hold pickled dictionaries and arrays, and nothing else.

    Raises
    ------
    RoiError
        If it holds anything else, such as code to run, or is damaged.
    """
    size = path.stat().st_size
    if size > MAX_BYTES:
        raise RoiError(f"{path}: {size} bytes, more than the {MAX_BYTES} accepted.")
    try:
        with path.open("rb") as stream:
            shape, fortran, dtype = _header(stream)
            if dtype.hasobject:
                return np.asarray(_ArraysOnly(stream).load())
            needed = int(np.prod(shape, dtype=np.float64)) * dtype.itemsize
            if needed > size:
                raise ValueError(f"it claims {needed} bytes of data and has {size}")
            flat = np.fromfile(stream, dtype)
            return flat.reshape(shape, order="F" if fortran else "C")
    except Exception as error:  # a damaged or hostile pickle raises anything
        raise RoiError(
            f"{path}: not a suite2p file that can be trusted ({error}). A stat.npy holds a list "
            "of dictionaries of arrays; write it again with suite2p."
        ) from error


def _header(stream: BinaryIO) -> tuple[tuple[int, ...], bool, np.dtype]:
    version = np.lib.format.read_magic(stream)
    if version == (1, 0):
        return np.lib.format.read_array_header_1_0(stream)
    return np.lib.format.read_array_header_2_0(stream)


def rois_from_suite2p(
    path: str | os.PathLike[str], *, overlap: bool = True, plane: int | None = None
) -> xr.DataArray:
    """Read ROIs from suite2p's ``stat.npy``.

    Parameters
    ----------
    path : path
        The file ``stat.npy``, or its folder (``suite2p/plane0``).
    overlap : bool, default True
        Keep pixels that suite2p marks as shared between ROIs.
    plane : int, optional
        Plane of all ROIs; by default each ROI's ``iplane`` where the file has it.

    Returns
    -------
    DataArray
        Weights (suite2p's ``lam``) along ``pixel``, with the coordinates ``neuron`` (the position
        in the file), ``y``, ``x`` and, where known, ``plane``.

    Raises
    ------
    RoiError
        If the file is not a ``stat.npy``, or would run code.

    Examples
    --------
    >>> stat = [{"ypix": np.array([1, 2]), "xpix": np.array([3, 3]), "lam": np.array([1.0, 0.5])}]
    >>> np.save("stat.npy", np.array(stat, dtype=object), allow_pickle=True)
    >>> rois_from_suite2p("stat.npy").values.tolist()
    [1.0, 0.5]
    """
    file = Path(path)
    if file.is_dir():
        file = file / "stat.npy"
    if not file.is_file():
        raise RoiError(f"{file}: there is no such file; suite2p's stat.npy was expected.")
    stat = np.atleast_1d(read_object_array(file))
    parts = [_pixels(file, at, entry, overlap) for at, entry in enumerate(stat)]
    kept = [(at, part) for at, part in enumerate(parts) if part[0].size]
    if not kept:
        raise RoiError(f"{file}: no ROI has any pixel{'' if overlap else ' without overlap'}.")
    neuron = np.concatenate([np.full(part[0].size, at) for at, part in kept])
    y, x, weight = (np.concatenate([part[i] for _, part in kept]) for i in range(3))
    planes = [plane if plane is not None else entry.get("iplane") for entry in stat]
    known = all(p is not None for p in planes)
    if not known and any(p is not None for p in planes):
        raise RoiError(
            f"{file}: some ROIs have an iplane and some have none. Give the plane of all with "
            "plane=, or write the file again with suite2p."
        )
    return model.rois_long_form(
        neuron, y, x, weight, plane=np.asarray(planes, np.int64)[neuron] if known else None
    )


def _pixels(
    file: Path, at: int, entry: Any, overlap: bool
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    wanted = ("ypix", "xpix", "lam")
    if not isinstance(entry, Mapping) or any(key not in entry for key in wanted):
        raise RoiError(
            f"{file}: entry {at} is not a suite2p ROI (a dictionary with {', '.join(wanted)} was "
            "expected). Give the stat.npy of suite2p."
        )
    y, x, weight = (np.asarray(entry[key]).ravel() for key in wanted)
    if not y.size == x.size == weight.size:
        raise RoiError(f"{file}: ROI {at} has {y.size} ypix, {x.size} xpix and {weight.size} lam.")
    if y.dtype.kind not in "iu" or x.dtype.kind not in "iu" or not np.isfinite(weight).all():
        raise RoiError(
            f"{file}: ROI {at} has {y.dtype} ypix and {x.dtype} xpix, whole numbers and finite "
            "lam were expected. Write the file again with suite2p."
        )
    keep = np.ones(y.size, dtype=bool)
    if not overlap and "overlap" in entry:
        keep = ~np.asarray(entry["overlap"], dtype=bool).ravel()
        if keep.size != y.size:
            raise RoiError(f"{file}: ROI {at} has {y.size} ypix and {keep.size} overlap.")
    return y[keep], x[keep], weight[keep]
