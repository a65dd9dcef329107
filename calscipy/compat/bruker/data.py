"""Recordings of PrairieView (``CalSciPy.bruker.data``)."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd

from calscipy import model, prairieview
from calscipy.compat.bruker.factories import BrukerElementFactory
from calscipy.compat.bruker.meta_objects import PhotostimulationMeta
from calscipy.errors import ArgumentError, CalscipyWarning, warn
from calscipy.io.photostimulation.lossless import read_document
from calscipy.io.prairieview import is_master
from calscipy.io.prairieview.read_times import read_frame_times
from calscipy.io.prairieview.voltage_files import read_voltage_files
from calscipy.kernels.frame_numbers import frame_of_samples, frames_at_samples
from calscipy.session import ImagingSession

FRAME, FILLED_FRAME, TIME = "Imaging Frame", "Imaging Frame (filled)", "Time (ms)"

PathLike = str | os.PathLike[str]


def align_data(
    analog_data: pd.DataFrame,
    frame_times: pd.DataFrame,
    fill: bool = False,
    method: Literal["nearest", "previous"] = "nearest",
) -> pd.DataFrame:
    """Tell at which analog samples the frames of a movie were taken.

    Now: ``session.align("voltage", to="movie")``

    Parameters
    ----------
    analog_data : DataFrame
        Samples, with times in ms as index, see `load_voltage_recording`.
    frame_times : DataFrame
        Numbers of frames, with times in ms as index, see `extract_frame_times`.
    fill : bool, default False
        Also tell for every sample which frame belongs to it.
    method : {"nearest", "previous"}, default "nearest"
        Which one that is: the nearest, or the last one up to it, which is being taken then.

    Returns
    -------
    DataFrame
        The samples with the column ``Imaging Frame``, the number of the frame at the sample
        nearest to its time and NaN elsewhere; with ``fill`` also ``Imaging Frame (filled)``, NaN
        where there are no frames. 0.3.5 lost frames whose times in whole ms no sample had.

    Warns
    -----
    CalscipyWarning
        For frames outside of the analog recording, and those that share a sample with a later one.

    Examples
    --------
    >>> analog = pd.DataFrame({"LFP": range(5)}, index=pd.Index([0.0, 10, 20, 30, 40]))
    >>> frames = pd.DataFrame({"Imaging Frame": [0, 1]}, index=pd.Index([9.6, 30.2]))
    >>> align_data(analog, frames)["Imaging Frame"].tolist()
    [nan, 0.0, nan, 1.0, nan]
    """
    samples, frames = (one.index.to_numpy(np.float64) for one in (analog_data, frame_times))
    numbers = frame_times.iloc[:, 0].to_numpy(np.float64)
    marks, outside, shared = frames_at_samples(samples, frames, numbers)
    if outside or shared:
        warn(
            f"align_data: {outside} frames lie outside of the analog recording, and {shared} share "
            "the sample nearest to them with a later one: neither are marked.",
            CalscipyWarning,
        )
    aligned = analog_data.assign(**{FRAME: marks})
    if fill:
        aligned[FILLED_FRAME] = frame_of_samples(samples, frames, numbers, method=method)
    return aligned


def determine_imaging_content(folder: PathLike) -> tuple[int, int, int, int, int]:
    """Count channels, planes, frames, rows and columns of a recording.

    Now: ``cs.prairieview.imaging_content(folder)``

    Parameters
    ----------
    folder : path
        Folder of the recording, or its master XML.

    Returns
    -------
    channels, planes, frames, height, width : int
        From the master XML; from the names of the files, with a warning, where that is lost.
    """
    found = prairieview.imaging_content(folder)
    return len(found.channels), found.planes, found.frames, found.height, found.width


def extract_frame_times(file: PathLike) -> pd.DataFrame:
    """Read the times of all frames (volumes).

    Now: ``cs.ImagingSession.open(folder).movie.time``

    Parameters
    ----------
    file : path
        Master XML of the recording, or its folder.

    Returns
    -------
    DataFrame
        Number of each frame, from 0, in the column ``Imaging Frame``, with its time after the
        first one as index, in ms. Frames of all cycles, none left out, where 0.3.5 read the first
        cycle alone, in whole ms.
    """
    index = pd.Index(read_frame_times(Path(file)) * 1000, name=TIME)
    return pd.DataFrame({FRAME: np.arange(len(index))}, index)


def generate_bruker_naming_convention(
    channel: int, plane: int, num_channels: int = 1, num_planes: int = 1
) -> str:
    """Return the pattern of the names of files of a channel and a plane.

    Now: ``cs.prairieview.parse_name(name)``

    Parameters
    ----------
    channel, plane : int
        Counted from 0.
    num_channels, num_planes : int, default 1
        How many the recording has. With one plane, all files of the channel are meant.

    Returns
    -------
    str
        For ``pathlib.Path.glob``.

    Examples
    --------
    >>> generate_bruker_naming_convention(0, 9, num_planes=12)
    '*_Cycle*_Ch1_000010.ome.tif'
    """
    if not (0 <= channel < num_channels and 0 <= plane < num_planes):
        raise ArgumentError(
            f"channel {channel} and plane {plane} were asked for, counted from 0, of "
            f"{num_channels} channels and {num_planes} planes."
        )
    index = f"{plane + 1:06d}" if num_planes > 1 else "*"
    return f"*_Cycle*_Ch{channel + 1}_{index}.ome.tif"


def load_bruker_tifs(
    folder: PathLike, channel: int | None = None, plane: int | None = None
) -> tuple[np.ndarray, ...]:
    """Load the images of a recording, one array for each channel and plane.

    Now: ``cs.ImagingSession.open(folder).movie``

    Parameters
    ----------
    folder : path
        Folder of the recording, or its master XML.
    channel, plane : int, optional
        The only ones to load, counted from 0; all by default.

    Returns
    -------
    tuple of ndarray, shape (frames, y, x)
        Planes of the first channel, then those of the next. In the order that the master XML
        gives; missing images are 0, with a warning.
    """
    movie = ImagingSession.open(folder).movie
    chosen = {model.CHANNEL: channel, model.PLANE: plane}
    movie = movie.expand_dims([dim for dim in chosen if dim not in movie.dims])
    movie = movie.isel({dim: [index] for dim, index in chosen.items() if index is not None})
    values = movie.transpose(*chosen, model.FRAMES, model.Y, model.X).values
    return tuple(values.reshape(-1, *values.shape[2:]))


def load_mark_points(file: PathLike) -> PhotostimulationMeta:
    """Read mark points: a protocol, or what a recording played.

    Now: ``cs.photostimulation.read_mark_points(mark_points)``

    Parameters
    ----------
    file : path
        ``..._MarkPoints.xml``, or a series that PrairieView saved.

    Returns
    -------
    PhotostimulationMeta
    """
    from lxml import etree

    document = read_document(Path(file))  # refuses what is not safe to parse
    root = etree.fromstring(str(document.root).encode())
    return PhotostimulationMeta(root, BrukerElementFactory())


def load_voltage_recording(path: PathLike) -> pd.DataFrame:
    """Load recorded analog signals.

    Now: ``cs.ImagingSession.open(folder).voltage``

    Parameters
    ----------
    path : path
        Folder of the recording; or the CSV file of a voltage recording, with its settings beside
        it.

    Returns
    -------
    DataFrame
        One column for each signal, in its physical units. The index are times in ms: after the
        first frame for a folder with images, after its own start for a file.
    """
    path = Path(path)
    if path.is_dir() and any(map(is_master, path.iterdir())):
        voltage = ImagingSession.open(path).voltage
    else:
        voltage = read_voltage_files(path)
    index = pd.Index(voltage[model.TIME].values * 1000, name=TIME)
    columns = voltage[model.SIGNAL].values
    values = voltage.transpose(model.TIME, model.SIGNAL).values
    return pd.DataFrame(values, index, columns, copy=False)


def load_voltage_output(path: PathLike) -> Any:
    """Read the settings of a voltage output, which 0.3.5 announced.

    Now: ``cs.prairieview.read_voltage_output(voltage_output)``

    Parameters
    ----------
    path : path
        ``..._VoltageOutput_001.xml``.

    Returns
    -------
    OutputExperiment
        `calscipy.prairieview.synthesize` makes waveforms of it.
    """
    return prairieview.read_voltage_output(Path(path))


def repackage_bruker_tifs(
    input_folder: PathLike, output_folder: PathLike, channel: int = 0, plane: int = 0
) -> None:
    """Write the images of one channel and plane of a recording into one BigTIFF file.

    Now: ``cs.prairieview.repackage(folder, "movie.tif")``

    Parameters
    ----------
    input_folder : path
        Folder of the recording, or its master XML.
    output_folder : path
        Folder for the file ``<recording>_channel_0_plane_0.tif``; it is made if it does not exist.
    channel, plane : int, default 0
        Counted from 0.

    Raises
    ------
    TargetExistsError
        If the file exists.
    """
    folder, target = Path(input_folder), Path(output_folder)
    name = prairieview.imaging_content(folder).channels[channel]
    target.mkdir(parents=True, exist_ok=True)
    file = target / f"{folder.stem}_channel_{channel}_plane_{plane}.tif"
    prairieview.repackage(folder, file, channel=name, plane=plane)
