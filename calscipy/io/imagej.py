"""ROIs of ImageJ and Fiji: single ``.roi`` files and the ``.zip`` files of the ROI Manager."""

from __future__ import annotations

import os
import zipfile
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any, Literal, NoReturn, get_args

import numpy as np
import xarray as xr

from calscipy import model
from calscipy.errors import ArgumentError, RoiError, first_few
from calscipy.io.paths import local_path
from calscipy.kernels.outlines import (
    Box,
    oval_mask,
    pixel_window,
    polygon_mask,
    rectangle_mask,
)
from calscipy.kernels.rois import require_image_shape

MAX_MEMBERS = 100_000
MAX_MEMBER_BYTES = 2**24
MAX_BYTES = 2**28
MAX_RESULT_BYTES = 2**30
MAX_NAME = 255  # characters, which every pixel repeats
MAX_POINTS = 2**20  # of one composite outline

Outside = Literal["error", "clip"]
_CURVE_POINTS = 32  # straight pieces for one curve of a composite outline
_ARGUMENTS = {
    0.0: 2,
    1.0: 2,
    2.0: 4,
    3.0: 6,
    4.0: 0,
}  # numbers after each command of such an outline
_PIXEL_BYTES = 40  # neuron, y, x, weight and plane of one pixel, without its name
_MOVE, _LINE, _CLOSE = 0.0, 1.0, 4.0
_T = np.linspace(0, 1, _CURVE_POINTS + 1)[1:]
_BERNSTEIN = {
    2: np.stack([(1 - _T) ** 2, 2 * _T * (1 - _T), _T**2], axis=1),
    3: np.stack([(1 - _T) ** 3, 3 * _T * (1 - _T) ** 2, 3 * _T**2 * (1 - _T), _T**3], axis=1),
}  # shares of the control points in each point of a curve, by its degree


def rois_from_imagej(
    path: str | os.PathLike[str],
    *,
    image_shape: tuple[int, int],
    plane: int | Literal["z", "slice"] = "z",
    outside: Outside = "error",
) -> xr.DataArray:
    """Read ROIs that were drawn in ImageJ or Fiji.

    A pixel belongs to a ROI if its centre lies inside of the outline; pixel (0, 0) reaches from
    (0, 0) to (1, 1). Centres on an outline follow ImageJ: inside of ovals, and of polygons below an
    upper and left of a right edge. Outlines that cross themselves and composite ROIs are filled by
    the even-odd rule, so that holes stay holes.

    Parameters
    ----------
    path : path
        A ``.roi`` file or a ``.zip`` file of them.
    image_shape : (int, int)
        Rows and columns of the recording: ``(movie.sizes["y"], movie.sizes["x"])``.
    plane : {"z", "slice"} or int, default "z"
        Where the plane comes from: the z position that ROIs of hyperstacks have, if they have
        one; the slice of a plain stack whose slices are planes (they are frames otherwise); or
        one plane for all.
    outside : {"error", "clip"}
        What happens to outlines that reach out of the image.

    Returns
    -------
    DataArray
        Weights (all 1) along ``pixel``, with the coordinates ``neuron`` (the position in the
        file), ``y``, ``x``, ``roi_name`` (ImageJ's name) and, where known, ``plane`` from 0 on.
        Channel and time positions are not kept.

    Raises
    ------
    RoiError
        If there are ROIs without an area (lines, points, text), ones that are damaged, empty or
        outside of the image, naming the first; or if the file is larger than any of ImageJ.

    Examples
    --------
    >>> import roifile
    >>> outline = roifile.ImagejRoi.frompoints([[1, 0], [3, 0], [3, 1], [1, 1]], name="cell")
    >>> outline.tofile("cell.roi")
    >>> rois = rois_from_imagej("cell.roi", image_shape=(4, 4))
    >>> rois.y.values.tolist(), rois.x.values.tolist(), rois.roi_name.values.tolist()
    ([0, 0], [1, 2], ['cell', 'cell'])
    """
    shape = require_image_shape(image_shape, "rois_from_imagej")
    if outside not in get_args(Outside):
        raise ArgumentError(
            f"rois_from_imagej: outside must be one of {get_args(Outside)}, got {outside!r}"
        )
    _require_plane(plane)
    names, found, pixels, total, longest = [], [], [], 0, 0
    for where, name, data in _members(local_path(path)):
        roi = _decoded(where, data)
        names.append(roi.name or name)
        if len(names[-1]) > MAX_NAME:
            raise RoiError(f"{where}: a name of {len(names[-1])} characters. Rename it in ImageJ.")
        inside = _pixels(where, roi, shape, outside)
        total += inside[0].size
        longest = max(longest, len(names[-1]))
        if total * (_PIXEL_BYTES + 4 * longest) > MAX_RESULT_BYTES:
            raise RoiError(
                f"{path}: more than {MAX_RESULT_BYTES} bytes of pixels, each of which repeats a "
                f"name of up to {longest} characters. Shorten the names, or split the file."
            )
        found.append(roi)
        pixels.append(inside)
    if not names:
        raise RoiError(f"{path}: there is no ROI in it. Save the ROI Manager's list again.")
    size = [y.size for y, _ in pixels]
    planes = _planes(os.fspath(path), names, found, plane)
    return model.rois_long_form(
        np.repeat(np.arange(len(names)), size),
        np.concatenate([y for y, _ in pixels]),
        np.concatenate([x for _, x in pixels]),
        np.ones(total, np.float32),
        image_shape=shape,
        plane=None if planes is None else np.repeat(planes, size),
        roi_name=np.repeat(np.array(names), size),
    )


# -- files ---------------------------------------------------------------------------------


def _members(path: Path) -> Iterator[tuple[str, str, bytes]]:
    """Yield what to call each ROI in messages, its name if it has none, and its bytes."""
    if not path.is_file():
        raise RoiError(f"{path}: there is no such file; a .roi or .zip file was expected.")
    with path.open("rb") as stream:
        start = stream.read(4)
    if start[:2] == b"PK":
        yield from _zip_members(path)
    elif start == b"Iout":
        if path.stat().st_size > MAX_MEMBER_BYTES:
            raise RoiError(f"{path}: {path.stat().st_size} bytes, no ROI is that large.")
        yield str(path), path.stem, path.read_bytes()
    else:
        raise RoiError(
            f"{path}: neither an ImageJ ROI nor a zip file of them. Save ROIs in ImageJ with More "
            "> Save... of the ROI Manager."
        )


def _zip_members(path: Path) -> Iterator[tuple[str, str, bytes]]:
    """Read the members of a zip file into memory; nothing is written, whatever they are called."""
    try:
        archive = zipfile.ZipFile(path)
    except Exception as error:  # a damaged directory raises many kinds
        raise RoiError(
            f"{path}: a damaged zip file ({error}). Copy it again, or save it again in ImageJ."
        ) from error
    with archive:
        members = [info for info in archive.infolist() if not _is_of_the_file_system(info)]
        total = sum(info.file_size for info in members)
        if len(members) > MAX_MEMBERS or total > MAX_BYTES:
            raise RoiError(
                f"{path}: {len(members)} members of {total} bytes, more than the {MAX_MEMBERS} and "
                f"{MAX_BYTES} accepted. Split the file in the ROI Manager."
            )
        for info in members:
            where = f"{path}, member {info.filename!r}"
            if info.file_size > MAX_MEMBER_BYTES:
                raise RoiError(f"{where}: {info.file_size} bytes, no ROI is that large.")
            if not info.filename.lower().endswith(".roi"):
                raise RoiError(f"{where} is no .roi file. Take it out of the zip file.")
            try:
                data = archive.read(info)
            except Exception as error:  # damaged or encrypted data raise many kinds
                raise RoiError(
                    f"{where} is damaged ({error}). Save the ROIs again in ImageJ."
                ) from error
            yield where, PurePosixPath(info.filename).stem, data


def _is_of_the_file_system(info: zipfile.ZipInfo) -> bool:
    """Tell folders, and what macOS adds to zip files, from ROIs."""
    parts = PurePosixPath(info.filename).parts
    return info.is_dir() or "__MACOSX" in parts or parts[-1:] == (".DS_Store",)


def _decoded(where: str, data: bytes) -> Any:
    from roifile import ImagejRoi

    try:
        return ImagejRoi.frombytes(data)
    except Exception as error:  # damaged bytes raise many kinds
        raise RoiError(
            f"{where}: damaged, or not an ImageJ ROI ({error}). Save it again in ImageJ."
        ) from error


# -- outlines ------------------------------------------------------------------------------


def _pixels(
    where: str, roi: Any, shape: tuple[int, int], outside: Outside
) -> tuple[np.ndarray, np.ndarray]:
    """Return the y and x of the pixels of one ROI."""
    where = f"{where} (ROI {roi.name!r})" if roi.name else where
    paths = _paths(where, roi)
    if paths:
        corners = np.concatenate(paths)
        box: Box = (*corners.min(axis=0).tolist(), *corners.max(axis=0).tolist())
    else:
        box = _box(roi)
    if not np.isfinite(box).all():
        raise RoiError(f"{where}: its outline {box} is not finite. Draw it again.")
    rows, columns = pixel_window(box)
    window = _cut(rows, shape[0]), _cut(columns, shape[1])
    if outside == "error" and window != (rows, columns) and rows and columns:
        raise RoiError(
            f"{where}: its outline reaches from x={box[0]:g}, y={box[1]:g} to x={box[2]:g}, "
            f"y={box[3]:g}, out of the image of {shape[0]} x {shape[1]} pixels (rows x columns). "
            "Check image_shape, or give outside='clip' to keep what is inside."
        )
    if paths:
        mask = polygon_mask(paths, *window)
    elif roi.roitype.name == "OVAL":
        mask = oval_mask(box, *window)
    else:
        mask = rectangle_mask(box, *window, arc=roi.rounded_rect_arc_size)
    y, x = np.nonzero(mask)
    if not y.size:
        raise RoiError(
            f"{where}: there is no centre of a pixel in its outline, from x={box[0]:g}, "
            f"y={box[1]:g} to x={box[2]:g}, y={box[3]:g}, in the image of {shape[0]} x "
            f"{shape[1]} pixels. Leave it out, or draw it larger."
        )
    return y + window[0].start, x + window[1].start


def _cut(places: range, size: int) -> range:
    start = min(max(places.start, 0), size)
    return range(start, max(start, min(places.stop, size)))


def _paths(where: str, roi: Any) -> list[np.ndarray]:
    """Return the closed paths of an outline in x and y; none for rectangles and ovals."""
    from roifile import ROI_OPTIONS

    kind, subtype = roi.roitype.name, roi.subtype.name
    if subtype in ("TEXT", "ARROW", "IMAGE"):
        _refuse(where, subtype)
    if kind == "RECT" and roi.composite:
        return _composite_paths(where, roi.multi_coordinates)
    if kind in ("RECT", "OVAL") and not roi.composite:
        return []
    if kind not in ("POLYGON", "FREEHAND", "TRACED") or roi.composite:
        _refuse(where, kind)
    if roi.options & ROI_OPTIONS.SPLINE_FIT:
        raise RoiError(
            f"{where} is a spline, of which the file holds some points only. In ImageJ, make it a "
            "polygon with Edit > Selection > Interpolate, update it, and save again."
        )
    corners = np.asarray(roi.coordinates(), dtype=np.float64)
    if len(corners) < 3:
        raise RoiError(f"{where} has an outline of {len(corners)} points. Draw it again.")
    return [corners]


def _refuse(where: str, kind: str) -> NoReturn:
    raise RoiError(
        f"{where} is of the ImageJ type {kind}, which has no area. Draw an outline (polygon, "
        "freehand, oval, rectangle), or delete it from the ROI Manager, and save again."
    )


def _box(roi: Any) -> Box:
    if roi.subpixelrect:
        return roi.xd, roi.yd, roi.xd + roi.widthd, roi.yd + roi.heightd
    return roi.left, roi.top, roi.right, roi.bottom


def _composite_paths(where: str, numbers: np.ndarray) -> list[np.ndarray]:
    """Read the commands of a composite outline: move, line, curves of degree 2 and 3, close."""
    paths: list[list[np.ndarray]] = [[]]
    at = points = 0
    commands = numbers.astype(np.float64)
    while at < len(commands):
        command = float(commands[at])
        count = _ARGUMENTS.get(command)
        values = commands[at + 1 : at + 1 + (count or 0)]
        begun = command == _MOVE or bool(paths[-1])
        if count is None or len(values) < count or not begun:
            raise RoiError(
                f"{where}: its outline is damaged at the command {command:g}, number {at} of "
                f"{len(numbers)}. Save it again in ImageJ."
            )
        values = values.reshape(-1, 2)
        if command == _MOVE:
            paths.append([values])
        elif command == _CLOSE:
            if len(paths[-1]) > 1:  # what follows without a move starts where this path did
                paths.append([paths[-1][0][:1]])
        elif command == _LINE:
            paths[-1].append(values)
        else:
            paths[-1].append(_curve(np.concatenate([paths[-1][-1][-1:], values])))
        points += len(paths[-1][-1])
        if points > MAX_POINTS:
            raise RoiError(f"{where}: its outline has more than {MAX_POINTS} points. Simplify it.")
        at += 1 + count
    joined = [np.concatenate(path) for path in paths if path]
    closed = [path for path in joined if len(path) > 2]
    if not closed:
        raise RoiError(f"{where}: its outline has no area. Draw it again.")
    return closed


def _curve(points: np.ndarray) -> np.ndarray:
    """Points on the Bézier curve with these control points, without the first."""
    return _BERNSTEIN[len(points) - 1] @ points


# -- planes --------------------------------------------------------------------------------


def _require_plane(plane: Any) -> None:
    if isinstance(plane, str):
        fits = plane in ("z", "slice")
    else:
        whole = isinstance(plane, int | np.integer) and not isinstance(plane, bool)
        fits = whole and 0 <= plane < 2**31
    if not fits:
        raise RoiError(
            "rois_from_imagej: plane must be 'z', 'slice' or a whole number from 0 on, got "
            f"{plane!r}. Planes are counted from 0."
        )


def _planes(path: str, names: list[str], rois: list[Any], plane: int | str) -> np.ndarray | None:
    """Return the plane of each ROI, counted from 0 (ImageJ counts from 1, 0 means any)."""
    if not isinstance(plane, str):
        return np.full(len(rois), plane)
    number = np.array([roi.z_position if plane == "z" else roi.position for roi in rois])
    if plane == "z" and not number.any():
        return None
    unknown = [name for name, one in zip(names, number, strict=True) if one < 1]
    if unknown:
        word = "z position" if plane == "z" else "slice"
        raise RoiError(
            f"{path}: {len(unknown)} of {len(names)} ROIs have no {word} ({first_few(unknown)}). "
            "Give the plane of all with plane=, or set it in ImageJ (Properties... > Position)."
        )
    return number - 1
