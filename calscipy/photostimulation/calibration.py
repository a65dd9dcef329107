"""From pixels of an image to volts of the galvos, and back."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import ArrayLike

from calscipy.errors import ArgumentError

Model = Literal["affine", "axes"]
Range = tuple[float, float]

_LEAST_POINTS = 3
_FLATTEST = 1e-3  # spread of known points across, over that along: below it they are on a line


@dataclass(frozen=True, kw_only=True, eq=False)
class GalvoCalibration:
    """How volts of the galvos follow from pixels, on one rig at one zoom.

    Make one with `fit` from points whose pixels and volts are known, or with `propose`. Pixels
    and volts are ``(x, y)`` throughout, as in galvo points.

    Parameters
    ----------
    matrix : array_like, shape (2, 2)
        Volts per pixel: its rows are the x and y of volts, its columns the x and y of pixels.
    offset : array_like, shape (2,)
        Volts at pixel (0, 0).
    x_range, y_range : (float, float)
        Volts that the galvos may be sent to, in any order.
    image_shape : (int, int)
        Rows and columns of the images.
    spiral_volts_per_um : float, optional
        Size of spirals in volts for one um.
    zoom : float, optional
        Optical zoom of the images.
    residuals : array_like, shape (points, 2)
        Of a fit: volts given minus volts found, for each point.
    proposed : bool, default False
        Whether it was taken from the state of a recording, which may not be how this rig works.

    Raises
    ------
    ArgumentError
        For values that cannot be; all of them are named.
    """

    matrix: np.ndarray
    offset: np.ndarray
    x_range: Range
    y_range: Range
    image_shape: tuple[int, int]
    spiral_volts_per_um: float | None = None
    zoom: float | None = None
    residuals: np.ndarray = field(default_factory=lambda: np.zeros((0, 2)))
    proposed: bool = False

    def __post_init__(self) -> None:
        problems = []
        for name, shape in (("matrix", (2, 2)), ("offset", (2,))):
            values = np.array(getattr(self, name), np.float64)
            values.flags.writeable = False
            object.__setattr__(self, name, values)
            if values.shape != shape or not np.isfinite(values).all():
                problems.append(f"{name} must be finite numbers of shape {shape}, got {values}")
        for name in ("x_range", "y_range"):
            values = np.asarray(getattr(self, name), np.float64)
            if values.shape != (2,) or not np.isfinite(values).all() or values[0] == values[1]:
                problems.append(f"{name} must be two different finite volts, got {values.tolist()}")
            else:
                object.__setattr__(self, name, (float(values.min()), float(values.max())))
        for name in ("spiral_volts_per_um", "zoom"):
            value = getattr(self, name)
            if value is not None and not (math.isfinite(value) and value > 0):
                problems.append(f"{name} must be a number above 0, got {value!r}")
        if not problems and _flatness(self.matrix) < _FLATTEST:
            problems.append(f"matrix {self.matrix.tolist()} maps the image onto a line")
        if problems:
            raise ArgumentError(f"GalvoCalibration: {'; '.join(problems)}.")

    @classmethod
    def fit(
        cls,
        points_px: ArrayLike,
        points_volts: ArrayLike,
        *,
        x_range: Range,
        y_range: Range,
        image_shape: tuple[int, int],
        model: Model = "affine",
        microns_per_pixel: float | tuple[float, float] | None = None,
        spiral_volts_per_um: float | None = None,
        zoom: float | None = None,
    ) -> GalvoCalibration:
        """Fit a calibration to points whose pixels and volts are known.

        Parameters
        ----------
        points_px : array_like, shape (points, 2)
            The x and y of at least three points in pixels, not all on a line: for instance where
            burnt spots are seen in an image.
        points_volts : array_like, shape (points, 2)
            The x and y in volts to which the galvos were sent for them.
        x_range, y_range : (float, float)
            Volts that the galvos may be sent to.
        image_shape : (int, int)
            Rows and columns of the images.
        model : {"affine", "axes"}, default "affine"
            Whether volts of x may depend on y and the other way round, as on rigs whose
            stimulation galvos are turned against the image. ``"axes"`` fits offset and scale of
            each axis alone.
        microns_per_pixel : float or (float, float), optional
            Size of a pixel in um, one or (x, y), from which the size of spirals in volts follows.
        spiral_volts_per_um : float, optional
            Size of spirals in volts for one um, where it was measured.
        zoom : float, optional
            Optical zoom of the images.

        Returns
        -------
        GalvoCalibration
            By least squares. Its ``residuals`` tell how well it fits; three points are always
            fitted exactly by ``"affine"``, so that more of them are needed to see a mistake.

        Raises
        ------
        ArgumentError
            For fewer than three points, points on a line, and points that are not finite.

        Examples
        --------
        >>> pixels = [(0, 0), (100, 0), (0, 100), (100, 100)]
        >>> volts = [(-2, 3), (2, 3), (-2, -3), (2, -3)]
        >>> limits = {"x_range": (-5, 5), "y_range": (-5, 5), "image_shape": (128, 128)}
        >>> calibration = GalvoCalibration.fit(pixels, volts, **limits)
        >>> calibration.to_volts([(50, 75)]).round(6).tolist(), calibration.rms_volts < 1e-9
        ([[0.0, -1.5]], True)
        """
        if model not in get_args(Model):
            raise ArgumentError(f"fit: model must be 'affine' or 'axes', got {model!r}")
        if microns_per_pixel is not None and spiral_volts_per_um is not None:
            raise ArgumentError("fit needs microns_per_pixel or spiral_volts_per_um, not both.")
        pixels, volts = _known_points(points_px, points_volts)
        middle = pixels.mean(axis=0)
        centred = pixels - middle
        _require_spread(centred, "pixels")
        _require_spread(volts - volts.mean(axis=0), "volts")
        if model == "axes":
            slopes = (centred * volts).sum(axis=0) / np.square(centred).sum(axis=0)
            matrix = np.diag(slopes)
        else:
            matrix = np.linalg.lstsq(centred, volts - volts.mean(axis=0), rcond=None)[0].T
        offset = volts.mean(axis=0) - matrix @ middle
        if microns_per_pixel is not None:
            spiral_volts_per_um = _spiral_scale(matrix, microns_per_pixel)
        return cls(
            matrix=matrix,
            offset=offset,
            x_range=x_range,
            y_range=y_range,
            image_shape=image_shape,
            spiral_volts_per_um=spiral_volts_per_um,
            zoom=zoom,
            residuals=volts - (pixels @ matrix.T + offset),
        )

    @classmethod
    def propose(
        cls, metadata: Mapping[str, Any], *, flip_x: bool = False, flip_y: bool = True
    ) -> GalvoCalibration:
        """Propose a calibration from the state of a recording, to be checked on the rig.

        .. warning:: Nothing in a recording says how the stimulation galvos of a rig are wired.
           Check the proposal with a few known points before a laser goes where it says: burn
           spots, or compare with a point list saved by PrairieView, and use `fit` on them.

        Parameters
        ----------
        metadata : mapping
            ``session.metadata``: the state keys ``minVoltage``, ``maxVoltage``,
            ``pixelsPerLine``, ``linesPerFrame``, ``micronsPerPixel`` and ``opticalZoom``.
        flip_x, flip_y : bool
            Whether the highest voltage is at the left of the image, and at its top. On most rigs
            y is flipped.

        Returns
        -------
        GalvoCalibration
            With ``proposed=True``. Its ranges are those of the image, which are within what the
            galvos can reach.

        Raises
        ------
        ArgumentError
            If the state lacks something; everything missing is named.

        Examples
        --------
        >>> axes = {"XAxis": 1.0, "YAxis": 1.0}
        >>> state = {
        ...     "minVoltage": {"XAxis": -0.95, "YAxis": -0.95},
        ...     "maxVoltage": {"XAxis": 0.95, "YAxis": 0.95},
        ...     "micronsPerPixel": axes,
        ...     "pixelsPerLine": 256,
        ...     "linesPerFrame": 256,
        ... }
        >>> GalvoCalibration.propose(state).to_volts([(0, 0), (256, 256)]).tolist()
        [[-0.95, 0.95], [0.95, -0.95]]
        """
        limits, sizes, shape = _state_of(metadata)
        matrix, offset = np.zeros((2, 2)), np.zeros(2)
        for axis, (flip, count) in enumerate(
            zip((flip_x, flip_y), (shape[1], shape[0]), strict=True)
        ):
            first, last = limits[axis][::-1] if flip else limits[axis]
            matrix[axis, axis] = (last - first) / count
            offset[axis] = first
        zoom = metadata.get("opticalZoom")
        return cls(
            matrix=matrix,
            offset=offset,
            x_range=limits[0],
            y_range=limits[1],
            image_shape=shape,
            spiral_volts_per_um=None if sizes is None else _spiral_scale(matrix, sizes),
            zoom=zoom if isinstance(zoom, int | float) and zoom > 0 else None,
            proposed=True,
        )

    @property
    def rms_volts(self) -> float:
        """Root of the mean square distance of the points from the fit in volts; NaN without."""
        return _rms(self.residuals)

    @property
    def rms_pixels(self) -> float:
        """The same in pixels."""
        return _rms(self.residuals @ np.linalg.inv(self.matrix).T)

    def to_volts(self, points_px: ArrayLike) -> np.ndarray:
        """Return volts (x, y) of pixels (x, y), both of shape ``(points, 2)``."""
        return _pairs(points_px, "to_volts") @ self.matrix.T + self.offset

    def to_pixels(self, points_volts: ArrayLike) -> np.ndarray:
        """Return pixels (x, y) of volts (x, y), both of shape ``(points, 2)``."""
        centred = _pairs(points_volts, "to_pixels") - self.offset
        return np.asarray(np.linalg.solve(self.matrix, centred.T).T)

    def in_range(self, points_volts: ArrayLike) -> np.ndarray:
        """Tell for each point (x, y) in volts whether the galvos may be sent there."""
        volts = _pairs(points_volts, "in_range")
        low, high = np.transpose([self.x_range, self.y_range])
        return np.asarray(((volts >= low) & (volts <= high)).all(axis=1))

    def at_zoom(self, zoom: float) -> GalvoCalibration:
        """Return the calibration for images of another zoom, taken around the same middle.

        Raises
        ------
        ArgumentError
            If the zoom of this calibration is not known.

        Examples
        --------
        >>> limits = {"x_range": (-5, 5), "y_range": (-5, 5), "image_shape": (100, 100)}
        >>> one = GalvoCalibration(matrix=np.eye(2) / 10, offset=[-5, -5], zoom=1, **limits)
        >>> one.at_zoom(2).to_volts([(0, 0), (50, 50)]).tolist()
        [[-2.5, -2.5], [0.0, 0.0]]
        """
        if self.zoom is None:
            raise ArgumentError(
                "at_zoom needs a calibration whose zoom is known: give zoom= where it is made."
            )
        if not (math.isfinite(zoom) and zoom > 0):
            raise ArgumentError(f"at_zoom needs a zoom above 0, got {zoom!r}")
        matrix = self.matrix * (self.zoom / zoom)
        middle = np.array(self.image_shape[::-1]) / 2
        offset = self.to_volts([middle])[0] - matrix @ middle
        return replace(self, matrix=matrix, offset=offset, zoom=float(zoom))

    def spiral_volts(self, um: float) -> float:
        """Return the size of a spiral in volts.

        Raises
        ------
        ArgumentError
            If the calibration does not know how large spirals are.
        """
        if self.spiral_volts_per_um is None:
            raise ArgumentError(
                "the calibration does not know the size of spirals: give microns_per_pixel= or "
                "spiral_volts_per_um= where it is made."
            )
        return um * self.spiral_volts_per_um

    def __repr__(self) -> str:
        kind = "proposed" if self.proposed else f"fitted to {len(self.residuals)} points"
        error = "" if math.isnan(self.rms_volts) else f", off by {self.rms_volts:.3g} V"
        x, y = (f"{low:g} to {high:g} V" for low, high in (self.x_range, self.y_range))
        rows, columns = self.image_shape
        return f"<GalvoCalibration {kind}{error}: {rows} x {columns} pixels; x {x}, y {y}>"


def _pairs(points: ArrayLike, verb: str) -> np.ndarray:
    values = np.asarray(points)
    if values.ndim != 2 or values.shape[1] != 2 or values.dtype.kind not in "iuf":
        raise ArgumentError(
            f"{verb} needs points as numbers of shape (points, 2), x and y of each, got an array "
            f"of {values.dtype} and the shape {values.shape}"
        )
    return values.astype(np.float64)


def _known_points(points_px: ArrayLike, points_volts: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
    pixels, volts = _pairs(points_px, "fit"), _pairs(points_volts, "fit")
    if pixels.shape != volts.shape or len(pixels) < _LEAST_POINTS:
        raise ArgumentError(
            f"fit needs at least {_LEAST_POINTS} points known in pixels and in volts, got "
            f"{len(pixels)} in pixels and {len(volts)} in volts."
        )
    bad = np.flatnonzero(~(np.isfinite(pixels) & np.isfinite(volts)).all(axis=1))
    if bad.size:
        raise ArgumentError(f"fit: the points {bad.tolist()} are not finite. Leave them out.")
    return pixels, volts


def _require_spread(centred: np.ndarray, units: str) -> None:
    """Raise if points are on a line, or all at one place: nothing is known of what is beside."""
    if _flatness(centred) < _FLATTEST:
        raise ArgumentError(
            f"fit: the {len(centred)} points lie on a line, or at one place, in {units}. Give "
            "points in three corners of the image or more."
        )


def _flatness(values: np.ndarray) -> float:
    sizes = np.linalg.svd(values, compute_uv=False)
    return float(sizes[-1] / sizes[0]) if sizes[0] > 0 else 0.0


def _spiral_scale(matrix: np.ndarray, microns_per_pixel: float | tuple[float, float]) -> float:
    """Return volts for one um: the geometric mean of both axes, as spirals have one size."""
    sizes = np.broadcast_to(np.asarray(microns_per_pixel, np.float64), (2,))
    if not (np.isfinite(sizes).all() and (sizes > 0).all()):
        raise ArgumentError(f"microns_per_pixel must be above 0, got {microns_per_pixel!r}")
    return float(np.sqrt(abs(np.linalg.det(matrix / sizes))))


def _rms(distances: np.ndarray) -> float:
    return float(np.sqrt(np.square(distances).sum(axis=1).mean())) if len(distances) else math.nan


def _state_of(
    metadata: Mapping[str, Any],
) -> tuple[tuple[Range, Range], tuple[float, float] | None, tuple[int, int]]:
    """Return volts at both ends of x and y, the size of a pixel in um and the image's shape."""
    missing: list[str] = []

    def value(key: str, *index: str) -> float:
        found: Any = metadata.get(key)
        for name in index:
            found = found.get(name) if isinstance(found, Mapping) else None
        if isinstance(found, int | float) and not isinstance(found, bool) and math.isfinite(found):
            return float(found)
        missing.append(" ".join((key, *index)))
        return math.nan

    limits = [(value("minVoltage", axis), value("maxVoltage", axis)) for axis in ("XAxis", "YAxis")]
    columns, rows = value("pixelsPerLine"), value("linesPerFrame")
    if missing:
        raise ArgumentError(
            f"propose: the state of this recording has no {', '.join(missing)}. Use "
            "GalvoCalibration.fit with points whose pixels and volts are known."
        )
    sizes = [value("micronsPerPixel", axis) for axis in ("XAxis", "YAxis")]
    known = not missing and min(sizes) > 0
    return (
        (limits[0], limits[1]),
        (sizes[0], sizes[1]) if known else None,
        (int(rows), int(columns)),
    )
