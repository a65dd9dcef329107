"""Summaries of movies that live on a GPU, driven by the stand-in for CuPy."""

import dask
import dask.array as da
import numpy as np
import pytest

from calscipy.blocks.device import is_cupy
from calscipy.blocks.summary import summary_images

from .gpu_stand_in import install

SHAPE = (9, 2, 3, 5, 6)


def movie(dtype):
    """Values, and the frames that are valid."""
    rng = np.random.default_rng(0)
    valid = rng.random(SHAPE[:3]) > 0.3
    valid[0] = True
    return rng.integers(0, 2 if dtype == "bool" else 60000, SHAPE).astype(dtype), valid


@pytest.mark.parametrize("dtype", ["uint16", "bool", "float32"])
def test_arrays_on_a_gpu_stay_there(monkeypatch, dtype):
    values, valid = movie(dtype)
    expected = summary_images(values, valid)
    install(monkeypatch)
    import cupy

    images = summary_images(cupy.asarray(values), valid)
    for image, want in zip(images, expected, strict=True):
        assert is_cupy(image)
        assert image.dtype == want.dtype
        np.testing.assert_allclose(image.get(), want, rtol=1e-12)


@pytest.mark.parametrize("dtype", ["uint16", "float32"])
def test_blocks_on_a_gpu(monkeypatch, dtype):
    values, valid = movie(dtype)
    expected = summary_images(values, valid)
    install(monkeypatch)
    import cupy

    chunks = da.from_array(values, chunks=(4, 1, 2, 3, 3))
    chunks = chunks.map_blocks(cupy.asarray, dtype=dtype, meta=chunks._meta)
    for image, want in zip(summary_images(chunks, valid), expected, strict=True):
        key = (image.name, 0, 0, 0, 0)
        assert is_cupy(dask.get(dict(image.dask), key))
        on_host = image.map_blocks(lambda block: block.get(), dtype=want.dtype)
        whole = on_host.compute(scheduler="sync")
        np.testing.assert_allclose(whole, want, rtol=1e-9)
