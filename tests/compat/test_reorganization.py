"""Rasters, trials and factorised traces as in 0.3.5, and where it was wrong (F17 to F19)."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from calscipy.compat.reorganization import (
    generate_raster,
    generate_tensor,
    merge_factorized_matrices,
    merge_tensor,
)
from calscipy.errors import ArgumentError

from . import reference

pytestmark = pytest.mark.filterwarnings("ignore::calscipy.compat.CompatWarning")


@settings(deadline=None, derandomize=True, max_examples=60)
@given(st.lists(st.lists(st.integers(0, 29), max_size=8), max_size=6))
def test_rasters_count_events(lists):
    found = generate_raster(lists, 30)  # F17: coincident events were lost
    assert found.dtype == "int32"
    assert found.shape == (len(lists), 30)
    assert np.array_equal(found, reference.generate_raster(lists, 30))
    assert found.sum() == sum(map(len, lists))


def test_rasters_are_as_long_as_needed():
    assert generate_raster([[1, 3], []]).tolist() == [[0, 1, 0, 1], [0, 0, 0, 0]]
    assert generate_raster([np.array([2])]).tolist() == [[0, 0, 1]]
    assert generate_raster([[], []]).shape == (2, 0)  # F17: ValueError
    assert generate_raster([[], []], 5).shape == (2, 5)


@pytest.mark.parametrize(("lists", "which"), [([[1], [5]], "rows 1"), ([[-1], [2]], "rows 0")])
def test_events_outside_of_the_raster_are_named(lists, which):
    with pytest.raises(ArgumentError, match=f"{which} have events in frames such as .* 0 to 4"):
        generate_raster(lists, 5)  # F17: IndexError, and negative ones wrapped


@pytest.mark.parametrize("chunk", [1, 5, 10, 30])
@pytest.mark.parametrize("dtype", ["float32", "int64", "bool"])
def test_trials_are_cut_and_joined(chunk, dtype):
    traces = (np.random.default_rng(0).random((4, 30)) * 5).astype(dtype)
    tensor = generate_tensor(traces_as_matrix=traces, chunk_size=chunk)  # F19: named arguments
    assert np.array_equal(tensor, reference.generate_tensor(traces, chunk))
    assert tensor.dtype == dtype
    assert not np.shares_memory(tensor, traces)
    joined = merge_tensor(traces_as_tensor=tensor)
    assert np.array_equal(joined, traces)
    assert np.array_equal(joined, reference.merge_tensor(tensor))
    assert not np.shares_memory(joined, tensor)


@pytest.mark.parametrize("chunk", [7, 31, 0, -5])
def test_trials_that_do_not_fit_are_explained(chunk):
    with pytest.raises(ArgumentError, match=rf"\(2, 30\) into trials of {chunk} frames"):
        generate_tensor(np.zeros((2, 30)), chunk)


@pytest.mark.parametrize("shape", [(3, 4), (0, 2, 5)])
def test_what_is_no_tensor_is_explained(shape):
    with pytest.raises(ArgumentError, match=r"\(trials, neurons, frames\)"):
        merge_tensor(np.zeros(shape))


def factors(lengths=(5, 3), dtype=float):
    rng = np.random.default_rng(0)
    return [[(rng.random((2, n)) * 9).astype(dtype) for n in lengths] for _ in range(3)]


@pytest.mark.parametrize("dtype", ["float64", "int32"])
def test_factorised_traces_are_joined_as_numbers(dtype):
    given_ = factors(dtype=dtype)
    for component in (0, 1):
        found = merge_factorized_matrices(given_, component)
        assert found.dtype == dtype  # F18: objects
        assert np.array_equal(found, reference.merge_factorized_matrices(given_, component))
    both = merge_factorized_matrices(given_, [1, 0])
    assert both.shape == (2, 3, 8)
    assert np.array_equal(both[1], merge_factorized_matrices(given_))


def test_factorised_traces_in_an_array_of_objects():
    given_ = np.empty((3, 2), object)
    for place, piece in zip(np.ndindex(3, 2), (p for row in factors() for p in row), strict=True):
        given_[place] = piece
    assert np.array_equal(
        merge_factorized_matrices(given_), reference.merge_factorized_matrices(factors())
    )


def test_trials_of_different_lengths_are_filled_up():
    given_ = factors()
    given_[1][0] = given_[1][0][:, :2]
    found = merge_factorized_matrices(given_)  # F18: an error of broadcasting
    assert np.isnan(found[1, 2:5]).all()
    assert np.isfinite(found).sum() == 21
    assert np.array_equal(found[1, 5:], given_[1][1][0])


def test_a_component_that_is_not_there_is_named():
    for component in (5, -1):
        with pytest.raises(
            ArgumentError, match=rf"rows 0, 1, 2 do not have .* {component}, counted"
        ):
            merge_factorized_matrices(factors(), component)
    with pytest.raises(ArgumentError, match="rows 1 do not have 2 pieces"):
        merge_factorized_matrices([*factors()[:1], factors()[0][:1]])
    with pytest.raises(ArgumentError, match="rows 0"):
        merge_factorized_matrices([])
