"""Means over regions, whatever the chunks: values, the size of the graph, what is read, GPUs."""

import pickle
import threading

import dask
import dask.array as da
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from calscipy import blocks
from calscipy.blocks import regions as module

from .gpu_stand_in import install

SHAPE = {0: (9, 8, 10), 1: (9, 2, 8, 10)}  # by channels
VOLUME = (9, 2, 3, 8, 10)


@pytest.fixture(autouse=True, scope="module")
def one_thread():
    """Threads cost more than these small arrays."""
    with dask.config.set(scheduler="sync"):
        yield


def movie(shape, seed=0):
    return np.random.default_rng(seed).integers(0, 60000, shape).astype("u2")


def regions_of(spatial, count=5, pixels=60, seed=0):
    """Scattered pixels with overlaps and whole weights, each region in one plane."""
    rng = np.random.default_rng(seed)
    region = np.concatenate([np.arange(count), rng.integers(0, count, pixels)])
    place = [rng.integers(0, n, region.size) for n in spatial]
    if len(spatial) == 3:
        place[0] = (region * 7) % spatial[0]
    return blocks.Regions(count, region, tuple(place), rng.integers(1, 6, region.size).astype("f4"))


def slow_means(data, regions, valid=None):
    """Region by region, pixel by pixel, in float64."""
    spatial = len(regions.place)
    lead = data.shape[: data.ndim - spatial]
    out = np.zeros((regions.count, *lead[1:], lead[0]))
    for k in range(regions.count):
        mine = np.flatnonzero(regions.region == k)
        total = 0.0
        sums = np.zeros(lead)
        for i in mine:
            sums += float(regions.weight[i]) * data[(..., *(axis[i] for axis in regions.place))]
            total += float(regions.weight[i])
        if valid is not None:
            keep = valid if spatial == 2 else valid[..., regions.place[0][mine[0]]]
            sums[~keep] = np.nan
        out[k] = np.moveaxis(sums / total, 0, -1)
    return out.astype("f4")


def slow_means_without_nan(data, regions):
    """The same over the pixels that are not NaN."""
    there = ~np.isnan(data)
    weights = slow_means(there.astype("f8"), regions).astype("f8")
    with np.errstate(invalid="ignore"):
        return slow_means(np.where(there, data, 0), regions).astype("f8") / weights


@st.composite
def chunked(draw):
    shape = draw(st.sampled_from([*SHAPE.values(), VOLUME]))
    return shape, tuple(draw(st.integers(-(-n // 4), n)) for n in shape)


@settings(max_examples=20, deadline=None, derandomize=True)
@given(chunked(), st.integers(0, 10**6), st.sampled_from([0.1, 0.9, 1.0]))
def test_pixels_that_are_nan_are_left_out_if_asked_for(shape_chunks, seed, share):
    shape, chunks = shape_chunks
    data = movie(shape, seed).astype("f4")
    data[np.random.default_rng(seed).random(shape) < share] = np.nan
    data[0] = 7  # a frame that is whole
    regions = regions_of(shape[-3:] if shape == VOLUME else shape[-2:], seed=seed)
    expected = slow_means_without_nan(data, regions)
    lazy = da.from_array(data, chunks=chunks)
    for source in (data, lazy):
        means = np.asarray(blocks.roi_means(source, regions, skip_missing=True))
        np.testing.assert_allclose(means, expected, rtol=1e-5)
        assert (means[..., 0] == 7).all()
    assert (
        blocks.roi_means(lazy, regions).name
        != blocks.roi_means(lazy, regions, skip_missing=True).name
    )


@settings(max_examples=30, deadline=None, derandomize=True)
@given(chunked(), st.integers(0, 10**6), st.booleans())
def test_means_are_those_of_a_loop_whatever_the_chunks(shape_chunks, seed, masked):
    shape, chunks = shape_chunks
    data = movie(shape, seed)
    spatial = 3 if shape == VOLUME else 2
    regions = regions_of(shape[-spatial:], seed=seed)
    valid = None
    if masked:
        valid = np.random.default_rng(seed).random(shape[:-2]) > 0.3
    expected = slow_means(data, regions, valid)
    lazy = da.from_array(data, chunks=chunks)
    for source in (data, lazy):
        means = blocks.roi_means(source, regions, valid)
        assert means.dtype == np.float32
        np.testing.assert_array_equal(np.asarray(means), expected)
    lead = lazy.chunks[:-spatial]
    assert means.chunks == ((5,), *lead[1:], lead[0])


def test_fractional_weights():
    data = movie(SHAPE[0])
    given_regions = regions_of(SHAPE[0][-2:])
    weight = np.random.default_rng(3).random(given_regions.region.size)
    regions = blocks.Regions(5, given_regions.region, given_regions.place, weight)
    expected = slow_means(data, regions)
    for source in (data, da.from_array(data, chunks=(4, 3, 3))):
        np.testing.assert_allclose(blocks.roi_means(source, regions), expected, rtol=1e-6)


@pytest.mark.parametrize("threads", [1, 4])
def test_pieces_and_threads_change_nothing(threads, monkeypatch):
    data = movie((23, 8, 10)).astype("f4") * np.float32(0.1)
    regions = regions_of((8, 10))
    whole = blocks.roi_means(data, regions)
    monkeypatch.setattr(module, "CPU_COUNT", threads)
    monkeypatch.setattr(module, "SMALL_BYTES", 0)
    for frames in (1, 3, 10):
        monkeypatch.setattr(module, "PIECE_BYTES", frames * data[0].nbytes)
        np.testing.assert_array_equal(blocks.roi_means(data, regions), whole)


def test_no_frames():
    data = movie((0, 2, 8, 10))
    regions = regions_of((8, 10))
    for source in (data, da.from_array(data, chunks=(1, 1, 4, 4))):
        means = np.asarray(blocks.roi_means(source, regions))
        assert means.shape == (5, 2, 0)
        assert means.dtype == np.float32


# -- the graph -----------------------------------------------------------------------------


@pytest.mark.parametrize("chunks", [(3, 8, 10), (9, 1, 10), (3, 2, 2), (3, (0, 8), (5, 5))])
def test_tasks_are_few_and_every_block_is_computed_once(chunks):
    counts = {}
    lock = threading.Lock()

    def count(block, block_info=None):
        if block_info:
            with lock:
                place = tuple(block_info[0]["chunk-location"])
                counts[place] = counts.get(place, 0) + 1
        return block

    data = movie(SHAPE[0])
    lazy = da.from_array(data, chunks=chunks).map_blocks(count, dtype="u2", meta=np.empty((0,) * 3))
    some = blocks.Regions(  # the lower right holds no pixel
        2, np.array([0, 1, 1]), (np.array([0, 0, 7]), np.array([0, 9, 0])), np.ones(3)
    )
    other = regions_of((8, 10))
    first, second = blocks.roi_means(lazy, some), blocks.roi_means(lazy, other)
    with_pixels = {
        tuple(
            int(np.searchsorted(np.cumsum(c), p, "right"))
            for c, p in zip(lazy.chunks[1:], at, strict=True)
        )
        for at in zip(*some.place, strict=True)
    }
    runs = lazy.numblocks[0]
    own = len(first.dask.layers[first.name])
    assert own <= len(with_pixels) * (runs + 1) + runs
    first.compute()
    assert {place[1:] for place in counts} == with_pixels
    assert set(counts.values()) == {1}
    counts.clear()
    for found, regions in zip(dask.compute(first, second), (some, other), strict=True):
        np.testing.assert_array_equal(found, slow_means(data, regions))
    assert set(counts.values()) == {1}


def test_thousands_of_blocks_are_built_quickly():
    lazy = da.zeros((64, 512, 512), chunks=(64, 16, 16), dtype="u2")
    means = blocks.roi_means(lazy, regions_of((512, 512), count=300, pixels=20000))
    layer = means.dask.layers[means.name]
    assert len(layer) == 2 * 1024 + 1  # weights and sums of each block, and one end
    assert not means.compute().any()


def test_the_graph_pickles_and_has_a_name_of_its_own():
    data = movie(VOLUME)
    lazy = da.from_array(data, chunks=(4, 1, 2, 4, 5), name="source")
    regions = regions_of(VOLUME[-3:])
    valid = np.random.default_rng(0).random(VOLUME[:3]) > 0.3
    means = blocks.roi_means(lazy, regions, valid)
    again = pickle.loads(pickle.dumps(means))
    np.testing.assert_array_equal(again.compute(), slow_means(data, regions, valid))
    assert means.name == blocks.roi_means(lazy, regions, valid).name
    others = [
        blocks.roi_means(lazy, regions),
        blocks.roi_means(lazy, regions, ~valid),
        blocks.roi_means(lazy, regions_of(VOLUME[-3:], seed=1), valid),
        blocks.roi_means(lazy + 1, regions, valid),
    ]
    assert len({means.name, *(other.name for other in others)}) == 5


def test_one_frame_is_computed_from_its_own_blocks():
    def refuse(block, block_info=None):
        if block_info and block_info[0]["chunk-location"][0] != 1:
            raise AssertionError("another block was asked for")
        return block

    data = movie(SHAPE[0])
    lazy = da.from_array(data, chunks=(3, 4, 5)).map_blocks(
        refuse, dtype="u2", meta=np.empty((0,) * 3)
    )
    regions = regions_of((8, 10))
    found = blocks.roi_means(lazy, regions)[:, 4].compute()
    np.testing.assert_array_equal(found, slow_means(data, regions)[:, 4])


# -- GPUs ----------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", [*SHAPE.values(), VOLUME])
def test_only_the_pixels_in_use_leave_the_gpu(shape, monkeypatch):
    device = install(monkeypatch)
    import cupy

    data = movie(shape)
    spatial = 3 if shape == VOLUME else 2
    regions = regions_of(shape[-spatial:], pixels=10)
    on_gpu = cupy.asarray(data)
    copied = []
    get = type(on_gpu).get

    def counted(self):
        copied.append(self.size)
        return get(self)

    monkeypatch.setattr(type(on_gpu), "get", counted)
    means = blocks.roi_means(on_gpu, regions)
    assert isinstance(means, np.ndarray)
    np.testing.assert_array_equal(means, blocks.roi_means(data, regions))
    used = len(set(zip(*regions.place, strict=True)))
    batch = data[..., 0, 0].size if spatial == 2 else data[..., 0, 0, 0].size
    assert sum(copied) == used * batch < data.size
    lazy = da.map_blocks(cupy.asarray, da.from_array(data, chunks=4), dtype="u2", meta=on_gpu[:0])
    copied.clear()
    result = blocks.roi_means(lazy, regions).compute()
    assert isinstance(result, np.ndarray)
    np.testing.assert_array_equal(result, means)
    assert sum(copied) == used * batch
    assert device.uploads > 1


@pytest.mark.gpu
def test_means_of_an_array_on_a_real_gpu():
    import cupy

    data = movie(VOLUME)
    regions = regions_of(VOLUME[-3:])
    on_gpu = cupy.asarray(data)
    expected = blocks.roi_means(data, regions)
    np.testing.assert_array_equal(blocks.roi_means(on_gpu, regions), expected)
    lazy = da.from_array(data, chunks=(4, 1, 2, 4, 5)).map_blocks(cupy.asarray, meta=on_gpu[:0])
    np.testing.assert_array_equal(blocks.roi_means(lazy, regions).compute(), expected)
