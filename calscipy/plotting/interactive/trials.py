"""Trials by condition, of one neuron after the other."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr

from calscipy import model, ops
from calscipy.errors import ArgumentError, ChunkError
from calscipy.io.output import progress_bar
from calscipy.options import get_option
from calscipy.plotting.interactive.browser import (
    KEYS_HINT,
    STEPS,
    ends_for,
    keys,
    neuron_slider,
    time_figure,
)
from calscipy.plotting.interactive.layers import coded
from calscipy.plotting.interactive.pages import DATA_BYTES, heading, plain, script
from calscipy.plotting.interactive.view import Built, View
from calscipy.plotting.style import GREY, SINGLE_COLOUR, colour, label, name_of

MEANS = ("mean", "lower", "upper")
_MOST_CONDITIONS = 24
_MOST_SINGLE = 200  # trials of a condition that are drawn one by one
_COLUMNS = 4


@dataclass(frozen=True)
class _Condition:
    """What one panel shows.

    Attributes
    ----------
    title : str
        Name and number of trials.
    trials : ndarray of int
        Which trials it has.
    """

    title: str
    trials: np.ndarray


class TrialsView(View):
    """Trials of one neuron by condition: single trials, their mean and its interval."""

    def __init__(
        self,
        trials: xr.DataArray,
        by: str | None,
        conditions: list[_Condition],
        averaging: dict[str, Any],
        title: str,
    ) -> None:
        super().__init__(title)
        self._trials, self._by, self._averaging = trials, by, averaging
        self._conditions = conditions
        self._neurons = [plain(f"neuron {name}") for name in trials[model.NEURON].values.tolist()]
        self._times = model.seconds(trials, "view_trials")

    def _table(self, rows: slice | list[int]) -> np.ndarray:
        """Return mean, lower and upper end ``(neurons, conditions, 3, time)``."""
        some = self._trials.isel({model.NEURON: rows})
        table = ops.average(some, by=self._by, **self._averaging)
        dims = (model.NEURON, *([self._by] if self._by else []), model.TIME)
        parts = [table[name].transpose(*dims).values for name in MEANS]
        found = np.stack(parts, axis=-2)
        return found if self._by else found[:, None]

    def _single(self, rows: slice | list[int], most: int) -> list[np.ndarray]:
        """Return single trials ``(neurons, trials, time)`` of each condition."""
        values = self._trials.values
        return [
            np.moveaxis(values[some_of(condition.trials, most)][:, rows], 0, 1)
            for condition in self._conditions
        ]

    def _build(self, *, live: bool, **options: Any) -> Built:
        from bokeh.layouts import column, gridplot, row
        from bokeh.models import ColumnDataSource, Range1d, Toggle

        count = len(self._neurons)
        pick = neuron_slider(count)
        request = ColumnDataSource({"number": [0], "row": [0]})
        shown = ColumnDataSource({"number": [0], "row": [0]})
        start, stop = float(self._times[0]), float(self._times[-1])
        x_range = Range1d(start=start, end=stop if stop > start else start + 1.0)
        y_range = Range1d(start=0, end=1)
        most = _MOST_SINGLE if live else self._room()
        panels = self._panels(x_range, y_range, pick)
        self._fill(panels, 0, most)
        low, high = _ends(panels)
        y_range.update(start=low, end=high)
        name = heading(f"{self._neurons[0]} · 1 of {count}")
        name.name = "which"
        follow = script("follow_trials", shown=shown, names=self._neurons, which=name,
                        y_range=y_range, panels=[panel.args for panel in panels])  # fmt: skip
        ask = script("ask_neuron", request=request, shown=shown, pick=pick, range=x_range,
                     zoom=False)  # fmt: skip
        pick.js_on_change("value", ask)
        shown.js_on_change("data", follow, ask)
        if live:

            def answer(attr: str, old: Any, new: Any) -> None:
                row = min(max(int(new["row"][0]), 0), count - 1)
                self._fill(panels, row, most)
                shown.data = {"number": list(new["number"]), "row": [row]}

            request.on_change("data", answer)
        else:
            request.js_on_change("data", self._page_answer(request, shown, panels, most))
        figures = [panel.figure for panel in panels]
        listen = keys(figures, [(pick, STEPS)])
        single = Toggle(label="single trials", active=True, width=110, name="single",
                        visible=self._trials.dtype != bool and most > 0)  # fmt: skip
        for panel in panels:
            single.js_link("active", panel.single, "visible")
        grid = gridplot(figures, ncols=self._across(), sizing_mode="stretch_width",
                        toolbar_options={"logo": None})  # fmt: skip
        top = row(pick, single, sizing_mode="stretch_width")
        return Built(
            column(
                heading(self.title, self._notes(most)), top, name, grid, sizing_mode="stretch_width"
            ),
            listen,
        )

    def _across(self) -> int:
        """Return how many panels stand side by side, so that the rows are about as long."""
        count = len(self._conditions)
        return -(-count // -(-count // _COLUMNS))

    def _notes(self, most: int) -> list[str]:
        confidence = self._averaging["confidence"]
        band = f"Mean of the trials and its {100 * confidence:g} % interval."
        notes = [f"{len(self._neurons)} neurons. {band} {KEYS_HINT}"]
        longest = max(condition.trials.size for condition in self._conditions)
        if self._trials.dtype == bool or most >= longest:
            return notes
        if not most:
            return [*notes, "Single trials are left out; means are of all."]
        shown = f"At most {most} single trials of each condition are shown, evenly chosen"
        return [*notes, f"{shown}; means are of all."]

    def _room(self) -> int:
        """Return how many single trials of each condition fit into a page."""
        rows = len(self._neurons) * self._times.size * 2  # bytes of one line of every neuron
        left = DATA_BYTES - rows * len(MEANS) * len(self._conditions)
        if left < 0:
            raise ArgumentError(
                f"the means of {len(self._neurons)} neurons and {len(self._conditions)} "
                f"conditions with {self._times.size} samples do not fit into a page. Select "
                "neurons (trials.isel(neuron=slice(100))) or bin the trials."
            )
        if self._trials.dtype == bool:
            return 0
        return min(_MOST_SINGLE, left // (rows * len(self._conditions)))

    def _panels(self, x_range: Any, y_range: Any, pick: Any) -> list[_Panel]:
        quantity = label(self._trials, "trials")
        if self._trials.dtype == bool:
            quantity = f"share of trials with {name_of(self._trials, 'an event')}"
        panels = []
        for at, condition in enumerate(self._conditions):
            first = at % self._across() == 0
            figure = time_figure(x_range, f"condition {at}", 300)
            figure.y_range = y_range
            figure.title.text = plain(condition.title)
            figure.yaxis.axis_label = plain(quantity) if first else None
            figure.min_border_left = 60
            figure.min_border_right = 10
            panels.append(_Panel(figure, colour(at), pick, self._neurons, quantity))
        return panels

    def _fill(self, panels: list[_Panel], row: int, most: int) -> None:
        """Draw one neuron."""
        table = self._table([row])[0]
        single = self._single([row], most if self._trials.dtype != bool else 0)
        for panel, means, lines in zip(panels, table, single, strict=True):
            panel.means.data = {"time": self._times, **dict(zip(MEANS, means, strict=True))}
            count = lines.shape[1]
            panel.lines.data = {"time": [self._times] * count, "value": list(lines[0])}

    def _page_answer(self, request: Any, shown: Any, panels: list[_Panel], most: int) -> Any:
        everything = slice(None)
        with progress_bar("averaging trials", delay=1):
            table = self._table(everything)
        single = self._single(everything, most)
        count = len(self._neurons)
        flat = [table.reshape(count, -1), *(lines.reshape(count, -1) for lines in single)]
        data = coded(np.concatenate(flat, axis=1)) | {"rows": count}
        return script(
            "answer_trials", request=request, shown=shown, data=data, times=self._times,
            panels=[panel.args for panel in panels],
            counts=[lines.shape[1] for lines in single],
        )  # fmt: skip


class _Panel:
    """The figure of one condition, and what it draws from."""

    def __init__(
        self,
        figure: Any,
        shade: str,
        pick: Any,
        names: list[str],
        quantity: str,
    ) -> None:
        from bokeh.models import ColumnDataSource, CustomJSHover, HoverTool, Span

        self.figure = figure
        self.lines = ColumnDataSource({"time": [], "value": []})
        self.means = ColumnDataSource({"time": [], **{name: [] for name in MEANS}})
        self.args = {"means": self.means, "lines": self.lines}
        if figure.x_range.start < 0 < figure.x_range.end:
            zero = Span(location=0, dimension="height", line_color=GREY, line_dash="dashed")
            figure.add_layout(zero)
        self.single = figure.multi_line(
            "time", "value", source=self.lines, color=SINGLE_COLOUR, alpha=0.6, line_width=0.6
        )
        figure.varea("time", "lower", "upper", source=self.means, color=shade, alpha=0.3)
        mean = figure.line("time", "mean", source=self.means, color=shade, line_width=2)
        told = CustomJSHover(
            args={"pick": pick, "names": names, "means": self.means},
            code=script("hover_trials").code,
        )
        tips = [("neuron", "@time{neuron}"), ("time [s]", "@time{time}")]
        tips += [(plain(quantity), "@time{mean}"), ("interval", "@time{interval}")]
        figure.add_tools(HoverTool(
            renderers=[mean], mode="vline", limit=1, tooltips=tips, formatters={"@time": told},
            attachment="horizontal", line_policy="nearest",
        ))  # fmt: skip


def _ends(panels: Sequence[_Panel]) -> tuple[float, float]:
    """Return the ends of the axis that all panels share, for what they draw now."""
    means = [panel.means.data[name] for panel in panels for name in MEANS]
    return ends_for(means + [line for panel in panels for line in panel.lines.data["value"]])


def some_of(numbers: np.ndarray, most: int) -> np.ndarray:
    """Return at most so many of some numbers, evenly chosen.

    Examples
    --------
    >>> some_of(np.arange(10), 4).tolist()
    [0, 3, 6, 9]
    """
    if numbers.size <= most:
        return numbers
    return numbers[np.linspace(0, numbers.size - 1, most).astype(int)]


def view_trials(
    trials: xr.DataArray,
    *,
    by: str | None = None,
    confidence: float = 0.95,
    rng: int = 0,
    title: str | None = None,
) -> View:
    """Flip through the trials of neurons by condition; lazy trials are computed.

    Parameters
    ----------
    trials : DataArray
        Trials ``(trial, [neuron,] time)`` of numbers, or of booleans, whose mean is the share of
        trials with an event.
    by : str, optional
        Coordinate along trials, such as their condition: a panel for each of its values, at most
        24. One panel by default.
    confidence : float, default 0.95
        Of the band around the mean, see :func:`calscipy.average`.
    rng : int, default 0
        Seed of the band.
    title : str, optional
        Title above everything; the ``long_name`` of the trials by default.

    Returns
    -------
    View
        Shown in notebooks; ``save_html(path)`` writes a page of its own, ``serve()`` answers a
        browser. All panels share their axes.

    Raises
    ------
    ArgumentError
        If ``by`` is no coordinate along trials, or has more than 24 values.
    ChunkError
        If lazy trials need more memory than ``memory_limit``.
    MissingPackageError
        Without the extra ``plot``.

    Examples
    --------
    >>> traces = cs.from_numpy(np.random.default_rng(0).normal(0, 1, (2, 120)), frame_rate=10)
    >>> trials = cs.to_trials(traces, length=2).assign_coords(cue=("trial", list("ababab")))
    >>> view_trials(trials, by="cue").save_html("trials.html").name
    'trials.html'
    """
    trials = _loaded(trials)
    # Refuses what cannot be averaged, at once and not when a page is made.
    ops.average(trials.isel({model.NEURON: [0]}), by=by, confidence=confidence, rng=rng)
    numbers = np.arange(trials.sizes[model.TRIAL])
    conditions = [_Condition(f"all trials, n = {numbers.size}", numbers)]
    if by is not None:
        values = trials[by].values
        labels = ops.average(trials.isel({model.NEURON: [0], model.TIME: [0]}), by=by, rng=0)[by]
        if labels.size > _MOST_CONDITIONS:
            raise ArgumentError(
                f"view_trials: {by!r} has {labels.size} values, and at most {_MOST_CONDITIONS} "
                f"panels can be read. Select trials, for instance "
                f"trials[trials.{by}.isin(values)]."
            )
        conditions = []
        for value in labels.values.tolist():
            mine = np.flatnonzero([own == value for own in values.tolist()])
            name = f"{by} {value}, n = {mine.size}"
            conditions.append(_Condition(name, mine))
    averaging = {"confidence": confidence, "rng": rng}
    return TrialsView(trials, by, conditions, averaging, title or name_of(trials, "trials"))


def _loaded(trials: Any) -> xr.DataArray:
    if not isinstance(trials, xr.DataArray):
        raise ArgumentError(
            f"view_trials needs trials as a DataArray, got {type(trials).__name__}. Make them "
            "with traces.cs.to_trials(...)."
        )
    model.require_dims(trials, (model.TRIAL, model.TIME), "view_trials")
    if model.NEURON not in trials.dims:
        name = trials.coords[model.NEURON].item() if model.NEURON in trials.coords else 0
        trials = trials.drop_vars(model.NEURON, errors="ignore")
        trials = trials.expand_dims({model.NEURON: [name]})
    if set(trials.dims) != {model.TRIAL, model.NEURON, model.TIME} or 0 in trials.shape:
        raise ArgumentError(
            f"view_trials shows trials (trial, neuron, time), got {dict(trials.sizes)}. Select "
            "one of each further dimension."
        )
    if not trials.variable._in_memory and trials.nbytes > get_option("memory_limit"):
        raise ChunkError(
            f"view_trials reads the trials into memory, which takes {trials.nbytes} bytes, more "
            f"than memory_limit={get_option('memory_limit')}. Select neurons first, or raise the "
            "limit with calscipy.set_options."
        )
    if model.NEURON not in trials.coords:
        trials = trials.assign_coords({model.NEURON: np.arange(trials.sizes[model.NEURON])})
    with progress_bar("reading trials", delay=1):
        return trials.transpose(model.TRIAL, model.NEURON, model.TIME).compute()
