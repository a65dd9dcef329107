"""Mark points as a table of stimuli on the imaging clock."""

import time
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from calscipy.errors import ArgumentError, CalscipyWarning, DamagedRecordingWarning
from calscipy.io.photostimulation import (
    GalvoPoint,
    GalvoPointElement,
    GalvoPointList,
    MarkPointElement,
    MarkPointSeriesElements,
    Point,
    read_galvo_points,
    read_mark_points,
    write_mark_points,
)
from calscipy.io.photostimulation.stimuli import stimulus_table
from calscipy.io.prairieview.scan import read_scan
from calscipy.io.prairieview.scan_records import Sequence
from calscipy.io.prairieview.side_xml import links_of
from calscipy.io.prairieview.stimulus import cycle_starts, first_image_times, read_stimuli

SAMPLES = Path(__file__).resolve().parents[3] / "shared" / "data" / "prairieview"
LINES = SAMPLES / "scanagator" / "LineScan-11182022-1250-763"
MARKS = SAMPLES / "calscipy" / "markpoints"
real = pytest.mark.skipif(not SAMPLES.is_dir(), reason="needs ../shared/data/prairieview")


def step(repetitions=1, trigger="None", frequency="None", pulses=1, power=5.0, **visit):
    return MarkPointElement(
        points=[GalvoPointElement(**visit)],
        repetitions=repetitions,
        trigger_selection=trigger,
        trigger_frequency=frequency,
        trigger_count=pulses,
        uncaging_laser_power=power,
    )


def onsets(*steps, **series):
    return stimulus_table(MarkPointSeriesElements(marks=steps, **series))


# Times


times = st.integers(0, 4000).map(lambda quarter: quarter / 4)  # ms
steps = st.fixed_dictionaries(
    {
        "repetitions": st.integers(1, 3),
        "initial_delay": times,
        "duration": times,
        "inter_point_delay": times,
        "all_points_at_once": st.booleans(),
        "indices": st.lists(st.integers(0, 30), min_size=1, max_size=4, unique=True),
    }
)


def by_hand(marks, iterations, iteration_delay, start):
    """The formula of software timing, term by term, in s."""
    rows, begin = [], start
    for iteration in range(iterations):
        begin += iteration_delay / 1000 if iteration else 0
        for one in marks:
            period = (one["duration"] + one["inter_point_delay"]) / 1000
            stops = 1 if one["all_points_at_once"] else len(one["indices"])
            first = begin + one["initial_delay"] / 1000
            for repetition in range(one["repetitions"]):
                for place, index in enumerate(one["indices"]):
                    stop = 0 if one["all_points_at_once"] else place
                    rows.append((first + (repetition * stops + stop) * period, index))
            begin = first + one["repetitions"] * stops * period
    return rows


@settings(max_examples=50, deadline=None, derandomize=True)
@given(st.lists(steps, min_size=1, max_size=3), st.integers(1, 3), times)
def test_software_timing_follows_the_formula(marks, iterations, iteration_delay):
    series = MarkPointSeriesElements(
        marks=[step(**one) for one in marks], iterations=iterations, iteration_delay=iteration_delay
    )
    table = stimulus_table(series, start=3.5)
    expected = by_hand(marks, iterations, iteration_delay, 3.5)
    np.testing.assert_allclose(table.onset, [onset for onset, _ in expected], atol=1e-9)
    assert table.target.values.tolist() == [index for _, index in expected]


def test_rows_tell_step_repetition_and_iteration():
    table = onsets(step(repetitions=2, indices=(4, 2)), step(indices=7, power=0.5), iterations=2)
    assert table.element.values.tolist() == [0, 0, 0, 0, 1] * 2
    assert table.repetition.values.tolist() == [0, 0, 1, 1, 0] * 2
    assert table.iteration.values.tolist() == [0] * 5 + [1] * 5
    assert table.target.values.tolist() == [4, 2, 4, 2, 7] * 2
    assert table.power.values.tolist() == [5, 5, 5, 5, 0.5] * 2
    assert set(table.coords) == {
        "target", "target_name", "points", "element", "repetition", "iteration",
    }  # fmt: skip
    assert (table.onset.units, table.duration.units, table.z.units) == ("s", "s", "um")


def test_points_at_once_share_their_onset():
    table = onsets(step(indices=(0, 1, 2), all_points_at_once=True, duration=10, repetitions=2))
    np.testing.assert_allclose(table.onset, [0, 0, 0, 0.01, 0.01, 0.01])


def test_one_visit_that_two_steps_share_keeps_their_powers():
    visit = GalvoPointElement(indices=(1,))
    marks = [
        MarkPointElement(points=[visit], uncaging_laser_power=power, trigger_selection="None")
        for power in (1, 2)
    ]
    table = stimulus_table(MarkPointSeriesElements(marks=marks))
    assert table.power.values.tolist() == [1, 2]


# Triggers


@pytest.mark.parametrize(
    ("frequency", "numbers", "delays"),
    [
        ("FirstRepetition", [0, 0, 0, 0], [0.1, 0.13, 0.16, 0.19]),
        ("Every Repetition", [0, 0, 1, 1], [0.1, 0.13, 0.1, 0.13]),
        ("EveryPoint", [0, 1, 2, 3], [0.1, 0.1, 0.1, 0.1]),
        ("None", [0, 0, 0, 0], [0.1, 0.13, 0.16, 0.19]),
    ],
)
def test_a_step_waits_as_often_as_it_says(frequency, numbers, delays):
    waiting = step(
        2,
        "PFI1",
        frequency,
        3,
        initial_delay=100,
        duration=20,
        inter_point_delay=10,
        indices=(0, 1),
    )
    table = onsets(waiting)
    assert table.trigger_number.values.tolist() == numbers
    np.testing.assert_allclose(table.delay, delays)
    assert table.onset.isnull().all()
    assert set(table.trigger.values) == {"PFI1"}
    assert set(table.trigger_count.values) == {3}


def test_what_follows_a_trigger_counts_from_it_and_what_comes_before_does_not():
    table = onsets(
        step(duration=50), step(1, "PFI0", "FirstRepetition", duration=20), step(duration=10)
    )
    assert table.trigger_number.values.tolist() == [-1, 0, 0]
    np.testing.assert_allclose(table.onset, [0, np.nan, np.nan])
    np.testing.assert_allclose(table.delay, [0, 0, 0.02])


def test_an_unknown_way_to_wait_is_said():
    with pytest.warns(CalscipyWarning, match="'Sometimes', which calscipy does not know"):
        table = onsets(step(trigger="PFI0", frequency="Sometimes"))
    assert table.trigger_number.values.tolist() == [0]


# What else is known


def test_places_come_from_an_acquisition_and_names_from_a_list():
    targets = [Point(index=5, x=0.25, y=0.5, spiral_width=0.1, z=-20.0), Point(index=6, x=1, y=0)]
    visit = GalvoPointElement(points="Group 1", indices=(5, 6), targets=targets)
    mark = MarkPointElement(points=[visit], custom_laser_percent=(1, 0.8), trigger_selection="None")
    points = GalvoPointList(
        galvo_points=[GalvoPoint(name=f"cell {at}", index=at, z=at) for at in range(7)]
    )
    series = MarkPointSeriesElements(marks=[mark], saved=False)
    table = stimulus_table(series, points=points, image_shape=(100, 200))
    assert table.target.values.tolist() == [5, 6]
    assert table.target_name.values.tolist() == ["cell 5", "cell 6"]
    assert table.z.values.tolist() == [-20, 6]
    assert table.x_pixel.values.tolist() == [50, 200]
    assert table.y_pixel.values.tolist() == [50, 0]
    assert table.power_weight.values.tolist() == [1, 0.8]
    assert (table.points == "Group 1").all()


def test_an_empty_series_gives_an_empty_table_of_the_same_columns():
    empty, full = onsets(), onsets(step())
    assert empty.sizes["stimulus"] == 0
    for name in full.variables:
        assert empty[name].dtype.kind == full[name].dtype.kind


def test_a_file_cannot_ask_for_more_stimuli_than_fit():
    begin = time.perf_counter()
    for series in (
        {"marks": [step(repetitions=2_000_000_000)]},
        {"marks": [step(indices=range(90_000))], "iterations": 1000},
        {"marks": [], "iterations": 2_000_000_000},
        {"marks": [MarkPointElement(points=[], repetitions=2_000_000_000)]},
    ):
        with pytest.raises(ArgumentError, match="Check its iterations and repetitions"):
            stimulus_table(MarkPointSeriesElements(**series))
    assert time.perf_counter() - begin < 10


def test_long_names_cannot_fill_the_memory():
    for indices, repetitions in ((range(100), 500), (range(50_000), 1)):
        long = step(repetitions=repetitions, indices=indices, points="a" * 10_000)
        tracemalloc.start()
        with pytest.raises(ArgumentError, match="50000 stimuli of the series have names that"):
            onsets(long)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak < 50e6


# Recordings


def sequence(cycle, wall, frames=()):
    return Sequence("", cycle, wall, False, {}, frames)


def test_cycles_without_images_are_placed_by_the_wall_clock():
    cycles = [
        sequence(1, "23:59:50.0000000"),
        sequence(2, "23:59:55.5000000"),
        sequence(3, "00:00:05.2500000"),
        sequence(4, "nonsense"),
    ]
    starts = cycle_starts(cycles, {2: 0.0})
    assert starts[1] == pytest.approx(-5.5)
    assert starts[2] == 0
    assert starts[3] == pytest.approx(9.75)
    assert np.isnan(starts[4])
    assert cycle_starts(cycles[:2], {}) == {1: 0.0, 2: pytest.approx(5.5)}
    assert cycle_starts([], {}) == {}


def test_a_missing_or_damaged_file_leaves_the_others(tmp_path):
    series = MarkPointSeriesElements(marks=[step(1, "PFI0", "FirstRepetition")], saved=False)
    for name in ("a.xml", "d.xml"):
        write_mark_points(series, tmp_path / name)
    (tmp_path / "c.xml").write_bytes(b"<PVMarkPointSeriesElements")
    names = ["a.xml", "b.xml", "c.xml", "d.xml", "../a.xml"]
    links = [(at + 1, {"filename": name}) for at, name in enumerate(names)]
    starts = {at + 1: 10.0 * at for at in range(5)}
    with pytest.warns(DamagedRecordingWarning) as said:
        table = read_stimuli(tmp_path, links, starts)
    assert [str(one.message).split(" are left out")[0][-7:] for one in said] == [
        "cycle 2", "cycle 3", "cycle 5",
    ]  # fmt: skip
    assert table.cycle.values.tolist() == [1, 4]
    assert table.trigger_number.values.tolist() == [0, 1]
    assert read_stimuli(tmp_path, [(9, {"filename": "a.xml"})], starts) is None


@real
def test_stimuli_of_a_real_recording():
    """One point, 1 s after the line scan of each cycle begins, for 100 ms; Y was not calibrated."""
    scan = read_scan(LINES / f"{LINES.name}.xml")
    absolute = {s.cycle: s.frames[0].absolute_time for s in scan.sequences}
    starts = cycle_starts(scan.sequences, {c: t - absolute[1] for c, t in absolute.items()})
    links = links_of(scan.sequences, "MarkPoints")
    table = read_stimuli(LINES, links, starts, image_shape=(256, 256))
    np.testing.assert_allclose(table.onset, [1.0, 11.001, 20.994], atol=1e-9)
    assert table.duration.values.tolist() == [0.1] * 3
    assert table.cycle.values.tolist() == [1, 2, 3]
    assert table.target.values.tolist() == [0, 0, 0]
    assert table.target_name.values.tolist() == ["Point 1"] * 3
    assert table.x_pixel.values[0] == pytest.approx(0.158114697004876 * 256)
    assert np.isposinf(table.y.values).all()
    assert table.power.values.tolist() == [400.0] * 3
    assert set(table.laser.values) == {"Insight X3"}
    assert table.spiral_size.values[0] == pytest.approx(4.32203389830509)
    assert table.spiral_revolutions.values.tolist() == [5.0] * 3
    assert table.trigger_override.values.tolist() == ["PFI0"] * 3


@real
def test_indices_of_a_real_series_are_places_in_its_point_list():
    series = read_mark_points(MARKS / "saved_series.xml")
    points = read_galvo_points(MARKS / "saved_gpl.gpl")
    table = stimulus_table(series, points=points)
    assert table.sizes["stimulus"] == 1 + 1 + 1 + 30 + 6 + 4
    for group in points.groups:
        rows = table.points.values == group.name
        assert table.target.values[rows].tolist() == list(group.indices)
    assert table.target_name.values[:4].tolist() == ["Point 0", "Point 1", "Point 2", "Point 0"]
    assert set(table.z.values) == {7090.81}
    # 1 s, 1 ms and 0.12 ms for the first point; 1 s until the second one.
    np.testing.assert_allclose(table.onset[:3], [1.0, 2.00112, 3.01324], atol=1e-9)


def test_the_first_image_of_a_cycle_is_its_first_plane():
    class Images:
        sequences = (sequence(1, ""), sequence(1, ""), sequence(2, ""))

    found = first_image_times(Images, np.array([[0.2, 0.1], [0.5, np.nan], [0.9, 0.8]]))
    assert found == {1: 0.1, 2: 0.8}
