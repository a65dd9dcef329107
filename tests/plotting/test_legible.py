"""In every figure all texts can be read, and nothing outside of it is changed."""

import re
import subprocess
import sys

import numpy as np
import pytest
from matplotlib.figure import Figure
from matplotlib.text import Text

import calscipy as cs

from .gallery import FIGURES, dfof, image, movie, trials, truth, voltage
from .looks import by_gid, rendered, require_legible


def figure_of(made) -> Figure:
    return made if isinstance(made, Figure) else made.figure.canvas.figure


WORDS = {
    "image": ["Mean over frames", "counts", "20 µm"],
    "image, no pixel size": ["row [pixels]", "column [pixels]", "counts"],
    "image, axes in um": ["y position [µm]", "x position [µm]", "counts"],
    "traces": ["time [s]", "neuron", "ΔF/F₀", "0", "4"],
    "traces, all": ["onset detected", "stimulus", "twice the trace", "ΔF/F₀"],
    "traces, negative": ["time [s]", "Fluorescence"],
    "traces, overlaid, 60": ["ΔF/F₀", "time [s]"],
    "raster": ["Event onsets", "time [s]", "neuron", "stimulus"],
    "heat map": ["neuron, by time of peak", "time [s]", "stimulus"],
    "trials": ["time from the start of the trial [s]", "neuron 1", "cue go, n = 6", "ΔF/F₀"],
    "trials, 60": ["Trials, their mean and its 95 % interval · first 6 of 60 neurons"],
    "waveforms": ["time after the onset [s]", "ΔF/F₀, around events", "mean"],
    "quality": ["time [s]", "Quality of 5 traces of 40 s"],
    "baseline": ["fluorescence [counts]", "time [s]", "First 4 of 5 neurons", "low_pass"],
    "voltage": ["frame trigger\n[V]", "LFP\n[mV]", "time since the first frame [s]"],
    "stimulus": ["target", "time [s]", "20 µm", "a protocol"],
    "movie": ["mean", "maximum", "frame 0, 0 s", "counts", "mean\n[counts]", "10 µm"],
    "overview": ["true onset of a burst", "onset detected", "an overview", "time [s]"],
}


@pytest.mark.parametrize("name", FIGURES)
def test_no_text_is_cut_off_hidden_or_missing(name):
    texts = require_legible(figure_of(FIGURES[name]()))
    assert [word for word in WORDS.get(name, []) if word not in texts] == []
    assert not [text for text in texts if "um" in text.split()]
    if name == "traces, negative":
        assert [text for text in texts if text.endswith(" µV")]


def test_the_check_finds_what_is_cut_off_and_what_overlaps():
    figure = Figure()
    figure.text(0.9, 0.5, "this leaves the figure")
    with pytest.raises(AssertionError, match="cut off"):
        require_legible(figure)
    figure = Figure()
    figure.text(0.3, 0.5, "one text")
    figure.text(0.31, 0.5, "another")
    with pytest.raises(AssertionError, match="overlap"):
        require_legible(figure)


def test_pyplot_and_settings_stay_as_they_are(tmp_path):
    code = """
import sys
import matplotlib
import numpy as np
before = dict(matplotlib.rcParams)
import calscipy as cs
from calscipy import plotting
traces = cs.from_numpy(np.random.default_rng(0).normal(9, 1, (3, 200)), frame_rate=10)
plotting.plot_traces(traces, events=traces > 11).figure.savefig("a.png")
plotting.plot_voltage(traces.rename(neuron="signal")).savefig("b.png")
plotting.plot_image(traces.rename(neuron="y", time="x").drop_vars("x")).figure.savefig("c.png")
print("matplotlib.pyplot" in sys.modules, dict(matplotlib.rcParams) == before)
"""
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path
    )
    assert result.returncode == 0, result.stderr
    assert result.stdout.split() == ["False", "True"]


def test_notebooks_show_figures_and_axes():
    formatters = pytest.importorskip("IPython.core.formatters")
    show = formatters.DisplayFormatter()
    for made in (cs.plotting.plot_traces(dfof(1)), cs.plotting.plot_voltage(voltage())):
        shown, _ = show.format(made)
        assert shown["image/png"].startswith(b"\x89PNG")


def test_axes_and_figures_of_the_user_are_drawn_into():
    figure = Figure(figsize=(10, 8), layout="constrained")
    axes = figure.subplots(2, 3).ravel()
    plotting = cs.plotting
    for made, axis in zip(
        [
            plotting.plot_traces(dfof(), ax=axes[0]),
            plotting.plot_raster(truth().events, ax=axes[1]),
            plotting.plot_heatmap(dfof(), ax=axes[2]),
            plotting.plot_image(image(), ax=axes[3]),
            plotting.plot_waveforms(dfof().cs.waveforms(truth().events, pre=1, post=1), ax=axes[4]),
            plotting.plot_traces(dfof(), mode="overlay", ax=axes[5]),
        ],
        axes,
        strict=True,
    ):
        assert made is axis
    require_legible(figure)
    figure = Figure(figsize=(12, 6), layout="constrained")
    left, right = figure.subfigures(1, 2)
    assert plotting.plot_trials(trials(), by="cue", figure=left) is left
    assert plotting.plot_voltage(voltage(), figure=right) is right
    assert len(left.axes) == 6
    assert len(right.axes) == 3
    require_legible(figure)


def test_dark_settings_of_the_user_are_followed():
    import matplotlib

    dark = {"text.color": "white", "axes.facecolor": "black", "figure.facecolor": "black"}
    with matplotlib.rc_context(dark):
        axes = cs.plotting.plot_raster(truth(1).events)
        (events,) = by_gid(axes.figure, "events")
        assert events.get_color() == "white"
        pixels = rendered(axes.figure)
        assert (pixels.max(axis=-1) < 30).mean() > 0.5


def test_figures_can_be_read_without_colours():
    """The colours of traces, and of what is NaN, differ from the paper in grey too."""
    for name in ("traces", "heat map", "trials"):
        pixels = rendered(figure_of(FIGURES[name]()), dpi=60)
        grey = pixels @ [0.299, 0.587, 0.114]
        assert (grey < 190).mean() > 0.01


def test_dollars_in_names_are_no_formulas():
    name = "a$b$c"
    traces = truth(2).traces.assign_attrs(long_name=name, units=name)
    traces = traces.assign_coords(neuron=[f"$x{at}$" for at in range(2)])
    traces["time"].attrs["long_name"] = name
    plotting = cs.plotting
    signals = voltage().assign_coords(signal=["$a$", "b$c$", "d"], units=("signal", ["$V$"] * 3))
    found = traces.cs.waveforms(traces > 700, pre=1, post=1)
    cut = traces.cs.to_trials(length=10).assign_coords(cue=("trial", ["$a$", "b"] * 2))
    for made in (
        plotting.plot_traces(traces, others={"$b$": traces}),
        plotting.plot_traces(traces, mode="overlay"),
        plotting.plot_heatmap(traces),
        plotting.plot_image(image().assign_attrs(long_name=name, units=name)),
        plotting.plot_waveforms(found, by="neuron"),
        plotting.plot_trials(cut, by="cue"),
        plotting.plot_quality(traces),
        plotting.plot_baseline(traces, methods={"$m$": {"method": "mean"}}),
        plotting.plot_voltage(signals, title=name),
        plotting.plot_movie(movie().assign_attrs(units=name), title=name),
    ):
        texts = [text.get_text() for text in figure_of(made).findobj(Text)]
        assert any("$" in text for text in texts)
        assert not [text for text in texts if re.search(r"(?<!\\)\$|\\\\\$", text)]


def test_long_titles_are_wrapped():
    title = "a title that is much longer than the figure is wide, with very many words " * 3
    for made in (
        cs.plotting.plot_traces(dfof(), title=title, stimuli=[3.0]),
        cs.plotting.plot_image(image(), title=title),
        cs.plotting.plot_waveforms(dfof().cs.waveforms(truth().events, pre=1, post=1), title=title),
    ):
        texts = [" ".join(text.split()) for text in require_legible(made.figure)]
        assert " ".join(title.split()) in texts


def test_a_movie_that_is_lazy_is_read_once():
    import dask

    computed = []

    def scheduler(graph, keys, **options):
        computed.append(keys)
        return dask.get(graph, keys, **options)

    lazy = movie().chunk(frames=10)
    with cs.set_options(progress=False), dask.config.set(scheduler=scheduler):
        figure = cs.plotting.plot_movie(lazy)
    assert len(computed) == 1
    np.testing.assert_allclose(figure.axes[0].images[0].get_array(), movie().values.mean(0))
