"""Previews and overviews show what is there, and read each image once."""

import subprocess
import sys
from pathlib import Path

import dask
import numpy as np
import pytest
import xarray as xr
from matplotlib.image import imread

import calscipy as cs
from calscipy import errors, plotting
from calscipy.plotting.outlines import outlines
from calscipy.testing import write_recording

SMALL = {"shape": (24, 32), "neurons": 2, "frames": 30, "burst_rate": 0}


@pytest.fixture(autouse=True)
def _quiet(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with cs.set_options(progress=False):
        yield


def pixels(path: Path) -> np.ndarray:
    """Read a PNG and check that there is something on it."""
    assert path.read_bytes().startswith(b"\x89PNG\r\n")
    image = imread(path)
    assert min(image.shape[:2]) >= 400
    assert np.unique(image[..., 0]).size > 50
    assert 0.01 < (image[..., :3].min(axis=-1) < 0.9).mean() < 0.9
    return image


@pytest.fixture
def drawn(monkeypatch):
    """Keep the figures that are saved."""
    figures = []
    save = plotting.save_figure

    def keep(figure, *args, **kwargs):
        figures.append(figure)
        return save(figure, *args, **kwargs)

    monkeypatch.setattr(sys.modules["calscipy.plotting.preview"], "save_figure", keep)
    return figures


def texts(figure) -> list[str]:
    found = [text.get_text() for text in figure.texts]
    for axis in figure.axes:
        found += [axis.get_title(), axis.get_title("left"), axis.get_xlabel(), axis.get_ylabel()]
        found += [text.get_text() for text in axis.texts]
    return [text for text in found if text]


def images(figure) -> list[np.ndarray]:
    return [np.asarray(image.get_array()) for axis in figure.axes for image in axis.images]


def trace_lines(figure) -> list[np.ndarray]:
    """Mean traces of a preview."""
    return [
        axis.lines[0].get_ydata() for axis in figure.axes if axis.get_ylabel().startswith("mean")
    ]


def test_preview_of_one_channel(drawn):
    truth = write_recording("TSeries-001", microns_per_pixel=(2.0, 1.0), **SMALL)
    path = cs.preview("TSeries-001")
    assert path == Path("TSeries-001-preview.png")
    pixels(path)
    (figure,) = drawn
    movie = np.stack([truth.frame(i) for i in range(30)])
    mean, largest, *frames = images(figure)
    np.testing.assert_allclose(mean, movie.mean(0))
    np.testing.assert_array_equal(largest, movie.max(0))
    np.testing.assert_array_equal(frames, movie[[0, 15, 29]])
    (trace,) = trace_lines(figure)
    np.testing.assert_allclose(trace, movie.mean((1, 2)))
    found = texts(figure)
    assert "TSeries-001" in found
    assert "30 frames · 24 × 32 px · 30 frames/s for 1 s · 2 × 1 µm per pixel · uint16" in found
    shown = {"Ch2", "mean", "maximum", "time since the first frame [s]", "frame 15, 0.5 s"}
    assert {*shown, "5 µm", "mean Ch2\n[counts]"} <= set(found)


def test_preview_shows_every_channel(drawn):
    truth = write_recording("two", channels=("Ch1", "Ch2"), **SMALL)
    pixels(cs.preview("two", "two.png"))
    (figure,) = drawn
    assert len(images(figure)) == 10
    for row, channel in enumerate(("Ch1", "Ch2")):
        movie = np.stack([truth.frame(i, channel) for i in range(30)])
        np.testing.assert_allclose(images(figure)[5 * row], movie.mean(0))
    assert {"Ch1", "Ch2"} <= set(texts(figure))


def test_preview_shows_the_middle_plane_of_volumes(drawn):
    truth = write_recording("volumes", planes=3, **{**SMALL, "frames": 6})
    pixels(cs.preview("volumes"))
    (figure,) = drawn
    movie = np.stack([truth.frame(i, plane=1) for i in range(6)])
    np.testing.assert_allclose(images(figure)[0], movie.mean(0))
    assert "volume 5, 0.6667 s" in texts(figure)
    assert any(text.startswith("6 volumes of 3 planes (plane 1 shown)") for text in texts(figure))


def test_preview_leaves_missing_frames_out_and_warns_once(drawn):
    truth = write_recording("damaged", missing=[0, 4, 5], truncated=[29], **SMALL)
    with pytest.warns(errors.DamagedRecordingWarning) as caught:
        pixels(cs.preview("damaged"))
    assert len(caught) == 1
    (figure,) = drawn
    good = truth.written.values
    movie = np.stack([truth.frame(i) for i in range(30)])
    mean, largest, *frames = images(figure)
    np.testing.assert_allclose(mean, movie[good].mean(0))
    np.testing.assert_array_equal(largest, movie[good].max(0))
    np.testing.assert_array_equal(frames, movie[[1, 16, 28]])
    (trace,) = trace_lines(figure)
    np.testing.assert_array_equal(np.isnan(trace), ~good)
    assert "4 missing or damaged" in texts(figure)


def test_preview_does_not_join_cycles(drawn):
    write_recording("cycles", cycles=3, **SMALL)
    cs.preview("cycles")
    (trace,) = trace_lines(drawn[0])
    assert trace.size == 32
    assert np.flatnonzero(np.isnan(trace)).tolist() == [10, 21]


def test_preview_without_pixel_size_or_channel_name(drawn):
    movie = cs.from_numpy(np.arange(3 * 20 * 20, dtype="uint16").reshape(3, 20, 20), frame_rate=3)
    movie.cs.to_zarr("plain.zarr")
    assert cs.preview("plain.zarr") == Path("plain-preview.png")
    assert not [text for text in texts(drawn[0]) if "µm" in text]


def test_preview_of_a_store_without_a_movie_shows_its_traces(drawn):
    rng = np.random.default_rng(0)
    traces = cs.from_numpy(rng.normal(10, 1, (25, 300)), frame_rate=30)
    dff = traces.cs.dfof(method="median")
    events = dff.cs.events(method="matched")
    session = cs.ImagingSession(xr.DataTree())
    session.assign(traces=traces, dfof=dff, events=events).save("traces.zarr")
    pixels(cs.preview("traces.zarr"))
    (figure,) = drawn
    assert [label.get_text() for label in figure.axes[0].get_yticklabels()] == [
        str(neuron) for neuron in range(20)
    ]
    assert any("first 20 of 25 neurons" in text for text in texts(figure))
    assert "ΔF/F₀" in texts(figure)


def test_preview_computes_once():
    write_recording("one", **SMALL)
    computed = []

    def scheduler(graph, keys, **options):
        computed.append(keys)
        return dask.get(graph, keys, **options)

    with dask.config.set(scheduler=scheduler):
        cs.preview("one")
    assert len(computed) == 1


def test_preview_opens_each_image_once_and_leaves_pyplot_alone():
    write_recording("TSeries-001", channels=("Ch1", "Ch2"), **SMALL)
    code = """
        import collections, sys
        opened = collections.Counter()
        def watch(event, arguments):
            if event == "open" and str(arguments[0]).endswith(".tif"):
                opened[arguments[0]] += 1
        sys.addaudithook(watch)
        import calscipy
        calscipy.set_options(progress=False)
        assert "matplotlib" not in sys.modules
        calscipy.preview("TSeries-001")
        print(len(opened), set(opened.values()), "matplotlib.pyplot" in sys.modules)
    """
    assert python(code) == "60 {1} False"


def python(code: str) -> str:
    lines = "\n".join(line.strip() if line[:1] == " " and line[8:9] != " " else line[8:]
                      for line in code.splitlines())  # fmt: skip
    result = subprocess.run([sys.executable, "-c", lines], capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    return result.stdout.strip()


def test_preview_never_writes_over_anything():
    write_recording("one", **SMALL)
    Path("one-preview.png").write_text("mine")
    with pytest.raises(errors.TargetExistsError, match="exists already"):
        cs.preview("one")
    assert Path("one-preview.png").read_text() == "mine"


def test_preview_refuses_what_is_no_png_and_folders_that_are_not_there():
    write_recording("one", **SMALL)
    with pytest.raises(errors.ArgumentError, match=r"ending in \.png"):
        cs.preview("one", "one.jpg")
    with pytest.raises(errors.StoreError, match="no such folder"):
        cs.preview("one", "nowhere/one.png")


def test_preview_of_a_recording_without_a_whole_frame():
    write_recording("none", missing=range(30), **SMALL)
    with (
        pytest.warns(errors.DamagedRecordingWarning),
        pytest.raises(errors.RecordingError, match="nothing to show"),
    ):
        cs.preview("none")
    assert not Path("none-preview.png").exists()


def test_preview_is_the_same_for_the_same_recording():
    write_recording("one", **SMALL)
    assert cs.preview("one", "a.png").read_bytes() == cs.preview("one", "b.png").read_bytes()


# -- overview ------------------------------------------------------------------------------------


@pytest.fixture
def parts():
    labels = np.zeros((20, 30), int)
    labels[2:6, 3:8], labels[10:15, 20:25] = 1, 2
    time = np.arange(100) / 10
    coords = {"neuron": [1, 2], "time": time}
    values = np.zeros((2, 100))
    values[0, 30:40], values[1, 60:70] = 1, 2
    dfof = xr.DataArray(values, coords, ("neuron", "time"), attrs={"long_name": "ΔF/F₀"})
    events = xr.zeros_like(dfof, dtype=bool)
    events[0, 30] = events[1, 60] = True
    image = xr.DataArray(labels * 100.0, dims=("y", "x"))
    return image, cs.rois_from_labels(labels), dfof, events


def test_overview_outlines_every_roi_and_marks_events(parts):
    image, rois, dfof, events = parts
    true = events.roll(time=1, roll_coords=False)
    figure = plotting.overview_figure(image, rois, dfof, events, true, title="A title")
    left, right = (axis for axis in figure.axes if axis.get_title("left"))
    (outline,) = (one for one in left.collections if one.get_gid() == "rois")
    length = np.abs(np.diff(outline.get_segments(), axis=1)).sum()
    assert length == 18 + 20
    assert [text.get_text() for text in left.texts] == ["1", "2"]
    marks = {line.get_marker(): [] for line in right.lines}
    for line in right.lines:
        marks[line.get_marker()] += list(line.get_xdata())
    np.testing.assert_allclose(marks["|"], [3.0, 6.0])
    np.testing.assert_allclose(marks["o"], [3.1, 6.1])
    assert [text.get_text() for text in right.get_legend().get_texts()] == [
        "onset detected",
        "true onset of a burst",
    ]
    assert "A title" in texts(figure)
    pixels(plotting.save_figure(figure, "overview.png"))


def test_outline_of_one_pixel_is_its_four_edges():
    edges, _ = outlines(np.array([0]), np.array([2]), np.array([5]))
    assert {tuple(sorted(map(tuple, edge.tolist()))) for edge in edges} == {
        ((4.5, 1.5), (5.5, 1.5)),
        ((4.5, 2.5), (5.5, 2.5)),
        ((4.5, 1.5), (4.5, 2.5)),
        ((5.5, 1.5), (5.5, 2.5)),
    }


def test_overview_takes_the_rois_of_the_plane_of_the_image(parts):
    image, _, dfof, events = parts
    labels = np.zeros((2, 20, 30), int)
    labels[0, 2, 3], labels[1, 10, 20] = 1, 2
    rois = cs.rois_from_labels(labels)
    figure = plotting.overview_figure(image.assign_coords(plane=1), rois, dfof, events)
    assert [text.get_text() for text in figure.axes[0].texts] == ["2"]


def test_overview_refuses_other_dimensions(parts):
    image, rois, dfof, events = parts
    with pytest.raises(errors.DimensionError):
        plotting.overview_figure(image.expand_dims("frames")[0, 0], rois, dfof, events)
    with pytest.raises(errors.RoiError):
        plotting.overview_figure(image, image, dfof, events)


def test_overview_of_traces_with_gaps(parts):
    image, rois, dfof, events = parts
    holes = dfof.where(dfof.time > 2)
    holes[1] = np.nan
    pixels(plotting.save_figure(plotting.overview_figure(image, rois, holes, events), "holes.png"))


def test_a_dollar_in_a_name_is_no_formula(drawn):
    write_recording("a$b$c", **SMALL)
    pixels(cs.preview("a$b$c"))
    assert drawn[0].texts[-2].get_text() == r"a\$b\$c"


def test_very_tall_images_are_drawn_out_of_proportion(drawn):
    movie = cs.from_numpy(np.ones((3, 300, 10), "uint16"), frame_rate=3, microns_per_pixel=0.5)
    movie.cs.to_zarr("tall.zarr")
    cs.preview("tall.zarr")
    width, height = drawn[0].get_size_inches()
    assert height < width
    assert "µm per pixel (drawn out of proportion)" in texts(drawn[0])[1]
