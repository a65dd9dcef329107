"""Baselines, ΔF/F and detrending of every pixel of a movie: exact and in little memory."""

import tracemalloc

import dask
import dask.array as da
import numpy as np
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st

import calscipy as cs
from calscipy.blocks import time
from calscipy.errors import ChunkError
from calscipy.io.prairieview import frames
from calscipy.testing import write_recording

FRAMES = 24
EPOCHS = np.repeat([1, 2], FRAMES // 2)
WORK = {
    "baseline": lambda data: cs.baseline(data, method="rolling_percentile", window=0.5),
    "percentile": lambda data: cs.dfof(data, method="percentile"),
    "low_pass": lambda data: cs.dfof(data),
    "detrend": lambda data: cs.detrend(data, order=2),
}


@pytest.fixture(autouse=True, scope="module")
def one_thread():
    """Threads cost more than these small arrays."""
    with dask.config.set(scheduler="sync"):
        yield


def movie_of(shape, dims, dtype="uint16", damaged=0):
    rng = np.random.default_rng(0)
    data = cs.from_numpy(rng.integers(900, 1100, shape).astype(dtype), frame_rate=10, dims=dims)
    valid = np.ones(FRAMES, bool)
    valid[rng.permutation(FRAMES)[:damaged]] = False
    return data.assign_coords(epoch=("frames", EPOCHS), valid=("frames", valid))


def pixel_by_pixel(work, movie):
    """Do the same to every time course as a trace of its own."""
    stacked = movie.transpose(..., "frames").values.astype(
        "f8" if movie.dtype == np.float64 else "f4"
    )
    stacked[..., ~movie.valid.values] = np.nan
    out = np.empty_like(stacked)
    for at in np.ndindex(*stacked.shape[:-1]):
        trace = cs.from_numpy(stacked[at][None], frame_rate=10)
        out[at] = work(trace.assign_coords(epoch=("time", EPOCHS))).values[0]
    dims = (*(dim for dim in movie.dims if dim != "frames"), "frames")
    return xr.DataArray(out, dims=dims).transpose(*movie.dims)


LAYOUTS = {
    ("frames", "y", "x"): (FRAMES, 5, 7),
    ("y", "frames", "x"): (4, FRAMES, 3),
    ("frames", "channel", "plane", "y", "x"): (FRAMES, 2, 2, 3, 2),
}


@pytest.mark.parametrize("name", WORK)
@pytest.mark.parametrize("dims", LAYOUTS)
@pytest.mark.parametrize("damaged", [0, 3])
@pytest.mark.parametrize("dtype", ["uint16", "float64"])
def test_pixels_are_traces(name, dims, damaged, dtype, monkeypatch):
    movie = movie_of(LAYOUTS[dims], dims, dtype, damaged)
    expected = pixel_by_pixel(WORK[name], movie)
    for piece in (2**19, 50, 1):
        monkeypatch.setattr(time, "PIECE", piece)
        result = WORK[name](movie)
        assert result.dims == movie.dims
        assert result.dtype == expected.dtype
        np.testing.assert_array_equal(result, expected)


@settings(max_examples=30, deadline=None, derandomize=True)
@given(
    st.sampled_from(sorted(WORK)),
    st.tuples(st.integers(1, 6), st.integers(1, 9)),
    st.tuples(st.integers(1, FRAMES), st.integers(1, 6), st.integers(1, 9)),
    st.integers(1, 400),
    st.integers(1, 10_000),
    st.integers(0, 4),
)
def test_no_chunk_or_piece_changes_a_digit(name, shape, chunks, piece, chunk_bytes, damaged):
    movie = movie_of((FRAMES, *shape), ("frames", "y", "x"), damaged=damaged)
    expected = WORK[name](movie)
    usual = time.PIECE
    try:
        time.PIECE = piece
        with cs.set_options(chunk_bytes=chunk_bytes):
            lazy = WORK[name](movie.chunk(dict(zip(movie.dims, chunks, strict=True))))
            xr.testing.assert_equal(lazy.compute(), expected)
    finally:
        time.PIECE = usual
    largest = [max(sizes) for sizes in lazy.chunks[1:]]
    assert np.prod(largest) * FRAMES * 4 <= max(chunk_bytes, FRAMES * 4)


# Memory


def peak_of(work):
    """Most bytes allocated at one time while something runs, without its own result."""
    tracemalloc.start()
    try:
        result = work()
        return tracemalloc.get_traced_memory()[1], result
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("name", ["percentile", "detrend"])
def test_an_eager_movie_needs_its_result_and_little_else(name, monkeypatch):
    monkeypatch.setattr(time, "PIECE", 2**13)
    rng = np.random.default_rng(0)
    data = rng.integers(900, 1100, (512, 64, 64)).astype("u2")
    movie = cs.from_numpy(data, frame_rate=30)
    WORK[name](movie[:, :2])  # imports and caches
    peak, result = peak_of(lambda: WORK[name](movie))
    assert result.nbytes == 2 * movie.nbytes == 8 * 2**20
    assert peak < result.nbytes + 2**20


@pytest.mark.parametrize("name", ["percentile", "detrend"])
def test_bands_are_streamed(name, monkeypatch):
    monkeypatch.setattr(time, "PIECE", 2**13)
    blocks = {"frames": -1, "y": 8}
    data = da.random.default_rng(0).integers(900, 1100, (512, 64, 64), chunks=(512, 8, 64))
    movie = cs.from_numpy(data.astype("u2"), frame_rate=30)
    assert movie.chunk(blocks).chunks == movie.chunks
    with cs.set_options(chunk_bytes=2**18):
        lazy = WORK[name](movie).max("frames")
    lazy.isel(y=slice(0, 8)).compute()
    peak, image = peak_of(lazy.compute)
    assert image.shape == (64, 64)
    band = 512 * 8 * 64 * 8  # of int64, which dask's generator makes
    # All results at once are 8 MiB, those of one band 1 MiB.
    assert peak < band + 3 * 2**20


def test_a_movie_in_frames_is_held_once(monkeypatch):
    monkeypatch.setattr(time, "PIECE", 2**13)
    data = da.ones((512, 64, 64), dtype="u2", chunks=(64, 64, 64)) * np.arange(64, dtype="u2")
    movie = cs.from_numpy(data, frame_rate=30)
    with cs.set_options(chunk_bytes=2**18, memory_limit=movie.nbytes):
        lazy = cs.detrend(movie).max("frames")
        lazy.isel(y=slice(0, 8)).compute()
        peak, _ = peak_of(lazy.compute)
    assert peak < movie.nbytes + 6 * 2**18 + 2**19
    with (
        cs.set_options(memory_limit=movie.nbytes - 1),
        pytest.raises(ChunkError, match=r"chunks='time'.*to_zarr.*chunks='time'"),
    ):
        cs.detrend(movie)


# Recordings


def test_pieces_of_a_band_share_what_was_read(tmp_path, monkeypatch):
    truth = write_recording(tmp_path / "r", encode=True, frames=20, shape=(64, 32))
    reads = []
    read = frames.read_at
    monkeypatch.setattr(
        frames, "read_at", lambda file, *args: [reads.append(file), read(file, *args)][1]
    )
    movie = cs.ImagingSession.open(truth.folder, chunks="time").movie
    assert movie.chunks[1] == (16,) * 4
    with cs.set_options(chunk_bytes=20 * 4 * 64):
        lazy = cs.dfof(movie, method="mean")
    assert lazy.chunks[1:] == ((8,) * 8, (8,) * 4)
    computed = lazy.compute()
    assert len(reads) == 20 * 4  # files x bands
    xr.testing.assert_allclose(computed, cs.dfof(movie.compute(), method="mean"), rtol=1e-6)
