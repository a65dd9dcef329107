"""Line scans: the interval of lines, the place of pixels, source images, profiles, damage."""

import itertools
import re

import dask
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from calscipy.errors import CalscipyWarning, DamagedRecordingWarning, RecordingError
from calscipy.io.prairieview import open_tree, read_lsd
from calscipy.io.prairieview.line_geometry import line_path
from calscipy.io.prairieview.linescan import chunk_line_scans
from calscipy.io.prairieview.nodes import Node
from calscipy.testing import encode_value
from calscipy.testing._edits import editing
from calscipy.testing._linescan import write_linescan


def lines_of(xml):
    return open_tree(xml)["linescan"].to_dataset()


def change_frames(xml, key, value):
    """Set a value in the state of every frame; None removes it."""
    with editing(xml) as root:
        for shard in root.findall(".//Frame/PVStateShard"):
            entry = shard.find(f"*[@key='{key}']")
            if value is None:
                shard.remove(entry)
            else:
                entry.set("value", value)


# The interval


@pytest.mark.parametrize("skipped", [0, 2, 3])
def test_the_interval_counts_skipped_lines(tmp_path, skipped):
    truth = write_linescan(tmp_path / "r", cycles=1, shape=(50, 12))
    change_frames(truth.xml, "scanLinePeriod", repr(0.002 * (skipped + 1)))
    dataset = lines_of(truth.xml)
    np.testing.assert_allclose(dataset.line_interval, [0.002 * (skipped + 1)])
    np.testing.assert_allclose(np.diff(dataset.time[0]), 0.002 * (skipped + 1))
    ratio = dataset.line_interval[0] / (dataset.linescan.attrs["frame_period"] / 50)
    assert ratio == pytest.approx(skipped + 1)
    assert dataset.linescan.attrs["line_interval_from"] == "scanLinePeriod"


def test_the_interval_from_the_settings(tmp_path):
    truth = write_linescan(tmp_path / "r", cycles=1, shape=(50, 12))
    change_frames(truth.xml, "scanLinePeriod", None)
    truth.xml.with_suffix(".env").write_text(
        '<Environment><LineScanController linesToSkip="3" repetitions="5" /></Environment>'
    )
    dataset = lines_of(truth.xml)
    np.testing.assert_allclose(dataset.line_interval, [0.008])
    assert dataset.linescan.attrs["line_interval_from"] == "framePeriod and linesToSkip"
    assert dataset.linescan.attrs["planned_cycles"] == 5


def test_an_unknown_interval_is_said(tmp_path):
    truth = write_linescan(tmp_path / "r", cycles=1)
    change_frames(truth.xml, "scanLinePeriod", None)
    with pytest.warns(CalscipyWarning, match="does not say how long a line takes"):
        dataset = lines_of(truth.xml)
    assert np.isnan(dataset.line_interval).all()
    np.testing.assert_array_equal(dataset.linescan, truth.pixels)


def test_an_lsd_file_of_the_same_interval_says_nothing(tmp_path):
    truth = write_linescan(tmp_path / "r", cycles=1, old=True)
    (lsd,) = truth.xml.parent.glob("*.lsd")
    lsd.write_text(re.sub("Time=8.0", "Time=2.0", lsd.read_text()))
    dataset = lines_of(truth.xml)
    np.testing.assert_allclose(dataset.line_interval, [0.002])
    assert dataset.linescan.attrs["lsd"][lsd.name]["Main"] == {"Acquisition type": "LINESCAN"}


@pytest.mark.parametrize(
    ("data", "part"), [(b"nothing", "no .section."), (b"x" * 2**21, "2097152")]
)
def test_a_damaged_lsd_file_leaves_the_images(tmp_path, data, part):
    truth = write_linescan(tmp_path / "r", cycles=1, old=True)
    (lsd,) = truth.xml.parent.glob("*.lsd")
    lsd.write_bytes(data)
    with pytest.raises(RecordingError, match=part):
        read_lsd(lsd)
    with pytest.warns(DamagedRecordingWarning, match=part):
        dataset = lines_of(truth.xml)
    np.testing.assert_array_equal(dataset.linescan, truth.pixels)
    np.testing.assert_allclose(dataset.line_interval, [0.002])


# The place


def test_places_that_differ_between_cycles(tmp_path):
    truth = write_linescan(tmp_path / "r", cycles=2)
    with editing(truth.xml) as root:
        line = root.findall(".//Line")[1]
        line.set("startPixelY", "9")
        line.set("stopPixelY", "20")
    dataset = lines_of(truth.xml)
    assert dataset.line_y.dims == ("cycle", "pixel")
    np.testing.assert_allclose(dataset.line_y[0], truth.y)
    np.testing.assert_allclose(dataset.line_y[1], np.linspace(9, 20, 12) * 0.25)
    assert dataset.line_x.dims == ("pixel",)
    assert dataset.line_x.attrs["units"] == "um"


def test_places_in_pixels_where_the_size_is_unknown(tmp_path):
    truth = write_linescan(tmp_path / "r", cycles=1)
    with editing(truth.xml) as root:
        shard = root.find("PVStateShard")
        shard.remove(shard.find("*[@key='micronsPerPixel']"))
    dataset = lines_of(truth.xml)
    np.testing.assert_allclose(dataset.line_x, truth.x / 0.25)
    assert dataset.line_x.attrs["units"] == "1"
    np.testing.assert_allclose(dataset.distance, truth.distance)


def test_a_scan_without_a_line_has_no_places(tmp_path):
    truth = write_linescan(tmp_path / "r", cycles=1)
    with editing(truth.xml) as root:
        sequence = root.find("Sequence")
        sequence.remove(sequence.find("PVLinescanDefinition"))
    dataset = lines_of(truth.xml)
    assert not {"line_y", "line_x", "distance"} & set(dataset.coords)
    np.testing.assert_array_equal(dataset.linescan, truth.pixels)


places = st.tuples(st.floats(0, 500), st.floats(0, 500))


@settings(deadline=None, derandomize=True, max_examples=50)
@given(st.lists(places, min_size=2, max_size=8, unique=True), st.integers(2, 40))
def test_pixels_are_spread_evenly_along_a_drawn_line(points, count):
    if count == len(points):
        count += 1
    children = tuple(Node("Freehand", (("x", repr(x)), ("y", repr(y)))) for y, x in points)
    path = line_path(Node("PVLinescanDefinition", (), children), count)
    # Slow reference: walk along the pieces.
    corners = np.array(points)
    lengths = [float(np.hypot(*(b - a))) for a, b in itertools.pairwise(corners)]
    for n in range(count):
        left = n / (count - 1) * sum(lengths)
        for piece, length in enumerate(lengths):
            if left <= length or piece == len(lengths) - 1:
                share = min(1.0, left / length) if length else 0.0
                break
            left -= length
        wanted = corners[piece] + share * (corners[piece + 1] - corners[piece])
        np.testing.assert_allclose([path.y[n], path.x[n]], wanted, atol=1e-6)
    assert np.isnan(path.length_um)


# Source images and profiles


def test_source_images_are_those_that_exist(tmp_path):
    truth = write_linescan(tmp_path / "r", cycles=3)
    dataset = lines_of(truth.xml)
    assert dataset.source.dims == ("cycle", "channel", "y", "x")
    assert dataset.source_valid.values.tolist() == [[True, True]] + [[False, False]] * 2
    for channel in (1, 2):
        wanted = encode_value((16, 16), frame=0, channel=channel)
        np.testing.assert_array_equal(dataset.source[0, channel - 1], wanted)
    assert not dataset.source[1:].any()
    np.testing.assert_allclose(dataset.x, np.arange(16) * 0.25)


def test_without_source_files_there_are_no_source_images(tmp_path):
    truth = write_linescan(tmp_path / "r", cycles=1)
    for path in truth.xml.parent.glob("*Source.tif"):
        path.write_bytes(b"II*\0 no image")
    assert "source" not in lines_of(truth.xml)
    for path in truth.xml.parent.glob("*Source.tif"):
        path.unlink()
    assert "source" not in lines_of(truth.xml)


def add_profiles(xml, text, name="r_Cycle00002_LineProfileData.csv"):
    xml.with_name("r_Cycle00002_LineProfileData.csv").write_text(text)
    with editing(xml) as root:
        sequence = root.findall("Sequence")[1]
        element = sequence.makeelement("LineScanProfiles", {"DataFile": name})
        for n in (1, 2):
            place = {"number": str(n), "channel": str(n), "x0": "3", "x1": "7"}
            element.append(element.makeelement("Profile", place))
        sequence.append(element)


def test_profiles_are_on_the_clock_of_the_images(tmp_path):
    truth = write_linescan(tmp_path / "r", cycles=2)
    rows = "0, 5, 0, 50\n8, 6, 8, 60\n16, 7, NaN, NaN\n"
    add_profiles(truth.xml, "Prof 1 Time(ms),  Prof 1, Prof 2 Time(ms), Prof 2\n" + rows)
    profile = lines_of(truth.xml).profile
    nan = np.nan
    np.testing.assert_array_equal(profile[1], [[5, 6, 7], [50, 60, nan]])
    assert np.isnan(profile[0]).all()
    start = truth.times[1, 0]
    wanted = [[start, start + 0.008, start + 0.016], [start, start + 0.008, nan]]
    np.testing.assert_allclose(profile.profile_time[1], wanted)
    assert profile.profile_channel.values.tolist() == [1.0, 2.0]
    assert profile.profile_x1.values.tolist() == [7.0, 7.0]


@pytest.mark.parametrize(
    ("text", "name", "part"),
    [
        ("A, B\n1, 2\n", "r_Cycle00002_LineProfileData.csv", "expected the columns 'Prof 1"),
        ("", "r_Cycle00002_LineProfileData.csv", "0 bytes"),
        ("", "missing.csv", "is missing"),
        ("", "../x.csv", "a bare file name"),
    ],
)
def test_bad_profiles_leave_the_images(tmp_path, text, name, part):
    truth = write_linescan(tmp_path / "r", cycles=2)
    add_profiles(truth.xml, text, name)
    with pytest.warns(DamagedRecordingWarning, match=part):
        dataset = lines_of(truth.xml)
    assert "profile" not in dataset
    np.testing.assert_array_equal(dataset.linescan, truth.pixels)


# Damage and laziness


def test_missing_and_cut_images_are_masked(tmp_path):
    truth = write_linescan(tmp_path / "r", cycles=3)
    names = sorted(truth.xml.parent.glob("*.ome.tif"))
    names[1].unlink()
    names[4].write_bytes(names[4].read_bytes()[:200])
    with pytest.warns(DamagedRecordingWarning, match="2 of 6 images") as got:
        dataset = lines_of(truth.xml)
    assert len(got) == 1
    assert dataset.valid.values.tolist() == [[True, False], [True, True], [False, True]]
    wanted = truth.pixels * dataset.valid.values[..., None, None]
    np.testing.assert_array_equal(dataset.linescan, wanted)
    np.testing.assert_allclose(dataset.time, truth.times, atol=1e-9)


def test_cycles_are_chosen(tmp_path):
    truth = write_linescan(tmp_path / "r", cycles=3)
    dataset = open_tree(truth.xml, cycles=[2, 3])["linescan"].to_dataset()
    assert dataset.cycle.values.tolist() == [2, 3]
    np.testing.assert_array_equal(dataset.linescan, truth.pixels[1:])
    np.testing.assert_allclose(dataset.time, truth.times[1:] - truth.times[1, 0], atol=1e-9)


def test_cycles_of_other_sizes_are_refused(tmp_path):
    truth = write_linescan(tmp_path / "r", cycles=2)
    with editing(truth.xml) as root:
        root.findall(".//*[@key='linesPerFrame']")[-1].set("value", "7")
    with pytest.raises(RecordingError, match=r"differ in size between cycles.*cycles=\[\.\.\.\]"):
        open_tree(truth.xml)


def test_images_stay_on_the_disk_until_asked_for(tmp_path):
    truth = write_linescan(tmp_path / "r", cycles=3)
    dataset = lines_of(truth.xml)
    assert not dataset.linescan.variable._in_memory
    lazy = chunk_line_scans(dataset, "frames")
    assert lazy.linescan.chunks == ((1, 1, 1), (1, 1), (50,), (12,))
    assert lazy.source.chunks == ((1, 1, 1), (1, 1), (16,), (16,))
    with dask.config.set(scheduler="sync"):
        np.testing.assert_array_equal(lazy.linescan, truth.pixels)
    assert chunk_line_scans(dataset, None) is dataset
