"""Damage of every kind is found by `verify`, and never opens as data when it is asked for."""

import os
import shutil
import zipfile
from pathlib import Path

import dask
import numpy as np
import pytest

import calscipy as cs
from calscipy import model
from calscipy.errors import StoreError
from calscipy.io.store.files import MANIFEST, METADATA, files_of, is_metadata
from calscipy.io.store.manifest import shard_entry, write_manifest
from calscipy.io.store.opening import open_store
from calscipy.io.store.verify import verify_store

FIRST = Path(__file__).parent / "stores" / "schema-1.zip"


@pytest.fixture(autouse=True, scope="module")
def _one_thread():
    with dask.config.set(scheduler="sync"):
        yield


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    """A store of two channels, traces and names, with its manifest; not to be changed."""
    root = tmp_path_factory.mktemp("small")
    with zipfile.ZipFile(FIRST) as archive:
        archive.extractall(root)
    store = root / "first.zarr"
    for group in ("events", "rois"):
        shutil.rmtree(store / group)
    write_manifest(
        store, {n: shard_entry(store / n) for n in files_of(store) if not is_metadata(n)}
    )
    return store


@pytest.fixture
def store(small, tmp_path):
    return Path(shutil.copytree(small, tmp_path / "s.zarr"))


def bad_paths(store):
    return [file.path for file in verify_store(store, progress=False).bad]


def test_a_whole_store_is_whole(store):
    found = verify_store(store, progress=False)
    assert found.ok
    assert found.checksums
    assert found.files == len(files_of(store))
    assert found.nbytes == sum(files_of(store).values())
    assert "every file is as it was written" in str(found)
    tree = open_store(store, verify="full")
    assert set(tree.children) == {"movie", "traces"}


def test_every_one_of_200_bit_flips_is_found_and_none_opens(store):
    rng = np.random.default_rng(6)
    # Each file as often as another, or all flips would be in the largest one.
    names = [*sorted(files_of(store)), MANIFEST]
    for name in rng.choice(names, 200):
        file = store / name
        before = file.read_bytes()
        changed = bytearray(before)
        changed[rng.integers(len(before))] ^= 1 << int(rng.integers(8))
        file.write_bytes(changed)
        assert name in bad_paths(store)
        with pytest.raises(StoreError):
            open_store(store, verify="full")
        file.write_bytes(before)
    assert bad_paths(store) == []


def test_every_one_of_20_truncations_is_found_at_once(store):
    rng = np.random.default_rng(7)
    names = [*sorted(files_of(store)), MANIFEST]
    for name in rng.choice(names, 20):
        file = store / name
        before = file.read_bytes()
        file.write_bytes(before[: rng.integers(len(before))])
        assert name in bad_paths(store)
        with pytest.raises(StoreError):
            open_store(store)
        file.write_bytes(before)
    assert bad_paths(store) == []


def test_bit_flips_in_the_movie_are_found_when_it_is_read(store):
    """Without reading everything first: by the checksums of the chunks."""
    rng = np.random.default_rng(8)
    names = [name for name in files_of(store) if name.startswith("movie/movie/c/")]
    for name in rng.choice(names, 16):
        file = store / name
        before = file.read_bytes()
        changed = bytearray(before)
        changed[rng.integers(len(before))] ^= 1 << int(rng.integers(8))
        file.write_bytes(changed)
        tree = open_store(store)
        with pytest.raises(StoreError, match=rf"s\.zarr: {name} cannot be read.*from a copy"):
            tree["movie/movie"].compute()
        file.write_bytes(before)
    open_store(store)["movie/movie"].compute()


def test_bit_flips_in_names_are_found_when_they_are_opened(store):
    """Texts have no checksum in their chunks; a flip makes another name."""
    rng = np.random.default_rng(9)
    file = store / "movie/channel/c/0"
    before = file.read_bytes()
    for at in rng.permutation(8 * len(before))[:20]:
        changed = bytearray(before)
        changed[at // 8] ^= 1 << at % 8
        file.write_bytes(changed)
        with pytest.raises(StoreError, match="movie/channel/c/0"):
            open_store(store)


@pytest.mark.parametrize("name", ["movie/movie/c/0/0/1/0/0", "movie/time/c/0", METADATA,
                                  "movie/zarr.json", "movie/movie/zarr.json"])  # fmt: skip
@pytest.mark.parametrize("how", ["deleted", "empty"])
def test_deleted_and_empty_files(store, name, how):
    if how == "deleted":
        (store / name).unlink()
    else:
        (store / name).write_bytes(b"")
    (file,) = [file for file in verify_store(store, progress=False).bad if file.path == name]
    assert file.flaw == {"deleted": "missing", "empty": "empty"}[how]
    with pytest.raises(StoreError, match=r"damaged|lost|readable"):
        open_store(store)


def test_deleted_shards_are_named_with_the_remedy(store):
    for index in ("0/0", "0/1", "1/0", "1/1"):
        (store / f"movie/movie/c/0/{index}/0/0").unlink()
    with pytest.raises(
        StoreError,
        match=r"c/0/0/0/0/0 \(missing\), .*c/0/0/1/0/0 \(missing\), .* and 1 more: the store is "
        r"damaged, and what is lost would read as zeros\. Restore .*verify=None",
    ):
        open_store(store)
    assert not open_store(store, verify=None)["movie/movie"].values.any()


def test_edited_metadata(store):
    file = store / "movie/movie/zarr.json"
    content = file.read_text()
    assert '"units": "count"' in content
    file.write_text(content.replace('"units": "count"', '"units": "volts"'))
    assert bad_paths(store) == ["movie/movie/zarr.json"]
    with pytest.raises(StoreError, match=r"movie/movie/zarr.json \(edited or damaged"):
        open_store(store)
    assert open_store(store, verify=None)["movie/movie"].attrs["units"] == "volts"


def test_an_edited_shape(store):
    file = store / "movie/movie/zarr.json"
    file.write_text(file.read_text().replace("12,", "24,", 1))
    assert bad_paths(store) == ["movie/movie/zarr.json"]
    with pytest.raises(StoreError, match=r"edited or damaged|would read as zeros"):
        open_store(store)


def test_swapped_shards(store):
    first, second = (store / f"movie/movie/c/0/{i}/0/0/0" for i in (0, 1))
    one, other = first.read_bytes(), second.read_bytes()
    first.write_bytes(other)
    second.write_bytes(one)
    names = [f"movie/movie/c/0/{i}/0/0/0" for i in (0, 1)]
    assert bad_paths(store) == names
    with pytest.raises(StoreError, match="c/0/0/0/0/0"):
        open_store(store, verify="full")


def test_files_that_do_not_belong(store):
    (store / "movie/movie/c/0/0/0/0/1").write_bytes(b"x")
    (store / "notes.txt").write_text("mine")
    assert bad_paths(store) == ["movie/movie/c/0/0/0/0/1", "notes.txt"]
    with pytest.raises(StoreError, match=r"notes\.txt \(not of this store\)"):
        open_store(store)


def test_links_are_reported(store, tmp_path):
    outside = tmp_path / "outside"
    shutil.move(store / "movie/movie/c/0/0/0/0/0", outside)
    (store / "movie/movie/c/0/0/0/0/0").symlink_to(outside)
    (file,) = verify_store(store, progress=False).bad
    assert file.flaw == "link"
    with pytest.raises(StoreError, match="a link inside a store"):
        open_store(store)


def test_a_file_that_cannot_be_read_is_bad(store, monkeypatch):
    from calscipy.io.store import places

    def fail(path):
        raise OSError(5, "Input/output error", str(path))

    monkeypatch.setattr(places, "checksum", fail)
    found = verify_store(store, progress=False)
    assert len(found.bad) == sum(not is_metadata(name) for name in files_of(store))
    assert "Input/output error" in found.bad[0].detail


def test_a_store_of_the_first_schema_cannot_be_verified_but_is_not_refused(store):
    (store / MANIFEST).unlink()
    found = verify_store(store, progress=False)
    assert (found.ok, found.checksums) == (True, False)
    assert "cannot be verified" in str(found)
    open_store(store)
    with pytest.raises(StoreError, match="saved before calscipy kept checksums"):
        open_store(store, verify="full")
    (store / "movie/movie/c/0/0/0/0/0").write_bytes(b"")
    assert bad_paths(store) == ["movie/movie/c/0/0/0/0/0"]


def test_from_the_second_schema_on_there_is_always_a_manifest(store, monkeypatch):
    (store / MANIFEST).unlink()
    root = store / METADATA
    root.write_text(
        root.read_text().replace(f'"{model.SCHEMA_ATTR}": 1', f'"{model.SCHEMA_ATTR}": 2')
    )
    monkeypatch.setattr(model, "SCHEMA_VERSION", 2)
    for read in (open_store, verify_store):
        with pytest.raises(StoreError, match="its manifest is missing"):
            read(store)


def test_what_is_no_store_is_not_verified(tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(StoreError, match="not a readable zarr 3 group"):
        verify_store(tmp_path / "empty")
    with pytest.raises(StoreError, match="there is no store"):
        verify_store(tmp_path / "nowhere")


def test_interrupting_ends_at_once(store, monkeypatch):
    from calscipy.io.store import places

    def interrupt(path):
        raise KeyboardInterrupt

    monkeypatch.setattr(places, "checksum", interrupt)
    with pytest.raises(KeyboardInterrupt):
        verify_store(store, progress=False)


def test_progress_shows(store, capsys):
    verify_store(store, progress=True)
    assert "verifying" in capsys.readouterr().err


def test_what_is_saved_is_verified(tmp_path):
    values = np.random.default_rng(0).integers(0, 4096, (70, 30, 20)).astype("u2")
    movie = cs.from_numpy(values, frame_rate=30).chunk(frames=32)
    path = movie.cs.to_zarr(tmp_path / "m.zarr", progress=False)
    found = verify_store(path, progress=False)
    assert (found.ok, found.checksums) == (True, True)
    shard = path / "movie/movie/c/1/0/0"
    content = bytearray(shard.read_bytes())
    content[100] ^= 16
    shard.write_bytes(content)
    assert bad_paths(path) == ["movie/movie/c/1/0/0"]
    assert os.fspath(path) in str(verify_store(path, progress=False))
