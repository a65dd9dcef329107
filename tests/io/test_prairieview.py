"""PrairieView recordings: real files, volumes and layouts, the xarray engine, large recordings."""

import gzip
import importlib.metadata
import json
import os
import pickle
import random
import subprocess
import sys
import tarfile
from contextlib import contextmanager
from pathlib import Path
from xml.etree import ElementTree

import dask
import dask.base
import numpy as np
import psutil
import pytest
import tifffile
import xarray as xr

import calscipy as cs
from calscipy.errors import (
    ArgumentError,
    DamagedRecordingWarning,
)
from calscipy.io.prairieview import PrairieViewBackend, frames
from calscipy.io.prairieview.plain import read_all_plain
from calscipy.testing import encode_value, tiff_frame, write_frames, write_recording

SAMPLES = Path(__file__).resolve().parents[3] / "shared" / "data" / "prairieview"
TIMED = SAMPLES / "scanagator" / "TSeries-10232020-1129-1771" / "TSeries-10232020-1129-1771.xml"
VOLUMES = (
    SAMPLES / "scanagator" / "TSeries-03022023-1227-2098" / "TSeries-03022023-1227-2098.xml.gz"
)
FRAMES = SAMPLES / "calscipy" / "EM0121_PRE-001_frames002-021.tar.xz"

real = pytest.mark.skipif(not SAMPLES.is_dir(), reason="needs ../shared/data/prairieview")
pytestmark = pytest.mark.filterwarnings("ignore:divide by zero:RuntimeWarning:tifffile")


# What the recordings hold, found without calscipy


def parse(path):
    """Root of a master XML, read with the standard library alone."""
    with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as stream:
        return ElementTree.parse(stream).getroot()


@contextmanager
def editing(xml):
    """Change the elements of a master XML."""
    root = parse(xml)
    yield root
    ElementTree.ElementTree(root).write(xml, encoding="utf-8", xml_declaration=True)


def resolved(levels, key, index, subindex):
    """One number of the state: the innermost of Frame, Sequence and root that says it."""
    path = (
        f"PVStateShard/PVStateValue[@key='{key}']/SubindexedValues[@index='{index}']"
        f"/SubindexedValue[@subindex='{subindex}']"
    )
    return next(float(found.get("value")) for e in levels if (found := e.find(path)) is not None)


def written(truth):
    """Pixels of a recording as a movie of it has them: 0 where nothing was written."""
    planes = 1 if truth.z is None else truth.z.size
    pixels = np.stack(
        [
            [[truth.frame(t, c, p) for p in range(planes)] for c in sorted(truth.channels)]
            for t in range(truth.times.size)
        ]
    )
    present = truth.written.values.reshape(-1, 1, planes, 1, 1)
    return squeezed(np.where(present, pixels, 0))


def squeezed(pixels):
    """Leave out channels and planes of which there is one."""
    return pixels.squeeze(axis=tuple(axis for axis in (1, 2) if pixels.shape[axis] == 1))


def page(path):
    """First page of a TIFF file by tifffile."""
    with tifffile.TiffFile(path, is_ome=False) as file:
        return file.pages[0].asarray()


def movie_of(path, **options):
    return cs.ImagingSession.open(path, **options).movie


@pytest.fixture
def plain_only(monkeypatch):
    """Count the frames read by the fast path; the other one fails."""
    read = []
    fast = frames.read_plain

    def counted(path, *args):
        read.append(os.path.basename(path))
        return fast(path, *args)

    def refuse(self, path, *args):
        pytest.fail(f"tifffile was asked for {path}")

    monkeypatch.setattr(frames, "in_use", lambda: False)  # else all of a block are read at once
    monkeypatch.setattr(frames, "read_plain", counted)
    monkeypatch.setattr(frames._OpenFile, "page", refuse)
    return read


opens = []  # names of files that Python opens while a test looks
looking = False


def _audit(event, args):
    if looking and event == "open":
        opens.append(os.fspath(args[0]) if isinstance(args[0], str | os.PathLike) else "")


@pytest.fixture(scope="session")
def _hook():
    sys.addaudithook(_audit)


@pytest.fixture
def opened_tiffs(_hook):
    """Call to get the TIFF files that were opened since the test began."""
    global looking
    opens.clear()
    looking = True
    yield lambda: [name for name in opens if name.endswith(".tif")]
    looking = False


# A. Real recordings


def check_timed(movie, root, present):
    """Compare the plane series with its XML and the frames that were written for it."""
    listed = root.findall("Sequence/Frame")
    absolute = np.array([float(item.get("absoluteTime")) for item in listed])
    assert movie.dims == ("frames", "y", "x")
    assert movie.shape == (1378, 512, 512)
    assert movie.dtype == np.uint16
    np.testing.assert_allclose(movie.time, absolute - absolute[0], rtol=0, atol=1e-12)
    assert movie.time.attrs["units"] == "s"
    assert movie.channel.item() == "Ch2"
    assert movie.valid.values.nonzero()[0].tolist() == [index - 1 for index in present]
    for axis in (movie.y, movie.x):
        np.testing.assert_allclose(np.diff(axis), 0.589396781821029)
        assert axis.attrs["units"] == "um"
    wanted = {
        "objective": "40X LUMPlanFL/IR",
        "laser_power": [0.0, 100.0, 0.0],
        "laser_power_names": ["Mira", "Insight X3", "1040nm"],
        "prairieview_version": "5.4.64.700",
        "date": "2020-10-23T13:57:35",
        "units": "count",
    }
    assert {key: movie.attrs[key] for key in wanted} == wanted


@real
def test_real_plane_series_with_a_dozen_frames(tmp_path, plain_only):
    present = [1, 2, 3, 64, 65, 66, 700, 1000, 1001, 1376, 1377, 1378]
    assert write_frames(TIMED, tmp_path, only=lambda cycle, index, channel: index in present) == 12
    with pytest.warns(DamagedRecordingWarning, match="1366 of 1378 .*1366 missing") as got:
        movie = movie_of(tmp_path)
    assert len(got) == 1
    check_timed(movie, parse(TIMED), present)
    for index in present:
        wanted = encode_value((512, 512), frame=index, plane=1, channel=2)
        np.testing.assert_array_equal(movie[index - 1], wanted)
    assert not movie[10].values.any()
    assert set(plain_only) == {path.name for path in tmp_path.glob("*.tif")}


@real
@pytest.mark.long
def test_real_plane_series_whole(tmp_path, plain_only):
    assert write_frames(TIMED, tmp_path) == 1378
    movie = movie_of(tmp_path)
    check_timed(movie, parse(TIMED), range(1, 1379))
    for at in range(0, 1378, 53):
        block = movie[at : at + 53].values
        for index, image in enumerate(block, at + 1):
            wanted = encode_value((512, 512), frame=index, plane=1, channel=2)
            np.testing.assert_array_equal(image, wanted)
    assert len(plain_only) == 1378


@pytest.fixture(scope="module")
def aborted(tmp_path_factory):
    """The real aborted volume series with empty files of the right length: movie and root."""
    if not SAMPLES.is_dir():
        pytest.skip("needs ../shared/data/prairieview")
    folder = tmp_path_factory.mktemp("aborted")
    root = parse(VOLUMES)
    (folder / VOLUMES.name.removesuffix(".gz")).write_bytes(gzip.decompress(VOLUMES.read_bytes()))
    length = len(tiff_frame(np.zeros((256, 256), "uint16"), description=b""))
    for file in root.iter("File"):
        path = folder / file.get("filename")
        path.touch()
        os.truncate(path, length)  # sparse: takes no room on the disk
    with pytest.warns(DamagedRecordingWarning, match="32 of 3216 .*32 not acquired") as got:
        movie = movie_of(folder, chunks=None)
    assert len(got) == 1
    return movie, root


def test_real_aborted_volume_is_marked(aborted):
    movie, root = aborted
    assert movie.sizes == {"frames": 24, "channel": 2, "plane": 67, "y": 256, "x": 256}
    assert movie.channel.values.tolist() == ["Ch1", "Ch2"]
    counts = [len(cycle.findall("Frame")) for cycle in root.iter("Sequence")]
    assert counts == [67] * 23 + [51]
    wanted = np.arange(67) < np.array(counts)[:, None]
    np.testing.assert_array_equal(movie.valid, np.stack([wanted, wanted], axis=1))
    assert movie.cycle.values.tolist() == list(range(1, 25))
    assert set(movie.epoch.values) == {1}


def test_real_z_is_resolved_through_the_sequence(aborted):
    movie, root = aborted
    wanted = np.full((24, 67), np.nan)
    for t, cycle in enumerate(root.iter("Sequence")):
        for p, plane in enumerate(cycle.iter("Frame")):
            wanted[t, p] = resolved((plane, cycle, root), "positionCurrent", "ZAxis", "0")
    z = movie.z.broadcast_like(movie.isel(channel=0, y=0, x=0, drop=True))
    np.testing.assert_array_equal(z, np.where(np.isfinite(wanted), wanted, z))
    assert wanted[1, 66] == z[1, 66] == -85.075  # the Sequence's; the root says -75.925
    assert movie.z.attrs["units"] == "um"
    assert "PVFocusAssembly" in movie.z.attrs["long_name"]


def test_real_plane_times(aborted):
    movie, root = aborted
    listed = [
        [float(f.get("absoluteTime")) for f in c.iter("Frame")] for c in root.iter("Sequence")
    ]
    wanted = np.array([row + [np.nan] * (67 - len(row)) for row in listed]) - listed[0][0]
    np.testing.assert_allclose(movie.plane_time, wanted, rtol=0, atol=1e-9)
    np.testing.assert_allclose(movie.time, wanted[:, 0], rtol=0, atol=1e-9)


@real
@pytest.mark.parametrize("chunks", [None, "frames", {"y": 128}])
def test_real_frames_are_read_bit_exact_by_the_fast_path(tmp_path, plain_only, monkeypatch, chunks):
    with tarfile.open(FRAMES) as archive:
        archive.extractall(tmp_path, filter="data")
    folder = tmp_path / "EM0121_PRE-001"
    names = sorted(path.name for path in folder.glob("*.tif"))
    assert len(names) == 20
    rows = "".join(
        f'<Frame relativeTime="{i / 30}" absoluteTime="{i / 30}" index="{i + 1}">'
        f'<File channel="2" channelName="Ch2" filename="{name}" /></Frame>'
        for i, name in enumerate(names)
    )
    sizes = "".join(
        f'<PVStateValue key="{key}" value="512" />' for key in ("linesPerFrame", "pixelsPerLine")
    )
    (folder / "any.xml").write_text(
        f'<PVScan version="5.5.64.600"><PVStateShard>{sizes}</PVStateShard>'
        f'<Sequence type="TSeries Timed Element" cycle="1">{rows}</Sequence></PVScan>'
    )
    movie = movie_of(folder, chunks=chunks)
    assert movie.valid.all()
    np.testing.assert_array_equal(movie, np.stack([page(folder / name) for name in names]))
    assert movie.values.max() == 8191
    bands = chunks == {"y": 128}  # these read rows of a file whose header they check
    assert sorted(set(plain_only)) == ([] if bands else names)
    if frames.CAN_READ_ALL:
        plain_only.clear()
        monkeypatch.setattr(frames, "_LARGE_BYTES", 0)
        monkeypatch.setattr(frames, "in_use", lambda: True)
        np.testing.assert_array_equal(movie_of(folder, chunks=chunks), movie)
        assert not plain_only


# B. Layouts


TWO = {1: "Red", 2: "Green"}
LAYOUTS = {
    "plane series": {"frames": 9, "shape": (16, 12)},
    "two channels": {"frames": 5, "shape": (9, 14), "channels": TWO},
    "channel 3 alone": {"frames": 3, "shape": (8, 8), "channels": {3: "Ch3"}},
    "one row": {"frames": 3, "shape": (1, 5)},
    "few rows": {"frames": 3, "shape": (5, 7)},
    "one pixel": {"frames": 3, "shape": (1, 1)},
    "one frame": {"frames": 1, "shape": (8, 8)},
    "cycles": {"frames": 11, "shape": (17, 6), "cycles": 3},
    "volumes": {"frames": 4, "shape": (12, 7), "planes": 3},
    "volumes of two channels": {"frames": 3, "shape": (3, 11), "planes": 4, "channels": TWO},
    "bidirectional": {"frames": 5, "shape": (9, 6), "planes": 3, "bidirectional": True},
    "bidirectional of two channels": {
        "frames": 4,
        "shape": (8, 10),
        "planes": 2,
        "bidirectional": True,
        "channels": TWO,
    },
    "aborted": {"frames": 3, "shape": (8, 6), "planes": 4, "abort_after": 3},
    "aborted on the way back": {
        "frames": 4,
        "shape": (8, 6),
        "planes": 3,
        "abort_after": 1,
        "bidirectional": True,
    },
    "pages": {"frames": 11, "shape": (9, 7), "cycles": 2, "channels": TWO, "pages_per_file": 4},
    "pages of volumes": {
        "frames": 4,
        "shape": (8, 6),
        "planes": 3,
        "bidirectional": True,
        "pages_per_file": 5000,
    },
}


@pytest.fixture
def record(tmp_path):
    """Write a recording whose pixels say what they are."""

    def write(name="r", **options):
        return write_recording(tmp_path / name, encode=True, **options)

    return write


@pytest.fixture
def open_aborted():
    """Open a recording, which may warn that planes were not acquired."""

    def open_one(truth, **options):
        if truth.written.all():
            return movie_of(truth.folder, **options)
        with pytest.warns(DamagedRecordingWarning, match="not acquired"):
            return movie_of(truth.folder, **options)

    return open_one


@pytest.mark.usefixtures("loop")
@pytest.mark.parametrize("chunks", [None, "frames", "time", {"frames": 2, "y": 3}])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_image_is_where_it_belongs(record, open_aborted, layout, chunks):
    truth = record(**LAYOUTS[layout])
    movie = open_aborted(truth, chunks=chunks)
    assert (movie.chunks is None) == (chunks is None)
    np.testing.assert_array_equal(movie, written(truth))


@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_image_has_its_time_and_place(record, open_aborted, layout):
    truth = record(**LAYOUTS[layout])
    movie = open_aborted(truth)
    np.testing.assert_allclose(movie.time, truth.times, rtol=0, atol=1e-9)
    assert movie.channel.values.tolist() == (
        list(truth.channels.values()) if len(truth.channels) > 1 else truth.channels.popitem()[1]
    )
    if truth.z is None:
        np.testing.assert_array_equal(movie.cycle, movie.epoch)
    else:
        np.testing.assert_allclose(movie.plane_time, truth.plane_times, rtol=0, atol=1e-9)
        np.testing.assert_allclose(movie.z, truth.z)
        assert movie.plane.values.tolist() == list(range(truth.z.size))
        assert movie.cycle.values.tolist() == list(range(1, truth.times.size + 1))
        assert set(movie.epoch.values) == {1}
    valid = movie.valid.isel(channel=0) if "channel" in movie.dims else movie.valid
    np.testing.assert_array_equal(valid, truth.written)


def test_cycles_of_a_plane_series_are_joined(record):
    movie = movie_of(record(frames=11, shape=(8, 8), cycles=3).folder)
    wanted = [1] * 4 + [2] * 4 + [3] * 3
    assert movie.cycle.values.tolist() == movie.epoch.values.tolist() == wanted


@pytest.mark.parametrize("chunks", [None, "frames", {"frames": 2, "y": 5}])
@pytest.mark.parametrize(
    "selection",
    [
        {"plane": [2, 0]},
        {"plane": 1},
        {"plane": slice(None, None, -1), "frames": slice(1, 4, 2)},
        {"frames": [3, 0, 0], "channel": 1, "y": slice(2, 7), "x": slice(1, None, 2)},
        {"frames": -1, "plane": 3, "channel": 0, "y": 4, "x": 5},
        {"y": [8, 1], "x": [0]},
        {"frames": slice(0, 0)},
    ],
)
def test_selections_read_what_they_select(record, chunks, selection):
    truth = record(frames=4, shape=(9, 6), planes=4, channels=TWO, bidirectional=True)
    movie = movie_of(truth.folder, chunks=chunks).isel(selection)
    whole = xr.DataArray(written(truth), dims=("frames", "channel", "plane", "y", "x"))
    np.testing.assert_array_equal(movie, whole.isel(selection))


def test_pointwise_selection(record):
    truth = record(frames=4, shape=(9, 6), channels=TWO)
    along = {"frames": xr.DataArray([3, 1], dims="p"), "y": xr.DataArray([0, 8], dims="p")}
    whole = xr.DataArray(written(truth), dims=("frames", "channel", "y", "x"))
    got = movie_of(truth.folder, chunks=None).isel(along)
    xr.testing.assert_equal(got.drop_vars(got.coords), whole.isel(along))


@pytest.mark.parametrize("layout", ["two channels", "cycles", "bidirectional"])
def test_order_comes_from_the_xml_alone(record, monkeypatch, layout):
    truth = record(**LAYOUTS[layout])
    draw = random.Random(1)
    with editing(truth.xml) as root:
        for file in root.iter("File"):
            name = f"{draw.randrange(10**9):09d}.tif"
            (truth.folder / file.get("filename")).rename(truth.folder / name)
            file.set("filename", name)
    listed = os.scandir

    @contextmanager
    def shuffled(path):
        with listed(path) as entries:
            found = list(entries)
        draw.shuffle(found)
        yield iter(found)

    monkeypatch.setattr(os, "scandir", shuffled)
    np.testing.assert_array_equal(movie_of(truth.folder), written(truth))


def strip_positions(truth):
    with editing(truth.xml) as root:
        for level in [*root.iter("Sequence"), *root.iter("Frame")]:
            for state in level.findall("PVStateShard"):
                state.clear()


@pytest.mark.parametrize("cycles", [None, [2, 3], [2], [4, 1]])
@pytest.mark.parametrize("strip", [False, True], ids=["by Z", "by parity"])
def test_planes_of_bidirectional_volumes_agree(record, cycles, strip):
    truth = record(frames=5, shape=(9, 6), planes=3, bidirectional=True)
    if strip:
        strip_positions(truth)
    movie = movie_of(truth.folder, cycles=cycles)
    chosen = [cycle - 1 for cycle in sorted(cycles or range(1, 6))]
    np.testing.assert_array_equal(movie, written(truth)[chosen])
    plane_times = truth.plane_times.values[chosen]
    np.testing.assert_allclose(movie.plane_time, plane_times - plane_times.min(), atol=1e-9)


def test_selected_cycles_of_a_plane_series(record):
    truth = record(frames=11, shape=(8, 8), cycles=3)
    movie = movie_of(truth.folder, cycles=[3, 2])
    np.testing.assert_array_equal(movie, written(truth)[4:])
    np.testing.assert_allclose(movie.time, truth.times[4:] - truth.times[4], atol=1e-9)
    assert set(movie.cycle.values) == {2, 3}
    with pytest.raises(ArgumentError, match=r"r\.xml: no images in cycles 7; .* images: 1, 2, 3"):
        movie_of(truth.folder, cycles=[1, 7])


def test_selected_cycles_are_not_confused(record):
    truth = record(frames=6, shape=(8, 8), cycles=2)
    parts = [movie_of(truth.folder, cycles=[cycle], chunks={"frames": -1}) for cycle in (1, 2)]
    tokens = [dask.base.tokenize(lazy_array(truth.folder, cycles=[cycle])) for cycle in (1, 2, 1)]
    assert tokens[0] != tokens[1]
    assert tokens[0] == tokens[2]
    np.testing.assert_array_equal(xr.concat(parts, "frames"), written(truth))


def lazy_array(folder, **options):
    """The array of the backend below xarray's wrappers."""
    data = movie_of(folder, chunks=None, **options).variable._data
    while not isinstance(data, frames.FrameArray):
        data = data.array
    return data


REWRITES = {
    "deflate": {"compression": "zlib"},
    "lzw": {"compression": "lzw", "predictor": True},
    "big-endian": {"byteorder": ">"},
    "BigTIFF": {"bigtiff": True},
    "one strip": {"rowsperstrip": 1000},
    "tiles": {"tile": (16, 16)},
}


@pytest.mark.usefixtures("loop")
@pytest.mark.parametrize("chunks", [None, "frames", {"y": 16}])
@pytest.mark.parametrize("form", REWRITES)
def test_frames_of_another_form_are_read_by_tifffile(record, form, chunks):
    truth = record(frames=4, shape=(40, 24))
    for path in truth.folder.glob("*.tif"):
        pixels = page(path)
        tifffile.imwrite(path, pixels, photometric="minisblack", metadata=None, **REWRITES[form])
    movie = movie_of(truth.folder, chunks=chunks)
    assert movie.valid.all()
    np.testing.assert_array_equal(movie, written(truth))


def test_of_a_compressed_recording_one_file_is_opened(record, opened_tiffs):
    truth = record(frames=20, shape=(40, 24))
    for path in truth.folder.glob("*.tif"):
        tifffile.imwrite(path, page(path), metadata=None, compression="zlib")
    opens.clear()
    assert movie_of(truth.folder).valid.all()
    assert len(opened_tiffs()) <= 2  # one look for the plain layout, one by tifffile


@pytest.mark.parametrize("layout", ["plane series", "volumes of two channels"])
def test_fast_path_reads_every_file_once(record, plain_only, layout):
    truth = record(**LAYOUTS[layout])
    movie_of(truth.folder).values  # noqa: B018
    assert sorted(plain_only) == sorted(path.name for path in truth.folder.glob("*.tif"))


@pytest.mark.skipif(not frames.CAN_READ_ALL, reason="the system has no preadv")
def test_plain_frames_of_large_movies_are_read_by_the_compiled_loop(record, monkeypatch):
    truth = record(frames=20, shape=(40, 24), channels=TWO, missing=[3])
    monkeypatch.setattr(frames, "_LARGE_BYTES", 0)
    monkeypatch.setattr(frames, "in_use", lambda: True)
    monkeypatch.setattr(frames.FrameArray, "_read_plain", lambda *args: pytest.fail("one by one"))
    with pytest.warns(DamagedRecordingWarning, match="missing"):
        movie = movie_of(truth.folder, chunks={"frames": 3})
    with dask.config.set(scheduler="threads", num_workers=4):
        np.testing.assert_array_equal(movie, written(truth))


@pytest.mark.skipif(not frames.CAN_READ_ALL, reason="the system has no preadv")
def test_the_compiled_loop_reads_the_named_files_or_none(tmp_path):
    pixels = np.arange(40 * 24, dtype="uint16").reshape(40, 24)
    layout = frames.FrameLayout(*pixels.shape)
    names = ["a.tif", "ä ö.tif", "short.tif", "other.tif"]
    for name in names:
        (tmp_path / name).write_bytes(tiff_frame(pixels, description=b"<OME></OME>"))
    with open(tmp_path / "short.tif", "r+b") as file:
        file.truncate(layout.file_bytes - 1)
    tifffile.imwrite(tmp_path / "other.tif", pixels)
    asked = np.array([*(name.encode() for name in names), b"absent", b"", b"a.tif\0b", b"a.tif"])
    wanted = np.arange(len(asked)) != len(asked) - 1
    images = np.zeros((len(asked), 40, 24), "uint16")
    done = read_all_plain(str(tmp_path), asked, wanted, images, layout)
    assert done.tolist() == [True, True] + [False] * 6
    np.testing.assert_array_equal(images[:2], [pixels, pixels])
    assert not images[4:].any()
    assert not read_all_plain(str(tmp_path / "no"), asked, wanted, images, layout).any()


def test_bands_over_time_are_whole_frames_whose_headers_are_checked_once(record, monkeypatch):
    truth = record(frames=6, shape=(170, 10), channels=TWO)
    checked = []
    check = frames.check_plain
    monkeypatch.setattr(
        frames, "check_plain", lambda file, layout: [checked.append(1), check(file, layout)][1]
    )
    two_bands = 2 * 6 * 10 * 2 * 20  # a thread holds one and reads the next
    with dask.config.set(num_workers=1), cs.set_options(memory_limit=two_bands):
        movie = movie_of(truth.folder, chunks="time")
    assert dict(zip(movie.dims, movie.chunks, strict=True)) == {
        "frames": (6,),
        "channel": (1, 1),
        "y": (20,) * 8 + (10,),
        "x": (10,),
    }
    with dask.config.set(scheduler="sync"):
        np.testing.assert_array_equal(movie, written(truth))
    assert len(checked) == 12


def test_shape_is_that_of_the_first_file_where_the_xml_does_not_say(record, caplog):
    truth = record(frames=3, shape=(10, 6), missing=[0])
    with editing(truth.xml) as root:
        state = root.find("PVStateShard")
        for value in state.findall("*"):
            if value.get("key") in ("linesPerFrame", "pixelsPerLine"):
                state.remove(value)
    with pytest.warns(DamagedRecordingWarning, match="1 missing"):
        movie = movie_of(truth.folder)
    np.testing.assert_array_equal(movie, written(truth))
    assert not caplog.records


# C. The xarray engine


@pytest.fixture(params=["class", "guessed"])
def engine(request):
    names = importlib.metadata.entry_points(group="xarray.backends").names
    if request.param == "guessed" and "prairieview" not in names:
        pytest.skip("needs calscipy to be installed")
    return {"engine": PrairieViewBackend} if request.param == "class" else {}


@pytest.mark.parametrize("of", ["folder", "xml"])
def test_xarray_opens_recordings(record, engine, of):
    truth = record(frames=5, shape=(9, 6), channels=TWO)
    path = getattr(truth, of)
    with xr.open_datatree(path, **engine) as tree, xr.open_dataset(path, **engine) as dataset:
        for movie in (tree["movie/movie"], dataset["movie"]):
            assert movie.chunks is None
            np.testing.assert_array_equal(movie, written(truth))
        assert tree.attrs["source"] == "r"
        assert set(tree.children) == {"movie"}


def test_xarray_passes_its_options_on(record):
    truth = record(frames=8, shape=(9, 6), cycles=2)
    options = {"engine": PrairieViewBackend, "cycles": [2], "check": "headers"}
    with xr.open_dataset(truth.folder, chunks={}, drop_variables=["cycle"], **options) as dataset:
        assert dataset.movie.chunks == ((4,), (9,), (6,))
        assert "cycle" not in dataset.variables
        np.testing.assert_array_equal(dataset.movie, written(truth)[4:])
    groups = xr.open_groups(truth.folder, **options)
    assert {path: list(group) for path, group in groups.items()} == {"/": [], "/movie": ["movie"]}
    with pytest.raises(ArgumentError, match="check must be one of"):
        xr.open_dataset(truth.folder, engine=PrairieViewBackend, check="all")


@pytest.mark.parametrize(
    ("prepare", "wanted"),
    [
        pytest.param(lambda truth: truth.folder, True, id="folder"),
        pytest.param(lambda truth: str(truth.folder), True, id="text"),
        pytest.param(lambda truth: truth.xml, True, id="master XML"),
        pytest.param(lambda truth: truth.folder.parent, False, id="other folder"),
        pytest.param(lambda truth: truth.folder / "no.xml", False, id="no file"),
        pytest.param(lambda truth: next(truth.folder.glob("*.tif")), False, id="TIFF"),
        pytest.param(lambda truth: mark_points(truth.folder), False, id="MarkPoints XML"),
        pytest.param(lambda truth: zarr_store(truth.folder.parent / "a.zarr"), False, id="zarr"),
        pytest.param(lambda truth: "https://example.org/a.xml", False, id="URL"),
        pytest.param(lambda truth: "a\0b", False, id="NUL"),
        pytest.param(lambda truth: 5, False, id="number"),
        pytest.param(lambda truth: np.zeros(3), False, id="array"),
    ],
)
def test_guessing_opens_no_image(record, opened_tiffs, prepare, wanted):
    path = prepare(record(frames=3, shape=(8, 8)))
    opens.clear()
    assert PrairieViewBackend().guess_can_open(path) is wanted
    assert opened_tiffs() == []


def mark_points(folder):
    path = folder / "r_Cycle00001_MarkPoints.xml"
    path.write_text('<?xml version="1.0"?><PVMarkPointSeriesElements Iterations="1" />')
    return path


def zarr_store(path):
    xr.Dataset({"a": ("x", [1, 2])}).to_zarr(path, zarr_format=3, consolidated=False)
    return path


def test_a_folder_with_other_xml_files_is_opened(record):
    truth = record(frames=3, shape=(8, 8))
    mark_points(truth.folder)
    (truth.folder / "empty.xml").touch()
    np.testing.assert_array_equal(movie_of(truth.folder), written(truth))


@pytest.mark.parametrize("chunks", [None, {"frames": 10, "y": 8}])
def test_lazy_movies_pickle_and_hold_no_file(record, chunks):
    truth = record(frames=40, shape=(16, 64))
    movie = movie_of(truth.folder, chunks=chunks)
    movie[:30].values  # noqa: B018
    packed = pickle.dumps(movie)
    assert len(packed) < movie.nbytes / 4
    np.testing.assert_array_equal(pickle.loads(packed), written(truth))
    held = [file.path for file in psutil.Process().open_files()]
    assert not [path for path in held if path.startswith(str(truth.folder))]


def test_pages_hold_no_file(record):
    truth = record(**LAYOUTS["pages"])
    movie_of(truth.folder).values  # noqa: B018
    held = [file.path for file in psutil.Process().open_files()]
    assert not [path for path in held if path.startswith(str(truth.folder))]


def test_another_process_computes_chunks(record):
    distributed = pytest.importorskip("distributed")
    truth = record(frames=6, shape=(8, 8), channels=TWO)
    movie = movie_of(truth.folder, chunks={"frames": 3})
    with (
        distributed.LocalCluster(
            n_workers=1, threads_per_worker=1, processes=True, dashboard_address=None
        ) as cluster,
        distributed.Client(cluster),
    ):
        total = movie.sum(("frames", "y", "x"), dtype="int64").compute()
    np.testing.assert_array_equal(total, written(truth).sum((0, 2, 3)))


# D. Large recordings


def test_opening_opens_no_tiff(record, opened_tiffs):
    truth = record(frames=2000, shape=(8, 8))
    opens.clear()
    movie = movie_of(truth.folder)
    assert movie.valid.all()
    assert opened_tiffs() == []
    assert str(truth.xml) in opens
    np.testing.assert_array_equal(movie[1998:], [truth.frame(1998), truth.frame(1999)])
    assert len(opened_tiffs()) >= 2


OPEN_AND_MEASURE = """
import json, sys, time, warnings
import calscipy as cs
tiffs = []
sys.addaudithook(lambda event, args: event == "open" and str(args[0]).endswith(".tif")
                 and tiffs.append(args[0]))
start = time.perf_counter()
with warnings.catch_warnings(record=True) as got:
    warnings.simplefilter("always")
    movie = cs.ImagingSession.open(sys.argv[1]).movie
seconds = time.perf_counter() - start
status = open("/proc/self/status").read()
peak = int(status.split("VmHWM:")[1].split()[0]) * 1024
print(json.dumps({
    "shape": movie.shape, "tiffs": len(tiffs), "peak": peak, "seconds": seconds,
    "valid": int(movie.valid.sum()), "last": float(movie.time[-1]),
    "warnings": [[item.category.__name__, str(item.message)] for item in got],
}))
"""


def large_master(count):
    """Lines of the master XML of a long plane series, 310 bytes for a frame."""
    yield '<?xml version="1.0" encoding="utf-8"?>\n<PVScan version="5.6.64.400" date="" notes="">\n'
    yield '  <PVStateShard>\n    <PVStateValue key="linesPerFrame" value="512" />\n'
    yield '    <PVStateValue key="pixelsPerLine" value="512" />\n  </PVStateShard>\n'
    yield '  <Sequence type="TSeries Timed Element" cycle="1" time="16:25:41.1378271">\n'
    for n in range(count):
        yield (
            f'    <Frame relativeTime="{n * 0.0336}" absoluteTime="{n * 0.0336 + 0.148}" '
            f'index="{n + 1}" parameterSet="CurrentSettings">\n      <File channel="2" '
            f'channelName="Ch2" filename="TSeries-03022023-1227-2098_Cycle00001_Ch2_{n + 1:06d}'
            '.ome.tif" />\n      <ExtraParameters lastGoodFrame="0" />\n      <PVStateShard />\n'
            "    </Frame>\n"
        )
    yield "  </Sequence>\n</PVScan>"


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="needs /proc")
def test_100k_frames_open_without_their_files_in_little_memory(tmp_path):
    xml = tmp_path / "TSeries-03022023-1227-2098.xml"
    with xml.open("w") as file:
        file.writelines(large_master(100_000))
    assert 25e6 < xml.stat().st_size < 40e6
    done = subprocess.run(
        [sys.executable, "-c", OPEN_AND_MEASURE, tmp_path], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    got = json.loads(done.stdout)
    assert got["shape"] == [100_000, 512, 512]
    assert got["tiffs"] == got["valid"] == 0
    assert got["last"] == pytest.approx(99_999 * 0.0336)
    ((category, message),) = got["warnings"]
    assert category == "DamagedRecordingWarning"
    assert "100000 of 100000 images are missing or damaged (100000 missing)" in message
    assert len(message) < 600
    assert got["peak"] < 300 * 2**20
