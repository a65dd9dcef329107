"""Photostimulation elements and their files: real ones, ones made here, edits, round trips."""

import codecs
import copy
import dataclasses
import math
import pickle
import warnings
from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from lxml import etree

from calscipy.errors import ArgumentError, StoreError, TargetExistsError
from calscipy.photostimulation import (
    GalvoPoint,
    GalvoPointElement,
    GalvoPointGroup,
    GalvoPointList,
    MarkPointElement,
    MarkPointSeriesElements,
    Point,
    read_galvo_points,
    read_mark_points,
    write_galvo_points,
    write_mark_points,
)

SAMPLES = Path(__file__).resolve().parents[3] / "shared" / "data" / "prairieview"
GPL = SAMPLES / "calscipy" / "markpoints" / "saved_gpl.gpl"
SERIES = SAMPLES / "calscipy" / "markpoints" / "saved_series.xml"
PLAYED = sorted(SAMPLES.glob("scanagator/*/*MarkPoints.xml"))
INDENTED = SAMPLES / "scanagator" / "LineScan-03052024-1208-1065"

real = pytest.mark.skipif(not SAMPLES.is_dir(), reason="needs ../shared/data/prairieview")


def read(path):
    return (read_galvo_points if path.suffix == ".gpl" else read_mark_points)(path)


def write(item, path, **options):
    verb = write_galvo_points if isinstance(item, GalvoPointList) else write_mark_points
    verb(item, path, **options)


@pytest.fixture
def rewritten(tmp_path):
    """Bytes of an object written to a new file, and what is read from it."""
    number = iter(range(1000))

    def rewrite(item):
        suffix = ".gpl" if isinstance(item, GalvoPointList) else ".xml"
        path = tmp_path / f"{next(number)}{suffix}"
        write(item, path)
        return path.read_bytes(), read(path)

    return rewrite


@pytest.fixture
def file_of(tmp_path):
    """Write text or bytes as a file."""

    def make(content, name="points.gpl"):
        path = tmp_path / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    return make


def series(*marks, **values):
    return MarkPointSeriesElements(marks=marks, **values)


# Real files


@real
@pytest.mark.parametrize("path", [GPL, SERIES, *PLAYED], ids=lambda path: path.name[:28])
def test_real_files_are_rewritten_byte_for_byte(rewritten, path):
    item = read(path)
    data, again = rewritten(item)
    assert data == path.read_bytes()
    assert again == item
    assert hash(again) == hash(item)


@real
def test_the_real_point_list():
    points = read_galvo_points(GPL)
    assert (len(points.galvo_points), len(points.groups)) == (30, 3)
    first, last = points.galvo_points[0], points.galvo_points[-1]
    assert (first.x, first.y, first.z) == (-4.7465701381138, -7.0828949962798, 7090.81)
    assert (last.name, last.index, last.y) == ("Point 29", 29, 6.82636383928572)
    assert (first.uncaging_laser_power, first.duration, first.is_spiral) == (5.0, 100.0, True)
    assert (first.spiral_size, first.spiral_revolutions) == (0.21802730019247, 50.0)
    assert min(point.x for point in points.galvo_points) < 0  # volts have both signs
    assert [group.indices for group in points.groups] == [
        tuple(range(30)),
        (0, 1, 2, 3, 4, 5),
        (0, 2, 4, 6),
    ]
    assert [(group.name, group.index) for group in points.groups] == [
        ("Group 1", 30),
        ("Group 2", 30),
        ("Group 3", 30),
    ]
    assert points.groups[0].order is None


@real
def test_the_real_saved_series():
    saved = read_mark_points(SERIES)
    assert saved.saved
    assert (saved.iterations, saved.iteration_delay, saved.calc_funcnt_map) == (1, 0.0, False)
    assert [mark.uncaging_laser_power for mark in saved.marks] == [0, 0, 1, 0.025, 5, 0.45]
    visits = [mark.points[0] for mark in saved.marks]
    assert all(len(mark.points) == 1 for mark in saved.marks)
    assert [visit.points for visit in visits] == [
        *("Point 0", "Point 1", "Point 2"),
        *("Group 1", "Group 2", "Group 3"),
    ]
    assert [visit.indices for visit in visits] == [
        *((0,), (1,), (2,)),
        tuple(range(30)),
        tuple(range(6)),
        (0, 2, 4, 6),
    ]
    assert (visits[1].duration, visits[1].spiral_revolutions) == (12.0, 12.0)
    assert visits[0].inter_point_delay == 0.12
    assert visits[0].targets == ()
    assert visits[0].use_3d is None
    assert saved.marks[0].trigger_selection == "None"
    # The indices lead back to the points of the list that goes with it.
    points = read_galvo_points(GPL)
    assert [points.galvo_points[index].name for index in visits[5].indices] == [
        "Point 0",
        "Point 2",
        "Point 4",
        "Point 6",
    ]


@real
def test_real_acquisitions_have_infinite_and_missing_places():
    played = read_mark_points(next(INDENTED.glob("*MarkPoints.xml")))
    assert not played.saved
    mark = played.marks[0]
    assert (mark.uncaging_laser, mark.uncaging_laser_power) == ("Insight X3", 400.0)
    assert mark.async_sync_frequency == "EveryRepetition"
    visit = mark.points[0]
    assert (visit.initial_delay, visit.inter_point_delay, visit.use_3d) == (1000.0, 0.26, False)
    (target,) = visit.targets
    assert (target.index, target.x, target.y) == (0, 0.552230923644617, -math.inf)
    assert math.isnan(target.spiral_height)
    assert target.spiral_size_in_microns == 2.00000000000001
    assert target.z is None
    assert len(PLAYED) == 4
    assert {read_mark_points(path).marks[0].points[0].targets[0].y for path in PLAYED} == {
        math.inf,
        -math.inf,
    }


# Edits


@real
def test_one_edit_changes_that_attribute_alone(rewritten):
    points = read_galvo_points(GPL)
    edited = [
        points.galvo_points[0].replace(x=1e-07),
        *points.galvo_points[1:3],
        dataclasses.replace(points.galvo_points[3], name='A & "B"'),
        *points.galvo_points[4:],
    ]
    data, again = rewritten(points.replace(galvo_points=edited))
    wanted = GPL.read_bytes().replace(b'"-4.7465701381138"', b'"1E-07"', 1)
    assert data == wanted.replace(b'"Point 3"', b'"A &amp; &quot;B&quot;"', 1)
    assert again.galvo_points[3].name == 'A & "B"'
    assert points == read_galvo_points(GPL)  # edits leave the original alone


@real
def test_a_deep_edit_of_a_series(rewritten):
    path = PLAYED[0]
    played = read_mark_points(path)
    mark = played.marks[0]
    visit = mark.points[0]
    target = visit.targets[0].replace(y=0.5, spiral_height=0.02)
    mark = mark.replace(points=[visit.replace(targets=[target], indices=(3, 4, 5, 7))])
    data, _ = rewritten(played.replace(marks=[mark]))
    old = path.read_bytes()
    wanted = (
        old.replace('Y="-∞"'.encode(), b'Y="0.5"')
        .replace(b'SpiralHeight="NaN"', b'SpiralHeight="0.02"')
        .replace(b'Indices="1"', b'Indices="4-6, 8"')
    )
    assert wanted != old
    assert data == wanted


@real
def test_a_record_becomes_a_protocol_with_its_root_alone_changed(rewritten):
    played = read_mark_points(PLAYED[0])
    data, again = rewritten(played.replace(saved=True))
    assert data == PLAYED[0].read_bytes().replace(b"PVMarkPointSeries", b"PVSavedMarkPointSeries")
    assert again.saved


@real
def test_points_are_removed_and_added_beside_the_others(rewritten):
    points = read_galvo_points(GPL)
    lines = GPL.read_bytes().split(b"\n")
    new = GalvoPoint(x=1.5, y=-2, name="new", index=30, z=None)
    line = (
        b'  <PVGalvoPoint X="1.5" Y="-2" Name="new" Index="30" ActivityType="MarkPoints" '
        b'UncagingLaser="Uncaging" UncagingLaserPower="0" Duration="100" IsSpiral="True" '
        b'SpiralSize="0" SpiralRevolutions="0" />'
    )
    data, _ = rewritten(points.replace(galvo_points=(*points.galvo_points, new)))
    assert data.split(b"\n") == [*lines[:32], line, *lines[32:]]
    kept = points.galvo_points
    data, _ = rewritten(points.replace(galvo_points=(*kept[:5], new, *kept[7:]), groups=()))
    assert data.split(b"\n") == [*lines[:7], line, *lines[9:32], lines[-1]]
    swapped = (kept[1], kept[0], *kept[2:])
    data, again = rewritten(points.replace(galvo_points=swapped))
    assert data.split(b"\n") == [*lines[:2], lines[3], lines[2], *lines[4:]]
    assert again.galvo_points == swapped


EDITED = (
    "<?xml version='1.0'?>\r\n<!-- mine -->\r\n<PVGalvoPointList  Mode = 'a>b' >\r\n\t<!-- one -->"
    "\r\n\t<PVGalvoPoint Y='+1.50' X='  -2e-3'\tName='it&apos;s &#x3bc;'/>\r\n\t<Note>a &lt; b"
    "</Note>\r\n\t<PVGalvoPoint X='1' Y='2' Colour='&quot;red&quot;'></PVGalvoPoint>"
    "\r\n</PVGalvoPointList >\r\n<?end?>\r\n"
)


def read_unknown(path):
    with pytest.warns(UserWarning, match="does not know") as got:
        item = read_galvo_points(path)
    assert len(got) == 1
    return item, str(got[0].message)


def test_unusual_layout_and_unknown_content_are_kept(file_of, tmp_path):
    points, said = read_unknown(file_of(EDITED))
    for part in ("attribute Mode of <PVGalvoPointList>", "attribute Colour", "element <Note> in"):
        assert part in said
    first, second = points.galvo_points
    assert (first.x, first.y, first.name) == (-0.002, 1.5, "it's μ")
    assert (first.duration, first.index, first.z) == (None, None, None)  # the file does not say
    assert points.extra == (("Mode", "a>b"),)
    assert second.extra == (("Colour", '"red"'),)
    assert points.unknown_elements == ("<Note>a &lt; b</Note>",)
    write_galvo_points(points, tmp_path / "same.gpl")
    assert (tmp_path / "same.gpl").read_bytes() == EDITED.encode()

    moved = points.replace(
        galvo_points=[first.replace(name="it's", duration=12), second.replace(extra=())]
    )
    write_galvo_points(moved, tmp_path / "moved.gpl")
    wanted = EDITED.replace("it&apos;s &#x3bc;'", 'it&apos;s\' Duration="12"').replace(
        " Colour='&quot;red&quot;'", ""
    )
    assert (tmp_path / "moved.gpl").read_bytes() == wanted.encode()


def test_comments_and_unknown_elements_outlive_their_neighbours(file_of, tmp_path):
    points, _ = read_unknown(file_of(EDITED))
    group = GalvoPointGroup(indices=())
    write_galvo_points(points.replace(galvo_points=(), groups=[group]), tmp_path / "none.gpl")
    text = (tmp_path / "none.gpl").read_bytes().decode()
    assert "<PVGalvoPoint " not in text
    assert text.count("<!-- one -->") == text.count("<Note>a &lt; b</Note>") == 1
    assert '\r\n  <PVGalvoPointGroup Indices="" Name="Group 1" ' in text
    again, _ = read_unknown(tmp_path / "none.gpl")
    assert again.groups == (group,)


def test_an_empty_list_opens_up(file_of, rewritten):
    empty = read_galvo_points(file_of("<PVGalvoPointList />"))
    data, _ = rewritten(empty.replace(galvo_points=[GalvoPoint(x=1, y=2)]))
    assert data.startswith(b'<PVGalvoPointList>\n  <PVGalvoPoint X="1" Y="2" Name="Point 0" ')
    assert data.endswith(b" />\n</PVGalvoPointList>")
    between = read_galvo_points(file_of("<PVGalvoPointList>\n</PVGalvoPointList>", "b.gpl"))
    assert rewritten(between.replace(galvo_points=[GalvoPoint(x=1, y=2)]))[0] == data


def test_points_added_to_a_list_of_groups_come_first(file_of, rewritten):
    text = '<PVGalvoPointList>\n  <PVGalvoPointGroup Indices="" Name="g" />\n</PVGalvoPointList>'
    points = read_galvo_points(file_of(text))
    data, _ = rewritten(points.replace(galvo_points=[GalvoPoint(x=1, y=2)]))
    assert data.index(b"<PVGalvoPoint ") < data.index(b"<PVGalvoPointGroup ")


def test_trailing_commas_ranges_and_custom_orders(file_of, rewritten):
    text = (
        '<PVGalvoPointList><PVGalvoPoint X="0" Y="0" /><PVGalvoPoint X="0" Y="0" />'
        '<PVGalvoPointGroup Indices="0," /><PVGalvoPointGroup Indices="0, 1" Order="Custom" '
        'CustomOrder="2,1" /></PVGalvoPointList>'
    )
    points = read_galvo_points(file_of(text))
    assert [group.indices for group in points.groups] == [(0,), (0, 1)]
    assert (points.groups[1].order, points.groups[1].custom_order) == ("Custom", "2,1")
    assert rewritten(points)[0] == text.encode()
    changed = points.groups[0].replace(indices=(1, 0))
    data, _ = rewritten(points.replace(groups=(changed, points.groups[1])))
    assert data == text.replace('"0,"', '"1,0"').encode()


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "iso-8859-1"])
@pytest.mark.parametrize("newline", ["\n", "\r\n"])
def test_encodings_and_line_ends_are_kept(file_of, rewritten, encoding, newline):
    name = "utf-8" if encoding == "utf-8-sig" else encoding
    text = (
        f'<?xml version="1.0" encoding="{name}"?>\n<PVGalvoPointList>\n'
        '  <PVGalvoPoint X="0" Y="0" Name="é" />\n</PVGalvoPointList>\n'
    ).replace("\n", newline)
    path = file_of(text.encode(encoding))
    points = read_galvo_points(path)
    assert points.galvo_points[0].name == "é"
    assert rewritten(points)[0] == path.read_bytes()
    extended = points.replace(galvo_points=[points.galvo_points[0], GalvoPoint(name="∞")])
    data, again = rewritten(extended)
    assert again == extended
    assert data.count(newline.encode(encoding.removesuffix("-sig"))[-len(newline) :]) >= 4


# Objects


def test_defaults_are_those_of_the_original():
    point = GalvoPoint()
    assert (point.x, point.y, point.name, point.index) == (0, 0, "Point 0", 0)
    assert (point.activity_type, point.uncaging_laser) == ("MarkPoints", "Uncaging")
    assert (point.uncaging_laser_power, point.duration, point.is_spiral) == (0, 100, True)
    assert (point.spiral_size, point.spiral_revolutions, point.z) == (0, 0, 0)
    visit = GalvoPointElement()
    assert (visit.initial_delay, visit.inter_point_delay, visit.duration) == (0, 0, 0)
    assert (visit.spiral_revolutions, visit.all_points_at_once) == (0, False)
    assert (visit.points, visit.indices) == ("Point 0", (0,))
    mark = MarkPointElement(points=())
    assert (mark.repetitions, mark.uncaging_laser, mark.uncaging_laser_power) == (1, "Uncaging", 0)
    assert (mark.trigger_frequency, mark.trigger_selection) == ("None", "PFI0")
    assert (mark.trigger_count, mark.async_sync_frequency) == (0, "FirstRepetition")
    assert (mark.voltage_output_category_name, mark.voltage_rec_category_name) == (
        "None",
        "Current",
    )
    assert mark.parameter_set == "CurrentSettings"
    made = series()
    assert (made.iterations, made.iteration_delay, made.calc_funcnt_map) == (1, 0, False)
    target = Point()
    assert (target.index, target.x, target.y, target.is_spiral) == (0, 0, 0, True)
    assert (target.spiral_width, target.spiral_height, target.spiral_size_in_microns) == (0, 0, 0)


def test_what_the_original_refused_is_taken():
    point = GalvoPoint(x=5, y=-8.3, uncaging_laser_power=0.025)  # negative volts, whole numbers
    assert (point.x, point.y, point.uncaging_laser_power) == (5.0, -8.3, 0.025)
    assert isinstance(point.x, float)
    assert GalvoPointElement(duration=5.0).duration == 5.0
    numpy = GalvoPoint(x=np.float32(0.5), index=np.int64(3), is_spiral=np.True_)
    assert (type(numpy.x), type(numpy.index), type(numpy.is_spiral)) == (float, int, bool)
    visit = GalvoPointElement(indices=np.arange(3))
    assert visit.indices == (0, 1, 2)
    assert all(type(index) is int for index in visit.indices)
    assert GalvoPointElement(indices=4).indices == (4,)
    assert series(MarkPointElement(points=[])).marks[0].points == ()


@pytest.mark.parametrize(
    ("make", "parts"),
    [
        (
            lambda: GalvoPoint(x="1", y=True, duration=-1, index=1.5, is_spiral=1, name=3),
            ["x='1'", "y=True", "duration=-1", "index=1.5", "is_spiral=1", "name=3", "(IsSpiral)"],
        ),
        (lambda: GalvoPoint(x=None), ["x=None"]),
        (lambda: GalvoPoint(name="a\0b"), ["cannot be written to XML"]),
        (lambda: GalvoPoint(name="\ud800"), ["cannot be written to XML"]),
        (lambda: GalvoPoint(duration=math.nan), ["a finite number of at least 0"]),
        (lambda: GalvoPoint(uncaging_laser_power=math.inf), ["a finite number of at least 0"]),
        (lambda: GalvoPoint(x=10**400), ["1.8E+308"]),
        (lambda: GalvoPoint(index=-1), ["a whole number of at least 0"]),
        (lambda: GalvoPoint(index=2**31), ["a whole number of at least 0"]),
        (lambda: GalvoPoint(extra=(("X", "1"),)), ["extra has the name 'X'"]),
        (lambda: GalvoPoint(extra=(("a b", "1"),)), ["extra has the name 'a b'"]),
        (lambda: GalvoPoint(extra=(("A", "1"), ("A", "2"))), ["extra has the name 'A'"]),
        (lambda: GalvoPoint(extra=("A",)), ["pairs of name and text"]),
        (lambda: GalvoPointElement(indices="1-3"), ["indices from 0"]),
        (lambda: GalvoPointElement(indices=(0, -1)), ["indices from 0"]),
        (lambda: GalvoPointElement(indices=(0, True)), ["indices from 0"]),
        (lambda: GalvoPointElement(indices=range(100_001)), ["at most 100000"]),
        (lambda: GalvoPointElement(targets=[GalvoPoint()]), ["targets", "must be a Point"]),
        (lambda: MarkPointElement(points=3), ["points", "must be a GalvoPointElement"]),
        (
            lambda: MarkPointElement(points=(), custom_laser_percent=[1, math.nan]),
            ["finite numbers"],
        ),
        (lambda: MarkPointElement(points=(), custom_laser_percent=3), ["several numbers"]),
        (lambda: series(iterations=-1), ["iterations=-1"]),
        (lambda: series(saved="no"), ["saved: True or False"]),
        (lambda: GalvoPointElement(indices=range(10**12)), ["at most 100000"]),
        (
            lambda: GalvoPointList(
                galvo_points=[GalvoPoint()], groups=[GalvoPointGroup(indices=(0, 1, 7))]
            ),
            ["groups[0] (Group 1) names the points 1, 7", "but the list has 1"],
        ),
        (lambda: GalvoPoint().replace(z="a"), ["z='a'"]),
        (lambda: GalvoPoint().replace(zoom=3), ["has no fields ['zoom']"]),
    ],
)
def test_all_that_is_wrong_is_named(make, parts):
    with pytest.raises(ArgumentError) as got:
        make()
    for part in parts:
        assert part in str(got.value)


def test_elements_are_frozen_equal_by_value_and_can_be_copied():
    point = GalvoPoint(x=math.nan, y=-math.inf)
    with pytest.raises(dataclasses.FrozenInstanceError):
        point.x = 3.0
    assert point == GalvoPoint(x=float("nan"), y=-math.inf)
    assert point != GalvoPoint(x=math.nan, y=math.inf)
    assert point != Point()
    assert {point, GalvoPoint(x=float("nan"), y=-math.inf)} == {point}
    for twin in (copy.deepcopy(point), pickle.loads(pickle.dumps(point))):
        assert twin == point
    assert repr(GalvoPointElement(indices=range(30))) == (
        "GalvoPointElement(initial_delay=0.0, inter_point_delay=0.0, duration=0.0, "
        "spiral_revolutions=0.0, all_points_at_once=False, points='Point 0', "
        "indices=(0, 1, 2, 3, 4, 5, ...), targets=())"
    )
    assert "<4 GalvoPoint>" in repr(GalvoPointList(galvo_points=[GalvoPoint()] * 4))


@real
def test_copies_remember_what_they_were_read_from(rewritten):
    points = read_galvo_points(GPL)
    for twin in (copy.deepcopy(points), pickle.loads(pickle.dumps(points))):
        assert rewritten(twin.replace(galvo_points=twin.galvo_points[::1]))[0] == GPL.read_bytes()


# Files made in Python


MADE = """\ufeff<?xml version="1.0" encoding="utf-8"?>
<PVSavedMarkPointSeriesElements Iterations="2" IterationDelay="1000.00" CalcFunctMap="False">
  <PVMarkPointElement Repetitions="5" UncagingLaser="A &amp; B" UncagingLaserPower="0.025" \
TriggerFrequency="None" TriggerSelection="None" TriggerCount="1" AsyncSyncFrequency="None" \
VoltageOutputCategoryName="None" VoltageRecCategoryName="None" parameterSet="CurrentSettings">
    <PVGalvoPointElement InitialDelay="0.26" InterPointDelay="0.12" Duration="1E-07" \
SpiralRevolutions="-1.2345678901234568E-05" AllPointsAtOnce="False" Points="Group 1" \
Indices="1-3, 5" />
  </PVMarkPointElement>
</PVSavedMarkPointSeriesElements>"""


def test_files_made_in_python_are_laid_out_as_by_prairieview(rewritten):
    visit = GalvoPointElement(
        initial_delay=0.26,
        inter_point_delay=0.12,
        duration=1e-7,
        spiral_revolutions=-1.2345678901234567e-05,
        points="Group 1",
        indices=(0, 1, 2, 4),
    )
    mark = MarkPointElement(
        points=[visit],
        repetitions=5,
        uncaging_laser="A & B",
        uncaging_laser_power=0.025,
        trigger_selection="None",
        trigger_count=1,
        async_sync_frequency="None",
        voltage_rec_category_name="None",
    )
    made = series(mark, iterations=2, iteration_delay=1000)
    data, again = rewritten(made)
    assert data.decode() == MADE
    assert again == made
    assert again.marks[0].points[0].duration == 1e-7
    # Seventeen digits have several texts that read as the same number; the exponent stays.
    assert again.marks[0].points[0].spiral_revolutions == -1.2345678901234567e-05


@real
@pytest.mark.parametrize("path", [GPL, SERIES], ids=lambda path: path.name)
def test_real_files_made_anew_are_the_same_bytes(rewritten, path):
    def forget(item):
        inner = {
            name: [forget(child) for child in getattr(item, name)]
            for name in ("galvo_points", "groups", "marks", "points", "targets")
            if isinstance(getattr(item, name, None), tuple)
        }
        return item.replace(source=None, **inner)

    assert rewritten(forget(read(path)))[0] == path.read_bytes()


def test_nothing_is_written_over_unless_asked(tmp_path):
    path = tmp_path / "a.gpl"
    points = GalvoPointList(galvo_points=[GalvoPoint()])
    write_galvo_points(points, path)
    old = path.read_bytes()
    with pytest.raises(TargetExistsError, match=r"a\.gpl exists already"):
        write_galvo_points(points.replace(galvo_points=[]), path)
    assert path.read_bytes() == old
    write_galvo_points(points.replace(galvo_points=[]), path, overwrite=True)
    assert read_galvo_points(path).galvo_points == ()
    assert [entry.name for entry in tmp_path.iterdir()] == ["a.gpl"]
    with pytest.raises(StoreError, match="no such folder"):
        write_galvo_points(points, tmp_path / "b" / "a.gpl")
    with pytest.raises(TargetExistsError):
        write_galvo_points(points, tmp_path, overwrite=True)
    with pytest.raises(ArgumentError, match="write_galvo_points needs a GalvoPointList, got a Gal"):
        write_galvo_points(GalvoPoint(), tmp_path / "c.gpl")
    with pytest.raises(ArgumentError, match="needs a MarkPointSeriesElements"):
        write_mark_points(points, tmp_path / "c.xml")


def test_a_failed_write_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "a.gpl"
    points = GalvoPointList(galvo_points=[GalvoPoint()])
    write_galvo_points(points, path)
    old = path.read_bytes()

    def fail(descriptor):
        raise OSError("disk full")

    monkeypatch.setattr("os.fsync", fail)
    with pytest.raises(StoreError, match=r"a\.gpl cannot be written \(disk full\)"):
        write_galvo_points(points.replace(galvo_points=[]), path, overwrite=True)
    assert path.read_bytes() == old
    assert [entry.name for entry in tmp_path.iterdir()] == ["a.gpl"]


# Round trips

NUMBERS = st.floats(allow_subnormal=True) | st.sampled_from(
    [-8.3, 1e-7, -1.2345678901234567e-05, 0.1 + 0.2, 1e22, -0.0, math.inf, -math.inf, math.nan]
)
AMOUNTS = st.floats(0, allow_infinity=False) | st.sampled_from([1e-7, 0.025, 1e16])
# Every character that XML can hold, control characters as references included.
TEXTS = st.text(
    st.characters(exclude_categories=["Cs"], exclude_characters="\0\ufffe\uffff"), max_size=12
) | st.sampled_from(['A & "B" < é μ', "'<!-- ]]> -->'", "\x01\t\r\n", " ", "&amp;"])
FLAGS = st.booleans()
COUNTS = st.integers(0, 2**31 - 2)
OFTEN_NONE = st.none()
NAMES = st.sampled_from(["Colour", "xml:lang", "µ", "a-b.c"])


def objects(cls, **strategies):
    extra = st.dictionaries(NAMES, TEXTS, max_size=2).map(lambda pairs: tuple(pairs.items()))
    return st.builds(cls, **strategies, extra=extra)


POINTS = objects(
    GalvoPoint,
    x=NUMBERS,
    y=NUMBERS,
    name=TEXTS,
    index=COUNTS,
    uncaging_laser=OFTEN_NONE | TEXTS,
    uncaging_laser_power=AMOUNTS,
    is_spiral=FLAGS,
    z=OFTEN_NONE | NUMBERS,
)


def groups_of(count):
    indices = st.lists(st.integers(0, count - 1), max_size=5) if count else st.just([])
    return st.lists(objects(GalvoPointGroup, indices=indices, name=TEXTS), max_size=2)


LISTS = st.lists(POINTS, max_size=3).flatmap(
    lambda points: objects(
        GalvoPointList, galvo_points=st.just(points), groups=groups_of(len(points))
    )
)
TARGETS = objects(Point, index=OFTEN_NONE | COUNTS, x=NUMBERS, y=NUMBERS, spiral_height=NUMBERS)
INDICES = st.lists(st.integers(0, 9) | COUNTS, max_size=6)
VISITS = objects(
    GalvoPointElement,
    initial_delay=OFTEN_NONE | AMOUNTS,
    duration=AMOUNTS,
    points=TEXTS,
    indices=OFTEN_NONE | INDICES,
    use_3d=OFTEN_NONE | FLAGS,
    targets=st.lists(TARGETS, max_size=2),
)
MARKS = objects(
    MarkPointElement,
    points=st.lists(VISITS, max_size=2),
    repetitions=COUNTS,
    custom_laser_percent=OFTEN_NONE | st.lists(st.floats(-1e9, 1e9), max_size=3),
    trigger_selection=TEXTS,
)
ALL_SERIES = objects(
    MarkPointSeriesElements,
    marks=st.lists(MARKS, max_size=2),
    iteration_delay=AMOUNTS,
    name=OFTEN_NONE | TEXTS,
    saved=FLAGS,
)
quick = settings(deadline=None, derandomize=True, max_examples=40)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("generated")


def read_quietly(path):
    """Read a file whose extra attributes are meant to be there."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", ".*does not know", UserWarning)
        return read(path)


@quick
@given(item=LISTS | ALL_SERIES)
@example(item=GalvoPointList(galvo_points=[GalvoPoint(x=1e-7, y=-1.2345678901234567e-05)]))
def test_written_and_read_again_is_equal(folder, item):
    path = folder / ("a.gpl" if isinstance(item, GalvoPointList) else "a.xml")
    write(item, path, overwrite=True)
    again = read_quietly(path)
    assert again == item
    data = path.read_bytes()
    write(again, path, overwrite=True)
    assert path.read_bytes() == data
    assert data.startswith(codecs.BOM_UTF8)


@quick
@given(item=LISTS, x=NUMBERS, name=TEXTS, number=st.integers(0, 2))
def test_any_edit_reads_back_and_leaves_the_rest(folder, item, x, name, number):
    path = folder / "edit.gpl"
    write(item, path, overwrite=True)
    before = path.read_bytes().split(b"\n")
    read_back = read_quietly(path)
    points = list(read_back.galvo_points)
    if number >= len(points):
        return
    points[number] = points[number].replace(x=x, name=name)
    edited = read_back.replace(galvo_points=points)
    write(edited, path, overwrite=True)
    assert read_quietly(path) == edited
    after = path.read_bytes().split(b"\n")
    changed = {at for at, pair in enumerate(zip(before, after, strict=True)) if pair[0] != pair[1]}
    assert changed <= {2 + number}


@quick
@given(text=st.text(st.characters(exclude_categories=["Cc", "Cs"]), max_size=20))
def test_another_parser_reads_the_same_names_and_numbers(folder, text):
    text = text.replace("\ufffe", "").replace("\uffff", "")
    path = folder / "lxml.gpl"
    point = GalvoPoint(x=-1.2345678901234567e-05, y=1e-7, name=text)
    write(GalvoPointList(galvo_points=[point]), path, overwrite=True)
    (element,) = etree.fromstring(path.read_bytes())
    assert element.get("Name") == text
    assert (float(element.get("X")), float(element.get("Y"))) == (point.x, point.y)
