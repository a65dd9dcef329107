"""Settings beside a recording, reference images, and what the metadata say of both."""

import base64
import zlib
from pathlib import Path

import numpy as np
import pytest

import calscipy as cs
from calscipy.errors import CalscipyWarning, DamagedRecordingWarning, RecordingError
from calscipy.io.prairieview import Metadata, open_tree, read_environment, read_reference
from calscipy.io.prairieview.environment import packed, unpacked
from calscipy.testing import encode_value, tiff_frame, write_recording
from calscipy.testing._variants import write_variant

ENV = """<Environment version="5.6.64.400" date="3/2/2023 4:25:40 PM">
  <PVZSeriesController bidirectional="True" />
  <LineScanController linesToSkip="3" repetitions="7" />
  <TSeries iterations="2">
    <PVTSeriesElementSequence repetitions="10" />
    <PVTSeriesElementMarkPoints />
    <PVTSeriesElementSequenceTimed repetitions="5" />
  </TSeries>
  <Notes text="dorsal" />
  <PVStateShard>
    <PVStateValue key="framerate" value="29.75" />
    <PVStateValue key="channel">
      <IndexedValue index="0" value="False" /><IndexedValue index="1" value="True" />
    </PVStateValue>
  </PVStateShard>
</Environment>"""


@pytest.fixture
def env(tmp_path):
    """Write text as settings and return the path."""

    def write(text, name="r.env"):
        path = tmp_path / name
        path.write_bytes(text if isinstance(text, bytes) else text.encode("utf-8-sig"))
        return path

    return write


def test_facts(env):
    found = read_environment(env(ENV))
    assert found.frame_rate == 29.75
    assert found.active_channels == [2]
    assert found.lines_to_skip == 3
    assert found.section("PVZSeriesController").get("bidirectional") == "True"
    facts = found.facts()
    assert facts["notes"] == "dorsal"
    assert facts["z_series"] == {"bidirectional": "True"}
    assert facts["sections"] == ["PVZSeriesController", "LineScanController", "TSeries", "Notes"]
    assert [e["tag"] for e in facts["t_series"]["children"]][1] == "PVTSeriesElementMarkPoints"


@pytest.mark.parametrize(
    ("types", "planned"),
    [
        ({"TSeries Timed Element"}, 30),
        ({"TSeries Timed Element", "TSeries ZSeries Element"}, 30),
        ({"Linescan"}, 7),
        ({"ZSeries"}, None),
        ({"Linescan", "Single"}, None),
        (set(), None),
    ],
)
def test_plans_count_for_their_kind_of_recording_alone(env, types, planned):
    assert read_environment(env(ENV)).planned(types) == planned


@pytest.mark.parametrize("number", ["x", ""])
def test_plans_that_are_no_numbers(env, number):
    text = ENV.replace('repetitions="10"', f'repetitions="{number}"')
    assert read_environment(env(text)).planned({"TSeries Timed Element"}) is None


def test_old_settings_have_keys(env):
    text = (
        '<PVConfig><PVStateShard><Key key="framerate" value="1.5" />'
        '<Key key="channel_0" value="True" /><Key key="channel_1" value="False" />'
        "</PVStateShard></PVConfig>"
    )
    found = read_environment(env(text, "rConfig.cfg"))
    assert (found.frame_rate, found.active_channels) == (1.5, [1])
    assert found.facts()["version"] == ""


def test_forbidden_references_alone_are_no_damage(env):
    text = ENV.replace("dorsal", "a&#x1;b")
    found = read_environment(env(text))
    assert found.damage is None
    assert found.facts()["notes"] == "a\x01b"
    assert found.frame_rate == 29.75


def test_damage_is_said_and_leaves_what_stands_before(env):
    text = ENV[: ENV.index('<PVStateValue key="channel"')]
    with pytest.warns(DamagedRecordingWarning, match=r"r\.env: .* is damaged .*Copy it again"):
        found = read_environment(env(text))
    assert found.frame_rate == 29.75
    assert found.active_channels == []


DOCTYPE = '<?xml version="1.0"?><!DOCTYPE Environment [<!ENTITY a "x">]>'


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("", "0 bytes"),
        ("nothing", "found no XML"),
        ("<PVScan />", "found <PVScan>"),
        (DOCTYPE + "<Environment>&a;</Environment>", "document type"),
    ],
)
def test_other_files_are_refused(env, text, part):
    with pytest.raises(RecordingError, match=part):
        read_environment(env(text.encode()))


def test_large_files_are_refused(env, monkeypatch):
    monkeypatch.setattr("calscipy.io.prairieview.environment.MAX_BYTES", 100)
    with pytest.raises(RecordingError, match="1 to 100 were expected"):
        read_environment(env(ENV))
    monkeypatch.undo()
    monkeypatch.setattr("calscipy.io.prairieview.environment.MAX_NODES", 4)
    with pytest.raises(RecordingError, match="more than 4 elements"):
        read_environment(env(ENV))


def test_the_session_knows_the_settings(tmp_path):
    variant = write_variant(tmp_path / "r", "settings with control characters")
    tree = open_tree(variant.path / "r.xml")
    metadata = Metadata(tree.attrs["prairieview"])
    assert metadata.environment["frame_rate"] == 29.75
    assert metadata.notes == "deep"
    movie = tree["movie"].movie
    assert (movie.attrs["planned_frames"], movie.sizes["frames"]) == (10, 4)


def test_a_store_keeps_all_settings(tmp_path):
    variant = write_variant(tmp_path / "r", "settings with control characters")
    session = cs.ImagingSession.open(variant.path / "r.xml")
    wanted = read_environment(next(variant.path.glob("*.env")))
    kept = session.save(tmp_path / "s.zarr", progress=False).metadata.settings
    assert (kept.root, kept.state, kept.damage) == (wanted.root, wanted.state, wanted.damage)


KEPT_BLANK = base64.b64encode(zlib.compress(b"  ")).decode()


@pytest.mark.parametrize("content", ["", "AAAA", "%", "eNoDAAAAAAE=", KEPT_BLANK, 3])
def test_damaged_settings_in_a_store_are_said(content):
    metadata = Metadata({"environment_file": {"name": "r.env", "content": content}})
    with pytest.raises(
        RecordingError, match=r"r\.env: (the settings kept .* are damaged|expected .*found no XML)"
    ):
        metadata.settings  # noqa: B018


def test_settings_in_a_store_are_bounded(env, monkeypatch):
    path = env(ENV)
    kept = packed(path)
    monkeypatch.setattr("calscipy.io.prairieview.environment.MAX_KEPT_BYTES", 100)
    with pytest.raises(RecordingError, match="are damaged"):
        unpacked(kept)
    with pytest.warns(CalscipyWarning, match="are not kept in the session"):
        assert packed(path) == {}


def test_damaged_settings_leave_the_movie(tmp_path):
    truth = write_recording(tmp_path / "r", frames=2, shape=(4, 4), encode=True)
    truth.xml.with_suffix(".env").write_text("<Other />")
    with pytest.warns(DamagedRecordingWarning, match="opened without its settings"):
        tree = open_tree(truth.xml)
    assert dict(Metadata(tree.attrs["prairieview"]).environment) == {}


# Reference images


def test_references_are_listed_and_read(tmp_path):
    truth = write_recording(tmp_path / "r", frames=2, shape=(4, 4), encode=True)
    folder = truth.folder / "References"
    folder.mkdir()
    pixels = encode_value((9, 7), frame=3)
    description = b"This is frame #0000\0" + bytes(11)
    for name in ("b.tif", "a.tif"):
        (folder / name).write_bytes(tiff_frame(pixels, description=description))
    (folder / "notes.txt").write_text("x")
    metadata = Metadata(open_tree(truth.xml).attrs["prairieview"])
    assert metadata.references == ["a.tif", "b.tif"]
    image = read_reference(folder / "a.tif")
    assert (image.dims, image.attrs["units"]) == (("y", "x"), "count")
    np.testing.assert_array_equal(image, pixels)


@pytest.mark.parametrize("data", [b"", b"II*\0 nothing"])
def test_a_damaged_reference_is_said(tmp_path, data):
    path = Path(tmp_path / "a.tif")
    path.write_bytes(data)
    with pytest.raises(RecordingError, match=r"a\.tif: the image cannot be read"):
        read_reference(path)
