"""Pages of trials in a real browser."""

import numpy as np
import pytest
import xarray as xr

import calscipy as cs
from calscipy.errors import ArgumentError
from calscipy.plotting.interactive import trials as module
from calscipy.plotting.interactive import view_trials

pytest.importorskip("bokeh", reason="needs the extra plot")

CUES = np.array(["go", "stop", "<b>"])[np.arange(17) % 3]


@pytest.fixture(scope="module")
def trials():
    values = np.random.default_rng(0).normal(0, 1, (17, 4, 40))
    time = np.arange(-10, 30) / 10
    coords = {"neuron": [5, 6, 7, 8], "time": ("time", time, {"units": "s"}),
              "cue": ("trial", CUES)}  # fmt: skip
    attrs = {"units": "Hz", "long_name": "firing rate"}
    return xr.DataArray(values, coords, ("trial", "neuron", "time"), attrs=attrs)


def means(page, panel):
    source = f"model('condition {panel}').renderers[2].data_source.data"
    return {name: np.array(page.js(f"Array.from({source}.{name})"), float)
            for name in ("time", "mean", "lower", "upper")}  # fmt: skip


def see(page, trials, row):
    name = trials.neuron.values[row]
    words = f"neuron {name} · {row + 1} of 4"
    page.until(f"every('strong').some(part => part.innerText === {words!r})")
    table = cs.average(trials.isel(neuron=[row]), by="cue", rng=0)
    for panel, cue in enumerate(("<b>", "go", "stop")):
        mine = trials[cue == CUES, row]
        title = page.js(f"model('condition {panel}').title.text")
        assert title == f"cue {cue}, n = {len(mine)}"
        found = means(page, panel)
        np.testing.assert_allclose(found["time"], trials.time)
        for name in ("mean", "lower", "upper"):
            wanted = table[name].sel(cue=cue).isel(neuron=0)
            np.testing.assert_allclose(found[name], wanted, atol=1e-3)
        lines = f"model('condition {panel}').renderers[0].data_source.data.value"
        single = np.array(page.js(f"{lines}.map(line => Array.from(line))"))
        np.testing.assert_allclose(single, mine, atol=1e-3)


def test_neurons_are_flipped_through(trials, tmp_path, opened):
    path = view_trials(trials, by="cue").save_html(tmp_path / "page.html")
    page = opened(path).drawn("condition 2")
    see(page, trials, 0)
    page.key("ArrowUp")
    see(page, trials, 1)
    page.key("End")
    see(page, trials, 3)
    low, high = page.js("[model('condition 0').y_range.start, model('condition 0').y_range.end]")
    inner = trials[:, 3].min().item(), trials[:, 3].max().item()
    assert low < inner[0]
    assert high > inner[1]
    assert high - low < 1.2 * (inner[1] - inner[0])
    assert page.js("model('condition 0').left[0].axis_label") == "firing rate [Hz]"
    assert page.js("model('condition 1').below[0].axis_label") == "time [s]"
    page.move(*page.place("condition 1", 1.0, float(means(page, 1)["mean"][20])))
    page.until("every('.bk-tooltip-row-label').length")
    lines = dict(line.split(": ") for line in page.tooltip().split("\n")[:4])
    assert lines["neuron"] == "8"
    assert lines["time [s]"] == "1.000"
    assert float(lines["firing rate [Hz]"]) == pytest.approx(means(page, 1)["mean"][20], abs=1e-4)
    ends = [float(end) for end in lines["interval"].split(" … ")]
    np.testing.assert_allclose(ends, [means(page, 1)[name][20] for name in ("lower", "upper")],
                               atol=1e-4)  # fmt: skip
    left, top = page.middle(".bk-btn")
    page.click(left, top)
    assert page.js("model('condition 0').renderers[0].visible") is False


def test_python_answers_with_the_same(trials, opened):
    names = [f"{i}<img src=x onerror=window.hacked=1>$&" for i in range(4)]
    trials = trials.assign_coords(neuron=names)
    with view_trials(trials, by="cue").serve() as server:
        page = opened(server.url).drawn("condition 2")
        see(page, trials, 0)
        page.key("PageUp")
        see(page, trials, 3)
        page.browser.wait(0.2)
        assert page.js("window.hacked") is None


def test_single_trials_that_do_not_fit_are_left_out_and_the_page_says_so(
    trials, tmp_path, monkeypatch
):
    rows = 4 * 40 * 2
    monkeypatch.setattr(module, "DATA_BYTES", rows * (3 * 3 + 3 * 2))
    page = view_trials(trials, by="cue").html()
    assert "At most 2 single trials of each condition are shown" in page
    monkeypatch.setattr(module, "DATA_BYTES", rows * 3 * 3)
    assert "Single trials are left out" in view_trials(trials, by="cue").html()
    monkeypatch.setattr(module, "DATA_BYTES", rows * 3 * 3 - 1)
    with pytest.raises(ArgumentError, match="do not fit into a page"):
        view_trials(trials, by="cue").html()


def test_booleans_are_shares_of_trials(trials):
    events = (trials > 1).assign_attrs(long_name="events")
    layout = view_trials(events)._build(live=True).layout
    figure = layout.select_one({"name": "condition 0"})
    means = figure.renderers[2].data_source.data
    np.testing.assert_allclose(means["mean"], events[:, 0].mean("trial"), atol=1e-6)
    assert figure.yaxis[0].axis_label == "share of trials with events"
    assert figure.title.text == "all trials, n = 17"
    assert not layout.select_one({"name": "single"}).visible


def test_what_is_no_set_of_trials_is_refused(trials):
    with pytest.raises(ArgumentError, match="one of the coordinates along trials"):
        view_trials(trials, by="colour")
    with pytest.raises(ArgumentError, match="Select one of each further dimension"):
        view_trials(trials.expand_dims(channel=2))
    with pytest.raises(ArgumentError, match="needs trials as a DataArray"):
        view_trials(trials.values)
    many = trials.isel(trial=np.arange(30) % 17).assign_coords(cue=("trial", np.arange(30)))
    with pytest.raises(ArgumentError, match="30 values, and at most 24"):
        view_trials(many, by="cue")
