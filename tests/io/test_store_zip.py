"""Stores in one zip file."""

import errno
import os
import pickle
import shutil
import stat
import threading
import zipfile
from pathlib import Path

import dask
import numpy as np
import pytest
import zarr

from calscipy.errors import ArgumentError, StoreError, TargetExistsError
from calscipy.io import output
from calscipy.io.store.archive import Archive
from calscipy.io.store.contents import is_store
from calscipy.io.store.files import MANIFEST, METADATA, files_of, is_metadata
from calscipy.io.store.manifest import shard_entry, write_manifest
from calscipy.io.store.opening import open_store
from calscipy.io.store.verify import verify_store
from calscipy.io.store.zipping import to_zip

FIRST = Path(__file__).parent / "stores" / "schema-1.zip"


@pytest.fixture(autouse=True, scope="module")
def _one_thread():
    with dask.config.set(scheduler="sync"):
        yield


@pytest.fixture
def store(tmp_path):
    with zipfile.ZipFile(FIRST) as archive:
        archive.extractall(tmp_path)
    store = tmp_path / "first.zarr"
    write_manifest(
        store, {n: shard_entry(store / n) for n in files_of(store) if not is_metadata(n)}
    )
    return store


@pytest.fixture
def zipped(store, tmp_path):
    return to_zip(store, tmp_path / "first.zarr.zip", progress=False)


def test_it_opens_as_the_folder_does(store, zipped):
    ours, theirs = open_store(zipped, verify="full"), open_store(store)
    for group, node in theirs.children.items():
        assert ours[group].to_dataset().compute().identical(node.to_dataset().compute())
        for name, variable in node.to_dataset().data_vars.items():
            assert ours[group][name].chunks == variable.chunks
    assert verify_store(zipped, progress=False).ok
    assert is_store(zipped)


def test_it_is_a_plain_zip_without_compression(store, zipped):
    with zipfile.ZipFile(zipped) as archive:
        assert archive.testzip() is None
        infos = archive.infolist()
        assert {info.compress_type for info in infos} == {zipfile.ZIP_STORED}
        assert {info.filename for info in infos} == {*files_of(store), MANIFEST}
        assert archive.read(MANIFEST) == (store / MANIFEST).read_bytes()
    with zarr.storage.ZipStore(zipped, mode="r") as plain:
        movie = zarr.open_array(plain, path="movie/movie", mode="r")[:]
    np.testing.assert_array_equal(movie, open_store(store)["movie/movie"])


def test_the_same_store_makes_the_same_file(store, zipped, tmp_path):
    again = to_zip(store, tmp_path / "again.zip", progress=False)
    assert again.read_bytes() == zipped.read_bytes()


def test_unpacked_it_is_the_store(zipped, tmp_path):
    with zipfile.ZipFile(zipped) as archive:
        archive.extractall(tmp_path / "unpacked")
    assert verify_store(tmp_path / "unpacked", progress=False).ok


def test_parts_are_read_by_several_threads_and_processes(store, zipped):
    expected = open_store(store)["movie/movie"].values
    movie = open_store(zipped)["movie/movie"]
    found = {}

    def read(frame):
        found[frame] = movie[frame, :, :, 3:7, 2].values

    threads = [threading.Thread(target=read, args=(frame,)) for frame in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for frame in range(12):
        np.testing.assert_array_equal(found[frame], expected[frame, :, :, 3:7, 2])
    content = pickle.dumps(movie.variable)
    assert len(content) < 10_000
    np.testing.assert_array_equal(pickle.loads(content), expected)


def test_a_store_of_the_first_schema(store, tmp_path):
    (store / MANIFEST).unlink()
    path = to_zip(store, tmp_path / "old.zip", progress=False)
    assert not verify_store(path, progress=False).checksums
    assert open_store(path)["movie/movie"].compute().any()


def test_every_bit_flip_in_a_file_is_found(zipped):
    rng = np.random.default_rng(5)
    before = zipped.read_bytes()
    members = Archive(zipped).members
    with open(zipped, "rb") as file:
        places = [
            (members.start(file, name), info.file_size) for name, info in members.infos.items()
        ]
    for which in rng.integers(len(places), size=60):
        start, size = places[which]
        changed = bytearray(before)
        changed[start + rng.integers(size)] ^= 1 << int(rng.integers(8))
        zipped.write_bytes(changed)
        assert not verify_store(zipped, progress=False).ok
        with pytest.raises(StoreError):
            open_store(zipped, verify="full")


@pytest.mark.parametrize("part", [0, 10, 0.3, 0.9, -1, -30])
def test_a_cut_zip_is_refused(zipped, part):
    content = zipped.read_bytes()
    zipped.write_bytes(content[: int(part * len(content)) if isinstance(part, float) else part])
    with pytest.raises(StoreError, match=r"first\.zarr\.zip: not a zip file of a store"):
        open_store(zipped)
    (file,) = verify_store(zipped, progress=False).bad
    assert "not a zip file of a store" in file.detail


def build(path, store, change):
    """Write a zip of a store, its entries changed by ``change(info) -> content or None``."""
    with zipfile.ZipFile(path, "w") as archive:
        for name in sorted(files_of(store)) + [MANIFEST]:  # noqa: RUF005
            info = zipfile.ZipInfo(name)
            content = (store / name).read_bytes()
            archive.writestr(info, change(info, content))


def compressed(info, content):
    info.compress_type = zipfile.ZIP_DEFLATED
    return content


def renamed(old, new):
    def change(info, content):
        info.filename = new if info.filename == old else info.filename
        return content

    return change


def linked(info, content):
    if info.filename.endswith("c/0"):
        info.external_attr = (stat.S_IFLNK | 0o777) << 16
    return content


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (compressed, "is compressed"),
        (linked, "is a link"),
        (renamed("movie/time/c/0", "../../thesis.txt"), "not the path of a file"),
        (renamed("movie/time/c/0", "/etc/passwd"), "not the path of a file"),
        (renamed("movie/time/c/0", ".hidden"), "not the path of a file"),
    ],
)
def test_members_that_we_never_write(store, tmp_path, change, reason):
    path = tmp_path / "x.zip"
    build(path, store, change)
    with pytest.raises(StoreError, match=f"{reason}.*unpack it"):
        open_store(path)


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_a_name_that_is_there_twice(zipped):
    with zipfile.ZipFile(zipped, "a") as archive:
        archive.writestr("movie/time/c/0", b"x")
    with pytest.raises(StoreError, match="is in it twice"):
        open_store(zipped)


def test_an_encrypted_member(zipped):
    content = bytearray(zipped.read_bytes())
    at = content.find(b"PK\x01\x02")
    content[at + 8] |= 1
    zipped.write_bytes(content)
    with pytest.raises(StoreError, match="is encrypted"):
        open_store(zipped)


def test_files_over_one_another(zipped):
    """A member that claims the bytes of all others, as bombs do."""
    content = bytearray(zipped.read_bytes())
    size = (len(content) - 100).to_bytes(4, "little")
    at = content.find(b"PK\x01\x02")
    content[at + 20 : at + 28] = size + size
    zipped.write_bytes(content)
    with pytest.raises(StoreError, match="lie over one another"):
        open_store(zipped)


def test_a_list_of_files_without_end(zipped):
    content = bytearray(zipped.read_bytes())
    at = content.rfind(b"PK\x05\x06")
    content[at + 12 : at + 16] = (2**31).to_bytes(4, "little")
    zipped.write_bytes(content)
    with pytest.raises(StoreError, match="a list of files of 2147483648 bytes"):
        open_store(zipped)


def test_a_foreign_zip(tmp_path):
    with zipfile.ZipFile(tmp_path / "photos.zip", "w") as archive:
        archive.writestr("photo.jpg", b"x")
    with pytest.raises(StoreError, match="not a readable zarr 3 group"):
        open_store(tmp_path / "photos.zip")


def test_folders_in_the_list_are_passed_over(store, tmp_path):
    path = tmp_path / "x.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.mkdir("movie")
        for name in [*files_of(store), MANIFEST]:
            archive.write(store / name, name)
    assert open_store(path, verify="full")["movie/movie"].compute().any()


# -- writing -------------------------------------------------------------------------------------


def test_what_is_there_is_left_alone(store, tmp_path):
    (tmp_path / "mine.zip").write_text("mine")
    with pytest.raises(TargetExistsError):
        to_zip(store, tmp_path / "mine.zip")
    assert (tmp_path / "mine.zip").read_text() == "mine"


def test_names_and_sources_that_do_not_fit(store, zipped, tmp_path):
    with pytest.raises(ArgumentError, match=r"ends in '\.zip'"):
        to_zip(store, tmp_path / "x.tar")
    with pytest.raises(StoreError, match="a zip file already"):
        to_zip(zipped, tmp_path / "x.zip")
    with pytest.raises(StoreError, match="not a readable zarr 3 group"):
        to_zip(tmp_path, tmp_path / "x.zip")


@pytest.mark.parametrize("damage", ["flip", "missing", "edited"])
def test_a_damaged_store_is_not_zipped(store, tmp_path, damage):
    file = store / ("movie/movie/zarr.json" if damage == "edited" else "movie/movie/c/0/0/0/0/0")
    content = bytearray(file.read_bytes().replace(b'"units": "count"', b'"units": "volts"'))
    if damage == "flip":
        content[50] ^= 1
    file.write_bytes(content)
    if damage == "missing":
        file.unlink()
    with pytest.raises(StoreError, match=file.relative_to(store).as_posix()):
        to_zip(store, tmp_path / "x.zip", progress=False)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["first.zarr", "values.npz"]


def test_a_full_disk_leaves_nothing(store, tmp_path, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(output.os, "fsync", full)
    with pytest.raises(StoreError, match="the disk is full"):
        to_zip(store, tmp_path / "x.zip", progress=False)
    monkeypatch.undo()
    monkeypatch.setattr(shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(10, 10, 10))
    with pytest.raises(StoreError, match="free space"):
        to_zip(store, tmp_path / "x.zip", progress=False)
    assert sorted(os.listdir(tmp_path)) == ["first.zarr", "values.npz"]


def test_names_with_spaces_and_of_any_language(store, tmp_path):
    folder = tmp_path / "Mäuse und 마우스"
    folder.mkdir()
    moved = shutil.move(store, folder / "Δ F.zarr")
    path = to_zip(moved, folder / "Δ F.zarr.zip", progress=False)
    assert open_store(path, verify="full")["movie/movie"].compute().any()
    assert METADATA in files_of(moved)
