"""OME-XML (schema 2016-06) for the TIFF files that calscipy writes, and calscipy's labels in it."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import NamedTuple
from xml.sax.saxutils import escape, quoteattr, unescape

import numpy as np
import xarray as xr

from calscipy import model
from calscipy._version import __version__
from calscipy.io.labels import Labels, labels_text, read_labels

PAGE_DIMS = (model.FRAMES, model.PLANE, model.CHANNEL)  # of pages, the last one fastest
TYPES = {
    "uint8": "uint8",
    "uint16": "uint16",
    "uint32": "uint32",
    "int8": "int8",
    "int16": "int16",
    "int32": "int32",
    "float32": "float",
    "float64": "double",
}
LABELS_NAMESPACE = "calscipy:labels"
MOST_PLANES = 2**20  # whose times are listed one by one; all are in the labels
_PIECE = 2**22  # characters of one text; XML parsers refuse more than ten million
_NOT_IN_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_SCHEMA = "http://www.openmicroscopy.org/Schemas/OME/2016-06"
_HEAD = (
    f'<?xml version="1.0" encoding="UTF-8"?>\n<OME xmlns="{_SCHEMA}" '
    'xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance" '
    f'xsi:schemaLocation="{_SCHEMA} {_SCHEMA}/ome.xsd"'
)


class File(NamedTuple):
    """One file of a set: its name, its identity and its frames."""

    name: str
    uuid: str
    frames: slice


def restore(description: str, where: object = "the TIFF file") -> Labels | None:
    """Return the labels that `calscipy.io.tiff_writer.to_tiff` put into an image description.

    They stand in the OME-XML of the first page, in the ``Value`` of each ``CommentAnnotation``
    whose ``Namespace`` is ``calscipy:labels``: together, in their order, these are the JSON of
    `calscipy.io.labels.labels_text`. Pages run through the channels first, then the planes, then
    the frames; ``Labels.label`` puts the labels on the values, and ``Labels.dtype`` is the type
    before the file's (bool is stored as uint8).

    Parameters
    ----------
    description : str
        ImageDescription of the first page of a file, or of the first file of a folder.
    where : path
        What errors name.

    Returns
    -------
    Labels or None
        None if the description is not calscipy's.

    Raises
    ------
    RecordingError
        If the labels are damaged, claim too much memory, or are of a newer format.
    """
    pieces = []
    end = 0
    while (at := description.find(f'Namespace="{LABELS_NAMESPACE}"', end)) >= 0:
        start = description.find("<Value>", at)
        end = description.find("</Value>", start)
        if min(start, end) < 0:
            break
        pieces.append(unescape(description[start + len("<Value>") : end]))
    return read_labels("".join(pieces), where) if pieces else None


def ome_xml(
    data: xr.DataArray,
    stored: np.dtype,
    kept: np.dtype,
    files: Sequence[File] = (),
    file: File | None = None,
) -> str:
    """Describe a movie or an image; in a single file and the first one of a set with all labels.

    Parameters
    ----------
    data : DataArray
        Movie or image.
    stored : dtype
        Type of the values in the file.
    kept : dtype
        Type of the values as calscipy reads them.
    files : sequence of File
        The files of a set; none for a single file.
    file : File, optional
        The one of them that holds this text.
    """
    first = file is None or file is files[0]
    planes, channels = (data.sizes.get(dim, 1) for dim in PAGE_DIMS[1:])
    frames = data.sizes.get(model.FRAMES, 1)
    times, steps = _times(data)
    sizes = {"X": data.sizes[model.X], "Y": data.sizes[model.Y], "Z": planes}
    sizes |= {"C": channels, "T": frames}
    pixels = {"ID": "Pixels:0", "DimensionOrder": "XYCZT", "Type": TYPES[stored.name]}
    pixels |= {"BigEndian": "false"} | {f"Size{dim}": str(n) for dim, n in sizes.items()}
    pixels |= _physical_sizes(data) | steps
    channel = [
        _element("Channel", {"ID": f"Channel:0:{at}", **name, "SamplesPerPixel": "1"})
        for at, name in enumerate(_channel_names(data, channels))
    ]
    image = {"ID": "Image:0"} | ({"Name": str(data.name)} if data.name is not None else {})
    own = "" if file is None else f" UUID={quoteattr(file.uuid)}"
    references, annotations = _annotations(labels_text(data, dtype=kept) if first else "")
    return "".join(
        [
            f'{_HEAD}{own} Creator="calscipy {__version__}">',
            _element("Image", image, close=False),
            _element("Pixels", pixels, close=False),
            *channel,
            *_tiff_data(files, planes * channels, frames * planes * channels),
            *(_planes(data, times, channels) if first else ()),
            f"</Pixels>{references}</Image>{annotations}</OME>",
        ]
    )


def _annotations(text: str) -> tuple[str, str]:
    """Put a text into annotations short enough for libxml2: what refers to them, and they."""
    pieces = [text[at : at + _PIECE] for at in range(0, len(text), _PIECE)]
    names = [f"Annotation:{at}" for at in range(len(pieces))]
    written = [
        f'<CommentAnnotation ID="{name}" Namespace="{LABELS_NAMESPACE}">'
        f"<Value>{escape(piece)}</Value></CommentAnnotation>"
        for name, piece in zip(names, pieces, strict=True)
    ]
    references = "".join(f'<AnnotationRef ID="{name}"/>' for name in names)
    block = f"<StructuredAnnotations>{''.join(written)}</StructuredAnnotations>"
    return references, block if written else ""


def _element(name: str, attributes: dict[str, str], *, close: bool = True) -> str:
    text = "".join(f" {key}={_quoted(value)}" for key, value in attributes.items())
    return f"<{name}{text}{'/' if close else ''}>"


def _quoted(text: str) -> str:
    """Quote an attribute; what XML cannot hold is a question mark here (the labels hold it)."""
    return quoteattr(_NOT_IN_XML.sub("?", text))


def _channel_names(data: xr.DataArray, channels: int) -> list[dict[str, str]]:
    if model.CHANNEL not in data.coords:
        return [{}] * channels
    names = np.atleast_1d(model.coordinate(data, model.CHANNEL))
    return [{"Name": str(name)} for name in names.tolist()]


def _physical_sizes(data: xr.DataArray) -> dict[str, str]:
    """Return the size of a pixel in um, and the distance of planes where it is one."""
    sizes = {
        dim.upper(): model.pixel_size_um(data[dim])
        for dim in (model.X, model.Y)
        if dim in data.coords
    }
    sizes["Z"] = _plane_distance(data)
    return {
        key: value
        for dim, size in sizes.items()
        if size is not None
        for key, value in ((f"PhysicalSize{dim}", repr(size)), (f"PhysicalSize{dim}Unit", "µm"))
    }


def _plane_distance(data: xr.DataArray) -> float | None:
    heights = _heights(data)
    if heights is None or heights.size < 2:
        return None
    steps = np.abs(np.diff(heights))
    even = np.ptp(steps) <= 1e-6 * steps.max() and steps.min() > 0
    return float(np.median(steps)) if even else None


def _heights(data: xr.DataArray) -> np.ndarray | None:
    """Return z of each plane in um where it is known."""
    if model.Z not in data.coords or data[model.Z].dims != (model.PLANE,):
        return None
    heights = model.coordinate(data, model.Z)
    known = data[model.Z].attrs.get("units") == "um" and heights.dtype.kind in "iuf"
    return heights.astype(float) if known and np.isfinite(heights).all() else None


def _times(data: xr.DataArray) -> tuple[np.ndarray | None, dict[str, str]]:
    """Return when each plane of each frame was recorded, and the usual step between frames."""
    dims = (model.FRAMES,)
    if model.TIME not in data.coords or data[model.TIME].dims not in (dims, ()):
        return None, {}
    if model.FRAMES not in data.dims:  # one frame of a movie
        times = np.atleast_1d(model.coordinate(data, model.TIME))
        return (times[:, None] if times.dtype.kind == "f" else None), {}
    times = model.seconds(data, "to_tiff")[:, None]
    step = {}
    if times.size > 1 and (usual := float(np.median(np.diff(times[:, 0])))) > 0:
        step = {"TimeIncrement": repr(usual), "TimeIncrementUnit": "s"}
    name = model.PLANE_TIME
    if name in data.coords and data[name].dims == (model.FRAMES, model.PLANE):
        times = model.coordinate(data, name)
    return times, step


def _planes(data: xr.DataArray, times: np.ndarray | None, channels: int) -> Iterator[str]:
    """Describe every page: when it was recorded, and where its plane is."""
    heights = _heights(data)
    frames, planes = data.sizes.get(model.FRAMES, 1), data.sizes.get(model.PLANE, 1)
    if (times is None and heights is None) or frames * planes * channels > MOST_PLANES:
        return
    where = [""] * planes
    if heights is not None:
        where = [f' PositionZ="{z!r}" PositionZUnit="µm"' for z in heights.tolist()]
    when = np.full((frames, planes), np.nan)
    if times is not None:
        when[...] = times
    for frame, row in enumerate(when.tolist()):
        for plane, time in enumerate(row):
            known = f' DeltaT="{time!r}"' if np.isfinite(time) else ""
            for channel in range(channels):
                yield (
                    f'<Plane TheZ="{plane}" TheT="{frame}" TheC="{channel}"{known}{where[plane]}/>'
                )


def _tiff_data(files: Sequence[File], per_frame: int, pages: int) -> Iterator[str]:
    """Say which file holds which pages."""
    if not files:
        yield f'<TiffData IFD="0" PlaneCount="{pages}"/>'
    for file in files:
        count = (file.frames.stop - file.frames.start) * per_frame
        yield (
            f'<TiffData IFD="0" FirstT="{file.frames.start}" PlaneCount="{count}">'
            f"<UUID FileName={_quoted(file.name)}>{file.uuid}</UUID></TiffData>"
        )
