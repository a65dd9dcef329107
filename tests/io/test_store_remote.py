"""Stores where nothing can be renamed: data first, what says that they are whole last."""

import dask
import dask.array as da
import numpy as np
import pytest
import xarray as xr
from zarr.storage import MemoryStore

import calscipy as cs
from calscipy.errors import ArgumentError, StoreError, TargetExistsError
from calscipy.io.store import open_store
from calscipy.io.store.verify import verify_store


@pytest.fixture(autouse=True, scope="module")
def one_thread():
    with dask.config.set(scheduler="sync"):
        yield


@pytest.fixture
def session():
    data = np.random.default_rng(0).integers(0, 4096, (12, 10, 8)).astype("u2")
    movie = cs.from_numpy(da.from_array(data, chunks=(4, -1, -1)), frame_rate=30)
    labels = np.pad([[1, 1]], ((3, 6), (2, 4)))
    return cs.ImagingSession(xr.DataTree()).assign(movie=movie).cs.extract(labels)


@pytest.fixture(params=["memory://", "store"])
def target(request, tmp_path):
    if request.param == "store":
        return MemoryStore()
    pytest.importorskip("fsspec")
    return f"memory://{tmp_path.name}/s.zarr"


def test_what_goes_in_comes_out_and_is_verified(session, target):
    saved = session.save(target, progress=False)
    for group in session.tree.children:
        xr.testing.assert_equal(
            saved.tree[group].to_dataset().compute(), session.tree[group].to_dataset().compute()
        )
    assert verify_store(target, progress=False).ok
    with pytest.raises(TargetExistsError, match="holds something already"):
        session.save(target, progress=False)
    with pytest.raises(ArgumentError, match="overwrite=True needs a folder"):
        session.save(target, overwrite=True, progress=False)


def test_until_the_last_write_readers_refuse_it(session):
    full = MemoryStore()
    session.save(full, progress=False)
    order = list(full._store_dict)
    assert order[-2:] == ["manifest.json", "zarr.json"]
    for kept in range(len(order)):
        cut = MemoryStore({key: full._store_dict[key] for key in order[:kept]})
        with pytest.raises(StoreError):
            open_store(cut)


def test_a_lost_shard_and_a_flipped_bit_are_found(session):
    target = MemoryStore()
    session.save(target, progress=False)
    key = "movie/movie/c/1/0/0"
    whole = target._store_dict[key]
    content = bytearray(whole.to_bytes())
    content[len(content) // 2] ^= 4
    target._store_dict[key] = type(whole).from_bytes(bytes(content))
    assert [file.path for file in verify_store(target, progress=False).bad] == [key]
    del target._store_dict[key]
    with pytest.raises(StoreError, match=key):
        open_store(target)
