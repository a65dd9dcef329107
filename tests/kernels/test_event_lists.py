"""Lists of events and their rasters against loops."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from calscipy.errors import ArgumentError, RowError
from calscipy.kernels.event_lists import (
    as_events,
    event_intervals,
    event_raster,
    raster_frames,
    require_inside,
    values_at_events,
)

LISTS = st.lists(st.lists(st.integers(0, 39), max_size=6), max_size=6)


@settings(deadline=None, derandomize=True, max_examples=60)
@given(LISTS, st.sampled_from([list, tuple, np.array]))
def test_lists_are_put_behind_each_other_and_cut_again(lists, kind):
    events = as_events([kind(some) for some in lists])
    assert events.frames.tolist() == [frame for some in lists for frame in some]
    assert events.counts.tolist() == [len(some) for some in lists]
    assert events.rows.tolist() == [row for row, some in enumerate(lists) for _ in some]
    assert [part.tolist() for part in events.split(events.frames)] == lists


@settings(deadline=None, derandomize=True, max_examples=60)
@given(LISTS)
def test_rasters_and_lists_are_each_others_inverse(lists):
    raster = event_raster(as_events(lists), samples=40)
    for row, some in enumerate(lists):
        assert raster[row].tolist() == [some.count(frame) for frame in range(40)]
    assert raster_frames(raster) == tuple(sorted(set(some)) for some in lists)


@settings(deadline=None, derandomize=True, max_examples=40)
@given(LISTS)
def test_values_and_intervals_are_those_of_a_loop(lists):
    f = np.random.default_rng(0).random((len(lists), 40))
    events = as_events(lists)
    for row, values in enumerate(values_at_events(f, events) if lists else ()):
        assert values.tolist() == [f[row, frame] for frame in lists[row]]
    for row, between in enumerate(event_intervals(events, frame_rate=4.0)):
        assert between.tolist() == (np.diff(lists[row]) / 4.0).tolist()


def test_whole_numbers_of_any_type_are_frames():
    assert as_events([[1.0, 2.0], np.array([3], "uint8"), []]).frames.tolist() == [1, 2, 3]
    with pytest.raises(RowError, match=r"rows 1 have events in frames such as 2\.5"):
        as_events([[1], [2.5]])
    with pytest.raises(RowError, match="rows 0 have events in frames such as inf"):
        as_events([[np.inf], [2]])


@pytest.mark.parametrize("lists", [[["a"]], [[[1, 2]]], [[[1], [2, 3]]], [[None]], [1, 2]])
def test_what_are_no_lists_of_frames_is_refused(lists):
    with pytest.raises((ArgumentError, TypeError)):
        as_events(lists)


@pytest.mark.parametrize(("frames", "rows"), [([[-1], [3]], [0]), ([[0], [40], [41]], [1, 2])])
def test_events_outside_of_the_samples_are_named(frames, rows):
    with pytest.raises(RowError) as caught:
        require_inside(as_events(frames), len(frames), 40)
    assert caught.value.rows == rows
