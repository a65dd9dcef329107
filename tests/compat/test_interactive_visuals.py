"""Interactive figures: the arguments of 0.3.5 as labelled arrays for the new ones (F18 to F20)."""

import numpy as np
import pytest

pytest.importorskip("bokeh")

from calscipy.compat.interactive_visuals import plot_spikes, plot_traces, plot_trials
from calscipy.errors import ArgumentError
from calscipy.plotting import interactive


@pytest.fixture
def shown(monkeypatch):
    """What the new functions were given."""
    given = {}

    def catch(name):
        def view(*args, **kwargs):
            given.update(args=args, **kwargs)
            return name

        return view

    for name in ("view_traces", "view_spikes", "view_trials"):
        monkeypatch.setattr(interactive, name, catch(name))
    return given


RNG = np.random.default_rng(0)
TRACES = RNG.normal(1, 0.1, (3, 60))


def test_traces_have_a_rate_and_a_name(shown):
    assert plot_traces(TRACES, 15.0, "ΔF/F", "stacked") == "view_traces"
    (traces,) = shown["args"]
    assert traces.dims == ("neuron", "time")
    assert float(traces.time[15]) == 1.0
    assert (traces.attrs["long_name"], shown["mode"]) == ("ΔF/F", "stacked")
    assert np.array_equal(traces, TRACES)
    plot_traces([TRACES, TRACES + 1])
    assert len(shown["args"]) == 2
    assert float(shown["args"][1].time[15]) == 15.0


@pytest.mark.parametrize("as_list", [True, False])
def test_spikes_as_raster_or_frames(shown, as_list):
    raster = RNG.random((3, 60)) > 0.9
    frames = [np.flatnonzero(row).tolist() for row in raster]
    found = plot_spikes(TRACES / 2, frames if as_list else raster.astype(int), TRACES, 30.0)
    assert found == "view_spikes"
    assert shown["spikes"].dtype == bool
    assert np.array_equal(shown["spikes"], raster)
    assert np.array_equal(shown["probability"], TRACES / 2)
    assert shown["traces"].attrs["long_name"] == "f/f0"
    assert float(shown["traces"].time[30]) == 1.0


def test_spikes_alone_are_as_long_as_needed(shown):
    plot_spikes(spike_times=[[3, 7], []])
    assert shown["spikes"].shape == (2, 8)
    assert set(shown) == {"args", "spikes"}


@pytest.mark.parametrize("conditions", [None, ["a", "b", "a", "b"]])
def test_trials_as_tensor_or_labelled_bins(shown, conditions):
    tensor = RNG.random((4, 3, 15))
    assert plot_trials(tensor, np.arange(4), conditions, 0.5) == "view_trials"
    first = shown["args"][0]
    assert first.dims == ("trial", "neuron", "time")
    assert np.array_equal(first, tensor)
    assert float(first.time[2]) == 1.0
    assert first.attrs["long_name"] == "Firing Rate (Hz)"
    assert shown["by"] == (None if conditions is None else "condition")
    plot_trials(np.hstack(list(tensor)), np.repeat(np.arange(4), 15), conditions, 0.5)
    assert shown["args"][0].identical(first)


def test_trials_of_different_lengths_are_explained():
    with pytest.raises(ArgumentError, match="as many samples in each trial"):
        plot_trials(np.zeros((2, 5)), np.array([0, 0, 1, 1, 1]), None)


@pytest.mark.parametrize(
    "make",
    [
        lambda: plot_traces(TRACES, 30.0),
        lambda: plot_spikes(TRACES / 2, [[3], [], [4, 9]], TRACES, 30.0),
        lambda: plot_trials(TRACES.reshape(4, 3, 15), np.arange(4), list("abab"), 0.1),
    ],
    ids=["traces", "spikes", "trials"],
)
def test_pages_are_written(make, tmp_path):
    page = make().save_html(tmp_path / "page.html")
    assert "<html" in page.read_text(encoding="utf-8").lower()
