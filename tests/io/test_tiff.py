"""TIFF files open lazily, hold what was written, and never lose pages in silence."""

import os
import pickle
import struct
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import dask
import numpy as np
import pytest
import tifffile
from dask.base import tokenize

from calscipy import model
from calscipy.errors import (
    ArgumentError,
    CalscipyWarning,
    DamagedRecordingWarning,
    FrameError,
    RecordingError,
)
from calscipy.io import tiff, tiff_array
from calscipy.io.tiff import open_tiff

SHAPE = (24, 40)
SAMPLES = Path(__file__).resolve().parents[3] / "shared" / "data" / "prairieview"


def images(count, shape=SHAPE, dtype="uint16", seed=0):
    values = np.random.default_rng(seed).integers(0, 255, (count, *shape))
    return values.astype(dtype) + np.arange(count).astype(dtype)[:, None, None]


def movie(path, **options):
    options.setdefault("frame_rate", 10.0)
    return open_tiff(path, **options)[model.MOVIE][model.MOVIE]


def write(path, data, **options):
    # tifffile takes a stack of three or four for RGB unless it is told.
    tifffile.imwrite(path, data, **{"photometric": "minisblack"} | options)


def write_folder(folder, count, **options):
    folder.mkdir(exist_ok=True)
    data = images(count)
    for number, image in enumerate(data, 1):
        write(folder / f"img{number}.tif", image, **options)
    return data


def first_next(path):
    """Where the offset of the second directory stands in a classic little-endian file."""
    with path.open("rb") as stream:
        (at,) = struct.unpack("<4xI", stream.read(8))
        stream.seek(at)
        return at + 2 + 12 * struct.unpack("<H", stream.read(2))[0]


def patch(path, at, data):
    with path.open("r+b") as stream:
        stream.seek(at)
        stream.write(data)


def cut(path, part):
    os.truncate(path, int(path.stat().st_size * part))


_opened: list[str] | None = None


def _watch(event, arguments):
    if event == "open" and _opened is not None:
        _opened.append(str(arguments[0]))


sys.addaudithook(_watch)


@pytest.fixture
def opened():
    """Names of the TIFF files that are opened."""
    global _opened
    _opened = []
    yield lambda: [name for name in _opened if name.lower().endswith((".tif", ".tiff"))]
    _opened = None


KINDS = {
    "plain": {},
    "big": {"bigtiff": True},
    "zlib": {"compression": "zlib"},
    "zlib strips": {"compression": "zlib", "rowsperstrip": 5, "predictor": True},
    "tiles": {"tile": (16, 16)},
    "big-endian": {"byteorder": ">"},
    "big-endian big": {"byteorder": ">", "bigtiff": True},
    "imagej": {"imagej": True},
    "ome": {"ome": True},
    "no description": {"metadata": None},
    "one directory": {"metadata": {"axes": "TYX"}, "truncate": True},
}


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_file_holds_what_was_written(tmp_path, kind):
    data = images(7)
    write(tmp_path / "a.tif", data, **KINDS[kind])
    found = movie(tmp_path / "a.tif")
    assert found.dims == ("frames", "y", "x")
    assert found.dtype == np.uint16
    assert found.dtype.isnative
    np.testing.assert_array_equal(found.values, data)
    np.testing.assert_array_equal(found[2:9:3, 3:10, ::-2].values, data[2:9:3, 3:10, ::-2])
    np.testing.assert_array_equal(found[-1, 5].values, data[-1, 5])
    np.testing.assert_array_equal(found[[4, 1], :, 3].values, data[[4, 1], :, 3])
    assert found[3:3].values.shape == (0, *SHAPE)


@pytest.mark.parametrize(
    "dtype",
    ["uint8", "int8", "int16", "uint32", "int64", "uint64", "float16", "float32", "float64"],
)
@pytest.mark.parametrize("byteorder", ["<", ">"])
def test_every_type(tmp_path, dtype, byteorder):
    data = images(3, dtype=dtype)
    write(tmp_path / "a.tif", data, byteorder=byteorder)
    found = movie(tmp_path / "a.tif")
    assert found.dtype == dtype
    np.testing.assert_array_equal(found.values, data)


def test_labels(tmp_path):
    write(tmp_path / "a.tif", images(5))
    tree = open_tiff(tmp_path / "a.tif", frame_rate=20, microns_per_pixel=(0.5, 2))
    assert tree.attrs == {model.SCHEMA_ATTR: model.SCHEMA_VERSION, "source": "a.tif"}
    found = tree[model.MOVIE][model.MOVIE]
    assert found.attrs == {"units": "count", "long_name": "fluorescence", "source": "a.tif"}
    np.testing.assert_allclose(found.time.values, np.arange(5) / 20, rtol=1e-15)
    assert found.time.attrs == {"units": "s", "long_name": "time since the first frame"}
    assert (found.y.attrs["units"], float(found.y[2]), float(found.x[2])) == ("um", 1.0, 4.0)
    assert found.valid.values.all()
    assert found.valid.dims == ("frames",)
    assert "channel" not in found.coords
    assert found.encoding["preferred_chunks"] == {"frames": 5, "y": 24, "x": 40}
    assert movie(tmp_path / "a.tif", microns_per_pixel=2).x.values[3] == 6
    assert movie(tmp_path / "a.tif").y.attrs["units"] == "1"
    assert str(movie(tmp_path / "a.tif", channels=["GCaMP"]).channel.values) == "GCaMP"
    assert str(movie(tmp_path / "a.tif", channels="GCaMP").channel.values) == "GCaMP"


def test_pages_run_through_channels_then_planes_then_frames(tmp_path):
    data = images(4 * 3 * 2)
    write(tmp_path / "a.tif", data)
    found = movie(tmp_path / "a.tif", channels=("red", "green"), planes=3)
    assert found.dims == ("frames", "channel", "plane", "y", "x")
    assert found.shape == (4, 2, 3, *SHAPE)
    assert found.valid.dims == ("frames", "channel", "plane")
    assert found.channel.values.tolist() == ["red", "green"]
    assert found.plane.values.tolist() == [0, 1, 2]
    for frame, channel, plane in np.ndindex(4, 2, 3):
        expected = data[frame * 6 + plane * 2 + channel]
        np.testing.assert_array_equal(found[frame, channel, plane].values, expected)
    np.testing.assert_array_equal(found.values[3, 1], data[[19, 21, 23]])
    np.testing.assert_array_equal(found[1:, 1, [2, 0]].values, found.values[1:, 1, [2, 0]])
    volumes = movie(tmp_path / "a.tif", planes=4)
    assert volumes.dims == ("frames", "plane", "y", "x")
    np.testing.assert_array_equal(volumes.values, data.reshape(6, 4, *SHAPE))
    channels = movie(tmp_path / "a.tif", channels=2)
    assert channels.channel.values.tolist() == ["Ch1", "Ch2"]
    np.testing.assert_array_equal(channels.values, data.reshape(12, 2, *SHAPE))
    assert channels.encoding["preferred_chunks"]["channel"] == 1


@pytest.mark.parametrize(("channels", "planes", "left"), [(2, None, 1), (None, 4, 3), (5, 3, 7)])
def test_left_over_pages_are_an_error(tmp_path, channels, planes, left):
    write(tmp_path / "a.tif", images(7))
    message = f"7 pages are not a multiple of .*: {left} pages? (is|are) left over"
    with pytest.raises(ArgumentError, match=message):
        movie(tmp_path / "a.tif", channels=channels, planes=planes)


def test_folder_in_natural_order(tmp_path):
    data = write_folder(tmp_path / "f", 12)
    (tmp_path / "f" / "img2.tif").rename(tmp_path / "f" / "IMG2.TIFF")
    (tmp_path / "f" / "._img3.tif").write_bytes(b"left by a Mac")
    (tmp_path / "f" / "notes.txt").write_text("no image")
    found = movie(tmp_path / "f")
    np.testing.assert_array_equal(found.values, data)
    assert found.attrs["source"] == "f"
    interleaved = movie(tmp_path / "f", channels=2)
    np.testing.assert_array_equal(interleaved.values, data.reshape(6, 2, *SHAPE))


def test_folder_of_files_with_many_pages(tmp_path):
    data = images(20)
    for number, part in enumerate((data[:9], data[9:19], data[19:])):
        write(tmp_path / f"part_{number + 9}.tif", part, bigtiff=number == 1)
    found = movie(tmp_path)
    np.testing.assert_array_equal(found.values, data)
    np.testing.assert_array_equal(found[7:11].values, data[7:11])
    np.testing.assert_array_equal(
        movie(tmp_path, channels=2, planes=5).values,
        data.reshape(2, 5, 2, *SHAPE).swapaxes(1, 2),
    )


def test_a_folder_of_one_page_files_opens_at_most_two(tmp_path, opened):
    data = write_folder(tmp_path / "f", 500)
    before = len(opened())
    found = movie(tmp_path / "f")
    assert len(opened()) - before <= 2
    chunked = found.chunk({"frames": 50})
    assert len(opened()) - before <= 2
    np.testing.assert_array_equal(chunked[-3:].values, data[-3:])
    assert len(opened()) - before <= 5


def test_opening_reads_no_pixels_and_keeps_no_file(tmp_path, opened):
    write(tmp_path / "a.tif", images(50))
    before = len(opened())
    found = movie(tmp_path / "a.tif")
    assert len(opened()) == before + 1
    found[10:40].values  # noqa: B018 - one open for one read
    assert len(opened()) == before + 2
    (tmp_path / "a.tif").rename(tmp_path / "b.tif")
    with pytest.raises(FrameError, match=r"a\.tif: page 1 cannot be read"):
        found[0].values  # noqa: B018


def lazy(array):
    while not isinstance(array, tiff.TiffArray):
        array = array.array
    return array


@pytest.mark.parametrize("kind", ["file", "folder"])
def test_the_lazy_array_pickles(tmp_path, kind):
    data = write_folder(tmp_path / "f", 4)
    write(tmp_path / "a.tif", data)
    array = lazy(movie(tmp_path / {"file": "a.tif", "folder": "f"}[kind]).variable._data)
    dumped = pickle.dumps(array)
    assert len(dumped) < 3000
    again = pickle.loads(dumped)
    assert again.__dask_tokenize__() == array.__dask_tokenize__()
    np.testing.assert_array_equal(again._read((slice(None),) * 3), data)
    found = movie(tmp_path / "a.tif").chunk({"frames": 2})
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(found)).values, data)


def test_the_token_follows_the_files(tmp_path):
    write_folder(tmp_path / "f", 3)

    def token(**options):
        return tokenize(movie(tmp_path / "f", **options).chunk().data)

    first = token()
    assert token() == first
    assert token(channels=3) != first
    os.utime(tmp_path / "f" / "img2.tif", ns=(1, 1))
    assert token() != first


def test_threads(tmp_path):
    data = images(40)
    write(tmp_path / "a.tif", data, compression="zlib")
    found = movie(tmp_path / "a.tif").chunk({"frames": 3})
    with dask.config.set(scheduler="threads", pool=ThreadPoolExecutor(4)):
        np.testing.assert_array_equal(found.values, data)


def test_without_positional_reads(tmp_path, monkeypatch):
    monkeypatch.delattr(os, "pread", raising=False)
    monkeypatch.delattr(os, "preadv", raising=False)
    data = images(3)
    for number, options in enumerate(KINDS.values()):
        write(tmp_path / f"{number}.tif", data, **options)
        np.testing.assert_array_equal(movie(tmp_path / f"{number}.tif").values, data)


# What the files say themselves


def write_imagej(path, frames=3, **metadata):
    data = images(frames * 2)
    write(
        path,
        data.reshape(frames, 2, *SHAPE),
        imagej=True,
        resolution=(2, 4),
        metadata={"axes": "TCYX", **metadata},
    )
    return data.reshape(frames, 2, *SHAPE)


def test_imagej_hyperstack(tmp_path):
    data = write_imagej(tmp_path / "a.tif", finterval=0.25, fps=7.0, unit="micron")
    found = movie(tmp_path / "a.tif", frame_rate=None)
    assert found.dims == ("frames", "channel", "y", "x")
    np.testing.assert_array_equal(found.values, data)
    assert found.attrs["frame_rate_source"] == "ImageJ metadata"
    assert model.frame_rate(found) == pytest.approx(4, rel=1e-12)
    assert (float(found.y[1]), float(found.x[1])) == (0.25, 0.5)
    with pytest.warns(CalscipyWarning) as seen:
        given = movie(tmp_path / "a.tif", frame_rate=5, channels=1, microns_per_pixel=3)
    messages = [str(one.message) for one in seen]
    assert len(messages) == 2  # the rate is that of other frames
    assert "state channels=2 and planes=1, but channels=1 was given" in messages[0]
    assert "pixels of 0.25 x 0.5 um" in messages[1]
    assert "microns_per_pixel=3 x 3 was given" in messages[1]
    assert given.sizes["frames"] == 6
    assert "frame_rate_source" not in given.attrs
    assert (float(given.time[1]), float(given.x[1])) == (0.2, 3)


@pytest.mark.parametrize(
    ("metadata", "rate"),
    [({"fps": 8.0}, 8), ({"finterval": 50, "tunit": "ms"}, 20), ({"finterval": 0.5}, 2)],
)
def test_imagej_frame_rate(tmp_path, metadata, rate):
    write_imagej(tmp_path / "a.tif", **metadata)
    assert model.frame_rate(movie(tmp_path / "a.tif", frame_rate=None)) == pytest.approx(rate)


@pytest.mark.parametrize("metadata", [{}, {"finterval": 0}, {"finterval": 2, "tunit": "fortnight"}])
def test_no_frame_rate_is_an_error(tmp_path, metadata):
    write_imagej(tmp_path / "a.tif", unit="inch", **metadata)
    with pytest.raises(ArgumentError, match=r"a\.tif: .*Give it in Hz .*frame_rate=\.\.\."):
        movie(tmp_path / "a.tif", frame_rate=None)
    assert movie(tmp_path / "a.tif").y.attrs["units"] == "1"


def one_directory(path):
    """Leave only the first directory, as ImageJ does past 4 GB."""
    patch(path, first_next(path), bytes(4))


def test_imagej_stack_with_one_directory(tmp_path):
    data = write_imagej(tmp_path / "a.tif", frames=4)
    one_directory(tmp_path / "a.tif")
    with tifffile.TiffFile(tmp_path / "a.tif") as file:
        assert len(file.pages) == 1
    found = movie(tmp_path / "a.tif")
    np.testing.assert_array_equal(found.values, data)
    np.testing.assert_array_equal(found[::2, 1, 4:6].values, data[::2, 1, 4:6])


def test_metamorph_stack(tmp_path):
    data = images(5)
    planes = [(33629, 5, 5, (1, 1) * 5, True)]  # UIC2: its count is that of the planes
    write(tmp_path / "a.stk.tif", data[0], metadata=None, extratags=planes)
    with tifffile.TiffFile(tmp_path / "a.stk.tif") as file:
        (start,) = file.pages[0].dataoffsets
    patch(tmp_path / "a.stk.tif", start, data.tobytes())
    np.testing.assert_array_equal(movie(tmp_path / "a.stk.tif").values, data)
    cut(tmp_path / "a.stk.tif", 0.7)
    with pytest.raises(FrameError, match="expected 5 pages, 3 are complete"):
        movie(tmp_path / "a.stk.tif")


def test_paths_hold_when_the_working_directory_changes(tmp_path, monkeypatch):
    data = images(2)
    write(tmp_path / "a.tif", data)
    monkeypatch.chdir(tmp_path)
    found = movie(Path("a.tif"))
    monkeypatch.chdir(tmp_path.parent)
    np.testing.assert_array_equal(found.values, data)


def test_slices_of_imagej_are_frames_unless_there_are_frames_too(tmp_path):
    data = images(6)
    write(tmp_path / "z.tif", data, imagej=True, metadata={"axes": "ZYX"})
    assert movie(tmp_path / "z.tif").shape == data.shape
    write(tmp_path / "c.tif", data, imagej=True)  # tifffile calls them channels then
    assert movie(tmp_path / "c.tif").shape == data.shape
    volumes = data.reshape(3, 2, *SHAPE)
    write(tmp_path / "tz.tif", volumes, imagej=True, metadata={"axes": "TZYX"})
    assert movie(tmp_path / "tz.tif").dims == ("frames", "plane", "y", "x")
    np.testing.assert_array_equal(movie(tmp_path / "tz.tif").values, volumes)


@pytest.mark.parametrize("order", ["czt", "ctz", "zct", "ztc", "tcz", "tzc"])
def test_every_order_of_imagej(tmp_path, order):
    sizes = {"c": 2, "z": 3, "t": 4}
    shape = [sizes[dim] for dim in reversed(order)]
    data = images(24).reshape(*shape, *SHAPE)
    text = (
        f"ImageJ=1.54\nimages=24\nchannels=2\nslices=3\nframes=4\nhyperstack=true\norder={order}\n"
    )
    write(tmp_path / "a.tif", images(24), description=text, metadata=None)
    found = movie(tmp_path / "a.tif")
    axes = [tuple(reversed(order)).index(dim) for dim in "tcz"]
    np.testing.assert_array_equal(found.values, data.transpose(*axes, 3, 4))


def test_imagej_that_contradicts_its_pages(tmp_path):
    text = "ImageJ=1.54\nimages=6\nchannels=2\nframes=4\nhyperstack=true\n"
    write(tmp_path / "a.tif", images(6), description=text, metadata=None)
    message = "ImageJ metadata of a.tif state 2 channels x 1 planes x 4 frames, the file holds 6"
    with pytest.raises(RecordingError, match=message):
        movie(tmp_path / "a.tif")
    with pytest.warns(CalscipyWarning, match=message):
        assert movie(tmp_path / "a.tif", channels=2).shape == (3, 2, *SHAPE)


def test_imagej_z(tmp_path):
    metadata = {"axes": "TZYX", "spacing": 2.5, "unit": "um", "finterval": 0.5}
    write(tmp_path / "a.tif", images(6).reshape(2, 3, *SHAPE), imagej=True, metadata=metadata)
    found = movie(tmp_path / "a.tif", frame_rate=None)
    assert found.z.values.tolist() == [0, 2.5, 5]
    assert found.z.attrs["units"] == "um"
    assert movie(tmp_path / "a.tif", frame_rate=2, planes=3).identical(
        found.drop_attrs(deep=False).assign_attrs(
            {k: v for k, v in found.attrs.items() if k != "frame_rate_source"}
        )
    )


# PrairieView's images without their XML


def write_prairieview(folder, channels=(2,), frames=3):
    folder.mkdir()
    data = images(frames * 2)
    for at, image in enumerate(data):
        for channel in channels:
            cycle, frame = divmod(at, frames)
            name = f"T-001_Cycle{cycle + 1:05d}_Ch{channel}_{frame + 1:06d}.ome.tif"
            write(folder / name, image)
    return data


def test_prairieview_images_without_xml(tmp_path):
    data = write_prairieview(tmp_path / "T-001")
    with pytest.raises(
        RecordingError, match=r"master XML is not in this folder\. Copy it.*frame_rate="
    ):
        movie(tmp_path / "T-001", frame_rate=None)
    found = movie(tmp_path / "T-001")
    np.testing.assert_array_equal(found.values, data)
    assert str(found.channel.values) == "Ch2"
    assert str(movie(tmp_path / "T-001", channels=["GCaMP"]).channel.values) == "GCaMP"


@pytest.mark.parametrize("frame_rate", [None, 30])
def test_prairieview_images_of_two_channels_are_refused(tmp_path, frame_rate):
    write_prairieview(tmp_path / "T-001", channels=(1, 2))
    message = "channels Ch1, Ch2; one channel was expected.*folder of their own"
    with pytest.raises(RecordingError, match=message):
        movie(tmp_path / "T-001", frame_rate=frame_rate)


@pytest.mark.skipif(not SAMPLES.is_dir(), reason="needs the real samples")
def test_real_prairieview_image():
    path = next(SAMPLES.glob("calscipy/EM*/*_Ch2_000002.ome.tif"))
    found = movie(path)
    assert found.shape == (1, 512, 512)
    plain = np.fromfile(path, "<u2", 512 * 512, offset=8).reshape(512, 512)
    np.testing.assert_array_equal(found[0].values, plain)


# Damage


def test_single_files_that_are_no_tiff(tmp_path):
    path = tmp_path / "a.tif"
    for content in (
        b"",
        b"II",
        b"II*\0\x08\0\0\0",
        b"not a tiff at all, but long enough",
        b"II+\0",
    ):
        path.write_bytes(content)
        with pytest.raises(FrameError, match=r"a\.tif: expected a TIFF file .*Copy the file again"):
            movie(path)
    with pytest.raises(RecordingError, match="no such file or folder"):
        movie(tmp_path / "b.tif")
    (tmp_path / "empty").mkdir()
    with pytest.raises(RecordingError, match=r"no files ending in \.tif or \.tiff"):
        movie(tmp_path / "empty")


@pytest.mark.parametrize("bigtiff", [False, True])
def test_one_page_cut_in_the_pixels(tmp_path, bigtiff):
    write(tmp_path / "a.tif", images(1)[0], bigtiff=bigtiff)
    cut(tmp_path / "a.tif", 0.7)
    with pytest.raises(FrameError, match=r"expected 1 pages?, 0 are complete"):
        movie(tmp_path / "a.tif")
    cut(tmp_path / "a.tif", 0.05)
    with pytest.raises(FrameError, match=r"a\.tif: "):
        movie(tmp_path / "a.tif")


@pytest.mark.parametrize("kind", KINDS)
def test_many_pages_cut_at_two_thirds(tmp_path, kind):
    write(tmp_path / "a.tif", images(6), **KINDS[kind])
    cut(tmp_path / "a.tif", 2 / 3)
    # The metadata of OME files stand at their end, behind all pixels.
    counted = "" if kind == "ome" else r", \d are complete.*"
    with pytest.raises(FrameError, match=rf"a\.tif: the file is cut short.*{counted}Copy"):
        movie(tmp_path / "a.tif")


def test_the_complete_pages_are_counted(tmp_path):
    with tifffile.TiffWriter(tmp_path / "a.tif") as writer:
        for image in images(6):
            writer.write(image, contiguous=False, metadata=None)
    whole = (tmp_path / "a.tif").read_bytes()
    for size, complete in ((len(whole) - 100, 5), (len(whole) * 2 // 3, 3), (500, 0)):
        (tmp_path / "a.tif").write_bytes(whole[:size])
        with pytest.raises(FrameError, match=f" {complete} are complete"):
            movie(tmp_path / "a.tif")


def test_an_imagej_stack_that_lacks_images(tmp_path):
    write_imagej(tmp_path / "a.tif", frames=4)
    one_directory(tmp_path / "a.tif")
    cut(tmp_path / "a.tif", 0.6)
    with pytest.raises(FrameError, match="expected 8 pages, 5 are complete"):
        movie(tmp_path / "a.tif")
    write_imagej(tmp_path / "b.tif", frames=4)
    with tifffile.TiffFile(tmp_path / "b.tif") as file:
        third = file.pages[2].offset
        tags = len(file.pages[2].tags)
    patch(tmp_path / "b.tif", third + 2 + 12 * tags, bytes(4))
    with pytest.raises(FrameError, match=r"expected 8 pages.*only 3 have a directory"):
        movie(tmp_path / "b.tif")


def test_directories_that_run_in_a_circle(tmp_path):
    write(tmp_path / "a.tif", images(3), metadata=None)
    patch(tmp_path / "a.tif", first_next(tmp_path / "a.tif"), struct.pack("<I", 8))
    with pytest.raises(FrameError, match="page 2 is one that came before"):
        movie(tmp_path / "a.tif")


def test_damaged_one_page_files_are_masked(tmp_path):
    data = write_folder(tmp_path / "f", 6)
    (tmp_path / "f" / "img1.tif").write_bytes(b"")
    cut(tmp_path / "f" / "img4.tif", 0.5)
    with pytest.warns(
        DamagedRecordingWarning, match=r"2 of 6 files .*img1\.tif, img4\.tif"
    ) as seen:
        found = movie(tmp_path / "f", planes=2)
    assert len(seen) == 1
    assert seen[0].filename == __file__
    assert found.valid.values.tolist() == [[False, True], [True, False], [True, True]]
    data[[0, 3]] = 0
    np.testing.assert_array_equal(found.values, data.reshape(3, 2, *SHAPE))
    for file in (tmp_path / "f").iterdir():
        file.write_bytes(b"")
    with pytest.raises(FrameError, match=r"img1\.tif: .*the file is empty"):
        movie(tmp_path / "f")


@pytest.mark.parametrize(
    ("other", "found"),
    [
        (images(1, (40, 40))[0], "found 40 x 40 pixels of uint16"),
        (images(1, dtype="float32")[0], "found 24 x 40 pixels of float32"),
        (images(2), "it has 2 pages, the first file of the folder has one"),
        (None, "it says that it holds more images, the first file does not"),
    ],
)
def test_one_page_files_that_differ_fail_when_they_are_read(tmp_path, other, found):
    data = write_folder(tmp_path / "f", 4)
    if other is None:
        write(tmp_path / "f" / "img3.tif", images(2), **KINDS["one directory"])
    else:
        write(tmp_path / "f" / "img3.tif", other)
    lazy_movie = movie(tmp_path / "f")
    np.testing.assert_array_equal(lazy_movie[:2].values, data[:2])
    message = rf"img3\.tif: .*expected 24 x 40 pixels of uint16: {found}\. Copy .*own"
    with pytest.raises(FrameError, match=message):
        lazy_movie.values  # noqa: B018


def test_damage_that_shows_when_a_page_is_read(tmp_path):
    write_folder(tmp_path / "f", 3, compression="zlib")
    cut(tmp_path / "f" / "img2.tif", 0.8)
    with pytest.raises(FrameError, match=r"img2\.tif: page 1 cannot be read"):
        movie(tmp_path / "f").values  # noqa: B018
    (tmp_path / "f" / "img2.tif").unlink()
    found = movie(tmp_path / "f")
    (tmp_path / "f" / "img3.tif").unlink()
    with pytest.raises(FrameError, match=r"img3\.tif: page 1 cannot be read"):
        found[1].values  # noqa: B018


def test_files_with_many_pages_are_checked_at_opening(tmp_path):
    for number in range(3):
        write(tmp_path / f"{number}.tif", images(4))
    (tmp_path / "0.tif").write_bytes(b"")
    with pytest.raises(FrameError, match=r"0\.tif: .*the file is empty"):
        movie(tmp_path)
    write(tmp_path / "0.tif", images(4))
    write(tmp_path / "2.tif", images(4, dtype="uint8"))
    with pytest.raises(
        RecordingError, match=r"2\.tif: expected .*uint16 as in 0\.tif, found .*uint8"
    ):
        movie(tmp_path)
    cut(tmp_path / "2.tif", 0.5)
    with pytest.raises(FrameError, match=r"2\.tif: the file is cut short"):
        movie(tmp_path)


def test_pages_that_differ_within_a_file(tmp_path):
    data = images(3)
    with tifffile.TiffWriter(tmp_path / "a.tif") as writer:
        for image in (data[0], data[1, :10], data[2]):
            writer.write(image, metadata=None)
    with pytest.raises(
        FrameError, match=r"page 2 cannot be read, expected 24 x 40 .*found 10 x 40"
    ):
        movie(tmp_path / "a.tif").values  # noqa: B018
    with tifffile.TiffWriter(tmp_path / "a.tif") as writer:
        for image in (data[0], data[1, :10]):
            writer.write(image, metadata=None)
    with pytest.raises(RecordingError, match="on all pages, the last has 10 x 40"):
        movie(tmp_path / "a.tif")


@pytest.mark.parametrize(
    ("data", "options", "message"),
    [
        (np.zeros((4, 8, 8, 3), "uint8"), {"photometric": "rgb"}, "expected grey images"),
        (np.zeros((3, 8, 8), "uint8"), {"photometric": "rgb"}, "expected grey images"),
        (
            np.zeros((8, 8), "uint8"),
            {"photometric": "palette", "colormap": np.zeros((3, 256), "uint16")},
            "expected grey images",
        ),
        (np.zeros((4, 8, 8), "complex64"), {}, "expected integers or floats"),
        (np.zeros((4, 8, 8), "bool"), {}, "expected integers or floats"),
        (
            np.zeros((2, 4, 16, 16), "uint8"),
            {"volumetric": True, "tile": (2, 16, 16)},
            "expected grey",
        ),
    ],
)
@pytest.mark.parametrize("folder", [False, True])
def test_images_that_are_no_movie_are_refused(tmp_path, data, options, message, folder):
    write(tmp_path / "a.tif", data, **options)
    if folder:
        write(tmp_path / "b.tif", images(1)[0])
    with pytest.raises(RecordingError, match=rf"a\.tif: {message}.*Save it"):
        movie(tmp_path if folder else tmp_path / "a.tif")


def test_images_too_large_to_be_true_are_refused(tmp_path):
    write(tmp_path / "a.tif", np.zeros((64, 64), "uint8"), compression="zlib")
    with tifffile.TiffFile(tmp_path / "a.tif") as file:
        places = [file.pages[0].tags[code].offset for code in (256, 257)]
    for place in places:
        patch(tmp_path / "a.tif", place + 2, struct.pack("<HII", 4, 1, 10**6))
    with pytest.raises(RecordingError, match="expected images of 1 to"):
        movie(tmp_path / "a.tif")


@pytest.mark.parametrize(
    "options",
    [
        {"frame_rate": 0},
        {"frame_rate": -1.0},
        {"frame_rate": float("nan")},
        {"frame_rate": "30"},
        {"channels": 0},
        {"channels": 1.5},
        {"channels": True},
        {"channels": []},
        {"channels": ["a", "a"]},
        {"channels": ["a", 2]},
        {"planes": 0},
        {"planes": 2.0},
        {"microns_per_pixel": 0},
        {"microns_per_pixel": (1, -1)},
        {"microns_per_pixel": (1, 1, 1)},
        {"microns_per_pixel": "1"},
    ],
    ids=str,
)
def test_arguments_out_of_range(tmp_path, options):
    write(tmp_path / "a.tif", images(4))
    with pytest.raises(ArgumentError, match=next(iter(options))):
        movie(tmp_path / "a.tif", **options)


def test_tifffile_stays_quiet(tmp_path, caplog):
    write(tmp_path / "a.tif", images(4))
    cut(tmp_path / "a.tif", 0.6)
    with pytest.raises(FrameError):
        movie(tmp_path / "a.tif")
    assert not caplog.records


@pytest.mark.parametrize("form", [{}, {"bigtiff": True}, {"byteorder": ">"}], ids=str)
def test_pages_stored_alike_are_parsed_once(tmp_path, monkeypatch, form):
    pages = np.random.default_rng(0).integers(0, 999, (9, 5, 6)).astype("u2")
    with tifffile.TiffWriter(tmp_path / "m.tif", **form) as file:
        for number, page in enumerate(pages):
            how = {"compression": "zlib"} if number == 4 else {}
            file.write(page, description="x" * 40 * number, metadata=None, contiguous=False, **how)
    parsed = []
    original = tiff_array.open_page
    monkeypatch.setattr(
        tiff_array, "open_page", lambda *given: parsed.append(given[-1]) or original(*given)
    )
    found = movie(tmp_path / "m.tif")
    np.testing.assert_array_equal(found.values, pages)
    assert parsed == [0, 4, 5]  # the first, the compressed one, and the one after it


def test_a_page_that_is_stored_alike_but_lies_beyond_the_end_is_damaged(tmp_path):
    pages = np.random.default_rng(0).integers(0, 999, (4, 5, 6)).astype("u2")
    with tifffile.TiffWriter(tmp_path / "m.tif") as file:
        for page in pages:
            file.write(page, photometric="minisblack", metadata=None, contiguous=False)
    with tifffile.TiffFile(tmp_path / "m.tif") as file:
        tag = file.pages[2].tags["StripOffsets"]
    with open(tmp_path / "m.tif", "r+b") as file:
        file.seek(tag.valueoffset)
        file.write((2**31).to_bytes(4, "little"))
    found = movie(tmp_path / "m.tif")
    np.testing.assert_array_equal(found[:2].values, pages[:2])
    with pytest.raises(FrameError, match="page 3 cannot be read"):
        found.values  # noqa: B018
