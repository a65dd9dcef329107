"""What interrupted saves leave is found; only what is ours and nobody's any more is removed."""

import json
import os
import shutil
import socket
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from calscipy.errors import ArgumentError, StoreError
from calscipy.io.store.clean import clean, find_stages
from calscipy.io.store.journal import Journal
from calscipy.io.store.stage import LOCK, Lock

FIRST = Path(__file__).parent / "stores" / "schema-1.zip"
JOB = "0123456789ab"


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "thesis.txt").write_text("three years")
    return tmp_path


def make_stage(folder, name="m.zarr", job=JOB, facts=None, age=1000):
    stage = folder / f".{name}.{job}.partial"
    stage.mkdir()
    Journal(stage).begin({"job": job} if facts is None else facts)
    (stage / "zarr.json").write_text("{}")
    (stage / "movie").mkdir()
    (stage / "movie/shard").write_bytes(bytes(1000))
    make_old(stage, age)
    return stage


def make_old(path, age):
    import time

    for parent, folders, files in os.walk(path):
        for name in [*folders, *files]:
            os.utime(Path(parent, name), (time.time() - age,) * 2, follow_symlinks=False)
    os.utime(path, (time.time() - age,) * 2)


def states(folder):
    return {item.path.name: item.state for item in find_stages(folder)}


def names(folder):
    return sorted(os.listdir(folder))


def test_an_abandoned_stage_is_listed_and_removed_only_when_told_to(folder):
    stage = make_stage(folder)
    (found,) = find_stages(folder)
    assert (found.path, found.target, found.state) == (stage, "m.zarr", "abandoned")
    assert found.nbytes >= 1000
    assert 900 < found.age < 1100
    assert [item.path for item in clean(folder)] == [stage]
    assert stage.is_dir()
    assert [item.path for item in clean(folder, dry_run=False)] == [stage]
    assert names(folder) == ["thesis.txt"]
    assert clean(folder, dry_run=False) == []


def test_younger_ones_may_be_left(folder):
    stage = make_stage(folder)
    assert clean(folder, older_than=2000, dry_run=False) == []
    assert [item.path for item in clean(folder, older_than=500, dry_run=False)] == [stage]
    with pytest.raises(ArgumentError, match="older_than"):
        clean(folder, older_than=-1)
    with pytest.raises(ArgumentError, match="older_than"):
        clean(folder, older_than=float("nan"))


def test_a_stage_in_use_is_never_removed(folder):
    stage = make_stage(folder)
    code = (
        "import sys; from pathlib import Path; from calscipy.io.store.stage import Lock\n"
        "with Lock(Path(sys.argv[1])): print('locked', flush=True); sys.stdin.read()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code, str(stage)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    ) as process:  # fmt: skip
        assert process.stdout.readline() == "locked\n"
        assert states(folder) == {stage.name: "in use"}
        for force in (False, True):
            assert clean(folder, dry_run=False, force=force) == []
        assert stage.is_dir()
        process.stdin.close()
    assert states(folder) == {stage.name: "abandoned"}


def test_a_stage_that_its_process_was_killed_in_is_abandoned(folder):
    stage = make_stage(folder)
    code = (
        "import os, sys; from pathlib import Path; from calscipy.io.store.stage import Lock\n"
        "Lock(Path(sys.argv[1])).__enter__(); os.kill(os.getpid(), 9)"
    )
    subprocess.run([sys.executable, "-c", code, str(stage)], check=False)
    assert (stage / LOCK).read_text()
    assert states(folder) == {stage.name: "abandoned"}
    clean(folder, dry_run=False)
    assert names(folder) == ["thesis.txt"]


def test_a_stage_of_another_computer_is_removed_only_with_force(folder):
    stage = make_stage(folder)
    (stage / LOCK).write_text("another-host 42")
    (found,) = find_stages(folder)
    assert found.state == "unknown"
    assert "process 42 on another-host" in found.detail
    assert clean(folder, dry_run=False) == []
    assert [item.path for item in clean(folder, dry_run=False, force=True)] == [stage]
    assert names(folder) == ["thesis.txt"]


def test_that_this_process_works_in_is_in_use(folder):
    stage = make_stage(folder)
    with Lock(stage):
        assert states(folder) == {stage.name: "in use"}
    assert (stage / LOCK).read_text() == ""
    assert socket.gethostname()


@pytest.mark.parametrize(
    "facts", [{}, {"job": "0" * 12}, [], "text"], ids=["none", "other", "list", "text"]
)
def test_without_our_marks_a_folder_is_not_ours(folder, facts):
    stage = make_stage(folder, facts=facts)
    assert find_stages(folder) == []
    assert clean(folder, dry_run=False, force=True) == []
    assert stage.is_dir()


@pytest.mark.parametrize(
    "name",
    [
        ".m.zarr.partial",
        f"m.zarr.{JOB}.partial",
        f".m.zarr.{JOB}.partial.d.txt",
        ".partial",
        f"..{JOB}.partial"[1:],
        f".m.zarr.{JOB.upper()}.partial",
    ],
)
def test_other_names_are_not_looked_at(folder, name):
    (folder / name).mkdir()
    make_old(folder / name, 1000)
    assert find_stages(folder) == []


def test_a_stage_that_was_killed_before_it_began(folder):
    for number, content in enumerate(([], [LOCK], [LOCK, ".journal/"])):
        stage = folder / f".m{number}.zarr.{JOB}.partial"
        stage.mkdir()
        for name in content:
            (stage / name).mkdir() if name.endswith("/") else (stage / name).touch()
    assert set(states(folder).values()) == {"in use"}  # may be beginning just now
    for stage in folder.glob(".m*"):
        make_old(stage, 100)
    assert set(states(folder).values()) == {"abandoned"}
    assert len(clean(folder, dry_run=False)) == 3
    assert names(folder) == ["thesis.txt"]


def test_a_folder_of_the_same_name_with_anything_else_in_it(folder):
    stage = folder / f".m.zarr.{JOB}.partial"
    stage.mkdir()
    (stage / "mine.txt").write_text("mine")
    make_old(stage, 1000)
    assert clean(folder, dry_run=False, force=True) == []
    assert (stage / "mine.txt").read_text() == "mine"


@pytest.mark.skipif(os.name == "nt", reason="links need rights on Windows")
def test_links_are_never_followed(folder, tmp_path_factory):
    outside = tmp_path_factory.mktemp("outside")
    (outside / "mine.txt").write_text("mine")
    elsewhere = make_stage(outside)
    (folder / elsewhere.name).symlink_to(elsewhere)
    assert find_stages(folder) == []
    stage = make_stage(folder, name="n.zarr")
    (stage / "movie/link").symlink_to(outside)
    (stage / "movie/file").symlink_to(outside / "mine.txt")
    (found,) = clean(folder, dry_run=False)
    assert found.nbytes < 3000
    assert names(folder) == [elsewhere.name, "thesis.txt"]
    assert (outside / "mine.txt").read_text() == "mine"
    assert elsewhere.is_dir()


@pytest.mark.skipif(os.name == "nt", reason="links need rights on Windows")
def test_a_journal_that_is_a_link_is_no_mark(folder):
    stage = make_stage(folder)
    shutil.move(stage / ".journal", folder / "journal")
    (stage / ".journal").symlink_to(folder / "journal")
    make_old(stage, 1000)
    assert clean(folder, dry_run=False, force=True) == []
    assert stage.is_dir()


def test_what_was_being_removed_is_removed(folder):
    gone = folder / ".0123456789abcdef.gone.partial"
    gone.mkdir()
    (gone / "rest").write_bytes(b"x")
    assert states(folder) == {gone.name: "abandoned"}
    clean(folder, dry_run=False)
    assert names(folder) == ["thesis.txt"]


def test_a_replaced_store_is_removed_only_if_its_replacement_is_there(folder):
    with zipfile.ZipFile(FIRST) as archive:
        archive.extractall(folder)
    old = (folder / "first.zarr").rename(folder / ".first.zarr.0123abcd.old")
    (found,) = find_stages(folder)
    assert found.state == "needed"
    assert "rename it to 'first.zarr'" in found.detail
    assert clean(folder, dry_run=False, force=True) == []
    shutil.copytree(old, folder / "first.zarr")
    assert states(folder) == {old.name: "abandoned"}
    clean(folder, dry_run=False)
    assert names(folder) == ["first.zarr", "thesis.txt", "values.npz"]


def test_a_folder_named_as_a_replaced_store_is_not_ours(folder):
    (folder / ".photos.0123abcd.old").mkdir()
    (folder / ".photos.0123abcd.old/photo.jpg").write_bytes(b"x")
    assert states(folder) == {".photos.0123abcd.old": "unknown"}
    assert clean(folder, dry_run=False) == []


def test_temporary_files_of_exports_are_listed(folder):
    (folder / ".movie.0123abcd.partial.tif").write_bytes(bytes(10))
    assert states(folder) == {".movie.0123abcd.partial.tif": "unknown"}
    assert clean(folder, dry_run=False) == []
    assert len(clean(folder, dry_run=False, force=True)) == 1
    assert names(folder) == ["thesis.txt"]


def test_a_folder_that_is_not_there(folder):
    with pytest.raises(StoreError, match="there is no such folder"):
        clean(folder / "nowhere")


def test_a_journal_that_is_no_journal(folder):
    stage = make_stage(folder)
    (stage / ".journal/job.json").write_text(json.dumps([JOB]))
    assert find_stages(folder) == []
