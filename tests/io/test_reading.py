"""Frames are read fast: one open and one read for each, in several threads, checked once."""

import importlib
import os
import pickle
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import dask
import dask.array as da
import numpy as np
import pytest
import tifffile
from hypothesis import given, settings
from hypothesis import strategies as st

import calscipy as cs
from calscipy.errors import ChunkError, FrameError
from calscipy.io.chunks import rows_per_band
from calscipy.io.prairieview import frames, plain
from calscipy.testing import write_recording

SHAPE = (70, 12)
FRAMES = 30


@pytest.fixture(scope="module")
def recording(tmp_path_factory):
    folder = tmp_path_factory.mktemp("recordings") / "r"
    return write_recording(folder, encode=True, frames=FRAMES, shape=SHAPE)


@pytest.fixture(scope="module")
def pixels(recording):
    return np.stack([recording.frame(at) for at in range(FRAMES)])


def array_of(folder):
    """The array of the backend below xarray's wrappers."""
    data = cs.ImagingSession.open(folder, chunks=None).movie.variable._data
    while not isinstance(data, frames.FrameArray):
        data = data.array
    return data


@pytest.fixture(scope="module")
def array(recording):
    return array_of(recording.folder)


def everything():
    return slice(None), slice(None), slice(None)


@pytest.fixture
def opened(monkeypatch):
    """Count how often each TIFF file is opened by the fast path."""
    names = []
    usual = os.open

    def counted(path, *args, **kwargs):
        if os.fspath(path).endswith(".tif"):
            names.append(os.path.basename(path))
        return usual(path, *args, **kwargs)

    monkeypatch.setattr(os, "open", counted)
    return names


@pytest.fixture
def checks(monkeypatch):
    """Slow down the check of headers and count how often it is made."""
    made = []
    check = frames.check_plain

    def counted(file, layout):
        made.append(threading.get_ident())
        time.sleep(0.002)  # long enough for another thread to come to the same file
        return check(file, layout)

    monkeypatch.setattr(frames, "check_plain", counted)
    return made


# Threads


def test_the_main_thread_reads_in_several(recording, pixels, monkeypatch):
    seen = set()
    read = frames.read_plain

    def noted(*args):
        seen.add(threading.get_ident())
        time.sleep(0.001)
        return read(*args)

    monkeypatch.setattr(frames, "read_plain", noted)
    monkeypatch.setattr(frames, "_THREADS", 3)
    array = array_of(recording.folder)
    assert np.array_equal(array._read(everything()), pixels)
    assert seen == {threading.get_ident()}  # too little to be worth it
    seen.clear()
    monkeypatch.setattr(frames, "_SMALL_BYTES", 1)
    assert np.array_equal(array._read(everything()), pixels)
    assert 1 < len(seen - {threading.get_ident()}) <= 3


def test_other_threads_read_alone(recording, pixels, monkeypatch):
    monkeypatch.setattr(frames, "_SMALL_BYTES", 1)
    monkeypatch.setattr(frames, "_THREADS", 3)
    array = array_of(recording.folder)
    monkeypatch.setattr(
        frames, "ThreadPoolExecutor", lambda *args: pytest.fail("threads of threads")
    )
    with ThreadPoolExecutor(1) as pool:
        assert np.array_equal(pool.submit(array._read, everything()).result(), pixels)


def test_damage_found_by_a_thread_is_an_error(recording, tmp_path, monkeypatch):
    truth = write_recording(tmp_path / "d", encode=True, frames=FRAMES, shape=SHAPE)
    array = array_of(truth.folder)
    last = sorted(truth.folder.glob("*.tif"))[-1]
    last.write_bytes(bytes(last.stat().st_size))
    monkeypatch.setattr(frames, "_SMALL_BYTES", 1)
    monkeypatch.setattr(frames, "_THREADS", 3)
    with pytest.raises(FrameError, match=last.name):
        array._read(everything())


@settings(max_examples=40, deadline=None, derandomize=True)
@given(
    st.lists(st.integers(0, FRAMES - 1), min_size=1, max_size=9),
    st.slices(SHAPE[0]),
    st.slices(SHAPE[1]),
)
def test_any_selection_in_any_number_of_threads(array, pixels, at, rows, columns):
    key = (np.array(at), rows, columns)
    usual = frames._SMALL_BYTES, frames._THREADS
    try:
        for frames._SMALL_BYTES, frames._THREADS in ((1, 4), usual):
            np.testing.assert_array_equal(array._read(key), pixels[at][:, rows, columns])
    finally:
        frames._SMALL_BYTES, frames._THREADS = usual


# Row bands


def test_a_band_opens_every_file_once(recording, pixels, opened):
    movie = cs.ImagingSession.open(recording.folder, chunks={"frames": -1, "y": 20}).movie
    opened.clear()
    with dask.config.set(scheduler="sync"):
        np.testing.assert_array_equal(movie, pixels)
    counts = {name: opened.count(name) for name in opened}
    assert set(counts.values()) == {4}
    assert len(counts) == FRAMES


@pytest.mark.parametrize("threads", [1, 4])
def test_headers_are_checked_once_whichever_threads_read(recording, pixels, checks, threads):
    movie = cs.ImagingSession.open(recording.folder, chunks={"frames": -1, "y": 16}).movie
    with dask.config.set(scheduler="threads", num_workers=threads):
        np.testing.assert_array_equal(movie, pixels)
        np.testing.assert_array_equal(movie, pixels)
    assert len(checks) == FRAMES
    assert len(set(checks)) <= threads


def test_frames_of_another_form_are_checked_once(recording, pixels, checks, tmp_path):
    truth = write_recording(tmp_path / "c", encode=True, frames=5, shape=SHAPE)
    for at, path in enumerate(sorted(truth.folder.glob("*.tif"))):
        tifffile.imwrite(path, truth.frame(at), metadata=None, compression="zlib")
    movie = cs.ImagingSession.open(truth.folder, chunks={"frames": -1, "y": 16}).movie
    checks.clear()  # opening looks into the first file that is smaller than its pixels
    with dask.config.set(scheduler="sync"):
        expected = np.stack([truth.frame(at) for at in range(5)])
        np.testing.assert_array_equal(movie, expected)
    assert len(checks) == 5


def test_a_copy_in_another_process_checks_for_itself(recording, pixels, checks):
    array = array_of(recording.folder)
    key = (slice(None), slice(0, 16), slice(None))
    array._read(key)
    copy = pickle.loads(pickle.dumps(array))
    np.testing.assert_array_equal(copy._read(key), pixels[:, :16])
    assert len(checks) == 2 * FRAMES


def test_a_damaged_header_is_found_in_every_band(tmp_path):
    truth = write_recording(tmp_path / "d", encode=True, frames=4, shape=SHAPE)
    path = sorted(truth.folder.glob("*.tif"))[2]
    data = bytearray(path.read_bytes())
    movie = cs.ImagingSession.open(truth.folder, chunks={"frames": -1, "y": 16}).movie
    data[:8] = bytes(8)
    path.write_bytes(data)
    for row in (0, 16, 69):
        with pytest.raises(FrameError, match=path.name):
            movie[:, row].compute(scheduler="sync")


def test_every_byte_of_the_layout_is_compared(recording):
    layout = plain.FrameLayout(*SHAPE)
    path = next(recording.folder.glob("*.tif"))
    whole = path.read_bytes()
    header = bytearray(whole[: plain.PIXELS_OFFSET])
    start = plain.PIXELS_OFFSET + layout.pixel_bytes
    tail = bytearray(whole[start : start + layout.tail_bytes])
    assert layout.matches(header, tail)
    compared = [at + n for at, wanted in layout._expected for n in range(len(wanted))]
    # Strip offsets and counts, the number of tags, and seven of them.
    assert len(set(compared)) == len(compared) == 8 * 9 + 2 + 7 * 12
    for at in compared:
        changed = tail.copy()
        changed[at] ^= 1
        assert not layout.matches(header, changed)
    for at in range(len(header)):
        changed = header.copy()
        changed[at] ^= 1
        assert not layout.matches(changed, tail)


# The height of bands


def movie_of(frames_, y, x):
    data = da.zeros((frames_, y, x), dtype="u2", chunks=-1)
    return cs.from_numpy(data, frame_rate=30)


@pytest.mark.parametrize(
    ("frames_", "y", "workers", "limit", "rows"),
    [
        (1000, 512, 2, 2**31, 64),  # eight bands, though all would fit
        (1000, 100, 2, 2**31, 16),  # and none under 16 rows
        (1000, 10, 2, 2**31, 10),
        (8000, 512, 2, 10**9, 30),  # two bands of 30 rows for each thread
        (8000, 512, 4, 10**9, 16),
        (8000, 512, 7, 10**9, 16),  # one band of 16 rows for each thread
    ],
)
def test_bands_fit_into_memory(frames_, y, workers, limit, rows):
    with dask.config.set(num_workers=workers), cs.set_options(memory_limit=limit):
        assert rows_per_band(movie_of(frames_, y, 512)) == rows


def test_bands_that_do_not_fit_are_refused():
    with (
        dask.config.set(num_workers=8),
        cs.set_options(memory_limit=10**9),
        pytest.raises(
            ChunkError,
            match=r"16 rows of all 8000 frames need 131072000 bytes for each "
            r"of 8 threads.*memory_limit=1000000000.*to_zarr.*set_options",
        ),
    ):
        rows_per_band(movie_of(8000, 512, 512))


# The benchmark


@pytest.mark.skipif(not hasattr(os, "preadv"), reason="compares with preadv and cat")
def test_the_benchmark_runs_at_its_smallest(tmp_path, monkeypatch):
    path = Path(cs.__file__).parents[1] / "benchmarks" / "reading.py"
    if not path.is_file():
        pytest.skip("benchmarks are not installed with the package")
    monkeypatch.setattr(sys, "path", [str(path.parent), *sys.path])
    reading = importlib.import_module("reading")
    paths = reading.write_frames(tmp_path, 3, (64, 32))
    with np.errstate(all="ignore"), dask.config.set(scheduler="threads", num_workers=2):
        seconds = reading.bench_frames(tmp_path, paths, repeats=1)
        seconds |= reading.bench_bands(tmp_path, paths, repeats=1)
    assert min(seconds.values()) > 0
    assert {"cat", "calscipy, a pass over the chunks", "raw preads of 32 rows"} <= set(seconds)
