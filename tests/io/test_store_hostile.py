"""Stores made to do harm: refused with a reason, and never with much memory."""

import json
import os
import shutil
import struct
import tracemalloc
import zipfile
from pathlib import Path

import dask
import google_crc32c
import numcodecs
import numpy as np
import pytest

import calscipy as cs
from calscipy.errors import StoreError
from calscipy.io.store.claims import array_claim
from calscipy.io.store.codecs import zstd_size
from calscipy.io.store.files import MANIFEST, METADATA, files_of, is_metadata
from calscipy.io.store.manifest import shard_entry, write_manifest
from calscipy.io.store.opening import open_store
from calscipy.io.store.verify import verify_store

FIRST = Path(__file__).parent / "stores" / "schema-1.zip"
LITTLE = 30 * 2**20  # bytes that refusing may take


@pytest.fixture(autouse=True, scope="module")
def _one_thread():
    with dask.config.set(scheduler="sync"):
        yield


@pytest.fixture
def store(tmp_path):
    with zipfile.ZipFile(FIRST) as archive:
        archive.extractall(tmp_path)
    return tmp_path / "first.zarr"


@pytest.fixture
def little_memory():
    tracemalloc.start()
    yield
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < LITTLE


def seal(store):
    """Give a store a manifest that agrees with what is in it, as somebody who means harm would."""
    (store / MANIFEST).unlink(missing_ok=True)
    write_manifest(
        store, {n: shard_entry(store / n) for n in files_of(store) if not is_metadata(n)}
    )


def edit(store, name, **changes):
    file = store / name / METADATA
    file.write_text(json.dumps(json.loads(file.read_text()) | changes))


def checked(compressed):
    """Bytes with the checksum that zarr's codec expects behind them."""
    return compressed + struct.pack("<I", google_crc32c.value(compressed))


# -- metadata ------------------------------------------------------------------------------------

ARRAY = {
    "zarr_format": 3,
    "node_type": "array",
    "shape": [100, 64, 64],
    "data_type": "uint16",
    "chunk_grid": {"name": "regular", "configuration": {"chunk_shape": [64, 64, 64]}},
    "chunk_key_encoding": {"name": "default", "configuration": {"separator": "/"}},
    "fill_value": 0,
    "codecs": [{"name": "bytes"}, {"name": "blosc", "configuration": {}}, {"name": "crc32c"}],
}


def grid(*shape):
    return {"name": "regular", "configuration": {"chunk_shape": list(shape)}}


def sharded(chunks, codecs=({"name": "bytes"},), index=({"name": "bytes"}, {"name": "crc32c"})):
    settings = {"chunk_shape": list(chunks), "codecs": list(codecs), "index_codecs": list(index)}
    return [{"name": "sharding_indexed", "configuration": settings}]


def test_an_array_as_we_write_it_is_believed():
    claim = array_claim(ARRAY, "m/m", "w")
    assert (claim.shape, claim.chunks, claim.grid) == ((100, 64, 64), (64, 64, 64), (2, 1, 1))
    assert claim.nbytes == 100 * 64 * 64 * 2
    assert claim.checked
    assert list(claim.files()) == ["m/m/c/0/0/0", "m/m/c/1/0/0"]
    inner = ARRAY | {"codecs": sharded((32, 32, 64))}
    assert array_claim(inner, "m/m", "w").chunks == (32, 32, 64)
    assert not array_claim(inner, "m/m", "w").checked
    assert array_claim({"zarr_format": 3, "node_type": "group"}, "m", "w") is None


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"codecs": [{"name": "bytes"}, {"name": "numcodecs.pickle"}]}, "codec 'numcodecs.pickle'"),
        ({"codecs": [{"name": "bytes"}, {"name": "tifffile"}]}, "codec 'tifffile'"),
        ({"codecs": [{"name": "bytes"}, {"name": "gzip"}]}, "codec 'gzip'"),
        ({"codecs": ["bytes", "cast_value"]}, "codec 'cast_value'"),
        ({"codecs": [{"name": "bytes"}] * 9}, "chain of codecs"),
        ({"codecs": []}, "chain of codecs"),
        ({"codecs": "bytes"}, "chain of codecs"),
        ({"codecs": sharded((64, 64, 64), sharded((1, 1, 1)))}, "shards in shards"),
        ({"codecs": sharded((64, 64, 64), [{"name": "pickle"}])}, "codec 'pickle'"),
        ({"codecs": sharded((48, 64, 64))}, "do not divide"),
        ({"codecs": sharded((64, 64))}, "do not divide"),
        ({"codecs": sharded((0, 64, 64))}, "the shape"),
        ({"codecs": sharded((1, 1, 1), index=[{"name": "zstd"}])}, "compressed index"),
        ({"data_type": "object"}, "data of the type"),
        ({"data_type": {"name": "numpy.void", "configuration": {}}}, "data of the type"),
        ({"data_type": "string"}, "codecs that do not fit"),
        ({"chunk_grid": grid(2**20, 2**20, 64)}, "one chunk of 140737488355328 bytes"),
        ({"chunk_grid": grid(2**40, 64, 64), "shape": [2**40, 64, 64],
          "codecs": sharded((64, 64, 64))}, "one shard of"),
        ({"chunk_grid": grid(2**12, 2**12, 2**12), "codecs": sharded((1, 1, 1))}, "in one shard"),
        ({"chunk_grid": grid(64, 64)}, "of 2 dimensions in an array of 3"),
        ({"chunk_grid": {"name": "rectilinear", "configuration": {}}}, "another grid"),
        ({"chunk_key_encoding": {"name": "v2"}}, "another grid"),
        ({"chunk_key_encoding": {"name": "default", "configuration": {"separator": "."}}}, "names"),
        ({"shape": [10**30, 64, 64]}, "the shape"),
        ({"shape": [-1, 64, 64]}, "the shape"),
        ({"shape": [True, 64, 64]}, "the shape"),
        ({"shape": [1.5, 64, 64]}, "the shape"),
        ({"shape": None}, "a shape that is none"),
        ({"shape": [1] * 33}, "a shape that is none"),
        ({"storage_transformers": [{"name": "x"}]}, "storage transformers"),
        ({"zarr_format": 2}, "zarr 2"),
        ({"node_type": "link"}, "the type 'link'"),
        ({"attributes": json.loads("[" * 100 + "]" * 100)}, "in one another"),
    ],
    ids=range(33),
)  # fmt: skip
def test_what_we_never_write_is_refused(changes, reason):
    with pytest.raises(StoreError, match=rf"w: not metadata that calscipy writes .*{reason}"):
        array_claim(ARRAY | changes, "m/m", "w")


@pytest.mark.parametrize("name", ["shape", "codecs", "chunk_grid", "data_type", "node_type"])
def test_what_is_missing_is_named(name):
    with pytest.raises(StoreError, match=f"it has no '{name}'"):
        array_claim({k: v for k, v in ARRAY.items() if k != name}, "m/m", "w")


@pytest.mark.usefixtures("little_memory")
def test_claims_of_terabytes(store):
    """The array is refused where it would be read, or has lost what it claims."""
    edit(store, "movie/movie", shape=[2**40, 2, 2, 16, 12])
    edit(store, "movie/time", shape=[2**40])
    seal(store)
    with pytest.raises(StoreError, match="would read as zeros"):
        open_store(store)
    with pytest.raises(StoreError, match=r"coordinates of .* more than memory_limit"):
        open_store(store, verify=None)
    assert not verify_store(store, progress=False).ok


@pytest.mark.usefixtures("little_memory")
def test_a_coordinate_in_one_huge_chunk(store):
    edit(store, "movie/time", shape=[2**35], chunk_grid=grid(2**35))
    with pytest.raises(StoreError, match="one chunk of"):
        open_store(store)


def test_the_memory_limit_is_that_of_the_options(store):
    with (
        cs.set_options(memory_limit=1000),
        pytest.raises(StoreError, match=r"more than memory_limit=1000.*set_options"),
    ):
        open_store(store)


def test_groups_in_groups_and_arrays_outside_of_them(store):
    shutil.copytree(store / "traces", store / "movie/traces")
    with pytest.raises(StoreError, match="groups in groups"):
        open_store(store)
    shutil.rmtree(store / "movie/traces")
    shutil.copytree(store / "traces/time", store / "time")
    with pytest.raises(StoreError, match="arrays outside of them"):
        open_store(store)
    shutil.rmtree(store / "time")
    (store / "traces" / METADATA).unlink()
    with pytest.raises(StoreError, match=r"whose group has lost its zarr\.json"):
        open_store(store)


@pytest.mark.usefixtures("little_memory")
@pytest.mark.parametrize("content", [b"{" * 10**6, b'{"a":' * 10**5 + b"1" + b"}" * 10**5, b"[1]"])
@pytest.mark.parametrize("name", [METADATA, "movie/zarr.json", "movie/movie/zarr.json"])
def test_metadata_that_is_no_metadata(store, name, content):
    (store / name).write_bytes(content)
    with pytest.raises(StoreError, match=r"damaged|not a readable"):
        open_store(store)


@pytest.mark.usefixtures("little_memory")
def test_metadata_without_end(store):
    with open(store / "movie" / METADATA, "ab") as file:
        file.truncate(2**40)  # takes no room on the disk
    with pytest.raises(StoreError, match="more than 67108864 bytes of metadata"):
        open_store(store)
    with open(store / METADATA, "ab") as file:
        file.truncate(2**40)
    with pytest.raises(StoreError, match="more than the 67108864 bytes"):
        open_store(store)


# -- chunks --------------------------------------------------------------------------------------


def zeros(nbytes):
    return numcodecs.Blosc("zstd", clevel=9, shuffle=0).encode(np.zeros(nbytes, "u1"))


BOMB = zeros(2**27)  # 128 MiB
NAME_BOMB = numcodecs.Zstd(level=9).encode(np.zeros(2**27, "u1"))


def test_the_bomb_is_one():
    assert len(BOMB) < 20_000
    assert int.from_bytes(BOMB[4:8], "little") == 2**27


@pytest.mark.usefixtures("little_memory")
def test_a_bomb_as_a_coordinate(store):
    (store / "movie/time/c/0").write_bytes(checked(BOMB))
    seal(store)
    assert verify_store(store, progress=False).ok  # it is as it was written
    with pytest.raises(StoreError, match=r"movie/time/c/0 .*claims 134217728 bytes.* at most 96"):
        open_store(store)


@pytest.mark.parametrize("pickled", [False, True])
@pytest.mark.usefixtures("little_memory")
def test_a_bomb_in_a_shard(store, pickled):
    import pickle

    chunk = checked(BOMB)
    index = struct.pack("<QQ", 0, len(chunk))
    (store / "movie/movie/c/0/0/0/0/0").write_bytes(chunk + checked(index))
    seal(store)
    movie = open_store(store, verify="full")["movie/movie"]
    movie = pickle.loads(pickle.dumps(movie)) if pickled else movie
    with pytest.raises(StoreError, match=r"c/0/0/0/0/0 .*claims 134217728 bytes.* at most 4608"):
        movie.isel(channel=0, plane=0).compute()
    assert movie.isel(channel=1).compute().any()


@pytest.mark.parametrize("index", [(0, 2**62), (2**62, 100), (2**64 - 2, 5), (10, 0)])
def test_a_shard_whose_index_leads_astray(store, index):
    file = store / "movie/movie/c/0/0/0/0/0"
    file.write_bytes(file.read_bytes()[:-20] + checked(struct.pack("<QQ", *index)))
    seal(store)
    movie = open_store(store)["movie/movie"]
    with pytest.raises((StoreError, MemoryError)):
        movie.isel(channel=0, plane=0).compute()


@pytest.mark.usefixtures("little_memory")
def test_a_bomb_as_a_name(store):
    (store / "movie/channel/c/0").write_bytes(NAME_BOMB)
    seal(store)
    with pytest.raises(StoreError, match=r"movie/channel/c/0 .*claims 134217728 bytes"):
        open_store(store)


@pytest.mark.usefixtures("little_memory")
def test_a_name_that_claims_to_be_four_billion(store):
    text = numcodecs.Zstd(level=1).encode(b"\xff\xff\xff\xff" + bytes(12))
    (store / "movie/channel/c/0").write_bytes(text)
    seal(store)
    with pytest.raises(StoreError, match="another number of texts than its shape"):
        open_store(store)


@pytest.mark.parametrize("nbytes", [0, 1, 255, 256, 257, 65_791, 65_792, 10**6])
def test_the_size_of_a_zstandard_frame(nbytes):
    for data in (np.zeros(nbytes, "u1"), np.random.default_rng(0).integers(0, 256, nbytes, "u1")):
        assert zstd_size(numcodecs.Zstd(level=3).encode(data)[:18]) == nbytes


@pytest.mark.parametrize(
    "head", [b"", b"\x28\xb5\x2f\xfd", b"\x50\x2a\x4d\x18" + bytes(14),
             b"\x28\xb5\x2f\xfd\x00" + bytes(13), b"\x28\xb5\x2f\xfd\xe0\x01"],
)  # fmt: skip
def test_a_frame_that_does_not_say_its_size(head):
    with pytest.raises(ValueError, match=r"no Zstandard frame|does not say"):
        zstd_size(head)


@pytest.mark.parametrize("content", [b"", b"\0", b"\xff" * 3, bytes(15), b"\x01" * 100])
def test_chunks_of_nonsense(store, content):
    (store / "movie/time/c/0").write_bytes(checked(content))
    seal(store)
    with pytest.raises(StoreError, match="movie/time/c/0"):
        open_store(store)


# -- links ---------------------------------------------------------------------------------------


@pytest.mark.skipif(os.name == "nt", reason="links need rights on Windows")
@pytest.mark.parametrize("verify", ["sizes", None])
@pytest.mark.parametrize("name", ["movie/movie/c/0/0/0/0/0", "movie", METADATA, "movie/zarr.json"])
def test_links_out_of_the_store(store, tmp_path, name, verify):
    outside = tmp_path / "outside"
    shutil.move(store / name, outside)
    (store / name).symlink_to(outside)
    with pytest.raises(StoreError, match=r"a link|not a readable"):
        open_store(store, verify=verify)
