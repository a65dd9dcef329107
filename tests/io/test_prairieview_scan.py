"""The master XML: its dialects and damage, the resolution of the state, the typed view of it."""

import codecs
import datetime as dt
import warnings
from functools import reduce

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from calscipy.errors import ArgumentError, DamagedRecordingWarning, RecordingError
from calscipy.io.prairieview import Metadata, frame_records, read_scan
from calscipy.io.prairieview import scan as scan_module
from calscipy.io.prairieview.frame_records import Entry, File, Frame
from calscipy.io.prairieview.scan import Scan, Sequence, merge
from calscipy.testing import write_recording

NAME = "r_Cycle00001_Ch2_{:06d}.ome.tif"
FILE = '<File channel="2" channelName="Ch2" filename="{}" />'


def shard(**values):
    """Text of a state shard; a value is text, or text by index."""
    text = []
    for key, value in values.items():
        if isinstance(value, str):
            text.append(f'<PVStateValue key="{key}" value="{value}" />')
        else:
            items = (f'<IndexedValue index="{i}" value="{v}" />' for i, v in value.items())
            text.append(f'<PVStateValue key="{key}">{"".join(items)}</PVStateValue>')
    return f"<PVStateShard>{''.join(text)}</PVStateShard>"


def frame(number, content=None):
    content = FILE.format(NAME.format(number)) if content is None else content
    return (
        f'<Frame relativeTime="{number}" absoluteTime="{number}" index="{number}">{content}</Frame>'
    )


def sequence(content, cycle=1):
    head = f'<Sequence type="TSeries Timed Element" cycle="{cycle}" time="12:00:00.0000000">'
    return f"{head}\n{content}\n</Sequence>"


def master(content=None, *, notes="", doctype="", root="PVScan"):
    """Text of a master XML, by default with three frames."""
    content = sequence("\n".join(map(frame, (1, 2, 3)))) if content is None else content
    head = f'<{root} version="5.6.64.400" date="3/2/2023 4:25:40 PM" notes="{notes}">'
    return f'<?xml version="1.0" encoding="utf-8"?>\n{doctype}{head}\n{content}\n</{root}>'


@pytest.fixture
def scan_of(tmp_path):
    """Write text or bytes as a master XML and read it."""

    def read(content):
        path = tmp_path / "r.xml"
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return read_scan(path)

    return read


def frames(scan):
    return [item.number for cycle in scan.sequences for item in cycle.frames]


# Dialects


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(lambda data: data, id="plain"),
        pytest.param(lambda data: codecs.BOM_UTF8 + data, id="BOM"),
        pytest.param(lambda data: data.replace(b"\n", b"\r\n"), id="CRLF"),
        pytest.param(lambda data: codecs.BOM_UTF8 + data.replace(b"\n", b"\r\n"), id="BOM CRLF"),
        pytest.param(lambda data: data.replace(b'"1.0"', b'"1.1"', 1), id="XML 1.1"),
        pytest.param(lambda data: data.split(b"\n", 1)[1], id="no declaration"),
        pytest.param(lambda data: data.replace(b"?>", b"?><!-- a --><?b c?>", 1), id="comment"),
    ],
)
def test_dialects_of_the_xml_are_equal(scan_of, change):
    scan = scan_of(change(master(notes="10 µm").encode()))
    assert (scan.version, scan.notes, scan.damage) == ("5.6.64.400", "10 µm", None)
    assert scan.started == dt.datetime(2023, 3, 2, 16, 25, 40)
    assert [file.filename for f in scan.sequences[0].frames for file in f.files] == [
        NAME.format(number) for number in (1, 2, 3)
    ]


def test_character_references_that_xml_forbids_are_read(scan_of):
    scan = scan_of(master(notes="a&#x1;b"))
    assert scan.notes == "a\x01b"
    assert frames(scan) == [1, 2, 3]
    assert scan.damage is None


@pytest.mark.parametrize("notes", ["10 µm", "10 µm&#x1;b"])
def test_latin_1_is_read_with_a_warning(scan_of, notes):
    with pytest.warns(DamagedRecordingWarning, match=r"r\.xml.*not valid UTF-8.*Save it as") as got:
        scan = scan_of(master(notes=notes).encode("latin-1"))
    assert len(got) == 1
    assert scan.notes == notes.replace("&#x1;", "\x01")
    assert frames(scan) == [1, 2, 3]


def test_windows_1252_behind_a_utf_8_mark(scan_of):
    with pytest.warns(DamagedRecordingWarning, match="not valid UTF-8"):
        scan = scan_of(codecs.BOM_UTF8 + master(notes="10 µm … ok").encode("windows-1252"))
    assert scan.notes == "10 µm … ok"


def test_a_long_sequence_keeps_every_frame_and_its_state(scan_of):
    count = 1600  # more than the parsed elements that are kept in memory, and not a multiple
    rows = (
        frame(n, FILE.format(NAME.format(n)) + shard(laserPower={"0": str(n)}))
        for n in range(1, count + 1)
    )
    scan = scan_of(master(sequence("".join(rows) + shard(laserPower={"0": "7"}))))
    assert frames(scan) == list(range(1, count + 1))
    (cycle,) = scan.sequences
    assert [scan.lookup(cycle, f, "laserPower", "0") for f in cycle.frames[510:514]] == [
        "511",
        "512",
        "513",
        "514",
    ]
    assert cycle.state == {"laserPower": {"0": Entry("7")}}


def test_attributes_that_may_be_absent(scan_of):
    bare = '<Frame><File filename="a.tif" /><ExtraParameters lastGoodFrame="3" /></Frame>'
    scan = scan_of(f"<PVScan><Sequence>{bare * 2}</Sequence><Sequence>{bare}</Sequence></PVScan>")
    assert [cycle.cycle for cycle in scan.sequences] == [1, 2]
    assert frames(scan) == [1, 2, 1]
    first = scan.sequences[0].frames[0]
    assert first.files == (File(1, "Ch1", "a.tif", 1),)
    assert first.last_good_frame == "3"
    assert np.isnan([first.relative_time, first.absolute_time]).all()
    assert (scan.version, scan.started, dict(scan.systems)) == ("", None, {})


# Damage


@pytest.mark.parametrize("kept", [1, 2])
def test_a_truncated_xml_keeps_its_complete_frames(scan_of, kept):
    data = master(notes="µ").encode()
    end = data.index(NAME.format(kept + 1).encode()) + 5
    with pytest.warns(
        DamagedRecordingWarning, match=rf"r\.xml.*breaks off.* {kept} complete frames.*Copy"
    ) as got:
        scan = scan_of(data[:end])
    assert len(got) == 1
    assert frames(scan) == list(range(1, kept + 1))
    assert scan.damage
    assert scan.sequences[0].type == "TSeries Timed Element"


def test_frames_lost_in_the_middle_are_not_lost_silently(scan_of):
    text = master().replace(frame(2), '<Frame index="2"<<')
    with pytest.warns(DamagedRecordingWarning, match=r"damaged or breaks off \(.*line \d"):
        scan = scan_of(text)
    assert set(frames(scan)) < {1, 2, 3}


def test_padding_behind_the_xml_is_named(scan_of):
    with pytest.warns(DamagedRecordingWarning, match=r"Extra content.* 3 complete frames"):
        assert frames(scan_of(master().encode() + bytes(512))) == [1, 2, 3]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        pytest.param("", r"empty \(0 bytes\), a <PVScan> was expected.*Copy", id="empty"),
        pytest.param("PVScan", "not a readable.*Copy", id="no XML"),
        pytest.param(bytes(64), "not a readable.*Copy", id="zeros"),
        pytest.param(master()[:150], "not a readable.*Copy", id="no complete frame"),
        pytest.param(master(root="OME"), "root <PVScan>, found <OME>.*Give", id="other root"),
        pytest.param(
            master(doctype="<!DOCTYPE PVScan>"), "document type.*Remove the DOCTYPE", id="DOCTYPE"
        ),
        pytest.param(
            master(doctype='<!DOCTYPE PVScan [<!ENTITY n SYSTEM "file:///etc/hostname">]>').replace(
                "Timed", "&n;"
            ),
            "document type.*Remove the DOCTYPE",
            id="entity",
        ),
        pytest.param(
            master(frame(1)), r"line \d+: a <Frame> stands outside.*Copy", id="frame outside"
        ),
        pytest.param(master(sequence("", cycle="x")), "cycle='x'>, a whole number", id="cycle"),
        pytest.param(
            master().replace('channel="2"', 'channel="b"'),
            "channel='b'>, a whole number was expected.*Copy",
            id="channel",
        ),
        pytest.param(
            master().replace('channel="2"', 'page="0"'), "page=0 of r_.*count from 1", id="page"
        ),
    ],
)
def test_other_damage_is_an_error(scan_of, content, message):
    with pytest.raises(RecordingError, match=rf"(?s)r\.xml.*{message}"):
        scan_of(content)


@pytest.mark.parametrize(
    "name",
    [
        "../x.tif",
        "..\\x.tif",
        "CON",
        "CON.tif",
        "nul.ome.tif",
        "com1.tif",
        "C:x.tif",
        "/abs.tif",
        "a/b.tif",
        "",
        ".",
        "..",
        "a&#x1;b.tif",
        "a&#10;",
        "a*.tif",
        "x" * 256,
    ],
)
def test_files_outside_the_folder_are_refused(scan_of, name):
    with pytest.raises(
        RecordingError, match=r"(?s)r\.xml, line 4: .*a bare file name .* was expected.*copy it"
    ) as error:
        scan_of(master(sequence(frame(1, FILE.format(name)))))
    assert len(str(error.value)) < 600


@pytest.mark.parametrize(
    "name", ["a b's (1) µ.tif", "CONTROL.tif", "..a.tif", "a..tif", ".tif", "COM12.tif", "x" * 255]
)
def test_unusual_bare_names_are_accepted(scan_of, name):
    scan = scan_of(master(sequence(frame(1, FILE.format(name)))))
    assert scan.sequences[0].frames[0].files[0].filename == name


def test_huge_attributes_do_not_fill_the_memory(scan_of):
    with pytest.warns(DamagedRecordingWarning, match="Resource limit exceeded"):
        scan_of(master(notes="x" * 11_000_000))


# Resolution of the state


entries = st.builds(Entry, st.text("01.", max_size=3), st.none() | st.just("laser"))
indices = st.sampled_from("012")
states = st.fixed_dictionaries(
    {},
    optional={
        "zoom": entries,
        "power": st.dictionaries(indices, entries),
        "position": st.dictionaries(indices, st.dictionaries(indices, entries)),
    },
)


def paths(state):
    """Value of every key, index and subindex."""
    found = {}
    for key, value in state.items():
        if isinstance(value, Entry):
            found[key,] = value
        else:
            found |= {(key, *below): entry for below, entry in paths(value).items()}
    return found


@given(states, states)
def test_merge_lays_every_value_of_the_delta_over_the_base(base, delta):
    before = repr(base), repr(delta)
    assert paths(merge(base, delta)) == paths(base) | paths(delta)
    assert (repr(base), repr(delta)) == before
    assert merge(base, None) is base
    assert merge(base, {}) is base


@given(states, states, states)
def test_merge_is_associative(first, second, third):
    assert merge(merge(first, second), third) == merge(first, merge(second, third))


@given(states, states, st.none() | states)
def test_lookup_agrees_with_the_merged_state(root, between, inner):
    cycle = Sequence("", 1, "", False, between, ())
    plane = Frame(1, 0.0, 0.0, (), inner, None)
    scan = Scan(None, "", "", "", {}, root, (cycle,))
    merged = paths(reduce(merge, (root, between, inner)))
    for index in "012":
        entry = merged.get(("power", index))
        assert scan.lookup(cycle, plane, "power", index) == (entry and entry.value)
        for subindex in "012":
            entry = merged.get(("position", index, subindex))
            found = scan.lookup(cycle, plane, "position", index, subindex)
            assert found == (entry and entry.value)
    entry = merged.get(("zoom",))
    assert scan.lookup(cycle, plane, "zoom", "0") == (entry and entry.value)
    assert scan.lookup(cycle, plane, "nothing", "0") is None


def test_levels_of_one_value():
    def levels(*values):
        return [None if v is None else {"position": {"Z": {"1": Entry(v)}}} for v in values]

    for values, wanted in [
        (("root", "sequence", "frame"), "frame"),
        (("root", "sequence", None), "sequence"),
        (("root", None, None), "root"),
    ]:
        root, between, inner = levels(*values)
        cycle = Sequence("", 1, "", False, between or {}, ())
        scan = Scan(None, "", "", "", {}, root, (cycle,))
        found = scan.lookup(cycle, Frame(1, 0.0, 0.0, (), inner, None), "position", "Z", "1")
        assert found == wanted


# Typed view


STATE = {
    "activeMode": {"value": "Galvo"},
    "bitDepth": {"value": "13"},
    "framePeriod": {"value": "6.3179E-05"},
    "interlaced": {"value": "True"},
    "spiral": {"value": "False"},
    "top": {"value": "∞"},
    "bottom": {"value": "-∞"},
    "height": {"value": "NaN"},
    "laserPower": {
        "0": {"value": "79.5", "description": "Pockels"},
        "1": {"value": "3"},
    },
    "pmtGain": {"0": {"value": "650", "description": "PMT 1 HV"}},
    "micronsPerPixel": {"XAxis": {"value": "0.5"}, "YAxis": {"value": "2"}},
    "objectiveLens": {"value": "16X"},
    "positionCurrent": {"ZAxis": {"0": {"value": "-75.9", "description": "Z Focus"}}},
}


@pytest.fixture
def metadata():
    return Metadata({"version": "5.6.64.400", "date": "3/2/2023 4:25:40 PM", "state": STATE})


@pytest.mark.parametrize(
    ("key", "wanted"),
    [
        ("activeMode", "Galvo"),
        ("bitDepth", 13),
        ("framePeriod", 6.3179e-05),
        ("interlaced", True),
        ("spiral", False),
        ("top", float("inf")),
        ("bottom", float("-inf")),
        ("laserPower", {"0": 79.5, "1": 3}),
        ("positionCurrent", {"ZAxis": {"0": -75.9}}),
    ],
)
def test_values_are_typed(metadata, key, wanted):
    assert metadata[key] == wanted
    assert type(metadata[key]) is type(wanted)


def test_metadata_is_a_mapping(metadata):
    assert list(metadata) == list(STATE)
    assert len(metadata) == len(STATE)
    assert "bitDepth" in metadata
    assert metadata.get("nothing", 5) == 5
    assert np.isnan(metadata["height"])
    assert "laserPower: {'0': 79.5, '1': 3}" in repr(metadata)
    assert repr(metadata).startswith("<Metadata of PrairieView 5.6.64.400>")


def test_metadata_by_name(metadata):
    assert metadata.version == "5.6.64.400"
    assert metadata.date == dt.datetime(2023, 3, 2, 16, 25, 40)
    assert metadata.objective == "16X"
    assert metadata.microns_per_pixel == {"x": 0.5, "y": 2}
    assert metadata.laser_power == {"Pockels": 79.5, "1": 3}
    assert metadata.pmt_gain == {"PMT 1 HV": 650}


def test_values_as_they_were_written(metadata):
    assert metadata.raw("framePeriod") == "6.3179E-05"
    assert metadata.raw("positionCurrent", "ZAxis", "0") == "-75.9"
    with pytest.raises(ArgumentError, match="'positionCurrent' has further indices: ZAxis"):
        metadata.raw("positionCurrent")


def test_an_unknown_key_names_those_there_are(metadata):
    with pytest.raises(KeyError, match="no state key 'zoom'; it has activeMode, bitDepth"):
        metadata["zoom"]


@pytest.mark.parametrize(
    "attrs",
    [
        pytest.param({}, id="empty"),
        pytest.param(
            {
                "date": "02.03.2023",
                "state": {
                    key: {"value": ""} for key in ("laserPower", "pmtGain", "micronsPerPixel")
                },
            },
            id="empty values",
        ),
    ],
)
def test_metadata_that_says_little(attrs):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        metadata = Metadata(attrs)
        assert metadata.date == attrs.get("date", "")
        assert metadata.version == ""
        assert metadata.objective is None
        assert metadata.laser_power == metadata.pmt_gain == metadata.microns_per_pixel == {}
        assert "(unknown)" in repr(metadata)


# -- plain frames, read without the parser ----------------------------------------------------


PLAIN = (
    '<Frame relativeTime="{t}" absoluteTime="{t}" index="1" parameterSet="CurrentSettings">\n'
    '  <File channel="2" channelName="Ch2" filename="{name}" />\n'
    '  <ExtraParameters lastGoodFrame="0" />\n  <PVStateShard />\n</Frame>'
)
FRAME = PLAIN.format(t="0.5", name="a.tif")
ODD_FRAMES = {
    "two": FRAME + "\n" + FRAME,
    "text between": FRAME + "text" + FRAME,
    "in a comment": f"<!-- {FRAME} -->{FRAME}",
    "in a section": f"<Notes><![CDATA[{FRAME}]]></Notes>{FRAME}",
    "nested": f"<Group>{FRAME}</Group>",
    "state after": FRAME.replace("<PVStateShard />", shard(a="1")) + FRAME,
    "extra attribute": FRAME.replace("channel=", 'wavelengthMin="1" channel='),
    "no extra parameters": FRAME.replace('<ExtraParameters lastGoodFrame="0" />', ""),
    "escaped": FRAME.replace('"Ch2"', '"A &amp; B"') + FRAME,
    "letters": FRAME.replace('"Ch2"', '"Gr\u00fcn"') + FRAME,
    "page": FRAME.replace(" />", ' page="3" />', 1),
    "page 0": FRAME.replace(" />", ' page="0" />', 1),
    "two files": FRAME.replace("<File", FILE.format("b.tif") + "\n<File", 1),
    "foreign child": FRAME.replace("<File", "<Other />\n<File", 1),
    "file with a child": FRAME.replace('"a.tif" />', '"a.tif"><x /></File>', 1),
    "odd time": PLAIN.format(t="1E-05", name="a.tif"),
    "no time": PLAIN.format(t="-.E", name="a.tif"),
    "reserved name": PLAIN.format(t="0", name="CON.tif"),
    "path": PLAIN.format(t="0", name="../a.tif"),
    "colon": PLAIN.format(t="0", name="C:a.tif"),
    "empty name": PLAIN.format(t="0", name=""),
    "CRLF": (FRAME + "\n" + FRAME).replace("\n", "\r\n"),
    "cut": FRAME + FRAME[:-20],
}  # fmt: skip


def read_or_error(path):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            scan = read_scan(path)
        except RecordingError as error:
            return type(error), str(error)
    return repr(scan), [str(item.message) for item in caught]  # NaN equals NaN in text


@pytest.mark.parametrize("place", ["in a sequence", "outside", "many"])
@pytest.mark.parametrize("frames", ODD_FRAMES.values(), ids=ODD_FRAMES)
def test_plain_frames_are_read_as_the_parser_reads_them(tmp_path, monkeypatch, frames, place):
    if place == "many":
        frames = f"{FRAME}\n" * 9000 + frames
    sequence = '<Sequence type="TSeries Timed Element" cycle="1">{}</Sequence>'
    body = frames if place == "outside" else sequence.format(frames) + sequence.format(FRAME)
    path = tmp_path / "a.xml"
    path.write_bytes(f'<PVScan version="5.6.64.400">\n{body}\n</PVScan>'.encode())
    ours = read_or_error(path)

    def parser_alone(text, start):
        return frame_records.raw_pieces(text, start, len(text))

    monkeypatch.setattr(scan_module, "pieces", parser_alone)
    assert ours == read_or_error(path)


def test_plain_frames_are_taken_out_of_the_parsers_hands(tmp_path):
    write_recording(tmp_path / "r", frames=5, channels=("Ch1", "Ch2"), shape=(4, 4), neurons=0)
    text = (tmp_path / "r" / "r.xml").read_bytes()
    found = list(frame_records.pieces(text, 0))
    runs = [piece for piece in found if isinstance(piece, frame_records.PlainFrames)]
    assert [len(run.frames) for run in runs] == [5]
    assert b"<Frame" not in b"".join(piece for piece in found if isinstance(piece, bytes))
