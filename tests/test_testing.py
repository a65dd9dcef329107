"""Synthetic recordings hold what they say they hold, in the format they claim to have."""

import gzip
import re
import struct
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import tifffile
from lxml import etree

from calscipy.testing import encode_value, tiff_frame, write_frames, write_recording

SAMPLES = Path(__file__).resolve().parents[2] / "shared" / "data" / "prairieview"
REAL_FRAMES = sorted(SAMPLES.glob("**/*_Ch?_00000?.ome.tif"))
REAL_MASTERS = sorted(SAMPLES.glob("scanagator/TSeries-*/*.xml*"))

pytestmark = pytest.mark.filterwarnings("ignore:divide by zero:RuntimeWarning:tifffile")


def strict(path):
    """Root of an XML file, parsed by lxml without any forgiveness."""
    return etree.fromstring(path.read_bytes(), etree.XMLParser(recover=False, huge_tree=True))


def raw(path, shape):
    """Pixels of a one-page frame, read where PrairieView puts them."""
    return np.fromfile(path, "<u2", shape[0] * shape[1], offset=8).reshape(shape)


def movie(truth, shape):
    """Written pixels of a one-plane recording in the order of the XML."""
    files = strict(truth.xml).iterfind(".//Frame/File")
    return np.stack([raw(truth.folder / file.get("filename"), shape) for file in files])


def roi_means(truth, pixels):
    """Mean of each neuron's pixels, (neuron, time)."""
    labels = truth.labels.values
    return np.stack([pixels[:, labels == k].mean(1) for k in truth.dfof.neuron.values])


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


# One frame


def tags(data):
    ifd, n = struct.unpack_from("<I", data, 4)[0], 19
    entries = [struct.unpack_from("<HHII", data, ifd + 2 + 12 * i) for i in range(n)]
    return ifd, {tag: (kind, count, value) for tag, kind, count, value in entries}


@pytest.mark.skipif(not REAL_FRAMES, reason="needs ../shared/data")
@pytest.mark.parametrize("path", REAL_FRAMES, ids=lambda path: path.name)
def test_real_frames_are_reproduced_byte_for_byte(path):
    real = bytearray(path.read_bytes())
    ifd, entries = tags(real)
    _, length, start = entries[270]
    shape = entries[257][2], entries[256][2]
    words = []
    for start_of_block in (ifd - 348, ifd - 316):  # 32 bytes each, uninitialised after the NUL
        block = bytes(real[start_of_block : start_of_block + 32])
        words.append(block.split(b"\0")[0].decode())
        real[start_of_block : start_of_block + 32] = words[-1].encode().ljust(32, b"\0")
    made = tiff_frame(
        raw(path, shape),
        description=bytes(real[start : start + length - 1]),
        software=words[0],
        date=words[1],
    )
    assert made == bytes(real)


@pytest.mark.parametrize(
    "shape", [(1, 1), (5, 7), (8, 6), (9, 3), (16, 5), (17, 1), (100, 104), (63, 65)]
)
def test_frames_are_valid_tiff_of_any_shape(tmp_path, shape):
    pixels = np.random.default_rng(0).integers(0, 65536, shape, dtype="uint16")
    data = tiff_frame(pixels, description=b"<OME/>", software="Prairie View 5.8.64.800")
    ifd, entries = tags(data)
    rule = (8 + 2 * pixels.size + 3) // 4 * 4 + 8 * -(-shape[0] // 8) + 348
    assert ifd == rule
    assert len(data) == entries[270][2] + entries[270][1]
    path = tmp_path / "frame.tif"
    path.write_bytes(data)
    with tifffile.TiffFile(path) as tiff:
        assert len(tiff.pages) == 1
        page = tiff.pages[0]
        np.testing.assert_array_equal(page.asarray(), pixels)
        assert page.description == "<OME/>"
        assert page.software == "Prairie View 5.8.64.80"
        assert entries[278] == (4, 1, 8)
        assert sum(page.databytecounts) == pixels.nbytes
    np.testing.assert_array_equal(raw(path, shape), pixels)


def test_big_endian_and_strided_images_are_written_in_order():
    pixels = np.arange(24, dtype="uint16").reshape(4, 6)
    wanted = tiff_frame(np.ascontiguousarray(pixels[::2, ::-1]), description=b"")
    assert tiff_frame(pixels[::2, ::-1], description=b"") == wanted
    assert tiff_frame(pixels[::2, ::-1].astype(">u2"), description=b"") == wanted


@pytest.mark.parametrize(
    ("pixels", "options", "message"),
    [
        (np.zeros((2, 2)), {}, "astype"),
        (np.zeros((1, 2, 2), "uint16"), {}, "one plane"),
        (np.zeros((0, 2), "uint16"), {}, "one plane"),
        (np.zeros((2, 2), "uint16"), {"date": "2022-01-01"}, "strftime"),
        (np.zeros((2, 2), "uint16"), {"software": "x" * 32}, "Shorten"),
    ],
)
def test_bad_frames_are_refused(pixels, options, message):
    with pytest.raises(ValueError, match=message):
        tiff_frame(pixels, description=b"", **options)


# Pixels and activity


def test_noise_of_the_written_pixels_has_the_stated_snr(tmp_path):
    shape = (64, 64)
    for snr in (3.0, 12.0):
        folder = tmp_path / f"snr{snr}"
        truth = write_recording(folder, frames=1200, snr=snr, bleaching=0, burst_rate=0.2)
        measured = roi_means(truth, movie(truth, shape)) / truth.f0.values - 1
        residual = measured - truth.dfof.values
        quiet = truth.dfof.values < 1e-3
        assert quiet.sum() > 1000
        noise = residual[quiet].std()
        assert truth.dfof.attrs["peak"] / noise == pytest.approx(snr, rel=0.15)
        assert abs(residual.mean()) < 0.1 * noise  # no offset: dfof and f0 are unbiased


def test_truth_is_what_the_pixels_show(tmp_path):
    truth = write_recording(tmp_path / "r", frames=1500, snr=20, burst_rate=0.2, bleaching=0.4)
    measured = roi_means(truth, movie(truth, (64, 64)))
    assert truth.events.any("time").all()  # else the correlation says nothing
    expected = (truth.f0 * (1 + truth.dfof)).values
    dfof = measured / truth.f0.values - 1
    for k in range(truth.dfof.sizes["neuron"]):
        assert np.corrcoef(dfof[k], truth.dfof[k])[0, 1] > 0.95
        assert np.corrcoef(measured[k], expected[k])[0, 1] > 0.95
    assert float(truth.f0[0, -1] / truth.f0[0, 0]) == pytest.approx(0.6)


def test_background_is_darker_and_only_the_last_channel_is_functional(tmp_path):
    truth = write_recording(
        tmp_path / "r",
        frames=600,
        channels=("Red", "Green"),
        snr=20,
        burst_rate=0.3,
        bleaching=0,
    )
    assert truth.channels == {1: "Red", 2: "Green"}
    labels = truth.labels.values
    active = truth.dfof.values.max(1).argmax()
    on = truth.dfof.values[active] > 0.8 * truth.dfof.attrs["peak"]
    off = truth.dfof.values[active] < 1e-3
    ratio = {}
    for name in ("Red", "Green"):
        pixels = np.stack([truth.frame(t, name) for t in range(600)])
        trace = pixels[:, labels == active + 1].mean(1)
        ratio[name] = trace[on].mean() / trace[off].mean()
        background = pixels[:, labels == 0].mean()
        assert background == pytest.approx(0.25 * float(truth.f0[0, 0]), rel=0.02)
    assert ratio["Red"] == pytest.approx(1, abs=0.05)
    assert ratio["Green"] > 1 + 0.8 * truth.dfof.attrs["peak"]
    np.testing.assert_array_equal(truth.frame(3), truth.frame(3, 2))


def test_bursts_are_separable_and_reach_the_peak(tmp_path):
    truth = write_recording(
        tmp_path / "r", frames=4500, shape=(16, 16), neurons=4, burst_rate=0.5, decay=0.4, rise=0.1
    )
    times, peak = truth.times.values, truth.dfof.attrs["peak"]
    peaks = []
    for k in range(4):
        onsets = np.flatnonzero(truth.events[k])
        assert onsets.size > 10
        assert np.diff(times[onsets]).min() > 4 * 0.4
        assert times[onsets].min() >= 1
        assert times[onsets].max() <= times[-1] - 1 + 1 / 30
        for start, stop in zip(onsets, [*onsets[1:], times.size], strict=True):
            train = truth.spikes[k, start:stop].values
            assert 3 <= train.sum() <= 5
            assert train[5:].sum() == 0  # within 100 ms, four samples at most
            peaks.append(float(truth.dfof[k, start:stop].max()))
        assert truth.spikes[k].sum() == sum(truth.spikes[k, i : i + 5].sum() for i in onsets)
    assert min(peaks) == pytest.approx(peak)


def test_transients_have_the_stated_time_constants(tmp_path):
    truth = write_recording(
        tmp_path / "r", frames=900, shape=(8, 8), neurons=1, burst_rate=0.1, decay=0.7, rise=0.05
    )
    trace, t = truth.dfof[0].values, truth.times.values
    start = int(np.flatnonzero(truth.events[0])[0])
    tail = slice(start + 15, start + 60)  # 0.5 to 2 s later, past rise and burst
    slope = np.polyfit(t[tail], np.log(trace[tail]), 1)[0]
    assert -1 / slope == pytest.approx(0.7, rel=0.01)
    assert trace[:start].max(initial=0) == 0  # nothing before the spike


def test_neurons_are_whole_discs_that_do_not_touch(tmp_path):
    truth = write_recording(tmp_path / "r", frames=1, planes=3, neurons=31, shape=(64, 48))
    labels = truth.labels.values
    assert labels.shape == (3, 64, 48)
    assert set(np.unique(labels)) == set(range(32))
    assert np.unique(np.bincount(labels.ravel())[1:]).size == 1  # none is cut or covered
    for k in range(31):
        assert (labels[k % 3] == k + 1).any()
    for axis in (1, 2):
        a, b = labels.take(range(47), axis), labels.take(range(1, 48), axis)
        assert not ((a != b) & (a > 0) & (b > 0)).any()


def test_no_onset_falls_into_or_just_before_a_pause(tmp_path):
    truth = write_recording(
        tmp_path / "r", frames=1200, cycles=4, shape=(8, 8), neurons=4, burst_rate=2
    )
    onsets = np.flatnonzero(truth.events.any("neuron"))
    assert onsets.size > 10
    for end in (299, 599, 899):
        assert not ((onsets > end - 29) & (onsets <= end + 1)).any()


def test_activity_is_sampled_when_the_plane_of_the_neuron_is_acquired(tmp_path):
    truth = write_recording(
        tmp_path / "r", frames=150, planes=4, neurons=5, shape=(16, 16), bidirectional=True, decay=2
    )
    times = truth.plane_times.values.T[[0, 1, 2, 3, 0]]
    last = float(truth.plane_times.max())
    ratio = truth.f0.values / truth.f0.values[0, 0]
    np.testing.assert_allclose(ratio, 0.8 ** (times / last))  # bleaching is a clock
    checked = 0
    for k in range(5):
        onsets = [*np.flatnonzero(truth.events[k]), 150]
        for start, stop in pairwise(onsets):
            tail = slice(start + 5, min(stop, start + 60))  # past rise and burst: exponential
            t, trace = times[k, tail], truth.dfof.values[k, tail]
            np.testing.assert_allclose(np.diff(np.log(trace)), -np.diff(t) / 2, rtol=1e-3)
            checked += t.size
    assert checked > 50


# The master XML


def test_plane_series(tmp_path):
    truth = write_recording(tmp_path / "mouse", frames=7, cycles=3, shape=(6, 9), neurons=1)
    root = strict(truth.xml)
    data = truth.xml.read_bytes()
    assert data.startswith(b'\xef\xbb\xbf<?xml version="1.0" encoding="utf-8"?>\n<PVScan ')
    assert b"\r" not in data
    assert root.get("version") == "5.6.64.400"
    state = {value.get("key"): value for value in root.iterfind("PVStateShard/PVStateValue")}
    assert len(state) >= 30
    assert list(state) == sorted(state, key=str.lower)
    assert (state["linesPerFrame"].get("value"), state["pixelsPerLine"].get("value")) == ("6", "9")
    assert float(state["framePeriod"].get("value")) == pytest.approx(1 / 30)
    cycles = root.findall("Sequence")
    assert [s.get("type") for s in cycles] == ["TSeries Timed Element"] * 3
    assert [len(s.findall("Frame")) for s in cycles] == [3, 2, 2]
    frames = list(root.iter("Frame"))
    assert [f.get("index") for f in frames] == list("1231212")
    absolute = np.array([float(f.get("absoluteTime")) for f in frames])
    assert absolute[0] == 0.148
    np.testing.assert_allclose(absolute - absolute[0], truth.times, atol=1e-12)
    np.testing.assert_allclose(np.diff(absolute)[[2, 4]], 1 + 1 / 30)
    relative = [float(f.get("relativeTime")) for f in frames]
    np.testing.assert_allclose(relative, np.array([0, 1, 2, 0, 1, 0, 1]) / 30)
    files = [f.find("File").get("filename") for f in frames]
    assert files[3] == "mouse_Cycle00002_Ch2_000001.ome.tif"
    assert {*files, "mouse.xml"} == set(contents(truth.folder))
    assert cycles[1].get("time") == "16:25:42.2378271"
    assert truth.times.attrs["units"] == truth.dfof.time.attrs["units"] == "s"


def test_relative_time_may_run_on(tmp_path):
    for planes, cycles in ((1, 2), (2, 1)):
        truth = write_recording(
            tmp_path / f"{planes}",
            frames=4,
            planes=planes,
            cycles=cycles,
            shape=(8, 8),
            relative_time="continuous",
        )
        frames = list(strict(truth.xml).iter("Frame"))
        relative = np.array([float(f.get("relativeTime")) for f in frames])
        absolute = np.array([float(f.get("absoluteTime")) for f in frames])
        np.testing.assert_allclose(absolute - relative, 0.148)
        assert (np.diff(relative) > 0).all()


@pytest.mark.parametrize("bidirectional", [False, True])
def test_volumes_are_listed_in_order_of_acquisition(tmp_path, bidirectional):
    shape = (9, 5)
    truth = write_recording(
        tmp_path / "vol",
        frames=4,
        planes=3,
        shape=shape,
        channels={3: "Red", 1: "Green"},
        bidirectional=bidirectional,
        z_step=15,
        encode=True,
    )
    root = strict(truth.xml)
    volumes = root.findall("Sequence")
    rest = piezo(root.find("PVStateShard"))
    assert rest not in truth.z.values
    for v, volume in enumerate(volumes):
        assert volume.get("type") == "TSeries ZSeries Element"
        assert volume.get("bidirectionalZ") == str(bidirectional)
        order = [2, 1, 0] if bidirectional and v % 2 else [0, 1, 2]
        outer = piezo(volume.find("PVStateShard"))
        for rank, (plane, frame) in enumerate(zip(order, volume.findall("Frame"), strict=True)):
            assert frame.get("index") == str(rank + 1)
            own = piezo(frame.find("PVStateShard"))
            z = own if own is not None else outer
            assert z == truth.z[plane] == 15 * plane
            t = float(frame.get("absoluteTime")) - 0.148
            assert t == pytest.approx(float(truth.plane_times[v, plane]))
            for file in frame.findall("File"):
                channel = int(file.get("channel"))
                pixels = raw(truth.folder / file.get("filename"), shape)
                wanted = encode_value(shape, frame=v, plane=plane, channel=channel)
                np.testing.assert_array_equal(pixels, wanted)
                np.testing.assert_array_equal(truth.frame(v, channel, plane), wanted)
        omitted = [piezo(f.find("PVStateShard")) is None for f in volume.findall("Frame")]
        assert sum(omitted) == (v > 0)  # the one that equals the Sequence
        if not bidirectional and v:
            assert omitted[-1]
    np.testing.assert_allclose(truth.times, np.arange(4) * 4 / 30)  # one flyback image
    np.testing.assert_array_equal(truth.plane_times.min("plane"), truth.times)
    assert truth.z.attrs["focus"] == -75.925


def piezo(shard):
    found = shard.find(".//SubindexedValues[@index='ZAxis']/SubindexedValue[@subindex='1']")
    return None if found is None else float(found.get("value"))


def test_names_are_escaped_and_line_ends_chosen(tmp_path):
    truth = write_recording(
        tmp_path / "folder",
        name="a & b's <1>",
        channels=('"Ca" & <x>', "Dodt µ"),
        frames=3,
        shape=(8, 8),
        line_ending="\r\n",
    )
    assert truth.xml.name == "a & b's <1>.xml"
    root = strict(truth.xml)
    files = root.findall(".//File")
    assert [file.get("channelName") for file in files[:2]] == ['"Ca" & <x>', "Dodt µ"]
    assert all((truth.folder / file.get("filename")).exists() for file in files)
    assert not re.search(rb"[^\r]\n", truth.xml.read_bytes())
    for file in files[:2]:  # the master, and one that points to it
        with tifffile.TiffFile(truth.folder / file.get("filename"), _multifile=False) as tiff:
            etree.fromstring(tiff.pages[0].tags[270].value.encode())


def test_shape_of_lines_is_that_of_real_files(tmp_path):
    path = next((p for p in REAL_MASTERS if p.suffix == ".gz"), None)
    if path is None:
        pytest.skip("needs ../shared/data")
    real = gzip.decompress(path.read_bytes()).decode("utf-8-sig").splitlines()
    truth = write_recording(tmp_path / "r", frames=2, planes=2, shape=(8, 8))
    made = truth.xml.read_text("utf-8-sig").splitlines()

    def forms(lines):  # indentation, element and attributes, without their values
        return {re.sub(r'"[^"]*"', '""', line) for line in lines}

    odd = forms(made) - forms(real)
    # Ours has no motor, which describes itself; everything else is written as in the real file.
    assert odd == set()


# OME-XML


def test_first_file_is_the_ome_master_of_all_others(tmp_path):
    truth = write_recording(
        tmp_path / "r", frames=5, cycles=2, channels=("A", "B"), shape=(9, 7), encode=True
    )
    names = [file.get("filename") for file in strict(truth.xml).iter("File")]
    first = truth.folder / names[0]
    with tifffile.TiffFile(first) as tiff:
        description = tiff.pages[0].tags[270].value
        assert len(tiff.series) == 2
        stack = tiff.series[0].asarray()
    wanted = [[truth.frame(t, channel) for channel in (1, 2)] for t in range(3)]
    np.testing.assert_array_equal(stack.reshape(3, 2, 9, 7), wanted)
    master = etree.fromstring(description.encode())
    listed = {u.get("FileName"): u.text for u in master.iter("{*}UUID")}
    assert sorted(listed) == sorted(names)
    assert len(set(listed.values())) == len(names)
    for name in names[1:]:
        with tifffile.TiffFile(truth.folder / name) as tiff:
            root = etree.fromstring(tiff.pages[0].tags[270].value.encode())
        assert root.get("UUID") == listed[name]
        assert root[0].get("MetadataFile") == names[0]
        assert root[0].get("UUID") == master.get("UUID") == listed[names[0]]


# Damage


def test_missing_and_truncated_files(tmp_path):
    truth = write_recording(
        tmp_path / "r", frames=6, shape=(8, 10), missing=[0, 4], truncated=iter([2])
    )
    assert truth.written.values.tolist() == [False, True, False, True, False, True]
    root = strict(truth.xml)
    assert len(root.findall(".//File")) == 6  # the XML lists them all the same
    sizes = {p.name[-14:-8]: p.stat().st_size for p in truth.folder.glob("*.tif")}
    assert sorted(sizes) == ["000002", "000003", "000004", "000006"]
    assert sizes["000003"] == 8 + 80
    assert sizes["000002"] == sizes["000004"]
    assert truth.frame(2).shape == (8, 10)


def test_missing_planes_and_an_aborted_volume(tmp_path):
    truth = write_recording(
        tmp_path / "r",
        frames=4,
        planes=3,
        shape=(8, 8),
        bidirectional=True,
        missing=[(1, 0), 2],
        abort_after=1,
    )
    full, none = [True] * 3, [False] * 3
    assert truth.written.values.tolist() == [full, [False, True, True], none, [False, False, True]]
    volumes = strict(truth.xml).findall("Sequence")
    assert [len(v.findall("Frame")) for v in volumes] == [3, 3, 3, 1]
    names = {path.name for path in truth.folder.glob("*.tif")}
    assert "r_Cycle00002_Ch2_000003.ome.tif" not in names  # plane 0 comes last in volume 1
    assert len(names) == 3 + 2 + 0 + 1
    assert np.isnan(truth.plane_times).sum() == 2
    assert np.isfinite(truth.times).all()


# Multi-page files


def test_multi_page_files_are_cut_and_numbered(tmp_path):
    truth = write_recording(
        tmp_path / "r",
        frames=11,
        cycles=2,
        channels=("A", "B"),
        shape=(9, 7),
        pages_per_file=4,
        encode=True,
    )
    root = strict(truth.xml)
    assert root.get("version").startswith("5.8")
    pages = {}
    for t, frame in enumerate(root.iter("Frame")):
        for file in frame.iterfind("File"):
            name, page = file.get("filename"), int(file.get("page"))
            pages[name] = max(page, pages.get(name, 0))
            pixels = tifffile.imread(truth.folder / name, key=page - 1)
            np.testing.assert_array_equal(pixels, truth.frame(t, int(file.get("channel"))))
    wanted = {"1_ChX_000001": 4, "1_ChX_000002": 2, "2_ChX_000001": 4, "2_ChX_000002": 1}
    assert pages == {
        f"r_Cycle0000{key.replace('X', str(c))}.ome.tif": n
        for key, n in wanted.items()
        for c in (1, 2)
    }
    for name, n in pages.items():
        with tifffile.TiffFile(truth.folder / name) as tiff:
            assert len(tiff.pages) == n
            assert tiff.pages[0].compression == 1
    companion = strict(truth.folder / "r.companion.ome")
    assert len(companion.findall(".//{*}TiffData")) == 22
    assert set(contents(truth.folder)) == {*pages, "r.xml", "r.companion.ome"}


def test_multi_page_volumes_have_a_file_per_volume_and_channel(tmp_path):
    truth = write_recording(
        tmp_path / "r", frames=3, planes=4, shape=(8, 8), pages_per_file=5000, bidirectional=True
    )
    names = sorted(path.name for path in truth.folder.glob("*.tif"))
    assert names == [f"r_Cycle0000{v}_Ch2_000001.ome.tif" for v in (1, 2, 3)]
    pages = tifffile.imread(truth.folder / names[1], key=range(4))
    np.testing.assert_array_equal(pages, [truth.frame(1, plane=p) for p in (3, 2, 1, 0)])


# Determinism, refusals, cost


@pytest.mark.parametrize("pages", [None, 5])
def test_equal_seeds_give_equal_bytes(tmp_path, pages):
    made = [
        write_recording(
            tmp_path / f"{i}", name="r", frames=12, shape=(16, 16), seed=s, pages_per_file=pages
        )
        for i, s in enumerate((1, 1, 2))
    ]
    first, again, other = (contents(truth.folder) for truth in made)
    assert first == again
    assert first.keys() == other.keys()
    assert all(first[name] != other[name] for name in first if name.endswith(".tif"))
    np.testing.assert_array_equal(made[0].frame(3), made[1].frame(3))


def test_frames_can_be_made_again(tmp_path):
    truth = write_recording(tmp_path / "r", frames=20, shape=(24, 17))
    pixels = movie(truth, (24, 17))
    for t in reversed(range(20)):
        np.testing.assert_array_equal(truth.frame(t), pixels[t])
    assert (pixels[1:] != pixels[:-1]).any((1, 2)).all()


def test_bright_recordings_do_not_wrap(tmp_path):
    truth = write_recording(tmp_path / "r", frames=300, snr=300, burst_rate=0.5)
    pixels = movie(truth, (64, 64))
    np.testing.assert_allclose(roi_means(truth, pixels), truth.f0 * (1 + truth.dfof), rtol=0.05)
    with pytest.raises(ValueError, match="Lower snr"):
        write_recording(tmp_path / "s", frames=300, snr=3000)


def test_a_full_folder_is_left_alone(tmp_path):
    (tmp_path / "note.txt").write_text("mine")
    with pytest.raises(FileExistsError, match="Choose a new folder"):
        write_recording(tmp_path, frames=2)
    with pytest.raises(FileExistsError, match="Choose a new folder"):
        write_recording(tmp_path / "note.txt", frames=2)
    assert set(contents(tmp_path)) == {"note.txt"}
    write_recording(tmp_path / "new" / "deep", frames=2)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"frames": 0}, "frames must be above zero"),
        ({"frame_rate": float("nan")}, "frame_rate"),
        ({"seed": -1}, "seed"),
        ({"bleaching": 1}, "fraction"),
        ({"planes": 2, "cycles": 2}, "each volume is a cycle"),
        ({"bidirectional": True}, "for volumes"),
        ({"abort_after": 1}, "for volumes"),
        ({"planes": 2, "abort_after": 3}, "Pass 1 to 2"),
        ({"frames": 2, "cycles": 3}, "do not fill"),
        ({"frames": 2, "missing": [2]}, "Count from 0"),
        ({"frames": 9, "missing": [2], "pages_per_file": 3}, "one-page"),
        ({"channels": "Ch2"}, "Pass a tuple"),
        ({"channels": {12: "A"}}, "1 to 9"),
        ({"name": "a/b"}, "bare file name"),
        ({"neurons": 100, "shape": (8, 8)}, "Lower neurons"),
        ({"relative_time": "never"}, "Choose 'reset'"),
        ({"line_ending": "\r"}, "line_ending"),
        ({"frames": 100, "frame_rate": 0.2, "burst_rate": 5}, "Raise frame_rate"),
    ],
)
def test_impossible_recordings_are_refused_before_anything_is_written(tmp_path, options, message):
    with pytest.raises(ValueError, match=message):
        write_recording(tmp_path / "r", **options)
    assert not (tmp_path / "r").exists()


def test_frames_that_do_not_exist_are_refused(tmp_path):
    truth = write_recording(tmp_path / "r", frames=2, planes=2, shape=(8, 8))
    with pytest.raises(ValueError, match="plane=0 to 1"):
        truth.frame(0)
    with pytest.raises(IndexError, match="2 frames and 2 planes"):
        truth.frame(2, plane=0)
    with pytest.raises(KeyError, match="Choose one of"):
        truth.frame(0, "Ch1", plane=0)


def test_extreme_but_possible_recordings(tmp_path):
    one = write_recording(tmp_path / "one", frames=1, neurons=0, shape=(1, 1))
    assert one.dfof.shape == (0, 1)
    silent = write_recording(tmp_path / "silent", frames=3, burst_rate=0, shape=(5, 7), neurons=2)
    assert not silent.events.any()
    assert np.unique(silent.labels).tolist() == [0, 1, 2]


# Frames for real master XMLs


@pytest.mark.skipif(not REAL_MASTERS, reason="needs ../shared/data")
@pytest.mark.parametrize("path", REAL_MASTERS, ids=lambda path: path.name)
def test_frames_for_real_recordings(tmp_path, path):
    shape = (4, 6)
    n = write_frames(path, tmp_path, shape=shape, only=lambda cycle, index, channel: index < 60)
    root = strict(tmp_path / path.name.removesuffix(".gz"))
    expected = 0
    for sequence in root.iterfind("Sequence"):
        for file in sequence.iterfind("Frame/File"):
            index, channel = int(file.getparent().get("index")), int(file.get("channel"))
            target = tmp_path / file.get("filename")
            assert target.exists() == (index < 60)
            if index < 60:
                expected += 1
                wanted = encode_value(
                    shape, frame=index, plane=int(sequence.get("cycle")), channel=channel
                )
                np.testing.assert_array_equal(raw(target, shape), wanted)
    assert n == expected > 50


@pytest.mark.skipif(not REAL_MASTERS, reason="needs ../shared/data")
def test_shape_comes_from_the_innermost_state(tmp_path):
    for name in ("LineScan-11182022-1250-763", "LineScan-03292014-1525-552"):  # 5.6, 4.3
        source = SAMPLES / "scanagator" / name
        write_frames(source / f"{name}.xml", tmp_path / name)
        real = sorted(path for path in source.glob(f"{name}_*.tif"))
        assert real
        for path in real:
            made = tifffile.memmap(tmp_path / name / path.name).shape
            with tifffile.TiffFile(path) as tiff:
                assert tiff.pages[0].shape == made


def test_values_of_frames_can_be_chosen(tmp_path):
    truth = write_recording(tmp_path / "r", frames=3, cycles=2, shape=(8, 6), encode=True)
    (tmp_path / "r.xml").write_bytes(truth.xml.read_bytes())

    def value(cycle, index, channel):
        return np.full((8, 6), 100 * cycle + 10 * index + channel, "uint16")

    assert write_frames(tmp_path / "r.xml", value=value) == 3
    pixels = {p.name: raw(p, (8, 6))[0, 0] for p in tmp_path.glob("*.tif")}
    assert list(map(int, sorted(pixels.values()))) == [112, 122, 212]
    with pytest.raises(FileExistsError, match="may be real data"):
        write_frames(tmp_path / "r.xml")
    with pytest.raises(ValueError, match="Pass shape"):
        write_frames(tmp_path / "r.xml", tmp_path / "b", value=value, shape=(3, 3))


@pytest.mark.parametrize("name", ["../x.tif", "a\\x.tif", "/etc/x.tif", "", ".."])
def test_paths_in_the_xml_are_refused(tmp_path, name):
    xml = tmp_path / "r.xml"
    frame = f'<Frame index="1"><File channel="1" filename="{name}" /></Frame>'
    xml.write_text(f'<PVScan><Sequence cycle="1">{frame}</Sequence></PVScan>')
    with pytest.raises(ValueError, match="bare file name"):
        write_frames(xml, tmp_path / "out", shape=(2, 2))
    assert set(contents(tmp_path / "out")) == {"r.xml"}


def test_xml_without_shape_or_with_pages_is_refused(tmp_path):
    xml = tmp_path / "r.xml"
    frame = '<Frame index="1"><File channel="1" {} /></Frame>'
    text = f'<PVScan><Sequence cycle="1">{frame}</Sequence></PVScan>'
    xml.write_text(text.format('filename="a.tif"'))
    with pytest.raises(ValueError, match="Pass shape"):
        write_frames(xml)
    xml.write_text(text.format('filename="a.tif" page="2"'))
    with pytest.raises(ValueError, match="several pages"):
        write_frames(xml, shape=(2, 2))


def test_bursts_begin_where_they_are_asked_for(tmp_path):
    settings = {"frames": 120, "neurons": 3, "seed": 2, "burst_rate": 0.3}
    free = write_recording(tmp_path / "a", **settings)
    held = write_recording(tmp_path / "b", bursts={2: [2.0, 0.5]}, **settings)
    np.testing.assert_array_equal(held.labels, free.labels)
    onsets = held.times.values[held.events.sel(neuron=2).values]
    np.testing.assert_allclose(onsets, [0.5, 2.0], atol=1 / 30)
    np.testing.assert_array_equal(held.events.sel(neuron=1), free.events.sel(neuron=1))
    with pytest.raises(ValueError, match="neurons count from 1 to 3"):
        write_recording(tmp_path / "c", bursts={4: [1.0]}, **settings)
    with pytest.raises(ValueError, match=r"must lie within 0 to 3\.96667 s"):
        write_recording(tmp_path / "d", bursts={1: [9.0]}, **settings)
