"""Rasters have a tick for every event, heat maps a column for every time, hiding no peak."""

import dask.array as da
import numpy as np
import pytest
import xarray as xr

import calscipy as cs
from calscipy.errors import ArgumentError
from calscipy.plotting import plot_heatmap, plot_raster

from .gallery import dfof, stimuli, truth
from .looks import by_gid, lines_of, rendered


def test_every_event_has_a_tick_in_the_row_of_its_neuron():
    events = truth().events
    for raster in (events, events.chunk(neuron=2), events.transpose("time", "neuron")):
        axes = plot_raster(raster, neurons=[3, 0, 4])
        (ticks,) = by_gid(axes.figure, "events")
        row, sample = np.nonzero(events.values[[3, 0, 4]])
        np.testing.assert_array_equal(ticks.get_ydata(), row)
        np.testing.assert_array_equal(ticks.get_xdata(), events.time.values[sample])
    assert [text.get_text() for text in axes.get_yticklabels()] == ["3", "0", "4"]
    assert axes.get_ylim() == (2.5, -0.5)
    assert axes.get_xlim() == (0, events.time[-1])


def test_ticks_are_as_high_as_their_rows():
    for count in (1, 5, 60):
        axes = plot_raster(truth(count).events)
        axes.figure.draw_without_rendering()
        (ticks,) = by_gid(axes.figure, "events")
        row = axes.get_window_extent().height / axes.figure.dpi * 72 / count
        assert min(0.5 * row, 14) <= ticks.get_markersize() <= row


def test_of_very_many_events_no_column_is_lost():
    draw = np.random.default_rng(0)
    events = cs.from_numpy(draw.random((20, 20_000)) < 0.5, frame_rate=30)
    axes = plot_raster(events)
    (ticks,) = by_gid(axes.figure, "events")
    assert len(ticks.get_xdata()) <= 20 * 2001
    for row in range(20):
        drawn = ticks.get_xdata()[ticks.get_ydata() == row]
        real = events.time.values[events.values[row]]
        assert np.isin(drawn, real).all()
        near = np.abs(drawn[:, None] - real[::50]).min(axis=0)
        assert near.max() <= events.time.values[-1] / 2000


def test_a_raster_of_numbers_and_without_an_event():
    with pytest.raises(ArgumentError, match="draw numbers with plot_heatmap"):
        plot_raster(dfof())
    axes = plot_raster(truth().events & False)
    assert by_gid(axes.figure, "events")[0].get_xdata().size == 0
    with pytest.raises(ArgumentError, match=r"interactive=True\) ignores stimuli, ax"):
        plot_raster(truth().events, interactive=True, stimuli=stimuli(), ax=axes)


def shown(axes) -> np.ndarray:
    return np.ma.filled(axes.images[0].get_array(), np.nan)


@pytest.mark.parametrize("dtype", ["f4", "i2", "?"])
def test_short_heat_maps_are_the_traces(dtype):
    traces = cs.from_numpy(
        np.random.default_rng(0).normal(0, 50, (7, 300)).astype(dtype), frame_rate=8.3
    )
    axes = plot_heatmap(traces)
    np.testing.assert_array_equal(shown(axes), traces.values)
    left, right, bottom, top = axes.images[0].get_extent()
    assert (left, bottom, top) == (0, 6.5, -0.5)
    assert right == pytest.approx(300 / 8.3)
    assert axes.get_xlim() == pytest.approx((0, 300 / 8.3))


def test_long_heat_maps_keep_peaks_or_means():
    values = np.random.default_rng(0).normal(0, 1, (3, 50_000)).astype("f4")
    values[1, 30_003] = 40
    values[2, 4000] = np.nan
    traces = cs.from_numpy(da.from_array(values, (2, 9999)), frame_rate=30, units="count")
    axes = plot_heatmap(traces)
    drawn = shown(axes)
    assert drawn.shape[1] < 1500
    assert drawn[1].max() == 40
    edges = np.linspace(0, 50_000 / 30, drawn.shape[1] + 1)
    column = np.searchsorted(edges, traces.time.values + 0.5 / 30, side="right") - 1
    for row in range(3):
        wanted = np.full(drawn.shape[1], -np.inf)
        np.maximum.at(wanted, column, np.nan_to_num(values[row], nan=-np.inf))
        np.testing.assert_array_equal(drawn[row], wanted)
    (bar,) = axes.child_axes
    assert bar.get_ylabel() == f"fluorescence, highest in {edges[1]:.2g} s [counts]"
    drawn = shown(plot_heatmap(traces, reduce="mean"))
    count = np.bincount(column)
    np.testing.assert_allclose(drawn[0], np.bincount(column, values[0]) / count, atol=1e-5)
    here = column[4000]
    there = np.delete(values[2], 4000)[np.delete(column, 4000) == here]
    assert drawn[2, here] == pytest.approx(there.mean(), abs=1e-5)


def test_missing_times_and_nan_are_hatched_paper():
    traces = dfof().isel(time=[*range(200), *range(400, 800)]).copy()
    traces[1, 50:100] = np.nan
    axes = plot_heatmap(traces)
    drawn = shown(axes)
    assert drawn.shape == (5, 800)
    assert np.isnan(drawn[:, 200:400]).all()
    np.testing.assert_array_equal(np.isnan(drawn).sum(axis=1), [200, 250, 200, 200, 200])
    np.testing.assert_array_equal(drawn[:, 400:], traces.values[:, 200:])
    assert axes.patch.get_hatch()
    box = axes.get_position()
    pixels = rendered(axes.figure)
    height, width = pixels.shape[:2]
    middle = pixels[
        int(height * (1 - box.y1 + 0.2)) : int(height * (1 - box.y0 - 0.2)),
        int(width * (box.x0 + 0.3 * box.width)) : int(width * (box.x0 + 0.45 * box.width)),
    ]
    assert middle.mean() > 180  # paper, not the dark end of the map


def test_jitter_moves_no_sample_into_another_column():
    draw = np.random.default_rng(0)
    traces = dfof().assign_coords(time=dfof().time + draw.uniform(-0.01, 0.01, 800))
    np.testing.assert_array_equal(shown(plot_heatmap(traces)), dfof().values)


def test_neurons_are_sorted_on_request():
    values = np.zeros((5, 50))
    values[0, 30], values[1, 10], values[3, 40], values[4, :] = 2, 1, 9, 0.5
    values[2] = np.nan
    traces = cs.from_numpy(values, frame_rate=10).assign_coords(neuron=list("abcde"))

    def names(**options):
        return [text.get_text() for text in plot_heatmap(traces, **options).get_yticklabels()]

    assert names() == list("abcde")
    assert names(order="peak") == list("ebadc")
    assert names(order="activity") == list("edabc")
    assert names(neurons=["d", "b"]) == list("db")
    drawn = shown(plot_heatmap(traces, order="peak"))
    np.testing.assert_array_equal(drawn, values[[4, 1, 0, 3, 2]])
    assert plot_heatmap(traces, order="peak").get_ylabel() == "neuron, by time of peak"
    with pytest.raises(ArgumentError, match="order must be one of"):
        plot_heatmap(traces, order="size")
    with pytest.raises(ArgumentError, match="reduce must be one of"):
        plot_heatmap(traces, reduce="min")


def test_colour_bars_have_units_and_robust_limits():
    axes = plot_heatmap(truth().traces)
    assert axes.child_axes[0].get_ylabel() == "fluorescence [counts]"
    low, high = np.percentile(truth().traces, (1, 99.7))
    assert axes.images[0].get_clim() == pytest.approx((low, high))
    assert plot_heatmap(dfof(), limits=(0, 1)).images[0].get_clim() == (0, 1)


def test_stimuli_are_marked_above_a_heat_map():
    axes = plot_heatmap(dfof(), stimuli=stimuli())
    (marks,) = by_gid(axes.figure, "stimuli")
    spans = [(line[:, 0].min(), line[:, 0].max()) for line in lines_of(marks)]
    np.testing.assert_allclose(spans, [(at, at + 1.5) for at in (4, 12, 20, 28)])
    assert min(line[:, 1].min() for line in lines_of(marks)) > 1


def test_one_sample_and_times_that_go_back():
    assert shown(plot_heatmap(dfof()[:, :1])).shape == (5, 1)
    back = xr.concat([dfof(), dfof().assign_coords(time=dfof().time - 100)], "time")
    drawn = shown(plot_heatmap(back))
    assert np.isnan(drawn).any()
    assert np.nanmax(drawn) == dfof().values.max()
