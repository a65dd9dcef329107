"""Recordings of every kind: each reads back to what was written into it."""

import re
import warnings

import dask
import numpy as np
import pytest

from calscipy.errors import CalscipyWarning, DamagedRecordingWarning, RecordingError
from calscipy.io.prairieview import PrairieViewBackend, open_tree, read_scan
from calscipy.io.prairieview.nodes import Node, collapsed
from calscipy.testing._edits import add_brightness, editing, insert_sequence, retype
from calscipy.testing._linescan import write_linescan
from calscipy.testing._scan import write_recording
from calscipy.testing._variants import VARIANTS, write_variant
from calscipy.testing._voltage import link_side_file, write_voltage_output


@pytest.fixture(autouse=True)
def _one_thread():
    with dask.config.set(scheduler="sync"):
        yield


def opened(variant):
    """Tree of a variant, with exactly the warnings that it announces."""
    xml = next(path for path in variant.path.glob("*.xml") if b"<PVScan" in path.read_bytes()[:300])
    with warnings.catch_warnings(record=True) as got:
        warnings.simplefilter("always")
        tree = open_tree(xml)
    texts = [str(item.message) for item in got]
    assert len(texts) == len(variant.warnings), texts
    for wanted in variant.warnings:
        assert any(wanted in text for text in texts), texts
    return tree


def fact(tree, name):
    """A coordinate (group.name), an attribute (group@name) or a variable (group:name)."""
    group, separator, item = re.split(r"([.@:])", name, maxsplit=1)
    dataset = tree[group].to_dataset()
    if separator == "@":
        return dataset[group].attrs[item]
    return dataset[item].values


@pytest.mark.parametrize("name", VARIANTS)
def test_every_variant_reads_back_to_its_truth(tmp_path, name):
    folder = tmp_path / "r"
    variant = write_variant(folder, name)
    if variant.error:
        with pytest.raises(RecordingError, match=variant.error):
            opened(variant)
        return
    if name == "renamed folder":
        variant = type(variant)(**(vars(variant) | {"path": folder.rename(tmp_path / "after")}))
    tree = opened(variant)
    assert {"movie", "linescan"} & set(tree.children) == set(variant.images)
    for group, wanted in variant.images.items():
        data = tree[group].to_dataset()[group]
        np.testing.assert_array_equal(data, wanted)
        np.testing.assert_array_equal(data.valid, variant.valid[group])
        np.testing.assert_allclose(data.time, variant.times[group], rtol=0, atol=1e-9)
        assert data.attrs["units"] == "count"
    for key, wanted in variant.facts.items():
        found = fact(tree, key)
        if isinstance(wanted, str):
            assert found == wanted
        else:
            np.testing.assert_allclose(found, np.broadcast_to(wanted, np.shape(found)), atol=1e-9)


def test_there_are_enough_variants():
    assert len(VARIANTS) >= 20
    with pytest.raises(ValueError, match="there is no variant 'x'"):
        write_variant("anywhere", "x")


def test_a_frame_of_version_4_changes_what_differs_alone(tmp_path):
    variant = write_variant(tmp_path / "r", "version 4")
    xml = tmp_path / "r" / "r.xml"
    with editing(xml) as root:
        third = root.findall(".//Frame")[2].find("PVStateShard")
        third.find("Key[@key='laserPower_0']").set("value", "99.5")
    scan = read_scan(xml)
    (cycle,) = scan.sequences
    assert [frame.state for frame in cycle.frames][:2] == [None, None]
    assert cycle.frames[2].state == {"laserPower": {"0": ("99.5", None)}}
    powers = [scan.lookup(cycle, frame, "laserPower", "0") for frame in cycle.frames]
    assert powers == ["120.5", "120.5", "99.5", "120.5"]
    z = [scan.lookup(cycle, cycle.frames[3], "positionCurrent", "ZAxis", n) for n in "01"]
    assert z == ["-75.925", "0"]
    assert opened(variant)["movie"].laser_power_0.values.tolist() == [120.5, 120.5, 99.5, 120.5]


def test_laser_names_of_version_4(tmp_path):
    write_variant(tmp_path / "r", "version 4")
    xml = tmp_path / "r" / "r.xml"
    text = xml.read_text("utf-8-sig")
    lasers = '<SystemConfiguration><Lasers><Laser name="Mira" index="0" /></Lasers>'
    xml.write_text(text.replace("<Sequence", f"{lasers}</SystemConfiguration><Sequence", 1))
    movie = open_tree(xml)["movie"].movie
    assert movie.attrs["laser_power_names"] == ["Mira", "1"]


def test_mark_points_have_the_clock_of_their_cycle(tmp_path):
    tree = opened(write_variant(tmp_path / "r", "mixed elements"))
    assert list(tree.children) == ["movie", "brightness", "stimulus"]
    stimulus = tree["stimulus"].to_dataset()
    # The cycle starts at 16:26:00, the first at 16:25:41.1378271; the delay is 1 s.
    np.testing.assert_allclose(stimulus.onset, [60 - 41.137827 + 1], atol=1e-6)
    assert stimulus.cycle.values.tolist() == [2]


def test_brightness_has_the_times_of_its_frames(tmp_path):
    tree = opened(write_variant(tmp_path / "r", "brightness over time"))
    dataset = tree["brightness"].to_dataset()
    assert dataset.brightness.dims == ("region", "time")
    np.testing.assert_array_equal(dataset.time, tree["movie"].time)
    assert dataset.region_x.values.tolist() == [0.0, 1.0]
    assert dataset.region_height.values.tolist() == [4.0, 4.0]


def test_brightness_with_other_rows_counts_from_the_cycle(tmp_path):
    truth = write_recording(tmp_path / "r", frames=4, shape=(4, 4), encode=True)
    retype(truth.xml, "BrightnessOverTime")
    add_brightness(truth.xml, np.array([5.0, 5.5]), np.ones((1, 2)))
    dataset = open_tree(truth.xml)["brightness"].to_dataset()
    assert dataset.time.values.tolist() == [0.0, 0.5]
    assert dataset.timestamp.values.tolist() == [5.0, 5.5]


@pytest.mark.parametrize(
    ("text", "part"),
    [
        (None, "is missing"),
        ("", "0 bytes"),
        ("Time, Region 1\n1, 2\n", "expected the columns 'Timestamp"),
        ("Timestamp, Region 1\nx, 2\n", "timestamps are no numbers"),
    ],
)
def test_a_bad_brightness_table_leaves_the_movie(tmp_path, text, part):
    truth = write_recording(tmp_path / "r", frames=2, shape=(4, 4), encode=True)
    retype(truth.xml, "BrightnessOverTime")
    add_brightness(truth.xml, np.zeros(2), np.ones((1, 2)))
    (table,) = truth.folder.glob("*.csv")
    table.unlink()
    if text is not None:
        table.write_text(text)
    with pytest.warns(DamagedRecordingWarning, match=rf"botData\.csv.*{part}"):
        tree = open_tree(truth.xml)
    assert list(tree.children) == ["movie"]


def test_a_brightness_table_elsewhere_is_refused(tmp_path):
    truth = write_recording(tmp_path / "r", frames=2, shape=(4, 4), encode=True)
    add_brightness(truth.xml, np.zeros(2), np.ones((1, 2)))
    with editing(truth.xml) as root:
        root.find(".//PVBOTs").set("botData", "../../secret.csv")
    with pytest.warns(DamagedRecordingWarning, match="a bare file name"):
        assert list(open_tree(truth.xml).children) == ["movie"]


def test_tiles_of_an_atlas_are_epochs_of_their_own(tmp_path):
    truth = write_recording(tmp_path / "r", frames=4, shape=(4, 4), planes=2, encode=True)
    retype(truth.xml, "AtlasVolume")
    with editing(truth.xml) as root:
        for n, sequence in enumerate(root.iter("Sequence")):
            for place in sequence.iter("SubindexedValues"):
                if place.get("index") == "XAxis":
                    place[0].set("value", str(100.0 * (n // 2)))
        root.find("PVStateShard/*/SubindexedValues[@index='XAxis']")[0].set("value", "0")
    movie = open_tree(truth.xml)["movie"].movie
    assert movie.stage_x.values.tolist() == [0.0, 0.0, 100.0, 100.0]
    assert movie.epoch.values.tolist() == [1, 1, 2, 2]
    assert "stage_y" not in movie.coords


def test_line_scans_and_a_movie_share_one_clock(tmp_path):
    lines = write_linescan(tmp_path / "r", cycles=2)
    movie = write_recording(tmp_path / "m", frames=3, shape=(4, 4), encode=True, name="m")
    for path in movie.folder.glob("*.tif"):
        path.rename(lines.xml.with_name(path.name))
    with editing(movie.xml) as other:
        (series,) = other.iter("Sequence")
        series.set("cycle", "3")
        for frame in series.iter("Frame"):
            frame.set("absoluteTime", str(100 + float(frame.get("relativeTime"))))
            for key in ("linesPerFrame", "pixelsPerLine"):
                add = {"key": key, "value": "4"}
                frame.find("PVStateShard").append(frame.makeelement("PVStateValue", add))
    with editing(lines.xml) as root:
        root.append(series)
    tree = open_tree(lines.xml)
    assert list(tree.children) == ["movie", "linescan"]
    np.testing.assert_array_equal(tree["linescan"].linescan, lines.pixels)
    np.testing.assert_allclose(tree["linescan"].time, lines.times, atol=1e-9)
    np.testing.assert_allclose(tree["movie"].time, 100 - 4.345 + movie.times.values, atol=1e-9)
    only = open_tree(lines.xml, cycles=[3])
    assert list(only.children) == ["movie"]
    np.testing.assert_allclose(only["movie"].time, movie.times.values, atol=1e-9)


def test_unknown_elements_are_kept_and_said_once(tmp_path):
    truth = write_recording(tmp_path / "r", frames=3, shape=(4, 4), cycles=2, encode=True)
    with editing(truth.xml) as root:
        for n, frame in enumerate(root.iter("Frame")):
            frame.append(frame.makeelement("PVShutter", {"open": str(n)}))
        root.append(root.makeelement("PVRig", {"name": "A & B"}))
        for sequence in root.iter("Sequence"):
            sequence.append(sequence.makeelement("PVMood", {"value": "1"}))
    with pytest.warns(CalscipyWarning, match="does not know") as got:
        tree = open_tree(truth.xml)
    (message,) = [str(item.message) for item in got]
    for part in ("<PVShutter> in <Frame> (3)", "<PVRig> in <PVScan> (1)", "<PVMood>"):
        assert part in message
    elements = {item["tag"]: item for item in tree.attrs["prairieview"]["elements"]}
    assert elements["PVRig"]["attributes"] == {"name": "A & B"}
    assert elements["PVMood"]["cycles"] == "1-2"
    shutters = [e for e in tree.attrs["prairieview"]["elements"] if e["tag"] == "PVShutter"]
    assert [e["attributes"]["open"] for e in shutters] == ["0", "1", "2"]


def test_marks_of_frames_are_kept(tmp_path):
    truth = write_recording(tmp_path / "r", frames=3, shape=(4, 4), encode=True)
    with editing(truth.xml) as root:
        root.findall(".//ExtraParameters")[1].set("lastGoodFrame", "7")
    state = open_tree(truth.xml).attrs["prairieview"]
    assert state["flagged_frames"] == [{"cycle": 1, "frame": 2, "mark": "7"}]


def test_a_flood_of_elements_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr("calscipy.io.prairieview.scan.MAX_NODES", 50)
    truth = write_recording(tmp_path / "r", frames=1, shape=(4, 4), encode=True)
    with editing(truth.xml) as root:
        sequence = root.find("Sequence")
        for _ in range(60):
            sequence.append(sequence.makeelement("PVMood", {}))
    with pytest.raises(RecordingError, match="more than 50 elements"):
        open_tree(truth.xml)


def test_nodes_collapse_without_loss():
    child = Node("B", (("x", "1"),))
    nodes = [(1, Node("A", (), (child,))), (2, Node("A", (), (child,))), (2, Node("A", ()))]
    wanted = {"tag": "B", "attributes": {"x": "1"}}
    assert collapsed(nodes) == [
        {"tag": "A", "attributes": {}, "children": [wanted], "cycles": "1-2"},
        {"tag": "A", "attributes": {}, "cycles": "2"},
    ]
    many = [(cycle, child) for cycle in (7, 1, 2, 3, 9, 0)]
    assert collapsed(many) == [wanted | {"cycles": "0-3, 7, 9"}]
    assert collapsed([(0, child)]) == [wanted]


def test_the_engine_says_when_there_are_no_images(tmp_path):
    engine = PrairieViewBackend()
    write_variant(tmp_path / "r", "mark points alone")
    assert list(engine.open_datatree(tmp_path / "r").children) == ["stimulus"]
    with pytest.raises(RecordingError, match=r"holds no images.*\['stimulus'\]"):
        engine.open_dataset(tmp_path / "r")
    lines = write_linescan(tmp_path / "l", cycles=1)
    assert "linescan" in engine.open_dataset(lines.xml.parent)


def test_a_recording_of_nothing_is_refused(tmp_path):
    truth = write_recording(tmp_path / "r", frames=1, shape=(4, 4), encode=True)
    with editing(truth.xml) as root:
        root.remove(root.find("Sequence"))
    with pytest.raises(RecordingError, match=r"lists no images .*none"):
        open_tree(truth.xml)
    insert_sequence(truth.xml, "MarkPoints", 1)
    assert list(open_tree(truth.xml).children) == []


@pytest.mark.parametrize("place", ["Sequence cycle", "File channel", "Frame index", "File page"])
@pytest.mark.parametrize("text", ["9" * 20, "9" * 5000, "x", ""])
def test_numbers_that_are_none_are_refused(tmp_path, place, text):
    truth = write_recording(tmp_path / "r", frames=1, shape=(4, 4), encode=True)
    tag, name = place.split()
    with editing(truth.xml) as root:
        root.find(f".//{tag}").set(name, text)
    with pytest.raises(RecordingError, match="a whole number was expected"):
        open_tree(truth.xml)


def test_a_master_that_recovery_finds_nothing_in_is_refused(tmp_path):
    path = tmp_path / "r.xml"
    path.write_bytes(b'\x00<PVScan version="5.6"\x01 </PVScan>')
    with pytest.raises(RecordingError, match="not a readable PrairieView master XML"):
        open_tree(path)


def test_voltage_outputs_are_in_the_metadata(tmp_path):
    truth = write_recording(tmp_path / "r", frames=2, shape=(4, 4), encode=True)
    pulses = ("PulseTrain", {"PulseCount": 2, "PulseWidth": 5})
    write_voltage_output(truth.folder / "out.xml", {"LED": [pulses]}, name="Blue")
    link = {"name": "Blue", "filename": "out.xml", "absoluteTime": "1.148"}
    link_side_file(truth.xml, "VoltageOutput", link)
    (output,) = open_tree(truth.xml).attrs["prairieview"]["voltage_outputs"]
    assert (output["name"], output["cycle"], output["file"]) == ("Blue", 1, "out.xml")
    assert output["start"] == pytest.approx(1.0)  # the first image has 0.148
