"""From a movie to one trace for each neuron."""

from __future__ import annotations

from typing import Literal, get_args

import numpy as np
import xarray as xr

from calscipy import model
from calscipy.errors import ArgumentError, RoiError, first_few
from calscipy.history import described, recorded
from calscipy.ops._footprints import Footprints, averaged, footprints

Overlap = Literal["share", "exclude"]


@recorded
def extract(
    data: xr.DataArray, rois: xr.DataArray | np.ndarray, *, overlap: Overlap = "share"
) -> xr.DataArray:
    """Average a movie over each neuron's pixels, with their weights.

    Parameters
    ----------
    data : DataArray
        Movie ``(frames [, channel] [, plane], y, x)`` with a ``time`` coordinate.
    rois : DataArray or ndarray
        ROIs in long form (``rois_from_labels``, ``rois_from_suite2p``) or a label image
        ``(y, x)`` or ``(plane, y, x)``. Pixels count from the corner of the recording, also on
        a cropped movie. Labels larger than the movie are therefore taken for those of the whole
        recording: that they are of another one shows only where a neuron lies outside of the
        movie, or where the metadata give the lines of a frame. Pixels of weight 0 are left out.
    overlap : {"share", "exclude"}, default "share"
        Whether a pixel of several neurons counts for each of them or for none.

    Returns
    -------
    DataArray
        Traces ``(neuron [, channel], time)`` in float32, in the units of the movie: the
        weighted mean of each neuron's pixels. NaN where its plane's frame is not ``valid``, and
        where one of its pixels is NaN, in that frame. ``y``, ``x`` (and ``plane``) of the
        neurons' centres are coordinates, the same whatever becomes of shared pixels, as are the
        ``roi_name`` of ROIs that have one and, where
        the metadata of the microscope say enough, ``time_offset`` in s: how long after ``time``
        the scan of the neuron's line began (see :func:`correct_time_offset`).

    Raises
    ------
    RoiError
        If ROIs lie outside of the movie, if their planes do not fit, if a neuron is left
        without pixels, lists one twice or in fractions, or has negative weights.

    Examples
    --------
    >>> import calscipy as cs
    >>> movie = cs.from_numpy(np.arange(8, dtype="uint16").reshape(2, 2, 2), frame_rate=30)
    >>> extract(movie, np.array([[1, 1], [0, 2]])).values.tolist()
    [[0.5, 4.5], [3.0, 7.0]]
    """
    if overlap not in get_args(Overlap):
        raise ArgumentError(f"overlap must be one of {get_args(Overlap)}, got {overlap!r}")
    neurons = footprints(data, rois, "extract")
    pixels = neurons if overlap == "share" else _without_shared(neurons)
    result = averaged(data, neurons, pixels, name=model.TRACES, verb="extract")
    return described(result, units=data.attrs.get("units", "1"), long_name="fluorescence of ROIs")


def _without_shared(found: Footprints) -> Footprints:
    """Leave out the pixels of several neurons."""
    place = (found.y, found.x) if found.plane is None else (found.plane, found.y, found.x)
    flat = np.ravel_multi_index(place, [int(axis.max()) + 1 for axis in place])
    _, pixel = np.unique(flat, return_inverse=True)
    own = found.only(np.bincount(pixel)[pixel] == 1)  # no neuron lists a pixel twice
    left = np.bincount(own.row, own.weight, len(found.neurons))
    if not (left > 0).all():
        raise RoiError(
            f"extract(overlap='exclude'): {(~(left > 0)).sum()} neurons are left without pixels "
            f"of their own (neurons {first_few(list(found.neurons[~(left > 0)]))}). Leave them "
            "out, or use overlap='share'."
        )
    return own
