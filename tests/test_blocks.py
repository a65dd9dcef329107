"""Kernels on blocks: halos, runs, rows of the whole time axis."""

import functools
import pickle
from dataclasses import dataclass
from time import sleep

import dask
import dask.array as da
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import calscipy as cs
from calscipy import blocks
from calscipy.blocks import time
from calscipy.blocks.threads import share_out
from calscipy.errors import ArgumentError, ChunkError, RowError


@pytest.fixture(autouse=True, scope="module")
def one_thread():
    """Threads cost more than these small arrays."""
    with dask.config.set(scheduler="sync"):
        yield


def as_kernel(function):
    """Hand over the frames that are wanted, where they are wanted."""

    @functools.wraps(function)
    def kernel(block, *, frames, out, ndimage, **arguments):
        result = function(block, **arguments)[slice(*frames)]
        if out is None:
            return result
        out[...] = result
        return out

    return kernel


@as_kernel
def window_sum(block, *, before, after):
    """Sum over frames [n - before, n + after], which stops at the ends of the stack."""
    padded = np.pad(block.astype(np.int64), [(before, after), (0, 0), (0, 0)])
    return sum(padded[k : k + len(block)] for k in range(before + after + 1))


@as_kernel
def plus_frames(block):
    """Add the number of frames of the stack, which shows what the kernel is given."""
    return block + len(block)


def frame_step(before, after):
    halo = ((before, after), (0, 0), (0, 0))
    return blocks.Step(window_sum, halo, np.dtype("i8"), {"before": before, "after": after})


PASS = blocks.Step(plus_frames, ((0, 0),) * 3, np.dtype("i8"))


def stack(frames=10, *batch):
    return np.random.default_rng(0).integers(0, 1000, (frames, *batch, 3, 4))


# -- halos and runs ------------------------------------------------------------------------


def test_halos_of_a_chain_add_up():
    one = blocks.Step(window_sum, ((1, 2), (3, 4), (5, 6)), np.dtype("f4"))
    two = blocks.Step(window_sum, ((10, 0), (0, 10), (7, 7)), np.dtype("f4"))
    assert blocks.total_halo((one, two)) == ((11, 2), (3, 14), (12, 13))


@settings(max_examples=60, deadline=None, derandomize=True)
@given(
    st.lists(st.integers(0, 4), min_size=1, max_size=6),
    st.tuples(st.integers(0, 12), st.integers(0, 12)),
    st.tuples(st.integers(0, 3), st.integers(0, 3)),
)
def test_halos_reach_into_any_number_of_blocks(sizes, halo, other):
    data = stack(sum(sizes))
    lazy = da.from_array(data, chunks=(tuple(sizes), 3, 4))
    first, second = frame_step(*halo), frame_step(*other)
    fused = blocks.filtered(blocks.filtered(lazy, first), second)
    expected = blocks.filtered(blocks.filtered(data, first), second)
    np.testing.assert_array_equal(fused.compute(), expected)
    assert fused.chunks == lazy.chunks


@pytest.mark.parametrize("batch", [(), (2,), (2, 3)])
@pytest.mark.parametrize("chunk", [None, 4, 1])
def test_each_run_is_a_stack_of_its_own(batch, chunk):
    labels = np.array([0, 0, 0, 1, 1, -1, -1, 0, 2, -1])
    runs = np.broadcast_to(labels.reshape(-1, *[1] * len(batch)), (10, *batch)).copy()
    if batch:
        runs[3:, 1] = 5  # equal and adjacent: one run
    data = stack(10, *batch)
    source = data if chunk is None else da.from_array(data, chunks=(10, *[1] * len(batch), 2, 4))
    out = np.asarray(blocks.filtered(source, PASS, runs=runs))
    lengths = np.array([3, 3, 3, 2, 2, 0, 0, 1, 1, 0])
    added = np.broadcast_to(lengths.reshape(-1, *[1] * len(batch)), (10, *batch)).copy()
    if batch:
        added[3:, 1] = 7
    np.testing.assert_array_equal(out - data, np.broadcast_to(added[..., None, None], data.shape))


def test_a_frame_is_passed_on_in_the_dtype_of_the_result():
    step = blocks.Step(plus_frames, ((0, 0),) * 3, np.dtype("f4"))
    data = stack().astype("u2")
    out = blocks.filtered(data, step, runs=np.full(10, blocks.INVALID))
    assert out.dtype == np.float32
    np.testing.assert_array_equal(out, data)
    assert not np.shares_memory(out, data)


def test_the_result_never_shares_memory_with_the_input():
    data = stack().astype("i8")
    identity = blocks.Step(as_kernel(lambda block: block), ((0, 0),) * 3, np.dtype("i8"))
    assert not np.shares_memory(blocks.filtered(data, identity), data)


def test_blocks_of_arrays_that_dask_calls_by_function():
    # The top layer is not ours and may be anything, also a plain graph without layers.
    data = stack()
    lazy = da.from_array(data, chunks=(3, 3, 4))
    plain = da.Array(dict(lazy.__dask_graph__()), lazy.name, lazy.chunks, dtype=lazy.dtype)
    step = frame_step(1, 2)
    np.testing.assert_array_equal(blocks.filtered(plain, step), blocks.filtered(data, step))


def test_names_follow_content():
    lazy = da.from_array(stack(), chunks=(3, 3, 4))
    name = blocks.filtered(lazy, frame_step(1, 2)).name
    assert name == blocks.filtered(lazy, frame_step(1, 2)).name
    others = [
        blocks.filtered(lazy, frame_step(2, 1)),
        blocks.filtered(lazy, PASS),
        blocks.filtered(lazy + 1, frame_step(1, 2)),
        blocks.filtered(lazy, frame_step(1, 2), runs=np.arange(10)),
        blocks.filtered(lazy.rechunk((4, 3, 4)), frame_step(1, 2)),
    ]
    assert len({name, *(other.name for other in others)}) == 6


def test_a_pickled_chain_computes_the_same_and_forgets_its_steps():
    data = stack()
    lazy = da.from_array(data, chunks=(3, 3, 4))
    chain = blocks.filtered(blocks.filtered(lazy, frame_step(1, 2)), frame_step(2, 0))
    back = pickle.loads(pickle.dumps(chain))
    assert not hasattr(back.dask.layers[back.name], "steps")
    np.testing.assert_array_equal(back, chain)
    longer = blocks.filtered(back, frame_step(0, 1))
    np.testing.assert_array_equal(longer, blocks.filtered(chain, frame_step(0, 1)))


# -- rows along time -----------------------------------------------------------------------


def minus_mean(rows, *others, scale=1.0):
    """Take the mean of what is there from every row; add further rows."""
    count = np.maximum(np.isfinite(rows).sum(axis=-1, keepdims=True), 1)
    return (rows - np.nansum(rows, axis=-1, keepdims=True) / count) * scale + sum(others)


@pytest.mark.parametrize("chunks", [(2, 9), (4, 9), ((1, 3), 9)])
@pytest.mark.parametrize("others", [0, 2])
def test_rows_epoch_by_epoch(chunks, others):
    rng = np.random.default_rng(0)
    rows, *more = rng.random((others + 1, 4, 9))
    parts = [slice(0, 4), slice(4, 9)]
    expected = np.concatenate(
        [minus_mean(rows[:, p], *(m[:, p] for m in more)) for p in parts], axis=1
    )
    options = {"parts": parts, "dtype": np.dtype("f8")}
    lazy = da.from_array(rows, chunks=chunks)
    mixed = [da.from_array(m, chunks=(3, 5)) if at else m for at, m in enumerate(more)]
    for data, with_them in ((rows, more), (lazy, more), (lazy, mixed)):
        result = blocks.along_time(data, minus_mean, others=tuple(with_them), **options)
        assert isinstance(result, type(data))
        assert result.dtype == np.float64
        np.testing.assert_array_equal(np.asarray(result), expected)


@pytest.mark.parametrize("valid_shape", [(9,), (4, 9), (1, 9), (4, 1)])
def test_masked_samples_reach_the_kernel_as_nan(valid_shape):
    rows = np.random.default_rng(0).integers(0, 9, (4, 9)).astype("u2")
    valid = np.random.default_rng(1).random(valid_shape) > 0.2
    options = {"parts": [slice(0, 9)], "dtype": np.dtype("f4"), "valid": valid, "scale": 2.0}
    seen = np.where(valid, rows, np.nan).astype("f4")
    expected = minus_mean(seen, scale=2.0).astype("f4")
    lazy = da.from_array(rows, chunks=(3, 9))
    for data in (rows, lazy):
        result = np.asarray(blocks.along_time(data, minus_mean, **options))
        assert result.dtype == np.float32
        np.testing.assert_array_equal(result, expected)
    assert rows.dtype == np.uint16


def test_rows_have_names_that_follow_content():
    lazy = da.from_array(np.ones((4, 9)), chunks=(2, 9))

    def name(**options):
        given_options = {"parts": [slice(0, 9)], "dtype": np.dtype("f4"), **options}
        return blocks.along_time(lazy, minus_mean, **given_options).name

    assert name() == name()
    changed = [
        name(parts=[slice(0, 4), slice(4, 9)]),
        name(scale=2.0),
        name(dtype=np.dtype("f8")),
        name(valid=np.arange(9) > 1),
        name(valid=np.arange(9) > 2),
        name(verb="dfof"),
        name(names=Names((4, 5, 6, 7))),
        name(names=Names((4, 5, 6, 8))),
        name(others=(np.zeros((4, 9)),)),
    ]
    assert len({name(), *changed}) == 1 + len(changed)


def test_whole_time_leaves_alone_what_is_whole():
    rows = np.ones((3, 8))
    assert blocks.whole_time(rows, 1, movie=False, verb="dfof") is rows
    lazy = da.from_array(rows, chunks=(1, 8))
    assert blocks.whole_time(lazy, 1, movie=True, verb="dfof") is lazy


def test_whole_time_joins_chunks_of_traces_of_any_size():
    lazy = da.ones((3, 80), chunks=(2, 7))
    with cs.set_options(memory_limit=1):
        assert blocks.whole_time(lazy, 1, movie=False, verb="dfof").chunks == ((2, 1), (80,))


@pytest.mark.parametrize("piece", [1, 20, 10**9])
@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize("shape", [(7,), (5, 7), (3, 5, 7), (2, 3, 4, 7), (0, 4, 7), (3, 4, 0)])
def test_pixels_reach_the_kernel_a_few_at_a_time(monkeypatch, piece, threads, shape):
    seen = []

    def kernel(rows, other):
        assert rows.flags.c_contiguous or rows.shape[-1] < 7  # one epoch of a contiguous array
        assert rows.dtype == np.float64
        seen.append(rows.size)
        return rows * 2 + other

    monkeypatch.setattr(time, "PIECE", piece)
    monkeypatch.setattr(time, "CPU_COUNT", threads)
    rng = np.random.default_rng(0)
    data = rng.integers(0, 99, shape[::-1]).astype("u2").T  # time runs first in memory
    other = rng.random(shape)
    parts = [slice(0, 3), slice(3, shape[-1])]
    out = blocks.along_time(
        data, kernel, parts=parts, dtype=np.dtype("f4"), work=np.dtype("f8"), others=(other,)
    )
    assert out.dtype == np.float32
    np.testing.assert_array_equal(out, (data * 2.0 + other).astype("f4"))
    assert max(seen, default=0) <= max(piece, 7)
    if shape == (2, 3, 4, 7):
        rows_at_once = {1: 1, 20: 2, 10**9: 24}[piece]
        assert len(seen) == 2 * 24 // rows_at_once


@pytest.mark.parametrize("lazy", [False, True])
def test_other_rows_have_masks_of_their_own(lazy):
    data, other, third = np.arange(72).reshape(3, 2, 3, 4).astype("u2")
    mask = np.array([True, False, True, True])
    wrap = (lambda array: da.from_array(array, chunks=(1, 3, 4))) if lazy else np.asarray
    out = blocks.along_time(
        wrap(data),
        lambda rows, *others: rows + sum(others),
        parts=[slice(0, 4)],
        dtype=np.dtype("f4"),
        work=np.dtype("f4"),
        others=(wrap(other), wrap(third)),
        others_valid=(None, mask),
    )
    np.testing.assert_array_equal(out, np.where(mask, data * 1.0 + other + third, np.nan))


@pytest.mark.parametrize("threads", [1, 3])
def test_large_arrays_are_shared_among_threads(monkeypatch, threads):
    seen = []

    def kernel(rows):
        seen.append(rows.shape)
        return rows * 2

    rows = np.random.default_rng(0).random((7, 30))
    monkeypatch.setattr(time, "CPU_COUNT", threads)
    monkeypatch.setattr(time, "WORTH_THREADS", rows.size)
    out = blocks.along_time(rows, kernel, parts=[slice(0, 30)], dtype=np.dtype("f8"))
    np.testing.assert_array_equal(out, rows * 2)
    expected = {1: [(7, 30)], 3: [(1, 30), (3, 30), (3, 30)]}
    assert sorted(seen) == expected[threads]


def test_after_an_error_nothing_more_is_begun(monkeypatch):
    begun = []

    def kernel(rows):
        begun.append(len(rows))
        raise OverflowError("too much")

    monkeypatch.setattr(time, "CPU_COUNT", 2)
    monkeypatch.setattr(time, "WORTH_THREADS", 1)
    monkeypatch.setattr(time, "PIECE", 1)
    with pytest.raises(OverflowError, match="too much"):
        blocks.along_time(np.ones((500, 9)), kernel, parts=[slice(0, 9)], dtype=np.dtype("f8"))
    assert len(begun) < 10


# -- rows that a kernel reports ------------------------------------------------------------


@dataclass(frozen=True)
class Names:
    labels: tuple

    def __call__(self, at):
        return "neurons " + ", ".join(str(self.labels[n]) for n in at[0])


def without_negative(rows):
    bad = np.flatnonzero((rows < 0).any(axis=-1))
    if bad.size:
        raise RowError(bad, "have samples below 0. Add a constant.")
    return rows


@pytest.mark.parametrize("piece", [1, 10, 10**6])
@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize("shape", [(6, 8), (2, 3, 8), (8,)])
def test_one_error_names_all_rows_that_were_refused(monkeypatch, piece, threads, shape):
    monkeypatch.setattr(time, "PIECE", piece)
    monkeypatch.setattr(time, "CPU_COUNT", threads)
    monkeypatch.setattr(time, "WORTH_THREADS", 1)
    rows = np.ones(shape)
    flat = rows.reshape(-1, 8)
    flat[0, 2] = flat[0, 6] = flat[-1, 7] = -1  # in two epochs
    places = []
    options = {"parts": [slice(0, 4), slice(4, 8)], "dtype": np.dtype("f8"), "verb": "noise"}

    def names(at):
        places.extend(np.transpose(at).tolist())
        return "these"

    with pytest.raises(ArgumentError, match=r"^noise: these have samples below 0\. Add a const"):
        blocks.along_time(rows, without_negative, names=names, **options)
    expected = np.argwhere((rows < 0).any(axis=-1)).tolist()
    assert places == (expected if len(shape) > 1 else [])
    with pytest.raises(ArgumentError, match=r"^noise: some rows have samples below 0"):
        blocks.along_time(rows, without_negative, **options)


def test_refused_rows_of_a_chunk_have_their_names():
    rows = np.ones((5, 8))
    rows[[2, 4], 3] = -1
    lazy = da.from_array(rows, chunks=((2, 3), 8))
    names = Names(("a", "b", "c", "d", "e"))
    options = {"parts": [slice(0, 8)], "dtype": np.dtype("f8"), "names": names, "verb": "noise"}
    result = blocks.along_time(lazy, without_negative, **options)
    with pytest.raises(ArgumentError, match=r"noise: neurons c, e have samples below 0\. Add"):
        result.compute()
    np.testing.assert_array_equal(result[:2], 1)


def flag_negative(rows, *, flag):
    flag(np.flatnonzero((rows < 0).any(axis=-1)))
    return rows


def test_flagged_rows_are_named_once_for_an_array_and_once_in_a_task(monkeypatch):
    monkeypatch.setattr(time, "PIECE", 1)
    rows = np.ones((5, 8))
    rows[[0, 2, 4], 3] = rows[2, 7] = -1
    named = []
    options = {
        "parts": [slice(0, 4), slice(4, 8)],
        "dtype": np.dtype("f8"),
        "names": Names(("a", "b", "c", "d", "e")),
        "flagged": named.append,
    }
    blocks.along_time(rows, flag_negative, **options)
    assert named == ["neurons a, c, e"]
    named.clear()
    lazy = da.from_array(rows, chunks=((2, 3), 8))
    blocks.along_time(lazy, flag_negative, **options).compute()
    assert sorted(named) == ["neurons a", "neurons c, e"]
    named.clear()
    blocks.along_time(np.abs(rows), flag_negative, **options)
    assert named == []


@pytest.mark.parametrize(("shape", "axis"), [((40, 8, 6), 0), ((8, 6, 40), 2)])
def test_whole_time_turns_a_movie_into_bands_if_it_fits(shape, axis):
    lazy = da.ones(shape, chunks=7, dtype="u2")
    with cs.set_options(memory_limit=lazy.nbytes):
        whole = blocks.whole_time(lazy, axis, movie=True, verb="dfof")
    assert whole.numblocks[axis] == 1
    np.testing.assert_array_equal(whole, lazy)


@pytest.mark.parametrize(
    ("shape", "axis", "chunk_bytes", "largest"),
    [
        ((10, 64, 64), 0, 10 * 4 * 64 * 64, (64, 64)),  # small enough as it is
        ((10, 64, 64), 0, 10 * 4 * 256, (16, 16)),
        ((10, 8, 64), 0, 10 * 4 * 256, (8, 32)),
        ((10, 64, 8), 0, 10 * 4 * 256, (32, 8)),
        ((64, 64, 10), 2, 10 * 4 * 256, (16, 16)),
        ((10, 2, 3, 64, 64), 0, 10 * 4 * 256, (1, 1, 16, 16)),
        ((10, 64, 64), 0, 1, (1, 1)),
    ],
)
@pytest.mark.parametrize("chunks", [-1, {0: 4, -1: 7}])
def test_results_are_no_larger_than_a_chunk(shape, axis, chunk_bytes, largest, chunks):
    if chunks != -1:
        chunks = {0: chunks[0], len(shape) - 1: chunks[-1]}
    data = np.arange(np.prod(shape)).reshape(shape)
    lazy = da.from_array(data, chunks=chunks)
    with cs.set_options(chunk_bytes=chunk_bytes):
        whole = blocks.whole_time(lazy, axis, movie=True, verb="dfof")
    assert whole.numblocks[axis] == 1
    pixels = [max(c) for at, c in enumerate(whole.chunks) if at != axis]
    assert all(a <= b for a, b in zip(pixels, largest, strict=True)) or chunks != -1
    assert np.prod(pixels) * shape[axis] * 4 <= max(chunk_bytes, shape[axis] * 4)
    np.testing.assert_array_equal(whole, data)


def test_too_many_pieces_are_refused_before_they_are_built():
    lazy = da.ones((50_000, 64, 64), chunks=(64, 64, 64), dtype="u1")
    with (
        cs.set_options(memory_limit=2**40, chunk_bytes=2**20),
        pytest.raises(ChunkError, match=r"pieces of the 782 chunks.*chunks='time'"),
    ):
        blocks.whole_time(lazy, 0, movie=True, verb="dfof")


def test_a_movie_that_does_not_fit_is_refused_with_two_ways_out():
    lazy = da.ones((40, 8, 6), chunks=(7, 8, 6), dtype="u2")
    message = (
        r"dfof needs.*3840 bytes is in 6 chunks.*limit=3839.*chunks='time'.*to_zarr.*chunks='time'"
    )
    with (
        cs.set_options(memory_limit=lazy.nbytes - 1),
        pytest.raises(ChunkError, match=message),
    ):
        blocks.whole_time(lazy, 0, movie=True, verb="dfof")


# -- threads -------------------------------------------------------------------------------


@pytest.mark.parametrize("threads", [1, 2, 5])
def test_every_piece_is_worked_on_once(threads):
    done = []
    share_out(done.extend, range(1000), threads)
    assert sorted(done) == list(range(1000))


@pytest.mark.parametrize("threads", [1, 3])
def test_after_an_error_no_further_piece_is_begun(threads):
    begun = []

    def work(pieces):
        for piece in pieces:
            begun.append(piece)
            if piece == 5:
                raise ValueError("at piece 5")
            sleep(0.002)

    with pytest.raises(ValueError, match="at piece 5"):
        share_out(work, range(10_000), threads)
    assert len(begun) < 2000
