"""Frame times from recorded pulses: jitter, drift, volumes, and where frames are missing."""

import itertools

import dask
import numpy as np
import pytest
import xarray as xr
from hypothesis import assume, given, settings
from hypothesis import strategies as st

import calscipy as cs
from calscipy.errors import ArgumentError, TimeAxisError
from calscipy.frame_clock import mismatches, use_frame_clock
from calscipy.io.prairieview.voltage import read_voltage
from calscipy.testing import write_recording
from calscipy.testing._voltage import write_voltage

PERIOD = 1 / 30
RATE = 10_000


@pytest.fixture(autouse=True, scope="module")
def one_thread():
    """Threads cost more than these small arrays."""
    with dask.config.set(scheduler="sync"):
        yield


def voltage(pulses, start=-0.5, stop=4.0, noise=0.05, length=0.003):
    """A signal with 5 V pulses of 3 ms, recorded from before the first frame to after the last."""
    times = start + np.arange(round((stop - start) * RATE)) / RATE
    number = np.searchsorted(pulses, times, side="right") - 1
    since = times - np.concatenate([pulses, [np.inf]])[number]
    high = (number >= 0) & (since < length)
    values = 5.0 * high + np.random.default_rng(1).normal(0, noise, times.size)
    return xr.DataArray(
        np.stack([values, 0 * values]),
        {"signal": ["Frame", "LED"], "time": ("time", times, {"units": "s"}), "cycle": 1},
        ("signal", "time"),
        "voltage",
        {"units": "V"},
    )


def session(computed, recorded, planes=None):
    """A movie and traces with computed times, a voltage recording and a stimulus."""
    movie = cs.from_numpy(
        np.zeros((len(computed), *(() if planes is None else (planes.shape[1],)), 2, 2), "u2"),
        dims=("frames", *(() if planes is None else ("plane",)), "y", "x"),
        frame_rate=30,
    ).assign_coords(time=("frames", computed, {"units": "s", "long_name": "time"}))
    if planes is not None:
        movie = movie.assign_coords(plane_time=(("frames", "plane"), planes, {"units": "s"}))
    traces = xr.DataArray(
        np.zeros((2, len(computed))), {"time": ("time", computed)}, ("neuron", "time"), "traces"
    )
    tree = {
        "/": xr.Dataset(attrs={"source": "a"}),
        "movie": movie.rename("movie").to_dataset(),
        "traces": traces.to_dataset(),
        "voltage": recorded.to_dataset(),
        "stimulus": xr.Dataset(
            {"power": ("stimulus", [1.0])}, {"onset": ("stimulus", [2.0], {"units": "s"})}
        ),
    }
    return cs.ImagingSession(xr.DataTree.from_dict(tree))


def pulses(count=90, offset=0.0054, jitter=0.002, drift=2e-4, seed=0):
    """True frame times: late by an offset, with jitter, of a clock that drifts."""
    rng = np.random.default_rng(seed)
    return offset + np.arange(count) * PERIOD * (1 + drift) + rng.uniform(-jitter, jitter, count)


CLOCK = {"threshold": 2.5, "hysteresis": 1.0}


@settings(deadline=None, derandomize=True, max_examples=10)
@given(offset=st.floats(-0.2, 0.4), jitter=st.floats(0, 0.008), seed=st.integers(0, 5))
def test_frames_come_within_half_a_sample(offset, jitter, seed):
    true = pulses(offset=offset, jitter=jitter, seed=seed)
    before = session(np.arange(90) * PERIOD, voltage(true))
    after = use_frame_clock(before, "Frame", **CLOCK)
    times = after.movie.time
    assert times.values[0] == 0
    zero = after.tree["voltage"].time.values[0] + 0.5  # by how much all clocks were moved
    # Half of a sample for each pulse, where noise of 1 % of its height moves the crossing.
    assert np.abs(times - zero - true).max() <= 0.5 / RATE * 1.05
    np.testing.assert_array_equal(after.traces.time, times)
    assert after.traces.sel(time=slice(0, 1)).sizes["time"] > 0
    np.testing.assert_allclose(after.tree["stimulus"].onset, 2.0 + zero)
    assert times.attrs["clock"] == "pulses of Frame"
    assert '"signal": "Frame"' in after.movie.attrs["history"]
    np.testing.assert_array_equal(before.movie.time, np.arange(90) * PERIOD)


def test_a_recording_from_disk(tmp_path):
    """Pulses recorded at 10 kHz, from before the first frame to after the last one."""
    folder = tmp_path / "mouse1"
    written = write_recording(folder, frames=30, shape=(4, 4), neurons=0)
    true = pulses(30)
    signal = voltage(true, -0.1, 1.2)
    table = write_voltage(
        folder, {"Frame": signal[0], "LED": signal[1]}, rate=RATE, start=0.148 - 0.1
    )
    opened = cs.ImagingSession.open(folder)
    recorded = read_voltage(folder, [(1, table.link)], zero=0.148)
    tree = opened.tree.assign({"voltage": xr.DataTree(recorded)})
    after = use_frame_clock(cs.ImagingSession(tree), "Frame", **CLOCK)
    np.testing.assert_allclose(after.movie.time, true - true[0], atol=1.01 / RATE)
    assert np.abs(after.movie.time - written.times.values).max() > 0.001


def coarse(signal):
    """Sampled at 1 kHz."""
    return signal.isel(time=slice(None, None, RATE // 1000))


@pytest.mark.parametrize("per_frame", [1, 3])
def test_a_clock_that_was_sampled_coarsely(per_frame):
    """Without noise, the edges of pulses are known to half a sample."""
    true = pulses(90, jitter=0)
    computed = np.arange(90 // per_frame) * per_frame * PERIOD
    start = session(computed, coarse(voltage(true, noise=0)))
    options = {"pulses_per_frame": per_frame, **CLOCK}
    if per_frame == 1:
        after = use_frame_clock(start, "Frame", **options)
        with pytest.raises(TimeAxisError, match=r"pulses of Frame: .* even=True"):
            cs.gaussian_smooth(after.traces, sigma=0.1)
    after = use_frame_clock(start, "Frame", even=True, **options)
    expected = true[::per_frame] - true[0]
    np.testing.assert_allclose(after.traces.time, expected, atol=1e-3)
    step = float(np.diff(expected).mean())
    np.testing.assert_allclose(np.diff(after.traces.time), step, rtol=1e-3)
    assert cs.gaussian_smooth(after.traces, sigma=0.1).shape == after.traces.shape
    assert '"even": true' in after.traces.attrs["history"]


def test_cycles_are_straightened_apart():
    true = np.concatenate([pulses(40, jitter=0), 2 + pulses(50, jitter=0, drift=0)])
    computed = np.concatenate([np.arange(40), 60 + np.arange(50)]) * PERIOD
    start = session(computed, coarse(voltage(true, noise=0)))
    epochs = ("time", np.repeat([0, 1], [40, 50]))
    tree = start.tree.assign(
        {
            "traces": xr.DataTree(start.tree["traces"].to_dataset().assign_coords(epoch=epochs)),
            "movie": xr.DataTree(
                start.tree["movie"].to_dataset().assign_coords(epoch=("frames", epochs[1]))
            ),
        }
    )
    after = use_frame_clock(cs.ImagingSession(tree), "Frame", even=True, **CLOCK)
    np.testing.assert_allclose(after.movie.time, true - true[0], atol=1e-3)


def test_frames_that_are_uneven_are_not_straightened():
    true = pulses(90, jitter=0)
    true[50:] += 0.004
    start = session(np.arange(90) * PERIOD, voltage(true))
    with pytest.raises(ArgumentError, match=r"frame (49|50) is 0.00\d+ s away .* every 0.0001 s"):
        use_frame_clock(start, "Frame", even=True, **CLOCK)


def test_volumes_by_planes_and_by_volumes():
    """Three planes and a flyback; every second volume is scanned the other way round."""
    true = pulses(40, jitter=0.001)
    volumes = np.arange(10) * 4 * PERIOD
    planes = volumes[:, None] + np.arange(3) * PERIOD
    planes[1::2] = planes[1::2, ::-1]
    planes[-1, 0] = np.nan  # scanned last, and aborted before
    expected = true.reshape(10, 4)[:, :3].copy()
    expected[1::2] = expected[1::2, ::-1]
    expected[-1, 0] = np.nan
    start = session(volumes, voltage(true), planes)
    after = use_frame_clock(start, "Frame", pulses_per_frame=4, **CLOCK)
    np.testing.assert_allclose(after.movie.plane_time, expected - true[0], atol=1.1 / RATE)
    np.testing.assert_allclose(after.movie.time, true[::4] - true[0], atol=1.1 / RATE)
    start = session(volumes, voltage(true[::4]), planes)
    after = use_frame_clock(start, "Frame", **CLOCK)
    delay = planes - volumes[:, None]
    np.testing.assert_allclose(after.movie.plane_time - after.movie.time, delay, atol=1e-9)
    with pytest.raises(ArgumentError, match="has 3 planes; pulses_per_frame"):
        use_frame_clock(
            session(volumes, voltage(true[::2]), planes), "Frame", pulses_per_frame=2, **CLOCK
        )


def test_dropped_frames_are_found():
    """The microscope pulsed for 90 frames; three of them are not in the movie."""
    true = pulses()
    kept = np.delete(np.arange(90), [40, 41, 42])
    with pytest.raises(ArgumentError) as caught:
        use_frame_clock(session(kept * PERIOD, voltage(true)), "Frame", **CLOCK)
    text = str(caught.value)
    assert "the movie has 87 frames, but 'Frame' has 90 pulses" in text
    assert "3 pulses between frames 39 and 40 have no frame (at 1.3" in text


def test_missing_pulses_are_found():
    kept = np.delete(pulses(), [10, 60, 61])
    with pytest.raises(ArgumentError) as caught:
        use_frame_clock(session(np.arange(90) * PERIOD, voltage(kept)), "Frame", **CLOCK)
    text = str(caught.value)
    assert "the movie has 90 frames, but 'Frame' has 87 pulses" in text
    assert "frames 60 to 61 have no pulse (at 2 s), frame 10 has no pulse (at 0.333333 s)" in text


def test_as_many_pulses_at_other_places():
    """One frame was dropped and one pulse was not recorded."""
    true, computed = np.delete(pulses(), 70), np.delete(np.arange(90), 20) * PERIOD
    with pytest.raises(ArgumentError) as caught:
        use_frame_clock(session(computed, voltage(true)), "Frame", **CLOCK)
    text = str(caught.value)
    assert "1 pulses between frames 19 and 20 have no frame" in text
    assert "frame 69 has no pulse" in text


def test_a_recording_that_ends_early_and_one_that_starts_late():
    computed = np.arange(90) * PERIOD
    recorded = voltage(pulses(), stop=2.0)
    with pytest.raises(ArgumentError, match=r"frames 60 to 89 have no pulse \(at 2 s\)"):
        use_frame_clock(session(computed, recorded), "Frame", **CLOCK)
    part = session(computed, recorded).sel(time=slice(None, 2.0 - PERIOD / 2))
    assert use_frame_clock(part, "Frame", **CLOCK).movie.sizes["frames"] == 60
    recorded = voltage(pulses(), start=0.5)
    with pytest.raises(ArgumentError, match=r"frames 0 to 14 have no pulse \(at 0 s\)"):
        use_frame_clock(session(computed, recorded), "Frame", **CLOCK)


def test_pulses_before_and_after_the_recording():
    """The scanner runs before and after frames are saved."""
    computed = np.arange(60) * PERIOD
    start = session(computed, voltage(pulses(90) - 10 * PERIOD))
    with pytest.raises(ArgumentError) as caught:
        use_frame_clock(start, "Frame", **CLOCK)
    assert "20 pulses after the last frame have no frame (at 2.0" in str(caught.value)
    assert "10 pulses before the first frame have no frame (at -0.3" in str(caught.value)
    after = use_frame_clock(start, "Frame", between=(-0.01, 59.5 * PERIOD), **CLOCK)
    np.testing.assert_allclose(after.movie.time, pulses()[10:70] - pulses()[10], atol=1.1 / RATE)


@settings(deadline=None, derandomize=True, max_examples=60)
@given(
    lost=st.sets(st.integers(2, 57), max_size=4),
    silent=st.sets(st.integers(2, 57), max_size=4),
    offset=st.floats(-0.01, 0.01),
    jitter=st.floats(0, 0.005),
)
def test_what_is_missing_is_found(lost, silent, offset, jitter):
    """Frames and pulses that are apart from each other are told one by one."""
    both = sorted(lost | silent)
    assume(not lost & silent and all(b - a > 2 for a, b in itertools.pairwise(both)))
    true = offset + np.arange(60) * PERIOD
    true += np.random.default_rng(len(both)).uniform(-jitter, jitter, 60)
    frames = np.delete(np.arange(60), list(lost))
    found = mismatches(frames * PERIOD, np.delete(true, list(silent)))
    place = {int(number): at for at, number in enumerate(frames)}
    expected = [(True, place[one + 1]) for one in lost] + [(False, place[one]) for one in silent]
    assert sorted((one.pulses_lack_frames, one.frame) for one in found) == sorted(expected)
    assert all(one.count == 1 for one in found)


def test_pauses_between_cycles_are_no_mismatch():
    computed = np.arange(60) * PERIOD + np.repeat([0.0, 1.0], 30)
    true = computed + 0.005
    after = use_frame_clock(session(computed, voltage(true)), "Frame", **CLOCK)
    np.testing.assert_allclose(after.movie.time, computed, atol=1.1 / RATE)


def test_traces_without_a_movie():
    start = session(np.arange(90) * PERIOD, voltage(pulses()))
    tree = start.tree.drop_nodes("movie")
    after = use_frame_clock(cs.ImagingSession(tree), "Frame", **CLOCK)
    np.testing.assert_allclose(after.traces.time, pulses() - pulses()[0], atol=1.1 / RATE)


def test_binned_traces_are_refused():
    start = session(np.arange(90) * PERIOD, voltage(pulses()))
    binned = start.traces.isel(time=slice(None, None, 2))
    with pytest.raises(ArgumentError, match="'traces' has other times than 'movie'"):
        use_frame_clock(start.assign(traces=binned), "Frame", **CLOCK)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"edge": "both"}, "must be one of"),
        ({"pulses_per_frame": 0}, "whole number from 1 on"),
        ({"pulses_per_frame": 1.5}, "whole number from 1 on"),
        ({"even": "no"}, "even as True or False"),
        ({"threshold": 9}, "never crosses the threshold"),
        ({"signal": "none"}, "one of Frame, LED"),
        ({"pulses_per_frame": 3}, "of 3 pulses, 270, but 'Frame' has 90"),
    ],
)
def test_arguments_are_checked(arguments, words):
    start = session(np.arange(90) * PERIOD, voltage(pulses()))
    with pytest.raises(ArgumentError, match=words):
        use_frame_clock(start, **({"signal": "Frame"} | CLOCK | arguments))


def test_one_frame_has_no_clock():
    start = session(np.arange(1) * PERIOD, voltage(pulses(1)))
    with pytest.raises(TimeAxisError, match="at least two frames"):
        use_frame_clock(start, "Frame", **CLOCK)


def test_without_voltage():
    start = session(np.arange(90) * PERIOD, voltage(pulses()))
    tree = start.tree.drop_nodes("voltage")
    with pytest.raises(AttributeError, match="no 'voltage'"):
        use_frame_clock(cs.ImagingSession(tree), "Frame", **CLOCK)
