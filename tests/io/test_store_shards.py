"""Shards that we encode, read by zarr itself."""

from pathlib import Path

import numpy as np
import pytest
import zarr
from hypothesis import given, settings
from hypothesis import strategies as st
from zarr.codecs import BloscCodec, Crc32cCodec, ZstdCodec
from zarr.core.buffer import cpu
from zarr.storage import MemoryStore

from calscipy.io.store.journal import Journal
from calscipy.io.store.shards import shard_encoder
from calscipy.io.store.tasks import write_shard

OURS = (BloscCodec(cname="lz4", clevel=5, shuffle="bitshuffle", typesize=2), Crc32cCodec())


def an_array(shape, chunks, shards, dtype="uint16", codecs=OURS, files=None, **options):
    return zarr.create_array(
        MemoryStore(files), shape=shape, chunks=chunks, shards=shards, dtype=dtype,
        compressors=codecs, **options,
    )  # fmt: skip


def written(values, chunks, shards, **options):
    """Write an array shard by shard; returns it as zarr reads it, and its files."""
    files = {}
    dtype = values.dtype.newbyteorder("=")
    array = an_array(values.shape, chunks, shards, dtype, files=files, **options)
    shard = array.shards or array.chunks
    for index in np.ndindex(*(-(-n // wide) for n, wide in zip(array.shape, shard, strict=True))):
        region = tuple(slice(i * n, (i + 1) * n) for i, n in zip(index, shard, strict=True))
        parts = shard_encoder(array).parts(values[region])
        files["/".join(["c", *map(str, index)])] = cpu.Buffer.from_bytes(b"".join(parts))
    return array, files


@settings(deadline=None, derandomize=True, max_examples=40)
@given(
    st.lists(
        st.tuples(st.integers(1, 9), st.integers(1, 4), st.integers(1, 3)), min_size=1, max_size=3
    ),
    st.sampled_from(["uint16", "float32", "int64", "bool", ">u2"]),
    st.booleans(),
)
def test_zarr_reads_what_we_encode(axes, dtype, sharded):
    shape, chunks, times = zip(*axes, strict=True)
    shards = tuple(n * k for n, k in zip(chunks, times, strict=True)) if sharded else None
    values = np.random.default_rng(0).integers(0, 99, shape).astype(dtype)
    array, _ = written(values, chunks, shards)
    np.testing.assert_array_equal(array[...], values)
    assert array[...].dtype == np.dtype(dtype).newbyteorder("=")


def test_a_block_that_is_not_contiguous_is_taken_as_it_lies():
    values = np.arange(6 * 8 * 8, dtype="uint16").reshape(8, 8, 6).transpose(2, 1, 0)
    array, _ = written(values, (2, 4, 4), (6, 8, 8))
    np.testing.assert_array_equal(array[...], values)


def test_chunks_of_zeros_and_nan_are_written_too():
    values = np.zeros((4, 4), "float32")
    values[2:] = np.nan
    array, files = written(values, (2, 2), (4, 4), fill_value=np.nan)
    np.testing.assert_array_equal(array[...], values)
    index = np.frombuffer(files["c/0/0"].to_bytes()[-68:-4], "<u8")
    assert (index < 2**63).all()


def test_a_flipped_bit_is_found_by_zarr():
    array, files = written(np.arange(16, dtype="uint16").reshape(4, 4), (2, 2), (4, 4))
    content = bytearray(files["c/0/0"].to_bytes())
    for at in (5, len(content) - 30):  # in a chunk, in the index
        damaged = content.copy()
        damaged[at] ^= 4
        files["c/0/0"] = cpu.Buffer.from_bytes(bytes(damaged))
        with pytest.raises(ValueError, match="checksum"):
            array[...]


@pytest.mark.parametrize(
    "options",
    [
        {"codecs": (ZstdCodec(),)},
        {"codecs": (OURS[0],)},
        {"serializer": zarr.codecs.BytesCodec(endian="big")},
        {"filters": (zarr.codecs.TransposeCodec(order=(1, 0)),)},
    ],
    ids=["zstd", "no checksum", "big endian", "transposed"],
)
def test_arrays_with_other_codecs_are_left_to_zarr(options):
    assert shard_encoder(an_array((4, 4), (2, 2), (4, 4), **options)) is None


def test_a_block_that_is_larger_than_a_shard_is_refused():
    encoder = shard_encoder(an_array((8, 8), (2, 2), (4, 4)))
    with pytest.raises(ValueError, match="does not fit"):
        encoder.parts(np.zeros((8, 4), "uint16"))


@pytest.mark.parametrize("step", [4, 3, 8], ids=["shards", "across borders", "two shards"])
def test_blocks_that_are_not_whole_shards_lose_nothing(tmp_path, step):
    stage = str(tmp_path / "stage")
    Journal(Path(stage)).begin({})
    zarr.create_array(
        stage, name="values", shape=(10, 4), chunks=(2, 2), shards=(4, 4), dtype="uint16",
        compressors=OURS,
    )  # fmt: skip
    values = np.arange(1, 41, dtype="uint16").reshape(10, 4)
    for start in range(0, 10, step):
        write_shard(values[start : start + step], stage, "values", (start, 0))
    np.testing.assert_array_equal(zarr.open_array(stage, path="values", mode="r")[...], values)
