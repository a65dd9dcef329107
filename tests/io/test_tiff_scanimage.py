"""ScanImage's TIFF files: channels, planes, fly-back, rates and times of every version."""

import json
import struct

import numpy as np
import pytest
import tifffile

from calscipy import model
from calscipy.errors import (
    ArgumentError,
    CalscipyWarning,
    DamagedRecordingWarning,
    RecordingError,
)
from calscipy.io.tiff import open_tiff

SHAPE = (6, 10)
HEADER = {
    "VERSION_MAJOR": "'2022'",
    "hChannels.channelName": "{'Channel 1' 'Channel 2' 'Channel 3'}",
    "hChannels.channelSave": "1",
    "hFastZ.enable": "false",
    "hFastZ.numDiscardFlybackFrames": "0",
    "hRoiManager.imagingFovUm": "[-50 -30;50 -30;50 30;-50 30]",
    "hRoiManager.linesPerFrame": "512",  # not to be trusted
    "hRoiManager.scanFrameRate": "20",
    "hRoiManager.scanVolumeRate": "20",
    "hRoiManager.scanZoomFactor": "2.5",
    "hScan2D.logAverageFactor": "1",
    "hStackManager.actualNumSlices": "1",
    "hStackManager.enable": "false",
    "hStackManager.framesPerSlice": "1",
    "hStackManager.numFramesPerVolume": "1",
    "hStackManager.numFramesPerVolumeWithFlyback": "1",
    "hStackManager.numSlices": "11",  # not to be trusted
    "hStackManager.zs": "0",
}


def images(count, seed=0):
    return np.random.default_rng(seed).integers(0, 2**12, (count, *SHAPE)).astype("int16")


def movie(path, **options):
    return open_tiff(path, **options)[model.MOVIE][model.MOVIE]


def header(prefix="SI.", **changes):
    values = HEADER | {key.replace("__", "."): value for key, value in changes.items()}
    return "".join(f"{prefix}{key} = {value}\n" for key, value in sorted(values.items()))


def fast_stack(planes, flyback, repeats=1, **changes):
    """Properties of a stack that is repeated."""
    recorded = planes * repeats
    zs = " ".join(str(5 * at) for at in range(planes) for _ in range(repeats))
    values = {
        "hFastZ__enable": "true",
        "hFastZ__numDiscardFlybackFrames": flyback,
        "hStackManager__enable": "true",
        "hStackManager__framesPerSlice": repeats,
        "hStackManager__actualNumSlices": planes,
        "hStackManager__numFramesPerVolume": recorded,
        "hStackManager__numFramesPerVolumeWithFlyback": recorded + flyback,
        "hStackManager__zs": f"[{zs}]",
        "hRoiManager__scanVolumeRate": 20 / (recorded + flyback),
    }
    return header(**(values | changes))


def describe(number, time, acquisition=1):
    """Describe one page, as ScanImage 2016 and later do."""
    return (
        f"frameNumbers = {number}\nacquisitionNumbers = {acquisition}\n"
        f"frameNumberAcquisition = {number}\nframeTimestamps_sec = {time:.9f}\n"
        "acqTriggerTimestamps_sec = 0.000000000\nepoch = [2022  6  2 20  2 22.065]\n"
        "auxTrigger0 = []\nI2CData = {}\n"
    )


def write_big(path, pages, text, descriptions=None, rois="", in_tags=True):
    """Write a file byte by byte: a header, ScanImage's block, directories, texts and pixels."""
    block = text.encode() + b"\0"
    regions = rois.encode() + b"\0"
    start = 32 + len(block) + len(regions)
    magic = struct.pack("<IIII", 0x07030301, 4, len(block), len(regions))
    body = bytearray(struct.pack("<2sHHHQ", b"II", 43, 8, 0, start) + magic + block + regions)
    for at, page in enumerate(pages):
        words = (descriptions[at] if descriptions else "").encode() + b"\0" * 20
        entries = [
            (256, 4, 1, page.shape[1]), (257, 4, 1, page.shape[0]), (258, 3, 1, 16),
            (259, 3, 1, 1), (262, 3, 1, 1), (270, 2, len(words), "text"), (273, 16, 1, "pixels"),
            (277, 3, 1, 1), (278, 4, 1, page.shape[0]), (279, 16, 1, page.nbytes),
            (339, 3, 1, 2),
        ]  # fmt: skip
        if in_tags:
            entries += [(305, 2, len(block), 32), (315, 2, len(regions), 32 + len(block))]
        entries.sort()
        behind = len(body) + 8 + 20 * len(entries) + 8
        places = {"text": behind, "pixels": behind + len(words)}
        body += struct.pack("<Q", len(entries))
        for code, kind, count, value in entries:
            body += struct.pack("<HHQQ", code, kind, count, places.get(value, value))
        end = behind + len(words) + page.nbytes
        body += struct.pack("<Q", end if at + 1 < len(pages) else 0) + words + page.tobytes()
    path.write_bytes(body)
    return path


def write_old(path, pages, text, **options):
    """Write a file whose every page repeats all properties."""
    texts = text if isinstance(text, list) else [text] * len(pages)
    with tifffile.TiffWriter(path, **options) as writer:
        for page, one in zip(pages, texts, strict=True):
            writer.write(
                page, photometric="minisblack", description=one, metadata=None, contiguous=False
            )
    return path


def test_the_written_file_is_what_tifffile_takes_for_scanimage(tmp_path):
    path = write_big(tmp_path / "a.tif", images(3), header(), [describe(n, n) for n in range(3)])
    with tifffile.TiffFile(path) as file:
        assert file.is_scanimage
        assert file.scanimage_metadata["FrameData"]["SI.hRoiManager.scanFrameRate"] == 20
        np.testing.assert_array_equal(np.stack([page.asarray() for page in file.pages]), images(3))


# ScanImage 2016 and later


@pytest.mark.parametrize("in_tags", [True, False])
def test_one_plane(tmp_path, in_tags):
    times = 3 + np.arange(4) / 20
    texts = [describe(n + 1, time) for n, time in enumerate(times)]
    path = write_big(tmp_path / "a.tif", images(4), header(), texts, in_tags=in_tags)
    found = movie(path)
    assert found.dims == ("frames", "y", "x")
    assert found.dtype == np.int16
    np.testing.assert_array_equal(found.values, images(4))
    np.testing.assert_allclose(found.time.values, np.arange(4) / 20, atol=1e-9)
    assert str(found.channel.values) == "Channel 1"
    assert (float(found.y[1]), float(found.x[1])) == (10, 10)  # 60 um in 6 rows, 100 in 10 columns
    assert found.attrs["optical_zoom"] == 2.5
    assert found.attrs["scanimage_version"] == "2022"
    assert found.attrs["frame_rate_source"] == "ScanImage metadata"
    assert "epoch" not in found.coords


def test_channels_planes_and_flyback(tmp_path):
    planes, flyback, volumes = 3, 2, 4
    slots = planes + flyback
    pages = images(volumes * slots * 2)
    texts = [describe(at // 2 + 1, (at // 2) / 20) for at in range(len(pages))]
    text = fast_stack(planes, flyback, hChannels__channelSave="[1;3]")
    found = movie(write_big(tmp_path / "a.tif", pages, text, texts))
    assert found.shape[:3] == (volumes, 2, planes)
    expected = pages.reshape(volumes, slots, 2, *SHAPE)[:, :planes].swapaxes(1, 2)
    np.testing.assert_array_equal(found.values, expected)
    assert found.channel.values.tolist() == ["Channel 1", "Channel 3"]
    np.testing.assert_allclose(found.time.values, np.arange(volumes) * slots / 20, atol=1e-8)
    lag = found.plane_time.values - found.time.values[:, None]
    np.testing.assert_allclose(lag, np.tile(np.arange(3) / 20, (volumes, 1)), atol=1e-8)
    assert found.z.values.tolist() == [0, 5, 10]
    assert found.z.attrs["units"] == "um"
    assert found.attrs["flyback_images_left_out"] == 2


def test_repeated_images_of_a_plane_are_frames(tmp_path):
    pages = images(2 * (3 * 2 + 1))  # two volumes of three planes twice, and one to fly back
    found = movie(write_big(tmp_path / "a.tif", pages, fast_stack(3, 1, repeats=2)))
    folded = pages.reshape(2, 7, *SHAPE)[:, :6].reshape(2, 3, 2, *SHAPE)
    np.testing.assert_array_equal(found.values, folded.swapaxes(1, 2).reshape(4, 3, *SHAPE))
    np.testing.assert_allclose(found.time.values, np.array([0, 1, 7, 8]) / 20)
    np.testing.assert_allclose(found.plane_time.values[2], np.array([7, 9, 11]) / 20)


def test_a_slow_stack(tmp_path):
    """All frames of a plane come before those of the next one."""
    pages = images(3 * 4)
    text = fast_stack(3, 0, repeats=4, hFastZ__enable="false", hStackManager__stackMode="'slow'")
    found = movie(write_big(tmp_path / "a.tif", pages, text))
    np.testing.assert_array_equal(found.values, pages.reshape(3, 4, *SHAPE).swapaxes(0, 1))
    np.testing.assert_allclose(found.time.values, np.arange(4) / 20)
    assert found.z.values.tolist() == [0, 5, 10]


def test_the_rate_serves_where_pages_have_no_times(tmp_path):
    text = fast_stack(2, 1, hRoiManager__scanVolumeRate="20")  # ignored: the frames tell it
    found = movie(write_big(tmp_path / "a.tif", images(9), text))
    np.testing.assert_allclose(found.time.values, np.arange(3) * 3 / 20)
    np.testing.assert_allclose(found.plane_time.values[:, 1], (np.arange(3) * 3 + 1) / 20)


def test_averaged_images(tmp_path):
    found = movie(write_big(tmp_path / "a.tif", images(3), header(hScan2D__logAverageFactor="4")))
    np.testing.assert_allclose(found.time.values, np.arange(3) * 4 / 20)
    text = fast_stack(2, 4, repeats=4, hScan2D__logAverageFactor="4")
    pages = images(2 * 3)
    found = movie(write_big(tmp_path / "b.tif", pages, text))
    np.testing.assert_array_equal(found.values, pages.reshape(2, 3, *SHAPE)[:, :2])
    text = fast_stack(2, 1, repeats=4, hScan2D__logAverageFactor="4")
    path = write_big(tmp_path / "c.tif", pages, text)
    with pytest.raises(RecordingError, match=r"a page may blend two planes.*channels= and"):
        movie(path)
    with pytest.warns(CalscipyWarning, match="blend two planes"):
        assert movie(path, planes=1, frame_rate=1).sizes["frames"] == 6


def test_a_volume_that_was_not_finished_is_masked(tmp_path):
    pages = images(3 * 4 - 2)
    path = write_big(tmp_path / "a.tif", pages, fast_stack(3, 1))
    with pytest.warns(DamagedRecordingWarning, match="1 of 9 images that the ScanImage metadata"):
        found = movie(path)
    assert found.valid.values.tolist() == [[True] * 3, [True] * 3, [True, True, False]]
    np.testing.assert_array_equal(found.values[2], [pages[8], pages[9], np.zeros(SHAPE)])


def test_only_the_flyback_is_missing(tmp_path):
    found = movie(write_big(tmp_path / "a.tif", images(7), fast_stack(3, 1)))
    assert found.sizes["frames"] == 2
    assert found.valid.values.all()


def test_files_of_one_acquisition_are_one_stream(tmp_path):
    pages = images(3 * 4)
    texts = [describe(at + 1, at / 20) for at in range(12)]
    for at, part in enumerate((slice(0, 5), slice(5, 12))):  # cut within a volume
        path = tmp_path / f"x_{at + 1:05d}.tif"
        write_big(path, pages[part], fast_stack(3, 1), texts[part])
    found = movie(tmp_path)
    np.testing.assert_array_equal(found.values, pages.reshape(3, 4, *SHAPE)[:, :3])
    np.testing.assert_allclose(found.time.values, np.arange(3) * 4 / 20, atol=1e-8)
    write_big(tmp_path / "x_00003.tif", pages[:2], header())
    with pytest.raises(RecordingError, match="different numbers of channels or planes"):
        movie(tmp_path)


def test_acquisitions_are_stretches_of_time(tmp_path):
    times = [0, 0.05, 0.1, 7, 7.05]
    texts = [describe(n + 1, time, 1 + (time >= 7)) for n, time in enumerate(times)]
    found = movie(write_big(tmp_path / "a.tif", images(5), header(), texts))
    assert found.epoch.values.tolist() == [1, 1, 1, 2, 2]
    np.testing.assert_allclose(found.time.values, times, atol=1e-8)
    assert len(model.epochs(found)) == 2


def test_acquisitions_with_clocks_of_their_own(tmp_path):
    for at in range(2):
        texts = [describe(n + 1, n / 20, at + 1) for n in range(3)]
        write_big(tmp_path / f"x_{at}.tif", images(3, seed=at), header(), texts)
    with pytest.warns(CalscipyWarning, match="start again at frame 3"):
        found = movie(tmp_path)
    np.testing.assert_allclose(found.time.values, np.arange(6) / 20)
    assert found.epoch.values.tolist() == [1, 1, 1, 2, 2, 2]


def test_some_pages_without_times(tmp_path):
    texts = [describe(1, 0), "", describe(3, 0.1)]
    path = write_big(tmp_path / "a.tif", images(3), header(), texts)
    with pytest.warns(CalscipyWarning, match="do not give the time of 1 of 3 frames"):
        np.testing.assert_allclose(movie(path).time.values, np.arange(3) / 20)


def test_lost_frames_show_in_the_times(tmp_path):
    times = np.array([0, 1, 2, 5, 6]) / 20
    texts = [describe(n, time) for n, time in enumerate(times)]
    path = write_big(tmp_path / "a.tif", images(5), header(), texts)
    np.testing.assert_allclose(movie(path).time.values, times, atol=1e-8)
    with pytest.warns(CalscipyWarning, match=r"with steps from 0\.05 to 0\.15 s, but frame_rate"):
        movie(path, frame_rate=20)


def test_given_numbers_win_with_a_warning(tmp_path):
    path = write_big(tmp_path / "a.tif", images(12), fast_stack(3, 1))
    with pytest.warns(CalscipyWarning, match="state 5 frames in a second, but frame_rate=4"):
        found = movie(path, frame_rate=4)
    assert found.time.values.tolist() == [0, 0.25, 0.5]
    with pytest.warns(CalscipyWarning, match="state channels=1 and planes=3, but planes=4 was"):
        found = movie(path, planes=4)
    np.testing.assert_array_equal(found.values, images(12).reshape(3, 4, *SHAPE))
    assert "z" not in found.coords
    assert "flyback_images_left_out" not in found.attrs
    assert str(movie(path, channels=["GCaMP"]).channel.values) == "GCaMP"


def test_no_rate_is_an_error(tmp_path):
    text = header(hRoiManager__scanFrameRate="Inf", hRoiManager__scanVolumeRate="[]")
    path = write_big(tmp_path / "a.tif", images(3), text)
    with pytest.raises(ArgumentError, match="frame_rate="):
        movie(path)


def test_a_volume_larger_than_the_recording_can_hold(tmp_path):
    path = write_big(tmp_path / "a.tif", images(3), fast_stack(30_000, 1))
    with pytest.raises(RecordingError, match="30001 images in a volume, the recording has 3 pages"):
        movie(path)
    with pytest.warns(CalscipyWarning, match="30001 images in a volume"):
        assert movie(path, planes=3, frame_rate=1).sizes["plane"] == 3


@pytest.mark.parametrize("count", [1, 2])
def test_regions_in_one_page(tmp_path, count):
    rois = [{"scanfields": {"centerXY": [0, 0]}, "enable": 1} for _ in range(count)]
    group = {"RoiGroups": {"imagingRoiGroup": {"rois": rois if count > 1 else rois[0]}}}
    path = write_big(tmp_path / "a.tif", images(2), header(), rois=json.dumps(group))
    if count == 1:
        assert movie(path).x.attrs["units"] == "um"
        return
    with pytest.warns(CalscipyWarning, match="every page holds 2 regions of interest"):
        assert movie(path).x.attrs["units"] == "1"


def test_a_header_in_json(tmp_path):
    """ScanImage can write its properties and the descriptions of pages as JSON."""
    values = {
        "hChannels": {"channelSave": [1, 2], "channelName": ["red", "green"]},
        "hStackManager": {
            "enable": True,
            "framesPerSlice": 1,
            "numFramesPerVolume": 2,
            "numFramesPerVolumeWithFlyback": 3,
            "zs": [0, 7.5],
        },
        "hRoiManager": {"scanFrameRate": 20.0},
        "VERSION_MAJOR": "2018a",
    }
    texts = [
        json.dumps(
            {
                "frameNumbers": at // 2 + 1,
                "acquisitionNumbers": 1,
                "frameTimestamps_sec": at // 2 / 20,
            },
            indent=2,
        )
        for at in range(12)
    ]
    path = write_big(tmp_path / "a.tif", images(12), json.dumps({"SI": values}), texts)
    found = movie(path)
    assert found.shape[:3] == (2, 2, 2)
    assert found.channel.values.tolist() == ["red", "green"]
    np.testing.assert_allclose(found.time.values, [0, 0.15])
    assert found.z.values.tolist() == [0, 7.5]
    assert found.attrs["scanimage_version"] == "2018a"


def test_classic_tiff_with_the_header_in_its_tags(tmp_path):
    with tifffile.TiffWriter(tmp_path / "a.tif") as writer:
        for at, page in enumerate(images(4)):
            writer.write(
                page,
                photometric="minisblack",
                software=header(),
                metadata=None,
                description=describe(at + 1, at / 20),
                contiguous=False,
            )
    found = movie(tmp_path / "a.tif")
    np.testing.assert_allclose(found.time.values, np.arange(4) / 20)
    assert str(found.channel.values) == "Channel 1"


# Before 2016


def test_scanimage_2015(tmp_path):
    values = {
        "hChannels.channelSave": "[1;2]",
        "hChannels.channelName": "{'Channel 1';'Channel 2'}",
        "hFastZ.enable": "true",
        "hFastZ.discardFlybackFrames": "true",
        "hFastZ.numDiscardFlybackFrames": "1",
        "hFastZ.numFramesPerVolume": "4",
        "hStackManager.numSlices": "3",
        "hRoiManager.scanFrameRate": "30",
        "hRoiManager.scanVolumeRate": "7.5",
        "VERSION_MAJOR": "'2015'",
    }
    rest = "".join(f"scanimage.SI.{key} = {value}\n" for key, value in values.items())
    pages = images(2 * 4 * 2)
    texts = [describe(at // 2 + 1, at // 2 / 30) + rest for at in range(len(pages))]
    found = movie(write_old(tmp_path / "a.tif", pages, texts))
    expected = pages.reshape(2, 4, 2, *SHAPE)[:, :3].swapaxes(1, 2)
    np.testing.assert_array_equal(found.values, expected)
    np.testing.assert_allclose(found.time.values, [0, 4 / 30], atol=1e-8)
    assert found.channel.values.tolist() == ["Channel 1", "Channel 2"]


@pytest.mark.parametrize("version", ["SI4", "SI5"])
@pytest.mark.parametrize("fast", [True, False])
def test_scanimage_4_and_5(tmp_path, version, fast):
    values = {
        "channelsSave": "[1;4]",
        "fastZEnable": int(fast),
        "fastZDiscardFlybackFrames": 1,
        "fastZPeriod": 0.2,
        "scanFramePeriod": 0.05,
        "stackNumSlices": 3 if fast else 1,
        "stackZStepSize": 4,
        "acqNumAveragedFrames": 1,
        "scanZoomFactor": 3,
    }
    rest = "".join(f"scanimage.{version}.{key} = {value}\n" for key, value in values.items())
    slots = 4 if fast else 1
    pages = images(2 * slots * 3)
    texts = [
        f"Frame Number = {at // 2 + 1}\nFrame Timestamp(s) = {at // 2 * 0.05:.6f}\n{rest}"
        for at in range(len(pages))
    ]
    found = movie(write_old(tmp_path / "a.tif", pages, texts))
    expected = pages.reshape(3, slots, 2, *SHAPE)[:, : 3 if fast else 1].swapaxes(1, 2)
    np.testing.assert_array_equal(found.values, expected if fast else expected[:, :, 0])
    np.testing.assert_allclose(found.time.values, np.arange(3) * slots * 0.05, atol=1e-8)
    assert found.channel.values.tolist() == ["Ch1", "Ch4"]
    assert found.attrs["optical_zoom"] == 3
    if fast:
        assert found.z.values.tolist() == [0, 4, 8]


def test_scanimage_3(tmp_path):
    values = {
        "software.version": 3.8,
        "acq.numberOfChannelsSave": 2,
        "acq.savingChannel1": 0,
        "acq.savingChannel2": 1,
        "acq.savingChannel3": 1,
        "acq.numberOfZSlices": 1,
        "acq.numberOfFrames": 4,
        "acq.averaging": 0,
        "acq.frameRate": 8,
        "acq.zoomFactor": 2,
    }
    text = "".join(f"state.{key}={value}\r" for key, value in values.items())
    found = movie(write_old(tmp_path / "a.tif", images(8), text))
    assert found.shape[:2] == (4, 2)
    np.testing.assert_array_equal(found.values, images(8).reshape(4, 2, *SHAPE))
    np.testing.assert_allclose(found.time.values, np.arange(4) / 8)
    assert found.channel.values.tolist() == ["Ch2", "Ch3"]


def test_opening_reads_few_bytes_of_each_page(tmp_path):
    """Long descriptions and large headers are not read page by page."""
    text = header() + "".join(f"SI.hOther.property{n} = {n}\n" for n in range(20_000))
    texts = [describe(n + 1, n / 20) + "x = 1\n" * 2000 for n in range(200)]
    path = write_big(tmp_path / "a.tif", images(200), text, texts)
    read = []

    class Counting:
        def __init__(self, stream):
            self.stream = stream

        def seek(self, *where):
            return self.stream.seek(*where)

        def read(self, size):
            read.append(size)
            return self.stream.read(size)

    from calscipy.io import tiff_directories as directories

    with path.open("rb") as stream:
        form = directories.read_form(stream)
        offsets, _ = directories.follow(stream, form)
        found = list(directories.page_texts(Counting(stream), form, offsets, 1024))
    assert all("frameTimestamps_sec" in text for text in found)
    assert sum(read) < 200 * 2000
    np.testing.assert_allclose(movie(path).time.values, np.arange(200) / 20, atol=1e-8)
