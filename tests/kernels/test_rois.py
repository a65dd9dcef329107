"""Pixels that make no sense are refused, and the neurons named."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from calscipy.errors import RoiError
from calscipy.kernels.rois import require_image_shape, require_pixels


def columns(**changes):
    given = {"neuron": [7, 7, 3, 3], "y": [0, 1, 0, 1], "x": [0, 0, 0, 0], "weight": [1, 1, 2, 0]}
    return {key: np.asarray(value) for key, value in {**given, **changes}.items()}


def check(**changes):
    options = {key: changes.pop(key) for key in ("plane", "image_shape") if key in changes}
    require_pixels("here", *columns(**changes).values(), **options)


def test_shared_pixels_and_zero_weights_are_fine():
    check()
    check(image_shape=(2, 1))
    check(y=[0, 0, 0, 0], plane=np.array([0, 1, 0, 1]))
    check(y=[0.0, 1.0, 0.0, 1.0], weight=[0.5, 1e-9, 2.0, 1.0])
    check(neuron=["b", "b", "a", "a"])
    require_pixels("here", *np.zeros((4, 0)))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"y": [0, 1.5, 0, 1]}, "here: neuron 7 has pixels that are not whole numbers"),
        ({"x": [0, 0, np.nan, 0]}, "neuron 3 has pixels that are not whole numbers"),
        ({"x": [0, 0, 0, np.inf]}, "neuron 3 has pixels that are not whole numbers"),
        ({"y": [-1, 1, 0, -1]}, "neurons 7, 3 have negative pixels"),
        ({"image_shape": (1, 9)}, "neurons 7, 3 have pixels outside of the image of 1 x 9"),
        ({"x": [0, 0, 0, 9], "image_shape": (2, 9)}, "neuron 3 has pixels outside"),
        ({"y": [0, 1, 1, 1]}, "neuron 3 has the same pixel twice"),
        ({"y": [0, 0, 0, 1], "plane": np.array([0, 0, 1, 1])}, "neuron 7 has the same pixel"),
        ({"weight": [1, 1, np.nan, 1]}, "neuron 3 has weights that are not finite"),
        ({"weight": [np.inf, 1, 1, 1]}, "neuron 7 has weights that are not finite"),
        ({"weight": [1, -1e-9, 1, 1]}, "neuron 7 has negative weights"),
        ({"weight": [0, 0, 1, 0]}, "neuron 7 has no pixel of positive weight"),
        ({"neuron": ["b", "b", "a", "a"], "weight": [1, 1, 0, 0]}, "neuron a has no pixel of"),
    ],
)
def test_each_fault_is_named(changes, message):
    with pytest.raises(RoiError, match=message):
        check(**changes)


@settings(max_examples=60, deadline=None, derandomize=True)
@given(st.lists(st.tuples(*[st.integers(0, 2)] * 4), min_size=1, max_size=12), st.booleans())
def test_repeated_pixels_are_found_as_by_a_set(entries, planes):
    neuron, y, x, plane = np.array(entries).T
    keys = entries if planes else [entry[:3] for entry in entries]
    arguments = (neuron, y, x, np.ones(len(entries)))
    options = {"plane": plane} if planes else {}
    if len(set(keys)) == len(keys):
        require_pixels("here", *arguments, **options)
    else:
        with pytest.raises(RoiError, match="the same pixel twice"):
            require_pixels("here", *arguments, **options)


@pytest.mark.parametrize("shape", [5, (5,), (5, 0), (5, -1), (5.0, 5.0), (1, 2, 3), "ab", None])
def test_an_image_shape_is_two_positive_integers(shape):
    assert require_image_shape([np.int64(4), 5], "here") == (4, 5)
    with pytest.raises(RoiError, match=r"here needs image_shape=\(rows, columns\)"):
        require_image_shape(shape, "here")
