"""Interrupted saves go on: nothing is computed twice, nothing is lost, nothing else is touched."""

import errno
import logging
import os
import re
import signal
from collections import Counter
from pathlib import Path
from typing import get_args

import dask
import dask.array as da
import numpy as np
import pytest
import xarray as xr
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import calscipy as cs
from calscipy.errors import StoreError, UnfinishedError
from calscipy.io.store import StoreChunks, filling, open_store
from calscipy.io.store.job import job_of
from calscipy.io.store.journal import Journal
from calscipy.io.store.layout import plan_store
from calscipy.io.store.stage import stages_of
from calscipy.io.store.verify import verify_store
from calscipy.testing import write_recording

FRAMES, BLOCK, SIDE = 24, 4, 16


@pytest.fixture(autouse=True, scope="module")
def one_thread():
    with dask.config.set(scheduler="sync"):
        yield


class Filter:
    """A filter that counts how often it gets each block."""

    def __init__(self):
        self.blocks = Counter()

    def __dask_tokenize__(self):
        return "counting filter"

    def __call__(self, block, block_id=None):
        if block.size:
            self.blocks[block_id[0]] += 1
        return block.astype("f4") * 2


def movie_of(data, block=BLOCK):
    return cs.from_numpy(da.from_array(data, chunks=(block, -1, -1)), frame_rate=30)


def make(work, *, block=BLOCK, seed=0):
    """A session whose movie is filtered by ``work`` and whose traces are made from that movie."""
    data = np.random.default_rng(seed).integers(0, 4096, (FRAMES, SIDE, SIDE)).astype("u2")
    movie = movie_of(data, block)
    filtered = movie.data.map_blocks(
        work, dtype="f4", meta=np.empty((0, 0, 0), "f4"), token="count"
    )
    labels = np.zeros((SIDE, SIDE), int)
    labels[2:5, 3:6], labels[9:12, 9:14] = 1, 2
    session = cs.ImagingSession(xr.DataTree()).assign(movie=movie.copy(data=filtered))
    return session.cs.extract(labels).cs.dfof(method="mean")


class Failing:
    """Lets every n-th call fail as on a full disk, or as Ctrl-C."""

    def __init__(self, original, at, error=None, *, afterwards=False):
        self.original, self.at, self.calls = original, at, 0
        self.error = error or OSError(errno.ENOSPC, "No space left on device", "somewhere")
        self.afterwards = afterwards

    def __call__(self, *args, **kwargs):
        self.calls += 1
        if self.calls != self.at:
            return self.original(*args, **kwargs)
        if self.afterwards:
            self.original(*args, **kwargs)
        raise self.error

    def __get__(self, owner, kind=None):
        return lambda *args, **kwargs: self(owner, *args, **kwargs)


def leftovers(folder):
    return sorted(path.name for path in folder.iterdir())


def require_equal(store, session):
    assert verify_store(store, progress=False).ok
    opened = cs.ImagingSession(open_store(store, verify="full"))
    for group, node in session.tree.children.items():
        for name, variable in node.to_dataset().data_vars.items():
            np.testing.assert_array_equal(opened.tree[group][name].values, variable.values)


# -- one graph -----------------------------------------------------------------------------------


class CountingFrames:
    """Frames on a disk that count how often they are read."""

    shape, dtype, ndim = (FRAMES, SIDE, SIDE), np.dtype("u2"), 3

    def __init__(self):
        self.reads = Counter()

    def __dask_tokenize__(self):
        return "counting frames"

    def __getitem__(self, key):
        frames = np.arange(FRAMES)[key[0]]
        self.reads.update(frames.tolist())
        return np.broadcast_to(frames[:, None, None], (len(frames), SIDE, SIDE)).astype("u2")


def test_a_movie_and_all_that_derives_from_it_read_every_frame_once(tmp_path):
    frames = CountingFrames()
    movie = cs.from_numpy(da.from_array(frames, chunks=(BLOCK, -1, -1)), frame_rate=30)
    labels = np.zeros((SIDE, SIDE), int)
    labels[2:5, 3:6] = 1
    session = (
        cs.ImagingSession(xr.DataTree())
        .assign(movie=movie)
        .cs.gaussian_filter(sigma={"y": 1, "x": 1})
        .cs.extract(labels)
        .cs.dfof(method="mean")
        .cs.events(method="derivative")
    )
    session.save(tmp_path / "s.zarr", progress=False)
    assert frames.reads == Counter(range(FRAMES))


# -- resuming ------------------------------------------------------------------------------------


@pytest.mark.parametrize("afterwards", [False, True])
@pytest.mark.parametrize("at", [3, 7, 11])
def test_blocks_that_are_written_are_not_filtered_again(tmp_path, monkeypatch, at, afterwards):
    work, target = Filter(), tmp_path / "s.zarr"
    session = make(work)
    with monkeypatch.context() as patch:
        patch.setattr(filling, "begin", begin := CountedBegin(filling.begin))
        failing = Failing(Journal.write, 10**9, afterwards=afterwards)
        patch.setattr(Journal, "write", failing)
        begin.then = lambda: setattr(failing, "at", failing.calls + at)
        with pytest.raises(StoreError, match=r"could not be written.*No space left.*kept in \.s"):
            session.save(target, progress=False)
    assert not target.exists()
    (stage,) = stages_of(target)
    done = {key for key in Journal(stage).entries() if key.startswith("movie/movie/c")}
    first = work.blocks.copy()
    session.save(target, progress=False)
    again = {block for block in work.blocks if work.blocks[block] > first[block] > 0}
    assert len(again) <= 1  # the one in flight
    assert all(f"movie/movie/c/{block}/0/0" not in done for block in again)
    assert set(work.blocks) == set(range(FRAMES // BLOCK))
    assert max(work.blocks.values()) <= 2
    assert leftovers(tmp_path) == ["s.zarr"]
    require_equal(target, make(Filter()))


class CountedBegin:
    """Says when metadata and small variables are written and shards come next."""

    def __init__(self, original):
        self.original, self.then = original, None

    def __call__(self, *args):
        self.original(*args)
        self.then()


def test_blocks_that_had_to_be_aligned_are_read_back_for_what_derives_from_them(
    tmp_path, monkeypatch
):
    data = np.random.default_rng(0).integers(0, 4096, (192, 8, 8)).astype("u2")
    work = Filter()
    movie = movie_of(data, block=96)  # stored in blocks of 64
    filtered = movie.data.map_blocks(
        work, dtype="f4", meta=np.empty((0, 0, 0), "f4"), token="count"
    )
    session = cs.ImagingSession(xr.DataTree()).assign(movie=movie.copy(data=filtered))
    session = session.cs.extract(np.pad([[1]], (2, 5)))
    target = tmp_path / "s.zarr"
    with monkeypatch.context() as patch:
        original, traces = Journal.write, set()

        def stop(self, key, *parts):
            traces.update([key] if key.startswith("traces/traces/c") else [])
            if len(traces) == 2:
                raise OSError(errno.ENOSPC, "No space left on device")
            original(self, key, *parts)

        patch.setattr(Journal, "write", stop)
        with pytest.raises(StoreError):
            session.save(target, progress=False)
    assert work.blocks == Counter({0: 1, 1: 1})
    done = {int(key.split("/")[3]) for key in Journal(*stages_of(target)).entries()
            if key.startswith("movie/movie/c")}  # fmt: skip
    whole = [block for block, stored in {0: {0, 1}, 1: {1, 2}}.items() if stored <= done]
    assert whole  # blocks that need not be filtered again
    session.save(target, progress=False)
    assert work.blocks == Counter({block: 2 - (block in whole) for block in (0, 1)})
    np.testing.assert_array_equal(cs.ImagingSession.open(target).movie, 2.0 * data)


@settings(max_examples=6, deadline=None, suppress_health_check=list(HealthCheck))
@given(steps=st.lists(st.integers(1, 60), max_size=4))
def test_any_series_of_failures_ends_in_the_same_store(steps, tmp_path_factory):
    folder = tmp_path_factory.mktemp("s")
    target, work = folder / "s.zarr", Filter()
    session = make(work)
    for step in steps:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(Journal, "write", failing := Failing(Journal.write, step))
            try:
                session.save(target, progress=False)
            except StoreError:
                assert failing.calls >= step
                assert not target.exists()
            else:
                break
    if not target.exists():
        session.save(target, progress=False)
    assert max(work.blocks.values()) <= 1 + len(steps)
    assert sum(work.blocks.values()) <= FRAMES // BLOCK + len(steps)
    require_equal(target, make(Filter()))
    assert leftovers(folder) == ["s.zarr"]


# -- a full disk ---------------------------------------------------------------------------------

POINTS = [
    ("os.fsync", 1), ("os.fsync", 12), ("os.fsync", 45), ("os.replace", 3), ("os.replace", 60),
    ("Path.mkdir", 1), ("Path.mkdir", 9), ("Path.write_text", 1), ("Path.write_text", 14),
    ("Path.rename", 1), ("os.fsync", 100), ("os.replace", 85),
]  # fmt: skip


@pytest.mark.parametrize(("name", "at"), POINTS)
def test_a_full_disk_loses_nothing_and_the_save_goes_on(tmp_path, monkeypatch, name, at):
    target = tmp_path / "s.zarr"
    (tmp_path / "thesis.txt").write_text("three years")
    session = make(Filter())
    owner = {"os": os, "Path": Path}[name.partition(".")[0]]
    attribute = name.partition(".")[2]
    with monkeypatch.context() as patch:
        failing = Failing(getattr(owner, attribute), at)
        patch.setattr(owner, attribute, failing)
        with pytest.raises(StoreError, match=r"s\.zarr: .*No space left.*free some\s+space"):
            session.save(target, progress=False)
    assert failing.calls >= at
    assert not target.exists()
    assert (tmp_path / "thesis.txt").read_text() == "three years"
    session.save(target, progress=False)
    assert leftovers(tmp_path) == ["s.zarr", "thesis.txt"]
    require_equal(target, session)


class Interrupt:
    """Ctrl-C, which comes while the scheduler counts what is done, after some shards."""

    def __init__(self, after):
        self.left = after

    def __call__(self, done, total):
        self.left -= 1
        if self.left < 0:
            raise KeyboardInterrupt


def test_an_interrupt_leaves_what_is_done_and_the_error_says_so(tmp_path):
    work, target = Filter(), tmp_path / "s.zarr"
    session = make(work)
    with pytest.raises(KeyboardInterrupt) as caught:
        session.save(target, progress=Interrupt(3))
    assert "shards are kept in .s.zarr." in caught.value.__notes__[0]
    before = sum(work.blocks.values())
    assert 0 < before < FRAMES // BLOCK
    with pytest.raises(UnfinishedError, match=r"resume=True.*calscipy clean"):
        session.save(target, resume=False, progress=False)
    session.save(target, progress=False)
    assert sum(work.blocks.values()) <= FRAMES // BLOCK + 1


def test_an_interrupt_before_the_first_shard_leaves_nothing(tmp_path):
    with pytest.raises(KeyboardInterrupt):
        make(Filter()).save(tmp_path / "s.zarr", progress=Interrupt(0))
    assert leftovers(tmp_path) == []


def test_errors_before_any_data_is_written_leave_nothing(tmp_path):
    session = make(Filter())
    session.tree.attrs["mouse"] = object()
    with pytest.raises(StoreError, match="mouse"):
        session.save(tmp_path / "s.zarr", progress=False)
    assert leftovers(tmp_path) == []


# -- which job it is -----------------------------------------------------------------------------


def interrupted(session, target):
    with pytest.raises(KeyboardInterrupt):
        session.save(target, progress=Interrupt(3))
    return stages_of(target)


def test_what_differs_in_anything_but_its_timestamps_is_another_job(tmp_path):
    target = tmp_path / "s.zarr"
    (stage,) = interrupted(make(Filter()), target)
    for other in (
        make(Filter(), seed=1),
        make(Filter(), block=8),
        make(Filter()).cs.events(method="derivative"),
    ):
        with pytest.raises(UnfinishedError, match=r"calscipy clean"):
            other.save(target, progress=False)
    assert stages_of(target) == [stage]
    same = make(Filter())
    for variable in same.tree["traces"].to_dataset().data_vars:
        attrs = same.tree["traces"][variable].attrs
        assert "Z calscipy" in attrs["history"]
        attrs["history"] = re.sub(r"\d{4}-\S+Z", "2030-01-01T00:00:00Z", attrs["history"])
    same.save(target, progress=False)
    assert leftovers(tmp_path) == ["s.zarr"]


def test_the_same_in_other_chunks_is_another_job():
    movie = cs.from_numpy(da.from_array(np.zeros((64, 130, 130)), chunks=64), frame_rate=30)
    datasets = {"movie": movie.to_dataset()}
    names = {job_of(plan_store(datasets, {}, chunks)).name for chunks in get_args(StoreChunks)}
    assert len(names) == 3
    assert job_of(plan_store(datasets, {}, "time")).name in names
    assert job_of(plan_store(datasets, {"mouse": "m12"}, "time")).name not in names


def test_a_changed_source_file_is_another_job(tmp_path):
    write_recording(tmp_path / "r", frames=12, shape=(16, 16), neurons=1)
    target = tmp_path / "s.zarr"

    def opened():
        return cs.ImagingSession.open(tmp_path / "r", chunks={"frames": 2})

    assert interrupted(opened(), target)
    frame = sorted((tmp_path / "r").glob("*.tif"))[3]
    state = frame.stat()
    os.utime(frame, ns=(state.st_atime_ns, state.st_mtime_ns + 10**9))
    with pytest.raises(UnfinishedError, match="differs"):
        opened().save(target, progress=False)
    os.utime(frame, ns=(state.st_atime_ns, state.st_mtime_ns))
    opened().save(target, progress=False)


def test_what_has_no_certain_identity_is_never_resumed(tmp_path):
    data = np.zeros((8, 8, 8), "u2")
    unnamed = cs.from_numpy(da.from_array(data, chunks=(2, 8, 8), name=False), frame_rate=30)
    by_hand = cs.from_numpy(da.from_array(data, chunks=(2, 8, 8), name="movie"), frame_rate=30)
    for number, movie in enumerate((unnamed, by_hand)):
        target = tmp_path / f"{number}.zarr"
        session = cs.ImagingSession(xr.DataTree()).assign(movie=movie)
        assert interrupted(session, target) == []  # nothing to go on with
        session.save(target, progress=False)


def test_persisted_arrays_are_known_by_their_content(tmp_path):
    values = np.arange(8 * 8 * 8, dtype="u2").reshape(8, 8, 8)
    target = tmp_path / "s.zarr"

    class Changing(CountingFrames):
        shape = values.shape

        def __getitem__(self, key):
            return values[key]

    def persisted():
        data = da.from_array(Changing(), chunks=(2, 8, 8)).persist()
        return cs.ImagingSession(xr.DataTree()).assign(movie=cs.from_numpy(data, frame_rate=30))

    assert interrupted(persisted(), target)
    values = values + 1
    with pytest.raises(UnfinishedError, match="differs"):
        persisted().save(target, progress=False)


# -- elsewhere -----------------------------------------------------------------------------------


def test_two_saves_give_the_same_files(tmp_path):
    for name in ("a", "b"):
        make(Filter()).save(tmp_path / f"{name}.zarr", progress=False)
    first, second = (
        {
            file.relative_to(store).as_posix(): file.read_bytes()
            for file in sorted(store.rglob("*"))
            if file.is_file() and "c" in file.relative_to(store).parts
        }
        for store in (tmp_path / "a.zarr", tmp_path / "b.zarr")
    )
    assert first == second
    assert len(first) > FRAMES // BLOCK


def test_progress_is_told_in_bytes(tmp_path):
    target, told = tmp_path / "s.zarr", []
    session = make(Filter())
    interrupted(session, target)
    session.save(target, progress=lambda done, total: told.append((done, total)))
    (total,) = {total for _, total in told}
    assert total == sum(v.nbytes for g in ("movie", "traces")
                        for v in session.tree[g].to_dataset().data_vars.values())  # fmt: skip
    assert told[0][0] > 0
    assert [done for done, _ in told] == sorted(done for done, _ in told)
    assert told[-1][0] == total


class KillsItsWorker:
    """A filter whose process is killed at the third block, once."""

    def __init__(self, flag):
        self.flag = flag

    def __dask_tokenize__(self):
        return "kills its worker"

    def __call__(self, block, block_id=None):
        if block.size and block_id[0] == 2 and not self.flag.exists():
            self.flag.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return block.astype("f4") * 2


@pytest.mark.skipif(os.name == "nt", reason="Windows has no SIGKILL")
def test_workers_of_a_cluster_write_and_a_killed_one_is_replaced(tmp_path):
    distributed = pytest.importorskip("distributed")
    session = make(KillsItsWorker(tmp_path / "killed"))
    cluster = distributed.LocalCluster(
        n_workers=1, threads_per_worker=2, processes=True, dashboard_address=None,
        silence_logs=logging.CRITICAL,
    )  # fmt: skip
    with cluster, distributed.Client(cluster), dask.config.set(scheduler=None):
        session.save(tmp_path / "s.zarr", progress=False)
    assert leftovers(tmp_path) == ["killed", "s.zarr"]
    require_equal(tmp_path / "s.zarr", make(Filter()))
