"""Trials, waveforms, quality, baselines, voltage and stimuli show what the operations find."""

import dask
import numpy as np
import pytest
import xarray as xr

import calscipy as cs
from calscipy.errors import ArgumentError, DimensionError
from calscipy.plotting import (
    plot_baseline,
    plot_quality,
    plot_stimulus,
    plot_trials,
    plot_voltage,
    plot_waveforms,
)

from .gallery import image, protocol, stimuli, trials, truth, voltage, waveforms
from .looks import by_gid, lines_of


def gids(axis, gid: str) -> list:
    return axis.findobj(lambda artist: artist.get_gid() == gid)


# -- trials ----------------------------------------------------------------------------------------


def test_every_panel_has_the_trials_mean_and_interval_of_its_neuron_and_condition():
    data = trials()
    figure = plot_trials(data, by="cue", rng=3)
    table = cs.average(data, by="cue", rng=3)
    panels = np.reshape(figure.axes, (2, 3))
    for row in range(2):
        for column, cue in enumerate(["catch", "go", "no go"]):
            axis = panels[row, column]
            mine = data.isel(neuron=row)[data.cue.values == cue]
            lines = lines_of(gids(axis, "single trials")[0])
            assert len(lines) == mine.sizes["trial"]
            for line, trial in zip(lines, mine, strict=True):
                np.testing.assert_allclose(line[:, 1], trial)
                np.testing.assert_allclose(line[:, 0], data.time)
            found = table.isel(neuron=row).sel(cue=cue)
            (mean,) = gids(axis, "mean")
            np.testing.assert_allclose(mean.get_ydata(), found["mean"], rtol=1e-6)
            (band,) = gids(axis, "confidence")
            corners = lines_of(band)[0]
            at = np.argmin(np.abs(corners[:, 0, None] - data.time.values[17]), axis=0)
            height = corners[np.isclose(corners[:, 0], corners[at[0], 0]), 1]
            assert height.min() == pytest.approx(float(found["lower"][17]))
            assert height.max() == pytest.approx(float(found["upper"][17]))
    titles = [axis.get_title() for axis in panels[0]]
    assert titles == ["cue catch, n = 5", "cue go, n = 6", "cue no go, n = 6"]
    limits = {axis.get_ylim() for axis in panels[0]}
    assert len(limits) == 1  # conditions can be compared


def test_single_trials_can_be_left_out_and_very_many_are_thinned_out():
    assert not by_gid(plot_trials(trials(), single=False), "single trials")
    many = xr.concat([trials()] * 30, "trial")
    (drawn, *_) = by_gid(plot_trials(many), "single trials")
    assert len(drawn.get_paths()) == 200


def test_boolean_trials_show_the_share_of_trials_with_an_event():
    raster = truth(2).events.cs.to_trials(length=4)
    figure = plot_trials(raster)
    assert figure.get_supylabel() == "share of trials with event onsets"
    (mean, _) = by_gid(figure, "mean")
    np.testing.assert_allclose(mean.get_ydata(), raster.mean("trial")[0], atol=1e-6)
    assert not by_gid(figure, "single trials")


def test_only_trials_of_the_neurons_drawn_are_averaged_and_in_one_go():
    computed = []

    def scheduler(graph, keys, **options):
        computed.append(keys)
        return dask.get(graph, keys, **options)

    lazy = trials(60).chunk(neuron=10)
    with dask.config.set(scheduler=scheduler):
        figure = plot_trials(lazy, by="cue", neurons=[50])
    assert len(computed) == 1
    assert [axis.get_ylabel() for axis in figure.axes[:1]] == ["neuron 50"]
    assert "first" not in figure.get_suptitle()


def test_trials_that_cannot_be_drawn_are_refused():
    numbered = trials().assign_coords(number=("trial", np.arange(17)))
    with pytest.raises(ArgumentError, match="'number' has 17 values"):
        plot_trials(numbered, by="number")
    with pytest.raises(ArgumentError, match="by as one of the coordinates"):
        plot_trials(trials(), by="mood")
    with pytest.raises(DimensionError, match=r"isel\(channel=0\)"):
        plot_trials(trials().expand_dims(channel=2))
    with pytest.raises(ArgumentError, match="no neuron 9"):
        plot_trials(trials(), neurons=[9])
    with pytest.raises(ArgumentError, match=r"interactive=True\) ignores figure"):
        plot_trials(trials(), interactive=True, figure=plot_trials(trials()))
    (line, *_) = by_gid(plot_trials(trials()[:, 0].drop_vars("neuron")), "mean")
    np.testing.assert_allclose(line.get_ydata(), trials()[:, 0].mean("trial"), rtol=1e-5)


# -- waveforms -------------------------------------------------------------------------------------


def test_waveforms_and_their_mean():
    data = waveforms().copy()
    data[0, :5] = np.nan
    axes = plot_waveforms(data)
    (single,) = by_gid(axes.figure, "single waveforms")
    for line, one in zip(lines_of(single), data, strict=True):
        np.testing.assert_allclose(line[:, 1], one)
        np.testing.assert_allclose(line[:, 0], data.lag)
    (mean,) = by_gid(axes.figure, "mean")
    np.testing.assert_allclose(mean.get_ydata(), data.mean("event"), rtol=1e-5)
    assert axes.get_title("left") == f"{data.sizes['event']} events"


def test_waveforms_by_neuron_and_averages_of_neurons():
    data = waveforms()
    axes = plot_waveforms(data, by="neuron", single=False)
    assert not by_gid(axes.figure, "single waveforms")
    lines = by_gid(axes.figure, "mean")
    for line, (name, mine) in zip(lines, data.groupby("neuron"), strict=True):
        np.testing.assert_allclose(line.get_ydata(), mine.mean("event"), rtol=1e-5)
        assert f"neuron {name}" in [text.get_text() for text in axes.get_legend().get_texts()]
    averages = truth().dfof.cs.event_triggered_average(truth().events, window=(0.5, 1))
    axes = plot_waveforms(averages)
    for line, one in zip(by_gid(axes.figure, "mean"), averages, strict=True):
        np.testing.assert_allclose(line.get_ydata(), one)
    assert axes.get_title("left") == "5 averages"


def test_waveforms_that_cannot_be_drawn_are_refused():
    with pytest.raises(ArgumentError, match="at most 12 lines"):
        plot_waveforms(waveforms(), by="time")
    with pytest.raises(ArgumentError, match="one of the coordinates along 'event'"):
        plot_waveforms(waveforms(), by="mood")
    with pytest.raises(ArgumentError, match="nothing to draw"):
        plot_waveforms(waveforms()[:0])
    with pytest.raises(DimensionError, match=r"isel\(channel=0\)"):
        plot_waveforms(waveforms().expand_dims(channel=2))


# -- pages -----------------------------------------------------------------------------------------


def test_the_quality_page_has_every_value_of_the_table():
    figure = plot_quality(truth().traces, truth().events, saturation=900)
    table = cs.quality(truth().traces, truth().events, saturation=900)
    panels = {axis.get_title().split("\n")[0]: axis for axis in figure.axes}
    for title, name in (
        ("peaks over noise", "snr"), ("skewness", "skewness"), ("drift [counts]", "drift"),
        ("event rate [Hz]", "event_rate"),
    ):  # fmt: skip
        axis = panels[title]
        values = axis.collections[0].get_offsets()[:, 1]
        np.testing.assert_allclose(values, np.sort(table[name]), rtol=1e-6)
        assert axis.get_title().endswith(f"median {float(table[name].median()):.3g}")
    order = np.argsort(-table.snr.values)
    names = [text.get_text() for text in figure.axes[-1].get_yticklabels()]
    assert names == [f"{at}: {table.snr.values[at]:.3g}" for at in order[[0, 2, 4]]]
    lines = lines_of(by_gid(figure, "traces")[0])
    best = truth().traces.values[order[0]]
    np.testing.assert_allclose(np.ptp(lines[0][:, 1]), np.ptp(best), rtol=1e-5)


def test_the_quality_page_of_neurons_without_samples():
    traces = truth().traces.where(truth().neuron != 1)
    figure = plot_quality(traces)
    assert "neurons, sorted\n(1 not known)" in {axis.get_xlabel() for axis in figure.axes}
    assert figure.get_suptitle() == "Quality of 5 traces of 40 s"
    assert plot_quality(traces * np.nan).axes[0].get_title() == "peaks over noise\nnot known"


def test_the_baseline_page_has_the_baselines():
    methods = {
        "short": {"method": "rolling_percentile", "window": 5},
        "long": {"method": "rolling_percentile", "window": 30},
        "mode": {"method": "mode"},
    }
    figure = plot_baseline(truth().traces, methods=methods, neurons=[3, 1])
    assert len(figure.axes) == 2
    for axis, neuron in zip(figure.axes, (3, 1), strict=True):
        (traces,) = gids(axis, "traces")
        baselines = gids(axis, "baseline")
        own = truth().traces.sel(neuron=[neuron])
        np.testing.assert_allclose(lines_of(traces)[0][:, 1], own[0])
        for line, arguments in zip(baselines, methods.values(), strict=True):
            wanted = cs.baseline(own, **arguments)[0]
            np.testing.assert_allclose(line.get_ydata(), wanted, rtol=1e-5)
            np.testing.assert_array_equal(line.get_xdata(), own.time)
        assert axis.get_ylim()[0] < own.min()
        assert axis.get_ylim()[1] > own.max()
        assert axis.get_title("left") == f"neuron {neuron}"
    names = [text.get_text() for text in figure.axes[0].get_legend().get_texts()]
    assert names == ["fluorescence", "short", "long", "mode"]
    with pytest.raises(ArgumentError, match="must be one of"):
        plot_baseline(truth().traces, methods=["guess"])
    with pytest.raises(ArgumentError, match="one to 7 methods, got 0"):
        plot_baseline(truth().traces, methods=[])


# -- voltage ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("lazy", [False, True])
def test_every_signal_has_a_panel_with_its_units_and_no_pulse_is_lost(lazy):
    data = voltage().chunk(time=7000) if lazy else voltage()
    figure = plot_voltage(data, onsets=[3.0, 6.0], stimuli=stimuli())
    assert [axis.get_ylabel() for axis in figure.axes] == [
        "frame trigger\n[V]", "LFP\n[mV]", "speed of …asured\n[cm/s]",
    ]  # fmt: skip
    (pulses,) = gids(figure.axes[0], "signal")
    up = pulses.get_ydata() > 2.5
    assert (np.diff(up.astype(int), prepend=0) > 0).sum() == 10  # of 2 ms in 30 s
    np.testing.assert_allclose(np.unique(pulses.get_xdata()[up] // 3), np.arange(10))
    for axis in figure.axes:
        assert axis.get_xlim() == (0, voltage().time[-1])
        assert len(gids(axis, "stimuli")) == 1
        (marks,) = (line for line in axis.lines if line.get_marker() == "v")
        assert marks.get_xdata().tolist() == [3, 6]
    figure = plot_voltage(data, signals=["LFP"])
    (signal,) = by_gid(figure, "signal")
    values = voltage().sel(signal="LFP")
    assert signal.get_ydata().max() == values.max()
    assert np.isin(signal.get_ydata(), values).all()


def test_signals_that_cannot_be_drawn_are_refused():
    with pytest.raises(ArgumentError, match="no signal nose"):
        plot_voltage(voltage(), signals=["nose"])
    many = xr.concat([voltage().drop_vars("signal")[:1]] * 30, "signal")
    with pytest.raises(ArgumentError, match="30 signals do not fit"):
        plot_voltage(many.assign_coords(signal=np.arange(30)))
    with pytest.raises(DimensionError):
        plot_voltage(truth().traces.isel(time=0))


# -- photostimulation ------------------------------------------------------------------------------


def test_targets_are_on_the_image_and_stimuli_on_the_time_axis():
    figure = plot_stimulus(protocol(), image())
    left, right = figure.axes
    assert [patch.center for patch in left.patches] == [
        pytest.approx((96 * x, 96 * y))
        for x, y in zip([0.2, 0.5, 0.8, 0.4], [0.2, 0.7, 0.5, 0.9], strict=True)
    ]
    assert [patch.width for patch in left.patches] == [pytest.approx(96 * 0.08)] * 4
    assert sorted(text.get_text() for text in by_gid(figure, "name")) == list("1234")
    bars = lines_of(right.collections[0])
    assert len(bars) == 12
    for at, bar in enumerate(bars):
        assert (bar[:, 0].min(), bar[:, 0].max()) == pytest.approx((2 + 3 * at, 2.5 + 3 * at))
        assert bar[:, 1].mean() == pytest.approx(at % 4, abs=0.2)


def test_targets_are_placed_on_a_part_of_the_image():
    whole = protocol().assign(
        x_pixel=("stimulus", protocol().x.values * 96),
        y_pixel=("stimulus", protocol().y.values * 96),
    )
    figure = plot_stimulus(whole, image()[10:, 5:])
    first = figure.axes[0].patches[0]
    assert first.center == pytest.approx((96 * 0.2 - 5, 96 * 0.2 - 10))
    assert first.width == pytest.approx(96 * 0.08)


def test_targets_have_the_names_of_the_stimuli():
    target = protocol()["target"].values
    named = protocol().assign_coords(target_name=("stimulus", np.array(list("wxyz"))[target]))
    figure = plot_stimulus(named)
    assert [text.get_text() for text in figure.axes[0].get_yticklabels()] == list("wxyz")
    empty = protocol().assign_coords(target_name=("stimulus", [""] * 12))
    figure = plot_stimulus(empty.isel(stimulus=[2, 3, 6]))
    assert [text.get_text() for text in figure.axes[0].get_yticklabels()] == ["3", "4"]
    figure = plot_stimulus(protocol(), labels=["a", "b", "c", "d"])
    assert [text.get_text() for text in figure.axes[0].get_yticklabels()] == list("abcd")


def test_stimuli_that_cannot_be_drawn_are_refused():
    with pytest.raises(ArgumentError, match="'onset' and 'duration'"):
        plot_stimulus(protocol().drop_vars("duration"))
    with pytest.raises(ArgumentError, match="'y' is missing"):
        plot_stimulus(protocol().drop_vars(["x", "y"]), image())
    with pytest.raises(ArgumentError, match="a label for each of the 4 targets, got 1"):
        plot_stimulus(protocol(), labels=["a"])
    with pytest.raises(DimensionError):
        plot_stimulus(protocol(), image().expand_dims(plane=2))
    waiting = protocol().assign(onset=("stimulus", np.full(12, np.nan)))
    label = plot_stimulus(waiting.assign(delay=waiting.duration)).axes[0].get_xlabel()
    assert label == "time after the last trigger [s]"
