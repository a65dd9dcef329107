"""Results of CaImAn in HDF5, as its ``save`` writes them.

After CaImAn's documentation of its results: ``estimates`` holds the spatial components ``A``
(sparse, one column for each component, pixels in Fortran order over ``dims``), the temporal ones
``C`` and what was made of them, ``params`` the settings.
"""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from xarray.core import indexing

from calscipy import model
from calscipy.errors import CalscipyWarning, RecordingError, RoiError, first_few, warn
from calscipy.io.caiman_images import OF_PIXELS, background, images
from calscipy.io.caiman_values import (
    Results,
    Sparse,
    Values,
    is_group,
    is_single,
    read_settings,
    setting,
)
from calscipy.io.hdf5 import Hdf5Array, is_hdf5, load, opened, require_whole
from calscipy.io.movie_options import contradicts, no_frame_rate, require_numbers
from calscipy.io.optional import optional
from calscipy.options import get_option

SUFFIXES = (".hdf5", ".h5")
PROGRAM_ATTR, SETTINGS_ATTR = "program", "caiman"
DEFAULT_RATE = 30.0  # what CaImAn takes when nobody says a rate
_REMOVED = {model.LEVEL_ATTR: "removed"}  # the background has the level of the fluorescence
_TRACES = {
    "C": ("denoised", "fluorescence, denoised", _REMOVED),
    "YrA": ("residual", "fluorescence less the denoised one", _REMOVED),
    "S": (model.SPIKES, "spikes, deconvolved (arbitrary units)", {}),
    "S_dff": ("spikes_dfof", "spikes, deconvolved from ΔF/F₀", {}),
    "F_dff": ("dfof", "ΔF/F₀", {}),
}
_OF_NEURONS = {
    "SNR_comp": "signal to noise ratio of transients",
    "r_values": "correlation of the shape with the movie",
    "cnn_preds": "probability of a cell by its shape",
    "bl": "baseline of the deconvolution",
    "c1": "first value of the deconvolution",
    "neurons_sn": "noise of the trace",
    "lam": "weight of sparseness",
    "ecc": "eccentricity of the shape",
    "g": "coefficients of the autoregressive process",
}
_READ_ELSEWHERE = {"A", "b", "f", "dims", "idx_components", "idx_components_bad"}


def open_caiman(path: str | os.PathLike[str], *, frame_rate: float | None = None) -> xr.DataTree:
    """Open results of CaImAn as the tree of a session; traces are lazy.

    Parameters
    ----------
    path : path
        The HDF5 file that CaImAn's ``save`` wrote.
    frame_rate : float, optional
        Frames in a second; by default ``params/data/fr``. CaImAn writes 30 there when nobody has
        said a rate: this number is used with a warning unless it is given here, too.

    Returns
    -------
    DataTree
        ``traces``: ``(neuron, time)`` of all components, accepted or not: ``traces`` (``C + YrA``,
        or ``C`` where there is no ``YrA``), ``denoised`` (``C``), ``residual`` (``YrA``),
        ``spikes`` (``S``), ``dfof`` (``F_dff``), ``spikes_dfof`` (``S_dff``). Coordinates along
        ``neuron``: ``accepted`` (``idx_components``), ``y`` and ``x`` of the weighted centre, and
        what CaImAn says of each component. ``rois``: the pixels of ``A`` in long form.
        ``background``: ``b`` as images and ``f`` as traces. ``images``: ``Cn`` and the like. The
        root's attribute ``caiman`` holds the settings.

    Raises
    ------
    RecordingError
        If it is not CaImAn's, damaged, points into other files or claims more than it holds.
    ArgumentError
        If the frame rate is unknown.
    MissingPackageError
        If h5py is not installed.

    Warns
    -----
    CalscipyWarning
        Once, naming the results that have no place here.

    Notes
    -----
    The fluorescence has no background in it any more, so that its ΔF/F₀ cannot be taken; CaImAn's
    own is ``dfof``. Of images of three dimensions, the last one is taken for planes.

    Examples
    --------
    >>> import h5py
    >>> with h5py.File("results.hdf5", "w") as file:
    ...     file["dims"] = [2, 3]
    ...     file["estimates/C"] = np.ones((1, 4))
    ...     file["estimates/A/data"], file["estimates/A/indices"] = [0.5, 1.0], [2, 3]
    ...     file["estimates/A/indptr"], file["estimates/A/shape"] = [0, 2], [6, 1]
    >>> tree = open_caiman("results.hdf5", frame_rate=10)
    >>> tree["rois/y"].values.tolist(), tree["rois/x"].values.tolist()
    ([0, 1], [1, 1])
    """
    path = Path(path)
    require_numbers(frame_rate, None)
    with opened(path) as file:
        if not is_group(file.get("estimates")):
            raise RecordingError(
                f"{path}: expected results of CaImAn with a group 'estimates', found "
                f"{first_few(sorted(file), 5) or 'nothing'}."
            )
        estimates = Values(file["estimates"], path)
        settings, left = read_settings(file, path)
        results = _results(path, estimates, Values(file, path), settings, left)
        shapes = estimates.sparse("A")
        groups = {model.TRACES: _traces(results, estimates)}
        groups |= background(results, estimates) | images(results, estimates)
        _list_rest(results, estimates)
    rate = _rate(path, frame_rate, setting(settings, "data", "fr"))
    groups |= _rois(results, shapes)
    _add_times(groups, results, rate)
    _add_centres(groups)
    if results.left:
        warn(
            f"{path}: {len(results.left)} results of CaImAn have no place in a session and are "
            f"left out: {', '.join(sorted(results.left))}. Read them with CaImAn or h5py.",
            CalscipyWarning,
        )
    source = {model.SOURCE_ATTR: path.name, SETTINGS_ATTR: settings}
    root = xr.Dataset(attrs={model.SCHEMA_ATTR: model.SCHEMA_VERSION, **source})
    return xr.DataTree.from_dict({"/": root, **groups})


def is_caiman(path: Path) -> bool:
    """Tell whether a file holds results of CaImAn."""
    if not is_hdf5(path):
        return False
    h5py = optional("h5py", extra="hdf5", purpose="HDF5 files")
    try:
        with h5py.File(path, "r", locking="best-effort") as file:
            return file.get("estimates", getlink=True) is not None
    except (OSError, RuntimeError, KeyError):  # damaged; whoever opens it will say how
        return False


def _results(
    path: Path, estimates: Values, root: Values, settings: Mapping[str, Any], left: list[str]
) -> Results:
    """Find the sizes that everything must fit."""
    traces = estimates.array("C")
    if traces is None or traces.ndim != 2 or not all(traces.shape):
        found = "nothing" if traces is None else f"an array of {traces.shape}"
        raise RecordingError(
            f"{path}: expected traces 'estimates/C' of shape (components, frames), found {found}. "
            "Save the results after CaImAn has fitted them."
        )
    stated = [root.loaded("dims"), estimates.loaded("dims"), setting(settings, "data", "dims")]
    sizes: tuple[int, ...] = ()
    for dims in stated:
        lengths = np.ravel(dims).tolist() if dims is not None else []
        if len(lengths) in (2, 3) and all(map(_is_length, lengths)):
            sizes = tuple(map(int, lengths))
            break
    version = setting(settings, "data", "caiman_version")
    program = {PROGRAM_ATTR: f"CaImAn {version}" if isinstance(version, str) else "CaImAn"}
    neurons, frames = (int(n) for n in traces.shape)
    return Results(path, sizes, neurons, frames, program, left)


def _is_length(number: Any) -> bool:
    return isinstance(number, int | float) and number == number // 1 and 0 < number < 2**31


def _rate(path: Path, given: float | None, stated: Any) -> float:
    """Choose the frame rate."""
    known = float(stated) if isinstance(stated, int | float) and 0 < stated < math.inf else None
    if given is not None:
        contradicts(path, "the settings of CaImAn", given, None, known)
        return float(given)
    if known is None:
        raise no_frame_rate(path, "the settings of CaImAn do not say")
    if known == DEFAULT_RATE:
        warn(
            f"{path}: the settings of CaImAn state 30 frames in a second, which it also writes "
            "when nobody has said a rate. Give frame_rate= to be sure.",
            CalscipyWarning,
        )
    return known


# -- traces --------------------------------------------------------------------------------


def _traces(results: Results, estimates: Values) -> xr.Dataset:
    variables: dict[str, xr.Variable] = {}
    for name, (ours, long_name, more) in _TRACES.items():
        array = estimates.array(name)
        if name == "YrA" and array is None:
            name, array = "R", estimates.array("R")  # the same under its other name
        if array is None:
            continue
        if array.shape != (results.neurons, results.frames):
            results.left.append(f"estimates/{name}")
            continue
        attrs = {"units": "1", "long_name": long_name, **results.program, **more}
        variables[ours] = _lazy(results.path, array, attrs)
    both = variables["denoised"]
    if "residual" in variables:
        both = both + variables["residual"]
    attrs = {"units": "1", "long_name": "fluorescence", **results.program, **_REMOVED}
    coords: dict[str, Any] = {
        model.NEURON: (model.NEURON, np.arange(results.neurons), {"long_name": "component"})
    }
    for name, long_name in _OF_NEURONS.items():
        coords |= _of_neurons(results, estimates, name, long_name)
    coords |= _accepted(results, estimates)
    latest = "dfof" if "dfof" in variables else model.TRACES
    first = {model.TRACES: xr.Variable(both.dims, both.data, attrs)}
    return xr.Dataset(first | variables, coords, {model.LATEST_ATTR: latest})


def _lazy(path: Path, array: Any, attrs: Mapping[str, Any]) -> xr.Variable:
    """Return traces in blocks of neurons, each of about ``chunk_bytes``."""
    require_whole(array, path)
    lazy = indexing.LazilyIndexedArray(Hdf5Array(path, array))
    rows = max(1, get_option("chunk_bytes") // max(1, array.shape[1] * array.dtype.itemsize))
    return xr.Variable((model.NEURON, model.TIME), lazy, dict(attrs)).chunk({model.NEURON: rows})


def _of_neurons(results: Results, estimates: Values, name: str, long_name: str) -> dict[str, Any]:
    array = estimates.array(name)
    if array is None or array.ndim > 2 or array.size > 64 * results.neurons:
        return {}
    found = load(array, results.path)
    attrs = {"long_name": long_name, **results.program}
    if found.shape == (results.neurons,):
        return {name: (model.NEURON, found, attrs)}
    if found.ndim == 2 and found.shape[0] == results.neurons:
        return {name: ((model.NEURON, f"{name}_order"), found, attrs)}
    return {}


def _accepted(results: Results, estimates: Values) -> dict[str, Any]:
    """Tell which components CaImAn's evaluation has accepted."""
    good, bad = estimates.loaded("idx_components"), estimates.loaded("idx_components_bad")
    if good is None:
        return {}
    bad = np.zeros(0, int) if bad is None else bad
    both = np.concatenate([good.ravel(), bad.ravel()])
    whole = all(part.dtype.kind in "iu" or not part.size for part in (good, bad))
    if not whole or (both.size and not 0 <= both.min() <= both.max() < results.neurons):
        raise RecordingError(
            f"{results.path}: idx_components names components outside of 0 to "
            f"{results.neurons - 1}. Save the results again with CaImAn."
        )
    if len(np.unique(both)) < len(both):
        raise RecordingError(
            f"{results.path}: components are accepted and rejected at once ("
            f"{first_few(np.intersect1d(good, bad).tolist())}), or named twice. Save the results "
            "again with CaImAn."
        )
    flags = np.zeros(results.neurons, bool)
    flags[good.ravel().astype(int)] = True
    attrs = {"long_name": "accepted by CaImAn's evaluation", **results.program}
    coords: dict[str, Any] = {"accepted": (model.NEURON, flags, attrs)}
    if bad.size and both.size < results.neurons:  # some were never evaluated
        judged = np.zeros(results.neurons, bool)
        judged[both.astype(int)] = True
        attrs = {"long_name": "CaImAn's evaluation has looked at it", **results.program}
        coords["evaluated"] = (model.NEURON, judged, attrs)
    return coords


# -- shapes --------------------------------------------------------------------------------


def _rois(results: Results, found: Sparse | None) -> dict[str, xr.Dataset]:
    """Return the pixels of the components in long form."""
    if found is None:
        return {}
    if not results.sizes:
        raise RoiError(
            f"{results.path}: the size of the images ('dims') is missing, without which the pixels "
            "of 'estimates/A' are nowhere. Save the results again with CaImAn."
        )
    wanted = (math.prod(results.sizes), results.neurons)
    if (found.height, found.width) != wanted:
        raise RoiError(
            f"{results.path}: 'estimates/A' has {found.height} pixels of {found.width} components, "
            f"{wanted[0]} ({' x '.join(map(str, results.sizes))}) of {wanted[1]} were expected. "
            "Save the results again with CaImAn."
        )
    weights = found.values
    if not np.isfinite(weights).all() or (weights < 0).any():
        raise RoiError(
            f"{results.path}: weights in 'estimates/A' are negative or not finite. Save the "
            "results again with CaImAn."
        )
    # CaImAn counts pixels down the columns.
    y, x, *plane = np.unravel_index(found.rows, results.sizes, order="F")
    rois = model.rois_long_form(
        found.columns,
        y,
        x,
        weights,
        image_shape=results.sizes[:2],
        plane=plane[0] if plane else None,
    )
    rois.attrs |= results.program
    return {model.ROIS: rois.to_dataset(name=model.ROIS)}


def _add_times(groups: dict[str, xr.Dataset], results: Results, rate: float) -> None:
    attrs = {"units": "s", "long_name": "time since the first frame"}
    times = xr.Variable(model.TIME, np.arange(results.frames) / rate, attrs)
    for name, group in groups.items():
        if model.TIME in group.dims:
            groups[name] = group.assign_coords({model.TIME: times})


def _add_centres(groups: dict[str, xr.Dataset]) -> None:
    """Give each neuron the weighted centre of its pixels, NaN where it has none."""
    if model.ROIS not in groups:
        return
    rois, traces = groups[model.ROIS], groups[model.TRACES]
    neuron, weight = rois[model.NEURON].values, rois[model.ROIS].values
    count = traces.sizes[model.NEURON]
    total = np.bincount(neuron, weight, count)
    coords = {}
    for dim in (model.Y, model.X, model.PLANE):
        if dim not in rois.coords:
            continue
        with np.errstate(invalid="ignore"):
            centre = np.bincount(neuron, weight * rois[dim].values, count) / total
        attrs = {"units": "1", "long_name": f"{dim} of the centre"}
        if dim != model.PLANE:
            coords[dim] = xr.Variable(model.NEURON, centre, attrs)
        elif np.isfinite(centre).all():  # planes have whole numbers
            coords[dim] = xr.Variable(model.NEURON, np.rint(centre).astype(np.int64), attrs)
    groups[model.TRACES] = traces.assign_coords(coords)


def _list_rest(results: Results, estimates: Values) -> None:
    """Name the results that nothing was made of."""
    used = {*_READ_ELSEWHERE, *_TRACES}
    if estimates.array("YrA") is None:
        used.add("R")
    for name in estimates.names():
        if name in used or is_single(estimates.group[name]):
            continue
        array = estimates.array(name)
        fits = array is not None and (
            (name in OF_PIXELS and array.size == math.prod(results.sizes))
            or (name in _OF_NEURONS and array.shape[:1] == (results.neurons,))
        )
        if not fits:
            results.left.append(f"estimates/{name}")
