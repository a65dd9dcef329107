"""Stages: who works in one, what stands in the way, and that nobody else's files are touched."""

import os
import socket
import subprocess
import sys
import threading
from pathlib import Path

import dask
import dask.array as da
import numpy as np
import pytest
import xarray as xr

import calscipy as cs
from calscipy.errors import StoreError, StoreWarning, TargetExistsError, UnfinishedError
from calscipy.io.store import finish, stage
from calscipy.io.store.journal import JOURNAL, Journal
from calscipy.io.store.layout import plan_store
from calscipy.io.store.manifest import ShardEntry
from calscipy.io.store.stage import LOCK, Lock, in_use, owner_of, require_space, stages_of
from calscipy.io.store.verify import verify_store


@pytest.fixture(autouse=True, scope="module")
def one_thread():
    with dask.config.set(scheduler="sync"):
        yield


def movie_of(value=0, frames=8):
    data = da.full((frames, 8, 8), value, dtype="u2", chunks=(2, 8, 8))
    return cs.from_numpy(data, frame_rate=30)


def leftovers(folder):
    return sorted(path.name for path in folder.iterdir())


# -- locks ---------------------------------------------------------------------------------------


def test_one_process_holds_a_stage(tmp_path):
    with Lock(tmp_path):
        assert in_use(tmp_path)
        assert owner_of(tmp_path).pid == os.getpid()
        with pytest.raises(UnfinishedError, match=rf"process {os.getpid()} on .*Wait for it"), \
             Lock(tmp_path):  # fmt: skip
            pass
    assert not in_use(tmp_path)
    with Lock(tmp_path):
        pass


@pytest.mark.skipif(os.name == "nt", reason="locks as POSIX does")
def test_another_process_holds_a_stage(tmp_path):
    code = (
        "import fcntl, os, socket, sys; file = open(sys.argv[1], 'w'); fcntl.flock(file, 2)\n"
        "print(socket.gethostname(), os.getpid(), file=file, flush=True)\n"
        "print('locked', flush=True); sys.stdin.read()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path / LOCK)], stdin=-1, stdout=-1, text=True
    ) as other:
        assert other.stdout.readline() == "locked\n"
        assert in_use(tmp_path)
        with pytest.raises(UnfinishedError, match=f"process {other.pid} on"), Lock(tmp_path):
            pass
        other.kill()
        other.wait()
        assert not in_use(tmp_path)
        with Lock(tmp_path):
            assert owner_of(tmp_path).pid == os.getpid()


def test_what_a_dead_process_left_is_taken_over(tmp_path):
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    (tmp_path / LOCK).write_text(f"{socket.gethostname()} {dead.pid}")
    assert not in_use(tmp_path)
    with Lock(tmp_path):
        assert owner_of(tmp_path).pid == os.getpid()


def test_another_computer_may_still_be_at_work(tmp_path):
    (tmp_path / LOCK).write_text("elsewhere 17")
    assert in_use(tmp_path)
    with pytest.raises(UnfinishedError, match=r"process 17 on elsewhere.*remove \.lock"), \
         Lock(tmp_path):  # fmt: skip
        pass


@pytest.mark.skipif(os.name == "nt", reason="asks for processes as POSIX does")
def test_without_locks_of_the_system_names_of_processes_decide(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "fcntl", None)
    with Lock(tmp_path):
        assert in_use(tmp_path)
        with pytest.raises(UnfinishedError, match="Wait for it"), Lock(tmp_path):
            pass
    (tmp_path / LOCK).write_text(f"{socket.gethostname()} {2**22 + 1}")  # no such process
    assert not in_use(tmp_path)
    with Lock(tmp_path):
        pass


def test_two_exporters_at_once(tmp_path):
    """The second is refused while the first works, whether it saves the same or not."""
    target, started, go_on = tmp_path / "s.zarr", threading.Event(), threading.Event()

    def first():
        def wait(done, total):
            started.set()
            assert go_on.wait(60)

        movie_of().cs.to_zarr(target, progress=wait)

    thread = threading.Thread(target=first)
    thread.start()
    assert started.wait(60)
    try:
        with pytest.raises(UnfinishedError, match="is saving the same just now"):
            movie_of().cs.to_zarr(target, progress=False)
        with pytest.raises(UnfinishedError, match="is saving something else under this name"):
            movie_of(1).cs.to_zarr(target, progress=False)
        movie_of(1).cs.to_zarr(tmp_path / "other.zarr", progress=False)
    finally:
        go_on.set()
        thread.join()
    assert leftovers(tmp_path) == ["other.zarr", "s.zarr"]
    assert verify_store(target, progress=False).ok


def test_a_target_that_appears_while_saving_is_not_replaced(tmp_path):
    target = tmp_path / "s.zarr"

    def meanwhile(done, total):
        target.mkdir(exist_ok=True)
        (target / "thesis.txt").write_text("three years")

    with pytest.raises(StoreError, match="exists already"):
        movie_of().cs.to_zarr(target, progress=meanwhile)
    assert (target / "thesis.txt").read_text() == "three years"
    target.rename(tmp_path / "thesis")
    movie_of().cs.to_zarr(target, progress=False)  # what was done is kept
    assert leftovers(tmp_path) == ["s.zarr", "thesis"]


# -- names and space -----------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["with spaces.zarr", "Mäuse 大脑 β.zarr", "no suffix", "a.b.c"])
def test_names_with_spaces_and_unicode(tmp_path, name):
    folder = tmp_path / "ordner ü"
    folder.mkdir()
    movie_of(7).cs.to_zarr(folder / name, progress=False)
    assert leftovers(folder) == [name]
    assert (cs.ImagingSession.open(folder / name).movie == 7).all()


def test_stages_of_a_name_are_not_those_of_another(tmp_path):
    for name in (".a.zarr.0123.partial", ".a.zarr.b.zarr.0123.partial", ".b.0123.partial"):
        (tmp_path / name).mkdir()
    assert [path.name for path in stages_of(tmp_path / "a.zarr")] == [".a.zarr.0123.partial"]


def test_a_disk_that_is_surely_too_small_is_refused_and_another_one_warned_of(
    tmp_path, monkeypatch
):
    free = {"bytes": 10**9}
    usage = type("Usage", (), {"free": property(lambda self: free["bytes"])})
    monkeypatch.setattr(stage.shutil, "disk_usage", lambda folder: usage())
    require_space(tmp_path, 10**9)
    with pytest.warns(StoreWarning, match="1 GB are free, and 3 GB.*may not fit.*save again"):
        require_space(tmp_path, 3 * 10**9)
    with pytest.raises(StoreError, match="cannot fit"):
        require_space(tmp_path, 30 * 10**9)
    free["bytes"] = 10
    with pytest.raises(StoreError, match="cannot fit"):
        movie_of().cs.to_zarr(tmp_path / "s.zarr", progress=False)
    assert leftovers(tmp_path) == []


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write")
def test_a_folder_that_cannot_be_written_to(tmp_path):
    tmp_path.chmod(0o500)
    try:
        with pytest.raises(StoreError, match="Permission denied"):
            movie_of().cs.to_zarr(tmp_path / "s.zarr", progress=False)
    finally:
        tmp_path.chmod(0o700)


# -- the journal ---------------------------------------------------------------------------------


def test_torn_and_foreign_entries_of_a_journal_count_as_none(tmp_path):
    journal = Journal(tmp_path)
    journal.begin({})
    for key in ("m/m/c/0", "m/m/c/1", "m/m/c/2", "m/m/c/3"):
        journal.write(key, key.encode())
    entries = sorted((journal.folder / "entries").iterdir())
    assert journal.entries()["m/m/c/0"] == ShardEntry(7, journal.entries()["m/m/c/0"].crc32c)
    entries[0].write_bytes(b"")
    entries[1].write_bytes(entries[2].read_bytes())
    assert len(journal.entries()) == 2
    (tmp_path / next(iter(journal.entries()))).write_bytes(b"cut")
    assert len(journal.entries()) == 1


def test_a_late_task_makes_no_folder_anew(tmp_path):
    journal = Journal(tmp_path / "stage")
    (tmp_path / "stage").mkdir()
    journal.begin({})
    (tmp_path / "stage").rename(tmp_path / "s.zarr")
    with pytest.raises(FileNotFoundError):
        journal.write("m/m/c/0", b"1")
    assert leftovers(tmp_path) == ["s.zarr"]


def test_a_run_that_was_killed_after_the_rename_is_done(tmp_path, monkeypatch):
    target = tmp_path / "s.zarr"
    with monkeypatch.context() as patch:
        patch.setattr(finish, "tidy", lambda store: None)
        movie_of().cs.to_zarr(target, progress=False)
    assert (target / JOURNAL).is_dir()
    assert verify_store(target, progress=False).ok
    with pytest.raises(TargetExistsError):
        movie_of(1).cs.to_zarr(target, progress=False)
    movie_of().cs.to_zarr(target, progress=False)
    assert not [name for name in leftovers(target) if name.startswith(".")]


# -- overwriting ---------------------------------------------------------------------------------


def test_a_store_is_replaced_once_the_new_one_is_whole(tmp_path):
    target = tmp_path / "s.zarr"
    movie_of(1).cs.to_zarr(target, progress=False)

    def still_there(done, total):
        assert (cs.ImagingSession.open(target).movie == 1).all()

    movie_of(2).cs.to_zarr(target, overwrite=True, progress=still_there)
    assert (cs.ImagingSession.open(target).movie == 2).all()
    assert leftovers(tmp_path) == ["s.zarr"]
    movie_of(3).cs.to_zarr(tmp_path / "new.zarr", overwrite=True, progress=False)


@pytest.mark.parametrize("kind", ["folder", "file", "zarr", "thesis in a store", "link"])
def test_only_stores_of_ours_are_replaced(tmp_path, kind):
    target = tmp_path / "s.zarr"
    if kind == "folder":
        target.mkdir()
        (target / "thesis.txt").write_text("three years")
    elif kind == "file":
        target.write_text("three years")
    elif kind == "zarr":
        xr.Dataset({"a": ("x", np.arange(3))}).to_zarr(target, zarr_format=3, consolidated=False)
    else:
        movie_of(1).cs.to_zarr(target, progress=False)
        (target / "thesis.txt").write_text("three years")
        if kind == "link":
            (target / "thesis.txt").unlink()
            target.rename(tmp_path / "real")
            target.symlink_to(tmp_path / "real")
    before = {file: file.read_bytes() for file in tmp_path.rglob("*") if file.is_file()}
    with pytest.raises(TargetExistsError, match=r"is no calscipy store|not of the store.*thesis"):
        movie_of(2).cs.to_zarr(target, overwrite=True, progress=False)
    assert before == {file: file.read_bytes() for file in tmp_path.rglob("*") if file.is_file()}


@pytest.mark.parametrize("chunks", ["frames", None])
def test_what_a_session_reads_is_not_replaced(tmp_path, chunks):
    target = tmp_path / "s.zarr"
    movie_of(1).cs.to_zarr(target, progress=False)
    session = cs.ImagingSession.open(target, chunks=chunks)
    with pytest.raises(TargetExistsError, match="lazily reads from"):
        session.save(target, overwrite=True, progress=False)
    loaded = cs.ImagingSession(session.tree.compute())
    loaded.assign(movie=loaded.movie + 1).save(target, overwrite=True, progress=False)
    assert (cs.ImagingSession.open(target).movie == 2).all()


def test_the_old_store_comes_back_if_the_new_one_cannot_be_renamed(tmp_path, monkeypatch):
    target = tmp_path / "s.zarr"
    movie_of(1).cs.to_zarr(target, progress=False)
    original = Path.rename

    def refuse(self, to):
        if self.name.endswith(".partial") and Path(to) == target:
            raise PermissionError(13, "Permission denied", str(self))
        return original(self, to)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "rename", refuse)
        with pytest.raises(StoreError, match="Permission denied"):
            movie_of(2).cs.to_zarr(target, overwrite=True, progress=False)
    assert (cs.ImagingSession.open(target).movie == 1).all()
    movie_of(2).cs.to_zarr(target, overwrite=True, progress=False)
    assert leftovers(tmp_path) == ["s.zarr"]


# -- chunks --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("chunks", "inner", "shards"),
    [
        ("hybrid", (64, 64, 128), (128, 256, 256)),
        ("frames", (8, 200, 130), (128, 200, 130)),
        ("time", (128, 16, 16), (128, 208, 144)),
    ],
)
def test_inner_chunks_serve_what_they_are_for(chunks, inner, shards):
    movie = cs.from_numpy(da.zeros((300, 200, 130), chunks=(128, -1, -1)), frame_rate=30)
    plan = plan_store({"movie": movie.to_dataset()}, {}, chunks)
    found = plan.encoding["movie"]["movie"]
    assert (found["chunks"], found["shards"]) == (inner, shards)


@pytest.mark.parametrize("frames", [1, 61, 149, 131])
@pytest.mark.parametrize("rows", [7, 17, 40])
def test_chunks_divide_shards_whatever_the_blocks_are(frames, rows):
    for chunks in ("hybrid", "frames", "time"):
        movie = cs.from_numpy(da.zeros((300, 80, 50), chunks=(frames, rows, -1)), frame_rate=30)
        plan = plan_store({"movie": movie.to_dataset()}, {}, chunks)
        found = plan.encoding["movie"]["movie"]
        data = plan.arrays[0].data
        for inner, shard, block, parts in zip(
            found["chunks"], found["shards"], data.chunksize, data.numblocks, strict=True
        ):
            assert shard % inner == 0
            assert shard == block if parts > 1 else shard >= block
            assert inner > 1 or block == 1 or chunks == "frames"


@pytest.mark.parametrize("name", ["a/b", ".hidden", "..", "zarr.json", "C:x", "a\\b"])
def test_names_of_variables_that_no_file_may_have_are_refused_at_once(tmp_path, name):
    traces = cs.from_numpy(np.zeros((2, 5)), frame_rate=30).rename(name)
    with pytest.raises((StoreError, ValueError), match=r"Rename|forward slash|'/'"):
        traces.cs.to_zarr(tmp_path / "s.zarr", progress=False)
    assert leftovers(tmp_path) == []
