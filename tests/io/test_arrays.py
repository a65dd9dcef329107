"""Arrays of any kind become labelled movies and traces without a copy."""

import dask.array as da
import numpy as np
import pytest

from calscipy import from_numpy
from calscipy.errors import ArgumentError


def test_lazy_arrays_stay_as_they_are():
    computed = []

    def block(values):
        computed.append(values.shape)
        return values

    lazy = da.ones((6, 4, 5), chunks=(2, 4, 5)).map_blocks(block, meta=np.zeros((0, 0, 0)))
    movie = from_numpy(lazy, frame_rate=2)
    assert movie.data is lazy
    assert not computed


def test_maps_stay_maps(tmp_path):
    mapped = np.memmap(tmp_path / "x", "uint16", "w+", shape=(3, 4, 5))
    movie = from_numpy(mapped, frame_rate=2)
    assert isinstance(movie.variable.data, np.memmap)
    assert np.shares_memory(movie.values, mapped)


@pytest.mark.parametrize("rate", [True, 0, -1, float("nan"), float("inf"), "30", None])
def test_rates_that_are_none(rate):
    with pytest.raises(ArgumentError, match="frame_rate > 0"):
        from_numpy(np.zeros((3, 4, 5)), frame_rate=rate)


@pytest.mark.parametrize("size", [0, -1, float("inf"), float("nan"), "1", (1, 2, 3), (1, -1)])
def test_sizes_of_pixels_that_are_none(size):
    with pytest.raises(ArgumentError, match="microns_per_pixel must be"):
        from_numpy(np.zeros((3, 4, 5)), frame_rate=1, microns_per_pixel=size)


def test_numbers_of_numpy():
    movie = from_numpy(np.zeros((3, 4, 5)), frame_rate=np.float32(4), microns_per_pixel=np.int64(2))
    assert movie.time.values.tolist() == [0, 0.25, 0.5]
    assert (float(movie.y[1]), float(movie.x[1])) == (2, 2)
