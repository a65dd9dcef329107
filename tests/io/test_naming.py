"""The names of PrairieView's files, and what they and the XML say of a recording's images."""

import gzip
import shutil
import tarfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import tifffile
from hypothesis import given, settings
from hypothesis import strategies as st

from calscipy.errors import ArgumentError, CalscipyWarning, RecordingError
from calscipy.io.prairieview.content import Content, content_from_names, imaging_content
from calscipy.io.prairieview.naming import FileName, frame_name, list_images, parse_name
from calscipy.testing import write_recording

SAMPLES = Path(__file__).resolve().parents[3] / "shared" / "data" / "prairieview"
CALSCIPY = SAMPLES / "calscipy"
real = pytest.mark.skipif(not SAMPLES.is_dir(), reason="needs ../shared/data/prairieview")

LINES = "LineScan-11182022-1250-763"
WINDOW = f"{LINES}-Cycle00002-Window1-Ch1-8bit-Reference.tif"


@pytest.mark.parametrize(
    ("name", "said"),
    [
        (
            "EM0121_PRE-001_Cycle00001_Ch2_000002.ome.tif",
            FileName("image", "EM0121_PRE-001", 1, 2, 2, ome=True),
        ),
        (
            "LineScan-03292014-1525-552_Cycle00001_CurrentSettings_Ch1_000001.tif",
            FileName("image", "LineScan-03292014-1525-552", 1, 1, 1, "CurrentSettings"),
        ),
        ("old_Cycle001_Ch1_000003.TIF", FileName("image", "old", 1, 1, 3)),
        ("a b_Cycle00002_Ch1_000010.tiff", FileName("image", "a b", 2, 1, 10)),
        (
            "x_Cycle00001_Ch1_000001_Cycle00012_Ch3_000004.ome.tif",
            FileName("image", "x_Cycle00001_Ch1_000001", 12, 3, 4, ome=True),
        ),
        (
            "m-1_Cycle00012_VoltageRecording_001.csv",
            FileName("voltage recording", "m-1", 12, None, 1),
        ),
        ("m-1_Cycle00012_VoltageOutput_002.xml", FileName("voltage output", "m-1", 12, None, 2)),
        ("m-1_Cycle00003_MarkPoints.xml", FileName("mark points", "m-1", 3)),
        ("m-1_Cycle00001-botData.csv", FileName("brightness over time", "m-1", 1)),
        ("m-1_Cycle00001_LineProfileData.csv", FileName("line profiles", "m-1", 1)),
        (f"{LINES}-Cycle00001_Ch1Source.tif", FileName("line scan source", LINES, 1, 1)),
        (WINDOW, FileName("reference", LINES, 2, 1, 1)),
        ("m-007-Ch2-16bit-Reference.tif", FileName("reference", "m-007", None, 2)),
        ("m-007-Window1-Green-8bit-Reference.tif", FileName("reference", "m-007", None, None, 1)),
    ],
)
def test_names_say_what_they_say(name, said):
    assert parse_name(name) == said


@pytest.mark.parametrize(
    "name",
    [
        "mouse.tif",
        "mouse_Cycle00001_Ch1_00001.ome.tif",  # five digits
        "mouse_Cycle00001_Ch1_000001.ome.tif.bak",
        "mouse_Cycle00001_Ch1_000001_ome_tif",
        "mouse_Cycle00001_Ch1_000001notatif",  # F38: '*tif' of the original took it
        "mouse_Cycle00001_Ch1000001.ome.tif",  # F41: what the original looked for
        "_Cycle00001_Ch1_000001.ome.tif",
        "../mouse_Cycle00001_Ch1_000001.ome.tif",
        "a\\mouse_Cycle00001_Ch1_000001.ome.tif",
        "mouse_Cycle0000a_Ch1_000001.ome.tif",
        "mouse_Cycle\u0660\u0660\u0660\u0660\u0661_Ch1_000001.ome.tif",
        "x" * 240 + "_Cycle00001_Ch1_000001.ome.tif",
        "m-1.xml",
        "",
    ],
)
def test_other_names_say_nothing(name):
    assert parse_name(name) is None


@real
def test_every_image_of_the_real_recordings_is_understood():
    files = [path for path in SAMPLES.rglob("*.tif") if "_Cycle" in path.name]
    assert len(files) > 15
    for path in files:
        said = parse_name(path.name)
        assert said.base == path.parent.name
        assert (
            frame_name(
                said.base,
                cycle=said.cycle,
                channel=said.channel,
                index=said.index,
                parameters=said.parameters,
                ome=said.ome,
            )
            == path.name
        )
    references = [parse_name(path.name) for path in SAMPLES.rglob("*Reference.tif")]
    assert [said.kind for said in references] == ["reference"] * len(references)
    assert {said.channel for said in references} == {1, 2, None}


@settings(deadline=None, derandomize=True, max_examples=200)
@given(
    st.text("aCch_-0123 .µ\n/", min_size=1, max_size=40),
    st.integers(1, 99999),
    st.integers(1, 99),
    st.integers(1, 999999),
    st.none() | st.text("aC_01", max_size=10),
    st.booleans(),
)
def test_names_that_are_made_are_read_back(base, cycle, channel, index, parameters, ome):
    numbers = {"cycle": cycle, "channel": channel, "index": index}
    try:
        name = frame_name(base, **numbers, parameters=parameters, ome=ome)
    except ArgumentError:
        assert set(base) & set("\n/") or (parameters is not None and not parameters.isalnum())
        return
    assert parse_name(name) == FileName("image", base, cycle, channel, index, parameters, ome)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"cycle": 0}, "cycle must be a whole number from 1 to 99999, got 0"),
        ({"index": 1000000}, "index must be a whole number from 1 to 999999"),  # F23
        ({"channel": 1.0}, "channel must be a whole number"),
        ({"base": "a/b"}, "would not be read as it is meant"),
        ({"base": ""}, "would not be read as it is meant"),
        ({"base": "a" * 300}, "within 255 characters"),
        ({"parameters": "a_b"}, "a word without '_'"),
        ({"parameters": "Cycle00003"}, "would not be read as it is meant"),
    ],
)
def test_names_that_cannot_be_are_refused(wrong, message):
    arguments = {"base": "m", "cycle": 1, "channel": 1, "index": 1} | wrong
    with pytest.raises(ArgumentError, match=message):
        frame_name(arguments.pop("base"), **arguments)


# -- folders


def touch(folder, *names, shape=(4, 6), pages=1):
    folder.mkdir(exist_ok=True)
    for name in names:
        tifffile.imwrite(
            folder / name, np.zeros((pages, *shape), np.uint16), photometric="minisblack"
        )


def test_images_come_in_the_order_of_their_numbers(tmp_path):
    names = ["m [1]_Cycle001_Ch1_000002.tif", "m [1]_Cycle001_Ch1_000010.tif"]
    names += ["m [1]_Cycle010_Ch1_000001.tif", "m [1]_Cycle0002_Ch2_000001.tif"]
    touch(tmp_path, *names, "._m [1]_Cycle001_Ch1_000002.tif", "other.tif")
    (tmp_path / "m [1]_Cycle001_Ch1_000003.tif").mkdir()
    # F38, F41: by number, brackets are no pattern, and folders and what a Mac leaves are no images
    assert list(list_images(tmp_path)) == [names[0], names[1], names[3], names[2]]


def test_folders_without_or_with_too_many_recordings_are_refused(tmp_path):
    with pytest.raises(RecordingError, match=r"there is no such folder"):
        list_images(tmp_path / "nowhere")
    with pytest.raises(RecordingError, match=r"no file is named as PrairieView names images"):
        content_from_names(tmp_path)  # F41: ZeroDivisionError
    touch(tmp_path, "a_Cycle00001_Ch1_000001.ome.tif", "b_Cycle00001_Ch1_000001.ome.tif")
    with pytest.raises(RecordingError, match=r"images of 2 recordings in one folder \(a, b\)"):
        content_from_names(tmp_path)


# -- what a recording holds


@pytest.mark.parametrize(
    "made",
    [
        {"frames": 12, "channels": ("Ch2",)},
        {"frames": 3, "channels": ("Ch1", "Ch2"), "planes": 12},  # F41: planes from 10 on
        {"frames": 5, "planes": 2, "pages_per_file": 100},
        {"frames": 10, "pages_per_file": 4},
    ],
    ids=["plane", "volumes", "volumes in pages", "pages"],
)
def test_xml_and_names_agree(tmp_path, made):
    truth = write_recording(tmp_path / "m", shape=(8, 12), neurons=1, **made)
    expected = Content(
        tuple(truth.channels.values()), made.get("planes", 1), made["frames"], 8, 12, 0, "xml"
    )
    assert imaging_content(truth.folder) == expected
    assert imaging_content(truth.xml) == expected
    with pytest.raises(ArgumentError, match=r"says so itself"):
        imaging_content(truth.folder, volumes=True)
    truth.xml.unlink()
    volumes = True if "planes" in made else None
    with pytest.warns(CalscipyWarning, match=r"the master XML is not in this folder"):
        found = imaging_content(truth.folder, volumes=volumes)
    assert found == replace(expected, source="names")


def test_cycles_of_several_images_are_not_taken_for_volumes(tmp_path):
    truth = write_recording(tmp_path / "m", frames=7, cycles=2, shape=(8, 12), neurons=1)
    truth.xml.unlink()
    # F41: the original took every recording of several cycles for one of several planes.
    with pytest.raises(ArgumentError, match=r"2 cycles of up to 4 images.*Give volumes=True or"):
        content_from_names(truth.folder)
    found = content_from_names(truth.folder, volumes=False)
    assert (found.planes, found.frames, found.missing) == (1, 7, 0)


def test_missing_images_are_counted(tmp_path):
    touch(tmp_path, *(f"m_Cycle00001_Ch{c}_{i:06}.ome.tif" for c in (1, 3) for i in (2, 4, 5)))
    (tmp_path / "m_Cycle00001_Ch3_000005.ome.tif").write_bytes(b"II*\0")
    found = content_from_names(tmp_path)
    # F41: channels are those that are there, not Ch1 up to their number
    assert (found.channels, found.frames, found.missing) == (("Ch1", "Ch3"), 5, 5)
    assert (found.height, found.width) == (4, 6)
    for path in tmp_path.iterdir():
        path.write_bytes(b"")
    with pytest.raises(RecordingError, match=r"none of its 6 images can be read"):
        content_from_names(tmp_path)


def test_missing_images_of_the_xml_are_counted(tmp_path):
    truth = write_recording(tmp_path / "m", frames=5, shape=(8, 12), neurons=1, missing=[1, 3])
    with pytest.warns(CalscipyWarning, match="missing|not there"):
        assert imaging_content(truth.folder).missing == 2


@real
def test_real_xmls_and_names(tmp_path):
    timed = "TSeries-10232020-1129-1771"
    folder = tmp_path / timed
    folder.mkdir()
    shutil.copy(SAMPLES / "scanagator" / timed / f"{timed}.xml", folder)
    with pytest.warns(CalscipyWarning):  # there are no files
        found = imaging_content(folder)
    assert (found.planes, found.frames, len(found.channels), found.missing) == (1, 1378, 1, 1378)
    volumes = "TSeries-03022023-1227-2098"
    folder = tmp_path / volumes
    folder.mkdir()
    packed = SAMPLES / "scanagator" / volumes / f"{volumes}.xml.gz"
    (folder / f"{volumes}.xml").write_bytes(gzip.decompress(packed.read_bytes()))
    with pytest.warns(CalscipyWarning):
        found = imaging_content(folder)
    assert (found.planes, found.frames, len(found.channels)) == (67, 24, 2)


@real
@pytest.mark.parametrize(
    ("packed", "volumes", "expected"),
    [
        ("EM0121_PRE-001_frames002-021", None, (1, 21, 512, 512, 1)),
        ("reg1_x300_y009n_z1425t1530_p110t131_APr_VSleft-007_10cycles_x4planes", True, None),
    ],
)
def test_real_folders_without_xml(tmp_path, packed, volumes, expected):
    with tarfile.open(CALSCIPY / f"{packed}.tar.xz") as archive:
        archive.extractall(tmp_path, filter="data")
    folder = next(path for path in [tmp_path, *tmp_path.rglob("*")] if any(path.glob("*.tif")))
    found = content_from_names(folder, volumes=volumes)
    assert found.channels == ("Ch2",)
    shown = (found.planes, found.frames, found.height, found.width, found.missing)
    assert shown == (expected or (4, 100, 256, 256, 90 * 4))
