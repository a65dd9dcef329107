"""Objects, factories, checks and mappings of 0.3.5, and where it was wrong (F45 to F47, F49)."""

import dataclasses
import json
from pathlib import Path
from types import MappingProxyType
from typing import Optional
from xml.etree import ElementTree

import numpy as np
import pytest
from lxml import etree

from calscipy.compat.bruker import xml_objects
from calscipy.compat.bruker.factories import BrukerElementFactory, BrukerXMLFactory
from calscipy.compat.bruker.meta_objects import GroupMeta, PhotostimulationMeta, ROIObject
from calscipy.compat.bruker.prairie_link import PrairieLink
from calscipy.compat.bruker.validation import (
    DingusException,
    DingusLogger,
    field_validator,
    format_fields,
    type_check_nested_types,
    validate_fields,
)
from calscipy.compat.bruker.xml_mappings.xml_mapping import load_mapping, write_mapping
from calscipy.compat.bruker.xml_objects import (
    GalvoPoint,
    GalvoPointElement,
    GalvoPointList,
    MarkPointElement,
    MarkPointSeriesElements,
    Point,
)
from calscipy.errors import ArgumentError, RecordingError, RoiError, TargetExistsError
from calscipy.prairielink import PrairieLinkError

from ..prairielink_server import SimulatedPrairieView  # noqa: TID252
from . import reference

# -- objects ---------------------------------------------------------------------------------


def test_objects_take_what_real_files_have():
    point = GalvoPoint(x=-8.3, y=5, uncaging_laser_power=0.025, duration=5)  # F45
    assert (point.x, point.y, point.uncaging_laser_power) == (-8.3, 5.0, 0.025)
    assert GalvoPointElement(duration=5.0).spiral_revolutions == 0.0
    assert GalvoPointElement(indices=3).indices == (3,)
    with pytest.raises(ArgumentError, match=r"x='left'.*duration=-1"):
        GalvoPoint(x="left", duration=-1)


SERIES = MarkPointSeriesElements(
    marks=[
        MarkPointElement(
            points=[GalvoPointElement(duration=12.0, indices=(0, 2), points='A & "B"')],
            uncaging_laser_power=1e-07,
            parameter_set="CurrentSettings",
        )
    ],
    iterations=3,
)
POINTS = GalvoPointList(galvo_points=[GalvoPoint(x=-1.2345678901234567e-05, y=1e-07, name="µ < é")])


@pytest.mark.parametrize(
    "item", [SERIES, POINTS, POINTS.galvo_points[0]], ids=["series", "points", "point"]
)
@pytest.mark.parametrize("library", [ElementTree, etree], ids=["xml", "lxml"])
def test_objects_become_xml_and_come_back(item, library):
    text = BrukerXMLFactory().constructor(item)  # F46: exponents were lost, nothing escaped
    root = library.fromstring(text.encode())
    assert BrukerElementFactory().constructor(root) == item
    assert BrukerElementFactory("5.4").constructor(library.ElementTree(root)) == item
    assert root.tag in load_mapping("5.6.64.400")


def test_xml_has_the_names_of_prairieview():
    text = BrukerXMLFactory().constructor(SERIES)
    assert 'parameterSet="CurrentSettings"' in text  # F46: 'ParameterSet'
    assert 'UncagingLaserPower="1E-07"' in text
    assert "A &amp; &quot;B&quot;" in text


def test_elements_that_stand_for_nothing_are_named():
    with pytest.raises(ArgumentError, match="<PVScan> is none of"):
        BrukerElementFactory().constructor(ElementTree.fromstring("<PVScan />"))
    with pytest.raises(RecordingError, match="X='left'"):
        BrukerElementFactory().constructor(
            ElementTree.fromstring('<PVGalvoPoint X="left" Y="0" />')
        )


def test_every_documented_class_is_the_one_of_the_library():
    from calscipy import photostimulation

    for name in ("GalvoPoint", "GalvoPointElement", "GalvoPointList", "MarkPointElement"):
        assert getattr(xml_objects, name) is getattr(photostimulation, name)


# -- regions ---------------------------------------------------------------------------------


def test_regions_have_places_masks_and_hulls():
    roi = ROIObject(Point(x=0.5, y=0.25, is_spiral=True, spiral_width=0.1, spiral_height=0.2))
    assert roi.generate_coordinates(width=80, height=40) == (40.0, 10.0)
    mask = roi.generate_mask(width=80, height=40)
    expected = reference.calculate_mask((10, 40), (4, 4), (40, 80))
    assert mask == tuple(map(tuple, expected.tolist()))
    hull = roi.generate_hull_vertices()
    assert set(hull) == set(map(tuple, reference.calculate_vertices(expected).tolist()))
    assert all(isinstance(n, int) for corner in hull for n in corner)


def test_regions_of_one_pixel_and_of_a_line_have_a_hull():
    point = ROIObject(0.5, 0.5)
    assert point.generate_hull_vertices() == ((256, 256),)  # in 512 x 512 by default
    assert point.generate_mask(8, 8) == ((4, 4),)
    assert point.generate_hull_vertices() == ((4, 4),)
    line = ROIObject(Point(x=0.5, y=0.5, spiral_width=0.5, spiral_height=0.0))
    line.generate_mask(16, 16)
    assert line.generate_hull_vertices() == ((8, 4), (8, 12))


def test_regions_need_a_place():
    with pytest.raises(ValueError, match="zip"):
        ROIObject(1, 2, 3)
    with pytest.raises(RoiError, match="not finite"):
        ROIObject(Point(x=0.5, y=float("inf"))).generate_mask(8, 8)


def test_groups_hold_names_and_places():
    assert GroupMeta() == GroupMeta("", ())
    assert GroupMeta("Group 1", (0, 2)).indices == (0, 2)


def test_photostimulation_lists_regions_once():
    visit = GalvoPointElement(
        duration=10.0,
        indices=(0, 1),
        points="Group 1",
        targets=[
            Point(index=0, x=0.25, y=0.5, is_spiral=False),
            Point(index=1, x=0.5, y=0.5, is_spiral=False),
        ],
    )
    series = MarkPointSeriesElements(
        marks=[MarkPointElement(points=[visit], repetitions=2), MarkPointElement(points=[visit])],
        saved=False,
    )
    root = ElementTree.ElementTree(ElementTree.fromstring(BrukerXMLFactory().constructor(series)))
    found = PhotostimulationMeta(root, BrukerElementFactory(), width=8, height=4)
    assert found.series == series
    assert [roi.generate_coordinates(8, 4) for roi in found.rois] == [(2, 2), (4, 2)]
    assert found.mask.shape == (4, 8)
    assert np.argwhere(found.mask).tolist() == [[2, 2], [2, 4]]
    assert found.groups == (GroupMeta("Group 1", (0, 1)),) * 2
    assert found.stimuli.x_pixel.values.tolist() == [2, 4] * 3


# -- checks ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (1, "int"), (1.5, "float"), (1, "float"), (np.float32(1), "float"), (np.int64(1), "int"),
        ("a", "str"), (True, "bool"), (None, "None"), (object(), "object"), ("x", "Any"),
        ((1, 2), "Tuple[int]"), ((1, 2), "tuple[int, ...]"), ((1, "a"), "Tuple[int, str]"),
        ([1.5], "List[float]"), ({"a": 1}, "Dict[str, int]"), ({1, 2}, "Set[int]"),
        ((), "Tuple[int]"), ((1, 2), "Tuple[object]"), (None, "Optional[int]"),
        (1, "Union[int, str]"), (None, "int | None"),
        ({"a": [1]}, "Dict[str, List[int]]"), (Path("a"), "Path"), (1, "typing.Optional[int]"),
    ],
)  # fmt: skip
def test_values_of_the_expected_type(value, expected):
    assert type_check_nested_types(value, expected) is True


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (1.5, "int"), ("a", "float"), (True, "int"), (True, "float"), (1, "bool"), (None, "int"),
        (1, "None"), ((1, "a"), "Tuple[int]"), ([1], "Tuple[int]"), ((1,), "Tuple[int, int]"),
        ({"a": "b"}, "Dict[str, int]"), ({1: 1}, "Dict[str, int]"), ("a", "Optional[int]"),
        (1.5, "Union[int, str]"), (object(), "Path"),
    ],
)  # fmt: skip
def test_values_of_another_type(value, expected):
    assert type_check_nested_types(value, expected) is False


@pytest.mark.parametrize(
    "text", ["__import__('os').system('true')", "int(", "1 + 1", "[x for x in y]"]
)
def test_types_are_never_evaluated(text):
    with pytest.raises(ArgumentError, match="is no type"):
        type_check_nested_types(1, text)


@dataclasses.dataclass
class Beam:
    power: float = dataclasses.field(default=0.0, metadata={"range": (0, 100)})
    names: tuple[str, ...] = ()
    turns: "int | None" = None
    label: Optional[str] = None  # noqa: UP045


def test_fields_are_checked_by_type_and_range():
    fields = {field.name: field for field in dataclasses.fields(Beam)}
    assert field_validator("power", 50, fields["power"]) == []
    (error,) = field_validator("power", 200, fields["power"])  # F45: the range was a set
    assert "power=200 is not from 0 to 100" in str(error)
    (error,) = field_validator("names", ("a", 1), fields["names"])
    assert "tuple[str, ...]" in str(error)
    assert field_validator("label", None, fields["label"]) == []


def test_all_fields_are_checked_at_once():
    assert validate_fields(Beam(50, ("a",), 3)) is True
    assert validate_fields(SERIES) is True
    with pytest.raises(DingusException, match=r"power=-1.*; names=.*; turns=2.5"):
        validate_fields(Beam(-1, (1,), 2.5))
    assert [name for name, _, _ in format_fields(Beam())] == ["power", "names", "turns", "label"]
    assert [value for _, value, _ in format_fields(Beam())] == [0.0, (), None, None]
    assert all(isinstance(field, dataclasses.Field) for _, _, field in format_fields(Beam()))


def test_exceptions_are_collected_and_raised_as_one():
    logger = DingusLogger()
    assert logger.raise_exceptions() is logger
    first = ValueError("x is wrong")
    assert logger.add_exception(first) is logger
    logger.add_exception(TypeError("y too"))
    with pytest.raises(DingusException, match="x is wrong; y too") as caught:
        logger.raise_exceptions()
    assert caught.value.__cause__ is first
    given = [first]
    DingusLogger(given).add_exception(first)
    assert given == [first]


# -- mappings --------------------------------------------------------------------------------


@pytest.fixture
def home(tmp_path, monkeypatch):
    monkeypatch.setattr(Path, "home", lambda: tmp_path)
    return tmp_path / ".calscipy" / "xml_mappings"


@pytest.mark.parametrize("version", ["5.6.64.400", "5.6", "4.3.2.13", "5.8.64.1"])
def test_mappings_are_there_without_files(home, version):
    found = load_mapping(version)  # F41: the file was missing
    assert isinstance(found, MappingProxyType)
    assert found["PVGalvoPointList"] == "GalvoPointList"
    assert set(found.values()) == {name for name in vars(xml_objects) if not name.startswith("_")}
    assert not home.exists()


def test_unknown_versions_are_answered_by_the_known_ones(home):
    write_mapping({}, "5.10")
    with pytest.raises(ArgumentError, match=r"4.3, .*5.8, 5.10, got '5.9'"):
        load_mapping("5.9")


def test_own_mappings_go_to_the_home_folder_and_over_the_defaults(home):
    write_mapping({"PVPoint": "Point", "Point": "GalvoPoint"}, "5.9")
    assert json.loads((home / "5.9.json").read_text()) == {
        "PVPoint": "Point",
        "Point": "GalvoPoint",
    }
    found = load_mapping("5.9")
    assert (found["PVPoint"], found["Point"]) == ("Point", "GalvoPoint")
    assert found["PVGalvoPoint"] == "GalvoPoint"
    point = BrukerElementFactory("5.9").constructor(
        ElementTree.fromstring('<PVPoint X="1" Y="2" />')
    )
    assert point == Point(index=None, x=1, y=2, is_spiral=None, spiral_width=None,
                          spiral_height=None, spiral_size_in_microns=None)  # fmt: skip
    with pytest.raises(TargetExistsError):
        write_mapping({}, "5.9")


@pytest.mark.parametrize("version", ["../evil", "5.6/../..", "", "5.6.json", "C:5", 5.6])
def test_versions_are_no_paths(home, version):
    for function in (load_mapping, lambda v: write_mapping({}, v)):
        with pytest.raises(ArgumentError, match=r"a version such as '5.6.64.400'"):
            function(version)
    assert not home.exists()


@pytest.mark.parametrize("mapping", [{"a": 1}, {1: "a"}, ["a"], None])
def test_mappings_are_texts(home, mapping):
    with pytest.raises(ArgumentError, match="texts to texts"):
        write_mapping(mapping, "5.9")


@pytest.mark.parametrize("text", ["[1]", "{", '{"a": 1}', "[" * 100_000, " " * (2**20 + 1)])
def test_damaged_mappings_are_explained(home, text):
    home.mkdir(parents=True)
    (home / "5.9.json").write_text(text)
    with pytest.raises(RecordingError, match="a mapping of texts to texts as JSON was expected"):
        load_mapping("5.9")


def test_a_mapping_names_classes_of_ours_alone(home):
    write_mapping({"PVPoint": "ElementTree", "PVOther": "__builtins__"}, "5.9")
    for tag in ("PVPoint", "PVOther"):
        with pytest.raises(ArgumentError, match=f"<{tag}> is none of"):
            BrukerElementFactory("5.9").constructor(ElementTree.fromstring(f"<{tag} />"))


# -- PrairieLink -----------------------------------------------------------------------------


def test_the_link_speaks_tcp_with_the_old_names():
    with SimulatedPrairieView() as server, PrairieLink(port=server.port) as link:  # F49: None
        assert link.connected
        assert link.pixels_per_line == int(server.state[("pixelsPerLine",)])
        assert link.get_state("pixelsPerLine") == link.pixels_per_line
        link.set_timeout_and_retries(1500, 2)
        assert (link.timeout, link.retries) == (1.5, 2)
        link.command("-lp 1 20")
        for ask in (lambda: link.version, lambda: link.get_image(1)):
            with pytest.raises(PrairieLinkError, match="over TCP"):
                ask()
    assert not link.connected
