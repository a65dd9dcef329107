"""Factorised traces, joined."""

import json

import numpy as np
import pytest

import calscipy as cs
from calscipy.errors import ArgumentError
from calscipy.ops.components import join_components


def factors(lengths=((4, 3), (4, 3), (4, 3)), components=2, dtype="float32"):
    rng = np.random.default_rng(0)
    return [[rng.uniform(0, 99, (components, n)).astype(dtype) for n in row] for row in lengths]


@pytest.mark.parametrize("dtype", ["float32", "float64", "uint16"])
@pytest.mark.parametrize("objects", [False, True])
def test_pieces_follow_each_other(dtype, objects):
    pieces = factors(dtype=dtype)
    given = pieces
    if objects:
        given = np.empty((3, 2), dtype=object)
        for at in np.ndindex(3, 2):
            given[at] = pieces[at[0]][at[1]]
    found = join_components(given, frame_rate=10)
    assert found.dims == ("component", "neuron", "time")
    assert found.dtype == dtype  # CalSciPy 0.3.5 made it an array of objects
    assert not np.isnan(found).any()
    for neuron in range(3):
        np.testing.assert_array_equal(found[:, neuron], np.concatenate(pieces[neuron], axis=1))
    assert cs.frame_rate(found) == pytest.approx(10)
    line = found.attrs["history"].split(" ", 4)
    assert line[3] == "join_components"
    assert json.loads(line[4])["components"] == [0, 1]


def test_components_are_chosen():
    pieces = factors(components=4)
    for chosen, wanted in ((2, [2]), ([3, 0], [3, 0]), (np.array([1]), [1]), (range(2), [0, 1])):
        found = join_components(pieces, frame_rate=10, components=chosen)
        assert found.component.values.tolist() == wanted
        np.testing.assert_array_equal(found[:, 1, 4:], pieces[1][1][wanted])
    for wrong in (-1, [], 1.0, "0", [0, True]):
        with pytest.raises(ArgumentError, match="one or more whole numbers from 0 on"):
            join_components(pieces, frame_rate=10, components=wrong)
    pieces[1][1] = pieces[1][1][:2]
    for chosen in (3, None):
        with pytest.raises(ArgumentError, match="neuron 1 has no component 3 in piece 1, only 2"):
            join_components(pieces, frame_rate=10, components=chosen)


def test_result_types_hold_all_values():
    pieces = [[np.array([[2**24 + 1]]), np.array([[0.5]], "f4")]]
    assert join_components(pieces, frame_rate=1).values.ravel().tolist() == [2**24 + 1, 0.5]


@pytest.mark.parametrize(
    ("dtype", "made"), [("float32", "float32"), ("uint16", "float32"), ("int32", "float64")]
)
def test_unequal_lengths_are_an_error_or_padded(dtype, made):
    pieces = factors(((4, 3), (2, 5), (4, 1)), dtype=dtype)
    with pytest.raises(ArgumentError, match=r"piece 0 has 2 samples in neuron 1, but 4 in neuron"):
        join_components(pieces, frame_rate=10)
    found = join_components(pieces, frame_rate=10, unequal="pad")
    assert found.dtype == made
    assert found.shape == (2, 3, 9)
    for neuron, row in enumerate(pieces):
        for piece, start in zip(row, (0, 4), strict=True):
            stop = start + piece.shape[1]
            np.testing.assert_array_equal(found[:, neuron, start:stop], piece)
    assert np.isnan(found[0]).sum(axis=1).values.tolist() == [2, 2, 4]
    assert join_components(factors(dtype=dtype), frame_rate=1, unequal="pad").dtype == dtype


def test_what_cannot_be_joined_is_refused():
    pieces = factors()
    for wrong in (0, -1, np.nan, "30"):
        with pytest.raises(ArgumentError, match="frame_rate > 0 in Hz"):
            join_components(pieces, frame_rate=wrong)
    with pytest.raises(ArgumentError, match=r"\(unequal=\) must be one of"):
        join_components(pieces, frame_rate=1, unequal="cut")
    with pytest.raises(ArgumentError, match="1 of neuron 2 and 2 of neuron 0"):
        join_components([*pieces[:2], pieces[2][:1]], frame_rate=1)
    for empty in ([], [[]]):
        with pytest.raises(ArgumentError, match="at least one neuron and one piece"):
            join_components(empty, frame_rate=1)
    for wrong in (np.zeros(3), np.zeros((2, 3), complex), "text"):
        with pytest.raises(ArgumentError, match="neuron 0 and piece 1 is of"):
            join_components([[np.zeros((2, 3)), wrong]], frame_rate=1)
