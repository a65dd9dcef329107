"""Four images from one pass over a movie."""

from __future__ import annotations

import xarray as xr

from calscipy import model
from calscipy.blocks.summary import summary_images
from calscipy.errors import ArgumentError
from calscipy.history import described, recorded
from calscipy.ops._frames import require_some_valid
from calscipy.ops.project import with_cell_method

MEAN, MAX, STD, LOCAL_CORRELATION = "mean", "max", "std", "local_correlation"


@recorded
def summary(data: xr.DataArray) -> xr.Dataset:
    """Mean, maximum, standard deviation and local correlation in one pass over the movie.

    All four images come from the same tasks: `compute()` or `to_zarr()` of the Dataset as a whole
    reads every frame once. Images that are computed one by one read the movie each time.

    Parameters
    ----------
    data : DataArray
        Movie ``(frames [, channel] [, plane], y, x)``. Frames that are not ``valid`` are left
        out. Every channel and plane is summarised by itself.

    Returns
    -------
    Dataset
        Images ``([channel] [plane] y, x)``, lazy if ``data`` is:

        ``mean``, ``std``
            float64, in the units of the movie; the standard deviation divides by the frames.
        ``max``
            In the units and the dtype of the movie.
        ``local_correlation``
            float64, dimensionless: the mean of the Pearson correlations of a pixel's time course
            with those of its neighbours, 8 inside of the image, 5 at its edges and 3 in its
            corners. A pixel that does not change has the correlation 0 with every neighbour.
            NaN in an image of a single pixel.

        In movies of floats, a pixel with a NaN or an infinite value in any valid frame, such as
        those that motion correction leaves at the edges, is NaN in all four images, and is left
        out of the local correlation of its neighbours.

    Raises
    ------
    ArgumentError
        If there is no frame, or a channel or plane has no valid frame at all.

    Notes
    -----
    The local correlation is that of Smith & Häusser (2010, doi:10.1038/nn.2620): active cells
    stand out in it, because their pixels rise and fall together.

    Integers of up to 16 bits are summed exactly, so that the chunks do not matter to the last
    bit. Other numbers are summed in float64, less the first valid frame.

    Examples
    --------
    >>> import numpy as np
    >>> import calscipy as cs
    >>> movie = cs.from_numpy(np.array([[[1, 3]], [[2, 5]]], "uint16"), frame_rate=30)
    >>> images = summary(movie)
    >>> images["std"].values.tolist(), images["local_correlation"].values.round(9).tolist()
    ([[0.5, 1.0]], [[1.0, 1.0]])
    """
    model.require_dims(data, (model.FRAMES, model.Y, model.X), "summary")
    if data.dtype.kind not in "biuf" or data.dtype.itemsize > 8:
        raise ArgumentError(
            "summary needs booleans, integers or floats of up to 64 bits, got an array of "
            f"{data.dtype}"
        )
    if not data.size:
        raise ArgumentError(f"summary needs at least one frame and pixel, found {dict(data.sizes)}")
    movie = data.transpose(model.FRAMES, ..., model.Y, model.X)
    valid = model.valid_frames(movie)
    if valid is not None:
        require_some_valid(valid, "summary")
    coords = {
        name: coord.variable
        for name, coord in movie.coords.items()
        if model.FRAMES not in coord.dims
    }
    dims = tuple(dim for dim in data.dims if dim != model.FRAMES)
    made = summary_images(movie.data, valid)
    units = data.attrs.get("units", "1")
    name = data.attrs.get("long_name", "fluorescence")
    images = {}
    for word, values in zip((MEAN, MAX, STD), (made.mean, made.max, made.std), strict=True):
        image = xr.DataArray(values, coords, movie.dims[1:], attrs=data.attrs)
        image = described(image, units=units, long_name=f"{word} over frames of {name}")
        images[word] = with_cell_method(image, data, (model.FRAMES,), word)
    image = xr.DataArray(made.local_correlation, coords, movie.dims[1:], attrs=data.attrs)
    images[LOCAL_CORRELATION] = described(
        image, units="1", long_name=f"local correlation of {name}"
    )
    return xr.Dataset({word: image.transpose(*dims) for word, image in images.items()})
