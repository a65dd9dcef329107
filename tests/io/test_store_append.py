"""New groups come into a store, and a kill at any moment leaves it the old one or the new one."""

import errno
import os
import shutil
from pathlib import Path

import dask
import dask.array as da
import numpy as np
import pytest
import xarray as xr

import calscipy as cs
from calscipy.errors import StoreError, TargetExistsError
from calscipy.io.store import append, open_store
from calscipy.io.store.stage import stages_of
from calscipy.io.store.verify import verify_store


@pytest.fixture(autouse=True, scope="module")
def one_thread():
    with dask.config.set(scheduler="sync"):
        yield


@pytest.fixture
def labels():
    labels = np.zeros((12, 10), int)
    labels[2:5, 3:6], labels[7:9, 1:4] = 1, 2
    return labels


@pytest.fixture
def store(tmp_path):
    data = np.random.default_rng(0).integers(0, 4096, (20, 12, 10)).astype("u2")
    movie = cs.from_numpy(da.from_array(data, chunks=(5, -1, -1)), frame_rate=30)
    session = cs.ImagingSession(xr.DataTree()).assign(movie=movie)
    session.save(tmp_path / "s.zarr", progress=False)
    return tmp_path / "s.zarr"


def derived(store, labels):
    session = cs.ImagingSession.open(store)
    return session.cs.extract(labels).cs.dfof(method="mean").cs.events(method="derivative")


def shards(store):
    return {
        file: (file.stat().st_mtime_ns, file.stat().st_ino)
        for file in store.rglob("*")
        if "c" in file.relative_to(store).parts and file.is_file()
    }


def test_new_groups_are_added_and_the_others_are_not_touched(store, labels):
    before = shards(store)
    session = derived(store, labels)
    saved = session.save(store, progress=False)
    assert set(saved.tree.children) == set(session.tree.children) > {"movie"}
    for group in saved.tree.children:
        xr.testing.assert_equal(
            saved.tree[group].to_dataset().compute(), session.tree[group].to_dataset().compute()
        )
    after = shards(store)
    assert before.items() <= after.items()
    assert verify_store(store, progress=False).ok
    assert [path.name for path in store.parent.iterdir()] == ["s.zarr"]
    assert sorted(xr.open_datatree(store, engine="zarr").children) == sorted(saved.tree.children)


def test_groups_that_are_there_are_refused(store, labels):
    session = derived(store, labels)
    with pytest.raises(TargetExistsError, match=r"exists already and has movie.*never changed"):
        session.save(store, groups=("movie", "traces"), progress=False)
    saved = session.save(store, groups=("traces",), progress=False)
    with pytest.raises(TargetExistsError, match="has all groups"):
        saved.save(store, progress=False)
    changed = saved.assign(movie=saved.movie + 1)
    with pytest.raises(TargetExistsError, match=r"may differ from it in movie"):
        changed.save(store, progress=False)
    assert verify_store(store, progress=False).ok


def test_only_the_session_that_reads_from_a_store_adds_to_it(store, labels):
    other = cs.ImagingSession(xr.DataTree()).assign(
        traces=cs.from_numpy(np.ones((2, 20)), frame_rate=30)
    )
    with pytest.raises(TargetExistsError, match="exists already"):
        other.save(store, groups=("traces",), progress=False)


class Killed(BaseException):
    """The process ends here: nothing after it is done, not even tidying up."""


@pytest.mark.parametrize("step", range(9))
@pytest.mark.parametrize("afterwards", [False, True])
def test_a_kill_at_any_step_of_the_commit_leaves_a_whole_store(
    store, labels, monkeypatch, step, afterwards
):
    session = derived(store, labels)
    whole = session.tree["traces"].to_dataset().compute()
    calls = {"n": 0}

    def stopping(original):
        def call(*args, **kwargs):
            calls["n"] += 1
            if calls["n"] == step + 1 and not afterwards:
                raise Killed
            result = original(*args, **kwargs)
            if calls["n"] == step + 1:
                raise Killed
            return result

        return call

    def commit(*args):
        with monkeypatch.context() as patch:
            for name in ("write_whole", "flush_folder", "discard"):
                patch.setattr(append, name, stopping(getattr(append, name)))
            patch.setattr(append.Path, "rename", stopping(append.Path.rename))
            patch.setattr(append.os, "replace", stopping(os.replace))
            original_commit(*args)

    original_commit = append.commit
    stage = None
    with monkeypatch.context() as patch:
        patch.setattr(append, "commit", commit)
        try:
            session.save(store, progress=False)
        except Killed:
            stage = stages_of(store)
    tree = open_store(store, verify="full")
    assert verify_store(store, progress=False).ok
    np.testing.assert_array_equal(tree["movie/movie"], session.movie)
    new = set(tree.children) - {"movie"}
    assert new in (set(), {"traces", "events", "rois"} & set(session.tree.children))
    if new:
        xr.testing.assert_equal(tree["traces"].to_dataset().compute(), whole)
        return
    # The same save goes on, whether its stage is still there or somebody cleaned it away.
    if step % 2 and stage:
        shutil.rmtree(stage[0])
    saved = derived(store, labels).save(store, progress=False)
    assert verify_store(store, progress=False).ok
    xr.testing.assert_equal(saved.tree["traces"].to_dataset().compute(), whole)


def test_a_full_disk_while_adding_leaves_the_old_store(store, labels, monkeypatch):
    session = derived(store, labels)
    with monkeypatch.context() as patch:

        def full(*args):
            raise OSError(errno.ENOSPC, "No space left on device", "x")

        patch.setattr(append, "write_whole", full)
        with pytest.raises(StoreError, match="No space left"):
            session.save(store, progress=False)
    assert verify_store(store, progress=False).ok
    assert list(open_store(store).children) == ["movie"]
    session.save(store, progress=False)
    assert verify_store(store, progress=False).ok


def test_a_store_of_the_first_save_takes_new_groups(tmp_path, labels):
    kept = Path(__file__).parent / "stores" / "schema-1.zip"
    shutil.unpack_archive(kept, tmp_path)
    found = next(tmp_path.rglob("first.zarr"))
    session = cs.ImagingSession.open(found)
    before = set(session.tree.children)
    values = session.traces.values
    signal = xr.DataArray(np.arange(6.0)[None], dims=("signal", "time"), name="voltage")
    session = cs.ImagingSession(session.tree.assign({"voltage": xr.DataTree(signal.to_dataset())}))
    saved = session.save(found, groups=("voltage",), progress=False)
    assert set(saved.tree.children) == before | {"voltage"}
    np.testing.assert_array_equal(saved.voltage, signal)
    np.testing.assert_array_equal(saved.traces.values, values)
