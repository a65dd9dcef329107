"""The manifest of a store: what it lists, and which ones are refused."""

import hashlib
import json
import os

import pytest

from calscipy.errors import StoreError
from calscipy.io.store import files, manifest
from calscipy.io.store.files import MANIFEST, METADATA, files_of, require_inside
from calscipy.io.store.manifest import (
    BadFile,
    Manifest,
    MetadataEntry,
    ShardEntry,
    compare_metadata,
    compare_sizes,
    decode,
    encode,
    next_manifest,
    read_manifest,
    shard_entry,
    unlisted_yet,
    write_manifest,
)

ROOT = MetadataEntry(2, hashlib.sha256(b"{}").hexdigest())


@pytest.fixture
def store(tmp_path):
    """A folder with the files of a store, whatever is in them."""
    root = tmp_path / "s.zarr"
    (root / "movie/movie/c/0").mkdir(parents=True)
    for name, content in {
        METADATA: b"{}",
        "movie/zarr.json": b"{ }",
        "movie/movie/zarr.json": b"{  }",
        "movie/movie/c/0/0": b"123456789",
        "movie/movie/c/0/1": bytes(1000),
    }.items():
        (root / name).write_bytes(content)
    return root


def shards_of(root):
    found = files_of(root)
    return {name: shard_entry(root / name) for name in found if not name.endswith(METADATA)}


def test_what_is_written_is_read(store):
    written = write_manifest(store, shards_of(store))
    found = read_manifest(store)
    assert found == written
    assert found.data["movie/movie/c/0/0"] == ShardEntry(9, 0xE3069283)  # RFC 3720, appendix B.4
    assert found.metadata[METADATA] == ROOT
    assert found.sizes == files_of(store)
    assert compare_sizes(found, files_of(store)) == []
    assert sorted(path.name for path in store.iterdir()) == [MANIFEST, "movie", METADATA]


def test_it_is_json_that_others_can_read(store):
    write_manifest(store, shards_of(store))
    content = json.loads((store / MANIFEST).read_bytes())
    assert content["data"]["movie/movie/c/0/0"] == {"size": 9, "crc32c": "e3069283"}
    for name, entry in content["metadata"].items():
        assert entry["sha256"] == hashlib.sha256((store / name).read_bytes()).hexdigest()


def test_a_store_without_one(store):
    assert read_manifest(store) is None


@pytest.mark.parametrize("change", ["missing", "extra", "size"])
def test_files_that_are_not_as_they_were_written_are_not_sealed(store, change):
    shards = shards_of(store)
    if change == "missing":
        (store / "movie/movie/c/0/1").unlink()
    elif change == "extra":
        shards.pop("movie/movie/c/0/1")
    else:
        (store / "movie/movie/c/0/1").write_bytes(b"")
    with pytest.raises(StoreError, match=r"c/0/1 \(.*save it again"):
        write_manifest(store, shards)
    assert not (store / MANIFEST).exists()


def test_names_that_only_one_system_takes_are_refused(store):
    (store / "movie/a:b").write_bytes(b"1")
    with pytest.raises(StoreError, match=r"'movie/a:b' .*Rename the variable"):
        write_manifest(store, shards_of(store))


def test_a_failure_leaves_the_old_manifest(store, monkeypatch):
    write_manifest(store, shards_of(store))
    before = (store / MANIFEST).read_bytes()
    (store / "movie/movie/c/0/2").write_bytes(b"more")

    def fail(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(files.os, "fsync", fail)
    with pytest.raises(OSError, match="No space left"):
        write_manifest(store, shards_of(store))
    assert (store / MANIFEST).read_bytes() == before
    assert sorted(path.name for path in store.iterdir()) == [MANIFEST, "movie", METADATA]


def test_every_single_bit_flip_in_a_manifest_is_found(store):
    write_manifest(store, shards_of(store))
    content = (store / MANIFEST).read_bytes()
    for at in range(8 * len(content)):
        changed = bytearray(content)
        changed[at // 8] ^= 1 << at % 8
        with pytest.raises(StoreError):
            decode(bytes(changed), "m")
    for length in range(len(content)):
        with pytest.raises(StoreError):
            decode(content[:length], "m")
    assert decode(content, "m") == read_manifest(store)


def sealed(**content):
    """The bytes of a manifest whose own checksum is right, whatever else is in it."""
    whole = {"calscipy_manifest": 1, "calscipy_version": "0", "data": {}, "metadata": {}} | content
    body = json.dumps(whole, separators=(",", ":")).encode()
    return body[:-1] + b',"sha256":"' + hashlib.sha256(body).hexdigest().encode() + b'"}'


GOOD = {"size": 2, "sha256": "0" * 64}
SHARD = {"size": 2, "crc32c": "00000000"}


def test_the_sealed_bytes_of_the_tests_are_accepted():
    found = decode(sealed(metadata={METADATA: GOOD}, data={"m/c/0": SHARD}), "m")
    assert found.data == {"m/c/0": ShardEntry(2, 0)}


@pytest.mark.parametrize(
    "path",
    ["../x", "m/../../x", "/etc/passwd", "C:/x", "m\\..\\x", "m//x", "", ".hidden", "m/.x",
     "m/x\0", "m/\n", "a/" * 40 + "x", "x" * 2000, "./x", "m/x/"],
)  # fmt: skip
def test_paths_out_of_the_store_are_refused(path):
    with pytest.raises(ValueError, match="is not the path of a file in a store"):
        require_inside(path)
    with pytest.raises(StoreError, match="the manifest is damaged"):
        decode(sealed(metadata={METADATA: GOOD}, data={path: SHARD}), "m")


def test_names_in_any_language_are_paths():
    require_inside("traces/ΔF F₀/c/0")


@pytest.mark.parametrize(
    "content",
    [
        sealed(),
        sealed(metadata=[]),
        sealed(metadata={METADATA: GOOD}, data=[["m/c/0", 2]]),
        sealed(metadata={METADATA: GOOD}, data={"m/c/0": {"size": -1, "crc32c": "0" * 8}}),
        sealed(metadata={METADATA: GOOD}, data={"m/c/0": {"size": 2.0, "crc32c": "0" * 8}}),
        sealed(metadata={METADATA: GOOD}, data={"m/c/0": {"size": True, "crc32c": "0" * 8}}),
        sealed(metadata={METADATA: GOOD}, data={"m/c/0": {"size": 2, "crc32c": "0" * 9}}),
        sealed(metadata={METADATA: GOOD}, data={"m/c/0": {"size": 2, "crc32c": "\u0660" * 8}}),
        sealed(metadata={METADATA: GOOD}, data={"m/c/0": {"size": 2, "crc32c": 0}}),
        sealed(metadata={METADATA: GOOD}, data={"m/c/0": SHARD | {"more": 1}}),
        sealed(metadata={METADATA: GOOD}, data={"m/zarr.json": SHARD}),
        sealed(metadata={METADATA: GOOD}, data={MANIFEST: SHARD}),
        sealed(metadata={METADATA: GOOD, "m/c/0": GOOD}),
        sealed(metadata={METADATA: GOOD}, more=1),
        sealed(calscipy_manifest="1", metadata={METADATA: GOOD}),
        sealed(calscipy_manifest=True, metadata={METADATA: GOOD}),
        sealed(calscipy_manifest=0, metadata={METADATA: GOOD}),
        b"",
        b"[]",
        b"null",
        b'{"a":1,"a":2}',
        b'{"a":' * 100_000,
        b"\xff\xfe",
        b'{"calscipy_manifest":1}',
    ],
    ids=range(24),
)
def test_what_is_no_manifest_is_refused(content):
    with pytest.raises(StoreError, match=r"damaged.*from a copy"):
        decode(content, "m")


def test_a_newer_format_names_both(store):
    newer = sealed(calscipy_manifest=7, calscipy_version="9.9", metadata={METADATA: GOOD})
    with pytest.raises(StoreError, match=r"format 7, written by calscipy 9\.9.*Update calscipy"):
        decode(newer, "m")


def test_a_huge_manifest_is_not_read(store, monkeypatch):
    with open(store / MANIFEST, "wb") as file:
        file.truncate(files.MAX_JSON_BYTES + 1)  # takes no room on the disk
    with pytest.raises(StoreError, match="more than the 67108864 bytes"):
        read_manifest(store)
    (store / MANIFEST).unlink()
    monkeypatch.setattr(manifest, "MAX_JSON_BYTES", 100)
    with pytest.raises(StoreError, match="Save in larger chunks"):
        write_manifest(store, shards_of(store))


@pytest.mark.skipif(os.name == "nt", reason="links need rights on Windows")
def test_links_and_devices_are_refused(store, tmp_path):
    secret = tmp_path / "secret"
    secret.write_bytes(b"123456789")
    (store / "movie/movie/c/0/2").symlink_to(secret)
    with pytest.raises(StoreError, match=r"c/0/2: a link inside a store"):
        files_of(store)
    (store / "movie/movie/c/0/2").unlink()
    (store / "movie/other").symlink_to(tmp_path)
    with pytest.raises(StoreError, match="other: a link inside a store"):
        files_of(store)
    (store / "movie/other").unlink()
    os.mkfifo(store / "movie/pipe")
    with pytest.raises(StoreError, match="pipe: neither a file nor a folder"):
        files_of(store)
    (store / "movie/pipe").unlink()
    (store / MANIFEST).symlink_to(secret)
    with pytest.raises(StoreError, match=r"manifest\.json: a link inside a store"):
        read_manifest(store)


def test_what_systems_leave_in_folders_is_passed_over(store):
    before = files_of(store)
    for name in (".DS_Store", "movie/Thumbs.db", "desktop.ini", ".lock"):
        (store / name).write_bytes(b"x")
    (store / ".journal").mkdir()
    (store / ".journal/entry").write_bytes(b"x")
    assert files_of(store) == before


def test_comparing_names_every_difference():
    wanted = Manifest({"a/c/0": ShardEntry(5, 1), "a/c/1": ShardEntry(5, 1)}, {METADATA: ROOT})
    found = {"a/c/0": 0, METADATA: 3, "a/c/2": 1}
    assert compare_sizes(wanted, found) == [
        BadFile("a/c/0", "empty", "0 bytes instead of 5"),
        BadFile("a/c/1", "missing", "missing"),
        BadFile("a/c/2", "extra", "not of this store"),
        BadFile(METADATA, "size", "3 bytes instead of 2"),
    ]
    assert compare_metadata(ROOT, b"{}", METADATA) is None
    assert compare_metadata(ROOT, b"[]", METADATA).flaw == "metadata"


def test_while_groups_are_added_the_root_tells_which_manifest_holds(store):
    old = write_manifest(store, shards_of(store))
    added = store / "traces/zarr.json"
    added.parent.mkdir()
    added.write_bytes(b"[]")
    root = b'{"new": 1}'
    entries = {
        METADATA: MetadataEntry(len(root), hashlib.sha256(root).hexdigest()),
        "traces/zarr.json": MetadataEntry(2, hashlib.sha256(b"[]").hexdigest()),
    }
    new = Manifest(dict(old.data), dict(sorted((dict(old.metadata) | entries).items())))
    (store / files.NEXT_MANIFEST).write_bytes(encode(new))
    assert next_manifest(store) == new
    assert read_manifest(store) == old
    assert unlisted_yet(store) == {"traces/zarr.json"}
    (store / METADATA).write_bytes(root)
    assert read_manifest(store) == new
    assert unlisted_yet(store) == set()
    os.replace(store / files.NEXT_MANIFEST, store / MANIFEST)
    assert read_manifest(store) == new
    assert compare_sizes(new, files_of(store)) == []
