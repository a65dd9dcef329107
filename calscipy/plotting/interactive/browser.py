"""One neuron after the other: slider, keys and figures over time.

The controls write what is wanted into a ``request``; whoever answers writes what is drawn into
the sources of the figures and the number of the request into ``shown``. In a page a script
answers from data that the page holds, live it is Python. The next request is sent when the last
one has been answered, so that a slow answer never leaves a queue behind.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from calscipy.plotting.interactive.layers import Layer, pack
from calscipy.plotting.interactive.pages import INK, WIDEST, plain, script
from calscipy.plotting.style import colour

STEPS = {
    "ArrowRight": 1, "ArrowUp": 1, "ArrowLeft": -1, "ArrowDown": -1,
    "PageUp": 10, "PageDown": -10, "Home": -(2**31), "End": 2**31,
}  # fmt: skip
KEYS_HINT = (
    "Keys: ← → or ↓ ↑ for the neuron before or after, Page Down and Page Up for ten, Home and "
    "End. Wheel: zoom in time. Drag: move. Pointer: values."
)
MARKS_HEIGHT = 60


@dataclass(frozen=True, eq=False)
class Panel:
    """Layers that share axes.

    Attributes
    ----------
    label : str
        Label of the axis of values.
    layers : tuple of Layer
        All of them traces, or all of them marks.
    height : int
        Pixels.
    """

    label: str
    layers: tuple[Layer, ...]
    height: int


class NeuronBrowser:
    """The models of one viewer, made anew for every page and every session.

    Parameters
    ----------
    neurons : list
        Names of the neurons.
    panels : sequence of Panel
        From top to bottom.
    budget : int, optional
        Bytes that the data may take in a page; None when Python answers.
    """

    def __init__(
        self, neurons: list[Any], panels: Sequence[Panel], budget: int | None = None
    ) -> None:
        from bokeh.models import ColumnDataSource, Range1d

        self.names = [plain(f"neuron {name}") for name in neurons]
        self.layers = [layer for panel in panels for layer in panel.layers]
        self.notes: list[str] = []
        count = len(neurons)
        self.pick = neuron_slider(count)
        start = min(float(layer.times[0]) for layer in self.layers)
        stop = max(float(layer.times[-1]) for layer in self.layers)
        stop = stop if stop > start else start + 1.0
        self.range = Range1d(start=start, end=stop, bounds=(start, stop))
        asked = {"number": [0], "row": [0], "start": [start], "stop": [stop]}
        self.request = ColumnDataSource(asked, name="request")
        self.shown = ColumnDataSource({"number": [0], "row": [0]})
        self.sources = [ColumnDataSource(layer.drawn(0, WIDEST)) for layer in self.layers]
        ends = np.cumsum([len(panel.layers) for panel in panels])
        drawn = [self.sources[end - len(panel.layers) : end]
                 for panel, end in zip(panels, ends, strict=True)]  # fmt: skip
        self.figures = self._figures(panels, drawn)
        self._connect(panels, drawn, budget is None)
        if budget is None:
            self.request.on_change("data", self._answer)
        else:
            self._hold(budget)

    def _figures(self, panels: Sequence[Panel], drawn: Sequence[Sequence[Any]]) -> list[Any]:
        figures: list[Any] = []
        at = 0
        for number, (panel, sources) in enumerate(zip(panels, drawn, strict=True)):
            last = number == len(panels) - 1
            figure = time_figure(self.range, f"panel {number}", panel.height, last=last)
            figure.yaxis.axis_label = plain(panel.label)
            if panel.layers[0].marks:
                _marks(figure, sources[0])
            else:
                _lines(figure, panel, sources, at)
            figure.add_tools(self._hover(figure, panel, sources))
            figures.append(figure)
            at += len(panel.layers)
        figures[0].title.text = f"{self.names[0]} · 1 of {len(self.names)}"
        return figures

    def _hover(self, figure: Any, panel: Panel, sources: Sequence[Any]) -> Any:
        """Make the tool that tells what lies under the pointer, of all layers in one box."""
        from bokeh.models import CustomJSHover, HoverTool

        args = {"pick": self.pick, "names": self.names, "sources": list(sources)}
        told = CustomJSHover(args=args, code=script("hover").code)
        tips = [("neuron", "@time{neuron}"), ("time [s]", "@time{time}")]
        if not panel.layers[0].marks:
            tips += [(layer.label, f"@time{{{i}}}") for i, layer in enumerate(panel.layers)]
        return HoverTool(
            renderers=[figure.renderers[0]], mode="vline", limit=1, tooltips=tips,
            formatters={"@time": told}, attachment="horizontal", line_policy="nearest",
        )  # fmt: skip

    def _connect(self, panels: Sequence[Panel], drawn: Sequence[Sequence[Any]], zoom: bool) -> None:
        """Let the controls ask, and the axes follow what is shown."""
        ask = script("ask_neuron", request=self.request, shown=self.shown, pick=self.pick,
                     range=self.range, zoom=zoom)  # fmt: skip
        fitting = [
            {"range": figure.y_range, "sources": list(sources)}
            for figure, panel, sources in zip(self.figures, panels, drawn, strict=True)
            if not panel.layers[0].marks
        ]
        follow = script(
            "follow_neuron", shown=self.shown, range=self.range, panels=fitting,
            names=self.names, title=self.figures[0].title,
        )  # fmt: skip
        self.pick.js_on_change("value", ask)
        self.shown.js_on_change("data", follow, ask)
        for edge in ("start", "end"):
            self.range.js_on_change(edge, follow, ask)
        for figure in self.figures:
            figure.js_on_event("reset", follow)

    def _hold(self, budget: int) -> None:
        """Put the data into the page, from which a script answers."""
        packed = pack(self.layers, budget)
        self.notes = [one.note for one in packed if one.note]
        layers = [one.args | {"source": source} for one, source in
                  zip(packed, self.sources, strict=True)]  # fmt: skip
        answer = script("answer_neuron", request=self.request, shown=self.shown, layers=layers)
        self.request.js_on_change("data", answer)
        for layer, one, source in zip(self.layers, packed, self.sources, strict=True):
            source.data = layer.drawn(0, one.columns)

    def _answer(self, attr: str, old: Any, new: Any) -> None:
        """Draw the neuron and the times that are asked for."""
        row = min(max(int(new["row"][0]), 0), len(self.names) - 1)
        start, stop = float(new["start"][0]), float(new["stop"][0])
        for layer, source in zip(self.layers, self.sources, strict=True):
            source.data = layer.drawn(row, WIDEST, start, stop)
        self.shown.data = {"number": list(new["number"]), "row": [row]}


def neuron_slider(count: int) -> Any:
    """Return the slider that picks one of some neurons."""
    from bokeh.models import Slider

    return Slider(
        name="neuron", start=0, end=max(1, count - 1), value=0, step=1, disabled=count == 1,
        title=None, show_value=False, sizing_mode="stretch_width",
    )  # fmt: skip


def keys(
    figures: Sequence[Any], sliders: Sequence[tuple[Any, dict[str, int]]], toggle: Any = None
) -> Any:
    """Let the keyboard move sliders, and return the script that listens.

    Parameters
    ----------
    figures : sequence of bokeh figures
        Over which the keys work where there is more than one viewer, as in notebooks.
    sliders : sequence of (slider, dict)
        By how much each key moves which slider.
    toggle : optional
        What the space bar switches.
    """
    listen = script(
        "keys", name=figures[0].id, toggle=toggle,
        sliders=[{"slider": slider, "steps": steps} for slider, steps in sliders],
    )  # fmt: skip
    for figure in figures:
        figure.js_on_event("mouseenter", listen)
        figure.js_on_event("mouseleave", listen)
    return listen


def time_figure(x_range: Any, name: str, height: int, *, last: bool = True) -> Any:
    """Return an empty figure over time in s; its axis is written below the last one of a stack."""
    from bokeh.models import Range1d
    from bokeh.plotting import figure

    made = figure(
        name=name, height=height, sizing_mode="stretch_width", x_range=x_range,
        y_range=Range1d(start=0, end=1), tools="xpan,xwheel_zoom,xbox_zoom,reset,save",
        active_drag="xpan", active_scroll="xwheel_zoom", min_border_left=70, min_border_right=20,
    )  # fmt: skip
    made.toolbar.logo = None
    made.toolbar.autohide = True
    made.title.text_color = INK
    made.yaxis.axis_label_text_font_style = made.xaxis.axis_label_text_font_style = "normal"
    made.yaxis.axis_label_text_color = made.xaxis.axis_label_text_color = INK
    made.xgrid.grid_line_color = None
    made.outline_line_color = None
    made.xaxis.axis_label = "time [s]" if last else None
    made.xaxis.visible = last
    return made


def _lines(figure: Any, panel: Panel, sources: Sequence[Any], first: int) -> None:
    """Draw traces in colours that go on from those of the panels before."""
    named: dict[str, Any] = {}
    low, high = ends_for([source.data["value"] for source in sources])
    figure.y_range.update(start=low, end=high)
    for at, (layer, source) in enumerate(zip(panel.layers, sources, strict=True), first):
        if len(panel.layers) > 1:
            named = {"legend_label": layer.label}
        figure.line("time", "value", source=source, color=colour(at), line_width=1.2,
                    muted_alpha=0.1, **named)  # fmt: skip
    if named:
        legend = figure.legend[0]
        figure.add_layout(legend, "above")
        legend.orientation = "horizontal"
        legend.click_policy = "mute"
        legend.border_line_color = None
        legend.spacing = 16
        legend.padding = legend.margin = 2


def _marks(figure: Any, source: Any) -> None:
    figure.yaxis.major_tick_line_color = figure.yaxis.minor_tick_line_color = None
    figure.yaxis.major_label_text_font_size = "0pt"
    figure.ygrid.grid_line_color = None
    figure.segment(x0="time", x1="time", y0=0.1, y1=0.9, source=source, color=INK, line_width=1.5)


def ends_for(values: Sequence[Any]) -> tuple[float, float]:
    """Return the ends of an axis for some values, as the pages' scripts do.

    Examples
    --------
    >>> ends_for([[0.0, np.nan], [10.0]])
    (-0.5, 10.5)
    """
    every = np.concatenate([np.asarray(some, dtype=float) for some in values])
    every = every[np.isfinite(every)]
    if not every.size:
        return 0.0, 1.0
    low, high = float(every.min()), float(every.max())
    margin = 0.05 * (high - low) or 0.05 * abs(high) or 1.0
    return low - margin, high + margin
