"""OME-Zarr 0.5 attributes, so that any OME-Zarr viewer opens the movie of a store."""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr

from calscipy import model
from calscipy.errors import TimeAxisError

VERSION = "0.5"
_TYPES = {model.FRAMES: "time", model.CHANNEL: "channel"}


def multiscales(movie: xr.DataArray, path: str) -> dict[str, Any]:
    """Describe a movie as an OME-Zarr image of one resolution at ``path``."""
    axes, scale = [], []
    for dim in map(str, movie.dims):
        kind = _TYPES.get(dim, "space")
        axis = {"name": dim, "type": kind}
        step = 1.0
        if kind == "time":
            try:
                step = 1.0 / model.frame_rate(movie)
                axis["unit"] = "second"
            except TimeAxisError:
                step = 1.0
        elif kind == "space":
            coordinate = movie.coords.get(model.Z if dim == model.PLANE else dim)
            if coordinate is not None and coordinate.attrs.get("units") == "um":
                axis["unit"] = "micrometer"
                step = _step(coordinate)
        axes.append(axis)
        scale.append(step)
    transformations = [{"type": "scale", "scale": scale}]
    return {
        "version": VERSION,
        "multiscales": [
            {
                "name": str(movie.name),
                "axes": axes,
                "datasets": [{"path": path, "coordinateTransformations": transformations}],
            }
        ],
    }


def _step(coordinate: xr.DataArray) -> float:
    steps = np.abs(np.diff(np.asarray(coordinate.values, dtype=float), axis=-1))
    known = steps[np.isfinite(steps) & (steps > 0)]
    return float(np.median(known)) if known.size else 1.0
