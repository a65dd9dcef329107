"""Pages of traces and spikes in a real browser: slider, keys, pointer and what they show."""

import re
import sys

import numpy as np
import pytest
import xarray as xr

import calscipy as cs
from calscipy.errors import ArgumentError, TargetExistsError
from calscipy.io.optional import MissingPackageError
from calscipy.plotting.interactive import pages, view_spikes, view_traces

pytest.importorskip("bokeh", reason="needs the extra plot")

HOSTILE = "<img src=x onerror=window.hacked=1>$$x$$ \\(y\\) @value {z}"
PANEL = "model('panel 0').renderers[0].data_source.data"


@pytest.fixture(scope="module")
def data():
    rng = np.random.default_rng(0)
    values = rng.normal(0, 1, (12, 600))
    traces = cs.from_numpy(values, frame_rate=20, units="1").assign_attrs(long_name="ΔF/F₀")
    return traces.assign_coords(neuron=np.arange(100, 112))


def saved(view, tmp_path):
    path = view.save_html(tmp_path / "page.html")
    assert path.stat().st_size < 10**7
    return path


def shown(page, panel=0, renderer=0):
    source = f"model('panel {panel}').renderers[{renderer}].data_source.data"
    return {name: np.array(page.js(f"Array.from({source}.{name})"), float)
            for name in page.js(f"Object.keys({source})")}  # fmt: skip


def test_slider_and_keys_choose_neurons(data, tmp_path, opened):
    page = opened(saved(view_traces(data), tmp_path)).drawn("panel 0")
    assert page.js("model('panel 0').title.text") == "neuron 100 · 1 of 12"

    def see(row):
        page.until(f"model('panel 0').title.text === 'neuron {100 + row} · {row + 1} of 12'")
        found = shown(page)
        np.testing.assert_allclose(found["time"], data.time, atol=1e-6)
        np.testing.assert_allclose(found["value"], data[row], atol=2e-4)
        low, high = page.js("[model('panel 0').y_range.start, model('panel 0').y_range.end]")
        assert low < found["value"].min() < low + 0.1 * (high - low)
        assert high - 0.1 * (high - low) < found["value"].max() < high

    see(0)
    for key, row in (("ArrowRight", 1), ("ArrowUp", 2), ("ArrowDown", 1), ("ArrowLeft", 0),
                     ("ArrowLeft", 0), ("PageUp", 10), ("End", 11), ("PageUp", 11),
                     ("PageDown", 1), ("Home", 0)):  # fmt: skip
        page.key(key)
        see(row)
    left, top = page.middle(".noUi-handle")
    width = page.js("every('.noUi-base')[0].getBoundingClientRect().width")
    page.drag((left, top), (left + 5 * width / 11, top))
    see(5)
    page.key("ArrowRight")  # one step, though the handle, which now has the focus, listens too
    see(6)
    page.move(*page.place("panel 0", 15.0, 0))
    page.until("every('.bk-tooltip-row-label').length")
    *lines, value = page.tooltip().split("\n")
    assert lines == ["neuron: 106", "time [s]: 15.000"]
    assert value.startswith("ΔF/F₀: ")
    assert float(value.split()[1]) == pytest.approx(float(data[6, 300]), abs=2e-4)
    assert all(not url.startswith(("http", "ws")) for url in page.requests)


def test_data_sets_in_panels_of_their_own_share_the_time_axis(data, tmp_path, opened):
    counts = (100 * data + 500).assign_attrs(units="count", long_name="raw")
    events = (data > 2).assign_attrs(long_name="onsets")
    page = opened(saved(view_traces(data, counts, events, mode="stacked"), tmp_path))
    page.drawn("panel 2")
    labels = [page.js(f"model('panel {i}').left[0].axis_label") for i in range(3)]
    assert labels == ["ΔF/F₀", "raw [counts]", "onsets"]
    assert page.js("model('panel 2').below[0].axis_label") == "time [s]"
    page.key("ArrowRight")
    page.until("model('panel 0').title.text.startsWith('neuron 101')")
    np.testing.assert_allclose(shown(page, 1)["value"], counts[1], atol=0.02)
    np.testing.assert_allclose(shown(page, 2)["time"], data.time[np.flatnonzero(events[1])])
    page.js("model('panel 1').x_range.setv({start: 10, end: 12})")
    page.settle()
    inside = (data.time.values >= 10) & (data.time.values <= 12)
    high = page.js("[0, 1].map(i => model(`panel ${i}`).y_range.end)")
    assert page.js("model('panel 2').x_range.end") == 12
    for end, own in zip(high, (data, counts), strict=True):
        part = own[1].values[inside]
        assert end == pytest.approx(part.max() + 0.05 * np.ptp(part), rel=1e-3)


def test_long_traces_show_their_peaks_and_the_page_says_how(tmp_path, opened, monkeypatch):
    monkeypatch.setattr("calscipy.plotting.interactive.traces.DATA_BYTES", 60_000)
    values = np.random.default_rng(0).normal(0, 1, (20, 20_000)).astype("float32")
    values[13, 12_345] = 25
    traces = cs.from_numpy(values, frame_rate=100, units="count").assign_attrs(long_name="raw")
    half = (traces / 2).assign_attrs(units="count", long_name="half")
    page = opened(saved(view_traces(traces, half), tmp_path)).drawn("panel 0")
    assert "raw: lowest and highest of every" in page.text()
    page.js("model('neuron').value = 13")
    page.until("model('panel 0').title.text.startsWith('neuron 13 ')")
    found = shown(page)
    assert found["time"].size < 2000
    at = found["value"].argmax()
    assert found["value"][at] == pytest.approx(25, abs=1e-3)
    assert found["time"][at] == pytest.approx(123.45, abs=1e-4)
    page.move(*page.place("panel 0", 123.45, 0))
    page.until("every('.bk-tooltip-row-label').length")
    told = dict(line.split(": ") for line in page.tooltip().split("\n"))
    assert told["neuron"] == "13"
    assert (
        abs(float(told["time [s]"]) - 123.45) < 0.4
    )  # the pointer is on one pixel of many samples
    assert float(told["raw [counts]"]) == pytest.approx(25, abs=1e-3)
    assert float(told["half [counts]"].split()[0]) == pytest.approx(12.5, abs=1e-3)


def test_spikes_stand_below_traces_and_above_their_probability(data):
    probability = (data * 0 + 0.25).assign_attrs(long_name="p")
    activity = data.clip(0).assign_attrs(long_name="spikes", units="1")
    view = view_spikes(probability=probability, spikes=activity, traces=data)
    layout = view._build(live=True).layout
    figures = [layout.select_one({"name": f"panel {i}"}) for i in range(3)]
    labels = [figure.yaxis[0].axis_label for figure in figures]
    assert labels == ["ΔF/F₀", "spikes", "spike probability"]
    for figure, own in zip(figures, (data, activity, probability), strict=True):
        np.testing.assert_array_equal(figure.renderers[0].data_source.data["value"], own[0])
        assert figure.x_range is figures[0].x_range


def test_marks_alone_can_be_flipped_through(data, tmp_path, opened):
    events = data > 1.5
    page = opened(saved(view_spikes(spikes=events), tmp_path)).drawn("panel 0")
    page.key("ArrowRight")
    page.until("model('panel 0').title.text.startsWith('neuron 101')")
    times = data.time.values[events[1].values]
    np.testing.assert_allclose(shown(page)["time"], times)
    page.move(*page.place("panel 0", times[3], 0.5))
    page.until("every('.bk-tooltip-row-label').length")
    assert page.tooltip().split("\n")[:2] == ["neuron: 101", f"time [s]: {times[3]:.3f}"]


def test_names_from_outside_are_shown_and_never_run(data, tmp_path, opened):
    names = np.array([f"{HOSTILE} {i}" for i in range(12)])
    hostile = data.assign_coords(neuron=names).assign_attrs(long_name=HOSTILE, units=HOSTILE)
    view = view_traces(hostile, hostile, hostile > 1, title=f"</title>{HOSTILE}")
    page = opened(saved(view, tmp_path)).drawn("panel 0")
    page.key("ArrowRight")
    page.until("model('panel 0').title.text.includes('2 of 12')")
    page.move(*page.place("panel 0", 15.0, 0))
    page.until("every('.bk-tooltip-row-label').length")
    shown_text = page.tooltip().replace("\u2060", "")
    assert shown_text.startswith(f"neuron: {HOSTILE} 1\n")
    page.browser.wait(0.2)
    assert page.js("window.hacked") is None
    assert "<img src=x" in page.text()
    assert all(re.match("file:.*page.html$|data:", url) for url in page.requests)


def test_what_cannot_be_drawn_is_refused(data, tmp_path):
    with pytest.raises(ArgumentError, match="mode must be one of"):
        view_traces(data, mode="beside")
    with pytest.raises(ArgumentError, match=r"one unit for all traces, got \['1', 'count'\]"):
        view_traces(data, data.assign_attrs(units="count"))
    with pytest.raises(ArgumentError, match="needs 1 names, got 2"):
        view_traces(data, names=["a", "b"])
    with pytest.raises(ArgumentError, match="got none of them"):
        view_spikes()
    view = view_traces(data)
    with pytest.raises(ArgumentError, match=r"ending in \.html"):
        view.save_html(tmp_path / "page.png")
    (tmp_path / "page.html").write_text("mine")
    with pytest.raises(TargetExistsError):
        view.save_html(tmp_path / "page.html")
    assert (tmp_path / "page.html").read_text() == "mine"


def test_pages_that_would_be_too_large_are_refused(data, tmp_path, monkeypatch):
    monkeypatch.setattr("calscipy.plotting.interactive.view.PAGE_BYTES", 10**6)
    with pytest.raises(ArgumentError, match=r"more than 1\. Show less at once"):
        view_traces(data).save_html(tmp_path / "page.html")
    assert not (tmp_path / "page.html").exists()


def test_a_missing_extra_is_named(monkeypatch, data):
    monkeypatch.setitem(sys.modules, "bokeh", None)
    with pytest.raises(MissingPackageError, match=r'pip install "bokeh>=[\d.]+" "panel>=[\d.]+"'):
        view_traces(data)


def test_texts_are_drawn_as_they_are():
    assert pages.plain("a\x00b\r\nc") == "a b  c"
    for text in ("$$x$$", "\\(x\\)", "\\[x\\]"):
        found = pages.plain(text)
        assert not re.search(r"\$\$|\\[()\[\]]", found)
        assert found.replace("\u2060", "") == text
    assert pages.plain("5 $ and ΔF/F₀") == "5 $ and ΔF/F₀"


def test_one_neuron_has_nothing_to_slide():
    one = xr.DataArray(np.arange(5.0), {"time": np.arange(5.0)}, ("time",), name="only")
    layout = view_traces(one)._build(live=True).layout
    assert layout.select_one({"name": "neuron"}).disabled
    assert layout.select_one({"name": "panel 0"}).title.text == "neuron 0 · 1 of 1"
