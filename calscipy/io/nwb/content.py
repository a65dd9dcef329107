"""A session as the objects of NWB, whose large arrays are filled in after they are written."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr

from calscipy import model
from calscipy._version import __version__
from calscipy.errors import TimeAxisError, first_few
from calscipy.io.nwb.carried import SCRATCH, Stored, describe_session
from calscipy.io.nwb.facts import Channel, Facts
from calscipy.io.nwb.tables import add_epochs, add_invalid_times, add_stimuli, roi_table
from calscipy.io.optional import optional

OPHYS = "ophys"
SMALL_BYTES = 16 * 2**20  # of variables that the JSON may hold
_UNKNOWN = "unknown"
_UNITS = "units"  # of each signal of a voltage recording
_UM = "micrometers"
_PLANES = (model.PLANE,)
_FURTHER_NAMES = {"dfof": "DfOverF"}  # variables that have a container of their own


@dataclass(frozen=True)
class Fill:
    """Values that belong into a dataset of the file."""

    dataset: str
    values: xr.Variable
    dtype: np.dtype


class Content:
    """The NWB file of a session.

    Parameters
    ----------
    tree : DataTree
        The session.
    facts : Facts
        What was given.

    Attributes
    ----------
    file : pynwb.NWBFile
        Everything but the values of large arrays.
    fills : list of Fill
        These.
    left_out : set of (str, str)
        Groups and names of variables that neither NWB nor the JSON in it can hold.
    """

    def __init__(self, tree: xr.DataTree, facts: Facts) -> None:
        self._pynwb = optional("pynwb", extra="nwb", purpose="NWB files")
        optional("pynwb.ophys", extra="nwb", purpose="NWB files")
        self._hdmf = optional("hdmf.backends.hdf5.h5_utils", extra="nwb", purpose="NWB files")
        self._tree = tree
        self._facts = facts
        self.fills: list[Fill] = []
        self.left_out: set[tuple[str, str]] = set()
        self._clocks: list[tuple[np.ndarray, Any]] = []
        self._stored: dict[tuple[str, str], Stored] = {}
        self._names: set[str] = set()
        self.file = self._new_file()
        self._planes = self._imaging_planes()
        self._segmentation, self._rows = self._add_rois()
        for name, node in tree.children.items():
            self._add_group(name, node.to_dataset())
        self._carry()

    def _new_file(self) -> Any:
        facts = self._facts
        file = self._pynwb.NWBFile(
            session_description=facts.description,
            identifier=facts.identifier,
            session_start_time=facts.start,
            subject=self._pynwb.file.Subject(**facts.subject),
            was_generated_by=[["calscipy", __version__]],
            **facts.further,
        )
        source = self._tree.attrs.get(model.SOURCE_ATTR)
        if isinstance(source, str) and not file.data_collection:
            file.data_collection = f"recorded as {source}"
        return file

    # -- what was imaged ----------------------------------------------------------------

    def _imaging_planes(self) -> list[Any]:
        """Make one imaging plane for each channel."""
        if not self._facts.channels:
            return []
        movie = self._movie()
        device = self.file.create_device(name="microscope", **_device(movie))
        return [self._imaging_plane(channel, device, movie) for channel in self._facts.channels]

    def _movie(self) -> xr.DataArray | None:
        """Return the movie, or traces in its place."""
        for group in (model.MOVIE, model.TRACES, model.EVENTS):
            if group in self._tree.children:
                dataset = self._tree[group].to_dataset()
                for variable in dataset.data_vars.values():
                    if model.TIME in variable.coords:
                        return variable
        return None

    def _imaging_plane(self, channel: Channel, device: Any, movie: xr.DataArray | None) -> Any:
        optical = self._pynwb.ophys.OpticalChannel(
            name=_name(channel.name or "channel"),
            description=f"channel {channel.name}".strip(),
            emission_lambda=channel.emission_nm,
        )
        return self.file.create_imaging_plane(
            name=self._free("imaging_plane", channel.name),
            optical_channel=optical,
            description=_place(movie),
            device=device,
            excitation_lambda=channel.excitation_nm,
            indicator=channel.indicator,
            location=self._facts.location,
            imaging_rate=_rate(movie),
            **_grid(movie),
        )

    # -- groups -------------------------------------------------------------------------

    def _add_group(self, group: str, dataset: xr.Dataset) -> None:
        for name, data in dataset.data_vars.items():
            self._add_variable(group, str(name), data)
        if group == model.STIMULUS:
            add_stimuli(self.file, dataset)
        if group == model.MOVIE and model.TIME in dataset.coords:
            add_epochs(self.file, dataset)
            add_invalid_times(self.file, dataset)

    def _add_variable(self, group: str, name: str, data: xr.DataArray) -> None:
        """Put a variable where NWB has a place for it."""
        dims = set(data.dims)
        numeric = data.dtype.kind in "biuf" and data.size > 0
        timed = model.TIME in data.coords and data[model.TIME].ndim == 1
        if numeric and timed and {model.FRAMES, model.Y, model.X} <= dims <= set(model.MOVIE_DIMS):
            self._add_movie(group, name, data)
        elif numeric and timed and model.TIME in dims and self._is_response(data):
            self._add_responses(group, name, data)
        elif numeric and timed and model.TIME in dims and data.ndim <= 2:
            self._add_signals(group, name, data)
        elif data.nbytes > SMALL_BYTES or data.dtype.kind not in "biufmMUTO":
            self.left_out.add((group, name))

    def _is_response(self, data: xr.DataArray) -> bool:
        return {model.NEURON} <= set(data.dims) <= {model.NEURON, model.CHANNEL, model.TIME}

    def _add_movie(self, group: str, name: str, data: xr.DataArray) -> None:
        """Add a series of images for each channel: (frames, x, y [, plane])."""
        dims = [model.FRAMES, model.X, model.Y]
        dims += [model.PLANE] if model.PLANE in data.dims else []
        series = []
        for plane, channel, part in self._by_channel(data):
            one = self._pynwb.ophys.TwoPhotonSeries(
                name=self._free(name, channel),
                imaging_plane=plane,
                dimension=[data.sizes[dim] for dim in dims[1:]],
                **_microscope(data),
                **self._about(data, part.transpose(*dims)),
            )
            self.file.add_acquisition(one)
            series.append(self._fill(f"acquisition/{one.name}", one, part.transpose(*dims)))
        self._store(group, name, series, dims, _over(data))

    def _add_responses(self, group: str, name: str, data: xr.DataArray) -> None:
        """Add the traces of all neurons for each channel: (time, neuron)."""
        dims = [model.TIME, model.NEURON]
        container = None
        if data.dtype.kind != "b":
            container = self._container(_FURTHER_NAMES.get(name, "Fluorescence"))
        series = []
        for _, channel, part in self._by_channel(data):
            one = self._pynwb.ophys.RoiResponseSeries(
                name=self._free(name, channel),
                rois=self._region(data),
                **self._about(data, part.transpose(*dims)),
            )
            place = f"processing/{OPHYS}/{one.name}"
            if container is None:
                self._module().add(one)
            else:
                container.add_roi_response_series(one)
                place = f"processing/{OPHYS}/{container.name}/{one.name}"
            series.append(self._fill(place, one, part.transpose(*dims)))
        self._store(group, name, series, dims, _over(data))

    def _add_signals(self, group: str, name: str, data: xr.DataArray) -> None:
        """Add a series for each signal of a recording, or one for all of a table."""
        over = str(next(dim for dim in data.dims if dim != model.TIME)) if data.ndim > 1 else None
        several = over == model.SIGNAL
        parts = [data.isel({over: at}) for at in range(data.sizes[over])] if several else [data]
        dims = [model.TIME] if several or over is None else [model.TIME, over]
        series = []
        for part in parts:
            called = str(part[over].item()) if several and over in part.coords else ""
            about = self._about(data, part.transpose(*dims))
            if several and _UNITS in part.coords:
                about["unit"] = str(part[_UNITS].item())
            one = self._pynwb.TimeSeries(name=self._free(name, called), **about)
            self.file.add_acquisition(one)
            series.append(self._fill(f"acquisition/{one.name}", one, part.transpose(*dims)))
        self._store(group, name, series, dims, over if several else None)

    # -- series -------------------------------------------------------------------------

    def _by_channel(self, data: xr.DataArray) -> Iterator[tuple[Any, str, xr.DataArray]]:
        """Split an array by channels: imaging plane, name of the channel, its part."""
        names = [channel.name for channel in self._facts.channels]
        several = model.CHANNEL in data.dims
        for at in range(data.sizes[model.CHANNEL] if several else 1):
            part = data.isel({model.CHANNEL: at}) if several else data
            own = str(part[model.CHANNEL].item()) if model.CHANNEL in part.coords else ""
            plane = names.index(own) if own in names else min(at, len(names) - 1)
            yield self._planes[plane], (own or names[plane]) if several else "", part

    def _about(self, data: xr.DataArray, part: xr.DataArray) -> dict[str, Any]:
        """Return what every series has; its values are filled in later."""
        times = model.seconds(data, "to_nwb")
        known = [series for clock, series in self._clocks if np.array_equal(clock, times)]
        return {
            "data": self._hdmf.H5DataIO(
                shape=part.shape, dtype=stored_type(part.dtype), chunks=_chunks(part)
            ),
            "unit": str(data.attrs.get("units", _UNKNOWN)),
            "description": str(data.attrs.get("long_name", data.name)),
            "comments": str(data.attrs.get("history") or "no comments"),
            "timestamps": known[0] if known else times,
        }

    def _fill(self, place: str, series: Any, part: xr.DataArray) -> str:
        """Note that a series waits for its values; return where it stands."""
        self.fills.append(Fill(f"/{place}/data", part.variable, stored_type(part.dtype)))
        if not hasattr(series.fields["timestamps"], "fields"):
            self._clocks.append((np.asarray(series.fields["timestamps"]), series))
        return place

    def _store(
        self, group: str, name: str, series: list[str], dims: list[str], over: str | None
    ) -> None:
        self._stored[group, name] = Stored(tuple(series), tuple(dims), over)

    def _free(self, name: str, part: str) -> str:
        """Return a name that no other series has, of characters that NWB takes."""
        wanted = _name(f"{name}_{part}" if part else name)
        numbers = (f"{wanted}_{at}" if at else wanted for at in itertools.count())
        found = next(one for one in numbers if one not in self._names)
        self._names.add(found)
        return found

    def _module(self) -> Any:
        if OPHYS in self.file.processing:
            return self.file.processing[OPHYS]
        return self.file.create_processing_module(OPHYS, "what was made from the images")

    def _container(self, kind: str) -> Any:
        """Return the container of responses of a kind."""
        module = self._module()
        if kind not in module.data_interfaces:
            module.add(getattr(self._pynwb.ophys, kind)(name=kind))
        return module[kind]

    # -- ROIs and the rest --------------------------------------------------------------

    def _add_rois(self) -> tuple[Any, dict[Any, int]]:
        if model.ROIS not in self._tree.children or not self._planes:
            return None, {}
        rois = self._tree[model.ROIS].to_dataset()
        if model.ROIS not in rois or not rois[model.ROIS].size:
            return None, {}
        movie = self._movie()
        segmentation, rows = roi_table(rois[model.ROIS], self._planes[0], movie)
        container = self._pynwb.ophys.ImageSegmentation()
        container.add_plane_segmentation(segmentation)
        self._module().add(container)
        return segmentation, rows

    def _region(self, data: xr.DataArray) -> Any:
        neurons = model.coordinate(data, model.NEURON).tolist()
        return self._segmentation.create_roi_table_region(
            description="the ROIs of these responses", region=[self._rows[one] for one in neurons]
        )

    def _carry(self) -> None:
        text = describe_session(self._tree, self._stored, self.left_out)
        self.file.add_scratch(
            text,
            name=SCRATCH,
            description="What NWB has no place for, as JSON; calscipy opens the session from it.",
        )


def missing_rois(tree: xr.DataTree) -> list[str]:
    """Say which neurons have no ROI, without which NWB takes no responses."""
    wanted: dict[Any, None] = {}
    for node in tree.children.values():
        for data in node.data_vars.values():
            if {model.NEURON, model.TIME} <= set(data.dims):
                if model.NEURON not in data.coords:
                    return ["rois: the neurons of the traces have no names ('neuron')"]
                wanted |= dict.fromkeys(model.coordinate(data, model.NEURON).tolist())
    known: set[Any] = set()
    if model.ROIS in tree.children and model.ROIS in tree[model.ROIS].data_vars:
        rois = tree[model.ROIS].to_dataset()[model.ROIS]
        known = set(model.coordinate(rois, model.NEURON).tolist())
    lacking = [neuron for neuron in wanted if neuron not in known]
    if not lacking:
        return []
    return [
        f"rois: the pixels of the neurons {first_few(lacking)}, to which traces refer: "
        "session.assign(rois=...) before, or leave traces and events out with groups="
    ]


def stored_type(dtype: np.dtype) -> np.dtype:
    """Return the type in which NWB holds numbers."""
    if dtype.kind == "b":
        return np.dtype("u1")
    return np.dtype("f4") if dtype == np.float16 else dtype.newbyteorder("=")


def _name(text: str) -> str:
    """Return a text without what HDF5 and NWB take for paths."""
    cleaned = re.sub(r"[/:\x00-\x1f]", "_", text).strip(". ")
    return cleaned or "unnamed"


def _over(data: xr.DataArray) -> str | None:
    return model.CHANNEL if model.CHANNEL in data.dims else None


def _chunks(part: xr.DataArray) -> tuple[int, ...] | None:
    """Return chunks of volumes, whose planes are written one by one; None for one run of bytes."""
    if part.ndim < 4:
        return None
    lengths = [max(of) for of in part.chunks] if part.chunks else [1, *part.shape[1:3], 1]
    return tuple(lengths[:1] + list(part.shape[1:3]) + [1])


def _rate(movie: xr.DataArray | None) -> float | None:
    try:
        return None if movie is None else model.frame_rate(movie)
    except TimeAxisError:
        return None


def _place(movie: xr.DataArray | None) -> str:
    """Describe the planes that were imaged by what is known of them."""
    if movie is None or model.Z not in movie.coords or movie[model.Z].dims not in ((), _PLANES):
        return "imaging plane"
    heights = np.atleast_1d(model.coordinate(movie, model.Z)).ravel()
    unit = movie[model.Z].attrs.get("units", "")
    shown = ", ".join(f"{z:g}" for z in heights[:100].tolist())
    return f"imaging plane at z = {shown} {unit}".strip()


def _grid(movie: xr.DataArray | None) -> dict[str, Any]:
    """Return the size of pixels where it is known in um."""
    if movie is None or not {model.X, model.Y} <= set(movie.dims):
        return {}
    sizes = [model.pixel_size_um(movie[dim]) for dim in (model.X, model.Y) if dim in movie.coords]
    if len(sizes) < 2 or None in sizes:
        return {}
    return {"grid_spacing": sizes, "grid_spacing_unit": _UM}


def _device(movie: xr.DataArray | None) -> dict[str, str]:
    """Describe the microscope by what the recording tells of it."""
    known = (
        []
        if movie is None
        else [
            f"{word} {movie.attrs[name]}"
            for name, word in (("objective", "objective"), ("prairieview_version", "PrairieView"))
            if name in movie.attrs
        ]
    )
    return {"description": ", ".join(known)} if known else {}


def _microscope(data: xr.DataArray) -> dict[str, Any]:
    """Return what NWB asks of a scan, where the recording tells it."""
    found: dict[str, Any] = {}
    gain, line = data.attrs.get("pmt_gain"), data.attrs.get("scan_line_period")
    if isinstance(gain, int | float):
        found["pmt_gain"] = float(gain)
    if isinstance(line, int | float) and line > 0:
        found["scan_line_rate"] = 1.0 / line
    return found
