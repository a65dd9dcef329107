"""From regions to galvo points and protocols, and from a protocol to the cells that responded."""

import math
import re
from pathlib import Path

import dask
import numpy as np
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial import ConvexHull

import calscipy as cs
from calscipy import plotting
from calscipy.errors import ArgumentError, CalscipyWarning, RoiError, TargetExistsError
from calscipy.io.prairieview.dataset import open_tree
from calscipy.io.prairieview.metadata import Metadata
from calscipy.io.prairieview.stimulus import read_stimuli
from calscipy.ops.stimuli import stimulus_mask, stimulus_onsets
from calscipy.photostimulation import (
    GalvoCalibration,
    GalvoPointList,
    Point,
    Protocol,
    Step,
    Target,
    build_protocol,
    read_galvo_points,
    read_mark_points,
    rois_from_targets,
    targets_from_galvo_points,
    targets_from_rois,
    write_mark_points,
)
from calscipy.testing import write_recording

SAMPLES = Path(__file__).resolve().parents[2] / "shared" / "data" / "prairieview"
GPL = SAMPLES / "calscipy" / "markpoints" / "saved_gpl.gpl"
SHAPE = (96, 128)
LIMITS = {"x_range": (-5, 5), "y_range": (5, -5), "image_shape": SHAPE}
QUICK = settings(max_examples=50, deadline=None, derandomize=True)


@pytest.fixture(autouse=True, scope="module")
def one_thread():
    with dask.config.set(scheduler="sync"):
        yield


# Targets


def test_a_target_is_where_the_acquisition_says():
    point = Point(index=3, x=0.25, y=0.5, z=-12.0, spiral_width=0.125, spiral_height=0.0625)
    target = Target.from_point(point, SHAPE, label="a")
    assert (target.x, target.y, target.width, target.height) == (32, 48, 16, 6)
    assert (target.z, target.label) == (-12, "a")
    back = target.to_point(SHAPE, index=3)
    assert back == point.replace(spiral_size_in_microns=0.0)


@pytest.mark.parametrize(("theta", "rows"), [(0, 3), (90, 9), (180, 3), (270, 9)])
def test_the_angle_of_a_target_is_honoured(theta, rows):
    """The original had theta and ignored it."""
    target = Target(x=20, y=20, width=8, height=2, theta=theta)
    y, x = target.pixels(SHAPE)
    assert (len(set(y)), len(set(x))) == (rows, 12 - rows)
    point = target.to_point(SHAPE)
    assert (point.spiral_width > point.spiral_height) == (rows == 3)


def test_a_target_turned_by_30_degrees_leans_down_to_the_right():
    y, x = Target(x=20, y=20, width=16, height=2, theta=30).pixels(SHAPE)
    slope = np.polyfit(x, y, 1)[0]
    assert slope == pytest.approx(math.tan(math.radians(30)), abs=0.05)
    with pytest.raises(RoiError, match="points have no angle"):
        Target(x=20, y=20, width=16, height=2, theta=30).to_point(SHAPE)


def test_everything_wrong_with_a_target_is_named():
    with pytest.raises(RoiError, match="its label is neither a whole number nor a text"):
        Target(x=1, y=1, label=("a", 1))
    wanted = "target 7: x=inf is not finite; y='top' is no number; width=-1 is negative"
    with pytest.raises(RoiError, match=wanted):
        Target(x=math.inf, y="top", width=-1, label=7)
    with pytest.raises(RoiError, match="y=inf is not finite"):
        Target.from_point(Point(x=0.2, y=math.inf), SHAPE)
    with pytest.raises(RoiError, match="height=nan is not finite"):
        Target.from_point(Point(x=0.2, y=0.5, spiral_height=math.nan), SHAPE)


def test_the_hull_is_that_of_the_pixels_as_squares():
    target = Target(x=20.3, y=31.8, width=11, height=7, theta=25)
    y, x = target.pixels(SHAPE)
    corners = [
        (b + v, a + u) for b, a in zip(y, x, strict=True) for u in (-0.5, 0.5) for v in (-0.5, 0.5)
    ]
    wanted = ConvexHull(np.array(corners))
    found = target.hull_vertices(SHAPE)
    assert {tuple(c) for c in found} == {tuple(corners[at]) for at in wanted.vertices}
    assert Target(x=5, y=5).hull_vertices(SHAPE).shape == (4, 2)  # a single pixel has a hull too
    with pytest.raises(RoiError, match="no pixel of it is in the image"):
        Target(x=500, y=5).hull_vertices(SHAPE)


@QUICK
@given(
    st.floats(20, 100), st.floats(20, 70), st.floats(6, 18), st.floats(6, 18), st.floats(-80, 80)
)
def test_targets_become_rois_and_come_back(x, y, width, height, theta):
    target = Target(x=x, y=y, width=width, height=height, theta=theta, label="a")
    rois = rois_from_targets([target], SHAPE)
    (back,) = targets_from_rois(rois)
    assert back.label == "a"
    assert math.hypot(back.x - x, back.y - y) < 0.3
    long, short = max(width, height), min(width, height)
    assert back.width == pytest.approx(long, abs=0.8)
    assert back.height == pytest.approx(short, abs=0.8)
    if long > 1.5 * short:
        turned = theta + (90 if height > width else 0)
        assert abs((back.theta - turned + 90) % 180 - 90) < 8


def test_neurons_are_chosen_by_label_and_order_with_their_heights():
    labels = np.zeros((2, *SHAPE), int)
    labels[0, 5:10, 5:10], labels[1, 40:50, 20:40], labels[1, 70:75, 5:10] = 3, 8, 9
    rois = cs.rois_from_labels(labels)
    found = targets_from_rois(rois, neurons=[9, 3], z={0: -10.0, 1: 25.0})
    assert [(t.label, t.x, t.y, t.z) for t in found] == [(9, 7, 72, 25), (3, 7, 7, -10)]
    with pytest.raises(RoiError, match="4, 5 are not among the ROIs"):
        targets_from_rois(rois, neurons=[3, 4, 5])
    with pytest.raises(RoiError, match="3 come twice"):
        targets_from_rois(rois, neurons=[3, 3])
    with pytest.raises(ArgumentError, match=r"no height for the planes \[1\]"):
        targets_from_rois(rois, z={0: 1.0})
    with pytest.raises(RoiError, match="targets b lie outside of the image"):
        rois_from_targets([Target(x=1, y=1, label="a"), Target(x=1, y=999, label="b")], SHAPE)


# Calibration


def turned(scale=0.05, degrees=7.0, flip=-1.0):
    angle = math.radians(degrees)
    matrix = scale * np.array(
        [[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]]
    )
    return matrix * [[1], [flip]], np.array([-3.0, 2.0])


def known_points(count=6, noise=0.0):
    rng = np.random.default_rng(3)
    pixels = rng.uniform((0, 0), SHAPE[::-1], (count, 2))
    matrix, offset = turned()
    return pixels, pixels @ matrix.T + offset + rng.normal(0, noise, (count, 2))


def test_a_fit_finds_the_rig_and_says_how_well():
    matrix, offset = turned()
    exact = GalvoCalibration.fit(*known_points(3), **LIMITS)
    np.testing.assert_allclose(exact.matrix, matrix, atol=1e-12)
    np.testing.assert_allclose(exact.offset, offset, atol=1e-10)
    assert exact.rms_volts < 1e-9
    noisy = GalvoCalibration.fit(*known_points(40, noise=0.05), **LIMITS)
    np.testing.assert_allclose(noisy.matrix, matrix, atol=1e-3)
    assert 0.05 < noisy.rms_volts < 0.09
    assert noisy.rms_pixels == pytest.approx(noisy.rms_volts / 0.05, rel=1e-3)
    assert "fitted to 40 points, off by 0.0" in repr(noisy)
    assert not noisy.proposed


def test_a_fit_by_least_squares_is_that_of_numpy():
    pixels, volts = known_points(12, noise=0.3)
    design = np.column_stack([pixels, np.ones(12)])
    wanted = np.linalg.lstsq(design, volts, rcond=None)[0]
    found = GalvoCalibration.fit(pixels, volts, **LIMITS)
    np.testing.assert_allclose(found.matrix, wanted[:2].T, rtol=1e-9)
    np.testing.assert_allclose(found.offset, wanted[2], rtol=1e-9)
    alone = GalvoCalibration.fit(pixels, volts, model="axes", **LIMITS)
    lines = [np.polyfit(pixels[:, a], volts[:, a], 1) for a in (0, 1)]
    np.testing.assert_allclose(np.diag(alone.matrix), [line[0] for line in lines])
    np.testing.assert_allclose(alone.offset, [line[1] for line in lines])
    assert alone.matrix[0, 1] == alone.matrix[1, 0] == 0
    assert alone.rms_volts > found.rms_volts  # the rig is turned


@QUICK
@given(st.lists(st.tuples(st.floats(-50, 200), st.floats(-50, 200)), min_size=1, max_size=5))
def test_volts_and_pixels_are_inverse(points):
    calibration = GalvoCalibration.fit(*known_points(5), **LIMITS)
    np.testing.assert_allclose(
        calibration.to_pixels(calibration.to_volts(points)), points, atol=1e-9
    )


@pytest.mark.parametrize(
    ("pixels", "volts", "reason"),
    [
        ([(0, 0), (1, 1)], [(0, 0), (1, 1)], "at least 3 points known"),
        ([(0, 0), (1, 1), (2, 2)], [(0, 0), (1, 1)], "3 in pixels and 2 in volts"),
        ([(0, 0), (5, 5), (9, 9)], [(0, 0), (1, 2), (3, 1)], "on a line.*in pixels"),
        ([(0, 0), (5, 5), (9, 1)], [(0, 0), (1, 1), (2, 2)], "on a line.*in volts"),
        ([(4, 4)] * 4, [(0, 0), (1, 0), (2, 2), (1, 5)], "on a line.*in pixels"),
        ([(0, 0), (5, math.nan), (9, 1)], [(0, 0), (1, 1), (2, 0)], r"\[1\] are not finite"),
        ([1, 2, 3], [1, 2, 3], r"shape \(points, 2\)"),
    ],
)
def test_points_that_tell_nothing_are_refused(pixels, volts, reason):
    with pytest.raises(ArgumentError, match=reason):
        GalvoCalibration.fit(pixels, volts, **LIMITS)


def test_everything_wrong_with_a_calibration_is_named():
    with pytest.raises(ArgumentError, match=r"matrix .* maps the image onto a line"):
        GalvoCalibration(matrix=[[1, 1], [1, 1]], offset=[0, 0], **LIMITS)
    with pytest.raises(ArgumentError, match=r"offset .*; x_range .*; zoom must"):
        GalvoCalibration(
            matrix=np.eye(2),
            offset=[0, math.inf],
            x_range=(1, 1),
            y_range=(0, 2),
            image_shape=SHAPE,
            zoom=-1,
        )


def test_the_zoom_scales_around_the_middle_of_the_image():
    calibration = GalvoCalibration.fit(*known_points(4), zoom=2.0, **LIMITS)
    middle = [np.array(SHAPE[::-1]) / 2]
    far = calibration.at_zoom(4)
    np.testing.assert_allclose(far.to_volts(middle), calibration.to_volts(middle), atol=1e-12)
    np.testing.assert_allclose(far.matrix, calibration.matrix / 2)
    with pytest.raises(ArgumentError, match="whose zoom is known"):
        GalvoCalibration.fit(*known_points(4), **LIMITS).at_zoom(4)


def state(**changes):
    """The state of LineScan-11182022-1250-763."""
    volts = "0.950163594375"
    entries = {
        "minVoltage": {"XAxis": {"value": f"-{volts}"}, "YAxis": {"value": f"-{volts}"}},
        "maxVoltage": {"XAxis": {"value": volts}, "YAxis": {"value": volts}},
        "micronsPerPixel": {
            "XAxis": {"value": "0.147349195455257"}, "YAxis": {"value": "0.147349195455257"}
        },
        "pixelsPerLine": {"value": "256"},
        "linesPerFrame": {"value": "256"},
        "opticalZoom": {"value": "8"},
    }  # fmt: skip
    entries |= changes
    return Metadata({"state": {name: one for name, one in entries.items() if one}})


def test_a_recording_proposes_a_calibration_that_says_so():
    proposed = GalvoCalibration.propose(state())
    assert proposed.proposed
    assert (proposed.zoom, proposed.image_shape) == (8.0, (256, 256))
    corners = [(0, 0), (256, 256)]
    np.testing.assert_allclose(
        proposed.to_volts(corners), 0.950163594375 * np.array([[-1, 1], [1, -1]])
    )
    same = GalvoCalibration.propose(state(), flip_x=True, flip_y=False)
    np.testing.assert_allclose(
        same.to_volts(corners), 0.950163594375 * np.array([[1, -1], [-1, 1]])
    )
    # 1.9 V are 256 pixels of 0.147 um.
    assert proposed.spiral_volts(10) == pytest.approx(
        10 * 1.90032718875 / (256 * 0.147349195455257)
    )
    assert "proposed" in repr(proposed)


def test_volts_of_inverted_sign_and_a_state_that_lacks_something():
    swapped = state(
        minVoltage={"XAxis": {"value": "-2"}, "YAxis": {"value": "7.6"}},
        maxVoltage={"XAxis": {"value": "2"}, "YAxis": {"value": "-7.6"}},
    )
    proposed = GalvoCalibration.propose(swapped, flip_y=False)
    assert proposed.y_range == (-7.6, 7.6)
    assert proposed.to_volts([(0, 0)])[0, 1] == 7.6
    with pytest.raises(ArgumentError, match="no minVoltage XAxis, minVoltage YAxis, linesPerFrame"):
        GalvoCalibration.propose(state(minVoltage=None, linesPerFrame=None))
    unscaled = GalvoCalibration.propose(state(micronsPerPixel=None, opticalZoom=None))
    with pytest.raises(ArgumentError, match="does not know the size of spirals"):
        unscaled.spiral_volts(10)


# Protocols


CALIBRATION = {"microns_per_pixel": 0.5, **LIMITS}
SETTINGS = {"laser": "Uncaging", "power": 20, "max_power": 50, "duration": 0.02}


def calibration():
    return GalvoCalibration.fit(*known_points(6), **CALIBRATION)


def cells(count=6):
    """Targets that lie well inside of the image."""
    places = [(24 + 16 * (at % 3), 24 + 16 * (at // 3)) for at in range(count)]
    return [
        Target(x=x, y=y, width=8, height=8, z=10.0 * at, label=f"c{at}")
        for at, (x, y) in enumerate(places)
    ]


def test_a_protocol_has_the_points_groups_and_times_that_were_asked_for(tmp_path):
    protocol = build_protocol(
        cells(),
        [
            "left",
            Step(targets="c5", repetitions=3, initial_delay=0.25, power=0.025, duration=0.00026),
            Step(targets=["c1", "c2"], at_once=True, use_3d=True, weights=[1, 2], trigger="PFI1"),
        ],
        groups={"left": ["c0", "c3"]},
        calibration=calibration(),
        iterations=2,
        iteration_delay=1.5,
        spiral_um=10,
        category="mine",
        name="first & last",
        **SETTINGS,
    )
    gpl, xml = protocol.save(tmp_path / "p")
    points, series = read_galvo_points(gpl), read_mark_points(xml)
    assert (points, series) == (protocol.points, protocol.series)
    volts = calibration().to_volts([(t.x, t.y) for t in cells()])
    np.testing.assert_allclose([(p.x, p.y) for p in points.galvo_points], volts)
    assert [p.name for p in points.galvo_points] == [f"Point {n}" for n in range(1, 7)]
    assert [p.z for p in points.galvo_points] == [0, 10, 20, 30, 40, 50]
    assert {p.spiral_size for p in points.galvo_points} == {calibration().spiral_volts(10)}
    # 10 um are 20 pixels of 0.05 V.
    assert points.galvo_points[0].spiral_size == pytest.approx(1.0)
    assert [(g.name, g.indices, g.index) for g in points.groups] == [
        ("left", (0, 3), 6), ("Group 2", (1, 2), 7),
    ]  # fmt: skip
    visits = [mark.points[0] for mark in series.marks]
    assert [(v.points, v.indices) for v in visits] == [
        ("left", (0, 3)), ("Point 6", (5,)), ("Group 2", (1, 2)),
    ]  # fmt: skip
    assert [v.initial_delay for v in visits] == [0, 250, 0]  # ms
    assert [v.duration for v in visits] == [20, 0.26, 20]
    assert [m.uncaging_laser_power for m in series.marks] == [20, 0.025, 20]
    assert [m.trigger_selection for m in series.marks] == ["None", "None", "PFI1"]
    assert [m.repetitions for m in series.marks] == [1, 3, 1]
    assert (series.iterations, series.iteration_delay, series.category) == (2, 1500, "mine")
    assert b'Indices="1, 4"' in xml.read_bytes()
    assert b'Duration="0.26"' in xml.read_bytes()
    assert b'Indices="0,3"' in gpl.read_bytes()
    with pytest.raises(TargetExistsError):
        protocol.save(tmp_path / "p")


def test_steps_are_the_groups_or_else_the_targets():
    for groups, names in (
        ({"b": ["c4"], "a": ["c0", "c2"]}, ["b", "a"]),
        (None, ["Point 1", "Point 2"]),
    ):
        targets = cells(5 if groups else 2)
        protocol = build_protocol(targets, groups=groups, calibration=calibration(), **SETTINGS)
        assert [mark.points[0].points for mark in protocol.series.marks] == names


def test_without_a_size_spirals_are_as_large_as_their_targets():
    protocol = build_protocol(cells(), calibration=calibration(), **SETTINGS)
    for target, spiral in zip(cells(), protocol.spirals(), strict=True):
        assert (spiral.width, spiral.height) == (pytest.approx(8), pytest.approx(8))
        assert (spiral.x, spiral.y) == (target.x, target.y)
    points = build_protocol(cells(), calibration=calibration(), revolutions=0, **SETTINGS).points
    assert not any(
        p.is_spiral or p.spiral_size or p.spiral_revolutions for p in points.galvo_points
    )


def test_spirals_of_a_rig_with_oblong_pixels_are_drawn_oblong():
    oblong = GalvoCalibration(matrix=[[0, 0.05], [0.1, 0]], offset=[-2, -2], **LIMITS)
    targets = [Target(x=20, y=40, width=4, height=9)]
    (spiral,) = build_protocol(targets, calibration=oblong, **SETTINGS).spirals()
    around = spiral.outline(32)[:, ::-1]
    volts = oblong.to_volts(around) - oblong.to_volts([(20, 40)])
    size = math.sqrt(4 * 9 * 0.05 * 0.1)
    np.testing.assert_allclose(np.hypot(*volts.T), size / 2)


def test_all_that_is_refused_is_in_one_message():
    targets = [
        *cells(2),
        Target(x=500, y=20, label="far"),
        Target(x=60, y=40, width=300, height=300, label="wide"),
    ]
    with pytest.raises(ArgumentError) as caught:
        build_protocol(
            targets,
            [
                Step(targets="c0", power=60),
                Step(targets="c0", repetitions=0, duration=0),
                Step(targets=["c0", "c1"], weights=[1, 3]),
                Step(targets=["c0", "c1"], weights=[1]),
                Step(targets="far", use_3d=True),
                "nobody",
                ["c1", "gone"],
            ],
            groups={"empty": [], "twice": ["c0", "c0"], "Point 1": ["c0"]},
            calibration=calibration(),
            **SETTINGS | {"iterations": 0, "iteration_delay": -1, "laser": ""},
        )
    message = str(caught.value)
    for part in (
        "laser='', the name of a laser was expected",
        "iterations=0, a whole number from 1",
        "iteration_delay=-1, a time in s",
        "group 'empty' has no target",
        "group 'twice' has targets twice",
        "the group 'Point 1' has the name of a point",
        "step 0: a power of 60 is above max_power=50",
        "step 1: repetitions=0",
        "step 1: duration=0",
        "step 2: a power of 60 is above max_power=50",
        "step 3: 1 weights for 2 targets",
        "step 4: use_3d needs targets whose z is known",
        "step 5: there is no group or target 'nobody'",
        "step 6: there are no targets gone",
        "target far at",
        "is outside of the galvos' range (-5 to 5 V, -5 to 5 V)",
        "target wide at",
        "with its spiral of 15 V",
        "Nothing was made",
    ):
        assert part in message, part


@pytest.mark.parametrize("max_power", [None, math.inf, "much", -1, True])
def test_the_highest_power_must_be_a_number(max_power):
    with pytest.raises(ArgumentError, match=r"max_power=.*, a number from 0 was expected"):
        build_protocol(cells(), calibration=calibration(), **SETTINGS | {"max_power": max_power})
    with pytest.raises(TypeError, match="max_power"):
        build_protocol(cells(), calibration=calibration(), laser="a", power=1, duration=1)


def test_the_power_of_the_points_themselves_is_bounded_too():
    step = Step(targets="c0", power=1)
    with pytest.raises(ArgumentError, match="power=51 is above max_power=50"):
        build_protocol(cells(), [step], calibration=calibration(), **SETTINGS | {"power": 51})


def test_a_proposed_calibration_is_said():
    proposed = GalvoCalibration.propose(state())
    with pytest.warns(CalscipyWarning, match="only a proposal"):
        build_protocol([Target(x=100, y=90)], calibration=proposed, **SETTINGS)


def test_stimuli_of_a_protocol_have_places_and_labels():
    protocol = build_protocol(cells(), calibration=calibration(), **SETTINGS)
    table = protocol.stimuli(start=2.0)
    assert table.target_label.values.tolist() == [f"c{at}" for at in range(6)]
    assert table.x_pixel.values.tolist() == [t.x for t in cells()]
    np.testing.assert_allclose(table.y, [t.y / SHAPE[0] for t in cells()])
    np.testing.assert_allclose(table.onset, 2 + 0.02012 * np.arange(6))
    with pytest.raises(ArgumentError, match=r"targets 5 \(from 0\), but the protocol has 5"):
        build_protocol(cells(5), calibration=calibration(), **SETTINGS).label(table)


@QUICK
@given(
    st.lists(st.tuples(st.floats(10, 110), st.floats(10, 80)), min_size=1, max_size=6, unique=True)
)
def test_galvo_points_lead_back_to_the_pixels(places):
    targets = [Target(x=x, y=y) for x, y in places]
    protocol = build_protocol(targets, calibration=calibration(), **SETTINGS)
    volts = [(p.x, p.y) for p in protocol.points.galvo_points]
    np.testing.assert_allclose(calibration().to_pixels(volts), places, atol=1e-9)
    back = targets_from_galvo_points(protocol.points, calibration())
    np.testing.assert_allclose([(t.x, t.y) for t in back], places, atol=1e-9)


# From the choice of cells to those that responded


RATE, RESPONDING = 30, {4, 9, 14, 17}


def scene(seed=11):
    """Neurons of an image, and the labels of those that are to be stimulated."""
    rng = np.random.default_rng(seed)
    labels = np.zeros(SHAPE, int)
    for neuron in range(1, 19):
        row, column = divmod(neuron - 1, 6)
        middle = Target(
            x=14 + 20 * column + rng.uniform(-3, 3),
            y=18 + 30 * row + rng.uniform(-4, 4),
            width=rng.uniform(7, 11),
            height=rng.uniform(6, 9),
            theta=rng.uniform(0, 180),
        )
        labels[middle.mask(SHAPE)] = neuron
    image = 100 + 40 * (labels > 0) + rng.normal(0, 5, SHAPE)
    pixels = {"units": "um", "pixel_size": 0.5}
    coords = {
        "y": ("y", np.arange(SHAPE[0]) / 2, pixels),
        "x": ("x", np.arange(SHAPE[1]) / 2, pixels),
    }
    return cs.rois_from_labels(labels), xr.DataArray(image, coords, ("y", "x"))


def acquired(protocol: Protocol) -> xr.Dataset:
    """What PrairieView would record when it plays a protocol."""
    marks = []
    for mark in protocol.series.marks:
        (visit,) = mark.points
        targets = [protocol.spirals()[at].to_point(SHAPE, index=at) for at in visit.indices]
        marks.append(mark.replace(points=[visit.replace(targets=targets)]))
    return protocol.series.replace(marks=marks, saved=False)


def responses(stimuli: xr.Dataset, labels: np.ndarray, seed=12) -> xr.DataArray:
    """Traces with artefacts in all neurons, events by chance, and answers of some of them."""
    rng = np.random.default_rng(seed)
    count = round(RATE * (float(stimuli.onset.max()) + 5))
    seconds = np.arange(count) / RATE
    traces = 200 + rng.normal(0, 6, (labels.size, count))
    for row, neuron in enumerate(labels.tolist()):
        own = stimuli.target_label.values == neuron
        onsets = rng.uniform(0, seconds[-1], 5)
        if neuron in RESPONDING:
            onsets = np.concatenate([onsets, stimuli.onset.values[own] + 0.02])
        for onset in onsets:
            since = seconds - onset
            traces[row] += 40 * np.where(since > 0, np.exp(-np.maximum(since, 0) / 0.5), 0)
    artefact = np.zeros(count, bool)
    for onset, duration in zip(stimuli.onset.values, stimuli.duration.values, strict=True):
        artefact |= (seconds + 1 / RATE > onset) & (seconds < onset + duration)
    return cs.from_numpy(traces + 400.0 * artefact, frame_rate=RATE).assign_coords(neuron=labels)


def experiment(folder: Path):
    """Choose cells, write and play a protocol, and open what was recorded."""
    rois, image = scene()
    chosen = [4, 6, 9, 12, 14, 17]
    corners = [(0, 0), (SHAPE[1], 0), (0, SHAPE[0]), SHAPE[::-1]]
    matrix, offset = turned(scale=0.04)
    rig = GalvoCalibration.fit(
        corners, np.array(corners) @ matrix.T + offset, microns_per_pixel=0.5, **LIMITS
    )
    protocol = build_protocol(
        rois,
        [Step(targets=n, repetitions=10, interval=1.98, trigger="PFI0") for n in chosen[:3]]
        + [Step(targets=chosen[3:], repetitions=10, interval=1.98, initial_delay=1.0)],
        neurons=chosen,
        calibration=rig,
        spiral_um=6,
        **SETTINGS,
    )
    protocol.save(folder / "protocol")
    write_mark_points(acquired(protocol), folder / "m.xml")
    stimuli = read_stimuli(folder, [(1, {"filename": "m.xml"})], {1: 0.0}, image_shape=SHAPE)
    # The voltage recording shows one trigger for each of the first three steps.
    stimuli = stimulus_onsets(protocol.label(stimuli), triggers=[3.0, 25.0, 47.0])
    return rois, image, protocol, stimuli


def answers(stimuli: xr.Dataset, traces: xr.DataArray) -> xr.Dataset:
    """Change of each neuron after the stimuli of each target, averaged over trials."""
    mask = stimulus_mask(traces, stimuli, after=1 / RATE)
    dff = traces.where(~mask).cs.dfof(method="percentile", percentile=30)
    trials = dff.cs.to_trials(starts=stimuli.onset, window=(0.5, 1.5))
    before = trials.sel(time=slice(-0.5, -0.05)).mean("time")
    return (trials - before).cs.average(by="target_label", rng=0)


def test_stimulated_cells_that_respond_are_recovered(tmp_path):
    rois, _, protocol, stimuli = experiment(tmp_path)
    neurons = np.unique(rois.neuron.values)
    assert stimuli.sizes["stimulus"] == 60
    np.testing.assert_allclose(
        stimuli.x_pixel[:1], [t.x for t in protocol.targets if t.label == 4], atol=1e-9
    )
    average = answers(stimuli, responses(stimuli, neurons))
    late = {"time": slice(0.1, 0.6)}
    lower = average["lower"].sel(late).mean("time")
    found = {
        (target, neuron)
        for target in lower.target_label.values.tolist()
        for neuron in neurons.tolist()
        if lower.sel(target_label=target, neuron=neuron) > 0.03
    }
    assert found == {(neuron, neuron) for neuron in RESPONDING}
    assert isinstance(protocol.points, GalvoPointList)


def test_an_opened_recording_has_the_stimuli_of_its_cycle(tmp_path):
    protocol = build_protocol(cells(), calibration=calibration(), spiral_um=10, **SETTINGS)
    folder = tmp_path / "TSeries-001"
    write_recording(folder, frames=40, cycles=2, shape=SHAPE, neurons=2)
    write_mark_points(acquired(protocol), folder / "marks.xml")
    xml = folder / "TSeries-001.xml"
    text = xml.read_text(encoding="utf-8-sig")
    at = text.index("<Frame", text.index('cycle="2"'))
    link = '<MarkPoints triggerModeOverride="PFI0" filename="marks.xml" />'
    xml.write_text(text[:at] + link + text[at:], encoding="utf-8-sig")
    tree = open_tree(xml)
    stimuli = protocol.label(tree["stimulus"].to_dataset())
    start = float(tree["movie"].time[tree["movie"].cycle.values == 2][0])
    wanted = protocol.stimuli(start)
    assert start > 1
    for name in ("onset", "duration", "x_pixel", "y_pixel", "target", "z", "power"):
        np.testing.assert_allclose(stimuli[name], wanted[name], atol=1e-9)
    assert stimuli.target_label.values.tolist() == wanted.target_label.values.tolist()
    np.testing.assert_allclose(stimuli.spiral_width * SHAPE[1], 20)
    assert set(stimuli.cycle.values) == {2}


def test_a_protocol_is_drawn_true_to_scale(tmp_path):
    _, image, protocol, _ = experiment(tmp_path)
    figure = protocol.plot(image, title="protocol")
    left, right = figure.axes
    drawn = [(patch.center, patch.width) for patch in left.patches]
    for (middle, width), target in zip(drawn, protocol.targets, strict=True):
        assert middle == (target.x, target.y)
        assert width == pytest.approx(12)  # 6 um
    assert [text.get_text() for text in left.texts if re.fullmatch(r"\d+", text.get_text())] == [
        "4", "6", "9", "12", "14", "17",
    ]  # fmt: skip
    bars = right.collections[0].get_paths()
    assert len(bars) == protocol.stimuli().sizes["stimulus"]
    assert right.get_xlabel() == "time after the last trigger [s]"
    with pytest.raises(ArgumentError, match="the image has 96 x 64 pixels, but the calibration"):
        protocol.plot(image[:, ::2])
    path = plotting.save_figure(figure, tmp_path / "protocol.png")
    assert path.stat().st_size > 10_000


@pytest.mark.skipif(not GPL.is_file(), reason="needs ../shared/data/prairieview")
def test_a_real_point_list_goes_to_pixels_and_back():
    """Its points reach over +-7.1 V; on a rig of +-8 V and 512 pixels they fill the image."""
    points = read_galvo_points(GPL)
    corners = [(0, 0), (512, 0), (0, 512), (512, 512)]
    volts = [(-8, -8), (8, -8), (-8, 8), (8, 8)]
    rig = GalvoCalibration.fit(
        corners, volts, x_range=(-8, 8), y_range=(-8, 8), image_shape=(512, 512)
    )
    targets = targets_from_galvo_points(points, rig)
    assert len(targets) == 30
    # X -4.7465701381138 V and a spiral of 0.21802730019247 V, at 32 pixels a volt.
    assert targets[0].x == pytest.approx((8 - 4.7465701381138) * 32)
    assert targets[0].width == pytest.approx(0.21802730019247 * 32)
    again = build_protocol(targets, calibration=rig, **SETTINGS).points
    for new, old in zip(again.galvo_points, points.galvo_points, strict=True):
        assert (new.x, new.y) == (pytest.approx(old.x), pytest.approx(old.y))
        assert new.spiral_size == pytest.approx(old.spiral_size)
        assert new.z == old.z == 7090.81
