"""Recordings of PrairieView through the names of 0.3.5, and where it was wrong (F41 to F44)."""

import warnings
from xml.etree import ElementTree

import numpy as np
import pandas as pd
import pytest
import tifffile
from hypothesis import given, settings
from hypothesis import strategies as st

import calscipy as cs
from calscipy.compat.bruker.data import (
    align_data,
    determine_imaging_content,
    extract_frame_times,
    generate_bruker_naming_convention,
    load_bruker_tifs,
    load_mark_points,
    load_voltage_output,
    load_voltage_recording,
    repackage_bruker_tifs,
)
from calscipy.errors import (
    ArgumentError,
    CalscipyWarning,
    RecordingError,
    TargetExistsError,
)
from calscipy.testing import write_recording
from calscipy.testing._edits import add_mark_points
from calscipy.testing._voltage import link_side_file, write_voltage, write_voltage_output

from . import reference


@pytest.fixture(scope="module")
def plane(tmp_path_factory):
    """Two channels of a plane, with voltage."""
    folder = tmp_path_factory.mktemp("plane") / "mouse1"
    truth = write_recording(folder, frames=15, shape=(16, 20), channels=("Ch1", "Ch2"), neurons=1)
    values = {"LFP": np.sin(np.arange(900)), "lick": np.arange(900) % 5}
    analog = write_voltage(truth.folder, values, rate=1000, units={"lick": ("mV", 10.0, 1.0)})
    link_side_file(truth.xml, "VoltageRecording", analog.link)
    return truth, analog


@pytest.fixture(scope="module")
def volume(tmp_path_factory):
    """Twelve planes of one channel."""
    folder = tmp_path_factory.mktemp("volume") / "mouse2"
    return write_recording(folder, frames=3, shape=(8, 12), planes=12, neurons=1)


# -- images ----------------------------------------------------------------------------------


def test_content_is_counted(plane, volume):
    assert determine_imaging_content(plane[0].folder) == (2, 1, 15, 16, 20)  # F41
    assert determine_imaging_content(volume.xml) == (1, 12, 3, 8, 12)
    assert all(type(n) is int for n in determine_imaging_content(volume.folder))


def test_an_empty_folder_is_an_error(tmp_path):
    for function in (determine_imaging_content, load_bruker_tifs, extract_frame_times):
        with pytest.raises(RecordingError):  # F41: ZeroDivisionError
            function(tmp_path)


@pytest.mark.parametrize("channel", [0, 1])
def test_names_of_a_channel(plane, channel):
    pattern = generate_bruker_naming_convention(channel, 0, num_channels=2)
    names = {path.name for path in plane[0].folder.glob(pattern)}
    assert len(names) == 15
    assert {cs.prairieview.parse_name(name).channel for name in names} == {channel + 1}


@pytest.mark.parametrize("which", [0, 8, 9, 11])
def test_names_of_a_plane(volume, which):
    pattern = generate_bruker_naming_convention(1, which, 2, 12)  # the channel is Ch2
    names = {path.name for path in volume.folder.glob(pattern)}
    assert len(names) == 3  # F41: none for the tenth plane
    assert {cs.prairieview.parse_name(name).index for name in names} == {which + 1}


@pytest.mark.parametrize(("channel", "plane"), [(1, 0), (0, 1), (-1, 0), (0, -1)])
def test_names_of_what_is_not_there(channel, plane):
    with pytest.raises(ArgumentError, match="counted from 0, of 1 channels and 1 planes"):
        generate_bruker_naming_convention(channel, plane)


def test_images_of_all_channels(plane):
    found = load_bruker_tifs(plane[0].folder)
    assert isinstance(found, tuple)
    for channel, images in enumerate(found):
        assert np.array_equal(images, reference.load_bruker_tifs(plane[0].folder, channel))
        assert np.array_equal(load_bruker_tifs(plane[0].folder, channel)[0], images)
    assert len(found) == 2


def test_images_of_all_planes(volume):
    every = load_bruker_tifs(volume.folder)
    assert len(every) == 12
    for number in (0, 5, 11):
        (images,) = load_bruker_tifs(volume.folder, plane=number)  # F41: TypeError
        names = sorted(volume.folder.glob(f"*_{number + 1:06d}.ome.tif"))
        expected = np.stack([tifffile.imread(name, key=0) for name in names])
        assert np.array_equal(images, expected)
        assert np.array_equal(every[number], expected)
    assert len(load_bruker_tifs(volume.folder, 0)) == 12
    with pytest.raises(IndexError):
        load_bruker_tifs(volume.folder, channel=3)


def test_stacks_are_written(plane, volume, tmp_path):
    assert repackage_bruker_tifs(plane[0].folder, tmp_path / "out", channel=1) is None  # F20
    (file,) = (tmp_path / "out").iterdir()
    assert file.name == "mouse1_channel_1_plane_0.tif"
    assert np.array_equal(tifffile.imread(file), load_bruker_tifs(plane[0].folder, 1)[0])
    with pytest.raises(TargetExistsError):
        repackage_bruker_tifs(plane[0].folder, tmp_path / "out", channel=1)
    repackage_bruker_tifs(volume.folder, tmp_path / "out", plane=9)
    written = tifffile.imread(tmp_path / "out" / "mouse2_channel_0_plane_9.tif")
    assert np.array_equal(written, load_bruker_tifs(volume.folder, plane=9)[0])


# -- times and analog signals ----------------------------------------------------------------


def test_times_of_frames_are_those_of_the_xml(plane):
    truth, _ = plane
    for path in (truth.xml, truth.folder, str(truth.xml)):
        found = extract_frame_times(path)
        assert found.columns.tolist() == ["Imaging Frame"]
        assert found.index.name == "Time (ms)"
        assert found["Imaging Frame"].tolist() == list(range(15))
        np.testing.assert_allclose(found.index, reference.extract_frame_times(truth.xml), atol=1e-6)


def test_times_of_all_volumes_and_cycles_are_there(volume, tmp_path):
    assert len(extract_frame_times(volume.folder)) == 3  # F43: the first sequence alone
    truth = write_recording(tmp_path / "a", frames=12, shape=(8, 8), neurons=1, cycles=2)
    found = extract_frame_times(truth.folder)
    assert len(found) == len(reference.extract_frame_times(truth.xml))
    assert len(found) > 6
    np.testing.assert_allclose(found.index, reference.extract_frame_times(truth.xml), atol=1e-6)


def test_fast_frames_do_not_collide(tmp_path):
    truth = write_recording(tmp_path / "a", frames=20, shape=(8, 8), neurons=1, frame_rate=2500.0)
    times = extract_frame_times(truth.folder).index  # F43: 0.4 ms, rounded to ms
    assert len(set(times)) == 20
    np.testing.assert_allclose(np.diff(times), 0.4, atol=1e-3)


def test_voltage_of_a_file_is_its_table_in_physical_units(plane):
    truth, analog = plane
    found = load_voltage_recording(analog.table)
    expected = reference.load_voltage_recording(analog.table)
    assert found.columns.tolist() == ["LFP", "lick"]
    assert found.index.name == "Time (ms)"
    np.testing.assert_allclose(found.index, expected.index)
    np.testing.assert_allclose(found["LFP"], expected["LFP"])
    np.testing.assert_allclose(found["lick"], expected["lick"] * 10)
    assert truth.folder == analog.table.parent


def test_voltage_of_a_folder_is_on_the_clock_of_the_frames(plane):
    truth, analog = plane
    found = load_voltage_recording(truth.folder)  # F42: TypeError
    voltage = cs.ImagingSession.open(truth.folder).voltage
    np.testing.assert_allclose(found.index, voltage.time * 1000)
    np.testing.assert_allclose(found["lick"], analog.values[1])


def test_voltage_of_a_folder_without_images(tmp_path):
    with pytest.raises(RecordingError, match="one voltage recording was expected, found 0"):
        load_voltage_recording(tmp_path)
    written = write_voltage(tmp_path, {"LFP": [0.0, 1.0, 2.0]}, rate=500)
    assert load_voltage_recording(tmp_path)["LFP"].tolist() == [0, 1, 2]
    write_voltage(tmp_path, {"LFP": [0.0]}, rate=500, cycle=2)
    with pytest.raises(RecordingError, match="found 2"):
        load_voltage_recording(tmp_path)
    for damage in (lambda: written.settings.write_text("<no"), written.settings.unlink):
        damage()
        with pytest.warns(CalscipyWarning, match="taken as volts"):
            assert load_voltage_recording(written.table)["LFP"].tolist() == [0, 1, 2]
    written.table.write_text("")
    with pytest.warns(CalscipyWarning), pytest.raises(RecordingError, match="cannot be read"):
        load_voltage_recording(written.table)


@pytest.mark.parametrize(
    "how", [{"lost": True}, {"cut": 12}, {"nominal_rate": 400.0}, {"header": ["other"]}]
)
def test_voltage_that_is_not_as_its_settings_say_comes_with_a_warning(tmp_path, how):
    written = write_voltage(tmp_path, {"LFP": np.arange(50.0)}, rate=500, **how)
    with pytest.warns(CalscipyWarning):
        found = load_voltage_recording(written.table)
    assert found["LFP"].tolist() == list(range(49 if "cut" in how else 50))


def test_long_voltage_recordings_are_read_in_pieces(tmp_path):
    values = np.round(np.random.default_rng(0).normal(size=(3, 150_000)), 6)
    names = ("LFP", "lick", "run")
    written = write_voltage(tmp_path, dict(zip(names, values, strict=True)), rate=10_000)
    assert written.table.stat().st_size > 4 * 2**20
    found = load_voltage_recording(written.table)
    np.testing.assert_allclose(found.T, values, atol=1e-9)
    np.testing.assert_allclose(found.index, np.arange(150_000) / 10, atol=1e-6)


def test_voltage_outputs_are_read(tmp_path):
    file = tmp_path / "output.xml"
    write_voltage_output(file, {"LED": [("FixedVoltage", {"Potential": 5, "HoldTime": 1})]})
    assert load_voltage_output(file).waveforms[0].components[0].potential == 5.0


# -- both on one clock -----------------------------------------------------------------------


def tables(analog, frames):
    return (
        pd.DataFrame({"LFP": np.arange(len(analog))}, pd.Index(analog, name="Time (ms)")),
        pd.DataFrame({"Imaging Frame": np.arange(len(frames))}, pd.Index(frames)),
    )


@settings(deadline=None, derandomize=True, max_examples=60)
@given(seed=st.integers(0, 999), rate=st.floats(0.2, 5), count=st.integers(1, 40))
def test_every_frame_is_at_the_sample_nearest_to_it(seed, rate, count):
    rng = np.random.default_rng(seed)
    analog = np.arange(3000) / rate
    frames = np.cumsum(rng.uniform(20, 33, count))
    frames = frames[frames < analog[-1]]
    found = align_data(*tables(analog, frames))  # F44: two of three frames were kept
    expected = reference.align_data(analog, frames)
    assert found.columns.tolist() == ["LFP", "Imaging Frame"]
    np.testing.assert_array_equal(found["Imaging Frame"], expected)
    assert found["Imaging Frame"].count() == len(frames)
    assert np.array_equal(found["LFP"], np.arange(3000))


@pytest.mark.parametrize("method", ["nearest", "previous"])
def test_every_sample_knows_its_frame(method):
    analog, frames = np.arange(-20.0, 130.0, 1.5), np.arange(4) * 33.3
    found = align_data(*tables(analog, frames), fill=True, method=method)
    wanted = []
    for time in analog:
        if method == "nearest":
            near = int(np.argmin(np.abs(frames - time)))
            wanted.append(near if abs(frames[near] - time) <= 33.3 / 2 else np.nan)
        else:
            before = np.flatnonzero((frames <= time) & (time - frames <= 33.3))
            wanted.append(before[-1] if before.size else np.nan)
    np.testing.assert_array_equal(found["Imaging Frame (filled)"], wanted)
    assert np.isnan(wanted).any()
    assert found["Imaging Frame"].count() == 4


def test_frames_that_cannot_be_marked_are_counted():
    with pytest.warns(CalscipyWarning, match="2 frames lie outside .* and 0 share"):
        found = align_data(*tables(np.arange(10.0), np.array([-5.0, 3.0, 20.0])))
    assert found["Imaging Frame"].dropna().tolist() == [1]
    with pytest.warns(CalscipyWarning, match="0 frames lie outside .* and 2 share"):
        found = align_data(*tables(np.arange(3) * 10.0, np.array([9.0, 10.0, 11.0])))
    assert found["Imaging Frame"].dropna().tolist() == [2]


def test_arguments_of_alignment_are_checked():
    analog, frames = tables(np.arange(5.0), np.arange(2.0))
    before = analog.copy()
    with pytest.raises(ArgumentError, match="'nearest' or 'previous'"):
        align_data(analog, frames, fill=True, method="cubic")
    with pytest.raises(ArgumentError, match="times that increase"):
        align_data(analog.iloc[::-1], frames)
    align_data(analog, frames, fill=True)
    pd.testing.assert_frame_equal(analog, before)


def test_a_recording_is_aligned_as_the_session_does(plane):
    truth, _ = plane
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = align_data(load_voltage_recording(truth.folder), extract_frame_times(truth.xml))
        expected = cs.ImagingSession.open(truth.folder).align("voltage", to="movie")
    marked = found.dropna()
    assert len(marked) == 15
    np.testing.assert_allclose(marked["LFP"], expected.sel(signal="LFP"))


# -- mark points -----------------------------------------------------------------------------


def test_mark_points_of_a_recording(tmp_path):
    truth = write_recording(tmp_path / "a", frames=5, shape=(64, 32), neurons=1)
    add_mark_points(truth.xml, 1)
    (file,) = truth.folder.glob("*_MarkPoints.xml")
    found = load_mark_points(file)  # F47: NameError
    assert found.series == cs.photostimulation.read_mark_points(file)
    (point,) = ElementTree.parse(file).getroot().iter("Point")
    x, y = found.rois[0].generate_coordinates(32, 64)
    assert x == pytest.approx(32 * float(point.get("X")))
    assert y == pytest.approx(64 * float(point.get("Y")))
    assert found.mask.shape == (512, 512)
    assert found.mask.any()
    assert found.stimuli.sizes["stimulus"] == len(found.rois)
    assert [group.indices for group in found.groups] == [(0,)]


@pytest.mark.parametrize(
    "text", ["", "<a/>", "<!DOCTYPE a [<!ENTITY b SYSTEM 'file:///etc/passwd'>]><a>&b;</a>"]
)
def test_files_that_are_no_mark_points_are_refused(tmp_path, text):
    file = tmp_path / "a.xml"
    file.write_text(text)
    with pytest.raises((RecordingError, ArgumentError)):
        load_mark_points(file)
