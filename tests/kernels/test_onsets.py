"""Crossings of a threshold against a loop that remembers one state."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from calscipy.kernels.onsets import rising_crossings, spaced

values = st.lists(st.sampled_from([0.0, 1.0, 2.0, 3.0, np.nan, np.inf, -np.inf]), max_size=30)


def slow(f, threshold, hysteresis):
    armed, found = False, []
    for at, value in enumerate(f):
        if value < threshold - hysteresis:
            armed = True
        elif value >= threshold:
            if armed:
                found.append(at)
            armed = False
    return found


@settings(deadline=None, derandomize=True, max_examples=150)
@given(
    f=values, threshold=st.sampled_from([1.0, 2.0, 2.5]), hysteresis=st.sampled_from([0, 0.5, 1.5])
)
def test_every_pulse_is_found_once(f, threshold, hysteresis):
    found = rising_crossings(np.array(f), threshold, hysteresis=hysteresis)
    assert found.place.tolist() == slow(f, threshold, hysteresis)


@settings(deadline=None, derandomize=True, max_examples=80)
@given(f=values, cut=st.integers(0, 30), hysteresis=st.sampled_from([0, 1.0]))
def test_pieces_give_the_same_as_the_whole(f, cut, hysteresis):
    whole = rising_crossings(np.array(f), 2.0, hysteresis=hysteresis)
    first = rising_crossings(np.array(f[:cut]), 2.0, hysteresis=hysteresis)
    rest = rising_crossings(
        np.array(f[cut:]), 2.0, hysteresis=hysteresis, armed=first.armed, last=first.last
    )
    places = np.concatenate([first.place, rest.place + min(cut, len(f))])
    np.testing.assert_array_equal(places, whole.place)
    np.testing.assert_array_equal(np.concatenate([first.back, rest.back]), whole.back)


def test_the_line_between_two_samples():
    found = rising_crossings(np.array([0.0, 4.0, 0.0, 2.0, np.nan, 0.0, np.inf]), 1.0)
    assert found.place.tolist() == [1, 3, 6]
    # inf has no line to it: the sample itself counts.
    np.testing.assert_allclose(found.back, [0.75, 0.5, 0.0])


@settings(deadline=None, derandomize=True, max_examples=60)
@given(times=st.lists(st.integers(0, 40), max_size=20), interval=st.integers(0, 9))
def test_spaced_is_that_of_a_loop(times, interval):
    times = np.sort(np.array(times, float))
    last, expected = -np.inf, []
    for time in times:
        expected.append(time - last >= interval)
        last = time if expected[-1] else last
    assert spaced(times, interval).tolist() == expected
