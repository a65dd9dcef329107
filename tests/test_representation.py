"""What a session shows of itself in a notebook and at the prompt."""

import base64
import re
import threading
import time
import zlib

import dask.array as da
import imagecodecs
import numpy as np
import pytest
import xarray as xr

import calscipy as cs
from calscipy import thumbnail as module
from calscipy.errors import DamagedRecordingWarning
from calscipy.representation import session_facts, session_html, session_text
from calscipy.testing import write_recording
from calscipy.thumbnail import grey_png, thumbnail

HOSTILE = "<script>window.hacked=1</script>\"'><img src=x onerror=window.hacked=2>"


@pytest.fixture(autouse=True)
def _patient(monkeypatch):
    """Pictures are waited for, however busy the machine is; other tests see what is given up."""
    monkeypatch.setattr(module, "WAIT", 30.0)


def read_png(data):
    """Decode a grey PNG of 8 bits without filters: an independent reading of the format."""
    assert data[:8] == b"\x89PNG\r\n\x1a\n"
    parts, at = {}, 8
    while at < len(data):
        size = int.from_bytes(data[at : at + 4], "big")
        name, body = data[at + 4 : at + 8], data[at + 8 : at + 8 + size]
        assert int.from_bytes(data[at + 8 + size : at + 12 + size], "big") == zlib.crc32(
            name + body
        )
        parts[name] = body
        at += 12 + size
    assert list(parts) == [b"IHDR", b"IDAT", b"IEND"]
    width, height = (int.from_bytes(parts[b"IHDR"][i : i + 4], "big") for i in (0, 4))
    assert parts[b"IHDR"][8:] == b"\x08\0\0\0\0"
    rows = np.frombuffer(zlib.decompress(parts[b"IDAT"]), np.uint8).reshape(height, width + 1)
    assert not rows[:, 0].any()
    return rows[:, 1:]


def picture_in(page):
    (found,) = re.findall(r"src='data:image/png;base64,([^']*)'", page)
    return read_png(base64.b64decode(found))


def session_of(movie, **attrs):
    return cs.ImagingSession(xr.DataTree(xr.Dataset(attrs=attrs))).assign(movie=movie)


def movie_of(frames=5, shape=(8, 12), **options):
    values = np.random.default_rng(0).integers(0, 4000, (frames, *shape)).astype("uint16")
    return cs.from_numpy(values, frame_rate=10, **options)


def test_png_is_what_other_readers_read():
    image = np.random.default_rng(0).integers(0, 256, (13, 21)).astype("uint8")
    data = grey_png(image)
    np.testing.assert_array_equal(read_png(data), image)
    np.testing.assert_array_equal(imagecodecs.png_decode(data), image)


def test_card_says_what_a_person_asks_first(tmp_path):
    write_recording(
        tmp_path / "m1", frames=20, shape=(16, 32), channels=("Ch1", "Ch2"), planes=3, neurons=1,
        microns_per_pixel=(2.0, 1.0),
    )  # fmt: skip
    page = cs.ImagingSession.open(tmp_path / "m1")._repr_html_()
    facts = dict(re.findall(r"<dt[^>]*>([^<]*)</dt><dd[^>]*>([^<]*)</dd>", page))
    assert facts["source"].endswith("m1")
    assert facts["movie"].startswith("frames 20, channel 2, plane 3, y 16, x 32; uint16, ")
    assert facts["movie"].endswith("lazy (dask)")
    assert re.fullmatch(r"[\d.]+ volumes/s for [\d.]+ s", facts["recorded"])
    assert (facts["channels"], facts["planes"]) == ("Ch1, Ch2", "3")
    assert facts["pixel size"] == "2 x 1 um (y x x)"
    assert facts["complete"] == "yes"
    assert "frame 10, Ch1, plane 1" in page
    assert "<summary>groups</summary>" in page
    assert "xr-wrap" in page


def test_duration_of_long_recordings_in_minutes_and_hours():
    assert session_facts(session_of(movie_of(50)).tree)["recorded"] == "10 frames/s for 5 s"
    for frames, text in ((1800, "180 s (3 min)"), (72_000, "7200 s (2 h 0 min)")):
        movie = movie_of(frames, (1, 1))
        assert session_facts(session_of(movie).tree)["recorded"] == f"10 frames/s for {text}"


def test_incomplete_recordings_stand_out(tmp_path):
    write_recording(tmp_path / "r", frames=9, shape=(8, 8), neurons=1, missing=(4,))
    with pytest.warns(DamagedRecordingWarning):
        session = cs.ImagingSession.open(tmp_path / "r")
    page = session._repr_html_()
    assert "color:#D55E00;font-weight:bold'>no: 1 of 9 images" in page
    assert "frame 5" in page  # the one in the middle of those that are whole


def test_picture_is_the_frame_in_the_middle_from_dark_to_bright():
    movie = movie_of(shape=(36, 48))
    found = picture_in(session_of(movie)._repr_html_())
    values = movie.values[2].astype(float)
    low, high = np.percentile(values, (1, 99.7))
    wanted = ((values - low) * 255 / (high - low)).clip(0, 255)
    np.testing.assert_allclose(found, wanted, atol=0.51)


def test_large_frames_are_made_small_and_true_to_scale():
    movie = movie_of(shape=(100, 600), microns_per_pixel=(2.0, 1.0))
    found = thumbnail(session_of(movie).tree, wait=30)
    assert read_png(found.png).shape == (20, 120)
    assert (found.width, found.height) == (144, 48)


def test_an_image_in_the_tree_is_preferred():
    session = session_of(movie_of())
    image = xr.DataArray(np.eye(8, 12, dtype="float32"), dims=("y", "x"))
    dataset = session.tree["movie"].to_dataset().assign(std=image * 2, mean_image=image)
    tree = session.tree.copy()
    tree["movie"] = xr.DataTree(dataset)
    found = thumbnail(tree, wait=30)
    assert found.caption == "mean_image"
    np.testing.assert_array_equal(read_png(found.png), np.eye(8, 12) * 255)


def test_one_block_is_computed_and_no_more():
    made = []

    def make(block_info=None):
        made.append(block_info[None]["array-location"][0])
        return np.ones((4, 8, 8), "uint16")

    blocks = da.map_blocks(make, chunks=((4,) * 6, (8,), (8,)), dtype="uint16",
                           meta=np.empty((0, 0, 0), "uint16"))  # fmt: skip
    session = session_of(cs.from_numpy(blocks, frame_rate=1))
    repr(session)
    assert made == []
    assert "<img" in session._repr_html_()
    assert made == [(12, 16)]


def test_large_blocks_and_long_computations_are_left_alone(monkeypatch):
    made = []

    def make(block_info=None):
        made.append(block_info)
        return np.ones((4, 8, 8), "uint16")

    def lazy():
        return da.map_blocks(make, chunks=((4,) * 6, (8,), (8,)), dtype="uint16",
                             meta=np.empty((0, 0, 0), "uint16"))  # fmt: skip

    monkeypatch.setattr(module, "_MOST_BYTES", 4 * 8 * 8 * 2 - 1)
    assert "<img" not in session_of(cs.from_numpy(lazy(), frame_rate=1))._repr_html_()
    monkeypatch.undo()
    monkeypatch.setattr(module, "WAIT", 30.0)
    whole = lazy().rechunk((24, 8, 8))
    many = da.concatenate([whole - whole.mean(axis=0) for _ in range(30)])
    movie = cs.from_numpy(many.rechunk((720, 8, 8)), frame_rate=1)
    monkeypatch.setattr(module, "_MOST_TASKS", 5)
    assert "<img" not in session_of(movie)._repr_html_()
    assert made == []


def test_slow_files_are_not_waited_for(monkeypatch):
    go_on = threading.Event()

    def make(block_info=None):
        assert go_on.wait(30)
        return np.ones((4, 8, 8), "uint16")

    blocks = da.map_blocks(make, chunks=((4,), (8,), (8,)), dtype="uint16",
                           meta=np.empty((0, 0, 0), "uint16"))  # fmt: skip
    session = session_of(cs.from_numpy(blocks, frame_rate=1))
    quick = session_of(movie_of())
    monkeypatch.setattr(module, "WAIT", 0.05)
    try:
        began = time.perf_counter()
        assert "<img" not in session._repr_html_()
        assert "<img" not in quick._repr_html_()  # one at a time
        assert time.perf_counter() - began < 10
    finally:
        go_on.set()
    deadline = time.monotonic() + 30
    while module._busy.locked() and time.monotonic() < deadline:
        time.sleep(0.01)
    monkeypatch.setattr(module, "WAIT", 30.0)
    assert "<img" in quick._repr_html_()


def test_files_that_are_gone_give_no_picture_and_no_error(tmp_path):
    write_recording(tmp_path / "r", frames=9, shape=(8, 8), neurons=1)
    session = cs.ImagingSession.open(tmp_path / "r")
    for file in (tmp_path / "r").glob("*.tif"):
        file.unlink()
    page = session._repr_html_()
    assert "<img" not in page
    assert "frames 9" in page


@pytest.mark.parametrize("value", [np.nan, np.inf, 7.0])
def test_images_of_one_value_or_none(value):
    movie = cs.from_numpy(np.full((3, 4, 5), value), frame_rate=1)
    assert len(np.unique(picture_in(session_of(movie)._repr_html_()))) == 1


def test_texts_from_outside_are_escaped():
    movie = movie_of().assign_attrs(date=HOSTILE, objective=HOSTILE, long_name=HOSTILE)
    movie = movie.expand_dims(channel=[HOSTILE, "Ch2"], axis=1)
    session = session_of(movie, source=HOSTILE)
    traces = cs.from_numpy(np.ones((2, 5)), frame_rate=10)
    name = HOSTILE.replace("/", "")  # which trees do not take
    page = session.assign(traces=traces, **{name: traces})._repr_html_()
    assert "<script>window" not in page
    assert "<img src=x" not in page
    assert page.count("&lt;script&gt;window.hacked=1&lt;/script&gt;") >= 4
    assert page.count("<img") == 1


def test_attributes_that_make_no_sense_do_not_hide_the_rest():
    movie = movie_of().assign_coords(y=("y", np.arange(8.0)), x=("x", np.arange(12.0)))
    for dim in ("y", "x"):
        movie[dim].attrs = {"units": "um", "pixel_size": "wide"}
    movie = movie.assign_attrs(date="x" * 10**6)
    facts = session_facts(session_of(movie).tree)
    assert facts["pixel size"].startswith("not known (ValueError: ")
    assert facts["recorded"] == "10 frames/s for 0.5 s"
    assert len(facts["date"]) < 500
    assert "not known" in session_text(session_of(movie).tree)


def test_empty_sessions_and_sessions_without_a_movie():
    assert "no groups yet" in session_html(xr.DataTree())
    traces = cs.from_numpy(np.ones((2, 5)), frame_rate=10)
    page = cs.ImagingSession(xr.DataTree()).assign(traces=traces)._repr_html_()
    assert "traces (neuron 2, time 5; in memory)" in page
    assert "<img" not in page


def test_card_does_not_set_colours_that_dark_pages_lack():
    page = session_of(movie_of())._repr_html_()
    card = page[: page.index("<details")]
    colours = set(re.findall(r"(?<![-\w])(?:color|background[-\w]*):([^;']*)", card))
    assert colours == set()
