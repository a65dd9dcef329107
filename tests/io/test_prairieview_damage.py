"""PrairieView recordings that are damaged, incomplete or hostile."""

import builtins
import os
import shutil
import sys
import warnings
from contextlib import contextmanager
from xml.etree import ElementTree

import numpy as np
import pytest

import calscipy as cs
from calscipy.errors import (
    ArgumentError,
    CalscipyWarning,
    DamagedRecordingWarning,
    FrameError,
    RecordingError,
)
from calscipy.io.prairieview import frames, validity
from calscipy.testing import encode_value, tiff_frame, write_recording

SHAPE = (40, 24)
PLAIN = frames.FrameLayout(*SHAPE)
CHECKS = ["sizes", "headers"]

pytestmark = pytest.mark.filterwarnings("ignore:divide by zero:RuntimeWarning:tifffile")


@pytest.fixture
def record(tmp_path):
    """Write a recording whose pixels say what they are."""

    def write(name="r", **options):
        return write_recording(
            tmp_path / name, encode=True, **{"frames": 6, "shape": SHAPE, **options}
        )

    return write


@contextmanager
def editing(truth):
    """Change the elements of a master XML."""
    root = ElementTree.parse(truth.xml).getroot()
    yield root
    ElementTree.ElementTree(root).write(truth.xml, encoding="utf-8", xml_declaration=True)


def files(truth):
    return sorted(truth.folder.glob("*.tif"))


def movie_of(truth, **options):
    return cs.ImagingSession.open(truth.folder, **options).movie


def damaged_movie_of(truth, **options):
    """Open with exactly one warning; return movie and text."""
    with warnings.catch_warnings(record=True) as got:
        warnings.simplefilter("always")
        movie = movie_of(truth, **options)
    assert [item.category for item in got] == [DamagedRecordingWarning]
    return movie, str(got[0].message)


def refusal(path, kind=RecordingError, **options):
    """Text of the error that opening raises."""
    with pytest.raises(kind) as error:
        cs.ImagingSession.open(path, **options)
    return str(error.value)


def contains(text, *parts):
    missing = [part for part in parts if str(part) not in text]
    assert not missing, text


def stack(truth, count=6):
    return np.stack([truth.frame(t) for t in range(count)])


# One damaged frame


def other_shape(*shape):
    return lambda data: tiff_frame(encode_value(shape), description=b" " * 450)


NOTICED = {  # by its size: what is done to the bytes (None: no file), and what the warning says
    "missing": (None, "1 missing"),
    "empty": (lambda data: b"", "1 empty"),
    "cut in the header": (lambda data: data[:5], "1 not a readable TIFF"),
    "cut behind the header": (lambda data: data[:8], "1 "),
    "cut in the pixels": (lambda data: data[: 8 + PLAIN.pixel_bytes // 2], "1 "),
    "cut in the directory": (lambda data: data[: PLAIN.file_bytes - 10], "1 "),
    "smaller": (other_shape(8, 8), "1 8 x 8 pixels of uint16"),
    "no TIFF": (lambda data: b"hello" * 20, "1 not a readable TIFF"),
}
UNNOTICED = {  # by its size: what is done, and what the error says
    "larger": (other_shape(48, 24), "expected 40 x 24 pixels of uint16, found 48 x 24"),
    "transposed": (other_shape(24, 40), "found 24 x 40"),
    "zeros": (lambda data: bytes(len(data)), "not a TIFF"),
    "noise": (lambda data: bytes(reversed(data)), ""),
    "directory elsewhere": (lambda data: data[:4] + b"\xff\xff\xff\x7f" + data[8:], ""),
    "pixels beyond the end": (
        lambda data: data.replace(
            PLAIN._expected[-1][1], PLAIN._expected[-1][1].replace(b"\0\0", b"\xff\x7f")
        ),
        "",
    ),
}


def damage(path, change):
    if change is None:
        path.unlink()
    else:
        path.write_bytes(change(path.read_bytes()))


def check_masked(truth, movie, text, at):
    """The frame is masked, the warning counts and names it, all others are untouched."""
    contains(text, truth.folder, "1 of 6 images", files_of_xml(truth)[at], "'valid'", "Copy")
    assert movie.valid.values.tolist() == [t != at for t in range(6)]
    wanted = stack(truth)
    wanted[at] = frames.FILL_VALUE
    np.testing.assert_array_equal(movie, wanted)


def files_of_xml(truth):
    return [file.get("filename") for file in ElementTree.parse(truth.xml).iter("File")]


@pytest.mark.usefixtures("loop")
@pytest.mark.parametrize("check", CHECKS)
@pytest.mark.parametrize("kind", NOTICED)
def test_damage_that_shows_in_the_size_is_masked(record, kind, check):
    truth = record()
    change, fault = NOTICED[kind]
    damage(files(truth)[2], change)
    movie, text = damaged_movie_of(truth, check=check)
    contains(text, fault)
    check_masked(truth, movie, text, at=2)


@pytest.mark.usefixtures("loop")
@pytest.mark.parametrize("kind", UNNOTICED)
def test_other_damage_is_masked_if_every_file_is_looked_into(record, kind):
    truth = record()
    damage(files(truth)[5], UNNOTICED[kind][0])
    movie, text = damaged_movie_of(truth, check="headers")
    check_masked(truth, movie, text, at=5)


@pytest.mark.usefixtures("loop")
@pytest.mark.parametrize("chunks", [None, "frames", {"y": 20}])
@pytest.mark.parametrize("kind", UNNOTICED)
def test_other_damage_is_an_error_on_reading(record, kind, chunks):
    truth = record()
    change, message = UNNOTICED[kind]
    damage(files(truth)[5], change)
    movie = movie_of(truth, chunks={"frames": 1} if chunks == "frames" else chunks)
    np.testing.assert_array_equal(movie[:5], stack(truth, 5))
    with pytest.raises(FrameError) as error:
        movie[5].compute()
    contains(str(error.value), files(truth)[5], message, "Copy it again", "check='headers'")


@pytest.mark.usefixtures("loop")
def test_a_file_that_vanishes_after_opening(record):
    truth = record()
    movie = movie_of(truth, chunks={"frames": 1})
    gone = files(truth)[1]
    gone.unlink()
    with pytest.raises(FrameError) as error:
        movie[1].compute()
    contains(str(error.value), gone, "No such file", "Copy it again")
    np.testing.assert_array_equal(movie[2], truth.frame(2))


@pytest.mark.parametrize("check", CHECKS)
def test_a_folder_in_place_of_a_file(record, check):
    truth = record()
    files(truth)[2].unlink()
    (truth.folder / files_of_xml(truth)[2]).mkdir()
    movie, text = damaged_movie_of(truth, check=check)
    check_masked(truth, movie, text, at=2)


def test_one_warning_names_the_first_few_of_many(record):
    truth = record(frames=20)
    for path in files(truth)[3:10]:
        path.unlink()
    for path in files(truth)[-2:]:
        os.truncate(path, 0)
    _, text = damaged_movie_of(truth)
    contains(text, "9 of 20 images", "(7 missing, 2 empty)", *files_of_xml(truth)[3:6])
    contains(text, "and 6 more")
    assert files_of_xml(truth)[6] not in text


def test_the_warning_points_to_the_line_that_opened(record):
    truth = record(missing=[1])
    with pytest.warns(DamagedRecordingWarning) as got:
        cs.ImagingSession.open(truth.folder)
    assert got[0].filename == __file__


# Several


@pytest.mark.parametrize("chunks", [None, "frames", {"y": 16}])
def test_three_missing_frames_leave_all_others(record, chunks):
    truth = record(frames=12, missing=[0, 5], truncated=[11])
    movie, _ = damaged_movie_of(truth, chunks=chunks)
    np.testing.assert_array_equal(movie.valid, truth.written)
    wanted = np.where(truth.written.values[:, None, None], stack(truth, 12), 0)
    np.testing.assert_array_equal(movie, wanted)
    np.testing.assert_allclose(movie.time, truth.times, atol=1e-9)


@pytest.mark.parametrize("bidirectional", [False, True])
def test_three_missing_images_of_volumes(record, bidirectional):
    options = {"frames": 4, "planes": 3, "channels": {1: "Red", 2: "Green"}, "shape": (9, 6)}
    truth = record(bidirectional=bidirectional, missing=[(1, 0), (2, 2)], **options)
    lone = next(
        name for name in files_of_xml(truth) if "Cycle00004_Ch1" in name and "000001" in name
    )
    (truth.folder / lone).unlink()
    movie, text = damaged_movie_of(truth)
    valid = np.ones((4, 2, 3), bool)
    valid[1, :, 0] = valid[2, :, 2] = False
    valid[3, 0, 2 if bidirectional else 0] = False
    np.testing.assert_array_equal(movie.valid, valid)
    assert movie.valid.dims == ("frames", "channel", "plane")
    contains(text, "5 of 24 images", "5 missing")
    for t, c, p in np.ndindex(4, 2, 3):
        wanted = truth.frame(t, c + 1, p) if valid[t, c, p] else np.zeros((9, 6), "uint16")
        np.testing.assert_array_equal(movie[t, c, p], wanted)


def test_a_channel_that_the_xml_leaves_out_of_one_frame(record):
    truth = record(channels={1: "Red", 2: "Green"})
    with editing(truth) as root:
        frame = root.findall("Sequence/Frame")[2]
        frame.remove(frame.find("File"))
    movie, text = damaged_movie_of(truth)
    contains(text, "1 of 12 images", "1 not acquired")
    assert movie.valid.values.tolist() == [[t != 2, True] for t in range(6)]
    np.testing.assert_array_equal(movie[2], [np.zeros(SHAPE), truth.frame(2, 2)])


def test_missing_and_cut_files_of_several_pages(record):
    truth = record(frames=12, pages_per_file=4)
    first, second, third = files(truth)
    first.unlink()
    pixels = truth.frame(6).astype("<u2").tobytes()
    os.truncate(second, second.read_bytes().index(pixels) + 100)  # in its third page
    movie, text = damaged_movie_of(truth)
    contains(text, "6 of 12 images", "4 missing", "2 cut short")
    valid = [False] * 4 + [True, True, False, False] + [True] * 4
    assert movie.valid.values.tolist() == valid
    wanted = np.where(np.array(valid)[:, None, None], stack(truth, 12), 0)
    np.testing.assert_array_equal(movie, wanted)
    third.write_bytes(b"")
    _, text = damaged_movie_of(truth)
    contains(text, "10 of 12 images", "4 empty")


def test_all_files_missing(record):
    truth = record()
    for path in files(truth):
        path.unlink()
    movie, text = damaged_movie_of(truth)
    contains(text, "6 of 6 images", "6 missing")
    assert not movie.valid.any()
    assert not movie.values.any()


# All frames


@pytest.mark.parametrize(
    ("shape", "check"), [((8, 8), "sizes"), ((8, 8), "headers"), ((64, 64), "headers")]
)
def test_frames_that_are_all_of_another_shape(record, monkeypatch, shape, check):
    truth = record(frames=40)
    for path in files(truth):
        damage(path, other_shape(*shape))
    looked = []
    complete = validity.complete_pages
    monkeypatch.setattr(
        validity, "complete_pages", lambda *args: [looked.append(1), complete(*args)][1]
    )
    text = refusal(truth.folder, check=check)
    contains(text, truth.xml, "says 40 x 24 pixels", f"hold {shape[0]} x {shape[1]} pixels")
    contains(text, "put the original files back")
    assert len(looked) <= 16  # and not all of 100,000


def test_frames_that_are_all_larger_fail_when_they_are_read(record):
    truth = record(frames=3)
    for path in files(truth):
        damage(path, other_shape(64, 64))
    movie = movie_of(truth)
    with pytest.raises(FrameError, match="expected 40 x 24 pixels of uint16, found 64 x 64"):
        movie.compute()


@pytest.mark.parametrize("without", [("preadv",), ("pread", "preadv")])
@pytest.mark.parametrize("chunks", ["frames", {"y": 16}])
def test_reading_without_what_posix_has(record, monkeypatch, without, chunks):
    truth = record(missing=[4])
    for name in without:
        monkeypatch.delattr(os, name, raising=False)
    monkeypatch.setitem(sys.modules, "fcntl", None)
    monkeypatch.setattr(
        frames._OpenFile, "page", lambda *args: pytest.fail("the fast path was left")
    )
    movie, text = damaged_movie_of(truth, chunks=chunks, check="headers")
    check_masked(truth, movie, text, at=4)


def test_damage_is_found_without_what_posix_has(record, monkeypatch):
    monkeypatch.delattr(os, "preadv", raising=False)
    truth = record()
    damage(files(truth)[5], UNNOTICED["zeros"][0])
    with pytest.raises(FrameError):
        movie_of(truth).compute()
    movie, text = damaged_movie_of(truth, check="headers")
    check_masked(truth, movie, text, at=5)


# The folder


def put_raw_data(truth):
    for path in files(truth):
        path.unlink()
    (truth.folder / "CYCLE_000001_RAWDATA_000001").write_bytes(bytes(100))
    (truth.folder / "Cycle00001_Filelist.txt").touch()


def without_xml(truth):
    shutil.rmtree(truth.folder)
    truth.folder.mkdir()
    (truth.folder / "r_Cycle00001_MarkPoints.xml").write_text("<PVMarkPointSeriesElements />")


def empty_folder(truth):
    shutil.rmtree(truth.folder)
    truth.folder.mkdir()


FOLDERS = {
    "empty": (empty_folder, ["the folder is empty", "was expected", "Copy the recording again"]),
    "gone": (lambda truth: shutil.rmtree(truth.folder), ["no such folder", "Check the path"]),
    "no master XML": (without_xml, ["root <PVScan>", "r_Cycle00001_MarkPoints.xml", "Copy"]),
    "two master XMLs": (
        lambda truth: shutil.copy(truth.xml, truth.folder / "s.xml"),
        ["2 PrairieView recordings", "r.xml, s.xml", "Open one by the path of its XML"],
    ),
    "RAWDATA": (put_raw_data, ["RAWDATA", "Image-Block Ripping Utility", "5.6.64.400"]),
}


@pytest.mark.parametrize("kind", FOLDERS)
def test_folders_without_one_recording(record, kind):
    truth = record()
    prepare, parts = FOLDERS[kind]
    prepare(truth)
    contains(refusal(truth.folder), truth.folder, *parts)


def test_one_of_two_master_xmls_is_opened_by_its_path(record):
    truth = record()
    shutil.copy(truth.xml, truth.folder / "s.xml")
    movie = cs.ImagingSession.open(truth.folder / "s.xml").movie
    np.testing.assert_array_equal(movie, stack(truth))


def test_a_renamed_folder_opens(record):
    truth = record()
    folder = truth.folder.rename(truth.folder.with_name("mouse 12 µ"))
    session = cs.ImagingSession.open(folder)
    np.testing.assert_array_equal(session.movie, stack(truth))
    assert session.tree.attrs["source"] == "mouse 12 µ"


# The XML


def set_state(root, **values):
    """Set values of the root's state; None removes them."""
    state = root.find("PVStateShard")
    for key, value in values.items():
        item = state.find(f"PVStateValue[@key='{key}']")
        if value is None:
            state.remove(item)
        else:
            item.set("value", value)


def set_frames(root, **values):
    """Set an attribute of all frames; None removes it."""
    for frame in root.iter("Frame"):
        for key, value in values.items():
            if value is None:
                frame.attrib.pop(key)
            else:
                frame.set(key, value)


def override_shape(root):
    state = root.findall("Sequence")[1].find("PVStateShard")
    ElementTree.SubElement(state, "PVStateValue", key="linesPerFrame", value="8")


def mix_types(root):
    root.findall("Sequence")[1].set("type", "TSeries ZSeries Element")


def remove_frames(root):
    for sequence in root.iter("Sequence"):
        for frame in sequence.findall("Frame"):
            sequence.remove(frame)


XMLS = {
    "10^9 pixels": (
        lambda root: set_state(root, linesPerFrame="100000", pixelsPerLine="10000"),
        ["claims frames of 100000 x 10000 pixels", "268435456 pixels are accepted", "copy it"],
    ),
    "no pixels": (lambda root: set_state(root, linesPerFrame="0"), ["0 x 24", "copy it"]),
    "negative": (
        lambda root: set_state(root, linesPerFrame="-40", pixelsPerLine="-24"),
        ["-40 x -24", "copy it"],
    ),
    "no number": (
        lambda root: set_state(root, linesPerFrame="forty"),
        ["'forty', a whole number of pixels was expected", "Copy the XML"],
    ),
    "no clock": (
        lambda root: set_frames(root, absoluteTime="1", relativeTime="1"),
        ["neither absoluteTime nor relativeTime increases", "first at frame 1", "cycles=[...]"],
    ),
    "no time at all": (
        lambda root: set_frames(root, absoluteTime=None, relativeTime="x"),
        ["neither absoluteTime nor relativeTime", "first at frame 0", "cycles=[...]"],
    ),
    "sizes differ": (
        override_shape,
        ["differ in size between cycles (40 x 24 in cycles 1; 8 x 24 in cycles 2", "cycles=[...]"],
    ),
    "volumes and planes": (
        mix_types,
        ["mixes volumes and plane series", "2 'TSeries ZSeries Element'", "cycles=[...]"],
    ),
    "no frames": (remove_frames, ["lists no images", "TSeries Timed Element"]),
}


@pytest.mark.parametrize("kind", XMLS)
def test_xmls_that_make_no_movie(record, kind):
    truth = record(cycles=2)
    change, parts = XMLS[kind]
    with editing(truth) as root:
        change(root)
    contains(refusal(truth.folder), truth.xml, *parts)


@pytest.mark.parametrize("change", [override_shape, mix_types])
def test_the_remedy_cycles_works(record, change):
    truth = record(cycles=2)
    with editing(truth) as root:
        change(root)
    np.testing.assert_array_equal(movie_of(truth, cycles=[1]), stack(truth, 3))


def test_an_empty_xml(record):
    truth = record()
    truth.xml.write_bytes(b"")
    contains(refusal(truth.xml), truth.xml, "0 bytes", "a <PVScan> was expected", "Copy it again")
    for path in files(truth):
        path.unlink()
    contains(refusal(truth.folder), truth.folder, "r.xml is empty (0 bytes)", "Copy the XML")


def test_a_truncated_xml_opens_with_its_complete_frames(record):
    truth = record()
    data = truth.xml.read_bytes()
    truth.xml.write_bytes(data[: data.index(b"000004.ome.tif")])
    movie, text = damaged_movie_of(truth)
    contains(text, truth.xml, "breaks off", "3 complete frames", "Copy the XML again")
    np.testing.assert_array_equal(movie, stack(truth, 3))


@pytest.mark.parametrize("kind", ["Latin-1", "reference"])
def test_odd_characters_in_an_xml(record, kind):
    truth = record(channels={1: "Dodt µ", 2: "Green"}, name="r")
    if kind == "Latin-1":
        text = truth.xml.read_text("utf-8-sig").replace("μ", "µ")  # Greek mu, micro sign
        truth.xml.write_bytes(text.encode("latin-1"))
        movie, text = damaged_movie_of(truth)
        contains(text, truth.xml, "not valid UTF-8", "Windows-1252")
    else:
        text = truth.xml.read_text("utf-8-sig").replace('notes=""', 'notes="a&#x1;b"')
        truth.xml.write_text(text, "utf-8")
        movie = movie_of(truth)
        assert movie.attrs["notes"] == "a\x01b"
    assert movie.channel.values.tolist() == ["Dodt µ", "Green"]
    np.testing.assert_array_equal(movie[:, 1], stack(truth))


@pytest.mark.parametrize("line_ending", ["\n", "\r\n"])
@pytest.mark.parametrize("mark", [True, False], ids=["BOM", "no BOM"])
def test_line_ends_and_marks(record, line_ending, mark):
    truth = record(line_ending=line_ending)
    if not mark:
        truth.xml.write_bytes(truth.xml.read_bytes().removeprefix(b"\xef\xbb\xbf"))
    np.testing.assert_array_equal(movie_of(truth), stack(truth))


def test_an_unknown_sequence_type(record):
    truth = record(cycles=2)
    with editing(truth) as root:
        root.findall("Sequence")[1].set("type", "TSeries Spiral Thing")
    with pytest.warns(CalscipyWarning, match=r"r\.xml: unknown .*'?TSeries Spiral Thing") as got:
        movie = movie_of(truth)
    assert len(got) == 1
    np.testing.assert_array_equal(movie, stack(truth))


def test_sequences_without_images_are_passed_over(record):
    truth = record()
    with editing(truth) as root:
        root.insert(2, ElementTree.Element("Sequence", type="MarkPoints", cycle="0"))
    np.testing.assert_array_equal(movie_of(truth), stack(truth))


def test_a_file_that_is_listed_twice(record):
    truth = record()
    with editing(truth) as root:
        listed = list(root.iter("File"))
        listed[4].set("filename", listed[1].get("filename"))
    wanted = stack(truth)
    wanted[4] = wanted[1]
    np.testing.assert_array_equal(movie_of(truth), wanted)
    files(truth)[1].unlink()
    movie, text = damaged_movie_of(truth)
    contains(text, "2 of 6 images")
    assert movie.valid.values.tolist() == [True, False, True, True, False, True]


def test_files_outside_the_folder_are_not_read(record, tmp_path):
    truth = record()
    (tmp_path / "secret.tif").write_bytes(files(truth)[0].read_bytes())
    with editing(truth) as root:
        next(root.iter("File")).set("filename", "../secret.tif")
    contains(refusal(truth.folder), truth.xml, "'../secret.tif'", "bare file name", "copy it")


def test_the_first_file_of_a_recording_without_sizes_is_damaged(record):
    truth = record()
    with editing(truth) as root:
        set_state(root, linesPerFrame=None)
    files(truth)[0].write_bytes(b"hello")
    contains(refusal(truth.folder), files(truth)[0], "size of the frames", "Copy it again")
    for path in files(truth):
        path.unlink()
    contains(refusal(truth.folder), truth.xml, "none of its files", "Copy the TIFF files")


def test_an_unknown_check(record):
    text = refusal(record().folder, ArgumentError, check="all")
    contains(text, "check must be one of ('sizes', 'headers')", "'all'")


# The clock


@pytest.mark.parametrize("absolute", [None, "0.148"], ids=["absent", "constant"])
@pytest.mark.parametrize("relative_time", ["reset", "continuous"])
@pytest.mark.parametrize("layout", [{"cycles": 2}, {"planes": 3}], ids=["planes", "volumes"])
def test_times_without_absolute_time(record, layout, relative_time, absolute):
    truth = record(relative_time=relative_time, shape=(8, 8), **layout)
    with editing(truth) as root:
        set_frames(root, absoluteTime=absolute)
    movie = movie_of(truth)
    # Sequences say when they started in units of 100 ns, of which Python keeps µs.
    np.testing.assert_allclose(movie.time, truth.times, rtol=0, atol=2e-6)
    if truth.plane_times is not None:
        np.testing.assert_allclose(movie.plane_time, truth.plane_times, rtol=0, atol=2e-6)


def test_midnight(record):
    truth = record(frames=6, cycles=3, frame_rate=2)
    with editing(truth) as root:
        set_frames(root, absoluteTime=None)
        starts = ["23:59:58.5000000", "00:00:01.2500000", "00:00:09.0000000"]
        for sequence, start in zip(root.iter("Sequence"), starts, strict=True):
            sequence.set("time", start)
    wanted = [0, 0.5, 2.75, 3.25, 10.5, 11]
    np.testing.assert_allclose(movie_of(truth).time, wanted, rtol=0, atol=1e-9)


def test_absolute_time_wins(record):
    truth = record(frames=4)
    with editing(truth) as root:
        set_frames(root, relativeTime="0")
        for n, frame in enumerate(root.iter("Frame")):
            frame.set("absoluteTime", str(5 + n * n))
    assert movie_of(truth).time.values.tolist() == [0, 1, 4, 9]


def test_no_file_is_written(record, monkeypatch):
    truth = record(missing=[2])
    before = {path.name: path.stat().st_mtime_ns for path in truth.folder.iterdir()}
    monkeypatch.setattr(builtins, "print", lambda *args, **options: pytest.fail("printed"))
    movie, _ = damaged_movie_of(truth, check="headers")
    movie.compute()
    assert {path.name: path.stat().st_mtime_ns for path in truth.folder.iterdir()} == before
