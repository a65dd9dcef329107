"""The models of a movie view: sliders, the figure of frames, and figures over time."""

from __future__ import annotations

from typing import Any

import numpy as np

from calscipy.plotting.interactive.browser import (
    STEPS,
    NeuronBrowser,
    Panel,
    ends_for,
    keys,
    time_figure,
)
from calscipy.plotting.interactive.embedding import Embedded
from calscipy.plotting.interactive.pages import INK, heading, plain, script
from calscipy.plotting.interactive.scene import Scene
from calscipy.plotting.interactive.stage import Stage, drawable, outlines_of
from calscipy.plotting.interactive.view import Built
from calscipy.plotting.style import ALERT

_MOST_PIXELS = 1024  # of an image along its longer side; larger ones are shown coarser
_REACH = 1  # pixels around the one that is clicked
_FRAME_KEYS = {
    "ArrowRight": 1, "ArrowLeft": -1, "PageUp": 10, "PageDown": -10,
    "Home": -(2**31), "End": 2**31,
}  # fmt: skip
_NEURON_KEYS = {key: STEPS[key] for key in ("ArrowUp", "ArrowDown")}
_HINT = "Keys: ← → for the frame before or after, Page Down and Page Up for ten, space to play"


class Player:
    """Models for one page, which holds its frames, or for one session, where Python reads them.

    As in `browser`, a ``request`` is answered before the next one is made.

    Parameters
    ----------
    scene : Scene
        What is shown.
    pictures : Embedded, optional
        The frames of a page.
    for_traces : int, optional
        Bytes of a page that are for traces.
    """

    def __init__(
        self, scene: Scene, pictures: Embedded | None = None, for_traces: int | None = None
    ) -> None:
        from bokeh.models import ColumnDataSource

        self.scene, self.pictures = scene, pictures
        if pictures is None:
            self.factor = -(-max(scene.reader.shape) // _MOST_PIXELS)
            self.numbers = np.arange(scene.reader.frames)
            first, limits = scene.look(0, 0, 0, self.factor)
        else:
            self.factor, self.numbers = pictures.factor, pictures.numbers
            first, limits = pictures.image(0, 0, 0), pictures.limits[0]
        self.times = scene.times[self.numbers]
        place = {name: [0] for name in ("number", "frame", "channel", "plane")}
        self.request = ColumnDataSource(dict(place), name="frame request")
        told = {name: [value] for name, value in limits._asdict().items()}
        self.shown = ColumnDataSource({**place, **told, "problem": [""]})
        rois = None
        if scene.rois is not None:
            rois = outlines_of(scene, self.factor)
        self.stage = Stage(scene, self.factor, first, limits, rois, self.shown)
        self.stage.figure.title.text = scene.title(int(self.numbers[0]))
        self.browser: NeuronBrowser | None = None
        if scene.neurons is not None:
            panel = Panel(scene.layers[0].label, tuple(scene.layers), 280)
            self.browser = NeuronBrowser(scene.neurons, [panel], for_traces)
        self._controls()
        self._pixel()
        self._connect()
        if pictures is None:
            self.request.on_change("data", self._answer)
            self.tapped.on_change("data", self._answer_tap)
        else:
            self._connect_page(pictures)

    def _controls(self) -> None:
        from bokeh.models import Select, Slider, Spinner, Toggle

        count = len(self.numbers)
        self.slider = Slider(
            name="position", title=None, show_value=False, start=0, end=max(1, count - 1), value=0,
            step=1, disabled=count == 1, sizing_mode="stretch_width",
        )  # fmt: skip
        self.play = Toggle(name="play", label="▶ play", width=80, disabled=count == 1)
        self.rate = Spinner(name="rate", title="images/s", low=1, high=60, value=10, width=80)
        self.step = Spinner(name="step", title="step", low=1, high=max(1, count), value=1, width=80)
        channels, planes = self.scene.channels, self.scene.planes
        self.channel = Select(
            name="channel", title="channel", width=140, value="0", visible=len(channels) > 1,
            options=[(str(at), name) for at, name in enumerate(channels)],
        )  # fmt: skip
        self.plane = Slider(
            name="plane", title="plane", start=0, end=max(1, len(planes) - 1), value=0, step=1,
            visible=len(planes) > 1, show_value=False, width=200,
        )  # fmt: skip

    def _pixel(self) -> None:
        """Make the figure of the time course of what is clicked."""
        from bokeh.models import ColumnDataSource, HoverTool, Range1d

        start, end = float(self.times[0]), float(self.times[-1])
        self.pixel_range = Range1d(start=start, end=end if end > start else start + 1.0)
        self.course = ColumnDataSource({"time": [], "value": []})
        self.pixel = time_figure(self.pixel_range, "pixel", 240)
        word = "time [s]" if self.scene.timed else "frame"
        self.pixel.xaxis.axis_label = word
        self.pixel.yaxis.axis_label = self.scene.value_label
        self.pixel.title.text = "Click on the image for the time course there."
        line = self.pixel.line("time", "value", source=self.course, color=INK, line_width=1.2)
        tips = [(word, "@time{%.3f}"), (self.scene.value_label, "@value{%.5g}")]
        self.pixel.add_tools(HoverTool(
            renderers=[line], mode="vline", limit=1, line_policy="nearest", tooltips=tips,
            formatters={"@time": "printf", "@value": "printf"},
        ))  # fmt: skip

    def _connect(self) -> None:
        """Let the controls ask, and everything follow what is shown."""
        from bokeh.models import ColumnDataSource, Span

        exchange = {"request": self.request, "shown": self.shown}
        ask = script(
            "ask_frame", **exchange, slider=self.slider, channel=self.channel, plane=self.plane
        )
        for control in (self.slider, self.channel, self.plane):
            control.js_on_change("value", ask)
        spans = []
        jump = script("jump", slider=self.slider, times=self.times)
        for figure in [self.pixel, *(self.browser.figures if self.browser else [])]:
            span = Span(
                location=float(self.times[0]), dimension="height", line_color=ALERT, line_width=1.5
            )
            figure.add_layout(span)
            figure.js_on_event("tap", jump)
            spans.append(span)
        pick = self.browser.pick if self.browser else None
        follow = script(
            "follow_frame", shown=self.shown, title=self.stage.figure.title, spans=spans,
            contrast=self.stage.contrast, mapper=self.stage.mapper, rois=self.stage.rois,
            pick=pick, **self._words(),
        )  # fmt: skip
        self.shown.js_on_change("data", follow, ask)
        if pick is not None:
            pick.js_on_change("value", follow)
        self.play.js_on_change("active", script(
            "play", toggle=self.play, slider=self.slider, rate=self.rate, step=self.step, **exchange
        ))  # fmt: skip
        self.tapped = ColumnDataSource({"number": [0], "x": [0.0], "y": [0.0]})
        self.stage.figure.js_on_event("tap", script(
            "tap_frame", **self.stage.place, mark=self.stage.mark, shown=self.shown,
            tapped=self.tapped, pick=pick,
        ))  # fmt: skip

    def _words(self) -> dict[str, Any]:
        """Return what a script needs to write the titles of frames."""
        valid = self.scene.reader.validity
        return {
            "numbers": self.numbers.astype(np.int32),
            "times": self.times,
            "timed": self.scene.timed,
            "channels": self.scene.channels if len(self.scene.channels) > 1 else [],
            "planes": self.scene.planes if len(self.scene.planes) > 1 else [],
            "valid": None if valid is None else valid[self.numbers].astype(np.uint8),
        }

    def _connect_page(self, pictures: Embedded) -> None:
        """Let scripts answer from what the page holds."""
        from bokeh.models import ColumnDataSource

        exchange = {"request": self.request, "shown": self.shown}
        # In a source, as what is given to two scripts directly would be in the page twice.
        codes = ColumnDataSource({"pictures": [pictures.codes]})
        held = {"codes": codes, "ends": [list(ends) for ends in pictures.ends]}
        limits = [own._asdict() for own in pictures.limits]
        self.request.js_on_change("data", script(
            "answer_frame", **exchange, **held, image=self.stage.image, limits=limits
        ))  # fmt: skip
        place = {name: self.stage.place[name] for name in ("start", "step")}
        self.tapped.js_on_change("data", script(
            "answer_pixel", tapped=self.tapped, shown=self.shown, course=self.course, **held,
            **place, times=self.times, title=self.pixel.title, range=self.pixel.y_range,
            x_range=self.pixel_range,
        ))  # fmt: skip

    def _answer(self, attr: str, old: Any, new: Any) -> None:
        """Read the frame that is asked for."""
        reader = self.scene.reader
        counts = {"frame": reader.frames, "channel": reader.channels, "plane": reader.planes}
        place = {name: min(max(int(new[name][0]), 0), n - 1) for name, n in counts.items()}
        told: dict[str, Any] = dict(self.shown.data)
        try:
            image, limits = self.scene.look(**place, factor=self.factor)
        except Exception as problem:  # the browser waits for an answer, whatever it is
            told["problem"] = [plain(f"frame {place['frame']} cannot be read: {problem}")]
        else:
            self.stage.image.patch({"image": [(0, drawable(image))]})
            told |= {name: [value] for name, value in {**place, **limits._asdict()}.items()}
            told["problem"] = [""]
        self.shown.data = told | {"number": list(new["number"])}

    def _answer_tap(self, attr: str, old: Any, new: Any) -> None:
        """Read the time course of the pixels around the one that was clicked."""
        row, column = self.scene.pixel_at(float(new["y"][0]), float(new["x"][0]))
        now = self.shown.data
        place = int(now["frame"][0]), int(now["channel"][0]), int(now["plane"][0])
        try:
            found = self.scene.reader.course(*place, row, column, _REACH)
        except Exception as problem:  # told where the time course would be
            self.course.data = {"time": [], "value": []}
            self.pixel.title.text = plain(f"cannot be read: {problem}")
            return
        times = self.times[found.frames]
        self.course.data = {"time": times, "value": found.values}
        low, high = ends_for([found.values])
        self.pixel.y_range.update(start=low, end=high)
        if times[-1] > times[0]:
            self.pixel_range.update(start=float(times[0]), end=float(times[-1]))
        rows, columns = (part.stop - part.start for part in (found.rows, found.columns))
        self.pixel.title.text = (
            f"mean of {rows} × {columns} pixels at {self.scene.where(row, column)} · frames "
            f"{found.frames.start} to {found.frames.stop - 1} of {self.scene.reader.frames}"
        )

    def built(self, title: str) -> Built:
        """Put everything in its place, under a title."""
        from bokeh.layouts import column, row
        from bokeh.models import Div

        wide = {"sizing_mode": "stretch_width"}
        left = column(
            self.stage.figure,
            row(self.play, self.slider, **wide),
            row(Div(text="contrast", width=60), self.stage.contrast, **wide),
            row(self.rate, self.step, self.channel, self.plane),
            width=self.stage.figure.frame_width + 150,
        )
        right: list[Any] = [self.pixel]
        sliders = [(self.slider, _FRAME_KEYS)]
        figures = [self.stage.figure, self.pixel]
        if self.browser is not None:
            right = [self.browser.pick, *self.browser.figures, self.pixel]
            sliders.append((self.browser.pick, _NEURON_KEYS))
            figures += self.browser.figures
        listen = keys(figures, sliders, self.play)
        # In a narrow window, as in a notebook, the figures over time come below.
        beside = column(*right, min_width=420, **wide)
        body = row(left, beside, styles={"flex-wrap": "wrap"}, **wide)
        return Built(column(heading(title, self._notes()), body, **wide), listen)

    def _notes(self) -> list[str]:
        reader = self.scene.reader
        height, width = reader.shape
        hint = _HINT + (", ↓ ↑ for the neuron before or after" if self.browser else "")
        sizes = f"{reader.frames} frames of {height} × {width} pixels, {self.scene.movie.dtype}"
        notes = [f"{sizes}. {hint}. Click on the image: time course there."]
        if self.pictures is not None:
            notes.append(self.pictures.note)
        elif self.factor > 1:
            notes.append(f"Images are shown as means of {self.factor} × {self.factor} pixels.")
        if not self.stage.in_proportion:
            notes.append("Images are drawn out of proportion.")
        return notes + (self.browser.notes if self.browser else [])
