import multiprocessing
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from calscipy.kernels import extract

DTYPES = ["bool", "u1", "i1", "u2", "i2", "u4", "i4", "i8", "f2", "f4", "f8", ">u2", ">f4", "g"]


def runs_of(weights):
    """Runs of a dense table (neurons, y, x)."""
    neuron, y, x = np.nonzero(weights)
    return extract.roi_runs(neuron, y, x, weights[neuron, y, x], len(weights))


def example(*batch, seed=0, dtype="u2", neurons=4, share=0.4, frames=6, shape=(5, 7)):
    """Images of numbers below 100, and whole weights below 5 (0 for most pixels)."""
    rng = np.random.default_rng(seed)
    images = rng.integers(0, 100, (frames, *batch, *shape)).astype(dtype)
    weights = rng.integers(1, 5, (neurons, *shape)).astype(float)
    return images, np.where(rng.random(weights.shape) < share, weights, 0)


def check_exact(images, weights):
    sums = extract.roi_sums(images, runs_of(weights))
    expected = np.einsum("f...yx,nyx->n...f", images.astype("i8"), weights.astype("i8"))
    assert sums.dtype == np.float64
    np.testing.assert_array_equal(sums, expected)


@settings(max_examples=60, deadline=None, derandomize=True)
@given(
    seed=st.integers(0, 10**6),
    dtype=st.sampled_from(DTYPES),
    share=st.floats(0, 1),
    frames=st.integers(0, 9),
    shape=st.tuples(st.integers(1, 6), st.integers(1, 9)),
)
def test_sums_of_whole_numbers_are_exact(seed, dtype, share, frames, shape):
    check_exact(*example(seed=seed, dtype=dtype, share=share, frames=frames, shape=shape))


@pytest.mark.parametrize("batch", [(1,), (2,), (2, 3)])
@pytest.mark.parametrize("dtype", ["u2", "i4"])
@pytest.mark.parametrize("frames", [0, 3, 6])
def test_channels_and_more(batch, dtype, frames):
    check_exact(*example(*batch, dtype=dtype, frames=frames))


def test_the_largest_numbers_are_exact():
    images = np.full((5, 3, 4), 2**32 - 1, "u4")
    weights = np.full((1, 3, 4), 1000.0)
    assert extract.roi_sums(images, runs_of(weights))[0, 0] == 12000 * (2**32 - 1)


def test_fractional_weights_overlap_and_negative_numbers():
    images, weights = example(2, dtype="f8")
    images -= 50.3
    weights *= 0.37
    expected = np.einsum("fbyx,nyx->nbf", images, weights)
    np.testing.assert_allclose(
        extract.roi_sums(images, runs_of(weights)), expected, rtol=1e-12, atol=1e-9
    )


def test_nan_and_infinity_stay_in_their_neuron_and_frame():
    images, weights = example(dtype="f4", share=0.2, frames=7)
    used = np.count_nonzero(weights, axis=0)
    y, x = np.argwhere(used == 1)[0]
    other_y, other_x = np.argwhere(used == 0)[0]
    expected = extract.roi_sums(images, runs_of(weights))
    (mine,) = np.flatnonzero(weights[:, y, x])
    images[2, y, x], images[5, y, x] = np.nan, np.inf
    images[:, other_y, other_x] = np.nan
    expected[mine, 2], expected[mine, 5] = np.nan, np.inf
    np.testing.assert_array_equal(extract.roi_sums(images, runs_of(weights)), expected)


def test_the_number_of_frames_changes_no_bit():
    images, weights = example(dtype="f4", frames=23, shape=(9, 11))
    images *= np.float32(0.1)
    runs = runs_of(weights * 0.7)
    whole = extract.roi_sums(images, runs)
    for length in range(1, 9):
        parts = [extract.roi_sums(images[a : a + length], runs) for a in range(0, 23, length)]
        np.testing.assert_array_equal(np.concatenate(parts, axis=-1), whole)


def test_pixels_in_any_order_listed_twice_or_without_weight():
    runs = extract.roi_runs(
        np.array([1, 0, 0, 0, 1]),
        np.array([0, 0, 0, 0, 1]),
        np.array([0, 2, 1, 1, 0]),
        np.array([0.0, 1.0, 1.0, 2.0, 3.0]),
        3,
    )
    images = np.array([[[np.nan, 5, 7], [11, 0, 0]]])
    assert extract.roi_sums(images, runs).tolist() == [[22.0], [33.0], [0.0]]


def test_neighbouring_pixels_of_a_row_are_one_run():
    weights = np.zeros((2, 4, 6))
    weights[0, 1:3, 2:5] = 1
    weights[1, 1, 4:] = 1
    runs = runs_of(weights)
    found = zip(runs.neuron, runs.y, runs.x, runs.lengths, strict=True)
    assert [tuple(map(int, run)) for run in found] == [(0, 1, 2, 3), (1, 1, 4, 2), (0, 2, 2, 3)]


def test_used_pixels_hold_the_same_sums():
    images, weights = example(3, dtype="f8")
    runs = runs_of(weights * 0.3)
    rows, columns, one_row = extract.used_pixels(runs)
    assert set(zip(rows, columns, strict=True)) == set(
        map(tuple, np.argwhere(weights.any(axis=0)).tolist())
    )
    gathered = images[..., rows, columns][..., None, :]
    np.testing.assert_array_equal(
        extract.roi_sums(gathered, one_row), extract.roi_sums(images, runs)
    )


@pytest.mark.parametrize("y", [-1, 5])
@pytest.mark.parametrize("x", [-1, 7])
def test_pixels_outside_are_refused_and_not_read(y, x):
    images, _ = example()
    for place in ((y, 3), (2, x)):
        runs = extract.roi_runs(*(np.array([v]) for v in (0, *place, 1.0)), 1)
        with pytest.raises(IndexError, match="beyond images of 5 x 7"):
            extract.roi_sums(images, runs)


@pytest.mark.parametrize("dtype", ["u2", ">i4"])
def test_any_memory_order_and_untouched_input(dtype):
    images, weights = example(2, dtype=dtype)
    expected = extract.roi_sums(images, runs_of(weights))
    packed = np.zeros(images.size, dtype=[("pad", "u1"), ("value", dtype)])["value"]
    unaligned = packed.reshape(images.shape)
    unaligned[:] = images
    assert not unaligned.flags.aligned
    for same in (
        np.asfortranarray(images),
        images[::-1].copy()[::-1],
        np.repeat(images, 2, axis=-1)[..., ::2],
        unaligned,
    ):
        same.setflags(write=False)
        np.testing.assert_array_equal(extract.roi_sums(same, runs_of(weights)), expected)
        np.testing.assert_array_equal(same, images)


def test_threads_share_a_kernel():
    images, weights = example(frames=40, shape=(30, 30))
    runs = runs_of(weights)
    expected = extract.roi_sums(images, runs)
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda _: extract.roi_sums(images, runs), range(16)))
    for sums in found:
        np.testing.assert_array_equal(sums, expected)


def _in_child(queue, images, runs):
    queue.put(extract.roi_sums(images, runs))


@pytest.mark.skipif("fork" not in multiprocessing.get_all_start_methods(), reason="needs fork")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_forked_child_computes_the_same():
    images, weights = example()
    runs = runs_of(weights)
    expected = extract.roi_sums(images, runs)
    context = multiprocessing.get_context("fork")
    queue = context.Queue()
    child = context.Process(target=_in_child, args=(queue, images, runs))
    child.start()
    np.testing.assert_array_equal(queue.get(timeout=60), expected)
    child.join()
    assert child.exitcode == 0
