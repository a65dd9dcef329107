"""Opening stores: old ones, whole ones, lazily, in other processes, and as plain xarray."""

import pickle
import shutil
import subprocess
import sys
import time
import zipfile
from pathlib import Path

import dask
import numpy as np
import pytest
import xarray as xr
import zarr

import calscipy as cs
from calscipy import model
from calscipy.errors import ArgumentError, StoreError
from calscipy.io.store.contents import Contents, is_store, place_of, read_contents, wrong_files
from calscipy.io.store.files import MANIFEST, METADATA, files_of, is_metadata
from calscipy.io.store.manifest import MetadataEntry, ShardEntry, shard_entry, write_manifest
from calscipy.io.store.opening import open_store

FIRST = Path(__file__).parent / "stores" / "schema-1.zip"


@pytest.fixture(autouse=True, scope="module")
def _one_thread():
    with dask.config.set(scheduler="sync"):
        yield


@pytest.fixture
def first(tmp_path):
    """The store of the first save, and the values that went into it."""
    with zipfile.ZipFile(FIRST) as archive:
        archive.extractall(tmp_path)
    with np.load(tmp_path / "values.npz") as values:
        return tmp_path / "first.zarr", dict(values)


def seal(store):
    write_manifest(
        store, {n: shard_entry(store / n) for n in files_of(store) if not is_metadata(n)}
    )


@pytest.mark.parametrize("chunks", ["frames", "time", None])
@pytest.mark.parametrize("sealed", [False, True])
def test_the_first_store_opens_with_its_values(first, chunks, sealed):
    store, values = first
    if sealed:
        seal(store)
    session = cs.ImagingSession.open(store, chunks=chunks)
    assert set(session.tree.children) == {"movie", "traces", "events", "rois"}
    np.testing.assert_array_equal(session.movie, values["movie"])
    np.testing.assert_array_equal(session.traces, values["traces"])
    assert (session.movie.chunks is None) == (chunks is None)
    assert session.events.dtype == bool
    assert session.movie.dims == ("frames", "channel", "plane", "y", "x")
    assert session.movie.channel.values.tolist() == ["Ch1", "Ch2"]
    assert session.traces.channel.item() == "Ch2"
    assert "CF" not in session.movie.attrs
    assert session.rois.chunks is None


def test_it_is_what_plain_xarray_reads(first):
    store, _ = first
    ours = open_store(store)
    theirs = xr.open_datatree(store, engine="zarr", decode_timedelta=False)
    for group, node in theirs.children.items():
        plain = node.to_dataset().drop_attrs(deep=False).compute()
        mine = ours[group].to_dataset().drop_attrs(deep=False).compute()
        xr.testing.assert_equal(mine, plain)
        for name, variable in plain.variables.items():
            assert mine[name].attrs == variable.attrs
    theirs.close()


def test_selections_of_every_kind(first):
    store, values = first
    movie = open_store(store, chunks=None)["movie/movie"]
    expected = values["movie"]
    rng = np.random.default_rng(0)
    frames = rng.permutation(12)[:5]
    np.testing.assert_array_equal(movie[3], expected[3])
    np.testing.assert_array_equal(movie[::-2], expected[::-2])
    np.testing.assert_array_equal(movie[2:9:3, 0, 1], expected[2:9:3, 0, 1])
    np.testing.assert_array_equal(movie[frames], expected[frames])
    np.testing.assert_array_equal(movie[-1, ..., [5, 1], 2], expected[-1][..., [5, 1], 2])
    assert movie[3, 1, 1, 4, 5].item() == expected[3, 1, 1, 4, 5]
    points = xr.DataArray([1, 5, 7], dims="point")
    np.testing.assert_array_equal(
        movie.isel(y=points, x=points).transpose("point", ...),
        np.moveaxis(expected[..., points, points], -1, 0),
    )
    with pytest.raises(IndexError):
        movie[50].compute()


def test_opening_computes_and_reads_no_image(first, monkeypatch):
    store, _ = first
    shutil.rmtree(store / "movie/movie/c")
    with pytest.raises(StoreError, match="missing"):
        open_store(store)
    movie = open_store(store, verify=None)["movie/movie"]
    assert movie.shape == (12, 2, 2, 16, 12)


def test_arrays_pickle_as_a_path_and_read_in_other_processes(first):
    store, values = first
    seal(store)
    movie = open_store(store)["movie/movie"]
    content = pickle.dumps(movie.variable)
    assert len(content) < 10_000
    np.testing.assert_array_equal(pickle.loads(content), values["movie"])
    file = store.parent / "movie.pickle"
    file.write_bytes(content)
    code = (
        "import pickle, sys; movie = pickle.load(open(sys.argv[1], 'rb')); "
        "print(int(movie.values.astype('i8').sum()))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(file)], capture_output=True, text=True, check=True
    )
    assert int(done.stdout) == values["movie"].astype("i8").sum()


def test_names_of_lazy_arrays_stand_for_their_content(first, tmp_path):
    store, _ = first
    seal(store)
    name = open_store(store)["movie/movie"].data.name
    copy = shutil.copytree(store, tmp_path / "copy.zarr")
    assert open_store(copy)["movie/movie"].data.name == name
    assert open_store(store)["traces/traces"].data.name != name
    file = copy / "movie/movie/c/0/0/0/0/0"
    file.write_bytes((copy / "movie/movie/c/0/1/0/0/0").read_bytes())
    (copy / MANIFEST).unlink()
    seal(copy)
    assert open_store(copy)["movie/movie"].data.name != name


def test_of_the_first_schema_the_name_depends_on_the_place(first, tmp_path):
    store, _ = first
    names = {open_store(store)["movie/movie"].data.name for _ in range(2)}
    copy = shutil.copytree(store, tmp_path / "copy.zarr")
    names.add(open_store(copy)["movie/movie"].data.name)
    assert len(names) == 2


def test_damage_is_named_by_its_file_when_it_is_read(first):
    store, _ = first
    seal(store)
    file = store / "movie/movie/c/0/1/0/0/0"
    content = bytearray(file.read_bytes())
    content[30] ^= 8
    file.write_bytes(content)
    session = cs.ImagingSession.open(store)
    session.movie.sel(channel="Ch1").compute()
    with pytest.raises(
        StoreError, match=r"first\.zarr: movie/movie/c/0/1/0/0/0 cannot be read .*calscipy verify"
    ):
        session.movie.compute()
    (store / MANIFEST).unlink()  # then all files of the region are named
    with pytest.raises(StoreError, match=r"c/0/1/0/0/0, .*c/0/1/1/0/0 cannot be read"):
        open_store(store, chunks=None)["movie/movie"].sel(channel="Ch2").compute()


def test_a_newer_schema_is_refused_naming_versions_and_remedy(first):
    store, _ = first
    root = store / METADATA
    root.write_text(
        root.read_text().replace(f'"{model.SCHEMA_ATTR}": 1', f'"{model.SCHEMA_ATTR}": 99')
    )
    with pytest.raises(StoreError, match=r"schema 99 by calscipy .*reads schemas up to .*Update"):
        open_store(store)


@pytest.mark.parametrize("value", ["1", True, None, 1.0, [1]])
def test_a_schema_that_is_no_number(first, value):
    store, _ = first
    group = zarr.open_group(store, mode="r+", use_consolidated=False)
    group.attrs[model.SCHEMA_ATTR] = value
    with pytest.raises(StoreError, match="not a calscipy store"):
        open_store(store)


def test_a_store_that_is_not_complete(first):
    store, _ = first
    zarr.open_group(store, mode="r+", use_consolidated=False).attrs[model.COMPLETE_ATTR] = "yes"
    with pytest.raises(StoreError, match="not complete"):
        open_store(store)


def test_foreign_stores_are_refused_with_the_way(tmp_path):
    data = xr.Dataset({"movie": (("frames", "y", "x"), np.zeros((2, 3, 4)))})
    data.to_zarr(tmp_path / "foreign.zarr", zarr_format=3, consolidated=False)
    with pytest.raises(StoreError, match=r"not a calscipy store.*xarray\.open_datatree"):
        open_store(tmp_path / "foreign.zarr")


def test_wrong_words(first):
    store, _ = first
    with pytest.raises(ArgumentError, match="verify must be 'sizes', 'full' or None"):
        open_store(store, verify="yes")


def test_what_is_a_store(first, tmp_path):
    store, _ = first
    assert is_store(store)
    assert not is_store(tmp_path)
    assert not is_store(tmp_path / "values.npz")


def test_sizes_of_thousands_of_shards_are_compared_in_no_time():
    """By names and sizes alone: nothing is opened."""
    node = {
        "zarr_format": 3, "node_type": "array", "shape": [50_000], "data_type": "uint8",
        "chunk_grid": {"name": "regular", "configuration": {"chunk_shape": [1]}},
        "chunk_key_encoding": {"name": "default"}, "fill_value": 0, "codecs": ["bytes", "crc32c"],
    }  # fmt: skip
    from calscipy.io.store.claims import array_claim
    from calscipy.io.store.manifest import Manifest

    claim = array_claim(node, "m/m", "m/m/zarr.json")
    sizes = dict.fromkeys(claim.files(), 5)
    manifest = Manifest(
        {name: ShardEntry(5, 0) for name in sizes}, {METADATA: MetadataEntry(0, "")}
    )
    contents = Contents(None, sizes | {METADATA: 0}, {}, {}, ["m"], {"m/m": claim}, manifest)
    started = time.perf_counter()
    assert wrong_files(contents) == []
    assert time.perf_counter() - started < 5
    del sizes["m/m/c/777"]
    contents = Contents(None, sizes | {METADATA: 0}, {}, {}, ["m"], {"m/m": claim}, manifest)
    assert [str(file) for file in wrong_files(contents)] == ["m/m/c/777 (missing)"]


def test_contents_are_known_without_reading_data(first):
    store, _ = first
    contents = read_contents(place_of(store))
    assert contents.groups == ["events", "movie", "rois", "traces"]
    assert contents.arrays["movie/movie"].shards == (12, 1, 1, 16, 12)
    assert contents.arrays["movie/movie"].checked
    assert not contents.arrays["movie/channel"].checked
    assert contents.manifest is None
