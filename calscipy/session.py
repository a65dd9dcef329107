"""One object per recording."""

from __future__ import annotations

import os
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from typing import Any

import xarray as xr

from calscipy import io, model, ops, trees
from calscipy.io.prairieview import Metadata
from calscipy.io.store import Progress, StoreChunks, Target, open_store, save_tree
from calscipy.representation import session_html, session_text
from calscipy.session_methods import SessionMethods

GroupValue = xr.DataArray | Callable[["ImagingSession"], xr.DataArray]


@dataclass(frozen=True, eq=False, repr=False)
class ImagingSession:
    """A recording: its movie, traces, events, ROIs and metadata, lazy and labelled.

    Parameters
    ----------
    tree : DataTree
        One group for each kind of data, one level deep; attributes alone at the root.

    Examples
    --------
    >>> import calscipy as cs
    >>> from calscipy.testing import write_recording
    >>> truth = write_recording("TSeries-001", frames=20, shape=(16, 16), neurons=1)
    >>> session = cs.ImagingSession.open("TSeries-001")
    >>> session.movie.dims
    ('frames', 'y', 'x')
    """

    tree: xr.DataTree

    @classmethod
    def open(cls, path: str | os.PathLike[str], **options: Any) -> ImagingSession:
        """Open a recording or a store without reading its images.

        Parameters
        ----------
        path : path
            A PrairieView folder or its master XML; TIFF files or a folder of them; a calscipy
            store, zipped or not; results of suite2p or CaImAn; NWB; our netCDF; ``.bin`` of 0.3.5.
        **options
            ``chunks``: ``"frames"`` (default), ``"time"`` for work along time, a mapping by
            dimension, or None for no dask. PrairieView: ``cycles`` to select cycles, and
            ``check="headers"`` to look into every file. Stores: ``verify="full"`` to compare
            checksums. TIFF and binary files, for what they do not say: ``frame_rate`` in Hz,
            ``channels``, ``planes`` and ``microns_per_pixel``. An unknown option is an error that
            names those there are.

        Raises
        ------
        RecordingError
            If there is nothing that calscipy knows at ``path``.
        StoreError
            If the store is incomplete or of a newer schema.
        """
        return cls(io.open_path(path, **options))

    def save(
        self,
        path: Target,
        groups: Sequence[str] | None = None,
        *,
        chunks: StoreChunks = "hybrid",
        resume: bool = True,
        overwrite: bool = False,
        progress: Progress = None,
    ) -> ImagingSession:
        """Save groups to a zarr store and return the session that lies there.

        Parameters
        ----------
        path : path, URL or zarr Store
            The store: a new folder, or that which this session was opened from, to add groups.
        groups : sequence of str, optional
            Groups to save; all of them by default. For the rest see :func:`calscipy.to_zarr`.

        Raises
        ------
        StoreError
            If anything else is there, or it cannot be written; saving again then goes on.
        """
        how: Any = {
            "chunks": chunks,
            "resume": resume,
            "overwrite": overwrite,
            "progress": progress,
        }
        saved: Any = save_tree(self.tree, path, groups=groups, **how)
        return type(self)(open_store(saved))

    def assign(self, **variables: GroupValue) -> ImagingSession:
        """Return a session with further variables.

        Parameters
        ----------
        **variables
            DataArrays, or functions of the session that return one, by name. ``movie``,
            ``events`` and ``rois`` go to the group of that name, everything along ``neuron``
            and ``time`` to ``traces``. A new ``movie`` or new ``traces`` end what was made from
            the old ones in the same group, new ``traces`` also the events. The next verb of a
            group works on what was assigned last, but never on ``neuropil`` or ``baseline``.

        Examples
        --------
        >>> import calscipy as cs
        >>> session = cs.ImagingSession(xr.DataTree())
        >>> traces = cs.from_numpy(np.ones((2, 3)), frame_rate=30)
        >>> session.assign(traces=traces).traces.shape
        (2, 3)
        """
        session = self
        # What starts a group anew comes before what stands beside it.
        for name in sorted(variables, key=lambda name: name not in (model.MOVIE, model.TRACES)):
            value = variables[name]
            data = value(session) if callable(value) else value
            group = trees.group_of(name, data)
            latest = name not in model.BESIDE
            session = ImagingSession(trees.put(session.tree, group, name, data, latest=latest))
        return session

    def sel(self, **selection: Hashable | slice | Sequence[Any]) -> ImagingSession:
        """Select in every group at once.

        Parameters
        ----------
        **selection
            ``time=slice(60, 120)`` in s, ``channel``, ``plane``, ``neuron``, ``y`` and ``x`` (in
            the units of the coordinates), as in ``xarray.DataArray.sel``.

        Examples
        --------
        >>> import calscipy as cs
        >>> traces = cs.from_numpy(np.ones((2, 30)), frame_rate=10)
        >>> session = cs.ImagingSession(xr.DataTree()).assign(traces=traces)
        >>> session.sel(time=slice(1, 2)).traces.sizes["time"]
        11
        """
        return ImagingSession(trees.select(self.tree, selection))

    def align(self, group: str = "voltage", to: str = "movie", **options: Any) -> xr.DataArray:
        """Give signals of one group the times of another, see :func:`calscipy.align`."""
        clock = trees.latest(self.tree, to)[model.TIME]
        return ops.align(trees.latest(self.tree, group), clock, **options)

    def attach(self, path: str | os.PathLike[str], **options: Any) -> ImagingSession:
        """Bring in what suite2p or CaImAn found in this recording, see `calscipy.attach`."""
        from calscipy.attaching import attach

        return attach(self, path, **options)

    def use_frame_clock(self, signal: str, **options: Any) -> ImagingSession:
        """Take the times of frames from recorded pulses, see `calscipy.frame_clock`."""
        from calscipy.frame_clock import use_frame_clock

        return use_frame_clock(self, signal, **options)

    @property
    def cs(self) -> SessionMethods:
        """The operations, each on the group that it fits; they return sessions and chain."""
        return SessionMethods(self)

    @property
    def movie(self) -> xr.DataArray:
        """The movie ``(frames [, channel] [, plane], y, x)``."""
        return trees.variable(self.tree, model.MOVIE, model.MOVIE)

    @property
    def traces(self) -> xr.DataArray:
        """Fluorescence of the neurons ``(neuron, time)``."""
        return trees.variable(self.tree, model.TRACES, model.TRACES)

    @property
    def dfof(self) -> xr.DataArray:
        """ΔF/F₀ of the neurons ``(neuron, time)``."""
        return trees.variable(self.tree, model.TRACES, "dfof")

    @property
    def events(self) -> xr.DataArray:
        """Event onsets, boolean ``(neuron, time)``."""
        return trees.variable(self.tree, model.EVENTS, model.EVENTS)

    @property
    def voltage(self) -> xr.DataArray:
        """Analog signals ``(signal, time)``."""
        return trees.variable(self.tree, model.VOLTAGE, model.VOLTAGE)

    @property
    def stimulus(self) -> xr.Dataset:
        """Photostimulation: one row for each target and time."""
        return trees.group(self.tree, model.STIMULUS)

    @property
    def rois(self) -> xr.DataArray:
        """Weights of the ROI pixels, in long form."""
        return trees.variable(self.tree, model.ROIS, model.ROIS)

    @property
    def metadata(self) -> Metadata:
        """What the microscope wrote, by name and typed."""
        return Metadata(self.tree.attrs.get(model.STATE_ATTR, {}))

    @property
    def frame_rate(self) -> float:
        """Frames, or volumes, in a second."""
        group = model.MOVIE if model.MOVIE in self.tree.children else model.TRACES
        return model.frame_rate(trees.latest(self.tree, group), "session.frame_rate")

    def __getattr__(self, name: str) -> xr.DataArray:
        """Return any other variable, such as ``neuropil`` or ``spikes``, by its name."""
        if name.startswith("_") or name == "tree":  # asked for by copies before they have one
            raise AttributeError(name)
        return trees.anywhere(self.tree, name)

    def __dir__(self) -> list[str]:
        variables = {str(name) for node in self.tree.children.values() for name in node.data_vars}
        return sorted({*super().__dir__(), *variables})

    def __repr__(self) -> str:
        return session_text(self.tree)

    def _repr_html_(self) -> str:
        return session_html(self.tree)
