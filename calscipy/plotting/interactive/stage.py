"""The figure that frames of a movie are shown in, with the outlines of ROIs on it."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from calscipy import model
from calscipy.errors import RoiError
from calscipy.plotting.interactive.frames import Limits
from calscipy.plotting.interactive.pages import INK, plain, script
from calscipy.plotting.interactive.scene import Scene
from calscipy.plotting.outlines import footprints_on, outlines
from calscipy.plotting.style import ROI_COLOURS

_WIDE, _HIGH = 540, 560  # pixels of the figure at most
_FLATTEST, _TALLEST = 0.2, 3.0  # height over width that is drawn in proportion
_MISSING = "#7A3B69"  # of what is not finite: seen beside black and white


class Outlines(NamedTuple):
    """ROIs as a viewer draws them.

    Attributes
    ----------
    data : dict of str to ndarray, shape (lines,)
        ``x0``, ``y0``, ``x1``, ``y1`` in the units of the axes, ``row`` of the neuron, ``plane``
        as a number, ``colour``.
    map : ndarray of int, shape (planes, y, x)
        Row of the neuron at every pixel, from 1; 0 where there is none.
    names : list of str
        Of the rows.
    """

    data: dict[str, Any]
    map: np.ndarray
    names: list[str]


def outlines_of(scene: Scene, factor: int) -> Outlines:
    """Place ROIs on frames, which are shown coarser by a factor; nothing of the movie is read.

    Raises
    ------
    RoiError
        If no ROI lies on the movie.
    """
    image = scene.movie.isel({model.FRAMES: 0}).isel({model.CHANNEL: 0}, missing_dims="ignore")
    found, problem = [], None
    for plane in range(len(scene.planes)):
        where = image.isel({model.PLANE: plane}, missing_dims="ignore")
        try:
            found.append((plane, footprints_on(where, scene.rois, "view_movie")))
        except RoiError as error:  # there may be ROIs on other planes
            problem = error
    if problem is not None and not found:
        raise problem
    names = scene.neurons
    if names is None:
        names = list(dict.fromkeys(name for _, one in found for name in one.neurons))
    row_of = {name: row for row, name in enumerate(names)}
    shape = [-(-size // factor) for size in scene.reader.shape]
    labels = np.zeros((len(scene.planes), *shape), dtype=np.int32)
    parts = []
    y_axis, x_axis = scene.axes
    for plane, one in found:
        rows = np.array([row_of.get(name, -1) for name in one.neurons])
        lines, owner = outlines(one.row, one.y, one.x)
        y, x = one.on_image(lines[..., 1], lines[..., 0])
        (y0, y1), (x0, x1) = y_axis.middle(y).T, x_axis.middle(x).T
        parts.append(np.column_stack([x0, y0, x1, y1, rows[owner], np.full(len(y), plane)]))
        at = [np.rint(own).astype(int) // factor for own in one.on_image(one.y, one.x)]
        on = (at[0] >= 0) & (at[0] < shape[0]) & (at[1] >= 0) & (at[1] < shape[1])
        labels[plane, at[0][on], at[1][on]] = rows[one.row][on] + 1
    table = np.concatenate(parts)
    shades = np.array(ROI_COLOURS)[table[:, 4].astype(int) % len(ROI_COLOURS)]
    data: dict[str, Any] = dict(zip(("x0", "y0", "x1", "y1"), table.T[:4], strict=True))
    data |= {name: table[:, at].astype(np.int32) for name, at in (("row", 4), ("plane", 5))}
    return Outlines(data | {"colour": shades.tolist()}, labels, [plain(name) for name in names])


class Stage:
    """The figure of frames: image, contrast, outlines, and the mark where it was clicked.

    Parameters
    ----------
    scene : Scene
        What is shown.
    factor : int
        Pixels of the movie in one that is shown.
    first : ndarray, shape (y, x)
        The image shown first.
    limits : Limits
        Of contrast.
    rois : Outlines, optional
        ROIs.
    shown : bokeh.models.ColumnDataSource
        Whose ``plane`` is the one that is shown.
    """

    def __init__(
        self,
        scene: Scene,
        factor: int,
        first: np.ndarray,
        limits: Limits,
        rois: Outlines | None,
        shown: Any,
    ) -> None:
        from bokeh.models import ColorBar, LinearColorMapper, RangeSlider
        from bokeh.palettes import gray

        self.figure = self._figure(scene)
        self.mapper = LinearColorMapper(
            palette=gray(256), low=limits.low, high=limits.high, nan_color=_MISSING
        )
        drawn = self._image(scene, factor, first)
        bar = ColorBar(
            color_mapper=self.mapper, width=10, padding=4, label_standoff=6, title_standoff=6,
            title=scene.units or None, title_text_font_style="normal",
        )  # fmt: skip
        self.figure.add_layout(bar, "right")
        self.contrast = RangeSlider(
            name="contrast", title=None, show_value=False, sizing_mode="stretch_width",
            start=limits.floor, end=limits.ceiling, step=(limits.ceiling - limits.floor) / 500,
            value=(limits.low, limits.high),
        )  # fmt: skip
        self.contrast.js_on_change("value", script("contrast", mapper=self.mapper))
        self._mark()
        self.rois = None if rois is None else self._outline(rois)
        #: Where the pixels lie and whose they are, for scripts.
        self.place: dict[str, Any] = {
            "map": None if rois is None else rois.map,
            "start": [axis.start for axis in scene.axes],
            "step": [axis.step * factor for axis in scene.axes],
        }
        self._hover(scene, drawn, shown, [] if rois is None else rois.names)

    def _figure(self, scene: Scene) -> Any:
        from bokeh.plotting import figure

        y_axis, x_axis = scene.axes
        tall, wide = (axis.step * n for axis, n in zip(scene.axes, scene.reader.shape, strict=True))
        ratio = min(max(tall / wide, _FLATTEST), _TALLEST)
        frame_width = int(min(_WIDE, _HIGH / ratio))
        self.in_proportion = ratio == tall / wide
        made = figure(
            name="frame", frame_width=frame_width, frame_height=int(frame_width * ratio),
            x_range=(x_axis.start, x_axis.start + wide),
            y_range=(y_axis.start + tall, y_axis.start),
            tools="pan,wheel_zoom,box_zoom,reset,save", active_scroll="wheel_zoom",
            x_axis_label=x_axis.label, y_axis_label=y_axis.label, match_aspect=self.in_proportion,
        )  # fmt: skip
        made.toolbar.logo = None
        made.grid.visible = False
        made.title.text_color = INK
        made.axis.axis_label_text_font_style = "normal"
        return made

    def _image(self, scene: Scene, factor: int, first: np.ndarray) -> Any:
        from bokeh.models import ColumnDataSource

        y_axis, x_axis = scene.axes
        # Pixels at the far edges may stand for fewer than factor x factor of the movie.
        tall, wide = (
            n * factor * axis.step for n, axis in zip(first.shape, scene.axes, strict=True)
        )
        self.image = ColumnDataSource({
            "image": [drawable(first)], "x": [x_axis.start], "y": [y_axis.start],
            "dw": [wide], "dh": [tall],
        })  # fmt: skip
        return self.figure.image(
            "image", x="x", y="y", dw="dw", dh="dh", source=self.image, color_mapper=self.mapper
        )

    def _mark(self) -> None:
        from bokeh.models import ColumnDataSource

        self.mark = ColumnDataSource({"x": [], "y": []})
        style: dict[str, Any] = {"marker": "cross", "size": 16, "fill_color": None}
        for colour, width in (("#000000", 4), ("#FFFFFF", 1.6)):
            self.figure.scatter("x", "y", source=self.mark, line_color=colour, line_width=width,
                                **style)  # fmt: skip

    def _outline(self, rois: Outlines) -> Any:
        from bokeh.models import ColumnDataSource

        alpha = (rois.data["plane"] == 0).astype(np.float32)
        width = np.full(alpha.shape, 1.4, dtype=np.float32)
        source = ColumnDataSource({**rois.data, "alpha": alpha, "width": width})
        self.figure.segment(
            x0="x0", y0="y0", x1="x1", y1="y1", source=source, line_color="colour",
            line_alpha="alpha", line_width="width", line_cap="round",
        )  # fmt: skip
        return source

    def _hover(self, scene: Scene, drawn: Any, shown: Any, names: list[str]) -> None:
        from bokeh.models import CustomJSHover, HoverTool

        told = CustomJSHover(
            args=self.place | {"names": names, "shown": shown}, code=script("hover_frame").code
        )
        y_axis, x_axis = scene.axes
        tips = [(x_axis.label, "@image{x}"), (y_axis.label, "@image{y}"),
                (scene.value_label, "@image{value}")]  # fmt: skip
        if names:
            tips.append(("neuron", "@image{neuron}"))
        self.figure.add_tools(
            HoverTool(renderers=[drawn], tooltips=tips, formatters={"@image": told})
        )


def drawable(image: np.ndarray) -> np.ndarray:
    """Return an image of a type that browsers know."""
    if image.dtype in (np.uint8, np.uint16, np.float32):
        return np.ascontiguousarray(image)
    return np.ascontiguousarray(image, dtype=np.float32)
