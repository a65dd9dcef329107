"""Stimuli on the time axis: onsets from triggers, and artefact samples taken out."""

import numpy as np
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st

import calscipy as cs
from calscipy.errors import ArgumentError, TimeAxisError
from calscipy.ops.stimuli import stimulus_mask, stimulus_onsets


def stimuli(onset, duration, **columns):
    table = {"onset": onset, "duration": np.broadcast_to(duration, np.shape(onset)), **columns}
    return xr.Dataset({name: ("stimulus", np.array(values)) for name, values in table.items()})


def waiting(numbers, pulses=1, inputs="PFI0"):
    count = len(numbers)
    return stimuli(
        np.where(np.array(numbers) < 0, 0.5, np.nan),
        0.1,
        delay=np.linspace(0.25, 0.5, count),
        trigger_number=numbers,
        trigger_count=np.full(count, pulses),
        trigger=np.broadcast_to(inputs, count),
    )


def test_onsets_are_triggers_plus_delays():
    table = waiting([-1, 0, 0, 1])
    before = table.copy(deep=True)
    filled = stimulus_onsets(table, triggers=xr.DataArray([10.0, 20.0], dims="event"))
    np.testing.assert_allclose(filled.onset, [0.5, *(10 + filled.delay[1:3]), 20.5])
    xr.testing.assert_identical(table, before)
    assert "stimulus_onsets" in filled.attrs["history"]


def test_of_several_pulses_the_last_one_starts():
    table = waiting([0, 1], pulses=3)
    pulses = [1.0, 1.1, 1.2, 5.0, 5.1, 5.2]
    by_pulse = stimulus_onsets(table, triggers=pulses)
    by_start = stimulus_onsets(table, triggers=[1.2, 5.2])
    np.testing.assert_allclose(by_pulse.onset, 1.2 + table.delay + [0, 4])
    np.testing.assert_array_equal(by_pulse.onset, by_start.onset)


def test_unequal_counts_are_an_error_naming_both():
    with pytest.raises(ArgumentError, match=r"wait for 2 triggers, but 3 times are given"):
        stimulus_onsets(waiting([0, 1]), triggers=[1, 2, 3])
    with pytest.raises(ArgumentError, match=r"2 triggers \(of 8 pulses in all\), but 3 times"):
        stimulus_onsets(waiting([0, 1], pulses=4), triggers=[1, 2, 3])


def test_one_input_of_several_is_filled_in_by_its_name():
    table = waiting([0, 1, 2], inputs=["PFI0", "PFI1", "PFI0"])
    filled = stimulus_onsets(table, triggers=[1, 2], selection="PFI0")
    assert filled.onset.isnull().values.tolist() == [False, True, False]
    with pytest.raises(ArgumentError, match=r"PFI7; there are stimuli that wait for \['PFI0', "):
        stimulus_onsets(table, triggers=[1], selection="PFI7")


@pytest.mark.parametrize(
    ("triggers", "reason"),
    [
        ([2, 1], "increasing"),
        ([1, np.nan], "finite"),
        ([[1, 2]], "one dimension"),
        (["a"], "numbers"),
    ],
)
def test_bad_triggers_are_refused(triggers, reason):
    with pytest.raises(ArgumentError, match=reason):
        stimulus_onsets(waiting([0, 1]), triggers=triggers)


def test_what_is_no_table_of_stimuli_is_refused():
    with pytest.raises(ArgumentError, match="needs a Dataset of stimuli"):
        stimulus_onsets(xr.DataArray([1.0]), triggers=[1])
    traces = cs.from_numpy(np.ones((1, 4)), frame_rate=1)
    with pytest.raises(ArgumentError, match="'duration'"):
        stimulus_mask(traces, xr.Dataset({"onset": ("stimulus", [1.0])}))


# The mask


times = st.integers(0, 60).map(lambda n: n / 8)


@settings(max_examples=80, deadline=None, derandomize=True)
@given(
    st.lists(st.tuples(times, times), max_size=5),
    st.sampled_from([0.0, 0.25]),
    st.sampled_from([0.0, 0.5]),
)
def test_samples_that_overlap_with_a_stimulus_are_marked(pairs, before, after):
    traces = cs.from_numpy(np.zeros((1, 30)), frame_rate=4)
    onset, duration = np.array(pairs, float).reshape(-1, 2).T
    mask = stimulus_mask(traces, stimuli(onset, duration), before=before, after=after)
    expected = []
    for begin in traces.time.values:
        end = begin + 0.25
        hits = [
            o - before < end and (o + d + after > begin or (o - before == begin == o + d + after))
            for o, d in pairs
        ]
        expected.append(any(hits))
    assert mask.values.tolist() == expected
    assert mask.dims == ("time",)


def test_gaps_between_epochs_belong_to_no_sample():
    traces = cs.from_numpy(np.zeros((1, 4)), frame_rate=1)
    traces = traces.assign_coords(time=[0.0, 1.0, 100.0, 101.0], epoch=("time", [1, 1, 2, 2]))
    mask = stimulus_mask(traces, stimuli([50.0, 101.5], 1.0))
    assert mask.values.tolist() == [False, False, False, True]
    assert mask.epoch.equals(traces.epoch)


def test_a_movie_is_masked_by_frame_and_stays_lazy():
    movie = cs.from_numpy(np.zeros((6, 4, 4)), frame_rate=2).chunk(frames=2)
    mask = stimulus_mask(movie, stimuli([0.6], 0.1))
    assert mask.dims == ("frames",)
    assert mask.values.tolist() == [False, True] + [False] * 4
    masked = movie.assign_coords(valid=~mask)
    assert masked.chunks is not None
    assert masked.valid.values.sum() == 5


def test_unknown_onsets_and_negative_lengths_are_refused():
    traces = cs.from_numpy(np.zeros((1, 4)), frame_rate=1)
    with pytest.raises(ArgumentError, match=r"stimuli 1 are not known.*stimulus_onsets"):
        stimulus_mask(traces, stimuli([0.0, np.nan], 1.0))
    with pytest.raises(ArgumentError, match="needs before in seconds"):
        stimulus_mask(traces, stimuli([0.0], 1.0), before=-1)
    with pytest.raises(TimeAxisError, match="'time' coordinate"):
        stimulus_mask(traces.drop_vars("time"), stimuli([0.0], 1.0))


def spoiled_traces(onset):
    """Noise with artefacts of 50 times its size, as it is and without the samples they spoil."""
    rng = np.random.default_rng(4)
    clean = cs.from_numpy(100 + rng.normal(0, 1, (2, 1200)), frame_rate=30)
    mask = stimulus_mask(clean, stimuli(onset, 0.1), after=1 / 30)
    spoiled = clean + 50.0 * mask
    return clean, spoiled, spoiled.where(~mask), mask


def test_dfof_passes_over_masked_artefacts():
    clean, spoiled, masked, mask = spoiled_traces(np.arange(2.0, 38.0, 1.0))
    assert mask.values.mean() > 0.1
    wanted, raw, found = (
        data.cs.dfof(method="percentile", percentile=90) for data in (clean, spoiled, masked)
    )
    np.testing.assert_allclose(found, wanted.where(~mask), atol=2e-3)
    assert abs(raw - wanted).max() > 0.3


def test_events_pass_over_masked_artefacts():
    _, spoiled, masked, _ = spoiled_traces(np.arange(5.0, 38.0, 8.0))
    raw, found = (data.cs.dfof(method="median").cs.events() for data in (spoiled, masked))
    assert raw.values.sum() >= 10  # of each artefact in each neuron
    assert found.values.sum() <= 1  # of noise: one in ten minutes
