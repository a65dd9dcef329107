"""Traces of one neuron after the other, and the spikes that were inferred from them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, get_args

import xarray as xr

from calscipy.errors import ArgumentError
from calscipy.plotting.interactive.browser import (
    KEYS_HINT,
    MARKS_HEIGHT,
    STEPS,
    NeuronBrowser,
    Panel,
    keys,
)
from calscipy.plotting.interactive.layers import Layer, layers_of
from calscipy.plotting.interactive.pages import DATA_BYTES, heading, plain
from calscipy.plotting.interactive.view import Built, View
from calscipy.plotting.style import with_units

Mode = Literal["overlay", "stacked"]

_AXIS = 50  # pixels below the last panel
_LONGEST = 9  # letters beside marks


class NeuronView(View):
    """Traces and marks of one neuron, chosen by a slider or with the keys."""

    def __init__(self, title: str, neurons: list[Any], panels: Sequence[Panel]) -> None:
        super().__init__(title)
        self._neurons, self._panels = neurons, panels

    def _build(self, *, live: bool, **options: Any) -> Built:
        from bokeh.layouts import column

        browser = NeuronBrowser(self._neurons, self._panels, None if live else DATA_BYTES)
        listen = keys(browser.figures, [(browser.pick, STEPS)])
        samples = max(layer.times.size for layer in browser.layers)
        notes = [f"{len(self._neurons)} neurons, {samples} samples. {KEYS_HINT}", *browser.notes]
        layout = column(
            heading(self.title, notes), browser.pick, *browser.figures, sizing_mode="stretch_width"
        )
        return Built(layout, listen)


def view_traces(
    traces: xr.DataArray,
    *others: xr.DataArray,
    mode: Mode = "overlay",
    names: Sequence[str] | None = None,
    title: str | None = None,
) -> View:
    """Flip through neurons with a slider or the keys; lazy traces are computed.

    Parameters
    ----------
    traces : DataArray
        Traces ``([neuron,] time)``.
    *others : DataArray
        Further data sets of the same neurons, such as smoothed traces; their times may differ.
        Booleans, such as events, are drawn as marks below.
    mode : {"overlay", "stacked"}, default "overlay"
        ``"overlay"``: all traces in one panel, which needs one unit for all. ``"stacked"``: each
        data set in a panel of its own, one below the other.
    names : sequence of str, optional
        What the data sets are called; their ``long_name`` by default.
    title : str, optional
        Title above everything; the ``long_name`` of the traces by default.

    Returns
    -------
    View
        Shown in notebooks; ``save_html(path)`` writes a page of its own, ``serve()`` answers a
        browser. Long traces are thinned out to the lowest and highest sample of each column of
        pixels; live, zooming in draws what lies between.

    Raises
    ------
    ArgumentError
        If data sets do not fit together.
    ChunkError
        If lazy traces need more memory than ``memory_limit``.
    MissingPackageError
        Without the extra ``plot``.

    Examples
    --------
    >>> traces = cs.from_numpy(np.random.default_rng(0).normal(size=(3, 200)), frame_rate=30)
    >>> view_traces(traces, traces.cs.gaussian_smooth(sigma=0.1)).save_html("traces.html").name
    'traces.html'
    """
    if mode not in get_args(Mode):
        raise ArgumentError(f"view_traces: mode must be one of {get_args(Mode)}, got {mode!r}")
    arrays = (traces, *others)
    if names is not None and len(names) != len(arrays):
        raise ArgumentError(f"view_traces needs {len(arrays)} names, got {len(names)}: {names}")
    given: Sequence[str | None] = names or [None] * len(arrays)
    neurons, layers = layers_of(list(zip(given, arrays, strict=True)), "view_traces")
    lines = [layer for layer in layers if not layer.marks]
    panels = []
    if lines and mode == "overlay":
        units = {str(a.attrs.get("units", "1")) for a in arrays if a.dtype != bool}
        if len(units) > 1:
            raise ArgumentError(
                f"view_traces(mode='overlay') needs one unit for all traces, got {sorted(units)}. "
                "Draw them in panels of their own with mode='stacked'."
            )
        label = lines[0].label if len(lines) == 1 else plain(with_units("", units.pop()))
        panels = [Panel(label, tuple(lines), 420)]
    elif lines:
        panels = [Panel(layer.label, (layer,), _height(len(lines))) for layer in lines]
    panels += [_marks_panel(layer) for layer in layers if layer.marks]
    return _view(title or layers[0].name, neurons, panels)


def view_spikes(
    *,
    probability: xr.DataArray | None = None,
    spikes: xr.DataArray | None = None,
    traces: xr.DataArray | None = None,
    title: str | None = None,
) -> View:
    """Compare inferred spikes with the traces, neuron by neuron; lazy arrays are computed.

    Parameters
    ----------
    probability : DataArray, optional
        Probability of a spike ``([neuron,] time)``.
    spikes : DataArray, optional
        Spikes ``([neuron,] time)``: booleans, drawn as marks, or an activity such as the result of
        ``deconvolve``.
    traces : DataArray, optional
        Traces ``([neuron,] time)``, such as ΔF/F.
    title : str, optional
        Title above everything.

    Returns
    -------
    View
        With traces, spikes and probability in panels below each other, as far as they are given;
        see :func:`view_traces`.

    Raises
    ------
    ArgumentError
        If nothing is given, or if neurons differ.

    Examples
    --------
    >>> traces = cs.from_numpy(np.random.default_rng(0).normal(size=(3, 200)), frame_rate=30)
    >>> view_spikes(spikes=traces > 2, traces=traces).save_html("spikes.html").name
    'spikes.html'
    """
    given = [
        (name, array)
        for name, array in (
            (None, traces),
            ("spikes" if spikes is not None and spikes.dtype == bool else None, spikes),
            ("spike probability", probability),
        )
        if array is not None
    ]
    if not given:
        raise ArgumentError("view_spikes needs probability=, spikes= or traces=, got none of them.")
    neurons, layers = layers_of(given, "view_spikes")
    lines = sum(not layer.marks for layer in layers)
    panels = [
        _marks_panel(layer) if layer.marks else Panel(layer.label, (layer,), _height(lines))
        for layer in layers
    ]
    return _view(title or "spikes", neurons, panels)


def _marks_panel(layer: Layer) -> Panel:
    """Make a low panel, beside which there is room for a short name only."""
    name = layer.name if len(layer.name) <= _LONGEST else f"{layer.name[: _LONGEST - 1]}…"
    return Panel(name, (layer,), MARKS_HEIGHT)


def _height(count: int) -> int:
    """Return the height of one of some panels, in pixels."""
    return max(110, min(420, 560 // count))


def _view(title: str, neurons: list[Any], panels: list[Panel]) -> View:
    last = panels[-1]
    panels[-1] = Panel(last.label, last.layers, last.height + _AXIS)
    return NeuronView(title, neurons, panels)
