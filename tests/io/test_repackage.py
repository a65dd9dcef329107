"""A PrairieView folder as one BigTIFF stack."""

import tracemalloc
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
import tifffile

import calscipy as cs
from calscipy.errors import (
    ArgumentError,
    DamagedRecordingWarning,
    RecordingError,
    StoreError,
    TargetExistsError,
)
from calscipy.io.prairieview import repackage as module
from calscipy.io.prairieview.repackage import repackage
from calscipy.testing import write_recording

SAMPLES = Path(__file__).resolve().parents[3] / "shared" / "data" / "prairieview"
LINES = SAMPLES / "scanagator" / "LineScan-11182022-1250-763"
OME = "{http://www.openmicroscopy.org/Schemas/OME/2016-06}"


def record(folder, **options):
    made = {"frames": 12, "shape": (8, 12), "neurons": 1, "microns_per_pixel": (1.5, 0.75)}
    return write_recording(folder, **made | options)


def pixels_of(path):
    """The Pixels element of a file, and its root."""
    with tifffile.TiffFile(path) as file:
        assert file.is_bigtiff
        root = ElementTree.fromstring(file.ome_metadata)
    return root.find(f"{OME}Image/{OME}Pixels"), root.find(f"{OME}Image")


def pages(truth, channels, planes):
    return np.stack(
        [truth.frame(t, c, p) for t in range(truth.times.size) for p in planes for c in channels]
    )


@pytest.mark.parametrize(
    ("options", "chosen", "channels", "planes"),
    [
        ({}, {}, ["Ch2"], [0]),
        ({"channels": ("Ch1", "Ch2")}, {}, ["Ch1", "Ch2"], [0]),
        ({"channels": ("Red μ", "Green & <1>")}, {"channel": "Red μ"}, ["Red μ"], [0]),
        ({"channels": ("Ch1", "Ch2"), "planes": 3}, {}, ["Ch1", "Ch2"], [0, 1, 2]),
        ({"channels": ("Ch1", "Ch2"), "planes": 3, "bidirectional": True}, {"plane": 1},
         ["Ch1", "Ch2"], [1]),
        ({"planes": 3}, {"plane": 2, "channel": "Ch2"}, ["Ch2"], [2]),
        ({"pages_per_file": 5}, {}, ["Ch2"], [0]),
    ],
)  # fmt: skip
def test_the_stack_reads_back_equal(tmp_path, options, chosen, channels, planes):
    truth = record(tmp_path / "m", **options)
    out = tmp_path / "stack.tif"
    assert repackage(truth.folder, out, **chosen) == out
    expected = pages(truth, channels, planes)
    np.testing.assert_array_equal(tifffile.imread(out, key=range(len(expected))), expected)

    pixels, _ = pixels_of(out)
    sizes = [int(pixels.get(f"Size{dim}")) for dim in "TZCYX"]
    assert sizes == [12, len(planes), len(channels), 8, 12]
    assert pixels.get("DimensionOrder") == "XYCZT"
    assert [channel.get("Name") for channel in pixels.findall(f"{OME}Channel")] == channels
    original = cs.ImagingSession.open(truth.folder).movie
    rate = 1 / float(pixels.get("TimeIncrement"))
    assert pixels.get("TimeIncrementUnit") == "s"
    assert rate == pytest.approx(cs.frame_rate(original), rel=1e-12)

    movie = cs.ImagingSession.open(out, frame_rate=rate).movie  # by calscipy's own reader
    assert movie.dtype == original.dtype
    order = [dim for dim in ("frames", "plane", "channel", "y", "x") if dim in movie.dims]
    np.testing.assert_array_equal(movie.transpose(*order).values.reshape(expected.shape), expected)
    for dim in "yx":
        np.testing.assert_array_equal(movie[dim], original[dim])
        assert movie[dim].attrs["units"] == "um"
    if "planes" not in options:
        np.testing.assert_allclose(movie.time, original.time, atol=1e-9)


def test_times_that_a_step_does_not_tell_are_written(tmp_path):
    truth = record(tmp_path / "m", cycles=3)
    pixels, _ = pixels_of(repackage(truth.folder, tmp_path / "pause.tif"))
    times = [float(plane.get("DeltaT")) for plane in pixels.findall(f"{OME}Plane")]
    np.testing.assert_array_equal(times, cs.ImagingSession.open(truth.folder).movie.time)
    assert {plane.get("DeltaTUnit") for plane in pixels.findall(f"{OME}Plane")} == {"s"}

    truth = record(tmp_path / "even")
    pixels, _ = pixels_of(repackage(truth.folder, tmp_path / "even.tif"))
    assert not pixels.findall(f"{OME}Plane")


def test_planes_keep_their_times_and_distance(tmp_path):
    truth = record(tmp_path / "m", planes=3, channels=("Ch1", "Ch2"), z_step=12.5, abort_after=1)
    with pytest.warns(DamagedRecordingWarning):
        out = repackage(truth.folder, tmp_path / "stack.tif")
    pixels, image = pixels_of(out)
    assert float(pixels.get("PhysicalSizeZ")) == pytest.approx(12.5)
    found = {}
    for plane in pixels.findall(f"{OME}Plane"):
        at = tuple(int(plane.get(f"The{dim}")) for dim in "TZC")
        found[at] = float(plane.get("DeltaT"))
    for (t, z, _), seconds in found.items():
        np.testing.assert_allclose(seconds, truth.plane_times.values[t, z], atol=1e-9)
    assert len(found) == 2 * truth.plane_times.size
    assert np.isnan(found[11, 2, 0])
    assert 'DeltaT="NaN"' in tifffile.tiffcomment(out)
    assert (
        "4 images are missing and 0: frames 11 plane 1 channel 0"
        in image.find(f"{OME}Description").text
    )


def test_missing_images_are_zero_and_said(tmp_path):
    truth = record(tmp_path / "m", missing=range(1, 12, 2))
    with pytest.warns(DamagedRecordingWarning):
        out = repackage(truth.folder, tmp_path / "stack.tif")
    _, image = pixels_of(out)
    text = image.find(f"{OME}Description").text
    assert "from m; PrairieView 5.6" in text
    assert "6 images are missing and 0: frames 1, frames 3," in text
    stack = tifffile.imread(out)
    assert not stack[1::2].any()
    np.testing.assert_array_equal(stack[::2], pages(truth, ["Ch2"], [0])[::2])
    with pytest.warns(DamagedRecordingWarning):
        date = cs.ImagingSession.open(truth.folder).movie.attrs["date"]
    assert image.find(f"{OME}AcquisitionDate").text == date


def test_any_number_of_blocks_is_written(tmp_path, monkeypatch):
    # F20: the original crashed at the end of every recording of more than one block, or of one
    truth = record(tmp_path / "m", frames=10)
    expected = pages(truth, ["Ch2"], [0])
    for step in (1, 3, 5, 9, 10, 11):
        monkeypatch.setattr(module, "frames_per_chunk", lambda *sizes, step=step: step)
        out = repackage(truth.folder, tmp_path / f"{step}.tif")
        np.testing.assert_array_equal(tifffile.imread(out), expected)


def test_one_frame_is_a_stack_too(tmp_path):
    truth = record(tmp_path / "m", frames=1)
    pixels, _ = pixels_of(repackage(truth.folder, tmp_path / "one.tif"))
    assert pixels.get("SizeT") == "1"
    assert pixels.get("TimeIncrement") is None


def test_memory_does_not_grow_with_the_recording(tmp_path):
    peaks = []
    with cs.set_options(chunk_bytes=2**16):
        for frames in (128, 512):
            truth = record(tmp_path / str(frames), frames=frames, shape=(32, 32))
            tracemalloc.start()
            repackage(truth.folder, tmp_path / f"{frames}.tif")
            peaks.append(tracemalloc.get_traced_memory()[1])
            tracemalloc.stop()
    more = (512 - 128) * 32 * 32 * 2
    assert peaks[1] - peaks[0] < more  # tables of frames grow, pixels do not


def test_nothing_is_written_over(tmp_path):
    truth = record(tmp_path / "m")
    out = tmp_path / "stack.tif"
    out.write_bytes(b"mine")
    with pytest.raises(TargetExistsError, match=r"exists already"):
        repackage(truth.folder, out)
    assert out.read_bytes() == b"mine"


@pytest.mark.parametrize("links", [True, False])
def test_what_appears_meanwhile_is_not_written_over(tmp_path, monkeypatch, links):
    truth = record(tmp_path / "m")
    out = tmp_path / "stack.tif"
    if not links:

        def refuse(*paths):
            raise OSError("no links here")

        monkeypatch.setattr(module.os, "link", refuse)
    assert repackage(truth.folder, tmp_path / "first.tif").is_file()
    real_pages = module._pages

    def slow(movie):
        yield from real_pages(movie)
        out.write_bytes(b"mine")

    monkeypatch.setattr(module, "_pages", slow)
    with pytest.raises(TargetExistsError):
        repackage(truth.folder, out)
    assert out.read_bytes() == b"mine"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["first.tif", "m", "stack.tif"]


@pytest.mark.parametrize(
    ("failure", "raised"),
    [(OSError("disk full"), StoreError), (KeyboardInterrupt(), KeyboardInterrupt)],
)
def test_failures_leave_nothing_behind(tmp_path, monkeypatch, failure, raised):
    truth = record(tmp_path / "m")

    def broken(movie):
        yield movie[0].values
        raise failure

    monkeypatch.setattr(module, "_pages", broken)
    with pytest.raises(raised, match="disk full" if raised is StoreError else None):
        repackage(truth.folder, tmp_path / "stack.tif")
    assert [path.name for path in tmp_path.iterdir()] == ["m"]


def test_a_frame_that_breaks_on_the_way_is_named(tmp_path):
    truth = record(tmp_path / "m", truncated=[4])
    with (
        pytest.warns(DamagedRecordingWarning),
        pytest.raises(ArgumentError, match=r"plane must be a whole number from 0 to 0, got 1"),
    ):
        repackage(truth.folder, tmp_path / "stack.tif", plane=1)
    file = sorted(truth.folder.glob("*.tif"))[7]
    file.write_bytes(b"\0" * file.stat().st_size)
    with (
        pytest.warns(DamagedRecordingWarning),
        pytest.raises(RecordingError, match=r"000008.ome.tif: the frame cannot be read"),
    ):
        repackage(truth.folder, tmp_path / "stack.tif")
    assert [path.name for path in tmp_path.iterdir()] == ["m"]


@pytest.mark.parametrize(
    ("out", "options", "message"),
    [
        ("stack", {}, r"out must be the name of one file ending in .tif or .tiff, got"),  # F34
        ("stack.tif", {"channel": "Ch1"}, r"channel must be one of \('Ch2',\), got 'Ch1'"),
        ("stack.tif", {"plane": True}, r"plane must be a whole number"),
        ("stack.tif", {"cycles": [9]}, r"no images in cycles 9"),
    ],
)
def test_wrong_arguments_say_what_is_right(tmp_path, out, options, message):
    truth = record(tmp_path / "m")
    with pytest.raises(ArgumentError, match=message):
        repackage(truth.folder, tmp_path / out, **options)
    assert [path.name for path in tmp_path.iterdir()] == ["m"]


def test_a_missing_folder_is_said(tmp_path):
    with pytest.raises(StoreError, match=r"there is no such folder to write into"):
        repackage(tmp_path, tmp_path / "no" / "stack.tif")
    with pytest.raises(RecordingError, match=r"there is no such folder or file"):
        repackage(tmp_path / "nowhere", tmp_path / "stack.tif")


@pytest.mark.skipif(not SAMPLES.is_dir(), reason="needs ../shared/data/prairieview")
def test_line_scans_are_no_movie(tmp_path):
    with pytest.raises(RecordingError, match=r"no frames to make a stack of, but .*linescan"):
        repackage(LINES, tmp_path / "stack.tif")
    assert not any(tmp_path.iterdir())
