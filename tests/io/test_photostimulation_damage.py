"""Photostimulation files that are damaged or hostile: refused, quickly, with all that is wrong."""

import os
import threading
import time
import warnings

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from calscipy.errors import CalscipyError, CalscipyWarning, DamagedRecordingWarning, RecordingError
from calscipy.io.photostimulation import (
    lossless,
    read_galvo_points,
    read_mark_points,
    write_galvo_points,
)

POINT = '<PVGalvoPoint X="-1.5" Y="2" Name="Point 1" Index="0" />'


@pytest.fixture
def file_of(tmp_path):
    """Write text or bytes as a file."""

    def make(content, name="points.gpl"):
        path = tmp_path / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    return make


def many_attributes(count, value):
    return " ".join(f'a{number}="{value}"' for number in range(count))


def listed(content=POINT):
    return f"<PVGalvoPointList>\n{content}\n</PVGalvoPointList>"


def test_all_errors_of_a_file_come_in_one_message(file_of):
    path = file_of(
        '<PVMarkPointSeriesElements Iterations="two">\n'
        '<PVMarkPointElement Repetitions="-1" UncagingLaserPower="0,5">\n'
        '<PVGalvoPointElement Duration="5 ms" Indices="0-3" AllPointsAtOnce="yes" Points="P 1">\n'
        '<Point Index="0" X="1e999" IsSpiral="True" Name="cell &lt; 3" />\n'
        "</PVGalvoPointElement>\n</PVMarkPointElement>\n</PVMarkPointSeriesElements>",
        "series.xml",
    )
    with pytest.raises(RecordingError) as got:
        read_mark_points(path)
    message = str(got.value)
    assert "series.xml: 9 values cannot be used" in message
    for part in (
        "line 1, <PVMarkPointSeriesElements>: Iterations='two': a whole number",
        "line 2, <PVMarkPointElement>: Repetitions='-1'",
        "UncagingLaserPower='0,5': a number such as -0.5",
        "line 3, <PVGalvoPointElement>: Duration='5 ms'",
        "Indices='0-3': indices from 1",
        "AllPointsAtOnce='yes': True or False",
        "line 4, <Point> 'cell &lt; 3': Index='0': a whole number of at least 1",
        "X='1e999': a number of at most",
        "Y is missing",
    ):
        assert part in message


def test_groups_that_name_no_point_are_refused_with_their_line(file_of):
    path = file_of(listed(f'{POINT}\n<PVGalvoPointGroup Indices="0,1" Name="g" />'))
    with pytest.raises(RecordingError, match=r"line 1, <PVGalvoPointList>: groups\[0\] \(g\) name"):
        read_galvo_points(path)


def test_many_errors_are_counted(file_of):
    path = file_of(listed('<PVGalvoPoint X="a" Y="b" />' * 500))
    with pytest.raises(RecordingError, match=r"1000 values cannot.*and 950 more") as got:
        read_galvo_points(path)
    assert len(str(got.value)) < 10_000


def test_forbidden_references_of_prairieview_are_kept(file_of, tmp_path):
    path = file_of(listed(POINT.replace("Point 1", "a&#x1;b")))
    points = read_galvo_points(path)
    assert points.galvo_points[0].name == "a\x01b"
    write_galvo_points(points, tmp_path / "b.gpl")
    assert (tmp_path / "b.gpl").read_bytes() == path.read_bytes()


BOMB = "".join(
    f'<!ENTITY e{n + 1} "{f"&e{n};" * 10}">' if n else '<!ENTITY e1 "ha">' for n in range(9)
)


@pytest.mark.parametrize(
    ("content", "match"),
    [
        (b"", r"empty \(0 bytes\)"),
        (b"\0" * 100, "is not text"),
        ("nothing", "text outside of the root element: 'nothing'"),
        (" \n", "no XML element"),
        ("<!-- a -->", "no XML element"),
        (f"<!DOCTYPE a [{BOMB}]>{listed()}", "document type"),
        (f'<!DOCTYPE a SYSTEM "file:///etc/passwd">{listed()}', "document type"),
        (listed(POINT.replace("Point 1", "&xxe;")), "'&xxe;.*none of the references"),
        (listed(POINT.replace("Point 1", "a & b")), "none of the references"),
        (listed("&e9;"), "none of the references"),
        (listed(POINT.replace("Point 1", "&#0;")), "&#0; names no character"),
        (listed(POINT.replace("Point 1", "&#xD800;")), "names no character"),
        (listed(POINT.replace("Point 1", "&#1114112;")), "names no character"),
        (listed(POINT.replace(' Index="0"', ' Index="0" Q="&#0;"')), "names no character"),
        (listed(POINT)[:-5], "this is no XML: '</PVGalvoPoin"),
        (listed(POINT)[:60], "this is no XML"),
        (listed(POINT).rpartition("</")[0], "breaks off in the <PVGalvoPointList> of line 1"),
        (listed("<a></b>"), "</a> was expected, found '</b>'"),
        (listed() + "</b>", "no end tag was expected"),
        (listed() + listed(), "a second root element"),
        (listed() + "more", "text outside"),
        (listed() + "\0\0\0", "is not text"),
        (listed("<!-- never ends"), "breaks off after '<!--'"),
        (listed("<?never ends"), "breaks off after"),
        (listed("<![CDATA[never ends"), "breaks off after"),
        (listed('<PVGalvoPoint X="1" Y="2" X="3" />'), "it is there twice"),
        (listed("<PVGalvoPoint X=1 Y=2 />"), "this is no XML"),
        (listed('<PVGalvoPoint X="1"Y="2" />'), "this is no XML"),
        (listed(POINT.replace("Point 1", "a<b")), "this is no XML"),
        (listed().encode("utf-16-le"), "is not text"),
        (listed(POINT.replace("Point 1", "x")).encode() + b"\x81\xff", "neither UTF-8"),
        (b"\xff\xfe<\0a", "not valid utf-16-le"),
        ("<PVScan />", "PVGalvoPointList> was expected, found <PVScan>.*ImagingSession.open"),
        ("<PVMarkPointSeriesElements />", "Read it with read_mark_points"),
        ("<a />", "Check the path"),
    ],
)
def test_what_is_no_point_list_is_refused(file_of, content, match):
    with pytest.raises(RecordingError, match=match) as got:
        read_galvo_points(file_of(content))
    assert "points.gpl" in str(got.value)
    assert len(str(got.value)) < 1000


def test_a_point_list_is_no_series_and_a_folder_no_file(file_of, tmp_path):
    with pytest.raises(RecordingError, match="Read it with read_galvo_points"):
        read_mark_points(file_of(listed()))
    for path in (tmp_path, tmp_path / "absent.gpl"):
        with pytest.raises(RecordingError, match="there is no such file"):
            read_galvo_points(path)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")
def test_a_pipe_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "a.gpl")
    with pytest.raises(RecordingError, match="there is no such file"):
        read_galvo_points(tmp_path / "a.gpl")


def test_windows_1252_is_read_with_a_warning(file_of, tmp_path):
    data = listed(POINT.replace("Point 1", "10 µm…")).encode("windows-1252")
    with pytest.warns(DamagedRecordingWarning, match="not valid UTF-8") as got:
        points = read_galvo_points(file_of(data))
    assert len(got) == 1
    assert points.galvo_points[0].name == "10 µm…"
    write_galvo_points(points, tmp_path / "b.gpl")
    assert (tmp_path / "b.gpl").read_bytes() == data


# Bounds


@pytest.mark.parametrize(
    ("content", "match"),
    [
        pytest.param("<a/>" * 1_000_000, "more than 200000 elements", id="1e6 elements"),
        pytest.param("<a>" * 1_000_000, "more than 32 in one another", id="deep"),
        pytest.param(f'<a b="{"x" * 2**21}" />', "a tag of more than", id="huge attribute"),
        pytest.param(f"<a {'b' * 2**21}", "this is no XML", id="huge name"),
        pytest.param("<a" + ' b="" ' * 2**19 + "!", "this is no XML", id="many attributes"),
        pytest.param("<a " + " " * 2**21 + "!", "this is no XML", id="spaces"),
        pytest.param(
            f'<PVGalvoPoint X="1" Y="1" {many_attributes(70_000, "&#0;")} />',
            "70000 values cannot be used",
            id="many bad attributes",
        ),
        pytest.param("&amp;" * 2**19 + "&", "none of the references", id="references"),
        pytest.param(
            '<PVGalvoPointGroup Indices="0-2000000000" />', "at most 100000 indices", id="range"
        ),
        pytest.param(
            '<PVGalvoPointGroup Indices="0-90000" />' * 100,
            "more than 2000000 indices in one file",
            id="many ranges",
        ),
        pytest.param(
            f'<PVGalvoPoint X="{"9" * 2**19}" Y="1" />', "a number such as", id="long number"
        ),
        pytest.param(
            f'<PVGalvoPoint X="1" Y="1" Index="{"9" * 5000}" />', "a whole number", id="long count"
        ),
    ],
)
def test_hostile_files_are_refused_quickly(file_of, content, match):
    path = file_of(listed(content))
    start = time.process_time()
    with pytest.raises(RecordingError, match=match) as got:
        read_galvo_points(path)
    assert time.process_time() - start < 20  # linear work takes about one; quadratic takes hours
    assert len(str(got.value)) < 20_000


def test_thousands_of_unknown_attributes_are_kept(file_of, tmp_path):
    path = file_of(listed(f"<PVGalvoPoint X='1' {many_attributes(60_000, 'b')} Y='1' />"))
    start = time.process_time()
    with pytest.warns(CalscipyWarning, match="and 59980 more") as got:
        points = read_galvo_points(path)
    assert len(str(got[0].message)) < 2000
    write_galvo_points(points, tmp_path / "b.gpl")
    assert time.process_time() - start < 20
    assert (tmp_path / "b.gpl").read_bytes() == path.read_bytes()


def test_unreadable_files_are_refused(file_of, monkeypatch):
    path = file_of(listed())

    def refuse(*args):
        raise PermissionError("denied")

    monkeypatch.setattr("pathlib.Path.open", refuse)
    with pytest.raises(RecordingError, match=r"points\.gpl: the file cannot be read \(denied\)"):
        read_galvo_points(path)


def test_large_files_are_not_read(file_of, monkeypatch):
    monkeypatch.setattr(lossless, "MAX_BYTES", 40)
    with pytest.raises(RecordingError, match="more than the 40 bytes accepted"):
        read_galvo_points(file_of(listed()))


def test_files_may_be_read_by_several_threads(file_of):
    path = file_of(listed(POINT * 50))
    found = []
    threads = [
        threading.Thread(target=lambda: found.append(read_galvo_points(path))) for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 4
    assert all(points == found[0] for points in found)


WHOLE = listed(
    f'{POINT}<!-- a --><PVGalvoPointGroup Indices="0," Name="a &amp; b" Index="1" '
    'UncagingLaserPower="1E-05" IsSpiral="True" /><Other a=\'1\'>t</Other>'
).encode()


BYTES = [*b"\"'<>&;=/-0 9\0\xff"]


EDITS = st.tuples(
    st.integers(0, len(WHOLE)), st.integers(0, 6), st.one_of(st.none(), st.sampled_from(BYTES))
)
MUTATIONS = st.lists(EDITS, min_size=1, max_size=4)


def check_mutation(folder, edits):
    """Write a file with some bytes replaced, and require an exact copy or a clear refusal."""
    data = bytearray(WHOLE)
    for at, removed, byte in edits:
        data[at : at + removed] = b"" if byte is None else bytes([byte])
    path, copied = folder / "mutated.gpl", folder / "copied.gpl"
    path.write_bytes(data)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", CalscipyWarning)
        try:
            points = read_galvo_points(path)
        except CalscipyError:
            return
    write_galvo_points(points, copied, overwrite=True)
    assert copied.read_bytes() == data


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("mutated")


@settings(deadline=None, derandomize=True, max_examples=200)
@given(edits=MUTATIONS)
def test_mutated_files_are_read_exactly_or_refused(folder, edits):
    check_mutation(folder, edits)


@pytest.mark.long
@settings(deadline=None, max_examples=7000)
@given(edits=MUTATIONS)
def test_thousands_of_mutated_files(folder, edits):
    check_mutation(folder, edits)


def test_unknown_content_is_said_once(file_of):
    path = file_of(listed(POINT.replace(" Index", ' New="1" Index') * 30))
    with pytest.warns(
        CalscipyWarning, match=r"attribute New of <PVGalvoPoint> \(30 times\)"
    ) as got:
        read_galvo_points(path)
    assert len(got) == 1
