"""Files appear whole under their name, or not at all."""

import errno
import os
from pathlib import Path

import pytest

from calscipy.errors import RecordingError, StoreError, TargetExistsError
from calscipy.io import output
from calscipy.io.output import new_file, new_folder


def test_a_file_gets_its_name_when_it_is_whole(tmp_path: Path):
    target = tmp_path / "été 12.tif"
    with new_file(target) as temporary:
        assert temporary.parent == tmp_path
        assert temporary.suffix == ".tif"
        temporary.write_bytes(b"whole")
        assert not target.exists()
    assert target.read_bytes() == b"whole"
    assert list(tmp_path.iterdir()) == [target]


def test_a_folder_gets_its_name_when_it_is_whole(tmp_path: Path):
    target = tmp_path / "plane0"
    with new_folder(target) as temporary:
        (temporary / "inner").mkdir()
        (temporary / "inner" / "ops.npy").write_bytes(b"ops")
        assert not target.exists()
    assert (target / "inner" / "ops.npy").read_bytes() == b"ops"
    assert list(tmp_path.iterdir()) == [target]


@pytest.mark.parametrize("make", [new_file, new_folder])
def test_nothing_stays_after_a_failure(tmp_path: Path, make):
    with pytest.raises(IsADirectoryError), make(tmp_path / "a.nc") as temporary:
        _half(temporary)
    assert list(tmp_path.iterdir()) == []


def _half(temporary: Path) -> None:
    (temporary / "half" if temporary.is_dir() else temporary).write_bytes(b"half")
    raise IsADirectoryError("an error of the writer")


@pytest.mark.parametrize("make", [new_file, new_folder])
@pytest.mark.parametrize("kind", ["file", "folder", "broken link"])
def test_what_exists_is_refused_untouched(tmp_path: Path, make, kind: str):
    target = tmp_path / "theirs"
    if kind == "file":
        target.write_text("thesis")
    elif kind == "folder":
        target.mkdir()
    else:
        target.symlink_to(tmp_path / "nowhere")
    with pytest.raises(TargetExistsError, match="never writes over"), make(target):
        pass
    assert list(tmp_path.iterdir()) == [target]


@pytest.mark.parametrize("links", [True, False])
def test_what_appears_meanwhile_is_not_written_over(tmp_path: Path, monkeypatch, links: bool):
    target = tmp_path / "a.csv"
    if not links:
        monkeypatch.setattr(os, "link", _no_links)
    with pytest.raises(TargetExistsError), new_file(target) as temporary:
        _two_writers(temporary, target)
    assert target.read_text() == "theirs"
    assert list(tmp_path.iterdir()) == [target]


def test_what_appears_at_the_last_moment_is_not_written_over(tmp_path: Path, monkeypatch):
    target = tmp_path / "a.csv"
    monkeypatch.setattr(output, "flush", lambda file: None)
    looked: list[Path] = []
    real = output.require_free

    def require_free(path: Path) -> None:
        real(path)
        looked.append(path)
        if len(looked) == 2:  # another program, just after the second look
            target.write_text("theirs")

    monkeypatch.setattr(output, "require_free", require_free)
    with pytest.raises(TargetExistsError), new_file(target) as temporary:
        temporary.write_text("ours")
    assert target.read_text() == "theirs"
    assert list(tmp_path.iterdir()) == [target]


def _two_writers(temporary: Path, target: Path) -> None:
    temporary.write_text("ours")
    target.write_text("theirs")


def _no_links(*args: object) -> None:
    raise PermissionError(errno.EPERM, "no links here")


def test_a_file_system_without_links_will_do(tmp_path: Path, monkeypatch):
    monkeypatch.setattr(os, "link", _no_links)
    with new_file(tmp_path / "a.csv") as temporary:
        temporary.write_text("ours")
    assert (tmp_path / "a.csv").read_text() == "ours"


@pytest.mark.parametrize("at", range(2))
def test_a_full_disk_leaves_nothing_and_says_so(tmp_path: Path, monkeypatch, at: int):
    calls = []

    def fsync(descriptor: int) -> None:
        calls.append(descriptor)
        if len(calls) == at + 1:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", fsync)
    with pytest.raises(StoreError, match="the disk is full"), new_folder(tmp_path / "a") as folder:
        (folder / "b").write_bytes(b"b")
    assert list(tmp_path.iterdir()) == []


def test_errors_of_the_source_pass_unchanged(tmp_path: Path):
    with pytest.raises(RecordingError, match="frame 7"), new_file(tmp_path / "a"):
        raise RecordingError("frame 7 is damaged")


def test_a_missing_folder_is_named(tmp_path: Path):
    with pytest.raises(StoreError, match="no such folder"), new_file(tmp_path / "b" / "a"):
        pass


def test_long_names_leave_room_for_the_temporary_one(tmp_path: Path):
    target = tmp_path / ("é" * 120 + ".tiff")  # 245 bytes
    with new_file(target) as temporary:
        temporary.write_bytes(b"")
    assert target.exists()
