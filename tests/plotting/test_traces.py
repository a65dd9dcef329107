"""Stacked and overlaid traces show all samples, events, spikes and stimuli where they are."""

import dask
import dask.array as da
import numpy as np
import pytest
import xarray as xr
from matplotlib.colors import to_hex

import calscipy as cs
from calscipy.errors import ArgumentError, DimensionError, TimeAxisError
from calscipy.plotting import plot_traces
from calscipy.plotting.style import COLOURS

from .gallery import dfof, stimuli, trials, truth
from .looks import by_gid, lines_of


def drawn(axes) -> list[np.ndarray]:
    """Points of the lines of every neuron of the first set."""
    return lines_of(by_gid(axes.figure, "traces")[0])


def floors(axes) -> np.ndarray:
    return np.asarray(axes.get_yticks())


@pytest.mark.parametrize("dtype", ["f4", "f8", "u2", "i4"])
def test_stacked_lines_are_the_traces_less_their_medians(dtype):
    traces = truth().traces.astype(dtype)
    axes = plot_traces(traces)
    lines = drawn(axes)
    assert len(lines) == 5
    for line, trace, floor in zip(lines, traces, floors(axes), strict=True):
        np.testing.assert_array_equal(line[:, 0], traces.time)
        values = trace.values.astype(float)
        np.testing.assert_allclose(line[:, 1] - floor, values - np.median(values), atol=2e-3)
    assert (np.diff(floors(axes)) < 0).all()  # the first one at the top
    assert axes.get_xlim() == (traces.time[0], traces.time[-1])


def test_the_height_bar_is_as_high_as_it_says_and_in_the_units():
    axes = plot_traces(truth().traces)
    (bar,) = by_gid(axes.figure, "height bar")
    (text,) = (text.get_text() for text in axes.texts)
    assert text == f"{np.ptp(bar.get_ydata()):g} counts"
    (text,) = (text.get_text() for text in plot_traces(dfof()).texts)
    assert text.endswith(" ΔF/F₀")


def test_traces_stand_apart():
    axes = plot_traces(dfof())
    lines = drawn(axes)
    heights = [np.ptp(line[:, 1]) for line in lines]
    assert -np.diff(floors(axes)).mean() == pytest.approx(np.median(heights), rel=0.5)
    low, high = axes.get_ylim()
    assert low < min(line[:, 1].min() for line in lines)
    assert high > max(line[:, 1].max() for line in lines)


@pytest.mark.parametrize("stored", [np.asarray, lambda values: da.from_array(values, (2, 1000))])
def test_long_traces_keep_their_peaks(stored):
    values = np.random.default_rng(0).normal(0, 0.1, (3, 60_000))
    values[1, 40_003] = 9.0
    values[2, 777] = -7.0
    traces = cs.from_numpy(stored(values), frame_rate=30)
    axes = plot_traces(traces)
    assert len(drawn(axes)[0]) < 5000
    low, high = axes.get_ylim()
    line_width = (high - low) * 0.9 / 72 / axes.get_window_extent().height * axes.figure.dpi
    for line, floor, own in zip(drawn(axes), floors(axes), values, strict=True):
        middle = np.median(own)
        assert line[:, 1].max() - floor == pytest.approx(own.max() - middle, abs=line_width)
        assert line[:, 1].min() - floor == pytest.approx(own.min() - middle, abs=line_width)
    peak = drawn(axes)[1]
    column = 2000 / 2000  # s
    assert abs(peak[peak[:, 1].argmax(), 0] - traces.time[40_003]) <= column


def test_no_line_leads_over_gaps_epochs_and_nan():
    values = np.random.default_rng(0).normal(0, 1, (2, 100))
    values[0, 30:40] = np.nan
    traces = cs.from_numpy(values, frame_rate=10)
    traces = traces.assign_coords(epoch=("time", np.repeat([1, 2], 50)))
    traces = traces.isel(time=[*range(70), *range(80, 100)])
    for mode in ("stacked", "overlay"):
        first, second = drawn(plot_traces(traces, mode=mode))
        assert len(second) == 92  # two borders
        holes = second[np.isnan(second[:, 1]), 0]
        assert holes == pytest.approx([4.95, 7.45])
        assert np.isnan(first[30:40, 1]).all()
        assert np.isnan(first[:, 1]).sum() == 12


def test_lone_samples_are_dots():
    values = np.ones((1, 20))
    values[0, [4, 6, 10, 11]] = np.nan
    axes = plot_traces(cs.from_numpy(values, frame_rate=10))
    (dots,) = by_gid(axes.figure, "lone samples")
    np.testing.assert_allclose(dots.get_offsets()[:, 0], [0.5])
    assert not by_gid(plot_traces(dfof()).figure, "lone samples")


def test_overlaid_lines_are_the_traces_themselves():
    axes = plot_traces(dfof(), mode="overlay", neurons=[3, 1])
    for line, neuron in zip(drawn(axes), (3, 1), strict=True):
        np.testing.assert_allclose(line[:, 1], dfof().sel(neuron=neuron))
    assert axes.get_ylabel() == "ΔF/F₀"
    assert [text.get_text() for text in axes.get_legend().get_texts()] == ["neuron 3", "neuron 1"]
    assert plot_traces(truth().traces, mode="overlay").get_ylabel() == "fluorescence [counts]"


def test_neurons_are_named_and_coloured():
    named = dfof().assign_coords(neuron=list("abcde"))
    axes = plot_traces(named, neurons=["d", "a"])
    assert [text.get_text() for text in axes.get_yticklabels()] == ["d", "a"]
    shades = [to_hex(colour).upper() for colour in by_gid(axes.figure, "traces")[0].get_colors()]
    assert shades == list(COLOURS[:2])
    assert [to_hex(text.get_color()).upper() for text in axes.get_yticklabels()] == shades
    many = plot_traces(dfof(60))
    names = [text.get_text() for text in many.get_yticklabels()]
    assert names[:2] == ["0", "2"]
    levels = xr.DataArray(
        np.zeros((2, 9)),
        {"mouse": ("neuron", ["m1", "m2"]), "cell": ("neuron", [1, 4]), "time": np.arange(9.0)},
        ("neuron", "time"),
    ).set_index(neuron=["mouse", "cell"])
    labels = [text.get_text() for text in plot_traces(levels).get_yticklabels()]
    assert labels == ["m1, 1", "m2, 4"]


def test_one_trace_without_a_neuron_and_traces_without_names():
    (line,) = drawn(plot_traces(dfof()[2].drop_vars("neuron")))
    np.testing.assert_allclose(line[:, 1], dfof()[2] - np.median(dfof()[2]), atol=1e-6)
    axes = plot_traces(dfof()[2])
    assert [text.get_text() for text in axes.get_yticklabels()] == ["2"]
    axes = plot_traces(dfof().drop_vars("neuron"))
    assert [text.get_text() for text in axes.get_yticklabels()] == list("01234")


def test_events_are_below_their_neurons_at_their_times():
    events = truth().events
    axes = plot_traces(dfof(), events=events)
    (ticks,) = by_gid(axes.figure, "events")
    below = np.searchsorted(-floors(axes), -ticks.get_ydata()) - 1
    found = {(int(row), round(at, 6)) for row, at in zip(below, ticks.get_xdata(), strict=True)}
    row, sample = np.nonzero(events.values)
    assert found == set(zip(row.tolist(), events.time.values[sample].round(6), strict=True))
    some = plot_traces(dfof(), neurons=[4, 0], events=events)
    (ticks,) = by_gid(some.figure, "events")
    upper = ticks.get_ydata() > floors(some)[1]
    np.testing.assert_allclose(ticks.get_xdata()[upper], events.time[events[4]])
    np.testing.assert_allclose(ticks.get_xdata()[~upper], events.time[events[0]])


def test_spikes_have_lanes_of_one_scale():
    spikes = xr.zeros_like(dfof()).assign_attrs(long_name="spike probability", units="1")
    spikes[1, 100], spikes[3, 200] = 0.8, 0.4
    axes = plot_traces(dfof(), spikes=spikes)
    (lanes,) = by_gid(axes.figure, "spikes")
    heights = [np.ptp(line[:, 1]) for line in lines_of(lanes)]
    assert heights[3] == pytest.approx(heights[1] / 2)
    assert heights[0] == heights[2] == heights[4] == 0
    for line, floor in zip(lines_of(lanes), floors(axes), strict=True):
        assert line[:, 1].max() < floor
    assert lines_of(lanes)[1][:, 1].argmax() == 100
    texts = [text.get_text() for text in axes.get_legend().get_texts()]
    assert texts == ["spike probability, 0 to 0.8"]


def test_stimuli_are_shaded_while_they_last():
    axes = plot_traces(dfof(), stimuli=stimuli())
    (shades,) = by_gid(axes.figure, "stimuli")
    spans = [(line[:, 0].min(), line[:, 0].max()) for line in lines_of(shades)]
    np.testing.assert_allclose(spans, [(at, at + 1.5) for at in (4, 12, 20, 28)])
    assert all(line[:, 1].min() == 0 and line[:, 1].max() == 1 for line in lines_of(shades))
    together = xr.Dataset(
        {"onset": ("stimulus", [5.0, 1.0, 1.5]), "duration": ("stimulus", [0.001, 1.0, 2.0])}
    )
    (shades,) = by_gid(plot_traces(dfof(), stimuli=together).figure, "stimuli")
    spans = [(line[:, 0].min(), line[:, 0].max()) for line in lines_of(shades)]
    assert spans[0] == (1.0, 3.5)
    assert spans[1][0] == 5
    assert 0.03 < spans[1][1] - 5 < 0.1  # to be seen
    (shades,) = by_gid(plot_traces(dfof(), stimuli=[2.0, 3.0]).figure, "stimuli")
    assert [line[0, 0] for line in lines_of(shades)] == [2, 3]
    (shades,) = by_gid(plot_traces(dfof(), stimuli=together.isel(stimulus=[])).figure, "stimuli")
    assert not shades.get_paths()


def test_further_traces_lie_over_the_first_ones():
    smooth = dfof().cs.gaussian_smooth(sigma=0.2)
    later = smooth.isel(time=slice(100, 300))
    for mode in ("stacked", "overlay"):
        axes = plot_traces(dfof(), neurons=[1, 2], others={"smooth": later}, mode=mode)
        first, second = by_gid(axes.figure, "traces")
        difference = lines_of(second)[0][:, 1] - lines_of(first)[0][100:300, 1]
        np.testing.assert_allclose(difference, (later - dfof())[1], atol=1e-6)
        names = [text.get_text() for text in axes.get_legend().get_texts()]
        assert names[:2] == ["ΔF/F₀", "smooth"]
    assert len(by_gid(plot_traces(dfof(), others=[later.assign_attrs(long_name="b"),
                                                  later.assign_attrs(long_name="c")]).figure,
                      "traces")) == 3  # fmt: skip
    with pytest.raises(ArgumentError, match="in '1', but 'raw' of others= is in 'count'"):
        plot_traces(dfof(), others={"raw": truth().traces})
    axes = plot_traces(dfof(), others=[dfof(), dfof()])
    names = [text.get_text() for text in axes.get_legend().get_texts()]
    assert names == ["ΔF/F₀", "ΔF/F₀ (2)", "ΔF/F₀ (3)"]
    with pytest.raises(ArgumentError, match="are both called 'ΔF/F₀'"):
        plot_traces(dfof(), others={"ΔF/F₀": dfof()})
    with pytest.raises(ArgumentError, match="no neuron 0"):
        plot_traces(dfof(), others={"part": dfof()[1:]})


def test_traces_of_constants_and_of_nothing():
    flat = cs.from_numpy(np.full((2, 30), 4.0), frame_rate=10)
    axes = plot_traces(flat)
    assert np.diff(floors(axes)) < -0.5
    low, high = plot_traces(flat, mode="overlay").get_ylim()
    assert low < 4 < high
    empty = plot_traces(flat * np.nan)
    assert [text.get_text() for text in empty.get_yticklabels()] == ["0", "1"]
    assert plot_traces(flat * np.nan, mode="overlay").get_xlim() == (0, 2.9)
    assert plot_traces(flat[:, :1]).get_xlabel() == "time since the first frame [s]"


def test_only_what_is_drawn_is_computed_and_once():
    read = []

    def block(values, block_info=None):
        read.append(block_info[None]["chunk-location"][0])
        return values

    lazy = da.from_array(np.random.default_rng(0).normal(0, 1, (6, 90)), chunks=(1, 90))
    lazy = cs.from_numpy(lazy.map_blocks(block, dtype=float), frame_rate=10)
    computed = []

    def scheduler(graph, keys, **options):
        computed.append(keys)
        return dask.get(graph, keys, **options)

    read.clear()
    with dask.config.set(scheduler=scheduler):
        plot_traces(lazy, neurons=[4, 2], events=lazy > 1, others={"double": lazy * 2})
    assert sorted(read) == [2, 4]
    assert len(computed) == 1


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"traces": np.zeros(3)}, ArgumentError, "as a DataArray, got ndarray"),
        ({"traces": truth().events}, ArgumentError, "plot_raster"),
        ({"traces": dfof().expand_dims(channel=["a", "b"])}, DimensionError, r"isel\(channel=0\)"),
        ({"traces": dfof().isel(time=0)}, DimensionError, "needs the dimensions"),
        ({"traces": dfof().drop_vars("time")}, TimeAxisError, "frame_rate"),
        ({"traces": dfof()[:0]}, ArgumentError, "nothing to draw"),
        ({"traces": dfof().astype(complex)}, ArgumentError, "as numbers"),
        ({"neurons": [1, 99]}, ArgumentError, "no neuron 99; there are 0, 1, 2, 3, 4"),
        (
            {"traces": xr.concat([dfof()] * 41, "neuron"), "mode": "overlay"},
            ArgumentError,
            "up to 200 neurons, got 205",
        ),
        ({"mode": "heaped"}, ArgumentError, "'stacked', 'overlay'"),
        ({"events": dfof()}, ArgumentError, "events as a boolean array, got float32"),
        ({"events": truth().events.assign_coords(neuron=list("abcde"))}, ArgumentError, "none of"),
        ({"stimuli": xr.Dataset()}, ArgumentError, "needs stimuli with 'onset'"),
        ({"stimuli": [1.0, np.nan]}, ArgumentError, "the stimuli 1 are not known"),
    ],
)
def test_what_cannot_be_drawn_is_refused(change, error, message):
    arguments = {"traces": dfof(), **change}
    with pytest.raises(error, match=message):
        plot_traces(**arguments)


def test_pages_get_what_is_drawn(monkeypatch):
    interactive = pytest.importorskip("calscipy.plotting.interactive")
    asked = []

    def view(*data, **options):
        asked.append((data, options))
        return "page"

    for name in ("view_traces", "view_spikes", "view_trials"):
        monkeypatch.setattr(interactive, name, view)
    spikes = dfof().assign_attrs(units="count", long_name="spikes")
    made = plot_traces(
        dfof(), neurons=[3, 1], events=truth().events, spikes=spikes, others={"b": dfof() * 1},
        interactive=True,
    )  # fmt: skip
    assert made == "page"
    data, options = asked.pop()
    assert all(own.neuron.values.tolist() in ([3, 1], [1, 3]) for own in data)
    assert options == {
        "names": ["ΔF/F₀", "b", "event onsets", "spikes"], "mode": "stacked", "title": "ΔF/F₀",
    }  # fmt: skip
    plot_traces(dfof(), interactive=True, title="mine")
    assert asked.pop()[1] == {"names": ["ΔF/F₀"], "mode": "overlay", "title": "mine"}
    cs.plotting.plot_raster(truth().events, neurons=[2], interactive=True)
    assert asked.pop()[1]["spikes"].neuron.values.tolist() == [2]
    cs.plotting.plot_trials(trials(), by="cue", neurons=[1], interactive=True)
    (data,), options = asked.pop()
    assert data.neuron.values.tolist() == [1]
    assert options["by"] == "cue"


def test_pages_refuse_what_only_figures_have():
    with pytest.raises(ArgumentError, match=r"interactive=True\) ignores stimuli"):
        plot_traces(dfof(), stimuli=stimuli(), interactive=True)
