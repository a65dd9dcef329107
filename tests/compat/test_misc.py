"""Blocks, windows and names as documented in 0.3.5, and where it was wrong (F20 to F23)."""

import itertools
import operator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from calscipy.compat.misc import (
    PatternMatching,
    calculate_frames_per_file,
    generate_blocks,
    generate_overlapping_blocks,
    generate_padded_filename,
    generate_sliding_window,
    generate_time_vector,
    sliding_window,
    wrap_cupy_block,
    zero_pad_num_to_string,
)
from calscipy.errors import ArgumentError, DeviceError

from ..gpu_stand_in import install  # noqa: TID252
from . import reference

pytestmark = pytest.mark.filterwarnings("ignore::calscipy.compat.CompatWarning")

# -- blocks ----------------------------------------------------------------------------------


@settings(deadline=None, derandomize=True, max_examples=100)
@given(count=st.integers(0, 40), size=st.integers(1, 15), data=st.data())
def test_blocks_cover_everything_and_overlap_as_asked(count, size, data):
    overlap = data.draw(st.integers(0, size - 1))
    blocks = list(generate_blocks(range(count), size, overlap))  # F20: ended in RuntimeError
    expected = list(reference.generate_blocks(range(count), size, overlap))
    assert blocks == [block for block in expected if block]
    assert set(itertools.chain(*blocks)) == set(range(count))
    for one, other in itertools.pairwise(blocks):
        assert len(one) == size
        assert one[size - overlap :] == other[:overlap]
    assert list(generate_overlapping_blocks(range(count), size, overlap)) == blocks


def test_blocks_of_sequences_of_any_kind():
    assert list(generate_blocks("abcde", 2)) == ["ab", "cd", "e"]
    assert list(generate_blocks((n for n in range(3)), 2)) == [(0, 1), (2,)]  # without a length
    assert list(generate_blocks([1, 2], 9)) == [[1, 2]]  # F20: longer than the sequence
    assert next(generate_blocks((1, 2), 1)) == (1,)
    images = np.arange(24).reshape(6, 2, 2)
    blocks = list(generate_blocks(images, 4))
    assert [block.shape for block in blocks] == [(4, 2, 2), (2, 2, 2)]
    assert all(np.shares_memory(block, images) for block in blocks)


def test_blocks_at_the_ends_hold_no_frame_zero():
    for block in generate_overlapping_blocks(range(5, 12), 4, 2):  # F20
        assert 0 not in block


@pytest.mark.parametrize(
    ("size", "overlap"), [(0, 0), (-1, 0), (3, 3), (3, -1), (2.5, 0), (3, 1.5)]
)
def test_blocks_that_cannot_be_are_explained(size, overlap):
    with pytest.raises(ArgumentError, match="must be a whole number from"):
        generate_blocks(range(9), size, overlap)


# -- windows ---------------------------------------------------------------------------------


@settings(deadline=None, derandomize=True, max_examples=60)
@given(count=st.integers(1, 30), data=st.data())
def test_every_whole_window_is_there(count, data):
    length, step = data.draw(st.integers(1, count)), data.draw(st.integers(1, 8))
    found = generate_sliding_window(range(count), length, step)  # F21: the tail was lost
    assert found.tolist() == reference.generate_sliding_window(range(count), length, step).tolist()
    found[:] = -1  # an array of its own


def test_windows_of_matrices_and_generators():
    matrix = np.arange(10).reshape(2, 5)
    assert generate_sliding_window(matrix, 4)[1].tolist() == [[5, 6, 7, 8], [6, 7, 8, 9]]
    assert generate_sliding_window((n for n in range(3)), 2).tolist() == [[0, 1], [1, 2]]


def test_windows_that_do_not_fit_are_explained():
    with pytest.raises(ArgumentError, match="a window of 9 samples does not fit"):  # F21
        generate_sliding_window(range(5), 9)
    with pytest.raises(ArgumentError, match="step_size must be a whole number from 1"):
        generate_sliding_window(range(5), 2, 0)
    with pytest.raises(ArgumentError, match="window_length must be a whole number from 1"):
        sliding_window(np.arange(5), 0, np.mean)


def spread(values):
    return values.max() - values.min()


@pytest.mark.parametrize(
    ("function", "args", "kwargs"),
    [
        (np.mean, (), {}),
        (np.median, (), {}),
        (np.std, (), {"ddof": 1}),
        (np.percentile, (30,), {}),
        (np.percentile, (), {"q": 30}),
        (np.sum, (), {"axis": 0}),
        (spread, (), {}),
        (len, (), {}),
        (max, (), {}),
        (np.sort, (), {}),
        (np.quantile, ([0.1, 0.9],), {}),
    ],
)
@pytest.mark.parametrize("shape", [(40,), (3, 40)])
def test_functions_of_sliding_windows(function, args, kwargs, shape):
    values = np.random.default_rng(0).random(shape)
    found = sliding_window(values, 7, function, *args, **kwargs)
    expected = reference.sliding_window(values, 7, function, *args, **kwargs)
    np.testing.assert_allclose(found, expected, rtol=1e-12)


def test_long_sequences_are_worked_on_in_pieces():
    values = np.random.default_rng(0).random((2, 6000))
    found = sliding_window(values, 101, np.mean)
    expected = np.lib.stride_tricks.sliding_window_view(values, 101, axis=-1).mean(-1)
    np.testing.assert_allclose(found, expected)


def test_functions_of_uneven_results_are_explained():
    with pytest.raises(ArgumentError, match="as many numbers for each"):
        sliding_window(np.array([0, 1, 1]), 2, np.unique)


# -- names and numbers -----------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [np.uint16, np.float32, np.uint8, "float64"])
@pytest.mark.parametrize("cap", [3.9, 1, 0.001])
def test_frames_that_fit_into_a_file(dtype, cap):
    found = calculate_frames_per_file(300, 400, dtype, cap)
    frame = 300 * 400 * np.dtype(dtype).itemsize
    assert isinstance(found, int)  # F22
    assert found * frame <= cap * 1e9 < (found + 1) * frame


def test_a_frame_that_does_not_fit_has_its_own_file():
    assert calculate_frames_per_file(512, 512, size_cap=0.0001) == 1


@pytest.mark.parametrize(
    ("index", "digits", "name"),
    [(7, 2, "m_07.bin"), (7, 4, "m_0007.bin"), (123, 2, "m_123.bin"), (0, 1, "m_0.bin")],
)
def test_names_of_series(index, digits, name):
    found = generate_padded_filename(Path("out"), index, "m", digits, ".bin")
    assert found == Path("out") / name
    assert zero_pad_num_to_string(index, digits) == name[2:-4]


def test_numbers_below_zero_have_no_name():
    with pytest.raises(ArgumentError, match="from 0 on"):
        zero_pad_num_to_string(-1, 3)


@pytest.mark.parametrize(
    "how",
    [{}, {"sampling_frequency": 7.3}, {"start": 5, "step": 0.2}, {"step": -1}, {"start": -2.5}],
)
def test_times_of_samples(how):
    found = generate_time_vector(500, **how)
    assert found.dtype == "float64"
    np.testing.assert_allclose(found, reference.generate_time_vector(500, **how), rtol=1e-12)


def test_times_without_a_step_are_refused():
    with pytest.raises(ArgumentError, match="other than 0"):  # F23
        generate_time_vector(5, step=0)
    with pytest.raises(ArgumentError, match="other than 0"):
        generate_time_vector(5, 0)
    assert generate_time_vector(0).tolist() == []


def test_pattern_matching_compares_one_after_the_other():
    match = PatternMatching((3, "tif"), ("<", "=="))
    assert match((5, "tif"))
    assert not match((5, "bin"))
    assert not match((2, "tif"))
    assert PatternMatching("a", ["=="])("a")
    assert not PatternMatching([1, 2], [operator.contains])(3)
    with PatternMatching(3, (">=",)) as case:
        assert [case(n) for n in (2, 3, 4)] == [True, True, False]
    assert (match.value, match.comparison_expressions) == ((3, "tif"), ("<", "=="))


@pytest.mark.parametrize("expression", ["__import__('os').system('true')", "nonsense", 3])
def test_patterns_are_never_evaluated(expression):
    with pytest.raises(ArgumentError, match="neither one of"):
        PatternMatching(1, [expression])


# -- functions of CuPy -----------------------------------------------------------------------


@pytest.fixture
def device(monkeypatch):
    return install(monkeypatch)


def test_functions_of_cupy_take_and_return_numpy(device):
    import cupy

    def scaled(array, *, by, name):
        assert type(array).__module__ == "cupy"
        assert name == "x"
        return [array * by, name]

    found, name = wrap_cupy_block(scaled)(np.arange(3.0), by=np.full(3, 2.0), name="x")
    assert isinstance(found, np.ndarray)
    assert (found.tolist(), name) == ([0, 2, 4], "x")
    assert (device.uploads, device.downloads) == (2, 1)
    assert cupy is not None


def test_without_cupy_the_error_says_what_to_install(monkeypatch):
    import sys

    monkeypatch.setitem(sys.modules, "cupy", None)
    wrapped = wrap_cupy_block(np.negative)
    with pytest.raises(DeviceError, match=r"cupy-cuda12x"):
        wrapped(np.zeros(3))
