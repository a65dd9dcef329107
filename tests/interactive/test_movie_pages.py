"""Movies in a real browser: from a page with some frames, and live from a server."""

import tracemalloc

import dask
import dask.array as da
import numpy as np
import pytest

import calscipy as cs
from calscipy.errors import ArgumentError, DimensionError, RoiError
from calscipy.plotting.interactive import view_movie

pytest.importorskip("bokeh", reason="needs the extra plot")

IMAGE = "model('frame').renderers[0].data_source.data.image[0]"


@pytest.fixture(scope="module")
def scene():
    labels = np.zeros((24, 32), int)
    labels[4:9, 5:11], labels[15:20, 20:27] = 1, 2
    rng = np.random.default_rng(0)
    values = rng.integers(100, 140, (30, 24, 32)).astype("uint16")
    values += ((labels > 0) * np.arange(30)[:, None, None]).astype("uint16")
    movie = cs.from_numpy(values, frame_rate=10, microns_per_pixel=2.0)
    rois = cs.rois_from_labels(labels)
    return movie, rois, movie.cs.extract(rois)


def image(page):
    return np.array(page.js(f"Array.from({IMAGE})"), float).reshape(page.js(f"{IMAGE}.shape"))


def title(page):
    return page.js("model('frame').title.text")


def test_a_page_holds_frames_rois_and_traces(scene, tmp_path, opened):
    movie, rois, traces = scene
    path = view_movie(movie, rois, traces, title="m1").save_html(tmp_path / "page.html")
    page = opened(path).drawn("frame")
    levels = np.ptp(movie.values) / 254
    np.testing.assert_allclose(image(page), movie[0], atol=levels)
    assert title(page) == "frame 0 · 0.000 s"
    for key, frame in (("ArrowRight", 1), ("PageUp", 11), ("ArrowLeft", 10), ("End", 29)):
        page.key(key)
        page.until(f"model('frame').title.text.startsWith('frame {frame} ')")
        np.testing.assert_allclose(image(page), movie[frame], atol=levels)
    assert title(page) == "frame 29 · 2.900 s"
    labels = page.js("[model('frame').below[0].axis_label, model('frame').left[0].axis_label]")
    assert labels == ["x position [µm]", "y position [µm]"]
    assert all(not url.startswith(("http", "ws")) for url in page.requests)

    page.move(*page.place("frame", 2 * 23.0, 2 * 17.0))
    page.until("every('.bk-tooltip-row-label').length")
    told = dict(line.split(": ") for line in page.tooltip().split("\n"))
    assert (told["x position [µm]"], told["y position [µm]"]) == ("46", "34")
    assert float(told["fluorescence [counts]"]) == pytest.approx(movie[29, 17, 23], abs=levels)
    assert told["neuron"] == "2"

    page.click(*page.place("frame", 2 * 23.0, 2 * 17.0))
    page.until("model('neuron').value === 1")
    page.until("model('panel 0').title.text.startsWith('neuron 2 ')")
    course = "model('pixel').renderers[0].data_source.data"
    found = np.array(page.js(f"Array.from({course}.value)"))
    np.testing.assert_allclose(found, movie[:, 17, 23], atol=levels)
    assert (
        page.js("model('pixel').title.text") == "pixel at y 34, x 46 · the 30 frames of this page"
    )
    trace = page.js("Array.from(model('panel 0').renderers[0].data_source.data.value)")
    np.testing.assert_allclose(trace, traces.sel(neuron=2), atol=1e-2)
    page.key("ArrowDown")
    page.until("model('panel 0').title.text.startsWith('neuron 1 ')")
    page.click(*page.place("pixel", 1.52, 120))
    page.until("model('frame').title.text.startsWith('frame 15 ')")


def test_playing_and_contrast(scene, tmp_path, opened):
    path = view_movie(scene[0]).save_html(tmp_path / "page.html", frames=slice(0, 30, 2))
    page = opened(path).drawn("frame")
    assert "15 of 30 frames, every 2nd frame, " in page.text()
    page.js("model('rate').value = 60; window.seen = []; "
            "model('frame').title.properties.text.change.connect("
            "() => seen.push(model('frame').title.text))")  # fmt: skip
    page.js("model('step').value = 2")
    page.key(" ")
    page.until("seen.length >= 9")
    page.key(" ")
    numbers = [int(text.split()[1]) for text in page.js("seen")[:9]]
    assert numbers == [4, 8, 12, 16, 20, 24, 28, 0, 4]
    page.settle()
    assert page.js("model('play').label") == "▶ play"

    mapper = "model('frame').renderers[0].glyph.color_mapper"
    low, high = page.js(f"[{mapper}.low, {mapper}.high]")
    seen = scene[0].values[::2]
    assert low == pytest.approx(np.percentile(seen, 1), abs=1)
    assert high == pytest.approx(np.percentile(seen, 99.7), abs=1)
    page.js("model('contrast').value = [110, 120]")
    assert page.js(f"[{mapper}.low, {mapper}.high]") == [110, 120]
    page.settle()
    before = page.screenshot(tmp_path / "a.png")
    page.js("model('contrast').value = [100, 140]")
    page.settle()
    assert page.screenshot(tmp_path / "b.png") != before


def test_channels_planes_and_damaged_frames(tmp_path, opened):
    values = np.random.default_rng(0).integers(0, 50, (6, 2, 3, 8, 9)).astype("uint16")
    values[:, 1] += 1000
    movie = cs.from_numpy(values, frame_rate=4)
    valid = np.ones((6, 2, 3), bool)
    valid[2, 1, 1] = False
    movie = movie.assign_coords(valid=(("frames", "channel", "plane"), valid))
    hostile = "<img src=x onerror=window.hacked=1>"
    movie = movie.assign_coords(channel=["Ch1", hostile]).assign_attrs(units=hostile)
    page = opened(view_movie(movie).save_html(tmp_path / "page.html")).drawn("frame")
    assert title(page) == "frame 0 · 0.000 s · Ch1 · plane 0"
    page.js("model('channel').value = '1'; model('plane').value = 1")
    page.until(f"model('frame').title.text === 'frame 0 · 0.000 s · {hostile} · plane 1'")
    np.testing.assert_allclose(image(page), values[0, 1, 1], atol=50 / 254)
    assert page.js("model('contrast').value[0]") > 900
    page.js("model('position').value = 2")
    page.until("model('frame').title.text.endsWith('missing or damaged')")
    assert page.js(f"Array.from({IMAGE}).every(Number.isNaN)")
    assert page.js("window.hacked") is None


def test_a_live_movie_reads_what_is_shown(scene, opened):
    movie, rois, traces = scene
    made = []

    def block(block_info=None):
        start, stop = block_info[None]["array-location"][0]
        made.append(start)
        return movie.values[start:stop]

    array = da.map_blocks(block, chunks=((5,) * 6, (24,), (32,)), dtype="uint16",
                          meta=np.empty((0, 0, 0), "uint16"))  # fmt: skip
    lazy = movie.copy(data=array)
    view = view_movie(lazy, rois, traces)
    assert made == []
    with dask.config.set(scheduler="sync"), view.serve() as server:
        page = opened(server.url).drawn("frame")
        assert made == [0]
        np.testing.assert_array_equal(image(page), movie[0])
        page.key("PageUp")
        page.until("model('frame').title.text === 'frame 10 · 1.000 s'")
        np.testing.assert_array_equal(image(page), movie[10])
        assert made == [0, 10]
        # Through many frames at once: those in between are left out while one is being read.
        page.js("for (let i = 11; i < 30; i++) model('position').value = i")
        page.until("model('frame').title.text.startsWith('frame 29 ')")
        np.testing.assert_array_equal(image(page), movie[29])
        assert len(made) <= 2 + 19
        del made[:]
        page.click(*page.place("frame", 2 * 7.0, 2 * 6.0))
        text = page.until(
            "model('pixel').title.text.startsWith('mean') && model('pixel').title.text"
        )
        assert text == "mean of 3 × 3 pixels at y 12, x 14 · frames 0 to 29 of 30"
        course = page.js("Array.from(model('pixel').renderers[0].data_source.data.value)")
        np.testing.assert_allclose(course, movie[:, 5:8, 6:9].mean(("y", "x")))
        assert sorted(made) == [0, 5, 10, 15, 20, 25]
        page.until("model('panel 0').title.text.startsWith('neuron 1 ')")


def test_a_frame_that_cannot_be_read_is_told_and_the_view_goes_on(opened):
    values = np.random.default_rng(0).integers(0, 99, (12, 8, 9)).astype("uint16")

    def block(block_info=None):
        start, stop = block_info[None]["array-location"][0]
        if start == 4:
            raise OSError("the disk is gone")
        return values[start:stop]

    array = da.map_blocks(block, chunks=((4,) * 3, (8,), (9,)), dtype="uint16",
                          meta=np.empty((0, 0, 0), "uint16"))  # fmt: skip
    with view_movie(cs.from_numpy(array, frame_rate=1)).serve() as server:
        page = opened(server.url).drawn("frame")
        page.js("model('position').value = 5")
        page.until("model('frame').title.text === 'frame 5 cannot be read: the disk is gone'")
        page.click(*page.place("frame", 3, 3))
        page.until("model('pixel').title.text === 'cannot be read: the disk is gone'")
        page.js("model('position').value = 9")
        page.until("model('frame').title.text === 'frame 9 · 9.000 s'")
        np.testing.assert_array_equal(image(page), values[9])


def test_a_movie_of_50_gb_is_shown_from_one_block():
    made = []

    def block(block_info=None):
        made.append(block_info[None]["array-location"][0])
        return np.full((64, 512, 512), 7, "uint16")

    count = 1490
    array = da.map_blocks(block, chunks=((64,) * count, (512,), (512,)), dtype="uint16",
                          meta=np.empty((0, 0, 0), "uint16"))  # fmt: skip
    movie = cs.from_numpy(array, frame_rate=30)
    assert movie.nbytes > 49e9
    tracemalloc.start()
    try:
        layout = view_movie(movie)._build(live=True).layout
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert made == [(0, 64)]
    assert peak < 200e6
    (shown,) = layout.select_one({"name": "frame"}).renderers[0].data_source.data["image"]
    assert shown.shape == (512, 512)
    assert shown.dtype == np.uint16


def test_live_traces_are_drawn_anew_when_one_zooms_in(opened):
    values = np.random.default_rng(0).normal(0, 1, (3, 100_000))
    values[1, 54_321] = 30
    traces = cs.from_numpy(values, frame_rate=100)
    with cs.plotting.interactive.view_traces(traces).serve() as server:
        page = opened(server.url).drawn("panel 0")
        page.key("ArrowRight")
        page.until("model('panel 0').title.text.startsWith('neuron 1 ')")
        source = "model('panel 0').renderers[0].data_source.data"
        assert page.js(f"Math.max(...{source}.value)") == 30
        assert page.js(f"{source}.time.length") == 4000
        page.js("model('panel 0').x_range.setv({start: 543, end: 543.5})")
        page.until(f"{source}.time.length < 100")
        times = np.array(page.js(f"Array.from({source}.time)"))
        np.testing.assert_allclose(times, np.arange(54_299, 54_351) / 100)
        found = page.js(f"Array.from({source}.value)")
        np.testing.assert_array_equal(found, values[1, 54_299:54_351])


def test_the_server_ends_and_answers_this_machine_alone(scene):
    import socket

    server = view_movie(scene[0]).serve()
    port = int(server.url.rstrip("/").rpartition(":")[2])
    assert server.url.startswith("http://127.0.0.1:")
    with socket.create_connection(("127.0.0.1", port), timeout=5):
        pass
    server.stop()
    with pytest.raises(OSError, match=r".*"), socket.create_connection(("127.0.0.1", port), 1):
        pass
    server.stop()


def test_large_frames_are_shown_coarser_and_the_view_says_so():
    values = np.random.default_rng(0).integers(0, 99, (2, 40, 2100)).astype("uint16")
    layout = view_movie(cs.from_numpy(values, frame_rate=1))._build(live=True).layout
    notes = layout.children[0].text
    assert "means of 3 × 3 pixels" in notes
    assert "out of proportion" in notes
    figure = layout.select_one({"name": "frame"})
    (shown,) = figure.renderers[0].data_source.data["image"]
    assert shown.shape == (14, 700)
    assert shown[0, 0] == pytest.approx(values[0, :3, :3].mean(), abs=1e-3)


def test_what_is_no_movie_is_refused(scene):
    movie, rois, _ = scene
    with pytest.raises(ArgumentError, match=r"needs an xarray.DataArray"):
        view_movie(movie.values)
    with pytest.raises(DimensionError):
        view_movie(movie[0])
    with pytest.raises(ArgumentError, match="Select one of each further dimension"):
        view_movie(movie.expand_dims(trial=2))
    far = rois.assign_coords(y=("pixel", rois.y.values + 99))
    far.attrs["image_shape"] = [200, 200]
    with pytest.raises(RoiError, match="no ROI lies on the image"):
        view_movie(movie, far).html()
