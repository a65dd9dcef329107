"""A movie to scrub through, of which only the frames that are shown are read."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import xarray as xr

from calscipy import model
from calscipy.errors import ArgumentError
from calscipy.plotting.interactive.embedding import embed
from calscipy.plotting.interactive.layers import Layer, layers_of
from calscipy.plotting.interactive.pages import DATA_BYTES
from calscipy.plotting.interactive.player import Player
from calscipy.plotting.interactive.scene import Scene
from calscipy.plotting.interactive.view import Built, View
from calscipy.plotting.style import name_of

_TRACE_SHARE = 3  # one part in so many of a page is for traces at most
Frames = int | slice | Sequence[int]


class MovieView(View):
    """A movie with sliders for frame, plane and contrast, and time courses of what is clicked."""

    def __init__(self, scene: Scene, title: str) -> None:
        super().__init__(title)
        self._scene = scene

    def html(self, *, frames: Frames | None = None) -> str:
        """Return the page that :meth:`save_html` writes."""
        return self._page(frames=frames)

    def save_html(
        self,
        path: str | os.PathLike[str],
        *,
        frames: Frames | None = None,
    ) -> Path:
        """Write a page that holds some frames and works without Python and without a network.

        Parameters
        ----------
        path : path
            The page, a new file that ends in ``.html``.
        frames : int, slice or sequence of int, optional
            Which frames: so many, evenly chosen, or these. By default as many as fit. Images are
            made coarser until they fit into a page of 10 MB; the page says what was left out.

        Returns
        -------
        Path
            The page.

        Raises
        ------
        TargetExistsError
            If there is anything at ``path``.
        ArgumentError
            If so many frames do not fit, however coarse.
        """
        return self._save(path, frames=frames)

    def _build(self, *, live: bool, frames: Frames | None = None, **options: Any) -> Built:
        if live:
            return Player(self._scene).built(self.title)
        whole = sum(2 * layer.values.size for layer in self._scene.layers)
        for_traces = min(whole, DATA_BYTES // _TRACE_SHARE)
        pictures = embed(self._scene.reader, frames, DATA_BYTES - for_traces)
        return Player(self._scene, pictures, for_traces).built(self.title)


def view_movie(
    movie: xr.DataArray,
    rois: xr.DataArray | None = None,
    traces: xr.DataArray | None = None,
    *,
    title: str | None = None,
) -> MovieView:
    """Scrub through a movie, of which only the frames that are shown are read.

    Parameters
    ----------
    movie : DataArray
        Movie ``(frames [, channel] [, plane], y, x)``, lazy or not.
    rois : DataArray, optional
        ROIs in long form, which are outlined.
    traces : DataArray, optional
        Traces ``(neuron, time)``, drawn beside the movie; lazy ones are computed. With ``rois``,
        a click on one of them chooses its neuron.
    title : str, optional
        Title above everything; the ``long_name`` of the movie by default.

    Returns
    -------
    MovieView
        Shown in notebooks; ``serve()`` answers a browser; ``save_html(path, frames=)`` writes a
        page with some frames. A click on the image draws the mean of 3 x 3 pixels over time, in
        as many frames around the one that is shown as lie in 128 MB of blocks, of one block at
        least; the title says which.

    Raises
    ------
    DimensionError
        Without the dimensions of a movie.
    RoiError
        If no ROI lies on the movie.
    MissingPackageError
        Without the extra ``plot``.

    Examples
    --------
    >>> frames = np.random.default_rng(0).poisson(9, (20, 16, 16)).astype("uint16")
    >>> movie = cs.from_numpy(frames, frame_rate=10, microns_per_pixel=1.0)
    >>> view_movie(movie).save_html("movie.html", frames=5).name
    'movie.html'
    """
    if not isinstance(movie, xr.DataArray):
        raise ArgumentError(
            f"view_movie needs an xarray.DataArray, got {type(movie).__name__}. Wrap it first, "
            "for instance calscipy.from_numpy(array, frame_rate=30)."
        )
    model.require_dims(movie, (model.FRAMES, model.Y, model.X), "view_movie")
    others = [dim for dim in movie.dims if dim not in model.MOVIE_DIMS]
    if others or 0 in movie.shape or movie.dtype.kind not in "biuf":
        raise ArgumentError(
            f"view_movie shows numbers (frames [, channel] [, plane], y, x), got {movie.dtype} of "
            f"{dict(movie.sizes)}. Select one of each further dimension."
        )
    neurons: list[Any] | None = None
    layers: list[Layer] = []
    if traces is not None:
        neurons, layers = layers_of([(None, traces)], "view_movie")
    return MovieView(Scene(movie, rois, neurons, layers), title or name_of(movie, "movie"))
